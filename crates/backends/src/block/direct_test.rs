use super::super::test_support::TempFile;
use super::super::{DriveOption, RawFile, RawOptions};
use super::*;

/// A test's file past the page cache; nothing where the host cannot do that.
fn open(image: &TempFile, block: u64) -> Option<(File, Direct)> {
    use std::os::unix::fs::OpenOptionsExt;
    let direct = rustix::fs::OFlags::DIRECT.bits() as i32;
    let file = File::options().read(true).write(true).custom_flags(direct).open(&image.0).ok()?;
    // A larger block than the medium's is one, too.
    let found = Direct::of(&file).unwrap();
    Some((file, Direct { block: block.max(found.block), parts: RwLock::default() }))
}

#[test]
fn any_piece_of_any_file_can_be_read_and_written() {
    for block in [512, 4096] {
        let mut model: Vec<u8> = (0..50_001u32).map(|index| (index % 251) as u8).collect();
        let image = TempFile::new(&format!("direct{block}"), &model);
        let Some((file, direct)) = open(&image, block) else { return };
        let all = model.len().next_multiple_of(4096);
        model.resize(all, 0);
        let mut seed = 7u64;
        for round in 0..300u64 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (mut offset, mut len) = ((seed >> 33) as usize % all, (seed >> 20) as usize % 9000);
            if round % 3 == 0 {
                (offset, len) = (offset / 4096 * 4096, len / 4096 * 4096);
            }
            let len = len.min(all - offset);
            let mut buffer = Buffer::new(len);
            buffer.fill(round as u8);
            // From memory that begins anywhere, and at a page.
            let bytes = if round % 2 == 0 { &*buffer } else { &vec![round as u8; len] };
            direct.write(&file, offset as u64, bytes).unwrap();
            model[offset..offset + len].fill(round as u8);
            let (from, count) = (offset.saturating_sub(len / 2), (2 * len).min(all - offset));
            let mut read = vec![0xee; count];
            direct.read(&file, from as u64, &mut read).unwrap();
            assert!(read == model[from..from + count], "block {block}, round {round}");
        }
        let mut buffer = Buffer::new(all);
        direct.read(&file, 0, &mut buffer).unwrap();
        assert!(*buffer == *model);
        // What others find through the page cache is the same.
        let mut stored = std::fs::read(&image.0).unwrap();
        stored.resize(all, 0);
        assert!(stored == model);
    }
}

#[test]
fn neighbours_in_a_block_do_not_lose_each_other() {
    let image = TempFile::new("direct-neighbours", &[0; 8192]);
    let Some((file, direct)) = open(&image, 4096) else { return };
    std::thread::scope(|scope| {
        for part in 0..8u64 {
            let (file, direct) = (&file, &direct);
            scope.spawn(move || {
                for round in 0..50 {
                    direct.write(file, part * 1024, &[round; 1024]).unwrap();
                    let mut read = [0; 1024];
                    direct.read(file, part * 1024, &mut read).unwrap();
                    assert!(read == [round; 1024]);
                }
            });
        }
    });
}

#[test]
fn drives_are_opened_so_when_that_is_asked_for() {
    let image = TempFile::new("direct-drive", &[7; 1000]);
    let open = |options: &str| {
        let option = DriveOption::parse(&format!("file={},format=raw,if=none,{options}", image.0)).unwrap();
        option.open(&|_| {}).unwrap().unwrap()
    };
    let cached = open("cache=writeback").at_once();
    if RawFile::open(&image.0, RawOptions { direct: true, ..RawOptions::default() }).is_ok() {
        for options in ["cache=none", "cache.direct=on,aio=native", "cache=none,aio=io_uring"] {
            let device = open(options);
            assert!(device.at_once() > cached);
            let mut bytes = [0; 1024];
            device.read_at(0, &mut bytes).unwrap();
            assert!(bytes[..1000] == [7; 1000] && bytes[1000..] == [0; 24]);
        }
    }
    let refused =
        |option: &str| DriveOption::parse(option).and_then(|option| option.open(&|_| {}).map(|_| ()));
    assert_eq!(
        refused("file=/proc/version,format=raw,if=none,cache=none").unwrap_err().to_string(),
        "Could not open '/proc/version': filesystem does not support O_DIRECT"
    );
    assert_eq!(
        refused("file=a,format=raw,if=none,aio=native").unwrap_err().to_string(),
        "aio=native was specified, but it requires cache.direct=on, which was not specified."
    );
}
