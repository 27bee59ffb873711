//! A network whose frames for the guest are recorded, or come from a recording (`-icount rr=record|replay`). What the guest
//! sends while a recording is replayed reaches nobody: the answers are in the recording.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use events::{Replay, ReplayMode};

use super::{FrameOffload, NetPeer, NetReceiver, Offloads};

/// Bytes in front of a frame: which offloads there are, two numbers for the check sum, one for segments.
const HEAD: usize = 7;

/// The network as the card sees it.
pub struct ReplayedNet {
    inner: Arc<dyn NetPeer>,
    replay: Arc<Replay>,
    receiver: Arc<Mutex<Option<Arc<dyn NetReceiver>>>>,
    stream: u32,
    ear: Arc<Ear>,
}

fn receiver(slot: &Mutex<Option<Arc<dyn NetReceiver>>>) -> Option<Arc<dyn NetReceiver>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl ReplayedNet {
    /// In front of another network.
    pub fn new(inner: Arc<dyn NetPeer>, replay: &Arc<Replay>) -> Arc<ReplayedNet> {
        let slot: Arc<Mutex<Option<Arc<dyn NetReceiver>>>> = Arc::default();
        let sink = slot.clone();
        let stream = replay.stream(move |input| {
            let card = receiver(&sink)?;
            let (offload, frame) = unpack(&input)?;
            if !card.can_receive() || !card.receive(frame, offload) {
                return Some(input);
            }
            card.burst_done();
            None
        });
        Arc::new_cyclic(|this| ReplayedNet {
            inner,
            replay: replay.clone(),
            receiver: slot,
            stream,
            ear: Arc::new(Ear(this.clone())),
        })
    }
}

fn pack(frame: &[u8], offload: FrameOffload) -> Vec<u8> {
    let flags = u8::from(offload.checksum.is_some()) | u8::from(offload.segment.is_some()) << 1;
    let (start, place) = offload.checksum.unwrap_or_default();
    let mut out = vec![flags];
    for number in [start, place, offload.segment.unwrap_or_default()] {
        out.extend(number.to_le_bytes());
    }
    out.extend_from_slice(frame);
    out
}

fn unpack(input: &[u8]) -> Option<(FrameOffload, &[u8])> {
    let (head, frame) = input.split_at_checked(HEAD)?;
    let number = |at: usize| Some(u16::from_le_bytes([*head.get(at)?, *head.get(at + 1)?]));
    let flags = *head.first()?;
    let checksum = if flags & 1 != 0 { Some((number(1)?, number(3)?)) } else { None };
    let segment = if flags & 2 != 0 { number(5) } else { None };
    Some((FrameOffload { checksum, segment }, frame))
}

impl NetPeer for ReplayedNet {
    fn send(&self, frame: &[u8], offload: FrameOffload) {
        if self.replay.mode() == ReplayMode::Record {
            self.inner.send(frame, offload);
        }
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        let ear = receiver.is_some().then(|| self.ear.clone() as Arc<dyn NetReceiver>);
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
        self.inner.set_receiver(ear);
    }

    fn receive_ready(&self) {
        self.replay.poke();
    }

    fn offloads(&self) -> Offloads {
        self.inner.offloads()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// Hears the network.
struct Ear(Weak<ReplayedNet>);

impl NetReceiver for Ear {
    fn can_receive(&self) -> bool {
        true
    }

    fn receive(&self, frame: &[u8], offload: FrameOffload) -> bool {
        if let Some(net) = self.0.upgrade() {
            net.replay.input(net.stream, pack(frame, offload));
        }
        true
    }

    fn offloads(&self) -> Offloads {
        let card = self.0.upgrade().and_then(|net| receiver(&net.receiver));
        card.map_or_else(Offloads::default, |card| card.offloads())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn frames_are_unpacked_as_they_were_packed() {
        for checksum in [None, Some((34, 16))] {
            for segment in [None, Some(1448)] {
                let offload = FrameOffload { checksum, segment };
                let input = pack(b"frame", offload);
                assert_eq!(unpack(&input), Some((offload, &b"frame"[..])));
            }
        }
        assert_eq!(unpack(b"short"), None);
    }
}
