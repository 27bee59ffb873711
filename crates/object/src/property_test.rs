use super::*;

#[test]
fn sizes() {
    assert_eq!(parse_size("1"), Some(1));
    assert_eq!(parse_size("128M"), Some(128 << 20));
    assert_eq!(parse_size("1.5g"), Some(3 << 29));
    assert_eq!(parse_size("0x1000"), Some(0x1000));
    assert_eq!(parse_size("0x1e"), Some(0x1e));
    assert_eq!(parse_size("7e"), Some(7 << 60));
    assert_eq!(parse_size("16E"), None);
    assert_eq!(parse_size("1.5"), None);
    assert_eq!(parse_size(""), None);
    assert_eq!(parse_size("-1"), None);
    assert_eq!(parse_size("M"), None);
}

#[test]
fn values_from_text() {
    let text = |s: &str| PropertyValue::Str(s.into());
    let mut n = 0u8;
    n.set(&text("0x1f")).unwrap();
    assert_eq!(n, 31);
    n.set(&text("010")).unwrap();
    assert_eq!(n, 8);
    assert_eq!(n.set(&text("256")), Err(PropertyError::Type("uint8")));
    assert_eq!(n.set(&text("-1")), Err(PropertyError::Type("uint8")));
    assert_eq!(n.set(&text("--1")), Err(PropertyError::Type("uint8")));
    let mut b = false;
    b.set(&text("on")).unwrap();
    assert!(b);
    assert_eq!(b.set(&text("1")), Err(PropertyError::Type("bool")));
    let mut i = 0i32;
    i.set(&text("-5")).unwrap();
    assert_eq!(i.get(), PropertyValue::Int(-5));
    let mut s = None;
    PropertyType::set(&mut s, &text("x")).unwrap();
    assert_eq!(s, Some("x".to_owned()));
}

#[test]
fn words() {
    let e = |e: PropertyError, v: &str| e.error("serial-mm", "", "baudbase", v).to_string();
    assert_eq!(e(PropertyError::NotFound, ""), "Property 'serial-mm.baudbase' not found");
    assert_eq!(e(PropertyError::Type("uint8"), "x"), "Parameter 'baudbase' expects integer");
    assert_eq!(e(PropertyError::Type("uint8"), "300"), "Parameter 'baudbase' expects uint8_t");
    assert_eq!(e(PropertyError::Type("bool"), "300"), "Parameter 'baudbase' expects 'on' or 'off'");
}

#[test]
fn shown_to_people() {
    assert_eq!(PropertyValue::Uint(128).human("uint32"), "128 (0x80)");
    assert_eq!(PropertyValue::Int(-1).human("int32"), "-1 (0xffffffffffffffff)");
    assert_eq!(PropertyValue::Uint(268435456).human("size"), "268435456 (256 MiB)");
    assert_eq!(PropertyValue::Uint(65536).human("size"), "65536 (64 KiB)");
    assert_eq!(PropertyValue::Uint(1 << 30).human("size"), "1073741824 (1 GiB)");
    assert_eq!(PropertyValue::Uint(3 << 19).human("size"), "1572864 (1.5 MiB)");
    assert_eq!(PropertyValue::Uint(0).human("size"), "0 (0 B)");
    assert_eq!(PropertyValue::Bool(false).human("bool"), "false");
    assert_eq!(PropertyValue::Str("MS".into()).human("str"), "\"MS\"");
    assert_eq!(PropertyValue::Bool(true).help(), "on");
}
