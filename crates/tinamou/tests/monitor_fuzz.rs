//! Clients of the monitors that mean no good, through the real program: nothing they send ends it or keeps the guest from
//! running. `TINAMOU_SEED` repeats a run.

mod common;

use common::{Client, Machine, PATIENCE, temporary, until};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds, each with a client of both monitors.
const ROUNDS: usize = 40;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// Any bytes but those of which a line could be made that ends or stops the machine.
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).filter(|byte| !matches!(byte, b'q' | b's')).collect()
    }
}

/// Pieces of the protocol, right and wrong.
const PIECES: &[&str] = &[
    "{\"execute\": \"qmp_capabilities\"}",
    "{\"execute\": \"query-qmp-schema\", \"id\": 1}",
    "{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"xp /100xg 0\"}}",
    "{\"execute\": \"qom-list\", \"arguments\": {\"path\": \"/machine\"}}",
    "{\"execute\": \"query-cpu-model-expansion\", \"arguments\": {\"type\": \"full\", \"model\": {\"name\": \"rv64\", \"props\": []}}}",
    "{\"execute\": \"netdev_add\", \"arguments\": {\"type\": \"user\"",
    "{\"execute\": \"chardev-add\", \"arguments\": {\"id\": \"x\", \"backend\": {\"type\": \"ringbuf\", \"data\": {\"size\": 7}}}}",
    "{\"exec-oob\": \"query-status\"}",
    "{'execute': 'query-",
    "\"",
    "\\",
    "}}}}",
    "[[[[[[[[[[[[",
    "null 1e999 -",
    "\u{feff}ä",
    "info registers -a\n",
    "x /1000000000gx $pc\n",
    "help\n",
    "p ((((((((((((1\n",
    "\x1b[A\x1b[999999999999D\t\t",
];

/// What a client sends.
fn message(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => {
            let n = random.below(5000);
            random.bytes(n)
        }
        // Half of it may be missing.
        1 => {
            let piece = PIECES[random.below(PIECES.len())].as_bytes();
            piece[..random.below(piece.len() + 1)].to_vec()
        }
        2 => vec![b"[{\"1 "[random.below(5)]; random.below(300_000)],
        // A string, and a number of small messages, that are long.
        3 => [b"{\"execute\": \"".to_vec(), vec![b'a'; random.below(1 << 20)], b"\"}".to_vec()].concat(),
        4 => b"{\"execute\":\"query-commands\"}".repeat(random.below(400)),
        _ => (0..random.below(30)).flat_map(|_| PIECES[random.below(PIECES.len())].bytes()).collect(),
    }
}

/// Connects, sends, and reads or not.
fn attack(socket: &Path, random: &mut Random) {
    let mut stream = until("the socket takes nobody", || UnixStream::connect(socket).ok());
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    for _ in 0..random.below(4) {
        // A client that is not listened to any more gets no further: it goes.
        if stream.write_all(&message(random)).is_err() {
            return;
        }
        if random.below(2) == 0 {
            let _ = stream.read(&mut vec![0; random.below(1 << 16) + 1]);
        }
    }
}

/// A guest that counts: auipc a0, 0x10; addi a1, a1, 1; sd a1, 0(a0); j -8.
fn counter() -> std::path::PathBuf {
    let path = temporary("counter.bin");
    let code = [0x0001_0517u32, 0x0015_8593, 0x00b5_3023, 0xff9f_f06f];
    std::fs::write(&path, code.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    path
}

#[test]
fn hostile_clients_reach_nothing() {
    let given = std::env::var("TINAMOU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64 | 1
    });
    println!("TINAMOU_SEED={seed}");
    let mut random = Random(seed);
    let (guest, qmp, hmp) = (counter(), temporary("hostile-qmp"), temporary("hostile-hmp"));
    let line = format!(
        "-M virt -bios none -display none -serial null -kernel {} -qmp unix:{},server=on,wait=off -monitor \
         unix:{},server=on,wait=off",
        guest.display(),
        qmp.display(),
        hmp.display()
    );
    let mut machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    let mut counted = String::new();
    for round in 0..ROUNDS {
        let ended = machine.child.try_wait().unwrap();
        assert_eq!(ended, None, "the program has ended in round {round}");
        attack(&qmp, &mut random);
        attack(&hmp, &mut random);
        // Others that only stand in line.
        let idle: Vec<_> = (0..random.below(20)).map(|_| UnixStream::connect(&qmp)).collect();
        drop(idle);
        if round % 10 == 9 {
            let begin = Instant::now();
            let now = until("the guest stands still", || {
                Some(client.hmp("xp /gx 0x80010000")).filter(|now| *now != counted)
            });
            assert!(begin.elapsed() < PATIENCE / 6, "the monitor took {:?}", begin.elapsed());
            assert!(now.starts_with("0000000080010000: 0x"), "{now}");
            counted = now;
        }
    }
    // Somebody who means well is served as before.
    let stream = until("the socket takes nobody", || UnixStream::connect(&qmp).ok());
    let mut other = Client::new(stream);
    other.run("qmp_capabilities", json!({}));
    assert_eq!(other.run("query-status", json!({}))["status"], "running");
    for file in [guest, qmp, hmp] {
        let _ = std::fs::remove_file(file);
    }
}
