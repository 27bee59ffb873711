use super::*;

fn text(text: &str) -> PropertyValue {
    PropertyValue::Str(text.to_owned())
}

#[test]
fn on_off_auto() {
    let mut value = OnOffAuto::Auto;
    assert!(value.or(true) && !value.or(false));
    value.set(&text("on")).unwrap();
    assert!(value.or(false));
    value.set(&PropertyValue::Bool(false)).unwrap();
    assert_eq!((value.or(true), value.get()), (false, text("off")));
    value.set(&text("auto")).unwrap();
    assert_eq!(value, OnOffAuto::Auto);
    assert!(value.set(&text("perhaps")).is_err());
    assert!(value.set(&PropertyValue::Uint(3)).is_err());
}

#[test]
fn mac_addresses() {
    let mut mac = MacAddress::default();
    assert!(!mac.is_set());
    mac.set(&text("52-54-00-12-34-ff")).unwrap();
    assert_eq!(mac.get(), text("52:54:00:12:34:ff"));
    assert_eq!(MacAddress::nth(1).to_string(), "52:54:00:12:34:57");
    for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5", "g2:54:00:12:34:56"] {
        assert!(mac.set(&text(bad)).is_err(), "{bad}");
    }
}

#[test]
fn always_off() {
    let mut off = AlwaysOff;
    off.set(&text("off")).unwrap();
    assert!(off.set(&text("on")).is_err() && off.set(&text("x")).is_err());
}

#[test]
fn boot_index_and_link() {
    let mut index = BootIndex::default();
    assert_eq!(index.get(), PropertyValue::Int(-1));
    index.set(&text("3")).unwrap();
    assert_eq!(index, BootIndex(3));
    let mut link = RngLink::default();
    link.set(&text("rng0")).unwrap();
    assert_eq!(link.get(), PropertyValue::Link("rng0".to_owned()));
}
