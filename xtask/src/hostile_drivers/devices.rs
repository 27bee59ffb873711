//! What is done to each kind of device: rings where it will look for them, made of descriptors that are nearly right.

use super::bus::Function;
use super::{Machine, RAM, Random};
use crate::Result;

/// Rings and buffers of a function: this much memory for each.
const AREA: u64 = 256 << 10;
/// Each queue's rings: descriptors, what is available, what is used, a table for indirect descriptors.
const RING: u64 = 0x4000;
/// Descriptors in a ring.
const SIZE: u64 = 64;
/// The board's own transports.
const ON_BOARD: u64 = 0x1000_1000;
/// Bit 34 of the features of a virtio device: packed rings.
const PACKED: u64 = 1 << 34;
/// Where beside a queue's rings stands what we have to remember of it.
const NOTES: u64 = 0x3ff0;

/// Does something to a function by way of its registers.
pub fn attack(machine: &mut Machine, random: &mut Random, functions: &[Function], n: usize) -> Result<()> {
    let function = &functions[n];
    let area = RAM + (1 << 20) + n as u64 * AREA;
    match function.id {
        id if id as u16 == 0x1af4 => {
            // Transitional ones have both; what is behind registers that are not there harms nobody, either.
            match (function.bar(4), function.bar(0)) {
                (Some(registers), None) => modern(machine, random, functions, registers, area)?,
                (Some(registers), Some(_)) if random.one_in(2) => {
                    modern(machine, random, functions, registers, area)?;
                }
                (_, Some(ports)) => legacy(machine, random, functions, ports, area)?,
                (None, None) => {}
            }
        }
        0x0010_1b36 => nvme(machine, random, functions, function.bar(0).unwrap_or(0), area)?,
        0x10d3_8086 => e1000e(machine, random, functions, function.bar(0).unwrap_or(0), area)?,
        0x11e8_1234 => edu(machine, random, functions, function.bar(0).unwrap_or(0))?,
        _ => {}
    }
    let blind = if random.one_in(4) { random.below(6) } else { 0 };
    for _ in 0..blind {
        if let Some(bar) = function.bars.get(random.below(function.bars.len() as u64) as usize) {
            let size = random.pick(&[1, 2, 4, 8]);
            let end = if random.below(2) == 0 { bar.size.min(0x100) } else { bar.size };
            let at = bar.address + random.below((end / size).max(1)) * size;
            // The news of a guest's end would end the machine.
            let value = if function.id == 0x0011_1b36 { random.below(4) } else { random.value() };
            if random.below(3) == 0 {
                machine.read(at, size as u32)?;
            } else {
                machine.write(at, size as u32, value)?;
            }
        }
    }
    Ok(())
}

/// Makes chains available as a driver does: a header, a buffer, a byte for the status. In some of them something is wrong.
fn offer(
    machine: &mut Machine,
    random: &mut Random,
    functions: &[Function],
    ring: u64,
    packed: bool,
) -> Result<()> {
    let chains = 1 + random.below(4);
    // Where the next chain goes, counted over all rounds.
    let mut place = machine.read(ring + NOTES, 4)?;
    for chain in 0..chains {
        let header = ring + 0x3800 + 16 * random.below(8);
        machine.write(header, 8, random.pick(&[0, 1, 0, 1, 4, 8, 11, 13, 0x1_0001]))?;
        let sector = if random.one_in(8) { random.value() } else { random.below(32000) };
        machine.write(header + 8, 8, sector)?;
        let head = place % SIZE;
        let length = random.pick(&[512, 512, 4096, 1514, 65536, 16]);
        let is_write = random.below(2) * 2;
        let buffer = if random.one_in(4) { random.place(functions) } else { RAM + random.below(32 << 20) };
        let mut parts = [(header, 16, 1), (buffer, length, 1 | is_write), (RAM + (40 << 20), 1, 2)];
        // A table of the same, which may be shorter than it says.
        let is_indirect = random.one_in(4);
        let table = ring + 0x3000;
        if random.one_in(5) {
            let part = &mut parts[random.below(3) as usize];
            match random.below(4) {
                0 => part.0 = random.place(functions),
                1 => part.1 = random.value() & 0xffff_ffff,
                2 => part.2 = random.below(8),
                _ => *part = (table, 16 * random.below(9), 4),
            }
        }
        let mut write = |at: u64, part: (u64, u64, u64), next: u64, owner: u64| -> Result<()> {
            let (address, length, flags) = part;
            let tail = if packed { next | (flags | owner) << 16 } else { flags | next << 16 };
            machine.write(at, 8, address)?;
            machine.write(at + 8, 8, length | tail << 32)
        };
        let owner = owned(place);
        if is_indirect {
            for (n, part) in parts.into_iter().enumerate() {
                write(table + 16 * n as u64, part, n as u64 + 1, 0)?;
            }
            let slots = if random.one_in(6) { random.below(40) } else { 3 };
            write(ring + 16 * head, (table, 16 * slots, 4), head, owner)?;
            place += 1;
        } else {
            for (n, part) in parts.into_iter().enumerate() {
                let owner = owned(place);
                let slot = place % SIZE;
                let next = if packed { head } else { (slot + 1) % SIZE };
                let next = if random.one_in(60) { random.below(SIZE + 2) } else { next };
                write(ring + 16 * slot, part, next, if n == 2 && random.one_in(60) { 0 } else { owner })?;
                place += 1;
            }
        }
        if !packed {
            let index = machine.read(ring + 0x1002, 2)?;
            let head = if random.one_in(40) { random.below(SIZE + 2) } else { head };
            machine.write(ring + 0x1004 + 2 * (index % SIZE), 2, head)?;
            let step = if random.one_in(60) { random.value() } else { 1 };
            machine.write(ring + 0x1002, 2, index.wrapping_add(step))?;
        }
        if chain == 0 {
            machine.write(ring + 0x1000, 2, random.pick(&[0, 0, 0, 1, 2, 0xffff]))?;
        }
    }
    machine.write(ring + NOTES, 4, place)
}

/// The flags with which a driver gives a packed descriptor away: which ones changes from round to round (2.8.1).
fn owned(place: u64) -> u64 {
    if (place / SIZE).is_multiple_of(2) { 1 << 7 } else { 1 << 15 }
}

/// A ring is empty again.
fn forget(machine: &mut Machine, ring: u64) -> Result<()> {
    machine.write(ring + NOTES, 4, 0)?;
    machine.send(&format!("memset {ring:#x} 0x2000 0"))
}

/// A ring that is where it should be, or nowhere good.
fn ring_of(random: &mut Random, functions: &[Function], ring: u64) -> u64 {
    if random.one_in(40) { random.place(functions) } else { ring }
}

/// The modern registers of a virtio device (VIRTIO 1.2, 4.1.4), which lie in its window 4.
fn modern(
    machine: &mut Machine,
    random: &mut Random,
    functions: &[Function],
    at: u64,
    area: u64,
) -> Result<()> {
    // What was agreed on last is kept where rings have no place.
    let note = area + AREA - 8;
    if random.one_in(6) {
        machine.write(at + 0x14, 1, 0)?;
        machine.write(at + 0x14, 1, 3)?;
        let mut features = 0;
        for half in 0..2u64 {
            machine.write(at, 4, half)?;
            let offered = machine.read(at + 4, 4)?;
            let wanted = if random.one_in(3) { random.value() | half } else { u64::MAX };
            features |= (offered & wanted) << (32 * half);
            machine.write(at + 8, 4, half)?;
            machine.write(at + 12, 4, features >> (32 * half))?;
        }
        machine.write(note, 8, features)?;
        machine.write(at + 0x14, 1, 0xb)?;
        machine.write(at + 0x10, 2, random.below(5))?;
        for queue in 0..4 {
            let ring = area + queue * RING;
            forget(machine, ring)?;
            machine.write(at + 0x16, 2, queue)?;
            machine.write(at + 0x18, 2, if random.one_in(8) { random.value() } else { SIZE })?;
            machine.write(at + 0x1a, 2, random.below(5))?;
            for (offset, part) in [(0x20, ring), (0x28, ring + 0x1000), (0x30, ring + 0x2000)] {
                let place = ring_of(random, functions, part);
                machine.write(at + offset, 8, place)?;
            }
            machine.write(at + 0x1c, 2, 1)?;
        }
        machine.write(at + 0x14, 1, 0xf)?;
    }
    let queue = random.below(4);
    let packed = machine.read(note, 8)? & PACKED != 0;
    offer(machine, random, functions, area + queue * RING, packed)?;
    if random.one_in(20) {
        // A queue is reset while it is at work.
        machine.write(at + 0x16, 2, queue)?;
        machine.write(at + 0x3a, 2, 1)?;
    }
    let told = if random.one_in(16) { random.value() } else { queue };
    machine.write(at + 0x3000 + 4 * queue, 2, told)
}

/// The legacy registers (4.1.4.8), in the ports of window 0.
fn legacy(
    machine: &mut Machine,
    random: &mut Random,
    functions: &[Function],
    at: u64,
    area: u64,
) -> Result<()> {
    if random.one_in(6) {
        machine.write(at + 18, 1, 0)?;
        machine.write(at + 18, 1, 3)?;
        let offered = machine.read(at, 4)?;
        let wanted = if random.one_in(2) { random.value() } else { u64::MAX };
        machine.write(at + 4, 4, offered & wanted)?;
        for queue in 0..4 {
            machine.write(at + 14, 2, queue)?;
            forget(machine, area + queue * RING)?;
            let place = ring_of(random, functions, area + queue * RING);
            machine.write(at + 8, 4, place >> 12)?;
            machine.write(at + 22, 2, random.below(5))?;
        }
        machine.write(at + 18, 1, 7)?;
    }
    let queue = random.below(4);
    offer(machine, random, functions, area + queue * RING, false)?;
    machine.write(at + 16, 2, if random.one_in(16) { random.value() } else { queue })
}

/// A transport of the board (4.2.2 and 4.2.4): the registers of both kinds, of which one is there.
pub fn attack_on_board(machine: &mut Machine, random: &mut Random, functions: &[Function]) -> Result<()> {
    let n = random.below(8);
    let (at, area) = (ON_BOARD + n * 0x1000, RAM + (16 << 20) + n * AREA);
    let is_legacy = machine.read(at + 4, 4)? == 1;
    let queue = random.below(4);
    if random.one_in(6) {
        machine.write(at + 0x70, 4, 0)?;
        machine.write(at + 0x70, 4, 3)?;
        for half in [1, 0] {
            machine.write(at + 0x14, 4, half)?;
            let offered = machine.read(at + 0x10, 4)?;
            machine.write(at + 0x24, 4, half)?;
            machine.write(at + 0x20, 4, if random.one_in(3) { offered & random.value() } else { offered })?;
        }
        machine.write(at + 0x70, 4, 0xb)?;
        machine.write(at + 0x28, 4, random.pick(&[4096, 4096, 4096, 1, 0, 0x8000_0000]))?;
        for queue in 0..4 {
            forget(machine, area + queue * RING)?;
            let ring = ring_of(random, functions, area + queue * RING);
            machine.write(at + 0x30, 4, queue)?;
            machine.write(at + 0x38, 4, if random.one_in(8) { random.value() } else { SIZE })?;
            if is_legacy {
                machine.write(at + 0x3c, 4, random.pick(&[4096, 4096, 4, 0, 0xffff_ffff]))?;
                machine.write(at + 0x40, 4, ring >> 12)?;
                continue;
            }
            for (register, part) in [(0x80, 0), (0x90, 0x1000), (0xa0, 0x2000)] {
                let part = ring.wrapping_add(part);
                machine.write(at + register, 4, part)?;
                machine.write(at + register + 4, 4, part >> 32)?;
            }
            machine.write(at + 0x44, 4, 1)?;
        }
        machine.write(at + 0x70, 4, 0xf)?;
    }
    offer(machine, random, functions, area + queue * RING, false)?;
    if random.one_in(6) {
        let (offset, value) = (random.below(0x120) & !3, random.value());
        machine.write(at + offset, 4, value)?;
    }
    machine.write(at + 0x50, 4, if random.one_in(16) { random.value() } else { queue })
}

/// NVMe: queues that are set up as they should be now and then, and commands with something wrong in them.
fn nvme(
    machine: &mut Machine,
    random: &mut Random,
    functions: &[Function],
    at: u64,
    area: u64,
) -> Result<()> {
    let command = |machine: &mut Machine, place: u64, words: [u64; 6]| -> Result<()> {
        let [head, namespace, first, second, low, high] = words;
        machine.write(place, 8, head | namespace << 32)?;
        machine.write(place + 24, 8, first)?;
        machine.write(place + 32, 8, second)?;
        machine.write(place + 40, 8, low)?;
        machine.write(place + 48, 8, high)
    };
    if random.below(6) == 0 {
        machine.write(at + 0x14, 4, 0)?;
        machine.write(at + 0x24, 4, 0x1f_001f)?;
        machine.write(at + 0x28, 8, ring_of(random, functions, area))?;
        machine.write(at + 0x30, 8, ring_of(random, functions, area + RING))?;
        machine.write(at + 0x14, 4, if random.one_in(8) { random.value() } else { 0x46_0001 })?;
        for queue in 1..3 {
            let size = if random.one_in(8) { random.value() & 0xffff } else { 31 };
            let place = area + (2 * queue) * RING;
            let (first, second) = (128 * (queue - 1), 128 * (queue - 1) + 64);
            let interrupt = random.below(4);
            command(
                machine,
                area + first,
                [5, 0, place + RING, 0, queue | size << 16 | (3 | interrupt << 16) << 32, 0],
            )?;
            command(
                machine,
                area + second,
                [1, 0, place, 0, queue | size << 16 | (1 | queue << 16) << 32, 0],
            )?;
        }
        machine.write(at + 0x1000, 4, 4)?;
    }
    for _ in 0..1 + random.below(6) {
        let queue = random.below(3);
        let place = area + 2 * queue * RING + 64 * random.below(32);
        let codes = [1, 2, 1, 2, 5, 8, 9, 0, 4, 6, 0xa, 0xc, random.below(256)];
        let head = random.pick(&codes) | random.below(65536) << 16;
        let namespace = random.pick(&[1, 1, 2, 0, u64::from(u32::MAX), 3]);
        let (first, second) = (random.place(functions), random.place(functions));
        let (low, high) = if random.one_in(4) {
            (random.value(), random.value())
        } else {
            (random.below(4000), random.below(40))
        };
        command(machine, place, [head, namespace, first, second & !0xfff, low, high])?;
        // Lists of pages that lead to themselves.
        let list = second & !7;
        if (RAM..RAM + (32 << 20)).contains(&list) {
            for entry in 0..4 {
                machine.write(list + 8 * entry, 8, random.pick(&[list, first, RAM + 0x1000]))?;
            }
            machine.write((list | 0xff8) & !7, 8, list & !0xfff)?;
        }
        machine.write(at + 0x1000 + 8 * queue, 4, random.below(34))?;
    }
    if random.one_in(2) {
        machine.write(at + 0x1004 + 8 * random.below(6), 4, random.below(34))?;
    }
    Ok(())
}

/// The network card: its rings, and descriptors of all three kinds.
fn e1000e(
    machine: &mut Machine,
    random: &mut Random,
    functions: &[Function],
    at: u64,
    area: u64,
) -> Result<()> {
    if random.below(6) == 0 {
        machine.write(at, 4, 1 << 26)?;
        for (block, ring) in
            [(0x2800, area), (0x2900, area + RING), (0x3800, area + 2 * RING), (0x3900, area + 3 * RING)]
        {
            let ring = ring_of(random, functions, ring);
            machine.write(at + block, 4, ring)?;
            machine.write(at + block + 4, 4, ring >> 32)?;
            machine.write(at + block + 8, 4, if random.one_in(8) { random.value() } else { 16 * SIZE })?;
            machine.write(at + block + 0x28, 4, 1 << 25 | random.below(64))?;
        }
        machine.write(at + 0x5008, 4, random.value())?;
        machine.write(at + 0xd0, 4, random.value())?;
        machine.write(at + 0x18, 4, random.value())?;
        machine.write(at + 0x100, 4, 0x8002 | random.below(4) << 16 | random.below(8) << 3)?;
        machine.write(at + 0x400, 4, 0xa)?;
    }
    for ring in [area, area + 2 * RING] {
        for _ in 0..1 + random.below(8) {
            let slot = ring + 16 * random.below(SIZE);
            let length = random.pick(&[0, 14, 60, 1514, 0xffff, 0xf_ffff]);
            machine.write(slot, 8, random.place(functions))?;
            let kind = random.below(3) << 20 | random.below(2) << 29;
            machine.write(slot + 8, 8, length | kind | random.value() << 24)?;
        }
    }
    machine.write(at + 0x2818, 4, random.below(SIZE + 2))?;
    machine.write(at + 0x3818, 4, random.below(SIZE + 2))
}

/// Transfers from anywhere to anywhere, and factorials.
fn edu(machine: &mut Machine, random: &mut Random, functions: &[Function], at: u64) -> Result<()> {
    let buffer = 0x4_0000 + random.below(0x1100);
    let place = random.place(functions);
    let (from, to, way) = if random.one_in(2) { (place, buffer, 1) } else { (buffer, place, 3) };
    machine.write(at + 0x80, 8, from)?;
    machine.write(at + 0x88, 8, to)?;
    machine.write(at + 0x90, 8, random.pick(&[1, 7, 64, 4096, 4097, u64::MAX]))?;
    machine.write(at + 0x98, 8, way | random.below(2) << 2)?;
    machine.write(at + 8, 4, random.value())?;
    machine.write(at + 0x60 + 4 * random.below(2), 4, random.value())
}
