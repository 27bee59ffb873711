//! Recording and replaying (`-icount rr=record|replay`): where instructions are counted, only what comes from outside
//! is not decided by the count. It is written down with its place in the execution, and comes from the file at the same place.
//!
//! ```text
//! back end --Replay::input--> queue --vCPU thread: act--> record --> sink --> device           (recording)
//!                             file  --vCPU thread: act-----------> sink --> device           (replaying)
//! device --Replay::value: the host's answer, recorded; or the recorded one
//! user   --Replay::request: the machine stands still, recorded; or act --> asked for again
//! ```
//! *Stream*: one source of input, named by the order in which they are made. *Moment*: instructions executed and rounds
//! of timers. Input reaches a device between two instructions only. What the device has no room for waits until
//! it says that it has ([`Replay::poke`]), which is decided by the count again.

mod log;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use state::{Loader, Saved, Saver, State, StateError};

use crate::icount::{Agenda, Icount, Moment};
pub use log::{Kind, Log, Record};

/// Whether the execution is recorded or comes from a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayMode {
    /// It is recorded.
    Record,
    /// It is a recorded one.
    Play,
}

/// What the replay tells the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The user had asked for this.
    Request(u32),
    /// The recording has ended.
    End,
    /// The count at which to stop is reached.
    Break,
    /// The count at which a point to come back to was wanted is reached.
    Fork,
    /// The execution is not the recorded one.
    Diverged(String),
}

type Sink = Box<dyn Fn(Vec<u8>) -> Option<Vec<u8>> + Send + Sync>;
type Listener = Box<dyn Fn(Notice) + Send + Sync>;

/// A recording that is being made or replayed.
pub struct Replay {
    mode: ReplayMode,
    path: String,
    icount: Arc<Icount>,
    inner: Mutex<Inner>,
    sinks: Mutex<Vec<Arc<Sink>>>,
    listener: OnceLock<Listener>,
    /// What is executed has been executed before: nobody outside is to see it again.
    again: AtomicBool,
}

#[derive(Default)]
struct Inner {
    file: Option<File>,
    /// Recorded input and requests, and the recorded answers.
    events: Vec<Record>,
    values: Vec<Record>,
    /// Input that is to be recorded.
    queue: VecDeque<(u32, Vec<u8>)>,
    at: Place,
    /// Where to stop, and where a point to come back to is wanted.
    stop: Option<u64>,
    fork: Option<u64>,
    diverged: bool,
}

/// How far the recording has come. In a snapshot of the recording it means the same to the replay.
#[derive(Clone, Default, State)]
#[state(name = "replay")]
struct Place {
    events: u64,
    values: u64,
    /// Input that devices have not taken yet.
    waiting: Vec<Waiting>,
    /// Somebody has said that there is room.
    room: bool,
}

#[derive(Clone, Default, State)]
#[state(name = "replay/waiting")]
struct Waiting {
    stream: u32,
    bytes: Vec<u8>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    /// Begins a recording in a file. `machine` says what is recorded.
    ///
    /// # Errors
    /// The host's.
    pub fn record(path: &str, machine: &str, icount: &Arc<Icount>) -> std::io::Result<Arc<Replay>> {
        let mut file = File::create(path)?;
        file.write_all(&log::head(machine, icount.shift()))?;
        Ok(Replay::new(ReplayMode::Record, path, icount, Inner { file: Some(file), ..Inner::default() }))
    }

    /// Replays what a file had.
    pub fn play(path: &str, log: Log, icount: &Arc<Icount>) -> Arc<Replay> {
        let (values, events) = log.records.into_iter().partition(|record| record.kind == Kind::Value);
        Replay::new(ReplayMode::Play, path, icount, Inner { events, values, ..Inner::default() })
    }

    fn new(mode: ReplayMode, path: &str, icount: &Arc<Icount>, inner: Inner) -> Arc<Replay> {
        Arc::new(Replay {
            mode,
            path: path.to_owned(),
            icount: icount.clone(),
            inner: Mutex::new(inner),
            sinks: Mutex::default(),
            listener: OnceLock::new(),
            again: AtomicBool::new(false),
        })
    }

    /// Which of the two.
    pub fn mode(&self) -> ReplayMode {
        self.mode
    }

    /// The file's name.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Hears what the machine has to do; on the vCPUs' thread, between two instructions. The first time counts.
    pub fn listen(&self, listener: impl Fn(Notice) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    fn tell(&self, notice: Notice) {
        if let Some(listener) = self.listener.get() {
            listener(notice);
        }
    }

    /// A new stream. Its input comes to `sink`, on the vCPUs' thread with no lock held, which gives back what there is no room for.
    pub fn stream(&self, sink: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static) -> u32 {
        let mut sinks = locked(&self.sinks);
        sinks.push(Arc::new(Box::new(sink)));
        sinks.len() as u32 - 1
    }

    /// Input has come, on any thread. While a recording is replayed it is dropped.
    pub fn input(&self, stream: u32, bytes: Vec<u8>) {
        if self.mode == ReplayMode::Record {
            locked(&self.inner).queue.push_back((stream, bytes));
            self.icount.sound_alarm();
        }
    }

    /// A device has room again for input that it had not taken.
    pub fn poke(&self) {
        let waiting = {
            let mut inner = locked(&self.inner);
            let waiting = !inner.at.waiting.is_empty();
            inner.at.room |= waiting;
            waiting
        };
        if waiting {
            self.icount.sound_alarm();
        }
    }

    /// What the host answers to an instruction that is being executed, or before the first one: `ask` it, or the recorded
    /// answer, which is as long as it was.
    pub fn value(&self, stream: u32, ask: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        if self.mode == ReplayMode::Record {
            let bytes = ask();
            self.write(Kind::Value, stream, bytes.clone());
            return bytes;
        }
        let count = self.icount.count();
        let mut inner = locked(&self.inner);
        let n = inner.at.values as usize;
        match inner.values.get(n) {
            Some(value) if value.stream == stream && value.moment.count == count => {
                let bytes = value.bytes.clone();
                inner.at.values += 1;
                bytes
            }
            _ => {
                drop(inner);
                self.diverge("the guest asks for what it did not ask for");
                ask()
            }
        }
    }

    /// The user has asked for something, and the machine stands still.
    pub fn request(&self, code: u32) {
        if self.mode == ReplayMode::Record {
            self.write(Kind::Request, code, Vec::new());
        }
    }

    /// The execution ends here; the machine stands still.
    pub fn finish(&self) {
        if self.mode == ReplayMode::Record {
            self.write(Kind::End, 0, Vec::new());
            locked(&self.inner).file = None;
        }
    }

    /// From now on things are executed that have been executed before, or (`false`) not any more.
    pub fn set_again(&self, again: bool) {
        self.again.store(again, SeqCst);
    }

    /// Whether what is executed has been executed before, so that its output has been seen.
    pub fn is_again(&self) -> bool {
        self.again.load(SeqCst)
    }

    /// Where to stop, instead of where it was to be; `None`: nowhere.
    pub fn stop_at(&self, count: Option<u64>) {
        locked(&self.inner).stop = count;
        self.icount.sound_alarm();
    }

    /// Where a point to come back to is wanted.
    pub fn fork_at(&self, count: Option<u64>) {
        locked(&self.inner).fork = count;
        self.icount.sound_alarm();
    }

    /// Where it is to stop.
    pub fn stops_at(&self) -> Option<u64> {
        locked(&self.inner).stop
    }

    /// Instructions in the whole recording, as far as it is known where it ends.
    pub fn last_count(&self) -> Option<u64> {
        let inner = locked(&self.inner);
        inner.events.last().filter(|last| last.kind == Kind::End).map(|last| last.moment.count)
    }

    /// Writes a record about the present.
    fn write(&self, kind: Kind, stream: u32, bytes: Vec<u8>) {
        let mut inner = locked(&self.inner);
        let moment = self.icount.here();
        let record = Record { kind, stream, moment, time: self.icount.now_ns(), bytes };
        match kind {
            Kind::Value => inner.at.values += 1,
            _ => inner.at.events += 1,
        }
        let written = inner.file.as_mut().map_or(Ok(()), |file| file.write_all(&record.to_bytes()));
        if let Err(error) = written {
            inner.file = None;
            drop(inner);
            self.tell(Notice::Diverged(format!("the recording '{}' cannot be written: {error}", self.path)));
        }
    }

    fn diverge(&self, what: &str) {
        let first = !std::mem::replace(&mut locked(&self.inner).diverged, true);
        if first {
            let count = self.icount.count();
            self.tell(Notice::Diverged(format!(
                "the execution differs from the recording at instruction {count}: {what}"
            )));
        }
    }

    /// Records what has come since.
    fn record_queue(&self) {
        loop {
            let Some((stream, bytes)) = locked(&self.inner).queue.pop_front() else { return };
            self.write(Kind::Input, stream, bytes.clone());
            let mut inner = locked(&self.inner);
            inner.at.waiting.push(Waiting { stream, bytes });
            inner.at.room = true;
        }
    }

    /// Does what was recorded for here.
    fn play_events(&self, here: Moment) {
        loop {
            let mut inner = locked(&self.inner);
            let n = inner.at.events as usize;
            let Some(event) = inner.events.get(n).filter(|event| event.moment <= here).cloned() else {
                return;
            };
            let now = self.icount.now_ns();
            if event.moment == here && event.time > now {
                // Nothing is executed until then: the clock goes on first.
                return;
            }
            // The end is where it is, however often one comes there.
            inner.at.events += u64::from(event.kind != Kind::End);
            if event.moment < here || event.time < now {
                drop(inner);
                let Moment { count, rounds } = event.moment;
                self.diverge(&format!(
                    "it is in round {} at {now} ns, and what came in round {rounds} at {} ns of instruction {count} was missed",
                    here.rounds, event.time
                ));
                return;
            }
            match event.kind {
                Kind::Input => {
                    inner.at.waiting.push(Waiting { stream: event.stream, bytes: event.bytes });
                    inner.at.room = true;
                }
                Kind::Request => {
                    drop(inner);
                    self.tell(Notice::Request(event.stream));
                    return;
                }
                Kind::End | Kind::Value => {
                    drop(inner);
                    self.tell(Notice::End);
                    return;
                }
            }
        }
    }

    /// Gives devices what waits for them, in the order of each stream.
    fn deliver(&self) {
        let waiting = {
            let mut inner = locked(&self.inner);
            if !std::mem::take(&mut inner.at.room) {
                return;
            }
            std::mem::take(&mut inner.at.waiting)
        };
        let mut left: Vec<Waiting> = Vec::new();
        for Waiting { stream, bytes } in waiting {
            if left.iter().any(|other| other.stream == stream) {
                left.push(Waiting { stream, bytes });
                continue;
            }
            let sink = locked(&self.sinks).get(stream as usize).cloned();
            match sink {
                Some(sink) => left.extend(sink(bytes).map(|bytes| Waiting { stream, bytes })),
                None => self.diverge("there is input for what does not exist"),
            }
        }
        let mut inner = locked(&self.inner);
        left.append(&mut inner.at.waiting);
        inner.at.waiting = left;
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("mode", &self.mode).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Agenda for Replay {
    fn next(&self) -> u64 {
        let inner = locked(&self.inner);
        let event = inner.events.get(inner.at.events as usize).map_or(u64::MAX, |event| event.moment.count);
        event.min(inner.stop.unwrap_or(u64::MAX)).min(inner.fork.unwrap_or(u64::MAX))
    }

    fn act(&self, here: Moment) {
        match self.mode {
            ReplayMode::Record => self.record_queue(),
            ReplayMode::Play => self.play_events(here),
        }
        self.deliver();
        let reached = |place: &mut Option<u64>| place.take_if(|count| *count <= here.count).is_some();
        let (stop, fork) = {
            let mut inner = locked(&self.inner);
            (reached(&mut inner.stop), reached(&mut inner.fork))
        };
        if stop {
            self.tell(Notice::Break);
        }
        if fork {
            self.tell(Notice::Fork);
        }
    }

    fn time(&self, here: Moment) -> Option<u64> {
        let inner = locked(&self.inner);
        let event = inner.events.get(inner.at.events as usize)?;
        (event.moment == here).then(|| event.time.max(self.icount.now_ns()))
    }
}

impl Saved for Replay {
    fn section(&self) -> &'static str {
        Place::NAME
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        let at = locked(&self.inner).at.clone();
        out.section(instance, &at);
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError> {
        let mut at = Place::default();
        from.section(instance, &mut at)?;
        let mut inner = locked(&self.inner);
        inner.at = at;
        inner.diverged = false;
        Ok(())
    }
}

#[cfg(test)]
#[path = "replay_test.rs"]
mod test;
