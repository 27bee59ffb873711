use super::*;
use cpu::Register;
use proptest::prelude::*;
use std::sync::Mutex;

#[derive(Default)]
struct Fake {
    registers: Mutex<[u64; 4]>,
    resumed: Mutex<Vec<Vec<Resume>>>,
    breakpoints: Mutex<Vec<u64>>,
    watchpoints: cpu::Watchpoints,
}

impl Target for Fake {
    fn cpus(&self) -> usize {
        2
    }
    fn architecture(&self) -> String {
        "riscv:rv64".into()
    }
    fn register_sets(&self, _: usize) -> Vec<RegisterSet> {
        let register = |name, number| Register { name, bits: 64, kind: "int", number };
        vec![
            RegisterSet {
                feature: "org.gnu.gdb.riscv.cpu",
                file: "cpu.xml",
                first: 0,
                registers: vec![register("a", 0), register("b", 1), register("pc", 2)],
            },
            RegisterSet { feature: "csr", file: "csr.xml", first: 66, registers: vec![register("c", 66)] },
        ]
    }
    fn read_register(&self, _: usize, n: usize) -> Option<u64> {
        let n = if n == 66 { 3 } else { n };
        self.registers.lock().unwrap().get(n).copied()
    }
    fn write_register(&self, _: usize, n: usize, value: u64) -> bool {
        let n = if n == 66 { 3 } else { n };
        self.registers.lock().unwrap().get_mut(n).map(|r| *r = value).is_some()
    }
    fn set_pc(&self, cpu: usize, pc: u64) {
        self.write_register(cpu, 2, pc);
    }
    fn halted(&self, _: usize) -> bool {
        false
    }
    fn read_memory(&self, _: usize, address: u64, into: &mut [u8], _: bool) -> bool {
        into.iter_mut().enumerate().for_each(|(n, b)| *b = address.wrapping_add(n as u64) as u8);
        address >= 0x1000
    }
    fn write_memory(&self, _: usize, address: u64, _: &[u8], _: bool) -> bool {
        address >= 0x1000
    }
    fn breakpoint(&self, address: u64, insert: bool) {
        let mut all = self.breakpoints.lock().unwrap();
        all.retain(|b| *b != address);
        if insert {
            all.push(address);
        }
    }
    fn watchpoint(&self, watch: Watchpoint, insert: bool) -> bool {
        if insert { self.watchpoints.insert(watch) } else { self.watchpoints.remove(watch) }
    }
    fn clear_breakpoints(&self) {
        self.breakpoints.lock().unwrap().clear();
    }
    fn resume(&self, how: &[Resume]) {
        self.resumed.lock().unwrap().push(how.to_vec());
    }
    fn stop(&self) {}
    fn command(&self, line: &str) -> String {
        format!("<{line}>\r\n")
    }
    fn quit(&self) {}
}

/// A step without interrupts and with the clock standing still: what steps are unless `Qqemu.sstep` says otherwise.
const QUIET: Resume = Resume::Step(SingleStep { interrupts: false, clock: false });

fn ask(session: &mut Session, request: &str) -> String {
    let out = session.receive(&frame(request.as_bytes()));
    let mut reader = Reader::default();
    let mut replies = Vec::new();
    for byte in out {
        if let Some(Incoming::Packet(data)) = reader.push(byte) {
            replies.push(String::from_utf8_lossy(&data).into_owned());
        }
    }
    replies.join(" ")
}

#[test]
fn the_answers_of_the_reference() {
    let mut s = Session::new(Arc::new(Fake::default()));
    for (request, reply) in [
        ("vMustReplyEmpty", ""),
        ("?", "T05thread:01;"),
        (
            "qSupported:multiprocess+;swbreak+;xmlRegisters=i386",
            "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+",
        ),
        ("Hg0", "OK"),
        ("qTStatus", ""),
        ("?", "T05thread:p01.01;"),
        ("vCont?", "vCont;c;C;s;S"),
        ("qfThreadInfo", "mp01.01"),
        ("qsThreadInfo", "mp01.02"),
        ("qsThreadInfo", "l"),
        ("qC", "QCp01.01"),
        ("qAttached", "1"),
        ("qThreadExtraInfo,p1.1", "4350552330205b72756e6e696e675d"),
        ("qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4"),
        ("qqemu.sstep", "0x7"),
        ("qqemu.Supported", "sstepbits;sstep;PhyMemMode"),
        ("qqemu.PhyMemMode", "0"),
        ("Qqemu.PhyMemMode:1", "OK"),
        ("qqemu.PhyMemMode", "1"),
        ("m0,4", "E14"),
        ("m1000,4", "00010203"),
        ("X1000,0:", "OK"),
        ("Z0,1000,4", "OK"),
        ("z0,1000,4", "OK"),
        ("qSymbol::", ""),
        ("vRun", ""),
        ("QStartNoAckMode", ""),
        ("!", "OK"),
        ("vAttach;1", "T05thread:p01.01;"),
        ("qRcmd,696e666f", "O3c696e666f3e0d0a OK"),
        ("T9", "E22"),
    ] {
        assert_eq!(ask(&mut s, request), reply, "{request}");
    }
}

#[test]
fn registers() {
    let mut s = Session::new(Arc::new(Fake::default()));
    assert_eq!(ask(&mut s, "P2=0010000000000000"), "OK");
    assert_eq!(ask(&mut s, "p2"), "0010000000000000");
    assert_eq!(ask(&mut s, "P42=0100000000000000"), "OK");
    assert_eq!(ask(&mut s, "p42"), "0100000000000000");
    assert_eq!(ask(&mut s, "p99"), "E14");
    assert_eq!(ask(&mut s, "g"), format!("{}0010000000000000", "0".repeat(32)));
    assert_eq!(ask(&mut s, &format!("G{}", "ff".repeat(24))), "OK");
    assert_eq!(ask(&mut s, "p0"), "ff".repeat(8));
}

#[test]
fn descriptions_in_parts() {
    let mut s = Session::new(Arc::new(Fake::default()));
    let target = ask(&mut s, "qXfer:features:read:target.xml:0,ffb");
    assert!(target.starts_with("l<?xml") && target.contains("<architecture>riscv:rv64</architecture>"));
    assert!(ask(&mut s, "qXfer:features:read:csr.xml:0,10").starts_with('m'));
    assert!(
        ask(&mut s, "qXfer:features:read:csr.xml:0,ffb").contains(r#"name="c" bitsize="64" regnum="66""#)
    );
    assert_eq!(ask(&mut s, "qXfer:features:read:none.xml:0,10"), "E00");
}

#[test]
fn going_on_and_stopping() {
    let fake = Arc::new(Fake::default());
    let mut s = Session::new(fake.clone());
    ask(&mut s, "qSupported:multiprocess+");
    assert_eq!(ask(&mut s, "vCont;s:p1.2;c"), "");
    assert_eq!(ask(&mut s, "vCont;s:p1.2"), "");
    assert_eq!(ask(&mut s, "c"), "");
    assert_eq!(
        *fake.resumed.lock().unwrap(),
        [[Resume::Run, QUIET], [Resume::Stay, QUIET], [Resume::Run, Resume::Run]]
    );
    let reply = s.stopped(Some(1), StopReason::Trap);
    assert_eq!(reply, frame(b"T05thread:p01.02;"));
    assert!(s.stopped(None, StopReason::Interrupted).is_empty(), "told once");
}

proptest! {
    #[test]
    fn no_request_does_harm(data in proptest::collection::vec(any::<u8>(), 0..64), kind in 0usize..24) {
        let mut s = Session::new(Arc::new(Fake::default()));
        let kinds = b"!?cCsSDgGHkmMXpPqQTvzZbR";
        let mut packet = vec![kinds[kind]];
        packet.extend(&data);
        s.receive(&frame(&packet));
        for prefix in ["qXfer:features:read:", "vCont;", "qThreadExtraInfo,", "qRcmd,", "Z0,", "Hgp"] {
            let mut packet = prefix.as_bytes().to_vec();
            packet.extend(&data);
            s.receive(&frame(&packet));
        }
    }
}

#[test]
fn watchpoints() {
    let fake = Arc::new(Fake::default());
    let mut s = Session::new(fake.clone());
    for (request, reply) in [
        ("Z2,80001000,8", "OK"),
        ("Z2,80001000,8", "E22"),
        ("Z3,80002000,1", "OK"),
        ("Z4,80003000,4", "OK"),
        ("z3,80002000,1", "OK"),
        ("z3,80002000,1", "E22"),
        ("Z2,1,0", "E22"),
        ("Z2,zz,1", "E22"),
        ("Z9,1,1", ""),
    ] {
        assert_eq!(ask(&mut s, request), reply, "{request}");
    }
    for (address, access, met, told) in [
        (0x8000_1004, cpu::Access::Write, true, "T05thread:02;watch:80001000;"),
        (0x8000_3000, cpu::Access::Read, true, "T05thread:02;awatch:80003000;"),
        (0x8000_1004, cpu::Access::Read, false, ""),
        (0x8000_2000, cpu::Access::Read, false, ""),
    ] {
        let watch = fake.watchpoints.met(address, 4, access);
        assert_eq!(watch.is_some(), met);
        if let Some(watch) = watch {
            ask(&mut s, "c");
            let reply = s.stopped(Some(1), StopReason::Watch(watch));
            assert_eq!(reply, frame(told.as_bytes()));
        }
    }
    assert_eq!(ask(&mut s, "Qqemu.sstep=0x1"), "OK");
    ask(&mut s, "s");
    let step = Resume::Step(SingleStep { interrupts: true, clock: true });
    assert_eq!(fake.resumed.lock().unwrap().last().unwrap()[1], step);
}
