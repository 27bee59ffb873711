//! A bus with a device made for the purpose, as a driver and as an attacker would use it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use memory::{AddressSpace, OpenBus, Ram, Region, WHOLE};
use object::check::Random;
use object::pci::Capability;
use object::{AnyDevice, Device, DeviceCell, Effect, Line, Node};
use state::State;

use super::*;

const RAM: u64 = 0x8000_0000;

#[derive(Clone, Debug, Default, State)]
#[state(name = "toy")]
struct Toy {
    value: u32,
}

/// Copies what is written to it into memory, and interrupts.
#[derive(object::Device)]
#[device(name = "toy")]
#[pci(vendor = 0x1234, device = 0x5678, class = 0xff_0000, pin = 1)]
#[bar(index = 0, name = "toy-registers", size = 0x1000, access = 1..=8)]
#[bar(index = 1, kind = Io, name = "toy-ports", size = 0x20, access = 1..=4)]
#[bar(index = 2, kind = Memory64, prefetchable, name = "toy-memory", size = 0x4000, access = 1..=8)]
#[capability(Capability::express(true))]
#[capability(Capability::power_management())]
#[capability(Capability::msix_alone(4, 4))]
#[capability(Capability::msi(1))]
struct ToyDevice {
    #[place]
    pci: Pci,
    #[state]
    toy: Toy,
}

impl Device for ToyDevice {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        if offset == 0 { self.toy.value.into() } else { 0 }
    }
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        match offset {
            0 => self.toy.value = value as u32,
            4 => {
                if let Some(dma) = self.pci.dma() {
                    let _ = dma.write_u32(value, self.toy.value);
                }
            }
            8 => self.pci.interrupt(value & 1 != 0),
            12 => {
                self.pci.signal(value as u16);
            }
            _ => {}
        }
        Effect::None
    }
}

struct Machine {
    space: Arc<AddressSpace>,
    bus: Arc<PciBus>,
    pins: Arc<[AtomicBool; 4]>,
}

fn machine() -> Machine {
    let system = Region::container("system", WHOLE);
    system.add_subregion(RAM, &Region::ram("ram", Ram::anonymous(1 << 20).unwrap()));
    let space = AddressSpace::new("memory", &system);
    let pins: Arc<[AtomicBool; 4]> = Arc::default();
    let lines = [0, 1, 2, 3].map(|n| {
        let pins = pins.clone();
        Line::to_fn(move |level| pins[n].store(level, SeqCst))
    });
    let memory = Region::container("memory", WHOLE);
    memory.add_subregion(0, &Region::mmio("open", WHOLE, Arc::new(OpenBus)));
    let io = Region::container("io", 0x1_0000);
    io.add_subregion(0, &Region::mmio("open", 0x1_0000, Arc::new(OpenBus)));
    system.add_subregion(0x300_0000, &io);
    system.add_subregion(0x4000_0000, &Region::alias("low", &memory, 0x4000_0000, 0x4000_0000));
    system.add_subregion(4 << 32, &Region::alias("high", &memory, 4 << 32, 4 << 32));
    let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, Intx::new(lines));
    Machine { space, bus, pins }
}

fn plug(bus: &Arc<PciBus>, device: Arc<dyn AnyDevice>, devfn: u8) -> Arc<Function> {
    let node = Node::for_device(device.clone());
    let function = bus.plug(&device, &node, Some(devfn), false, false).unwrap();
    Box::leak(Box::new(node));
    function
}

fn toy(machine: &Machine, devfn: u8) -> Arc<Function> {
    plug(&machine.bus, DeviceCell::new(ToyDevice::default()), devfn)
}

fn set(function: &Function, offset: u64, size: u32, value: u64) {
    function.write_config(offset, size, value).perform(&mut |_| panic!("nothing for the machine"));
}

/// Where each capability lies.
fn find(function: &Function, id: u64) -> u64 {
    let mut at = function.read_config(0x34, 1);
    while at != 0 {
        if function.read_config(at, 1) == id {
            return at;
        }
        at = function.read_config(at + 1, 1);
    }
    panic!("no capability {id:#x}");
}

#[test]
fn configuration_space_says_what_the_attributes_say() {
    let machine = machine();
    let function = toy(&machine, 0x08);
    assert_eq!(function.read_config(0, 4), 0x5678_1234);
    assert_eq!(function.read_config(8, 4), 0xff00_0000);
    assert_eq!(function.read_config(0x2c, 4), 0x1100_1af4);
    assert_eq!(function.read_config(0x3d, 1), 1);
    assert_eq!(function.read_config(6, 2) & 0x10, 0x10);
    // In the order in which they were added, from the first free byte on.
    assert_eq!([0x10, 1, 0x11, 5].map(|id| find(&function, id)), [0x40, 0x7c, 0x84, 0x90]);
    assert_eq!(function.read_config(0x42, 2), 0x0092, "an integrated endpoint");
    assert_eq!(function.read_config(0x86, 2), 3, "four vectors");
    // Nobody is elsewhere.
    assert!(machine.bus.function(0x10).is_none());
    assert_eq!(function.read_config(0x1000, 4), 0xffff_ffff);
}

#[test]
fn base_address_registers_are_sized_and_move() {
    let machine = machine();
    let function = toy(&machine, 0x08);
    for (offset, all) in
        [(0x10, 0xffff_f000u64), (0x14, 0xffff_ffe1), (0x18, 0xffff_c00c), (0x1c, 0xffff_ffff)]
    {
        set(&function, offset, 4, 0xffff_ffff);
        assert_eq!(function.read_config(offset, 4), all);
    }
    set(&function, 0x10, 4, 0x5000_0000);
    set(&function, 0x14, 4, 0x100);
    set(&function, 0x18, 4, 0x1000_0000);
    set(&function, 0x1c, 4, 4);
    machine.space.write_int(0x5000_0000, 4, 7).unwrap();
    assert_eq!(machine.space.read_int(0x5000_0000, 4), Ok(0xffff_ffff), "not decoded yet");
    set(&function, 4, 2, 3);
    machine.space.write_int(0x5000_0000, 4, 7).unwrap();
    let seen = [0x5000_0000, 0x300_0100, 0x4_1000_0000].map(|at| machine.space.read_int(at, 4).unwrap());
    assert_eq!(seen, [7, 7, 7]);
    set(&function, 0x10, 4, 0x6000_0000);
    assert_eq!(machine.space.read_int(0x5000_0000, 4), Ok(0xffff_ffff));
    assert_eq!(machine.space.read_int(0x6000_0000, 4), Ok(7));
    set(&function, 4, 2, 1);
    assert_eq!(machine.space.read_int(0x6000_0000, 4), Ok(0xffff_ffff));
    assert_eq!(machine.space.read_int(0x300_0100, 4), Ok(7));
}

#[test]
fn bus_mastering_opens_memory() {
    let machine = machine();
    let function = toy(&machine, 0x08);
    set(&function, 0x10, 4, 0x5000_0000);
    set(&function, 4, 2, 2);
    machine.space.write_int(0x5000_0000, 4, 0xabcd).unwrap();
    machine.space.write_int(0x5000_0004, 4, RAM).unwrap();
    assert_eq!(machine.space.read_int(RAM, 4), Ok(0));
    set(&function, 4, 2, 6);
    machine.space.write_int(0x5000_0004, 4, RAM).unwrap();
    assert_eq!(machine.space.read_int(RAM, 4), Ok(0xabcd));
}

#[test]
fn interrupts_take_the_form_that_the_driver_chooses() {
    let machine = machine();
    let function = toy(&machine, 0x10);
    let pins = || machine.pins.iter().map(|p| p.load(SeqCst)).collect::<Vec<_>>();
    set(&function, 0x10, 4, 0x5000_0000);
    set(&function, 0x20, 4, 0x5100_0000);
    set(&function, 4, 2, 6);
    // INTA of slot 2 is the third line.
    machine.space.write_int(0x5000_0008, 4, 1).unwrap();
    assert_eq!(pins(), [false, false, true, false]);
    assert_eq!(function.read_config(6, 2) & 8, 8);
    set(&function, 4, 2, 0x406);
    assert_eq!(pins(), [false; 4]);
    set(&function, 4, 2, 6);
    assert_eq!(pins(), [false, false, true, false]);
    // A message.
    let msi = find(&function, 5);
    set(&function, msi + 4, 4, RAM + 0x40);
    set(&function, msi + 12, 2, 0x55);
    set(&function, msi + 2, 2, 1);
    assert_eq!(pins(), [false; 4]);
    machine.space.write_int(0x5000_0008, 4, 1).unwrap();
    assert_eq!(machine.space.read_int(RAM + 0x40, 4), Ok(0x55));
    // By table: masked until it is not.
    let msix = find(&function, 0x11);
    set(&function, msix + 2, 2, 0x8000);
    for (offset, value) in [(0x10, RAM + 0x80), (0x14, 0), (0x18, 0x77)] {
        machine.space.write_int(0x5100_0000 + offset, 4, value).unwrap();
    }
    machine.space.write_int(0x5000_000c, 4, 1).unwrap();
    assert_eq!(machine.space.read_int(RAM + 0x80, 4), Ok(0));
    assert_eq!(machine.space.read_int(0x5100_0800, 4), Ok(2), "pending");
    machine.space.write_int(0x5100_001c, 4, 0).unwrap();
    assert_eq!(machine.space.read_int(RAM + 0x80, 4), Ok(0x77));
    assert_eq!(machine.space.read_int(0x5100_0800, 4), Ok(0));
}

#[test]
fn a_function_is_reset_alone() {
    let machine = machine();
    let function = toy(&machine, 0x08);
    set(&function, 0x10, 4, 0x5000_0000);
    set(&function, 4, 2, 2);
    machine.space.write_int(0x5000_0000, 4, 9).unwrap();
    let express = find(&function, 0x10);
    set(&function, express + 8, 2, 0x8000);
    assert_eq!(function.read_config(0x10, 4), 0);
    assert_eq!(function.read_config(express + 8, 2), 0);
    assert_eq!(function.device().unwrap().read(0, 0, 4), 0);
    assert_eq!(machine.space.read_int(0x5000_0000, 4), Ok(0xffff_ffff));
}

#[test]
fn bridges_let_their_windows_through() {
    let machine = machine();
    let bridge = plug(&machine.bus, DeviceCell::new(port::RootPort::default()), 0x08);
    let bus = bridge.secondary().unwrap().clone();
    assert_eq!(bus.name(), "pcie.1");
    let function = plug(&bus, DeviceCell::new(ToyDevice::default()), 0);
    assert!(machine.bus.find(1).is_none());
    set(&bridge, 0x18, 4, 0x0001_0100);
    assert_eq!(machine.bus.find(1).unwrap().function(0).unwrap().read_config(0, 2), 0x1234);
    assert_eq!(function.read_config(0x42, 2), 0x0002, "an endpoint");
    set(&function, 0x10, 4, 0x5010_0000);
    set(&function, 4, 2, 2);
    machine.space.write_int(0x5010_0000, 4, 5).unwrap();
    assert_eq!(machine.space.read_int(0x5010_0000, 4), Ok(0xffff_ffff), "the bridge is closed");
    set(&bridge, 0x20, 4, 0x5010_5010);
    set(&bridge, 4, 2, 2);
    machine.space.write_int(0x5010_0000, 4, 5).unwrap();
    assert_eq!(machine.space.read_int(0x5010_0000, 4), Ok(5));
    // Reset from above.
    set(&bridge, 0x3e, 2, 0x40);
    assert_eq!(function.read_config(0x10, 4), 0);
    // One slot only.
    let other: Arc<dyn AnyDevice> = DeviceCell::new(ToyDevice::default());
    let node = Node::for_device(other.clone());
    let error = bus.plug(&other, &node, Some(0x10), false, false).unwrap_err().to_string();
    assert!(error.contains("only allows plugging into slot 0"), "{error}");
}

#[test]
fn a_device_comes_and_goes_while_the_machine_runs() {
    let machine = machine();
    let port = plug(&machine.bus, DeviceCell::new(port::RootPort::default()), 0x08);
    let bus = port.secondary().unwrap().clone();
    set(&port, 0x18, 4, 0x0001_0100);
    let gone: Arc<Mutex<Vec<u8>>> = Arc::default();
    let told = gone.clone();
    machine.bus.on_gone(Box::new(move |function| told.lock().unwrap().push(function.devfn())));
    let express = find(&port, 0x10);
    for round in 1..=20 {
        let device: Arc<dyn AnyDevice> = DeviceCell::new(ToyDevice::default());
        let weak = Arc::downgrade(&device);
        let node = Node::for_device(device.clone());
        let function = bus.plug(&device, &node, None, false, true).unwrap();
        drop((device, node));
        // Present, the link is up; presence has changed and the button was pressed.
        assert_eq!(port.read_config(express + 0x1a, 2) & 0x49, 0x49);
        assert_eq!(port.read_config(express + 0x12, 2) & 0x2000, 0x2000);
        set(&port, express + 0x1a, 2, 0x1f);
        set(&port, express + 0x18, 2, 0x0100);
        set(&function, 0x10, 4, 0x5010_0000);
        set(&function, 4, 2, 6);
        set(&port, 0x20, 4, 0x5010_5010);
        set(&port, 4, 2, 6);
        assert_eq!(machine.space.read_int(0x5010_0000, 4), Ok(0));
        bus.unplug(&function).unwrap();
        assert_eq!(port.read_config(express + 0x1a, 2) & 1, 1, "the driver is asked");
        assert!(bus.unplug(&function).is_err(), "once is enough");
        // It switches power and indicator off.
        set(&port, express + 0x18, 2, 0x0700);
        assert_eq!(gone.lock().unwrap().len(), round);
        assert!(bus.function(0).is_none());
        assert_eq!(machine.space.read_int(0x5010_0000, 4), Ok(0xffff_ffff));
        assert_eq!(port.read_config(express + 0x1a, 2) & 0x40, 0);
        set(&port, express + 0x1a, 2, 0x1f);
        drop(function);
        assert!(weak.upgrade().is_none(), "nothing keeps a device that is gone");
    }
    let device: Arc<dyn AnyDevice> = DeviceCell::new(ToyDevice::default());
    let error = machine.bus.plug(&device, &Node::for_device(device.clone()), None, false, true).unwrap_err();
    assert_eq!(error.to_string(), "Bus 'pcie.0' does not support hotplugging");
}

/// BARs are moved, switched and laid over one another by one thread while another has the device write to memory: in the
/// end what is mapped is what the registers say.
#[test]
fn moving_under_load_leaves_nothing_stale() {
    let machine = Arc::new(machine());
    let functions = [toy(&machine, 0x08), toy(&machine, 0x10)];
    let running = Arc::new(AtomicBool::new(true));
    let accesses = Arc::new(AtomicU32::new(0));
    let load: Vec<_> = (0..2u64)
        .map(|seed| {
            let (machine, running, accesses) = (machine.clone(), running.clone(), accesses.clone());
            std::thread::spawn(move || {
                let mut random = Random::new(seed);
                while running.load(SeqCst) {
                    let at = 0x4000_0000 + random.below(4) * 0x1000 + random.below(4) * 4;
                    let _ = machine.space.write_int(at, 4, RAM + random.below(0x1000) * 4);
                    accesses.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let movers: Vec<_> = functions
        .iter()
        .cloned()
        .enumerate()
        .map(|(seed, function)| {
            std::thread::spawn(move || {
                let mut random = Random::new(seed as u64 + 10);
                for _ in 0..3000 {
                    let value = 0x4000_0000 + random.below(4) * 0x1000;
                    match random.below(4) {
                        0 => set(&function, 4, 2, random.below(8)),
                        1 => set(&function, 0x10, 4, value),
                        2 => set(&function, 0x18, 4, value),
                        _ => set(&function, 0x20, 4, value),
                    }
                }
            })
        })
        .collect();
    movers.into_iter().for_each(|t| t.join().unwrap());
    running.store(false, SeqCst);
    load.into_iter().for_each(|t| t.join().unwrap());
    assert!(accesses.load(SeqCst) > 0);
    for function in &functions {
        let decoded = function.config().unwrap().with(|c| c.decoded());
        let mapped: Vec<_> = function.mappings().into_iter().map(|(_, at)| at).collect();
        assert_eq!(mapped, decoded.bars);
    }
    functions.iter().for_each(|f| set(f, 4, 2, 0));
    let left: Vec<_> = machine.space.view().ranges().iter().map(|r| r.region.name().to_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("toy") || name.contains("msix")), "{left:?}");
}

#[test]
fn a_configuration_space_is_a_device_like_any_other() {
    let machine = machine();
    for device in [
        DeviceCell::new(ToyDevice::default()) as Arc<dyn AnyDevice>,
        DeviceCell::new(port::RootPort::default()),
        DeviceCell::new(port::PciePciBridge::default()),
    ] {
        let devfn = 8 * (machine.bus.functions().len() as u8 + 1);
        let function = plug(&machine.bus, device, devfn);
        let config: Arc<dyn AnyDevice> = function.config().unwrap().clone();
        object::check::check_device(&config, u64::from(devfn), 3000).unwrap();
    }
}

#[test]
fn addresses_are_read() {
    let all = ["3", "1f.7", "0x4.1", "0x4.0x1", "20", "1.8", "x", "", "1.", "4.0"].map(parse_address);
    let expected = [Some(0x18), Some(0xff), Some(0x21), Some(0x21), None, None, None, None, None, Some(0x20)];
    assert_eq!(all, expected);
    assert_eq!(address_text(0xff), "1f.7");
}
