//! The bus as firmware numbers it, and as nobody should leave it.

use super::{Machine, Random};
use crate::Result;

const ECAM: u64 = 0x3000_0000;
/// Where I/O space is seen.
const PORTS: u64 = 0x300_0000;
/// Each bus has this much of the memory window, and of I/O space.
const MEMORY: u64 = 0x4000_0000;
const MEMORY_OF_BUS: u64 = 64 << 20;
const PORTS_OF_BUS: u64 = 0x1000;

/// A window behind a base address register.
#[derive(Clone, Copy)]
pub struct Bar {
    /// The number of its register.
    pub index: u64,
    /// Where the processor sees it.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// What its register holds.
    value: u64,
}

/// A function on the bus.
pub struct Function {
    /// Where its configuration space is.
    pub config: u64,
    /// Vendor in the lower half, device in the upper one.
    pub id: u32,
    /// Its windows.
    pub bars: Vec<Bar>,
    /// For a bridge the numbers of the first and the last bus behind it.
    behind: Option<(u64, u64)>,
}

impl Function {
    /// Where a window is.
    pub fn bar(&self, index: u64) -> Option<u64> {
        self.bars.iter().find(|bar| bar.index == index).map(|bar| bar.address)
    }
}

/// Numbers all buses, gives all windows addresses, and switches everything on.
pub fn number(machine: &mut Machine) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    scan(machine, 0, &mut 0, &mut functions)?;
    functions.iter().try_for_each(|function| set_up(machine, function))?;
    Ok(functions)
}

fn scan(machine: &mut Machine, bus: u64, last: &mut u64, functions: &mut Vec<Function>) -> Result<()> {
    let (mut memory, mut ports) = (MEMORY + bus * MEMORY_OF_BUS, bus * PORTS_OF_BUS);
    for device in 0..32 {
        let config = ECAM + (bus << 20 | device << 15);
        let id = machine.read(config, 4)? as u32;
        if id as u16 == 0xffff {
            continue;
        }
        let is_bridge = machine.read(config + 0xe, 1)? & 0x7f == 1;
        let mut function = Function { config, id, bars: Vec::new(), behind: None };
        machine.write(config + 4, 2, 0)?;
        let (mut index, end) = (0, if is_bridge { 2 } else { 6 });
        while index < end {
            let at = config + 0x10 + 4 * index;
            machine.write(at, 4, 0xffff_ffff)?;
            let mask = machine.read(at, 4)?;
            let is_wide = mask & 7 == 4;
            if mask & 1 != 0 {
                let size = (!(mask & 0xffff_fffc) + 1) & 0xffff;
                ports = ports.next_multiple_of(size.max(1));
                function.bars.push(Bar { index, address: PORTS + ports, size, value: ports });
                ports += size;
            } else if mask != 0 {
                let size = (!(mask & 0xffff_fff0) + 1) & 0xffff_ffff;
                memory = memory.next_multiple_of(size.max(1));
                function.bars.push(Bar { index, address: memory, size, value: memory });
                memory += size;
            }
            index += if is_wide { 2 } else { 1 };
        }
        if is_bridge {
            *last += 1;
            let first = *last;
            machine.write(config + 0x18, 4, bus | first << 8 | 0xff << 16)?;
            scan(machine, first, last, functions)?;
            function.behind = Some((first, *last));
        }
        functions.push(function);
    }
    Ok(())
}

/// Sets a function's registers as firmware does.
pub fn set_up(machine: &mut Machine, function: &Function) -> Result<()> {
    let config = function.config;
    for bar in &function.bars {
        machine.write(config + 0x10 + 4 * bar.index, 4, bar.value)?;
        if bar.address >= MEMORY && machine.read(config + 0x10 + 4 * bar.index, 4)? & 7 == 4 {
            machine.write(config + 0x14 + 4 * bar.index, 4, 0)?;
        }
    }
    if let Some((first, last)) = function.behind {
        let bus = function.config >> 20 & 0xff;
        machine.write(config + 0x18, 4, bus | first << 8 | last << 16)?;
        let (low, high) = (MEMORY + first * MEMORY_OF_BUS, MEMORY + (last + 1) * MEMORY_OF_BUS - 1);
        machine.write(config + 0x20, 4, low >> 16 & 0xfff0 | high & 0xfff0_0000)?;
        // No prefetchable window.
        machine.write(config + 0x24, 4, 0xfff0)?;
        let (low, high) = (first * PORTS_OF_BUS, last * PORTS_OF_BUS + 0xfff);
        machine.write(config + 0x1c, 2, low >> 8 & 0xf0 | high & 0xf000)?;
        machine.write(config + 0x3e, 2, 0)?;
    }
    machine.write(config + 4, 2, 7)
}

/// Writes something to a configuration space: most of it into the header and what follows.
pub fn disturb(machine: &mut Machine, random: &mut Random, function: &Function) -> Result<()> {
    for _ in 0..1 + random.below(4) {
        let size = random.pick(&[1, 2, 4]);
        let end = if random.below(4) == 0 { 0x1000 } else { 0x100 };
        let offset = random.below(end / size) * size;
        let bar = offset & 0xff >= 0x10 && offset & 0xff < 0x28;
        // Windows that lie over each other, over memory, and over other devices' registers.
        let value = if bar && random.below(2) == 0 { random.below(0x9000) << 16 } else { random.value() };
        machine.write(function.config + offset, size as u32, value)?;
        machine.read(function.config + random.below(0x400) * 4, 4)?;
    }
    Ok(())
}
