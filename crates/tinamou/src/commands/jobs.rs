//! Jobs: snapshots by the machine protocol, which begins them, looks how they stand, and dismisses them.

use crate::control::Control;
use crate::saving::Keep;
use base::{Result, error};
use monitor::{Command, Context, command};
use qapi::{Event, EventInfo, Qapi};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The commands of this file.
pub const COMMANDS: &[Command] =
    &[JOB_CANCEL, JOB_DISMISS, QUERY_JOBS, SNAPSHOT_DELETE, SNAPSHOT_LOAD, SNAPSHOT_SAVE];

/// All events of this file.
pub const EVENTS: &[EventInfo] = &[JobStatusChange::INFO];

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum JobStatus {
    /// It exists.
    Created,
    /// It is at work.
    Running,
    /// Its work is done.
    Waiting,
    /// Its end can be seen by everybody.
    Pending,
    /// It has ended, well or not.
    Concluded,
    /// It is gone.
    Null,
}

/// What a job does.
#[allow(clippy::enum_variant_names, reason = "the names of the protocol")]
#[derive(Clone, Copy, Debug, Qapi)]
pub enum JobType {
    /// Takes the machine back to a snapshot.
    SnapshotLoad,
    /// Takes a snapshot.
    SnapshotSave,
    /// Deletes one.
    SnapshotDelete,
}

/// A job.
#[derive(Clone, Debug, Qapi)]
pub struct JobInfo {
    id: String,
    #[qapi(name = "type")]
    kind: JobType,
    status: JobStatus,
    current_progress: i64,
    total_progress: i64,
    error: Option<String>,
}

/// A job is further than it was.
#[derive(Debug, Qapi)]
#[qapi(event = "JOB_STATUS_CHANGE")]
pub struct JobStatusChange {
    id: String,
    status: JobStatus,
}

/// The jobs of this program.
#[derive(Default)]
pub struct Jobs(Mutex<Vec<JobInfo>>);

impl Jobs {
    fn list(&self) -> MutexGuard<'_, Vec<JobInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &str, status: JobStatus) {
        for job in self.list().iter_mut().filter(|job| job.id == id) {
            job.status = status;
        }
        JobStatusChange { id: id.to_owned(), status }.emit();
    }

    /// Begins a job that does `work` on the main loop's thread, after the reply.
    fn begin(
        &self,
        control: &Control,
        id: String,
        kind: JobType,
        work: impl FnOnce(&Control) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        if id.is_empty() || !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(error!("Invalid job ID '{id}'"));
        }
        if self.list().iter().any(|job| job.id == id) {
            return Err(error!("Job ID '{id}' already in use"));
        }
        let status = JobStatus::Created;
        let (current_progress, total_progress, error) = (0, 1, None);
        self.list().push(JobInfo { id: id.clone(), kind, status, current_progress, total_progress, error });
        self.change(&id, JobStatus::Created);
        self.change(&id, JobStatus::Running);
        let control = control.shared()?;
        control.events().clone().defer(move || {
            let result = work(&control);
            let jobs = control.jobs();
            for job in jobs.list().iter_mut().filter(|job| job.id == id) {
                job.current_progress = 1;
                job.error = result.as_ref().err().map(ToString::to_string);
            }
            if result.is_ok() {
                jobs.change(&id, JobStatus::Waiting);
                jobs.change(&id, JobStatus::Pending);
            }
            jobs.change(&id, JobStatus::Concluded);
        });
        Ok(())
    }
}

/// All jobs that have not been dismissed.
#[command]
pub fn query_jobs(context: &mut Context<'_>) -> Result<Vec<JobInfo>> {
    Ok(Control::of(context)?.jobs().list().clone())
}

/// Forgets a job that has ended.
#[command]
pub fn job_dismiss(context: &mut Context<'_>, id: String) -> Result<()> {
    let jobs = Control::of(context)?.jobs();
    let status = jobs.list().iter().find(|job| job.id == id).map(|job| job.status);
    match status {
        None => Err(error!("Job not found")),
        Some(JobStatus::Concluded) => {
            jobs.change(&id, JobStatus::Null);
            jobs.list().retain(|job| job.id != id);
            Ok(())
        }
        Some(other) => {
            Err(error!("Job '{id}' in state '{}' cannot accept command verb 'dismiss'", other.name()))
        }
    }
}

/// Gives a job up: snapshots cannot be.
#[command]
pub fn job_cancel(context: &mut Context<'_>, id: String) -> Result<()> {
    let jobs = Control::of(context)?.jobs();
    let status = jobs.list().iter().find(|job| job.id == id).map(|job| job.status);
    let status = status.ok_or_else(|| error!("Job not found"))?;
    Err(error!("Job '{id}' in state '{}' cannot accept command verb 'cancel'", status.name()))
}

/// Where the machine's memory and devices are to be kept if not in the store.
const IN_MEMORY: &str = "memory";

/// Refuses names of disks that there are not. All disks take part in every snapshot.
fn check(control: &Control, vmstate: Option<&str>, devices: &[String]) -> Result<()> {
    let ids = control.saving()?.disks();
    if let Some(vmstate) = vmstate.filter(|v| *v != IN_MEMORY && !ids.iter().any(|id| id == v)) {
        return Err(error!("vmstate block device '{vmstate}' does not exist"));
    }
    match devices.iter().find(|device| !ids.contains(device)) {
        Some(device) => Err(error!("No block device node '{device}'")),
        None => Ok(()),
    }
}

/// Takes a snapshot, in the store, or, with `vmstate` being `memory`, in memory.
#[command]
pub fn snapshot_save(
    context: &mut Context<'_>,
    job_id: String,
    tag: String,
    vmstate: String,
    devices: Vec<String>,
) -> Result<()> {
    let control = Control::of(context)?;
    check(control, Some(&vmstate), &devices)?;
    let keep = if vmstate == IN_MEMORY { Keep::InMemory } else { Keep::OnDisk };
    control.jobs().begin(control, job_id, JobType::SnapshotSave, move |control| {
        let saving = control.saving()?;
        if saving.entries()?.iter().any(|entry| entry.tag == tag) {
            return Err(error!("Snapshot '{tag}' already exists in one or more devices"));
        }
        saving.save(control, Some(&tag), keep)
    })
}

/// Takes the machine back to a snapshot.
#[command]
pub fn snapshot_load(
    context: &mut Context<'_>,
    job_id: String,
    tag: String,
    vmstate: String,
    devices: Vec<String>,
) -> Result<()> {
    let control = Control::of(context)?;
    check(control, Some(&vmstate), &devices)?;
    control
        .jobs()
        .begin(control, job_id, JobType::SnapshotLoad, move |control| control.saving()?.load(control, &tag))
}

/// Deletes a snapshot.
#[command]
pub fn snapshot_delete(
    context: &mut Context<'_>,
    job_id: String,
    tag: String,
    devices: Vec<String>,
) -> Result<()> {
    let control = Control::of(context)?;
    check(control, None, &devices)?;
    control
        .jobs()
        .begin(control, job_id, JobType::SnapshotDelete, move |control| control.saving()?.delete(&tag))
}
