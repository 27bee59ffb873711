//! CPU models and their properties: `-cpu MODEL[,PROPERTY=VALUE...]`, with QEMU's names, values and error texts.

use crate::config::{Config, Paging, Parts};
use crate::extension::{Extension, Extensions, Kind};
use std::fmt;

/// Why a CPU cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuError {
    /// There is no such model.
    UnknownModel(String),
    /// The text is not a list of `key=value`.
    NotKeyValue(String),
    /// A property cannot be set.
    Property {
        /// Model name.
        model: String,
        /// Property and value as they were given.
        given: String,
        /// Why not.
        reason: String,
    },
    /// The extensions do not go together.
    Conflict(String),
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuError::UnknownModel(m) => write!(f, "unable to find CPU model '{m}'"),
            CpuError::NotKeyValue(t) => write!(f, "Expected key=value format, found {t}."),
            CpuError::Property { model, given, reason } => {
                write!(f, "can't apply global {model}-riscv-cpu.{given}: {reason}")
            }
            CpuError::Conflict(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CpuError {}

/// A model before its properties.
struct Model {
    name: &'static str,
    xlen: u32,
    extensions: Extensions,
    paging: Paging,
    /// A vendor's CPU, to which nothing can be added.
    fixed: bool,
    /// mvendorid.
    vendor: u64,
    /// Shows the parts of M, A, C, and what version 1.12 of the Privileged ISA made names for.
    modern: bool,
}

use Extension::*;

/// What the generic models begin with.
const GENERIC: Extensions = Extensions::of(&[
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
    Ziccrse,
    Zicntr,
    Zicsr,
    Zifencei,
    Zihintntl,
    Zihintpause,
    Zihpm,
    Zawrs,
    Zfa,
    Zba,
    Zbb,
    Zbc,
    Zbs,
    Sstc,
    Svadu,
    Svvptc,
    Mmu,
    Pmp,
]);
/// What follows from the version of the Privileged ISA.
const MODERN: Extensions = Extensions::of(&[
    Ziccamoa,
    Ziccif,
    Zicclsm,
    Za64rs,
    Shcounterenw,
    Shgatpa,
    Shtvala,
    Shvsatpa,
    Shvstvala,
    Shvstvecd,
    Ssccptr,
    Sscounterenw,
    Sstvala,
    Sstvecd,
    Ssu64xl,
]);
/// Everything that exists here.
const MAXIMUM: Extensions = GENERIC.union(Extensions::of(&[
    B, Zicond, Zimop, Zacas, Zfh, Zfhmin, Zcb, Zcmop, Zbkb, Zbkc, Zbkx, Zkt, Svinval, Svnapot, Svpbmt,
]));
const RVA22U64: Extensions = Extensions::of(&[
    I,
    M,
    A,
    F,
    D,
    C,
    B,
    U,
    Zic64b,
    Zicbom,
    Zicbop,
    Zicboz,
    Ziccrse,
    Zicntr,
    Zicsr,
    Zihintpause,
    Zihpm,
    Zfhmin,
    Zba,
    Zbb,
    Zbs,
    Zkt,
]);
const RVA22S64: Extensions = RVA22U64.union(Extensions::of(&[S, Zifencei, Svade, Svinval, Svpbmt, Mmu, Pmp]));
const SIFIVE_U: Extensions =
    Extensions::of(&[I, M, A, F, D, C, S, U, Zicntr, Zicsr, Zifencei, Zihpm, Mmu, Pmp]);
const THEAD_C906: Extensions = SIFIVE_U
    .union(Extensions::of(&[Zfh, Zfhmin, Ziccamoa, Ziccif, Zicclsm, Ziccrse, Ssccptr]))
    .union(Extensions::of(&[Xtheadba, Xtheadbb, Xtheadbs, Xtheadcmo, Xtheadcondmov]))
    .union(Extensions::of(&[Xtheadfmemidx, Xtheadmac, Xtheadmemidx, Xtheadmempair, Xtheadsync]));
/// T-Head's mvendorid.
const THEAD: u64 = 0x5b7;
const SIFIVE_E: Extensions = Extensions::of(&[I, M, A, C, U, Zicntr, Zicsr, Zifencei, Zihpm, Pmp]);

const fn model(
    name: &'static str,
    xlen: u32,
    extensions: Extensions,
    paging: Paging,
    fixed: bool,
    modern: bool,
) -> Model {
    Model { name, xlen, extensions, paging, fixed, vendor: 0, modern }
}

/// The models, by name.
const MODELS: &[Model] = &[
    model("max", 64, MAXIMUM, Paging::Sv57, false, true),
    model("max32", 32, MAXIMUM, Paging::Sv32, false, true),
    model("rv32", 32, GENERIC, Paging::Sv32, false, true),
    model("rv32i", 32, Extensions::of(&[I]), Paging::Bare, false, false),
    model("rv64", 64, GENERIC, Paging::Sv57, false, true),
    model("rv64i", 64, Extensions::of(&[I]), Paging::Bare, false, false),
    model("rva22s64", 64, RVA22S64, Paging::Sv39, false, true),
    model("rva22u64", 64, RVA22U64, Paging::Bare, false, true),
    model("shakti-c", 64, SIFIVE_U, Paging::Sv39, true, false),
    model("sifive-e31", 32, SIFIVE_E, Paging::Bare, true, false),
    model("sifive-e51", 64, SIFIVE_E, Paging::Bare, true, false),
    model("sifive-u34", 32, SIFIVE_U, Paging::Sv32, true, false),
    model("sifive-u54", 64, SIFIVE_U, Paging::Sv39, true, false),
    Model { vendor: THEAD, ..model("thead-c906", 64, THEAD_C906, Paging::Sv39, true, false) },
];

/// Names of the models, sorted.
pub fn models() -> Vec<&'static str> {
    MODELS.iter().map(|m| m.name).collect()
}

/// Extensions that QEMU knows by these names and that do not exist here: they can be switched off only.
const ABSENT: &[&str] = &[
    "e",
    "h",
    "v",
    "g",
    "rva22s64",
    "rva22u64",
    "rva23s64",
    "rva23u64",
    "sha",
    "smaia",
    "smcdeleg",
    "smcntrpmf",
    "smcsrind",
    "smctr",
    "smdbltrp",
    "smepmp",
    "smmpm",
    "smnpm",
    "smrnmi",
    "smstateen",
    "ssaia",
    "ssccfg",
    "sscofpmf",
    "sscsrind",
    "ssctr",
    "ssdbltrp",
    "ssnpm",
    "sspm",
    "ssstateen",
    "supm",
    "x-svukte",
    "xtheadfmv",
    "xventanacondops",
    "zabha",
    "zama16b",
    "zce",
    "zcmp",
    "zcmt",
    "zdinx",
    "zfbfmin",
    "zfinx",
    "zhinx",
    "zhinxmin",
    "zicfilp",
    "zicfiss",
    "zk",
    "zkn",
    "zknd",
    "zkne",
    "zknh",
    "zkr",
    "zks",
    "zksed",
    "zksh",
    "ztso",
    "zvbb",
    "zvbc",
    "zve32f",
    "zve32x",
    "zve64d",
    "zve64f",
    "zve64x",
    "zvfbfmin",
    "zvfbfwma",
    "zvfh",
    "zvfhmin",
    "zvkb",
    "zvkg",
    "zvkn",
    "zvknc",
    "zvkned",
    "zvkng",
    "zvknha",
    "zvknhb",
    "zvks",
    "zvksc",
    "zvksed",
    "zvksg",
    "zvksh",
    "zvkt",
    "sv64",
    "x-misa-w",
    "rvv_ta_all_1s",
    "rvv_ma_all_1s",
    "rvv_vl_half_avl",
    "short-isa-string",
];
/// Properties with a value that changes nothing here.
const IGNORED: &[&str] = &[
    "vlen",
    "elen",
    "vext_spec",
    "priv_spec",
    "pmu-mask",
    "pmu-num",
    "debug",
    "rnmi-interrupt-vector",
    "rnmi-exception-vector",
];

fn truth(v: &str) -> Option<bool> {
    match v {
        "on" | "true" | "yes" | "y" => Some(true),
        "off" | "false" | "no" | "n" => Some(false),
        _ => None,
    }
}
fn number(v: &str) -> Option<u64> {
    match v.strip_prefix("0x").or_else(|| v.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => v.parse().ok(),
    }
}

/// What the user set, besides the model.
#[derive(Default)]
struct Choice {
    on: Extensions,
    off: Extensions,
    paging: [Option<bool>; 4],
    vendor: [u64; 3],
    reset_vector: Option<u64>,
}

impl Choice {
    fn set(&mut self, m: &Model, key: &str, value: &str) -> Result<(), String> {
        let boolean = || truth(value).ok_or_else(|| format!("Parameter '{key}' expects 'on' or 'off'"));
        let numeric = || number(value).ok_or_else(|| format!("Parameter '{key}' expects uint64"));
        let ratio = ["sv32", "sv39", "sv48", "sv57"].iter().position(|n| *n == key);
        if let Some(n) = ratio {
            self.paging[n] = Some(boolean()?);
            return Ok(());
        }
        match key {
            "mvendorid" => self.vendor[0] = numeric()?,
            "marchid" => self.vendor[1] = numeric()?,
            "mimpid" => self.vendor[2] = numeric()?,
            "resetvec" => self.reset_vector = Some(numeric()?),
            "cbom_blocksize" | "cbop_blocksize" | "cboz_blocksize" => {
                if numeric()? != 64 {
                    return Err(format!("{key} can only be 64"));
                }
            }
            "g" if boolean()? => {
                for e in [I, M, A, F, D, Zicsr, Zifencei] {
                    self.put(e, true);
                }
            }
            _ if IGNORED.contains(&key) => {}
            _ if ABSENT.contains(&key) => {
                if boolean()? {
                    return Err(format!("extension '{key}' is not implemented"));
                }
            }
            _ => {
                let e = Extensions::named(&key.to_lowercase());
                let known = |e: &Extension| match e.kind() {
                    Kind::Letter | Kind::Hidden | Kind::Property => true,
                    Kind::Condition => matches!(e, Mmu | Pmp),
                    Kind::Always => false,
                };
                let Some(e) = e.filter(known) else {
                    return Err(format!("Property '{}-riscv-cpu.{key}' not found", m.name));
                };
                let on = boolean()?;
                if on && m.fixed && !m.extensions.has(e) {
                    return Err(format!("'{}' CPU does not allow enabling extensions", m.name));
                }
                self.put(e, on);
            }
        }
        Ok(())
    }
    fn put(&mut self, e: Extension, on: bool) {
        self.on = self.on.with(e, on);
        self.off = self.off.with(e, !on);
    }
}

/// What one extension brings along, unless it was switched off.
const IMPLIES: &[(Extension, &[Extension])] = &[
    (D, &[F]),
    (Zfa, &[F]),
    (Zfh, &[F, Zfhmin]),
    (Zfhmin, &[F]),
    (F, &[Zicsr]),
    (Zicntr, &[Zicsr]),
    (Zihpm, &[Zicsr]),
    (B, &[Zba, Zbb, Zbs]),
    (Zcb, &[Zca]),
    (Zcf, &[Zca, F]),
    (Zcd, &[Zca, D]),
];

/// A CPU from what `-cpu` was given.
pub fn parse_cpu(text: &str) -> Result<Config, CpuError> {
    let mut words = text.split(',');
    let name = words.next().unwrap_or_default();
    let Some(m) = MODELS.iter().find(|m| m.name == name) else {
        return Err(CpuError::UnknownModel(name.to_string()));
    };
    let mut choice = Choice::default();
    let mut pairs = Vec::new();
    for w in words {
        let Some(pair) = w.split_once('=') else { return Err(CpuError::NotKeyValue(w.to_string())) };
        pairs.push(pair);
    }
    for (key, value) in pairs {
        choice.set(m, key, value).map_err(|reason| CpuError::Property {
            model: m.name.to_string(),
            given: format!("{key}={value}"),
            reason,
        })?;
    }
    realize(m, &choice)
}

fn realize(m: &Model, c: &Choice) -> Result<Config, CpuError> {
    let mut warnings = Vec::new();
    let mut e = Extensions((m.extensions.0 | c.on.0) & !c.off.0);
    // Implications until nothing changes.
    loop {
        let before = e;
        for (from, to) in IMPLIES {
            if e.has(*from) {
                e.0 |= Extensions::of(to).0 & !c.off.0;
            }
        }
        if e == before {
            break;
        }
    }
    if e.has(B) {
        for part in [Zba, Zbb, Zbs] {
            if c.off.has(part) {
                warnings.push(format!("RVB mandates disabled extension {}", part.name()));
            }
        }
    }
    check(m, e)?;
    // What M, A and C consist of.
    let zcf = m.xlen == 32 && e.has(F);
    let parts = [
        (Zmmul, M, true),
        (Zaamo, A, true),
        (Zalrsc, A, true),
        (Zca, C, true),
        (Zcd, C, e.has(D)),
        (Zcf, C, zcf),
    ];
    let mut contained = Extensions::default();
    for (part, whole, when) in parts {
        if e.has(whole) && when && !c.off.has(part) {
            contained = contained.with(part, true);
        }
    }
    let mut shown = e;
    if m.modern {
        shown = shown.union(contained).union(MODERN);
    }
    let all = shown.union(contained);
    if (all.has(Zcf) || all.has(Zcd) || all.has(Zcb)) && !all.has(Zca) {
        return conflict("Zcf/Zcd/Zcb/Zcmp/Zcmt extensions require Zca extension");
    }
    if all.has(Zcmop) && !all.has(Zca) {
        return conflict("Zcmop extensions require Zca");
    }
    let paging = paging(m, c, &mut warnings);
    if m.vendor == THEAD {
        // Such processors keep to version 1.11 of the Privileged ISA, and Zfa is younger.
        let hart = format!("{:#018x}", 0);
        warnings.push(format!(
            "disabling zfa extension for hart {hart} because privilege spec version does not match"
        ));
    }
    Ok(Config::new(Parts {
        model: m.name.to_string(),
        xlen: m.xlen,
        shown,
        contained,
        paging,
        vendor: if c.vendor[0] == 0 { [m.vendor, c.vendor[1], c.vendor[2]] } else { c.vendor },
        reset_vector: c.reset_vector.unwrap_or(0x1000),
        warnings,
    }))
}

fn conflict<T>(text: &str) -> Result<T, CpuError> {
    Err(CpuError::Conflict(text.to_string()))
}

/// Refuses what does not go together, in QEMU's words.
fn check(m: &Model, e: Extensions) -> Result<(), CpuError> {
    let rules: [(bool, &str); 8] = [
        (!e.has(I), "Either I or E extension must be set"),
        (e.has(S) && !e.has(U), "Setting S extension without U extension is illegal"),
        (e.has(F) && !e.has(Zicsr), "F extension requires Zicsr"),
        (e.has(Zacas) && !e.has(A), "Zacas extension requires A extension"),
        (e.has(Zawrs) && !e.has(A), "Zawrs extension requires A extension"),
        (e.has(Zfa) && !e.has(F), "Zfa extension requires F extension"),
        (e.has(D) && !e.has(F), "D extension requires F extension"),
        (e.has(Zcf) && m.xlen == 64, "Zcf extension is only relevant to RV32"),
    ];
    match rules.iter().find(|(bad, _)| *bad) {
        Some((_, text)) => conflict(text),
        None => Ok(()),
    }
}

/// The largest mode: what was switched on, else the model's, below what was switched off.
fn paging(m: &Model, c: &Choice, warnings: &mut Vec<String>) -> Paging {
    let modes = [Paging::Sv32, Paging::Sv39, Paging::Sv48, Paging::Sv57];
    let of_xlen = |p: Paging| (p == Paging::Sv32) == (m.xlen == 32);
    let on = (0..4).rev().find(|n| c.paging[*n] == Some(true) && of_xlen(modes[*n]));
    let chosen = match on {
        Some(n) => modes[n],
        None => {
            let lowest_off = (0..4).find(|n| c.paging[*n] == Some(false) && of_xlen(modes[*n]));
            let below = |p: Paging| lowest_off.is_none_or(|n| p < modes[n]) && p <= m.paging && of_xlen(p);
            modes.into_iter().rev().find(|p| below(*p)).unwrap_or(Paging::Bare)
        }
    };
    if chosen == Paging::Bare
        && m.paging == Paging::Bare
        && !m.fixed
        && m.extensions.0 == Extensions::of(&[I]).0
    {
        warnings.push("No satp mode set. Defaulting to 'bare'".to_string());
    }
    chosen
}

#[cfg(test)]
#[path = "models_test.rs"]
mod test;
