use super::*;

/// A structure.
#[derive(Debug, PartialEq, Qapi)]
struct Key {
    node_name: String,
    count: Option<u8>,
    #[qapi(name = "odd_name")]
    odd: Vec<Mode>,
}

/// An enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
enum Mode {
    FullSync,
    #[qapi(name = "Off")]
    Off,
}

#[derive(Debug, PartialEq, Qapi)]
struct Socket {
    path: String,
}

#[derive(Debug, PartialEq, Qapi)]
#[qapi(tag = "type")]
enum Backend {
    Socket(Socket),
    Null,
}

#[derive(Debug, PartialEq, Qapi)]
struct Chardev {
    id: String,
    #[qapi(flatten)]
    backend: Backend,
}

#[derive(Debug, PartialEq, Qapi)]
#[qapi(alternate)]
enum Reference {
    Name(String),
    Definition(Socket),
}

#[derive(Debug, PartialEq, Qapi)]
#[qapi(event = "KEY_LOST")]
struct KeyLost {
    key: u64,
}

fn read<T: Qapi>(value: Value) -> std::result::Result<T, String> {
    T::from_json(value, "").map_err(|e| e.to_string())
}

#[test]
fn structures_come_and_go() {
    let value = json!({"node-name": "a", "odd_name": ["full-sync", "Off"]});
    let key = read::<Key>(value.clone()).unwrap();
    assert_eq!(key, Key { node_name: "a".into(), count: None, odd: vec![Mode::FullSync, Mode::Off] });
    assert_eq!(key.to_json(), value);
    let value = json!({"id": "c", "type": "socket", "path": "/p"});
    let chardev = read::<Chardev>(value.clone()).unwrap();
    assert_eq!(chardev.backend, Backend::Socket(Socket { path: "/p".into() }));
    assert_eq!(chardev.to_json(), value);
    assert_eq!(read::<Chardev>(json!({"id": "c", "type": "null"})).unwrap().backend, Backend::Null);
    assert_eq!(read::<Reference>(json!("n")).unwrap(), Reference::Name("n".into()));
    assert_eq!(
        read::<Reference>(json!({"path": "p"})).unwrap(),
        Reference::Definition(Socket { path: "p".into() })
    );
}

#[test]
fn errors_are_those_of_the_protocol() {
    let wrong = |value| read::<Key>(value).unwrap_err();
    assert_eq!(wrong(json!({})), "Parameter 'node-name' is missing");
    assert_eq!(
        wrong(json!({"node-name": 1, "odd_name": []})),
        "Invalid parameter type for 'node-name', expected: string"
    );
    let with = |more: Value| {
        let mut value = json!({"node-name": "a", "odd_name": []});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read::<Key>(value).unwrap_err()
    };
    assert_eq!(with(json!({"count": "1"})), "Parameter 'count' expects uint64");
    assert_eq!(with(json!({"count": 256})), "Parameter 'count' expects uint8_t");
    assert_eq!(with(json!({"count": null})), "Parameter 'count' expects uint64");
    assert_eq!(with(json!({"odd_name": [4]})), "Invalid parameter type for 'odd_name[0]', expected: string");
    assert_eq!(with(json!({"odd_name": ["x"]})), "Parameter 'null' does not accept value 'x'");
    assert_eq!(with(json!({"more": 1})), "Parameter 'more' is unexpected");
    assert_eq!(
        read::<Chardev>(json!({"id": "c", "type": "foo"})).unwrap_err(),
        "Parameter 'type' does not accept value 'foo'"
    );
    assert_eq!(
        read::<Reference>(json!(1)).unwrap_err(),
        "Invalid parameter type for '', expected: Reference"
    );
}

#[test]
fn the_schema_knows_each_type_once() {
    let mut schema = Schema::default();
    let key = Key::describe(&mut schema);
    assert_eq!(Key::describe(&mut schema), key);
    let chardev = Chardev::describe(&mut schema);
    let entries = schema.finish();
    let find = |name: &str| entries.iter().find(|e| e["name"] == name).unwrap();
    assert_eq!(find(&key)["members"][1], json!({"name": "count", "type": "int", "default": null}));
    let list = find(&key)["members"][2]["type"].as_str().unwrap();
    let element = find(list)["element-type"].as_str().unwrap();
    assert_eq!(find(element)["values"], json!(["full-sync", "Off"]));
    assert_eq!(find(&chardev)["tag"], "type");
    assert_eq!(find(&chardev)["variants"][0]["case"], "socket");
    assert!(entries.iter().all(|e| e["meta-type"].is_string()));
}

#[test]
fn events_reach_those_who_listen() {
    let (send, receive) = std::sync::mpsc::channel();
    listen(move |event| {
        let _ = send.send(event.clone());
    });
    KeyLost { key: 7 }.emit();
    let event = receive.recv().unwrap();
    assert_eq!((event.name, event.data.get("key")), ("KEY_LOST", Some(&json!(7))));
}
