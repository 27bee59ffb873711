//! Disks and networks: rates, and what each request costs of the host's processors.
//!
//! The guest's program says when a kind of work begins and ends; the host reads the emulator's processor time then.

use super::{LIMIT, Plan, Samples, TICKS_PER_SECOND, common, note};
use crate::boot::{linux, strings};
use crate::console::Console;
use crate::debian_guest::DebianGuest;
use crate::{Result, guest, paths};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Bytes of the disk: more than any cache of the host's processor, less than its memory.
const DISK: u64 = 256 << 20;
/// How long iperf3 sends.
const IPERF_SECONDS: f64 = 5.0;
/// Megabytes of a stream.
const STREAM: u64 = 256;
/// Kinds of work of `tests/guest/disk.c`.
const WORK: &[&str] = &[
    "sequential-read-128K",
    "sequential-write-128K",
    "random-read-4K",
    "random-read-4K-deep",
    "random-write-4K",
    "random-write-4K-deep",
];
/// Through the host's page cache or past it, and how QEMU does that.
const MODES: &[&str] = &[
    "cache=writeback,aio=threads",
    "cache=writeback,aio=io_uring",
    "cache=none,aio=threads",
    "cache=none,aio=native",
    "cache=none,aio=io_uring",
];
/// open(2): past the page cache, on x86_64.
const O_DIRECT: i32 = 0o40000;

/// The initramfs with the programs; nothing when there is no compiler.
pub(super) fn build(plan: &crate::paths::Images) -> Result<Option<PathBuf>> {
    let programs = ["disk", "stream"].map(guest::program);
    let mut files = Vec::new();
    for program in programs {
        let Some(program) = program? else {
            eprintln!("no disks and networks: {} is not installed", guest::COMPILER);
            return Ok(None);
        };
        files.push(program);
    }
    let dir = paths::guests().join(".bench");
    fs::create_dir_all(&dir)?;
    let initrd = dir.join("io.cpio");
    fs::write(&initrd, guest::initrd_with(plan, &files)?)?;
    Ok(Some(initrd))
}

fn at_shell(plan: &Plan, program: &Path, initrd: &Path, devices: &[String]) -> Result<Console> {
    // Interrupts by message, as drivers of PCI Express want them; by pin QEMU's NVMe stalls under this load.
    let messages = |word: String| if word == "virt" { "virt,aia=aplic-imsic".to_owned() } else { word };
    let mut line: Vec<String> = common(plan).into_iter().map(messages).collect();
    line.extend(linux(&plan.images, initrd, "console=ttyS0 quiet"));
    line.extend(devices.iter().cloned());
    let mut console = Console::spawn(program, &line)?;
    console.expect("TINAMOU-SHELL-READY", LIMIT)?;
    console.expect("# ", LIMIT)?;
    Ok(console)
}

/// The numbers behind the last line that begins so.
fn numbers(console: &Console, start: &str) -> Result<Vec<f64>> {
    let text = console.transcript();
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(start));
    let line = line.ok_or_else(|| format!("the guest has not said {start}"))?;
    Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// Processor time while something is waited for, in seconds.
fn spent(console: &mut Console, until: &str) -> Result<f64> {
    let before = console.processor_ticks().unwrap_or(0);
    console.expect(until, LIMIT)?;
    Ok((console.processor_ticks().unwrap_or(0) - before) as f64 / TICKS_PER_SECOND)
}

/// A disk behind virtio-blk-pci and behind NVMe, in each mode.
pub(super) fn disks(plan: &Plan, program: &Path, initrd: &Path, samples: &mut Samples) -> Result<()> {
    let image = paths::guests().join(".bench-disk.img");
    fs::write(&image, vec![0x5a; DISK as usize])?;
    fs::File::open(&image)?.sync_all()?;
    let past = fs::OpenOptions::new().read(true).custom_flags(O_DIRECT).open(&image);
    if let Err(error) = &past {
        eprintln!("nothing past the page cache: {} cannot be opened so: {error}", image.display());
    }
    let wanted = |mode: &&&str| plan.modes.as_deref().is_none_or(|text| mode.contains(text));
    let able = |mode: &&&str| past.is_ok() || !mode.contains("none");
    let devices = [
        ("virtio-blk-pci", "virtio-blk-pci,drive=d0", "/dev/vda"),
        ("nvme", "nvme,drive=d0,serial=bench", "/dev/nvme0n1"),
    ];
    let modes = MODES.iter().filter(wanted).filter(able);
    for (mode, (kind, device, path)) in modes.flat_map(|mode| devices.map(|device| (mode, device))) {
        let drive = format!("file={},format=raw,if=none,id=d0,{mode}", image.display());
        let mut console = at_shell(plan, program, initrd, &strings(&["-drive", &drive, "-device", device]))?;
        console.send(&format!("disk bench {path}\n"))?;
        for work in WORK {
            console.expect(&format!("START {work}\r"), LIMIT)?;
            let processor = spent(&mut console, &format!("DISK {work} "))?;
            console.expect("\n", LIMIT)?;
            let [requests, seconds] = numbers(&console, &format!("DISK {work} "))?[..] else {
                return Err("the guest's numbers make no sense".into());
            };
            let rate = seconds / requests;
            let name = format!("9 disk {kind},{mode}: {work}");
            note(samples, &format!("{name}, us each"), rate * 1e6);
            note(samples, &format!("{name}, processor us each"), processor / requests * 1e6);
        }
    }
    fs::remove_file(&image)?;
    Ok(())
}

/// Takes or gives what a client asks for.
fn serve(mut client: TcpStream) -> std::io::Result<()> {
    let (mut word, mut left, mut buffer) = ([0; 3], [0; 8], vec![0; 1 << 18]);
    client.read_exact(&mut word)?;
    client.read_exact(&mut left)?;
    let mut left = u64::from_le_bytes(left);
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = buffer.get_mut(..most).unwrap_or_default();
        let done = if &word == b"put" { client.read(part)? } else { client.write(part)? };
        if done == 0 {
            return Ok(());
        }
        left -= done as u64;
    }
    client.write_all(b".")
}

/// `iperf3` of Debian's packages in the guest, against one on the host, in each direction through user networking.
pub(super) fn iperf3(plan: &Plan, program: &Path, samples: &mut Samples) -> Result<()> {
    let Some(server) = paths::which("iperf3") else {
        eprintln!("no lines of iperf3: it is not installed here");
        return Ok(());
    };
    for card in ["virtio-net-pci", "e1000e"] {
        let mut guest = DebianGuest::boot(program, &plan.images, plan.smp, card, &plan.extra)?;
        guest.install("iperf3")?;
        for (way, option) in [("to the host", ""), ("from the host", "-R")] {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
            let mut host = Command::new(&server)
                .args(["-s", "-1", "-B", "127.0.0.1", "-p", &port])
                .stdout(Stdio::null())
                .spawn()?;
            let before = guest.processor_time();
            // The server may not listen yet when the first one asks.
            let ask = format!("iperf3 -c 10.0.2.2 -p {port} -t {IPERF_SECONDS} -J {option}");
            let said = guest.run(&format!("sleep 1; {ask} | grep -A 9 sum_received | grep bits_per"), LIMIT);
            let processor = guest.processor_time() - before;
            host.kill()?;
            host.wait()?;
            let said = said?;
            let rate = said.rsplit(':').next().unwrap_or_default().trim().trim_end_matches(',');
            let gigabits = rate.parse::<f64>().map_err(|_| format!("iperf3 said {said}"))? / 1e9;
            let name = format!("9 iperf3 {card}: {way}");
            note(samples, &format!("{name}, s for 1 Gbit"), 1.0 / gigabits);
            note(samples, &format!("{name}, processor s for 1 Gbit"), processor / gigabits / IPERF_SECONDS);
        }
        guest.end()?;
    }
    Ok(())
}

/// A TCP stream in each direction through user networking.
pub(super) fn networks(plan: &Plan, program: &Path, initrd: &Path, samples: &mut Samples) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = serve(client);
        }
    });
    for card in ["virtio-net-pci,netdev=n0,romfile=", "e1000e,netdev=n0,romfile="] {
        let kind = card.split(',').next().unwrap_or(card);
        let devices = strings(&["-netdev", "user,id=n0", "-device", card]);
        let mut console = at_shell(plan, program, initrd, &devices)?;
        console.send("ip link set eth0 up; udhcpc -i eth0 -n -q >/dev/null; echo up-$((6*7))\n")?;
        console.expect("up-42", LIMIT)?;
        for way in ["get", "put"] {
            console.send(&format!("echo go-$((6*7)); stream 10.0.2.2 {port} {way} {STREAM}\n"))?;
            console.expect("go-42", LIMIT)?;
            let processor = spent(&mut console, &format!("STREAM {way} "))?;
            console.expect("\n", LIMIT)?;
            let [megabytes, seconds] = numbers(&console, &format!("STREAM {way} "))?[..] else {
                return Err("the guest's numbers make no sense".into());
            };
            let name = format!("9 net {kind}: {way}");
            // A gigabit is what a second at 1 Gbit/s carries.
            let gigabits = megabytes * 8.0 * 1.048_576e-3;
            note(samples, &format!("{name}, s for 1 Gbit"), seconds / gigabits);
            note(samples, &format!("{name}, processor s for 1 Gbit"), processor / gigabits);
        }
    }
    Ok(())
}
