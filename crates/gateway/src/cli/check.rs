//! `gatepost check`: is the configuration right, and is everything there that it names?

mod certificate;
mod files;
mod network;
mod relay;
mod rules;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use crate::config::{self, Config, Loaded, Located, Problem};
use crate::resources::dns::Resolve;

/// Checks the configuration and everything it names: folders, certificates, scanners, lists, next hops, addresses.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration file; without it, the built-in defaults and the environment
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What the check needs from the rest of the program.
pub struct Probes {
    /// Builds everything that a configuration describes (checks, policies) and tells what does not fit.
    pub compile: Compile,
    /// Makes what looks names up as the configuration says.
    pub resolver: Resolver,
}

/// Builds everything that a configuration describes, and tells what does not fit.
pub type Compile = Box<dyn Fn(&Config) -> Vec<Problem> + Send + Sync>;

/// Makes what looks names up, or tells why that cannot be.
pub type Resolver = Box<dyn Fn(&Config) -> Result<Arc<dyn Resolve>, String> + Send + Sync>;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// It works, and should be looked at.
    Doubtful,
    /// It does not work.
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it stands.
    pub state: State,
    /// What: `listener smtp: next hop smtp://127.0.0.1:10026`.
    pub what: String,
    /// Details, and what would be right.
    pub detail: String,
}

impl Line {
    fn new(state: State, what: impl Into<String>, detail: impl Into<String>) -> Line {
        Line { state, what: what.into(), detail: detail.into() }
    }

    fn good(what: impl Into<String>, detail: impl Into<String>) -> Line {
        Line::new(State::Good, what, detail)
    }

    fn doubtful(what: impl Into<String>, detail: impl Into<String>) -> Line {
        Line::new(State::Doubtful, what, detail)
    }

    fn bad(what: impl Into<String>, detail: impl Into<String>) -> Line {
        Line::new(State::Bad, what, detail)
    }

    /// What went well with its detail, or what went wrong.
    fn of(what: impl Into<String>, result: Result<String, String>) -> Line {
        match result {
            Ok(detail) => Line::good(what, detail),
            Err(detail) => Line::bad(what, detail),
        }
    }
}

/// `ok    data folder /var/lib/gatepost: writable`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Good => "ok  ",
            State::Doubtful => "warn",
            State::Bad => "FAIL",
        };
        write!(f, "{state}  {}", self.what)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// Prints the report. Exit status 0 if nothing failed, else 2.
pub async fn run(args: &CheckArgs, probes: &Probes) -> ExitCode {
    let lines = report(args.config.as_deref(), probes).await;
    for line in &lines {
        println!("{line}");
    }
    if lines.iter().any(|line| line.state == State::Bad) { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// The report: the configuration first; if that can be read, everything it names, all looked at side by side.
pub async fn report(file: Option<&Path>, probes: &Probes) -> Vec<Line> {
    let name = file.map_or("configuration".into(), |file| format!("configuration {}", file.display()));
    report_of(name, config::load(file), probes).await
}

async fn report_of(name: String, loaded: Result<Loaded, Vec<Located>>, probes: &Probes) -> Vec<Line> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            return problems.iter().map(|problem| Line::bad(name.clone(), problem.to_string())).collect();
        }
    };
    let mut lines: Vec<Line> =
        loaded.warnings.iter().map(|warning| Line::doubtful(name.clone(), warning.to_string())).collect();
    let problems = loaded.locate((probes.compile)(&loaded.config));
    if problems.is_empty() {
        lines.push(Line::good(name, configuration_detail(&loaded)));
    }
    lines.extend(problems.iter().map(|problem| Line::bad("configuration", problem.to_string())));
    lines.extend(files::host(&loaded.config));
    lines.extend(files::folders(&loaded.config));
    lines.extend(files::queues(&loaded.config));
    lines.extend(files::rules(&loaded.config));
    lines.extend(rules::lines(&loaded.config));
    lines.extend(files::updates(&loaded.config));
    lines.extend(files::ampdp(&loaded.config));
    lines.extend(files::workers(&loaded.config));
    lines.extend(relay::lines(&loaded.config));
    lines.extend(certificate::lines(&loaded.config));
    lines.extend(join_all(network_probes(&loaded.config, probes)).await.into_iter().flatten());
    lines
}

fn configuration_detail(loaded: &Loaded) -> String {
    match loaded.files.len() {
        0 => "built-in defaults".into(),
        1 => "read".into(),
        n => format!("read, with {} in conf.d", n - 1),
    }
}

fn network_probes<'a>(config: &'a Config, probes: &'a Probes) -> Vec<BoxFuture<'a, Vec<Line>>> {
    let mut futures: Vec<BoxFuture<'a, Vec<Line>>> = Vec::new();
    for (name, clamd) in &config.checks.clamd {
        futures.push(Box::pin(async move { vec![network::clamd(name, clamd).await] }));
    }
    for (name, list) in &config.checks.dnsbl {
        futures.push(Box::pin(async move {
            vec![network::dns_list(name, list, (probes.resolver)(config)).await]
        }));
    }
    for listener in config.listeners() {
        let hostname = config.hostname.clone();
        futures.push(Box::pin(async move {
            let mut lines = network::next_hops(
                &format!("listener {}", listener.name),
                &listener.next_hop,
                listener.next_hop_verify,
                &hostname,
            )
            .await;
            if listener.next_hop.is_empty() && config.quarantine.release_to.is_empty() {
                let what = format!("listener {}: next hop", listener.name);
                let message = "none, nor quarantine.release_to: held mail cannot be released";
                lines.push(Line::doubtful(what, message));
            }
            for address in &listener.listen {
                lines.push(network::listen(&listener, address, &hostname).await);
            }
            lines
        }));
    }
    if !config.quarantine.release_to.is_empty() {
        futures.push(Box::pin(network::next_hops(
            "quarantine",
            &config.quarantine.release_to,
            true,
            &config.hostname,
        )));
    }
    if !config.metrics.listen.is_empty() {
        futures.push(Box::pin(async move { vec![network::metrics(&config.metrics.listen).await] }));
    }
    futures
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    /// Names are looked up in these lines.
    fn probes(lines: &[&str]) -> Probes {
        let table = Arc::new(gatepost_auth::dns::Table::new(&lines.join("\n")));
        Probes {
            compile: Box::new(|_| Vec::new()),
            resolver: Box::new(move |_| Ok(table.clone() as Arc<dyn Resolve>)),
        }
    }

    /// The report of a configuration, as text; FOLDER stands for a folder of its own.
    async fn report_of(folder: &Path, text: &str, probes: &Probes) -> String {
        let file = folder.join("gatepost.toml");
        let head = "hostname = \"gate.example.org\"\ndata = \"FOLDER/data\"\nmetrics.listen = \"\"\n";
        std::fs::write(&file, format!("{head}{text}").replace("FOLDER", folder.to_str().unwrap())).unwrap();
        // Without the environment, which may hold variables that begin as ours do.
        let loaded = config::load::load_with(Some(&file), []);
        let lines = super::report_of(format!("configuration {}", file.display()), loaded, probes).await;
        let text: Vec<String> = lines.iter().map(Line::to_string).collect();
        text.join("\n").replace(folder.to_str().unwrap(), "FOLDER")
    }

    fn expect(report: &str, lines: &[&str]) {
        for line in lines {
            assert!(report.lines().any(|found| found.starts_with(line)), "{line}\nis not in\n{report}");
        }
    }

    #[tokio::test]
    async fn everything_that_is_right_is_ok() {
        let folder = tempfile::tempdir().unwrap();
        let report =
            report_of(folder.path(), "listener = [{ listen = [\"127.0.0.1:0\"] }]", &probes(&[])).await;
        expect(
            &report,
            &[
                "ok    configuration FOLDER/gatepost.toml: read",
                "ok    data folder FOLDER/data: would be created",
                "ok    listener smtp: next hop maildir:FOLDER/data/Maildir",
                "ok    listener smtp: address 127.0.0.1:0",
            ],
        );
        assert!(!report.contains("FAIL") && !report.contains("warn"), "{report}");
        assert!(!folder.path().join("data").exists(), "a check changes nothing");
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_configuration_is_located() {
        let folder = tempfile::tempdir().unwrap();
        let report = report_of(folder.path(), "dta = 1\n", &probes(&[])).await;
        expect(
            &report,
            &["FAIL  configuration FOLDER/gatepost.toml: FOLDER/gatepost.toml:4:1: unknown key \"dta\""],
        );
        let compile = Box::new(|_: &Config| vec![Problem::new("hostname", "no")]);
        let report = report_of(folder.path(), "", &Probes { compile, ..probes(&[]) }).await;
        expect(&report, &["FAIL  configuration: FOLDER/gatepost.toml:1:12: hostname: no"]);
    }

    #[tokio::test]
    async fn what_is_left_to_others_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let listener = |listen: &str, hop: &str| {
            format!("[[listener]]\nlisten = [\"{listen}\"]\nnext_hop = [\"{hop}\"]\n")
        };
        let server = "smtp://127.0.0.1:1";
        for (text, warns) in [
            (listener("0.0.0.0:0", server), true),
            (format!("domains = [\"example.org\"]\n{}", listener("0.0.0.0:0", server)), false),
            (listener("127.0.0.1:0", server), false),
            (listener("0.0.0.0:0", "maildir:FOLDER/m"), false),
        ] {
            let report = report_of(folder.path(), &text, &probes(&[])).await;
            assert_eq!(report.contains("warn  listener smtp: relaying: domains is empty"), warns, "{report}");
        }
        for (text, warns) in [
            ("restrictions.recipient = [\"reject_unlisted_recipient\"]", true),
            ("restrictions.recipient = [\"permit\"]", false),
            ("", false),
        ] {
            let report = report_of(folder.path(), text, &probes(&[])).await;
            assert_eq!(report.contains("warn  restriction reject_unlisted_recipient"), warns, "{report}");
        }
    }

    #[tokio::test]
    async fn missing_files_fail() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let report = report_of(
            folder.path(),
            "quarantine.vault = \"FOLDER/file\"\nuser = \"no-such-user\"\n\
             checks.embedded.rules = \"FOLDER/none\"\nchecks.embedded.hashes = [\"FOLDER/none.hdb\", \"FOLDER/file\"]\n\
             [[listener]]\nlisten = [\"127.0.0.1:0\"]\ntls_certificate = \"FOLDER/none.pem\"\ntls_key = \"FOLDER/k.pem\"\n",
            &probes(&[]),
        )
        .await;
        expect(
            &report,
            &[
                "FAIL  vault FOLDER/file: is not a folder",
                "FAIL  user no-such-user: there is no user",
                "FAIL  YARA rules FOLDER/none: cannot be read",
                "FAIL  hash list FOLDER/none.hdb: cannot be read",
                "ok    hash list FOLDER/file: readable",
                "FAIL  listener smtp: certificate FOLDER/none.pem: ",
            ],
        );
    }

    #[tokio::test]
    async fn what_does_not_count_of_rules_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let rules = "body A /a/\nbody B /(/\nrequired_score 4\n";
        std::fs::write(folder.path().join("site.cf"), rules).unwrap();
        let text =
            "checks.rules.paths = [\"FOLDER/site.cf\"]\ndefault_policy.weights = { A = 1, QQQQ = 2 }\n";
        expect(
            &report_of(folder.path(), text, &probes(&[])).await,
            &[
                "ok    rules: 1 rules, ",
                "warn  rules: FOLDER/site.cf:2: ",
                "warn  rules: required_score 4 does not count here",
                "warn  configuration: default_policy.weights.QQQQ: no check and no rule finds",
            ],
        );
        let good = report_of(folder.path(), "checks.rules.paths = [\"FOLDER/none.cf\"]", &probes(&[])).await;
        expect(&good, &["FAIL  rules: FOLDER/none.cf: No such file"]);
        let channel = "[update.rules]\nfolder = \"FOLDER/ours\"\n[update.rules.channel.\"a.example\"]\nunsigned = true\n\
                       [checks.rules]\npaths = [\"FOLDER/ours\"]\n";
        let awaited = report_of(folder.path(), channel, &probes(&[])).await;
        expect(
            &awaited,
            &["ok    rules: 0 rules; none yet in FOLDER/ours", "warn  rules: FOLDER/ours holds no rules yet"],
        );
    }

    #[tokio::test]
    async fn queue_folders_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let queue = "[[queue]]\nincoming = \"FOLDER/in\"\noutgoing = \"FOLDER/out\"\n";
        let report = report_of(folder.path(), queue, &probes(&[])).await;
        expect(
            &report,
            &[
                "ok    queue queue: incoming folder FOLDER/in: readable and writable",
                "FAIL  queue queue: outgoing folder FOLDER/out: No such file",
                "warn  queue queue: no quarantine.release_to",
            ],
        );
        assert!(!report.contains("listener"), "{report}");
    }

    #[tokio::test]
    async fn clamd_is_asked_for_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(folder.path().join("clamd.sock")).unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let mut command = vec![0; 64];
                let length = stream.read(&mut command).await.unwrap_or(0);
                let answer: &[u8] = match &command[..length] {
                    b"zPING\0" => b"PONG\0",
                    b"zVERSION\0" => b"ClamAV 1.4.3/27700/Mon\0",
                    _ => b"UNKNOWN COMMAND\0",
                };
                let _ = stream.write_all(answer).await;
            }
        });
        let report = report_of(
            folder.path(),
            "[checks.clamd.main]\nsocket = \"unix:FOLDER/clamd.sock\"\n[checks.clamd.other]\nsocket = \
             \"unix:FOLDER/none.sock\"\n[checks.clamd.third]\nsocket = \"tcp:127.0.0.1:1\"\n",
            &probes(&[]),
        )
        .await;
        server.abort();
        expect(
            &report,
            &[
                "ok    clamd main: unix:FOLDER/clamd.sock answers, ClamAV 1.4.3/27700/Mon",
                "FAIL  clamd other: unix:FOLDER/none.sock: No such file",
                "FAIL  clamd third: tcp:127.0.0.1:1: Connection refused",
            ],
        );
    }

    #[tokio::test]
    async fn dns_lists_list_their_test_address_and_not_everything() {
        let folder = tempfile::tempdir().unwrap();
        let report = report_of(
            folder.path(),
            "[checks.dnsbl]\ngood.zone = \"good.test\"\nempty.zone = \"empty.test\"\nall.zone = \"all.test\"\n\
             away.zone = \"away.test\"\n",
            &probes(&[
                "2.0.0.127.good.test A 127.0.0.2",
                "2.0.0.127.good.test A 127.0.0.4",
                "2.0.0.127.all.test A 127.0.0.2",
                "1.0.0.127.all.test A 127.0.0.2",
                "2.0.0.127.away.test TIMEOUT",
            ]),
        )
        .await;
        expect(
            &report,
            &[
                "ok    DNS list good: good lists its test entry 127.0.0.2 (127.0.0.2, 127.0.0.4)",
                "FAIL  DNS list empty: empty does not list its test entry 127.0.0.2",
                "FAIL  DNS list all: all lists 127.0.0.1",
                "FAIL  DNS list away: away: no name server answered in time",
            ],
        );
    }

    /// A mail server that greets, answers EHLO and QUIT.
    async fn mail_server(greeting: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let _ = stream.write_all(greeting.as_bytes()).await;
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let answer: &[u8] = match line.as_str() {
                        "EHLO gate.example.org\r\n" => b"250-mx\r\n250-PIPELINING\r\n250 SIZE 100\r\n",
                        "QUIT\r\n" => b"221 bye\r\n",
                        _ => b"500 what?\r\n",
                    };
                    let _ = stream.write_all(answer).await;
                    line.clear();
                }
            }
        });
        (address, task)
    }

    #[tokio::test]
    async fn next_hops_greet_and_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (good, good_task) = mail_server("220 mx.example.org ESMTP\r\n").await;
        let (busy, busy_task) = mail_server("421 later\r\n").await;
        let text = format!(
            "[[listener]]\nlisten = [\"127.0.0.1:0\"]\nnext_hop = [\"smtp://{good}\", \"smtp://{busy}\"]\n\
             [[listener]]\nlisten = [\"127.0.0.1:0\"]\nnext_hop = [\"smtp://{busy}\", \"lmtp:FOLDER/none\"]\n\
             [[listener]]\nlisten = [\"127.0.0.1:0\"]\nnext_hop = [\"smtp+starttls://{good}\"]\n"
        );
        let report = report_of(folder.path(), &text, &probes(&[])).await;
        good_task.abort();
        busy_task.abort();
        expect(
            &report,
            &[
                &format!(
                    "ok    listener smtp: next hop smtp://{good}: mx.example.org ESMTP; PIPELINING, SIZE 100"
                ),
                &format!("warn  listener smtp: next hop smtp://{busy}: it answered 421 later"),
                &format!("FAIL  listener smtp2: next hop smtp://{busy}: it answered 421 later"),
                "FAIL  listener smtp2: next hop lmtp:FOLDER/none: No such file",
                &format!("FAIL  listener smtp3: next hop smtp+starttls://{good}: it does not offer STARTTLS"),
            ],
        );
    }

    #[tokio::test]
    async fn folders_of_am_pdp_are_readable_and_its_sockets_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for name in ["open", "closed", "mail"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        let mode = |name: &str, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), mode).unwrap();
        };
        for (name, to) in [("", 0o755), ("open", 0o755), ("closed", 0o750)] {
            mode(name, to);
        }
        let listener = "[[listener]]\nprotocol = \"am-pdp\"\nmail_folders = [\"FOLDER/mail\", \"FOLDER/none\", \
                        \"FOLDER/file\"]\nlisten = [\"unix:FOLDER/closed/x\", \"unix:FOLDER/open/x\"]\n";
        let report = report_of(folder.path(), listener, &probes(&[])).await;
        expect(
            &report,
            &[
                "ok    listener am-pdp: mail folder FOLDER/mail: readable",
                "warn  listener am-pdp: mail folder FOLDER/none: No such file",
                "FAIL  listener am-pdp: mail folder FOLDER/file: is not a folder",
                "warn  listener am-pdp: socket's folder FOLDER/open: everybody on this host may enter it",
            ],
        );
        assert!(!report.contains("socket's folder FOLDER/closed"), "{report}");
        let report =
            report_of(folder.path(), &format!("{listener}require_secret = true\n"), &probes(&[])).await;
        assert!(!report.contains("socket's folder"), "{report}");
    }

    #[tokio::test]
    async fn addresses_are_free_or_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, ours_task) = mail_server("220 gate.example.org ESMTP\r\n").await;
        let (other, other_task) = mail_server("220 other.example.org ESMTP\r\n").await;
        let (silent, silent_task) = mail_server("").await;
        let _left_behind = UnixListener::bind(folder.path().join("old.sock")).map(drop);
        let text = format!(
            "[[listener]]\nlisten = [\"{ours}\", \"{other}\", \"unix:FOLDER/new.sock\", \"unix:FOLDER/old.sock\", \
             \"unix:FOLDER/no/new.sock\", \"systemd:smtp\", \"192.0.2.1:2526\"]\n\
             [[listener]]\nprotocol = \"milter\"\nlisten = [\"{silent}\"]\n"
        );
        let report = report_of(folder.path(), &text, &probes(&[])).await;
        ours_task.abort();
        other_task.abort();
        silent_task.abort();
        expect(
            &report,
            &[
                &format!("ok    listener smtp: address {ours}: gatepost serves it"),
                &format!(
                    "FAIL  listener smtp: address {other}: another program serves it (220 other.example.org ESMTP)"
                ),
                &format!("warn  listener milter: address {silent}: in use"),
                "warn  listener milter: next hop: none, nor quarantine.release_to",
                "ok    listener smtp: address unix:FOLDER/new.sock: free",
                "ok    listener smtp: address unix:FOLDER/old.sock: free",
                "FAIL  listener smtp: address unix:FOLDER/no/new.sock: there is no folder FOLDER/no",
                "ok    listener smtp: address systemd:smtp: handed over by systemd",
                "FAIL  listener smtp: address 192.0.2.1:2526: Cannot assign requested address",
            ],
        );
    }
}
