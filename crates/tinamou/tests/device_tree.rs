//! The device tree that a guest is given, property by property beside that of another program: with every interrupt
//! controller and one to four harts. Runs where `TINAMOU_ORACLE` names a `qemu-system-riscv64`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Boards, and what else the command line has.
const BOARDS: &[(&str, &[&str])] = &[
    ("virt", &[]),
    ("virt", &["-m", "3G"]),
    ("virt,aclint=on", &[]),
    ("virt,aia=aplic", &["-m", "1G"]),
    ("virt,aia=aplic-imsic", &["-device", "pcie-root-port,id=rp1,chassis=1"]),
    ("virt,aia=aplic-imsic,aia-guests=3", &[]),
    ("virt,aia=aplic-imsic,aia-guests=7", &["-m", "2G"]),
];

/// Properties by the path of their node and their name.
type Tree = BTreeMap<String, Vec<u8>>;

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn text(bytes: &[u8], at: usize) -> String {
    bytes[at..].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

/// Reads a flattened device tree (Devicetree Specification 0.4, chapter 5).
fn read(blob: &[u8]) -> Tree {
    let (mut at, strings) = (number(blob, 8), number(blob, 12));
    let (mut path, mut tree) = (Vec::new(), Tree::new());
    loop {
        let token = number(blob, at);
        at += 4;
        match token {
            1 => {
                let name = text(blob, at);
                at += (name.len() + 4) & !3;
                path.push(name);
                tree.insert(format!("{}/", path.join("/")), Vec::new());
            }
            2 => drop(path.pop()),
            3 => {
                let (length, name) = (number(blob, at), text(blob, strings + number(blob, at + 4)));
                let value = blob[at + 8..at + 8 + length].to_vec();
                at += 8 + ((length + 3) & !3);
                tree.insert(format!("{}/{name}", path.join("/")), value);
            }
            4 => {}
            _ => return tree,
        }
    }
}

fn dumped(program: &Path, board: &str, harts: u32, more: &[&str]) -> Tree {
    let file = std::env::temp_dir().join(format!("tinamou-{}-tree.dtb", std::process::id()));
    let machine = format!("{board},dumpdtb={}", file.display());
    let output = Command::new(program)
        .args(["-M", &machine, "-smp", &harts.to_string(), "-display", "none"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let blob = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    read(&blob)
}

/// What may differ: random numbers, and that there is no hypervisor extension here.
fn comparable(mut tree: Tree) -> Tree {
    for (name, value) in &mut tree {
        if name.ends_with("/rng-seed") {
            value.fill(0);
        } else if name.ends_with("/riscv,isa") {
            *value =
                String::from_utf8(value.clone()).unwrap().replacen("imafdch_", "imafdc_", 1).into_bytes();
        } else if name.ends_with("/riscv,isa-extensions") {
            *value = String::from_utf8(value.clone()).unwrap().replacen("\0h\0", "\0", 1).into_bytes();
        }
    }
    tree
}

#[test]
fn trees_are_those_of_the_reference() {
    let Some(oracle) = std::env::var_os("TINAMOU_ORACLE") else {
        eprintln!("skipped: TINAMOU_ORACLE does not name a qemu-system-riscv64");
        return;
    };
    let ours = Path::new(env!("CARGO_BIN_EXE_tinamou"));
    for (board, more) in BOARDS {
        for harts in 1..=4 {
            let [here, there] =
                [ours, Path::new(&oracle)].map(|program| comparable(dumped(program, board, harts, more)));
            assert!(here.len() > 50, "{board}: {} properties", here.len());
            for (name, value) in &there {
                assert_eq!(here.get(name), Some(value), "{board} with {harts} harts: {name}");
            }
            let surplus: Vec<_> = here.keys().filter(|name| !there.contains_key(*name)).collect();
            assert!(surplus.is_empty(), "{board} with {harts} harts: {surplus:?}");
        }
    }
}
