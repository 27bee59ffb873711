//! `-accel tcg,aside=...`: other threads leave the processor that a vCPU waits for.

mod common;

use common::{Machine, elf, temporary, until};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What the kernel says of a thread of the machine: its name, the processor that it ran on last, and where it may run.
fn thread(machine: &Machine, number: &str) -> Option<(String, String, String)> {
    let file =
        |what| std::fs::read_to_string(format!("/proc/{}/task/{number}/{what}", machine.child.id())).ok();
    let (stat, status) = (file("stat")?, file("status")?);
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let processor = rest.split_whitespace().nth(36)?;
    let allowed = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
    Some((name.to_owned(), processor.to_owned(), allowed.trim().to_owned()))
}

/// Where the main loop may run, and where the vCPU runs and may run.
fn places(machine: &Machine) -> Option<(String, String, String)> {
    let (_, _, main) = thread(machine, &machine.child.id().to_string())?;
    let threads = std::fs::read_dir(format!("/proc/{}/task", machine.child.id())).ok()?;
    let mut threads = threads.flatten().filter_map(|t| thread(machine, t.file_name().to_str()?));
    let (_, processor, vcpu) = threads.find(|(name, ..)| name.starts_with("CPU 0"))?;
    Some((main, processor, vcpu))
}

/// Sets it in the end, however that comes.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn others_leave_the_processor_of_a_vcpu_that_waits_for_it() {
    let all = sched_getaffinity(None).unwrap();
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&n| all.is_set(n)).collect();
    let scheduling = std::fs::read_to_string("/proc/self/schedstat").is_ok();
    if processors.len() < 2 || !scheduling {
        eprintln!("SKIPPED: there is one processor, or a kernel that does not say who waits");
        return;
    }
    let kernel = temporary("self.elf");
    // j .
    std::fs::write(&kernel, elf(0x8000_0000, &[0x0000_006f])).unwrap();
    let line = format!("-M virt -bios none -display none -kernel {}", kernel.display());
    let start = |more: &str| Machine::start(&format!("{line} {more}"));
    let kept = start("-accel tcg");
    let free = start("-accel tcg,aside=off");
    // This call would end it.
    let mut forbidden = start("-accel tcg -sandbox on,resourcecontrol=deny");
    let usual = until("there is no vCPU", || places(&kept)).2;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ending = Ending(&done);
        for &n in &processors {
            let done = &done;
            scope.spawn(move || {
                let mut one = CpuSet::new();
                one.set(n);
                sched_setaffinity(None, &one).unwrap();
                while !done.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let moved = || places(&kept).filter(|(main, ..)| *main != usual);
        let (main, _, vcpu) = until("the main loop stays", moved);
        // The vCPU may have been moved meanwhile, but may run where it could.
        assert_eq!(vcpu, usual);
        assert!(!main.is_empty());
        std::thread::sleep(Duration::from_millis(500));
        for machine in [&free, &forbidden] {
            assert_eq!(
                places(machine).map(|(main, _, vcpu)| (main, vcpu)),
                Some((usual.clone(), usual.clone()))
            );
        }
    });
    assert!(forbidden.child.try_wait().unwrap().is_none());
    std::fs::remove_file(kernel).unwrap();
}
