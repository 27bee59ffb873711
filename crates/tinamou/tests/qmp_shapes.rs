//! What queries of the machine protocol answer, compared in shape (the members and their types) with what QEMU 10.0.2
//! answered. `qmp_shapes.txt` has a line for each of its answers: the machine, the command, the shape; a member that is
//! not always there ends in `?`. `TINAMOU_RECORDINGS` names a directory with answers of another QEMU, by machine, as
//! `virt/query-block.json`; then the lines are printed anew.

mod common;

use common::{Client, Machine};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const SHAPES: &str = include_str!("qmp_shapes.txt");

/// Where we answer otherwise, or not at all, and why. A name ends in `*` for all that begins so.
const DIFFERENCES: &[(&str, &str)] = &[
    ("virt query-migrate-parameters.*", "only the parameters that mean something here are told"),
    ("virt query-colo-status: *", "there is no replication"),
    ("virt query-cryptodev: *", "there are no cryptographic devices"),
    ("virt query-dirty-rate: *", "the rate is not measured"),
    ("virt query-spice: *", "there is no display"),
    ("virt query-stats-schemas: *", "there are no statistics providers"),
    ("virt query-yank: *", "nothing hangs that could be yanked"),
    ("virt x-query-irq: *", "no interrupt controller counts"),
    ("virt x-query-opcount: *", "a command of debug builds"),
];

fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) => if n.is_f64() { "number" } else { "int" }.into(),
        Value::String(_) => "str".into(),
        Value::Array(items) => json!([items.iter().map(shape).reduce(either).unwrap_or(Value::Null)]),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

/// The shape of something that has either of these.
fn either(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut all = Map::new();
            for (name, one, other) in [(&a, &b), (&b, &a)]
                .into_iter()
                .flat_map(|(one, other)| one.iter().map(move |(name, value)| (name, value, other)))
            {
                let plain = name.trim_end_matches('?');
                let optional = format!("{plain}?");
                let others = other.get(plain).or(other.get(&optional));
                let merged = others.map_or_else(|| one.clone(), |other| either(one.clone(), other.clone()));
                let both = !name.ends_with('?') && other.contains_key(plain);
                all.insert(if both { plain.to_owned() } else { optional }, merged);
            }
            Value::Object(all)
        }
        (Value::Array(a), Value::Array(b)) => {
            json!([a.into_iter().chain(b).filter(|v| !v.is_null()).reduce(either).unwrap_or(Value::Null)])
        }
        (a, b) if a == b => a,
        _ => "any".into(),
    }
}

/// What of a shape is not as it should be. Of something that was empty nothing is known.
fn compare(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                let plain = name.trim_end_matches('?');
                match ours.get(plain).or(ours.get(&format!("{plain}?"))) {
                    Some(own) => compare(&format!("{at}.{plain}"), own, value, found),
                    None if name.ends_with('?') => {}
                    None => found.push(format!("{at}.{plain}: is not here")),
                }
            }
            let known = |name: &str| theirs.contains_key(name) || theirs.contains_key(&format!("{name}?"));
            let more = ours.keys().map(|name| name.trim_end_matches('?')).filter(|name| !known(name));
            found.extend(more.map(|name| format!("{at}.{name}: is not there")));
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            for (own, their) in ours.iter().zip(theirs) {
                compare(&format!("{at}[]"), own, their, found);
            }
        }
        (_, Value::String(any)) if any == "any" => {}
        _ if ours == theirs => {}
        _ => found.push(format!("{at}: {ours} here, {theirs} there")),
    }
}

/// Prints the lines for the answers in a directory.
fn print_shapes(recordings: &Path) {
    for machine in ["none", "virt", "qmp"] {
        let Ok(files) = recordings.join(machine).read_dir() else { continue };
        let mut names: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        names.sort();
        for path in names.iter().filter(|path| path.extension().is_some_and(|ext| ext == "json")) {
            let command = path.file_stem().unwrap().to_str().unwrap();
            let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let failed = value.get("error").is_some() || value.get("class").is_some();
            if (command.starts_with("query-") || command.starts_with("x-query-")) && !failed {
                let machine = if machine == "qmp" { "virt" } else { machine };
                println!("{machine} {command} {}", shape(&value));
            }
        }
    }
}

#[test]
fn answers_have_the_shape_of_qemus() {
    if let Some(recordings) = std::env::var_os("TINAMOU_RECORDINGS") {
        return print_shapes(Path::new(&recordings));
    }
    let mut found = Vec::new();
    let mut machines: BTreeMap<&str, (Machine, Client)> = BTreeMap::new();
    for line in SHAPES.lines() {
        let mut parts = line.splitn(3, ' ');
        let [machine, command, theirs] = [(); 3].map(|()| parts.next().unwrap());
        let (_, client) = machines.entry(machine).or_insert_with(|| {
            let machine = Machine::start(&format!("-M {machine} -S -display none"));
            let client = Client::ready(&machine);
            (machine, client)
        });
        client.send(&json!({"execute": command}).to_string());
        let reply = client.reply();
        let at = format!("{machine} {command}");
        match reply.get("return") {
            None => found.push(format!("{at}: {}", reply["error"]["desc"])),
            Some(ours) => {
                compare(&at, &shape(ours), &serde_json::from_str(theirs).unwrap(), &mut found);
            }
        }
    }
    let mut unused: Vec<&str> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    found.retain(|one| {
        let fits = |name: &str| match name.strip_suffix('*') {
            Some(start) => one.starts_with(start),
            None => one == name,
        };
        unused.retain(|name| !fits(name));
        !DIFFERENCES.iter().any(|(name, _)| fits(name))
    });
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(unused.is_empty(), "these are no differences any more: {unused:?}");
}

#[test]
fn shapes_are_merged_and_compared() {
    let merged = shape(&json!([{"a": 1, "b": "x"}, {"a": 2, "c": [null]}, {"a": 3, "b": "y"}]));
    assert_eq!(merged, json!([{"a": "int", "b?": "str", "c?": ["null"]}]));
    let differences = |ours: Value, theirs: Value| {
        let mut found = Vec::new();
        compare("x", &shape(&ours), &shape(&theirs), &mut found);
        found
    };
    assert_eq!(differences(json!([{"a": 1}]), json!([{"a": 1}, {"a": 1, "b": 2}])), Vec::<String>::new());
    assert_eq!(
        differences(json!({"a": 1}), json!({"a": "", "b": 0})),
        ["x.a: \"int\" here, \"str\" there", "x.b: is not here"]
    );
    assert_eq!(differences(json!({"a": [], "c": true}), json!({"a": [1]})), ["x.c: is not there"]);
}
