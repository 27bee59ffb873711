//! Accesses in a row under one probe.
//!
//! When the leader of a group has hit, the followers that come after it need no look at the addend, as long as whoever
//! missed does not meet them. So the slow path of a leader does not go back behind the leader, but makes the whole
//! *series*: every access by a slow path of its own and, in between, a copy of what the fast path has there. A series goes on
//! until the fast path has something that cannot be copied, which is whatever is relative to its own place. Prologues
//! and epilogues of functions are series.

use super::asm::*;
use super::lower::Emitter;
use super::memory::{Loaded, Stored};
use super::nan::Mends;
use ir::MemOp;

/// Bytes of the fast path that one slow path may copy.
const COPIED: u32 = 64;

/// What an access moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moved {
    Load(Loaded),
    Store(Stored),
}

/// One access of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Where its instruction is on the fast path.
    pub start: u32,
    pub end: u32,
    pub base: Reg,
    pub disp: i32,
    pub memop: MemOp,
    pub moved: Moved,
    pub mends: Mends,
    pub insn: i64,
    /// Register of the addend.
    pub host: Reg,
    /// Whether followers outside the series may still look at it.
    pub live: bool,
}

/// The series that may still be going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// The group.
    group: u32,
    /// How many places that cannot be copied there were.
    relatives: u32,
    copied: u32,
    end: u32,
}

/// A series, as members of [`Emitter::members`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub from: u32,
    first: u32,
    last: u32,
}

impl Emitter {
    /// Whether an access whose addend is that of `group` is in the series that is going on.
    pub(super) fn in_series(&self, group: u32) -> bool {
        self.open.is_some_and(|o| {
            let copied = o.copied + (self.asm.pos() - o.end);
            o.group == group && o.relatives == self.asm.relatives() && copied <= COPIED
        })
    }
    /// The leader of `group` begins a series; the jump at `from` leads to its slow path.
    pub(super) fn begin_series(&mut self, group: u32, from: u32, m: Member) {
        let n = self.members.len() as u32;
        self.series.push(Series { from, first: n, last: n });
        self.open = Some(Open { group, relatives: self.asm.relatives(), copied: 0, end: m.end });
        self.members.push(m);
    }
    /// The access joins the series that is going on.
    pub(super) fn join_series(&mut self, m: Member) {
        if let (Some(open), Some(series)) = (&mut self.open, self.series.last_mut()) {
            open.copied += m.start - open.end;
            open.end = m.end;
            series.last += 1;
            self.members.push(m);
        }
    }
    /// The slow path of series number `n`.
    pub(super) fn cold_series(&mut self, n: u32) {
        let s = self.series[n as usize];
        self.arrive(s.from);
        for k in s.first..=s.last {
            self.asm.room();
            let m = self.members[k as usize];
            if k > s.first {
                let gap = self.members[k as usize - 1].end;
                self.asm.copy(gap, m.start);
            }
            self.mend(m.mends);
            if let Moved::Store(value) = m.moved {
                self.cold_value(value);
            }
            let how = self.cold_address(true, m.base, m.disp);
            match m.moved {
                Moved::Load(dest) => self.cold_load(dest, m.memop, how, m.insn),
                Moved::Store(_) => self.cold_store(m.memop, how, m.insn),
            }
        }
        let m = self.members[s.last as usize];
        if m.live {
            self.asm.ins(XOR, false, m.host, 0, Rm::R(m.host), 0);
        }
        self.jump_back(m.end);
    }
}
