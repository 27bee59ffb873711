//! A port whose input is recorded, or comes from a recording (`-icount rr=record|replay`).
//!
//! The other side is heard on the main loop's thread; the device hears it on the vCPUs', at a place that the recording has.
//! Output is taken whole: how fast the other side reads must not decide what the guest does.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use events::Replay;

use super::{CharEvent, CharPort, CharReceiver, ReceiverSlot};

/// Inputs longer than this are cut.
const PIECE: usize = 4096;
/// More output than this waits for nobody: it is lost.
const WAITING: usize = 16 << 20;

/// The first byte of an input: what it is.
const BYTES: u8 = 0;
const EVENT: u8 = 1;

const EVENTS: [CharEvent; 5] =
    [CharEvent::Opened, CharEvent::Closed, CharEvent::Break, CharEvent::FocusIn, CharEvent::FocusOut];

/// The port.
pub struct Replayed {
    inner: Arc<dyn CharPort>,
    replay: Arc<Replay>,
    shared: Arc<Shared>,
    stream: u32,
    ear: Arc<Ear>,
}

#[derive(Default)]
struct Shared {
    receiver: ReceiverSlot,
    output: Mutex<Vec<u8>>,
}

impl Replayed {
    /// In front of another port.
    pub fn new(inner: Arc<dyn CharPort>, replay: &Arc<Replay>) -> Arc<Replayed> {
        let shared = Arc::new(Shared::default());
        let sink = shared.clone();
        let stream = replay.stream(move |input| sink.deliver(input));
        Arc::new_cyclic(|this| Replayed {
            inner,
            replay: replay.clone(),
            shared,
            stream,
            ear: Arc::new(Ear(this.clone())),
        })
    }

    fn push(&self) {
        let mut output = self.shared.output.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.inner.write(&output);
        output.drain(..taken);
    }
}

impl Shared {
    /// Gives the device an input, and gives back what it has no room for.
    fn deliver(&self, input: Vec<u8>) -> Option<Vec<u8>> {
        let receiver = self.receiver.get()?;
        match input.split_first() {
            Some((&EVENT, [event])) => {
                if let Some(event) = EVENTS.get(usize::from(*event)) {
                    receiver.event(*event);
                }
                None
            }
            Some((&BYTES, mut bytes)) => {
                while !bytes.is_empty() {
                    let room = receiver.room().min(bytes.len());
                    if room == 0 {
                        let mut left = vec![BYTES];
                        left.extend_from_slice(bytes);
                        return Some(left);
                    }
                    receiver.receive(&bytes[..room]);
                    bytes = &bytes[room..];
                }
                None
            }
            _ => None,
        }
    }
}

impl CharPort for Replayed {
    fn write(&self, bytes: &[u8]) -> usize {
        if self.replay.is_again() {
            return bytes.len();
        }
        {
            let mut output = self.shared.output.lock().unwrap_or_else(PoisonError::into_inner);
            if output.len() < WAITING {
                output.extend_from_slice(bytes);
            }
        }
        self.push();
        bytes.len()
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        let ear = receiver.is_some().then(|| self.ear.clone() as Arc<dyn CharReceiver>);
        self.shared.receiver.set(receiver);
        self.inner.set_receiver(ear);
    }

    fn receive_ready(&self) {
        self.replay.poke();
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn send_break(&self) {
        self.inner.send_break();
    }

    fn clean_up(&self) {
        self.inner.clean_up();
    }

    fn flush(&self) {
        self.push();
        self.inner.flush();
    }
}

/// Hears the other side.
struct Ear(Weak<Replayed>);

impl Ear {
    fn input(&self, kind: u8, bytes: &[u8]) {
        let Some(port) = self.0.upgrade() else { return };
        for piece in bytes.chunks(PIECE) {
            let mut input = vec![kind];
            input.extend_from_slice(piece);
            port.replay.input(port.stream, input);
        }
    }
}

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        PIECE
    }

    fn receive(&self, bytes: &[u8]) {
        self.input(BYTES, bytes);
    }

    fn event(&self, event: CharEvent) {
        if let Some(n) = EVENTS.iter().position(|other| *other == event) {
            self.input(EVENT, &[n as u8]);
        }
    }

    fn writable(&self) {
        if let Some(port) = self.0.upgrade() {
            port.push();
        }
    }
}

/// A device's port: itself, or where input is recorded or replayed, behind what does that.
pub fn for_device(port: Arc<dyn CharPort>, replay: Option<&Arc<Replay>>) -> Arc<dyn CharPort> {
    match replay {
        Some(replay) => Replayed::new(port, replay),
        None => port,
    }
}

#[cfg(test)]
#[path = "replayed_test.rs"]
mod test;
