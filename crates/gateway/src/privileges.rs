//! Giving up what isn't needed: root, capabilities, the way back to them; and asking for the descriptors that are.

use caps::CapSet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, User, geteuid, getuid, initgroups, setresgid, setresuid};

/// Prepares the process: files are made for nobody else, and as many descriptors may be open as the system lets us.
/// Returns that number.
pub fn prepare() -> u64 {
    umask(Mode::from_bits_truncate(0o077));
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        // The call fails for no resource that exists; a number that every system grants does no harm.
        Err(_) => 256,
    }
}

/// The user to become, looked up.
///
/// # Errors
/// If there is no such user.
pub fn find_user(name: &str) -> Result<User, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("there is no user {name:?} on this system")),
        Err(error) => Err(format!("user {name:?} cannot be looked up: {error}")),
    }
}

/// Gives up all privileges for good, once the listeners are bound: started as root we become `user` with its groups
/// (empty: we stay what we are), capabilities are dropped, and nothing that is run later can gain any.
///
/// Capabilities and the last of these belong to threads: call it before the runtime starts its threads, which inherit
/// them. Changing the user reaches every thread.
///
/// # Errors
/// If anything could not be given up: the program must not go on then.
pub fn give_up(user: &str) -> Result<(), String> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    if geteuid().is_root() && !user.is_empty() {
        let account = find_user(user)?;
        // The bounding set can be emptied only while we still may; a kernel that refuses has no such set.
        let _ = caps::clear(None, CapSet::Bounding);
        let name = std::ffi::CString::new(user).map_err(|error| wrong("user", &error))?;
        initgroups(&name, account.gid).map_err(|error| wrong("groups cannot be set", &error))?;
        setresgid(account.gid, account.gid, account.gid)
            .map_err(|error| wrong("group cannot be set", &error))?;
        setresuid(account.uid, account.uid, account.uid)
            .map_err(|error| wrong("user cannot be set", &error))?;
        if getuid() != account.uid || geteuid() != account.uid {
            return Err(format!("we did not become {user}"));
        }
        if !account.uid.is_root() && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
            return Err("root was given up and could be had back".into());
        }
    }
    if !geteuid().is_root() {
        for set in [CapSet::Ambient, CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
            caps::clear(None, set).map_err(|error| wrong("capabilities cannot be dropped", &error))?;
        }
    }
    nix::sys::prctl::set_no_new_privs().map_err(|error| wrong("no_new_privs cannot be set", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs in a process of its own, started by the test below: what it gives up is gone.
    #[test]
    #[ignore = "run by another test in a process of its own"]
    fn child() {
        if std::env::var_os("GATEPOST_TEST_CHILD").is_none() {
            return;
        }
        prepare();
        give_up("nobody").unwrap();
        let status = std::fs::read_to_string("/proc/self/task/self/status")
            .or_else(|_| std::fs::read_to_string("/proc/thread-self/status"))
            .unwrap();
        println!("{status}");
        println!("LISTING {}", std::fs::read_dir("/root").is_ok());
        let file = std::env::temp_dir().join(format!("gatepost-umask-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        std::fs::remove_file(&file).unwrap();
        println!("MODE {:o}", mode & 0o777);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        println!("FILES {}", soft == hard);
    }

    #[test]
    fn root_is_given_up_for_good() {
        if !geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["privileges::tests::child", "--exact", "--ignored", "--nocapture"])
            .env("GATEPOST_TEST_CHILD", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        for line in [
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "LISTING false",
            "MODE 600",
            "FILES true",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let uids = text.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert!(!uids.split_whitespace().skip(1).any(|uid| uid == "0"), "{uids}");
    }

    #[test]
    fn an_unknown_user_is_told() {
        assert!(find_user("no-such-user").unwrap_err().contains("no user \"no-such-user\""));
    }
}
