use std::sync::mpsc;

use super::super::NullDevice;
use super::*;

/// Bytes in memory.
struct Memory(Mutex<Vec<u8>>);

impl BlockDevice for Memory {
    fn len(&self) -> u64 {
        locked(&self.0).len() as u64
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&locked(&self.0)[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        locked(&self.0)[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_only(&self) -> bool {
        false
    }
}

#[test]
fn many_requests_complete() {
    let queue = BlockQueue::new(Arc::new(Memory(Mutex::new(vec![0; 512 * 1000]))));
    let (sender, receiver) = mpsc::channel();
    for index in 0..1000u64 {
        let sender = sender.clone();
        let bytes = vec![index as u8; 512];
        queue.submit(Request::Write { offset: index * 512, bytes }, move |result| {
            sender.send(result).unwrap()
        });
    }
    queue.drain();
    assert_eq!(receiver.try_iter().filter(Result::is_ok).count(), 1000);
    for index in 0..1000u64 {
        let sender = sender.clone();
        queue.submit(Request::Read { offset: index * 512, len: 512 }, move |result| {
            assert_eq!(*result.as_ref().unwrap(), vec![index as u8; 512]);
            sender.send(result).unwrap();
        });
    }
    drop(queue);
    assert_eq!(receiver.try_iter().count(), 1000);
}

#[test]
fn absurd_requests_fail() {
    let queue = BlockQueue::new(Arc::new(NullDevice { len: 4096, read_only: true }));
    let (sender, receiver) = mpsc::channel();
    for request in [
        Request::Read { offset: u64::MAX, len: usize::MAX },
        Request::Read { offset: 4096, len: 1 },
        Request::Write { offset: 0, bytes: vec![0; 512] },
        Request::Discard { offset: 1, len: u64::MAX },
        Request::WriteZeroes { offset: 4000, len: 512, unmap: true },
    ] {
        let sender = sender.clone();
        queue.submit(request, move |result| sender.send(result).unwrap());
    }
    queue.drain();
    assert_eq!(receiver.try_iter().filter(Result::is_err).count(), 5);
}

/// Where instructions are counted, what has been asked for is done on the caller's thread, and may ask for more.
#[test]
fn counted_requests_ask_for_more() {
    let (events, _runner) = EventLoop::new().unwrap();
    events.clocks().count_instructions(Arc::new(Icount::new(events::IcountOptions::default())));
    let queue = Arc::new(BlockQueue::new(Arc::new(NullDevice { len: 4096, read_only: false })));
    queue.follow_clock(&events);
    let done = Arc::new(Mutex::new(Vec::new()));
    let (again, first, last) = (queue.clone(), done.clone(), done.clone());
    queue.run(move |_| {
        locked(&first).push(1);
        again.run(move |_| locked(&last).push(2));
    });
    queue.drain();
    assert_eq!(*locked(&done), [1]);
    queue.drain();
    assert_eq!(*locked(&done), [1, 2]);
}
