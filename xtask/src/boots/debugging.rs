//! gdb-multiarch at firmware and at a Linux kernel, whose symbols the kernel itself lists.

use super::{ANSWER, BOOT, Outcome, World, free_port, gdb, said, with_opensbi};
use crate::boot::{linux as kernel, strings};
use crate::console::Console;
use crate::paths;
use std::fs;

/// gdb at the reset vector: a step, a breakpoint at the firmware's entry, a CSR, a floating-point register.
pub fn first_steps(world: &World) -> Outcome {
    if paths::which("gdb-multiarch").is_none() {
        return Ok(Some("gdb-multiarch is not installed".into()));
    }
    let port = free_port()?;
    let mut line = with_opensbi(world, 2);
    line.extend(strings(&["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")]));
    let _console = Console::spawn(&world.tinamou, &line)?;
    let text = gdb(
        port,
        &[
            "printf \"at %lx\\n\", $pc",
            "stepi",
            "printf \"then %lx\\n\", $pc",
            "break *0x80000000",
            "continue",
            "printf \"stopped %lx a0 %lx misa-extension %d\\n\", $pc, $a0, ($misa >> 8) & 1",
            "printf \"float %d\\n\", sizeof($fa0)",
            "info threads",
            "set var $t3 = 0x1234",
            "printf \"written %lx\\n\", $t3",
            "x/1wx 0x80000000",
            "kill",
        ],
    )?;
    said(
        &text,
        &[
            "at 1000",
            "then 1004",
            "stopped 80000000",
            "misa-extension 1",
            "float 8",
            "written 1234",
            "0x80000000:",
        ],
    )
}

/// A running kernel: a variable is watched; the kernel is met at its entry, before paging is on, and in `start_kernel`, with
/// it; its call of the firmware is followed into the firmware's trap handler and back. Left alone it boots again.
pub fn linux(world: &World) -> Outcome {
    if paths::which("gdb-multiarch").is_none() {
        return Ok(Some("gdb-multiarch is not installed".into()));
    }
    let port = free_port()?;
    let mut line = with_opensbi(world, 2);
    line.extend(strings(&["-gdb", &format!("tcp:127.0.0.1:{port}")]));
    line.extend(kernel(&world.images, &world.images.initrd, "console=ttyS0 nokaslr"));
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    let names = ["_start", "start_kernel", "jiffies_64", "__sbi_ecall"];
    console.send(&format!("grep -E ' ({})$' /proc/kallsyms; echo listed: $((6*7))\n", names.join("|")))?;
    console.expect("listed: 42", ANSWER)?;
    let symbols = listed(&console.transcript());
    if let Some(name) = names.iter().find(|name| !symbols.iter().any(|(known, _)| known == *name)) {
        return Err(format!("the kernel does not list {name}").into());
    }
    let file = paths::guests().join(".symbols.elf");
    fs::write(&file, symbol_file(&symbols))?;
    let file = file.display();
    let text = gdb(
        port,
        &[
            // For Linux programs gdb makes steps of breakpoints, and would not see the trap.
            "set osabi none",
            &format!("symbol-file {file}"),
            "info threads",
            "watch *(unsigned long *)&jiffies_64",
            "continue",
            "delete",
            // Before paging is on the kernel is at a physical address.
            &format!("symbol-file {file} -o 0x100200000"),
            "hbreak _start",
            "monitor system_reset",
            "continue",
            "printf \"satp %lx\\n\", $satp",
            "delete",
            &format!("symbol-file {file}"),
            "break *&start_kernel",
            "continue",
            "printf \"mode %x\\n\", ($satp >> 60) & 15",
            "stepi",
            "delete",
            "break *&__sbi_ecall",
            "continue",
            "delete",
            // Its instruction `ecall`.
            "find /w1 $pc, +256, 0x73",
            "set $call = (unsigned long)$_",
            "tbreak *$call",
            "continue",
            "stepi",
            "printf \"trap %d cause %d privilege %d\\n\", $pc == ($mtvec & ~3), $mcause, $priv",
            "printf \"from %d\\n\", $mepc == $call",
            "stepi",
            "tbreak *($call + 4)",
            "continue",
            "printf \"back %d privilege %d\\n\", $pc == $call + 4, $priv",
            "detach",
        ],
    )?;
    said(
        &text,
        &[
            "Thread 1.2",
            "Old value = ",
            "New value = ",
            "0x0000000080200000 in _start ()",
            "satp 0\n",
            " in start_kernel ()",
            "mode a",
            " in __sbi_ecall ()",
            "trap 1 cause 9 privilege 3",
            "from 1",
            "back 1 privilege 1",
        ],
    )?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    Ok(None)
}

/// Names and addresses, from lines as `/proc/kallsyms` has them.
fn listed(transcript: &str) -> Vec<(String, u64)> {
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, _, name) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), u64::from_str_radix(address, 16).ok().filter(|a| *a >> 63 == 1)?))
    };
    transcript.lines().filter_map(symbol).collect()
}

/// An ELF file of a section without content and of symbols in it.
fn symbol_file(symbols: &[(String, u64)]) -> Vec<u8> {
    const SECTIONS: &[u8] = b"\0.text\0.symtab\0.strtab\0";
    const HEADER: u64 = 64;
    let base = symbols.iter().map(|(_, address)| *address).min().unwrap_or_default();
    let mut strings = SECTIONS.to_vec();
    // The first symbol is none.
    let mut table = vec![0; 24];
    for (name, address) in symbols {
        table.extend((strings.len() as u32).to_le_bytes());
        // A global function in section 1.
        table.extend([0x12, 0, 1, 0]);
        table.extend(address.to_le_bytes());
        table.extend(4u64.to_le_bytes());
        strings.extend(name.bytes().chain([0]));
    }
    let (symbols_at, strings_at) = (HEADER, HEADER + table.len() as u64);
    let headers_at = (strings_at + strings.len() as u64).next_multiple_of(8);
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    // An executable for RISC-V.
    out.extend([2u16, 243].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(1u32.to_le_bytes());
    out.extend([base, 0, headers_at].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(0u32.to_le_bytes());
    // No program headers; four sections, the last with the names.
    out.extend([64u16, 56, 0, 64, 4, 3].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(table.iter().chain(&strings));
    out.resize(headers_at as usize, 0);
    // Of each section: name, type, flags, address, offset, size, link, information, alignment, size of an entry.
    let size = 64 << 20;
    for (name, kind, flags, address, at, size, link, information, entry) in [
        (0u32, 0u32, 0u64, 0, 0, 0, 0u32, 0u32, 0u64),
        (1, 8, 6, base, 0, size, 0, 0, 0),
        (7, 2, 0, 0, symbols_at, table.len() as u64, 3, 1, 24),
        (15, 3, 0, 0, strings_at, strings.len() as u64, 0, 0, 0),
    ] {
        out.extend([name, kind].iter().flat_map(|n| n.to_le_bytes()));
        out.extend([flags, address, at, size].iter().flat_map(|n| n.to_le_bytes()));
        out.extend([link, information].iter().flat_map(|n| n.to_le_bytes()));
        out.extend([8u64, entry].iter().flat_map(|n| n.to_le_bytes()));
    }
    out
}
