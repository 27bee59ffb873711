//! From what the user wants to a machine that runs, and to its end.

use crate::background::{self, PidFile};
use crate::control::{Control, Manners, Parts};
use crate::debugger::Debugger;
use crate::device_events;
use crate::disk_faults;
use crate::lines::{Lines, console, debugger_ports, lines, open_chardevs, test_ports};
use crate::lists::{DEFAULT_MACHINE, MACHINE_PROPERTIES, log_items, trace_points};
use crate::machine_properties;
use crate::options::{Config, Opts, parse_smp};
use crate::plug::{Backends, Objects, find_device};
use crate::qtest::Qtest;
use crate::recording;
use crate::report;
use crate::sandbox::Sandbox;
use crate::saving::Saving;
use crate::symbols;
use backends::block::{BlockDevice, BlockdevOption, Blocks, DriveInterface, DriveOption};
use backends::char::{CharPort, flush_all};
use backends::net::{NetdevOption, Network};
use base::log::LogMask;
use base::{Result, error};
use cpu::{Counter, Cpus, Exit, Guest, RunControl};
use engine::{Shared, Tcg};
use events::{Clock, EventLoop, Icount, ReplayMode, Runner};
use machines::{Arrivals, Bios, Board, MachineType, Processors, Setup, Sockets};
use memory::{AddressSpace, Ram};
use migration::Origin;
use monitor::Vm;
use monitor::gdb::StopReason;
use monitor::qmp::Hub;
use object::ObjectRef;
use riscv::Hart;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The host's words for an error.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Runs a machine to its end and returns the exit status.
pub fn launch(program: &str, config: Config) -> Result<u8> {
    set_log(&config)?;
    if config.daemonize && !background::is_child() {
        return background::start_child().map(|code| u8::from(code != std::process::ExitCode::SUCCESS));
    }
    if background::is_child() {
        background::leave_session();
    }
    add_fds(&config)?;
    if let Some(sandbox) = config.sandbox {
        sandbox.enter()?;
    }
    let (events, mut runner) = EventLoop::new().map_err(|e| error!("cannot wait for events").because(e))?;
    let kind = machine_type(&config)?;
    count_instructions(&config, kind, &events)?;
    let mut options = accelerator(&config)?;
    options.aside &= config.sandbox.is_none_or(Sandbox::allows_affinity);
    let cpus = parse_smp(config.smp.as_ref(), kind.name, kind.max_cpus.into())?;
    // Who else wakes takes a processor from a vCPU then.
    if std::thread::available_parallelism().is_ok_and(|n| n.get() <= cpus as usize) {
        events.spare_wakes();
    }
    let pidfile = config.pidfile.as_deref().map(PidFile::create).transpose()?;

    let end: Arc<OnceLock<Arc<Control>>> = Arc::default();
    let lines = lines(&config, &events, &end);
    let blocks = Arc::new(Mutex::new(drives(&config)?));
    let mut objects = Objects::default();
    config.objects.iter().try_for_each(|o| objects.create(o))?;
    let networks = networks(&config, &events)?;
    open_chardevs(&lines, &config)?;
    let console = console(&lines, &config)?;

    let ram = guest_memory(&config, kind, &objects)?;
    let setup = setup(&config, kind, cpus, ram.clone(), console.serial, &blocks, &events)?;
    let states = setup.run.clone();
    let mut board = match (kind.build)(setup) {
        Err(error) if machines::riscv::is_dump(&error) => return Ok(0),
        other => other?,
    };
    for notice in &board.notices {
        report::say(notice);
    }
    let mut backends = Backends::new(blocks.clone(), lines.chardevs.clone(), networks, objects);
    backends.memory_size = ram.as_ref().map_or(0, |ram| ram.len());
    let sockets = board.sockets();
    machine_properties::enter(&board.machine, kind, &config, backends.memory_size, cpus);
    for device in &board.devices {
        if let Some(node) = find_device(&sockets.machine, device) {
            device_events::watch(device, None, &node);
        }
    }
    board.devices.extend(plug_disks(&mut backends, &sockets)?);
    for opts in &config.devices {
        board.devices.extend(backends.device(&sockets, opts, false)?);
    }
    warn_unused(&config, &backends);
    backends.objects.enter(&board.root);
    let debugger_ports = debugger_ports(&lines, &config)?;
    let test_ports = test_ports(&lines, &config)?;
    // Everything is open, and no thread has been started.
    config.run_with.enter()?;

    let control = start(board, (&config, kind, ram), options, &lines, (backends, sockets), states, &end)?;
    let hub = Hub::new(&events);
    let _monitors: Vec<_> = console.monitors.into_iter().map(|port| port.attach(&control.1, &hub)).collect();
    let _tests: Vec<_> = test_ports.into_iter().map(|port| Qtest::attach(&control.1, port)).collect();
    let debuggers = debugger_ports.into_iter().map(|port| Debugger::attach(&control.1, port, program));
    control.1.attach_debuggers(debuggers);
    let asked = control.1.clone();
    let _watch = backends::char::on_terminate(&events, move |termination| {
        report::say(termination);
        asked.terminated();
    });
    if background::is_child() {
        background::ready();
    }
    let status = run(&mut runner, &control.1, &config)?;
    hub.deliver();
    control.1.debuggers().iter().for_each(|d| d.ended(status));
    control.1.vcpus().stop();
    if let Some(replay) = control.1.replay() {
        replay.finish();
    }
    disk_faults::end(&control.1);
    control.1.drain();
    control.0.iter().for_each(|flush| flush());
    control.1.saving()?.close();
    flush_all();
    lines.with(|chardevs, _| chardevs.clean_up());
    drop(pidfile);
    Ok(status)
}

/// The main loop.
fn run(runner: &mut Runner, control: &Arc<Control>, config: &Config) -> Result<u8> {
    control.states().own();
    control.initialize();
    if config.preconfig {
        control.set_preconfig(true);
        let over = || !control.preconfig() || control.ended().is_some();
        runner.run(over).map_err(|e| error!("cannot wait for events").because(e))?;
        if let Some(status) = control.ended() {
            return Ok(status);
        }
    }
    if let Some(tag) = &config.load {
        control.saving()?.load(control, tag)?;
    }
    if let Some(recording) = &config.icount.recording {
        control.begin_recording(recording)?;
        control.begin_points();
    }
    match &config.incoming {
        Some(uri) => {
            control.expect_migration(!config.stopped);
            if uri != "defer" {
                control.saving()?.receive(control, uri)?;
            }
        }
        None if config.stopped => {}
        None => control.run_some(None)?,
    }
    runner.run(|| control.ended().is_some()).map_err(|e| error!("cannot wait for events").because(e))?;
    Ok(control.ended().unwrap_or(0))
}

fn set_log(config: &Config) -> Result<()> {
    if let Some(file) = &config.log_file {
        base::log::set_file(Some(file)).map_err(|e| error!("{e}"))?;
    }
    if let Some(given) = &config.log_filter {
        let ranges =
            base::log::parse_filter(&given.value).map_err(|e| e.prefix(format_args!("{}: ", given.shown)))?;
        base::log::set_filter(ranges);
    }
    if let Some(items) = &config.log_items {
        match LogMask::parse(items) {
            Ok(mask) => base::log::set_mask(mask),
            Err(_) => {
                print!("{}", log_items());
                std::process::exit(1);
            }
        }
    }
    set_trace(config)
}

/// What a time line shows unless the user says what.
const TIME_LINE: &[&str] = &["vcpu_*", "vm_state_*", "riscv_trap", "virtio_blk_request", "*_read", "*_write"];

fn set_trace(config: &Config) -> Result<()> {
    let all = trace_points();
    let mut patterns = config.trace.clone();
    for file in &config.trace_files {
        let text = std::fs::read_to_string(file).map_err(|e| error!("could not open '{file}'").because(e))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        patterns.extend(lines.map(str::to_owned));
    }
    if let Some(file) = &config.trace_out {
        base::trace::set_time_line(file).map_err(|e| error!("cannot write '{file}'").because(e))?;
        if patterns.is_empty() {
            patterns.extend(TIME_LINE.iter().map(|pattern| (*pattern).to_owned()));
        }
    }
    for pattern in patterns {
        if !base::trace::enable(&all, &pattern) {
            report::say(format_args!("warning: trace event '{pattern}' does not exist"));
        }
    }
    Ok(())
}

fn machine_type(config: &Config) -> Result<&'static MachineType> {
    let name = config.machine.get("type").unwrap_or(DEFAULT_MACHINE);
    let kind = crate::lists::machine(name).ok_or_else(|| {
        error!("unsupported machine type: \"{name}\"").hint("Use -machine help to list supported machines")
    })?;
    for (key, value) in config.machine.items() {
        let known = matches!(key.as_str(), "type" | "accel")
            || MACHINE_PROPERTIES.iter().chain(kind.properties).any(|(name, ..)| name == key);
        if !known {
            return Err(error!("Property '{}-machine.{key}' not found", kind.name));
        }
        let switch = MACHINE_PROPERTIES.iter().any(|(name, kind, _)| name == key && *kind == "bool");
        if switch {
            crate::options::switch(key, value)?;
        }
    }
    if config.machine.get("usb") == Some("on") {
        return Err(error!("usb=on is not supported by Tinamou yet"));
    }
    Ok(kind)
}

/// The options of the first accelerator that exists.
fn accelerator(config: &Config) -> Result<engine::Options> {
    let mut options = engine::Options {
        perf_map: config.perf_map,
        perf_dump: config.jit_dump,
        code_cache: engine::Options::usual_code_cache(),
        ..Default::default()
    };
    options.nochain |= base::log::mask().intersects(LogMask::NOCHAIN);
    let listed = config.machine.get("accel").unwrap_or_default().split(':').filter(|name| !name.is_empty());
    let listed = listed.map(|name| (name.to_owned(), None));
    let given =
        config.accelerators.iter().map(|opts| (opts.get("accel").unwrap_or("tcg").to_owned(), Some(opts)));
    let mut refused = Vec::new();
    for (name, given) in given.chain(listed) {
        let blame = |e: base::Error| given.map_or_else(|| error!("{e}"), |given| given.blame(error!("{e}")));
        // Tests play the processors, which never start.
        if name == "qtest" {
            return Ok(options);
        }
        if name != "tcg" {
            refused.push(blame(error!("invalid accelerator {name}")));
            continue;
        }
        for (key, value) in given.iter().flat_map(|opts| opts.items()).filter(|(key, _)| key != "accel") {
            options.set(key, value).map_err(|e| blame(error!("{e}")))?;
            match (config.icount.count, key.as_str(), value.as_str()) {
                (Some(_), "thread", "multi") => {
                    return Err(blame(error!("No MTTCG when icount is enabled")));
                }
                (Some(_), "verify", _) if options.verify => {
                    return Err(blame(error!("blocks cannot be checked while instructions are counted")));
                }
                _ => {}
            }
        }
        if !refused.is_empty() {
            refused.iter().for_each(report::say);
            report::say("falling back to tcg");
        }
        options.symbols = names(config, &options).map_err(blame)?;
        return Ok(options);
    }
    if !refused.is_empty() {
        return Err(refused.remove(0));
    }
    options.symbols = names(config, &options)?;
    Ok(options)
}

/// Names of guest addresses, if somebody will ask for them.
fn names(config: &Config, options: &engine::Options) -> Result<engine::Symbols> {
    if options.profile || options.perf_map || options.perf_dump {
        let programs = [config.bios.as_deref(), config.kernel.as_deref()];
        symbols::load(&programs, options.symbols_file.as_deref())
    } else {
        Ok(engine::Symbols::default())
    }
}

/// Lets the clocks count instructions if they are to, and begins what records or replays the execution.
fn count_instructions(config: &Config, kind: &MachineType, events: &EventLoop) -> Result<()> {
    let Some(mut options) = config.icount.count else { return Ok(()) };
    let recording = config.icount.recording.as_ref();
    // A replay need not wait for what it knows.
    options.sleep &= recording.is_none_or(|recording| recording.mode == ReplayMode::Record);
    let icount = Arc::new(Icount::new(options));
    if let Some(recording) = recording {
        let replay = recording::begin(recording, config, kind, &icount)?;
        events.clocks().set_replay(replay);
    }
    events.clocks().count_instructions(icount);
    Ok(())
}

/// Whether the accelerator is the one that executes nothing.
fn is_for_tests(config: &Config) -> bool {
    let listed = config.machine.get("accel").unwrap_or_default().split(':');
    let mut given = config.accelerators.iter().filter_map(|opts| opts.get("accel")).chain(listed);
    given.find(|name| matches!(*name, "tcg" | "qtest")) == Some("qtest")
}

fn drives(config: &Config) -> Result<Blocks> {
    let mut blocks = Blocks::default();
    for given in &config.drives {
        let blame = |e: backends::Error| {
            let text = e.to_string();
            // What is not about the option but about the machine has no option in front.
            error!("{}: {text}", given.shown)
        };
        let said = |key: &str| given.value.split(',').any(|item| item.split('=').next() == Some(key));
        if !given.value.is_empty() && !["file", "driver", "format"].into_iter().any(said) && !said("if") {
            return Err(error!("{}: Must specify either driver or file", given.shown));
        }
        let mut option = DriveOption::parse(&given.value).map_err(blame)?;
        option.snapshot |= config.snapshot;
        // The machine that is to come may still have the image.
        option.lock &= config.incoming.is_none();
        let warn = |text: &str| eprintln!("{text}");
        blocks.add_drive(option, DriveInterface::Virtio, &warn).map_err(blame)?;
    }
    for given in &config.blockdevs {
        let blame = |e: backends::Error| error!("{}: {e}", given.shown);
        let mut option = BlockdevOption::parse(&given.value).map_err(blame)?;
        if config.incoming.is_some() {
            option.leave_unlocked();
        }
        blocks.add_node(&option).map_err(blame)?;
    }
    Ok(blocks)
}

/// Puts descriptors that the program was started with into sets.
fn add_fds(config: &Config) -> Result<()> {
    for opts in &config.add_fds {
        let fail = |text: String| opts.blame(error!("{text}"));
        let mut opts = opts.clone();
        let (fd, set, opaque) = (opts.take("fd"), opts.take_number("set"), opts.take("opaque"));
        let set = set.map_err(|e| opts.blame(e))?;
        opts.finish().map_err(|e| opts.blame(e))?;
        let fd = fd.ok_or_else(|| fail("fd option is required and must be non-negative".into()))?;
        if matches!(fd.as_str(), "0" | "1" | "2") {
            return Err(fail("fd cannot be a standard I/O stream".into()));
        }
        let set = set.and_then(|set| i64::try_from(set).ok());
        let set = set.ok_or_else(|| fail("set option is required and must be non-negative".into()))?;
        let fd = backends::fd::given(&fd).map_err(|_| fail("fd is not valid or already in use".into()))?;
        backends::fd::add_to_set(Some(set), fd, opaque).map_err(|e| fail(e.to_string()))?;
    }
    Ok(())
}

fn networks(config: &Config, events: &EventLoop) -> Result<BTreeMap<String, Network>> {
    let mut all = BTreeMap::new();
    for (opts, text) in config.netdevs.iter().zip(&config.netdev_texts) {
        let blame = |e: backends::Error| opts.blame(error!("{e}"));
        let option = NetdevOption::parse(text).map_err(blame)?;
        all.insert(option.id, Network::open(option.kind, events).map_err(blame)?);
    }
    Ok(all)
}

fn warn_unused(config: &Config, backends: &Backends) {
    for id in backends.networks.keys().filter(|id| !backends.taken.contains(id)) {
        report::say(format_args!("warning: netdev {id} has no peer"));
    }
    for card in backends.cards().iter().filter(|card| card.network.is_none()) {
        report::say(format_args!("warning: nic {} has no peer", card.name));
    }
    for nic in &config.nics {
        let model = nic.get("model").unwrap_or("unspecified");
        report::say(format_args!(
            "warning: requested NIC (anonymous, model {model}) was not created (not supported by this machine?)"
        ));
    }
}

fn guest_memory(config: &Config, kind: &MachineType, objects: &Objects) -> Result<Option<Arc<Ram>>> {
    let size = config.memory.unwrap_or(kind.default_memory);
    if let Some(id) = config.machine.get("memory-backend") {
        let ram = objects.memory.get(id).cloned();
        let ram = ram.ok_or_else(|| error!("Memory backend '{id}' not found"))?;
        if config.memory.is_some() && ram.len() != size {
            return Err(error!("Machine memory size does not match the size of the memory backend"));
        }
        return Ok(Some(ram));
    }
    if size == 0 {
        return Ok(None);
    }
    let name = kind.ram_name;
    let ram = match &config.memory_path {
        Some(path) => Ram::file(&PathBuf::from(path), size, false),
        None => Ram::anonymous(size),
    };
    ram.map(Some).map_err(|_| error!("cannot set up guest memory '{name}': Cannot allocate memory"))
}

fn setup(
    config: &Config,
    kind: &MachineType,
    cpus: u32,
    ram: Option<Arc<Ram>>,
    serial: Vec<Option<Arc<dyn CharPort>>>,
    blocks: &Arc<Mutex<Blocks>>,
    events: &EventLoop,
) -> Result<Setup> {
    let machine = |key: &str| config.machine.get(key).map(str::to_owned);
    let path = |given: &Option<String>, key: &str| given.clone().or(machine(key)).map(PathBuf::from);
    let bios = config.bios.clone().or(machine("firmware"));
    let (rtc_clock, rtc_date_ns) = recording::date(events, clock(config, events)?);
    let device = |port: Arc<dyn CharPort>| backends::char::for_device(port, events.clocks().replay());
    let serial = serial.into_iter().map(|port| port.map(device)).collect();
    let flash = {
        let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bank = |unit| -> Result<_> {
            if unit >= kind.flash_banks {
                return Ok(None);
            }
            let Some(id) = blocks.at(DriveInterface::Pflash, 0, unit).map(|d| d.id.clone()) else {
                return Ok(None);
            };
            let drive = blocks.take(&id).transpose().map_err(|e| error!("{e}"))?;
            Ok(drive.and_then(|d| d.device.clone()).map(|node| node as Arc<dyn BlockDevice>))
        };
        [bank(0)?, bank(1)?]
    };
    Ok(Setup {
        events: events.clone(),
        run: RunControl::new(),
        properties: config.machine.items().to_vec(),
        globals: config.globals.clone(),
        cpu: config.cpu.clone().unwrap_or_else(|| kind.default_cpu.to_owned()),
        cpus,
        ram,
        bios: bios.as_deref().map(Bios::parse).unwrap_or_default(),
        kernel: path(&config.kernel, "kernel"),
        initrd: path(&config.initrd, "initrd"),
        append: config.append.clone().or(machine("append")),
        dtb: path(&config.dtb, "dtb"),
        firmware_directories: config.firmware_directories.iter().map(PathBuf::from).collect(),
        serial,
        flash,
        rtc_clock,
        rtc_date_ns,
        fw_cfg: config.fw_cfg.iter().map(fw_cfg_file).collect::<Result<_>>()?,
        seed: recording::seed(events, config.seed),
    })
}

fn fw_cfg_file(opts: &Opts) -> Result<(String, Vec<u8>)> {
    let fail = |e| opts.blame(e);
    let wanted = "name, plus exactly one of file, string and gen_id, are needed";
    let name = opts.get("name").ok_or_else(|| fail(error!("{wanted}")))?;
    let data = match (opts.get("file"), opts.get("string")) {
        (Some(file), None) => {
            std::fs::read(file).map_err(|e| fail(error!("can't load {file}: {}", reason(&e))))?
        }
        (None, Some(text)) => text.as_bytes().to_vec(),
        _ => return Err(fail(error!("{wanted}"))),
    };
    Ok((name.to_owned(), data))
}

/// `-rtc`: the clock it counts with and the date it shows now.
fn clock(config: &Config, events: &EventLoop) -> Result<(Clock, u64)> {
    let now = events.clocks().now_ns(Clock::Host);
    let Some(opts) = &config.rtc else { return Ok((Clock::Host, now)) };
    let clock = match opts.get("clock") {
        None | Some("host") => Clock::Host,
        Some("rt") => Clock::Realtime,
        Some("vm") => Clock::Virtual,
        Some(other) => return Err(error!("invalid option value '{other}'")),
    };
    let date = match opts.get("base") {
        None | Some("utc" | "localtime") => now,
        Some(text) => parse_date(text).ok_or_else(|| {
            error!("invalid datetime format").hint("valid formats: '2006-06-17T16:01:21' or '2006-06-17'")
        })?,
    };
    Ok((clock, date))
}

/// Nanoseconds after 1970 of a date `YYYY-MM-DD`, perhaps with a time `THH:MM:SS`.
fn parse_date(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let part =
        |text: &str, mark: char| -> Option<Vec<u64>> { text.split(mark).map(|n| n.parse().ok()).collect() };
    let (date, time) = (part(date, '-')?, part(time, ':')?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000)
}

/// Disks that were given without a device get one.
fn plug_disks(backends: &mut Backends, sockets: &Sockets) -> Result<Arrivals> {
    let ids: Vec<String> = {
        let blocks = backends.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks
            .iter()
            .filter(|d| d.interface == DriveInterface::Virtio && !d.taken)
            .map(|d| d.id.clone())
            .collect()
    };
    let driver = match (&sockets.pci, sockets.slots.is_empty()) {
        (Some(_), _) => Some("virtio-blk-pci"),
        (None, false) => Some("virtio-blk-device"),
        (None, true) => None,
    };
    let mut arrivals = Vec::new();
    if let Some(driver) = driver {
        for id in ids {
            let mut opts = Opts::empty("-drive");
            opts.push("driver", driver);
            opts.push("drive", id);
            arrivals.extend(backends.device(sockets, &opts, false)?);
        }
    }
    let blocks = backends.blocks.lock().unwrap_or_else(PoisonError::into_inner);
    match blocks.unsupported() {
        Some(text) => Err(error!("{text}")),
        None => Ok(arrivals),
    }
}

type Flushes = Vec<Box<dyn Fn() + Send + Sync>>;

/// What a saved state must come from to fit.
fn origin(machine: &ObjectRef, processors: &Processors) -> Origin {
    let name = machine.type_name().trim_end_matches("-machine").to_owned();
    let mut origin = Origin {
        program: concat!("Tinamou ", env!("CARGO_PKG_VERSION")).into(),
        machine: name,
        ..Origin::default()
    };
    if let Processors::RiscV(harts) = processors
        && let Some(config) = harts.first().map(cpu::Guest::config)
    {
        origin.cpu = config.model().to_owned();
        origin.isa = config.isa_string();
        origin.processors = harts.len() as u32;
    }
    origin
}

/// Starts the vCPUs' threads and puts the machine under control.
fn start(
    board: Board,
    (config, kind, ram): (&Config, &MachineType, Option<Arc<Ram>>),
    options: engine::Options,
    lines: &Lines,
    (backends, sockets): (Backends, Sockets),
    states: Arc<RunControl>,
    end: &Arc<OnceLock<Arc<Control>>>,
) -> Result<(Flushes, Arc<Control>)> {
    let (cpus, memory) = (board.cpus.clone(), board.memory.clone());
    let saving = {
        let origin = origin(&board.machine, &board.processors);
        let (memory, cpus) = (memory.clone(), cpus.clone());
        let mut first = Vec::new();
        if let Some(icount) = board.events.clocks().icount() {
            let counter = Counter::new(&board.events, icount.clone());
            cpus.count(counter.clone());
            first.push(counter.clone() as Arc<dyn state::Saved>);
            if let Some(replay) = board.events.clocks().replay() {
                first.push(replay.clone());
                counter.set_agenda(replay.clone());
            }
        }
        let parts = migration::Parts { origin, memory, cpus, first, then: board.parts };
        let directory = config.snapshots.clone().map(PathBuf::from);
        Saving::new(&board.events, parts, backends.blocks.clone(), directory)
    };
    let (translation, limit_blocks) = vcpus(board.processors, &cpus, &memory, options, end)?;
    let parts = Parts {
        events: board.events,
        cpus,
        memory,
        spaces: board.spaces,
        root: board.root,
        bus: board.bus,
        roms: board.roms,
        devices: Mutex::new(board.devices),
        sockets,
        resets: board.resets,
        reset_processor: board.reset_processor,
        dtb: Some(board.fdt.to_dtb()).filter(|_| board.fdt.root.children.len() > 1),
        translation,
        limit_blocks,
    };
    let manners = Manners {
        actions: config.actions,
        ram,
        ram_name: config.machine.get("memory-backend").unwrap_or(kind.ram_name).to_owned(),
        name: config.name.clone(),
        uuid: config.uuid.clone(),
        still: is_for_tests(config),
    };
    let control = Control::new(parts, manners, states, lines.clone(), backends);
    control.set_saving(saving);
    recording::attach(&control);
    let _ = end.set(control.clone());
    Ok((board.flushes, control))
}

type Text = Box<dyn Fn() -> String + Send + Sync>;
type Limit = Box<dyn Fn(u32) + Send + Sync>;

/// Starts a thread for each processor. Returns what `info jit` shows, and what limits the size of blocks.
fn vcpus(
    processors: Processors,
    cpus: &Arc<Cpus>,
    memory: &Arc<AddressSpace>,
    options: engine::Options,
    end: &Arc<OnceLock<Arc<Control>>>,
) -> Result<(Text, Limit)> {
    let Processors::RiscV(harts) = processors else {
        return Ok((Box::new(String::new), Box::new(|_| ())));
    };
    let fail = |e: std::io::Error| error!("cannot start a processor").because(e);
    let shared = Shared::new::<Hart>(memory.clone(), cpus.clone(), options).map_err(fail)?;
    let end = end.clone();
    let report = move |index: u32, exit: Exit| {
        let reason = match exit {
            Exit::Debug => StopReason::Trap,
            Exit::Watched(w) => StopReason::Watch(w),
            _ => return,
        };
        if let Some(control) = end.get() {
            control.debug_exit(index, reason);
        }
    };
    let translated = |hart: Hart| {
        let accelerator = Tcg::<Hart>::new(shared.clone(), hart.config().clone());
        (hart, accelerator)
    };
    if cpus.counter().is_some() {
        let harts = harts.into_iter().map(translated).collect();
        cpu::spawn_in_turn(cpus.clone(), harts, report).map_err(fail)?;
    } else {
        for (hart, accelerator) in harts.into_iter().map(translated) {
            cpu::spawn(cpus.clone(), hart, accelerator, report.clone()).map_err(fail)?;
        }
    }
    let cpus = cpus.clone();
    let limited = shared.clone();
    let limit: Limit = Box::new(move |limit| limited.set_block_limit(limit));
    let text: Text = Box::new(move || {
        let one = if shared.block_limit() == 1 { "on" } else { "off" };
        let clocks = cpus.counter().map_or_else(String::new, |counter| counter.report());
        format!(
            "Accelerator settings:\none-insn-per-tb: {one}\n\nTranslation buffer state:\n{}{clocks}",
            shared.report()
        )
    });
    Ok((text, limit))
}

#[cfg(test)]
#[path = "launch_test.rs"]
mod test;
