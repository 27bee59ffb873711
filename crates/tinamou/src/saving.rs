//! Snapshots of the machine under control: memory and devices by the crate `migration`, disks by their own logs.
//!
//! ```text
//! savevm --> Saving::save --> Control::hold --> drain requests --> capture --> disks begin logs --> Store::commit
//! loadvm --> Saving::load --> Control::hold --> drain requests --> disks rewind --> Machine::restore or rewind
//! ```
//! All of it happens on the main loop's thread, on which whatever comes from outside (keys, frames) comes too: with the
//! vCPUs stopped and the disks' requests drained, nothing moves.

mod commands;
mod disks;
mod moving;

use crate::control::Control;
use backends::block::Blocks;
use base::{Result, error};
pub use commands::{COMMANDS, INFO};
use cpu::RunState;
use disks::Disks;
use events::{Clock, EventLoop};
use migration::{Draft, Entry, Image, Machine, Parts, Progress, Store};
use moving::Moving;
use state::{Loader, Saved, Saver, State, StateError};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The guest's clock, as it is saved; it stands still meanwhile. And whether it ran before that.
struct GuestClock {
    events: EventLoop,
    ran: Arc<AtomicBool>,
}

#[derive(Default, State)]
#[state(name = "clock")]
struct ClockState {
    virtual_ns: u64,
    /// For a machine that comes from another process: whether it is to go on.
    ran: bool,
}

impl Saved for GuestClock {
    fn section(&self) -> &'static str {
        ClockState::NAME
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        let virtual_ns = self.events.clocks().now_ns(Clock::Virtual);
        out.section(instance, &ClockState { virtual_ns, ran: self.ran.load(SeqCst) });
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> std::result::Result<(), StateError> {
        let mut state = ClockState::default();
        from.section(instance, &mut state)?;
        self.events.clocks().set_virtual(state.virtual_ns);
        self.ran.store(state.ran, SeqCst);
        Ok(())
    }
}

/// Where a snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In the store beside the image.
    OnDisk,
    /// In memory: a point to come back to many times, gone with the program.
    InMemory,
}

/// What is saved, and where.
pub struct Saving {
    parts: Parts,
    disks: Disks,
    store: Mutex<Store>,
    /// The snapshot since which memory keeps a bitmap of what is written.
    base: Mutex<Option<Arc<Image>>>,
    /// Whether the machine ran when it was stopped to be saved, or the one that has been loaded did.
    ran: Arc<AtomicBool>,
    moving: Moving,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Saving {
    /// For a machine with these drives. Without a `directory` the store is beside the first disk's image, or in the
    /// current directory.
    pub fn new(
        events: &EventLoop,
        mut parts: Parts,
        blocks: Arc<Mutex<Blocks>>,
        directory: Option<PathBuf>,
    ) -> Saving {
        let ran = Arc::new(AtomicBool::new(false));
        parts.first.push(Arc::new(GuestClock { events: events.clone(), ran: ran.clone() }));
        let disks = Disks::new(blocks);
        let beside = || disks.first_image().map(|path| PathBuf::from(format!("{path}.snapshots")));
        let directory = directory.or_else(beside).unwrap_or_else(|| "tinamou.snapshots".into());
        let store = Store::new(directory);
        // What the disks do from now on belongs to the past of the snapshots that exist.
        for entry in store.entries().unwrap_or_default() {
            disks.attach(&entry.tag, &|disk| store.disk_file(entry.id, disk));
        }
        let (store, base) = (Mutex::new(store), Mutex::default());
        Saving { parts, disks, store, base, ran, moving: Moving::default() }
    }

    /// Ids of the disks that take part.
    pub fn disks(&self) -> Vec<String> {
        self.disks.ids()
    }

    /// How a migration stands.
    pub fn migration(&self) -> &Progress {
        &self.moving.progress
    }

    /// The machine as it is now.
    fn machine(&self, control: &Control) -> Machine {
        Machine::new(&self.parts, &control.devices())
    }

    /// All snapshots.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        lock(&self.store).entries()
    }

    /// Takes a snapshot. One with the same tag is replaced; without a tag it gets one that tells the time.
    ///
    /// # Errors
    /// A disk cannot be saved, or the host fails. The old snapshots are as they were; the machine goes on.
    pub fn save(&self, control: &Control, tag: Option<&str>, keep: Keep) -> Result<()> {
        self.check_at_rest(control)?;
        self.disks.check()?;
        if keep == Keep::InMemory
            && let Some(tag) = tag
            && lock(&self.store).is_on_disk(tag)?
        {
            return Err(error!("Snapshot '{tag}' is on disk already"));
        }
        let before = control.hold(RunState::SaveVm);
        self.ran.store(before == RunState::Running, SeqCst);
        let result = self.take(control, tag, keep);
        control.go_on(before);
        result
    }

    /// Takes a snapshot of a machine that stands still.
    ///
    /// # Errors
    /// As [`Saving::save`].
    pub fn take(&self, control: &Control, tag: Option<&str>, keep: Keep) -> Result<()> {
        if control.replay().is_some() && control.is_busy() {
            return Err(error!("a request to a disk is under way, which cannot be recorded; try again"));
        }
        let (machine, clock) = (self.machine(control), control.events().clocks().clone());
        control.drain();
        let entry = Entry::now(tag, clock.now_ns(Clock::Virtual), self.disks.ids());
        let image = match keep {
            Keep::OnDisk => self.save_on_disk(&machine, entry)?,
            Keep::InMemory => self.save_in_memory(&machine, entry)?,
        };
        machine.mark();
        *lock(&self.base) = Some(image);
        Ok(())
    }

    /// Refuses to save or load in the middle of a migration.
    fn check_at_rest(&self, control: &Control) -> Result<()> {
        match control.state() {
            RunState::InMigrate => Err(error!("Guest is waiting for an incoming migration")),
            _ if self.moving.progress.status().is_under_way() => {
                Err(error!("There's a migration process in progress"))
            }
            _ => Ok(()),
        }
    }

    fn save_on_disk(&self, machine: &Machine, mut entry: Entry) -> Result<Arc<Image>> {
        let mut store = lock(&self.store);
        let draft = store.begin()?;
        let base = lock(&self.base).clone();
        let written = write(machine, base.as_deref(), &store, &draft, &mut entry);
        let logs = written.and_then(|()| self.disks.begin(|disk| store.disk_file(draft.id, disk)));
        let logs = match logs {
            Ok(logs) => logs,
            Err(error) => {
                store.abandon(draft);
                return Err(error);
            }
        };
        let (id, tag) = (draft.id, entry.tag.clone());
        if let Err(error) = store.commit(draft, entry) {
            Disks::forget(&logs);
            return Err(error);
        }
        self.disks.enter(&tag, logs);
        Ok(Arc::new(Image::open(&store.state_file(id))?))
    }

    fn save_in_memory(&self, machine: &Machine, mut entry: Entry) -> Result<Arc<Image>> {
        let mut bytes = Vec::new();
        let base = lock(&self.base).clone();
        entry.size = migration::capture(machine, base.as_deref(), &mut bytes)?;
        let image = Arc::new(Image::in_memory(bytes)?);
        let logs = self.disks.begin_in_memory()?;
        self.disks.enter(&entry.tag, logs);
        lock(&self.store).keep(entry, image.clone());
        Ok(image)
    }

    /// Takes the machine back to a snapshot. It runs afterwards if it did before.
    ///
    /// # Errors
    /// There is none with this tag, or it does not fit: then nothing has changed. If reading it fails in the middle the
    /// machine stays stopped.
    pub fn load(&self, control: &Control, tag: &str) -> Result<()> {
        self.check_at_rest(control)?;
        if control.replay().is_some() && !control.is_replaying() {
            return Err(error!("a recording cannot go back"));
        }
        let (entry, image) = lock(&self.store).open(tag)?;
        self.machine(control).origin.check(&image.origin)?;
        self.disks.check_jobs()?;
        self.disks.fits(&entry)?;
        let before = control.hold(RunState::RestoreVm);
        match self.put_back(control, tag, image) {
            Ok(()) => {
                // A machine that had ended has not ended any more.
                control.go_on(if before.needs_reset() { RunState::Paused } else { before });
                Ok(())
            }
            Err(error) => {
                control.go_on(if before == RunState::Running { RunState::Paused } else { before });
                Err(error.prefix("Error while loading VM state: "))
            }
        }
    }

    /// Takes a machine that stands still back to a snapshot in memory.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn go_back(&self, control: &Control, tag: &str) -> Result<()> {
        let (_, image) = lock(&self.store).open(tag)?;
        self.put_back(control, tag, image)
    }

    fn put_back(&self, control: &Control, tag: &str, image: Arc<Image>) -> Result<()> {
        let machine = self.machine(control);
        control.drain();
        let mut base = lock(&self.base);
        // Without a base the bitmaps say nothing, should this fail.
        let same = base.take().filter(|base| Arc::ptr_eq(base, &image) || base.is(&image));
        self.disks.rewind(tag)?;
        match &same {
            Some(base) => machine.rewind(base)?,
            None => machine.restore(&image)?,
        }
        if control.events().clocks().icount().is_some() {
            // Disks look for what they had not finished, which was nothing: no timer is to come for it.
            control.drain();
        }
        machine.mark();
        *base = Some(same.unwrap_or(image));
        Ok(())
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// There is none with this tag, or the store cannot be written.
    pub fn delete(&self, tag: &str) -> Result<()> {
        lock(&self.store).delete(tag)?;
        self.disks.drop_tag(tag);
        Ok(())
    }

    /// The program ends: the disks' images will not be changed by it any more.
    pub fn close(&self) {
        self.disks.close();
    }
}

fn write(
    machine: &Machine,
    base: Option<&Image>,
    store: &Store,
    draft: &Draft,
    entry: &mut Entry,
) -> Result<()> {
    let path = store.state_file(draft.id);
    let failed = |e: std::io::Error| error!("Could not create '{}': {e}", path.display());
    let file = File::create(&path).map_err(failed)?;
    let written = AtomicBool::new(false);
    entry.size = thread::scope(|scope| {
        // What has been written goes to the medium while the rest is being packed.
        scope.spawn(|| {
            while !written.load(SeqCst) {
                thread::sleep(Duration::from_millis(20));
                let _ = file.sync_data();
            }
        });
        let size = migration::capture(machine, base, BufWriter::with_capacity(1 << 20, &file));
        written.store(true, SeqCst);
        size
    })?;
    file.sync_data().map_err(failed)
}
