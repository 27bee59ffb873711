//! The encoder: instruction rows as the manual writes them, and their bytes.
//!
//! Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, sections 2.1 (instruction format), 2.2.1
//! (REX), 2.3 (VEX) and 3.1.1.1 (the notation of the opcode column, which [`row`] reads).

/// Number of a general register.
pub type Reg = u8;
/// No register.
pub const NO: Reg = 0xff;
/// General registers in the manual's numbering.
#[allow(missing_docs)]
pub mod reg {
    pub const RAX: u8 = 0;
    pub const RCX: u8 = 1;
    pub const RDX: u8 = 2;
    pub const RBX: u8 = 3;
    pub const RSP: u8 = 4;
    pub const RBP: u8 = 5;
    pub const RSI: u8 = 6;
    pub const RDI: u8 = 7;
    pub const R8: u8 = 8;
    pub const R9: u8 = 9;
    pub const R10: u8 = 10;
    pub const R11: u8 = 11;
    pub const R12: u8 = 12;
    pub const R13: u8 = 13;
    pub const R14: u8 = 14;
    pub const R15: u8 = 15;
}

/// Condition codes, as the low four bits of the opcode of `Jcc`, `SETcc`, `CMOVcc`.
#[allow(missing_docs)]
pub mod cc {
    pub const O: u8 = 0;
    pub const B: u8 = 2;
    pub const AE: u8 = 3;
    pub const E: u8 = 4;
    pub const NE: u8 = 5;
    pub const BE: u8 = 6;
    pub const A: u8 = 7;
    pub const S: u8 = 8;
    pub const NS: u8 = 9;
    pub const P: u8 = 10;
    pub const NP: u8 = 11;
    pub const L: u8 = 12;
    pub const GE: u8 = 13;
    pub const LE: u8 = 14;
    pub const G: u8 = 15;
}

/// One row of the manual's opcode tables, in the form in which the encoder wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Mandatory prefix or 0.
    prefix: u8,
    /// Escape bytes and opcode, first byte lowest.
    opcode: u32,
    /// Bits of `opcode` that count.
    bits: u8,
    /// 0 to 7: opcode extension in the ModRM byte; 8: a register operand there.
    extension: u8,
    /// Bytes of immediate.
    immediate: u8,
    /// 8 if the row has REX.W or VEX.W1, else 0.
    w: u8,
    /// Opcode map of a VEX row, else 0.
    vex: u8,
    byte_reg: bool,
    byte_rm: bool,
}

const fn hex(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        _ => c - b'A' + 10,
    }
}

/// Reads the manual's opcode column: `REX.W 0F AF /r`, `83 /7 ib`, `VEX.LZ.66.0F38.W1 F7 /r`. Two marks are
/// ours: `r8` and `m8` say that the register or the r/m operand is a byte.
pub const fn row(text: &str) -> Row {
    let s = text.as_bytes();
    let mut map = 0;
    let mut vex = false;
    let mut r = Row {
        prefix: 0,
        opcode: 0,
        bits: 8,
        extension: 8,
        immediate: 0,
        w: 0,
        vex: 0,
        byte_reg: false,
        byte_rm: false,
    };
    let mut i = 0;
    while i < s.len() {
        let mut end = i;
        while end < s.len() && s[end] != b' ' {
            end += 1;
        }
        match s[i] {
            b'/' if s[i + 1] != b'r' => r.extension = s[i + 1] - b'0',
            b'/' => {}
            b'i' => {
                r.immediate = match s[i + 1] {
                    b'b' => 1,
                    b'w' => 2,
                    _ => 4,
                }
            }
            b'r' => r.byte_reg = true,
            b'm' => r.byte_rm = true,
            b'R' => r.w = 8,
            b'V' => {
                vex = true;
                let mut k = i + 3;
                while k < end {
                    // Components of the prefix, each after a dot.
                    match (s[k + 1], s[k + 2]) {
                        (b'6', b'6') => r.prefix = 0x66,
                        (b'F', b'3') => r.prefix = 0xf3,
                        (b'F', b'2') => r.prefix = 0xf2,
                        (b'W', b'1') => r.w = 8,
                        (b'0', b'F') => {
                            map = 1;
                            if k + 4 < end && s[k + 3] == b'3' {
                                map = if s[k + 4] == b'8' { 2 } else { 3 };
                            }
                        }
                        _ => {}
                    }
                    k += 1;
                    while k < end && s[k] != b'.' {
                        k += 1;
                    }
                }
            }
            _ => {
                let b = hex(s[i]) << 4 | hex(s[i + 1]);
                match b {
                    0x66 | 0xf2 | 0xf3 if map == 0 && end < s.len() => r.prefix = b,
                    0x0f if map == 0 => map = 1,
                    0x38 if map == 1 && !vex => map = 2,
                    0x3a if map == 1 && !vex => map = 3,
                    _ => r.opcode = b as u32,
                }
            }
        }
        i = end + 1;
    }
    if vex {
        r.vex = map;
        return r;
    }
    (r.opcode, r.bits) = match map {
        0 => (r.opcode, 8),
        1 => (r.opcode << 8 | 0x0f, 16),
        2 => (r.opcode << 16 | 0x380f, 24),
        _ => (r.opcode << 16 | 0x3a0f, 24),
    };
    r
}

/// A memory operand: base, index times scale, displacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    /// Base register.
    pub base: Reg,
    /// Index register or [`NO`].
    pub index: Reg,
    /// Log2 of the index's scale.
    pub scale: u8,
    /// Displacement.
    pub disp: i32,
}

impl Mem {
    /// `[base + disp]`.
    pub const fn at(base: Reg, disp: i32) -> Mem {
        Mem { base, index: NO, scale: 0, disp }
    }
    /// `[base + index + disp]`.
    pub const fn sum(base: Reg, index: Reg, disp: i32) -> Mem {
        Mem { base, index, scale: 0, disp }
    }
}

/// The operand that a ModRM byte can place in a register or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rm {
    /// A register, general or `xmm`.
    R(Reg),
    /// Memory.
    M(Mem),
    /// Memory at this absolute address, reached relative to the instruction pointer; 0 for what is patched later.
    Rip(u64),
}

/// A buffer that instructions are written to.
#[derive(Default)]
pub struct Asm {
    buffer: Vec<u8>,
    at: usize,
    /// Absolute address of the first byte.
    pub base: u64,
    /// From this offset on the code will run elsewhere: `apart` bytes further than it would behind the rest.
    split: usize,
    apart: u64,
    /// See [`Code::relocations`](crate::Code::relocations).
    relocations: Vec<crate::Relocation>,
}

/// Room that [`Asm::room`] guarantees.
const ROOM: usize = 4096;

impl Asm {
    /// Starts anew at absolute address `base`.
    pub fn start(&mut self, base: u64) {
        self.at = 0;
        self.base = base;
        self.split = usize::MAX;
        self.apart = 0;
        self.relocations.clear();
        self.room();
    }
    /// What follows will run at absolute address `base`, wherever the code before it runs.
    pub fn split(&mut self, base: u64) {
        self.split = self.at;
        self.apart = base.wrapping_sub(self.base + self.at as u64);
    }
    /// Absolute address of the byte at offset `at`.
    #[inline]
    pub fn address(&self, at: u32) -> u64 {
        let apart = if at as usize >= self.split { self.apart } else { 0 };
        self.base.wrapping_add(at as u64).wrapping_add(apart)
    }
    /// Makes sure that some hundred instructions fit; called now and then so that the encoder need not look.
    #[inline]
    pub fn room(&mut self) {
        if self.buffer.len() < self.at + ROOM {
            self.buffer.resize((self.at + ROOM) * 2, 0);
        }
    }
    /// Offset of the next byte.
    #[inline]
    pub fn pos(&self) -> u32 {
        self.at as u32
    }
    /// Everything written.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.at]
    }
    #[inline(always)]
    fn put(&mut self, value: u64, bytes: usize) {
        self.buffer[self.at..self.at + 8].copy_from_slice(&value.to_le_bytes());
        self.at += bytes;
    }
    /// Displacements that change when the code moves.
    pub fn relocations(&self) -> &[crate::Relocation] {
        &self.relocations
    }
    /// Writes the 32-bit displacement at `at` so that it leads to `target` (both offsets).
    #[inline]
    pub fn patch(&mut self, at: u32, target: u32) {
        if (at as usize >= self.split) != (target as usize >= self.split) {
            self.relocations.push(crate::Relocation { at, common: false });
        }
        self.patch_to(at, self.address(target));
    }
    /// The same with an absolute address.
    fn patch_to(&mut self, at: u32, target: u64) {
        let rel = target.wrapping_sub(self.address(at) + 4) as u32;
        self.buffer[at as usize..at as usize + 4].copy_from_slice(&rel.to_le_bytes());
    }
    /// Encodes one instruction: `reg` and `vvvv` as far as the row has them.
    #[inline(always)]
    pub fn ins(&mut self, row: Row, w: bool, reg: Reg, vvvv: Reg, rm: Rm, imm: i64) {
        // Most rows are constants here, so that what does not apply falls away.
        let row = Row { w: row.w | (w as u8) << 3, ..row };
        let reg = if row.extension < 8 { row.extension } else { reg };
        match rm {
            // The accumulator has forms of its own for long immediates, a byte shorter.
            Rm::R(0) if row.opcode == 0x81 && row.prefix == 0 => {
                let rex = if row.w != 0 { 0x48 } else { 0 };
                let opcode = (row.extension as u64) << 3 | 5;
                if rex == 0 { self.put(opcode, 1) } else { self.put(rex | opcode << 8, 2) }
            }
            Rm::R(r) => self.registers(&row, reg, vvvv, r),
            Rm::M(m) => self.memory(&row, reg, vvvv, m),
            Rm::Rip(target) => self.relative(&row, reg, vvvv, target),
        }
        if row.immediate != 0 {
            self.put(imm as u64, row.immediate as usize);
        }
    }
    /// Prefixes and opcode; `xb` are the extension bits of index and base. Returns the bytes and how many bits they are.
    #[inline(always)]
    fn head(row: &Row, reg: Reg, vvvv: Reg, xb: u8, byte: bool) -> (u64, u32) {
        if row.vex != 0 {
            let pp = match row.prefix {
                0x66 => 1,
                0xf3 => 2,
                0xf2 => 3,
                _ => 0,
            };
            let one = (!((reg >> 3) << 7 | xb << 5) & 0xe0) | row.vex;
            let two = row.w << 4 | (!vvvv & 15) << 3 | pp;
            return (0xc4 | (one as u64) << 8 | (two as u64) << 16 | (row.opcode as u64) << 24, 32);
        }
        let (mut acc, mut n) = if row.prefix != 0 { (row.prefix as u64, 8) } else { (0, 0) };
        let rex = row.w | (reg >> 3) << 2 | xb;
        if rex != 0 || byte || row.byte_reg && reg >= 4 {
            acc |= (0x40 | rex as u64) << n;
            n += 8;
        }
        (acc | (row.opcode as u64) << n, n + row.bits as u32)
    }
    fn registers(&mut self, row: &Row, reg: Reg, vvvv: Reg, r: Reg) {
        let (acc, n) = Self::head(row, reg, vvvv, r >> 3, row.byte_rm && r >= 4);
        let modrm = 0xc0 | (reg & 7) << 3 | (r & 7);
        self.put(acc | (modrm as u64) << n, n as usize / 8 + 1);
    }
    fn memory(&mut self, row: &Row, reg: Reg, vvvv: Reg, m: Mem) {
        let index = if m.index == NO { 4 } else { m.index };
        let (mut acc, mut n) = Self::head(row, reg, vvvv, (index >> 3) << 1 | m.base >> 3, false);
        let (mode, bytes) = if m.disp == 0 && m.base & 7 != 5 {
            (0, 0)
        } else if m.disp as i8 as i32 == m.disp {
            (0x40, 1)
        } else {
            (0x80, 4)
        };
        let field = mode | ((reg & 7) << 3) as u64;
        if index == 4 && m.base & 7 != 4 {
            acc |= (field | (m.base & 7) as u64) << n;
            n += 8;
        } else {
            let sib = m.scale << 6 | (index & 7) << 3 | m.base & 7;
            acc |= (field | 4 | (sib as u64) << 8) << n;
            n += 16;
        }
        self.put(acc, n as usize / 8);
        self.put(m.disp as u32 as u64, bytes);
    }
    fn relative(&mut self, row: &Row, reg: Reg, vvvv: Reg, target: u64) {
        let (acc, n) = Self::head(row, reg, vvvv, 0, false);
        let modrm = (reg & 7) << 3 | 5;
        self.put(acc | (modrm as u64) << n, n as usize / 8 + 1);
        if target != 0 {
            self.relocations.push(crate::Relocation { at: self.at as u32, common: true });
        }
        let end = self.address(self.at as u32) + 4 + row.immediate as u64;
        self.put(target.wrapping_sub(end) as u32 as u64, 4);
    }
    /// Opcode bytes without operands, at most 8.
    pub fn raw(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        self.put(u64::from_le_bytes(word), bytes.len());
    }
    /// `MOV r64, imm64`, `MOV r32, imm32` or the sign-extending form, whichever is shortest. Flags stay.
    pub fn mov_imm(&mut self, r: Reg, c: u64) {
        let b = r >> 3;
        let opcode = 0xb8 | (r & 7) as u64;
        if c <= u32::MAX as u64 {
            if b == 0 {
                self.put(opcode | c << 8, 5);
            } else {
                self.put(0x41 | opcode << 8 | c << 16, 6);
            }
        } else if c as i64 as i32 as i64 == c as i64 {
            self.ins(MOV_MI, true, 0, 0, Rm::R(r), c as i64);
        } else {
            self.put(0x48 | b as u64 | opcode << 8, 2);
            self.put(c, 8);
        }
    }
    /// A jump or conditional jump (`cc` below 16) to an absolute address.
    pub fn jump_to(&mut self, cc: Option<u8>, target: u64) {
        let at = self.jump(cc);
        self.relocations.push(crate::Relocation { at, common: true });
        self.patch_to(at, target);
    }
    /// A jump whose displacement is patched later; returns the displacement's offset.
    pub fn jump(&mut self, cc: Option<u8>) -> u32 {
        match cc {
            None => self.put(0xe9, 5),
            Some(cc) => self.put(0x0f | (0x80 | cc as u64) << 8, 6),
        }
        self.at as u32 - 4
    }
    /// `CALL` of an absolute address nearby.
    pub fn call(&mut self, target: u64) {
        self.put(0xe8, 5);
        self.relocations.push(crate::Relocation { at: self.at as u32 - 4, common: true });
        self.patch_to(self.at as u32 - 4, target);
    }
    /// `PUSH` of a register in its short form.
    pub fn push(&mut self, r: Reg) {
        self.short(0x50, r);
    }
    /// `POP` of a register in its short form.
    pub fn pop(&mut self, r: Reg) {
        self.short(0x58, r);
    }
    fn short(&mut self, opcode: u64, r: Reg) {
        let byte = opcode | (r & 7) as u64;
        if r < 8 { self.put(byte, 1) } else { self.put(0x41 | byte << 8, 2) }
    }
    /// `PUSH` of a constant.
    pub fn push_imm(&mut self, n: i32) {
        match i8::try_from(n) {
            Ok(n) => self.put(0x6a | (n as u8 as u64) << 8, 2),
            Err(_) => self.put(0x68 | (n as u32 as u64) << 8, 5),
        }
    }
    /// `RET` that drops `n` bytes of arguments.
    pub fn ret(&mut self, n: u16) {
        if n == 0 { self.put(0xc3, 1) } else { self.put(0xc2 | (n as u64) << 8, 3) }
    }
    /// Puts `n` (at most 15) bytes of no-operation before the code that began at `from`.
    pub fn shift(&mut self, from: u32, n: usize) {
        debug_assert!(self.relocations.last().is_none_or(|r| r.at < from));
        let from = from as usize;
        self.buffer.copy_within(from..self.at, from + n);
        let mut left = n;
        let mut at = from;
        while left > 0 {
            let k = left.min(9);
            self.buffer[at..at + k].copy_from_slice(NOPS[k - 1]);
            at += k;
            left -= k;
        }
        self.at += n;
    }
    /// `n` bytes of no-operation.
    pub fn nops(&mut self, n: usize) {
        self.shift(self.at as u32, n);
    }
    /// 16 bytes of data.
    pub fn data(&mut self, lo: u64, hi: u64) {
        self.put(lo, 8);
        self.put(hi, 8);
    }
}

/// The manual's recommended multi-byte forms (NOP, table 4-12).
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

macro_rules! rows {
    ($($name:ident $text:literal $mnemonic:literal;)*) => {
        $(#[doc = $mnemonic] pub const $name: Row = row($text);)*
        /// Every row with its mnemonic, for the tests.
        pub const ROWS: &[(&str, Row)] = &[$(($mnemonic, $name)),*];
    };
}

rows! {
    INC "FF /0" "inc"; ADD "03 /r" "add"; ADD_I8 "83 /0 ib" "add"; ADD_I "81 /0 id" "add"; ADD_MR "01 /r" "add";
    OR "0B /r" "or"; OR_I8 "83 /1 ib" "or"; OR_I "81 /1 id" "or"; OR_MR "09 /r" "or";
    AND "23 /r" "and"; AND_I8 "83 /4 ib" "and"; AND_I "81 /4 id" "and"; AND_MR "21 /r" "and";
    SUB "2B /r" "sub"; SUB_I8 "83 /5 ib" "sub"; SUB_I "81 /5 id" "sub"; SUB_MR "29 /r" "sub";
    XOR "33 /r" "xor"; XOR_I8 "83 /6 ib" "xor"; XOR_I "81 /6 id" "xor"; XOR_MR "31 /r" "xor";
    CMP "3B /r" "cmp"; CMP_I8 "83 /7 ib" "cmp"; CMP_I "81 /7 id" "cmp"; CMP_MR "39 /r" "cmp";
    TEST "85 /r" "test"; TEST_I "F7 /0 id" "test"; TEST_B "F6 /0 ib m8" "test";
    MOV "8B /r" "mov"; MOV_MR "89 /r" "mov"; MOV_MI "C7 /0 id" "mov";
    MOV_MR8 "88 /r r8 m8" "mov"; MOV_MR16 "66 89 /r" "mov"; MOV_MI8 "C6 /0 ib m8" "mov"; MOV_MI16 "66 C7 /0 iw" "mov";
    MOVZX8 "0F B6 /r m8" "movzx"; MOVZX16 "0F B7 /r" "movzx";
    MOVSX8 "0F BE /r m8" "movsx"; MOVSX16 "0F BF /r" "movsx"; MOVSXD "REX.W 63 /r" "movsxd";
    LEA "8D /r" "lea"; XCHG "87 /r" "xchg";
    IMUL "0F AF /r" "imul"; IMUL_I8 "6B /r ib" "imul"; IMUL_I "69 /r id" "imul";
    MUL_A "F7 /4" "mul"; IMUL_A "F7 /5" "imul"; DIV_A "F7 /6" "div"; IDIV_A "F7 /7" "idiv";
    NOT "F7 /2" "not"; NEG "F7 /3" "neg";
    ROL_I "C1 /0 ib" "rol"; ROR_I "C1 /1 ib" "ror"; SHL_I "C1 /4 ib" "shl"; SHR_I "C1 /5 ib" "shr"; SHRD_I "0F AC /r ib" "shrd"; SAR_I "C1 /7 ib" "sar";
    ROL_C "D3 /0" "rol"; ROR_C "D3 /1" "ror"; SHL_C "D3 /4" "shl"; SHR_C "D3 /5" "shr"; SAR_C "D3 /7" "sar";
    SHLX "VEX.LZ.66.0F38.W0 F7 /r" "shlx"; SARX "VEX.LZ.F3.0F38.W0 F7 /r" "sarx"; SHRX "VEX.LZ.F2.0F38.W0 F7 /r" "shrx";
    RORX "VEX.LZ.F2.0F3A.W0 F0 /r ib" "rorx"; ANDN "VEX.LZ.0F38.W0 F2 /r" "andn";
    BSF "0F BC /r" "bsf"; BSR "0F BD /r" "bsr"; TZCNT "F3 0F BC /r" "tzcnt"; LZCNT "F3 0F BD /r" "lzcnt"; POPCNT "F3 0F B8 /r" "popcnt";
    CMPXCHG "0F B1 /r" "cmpxchg"; XADD "0F C1 /r" "xadd";
    PUSH "FF /6" "push"; POP "8F /0" "pop"; JMP_RM "FF /4" "jmp"; CALL_RM "FF /2" "call";
    LDMXCSR "0F AE /2" "ldmxcsr";
    STMXCSR "0F AE /3" "stmxcsr";
    MOVSS "F3 0F 10 /r" "movss"; MOVSS_MR "F3 0F 11 /r" "movss"; MOVSD "F2 0F 10 /r" "movsd"; MOVSD_MR "F2 0F 11 /r" "movsd";
    MOVAPS "0F 28 /r" "movaps"; MOVD "66 0F 6E /r" "movd"; MOVD_MR "66 0F 7E /r" "movd";
    PCLMULQDQ "66 0F 3A 44 /r ib" "pclmulqdq"; PSHUFD "66 0F 70 /r ib" "pshufd";
    XORPS "0F 57 /r" "xorps"; ORPS "0F 56 /r" "orps";
    ADDSS "F3 0F 58 /r" "addss"; ADDSD "F2 0F 58 /r" "addsd"; MULSS "F3 0F 59 /r" "mulss"; MULSD "F2 0F 59 /r" "mulsd";
    SUBSS "F3 0F 5C /r" "subss"; SUBSD "F2 0F 5C /r" "subsd"; DIVSS "F3 0F 5E /r" "divss"; DIVSD "F2 0F 5E /r" "divsd";
    SQRTSS "F3 0F 51 /r" "sqrtss"; SQRTSD "F2 0F 51 /r" "sqrtsd";
    MINSS "F3 0F 5D /r" "minss"; MINSD "F2 0F 5D /r" "minsd";
    MAXSS "F3 0F 5F /r" "maxss"; MAXSD "F2 0F 5F /r" "maxsd";
    UCOMISS "0F 2E /r" "ucomiss"; UCOMISD "66 0F 2E /r" "ucomisd"; COMISS "0F 2F /r" "comiss"; COMISD "66 0F 2F /r" "comisd";
    CVTSI2SS "F3 0F 2A /r" "cvtsi2ss"; CVTSI2SD "F2 0F 2A /r" "cvtsi2sd"; CVTTSS2SI "F3 0F 2C /r" "cvttss2si"; CVTTSD2SI "F2 0F 2C /r" "cvttsd2si";
    CVTSS2SI "F3 0F 2D /r" "cvtss2si"; CVTSD2SI "F2 0F 2D /r" "cvtsd2si";
    CVTSS2SD "F3 0F 5A /r" "cvtss2sd"; CVTSD2SS "F2 0F 5A /r" "cvtsd2ss";
    VADDSS "VEX.LIG.F3.0F 58 /r" "vaddss"; VADDSD "VEX.LIG.F2.0F 58 /r" "vaddsd"; VMULSS "VEX.LIG.F3.0F 59 /r" "vmulss"; VMULSD "VEX.LIG.F2.0F 59 /r" "vmulsd";
    VSUBSS "VEX.LIG.F3.0F 5C /r" "vsubss"; VSUBSD "VEX.LIG.F2.0F 5C /r" "vsubsd"; VDIVSS "VEX.LIG.F3.0F 5E /r" "vdivss"; VDIVSD "VEX.LIG.F2.0F 5E /r" "vdivsd";
    XOR_MI8 "80 /6 ib m8" "xor"; ANDPS "0F 54 /r" "andps";
    VFMSUB231SS "VEX.LIG.66.0F38.W0 BB /r" "vfmsub231ss"; VFMSUB231SD "VEX.LIG.66.0F38.W1 BB /r" "vfmsub231sd";
    VFNMADD231SS "VEX.LIG.66.0F38.W0 BD /r" "vfnmadd231ss"; VFNMADD231SD "VEX.LIG.66.0F38.W1 BD /r" "vfnmadd231sd";
    VFNMSUB231SS "VEX.LIG.66.0F38.W0 BF /r" "vfnmsub231ss"; VFNMSUB231SD "VEX.LIG.66.0F38.W1 BF /r" "vfnmsub231sd";
    VFMADD231SS "VEX.LIG.66.0F38.W0 B9 /r" "vfmadd231ss"; VFMADD231SD "VEX.LIG.66.0F38.W1 B9 /r" "vfmadd231sd";
}

/// `SETcc r/m8`: 0F 90+cc.
pub const fn setcc(cc: u8) -> Row {
    const O: Row = row("0F 90 /0 m8");
    Row { opcode: O.opcode | (cc as u32) << 8, ..O }
}
/// `CMOVcc r, r/m`: 0F 40+cc /r.
pub const fn cmovcc(cc: u8) -> Row {
    const O: Row = row("0F 40 /r");
    Row { opcode: O.opcode | (cc as u32) << 8, ..O }
}
/// `BSWAP r`: 0F C8+rd, written as a ModRM form whose byte is the opcode.
pub fn bswap(asm: &mut Asm, w: bool, r: Reg) {
    asm.raw(&[0x40 | (w as u8) << 3 | r >> 3, 0x0f, 0xc8 | r & 7]);
}
/// The LOCK prefix.
pub const LOCK: u8 = 0xf0;

#[cfg(test)]
#[path = "asm_test.rs"]
mod test;
