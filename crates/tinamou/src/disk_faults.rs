//! Errors of the host's under a disk, as the machine and its keeper hear of them.

use crate::control::Control;
use crate::jobs::{BlockErrorAction, IoOperationType};
use backends::block::{Fault, FaultAction, Node};
use cpu::{Request, RunState};
use qapi::{Event, EventInfo, Qapi};
use std::sync::{Arc, PoisonError, Weak};

/// The events of this file.
pub const EVENTS: &[EventInfo] = &[BlockIoError::INFO];

/// The order among those who watch the run state: disks are ready before the vCPUs.
const PRIORITY: i32 = 0;

/// The host has reported an error under a disk.
#[derive(Debug, Qapi)]
#[qapi(event = "BLOCK_IO_ERROR")]
pub struct BlockIoError {
    qom_path: String,
    device: String,
    node_name: Option<String>,
    operation: IoOperationType,
    action: BlockErrorAction,
    nospace: Option<bool>,
    reason: String,
}

/// Hears of all errors under all disks: tells, and stops the machine where that is wanted. Requests that wait are tried
/// again when it goes on.
pub fn listen(control: &Arc<Control>) {
    let weak = Arc::downgrade(control);
    let mut blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
    blocks.on_fault(move |node, fault| heard(&weak, node, fault));
    drop(blocks);
    let blocks = Arc::downgrade(&control.blocks);
    control.states().on_change(PRIORITY, move |state| {
        if let Some(blocks) = blocks.upgrade().filter(|_| state == RunState::Running) {
            blocks.lock().unwrap_or_else(PoisonError::into_inner).nodes().for_each(|node| node.retry());
        }
    });
}

/// The program ends: nobody waits any more for the machine to go on.
pub fn end(control: &Control) {
    let blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
    blocks.nodes().for_each(|node| node.give_up(true));
}

/// On the thread of the request.
fn heard(control: &Weak<Control>, node: &Arc<Node>, fault: &Fault) {
    let Some(control) = control.upgrade() else { return };
    let (node, fault, events) = (node.clone(), fault.clone(), control.events().clone());
    events.defer(move || {
        let blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(drive) = blocks.of_node(&node) else { return };
        let event = BlockIoError {
            qom_path: drive.user.clone().unwrap_or_default(),
            device: if drive.option.is_some() { drive.id.clone() } else { String::new() },
            node_name: Some(drive.node_name().to_owned()),
            operation: if fault.write { IoOperationType::Write } else { IoOperationType::Read },
            action: match fault.action {
                FaultAction::Ignore => BlockErrorAction::Ignore,
                FaultAction::Report => BlockErrorAction::Report,
                FaultAction::Stop => BlockErrorAction::Stop,
            },
            nospace: (fault.action == FaultAction::Stop).then_some(fault.no_space),
            reason: fault.reason.clone(),
        };
        drop(blocks);
        event.emit();
        if fault.action == FaultAction::Stop {
            control.states().request(Request::Stop(RunState::IoError));
        }
    });
}
