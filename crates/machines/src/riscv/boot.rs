//! What is in memory when the first hart starts: reset vector, firmware, kernel, initial RAM disk, device tree.
//!
//! Documents: OpenSBI, "FW_DYNAMIC" (the information block); Linux, Documentation/arch/riscv/boot.rst.

use crate::board::Board;
use crate::fdt::Fdt;
use crate::loader::{self, Form, Loaded};
use crate::machine::{Bios, Setup};
use base::{Result, error};
use memory::Contents;
use std::path::{Path, PathBuf};

/// Magic number of the FW_DYNAMIC information block, "OSBI".
const DYNAMIC_MAGIC: u64 = 0x4942_534f;
/// Its version.
const DYNAMIC_VERSION: u64 = 2;
/// The next stage runs in S-mode.
const DYNAMIC_NEXT_S: u64 = 1;
/// Kernels begin at a multiple of this.
const KERNEL_ALIGN: u64 = 2 << 20;
/// The device tree begins at a multiple of this.
const FDT_ALIGN: u64 = 2 << 20;

/// Memory as the loader sees it.
#[derive(Clone, Copy)]
pub struct Layout {
    /// First address of RAM.
    pub ram: u64,
    /// Bytes of RAM.
    pub ram_size: u64,
    /// First address of the boot ROM.
    pub rom: u64,
    /// Width of the harts' registers.
    pub xlen: u32,
}

/// What was loaded, and where it begins.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Where M-mode begins.
    pub start: u64,
    /// Address after the firmware.
    pub firmware_end: u64,
    /// Where the kernel begins; 0 if there is none.
    pub kernel_entry: u64,
    /// Symbols of a kernel that is an ELF file, and of the firmware.
    pub symbols: Vec<loader::Symbol>,
    /// The supervisor execution environment is built in.
    pub builtin: bool,
}

/// Decides which firmware to use.
///
/// # Errors
/// A file was named and is not there.
pub fn choose_firmware(setup: &Setup, notices: &mut Vec<String>) -> Result<Option<PathBuf>> {
    match &setup.bios {
        Bios::None | Bios::Builtin => Ok(None),
        Bios::File(name) => find_file(setup, name)
            .map(Some)
            .ok_or_else(|| error!("Unable to find the RISC-V BIOS \"{name}\"")),
        Bios::Default => {
            let found = [
                "opensbi-riscv64-generic-fw_dynamic.bin",
                "riscv64/opensbi/generic/fw_dynamic.bin",
                "opensbi/generic/fw_dynamic.bin",
                "riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
            ]
            .into_iter()
            .find_map(|name| find_file(setup, name));
            if found.is_none() {
                notices.push("no OpenSBI is installed: using the built-in SBI (-bios builtin)".into());
            }
            Ok(found)
        }
    }
}

/// Looks for a file as it is named, in the directories of `-L`, beside the program and where firmware is installed.
fn find_file(setup: &Setup, name: &str) -> Option<PathBuf> {
    let direct = Path::new(name);
    if direct.is_file() {
        return Some(direct.to_owned());
    }
    if direct.is_absolute() {
        return None;
    }
    let places = setup.firmware_directories.iter().cloned().chain(installed_firmware());
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

/// The directories where firmware is looked for after those of `-L`: what `TINAMOU_FIRMWARE_PATH` lists, else beside the
/// program and where it is installed.
pub fn installed_firmware() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("TINAMOU_FIRMWARE_PATH") {
        return std::env::split_paths(&path).filter(|p| !p.as_os_str().is_empty()).collect();
    }
    let mut places = Vec::new();
    if let Ok(program) = std::env::current_exe()
        && let Some(beside) = program.parent()
    {
        places.extend([beside.to_owned(), beside.join("../share/tinamou"), beside.join("../share/qemu")]);
    }
    places.extend(["/usr/local/share/qemu", "/usr/share/qemu", "/usr/lib"].map(PathBuf::from));
    places
}

impl Boot {
    /// Refuses blobs that overlap. If one of them is firmware, the user may not have wanted any.
    ///
    /// # Errors
    /// Two overlap.
    pub fn check(&self, board: &Board) -> Result<()> {
        board.roms.check().map_err(|error| {
            if self.firmware_end == self.start {
                return error;
            }
            let hint = error.hint_text().unwrap_or_default().to_owned();
            error.hint(format!("{hint}\n\nA program that is to run without firmware wants -bios none."))
        })
    }

    /// Loads the firmware to the start of memory.
    ///
    /// # Errors
    /// It is not there or does not fit.
    pub fn firmware(board: &mut Board, setup: &Setup, layout: Layout) -> Result<Boot> {
        let mut boot = Boot { start: layout.ram, firmware_end: layout.ram, ..Boot::default() };
        let path = choose_firmware(setup, &mut board.notices)?;
        boot.builtin = path.is_none() && setup.bios != Bios::None;
        if boot.builtin {
            // The kernel lies where it does with firmware below it.
            boot.firmware_end = layout.ram + 1;
        }
        if let Some(path) = path {
            let loaded = loader::load(&path, layout.ram, layout.ram_size)
                .map_err(|_| error!("could not load firmware '{}'", path.display()))?;
            boot.start = loaded.entry;
            boot.firmware_end = loaded.high;
            boot.take(board, loaded);
        }
        Ok(boot)
    }

    fn take(&mut self, board: &mut Board, loaded: Loaded) {
        for blob in loaded.segments {
            let contents = match blob.contents {
                Contents::Bytes(bytes) if (bytes.len() as u64) < blob.size => {
                    let mut bytes = bytes.to_vec();
                    bytes.resize(usize::try_from(blob.size).unwrap_or(bytes.len()), 0);
                    bytes.into()
                }
                contents => contents,
            };
            board.roms.add(&blob.name, &board.memory, blob.addr, contents);
        }
        self.symbols.extend(loaded.symbols);
    }

    /// Loads the kernel and the initial RAM disk, and says so in the device tree.
    ///
    /// # Errors
    /// A file is not there, is damaged or does not fit.
    pub fn kernel(&mut self, board: &mut Board, setup: &Setup, layout: Layout) -> Result<()> {
        let Some(path) = &setup.kernel else { return Ok(()) };
        let at = if self.firmware_end == layout.ram {
            layout.ram
        } else {
            self.firmware_end.next_multiple_of(KERNEL_ALIGN)
        };
        let end = layout.ram.saturating_add(layout.ram_size);
        let fail =
            |e: loader::LoadError| error!("could not load kernel '{}'", path.display()).because(e.reason);
        let loaded = loader::load(path, at, end.saturating_sub(at)).map_err(fail)?;
        let low = if matches!(loaded.form, Form::Elf32 | Form::Elf64) { loaded.low } else { at };
        self.kernel_entry = loaded.entry;
        self.take(board, loaded);
        let Some(path) = &setup.initrd else { return Ok(()) };
        let at = loader::initrd_address(low, layout.ram_size);
        let fail =
            |e: loader::LoadError| error!("could not load ramdisk '{}'", path.display()).because(e.reason);
        let blob = loader::load_initrd(path, at, end.saturating_sub(at)).map_err(fail)?;
        if blob.contents.is_empty() {
            return Ok(());
        }
        let chosen = board.describe("/chosen");
        chosen.prop_u64("linux,initrd-start", at).prop_u64("linux,initrd-end", at + blob.size);
        board.roms.add(&blob.name, &board.memory, blob.addr, blob.contents);
        Ok(())
    }

    /// Writes the command line, and into a tree of our own a random seed.
    pub fn chosen(board: &mut Board, setup: &Setup, stdout: Option<&str>) {
        let chosen = board.describe("/chosen");
        if let Some(path) = stdout {
            chosen.prop_str("stdout-path", path);
        }
        if let Some(line) = setup.append.as_deref().filter(|l| !l.is_empty()) {
            chosen.prop_str("bootargs", line);
        }
        if setup.dtb.is_none() {
            chosen.prop("rng-seed", random_seed(setup.seed));
        }
    }

    /// Puts the device tree at the end of memory; returns its address.
    ///
    /// # Errors
    /// Memory is too small.
    pub fn device_tree(board: &mut Board, layout: Layout) -> Result<u64> {
        let dtb = board.fdt.to_dtb();
        let end = layout.ram.saturating_add(layout.ram_size);
        let at = end.saturating_sub(dtb.len() as u64) & !(FDT_ALIGN - 1);
        if at < layout.ram {
            return Err(error!("not enough space for DTB after kernel/initrd"));
        }
        board.roms.add("fdt", &board.memory, at, dtb);
        Ok(at)
    }

    /// Writes the reset vector and the information for FW_DYNAMIC into the boot ROM.
    pub fn reset_vector(&self, board: &Board, layout: Layout, fdt: u64) {
        // t0 = the table; a0 = hart id; a1 = device tree; a2 = information block; jump to the start.
        let (load_a1, load_t0) = match layout.xlen {
            32 => (0x0202_a583, 0x0182_a283),
            _ => (0x0202_b583, 0x0182_b283),
        };
        let code: [u32; 10] = [
            0x0000_0297, // auipc t0, 0
            0x0282_8613, // addi  a2, t0, 40
            0xf140_2573, // csrr  a0, mhartid
            load_a1,     // ld    a1, 32(t0)
            load_t0,     // ld    t0, 24(t0)
            0x0002_8067, // jr    t0
            self.start as u32,
            (self.start >> 32) as u32,
            fdt as u32,
            (fdt >> 32) as u32,
        ];
        let code: Vec<u8> = code.iter().flat_map(|w| w.to_le_bytes()).collect();
        let words = [DYNAMIC_MAGIC, DYNAMIC_VERSION, self.kernel_entry, DYNAMIC_NEXT_S, 0, 0];
        let info: Vec<u8> = match layout.xlen {
            32 => words.iter().flat_map(|w| (*w as u32).to_le_bytes()).collect(),
            _ => words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        };
        let at = layout.rom + code.len() as u64;
        board.roms.add("mrom.reset", &board.memory, layout.rom, code);
        board.roms.add("mrom.finfo", &board.memory, at, info);
    }
}

/// Reads the device tree of `-dtb`.
///
/// # Errors
/// The file is not there or is no device tree.
pub fn load_dtb(path: &Path) -> Result<Fdt> {
    Fdt::load(path).map_err(|e| {
        // The reason first, then what it means, each a line of its own as the reference has it.
        let first = e.strip_suffix(": No such file or directory").unwrap_or(&e);
        error!("{first}\nload_device_tree() failed")
    })
}

fn random_seed(fixed: Option<u64>) -> Vec<u8> {
    let mut seed = vec![0u8; 32];
    match fixed {
        // xorshift64*: any well-mixed function of the number will do.
        Some(fixed) => {
            let mut x = fixed | 1;
            for chunk in seed.chunks_mut(8) {
                x ^= x >> 12;
                x ^= x << 25;
                x ^= x >> 27;
                let word = x.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
        }
        None => {
            let mut done = 0;
            while done < seed.len() {
                match rustix::rand::getrandom(&mut seed[done..], rustix::rand::GetRandomFlags::empty()) {
                    Ok(n) => done += n,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
    }
    seed
}
