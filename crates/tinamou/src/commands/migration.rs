//! What migration can, as far as a client asks before there is one.

use crate::control::Control;
use base::Result;
use monitor::{Command, Context, command};
use qapi::{Qapi, Value};
use std::sync::atomic::Ordering::Relaxed;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[MIGRATE_SET_CAPABILITIES, QUERY_MIGRATE, QUERY_MIGRATE_CAPABILITIES];

/// Something that migration can do.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum MigrationCapability {
    /// Tell of its state by events.
    Events,
}

/// Whether it is to be done.
#[derive(Debug, Qapi)]
pub struct MigrationCapabilityStatus {
    capability: MigrationCapability,
    state: bool,
}

/// What migration can, and what of it is on.
#[command]
pub fn query_migrate_capabilities(context: &mut Context<'_>) -> Result<Vec<MigrationCapabilityStatus>> {
    let state = Control::of(context)?.migration_events.load(Relaxed);
    Ok(vec![MigrationCapabilityStatus { capability: MigrationCapability::Events, state }])
}

/// Switches on and off what migration can.
#[command]
pub fn migrate_set_capabilities(
    context: &mut Context<'_>,
    capabilities: Vec<MigrationCapabilityStatus>,
) -> Result<()> {
    for MigrationCapabilityStatus { capability: MigrationCapability::Events, state } in capabilities {
        Control::of(context)?.migration_events.store(state, Relaxed);
    }
    Ok(())
}

/// The migration: there has been none.
#[command]
pub fn query_migrate(_: &mut Context<'_>) -> Result<Option<Value>> {
    Ok(None)
}
