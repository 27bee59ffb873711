//! `info qom-tree`.

use std::fmt::Write;

use crate::ObjectRef;

/// The tree from `node` down, as `info qom-tree` shows it: children sorted by the bytes of their names, so
/// that `[10]` comes before `[1]`.
pub fn print_tree(node: &ObjectRef) -> String {
    let mut out = String::new();
    print(node, node.name().as_deref().unwrap_or(""), 0, &mut out);
    out
}

fn print(node: &ObjectRef, name: &str, depth: usize, out: &mut String) {
    let _ = writeln!(out, "{:indent$}/{name} ({})", "", node.type_name(), indent = depth * 2);
    let mut children = node.children();
    children.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    for (name, child) in &children {
        print(child, name, depth + 1, out);
    }
}
