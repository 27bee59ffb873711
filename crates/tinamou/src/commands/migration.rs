//! Commands for migration.

use crate::control::Control;
use base::{Result, error};
use migration::{Counts, Status};
use monitor::hmp::{self, Argument, Arguments, Switches, Word, refused};
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    MIGRATE,
    MIGRATE_CANCEL,
    MIGRATE_INCOMING,
    MIGRATE_SET_CAPABILITIES,
    MIGRATE_SET_PARAMETERS,
    QUERY_MIGRATE,
    QUERY_MIGRATE_CAPABILITIES,
    QUERY_MIGRATE_PARAMETERS,
];

/// Commands for people.
pub const HMP: &[hmp::Command] = &[
    hmp::Command {
        names: "migrate",
        params: "[-d] [-r] uri",
        help: "migrate to URI (using -d to not wait for completion)\n\t\t\t -r to resume a paused postcopy migration",
        run: migrate_people,
    },
    hmp::Command {
        names: "migrate_set_capability",
        params: "capability state",
        help: "Enable/Disable the usage of a capability for migration",
        run: set_capability,
    },
    hmp::Command {
        names: "migrate_set_parameter",
        params: "parameter value",
        help: "Set the parameter for migration",
        run: set_parameter,
    },
];

/// Subcommands of `info`.
pub const INFO: &[hmp::Command] = &[
    hmp::Command { names: "migrate", params: "", help: "show migration status", run: info_migrate },
    hmp::Command {
        names: "migrate_capabilities",
        params: "",
        help: "show current migration capabilities",
        run: info_capabilities,
    },
    hmp::Command {
        names: "migrate_parameters",
        params: "",
        help: "show current migration parameters",
        run: info_parameters,
    },
];

/// The states of a migration.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum MigrationStatus {
    /// There has been none.
    None,
    /// It is being set up.
    Setup,
    /// It is being given up.
    Cancelling,
    /// It has been given up.
    Cancelled,
    /// Memory is being sent.
    Active,
    /// Everything has arrived.
    Completed,
    /// It has failed.
    Failed,
    /// The rest is being sent.
    Device,
}

impl From<Status> for MigrationStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::None => Self::None,
            Status::Setup => Self::Setup,
            Status::Active => Self::Active,
            Status::Device => Self::Device,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelling => Self::Cancelling,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// What has been sent of memory.
#[derive(Debug, Qapi)]
pub struct MigrationStats {
    transferred: u64,
    remaining: u64,
    total: u64,
    duplicate: u64,
    normal: u64,
    normal_bytes: u64,
    dirty_pages_rate: u64,
    mbps: f64,
    dirty_sync_count: u64,
    page_size: u64,
    pages_per_second: u64,
    /// All of it goes while the machine still runs or stands still: there are no ways after that.
    precopy_bytes: u64,
    downtime_bytes: u64,
    postcopy_bytes: u64,
    postcopy_requests: u64,
    multifd_bytes: u64,
    dirty_sync_missed_zero_copy: u64,
}

/// How a migration stands.
#[derive(Debug, Qapi)]
pub struct MigrationInfo {
    status: Option<MigrationStatus>,
    ram: Option<MigrationStats>,
    total_time: Option<u64>,
    expected_downtime: Option<u64>,
    downtime: Option<u64>,
    setup_time: Option<u64>,
    error_desc: Option<String>,
}

const PAGE: u64 = base::PAGE_SIZE;

fn info(counts: &Counts) -> MigrationInfo {
    let ms = |time: std::time::Duration| time.as_millis() as u64;
    let there = counts.status != Status::None;
    let running = matches!(counts.status, Status::Active | Status::Device);
    let completed = counts.status == Status::Completed;
    let ram = MigrationStats {
        transferred: counts.transferred,
        remaining: counts.remaining,
        total: counts.total,
        duplicate: counts.zero,
        normal: counts.normal,
        normal_bytes: counts.normal * PAGE,
        dirty_pages_rate: counts.dirty_rate,
        mbps: counts.bandwidth as f64 * 8.0 / 1e6,
        dirty_sync_count: counts.rounds,
        page_size: PAGE,
        pages_per_second: counts.bandwidth / PAGE,
        precopy_bytes: counts.transferred,
        downtime_bytes: 0,
        postcopy_bytes: 0,
        postcopy_requests: 0,
        multifd_bytes: 0,
        dirty_sync_missed_zero_copy: 0,
    };
    MigrationInfo {
        status: there.then(|| counts.status.into()),
        ram: (running || completed).then_some(ram),
        total_time: there.then(|| ms(counts.total_time)),
        expected_downtime: running.then(|| ms(counts.expected_downtime)),
        downtime: completed.then(|| ms(counts.downtime)),
        setup_time: (running || completed).then(|| ms(counts.setup)),
        error_desc: counts.error.clone(),
    }
}

/// How the migration stands; empty if there has been none.
#[command]
pub fn query_migrate(context: &mut Context<'_>) -> Result<MigrationInfo> {
    Ok(info(&Control::of(context)?.saving()?.migration().counts()))
}

/// Sends the machine to another process.
#[command]
pub fn migrate(
    context: &mut Context<'_>,
    uri: Option<String>,
    _detach: Option<bool>,
    resume: Option<bool>,
) -> Result<()> {
    if resume == Some(true) {
        return Err(error!("Cannot resume if there is no paused migration"));
    }
    let uri = uri.ok_or_else(|| error!("need either 'uri' or 'channels' argument"))?;
    let control = Control::of(context)?.shared()?;
    control.saving()?.migrate(&control, &uri, false)
}

/// Gives the migration up.
#[command(name = "migrate_cancel", hmp("migrate_cancel", "", "cancel the current VM migration"))]
pub fn migrate_cancel(context: &mut Context<'_>) -> Result<()> {
    let control = Control::of(context)?;
    control.saving()?.cancel_migration(control);
    Ok(())
}

/// Lets a machine that was started with `-incoming defer` come from a place.
#[command(hmp("migrate_incoming", "uri", "Continue an incoming migration from an -incoming defer"))]
pub fn migrate_incoming(context: &mut Context<'_>, uri: Option<String>) -> Result<()> {
    let uri = uri.ok_or_else(|| error!("need either 'uri' or 'channels' argument"))?;
    let control = Control::of(context)?.shared()?;
    control.saving()?.receive(&control, &uri)
}

/// What a migration keeps to.
#[derive(Debug, Qapi)]
pub struct MigrationParameters {
    max_bandwidth: Option<u64>,
    downtime_limit: Option<u64>,
}

/// What a migration keeps to.
#[command]
pub fn query_migrate_parameters(context: &mut Context<'_>) -> Result<MigrationParameters> {
    let limits = Control::of(context)?.saving()?.migration().limits();
    Ok(MigrationParameters { max_bandwidth: Some(limits.bandwidth), downtime_limit: Some(limits.downtime) })
}

/// The longest standstill that can be asked for, in milliseconds.
const LONGEST_DOWNTIME: u64 = 2_000_000;

/// Sets what a migration keeps to, also of one that is under way.
#[command]
pub fn migrate_set_parameters(
    context: &mut Context<'_>,
    max_bandwidth: Option<u64>,
    downtime_limit: Option<u64>,
) -> Result<()> {
    if downtime_limit.is_some_and(|ms| ms > LONGEST_DOWNTIME) {
        return Err(error!(
            "Parameter 'downtime_limit' expects an integer in the range of 0 to {} seconds",
            LONGEST_DOWNTIME / 1000
        ));
    }
    Control::of(context)?.saving()?.migration().set_limits(|limits| {
        limits.bandwidth = max_bandwidth.unwrap_or(limits.bandwidth);
        limits.downtime = downtime_limit.unwrap_or(limits.downtime);
    });
    Ok(())
}

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

fn migrate_people(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let switches = Switches::take(arguments, "dr")?;
    let Word(uri) = Word::take(arguments)?;
    arguments.finish()?;
    if switches.has('r') {
        return Err(refused(error!("Cannot resume if there is no paused migration")));
    }
    let control = Control::of(context)?.shared()?;
    control.saving()?.migrate(&control, &uri, !switches.has('d')).map_err(refused)
}

fn set_capability(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let (Word(name), Word(state)) = (Word::take(arguments)?, Word::take(arguments)?);
    arguments.finish()?;
    if name != "events" {
        return Err(refused(error!("invalid parameter value: {name}")));
    }
    let on = match state.as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(error!("migrate_set_capability: Expected 'on' or 'off'")),
    };
    Control::of(context)?.migration_events.store(on, Relaxed);
    Ok(())
}

fn set_parameter(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let (Word(name), Word(value)) = (Word::take(arguments)?, Word::take(arguments)?);
    arguments.finish()?;
    let bad = || refused(error!("Parameter '{name}' expects a number"));
    match name.as_str() {
        // Without a unit these are MiB, as in QEMU.
        "max-bandwidth" => {
            let (digits, unit) =
                value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
            let shift = match unit {
                "" | "m" | "M" => 20,
                "k" | "K" => 10,
                "g" | "G" => 30,
                "b" | "B" => 0,
                _ => return Err(bad()),
            };
            let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
            migrate_set_parameters(context, Some(bytes.ok_or_else(bad)?), None).map_err(refused)
        }
        "downtime-limit" => {
            let ms = value.parse().map_err(|_| bad())?;
            migrate_set_parameters(context, None, Some(ms)).map_err(refused)
        }
        _ => Err(refused(error!("invalid parameter value: {name}"))),
    }
}

fn info_capabilities(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let on = Control::of(context)?.migration_events.load(Relaxed);
    let _ = writeln!(context.out, "events: {}", if on { "on" } else { "off" });
    Ok(())
}

fn info_parameters(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let limits = Control::of(context)?.saving()?.migration().limits();
    let _ = writeln!(context.out, "max-bandwidth: {} bytes/second", limits.bandwidth);
    let _ = writeln!(context.out, "downtime-limit: {} ms", limits.downtime);
    Ok(())
}

fn info_migrate(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let counts = Control::of(context)?.saving()?.migration().counts();
    let info = info(&counts);
    let out = &mut context.out;
    out.push_str(
        "globals:\nstore-global-state: on\nonly-migratable: off\nsend-configuration: on\nsend-section-footer: on\n\
         send-switchover-start: on\nclear-bitmap-shift: 18\n",
    );
    let Some(total) = info.total_time else { return Ok(()) };
    let _ = write!(out, "Migration status: {}", counts.status.name());
    if let Some(error) = info.error_desc.filter(|_| counts.status == Status::Failed) {
        let _ = write!(out, " ({error})");
    }
    let _ = writeln!(out, "\ntotal time: {total} ms");
    for (name, value) in [
        ("expected downtime", info.expected_downtime),
        ("downtime", info.downtime),
        ("setup", info.setup_time),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "{name}: {value} ms");
        }
    }
    if let Some(ram) = info.ram {
        let _ = writeln!(out, "transferred ram: {} kbytes", ram.transferred >> 10);
        let _ = writeln!(out, "throughput: {:.2} mbps", ram.mbps);
        let _ = writeln!(out, "remaining ram: {} kbytes", ram.remaining >> 10);
        let _ = writeln!(out, "total ram: {} kbytes", ram.total >> 10);
        let _ = writeln!(out, "duplicate: {} pages", ram.duplicate);
        let _ = writeln!(out, "normal: {} pages", ram.normal);
        let _ = writeln!(out, "normal bytes: {} kbytes", ram.normal_bytes >> 10);
        let _ = writeln!(out, "dirty sync count: {}", ram.dirty_sync_count);
        let _ = writeln!(out, "page size: {} kbytes", ram.page_size >> 10);
        let _ = writeln!(out, "pages-per-second: {}", ram.pages_per_second);
        if ram.dirty_pages_rate > 0 && ram.remaining > 0 {
            let _ = writeln!(out, "dirty pages rate: {} pages", ram.dirty_pages_rate);
        }
    }
    Ok(())
}
