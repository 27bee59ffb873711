//! Boots firmware and a kernel in the interpreter, on a board with a UART and a CLINT. Needs
//! `TINAMOU_BOOT_FIRMWARE` (OpenSBI fw_jump.bin), `TINAMOU_BOOT_KERNEL` (Image) and `TINAMOU_BOOT_DTB`; ends when
//! `TINAMOU_BOOT_UNTIL` has been printed.

use crate::bus_test::{Devices, Machine, RAM};
use crate::hart::Platform;
use crate::{config, mode::M, slot};
use cpu::{Cpu, CpuHandle, Exit, Guest, Step};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// mtime: counts interpreted instructions.
#[derive(Default)]
struct Clock {
    now: AtomicU64,
    deadline: AtomicU64,
}
impl Platform for Clock {
    fn time(&self) -> u64 {
        self.now.load(Relaxed)
    }
    fn arm_stimecmp(&self, _: u32, deadline: Option<u64>) {
        self.deadline.store(deadline.unwrap_or(u64::MAX), Relaxed)
    }
}

struct Board {
    clock: Arc<Clock>,
    hart: Arc<CpuHandle>,
    timer: Arc<AtomicU64>,
    output: Arc<Mutex<Vec<u8>>>,
}
impl Devices for Board {
    fn read(&mut self, pa: u64, _: u64) -> Option<u64> {
        match pa {
            0x1000_0005 => Some(0x60),
            0x0200_bff8 => Some(self.clock.time()),
            0x0200_4000 => Some(self.timer.load(Relaxed)),
            0x0200_0000..0x0201_0000 | 0x0c00_0000..0x1000_0008 => Some(0),
            // No PCI functions, no virtio devices.
            0x3000_0000..0x4000_0000 => Some(u64::MAX),
            0x1000_1000..0x1001_0000 => Some(0),
            0x0010_1000..0x0010_2000 => Some(0),
            _ => None,
        }
    }
    fn write(&mut self, pa: u64, v: u64, _: u64) -> Option<()> {
        match pa {
            0x1000_0000 => {
                self.output.lock().unwrap().push(v as u8);
                let _ = std::io::stdout().write_all(&[v as u8]);
            }
            0x0200_0000 => self.hart.set_line(3, v & 1 != 0),
            0x0200_4000 => self.timer.store(v, Relaxed),
            _ => {}
        }
        Some(())
    }
}

#[test]
#[ignore]
fn boot() {
    let file = |name: &str| std::fs::read(std::env::var(name).expect(name)).expect(name);
    let clock = Arc::new(Clock::default());
    clock.deadline.store(u64::MAX, Relaxed);
    let mut m = Machine::on(config::rv64(), 256 << 20, clock.clone());
    let put = |m: &mut Machine, at: usize, b: &[u8]| m.bus.ram[at..at + b.len()].copy_from_slice(b);
    put(&mut m, 0, &file("TINAMOU_BOOT_FIRMWARE"));
    put(&mut m, 0x20_0000, &file("TINAMOU_BOOT_KERNEL"));
    put(&mut m, 0xf00_0000, &file("TINAMOU_BOOT_DTB"));
    m.hart.set_x(11, RAM + 0xf00_0000);
    let (timer, output) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(Mutex::new(Vec::new())));
    let hart = m.hart.handle().clone();
    let board =
        Board { clock: clock.clone(), hart: hart.clone(), timer: timer.clone(), output: output.clone() };
    m.bus.devices = Some(Box::new(board));
    let until = std::env::var("TINAMOU_BOOT_UNTIL").unwrap_or("Kernel panic".into());
    let start = std::time::Instant::now();
    let blocks = std::env::var("TINAMOU_BOOT_BLOCKS").is_ok();
    for n in 0u64.. {
        let step = if blocks { m.evaluate(40) } else { m.interpret() };
        clock
            .now
            .fetch_add(if step == Step::Exit(Exit::Halted) { 10_000 } else { (n & 3 == 0) as u64 }, Relaxed);
        if n & 63 == 0 || step != Step::Done {
            let now = clock.time();
            hart.set_line(7, now >= timer.load(Relaxed));
            hart.set_line(5, now >= clock.deadline.load(Relaxed));
        }
        if n & 0xfffff == 0 && String::from_utf8_lossy(&output.lock().unwrap()).contains(&until) {
            println!("\n{n} instructions, {:.1} s", start.elapsed().as_secs_f64());
            break;
        }
        if n & 0x3ff_ffff == 0 && n > 0 {
            eprintln!("[{n}: pc {:x}, privilege {}]", m.hart.pc(), m.hart.get(slot::PRIVILEGE));
        }
    }
    assert!(m.hart.privilege() <= M);
}
