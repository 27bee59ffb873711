//! Jobs on disks: copies of a disk in use (mirror, backup), writing temporary changes back (commit), becoming independent of
//! the image below (stream).
//!
//! ```text
//! command --> a Plan --> prepare --> Prepared { job, begin, work } --> Prepared::start
//! transaction -----------> all prepared, all disks at rest: all begin --> all start
//! ```

use super::{BlockErrorAction, End, Group, IoOperationType, Job, JobType, Manners, Outcome, Stop};
use crate::control::Control;
use backends::block::{BlockDevice, BlockdevOption, Copy, CopyManner, Moment, Node, Side};
use base::{Result, error};
use qapi::Qapi;
use std::io::{self, ErrorKind};
use std::sync::{Arc, MutexGuard, PoisonError};

/// What of the disk is copied. No disk here has an image below it that would not be copied, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum MirrorSyncMode {
    /// All of it.
    Top,
    /// All of it.
    Full,
    /// What is written from now on.
    None,
    /// What a bitmap says.
    Incremental,
    /// What a bitmap says.
    Bitmap,
}

/// What is done about an error of the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum BlockdevOnError {
    /// The job fails.
    #[default]
    Report,
    /// It goes on.
    Ignore,
    /// It waits if the host's disk is full, else it fails.
    Enospc,
    /// It waits.
    Stop,
    /// As usual.
    Auto,
}

/// Where the image of a copy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum NewImageMode {
    /// It is there.
    Existing,
    /// It is made.
    AbsolutePaths,
}

/// The blocks, locked.
pub(crate) fn blocks(control: &Control) -> MutexGuard<'_, backends::block::Blocks> {
    control.blocks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is done with a disk.
pub enum Task {
    /// Copied to the node of this name; gone over to it at the end if it is a mirror.
    Copy {
        /// The node.
        target: String,
        /// It was made for this job.
        made: bool,
        /// In which pieces, and when.
        how: CopyManner,
    },
    /// Temporary changes go down to the image.
    Commit,
    /// What lies in the image is taken up.
    Stream,
}

/// What a command wants.
pub struct Plan {
    /// What the job does.
    pub kind: JobType,
    /// Its name; the device's, if it is not said.
    pub id: Option<String>,
    /// The device or node.
    pub device: String,
    /// What is done with it.
    pub task: Task,
    /// What of it is copied.
    pub sync: MirrorSyncMode,
    /// Bytes in a second.
    pub speed: Option<i64>,
    /// What is done about errors in reading.
    pub on_source_error: Option<BlockdevOnError>,
    /// What is done about errors in writing.
    pub on_target_error: Option<BlockdevOnError>,
    /// Its end is seen without being asked for.
    pub auto_finalize: Option<bool>,
    /// It is forgotten then.
    pub auto_dismiss: Option<bool>,
}

type Work = Box<dyn FnOnce(&Job) -> std::result::Result<(), Stop> + Send>;

/// A disk's job that has been made and not started.
pub struct Prepared {
    /// The job.
    pub job: Arc<Job>,
    /// The disk.
    pub source: Arc<Node>,
    /// What has to be done with the disk at rest.
    begin: Box<dyn FnOnce() + Send>,
    work: Work,
    /// What has to be undone if it is not started.
    undo: Box<dyn FnOnce(&Control) + Send>,
}

impl Prepared {
    /// Begins what concerns the disk, at rest, and starts the job's work.
    ///
    /// # Errors
    /// The host has no thread for it.
    pub fn start(all: Vec<Prepared>, control: &Control) -> Result<()> {
        let mut works = Vec::new();
        {
            // At rest together, so that all see the same moment. Whoever uses several disks at once waits for this.
            let sources: Vec<Arc<Node>> = all.iter().map(|one| one.source.clone()).collect();
            let _rest: Vec<_> = sources.iter().map(|source| source.at_rest()).collect();
            for one in all {
                (one.begin)();
                works.push((one.job, one.work));
            }
        }
        works.into_iter().try_for_each(|(job, work)| control.jobs().start(control, &job, work))
    }

    /// It is not to be started.
    pub fn discard(self, control: &Control) {
        (self.undo)(control);
        control.jobs().discard(&self.job);
    }
}

pub(crate) fn no_node(name: &str) -> base::Error {
    error!("Cannot find device='{name}' nor node-name='{name}'")
}

pub(crate) fn busy(name: &str, node: &Node) -> Result<()> {
    match node.job() {
        Some(kind) => Err(error!("Node '{name}' is busy: block device is in use by block job: {kind}")),
        None => Ok(()),
    }
}

/// Makes a job of a plan.
///
/// # Errors
/// In QEMU's words.
pub fn prepare(control: &Control, plan: Plan, group: Option<&Arc<Group>>) -> Result<Prepared> {
    let nodes = blocks(control);
    let drive = nodes.find_node(&plan.device).ok_or_else(|| no_node(&plan.device))?;
    let source = drive.device.clone().ok_or_else(|| error!("Device '{}' has no medium", plan.device))?;
    busy(&plan.device, &source)?;
    if matches!(plan.sync, MirrorSyncMode::Incremental | MirrorSyncMode::Bitmap) {
        return Err(error!("must provide a valid bitmap name for '{}' sync mode", plan.sync.name()));
    }
    let id = match plan.id {
        Some(id) => id,
        None if drive.option.is_some() => drive.id.clone(),
        None => return Err(error!("An explicit job ID is required for this node")),
    };
    let target = match &plan.task {
        Task::Copy { target, .. } => {
            let node = nodes.find_node(target).and_then(|drive| Some((drive, drive.device.clone()?)));
            let (entry, node) = node.ok_or_else(|| no_node(target))?;
            if Arc::ptr_eq(&node, &source) {
                return Err(match plan.kind {
                    JobType::Mirror => error!("Can't mirror node into itself"),
                    _ => error!("Source and target cannot be the same"),
                });
            }
            busy(target, &node)?;
            if entry.taken || nodes.has_parent(target) {
                return Err(error!("Node '{target}' is busy: it is in use by a device or another node"));
            }
            if node.read_only() {
                return Err(error!("Block node '{target}' is read-only"));
            }
            Some(node)
        }
        Task::Commit | Task::Stream => None,
    };
    drop(nodes);
    let layers = source.layers();
    if matches!(plan.task, Task::Commit) && layers.is_none() {
        return Err(error!("cannot commit an image into itself"));
    }
    if let Some(target) = &target {
        match (plan.kind, target.len() == source.len()) {
            (_, true) => {}
            (JobType::Mirror, false) if target.len() < source.len() => {
                target.set_len(source.len()).map_err(|e| error!("{e}"))?;
            }
            (JobType::Mirror, false) => {}
            (_, false) => return Err(error!("Source and target image have different sizes")),
        }
    }
    let made = matches!(plan.task, Task::Copy { made: true, .. });
    let manners = Manners {
        auto_finalize: plan.auto_finalize.unwrap_or(true),
        auto_dismiss: plan.auto_dismiss.unwrap_or(true),
        at_once: matches!(plan.task, Task::Copy { how: CopyManner { at_once: true, .. }, .. }),
    };
    let speed = |speed: i64| {
        u64::try_from(speed).map_err(|_| error!("Parameter 'speed' expects a non-negative value"))
    };
    let speed = plan.speed.map_or(Ok(0), speed)?;
    let job = control.jobs().create(id, plan.kind, manners, true, speed, group)?;
    let policy = Policy {
        source: plan.on_source_error.unwrap_or_default(),
        target: plan.on_target_error.unwrap_or_default(),
    };
    for node in [Some(&source), target.as_ref()].into_iter().flatten() {
        node.set_job(Some(plan.kind.name()));
    }
    let free = {
        let (source, target) = (source.clone(), target.clone());
        move |control: &Control| {
            source.set_job(None);
            if let Some(target) = &target {
                target.set_job(None);
                if made {
                    // Who has gone over to it has its name now.
                    let mut blocks = blocks(control);
                    let own = blocks.of_node(target).filter(|own| own.option.is_none());
                    if let Some(name) = own.map(|own| own.id.clone()) {
                        blocks.remove(&name);
                    }
                }
            }
        }
    };
    let undo = Box::new(free.clone());
    let prepared = match (&plan.task, target, layers) {
        (Task::Copy { how, .. }, Some(target), _) => {
            let moment = if plan.kind == JobType::Mirror { Moment::End } else { Moment::Begin };
            let nothing = plan.sync == MirrorSyncMode::None && moment == Moment::End;
            let parts = Some(0..source.len()).filter(|_| !nothing);
            let forever = plan.sync == MirrorSyncMode::None && moment == Moment::Begin;
            let medium = target.medium().clone();
            let copy = Arc::new(Copy::new(&source, medium.clone(), moment, parts, *how));
            let pivot = (moment == Moment::End).then(|| Pivot { medium, target: Some(target.clone()) });
            job.at_end(copy_end(copy.clone(), source.clone(), pivot, Box::new(free)));
            copying(job, source, copy, policy, moment, forever, undo)
        }
        (Task::Commit, _, Some(layers)) => {
            let copy = Arc::new(Copy::new(
                &source,
                layers.below.clone(),
                Moment::End,
                layers.above,
                CopyManner::default(),
            ));
            let pivot = Some(Pivot { medium: layers.below, target: None });
            job.at_end(copy_end(copy.clone(), source.clone(), pivot, Box::new(free)));
            copying(job, source, copy, policy, Moment::End, false, undo)
        }
        _ => {
            job.at_end(Box::new(move |control, _| {
                free(control);
                Ok(())
            }));
            let disk = source.clone();
            let work = Box::new(move |job: &Job| stream_work(job, &disk, policy));
            Prepared { job, source, begin: Box::new(|| ()), work, undo }
        }
    };
    Ok(prepared)
}

fn copying(
    job: Arc<Job>,
    source: Arc<Node>,
    copy: Arc<Copy>,
    policy: Policy,
    moment: Moment,
    forever: bool,
    undo: Box<dyn FnOnce(&Control) + Send>,
) -> Prepared {
    let beginning = copy.clone();
    let len = source.len();
    Prepared {
        job,
        source,
        begin: Box::new(move || beginning.begin()),
        work: Box::new(move |job| copy_work(job, &copy, policy, moment, forever, len)),
        undo,
    }
}

/// Where a disk goes to at the end.
struct Pivot {
    medium: Arc<dyn BlockDevice>,
    /// The node that has the medium, if one has.
    target: Option<Arc<Node>>,
}

fn copy_end(
    copy: Arc<Copy>,
    source: Arc<Node>,
    pivot: Option<Pivot>,
    free: Box<dyn FnOnce(&Control) + Send>,
) -> End {
    Box::new(move |control, outcome| {
        let mut result = Ok(());
        let rest = |(side, e): (Side, io::Error)| error!("{side:?}: {}", backends::reason(&e));
        match (outcome, pivot) {
            (Outcome::Done, Some(pivot)) => {
                source.hurry(true);
                let mut medium = source.at_rest();
                result = copy.finish(&**medium).map_err(rest);
                if result.is_ok() {
                    let old = std::mem::replace(&mut *medium, pivot.medium);
                    drop(medium);
                    if let Some(target) = &pivot.target {
                        *target.at_rest() = old;
                        blocks(control).exchange(&source, target);
                    }
                }
                source.hurry(false);
            }
            (Outcome::Kept, Some(_)) => {
                source.hurry(true);
                result = copy.finish(&**source.at_rest()).map_err(rest);
                source.hurry(false);
            }
            _ => {}
        }
        copy.end();
        free(control);
        result
    })
}

/// What is done about errors.
#[derive(Clone, Copy)]
struct Policy {
    source: BlockdevOnError,
    target: BlockdevOnError,
}

impl Policy {
    /// Decides about an error and tells of it; `Err` ends the job.
    fn decide(self, job: &Job, side: Side, error: &io::Error) -> std::result::Result<BlockErrorAction, Stop> {
        let no_space = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let (policy, operation) = match side {
            Side::Source => (self.source, IoOperationType::Read),
            Side::Target => (self.target, IoOperationType::Write),
        };
        let action = match policy {
            BlockdevOnError::Ignore => BlockErrorAction::Ignore,
            BlockdevOnError::Stop => BlockErrorAction::Stop,
            BlockdevOnError::Enospc if no_space => BlockErrorAction::Stop,
            _ => BlockErrorAction::Report,
        };
        job.met_error(operation, action, no_space);
        match action {
            BlockErrorAction::Report => Err(Stop::Failed(error!("{}", backends::reason(error)))),
            action => Ok(action),
        }
    }
}

fn copy_work(
    job: &Job,
    copy: &Copy,
    policy: Policy,
    moment: Moment,
    forever: bool,
    len: u64,
) -> std::result::Result<(), Stop> {
    // A mirror has more to do with each write of the guest's, and counts that.
    let mut done = len - copy.remaining();
    if moment == Moment::End {
        done = 0;
    }
    loop {
        let left = copy.remaining();
        job.progress(done, if moment == Moment::End { done + left } else { len });
        job.checkpoint()?;
        if forever {
            // Only what the guest overwrites is copied, by its own writes; the rest is of no interest.
            job.wait_ready();
            continue;
        }
        match copy.step() {
            Ok(Some(bytes)) => {
                done = if moment == Moment::End { done + bytes } else { len - copy.remaining() };
                job.progress(done, if moment == Moment::End { done + copy.remaining() } else { len });
                job.pace(bytes);
            }
            Ok(None) if moment == Moment::Begin => return Ok(()),
            Ok(None) => {
                job.set_ready();
                if job.wait_ready() {
                    return Ok(());
                }
            }
            Err((side, error)) => {
                if policy.decide(job, side, &error)? == BlockErrorAction::Ignore {
                    copy.skip();
                }
            }
        }
    }
}

fn stream_work(job: &Job, disk: &Node, policy: Policy) -> std::result::Result<(), Stop> {
    const PART: u64 = 512 << 10;
    // Without an image below there is nothing to do.
    let len = if disk.layers().is_some() { disk.len() } else { 0 };
    let mut done = 0;
    while done < len {
        job.progress(done, len);
        job.checkpoint()?;
        let part = PART.min(len - done);
        match disk.pull(done, part) {
            Ok(()) => {
                done += part;
                job.pace(part);
            }
            Err(error) => {
                if policy.decide(job, Side::Source, &error)? == BlockErrorAction::Ignore {
                    done += part;
                }
            }
        }
    }
    job.progress(len, len);
    Ok(())
}

/// Makes a job of a plan and starts it.
///
/// # Errors
/// In QEMU's words.
pub fn start(control: &Control, plan: Plan) -> Result<()> {
    let prepared = prepare(control, plan, None)?;
    Prepared::start(vec![prepared], control)
}

/// Opens, and perhaps makes, the image of a copy of `device`; returns its node's name.
///
/// # Errors
/// The host's.
pub fn target_file(
    control: &Control,
    device: &str,
    path: &str,
    (format, mode): (Option<&str>, Option<NewImageMode>),
    name: Option<String>,
) -> Result<String> {
    let len = {
        let blocks = blocks(control);
        let node = blocks.find_node(device).ok_or_else(|| no_node(device))?.device.clone();
        node.ok_or_else(|| error!("Device '{device}' has no medium"))?.len()
    };
    if format.is_some_and(|format| format != "raw") {
        return Err(error!("Unknown driver '{}'", format.unwrap_or_default()));
    }
    if mode != Some(NewImageMode::Existing) {
        make_image(path, len)?;
    }
    let name = name.unwrap_or_else(|| {
        let blocks = blocks(control);
        let names = (0..).map(|n| format!("#block{n:03}"));
        names.into_iter().find(|name| blocks.find_node(name).is_none()).unwrap_or_default()
    });
    let option = BlockdevOption::image(&name, path);
    blocks(control).add_node(&option).map_err(|e| error!("{e}"))?;
    Ok(name)
}

/// Makes an empty image, or makes an existing one empty.
///
/// # Errors
/// The host's.
pub fn make_image(path: &str, len: u64) -> Result<()> {
    let failed = |e: io::Error| error!("Could not create '{path}': {}", backends::reason(&e));
    let options = std::fs::File::options().write(true).create(true).truncate(true).open(path);
    options.and_then(|file| file.set_len(len)).map_err(failed)
}
