//! Several actions on disks of which all are done or none.

use super::block_jobs::{BlockdevBackup, DriveBackup};
use crate::control::Control;
use crate::jobs::Group;
use crate::jobs::disk::Prepared;
use base::{Result, error};
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[TRANSACTION];

/// Nothing but a failure.
#[derive(Debug, Qapi)]
pub struct Abort {}

macro_rules! wrapped {
    ($($name:ident $data:ty;)*) => {$(
        /// What an action is about.
        #[derive(Debug, Qapi)]
        pub struct $name {
            data: $data,
        }
    )*};
}

wrapped! {
    AbortWrapper Abort;
    BlockdevBackupWrapper BlockdevBackup;
    DriveBackupWrapper DriveBackup;
}

/// One of the actions.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum TransactionAction {
    /// All fail.
    Abort(AbortWrapper),
    /// A backup to a node.
    BlockdevBackup(BlockdevBackupWrapper),
    /// A backup to a file.
    DriveBackup(DriveBackupWrapper),
}

/// When the jobs of a transaction end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum ActionCompletionMode {
    /// Each when it is done.
    #[default]
    Individual,
    /// All together, or none well.
    Grouped,
}

/// How a transaction is done.
#[derive(Clone, Copy, Debug, Default, Qapi)]
pub struct TransactionProperties {
    completion_mode: Option<ActionCompletionMode>,
}

/// Does all these actions at the same moment of all disks, or none.
#[command]
pub fn transaction(
    context: &mut Context<'_>,
    actions: Vec<TransactionAction>,
    properties: Option<TransactionProperties>,
) -> Result<()> {
    let control = Control::of(context)?;
    let mode = properties.unwrap_or_default().completion_mode.unwrap_or_default();
    let group = (mode == ActionCompletionMode::Grouped).then(Arc::<Group>::default);
    let mut all: Vec<Prepared> = Vec::new();
    for action in actions {
        let prepared = match action {
            TransactionAction::Abort(_) => Err(error!("Transaction aborted using Abort action")),
            TransactionAction::BlockdevBackup(backup) => backup.data.prepare(control, group.as_ref()),
            TransactionAction::DriveBackup(backup) => backup.data.prepare(control, group.as_ref()),
        };
        match prepared {
            Ok(prepared) => all.push(prepared),
            Err(error) => {
                all.into_iter().rev().for_each(|prepared| prepared.discard(control));
                return Err(error);
            }
        }
    }
    Prepared::start(all, control)
}
