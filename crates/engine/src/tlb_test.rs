use super::*;

const RW: Rights = Rights { read: true, write: true, execute: false };

const PAGE: Kind = Kind { global: false, large: false };
const SUPERPAGE: Kind = Kind { global: false, large: true };

fn space(number: u64) -> Space {
    Space { number, owner: number }
}

fn hits(set: &Set, va: u64) -> [bool; 3] {
    let e = set.entry(va);
    [Access::Read, Access::Write, Access::Execute].map(|a| e.allows(va & !4095, a))
}

#[test]
fn a_filled_page_is_found_until_it_is_flushed() {
    let mut tlb = Tlb::default();
    let (i, made) = tlb.select(space(7), usize::MAX);
    assert!(made.is_some());
    let set = tlb.set(i);
    set.fill(0x1234_5678, 0x7000_0000_3000, RW, PAGE);
    assert_eq!(hits(set, 0x1234_5000), [true, true, false]);
    assert_eq!(set.entry(0x1234_5678).addend.load(Relaxed).wrapping_add(0x1234_5678), 0x7000_0000_3678);
    set.flush_page(0x1234_6000, false);
    assert_eq!(hits(set, 0x1234_5000), [true, true, false]);
    set.flush_page(0x1234_5fff, false);
    assert_eq!(hits(set, 0x1234_5000), [false; 3]);
}

#[test]
fn two_pages_that_share_an_entry_find_each_other() {
    let (a, b) = (0x1234_5000, 0x1234_5000 + 4096 * ENTRIES as u64);
    for parallel in [false, true] {
        let mut tlb = Tlb::new(parallel);
        let (i, _) = tlb.select(space(7), usize::MAX);
        let set = tlb.set(i);
        set.fill(a, 0x7000_0000_3000, RW, PAGE);
        assert!(!set.recall(b, Access::Read));
        set.fill(b, 0x7000_0000_9000, RW, PAGE);
        assert_eq!(hits(set, a), [false; 3]);
        assert!(set.recall(a, Access::Read));
        // Another vCPU that looked for tags might not see one that is on its way from here to there.
        assert_eq!(hits(set, a), [true, !parallel, false]);
        assert_eq!(set.entry(a).addend.load(Relaxed).wrapping_add(a), 0x7000_0000_3000);
        assert_eq!(set.recall(b, Access::Write), !parallel);
        // Whoever has looked at the tag may still be about to store.
        assert!(set.entries.forget_writes(0x7000_0000_3000));
        assert!(!set.recall(a, Access::Write));
        set.flush_page(b, false);
        assert!(!set.recall(a, Access::Read));
        set.fill(a, 0x7000_0000_3000, RW, PAGE);
        set.flush_own();
        assert!(!set.recall(b, Access::Read) && hits(set, a) == [false; 3]);
    }
}

#[test]
fn a_piece_of_a_superpage_takes_the_whole_with_it() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(space(7), usize::MAX);
    let set = tlb.set(i);
    set.fill(0x8000_0000, 0x7000_0000_0000, RW, SUPERPAGE);
    set.fill(0x8000_1000, 0x7000_0000_1000, RW, SUPERPAGE);
    set.flush_page(0x8000_1000, false);
    assert_eq!(hits(set, 0x8000_0000), [false; 3]);
}

#[test]
fn spaces_keep_their_sets_until_there_are_too_many() {
    let mut tlb = Tlb::default();
    let (first, _) = tlb.select(space(0), usize::MAX);
    tlb.set(first).fill(0x1000, 0x2000, RW, PAGE);
    for n in 1..SETS as u64 {
        tlb.select(space(n), usize::MAX);
    }
    assert_eq!(tlb.select(space(0), usize::MAX).0, first);
    assert_eq!(hits(tlb.set(first), 0x1000), [true, true, false]);
    // The one not used for longest, number 1, makes room; a set that is in use never does.
    let (second, _) = tlb.select(space(1), usize::MAX);
    let (third, _) = tlb.select(space(2), usize::MAX);
    assert_eq!(tlb.select(space(100), third).1.map(|_| ()), None);
    assert_eq!(tlb.select(space(1), usize::MAX).0, second);
}

#[test]
fn write_tags_go_wherever_the_page_is_mapped() {
    let mut tlb = Tlb::default();
    let (i, made) = tlb.select(space(1), usize::MAX);
    let entries = made.unwrap();
    let set = tlb.set(i);
    set.fill(0x1000, 0x7000_0000, RW, PAGE);
    set.fill(0xffff_ffc0_0000_2000, 0x7000_0000, RW, PAGE);
    set.fill(0x3000, 0x7000_1000, RW, PAGE);
    entries.forget_writes(0x7000_0000);
    assert_eq!(hits(set, 0x1000), [true, false, false]);
    assert_eq!(hits(set, 0xffff_ffc0_0000_2000), [true, false, false]);
    assert_eq!(hits(set, 0x3000), [true, true, false]);
}

#[test]
fn jumps_are_forgotten_with_either_page_of_a_crossing_instruction() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(space(1), usize::MAX);
    let set = tlb.set(i);
    let tag = 3 << 57;
    set.set_jump(0x1ffe, tag, 42, 0x2001);
    assert_eq!(set.jump(0x1ffe, tag), Some(42));
    assert_eq!(set.jump(0x1ffe, 0), None);
    set.flush_page(0x5000, false);
    assert_eq!(set.jump(0x1ffe, tag), Some(42));
    set.flush_page(0x2000, false);
    assert_eq!(set.jump(0x1ffe, tag), None);
}

#[test]
fn a_page_takes_no_other_pages_code_with_it() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(space(1), usize::MAX);
    let set = tlb.set(i);
    // Pages that share the page's places in the jump cache, and one that shares nothing.
    let pages = [0x1_0000, 0x2_0000, 0xffff_ffff_8001_0000, 0x5_3000];
    for round in 0..3 {
        for (n, page) in pages.iter().enumerate() {
            let pc = page + 16 * n as u64;
            set.set_jump(pc, 0, round * 4 + n as u64, pc);
        }
        set.flush_page(pages[0], false);
        let found = |set: &Set, n: usize| set.jump(pages[n] + 16 * n as u64, 0);
        assert_eq!(found(set, 0), None);
        assert!((1..4).all(|n| found(set, n) == Some(round * 4 + n as u64)));
    }
    set.flush();
    assert!((0..4).all(|n| set.jump(pages[n] + 16 * n as u64, 0).is_none()));
}

#[test]
fn a_code_page_is_known_until_its_jumps_are_forgotten() {
    let mut set = Set::new(true);
    let page = CodePage { host: 0x7000_0000_3000, wide: false };
    let known = |set: &Set| {
        let pages = [0x1234_5000, 0x1234_5000 + 4096 * CODE_PAGES as u64];
        let known = pages.map(|pc| set.has_code_page(pc + 0x10, page));
        assert_eq!(pages.map(|pc| set.code_page(pc + 0x20) == Some(page)), known);
        known
    };
    let fill = |set: &mut Set| {
        set.set_jump(0x1234_5010, 0, 0x9000, 0x1234_5010);
        set.set_code_page(0x1234_5010, page, 0x5007);
        assert_eq!(known(set), [true, false]);
        let entries = set.code_pages.iter().filter(|e| e.load(Relaxed) != 0);
        assert_eq!(entries.map(|e| e.load(Relaxed)).collect::<Vec<_>>(), [0x1234_5000 ^ 0x5007]);
    };
    fill(&mut set);
    assert!(!set.has_code_page(0x1234_5010, CodePage { wide: true, ..page }));
    set.flush_page(0x1234_6000, false);
    assert_eq!(known(&set), [true, false]);
    for _ in 0..3 {
        set.flush_page(0x1234_5000, false);
        assert_eq!(known(&set), [false; 2]);
        fill(&mut set);
    }
    assert_eq!(set.placed.len(), 1);
    set.forget_jumps();
    assert_eq!(known(&set), [false; 2]);
    assert!(set.code_pages.iter().all(|e| e.load(Relaxed) == 0));
}

#[test]
fn calls_are_kept_for_each_mode_until_code_may_be_elsewhere() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(space(1), usize::MAX);
    let set = tlb.set(i);
    let tag = |set: &Set, mode: u32| {
        let calls = set.calls.iter().find(|c| c.mode == mode);
        calls.map(|c| c.entries[3].tag.load(Relaxed))
    };
    for mode in 0..MODES as u32 {
        set.run(mode, 0x1000);
        set.calls[set.mode].entries[3].tag.store(0x1000 + mode as u64, Relaxed);
    }
    assert_eq!((tag(set, 0), tag(set, 3)), (Some(0x1000), Some(0x1003)));
    // One mode too many: another's make room.
    set.run(9, 0x1000);
    assert_eq!((tag(set, 9), tag(set, 0)), (Some(NONE), None));
    assert_eq!(tag(set, 3), Some(0x1003));
    // A page without code says nothing about calls.
    set.flush_page(0x7000, false);
    assert_eq!(tag(set, 3), Some(0x1003));
    set.flush_page(0x1000, false);
    assert_eq!(tag(set, 3), Some(NONE));
}

#[test]
fn calls_of_code_that_goes_on_are_forgotten_each_time() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(space(1), usize::MAX);
    let set = tlb.set(i);
    set.run(7, 0x1000);
    for _ in 0..3 {
        // Nobody tells of it.
        set.calls[set.mode].entries[3].tag.store(0x1000, Relaxed);
        set.forget_jumps();
        assert_eq!(set.calls[set.mode].entries[3].tag.load(Relaxed), NONE);
        assert!(!set.calls[set.mode].empty);
    }
    set.calls[set.mode].entries[3].tag.store(0x1000, Relaxed);
    set.leave();
    set.forget_jumps();
    assert_eq!(set.calls[set.mode].entries[3].tag.load(Relaxed), NONE);
    assert!(set.calls[set.mode].empty && !set.has_code);
    // It comes back to what it had before: to the same table of calls, which counts as filled from now on.
    set.run(7, 0x1000);
    assert!(!set.calls[set.mode].empty && set.has_code);
}

#[test]
fn what_is_global_survives_another_page_table() {
    let mut tlb = Tlb::default();
    let (i, _) = tlb.select(Space { number: 1, owner: 10 }, usize::MAX);
    let set = tlb.set(i);
    set.fill(0x1000, 0x7000_0000, RW, Kind { global: true, large: false });
    set.fill(0x2000, 0x7000_1000, RW, PAGE);
    set.set_jump(0x1000, 0, 42, 0x1000);
    assert_eq!(tlb.select(Space { number: 1, owner: 11 }, usize::MAX).0, i);
    let set = tlb.set(i);
    assert_eq!(hits(set, 0x1000), [true, true, false]);
    assert_eq!(hits(set, 0x2000), [false; 3]);
    assert_eq!(set.jump(0x1000, 0), Some(42));
    // Code in a page of the page table's own takes the jump cache with it.
    set.fill(0x2000, 0x7000_1000, Rights { execute: true, ..RW }, PAGE);
    set.set_jump(0x2000, 0, 43, 0x2000);
    set.flush_own();
    assert_eq!((set.jump(0x2000, 0), hits(set, 0x2000)), (None, [false; 3]));
}

#[test]
fn what_is_global_survives_where_something_else_was_before_or_came_after() {
    const GLOBAL: Kind = Kind { global: true, large: false };
    let (global, own) = (0x1234_5000, 0x1234_5000 + 4096 * ENTRIES as u64);
    let mut tlb = Tlb::new(false);
    let (i, _) = tlb.select(space(7), usize::MAX);
    let set = tlb.set(i);
    set.fill(own, 0x7000_0000_3000, RW, PAGE);
    set.fill(global, 0x7000_0000_9000, RW, GLOBAL);
    set.flush_own();
    assert_eq!(hits(set, global), [true, true, false]);
    assert!(!set.recall(own, Access::Read));
    set.fill(own, 0x7000_0000_3000, RW, PAGE);
    set.flush_own();
    assert_eq!(hits(set, own), [false; 3]);
    assert!(set.recall(global, Access::Read), "the other has driven it out");
    set.fill(own, 0x7000_0000_3000, RW, PAGE);
    assert!(set.recall(global, Access::Read));
    set.flush_own();
    assert_eq!(hits(set, global), [true, true, false]);
    assert!(!set.recall(own, Access::Read));
}

#[test]
fn an_entry_for_no_page_allows_nothing_anywhere() {
    let mut set = Set::new(true);
    let all = [Access::Read, Access::Write, Access::Execute];
    // The page of the last byte may be the next one.
    let allowed = |set: &Set, va: u64| {
        let pages = [va & !4095, (va & !4095).wrapping_add(4096)];
        pages.iter().any(|&page| all.iter().any(|&a| set.entry(va).allows(page, a)))
    };
    let pages = (0..ENTRIES as u64).flat_map(|i| [0, u64::MAX << 24, 1 << 63].map(|high| high | i << 12));
    for va in pages.clone() {
        assert!(!allowed(&set, va));
    }
    for va in pages.clone() {
        set.fill(va, 0x7000_0000_0000 + va % (1 << 24), RW, PAGE);
        assert!(allowed(&set, va));
        set.flush_page(va, false);
        assert!(!allowed(&set, va));
    }
}

#[test]
fn an_entry_is_for_stores_or_for_fetches_and_always_for_loads() {
    let mut set = Set::new(true);
    let rights = |read, write, execute| Rights { read, write, execute };
    for (given, found) in [
        (rights(true, false, false), [true, false, false]),
        (rights(true, true, false), [true, true, false]),
        (rights(true, true, true), [true, false, true]),
        (rights(true, false, true), [true, false, true]),
        (rights(false, true, true), [false; 3]),
    ] {
        set.fill(0x5000, 0x7000_0000_0000, given, PAGE);
        assert_eq!(hits(&set, 0x5000), found);
    }
    // Code that may not be read has no entry, and is forgotten with its page table.
    set.flush();
    set.fill(0x5000, 0x7000_0000_0000, rights(false, false, true), PAGE);
    set.set_jump(0x5000, 0, 42, 0x5000);
    set.flush_own();
    assert_eq!(set.jump(0x5000, 0), None);
}
