use super::*;

#[test]
fn ancestry() {
    let mut types = Types::new();
    types.add([
        TypeInfo::interface("riscv-cpu", Some("cpu")),
        TypeInfo::interface("rv64-riscv-cpu", Some("riscv-cpu")).concrete(),
        TypeInfo::interface("orphan", Some("nobody")).concrete(),
    ]);
    assert!(types.is_a("rv64-riscv-cpu", "device"));
    assert!(!types.is_a("riscv-cpu", "rv64-riscv-cpu"));
    assert!(types.is_a("orphan", "orphan") && !types.is_a("orphan", "object"));
    assert_eq!(types.kinds_of("cpu").map(|t| t.name).collect::<Vec<_>>(), ["rv64-riscv-cpu"]);
    assert!(types.find("nothing").is_none());
}

#[test]
#[should_panic(expected = "listed twice")]
fn two_of_one_name() {
    Types::new().add([TypeInfo::interface("object", None)]);
}

#[test]
fn a_cycle_ends() {
    let mut types = Types::new();
    types.add([TypeInfo::interface("a", Some("b")), TypeInfo::interface("b", Some("a"))]);
    assert!(!types.is_a("a", "object"));
}
