//! What a CPU model has: fixed once a hart exists.

use crate::decode::Decoder;
use crate::extension::{Extension, Extensions, Kind};
use std::sync::Arc;

/// Largest address-translation mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paging {
    /// None: satp is bare.
    Bare,
    /// Sv32 (RV32).
    Sv32,
    /// Sv39.
    Sv39,
    /// Sv48 and below.
    Sv48,
    /// Sv57 and below.
    Sv57,
}

struct Inner {
    model: String,
    xlen: u32,
    extensions: Extensions,
    paging: Paging,
    vendor: [u64; 3],
    decoder: Decoder,
}

/// A CPU model, ready to be used. Clones share it.
#[derive(Clone)]
pub struct Config {
    inner: Arc<Inner>,
    // Copies of what is asked for each instruction.
    rv32: bool,
    compressed: bool,
    extensions: Extensions,
}

impl Config {
    /// A model of the name `model` with these extensions; what they imply is added. `vendor` is mvendorid, marchid, mimpid.
    pub fn new(model: &str, xlen: u32, extensions: Extensions, paging: Paging, vendor: [u64; 3]) -> Config {
        let extensions = conditions(extensions, xlen);
        let decoder = Decoder::new(extensions, xlen);
        let inner = Inner { model: model.to_string(), xlen, extensions, paging, vendor, decoder };
        Config {
            inner: Arc::new(inner),
            rv32: xlen == 32,
            compressed: extensions.has(Extension::Zca),
            extensions,
        }
    }
    /// Model name, e.g. `rv64`.
    pub fn model(&self) -> &str {
        &self.inner.model
    }
    /// 32 or 64.
    #[inline(always)]
    pub fn xlen(&self) -> u32 {
        if self.rv32 { 32 } else { 64 }
    }
    /// Whether XLEN is 32.
    #[inline(always)]
    pub fn rv32(&self) -> bool {
        self.rv32
    }
    /// Whether there are 16-bit instructions.
    #[inline(always)]
    pub fn compressed(&self) -> bool {
        self.compressed
    }
    /// Whether an extension is there.
    #[inline(always)]
    pub fn has(&self, e: Extension) -> bool {
        self.extensions.has(e)
    }
    /// All extensions.
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }
    /// Largest address-translation mode.
    pub fn paging(&self) -> Paging {
        if self.has(Extension::S) && self.has(Extension::Mmu) { self.inner.paging } else { Paging::Bare }
    }
    /// mvendorid, marchid, mimpid.
    pub fn vendor(&self) -> [u64; 3] {
        self.inner.vendor
    }
    /// The decoder.
    #[inline(always)]
    pub fn decoder(&self) -> &Decoder {
        &self.inner.decoder
    }
    /// misa.
    pub fn misa(&self) -> u64 {
        let mxl = if self.rv32 { 1 << 30 } else { 2 << 62 };
        let letters = Extension::ALL.iter().filter(|e| matches!(e.kind(), Kind::Letter | Kind::Hidden));
        let bits = letters.filter(|e| self.has(**e)).map(|e| 1u64 << (e.name().as_bytes()[0] - b'a'));
        bits.fold(mxl, |a, b| a | b)
    }
    /// `riscv,isa-base`.
    pub fn isa_base(&self) -> String {
        format!("rv{}{}", self.xlen(), if self.has(Extension::E) { "e" } else { "i" })
    }
    /// `riscv,isa-extensions`.
    pub fn isa_extensions(&self) -> Vec<&'static str> {
        let shown = |e: &&Extension| !matches!(e.kind(), Kind::Hidden | Kind::Condition) && self.has(**e);
        Extension::ALL.iter().filter(shown).map(|e| e.name()).collect()
    }
    /// `riscv,isa`.
    pub fn isa_string(&self) -> String {
        let all = self.isa_extensions();
        let (letters, names): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|n| n.len() == 1);
        let mut s = format!("rv{}{}", self.xlen(), letters.concat());
        for n in names {
            s.push('_');
            s.push_str(n);
        }
        s
    }
    /// `mmu-type`.
    pub fn mmu_type(&self) -> &'static str {
        match self.paging() {
            Paging::Bare => "riscv,none",
            Paging::Sv32 => "riscv,sv32",
            Paging::Sv39 => "riscv,sv39",
            Paging::Sv48 => "riscv,sv48",
            Paging::Sv57 => "riscv,sv57",
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.inner.model, self.isa_string())
    }
}

/// Adds the conditions that rows name.
fn conditions(e: Extensions, xlen: u32) -> Extensions {
    use Extension::*;
    let _ = xlen;
    e.with(ZfaD, e.has(Zfa) && e.has(D))
        .with(ZcbZbb, e.has(Zcb) && e.has(Zbb))
        .with(ZcbZba, e.has(Zcb) && e.has(Zba))
        .with(ZcbMul, e.has(Zcb) && e.has(Zmmul))
}

/// The model `rv64` without properties.
pub fn rv64() -> Config {
    use Extension::*;
    let e = Extensions::of(&[
        I,
        M,
        A,
        F,
        D,
        C,
        S,
        U,
        Zic64b,
        Zicbom,
        Zicbop,
        Zicboz,
        Ziccamoa,
        Ziccif,
        Zicclsm,
        Ziccrse,
        Zicntr,
        Zicsr,
        Zifencei,
        Zihintntl,
        Zihintpause,
        Zihpm,
        Zmmul,
        Za64rs,
        Zaamo,
        Zalrsc,
        Zawrs,
        Zfa,
        Zca,
        Zcd,
        Zba,
        Zbb,
        Zbc,
        Zbs,
        Shcounterenw,
        Shgatpa,
        Shtvala,
        Shvsatpa,
        Shvstvala,
        Shvstvecd,
        Ssccptr,
        Sscounterenw,
        Sstc,
        Sstvala,
        Sstvecd,
        Ssu64xl,
        Svadu,
        Svvptc,
        Mmu,
        Pmp,
    ]);
    Config::new("rv64", 64, e, Paging::Sv57, [0, 0, 0])
}
