//! A real opendkim.

use std::net::SocketAddr;
use std::process::Command;

use super::{Process, answers, folder, free_address, program};

/// A running opendkim.
pub struct Opendkim {
    /// Where mail servers ask it.
    pub address: SocketAddr,
    _process: Process,
    // Last, so that the process is gone before its folder is.
    _folder: tempfile::TempDir,
}

impl Opendkim {
    /// One that verifies, with keys under these names: `s1._domainkey.example.org` and the record's text.
    pub fn verifier(keys: &[(String, String)]) -> Opendkim {
        let lines: String = keys.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
        // Mail of its own hosts would be signed, not verified.
        let config =
            "Mode v\nInternalHosts 192.0.2.1\nAuthservID mx.example.test\nTestDNSData file:FOLDER/data\n";
        Opendkim::start(config, &lines)
    }

    /// One that signs for `example.org` with selector `s1` and a key in PEM.
    pub fn signer(pem: &str, lines: &str) -> Opendkim {
        let config = format!("Mode s\nDomain example.org\nSelector s1\nKeyFile FOLDER/data\n{lines}");
        Opendkim::start(&config, pem)
    }

    /// Starts it; FOLDER in the configuration is where its data file lies.
    fn start(config: &str, data: &str) -> Opendkim {
        use std::os::unix::fs::PermissionsExt;
        let (folder, address) = (folder(), free_address());
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("data"), data).expect("write");
        std::fs::set_permissions(path("data"), std::fs::Permissions::from_mode(0o600)).expect("mode");
        let config = format!(
            "Background no\nSyslog no\nRequireSafeKeys no\nSocket inet:{}@127.0.0.1\n{}",
            address.port(),
            config.replace("FOLDER", &folder.path().display().to_string()),
        );
        std::fs::write(path("opendkim.conf"), config).expect("write");
        let mut command = Command::new(program("opendkim"));
        command.arg("-f").arg("-x").arg(path("opendkim.conf"));
        let mut process = Process::start("opendkim", &mut command, &path("log"));
        process.wait_until(|| answers(address).then_some(()));
        Opendkim { address, _process: process, _folder: folder }
    }
}
