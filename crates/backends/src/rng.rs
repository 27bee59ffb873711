//! Entropy back ends: `rng-builtin` asks the kernel, `rng-random` reads a file such as `/dev/urandom`.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use events::Replay;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::Error;

/// The number under which random bytes are recorded.
const STREAM: u32 = u32::from_le_bytes(*b"rand");

/// A source of random bytes for the guest.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// `rng-builtin`: the kernel's generator.
    Builtin,
    /// `rng-random`: a file.
    File(Arc<File>),
    /// Another source, whose bytes are recorded or replayed.
    Replayed(Arc<Replay>, Box<Entropy>),
}

impl Entropy {
    /// Opens `rng-random,filename=PATH`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &str) -> Result<Entropy, Error> {
        let failed = |error| Error::io(format_args!("Could not open '{path}'"), error);
        Ok(Entropy::File(Arc::new(File::open(path).map_err(failed)?)))
    }

    /// Fills `bytes`. A file that ends early or fails gives way to the kernel's generator for the rest, so that
    /// a guest never gets predictable bytes. Reading a slow file blocks.
    pub fn fill(&self, bytes: &mut [u8]) {
        if let Entropy::Replayed(replay, source) = self {
            let recorded = replay.value(STREAM, || {
                source.fill(bytes);
                bytes.to_vec()
            });
            // Of a replay that has gone astray there may be less.
            bytes.iter_mut().zip(recorded).for_each(|(byte, recorded)| *byte = recorded);
            return;
        }
        let mut filled = 0;
        if let Entropy::File(file) = self {
            while filled < bytes.len() {
                match (&**file).read(&mut bytes[filled..]) {
                    Ok(count) if count > 0 => filled += count,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    _ => break,
                }
            }
        }
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                // Every kernel this runs on has the call; without it there is no source at all.
                Err(error) => panic!("getrandom: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn bytes_come_and_differ() {
        for source in
            [Entropy::Builtin, Entropy::open("/dev/urandom").unwrap(), Entropy::open("/dev/null").unwrap()]
        {
            let (mut one, mut two) = ([0; 64], [0; 64]);
            source.fill(&mut one);
            source.fill(&mut two);
            assert!(one != two && one != [0; 64]);
        }
        assert_eq!(
            Entropy::open("/nonexistent/x").unwrap_err().to_string(),
            "Could not open '/nonexistent/x': No such file or directory"
        );
    }
}
