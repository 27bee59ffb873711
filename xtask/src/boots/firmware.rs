//! U-Boot and EDK2: what they remember, and what they start.

use super::{BOOT, LONG, Outcome, World, good, with_opensbi};
use crate::boot::strings;
use crate::console::Console;
use crate::{Result, guest, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The flash banks of EDK2's code and of its variables; `None` where it has not been fetched.
fn edk2_files(world: &World) -> Option<(PathBuf, PathBuf)> {
    let files = ["CODE", "VARS"].map(|part| world.images.dir.join(format!("RISCV_VIRT_{part}.fd")));
    let [code, variables] = files;
    (code.is_file() && variables.is_file()).then_some((code, variables))
}

fn flash(code: &Path, variables: &Path, extra: &str) -> Vec<String> {
    let bank = |unit: u32, file: &Path, extra: &str| {
        strings(&["-drive", &format!("if=pflash,format=raw,unit={unit},file={}{extra}", file.display())])
    };
    [bank(0, code, ",readonly=on"), bank(1, variables, extra)].concat()
}

/// The firmware's serial port takes few characters at once.
fn type_slowly(console: &mut Console, line: &str) -> Result<()> {
    for character in format!("{line}\r").chars() {
        console.send(&character.to_string())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A variable that EDK2's shell sets is there when the emulator is started again with the same flash.
pub fn variables(world: &World) -> Outcome {
    let Some((code, fresh)) = edk2_files(world) else { return Ok(Some("EDK2 is not there".into())) };
    let variables = paths::guests().join(".variables.fd");
    fs::copy(&fresh, &variables)?;
    for (command, answer) in [("set tinamou kept-4711", "Shell>"), ("set tinamou", "kept-4711")] {
        let mut line = with_opensbi(world, 1);
        line.extend(flash(&code, &variables, ""));
        let mut console = Console::spawn(&world.tinamou, &line)?;
        console.expect("UEFI Interactive Shell", LONG)?;
        console.expect("to skip", LONG)?;
        console.send("\u{1b}")?;
        console.expect("Shell>", LONG)?;
        type_slowly(&mut console, command)?;
        console.expect(answer, BOOT)?;
        type_slowly(&mut console, "reset -s")?;
        good(console.wait(BOOT)?)?;
    }
    Ok(None)
}

/// A disk with the kernel where firmware looks for it, on a device of PCI Express.
fn kernel_on(world: &World, device: &str) -> Result<Vec<String>> {
    let image = paths::guests().join(".efi.img");
    guest::fat::write_disk(&image, &fs::read(&world.images.kernel)?)?;
    let drive = format!("file={},format=raw,if=none,id=d", image.display());
    Ok(strings(&["-drive", &drive, "-device", device]))
}

/// EDK2 finds the disk and starts the kernel from it.
pub fn edk2(world: &World, device: &str) -> Outcome {
    let Some((code, variables)) = edk2_files(world) else { return Ok(Some("EDK2 is not there".into())) };
    let mut line = with_opensbi(world, 1);
    line.extend(flash(&code, &variables, ",snapshot=on"));
    line.extend(kernel_on(world, device)?);
    started(&mut Console::spawn(&world.tinamou, &line)?)
}

/// So does U-Boot.
pub fn uboot(world: &World, device: &str) -> Outcome {
    let loader = world.images.dir.join("u-boot-smode.bin");
    if !loader.is_file() {
        return Ok(Some(format!("no {}", loader.display())));
    }
    let mut line = with_opensbi(world, 1);
    line.extend(strings(&["-kernel", &loader.display().to_string()]));
    line.extend(kernel_on(world, device)?);
    started(&mut Console::spawn(&world.tinamou, &line)?)
}

/// There is no root file system: it is enough that the kernel runs.
fn started(console: &mut Console) -> Outcome {
    console.expect("EFI stub: ", LONG)?;
    console.expect("Linux version ", BOOT)?;
    console.expect("efi: EFI v2", BOOT)?;
    Ok(None)
}
