//! The platform-level interrupt controller of SiFive's chips and of the `virt` board.
//!
//! Documents: RISC-V Platform-Level Interrupt Controller Specification 1.0.0 and SiFive FU540-C000 Manual,
//! chapter 10. The register offsets are properties, since chips differ in them.
//!
//! The gateways keep what is observable of QEMU's: a rising edge makes the source pending even while an
//! earlier request of it is in service. Besides, as the specification asks of a level-triggered source, a
//! source whose line is still high when its request is completed becomes pending again.

use base::Bits;
use object::{Device, Effect, Line};
use state::State;

/// Which privilege mode a context interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// User.
    U,
    /// Supervisor.
    S,
    /// Hypervisor, as old documents name it.
    H,
    /// Machine.
    M,
}

/// One context: a privilege mode of a hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The hart, counted from `hartid-base`.
    pub hart: u32,
    /// The mode.
    pub mode: Mode,
}

/// Sources beyond this do not fit between the pending bits and the enable bits.
const MAX_SOURCES: u32 = 1024;

/// Reads a `hart-config` such as `MS,MS`: for each hart the modes that have a context, in order.
pub fn parse_hart_config(text: &str) -> base::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (hart, modes) in text.split(',').enumerate() {
        for letter in modes.chars() {
            let mode = match letter {
                'U' => Mode::U,
                'S' => Mode::S,
                'H' => Mode::H,
                'M' => Mode::M,
                _ => return Err(base::error!("plic: invalid mode '{letter}' in hart-config '{text}'")),
            };
            targets.push(Target { hart: hart as u32, mode });
        }
    }
    Ok(targets)
}

/// What one context has programmed.
#[derive(Clone, Debug, Default, State)]
#[state(name = "plic-context")]
struct PerContext {
    enable: Vec<u32>,
    threshold: u32,
}

/// The registers, and the lines as the gateways have seen them. Bit N of a set is source N.
#[derive(Clone, Debug, Default, State)]
#[state(name = "riscv_sifive_plic")]
pub struct Registers {
    priority: Vec<u32>,
    pending: Vec<u32>,
    claimed: Vec<u32>,
    level: Vec<u32>,
    contexts: Vec<PerContext>,
}

/// The device.
#[derive(Device)]
#[device(name = "riscv.sifive.plic", parent = "sys-bus-device", bus = "System", inputs = self.num_sources)]
#[mmio(name = "riscv.sifive.plic", size = self.aperture_size, access = 4..=8, implemented = 4..=4)]
pub struct SifivePlic {
    /// Modes of each hart that have a context.
    #[property]
    pub hart_config: String,
    /// Id of the first hart.
    #[property(default = 0u32)]
    pub hartid_base: u32,
    /// Number of sources, source 0 (which does not exist) included.
    #[property(default = 0u32)]
    pub num_sources: u32,
    /// The highest priority.
    #[property(default = 0u32)]
    pub num_priorities: u32,
    /// Offset of the priority of source 0.
    #[property(default = 0u32)]
    pub priority_base: u32,
    /// Offset of the pending bits.
    #[property(default = 0u32)]
    pub pending_base: u32,
    /// Offset of the enable bits of context 0.
    #[property(default = 0u32)]
    pub enable_base: u32,
    /// Bytes from one context's enable bits to the next's.
    #[property(default = 0u32)]
    pub enable_stride: u32,
    /// Offset of threshold and claim of context 0.
    #[property(default = 0u32)]
    pub context_base: u32,
    /// Bytes from one context's threshold to the next's.
    #[property(default = 0u32)]
    pub context_stride: u32,
    /// Size of the window.
    #[property(default = 0u32)]
    pub aperture_size: u32,

    /// One output for each context, in the order of `hart-config`.
    #[wire(name = "")]
    context: Vec<Line>,
    targets: Vec<Target>,

    #[state]
    regs: Registers,
}

/// Where an offset leads.
enum Register {
    Priority(usize),
    Pending(usize),
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
}

fn get(set: &[u32], n: usize) -> bool {
    set.get(n / 32).is_some_and(|word| word.bit(n as u32 % 32))
}

fn put(set: &mut [u32], n: usize, on: bool) {
    if let Some(word) = set.get_mut(n / 32) {
        *word = word.with_bit(n as u32 % 32, on);
    }
}

impl SifivePlic {
    /// The controller of the `virt` board for harts configured as `hart_config` says.
    ///
    /// # Errors
    /// `hart_config` has a letter that is no mode.
    pub fn virt(hart_config: &str) -> base::Result<Self> {
        let mut plic = Self {
            hart_config: hart_config.to_owned(),
            num_sources: 96,
            num_priorities: 7,
            pending_base: 0x1000,
            enable_base: 0x2000,
            enable_stride: 0x80,
            context_base: 0x20_0000,
            context_stride: 0x1000,
            aperture_size: 0x60_0000,
            ..Self::default()
        };
        plic.prepare()?;
        Ok(plic)
    }

    /// The outputs are known as soon as the configuration is, so that they can be connected.
    fn prepare(&mut self) -> base::Result<()> {
        self.targets = parse_hart_config(&self.hart_config)?;
        self.context.resize(self.targets.len(), Line::unconnected());
        Ok(())
    }

    /// The contexts, in the order of the outputs; known once the device is realized.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn words(&self) -> usize {
        self.num_sources.div_ceil(32) as usize
    }

    fn decode(&self, offset: u64) -> Option<Register> {
        let within = |base: u32, stride: u32, count: usize| {
            let from = offset.checked_sub(u64::from(base))?;
            let n = from.checked_div(u64::from(stride))?;
            (n < count as u64).then(|| (n as usize, from % u64::from(stride)))
        };
        if !offset.is_multiple_of(4) {
            return None;
        }
        let contexts = self.regs.contexts.len();
        if let Some((n, _)) = within(self.priority_base, 4, self.num_sources as usize) {
            return Some(Register::Priority(n));
        }
        if let Some((n, _)) = within(self.pending_base, 4, self.words()) {
            return Some(Register::Pending(n));
        }
        if let Some((context, rest)) = within(self.enable_base, self.enable_stride, contexts)
            && rest / 4 < self.words() as u64
        {
            return Some(Register::Enable(context, (rest / 4) as usize));
        }
        match within(self.context_base, self.context_stride, contexts)? {
            (context, 0) => Some(Register::Threshold(context)),
            (context, 4) => Some(Register::Claim(context)),
            _ => None,
        }
    }

    /// A priority as the hardware keeps it: the low bits when the number of priorities is a power of two,
    /// else only values that exist.
    fn legal_priority(&self, value: u32) -> Option<u32> {
        let levels = self.num_priorities.wrapping_add(1);
        if levels.is_power_of_two() {
            Some(value & self.num_priorities)
        } else {
            (value <= self.num_priorities).then_some(value)
        }
    }

    /// The source that the context would be given now: the highest priority above the threshold, and of
    /// equals the lowest number. 0 if there is none.
    fn best(&self, context: usize) -> u32 {
        let Some(per) = self.regs.contexts.get(context) else { return 0 };
        let (mut best, mut best_priority) = (0, per.threshold);
        let sets = self.regs.pending.iter().zip(&self.regs.claimed).zip(&per.enable);
        for (n, ((pending, claimed), enable)) in sets.enumerate() {
            let mut candidates = pending & !claimed & enable;
            while candidates != 0 {
                let source = n as u32 * 32 + candidates.trailing_zeros();
                candidates &= candidates - 1;
                let priority = self.regs.priority.get(source as usize).copied().unwrap_or(0);
                if priority > best_priority {
                    (best, best_priority) = (source, priority);
                }
            }
        }
        best
    }

    fn update(&mut self) {
        for context in 0..self.regs.contexts.len() {
            let level = self.best(context) != 0;
            if let Some(line) = self.context.get(context) {
                line.set(level);
            }
        }
    }

    fn claim(&mut self, context: usize) -> u32 {
        let source = self.best(context);
        if source != 0 {
            put(&mut self.regs.pending, source as usize, false);
            put(&mut self.regs.claimed, source as usize, true);
            self.update();
        }
        source
    }

    fn complete(&mut self, context: usize, source: usize) {
        let enabled = self.regs.contexts.get(context).is_some_and(|per| get(&per.enable, source));
        if source >= self.num_sources as usize || !enabled {
            base::guest_error!(
                "plic: context {context} completes interrupt {source}, which it has not enabled"
            );
            return;
        }
        put(&mut self.regs.claimed, source, false);
        if get(&self.regs.level, source) {
            put(&mut self.regs.pending, source, true);
        }
        self.update();
    }
}

impl Device for SifivePlic {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let word = |set: &[u32], n: usize| set.get(n).copied().unwrap_or(0);
        let value = match self.decode(offset) {
            Some(Register::Priority(n)) => word(&self.regs.priority, n),
            Some(Register::Pending(n)) => word(&self.regs.pending, n),
            Some(Register::Enable(context, n)) => {
                self.regs.contexts.get(context).map_or(0, |per| word(&per.enable, n))
            }
            Some(Register::Threshold(context)) => {
                self.regs.contexts.get(context).map_or(0, |per| per.threshold)
            }
            Some(Register::Claim(context)) => self.claim(context),
            None => {
                base::guest_error!("plic: read of {offset:#x}, where no register is");
                0
            }
        };
        u64::from(value)
    }

    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let value = value as u32;
        match self.decode(offset) {
            // Source 0 does not exist.
            Some(Register::Priority(0)) => {}
            Some(Register::Priority(n)) => {
                if let (Some(priority), Some(register)) =
                    (self.legal_priority(value), self.regs.priority.get_mut(n))
                {
                    *register = priority;
                    self.update();
                }
            }
            Some(Register::Pending(_)) => {
                base::guest_error!("plic: write to the pending bits, which can only be read");
            }
            Some(Register::Enable(context, n)) => {
                if let Some(word) = self.regs.contexts.get_mut(context).and_then(|per| per.enable.get_mut(n))
                {
                    *word = value;
                    self.update();
                }
            }
            Some(Register::Threshold(context)) => {
                if let (Some(priority), Some(per)) =
                    (self.legal_priority(value), self.regs.contexts.get_mut(context))
                {
                    per.threshold = priority;
                    self.update();
                }
            }
            Some(Register::Claim(context)) => self.complete(context, value as usize),
            None => base::guest_error!("plic: write to {offset:#x}, where no register is"),
        }
        Effect::None
    }

    fn input(&mut self, source: usize, level: bool) {
        if source == 0 || source >= self.num_sources as usize {
            return;
        }
        let rising = level && !get(&self.regs.level, source);
        put(&mut self.regs.level, source, level);
        if rising {
            put(&mut self.regs.pending, source, true);
            self.update();
        }
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.num_sources > MAX_SOURCES {
            return Err(base::error!(
                "plic: num-sources is {}, which is above {MAX_SOURCES}",
                self.num_sources
            ));
        }
        self.prepare()?;
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        let level = std::mem::take(&mut self.regs.level);
        self.reset_state();
        // The lines are not the controller's: who holds one high is reset too, and lowers it.
        self.regs.level = level;
        self.update();
    }

    fn reset_state(&mut self) {
        let words = vec![0; self.words()];
        let context = PerContext { enable: words.clone(), threshold: 0 };
        self.regs = Registers {
            priority: vec![0; self.num_sources as usize],
            pending: words.clone(),
            claimed: words.clone(),
            level: words,
            contexts: vec![context; self.targets.len()],
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        let words = self.words();
        let sets = [&self.regs.pending, &self.regs.claimed, &self.regs.level];
        let fits = self.regs.priority.len() == self.num_sources as usize
            && sets.iter().all(|set| set.len() == words)
            && self.regs.contexts.len() == self.targets.len()
            && self.regs.contexts.iter().all(|per| per.enable.len() == words);
        if !fits {
            return Err("the controller has other sources or contexts".to_owned());
        }
        for context in 0..self.regs.contexts.len() {
            let level = self.best(context) != 0;
            if let Some(line) = self.context.get(context) {
                line.refresh(level);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "sifive_plic_test.rs"]
mod test;
