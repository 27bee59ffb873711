use super::*;

#[test]
fn numbers() {
    let ram = Ram::anonymous(0x3000).unwrap();
    ram.write_u64(8, 0x0102_0304_0506_0708);
    assert_eq!(ram.read_u8(8), 8);
    assert_eq!(ram.read_u16(9), 0x0607);
    assert_eq!(ram.read_u32(11), 0x0203_0405);
    ram.write_u32(0xffe, 0xaabb_ccdd);
    assert_eq!(ram.read_u16(0x1000), 0xaabb);
    assert_eq!(ram.cas32(8, 0x0506_0708, 1), Ok(0x0506_0708));
    assert_eq!(ram.cas32(8, 0x0506_0708, 2), Err(1));
    assert_eq!(ram.cas128(16, 0, 5 << 64), Ok(0));
    assert_eq!(ram.cas128(16, 0, 1), Err(5 << 64));
    assert_eq!(ram.read_u64(24), 5);
}

#[test]
fn copies_at_all_alignments() {
    let ram = Ram::anonymous(0x1000).unwrap();
    let data: Vec<u8> = (1..=64).collect();
    for start in 0..17 {
        for len in 0..40 {
            ram.fill(0, 128, 0);
            ram.write(start, &data[..len]);
            let mut back = vec![0; len + 2];
            ram.read(start, &mut back);
            assert_eq!(&back[..len], &data[..len]);
            assert_eq!(&back[len..], [0, 0]);
        }
    }
}

#[test]
#[should_panic(expected = "outside of RAM")]
fn outside() {
    Ram::anonymous(0x1000).unwrap().read_u32(0xffe);
}

#[test]
fn kinds_of_memory() {
    assert!(Ram::anonymous(0).is_err());
    assert!(Ram::anonymous(u64::MAX).is_err());
    let big = Ram::anonymous(8 << 20).unwrap();
    assert_eq!(big.host_ptr() as usize % (2 << 20), 0);
    big.write_u8((8 << 20) - 1, 1);
    let memfd = Ram::memfd("ram", 0x2000).unwrap();
    memfd.write_u8(0x1fff, 7);
    assert!(memfd.fd().is_some() && memfd.is_shared());
    let path = std::env::temp_dir().join(format!("tinamou-ram-test-{}", std::process::id()));
    {
        let file = Ram::file(&path, 0x2000, true).unwrap();
        file.write(0x1000, b"kept");
        let private = Ram::file(&path, 0x1000, false).unwrap();
        private.write(0, b"lost");
    }
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((bytes.len(), &bytes[..4], &bytes[0x1000..0x1004]), (0x2000, &[0; 4][..], &b"kept"[..]));
    assert!(Ram::file(Path::new("/nonexistent/file"), 1, true).is_err());
}

#[test]
fn dirty_pages() {
    let ram = Ram::anonymous(200 * 4096).unwrap();
    let all = ram.len();
    ram.write_u8(0, 1);
    ram.log_dirty(DirtyClient::Vga, true);
    assert!(ram.take_dirty(DirtyClient::Vga, 0, all).is_empty());
    ram.write_u16(0x1fff, 1);
    ram.write(130 * 4096 + 5, &[0; 4096]);
    ram.write_u8(199 * 4096, 1);
    assert!(ram.is_dirty(DirtyClient::Vga, 0x2000, 1) && !ram.is_dirty(DirtyClient::Vga, 0x3000, 0x1000));
    assert_eq!(ram.take_dirty(DirtyClient::Vga, 0x2000, 0x1000), [0x2000]);
    assert_eq!(ram.take_dirty(DirtyClient::Vga, 0, all), [0x1000, 130 * 4096, 131 * 4096, 199 * 4096]);
    assert!(ram.take_dirty(DirtyClient::Vga, 0, all).is_empty());
    assert!(ram.take_dirty(DirtyClient::Migration, 0, all).is_empty());
    ram.log_dirty(DirtyClient::Vga, false);
    ram.write_u8(0, 1);
    assert!(ram.take_dirty(DirtyClient::Vga, 0, u64::MAX).is_empty());
}

#[test]
fn code_pages() {
    #[derive(Default)]
    struct Record(std::sync::Mutex<Vec<(u64, u64)>>);
    impl CodeWatcher for Record {
        fn code_written(&self, offset: u64, len: u64) {
            self.0.lock().unwrap().push((offset, len));
        }
    }
    let ram = Ram::anonymous(0x4000).unwrap();
    let record = Arc::new(Record::default());
    ram.watch_code(record.clone());
    ram.write_u32(0x1000, 1);
    ram.protect_code(0x1000, 4);
    assert!(ram.has_code(0x1fff) && !ram.has_code(0x2000));
    ram.write_u32(0x2000, 1);
    ram.write_u32(0x1ffe, 1);
    ram.unprotect_code(0x1000, 4);
    ram.write_u32(0x1000, 1);
    assert_eq!(*record.0.lock().unwrap(), [(0x1ffe, 4)]);
}

#[test]
fn discarded_pages_are_zero() {
    let path = std::env::temp_dir().join(format!("tinamou-discard-test-{}", std::process::id()));
    std::fs::write(&path, vec![3; 0x4000]).unwrap();
    for ram in [
        Ram::anonymous(0x4000).unwrap(),
        Ram::memfd("ram", 0x4000).unwrap(),
        Ram::file(&path, 0x4000, false).unwrap(),
        Ram::file(&path, 0x4000, true).unwrap(),
    ] {
        ram.fill(0, 0x4000, 7);
        ram.log_dirty(DirtyClient::Snapshot, true);
        ram.discard(0x1000, 0x2000);
        assert_eq!(ram.take_dirty(DirtyClient::Snapshot, 0, 0x4000), [0x1000, 0x2000]);
        let all: Vec<u8> = (0..4).map(|page| ram.read_u8(page * 0x1000 + 0xfff)).collect();
        assert_eq!(all, [7, 0, 0, 7]);
    }
    std::fs::remove_file(&path).unwrap();
}

/// An index that others write is never seen with one byte old and one new.
#[test]
fn numbers_are_read_and_written_whole() {
    let ram = Ram::anonymous(4096).unwrap();
    let values = [0x3fffu16, 0x4000];
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ram, ended) = (&ram, &ended);
        ram.write(6, &values[0].to_le_bytes());
        scope.spawn(move || {
            for n in 0..300_000 {
                ram.write(6, &values[n % 2].to_le_bytes());
            }
            ended.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !ended.load(std::sync::atomic::Ordering::SeqCst) {
            let mut bytes = [0; 2];
            ram.read(6, &mut bytes);
            let seen = u16::from_le_bytes(bytes);
            assert!(values.contains(&seen), "{seen:#x}");
        }
    });
}

#[test]
fn what_is_stored_while_the_memory_is_got_ahead_stays() {
    let ram = Ram::anonymous(32 << 20).unwrap();
    let ahead = get_ahead(ram.base, ram.len());
    let pages = ram.len() / base::PAGE_SIZE;
    ahead.order(0, ram.len() >> PIECE_BITS);
    for round in 1..=9 {
        for page in 0..pages {
            let at = page * base::PAGE_SIZE;
            ram.write_u8(at, ram.read_u8(at) + 1);
            assert_eq!(ram.read_u8(at), round, "page {page}");
        }
    }
    ahead.stop();
    assert!((0..pages).all(|page| ram.read_u8(page * base::PAGE_SIZE) == 9));
}
