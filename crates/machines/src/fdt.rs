//! Device trees as data, their flattened form (DTB) and their source form (DTS).
//!
//! Devicetree Specification v0.4: chapter 2 (the tree), chapter 5 (flattened format, version 17),
//! chapter 6 (source format).
//!
//! The order of properties and children in a [`Node`] is the order in the flattened tree. The builder
//! calls put what is new in front of what is there, as libfdt does when a tree is edited in place:
//! the tree of a board built by the same calls in the same order comes out in the same order.

mod read;
mod source;
mod write;

pub use read::ReadError;

use std::io::Write;
use std::path::Path;

/// A memory range that the client program must not touch (specification section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Physical address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}

/// A whole device tree.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fdt {
    /// The memory reservation block.
    pub reservations: Vec<Reservation>,
    /// Physical id of the boot CPU (`boot_cpuid_phys`).
    pub boot_cpu: u32,
    /// The root node, whose name is empty.
    pub root: Node,
    /// The largest phandle given out or read.
    last_phandle: u32,
}

/// A node: its name with unit address, its properties and its children, all in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Node {
    /// `name@unit-address`.
    pub name: String,
    /// Property names and their raw values.
    pub properties: Vec<(String, Vec<u8>)>,
    /// Child nodes.
    pub children: Vec<Node>,
}

impl Fdt {
    /// An empty tree.
    pub fn new() -> Fdt {
        Fdt::default()
    }

    /// A phandle not yet used in this tree: 1, 2, 3 and so on in a new tree.
    pub fn allocate_phandle(&mut self) -> u32 {
        self.last_phandle = self.last_phandle.wrapping_add(1);
        self.last_phandle
    }

    /// The node at `path` (as `/soc/serial@10000000`; `/` is the root), if there is one.
    pub fn find(&self, path: &str) -> Option<&Node> {
        names(path).try_fold(&self.root, |node, name| node.child(name))
    }

    /// The node at `path`, made with all nodes on the way if missing.
    pub fn node(&mut self, path: &str) -> &mut Node {
        names(path).fold(&mut self.root, |node, name| node.make_child(name))
    }

    /// The path and node of the first node with this phandle.
    pub fn find_phandle(&self, phandle: u32) -> Option<(String, &Node)> {
        self.root.find_with(String::new(), &|node| node.u32("phandle") == Some(phandle))
    }

    /// The path and node of the first node that lists `compatible` among its `compatible` strings.
    pub fn find_compatible(&self, compatible: &str) -> Option<(String, &Node)> {
        self.root.find_with(String::new(), &|node| node.strings("compatible").any(|s| s == compatible))
    }

    /// The flattened tree, version 17, last compatible version 16, as small as can be.
    pub fn to_dtb(&self) -> Vec<u8> {
        write::to_dtb(self)
    }

    /// Reads a flattened tree that nobody vouches for.
    ///
    /// # Errors
    /// Anything that is not a well-formed tree of version 16 or later: see [`ReadError`].
    pub fn from_dtb(dtb: &[u8]) -> Result<Fdt, ReadError> {
        read::from_dtb(dtb)
    }

    /// The tree in source form, for people.
    pub fn to_dts(&self) -> String {
        source::to_dts(self)
    }

    /// Writes the flattened tree to a file (`-machine dumpdtb=FILE`, monitor `dumpdtb`).
    ///
    /// # Errors
    /// The text QEMU prints when the file cannot be written.
    pub fn dump(&self, path: &Path) -> Result<(), String> {
        let write = || std::fs::File::create(path)?.write_all(&self.to_dtb());
        write().map_err(|error: std::io::Error| {
            let reason = crate::loader::reason(&error);
            format!("Error saving FDT to file {}: {reason}", path.display())
        })
    }

    /// Reads the file given to `-dtb`.
    ///
    /// # Errors
    /// The text to print: QEMU's where it has one, with the reason.
    pub fn load(path: &Path) -> Result<Fdt, String> {
        let bytes = crate::loader::read_file(path, read::MAX_SIZE as u64).map_err(|error| {
            format!("Unable to get size of device tree file '{}': {}", path.display(), error.reason)
        })?;
        Fdt::from_dtb(&bytes).map_err(|ReadError { code, reason }| {
            let file = path.display();
            format!("load_device_tree: Unable to copy device tree into memory: {code} ({file}: {reason})")
        })
    }
}

/// The parts of a path; empty ones (a leading or doubled slash) do not count.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

impl Node {
    /// A node without properties.
    pub fn new(name: impl Into<String>) -> Node {
        Node { name: name.into(), ..Node::default() }
    }

    /// Sets a property to raw bytes: a new one in front of the others, an old one where it stands.
    pub fn prop(&mut self, name: &str, value: impl Into<Vec<u8>>) -> &mut Node {
        let value = value.into();
        match self.properties.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.properties.insert(0, (name.to_owned(), value)),
        }
        self
    }

    /// Sets a property to one 32-bit cell (also for phandles).
    pub fn prop_u32(&mut self, name: &str, value: u32) -> &mut Node {
        self.prop(name, value.to_be_bytes())
    }

    /// Sets a property to 32-bit cells.
    pub fn prop_u32s(&mut self, name: &str, cells: &[u32]) -> &mut Node {
        self.prop(name, cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<u8>>())
    }

    /// Sets a property to one 64-bit number (two cells).
    pub fn prop_u64(&mut self, name: &str, value: u64) -> &mut Node {
        self.prop(name, value.to_be_bytes())
    }

    /// Sets a property to 64-bit numbers (two cells each), as `reg` with two address and size cells.
    pub fn prop_u64s(&mut self, name: &str, values: &[u64]) -> &mut Node {
        self.prop(name, values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>())
    }

    /// Sets a property to a string.
    pub fn prop_str(&mut self, name: &str, value: &str) -> &mut Node {
        self.prop_strs(name, &[value])
    }

    /// Sets a property to a list of strings.
    pub fn prop_strs(&mut self, name: &str, values: &[impl AsRef<str>]) -> &mut Node {
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(value.as_ref().as_bytes());
            bytes.push(0);
        }
        self.prop(name, bytes)
    }

    /// Sets a property without a value.
    pub fn prop_empty(&mut self, name: &str) -> &mut Node {
        self.prop(name, [])
    }

    /// Removes a property; tells whether it was there.
    pub fn remove_prop(&mut self, name: &str) -> bool {
        let before = self.properties.len();
        self.properties.retain(|(n, _)| n != name);
        self.properties.len() != before
    }

    /// The raw value of a property.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// The value of a property that is one cell.
    pub fn u32(&self, name: &str) -> Option<u32> {
        self.property(name)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The strings of a property that is a list of strings; those that are not UTF-8 are left out.
    pub fn strings(&self, name: &str) -> impl Iterator<Item = &str> {
        let value = self.property(name).unwrap_or_default();
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        value.split(|&byte| byte == 0).filter_map(|s| std::str::from_utf8(s).ok())
    }

    /// The child of this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The child of this name, to be changed.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// Puts `node` in front of the other children and returns it.
    pub fn add_child(&mut self, node: Node) -> &mut Node {
        self.children.insert(0, node);
        &mut self.children[0]
    }

    /// The child of this name, made in front of the others if missing.
    pub fn make_child(&mut self, name: &str) -> &mut Node {
        match self.children.iter().position(|child| child.name == name) {
            Some(index) => &mut self.children[index],
            None => self.add_child(Node::new(name)),
        }
    }

    fn find_with(&self, path: String, wanted: &impl Fn(&Node) -> bool) -> Option<(String, &Node)> {
        if wanted(self) {
            return Some((if path.is_empty() { "/".to_owned() } else { path }, self));
        }
        self.children.iter().find_map(|child| child.find_with(format!("{path}/{}", child.name), wanted))
    }
}

#[cfg(test)]
#[path = "fdt_test.rs"]
mod test;
