//! Smaller blocks that fail in the same way.

use ir::{Block, Inst, Op, Ty, Val};

/// Leaves out of `block` what can be left out, as long as it `fails`.
pub fn smallest(block: &Block, mut fails: impl FnMut(&Block) -> bool) -> Block {
    let mut block = block.clone();
    loop {
        let before = block.insts.len();
        let constants = block.insts.iter().filter(|i| i.op == Op::Const).count();
        for n in (0..block.insts.len().saturating_sub(1)).rev() {
            for smaller in [without(&block, n), with_constant(&block, n)].into_iter().flatten() {
                if fails(&smaller) {
                    block = smaller;
                    break;
                }
            }
        }
        if block.insts.len() == before
            && block.insts.iter().filter(|i| i.op == Op::Const).count() == constants
        {
            return block;
        }
    }
}

/// The block without instruction `n`, if nobody uses its result.
fn without(block: &Block, n: usize) -> Option<Block> {
    let op = |n: usize| block.insts[n].op;
    // It stays known which instruction of the guest the rest belongs to; and what has to do with flags belongs together.
    if op(n) == Op::Insn && op(n + 1) != Op::Insn || matches!(op(n), Op::GetNow | Op::Accrued | Op::Forget) {
        return None;
    }
    let mut insts = block.insts.clone();
    insts.remove(n);
    for v in insts[n..].iter_mut().flat_map(|i| &mut i.args).filter(|v| **v != Val::NONE) {
        match v.index() {
            at if at == n => return None,
            at if at > n => *v = Val(at as u32 - 1),
            _ => {}
        }
    }
    Some(Block { insts })
}

/// The block with a constant in place of what instruction `n` computes.
fn with_constant(block: &Block, n: usize) -> Option<Block> {
    let i = block.insts[n];
    let ty = i.op.result(i.ty).filter(|&ty| ty != Ty::I1)?;
    if matches!(i.op, Op::Const | Op::GetNow | Op::Accrued) {
        return None;
    }
    let mut insts = block.insts.clone();
    insts[n] = Inst { op: Op::Const, ty, args: [Val::NONE; 4], imm: n as u64 };
    Some(Block { insts })
}
