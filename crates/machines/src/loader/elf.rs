//! ELF executables: the segments to load, the entry point, the symbols.
//!
//! System V ABI, chapters 4 (header, symbols) and 5 (program loading); RISC-V ELF psABI.

use object_file::LittleEndian;
use object_file::elf::{self, FileHeader32, FileHeader64};
use object_file::read::elf::{FileHeader, ProgramHeader, Sym};

use super::{Blob, Form, Loaded};

/// A named address of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, without the version.
    pub name: String,
    /// Its (virtual) address.
    pub address: u64,
    /// Its size in bytes, 0 if unknown.
    pub size: u64,
    /// Whether it is a function.
    pub function: bool,
}

pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

pub(super) fn load(name: &str, bytes: &[u8]) -> Result<Loaded, String> {
    let ident = |index: usize| bytes.get(index).copied().ok_or("ELF file ends within its header");
    let (class, data) = (ident(4)?, ident(5)?);
    if data != elf::ELFDATA2LSB {
        return Err(format!("ELF file is not little-endian (data encoding {data})"));
    }
    match class {
        elf::ELFCLASS32 => load_class::<FileHeader32<LittleEndian>>(name, bytes, Form::Elf32),
        elf::ELFCLASS64 => load_class::<FileHeader64<LittleEndian>>(name, bytes, Form::Elf64),
        _ => Err(format!("ELF file has unknown class {class}")),
    }
}

fn load_class<H: FileHeader<Endian = LittleEndian>>(
    name: &str,
    bytes: &[u8],
    form: Form,
) -> Result<Loaded, String> {
    let endian = LittleEndian;
    let damaged = |what: &str, error: object_file::read::Error| format!("{what}: {error}");
    let header = H::parse(bytes).map_err(|error| damaged("ELF header is damaged", error))?;
    let machine = header.e_machine(endian);
    if machine != elf::EM_RISCV {
        return Err(format!("ELF file is for another machine ({machine}, RISC-V is {})", elf::EM_RISCV));
    }
    let kind = header.e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Err(format!("ELF file is not executable (type {kind})"));
    }
    let headers = header
        .program_headers(endian, bytes)
        .map_err(|error| damaged("ELF program headers are damaged", error))?;

    let mut segments = Vec::new();
    let linked: u64 = header.e_entry(endian).into();
    let mut entry = linked;
    let (mut low, mut high) = (u64::MAX, 0);
    // Segments of a sound file share little of it; a hostile one could have each of thousands of
    // headers load the whole file.
    let mut budget = 2 * bytes.len();
    for (index, header) in headers.iter().enumerate() {
        let memory_size: u64 = header.p_memsz(endian).into();
        if header.p_type(endian) != elf::PT_LOAD || memory_size == 0 {
            continue;
        }
        let (physical, file_size): (u64, u64) =
            (header.p_paddr(endian).into(), header.p_filesz(endian).into());
        let segment = |reason: &str| format!("ELF program header segment {index} {reason}");
        let data = header.data(endian, bytes).map_err(|()| segment("lies beyond the end of the file"))?;
        if file_size > memory_size {
            return Err(segment("has more bytes in the file than in memory"));
        }
        let end =
            physical.checked_add(memory_size).ok_or_else(|| segment("wraps round the address space"))?;
        budget = budget.checked_sub(data.len()).ok_or("ELF segments are larger than the file")?;
        low = low.min(physical);
        high = high.max(end);
        // A kernel is entered before it has turned translation on: its entry point is linked for a
        // virtual address, and wanted is the physical one.
        let virt: u64 = header.p_vaddr(endian).into();
        if header.p_flags(endian) & elf::PF_X != 0 && linked.checked_sub(virt).is_some_and(|o| o < file_size)
        {
            entry = physical.wrapping_add(linked - virt);
        }
        let name = format!("{name} ELF program header segment {index}");
        segments.push(Blob { name, addr: physical, contents: data.to_vec().into(), size: memory_size });
    }
    if segments.is_empty() {
        return Err("ELF file has nothing to load".to_owned());
    }
    Ok(Loaded { form, entry, low, high, segments, symbols: symbols(header, bytes) })
}

/// The symbols with a name and an address here. They only help people: what is wrong with the table
/// makes it shorter, not an error. The names together are at most as long as the file, however many
/// symbols claim to have the same long one.
fn symbols<H: FileHeader<Endian = LittleEndian>>(header: &H, bytes: &[u8]) -> Vec<Symbol> {
    let endian = LittleEndian;
    let Ok(sections) = header.sections(endian, bytes) else { return Vec::new() };
    let Ok(table) = sections.symbols(endian, bytes, elf::SHT_SYMTAB) else { return Vec::new() };
    let mut budget = bytes.len();
    let mut symbols = Vec::new();
    for symbol in table.iter() {
        let kind = symbol.st_type();
        let wanted = matches!(kind, elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC);
        let Ok(name) = symbol.name(endian, table.strings()) else { continue };
        if !wanted || name.is_empty() || symbol.st_shndx(endian) == elf::SHN_UNDEF {
            continue;
        }
        let Some(rest) = budget.checked_sub(name.len()) else { break };
        budget = rest;
        symbols.push(Symbol {
            name: String::from_utf8_lossy(name).into_owned(),
            address: symbol.st_value(endian).into(),
            size: symbol.st_size(endian).into(),
            function: kind == elf::STT_FUNC,
        });
    }
    symbols
}
