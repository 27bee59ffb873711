//! `cargo xtask hostile-drivers`: drivers that mean harm, against every device on PCI Express at once.
//!
//! The emulator is driven by its test protocol, without a processor: the bus is numbered as firmware does it, and then registers,
//! configuration spaces, rings, doorbells and addresses of transfers are written as no driver would, right enough to be taken
//! seriously. BARs move under the transfers, which lead to memory, beyond it, and to registers of others. Meanwhile devices are
//! unplugged, the machine is reset and stopped. The emulator must answer each time, and end when it is asked to.

mod bus;
mod devices;

use crate::boot::strings;
use crate::hmp::Hmp;
use crate::{Result, option, paths};
use bus::Function;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Memory of the machine.
const RAM: u64 = 0x8000_0000;
const RAM_SIZE: u64 = 64 << 20;
/// Steps between two looks at the clock.
const STEPS: u32 = 1500;

/// One of everything, the virtio devices with both kinds of rings.
const DEVICES: &[&str] = &[
    "pcie-root-port,id=rp1,chassis=1",
    "pcie-root-port,id=rp2,chassis=2",
    "x3130-upstream,id=up,bus=rp1",
    "xio3130-downstream,id=down1,bus=up,chassis=3,slot=1",
    "xio3130-downstream,id=down2,bus=up,chassis=4,slot=2",
    "pcie-pci-bridge,id=conventional",
    "virtio-blk-pci,drive=d0,num-queues=2",
    "virtio-blk-pci,drive=d1,packed=on,iothread=io1,bus=down1",
    "virtio-blk-pci-transitional,drive=d2,bus=conventional,addr=1",
    "virtio-net-pci,netdev=n0,mq=on,romfile=",
    "virtio-net-pci-transitional,netdev=n1,romfile=,bus=conventional,addr=2",
    "virtio-net-pci,netdev=n2,packed=on,romfile=",
    "virtio-serial-pci",
    "virtconsole,chardev=c0",
    "virtio-serial-pci,packed=on,bus=down2",
    "virtserialport,chardev=c1",
    "virtio-rng-pci,packed=on",
    "virtio-rng-pci-transitional,bus=conventional,addr=3",
    "nvme,id=n,drive=d3,serial=s",
    "nvme-ns,drive=d4,bus=n,nsid=2,logical_block_size=4096",
    "e1000e,netdev=n3,romfile=",
    "edu,dma_mask=0xffffffffffffffff",
    "pci-testdev",
    "pci-serial,chardev=c2,bus=conventional,addr=5",
    "pvpanic-pci",
];
/// One of each on the board's own transports.
const ON_BOARD: &[&str] = &[
    "virtio-blk-device,drive=d5",
    "virtio-net-device,netdev=n4",
    "virtio-serial-device",
    "virtio-rng-device",
];
/// There can be only one of these.
const BALLOONS: &[&str] = &[
    "virtio-balloon-pci,free-page-reporting=on,packed=on",
    "virtio-balloon-pci-transitional,bus=conventional,addr=4",
    "virtio-balloon-device",
];

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let seconds = option(args, "--seconds").unwrap_or("60").parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let seed = option(args, "--seed").map_or(Ok(now), str::parse)?;
    println!("{}", attacked(&paths::tinamou()?, seed, Duration::from_secs(seconds))?);
    Ok(())
}

/// Attacks new machines, one after the other with the next seed, at least one and for so long; says how many.
pub fn attacked(tinamou: &Path, seed: u64, time: Duration) -> Result<String> {
    let begin = Instant::now();
    let (mut count, mut commands) = (0u64, 0);
    while count == 0 || begin.elapsed() < time {
        let seed = seed.wrapping_add(count);
        commands += session(tinamou, seed).map_err(|e| format!("--seed {seed}: {e}"))?;
        count += 1;
    }
    Ok(format!("{count} machines, {commands} accesses, from seed {seed} on: none hung or broke"))
}

/// Numbers from a seed (xorshift64*, Vigna 2014).
pub struct Random(u64);

impl Random {
    /// The next number.
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        (self.number() >> 11) % n.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A value of the sort that finds mistakes.
    fn value(&mut self) -> u64 {
        let number = self.number();
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (number & 63),
            3 | 4 => number & 0xff,
            5 => number & 0xffff_ffff,
            6 => number & 0x8000_0fff,
            _ => number,
        }
    }

    /// Where a transfer may lead: mostly to memory, else past its end, to registers, and to nothing.
    fn place(&mut self, functions: &[Function]) -> u64 {
        let inside = RAM + self.below(RAM_SIZE);
        match self.below(16) {
            0 => RAM + RAM_SIZE - self.below(64),
            1 => u64::MAX - self.below(64),
            2 => self.value(),
            // Configuration spaces, interrupt controllers of both kinds, the board's serial port, flash.
            3 => {
                let registers = [0x3000_0000, 0x2800_0000, 0x2400_0000, 0xc00_0000, 0x1000_0000, 0x2000_0000];
                self.pick(&registers) + self.below(0x1000)
            }
            4 => {
                match functions.get(self.below(functions.len() as u64) as usize).and_then(|f| f.bars.first())
                {
                    Some(bar) => bar.address + self.below(bar.size),
                    None => inside,
                }
            }
            5..=9 => inside & !0xfff,
            _ => inside & !0xf,
        }
    }
}

/// A running emulator that plays no processor.
pub struct Machine {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    said: JoinHandle<String>,
    monitor: Hmp,
    /// Commands whose answers have not been waited for.
    under_way: u32,
    text: String,
    commands: u64,
}

impl Machine {
    fn start(tinamou: &Path, directory: &Path, random: &mut Random) -> Result<Self> {
        let socket = directory.join("monitor");
        let mut line =
            strings(&["-M", "virt,aia=aplic-imsic", "-m", "64M", "-nodefaults", "-display", "none"]);
        line.extend(strings(&["-accel", "qtest", "-qtest", "stdio", "-action", "panic=none,shutdown=pause"]));
        let forms = ["virtio-mmio.force-legacy=on", "virtio-mmio.force-legacy=off"];
        line.extend(strings(&["-global", random.pick(&forms)]));
        line.extend(Hmp::arguments(&socket));
        line.extend(strings(&["-object", "iothread,id=io1"]));
        for n in 0..6 {
            line.extend(strings(&[
                "-blockdev",
                &format!("null-co,node-name=d{n},size=16777216,read-zeroes=on"),
            ]));
        }
        for n in 0..5 {
            line.extend(strings(&["-netdev", &format!("user,id=n{n}")]));
        }
        for n in 0..3 {
            line.extend(strings(&["-chardev", &format!("null,id=c{n}")]));
        }
        for device in DEVICES.iter().chain(ON_BOARD).chain(&[random.pick(BALLOONS)]) {
            line.extend(strings(&["-device", device]));
        }
        let mut child = Command::new(tinamou)
            .args(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("no pipes".into());
        };
        let said = thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                if (line.starts_with("OK") || line.starts_with("FAIL")) && tell.send(line).is_err() {
                    return;
                }
            }
        });
        let monitor = match Hmp::connect(&socket) {
            Ok(monitor) => monitor,
            Err(error) => {
                // It may be about to say why it does not answer.
                thread::sleep(Duration::from_millis(500));
                let _ = child.kill();
                return Err(format!("{error}: {}", said.join().unwrap_or_default()).into());
            }
        };
        Ok(Self { child, input, answers, said, monitor, under_way: 0, text: String::new(), commands: 0 })
    }

    fn send(&mut self, command: &str) -> Result<()> {
        self.text += command;
        self.text.push('\n');
        self.under_way += 1;
        self.commands += 1;
        if self.under_way >= 64 { self.settle().map(|_| ()) } else { Ok(()) }
    }

    /// Waits for all answers; the last one.
    fn settle(&mut self) -> Result<String> {
        let text = std::mem::take(&mut self.text);
        self.input.write_all(text.as_bytes())?;
        self.input.flush()?;
        let mut last = String::new();
        for _ in 0..std::mem::take(&mut self.under_way) {
            last = self.answers.recv_timeout(PATIENCE).map_err(|e| {
                format!("no answer ({e}) to one of:\n{text}\nit has ended: {:?}", self.child.try_wait())
            })?;
        }
        Ok(last)
    }

    /// Reads a register.
    fn read(&mut self, address: u64, size: u32) -> Result<u64> {
        self.send(&format!("read{} {address:#x}", letter(size)))?;
        let answer = self.settle()?;
        let number = answer.rsplit("0x").next().unwrap_or_default();
        Ok(u64::from_str_radix(number, 16).unwrap_or(0))
    }

    /// Writes a register.
    fn write(&mut self, address: u64, size: u32, value: u64) -> Result<()> {
        let value = value & (u64::MAX >> (64 - 8 * size));
        self.send(&format!("write{} {address:#x} {value:#x}", letter(size)))
    }

    /// Gives the monitor a command, which may fail.
    fn order(&mut self, command: &str) -> Result<()> {
        self.settle()?;
        self.monitor.run(command).map_err(|e| format!("{command}: {e}"))?;
        Ok(())
    }

    /// Ends it, by asking; what it has said must not be that it broke.
    fn end(mut self) -> Result<u64> {
        self.settle()?;
        // It hangs up instead of an answer.
        let _ = self.monitor.run("quit");
        let begin = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if begin.elapsed() > PATIENCE => return Err("it does not end".into()),
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let (commands, said) = (self.commands, std::mem::replace(&mut self.said, thread::spawn(String::new)));
        let said = said.join().unwrap_or_default();
        match status.success() && !said.contains("panicked") {
            true => Ok(commands),
            false => Err(format!("it ended with {status}: {said}").into()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn letter(size: u32) -> char {
    match size {
        1 => 'b',
        2 => 'w',
        4 => 'l',
        _ => 'q',
    }
}

/// One machine, from its start to its end; how many accesses there were.
fn session(tinamou: &Path, seed: u64) -> Result<u64> {
    let directory = std::env::temp_dir().join(format!("hostile-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let mut random = Random(seed | 1);
    // Seeds that lie side by side part soon.
    for _ in 0..8 {
        random.number();
    }
    let mut machine = Machine::start(tinamou, &directory, &mut random)?;
    let outcome = attack(&mut machine, &mut random);
    let ended = match outcome {
        Ok(()) => machine.end(),
        Err(error) => {
            let _ = machine.child.kill();
            let said = std::mem::replace(&mut machine.said, thread::spawn(String::new)).join();
            Err(format!("{error}\n{}", said.unwrap_or_default()).into())
        }
    };
    fs::remove_dir_all(&directory)?;
    ended
}

fn attack(machine: &mut Machine, random: &mut Random) -> Result<()> {
    let mut functions = bus::number(machine)?;
    let mut plugged = false;
    // Most of it goes to a few, which get far.
    let few: Vec<usize> = (0..3).map(|_| random.below(functions.len() as u64) as usize).collect();
    for step in 0..STEPS {
        let any = random.below(functions.len() as u64) as usize;
        let n = if random.one_in(4) { any } else { random.pick(&few) };
        match random.below(24) {
            0..=14 => devices::attack(machine, random, &functions, n)?,
            15..=17 => devices::attack_on_board(machine, random, &functions)?,
            18 => bus::disturb(machine, random, &functions[any])?,
            // A driver that comes after sets things right.
            19..=22 => bus::set_up(machine, &functions[n])?,
            _ => machine.send(&format!("clock_step {}", random.below(1 << 30)))?,
        }
        if step % 250 == 249 {
            let order = match random.below(6) {
                0 => "system_reset",
                1 => "info pci",
                2 => "stop\ncont",
                3 => "info mtree -f",
                _ if plugged => "device_del hot",
                _ => "device_add edu,id=hot,bus=rp2",
            };
            for order in order.split('\n') {
                machine.order(order)?;
            }
            plugged = plugged != order.starts_with("device_");
            if order == "system_reset" {
                functions = bus::number(machine)?;
            }
        }
    }
    Ok(())
}
