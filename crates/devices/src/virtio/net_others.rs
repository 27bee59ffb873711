//! Properties of a network card for what no back end here can do, which is then not offered, as with QEMU's user networking.

use crate::property_types::{AlwaysOff, LinkTarget, NoLink};

/// Descriptors of programs for receive-side scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Programs;

impl LinkTarget for Programs {
    const KIND: &'static str = "list";
}

/// The properties. Those that are on say what may be offered where a back end has it.
#[derive(Debug, object::Properties)]
pub struct OtherOffloads {
    /// Segments of any kind, to drivers before VIRTIO 1.0.
    #[property(default = true)]
    pub gso: bool,
    /// TCP/IPv6 segments for the driver.
    #[property(name = "guest_tso6", default = true)]
    pub guest_tso6: bool,
    /// Segments with congestion notification for the driver.
    #[property(name = "guest_ecn", default = true)]
    pub guest_ecn: bool,
    /// Fragmented UDP for the driver.
    #[property(name = "guest_ufo", default = true)]
    pub guest_ufo: bool,
    /// UDP/IPv4 segments for the driver.
    #[property(name = "guest_uso4", default = true)]
    pub guest_uso4: bool,
    /// UDP/IPv6 segments for the driver.
    #[property(name = "guest_uso6", default = true)]
    pub guest_uso6: bool,
    /// TCP/IPv6 segments of the driver.
    #[property(name = "host_tso6", default = true)]
    pub host_tso6: bool,
    /// Segments with congestion notification of the driver.
    #[property(name = "host_ecn", default = true)]
    pub host_ecn: bool,
    /// Fragmented UDP of the driver.
    #[property(name = "host_ufo", default = true)]
    pub host_ufo: bool,
    /// UDP segments of the driver.
    #[property(name = "host_uso", default = true)]
    pub host_uso: bool,
    /// Joined TCP segments with their count.
    #[property(name = "guest_rsc_ext")]
    pub guest_rsc_ext: AlwaysOff,
    /// How long they are waited for, in nanoseconds.
    #[property(name = "rsc_interval", default = 300_000u32)]
    pub rsc_interval: u32,
    /// Stand in for a card of the host's.
    #[property]
    pub failover: AlwaysOff,
    /// Receive-side scaling.
    #[property]
    pub rss: AlwaysOff,
    /// Hashes of received frames.
    #[property]
    pub hash: AlwaysOff,
    /// Its programs.
    #[property]
    pub ebpf_rss_fds: NoLink<Programs>,
    /// `timer` or `bh`: when frames are sent. They are sent at once.
    #[property]
    pub tx: String,
    /// How long a timer would wait.
    #[property(name = "x-txtimer", default = 150_000u32)]
    pub txtimer: u32,
    /// How many frames are sent in a row.
    #[property(name = "x-txburst", default = 256i32)]
    pub txburst: i32,
    /// The back end need not know the MTU.
    #[property(name = "x-mtu-bypass-backend", default = true)]
    pub mtu_bypass_backend: bool,
}
