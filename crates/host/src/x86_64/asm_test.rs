//! The encoder against someone else's disassembler.

use super::*;
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

/// The number of a register of any width, from its name.
fn number(r: Register) -> u8 {
    let name = format!("{r:?}");
    let digits =
        name.trim_start_matches("XMM").trim_start_matches('R').trim_end_matches(['D', 'W', 'L', 'B']);
    if let Ok(n) = digits.parse() {
        return n;
    }
    const LETTERS: [&[&str]; 8] = [
        &["AL", "AX", "EAX", "RAX"],
        &["CL", "CX", "ECX", "RCX"],
        &["DL", "DX", "EDX", "RDX"],
        &["BL", "BX", "EBX", "RBX"],
        &["SPL", "SP", "ESP", "RSP"],
        &["BPL", "BP", "EBP", "RBP"],
        &["SIL", "SI", "ESI", "RSI"],
        &["DIL", "DI", "EDI", "RDI"],
    ];
    LETTERS.iter().position(|l| l.contains(&name.as_str())).unwrap_or_else(|| panic!("{name}")) as u8
}

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

fn decode(bytes: &[u8]) -> Instruction {
    let mut d = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE);
    let i = d.decode();
    assert_eq!(i.len(), bytes.len(), "{bytes:02x?}: {i}");
    i
}

/// The operand that the row places in r/m, as the disassembler sees it.
fn check_rm(i: &Instruction, rm: Rm, text: &str) {
    match rm {
        Rm::R(r) => {
            let found =
                (0..i.op_count()).any(|k| i.op_kind(k) == OpKind::Register && number(i.op_register(k)) == r);
            assert!(found, "{text}: {i} has no register {r}");
        }
        Rm::M(m) => {
            assert_eq!(number(i.memory_base()), m.base, "{text}: {i}");
            assert_eq!(i.memory_displacement64() as i32, m.disp, "{text}: {i}");
            if m.index == NO {
                assert_eq!(i.memory_index(), Register::None, "{text}: {i}");
            } else {
                assert_eq!(number(i.memory_index()), m.index, "{text}: {i}");
                assert_eq!(i.memory_index_scale(), 1 << m.scale, "{text}: {i}");
            }
        }
        Rm::Rip(target) => assert_eq!(i.ip_rel_memory_address(), target, "{text}: {i}"),
    }
}

#[test]
fn every_row_is_what_it_says() {
    let mut random = Random(7);
    let mut asm = Asm::default();
    for &(mnemonic, row) in ROWS {
        for _ in 0..400 {
            asm.start(0x1000);
            let reg = random.below(16) as u8;
            // RORX has no third operand: the field must be all ones.
            let vvvv = if mnemonic == "rorx" { 0 } else { random.below(16) as u8 };
            let w = random.below(2) == 1 && row.vex == 0 && row.immediate != 2;
            let disp = match random.below(4) {
                0 => 0,
                1 => random.below(256) as i32 - 128,
                2 => random.below(1 << 20) as i32 - (1 << 19),
                _ => [127, 128, -128, -129, i32::MAX, i32::MIN][random.below(6) as usize],
            };
            let base = random.below(16) as u8;
            let memory_only = matches!(mnemonic, "lea" | "ldmxcsr" | "stmxcsr");
            let mut rm = match random.below(3) {
                0 if !memory_only => Rm::R(base),
                1 => {
                    let index = random.below(16) as u8;
                    let index = if index == 4 { NO } else { index };
                    Rm::M(Mem { base, index, scale: random.below(4) as u8 * (index != NO) as u8, disp })
                }
                _ => Rm::M(Mem::at(base, disp)),
            };
            if random.below(10) == 0 && !mnemonic.starts_with("push") {
                rm = Rm::Rip(0x1000u64.wrapping_add(random.below(1 << 30)));
            }
            let imm = random.below(1 << 31) as i32 as i64;
            asm.ins(row, w, reg, vvvv, rm, imm);
            let bytes = asm.bytes().to_vec();
            let i = decode(&bytes);
            let text = format!("{mnemonic} {row:?} w {w} reg {reg} {rm:?}: {bytes:02x?}");
            // With REX.W the manual calls MOVD MOVQ.
            let expected = if w && mnemonic == "movd" { "movq" } else { mnemonic };
            assert_eq!(format!("{:?}", i.mnemonic()).to_lowercase(), expected, "{text}: {i}");
            check_rm(&i, rm, &text);
            if row.extension == 8 {
                check_rm(&i, Rm::R(reg), &text);
            }
            if row.immediate != 0 {
                let k = i.op_count() - 1;
                let bits = 8 * row.immediate as u32;
                let mask = (1u64 << bits) - 1;
                assert_eq!(i.immediate(k) & mask, imm as u64 & mask, "{text}: {i}");
            }
        }
    }
}

#[test]
fn conditions_and_moves_of_constants() {
    let mut asm = Asm::default();
    for (code, name) in
        [(cc::E, "e"), (cc::NE, "ne"), (cc::L, "l"), (cc::AE, "ae"), (cc::G, "g"), (cc::NP, "np")]
    {
        for r in 0..16 {
            asm.start(0x1000);
            asm.ins(setcc(code), false, 0, 0, Rm::R(r), 0);
            let i = decode(asm.bytes());
            assert_eq!(format!("{:?}", i.mnemonic()).to_lowercase(), format!("set{name}"));
            assert_eq!(number(i.op0_register()), r);
            asm.start(0x1000);
            asm.ins(cmovcc(code), true, 3, 0, Rm::R(r), 0);
            let i = decode(asm.bytes());
            assert_eq!(format!("{:?}", i.mnemonic()).to_lowercase(), format!("cmov{name}"));
            assert_eq!((number(i.op0_register()), number(i.op1_register())), (3, r));
            asm.start(0x1000);
            bswap(&mut asm, true, r);
            assert_eq!(number(decode(asm.bytes()).op0_register()), r);
        }
    }
    for c in [
        0,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        u64::MAX,
        i32::MIN as u64,
        1 << 32,
        0x1234_5678_9abc_def0,
    ] {
        for r in 0..16 {
            asm.start(0x1000);
            asm.mov_imm(r, c);
            let i = decode(asm.bytes());
            assert_eq!(number(i.op0_register()), r);
            assert_eq!(i.immediate(1), c, "{i}");
        }
    }
}

#[test]
fn jumps_lead_where_they_should() {
    let mut asm = Asm::default();
    for target in [0x0, 0x1000, 0x1005, 0x4000_0000] {
        asm.start(0x1000);
        asm.jump_to(None, target);
        assert_eq!(decode(asm.bytes()).near_branch_target(), target);
        asm.start(0x1000);
        asm.jump_to(Some(cc::NE), target);
        assert_eq!(decode(asm.bytes()).near_branch_target(), target);
        asm.start(0x1000);
        asm.call(target);
        assert_eq!(decode(asm.bytes()).near_branch_target(), target);
    }
    asm.start(0x1000);
    let at = asm.jump(None);
    asm.nops(23);
    let here = asm.pos();
    asm.patch(at, here);
    assert_eq!(decode(&asm.bytes()[..5]).near_branch_target(), 0x1000 + 28);
}

#[test]
fn padding_is_made_of_no_operations() {
    let mut asm = Asm::default();
    for n in 1..16 {
        asm.start(0);
        asm.ins(CMP, true, 3, 0, Rm::R(9), 0);
        asm.shift(0, n);
        let bytes = asm.bytes().to_vec();
        let mut d = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
        let mut last = String::new();
        let mut count = 0;
        for i in &mut d {
            last = format!("{:?}", i.mnemonic());
            assert!(last == "Nop" || i.next_ip() == bytes.len() as u64);
            count += 1;
        }
        assert_eq!(last, "Cmp");
        assert!(count >= 2);
    }
}
