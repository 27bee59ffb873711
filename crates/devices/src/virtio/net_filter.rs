//! The receive filter of the network card (VIRTIO 1.2, sections 5.1.6.5.1 to 5.1.6.5.3).

use crate::property_types::MacAddress;
use qapi::Qapi;
use state::State;

/// Addresses of the receive filter; with more, the filter lets all through.
const MAX_TABLE: usize = 64;
/// Which frames the driver wants (5.1.6.5.1, 5.1.6.5.2).
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-net-filter")]
pub(super) struct Filter {
    pub(super) promiscuous: bool,
    pub(super) all_multicast: bool,
    pub(super) all_unicast: bool,
    pub(super) no_multicast: bool,
    pub(super) no_unicast: bool,
    pub(super) no_broadcast: bool,
    pub(super) unicast: Vec<[u8; 6]>,
    pub(super) unicast_overflow: bool,
    pub(super) multicast: Vec<[u8; 6]>,
    pub(super) multicast_overflow: bool,
    /// One bit for each VLAN.
    pub(super) vlans: Vec<u32>,
}

impl Filter {
    /// Before the driver has said anything all frames pass, as for drivers that never say anything.
    pub(super) fn new() -> Self {
        Self { promiscuous: true, vlans: vec![0; 128], ..Self::default() }
    }

    /// Whether the driver of the card with the address `own` wants a frame.
    pub(super) fn wants(&self, frame: &[u8], own: [u8; 6], vlan_filter: bool) -> bool {
        if let Some([0x81, 0x00, high, low]) = frame.get(12..16)
            && vlan_filter
        {
            let vlan = usize::from(u16::from_be_bytes([*high, *low]) & 0xfff);
            if self.vlans.get(vlan / 32).is_none_or(|word| word >> (vlan % 32) & 1 == 0) {
                return false;
            }
        }
        if self.promiscuous {
            return true;
        }
        let Some((target, _)) = frame.split_first_chunk::<6>() else { return false };
        if *target == [0xff; 6] {
            return !self.no_broadcast;
        }
        if target[0] & 1 != 0 {
            !self.no_multicast
                && (self.all_multicast || self.multicast_overflow || self.multicast.contains(target))
        } else {
            !self.no_unicast
                && (self.all_unicast
                    || self.unicast_overflow
                    || *target == own
                    || self.unicast.contains(target))
        }
    }
}

/// A number of addresses, whether there were too many, and what follows them.
pub(super) type MacList<'a> = (Vec<[u8; 6]>, bool, &'a [u8]);

/// One table of a MAC_TABLE_SET command; nothing if it is cut short.
pub(super) fn mac_list(data: &[u8]) -> Option<MacList<'_>> {
    let (count, data) = data.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (list, rest) = data.split_at_checked(count.checked_mul(6)?)?;
    if count > MAX_TABLE {
        return Some((Vec::new(), true, rest));
    }
    let (addresses, _) = list.as_chunks::<6>();
    Some((addresses.to_vec(), false, rest))
}

/// Which frames of a kind pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum RxState {
    /// Those in the table.
    Normal,
    /// None.
    None,
    /// All.
    All,
}

impl RxState {
    fn of(none: bool, all: bool) -> RxState {
        match (none, all) {
            (true, _) => RxState::None,
            (_, true) => RxState::All,
            _ => RxState::Normal,
        }
    }
}

/// A receive filter as a monitor shows it; names as in QEMU's QMP.
#[derive(Clone, Debug, Qapi)]
#[allow(missing_docs)]
pub struct RxFilter {
    pub name: String,
    pub promiscuous: bool,
    pub multicast: RxState,
    pub unicast: RxState,
    pub vlan: RxState,
    pub broadcast_allowed: bool,
    pub multicast_overflow: bool,
    pub unicast_overflow: bool,
    pub main_mac: String,
    pub vlan_table: Vec<i64>,
    pub unicast_table: Vec<String>,
    pub multicast_table: Vec<String>,
}

impl RxFilter {
    pub(super) fn of(filter: &Filter, vlan_filter: bool) -> RxFilter {
        let table = |list: &[[u8; 6]]| list.iter().map(|mac| MacAddress(*mac).to_string()).collect();
        let vlans =
            (0..4096).filter(|n| filter.vlans.get(n / 32).is_some_and(|word| word >> (n % 32) & 1 != 0));
        RxFilter {
            name: String::new(),
            promiscuous: filter.promiscuous,
            multicast: RxState::of(filter.no_multicast, filter.all_multicast || filter.multicast_overflow),
            unicast: RxState::of(filter.no_unicast, filter.all_unicast || filter.unicast_overflow),
            vlan: if vlan_filter { RxState::Normal } else { RxState::All },
            broadcast_allowed: !filter.no_broadcast,
            multicast_overflow: filter.multicast_overflow,
            unicast_overflow: filter.unicast_overflow,
            main_mac: String::new(),
            vlan_table: vlans.map(|n| n as i64).collect(),
            unicast_table: table(&filter.unicast),
            multicast_table: table(&filter.multicast),
        }
    }
}
