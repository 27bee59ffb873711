//! The multiplexer: several front ends (a console, a monitor) share one back end.
//!
//! The keyboard goes to the front end in focus. The escape character, Ctrl-A unless told otherwise, starts a
//! command of one key. Output of all front ends goes to the back end as it comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use events::{Clock, EventLoop};

use super::{CharEvent, CharPort, CharReceiver, ReceiverSlot};

/// How many keys wait for a front end that does not read. Escapes are seen as long as there is room.
const QUEUE_LIMIT: usize = 4096;

/// What the keys of the escape do outside the multiplexer.
pub struct MuxActions {
    /// `x`: end the program.
    pub quit: Box<dyn Fn() + Send + Sync>,
    /// `s`: write temporary changes of all disks back.
    pub commit: Box<dyn Fn() + Send + Sync>,
    /// The escape character; Ctrl-A is 1.
    pub escape: u8,
}

/// A multiplexer over one back end.
pub struct Mux {
    events: EventLoop,
    base: Arc<dyn CharPort>,
    actions: Arc<MuxActions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fronts: Vec<Arc<Front>>,
    focus: usize,
    /// The escape character was the last key.
    escaped: bool,
    /// When the time stamps were switched on.
    stamps: Option<u64>,
    /// The next byte of output begins a line.
    line_start: bool,
    open: bool,
}

#[derive(Default)]
struct Front {
    receiver: ReceiverSlot,
    queue: Mutex<VecDeque<u8>>,
    /// Keys wait until the receiver has room.
    held: AtomicBool,
    /// The present receiver has heard that the back end is connected.
    announced: AtomicBool,
}

struct MuxPort {
    mux: Arc<Mux>,
    front: Arc<Front>,
}

/// The multiplexer's ear at the back end.
struct Ear(Weak<Mux>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mux {
    /// Puts a multiplexer over `base`.
    pub fn new(events: &EventLoop, base: Arc<dyn CharPort>, actions: Arc<MuxActions>) -> Arc<Mux> {
        let mux = Arc::new(Mux { events: events.clone(), base, actions, state: Mutex::default() });
        mux.base.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&mux)))));
        mux
    }

    /// One more front end. The first has the focus.
    pub fn attach(self: &Arc<Mux>) -> Arc<dyn CharPort> {
        let front = Arc::new(Front::default());
        locked(&self.state).fronts.push(Arc::clone(&front));
        Arc::new(MuxPort { mux: Arc::clone(self), front })
    }

    /// The back end below.
    pub fn base(&self) -> &Arc<dyn CharPort> {
        &self.base
    }

    /// How many front ends there are.
    pub fn fronts(&self) -> usize {
        locked(&self.state).fronts.len()
    }

    /// Gives the keyboard to front end number `index`, counted in the order of attaching.
    pub fn set_focus(&self, index: usize) {
        let (old, new) = {
            let mut state = locked(&self.state);
            let Some(new) = state.fronts.get(index).cloned() else { return };
            let old = state.fronts.get(state.focus).cloned();
            state.focus = index;
            (old, new)
        };
        if let Some(old) = old {
            old.deliver();
            if let Some(receiver) = old.receiver.get() {
                receiver.event(CharEvent::FocusOut);
            }
        }
        if let Some(receiver) = new.receiver.get() {
            receiver.event(CharEvent::FocusIn);
        }
        new.deliver();
        self.base.receive_ready();
    }

    /// Tells the front end in focus of a break.
    pub fn send_break(&self) {
        if let Some(front) = self.focused() {
            front.deliver();
            if let Some(receiver) = front.receiver.get() {
                receiver.event(CharEvent::Break);
            }
        }
    }

    fn focused(&self) -> Option<Arc<Front>> {
        let state = locked(&self.state);
        state.fronts.get(state.focus).cloned()
    }

    fn key(&self, key: u8) {
        let escape = self.actions.escape;
        let escaped = std::mem::replace(&mut locked(&self.state).escaped, false);
        match key {
            _ if key == escape && !escaped => locked(&self.state).escaped = true,
            _ if !escaped || key == escape => {
                if let Some(front) = self.focused() {
                    locked(&front.queue).push_back(key);
                }
            }
            b'?' | b'h' => self.print(&help(escape)),
            b'x' => {
                self.print("QEMU: Terminated\n\r");
                (self.actions.quit)();
            }
            b's' => (self.actions.commit)(),
            b'b' => self.send_break(),
            b'c' => {
                let next = {
                    let state = locked(&self.state);
                    (state.focus + 1) % state.fronts.len().max(1)
                };
                self.set_focus(next);
            }
            b't' => {
                let mut state = locked(&self.state);
                let now = self.events.clocks().now_ns(Clock::Realtime);
                state.stamps = if state.stamps.is_some() { None } else { Some(now) };
                state.line_start = false;
            }
            _ => {}
        }
    }

    fn print(&self, text: &str) {
        let _ = self.base.write(text.as_bytes());
    }

    fn write(&self, bytes: &[u8]) -> usize {
        let mut state = locked(&self.state);
        let Some(started) = state.stamps else {
            drop(state);
            return self.base.write(bytes);
        };
        let mut taken = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if state.line_start {
                let elapsed = self.events.clocks().now_ns(Clock::Realtime).saturating_sub(started);
                self.print(&stamp(elapsed / 1_000_000));
                state.line_start = false;
            }
            let count = self.base.write(line);
            taken += count;
            if count < line.len() {
                break;
            }
            state.line_start = line.ends_with(b"\n");
        }
        taken
    }

    fn each_receiver(&self, tell: impl Fn(&dyn CharReceiver)) {
        let fronts = locked(&self.state).fronts.clone();
        for receiver in fronts.iter().filter_map(|front| front.receiver.get()) {
            tell(&*receiver);
        }
    }
}

/// The stamp of a line, from milliseconds.
fn stamp(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("[{:02}:{:02}:{:02}.{:03}] ", seconds / 3600, seconds / 60 % 60, seconds % 60, ms % 1000)
}

fn help(escape: u8) -> String {
    let name = match escape {
        1..=26 => format!("C-{}", char::from(escape - 1 + b'a')),
        _ => format!("{escape:#04x}"),
    };
    let keys = [
        ("h", "   print this help"),
        ("x", "   exit emulator"),
        ("s", "   save disk data back to file (if -snapshot)"),
        ("t", "   toggle console timestamps"),
        ("b", "   send break (magic sysrq)"),
        ("c", "   switch between console and monitor"),
    ];
    let mut text = "\n\r".to_owned();
    for (key, meaning) in keys {
        text += &format!("{name} {key} {meaning}\n\r");
    }
    text + &format!("{name} {name}  sends {name}\n\r")
}

impl Front {
    /// Hands the queue over as far as there is room. Main-loop thread only.
    fn deliver(&self) {
        loop {
            let Some(receiver) = self.receiver.get() else { return };
            let bytes: Vec<u8> = {
                let mut queue = locked(&self.queue);
                if queue.is_empty() {
                    self.held.store(false, Ordering::SeqCst);
                    return;
                }
                // Set before the room is asked for: room that appears later is announced with a call.
                self.held.store(true, Ordering::SeqCst);
                let room = receiver.room().min(queue.len());
                queue.drain(..room).collect()
            };
            if bytes.is_empty() {
                return;
            }
            receiver.receive(&bytes);
        }
    }
}

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        let front = self.0.upgrade().and_then(|mux| mux.focused());
        front.map_or(QUEUE_LIMIT, |front| QUEUE_LIMIT.saturating_sub(locked(&front.queue).len()))
    }

    fn receive(&self, bytes: &[u8]) {
        let Some(mux) = self.0.upgrade() else { return };
        bytes.iter().for_each(|key| mux.key(*key));
        if let Some(front) = mux.focused() {
            front.deliver();
        }
    }

    fn event(&self, event: CharEvent) {
        let Some(mux) = self.0.upgrade() else { return };
        match event {
            CharEvent::Opened => locked(&mux.state).open = true,
            CharEvent::Closed => locked(&mux.state).open = false,
            _ => {}
        }
        let fronts = locked(&mux.state).fronts.clone();
        for front in fronts {
            let announced = match event {
                CharEvent::Opened => front.announced.swap(true, Ordering::SeqCst),
                CharEvent::Closed => !front.announced.swap(false, Ordering::SeqCst),
                _ => false,
            };
            if let (false, Some(receiver)) = (announced, front.receiver.get()) {
                receiver.event(event);
            }
        }
    }

    fn writable(&self) {
        if let Some(mux) = self.0.upgrade() {
            mux.each_receiver(|receiver| receiver.writable());
        }
    }
}

impl CharPort for MuxPort {
    fn write(&self, bytes: &[u8]) -> usize {
        self.mux.write(bytes)
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.front.receiver.set(receiver);
        self.front.announced.store(false, Ordering::SeqCst);
        let (mux, front) = (Arc::downgrade(&self.mux), Arc::downgrade(&self.front));
        self.mux.events.defer(move || {
            let (Some(mux), Some(front)) = (mux.upgrade(), front.upgrade()) else { return };
            let open = locked(&mux.state).open;
            if let Some(receiver) = front.receiver.get()
                && open
            {
                if !front.announced.swap(true, Ordering::SeqCst) {
                    receiver.event(CharEvent::Opened);
                }
                if mux.focused().is_some_and(|focused| Arc::ptr_eq(&focused, &front)) {
                    receiver.event(CharEvent::FocusIn);
                }
            }
            front.deliver();
        });
    }

    fn receive_ready(&self) {
        if self.front.held.swap(false, Ordering::SeqCst) {
            let (mux, front) = (Arc::downgrade(&self.mux), Arc::downgrade(&self.front));
            self.mux.events.defer(move || {
                if let (Some(mux), Some(front)) = (mux.upgrade(), front.upgrade()) {
                    front.deliver();
                    mux.base.receive_ready();
                }
            });
        }
    }

    fn describe(&self) -> String {
        "mux".to_owned()
    }

    fn flush(&self) {
        self.mux.base.flush();
    }
}

#[cfg(test)]
#[path = "mux_test.rs"]
mod test;
