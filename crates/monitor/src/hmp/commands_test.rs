use super::*;
use crate::bare::Bare;
use crate::vm::Vm;

fn ask(vm: &Bare, defaults: &mut Defaults, line: &str) -> String {
    execute(vm, &mut Session::default(), defaults, line)
}

#[test]
fn the_answers_of_the_reference() {
    let vm = Bare::new();
    let mut defaults = Defaults::default();
    for (line, answer) in [
        ("foo", "unknown command: 'foo'\n"),
        ("info foo", "unknown command: 'info foo'\n"),
        ("help info version", "info version  -- show the version of QEMU\n"),
        ("help foo", "unknown command: 'foo'\n"),
        ("x", "unexpected end of expression\nTry \"help x\" for more information\n"),
        ("x/4x", "unexpected end of expression\nTry \"help x\" for more information\n"),
        (
            "stop foo",
            "stop|s: extraneous characters at the end of line\nTry \"help stop\" for more information\n",
        ),
        ("xp /4xb 0x1000", "0000000000001000: 0x97 0x02 0x00 0x00\n"),
        ("p /x 0x10+3*2", "0x16\n"),
        ("p 0x10", "0x10\n"),
        ("p /d 5", "5\n"),
        ("p 0x10", "16\n"),
        ("p 10/0", "division by zero\nTry \"help p\" for more information\n"),
        ("p (1", "')' expected\nTry \"help p\" for more information\n"),
        ("p 1 2", "print|p: extraneous characters at the end of line\nTry \"help p\" for more information\n"),
        ("log", "log: string expected\nTry \"help log\" for more information\n"),
        ("xp /99z 0", "invalid char in format: 'z'\nTry \"help xp\" for more information\n"),
        ("xp /2xw 0", "0000000000000000: Cannot access memory\n"),
        ("cpu 3", "invalid CPU index\n"),
        ("cpu", "unexpected end of expression\nTry \"help cpu\" for more information\n"),
        ("info registers 5", "CPU#5 not available\n"),
        (
            "info registers foo",
            "invalid char 'f' in expression\nTry \"help info registers\" for more information\n",
        ),
        ("info mtree -x", "mtree: unsupported option -x\nTry \"help info mtree\" for more information\n"),
        ("info qom-tree foo", "Path 'foo' could not be resolved.\n"),
        ("info status", "VM status: paused (prelaunch)\n"),
        ("help stop", "stop|s  -- stop emulation\n"),
        ("", ""),
    ] {
        assert_eq!(ask(&vm, &mut defaults, line), answer, "{line}");
    }
    for line in ["stop", "c", "system_reset", "system_powerdown", "q"] {
        assert_eq!(ask(&vm, &mut defaults, line), "");
    }
    assert_eq!(vm.done(), ["stop", "run", "reset", "power_down", "quit"]);
}

#[test]
fn names_are_unique_and_sorted() {
    let commands = Bare::new().commands();
    for table in [commands.hmp(), commands.info()] {
        let first: Vec<_> = table.iter().map(|c| c.names).collect();
        assert!(first.is_sorted(), "{first:?}");
        let all: Vec<_> = table.iter().flat_map(|c| c.names.split('|')).collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}

proptest::proptest! {
    #[test]
    fn no_line_does_harm(line in "(x|xp|p|info|help|cpu|sum|gva2gpa|info registers|info mtree) ?[-/0-9a-z$' ()]{0,20}") {
        let vm = Bare::new();
        // A sum over more than there is time for is what the user asked for.
        if !line.starts_with("sum") {
            ask(&vm, &mut Defaults::default(), &line);
        }
    }
}
