//! The program as a user meets it: what it prints, how it ends. The texts are those of QEMU 10.0.2.

mod common;

use common::{finisher, program};
use std::io::{Read, Write};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

fn run(line: &str) -> Output {
    program(line).output().unwrap()
}

/// Error text and exit status of a line that is refused.
fn refused(line: &str) -> String {
    let output = run(line);
    assert_eq!(output.status.code(), Some(1), "{line}");
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

#[test]
fn refusals() {
    for (line, text) in [
        ("-nosuchoption", "tinamou: -nosuchoption: invalid option"),
        (
            "-M nosuch",
            "tinamou: unsupported machine type: \"nosuch\"\nUse -machine help to list supported machines",
        ),
        ("-M virt -cpu nosuch", "tinamou: unable to find CPU model 'nosuch'"),
        ("-M virt -machine nosuch=1", "tinamou: Property 'virt-machine.nosuch' not found"),
        ("-M virt -accel kvm", "tinamou: -accel kvm: invalid accelerator kvm"),
        (
            "-M virt -accel tcg,warmup=300 -display none",
            "tinamou: -accel tcg,warmup=300: Parameter 'warmup' expects uint8, got '300'",
        ),
        (
            "-M virt -device nosuchdev -display none",
            "tinamou: -device nosuchdev: 'nosuchdev' is not a valid device model name",
        ),
        (
            "-M virt -device e1000e,netdev=no -display none",
            "tinamou: -device e1000e,netdev=no: Property 'e1000e.netdev' can't find value 'no'",
        ),
        (
            "-M virt -blockdev null-co,node-name=n -device virtio-blk-pci,drive=n,iothread=no -display none",
            "tinamou: -device virtio-blk-pci,drive=n,iothread=no: Device 'no' not found",
        ),
        (
            "-M virt -device virtio-blk-device -display none",
            "tinamou: -device virtio-blk-device: drive property not set",
        ),
        (
            "-M virt -m 4P -display none",
            "tinamou: cannot set up guest memory 'riscv_virt_board.ram': Cannot allocate memory",
        ),
        (
            "-M virt -bios /nonexistent -display none",
            "tinamou: Unable to find the RISC-V BIOS \"/nonexistent\"",
        ),
        ("-M virt -append x", "tinamou: -append only allowed with -kernel option"),
        ("-plugin x", "tinamou: -plugin x: this option is not supported by Tinamou yet"),
    ] {
        assert_eq!(refused(line), text, "{line}");
    }
}

#[test]
fn lists() {
    for (line, text) in [
        ("-M ?", "virt                 RISC-V VirtIO board"),
        ("-cpu ?", "  rv64"),
        ("-accel ?", "tcg"),
        ("-device ?", "name \"virtio-blk-device\", bus virtio-bus"),
        ("-device e1000e,help", "  subsys_ven=<uint16>    - PCI device Subsystem Vendor ID (default: 32902)"),
        ("-device virtio-rng-device,help", "  max-bytes=<uint64>     -  (default: 9223372036854775807)"),
        ("-M virt,help", "  dumpdtb=<string>       - Dump current dtb to a file and quit"),
        ("-version", "QEMU emulator version 10.0.2 (Tinamou 0.1.0)"),
        ("-h", "-S              freeze CPU at startup (use 'c' to start execution)"),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(out.lines().any(|l| l == text), "{line}: {out}");
    }
}

/// Runs monitor commands and returns what is printed; the last command ends the program.
fn monitor(line: &str, commands: &str) -> String {
    let mut child = program(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(commands.as_bytes()).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the program does not end: {out}");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(input);
    out.replace('\r', "")
}

#[test]
fn the_monitor_of_a_machine_at_rest() {
    let out = monitor(
        "-M virt -bios none -S -display none -monitor stdio -serial null",
        "info status\nxp /4xw 0x1000\np $pc\nx /2i 0x1000\ninfo roms\ninfo mem\nfoo\nquit\n",
    );
    for text in [
        "QEMU 10.0.2 monitor - type 'help' for more information\n(qemu) ",
        "VM status: paused (prelaunch)\n",
        "0000000000001000: 0x00000297 0x02828613 0xf1402573 0x0202b583\n",
        "(qemu) p $pc\n0x1000\n",
        "0x00001004:  02828613          addi                    a2,t0,40\n",
        "addr=0000000000001000 size=0x000028 mem=rom name=\"mrom.reset\"\n",
        "No translation or protection\n",
        "unknown command: 'foo'\n",
    ] {
        assert!(out.contains(text), "{text:?} is not in {out}");
    }
}

#[test]
fn the_guest_ends_the_program() {
    for (word, more, status) in [(0x5555, "", 0), (0x7_3333, "", 7), (0x7777, " -no-reboot", 0)] {
        let file = finisher(word);
        let line = format!("-M virt -bios none -display none -kernel {}{more}", file.display());
        assert_eq!(run(&line).status.code(), Some(status), "{word:#x}");
        let _ = std::fs::remove_file(file);
    }
}

/// Without an OpenSBI file `-bios default` serves SBI itself and says so; a directory of `-L` goes before.
#[test]
fn default_firmware() {
    let nowhere = common::temporary("firmware");
    std::fs::create_dir(&nowhere).unwrap();
    // The SBI's SRST extension: li a7, "SRST"; li a6, 0; li a0, 0; li a1, 0; ecall; j .
    let shutdown: [u32; 7] = [0x5352_58b7, 0x3548_8893, 0x813, 0x513, 0x593, 0x73, 0x6f];
    let kernel = common::temporary("kernel.bin");
    std::fs::write(&kernel, shutdown.map(u32::to_le_bytes).concat()).unwrap();
    let line = format!("-M virt -display none -kernel {}", kernel.display());
    let run = |line: &str| program(line).env("TINAMOU_FIRMWARE_PATH", &nowhere).output().unwrap();
    let output = run(&line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "tinamou: no OpenSBI is installed: using the built-in SBI (-bios builtin)\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&run("-L help").stdout), format!("{}\n", nowhere.display()));

    let ours = common::temporary("ours");
    std::fs::create_dir(&ours).unwrap();
    std::fs::copy(finisher(7 << 16 | 0x3333), ours.join("opensbi-riscv64-generic-fw_dynamic.bin")).unwrap();
    let output = run(&format!("{line} -L {}", ours.display()));
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(7), b"".as_slice()));
    for directory in [nowhere, ours] {
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// A program without a trap handler, and one that lies where firmware does: the two are told.
#[test]
fn students_are_helped() {
    let image = common::temporary("loop.bin");
    // A load from nowhere, with mtvec as it is after a reset: 0, where nothing is.
    std::fs::write(&image, [0x0000_3003u32.to_le_bytes(), 0x6fu32.to_le_bytes()].concat()).unwrap();
    let line = format!("-M virt -bios none -display none -kernel {}", image.display());
    let mut child = program(&line).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !said.ends_with('\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        said.push(byte[0] as char);
    }
    assert_eq!(
        said,
        "tinamou: hart 0 loops in its trap vector 0x0: cause 1 (fault_fetch), epc 0x0, tval 0x0\n"
    );
    child.kill().unwrap();
    child.wait().unwrap();

    let firmware = finisher(0x5555);
    let elf = common::temporary("program.elf");
    std::fs::write(&elf, common::elf(0x8000_0000, &[0x6f])).unwrap();
    let line = format!("-M virt -display none -bios {} -kernel {}", firmware.display(), elf.display());
    let said = refused(&line);
    assert!(said.starts_with("tinamou: Some ROM regions are overlapping\n"), "{said}");
    assert!(said.ends_with("\n\nA program that is to run without firmware wants -bios none."), "{said}");
    [image, firmware, elf].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

/// What is typed before the monitor is there is answered after its greeting.
#[test]
fn the_greeting_comes_first() {
    let mut child = program("-M none -display none -monitor stdio");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"info status\nquit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let wanted = "QEMU 10.0.2 monitor - type 'help' for more information\n(qemu) info status\nVM status: running\n(qemu) quit\n";
    assert!(said.starts_with(wanted), "{said}");
}

/// Commands that wait on standard input from the beginning.
#[test]
fn the_machine_protocol_on_standard_input() {
    let commands =
        "{'execute': 'qmp_capabilities'}{\n\"execute\": \"query-status\", \"id\": 7\n}\n{'execute': 'quit'}";
    let out = monitor("-M virt -bios none -S -display none -serial null -qmp stdio", commands);
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("{\"QMP\": {"), "{out}");
    assert_eq!(lines[1], "{\"return\": {}}");
    assert_eq!(lines[2], "{\"id\": 7, \"return\": {\"running\": false, \"status\": \"prelaunch\"}}");
    assert_eq!(lines.len(), 5, "{out}");
    let out = monitor(
        "-M none -display none -qmp-pretty stdio",
        "{'execute': 'qmp_capabilities'}{'execute': 'quit'}",
    );
    assert!(out.starts_with("{\n    \"QMP\": {\n"), "{out}");
}
