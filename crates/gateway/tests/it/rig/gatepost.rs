//! gatepost itself, as it is built for this test run.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Dialog, Process, START, folder, free_address, tail};

/// What differs from the rig's own configuration: one SMTP listener and metrics on free ports, a data folder.
#[derive(Clone, Default)]
pub struct Setup {
    /// Next hops of the listener; none: the built-in Maildir.
    pub next_hops: Vec<String>,
    /// Speak LMTP.
    pub lmtp: bool,
    /// Further keys of the listener, as TOML.
    pub listener: String,
    /// Further keys at the top, as TOML.
    pub top: String,
    /// Further tables, as TOML.
    pub tables: String,
    /// Where the data is kept, instead of the rig's folder.
    pub data: Option<PathBuf>,
    /// Nothing is turned off that is on by default, but for the load of this machine, which a test must not fail by.
    pub defaults: bool,
    /// What it finds in its environment besides.
    pub environment: Vec<(&'static str, &'static str)>,
    /// A whole configuration instead of all this, and the address that it listens at.
    pub documented: Option<(String, SocketAddr)>,
}

impl Setup {
    /// Mail goes to an SMTP server.
    pub fn to(next_hop: SocketAddr) -> Setup {
        Setup { next_hops: vec![format!("smtp://{next_hop}")], ..Setup::default() }
    }

    /// As a page of the documentation configures it, with the test's addresses in the place of those there; it must
    /// listen at `smtp` then. The data is kept in the rig's folder.
    pub fn documented(text: String, smtp: SocketAddr) -> Setup {
        let data = "data = \"/var/lib/gatepost\"\n";
        assert!(text.contains(data), "it does not say {data}:\n{text}");
        Setup { documented: Some((text.replace(data, ""), smtp)), ..Setup::default() }
    }

    /// As it is shipped.
    pub fn shipped(mut self) -> Setup {
        self.defaults = true;
        self
    }

    /// With further tables.
    pub fn with(mut self, tables: &str) -> Setup {
        self.tables.push_str(tables);
        self.tables.push('\n');
        self
    }

    /// With further keys of the listener.
    pub fn listening(mut self, keys: &str) -> Setup {
        self.listener.push_str(keys);
        self.listener.push('\n');
        self
    }

    /// With further keys at the top.
    pub fn globally(mut self, keys: &str) -> Setup {
        self.top.push_str(keys);
        self.top.push('\n');
        self
    }

    /// Starts it.
    pub fn start(self) -> Gatepost {
        Gatepost::start(self)
    }
}

/// Whether the log says behind this place that all is ready. A port is open before that, and not each protocol greets.
fn says_ready(log: &Path, from: u64) -> bool {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut text)
    });
    read.is_ok() && String::from_utf8_lossy(&text).lines().any(|line| line.ends_with(" INFO ready"))
}

/// A running gatepost.
pub struct Gatepost {
    process: Option<Process>,
    /// Where it takes mail.
    pub smtp: SocketAddr,
    metrics: SocketAddr,
    setup: Setup,
    // Last, so that the process is gone before its folder is.
    folder: tempfile::TempDir,
}

impl Gatepost {
    fn start(setup: Setup) -> Gatepost {
        let mut gatepost = Gatepost {
            process: None,
            smtp: setup.documented.as_ref().map_or_else(free_address, |(_, smtp)| *smtp),
            metrics: free_address(),
            setup,
            folder: folder(),
        };
        gatepost.write_config();
        gatepost.restart();
        gatepost
    }

    /// Starts it again, after it was stopped or killed.
    pub fn restart(&mut self) {
        let log = self.log_path();
        let from = std::fs::metadata(&log).map_or(0, |data| data.len());
        self.spawn();
        if let Some(process) = &mut self.process {
            process.wait_until(|| says_ready(&log, from).then_some(()));
        }
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        self.process = None;
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.arg("serve").arg("-c").arg(self.config()).envs(self.setup.environment.iter().copied());
        self.process = Some(Process::start("gatepost", &mut command, &self.log_path()));
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gatepost.toml")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.setup.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// The folder of this instance, for further files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Changes what is configured; [`Gatepost::reload`] or [`Gatepost::restart`] makes it count.
    pub fn change(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.write_config();
    }

    fn write_config(&self) {
        let Setup { next_hops, lmtp, listener, top, tables, .. } = &self.setup;
        let next_hop = match next_hops.as_slice() {
            [] => String::new(),
            hops => format!("next_hop = {hops:?}\n"),
        };
        let protocol = if *lmtp { "protocol = \"lmtp\"\n" } else { "" };
        let own = [top.as_str(), tables, self.setup.documented.as_ref().map_or("", |(text, _)| text)];
        // The domains of most tests' senders exist nowhere; tests that are about them say so themselves.
        let defaults = self.setup.defaults;
        let base = match defaults || own.iter().any(|text| text.contains("restrictions")) {
            true => "",
            false => "restrictions.sender = []\n",
        };
        // Nor can senders be authenticated where no name server is named.
        let offline = match defaults || own.iter().any(|text| text.contains("checks.dns")) {
            true => "",
            false => {
                "checks.spf.enabled = false\nchecks.dkim.enabled = false\nchecks.dmarc.enabled = false\n\
                 checks.arc.enabled = false\n"
            }
        };
        // Most test mails are worded as no mail is that people send; tests about rules say so themselves.
        let unruled = match defaults || own.iter().any(|text| text.contains("checks.rules")) {
            true => "",
            false => "checks.rules.enabled = false\n",
        };
        let offline = &format!("{offline}{unruled}");
        // A busy machine must not make tests fail, nor those wait that name many wrong recipients.
        let calm = match own.iter().any(|text| text.contains("protection")) {
            true => "",
            false if defaults => "protection.refuse_at_load = 0\n",
            false => "protection = { refuse_at_load = 0, refused_recipients_delay = 0, free_disk = 0 }\n",
        };
        let base = format!("{base}{calm}");
        if let Some((text, _)) = &self.setup.documented {
            // A table that is there already takes them in; TOML has each but once.
            let inside = format!("[checks]\n{}", offline.replace("checks.", ""));
            let (offline, text) = match text.contains("[checks]\n") {
                true => ("", text.replacen("[checks]\n", &inside, 1)),
                false => (offline.as_str(), text.clone()),
            };
            let config = format!(
                "data = {:?}\n{base}{offline}{top}\n{text}\n[log]\nlevel = \"debug\"\n[metrics]\nlisten = \"{}\"\n{tables}\n",
                self.data(),
                self.metrics,
            );
            std::fs::write(self.config(), config).expect("write the configuration");
            return;
        }
        let config = format!(
            "data = {:?}\nhostname = \"gatepost.test\"\n{base}{offline}{top}\n[log]\nlevel = \"debug\"\n\
             [metrics]\nlisten = \"{}\"\n\
             [[listener]]\nlisten = [\"{}\"]\n{protocol}{next_hop}{listener}\n{tables}\n",
            self.data(),
            self.metrics,
            self.smtp,
        );
        std::fs::write(self.config(), config).expect("write the configuration");
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("gatepost was started")
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process().pid().as_raw()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// SIGKILL, and it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its exit status, once it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.as_mut().expect("gatepost was started").wait(START)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.ended())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A connection to it, the banner not yet read.
    pub fn connect(&self) -> Dialog {
        Dialog::connect(self.smtp)
    }

    /// A page of its HTTP port: status code and body.
    pub fn http(&self, path: &str) -> (u16, String) {
        let connect = || TcpStream::connect(self.metrics).ok();
        let mut stream = super::wait_for("metrics answer", START, connect);
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        (code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// The sum of all samples of a metric whose line contains every one of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.http("/metrics")
            .1
            .lines()
            .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// A figure of /proc/PID/status, in its own unit: `VmRSS` (kB), `Threads`.
    pub fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok()
            })
            .unwrap_or_else(|| panic!("no {field} in /proc"))
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Runs one of its commands with this configuration: `&["quarantine", "list"]`, then what follows.
    pub fn command(&self, command: &[&str], rest: &[&str]) -> Output {
        let config = self.config();
        let config = config.to_str().expect("a plain path");
        let arguments: Vec<&str> =
            command.iter().copied().chain(["-c", config]).chain(rest.iter().copied()).collect();
        run(&arguments, b"")
    }

    /// Runs a command that prints JSON, an object a line; nothing found (exit status 1) is an empty list.
    pub fn json(&self, command: &[&str], rest: &[&str]) -> Vec<Value> {
        let output = self.command(command, rest);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{command:?} {rest:?}: {errors}\n{text}");
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        values.map(|value| value.unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
    }

    /// Records of the journal, in the order of their times, once there are `count`: the journal is written off the path.
    pub fn records(&self, count: usize) -> Vec<Value> {
        super::wait_for(&format!("{count} records"), Duration::from_secs(20), || {
            let mut records = self.json(&["history"], &["--json", "--limit", "10000"]);
            records.sort_by_key(|record| record["time"].as_str().map(str::to_owned));
            (records.len() >= count).then_some(records)
        })
    }

    /// The original of a held message, read from the vault as it lies on disk: where there are hundreds, a command for each
    /// takes minutes.
    pub fn original(&self, id: &str) -> String {
        const HEAD: usize = 8 + 4 + 32;
        let path = self.data().join("vault").join(&id[..1]).join(id);
        let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let length: [u8; 4] = file[8..12].try_into().expect("four octets");
        let packed = &file[HEAD + u32::from_be_bytes(length) as usize..];
        let plain = zstd::decode_all(packed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&plain).into_owned()
    }

    /// Held messages, once there are `count`.
    pub fn held(&self, count: usize) -> Vec<Value> {
        super::wait_for(&format!("{count} held messages"), Duration::from_secs(20), || {
            let held = self.json(&["quarantine", "list"], &["--json", "--limit", "10000"]);
            (held.len() >= count).then_some(held)
        })
    }
}

impl Drop for Gatepost {
    fn drop(&mut self) {
        if std::thread::panicking() && self.process.is_none() {
            println!("--- gatepost (killed) ---\n{}", tail(&self.log_path()));
        }
    }
}

/// Runs `gatepost` with arguments and standard input, in a folder of its own: without a configuration it keeps its data
/// where it is started.
pub fn run(arguments: &[&str], input: &[u8]) -> Output {
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gatepost runs");
    // It may end without reading its input; that is its right.
    let _ = child.stdin.take().expect("its input").write_all(input);
    child.wait_with_output().expect("gatepost ends")
}
