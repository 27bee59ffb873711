//! Names from which the monitor for people completes a line.

use crate::control::Control;
use crate::lists::{OBJECTS, trace_points, types};
use monitor::Names;
use std::sync::PoisonError;

/// The names of what only this crate knows.
pub fn names(control: &Control, of: Names) -> Vec<String> {
    match of {
        Names::DeviceTypes => {
            let types = types();
            let pluggable = types.kinds_of("device").filter(|info| info.user_creatable && !info.is_abstract);
            pluggable.map(|info| info.name.to_owned()).collect()
        }
        Names::ObjectTypes => OBJECTS.iter().map(|object| object.name.to_owned()).collect(),
        Names::Networks => {
            let backends = control.backends.lock().unwrap_or_else(PoisonError::into_inner);
            backends.networks.keys().cloned().collect()
        }
        Names::Snapshots => {
            let entries = control.saving().and_then(|saving| saving.entries()).unwrap_or_default();
            entries.into_iter().map(|entry| entry.tag).collect()
        }
        Names::TracePoints => base::trace::list(&trace_points()).into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}
