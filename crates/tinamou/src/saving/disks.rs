//! The machine's disks, as snapshots see them.

use backends::block::{BlockDevice, Blocks, DriveInterface, Log, Node, Past};
use base::{Result, error};
use migration::Entry;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone)]
pub struct Disk {
    id: String,
    device: Arc<Node>,
}

impl Disk {
    fn past(&self) -> Result<Arc<dyn Past>> {
        let past = self.device.past();
        past.ok_or_else(|| error!("Device '{}' is writable but does not support snapshots", self.id))
    }
}

/// The log of a disk, with the disk; or why there is none.
pub struct Kept {
    disk: Disk,
    log: std::result::Result<KeptLog, String>,
}

/// A log and the medium that keeps it; the disk may have another by now.
#[derive(Clone)]
struct KeptLog {
    log: Arc<Log>,
    past: Arc<dyn Past>,
}

impl Kept {
    fn forget(&self) {
        if let Ok(KeptLog { log, past }) = &self.log {
            past.forget(log);
        }
    }
}

/// The logs of one snapshot, by disk.
pub type Logs = BTreeMap<String, Kept>;

/// All disks that the guest can write to, and the logs of all snapshots.
pub struct Disks {
    blocks: Arc<Mutex<Blocks>>,
    /// By tag.
    logs: Mutex<BTreeMap<String, Logs>>,
}

impl Disks {
    /// Those of the machine's drives that some device has and that can be written. Flash is memory, and is saved as such.
    pub fn new(blocks: Arc<Mutex<Blocks>>) -> Disks {
        Disks { blocks, logs: Mutex::default() }
    }

    fn disks(&self) -> Vec<Disk> {
        let mut disks: Vec<Disk> = Vec::new();
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for drive in blocks.iter().filter(|d| d.taken && d.interface != DriveInterface::Pflash) {
            if let Some(device) = drive.device.as_ref().filter(|d| !d.read_only())
                && !disks.iter().any(|d| Arc::ptr_eq(&d.device, device))
            {
                disks.push(Disk { id: drive.id.clone(), device: device.clone() });
            }
        }
        disks
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Logs>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Path of the first image.
    pub fn first_image(&self) -> Option<String> {
        self.disks().iter().find_map(|disk| Some(disk.device.past()?.image().to_owned()))
    }

    /// Their names.
    pub fn ids(&self) -> Vec<String> {
        self.disks().into_iter().map(|disk| disk.id).collect()
    }

    /// Refuses a machine with a disk whose content cannot be kept, or that waits for its host.
    pub fn check(&self) -> Result<()> {
        self.disks().iter().try_for_each(|disk| match disk.device.held() {
            0 => disk.past().map(|_| ()),
            _ => Err(error!("disk '{}' has requests that wait for the machine to go on", disk.id)),
        })
    }

    /// Refuses to take disks back that a job is at work on.
    pub fn check_jobs(&self) -> Result<()> {
        self.disks().iter().try_for_each(|disk| match disk.device.job() {
            None => Ok(()),
            Some(kind) => {
                Err(error!("Node '{}' is busy: block device is in use by block job: {kind}", disk.id))
            }
        })
    }

    /// Takes up the logs of a snapshot from an earlier run; `file` says where a disk's is.
    pub fn attach(&self, tag: &str, file: &dyn Fn(&str) -> PathBuf) {
        let open = |disk: &Disk| -> std::result::Result<KeptLog, String> {
            let past = disk.past().map_err(|e| e.to_string())?;
            let (path, image) = (file(&disk.id), Path::new(past.image()));
            let log = Log::open(&path, image, disk.device.len(), past.writes_image());
            let log = Arc::new(log.map_err(|e| e.to_string())?);
            past.attach(log.clone());
            Ok(KeptLog { log, past })
        };
        let logs = self.disks().into_iter().map(|disk| {
            let log = open(&disk);
            (disk.id.clone(), Kept { disk, log })
        });
        let logs = logs.collect();
        self.logs().insert(tag.to_owned(), logs);
    }

    /// Begins a log of each disk, in the files that `file` names.
    pub fn begin(&self, file: impl Fn(&str) -> PathBuf) -> Result<Logs> {
        self.begin_each(true, |disk| Log::create(&file(&disk.id), disk.device.len()))
    }

    /// Begins a log of each disk, in memory.
    pub fn begin_in_memory(&self) -> Result<Logs> {
        self.begin_each(false, |disk| Ok(Log::in_memory(disk.device.len())))
    }

    fn begin_each(&self, outlives: bool, make: impl Fn(&Disk) -> io::Result<Log>) -> Result<Logs> {
        let mut logs = Logs::new();
        for disk in self.disks() {
            let log = make(&disk).map(Arc::new).and_then(|log| {
                let past = disk.device.past().ok_or(io::ErrorKind::Unsupported)?;
                past.begin(log.clone(), outlives)?;
                Ok(KeptLog { log, past })
            });
            match log {
                Ok(log) => logs.insert(disk.id.clone(), Kept { disk, log: Ok(log) }),
                Err(reason) => {
                    Self::forget(&logs);
                    return Err(error!("the state of disk '{}' cannot be kept: {reason}", disk.id));
                }
            };
        }
        Ok(logs)
    }

    /// These logs are not needed any more.
    pub fn forget(logs: &Logs) {
        logs.values().for_each(Kept::forget);
    }

    /// These logs are those of the snapshot `tag`, instead of any it had.
    pub fn enter(&self, tag: &str, logs: Logs) {
        let old = self.logs().insert(tag.to_owned(), logs);
        Self::forget(&old.unwrap_or_default());
    }

    /// The snapshot `tag` is gone.
    pub fn drop_tag(&self, tag: &str) {
        let old = self.logs().remove(tag);
        Self::forget(&old.unwrap_or_default());
    }

    /// Refuses a snapshot whose disks are not ours, or cannot be taken back.
    pub fn fits(&self, entry: &Entry) -> Result<()> {
        let ours = self.ids();
        if ours != entry.disks {
            let (theirs, ours) = (entry.disks.join(","), ours.join(","));
            return Err(error!(
                "field 'disks' differs: it is '{theirs}' in the saved state and '{ours}' here"
            ));
        }
        let all = self.logs();
        for id in ours {
            match all.get(&entry.tag).and_then(|logs| logs.get(&id)) {
                Some(Kept { disk, log: Ok(kept) }) => {
                    if disk.device.past().is_none_or(|past| !Arc::ptr_eq(&past, &kept.past)) {
                        return Err(error!(
                            "disk '{id}' cannot be taken back: it has another image since then"
                        ));
                    }
                }
                Some(Kept { log: Err(reason), .. }) => {
                    return Err(error!("disk '{id}' cannot be taken back: {reason}"));
                }
                None => return Err(error!("disk '{id}' has no state in snapshot '{}'", entry.tag)),
            }
        }
        Ok(())
    }

    /// Makes the disks what they were at the snapshot `tag`.
    pub fn rewind(&self, tag: &str) -> Result<()> {
        let all = self.logs();
        for (id, Kept { log, .. }) in all.get(tag).into_iter().flatten() {
            if let Ok(KeptLog { log, past }) = log {
                past.rewind(log).map_err(|e| error!("disk '{id}' cannot be taken back: {e}"))?;
            }
        }
        Ok(())
    }

    /// The program ends and will not change the images any more.
    pub fn close(&self) {
        for Kept { log, .. } in self.logs().values().flat_map(BTreeMap::values) {
            if let Ok(KeptLog { log, past }) = log {
                // A log that cannot be marked is found to be another program's the next time.
                let _ = log.close(Path::new(past.image()));
            }
        }
    }
}
