//! Extensions: their names, their order in ISA strings, what a model has of them.

macro_rules! extensions {
    ($($name:ident $text:literal $kind:ident;)*) => {
        /// An extension, or a condition on several that rows of the instruction table name.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Extension { $($name),* }
        impl Extension {
            /// All of them, in the order of the ISA string.
            pub const ALL: &'static [Extension] = &[$(Extension::$name),*];
            /// Name in lower case.
            pub const fn name(self) -> &'static str { match self { $(Extension::$name => $text),* } }
            /// What sort of entry it is.
            pub const fn kind(self) -> Kind { match self { $(Extension::$name => Kind::$kind),* } }
        }
    };
}

/// Sorts of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A letter of misa that is shown in the ISA string.
    Letter,
    /// A letter of misa that is not shown (S, U).
    Hidden,
    /// A property of its own.
    Property,
    /// Always there when its condition holds; shown, but not a property.
    Always,
    /// A condition, never shown.
    Condition,
}

extensions! {
    I "i" Letter;
    E "e" Letter;
    M "m" Letter;
    A "a" Letter;
    F "f" Letter;
    D "d" Letter;
    C "c" Letter;
    B "b" Letter;
    S "s" Hidden;
    U "u" Hidden;
    Zic64b "zic64b" Property;
    Zicbom "zicbom" Property;
    Zicbop "zicbop" Property;
    Zicboz "zicboz" Property;
    Ziccamoa "ziccamoa" Always;
    Ziccif "ziccif" Always;
    Zicclsm "zicclsm" Always;
    Ziccrse "ziccrse" Property;
    Zicond "zicond" Property;
    Zicntr "zicntr" Property;
    Zicsr "zicsr" Property;
    Zifencei "zifencei" Property;
    Zihintntl "zihintntl" Property;
    Zihintpause "zihintpause" Property;
    Zihpm "zihpm" Property;
    Zimop "zimop" Property;
    Zmmul "zmmul" Property;
    Za64rs "za64rs" Always;
    Zaamo "zaamo" Property;
    Zacas "zacas" Property;
    Zalrsc "zalrsc" Property;
    Zawrs "zawrs" Property;
    Zfa "zfa" Property;
    Zfh "zfh" Property;
    Zfhmin "zfhmin" Property;
    Zca "zca" Property;
    Zcb "zcb" Property;
    Zcf "zcf" Property;
    Zcd "zcd" Property;
    Zcmop "zcmop" Property;
    Zba "zba" Property;
    Zbb "zbb" Property;
    Zbc "zbc" Property;
    Zbkb "zbkb" Property;
    Zbkc "zbkc" Property;
    Zbkx "zbkx" Property;
    Zbs "zbs" Property;
    Zkt "zkt" Property;
    Shcounterenw "shcounterenw" Always;
    Shgatpa "shgatpa" Always;
    Shtvala "shtvala" Always;
    Shvsatpa "shvsatpa" Always;
    Shvstvala "shvstvala" Always;
    Shvstvecd "shvstvecd" Always;
    Smaia "smaia" Property;
    Ssaia "ssaia" Property;
    Ssccptr "ssccptr" Always;
    Sscounterenw "sscounterenw" Always;
    Sstc "sstc" Property;
    Sstvala "sstvala" Always;
    Sstvecd "sstvecd" Always;
    Ssu64xl "ssu64xl" Always;
    Svade "svade" Property;
    Svadu "svadu" Property;
    Svinval "svinval" Property;
    Svnapot "svnapot" Property;
    Svpbmt "svpbmt" Property;
    Svvptc "svvptc" Property;
    Xtheadba "xtheadba" Property;
    Xtheadbb "xtheadbb" Property;
    Xtheadbs "xtheadbs" Property;
    Xtheadcmo "xtheadcmo" Property;
    Xtheadcondmov "xtheadcondmov" Property;
    Xtheadfmemidx "xtheadfmemidx" Property;
    Xtheadmac "xtheadmac" Property;
    Xtheadmemidx "xtheadmemidx" Property;
    Xtheadmempair "xtheadmempair" Property;
    Xtheadsync "xtheadsync" Property;
    Mmu "mmu" Condition;
    Pmp "pmp" Condition;
    ZbbOrZbkb "zbb|zbkb" Condition;
    ZbcOrZbkc "zbc|zbkc" Condition;
    ZfaD "zfa+d" Condition;
    ZfhminD "zfhmin+d" Condition;
    ZfaH "zfa+zfh" Condition;
    ZcbZbb "zcb+zbb" Condition;
    ZcbZba "zcb+zba" Condition;
    ZcbMul "zcb+zmmul" Condition;
}

impl Extension {
    /// Whether users know it as a property of processors. Letters are; conditions of several extensions are not, nor is
    /// what every processor has.
    pub fn is_property(self) -> bool {
        !matches!(self.kind(), Kind::Always) && !self.name().contains(['+', '|'])
    }
}

/// A set of extensions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Extensions(pub u128);

impl Extensions {
    /// The set of these.
    pub const fn of(list: &[Extension]) -> Extensions {
        let (mut bits, mut i) = (0, 0);
        while i < list.len() {
            bits |= 1 << list[i] as u8;
            i += 1;
        }
        Extensions(bits)
    }
    /// Whether `e` is in it.
    #[inline(always)]
    pub const fn has(self, e: Extension) -> bool {
        self.0 >> e as u8 & 1 != 0
    }
    /// With `e`, or without.
    pub const fn with(self, e: Extension, on: bool) -> Extensions {
        if on { Extensions(self.0 | 1 << e as u8) } else { Extensions(self.0 & !(1 << e as u8)) }
    }
    /// Those of the set whose name is `name`.
    pub fn named(name: &str) -> Option<Extension> {
        Extension::ALL.iter().copied().find(|e| e.name() == name)
    }
    /// Both.
    pub const fn union(self, o: Extensions) -> Extensions {
        Extensions(self.0 | o.0)
    }
}
