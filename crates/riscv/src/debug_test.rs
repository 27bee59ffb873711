use super::register_sets;
use crate::models::parse_cpu;

#[test]
fn csr_numbers_are_those_of_qemu() {
    let sets = register_sets(&parse_cpu("rv64").unwrap());
    let files: Vec<&str> = sets.iter().map(|s| s.file).collect();
    assert_eq!(
        files,
        ["riscv-64bit-cpu.xml", "riscv-64bit-fpu.xml", "riscv-64bit-virtual.xml", "riscv-csr.xml"]
    );
    let csrs = &sets[3].registers;
    assert_eq!(csrs.len(), 123);
    let number = |name: &str| csrs.iter().find(|r| r.name == name).map(|r| r.number);
    assert_eq!(number("fflags"), Some(67));
    assert_eq!(number("satp"), Some(450));
    assert_eq!(number("mhpmevent31"), Some(897));
    assert_eq!(number("hpmcounter18"), Some(3156));
    assert_eq!(number("mconfigptr"), Some(3927));
}
