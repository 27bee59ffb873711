//! `-accel tcg,code-cache=...`: what one run has translated the next finds.

mod common;

use common::{Client, Machine, elf, program, temporary, until};
use std::path::{Path, PathBuf};

/// A program that counts its turns in the second word of its second page, in one loop until there are as many as `turns`, then in another.
fn guest(turns: u32) -> PathBuf {
    let mut code = vec![
        0x0000_0517, // auipc a0, 0
        0x0000_1637, // lui a2, 1
        0x00a6_0633, // add a2, a2, a0
        0x0006_2683, // lw a3, 0(a2)
        0x0000_0593, // li a1, 0
        0x0015_8593, // addi a1, a1, 1
        0x00b6_2223, // sw a1, 4(a2)
        0xfed5_9ce3, // bne a1, a3, 0x14
        0x0015_8593, // addi a1, a1, 1
        0x00b6_2223, // sw a1, 4(a2)
        0xff9f_f06f, // j 0x20
    ];
    code.resize(1024, 0);
    code.extend([turns, 0]);
    let path = temporary("round.elf");
    std::fs::write(&path, elf(0x8000_0000, &code)).unwrap();
    path
}

/// A machine that stands still, its program, and what it knows of earlier runs.
fn machine(kernel: &Path, options: &str) -> (Machine, Client) {
    let line =
        format!("-M virt -bios none -display none -S -accel tcg,{options} -kernel {}", kernel.display());
    let machine = Machine::start(&line);
    let client = Client::ready(&machine);
    (machine, client)
}

/// `N` and `M` of "code cache N blocks, M used".
fn counts(client: &mut Client) -> Option<(u64, u64)> {
    let text = client.hmp("info jit");
    let line = text.lines().find_map(|l| l.strip_prefix("code cache"))?;
    let mut numbers = line.split_whitespace().filter_map(|w| w.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn turns(client: &mut Client) -> u64 {
    let text = client.hmp("xp /1wd 0x80001004");
    text.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap()
}

/// Bytes of the files.
fn size(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().flatten().map(|f| f.metadata().unwrap().len()).sum()
}

/// Runs until the guest has gone round, and what it has translated is in the file if that had nothing.
fn run(kernel: &Path, options: &str, directory: &Path) -> (u64, u64) {
    let (_machine, mut client) = machine(kernel, options);
    let (known, used) = until("nothing is known of earlier runs", || counts(&mut client));
    assert_eq!(used, 0);
    let before = size(directory);
    client.hmp("cont");
    until("it does not go round", || (turns(&mut client) > 1000).then_some(()));
    if known == 0 {
        until("nothing is written", || (size(directory) > before).then_some(()));
    }
    (known, counts(&mut client).unwrap().1)
}

#[test]
fn the_next_run_uses_what_the_first_has_translated() {
    let (kernel, directory) = (guest(500), temporary("cache"));
    let options = format!("code-cache={}", directory.display());
    assert_eq!(run(&kernel, &options, &directory), (0, 0));
    let (known, used) = run(&kernel, &options, &directory);
    assert!(known >= 1 && used >= 1, "{used} of {known}");
    // Other code is made by another maker: it does not look at this.
    assert_eq!(run(&kernel, &format!("opt=off,{options}"), &directory), (0, 0));
    // A file that somebody has written over is of no use, and does no harm.
    for file in std::fs::read_dir(&directory).unwrap().flatten() {
        let mut bytes = std::fs::read(file.path()).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].iter_mut().step_by(3).for_each(|b| *b ^= 0x55);
        std::fs::write(file.path(), bytes).unwrap();
    }
    let (_, used) = run(&kernel, &options, &directory);
    assert_eq!(used, 0);
    std::fs::remove_file(kernel).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_the_first_has_left_of_a_page_comes_at_once() {
    let directory = temporary("page");
    let options = format!("code-cache={}", directory.display());
    let (both, one) = (guest(500), guest(u32::MAX));
    run(&both, &options, &directory);
    let before = size(&directory);
    let (known, used) = run(&one, &options, &directory);
    assert!(known >= 2 && used == known, "{used} of {known}");
    assert_eq!(size(&directory), before);
    [both, one].iter().for_each(|kernel| std::fs::remove_file(kernel).unwrap());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let (kernel, directory) = (guest(500), temporary("unused"));
    for options in ["code-cache=off".to_owned(), format!("verify=on,code-cache={}", directory.display())] {
        let (_machine, mut client) = machine(&kernel, &options);
        client.hmp("cont");
        until("it does not go round", || (turns(&mut client) > 1000).then_some(()));
        assert_eq!(counts(&mut client), None, "{options}");
    }
    assert_eq!(size(&directory), 0);
    std::fs::remove_file(kernel).unwrap();
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_if_it_was_asked_for() {
    let kernel = common::finisher(0x5555);
    let line = format!("-M virt -bios none -display none -kernel {}", kernel.display());
    let asked = format!("tcg,code-cache={}/x", kernel.display());
    let output = program(&format!("{line} -accel {asked}")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with(&format!("tinamou: -accel {asked}: {}/x: ", kernel.display())), "{text}");
    // The usual one is done without.
    let output = program(&line).env("XDG_CACHE_HOME", &kernel).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    std::fs::remove_file(kernel).unwrap();
}
