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
