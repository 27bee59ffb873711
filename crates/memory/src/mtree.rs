//! `info mtree`: the regions as a tree, or the flat views.

use std::fmt::Write;
use std::sync::Arc;

use crate::flat::{FlatRange, FlatView, Target};
use crate::region::{Kind, Region};
use crate::space::AddressSpace;

/// The switches of `info mtree`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MtreeOptions {
    /// `-f`: flat views instead of trees.
    pub flat: bool,
    /// `-d`: with flat views, what accesses are decided by.
    pub dispatch: bool,
    /// `-o`: owners.
    pub owner: bool,
    /// `-D`: regions that are disabled, too.
    pub disabled: bool,
}

/// The text of `info mtree` for these address spaces.
pub fn print_mtree(spaces: &[Arc<AddressSpace>], options: MtreeOptions) -> String {
    let mut out = String::new();
    if options.flat {
        print_flat(spaces, options, &mut out);
    } else {
        print_trees(spaces, options, &mut out);
    }
    out
}

fn last(start: u64, size: u128) -> u64 {
    start.wrapping_add((size.max(1) - 1) as u64)
}

fn type_word(region: &Region) -> &'static str {
    match region.kind() {
        Kind::Ram(_) | Kind::Rom(_) if region.is_readonly() => "rom",
        Kind::Ram(_) | Kind::Rom(_) => "ram",
        Kind::RomDevice(..) if region.is_romd() => "romd",
        // An alias of memory counts as memory, and may be read-only where its target is not.
        Kind::Alias { target, .. } => match type_word(target) {
            "ram" if region.is_readonly() => "rom",
            word @ ("ram" | "rom") => word,
            _ => "i/o",
        },
        _ => "i/o",
    }
}

fn owner(region: &Region, options: MtreeOptions) -> String {
    if !options.owner {
        return String::new();
    }
    let Some(owner) = region.owner() else { return " orphan".to_owned() };
    let Some(node) = owner.node.upgrade() else { return " orphan".to_owned() };
    let role = if owner.owns { "owner" } else { "parent" };
    let kind = if node.is_device() { "dev" } else { "obj" };
    match node.id() {
        id if id.is_empty() || kind == "obj" => format!(" {role}:{{{kind} path={}}}", node.path()),
        id => format!(" {role}:{{{kind} id={id}}}"),
    }
}

fn print_trees(spaces: &[Arc<AddressSpace>], options: MtreeOptions, out: &mut String) {
    let mut shown: Vec<&Arc<Region>> = Vec::new();
    let mut targets: Vec<Arc<Region>> = Vec::new();
    for space in spaces {
        let root = space.root();
        if shown.iter().any(|r| Arc::ptr_eq(r, root)) {
            continue;
        }
        shown.push(root);
        let mut names: Vec<_> =
            spaces.iter().filter(|s| Arc::ptr_eq(s.root(), root)).map(|s| s.name()).collect();
        names.sort_unstable();
        for name in names {
            let _ = writeln!(out, "address-space: {name}");
        }
        print_region(root, 1, 0, options, &mut targets, out);
        out.push('\n');
    }
    // Targets of aliases are shown after the trees, each once; their own aliases may add to the list.
    let mut n = 0;
    while let Some(target) = targets.get(n).cloned() {
        let _ = writeln!(out, "memory-region: {}", target.name());
        print_region(&target, 1, 0, options, &mut targets, out);
        out.push('\n');
        n += 1;
    }
}

fn print_region(
    region: &Arc<Region>,
    level: usize,
    base: u64,
    options: MtreeOptions,
    targets: &mut Vec<Arc<Region>>,
    out: &mut String,
) {
    let place = region.place();
    let start = base.wrapping_add(place.address);
    let visible = region.is_enabled() || options.disabled;
    let enabled = if region.is_enabled() { "" } else { " [disabled]" };
    if visible {
        for _ in 0..level {
            out.push_str("  ");
        }
        let _ = write!(
            out,
            "{start:016x}-{:016x} (prio {}, {}): ",
            last(start, region.size()),
            place.priority,
            type_word(region)
        );
    }
    if let Kind::Alias { target, offset } = region.kind() {
        if !targets.iter().any(|t| Arc::ptr_eq(t, target)) {
            targets.push(target.clone());
        }
        if visible {
            let _ = write!(
                out,
                "alias {} @{} {offset:016x}-{:016x}{enabled}",
                region.name(),
                target.name(),
                last(*offset, region.size())
            );
        }
    } else if visible {
        let _ = write!(out, "{}{enabled}", region.name());
    }
    if visible {
        out.push_str(&owner(region, options));
        out.push('\n');
    }
    let mut children = region.children();
    // Lower addresses first; at one address, what is seen first.
    children.sort_by_key(|c| (c.address(), std::cmp::Reverse(c.priority())));
    for child in &children {
        print_region(child, level + 1, start, options, targets, out);
    }
}

/// The region that a root really shows: a container with one part that covers it, or an alias of a whole,
/// stands for that part. `None` when nothing is shown.
fn shown_root(root: &Arc<Region>) -> Option<Arc<Region>> {
    let mut root = root.clone();
    loop {
        if !root.is_enabled() {
            return None;
        }
        let next = match root.kind() {
            Kind::Alias { target, offset: 0 } if root.size() >= target.size() => Some(target.clone()),
            Kind::Container => {
                let enabled: Vec<_> = root.children().into_iter().filter(|c| c.is_enabled()).collect();
                match &enabled[..] {
                    [] => return None,
                    [only] if only.address() == 0 && only.size() <= root.size() => Some(only.clone()),
                    _ => None,
                }
            }
            _ => None,
        };
        match next {
            Some(next) => root = next,
            None => return Some(root),
        }
    }
}

/// Address spaces that show the same, and the region they show.
type Group<'a> = (Option<Arc<Region>>, Vec<&'a Arc<AddressSpace>>);

fn print_flat(spaces: &[Arc<AddressSpace>], options: MtreeOptions, out: &mut String) {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for space in spaces {
        let root = shown_root(space.root());
        let same = |other: &Option<Arc<Region>>| match (&root, other) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        match groups.iter_mut().find(|g| same(&g.0)) {
            Some(group) => group.1.push(space),
            None => groups.push((root, vec![space])),
        }
    }
    for (n, (root, members)) in groups.iter().enumerate() {
        let _ = writeln!(out, "FlatView #{n}");
        for space in members {
            let _ = write!(out, " AS \"{}\", root: {}", space.name(), space.root().name());
            if let Kind::Alias { target, .. } = space.root().kind() {
                let _ = write!(out, ", alias {}", target.name());
            }
            out.push('\n');
        }
        let _ = writeln!(out, " Root memory region: {}", root.as_ref().map_or("(none)", |r| r.name()));
        let view = members[0].view();
        print_ranges(&view, options, out);
        if options.dispatch {
            print_dispatch(&view, out);
        }
        out.push('\n');
    }
}

/// An address is looked up among the ranges by halving: there is no tree of pages beside them.
fn print_dispatch(view: &FlatView, out: &mut String) {
    out.push_str("  Dispatch\n    Physical sections\n");
    let _ = writeln!(out, "      #0 @{:016x}..{:016x} (noname) [unassigned]", 0, u64::MAX);
    for (n, range) in (1..).zip(view.ranges()) {
        let _ =
            writeln!(out, "      #{n} @{:016x}..{:016x} {}", range.start, range.last, range.region.name());
    }
}

fn print_ranges(view: &FlatView, options: MtreeOptions, out: &mut String) {
    if view.ranges().is_empty() {
        out.push_str("  No rendered FlatView\n");
    }
    for range in view.ranges() {
        let _ = write!(
            out,
            "  {:016x}-{:016x} (prio {}, {}): {}",
            range.start,
            range.last,
            range.region.priority(),
            range_word(range),
            range.region.name()
        );
        if range.offset != 0 {
            let _ = write!(out, " @{:016x}", range.offset);
        }
        out.push_str(&owner(&range.region, options));
        out.push('\n');
    }
}

fn range_word(range: &FlatRange) -> &'static str {
    match &range.target {
        Target::Ram { readonly: true, .. } => "rom",
        Target::Ram { .. } => "ram",
        Target::Romd { .. } => "romd",
        Target::Mmio { .. } => "i/o",
    }
}

#[cfg(test)]
#[path = "mtree_test.rs"]
mod test;
