use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz.
type Header = [u64; 7];

/// A 64-bit RISC-V ELF executable: header, program headers, then `data` up to the end.
fn elf64(entry: u64, headers: &[Header], data: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, value: u16| file.extend_from_slice(&value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend_from_slice(&value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend_from_slice(&value.to_le_bytes());
    half(&mut file, 2);
    half(&mut file, 243);
    word(&mut file, 1);
    long(&mut file, entry);
    long(&mut file, 64);
    long(&mut file, 0);
    word(&mut file, 0);
    for value in [64, 56, headers.len() as u16, 64, 0, 0] {
        half(&mut file, value);
    }
    for &[kind, flags, offset, virt, physical, file_size, memory_size] in headers {
        word(&mut file, kind as u32);
        word(&mut file, flags as u32);
        for value in [offset, virt, physical, file_size, memory_size, 4096] {
            long(&mut file, value);
        }
    }
    file.extend_from_slice(data);
    file
}

/// The same for 32 bits, with one segment.
fn elf32(entry: u32, address: u32, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[2, 0, 243, 0, 1, 0, 0, 0]);
    for value in [entry, 52, 0, 0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    for value in [52u16, 32, 1, 40, 0, 0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    let size = data.len() as u32;
    for value in [1, 84, address, address, size, size, 5, 4096] {
        file.extend_from_slice(&u32::to_le_bytes(value));
    }
    file.extend_from_slice(data);
    file
}

fn kernel() -> Vec<u8> {
    // Three headers of 56 bytes follow the file header.
    let data = 64 + 3 * 56;
    elf64(
        0xffff_ffff_8000_0010,
        &[
            [4, 4, data, 0, 0, 8, 8],
            [1, 5, data, 0xffff_ffff_8000_0000, 0x8040_0000, 64, 128],
            [1, 6, data + 64, 0x8050_0000, 0x8050_0000, 16, 16],
        ],
        &[0x6f; 80],
    )
}

/// A Linux image of 128 bytes that asks for 4096.
fn image() -> Vec<u8> {
    let mut image = vec![0; 128];
    image[8..16].copy_from_slice(&0x20_0000u64.to_le_bytes());
    image[16..24].copy_from_slice(&4096u64.to_le_bytes());
    image[32..36].copy_from_slice(&2u32.to_le_bytes());
    image[48..56].copy_from_slice(b"RISCV\0\0\0");
    image[56..60].copy_from_slice(b"RSC\x05");
    image
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn load_here(bytes: Vec<u8>) -> Result<Loaded, String> {
    load_bytes("k", bytes, 0x8020_0000, MIB)
}

#[test]
fn elf_segments_go_to_their_physical_addresses() {
    let loaded = load_here(kernel()).unwrap();
    assert_eq!(loaded.form, Form::Elf64);
    assert_eq!((loaded.entry, loaded.low, loaded.high), (0x8040_0010, 0x8040_0000, 0x8050_0010));
    let names: Vec<_> = loaded.segments.iter().map(|blob| (blob.name.as_str(), blob.size)).collect();
    assert_eq!(names, [("k ELF program header segment 1", 128), ("k ELF program header segment 2", 16)]);
    assert_eq!(loaded.segments[0].contents, vec![0x6f; 64].into());

    let loaded = load_here(elf32(0x8000_0004, 0x8000_0000, &[1, 2, 3, 4, 5, 6])).unwrap();
    assert_eq!(loaded.form, Form::Elf32);
    assert_eq!((loaded.entry, loaded.low, loaded.high), (0x8000_0004, 0x8000_0000, 0x8000_0006));
}

#[test]
fn damaged_elf_says_why() {
    let reason = |file: Vec<u8>| load_here(file).unwrap_err();
    let with = |offset: usize, value: u8| {
        let mut file = kernel();
        file[offset] = value;
        file
    };
    assert!(reason(b"\x7fELF".to_vec()).contains("ends within its header"));
    assert!(reason(kernel()[..40].to_vec()).contains("ELF header is damaged"));
    assert!(reason(kernel()[..100].to_vec()).contains("program headers are damaged"));
    assert!(reason(kernel()[..280].to_vec()).contains("segment 1 lies beyond the end of the file"));
    assert!(reason(with(4, 3)).contains("unknown class"));
    assert!(reason(with(5, 2)).contains("not little-endian"));
    assert!(reason(with(18, 62)).contains("another machine"));
    assert!(reason(with(16, 1)).contains("not executable"));
    assert!(reason(with(56, 0)).contains("nothing to load"));
    let one = |header: Header| elf64(0, &[header], &[0; 64]);
    assert!(reason(one([1, 5, 120, 0, u64::MAX - 10, 64, 64])).contains("wraps round"));
    assert!(reason(one([1, 5, 120, 0, 0, 64, 63])).contains("more bytes in the file"));
    assert!(reason(one([1, 5, u64::MAX, 0, 0, 64, 64])).contains("beyond the end"));
    let many = vec![[1, 5, 0, 0, 0x8000_0000, 5000, 5000]; 100];
    assert!(reason(elf64(0, &many, &[])).contains("larger than the file"));
}

#[test]
fn linux_image_and_gzip() {
    let header = ImageHeader { text_offset: 0x20_0000, image_size: 4096, version: 2 };
    for file in [image(), gzip(&image())] {
        let loaded = load_here(file).unwrap();
        assert_eq!(loaded.form, Form::Image(header));
        assert_eq!((loaded.entry, loaded.low, loaded.high), (0x8020_0000, 0x8020_0000, 0x8020_1000));
        assert_eq!(loaded.segments.len(), 1);
        assert_eq!((loaded.segments[0].name.as_str(), loaded.segments[0].size), ("k", 128));
    }
    assert_eq!(load_here(gzip(&kernel())).unwrap().form, Form::Elf64);

    let mut hungry = image();
    hungry[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(load_here(hungry).unwrap_err().contains("needs 18446744073709551615 bytes"));
    let mut big_endian = image();
    big_endian[24] = 1;
    assert!(load_here(big_endian).unwrap_err().contains("big-endian"));
    assert!(load_here(image()[..61].to_vec()).unwrap_err().contains("ends within its header"));
}

#[test]
fn gzip_is_bounded() {
    let bomb = gzip(&vec![0; 8 << 20]);
    assert!(bomb.len() < 16 << 10);
    assert!(load_here(bomb).unwrap_err().contains("when decompressed"));
    let whole = gzip(&image());
    assert!(load_here(whole[..whole.len() / 2].to_vec()).unwrap_err().contains("gzip data is damaged"));
    assert!(load_here(gzip(&[])).unwrap_err().contains("compressed file is empty"));
}

#[test]
fn raw_binaries() {
    let loaded = load_here(vec![0x13; 4096]).unwrap();
    assert_eq!((loaded.form, loaded.entry, loaded.high), (Form::Raw, 0x8020_0000, 0x8020_1000));
    assert!(load_here(Vec::new()).unwrap_err().contains("empty"));
    assert!(load_here(vec![0; MIB as usize + 1]).unwrap_err().contains("needs 1048577 bytes"));
    assert!(load_bytes("k", vec![0; 2], u64::MAX, MIB).is_err());
}

#[test]
fn files_that_cannot_be_read() {
    let missing = load(Path::new("/nonexistent"), 0, MIB).unwrap_err();
    assert_eq!(missing.to_string(), "/nonexistent: No such file or directory");
    assert_eq!(load(Path::new("/"), 0, MIB).unwrap_err().to_string(), "/: Is a directory");
    assert!(
        load(Path::new("/dev/zero"), 0, MIB).unwrap_err().reason.starts_with("larger than the 1048576 bytes")
    );
    assert!(load(Path::new("/dev/null"), 0, MIB).unwrap_err().reason.contains("empty"));
    assert!(load_initrd(Path::new("/dev/null"), 0x8420_0000, MIB).unwrap().contents.is_empty());
    assert!(load_initrd(Path::new("/nonexistent"), 0, MIB).is_err());
}

#[test]
fn initrd_lies_half_way_up() {
    assert_eq!(initrd_address(0x8020_0000, 128 * MIB), 0x8420_0000);
    assert_eq!(initrd_address(0x8020_0000, 2048 * MIB), 0xa020_0000);
    assert_eq!(initrd_address(0x8020_0000, 8192 * MIB), 0xa020_0000);
}

proptest! {
    #[test]
    fn damage_never_panics(
        form in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut: prop::sample::Index,
    ) {
        let forms = [kernel(), elf32(0, 0x8000_0000, &[7; 40]), image(), gzip(&image())];
        let mut file = forms[form].clone();
        for (index, value) in changes {
            let index = index.index(file.len());
            file[index] = value;
        }
        let cut = cut.index(file.len());
        for file in [file.clone(), file[..cut].to_vec()] {
            if let Ok(loaded) = load_here(file) {
                prop_assert!(loaded.low <= loaded.high);
                for blob in loaded.segments {
                    prop_assert!(blob.addr.checked_add(blob.size).is_some() && blob.contents.len() <= blob.size);
                }
            }
        }
    }
}
