//! The memory balloon, of which there is one at most.

use base::error::Class;
use base::{Result, error};
use devices::virtio::balloon::{STATISTICS, VirtioBalloon};
use monitor::hmp::Number;
use monitor::{Command, Context, command};
use object::{AnyDevice, DeviceCell, NodeProperty, ObjectRef, PropertyError, PropertyValue};
use qapi::{Event, EventInfo, Qapi};
use std::fmt::Write;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[BALLOON, QUERY_BALLOON];

/// The events of this file.
pub const EVENTS: &[EventInfo] = &[BalloonChange::INFO];

/// The guest has given memory away or taken it back.
#[derive(Debug, Qapi)]
#[qapi(event = "BALLOON_CHANGE")]
pub struct BalloonChange {
    actual: i64,
}

/// The balloon of a machine.
pub fn find(machine: &ObjectRef) -> Option<Arc<DeviceCell<VirtioBalloon>>> {
    let mut found = None;
    machine.walk(&mut |node| {
        let working = node.device().map(|d| devices::virtio::pci::inside(d).unwrap_or_else(|| d.clone()));
        found = found.take().or_else(|| working.and_then(|device: Arc<dyn AnyDevice>| device.downcast()));
    });
    found
}

/// Gives the places of a balloon in the object tree what its keepers look for, and lets it tell of changes.
pub fn enter(
    cell: &Arc<DeviceCell<VirtioBalloon>>,
    places: impl Iterator<Item = ObjectRef>,
    memory_size: u64,
) {
    for place in places {
        place.add_property(statistics(cell.clone()));
        place.add_property(interval(cell.clone()));
    }
    VirtioBalloon::on_change(cell, move |given| {
        BalloonChange { actual: memory_size.saturating_sub(given) as i64 }.emit();
    });
}

fn statistics(cell: Arc<DeviceCell<VirtioBalloon>>) -> NodeProperty {
    NodeProperty::read_only("guest-stats", "guest statistics", move || {
        let told = VirtioBalloon::statistics(&cell);
        let stats =
            STATISTICS.iter().zip(told.values).map(|(name, n)| ((*name).to_owned(), PropertyValue::Uint(n)));
        PropertyValue::Struct(vec![
            ("stats".to_owned(), PropertyValue::Struct(stats.collect())),
            ("last-update".to_owned(), PropertyValue::Uint(told.last_update)),
        ])
    })
}

fn interval(cell: Arc<DeviceCell<VirtioBalloon>>) -> NodeProperty {
    let set = cell.clone();
    let get = move || PropertyValue::Int(VirtioBalloon::interval(&cell).into());
    NodeProperty::read_only("guest-stats-polling-interval", "int", get).writable(move |value| {
        let seconds = value.as_int().ok_or(PropertyError::Type("int"))?;
        if seconds < 0 {
            return Err(PropertyError::Value("timer value must be greater than zero".to_owned()));
        }
        let too_big = |_| PropertyError::Value("timer value is too big".to_owned());
        VirtioBalloon::set_interval(&set, u32::try_from(seconds).map_err(too_big)?);
        Ok(())
    })
}

/// The balloon of the machine that runs.
fn present(context: &Context<'_>) -> Result<Arc<DeviceCell<VirtioBalloon>>> {
    let machine = context.vm.root().child("machine");
    let none = || error!("No balloon device has been activated").class(Class::DeviceNotActive);
    machine.and_then(|machine| find(&machine)).ok_or_else(none)
}

/// Takes memory from the guest or gives it back, so that it has `value` bytes.
#[command]
pub fn balloon(context: &mut Context<'_>, value: i64) -> Result<()> {
    let balloon = present(context)?;
    let target = u64::try_from(value).ok().filter(|target| *target > 0);
    let target = target.ok_or_else(|| error!("Parameter 'value' expects a size"))?;
    VirtioBalloon::ask(&balloon, context.vm.memory_size().saturating_sub(target));
    Ok(())
}

/// How much memory the guest has left to it.
#[derive(Debug, Qapi)]
pub struct BalloonInfo {
    actual: i64,
}

/// How much memory the guest has left to it.
#[command(hmp("info balloon", "", "show balloon information"))]
pub fn query_balloon(context: &mut Context<'_>) -> Result<BalloonInfo> {
    let given = VirtioBalloon::given(&*present(context)?);
    let actual = context.vm.memory_size().saturating_sub(given);
    let _ = writeln!(context.out, "balloon: actual={}", actual >> 20);
    Ok(BalloonInfo { actual: actual as i64 })
}

fn hmp_balloon(context: &mut Context<'_>, (target,): (Number,)) -> Result<()> {
    balloon(context, target.0.saturating_mul(1 << 20)).map_err(monitor::hmp::refused)
}

monitor::hmp_rows! {
    /// Commands for people.
    HMP {
        "balloon" hmp_balloon, (Number), "target", "request VM to change its memory allocation (in MB)";
    }
}
