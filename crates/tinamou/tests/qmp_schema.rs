//! The schema of the machine protocol beside QEMU's: what a command takes and gives here, it takes and gives there. Runs
//! where `TINAMOU_ORACLE` names a `qemu-system-riscv64`.

mod common;

use common::{Client, Machine, temporary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// A schema by the names of its entries.
struct Schema(BTreeMap<String, Value>);

impl Schema {
    fn ask(machine: &Machine) -> Schema {
        let schema = Client::ready(machine).run("query-qmp-schema", json!({}));
        let entry = |entry: &Value| (entry["name"].as_str().unwrap().to_owned(), entry.clone());
        Schema(schema.as_array().unwrap().iter().map(entry).collect())
    }
    fn get(&self, name: &Value) -> &Value {
        &self.0[name.as_str().unwrap()]
    }
    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.values().filter(move |entry| entry["meta-type"] == kind)
    }
}

/// Two schemas while they are compared.
struct Comparison {
    ours: Schema,
    theirs: Schema,
    found: Vec<String>,
}

/// Commands whose answer is deliberately not told in full: the schema's own, and lists that are always empty here.
const ANY: &[&str] = &["query-qmp-schema"];

impl Comparison {
    fn note(&mut self, at: &str, what: &str) {
        self.found.push(format!("{at}: {what}"));
    }

    /// `input` when the type is one that a client sends: it may then leave away what is optional there.
    fn types(&mut self, at: &str, ours: &Value, theirs: &Value, input: bool, depth: usize) {
        let (ours, theirs) = (self.ours.get(ours).clone(), self.theirs.get(theirs).clone());
        if depth == 0 || ours["json-type"] == "value" {
            return;
        }
        if ours["meta-type"] != theirs["meta-type"] {
            // A name here, one of a fixed set there.
            let named = ours["name"] == "str" && theirs["meta-type"] == "enum" && !input;
            if !named {
                self.note(at, &format!("{} here, {} there", ours["meta-type"], theirs["meta-type"]));
            }
            return;
        }
        match ours["meta-type"].as_str().unwrap() {
            "builtin" if ours["name"] != theirs["name"] => {
                self.note(at, &format!("{} here, {} there", ours["name"], theirs["name"]));
            }
            "array" => {
                let at = format!("{at}[]");
                self.types(&at, &ours["element-type"], &theirs["element-type"], input, depth - 1);
            }
            "enum" => {
                let known = theirs["values"].as_array().unwrap();
                let new = ours["values"].as_array().unwrap().iter().filter(|value| !known.contains(value));
                let new: Vec<_> = new.cloned().collect();
                if !new.is_empty() {
                    self.note(at, &format!("values {new:?} are not there"));
                }
            }
            "object" => self.objects(at, &ours, &theirs, input, depth),
            _ => {}
        }
    }

    fn objects(&mut self, at: &str, ours: &Value, theirs: &Value, input: bool, depth: usize) {
        let list = |object: &Value, key: &str| {
            object.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (here, there) = (list(ours, "members"), list(theirs, "members"));
        let find =
            |list: &[Value], member: &Value| list.iter().find(|m| m["name"] == member["name"]).cloned();
        for member in &here {
            let at = format!("{at}/{}", member["name"].as_str().unwrap());
            match find(&there, member) {
                None => self.note(&at, "is not there"),
                Some(other) => {
                    let optional = |member: &Value| member.get("default").is_some();
                    if input && optional(&other) && !optional(member) {
                        self.note(&at, "must be given here, may be left away there");
                    }
                    if !input && optional(member) && !optional(&other) {
                        self.note(&at, "may be missing here, is always there in QEMU");
                    }
                    self.types(&at, &member["type"], &other["type"], input, depth - 1);
                }
            }
        }
        for member in
            there.iter().filter(|member| member.get("default").is_none() && find(&here, member).is_none())
        {
            self.note(&format!("{at}/{}", member["name"].as_str().unwrap()), "is always there in QEMU");
        }
        for variant in list(ours, "variants") {
            let at = format!("{at}/+{}", variant["case"].as_str().unwrap());
            match list(theirs, "variants").iter().find(|other| other["case"] == variant["case"]) {
                // A case without members of its own need not be listed.
                None => {
                    let empty = list(self.ours.get(&variant["type"]), "members").is_empty();
                    if !empty {
                        self.note(&at, "is not there");
                    }
                }
                Some(other) => self.types(&at, &variant["type"], &other["type"], input, depth - 1),
            }
        }
    }

    fn all(&mut self) {
        let commands: Vec<_> =
            self.ours.of_kind("command").chain(self.ours.of_kind("event")).cloned().collect();
        for entry in commands {
            let name = entry["name"].as_str().unwrap();
            let Some(other) = self.theirs.0.get(name).cloned() else {
                self.note(name, "is not there");
                continue;
            };
            if entry.get("allow-oob").is_some() != other.get("allow-oob").is_some() {
                self.note(name, "may overtake others in one of them only");
            }
            let input = entry["meta-type"] == "command";
            self.types(name, &entry["arg-type"], &other["arg-type"], input, 8);
            if input && !ANY.contains(&name) {
                self.types(&format!("{name} ->"), &entry["ret-type"], &other["ret-type"], false, 8);
            }
        }
    }
}

#[test]
fn what_is_here_is_there_too() {
    let Some(oracle) = std::env::var_os("TINAMOU_ORACLE") else { return };
    let socket = temporary("oracle");
    let child = Command::new(oracle)
        .args(["-M", "none", "-nodefaults", "-display", "none", "-qmp"])
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let theirs = Schema::ask(&Machine { child, socket });
    let ours = Schema::ask(&Machine::start("-M none -nodefaults -display none"));
    let mut comparison = Comparison { ours, theirs, found: Vec::new() };
    comparison.all();
    assert!(comparison.found.is_empty(), "\n{}", comparison.found.join("\n"));
}
