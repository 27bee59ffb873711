use proptest::prelude::*;

use super::*;
use crate::region::WHOLE;
use crate::{OpenBus, Unassigned};

fn io(name: &str, size: u64) -> Arc<Region> {
    Region::mmio(name, size, Arc::new(Unassigned))
}

fn text(view: &FlatView) -> Vec<String> {
    view.ranges()
        .iter()
        .map(|r| format!("{:x}-{:x} {}@{:x}", r.start, r.last, r.region.name(), r.offset))
        .collect()
}

#[test]
fn priorities_and_overlaps() {
    let root = Region::container("root", WHOLE);
    root.add_subregion(0x1000, &io("a", 0x1000));
    root.add_overlap(0x1400, &io("low", 0x2000), -1);
    root.add_overlap(0x1800, &io("high", 0x100), 1);
    root.add_subregion(0x1f00, &io("newer", 0x200));
    assert_eq!(
        text(&FlatView::render(&root)),
        ["1000-17ff a@0", "1800-18ff high@0", "1900-1eff a@900", "1f00-20ff newer@0", "2100-33ff low@d00"]
    );
}

#[test]
fn whole_spaces() {
    let root = Region::container("root", WHOLE);
    root.add_overlap(0, &io("background", WHOLE), -1000);
    root.add_subregion(u64::MAX - 0xff, &io("top", 0x100));
    let view = FlatView::render(&root);
    assert_eq!(text(&view), ["0-fffffffffffffeff background@0", "ffffffffffffff00-ffffffffffffffff top@0"]);
    assert_eq!(view.lookup(u64::MAX).unwrap().region.name(), "top");
    assert_eq!(view.lookup(u64::MAX).unwrap().left(u64::MAX), 1);
    assert_eq!(view.lookup(0).unwrap().region.name(), "background");
    let alone = io("all", WHOLE);
    assert_eq!(FlatView::render(&alone).lookup(5).unwrap().left(0), u64::MAX);
    assert!(FlatView::default().lookup(0).is_none());
}

#[test]
fn alias_windows() {
    let target = Region::container("target", 0x10000);
    target.add_subregion(0x100, &io("x", 0x1000));
    target.add_subregion(0x4000, &io("y", 0x1000));
    let root = Region::container("root", WHOLE);
    root.add_subregion(0x8000_0000, &Region::alias("w", &target, 0x800, 0x4000));
    let loop_ = Region::container("loop", 0x100);
    loop_.add_subregion(0, &Region::alias("again", &loop_, 0, 0x100));
    root.add_subregion(0x10, &loop_);
    assert_eq!(text(&FlatView::render(&root)), ["80000000-800008ff x@700", "80003800-80003fff y@0"]);
    // An alias that is placed below its target's offset.
    let inner = io("inner", 0x100);
    let holder = Region::container("holder", 0x1000);
    holder.add_subregion(0x700, &inner);
    let root = Region::container("root", 0x1000);
    root.add_subregion(0x10, &Region::alias("low", &inner, 0x80, 0x100));
    assert_eq!(text(&FlatView::render(&root)), ["10-8f inner@80"]);
}

#[test]
fn rom_devices_and_readonly() {
    let ram = Ram::anonymous(0x2000).unwrap();
    let flash = Region::rom_device("flash", ram.clone(), Arc::new(OpenBus));
    let view = FlatView::render(&flash);
    assert!(view.ranges()[0].readable(5).is_some() && view.ranges()[0].writable(5).is_none());
    assert!(view.ranges()[0].registers(5).is_some());
    flash.set_romd(false);
    assert!(FlatView::render(&flash).ranges()[0].readable(5).is_none());
    let root = Region::container("root", WHOLE);
    let memory = Region::ram("ram", ram.clone());
    root.add_subregion(0x1000, &memory);
    let read_only = Region::alias("shadow", &memory, 0x800, 0x100);
    read_only.set_readonly(true);
    root.add_overlap(0x1800, &read_only, 1);
    let view = FlatView::render(&root);
    assert_eq!(text(&view), ["1000-17ff ram@0", "1800-18ff ram@800", "1900-2fff ram@900"]);
    assert!(view.lookup(0x1800).unwrap().writable(0x1800).is_none());
    assert_eq!(view.lookup(0x1907).unwrap().writable(0x1907).unwrap().1, 0x907);
    // A seam that is none is closed.
    read_only.set_readonly(false);
    assert_eq!(FlatView::render(&root).ranges().len(), 1);
}

/// A random tree: each node is put somewhere in an earlier one.
#[derive(Clone, Debug)]
struct Plan {
    parent: usize,
    address: u64,
    size: u64,
    priority: i32,
    kind: u8,
    offset: u64,
    enabled: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    (0usize..100, 0u64..64, 1u64..64, -1i32..2, 0u8..6, 0u64..32, 0u8..8).prop_map(
        |(parent, address, size, priority, kind, offset, enabled)| Plan {
            parent,
            address,
            size,
            priority,
            kind,
            offset,
            enabled: enabled != 0,
        },
    )
}

fn build(plans: &[Plan]) -> Arc<Region> {
    let root = Region::container("root", 64);
    let mut containers = vec![root.clone()];
    let mut targets: Vec<Arc<Region>> = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let name = format!("r{n}");
        let region = match plan.kind {
            0 | 1 => Region::container(&name, plan.size),
            2 if !targets.is_empty() => {
                Region::alias(&name, &targets[plan.parent % targets.len()], plan.offset, plan.size)
            }
            _ => io(&name, plan.size),
        };
        region.set_enabled(plan.enabled);
        containers[plan.parent % containers.len()].add_overlap(plan.address, &region, plan.priority);
        if plan.kind != 2 {
            containers.push(region.clone());
        }
        targets.push(region);
    }
    root
}

/// What is seen at `address` of `region`: its innermost visible region and the offset in it.
fn oracle(region: &Arc<Region>, address: i128, through: &mut Vec<*const Region>) -> Option<(String, i128)> {
    if !region.is_enabled() || address < 0 || address >= region.size() as i128 {
        return None;
    }
    if let Kind::Alias { target, offset } = region.kind() {
        if through.contains(&Arc::as_ptr(region)) {
            return None;
        }
        through.push(Arc::as_ptr(region));
        let seen = oracle(target, address + i128::from(*offset), through);
        through.pop();
        return seen;
    }
    region
        .children()
        .iter()
        .find_map(|c| oracle(c, address - i128::from(c.address()), through))
        .or_else(|| (!matches!(region.kind(), Kind::Container)).then(|| (region.name().to_owned(), address)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_a_walk_for_every_byte(plans in proptest::collection::vec(plan(), 1..14)) {
        let root = build(&plans);
        let view = FlatView::render(&root);
        for pair in view.ranges().windows(2) {
            prop_assert!(pair[0].last < pair[1].start);
            prop_assert!(!pair[0].continues(&pair[1]));
        }
        for address in 0..80u64 {
            let seen = view.lookup(address).map(|r| {
                (r.region.name().to_owned(), i128::from(r.offset + (address - r.start)))
            });
            prop_assert_eq!(seen, oracle(&root, i128::from(address), &mut Vec::new()), "at {}", address);
        }
    }
}
