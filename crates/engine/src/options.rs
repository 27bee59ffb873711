//! `-accel tcg,...`.

use crate::symbols::Symbols;
use std::path::PathBuf;

/// How the translating accelerator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of code memory.
    pub code_bytes: usize,
    /// Guest instructions in a block at most; 1 with `one-insn-per-tb=on`.
    pub block_limit: u32,
    /// Come back to the dispatcher after every block (`-d nochain`).
    pub nochain: bool,
    /// Check every executed block against the interpreter.
    pub verify: bool,
    /// Look regularly at what the vCPUs do, for `info jit`.
    pub profile: bool,
    /// Name translated code for `perf` (`perf=map`).
    pub perf_map: bool,
    /// Dump translated code for `perf` (`perf=jitdump`).
    pub perf_dump: bool,
    /// A file with names of guest addresses (`symbols=FILE`).
    pub symbols_file: Option<PathBuf>,
    /// Names of guest addresses.
    pub symbols: Symbols,
    /// Interpret everything (`jit=off`).
    pub interpret: bool,
    /// How often code is interpreted before it is translated.
    pub warmup: u8,
    /// Translate hot paths once more, as regions.
    pub regions: bool,
    /// Run the passes over the blocks (`opt=off` to look for their bugs).
    pub passes: bool,
    /// Where translations are left for the next run, and found.
    pub code_cache: Option<PathBuf>,
    /// Keep other threads off the processors of vCPUs that wait for them.
    pub aside: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            code_bytes: 256 << 20,
            block_limit: 64,
            nochain: false,
            verify: false,
            profile: false,
            perf_map: false,
            perf_dump: false,
            symbols_file: None,
            symbols: Symbols::default(),
            interpret: false,
            warmup: 1,
            regions: true,
            passes: true,
            code_cache: None,
            aside: true,
        }
    }
}

impl Options {
    /// Where this user's translations are left (XDG Base Directory Specification): `$XDG_CACHE_HOME/tinamou`, or `~/.cache/tinamou`. `None` for users
    /// without a home.
    pub fn usual_code_cache() -> Option<PathBuf> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(caches.join("tinamou"))
    }
    /// Sets a property of the accelerator.
    ///
    /// # Errors
    /// A text in QEMU's words for what is unknown or malformed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = || match value {
            "on" | "yes" | "true" | "y" => Ok(true),
            "off" | "no" | "false" | "n" => Ok(false),
            _ => Err(format!("Parameter '{name}' expects 'on' or 'off'")),
        };
        match name {
            "thread" => match value {
                "multi" => {}
                "single" => {
                    return Err("thread=single is not available yet: every vCPU has its own thread".into());
                }
                _ => return Err(format!("Invalid 'thread' setting {value}")),
            },
            "tb-size" => {
                let mib: usize = value
                    .parse()
                    .map_err(|_| format!("Parameter 'tb-size' expects uint32, got '{value}'"))?;
                // Code offsets are 32 bits, and direct jumps reach 2 GiB.
                self.code_bytes =
                    if mib == 0 { Options::default().code_bytes } else { mib.clamp(1, 2047) << 20 };
            }
            "one-insn-per-tb" => self.block_limit = if flag()? { 1 } else { Options::default().block_limit },
            "verify" => {
                self.verify = flag()?;
                self.nochain |= self.verify;
            }
            "profile" => self.profile = flag()?,
            "perf" => match value {
                "map" => (self.perf_map, self.perf_dump) = (true, false),
                "jitdump" => (self.perf_map, self.perf_dump) = (false, true),
                "off" => (self.perf_map, self.perf_dump) = (false, false),
                _ => {
                    return Err(format!("Parameter 'perf' expects 'map', 'jitdump' or 'off', got '{value}'"));
                }
            },
            "symbols" => self.symbols_file = Some(PathBuf::from(value)),
            "warmup" => {
                self.warmup =
                    value.parse().map_err(|_| format!("Parameter 'warmup' expects uint8, got '{value}'"))?;
            }
            "jit" => self.interpret = !flag()?,
            "regions" => self.regions = flag()?,
            "opt" => self.passes = flag()?,
            "aside" => self.aside = flag()?,
            "code-cache" => {
                self.code_cache = match flag() {
                    Ok(true) => Options::usual_code_cache(),
                    Ok(false) => None,
                    Err(_) => {
                        // Who names a place wants to hear that it is none.
                        crate::persist::make_directory(value.as_ref())
                            .map_err(|e| format!("{value}: {}", e.kind()))?;
                        Some(PathBuf::from(value))
                    }
                }
            }
            // Writable and executable mappings are always apart here.
            "split-wx" => {
                flag()?;
            }
            _ => return Err(format!("Property 'tcg-accel.{name}' not found")),
        }
        Ok(())
    }
}
