//! Character devices: what the command line has of them, and who gets which.

use crate::control::Control;
use crate::options::{Config, Mon};
use crate::report;
use backends::char::{CharContext, CharPort, Chardev, Chardevs, MuxActions, not_connected};
use base::{Result, error};
use events::EventLoop;
use monitor::Vm;
use monitor::hmp::Monitor;
use monitor::qmp::{Hub, Qmp};
use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Character devices, and what opening one takes.
#[derive(Clone)]
pub struct Lines {
    /// All of them.
    pub chardevs: Arc<Mutex<Chardevs>>,
    actions: Arc<MuxActions>,
    events: EventLoop,
    detached: bool,
}

impl Lines {
    /// Does something with them that may open one.
    pub fn with<R>(&self, f: impl FnOnce(&mut Chardevs, &CharContext<'_>) -> R) -> R {
        let notice = |text: &str| report::say(text);
        let context = CharContext {
            events: &self.events,
            actions: &self.actions,
            notice: &notice,
            detached: self.detached,
        };
        f(&mut self.chardevs.lock().unwrap_or_else(PoisonError::into_inner), &context)
    }

    /// Opens what a `-serial` or one of its kin describes.
    fn open(
        &self,
        text: &str,
        label: &str,
    ) -> std::result::Result<Option<Arc<dyn CharPort>>, backends::Error> {
        self.with(|chardevs, context| chardevs.open_serial(text, label, context))
    }

    fn front(&self, label: &str) -> Option<Arc<dyn CharPort>> {
        self.with(|chardevs, _| chardevs.front(label).ok())
    }

    fn is_mux(&self, label: &str) -> bool {
        self.with(|chardevs, _| chardevs.mux(label).is_some())
    }

    /// Prints an error and returns one that has been printed: some errors are two lines of different form.
    fn fail(&self, shown: &str, first: &backends::Error, then: &str) -> base::Error {
        let first = first.to_string();
        if !first.is_empty() {
            report::say(format_args!("{shown}: {first}"));
        }
        error!("{shown}: {then}")
    }
}

/// None yet; `end` will be the machine on which the keys of multiplexers act.
pub fn lines(config: &Config, events: &EventLoop, end: &Arc<OnceLock<Arc<Control>>>) -> Lines {
    let (quit, commit) = (end.clone(), end.clone());
    let actions = MuxActions {
        quit: Box::new(move || {
            if let Some(control) = quit.get() {
                control.end(0);
            }
        }),
        commit: Box::new(move || {
            if let Some(control) = commit.get() {
                let blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = blocks.commit_all() {
                    eprintln!("{error}");
                }
            }
        }),
        escape: config.escape.unwrap_or(1),
    };
    Lines {
        chardevs: Arc::default(),
        actions: Arc::new(actions),
        events: events.clone(),
        detached: config.daemonize,
    }
}

/// Opens what `-chardev` describes.
pub fn open_chardevs(lines: &Lines, config: &Config) -> Result<()> {
    for given in &config.chardevs {
        let blame = |e: backends::Error| error!("{}: {e}", given.shown);
        let chardev = Chardev::parse(&given.value).map_err(blame)?;
        lines.with(|chardevs, context| chardevs.open(&chardev, context)).map_err(blame)?;
    }
    Ok(())
}

/// Serial ports, and ports for monitors.
pub struct Console {
    /// For the board.
    pub serial: Vec<Option<Arc<dyn CharPort>>>,
    /// For monitors.
    pub monitors: Vec<MonitorPort>,
}

/// A port for a monitor.
pub struct MonitorPort {
    port: Arc<dyn CharPort>,
    /// It is one of several of a multiplexer.
    shared: bool,
    /// As in [`Mon`].
    control: Option<bool>,
}

impl MonitorPort {
    /// Puts the monitor on it; the result keeps it alive.
    pub fn attach(self, control: &Arc<Control>, hub: &Arc<Hub>) -> Arc<dyn Any> {
        let vm = control.clone() as Arc<dyn Vm>;
        match self.control {
            Some(pretty) => Qmp::attach(vm, hub, self.port, pretty),
            None => Monitor::attach(vm, self.port, self.shared),
        }
    }
}

/// Opens what `-serial`, `-monitor` and their kin describe.
pub fn console(lines: &Lines, config: &Config) -> Result<Console> {
    let mut console = Console { serial: Vec::new(), monitors: Vec::new() };
    // Without a display there is nothing but the terminal to put consoles on, unless the user has said
    // `-display none` or leaves the terminal.
    let terminal = config.nographic || !config.no_display && !config.daemonize;
    let default_serial = config.serials.is_empty() && !config.no_defaults;
    let default_monitor = !config.monitor_given && !config.no_defaults;
    let mut serials: Vec<(String, String)> =
        config.serials.iter().map(|s| (s.device.clone(), s.shown.clone())).collect();
    let mut extra = Vec::new();
    let mon_serial = config.serials.iter().any(|s| s.device.starts_with("mon:"));
    match (terminal, default_serial, default_monitor) {
        (true, true, true) => serials.push(("mon:stdio".into(), "-nographic".into())),
        (true, true, false) => serials.push(("stdio".into(), "-nographic".into())),
        (true, false, true) if !mon_serial && config.nographic => {
            extra.push(Mon {
                device: "stdio".into(),
                named: false,
                control: None,
                shown: "-nographic".into(),
            });
        }
        (false, true, _) => serials.push(("vc".into(), String::new())),
        _ => {}
    }
    for (n, mon) in config.monitors.iter().chain(&extra).enumerate() {
        let Mon { device, shown, control, .. } = mon;
        let label = if mon.named { device.clone() } else { format!("compat_monitor{n}") };
        let port = if mon.named {
            let absent = || error!("{shown}: chardev \"{device}\" not found");
            Some(lines.front(device).ok_or_else(absent)?)
        } else {
            lines
                .open(device, &label)
                .map_err(|e| lines.fail(shown, &e, &format!("parse error: {device}")))?
        };
        let shared = lines.is_mux(&label);
        console.monitors.extend(port.map(|port| MonitorPort { port, shared, control: *control }));
    }
    for (n, (device, shown)) in serials.iter().enumerate() {
        let label = format!("serial{n}");
        let port = if device == "vc" && shown.is_empty() {
            // The console of a display that does not exist.
            None
        } else {
            lines.open(device, &label).map_err(|e| lines.fail(shown, &e, &not_connected(device)))?
        };
        if device.starts_with("mon:")
            && let Some(port) = lines.front(&label)
        {
            console.monitors.push(MonitorPort { port, shared: true, control: None });
        }
        console.serial.push(port);
    }
    Ok(console)
}

/// Ports for tests that play the processor (`-qtest`).
pub fn test_ports(lines: &Lines, config: &Config) -> Result<Vec<Arc<dyn CharPort>>> {
    let mut ports = Vec::new();
    for (device, shown) in config.qtest.iter().filter(|(device, _)| device != "none") {
        let port = lines.open(device, "qtest").map_err(|e| lines.fail(shown, &e, &not_connected(device)))?;
        ports.extend(port);
    }
    Ok(ports)
}

/// Opens what `-gdb` describes.
pub fn debugger_ports(lines: &Lines, config: &Config) -> Result<Vec<Arc<dyn CharPort>>> {
    let mut ports = Vec::new();
    for (n, (device, shown)) in config.gdb.iter().enumerate() {
        if device == "none" {
            continue;
        }
        let label = if n == 0 { "gdb".to_owned() } else { format!("gdb{n}") };
        let port = debugger_port(lines, device, &label)
            .map_err(|e| lines.fail(shown, &e, "gdbstub: couldn't create chardev"))?;
        ports.extend(port);
    }
    Ok(ports)
}

/// A port for a debugger: its socket listens, waits for nobody and sends at once.
///
/// # Errors
/// It cannot be opened.
pub fn debugger_port(
    lines: &Lines,
    device: &str,
    label: &str,
) -> std::result::Result<Option<Arc<dyn CharPort>>, backends::Error> {
    let text = if device.starts_with("tcp:") {
        format!("{device},server=on,wait=off,nodelay=on")
    } else if device.starts_with("unix:") {
        format!("{device},server=on,wait=off")
    } else {
        device.to_owned()
    };
    lines.open(&text, label)
}
