//! A real clamav-milter.

use std::net::SocketAddr;
use std::process::Command;

use super::{Clamd, Process, answers, folder, free_address, program};

/// A running clamav-milter.
pub struct ClamavMilter {
    /// Where mail servers ask it.
    pub address: SocketAddr,
    _process: Process,
    // Last, so that the process is gone before its folder is.
    _folder: tempfile::TempDir,
}

impl ClamavMilter {
    /// Starts it with a clamd behind and further lines of its configuration.
    pub fn start(clamd: &Clamd, lines: &str) -> ClamavMilter {
        let (folder, address) = (folder(), free_address());
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "Foreground yes\nMilterSocket inet:{}@127.0.0.1\nClamdSocket unix:{}\nTemporaryDirectory {}\n{lines}\n",
            address.port(),
            clamd.socket.display(),
            folder.path().display(),
        );
        std::fs::write(path("clamav-milter.conf"), config).expect("write");
        let mut command = Command::new(program("clamav-milter"));
        command.arg("--config-file").arg(path("clamav-milter.conf"));
        let mut process = Process::start("clamav-milter", &mut command, &path("log"));
        process.wait_until(|| answers(address).then_some(()));
        ClamavMilter { address, _process: process, _folder: folder }
    }
}
