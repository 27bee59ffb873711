//! Debian packages of another architecture, by apt with a state directory of its own: nothing of the
//! host's package system is touched, no root is needed, signatures are checked by apt itself.

use super::{name, spinner};
use crate::{Result, paths};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, thread};

/// The release the guests are made of.
pub const SUITE: &str = "trixie";
/// Where Debian and Ubuntu install the archive's keys (package debian-archive-keyring).
const KEYRINGS: &[&str] =
    &["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
const HOW_TO_GO_ON: &str = "name a mirror (--mirror URL or TINAMOU_MIRROR), or give own images in TINAMOU_KERNEL, \
                            TINAMOU_INITRD and TINAMOU_BIOS";

/// An apt with its own state.
pub struct Apt {
    dir: PathBuf,
    mirror: String,
}

impl Apt {
    /// Opens the state in `dir` with the first mirror that answers.
    pub fn open(dir: &Path, mirror: Option<&str>, step: &ProgressBar) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            if paths::which(tool).is_none() {
                return Err(format!(
                    "{tool} is not installed; fetching Debian packages needs the packages apt and dpkg.\n\
                     Install them, or give own images in TINAMOU_KERNEL, TINAMOU_INITRD and TINAMOU_BIOS"
                )
                .into());
            }
        }
        let mut refusals = String::new();
        for mirror in candidates(mirror)? {
            step.set_message(format!("asking {mirror} for {SUITE}"));
            let apt = Self { dir: dir.to_owned(), mirror };
            match apt.update() {
                Ok(()) => return Ok(apt),
                Err(error) => refusals += &format!("\n{}: {error}", apt.mirror),
            }
        }
        Err(format!("no mirror gave the package lists of {SUITE}; {HOW_TO_GO_ON}.{refusals}").into())
    }

    /// The mirror in use.
    pub fn mirror(&self) -> &str {
        &self.mirror
    }

    fn update(&self) -> Result<()> {
        for sub in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(self.dir.join(sub))?;
        }
        let status = self.dir.join("status");
        fs::write(&status, "")?;
        let source = self.dir.join("sources.list");
        fs::write(&source, format!("deb [{}] {} {SUITE} main\n", options(), self.mirror))?;
        let dir = self.dir.display();
        fs::write(
            self.dir.join("apt.conf"),
            format!(
                "Dir::State \"{dir}\";\nDir::State::status \"{dir}/status\";\nDir::State::lists \"{dir}/lists\";\n\
                 Dir::Cache \"{dir}/cache\";\nDir::Etc::sourcelist \"{dir}/sources.list\";\n\
                 Dir::Etc::sourceparts \"{dir}/none\";\nAPT::Architecture \"riscv64\";\n\
                 APT::Architectures {{ \"riscv64\"; }};\nAPT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\nAcquire::Retries \"2\";\n"
            ),
        )?;
        // With a failed source apt-get update still succeeds, so look at what arrived.
        let output = self.apt("apt-get", &["update"])?;
        let arrived = fs::read_dir(self.dir.join("lists"))?
            .flatten()
            .any(|e| name(&e.path()).contains("_binary-riscv64_Packages"));
        if arrived { Ok(()) } else { Err(text(&output).trim().to_owned().into()) }
    }

    /// The package that a meta package depends on first.
    pub fn first_dependency(&self, package: &str) -> Result<String> {
        let output = self.apt("apt-cache", &["depends", package])?;
        let text = text(&output);
        text.lines()
            .find_map(|l| l.trim().strip_prefix("Depends: "))
            .map(str::to_owned)
            .ok_or_else(|| format!("{package} has no dependency in {SUITE}: {text}").into())
    }

    /// Downloads packages, showing the bytes; returns the files.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let debs = self.dir.join("debs");
        let mut args = vec!["download", "--print-uris"];
        args.extend(packages.iter().map(String::as_str));
        let listed = text(&self.apt("apt-get", &args)?);
        // Each line: 'uri' file size hash
        let wanted: Vec<(String, u64)> = listed
            .lines()
            .filter(|l| l.starts_with('\''))
            .filter_map(|l| {
                let mut words = l.split_whitespace().skip(1);
                Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
            })
            .collect();
        if wanted.len() != packages.len() {
            return Err(format!("{} of {} packages found: {listed}", wanted.len(), packages.len()).into());
        }
        let total = wanted.iter().map(|(_, size)| size).sum();
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("downloading {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
        {
            bar.set_style(style);
        }
        let size = |file: &str| fs::metadata(debs.join(file)).map_or(0, |m| m.len());
        let mut child = self
            .command("apt-get")
            .arg("download")
            .args(packages)
            .current_dir(&debs)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        while child.try_wait()?.is_none() {
            bar.set_position(wanted.iter().map(|(file, _)| size(file)).sum());
            thread::sleep(Duration::from_millis(100));
        }
        let output = child.wait_with_output()?;
        bar.finish_and_clear();
        if let Some((file, _)) = wanted.iter().find(|(file, length)| size(file) != *length) {
            return Err(format!("{file} did not arrive: {}", text(&output)).into());
        }
        Ok(wanted.iter().map(|(file, _)| debs.join(file)).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<Output> {
        let output = self.command(program).args(args).current_dir(self.dir.join("debs")).output()?;
        if output.status.success() { Ok(output) } else { Err(text(&output).into()) }
    }
}

/// The options of the source line: the architecture, and the archive's keys where they are installed.
fn options() -> String {
    let key = KEYRINGS.iter().find(|k| Path::new(k).is_file());
    key.map_or_else(|| "arch=riscv64".to_owned(), |k| format!("arch=riscv64 signed-by={k}"))
}

/// Mirrors to try: the given one, else those of Debian that this host's apt is configured for.
fn candidates(given: Option<&str>) -> Result<Vec<String>> {
    if let Some(own) = given.map(str::to_owned).or_else(|| env::var("TINAMOU_MIRROR").ok()) {
        return Ok(vec![own]);
    }
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(LABEL)", "Created-By: Packages"])
        .env("LC_ALL", "C")
        .output()?;
    let mut found: Vec<String> = Vec::new();
    for line in text(&output).lines() {
        let mut words = line.split_whitespace();
        let (Some("Packages"), Some(uri)) = (words.next(), words.next()) else { continue };
        let label = words.next().unwrap_or("Debian");
        // The security archive has only what was mended; other distributions have no trixie.
        if label == "Debian" && !uri.contains("security") && !found.iter().any(|f| f == uri) {
            found.push(uri.to_owned());
        }
    }
    if found.is_empty() {
        return Err(format!("apt on this host is not configured for a Debian mirror; {HOW_TO_GO_ON}").into());
    }
    Ok(found)
}

/// Unpacks a package's files below `to`.
pub fn unpack(deb: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let output = Command::new("dpkg-deb").arg("-x").arg(deb).arg(to).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("cannot unpack {}: {}", deb.display(), text(&output)).into())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The mirror that a `cargo xtask guest` has settled on, or the first candidate.
pub fn settled_mirror(dir: &Path) -> Result<String> {
    let step = spinner("looking for a Debian mirror");
    let apt = Apt::open(dir, None, &step)?;
    step.finish_and_clear();
    Ok(apt.mirror)
}
