use super::*;
use crate::bare::Bare;

#[test]
fn what_may_follow() {
    let vm = Bare::new();
    let vm: &dyn Vm = &vm;
    let all = |text| choice(vm, text).1;
    assert_eq!(all("info regis"), ["registers"]);
    assert_eq!(all("help info regis"), ["registers"]);
    assert_eq!(all("help qom-s"), ["qom-set"]);
    assert_eq!(choice(vm, "set_link x o").0, "o");
    assert_eq!(choice(vm, "set_link x\u{85}o").0, "o", "whitespace of two bytes");
    assert_eq!(all("set_link x o"), ["off", "on"]);
    assert_eq!(all("set_link x on o"), [""; 0]);
    assert_eq!(all("log guest"), ["guest_errors"]);
    assert!(all("").len() > 30);
    // A command has one completion for an argument.
    let mut rows: Vec<_> = ARGUMENTS.iter().map(|row| (row.0, row.1)).collect();
    rows.dedup();
    assert_eq!(rows.len(), ARGUMENTS.len());
}
