//! `-daemonize` and `-pidfile`.
//!
//! The program starts itself again as a child that leaves the terminal; the child says on a pipe that it is ready (its
//! sockets listen, its pidfile is written), and only then the parent ends. A plain fork would need unsafe code.

use base::{Result, error};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

/// Set in the child's environment.
const MARK: &str = "TINAMOU_IN_BACKGROUND";

/// Whether this is the child.
pub fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In the parent: starts the child and waits until it is ready. Returns the exit status.
///
/// # Errors
/// The child cannot be started.
pub fn start_child() -> Result<ExitCode> {
    let program = std::env::current_exe().map_err(|e| error!("cannot find this program").because(e))?;
    let mut child = Command::new(program);
    let mut words = std::env::args_os();
    if let Some(name) = words.next() {
        use std::os::unix::process::CommandExt;
        child.arg0(name);
    }
    let mut child = child
        .args(words)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| error!("cannot start in the background").because(e))?;
    let mut word = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        let _ = pipe.read_to_string(&mut word);
    }
    if word.contains("ready") {
        return Ok(ExitCode::SUCCESS);
    }
    // The child has said on standard error what is wrong.
    let _ = child.wait();
    Ok(ExitCode::FAILURE)
}

/// In the child: leaves the terminal's session.
pub fn leave_session() {
    let _ = rustix::process::setsid();
}

/// In the child: tells the parent that all is ready and lets go of the terminal.
pub fn ready() {
    let _ = std::io::stdout().write_all(b"ready\n");
    let _ = std::io::stdout().flush();
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// The file of `-pidfile`, locked as long as the program runs, so that two do not take the same; removed at the end.
pub struct PidFile {
    path: String,
    _locked: std::fs::File,
}

impl PidFile {
    /// Writes the process id.
    ///
    /// # Errors
    /// The file cannot be made, or belongs to a program that runs.
    pub fn create(path: &str) -> Result<PidFile> {
        let fail = |e: std::io::Error| {
            error!("cannot create PID file: Could not create '{path}': {}", crate::launch::reason(&e))
        };
        let open = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(fail)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| {
            error!("cannot create PID file: Cannot lock pid file: {}", crate::launch::reason(&e.into()))
        })?;
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(PidFile { path: path.to_owned(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
