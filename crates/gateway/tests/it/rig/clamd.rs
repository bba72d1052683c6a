//! A real clamd with a few signatures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Process, answers, eicar, folder, free_address, program};

/// A running clamd, on a unix socket and on TCP.
pub struct Clamd {
    process: Option<Process>,
    /// Its unix socket.
    pub socket: PathBuf,
    /// Its TCP port.
    pub tcp: SocketAddr,
    folder: tempfile::TempDir,
}

/// MD5, size and name of the program that is in every one of Debian's clamav-testfiles.
pub const TEST_FILE_HDB: &str = "aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File\n";

impl Clamd {
    /// Starts it with signatures for EICAR, wherever it stands, and for the ClamAV test file.
    pub fn start() -> Clamd {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("db")).expect("a folder");
        std::fs::create_dir_all(path("tmp")).expect("a folder");
        let hex: String = eicar().bytes().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path("db/test.ndb"), format!("Eicar-Test-Signature:0:*:{hex}\n")).expect("write");
        std::fs::write(path("db/test.hdb"), TEST_FILE_HDB).expect("write");
        let tcp = free_address();
        let socket = path("clamd.sock");
        let config = format!(
            "Foreground yes\nDatabaseDirectory {}\nTemporaryDirectory {}\nLocalSocket {}\nLocalSocketMode 666\n\
             FixStaleSocket yes\nTCPSocket {}\nTCPAddr 127.0.0.1\nMaxThreads 4\nExitOnOOM yes\n",
            path("db").display(),
            path("tmp").display(),
            socket.display(),
            tcp.port(),
        );
        std::fs::write(path("clamd.conf"), config).expect("write");
        let mut clamd = Clamd { process: None, socket, tcp, folder };
        clamd.restart();
        clamd
    }

    /// Starts it again, after it was killed.
    pub fn restart(&mut self) {
        self.process = None;
        let config = self.folder.path().join("clamd.conf");
        let mut command = Command::new(program("clamd"));
        command.arg("--config-file").arg(config);
        let mut process = Process::start("clamd", &mut command, &self.folder.path().join("log"));
        let (tcp, socket) = (self.tcp, self.socket.clone());
        process.wait_until(|| {
            (answers(tcp) && std::os::unix::net::UnixStream::connect(&socket).is_ok()).then_some(())
        });
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// It hangs: connections are accepted by the system, nobody answers.
    pub fn hang(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGSTOP);
        }
    }

    /// It goes on after [`Clamd::hang`].
    pub fn go_on(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGCONT);
        }
    }

    /// Configuration of a check that uses its unix socket.
    pub fn check(&self) -> String {
        format!("[checks.clamd.main]\nsocket = \"unix:{}\"\n", self.socket.display())
    }

    /// Configuration of a check that uses TCP.
    pub fn check_tcp(&self) -> String {
        format!("[checks.clamd.main]\nsocket = \"tcp:{}\"\n", self.tcp)
    }
}
