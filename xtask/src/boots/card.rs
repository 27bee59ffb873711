//! A network card of another make, with Debian's driver: a lease, data in both directions, the link down and up again,
//! and frames that are longer than one buffer.

use super::{ANSWER, BOOT, Outcome, World, good, with_opensbi};
use crate::Result;
use crate::boot::{linux, strings};
use crate::console::Console;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// What is fetched: a sequence of numbers as text.
const LAST: u32 = 400_000;

/// Gives each client the numbers; a client that sends something first gets back how many bytes it sent.
fn serve(listener: &TcpListener) {
    let numbers: String = (1..=LAST).map(|n| format!("{n}\n")).collect();
    while let Ok((mut client, _)) = listener.accept() {
        let mut first = [0; 4];
        if client.read_exact(&mut first).is_err() {
            continue;
        }
        if &first == b"get\n" {
            let _ = client.write_all(numbers.as_bytes());
        } else {
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest);
            let _ = write!(client, "{}", rest.len() + first.len());
        }
    }
}

/// The card on a board; `driver` interrupts by pin, by one message or by several as the board can.
pub fn card(world: &World, board: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || serve(&listener));
    let mut line = with_opensbi(world, 2);
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0"));
    line.extend(strings(&["-netdev", "user,id=n0", "-device", "e1000e,netdev=n0"]));
    line.iter_mut().filter(|word| *word == "virt").for_each(|word| *word = board.to_owned());
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    let mut run = |command: &str, answer: &str| -> Result<()> {
        console.send(&format!("{command}\n"))?;
        console.expect(answer, ANSWER).map_err(|e| format!("{command}: {e}").into()).map(|_| ())
    };
    let fetch = format!("(echo get; sleep 1) | nc 10.0.2.2 {port} | cmp - /tmp/n");
    run(&format!("seq {LAST} >/tmp/n; ls /sys/bus/pci/drivers/e1000e | grep -c 0000"), "1")?;
    run("ip link set eth0 up; udhcpc -i eth0 -n -q && echo lease-$((6*7))", "lease-42")?;
    run(&format!("{fetch} && echo fetched-$((6*7))"), "fetched-42")?;
    let length = (1..=LAST).map(|n| n.ilog10() as usize + 2).sum::<usize>();
    run(&format!("nc 10.0.2.2 {port} </tmp/n | sed s/^/sent-/"), &format!("sent-{length}"))?;
    run("ip link set eth0 down; ip link set eth0 up; udhcpc -i eth0 -n -q && echo up-$((6*7))", "up-42")?;
    run("ip link set eth0 mtu 4000; ping -c 1 -s 3500 10.0.2.2 >/dev/null && echo long-$((6*7))", "long-42")?;
    run(&format!("{fetch} && echo again-$((6*7))"), "again-42")?;
    console.send("poweroff -f\n")?;
    good(console.wait(BOOT)?)
}
