//! The log items of `-d` that concern translation and execution: in_asm, op, op_opt, out_asm, exec, cpu.

use base::log::{self, LogMask};
use cpu::Guest;
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};
use ir::Block;
use std::fmt::Write;

base::trace_points! {
    /// What is to be traced of the translator.
    pub mod points "translate" {
        /// A block has been translated.
        BLOCK "block",
        /// A region has been translated.
        REGION "region",
    }
}

/// One translation, as the log shows it.
pub(crate) struct Trace {
    pc: u64,
}

impl Trace {
    /// Whether any item wants to show translations or their execution, be it once.
    pub(crate) fn any() -> bool {
        let execution = LogMask::EXEC | LogMask::CPU;
        log::enabled(LogMask::IN_ASM | LogMask::OP | LogMask::OP_OPT | LogMask::OUT_ASM | execution)
    }
    /// The trace of a block at guest address `pc`, if any item wants it.
    pub(crate) fn of(pc: u64) -> Option<Trace> {
        let any = LogMask::IN_ASM | LogMask::OP | LogMask::OP_OPT | LogMask::OUT_ASM;
        (log::enabled(any) && log::in_filter(pc)).then_some(Trace { pc })
    }
    /// The page, with what follows it, and the block that was built from it.
    pub(crate) fn built<G: Guest>(&self, config: &G::Config, page: &[u8], block: &Block) {
        if log::enabled(LogMask::IN_ASM) {
            let mut text = String::from("----------------\nIN: \n");
            for i in block.insts.iter().filter(|i| i.op == ir::Op::Insn) {
                let pc = (self.pc & !4095).wrapping_add(i.imm);
                let bytes = page.get(i.imm as usize..).unwrap_or_default();
                let _ = writeln!(text, "0x{pc:08x}:  {}", G::disassemble(config, pc, bytes).0);
            }
            log::write(format_args!("{text}\n"));
        }
        if log::enabled(LogMask::OP) {
            log::write(format_args!("OP:\n{}\n", block));
        }
    }
    /// The block after the passes.
    pub(crate) fn optimised(&self, block: &Block) {
        if log::enabled(LogMask::OP_OPT) {
            log::write(format_args!("OP after optimization:\n{}\n", block));
        }
    }
    /// The host code.
    pub(crate) fn emitted(&self, code: &host::Code, placement: &host::Placement<'_>) {
        if log::enabled(LogMask::OUT_ASM) {
            let mut text = format!("OUT: [size={}]\n  -- guest addr 0x{:016x}\n", code.bytes.len(), self.pc);
            let (usual, apart) = code.bytes.split_at(code.hot as usize);
            disassemble_host(usual, placement.base, &mut text);
            text += "  -- apart\n";
            disassemble_host(apart, placement.apart, &mut text);
            log::write(format_args!("{text}\n"));
        }
    }
}

fn disassemble_host(code: &[u8], base: u64, text: &mut String) {
    let mut decoder = Decoder::with_ip(64, code, base, DecoderOptions::NONE);
    let mut formatter = NasmFormatter::new();
    let mut line = String::new();
    while decoder.can_decode() {
        let insn = decoder.decode();
        line.clear();
        formatter.format(&insn, &mut line);
        let at = (insn.ip() - base) as usize;
        let bytes =
            code[at..at + insn.len()].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "0x{:x}:  {bytes:<24} {line}", insn.ip());
    }
}

/// Before a block is entered from the dispatcher: items exec and cpu.
pub(crate) fn before_block<G: Guest>(g: &G, code: u64) {
    if log::enabled(LogMask::EXEC | LogMask::CPU) && log::in_filter(g.pc()) {
        write_block(g, code);
    }
}

#[cold]
fn write_block<G: Guest>(g: &G, code: u64) {
    if log::enabled(LogMask::EXEC) {
        let (index, pc, mode) = (g.index(), g.pc(), g.mode());
        log::write(format_args!("Trace {index}: 0x{code:x} [00000000/{pc:016x}/{mode:08x}/00000000] \n"));
    }
    if log::enabled(LogMask::CPU) {
        log::write(format_args!("{}", g.dump(log::enabled(LogMask::FPU))));
    }
}
