use super::*;

#[test]
fn lists_are_split() {
    let mut options = Options::parse("socket,id=a,path=/x,,y,server,nowait,host=b,host=c", Some("backend"));
    assert_eq!(options.take("backend").as_deref(), Some("socket"));
    assert_eq!(options.take_id().unwrap().as_deref(), Some("a"));
    assert_eq!(options.take("path").as_deref(), Some("/x,y"));
    assert_eq!(options.take_bool("server").unwrap(), Some(true));
    assert_eq!(options.take_bool("wait").unwrap(), Some(false));
    assert_eq!(options.get("host"), Some("c"));
    assert_eq!(options.first_key(), Some("host"));
    assert_eq!(options.take_all("host"), ["b", "c"]);
    options.finish().unwrap();
}

#[test]
fn wrong_values_are_named() {
    let text = |error: Error| error.to_string();
    let mut options = Options::parse("mux=maybe,unit=x,id=9,foo=1", None);
    assert_eq!(text(options.take_bool("mux").unwrap_err()), "Parameter 'mux' expects 'on' or 'off'");
    assert_eq!(text(options.take_number("unit").unwrap_err()), "Parameter 'unit' expects a number");
    assert!(text(options.take_id().unwrap_err()).starts_with("Parameter 'id' expects an identifier\nIdent"));
    assert_eq!(text(options.finish().unwrap_err()), "Invalid parameter 'foo'");
}

#[test]
fn sizes_have_suffixes() {
    assert_eq!(parse_size("512"), Some(512));
    assert_eq!(parse_size("0x10"), Some(16));
    assert_eq!(parse_size("1k"), Some(1024));
    assert_eq!(parse_size("1.5M"), Some(3 << 19));
    assert_eq!(parse_size("16E"), None);
    assert_eq!(parse_size(""), None);
    assert_eq!(parse_size("é"), None);
    assert_eq!(parse_size("-1"), None);
}
