use super::*;
use crate::region::WHOLE;
use crate::{Ram, Region};

#[test]
fn listed_checked_and_copied() {
    let system = Region::container("system", WHOLE);
    let space = AddressSpace::new("memory", &system);
    let cpu = AddressSpace::new("cpu-memory-0", &system);
    system.add_subregion(0x1000, &Region::rom("mrom", Ram::anonymous(0xf000).unwrap()));
    system.add_subregion(0x8000_0000, &Region::ram("ram", Ram::anonymous(0x10000).unwrap()));
    let roms = Roms::new();
    roms.add("kernel", &space, 0x8000_0000, vec![1, 2, 3, 4]);
    roms.add("mrom.finfo", &space, 0x1028, vec![9; 0x30]);
    roms.add("mrom.reset", &space, 0x1000, vec![5; 0x28]);
    roms.add_firmware_file("etc/acpi/rsdp", vec![0; 0x1000]);
    roms.add("fdt", &space, 0x8000_1000, vec![6; 0x1384]);
    roms.add("loaded", &cpu, 0x8000_4000, vec![6; 8]);
    roms.check().unwrap();
    assert_eq!(
        roms.print(),
        "addr=0000000000001000 size=0x000028 mem=rom name=\"mrom.reset\"\n\
         addr=0000000000001028 size=0x000030 mem=rom name=\"mrom.finfo\"\n\
         addr=0000000080000000 size=0x000004 mem=ram name=\"kernel\"\n\
         addr=0000000080001000 size=0x001384 mem=ram name=\"fdt\"\n\
         /rom@etc/acpi/rsdp size=0x001000 name=\"etc/acpi/rsdp\"\n\
         addr=0000000080004000 size=0x000008 mem=ram name=\"loaded\"\n"
    );
    roms.reset();
    assert_eq!(space.read_int(0x1028, 2), Ok(0x0909));
    assert_eq!(space.read_int(0x8000_0000, 4), Ok(0x0403_0201));
    roms.add("big", &space, 0x1010, vec![1]);
    assert!(roms.check().unwrap_err().message() == "Some ROM regions are overlapping");
}

#[test]
fn a_blob_is_loaded_round_registers() {
    let root = Region::container("system", crate::WHOLE);
    root.add_subregion(0, &Region::ram("ram", Ram::anonymous(0x1000).unwrap()));
    let space = AddressSpace::new("memory", &root);
    root.add_overlap(0x10, &Region::mmio("registers", 8, Arc::new(crate::OpenBus)), 1);
    let roms = Roms::new();
    roms.add("blob", &space, 0, vec![7; 0x20]);
    roms.reset();
    assert_eq!(space.read_int(0xc, 4), Ok(0x0707_0707));
    assert_eq!(space.read_int(0x18, 4), Ok(0x0707_0707));
}

/// A machine with RAM from `BASE` on, and its blobs.
fn machine(len: u64) -> (Arc<AddressSpace>, Arc<Ram>, Roms) {
    let ram = Ram::anonymous(len).unwrap();
    let root = Region::container("system", WHOLE);
    root.add_subregion(BASE, &Region::ram("ram", ram.clone()));
    (AddressSpace::new("memory", &root), ram, Roms::new())
}

const BASE: u64 = 0x8000_0000;

fn wait_for(ram: &Ram) {
    let begin = std::time::Instant::now();
    while ram.is_coming() {
        assert!(begin.elapsed().as_secs() < 60, "the blobs do not come");
        std::thread::yield_now();
    }
}

#[test]
fn large_blobs_come_meanwhile() {
    let (space, ram, roms) = machine(8 << 20);
    let bytes =
        |seed: u32, len: u32| (0..len).map(|n| (n.wrapping_mul(seed) >> 11) as u8).collect::<Vec<u8>>();
    let (kernel, ramdisk) = (bytes(0x9e37_79b1, 3 << 20), bytes(0x85eb_ca6b, (2 << 20) - 77));
    // Neither end of theirs is a page's, and one page has parts of both.
    let (first, second) = (0x1234, 0x1234 + (3 << 20));
    roms.add("kernel", &space, BASE + first, kernel.clone());
    roms.add("ramdisk", &space, BASE + second, ramdisk.clone());
    let is_there = |ram: &Ram, offset: u64, blob: &[u8]| {
        let mut found = vec![0; blob.len()];
        ram.read(offset, &mut found);
        assert!(found == blob, "the blob at {offset:#x} is another");
    };
    for turn in 0..3u8 {
        roms.reset();
        // What is stored before the bytes have come is not undone by their coming.
        let at = second + (1 << 20) + 5;
        ram.write_u8(at, turn);
        is_there(&ram, first, &kernel);
        wait_for(&ram);
        is_there(&ram, first, &kernel);
        assert_eq!(ram.read_u8(at), turn);
        ram.write_u8(at, ramdisk[(at - second) as usize]);
        is_there(&ram, second, &ramdisk);
        assert_eq!((ram.read_u8(first - 1), ram.read_u8(second + ramdisk.len() as u64)), (0, 0));
        // The guest has its way with all of it until the next reset, which may come while blobs are on their way.
        ram.fill(first, kernel.len() as u64, 0x55);
        roms.reset();
    }
}

#[test]
fn who_stores_while_blobs_come_loses_nothing() {
    let (space, ram, roms) = machine(8 << 20);
    roms.add("kernel", &space, BASE, vec![1; 4 << 20]);
    roms.reset();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let ram = &ram;
            scope.spawn(move || (0..1024).rev().for_each(|page| ram.write_u8(page * 4096 + thread, 7)));
        }
    });
    wait_for(&ram);
    for page in 0..1024 {
        assert_eq!(ram.read_u64(page * 4096), 0x0101_0101_0107_0707, "page {page}");
    }
}

#[test]
fn a_file_that_has_been_cut_off_gives_zeros() {
    let (space, ram, roms) = machine(8 << 20);
    let file = tempfile();
    file.set_len(2 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9; 2 << 20], 0).unwrap();
    let file = Arc::new(file);
    roms.add("kernel", &space, BASE, Contents::File(file.clone(), 2 << 20));
    file.set_len(1 << 20).unwrap();
    roms.reset();
    wait_for(&ram);
    assert_eq!((ram.read_u8((1 << 20) - 1), ram.read_u8(1 << 20)), (9, 0));
}

/// A file without a name.
fn tempfile() -> std::fs::File {
    let memory = rustix::fs::memfd_create("blob", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    std::fs::File::from(memory)
}
