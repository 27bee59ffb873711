//! `-run-with`: as whom the program runs, and in which part of the file system, once everything is open.

use crate::options::Opts;
use base::{Result, error};
use rustix::process::{Gid, Uid};

/// What `-run-with` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunWith {
    chroot: Option<String>,
    user: Option<String>,
}

/// Somebody.
struct User {
    uid: u32,
    gid: u32,
    /// Other groups that they are in; only they themselves know them.
    groups: Vec<u32>,
}

impl RunWith {
    /// Takes what an option says more.
    ///
    /// # Errors
    /// A parameter that does not exist.
    pub fn change(&mut self, opts: &mut Opts) -> Result<()> {
        // The memory of a program that ends is given back without making anybody wait, here as elsewhere.
        opts.take_switch("async-teardown")?;
        self.chroot = opts.take("chroot").or(self.chroot.take());
        self.user = opts.take("user").or(self.user.take());
        opts.finish()
    }

    /// Makes it so. The program has one thread as yet: others that it starts will be the same.
    ///
    /// # Errors
    /// There is no such user or directory, or the host does not permit it.
    pub fn enter(&self) -> Result<()> {
        // Names are looked up before the files that hold them are out of sight.
        let user = self.user.as_deref().map(find).transpose()?;
        if let Some(directory) = &self.chroot {
            let entered = rustix::process::chroot(directory).and_then(|()| rustix::process::chdir("/"));
            entered.map_err(|_| error!("chroot failed"))?;
        }
        let Some(User { uid, gid, groups }) = user else { return Ok(()) };
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            return Err(error!(
                "-run-with user= cannot be obeyed: the program has {threads} threads already"
            ));
        }
        let failed = |what: &str, e: rustix::io::Errno| {
            error!("Failed to {what}: {}", crate::launch::reason(&e.into()))
        };
        let groups: Vec<_> = groups.into_iter().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_groups(&groups).map_err(|e| failed("set groups", e))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| failed("setgid", e))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| failed("setuid", e))?;
        if !uid.is_root() && rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
            return Err(error!("Dropping privileges failed"));
        }
        Ok(())
    }
}

/// The user of a name, or of `uid:gid`.
fn find(text: &str) -> Result<User> {
    let unknown = || error!("User \"{text}\" doesn't exist (and is not <uid>:<gid>)");
    if let Some((uid, gid)) = text.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        return Ok(User { uid, gid, groups: vec![gid] });
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    user_of(text, &users, &groups).ok_or_else(unknown)
}

/// The user of a name, as the files of users and groups have it.
fn user_of(name: &str, users: &str, groups: &str) -> Option<User> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let own = users.lines().map(fields).find(|fields| fields.first().is_some_and(|own| own == name))?;
    let (uid, gid) = (own.get(2)?.parse().ok()?, own.get(3)?.parse().ok()?);
    let member = |fields: &Vec<String>| {
        fields.get(3).is_some_and(|members| members.split(',').any(|member| member.trim() == name))
    };
    let others = groups.lines().map(fields).filter(member).filter_map(|fields| fields.get(2)?.parse().ok());
    Some(User { uid, gid, groups: std::iter::once(gid).chain(others).collect() })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn users_are_found_with_their_groups() {
        let users = "root:x:0:0:root:/root:/bin/sh\nguest:x:7:8::/:/bin/false\n";
        let groups = "root:x:0:\nguest:x:8:\ndisk:x:9:other,guest\nkvm:x:10:guests\n";
        let guest = user_of("guest", users, groups).unwrap();
        assert_eq!((guest.uid, guest.gid, guest.groups), (7, 8, vec![8, 9]));
        assert!(user_of("nobody", users, groups).is_none());
        let numbers = find("5:6").unwrap();
        assert_eq!((numbers.uid, numbers.gid, numbers.groups), (5, 6, vec![6]));
        assert!(find("5:x").is_err());
    }
}
