//! Decoding, compared with GNU objdump where it is installed.

use crate::disassemble::disassemble;
use crate::models::parse_cpu;
use std::process::Command;

/// Words that fit a row, picked by a counter-based hash.
fn words(mask: u32, value: u32, n: u32) -> Vec<u32> {
    let mix = |k: u32| {
        let mut z = (value ^ mask.rotate_left(7)).wrapping_add(k.wrapping_mul(0x9e37_79b9));
        z = (z ^ z >> 16).wrapping_mul(0x85eb_ca6b);
        z = (z ^ z >> 13).wrapping_mul(0xc2b2_ae35);
        z ^ z >> 16
    };
    (0..n).map(|k| value | mix(k) & !mask).collect()
}

/// Instructions that objdump names otherwise or not at all without an architecture string.
fn same(ours: &str, theirs: &str) -> bool {
    ours == theirs
        // binutils 2.40 does not know Zicond, Zacas, Zfa, Zcb, Zimop.
        || theirs.starts_with(['.', '0'])
        || matches!((ours, theirs), ("fence", "fence.tso"))
        // Reserved encodings of ours that objdump prints as the instruction they resemble.
        || theirs == "unimp" && ours == "c.unimp"
        || ours == "c.addi16sp.0"
        // Shifts by zero are hints that objdump gives names of their own.
        || theirs.strip_suffix("64") == Some(ours)
}

#[test]
fn names_are_those_of_objdump() {
    names(
        "max",
        "rv64imafdc_zicbom_zicbop_zicboz_zicsr_zifencei_zihintpause_zawrs_zfh_zba_zbb_zbc_zbkb_zbkx_zbs_svinval",
    );
    names(
        "thead-c906",
        "rv64imafdc_zicsr_zifencei_zfh_xtheadba_xtheadbb_xtheadbs_xtheadcmo_xtheadcondmov_xtheadfmemidx_xtheadmac_\
         xtheadmemidx_xtheadmempair_xtheadsync",
    );
}

fn names(cpu: &str, arch: &str) {
    let config = parse_cpu(cpu).unwrap();
    let mut source = format!(".option arch, {arch}\n");
    let mut expected = Vec::new();
    for row in config.decoder().rows().iter().filter(|r| r.length == 4) {
        for w in words(row.mask, row.value, 40) {
            // What a more special row takes is that row's.
            let Some(found) = config.decoder().decode(w) else { panic!("{} is not decoded", row.name) };
            source.push_str(&format!(".insn 4, {w:#x}\n"));
            expected.push((found.name.replace('_', "."), w));
        }
    }
    for w in (0..0x1_0000u32).filter(|w| w & 3 != 3 && w % 5 == 0) {
        source.push_str(&format!(".insn 2, {w:#x}\n"));
        expected.push((config.decoder().decode(w).map_or("?".into(), |r| r.name.replacen('_', ".", 9)), w));
    }
    let directory = std::env::temp_dir().join(format!("tinamou-decode-{cpu}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (text, object) = (directory.join("a.s"), directory.join("a.o"));
    std::fs::write(&text, source).unwrap();
    let assembled = Command::new("riscv64-linux-gnu-as").arg("-o").args([&object, &text]).output();
    let listed = match assembled {
        Ok(o) if o.status.success() => Command::new("riscv64-linux-gnu-objdump")
            .args(["-d", "-M", "no-aliases"])
            .arg(&object)
            .output()
            .ok(),
        Ok(o) => panic!("{}", String::from_utf8_lossy(&o.stderr)),
        Err(_) => None,
    };
    let _ = std::fs::remove_dir_all(&directory);
    let Some(listed) = listed else {
        eprintln!("SKIPPED: riscv64-linux-gnu-as and -objdump are not installed");
        return;
    };
    let listed = String::from_utf8_lossy(&listed.stdout).to_string();
    let lines = listed.lines().filter(|l| l.contains(":\t"));
    let theirs: Vec<&str> = lines.map(|l| l.split('\t').nth(2).unwrap_or("")).collect();
    assert_eq!(theirs.len(), expected.len());
    let mut wrong: Vec<String> = Vec::new();
    for ((ours, w), theirs) in expected.iter().zip(theirs) {
        let theirs = theirs.trim_end_matches(".aqrl").trim_end_matches(".aq").trim_end_matches(".rl");
        if !same(ours, theirs) {
            wrong.push(format!("{w:08x}: {ours} here, {theirs} in objdump"));
        }
    }
    wrong.dedup_by_key(|l| l[9..].to_string());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn disassembly_is_in_qemus_style() {
    let config = parse_cpu("rv64").unwrap();
    let line = |pc: u64, w: u32| disassemble(&config, pc, &w.to_le_bytes()).0;
    assert_eq!(
        line(0x1000, 0x297),
        "00000297          auipc                   t0,0                    # 0x1000"
    );
    assert_eq!(line(0x1004, 0x0282_8613), "02828613          addi                    a2,t0,40");
    assert_eq!(line(0x1008, 0xf140_2573), "f1402573          csrrs                   a0,mhartid,zero");
    assert_eq!(line(0x100c, 0x0202_b583), "0202b583          ld                      a1,32(t0)");
    assert_eq!(line(0x1014, 0x0002_8067), "00028067          jr                      t0");
}

/// `TINAMOU_IN_ASM` names a log that QEMU wrote with `-d in_asm`.
#[test]
fn disassembly_equals_qemus_log() {
    let Ok(path) = std::env::var("TINAMOU_IN_ASM") else {
        eprintln!("SKIPPED: TINAMOU_IN_ASM is not set");
        return;
    };
    let config = parse_cpu("max").unwrap();
    let log = std::fs::read_to_string(path).unwrap();
    let (mut wrong, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for line in log.lines() {
        let Some((pc, text)) = line.split_once(":  ") else { continue };
        let Ok(pc) = u64::from_str_radix(pc.trim_start_matches("0x"), 16) else { continue };
        let Some(Ok(w)) = text.split(' ').next().map(|w| u32::from_str_radix(w, 16)) else { continue };
        let ours = disassemble(&config, pc, &w.to_le_bytes()).0;
        // Hints and CSRs that QEMU's disassembler does not know, and one whose last operand it leaves out.
        if ["pause", "cbo.", "xperm", "menvcfg", "stimecmp", "0x3"].iter().any(|n| ours.contains(n)) {
            continue;
        }
        if ours != text.trim_end() && seen.insert(text.split_whitespace().nth(1).map(str::to_string)) {
            wrong.push(format!("{pc:x}\n  ours   {ours}\n  theirs {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
