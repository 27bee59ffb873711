//! `-icount rr=record|replay` for the machine as a whole: what is recorded of it, and what a recording asks of it.

use crate::control::Control;
use crate::options::{Config, Recording};
use crate::report;
use base::{Result, error};
use cpu::{Cause, Request, RunState};
use events::{Clock, EventLoop, Icount, Log, Notice, Replay, ReplayMode};
use machines::MachineType;
use std::sync::Arc;

/// Codes of the requests in a recording.
const RESET: u32 = 1;
/// Under which the answers are recorded that are asked for before the machine runs.
const DATE: u32 = u32::from_le_bytes(*b"date");
const SEED: u32 = u32::from_le_bytes(*b"seed");

/// What two machines must have in common so that one does what was recorded of the other.
fn fingerprint(config: &Config, kind: &MachineType) -> String {
    let cpu = config.cpu.as_deref().unwrap_or(kind.default_cpu);
    let memory = config.memory.unwrap_or(kind.default_memory);
    let harts = config.smp.as_ref().map_or_else(String::new, |smp| smp.to_text());
    let devices: Vec<_> = config.devices.iter().filter_map(|opts| opts.get("driver")).collect();
    let machine = config.machine.to_text();
    format!(
        "{}|{machine}|cpu={cpu}|smp={harts}|m={memory}|devices={}|serial={}|append={}",
        kind.name,
        devices.join(","),
        config.serials.len(),
        config.append.as_deref().unwrap_or_default()
    )
}

/// Begins a recording, or reads one.
///
/// # Errors
/// The file cannot be written or read, or is of another machine.
pub fn begin(
    recording: &Recording,
    config: &Config,
    kind: &MachineType,
    icount: &Arc<Icount>,
) -> Result<Arc<Replay>> {
    let (file, here) = (&recording.file, fingerprint(config, kind));
    let failed = |e: std::io::Error| error!("Replay: open {file}: {}", crate::launch::reason(&e));
    if recording.mode == ReplayMode::Record {
        return Replay::record(file, &here, icount).map_err(failed);
    }
    let log = Log::parse(&std::fs::read(file).map_err(failed)?).map_err(|text| error!("Replay: {text}"))?;
    let parts = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    if let Some((was, is)) = parts(&log.machine).into_iter().zip(parts(&here)).find(|(was, is)| was != is) {
        return Err(error!("Replay: the recording is of another machine: it has '{was}', this one '{is}'"));
    }
    if log.shift != icount.shift() {
        return Err(error!("Replay: the recording was made with shift={}", log.shift));
    }
    Ok(Replay::play(file, log, icount))
}

/// The clock and the date of the real-time clock: the guest's own from the recorded date on, so that reading it is
/// decided by the count.
pub fn date(events: &EventLoop, asked: (Clock, u64)) -> (Clock, u64) {
    match events.clocks().replay() {
        Some(replay) => (Clock::Virtual, number(replay, DATE, || asked.1)),
        None => asked,
    }
}

/// The seed of the random numbers that the guest is started with.
pub fn seed(events: &EventLoop, asked: Option<u64>) -> Option<u64> {
    let fresh = || {
        let mut bytes = [0; 8];
        backends::rng::Entropy::Builtin.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    match events.clocks().replay() {
        Some(replay) => Some(number(replay, SEED, || asked.unwrap_or_else(fresh))),
        None => asked,
    }
}

fn number(replay: &Replay, stream: u32, ask: impl FnOnce() -> u64) -> u64 {
    let bytes = replay.value(stream, || ask().to_le_bytes().to_vec());
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Does what the recording asks of the machine.
pub fn attach(control: &Arc<Control>) {
    let Some(replay) = control.replay().cloned() else { return };
    let weak = Arc::downgrade(control);
    replay.listen(move |notice| {
        let Some(control) = weak.upgrade() else { return };
        let request = match notice {
            Notice::Request(RESET) => Request::Reset(Cause::HostQmpSystemReset),
            Notice::Request(_) => return,
            Notice::End => Request::Shutdown(Cause::HostQmpQuit, 0),
            Notice::Break => Request::Stop(RunState::Paused),
            Notice::Fork => return control.ask_fork(),
            Notice::Diverged(text) => {
                report::say(format_args!("Replay: {text}"));
                Request::Stop(RunState::InternalError)
            }
        };
        control.states().request(request);
    });
}

impl Control {
    /// What records or replays the execution, if something does.
    pub fn replay(&self) -> Option<&Arc<Replay>> {
        self.events().clocks().replay()
    }

    /// The user resets the machine, which stands still.
    pub(crate) fn record_reset(&self, cause: Cause) {
        if let Some(replay) = self.replay().filter(|_| !cause.by_guest()) {
            replay.request(RESET);
        }
    }

    /// Instructions executed; 0 if they are not counted.
    pub fn instructions(&self) -> u64 {
        self.events().clocks().icount().map_or(0, |icount| icount.count())
    }

    /// Whether requests to disks are under way where instructions are counted.
    pub(crate) fn is_busy(&self) -> bool {
        self.events().clocks().icount().is_some_and(|icount| icount.is_busy())
    }

    /// Whether the machine does only what has been recorded of it.
    pub fn is_replaying(&self) -> bool {
        self.replay().is_some_and(|replay| replay.mode() == ReplayMode::Play)
    }

    /// Takes or loads the snapshot at the beginning of a recording.
    ///
    /// # Errors
    /// It cannot be saved, or there is none.
    pub fn begin_recording(&self, recording: &Recording) -> Result<()> {
        let Some(tag) = &recording.snapshot else { return Ok(()) };
        match recording.mode {
            ReplayMode::Record => self
                .saving()?
                .save(self, Some(tag), crate::saving::Keep::OnDisk)
                .map_err(|e| error!("{e}\nCould not create snapshot for icount record")),
            ReplayMode::Play => self.saving()?.load(self, tag),
        }
    }
}
