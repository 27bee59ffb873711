//! Accesses that somebody watches: the debugger's watchpoints and the guest's own triggers.
//!
//! ```text
//! place: a watched page gets no tag for the watched kind --> every such access takes the slow path --> Tcg::watch
//! Tcg::watch: a watchpoint --> Exit::Watched before the access --> run: the instruction alone, then the exit
//! ```
//! Pages that nobody watches are not concerned: nothing in translated code looks.

use crate::run::Tcg;
use crate::tlb::Rights;
use cpu::{Access, Exit, Guest, Stop};

impl<G: Guest> Tcg<G> {
    /// Before `bytes` bytes at `va` are accessed on the slow path: the reason not to.
    #[inline]
    pub(crate) fn watch(&mut self, g: &G, va: u64, bytes: u32, access: Access) -> Result<(), Stop> {
        if let Some(trap) = g.data_trigger(va, bytes, access) {
            return Err(trap.into());
        }
        if !self.passing
            && let Some(w) = self.shared.cpus.watchpoints.met(va, bytes as u64, access)
        {
            return Err(Stop::Exit(Exit::Watched(w)));
        }
        Ok(())
    }
    /// What of the rights on the page at `va` may be remembered.
    #[inline]
    pub(crate) fn unwatched(&self, va: u64, rights: Rights) -> Rights {
        let (read, write) = self.shared.cpus.watchpoints.in_page(va);
        Rights { read: rights.read && !read, write: rights.write && !write, execute: rights.execute }
    }
    /// A watchpoint was met by the instruction at the pc, which has done nothing yet: lets it happen, as debuggers expect.
    #[cold]
    pub(crate) fn pass_watched(&mut self, g: &mut G) {
        self.passing = true;
        self.interpret(g);
        self.passing = false;
    }
}
