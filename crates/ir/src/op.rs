//! The op table: every operation with its types, its effects and its prose.

/// Type of a value. An `I32` lives in the low half of a register; its upper half is unspecified for the host
/// and zero in the evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ty {
    /// A truth value.
    I1,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Ty {
    /// Name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Ty::I1 => "i1",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
        }
    }
    /// True for `F32` and `F64`.
    pub const fn is_float(self) -> bool {
        matches!(self, Ty::F32 | Ty::F64)
    }
}

/// Type an operand must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The instruction's own type.
    T,
    /// This type.
    Is(Ty),
    /// The integer of the instruction's width (`I32` for `F32`, `I64` for `F64`).
    IntOf,
    /// The float of the instruction's width.
    FloatOf,
    /// Any type; the op says which.
    Any,
}

/// Type of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// No result.
    None,
    /// The instruction's own type.
    T,
    /// This type.
    Is(Ty),
    /// An `I64` if the called function returns a value.
    Call,
}

/// What an instruction does besides computing its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Nothing: may be removed when unused, moved and merged.
    Pure,
    /// Reads a slot.
    Reads,
    /// Writes a slot.
    Writes,
    /// Accrues IEEE exception flags; removable only if the flags are proved already set.
    Flags,
    /// Reads or writes guest memory and may trap.
    Memory,
    /// A call; see [`crate::HelperInfo`].
    Call,
    /// May leave the block, or marks a place in it.
    Control,
}

macro_rules! ops {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal ($($arg:expr),*) -> $ret:expr, $eff:ident;)*) => {
        /// Operations. In the descriptions `a b c d` are the operands, `imm` is the immediate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Op { $($(#[doc = $doc])* $name),* }
        impl Op {
            /// All operations, in table order.
            pub const ALL: &'static [Op] = &[$(Op::$name),*];
            /// Name in the text form.
            pub const fn name(self) -> &'static str { match self { $(Op::$name => $text),* } }
            /// Types of the operands (a call takes as many as its function says).
            pub const fn args(self) -> &'static [Arg] { #[allow(unused_imports)] use Arg::*; match self { $(Op::$name => &[$($arg),*]),* } }
            /// Type of the result.
            pub const fn ret(self) -> Ret { match self { $(Op::$name => { use Ret::*; $ret }),* } }
            /// Effects besides the result.
            #[inline]
            pub const fn effects(self) -> Effects {
                static ALL: [Effects; Op::ALL.len()] = [$(Effects::$eff),*];
                ALL[self as usize]
            }
            /// What the operation means, as its table row says.
            pub const fn prose(self) -> &'static str { match self { $(Op::$name => concat!($($doc),*)),* } }
        }
    };
}

const I1: Arg = Arg::Is(Ty::I1);
#[allow(dead_code)]
const I32: Arg = Arg::Is(Ty::I32);
const I64: Arg = Arg::Is(Ty::I64);
const F32: Arg = Arg::Is(Ty::F32);
const F64: Arg = Arg::Is(Ty::F64);

ops! {
    // ---- constants and state
    /// The constant `imm`, truncated to the type (bit pattern for floats).
    Const "const" () -> T, Pure;
    /// Reads slot `imm` (types I64 and F64).
    Get "get" () -> T, Reads;
    /// Reads slot `imm` as it is now: float operations and functions may have changed it since the block set it. (It is none of those that
    /// deserve a host register.)
    GetNow "getnow" () -> T, Reads;
    /// Writes `a` to slot `imm`, a word extended with its sign. From here on the old value cannot be recovered by a trap.
    Set "set" (T) -> None, Writes;
    /// Guest virtual address: the block's page base plus `imm` (signed).
    PcRel "pcrel" () -> Is(Ty::I64), Pure;

    // ---- integers (I32, I64)
    /// Wrapping sum.
    Add "add" (T, T) -> T, Pure;
    /// Wrapping difference `a - b`.
    Sub "sub" (T, T) -> T, Pure;
    /// Low half of the product.
    Mul "mul" (T, T) -> T, Pure;
    /// High half of the signed product.
    MulHs "mulhs" (T, T) -> T, Pure;
    /// High half of the unsigned product.
    MulHu "mulhu" (T, T) -> T, Pure;
    /// High half of the product of signed `a` and unsigned `b`.
    MulHsu "mulhsu" (T, T) -> T, Pure;
    /// Signed quotient rounded to zero; `x/0 = -1`, `MIN/-1 = MIN` (RISC-V Unprivileged ISA, M extension).
    DivS "divs" (T, T) -> T, Pure;
    /// Unsigned quotient; `x/0` is all ones.
    DivU "divu" (T, T) -> T, Pure;
    /// Signed remainder with the dividend's sign; `x%0 = x`, `MIN % -1 = 0`.
    RemS "rems" (T, T) -> T, Pure;
    /// Unsigned remainder; `x%0 = x`.
    RemU "remu" (T, T) -> T, Pure;
    /// Low half of the carry-less product.
    Clmul "clmul" (I64, I64) -> Is(Ty::I64), Pure;
    /// High half of the carry-less product.
    ClmulH "clmulh" (I64, I64) -> Is(Ty::I64), Pure;
    /// Bitwise and (also I1).
    And "and" (T, T) -> T, Pure;
    /// Bitwise or (also I1).
    Or "or" (T, T) -> T, Pure;
    /// Bitwise exclusive or (also I1).
    Xor "xor" (T, T) -> T, Pure;
    /// Left shift of `a` by `b` modulo the width.
    Shl "shl" (T, T) -> T, Pure;
    /// Logical right shift of `a` by `b` modulo the width.
    Shr "shr" (T, T) -> T, Pure;
    /// Arithmetic right shift of `a` by `b` modulo the width.
    Sar "sar" (T, T) -> T, Pure;
    /// Rotation to the left by `b` modulo the width.
    Rotl "rotl" (T, T) -> T, Pure;
    /// Rotation to the right by `b` modulo the width.
    Rotr "rotr" (T, T) -> T, Pure;
    /// Leading zeros; the width for 0.
    Clz "clz" (T) -> T, Pure;
    /// Trailing zeros; the width for 0.
    Ctz "ctz" (T) -> T, Pure;
    /// Number of ones.
    Popcnt "popcnt" (T) -> T, Pure;
    /// Bytes in reverse order.
    Bswap "bswap" (T) -> T, Pure;
    /// Bits 0..8 sign-extended to the type.
    Sext8 "sext8" (T) -> T, Pure;
    /// Bits 0..16 sign-extended to the type.
    Sext16 "sext16" (T) -> T, Pure;
    /// Bits 0..8 zero-extended to the type.
    Zext8 "zext8" (T) -> T, Pure;
    /// Bits 0..16 zero-extended to the type.
    Zext16 "zext16" (T) -> T, Pure;
    /// Low 32 bits of an I64.
    Trunc "trunc" (I64) -> Is(Ty::I32), Pure;
    /// I32 sign-extended to I64.
    Sext32 "sext32" (I32) -> Is(Ty::I64), Pure;
    /// I32 zero-extended to I64.
    Zext32 "zext32" (I32) -> Is(Ty::I64), Pure;

    // ---- comparisons; the instruction's type is that of the operands
    /// `a == b`.
    Eq "eq" (T, T) -> Is(Ty::I1), Pure;
    /// `a != b`.
    Ne "ne" (T, T) -> Is(Ty::I1), Pure;
    /// `a < b`, signed.
    LtS "lts" (T, T) -> Is(Ty::I1), Pure;
    /// `a < b`, unsigned.
    LtU "ltu" (T, T) -> Is(Ty::I1), Pure;
    /// `a >= b`, signed.
    GeS "ges" (T, T) -> Is(Ty::I1), Pure;
    /// `a >= b`, unsigned.
    GeU "geu" (T, T) -> Is(Ty::I1), Pure;
    /// `a` (a truth value) as 0 or 1 of the type.
    FromBool "frombool" (I1) -> T, Pure;
    /// `b` if `a` else `c`.
    Select "select" (I1, T, T) -> T, Pure;

    // ---- guest memory. `imm` packs a MemOp (low 8 bits) and a signed 32-bit displacement (high 32 bits).
    /// Loads from the guest address `a + disp`; the MemOp says how many bytes and how to extend them to I64.
    Load "load" (I64) -> Is(Ty::I64), Memory;
    /// Stores the low bytes of `b` at the guest address `a + disp`.
    Store "store" (I64, I64) -> None, Memory;
    /// Atomically replaces the value `m` at guest address `a` by `m OP b`, returns the old value extended as the MemOp
    /// says. OP is in bits 8..12 of `imm`: 0 swap, 1 add, 2 xor, 3 and, 4 or, 5 min, 6 max, 7 minu, 8 maxu; 9 stores nothing:
    /// a load that has to be aligned. Sizes 4 and 8; misaligned addresses trap.
    Amo "amo" (I64, I64) -> Is(Ty::I64), Memory;
    /// Atomically replaces the value at guest address `a` by `c` if it equals `b`; returns the old value extended
    /// as the MemOp says.
    Cas "cas" (I64, I64, I64) -> Is(Ty::I64), Memory;
    /// Store-conditional: if `a`, does as Cas at address `b` with expected value `c` and new value `d`. The result is 0 if
    /// the new value was stored, else 1 (also when `a` is false; then nothing is accessed).
    StoreCond "storecond" (I1, I64, I64, I64) -> Is(Ty::I64), Memory;
    /// Orders every earlier guest memory access of this hart before every later one.
    Fence "fence" () -> None, Control;

    // ---- floating point, round to nearest even, RISC-V canonical NaN results, flags accrued.
    /// Sum.
    FAdd "fadd" (T, T) -> T, Flags;
    /// Difference `a - b`.
    FSub "fsub" (T, T) -> T, Flags;
    /// Product.
    FMul "fmul" (T, T) -> T, Flags;
    /// Quotient.
    FDiv "fdiv" (T, T) -> T, Flags;
    /// Square root.
    FSqrt "fsqrt" (T) -> T, Flags;
    /// `a * b + c` with one rounding.
    FMa "fma" (T, T, T) -> T, Flags;
    /// `a` with the opposite sign, a NaN too; raises nothing.
    FNeg "fneg" (T) -> T, Pure;
    /// `a` with the sign cleared, a NaN too; raises nothing.
    FAbs "fabs" (T) -> T, Pure;
    /// `a` with the sign of `b`, NaNs too; raises nothing.
    FCopySign "fcopysign" (T, T) -> T, Pure;
    /// The lesser of `a` and `b`; of zeros that with the sign, of a NaN and a number the number.
    FMin "fmin" (T, T) -> T, Flags;
    /// The greater of `a` and `b`; of zeros that without the sign, of a NaN and a number the number.
    FMax "fmax" (T, T) -> T, Flags;
    /// `a == b`; quiet (only signalling NaNs raise NV).
    FEq "feq" (T, T) -> Is(Ty::I1), Flags;
    /// `a < b`; any NaN raises NV.
    FLt "flt" (T, T) -> Is(Ty::I1), Flags;
    /// `a <= b`; any NaN raises NV.
    FLe "fle" (T, T) -> Is(Ty::I1), Flags;
    /// Signed I64 to the float type.
    FFromI64 "ffromi64" (I64) -> T, Flags;
    /// Signed I64 to the float type, rounded to zero.
    FFromI64Zero "ffromi64zero" (I64) -> T, Flags;
    /// Signed I64 to the float type, rounded down.
    FFromI64Down "ffromi64down" (I64) -> T, Flags;
    /// Signed I64 to the float type, rounded up.
    FFromI64Up "ffromi64up" (I64) -> T, Flags;
    /// Unsigned I64 to the float type.
    FFromU64 "ffromu64" (I64) -> T, Flags;
    /// Signed I32 to the float type.
    FFromI32 "ffromi32" (I32) -> T, Flags;
    /// F32 to F64.
    FWiden "fwiden" (F32) -> Is(Ty::F64), Flags;
    /// F64 to F32.
    FNarrow "fnarrow" (F64) -> Is(Ty::F32), Flags;
    /// Float type to signed I32, rounded to zero, saturating as RISC-V does (NaN gives the largest).
    FToI32 "ftoi32" (T) -> Is(Ty::I32), Flags;
    /// Float type to signed I64, rounded to zero, saturating as RISC-V does (NaN gives the largest).
    FToI64 "ftoi64" (T) -> Is(Ty::I64), Flags;
    /// Float type to signed I32, rounded to nearest even, else as `ftoi32`.
    FNearI32 "fneari32" (T) -> Is(Ty::I32), Flags;
    /// Float type to signed I64, rounded to nearest even, else as `ftoi64`.
    FNearI64 "fneari64" (T) -> Is(Ty::I64), Flags;
    /// Float type to signed I64, rounded down, else as `ftoi64`.
    FDownI64 "fdowni64" (T) -> Is(Ty::I64), Flags;
    /// Float type to signed I64, rounded up, else as `ftoi64`.
    FUpI64 "fupi64" (T) -> Is(Ty::I64), Flags;
    /// Float type to unsigned I32, rounded to zero, saturating as RISC-V does (NaN gives the largest, negative numbers zero).
    FToU32 "ftou32" (T) -> Is(Ty::I32), Flags;
    /// Float type to unsigned I64, else as `ftou32`.
    FToU64 "ftou64" (T) -> Is(Ty::I64), Flags;
    /// The flags accrued since they were last forgotten, in the bit order of RISC-V's `fflags`. (Some may have been taken to where the
    /// guest keeps them already.)
    Accrued "accrued" () -> Is(Ty::I64), Flags;
    /// Forgets all accrued flags if one of them is not in `a`.
    Forget "forget" (I64) -> None, Flags;
    /// Bits of a float as the integer of its width (type: the float's).
    FBits "fbits" (T) -> Call, Pure;
    /// Integer bits as a float of the same width (type: the float's).
    FFromBits "ffrombits" (Arg::IntOf) -> T, Pure;
    /// A slot's F64 pattern as F32: its low half if the upper half is all ones (NaN boxing), else the canonical NaN.
    FUnbox "funbox" (F64) -> Is(Ty::F32), Pure;
    /// F32 as a NaN-boxed F64 pattern.
    FBox "fbox" (F32) -> Is(Ty::F64), Pure;

    // ---- calls and control
    /// Calls function number `imm` with up to four I64 operands.
    Call "call" (Arg::Any, Arg::Any, Arg::Any, Arg::Any) -> Call, Call;
    /// A guest instruction begins: `imm` is its address as an offset from the page base. Traps raised by what follows belong to it.
    Insn "insn" () -> None, Control;
    /// The jump to come is a call that returns to `a`, which is page base + `imm`: a hint, with which a return finds its way.
    WillReturn "willreturn" (I64) -> None, Control;
    /// Leaves the block for page base + `imm` if `a`.
    ExitIf "exitif" (I1) -> None, Control;
    /// Leaves the block for page base + `imm`, where it goes on anyway, unless that is known to be mapped as it was when this was translated:
    /// what follows has bytes in the next page.
    Expect "expect" () -> None, Control;
    /// Terminal: goes on at page base + `imm`.
    Goto "goto" () -> None, Control;
    /// Terminal: goes on at the guest virtual address `a`. `imm` is a hint: 0 none, 1 call, 2 return.
    Jump "jump" (I64) -> None, Control;
    /// Terminal: goes on at the address that the frame's pc holds (a called function has set it), after looking at the interrupt word if `imm` is 1.
    Leave "leave" () -> None, Control;
}

impl Op {
    /// True for the three terminals.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Op::Goto | Op::Jump | Op::Leave)
    }
    /// The type of the result of this operation with the instruction type `ty`; `None` for none.
    /// (A call's result is I64; whether it has one is its function's matter.)
    pub const fn result(self, ty: Ty) -> Option<Ty> {
        match self.ret() {
            Ret::None => None,
            Ret::T => Some(ty),
            Ret::Is(t) => Some(t),
            Ret::Call => match self {
                Op::FBits => Some(if matches!(ty, Ty::F32) { Ty::I32 } else { Ty::I64 }),
                _ => Some(Ty::I64),
            },
        }
    }
}
