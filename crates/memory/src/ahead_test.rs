use super::*;
use std::sync::mpsc::Receiver;
use std::time::Duration;

const PIECE: u64 = 1 << PIECE_BITS;

fn watched(pieces: u64) -> (Ahead, Receiver<u64>) {
    let (send, got) = channel();
    (Ahead::new(pieces, Box::new(move |n| send.send(n).unwrap())), got)
}

/// What the worker has got when it has done all orders. With it goes the other end of the channel.
fn all(ahead: Ahead, got: &Receiver<u64>) -> Vec<u64> {
    ahead.stop();
    got.iter().collect()
}

#[test]
fn nothing_is_ordered_for_scattered_touches() {
    let (ahead, got) = watched(64);
    [5, 9, 40, 63, 0].iter().for_each(|n| ahead.touched(n * PIECE + 123));
    assert!(got.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn runs_are_followed_in_both_directions_far_end_first() {
    let (ahead, got) = watched(64);
    ahead.touched(10 * PIECE);
    ahead.touched(11 * PIECE);
    ahead.touched(40 * PIECE);
    ahead.touched(39 * PIECE);
    assert_eq!(all(ahead, &got), [14, 13, 12, 36, 37, 38]);
}

#[test]
fn a_run_goes_on_over_a_few_pieces_and_what_lies_between_is_got_too() {
    let (ahead, got) = watched(64);
    ahead.touched(10 * PIECE);
    ahead.touched(13 * PIECE);
    ahead.touched(17 * PIECE);
    assert_eq!(all(ahead, &got), [16, 15, 14]);
}

#[test]
fn a_piece_is_got_once_and_none_beyond_the_end() {
    let (ahead, got) = watched(4);
    (0..4).for_each(|n| ahead.touched(n * PIECE));
    ahead.order(0, 9);
    let mut pieces = all(ahead, &got);
    let count = pieces.len();
    pieces.sort();
    pieces.dedup();
    assert_eq!(pieces.len(), count);
    assert!(pieces.iter().all(|&n| n < 4), "{pieces:?}");
}

#[test]
fn what_is_expected_comes_from_its_end() {
    let (ahead, got) = watched(16);
    ahead.order(2, 5);
    ahead.order(4, 6);
    assert_eq!(all(ahead, &got), [5, 4, 3, 2, 6]);
}

#[test]
fn a_system_needs_the_end_of_the_memory() {
    let (ahead, got) = watched(128);
    ahead.expect_system();
    assert_eq!(all(ahead, &got), [127, 126, 125, 124, 123, 122, 121, 120]);
    let (ahead, got) = watched(4096);
    ahead.expect_system();
    assert_eq!(all(ahead, &got), (4064..4096).rev().collect::<Vec<_>>());
    let (ahead, got) = watched(8);
    ahead.expect_system();
    assert_eq!(all(ahead, &got), []);
}
