//! `dump-guest-memory`: the guest's memory and registers as an ELF core file, for `crash` and gdb.
//!
//! The format is that of the System V ABI, chapter 5 ("Program Loading"), with the notes of a Linux core: one
//! `NT_PRSTATUS` for each processor, then one loadable segment for each stretch of memory.

use super::{Qapi, command};
use crate::qmp::event::{DumpCompleted, DumpQueryResult, DumpStatus};
use crate::vm::{lock, read_physical, with_cpu};
use crate::{Command, Context, Vm};
use base::{Result, error};
use qapi::Event;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[DUMP_GUEST_MEMORY, QUERY_DUMP, QUERY_DUMP_GUEST_MEMORY_CAPABILITY];

/// Formats of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum DumpGuestMemoryFormat {
    /// An ELF core.
    Elf,
}

/// What a dump can be.
#[derive(Debug, Qapi)]
pub struct DumpGuestMemoryCapability {
    formats: Vec<DumpGuestMemoryFormat>,
}

/// The formats there are.
#[command]
pub fn query_dump_guest_memory_capability(_: &mut Context<'_>) -> Result<DumpGuestMemoryCapability> {
    Ok(DumpGuestMemoryCapability { formats: vec![DumpGuestMemoryFormat::Elf] })
}

/// How the last dump went.
#[command(hmp("info dump", "", "Display the latest dump status"))]
pub fn query_dump(context: &mut Context<'_>) -> Result<DumpQueryResult> {
    let last = *lock(context.vm.last_dump());
    let _ = writeln!(context.out, "Status: {}", last.status.name());
    Ok(last)
}

/// Where a dump goes.
fn target(protocol: &str) -> Result<std::fs::File> {
    if let Some(path) = protocol.strip_prefix("file:") {
        let file = std::fs::File::create(path);
        return file.map_err(|e| error!("Could not open '{path}'").because(e));
    }
    if let Some(name) = protocol.strip_prefix("fd:") {
        return backends::fd::given(name).map(Into::into).map_err(|e| error!("{e}"));
    }
    Err(error!("Invalid parameter 'protocol'"))
}

/// Dumps physical memory, all of it or what lies in a window. The machine stands still meanwhile.
#[command]
pub fn dump_guest_memory(
    context: &mut Context<'_>,
    paging: bool,
    protocol: String,
    detach: Option<bool>,
    begin: Option<u64>,
    length: Option<u64>,
    _format: Option<DumpGuestMemoryFormat>,
) -> Result<()> {
    if paging {
        return Err(error!("dump-guest-memory: paging=true is not supported"));
    }
    if begin.is_some() != length.is_some() {
        let missing = if begin.is_some() { "length" } else { "begin" };
        return Err(error!("Parameter '{missing}' is missing"));
    }
    let file = target(&protocol)?;
    let segments = segments(context.vm, begin.zip(length));
    let total = segments.iter().map(|(_, size)| size).sum::<u64>();
    let running = context.vm.run_state() == cpu::RunState::Running;
    context.vm.stop();
    let done = write_core(context.vm, &segments, BufWriter::with_capacity(1 << 20, file));
    if running {
        context.vm.run()?;
    }
    let status = if done.is_ok() { DumpStatus::Completed } else { DumpStatus::Failed };
    let result = DumpQueryResult {
        status,
        completed: if done.is_ok() { total as i64 } else { 0 },
        total: total as i64,
    };
    *lock(context.vm.last_dump()) = result;
    let done = done.map_err(|e| error!("dump: failed to save memory").because(e));
    if detach == Some(true) {
        let error = done.as_ref().err().map(ToString::to_string);
        DumpCompleted { result, error }.emit();
        return Ok(());
    }
    done
}

/// Stretches of RAM: address and size.
fn segments(vm: &dyn Vm, window: Option<(u64, u64)>) -> Vec<(u64, u64)> {
    let (first, end) = window.map_or((0, u64::MAX), |(begin, length)| (begin, begin.saturating_add(length)));
    let view = vm.memory().view();
    let ram = view.ranges().iter().filter(|range| range.writable(range.start).is_some());
    let clipped = ram.filter_map(|range| {
        let start = range.start.max(first);
        let stop = (range.start + range.left(range.start)).min(end);
        (start < stop).then(|| (start, stop - start))
    });
    clipped.collect()
}

/// The machine number of RISC-V.
const EM_RISCV: u16 = 243;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

fn write_core(vm: &dyn Vm, segments: &[(u64, u64)], mut out: impl Write) -> io::Result<()> {
    let notes = notes(vm);
    let headers = (HEADER + PROGRAM_HEADER * (segments.len() + 1)) as u64;
    let mut head = Vec::new();
    head.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // A core file of version 1, without entry; the program headers follow, and there are no sections.
    [4, EM_RISCV].iter().for_each(|half| head.extend(half.to_le_bytes()));
    head.extend(1u32.to_le_bytes());
    [0, HEADER as u64, 0].iter().for_each(|word| head.extend(word.to_le_bytes()));
    head.extend(0u32.to_le_bytes());
    let count = segments.len() as u16 + 1;
    [HEADER as u16, PROGRAM_HEADER as u16, count, 0, 0, 0]
        .iter()
        .for_each(|half| head.extend(half.to_le_bytes()));
    let mut segment = |kind: u32, offset: u64, address: u64, size: u64| {
        head.extend(kind.to_le_bytes());
        head.extend(0u32.to_le_bytes());
        // The virtual address is not known; the physical one is.
        [offset, 0, address, size, size, 0].iter().for_each(|word| head.extend(word.to_le_bytes()));
    };
    segment(4, headers, 0, notes.len() as u64);
    let mut offset = headers + notes.len() as u64;
    for (address, size) in segments {
        segment(1, offset, *address, *size);
        offset += size;
    }
    out.write_all(&head)?;
    out.write_all(&notes)?;
    let mut bytes = vec![0; 1 << 20];
    for (address, size) in segments {
        let mut done = 0;
        while done < *size {
            let part = &mut bytes[..(size - done).min(1 << 20) as usize];
            if !read_physical(vm, address + done, part) {
                part.fill(0);
            }
            out.write_all(part)?;
            done += part.len() as u64;
        }
    }
    out.flush()
}

/// The registers of each processor, as Linux's `struct elf_prstatus` for RISC-V has them: pc, then x1 to x31.
fn notes(vm: &dyn Vm) -> Vec<u8> {
    const REGISTERS: usize = 112;
    const SIZE: usize = REGISTERS + 32 * 8 + 8;
    let mut notes = Vec::new();
    for n in 0..vm.cpus().all().len() {
        let words = with_cpu(vm, n, |cpu| {
            let mut words = vec![cpu.pc()];
            words.extend((1..32).map(|number| cpu.read_register(number).unwrap_or(0)));
            words
        });
        let mut status = vec![0; SIZE];
        // The process's number, by which gdb tells them apart.
        status[32..36].copy_from_slice(&(n as u32 + 1).to_le_bytes());
        for (place, word) in status[REGISTERS..].chunks_exact_mut(8).zip(words.unwrap_or_default()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        [5, SIZE as u32, 1].iter().for_each(|word| notes.extend(word.to_le_bytes()));
        notes.extend(b"CORE\0\0\0\0");
        notes.extend(status);
    }
    notes
}
