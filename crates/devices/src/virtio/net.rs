//! The network card: "virtio-net-device".
//!
//! Document: VIRTIO 1.2, section 5.1. As many pairs of queues as the back end has, and the control queue. Checksums and
//! TCP/IPv4 segmentation are left to the other side where the back end or the driver can do them. Left out: receive-side
//! scaling, UDP fragmentation and TCP/IPv6 segmentation.

use std::sync::{Arc, Weak};

use backends::net::{FrameOffload, NetPeer, NetReceiver, Offloads};
use events::EventLoop;
use memory::Dma;
use object::{Device, DeviceCell};
use state::State;

use super::common::{
    CommonOptions, CoreState, Virtio, VirtioDevice, Wiring, feature as common_feature, fresh_state, loaded,
    virtio_device,
};
use super::net_filter::{Filter, mac_list};
pub use super::net_filter::{RxFilter, RxState};
use super::net_others::OtherOffloads;
use super::net_pairs::{Steering, receive_queue, transmit_queue};
use super::queue::{Broken, Chain, gather, length, scatter};
use crate::property_types::{BootIndex, MacAddress};

/// Descriptors of the control queue.
const CONTROL_SIZE: u16 = 64;
/// The most pairs of queues.
const MAX_PAIRS: u16 = 256;
/// The longest frame, header of the device included: a TCP segment of 64 KiB.
const MAX_FRAME: usize = 68 << 10;
/// The longest control command: a full table of addresses and then some.
const MAX_COMMAND: usize = 64 << 10;

mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CTRL_VQ: u64 = 1 << 17;
    pub const CTRL_RX: u64 = 1 << 18;
    pub const CTRL_VLAN: u64 = 1 << 19;
    pub const CTRL_RX_EXTRA: u64 = 1 << 20;
    pub const GUEST_ANNOUNCE: u64 = 1 << 21;
    pub const MQ: u64 = 1 << 22;
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    pub const SPEED_DUPLEX: u64 = 1 << 63;
}

/// Header in front of each frame (5.1.6).
mod header {
    pub const NEEDS_CSUM: u8 = 1;
    pub const GSO_NONE: u8 = 0;
    pub const GSO_TCPV4: u8 = 1;
    /// May accompany the type.
    pub const GSO_ECN: u8 = 0x80;
    /// With `num_buffers`, which a legacy driver without merged buffers does not know.
    pub const SIZE: usize = 12;
    pub const LEGACY_SIZE: usize = 10;
}

/// Bits of the status in the configuration.
mod net_status {
    pub const LINK_UP: u16 = 1;
    pub const ANNOUNCE: u16 = 2;
}

const ACK_OK: u8 = 0;
const ACK_ERROR: u8 = 1;

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-net", version = 2)]
pub struct NetState {
    core: CoreState,
    mac: [u8; 6],
    status: u16,
    filter: Filter,
    /// What the driver can do now, of what it has accepted.
    guest_offloads: u64,
    /// Pairs of queues that the driver uses.
    #[state(since = 2)]
    pairs: u16,
}

virtio_device! {
    /// The device.
    #[derive(Device)]
    #[device(name = "virtio-net-device", parent = "virtio-device", bus = "virtio-bus", category = "network",
        user_creatable)]
    pub struct VirtioNet {
        /// Id of the network back end.
        #[property(desc = "ID of a netdev to use as a backend")]
        pub netdev: String,
        /// Address of the card.
        #[property(desc = "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56")]
        pub mac: MacAddress,
        /// Place in the boot order, if it has one.
        #[property]
        pub bootindex: BootIndex,
        /// Compute checksums for the driver, if the back end can.
        #[property(default = true)]
        pub csum: bool,
        /// Let the driver compute checksums.
        #[property(name = "guest_csum", default = true)]
        pub guest_csum: bool,
        /// Give the driver TCP/IPv4 segments.
        #[property(name = "guest_tso4", default = true)]
        pub guest_tso4: bool,
        /// Take TCP/IPv4 segments, if the back end can.
        #[property(name = "host_tso4", default = true)]
        pub host_tso4: bool,
        /// Offer to spread a frame over several buffers.
        #[property(name = "mrg_rxbuf", default = true)]
        pub mrg_rxbuf: bool,
        /// Offer the state of the link.
        #[property(default = true)]
        pub status: bool,
        /// Offer the control queue.
        #[property(name = "ctrl_vq", default = true)]
        pub ctrl_vq: bool,
        /// Offer the receive filter.
        #[property(name = "ctrl_rx", default = true)]
        pub ctrl_rx: bool,
        /// Offer the VLAN filter.
        #[property(name = "ctrl_vlan", default = true)]
        pub ctrl_vlan: bool,
        /// Offer more modes of the receive filter.
        #[property(name = "ctrl_rx_extra", default = true)]
        pub ctrl_rx_extra: bool,
        /// Let the driver change the address.
        #[property(name = "ctrl_mac_addr", default = true)]
        pub ctrl_mac_addr: bool,
        /// Let the driver switch its offloads.
        #[property(name = "ctrl_guest_offloads", default = true)]
        pub ctrl_guest_offloads: bool,
        /// Offer announcements.
        #[property(name = "guest_announce", default = true)]
        pub guest_announce: bool,
        /// The network's MTU, if the driver is to know it.
        #[property(name = "host_mtu", default = 0u16)]
        pub host_mtu: u16,
        /// Descriptors of the receive queue.
        #[property(name = "rx_queue_size", default = 256u16)]
        pub rx_queue_size: u16,
        /// Descriptors of the transmit queue.
        #[property(name = "tx_queue_size", default = 256u16)]
        pub tx_queue_size: u16,
        /// Offer several pairs of queues, if the back end has them.
        #[property]
        pub mq: bool,
        /// Megabits a second that the driver is told; below 0 for nothing.
        #[property(default = -1i32)]
        pub speed: i32,
        /// `half` or `full`, which the driver is told.
        #[property]
        pub duplex: Option<String>,
        /// What other cards can do, and this one takes for granted or leaves out.
        #[properties]
        pub others: OtherOffloads,
        peer: Option<Arc<dyn NetPeer>>,
        events: Option<EventLoop>,
        this: Weak<DeviceCell<Self>>,
        /// Pairs of queues that there are.
        max_pairs: u16,
        steering: Steering,
        /// Where frames of the guest are put together.
        frame: Vec<u8>,
        link_down: bool,
        /// Hears of changes of the filter: of the first since somebody has looked at it.
        filter_listener: Option<Box<dyn Fn() + Send + Sync>>,
        filter_told: bool,
        /// The back end has a frame for which there was no room.
        starved: bool,
        #[state]
        state: NetState,
    }
}

/// What the back end calls.
struct Receiver(Weak<DeviceCell<VirtioNet>>);

impl NetReceiver for Receiver {
    fn can_receive(&self) -> bool {
        self.0.upgrade().is_some_and(|cell| cell.with(VirtioNet::can_receive))
    }

    fn receive(&self, frame: &[u8], offload: FrameOffload) -> bool {
        self.0.upgrade().is_none_or(|cell| cell.with(|device| device.receive(frame, offload)))
    }

    fn burst_done(&self) {
        if let Some(cell) = self.0.upgrade() {
            cell.with(VirtioNet::show_received);
        }
    }

    fn offloads(&self) -> Offloads {
        self.0.upgrade().map(|cell| cell.with(|device| device.guest_offloads())).unwrap_or_default()
    }
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some([low, high]) => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

/// What the header in front of a frame of the guest asks for.
fn offload_of(header: &[u8]) -> FrameOffload {
    let [flags, gso] = [0, 1].map(|at| header.get(at).copied().unwrap_or(0));
    let checksum = (flags & header::NEEDS_CSUM != 0).then(|| (read_u16(header, 6), read_u16(header, 8)));
    let segment = (gso & !header::GSO_ECN == header::GSO_TCPV4).then(|| read_u16(header, 4));
    FrameOffload { checksum, segment: segment.filter(|size| *size != 0) }
}

/// The header for a frame towards the guest.
fn header_for(frame: &[u8], offload: FrameOffload, buffers: u16) -> [u8; header::SIZE] {
    let (start, offset) = offload.checksum.unwrap_or_default();
    let flags = if offload.checksum.is_some() { header::NEEDS_CSUM } else { 0 };
    let gso = if offload.segment.is_some() { header::GSO_TCPV4 } else { header::GSO_NONE };
    // Where the TCP header ends, whose length is in its thirteenth byte.
    let header_length = if offload.segment.is_some() {
        let words = frame.get(usize::from(start) + 12).map_or(5, |byte| byte >> 4);
        start.saturating_add(u16::from(words) * 4)
    } else {
        0
    };
    let mut bytes = [0; header::SIZE];
    let numbers = [header_length, offload.segment.unwrap_or(0), start, offset, buffers];
    let parts = [flags, gso].into_iter().chain(numbers.into_iter().flat_map(u16::to_le_bytes));
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    bytes
}

impl VirtioNet {
    /// A card; its configuration is the public fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the card its network; to be called before it is realized. Without a network the link is down.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop, peer: Option<Arc<dyn NetPeer>>) {
        cell.with(|device| {
            device.this = Arc::downgrade(cell);
            device.events = Some(events.clone());
            device.link_down = peer.is_none();
            device.max_pairs = peer.as_ref().map_or(1, |peer| peer.queues());
            device.peer.clone_from(&peer);
        });
        if let Some(peer) = peer {
            peer.set_receiver(Some(Arc::new(Receiver(Arc::downgrade(cell)))));
        }
    }

    /// Plugs the cable in or pulls it out (`set_link`).
    pub fn set_link(cell: &DeviceCell<Self>, up: bool) {
        cell.with(|device| {
            if device.link_down == up {
                device.link_down = !up;
                device.state.status ^= net_status::LINK_UP;
                device.virtio().config_changed();
                device.ask_for_frames();
            }
        });
    }

    /// Asks the driver to announce itself, after the machine has moved to another host.
    pub fn announce(cell: &DeviceCell<Self>) {
        cell.with(|device| {
            if device.virtio().has(feature::GUEST_ANNOUNCE) {
                device.state.status |= net_status::ANNOUNCE;
                device.virtio().config_changed();
            }
        });
    }

    /// Who hears of changes of the receive filter: of the first since [`VirtioNet::rx_filter`] was last called.
    pub fn on_filter(cell: &DeviceCell<Self>, listener: impl Fn() + Send + Sync + 'static) {
        cell.with(|device| device.filter_listener = Some(Box::new(listener)));
    }

    /// The receive filter as it is now.
    pub fn rx_filter(cell: &DeviceCell<Self>) -> RxFilter {
        cell.with(|device| {
            device.filter_told = false;
            let vlan_filter = device.virtio().has(feature::CTRL_VLAN);
            let filter = RxFilter::of(&device.state.filter, vlan_filter);
            RxFilter { main_mac: MacAddress(device.state.mac).to_string(), ..filter }
        })
    }

    /// The address that it has now.
    pub fn address(&self) -> MacAddress {
        MacAddress(self.state.mac)
    }

    fn header_size(&mut self) -> usize {
        let virtio = self.virtio();
        let long = virtio.has(feature::MRG_RXBUF | common_feature::VERSION_1);
        if long { header::SIZE } else { header::LEGACY_SIZE }
    }

    /// Whether the user has said how fast the card is.
    fn tells_speed(&self) -> bool {
        self.speed >= 0 || self.duplex.is_some()
    }

    /// Pairs of queues that there are.
    fn max_pairs(&self) -> u16 {
        self.max_pairs.clamp(1, MAX_PAIRS)
    }

    /// The control queue comes after those of the pairs that the driver knows of (5.1.2).
    fn control_queue(&mut self) -> usize {
        let pairs = if self.virtio().has(feature::MQ) { self.max_pairs() } else { 1 };
        2 * usize::from(pairs)
    }

    // Towards the guest.

    fn guest_offloads(&mut self) -> Offloads {
        let now = self.state.guest_offloads;
        let checksum = now & feature::GUEST_CSUM != 0;
        Offloads { checksum, tso4: checksum && now & feature::GUEST_TSO4 != 0 }
    }

    fn can_receive(&mut self) -> bool {
        // A card whose link is down takes frames and loses them.
        let able = self.link_down
            || (0..self.state.pairs).any(|pair| self.virtio().available(receive_queue(pair)) > 0);
        self.starved = !able;
        able
    }

    fn receive(&mut self, frame: &[u8], offload: FrameOffload) -> bool {
        base::trace!(trace::RECEIVE, "bytes {}", frame.len());
        let vlan_filter = self.virtio().has(feature::CTRL_VLAN);
        if self.link_down || !self.state.filter.wants(frame, self.state.mac, vlan_filter) {
            return true;
        }
        let queue = receive_queue(self.steering.pair(frame, self.state.pairs));
        let header_size = self.header_size();
        let total = (header_size + frame.len()) as u64;
        let merge = self.virtio().has(feature::MRG_RXBUF);
        let mut virtio = self.virtio();
        let Some(dma) = virtio.dma() else { return true };
        let mut chains: Vec<Chain> = Vec::new();
        let mut room = 0;
        while room < total {
            let Some(chain) = virtio.pop(queue) else {
                chains.iter().for_each(|chain| virtio.unpop(queue, chain));
                // A card that is broken or not set up loses frames; one without buffers asks again.
                let broken = virtio.state.broken;
                self.starved = !broken;
                return broken;
            };
            let size = length(&chain.writable);
            if size < header_size as u64 && chains.is_empty() || size == 0 {
                virtio.fail(Broken("a receive buffer has no room"));
                return true;
            }
            room += size;
            chains.push(chain);
            if !merge && room < total {
                base::guest_error!("virtio-net: a frame of {} bytes is too long for its buffer", frame.len());
                chains.iter().for_each(|chain| virtio.unpop(queue, chain));
                return true;
            }
        }
        let header = header_for(frame, offload, chains.len() as u16);
        let header = header.get(..header_size).unwrap_or_default();
        if let Err(broken) = Self::spread(&mut virtio, queue, &dma, &chains, header, frame) {
            virtio.fail(broken);
        }
        true
    }

    /// Copies a header and a frame into buffers and gives them to the driver.
    fn spread(
        virtio: &mut Virtio<'_>,
        queue: usize,
        dma: &Dma,
        chains: &[Chain],
        header: &[u8],
        frame: &[u8],
    ) -> Result<(), Broken> {
        let (mut in_front, mut rest) = (header, frame);
        for chain in chains {
            let filled = scatter(dma, &chain.writable, 0, in_front)?;
            in_front = in_front.get(filled..).unwrap_or_default();
            let more = scatter(dma, &chain.writable, filled as u64, rest)?;
            rest = rest.get(more..).unwrap_or_default();
            virtio.push(queue, chain, (filled + more) as u32);
        }
        Ok(())
    }

    /// No more frames for the moment: the driver is shown those that have come.
    fn show_received(&mut self) {
        for pair in self.steering.received(self.state.pairs) {
            self.virtio().publish(receive_queue(pair));
        }
    }

    fn ask_for_frames(&mut self) {
        if self.starved
            && let Some(peer) = &self.peer
        {
            self.starved = false;
            peer.receive_ready();
        }
    }

    // From the guest.

    fn transmit(&mut self, pair: u16) {
        let queue = transmit_queue(pair);
        self.virtio().set_notification(queue, false);
        let header_size = self.header_size();
        let mut sent = false;
        for _ in 0..self.tx_queue_size.max(CONTROL_SIZE) {
            let Some(chain) = self.virtio().pop(queue) else { break };
            if let Err(broken) = self.send(&chain, header_size, pair) {
                self.virtio().fail(broken);
                return;
            }
            self.virtio().push(queue, &chain, 0);
            sent = true;
        }
        if sent {
            self.virtio().publish(queue);
        }
        self.virtio().set_notification(queue, true);
        if self.virtio().available(queue) > 0 {
            self.transmit_later(pair);
        }
    }

    fn send(&mut self, chain: &Chain, header_size: usize, pair: u16) -> Result<(), Broken> {
        let total = length(&chain.readable);
        base::trace!(trace::TRANSMIT, "bytes {}", total.saturating_sub(header_size as u64));
        if total < header_size as u64 {
            return Err(Broken("a frame has no header"));
        }
        if total > MAX_FRAME as u64 {
            base::guest_error!("virtio-net: a frame of {total} bytes is too long");
            return Ok(());
        }
        let Some(dma) = self.virtio().dma() else { return Ok(()) };
        self.frame.resize(total as usize, 0);
        gather(&dma, &chain.readable, 0, &mut self.frame)?;
        let (header, frame) = self.frame.split_at(header_size.min(self.frame.len()));
        self.steering.sent(frame, pair);
        if let Some(peer) = self.peer.as_ref().filter(|_| !self.link_down) {
            peer.send(frame, offload_of(header));
        }
        Ok(())
    }

    /// A guest that fills the queue as fast as it is emptied does not keep its vCPU here: the main loop goes
    /// on.
    fn transmit_later(&mut self, pair: u16) {
        let this = self.this.clone();
        if let Some(events) = &self.events {
            events.defer(move || {
                if let Some(cell) = this.upgrade() {
                    cell.with(|device| device.transmit(pair));
                }
            });
        }
    }

    // The control queue.

    fn handle_control(&mut self) {
        let queue = self.control_queue();
        for _ in 0..CONTROL_SIZE {
            let mut virtio = self.virtio();
            let Some(chain) = virtio.pop(queue) else { break };
            let Some(dma) = virtio.dma() else { break };
            let mut command = vec![0; length(&chain.readable).min(MAX_COMMAND as u64) as usize];
            let answer = match gather(&dma, &chain.readable, 0, &mut command) {
                Ok(_) => self.control(&command),
                Err(broken) => {
                    self.virtio().fail(broken);
                    return;
                }
            };
            let mut virtio = self.virtio();
            match scatter(&dma, &chain.writable, 0, &[answer]) {
                Ok(written) => virtio.push(queue, &chain, written as u32),
                Err(broken) => {
                    virtio.fail(broken);
                    return;
                }
            }
        }
        self.virtio().publish(queue);
    }

    fn control(&mut self, command: &[u8]) -> u8 {
        let [class, code, data @ ..] = command else { return ACK_ERROR };
        let done = match (class, code) {
            (0, mode) => self.receive_mode(*mode, data),
            (1, 0) => self.set_mac_table(data),
            (1, 1) => data.first_chunk().map(|mac| self.state.mac = *mac),
            (2, 0) => self.set_vlan(data, true),
            (2, 1) => self.set_vlan(data, false),
            (3, 0) => {
                self.state.status &= !net_status::ANNOUNCE;
                Some(())
            }
            (4, 0) => self.set_pairs(read_u16(data, 0)),
            (5, 0) => self.set_offloads(data),
            _ => None,
        };
        if done.is_some()
            && (0..3).contains(class)
            && !self.filter_told
            && let Some(tell) = &self.filter_listener
        {
            self.filter_told = true;
            tell();
        }
        if done.is_some() { ACK_OK } else { ACK_ERROR }
    }

    fn receive_mode(&mut self, mode: u8, data: &[u8]) -> Option<()> {
        let on = *data.first()? != 0;
        let filter = &mut self.state.filter;
        let mode = match mode {
            0 => &mut filter.promiscuous,
            1 => &mut filter.all_multicast,
            2 => &mut filter.all_unicast,
            3 => &mut filter.no_multicast,
            4 => &mut filter.no_unicast,
            5 => &mut filter.no_broadcast,
            _ => return None,
        };
        *mode = on;
        Some(())
    }

    fn set_mac_table(&mut self, data: &[u8]) -> Option<()> {
        let (unicast, unicast_overflow, rest) = mac_list(data)?;
        let (multicast, multicast_overflow, _) = mac_list(rest)?;
        let filter = &mut self.state.filter;
        (filter.unicast, filter.unicast_overflow) = (unicast, unicast_overflow);
        (filter.multicast, filter.multicast_overflow) = (multicast, multicast_overflow);
        Some(())
    }

    fn set_vlan(&mut self, data: &[u8], on: bool) -> Option<()> {
        let vlan = u32::from(u16::from_le_bytes(*data.first_chunk()?));
        let word = self.state.filter.vlans.get_mut((vlan / 32) as usize)?;
        *word = base::Bits::with_bit(*word, vlan % 32, on);
        Some(())
    }

    fn set_pairs(&mut self, pairs: u16) -> Option<()> {
        let possible = self.virtio().has(feature::MQ) && (1..=self.max_pairs()).contains(&pairs);
        possible.then(|| self.state.pairs = pairs)?;
        self.ask_for_frames();
        Some(())
    }

    fn set_offloads(&mut self, data: &[u8]) -> Option<()> {
        let wanted = u64::from_le_bytes(*data.first_chunk()?);
        let possible = self.state.core.driver_features & (feature::GUEST_CSUM | feature::GUEST_TSO4);
        if wanted & !possible != 0 {
            return None;
        }
        self.state.guest_offloads = wanted;
        Some(())
    }
}

impl VirtioDevice for VirtioNet {
    const ID: u32 = 1;

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
        let offer = |wanted: bool, feature: u64| if wanted { feature } else { 0 };
        let peer = self.peer.as_ref().map(|peer| peer.offloads()).unwrap_or_default();
        let csum = self.csum && peer.checksum;
        // What the back end never leaves open need not be offered; one that does is known by what it takes.
        let guest_csum = self.guest_csum && peer.checksum;
        feature::MAC
            | offer(csum, feature::CSUM)
            | offer(csum && self.host_tso4 && peer.tso4, feature::HOST_TSO4)
            | offer(guest_csum, feature::GUEST_CSUM)
            | offer(guest_csum && self.guest_tso4 && peer.tso4, feature::GUEST_TSO4)
            | offer(self.mrg_rxbuf, feature::MRG_RXBUF)
            | offer(self.status, feature::STATUS)
            | offer(self.host_mtu != 0, feature::MTU)
            | offer(self.tells_speed(), feature::SPEED_DUPLEX)
            | if self.ctrl_vq {
                feature::CTRL_VQ
                    | offer(self.ctrl_rx, feature::CTRL_RX)
                    | offer(self.ctrl_vlan, feature::CTRL_VLAN)
                    | offer(self.ctrl_rx_extra, feature::CTRL_RX_EXTRA)
                    | offer(self.ctrl_mac_addr, feature::CTRL_MAC_ADDR)
                    | offer(self.guest_announce && self.status, feature::GUEST_ANNOUNCE)
                    | offer(self.ctrl_guest_offloads, feature::CTRL_GUEST_OFFLOADS)
                    | offer(self.mq, feature::MQ)
            } else {
                0
            }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let pairs = if self.mq { self.max_pairs() } else { 1 };
        let mut sizes = [self.rx_queue_size, self.tx_queue_size].repeat(pairs.into());
        if self.ctrl_vq {
            sizes.push(CONTROL_SIZE);
        }
        sizes
    }

    fn config(&mut self) -> Vec<u8> {
        let mut config = self.state.mac.to_vec();
        config.extend_from_slice(&self.state.status.to_le_bytes());
        let speed = self.tells_speed();
        if self.mq || self.host_mtu != 0 || speed {
            config.extend_from_slice(&self.max_pairs().to_le_bytes());
        }
        if self.host_mtu != 0 || speed {
            config.extend_from_slice(&self.host_mtu.to_le_bytes());
        }
        if speed {
            config.extend_from_slice(&self.speed.to_le_bytes());
            config.push(match self.duplex.as_deref() {
                Some("half") => 0,
                Some("full") => 1,
                _ => 0xff,
            });
        }
        config
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        // The address can be written here by legacy drivers only, or where there is no command for it.
        let virtio = self.virtio();
        if virtio.has(feature::CTRL_MAC_ADDR) || virtio.has(common_feature::VERSION_1) {
            return;
        }
        for (to, from) in self.state.mac.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    }

    fn notify(&mut self, queue: usize) {
        if queue == self.control_queue() {
            self.handle_control();
        } else if queue.is_multiple_of(2) {
            self.ask_for_frames();
        } else {
            self.transmit((queue / 2) as u16);
        }
    }

    fn driver_ok(&mut self) {
        self.state.guest_offloads =
            self.state.core.driver_features & (feature::GUEST_CSUM | feature::GUEST_TSO4);
        self.ask_for_frames();
    }
}

impl Device for VirtioNet {
    fn realize(&mut self) -> base::Result<()> {
        for (name, size) in [("rx_queue_size", self.rx_queue_size), ("tx_queue_size", self.tx_queue_size)] {
            if !size.is_power_of_two() || !(256..=1024).contains(&size) {
                return Err(base::error!(
                    "Invalid {name} (= {size}), must be a power of 2 between 256 and 1024."
                ));
            }
        }
        if !self.mac.is_set() {
            self.mac = MacAddress::nth(0);
        }
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        self.wiring.irq.lower();
        // What comes before a driver is there waits.
        self.starved = true;
    }

    fn reset_state(&mut self) {
        self.state = NetState {
            core: fresh_state(self),
            mac: self.mac.0,
            status: if self.link_down { 0 } else { net_status::LINK_UP },
            filter: Filter::new(),
            guest_offloads: 0,
            pairs: 1,
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        loaded(self)?;
        if self.state.filter.vlans.len() != 128 {
            return Err("there are other VLANs".to_owned());
        }
        self.starved = true;
        if !(1..=self.max_pairs()).contains(&self.state.pairs) {
            return Err(format!("there are not {} pairs of queues", self.state.pairs));
        }
        self.ask_for_frames();
        (0..self.state.pairs).for_each(|pair| self.transmit(pair));
        Ok(())
    }
}

base::trace_points! {
    /// What is to be traced of network cards.
    pub mod trace "virtio_net" {
        /// A frame for the guest.
        RECEIVE "receive",
        /// A frame from the guest.
        TRANSMIT "transmit",
    }
}

#[cfg(test)]
#[path = "net_test.rs"]
mod test;
