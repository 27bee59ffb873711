//! The program's other threads stand aside: they leave a processor that a vCPU waits for, if the host has another one.
//!
//! A kernel wakes a thread on the processor where it ran last, or on that of the thread that wakes it. It looks for an idle one only among those
//! that share a cache; in many virtual machines it knows of none that do. There the main loop, which the guest's timers wake, and the
//! thread that makes regions interrupt a vCPU some two thousand times a second, for 20 to 50 us each, while another processor is idle.
//!
//! So the kernel's own figures are looked at now and then: where each vCPU's thread runs, how long it has run, and how long it has waited for a
//! processor. Where a busy one waits much, the other threads are kept off these processors, until the vCPUs have little to do: then it is
//! better to be near, as to wake a thread on another processor takes longer. Threads that somebody else has given
//! a place are left there, and where vCPUs have no processor to spare nothing is done.

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use std::time::{Duration, Instant};

/// How often is looked.
const OFTEN: Duration = Duration::from_millis(50);
/// Somebody is in the way of a busy vCPU that waits for a processor for more than this part of the time.
const PART: u64 = 50;

/// Who may run where.
pub(crate) struct Aside {
    /// Where this program may run.
    all: CpuSet,
    /// Where other threads than those of vCPUs are kept.
    rest: CpuSet,
    looked: Instant,
    vcpus: Vec<Seen>,
}

/// What the kernel says of a vCPU's thread: the processor that it ran on last, and for how many nanoseconds it has run, and waited for one.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    processor: usize,
    ran: u64,
    waited: u64,
}

impl Seen {
    fn of(thread: u64) -> Option<Seen> {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/self/task/{thread}/{what}")).ok();
        Seen::parse(&read("stat")?, &read("schedstat")?)
    }
    /// Of `stat` it is field 39 (the second, a name in brackets, may have anything in it), of `schedstat` the first and the second: proc(5).
    fn parse(stat: &str, schedstat: &str) -> Option<Seen> {
        let (_, stat) = stat.rsplit_once(')')?;
        let mut times = schedstat.split_whitespace().map(|n| n.parse().ok());
        Some(Seen {
            processor: stat.split_whitespace().nth(36)?.parse().ok()?,
            ran: times.next()??,
            waited: times.next()??,
        })
    }
}

impl Aside {
    /// Everybody is where the kernel puts them. `None` where nobody can be kept anywhere.
    pub(crate) fn new() -> Option<Aside> {
        let all = sched_getaffinity(Some(gettid())).ok()?;
        Some(Aside { all, rest: all, looked: Instant::now(), vcpus: Vec::new() })
    }
    /// Looks at the threads of the vCPUs, if that is due.
    pub(crate) fn look(&mut self, threads: &[u64]) {
        let past = self.looked.elapsed();
        if past < OFTEN || threads.len() >= self.all.count() as usize {
            return;
        }
        self.looked += past;
        let seen: Vec<Seen> = threads.iter().filter_map(|&thread| Seen::of(thread)).collect();
        let before = std::mem::replace(&mut self.vcpus, seen);
        if before.len() != self.vcpus.len() {
            return;
        }
        let past = past.as_nanos() as u64;
        // How long each has had something to do, and has waited.
        let shares = self.vcpus.iter().zip(&before).map(|(now, before)| {
            let waited = now.waited.saturating_sub(before.waited);
            (now.ran.saturating_sub(before.ran) + waited, waited)
        });
        let shares: Vec<(u64, u64)> = shares.collect();
        let mut rest = self.all;
        if shares.iter().any(|&(busy, waited)| busy > past / 4 * 3 && waited > past / PART) {
            let processors = self.vcpus.iter().map(|v| v.processor);
            processors.filter(|&n| n < CpuSet::MAX_CPU).for_each(|n| rest.unset(n));
        } else if shares.iter().any(|&(busy, _)| busy >= past / 2) {
            return;
        }
        if !same(&rest, &self.rest) {
            self.keep(threads, rest);
        }
    }
    /// Keeps all threads but these to `rest`.
    fn keep(&mut self, vcpus: &[u64], rest: CpuSet) {
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
        for name in threads.flatten().map(|t| t.file_name()) {
            let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A thread has the place of the one that has started it, which may have been kept somewhere.
            let place = if vcpus.contains(&(number as u64)) { self.all } else { rest };
            let Some(thread) = Pid::from_raw(number) else { continue };
            let ours = |now: &CpuSet| same(now, &self.all) || same(now, &self.rest);
            if sched_getaffinity(Some(thread)).is_ok_and(|now| ours(&now) && !same(&now, &place)) {
                // It may have ended, or the host forbids it.
                let _ = sched_setaffinity(Some(thread), &place);
            }
        }
        self.rest = rest;
    }
}

fn same(a: &CpuSet, b: &CpuSet) -> bool {
    (0..CpuSet::MAX_CPU).all(|n| a.is_set(n) == b.is_set(n))
}

#[cfg(test)]
#[path = "aside_test.rs"]
mod test;
