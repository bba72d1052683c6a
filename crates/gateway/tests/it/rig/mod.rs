//! The rig: the real programs, each on free loopback ports in a folder of its own, waited for until it answers and
//! stopped by its own process id when dropped. What it logged is shown when a test fails.

mod amavis;
pub mod c_icap;
mod clamav_milter;
mod clamd;
mod clamsmtp;
mod clients;
mod dialog;
mod dns;
pub mod docs;
mod exim;
mod gatepost;
mod gnupg;
mod gpg;
mod home;
mod mails;
mod name_server;
mod opendkim;
mod postfix;
mod postgres;
mod sasl;
mod sendmail;
mod sink;
mod site;
mod slapd;
mod spamd;
mod swaks;

pub use amavis::Amavis;
pub use c_icap::CIcap;
pub use clamav_milter::ClamavMilter;
pub use clamd::Clamd;
pub use clamsmtp::Clamsmtp;
pub use clients::{MilterClient, am_pdp, clamd_stream, header_and_body, http, spamd};
pub use dialog::{Dialog, Reply, matches};
pub use dns::{Dns, txt};
pub use exim::EximSetup;
pub use gatepost::{Gatepost, Setup, run};
pub use gpg::Gpg;
pub use home::Dovecot;
pub use mails::{base64, eicar, eicar_body, mail, with_attachment};
pub use name_server::NameServer;
pub use opendkim::Opendkim;
pub use postfix::{Postfix, PostfixSetup};
pub use postgres::{Postgres, postgres_programs};
pub use sasl::Sasl;
pub use sendmail::{Sendmail, SendmailSetup};
pub use sink::{Received, Sink, Step};
pub use site::Site;
pub use slapd::Slapd;
pub use spamd::Spamd;
pub use swaks::{certificate, swaks};

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest to wait for a server to answer. Far more than any needs; a busy machine is slow.
pub const START: Duration = Duration::from_secs(60);

/// A port of 127.0.0.1 that nobody else of this test run gets: it lies below the range of outgoing connections, and a
/// lock on a file of its number is held until this process ends.
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("gatepost-rig-ports");
    std::fs::create_dir_all(&folder).expect("a folder for port locks");
    for _ in 0..1000 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).expect("random bytes");
        let port = 12_000 + u16::from_le_bytes(random) % 20_000;
        let file = File::create(folder.join(port.to_string())).expect("a port's lock file");
        if file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().expect("port locks").push(file);
            return port;
        }
    }
    panic!("no free port in a thousand tries");
}

/// [`free_port`] with its address.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Connects to a socket that may come to be after its server answers elsewhere.
pub fn connect_unix(path: &Path) -> UnixStream {
    wait_for("a socket", START, || UnixStream::connect(path).ok())
}

/// Asks again and again until there is an answer; fails the test when there is none in time.
pub fn wait_for<T>(what: &str, time: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {time:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The waits before so many kills: evenly spread up to so many milliseconds, so that few rounds hit every step, and in an
/// order in which a machine that is busy for a while misses none of them.
pub fn spread(kill: u32, millis: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    Duration::from_millis(u64::from(millis)).mul_f64((f64::from(kill) * GOLDEN).fract())
}

/// Whether somebody accepts connections there.
pub fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Whether this test can run here: every program is installed and, with `"root"` among them, we are root. Where not, a
/// line says so and the test passes as skipped; `"sendmail"` and `"exim"` are those of [`server`]. With GATEPOST_RIG=required, as in CI, it fails instead.
pub fn needs(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !available(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var_os("GATEPOST_RIG").is_some_and(|value| value == "required");
    assert!(!required, "this test needs {missing:?}");
    println!("skipped: needs {missing:?}");
    false
}

fn available(program: &str) -> bool {
    match program {
        "root" => nix::unistd::geteuid().is_root(),
        "sendmail" => server("sendmail").join("usr/libexec/sendmail/sendmail").exists(),
        "exim" => {
            server("exim").join("usr/sbin/exim4").exists()
                && nix::unistd::User::from_name("Debian-exim").is_ok_and(|user| user.is_some())
        }
        path if path.starts_with('/') => Path::new(path).exists(),
        name => std::env::var("PATH")
            .unwrap_or_default()
            .split(':')
            .chain(["/usr/sbin", "/sbin"])
            .any(|folder| Path::new(folder).join(name).exists()),
    }
}

/// The root folder of a server that `./test` has unpacked, since its package conflicts with Postfix's: `sendmail`, `exim`.
pub fn server(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers").join(name)
}

/// The full name of an installed program; those for administrators may not be in PATH.
pub fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// A folder of the suites: real inputs that others made, which are no part of the project. They are where GATEPOST_SUITES
/// says, else in `shared/suites` beside the repository's folder; where they are not, a line says so.
pub fn suite(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let folder = std::env::var_os("GATEPOST_SUITES").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is absent", folder.display());
    None
}

/// A folder of a test, open to the other users that servers become.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("gatepost-it-").tempdir().expect("a temporary folder");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).expect("open the folder");
    folder
}

/// A server process: killed when dropped, its output in a file.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it; standard output and error are appended to the log.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = output.try_clone().expect("the log file once more");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Process { child, name: name.to_owned(), log: log.to_owned() }
    }

    /// Waits until it answers; fails at once when it ends.
    pub fn wait_until<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> T {
        let (name, log) = (self.name.clone(), self.log.clone());
        let child = &mut self.child;
        wait_for(&format!("{name} answers"), START, || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{name} ended with {status} before it answered:\n{}", tail(&log));
            }
            ask()
        })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{} takes no {signal}: {error}", self.name));
    }

    /// Ends it in good order, when it still runs.
    pub fn end(mut self) {
        if !self.ended() {
            self.signal(Signal::SIGTERM);
            self.wait(Duration::from_secs(20));
        }
    }

    /// Its exit status, when it ends in time.
    pub fn wait(&mut self, time: Duration) -> std::process::ExitStatus {
        let (name, child) = (self.name.clone(), &mut self.child);
        wait_for(&format!("{name} ends"), time, || child.try_wait().ok().flatten())
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL by std's own handle: it cannot hit another process that got the id since.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- {} ---\n{}", self.name, tail(&self.log));
        }
    }
}

/// The end of a log, as much as one reads.
pub fn tail(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
