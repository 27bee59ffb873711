use super::*;

#[test]
fn every_type_has_a_parent_that_exists() {
    let all = all();
    for (name, parent, _) in &all {
        let known = parent.as_ref().is_none_or(|parent| all.iter().any(|t| t.0 == *parent));
        assert!(known, "{name}: {parent:?}");
    }
}

#[test]
fn names_are_not_taken_twice() {
    let mut names: Vec<_> = all().into_iter().map(|t| t.0).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
