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
    /// As the ISA string shows it; more may be decoded, where one extension contains another.
    shown: Extensions,
    paging: Paging,
    vendor: [u64; 3],
    reset_vector: u64,
    warnings: Vec<String>,
    decoder: Decoder,
}

/// What the decoding of an instruction depends on.
#[derive(Clone, Copy, Debug)]
pub struct Isa {
    rv32: bool,
    extensions: Extensions,
}

impl Isa {
    /// 32 or 64.
    #[inline(always)]
    pub fn xlen(self) -> u32 {
        if self.rv32 { 32 } else { 64 }
    }
    /// Whether XLEN is 32.
    #[inline(always)]
    pub fn rv32(self) -> bool {
        self.rv32
    }
    /// Whether there are 16-bit instructions.
    #[inline(always)]
    pub fn compressed(self) -> bool {
        self.has(Extension::Zca)
    }
    /// Whether an extension is there.
    #[inline(always)]
    pub fn has(self, e: Extension) -> bool {
        self.extensions.has(e)
    }
}

/// A CPU model, ready to be used. Clones share it.
#[derive(Clone)]
pub struct Config {
    inner: Arc<Inner>,
    isa: Isa,
}

/// Everything that makes one model another.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let i = &*self.inner;
        write!(
            f,
            "{} {:?} {:?} {:?} {:?} {:#x}",
            i.model, self.isa, i.shown, i.paging, i.vendor, i.reset_vector
        )
    }
}

/// What a [`Config`] is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Model name.
    pub model: String,
    /// 32 or 64.
    pub xlen: u32,
    /// What the ISA string shows.
    pub shown: Extensions,
    /// What is there besides.
    pub contained: Extensions,
    /// Largest address-translation mode.
    pub paging: Paging,
    /// mvendorid, marchid, mimpid.
    pub vendor: [u64; 3],
    /// Where the hart begins.
    pub reset_vector: u64,
    /// What the user should be told.
    pub warnings: Vec<String>,
}

impl Config {
    /// A model of these parts.
    pub fn new(p: Parts) -> Config {
        let extensions = conditions(p.shown.union(p.contained));
        let decoder = Decoder::new(extensions, p.xlen);
        let inner = Inner {
            model: p.model,
            shown: p.shown,
            paging: p.paging,
            vendor: p.vendor,
            reset_vector: p.reset_vector,
            warnings: p.warnings,
            decoder,
        };
        Config { inner: Arc::new(inner), isa: Isa { rv32: p.xlen == 32, extensions } }
    }
    /// The model with more extensions, which the machine brings.
    #[must_use]
    pub fn with(&self, more: Extensions) -> Config {
        let i = &*self.inner;
        Config::new(Parts {
            model: i.model.clone(),
            xlen: self.xlen(),
            shown: i.shown.union(more),
            contained: self.isa.extensions,
            paging: i.paging,
            vendor: i.vendor,
            reset_vector: i.reset_vector,
            warnings: i.warnings.clone(),
        })
    }
    /// What the user should be told about the model.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }
    /// Where harts begin (property `resetvec`).
    pub fn reset_vector(&self) -> u64 {
        self.inner.reset_vector
    }
    /// Model name, e.g. `rv64`.
    pub fn model(&self) -> &str {
        &self.inner.model
    }
    /// What decoding depends on.
    #[inline(always)]
    pub fn isa(&self) -> Isa {
        self.isa
    }
    /// 32 or 64.
    #[inline(always)]
    pub fn xlen(&self) -> u32 {
        self.isa.xlen()
    }
    /// Whether XLEN is 32.
    #[inline(always)]
    pub fn rv32(&self) -> bool {
        self.isa.rv32
    }
    /// Whether there are 16-bit instructions.
    #[inline(always)]
    pub fn compressed(&self) -> bool {
        self.isa.compressed()
    }
    /// Whether an extension is there.
    #[inline(always)]
    pub fn has(&self, e: Extension) -> bool {
        self.isa.has(e)
    }
    /// All extensions.
    pub fn extensions(&self) -> Extensions {
        self.isa.extensions
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
        let mxl = if self.rv32() { 1 << 30 } else { 2 << 62 };
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
        let shown =
            |e: &&Extension| !matches!(e.kind(), Kind::Hidden | Kind::Condition) && self.inner.shown.has(**e);
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
        match self.inner.paging {
            Paging::Bare => "riscv,none",
            Paging::Sv32 => "riscv,sv32",
            Paging::Sv39 => "riscv,sv39",
            Paging::Sv48 => "riscv,sv48",
            Paging::Sv57 => "riscv,sv57",
        }
    }
}

/// Adds the conditions that rows name.
fn conditions(e: Extensions) -> Extensions {
    use Extension::*;
    e.with(ZbbOrZbkb, e.has(Zbb) || e.has(Zbkb))
        .with(ZbcOrZbkc, e.has(Zbc) || e.has(Zbkc))
        .with(ZfaD, e.has(Zfa) && e.has(D))
        .with(ZfaH, e.has(Zfa) && e.has(Zfh))
        .with(ZfhminD, e.has(Zfhmin) && e.has(D))
        .with(ZcbZbb, e.has(Zcb) && e.has(Zbb))
        .with(ZcbZba, e.has(Zcb) && e.has(Zba))
        .with(ZcbMul, e.has(Zcb) && e.has(Zmmul))
}

/// The model `rv64` without properties.
pub fn rv64() -> Config {
    crate::models::parse_cpu("rv64").expect("the default model exists")
}
