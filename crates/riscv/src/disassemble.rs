//! Disassembly in the style of QEMU's `-d in_asm`: compressed instructions by their expansion, common pseudo-instructions.

use crate::config::Config;

/// Text of the instruction at the start of `bytes`, and its length.
pub fn disassemble(config: &Config, pc: u64, bytes: &[u8]) -> (String, usize) {
    let half = |n: usize| bytes.get(n..n + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]) as u32);
    let first = half(0);
    let (word, length) = if first & 3 == 3 { (first | half(2) << 16, 4) } else { (first, 2) };
    let raw = if length == 4 { format!("{word:08x}") } else { format!("{word:04x}") };
    let text = match config.decoder().decode(word) {
        None => format!("{raw:<18}illegal"),
        Some(row) => {
            let operands = (row.operands)(word, pc);
            let (list, comment) = operands.split_once('#').unwrap_or((&operands, ""));
            let mut name = row.text.replace('_', ".");
            // Ordering bits of atomics (major opcode AMO).
            if word & 0x7f == 0x2f {
                name.push_str(["", ".rl", ".aq", ".aq.rl"][(word >> 25 & 3) as usize]);
            }
            let (name, mut operands) = pseudo(name, list.to_string());
            if !comment.is_empty() {
                operands = format!("{operands:<24}#{comment}");
            }
            if operands.is_empty() {
                format!("{raw:<18}{name}")
            } else {
                format!("{raw:<18}{name:<24}{operands}")
            }
        }
    };
    (text.trim_end().to_string(), length)
}

/// Replaces an instruction by the pseudo-instruction that it is usually written as.
fn pseudo(name: String, list: String) -> (String, String) {
    let o: Vec<&str> = list.split(',').collect();
    let pick = |n: &str, keep: &[usize]| {
        let text = keep.iter().filter_map(|&k| o.get(k).copied()).collect::<Vec<_>>().join(",");
        Some((n.to_string(), text))
    };
    let same = |a: usize, b: usize| o.get(a).is_some() && o.get(a) == o.get(b);
    let is = |a: usize, what: &str| o.get(a) == Some(&what);
    let lifted = match name.as_str() {
        "addi" if is(0, "zero") && is(1, "zero") && is(2, "0") => pick("nop", &[]),
        "addi" if is(2, "0") => pick("mv", &[0, 1]),
        "addiw" if is(2, "0") => pick("sext.w", &[0, 1]),
        "xori" if is(2, "-1") => pick("not", &[0, 1]),
        "sub" if is(1, "zero") => pick("neg", &[0, 2]),
        "subw" if is(1, "zero") => pick("negw", &[0, 2]),
        "sltiu" if is(2, "1") => pick("seqz", &[0, 1]),
        "sltu" if is(1, "zero") => pick("snez", &[0, 2]),
        "slt" if is(2, "zero") => pick("sltz", &[0, 1]),
        "slt" if is(1, "zero") => pick("sgtz", &[0, 2]),
        "beq" if is(1, "zero") => pick("beqz", &[0, 2]),
        "bne" if is(1, "zero") => pick("bnez", &[0, 2]),
        "bge" if is(0, "zero") => pick("blez", &[1, 2]),
        "bge" if is(1, "zero") => pick("bgez", &[0, 2]),
        "blt" if is(1, "zero") => pick("bltz", &[0, 2]),
        "blt" if is(0, "zero") => pick("bgtz", &[1, 2]),
        "jal" if is(0, "zero") => pick("j", &[1]),
        "jal" if is(0, "ra") => pick("jal", &[0, 1]),
        "jalr" if list == "zero,0(ra)" => pick("ret", &[]),
        "c.unimp" => pick("illegal", &[]),
        "blt" => pick("bgt", &[1, 0, 2]),
        "bge" => pick("ble", &[1, 0, 2]),
        "bltu" => pick("bgtu", &[1, 0, 2]),
        "bgeu" => pick("bleu", &[1, 0, 2]),
        "jalr" => {
            let (offset, base) =
                o.get(1).and_then(|t| t.trim_end_matches(')').split_once('(')).unwrap_or(("", ""));
            match (o.first().copied(), offset) {
                (Some("zero"), "0") => Some(("jr".to_string(), base.to_string())),
                (Some(rd), _) => Some(("jalr".to_string(), format!("{rd},{base},{offset}"))),
                _ => None,
            }
        }
        "fsgnj.s" if same(1, 2) => pick("fmv.s", &[0, 1]),
        "fsgnjn.s" if same(1, 2) => pick("fneg.s", &[0, 1]),
        "fsgnjx.s" if same(1, 2) => pick("fabs.s", &[0, 1]),
        "fsgnj.d" if same(1, 2) => pick("fmv.d", &[0, 1]),
        "fsgnjn.d" if same(1, 2) => pick("fneg.d", &[0, 1]),
        "fsgnjx.d" if same(1, 2) => pick("fabs.d", &[0, 1]),
        "csrrs" if is(1, "fflags") && is(2, "zero") => pick("frflags", &[0]),
        "csrrs" if is(1, "frm") && is(2, "zero") => pick("frrm", &[0]),
        "csrrs" if is(1, "fcsr") && is(2, "zero") => pick("frcsr", &[0]),
        "csrrw" if is(1, "fflags") => pick("fsflags", &[0, 2]),
        "csrrw" if is(1, "frm") => pick("fsrm", &[0, 2]),
        "csrrw" if is(1, "fcsr") => pick("fscsr", &[0, 2]),
        "csrrwi" if is(1, "fflags") => pick("fsflagsi", &[0, 2]),
        "csrrwi" if is(1, "frm") => pick("fsrmi", &[0, 2]),
        "fmv.w.x" => pick("fmv.s.x", &[0, 1]),
        "fmv.x.w" => pick("fmv.x.s", &[0, 1]),
        "pack" if is(2, "zero") => pick("zext.h", &[0, 1]),
        "csrrs" if is(1, "cycle") && is(2, "zero") => pick("rdcycle", &[0]),
        "csrrs" if is(1, "time") && is(2, "zero") => pick("rdtime", &[0]),
        "csrrs" if is(1, "instret") && is(2, "zero") => pick("rdinstret", &[0]),
        "zext.h.32" => pick("zext.h", &[0, 1]),
        "rev8.32" => pick("rev8", &[0, 1]),
        "amocas.d.pair" => pick("amocas.d", &[0, 1, 2]),
        _ => None,
    };
    lifted.unwrap_or((name, list))
}
