//! The console device with several ports: "virtio-serial-device", "virtconsole", "virtserialport".
//!
//! Document: VIRTIO 1.2, section 5.3. A port is an object on the device's bus, but its state belongs to the
//! device, whose queues it uses. Left out: the console's size (there is no terminal whose size is known).

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use backends::char::{CharEvent, CharPort, CharReceiver};
use events::EventLoop;
use object::{Anatomy, Device, DeviceCell};
use qapi::{Event, Qapi};
use state::State;

use super::common::{
    CommonOptions, CoreState, Virtio, VirtioDevice, Wiring, fresh_state, loaded, virtio_device,
};
use super::queue::{Broken, gather, length, scatter};

/// Queues that are no port's: the control queues.
const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;
/// Descriptors of a port's queue and of a control queue.
const QUEUE_SIZE: u16 = 128;
const CONTROL_SIZE: u16 = 32;
/// Bytes from the back end that are kept while the guest has no buffer for them.
const PENDING: usize = 4096;
/// How much the guest's output is copied at a time.
const CHUNK: usize = 64 << 10;
/// Control messages waiting for buffers. Each is the answer to one of the guest's, or tells of a port.
const MESSAGES: usize = 1024;

mod feature {
    pub const MULTIPORT: u64 = 1 << 1;
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// Control messages (5.3.6.2).
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_REMOVE: u16 = 2;
    pub const PORT_READY: u16 = 3;
    pub const CONSOLE_PORT: u16 = 4;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

/// A port as the user configures it.
#[derive(Device)]
#[device(
    name = "virtconsole",
    parent = "virtserialport",
    bus = "virtio-serial-bus",
    category = "input",
    user_creatable
)]
pub struct Virtconsole {
    /// Id of the character back end.
    #[property(desc = "ID of a chardev to use as a backend")]
    pub chardev: String,
    /// A name by which the guest finds the port.
    #[property]
    pub name: Option<String>,
    /// Its number; all ones for the first that is free.
    #[property(default = u32::MAX)]
    pub nr: u32,
}

impl Device for Virtconsole {}

/// A port that is no console.
#[derive(Device)]
#[device(
    name = "virtserialport",
    parent = "virtio-serial-port",
    bus = "virtio-serial-bus",
    category = "input",
    user_creatable
)]
pub struct Virtserialport {
    /// Id of the character back end.
    #[property(desc = "ID of a chardev to use as a backend")]
    pub chardev: String,
    /// A name by which the guest finds the port.
    #[property]
    pub name: Option<String>,
    /// Its number; all ones for the first that is free.
    #[property(default = u32::MAX)]
    pub nr: u32,
}

impl Device for Virtserialport {}

/// What a port is made from.
#[derive(Clone, Default)]
pub struct PortConfig {
    /// Its number; `None` for the first that is free.
    pub nr: Option<u32>,
    /// A name by which the guest finds it.
    pub name: Option<String>,
    /// Whether it is a console, which is open always.
    pub console: bool,
    /// The user's name for it, for the events about it.
    pub id: Option<String>,
    /// Who is at the other end.
    pub port: Option<Arc<dyn CharPort>>,
}

impl PortConfig {
    /// From a `virtconsole` or a `virtserialport` as the user has configured it.
    pub fn of(device: &dyn object::AnyDevice, port: Option<Arc<dyn CharPort>>) -> Self {
        let text = |name| device.property(name).and_then(|value| value.as_str().map(ToOwned::to_owned));
        let nr = device.property("nr").and_then(|value| value.as_uint());
        Self {
            nr: nr.and_then(|nr| u32::try_from(nr).ok()).filter(|nr| *nr != u32::MAX),
            name: text("name").filter(|name| !name.is_empty()),
            console: device.type_info().name == Virtconsole::TYPE.name,
            id: None,
            port,
        }
    }
}

/// The guest has opened or closed a port of a virtio-serial device.
#[derive(Debug, Qapi)]
#[qapi(event = "VSERPORT_CHANGE")]
pub struct VserportChange {
    /// The user's name for the port.
    pub id: String,
    /// It is open now.
    pub open: bool,
}

/// What is saved of a port.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-console-port")]
struct PortState {
    /// The guest has opened the port.
    guest_open: bool,
    /// Somebody is at the back end.
    host_open: bool,
    /// Input that the guest has not got yet.
    pending: VecDeque<u8>,
    /// How much of the first chain of the transmit queue is with the back end.
    transmitted: u64,
}

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-console")]
pub struct SerialState {
    core: CoreState,
    /// By number.
    ports: Vec<PortState>,
    /// Control messages that wait for buffers.
    messages: VecDeque<Vec<u8>>,
}

virtio_device! {
    /// The device.
    #[derive(Device)]
    #[device(name = "virtio-serial-device", parent = "virtio-device", bus = "virtio-bus", category = "input",
        user_creatable)]
    pub struct VirtioSerial {
        /// How many ports there can be.
        #[property(name = "max_ports", default = 31u32)]
        pub max_ports: u32,
        /// Offer the register for a dying guest's last words.
        #[property(name = "emergency-write", default = true)]
        pub emergency_write: bool,
        /// By number; `None` where there is no port.
        ports: Vec<Option<PortConfig>>,
        events: Option<EventLoop>,
        this: Weak<DeviceCell<Self>>,
        #[state]
        state: SerialState,
    }
}

/// What a back end calls.
struct Receiver {
    cell: Weak<DeviceCell<VirtioSerial>>,
    port: usize,
}

impl Receiver {
    fn with<R: Default>(&self, f: impl FnOnce(&mut VirtioSerial) -> R) -> R {
        self.cell.upgrade().map(|cell| cell.with(f)).unwrap_or_default()
    }
}

impl CharReceiver for Receiver {
    fn room(&self) -> usize {
        self.with(|device| device.room(self.port))
    }

    fn receive(&self, bytes: &[u8]) {
        self.with(|device| device.receive(self.port, bytes));
    }

    fn event(&self, event: CharEvent) {
        self.with(|device| match event {
            CharEvent::Opened => device.host_open(self.port, true),
            CharEvent::Closed => device.host_open(self.port, false),
            _ => {}
        });
    }

    fn writable(&self) {
        self.with(|device| device.transmit(self.port));
    }
}

fn receive_queue(port: usize) -> usize {
    if port == 0 { 0 } else { 2 * port + 2 }
}

fn transmit_queue(port: usize) -> usize {
    receive_queue(port) + 1
}

/// The port that a queue belongs to, and whether it is the one the guest sends with.
fn port_of(queue: usize) -> Option<(usize, bool)> {
    match queue {
        0 | 1 => Some((0, queue == 1)),
        CONTROL_RECEIVE | CONTROL_TRANSMIT => None,
        _ => Some(((queue - 2) / 2, queue % 2 == 1)),
    }
}

impl VirtioSerial {
    /// A device without ports; its configuration is the public fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the device its main loop; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop) {
        cell.with(|device| {
            device.this = Arc::downgrade(cell);
            device.events = Some(events.clone());
        });
    }

    /// Adds a port to the realized device and returns its number.
    ///
    /// # Errors
    /// The number or the name is taken, or there are too many ports.
    pub fn add_port(cell: &Arc<DeviceCell<Self>>, config: PortConfig) -> base::Result<u32> {
        let port = config.port.clone();
        let nr = cell.with(|device| device.insert_port(config))?;
        if let Some(port) = port {
            port.set_receiver(Some(Arc::new(Receiver { cell: Arc::downgrade(cell), port: nr as usize })));
        }
        Ok(nr)
    }

    fn insert_port(&mut self, config: PortConfig) -> base::Result<u32> {
        let free = |nr: u32| self.ports.get(nr as usize).is_some_and(Option::is_none);
        let nr = match config.nr {
            Some(nr) if nr >= self.max_ports => {
                return Err(base::error!(
                    "virtio-serial-bus: Out-of-range port id specified, max. allowed: {}",
                    self.max_ports.saturating_sub(1)
                ));
            }
            Some(nr) if !free(nr) => {
                return Err(base::error!("virtio-serial-bus: A port already exists at id {nr}"));
            }
            Some(nr) => nr,
            // Port 0 is for a console, as it is for drivers without multiport.
            None => (u32::from(!config.console)..self.max_ports).find(|nr| free(*nr)).ok_or_else(|| {
                base::error!("virtio-serial-bus: Maximum port limit for this device reached")
            })?,
        };
        let named =
            |other: &Option<PortConfig>| other.as_ref().is_some_and(|other| other.name == config.name);
        if config.name.is_some() && self.ports.iter().any(named) {
            return Err("virtio-serial-bus: A port already exists by that name".into());
        }
        if let Some(slot) = self.ports.get_mut(nr as usize) {
            *slot = Some(config);
        }
        self.reset_port(nr as usize);
        self.send_control(nr, event::PORT_ADD, 1, &[]);
        Ok(nr)
    }

    /// Takes the port that the user calls `id` out; false if there is none.
    pub fn remove_port(cell: &Arc<DeviceCell<Self>>, id: &str) -> bool {
        let gone = cell.with(|device| {
            let named =
                |port: &Option<PortConfig>| port.as_ref().is_some_and(|p| p.id.as_deref() == Some(id));
            let nr = device.ports.iter().position(named)?;
            let config = device.ports.get_mut(nr)?.take();
            device.reset_port(nr);
            device.send_control(nr as u32, event::PORT_REMOVE, 1, &[]);
            config
        });
        if let Some(port) = gone.as_ref().and_then(|config| config.port.as_ref()) {
            port.set_receiver(None);
        }
        gone.is_some()
    }

    fn config_of(&self, port: usize) -> Option<&PortConfig> {
        self.ports.get(port)?.as_ref()
    }

    fn multiport(&mut self) -> bool {
        self.virtio().has(feature::MULTIPORT)
    }

    fn reset_port(&mut self, port: usize) {
        let console = self.config_of(port).is_some_and(|config| config.console);
        self.guest_opens(port, console);
        if let Some(state) = self.state.ports.get_mut(port) {
            // A console is open from the beginning: the driver need not say so. Who is at the back end stays.
            *state = PortState { guest_open: console, host_open: state.host_open, ..PortState::default() };
        }
    }

    /// The guest opens or closes a port; whoever keeps the machine is told of those that have a name.
    fn guest_opens(&mut self, port: usize, open: bool) {
        let Some(state) = self.state.ports.get_mut(port) else { return };
        let changed = std::mem::replace(&mut state.guest_open, open) != open;
        let named =
            self.config_of(port).filter(|config| !config.console).and_then(|config| config.id.clone());
        if let Some(id) = named.filter(|_| changed) {
            VserportChange { id, open }.emit();
        }
    }

    fn guest_is_open(&mut self, port: usize) -> bool {
        let multiport = self.multiport();
        let open = self.state.ports.get(port).is_some_and(|state| state.guest_open);
        // Without multiport there is but one port, and nobody opens it.
        if multiport { open } else { port == 0 }
    }

    // Control messages.

    fn send_control(&mut self, port: u32, event: u16, value: u16, tail: &[u8]) {
        if !self.multiport() || self.state.messages.len() >= MESSAGES {
            return;
        }
        let mut message = port.to_le_bytes().to_vec();
        message.extend_from_slice(&event.to_le_bytes());
        message.extend_from_slice(&value.to_le_bytes());
        message.extend_from_slice(tail);
        self.state.messages.push_back(message);
        self.flush_control();
    }

    fn flush_control(&mut self) {
        let mut sent = false;
        while !self.state.messages.is_empty() {
            let mut virtio = Virtio { wiring: &self.wiring, state: &mut self.state.core };
            let Some(chain) = virtio.pop(CONTROL_RECEIVE) else { break };
            let (Some(message), Some(dma)) = (self.state.messages.pop_front(), virtio.dma()) else { break };
            match scatter(&dma, &chain.writable, 0, &message) {
                Ok(written) => virtio.push(CONTROL_RECEIVE, &chain, written as u32),
                Err(broken) => {
                    virtio.fail(broken);
                    return;
                }
            }
            sent = true;
        }
        if sent {
            self.virtio().publish(CONTROL_RECEIVE);
        }
    }

    fn handle_control(&mut self) {
        for _ in 0..CONTROL_SIZE.saturating_mul(4) {
            let mut virtio = self.virtio();
            let Some(chain) = virtio.pop(CONTROL_TRANSMIT) else { break };
            let Some(dma) = virtio.dma() else { break };
            let mut message = [0; 8];
            match gather(&dma, &chain.readable, 0, &mut message) {
                Ok(count) => {
                    virtio.push(CONTROL_TRANSMIT, &chain, 0);
                    if count == message.len() {
                        let all = u64::from_le_bytes(message);
                        self.control(all as u32, (all >> 32) as u16, (all >> 48) as u16);
                    }
                }
                Err(broken) => {
                    virtio.fail(broken);
                    return;
                }
            }
        }
        self.virtio().publish(CONTROL_TRANSMIT);
        self.again_if_more(CONTROL_TRANSMIT);
    }

    fn control(&mut self, nr: u32, kind: u16, value: u16) {
        let port = nr as usize;
        if kind == event::DEVICE_READY {
            if value == 0 {
                base::guest_error!("virtio-serial: the guest failed to add the device");
                return;
            }
            for nr in 0..self.ports.len() {
                if self.config_of(nr).is_some() {
                    self.send_control(nr as u32, event::PORT_ADD, 1, &[]);
                }
            }
            return;
        }
        let Some(config) = self.config_of(port).cloned() else {
            base::guest_error!("virtio-serial: a control message for port {nr}, which does not exist");
            return;
        };
        match kind {
            event::PORT_READY if value == 0 => {
                base::guest_error!("virtio-serial: the guest failed to add port {nr}");
            }
            event::PORT_READY => {
                if config.console {
                    self.send_control(nr, event::CONSOLE_PORT, 1, &[]);
                }
                if let Some(name) = &config.name {
                    let tail = [name.as_bytes(), &[0]].concat();
                    self.send_control(nr, event::PORT_NAME, 1, &tail);
                }
                let host_open = self.state.ports.get(port).is_some_and(|state| state.host_open);
                if host_open || config.console {
                    self.send_control(nr, event::PORT_OPEN, 1, &[]);
                }
            }
            event::PORT_OPEN => {
                let open = value != 0 || config.console;
                self.guest_opens(port, open);
                if value != 0 {
                    self.ask_for_input(port);
                }
            }
            _ => base::guest_error!("virtio-serial: control message {kind} for port {nr} is unknown"),
        }
    }

    // Towards the guest.

    fn host_open(&mut self, port: usize, open: bool) {
        let console = self.config_of(port).is_some_and(|config| config.console);
        let Some(state) = self.state.ports.get_mut(port) else { return };
        if state.host_open != open {
            state.host_open = open;
            if !console {
                self.send_control(port as u32, event::PORT_OPEN, u16::from(open), &[]);
            }
        }
    }

    fn room(&mut self, port: usize) -> usize {
        let pending = self.state.ports.get(port).map_or(PENDING, |state| state.pending.len());
        if pending >= PENDING
            || !self.guest_is_open(port)
            || self.virtio().available(receive_queue(port)) == 0
        {
            return 0;
        }
        PENDING - pending
    }

    fn receive(&mut self, port: usize, bytes: &[u8]) {
        if let Some(state) = self.state.ports.get_mut(port) {
            let room = PENDING.saturating_sub(state.pending.len());
            state.pending.extend(bytes.iter().take(room));
        }
        self.deliver(port);
    }

    /// Fills the guest's buffers with what is pending.
    fn deliver(&mut self, port: usize) {
        let queue = receive_queue(port);
        let mut filled = false;
        while self.state.ports.get(port).is_some_and(|state| !state.pending.is_empty()) {
            let mut virtio = Virtio { wiring: &self.wiring, state: &mut self.state.core };
            let Some(chain) = virtio.pop(queue) else { break };
            let (Some(state), Some(dma)) = (self.state.ports.get_mut(port), virtio.dma()) else { break };
            match scatter(&dma, &chain.writable, 0, state.pending.make_contiguous()) {
                Ok(0) => {
                    virtio.fail(Broken("a receive buffer has no room"));
                    return;
                }
                Ok(written) => {
                    state.pending.drain(..written);
                    virtio.push(queue, &chain, written as u32);
                    filled = true;
                }
                Err(broken) => {
                    virtio.fail(broken);
                    return;
                }
            }
        }
        if filled {
            self.virtio().publish(queue);
        }
    }

    fn ask_for_input(&mut self, port: usize) {
        if self.room(port) > 0
            && let Some(backend) = self.config_of(port).and_then(|config| config.port.clone())
        {
            backend.receive_ready();
        }
    }

    // From the guest.

    fn transmit(&mut self, port: usize) {
        let queue = transmit_queue(port);
        let Some(config) = self.config_of(port).cloned() else { return };
        let mut finished = false;
        for _ in 0..QUEUE_SIZE {
            let mut virtio = Virtio { wiring: &self.wiring, state: &mut self.state.core };
            let Some(chain) = virtio.pop(queue) else { break };
            let (Some(state), Some(dma)) = (self.state.ports.get_mut(port), virtio.dma()) else { break };
            let total = length(&chain.readable);
            let mut chunk = vec![0; CHUNK.min(total as usize)];
            let mut blocked = false;
            while state.transmitted < total && !blocked {
                let size = chunk.len().min((total - state.transmitted) as usize);
                let part = chunk.get_mut(..size).unwrap_or_default();
                if let Err(broken) = gather(&dma, &chain.readable, state.transmitted, part) {
                    virtio.fail(broken);
                    return;
                }
                let taken = config.port.as_ref().map_or(size, |port| port.write(part).min(size));
                state.transmitted += taken as u64;
                blocked = taken < size;
            }
            if blocked {
                // The back end says when it can take more.
                virtio.unpop(queue, &chain);
                break;
            }
            state.transmitted = 0;
            virtio.push(queue, &chain, 0);
            finished = true;
        }
        if finished {
            self.virtio().publish(queue);
            self.again_if_more(queue);
        }
    }

    /// A guest that fills a queue as fast as it is emptied does not keep its vCPU here: the main loop goes on.
    fn again_if_more(&mut self, queue: usize) {
        if self.virtio().available(queue) == 0 {
            return;
        }
        if let Some(events) = &self.events {
            let this = self.this.clone();
            events.defer(move || {
                if let Some(cell) = this.upgrade() {
                    cell.with(|device| device.notify(queue));
                }
            });
        }
    }
}

impl VirtioDevice for VirtioSerial {
    const ID: u32 = 3;

    fn virtio(&mut self) -> Virtio<'_> {
        Virtio { wiring: &self.wiring, state: &mut self.state.core }
    }

    fn wiring_mut(&mut self) -> &mut Wiring {
        &mut self.wiring
    }

    fn options(&self) -> CommonOptions {
        self.common_options()
    }

    fn offered(&self, _: bool) -> u64 {
        let multiport = if self.max_ports > 1 { feature::MULTIPORT } else { 0 };
        multiport | if self.emergency_write { feature::EMERG_WRITE } else { 0 }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        (0..2 * self.max_ports as usize + 2)
            .map(|queue| match queue {
                CONTROL_RECEIVE | CONTROL_TRANSMIT => CONTROL_SIZE,
                _ => QUEUE_SIZE,
            })
            .collect()
    }

    fn config(&mut self) -> Vec<u8> {
        // Columns and rows are unknown.
        let mut config = vec![0; 12];
        if let Some(max_ports) = config.get_mut(4..8) {
            max_ports.copy_from_slice(&self.max_ports.to_le_bytes());
        }
        config
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        if offset == 8
            && self.emergency_write
            && let Some(byte) = bytes.get(..1)
            && let Some(port) = self.ports.iter().flatten().find_map(|config| config.port.clone())
        {
            // Whether it fits is not the dying guest's concern.
            let _ = port.write(byte);
        }
    }

    fn notify(&mut self, queue: usize) {
        match queue {
            CONTROL_RECEIVE => self.flush_control(),
            CONTROL_TRANSMIT => self.handle_control(),
            _ => match port_of(queue) {
                Some((port, true)) => self.transmit(port),
                Some((port, false)) => {
                    self.deliver(port);
                    self.ask_for_input(port);
                }
                None => {}
            },
        }
    }

    fn queue_reset(&mut self, queue: usize) {
        if let Some((port, true)) = port_of(queue)
            && let Some(state) = self.state.ports.get_mut(port)
        {
            state.transmitted = 0;
        }
    }
}

impl Device for VirtioSerial {
    fn realize(&mut self) -> base::Result<()> {
        if self.max_ports == 0 || self.max_ports > 511 {
            return Err("Maximum number of serial ports not specified".into());
        }
        self.ports.resize(self.max_ports as usize, None);
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        let host_open: Vec<_> = self.state.ports.iter().map(|port| port.host_open).collect();
        self.reset_state();
        for (port, open) in self.state.ports.iter_mut().zip(host_open) {
            port.host_open = open;
        }
        self.wiring.irq.lower();
    }

    fn reset_state(&mut self) {
        let ports = vec![PortState::default(); self.ports.len()];
        self.state = SerialState { core: fresh_state(self), ports, messages: VecDeque::new() };
        for port in 0..self.ports.len() {
            self.reset_port(port);
        }
    }

    fn loaded(&mut self) -> Result<(), String> {
        loaded(self)?;
        if self.state.ports.len() != self.ports.len() || self.state.messages.len() > MESSAGES {
            return Err("the ports are others".to_owned());
        }
        if self.state.ports.iter().any(|port| port.pending.len() > PENDING) {
            return Err("too much input is pending".to_owned());
        }
        for port in 0..self.ports.len() {
            self.transmit(port);
            self.ask_for_input(port);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod test;
