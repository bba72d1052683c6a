//! A real c-icap with its module for malware, which asks a clamd.

use std::net::SocketAddr;
use std::process::Command;

use super::{Clamd, Process, answers, folder, free_address, program};

/// Where Debian puts its modules.
pub const MODULES: &str = "/usr/lib/x86_64-linux-gnu/c_icap";

/// A running c-icap.
pub struct CIcap {
    _process: Process,
    _folder: tempfile::TempDir,
    address: SocketAddr,
}

impl CIcap {
    /// Starts one that asks this clamd.
    pub fn start(clamd: &Clamd) -> CIcap {
        let folder = folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address = free_address();
        let config = format!(
            "PidFile {}\nCommandsSocket {}\nStartServers 1\nMaxServers 4\nMinSpareThreads 2\nMaxSpareThreads 64\nThreadsPerChild 8\nPort {address}\n\
             User root\nGroup root\nTmpDir {}\nModulesDir {MODULES}\nServicesDir {MODULES}\n\
             LoadMagicFile /etc/c-icap/c-icap.magic\nServerLog {}\nAccessLog {}\n\
             acl all src 0.0.0.0/0.0.0.0\nicap_access allow all\n\
             Module common clamd_mod.so\nclamd_mod.ClamdSocket {}\n\
             Service antivirus virus_scan.so\nServiceAlias avscan virus_scan\n\
             virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE DOCUMENT GRAPHICS\n\
             virus_scan.SendPercentData 5\nvirus_scan.MaxObjectSize 5M\n\
             virus_scan.DefaultEngine clamd\n",
            path("pid"),
            path("commands"),
            folder.path().display(),
            path("server.log"),
            path("access.log"),
            clamd.socket.display(),
        );
        std::fs::write(folder.path().join("c-icap.conf"), config).expect("write");
        let mut command = Command::new(program("c-icap"));
        command.arg("-N").arg("-f").arg(folder.path().join("c-icap.conf"));
        let mut process = Process::start("c-icap", &mut command, &folder.path().join("log"));
        process.wait_until(|| answers(address).then_some(()));
        CIcap { _process: process, _folder: folder, address }
    }

    /// The section of a gateway's configuration that asks it.
    pub fn check(&self) -> String {
        format!("[checks.icap.main]\nurl = \"icap://{}/avscan\"\n", self.address)
    }
}
