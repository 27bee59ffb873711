use super::*;
use proptest::prelude::*;

fn feed(bytes: &[u8]) -> Vec<Incoming> {
    let mut reader = Reader::default();
    bytes.iter().filter_map(|b| reader.push(*b)).collect()
}

#[test]
fn packets_and_keys() {
    assert_eq!(feed(b"+$g#67"), [Incoming::Packet(b"g".to_vec())]);
    assert_eq!(feed(b"$g#68\x03-"), [Incoming::Damaged, Incoming::Interrupt, Incoming::Again]);
    assert_eq!(feed(b"$cut$g#67"), [Incoming::Packet(b"g".to_vec())]);
}

#[test]
fn a_packet_too_long_is_damaged() {
    let long = frame(&vec![b'x'; MAX_PACKET + 1]);
    assert_eq!(feed(&long), [Incoming::Damaged]);
}

proptest! {
    #[test]
    fn what_is_framed_is_read_back(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(feed(&frame(&data)), [Incoming::Packet(data)]);
    }

    #[test]
    fn noise_does_no_harm(data in proptest::collection::vec(any::<u8>(), 0..500)) {
        feed(&data);
        from_hex(&data);
        hex_number(&data);
    }
}
