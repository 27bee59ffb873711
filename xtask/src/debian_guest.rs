//! A Debian guest with everything on PCI Express, for programs of Debian's packages. What it writes to its own disk is lost.

use crate::boot::{linux, strings};
use crate::console::Console;
use crate::paths::Images;
use crate::{Result, guest};
use std::path::Path;
use std::time::Duration;

/// How long a boot, or the installation of packages, may take on a busy host.
const LIMIT: Duration = Duration::from_secs(600);

/// A guest at a prompt of root's.
pub struct DebianGuest {
    console: Console,
}

impl DebianGuest {
    /// Boots it with further devices. The network is the user-mode one, behind `card`.
    pub fn boot(program: &Path, images: &Images, smp: u32, card: &str, more: &[String]) -> Result<Self> {
        let Some(image) = images.debian() else {
            return Err("there is no Debian root file system: make it with `cargo xtask debian`".into());
        };
        let bios = images.bios.display().to_string();
        let smp = smp.to_string();
        let mut line =
            strings(&["-M", "virt,aia=aplic-imsic", "-smp", &smp, "-m", "1G", "-nographic", "-bios", &bios]);
        line.extend(linux(images, &images.initrd, "console=ttyS0 root=/dev/vda"));
        let drive = format!("file={},format=raw,if=none,id=root,snapshot=on", image.display());
        // The kernel names disks in the order of their slots.
        for (option, value) in [
            ("-drive", &*drive),
            ("-device", "virtio-blk-pci,drive=root,addr=1"),
            ("-netdev", "user,id=network"),
            ("-device", &format!("{card},netdev=network,addr=2,romfile=")),
            ("-device", "virtio-rng-pci,addr=3"),
        ] {
            line.extend(strings(&[option, value]));
        }
        line.extend(more.iter().cloned());
        let mut console = Console::spawn(program, &line)?;
        console.be_a_terminal();
        console.expect("login: ", LIMIT)?;
        console.send("root\n")?;
        console.expect("# ", LIMIT)?;
        // A shell that does not edit its line, on a terminal that does not repeat it.
        console.send("stty -echo cols 10000; exec dash\n")?;
        let mut guest = Self { console };
        guest.console.send("PS1=; export DEBIAN_FRONTEND=noninteractive; mkdir -p /mnt\n")?;
        // Whatever it has said until now.
        guest.run("true", LIMIT)?;
        Ok(guest)
    }

    /// Runs a command; what it has said.
    ///
    /// # Errors
    /// It failed, with what it has said; or it took too long.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<String> {
        let from = self.console.transcript().len();
        // The word is put together only when it is run.
        self.console.send(&format!("({command}); echo ended-$((6*7)) $?.\n"))?;
        self.console.expect("ended-42 ", limit).map_err(|e| format!("{command}: {e}"))?;
        self.console.expect(".", limit)?;
        let text = self.console.transcript();
        let said = text.get(from..).unwrap_or_default().replace('\r', "");
        let (said, status) = said.rsplit_once("ended-42 ").unwrap_or((&said, ""));
        match status.starts_with("0.") {
            true => Ok(said.trim().to_owned()),
            false => Err(format!("{command}: {said}").into()),
        }
    }

    /// Installs packages of Debian's.
    pub fn install(&mut self, packages: &str) -> Result<()> {
        let install = "apt-get install -qq -y --no-install-recommends";
        self.run(&format!("apt-get update -qq && {install} {packages}"), LIMIT)?;
        Ok(())
    }

    /// Processor time of the emulator so far, in seconds.
    pub fn processor_time(&self) -> f64 {
        self.console.processor_time().unwrap_or_default().as_secs_f64()
    }

    /// Powers it off.
    pub fn end(mut self) -> Result<()> {
        self.console.send("sync; poweroff -f\n")?;
        match self.console.wait(LIMIT)? {
            status if status.success() => Ok(()),
            status => Err(format!("the emulator ended with {status}").into()),
        }
    }
}

/// The images, if there is a Debian root file system among them.
pub fn images() -> Result<Images> {
    let images = guest::ensure()?;
    match images.debian() {
        Some(_) => Ok(images),
        None => Err("there is no Debian root file system: make it with `cargo xtask debian`".into()),
    }
}
