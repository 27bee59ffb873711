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
