//! What an instruction's meaning is written over: a machine whose values are numbers (interpreter) or names in a
//! block (translator).
//!
//! Rust's `if` in a meaning may look only at what is known when the instruction is decoded: its fields and
//! [`Machine::place`]. What depends on guest values goes through `select`, `branch` or `call`.

use crate::config::Isa;
use crate::float::Function;
use crate::helpers;
use crate::mode::Mode;
use cpu::Stop;
use ir::{Int, Int32, Int64, MemOp};
use softfloat_width::Width;

/// Result of an instruction: done, or stopped.
pub type Meaning = Result<(), Stop>;

/// Widths of floating-point operands.
pub mod softfloat_width {
    /// Width of a floating-point operation.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Width {
        /// binary16, NaN-boxed in its register.
        H,
        /// binary32, NaN-boxed in its register.
        S,
        /// binary64.
        D,
    }
}

/// What is known about an instruction when it is decoded.
#[derive(Clone, Copy)]
pub struct Place {
    /// The instruction's bits.
    pub word: u32,
    /// Its length in bytes.
    pub length: i64,
    /// The mode it runs in.
    pub mode: Mode,
    /// The instruction set.
    pub isa: Isa,
}

/// A machine that an instruction can be told to.
pub trait Machine {
    /// Truth values.
    type B: Copy
        + std::ops::BitAnd<Output = Self::B>
        + std::ops::BitOr<Output = Self::B>
        + std::ops::Not<Output = Self::B>;
    /// 32-bit values.
    type W: Int32<Wide = Self::V, Bool = Self::B>;
    /// 64-bit values.
    type V: Int64<Half = Self::W, Bool = Self::B>;

    /// What is known about the instruction.
    fn place(&self) -> &Place;
    /// A constant.
    fn k(&self, c: u64) -> Self::V;
    /// The number that `v` is, if that is known.
    fn known(&self, v: Self::V) -> Option<u64>;
    /// Reads a slot of the frame.
    fn get(&self, slot: u16) -> Self::V;
    /// Reads a slot of the frame that float operations and functions change, too.
    fn get_now(&self, slot: u16) -> Self::V;
    /// Writes a slot of the frame.
    fn put(&self, slot: u16, v: Self::V);
    /// The instruction's own address plus `offset`.
    fn pc_plus(&self, offset: i64) -> Self::V;
    /// Loads from guest memory.
    fn load(&self, a: Self::V, op: MemOp) -> Result<Self::V, Stop>;
    /// Stores to guest memory.
    fn store(&self, a: Self::V, v: Self::V, op: MemOp) -> Meaning;
    /// Atomic read-modify-write, numbered as [`ir::Op::Amo`] says; the old value.
    fn amo(&self, kind: u8, a: Self::V, v: Self::V, op: MemOp) -> Result<Self::V, Stop>;
    /// Compare and swap; the old value.
    fn cas(&self, a: Self::V, old: Self::V, new: Self::V, op: MemOp) -> Result<Self::V, Stop>;
    /// Conditional store: 0 if stored, else 1.
    fn store_conditional(
        &self,
        when: Self::B,
        a: Self::V,
        old: Self::V,
        new: Self::V,
        op: MemOp,
    ) -> Result<Self::V, Stop>;
    /// Orders memory accesses.
    fn fence(&self);
    /// Goes to the instruction's address plus `offset` if `c`, else to the next instruction.
    fn branch(&self, c: Self::B, offset: i64);
    /// Goes to the next instruction if `c`, else on with this one. Whether that is known to be so now.
    fn done_if(&self, c: Self::B) -> bool;
    /// Goes to the instruction's address plus `offset`.
    fn goto(&self, offset: i64);
    /// The jump that follows calls what will return behind this instruction, to `next`: a hint.
    fn returns_here(&self, next: Self::V);
    /// Goes to `a`; `hint` as [`ir::Op::Jump`] numbers them.
    fn jump(&self, a: Self::V, hint: u64);
    /// Calls function `id` of [`helpers::HELPERS`].
    fn call(&self, id: u16, args: &[Self::V]) -> Result<Self::V, Stop>;
    /// Goes on where the frame's pc says, with a look at the interrupts if `look`.
    fn leave(&self, look: bool);
    /// A floating-point operation on the registers `rd` and `rs` (see [`Function`] for which file they are in).
    fn float(&self, f: Function, w: Width, rm: u8, rd: u8, rs: [u8; 3]) -> Meaning;
    /// Before an access to the float registers, `write` if it changes them: false if the instruction is over
    /// (it is illegal, or will be tried again in another mode).
    fn float_state(&self, write: bool) -> Result<bool, Stop>;

    /// Float flags that have been accrued but are not in their slot yet.
    fn accrued(&self) -> Self::V;
    /// Forgets them, unless all of them are in `kept`.
    fn forget_accrued(&self, kept: Self::V);

    /// 32 or 64.
    #[inline(always)]
    fn xlen(&self) -> u32 {
        self.place().isa.xlen()
    }
    /// Whether XLEN is 32.
    #[inline(always)]
    fn rv32(&self) -> bool {
        self.xlen() == 32
    }
    /// Integer register `r`, sign-extended from XLEN.
    #[inline(always)]
    fn x(&self, r: u8) -> Self::V {
        if r == 0 { self.k(0) } else { self.get(r as u16 & 31) }
    }
    /// Integer register `r`, zero-extended from XLEN.
    #[inline(always)]
    fn ux(&self, r: u8) -> Self::V {
        if self.rv32() { self.x(r).lo().zx() } else { self.x(r) }
    }
    /// Writes integer register `r`.
    #[inline(always)]
    fn set(&self, r: u8, v: Self::V) {
        if r != 0 {
            self.put(r as u16 & 31, if self.rv32() { v.lo().sx() } else { v });
        }
    }
    /// Float register `r`, all 64 bits.
    #[inline(always)]
    fn f(&self, r: u8) -> Self::V {
        self.get(crate::slot::F0 + (r as u16 & 31))
    }
    /// Writes float register `r`, all 64 bits.
    #[inline(always)]
    fn set_f(&self, r: u8, v: Self::V) {
        self.put(crate::slot::F0 + (r as u16 & 31), v);
    }
    /// Copies float register `from` to `to`, all 64 bits.
    #[inline(always)]
    fn copy_f(&self, to: u8, from: u8) {
        self.set_f(to, self.f(from));
    }
    /// Writes float register `r` with the binary32 whose bits are the low half of `v`.
    #[inline(always)]
    fn set_single(&self, r: u8, v: Self::V) {
        self.set_f(r, v.lo().zx() | self.k(crate::float::BOX));
    }
    /// Writes float register `rd` with register `rs`, its sign changed or (`clear`) cleared.
    #[inline(always)]
    fn change_sign(&self, w: Width, rd: u8, rs: u8, clear: bool) {
        crate::isa::fd::change_sign(self, w, rd, rs, clear);
    }
    /// Writes float register `rd` with register `rs[0]` and the sign of `rs[1]`, or (`negate`) the opposite.
    #[inline(always)]
    fn copy_sign(&self, w: Width, rd: u8, rs: [u8; 2], negate: bool) {
        crate::isa::fd::copy_sign(self, w, rd, rs, negate);
    }
    /// The address in register `r` plus `offset`.
    #[inline(always)]
    fn address(&self, r: u8, offset: u64) -> Self::V {
        let a = self.x(r) + self.k(offset);
        if self.rv32() { a.lo().zx() } else { a }
    }
    /// A shift count: the low bits of register `r`.
    #[inline(always)]
    fn count(&self, r: u8) -> Self::V {
        if self.rv32() { self.x(r) & self.k(31) } else { self.x(r) }
    }
    /// 1 or 0.
    #[inline(always)]
    fn truth(&self, c: Self::B) -> Self::V {
        self.k(0).from_bool(c)
    }
    /// The instruction is illegal.
    #[cold]
    fn illegal(&self) -> Meaning {
        self.call(helpers::ILLEGAL, &[self.k(self.place().word as u64)])?;
        self.leave(false);
        Ok(())
    }
    /// Ends the instruction after a call that has set the pc and may have changed the mode or the interrupts.
    fn resume(&self) -> Meaning {
        self.leave(true);
        Ok(())
    }
}
