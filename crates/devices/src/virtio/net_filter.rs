//! The receive filter of the network card (VIRTIO 1.2, sections 5.1.6.5.1 to 5.1.6.5.3).

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
        let Some((target, _)) = frame.split_first_chunk::<6>() else { return false };
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
