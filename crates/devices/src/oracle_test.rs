//! The same random accesses to our devices and to those of the real QEMU's `virt` board, over its test
//! protocol. Runs when `TINAMOU_ORACLE` names a `qemu-system-riscv64`, and says so otherwise.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use memory::{Port, mmio_read, mmio_write};
use object::{AnyDevice, DeviceCell, Effect};

use crate::block::pflash_cfi01::PflashCfi01;
use crate::char::ns16550a::Ns16550a;
use crate::common_test::Random;
use crate::intc::riscv_aclint::{AclintMtimer, AclintSwi};
use crate::intc::sifive_plic::SifivePlic;
use crate::virtio::driver_test::guest_memory;
use crate::virtio::mmio::VirtioMmio;
use crate::virtio::rng::VirtioRng;

struct Qemu {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Qemu {
    fn start(program: &str, more: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(["-M", "virt", "-smp", "2", "-display", "none", "-nodefaults", "-monitor", "none"])
            .args(["-S", "-serial", "null", "-qtest", "stdio"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "QEMU has ended");
            if let Some(answer) = line.strip_prefix("OK") {
                return answer.trim().to_owned();
            }
        }
    }

    fn read(&mut self, address: u64, size: u32) -> u64 {
        let letter = [' ', 'b', 'w', ' ', 'l', ' ', ' ', ' ', 'q'][size as usize];
        let answer = self.ask(&format!("read{letter} {address:#x}"));
        u64::from_str_radix(answer.trim_start_matches("0x"), 16).unwrap()
    }

    fn write(&mut self, address: u64, size: u32, value: u64) {
        let letter = [' ', 'b', 'w', ' ', 'l', ' ', ' ', ' ', 'q'][size as usize];
        self.ask(&format!("write{letter} {address:#x} {value:#x}"));
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The QEMU to compare with; without one a test says so and passes.
fn oracle() -> Option<String> {
    let program = std::env::var("TINAMOU_ORACLE").ok();
    if program.is_none() {
        eprintln!("skipped: TINAMOU_ORACLE does not name a qemu-system-riscv64");
    }
    program
}

/// One device in both worlds.
struct Subject {
    device: Arc<dyn AnyDevice>,
    window: usize,
    base: u64,
    /// Offsets to play with, and the sizes to do it in.
    offsets: Vec<u64>,
    sizes: &'static [u32],
    /// What to leave alone of a value written at an offset, because the difference is known.
    tame: fn(u64, u64) -> u64,
}

fn compare(qemu: &mut Qemu, subject: &Subject, random: &mut Random, steps: usize) {
    let port = Port::new(&subject.device, subject.window).unwrap();
    let name = subject.device.type_info().name;
    let mut trace: Vec<String> = Vec::new();
    for _ in 0..steps {
        let offset = subject.offsets[random.below(subject.offsets.len() as u64) as usize];
        let size = subject.sizes[random.below(subject.sizes.len() as u64) as usize];
        let offset = offset & !u64::from(size - 1);
        if random.below(2) == 0 {
            let theirs = qemu.read(subject.base + offset, size);
            let ours = mmio_read(&*port, offset, size).unwrap_or(0);
            trace.push(format!("read{size} {offset:#x} = {theirs:#x}"));
            let last = trace.len().saturating_sub(30);
            assert_eq!(ours, theirs, "{name}: QEMU right; {}", trace[last..].join("; "));
        } else {
            let mask = if size == 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
            let value = (subject.tame)(offset, random.value() & mask);
            trace.push(format!("write{size} {offset:#x} {value:#x}"));
            qemu.write(subject.base + offset, size, value);
            mmio_write(&*port, offset, size, value).unwrap_or(Effect::None).perform(&mut |_| ());
        }
    }
    println!("{name}: {steps} accesses agree");
}

fn words(from: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |n| from + 4 * n)
}

fn realized<D: object::Device>(device: D) -> Arc<dyn AnyDevice> {
    let cell = DeviceCell::new(device);
    cell.realize().unwrap();
    cell
}

#[test]
fn oracle_registers() {
    let Some(program) = oracle() else { return };
    let mut random = Random::new("oracle");
    let mut qemu = Qemu::start(&program, &[]);
    let plic = Subject {
        device: realized(SifivePlic::virt("MS,MS").unwrap()),
        window: 0,
        base: 0xc00_0000,
        offsets: words(0, 100)
            .chain(words(0x1000, 4))
            .chain(words(0x2000, 4))
            .chain(words(0x2080, 4))
            .chain(words(0x2180, 5))
            .chain((0..5).flat_map(|n| words(0x20_0000 + 0x1000 * n, 3)))
            .collect(),
        sizes: &[4, 8],
        tame: |_, value| value,
    };
    compare(&mut qemu, &plic, &mut random, 5000);
    let swi = Subject {
        device: realized(AclintSwi::mswi(2)),
        window: 0,
        base: 0x200_0000,
        offsets: words(0, 4).collect(),
        sizes: &[4, 8],
        tame: |_, value| value,
    };
    compare(&mut qemu, &swi, &mut random, 1000);
    let mtimer = Subject {
        device: realized(AclintMtimer::virt(2, 10_000_000)),
        window: 0,
        base: 0x200_4000,
        offsets: words(0, 6).chain(words(0x7ff8, 2)).collect(),
        sizes: &[4, 8],
        tame: |_, value| value,
    };
    // What is read before anything has been written differs: ours is all ones.
    for hart in 0..2 {
        qemu.write(0x200_4000 + 8 * hart, 8, u64::MAX);
    }
    compare(&mut qemu, &mtimer, &mut random, 2000);
}

#[test]
fn oracle_uart() {
    let Some(program) = oracle() else { return };
    let mut random = Random::new("oracle of the UART");
    let mut qemu = Qemu::start(&program, &[]);
    let uart = Subject {
        device: realized(Ns16550a::new(399_193, 0)),
        window: 0,
        base: 0x1000_0000,
        offsets: (0..8).collect(),
        sizes: &[1],
        tame: |offset, value| match offset {
            // Neither world gets input.
            4 => value & !0x10,
            _ => value,
        },
    };
    compare(&mut qemu, &uart, &mut random, 5000);
}

#[test]
fn oracle_flash() {
    let Some(program) = oracle() else { return };
    let mut random = Random::new("oracle of the flash");
    let mut qemu = Qemu::start(&program, &[]);
    let ram = memory::Ram::anonymous(32 << 20).unwrap();
    let cell = DeviceCell::new(PflashCfi01::virt("virt.flash1", 32 << 20));
    PflashCfi01::connect(&cell, &ram, None).unwrap();
    cell.realize().unwrap();
    let device: Arc<dyn AnyDevice> = cell;
    let port = Port::new(&device, 0).unwrap();
    const BASE: u64 = 0x2200_0000;
    let mut history = Vec::new();
    // Whole sequences of commands: in the middle of one QEMU has ways of its own. No buffered writes, for
    // which its rules are not known.
    for step in 0..3000 {
        let block = random.below(3) << 18;
        let at = block + 4 * random.below(0x80);
        let twice = |command: u64| command << 16 | command;
        let sequence = match random.below(8) {
            // Not the status: there a cleared one is not ready, and some buffered writes set the error bit.
            0 | 3 | 4 => vec![(at, twice(0xff))],
            1 => vec![(at, twice(0xff)), (at, twice(0x90))],
            2 => vec![(at, twice(0xff)), (at, twice(0x98))],
            // From the query QEMU goes on to nothing but the array.
            5 => vec![
                (at, twice(0xff)),
                (at, twice(0x40)),
                (at, random.value() & 0xffff_ffff),
                (at, twice(0xff)),
            ],
            6 if random.below(8) == 0 => {
                vec![(at, twice(0xff)), (at, twice(0x20)), (at, twice(0xd0)), (at, twice(0xff))]
            }
            _ => {
                vec![
                    (at, twice(0xff)),
                    (at, twice(0x10)),
                    (at, random.value() & 0xffff_ffff),
                    (at, twice(0xff)),
                ]
            }
        };
        history.push(sequence.clone());
        for (offset, value) in &sequence {
            qemu.write(BASE + offset, 4, *value);
            mmio_write(&*port, *offset, 4, *value).unwrap().perform(&mut |_| ());
        }
        for _ in 0..3 {
            let size = [1, 2, 4][random.below(3) as usize];
            let offset = (random.below(3) << 18) + (random.below(0x200) & !u64::from(size - 1));
            let ours = mmio_read(&*port, offset, size).unwrap();
            assert_eq!(
                ours,
                qemu.read(BASE + offset, size),
                "{step}: {size} at {offset:#x} after {history:x?}"
            );
        }
    }
}

#[test]
fn oracle_virtio() {
    let Some(program) = oracle() else { return };
    let mut random = Random::new("oracle of the transport");
    for legacy in [true, false] {
        let force = format!("virtio-mmio.force-legacy={}", if legacy { "on" } else { "off" });
        let rng = "virtio-rng-device,bus=virtio-mmio-bus.0";
        let mut qemu = Qemu::start(&program, &["-global", &force, "-device", rng]);
        let transport = DeviceCell::new(VirtioMmio::new(legacy));
        transport.realize().unwrap();
        VirtioMmio::plug_any(&transport, &realized(VirtioRng::new()), guest_memory()).unwrap();
        let subject = Subject {
            device: transport,
            window: 0,
            base: 0x1000_1000,
            // Taking a legacy queue away resets the whole device there.
            offsets: words(0, 70).filter(|at| *at != 0x40).collect(),
            sizes: &[4, 4, 2, 1],
            tame: |offset, value| match offset {
                // One queue, and no queue that could be used: the rings would be nowhere.
                0x30 => value & 1,
                0x44 | 0x50 => 0,
                // What is not offered is refused here, and left out there.
                0x20 => value & 0x3000_0000,
                0x70 => value & 0x8f,
                _ => value,
            },
        };
        compare(&mut qemu, &subject, &mut random, 3000);
    }
}

/// The configuration space of each PCI device after reset, and which of its bits can be written.
#[test]
fn configuration_spaces_are_the_same() {
    use crate::pci::{Intx, PciBus, host, port};
    use crate::virtio::pci::{Balloon, Net, Rng, Serial, VirtioPci};
    use memory::{AddressSpace, Region, WHOLE};
    use object::{Line, Node};

    let Some(program) = oracle() else { return };
    let nvme = || {
        let cell = DeviceCell::new(crate::block::nvme::Nvme::default());
        cell.with(|nvme| nvme.serial = crate::block::nvme::Serial("x".into()));
        let drive = backends::block::NullDevice { len: 1 << 20, read_only: false };
        crate::block::nvme::Nvme::connect(&cell, Some(Arc::new(drive)));
        cell as Arc<dyn AnyDevice>
    };
    let card = || {
        let cell = DeviceCell::new(crate::net::e1000e::E1000e::default());
        cell.with(|card| card.mac = crate::property_types::MacAddress::nth(0));
        cell as Arc<dyn AnyDevice>
    };
    let devices: [(&str, Arc<dyn AnyDevice>); 13] = [
        ("", DeviceCell::new(host::GpexRoot::default())),
        ("edu", DeviceCell::new(crate::misc::edu::Edu::default())),
        ("virtio-rng-pci", DeviceCell::new(VirtioPci::<Rng>::default())),
        ("virtio-balloon-pci", DeviceCell::new(VirtioPci::<Balloon>::default())),
        ("pcie-root-port,chassis=1", DeviceCell::new(port::RootPort::default())),
        ("pvpanic-pci", DeviceCell::new(crate::misc::pvpanic::PvpanicPci::default())),
        ("pci-testdev", DeviceCell::new(crate::misc::pci_testdev::PciTestdev::default())),
        ("pci-serial", DeviceCell::new(crate::char::pci_serial::PciSerial::default())),
        ("nvme,serial=x", nvme()),
        ("x3130-upstream", DeviceCell::new(port::UpstreamPort::default())),
        ("virtio-net-pci,romfile=", DeviceCell::new(VirtioPci::<Net>::default())),
        ("virtio-serial-pci", DeviceCell::new(VirtioPci::<Serial>::default())),
        ("e1000e,romfile=,mac=52:54:00:12:34:56", card()),
    ];
    let mut line = Vec::new();
    for (name, _) in devices.iter().skip(1) {
        line.extend(["-device", name]);
    }
    let mut qemu = Qemu::start(&program, &line);
    let rooms = [0, 1, 2].map(|_| Region::container("room", WHOLE));
    let [memory, io, system] = rooms;
    let _space = AddressSpace::new("memory", &system);
    let intx = Intx::new([0, 1, 2, 3].map(|_| Line::to_fn(|_| ())));
    let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, intx);
    for (slot, (name, device)) in devices.iter().enumerate() {
        let node = Node::for_device(device.clone());
        let function = bus.plug(device, &node, Some(slot as u8 * 8), false, false).unwrap();
        let base = 0x3000_0000 + ((slot as u64) << 15);
        for offset in (0..0x200u64).step_by(4) {
            let (ours, theirs) = (function.read_config(offset, 4), qemu.read(base + offset, 4));
            assert_eq!(ours, theirs, "{name} at {offset:#x}: QEMU right");
            let mut masks = [0; 2];
            // Bit 15 of device control resets the function, each side its own way.
            let ones = if offset < 0x40 { 0xffff_ffff } else { 0xffff_7fff };
            for value in [ones, 0] {
                qemu.write(base + offset, 4, value);
                function.write_config(offset, 4, value).perform(&mut |_| ());
                masks[0] ^= function.read_config(offset, 4);
                masks[1] ^= qemu.read(base + offset, 4);
            }
            qemu.write(base + offset, 4, theirs);
            function.write_config(offset, 4, theirs).perform(&mut |_| ());
            for byte in (0..32).step_by(8) {
                let [our_mask, their_mask] = masks.map(|mask| mask >> byte & 0xff);
                // QEMU's card lets power data be chosen that are not there, and its device control cannot be written.
                let own = name.starts_with("e1000e") && matches!(offset, 0xcc | 0xe8);
                // QEMU lets all reserved bytes be written.
                let reserved = offset >= 0x40
                    && our_mask == 0
                    && their_mask & 0x7f == 0x7f
                    && theirs >> byte & 0xff == 0;
                assert!(
                    our_mask == their_mask || reserved || own,
                    "{name} at {offset:#x}: {masks:x?}, QEMU's second"
                );
            }
        }
        println!("{name}: configuration space agrees");
    }
}
