//! The states, kinds and events of jobs, and which state may follow which.

use qapi::{Event, EventInfo, Qapi};

/// All events of this file.
pub const EVENTS: &[EventInfo] = &[
    JobStatusChange::INFO,
    BlockJobCancelled::INFO,
    BlockJobCompleted::INFO,
    BlockJobError::INFO,
    BlockJobPending::INFO,
    BlockJobReady::INFO,
];

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum JobStatus {
    /// It exists.
    Created,
    /// It is at work.
    Running,
    /// It waits for its user.
    Paused,
    /// It could end at any time.
    Ready,
    /// The same, while it waits for its user.
    Standby,
    /// Its work is done; others of its group are not.
    Waiting,
    /// Its end can be seen by everybody.
    Pending,
    /// It has failed or was given up.
    Aborting,
    /// It has ended, well or not.
    Concluded,
    /// It is gone.
    Null,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum JobType {
    /// Writes temporary changes to the image.
    Commit,
    /// Makes a disk independent of an image below.
    Stream,
    /// Copies a disk and goes over to the copy.
    Mirror,
    /// Copies what a disk is now.
    Backup,
    /// Makes an image.
    Create,
    /// Takes the machine back to a snapshot.
    SnapshotLoad,
    /// Takes a snapshot.
    SnapshotSave,
    /// Deletes one.
    SnapshotDelete,
}

/// How the host's errors stand with a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum BlockDeviceIoStatus {
    /// There was none.
    #[default]
    Ok,
    /// The job waits because of one.
    Failed,
    /// It waits because the disk is full.
    Nospace,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum IoOperationType {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// What was done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum BlockErrorAction {
    /// Nothing.
    Ignore,
    /// It was reported.
    Report,
    /// What was going on stands still.
    Stop,
}

/// A job is further than it was.
#[derive(Debug, Qapi)]
#[qapi(event = "JOB_STATUS_CHANGE")]
pub struct JobStatusChange {
    pub(super) id: String,
    pub(super) status: JobStatus,
}

macro_rules! progress_events {
    ($($(#[$doc:meta])* $name:ident $text:literal { $($more:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Qapi)]
        #[qapi(event = $text)]
        pub struct $name {
            #[qapi(name = "type")]
            pub(super) kind: JobType,
            pub(super) device: String,
            pub(super) len: i64,
            pub(super) offset: i64,
            pub(super) speed: i64,
            $(pub(super) $more: $ty,)*
        }
    )*};
}

progress_events! {
    /// A job was given up.
    BlockJobCancelled "BLOCK_JOB_CANCELLED" {}
    /// A job has ended.
    BlockJobCompleted "BLOCK_JOB_COMPLETED" { error: Option<String>, }
    /// A job could end.
    BlockJobReady "BLOCK_JOB_READY" {}
}

/// A job has met an error of the host's.
#[derive(Debug, Qapi)]
#[qapi(event = "BLOCK_JOB_ERROR")]
pub struct BlockJobError {
    pub(super) device: String,
    pub(super) operation: IoOperationType,
    pub(super) action: BlockErrorAction,
}

/// A job waits for `job-finalize`.
#[derive(Debug, Qapi)]
#[qapi(event = "BLOCK_JOB_PENDING")]
pub struct BlockJobPending {
    #[qapi(name = "type")]
    pub(super) kind: JobType,
    pub(super) id: String,
}

/// What a user may want of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum Verb {
    /// Give it up.
    Cancel,
    /// Let it wait.
    Pause,
    /// Let it go on.
    Resume,
    /// Hold it back.
    SetSpeed,
    /// Bring it to its end.
    Complete,
    /// Let its end be seen.
    Finalize,
    /// Forget it.
    Dismiss,
}

impl Verb {
    pub(super) fn allowed(self, status: JobStatus) -> bool {
        use JobStatus::{Concluded, Created, Paused, Pending, Ready, Running, Standby, Waiting};
        match self {
            Verb::Cancel => {
                matches!(status, Created | Running | Paused | Ready | Standby | Waiting | Pending)
            }
            Verb::Pause | Verb::Resume | Verb::SetSpeed => {
                matches!(status, Created | Running | Paused | Ready | Standby)
            }
            Verb::Complete => status == Ready,
            Verb::Finalize => status == Pending,
            Verb::Dismiss => status == Concluded,
        }
    }
}

impl JobStatus {
    pub(super) fn may_become(self, to: JobStatus) -> bool {
        use JobStatus::{
            Aborting, Concluded, Created, Null, Paused, Pending, Ready, Running, Standby, Waiting,
        };
        match self {
            Created => matches!(to, Running | Aborting | Null),
            Running => matches!(to, Paused | Ready | Waiting | Aborting),
            Paused => to == Running,
            Ready => matches!(to, Standby | Waiting | Aborting),
            Standby => to == Ready,
            Waiting => matches!(to, Pending | Aborting),
            Pending => matches!(to, Aborting | Concluded),
            Aborting => matches!(to, Aborting | Concluded),
            Concluded => to == Null,
            Null => false,
        }
    }
}
