//! A disk with one partition, a FAT16 file system that holds one program where firmware looks for it.
//!
//! Document: Microsoft, "FAT: General Overview of On-Disk Format", 1.03.

use crate::Result;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Bytes of a sector, sectors of a cluster, sectors of the whole, entries of the root directory.
const SECTOR: usize = 512;
const CLUSTER: usize = 8 * SECTOR;
const SECTORS: usize = 128 << 20 >> 9;
const ROOT: usize = 512;
/// Bytes of an entry.
const ENTRY: usize = 32;
/// Sectors of one table.
const TABLE: usize = (SECTORS / 8 + 2) * 2 / SECTOR + 1;
/// Where the root directory and the first cluster (number 2) begin.
const ROOT_AT: usize = (1 + 2 * TABLE) * SECTOR;
const CLUSTERS_AT: usize = ROOT_AT + ROOT * ENTRY;

const DIRECTORY: u8 = 0x10;
const FILE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;
const LAST: u16 = 0xffff;

/// Sectors before the partition.
const BEFORE: usize = 2048;

/// Writes a disk of 129 MiB on which `/EFI/BOOT/BOOTRISCV64.EFI` is `program`.
pub fn write_disk(path: &Path, program: &[u8]) -> Result<()> {
    // What is empty takes no room.
    let mut file = File::create(path)?;
    file.write_all(&disk_with_boot_program(program))?;
    file.set_len(((BEFORE + SECTORS) * SECTOR) as u64)?;
    Ok(())
}

/// The disk as far as anything is on it.
fn disk_with_boot_program(program: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; BEFORE * SECTOR];
    // The partition: bootable, of the type that UEFI calls the system's own.
    put(&mut disk, 446, &[0x80, 0, 0, 0, 0xef]);
    put(&mut disk, 454, &(BEFORE as u32).to_le_bytes());
    put(&mut disk, 458, &(SECTORS as u32).to_le_bytes());
    put(&mut disk, 510, &[0x55, 0xaa]);
    disk.extend(with_boot_program(program));
    disk
}

/// The file system.
fn with_boot_program(program: &[u8]) -> Vec<u8> {
    let mut image = vec![0; CLUSTERS_AT + 2 * CLUSTER + program.len().next_multiple_of(CLUSTER)];
    image[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    image[3..11].copy_from_slice(b"TINAMOU ");
    let fields: [(usize, &[u8]); 12] = [
        (11, &(SECTOR as u16).to_le_bytes()),
        (13, &[(CLUSTER / SECTOR) as u8]),
        (14, &[1, 0, 2]),
        (17, &(ROOT as u16).to_le_bytes()),
        (21, &[0xf8]),
        (22, &(TABLE as u16).to_le_bytes()),
        (24, &[63, 0, 255, 0]),
        (28, &(BEFORE as u32).to_le_bytes()),
        (32, &(SECTORS as u32).to_le_bytes()),
        (36, &[0x80, 0, 0x29, 1, 2, 3, 4]),
        (43, b"TINAMOU    FAT16   "),
        (510, &[0x55, 0xaa]),
    ];
    fields.iter().for_each(|(at, bytes)| image[*at..*at + bytes.len()].copy_from_slice(bytes));
    // Clusters: 2 is EFI, 3 is EFI/BOOT, the program has the others.
    let count = program.len().div_ceil(CLUSTER) as u16;
    let mut table = vec![0xfff8, LAST, LAST, LAST];
    table.extend((4..4 + count).map(|n| if n + 1 == 4 + count { LAST } else { n + 1 }));
    for copy in 0..2 {
        for (n, next) in table.iter().enumerate() {
            put(&mut image, (1 + copy * TABLE) * SECTOR + 2 * n, &next.to_le_bytes());
        }
    }
    put(&mut image, ROOT_AT, &entry(b"EFI        ", DIRECTORY, 2, 0));
    let (efi, boot) = (CLUSTERS_AT, CLUSTERS_AT + CLUSTER);
    let up = [(efi, 2, 0), (boot, 3, 2)];
    for (at, own, parent) in up {
        put(&mut image, at, &entry(b".          ", DIRECTORY, own, 0));
        put(&mut image, at + ENTRY, &entry(b"..         ", DIRECTORY, parent, 0));
    }
    put(&mut image, efi + 2 * ENTRY, &entry(b"BOOT       ", DIRECTORY, 3, 0));
    let short = b"BOOTRI~1EFI";
    let mut entries = long_name("BOOTRISCV64.EFI", short);
    entries.extend(entry(short, FILE, 4, program.len() as u32));
    put(&mut image, boot + 2 * ENTRY, &entries);
    put(&mut image, CLUSTERS_AT + 2 * CLUSTER, program);
    image
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn entry(name: &[u8; 11], kind: u8, cluster: u16, size: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = kind;
    entry[26..28].copy_from_slice(&cluster.to_le_bytes());
    entry[28..].copy_from_slice(&size.to_le_bytes());
    entry
}

/// The entries before that of a file whose name is longer than 8.3: 13 characters each, the last first.
fn long_name(name: &str, short: &[u8; 11]) -> Vec<u8> {
    let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut characters: Vec<u16> = name.encode_utf16().chain([0]).collect();
    characters.resize(characters.len().next_multiple_of(13), 0xffff);
    let parts = characters.chunks(13).enumerate();
    let last = characters.len() / 13;
    let mut entries = Vec::new();
    for (n, part) in parts.rev() {
        let mut entry = [0; ENTRY];
        entry[0] = (n + 1) as u8 | if n + 1 == last { 0x40 } else { 0 };
        (entry[11], entry[13]) = (LONG_NAME, sum);
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
        places.zip(part).for_each(|(at, unit)| entry[at..at + 2].copy_from_slice(&unit.to_le_bytes()));
        entries.extend(entry);
    }
    entries
}

#[cfg(test)]
#[path = "fat_test.rs"]
mod test;
