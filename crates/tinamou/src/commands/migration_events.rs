//! Events of a migration, told when the capability `events` is on.

use super::migration::MigrationStatus;
use qapi::{Event, EventInfo, Qapi};

/// All events of this file.
pub const EVENTS: &[EventInfo] = &[MigrationEvent::INFO, MigrationPass::INFO];

/// The migration has another state.
#[derive(Debug, Qapi)]
#[qapi(event = "MIGRATION")]
pub struct MigrationEvent {
    /// The state.
    pub status: MigrationStatus,
}

/// A round over memory begins.
#[derive(Debug, Qapi)]
#[qapi(event = "MIGRATION_PASS")]
pub struct MigrationPass {
    /// Its number, from 1 on.
    pub pass: u64,
}
