//! Telling image formats by their first bytes, and keeping a guest from faking them.
//!
//! A guest that owns a raw image of unspecified format could write another format's header to it and so have,
//! at the next start, files of the host opened as its "backing files". Such writes are refused.

use std::io;
use std::sync::Arc;

use super::{BlockDevice, Past, RawOptions, SECTOR};
use crate::Error;

const MAGICS: [(&[u8], &str); 9] = [
    (b"QFI\xfb", "qcow2"),
    (b"QED\0", "qed"),
    (b"KDMV", "vmdk"),
    (b"COWD", "vmdk"),
    (b"# Disk DescriptorFile", "vmdk"),
    (b"vhdxfile", "vhdx"),
    (b"conectix", "vpc"),
    (b"LUKS\xba\xbe", "luks"),
    (b"WithoutFreeSpace", "parallels"),
];
const VDI_SIGNATURE: (usize, &[u8]) = (64, &[0x7f, 0x10, 0xda, 0xbe]);

/// The format that these first bytes of an image announce, raw if none.
pub(crate) fn format_of(head: &[u8]) -> &'static str {
    if let Some((_, name)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    let (offset, signature) = VDI_SIGNATURE;
    if head.get(offset..).is_some_and(|rest| rest.starts_with(signature)) { "vdi" } else { "raw" }
}

/// The format of an open device.
pub(crate) fn probe(device: &dyn BlockDevice) -> &'static str {
    let mut head = [0; SECTOR as usize];
    let len = device.len().min(SECTOR) as usize;
    match device.read_at(0, &mut head[..len]) {
        Ok(()) => format_of(&head[..len]),
        Err(_) => "raw",
    }
}

/// What is printed when the format was guessed to be raw.
pub(crate) fn guessed_raw(path: &str) -> String {
    format!(
        "WARNING: Image format was not specified for '{path}' and probing guessed raw.\n         Automatically \
         detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n         \
         Specify the 'raw' format explicitly to remove the restrictions."
    )
}

/// A device whose first sector may not become the header of another format.
pub(crate) struct Guarded(pub(crate) Arc<dyn BlockDevice>);

impl BlockDevice for Guarded {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset < SECTOR {
            let mut head = [0; SECTOR as usize];
            self.0.read_at(0, &mut head)?;
            let start = offset as usize;
            let count = bytes.len().min(head.len() - start);
            head[start..start + count].copy_from_slice(&bytes[..count]);
            if format_of(&head) != "raw" {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        self.0.write_at(offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.0.write_zeroes(offset, len, unmap)
    }

    fn read_only(&self) -> bool {
        self.0.read_only()
    }

    fn at_once(&self) -> usize {
        self.0.at_once()
    }

    fn past(&self) -> Option<Arc<dyn Past>> {
        self.0.past()
    }

    fn commit(&self) -> Result<(), Error> {
        self.0.commit()
    }

    fn resize(&self, len: u64) -> Result<(), Error> {
        self.0.resize(len)
    }

    fn reopen(&self, options: RawOptions) -> Result<(), Error> {
        self.0.reopen(options)
    }
}
