//! What a device has of its disk: a node that stays while the medium under it is another.
//!
//! ```text
//! device --> throttle --> faults --> counts --> watchers --> medium
//! ```
//! A request holds the medium shared; who exchanges it holds it alone, so that no request is under way then. Watchers are
//! the jobs that copy the disk while it is in use.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::faults::{Fault, Faults, IoStatus};
use super::stats::BlockStats;
use super::throttle::{Limits, Throttle};
use super::trace;
use super::{BlockDevice, ErrorAction, Past, RawOptions};
use crate::Error;

/// Hears of all changes of a disk, with the medium held.
pub trait Watcher: Send + Sync {
    /// The range of `medium` is about to change.
    fn before_write(&self, medium: &dyn BlockDevice, offset: u64, len: u64);
    /// It may have changed.
    fn after_write(&self, offset: u64, len: u64);
}

type Resized = Box<dyn Fn() + Send + Sync>;

/// A disk in use.
pub struct Node {
    medium: RwLock<Arc<dyn BlockDevice>>,
    stats: Arc<BlockStats>,
    throttle: Throttle,
    faults: Faults,
    watchers: RwLock<Vec<Arc<dyn Watcher>>>,
    resized: Mutex<Option<Resized>>,
    /// The kind of the job that is at work on it.
    job: Mutex<Option<&'static str>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// A node over a medium.
    pub fn new(medium: Arc<dyn BlockDevice>) -> Node {
        Node {
            medium: RwLock::new(medium),
            stats: Arc::default(),
            throttle: Throttle::new(),
            faults: Faults::default(),
            watchers: RwLock::default(),
            resized: Mutex::default(),
            job: Mutex::default(),
        }
    }

    /// What has passed.
    pub fn stats(&self) -> &Arc<BlockStats> {
        &self.stats
    }

    /// The medium; it stays as long as the guard is held.
    pub fn medium(&self) -> RwLockReadGuard<'_, Arc<dyn BlockDevice>> {
        self.medium.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The medium, with no request under way: it may be exchanged.
    pub fn at_rest(&self) -> RwLockWriteGuard<'_, Arc<dyn BlockDevice>> {
        self.medium.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The I/O limits.
    pub fn limits(&self) -> Limits {
        self.throttle.limits()
    }

    /// Sets the I/O limits; those who wait are measured by the new ones.
    pub fn set_limits(&self, limits: Limits) {
        self.throttle.set(limits);
    }

    /// Whether requests pass at once whatever the limits say: somebody waits for the disk to be at rest.
    pub fn hurry(&self, hurry: bool) {
        self.throttle.hurry(hurry);
    }

    /// What is done about the host's errors.
    pub fn set_actions(&self, on_write: ErrorAction, on_read: ErrorAction) {
        self.faults.set_actions(on_write, on_read);
    }

    /// The same, where something is said.
    pub fn change_actions(&self, on_write: Option<ErrorAction>, on_read: Option<ErrorAction>) {
        self.faults.change_actions(on_write, on_read);
    }

    /// Who hears of the host's errors, on the thread of the request; may be said once.
    pub fn on_fault(&self, listener: impl Fn(&Fault) + Send + Sync + 'static) {
        self.faults.listen(Box::new(listener));
    }

    /// Whether the machine has stopped for an error of this disk.
    pub fn status(&self) -> IoStatus {
        self.faults.status()
    }

    /// The machine goes on: requests that wait because of an error are tried again.
    pub fn retry(&self) {
        self.faults.retry();
    }

    /// Requests that wait because of an error fail, and if the program has `ended`, none will wait any more.
    pub fn give_up(&self, ended: bool) {
        self.faults.give_up(ended);
    }

    /// Who is told when the disk has another size.
    pub fn on_resize(&self, listener: impl Fn() + Send + Sync + 'static) {
        *lock(&self.resized) = Some(Box::new(listener));
    }

    /// Whether the device that has it can be told of another size.
    pub fn can_tell_size(&self) -> bool {
        lock(&self.resized).is_some()
    }

    /// Gives the disk another size.
    ///
    /// # Errors
    /// It cannot have it.
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        self.medium().resize(len)?;
        if let Some(tell) = &*lock(&self.resized) {
            tell();
        }
        Ok(())
    }

    /// Hears of all changes from now on.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.watchers.write().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    /// Hears of none any more.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
    }

    /// The kind of the job that is at work on it.
    pub fn job(&self) -> Option<&'static str> {
        *lock(&self.job)
    }

    /// A job of this kind is at work on it, or none.
    pub fn set_job(&self, kind: Option<&'static str>) {
        *lock(&self.job) = kind;
    }

    /// A request that changes the disk.
    fn change(
        &self,
        offset: u64,
        len: u64,
        mut request: impl FnMut(&dyn BlockDevice) -> io::Result<()>,
    ) -> io::Result<()> {
        let begin = trace::POINTS.begin(trace::WRITE);
        self.throttle.wait(true, len);
        let done = self.faults.run(true, || {
            let medium = self.medium();
            let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
            watchers.iter().for_each(|watcher| watcher.before_write(&**medium, offset, len));
            let result = request(&**medium);
            // Even one that failed may have changed something.
            watchers.iter().for_each(|watcher| watcher.after_write(offset, len));
            result
        });
        trace::POINTS.end(trace::WRITE, begin, || format!("offset {offset:#x} bytes {len} {done:?}"));
        done
    }
}

impl BlockDevice for Node {
    fn len(&self) -> u64 {
        self.medium().len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.throttle.wait(false, len);
        let begin = trace::POINTS.begin(trace::READ);
        let done =
            self.faults.run(false, || self.stats.read.run(len, || self.medium().read_at(offset, bytes)));
        trace::POINTS.end(trace::READ, begin, || format!("offset {offset:#x} bytes {len} {done:?}"));
        done
    }
    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let len = bytes.len() as u64;
        let Ok(medium) = self.medium.try_read() else { return false };
        if self.throttle.is_on() || self.faults.status() != IoStatus::Ok {
            return false;
        }
        let begin = trace::POINTS.begin(trace::READ);
        let found = self.stats.read.try_run(len, || medium.read_now(offset, bytes));
        trace::POINTS.end(trace::READ, begin, || format!("offset {offset:#x} bytes {len} at hand {found}"));
        found
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.change(offset, len, |medium| self.stats.write.run(len, || medium.write_at(offset, bytes)))?;
        self.stats.highest.fetch_max(offset.saturating_add(len), Relaxed);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        let begin = trace::POINTS.begin(trace::FLUSH);
        let done = self.faults.run(true, || self.stats.flush.run(0, || self.medium().flush()));
        trace::POINTS.end(trace::FLUSH, begin, || format!("{done:?}"));
        done
    }
    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(offset, len, |medium| self.stats.unmap.run(len, || medium.discard(offset, len)))
    }
    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.change(offset, len, |medium| {
            self.stats.write.run(len, || medium.write_zeroes(offset, len, unmap))
        })?;
        self.stats.highest.fetch_max(offset.saturating_add(len), Relaxed);
        Ok(())
    }
    fn read_only(&self) -> bool {
        self.medium().read_only()
    }
    fn at_once(&self) -> usize {
        self.medium().at_once()
    }
    fn past(&self) -> Option<Arc<dyn Past>> {
        self.medium().past()
    }
    fn commit(&self) -> Result<(), Error> {
        self.medium().commit()
    }
    fn resize(&self, len: u64) -> Result<(), Error> {
        self.set_len(len)
    }
    fn reopen(&self, options: RawOptions) -> Result<(), Error> {
        self.at_rest().reopen(options)
    }
    fn layers(&self) -> Option<super::Layers> {
        self.medium().layers()
    }
    fn pull(&self, offset: u64, len: u64) -> io::Result<()> {
        self.medium().pull(offset, len)
    }
    fn never_wait(&self) {
        self.faults.never_wait();
    }
    fn holds(&self) -> bool {
        self.faults.holds()
    }
    fn held(&self) -> usize {
        self.faults.held()
    }
}

#[cfg(test)]
#[path = "node_test.rs"]
mod test;
