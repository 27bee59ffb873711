//! Frames over a connection, each behind four bytes with its length, most significant first.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use events::EventLoop;

use super::StreamOptions;
use crate::Error;
use crate::char::{CharEvent, CharPort, CharReceiver, SocketAddress, SocketOptions, SocketPort};
use crate::net::{FrameOffload, NetPeer, NetReceiver};

/// Bytes in front of a frame.
const HEAD: usize = 4;
/// The longest frame.
const LONGEST: usize = 68 << 10;
/// How much input is taken while the card has no room.
const ROOM: usize = 256 << 10;

/// A network at the other end of a connection.
pub struct StreamNet {
    this: Weak<StreamNet>,
    events: EventLoop,
    port: SocketPort,
    kind: &'static str,
    /// What `info network` says instead of where the connection leads.
    described: Option<String>,
    server: bool,
    receiver: Mutex<Option<Arc<dyn NetReceiver>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What has come and is no whole frame yet, or a frame that the card has no room for.
    input: Vec<u8>,
    /// Bytes of a frame too long that are still to come.
    skip: usize,
    /// The card has no room.
    blocked: bool,
    /// The rest of a frame of which a part has been sent.
    rest: Vec<u8>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamNet {
    /// Opens the connection, or listens for it.
    ///
    /// # Errors
    /// There can be none.
    pub fn open(options: StreamOptions, events: &EventLoop) -> Result<Arc<StreamNet>, Error> {
        let (kind, server) = (options.kind, options.socket.server);
        Self::start(options.socket, kind, server, None, events)
    }

    /// On a socket that is connected.
    pub(crate) fn on(fd: OwnedFd, text: &str, events: &EventLoop) -> Result<Arc<StreamNet>, Error> {
        // A number can be had once only: it goes on under a name that no number has.
        let name = format!("netdev socket {text}");
        crate::fd::name(&name, fd);
        let address = SocketAddress::Fd(name);
        let socket = SocketOptions { address, server: false, wait: false, nodelay: false, reconnect_ms: 0 };
        Self::start(socket, "socket", false, Some(format!("socket: fd={text}")), events)
    }

    fn start(
        socket: SocketOptions,
        kind: &'static str,
        server: bool,
        described: Option<String>,
        events: &EventLoop,
    ) -> Result<Arc<StreamNet>, Error> {
        let port = SocketPort::open(events, socket, |_| {})?;
        let net = Arc::new_cyclic(|this: &Weak<StreamNet>| StreamNet {
            this: this.clone(),
            events: events.clone(),
            port,
            kind,
            described,
            server,
            receiver: Mutex::default(),
            state: Mutex::default(),
        });
        net.port.set_receiver(Some(Arc::new(Ear(net.this.clone()))));
        Ok(net)
    }

    /// Gives the card the frames that are there. Main-loop thread.
    fn deliver(&self) {
        let Some(card) = locked(&self.receiver).clone() else {
            locked(&self.state).input.clear();
            return;
        };
        let mut some = false;
        while let Some(frame) = self.next_frame() {
            if !card.can_receive() || !card.receive(&frame, FrameOffload::default()) {
                let mut state = locked(&self.state);
                let head = (frame.len() as u32).to_be_bytes();
                state.input.splice(..0, head.into_iter().chain(frame));
                state.blocked = true;
                break;
            }
            some = true;
        }
        if some {
            card.burst_done();
        }
    }

    fn next_frame(&self) -> Option<Vec<u8>> {
        let mut state = locked(&self.state);
        loop {
            let skipped = state.skip.min(state.input.len());
            state.input.drain(..skipped);
            state.skip -= skipped;
            let length = u32::from_be_bytes(*state.input.first_chunk::<HEAD>()?) as usize;
            if length > LONGEST {
                state.skip = length.saturating_add(HEAD);
                continue;
            }
            if state.input.len() < HEAD + length {
                return None;
            }
            return Some(state.input.drain(..HEAD + length).skip(HEAD).collect());
        }
    }

    /// Sends what is left of a frame.
    fn send_rest(&self, state: &mut State) {
        let sent = self.port.write(&state.rest);
        state.rest.drain(..sent.min(state.rest.len()));
    }
}

impl NetPeer for StreamNet {
    fn send(&self, frame: &[u8], _: FrameOffload) {
        let mut state = locked(&self.state);
        if !state.rest.is_empty() {
            self.send_rest(&mut state);
        }
        // A connection that is full loses whole frames only.
        if state.rest.is_empty() {
            state.rest =
                (frame.len() as u32).to_be_bytes().into_iter().chain(frame.iter().copied()).collect();
            let whole = state.rest.len();
            self.send_rest(&mut state);
            if state.rest.len() == whole {
                state.rest.clear();
            }
        }
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        *locked(&self.receiver) = receiver;
        self.receive_ready();
    }

    fn receive_ready(&self) {
        let mut state = locked(&self.state);
        if std::mem::take(&mut state.blocked) {
            let this = self.this.clone();
            self.events.defer(move || {
                if let Some(net) = this.upgrade() {
                    net.deliver();
                    net.port.receive_ready();
                }
            });
        }
    }

    fn describe(&self) -> String {
        let kind = self.kind;
        if let Some(described) = &self.described {
            return format!("type={kind},{described}");
        }
        // The port tells both ends of a connection by TCP; the other one is what leads there.
        let at = self.port.describe();
        let at = match (at.strip_prefix("disconnected:"), at.split_once(" <-> ")) {
            (Some(_), _) if self.server => "listening".to_owned(),
            (Some(_), _) => String::new(),
            (None, Some((_, far))) => format!("tcp:{}", far.replace(['[', ']'], "")),
            (None, None) if at == "fd" => "unix:".to_owned(),
            (None, None) => at.trim_end_matches(",server=on").to_owned(),
        };
        format!("type={kind},{at}")
    }
}

/// What the connection calls.
struct Ear(Weak<StreamNet>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        self.0.upgrade().map_or(0, |net| {
            let state = locked(&net.state);
            if state.blocked { 0 } else { ROOM.saturating_sub(state.input.len()) }
        })
    }

    fn receive(&self, bytes: &[u8]) {
        if let Some(net) = self.0.upgrade() {
            locked(&net.state).input.extend_from_slice(bytes);
            net.deliver();
        }
    }

    fn event(&self, event: CharEvent) {
        if let (CharEvent::Closed | CharEvent::Opened, Some(net)) = (event, self.0.upgrade()) {
            let mut state = locked(&net.state);
            // What was under way of a frame means nothing to whoever connects next.
            *state = State::default();
        }
    }

    fn writable(&self) {
        if let Some(net) = self.0.upgrade() {
            net.send_rest(&mut locked(&net.state));
        }
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod test;
