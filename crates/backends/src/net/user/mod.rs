//! `-netdev user`: the guest's connections end here and are taken up by sockets of the host, so that no
//! privilege is needed.
//!
//! Left out: IPv6, TFTP and SMB servers, `guestfwd`, reassembly of IP fragments that the guest sends.

mod dhcp;
mod dns;
mod forward;
mod link;
mod nat;
mod ring;
mod stack;
mod tcp;
mod wire;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use events::{Clocks, EventLoop};

use super::{FrameOffload, HostForward, NetPeer, NetReceiver, Offloads, Transport, UserOptions};
use crate::Error;
use stack::Stack;

/// Bytes from the guest that wait for this network's thread. TCP windows keep honest guests far below.
const INBOX_LIMIT: usize = 16 << 20;
/// Buffers kept for use again.
const POOL_LIMIT: usize = 256;

/// A user-mode network with a thread of its own.
pub struct UserNet {
    shared: Arc<Shared>,
    stack: Arc<Mutex<Stack>>,
    options: UserOptions,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    events: EventLoop,
    inbox: Mutex<Inbox>,
    /// The card waits for [`NetPeer::receive_ready`] to be passed on.
    blocked: Arc<AtomicBool>,
    end: AtomicBool,
    stack: stack::Handle,
}

#[derive(Default)]
struct Inbox {
    frames: Vec<Vec<u8>>,
    bytes: usize,
    pool: Vec<Vec<u8>>,
    /// The card has room again.
    ready: bool,
    /// The thread has been told that there is something.
    scheduled: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UserNet {
    /// Starts the network. `clocks` are the machine's: time-outs stand still while it is stopped.
    ///
    /// # Errors
    /// The text to print behind `-netdev ARGUMENT: `, for a forwarding rule that cannot be set up.
    pub fn new(options: UserOptions, clocks: &Clocks) -> Result<UserNet, Error> {
        let failed = |error| Error::io("could not start the user network", error);
        let (events, mut runner) = EventLoop::new().map_err(failed)?;
        let stack = Stack::new(options.clone(), &events, clocks.clone());
        let (handle, blocked) = {
            let stack = locked(&stack);
            (stack.handle.clone(), Arc::clone(&stack.link.blocked_flag))
        };
        let shared = Arc::new(Shared {
            events,
            inbox: Mutex::default(),
            blocked,
            end: AtomicBool::new(false),
            stack: handle,
        });
        let mut net = UserNet { shared, stack, options, thread: None };
        for rule in net.options.forwards.clone() {
            net.add_forward(&rule)?;
        }
        let shared = Arc::clone(&net.shared);
        let thread = thread::Builder::new().name("net-user".to_owned()).spawn(move || {
            // It cannot fail but for a lack of kernel memory, and then the network is silent.
            let _ = runner.run(|| shared.end.load(Ordering::Acquire));
        });
        net.thread = Some(thread.map_err(failed)?);
        Ok(net)
    }

    /// Sets up one more forwarding rule (`hostfwd_add`).
    ///
    /// # Errors
    /// The host's port cannot be had.
    pub fn add_forward(&self, rule: &HostForward) -> Result<(), Error> {
        let refused = |_| Error::new(format!("Could not set up host forwarding rule '{}'", rule.text));
        self.shared.stack.with(|stack| stack.add_forward(rule)).unwrap_or(Ok(())).map_err(refused)
    }

    /// Ends a forwarding rule (`hostfwd_remove`); says whether there was one.
    pub fn remove_forward(&self, transport: Transport, host: Ipv4Addr, port: u16) -> bool {
        self.shared.stack.with(|stack| stack.remove_forward(transport, host, port)).unwrap_or(false)
    }

    /// The ports of the host that forwarding rules listen at, in their order: for rules with port 0.
    pub fn forward_ports(&self) -> Vec<u16> {
        locked(&self.stack).forwards.iter().map(|forward| forward.bound.port()).collect()
    }

    /// The table of `info usernet`, without the line that names the network.
    pub fn table(&self) -> String {
        let stack = locked(&self.stack);
        let mut text =
            "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n".to_owned();
        let mut row = |kind: &str,
                       near: String,
                       near_port: u16,
                       far: Ipv4Addr,
                       far_port: u16,
                       queues: (usize, usize)| {
            let (received, sent) = queues;
            let far = far.to_string();
            let _ = writeln!(
                text,
                "  {kind:<18} {:>3} {near:>15} {near_port:>5} {far:>15} {far_port:>5} {received:>5} {sent:>5}",
                0
            );
        };
        for connection in stack.connections.values() {
            let (guest, remote) = (connection.key.guest, connection.key.remote);
            let kind = format!("TCP[{}]", connection.state_name());
            row(
                &kind,
                guest.ip().to_string(),
                guest.port(),
                *remote.ip(),
                remote.port(),
                connection.queued(),
            );
        }
        for forward in &stack.forwards {
            let kind = match forward.rule.transport {
                Transport::Tcp => "TCP[HOST_FORWARD]",
                Transport::Udp => "UDP[HOST_FORWARD]",
            };
            let near = match forward.bound.ip() {
                IpAddr::V4(address) if !address.is_unspecified() => address.to_string(),
                _ => "*".to_owned(),
            };
            let guest = forward.rule.guest.unwrap_or(self.options.dhcp_start);
            row(kind, near, forward.bound.port(), guest, forward.rule.guest_port, (0, 0));
        }
        text
    }
}

impl Shared {
    fn schedule(self: &Arc<Self>, inbox: &mut Inbox) {
        if !std::mem::replace(&mut inbox.scheduled, true) {
            let shared = Arc::clone(self);
            self.events.defer(move || shared.take_inbox());
        }
    }

    /// Runs on the network's thread.
    fn take_inbox(&self) {
        self.stack.with(|stack| {
            let (mut frames, ready) = {
                let mut inbox = locked(&self.inbox);
                inbox.scheduled = false;
                inbox.bytes = 0;
                (std::mem::take(&mut inbox.frames), std::mem::take(&mut inbox.ready))
            };
            if ready {
                stack.unblock();
            }
            frames.iter().for_each(|frame| stack.receive(frame));
            let mut inbox = locked(&self.inbox);
            let free = POOL_LIMIT.saturating_sub(inbox.pool.len()).min(frames.len());
            inbox.pool.extend(frames.drain(..free));
        });
    }
}

impl NetPeer for UserNet {
    fn send(&self, frame: &[u8], _: FrameOffload) {
        let mut inbox = locked(&self.shared.inbox);
        if inbox.bytes + frame.len() > INBOX_LIMIT {
            return;
        }
        let mut buffer = inbox.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        inbox.bytes += frame.len();
        inbox.frames.push(buffer);
        self.shared.schedule(&mut inbox);
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        self.shared.stack.with(|stack| stack.link.set_receiver(receiver));
    }

    fn receive_ready(&self) {
        if self.shared.blocked.swap(false, Ordering::SeqCst) {
            let mut inbox = locked(&self.shared.inbox);
            inbox.ready = true;
            self.shared.schedule(&mut inbox);
        }
    }

    fn offloads(&self) -> Offloads {
        // Checksums are not looked at and any length will do.
        Offloads { checksum: true, tso4: true }
    }

    fn describe(&self) -> String {
        let restrict = if self.options.restrict { "on" } else { "off" };
        format!("type=user,net={},restrict={restrict}", self.options.network)
    }
}

impl Drop for UserNet {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        self.shared.events.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "user_test.rs"]
mod test;
