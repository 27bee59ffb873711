//! `info`: what the machine looks like.

use super::arguments::{Number, Switches, Word};
use crate::Context;
use crate::vm::with_cpu;
use base::Result;
use memory::{MtreeOptions, print_mtree};
use std::fmt::Write;

pub(super) fn cpus(context: &mut Context<'_>, (): ()) -> Result<()> {
    for (n, handle) in context.vm.cpus().all().iter().enumerate() {
        let mark = if n == context.session.cpu { '*' } else { ' ' };
        let _ = writeln!(context.out, "{mark} CPU #{n}: thread_id={}", handle.thread_id());
    }
    Ok(())
}

/// gdb's number of `satp`; a processor without one has no translation that could be shown.
const SATP: usize = 66 + 0x180;
/// Lines shown; a full address space has more than anybody reads.
const MOST_LINES: usize = 10_000;

pub(super) fn mem(context: &mut Context<'_>, (): ()) -> Result<()> {
    let satp =
        with_cpu(context.vm, context.session.cpu, |cpu| cpu.read_register(SATP)).flatten().unwrap_or(0);
    // Privileged ISA, "Supervisor Address Translation and Protection Register": mode and depth of the table.
    let (levels, root) = match satp >> 60 {
        8 => (3, satp & 0xfff_ffff_ffff),
        9 => (4, satp & 0xfff_ffff_ffff),
        10 => (5, satp & 0xfff_ffff_ffff),
        _ => {
            context.out.push_str("No translation or protection\n");
            return Ok(());
        }
    };
    context.out.push_str("vaddr            paddr            size             attr\n");
    context.out.push_str("---------------- ---------------- ---------------- -------\n");
    let mut walk = Walk { memory: context.vm.memory(), lines: 0, last: None, out: String::new() };
    walk.table(root << 12, levels - 1, 0, 9 * levels + 12);
    walk.flush();
    context.out.push_str(&walk.out);
    Ok(())
}

/// A walk over a page table that joins neighbours.
struct Walk {
    memory: std::sync::Arc<memory::AddressSpace>,
    lines: usize,
    last: Option<(u64, u64, u64, u64)>,
    out: String,
}

impl Walk {
    fn table(&mut self, at: u64, level: u32, base: u64, bits: u32) {
        for n in 0..512 {
            if self.lines > MOST_LINES {
                return;
            }
            let Ok(pte) = self.memory.read_int(at + n * 8, 8) else { return };
            let physical = (pte >> 10 & 0xfff_ffff_ffff) << 12;
            let virtual_address = base | n << (12 + 9 * level);
            if pte & 1 == 0 {
                continue;
            }
            if pte & 0xe != 0 {
                // The highest bit of a virtual address is repeated above it.
                let unused = 64 - bits;
                let virtual_address = ((virtual_address << unused) as i64 >> unused) as u64;
                self.leaf(virtual_address, physical, 1 << (12 + 9 * level), pte & 0xff);
            } else if level > 0 {
                self.table(physical, level - 1, virtual_address, bits);
            }
        }
    }

    fn leaf(&mut self, virtual_address: u64, physical: u64, size: u64, attributes: u64) {
        if let Some((v, p, s, a)) = &mut self.last
            && *a == attributes
            && v.wrapping_add(*s) == virtual_address
            && p.wrapping_add(*s) == physical
        {
            *s += size;
            return;
        }
        self.flush();
        self.last = Some((virtual_address, physical, size, attributes));
    }

    fn flush(&mut self) {
        let Some((v, p, s, a)) = self.last.take() else { return };
        let letters: String =
            "rwxugad".chars().enumerate().map(|(n, c)| if a >> (n + 1) & 1 != 0 { c } else { '-' }).collect();
        self.lines += 1;
        let _ = writeln!(self.out, "{v:016x} {p:016x} {s:016x} {letters}");
    }
}

pub(super) fn mtree(context: &mut Context<'_>, switches: Switches, (): ()) -> Result<()> {
    let options = MtreeOptions {
        flat: switches.has('f'),
        dispatch: switches.has('d'),
        owner: switches.has('o'),
        disabled: switches.has('D'),
    };
    context.out.push_str(&print_mtree(&context.vm.spaces(), options));
    Ok(())
}

pub(super) fn qom_tree(context: &mut Context<'_>, (path,): (Option<Word>,)) -> Result<()> {
    let root = context.vm.root();
    let path = path.map_or_else(|| "/machine".to_owned(), |Word(path)| path);
    match root.resolve(&path) {
        Ok(Some(node)) => context.out.push_str(&object::print_tree(&node)),
        Ok(None) => {
            let _ = writeln!(context.out, "Path '{path}' could not be resolved.");
        }
        Err(_) => {
            let _ = writeln!(context.out, "Warning: Path '{path}' is ambiguous.");
        }
    }
    Ok(())
}

pub(super) fn qtree(context: &mut Context<'_>, switches: Switches, (): ()) -> Result<()> {
    let text = object::print_qtree(&context.vm.bus(), "main-system-bus");
    // What is left of a brief tree: the buses, their types, the devices.
    let brief =
        |line: &&str| ["bus: ", "type ", "dev: "].iter().any(|word| line.trim_start().starts_with(word));
    for line in text.lines().filter(|line| !switches.has('b') || brief(line)) {
        context.out.push_str(line);
        context.out.push('\n');
    }
    Ok(())
}

pub(super) fn registers(
    context: &mut Context<'_>,
    switches: Switches,
    (vcpu,): (Option<Number>,),
) -> Result<()> {
    let count = context.vm.cpus().all().len();
    let chosen: Vec<usize> = match vcpu {
        _ if switches.has('a') => (0..count).collect(),
        Some(Number(n)) => match usize::try_from(n).ok().filter(|n| *n < count) {
            Some(n) => vec![n],
            None => {
                let _ = writeln!(context.out, "CPU#{n} not available");
                return Ok(());
            }
        },
        None if count == 0 => {
            context.out.push_str("No CPU available\n");
            return Ok(());
        }
        None => vec![context.session.cpu],
    };
    for n in chosen {
        if let Some(text) = with_cpu(context.vm, n, |cpu| cpu.dump(true)) {
            let _ = write!(context.out, "\nCPU#{n}\n{text}");
        }
    }
    Ok(())
}

pub(super) fn version(context: &mut Context<'_>, (): ()) -> Result<()> {
    let _ = writeln!(context.out, "{}", context.vm.package());
    Ok(())
}
