//! Runs bare-metal ELF programs that report through `tohost` (riscv-tests) on the engine, in each of its ways.
//! `TINAMOU_RISCV_TESTS` names the directory of the programs; without it the test says so and passes.

use cpu::{Accelerator, Cpu, Cpus, Exit, Guest, Mmu, Stop};
use engine::{Options, Shared, Tcg};
use memory::{AddressSpace, Ram, Region};
use object_file::{Object, ObjectSegment, ObjectSymbol};
use riscv::{Hart, Platform};
use std::sync::Arc;
use std::time::Instant;

struct Clock(Instant);
impl Platform for Clock {
    fn time(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64 / 100
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
    fn sbi_ecall(&self, _: &mut Hart, _: &mut dyn Mmu<Hart>) -> Option<Result<(), Stop>> {
        None
    }
}

/// Runs a program; its exit code, or why it has none.
fn run(elf: &[u8], options: Options) -> Result<u64, String> {
    let file = object_file::File::parse(elf).map_err(|e| e.to_string())?;
    let ram = Ram::anonymous(64 << 20).unwrap();
    for s in file.segments() {
        ram.write(s.address() - 0x8000_0000, s.data().map_err(|e| e.to_string())?);
    }
    let tohost =
        file.symbols().find(|s| s.name() == Ok("tohost")).ok_or("no tohost")?.address() - 0x8000_0000;
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(0x8000_0000, &Region::ram("ram", ram.clone()));
    let space = AddressSpace::new("memory", &root);
    let cpus = Cpus::new();
    let shared = Shared::new::<Hart>(space, cpus.clone(), options).unwrap();
    let config = riscv::config::rv64();
    let mut hart = Hart::new(0, config, Arc::new(Clock(Instant::now())));
    hart.set_reset_pc(0x8000_0000);
    cpus.add(hart.handle().clone());
    let mut tcg = Tcg::<Hart>::new(shared, hart.config().clone());
    let handle = hart.handle().clone();
    let (done, watch) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), ram.clone());
    let stop = done.clone();
    let watcher = std::thread::spawn(move || {
        let start = Instant::now();
        while watch.read_u64(tohost) == 0
            && start.elapsed().as_secs() < 10
            && !stop.load(std::sync::atomic::Ordering::Relaxed)
        {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        handle.kick();
    });
    let exit = tcg.run(&mut hart);
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    watcher.join().unwrap();
    match ram.read_u64(tohost) {
        1 => Ok(0),
        0 => Err(format!("{exit:?} at {:x}\n{}", hart.pc(), hart.dump(false))),
        n => Ok(n >> 1),
    }
}

fn all(options: Options) {
    let Ok(dir) = std::env::var("TINAMOU_RISCV_TESTS") else {
        eprintln!("skipped: TINAMOU_RISCV_TESTS does not name a directory of riscv-tests");
        return;
    };
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut passed, mut failed) = (0, Vec::new());
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some() || !name.contains(&only) {
            continue;
        }
        match run(&std::fs::read(&path).unwrap(), options.clone()) {
            Ok(0) => passed += 1,
            Ok(n) => failed.push(format!("{name}: test {n}")),
            Err(e) if only.is_empty() => failed.push(format!("{name}: {}", e.lines().next().unwrap_or(""))),
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    failed.iter().for_each(|f| println!("{f}"));
}

#[test]
fn translated() {
    all(Options { warmup: 0, ..Options::default() });
}

#[test]
fn interpreted() {
    all(Options { interpret: true, ..Options::default() });
}

#[test]
fn warming_up() {
    all(Options::default());
}

#[test]
fn verified() {
    all(Options { verify: true, nochain: true, ..Options::default() });
}

const _: fn(Exit) = |_| ();
