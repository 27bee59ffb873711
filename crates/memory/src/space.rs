//! Address spaces: what a processor or a bus master sees.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use object::Effect;

use crate::bus::{BusError, BusResult, Mmio, mmio_read, mmio_write};
use crate::flat::{FlatRange, FlatView};
use crate::region::{Region, lock};
use crate::trace;

/// Performs effects of writes that reach beyond the memory map: shutdown and reset.
pub type EffectSink = Arc<dyn Fn(Effect) + Send + Sync>;

/// Hears of every change of an address space.
pub trait Listener: Send + Sync {
    /// The view has changed; the new one is in force already. Must not change the layout itself.
    fn changed(&self, old: &FlatView, new: &FlatView);
}

/// A root region and its current flat view.
pub struct AddressSpace {
    name: String,
    root: Arc<Region>,
    view: ArcSwap<FlatView>,
    /// Raised after each change of the view; with `id` it tells whether a thread's copy is current.
    version: AtomicU64,
    id: u64,
    /// Held while a view is drawn, replaced and announced.
    drawing: Mutex<Vec<Arc<dyn Listener>>>,
    sink: ArcSwapOption<EffectSink>,
    this: Weak<Self>,
}

/// A view that a thread has used lately. Taking one from the address space costs two atomic read-modify-writes
/// on memory shared by all threads; looking whether this one is current costs a load.
struct Recent {
    id: u64,
    version: u64,
    view: Arc<FlatView>,
}

/// Slots of a thread, by the low bits of the address space's id.
const SLOTS: usize = 4;

thread_local! {
    static RECENT: [Cell<Option<Recent>>; SLOTS] = const { [const { Cell::new(None) }; SLOTS] };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Where an access of a few bytes leads.
enum Reached {
    Done(u64),
    Registers(Arc<dyn Mmio>, u64),
    Rom,
    /// Across the end of a range.
    Across,
}

impl AddressSpace {
    /// An address space that shows `root`.
    pub fn new(name: &str, root: &Arc<Region>) -> Arc<Self> {
        let space = Arc::new_cyclic(|this| Self {
            name: name.to_owned(),
            root: root.clone(),
            view: ArcSwap::from_pointee(FlatView::render(root)),
            version: AtomicU64::new(0),
            id: NEXT_ID.fetch_add(1, Relaxed),
            drawing: Mutex::default(),
            sink: ArcSwapOption::empty(),
            this: this.clone(),
        });
        root.add_space(Arc::downgrade(&space));
        // Whatever has changed between the first drawing and the registration is caught up on.
        space.redraw();
        space
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its root region.
    pub fn root(&self) -> &Arc<Region> {
        &self.root
    }
    /// The current view, to keep.
    pub fn view(&self) -> Arc<FlatView> {
        self.view.load_full()
    }
    /// Calls `look` with the current view; cheaper than [`AddressSpace::view`] for a short look.
    #[inline]
    pub fn with_view<R>(&self, look: impl FnOnce(&FlatView) -> R) -> R {
        // The copy is out of its slot while it is in use: a look within a look takes another.
        let slot = (self.id % SLOTS as u64) as usize;
        let recent = RECENT.try_with(|slots| slots[slot].take()).ok().flatten();
        let recent = match recent {
            Some(r) if r.id == self.id && r.version == self.version.load(Acquire) => r,
            _ => self.fetch(),
        };
        let result = look(&recent.view);
        let _ = RECENT.try_with(|slots| slots[slot].set(Some(recent)));
        result
    }

    #[cold]
    fn fetch(&self) -> Recent {
        // The version first: if the view is newer than it, the copy is merely replaced too soon.
        let version = self.version.load(Acquire);
        Recent { id: self.id, version, view: self.view.load_full() }
    }

    /// The range that holds `address`.
    pub fn lookup(&self, address: u64) -> Option<FlatRange> {
        self.with_view(|v| v.lookup(address).cloned())
    }

    /// Adds a listener. It hears of the current view at once, as a change from nothing.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        let mut listeners = lock(&self.drawing);
        listener.changed(&FlatView::default(), &self.view.load());
        listeners.push(listener);
    }
    /// Takes a listener away again. It hears of the current view as a change to nothing.
    pub fn unlisten(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = lock(&self.drawing);
        let before = listeners.len();
        listeners.retain(|l| !Arc::ptr_eq(l, listener));
        if listeners.len() != before {
            listener.changed(&self.view.load(), &FlatView::default());
        }
    }
    /// Says who performs shutdown and reset. Other effects are performed here.
    pub fn set_effect_sink(&self, sink: EffectSink) {
        self.sink.store(Some(Arc::new(sink)));
    }
    /// Performs the effect of a write. No device lock is held by the caller.
    #[inline]
    pub fn perform(&self, effect: Effect) {
        if !effect.is_none() {
            self.perform_some(effect);
        }
    }

    #[cold]
    fn perform_some(&self, effect: Effect) {
        let sink = self.sink.load_full();
        effect.perform(&mut |e| match &sink {
            Some(sink) => sink(e),
            None => base::guest_error!("{}: nobody performs {e:?}", self.name),
        });
    }

    pub(crate) fn redraw(&self) {
        let listeners = lock(&self.drawing);
        let new = Arc::new(FlatView::render(&self.root));
        let old = self.view.swap(new.clone());
        base::trace!(trace::NEW, "space {} ranges {}", self.name(), new.ranges().len());
        self.version.fetch_add(1, Release);
        for listener in listeners.iter() {
            listener.changed(&old, &new);
        }
    }

    /// Reads a little-endian number of `size` bytes (1, 2, 4 or 8) in one access.
    #[inline]
    pub fn read_int(&self, address: u64, size: u32) -> BusResult<u64> {
        let reached = self.with_view(|view| {
            let range = view.lookup(address).ok_or(BusError::Decode)?;
            if range.left(address) < u64::from(size) {
                return Ok(Reached::Across);
            }
            if let Some((ram, offset)) = range.readable(address) {
                return Ok(Reached::Done(ram.read_int(offset, size)));
            }
            let (mmio, offset) = range.registers(address).ok_or(BusError::Decode)?;
            Ok(Reached::Registers(mmio.clone(), offset))
        })?;
        match reached {
            Reached::Done(value) => Ok(value),
            Reached::Registers(mmio, offset) => read_registers(&*mmio, address, offset, size),
            Reached::Rom | Reached::Across => self.read_across(address, size),
        }
    }

    /// Writes a little-endian number of `size` bytes (1, 2, 4 or 8) in one access, and performs its effect.
    #[inline]
    pub fn write_int(&self, address: u64, size: u32, value: u64) -> BusResult<()> {
        let reached = self.with_view(|view| {
            let range = view.lookup(address).ok_or(BusError::Decode)?;
            if range.left(address) < u64::from(size) {
                return Ok(Reached::Across);
            }
            if let Some((ram, offset)) = range.writable(address) {
                ram.write_int(offset, size, value);
                return Ok(Reached::Done(0));
            }
            Ok(match range.registers(address) {
                Some((mmio, offset)) => Reached::Registers(mmio.clone(), offset),
                None => Reached::Rom,
            })
        })?;
        match reached {
            Reached::Done(_) => Ok(()),
            Reached::Registers(mmio, offset) => self.write_registers(mmio, offset, size, value),
            Reached::Rom => {
                base::guest_error!("Write of {size} bytes to ROM at {address:#x}");
                Err(BusError::Decode)
            }
            Reached::Across => self.write(address, &value.to_le_bytes()[..size.min(8) as usize]),
        }
    }

    #[cold]
    fn read_across(&self, address: u64, size: u32) -> BusResult<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes[..size.min(8) as usize])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_registers(&self, mmio: Arc<dyn Mmio>, offset: u64, size: u32, value: u64) -> BusResult<()> {
        if object::inside_device() {
            let space = self.this.upgrade();
            object::defer(move || {
                if let (Ok(effect), Some(space)) = (mmio_write(&*mmio, offset, size, value), space) {
                    space.perform(effect);
                }
            });
            return Ok(());
        }
        let effect = mmio_write(&*mmio, offset, size, value)?;
        self.perform(effect);
        Ok(())
    }

    /// Reads bytes. What lies in device registers is read in the largest accesses that fit. At an error what
    /// was read before it is in `out`.
    pub fn read(&self, address: u64, out: &mut [u8]) -> BusResult<()> {
        let view = self.view();
        let mut done = 0;
        while done < out.len() {
            let at = forward(address, done)?;
            let range = view.lookup(at).ok_or(BusError::Decode)?;
            let n = range.left(at).min((out.len() - done) as u64) as usize;
            let part = &mut out[done..done + n];
            if let Some((ram, offset)) = range.readable(at) {
                ram.read(offset, part);
                done += n;
            } else if let Some((mmio, offset)) = range.registers(at) {
                let size = step(&**mmio, offset, n);
                let value = read_registers(&**mmio, at, offset, size as u32)?;
                part[..size].copy_from_slice(&value.to_le_bytes()[..size]);
                done += size;
            }
        }
        Ok(())
    }

    /// Writes bytes, performing the effects as they come.
    pub fn write(&self, address: u64, data: &[u8]) -> BusResult<()> {
        self.write_bytes(address, data, false)
    }

    /// Writes bytes as a loader or a debugger does: ROM is written too, devices are not.
    pub fn write_rom(&self, address: u64, data: &[u8]) -> BusResult<()> {
        self.write_bytes(address, data, true)
    }

    fn write_bytes(&self, address: u64, data: &[u8], loader: bool) -> BusResult<()> {
        let view = self.view();
        let mut done = 0;
        while done < data.len() {
            let at = forward(address, done)?;
            let range = view.lookup(at).ok_or(BusError::Decode)?;
            let n = range.left(at).min((data.len() - done) as u64) as usize;
            let ram = if loader { range.readable(at) } else { range.writable(at) };
            if let Some((ram, offset)) = ram {
                ram.write(offset, &data[done..done + n]);
                done += n;
            } else if let Some((mmio, offset)) = range.registers(at).filter(|_| !loader) {
                let size = step(&**mmio, offset, n);
                let value = base::Endian::Little.number(&data[done..done + size]);
                self.write_registers(mmio.clone(), offset, size as u32, value)?;
                done += size;
            } else {
                base::guest_error!("Write of {n} bytes to ROM at {at:#x}");
                return Err(BusError::Decode);
            }
        }
        Ok(())
    }
}

fn forward(address: u64, done: usize) -> BusResult<u64> {
    address.checked_add(done as u64).ok_or(BusError::Decode)
}

fn read_registers(mmio: &dyn Mmio, address: u64, offset: u64, size: u32) -> BusResult<u64> {
    if object::inside_device() {
        base::guest_error!("A device cannot read the registers of another at {address:#x}");
        return Err(BusError::Refused);
    }
    mmio_read(mmio, offset, size)
}

/// The largest access that a transfer of `n` bytes can make at `offset`.
fn step(mmio: &dyn Mmio, offset: u64, n: usize) -> usize {
    let access = mmio.access();
    let mut size = (n.min(access.valid_max.min(8) as usize)).max(1);
    if !access.unaligned && offset != 0 {
        size = size.min(1 << offset.trailing_zeros().min(3));
    }
    1 << size.ilog2()
}

impl fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressSpace({}, root {})", self.name, self.root.name())
    }
}

thread_local! {
    static TRANSACTION: RefCell<Option<Vec<Arc<AddressSpace>>>> = const { RefCell::new(None) };
}

/// Makes several changes of the layout at once: each address space is drawn once, at the end. May be nested.
pub fn transaction<R>(change: impl FnOnce() -> R) -> R {
    let outermost = TRANSACTION.with_borrow_mut(|t| t.is_none() && t.insert(Vec::new()).is_empty());
    let result = change();
    if outermost {
        let spaces = TRANSACTION.with_borrow_mut(Option::take);
        spaces.into_iter().flatten().for_each(|s| s.redraw());
    }
    result
}

/// A region has changed: the address spaces in which it can be seen are drawn again.
pub(crate) fn layout_changed(region: &Arc<Region>) {
    let spaces = region.affected();
    let waiting = TRANSACTION.with_borrow_mut(|t| match t {
        Some(pending) => {
            for space in &spaces {
                if !pending.iter().any(|p| Arc::ptr_eq(p, space)) {
                    pending.push(space.clone());
                }
            }
            true
        }
        None => false,
    });
    if !waiting {
        spaces.iter().for_each(|s| s.redraw());
    }
}

#[cfg(test)]
#[path = "space_test.rs"]
mod test;
