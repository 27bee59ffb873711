//! Writing.

use crate::{Description, State};

/// First byte of a section.
pub(crate) const SECTION: u8 = 0x5e;

/// Collects the bytes of sections.
#[derive(Clone, Debug, Default)]
pub struct Saver {
    bytes: Vec<u8>,
}

macro_rules! numbers {
    ($($name:ident),*) => {$(
        #[doc = concat!("Writes one `", stringify!($name), "`, big-endian.")]
        pub fn $name(&mut self, value: $name) {
            self.bytes.extend_from_slice(&value.to_be_bytes());
        }
    )*};
}

impl Saver {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }
    /// What has been written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    numbers!(u8, u16, u32, u64, u128);

    /// Writes bytes as they are, without their number.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    /// Writes a text, preceded by its length.
    pub fn str(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.raw(text.as_bytes());
    }

    /// Writes a section: what, which one of its kind (`instance`), version, description, content.
    pub fn section<T: State>(&mut self, instance: u32, value: &T) {
        self.u8(SECTION);
        self.str(T::NAME);
        self.u32(instance);
        self.sized(|out| Description::of::<T>().write(out));
        self.sized(|out| value.save(out));
    }

    /// Writes a structure inside another: version, then content.
    pub fn nested<T: State>(&mut self, value: &T) {
        self.u32(T::VERSION);
        value.save(self);
    }

    /// Writes what `fill` writes, preceded by its length in bytes.
    pub fn sized(&mut self, fill: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u32(0);
        fill(self);
        let length = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Ends a structure that has no subsection.
    pub fn no_subsections(&mut self) {
        self.u8(0);
    }

    /// Begins the subsections that follow the fields of a structure; finish with [`Subsections::end`].
    pub fn subsections(&mut self) -> Subsections<'_> {
        let at = self.bytes.len();
        self.u8(0);
        Subsections { out: self, at, count: 0 }
    }
}

/// The subsections of a structure being written.
#[derive(Debug)]
pub struct Subsections<'a> {
    out: &'a mut Saver,
    at: usize,
    count: u8,
}

impl Subsections<'_> {
    /// Writes one subsection.
    pub fn add(&mut self, name: &str, fill: impl FnOnce(&mut Saver)) {
        self.out.str(name);
        self.out.sized(fill);
        self.count += 1;
    }
    /// Finishes them.
    pub fn end(self) {
        self.out.bytes[self.at] = self.count;
    }
}
