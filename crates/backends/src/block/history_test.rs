use std::path::PathBuf;

use super::super::test_support::TempFile;
use super::super::{Overlay, RawFile, RawOptions};
use super::*;

const LEN: usize = 5 * CLUSTER as usize + 512;

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *seed >> 24
}

fn scribble(disk: &dyn BlockDevice, seed: &mut u64) {
    for _ in 0..6 {
        let offset = next(seed) % LEN as u64;
        let len = (next(seed) % 100_000).min(LEN as u64 - offset);
        disk.write_at(offset, &vec![next(seed) as u8; len as usize]).unwrap();
    }
}

fn content(disk: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

fn open(image: &TempFile) -> Arc<History<RawFile>> {
    History::new(RawFile::open(&image.0, RawOptions { lock: false, ..RawOptions::default() }).unwrap())
}

struct LogFile(PathBuf);

impl LogFile {
    fn new(name: &str) -> LogFile {
        LogFile(std::env::temp_dir().join(format!("history-test-{}-{name}", std::process::id())))
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Any of several moments, in any order, with writes in between.
#[test]
fn back_and_forth() {
    let image = TempFile::new("history", &vec![1; LEN]);
    let disk = open(&image);
    let mut seed = 1;
    let mut moments = Vec::new();
    let files: Vec<_> = (0..3).map(|n| LogFile::new(&format!("forth-{n}"))).collect();
    for n in 0..6 {
        let log = match files.get(n / 2).filter(|_| n % 2 == 0) {
            Some(file) => Log::create(&file.0, LEN as u64).unwrap(),
            None => Log::in_memory(LEN as u64),
        };
        let log = Arc::new(log);
        moments.push((content(&*disk), log.clone()));
        disk.begin(log, true).unwrap();
        scribble(&*disk, &mut seed);
    }
    for round in 0..40 {
        let (wanted, log) = &moments[(next(&mut seed) % 6) as usize];
        disk.rewind(log).unwrap();
        assert!(content(&*disk) == *wanted, "round {round}");
        scribble(&*disk, &mut seed);
    }
    disk.forget(&moments[0].1);
    disk.rewind(&moments[5].1).unwrap();
    assert!(content(&*disk) == moments[5].0);
}

#[test]
fn a_log_outlives_the_program() {
    let image = TempFile::new("outlives", &vec![1; LEN]);
    let file = LogFile::new("outlives");
    let mut seed = 7;
    let path = Path::new(&image.0);
    let wanted = {
        let disk = open(&image);
        scribble(&*disk, &mut seed);
        let log = Arc::new(Log::create(&file.0, LEN as u64).unwrap());
        let wanted = content(&*disk);
        disk.begin(log, true).unwrap();
        scribble(&*disk, &mut seed);
        // Here the program is killed.
        wanted
    };
    {
        let disk = open(&image);
        let log = Arc::new(Log::open(&file.0, path, LEN as u64, true).unwrap());
        disk.attach(log.clone());
        scribble(&*disk, &mut seed);
        log.close(path).unwrap();
    }
    let disk = open(&image);
    let log = Arc::new(Log::open(&file.0, path, LEN as u64, true).unwrap());
    disk.attach(log.clone());
    disk.rewind(&log).unwrap();
    assert!(content(&*disk) == wanted);
    log.close(path).unwrap();
    drop(disk);
    // Somebody else writes.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&image.0, vec![2; LEN]).unwrap();
    for _ in 0..2 {
        let error = Log::open(&file.0, path, LEN as u64, true).err().unwrap().to_string();
        assert!(error.ends_with("was changed by another program since the snapshot was taken"), "{error}");
    }
    assert!(Log::open(&file.0, path, 512, true).is_err());
}

/// With `snapshot=on`: what lies above the image is in the log, and nothing reaches the image.
#[test]
fn above_an_overlay() {
    let original = vec![1; LEN];
    let image = TempFile::new("above", &original);
    let read_only = RawOptions { read_only: true, lock: false, ..RawOptions::default() };
    let over = || History::new(Overlay::new(RawFile::open(&image.0, read_only).unwrap()).unwrap());
    let (file, mut seed) = (LogFile::new("above"), 3);
    let wanted = {
        let disk = over();
        scribble(&*disk, &mut seed);
        let wanted = content(&*disk);
        let log = Arc::new(Log::create(&file.0, LEN as u64).unwrap());
        disk.begin(log.clone(), true).unwrap();
        for _ in 0..3 {
            scribble(&*disk, &mut seed);
            disk.rewind(&log).unwrap();
            assert!(content(&*disk) == wanted);
        }
        log.close(Path::new(&image.0)).unwrap();
        wanted
    };
    let disk = over();
    let log = Arc::new(Log::open(&file.0, Path::new(&image.0), LEN as u64, false).unwrap());
    disk.attach(log.clone());
    scribble(&*disk, &mut seed);
    disk.rewind(&log).unwrap();
    assert!(content(&*disk) == wanted);
    assert!(std::fs::read(&image.0).unwrap() == original);
}
