use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;
use crate::{Access, Category, Node};

#[derive(State, Default)]
#[state(name = "counter", version = 1)]
struct Counting {
    count: u32,
    enabled: bool,
}

/// A counter: register 0 counts, register 4 reports, bit 0 of register 8 raises the line.
#[derive(crate::Device)]
#[device(name = "test-counter", desc = "Counts", category = "misc", parent = "sys-bus-device", inputs = 2)]
#[mmio(name = "counter", size = 0x10, access = 4..=4)]
#[mmio(name = "counter.extra", size = self.extra_size, access = 1..=8, implemented = 2..=4, endian = Big, unaligned)]
struct Counter {
    #[property(default = 3u32, desc = "what each write adds")]
    step: u32,
    #[property(name = "extra", default = 0x20u64)]
    extra_size: u64,
    #[wire]
    irq: Line,
    #[wire(name = "leds")]
    leds: [Line; 2],
    #[state]
    state: Counting,
    refused: bool,
}

impl Device for Counter {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        if offset == 4 { u64::from(self.state.count) } else { 0 }
    }
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        match offset {
            0 => self.state.count += self.step,
            8 => self.irq.set(value & 1 != 0),
            12 => return Effect::SHUTDOWN,
            _ => {}
        }
        Effect::None
    }
    fn input(&mut self, line: usize, level: bool) {
        self.state.enabled = level && line == 1;
        self.leds[1].set(level);
    }
    fn realize(&mut self) -> base::Result<()> {
        if self.step == 0 { Err("the step cannot be 0".into()) } else { Ok(()) }
    }
    fn loaded(&mut self) -> Result<(), String> {
        if self.refused { Err("not today".into()) } else { Ok(()) }
    }
}

#[test]
fn facts() {
    let info = Counter::TYPE;
    assert_eq!(
        (info.name, info.parent, info.category),
        ("test-counter", Some("sys-bus-device"), Category::Misc)
    );
    let cell = (info.create.unwrap())();
    let regions = cell.regions();
    assert_eq!(regions[0].access, Access::only(4).with_impl(1, 8));
    assert_eq!((regions[1].size, regions[1].access.impl_min), (0x20, 2));
    assert_eq!(regions[1].access.endian, crate::Endian::Big);
    assert_eq!(cell.wires(), [("irq", 1), ("leds", 2)]);
    let properties = cell.properties();
    assert_eq!((properties[0].name, properties[0].kind), ("step", "uint32"));
    assert_eq!(properties[0].default, Some(PropertyValue::Uint(3)));
    assert_eq!(properties[1].name, "extra");
}

#[test]
fn registers_reset_and_state() {
    let cell = DeviceCell::new(Counter::default());
    cell.set_property("step", &PropertyValue::Uint(5)).unwrap();
    cell.realize().unwrap();
    assert_eq!(cell.set_property("step", &PropertyValue::Uint(6)), Err(PropertyError::Realized));
    assert!(cell.write(0, 0, 4, 0).is_none());
    assert_eq!(cell.read(0, 4, 4), 5);
    assert!(matches!(cell.write(0, 12, 4, 0), Effect::Shutdown { .. }));
    let mut out = Saver::new();
    cell.save(2, &mut out);
    cell.reset();
    assert_eq!(cell.read(0, 4, 4), 0);
    cell.load(2, &mut Loader::new(out.bytes())).unwrap();
    assert_eq!(cell.read(0, 4, 4), 5);
    cell.with(|d| d.refused = true);
    let e = cell.load(2, &mut Loader::new(out.bytes())).unwrap_err();
    assert_eq!(e.to_string(), "saved state of 'counter': not today");
    let any: Arc<dyn AnyDevice> = cell;
    assert!(any.downcast::<Counter>().is_some());
}

#[test]
fn unusable_configuration() {
    let cell = DeviceCell::new(Counter { step: 0, ..Counter::default() });
    assert_eq!(cell.realize().unwrap_err().message(), "the step cannot be 0");
    assert!(!cell.is_realized());
}

/// A line that comes back to the device which sets it: delivered after the lock is gone.
#[test]
fn lines_are_delivered_outside() {
    let cell = DeviceCell::new(Counter::default());
    assert!(cell.connect("irq", 0, cell.input_line(1)));
    assert!(!cell.connect("irq", 1, Line::unconnected()));
    assert!(!cell.connect("nothing", 0, Line::unconnected()));
    let seen = Arc::new(AtomicU32::new(0));
    let also = seen.clone();
    assert!(cell.connect(
        "leds",
        1,
        Line::to_fn(move |level| {
            assert!(!crate::inside_device());
            also.fetch_add(if level { 1 } else { 100 }, SeqCst);
        })
    ));
    cell.write(0, 8, 4, 1);
    assert!(cell.with(|d| d.state.enabled));
    assert_eq!(seen.load(SeqCst), 1);
    cell.write(0, 8, 4, 0);
    assert_eq!(seen.load(SeqCst), 101);
}

/// A transfer to registers is as many writes as it is long; each enters and leaves a device.
#[test]
fn much_deferred_work_needs_no_deep_stack() {
    let done = std::rc::Rc::new(std::cell::Cell::new(0));
    crate::as_inside(|| {
        for n in 0..200_000 {
            let done = done.clone();
            crate::defer(move || {
                crate::as_inside(|| ());
                assert_eq!(done.replace(n + 1), n);
            });
        }
    });
    assert_eq!(done.get(), 200_000);
}

#[test]
fn deferred_work() {
    let cell = DeviceCell::new(Counter::default());
    let done = Arc::new(AtomicU32::new(0));
    let (a, b) = (done.clone(), done.clone());
    cell.with(move |_| {
        crate::defer(move || assert_eq!(a.fetch_add(1, SeqCst), 0));
        assert_eq!(b.load(SeqCst), 0);
    });
    assert_eq!(done.load(SeqCst), 1);
    crate::defer(move || assert_eq!(done.fetch_add(1, SeqCst), 1));
}

#[test]
fn node_of_a_device() {
    let cell = DeviceCell::new(Counter::default());
    let node = Node::for_device(cell);
    assert_eq!(node.children().len(), 2);
    assert_eq!(node.children()[1].0, "unnamed-gpio-in[1]");
    node.set_property("step", &PropertyValue::Str("9".into())).unwrap();
    assert_eq!(node.property("step").unwrap(), PropertyValue::Uint(9));
    let e = node.set_property("bogus", &PropertyValue::Bool(true)).unwrap_err();
    assert_eq!(e.to_string(), "Property 'test-counter.bogus' not found");
}

#[test]
fn stands_the_common_tests() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(Counter::default());
    crate::check::check_device(&device, 1, 500).unwrap();
}

#[test]
fn qtree() {
    let machine = Node::new("virt-machine");
    let peripheral = Node::new("container");
    machine.add_child("peripheral", &peripheral);
    let bus = Node::new("System");
    let first = Node::for_device(DeviceCell::new(Counter::default()));
    first.map_window(0, 0x1000);
    peripheral.add_child("c0", &first);
    let inner = Node::new("virtio-mmio-bus");
    first.add_child("virtio-mmio-bus.0", &inner);
    bus.attach(&first);
    bus.attach(&Node::new_device("gone"));
    let array = Node::new_device("riscv.hart_array");
    array.add_property(crate::NodeProperty::fixed("num-harts", "uint32", PropertyValue::Uint(1)));
    bus.attach(&array);
    assert_eq!(
        crate::print_qtree(&bus, "main-system-bus"),
        "bus: main-system-bus
  type System
  dev: riscv.hart_array, id \"\"
    num-harts = 1 (0x1)
  dev: test-counter, id \"c0\"
    gpio-in \"\" 2
    gpio-out \"irq\" 1
    gpio-out \"leds\" 2
    step = 3 (0x3)
    extra = 32 (0x20)
    mmio 0000000000001000/0000000000000010
    mmio ffffffffffffffff/0000000000000020
    bus: virtio-mmio-bus.0
      type virtio-mmio-bus
"
    );
}
