//! The common part of all ports that are file descriptors: queued output, throttled input, connecting.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use events::{EventLoop, FdWatch, Interest, Ready};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

use super::{CharEvent, CharReceiver, ReceiverSlot, trace};

/// How much output may wait for the main loop. A serial port's writes are single bytes, so that this is what
/// lets the vCPU run ahead of a slow terminal.
const OUTPUT_LIMIT: usize = 64 << 10;
const INPUT_CHUNK: usize = 4096;
/// How long the end of the program waits for output that nobody reads.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// A descriptor to write to, with the way of not blocking that suits it.
#[derive(Clone)]
pub(crate) enum Sink {
    /// Its open file description is ours and non-blocking, or it is a regular file.
    Own(Arc<File>),
    /// A socket, which can be asked not to block in each call.
    Socket(Arc<OwnedFd>),
    /// Shared with others and blocking: only after a poll, and little at a time.
    Shared(Arc<File>),
}

impl Sink {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Own(file) => (&**file).write(bytes),
            Sink::Socket(fd) => Ok(send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Sink::Shared(file) => {
                let mut fds = [PollFd::new(&**file, PollFlags::OUT)];
                if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                (&**file).write(&bytes[..bytes.len().min(256)])
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Sink::Own(file) | Sink::Shared(file) => file.as_fd(),
            Sink::Socket(fd) => fd.as_fd(),
        }
    }
}

#[derive(Default)]
struct Output {
    queue: VecDeque<u8>,
    sink: Option<Sink>,
    watch: Option<FdWatch>,
    /// The main loop is going to empty the queue: work is deferred or the watch waits for room.
    scheduled: bool,
    /// A write was cut short and the receiver has not been told of the new room.
    refused: bool,
}

#[derive(Default)]
struct Input {
    source: Option<Arc<File>>,
    /// The source is a socket, through which descriptors may come.
    socket: bool,
    watch: Option<FdWatch>,
    /// Tells callbacks of an earlier connection from the present one.
    generation: u64,
}

type OnHangup = Box<dyn Fn() + Send + Sync>;

/// One port's connection to the host.
pub(crate) struct Stream {
    events: EventLoop,
    receiver: ReceiverSlot,
    output: Mutex<Output>,
    input: Mutex<Input>,
    input_held: AtomicBool,
    connected: AtomicBool,
    /// The present receiver has heard that the port is connected.
    announced: AtomicBool,
    /// Called on the main-loop thread when the other side has gone.
    on_hangup: Mutex<Option<Arc<OnHangup>>>,
    this: Weak<Stream>,
}

static STREAMS: Mutex<Vec<Weak<Stream>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes out what all character back ends have queued, waiting a little if need be. For every end of the
/// program: output is otherwise written by the main loop, which then no longer runs.
pub fn flush_all() {
    let streams: Vec<_> = locked(&STREAMS).iter().filter_map(Weak::upgrade).collect();
    streams.iter().for_each(|stream| stream.flush());
}

impl Stream {
    pub(crate) fn new(events: &EventLoop) -> Arc<Stream> {
        let stream = Arc::new_cyclic(|this| Stream {
            events: events.clone(),
            receiver: ReceiverSlot::default(),
            output: Mutex::default(),
            input: Mutex::default(),
            input_held: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            on_hangup: Mutex::default(),
            this: Weak::clone(this),
        });
        let mut streams = locked(&STREAMS);
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(&stream));
        drop(streams);
        stream
    }

    pub(crate) fn on_hangup(&self, callback: impl Fn() + Send + Sync + 'static) {
        *locked(&self.on_hangup) = Some(Arc::new(Box::new(callback)));
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Connects the port. Both descriptors are watched, so they must have different numbers.
    pub(crate) fn attach(&self, source: Option<File>, sink: Option<Sink>) -> io::Result<()> {
        let socket = matches!(sink, Some(Sink::Socket(_)));
        if let Some(sink) = sink {
            let this = Weak::clone(&self.this);
            let watch = self.events.add_fd(sink.clone(), Interest::NONE, move |_| {
                if let Some(this) = this.upgrade() {
                    this.drain();
                }
            })?;
            let mut output = locked(&self.output);
            output.queue.clear();
            output.sink = Some(sink);
            output.watch = Some(watch);
            output.scheduled = false;
        }
        if let Some(source) = source {
            let source = Arc::new(source);
            let mut input = locked(&self.input);
            input.generation += 1;
            let (this, generation) = (Weak::clone(&self.this), input.generation);
            let watch = self.events.add_fd(Arc::clone(&source), Interest::READ, move |ready: Ready| {
                if let Some(this) = this.upgrade() {
                    this.input_ready(ready, generation);
                }
            })?;
            input.source = Some(source);
            input.socket = socket;
            input.watch = Some(watch);
            self.input_held.store(false, Ordering::Release);
        }
        self.connected.store(true, Ordering::Release);
        self.announce();
        Ok(())
    }

    fn announce(&self) {
        if self.is_connected()
            && let Some(receiver) = self.receiver.get()
            && !self.announced.swap(true, Ordering::AcqRel)
        {
            receiver.event(CharEvent::Opened);
        }
    }

    /// Drops the connection; what is queued is lost.
    pub(crate) fn detach(&self) {
        let was = self.connected.swap(false, Ordering::AcqRel);
        let output = std::mem::take(&mut *locked(&self.output));
        let watch = self.stop_input();
        if output.refused
            && let Some(receiver) = self.receiver.get()
        {
            receiver.writable();
        }
        drop((output, watch));
        if was && self.announced.swap(false, Ordering::AcqRel) {
            self.event(CharEvent::Closed);
        }
    }

    fn stop_input(&self) -> (Option<FdWatch>, Option<Arc<File>>) {
        let mut input = locked(&self.input);
        input.generation += 1;
        (input.watch.take(), input.source.take())
    }

    /// Tells the receiver of an event.
    pub(crate) fn event(&self, event: CharEvent) {
        base::trace!(trace::EVENT, "{event:?}");
        if let Some(receiver) = self.receiver.get() {
            receiver.event(event);
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        let mut output = locked(&self.output);
        if output.sink.is_none() {
            return bytes.len();
        }
        let taken = bytes.len().min(OUTPUT_LIMIT.saturating_sub(output.queue.len()));
        output.queue.extend(&bytes[..taken]);
        output.refused |= taken < bytes.len();
        let schedule = taken > 0 && !std::mem::replace(&mut output.scheduled, true);
        drop(output);
        if schedule {
            let this = Weak::clone(&self.this);
            self.events.defer(move || {
                if let Some(this) = this.upgrade() {
                    this.drain();
                }
            });
        }
        taken
    }

    /// Writes what the host takes now. Runs on the main-loop thread.
    fn drain(&self) {
        let mut output = locked(&self.output);
        let blocked = push_out(&mut output);
        output.scheduled = blocked;
        if let Some(watch) = &output.watch {
            watch.set_interest(if blocked { Interest::WRITE } else { Interest::NONE });
        }
        let tell = output.queue.len() < OUTPUT_LIMIT / 2 && std::mem::take(&mut output.refused);
        drop(output);
        if tell && let Some(receiver) = self.receiver.get() {
            receiver.writable();
        }
    }

    pub(crate) fn flush(&self) {
        let end = Instant::now() + FLUSH_LIMIT;
        let mut output = locked(&self.output);
        while push_out(&mut output) && Instant::now() < end {
            let Some(sink) = &output.sink else { return };
            let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut [PollFd::new(sink, PollFlags::OUT)], Some(&pause));
        }
    }

    pub(crate) fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.receiver.set(receiver);
        self.announced.store(false, Ordering::Release);
        self.receive_ready();
        let this = Weak::clone(&self.this);
        self.events.defer(move || {
            if let Some(this) = this.upgrade() {
                this.announce();
            }
        });
    }

    pub(crate) fn receive_ready(&self) {
        if self.input_held.swap(false, Ordering::AcqRel)
            && let Some(watch) = &locked(&self.input).watch
        {
            watch.set_interest(Interest::READ);
        }
    }

    /// Stops reading until [`Stream::receive_ready`], unless the receiver has got room meanwhile.
    fn hold_input(&self) -> usize {
        if let Some(watch) = &locked(&self.input).watch {
            watch.set_interest(Interest::NONE);
        }
        self.input_held.store(true, Ordering::SeqCst);
        // Room that came before the flag was set would otherwise never be announced.
        let room = self.room();
        if room > 0 {
            self.receive_ready();
        }
        room
    }

    fn room(&self) -> usize {
        self.receiver.get().map_or(0, |receiver| receiver.room())
    }

    fn input_ready(&self, ready: Ready, generation: u64) {
        let (source, socket) = {
            let input = locked(&self.input);
            match &input.source {
                Some(source) if input.generation == generation => (source.clone(), input.socket),
                _ => return,
            }
        };
        // Input that was there before anybody could be told of the connection comes after that.
        self.announce();
        let room = match self.room() {
            0 => self.hold_input(),
            room => room,
        };
        if room == 0 {
            return;
        }
        let mut bytes = [0; INPUT_CHUNK];
        let mut fds = Vec::new();
        let space = &mut bytes[..room.min(INPUT_CHUNK)];
        let got = if socket { receive(&source, space, &mut fds) } else { (&*source).read(space) };
        match got {
            Ok(0) => self.hung_up(),
            Ok(count) => {
                if let Some(receiver) = self.receiver.get() {
                    if !fds.is_empty() {
                        receiver.receive_fds(fds);
                    }
                    base::trace!(trace::RECEIVE, "bytes {count}");
                    receiver.receive(&bytes[..count]);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                if ready.hangup && !ready.readable {
                    self.hung_up();
                }
            }
            Err(_) => self.hung_up(),
        }
    }

    fn hung_up(&self) {
        let callback = locked(&self.on_hangup).clone();
        match callback {
            Some(callback) => callback(),
            None => {
                // Input has ended; output may still be wanted, as with a script on standard input.
                let watch = self.stop_input();
                drop(watch);
                self.event(CharEvent::Closed);
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The most descriptors taken at once.
const MOST_FDS: usize = 16;

/// Reads from a socket, with the descriptors that come along.
fn receive(source: &File, space: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(source, &mut [IoSliceMut::new(space)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    Ok(got.bytes)
}

/// Writes until the queue is empty or the host takes no more; says whether the latter.
fn push_out(output: &mut Output) -> bool {
    let Output { queue, sink: Some(sink), .. } = output else {
        output.queue.clear();
        return false;
    };
    while !queue.is_empty() {
        match sink.write(queue.as_slices().0) {
            Ok(count) => drop(queue.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The reading side has gone or the disk is full: nobody to tell.
            Err(_) => queue.clear(),
        }
    }
    false
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod test;
