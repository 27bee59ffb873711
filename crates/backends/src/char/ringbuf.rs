//! `ringbuf` (alias `memory`): keeps the last bytes for the monitor's `ringbuf_read`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{CharPort, CharReceiver};
use crate::Error;

/// A port whose output is kept in memory, the newest bytes winning.
pub struct RingBuf {
    size: usize,
    bytes: Mutex<VecDeque<u8>>,
}

impl RingBuf {
    /// A buffer of `size` bytes.
    ///
    /// # Errors
    /// The size is not a power of two.
    pub fn new(size: u64) -> Result<RingBuf, Error> {
        if !size.is_power_of_two() || size > 1 << 30 {
            return Err(Error::new("size of ringbuf chardev must be power of two"));
        }
        Ok(RingBuf { size: size as usize, bytes: Mutex::default() })
    }

    /// Takes at most `limit` of the oldest bytes out.
    pub fn read(&self, limit: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        let count = limit.min(bytes.len());
        bytes.drain(..count).collect()
    }

    fn bytes(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CharPort for RingBuf {
    fn write(&self, new: &[u8]) -> usize {
        let mut bytes = self.bytes();
        bytes.extend(new);
        let surplus = bytes.len().saturating_sub(self.size);
        bytes.drain(..surplus);
        new.len()
    }

    fn set_receiver(&self, _: Option<Arc<dyn CharReceiver>>) {}

    fn receive_ready(&self) {}

    fn describe(&self) -> String {
        "ringbuf".to_owned()
    }
}
