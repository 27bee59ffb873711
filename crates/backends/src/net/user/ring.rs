//! A ring of bytes of fixed size: what one direction of a connection holds.

use std::io::{IoSlice, IoSliceMut};

/// Bytes in their order, of which the oldest are taken.
pub(crate) struct Ring {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
    size: usize,
}

impl Ring {
    /// An empty ring of `size` bytes, which are allocated when they are needed.
    pub(crate) fn new(size: usize) -> Ring {
        Ring { bytes: Box::default(), start: 0, len: 0, size }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn room(&self) -> usize {
        self.size - self.len
    }

    fn allocate(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.size].into_boxed_slice();
        }
    }

    /// The free part, for reading into; then call [`Ring::add`].
    pub(crate) fn free(&mut self) -> [IoSliceMut<'_>; 2] {
        self.allocate();
        let end = self.start + self.len;
        if end < self.size {
            let (front, back) = self.bytes.split_at_mut(end);
            [IoSliceMut::new(back), IoSliceMut::new(&mut front[..self.start])]
        } else {
            let free = &mut self.bytes[end - self.size..self.start];
            [IoSliceMut::new(free), IoSliceMut::new(&mut [])]
        }
    }

    /// `count` bytes of the free part have been filled.
    pub(crate) fn add(&mut self, count: usize) {
        self.len = (self.len + count).min(self.size);
    }

    /// Appends as much as there is room for and says how much that was.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let [mut front, mut back] = self.free();
        let first = count.min(front.len());
        front[..first].copy_from_slice(&bytes[..first]);
        back[..count - first].copy_from_slice(&bytes[first..count]);
        self.add(count);
        count
    }

    fn parts(&self, from: usize, count: usize) -> (&[u8], &[u8]) {
        let from = from.min(self.len);
        let count = count.min(self.len - from);
        let start = self.start + from;
        if start >= self.size {
            let start = start - self.size;
            (&self.bytes[start..start + count], &[])
        } else {
            let first = count.min(self.size - start);
            (&self.bytes[start..start + first], &self.bytes[..count - first])
        }
    }

    /// All bytes, for writing out.
    pub(crate) fn filled(&self) -> [IoSlice<'_>; 2] {
        let (front, back) = self.parts(0, self.len);
        [IoSlice::new(front), IoSlice::new(back)]
    }

    /// Appends `count` bytes from the offset `from` on to `target`.
    pub(crate) fn copy(&self, from: usize, count: usize, target: &mut Vec<u8>) {
        let (front, back) = self.parts(from, count);
        target.extend_from_slice(front);
        target.extend_from_slice(back);
    }

    /// Takes the oldest bytes out.
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.start = if self.len == 0 { 0 } else { (self.start + count) % self.size };
    }
}

#[cfg(test)]
mod test {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn it_is_a_queue() {
        let mut ring = Ring::new(7);
        let mut model = VecDeque::<u8>::new();
        let mut next = 0u8;
        for step in 0..1000usize {
            next = next.wrapping_add(5);
            let bytes: Vec<u8> = (0..step % 5).map(|index| next.wrapping_add(index as u8)).collect();
            let count = ring.push(&bytes);
            assert_eq!(count, bytes.len().min(7 - model.len()));
            model.extend(&bytes[..count]);
            let mut copy = Vec::new();
            ring.copy(1, 3, &mut copy);
            assert_eq!(copy, model.iter().skip(1).take(3).copied().collect::<Vec<_>>());
            let whole: Vec<u8> = ring.filled().iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(model, whole);
            assert_eq!(ring.free().iter().map(|part| part.len()).sum::<usize>(), ring.room());
            let taken = (step * 7 % 4).min(model.len());
            ring.consume(taken);
            model.drain(..taken);
            assert_eq!((ring.len(), ring.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
