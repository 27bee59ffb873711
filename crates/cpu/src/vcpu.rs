//! The life of a vCPU's thread: work, wait, run.

use crate::{Cpus, Exit, Guest, INTERRUPT_EXIT};
use std::sync::atomic::Ordering::*;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

base::trace_points! {
    /// What is to be traced of vCPUs.
    pub mod trace "vcpu" {
        /// The time inside the accelerator.
        RUN "run",
    }
}

/// Runs one vCPU; each vCPU has its own.
pub trait Accelerator<G: Guest>: Send + 'static {
    /// Runs until somebody asks for an exit, the vCPU halts, or a breakpoint is met.
    fn run(&mut self, cpu: &mut G) -> Exit;
    /// Runs one instruction, after taking an interrupt if one is pending and `interrupts` allows it.
    fn step(&mut self, cpu: &mut G, interrupts: bool) -> Exit;
    /// The vCPU's state was changed from outside (reset, debugger, restored snapshot).
    fn sync(&mut self, cpu: &mut G);
}

/// Starts the thread of a vCPU. `make` builds the CPU and its accelerator on that thread; `report` is told of every
/// exit that is not the thread's own business ([`Exit::Debug`], [`Exit::Watched`]).
pub fn spawn<G: Guest, A: Accelerator<G>>(
    cpus: Arc<Cpus>,
    mut cpu: G,
    mut accelerator: A,
    report: impl Fn(u32, Exit) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let index = cpu.index();
    std::thread::Builder::new().name(format!("CPU {index}/TCG")).spawn(move || {
        let handle = cpu.handle().clone();
        handle.thread_id.store(thread_id(), Relaxed);
        events::wake_in_time();
        loop {
            // Work first: it may stop, reset or end us.
            let mut asked = handle.lock();
            let mut worked = false;
            while let Some(work) = asked.work.pop_front() {
                drop(asked);
                work(&mut cpu);
                worked = true;
                asked = handle.lock();
            }
            if worked {
                drop(asked);
                accelerator.sync(&mut cpu);
                continue;
            }
            if asked.quit {
                asked.parked = true;
                drop(asked);
                handle.changed.notify_all();
                return;
            }
            if asked.stop {
                if !asked.parked {
                    asked.parked = true;
                    handle.changed.notify_all();
                }
                drop(handle.changed.wait(asked).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            let step = std::mem::take(&mut asked.step);
            if cpu.halted() && step.is_none() {
                handle.halted.store(true, SeqCst);
                // An interrupt raised before the flag was set is seen here; one raised after it sets `woken`.
                if !cpu.wakes() && !asked.woken {
                    handle.frame().interrupt.fetch_and(!INTERRUPT_EXIT, SeqCst);
                    handle.wait_for_interrupt(asked);
                    asked = handle.lock();
                }
                asked.woken = false;
                handle.halted.store(false, SeqCst);
                drop(asked);
                if cpu.wakes() {
                    cpu.set_halted(false);
                }
                continue;
            }
            drop(asked);
            handle.frame().interrupt.fetch_and(!INTERRUPT_EXIT, SeqCst);
            // A request made between the look above and the clearing is not lost: its data is behind the lock.
            let again = {
                let mut a = handle.lock();
                let again = a.stop || a.quit || !a.work.is_empty();
                if again {
                    // The step is still to be made.
                    a.step = a.step.or(step);
                }
                again
            };
            if again {
                continue;
            }
            cpus.enter();
            let begin = trace::POINTS.begin(trace::RUN);
            let exit = match step {
                Some(how) => accelerator.step(&mut cpu, how.interrupts),
                None => accelerator.run(&mut cpu),
            };
            cpus.leave();
            trace::POINTS.end(trace::RUN, begin, || format!("cpu {index} {exit:?}"));
            match exit {
                Exit::Kicked | Exit::Spent | Exit::Alone => {}
                Exit::Halted | Exit::Parked => cpu.set_halted(true),
                Exit::Debug | Exit::Watched(_) => {
                    handle.lock().stop = true;
                    report(index, exit);
                }
            }
            if step.is_some() {
                handle.lock().stop = true;
                if !matches!(exit, Exit::Debug | Exit::Watched(_)) {
                    report(index, Exit::Debug);
                }
            }
        }
    })
}

/// Linux thread id of the caller.
pub(crate) fn thread_id() -> u64 {
    std::fs::read_link("/proc/thread-self")
        .ok()
        .and_then(|p| p.file_name()?.to_str()?.parse().ok())
        .unwrap_or(0)
}
