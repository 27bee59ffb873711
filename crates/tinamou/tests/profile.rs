//! Who looks where the time goes: hot blocks with symbols in the monitor, files for `perf`.

mod common;

use common::{Client, Machine, elf, finisher, program, temporary, until};

#[test]
fn hot_blocks_have_names() {
    let (kernel, map) = (temporary("spin.elf"), temporary("System.map"));
    // addi a0,a0,1; j -4
    std::fs::write(&kernel, elf(0x8000_0000, &[0x13, 0x0015_0513, 0xffdf_f06f])).unwrap();
    std::fs::write(&map, "0000000080000000 T _start\n0000000080000004 t spin\n").unwrap();
    let machine = Machine::start(&format!(
        "-M virt -bios none -display none -accel tcg,profile=on,symbols={} -kernel {}",
        map.display(),
        kernel.display()
    ));
    let mut client = Client::ready(&machine);
    let text = until("the loop is not found", || {
        let text = client.hmp("info jit");
        text.contains("  spin\n").then_some(text)
    });
    assert!(text.contains("  0x0000000080000004    8 bytes  spin"), "{text}");
    assert!(text.contains(" %  translated code\n"), "{text}");
    [kernel, map].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

#[test]
fn files_for_perf() {
    let directory = temporary("perf");
    std::fs::create_dir(&directory).unwrap();
    let kernel = finisher(0x5555);
    let line = format!(
        "-M virt -bios none -display none -accel tcg,one-insn-per-tb=on -perfmap -jitdump -kernel {}",
        kernel.display()
    );
    let mut child = program(&line).current_dir(&directory).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let dump = std::fs::read(directory.join(format!("jit-{}.dump", child.id()))).unwrap();
    assert_eq!(dump.get(..8), Some([0x44, 0x54, 0x69, 0x4a, 1, 0, 0, 0].as_slice()));
    assert!(dump.windows(11).any(|w| w == b"common code"));
    let map = format!("/tmp/perf-{}.map", child.id());
    let text = std::fs::read_to_string(&map).unwrap();
    assert!(text.lines().next().is_some_and(|line| line.ends_with(" common code")), "{text}");
    std::fs::remove_file(map).unwrap();
    std::fs::remove_file(kernel).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn symbols_must_be_there() {
    let output = program("-M virt -accel tcg,profile=on,symbols=/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "tinamou: -accel tcg,profile=on,symbols=/nonexistent: /nonexistent: No such file or directory\n"
    );
}
