use super::*;
use crate::Ram;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Pages full of one byte.
struct Full(u8);

impl PageSource for Full {
    fn page(&self, _: u64, into: &mut [u8; PAGE_SIZE as usize]) -> Result<(), String> {
        into.fill(self.0);
        Ok(())
    }
}

/// The same, late: says that it is asked, and takes its time.
struct Slow(Full, Sender<()>);

impl PageSource for Slow {
    fn page(&self, offset: u64, into: &mut [u8; PAGE_SIZE as usize]) -> Result<(), String> {
        let _ = self.1.send(());
        std::thread::sleep(Duration::from_millis(100));
        self.0.page(offset, into)
    }
}

fn first(ram: &Ram, page: u64) -> u8 {
    let mut byte = [0];
    ram.read(page * PAGE_SIZE, &mut byte);
    byte[0]
}

#[test]
fn what_another_source_was_bringing_is_not_in_the_new_content() {
    let ram = Ram::anonymous(4 * PAGE_SIZE).unwrap();
    let (asked, is_asked) = channel();
    ram.defer(Arc::new(Slow(Full(0xaa), asked)), std::slice::from_ref(&(0..4)));
    std::thread::scope(|s| {
        s.spawn(|| ram.complete());
        is_asked.recv().unwrap();
        // It is bringing the first page now.
        ram.replace(Arc::new(Full(0xbb)), |page| page != 2);
        assert_eq!([0, 1, 2, 3].map(|page| first(&ram, page)), [0, 0, 0xbb, 0]);
    });
    assert_eq!([0, 1, 2, 3].map(|page| first(&ram, page)), [0, 0, 0xbb, 0]);
    assert!(!ram.is_coming());
}
