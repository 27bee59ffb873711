//! `-object`: entropy, threads, memory, secrets.

use crate::options::Opts;
use backends::block::Pool;
use backends::rng::Entropy;
use base::{Result, error};
use memory::Ram;
use object::{Node, NodeProperty, ObjectRef, PropertyValue};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What `-object` has made.
#[derive(Default)]
pub struct Objects {
    /// Sources of entropy by id.
    pub entropy: BTreeMap<String, Entropy>,
    /// Threads for the I/O of disks, by id.
    pub iothreads: BTreeMap<String, Arc<Pool>>,
    /// Memory by id.
    pub memory: BTreeMap<String, Arc<Ram>>,
    /// All: id and type.
    pub list: Vec<(String, String)>,
    /// Their place in the object tree.
    container: OnceLock<ObjectRef>,
}

impl Objects {
    /// Makes an object while the machine exists.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn add(&mut self, opts: &Opts) -> Result<()> {
        self.make(&mut opts.clone())?;
        if let (Some(container), Some((id, kind))) = (self.container.get(), self.list.last()) {
            container.add_child(id, &self.node(id, kind));
        }
        Ok(())
    }

    /// An object's place in the tree.
    fn node(&self, id: &str, kind: &str) -> ObjectRef {
        let node = Node::new(kind.to_owned());
        if let Some(thread) = self.iothreads.get(id).and_then(|pool| pool.start()) {
            let id = PropertyValue::Int(thread.into());
            node.add_property(NodeProperty::fixed("thread-id", "int", id));
        }
        node
    }

    /// Removes an object. What a device has of it stays with the device.
    ///
    /// # Errors
    /// There is no such, or it is the machine's memory.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        let place = self.list.iter().position(|(other, _)| other == id);
        let place = place.ok_or_else(|| error!("object '{id}' not found"))?;
        let used = self.memory.get(id).is_some_and(|ram| Arc::strong_count(ram) > 1)
            || self.iothreads.get(id).is_some_and(|pool| Arc::strong_count(pool) > 1);
        if used {
            return Err(error!("object '{id}' is in use, can not be deleted"));
        }
        self.list.remove(place);
        self.memory.remove(id);
        self.iothreads.remove(id);
        self.entropy.remove(id);
        if let Some(node) = self.container.get().and_then(|container| container.child(id)) {
            node.unparent();
        }
        Ok(())
    }

    /// Makes an object that the command line asks for.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn create(&mut self, opts: &Opts) -> Result<()> {
        self.make(&mut opts.clone()).map_err(|e| opts.blame(e))
    }

    fn make(&mut self, opts: &mut Opts) -> Result<()> {
        let kind = opts.take("qom-type").ok_or_else(|| error!("Parameter 'qom-type' is missing"))?;
        if !crate::lists::OBJECTS.iter().any(|object| object.name == kind) {
            return Err(error!("Parameter 'qom-type' does not accept value '{kind}'"));
        }
        let id = opts.take("id").ok_or_else(|| error!("Parameter 'id' is missing"))?;
        if self.list.iter().any(|(other, _)| *other == id) {
            return Err(error!("Duplicate ID '{id}' for object"));
        }
        match kind.as_str() {
            "rng-builtin" => {
                self.entropy.insert(id.clone(), Entropy::Builtin);
            }
            "iothread" => {
                for key in [
                    "poll-max-ns",
                    "poll-grow",
                    "poll-shrink",
                    "aio-max-batch",
                    "thread-pool-min",
                    "thread-pool-max",
                ] {
                    opts.take_number(key)?;
                }
                self.iothreads.insert(id.clone(), Arc::new(Pool::new(&format!("IO {id}"))));
            }
            "secret" => secret(opts)?,
            "rng-random" => {
                let file = opts.take("filename").unwrap_or_else(|| "/dev/urandom".into());
                self.entropy.insert(id.clone(), Entropy::open(&file).map_err(|e| error!("{e}"))?);
            }
            _ => {
                let ram = Self::memory(&kind, &id, opts)?;
                self.memory.insert(id.clone(), ram);
            }
        }
        opts.finish()?;
        self.list.push((id, kind));
        Ok(())
    }

    fn memory(kind: &str, id: &str, opts: &mut Opts) -> Result<Arc<Ram>> {
        let size = opts.take_size("size")?.filter(|s| *s > 0);
        let size = size.ok_or_else(|| error!("can't create backend with size 0"))?;
        let share = opts.take_switch("share")?;
        // Hints about the host's memory that change nothing the guest sees.
        for hint in [
            "prealloc",
            "prealloc-threads",
            "merge",
            "dump",
            "reserve",
            "seal",
            "x-use-canonical-path-for-ramblock-id",
        ] {
            opts.take(hint);
        }
        let refused = |e: base::Error| error!("cannot set up guest memory '{id}': {e}");
        match kind {
            "memory-backend-file" => {
                let path = opts.take("mem-path").ok_or_else(|| error!("mem-path property not set"))?;
                opts.take("discard-data");
                Ram::file(&PathBuf::from(path), size, share.unwrap_or(false)).map_err(refused)
            }
            "memory-backend-memfd" => Ram::memfd(id, size).map_err(refused),
            _ if share == Some(true) => Ram::memfd(id, size).map_err(refused),
            _ => Ram::anonymous(size).map_err(refused),
        }
    }

    /// Puts the objects into the tree.
    pub fn enter(&self, root: &ObjectRef) {
        let container = Node::new("container");
        for (id, kind) in &self.list {
            container.add_child(id, &self.node(id, kind));
        }
        root.add_child("objects", &container);
        let _ = self.container.set(container);
    }
}

/// Checks a secret. Nothing here asks for one: it is read, so that a wrong one is refused, and not kept.
fn secret(opts: &mut Opts) -> Result<()> {
    let (data, file) = (opts.take("data"), opts.take("file"));
    let (format, keyid, iv) = (opts.take("format"), opts.take("keyid"), opts.take("iv"));
    if let Some(other) = format.filter(|format| !matches!(format.as_str(), "raw" | "base64")) {
        return Err(error!("Parameter 'format' does not accept value '{other}'"));
    }
    if keyid.is_some() && iv.is_none() {
        return Err(error!("IV is required to decrypt secret"));
    }
    match (data, file) {
        (Some(_), None) => Ok(()),
        (None, Some(file)) => match std::fs::read(&file) {
            Ok(_) => Ok(()),
            Err(e) => Err(error!("Unable to read {file}: {}", crate::launch::reason(&e))),
        },
        (Some(_), Some(_)) => Err(error!("'file' and 'data' are mutually exclusive")),
        (None, None) => Err(error!("Must provide 'file' or 'data'")),
    }
}
