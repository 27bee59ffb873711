use super::*;

#[test]
fn words() {
    assert_eq!(LogMask::parse("in_asm,int"), Ok(LogMask::IN_ASM | LogMask::INT));
    assert_eq!(LogMask::parse("in_asm,bogus"), Err("bogus".to_owned()));
    assert_eq!(LogMask::parse("").unwrap(), LogMask::NONE);
    assert!(LogMask::parse("all").unwrap().intersects(LogMask::INVALID_MEM));
}

#[test]
fn filters() {
    let ranges = parse_filter("0x1000+0x100,0x2000..0x20ff,4096-16").unwrap();
    assert_eq!(ranges, [0x1000..=0x10ff, 0x2000..=0x20ff, 4081..=4096]);
    let error = |text| parse_filter(text).unwrap_err().to_string();
    assert_eq!(error("12"), "Bad range specifier");
    assert_eq!(error("x+1"), "Invalid number to the left of +");
    assert_eq!(error("1+x"), "Invalid number to the right of +");
    assert_eq!(error("5..1"), "Invalid range");
    assert_eq!(error("1+0"), "Invalid range");
}

#[test]
fn limit() {
    let site = Limit::new();
    let passed = (0..1000).filter(|_| site.pass()).count();
    // The second may turn over once while this runs.
    assert!((64..=128).contains(&passed), "{passed}");
}

#[test]
fn file_and_macros() {
    let path = std::env::temp_dir().join("tinamou-log-test-%d");
    let real = std::env::temp_dir().join(format!("tinamou-log-test-{}", std::process::id()));
    set_file(path.to_str()).unwrap();
    set_mask(LogMask::GUEST_ERRORS);
    crate::guest_error!("bad {}", 1);
    crate::unimp!("not shown");
    crate::log_item!(LogMask::GUEST_ERRORS, "and this");
    set_mask(LogMask::GUEST_ERRORS | LogMask::TID);
    assert_eq!(set_file(None).unwrap_err().message(), "Filename template with '%d' required for 'tid'");
    assert!(set_file(Some("plain")).is_err());
    set_file(path.to_str()).unwrap();
    let own = std::env::temp_dir().join(format!("tinamou-log-test-{}", thread_id()));
    crate::guest_error!("own");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "own\n");
    std::fs::remove_file(own).unwrap();
    set_mask(LogMask::NONE);
    set_file(None).unwrap();
    assert_eq!(set_file(Some("/tmp/%d%d")).unwrap_err().message(), "Bad logfile template: /tmp/%d%d");
    assert_eq!(
        set_file(Some("/nonexistent/x")).unwrap_err().message(),
        "Error opening logfile /nonexistent/x: No such file or directory"
    );
    let text = std::fs::read_to_string(&real).unwrap();
    std::fs::remove_file(real).unwrap();
    assert_eq!(text, "bad 1\nand this\n");
}
