use super::super::driver_test::{BASE, DATA, SIZE, guest_memory};
use super::*;
use crate::common_test::Random;

const DESC: u64 = BASE;
const AVAIL: u64 = BASE + 0x1000;
const USED: u64 = BASE + 0x2000;
const TABLE: u64 = BASE + 0x3000;

fn queue() -> Queue {
    let mut queue = Queue::new(8, 1024);
    queue.ready = true;
    (queue.desc, queue.driver, queue.device) = (DESC, AVAIL, USED);
    queue.indirect = true;
    queue
}

fn desc(dma: &Dma, at: u64, address: u64, length: u32, flags: u16, next: u16) {
    dma.write_u64(at, address).unwrap();
    dma.write_u32(at + 8, length).unwrap();
    dma.write_u16(at + 12, flags).unwrap();
    dma.write_u16(at + 14, next).unwrap();
}

fn offer(dma: &Dma, heads: &[u16]) {
    for (n, head) in heads.iter().enumerate() {
        dma.write_u16(AVAIL + 4 + 2 * (n as u64 % 8), *head).unwrap();
    }
    dma.write_u16(AVAIL + 2, heads.len() as u16).unwrap();
}

#[test]
fn chains() {
    let (dma, mut queue) = (guest_memory(), queue());
    assert_eq!(queue.pop(&dma), Ok(None));
    desc(&dma, DESC, DATA, 16, 1, 2);
    desc(&dma, DESC + 32, DATA + 16, 4, 3, 3);
    desc(&dma, DESC + 48, DATA + 20, 8, 2, 0);
    offer(&dma, &[0]);
    let chain = queue.pop(&dma).unwrap().unwrap();
    assert_eq!(chain.readable, [Buffer { address: DATA, length: 16 }]);
    assert_eq!(length(&chain.writable), 12);
    assert_eq!(queue.pop(&dma), Ok(None));
    assert_eq!(scatter(&dma, &chain.writable, 2, b"abcdefghijklm"), Ok(10));
    let mut bytes = [0; 20];
    assert_eq!(gather(&dma, &chain.writable, 1, &mut bytes), Ok(11));
    assert_eq!(&bytes[..12], b"\0abcdefghij\0");
    queue.push(&dma, &chain, 12).unwrap();
    assert_eq!(queue.publish(&dma), Ok(true));
    assert_eq!(queue.publish(&dma), Ok(false));
    assert_eq!((dma.read_u16(USED + 2), dma.read_u64(USED + 4)), (Ok(1), Ok(12 << 32)));
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn indirect_chains() {
    let (dma, mut queue) = (guest_memory(), queue());
    desc(&dma, DESC, TABLE, 48, 4, 0);
    desc(&dma, TABLE, DATA, 16, 1, 2);
    desc(&dma, TABLE + 32, DATA + 16, 4, 2, 0);
    offer(&dma, &[0]);
    let chain = queue.pop(&dma).unwrap().unwrap();
    assert_eq!((chain.readable.len(), chain.writable.len()), (1, 1));
    queue.unpop(&chain);
    queue.indirect = false;
    assert!(queue.pop(&dma).is_err());
}

#[test]
fn what_makes_no_sense() {
    let dma = guest_memory();
    let broken = |prepare: &dyn Fn(&Dma)| {
        dma.write(BASE, &[0; 0x4000]).unwrap();
        desc(&dma, DESC, DATA, 16, 0, 0);
        offer(&dma, &[0]);
        prepare(&dma);
        queue().pop(&dma).unwrap_err().0
    };
    assert!(broken(&|dma| offer(dma, &[8])).contains("beyond the queue"));
    assert!(broken(&|dma| dma.write_u16(AVAIL + 2, 9).unwrap()).contains("more chains"));
    assert!(broken(&|dma| desc(dma, DESC, DATA, 1, 1, 0)).contains("longer than the queue"));
    assert!(broken(&|dma| desc(dma, DESC, DATA, 1, 1, 9)).contains("beyond the queue"));
    assert!(broken(&|dma| desc(dma, DESC, TABLE, 17, 4, 0)).contains("multiple of 16"));
    assert!(broken(&|dma| desc(dma, DESC, TABLE, 0, 4, 0)).contains("multiple of 16"));
    assert!(broken(&|dma| desc(dma, DESC, TABLE, 16, 5, 0)).contains("indirect"));
    assert!(broken(&|dma| desc(dma, DESC, 0x1000, 16, 4, 0)).contains("not in memory"));
    let table = |dma: &Dma, length| desc(dma, DESC, TABLE, length, 4, 0);
    assert!(
        broken(&|dma| {
            table(dma, 16);
            desc(dma, TABLE, TABLE, 16, 4, 0);
        })
        .contains("in an indirect table")
    );
    assert!(
        broken(&|dma| {
            table(dma, 32);
            desc(dma, TABLE, DATA, 16, 1, 0);
        })
        .contains("longer than its")
    );
    assert!(
        broken(&|dma| {
            table(dma, 0xffff_fff0);
            desc(dma, TABLE, DATA, 16, 1, 5000);
        })
        .contains("beyond")
    );
    assert!(
        broken(&|dma| {
            desc(dma, DESC, DATA, u32::MAX, 1, 1);
            desc(dma, DESC + 16, DATA, 1, 0, 0);
        })
        .contains("4 GiB")
    );
    assert!(
        broken(&|dma| {
            desc(dma, DESC, DATA, 1, 3, 1);
            desc(dma, DESC + 16, DATA, 1, 0, 0);
        })
        .contains("follows")
    );
    let mut nowhere = queue();
    nowhere.driver = u64::MAX - 1;
    assert!(nowhere.pop(&dma).is_err());
}

#[test]
fn event_indices() {
    let (dma, mut queue) = (guest_memory(), queue());
    queue.event_idx = true;
    desc(&dma, DESC, DATA, 16, 2, 0);
    offer(&dma, &[0; 8]);
    let used_event = AVAIL + 4 + 16;
    let mut wanted = Vec::new();
    dma.write_u16(used_event, 2).unwrap();
    for _ in 0..4 {
        let chain = queue.pop(&dma).unwrap().unwrap();
        queue.push(&dma, &chain, 0).unwrap();
        wanted.push(queue.publish(&dma).unwrap());
    }
    assert_eq!(wanted, [true, false, true, false]);
    queue.set_notification(&dma, true).unwrap();
    assert_eq!(dma.read_u16(USED + 4 + 64), Ok(4));
}

/// Rings full of whatever: the queue answers in bounded time, with a chain, with nothing, or with an error.
#[test]
fn hostile_rings() {
    let mut random = Random::new("hostile rings");
    let dma = guest_memory();
    for _ in 0..20_000 {
        let mut queue = queue();
        queue.size = 1 << random.below(6);
        if random.below(2) == 0 {
            queue.ready = false;
            queue.negotiate(feature::RING_PACKED | feature::INDIRECT_DESC);
            queue.ready = true;
            queue.size = 1 + random.below(40) as u16;
        }
        queue.event_idx = random.below(2) == 0;
        if random.below(16) == 0 {
            let address = match random.below(3) {
                0 => random.next(),
                1 => u64::MAX - random.below(64),
                _ => BASE + SIZE - random.below(64),
            };
            match random.below(3) {
                0 => queue.desc = address,
                1 => queue.driver = address,
                _ => queue.device = address,
            }
        }
        for at in 0..24 {
            let place = if at < 16 { DESC + 16 * at } else { TABLE + 16 * (at - 16) };
            let address = match random.below(4) {
                0 => random.next(),
                1 => TABLE + 16 * random.below(8),
                _ => DATA + random.below(1 << 20),
            };
            let length = match random.below(4) {
                0 => random.next() as u32,
                1 => 16 * random.below(10) as u32,
                _ => random.below(1 << 16) as u32,
            };
            let owner = [0, 1 << 7, 1 << 15][random.below(3) as usize];
            let (mut flags, mut next) = (random.below(8) as u16 | owner, random.below(20) as u16);
            if queue.packed {
                (flags, next) = (next, flags);
            }
            desc(&dma, place, address, length, flags, next);
        }
        for at in 0..64 {
            dma.write_u16(AVAIL + 2 * at, random.below(20) as u16).unwrap();
        }
        for _ in 0..4 {
            let Ok(Some(chain)) = queue.pop(&dma) else { break };
            let mut bytes = [0; 600];
            let _ = gather(&dma, &chain.readable, random.below(1 << 17), &mut bytes);
            let _ = scatter(&dma, &chain.writable, random.below(1 << 17), &bytes);
            let _ = queue.push(&dma, &chain, random.next() as u32);
            let _ = queue.publish(&dma);
            let _ = queue.set_notification(&dma, random.below(2) == 0);
        }
    }
}

/// Places of the packed layout: forward and back again, at most once around.
#[test]
fn packed_places() {
    for size in [1, 2, 3, 8, 100, MAX_SIZE] {
        let mut place = packed::FIRST;
        for slots in [0, 1, size / 2, size].into_iter().cycle().take(50) {
            let next = packed::forward(place, slots, size);
            assert!(packed::slot(next) < size);
            assert_eq!(packed::back(next, slots, size), place);
            place = next;
        }
    }
    assert_eq!(packed::forward(packed::FIRST, 8, 8), 0);
}

/// Interrupts by place, across the end of the ring.
#[test]
fn packed_events() {
    let (dma, mut queue) = (guest_memory(), queue());
    queue.ready = false;
    queue.negotiate(feature::RING_PACKED | feature::EVENT_IDX | feature::INDIRECT_DESC);
    queue.ready = true;
    let mut wanted = Vec::new();
    for n in 0..20u16 {
        let place = packed::forward(if n < 8 { packed::FIRST } else { 0 }, n % 8, 8);
        let place = if n >= 16 { place | packed::FIRST } else { place };
        let owner = if place & packed::FIRST != 0 { 1 << 7 } else { 1 << 15 };
        desc(&dma, DESC + 16 * u64::from(n % 8), TABLE, 32, n, owner | 4);
        desc(&dma, TABLE, DATA, 16, 0, 0);
        desc(&dma, TABLE + 16, DATA, 16, 0, 2);
        // At the third slot, in the round that we are in.
        dma.write_u16(AVAIL, place & packed::FIRST | 3).unwrap();
        dma.write_u16(AVAIL + 2, 2).unwrap();
        let chain = queue.pop(&dma).unwrap().unwrap();
        assert_eq!((chain.head, chain.slots, chain.readable.len(), chain.writable.len()), (n, 1, 1, 1));
        assert_eq!(queue.pop(&dma), Ok(None));
        queue.push(&dma, &chain, 5).unwrap();
        wanted.push(queue.publish(&dma).unwrap());
        assert_eq!(dma.read_u32(DESC + 16 * u64::from(n % 8) + 8), Ok(5));
    }
    let after: Vec<usize> = (0..20).filter(|n| wanted[*n]).collect();
    // The very first is always told.
    assert_eq!(after, [0, 3, 11, 19]);
    dma.write_u16(AVAIL + 2, 1).unwrap();
    assert_eq!(queue.wanted_packed(&dma, Some(0)), Ok(false));
    queue.set_notification(&dma, true).unwrap();
    assert_eq!((dma.read_u16(USED), dma.read_u16(USED + 2)), (Ok(packed::FIRST | 4), Ok(2)));
}
