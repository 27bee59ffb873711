use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn board() -> Fdt {
    let mut fdt = Fdt::new();
    fdt.root
        .prop_str("model", "riscv-virtio,qemu")
        .prop_str("compatible", "riscv-virtio")
        .prop_u32("#size-cells", 2)
        .prop_u32("#address-cells", 2);
    fdt.node("/soc").prop_empty("ranges").prop_str("compatible", "simple-bus");
    fdt.node("/chosen").prop_str("bootargs", "console=ttyS0 \"quoted\"");
    let intc = fdt.allocate_phandle();
    fdt.node("/cpus/cpu@0/interrupt-controller").prop_u32("phandle", intc);
    fdt.node("/soc/clint@2000000")
        .prop_strs("compatible", &["sifive,clint0", "riscv,clint0"])
        .prop_u64s("reg", &[0x200_0000, 0x1_0000])
        .prop_u32s("interrupts-extended", &[intc, 3, intc, 7]);
    fdt
}

#[test]
fn new_properties_and_nodes_come_first() {
    let mut fdt = board();
    let names = |node: &Node| node.properties.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&fdt.root), ["#address-cells", "#size-cells", "compatible", "model"]);
    let children: Vec<_> = fdt.root.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(children, ["cpus", "chosen", "soc"]);
    fdt.root.prop_str("model", "other");
    assert_eq!(names(&fdt.root), ["#address-cells", "#size-cells", "compatible", "model"]);
    assert!(fdt.root.remove_prop("model") && !fdt.root.remove_prop("model"));
}

#[test]
fn blocks_follow_each_other() {
    let mut fdt = Fdt { boot_cpu: 3, ..Fdt::new() };
    fdt.reservations.push(Reservation { address: 0x8000_0000, size: 0x1000 });
    fdt.root.prop_u32("interrupt-parent", 1).prop_empty("parent");
    let dtb = fdt.to_dtb();
    let words: Vec<u32> = dtb.chunks_exact(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect();
    // parent, interrupt-parent: two names, for the shorter one was met first.
    assert_eq!(words[..10], [0xd00d_feed, dtb.len() as u32, 72, 72 + 44, 40, 17, 16, 3, 24, 44]);
    assert_eq!(words[10..18], [0, 0x8000_0000, 0, 0x1000, 0, 0, 0, 0]);
    assert_eq!(words[18..29], [1, 0, 3, 0, 0, 3, 4, 7, 1, 2, 9]);
    assert_eq!(&dtb[72 + 44..], b"parent\0interrupt-parent\0");
    assert_eq!(Fdt::from_dtb(&dtb).unwrap(), fdt);
}

#[test]
fn tails_of_names_are_shared() {
    let mut fdt = Fdt::new();
    fdt.root.prop_empty("parent").prop_empty("interrupt-parent");
    let dtb = fdt.to_dtb();
    assert!(dtb.ends_with(b"interrupt-parent\0"));
    assert_eq!(Fdt::from_dtb(&dtb).unwrap(), fdt);
}

#[test]
fn a_board_is_found_again() {
    let fdt = Fdt::from_dtb(&board().to_dtb()).unwrap();
    assert_eq!(fdt, board());
    assert_eq!(fdt.find_phandle(1).unwrap().0, "/cpus/cpu@0/interrupt-controller");
    let (path, clint) = fdt.find_compatible("riscv,clint0").unwrap();
    assert_eq!(path, "/soc/clint@2000000");
    assert_eq!(clint.property("reg").unwrap().len(), 16);
    assert_eq!(clint.u32("reg"), None);
    assert!(fdt.find("/soc/nothing").is_none());
    assert_eq!(fdt.find("/").unwrap(), &fdt.root);
    let mut fdt = fdt;
    assert_eq!(fdt.allocate_phandle(), 2);
}

#[test]
fn source_form() {
    let dts = board().to_dts();
    for line in [
        "/dts-v1/;",
        "\t#address-cells = <0x02>;",
        "\t\tranges;",
        "\t\tclint@2000000 {",
        "\t\t\tcompatible = \"sifive,clint0\", \"riscv,clint0\";",
        "\t\t\treg = <0x00 0x2000000 0x00 0x10000>;",
        "\t\tbootargs = \"console=ttyS0 \\\"quoted\\\"\";",
    ] {
        assert!(dts.lines().any(|l| l == line), "{line} not in\n{dts}");
    }
}

#[test]
fn damaged_trees_say_why() {
    let dtb = board().to_dtb();
    let code = |dtb: &[u8]| Fdt::from_dtb(dtb).unwrap_err().code;
    let with = |word: usize, value: u32| {
        let mut dtb = dtb.clone();
        dtb[4 * word..4 * word + 4].copy_from_slice(&value.to_be_bytes());
        dtb
    };
    assert_eq!(code(b""), "FDT_ERR_BADMAGIC");
    assert_eq!(code(&[0; 100]), "FDT_ERR_BADMAGIC");
    assert_eq!(code(&dtb[..20]), "FDT_ERR_TRUNCATED");
    assert_eq!(code(&dtb[..dtb.len() - 1]), "FDT_ERR_TRUNCATED");
    assert_eq!(code(&with(5, 3)), "FDT_ERR_BADVERSION");
    assert_eq!(code(&with(6, 99)), "FDT_ERR_BADVERSION");
    for word in [2, 3, 4, 8, 9] {
        assert_eq!(code(&with(word, 0xffff_fff0)), "FDT_ERR_TRUNCATED", "header word {word}");
    }
    assert_eq!(code(&with(14, 0xdead)), "FDT_ERR_BADSTRUCTURE");
    assert_eq!(code(&with(14, 9)), "FDT_ERR_BADSTRUCTURE");
    // The first property's length: beyond the block.
    assert_eq!(code(&with(17, 0xffff_ffff)), "FDT_ERR_TRUNCATED");
    assert_eq!(code(&with(18, 0xffff_ffff)), "FDT_ERR_BADSTRUCTURE");

    let mut deep = Fdt::new();
    deep.node(&"/a".repeat(63));
    assert!(Fdt::from_dtb(&deep.to_dtb()).is_ok());
    deep.node(&"/a".repeat(64));
    assert_eq!(code(&deep.to_dtb()), "FDT_ERR_BADSTRUCTURE");
}

#[test]
fn files() {
    let directory = std::env::temp_dir().join(format!("fdt-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("board.dtb");
    board().dump(&file).unwrap();
    assert_eq!(Fdt::load(&file).unwrap(), board());
    std::fs::write(&file, b"").unwrap();
    assert!(Fdt::load(&file).unwrap_err().contains("FDT_ERR_BADMAGIC"));
    std::fs::remove_dir_all(&directory).unwrap();
    let missing =
        format!("Unable to get size of device tree file '{}': No such file or directory", file.display());
    assert_eq!(Fdt::load(&file).unwrap_err(), missing);
    let error = board().dump(&file).unwrap_err();
    assert!(error.starts_with("Error saving FDT to file ") && error.ends_with(": No such file or directory"));
}

fn any_node() -> impl Strategy<Value = Node> {
    let name = "[a-z#,][a-z0-9,._+@-]{0,40}";
    let properties = vec((name, vec(any::<u8>(), 0..40)), 0..5);
    let leaf =
        (name, properties.clone()).prop_map(|(name, properties)| Node { name, properties, children: vec![] });
    leaf.prop_recursive(4, 40, 5, move |child| {
        (name, properties.clone(), vec(child, 0..5)).prop_map(|(name, properties, children)| Node {
            name,
            properties,
            children,
        })
    })
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(root in any_node(), reserved in vec((1u64.., any::<u64>()), 0..4), boot_cpu: u32) {
        let mut fdt = Fdt { boot_cpu, root: Node { name: String::new(), ..root }, ..Fdt::new() };
        fdt.reservations.extend(reserved.into_iter().map(|(address, size)| Reservation { address, size }));
        let dtb = fdt.to_dtb();
        let read = Fdt::from_dtb(&dtb).unwrap();
        prop_assert_eq!((&read.root, &read.reservations, read.boot_cpu), (&fdt.root, &fdt.reservations, boot_cpu));
        prop_assert_eq!(read.to_dtb(), dtb);
    }

    #[test]
    fn damage_never_panics(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut: prop::sample::Index) {
        let mut dtb = board().to_dtb();
        for (index, value) in changes {
            let index = index.index(dtb.len());
            dtb[index] = value;
        }
        for dtb in [&dtb[..], &dtb[..cut.index(dtb.len())]] {
            if let Ok(fdt) = Fdt::from_dtb(dtb) {
                fdt.to_dts();
                prop_assert_eq!(Fdt::from_dtb(&fdt.to_dtb()).unwrap(), fdt);
            }
        }
    }

    #[test]
    fn damaged_words_never_panic(changes in vec((any::<prop::sample::Index>(), 0u32..12), 1..6)) {
        let mut dtb = board().to_dtb();
        for (index, value) in changes {
            let word = index.index(dtb.len() / 4);
            dtb[4 * word..4 * word + 4].copy_from_slice(&value.to_be_bytes());
        }
        if let Ok(fdt) = Fdt::from_dtb(&dtb) {
            prop_assert_eq!(Fdt::from_dtb(&fdt.to_dtb()).unwrap(), fdt);
        }
    }
}
