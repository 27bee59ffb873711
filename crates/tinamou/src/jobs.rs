//! Jobs: work that a command begins and that goes on after its reply.
//!
//! ```text
//! command --> Jobs::create --> Jobs::start (a thread) or Jobs::start_here (the main loop)
//!   worker --> Job::checkpoint, progress, pace, set_ready ... returns --> Jobs::worked
//! main loop: worked --> waiting --> pending --> the job's end ---------> concluded --> dismissed
//!                   \-> aborting --> the job's end -----------------/
//! ```
//! Which state may follow which, and which verb is allowed in which, are QEMU's tables. All moves but those of the
//! worker's own (running and ready) happen on the main loop's thread. Jobs of one [`Group`] come to their ends together or
//! not at all.

use crate::control::Control;
use base::{Result, error};
use qapi::Event;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

base::trace_points! {
    /// What is to be traced of jobs.
    pub mod trace "job" {
        /// It comes into another state.
        STATUS "status",
    }
}

pub mod disk;
mod types;

pub use types::{
    BlockDeviceIoStatus, BlockErrorAction, BlockJobCancelled, BlockJobCompleted, BlockJobError,
    BlockJobPending, BlockJobReady, EVENTS, IoOperationType, JobStatus, JobStatusChange, JobType, Verb,
};

/// How a job behaves at its end.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Its end is seen without being asked for.
    pub auto_finalize: bool,
    /// It is forgotten then.
    pub auto_dismiss: bool,
    /// Who writes to its disk waits for the copy.
    pub at_once: bool,
}

/// Why a worker returns before its work is done.
pub enum Stop {
    /// It was given up.
    Cancelled,
    /// Something went wrong.
    Failed(base::Error),
}

impl From<base::Error> for Stop {
    fn from(error: base::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// It was ready when it was given up: what it has made is whole, and everything else stays as it was.
    Kept,
    /// It has failed or was given up.
    Failed,
}

/// What becomes of the disks at a job's end. On the main loop's thread.
pub type End = Box<dyn FnOnce(&Control, Outcome) -> Result<()> + Send>;

struct State {
    status: JobStatus,
    paused: bool,
    cancelled: bool,
    complete: bool,
    speed: u64,
    offset: u64,
    len: u64,
    error: Option<String>,
    io_status: BlockDeviceIoStatus,
    end: Option<End>,
    group: Option<Arc<Group>>,
    /// Work that the speed has let through until then.
    due: Instant,
}

/// Jobs that end together.
#[derive(Default)]
pub struct Group(Mutex<Vec<Arc<Job>>>);

impl Group {
    fn all(&self) -> Vec<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A job.
pub struct Job {
    /// Its name.
    pub id: String,
    /// What it does.
    pub kind: JobType,
    /// How it behaves at its end.
    pub manners: Manners,
    /// It is at work on a disk, and has events and commands of its own for that.
    pub on_disk: bool,
    state: Mutex<State>,
    changed: Condvar,
}

/// How a job stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// How far it is.
    pub status: JobStatus,
    /// Its user has paused it.
    pub paused: bool,
    /// Bytes or steps done.
    pub offset: u64,
    /// Bytes or steps in all.
    pub len: u64,
    /// Bytes in a second, or 0.
    pub speed: u64,
    /// What went wrong.
    pub error: Option<String>,
    /// The host's errors.
    pub io_status: BlockDeviceIoStatus,
}

impl Job {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let s = self.state();
        Standing {
            status: s.status,
            paused: s.paused,
            offset: s.offset,
            len: s.len,
            speed: s.speed,
            error: s.error.clone(),
            io_status: s.io_status,
        }
    }

    fn set(&self, to: JobStatus) {
        self.set_locked(&mut self.state(), to);
    }

    fn set_locked(&self, state: &mut State, to: JobStatus) {
        assert!(state.status.may_become(to), "a job went from {:?} to {to:?}", state.status);
        base::trace!(trace::STATUS, "{} {:?} {:?}", self.id, state.status, to);
        state.status = to;
        JobStatusChange { id: self.id.clone(), status: to }.emit();
        self.changed.notify_all();
    }

    /// Refuses what is not allowed in the job's present state.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn check(&self, verb: Verb) -> Result<()> {
        let status = self.state().status;
        match verb.allowed(status) {
            true => Ok(()),
            false => Err(error!(
                "Job '{}' in state '{}' cannot accept command verb '{}'",
                self.id,
                status.name(),
                verb.name()
            )),
        }
    }

    /// For the worker: waits while the job is paused.
    ///
    /// # Errors
    /// The job was given up.
    pub fn checkpoint(&self) -> std::result::Result<(), Stop> {
        let mut state = self.state();
        while state.paused && !state.cancelled {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.cancelled { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// For the worker: how much is done, of how much.
    pub fn progress(&self, offset: u64, len: u64) {
        let mut state = self.state();
        (state.offset, state.len) = (offset, len);
    }

    /// For the worker: waits as long as the speed wants it after so many bytes, or until something else is wanted.
    pub fn pace(&self, bytes: u64) {
        let mut state = self.state();
        if state.speed == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / state.speed as f64);
        let speed = state.speed;
        state.due = state.due.max(Instant::now()) + cost.min(Duration::from_secs(1 << 30));
        while state.speed == speed && !state.paused && !state.cancelled {
            let Some(pause) = state.due.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            else {
                return;
            };
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.due = Instant::now();
    }

    /// For the worker: the job could end.
    pub fn set_ready(&self) {
        let mut state = self.state();
        if state.status == JobStatus::Running {
            self.set_locked(&mut state, JobStatus::Ready);
            let (kind, device, len, offset, speed) = self.numbers(&state);
            BlockJobReady { kind, device, len, offset, speed }.emit();
        }
    }

    /// For the worker of a job that is ready: waits a moment for its user. Returns whether it is to end.
    pub fn wait_ready(&self) -> bool {
        let state = self.state();
        if state.complete || state.paused || state.cancelled {
            return state.complete && !state.paused;
        }
        let moment = Duration::from_millis(50);
        let state = self.changed.wait_timeout(state, moment).unwrap_or_else(PoisonError::into_inner).0;
        state.complete && !state.paused
    }

    /// For the worker: the host has reported an error, about which this was done.
    pub fn met_error(&self, operation: IoOperationType, action: BlockErrorAction, no_space: bool) {
        BlockJobError { device: self.id.clone(), operation, action }.emit();
        if action == BlockErrorAction::Stop {
            let mut state = self.state();
            state.io_status =
                if no_space { BlockDeviceIoStatus::Nospace } else { BlockDeviceIoStatus::Failed };
            self.pause_locked(&mut state);
        }
    }

    fn pause_locked(&self, state: &mut State) {
        state.paused = true;
        match state.status {
            JobStatus::Running => self.set_locked(state, JobStatus::Paused),
            JobStatus::Ready => self.set_locked(state, JobStatus::Standby),
            _ => {}
        }
    }

    /// Lets it wait.
    ///
    /// # Errors
    /// It cannot, or does already.
    pub fn pause(&self) -> Result<()> {
        self.check(Verb::Pause)?;
        let mut state = self.state();
        if state.paused {
            return Err(error!("Job is already paused"));
        }
        self.pause_locked(&mut state);
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not wait.
    pub fn resume(&self) -> Result<()> {
        self.check(Verb::Resume)?;
        let mut state = self.state();
        if !state.paused {
            return Err(error!("Can't resume a job that was not paused"));
        }
        self.resume_locked(&mut state);
        Ok(())
    }

    fn resume_locked(&self, state: &mut State) {
        (state.paused, state.io_status) = (false, BlockDeviceIoStatus::Ok);
        match state.status {
            JobStatus::Paused => self.set_locked(state, JobStatus::Running),
            JobStatus::Standby => self.set_locked(state, JobStatus::Ready),
            _ => {}
        }
        self.changed.notify_all();
    }

    /// Holds it back to so many bytes in a second; 0 does not.
    ///
    /// # Errors
    /// It cannot be in its present state.
    pub fn set_speed(&self, speed: u64) -> Result<()> {
        self.check(Verb::SetSpeed)?;
        self.state().speed = speed;
        self.changed.notify_all();
        Ok(())
    }

    /// Brings one that is ready to its end.
    ///
    /// # Errors
    /// It is not ready.
    pub fn complete(&self) -> Result<()> {
        self.check(Verb::Complete)?;
        let mut state = self.state();
        if state.cancelled {
            return Err(error!("The active block job '{}' cannot be completed", self.id));
        }
        state.complete = true;
        self.changed.notify_all();
        Ok(())
    }

    /// Sets what becomes of the disks.
    pub fn at_end(&self, end: End) {
        self.state().end = Some(end);
    }

    fn numbers(&self, s: &State) -> (JobType, String, i64, i64, i64) {
        (self.kind, self.id.clone(), s.len as i64, s.offset as i64, s.speed as i64)
    }
}

/// The jobs of this program.
#[derive(Default)]
pub struct Jobs(Mutex<Vec<Arc<Job>>>);

impl Jobs {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that have not been dismissed.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.list().clone()
    }

    /// The one of this name.
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.list().iter().find(|job| job.id == id).cloned()
    }

    /// Makes a job that does nothing yet.
    ///
    /// # Errors
    /// The name is no name, or another's.
    pub fn create(
        &self,
        id: String,
        kind: JobType,
        manners: Manners,
        on_disk: bool,
        speed: u64,
        group: Option<&Arc<Group>>,
    ) -> Result<Arc<Job>> {
        let letter = |c: char| c.is_ascii_alphabetic();
        if !id.starts_with(letter) || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            return Err(error!("Invalid job ID '{id}'"));
        }
        if self.find(&id).is_some() {
            return Err(error!("Job ID '{id}' already in use"));
        }
        let state = State {
            status: JobStatus::Created,
            paused: false,
            cancelled: false,
            complete: false,
            speed,
            offset: 0,
            len: 0,
            error: None,
            io_status: BlockDeviceIoStatus::Ok,
            end: None,
            group: group.cloned(),
            due: Instant::now(),
        };
        let job = Job { id, kind, manners, on_disk, state: Mutex::new(state), changed: Condvar::new() };
        let job = Arc::new(job);
        if let Some(group) = group {
            group.0.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone());
        }
        self.list().push(job.clone());
        JobStatusChange { id: job.id.clone(), status: JobStatus::Created }.emit();
        Ok(job)
    }

    /// Takes back one that was created and is not to be started.
    pub fn discard(&self, job: &Arc<Job>) {
        job.set(JobStatus::Null);
        self.forget(job);
    }

    fn forget(&self, job: &Arc<Job>) {
        self.list().retain(|other| !Arc::ptr_eq(other, job));
    }

    /// Starts a job whose work is done on a thread of its own.
    ///
    /// # Errors
    /// The host has no thread for it.
    pub fn start(
        &self,
        control: &Control,
        job: &Arc<Job>,
        work: impl FnOnce(&Job) -> std::result::Result<(), Stop> + Send + 'static,
    ) -> Result<()> {
        let (control, worker) = (control.shared()?, job.clone());
        job.set(JobStatus::Running);
        let thread = std::thread::Builder::new().name(format!("job {}", job.id));
        let run = move || {
            let result = work(&worker);
            let events = control.events().clone();
            events.defer(move || control.jobs().worked(&control, &worker, result));
        };
        thread.spawn(run).map(|_| ()).map_err(|e| error!("cannot start a job").because(e))
    }

    /// Starts a job whose work is done on the main loop's thread, after the reply.
    ///
    /// # Errors
    /// The program ends.
    pub fn start_here(
        &self,
        control: &Control,
        job: &Arc<Job>,
        work: impl FnOnce(&Control) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (control, job) = (control.shared()?, job.clone());
        job.progress(0, 1);
        job.set(JobStatus::Running);
        control.events().clone().defer(move || {
            let result = work(&control);
            job.progress(1, 1);
            control.jobs().worked(&control, &job, result.map_err(Stop::Failed));
        });
        Ok(())
    }

    /// Gives a job up. One that is ready ends well without its last step, unless `force`.
    ///
    /// # Errors
    /// It has ended.
    pub fn cancel(&self, control: &Control, job: &Arc<Job>, force: bool) -> Result<()> {
        job.check(Verb::Cancel)?;
        let status = job.state().status;
        match status {
            JobStatus::Ready if !force => {
                // It comes to its end as a copy of that moment, and the disk stays with its own medium.
                let mut state = job.state();
                let end = state.end.take();
                state.end = end.map(|end| -> End { Box::new(move |control, _| end(control, Outcome::Kept)) });
                state.complete = true;
                job.changed.notify_all();
            }
            JobStatus::Waiting | JobStatus::Pending => self.abort(control, job, Stop::Cancelled),
            _ => {
                let mut state = job.state();
                state.cancelled = true;
                job.resume_locked(&mut state);
            }
        }
        Ok(())
    }

    /// A worker has returned.
    fn worked(&self, control: &Control, job: &Arc<Job>, result: std::result::Result<(), Stop>) {
        let cancelled = job.state().cancelled;
        match result {
            Ok(()) if cancelled => self.abort(control, job, Stop::Cancelled),
            Err(stop) => self.abort(control, job, stop),
            Ok(()) => {
                {
                    // Who was paused at the very end has no more to wait for.
                    let mut state = job.state();
                    job.resume_locked(&mut state);
                    job.set_locked(&mut state, JobStatus::Waiting);
                }
                let group = job.state().group.as_ref().map_or_else(|| vec![job.clone()], |g| g.all());
                if group.iter().any(|one| one.state().status != JobStatus::Waiting) {
                    return;
                }
                group.iter().for_each(|one| one.set(JobStatus::Pending));
                if group.iter().all(|one| one.manners.auto_finalize) {
                    self.conclude(control, &group);
                } else {
                    for one in group.iter().filter(|one| one.on_disk && !one.manners.auto_finalize) {
                        BlockJobPending { kind: one.kind, id: one.id.clone() }.emit();
                    }
                }
            }
        }
    }

    /// Lets the end of a job that waits for that be seen, with those of its group.
    ///
    /// # Errors
    /// It does not wait.
    pub fn finalize(&self, control: &Control, job: &Arc<Job>) -> Result<()> {
        job.check(Verb::Finalize)?;
        let group = job.state().group.as_ref().map_or_else(|| vec![job.clone()], |g| g.all());
        self.conclude(control, &group);
        Ok(())
    }

    fn conclude(&self, control: &Control, group: &[Arc<Job>]) {
        for job in group {
            let end = job.state().end.take();
            match end.map_or(Ok(()), |end| end(control, Outcome::Done)) {
                Ok(()) => self.over(job, None),
                Err(error) => {
                    job.set(JobStatus::Aborting);
                    self.over(job, Some(error));
                }
            }
        }
    }

    /// A job has failed or was given up; those of its group are then given up.
    fn abort(&self, control: &Control, job: &Arc<Job>, why: Stop) {
        {
            let mut state = job.state();
            // From its pauses nobody leads to the end.
            state.cancelled |= matches!(why, Stop::Cancelled);
            job.resume_locked(&mut state);
            job.set_locked(&mut state, JobStatus::Aborting);
        }
        let end = job.state().end.take();
        let result = end.map_or(Ok(()), |end| end(control, Outcome::Failed));
        let error = match why {
            Stop::Cancelled => result.err(),
            Stop::Failed(error) => Some(error),
        };
        let group = job.state().group.take();
        self.over(job, error);
        for other in group.iter().flat_map(|group| group.all()) {
            other.state().group = None;
            if Verb::Cancel.allowed(other.state().status) {
                // It is not over, so it can be given up.
                let _ = self.cancel(control, &other, true);
            }
        }
    }

    fn over(&self, job: &Arc<Job>, error: Option<base::Error>) {
        let error = error.map(|e| e.to_string());
        if job.on_disk {
            let cancelled = job.state().cancelled;
            let (kind, device, len, offset, speed) = job.numbers(&job.state());
            if cancelled && error.is_none() {
                BlockJobCancelled { kind, device, len, offset, speed }.emit();
            } else {
                BlockJobCompleted { kind, device, len, offset, speed, error: error.clone() }.emit();
            }
        }
        job.state().error = error;
        job.set(JobStatus::Concluded);
        if job.manners.auto_dismiss {
            job.set(JobStatus::Null);
            self.forget(job);
        }
    }

    /// Forgets one that has ended.
    ///
    /// # Errors
    /// It has not.
    pub fn dismiss(&self, job: &Arc<Job>) -> Result<()> {
        job.check(Verb::Dismiss)?;
        job.set(JobStatus::Null);
        self.forget(job);
        Ok(())
    }
}

#[cfg(test)]
#[path = "jobs_test.rs"]
mod test;
