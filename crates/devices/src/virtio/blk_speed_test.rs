//! How fast sequential reads are. Run with `cargo test -p devices --release -- --ignored --nocapture speed`.

use std::sync::Arc;
use std::time::Instant;

use backends::block::{RawFile, RawOptions};
use object::{AnyDevice, DeviceCell};

use super::blk::VirtioBlk;
use super::driver_test::{DATA, Driver};

#[test]
#[ignore = "a measurement"]
fn speed() {
    let path = format!("{}/virtio-blk-speed-{}", std::env::temp_dir().display(), std::process::id());
    std::fs::write(&path, vec![0x5a; 256 << 20]).unwrap();
    let cell = DeviceCell::new(VirtioBlk::new());
    VirtioBlk::connect(&cell, Arc::new(RawFile::open(&path, RawOptions::default()).unwrap()));
    cell.realize().unwrap();
    let mut driver = Driver::start(cell, false, 0);
    for (size, depth) in [(4 << 10, 16u64), (128 << 10, 8), (1 << 20, 4)] {
        let count = (256u64 << 20) / size / depth;
        let start = Instant::now();
        for round in 0..count {
            for n in 0..depth {
                let header = DATA + 0x100 * n;
                driver.dma.write_u64(header, 0).unwrap();
                driver.dma.write_u64(header + 8, (round * depth + n) * size / 512).unwrap();
                let buffer = DATA + 0x1_0000 + size * n;
                driver.add(0, &[(header, 16)], &[(buffer, size as u32), (header + 16, 1)]);
            }
            driver.kick(0);
            let mut left = depth;
            while left > 0 {
                match driver.used(0) {
                    Some(_) => left -= 1,
                    None => std::thread::yield_now(),
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{size} bytes, {depth} at once: {:.0} MB/s", 256.0 * 1.048_576 / seconds);
    }
    std::fs::remove_file(&path).unwrap();
}
