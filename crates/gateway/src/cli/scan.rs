//! `gatepost scan`: judges files exactly as the daemon would judge them on the wire.

use std::collections::VecDeque;
use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gatepost_mail::{Action, Category, Envelope, Protocol, Recipient, Session};
use gatepost_wire::smtp::Stray;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::build;
use crate::cli::{TRY_LATER, parse_address};
use crate::config::{Config, load};
use crate::front::local;
use crate::pipeline::Pipeline;
use crate::records::text::clean;
use crate::records::{Metrics, Record, Scanned};
use crate::verdict::Answers;

/// Judge files as the daemon would.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one the embedded defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a line instead of a line for people.
    #[arg(long)]
    json: bool,
    /// The files are mailboxes in mbox form.
    #[arg(long)]
    mbox: bool,
    /// Client address the mail is to be judged with.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// What the client said in HELO.
    #[arg(long, value_name = "NAME", default_value = "")]
    helo: String,
    /// Envelope sender; `<>` or none at all is the empty sender.
    #[arg(long, value_name = "ADDR")]
    from: Option<String>,
    /// Envelope recipient; may be given several times.
    #[arg(long, value_name = "ADDR")]
    to: Vec<String>,
    /// Files, folders (read with all below them), or `-` for standard input.
    #[arg(required = true, value_name = "FILE|FOLDER|-")]
    files: Vec<PathBuf>,
}

/// Judges all files; the exit status tells the worst of it.
pub async fn run(args: Args) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return super::configuration_error(&problems),
    };
    let config = &loaded.config;
    let case = match Case::new(&args, config) {
        Ok(case) => case,
        Err(error) => return super::usage_error(&error),
    };
    let pipeline = match build::pipeline(config, None, Arc::new(Metrics::new())) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(problems) => return super::configuration_error(&loaded.locate(problems)),
    };
    let files = match list(&args.files) {
        Ok(files) => files,
        Err(error) => return super::usage_error(&clean(&error, 5000)),
    };
    judge_all(&args, pipeline, case, files).await
}

/// What became of all files.
#[derive(Default)]
struct Tally {
    found: bool,
    deferred: bool,
    unreadable: bool,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.found |= record.category != Category::Clean;
        self.deferred |= record.action == Action::Defer;
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Tally { unreadable: true, .. } => ExitCode::from(2),
            Tally { deferred: true, .. } => ExitCode::from(TRY_LATER),
            Tally { found: true, .. } => ExitCode::from(1),
            _ => ExitCode::SUCCESS,
        }
    }
}

type Results = Result<Vec<(String, Record)>, String>;

/// Many files are judged at once, and told in the order they were given.
async fn judge_all(args: &Args, pipeline: Arc<Pipeline>, case: Case, files: Vec<PathBuf>) -> ExitCode {
    let at_once = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let bar = progress(files.len());
    let case = Arc::new(case);
    let mut tally = Tally::default();
    let mut running: VecDeque<JoinHandle<Results>> = VecDeque::new();
    let mut files = files.into_iter();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        while running.len() < at_once
            && let Some(file) = files.next()
        {
            running.push_back(tokio::spawn(judge_file(pipeline.clone(), case.clone(), file)));
        }
        let Some(next) = running.pop_front() else { break };
        match next.await {
            Ok(Ok(records)) => {
                for (file, record) in &records {
                    tally.add(record);
                    if write_line(&mut out, args.json, file, record).is_err() {
                        return tally.exit_code();
                    }
                }
            }
            Ok(Err(error)) => {
                tally.unreadable = true;
                bar.suspend(|| eprintln!("gatepost: {}", clean(&error, 5000)));
            }
            Err(error) => {
                tally.deferred = true;
                bar.suspend(|| eprintln!("gatepost: judging failed: {error}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if out.flush().is_err() {
        return ExitCode::from(2);
    }
    tally.exit_code()
}

fn progress(files: usize) -> ProgressBar {
    if files < 20 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn write_line(out: &mut impl Write, json: bool, file: &str, record: &Record) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, &Scanned { file, record })?;
        return writeln!(out);
    }
    let symbols: Vec<String> =
        record.findings.iter().map(|finding| format!("{}={}", finding.symbol, finding.weight)).collect();
    let faults: Vec<String> =
        record.faults.iter().map(|fault| format!("{} {}", fault.check, fault.cause)).collect();
    write!(
        out,
        "{}: {} {} {} [{}]",
        clean(file, 4096),
        record.category,
        record.score,
        record.action,
        symbols.join(", ")
    )?;
    for finding in record.findings.iter().filter(|finding| !finding.evidence.is_empty()).take(3) {
        write!(out, " {}: {};", finding.symbol, clean(&finding.evidence, 120))?;
    }
    if !faults.is_empty() {
        write!(out, " faults: {}", faults.join(", "))?;
    }
    writeln!(out)
}

/// The session and envelope that every file is judged with.
struct Case {
    session: Session,
    envelope: Envelope,
    mbox: bool,
    memory: u64,
    stray: Stray,
}

impl Case {
    /// An error says which address is none.
    fn new(args: &Args, config: &Config) -> Result<Case, String> {
        let mut session = Session {
            client: args.client,
            helo: args.helo.clone(),
            protocol: Protocol::Local,
            listener: "scan".into(),
            ..Session::default()
        };
        let sender = match args.from.as_deref() {
            None | Some("" | "<>") => None,
            Some(text) => Some(parse_address(text).map_err(|error| format!("--from: {error}"))?),
        };
        let recipients = args.to.iter().map(|to| parse_address(to).map(Recipient::from));
        let recipients: Vec<Recipient> =
            recipients.collect::<Result<_, _>>().map_err(|error| format!("--to: {error}"))?;
        local::direct(&mut session, &recipients, &config.networks, &config.domains);
        let envelope = Envelope { sender, recipients, ..Envelope::default() };
        let stray = config.limits.stray_line_endings.into();
        Ok(Case { session, envelope, mbox: args.mbox, memory: config.limits.memory.bytes(), stray })
    }
}

async fn judge_file(pipeline: Arc<Pipeline>, case: Arc<Case>, file: PathBuf) -> Results {
    let name = file.display().to_string();
    let bytes = read(&file).map_err(|error| format!("{name}: {error}"))?;
    if !case.mbox {
        let record = judge(&pipeline, &case, &name, bytes).await?;
        return Ok(vec![(name, record)]);
    }
    let mut records = Vec::new();
    for (place, message) in split_mbox(&bytes).into_iter().enumerate() {
        let name = format!("{name}#{}", place + 1);
        let record = judge(&pipeline, &case, &name, message).await?;
        records.push((name, record));
    }
    Ok(records)
}

async fn judge(pipeline: &Pipeline, case: &Case, name: &str, content: Vec<u8>) -> Result<Record, String> {
    let content = local::without_from_line(content.into());
    let mended = local::mended(content, case.memory, &std::env::temp_dir(), case.stray).await;
    let mended = mended.map_err(|unfit| format!("{name}: {}", unfit.reply()))?;
    let (session, envelope, answers) = (case.session.clone(), case.envelope.clone(), Answers::Each);
    let arrival = local::arrival(pipeline, session, envelope, mended, answers, false, Duration::ZERO).await;
    Ok(pipeline.judge(arrival).await.record(None))
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// Every file below the folders, in order; what is named itself is taken whatever it is.
pub(super) fn list(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        folders.push(path.clone());
        // An explicit stack: folders nest as deep as they like.
        while let Some(folder) = folders.pop() {
            let mut entries = std::fs::read_dir(&folder)
                .and_then(|entries| {
                    entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
                })
                .map_err(|error| format!("{}: {error}", folder.display()))?;
            entries.sort();
            let (below, here): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|path| path.is_dir() && !path.is_symlink());
            files.extend(here.into_iter().filter(|path| path.is_file()));
            folders.extend(below.into_iter().rev());
        }
    }
    Ok(files)
}

/// Messages of an mbox: each begins with a `From ` line after an empty one; `>From ` is unquoted by one `>`.
fn split_mbox(content: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty = true;
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        if after_empty && line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let quoted = line.iter().take_while(|&&byte| byte == b'>').count();
            let line = if quoted > 0 && line[quoted..].starts_with(b"From ") { &line[1..] } else { line };
            message.extend_from_slice(line);
        } else if !line.trim_ascii().is_empty() {
            messages.push(line.to_vec());
        }
        after_empty = line == b"\n" || line == b"\r\n";
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mbox_is_split_and_unquoted() {
        let mbox = b"From a Mon\nSubject: 1\n\ntext\n>From x\n\nFrom b Tue\nSubject: 2\n\n>>From y\n";
        let messages = split_mbox(mbox);
        let texts: Vec<_> = messages.iter().map(|message| String::from_utf8_lossy(message)).collect();
        assert_eq!(texts, ["Subject: 1\n\ntext\nFrom x\n\n", "Subject: 2\n\n>From y\n"]);
    }

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn case(line: &str) -> Result<Case, String> {
        let words = ["scan", "file"].into_iter().chain(line.split_whitespace());
        let config = Config { domains: vec!["example.org".into()], ..Config::default() };
        Case::new(&<Command as clap::Parser>::parse_from(words).args, &config)
    }

    #[test]
    fn addresses_are_checked() {
        for (line, expected) in [
            ("", Ok(None)),
            ("--from=", Ok(None)),
            ("--from <>", Ok(None)),
            ("--from a@b.test", Ok(Some("a@b.test"))),
            ("--from <a@b.test>", Ok(Some("a@b.test"))),
            ("--from <<a@b.test>", Err("--from: ")),
            ("--from alice", Err("--from: ")),
            ("--to @b.test", Err("--to: ")),
            ("--to a@b.test --to a@", Err("--to: ")),
            ("--to postmaster", Ok(None)),
        ] {
            match (case(line), expected) {
                (Ok(case), Ok(sender)) => {
                    assert_eq!(
                        case.envelope.sender.map(|sender| sender.to_string()).as_deref(),
                        sender,
                        "{line}"
                    );
                }
                (Err(error), Err(part)) => assert!(error.starts_with(part), "{line}: {error}"),
                (Ok(_), Err(_)) => panic!("{line} is taken"),
                (Err(error), Ok(_)) => panic!("{line}: {error}"),
            }
        }
    }

    #[test]
    fn files_go_the_way_the_daemon_would_say() {
        use gatepost_mail::Direction::*;
        for (line, expected) in [
            ("", Inbound),
            ("--client 198.51.100.1 --to a@example.org", Inbound),
            ("--client 127.0.0.1 --to a@elsewhere.test", Outbound),
            ("--client 127.0.0.1 --to a@example.org", Internal),
        ] {
            assert_eq!(case(line).unwrap().session.direction, expected, "{line}");
        }
    }

    #[test]
    fn names_of_files_cannot_drive_the_terminal() {
        let record = crate::records::samples::clean_record("a1");
        let mut out = Vec::new();
        write_line(&mut out, false, "a\u{1b}[2J\nb: clean", &record).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }
}
