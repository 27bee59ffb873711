//! Reading. The bytes may come from anywhere: nothing in them can make the reader panic or allocate without
//! bound.

use crate::saver::SECTION;
use crate::{Description, Field, State, StateError};

/// Reads sections from bytes.
#[derive(Debug)]
pub struct Loader<'a> {
    bytes: &'a [u8],
    section: String,
    path: Vec<&'static str>,
    version: u32,
}

macro_rules! numbers {
    ($($name:ident),*) => {$(
        #[doc = concat!("Reads one `", stringify!($name), "`.")]
        pub fn $name(&mut self) -> Result<$name, StateError> {
            let bytes = self.raw(size_of::<$name>())?;
            let mut array = [0; size_of::<$name>()];
            array.copy_from_slice(bytes);
            Ok($name::from_be_bytes(array))
        }
    )*};
}

impl<'a> Loader<'a> {
    /// A reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, section: String::new(), path: Vec::new(), version: 0 }
    }

    numbers!(u8, u16, u32, u64, u128);

    /// The next `n` bytes as they are.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], StateError> {
        match self.bytes.split_at_checked(n) {
            Some((head, rest)) => {
                self.bytes = rest;
                Ok(head)
            }
            None => {
                Err(self
                    .invalid(format!("the stream ends early ({n} bytes wanted, {} left)", self.bytes.len())))
            }
        }
    }
    /// A text.
    pub fn string(&mut self) -> Result<String, StateError> {
        let n = self.u32()? as usize;
        let bytes = self.raw(n)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.invalid("a text is not UTF-8"))
    }
    /// A number of elements, each of which takes at least a byte of what is left.
    pub fn count(&mut self) -> Result<usize, StateError> {
        let n = self.u32()? as usize;
        if n > self.bytes.len() {
            return Err(
                self.invalid(format!("{n} elements do not fit in the {} bytes left", self.bytes.len()))
            );
        }
        Ok(n)
    }
    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }
    /// Asserts that everything has been read.
    pub fn end(&self) -> Result<(), StateError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.invalid(format!("{} bytes are left over", self.left())))
        }
    }
    /// Version in the stream of the structure being loaded.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Name and instance of the section that comes next; `None` at the end.
    pub fn next_section(&self) -> Result<Option<(String, u32)>, StateError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let mut ahead = Self::new(self.bytes);
        ahead.header().map(Some)
    }

    fn header(&mut self) -> Result<(String, u32), StateError> {
        match self.u8()? {
            SECTION => Ok((self.string()?, self.u32()?)),
            other => Err(self.invalid(format!("no section begins with {other:#04x}"))),
        }
    }

    /// Reads the next section into `value`. It must be `T`'s, of this instance.
    pub fn section<T: State>(&mut self, instance: u32, value: &mut T) -> Result<(), StateError> {
        let (name, found) = self.header()?;
        T::NAME.clone_into(&mut self.section);
        if name != T::NAME || found != instance {
            return Err(
                self.invalid(format!("the stream has '{name}' {found} instead of instance {instance}"))
            );
        }
        let n = self.u32()? as usize;
        let mut inner = self.part(n)?;
        let theirs = Description::read(&mut inner)?;
        inner.end()?;
        if let Some((field, reason)) = Description::of::<T>().mismatch(&theirs, "") {
            return Err(StateError { section: self.section.clone(), field, reason });
        }
        let n = self.u32()? as usize;
        let mut inner = self.part(n)?;
        inner.version = theirs.version;
        value.load(&mut inner)?;
        inner.end()?;
        self.section.clear();
        Ok(())
    }

    /// The next section's own description, and its content.
    pub(crate) fn described_section(&mut self) -> Result<(Description, Loader<'a>), StateError> {
        let (name, _) = self.header()?;
        self.section = name;
        let n = self.u32()? as usize;
        let mut inner = self.part(n)?;
        let description = Description::read(&mut inner)?;
        inner.end()?;
        let n = self.u32()? as usize;
        let mut content = self.part(n)?;
        content.version = description.version;
        self.section.clear();
        Ok((description, content))
    }

    /// All bytes of the next section, its name included.
    pub fn section_bytes(&mut self) -> Result<&'a [u8], StateError> {
        let whole = self.bytes;
        self.skip_section()?;
        Ok(&whole[..whole.len() - self.bytes.len()])
    }

    /// Skips the next section.
    pub fn skip_section(&mut self) -> Result<(), StateError> {
        self.header()?;
        for _ in 0..2 {
            let n = self.u32()? as usize;
            self.raw(n)?;
        }
        Ok(())
    }

    fn part(&mut self, n: usize) -> Result<Loader<'a>, StateError> {
        let bytes = self.raw(n)?;
        Ok(Loader { bytes, section: self.section.clone(), path: self.path.clone(), version: self.version })
    }

    /// Reads one field, unless it is newer than the stream.
    pub fn field<T: Field>(
        &mut self,
        name: &'static str,
        since: u32,
        value: &mut T,
    ) -> Result<(), StateError> {
        if since > self.version {
            return Ok(());
        }
        self.path.push(name);
        value.load_field(self)?;
        self.path.pop();
        Ok(())
    }

    /// Reads a structure inside another.
    pub fn nested<T: State>(&mut self, value: &mut T) -> Result<(), StateError> {
        let version = self.u32()?;
        if version > T::VERSION || version < T::MINIMUM_VERSION {
            return Err(self.invalid(format!(
                "version {version} of '{}' is not among {} to {}",
                T::NAME,
                T::MINIMUM_VERSION,
                T::VERSION
            )));
        }
        let outer = std::mem::replace(&mut self.version, version);
        value.load(self)?;
        self.version = outer;
        Ok(())
    }

    /// Reads the subsections; `load` is called with the name of each that is there.
    pub fn subsections(
        &mut self,
        mut load: impl FnMut(&str, &mut Loader<'a>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        for _ in 0..self.u8()? {
            let name = self.string()?;
            let n = self.u32()? as usize;
            let mut inner = self.part(n)?;
            load(&name, &mut inner)?;
            inner.end()?;
        }
        Ok(())
    }

    /// The error for a subsection that this build does not know.
    pub fn unknown_subsection(&self, name: &str) -> StateError {
        self.invalid(format!("subsection '{name}' is unknown here"))
    }
    /// The error for a value that makes no sense, at the current field.
    pub fn invalid(&self, reason: impl Into<String>) -> StateError {
        StateError { section: self.section.clone(), field: self.path.join("."), reason: reason.into() }
    }
    /// The error for a state that the type itself refused after loading.
    pub fn refused(&self, reason: impl Into<String>) -> StateError {
        self.invalid(reason)
    }
}
