//! The commands that begin jobs on disks, and look after them.

use super::as_qmp;
use crate::control::Control;
use crate::jobs::disk::{
    BlockdevOnError, MirrorSyncMode, NewImageMode, Plan, Prepared, Task, blocks, make_image, prepare, start,
    target_file,
};
use crate::jobs::{BlockDeviceIoStatus, Group, Job, JobStatus, JobType, Manners};
use backends::block::CopyManner;
use base::error::Class;
use base::{Result, error};
use monitor::hmp::{Number, Switches, Word};
use monitor::{Command, Context, command};
use qapi::{Qapi, json};
use std::fmt::Write;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    BLOCKDEV_BACKUP,
    BLOCKDEV_CREATE,
    BLOCKDEV_MIRROR,
    BLOCK_COMMIT,
    BLOCK_JOB_CANCEL,
    BLOCK_JOB_COMPLETE,
    BLOCK_JOB_DISMISS,
    BLOCK_JOB_FINALIZE,
    BLOCK_JOB_PAUSE,
    BLOCK_JOB_RESUME,
    BLOCK_JOB_SET_SPEED,
    BLOCK_STREAM,
    DRIVE_BACKUP,
    DRIVE_MIRROR,
    QUERY_BLOCK_JOBS,
];

/// When a mirror writes what the guest has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum MirrorCopyMode {
    /// Afterwards.
    Background,
    /// At once: who writes waits for it.
    WriteBlocking,
}

/// How a mirror copies; what is not said is chosen here.
fn manner(granularity: Option<u32>, mode: Option<MirrorCopyMode>) -> Result<CopyManner> {
    let default = CopyManner::default();
    let chunk = granularity.filter(|size| *size != 0).map_or(default.chunk, u64::from);
    if !(512..=64 << 20).contains(&chunk) {
        return Err(error!("Parameter 'granularity' expects a value in range [512B, 64MB]"));
    }
    if !chunk.is_power_of_two() {
        return Err(error!("Parameter 'granularity' expects a power of 2"));
    }
    Ok(CopyManner { chunk, at_once: mode == Some(MirrorCopyMode::WriteBlocking) })
}

/// What a backup is to do.
#[derive(Debug, Qapi)]
pub struct BackupCommon {
    job_id: Option<String>,
    device: String,
    sync: MirrorSyncMode,
    speed: Option<i64>,
    compress: Option<bool>,
    on_source_error: Option<BlockdevOnError>,
    on_target_error: Option<BlockdevOnError>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
    filter_node_name: Option<String>,
}

/// A backup to a node.
#[derive(Debug, Qapi)]
pub struct BlockdevBackup {
    target: String,
    #[qapi(flatten)]
    common: BackupCommon,
}

/// A backup to a file.
#[derive(Debug, Qapi)]
pub struct DriveBackup {
    target: String,
    format: Option<String>,
    mode: Option<NewImageMode>,
    #[qapi(flatten)]
    common: BackupCommon,
}

impl BackupCommon {
    /// Refuses what no format here can do.
    fn check(&self) -> Result<()> {
        match self.compress {
            Some(true) => Err(error!("Compression is not supported for this drive")),
            _ => Ok(()),
        }
    }

    fn plan(self, target: String, made: bool) -> Plan {
        Plan {
            kind: JobType::Backup,
            id: self.job_id,
            device: self.device,
            task: Task::Copy { target, made, how: CopyManner::default() },
            sync: self.sync,
            speed: self.speed,
            on_source_error: self.on_source_error,
            on_target_error: self.on_target_error,
            auto_finalize: self.auto_finalize,
            auto_dismiss: self.auto_dismiss,
        }
    }
}

impl BlockdevBackup {
    /// Makes the job.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn prepare(self, control: &Control, group: Option<&Arc<Group>>) -> Result<Prepared> {
        self.common.check()?;
        prepare(control, self.common.plan(self.target, false), group)
    }
}

impl DriveBackup {
    /// Makes the image and the job.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn prepare(self, control: &Control, group: Option<&Arc<Group>>) -> Result<Prepared> {
        self.common.check()?;
        let how = (self.format.as_deref(), self.mode);
        let target = target_file(control, &self.common.device, &self.target, how, None)?;
        prepare(control, self.common.plan(target.clone(), true), group)
            .inspect_err(|_| blocks(control).remove(&target))
    }
}

/// Copies what a disk is now to another node.
#[command(boxed)]
pub fn blockdev_backup(context: &mut Context<'_>, options: BlockdevBackup) -> Result<()> {
    let control = Control::of(context)?;
    Prepared::start(vec![options.prepare(control, None)?], control)
}

/// Copies what a disk is now to a file.
#[command(boxed)]
pub fn drive_backup(context: &mut Context<'_>, options: DriveBackup) -> Result<()> {
    let control = Control::of(context)?;
    Prepared::start(vec![options.prepare(control, None)?], control)
}

/// Copies a disk to another node and, when that is done and wanted, goes over to that.
#[command]
#[allow(clippy::too_many_arguments, reason = "the protocol's")]
pub fn blockdev_mirror(
    context: &mut Context<'_>,
    job_id: Option<String>,
    device: String,
    target: String,
    sync: MirrorSyncMode,
    speed: Option<i64>,
    granularity: Option<u32>,
    _buf_size: Option<i64>,
    on_source_error: Option<BlockdevOnError>,
    on_target_error: Option<BlockdevOnError>,
    _filter_node_name: Option<String>,
    copy_mode: Option<MirrorCopyMode>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
) -> Result<()> {
    let task = Task::Copy { target, made: false, how: manner(granularity, copy_mode)? };
    let plan = Plan {
        kind: JobType::Mirror,
        id: job_id,
        device,
        task,
        sync,
        speed,
        on_source_error,
        on_target_error,
        auto_finalize,
        auto_dismiss,
    };
    start(Control::of(context)?, plan)
}

/// A copy of a disk to a file, and what goes with it.
#[derive(Debug, Qapi)]
pub struct DriveMirror {
    job_id: Option<String>,
    device: String,
    target: String,
    format: Option<String>,
    node_name: Option<String>,
    sync: MirrorSyncMode,
    mode: Option<NewImageMode>,
    speed: Option<i64>,
    granularity: Option<u32>,
    buf_size: Option<i64>,
    on_source_error: Option<BlockdevOnError>,
    on_target_error: Option<BlockdevOnError>,
    unmap: Option<bool>,
    copy_mode: Option<MirrorCopyMode>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
}

/// Copies a disk to a file and, when that is done and wanted, goes over to that.
#[command(boxed)]
pub fn drive_mirror(context: &mut Context<'_>, options: DriveMirror) -> Result<()> {
    let control = Control::of(context)?;
    let copy = manner(options.granularity, options.copy_mode)?;
    let how = (options.format.as_deref(), options.mode);
    let target = target_file(control, &options.device, &options.target, how, options.node_name)?;
    let plan = Plan {
        kind: JobType::Mirror,
        id: options.job_id,
        device: options.device,
        task: Task::Copy { target: target.clone(), made: true, how: copy },
        sync: options.sync,
        speed: options.speed,
        on_source_error: options.on_source_error,
        on_target_error: options.on_target_error,
        auto_finalize: options.auto_finalize,
        auto_dismiss: options.auto_dismiss,
    };
    start(control, plan).inspect_err(|_| blocks(control).remove(&target))
}

/// Writes temporary changes (`snapshot=on`) to the image and, when that is done and wanted, goes over to that.
#[command]
#[allow(clippy::too_many_arguments, reason = "the protocol's")]
pub fn block_commit(
    context: &mut Context<'_>,
    job_id: Option<String>,
    device: String,
    speed: Option<i64>,
    on_error: Option<BlockdevOnError>,
    _filter_node_name: Option<String>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
) -> Result<()> {
    let plan = Plan {
        kind: JobType::Commit,
        id: job_id,
        device,
        task: Task::Commit,
        sync: MirrorSyncMode::Top,
        speed,
        on_source_error: on_error,
        on_target_error: on_error,
        auto_finalize,
        auto_dismiss,
    };
    start(Control::of(context)?, plan)
}

/// Makes a disk with temporary changes (`snapshot=on`) independent of the image.
#[command]
#[allow(clippy::too_many_arguments, reason = "the protocol's")]
pub fn block_stream(
    context: &mut Context<'_>,
    job_id: Option<String>,
    device: String,
    speed: Option<i64>,
    on_error: Option<BlockdevOnError>,
    _filter_node_name: Option<String>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
) -> Result<()> {
    let plan = Plan {
        kind: JobType::Stream,
        id: job_id,
        device,
        task: Task::Stream,
        sync: MirrorSyncMode::Top,
        speed,
        on_source_error: on_error,
        on_target_error: on_error,
        auto_finalize,
        auto_dismiss,
    };
    start(Control::of(context)?, plan)
}

/// An image file to be made.
#[derive(Debug, Qapi)]
pub struct BlockdevCreateOptionsFile {
    filename: String,
    size: u64,
}

/// An image to be made.
#[derive(Debug, Qapi)]
#[qapi(tag = "driver")]
pub enum BlockdevCreateOptions {
    /// A file of the host.
    File(BlockdevCreateOptionsFile),
}

/// Makes an image.
#[command]
pub fn blockdev_create(
    context: &mut Context<'_>,
    job_id: String,
    options: BlockdevCreateOptions,
) -> Result<()> {
    let control = Control::of(context)?;
    let manners = Manners { auto_finalize: true, auto_dismiss: false, at_once: false };
    let job = control.jobs().create(job_id, JobType::Create, manners, false, 0, None)?;
    let BlockdevCreateOptions::File(file) = options;
    control.jobs().start_here(control, &job, move |_| make_image(&file.filename, file.size))
}

/// What is to be known of a mirror.
#[derive(Debug, Qapi)]
pub struct BlockJobInfoMirror {
    actively_synced: bool,
}

/// What a job on a disk does.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum BlockJobKind {
    /// Writes temporary changes to the image.
    Commit,
    /// Makes a disk independent of an image below.
    Stream,
    /// Copies a disk and goes over to the copy.
    Mirror(BlockJobInfoMirror),
    /// Copies what a disk is now.
    Backup,
}

/// A job on a disk.
#[derive(Debug, Qapi)]
pub struct BlockJobInfo {
    #[qapi(flatten)]
    kind: BlockJobKind,
    device: String,
    len: i64,
    offset: i64,
    busy: bool,
    paused: bool,
    speed: i64,
    io_status: BlockDeviceIoStatus,
    ready: bool,
    status: JobStatus,
    auto_finalize: bool,
    auto_dismiss: bool,
    error: Option<String>,
}

/// The jobs on disks.
#[command(hmp("info block-jobs", "", "show progress of ongoing block device operations"))]
pub fn query_block_jobs(context: &mut Context<'_>) -> Result<Vec<BlockJobInfo>> {
    let mut list = Vec::new();
    for job in Control::of(context)?.jobs().all().into_iter().filter(|job| job.on_disk) {
        let s = job.standing();
        let speed = if s.speed == 0 { String::new() } else { format!(", speed limit {} bytes/s", s.speed) };
        let what = match job.kind {
            JobType::Stream => format!("Streaming device {}", job.id),
            kind => format!("Type {}, device {}", kind.name(), job.id),
        };
        let _ = writeln!(context.out, "{what}: Completed {} of {} bytes{speed}", s.offset, s.len);
        list.push(BlockJobInfo {
            kind: match job.kind {
                JobType::Commit => BlockJobKind::Commit,
                JobType::Stream => BlockJobKind::Stream,
                JobType::Mirror => BlockJobKind::Mirror(BlockJobInfoMirror {
                    actively_synced: job.manners.at_once
                        && matches!(s.status, JobStatus::Ready | JobStatus::Standby),
                }),
                _ => BlockJobKind::Backup,
            },
            device: job.id.clone(),
            len: s.len as i64,
            offset: s.offset as i64,
            busy: false,
            paused: s.paused,
            speed: s.speed as i64,
            io_status: s.io_status,
            ready: matches!(s.status, JobStatus::Ready | JobStatus::Standby),
            status: s.status,
            auto_finalize: job.manners.auto_finalize,
            auto_dismiss: job.manners.auto_dismiss,
            error: s.error,
        });
    }
    if list.is_empty() {
        context.out.push_str("No active jobs\n");
    }
    Ok(list)
}

fn find(control: &Control, device: &str) -> Result<Arc<Job>> {
    let job = control.jobs().find(device).filter(|job| job.on_disk);
    job.ok_or_else(|| error!("Block job '{device}' not found").class(Class::DeviceNotActive))
}

/// Gives a job up; one that is ready keeps its copy, unless `force`.
#[command]
pub fn block_job_cancel(context: &mut Context<'_>, device: String, force: Option<bool>) -> Result<()> {
    let control = Control::of(context)?;
    control.jobs().cancel(control, &find(control, &device)?, force.unwrap_or(false))
}

/// Brings a job that is ready to its end.
#[command(hmp(
    "block_job_complete",
    "device",
    "stop an active background block operation, and go over to its result"
))]
pub fn block_job_complete(context: &mut Context<'_>, device: String) -> Result<()> {
    find(Control::of(context)?, &device)?.complete()
}

/// Lets a job wait.
#[command(hmp("block_job_pause", "device", "pause an active background block operation"))]
pub fn block_job_pause(context: &mut Context<'_>, device: String) -> Result<()> {
    find(Control::of(context)?, &device)?.pause()
}

/// Lets a job go on.
#[command(hmp("block_job_resume", "device", "resume a paused background block operation"))]
pub fn block_job_resume(context: &mut Context<'_>, device: String) -> Result<()> {
    find(Control::of(context)?, &device)?.resume()
}

/// Lets the end of a job be seen that waits for that.
#[command]
pub fn block_job_finalize(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    control.jobs().finalize(control, &find(control, &id)?)
}

/// Forgets a job that has ended.
#[command]
pub fn block_job_dismiss(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    control.jobs().dismiss(&find(control, &id)?)
}

/// Holds a job back to so many bytes in a second.
#[command(hmp("block_job_set_speed", "device speed", "set maximum speed for a background block operation"))]
pub fn block_job_set_speed(context: &mut Context<'_>, device: String, speed: i64) -> Result<()> {
    let job = find(Control::of(context)?, &device)?;
    job.set_speed(u64::try_from(speed).map_err(|_| error!("Parameter 'speed' expects a non-negative value"))?)
}

/// The arguments that a copy to a file has in both monitors.
fn to_file(switches: &Switches, (device, target, format): (Word, Word, Option<Word>)) -> qapi::Value {
    let mode = if switches.has('n') { "existing" } else { "absolute-paths" };
    let sync = if switches.has('f') { "full" } else { "top" };
    let mut arguments = json!({"device": device.0, "target": target.0, "mode": mode, "sync": sync});
    if switches.has('c') {
        arguments["compress"] = true.into();
    }
    if let Some(Word(format)) = format {
        arguments["format"] = format.into();
    }
    arguments
}

fn hmp_backup(
    context: &mut Context<'_>,
    switches: Switches,
    files: (Word, Word, Option<Word>),
) -> Result<()> {
    as_qmp(context, &DRIVE_BACKUP, to_file(&switches, files))
}

fn hmp_mirror(
    context: &mut Context<'_>,
    switches: Switches,
    files: (Word, Word, Option<Word>),
) -> Result<()> {
    as_qmp(context, &DRIVE_MIRROR, to_file(&switches, files))
}

fn hmp_cancel(context: &mut Context<'_>, switches: Switches, (device,): (Word,)) -> Result<()> {
    as_qmp(context, &BLOCK_JOB_CANCEL, json!({"device": device.0, "force": switches.has('f')}))
}

fn hmp_stream(context: &mut Context<'_>, (device, speed): (Word, Option<Number>)) -> Result<()> {
    let speed = speed.map_or(0, |speed| speed.0);
    as_qmp(context, &BLOCK_STREAM, json!({"device": device.0, "speed": speed}))
}

monitor::hmp_rows! {
    /// Commands for people.
    HMP {
        "block_job_cancel" hmp_cancel, (switches "f", Word), "[-f] device", "stop an active background block operation (use -f if you want to abort the operation immediately instead of keep running until data is in sync)";
        "block_stream" hmp_stream, (Word, Option<Number>), "device [speed [base]]", "copy data from a backing file into a block device";
        "drive_backup" hmp_backup, (switches "nfc", Word, Word, Option<Word>), "[-n] [-f] [-c] device target [format]", "copy what a device is now to an image file.\n\t\t\t-n: the file exists.\n\t\t\t-f: the whole disk.\n\t\t\t-c: compressed, where the format can do that.";
        "drive_mirror" hmp_mirror, (switches "nf", Word, Word, Option<Word>), "[-n] [-f] device target [format]", "copy a device to an image file, with what is written meanwhile.\n\t\t\t-n: the file exists.\n\t\t\t-f: the whole disk.";
    }
}
