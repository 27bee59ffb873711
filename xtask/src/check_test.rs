//! The rules on small examples.

use super::*;

fn layers() -> Layers {
    toml::from_str(
        r#"
        everywhere = ["base"]
        tables = ["crates/riscv/src/table.rs"]
        [rooms]
        base = { level = 0 }
        ir = { level = 3 }
        host = { level = 4, uses = ["ir"], unsafe = ["src/code.rs"] }
        riscv = { level = 4, uses = ["ir"] }
        "#,
    )
    .expect("a table")
}

fn broken(name: &str, uses: &[&str]) -> Vec<String> {
    let mut found = Findings::default();
    let uses = uses.iter().map(|s| (*s).to_owned()).collect();
    directions(&layers(), &BTreeMap::from([(name.to_owned(), uses)]), &mut found);
    found.errors
}

#[test]
fn a_use_in_the_table_is_allowed_and_another_is_not() {
    assert!(broken("host", &["base", "ir", "libc"]).is_empty());
    assert_eq!(broken("host", &["riscv"]).len(), 1);
    assert_eq!(broken("base", &["base"]).len(), 1, "level 0 uses nothing");
    assert_eq!(broken("attic", &[]).len(), 1, "an unknown crate is refused");
    assert_eq!(broken("xtask", &["ir"]).len(), 1);
}

#[test]
fn a_use_of_a_higher_level_is_refused_in_the_table_itself() {
    let mut layers = layers();
    if let Some(room) = layers.rooms.get_mut("ir") {
        room.uses = vec!["host".into(), "cellar".into()];
    }
    let mut found = Findings::default();
    table(&layers, &mut found);
    assert_eq!(found.errors.len(), 2);
}

#[test]
fn unsafe_is_seen_in_code_only() {
    assert!(has_unsafe("    unsafe { x() }"));
    assert!(!has_unsafe("#[allow(unsafe_code)]\nmod ram;"));
    assert!(!has_unsafe("#![forbid(unsafe_code)]"));
    assert!(!has_unsafe("// unsafe is not used here"));
    assert!(!has_unsafe("let s = \"unsafe\"; // unsafe"));
    assert!(has_unsafe("let s = \"a // b\"; unsafe fn f() {}"));
    assert!(!has_unsafe("let s = \"two lines,\n unsafe in the second\"; /* unsafe */"));
    assert!(!has_unsafe("let s = r#\"raw \" unsafe\"#;"));
    assert!(has_unsafe("let quote = '\"'; unsafe {}"));
    assert!(has_unsafe("for r in x { unsafe {} }"));
}

#[test]
fn long_files_are_mentioned_and_longer_ones_refused_unless_they_are_tables() {
    let mut found = Findings::default();
    length("crates/a/src/a.rs", 499, &layers(), &mut found);
    assert!(found.notices.is_empty());
    length("crates/a/src/a.rs", 500, &layers(), &mut found);
    assert_eq!((found.notices.len(), found.errors.len()), (1, 0));
    length("crates/a/src/a.rs", 1001, &layers(), &mut found);
    length("crates/riscv/src/table.rs", 3000, &layers(), &mut found);
    assert_eq!((found.notices.len(), found.errors.len()), (1, 1));
}
