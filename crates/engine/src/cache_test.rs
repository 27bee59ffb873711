use super::*;

const PAGE: u64 = 0x7fff_0000_0000;
const HERE: CodePage = CodePage { host: PAGE, wide: false };

fn cache() -> Cache {
    let stubs = host::Stubs { link: [0x1000, 0x2000], probe: [0x3000, 0x4000], ..host::Stubs::default() };
    Cache::new(Arc::new(CodeMemory::new(1 << 20).unwrap()), 10, &stubs)
}

/// Where a link's displacement and stub are, and its target.
type AtStubTarget = (u32, Option<u32>, i64);

/// Sixteen bytes, with a link's displacement at 12.
fn block(c: &mut Cache, offset: u16, bytes: u16, second: Option<u64>, links: &[AtStubTarget]) -> Id {
    place(c, (HERE, offset, bytes), second, links)
}

/// The same in any page.
fn place(c: &mut Cache, bytes: (CodePage, u16, u16), second: Option<u64>, links: &[AtStubTarget]) -> Id {
    place_as(c, bytes, second, links, false)
}

/// The same, or a region.
fn place_as(
    c: &mut Cache,
    (page, offset, bytes): (CodePage, u16, u16),
    second: Option<u64>,
    links: &[AtStubTarget],
    region: bool,
) -> Id {
    let code = [0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 1, 2, 0, 0, 0, 0];
    let links =
        links.iter().map(|&(at, stub, target)| host::Link { at, stub, target, guard: None }).collect();
    let points = vec![host::Point { return_offset: 4, insn: offset as i64 + 2 }];
    let code = host::Code { bytes: code.to_vec(), hot: 16, links, points, relocations: Vec::new() };
    c.insert(NewBlock {
        key: Key::new(page, offset, 5),
        second,
        offset,
        bytes,
        floats: true,
        repeatable: None,
        region,
        straight: true,
        path: &[],
        code: &code,
        insns: &[offset, offset + 2, offset + 6],
    })
    .0
}

/// Whether the page is no page of code any more after some stores.
fn forgotten(c: &mut Cache, page: u64, offset: u64, len: u64) -> bool {
    (0..=IDLE_STORES).any(|_| c.invalidate(page, offset, len))
}

fn displacement(c: &Cache, id: Id) -> u32 {
    let at = c.blocks[id as usize].start as usize + 12;
    u32::from_le_bytes(c.code.read(at, 4).try_into().unwrap())
}

#[test]
fn blocks_are_found_by_page_offset_and_mode() {
    let mut c = cache();
    let a = block(&mut c, 0x10, 8, None, &[]);
    assert_eq!(c.find(Key::new(HERE, 0x10, 5)).map(|f| f.0), Some(a));
    for other in [
        Key::new(HERE, 0x12, 5),
        Key::new(HERE, 0x10, 4),
        Key::new(CodePage { host: PAGE + 4096, ..HERE }, 0x10, 5),
        Key::new(CodePage { wide: true, ..HERE }, 0x10, 5),
    ] {
        assert_eq!(c.find(other), None);
    }
}

#[test]
fn only_what_was_translated_from_the_written_bytes_dies() {
    let mut c = cache();
    let a = block(&mut c, 0x10, 8, None, &[]);
    let b = block(&mut c, 0x20, 8, None, &[]);
    assert!(!c.invalidate(PAGE, 0x18, 8), "between the two: nothing dies");
    assert!(!c.invalidate(PAGE, 0x27, 1));
    assert!(c.find(Key::new(HERE, 0x10, 5)).is_some());
    assert!(c.find(Key::new(HERE, 0x20, 5)).is_none());
    let entry = c.address(b);
    let start = c.blocks[b as usize].start as usize;
    assert_eq!(c.code.read(start - 5, 1), [0xe8], "a call stands before it");
    assert_eq!(c.code.read(start, 2), [0xeb, 0xf9], "which it jumps back to");
    assert_eq!((c.dead_entry(entry), c.dead_entry(entry + 5)), (Some(Key::new(HERE, 0x20, 5)), None));
    assert!(forgotten(&mut c, PAGE, 0, 4096), "the page has no translation left");
    assert!(c.blocks[a as usize].dead);
}

#[test]
fn a_page_that_is_filled_loses_what_lies_behind() {
    let mut c = cache();
    let places = [0x10, 0x400, 0xf00];
    let blocks = places.map(|offset| block(&mut c, offset, 8, None, &[]));
    let dead = |c: &Cache| blocks.map(|b| c.blocks[b as usize].dead);
    let stores = IDLE_STORES as u64;
    for i in 0..stores {
        assert!(!c.invalidate(PAGE, 0x100 + 4 * i, 4));
    }
    assert!(!c.invalidate(PAGE, 0x800, 4), "a place of its own");
    assert_eq!(dead(&c), [false; 3]);
    for i in 0..=stores {
        assert!(!c.invalidate(PAGE, 0x100 + 4 * i, 4));
    }
    assert_eq!(dead(&c), [false, true, true]);
    for i in 0..stores {
        assert!(!c.invalidate(PAGE, 4 * i, 4));
    }
    assert_eq!(dead(&c), [true; 3]);
    assert!(c.invalidate(PAGE, 4 * stores, 4), "nobody needs to be told of the rest");
}

#[test]
fn links_are_made_and_taken_back() {
    let mut c = cache();
    let a = block(&mut c, 0x10, 8, None, &[(12, Some(14), 0x20)]);
    let b = block(&mut c, 0x20, 8, None, &[]);
    assert_eq!(c.link_target(0), Some(Key::new(HERE, 0x20, 5)));
    assert_eq!(c.link_offset(0), Some(0x20));
    c.link(0, b);
    let (from, to) = (c.blocks[a as usize].start, c.blocks[b as usize].start);
    assert_eq!(from.wrapping_add(16).wrapping_add(displacement(&c, a)), to);
    c.invalidate(PAGE, 0x20, 1);
    assert_eq!(from.wrapping_add(16).wrapping_add(displacement(&c, a)), from + 14);
    c.invalidate(PAGE, 0x10, 1);
    assert_eq!(c.link_target(0), None, "a dead block's link leads nowhere");
}

#[test]
fn links_lead_to_other_pages() {
    let mut c = cache();
    let wide = |host| CodePage { host, wide: true };
    place(&mut c, (wide(PAGE), 0x10, 8), None, &[(12, Some(14), -0x1fe0)]);
    assert_eq!(c.link_target(0), Some(Key::new(wide(PAGE - 0x2000), 0x20, 5)));
    assert_eq!(c.link_offset(0), Some(0x20));
    let to = place(&mut c, (wide(PAGE - 0x2000), 0x20, 8), None, &[]);
    c.link(0, to);
    assert_ne!(displacement(&c, 0), 2);
    c.invalidate(PAGE - 0x2000, 0x20, 1);
    assert_eq!(displacement(&c, 0), u32::MAX - 1, "its stub");
}

#[test]
fn a_guarded_link_names_its_page_until_its_target_dies() {
    let mut c = cache();
    let from = {
        let links = vec![host::Link { at: 9, stub: Some(16), target: 0x7_0020, guard: Some(4) }];
        let code = host::Code { bytes: vec![0x90; 24], hot: 16, links, ..host::Code::default() };
        let key = Key::new(HERE, 0x10, 5);
        let new = NewBlock {
            key,
            code: &code,
            second: None,
            offset: 0x10,
            bytes: 8,
            floats: true,
            repeatable: None,
            region: false,
            straight: true,
            path: &[],
            insns: &[],
        };
        c.insert(new).0
    };
    let words = |c: &Cache| {
        let Block { start, apart, .. } = c.blocks[from as usize];
        let number = u32::from_le_bytes(c.code.read(start as usize + 4, 4).try_into().unwrap());
        (number, c.code.read(start as usize + 8, 1)[0], c.code.read(apart as usize, 1)[0])
    };
    assert_eq!((c.is_guarded(0), c.link_offset(0), c.link_target(0)), (true, Some(0x20), None));
    let (start, apart) = (c.blocks[0].start as usize, c.blocks[0].apart as usize);
    for call in [start + 8, apart] {
        assert_eq!(c.link_at(c.code.address(call + CALL_BYTES)), Some(0));
    }
    for turn in 0..2 {
        // Where it leads to is for the dispatcher to say.
        let page = CodePage { host: PAGE + 0x5000, wide: true };
        let to = place(&mut c, (page, 0x20, 8), None, &[]);
        let other = place(&mut c, (CodePage { host: PAGE + 0x6000, wide: false }, 0x20, 8), None, &[]);
        c.link(0, to);
        let number = c.page_number(page).unwrap();
        assert!(
            host::is_code_page_number(number)
                && c.page_number(CodePage { wide: false, ..page }) != Some(number)
        );
        assert_eq!(words(&c), (number ^ 0x20, 0xe9, 0xe9), "turn {turn}");
        assert_eq!(
            start + 13 + u32::from_le_bytes(c.code.read(start + 9, 4).try_into().unwrap()) as usize,
            c.blocks[to as usize].start as usize
        );
        c.invalidate(PAGE + 0x6000, 0x20, 1);
        assert!(c.blocks[other as usize].dead && words(&c).0 == number ^ 0x20);
        c.invalidate(PAGE + 0x5000, 0x20, 1);
        let (number, _, stub) = words(&c);
        assert_eq!((number, stub), (host::NO_CODE_PAGE, 0xe8), "turn {turn}");
    }
    // If it is known when the block is placed what is mapped there, and there is such a block, it is made at once.
    let page = CodePage { host: PAGE + 0x7_0000, wide: false };
    place(&mut c, (page, 0x20, 8), None, &[]);
    c.link_known(from, |n| Some(CodePage { host: PAGE + 0x1000 * n as u64, wide: true }));
    assert_eq!(words(&c).0, host::NO_CODE_PAGE);
    c.link_known(from, |n| Some(CodePage { host: PAGE + 0x1000 * n as u64, wide: false }));
    assert_eq!(words(&c).0, c.page_number(page).unwrap() ^ 0x20);
}

#[test]
fn numbers_of_pages_are_their_own_until_there_are_no_more() {
    let mut c = cache();
    let page = |n: u64| CodePage { host: PAGE + 4096 * n, wide: false };
    let (a, b) = (c.page_number(page(0)).unwrap(), c.page_number(page(1)).unwrap());
    assert!(a != b && c.page_number(page(0)) == Some(a));
    c.last_number = 4094;
    assert_eq!([c.page_number(page(2)), c.page_number(page(3))], [Some(4095), Some(4097)]);
    c.last_number = 4096 * host::CODE_PAGES as u32 - 2;
    assert!(c.page_number(page(4)).is_some());
    assert_eq!(c.page_number(page(5)), None);
    c.clear();
    assert!(c.page_number(page(5)).is_some());
}

#[test]
fn links_to_what_is_there_are_made_at_once() {
    let mut c = cache();
    let b = block(&mut c, 0x40, 8, None, &[]);
    let a = block(&mut c, 0x10, 8, None, &[(12, Some(4), 0x40)]);
    let without = displacement(&c, a);
    c.link_known(a, |_| None);
    let start = |id: Id| c.blocks[id as usize].start;
    assert_eq!(displacement(&c, a), start(b).wrapping_sub(start(a) + 16));
    assert_ne!(displacement(&c, a), without);
    let other = block(&mut c, 0x20, 8, None, &[(12, Some(4), 0x60)]);
    let without = displacement(&c, other);
    c.link_known(other, |_| None);
    assert_eq!(displacement(&c, other), without, "nothing is there");
}

#[test]
fn a_region_in_two_pages_has_its_name_and_dies_with_either() {
    const NEXT: u64 = PAGE + 8 * 4096;
    for (page, offset) in [(PAGE, 0xff8), (NEXT, 6)] {
        let mut c = cache();
        let block = place(&mut c, (HERE, 0xff0, 16), None, &[]);
        let region = place_as(&mut c, (HERE, 0xff0, 24), Some(NEXT), &[], true);
        let name = Key::new(HERE, 0xff0, 5);
        assert_eq!(c.find(name).map(|f| f.0), Some(region));
        assert!(c.blocks[block as usize].dead && c.is_region(name));
        c.invalidate(NEXT, 8, 8);
        assert!(c.is_region(name), "it ends before");
        c.invalidate(page, offset, 1);
        assert_eq!(c.find(name), None);
    }
}

#[test]
fn a_link_that_is_a_call_becomes_a_jump_and_a_call_again() {
    let mut c = cache();
    let a = block(&mut c, 0x10, 8, None, &[(12, None, 0x20)]);
    let b = block(&mut c, 0x20, 8, None, &[]);
    let (from, to) = (c.blocks[a as usize].start, c.blocks[b as usize].start);
    let opcode = |c: &Cache| c.code.read(from as usize + 11, 1)[0];
    assert_eq!(c.link_at(c.address(a) + 16), Some(0));
    assert_eq!((c.link_at(c.address(a) + 15), c.link_at(c.address(b) + 16)), (None, None));
    c.link(0, b);
    assert_eq!((opcode(&c), from.wrapping_add(16).wrapping_add(displacement(&c, a))), (0xe9, to));
    c.invalidate(PAGE, 0x20, 1);
    let stub = (c.address(a) as u32).wrapping_add(16).wrapping_add(displacement(&c, a));
    assert_eq!((opcode(&c), stub), (0xe8, 0x2000), "the stub of blocks that know floats");
}

#[test]
fn an_instruction_across_two_pages_dies_with_either() {
    for written in [PAGE + 4094, PAGE + 8192] {
        let mut c = cache();
        let second = PAGE + 8192;
        block(&mut c, 4094, 4, Some(second), &[]);
        let key = Key::new(HERE, 4094, 5);
        assert!(c.find(key).is_none() && c.find_crossing(key, second).is_some());
        assert!(c.find_crossing(key, second + 4096).is_none());
        assert!(forgotten(&mut c, written & !4095, written & 4095, 1));
        assert!(c.find_crossing(key, second).is_none());
        assert!(forgotten(&mut c, PAGE, 0, 4096) && forgotten(&mut c, second, 0, 4096));
    }
}

#[test]
fn return_addresses_lead_to_guest_instructions() {
    let mut c = cache();
    let a = block(&mut c, 0x10, 8, None, &[]);
    let b = block(&mut c, 0x40, 8, None, &[]);
    let at = |c: &Cache, id: Id, o: u64| c.address(id) + o;
    assert_eq!(c.point(at(&c, a, 4)), Some(0x12));
    assert_eq!(c.point(at(&c, b, 4)), Some(0x42));
    assert_eq!(c.point(at(&c, b, 5)), None);
    assert_eq!(c.point(0), None);
}

#[test]
fn stores_into_bytes_that_are_being_read_are_noticed() {
    let mut c = cache();
    let other = PAGE + 4096;
    for (page, offset, disturbs) in [
        (PAGE, 0xf, false),
        (PAGE, 0x10, true),
        (PAGE, 0x1f, true),
        (PAGE, 0x20, false),
        (other, 3, true),
        (0, 0, false),
    ] {
        c.begin([(PAGE, 0x10, 0x20), (other, 0, 4)]);
        c.invalidate(page, offset, 1);
        assert_eq!(c.is_disturbed(), disturbs, "{page:#x} {offset:#x}");
    }
    c.begin([(PAGE, 0x10, 0x20), (0, 0, 4)]);
    assert!(!c.is_disturbed());
}

#[test]
fn a_dead_block_stays_dead_when_what_it_jumps_to_dies() {
    let mut c = cache();
    // The link is all that there is of the block.
    let a = block(&mut c, 0x10, 8, None, &[(1, None, 0x20)]);
    let b = block(&mut c, 0x20, 8, None, &[]);
    let entry = |c: &Cache| c.code.read(c.blocks[a as usize].start as usize, 2);
    c.link(0, b);
    c.invalidate(PAGE, 0x10, 1);
    assert_eq!(entry(&c), [0xeb, 0xf9]);
    c.invalidate(PAGE, 0x20, 1);
    assert_eq!(entry(&c), [0xeb, 0xf9]);
    let b = block(&mut c, 0x20, 8, None, &[]);
    c.link(0, b);
    assert_eq!(entry(&c), [0xeb, 0xf9]);
}
