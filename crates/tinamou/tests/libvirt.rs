//! A domain's life in libvirt's hands, with this program as its emulator: libvirt's QEMU driver runs inside virsh
//! (`qemu:///embed`), so that no daemon is needed and nothing of the host's is touched. Without virsh the test says so and
//! does nothing.

mod common;

use common::{PATIENCE, elf, temporary};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// virsh, to which commands are typed.
struct Virsh {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Virsh {
    /// Starts it with a directory of its own. `None`: it is not there, or has no QEMU driver.
    fn start(root: &Path) -> Option<Virsh> {
        let uri = format!("qemu:///embed?root={}", root.display());
        // It would keep its answers back from a pipe.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "virsh", "-c", &uri]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().ok()?;
        let (input, output) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut virsh = Virsh { child, input, output };
        virsh.ask("list --all").map(|_| virsh)
    }

    /// Types a command and returns what it says; `None` when virsh has ended.
    fn ask(&mut self, command: &str) -> Option<String> {
        const END: &str = "that was all";
        // What is echoed ends its line only with the next command, if need be an empty one.
        writeln!(self.input, "{command}\necho {END}\n").ok()?;
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_start_matches("virsh # ").trim_end();
            if line.starts_with(END) {
                return Some(text.trim().to_owned());
            }
            if !line.is_empty() && !line.starts_with("echo ") && line != command {
                text += line;
                text.push('\n');
            }
        }
    }

    /// What it says on standard error, which has been told to end.
    fn complaint(mut self) -> String {
        let _ = writeln!(self.input, "quit");
        let mut text = String::new();
        if let Some(mut stream) = self.child.stderr.take() {
            let _ = stream.read_to_string(&mut text);
        }
        let _ = self.child.wait();
        text
    }
}

/// The guest: it writes `R`, and then the next letter for each that comes.
fn echo() -> Vec<u8> {
    elf(
        0x8000_0000,
        &[
            0x1000_0537, // lui  a0, 0x10000
            0x0520_0593, // li   a1, 'R'
            0x00b5_0023, // sb   a1, 0(a0)
            0x0055_0583, // lb   a1, 5(a0)
            0x0015_f593, // andi a1, a1, 1
            0xfe05_8ce3, // beqz a1, -8
            0x0005_0583, // lb   a1, 0(a0)
            0x0015_8593, // addi a1, a1, 1
            0x00b5_0023, // sb   a1, 0(a0)
            0xfe9f_f06f, // j    -24
        ],
    )
}

fn domain(files: &Path) -> PathBuf {
    let emulator = files.join("qemu-system-riscv64");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tinamou"), &emulator).unwrap();
    std::fs::write(files.join("echo.elf"), echo()).unwrap();
    std::fs::write(files.join("disk.img"), vec![0; 1 << 20]).unwrap();
    let files = files.display();
    let xml = format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
           <name>rv</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
           <os><type arch='riscv64' machine='virt'>hvm</type><kernel>{files}/echo.elf</kernel></os>
           <devices>
             <emulator>{files}/qemu-system-riscv64</emulator>
             <disk type='file' device='disk'><driver name='qemu' type='raw'/>
               <source file='{files}/disk.img'/><target dev='vda' bus='virtio'/></disk>
             <serial type='pty'/>
           </devices>
           <qemu:commandline><qemu:arg value='-bios'/><qemu:arg value='none'/></qemu:commandline>
         </domain>"
    );
    let path = PathBuf::from(format!("{files}/rv.xml"));
    std::fs::write(&path, xml).unwrap();
    path
}

/// The guest's console.
struct Terminal(File);

impl Terminal {
    fn open(path: &str) -> Terminal {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut modes = rustix::termios::tcgetattr(&file).unwrap();
        modes.make_raw();
        rustix::termios::tcsetattr(&file, rustix::termios::OptionalActions::Now, &modes).unwrap();
        rustix::io::ioctl_fionbio(&file, true).unwrap();
        Terminal(file)
    }

    /// Whether this letter comes within `milliseconds`.
    fn hears(&mut self, letter: u8, milliseconds: u128) -> bool {
        let begin = Instant::now();
        let mut byte = [0];
        while begin.elapsed().as_millis() < milliseconds {
            match self.0.read(&mut byte) {
                Ok(1) if byte[0] == letter => return true,
                _ => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        }
        false
    }

    fn say(&mut self, letter: u8) {
        self.0.write_all(&[letter]).unwrap();
    }
}

#[test]
fn a_domain_lives_in_libvirts_hands() {
    let root = temporary("libvirt");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    // Everything that a whole host would have and this one need not.
    let config = "stdio_handler = \"file\"\nnamespaces = []\ncgroup_controllers = []\nremember_owner = 0\n\
                  security_driver = \"none\"\n";
    let root_too = if rustix::process::geteuid().is_root() { "user = \"+0\"\ngroup = \"+0\"\n" } else { "" };
    std::fs::write(root.join("etc/qemu.conf"), format!("{config}{root_too}")).unwrap();
    let Some(mut virsh) = Virsh::start(&root) else {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: there is no virsh with a QEMU driver: no domain was started"
        );
        let _ = std::fs::remove_dir_all(&root);
        return;
    };
    let xml = domain(&root);
    let saved = root.join("saved");
    let patience = PATIENCE.as_millis();
    let mut told: Vec<String> = Vec::new();
    let mut must = |virsh: &mut Virsh, command: &str, answer: &str| {
        let text = virsh.ask(command).unwrap_or_default();
        told.push(format!("{command}: {text}"));
        text.contains(answer)
    };
    let mut life = || -> bool {
        let v = &mut virsh;
        if !(must(v, &format!("define {}", xml.display()), "defined") && must(v, "start rv", "started")) {
            return false;
        }
        let mut console = Terminal::open(&v.ask("ttyconsole rv").unwrap());
        let mut talks = |letter: u8, patience: u128| {
            console.say(letter);
            console.hears(letter + 1, patience)
        };
        talks(b'a', patience)
            && must(v, "suspend rv", "suspended")
            && must(v, "domstate rv", "paused")
            && !talks(b'c', 100)
            && must(v, "resume rv", "resumed")
            && talks(b'e', patience)
            && must(v, "reset rv", "was reset")
            && console.hears(b'R', patience)
            && must(v, "blockresize rv vda 2M", "resized")
            // libvirt gives every domain a balloon.
            && must(v, "dommemstat rv", "actual 65536")
            && must(v, "send-key rv KEY_A", "")
            && must(v, "qemu-monitor-command rv --hmp savevm s", "")
            && must(v, "qemu-monitor-command rv --hmp info snapshots", "s   ")
            && must(v, &format!("save rv {}", saved.display()), "saved to")
            && must(v, &format!("restore {}", saved.display()), "restored from")
            && must(v, "domstate rv", "running")
            && must(
                v,
                &format!(
                    "snapshot-create-as rv s1 --memspec file={} --diskspec vda,snapshot=no",
                    root.join("s1").display()
                ),
                "created",
            )
            && must(v, "destroy rv", "destroyed")
            && must(v, "undefine rv --snapshots-metadata", "undefined")
    };
    let lived = life();
    // Whatever has happened, no guest is left behind.
    virsh.ask("destroy rv");
    let complaint = virsh.complaint();
    let _ = std::fs::remove_dir_all(&root);
    assert!(lived, "{}\n{complaint}", told.join("\n"));
}
