//! What the user wants: the options, gathered and checked as far as that is possible without a machine.

use super::{Given, IcountConfig, Opts, number, read_config, read_icount, size};
use crate::run_with::RunWith;
use crate::sandbox::Sandbox;
use base::{Result, error};
use monitor::qmp::{ActionChange, Actions, RebootAction, ShutdownAction, WatchdogAction};
use qapi::Qapi;

/// A serial port of the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialPort {
    /// The character device, as `-serial` names it.
    pub device: String,
    /// For messages; empty for a default.
    pub shown: String,
}

/// A monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mon {
    /// Character device: the name of one (`-mon chardev=`), or a description (`-monitor stdio`).
    pub device: String,
    /// Whether `device` is a name.
    pub named: bool,
    /// For programs (`mode=control`), and whether what it writes is indented; else for people.
    pub control: Option<bool>,
    /// For messages.
    pub shown: String,
}

impl Mon {
    /// A monitor on a device that the option itself describes.
    fn described(one: &Given, control: Option<bool>) -> Mon {
        Mon { device: one.value.clone(), named: false, control, shown: one.shown.clone() }
    }
}

/// Everything that the command line says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `-machine`, `type` and properties.
    pub machine: Opts,
    /// `-cpu`.
    pub cpu: Option<String>,
    /// `-accel`, in order.
    pub accelerators: Vec<Opts>,
    /// `-smp`.
    pub smp: Option<Opts>,
    /// `-m`, in bytes; `None` for the machine's default.
    pub memory: Option<u64>,
    /// `-mem-path`.
    pub memory_path: Option<String>,
    /// `-global`: driver, property, value.
    pub globals: Vec<(String, String, String)>,
    /// `-device`.
    pub devices: Vec<Opts>,
    /// `-drive` and its short forms: the option as `-drive` takes it.
    pub drives: Vec<Given>,
    /// `-blockdev`.
    pub blockdevs: Vec<Given>,
    /// `-add-fd`.
    pub add_fds: Vec<Opts>,
    /// `-sandbox`.
    pub sandbox: Option<Sandbox>,
    /// `-snapshot`.
    pub snapshot: bool,
    /// `-snapshots`.
    pub snapshots: Option<String>,
    /// `-loadvm`.
    pub load: Option<String>,
    /// `-incoming`.
    pub incoming: Option<String>,
    /// `-netdev`.
    pub netdevs: Vec<Opts>,
    /// The same as they were written.
    pub netdev_texts: Vec<String>,
    /// `-nic` and `-net`, as far as they are not `none`.
    pub nics: Vec<Opts>,
    /// `-nic none` or `-net none`.
    pub no_nic: bool,
    /// `-chardev`.
    pub chardevs: Vec<Given>,
    /// `-object`.
    pub objects: Vec<Opts>,
    /// `-serial`; empty for the default.
    pub serials: Vec<SerialPort>,
    /// `-mon` and `-monitor`.
    pub monitors: Vec<Mon>,
    /// Whether a monitor was asked for or forbidden.
    pub monitor_given: bool,
    /// `-bios`.
    pub bios: Option<String>,
    /// `-kernel`.
    pub kernel: Option<String>,
    /// `-initrd`.
    pub initrd: Option<String>,
    /// `-append`.
    pub append: Option<String>,
    /// `-dtb`.
    pub dtb: Option<String>,
    /// `-L`.
    pub firmware_directories: Vec<String>,
    /// `-fw_cfg`.
    pub fw_cfg: Vec<Opts>,
    /// `-nographic`.
    pub nographic: bool,
    /// `-display none` or `-nographic`.
    pub no_display: bool,
    /// `-S`.
    pub stopped: bool,
    /// `-gdb`, `-s`: character devices, with the option for messages.
    pub gdb: Vec<(String, String)>,
    /// `-qtest`: likewise.
    pub qtest: Vec<(String, String)>,
    /// `-action`, `-no-reboot`, `-no-shutdown`, `-watchdog-action`.
    pub actions: Actions,
    /// `-nodefaults`.
    pub no_defaults: bool,
    /// `-perfmap`.
    pub perf_map: bool,
    /// `-jitdump`.
    pub jit_dump: bool,
    /// `-daemonize`.
    pub daemonize: bool,
    /// `-preconfig`.
    pub preconfig: bool,
    /// `-run-with`.
    pub run_with: RunWith,
    /// `-pidfile`.
    pub pidfile: Option<String>,
    /// `-name`.
    pub name: Option<String>,
    /// `-uuid`.
    pub uuid: Option<String>,
    /// `-rtc`.
    pub rtc: Option<Opts>,
    /// `-icount`.
    pub icount: IcountConfig,
    /// `-d`.
    pub log_items: Option<String>,
    /// Patterns of trace points to switch on (`-trace`, `-d trace:`).
    pub trace: Vec<String>,
    /// Files with such patterns, one in a line.
    pub trace_files: Vec<String>,
    /// Where a time line of what is traced goes.
    pub trace_out: Option<String>,
    /// `-D`.
    pub log_file: Option<String>,
    /// `-dfilter`.
    pub log_filter: Option<Given>,
    /// `-seed`.
    pub seed: Option<u64>,
    /// `-echr`: code of the mux's escape key.
    pub escape: Option<u8>,
    /// `-msg timestamp=on`.
    pub timestamps: bool,
    /// `-msg guest-name=on`.
    pub guest_names: bool,
    /// `-version` or `-h`: print and leave.
    pub print: Option<&'static str>,
    warnings: Vec<String>,
}

impl Config {
    /// Gathers options; `warnings` gets what is to be said about them, error or not.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn gather(given: Vec<Given>, warnings: &mut Vec<String>) -> Result<Config> {
        let mut config = Config::default();
        let done = config.take_all(given);
        warnings.append(&mut config.warnings);
        done.map(|()| config)
    }

    fn take_all(&mut self, given: Vec<Given>) -> Result<()> {
        let config = self;
        for one in given {
            if matches!(one.name, "h" | "version") {
                config.print = Some(one.name);
                return Ok(());
            }
            config.take(&one)?;
        }
        for (what, text) in [("initrd", &config.initrd), ("append", &config.append)] {
            // The default machine's `-machine kernel=` counts like `-kernel`.
            if text.is_some() && config.kernel.is_none() && config.machine.get("kernel").is_none() {
                return Err(error!("-{what} only allowed with -kernel option"));
            }
        }
        // Without defaults there is nothing on the terminal that would be lost.
        if config.daemonize && config.nographic && !config.no_defaults {
            return Err(error!("-nographic cannot be used with -daemonize"));
        }
        Ok(())
    }

    fn parse(&mut self, one: &Given, implied: Option<&str>) -> Result<Opts> {
        let blame = |e: base::Error| e.prefix(format_args!("{}: ", one.shown));
        let mut opts = Opts::parse(one.name, &one.value, implied).map_err(blame)?;
        opts.shown.clone_from(&one.shown);
        let warnings = opts.take_warnings();
        self.warnings.extend(warnings.into_iter().map(|w| format!("{}: warning: {w}", one.shown)));
        Ok(opts)
    }

    fn take(&mut self, one: &Given) -> Result<()> {
        let text = || Some(one.value.clone());
        let blame = |e: base::Error| e.prefix(format_args!("{}: ", one.shown));
        match one.name {
            "machine" => {
                let opts = self.parse(one, Some("type"))?;
                self.machine.merge(opts);
            }
            "cpu" => self.cpu = text(),
            "accel" => {
                let opts = self.parse(one, Some("accel"))?;
                self.accelerators.push(opts);
            }
            "smp" => {
                let opts = self.parse(one, Some("cpus"))?;
                match &mut self.smp {
                    Some(smp) => smp.merge(opts),
                    None => self.smp = Some(opts),
                }
            }
            "m" => self.take_memory(one)?,
            "mem-path" => self.memory_path = text(),
            "global" => self.take_global(one)?,
            "device" => {
                let opts = self.parse(one, Some("driver"))?;
                self.devices.push(opts);
            }
            "drive" => {
                let text = self.parse(one, Some("file"))?.to_text();
                self.drives.push(Given { value: text, ..one.clone() });
            }
            "blockdev" => self.blockdevs.push(one.clone()),
            "add-fd" => {
                let opts = self.parse(one, None)?;
                self.add_fds.push(opts);
            }
            "sandbox" => {
                let mut opts = self.parse(one, Some("enable"))?;
                self.sandbox = Sandbox::parse(&mut opts).map_err(blame)?;
            }
            "readconfig" => {
                let given = read_config(&one.value, &one.shown)?;
                given.iter().try_for_each(|one| self.take(one))?;
            }
            "enable-kvm" => {
                self.accelerators.push(Opts::parse("accel", "kvm", Some("accel"))?);
            }
            "overcommit" => self.take_known(one, None, &["cpu-pm", "mem-lock"])?,
            "boot" => {
                let known = ["menu", "once", "order", "reboot-timeout", "splash", "splash-time", "strict"];
                self.take_known(one, Some("order"), &known)?;
            }
            "audio" | "audiodev" => {
                let opts = self.parse(one, Some("driver"))?;
                match opts.get("driver") {
                    Some("none") => {}
                    Some(other) => {
                        return Err(blame(error!("Parameter 'driver' does not accept value '{other}'")));
                    }
                    None => return Err(blame(error!("Parameter 'driver' is missing"))),
                }
            }
            "snapshot" => self.snapshot = true,
            "snapshots" => self.snapshots = text(),
            "loadvm" => self.load = text(),
            "incoming" => self.incoming = text(),
            "disk_image" | "hda" => self.take_disk(one, "index=0,media=disk"),
            "hdb" => self.take_disk(one, "index=1,media=disk"),
            "hdc" => self.take_disk(one, "index=2,media=disk"),
            "hdd" => self.take_disk(one, "index=3,media=disk"),
            "pflash" => self.take_disk(one, "if=pflash"),
            "netdev" => {
                let opts = self.parse(one, Some("type"))?;
                if opts.get("id").is_none() && !opts.wants_help() {
                    return Err(opts.blame(error!("Parameter 'id' is missing")));
                }
                if opts.get("id").is_some_and(|id| self.netdevs.iter().any(|o| o.get("id") == Some(id))) {
                    let id = opts.get("id").unwrap_or_default();
                    return Err(opts.blame(error!("Duplicate ID '{id}' for netdev")));
                }
                self.netdev_texts.push(crate::plug::netdev_text(&opts));
                self.netdevs.push(opts);
            }
            "nic" | "net" => {
                let opts = self.parse(one, Some(if one.name == "nic" { "type" } else { "kind" }))?;
                match one.value.as_str() {
                    "none" => self.no_nic = true,
                    _ => self.nics.push(opts),
                }
            }
            "chardev" => {
                let text = self.parse(one, Some("backend"))?.to_text();
                self.chardevs.push(Given { value: text, ..one.clone() });
            }
            "object" => {
                let opts = self.parse(one, Some("qom-type"))?;
                self.objects.push(opts);
            }
            "serial" => {
                self.serials.push(SerialPort { device: one.value.clone(), shown: one.shown.clone() });
            }
            "monitor" => {
                self.monitor_given = true;
                if one.value != "none" {
                    self.monitors.push(Mon::described(one, None));
                }
            }
            "qmp" | "qmp-pretty" => {
                self.monitor_given = true;
                self.monitors.push(Mon::described(one, Some(one.name == "qmp-pretty")));
            }
            "mon" => self.take_mon(one)?,
            "parallel" if matches!(one.value.as_str(), "none" | "null") => {}
            "parallel" => return Err(blame(error!("there are no parallel ports in Tinamou's machines"))),
            "vga" if one.value == "none" => {}
            "vga" => return Err(blame(error!("only 'none' is supported by Tinamou yet"))),
            "display" => match one.value.as_str() {
                "none" => self.no_display = true,
                "help" | "?" => self.print = Some("display"),
                other => return Err(blame(error!("Parameter 'type' does not accept value '{other}'"))),
            },
            "bios" => self.bios = text(),
            "kernel" => self.kernel = text(),
            "initrd" => self.initrd = text(),
            "append" => self.append = text(),
            "dtb" => self.dtb = text(),
            "L" => self.firmware_directories.push(one.value.clone()),
            "fw_cfg" => {
                let opts = self.parse(one, Some("name"))?;
                self.fw_cfg.push(opts);
            }
            "nographic" => (self.nographic, self.no_display) = (true, true),
            "S" => self.stopped = true,
            "perfmap" => self.perf_map = true,
            "jitdump" => self.jit_dump = true,
            "gdb" => self.gdb.push((one.value.clone(), one.shown.clone())),
            "qtest" => self.qtest.push((one.value.clone(), one.shown.clone())),
            "s" => self.gdb.push(("tcp::1234".into(), "-s".into())),
            "no-reboot" => self.actions.reboot = RebootAction::Shutdown,
            "no-shutdown" => self.actions.shutdown = ShutdownAction::Pause,
            "action" => {
                let change = self.parse(one, None)?;
                let known = ["panic", "reboot", "shutdown", "watchdog"];
                if let Some((key, _)) = change.items().iter().find(|(key, _)| !known.contains(&key.as_str()))
                {
                    return Err(blame(error!("Invalid parameter '{key}'")));
                }
                let change = change.to_object();
                self.actions.change(ActionChange::from_json(change, "").map_err(blame)?);
            }
            "watchdog-action" => {
                let value = one.value.as_str().into();
                // The reference has words of its own here.
                self.actions.watchdog = WatchdogAction::from_json(value, "")
                    .map_err(|_| error!("Unknown -watchdog-action parameter"))?;
            }
            "nodefaults" => self.no_defaults = true,
            "daemonize" => self.daemonize = true,
            "preconfig" => self.preconfig = true,
            "set" => self.set(one)?,
            "run-with" => {
                let mut opts = self.parse(one, None)?;
                self.run_with.change(&mut opts).map_err(blame)?;
            }
            "pidfile" => self.pidfile = text(),
            "name" => {
                let mut opts = self.parse(one, Some("guest"))?;
                self.name = opts.take("guest").or(self.name.take());
            }
            "uuid" => {
                self.uuid = Some(parse_uuid(&one.value).map_err(blame)?);
            }
            "rtc" => {
                let opts = self.parse(one, None)?;
                self.rtc = Some(opts);
            }
            "icount" => {
                let opts = self.parse(one, Some("shift"))?;
                self.icount = read_icount(opts)?;
            }
            "d" => {
                let (points, items): (Vec<&str>, Vec<&str>) =
                    one.value.split(',').partition(|item| item.starts_with("trace:"));
                self.trace.extend(points.iter().map(|item| item["trace:".len()..].to_owned()));
                if points.is_empty() || !items.is_empty() {
                    self.log_items = Some(items.join(","));
                }
            }
            "trace" => {
                let mut opts = self.parse(one, Some("enable"))?;
                self.trace.extend(opts.take("enable"));
                self.trace_files.extend(opts.take("events"));
                if let Some(file) = opts.take("file") {
                    self.log_file = Some(file);
                }
                opts.finish().map_err(blame)?;
            }
            "trace-out" => self.trace_out = text(),
            "D" => self.log_file = text(),
            "dfilter" => self.log_filter = Some(one.clone()),
            "seed" => {
                self.seed = Some(
                    number(&one.value)
                        .ok_or_else(|| error!("Invalid seed number: {}", one.value))
                        .map_err(blame)?,
                );
            }
            "echr" => {
                let code = number(&one.value).and_then(|n| u8::try_from(n).ok());
                self.escape = Some(code.ok_or_else(|| error!("-echr: bad character code '{}'", one.value))?);
            }
            "msg" => {
                let mut opts = self.parse(one, None)?;
                self.timestamps = opts.take_switch("timestamp").map_err(blame)?.unwrap_or(false);
                self.guest_names = opts.take_switch("guest-name").map_err(blame)?.unwrap_or(false);
                opts.finish().map_err(blame)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// `-set group.id.key=value`: a parameter of an option that was given before.
    fn set(&mut self, one: &Given) -> Result<()> {
        let blame = |text: String| error!("{}: {text}", one.shown);
        let parts = one.value.split_once('=').and_then(|(place, value)| {
            let mut parts = place.splitn(3, '.');
            Some((parts.next()?, parts.next()?, parts.next()?, value))
        });
        let Some((group, id, key, value)) = parts else {
            return Err(blame(format!("invalid argument \"{}\"", one.value)));
        };
        let lists: [(&str, &mut Vec<Opts>); 3] =
            [("device", &mut self.devices), ("netdev", &mut self.netdevs), ("object", &mut self.objects)];
        let texts = [("drive", &mut self.drives), ("chardev", &mut self.chardevs)];
        let mut known = false;
        for (_, list) in lists.into_iter().filter(|(name, _)| *name == group) {
            known = true;
            if let Some(opts) = list.iter_mut().find(|opts| opts.get("id") == Some(id)) {
                opts.push(key, value);
                return Ok(());
            }
        }
        for (_, list) in texts.into_iter().filter(|(name, _)| *name == group) {
            known = true;
            let wanted = format!("id={id}");
            let own = |given: &&mut Given| given.value.split(',').any(|item| item == wanted);
            if let Some(given) = list.iter_mut().find(own) {
                given.value += &format!(",{key}={}", value.replace(',', ",,"));
                return Ok(());
            }
        }
        Err(blame(match known {
            true => format!("there is no {group} \"{id}\" defined"),
            false => format!("There is no option group '{group}'"),
        }))
    }

    /// An option without effect here, whose parameters are checked.
    fn take_known(&mut self, one: &Given, implied: Option<&str>, known: &[&str]) -> Result<()> {
        let mut opts = self.parse(one, implied)?;
        known.iter().for_each(|key| drop(opts.take(key)));
        opts.finish().map_err(|e| opts.blame(e))
    }

    fn take_memory(&mut self, one: &Given) -> Result<()> {
        let mut opts = self.parse(one, Some("size"))?;
        let shown = one.shown.clone();
        let blame = move |e: base::Error| e.prefix(format_args!("{shown}: "));
        if let Some(text) = opts.take("size") {
            let bytes = size("size", &text, 1 << 20).map_err(blame)?;
            // The reference takes 0 for its default and rounds up to 8 KiB.
            self.memory =
                Some(bytes).filter(|b| *b != 0).map(|b| b.checked_next_multiple_of(8192).unwrap_or(b));
        }
        let (slots, max) = (opts.take("slots"), opts.take("maxmem"));
        if slots.is_some() && max.is_none() {
            return Err(error!("slots specified but no max-size"));
        }
        if let Some(max) = max {
            let max = size("maxmem", &max, 1)?;
            if max < self.memory.unwrap_or(0) {
                return Err(error!("max-size < size"));
            }
            if max > self.memory.unwrap_or(0) {
                return Err(error!("memory hotplug (maxmem) is not supported by Tinamou yet"));
            }
        }
        Ok(())
    }

    fn take_global(&mut self, one: &Given) -> Result<()> {
        let blame = |e: base::Error| e.prefix(format_args!("{}: ", one.shown));
        if let Some((left, value)) = one.value.split_once('=')
            && let Some((driver, property)) = left.split_once('.')
        {
            self.globals.push((driver.to_owned(), property.to_owned(), value.to_owned()));
            return Ok(());
        }
        let mut opts = self.parse(one, None)?;
        let parts = (opts.take("driver"), opts.take("property"), opts.take("value"));
        opts.finish().map_err(blame)?;
        let (Some(driver), Some(property), Some(value)) = parts else {
            return Err(blame(error!("options 'driver', 'property', and 'value' are required")));
        };
        self.globals.push((driver, property, value));
        Ok(())
    }

    fn take_disk(&mut self, one: &Given, place: &str) {
        let file = one.value.replace(',', ",,");
        self.drives.push(Given { value: format!("{place},file={file}"), ..one.clone() });
    }

    fn take_mon(&mut self, one: &Given) -> Result<()> {
        let mut opts = self.parse(one, Some("chardev"))?;
        let blame = |e: base::Error| e.prefix(format_args!("{}: ", one.shown));
        self.monitor_given = true;
        let pretty = opts.take_switch("pretty").map_err(blame)?;
        let control = match opts.take("mode").as_deref() {
            None | Some("readline") if pretty == Some(true) => {
                return Err(blame(error!("'pretty' is not compatible with HMP monitors")));
            }
            None | Some("readline") => None,
            Some("control") => Some(pretty.unwrap_or(false)),
            Some(other) => return Err(blame(error!("unknown monitor mode \"{other}\""))),
        };
        let device = opts.take("chardev").ok_or_else(|| blame(error!("chardev is required")))?;
        opts.take("id");
        opts.finish().map_err(blame)?;
        self.monitors.push(Mon { device, named: true, control, shown: one.shown.clone() });
        Ok(())
    }
}

/// The number of CPUs that `-smp` asks for, on a machine called `machine` with at most `max`.
pub fn parse_smp(opts: Option<&Opts>, machine: &str, max: u64) -> Result<u32> {
    let Some(mut opts) = opts.cloned() else { return Ok(1) };
    // Wide numbers: the products below cannot overflow.
    let mut take = |key: &str| -> Result<Option<i128>> {
        opts.take(key)
            .map(|text| {
                text.parse::<i32>()
                    .map(i128::from)
                    .map_err(|_| error!("Parameter 'smp.{key}' expects integer"))
            })
            .transpose()
    };
    let (cpus, maxcpus) = (take("cpus")?, take("maxcpus")?);
    let (sockets, cores, threads) = (take("sockets")?, take("cores")?, take("threads")?);
    for absent in ["drawers", "books", "dies", "clusters", "modules"] {
        if take(absent)?.is_some_and(|n| n > 1) {
            return Err(error!(
                "Invalid CPU topology: {absent} > 1 not supported by this machine's CPU topology"
            ));
        }
    }
    if let Some((key, _)) = opts.items().first() {
        return Err(error!("Parameter 'smp.{key}' is unexpected"));
    }
    if [cpus, maxcpus, sockets, cores, threads].contains(&Some(0)) {
        return Err(error!("Invalid CPU topology: CPU topology parameters must be greater than zero"));
    }
    let given = maxcpus.or(cpus);
    let hierarchy = sockets.unwrap_or(1) * cores.unwrap_or(1) * threads.unwrap_or(1);
    let maxcpus = given.unwrap_or(hierarchy);
    let cpus = cpus.unwrap_or(maxcpus);
    if cpus < 0 || cpus > i128::from(max) || maxcpus > i128::from(max) {
        let n = cpus.max(maxcpus);
        let n = if cpus < 0 { cpus } else { n };
        return Err(error!("Invalid SMP CPUs {n}. The max CPUs supported by machine '{machine}' is {max}"));
    }
    // What is not given is worked out from the rest: cores first.
    let (sockets, threads) = (sockets, threads.unwrap_or(1));
    let (sockets, cores) = match (sockets, cores) {
        (Some(s), Some(c)) => (s, c),
        (Some(s), None) => (s, maxcpus / (s * threads)),
        (None, Some(c)) => (maxcpus / (c * threads), c),
        (None, None) => (1, maxcpus / threads),
    };
    let words = format!("sockets ({sockets}) * cores ({cores}) * threads ({threads})");
    if sockets * cores * threads != maxcpus {
        return Err(error!(
            "Invalid CPU topology: product of the hierarchy must match maxcpus: {words} != maxcpus ({maxcpus})"
        ));
    }
    if maxcpus < cpus {
        return Err(error!(
            "Invalid CPU topology: maxcpus must be equal to or greater than smp: {words} == maxcpus ({maxcpus}) < smp_cpus ({cpus})"
        ));
    }
    Ok(cpus as u32)
}

fn parse_uuid(text: &str) -> Result<String> {
    let parts: Vec<_> = text.split('-').map(str::len).collect();
    let hex = text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if parts != [8, 4, 4, 4, 12] || !hex {
        return Err(error!("failed to parse UUID string: wrong format"));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "config_test.rs"]
mod test;
