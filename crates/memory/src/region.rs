//! The tree of memory regions.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use object::{Node, ObjectRef};

use crate::bus::Mmio;
use crate::ram::Ram;
use crate::space::{AddressSpace, layout_changed};

/// As a size: the whole of a 64-bit address space, 2^64 bytes.
pub const WHOLE: u64 = u64::MAX;

pub(crate) enum Kind {
    Container,
    Ram(Arc<Ram>),
    Rom(Arc<Ram>),
    RomDevice(Arc<Ram>, Arc<dyn Mmio>),
    Mmio(Arc<dyn Mmio>),
    Alias { target: Arc<Region>, offset: u64 },
}

/// Where a region lies in its container.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) priority: i32,
}

/// A named part of the memory map. Changing it, or its place, changes the flat views of all address spaces in
/// which it can be seen.
pub struct Region {
    name: String,
    kind: Kind,
    size: u128,
    place: Mutex<Place>,
    enabled: AtomicBool,
    readonly: AtomicBool,
    romd: AtomicBool,
    /// Highest priority first; among equals the newest first.
    children: Mutex<Vec<Arc<Region>>>,
    /// The container, and the aliases that show this region: where a change goes on upwards.
    seen_from: Mutex<Vec<Weak<Region>>>,
    spaces: Mutex<Vec<Weak<AddressSpace>>>,
    owner: Mutex<Option<Owner>>,
}

/// Whose region it is, for `info mtree -o`.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) node: Weak<Node>,
    /// The region's own node, a child of that.
    own: Weak<Node>,
    /// False when the node only keeps the region for want of an owner.
    pub(crate) owns: bool,
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Region {
    fn new(name: &str, size: u64, kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            readonly: AtomicBool::new(matches!(kind, Kind::Rom(_))),
            kind,
            size: if size == WHOLE { 1 << 64 } else { u128::from(size) },
            place: Mutex::default(),
            enabled: AtomicBool::new(true),
            romd: AtomicBool::new(true),
            children: Mutex::default(),
            seen_from: Mutex::default(),
            spaces: Mutex::default(),
            owner: Mutex::default(),
        })
    }

    /// A region that only holds others. `size` in bytes; [`WHOLE`] for 2^64.
    pub fn container(name: &str, size: u64) -> Arc<Self> {
        Self::new(name, size, Kind::Container)
    }
    /// RAM, all of the block.
    pub fn ram(name: &str, ram: Arc<Ram>) -> Arc<Self> {
        Self::new(name, ram.len(), Kind::Ram(ram))
    }
    /// ROM: memory that the guest cannot write. Loaders write the block itself.
    pub fn rom(name: &str, ram: Arc<Ram>) -> Arc<Self> {
        Self::new(name, ram.len(), Kind::Rom(ram))
    }
    /// A device that reads like memory and whose writes go to `mmio`; with [`Region::set_romd`] off, reads too.
    pub fn rom_device(name: &str, ram: Arc<Ram>, mmio: Arc<dyn Mmio>) -> Arc<Self> {
        Self::new(name, ram.len(), Kind::RomDevice(ram, mmio))
    }
    /// The registers of a device. Regions inside it hide the part of the registers they cover.
    pub fn mmio(name: &str, size: u64, mmio: Arc<dyn Mmio>) -> Arc<Self> {
        Self::new(name, size, Kind::Mmio(mmio))
    }
    /// A window of `size` bytes that shows `target` from `offset` on.
    pub fn alias(name: &str, target: &Arc<Self>, offset: u64, size: u64) -> Arc<Self> {
        let alias = Self::new(name, size, Kind::Alias { target: target.clone(), offset });
        lock(&target.seen_from).push(Arc::downgrade(&alias));
        alias
    }

    /// Its name, not unique.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Bytes; up to 2^64.
    pub fn size(&self) -> u128 {
        self.size
    }
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }
    /// The RAM block behind it, if it has one.
    pub fn ram_block(&self) -> Option<&Arc<Ram>> {
        match &self.kind {
            Kind::Ram(ram) | Kind::Rom(ram) | Kind::RomDevice(ram, _) => Some(ram),
            _ => None,
        }
    }
    pub(crate) fn place(&self) -> Place {
        *lock(&self.place)
    }
    /// Address within the container.
    pub fn address(&self) -> u64 {
        self.place().address
    }
    /// Priority among overlapping siblings.
    pub fn priority(&self) -> i32 {
        self.place().priority
    }
    /// Whether it is seen at all.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(SeqCst)
    }
    /// Whether writes to the RAM are refused.
    pub fn is_readonly(&self) -> bool {
        self.readonly.load(SeqCst)
    }
    /// Whether a ROM device reads like memory now.
    pub fn is_romd(&self) -> bool {
        matches!(self.kind, Kind::RomDevice(..)) && self.romd.load(SeqCst)
    }
    /// The regions inside, in the order in which they are seen: the first hides the others.
    pub fn children(&self) -> Vec<Arc<Self>> {
        lock(&self.children).clone()
    }

    /// Puts a region inside this one. A region is in one container at most.
    pub fn add_subregion(self: &Arc<Self>, offset: u64, child: &Arc<Self>) {
        self.add_overlap(offset, child, 0);
    }
    /// The same with a priority: the higher one is seen where siblings overlap.
    pub fn add_overlap(self: &Arc<Self>, offset: u64, child: &Arc<Self>, priority: i32) {
        assert!(!matches!(self.kind, Kind::Alias { .. }), "an alias has no subregions");
        *lock(&child.place) = Place { address: offset, priority };
        lock(&child.seen_from).push(Arc::downgrade(self));
        let mut children = lock(&self.children);
        assert!(!children.iter().any(|c| Arc::ptr_eq(c, child)), "'{}' is in there already", child.name);
        let at = children.iter().position(|c| priority >= c.priority()).unwrap_or(children.len());
        children.insert(at, child.clone());
        drop(children);
        layout_changed(child);
    }
    /// Takes a region out again.
    pub fn remove(self: &Arc<Self>, child: &Arc<Self>) {
        let mut children = lock(&self.children);
        let before = children.len();
        children.retain(|c| !Arc::ptr_eq(c, child));
        if children.len() == before {
            return;
        }
        drop(children);
        // The views are found from the child upwards, so the way up is cut afterwards.
        layout_changed(self);
        lock(&child.seen_from).retain(|up| !std::ptr::eq(up.as_ptr(), Arc::as_ptr(self)));
    }
    /// Shows or hides the region.
    pub fn set_enabled(self: &Arc<Self>, enabled: bool) {
        if self.enabled.swap(enabled, SeqCst) != enabled {
            layout_changed(self);
        }
    }
    /// Moves the region within its container.
    pub fn set_address(self: &Arc<Self>, address: u64) {
        let before = std::mem::replace(&mut lock(&self.place).address, address);
        if before != address {
            layout_changed(self);
        }
    }
    /// Refuses or allows writes to the RAM of a region.
    pub fn set_readonly(self: &Arc<Self>, readonly: bool) {
        if self.readonly.swap(readonly, SeqCst) != readonly {
            layout_changed(self);
        }
    }
    /// Lets a ROM device read like memory, or sends reads to the device too.
    pub fn set_romd(self: &Arc<Self>, romd: bool) {
        if self.romd.swap(romd, SeqCst) != romd {
            layout_changed(self);
        }
    }

    /// Makes the region an object of the tree: a child `NAME[*]` of its owner.
    pub fn set_owner(&self, owner: &ObjectRef) {
        self.join(owner, true);
    }
    /// Makes the region an object of the tree without an owner: a child of `container`
    /// ([`object::unattached`] of the machine).
    pub fn set_unowned(&self, container: &ObjectRef) {
        self.join(container, false);
    }
    fn join(&self, node: &ObjectRef, owns: bool) {
        self.leave_tree();
        let own = Node::new("memory-region");
        node.add_child(&format!("{}[*]", object::escape(&self.name)), &own);
        *lock(&self.owner) = Some(Owner { node: Arc::downgrade(node), own: Arc::downgrade(&own), owns });
    }
    /// Takes the region out of the tree of objects, when its device is unplugged.
    pub fn leave_tree(&self) {
        if let Some(own) = lock(&self.owner).take().and_then(|o| o.own.upgrade()) {
            own.unparent();
        }
    }
    pub(crate) fn owner(&self) -> Option<Owner> {
        lock(&self.owner).clone()
    }

    pub(crate) fn add_space(&self, space: Weak<AddressSpace>) {
        lock(&self.spaces).push(space);
    }

    /// All address spaces in which a change of this region may show.
    pub(crate) fn affected(self: &Arc<Self>) -> Vec<Arc<AddressSpace>> {
        let mut spaces: Vec<Arc<AddressSpace>> = Vec::new();
        let mut regions = vec![self.clone()];
        let mut n = 0;
        while let Some(region) = regions.get(n).cloned() {
            for space in lock(&region.spaces).iter().filter_map(Weak::upgrade) {
                if !spaces.iter().any(|s| Arc::ptr_eq(s, &space)) {
                    spaces.push(space);
                }
            }
            let mut seen_from = lock(&region.seen_from);
            seen_from.retain(|r| r.strong_count() > 0);
            for up in seen_from.iter().filter_map(Weak::upgrade) {
                if !regions.iter().any(|r| Arc::ptr_eq(r, &up)) {
                    regions.push(up);
                }
            }
            n += 1;
        }
        spaces
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Container => "container",
            Kind::Ram(_) => "ram",
            Kind::Rom(_) => "rom",
            Kind::RomDevice(..) => "romd",
            Kind::Mmio(_) => "mmio",
            Kind::Alias { .. } => "alias",
        };
        write!(f, "{} ({kind}, {:#x} bytes at {:#x})", self.name, self.size, self.address())
    }
}
