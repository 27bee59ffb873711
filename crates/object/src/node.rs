//! The composition tree.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use base::Error;

use crate::{AnyDevice, PropertyError, PropertyInfo, PropertyValue};

/// An object of the tree.
pub type ObjectRef = Arc<Node>;

/// A place in the composition tree: a type's name, children by name, properties, and perhaps a device.
pub struct Node {
    type_name: String,
    place: Mutex<Option<(Weak<Node>, String)>>,
    children: Mutex<Vec<(String, ObjectRef)>>,
    properties: Mutex<Vec<NodeProperty>>,
    device: OnceLock<Arc<dyn AnyDevice>>,
    /// A device, whether or not a cell is attached.
    is_device: bool,
    /// Of a bus: the devices on it.
    on_bus: Mutex<Vec<Weak<Node>>>,
    windows: Mutex<Vec<Window>>,
    details: OnceLock<Details>,
}

/// Lines that a bus knows of a device on it.
type Details = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// A register window as `info qtree` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) size: u64,
    /// Where the board has put it; boards may also put a region into the map without saying.
    pub(crate) address: Option<u64>,
}

/// Types of buses whose name does not end in `-bus`.
const BUSES: &[&str] = &["System", "PCI", "PCIE", "ISA", "SSI", "SCSI", "IDE", "i2c-bus"];

type Getter = Box<dyn Fn() -> PropertyValue + Send + Sync>;
type Setter = Box<dyn Fn(&PropertyValue) -> Result<(), PropertyError> + Send + Sync>;

/// A property given to one node, beside those of its device.
pub struct NodeProperty {
    /// Name, type, description, default.
    pub info: PropertyInfo,
    /// Reads it.
    pub get: Getter,
    /// Sets it; `None` if it cannot be set.
    pub set: Option<Setter>,
}

impl NodeProperty {
    /// A property that is only read.
    pub fn read_only(
        name: &'static str,
        kind: &'static str,
        get: impl Fn() -> PropertyValue + Send + Sync + 'static,
    ) -> Self {
        Self { info: PropertyInfo { name, kind, desc: "", default: None }, get: Box::new(get), set: None }
    }
    /// A property that has always the same value.
    pub fn fixed(name: &'static str, kind: &'static str, value: PropertyValue) -> Self {
        Self::read_only(name, kind, move || value.clone())
    }
    /// The property with a way to set it.
    #[must_use]
    pub fn writable(
        mut self,
        set: impl Fn(&PropertyValue) -> Result<(), PropertyError> + Send + Sync + 'static,
    ) -> Self {
        self.set = Some(Box::new(set));
        self
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name as it stands in a path: `/`, `\`, `[` and `]` become `\x2f` and so on. For names that come from
/// outside (a memory region's, a file's); [`Node::add_child`] takes names as they are.
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' | '\\' | '[' | ']' => out.push_str(&format!("\\x{:02x}", c as u32)),
            other => out.push(other),
        }
    }
    out
}

/// The container for objects that nobody owns: child `unattached` of the machine, made when first needed.
pub fn unattached(machine: &ObjectRef) -> ObjectRef {
    machine.child("unattached").unwrap_or_else(|| {
        let container = Node::new("container");
        machine.add_child("unattached", &container);
        container
    })
}

impl Node {
    /// A node of a type, not yet in the tree.
    pub fn new(type_name: impl Into<String>) -> ObjectRef {
        Self::make(type_name.into(), false)
    }

    /// A node for a device that has no cell of its own: a processor, a part of the board.
    pub fn new_device(type_name: impl Into<String>) -> ObjectRef {
        Self::make(type_name.into(), true)
    }

    fn make(type_name: String, is_device: bool) -> ObjectRef {
        Arc::new(Self {
            type_name,
            is_device,
            on_bus: Mutex::default(),
            windows: Mutex::default(),
            details: OnceLock::new(),
            place: Mutex::new(None),
            children: Mutex::default(),
            properties: Mutex::default(),
            device: OnceLock::new(),
        })
    }

    /// A node for a device: its type, its properties, and a child of type `irq` for each input line.
    pub fn for_device(device: Arc<dyn AnyDevice>) -> ObjectRef {
        let node = Self::new_device(device.type_info().name);
        for region in device.regions() {
            node.add_window(region.size);
        }
        for _ in 0..device.inputs() {
            node.add_child("unnamed-gpio-in[*]", &Self::new("irq"));
        }
        let _ = node.device.set(device);
        node
    }

    /// Name of its type.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }
    /// The device that lives here.
    pub fn device(&self) -> Option<&Arc<dyn AnyDevice>> {
        self.device.get()
    }

    /// Whether it is a device.
    pub fn is_device(&self) -> bool {
        self.is_device
    }

    /// Whether it is a bus: a device has been put on it, or its type's name says so.
    pub fn is_bus(&self) -> bool {
        !lock(&self.on_bus).is_empty()
            || self.type_name.ends_with("-bus")
            || BUSES.contains(&&*self.type_name)
    }
    /// Puts a device on this bus, for `info qtree`.
    pub fn attach(&self, device: &ObjectRef) {
        lock(&self.on_bus).push(Arc::downgrade(device));
    }
    /// The devices on this bus, in order of attachment.
    pub fn attached(&self) -> Vec<ObjectRef> {
        lock(&self.on_bus).iter().filter_map(Weak::upgrade).collect()
    }
    /// Adds a register window to what `info qtree` shows ([`Node::for_device`] does this), and returns its number.
    pub fn add_window(&self, size: u64) -> usize {
        let mut windows = lock(&self.windows);
        windows.push(Window { size, address: None });
        windows.len() - 1
    }
    /// Says where the board has put a register window.
    pub fn map_window(&self, n: usize, address: u64) {
        if let Some(window) = lock(&self.windows).get_mut(n) {
            window.address = Some(address);
        }
    }
    /// Says what `info qtree` shows beyond properties and windows.
    pub fn set_details(&self, details: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        let _ = self.details.set(Box::new(details));
    }
    pub(crate) fn details(&self) -> Vec<String> {
        self.details.get().map(|details| details()).unwrap_or_default()
    }
    pub(crate) fn windows(&self) -> Vec<Window> {
        lock(&self.windows).clone()
    }

    /// Adds a child and returns the name it got: a name that ends in `[*]` gets the lowest free number.
    /// A name that is taken, or a child that has a parent already, is a mistake of the program's.
    pub fn add_child(self: &Arc<Self>, name: &str, child: &ObjectRef) -> String {
        let mut children = lock(&self.children);
        let taken = |children: &[(String, ObjectRef)], name: &str| children.iter().any(|c| c.0 == name);
        let name = match name.strip_suffix("[*]") {
            Some(stem) => {
                (0..).map(|n| format!("{stem}[{n}]")).find(|name| !taken(&children, name)).unwrap_or_default()
            }
            None => {
                assert!(!taken(&children, name), "there is a child '{name}' already");
                name.to_owned()
            }
        };
        let mut place = lock(&child.place);
        assert!(place.is_none(), "'{name}' has a parent already");
        *place = Some((Arc::downgrade(self), name.clone()));
        drop(place);
        children.push((name.clone(), child.clone()));
        name
    }

    /// Takes the node out of its parent. Its own children stay with it.
    pub fn unparent(self: &Arc<Self>) {
        let place = lock(&self.place).take();
        if let Some(parent) = place.and_then(|p| p.0.upgrade()) {
            lock(&parent.children).retain(|c| !Arc::ptr_eq(&c.1, self));
        }
    }

    /// The parent.
    pub fn parent(&self) -> Option<ObjectRef> {
        lock(&self.place).as_ref()?.0.upgrade()
    }
    /// Its name within the parent.
    pub fn name(&self) -> Option<String> {
        lock(&self.place).as_ref().map(|p| p.1.clone())
    }
    /// Children with their names, in the order in which they were added.
    pub fn children(&self) -> Vec<(String, ObjectRef)> {
        lock(&self.children).clone()
    }
    /// The child of that name.
    pub fn child(&self, name: &str) -> Option<ObjectRef> {
        lock(&self.children).iter().find(|c| c.0 == name).map(|c| c.1.clone())
    }
    /// The topmost node above this one.
    pub fn root(self: &Arc<Self>) -> ObjectRef {
        let mut node = self.clone();
        while let Some(parent) = node.parent() {
            node = parent;
        }
        node
    }

    /// The path from the root: `/machine/unattached/device[0]`; `/` for the root itself.
    pub fn path(&self) -> String {
        let mut path = String::new();
        let mut place = lock(&self.place).clone();
        while let Some((parent, name)) = place {
            path.insert_str(0, &name);
            path.insert(0, '/');
            place = parent.upgrade().and_then(|p| lock(&p.place).clone());
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Finds a node from here: a path with a leading `/` from this node (which then is the root), one
    /// without at any depth below it. `Err` when a partial path fits several nodes.
    pub fn resolve(self: &Arc<Self>, path: &str) -> Result<Option<ObjectRef>, Ambiguous> {
        let parts: Vec<_> = path.split('/').filter(|p| !p.is_empty()).collect();
        if path.starts_with('/') {
            return Ok(self.descend(&parts));
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        self.find_partial(&parts, &mut found);
        if found.len() > 1 { Err(Ambiguous) } else { Ok(found.pop()) }
    }

    fn descend(self: &Arc<Self>, parts: &[&str]) -> Option<ObjectRef> {
        parts.iter().try_fold(self.clone(), |node, part| node.child(part))
    }

    fn find_partial(self: &Arc<Self>, parts: &[&str], found: &mut Vec<ObjectRef>) {
        if let Some(node) = self.descend(parts) {
            found.push(node);
        }
        for (_, child) in self.children() {
            child.find_partial(parts, found);
        }
    }

    /// This node and all below, parents first, children in order of addition.
    pub fn walk(self: &Arc<Self>, visit: &mut dyn FnMut(&ObjectRef)) {
        visit(self);
        for (_, child) in self.children() {
            child.walk(visit);
        }
    }

    /// Gives the node a property of its own.
    pub fn add_property(&self, property: NodeProperty) {
        lock(&self.properties).push(property);
    }

    /// All properties: the device's, then the node's own.
    pub fn properties(&self) -> Vec<PropertyInfo> {
        let mut list = self.device().map(|d| d.properties()).unwrap_or_default();
        list.extend(lock(&self.properties).iter().map(|p| p.info.clone()));
        list
    }
    /// Its properties without those of a device inside its device, which has a node of its own.
    pub fn own_properties(&self) -> Vec<PropertyInfo> {
        let mut list = self.device().map(|d| d.own_properties()).unwrap_or_default();
        list.extend(lock(&self.properties).iter().map(|p| p.info.clone()));
        list
    }
    /// The value of a property.
    pub fn property(&self, name: &str) -> Result<PropertyValue, Error> {
        if let Some(property) = lock(&self.properties).iter().find(|p| p.info.name == name) {
            return Ok((property.get)());
        }
        self.device()
            .and_then(|d| d.property(name))
            .ok_or_else(|| PropertyError::NotFound.error(&self.type_name, "", name, ""))
    }
    /// Sets a property.
    pub fn set_property(&self, name: &str, value: &PropertyValue) -> Result<(), Error> {
        let own = lock(&self.properties)
            .iter()
            .find(|p| p.info.name == name)
            .map(|p| p.set.as_ref().map_or(Err(PropertyError::ReadOnly), |set| set(value)));
        let done = match (own, self.device()) {
            (Some(done), _) => done,
            (None, Some(device)) => device.set_property(name, value),
            (None, None) => Err(PropertyError::NotFound),
        };
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        done.map_err(|e| e.error(&self.type_name, &self.id(), name, &text))
    }

    /// The name that a user gave the device: that of a child of `/machine/peripheral`.
    pub fn id(&self) -> String {
        match &*lock(&self.place) {
            Some((parent, name))
                if parent.upgrade().and_then(|p| p.name()).as_deref() == Some("peripheral") =>
            {
                name.clone()
            }
            _ => String::new(),
        }
    }
}

/// A partial path that fits several objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path fits several objects")]
pub struct Ambiguous;

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path(), self.type_name)
    }
}

#[cfg(test)]
#[path = "node_test.rs"]
mod test;
