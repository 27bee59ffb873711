//! Names of guest addresses, for people who look at profiles.

/// How far a symbol of unknown size reaches at most, if no other one follows.
const REACH: u64 = 64 << 10;

/// A table of names, sorted by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(Vec<(u64, u64, String)>);

impl Symbols {
    /// From addresses, sizes (0: up to the next one) and names, in any order.
    pub fn new(mut all: Vec<(u64, u64, String)>) -> Symbols {
        // Of those at one address, one with a size comes last: it is the one that is found.
        all.sort_by_key(|symbol| (symbol.0, symbol.1));
        Symbols(all)
    }
    /// The name of the function or object around the address and how far inside it is; nothing where there is none.
    pub fn name(&self, address: u64) -> Option<String> {
        let behind = self.0.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.0.get(behind.checked_sub(1)?)?;
        let inside = address - start;
        let size = if *size == 0 { REACH } else { *size };
        (inside < size).then(|| if inside == 0 { name.clone() } else { format!("{name}+{inside:#x}") })
    }
}

#[cfg(test)]
#[path = "symbols_test.rs"]
mod test;
