//! Operand formats (Unprivileged ISA, section "Base Instruction Formats") and how they are written in assembly.

use crate::csr;
use crate::table::Format;

/// ABI names of the integer registers.
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];
/// ABI names of the float registers.
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4",
    "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8",
    "ft9", "ft10", "ft11",
];

fn x(r: u8) -> &'static str {
    X_NAMES[r as usize & 31]
}
fn f(r: u8) -> &'static str {
    F_NAMES[r as usize & 31]
}
/// Rounding mode.
fn rm(m: u8) -> &'static str {
    ["rne", "rtz", "rdn", "rup", "rmm", "inv", "inv", "dyn"][m as usize & 7]
}
fn target(pc: u64, offset: i64) -> String {
    let to = pc.wrapping_add(offset as u64);
    format!("{offset}# 0x{to:x}")
}

/// Bits `lo..lo + n` of `w`.
#[inline(always)]
pub const fn bits(w: u32, lo: u32, n: u32) -> u32 {
    w >> lo & ((1 << n) - 1)
}
/// The low `n` bits of `v`, sign-extended.
#[inline(always)]
pub const fn sign(v: u32, n: u32) -> i64 {
    ((v << (32 - n)) as i32 >> (32 - n)) as i64
}
#[inline(always)]
fn rd(w: u32) -> u8 {
    bits(w, 7, 5) as u8
}
#[inline(always)]
fn rs1(w: u32) -> u8 {
    bits(w, 15, 5) as u8
}
#[inline(always)]
fn rs2(w: u32) -> u8 {
    bits(w, 20, 5) as u8
}
#[inline(always)]
fn rs3(w: u32) -> u8 {
    bits(w, 27, 5) as u8
}
#[inline(always)]
fn round(w: u32) -> u8 {
    bits(w, 12, 3) as u8
}
#[inline(always)]
fn imm_i(w: u32) -> u64 {
    (w as i32 >> 20) as u64
}
#[inline(always)]
fn imm_s(w: u32) -> u64 {
    ((w as i32 >> 25) << 5 | bits(w, 7, 5) as i32) as u64
}

macro_rules! formats {
    ($($(#[$d:meta])* $name:ident { $($field:ident: $ty:ty = $take:expr),* } |$me:pat_param, $pc:pat_param| $text:expr;)*) => { $(
        $(#[$d])*
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name { $(pub $field: $ty),* }
        impl Format for $name {
            #[inline(always)]
            fn of(w: u32) -> Self { let _ = w; $name { $($field: ($take)(w)),* } }
            fn text(&self, pc: u64) -> String { let ($me, $pc) = (self, pc); $text }
        }
    )* };
}

formats! {
    /// Two sources.
    R { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{},{}", x(i.rd), x(i.rs1), x(i.rs2));
    /// One source.
    R1 { rd: u8 = rd, rs1: u8 = rs1 } |i, _| format!("{},{}", x(i.rd), x(i.rs1));
    /// Register and immediate.
    I { rd: u8 = rd, rs1: u8 = rs1, imm: u64 = imm_i } |i, _| format!("{},{},{}", x(i.rd), x(i.rs1), i.imm as i64);
    /// Load, and jalr.
    L { rd: u8 = rd, rs1: u8 = rs1, imm: u64 = imm_i } |i, _| format!("{},{}({})", x(i.rd), i.imm as i64, x(i.rs1));
    /// Shift by a constant of 6 bits.
    Sh { rd: u8 = rd, rs1: u8 = rs1, sh: u64 = |w| bits(w, 20, 6) as u64 } |i, _| format!("{},{},{}", x(i.rd), x(i.rs1), i.sh);
    /// Shift by a constant of 5 bits.
    ShW { rd: u8 = rd, rs1: u8 = rs1, sh: u64 = |w| bits(w, 20, 5) as u64 } |i, _| format!("{},{},{}", x(i.rd), x(i.rs1), i.sh);
    /// Store.
    S { rs1: u8 = rs1, rs2: u8 = rs2, imm: u64 = imm_s } |i, _| format!("{},{}({})", x(i.rs2), i.imm as i64, x(i.rs1));
    /// Two sources, the second shifted by up to 3.
    RSh { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2, sh: u64 = |w| bits(w, 25, 2) as u64 }
        |i, _| format!("{},{},{},{}", x(i.rd), x(i.rs1), x(i.rs2), i.sh);
    /// The same with a float register for what is loaded or stored.
    FSh { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2, sh: u64 = |w| bits(w, 25, 2) as u64 }
        |i, _| format!("{},{},{},{}", f(i.rd), x(i.rs1), x(i.rs2), i.sh);
    /// A field of bits.
    Field { rd: u8 = rd, rs1: u8 = rs1, msb: u64 = |w| bits(w, 26, 6) as u64, lsb: u64 = |w| bits(w, 20, 6) as u64 }
        |i, _| format!("{},{},{},{}", x(i.rd), x(i.rs1), i.msb, i.lsb);
    /// A base that moves by a shifted constant.
    Step { rd: u8 = rd, rs1: u8 = rs1, imm: i64 = |w| sign(bits(w, 20, 5), 5), sh: u64 = |w| bits(w, 25, 2) as u64 }
        |i, _| format!("{},({}),{},{}", x(i.rd), x(i.rs1), i.imm, i.sh);
    /// Two registers from or to memory; how far it is from the base to them depends on their size.
    Pair { rd: u8 = rd, rd2: u8 = rs2, rs1: u8 = rs1, index: u64 = |w| bits(w, 25, 2) as u64, size: u64 = |w| if bits(w, 27, 5) == 0x1f { 4 } else { 3 } }
        |i, _| format!("{},{},({}),{},{}", x(i.rd), x(i.rd2), x(i.rs1), i.index, i.size);
    /// One source and nothing else.
    X1 { rs1: u8 = rs1 } |i, _| x(i.rs1).to_owned();
    /// Conditional branch.
    B { rs1: u8 = rs1, rs2: u8 = rs2, offset: i64 = |w: u32| sign(bits(w, 31, 1) << 12 | bits(w, 7, 1) << 11 | bits(w, 25, 6) << 5 | bits(w, 8, 4) << 1, 13) }
        |i, pc| format!("{},{},{}", x(i.rs1), x(i.rs2), target(pc, i.offset));
    /// Upper immediate.
    U { rd: u8 = rd, imm: u64 = |w| (w & 0xffff_f000) as i32 as u64 } |i, _| format!("{},{}", x(i.rd), i.imm as i64 >> 12);
    /// Upper immediate, relative to the pc.
    UPc { rd: u8 = rd, imm: u64 = |w| (w & 0xffff_f000) as i32 as u64 }
        |i, pc| format!("{},{}# 0x{:x}", x(i.rd), i.imm as i64 >> 12, pc.wrapping_add(i.imm));
    /// Jump.
    J { rd: u8 = rd, offset: i64 = |w: u32| sign(bits(w, 31, 1) << 20 | bits(w, 12, 8) << 12 | bits(w, 20, 1) << 11 | bits(w, 21, 10) << 1, 21) }
        |i, pc| format!("{},{}", x(i.rd), target(pc, i.offset));
    /// No operands.
    Z { } |_, _| String::new();
    /// Fence.
    Fence { predecessor: u8 = |w| bits(w, 24, 4) as u8, successor: u8 = |w| bits(w, 20, 4) as u8 }
        |i, _| format!("{},{}", iorw(i.predecessor), iorw(i.successor));
    /// Two sources, no destination (sfence.vma).
    R0 { rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{}", x(i.rs1), x(i.rs2));
    /// Cache-block operation.
    Cbo { rs1: u8 = rs1 } |i, _| format!("({})", x(i.rs1));
    /// Prefetch.
    Prefetch { rs1: u8 = rs1, imm: u64 = |w: u32| ((w as i32 >> 25) << 5) as u64 } |i, _| format!("{}({})", i.imm as i64, x(i.rs1));
    /// Atomic.
    A { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{},({})", x(i.rd), x(i.rs2), x(i.rs1));
    /// Load-reserved.
    Lr { rd: u8 = rd, rs1: u8 = rs1 } |i, _| format!("{},({})", x(i.rd), x(i.rs1));
    /// CSR and register.
    Csr { rd: u8 = rd, rs1: u8 = rs1, csr: u16 = |w| bits(w, 20, 12) as u16 } |i, _| format!("{},{},{}", x(i.rd), csr::name(i.csr), x(i.rs1));
    /// CSR and immediate.
    CsrI { rd: u8 = rd, imm: u8 = rs1, csr: u16 = |w| bits(w, 20, 12) as u16 } |i, _| format!("{},{},{}", x(i.rd), csr::name(i.csr), i.imm);
    /// Float load.
    FL { rd: u8 = rd, rs1: u8 = rs1, imm: u64 = imm_i } |i, _| format!("{},{}({})", f(i.rd), i.imm as i64, x(i.rs1));
    /// Float store.
    FS { rs1: u8 = rs1, rs2: u8 = rs2, imm: u64 = imm_s } |i, _| format!("{},{}({})", f(i.rs2), i.imm as i64, x(i.rs1));
    /// Float, three sources.
    F4 { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2, rs3: u8 = rs3, rm: u8 = round }
        |i, _| format!("{},{},{},{},{}", rm(i.rm), f(i.rd), f(i.rs1), f(i.rs2), f(i.rs3));
    /// Float, two sources, rounded.
    F3 { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2, rm: u8 = round } |i, _| format!("{},{},{},{}", rm(i.rm), f(i.rd), f(i.rs1), f(i.rs2));
    /// Float, two sources.
    F3N { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{},{}", f(i.rd), f(i.rs1), f(i.rs2));
    /// Float, one source, rounded.
    F2 { rd: u8 = rd, rs1: u8 = rs1, rm: u8 = round } |i, _| format!("{},{},{}", rm(i.rm), f(i.rd), f(i.rs1));
    /// Float comparison.
    FCmp { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{},{}", x(i.rd), f(i.rs1), f(i.rs2));
    /// Float to integer register.
    FX { rd: u8 = rd, rs1: u8 = rs1, rm: u8 = round } |i, _| format!("{},{},{}", rm(i.rm), x(i.rd), f(i.rs1));
    /// Float to integer register without rounding.
    FXN { rd: u8 = rd, rs1: u8 = rs1 } |i, _| format!("{},{}", x(i.rd), f(i.rs1));
    /// Integer to float register.
    XF { rd: u8 = rd, rs1: u8 = rs1, rm: u8 = round } |i, _| format!("{},{},{}", rm(i.rm), f(i.rd), x(i.rs1));
    /// Integer to float register without rounding.
    XFN { rd: u8 = rd, rs1: u8 = rs1 } |i, _| format!("{},{}", f(i.rd), x(i.rs1));
    /// Two integer registers to a float register (fmvp.d.x).
    XXF { rd: u8 = rd, rs1: u8 = rs1, rs2: u8 = rs2 } |i, _| format!("{},{},{}", f(i.rd), x(i.rs1), x(i.rs2));
    /// Float constant (fli).
    Fli { rd: u8 = rd, index: u8 = rs1 } |i, _| format!("{},{}", f(i.rd), FLI[i.index as usize & 31]);
}

const FLI: [&str; 32] = [
    "-1.0",
    "min",
    "1.52587890625e-05",
    "3.0517578125e-05",
    "0.00390625",
    "0.0078125",
    "0.0625",
    "0.125",
    "0.25",
    "0.3125",
    "0.375",
    "0.4375",
    "0.5",
    "0.625",
    "0.75",
    "0.875",
    "1.0",
    "1.25",
    "1.5",
    "1.75",
    "2.0",
    "2.5",
    "3.0",
    "4.0",
    "8.0",
    "16.0",
    "128.0",
    "256.0",
    "32768.0",
    "65536.0",
    "inf",
    "nan",
];

/// The set of accesses a fence names.
fn iorw(set: u8) -> String {
    [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')].iter().filter(|(b, _)| set & b != 0).map(|(_, c)| c).collect()
}

impl FSh {
    /// The operands of the address.
    pub fn integers(self) -> RSh {
        RSh { rd: self.rd, rs1: self.rs1, rs2: self.rs2, sh: self.sh }
    }
}

impl Step {
    /// How far the base moves.
    pub fn step(self) -> u64 {
        (self.imm << self.sh) as u64
    }
}
