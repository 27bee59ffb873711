//! Going back in a replay: points in memory to come back to, and executing again from one of them.
//!
//! ```text
//! forward:  Notice::Fork --> ask_fork --> Saving::take, now and then            (the machine runs on)
//! back:     go_back(count)  --> last point before it --> rerun, breakpoints off --> count
//!           last_hit        --> segment by segment from the present: rerun, breakpoints on --> the last one met
//! ```
//! All of it is the main loop's, which waits meanwhile: [`Control::rerun`] lets the vCPUs run and takes what they ask for
//! itself. What is executed again is not heard outside again.

use crate::control::Control;
use crate::saving::Keep;
use base::{Result, error};
use cpu::{Request, RunState};
use monitor::gdb::StopReason;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Instructions between two points at first; each time that there are too many points it doubles.
const PERIOD: u64 = 20_000_000;
const MOST: usize = 24;
/// How much later a point is taken where none can be.
const LATER: u64 = 50_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A breakpoint or watchpoint that was met: where to stop for it, the vCPU, why.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    place: u64,
    /// The vCPU.
    pub cpu: usize,
    /// Why.
    pub reason: StopReason,
}

/// Which breakpoints and watchpoints are met while something is executed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meet {
    None,
    All,
    /// The first so many, and it stops at the last of them.
    First(usize),
}

/// What happens while the main loop waits for what is executed again.
#[derive(Default)]
struct Noted {
    requests: Vec<Request>,
    hits: Vec<Hit>,
}

/// The points, and the journey that is under way.
#[derive(Default)]
pub struct Travel {
    points: Mutex<Vec<u64>>,
    period: Mutex<u64>,
    noted: Mutex<Option<Noted>>,
}

impl Travel {
    /// Takes a request that is made while something is executed again; else gives it back.
    pub(crate) fn note(&self, request: Request) -> Option<Request> {
        match lock(&self.noted).as_mut() {
            Some(noted) => {
                noted.requests.push(request);
                None
            }
            None => Some(request),
        }
    }

    /// The same for a breakpoint; false if nothing is executed again. For a watchpoint one stops before the access: who goes
    /// backwards comes to that place after it.
    pub(crate) fn meet(&self, count: u64, cpu: u32, reason: StopReason) -> bool {
        let place = count.saturating_sub(u64::from(matches!(reason, StopReason::Watch(_))));
        match lock(&self.noted).as_mut() {
            Some(noted) => {
                noted.hits.push(Hit { place, cpu: cpu as usize, reason });
                true
            }
            None => false,
        }
    }
}

fn tag(point: u64) -> String {
    format!("@{point}")
}

impl Control {
    /// Wants points to come back to from here on.
    pub fn begin_points(&self) {
        if let Some(replay) = self.replay().filter(|_| self.is_replaying()) {
            *lock(&self.travel.period) = PERIOD;
            replay.fork_at(Some(self.instructions()));
        }
    }

    /// On the vCPUs' thread: has a point taken here.
    pub(crate) fn ask_fork(self: &Arc<Self>) {
        // While something is executed again, it has been taken before.
        if lock(&self.travel.noted).is_some() {
            return;
        }
        self.vcpus().ask_stop();
        let control = self.clone();
        self.events().defer(move || control.take_point());
    }

    fn take_point(&self) {
        self.vcpus().stop();
        let (here, period) = (self.instructions(), *lock(&self.travel.period));
        let taken = !self.is_busy()
            && self.saving().is_ok_and(|saving| saving.take(self, Some(&tag(here)), Keep::InMemory).is_ok());
        let mut points = lock(&self.travel.points);
        if taken && points.last().is_none_or(|last| *last < here) {
            points.push(here);
        }
        if points.len() > MOST {
            // Every second one goes; the first stays.
            let (kept, gone): (Vec<_>, Vec<_>) = points.iter().enumerate().partition(|(n, _)| n % 2 == 0);
            for (_, point) in gone {
                // It is in memory, where nothing can fail.
                let _ = self.saving().and_then(|saving| saving.delete(&tag(*point)));
            }
            *points = kept.into_iter().map(|(_, point)| *point).collect();
            *lock(&self.travel.period) = period * 2;
        }
        drop(points);
        if let Some(replay) = self.replay() {
            replay.fork_at(Some(here + if taken { period } else { LATER }));
        }
        if self.state() == RunState::Running && self.ended().is_none() {
            self.vcpus().start();
        }
    }

    /// Goes to a place in the past. The machine stands there.
    ///
    /// # Errors
    /// Nothing leads there.
    pub fn go_back(&self, count: u64) -> Result<()> {
        self.halt(RunState::Paused, None, StopReason::Interrupted);
        let point = lock(&self.travel.points).iter().rev().find(|point| **point <= count).copied();
        let point = point.ok_or_else(|| error!("cannot seek to the specified instruction count"))?;
        self.rerun(point, count, Meet::None)?;
        self.forget_future();
        Ok(())
    }

    /// Goes one instruction back; false at the beginning.
    ///
    /// # Errors
    /// As [`Control::go_back`].
    pub fn step_back(&self) -> Result<bool> {
        let (here, first) = (self.instructions(), lock(&self.travel.points).first().copied());
        match first {
            Some(first) if here > first => self.go_back(here - 1).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Goes back to where a breakpoint or watchpoint was met last; to the beginning if none was.
    ///
    /// # Errors
    /// As [`Control::go_back`].
    pub fn last_hit(&self) -> Result<Option<Hit>> {
        let (here, points) = (self.instructions(), lock(&self.travel.points).clone());
        // Before it has run for the first time there is nothing to go back to.
        let Some(first) = points.first().copied() else { return Ok(None) };
        let mut end = here;
        for point in points.into_iter().rev().filter(|point| *point < here) {
            let hits = self.rerun(point, end, Meet::All)?;
            let fits = |hit: &Hit| hit.place < here && hit.place >= point;
            if let Some(n) = hits.iter().rposition(fits) {
                let hit = hits[n];
                match hit.reason {
                    StopReason::Watch(_) => self.go_back(hit.place)?,
                    // The place alone does not tell whether an interrupt has been taken there.
                    _ => {
                        self.rerun(point, end, Meet::First(n + 1))?;
                        self.forget_future();
                    }
                }
                return Ok(Some(hit));
            }
            end = point;
        }
        self.go_back(first.min(here))?;
        Ok(None)
    }

    /// A machine that has gone back has not ended, and runs into its future again.
    fn forget_future(&self) {
        if self.state().needs_reset() {
            self.states().set(RunState::Paused);
        }
        let (here, period) = (self.instructions(), *lock(&self.travel.period));
        let last = lock(&self.travel.points).last().copied().unwrap_or(here);
        if let Some(replay) = self.replay() {
            replay.fork_at(Some(last.max(here) + period));
        }
    }

    /// Executes again from a point to a count, and tells what breakpoints were met if they are wanted.
    fn rerun(&self, point: u64, to: u64, meet: Meet) -> Result<Vec<Hit>> {
        let Some(replay) = self.replay() else { return Err(error!("replay must be enabled to seek")) };
        let (cpus, stop) = (self.vcpus(), replay.stops_at());
        cpus.stop();
        self.saving()?.go_back(self, &tag(point))?;
        let (breakpoints, watchpoints) = (cpus.breakpoints.all(), cpus.watchpoints.all());
        if meet == Meet::None {
            cpus.breakpoints.clear();
            cpus.watchpoints.clear();
        }
        replay.fork_at(None);
        replay.set_again(true);
        *lock(&self.travel.noted) = Some(Noted::default());
        let mut hits = Vec::new();
        let enough = |hits: &[Hit]| matches!(meet, Meet::First(n) if hits.len() >= n);
        while self.instructions() < to && !enough(&hits) {
            replay.stop_at(Some(to));
            let before = self.instructions();
            cpus.start();
            cpus.wait();
            let noted = lock(&self.travel.noted).replace(Noted::default()).unwrap_or_default();
            let met = !noted.hits.is_empty();
            hits.extend(noted.hits);
            let reset = noted.requests.iter().any(|request| matches!(request, Request::Reset(_)));
            if reset {
                self.initialize();
            }
            if !met && !reset && self.instructions() == before {
                break;
            }
        }
        *lock(&self.travel.noted) = None;
        replay.set_again(false);
        replay.stop_at(stop);
        if meet == Meet::None {
            breakpoints.into_iter().for_each(|address| {
                cpus.breakpoints.insert(address);
            });
            watchpoints.into_iter().for_each(|watch| {
                cpus.watchpoints.insert(watch);
            });
        }
        match self.instructions() {
            here if here < to && !enough(&hits) => {
                Err(error!("the replay does not come to instruction {to}"))
            }
            _ => Ok(hits),
        }
    }
}
