//! A real spamd with local tests only.

use std::net::SocketAddr;
use std::process::Command;

use super::{Process, answers, folder, free_address, program};

/// A running spamd. It must be started as root: it becomes `nobody` for each request.
pub struct Spamd {
    _process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    // Last, so that the process is gone before its folder is.
    _folder: tempfile::TempDir,
}

impl Spamd {
    /// Starts it.
    pub fn start() -> Spamd {
        let (folder, address) = (folder(), free_address());
        let mut command = Command::new(program("spamd"));
        command
            .args(["--local", "--nouser-config", "--username", "nobody", "--max-children", "1"])
            .args(["--listen", &format!("127.0.0.1:{}", address.port()), "--allowed-ips", "127.0.0.1"])
            .arg("--helper-home-dir")
            .arg(folder.path())
            .env("HOME", folder.path())
            .env("LC_ALL", "C");
        let mut process = Process::start("spamd", &mut command, &folder.path().join("log"));
        process.wait_until(|| answers(address).then_some(()));
        Spamd { _process: process, address, _folder: folder }
    }
}
