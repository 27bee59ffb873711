use super::*;

fn words(text: &str) -> Result<Vec<Given>> {
    split(text.split_whitespace().map(str::to_owned))
}

#[test]
fn options_and_arguments() {
    let all = words("-M virt --smp 2 -nographic disk.img -S").unwrap();
    let names: Vec<_> = all.iter().map(|g| g.name).collect();
    assert_eq!(names, ["machine", "smp", "nographic", "disk_image", "S"]);
    assert_eq!(all[1].shown, "--smp 2");
    assert_eq!(all[1].value, "2");
}

#[test]
fn errors_in_the_words_of_the_reference() {
    let message = |text| words(text).unwrap_err().to_string();
    assert_eq!(message("-nosuchoption"), "-nosuchoption: invalid option");
    assert_eq!(message("--foo bar"), "--foo: invalid option");
    assert_eq!(message("-M virt -kernel"), "-kernel: requires an argument");
    assert!(message("-plugin x").starts_with("-plugin x: "));
}

#[test]
fn names_are_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for row in OPTIONS.iter().flat_map(|(_, rows)| rows.iter()) {
        row.words.iter().for_each(|w| assert!(seen.insert(w), "{w} twice"));
    }
}
