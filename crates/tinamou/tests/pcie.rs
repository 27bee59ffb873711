//! PCI Express through the real program: devices as tests of registers see them, and devices that come and go.

mod common;

use common::program;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

struct Dialogue {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Dialogue {
    fn start(line: &str) -> Self {
        let mut child =
            program(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Sends a line and returns the first answer that holds one of the words.
    fn ask(&mut self, line: &str, words: &[&str]) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.wait(words)
    }

    /// The first line that holds one of the words.
    fn wait(&mut self, words: &[&str]) -> String {
        let mut answer = String::new();
        loop {
            answer.clear();
            assert_ne!(self.output.read_line(&mut answer).unwrap(), 0, "the program has ended: {words:?}");
            if words.iter().any(|word| answer.contains(word)) {
                return answer.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QTEST: &str = "-display none -nodefaults -accel qtest -qtest stdio -M virt";

#[test]
fn a_test_plays_the_processor() {
    let mut qtest = Dialogue::start(&format!("{QTEST},aia=aplic-imsic -device edu"));
    for (command, answer) in [
        ("endianness", "OK little"),
        ("readl 0x30000000", "OK 0x0000000000081b36"),
        ("writel 0x30008010 0xffffffff", "OK"),
        ("readl 0x30008010", "OK 0x00000000fff00000"),
        ("writel 0x30008010 0x40000000", "OK"),
        ("writel 0x30008004 6", "OK"),
        ("readl 0x40000000", "OK 0x00000000010000ed"),
        ("writel 0x40000008 5", "OK"),
        ("readl 0x40000008", "OK 0x0000000000000078"),
        ("write 0x80000010 4 0xdeadbeef", "OK"),
        ("b64read 0x80000010 4", "OK 3q2+7w=="),
        ("readl 0x12345678", "OK 0x0000000000000000"),
        ("clock_step 100", "OK 100"),
        ("nonsense", "FAIL Unknown command 'nonsense'"),
        ("readl x", "FAIL 'x' is no number"),
    ] {
        assert_eq!(qtest.ask(command, &["OK", "FAIL"]), answer, "{command}");
    }
}

#[test]
fn devices_come_and_go() {
    let line = "-display none -nodefaults -S -M virt -qmp stdio -device pcie-root-port,id=rp1,chassis=1 \
                -netdev user,id=n";
    let mut qmp = Dialogue::start(line);
    let words = ["\"return\"", "\"error\""];
    qmp.wait(&["\"QMP\""]);
    qmp.ask("{\"execute\": \"qmp_capabilities\"}", &words);
    for _ in 0..3 {
        let add = "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"virtio-net-pci\", \"id\": \"x\", \
                   \"bus\": \"rp1\", \"netdev\": \"n\"}}";
        assert_eq!(qmp.ask(add, &words), "{\"return\": {}}");
        let listed = qmp.ask("{\"execute\": \"query-pci\"}", &words);
        assert!(listed.contains("\"qdev_id\": \"x\"") && listed.contains("\"device\": 4161"), "{listed}");
        // Nobody has switched the slot on, so nobody has to be asked.
        let gone = "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"x\"}}";
        let told = qmp.ask(gone, &["\"device\": \"x\""]);
        assert!(told.contains("DEVICE_DELETED") && told.contains("/machine/peripheral/x"), "{told}");
    }
    for (command, error) in [
        ("\"device_del\", \"arguments\": {\"id\": \"x\"}", "Device 'x' not found"),
        (
            "\"device_add\", \"arguments\": {\"driver\": \"virtio-rng-pci\"}",
            "Bus 'pcie.0' does not support hotplugging",
        ),
        (
            "\"device_add\", \"arguments\": {\"driver\": \"virtio-rng-pci\", \"bus\": \"rp1\", \"addr\": \"2\"}",
            "only allows plugging into slot 0.",
        ),
        ("\"device_add\", \"arguments\": {\"driver\": \"edu\", \"bus\": \"no\"}", "Bus 'no' not found"),
    ] {
        let answer = qmp.ask(&format!("{{\"execute\": {command}}}"), &words);
        assert!(answer.contains(error), "{command}: {answer}");
    }
}

/// Namespaces of a controller: which are refused, and in what words.
#[test]
fn namespaces_go_to_their_controller() {
    let common = "-display none -nodefaults -S -M virt -blockdev null-co,node-name=a,size=1M,read-zeroes=on \
                  -blockdev null-co,node-name=b,size=1M,read-zeroes=on -device nvme,id=n,serial=x,drive=a";
    for (device, error) in [
        ("nvme-ns,bus=n", "block backend not configured"),
        ("nvme-ns,bus=n,drive=b,nsid=1", "namespace id '1' already allocated"),
        ("nvme-ns,bus=n,drive=b,nsid=1000", "invalid namespace id (must be between 0 and 256)"),
        ("nvme-ns,bus=zz,drive=b", "Bus 'zz' not found"),
        ("nvme-ns,bus=n,drive=b,uuid=foo", "Property 'nvme-ns.uuid' doesn't take value 'foo'"),
    ] {
        let output = program(&format!("{common} -device {device}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{device}");
        assert!(said.contains(&format!("-device {device}: {error}\n")), "{device}: {said}");
    }
    let mut qmp = Dialogue::start(&format!("{common} -device nvme-ns,bus=n,drive=b,id=second -qmp stdio"));
    let words = ["\"return\"", "\"error\""];
    qmp.wait(&["\"QMP\""]);
    qmp.ask("{\"execute\": \"qmp_capabilities\"}", &words);
    let number = "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"second\", \"property\": \"nsid\"}}";
    assert_eq!(qmp.ask(number, &words), "{\"return\": 2}");
    let add = "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"nvme-ns\", \"bus\": \"n\"}}";
    assert!(qmp.ask(add, &words).contains("Bus 'n' does not support hotplugging"));
}
