//! A recorded boot is replayed: what the console shows is the same to the last byte; and a debugger goes backwards in it.

use super::{ANSWER, BOOT, Outcome, World, free_port, gdb, good, said};
use crate::boot::{disk, linux, network, strings};
use crate::console::Console;
use crate::{Result, paths};
use std::fs;

/// Where instructions are counted, two boots with firmware on two harts say the same, to the last byte.
pub fn alike(world: &World) -> Outcome {
    let mut line = strings(&["-M", "virt", "-smp", "2", "-m", "256M", "-seed", "1"]);
    line.extend(strings(&["-icount", "shift=3,sleep=off", "-rtc", "clock=vm,base=2026-01-01"]));
    line.extend(strings(&["-bios", &world.images.bios.display().to_string()]));
    line.extend(strings(&["-display", "none", "-serial", "stdio", "-monitor", "none"]));
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0 tinamou.run=uptime"));
    let boot = || -> Result<String> {
        let mut console = Console::spawn(&world.tinamou, &line)?;
        good(console.wait(BOOT)?)?;
        Ok(console.transcript())
    };
    let (first, second) = (boot()?, boot()?);
    if !first.contains("load average") {
        return Err(format!("the guest has done nothing: {first}").into());
    }
    let differ = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    match (differ, first == second) {
        (_, true) => Ok(None),
        (Some((a, b)), _) => Err(format!("'{a}' once, and then '{b}'").into()),
        (None, false) => Err("one boot said more than the other".into()),
    }
}

/// A boot on two harts with keys, a network, entropy and a disk.
pub fn replay(world: &World) -> Outcome {
    let (image, file) = (paths::guests().join(".replay.img"), paths::guests().join(".replay.rr"));
    fs::write(&image, vec![0x5a; 4 << 20])?;
    let mut line = strings(&["-M", "virt", "-smp", "2", "-m", "256M", "-bios", "builtin"]);
    line.extend(strings(&["-display", "none", "-serial", "stdio", "-monitor", "none"]));
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0 nokaslr"));
    line.extend(network());
    line.extend(disk(&image, ",snapshot=on"));
    let with = |how: &str, more: &[&str]| {
        let mut line = line.clone();
        line.extend(strings(&["-icount", &format!("shift=3,rr={how},rrfile={}", file.display())]));
        line.extend(strings(more));
        line
    };
    let recorded = {
        let mut console = Console::spawn(&world.tinamou, &with("record", &[]))?;
        console.expect("TINAMOU-SHELL-READY", BOOT)?;
        console.expect("# ", BOOT)?;
        for (command, answer) in [
            ("grep ' jiffies_64$' /proc/kallsyms; echo listed: $((6*7))", "listed: 42"),
            ("ip link set eth0 up; udhcpc -i eth0 -n -q; ping -c 1 10.0.2.2; echo up: $((6*7))", "up: 42"),
            ("head -c 12 /dev/urandom | md5sum; date; echo random: $((6*7))", "random: 42"),
            ("head -c 9000 /dev/urandom >/dev/vda; sync; md5sum /dev/vda; echo disk: $((6*7))", "disk: 42"),
        ] {
            console.send(&format!("{command}\n"))?;
            console.expect(answer, ANSWER)?;
        }
        console.send("poweroff -f\n")?;
        good(console.wait(BOOT)?)?;
        console.transcript()
    };
    let mut console = Console::spawn(&world.tinamou, &with("replay", &[]))?;
    good(console.wait(BOOT)?)?;
    if console.transcript() != recorded {
        return Err("the replay has another output than the recording".into());
    }
    if paths::which("gdb-multiarch").is_none() {
        return Ok(Some("the same output; backwards not tried: gdb-multiarch is not installed".into()));
    }
    let jiffies = recorded.lines().find(|line| line.trim_end().ends_with(" jiffies_64"));
    let jiffies =
        jiffies.and_then(|line| line.split_whitespace().next()).ok_or("no jiffies_64 in the list")?;
    let port = free_port()?;
    let stub = format!("tcp:127.0.0.1:{port}");
    let _console = Console::spawn(&world.tinamou, &with("replay", &["-S", "-no-shutdown", "-gdb", &stub]))?;
    // To the end; then back to the last two ticks, and forward over one of them.
    let text = gdb(
        port,
        &[
            "continue",
            &format!("watch *(unsigned long *)0x{jiffies}"),
            &format!("set $end = *(unsigned long *)0x{jiffies}"),
            "reverse-continue",
            &format!("printf \"back %d\\n\", $end - *(unsigned long *)0x{jiffies}"),
            "reverse-continue",
            &format!("printf \"back %d\\n\", $end - *(unsigned long *)0x{jiffies}"),
            "continue",
            &format!("printf \"forth %d\\n\", $end - *(unsigned long *)0x{jiffies}"),
            "kill",
        ],
    )?;
    said(&text, &["back 1", "back 2", "forth 1"])?;
    fs::remove_file(&image)?;
    fs::remove_file(&file)?;
    Ok(None)
}
