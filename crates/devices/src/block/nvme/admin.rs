//! Commands of the administrator's queue (5).

use super::io::Pages;
use super::queues::{Command, CompletionQueue, SubmissionQueue};
use super::{Nvme, namespace, status};

/// Codes of commands.
mod opcode {
    pub const DELETE_SQ: u8 = 0x00;
    pub const CREATE_SQ: u8 = 0x01;
    pub const GET_LOG: u8 = 0x02;
    pub const DELETE_CQ: u8 = 0x04;
    pub const CREATE_CQ: u8 = 0x05;
    pub const IDENTIFY: u8 = 0x06;
    pub const ABORT: u8 = 0x08;
    pub const SET_FEATURES: u8 = 0x09;
    pub const GET_FEATURES: u8 = 0x0a;
    pub const EVENT_REQUEST: u8 = 0x0c;
}

/// Numbers of features (5.21.1).
mod feature {
    pub const ARBITRATION: u8 = 0x01;
    pub const POWER: u8 = 0x02;
    pub const TEMPERATURE: u8 = 0x04;
    pub const ERROR_RECOVERY: u8 = 0x05;
    pub const WRITE_CACHE: u8 = 0x06;
    pub const QUEUES: u8 = 0x07;
    pub const COALESCING: u8 = 0x08;
    pub const VECTOR: u8 = 0x09;
    pub const ATOMICITY: u8 = 0x0a;
    pub const EVENTS: u8 = 0x0b;
    pub const TIMESTAMP: u8 = 0x0e;
}

/// Kelvin at which the controller would warn, and would be too hot.
pub const WARNING_TEMPERATURE: u16 = 0x157;
const CRITICAL_TEMPERATURE: u16 = 0x175;
/// It is always 50 degrees Celsius.
const TEMPERATURE: u16 = 0x143;
/// Bytes of what Identify returns.
pub const PAGE: usize = 4096;

type Answer = (u32, u16);

const OK: Answer = (0, status::SUCCESS);

fn failed(status: u16) -> Answer {
    (0, status)
}

/// Bytes filled field by field.
pub struct Fields(Vec<u8>);

impl Fields {
    /// So many zeroes.
    pub fn new(size: usize) -> Self {
        Self(vec![0; size])
    }
    /// Fills a field.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.0.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
    /// A text in a field of this size, padded with blanks.
    fn text(&mut self, at: usize, size: usize, text: &str) {
        if let Some(field) = self.0.get_mut(at..at + size) {
            field.fill(b' ');
            field.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

impl Nvme {
    /// Carries out a command; nothing if its answer comes later.
    pub(super) fn administer(&mut self, command: &Command) -> Option<Answer> {
        if !command.is_plain() {
            return Some(failed(status::INVALID_FIELD));
        }
        Some(match command.opcode() {
            opcode::CREATE_CQ => self.create_completion(command),
            opcode::CREATE_SQ => self.create_submission(command),
            opcode::DELETE_CQ => self.delete_completion(command),
            opcode::DELETE_SQ => self.delete_submission(command),
            opcode::IDENTIFY => self.identify(command),
            opcode::GET_LOG => self.log(command),
            opcode::GET_FEATURES => self.get_feature(command),
            opcode::SET_FEATURES => self.set_feature(command),
            // Nothing is aborted, which is allowed.
            opcode::ABORT => (1, status::SUCCESS),
            opcode::EVENT_REQUEST => {
                if self.regs.event_requests.len() > usize::from(self.aerl) {
                    return Some(failed(status::EVENT_LIMIT));
                }
                // There are no events.
                self.regs.event_requests.push(command.id());
                return None;
            }
            _ => failed(status::INVALID_OPCODE),
        })
    }

    fn create_completion(&mut self, command: &Command) -> Answer {
        let (number, last) = (command.word(10) as u16, (command.word(10) >> 16) as u16);
        let (flags, vector) = (command.word(11), (command.word(11) >> 16) as u16);
        let [base, _] = command.pages();
        if number == 0 || self.regs.completions.get(usize::from(number)).is_none_or(|queue| queue.exists()) {
            return failed(status::INVALID_QUEUE);
        }
        if last == 0 || last > self.mqes {
            return failed(status::INVALID_QUEUE_SIZE);
        }
        if base % self.page_size() != 0 {
            return failed(status::INVALID_PRP_OFFSET);
        }
        if vector >= self.vectors() {
            return failed(status::INVALID_VECTOR);
        }
        if flags & 1 == 0 {
            return failed(status::INVALID_FIELD);
        }
        if let Some(queue) = self.regs.completions.get_mut(usize::from(number)) {
            *queue = CompletionQueue::new(base, last, vector, flags & 2 != 0);
        }
        OK
    }

    fn create_submission(&mut self, command: &Command) -> Answer {
        let (number, last) = (command.word(10) as u16, (command.word(10) >> 16) as u16);
        let (flags, completion) = (command.word(11), (command.word(11) >> 16) as u16);
        let [base, _] = command.pages();
        let answers = self.regs.completions.get(usize::from(completion));
        if completion == 0 || !answers.is_some_and(|queue| queue.exists()) {
            return failed(status::INVALID_CQ);
        }
        if number == 0 || self.regs.submissions.get(usize::from(number)).is_none_or(|queue| queue.exists()) {
            return failed(status::INVALID_QUEUE);
        }
        if last == 0 || last > self.mqes {
            return failed(status::INVALID_QUEUE_SIZE);
        }
        if base % self.page_size() != 0 {
            return failed(status::INVALID_PRP_OFFSET);
        }
        if flags & 1 == 0 {
            return failed(status::INVALID_FIELD);
        }
        let generation = self.next_generation();
        if let Some(queue) = self.regs.submissions.get_mut(usize::from(number)) {
            *queue = SubmissionQueue::new(base, last, completion, generation);
        }
        OK
    }

    fn delete_submission(&mut self, command: &Command) -> Answer {
        let number = usize::from(command.word(10) as u16);
        match self.regs.submissions.get_mut(number).filter(|queue| number != 0 && queue.exists()) {
            Some(queue) => {
                let answers = usize::from(std::mem::take(queue).completion);
                if let Some(answers) = self.regs.completions.get_mut(answers) {
                    answers.waiting.retain(|answer| usize::from(answer.queue) != number);
                }
                OK
            }
            None => failed(status::INVALID_QUEUE),
        }
    }

    fn delete_completion(&mut self, command: &Command) -> Answer {
        let number = usize::from(command.word(10) as u16);
        if number == 0 || !self.regs.completions.get(number).is_some_and(|queue| queue.exists()) {
            return failed(status::INVALID_CQ);
        }
        let used = |queue: &SubmissionQueue| queue.exists() && usize::from(queue.completion) == number;
        if self.regs.submissions.iter().any(used) {
            return failed(status::INVALID_QUEUE_DELETION);
        }
        if let Some(queue) = self.regs.completions.get_mut(number) {
            *queue = CompletionQueue::default();
        }
        if !self.pci.msix_enabled() {
            self.update_pin();
        }
        OK
    }

    /// Copies what a command asks for to where it wants it.
    fn give(&self, command: &Command, bytes: &[u8]) -> Answer {
        let Some(dma) = self.pci.dma() else { return failed(status::INTERNAL) };
        let pages = Pages::of(command.pages(), bytes.len() as u64, self.page_size(), &dma);
        match pages.and_then(|pages| pages.write(&dma, 0, bytes)) {
            Ok(()) => OK,
            Err(status) => failed(status),
        }
    }

    fn identify(&self, command: &Command) -> Answer {
        let number = command.namespace();
        let namespace = self.namespaces.get(&number);
        let mut fields = Fields::new(PAGE);
        match command.word(10) & 0xff {
            // A namespace; the same of one that is not active is empty.
            0x00 | 0x11 => match namespace {
                Some(namespace) => fields = namespace.identify(),
                None if number == 0 || number > namespace::LAST && number != u32::MAX => {
                    return failed(status::INVALID_NAMESPACE);
                }
                None => {}
            },
            0x01 => self.identify_controller(&mut fields),
            // Namespaces after the given one.
            0x02 | 0x10 => {
                if number >= 0xffff_fffe {
                    return failed(status::INVALID_NAMESPACE);
                }
                let after = self.namespaces.keys().filter(|n| **n > number);
                after.enumerate().for_each(|(n, id)| fields.put(4 * n, &id.to_le_bytes()));
            }
            // What identifies a namespace.
            0x03 => match namespace {
                Some(namespace) => fields = namespace.descriptors(),
                None => return failed(status::INVALID_NAMESPACE),
            },
            // Controllers from the given one on that have the namespace, and all: there is number 0.
            code @ (0x12 | 0x13) => {
                if code == 0x12 && namespace.is_none() {
                    return failed(status::INVALID_FIELD);
                }
                fields.put(0, &[u8::from(command.word(10) >> 16 == 0)]);
            }
            _ => return failed(status::INVALID_FIELD),
        }
        self.give(command, &fields.0)
    }

    fn identify_controller(&self, fields: &mut Fields) {
        fields.put(0, &0x1b36u16.to_le_bytes());
        fields.put(2, &0x1af4u16.to_le_bytes());
        fields.text(4, 20, &self.serial.0);
        fields.text(24, 40, "QEMU NVMe Ctrl");
        fields.text(64, 8, "10.0.2");
        fields.put(72, &[6, 0, 0x54, 0x52]);
        fields.put(77, &[self.mdts]);
        fields.put(80, &super::VERSION.to_le_bytes());
        // An I/O controller.
        fields.put(111, &[1]);
        // Four aborts, so many event requests, one firmware slot that is read-only, logs of the whole controller.
        fields.put(258, &[3, self.aerl, 3, 2]);
        fields.put(266, &WARNING_TEMPERATURE.to_le_bytes());
        fields.put(268, &CRITICAL_TEMPERATURE.to_le_bytes());
        // Commands of 64 bytes, answers of 16.
        fields.put(512, &[0x66, 0x44]);
        fields.put(516, &namespace::LAST.to_le_bytes());
        // Compare, dataset management, write zeroes, timestamp.
        fields.put(520, &0x4du16.to_le_bytes());
        // There is a write cache, and flushes of all namespaces.
        fields.put(525, &[7]);
        let name = format!("nqn.2019-08.org.qemu:{}", self.serial.0);
        fields.put(768, name.as_bytes());
        // 25 W; entry and exit latencies.
        fields.put(2048, &[0xc4, 0x09, 0, 0, 0x10, 0, 0, 0, 4]);
    }

    fn log(&self, command: &Command) -> Answer {
        let count = (u64::from(command.word(10) >> 16) | u64::from(command.word(11) & 0xffff) << 16) + 1;
        let bytes = count * 4;
        let offset = command.double(12);
        let mut fields = match command.word(10) & 0xff {
            // Errors: none.
            0x01 => Fields::new(64),
            0x02 => {
                let mut health = Fields::new(512);
                health.put(1, &TEMPERATURE.to_le_bytes());
                // All spare blocks are there.
                health.put(3, &[100, 10]);
                health
            }
            0x03 => {
                let mut firmware = Fields::new(512);
                firmware.put(0, &[1]);
                firmware.text(8, 8, "10.0.2");
                firmware
            }
            0x05 => effects(),
            _ => return failed(status::INVALID_LOG),
        };
        let Some(size) = (fields.0.len() as u64).checked_sub(offset).filter(|_| offset.is_multiple_of(4))
        else {
            return failed(status::INVALID_FIELD);
        };
        let wanted = size.min(bytes) as usize;
        let part = fields.0.split_off(offset as usize);
        self.give(command, part.get(..wanted).unwrap_or_default())
    }

    fn queue_numbers(&self) -> u32 {
        let last = self.max_queues.saturating_sub(1);
        last << 16 | last
    }

    fn get_feature(&self, command: &Command) -> Answer {
        let regs = &self.regs;
        let value = match command.word(10) as u8 {
            feature::ARBITRATION => 7,
            feature::POWER | feature::COALESCING | feature::ATOMICITY => 0,
            feature::TEMPERATURE => regs.temperature_threshold.into(),
            feature::ERROR_RECOVERY if !self.namespaces.contains_key(&command.namespace()) => {
                return failed(status::INVALID_NAMESPACE);
            }
            feature::ERROR_RECOVERY => 0,
            feature::WRITE_CACHE => u32::from(regs.write_cache),
            feature::QUEUES => self.queue_numbers(),
            feature::VECTOR => {
                let vector = command.word(11) & 0xffff;
                if vector >= u32::from(self.vectors()) {
                    return failed(status::INVALID_FIELD);
                }
                // The administrator's interrupts are not coalesced.
                vector | if vector == 0 { 1 << 16 } else { 0 }
            }
            feature::EVENTS => regs.event_config,
            feature::TIMESTAMP => return self.give(command, &regs.host_timestamp.to_le_bytes()),
            _ => return failed(status::INVALID_FIELD),
        };
        (value, status::SUCCESS)
    }

    fn set_feature(&mut self, command: &Command) -> Answer {
        let (which, value) = (command.word(10), command.word(11));
        if which & 1 << 31 != 0 {
            return failed(status::NOT_SAVEABLE);
        }
        match which as u8 {
            feature::ARBITRATION | feature::COALESCING | feature::VECTOR => OK,
            feature::POWER if value & 0x1f == 0 => OK,
            feature::TEMPERATURE => {
                self.regs.temperature_threshold = value as u16;
                OK
            }
            feature::ERROR_RECOVERY if self.namespaces.contains_key(&command.namespace()) => OK,
            feature::WRITE_CACHE => {
                self.regs.write_cache = value & 1 != 0;
                OK
            }
            feature::QUEUES => {
                if value & 0xffff == 0xffff || value >> 16 == 0xffff {
                    return failed(status::INVALID_FIELD);
                }
                (self.queue_numbers(), status::SUCCESS)
            }
            feature::EVENTS => {
                self.regs.event_config = value;
                OK
            }
            feature::TIMESTAMP => self.set_timestamp(command),
            _ => failed(status::INVALID_FIELD),
        }
    }

    fn set_timestamp(&mut self, command: &Command) -> Answer {
        let Some(dma) = self.pci.dma() else { return failed(status::INTERNAL) };
        let mut bytes = [0; 8];
        let pages = Pages::of(command.pages(), 8, self.page_size(), &dma);
        match pages.and_then(|pages| pages.read(&dma, 0, &mut bytes)) {
            Ok(()) => {
                self.regs.host_timestamp = u64::from_le_bytes(bytes) & (u64::MAX >> 16);
                OK
            }
            Err(status) => failed(status),
        }
    }
}

/// Which commands exist (log 5): supported, or supported and changing data.
fn effects() -> Fields {
    let mut fields = Fields::new(PAGE);
    for code in [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c] {
        fields.put(4 * code, &[1]);
    }
    for (code, effect) in [(0x00, 3), (0x01, 3), (0x02, 1), (0x05, 1), (0x08, 3), (0x09, 3)] {
        fields.put(0x400 + 4 * code, &[effect]);
    }
    fields
}
