//! What puts firmware, kernels and initial RAM disks into guest memory.
//!
//! Files are untrusted: whatever is in them, the answer is a [`Loaded`] or a [`LoadError`] that names
//! the file and the reason. Nothing here touches guest memory; the machine adds the [`Blob`]s to its
//! list of ROMs, checks them for overlaps and copies them at reset.
//!
//! Known forms: ELF (System V ABI, RISC-V psABI), Linux `Image` (Documentation/arch/riscv/
//! boot-image-header.rst), either of them or anything else inside gzip, and raw binaries.

mod elf;
mod image;

pub use elf::Symbol;
pub use image::ImageHeader;

use memory::Contents;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run of bytes for guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What `info roms` calls it.
    pub name: String,
    /// Guest physical address of the first byte.
    pub addr: u64,
    /// The bytes from there on.
    pub contents: Contents,
    /// Size in guest memory; what lies beyond the contents is zero.
    pub size: u64,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 32-bit ELF.
    Elf32,
    /// 64-bit ELF.
    Elf64,
    /// A Linux `Image`.
    Image(ImageHeader),
    /// None of these: bytes to be put at an address.
    Raw,
}

/// A file made ready for guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it is.
    pub form: Form,
    /// Guest physical address of the first instruction.
    pub entry: u64,
    /// The lowest address used.
    pub low: u64,
    /// The address after the highest one used, memory that an `Image` asks for beyond its file included.
    pub high: u64,
    /// The pieces, in the order of the file.
    pub segments: Vec<Blob>,
    /// Symbols of an ELF file, in its order; empty for others.
    pub symbols: Vec<Symbol>,
}

/// Why a file cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for LoadError {}

/// The largest regular file that is read for its ELF segments or gzip contents, in bytes: debug
/// information may make it much larger than what goes to memory.
const LARGEST_FILE: u64 = 4 << 30;

/// The C library's words for an I/O error, without Rust's error number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, or is larger; then not more than `limit` bytes were read.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let fail = |reason: String| LoadError { file: path.to_owned(), reason };
    let too_large = || fail(format!("larger than the {limit} bytes there is room for"));
    let io_error = |error: io::Error| fail(reason(&error));
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if metadata.is_dir() {
        return Err(fail("Is a directory".to_owned()));
    }
    if metadata.len() > limit {
        return Err(too_large());
    }
    // A pipe or a device tells no length: the limit stands for these, too.
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Loads a kernel, firmware or bare-metal program: an ELF file to its own addresses, anything else to
/// `address`, where `room` bytes of memory are.
///
/// # Errors
/// The file cannot be read, is empty, is damaged, is for another machine or does not fit. A caller
/// adds QEMU's `could not load kernel '...'`.
pub fn load(path: &Path, address: u64, room: u64) -> Result<Loaded, LoadError> {
    let fail = |reason| LoadError { file: path.to_owned(), reason };
    if let Some(loaded) = load_in_place(path, address, room).map_err(fail)? {
        return Ok(loaded);
    }
    // What an ELF file or gzip may leave out makes it worth reading a file larger than memory; of a pipe nothing is known.
    let limit = if regular(path).is_some() { room.max(LARGEST_FILE) } else { room };
    let bytes = read_file(path, limit)?;
    load_bytes(&path.display().to_string(), bytes, address, room).map_err(fail)
}

/// [`load`] for the contents of a file that is called `name`.
///
/// # Errors
/// The reason why it cannot be loaded.
pub fn load_bytes(name: &str, bytes: Vec<u8>, address: u64, room: u64) -> Result<Loaded, String> {
    if bytes.is_empty() {
        return Err("file is empty".to_owned());
    }
    let bytes = if image::is_gzip(&bytes) {
        image::gunzip(&bytes, room.clamp(1 << 20, LARGEST_FILE))?
    } else {
        bytes
    };
    if bytes.is_empty() {
        return Err("compressed file is empty".to_owned());
    }
    if elf::is_elf(&bytes) {
        return elf::load(name, &bytes);
    }
    let header = image::header(&bytes)?;
    whole(name, header, bytes.into(), address, room)
}

/// Bytes that go to memory as they are.
fn whole(
    name: &str,
    header: Option<ImageHeader>,
    contents: Contents,
    address: u64,
    room: u64,
) -> Result<Loaded, String> {
    let len = contents.len();
    let size = header.map_or(0, |header| header.image_size).max(len);
    let high = address.checked_add(size).filter(|_| size <= room);
    let high =
        high.ok_or_else(|| format!("needs {size} bytes of memory at {address:#x}, there are {room}"))?;
    Ok(Loaded {
        form: header.map_or(Form::Raw, Form::Image),
        entry: address,
        low: address,
        high,
        segments: vec![Blob { name: name.to_owned(), addr: address, size: len, contents }],
        symbols: Vec::new(),
    })
}

/// A regular file that goes to memory as it is: an `Image` or a raw binary. `None` if it must be taken apart or is none.
fn load_in_place(path: &Path, address: u64, room: u64) -> Result<Option<Loaded>, String> {
    let Some((file, len)) = regular(path) else { return Ok(None) };
    let mut start = [0; 64];
    let start = &mut start[..len.min(64) as usize];
    if len == 0 || file.read_exact_at(start, 0).is_err() || elf::is_elf(start) || image::is_gzip(start) {
        return Ok(None);
    }
    let header = image::header(start)?;
    let contents = Contents::File(Arc::new(file), len);
    whole(&path.display().to_string(), header, contents, address, room).map(Some)
}

/// A regular file, open, and its length.
fn regular(path: &Path) -> Option<(File, u64)> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    Some((file, metadata.len()))
}

/// Loads an initial RAM disk as it is to `address`, where `room` bytes of memory are. An empty file
/// gives an empty blob, which is no error.
///
/// # Errors
/// The file cannot be read or does not fit. A caller adds QEMU's `could not load ramdisk '...'`.
pub fn load_initrd(path: &Path, address: u64, room: u64) -> Result<Blob, LoadError> {
    let contents = match regular(path) {
        Some((file, len)) if len <= room => Contents::File(Arc::new(file), len),
        _ => read_file(path, room)?.into(),
    };
    Ok(Blob { name: path.display().to_string(), addr: address, size: contents.len(), contents })
}

/// Where QEMU puts the initial RAM disk on RISC-V boards: half the memory above the kernel's lowest
/// address, but not more than 512 MiB above it.
pub fn initrd_address(kernel_low: u64, memory_size: u64) -> u64 {
    kernel_low.saturating_add((memory_size / 2).min(512 << 20))
}

#[cfg(test)]
#[path = "loader_test.rs"]
mod test;
