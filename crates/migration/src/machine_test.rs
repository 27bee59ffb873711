use std::io::Cursor;
use std::sync::{Arc, Mutex};

use memory::{AddressSpace, Ram, Region};
use state::{Loader, Saved, Saver, State, StateError};

use super::*;
use crate::page::PAGE;
use crate::{Driver, Image, Last, Progress, Status, capture, receive, send};

const PAGES: u64 = 600;

#[derive(Default, State)]
#[state(name = "number")]
struct Number {
    value: u64,
}

struct Part(Mutex<Number>);

impl Saved for Part {
    fn section(&self) -> &'static str {
        Number::NAME
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        out.section(instance, &*self.0.lock().unwrap());
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> std::result::Result<(), StateError> {
        from.section(instance, &mut *self.0.lock().unwrap())
    }
}

struct Toy {
    machine: Machine,
    ram: Arc<Ram>,
    part: Arc<Part>,
}

fn toy(cpu: &str) -> Toy {
    let system = Region::container("system", memory::WHOLE);
    let ram = Ram::anonymous(PAGES * PAGE as u64).unwrap();
    system.add_subregion(0, &Region::ram("ram", ram.clone()));
    // A block whose last page is not whole.
    system.add_subregion(1 << 40, &Region::rom("rom", Ram::anonymous(0x1800).unwrap()));
    let part = Arc::new(Part(Mutex::default()));
    let parts = Parts {
        origin: Origin { cpu: cpu.into(), ..Origin::default() },
        memory: AddressSpace::new("memory", &system),
        cpus: Cpus::new(),
        first: vec![part.clone()],
        then: Vec::new(),
    };
    Toy { machine: Machine::new(&parts, &[]), ram, part }
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *seed >> 20
}

/// Writes here and there: single words, whole pages of noise, equal pages, zeroes.
fn scribble(toy: &Toy, seed: &mut u64) {
    for _ in 0..60 {
        let page = next(seed) % PAGES * PAGE as u64;
        match next(seed) % 4 {
            0 => toy.ram.write_u64(page + next(seed) % 4088, next(seed)),
            1 => {
                let noise: Vec<u8> = (0..PAGE).map(|_| next(seed) as u8).collect();
                toy.ram.write(page, &noise);
            }
            2 => toy.ram.fill(page, PAGE as u64, 0x55),
            _ => toy.ram.fill(page, PAGE as u64, 0),
        }
    }
    toy.part.0.lock().unwrap().value = next(seed);
    toy.machine.blocks[1].ram.write_u64(0x17f8, next(seed));
}

fn content(toy: &Toy) -> (Vec<u8>, u64, u64) {
    let mut bytes = vec![0; toy.ram.len() as usize];
    toy.ram.read(0, &mut bytes);
    (bytes, toy.part.0.lock().unwrap().value, toy.machine.blocks[1].ram.read_u64(0x17f8))
}

fn snapshot(toy: &Toy) -> Arc<Image> {
    let mut bytes = Vec::new();
    let length = capture(&toy.machine, None, &mut bytes).unwrap();
    assert_eq!(length, bytes.len() as u64);
    Arc::new(Image::in_memory(bytes).unwrap())
}

#[test]
fn back_to_any_snapshot() {
    let toy = toy("x");
    let mut seed = 9;
    let moments: Vec<_> = (0..4)
        .map(|_| {
            scribble(&toy, &mut seed);
            (content(&toy), snapshot(&toy))
        })
        .collect();
    for _ in 0..20 {
        scribble(&toy, &mut seed);
        let (wanted, image) = &moments[next(&mut seed) as usize % 4];
        toy.machine.restore(image).unwrap();
        assert!(content(&toy) == *wanted);
        toy.machine.mark();
        for _ in 0..3 {
            scribble(&toy, &mut seed);
            toy.machine.rewind(image).unwrap();
            assert!(content(&toy) == *wanted);
        }
        // One that takes pages over from the other.
        scribble(&toy, &mut seed);
        let mut bytes = Vec::new();
        capture(&toy.machine, Some(image), &mut bytes).unwrap();
        let wanted = content(&toy);
        toy.machine.restore(&Arc::new(Image::in_memory(bytes).unwrap())).unwrap();
        assert!(content(&toy) == wanted);
    }
    // Equal pages are there once, and zero pages not at all.
    assert!(moments[3].1.len() < 400 * PAGE as u64);
}

#[test]
fn another_machine_is_refused() {
    let image = snapshot(&toy("x"));
    let error = toy("y").machine.restore(&image).unwrap_err().to_string();
    assert_eq!(error, "field 'machine.cpu' differs: it is 'x' in the saved state and 'y' here");
}

/// Writes to memory before each round and at the stop, as a running guest does.
struct Guest<'a>(&'a Toy, Mutex<u64>);

impl Driver for Guest<'_> {
    fn changed(&self, _: Status, round: Option<u64>) {
        if round.is_some_and(|n| n < 5) {
            scribble(self.0, &mut self.1.lock().unwrap());
        }
    }
    fn stop(&self, last: Last) -> Option<Vec<u8>> {
        scribble(self.0, &mut self.1.lock().unwrap());
        Some(last(&self.0.machine))
    }
}

fn stream(toy: &Toy) -> Vec<u8> {
    let mut bytes = Vec::new();
    let progress = Progress::default();
    progress.begin(0);
    progress.set_limits(|limits| (limits.bandwidth, limits.downtime) = (0, 10));
    send(&toy.machine, &mut bytes, &progress, &Guest(toy, Mutex::new(5))).unwrap();
    bytes
}

#[test]
fn a_stream_arrives_whole() {
    let (from, to) = (toy("x"), toy("x"));
    scribble(&from, &mut 3);
    // What the receiver has in its memory is gone afterwards.
    scribble(&to, &mut 4);
    let bytes = stream(&from);
    let sections = receive(&to.machine, &mut Cursor::new(&bytes), &Progress::default()).unwrap();
    to.machine.load(&sections).unwrap();
    assert!(content(&to) == content(&from));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever is done to a stream or a snapshot, it ends in an error or in a machine, without a panic.
    #[test]
    fn damaged_bytes(at in 0usize..100_000, with in 0u8.., cut in 0usize..200_000, near_end in 0usize..9000) {
        let source = toy("x");
        scribble(&source, &mut 3);
        for (n, whole) in [stream(&source), { let mut b = Vec::new(); capture(&source.machine, None, &mut b).unwrap(); b }].into_iter().enumerate() {
            let places = [at % whole.len(), whole.len() - 1 - near_end % whole.len()];
            for place in places {
                let mut bytes = whole.clone();
                bytes[place] ^= with;
                if cut < bytes.len() && cut % 2 == 0 {
                    bytes.truncate(cut);
                }
                let target = toy("x");
                if let Ok(sections) = receive(&target.machine, &mut Cursor::new(&bytes), &Progress::default()) {
                    let _ = target.machine.load(&sections);
                }
                if n == 1 && let Ok(image) = Image::in_memory(bytes) {
                    let mut page = [0; PAGE];
                    for number in 0..PAGES {
                        let _ = image.page(0, number, &mut page);
                    }
                    let _ = image.state().map(|sections| target.machine.load(&sections));
                }
            }
        }
    }
}
