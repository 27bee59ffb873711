//! How the common types are saved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::{Field, FieldType, Loader, Saver, StateError};

macro_rules! number {
    ($($ty:ty as $raw:ident),* $(,)?) => {$(
        impl Field for $ty {
            fn save_field(&self, out: &mut Saver) {
                out.$raw(*self as $raw);
            }
            fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
                *self = from.$raw()? as $ty;
                Ok(())
            }
            fn field_type() -> FieldType {
                FieldType::plain(stringify!($ty))
            }
        }
    )*};
}
number!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, u128 as u128);
number!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

impl Field for usize {
    fn save_field(&self, out: &mut Saver) {
        out.u64(*self as u64);
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        let n = from.u64()?;
        *self = usize::try_from(n).map_err(|_| from.invalid(format!("{n} is too large for this host")))?;
        Ok(())
    }
    fn field_type() -> FieldType {
        FieldType::plain("usize")
    }
}

impl Field for bool {
    fn save_field(&self, out: &mut Saver) {
        out.u8(u8::from(*self));
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        *self = match from.u8()? {
            0 => false,
            1 => true,
            other => return Err(from.invalid(format!("{other} is no bool"))),
        };
        Ok(())
    }
    fn field_type() -> FieldType {
        FieldType::plain("bool")
    }
}

macro_rules! float {
    ($($ty:ident as $raw:ident),*) => {$(
        impl Field for $ty {
            fn save_field(&self, out: &mut Saver) {
                out.$raw(self.to_bits());
            }
            fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
                *self = $ty::from_bits(from.$raw()?);
                Ok(())
            }
            fn field_type() -> FieldType {
                FieldType::plain(stringify!($ty))
            }
        }
    )*};
}
float!(f32 as u32, f64 as u64);

macro_rules! atomic {
    ($($ty:ident as $raw:ident),*) => {$(
        impl Field for $ty {
            fn save_field(&self, out: &mut Saver) {
                self.load(SeqCst).save_field(out);
            }
            fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
                self.get_mut().load_field(from)
            }
            fn field_type() -> FieldType {
                FieldType::plain(stringify!($raw))
            }
        }
    )*};
}
atomic!(AtomicBool as bool, AtomicU8 as u8, AtomicU16 as u16, AtomicU32 as u32, AtomicU64 as u64);

impl Field for String {
    fn save_field(&self, out: &mut Saver) {
        out.str(self);
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        *self = from.string()?;
        Ok(())
    }
    fn field_type() -> FieldType {
        FieldType::plain("string")
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn save_field(&self, out: &mut Saver) {
        self.iter().for_each(|e| e.save_field(out));
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        self.iter_mut().try_for_each(|e| e.load_field(from))
    }
    fn field_type() -> FieldType {
        FieldType::Array(Box::new(T::field_type()), N as u64)
    }
}

impl<T: Field> Field for Box<[T]> {
    fn save_field(&self, out: &mut Saver) {
        out.u32(self.len() as u32);
        self.iter().for_each(|e| e.save_field(out));
    }
    /// The number of elements belongs to the configuration: it must be the same.
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        let n = from.count()?;
        if n != self.len() {
            return Err(from.invalid(format!("there are {n} elements instead of {}", self.len())));
        }
        self.iter_mut().try_for_each(|e| e.load_field(from))
    }
    fn field_type() -> FieldType {
        FieldType::List(Box::new(T::field_type()))
    }
}

macro_rules! list {
    ($list:ident, $push:ident) => {
        impl<T: Field + Default> Field for $list<T> {
            fn save_field(&self, out: &mut Saver) {
                out.u32(self.len() as u32);
                self.iter().for_each(|e| e.save_field(out));
            }
            fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
                let n = from.count()?;
                self.clear();
                for _ in 0..n {
                    let mut element = T::default();
                    element.load_field(from)?;
                    self.$push(element);
                }
                Ok(())
            }
            fn field_type() -> FieldType {
                FieldType::List(Box::new(T::field_type()))
            }
        }
    };
}
list!(Vec, push);
list!(VecDeque, push_back);

impl<T: Field + Default> Field for Option<T> {
    fn save_field(&self, out: &mut Saver) {
        self.is_some().save_field(out);
        if let Some(value) = self {
            value.save_field(out);
        }
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        let mut there = false;
        there.load_field(from)?;
        *self = None;
        if there {
            self.insert(T::default()).load_field(from)?;
        }
        Ok(())
    }
    fn field_type() -> FieldType {
        FieldType::Option(Box::new(T::field_type()))
    }
}

impl<K: Field + Default + Ord, V: Field + Default> Field for BTreeMap<K, V> {
    fn save_field(&self, out: &mut Saver) {
        out.u32(self.len() as u32);
        for (key, value) in self {
            key.save_field(out);
            value.save_field(out);
        }
    }
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        let n = from.count()?;
        self.clear();
        for _ in 0..n {
            let (mut key, mut value) = (K::default(), V::default());
            key.load_field(from)?;
            value.load_field(from)?;
            self.insert(key, value);
        }
        Ok(())
    }
    fn field_type() -> FieldType {
        FieldType::List(Box::new(FieldType::Tuple(vec![K::field_type(), V::field_type()])))
    }
}

macro_rules! tuple {
    ($($part:ident $n:tt),*) => {
        impl<$($part: Field),*> Field for ($($part,)*) {
            fn save_field(&self, out: &mut Saver) {
                $(self.$n.save_field(out);)*
            }
            fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
                $(self.$n.load_field(from)?;)*
                Ok(())
            }
            fn field_type() -> FieldType {
                FieldType::Tuple(vec![$($part::field_type()),*])
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
