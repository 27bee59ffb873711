//! What people do with a machine to find out what it does: debuggers, ports, the size of translated blocks; and the end of
//! `-preconfig`.

use crate::control::Control;
use crate::debugger::Debugger;
use crate::lines::debugger_port;
use crate::report;
use base::{Result, error};
use monitor::hmp::{Format, Number, Word, failed};
use monitor::{Command, Context, Vm, command};
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[X_EXIT_PRECONFIG];

/// Goes on with the making of the machine, where `-preconfig` has held it up.
#[command(hmp("exit_preconfig", "", "exit the preconfig state"))]
pub fn x_exit_preconfig(context: &mut Context<'_>) -> Result<()> {
    let control = Control::of(context)?;
    if !control.preconfig() {
        return Err(error!("The command is permitted only before machine initialization"));
    }
    control.set_preconfig(false);
    Ok(())
}

/// Where debuggers connect unless something else is said.
const DEFAULT: &str = "tcp::1234";
/// The name of the character device for that.
const LABEL: &str = "gdb";

/// Lets debuggers connect somewhere, instead of where they could before.
fn gdbserver(context: &mut Context<'_>, (device,): (Option<Word>,)) -> Result<()> {
    let device = device.map_or_else(|| DEFAULT.to_owned(), |device| device.0);
    let control = Control::of(context)?.shared()?;
    control.leave_debuggers();
    control.lines.with(|chardevs, _| chardevs.close(LABEL));
    if device == "none" {
        context.out.push_str("Disabled gdbserver\n");
        return Ok(());
    }
    match debugger_port(&control.lines, &device, LABEL) {
        Ok(Some(port)) => {
            control.attach_debuggers([Debugger::attach(&control, port, &report::program())]);
            let _ = writeln!(context.out, "Waiting for gdb connection on device '{device}'");
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(reason) => {
            let _ = writeln!(context.out, "{reason}\nwarning: gdbstub: couldn't create chardev");
            Err(failed(error!("Could not open gdbserver on device '{device}'")))
        }
    }
}

/// The letter and the bytes of a port's access.
fn width(format: Format) -> (char, u32) {
    match format.size {
        1 => ('b', 1),
        2 => ('w', 2),
        _ => ('l', 4),
    }
}

/// Reads a port. Where no processor has ports, nothing answers.
fn port_read(context: &mut Context<'_>, (format, address): (Format, Number)) -> Result<()> {
    let ((letter, size), port) = (width(format), address.0 as u64 & 0xffff);
    let spaces = context.vm.spaces();
    let ports = spaces.iter().find(|space| space.name() == "I/O");
    let nothing = u64::MAX >> (64 - 8 * size);
    let value = ports.and_then(|ports| ports.read_int(port, size).ok()).unwrap_or(nothing);
    let digits = 2 * size as usize;
    let _ = writeln!(context.out, "port{letter}[0x{port:04x}] = 0x{value:0digits$x}");
    Ok(())
}

/// Writes a port.
fn port_write(context: &mut Context<'_>, (format, address, value): (Format, Number, Number)) -> Result<()> {
    let ((_, size), port) = (width(format), address.0 as u64 & 0xffff);
    let spaces = context.vm.spaces();
    if let Some(ports) = spaces.iter().find(|space| space.name() == "I/O") {
        // As on a real bus, nobody tells that there was nobody.
        let _ = ports.write_int(port, size, value.0 as u64);
    }
    Ok(())
}

fn one_insn_per_tb(context: &mut Context<'_>, (option,): (Option<Word>,)) -> Result<()> {
    let limit = match option.as_ref().map(|option| option.0.as_str()) {
        None | Some("off") => 0,
        Some("on") => 1,
        Some(other) => return Err(failed(error!("unexpected option {other}"))),
    };
    Control::of(context)?.limit_blocks(limit);
    Ok(())
}

monitor::hmp_rows! {
    /// Commands for people.
    HMP {
        "gdbserver" gdbserver, (Option<Word>), "[device]", "start gdbserver on given device (default 'tcp::1234'), stop with 'none'";
        "i" port_read, (Format, Number), "/fmt addr", "I/O port read";
        "o" port_write, (Format, Number, Number), "/fmt addr value", "I/O port write";
        "one-insn-per-tb" one_insn_per_tb, (Option<Word>), "[on|off]", "run emulation with one guest instruction per translation block";
    }
}
