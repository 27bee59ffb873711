use super::*;

#[test]
fn numbering_and_paths() {
    let root = Node::new("container");
    let machine = Node::new("virt-machine");
    root.add_child("machine", &machine);
    let place = unattached(&machine);
    assert!(Arc::ptr_eq(&place, &unattached(&machine)));
    let devices: Vec<_> = (0..11).map(|_| Node::new("virtio-mmio")).collect();
    for device in &devices {
        place.add_child("device[*]", device);
    }
    assert_eq!(devices[10].path(), "/machine/unattached/device[10]");
    assert_eq!(root.path(), "/");
    devices[3].unparent();
    assert_eq!(devices[3].path(), "/");
    assert_eq!(place.add_child("device[*]", &devices[3]), "device[3]");
    let names: Vec<_> = place.children().into_iter().map(|c| c.0).collect();
    assert_eq!(names.last().unwrap(), "device[3]");
    assert!(Arc::ptr_eq(&devices[3].root(), &root));
}

#[test]
fn resolving() {
    let root = Node::new("container");
    let (a, b) = (Node::new("a"), Node::new("b"));
    root.add_child("a", &a);
    root.add_child("b", &b);
    let (x, y) = (Node::new("x"), Node::new("y"));
    a.add_child("serial", &x);
    b.add_child("serial", &y);
    let found = |path: &str| root.resolve(path).map(|n| n.map(|n| n.path()));
    assert_eq!(found("/a/serial"), Ok(Some("/a/serial".into())));
    assert_eq!(found("b/serial"), Ok(Some("/b/serial".into())));
    assert_eq!(found("serial"), Err(Ambiguous));
    assert_eq!(found("/serial"), Ok(None));
    assert_eq!(found("nothing"), Ok(None));
    assert_eq!(found("/"), Ok(Some("/".into())));
    assert_eq!(found(""), Ok(None));
}

#[test]
fn tree_is_sorted_by_bytes() {
    let root = Node::new("container");
    let machine = Node::new("virt-machine");
    root.add_child("machine", &machine);
    for _ in 0..12 {
        machine.add_child("irq[*]", &Node::new("irq"));
    }
    machine.add_child(&format!("{}[*]", escape("/rom@etc/acpi")), &Node::new("memory-region"));
    let text = crate::print_tree(&machine);
    let lines: Vec<_> = text.lines().take(6).collect();
    assert_eq!(
        lines,
        [
            "/machine (virt-machine)",
            "  /\\x2from@etc\\x2facpi[0] (memory-region)",
            "  /irq[0] (irq)",
            "  /irq[10] (irq)",
            "  /irq[11] (irq)",
            "  /irq[1] (irq)",
        ]
    );
}

#[test]
fn own_properties() {
    let node = Node::new("thing");
    let value = Arc::new(Mutex::new(5u64));
    let (get, set) = (value.clone(), value.clone());
    node.add_property(NodeProperty::fixed("type", "string", PropertyValue::Str("thing".into())));
    node.add_property(
        NodeProperty::read_only("n", "uint64", move || PropertyValue::Uint(*get.lock().unwrap())).writable(
            move |v| {
                *set.lock().unwrap() = v.as_uint().ok_or(PropertyError::Type("uint64"))?;
                Ok(())
            },
        ),
    );
    node.set_property("n", &PropertyValue::Str("7".into())).unwrap();
    assert_eq!(node.property("n").unwrap(), PropertyValue::Uint(7));
    let e = node.set_property("type", &PropertyValue::Bool(true)).unwrap_err();
    assert_eq!(e.to_string(), "Insufficient permission to perform this operation");
    assert_eq!(node.property("x").unwrap_err().to_string(), "Property 'thing.x' not found");
}
