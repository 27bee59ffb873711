//! Counted instructions through the real program: what happens when is decided by the count.

mod common;

use common::{Client, Machine, program, temporary, until};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// For each hart: a timer comes at odd times and writes a letter for the hart and the instructions executed so far, in
/// letters; a key that comes is written likewise, and ends the program if it is `q`.
const PROGRAM: [u32; 76] = [
    0x0000_0297, // auipc t0,0x0
    0x07c2_8293, // add t0,t0,124
    0x3052_9073, // csrw mtvec,t0
    0xf140_2473, // csrr s0,mhartid
    0x0034_1493, // sll s1,s0,0x3
    0x0200_42b7, // lui t0,0x2004
    0x0054_84b3, // add s1,s1,t0
    0x1000_0937, // lui s2,0x10000
    0x0000_0997, // auipc s3,0x0
    0x0f89_8993, // add s3,s3,248
    0x0800_0293, // li t0,128
    0x3042_9073, // csrw mie,t0
    0x0000_22b7, // lui t0,0x2
    0x8002_829b, // addw t0,t0,-2048
    0x3002_a073, // csrs mstatus,t0
    0x0000_0297, // auipc t0,0x0
    0x0102_8293, // add t0,t0,16
    0x3412_9073, // csrw mepc,t0
    0x0500_006f, // j 98
    // loop:
    0x3004_6073, // csrs mstatus,8
    0x1050_0073, // wfi
    0x3004_7073, // csrc mstatus,8
    0x0059_4283, // lbu t0,5(s2)
    0x0012_f293, // and t0,t0,1
    0xfe02_86e3, // beqz t0,4c
    0x0009_4503, // lbu a0,0(s2)
    0x00a9_8823, // sb a0,16(s3)
    0x0540_00ef, // jal c0
    0x0710_0313, // li t1,113
    0x0865_0863, // beq a0,t1,104
    0xfd5f_f06f, // j 4c
    // handler:
    0x0410_0513, // li a0,65
    0x0085_0533, // add a0,a0,s0
    0x03c0_00ef, // jal c0
    0x0049_a283, // lw t0,4(s3)
    0xfff2_8293, // add t0,t0,-1
    0x0059_a223, // sw t0,4(s3)
    0x0602_8863, // beqz t0,104
    // arm:
    0x0200_c2b7, // lui t0,0x200c
    0xff82_829b, // addw t0,t0,-8
    0x0002_b283, // ld t0,0(t0)
    0xb020_2373, // csrr t1,minstret
    0x0ff3_7313, // zext.b t1,t1
    0x0062_82b3, // add t0,t0,t1
    0x0089_a303, // lw t1,8(s3)
    0x0062_82b3, // add t0,t0,t1
    0x0054_b023, // sd t0,0(s1)
    0x3020_0073, // mret
    // print:
    0x0010_0293, // li t0,1
    0x0859_a32f, // amoswap.w t1,t0,(s3)
    0xfe03_1ee3, // bnez t1,c4
    0x00a9_0023, // sb a0,0(s2)
    0xb020_23f3, // csrr t2,minstret
    0x01c0_0e13, // li t3,28
    0x01c3_deb3, // srl t4,t2,t3
    0x00fe_fe93, // and t4,t4,15
    0x061e_8e93, // add t4,t4,97
    0x01d9_0023, // sb t4,0(s2)
    0xffce_0e13, // add t3,t3,-4
    0xfe0e_56e3, // bgez t3,d8
    0x00a0_0e93, // li t4,10
    0x01d9_0023, // sb t4,0(s2)
    0x0ff0_000f, // fence
    0x0009_a023, // sw zero,0(s3)
    0x0000_8067, // ret
    // end:
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_031b, // addw t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x0000_006f, // j 114
    0,           // lock
    60,          // how often a timer is to come
    1000,        // ticks from one to the next
    0,
    0, // the key that came last
    19,
];
/// Places in it.
const TIMES: usize = 71;
const TICKS: usize = 72;
/// Where the machine begins.
const START: u64 = 0x1000;
const KEY: u64 = 0x80000128;
const HANDLER: u64 = 0x8000007c;
const STORE: u64 = 0x80000068;

fn guest(times: u32, ticks: u32) -> PathBuf {
    let mut code = PROGRAM;
    (code[TIMES], code[TICKS]) = (times, ticks);
    let path = temporary("counted.bin");
    std::fs::write(&path, code.map(u32::to_le_bytes).concat()).unwrap();
    path
}

fn run(line: &str, times: u32, ticks: u32) -> Output {
    let kernel = guest(times, ticks);
    let mut command = program("-M virt -bios none -display none -serial stdio -monitor none");
    let output = command.args(line.split_whitespace()).arg("-kernel").arg(&kernel).output().unwrap();
    let _ = std::fs::remove_file(&kernel);
    output
}

#[test]
fn two_runs_are_alike() {
    for line in ["-icount 0,sleep=off", "-icount 3", "-icount 3,sleep=off -accel tcg,one-insn-per-tb=on"] {
        for harts in 1..4 {
            let once = || run(&format!("{line} -smp {harts}"), 40, 1000);
            let first = once();
            let text = String::from_utf8_lossy(&first.stdout).into_owned();
            assert_eq!(first.status.code(), Some(0), "{line}: {text}");
            assert_eq!(text.lines().count(), 40, "{line}: {text}");
            assert_eq!(text, String::from_utf8_lossy(&once().stdout), "{line}, {harts} harts");
        }
    }
}

#[test]
fn blocks_do_not_change_the_count() {
    let run = |more: &str| run(&format!("-smp 2 -icount 2,sleep=off {more}"), 40, 1000).stdout;
    let whole = run("");
    assert!(!whole.is_empty());
    for way in [
        "-accel tcg,one-insn-per-tb=on",
        "-accel tcg,jit=off",
        "-accel tcg,opt=off",
        "-accel tcg,warmup=0",
        "-accel tcg,warmup=9",
        "-d nochain -D /dev/null",
    ] {
        assert_eq!(String::from_utf8_lossy(&run(way)), String::from_utf8_lossy(&whole), "{way}");
    }
}

/// Nor does it that the monitor changes how instructions are cut into blocks, in the middle and often.
#[test]
fn the_monitor_does_not_change_the_count() {
    const TIMES: u32 = 15000;
    let line = "-smp 2 -icount 2,sleep=off";
    let whole = run(line, TIMES, 1000).stdout;
    let (kernel, out) = (guest(TIMES, 1000), temporary("counted.out"));
    let machine = Machine::start(&format!(
        "-M virt -bios none -display none -monitor none -S {line} -no-shutdown -serial file:{} -kernel {}",
        out.display(),
        kernel.display()
    ));
    let mut client = Client::ready(&machine);
    client.run("cont", serde_json::json!({}));
    let mut changes = 0;
    until("it does not end", || {
        client.hmp(if changes % 2 == 0 { "one-insn-per-tb on" } else { "one-insn-per-tb off" });
        changes += 1;
        (client.run("query-status", serde_json::json!({}))["status"] == "shutdown").then_some(())
    });
    assert!(changes > 2, "it was over before anything was changed");
    let text = std::fs::read(&out).unwrap();
    assert!(text == whole, "after {changes} changes: {}", String::from_utf8_lossy(&text));
    let _ = (std::fs::remove_file(&kernel), std::fs::remove_file(&out));
}

#[test]
fn idling_without_sleep_takes_no_time() {
    // Ten timers, more than three minutes apart.
    let begun = std::time::Instant::now();
    assert_eq!(run("-icount 5,sleep=off", 10, i32::MAX as u32).status.code(), Some(0));
    assert!(begun.elapsed() < common::PATIENCE);
}

/// Instructions that the machine says it has executed.
fn count(client: &mut Client) -> u64 {
    let text = client.hmp("info jit");
    let line = text.lines().find_map(|line| line.strip_prefix("Instructions")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_snapshot_keeps_the_count() {
    let kernel = guest(1 << 30, 1000);
    let line = format!(
        "-M virt -smp 2 -bios none -display none -serial null -icount 3 -kernel {}",
        kernel.display()
    );
    let machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    until("it does not run", || (count(&mut client) > 10_000).then_some(()));
    client.run("stop", serde_json::json!({}));
    let here = count(&mut client);
    assert_eq!(client.hmp("savevm -m here"), "");
    client.run("cont", serde_json::json!({}));
    until("it does not go on", || (count(&mut client) > here + 10_000).then_some(()));
    client.run("stop", serde_json::json!({}));
    assert_eq!(client.hmp("loadvm here"), "");
    assert_eq!(count(&mut client), here);
    let _ = std::fs::remove_file(&kernel);
}

/// A recording of the program: keys come while it runs.
struct Recorded {
    kernel: PathBuf,
    file: PathBuf,
    output: Vec<u8>,
    line: String,
}

impl Recorded {
    fn new(line: &str, keys: &[u8]) -> Recorded {
        let (kernel, file) = (guest(1 << 30, 3000), temporary("recording"));
        let line = format!(
            "-M virt -m 16M -bios none -display none -serial stdio -monitor none {line} -kernel {}",
            kernel.display()
        );
        let mut child = program(&format!("{line} -icount 2,rr=record,rrfile={}", file.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut text = vec![0; 64];
        output.read_exact(&mut text).unwrap();
        for key in keys {
            std::thread::sleep(Duration::from_millis(7));
            input.write_all(&[*key]).unwrap();
        }
        output.read_to_end(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        Recorded { kernel, file, output: text, line }
    }
    /// Instructions up to its last line.
    fn count(&self) -> u64 {
        let letters = &self.output[self.output.len() - 9..];
        letters[..8].iter().fold(0, |count, letter| count << 4 | u64::from(letter - b'a'))
    }
    /// The command line of a replay.
    fn replay(&self) -> String {
        format!("{} -icount 2,rr=replay,rrfile={}", self.line, self.file.display())
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kernel);
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn a_replay_does_what_was_recorded() {
    for line in ["-smp 1", "-smp 3", "-smp 2 -accel tcg,one-insn-per-tb=on"] {
        let recorded = Recorded::new(line, b"somethingq");
        let text = String::from_utf8_lossy(&recorded.output).into_owned();
        let keys: String =
            text.lines().filter_map(|l| l.chars().next()).filter(char::is_ascii_lowercase).collect();
        assert_eq!(keys, "somethingq", "{line}: {text}");
        // What blocks are made of does not matter, and neither does the input of now.
        for other in ["", "-accel tcg,jit=off"] {
            let output = program(&format!("{} {other}", recorded.replay())).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{line} {other}");
            assert!(output.status.success());
        }
    }
}

#[test]
fn a_replay_goes_back_and_forth() {
    let recorded = Recorded::new("-smp 2", b"abcq");
    let line = format!("{} -S", recorded.replay().replace("-serial stdio", "-serial null"));
    let machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    let none = || serde_json::json!({});
    let info = client.run("query-replay", none());
    assert_eq!((info["mode"].as_str(), info["icount"].as_i64()), (Some("play"), Some(0)));
    let there = |client: &mut Client| {
        let text = client.hmp("info replay");
        let (rest, count) = text.trim().rsplit_once(" = ").unwrap();
        assert!(
            rest.starts_with("Replaying execution '") && rest.ends_with("': instruction count"),
            "{text}"
        );
        count.parse::<u64>().unwrap()
    };
    let place = recorded.count() / 2;
    client.run("replay-break", serde_json::json!({"icount": place}));
    client.run("cont", none());
    client.event("STOP");
    assert_eq!(there(&mut client), place);
    let registers = client.hmp("info registers -a");
    let refused = client.refused("replay-break", serde_json::json!({"icount": 5}));
    assert_eq!(refused.1, "cannot set breakpoint at the instruction in the past");
    assert_eq!(client.hmp(&format!("replay_seek {}", place + 101)), "");
    client.event("STOP");
    assert_eq!(there(&mut client), place + 101);
    assert_ne!(client.hmp("info registers -a"), registers);
    assert_eq!(client.hmp(&format!("replay_seek {place}")), "");
    assert_eq!(there(&mut client), place);
    assert_eq!(client.hmp("info registers -a"), registers);
    assert_eq!(client.hmp(&format!("replay_break {}", place + 50)), "");
    assert_eq!(client.hmp("replay_delete_break"), "");
    assert_eq!(client.hmp(&format!("replay_seek {}", place + 103)), "");
    client.event("STOP");
    assert_eq!(there(&mut client), place + 103);
}

/// The debugger's side of a replay.
struct Backwards {
    child: Child,
    socket: PathBuf,
    stream: UnixStream,
}

impl Backwards {
    fn new(recorded: &Recorded) -> Backwards {
        let socket = temporary("gdb");
        let line = recorded.replay().replace("-serial stdio", "-serial null");
        let mut command = program(&format!("{line} -S -no-shutdown"));
        command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", socket.display()));
        let child = command.spawn().unwrap();
        let stream = until("the socket does not listen", || UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        Backwards { child, socket, stream }
    }
    fn ask(&mut self, request: &str) -> String {
        common::ask_stub(&mut self.stream, request)
    }
    fn at(&mut self) -> u64 {
        u64::from_str_radix(&self.ask("p20"), 16).unwrap().swap_bytes()
    }
    fn key(&mut self) -> u8 {
        let text = self.ask(&format!("m{KEY:x},1"));
        u8::from_str_radix(&text, 16).unwrap()
    }
}

impl Drop for Backwards {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[test]
fn a_debugger_goes_backwards() {
    let recorded = Recorded::new("-smp 2", b"abcq");
    let mut d = Backwards::new(&recorded);
    let features = d.ask("qSupported:multiprocess-");
    assert!(features.contains(";ReverseStep+;ReverseContinue+"), "{features}");
    assert_eq!(d.ask("bs"), "T05thread:01;replaylog:begin;");
    // To the end, where the program has switched itself off.
    assert_eq!(d.ask("vCont;c"), "T03thread:01;");
    assert_eq!(d.key(), b'q');
    // Back over the writes of the key: before each of them the one before is there.
    assert_eq!(d.ask(&format!("Z2,{KEY:x},4")), "OK");
    for (was, thread) in b"cba\0".iter().zip(1..) {
        let told = d.ask("bc");
        assert!(told.ends_with(&format!("watch:{KEY:x};")), "{thread}: {told}");
        assert_eq!((d.at(), d.key()), (STORE, *was));
    }
    let told = d.ask("bc");
    assert!(told.ends_with("replaylog:begin;"), "{told}");
    assert_eq!(d.at(), START);
    // And forward again to the first.
    let told = d.ask("vCont;c");
    assert!(told.ends_with(&format!("watch:{KEY:x};")), "{told}");
    assert_eq!((d.at(), d.key()), (STORE + 4, b'a'));
    // One step back leads before it, one forward behind it.
    assert_eq!(&d.ask("bs")[..3], "T05");
    assert_eq!((d.at(), d.key()), (STORE, 0));
    assert_eq!(d.ask(&format!("z2,{KEY:x},4")), "OK");
    // Steps forward are those that the recording has: after going back they lead the same way.
    let path: Vec<_> = (0..30).map(|_| (d.ask("vCont;s:1"), d.at())).collect();
    assert_eq!(d.ask(&format!("Z2,{KEY:x},4")), "OK");
    d.ask("bc");
    assert_eq!((d.at(), d.key()), (STORE, 0));
    assert_eq!(d.ask(&format!("z2,{KEY:x},4")), "OK");
    let again: Vec<_> = (0..30).map(|_| (d.ask("vCont;s:1;c"), d.at())).collect();
    assert_eq!(again, path);
    // Breakpoints: the last time that the handler was entered, and the time before.
    assert_eq!(d.ask(&format!("Z0,{HANDLER:x},4")), "OK");
    let mut counts = Vec::new();
    for _ in 0..3 {
        let told = d.ask("bc");
        assert!(told.starts_with("T05") && !told.contains("replaylog"), "{told}");
        assert_eq!(d.at(), HANDLER);
        counts.push(d.ask("p31"));
    }
    assert_eq!(counts.len(), 3);
}

#[test]
fn gdb_goes_backwards() {
    if Command::new("gdb-multiarch").arg("--version").output().is_err() {
        eprintln!("skipped: there is no gdb-multiarch");
        return;
    }
    let recorded = Recorded::new("-smp 1", b"xyq");
    let line = recorded.replay().replace("-serial stdio", "-serial null");
    let socket = temporary("gdb");
    let mut command = program(&format!("{line} -S -no-shutdown"));
    command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", socket.display()));
    let mut child = command.spawn().unwrap();
    until("the socket does not listen", || UnixStream::connect(&socket).ok());
    let script = [
        "set pagination off",
        "set architecture riscv:rv64",
        &format!("target remote {}", socket.display()),
        "continue",
        &format!("watch *(char*){KEY:#x}"),
        "reverse-continue",
        "reverse-continue",
        "reverse-stepi",
        "stepi",
        "kill",
    ];
    let mut gdb = Command::new("gdb-multiarch");
    gdb.args(["-q", "-nx", "-batch"]);
    for line in script {
        gdb.args(["-ex", line]);
    }
    let output = gdb.stdin(Stdio::null()).output().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    for (old, new) in [("113 'q'", "121 'y'"), ("121 'y'", "120 'x'")] {
        assert!(text.contains(&format!("Old value = {old}\nNew value = {new}")), "{text}\n{errors}");
    }
}

#[test]
fn recordings_that_do_not_fit_are_refused() {
    let recorded = Recorded::new("-smp 1", b"q");
    let refused = |line: &str| {
        let output = program(line).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
    };
    let (replay, file) = (recorded.replay(), recorded.file.display().to_string());
    assert_eq!(
        refused(&replay.replace("-m 16M", "-m 32M")),
        "tinamou: Replay: the recording is of another machine: it has 'm=16777216', this one 'm=33554432'"
    );
    assert_eq!(
        refused(&replay.replace("-icount 2", "-icount 3")),
        "tinamou: Replay: the recording was made with shift=2"
    );
    let absent = "tinamou: Replay: open /nonexistent/x: No such file or directory";
    assert_eq!(refused(&replay.replace(&file, "/nonexistent/x")), absent);
    assert_eq!(refused(&replay.replace("replay", "record").replace(&file, "/nonexistent/x")), absent);
    let mut bytes = std::fs::read(&recorded.file).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 4;
    std::fs::write(&recorded.file, &bytes).unwrap();
    assert!(refused(&replay).starts_with("tinamou: Replay: the file is damaged at byte "));
    std::fs::write(&recorded.file, b"no recording").unwrap();
    assert_eq!(refused(&replay), "tinamou: Replay: invalid input log file version");
}

#[test]
fn what_cannot_be_counted_is_refused() {
    for (line, text) in [
        (
            "-accel tcg,thread=multi -icount 3",
            "tinamou: -accel tcg,thread=multi: No MTTCG when icount is enabled",
        ),
        (
            "-accel tcg,verify=on -icount 3",
            "tinamou: -accel tcg,verify=on: blocks cannot be checked while instructions are counted",
        ),
        ("-icount 11", "tinamou: -icount 11: icount: Invalid shift value"),
    ] {
        let output =
            program(&format!("-M virt -display none {line}")).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), text);
    }
}
