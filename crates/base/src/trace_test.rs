use super::*;

trace_points! { mod one "part.of-it" { FIRST "first", SECOND "second" } }
trace_points! { mod other "other" { ONLY "only" } }

#[test]
fn points_are_named_listed_and_switched() {
    let all: &Catalogue = &[&one::POINTS, &other::POINTS];
    let names: Vec<String> = list(all).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["part_of_it_first", "part_of_it_second", "other_only"]);
    assert!(enable(all, "part_*") && one::POINTS.enabled(one::FIRST) && one::POINTS.enabled(one::SECOND));
    assert!(!other::POINTS.enabled(other::ONLY));
    assert!(enable(all, "-*_first") && !one::POINTS.enabled(one::FIRST));
    assert!(enable(all, "nothing*") && !enable(all, "nothing"));
    assert_eq!(switch(all, "*", false), 3);
    let mut told = 0;
    let mut tell = || {
        told += 1;
        told
    };
    trace!(other::ONLY, "{}", tell());
    assert!(other::POINTS.begin(other::ONLY).is_none());
    assert_eq!(told, 0, "what is off evaluates nothing");
}

#[test]
fn patterns() {
    for (pattern, name, yes) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("", "a", false),
        ("**b", "aab", true),
    ] {
        assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
    }
}

#[test]
fn texts_are_quoted() {
    assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
}
