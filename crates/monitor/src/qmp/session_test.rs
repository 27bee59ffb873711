use super::*;
use crate::bare::Bare;
use events::{EventLoop, Runner};
use proptest::prelude::*;
use qapi::Event;

/// The client's side: what was written, and who hears.
#[derive(Default)]
struct Port {
    written: Mutex<Vec<u8>>,
    /// How much is taken; a client that does not read takes nothing.
    room: Mutex<usize>,
}

impl CharPort for Port {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut room = self.room.lock().unwrap();
        let taken = bytes.len().min(*room);
        *room -= taken;
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        taken
    }
    fn set_receiver(&self, _: Option<Arc<dyn CharReceiver>>) {}
    fn receive_ready(&self) {}
    fn describe(&self) -> String {
        String::new()
    }
}

struct Client {
    port: Arc<Port>,
    qmp: Arc<Qmp>,
    vm: Arc<Bare>,
    runner: Runner,
}

impl Client {
    fn connect() -> Client {
        let (events, runner) = EventLoop::new().unwrap();
        let vm = Arc::new(Bare::new());
        let port = Arc::new(Port { room: Mutex::new(usize::MAX), ..Port::default() });
        let qmp = Qmp::attach(vm.clone(), &Hub::new(&events), port.clone(), false);
        let client = Client { port, qmp, vm, runner };
        client.ear().event(CharEvent::Opened);
        client
    }
    fn ear(&self) -> Ear {
        Ear(Arc::downgrade(&self.qmp))
    }
    fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.port.written.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.split("\r\n").filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).unwrap()).collect()
    }
    fn say(&self, text: &str) -> Vec<Value> {
        self.ear().receive(text.as_bytes());
        self.take()
    }
    fn ready() -> Client {
        let client = Client::connect();
        client.say(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#);
        client
    }
}

fn failure(class: &str, desc: &str) -> Value {
    json!({"error": {"class": class, "desc": desc}})
}

#[test]
fn a_connection_begins_with_negotiation() {
    let client = Client::connect();
    let greeting = &client.take()[0]["QMP"];
    assert_eq!(greeting["version"]["qemu"], json!({"major": 10, "minor": 0, "micro": 2}));
    assert_eq!(greeting["capabilities"], json!(["oob"]));
    let early = "Expecting capabilities negotiation with 'qmp_capabilities'";
    assert_eq!(client.say(r#"{"execute": "query-status"}"#), [failure("CommandNotFound", early)]);
    assert_eq!(
        client.say(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["foo"]}}"#),
        [failure("GenericError", "Parameter 'null' does not accept value 'foo'")]
    );
    assert_eq!(
        client.say(r#"{"execute": "qmp_capabilities", "id": [1]}"#),
        [json!({"return": {}, "id": [1]})]
    );
    let late = "Capabilities negotiation is already complete, command ignored";
    assert_eq!(client.say(r#"{"execute": "qmp_capabilities"}"#), [failure("CommandNotFound", late)]);
    // The next client begins anew.
    client.ear().event(CharEvent::Closed);
    client.ear().event(CharEvent::Opened);
    assert!(client.take()[0]["QMP"].is_object());
    assert_eq!(client.say(r#"{"execute": "query-status"}"#), [failure("CommandNotFound", early)]);
}

#[test]
fn messages_that_are_wrong() {
    let client = Client::ready();
    for (message, desc) in [
        ("[]", "QMP input must be a JSON object"),
        (r#"{"execute": 4}"#, "QMP input member 'execute' must be a string"),
        (r#"{"exec": 4}"#, "QMP input member 'exec' is unexpected"),
        (r#"{"execute": "stop", "arguments": 4}"#, "QMP input member 'arguments' must be an object"),
        (r#"{"execute": "stop", "exec-oob": "stop"}"#, "QMP input member 'execute' is unexpected"),
        (r#"{"exec-oob": "stop"}"#, "The command stop does not support OOB"),
        ("{}", "QMP input lacks member 'execute'"),
        (r#"{"execute": "stop", "arguments": {"a": 1}}"#, "Parameter 'a' is unexpected"),
        (r#"{"execute": "human-monitor-command"}"#, "Parameter 'command-line' is missing"),
    ] {
        assert_eq!(client.say(message), [failure("GenericError", desc)], "{message}");
    }
    assert_eq!(
        client.say(r#"{"execute": "nosuch", "id": "a"}"#),
        [
            json!({"id": "a", "error": {"class": "CommandNotFound", "desc": "The command nosuch has not been found"}})
        ]
    );
    assert!(client.vm.done().is_empty());
}

#[test]
fn several_messages_in_any_pieces() {
    let client = Client::ready();
    let text = "{\"execute\":\"stop\",\"id\":1}{\n  'execute' :\r\n 'cont', \"id\": 2\n}{\"execute\":\"system_reset\"}";
    let mut got = Vec::new();
    for byte in text.bytes() {
        got.extend(client.say(&char::from(byte).to_string()));
    }
    assert_eq!(got, [json!({"return": {}, "id": 1}), json!({"return": {}, "id": 2}), json!({"return": {}})]);
    assert_eq!(client.vm.done(), ["stop", "run", "reset"]);
}

#[test]
fn people_and_programs_share_commands() {
    let client = Client::ready();
    let line = |line: &str| json!({"execute": "human-monitor-command", "arguments": {"command-line": line}});
    let say = |text: &str| client.say(&line(text).to_string());
    assert_eq!(say("info status"), [json!({"return": "VM status: paused (prelaunch)\r\n"})]);
    assert_eq!(say("foo"), [json!({"return": "unknown command: 'foo'\r\n"})]);
    assert_eq!(say("stop"), [json!({"return": ""})]);
    assert_eq!(client.vm.done(), ["stop"]);
}

#[test]
fn the_schema_has_all_commands_and_no_loose_ends() {
    let client = Client::ready();
    let names = client.say(r#"{"execute": "query-commands"}"#).remove(0);
    let schema = client.say(r#"{"execute": "query-qmp-schema"}"#).remove(0);
    let entries = schema["return"].as_array().unwrap();
    let has = |name: &Value, meta: Option<&str>| {
        entries.iter().any(|e| e["name"] == *name && meta.is_none_or(|meta| e["meta-type"] == meta))
    };
    for command in names["return"].as_array().unwrap() {
        assert!(has(&command["name"], Some("command")), "{command}");
    }
    for entry in entries {
        for key in ["arg-type", "ret-type", "element-type"] {
            assert!(entry.get(key).is_none_or(|name| has(name, None)), "{entry}");
        }
        let members = entry.get("members").and_then(Value::as_array).into_iter().flatten();
        for member in members.filter_map(|m| m.get("type")) {
            assert!(has(member, None), "{entry}");
        }
    }
}

#[derive(Debug, qapi::Qapi)]
#[qapi(event = "WATCHDOG")]
struct Often {
    action: u32,
}

#[derive(Debug, qapi::Qapi)]
#[qapi(event = "KEY_LOST")]
struct Seldom {}

#[test]
fn events_come_to_those_who_have_negotiated() {
    let mut client = Client::connect();
    client.take();
    Seldom {}.emit();
    client.runner.run_once(Some(std::time::Duration::ZERO)).unwrap();
    assert!(client.take().is_empty());
    client.say(r#"{"execute": "qmp_capabilities"}"#);
    std::thread::spawn(|| Seldom {}.emit()).join().unwrap();
    (0..100).for_each(|action| Often { action }.emit());
    client.runner.run_once(Some(std::time::Duration::ZERO)).unwrap();
    let got = client.take();
    // Other tests of this process may emit too.
    assert!(got.iter().any(|e| e["event"] == "KEY_LOST" && e["timestamp"]["seconds"].is_u64()));
    let often: Vec<_> = got.iter().filter(|e| e["event"] == "WATCHDOG").collect();
    assert_eq!(often.len(), 1, "{often:?}");
    assert_eq!(often[0]["data"], json!({"action": 0}));
    // The last of the others follows, a second later.
    let begin = std::time::Instant::now();
    let late = loop {
        client.runner.run_once(Some(std::time::Duration::from_millis(100))).unwrap();
        if let Some(event) = client.take().into_iter().find(|e| e["event"] == "WATCHDOG") {
            break event;
        }
        assert!(begin.elapsed().as_secs() < 20);
    };
    assert_eq!(late["data"], json!({"action": 99}));
}

#[test]
fn a_client_that_does_not_read_is_not_listened_to() {
    let client = Client::ready();
    *client.port.room.lock().unwrap() = 0;
    let mut sent = 0;
    while client.ear().room() > 0 {
        client.ear().receive(b"{\"execute\":\"query-commands\"}");
        sent += 1;
        assert!(sent < 10_000);
    }
    (0..200_000).for_each(|_| client.qmp.event(&event_now()));
    assert!(client.qmp.state().waiting.len() < 2 * EVENT_LIMIT);
    *client.port.room.lock().unwrap() = usize::MAX;
    client.ear().writable();
    assert!(client.ear().room() > 0);
    assert_eq!(client.take().iter().filter(|v| v.get("return").is_some()).count(), sent);
}

fn event_now() -> Emitted {
    Emitted { name: "KEY_LOST", data: Map::new(), at: std::time::Duration::ZERO }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_get_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let client = Client::ready();
        client.ear().receive(&bytes);
        // An end of line and a closed string: what follows is understood again.
        client.ear().event(CharEvent::Closed);
        client.ear().event(CharEvent::Opened);
        prop_assert!(client.take().last().is_some_and(|v| v.get("QMP").is_some()));
    }
}
