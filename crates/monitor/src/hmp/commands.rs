//! All commands: names, arguments, parameters as help shows them, help, function.

use super::arguments::{Arguments, Defaults, Format, Number, Rest, Word};
use super::{dump, info, machine};
use crate::command::{Context, Session};
use crate::trace;
use crate::vm::{Vm, read_physical, read_virtual, translate, with_cpu};
use base::log::{self, LogMask};
use base::{Error, Result, error};
use std::fmt::Write;

/// A command for people.
#[derive(Clone, Copy)]
pub struct Command {
    /// Names, separated by `|`.
    pub names: &'static str,
    /// Parameters as help shows them.
    pub params: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Takes the arguments and runs it.
    pub run: fn(&mut Context<'_>, &mut Arguments<'_>) -> Result<()>,
}

/// Tables of commands for people: names, function, types of the arguments (`switches "af"` first, if there are any),
/// parameters and help. The function gets the context, the switches and the tuple of the arguments.
#[macro_export]
macro_rules! hmp_rows {
    ($($(#[$doc:meta])* $table:ident { $($names:literal $function:path, ($($arg:tt)*), $params:literal, $help:literal;)* })*) => {
        $($(#[$doc])* pub const $table: &[$crate::hmp::Command] = &[$($crate::hmp::Command {
            names: $names,
            params: $params,
            help: $help,
            run: |context, arguments| $crate::hmp_rows!(@call context, arguments, $function, $($arg)*),
        }),*];)*
    };
    // Switches are told which letters there are; all other types take themselves from the line.
    (@call $context:ident, $arguments:ident, $function:path, switches $letters:literal $(, $ty:ty)*) => {{
        let switches = $crate::hmp::Switches::take($arguments, $letters)?;
        let rest = ($(<$ty as $crate::hmp::Argument>::take($arguments)?,)*);
        $arguments.finish()?;
        $function($context, switches, rest)
    }};
    (@call $context:ident, $arguments:ident, $function:path, $($ty:ty),*) => {{
        let rest = ($(<$ty as $crate::hmp::Argument>::take($arguments)?,)*);
        $arguments.finish()?;
        $function($context, rest)
    }};
}

hmp_rows! {
    /// The commands, in the order of help.
    COMMANDS {
        "boot_set" machine::boot_set, (Word), "bootdevice", "define new values for the boot device list";
        "commit" machine::commit, (Word), "device|all", "commit changes to the disk images (if -snapshot is used) or backing files";
        "cpu" cpu, (Number), "index", "set the default CPU";
        "dump-guest-memory" machine::dump, (switches "pdzlswR", Word, Option<Number>, Option<Number>), "[-p] [-d] filename [begin length]", "dump guest memory into file 'filename'.\n\t\t\t-d: return immediately (do not wait for completion).\n\t\t\tbegin: the starting physical address.\n\t\t\tlength: the memory size, in bytes.";
        "gpa2hpa" machine::gpa2hpa, (Number), "addr", "print the host physical address corresponding to a guest physical address";
        "gpa2hva" machine::gpa2hva, (Number), "addr", "print the host virtual address corresponding to a guest physical address";
        "gva2gpa" gva2gpa, (Number), "addr", "print the guest physical address corresponding to a guest virtual address";
        "help|?" help, (Rest), "[cmd]", "show the help";
        "info" information, (Rest), "[subcommand]", "show various information about the system state";
        "log" log_items, (Word), "item1[,...]", "activate logging of the specified items";
        "logfile" log_file, (Word), "filename", "output logs to 'filename'";
        "print|p" print, (Format, Number), "/fmt expr", "print expression value (use $reg for CPU register access)";
        "qom-set" machine::qom_set, (switches "j", Word, Word, Rest), "[-j] path property value", "set QOM property.\n\t\t\t-j: the value is specified in json format.";
        "screendump" machine::screendump, (Rest), "filename [-f format] [device [head]]", "save screen from head 'head' of display device 'device'in specified format 'format' as image 'filename'.Currently only 'png' and 'ppm' formats are supported.";
        "sum" sum, (Number, Number), "addr size", "compute the checksum of a memory region";
        "x" examine, (Format, Number), "/fmt addr", "virtual memory dump starting at 'addr'";
        "xp" examine_physical, (Format, Number), "/fmt addr", "physical memory dump starting at 'addr'";
    }
    /// The subcommands of `info`.
    INFO {
        "cpus" info::cpus, (), "", "show infos for each CPU";
        "history" machine::history, (), "", "show the command line history";
        "irq" machine::nothing, (), "", "show the interrupts statistics (if available)";
        "mem" info::mem, (), "", "show the active virtual memory mappings";
        "mtree" info::mtree, (switches "fdoD"), "[-f][-d][-o][-D]", "show memory tree (-f: dump flat view for address spaces;-d: dump dispatch tree, valid with -f only);-o: dump region owners/parents;-D: dump disabled regions";
        "numa" machine::numa, (), "", "show NUMA information";
        "pic" machine::nothing, (), "", "show PIC state";
        "qom-tree" info::qom_tree, (Option<Word>), "[path]", "show QOM composition tree";
        "qtree" info::qtree, (switches "b"), "[-b]", "show device tree (-b: brief, omit properties)";
        "registers" info::registers, (switches "a", Option<Number>), "[-a|vcpu]", "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)";
        "usb" machine::usb, (), "", "show guest USB devices";
        "version" info::version, (), "", "show the version of QEMU";
        "virtio" machine::virtio, (), "", "List all available virtio devices";
        "vnc" machine::vnc, (), "", "show the vnc server status";
    }
}

/// Commands that a machine is asked that waits to be completed (`-preconfig`).
const PRECONFIG: &[&str] = &["help", "?", "exit_preconfig", "quit", "q", "info"];

/// Whether a row answers to `name`.
pub fn answers(command: &Command, name: &str) -> bool {
    command.names.split('|').any(|n| n == name)
}

/// Runs a line and returns the answer's text.
pub fn execute(vm: &dyn Vm, session: &mut Session, defaults: &mut Defaults, line: &str) -> String {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return String::new();
    }
    base::trace!(trace::HMP_COMMAND, "{line}");
    let commands = vm.commands();
    let mut table = commands.hmp();
    let mut prefix = "";
    let mut rest = line;
    let (command, name) = loop {
        // A format may follow the name without a blank: `x/4x`.
        let end = rest.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(command) = table.iter().find(|c| answers(c, name)) else {
            return format!("unknown command: '{prefix}{name}'\n");
        };
        let word = after.split_whitespace().next();
        if prefix.is_empty() && command.names == "info" && word.is_some() {
            (table, prefix, rest) = (commands.info(), "info ", after.trim_start());
            continue;
        }
        rest = after;
        break (command, name);
    };
    if vm.preconfig() && prefix.is_empty() && !PRECONFIG.contains(&name) {
        return format!(
            "Command '{name}' not available with -preconfig until machine initialization has completed.\n"
        );
    }
    let chosen = session.cpu;
    let registers = |name: &str| register(vm, chosen, name);
    let mut context = Context { vm, session, out: String::new() };
    let mut arguments = Arguments { names: command.names, rest, registers: &registers, defaults };
    match (command.run)(&mut context, &mut arguments) {
        Ok(()) => context.out,
        Err(error) if error.class == base::error::Class::CommandNotFound => {
            // The arguments are all right; the command itself has failed and said so.
            let mut out = context.out;
            let _ = writeln!(out, "{error}");
            if let Some(hint) = error.hint_text() {
                let _ = writeln!(out, "{hint}");
            }
            out
        }
        Err(error) => {
            let mut out = format!("{error}\n");
            let _ = writeln!(out, "Try \"help {prefix}{name}\" for more information");
            out
        }
    }
}

/// The error of a command of the machine protocol, as people see it.
pub fn refused(error: Error) -> Error {
    failed(error.prefix("Error: "))
}

/// An error that is not about how the command was written.
pub fn failed(error: Error) -> Error {
    error.class(base::error::Class::CommandNotFound)
}

/// The value of a register by the name that the debugger knows it by.
fn register(vm: &dyn Vm, cpu: usize, name: &str) -> Option<u64> {
    let name = name.to_owned();
    with_cpu(vm, cpu, move |cpu| {
        let number = cpu.register_sets().iter().flat_map(|s| &s.registers).find(|r| r.name == name)?.number;
        cpu.read_register(number)
    })?
}

fn cpu(context: &mut Context<'_>, (Number(index),): (Number,)) -> Result<()> {
    let count = context.vm.cpus().all().len();
    match usize::try_from(index).ok().filter(|n| *n < count) {
        Some(index) => context.session.cpu = index,
        None => context.out.push_str("invalid CPU index\n"),
    }
    Ok(())
}

fn gva2gpa(context: &mut Context<'_>, (Number(address),): (Number,)) -> Result<()> {
    let _ = match translate(context.vm, context.session.cpu, address as u64) {
        Some(physical) => writeln!(context.out, "gpa: {physical:#x}"),
        None => writeln!(context.out, "Unmapped"),
    };
    Ok(())
}

fn help(context: &mut Context<'_>, (Rest(what),): (Rest,)) -> Result<()> {
    let mut words = what.split_whitespace();
    let commands = context.vm.commands();
    match (words.next(), words.next()) {
        (None, _) => list(context, commands.hmp(), ""),
        (Some("info"), None) => list(context, commands.info(), "info "),
        (Some("info"), Some(name)) => one(context, commands.info(), "info ", name),
        (Some("log"), None) => context.out.push_str(&log_help()),
        (Some(name), _) => one(context, commands.hmp(), "", name),
    }
    Ok(())
}

fn list(context: &mut Context<'_>, table: &[Command], prefix: &str) {
    for c in table {
        let _ = writeln!(context.out, "{prefix}{} {} -- {}", c.names, c.params, c.help);
    }
}

fn one(context: &mut Context<'_>, table: &[Command], prefix: &str, name: &str) {
    let _ = match table.iter().find(|c| answers(c, name)) {
        Some(c) => writeln!(context.out, "{prefix}{} {} -- {}", c.names, c.params, c.help),
        None => writeln!(context.out, "unknown command: '{prefix}{name}'"),
    };
}

fn information(context: &mut Context<'_>, _: (Rest,)) -> Result<()> {
    let commands = context.vm.commands();
    list(context, commands.info(), "info ");
    Ok(())
}

/// The items of the log, as `help log` and a wrong item show them.
pub fn log_help() -> String {
    let mut out = String::from("Log items (comma separated):\nnone            remove all logs\n");
    for (_, name, what) in log::ITEMS {
        let _ = writeln!(out, "{name:15} {what}");
    }
    out
}

fn log_items(context: &mut Context<'_>, (Word(items),): (Word,)) -> Result<()> {
    match LogMask::parse(&items) {
        Ok(mask) => log::set_mask(mask),
        Err(_) => context.out.push_str(&log_help()),
    }
    Ok(())
}

fn log_file(_: &mut Context<'_>, (Word(file),): (Word,)) -> Result<()> {
    log::set_file(Some(&file)).map_err(|e| failed(error!("Error: Error opening logfile {file}: {e}")))
}

fn print(context: &mut Context<'_>, (format, Number(value)): (Format, Number)) -> Result<()> {
    let _ = writeln!(context.out, "{}", dump::value(format.format, value));
    Ok(())
}

/// The sum that the reference prints: 16 bits, rotated right before each byte (as BSD `sum` does).
fn sum(context: &mut Context<'_>, (Number(address), Number(size)): (Number, Number)) -> Result<()> {
    const LONGEST: u64 = 1 << 32;
    let (mut at, mut left) = (address as u64, (size.max(0) as u64).min(LONGEST));
    let mut total = 0u16;
    while left > 0 {
        let mut bytes = vec![0; left.min(1 << 16) as usize];
        if !read_physical(context.vm, at, &mut bytes) {
            bytes.fill(0);
        }
        total = bytes.iter().fold(total, |t, b| t.rotate_right(1).wrapping_add(u16::from(*b)));
        at = at.wrapping_add(bytes.len() as u64);
        left -= bytes.len() as u64;
    }
    let _ = writeln!(context.out, "{total:05}");
    Ok(())
}

fn examine(context: &mut Context<'_>, (format, Number(at)): (Format, Number)) -> Result<()> {
    let (vm, cpu) = (context.vm, context.session.cpu);
    // The vCPU is asked once for each page, not for each line: it may be running.
    let mut known: Option<(u64, u64)> = None;
    let mut read = |at: u64, bytes: &mut [u8]| {
        let page = at & !0xfff;
        if at.wrapping_add(bytes.len() as u64 - 1) & !0xfff != page {
            return read_virtual(vm, cpu, at, bytes);
        }
        if known.is_none_or(|(of, _)| of != page) {
            known = translate(vm, cpu, page).map(|physical| (page, physical));
        }
        known.is_some_and(|(_, physical)| read_physical(vm, physical | at & 0xfff, bytes))
    };
    show(context, format, at as u64, &mut read);
    Ok(())
}

fn examine_physical(context: &mut Context<'_>, (format, Number(at)): (Format, Number)) -> Result<()> {
    let vm = context.vm;
    show(context, format, at as u64, &mut |at, bytes| read_physical(vm, at, bytes));
    Ok(())
}

fn show(context: &mut Context<'_>, format: Format, at: u64, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) {
    if format.format != 'i' {
        context.out.push_str(&dump::memory(format, at, read));
        return;
    }
    // The most instructions shown at once; longer listings are for the debugger.
    const MOST: u64 = 10_000;
    let mut at = at;
    for _ in 0..format.count.min(MOST) {
        let mut bytes = [0; 4];
        // The last instruction before the end of memory may be a short one.
        let got = if read(at, &mut bytes) {
            4
        } else if read(at, &mut bytes[..2]) {
            2
        } else {
            0
        };
        if got == 0 {
            let _ = writeln!(context.out, "{at:#010x}:  Address {at:#x} is out of bounds.");
            break;
        }
        let line =
            with_cpu(context.vm, context.session.cpu, move |cpu| cpu.disassemble_at(at, &bytes[..got]));
        let Some((text, length)) = line else { break };
        let _ = writeln!(context.out, "{at:#010x}:  {text}");
        at = at.wrapping_add(length.max(1) as u64);
    }
}

#[cfg(test)]
#[path = "commands_test.rs"]
mod test;
