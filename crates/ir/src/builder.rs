//! Building a block: names as values.
//!
//! The builder folds constants and trivial identities as it goes, remembers what each slot holds, and folds
//! `base + constant` into the displacement of memory accesses. Everything else is left to the passes.

use crate::num::fold;
use crate::{Block, HelperEffects, HelperInfo, Inst, Int, Int32, Int64, MemOp, Op, Ty, Val};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::*;

/// Number of slots that a frame has.
pub const SLOTS: usize = 128;

/// A block under construction.
pub struct Builder {
    block: RefCell<Block>,
    slots: RefCell<[Val; SLOTS]>,
    skip: RefCell<Option<Box<Skip>>>,
    done: Cell<bool>,
}

/// Instructions that the guest may skip.
struct Skip {
    /// Whether it does.
    when: Val,
    /// Index of the first instruction of the block that it skips.
    from: usize,
    /// What the slots held before.
    slots: [Val; SLOTS],
    /// Those that are set.
    set: Vec<u16>,
}

/// Kinds of value that a [`V`] can name.
pub trait Kind: Copy {
    /// The type in the block.
    const TY: Ty;
}
macro_rules! kinds { ($($(#[$d:meta])* $k:ident $ty:ident;)*) => { $($(#[$d])* #[derive(Clone, Copy)] pub struct $k; impl Kind for $k { const TY: Ty = Ty::$ty; })* } }
kinds! {
    /// Truth value.
    KBool I1;
    /// 32-bit integer.
    K32 I32;
    /// 64-bit integer.
    K64 I64;
    /// binary32.
    KF32 F32;
    /// binary64.
    KF64 F64;
}

/// A typed name of a value in the block that `Builder` builds.
pub struct V<'b, K: Kind> {
    b: &'b Builder,
    /// The untyped name.
    pub v: Val,
    k: PhantomData<K>,
}
impl<K: Kind> Clone for V<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kind> Copy for V<'_, K> {}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// An empty block.
    pub fn new() -> Builder {
        Builder {
            block: RefCell::new(Block { insts: Vec::with_capacity(256) }),
            slots: RefCell::new([Val::NONE; SLOTS]),
            skip: RefCell::new(None),
            done: Cell::new(false),
        }
    }
    /// Forgets the block and starts another in the same storage.
    pub fn clear(&mut self) {
        self.block.get_mut().insts.clear();
        *self.slots.get_mut() = [Val::NONE; SLOTS];
        *self.skip.get_mut() = None;
        self.done.set(false);
    }
    /// What follows, up to [`Builder::skip_end`], has no effect if `when`.
    pub fn skip_if(&self, when: V<'_, KBool>) {
        let slots = *self.slots.borrow();
        let skip = Skip { when: when.v, from: self.len(), slots, set: Vec::new() };
        *self.skip.borrow_mut() = Some(Box::new(skip));
    }
    /// Ends what may be skipped. False, and the block is of no use, if that does more than to compute something quickly and set slots
    /// below `registers`.
    pub fn skip_end(&self, registers: u16) -> bool {
        let Some(skip) = self.skip.take() else { return false };
        let plain = self.block.borrow().insts[skip.from..].iter().all(|i| i.is_plain());
        if !plain || self.is_done() || skip.set.iter().any(|&slot| slot >= registers) {
            return false;
        }
        for slot in skip.set {
            let new = self.get(slot);
            self.slots.borrow_mut()[slot as usize] = skip.slots[slot as usize];
            let old = self.get(slot);
            self.set(slot, V::select(self.name(skip.when), old, new));
        }
        true
    }
    /// The finished block.
    pub fn block(&self) -> std::cell::Ref<'_, Block> {
        self.block.borrow()
    }
    /// The finished block, taken out (the builder is empty afterwards).
    pub fn take(&mut self) -> Block {
        let b = std::mem::take(self.block.get_mut());
        self.clear();
        b
    }
    /// Puts the finished block into `block`, whose storage the next one will be built in. To be cleared before.
    pub fn swap(&mut self, block: &mut Block) {
        std::mem::swap(self.block.get_mut(), block);
    }
    /// Whether a terminal has been placed.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }
    /// Instructions so far.
    pub fn len(&self) -> usize {
        self.block.borrow().insts.len()
    }
    /// Whether the block has no instruction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an instruction as it is.
    pub fn push(&self, op: Op, ty: Ty, args: &[Val], imm: u64) -> Val {
        let mut a = [Val::NONE; 4];
        a[..args.len()].copy_from_slice(args);
        let mut b = self.block.borrow_mut();
        b.insts.push(Inst { op, ty, args: a, imm });
        Val(b.insts.len() as u32 - 1)
    }
    fn name<K: Kind>(&self, v: Val) -> V<'_, K> {
        V { b: self, v, k: PhantomData }
    }
    /// A 64-bit constant.
    pub fn k(&self, c: u64) -> V<'_, K64> {
        self.constant(c)
    }
    fn constant<K: Kind>(&self, c: u64) -> V<'_, K> {
        let c = match K::TY {
            Ty::I1 => c & 1,
            Ty::I32 | Ty::F32 => c as u32 as u64,
            _ => c,
        };
        self.name(self.push(Op::Const, K::TY, &[], c))
    }
    /// How far from the page base the address `v` is, if that is known.
    pub fn page_offset(&self, v: V<'_, K64>) -> Option<i64> {
        let block = self.block.borrow();
        let d = block.def(v.v);
        (d.op == Op::PcRel).then_some(d.imm as i64)
    }
    /// The number that `v` is, if it is known.
    pub fn known<K: Kind>(&self, v: V<'_, K>) -> Option<u64> {
        self.block.borrow().constant(v.v)
    }

    // ---- slots
    /// Reads a slot as an integer.
    pub fn get(&self, slot: u16) -> V<'_, K64> {
        let v = self.slots.borrow()[slot as usize];
        if v.is_some() {
            let float = self.block.borrow().ty(v) == Some(Ty::F64);
            return self.name(if float { self.push(Op::FBits, Ty::F64, &[v], 0) } else { v });
        }
        let v = self.push(Op::Get, Ty::I64, &[], slot as u64);
        self.slots.borrow_mut()[slot as usize] = v;
        self.name(v)
    }
    /// See [`Op::GetNow`].
    pub fn get_now(&self, slot: u16) -> V<'_, K64> {
        self.name(self.push(Op::GetNow, Ty::I64, &[], slot as u64))
    }
    /// Writes a slot.
    pub fn set(&self, slot: u16, v: V<'_, K64>) {
        if self.sets_later(slot) {
            self.slots.borrow_mut()[slot as usize] = v.v;
            return;
        }
        self.push(Op::Set, Ty::I64, &[v.v], slot as u64);
        self.slots.borrow_mut()[slot as usize] = v.v;
    }
    /// Whether the slot is set when what may be skipped ends.
    fn sets_later(&self, slot: u16) -> bool {
        let mut skip = self.skip.borrow_mut();
        let Some(skip) = &mut *skip else { return false };
        if !skip.set.contains(&slot) {
            skip.set.push(slot);
        }
        true
    }
    /// Reads a slot as a float.
    pub fn fget(&self, slot: u16) -> V<'_, KF64> {
        let v = self.slots.borrow()[slot as usize];
        if v.is_some() {
            let float = self.block.borrow().ty(v) == Some(Ty::F64);
            return self.name(if float { v } else { self.push(Op::FFromBits, Ty::F64, &[v], 0) });
        }
        let v = self.push(Op::Get, Ty::F64, &[], slot as u64);
        self.slots.borrow_mut()[slot as usize] = v;
        self.name(v)
    }
    /// Writes a slot with a float.
    pub fn fset(&self, slot: u16, v: V<'_, KF64>) {
        if self.sets_later(slot) {
            self.slots.borrow_mut()[slot as usize] = v.v;
            return;
        }
        self.push(Op::Set, Ty::F64, &[v.v], slot as u64);
        self.slots.borrow_mut()[slot as usize] = v.v;
    }
    /// Guest virtual address: page base plus `offset`.
    pub fn pc_rel(&self, offset: i64) -> V<'_, K64> {
        self.name(self.push(Op::PcRel, Ty::I64, &[], offset as u64))
    }

    // ---- memory
    /// Splits an address into a base and a displacement.
    fn address(&self, a: V<'_, K64>) -> (Val, i32) {
        let b = self.block.borrow();
        let d = b.def(a.v);
        if d.op == Op::Add
            && let Some(c) = b.constant(d.args[1])
            && let Ok(disp) = i32::try_from(c as i64)
        {
            return (d.args[0], disp);
        }
        (a.v, 0)
    }
    /// Loads from guest memory.
    pub fn load(&self, a: V<'_, K64>, m: MemOp) -> V<'_, K64> {
        let (base, disp) = self.address(a);
        self.name(self.push(Op::Load, Ty::I64, &[base], m.with_disp(disp)))
    }
    /// Stores to guest memory.
    pub fn store(&self, a: V<'_, K64>, v: V<'_, K64>, m: MemOp) {
        let (base, disp) = self.address(a);
        self.push(Op::Store, Ty::I64, &[base, v.v], m.with_disp(disp));
    }
    /// Atomic read-modify-write; `kind` as [`Op::Amo`] numbers them.
    pub fn amo(&self, kind: u8, a: V<'_, K64>, v: V<'_, K64>, m: MemOp) -> V<'_, K64> {
        self.name(self.push(Op::Amo, Ty::I64, &[a.v, v.v], m.0 as u64 | (kind as u64) << 8))
    }
    /// Compare and swap; returns the old value.
    pub fn cas(&self, a: V<'_, K64>, old: V<'_, K64>, new: V<'_, K64>, m: MemOp) -> V<'_, K64> {
        self.name(self.push(Op::Cas, Ty::I64, &[a.v, old.v, new.v], m.0 as u64))
    }
    /// Store-conditional: 0 if stored, else 1.
    pub fn store_cond(
        &self,
        when: V<'_, KBool>,
        a: V<'_, K64>,
        old: V<'_, K64>,
        new: V<'_, K64>,
        m: MemOp,
    ) -> V<'_, K64> {
        self.name(self.push(Op::StoreCond, Ty::I64, &[when.v, a.v, old.v, new.v], m.0 as u64))
    }
    /// Orders memory accesses.
    pub fn fence(&self) {
        self.push(Op::Fence, Ty::I64, &[], 0);
    }

    // ---- floats
    /// See [`Op::Accrued`].
    pub fn accrued(&self) -> V<'_, K64> {
        self.name(self.push(Op::Accrued, Ty::I64, &[], 0))
    }
    /// See [`Op::Forget`].
    pub fn forget(&self, unless: V<'_, K64>) {
        self.push(Op::Forget, Ty::I64, &[unless.v], 0);
    }
    /// A float operation of operands and result of one type.
    pub fn fop<K: Kind>(&self, op: Op, args: &[V<'_, K>]) -> V<'_, K> {
        let mut a = [Val::NONE; 4];
        for (to, from) in a.iter_mut().zip(args) {
            *to = from.v;
        }
        self.name(self.push(op, K::TY, &a[..args.len()], 0))
    }
    /// [`Op::FEq`], [`Op::FLt`] or [`Op::FLe`].
    pub fn fcmp<K: Kind>(&self, op: Op, a: V<'_, K>, b: V<'_, K>) -> V<'_, KBool> {
        self.name(self.push(op, K::TY, &[a.v, b.v], 0))
    }
    /// A conversion: `op` with operand `a`, at instruction type `ty`, giving kind `R`.
    pub fn convert<A: Kind, R: Kind>(&self, op: Op, ty: Ty, a: V<'_, A>) -> V<'_, R> {
        self.name(self.push(op, ty, &[a.v], 0))
    }

    // ---- calls and control
    /// Calls function number `id`, described by `info`. A function with [`HelperEffects::Any`] makes the builder
    /// forget what it knows of the slots.
    pub fn call(&self, id: u16, info: &HelperInfo, args: &[V<'_, K64>]) -> V<'_, K64> {
        debug_assert_eq!(args.len(), info.args as usize);
        let mut a = [Val::NONE; 4];
        for (to, from) in a.iter_mut().zip(args) {
            *to = from.v;
        }
        let v = self.push(Op::Call, Ty::I64, &a[..args.len()], id as u64);
        if info.effects == HelperEffects::Any {
            self.forget_slots();
        }
        self.name(v)
    }
    /// Forgets which values the slots hold.
    pub fn forget_slots(&self) {
        *self.slots.borrow_mut() = [Val::NONE; SLOTS];
    }
    /// A guest instruction begins at page base + `offset`.
    pub fn insn(&self, offset: i64) {
        self.push(Op::Insn, Ty::I64, &[], offset as u64);
    }
    /// Leaves for page base + `offset` if `c`.
    pub fn exit_if(&self, c: V<'_, KBool>, offset: i64) {
        match self.known(c) {
            Some(0) => {}
            Some(_) => self.goto(offset),
            None => {
                self.push(Op::ExitIf, Ty::I1, &[c.v], offset as u64);
            }
        }
    }
    /// Leaves for page base + `offset`, where the next instruction begins, unless the page behind is known to be where it was.
    pub fn expect(&self, offset: i64) {
        self.push(Op::Expect, Ty::I64, &[], offset as u64);
    }
    /// Terminal: goes on at page base + `offset`.
    pub fn goto(&self, offset: i64) {
        self.terminal(Op::Goto, &[], offset as u64);
    }
    /// The jump to come is a call that returns to `a`, which is page base + `offset`.
    pub fn will_return(&self, a: V<'_, K64>, offset: i64) {
        self.push(Op::WillReturn, Ty::I64, &[a.v], offset as u64);
    }
    /// Terminal: goes on at `a`; `hint` as [`Op::Jump`] numbers them.
    pub fn jump(&self, a: V<'_, K64>, hint: u64) {
        self.terminal(Op::Jump, &[a.v], hint);
    }
    /// Terminal: goes on at the frame's pc; `look` asks for the interrupt word to be looked at.
    pub fn leave(&self, look: bool) {
        self.terminal(Op::Leave, &[], look as u64);
    }
    fn terminal(&self, op: Op, args: &[Val], imm: u64) {
        if !self.done.replace(true) {
            self.push(op, Ty::I64, args, imm);
        }
    }

    // ---- integer operations with folding
    fn one(&self, op: Op, ty: Ty, a: Val) -> Val {
        let known = self.block.borrow().constant(a).and_then(|x| fold(op, ty, x, 0));
        match known {
            Some(c) => {
                let result = op.result(ty).unwrap_or(ty);
                self.push(Op::Const, result, &[], c)
            }
            None => self.push(op, ty, &[a], 0),
        }
    }
    fn two(&self, op: Op, ty: Ty, mut a: Val, mut b: Val) -> Val {
        let (ka, kb) = {
            let block = self.block.borrow();
            (block.constant(a), block.constant(b))
        };
        if let (Some(x), Some(y)) = (ka, kb)
            && let Some(c) = fold(op, ty, x, y)
        {
            return self.push(Op::Const, op.result(ty).unwrap_or(ty), &[], c);
        }
        let commutes = matches!(op, Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Eq | Op::Ne);
        let mut k = kb;
        if commutes && ka.is_some() {
            std::mem::swap(&mut a, &mut b);
            k = ka;
        }
        let ones = match ty {
            Ty::I1 => 1,
            Ty::I32 => u32::MAX as u64,
            _ => u64::MAX,
        };
        match (op, k) {
            (
                Op::Add | Op::Sub | Op::Or | Op::Xor | Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr,
                Some(0),
            ) => a,
            (Op::And | Op::Mul, Some(0)) => b,
            (Op::And, Some(m)) if m == ones || self.has_no_other_bits(a, m) => a,
            (Op::Mul | Op::DivU | Op::DivS, Some(1)) => a,
            (Op::Add, Some(c)) => self.add_constant(ty, a, b, c),
            _ => self.push(op, ty, &[a, b], 0),
        }
    }
    /// `a + c`, where `b` names `c`: sums of constants and page-relative addresses collapse.
    fn add_constant(&self, ty: Ty, a: Val, b: Val, c: u64) -> Val {
        let d = *self.block.borrow().def(a);
        if d.op == Op::PcRel {
            return self.push(Op::PcRel, Ty::I64, &[], d.imm.wrapping_add(c));
        }
        if d.op == Op::Add {
            let inner = self.block.borrow().constant(d.args[1]);
            if let Some(sum) = inner.and_then(|x| fold(Op::Add, ty, x, c)) {
                let k = self.push(Op::Const, ty, &[], sum);
                return self.two(Op::Add, ty, d.args[0], k);
            }
        }
        self.push(Op::Add, ty, &[a, b], 0)
    }
    /// Whether `a` is an address in a page whose bits outside `mask`, the lowest, are zero.
    fn has_no_other_bits(&self, a: Val, mask: u64) -> bool {
        let block = self.block.borrow();
        let d = block.def(a);
        d.op == Op::PcRel && d.imm & !mask == 0 && !mask < 4096 && (!mask & (!mask).wrapping_add(1)) == 0
    }
    fn not_bool(&self, a: Val) -> Val {
        let d = *self.block.borrow().def(a);
        let opposite = match d.op {
            Op::Eq => Op::Ne,
            Op::Ne => Op::Eq,
            Op::LtS => Op::GeS,
            Op::LtU => Op::GeU,
            Op::GeS => Op::LtS,
            Op::GeU => Op::LtU,
            _ => {
                let one = self.push(Op::Const, Ty::I1, &[], 1);
                return self.two(Op::Xor, Ty::I1, a, one);
            }
        };
        self.push(opposite, d.ty, &d.args[..2], 0)
    }
}

macro_rules! binary {
    ($($t:ident $f:ident $op:ident;)*) => { $(
        impl<'b, K: IntKind> $t for V<'b, K> {
            type Output = Self;
            fn $f(self, o: Self) -> Self { self.b.name(self.b.two(Op::$op, K::TY, self.v, o.v)) }
        }
    )* };
}
/// Kinds that are integers.
pub trait IntKind: Kind {
    /// Width in bits.
    const BITS: u32;
}
impl IntKind for K32 {
    const BITS: u32 = 32;
}
impl IntKind for K64 {
    const BITS: u32 = 64;
}
binary! { Add add Add; Sub sub Sub; Mul mul Mul; BitXor bitxor Xor; Shl shl Shl; Shr shr Shr; }

macro_rules! logic {
    ($($t:ident $f:ident $op:ident;)*) => { $(
        impl<'b, K: Kind> $t for V<'b, K> {
            type Output = Self;
            fn $f(self, o: Self) -> Self { self.b.name(self.b.two(Op::$op, K::TY, self.v, o.v)) }
        }
    )* };
}
logic! { BitAnd bitand And; BitOr bitor Or; }

impl<K: Kind> Not for V<'_, K> {
    type Output = Self;
    fn not(self) -> Self {
        if K::TY == Ty::I1 {
            return self.b.name(self.b.not_bool(self.v));
        }
        let ones = self.b.constant::<K>(u64::MAX);
        self.b.name(self.b.two(Op::Xor, K::TY, self.v, ones.v))
    }
}

macro_rules! methods {
    (two: $($f:ident $op:ident),*; one: $($g:ident $gop:ident),*) => {
        $(fn $f(self, o: Self) -> Self { self.b.name(self.b.two(Op::$op, K::TY, self.v, o.v)) })*
        $(fn $g(self) -> Self { self.b.name(self.b.one(Op::$gop, K::TY, self.v)) })*
    };
}
impl<'b, K: IntKind> Int for V<'b, K> {
    type Bool = V<'b, KBool>;
    const BITS: u32 = K::BITS;
    fn lit(self, c: u64) -> Self {
        self.b.constant(c)
    }
    methods! {
        two: sar Sar, rotl Rotl, rotr Rotr, mulh_ss MulHs, mulh_uu MulHu, mulh_su MulHsu, div_s DivS, div_u DivU, rem_s RemS, rem_u RemU;
        one: clz Clz, ctz Ctz, popcnt Popcnt, bswap Bswap, sext8 Sext8, sext16 Sext16, zext8 Zext8, zext16 Zext16
    }
    fn eq(self, o: Self) -> V<'b, KBool> {
        self.b.name(self.b.two(Op::Eq, K::TY, self.v, o.v))
    }
    fn lt_s(self, o: Self) -> V<'b, KBool> {
        self.b.name(self.b.two(Op::LtS, K::TY, self.v, o.v))
    }
    fn lt_u(self, o: Self) -> V<'b, KBool> {
        self.b.name(self.b.two(Op::LtU, K::TY, self.v, o.v))
    }
    fn from_bool(self, c: V<'b, KBool>) -> Self {
        self.b.name(self.b.one(Op::FromBool, K::TY, c.v))
    }
    fn select(c: V<'b, KBool>, t: Self, f: Self) -> Self {
        match c.b.known(c) {
            Some(0) => f,
            Some(_) => t,
            None => c.b.name(c.b.push(Op::Select, K::TY, &[c.v, t.v, f.v], 0)),
        }
    }
}
impl<'b> Int64 for V<'b, K64> {
    type Half = V<'b, K32>;
    fn lo(self) -> V<'b, K32> {
        let d = *self.b.block.borrow().def(self.v);
        if matches!(d.op, Op::Sext32 | Op::Zext32) {
            return self.b.name(d.args[0]);
        }
        self.b.name(self.b.one(Op::Trunc, Ty::I64, self.v))
    }
    fn clmul(self, o: Self) -> Self {
        self.b.name(self.b.two(Op::Clmul, Ty::I64, self.v, o.v))
    }
    fn clmulh(self, o: Self) -> Self {
        self.b.name(self.b.two(Op::ClmulH, Ty::I64, self.v, o.v))
    }
}
impl<'b> Int32 for V<'b, K32> {
    type Wide = V<'b, K64>;
    fn sx(self) -> V<'b, K64> {
        self.b.name(self.b.one(Op::Sext32, Ty::I32, self.v))
    }
    fn zx(self) -> V<'b, K64> {
        self.b.name(self.b.one(Op::Zext32, Ty::I32, self.v))
    }
}
