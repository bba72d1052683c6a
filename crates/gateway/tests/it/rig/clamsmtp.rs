//! The peer of the ClamSMTP place: Debian's clamsmtpd with the rig's clamd.

use std::net::SocketAddr;
use std::process::Command;

use super::{Clamd, Process, answers, folder, free_address, program};

/// A running clamsmtpd.
pub struct Clamsmtp {
    _process: Process,
    /// Where it takes mail.
    pub smtp: SocketAddr,
    folder: tempfile::TempDir,
}

impl Clamsmtp {
    /// One that hands mail on to `out`, with further lines of its configuration: `Action: bounce`.
    pub fn start(out: SocketAddr, clamd: &Clamd, settings: &str) -> Clamsmtp {
        let (smtp, folder) = (free_address(), folder());
        let config = format!(
            "OutAddress: {out}\nListen: {smtp}\nClamAddress: {}\nTempDirectory: {}\n{settings}\n",
            clamd.socket.display(),
            folder.path().display(),
        );
        let file = folder.path().join("clamsmtpd.conf");
        std::fs::write(&file, config).expect("write");
        let mut command = Command::new(program("clamsmtpd"));
        command.arg("-f").arg(&file).args(["-d", "4"]);
        let mut process = Process::start("clamsmtpd", &mut command, &folder.path().join("log"));
        process.wait_until(|| answers(smtp).then_some(()));
        Clamsmtp { _process: process, smtp, folder }
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
