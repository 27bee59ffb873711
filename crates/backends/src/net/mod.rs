//! Network back ends: the host's side of network cards.

mod network;
mod options;
mod replayed;
mod socket;
mod user;

use std::sync::Arc;

pub use network::Network;
pub use options::parse_mac;
pub use options::{HostForward, NETDEV_HELP, NetdevKind, NetdevOption, NicOption, Transport, UserOptions};
pub use replayed::ReplayedNet;
pub use socket::{DatagramAddress, DatagramNet, DatagramOptions, StreamNet, StreamOptions};
pub use user::UserNet;

/// Work on a frame that is left to the receiving side, as `virtio_net_hdr` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameOffload {
    /// The TCP or UDP checksum is to be computed from this offset to the end of the frame and stored so many
    /// bytes behind it; the place holds the sum over the pseudo header.
    pub checksum: Option<(u16, u16)>,
    /// The frame is a TCP/IPv4 segment that is to be cut into segments with this much payload.
    pub segment: Option<u16>,
}

/// Which kinds of [`FrameOffload`] a side understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums left open.
    pub checksum: bool,
    /// TCP/IPv4 segments of up to 64 KiB; implies `checksum`.
    pub tso4: bool,
}

/// A network as a card sees it.
pub trait NetPeer: Send + Sync {
    /// Takes an Ethernet frame without frame check sequence from the guest. Never blocks; a frame that cannot
    /// be taken is lost, as on any Ethernet.
    fn send(&self, frame: &[u8], offload: FrameOffload);

    /// Sets who gets the frames for the guest.
    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>);

    /// The receiver can take frames again. Callable from any thread, with the device's lock held.
    fn receive_ready(&self);

    /// What [`NetPeer::send`] understands.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    /// Queues in which frames may be exchanged: a card has at most so many pairs.
    fn queues(&self) -> u16 {
        1
    }

    /// What `info network` prints behind the name: `type=user,...`.
    fn describe(&self) -> String;
}

/// A network card's ear. Called on a thread of the back end, which holds no lock that [`NetPeer`]'s methods
/// take.
pub trait NetReceiver: Send + Sync {
    /// Whether a frame would be taken now.
    fn can_receive(&self) -> bool;

    /// Takes a frame, or says `false`: it is then offered again after [`NetPeer::receive_ready`].
    fn receive(&self, frame: &[u8], offload: FrameOffload) -> bool;

    /// No more frames for the moment: the time for one interrupt instead of one for each frame.
    fn burst_done(&self) {}

    /// What the guest understands.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }
}
