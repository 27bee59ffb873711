use super::*;
use memory::Ram;
use std::sync::atomic::{AtomicU32, Ordering};

struct Screen(Mutex<Vec<u8>>);

impl CharPort for Screen {
    fn write(&self, bytes: &[u8]) -> usize {
        self.0.lock().unwrap().extend(bytes);
        bytes.len()
    }
    fn set_receiver(&self, _: Option<Arc<dyn CharReceiver>>) {}
    fn receive_ready(&self) {}
    fn describe(&self) -> String {
        String::new()
    }
}

const TOHOST: u64 = 0x1000;
const FROMHOST: u64 = 0x1040;

fn system() -> (Arc<AddressSpace>, Arc<Screen>, Arc<AtomicU32>, events::Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    let root = Region::container("system", memory::WHOLE);
    let space = AddressSpace::new("memory", &root);
    root.add_subregion(0, &Region::ram("ram", Ram::anonymous(0x10000).unwrap()));
    let screen = Arc::new(Screen(Mutex::default()));
    let (_, region, base) = Htif::new(&space, &events, Some(screen.clone()), (TOHOST, FROMHOST), None);
    root.add_overlap(base, &region, 1);
    let exit = Arc::new(AtomicU32::new(u32::MAX));
    let told = exit.clone();
    space.set_effect_sink(Arc::new(move |effect| {
        if let Effect::Shutdown { status, .. } = effect {
            told.store(status, Ordering::SeqCst);
        }
    }));
    (space, screen, exit, runner)
}

#[test]
fn exits() {
    let (space, _, exit, _) = system();
    space.write_int(TOHOST, 8, 5 << 1 | 1).unwrap();
    assert_eq!(exit.load(Ordering::SeqCst), 5);
    // As the test suites write it: the low word and then the high one.
    space.write_int(TOHOST, 4, 1).unwrap();
    space.write_int(TOHOST + 4, 4, 0).unwrap();
    assert_eq!(exit.load(Ordering::SeqCst), 0);
}

#[test]
fn the_low_word_alone_is_an_exit_after_a_while() {
    let (space, _, exit, mut runner) = system();
    space.write_int(TOHOST, 4, 3 << 1 | 1).unwrap();
    assert_eq!(exit.load(Ordering::SeqCst), u32::MAX);
    runner.run(|| exit.load(Ordering::SeqCst) != u32::MAX).unwrap();
    assert_eq!(exit.load(Ordering::SeqCst), 3);
}

#[test]
fn console_and_system_calls() {
    let (space, screen, _, _) = system();
    space.write_int(TOHOST, 8, 1 << 56 | 1 << 48 | u64::from(b'a')).unwrap();
    assert_eq!(space.read_int(FROMHOST, 8).unwrap(), 1 << 56 | 1 << 48 | u64::from(b'a'));
    space.write(0x3000, b"hello").unwrap();
    for (n, word) in [64, 1, 0x3000, 5].into_iter().enumerate() {
        space.write_int(0x2000 + n as u64 * 8, 8, word).unwrap();
    }
    space.write_int(TOHOST, 8, 0x2000).unwrap();
    assert_eq!(space.read_int(0x2000, 8).unwrap(), 5);
    assert_eq!(space.read_int(FROMHOST, 8).unwrap(), 1);
    assert_eq!(*screen.0.lock().unwrap(), b"ahello");
}
