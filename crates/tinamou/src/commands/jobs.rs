//! Jobs of all kinds, and snapshots by the machine protocol, which are jobs.

use crate::control::Control;
use crate::jobs::{Job, JobStatus, JobType, Manners};
use crate::saving::Keep;
use base::{Result, error};
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    JOB_CANCEL,
    JOB_COMPLETE,
    JOB_DISMISS,
    JOB_FINALIZE,
    JOB_PAUSE,
    JOB_RESUME,
    QUERY_JOBS,
    SNAPSHOT_DELETE,
    SNAPSHOT_LOAD,
    SNAPSHOT_SAVE,
];

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

/// All jobs that have not been dismissed.
#[command]
pub fn query_jobs(context: &mut Context<'_>) -> Result<Vec<JobInfo>> {
    let info = |job: &Arc<Job>| {
        let standing = job.standing();
        JobInfo {
            id: job.id.clone(),
            kind: job.kind,
            status: standing.status,
            current_progress: standing.offset as i64,
            total_progress: standing.len as i64,
            error: standing.error,
        }
    };
    Ok(Control::of(context)?.jobs().all().iter().map(info).collect())
}

fn find(control: &Control, id: &str) -> Result<Arc<Job>> {
    control.jobs().find(id).ok_or_else(|| error!("Job not found"))
}

/// Gives a job up.
#[command]
pub fn job_cancel(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    let job = find(control, &id)?;
    if !job.on_disk && job.standing().status == JobStatus::Running {
        // It is the main loop's own work, and nearly done.
        return Err(error!("Job '{id}' in state 'running' cannot accept command verb 'cancel'"));
    }
    control.jobs().cancel(control, &job, true)
}

/// Brings a job that is ready to its end.
#[command]
pub fn job_complete(context: &mut Context<'_>, id: String) -> Result<()> {
    find(Control::of(context)?, &id)?.complete()
}

/// Forgets a job that has ended.
#[command]
pub fn job_dismiss(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    control.jobs().dismiss(&find(control, &id)?)
}

/// Lets the end of a job be seen that waits for that.
#[command]
pub fn job_finalize(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    control.jobs().finalize(control, &find(control, &id)?)
}

/// Lets a job wait.
#[command]
pub fn job_pause(context: &mut Context<'_>, id: String) -> Result<()> {
    find(Control::of(context)?, &id)?.pause()
}

/// Lets a job go on.
#[command]
pub fn job_resume(context: &mut Context<'_>, id: String) -> Result<()> {
    find(Control::of(context)?, &id)?.resume()
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

/// Begins a job of snapshots: it ends by itself and stays until it is dismissed.
fn begin(
    control: &Control,
    id: String,
    kind: JobType,
    work: impl FnOnce(&Control) -> Result<()> + Send + 'static,
) -> Result<()> {
    let manners = Manners { auto_finalize: true, auto_dismiss: false, at_once: false };
    let job = control.jobs().create(id, kind, manners, false, 0, None)?;
    control.jobs().start_here(control, &job, work)
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
    begin(control, job_id, JobType::SnapshotSave, move |control| {
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
    begin(control, job_id, JobType::SnapshotLoad, move |control| control.saving()?.load(control, &tag))
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
    begin(control, job_id, JobType::SnapshotDelete, move |control| control.saving()?.delete(&tag))
}
