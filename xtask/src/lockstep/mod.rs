//! `cargo xtask lockstep`: register states of Tinamou and QEMU, instruction by instruction.
//!
//! Both run the same boot with `-accel tcg,one-insn-per-tb=on -d cpu,nochain`, which writes all registers
//! before every instruction; QEMU also writes each instruction it translates (`in_asm`). The two streams
//! are compared as they come. Where time enters they may part: `judge.rs` says when that is allowed and
//! how they are brought together again; anything else ends the run with a report.

mod judge;
mod state;

use crate::boot::strings;
use crate::paths::{self, Images};
use crate::{Result, guest, option};
use indicatif::{ProgressBar, ProgressStyle};
use judge::{Judge, Verdict};
use state::{Feed, Record};
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;

/// How many past instructions a report shows.
const HISTORY: usize = 8;

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let count: u64 = option(args, "--count").unwrap_or("1000000").parse()?;
    let window: usize = option(args, "--window").unwrap_or("100000").parse()?;
    let images = guest::ensure()?;
    let (tinamou, qemu) = (paths::tinamou()?, paths::qemu()?);
    let line = command_line(&images, &tinamou, &qemu, option(args, "--args").unwrap_or(""))?;
    let log = |items: &str| strings(&["-accel", "tcg,one-insn-per-tb=on", "-d", items, "-D", "/dev/stdout"]);
    let mut ours = Feed::start("tinamou", &tinamou, &[line.clone(), log("cpu,nochain")].concat())?;
    let mut theirs = Feed::start("qemu", &qemu, &[line, log("cpu,nochain,in_asm")].concat())?;
    let outcome = compare(&mut ours, &mut theirs, count, window)?;
    println!("{outcome}");
    if outcome.divergence.is_none() { Ok(()) } else { Err("the two part; see above".into()) }
}

/// The common arguments. Both get the same device tree, byte for byte: QEMU's, without its random seed, which
/// the kernel would compute with; then written again by Tinamou, since QEMU keeps the order of a given tree's
/// strings and Tinamou has its own. The processor has no hypervisor extension, which Tinamou lacks.
fn command_line(images: &Images, tinamou: &Path, qemu: &Path, extra: &str) -> Result<Vec<String>> {
    let dir = paths::guests().join(".lockstep");
    std::fs::create_dir_all(&dir)?;
    let text = |p: &Path| p.display().to_string();
    let mut line =
        strings(&["-smp", "1", "-m", "512M", "-display", "none", "-serial", "null", "-monitor", "none"]);
    line.extend(strings(&["-cpu", "rv64,h=false"]));
    line.extend(strings(&["-bios", &text(&images.bios), "-kernel", &text(&images.kernel)]));
    line.extend(strings(&["-initrd", &text(&images.initrd), "-append", "console=ttyS0"]));
    line.extend(extra.split_whitespace().map(str::to_owned));
    let (tree, again) = (dir.join("qemu.dtb"), dir.join("virt.dtb"));
    dump(qemu, &tree, &line)?;
    unname_seed(&tree)?;
    dump(tinamou, &again, &[line.clone(), strings(&["-dtb", &text(&tree)])].concat())?;
    line.extend(strings(&["-M", "virt", "-dtb", &text(&again)]));
    Ok(line)
}

/// Lets an emulator write its device tree.
fn dump(program: &Path, tree: &Path, line: &[String]) -> Result<()> {
    let machine = format!("virt,dumpdtb={}", tree.display());
    let output = Command::new(program).args(["-M", &machine]).args(line).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{} dumps no device tree: {said}", program.display()).into())
}

/// QEMU draws a new seed at each reset where the tree has a property `rng-seed`: give it another name, of the
/// same length, in the tree's block of strings.
fn unname_seed(tree: &Path) -> Result<()> {
    let mut bytes = std::fs::read(tree)?;
    let name = b"\0rng-seed\0";
    if let Some(at) = bytes.windows(name.len()).position(|w| w == name)
        && let Some(first) = bytes.get_mut(at + 1)
    {
        *first = b'x';
    }
    Ok(std::fs::write(tree, bytes)?)
}

/// What came out.
struct Outcome {
    compared: u64,
    tolerated: u64,
    meetings: Vec<String>,
    divergence: Option<String>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for meeting in self.meetings.iter().take(20) {
            writeln!(f, "resynchronised: {meeting}")?;
        }
        if self.meetings.len() > 20 {
            writeln!(f, "resynchronised: {} times more", self.meetings.len() - 20)?;
        }
        writeln!(
            f,
            "{} instructions compared, {} of them with values that follow from time",
            self.compared, self.tolerated
        )?;
        match &self.divergence {
            None => write!(f, "no divergence"),
            Some(text) => write!(f, "DIVERGENCE after {} instructions\n{text}", self.compared),
        }
    }
}

fn compare(ours: &mut Feed, theirs: &mut Feed, count: u64, window: usize) -> Result<Outcome> {
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} instructions {per_sec} {eta}") {
        bar.set_style(style);
    }
    let mut outcome = Outcome { compared: 0, tolerated: 0, meetings: Vec::new(), divergence: None };
    let mut history: VecDeque<Record> = VecDeque::new();
    let mut last: Option<(Record, Record)> = None;
    let first = (ours.peek(0)?, theirs.peek(0)?);
    let mut judge = Judge::new(&first.0.names, &first.1.names)?;
    if !judge.absent.is_empty() {
        println!("not in both logs, so not compared: {}", judge.absent.join(" "));
    }
    while outcome.compared < count {
        let (mut our, mut their) = (ours.take()?, theirs.take()?);
        // A block that is left at its head, for an interrupt to be looked at, is logged again.
        if let Some((mine, others)) = &last {
            while our.pc != their.pc && judge::repeats(others, &their) && !judge::repeats(mine, &our) {
                their = theirs.take()?;
            }
            while our.pc != their.pc && judge::repeats(mine, &our) && !judge::repeats(others, &their) {
                our = ours.take()?;
            }
        }
        match judge.step(history.back(), &our, &their) {
            Verdict::Equal => {}
            Verdict::Tolerated => outcome.tolerated += 1,
            Verdict::MayPart(why) => {
                let Some((mine, others)) = judge.meet(ours, theirs, window)? else {
                    outcome.divergence =
                        Some(report(&judge, &history, &our, &their, theirs, "no meeting again"));
                    break;
                };
                outcome.meetings.push(format!(
                    "instruction {}: {why}; skipped {mine} of tinamou, {others} of qemu",
                    outcome.compared
                ));
                history.clear();
                last = None;
                continue;
            }
            Verdict::Diverged(what) => {
                outcome.divergence = Some(report(&judge, &history, &our, &their, theirs, &what));
                break;
            }
        }
        outcome.compared += 1;
        if outcome.compared.is_multiple_of(4096) {
            bar.set_position(outcome.compared);
        }
        history.push_back(their.clone());
        last = Some((our, their));
        if history.len() > HISTORY {
            history.pop_front();
        }
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// The last instructions both agreed on, and what differs.
fn report(
    judge: &Judge,
    history: &VecDeque<Record>,
    our: &Record,
    their: &Record,
    theirs: &Feed,
    what: &str,
) -> String {
    let mut text = format!("{what}\nlast instructions:\n");
    for record in history {
        text += &format!("  {:016x}  {}\n", record.pc, theirs.text(record.pc));
    }
    text += &format!("next: tinamou pc {:016x}, qemu pc {:016x}\n", our.pc, their.pc);
    text += "register            before            tinamou           qemu\n";
    let before = history.back();
    for (name, mine, others, was) in judge.differences(before, our, their) {
        let was = was.map_or_else(|| "-".to_owned(), |v| format!("{v:016x}"));
        text += &format!("{name:18} {was:>17} {mine:016x}  {others:016x}\n");
    }
    text
}
