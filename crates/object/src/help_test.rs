use super::*;
use crate::{PropertyType, PropertyValue, TypeInfo};

fn properties() -> Vec<PropertyInfo> {
    let plain = |name, kind, desc, default| PropertyInfo { name, kind, desc, default };
    vec![
        plain("serial", "str", "", None),
        plain("drive", "str", "Node name or ID of a block device to use as a backend", None),
        plain("big-endian", "bool", bool::DESC, Some(PropertyValue::Bool(false))),
        plain("discard_granularity", "size", "", Some(PropertyValue::Uint(4294967295))),
    ]
}

const DEVICE: TypeInfo = TypeInfo {
    user_creatable: true,
    category: Category::Storage,
    properties,
    ..TypeInfo::interface("virtio-blk-device", Some("virtio-device")).concrete()
};

#[test]
fn texts() {
    let mut types = Types::new();
    let bus = TypeInfo { bus: Some("virtio-bus"), ..TypeInfo::interface("virtio-device", Some("device")) };
    let misc = TypeInfo {
        desc: "x",
        category: Category::Misc,
        user_creatable: true,
        ..TypeInfo::interface("a-thing", Some("device")).concrete()
    };
    types.add([DEVICE, bus, misc]);
    assert_eq!(
        device_help(&types, "virtio-blk-device").unwrap(),
        "virtio-blk-device options:
  big-endian=<bool>      - on/off (default: off)
  discard_granularity=<size> -  (default: 4294967295)
  drive=<str>            - Node name or ID of a block device to use as a backend
  serial=<str>
"
    );
    assert_eq!(device_help(&types, "a-thing").unwrap(), "There are no options for a-thing.\n");
    assert_eq!(device_help(&types, "virtio-device"), None);
    assert_eq!(
        device_list(&types),
        "Storage devices:
name \"virtio-blk-device\", bus virtio-bus

Misc devices:
name \"a-thing\", desc \"x\"
"
    );
}
