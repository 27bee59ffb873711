//! The description of a section: its fields by name and type. It travels in the stream.

use crate::{Loader, Saver, State, StateError};

/// What a section or a nested structure consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Name of the type ([`State::NAME`]).
    pub name: String,
    /// The version written.
    pub version: u32,
    /// The oldest version that the writer itself could read.
    pub minimum: u32,
    /// The fields in the order in which they are written.
    pub fields: Vec<FieldDescription>,
    /// The subsections that may follow.
    pub subsections: Vec<SubsectionDescription>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDescription {
    /// Its name.
    pub name: String,
    /// The first version that has it (0: all).
    pub since: u32,
    /// Its type.
    pub ty: FieldType,
}

/// A subsection: a group of fields that may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsectionDescription {
    /// Its name.
    pub name: String,
    /// The fields in the order in which they are written.
    pub fields: Vec<FieldDescription>,
}

/// What is written for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A number or another type without inner structure, by its name: `u32`, `bool`, `string`.
    Plain(String),
    /// A fixed number of elements.
    Array(Box<FieldType>, u64),
    /// Any number of elements, preceded by how many.
    List(Box<FieldType>),
    /// A value that may be absent, preceded by whether it is there.
    Option(Box<FieldType>),
    /// Several values one after the other.
    Tuple(Vec<FieldType>),
    /// An enum: its name and variants.
    Enum(String, Vec<String>),
    /// A nested structure, preceded by its version.
    Struct(Description),
}

/// Types nested deeper than this are refused when a stream is read.
const DEPTH: u32 = 32;

impl FieldType {
    /// A type without inner structure.
    pub fn plain(name: &str) -> Self {
        Self::Plain(name.to_owned())
    }
    /// A nested structure.
    pub fn structure<T: State>() -> Self {
        Self::Struct(Description::of::<T>())
    }

    fn write(&self, out: &mut Saver) {
        match self {
            Self::Plain(name) => {
                out.u8(0);
                out.str(name);
            }
            Self::Array(of, n) => {
                out.u8(1);
                out.u64(*n);
                of.write(out);
            }
            Self::List(of) => {
                out.u8(2);
                of.write(out);
            }
            Self::Option(of) => {
                out.u8(3);
                of.write(out);
            }
            Self::Tuple(parts) => {
                out.u8(4);
                out.u32(parts.len() as u32);
                parts.iter().for_each(|p| p.write(out));
            }
            Self::Enum(name, variants) => {
                out.u8(5);
                out.str(name);
                out.u32(variants.len() as u32);
                variants.iter().for_each(|v| out.str(v));
            }
            Self::Struct(description) => {
                out.u8(6);
                description.write(out);
            }
        }
    }

    fn read(from: &mut Loader<'_>, depth: u32) -> Result<Self, StateError> {
        if depth > DEPTH {
            return Err(from.invalid("the description is nested too deeply"));
        }
        Ok(match from.u8()? {
            0 => Self::Plain(from.string()?),
            1 => {
                let n = from.u64()?;
                Self::Array(Box::new(Self::read(from, depth + 1)?), n)
            }
            2 => Self::List(Box::new(Self::read(from, depth + 1)?)),
            3 => Self::Option(Box::new(Self::read(from, depth + 1)?)),
            4 => Self::Tuple(
                (0..from.count()?).map(|_| Self::read(from, depth + 1)).collect::<Result<_, _>>()?,
            ),
            5 => {
                let name = from.string()?;
                Self::Enum(name, (0..from.count()?).map(|_| from.string()).collect::<Result<_, _>>()?)
            }
            6 => Self::Struct(Description::read_nested(from, depth + 1)?),
            other => return Err(from.invalid(format!("unknown kind of type {other} in the description"))),
        })
    }

    /// A short name for messages.
    pub fn words(&self) -> String {
        match self {
            Self::Plain(name) => name.clone(),
            Self::Array(of, n) => format!("[{}; {n}]", of.words()),
            Self::List(of) => format!("list of {}", of.words()),
            Self::Option(of) => format!("optional {}", of.words()),
            Self::Tuple(parts) => {
                format!("({})", parts.iter().map(Self::words).collect::<Vec<_>>().join(", "))
            }
            Self::Enum(name, _) => format!("enum {name}"),
            Self::Struct(d) => format!("struct {}", d.name),
        }
    }

    /// Finds where a stream of type `theirs` cannot be read as `self`: path below `at` and reason.
    fn mismatch(&self, theirs: &Self, at: &str) -> Option<(String, String)> {
        match (self, theirs) {
            (Self::Array(a, n), Self::Array(b, m)) if n == m => a.mismatch(b, at),
            (Self::List(a), Self::List(b)) | (Self::Option(a), Self::Option(b)) => a.mismatch(b, at),
            (Self::Tuple(a), Self::Tuple(b)) if a.len() == b.len() => {
                a.iter().zip(b).find_map(|(a, b)| a.mismatch(b, at))
            }
            // Variants may have been added at the end: the number in the stream is checked as well.
            (Self::Enum(_, a), Self::Enum(_, b)) => {
                let at_variant = a.iter().zip(b).position(|(a, b)| a != b)?;
                Some((
                    at.to_owned(),
                    format!("variant {at_variant} is '{}' there and '{}' here", b[at_variant], a[at_variant]),
                ))
            }
            (Self::Struct(a), Self::Struct(b)) => a.mismatch(b, at),
            (a, b) if a == b => None,
            (a, b) => {
                Some((at.to_owned(), format!("it is {} in the stream and {} here", b.words(), a.words())))
            }
        }
    }
}

impl Description {
    /// The description of a type.
    pub fn of<T: State>() -> Self {
        let mut d = Self {
            name: T::NAME.to_owned(),
            version: T::VERSION,
            minimum: T::MINIMUM_VERSION,
            ..Self::default()
        };
        T::describe(&mut d);
        d
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, since: u32, ty: FieldType) {
        self.fields.push(FieldDescription { name: name.to_owned(), since, ty });
    }

    /// Adds a subsection.
    pub fn subsection(&mut self, name: &str, fields: &[(&str, FieldType)]) {
        let fields = fields
            .iter()
            .map(|(name, ty)| FieldDescription { name: (*name).to_owned(), since: 0, ty: ty.clone() })
            .collect();
        self.subsections.push(SubsectionDescription { name: name.to_owned(), fields });
    }

    pub(crate) fn write(&self, out: &mut Saver) {
        let fields = |out: &mut Saver, fields: &[FieldDescription]| {
            out.u32(fields.len() as u32);
            for field in fields {
                out.str(&field.name);
                out.u32(field.since);
                field.ty.write(out);
            }
        };
        out.str(&self.name);
        out.u32(self.version);
        out.u32(self.minimum);
        fields(out, &self.fields);
        out.u32(self.subsections.len() as u32);
        for subsection in &self.subsections {
            out.str(&subsection.name);
            fields(out, &subsection.fields);
        }
    }

    pub(crate) fn read(from: &mut Loader<'_>) -> Result<Self, StateError> {
        Self::read_nested(from, 0)
    }

    fn read_nested(from: &mut Loader<'_>, depth: u32) -> Result<Self, StateError> {
        fn fields(from: &mut Loader<'_>, depth: u32) -> Result<Vec<FieldDescription>, StateError> {
            (0..from.count()?)
                .map(|_| {
                    Ok(FieldDescription {
                        name: from.string()?,
                        since: from.u32()?,
                        ty: FieldType::read(from, depth)?,
                    })
                })
                .collect()
        }
        let (name, version, minimum) = (from.string()?, from.u32()?, from.u32()?);
        let own = fields(from, depth)?;
        let subsections = (0..from.count()?)
            .map(|_| Ok(SubsectionDescription { name: from.string()?, fields: fields(from, depth)? }))
            .collect::<Result<_, _>>()?;
        Ok(Self { name, version, minimum, fields: own, subsections })
    }

    /// Finds the first field of a stream described by `theirs` that cannot be read by `self`.
    pub(crate) fn mismatch(&self, theirs: &Self, at: &str) -> Option<(String, String)> {
        if theirs.version > self.version {
            return Some((
                at.to_owned(),
                format!("version {} is newer than version {} here", theirs.version, self.version),
            ));
        }
        if theirs.version < self.minimum {
            return Some((
                at.to_owned(),
                format!(
                    "version {} is older than version {}, the oldest that can be read",
                    theirs.version, self.minimum
                ),
            ));
        }
        let ours: Vec<_> = self.fields.iter().filter(|f| f.since <= theirs.version).collect();
        let written: Vec<_> = theirs.fields.iter().filter(|f| f.since <= theirs.version).collect();
        if let Some(found) = fields_mismatch(&ours, &written, at) {
            return Some(found);
        }
        for subsection in &theirs.subsections {
            // One that is unknown here is refused only when the stream really contains it.
            if let Some(known) = self.subsections.iter().find(|s| s.name == subsection.name) {
                let (a, b): (Vec<_>, Vec<_>) =
                    (known.fields.iter().collect(), subsection.fields.iter().collect());
                if let Some(found) = fields_mismatch(&a, &b, at) {
                    return Some(found);
                }
            }
        }
        None
    }
}

fn fields_mismatch(
    ours: &[&FieldDescription],
    theirs: &[&FieldDescription],
    at: &str,
) -> Option<(String, String)> {
    let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for (a, b) in ours.iter().zip(theirs) {
        if a.name != b.name {
            return Some((path(&a.name), format!("the stream has '{}' in its place", b.name)));
        }
        if let Some(found) = a.ty.mismatch(&b.ty, &path(&a.name)) {
            return Some(found);
        }
    }
    let n = ours.len().min(theirs.len());
    match (ours.get(n), theirs.get(n)) {
        (Some(a), _) => Some((path(&a.name), "it is missing in the stream".to_owned())),
        (_, Some(b)) => Some((path(&b.name), "it is unknown here".to_owned())),
        _ => None,
    }
}
