//! `-sandbox on`: the program gives up system calls that it does not need, so that a guest which breaks out finds little
//! to use. A forbidden call ends the program.
//!
//! What each word denies follows the manual of the reference: `obsolete` calls that no program of today makes,
//! `elevateprivileges` changes of user and group, `spawn` new processes, `resourcecontrol` priorities and affinities. Calls
//! that take the machine apart (mounting, swapping, loading a kernel) are denied with `on` alone.

use crate::options::Opts;
use base::{Result, error};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that only an administrator's tool makes.
const ADMINISTRATION: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_pivot_root,
    libc::SYS_reboot,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
];
const OBSOLETE: &[i64] = &[libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat];
const ELEVATE: &[i64] = &[
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setpgid,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setsid,
    libc::SYS_setuid,
];
const SPAWN: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_vfork,
];
const RESOURCES: &[i64] = &[
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
];

/// What `-sandbox` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    obsolete: bool,
    elevate: bool,
    /// Privileges may not be gained by executing something either.
    children: bool,
    spawn: bool,
    resources: bool,
}

impl Sandbox {
    /// Reads the option; `None` if it is off.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn parse(opts: &mut Opts) -> Result<Option<Sandbox>> {
        let on = opts.take_switch("enable")?.unwrap_or(false);
        let mut choice = |key: &str, default: &str| -> Result<String> {
            let value = opts.take(key).unwrap_or_else(|| default.to_owned());
            let known = matches!(value.as_str(), "allow" | "deny")
                || key == "elevateprivileges" && value == "children";
            if known { Ok(value) } else { Err(error!("invalid argument for {key}")) }
        };
        let elevate = choice("elevateprivileges", "allow")?;
        let sandbox = Sandbox {
            obsolete: choice("obsolete", "deny")? == "deny",
            elevate: elevate == "deny",
            children: elevate != "allow",
            spawn: choice("spawn", "allow")? == "deny",
            resources: choice("resourcecontrol", "allow")? == "deny",
        };
        opts.finish()?;
        Ok(on.then_some(sandbox))
    }

    /// Whether threads may be given their places.
    pub fn allows_affinity(self) -> bool {
        !self.resources
    }
    fn denied(self) -> Result<Rules> {
        let lists = [
            (true, ADMINISTRATION),
            (self.obsolete, OBSOLETE),
            (self.elevate, ELEVATE),
            (self.spawn, SPAWN),
            (self.resources, RESOURCES),
        ];
        let chosen = lists.iter().filter(|(on, _)| *on).flat_map(|(_, calls)| calls.iter());
        let mut rules: Rules = chosen.map(|call| (*call, Vec::new())).collect();
        if self.spawn {
            // A thread is no process.
            let thread = libc::CLONE_THREAD as u64;
            let process =
                SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)
                    .and_then(|condition| SeccompRule::new(vec![condition]))
                    .map_err(failed)?;
            rules.insert(libc::SYS_clone, vec![process]);
        }
        Ok(rules)
    }

    /// Gives the calls up, on all threads and for good.
    ///
    /// # Errors
    /// The kernel does not do it.
    pub fn enter(self) -> Result<()> {
        if self.children {
            rustix::thread::set_no_new_privs(true).map_err(|e| error!("failed to set no_new_privs: {e}"))?;
        }
        if self.spawn {
            // The arguments of clone3 lie in memory, where no filter looks: the C library falls back to clone.
            let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
            install(clone3, SeccompAction::Errno(libc::ENOSYS as u32))?;
        }
        install(self.denied()?, SeccompAction::KillProcess)
    }
}

fn failed(error: impl std::fmt::Display) -> base::Error {
    error!("failed to install seccomp syscall filter in the kernel: {error}")
}

fn install(rules: Rules, action: SeccompAction) -> Result<()> {
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, action, TargetArch::x86_64).map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    apply_filter_all_threads(&program).map_err(failed)
}
