//! Submission and completion queues (4.1, 4.2, 4.6).

use std::collections::VecDeque;

use state::State;

/// Bytes of a command, and of an answer.
pub const COMMAND: usize = 64;
const ANSWER: u64 = 16;

/// A command as it lies in a submission queue.
#[derive(Clone, Copy, Debug)]
pub struct Command(pub [u8; COMMAND]);

impl Command {
    /// Double word `n`.
    pub fn word(&self, n: usize) -> u32 {
        let bytes = self.0.get(4 * n..4 * n + 4).unwrap_or_default();
        bytes.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte))
    }
    /// Two double words.
    pub fn double(&self, n: usize) -> u64 {
        u64::from(self.word(n + 1)) << 32 | u64::from(self.word(n))
    }
    /// What to do.
    pub fn opcode(&self) -> u8 {
        self.word(0) as u8
    }
    /// Fused operations and scatter-gather lists are not supported.
    pub fn is_plain(&self) -> bool {
        self.word(0) >> 8 & 0xc3 == 0
    }
    /// The command's identifier.
    pub fn id(&self) -> u16 {
        (self.word(0) >> 16) as u16
    }
    /// The namespace.
    pub fn namespace(&self) -> u32 {
        self.word(1)
    }
    /// The two pointers to pages.
    pub fn pages(&self) -> [u64; 2] {
        [self.double(6), self.double(8)]
    }
}

/// The answer to a command.
#[derive(Clone, Debug, Default, State)]
#[state(name = "nvme-completion")]
pub struct Completion {
    /// The submission queue it was in.
    pub queue: u16,
    /// Its identifier.
    pub id: u16,
    /// Depends on the command.
    pub result: u32,
    /// How it ended.
    pub status: u16,
}

/// A submission queue. One of size 0 does not exist.
#[derive(Clone, Debug, Default, State)]
#[state(name = "nvme-sq")]
pub struct SubmissionQueue {
    base: u64,
    size: u32,
    head: u16,
    tail: u16,
    /// Number of the completion queue.
    pub completion: u16,
    /// Commands taken and not answered yet.
    outstanding: u32,
    /// Differs from that of every queue before it: answers of a queue that was deleted go nowhere.
    pub generation: u64,
}

impl SubmissionQueue {
    /// A queue of `last + 1` commands.
    pub fn new(base: u64, last: u16, completion: u16, generation: u64) -> Self {
        Self { base, size: u32::from(last) + 1, completion, generation, ..Self::default() }
    }
    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.size > 0
    }
    /// Whether what was loaded can be.
    pub fn is_sound(&self, count: usize) -> bool {
        self.size <= 1 << 16
            && (!self.exists() || u32::from(self.head) < self.size && u32::from(self.tail) < self.size)
            && usize::from(self.completion) < count
    }
    /// The driver has put commands up to here; false if there is no such place.
    pub fn set_tail(&mut self, tail: u16) -> bool {
        let possible = u32::from(tail) < self.size;
        if possible {
            self.tail = tail;
        }
        possible
    }
    /// Whether there are commands to take.
    pub fn waits(&self) -> bool {
        self.exists() && self.head != self.tail
    }
    /// Whether as many commands are under way as the queue has places: no driver can tell them apart beyond that.
    pub fn is_full(&self) -> bool {
        self.outstanding >= self.size
    }
    /// Where the next command is.
    pub fn head_address(&self) -> u64 {
        self.base.wrapping_add(u64::from(self.head) * COMMAND as u64)
    }
    /// The next command has been taken.
    pub fn advance(&mut self) {
        self.head = if u32::from(self.head) + 1 >= self.size { 0 } else { self.head + 1 };
        self.outstanding += 1;
    }
    /// A command has been answered.
    pub fn answered(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }
    /// How far commands have been taken.
    pub fn head(&self) -> u16 {
        self.head
    }
}

/// A completion queue. One of size 0 does not exist.
#[derive(Clone, Debug, Default, State)]
#[state(name = "nvme-cq")]
pub struct CompletionQueue {
    base: u64,
    size: u32,
    head: u16,
    tail: u16,
    /// Inverted: the first round has phase 1.
    odd_round: bool,
    /// The message that tells of answers.
    pub vector: u16,
    /// Whether it is sent.
    pub interrupts: bool,
    /// Answers for which there was no room yet.
    pub waiting: VecDeque<Completion>,
}

impl CompletionQueue {
    /// A queue of `last + 1` answers.
    pub fn new(base: u64, last: u16, vector: u16, interrupts: bool) -> Self {
        Self { base, size: u32::from(last) + 1, vector, interrupts, ..Self::default() }
    }
    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.size > 0
    }
    /// Whether what was loaded can be.
    pub fn is_sound(&self) -> bool {
        self.size <= 1 << 16
            && (!self.exists() || u32::from(self.head) < self.size && u32::from(self.tail) < self.size)
    }
    /// The driver has seen answers up to here; false if there is no such place.
    pub fn set_head(&mut self, head: u16) -> bool {
        let possible = u32::from(head) < self.size;
        if possible {
            self.head = head;
        }
        possible
    }
    /// Whether there are answers that the driver has not seen.
    pub fn has_answers(&self) -> bool {
        self.exists() && self.head != self.tail
    }
    fn after_tail(&self) -> u16 {
        if u32::from(self.tail) + 1 >= self.size { 0 } else { self.tail + 1 }
    }
    /// The next answer that can be written, and where.
    pub fn next(&mut self) -> Option<(u64, Completion)> {
        if !self.exists() || self.after_tail() == self.head {
            return None;
        }
        let answer = self.waiting.pop_front()?;
        Some((self.base.wrapping_add(u64::from(self.tail) * ANSWER), answer))
    }
    /// An answer as it lies in memory.
    pub fn entry(&self, answer: &Completion, head: u16) -> [u8; ANSWER as usize] {
        let phase = u128::from(!self.odd_round);
        let all = u128::from(answer.result)
            | u128::from(head) << 64
            | u128::from(answer.queue) << 80
            | u128::from(answer.id) << 96
            | phase << 112
            | u128::from(answer.status) << 113;
        all.to_le_bytes()
    }
    /// The answer has been written.
    pub fn posted(&mut self) {
        self.tail = self.after_tail();
        if self.tail == 0 {
            self.odd_round = !self.odd_round;
        }
    }
}
