//! Pairs of queues of the network card (VIRTIO 1.2, section 5.1.6.5.6): frames of a flow come back in the pair through
//! which the driver has sent the last frame of that flow.

/// Flows that are told apart.
const FLOWS: usize = 256;

/// The receive queue of a pair.
pub(super) fn receive_queue(pair: u16) -> usize {
    2 * usize::from(pair)
}

/// The transmit queue of a pair.
pub(super) fn transmit_queue(pair: u16) -> usize {
    receive_queue(pair) + 1
}

/// Which pair each flow belongs to. Not saved: a flow goes through the first pair until its next frame.
#[derive(Default)]
pub(super) struct Steering {
    pairs: Vec<u16>,
    /// Pairs in which frames have come since the driver was last shown any.
    received: Vec<u16>,
}

/// A number that both directions of a flow share: of addresses and ports of IPv4 or IPv6.
fn flow(frame: &[u8]) -> usize {
    let (addresses, ports) = match frame.get(12..15) {
        Some([0x08, 0x00, first]) => (26..34, 14 + usize::from(first & 0xf) * 4),
        Some([0x86, 0xdd, _]) => (22..54, 54),
        _ => return 0,
    };
    let parts = [addresses, ports..ports.saturating_add(4)].map(|range| frame.get(range).unwrap_or_default());
    // Source and destination stand symmetrically, so that xor does not tell them apart.
    let words = parts.into_iter().flat_map(|part| part.as_chunks::<2>().0);
    let mixed = words.fold(0u16, |all, word| all ^ u16::from_be_bytes(*word));
    usize::from(mixed ^ mixed >> 8) % FLOWS
}

impl Steering {
    /// A frame has been sent through a pair.
    pub(super) fn sent(&mut self, frame: &[u8], pair: u16) {
        if pair == 0 && self.pairs.is_empty() {
            return;
        }
        self.pairs.resize(FLOWS, 0);
        if let Some(entry) = self.pairs.get_mut(flow(frame)) {
            *entry = pair;
        }
    }

    /// The pair in which a frame is to be received, of so many.
    pub(super) fn pair(&mut self, frame: &[u8], count: u16) -> u16 {
        let pair = if count > 1 { self.pairs.get(flow(frame)).copied().unwrap_or(0) } else { 0 };
        let pair = if pair < count { pair } else { 0 };
        if !self.received.contains(&pair) {
            self.received.push(pair);
        }
        pair
    }

    /// The pairs in which frames have come since this was last asked.
    pub(super) fn received(&mut self, count: u16) -> Vec<u16> {
        let received = std::mem::take(&mut self.received);
        received.into_iter().filter(|pair| *pair < count).collect()
    }
}
