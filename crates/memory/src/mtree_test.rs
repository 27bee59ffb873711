use object::Node;

use super::*;
use crate::region::WHOLE;
use crate::{OpenBus, Ram, Unassigned};

fn spaces() -> (object::ObjectRef, Vec<Arc<AddressSpace>>) {
    let root = Node::new("container");
    let machine = Node::new("virt-machine");
    root.add_child("machine", &machine);
    let unattached = object::unattached(&machine);
    let pci = Node::new_device("gpex-pcihost");
    unattached.add_child("device[*]", &pci);

    let system = Region::container("system", WHOLE);
    let memory = AddressSpace::new("memory", &system);
    let cpu = AddressSpace::new("cpu-memory-0", &system);
    let io = AddressSpace::new("I/O", &Region::mmio("io", 0x10000, Arc::new(OpenBus)));
    let mrom = Region::rom("mrom", Ram::anonymous(0xf000).unwrap());
    mrom.set_unowned(&unattached);
    system.add_subregion(0x1000, &mrom);
    let window = Region::mmio("gpex_mmio_window", WHOLE, Arc::new(OpenBus));
    window.set_owner(&pci);
    window.add_subregion(0, &Region::container("gpex_mmio", WHOLE));
    system.add_subregion(0x4000_0000, &Region::alias("pcie-mmio", &window, 0x4000_0000, 0x4000_0000));
    system.add_subregion(0x100_0000, &Region::container("platform bus", 0x2000));
    let flash = Ram::anonymous(0x1000).unwrap();
    system.add_subregion(0x2000_0000, &Region::rom_device("flash", flash, Arc::new(Unassigned)));
    system.add_subregion(0x8000_0000, &Region::ram("ram", Ram::anonymous(0x8000).unwrap()));
    let master = Region::container("bus master container", WHOLE);
    let gone = Region::alias("bus master", &system, 0, WHOLE);
    gone.set_enabled(false);
    master.add_subregion(0, &gone);
    (root, vec![memory, cpu, io, AddressSpace::new("gpex-root", &master)])
}

#[test]
fn trees() {
    let (_root, spaces) = spaces();
    let text = print_mtree(&spaces, MtreeOptions::default());
    let system = "  0000000000000000-ffffffffffffffff (prio 0, i/o): system
    0000000000001000-000000000000ffff (prio 0, rom): mrom
    0000000001000000-0000000001001fff (prio 0, i/o): platform bus
    0000000020000000-0000000020000fff (prio 0, romd): flash
    0000000040000000-000000007fffffff (prio 0, i/o): alias pcie-mmio @gpex_mmio_window 0000000040000000-000000007fffffff
    0000000080000000-0000000080007fff (prio 0, ram): ram
";
    let expected = format!(
        "address-space: cpu-memory-0
address-space: memory
{system}
address-space: I/O
  0000000000000000-000000000000ffff (prio 0, i/o): io

address-space: gpex-root
  0000000000000000-ffffffffffffffff (prio 0, i/o): bus master container

memory-region: gpex_mmio_window
  0000000000000000-ffffffffffffffff (prio 0, i/o): gpex_mmio_window
    0000000000000000-ffffffffffffffff (prio 0, i/o): gpex_mmio

memory-region: system
{system}
"
    );
    assert_eq!(text, expected);
    let all = print_mtree(&spaces, MtreeOptions { disabled: true, ..MtreeOptions::default() });
    assert!(all.contains("    0000000000000000-ffffffffffffffff (prio 0, i/o): alias bus master @system 0000000000000000-ffffffffffffffff [disabled]\n"));
}

#[test]
fn flat() {
    let (_root, spaces) = spaces();
    let text = print_mtree(&spaces, MtreeOptions { flat: true, owner: true, ..MtreeOptions::default() });
    assert_eq!(
        text,
        "FlatView #0
 AS \"memory\", root: system
 AS \"cpu-memory-0\", root: system
 Root memory region: system
  0000000000001000-000000000000ffff (prio 0, rom): mrom parent:{obj path=/machine/unattached}
  0000000020000000-0000000020000fff (prio 0, romd): flash orphan
  0000000040000000-000000007fffffff (prio 0, i/o): gpex_mmio_window @0000000040000000 owner:{dev path=/machine/unattached/device[0]}
  0000000080000000-0000000080007fff (prio 0, ram): ram orphan

FlatView #1
 AS \"I/O\", root: io
 Root memory region: io
  0000000000000000-000000000000ffff (prio 0, i/o): io

FlatView #2
 AS \"gpex-root\", root: bus master container
 Root memory region: (none)
  No rendered FlatView

"
        .replace("(prio 0, i/o): io\n", "(prio 0, i/o): io orphan\n")
    );
}
