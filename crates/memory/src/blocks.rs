//! All memory of a machine, by name: what a snapshot has to hold.

use std::sync::Arc;

use crate::ram::Ram;
use crate::region::{Kind, Region};

/// A RAM block with the name under which it is saved: its region's, with a number if there are several.
#[derive(Clone, Debug)]
pub struct Block {
    /// The name.
    pub name: String,
    /// The memory.
    pub ram: Arc<Ram>,
}

/// The blocks of the regions below `root`, each once, hidden ones included, in order of address.
pub fn ram_blocks(root: &Arc<Region>) -> Vec<Block> {
    let mut found = Vec::new();
    collect(root, &mut found);
    found
}

fn collect(region: &Arc<Region>, found: &mut Vec<Block>) {
    if let Some(ram) = region.ram_block()
        && !found.iter().any(|block| Arc::ptr_eq(&block.ram, ram))
    {
        let same = |name: &str| found.iter().any(|block| block.name == name);
        let numbered = (2..).map(|n| format!("{}#{n}", region.name()));
        let name = std::iter::once(region.name().to_owned()).chain(numbered).find(|name| !same(name));
        found.extend(name.map(|name| Block { name, ram: ram.clone() }));
    }
    if let Kind::Alias { target, .. } = region.kind() {
        collect(target, found);
    }
    let mut children = region.children();
    children.sort_by_key(|child| child.address());
    children.iter().for_each(|child| collect(child, found));
}
