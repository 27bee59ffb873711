use super::*;

#[test]
fn a_table_is_known_where_it_was_noted_until_all_are_forgotten() {
    let mut walks = Walks::default();
    let table = Table { address: 0x8020_0000, attributes: 32, below: 0 };
    walks.note(7, 3, table);
    assert_eq!(walks.get(7, 3), Some(table));
    assert_eq!(walks.get(8, 3), None, "another page table");
    assert_eq!(walks.get(7, 3 + WALKS as u64), None, "another region at the same place");
    walks.forget();
    assert_eq!(walks.get(7, 3), None);
    assert_eq!(Walks::default().get(0, 0), None);
}

#[test]
fn a_page_of_a_device_is_known_for_what_it_allows() {
    let mut walks = Walks::default();
    let (space, other) = (Space { number: 1, owner: 2 }, Space { number: 1, owner: 3 });
    let mapping = Mapping {
        physical: 0x1000_0005,
        size_log2: 12,
        fetch_log2: 12,
        read: true,
        write: false,
        execute: true,
        global: false,
    };
    walks.note_device(space, 0x7_0000_3005, &mapping);
    assert_eq!(walks.device(space, 0x7_0000_3ffe, Access::Read), Some(0x1000_0ffe));
    assert_eq!(walks.device(space, 0x7_0000_3ffe, Access::Write), None);
    assert_eq!(walks.device(space, 0x7_0000_3ffe, Access::Execute), None);
    assert_eq!(walks.device(other, 0x7_0000_3ffe, Access::Read), None);
    assert_eq!(walks.device(space, 0x7_0000_3ffe + (DEVICES << 12) as u64, Access::Read), None);
    walks.forget();
    assert_eq!(walks.device(space, 0x7_0000_3ffe, Access::Read), None);
    walks.note_device(space, 0x7_0000_3005, &Mapping { size_log2: 0, ..mapping });
    assert_eq!(walks.device(space, 0x7_0000_3005, Access::Read), None, "not the same for the whole page");
}
