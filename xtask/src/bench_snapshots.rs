//! The part of `cargo xtask bench` that times snapshots: a Debian guest of 1 GiB at work.

use crate::Result;
use crate::console::Console;
use crate::hmp::Hmp;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
/// What the guest does: fills 200 MiB, and keeps files and pages moving.
const LOAD: &str = "python3 -c 'import hashlib,time; b=bytearray(200<<20)\n\
for i in range(0,len(b),4096): b[i:i+32]=hashlib.sha256(str(i).encode()).digest()\n\
print(\"filled\"); time.sleep(1e6)' & \
(while true; do find /usr -type f | head -2000 | xargs cat | sha256sum >/dev/null; done) &\n";
/// Times each figure is taken in one guest.
const TIMES: usize = 3;

/// Times snapshots of one emulator; `note` takes a figure's name and milliseconds. `store` is where Tinamou keeps them.
pub fn measure(
    program: &Path,
    line: &[String],
    ours: bool,
    store: &Path,
    note: &mut dyn FnMut(&str, f64),
) -> Result<()> {
    let _ = std::fs::remove_dir_all(store);
    std::fs::create_dir_all(store)?;
    let socket = store.join("monitor");
    let mut line = line.to_vec();
    line.extend(["-serial".into(), "stdio".into()]);
    line.extend(Hmp::arguments(&socket));
    if ours {
        line.extend(["-snapshots".into(), store.display().to_string()]);
    }
    let mut console = Console::spawn(program, &line)?;
    let mut hmp = Hmp::connect(&socket)?;
    console.expect("login: ", LIMIT)?;
    console.send("root\n")?;
    console.expect("# ", LIMIT)?;
    console.send(LOAD)?;
    console.expect("filled\r\n", LIMIT)?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    for n in 0..TIMES {
        std::thread::sleep(Duration::from_secs(1));
        note("8 snapshot: saving 1 GiB at work, ms", ms(hmp.must(&format!("savevm s{n}"))?));
    }
    note("8 snapshot: loading an older one, ms", ms(hmp.must("loadvm s0")?));
    if ours {
        hmp.must("savevm -m fork")?;
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(10));
            note("8 snapshot: back to a fork point after 10 ms, ms", ms(hmp.must("loadvm fork")?));
        }
        drop(console);
        for n in 0..TIMES {
            let mut again = line.clone();
            again.push("-S".into());
            let _ = std::fs::remove_file(&socket);
            let _console = Console::spawn(program, &again)?;
            let mut hmp = Hmp::connect(&socket)?;
            note("8 snapshot: loading in a new process, ms", ms(hmp.must(&format!("loadvm s{n}"))?));
        }
    }
    std::fs::remove_dir_all(store)?;
    Ok(())
}
