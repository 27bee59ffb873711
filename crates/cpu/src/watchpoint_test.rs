use super::*;

fn store(address: u64, len: u64) -> Watchpoint {
    Watchpoint { address, len, read: false, write: true }
}

#[test]
fn an_access_meets_what_it_touches() {
    let w = Watchpoints::default();
    assert!(!w.any() && w.met(0, 8, Access::Write).is_none());
    assert!(w.insert(store(0x1004, 4)) && !w.insert(store(0x1004, 4)) && !w.insert(store(0, 0)));
    for (va, len, meets) in [(0x1000, 4, false), (0x1000, 5, true), (0x1007, 1, true), (0x1008, 8, false)] {
        assert_eq!(w.met(va, len, Access::Write).is_some(), meets, "{va:x}+{len}");
        assert!(w.met(va, len, Access::Read).is_none());
    }
    assert_eq!(w.in_page(0x1fff), (false, true));
    assert_eq!(w.in_page(0x2000), (false, false));
    assert!(w.remove(store(0x1004, 4)) && !w.remove(store(0x1004, 4)) && !w.any());
}

#[test]
fn a_range_may_cross_pages_and_end_at_the_top() {
    let w = Watchpoints::default();
    w.insert(store(0x1ffc, 8));
    assert_eq!((w.in_page(0x1000), w.in_page(0x2000)), ((false, true), (false, true)));
    w.insert(Watchpoint { address: u64::MAX - 7, len: 8, read: true, write: false });
    assert!(w.met(u64::MAX, 1, Access::Read).is_some());
    assert_eq!(w.in_page(u64::MAX), (true, false));
    let before = w.generation();
    w.clear();
    assert_ne!(before, w.generation());
}
