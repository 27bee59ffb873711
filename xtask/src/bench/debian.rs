//! A Debian guest: to its login, and work there.

use super::{LIMIT, Plan, Samples, common, memory, note};
use crate::Result;
use crate::boot::{disk, linux, network};
use crate::console::Console;
use std::path::Path;

/// What is run at the prompt: the row, what prepares it, and what is timed by the guest's clock. All of it is run once before.
const WORK: &[(&str, &str, &str)] = &[
    (
        "gcc -O2 of 200 functions",
        "python3 -c 'for n in range(200): print(f\"int f{n}(int*a,int n){{int s={n};for(int i=0;i<n;i++)\
         if(a[i]%{n+2})s+=a[i]*s;else a[i]^=s;return s;}}\")' >/tmp/t.c",
        "gcc -O2 -c -o /tmp/t.o /tmp/t.c",
    ),
    ("200 small processes of a shell", ":", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"),
    ("python3 starts 10 times", ":", "for i in 0 1 2 3 4 5 6 7 8 9; do python3 -c 'import json'; done"),
];

/// The command line.
pub(super) fn line(plan: &Plan, image: &Path) -> Vec<String> {
    let mut line = common(plan);
    line.extend(linux(&plan.images, &plan.images.initrd, "console=ttyS0 root=/dev/vda"));
    line.extend(disk(image, ",snapshot=on"));
    line.extend(network());
    line
}

/// Exec to the login, and the memory that took; then the work, if it is wanted.
pub(super) fn login(
    plan: &Plan,
    program: &Path,
    image: &Path,
    work: bool,
    samples: &mut Samples,
) -> Result<()> {
    let mut console = Console::spawn(program, &line(plan, image))?;
    console.be_a_terminal();
    let up = console.expect("login: ", LIMIT)?;
    note(samples, "6 Debian to its login, s", up.as_secs_f64());
    memory(samples, "7 peak resident memory at the login, MiB", &console);
    if !work {
        return Ok(());
    }
    console.send("root\n")?;
    console.expect("# ", LIMIT)?;
    for (row, prepare, timed) in WORK {
        let clock = "date +%s%N";
        // The words are put together only when they are run: what is echoed while it is typed has them not.
        console.send(&format!(
            "{prepare}; ({timed}); a=$({clock}); ({timed}); b=$({clock}); echo took-$((6*7)) $(((b-a)/1000000)) ms-$((6*7))\n"
        ))?;
        console.expect("took-42 ", LIMIT)?;
        console.expect(" ms-42", LIMIT)?;
        let text = console.transcript();
        let ms = text.rsplit("took-42 ").next().and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        note(samples, &format!("7 Debian: {row}, s"), ms.parse::<f64>()? / 1000.0);
    }
    memory(samples, "7 peak resident memory after work in Debian, MiB", &console);
    Ok(())
}
