//! clamd: for Exim's `malware =`, clamdscan and whatever else asks a ClamAV daemon. What they hand us goes through our
//! unpacking and every engine.
//!
//! A front that only gives an opinion: nothing is held or refused here. What could not be looked into because an
//! engine failed is an ERROR, never OK.

mod files;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream;
use gatepost_mail::{
    Action, Category, Envelope, FileType, Finding, OnFault, Protocol, Session as MailSession, Verdict,
};
use gatepost_wire::clamd_server::{Command, Session, StreamReader};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::error::Elapsed;

use super::Front;
use super::asker::{Asker, Gone, Wire, settle};
use super::listen::Place;
use super::local::{self, Mended, mended};
use super::spool::Spool;
use crate::pipeline::Judged;
use crate::resources::net::Stream;
use crate::verdict::Answers;
use files::{Denied, Named};

/// What we call ourselves where clamd tells its version.
const VERSION: &str = concat!("gatepost-", env!("CARGO_PKG_VERSION"));

/// Files of one MULTISCAN that are looked at together.
const AT_ONCE: usize = 4;

/// Files that are read at the same time: one on a network that hangs may keep its thread for long.
static READING: Semaphore = Semaphore::const_new(32);

/// Longest name that is told behind `Gatepost.Banned.`, in characters.
const MAX_NAME: usize = 64;

/// Serves one connection over TCP to its end.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, peer: Option<SocketAddr>, _place: Place) {
    let near = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
    run(front, Wire::Stream(stream), near).await;
}

/// Serves one connection over a unix socket, by which open files can come.
pub(super) async fn serve_local(front: Arc<Front>, stream: UnixStream, _place: Place) {
    run(front, Wire::Local(stream, VecDeque::new()), true).await;
}

async fn run(front: Arc<Front>, wire: Wire, near: bool) {
    let mut client = Client {
        asker: Asker::new(wire, &front),
        session: Session::new(),
        output: Vec::new(),
        front: &front,
        near,
    };
    let end = client.serve().await;
    if end == Err(Gone::Timeout) {
        client.session.replies().timed_out(&mut client.output);
    }
    match client.flush().await {
        Ok(()) if end != Err(Gone::Closed) => client.asker.leave().await,
        _ => tracing::debug!(listener = front.listener.name, "client is gone"),
    }
}

struct Client<'a> {
    asker: Asker,
    session: Session,
    output: Vec<u8>,
    front: &'a Arc<Front>,
    /// The client is on this host, so that a path means the same to it and to us.
    near: bool,
}

/// What there is to say of one file.
enum Looked {
    Clean,
    /// Names of what was found, the first the most telling.
    Found(Vec<String>),
    /// Why nobody can say.
    Error(String),
}

/// How a path is looked at.
#[derive(Clone, Copy)]
struct Manner {
    /// No further than the first that is found.
    stop: bool,
    /// All that was found in a file is named.
    all: bool,
    at_once: usize,
}

impl Client<'_> {
    /// Commands until the last; what was to be said of it is still to go out.
    async fn serve(&mut self) -> Result<(), Gone> {
        loop {
            let Some(command) = self.command().await? else { return Ok(()) };
            let goes_on = self.obey(command).await?;
            if !goes_on || !self.session.goes_on() {
                return Ok(());
            }
            self.flush().await?;
        }
    }

    async fn command(&mut self) -> Result<Option<Command>, Gone> {
        let time = self.front.limits.command_time.duration();
        let mut deadline = None;
        loop {
            match self.session.read(&mut self.asker.input, self.asker.ended) {
                Ok(Some(command)) => return Ok(Some(command)),
                Ok(None) if self.asker.ended => return Ok(None),
                Ok(None) if self.asker.input.is_empty() => self.asker.wait(time).await?,
                Ok(None) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + time);
                    self.asker.more(time, deadline).await?;
                }
                Err(_) => return Ok(Some(Command::Unknown)),
            }
        }
    }

    /// Whether the connection goes on, if this is a session.
    async fn obey(&mut self, command: Command) -> Result<bool, Gone> {
        let manner = Manner { stop: false, all: false, at_once: 1 };
        let replies = self.session.replies();
        let out = &mut self.output;
        match command {
            Command::Ping => replies.pong(out),
            Command::Version => replies.version(VERSION, out),
            Command::VersionCommands => replies.commands(VERSION, out),
            // freshclam says so (NotifyClamd). What the old signatures made of contents counts no longer.
            Command::Reload => {
                tracing::info!(listener = self.front.listener.name, "told that signatures have changed");
                self.front.pipeline.renew();
                replies.reloading(out);
            }
            Command::Stats => {
                let limits = &self.front.limits;
                replies.stats(self.front.pipeline.judging_now(), limits.judging, out);
            }
            Command::Scan(path) => self.scan(&path, Manner { stop: true, ..manner }).await?,
            Command::ContScan(path) => self.scan(&path, manner).await?,
            Command::MultiScan(path) => self.scan(&path, Manner { at_once: AT_ONCE, ..manner }).await?,
            Command::AllMatchScan(path) => self.scan(&path, Manner { all: true, ..manner }).await?,
            Command::InStream => return self.stream().await,
            Command::FilDes => return self.descriptor().await,
            Command::IdSession | Command::Obsolete => {}
            Command::End if self.session.goes_on() => return Ok(false),
            Command::Shutdown => replies.unavailable(out),
            Command::NotInSession => {
                replies.not_in_session(out);
                return Ok(false);
            }
            Command::End | Command::Unknown => {
                replies.unknown(out);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// INSTREAM.
    async fn stream(&mut self) -> Result<bool, Gone> {
        let limits = &self.front.limits;
        let (silence, began) = (limits.data_time.duration(), Instant::now());
        let deadline = began + limits.message_time.duration();
        let mut reader = StreamReader::new(limits.message_size.bytes());
        let mut spool = Spool::new(limits.memory.bytes());
        loop {
            let done = reader.decode(&mut self.asker.input, spool.buffer());
            if settle(&mut spool, self.front).is_err() {
                return Ok(self.full());
            }
            match done {
                Ok(true) => break,
                Ok(false) if self.asker.ended => return Ok(false),
                Ok(false) => self.asker.more(silence, deadline).await?,
                Err(_) => {
                    self.session.replies().stream_too_large(&mut self.output);
                    return Ok(false);
                }
            }
        }
        let Ok(content) = spool.finish() else { return Ok(self.full()) };
        let looked = self.look(content, None, began.elapsed()).await;
        self.tell(b"stream", looked, false);
        Ok(true)
    }

    fn full(&mut self) -> bool {
        self.session.replies().error(b"stream", "Insufficient system storage.", &mut self.output);
        false
    }

    /// FILDES: one octet follows, and with it the open file.
    async fn descriptor(&mut self) -> Result<bool, Gone> {
        let time = self.front.limits.data_time.duration();
        let deadline = Instant::now() + time;
        while self.asker.is_local() && self.asker.input.is_empty() && !self.asker.ended {
            self.asker.more(time, deadline).await?;
        }
        let file = self.asker.file().filter(|_| !self.asker.input.is_empty());
        let Some(file) = file else {
            self.session.replies().no_descriptor(&mut self.output);
            return Ok(false);
        };
        self.asker.input.advance(1);
        use std::os::fd::AsRawFd;
        let name = format!("fd[{}]", file.as_raw_fd());
        let looked = self.look_into(file, None).await;
        self.tell(name.as_bytes(), looked, false);
        Ok(true)
    }

    /// A path, which is a file or a folder with all that is in it.
    async fn scan(&mut self, path: &[u8], manner: Manner) -> Result<(), Gone> {
        let folders = if self.near { self.front.listener.scan_folders.clone() } else { Vec::new() };
        let asked = path.to_vec();
        let named = tokio::task::spawn_blocking(move || files::named(&folders, &asked)).await;
        let files = match named.unwrap_or(Err(Denied::Access)) {
            Ok(Named::File(file, name)) => {
                let looked = self.look_into(file, name).await;
                self.tell(path, looked, manner.all);
                return Ok(());
            }
            Ok(Named::Folder(files)) => files,
            Err(denied) => {
                self.session.replies().error(path, denied.text(), &mut self.output);
                return Ok(());
            }
        };
        if self.look_at_all(path, files, manner).await? {
            self.session.replies().ok(path, &mut self.output);
        }
        Ok(())
    }

    /// What is found in a folder, file by file; nothing is said of those that are clean. True when all is.
    async fn look_at_all(
        &mut self,
        path: &[u8],
        files: files::Listing,
        manner: Manner,
    ) -> Result<bool, Gone> {
        let front = self.front.clone();
        let (mut found, mut looked_at, cut_short) = (false, files.paths.is_empty(), files.cut_short);
        let mut looking = stream::iter(files.paths)
            .map(|(shown, path)| look_by_path(front.clone(), shown, path))
            .buffered(manner.at_once);
        while let Some((shown, looked)) = looking.next().await {
            let here = matches!(looked, Looked::Found(_));
            looked_at |= !matches!(looked, Looked::Error(_));
            found |= here;
            if !matches!(looked, Looked::Clean) {
                tell(self.session.replies(), &mut self.output, &shown, looked, manner.all);
            }
            let text = std::mem::take(&mut self.output);
            self.asker.say(&text, self.front.limits.data_time.duration()).await?;
            if here && manner.stop {
                break;
            }
        }
        if cut_short && !(found && manner.stop) {
            self.session.replies().error(path, "Too many files, or too deep.", &mut self.output);
            return Ok(false);
        }
        Ok(looked_at && !found)
    }

    async fn look_into(&self, file: OwnedFd, name: Option<String>) -> Looked {
        look_into(self.front, file, name).await
    }

    async fn look(&self, content: Bytes, name: Option<String>, receiving: Duration) -> Looked {
        look(self.front, content, name, receiving).await
    }

    fn tell(&mut self, name: &[u8], looked: Looked, all: bool) {
        tell(self.session.replies(), &mut self.output, name, looked, all);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let text = std::mem::take(&mut self.output);
        if text.is_empty() {
            return Ok(());
        }
        self.asker.say(&text, self.front.limits.data_time.duration()).await
    }
}

fn tell(
    replies: gatepost_wire::clamd_server::Replies<'_>,
    out: &mut Vec<u8>,
    name: &[u8],
    looked: Looked,
    all: bool,
) {
    match looked {
        Looked::Clean => replies.ok(name, out),
        Looked::Error(why) => replies.error(name, &why, out),
        Looked::Found(found) => {
            let most = if all { usize::MAX } else { 1 };
            found.iter().take(most).for_each(|found| replies.found(name, found, out));
        }
    }
}

/// A file in a folder that may be looked at, by a path that has no symbolic links.
async fn look_by_path(front: Arc<Front>, shown: Vec<u8>, path: PathBuf) -> (Vec<u8>, Looked) {
    let folders = front.listener.scan_folders.clone();
    let name = base_name(&path);
    let opened = tokio::task::spawn_blocking(move || files::open(&folders, &path)).await;
    let looked = match opened.unwrap_or(Err(Denied::Access)) {
        Ok(file) => look_into(&front, file, name).await,
        Err(denied) => Looked::Error(denied.text().to_owned()),
    };
    (shown, looked)
}

fn base_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// An open file, which is copied first: somebody else may change it at any time.
async fn look_into(front: &Arc<Front>, file: OwnedFd, name: Option<String>) -> Looked {
    let (began, here) = (Instant::now(), front.clone());
    let time = front.limits.data_time.duration();
    match in_time(&READING, time, move || files::read(file, &here)).await {
        Ok(Ok(Ok(content))) => look(front, content, name, began.elapsed()).await,
        Ok(Ok(Err(why))) => Looked::Error(why),
        Ok(Err(_)) => Looked::Error("Reading failed.".into()),
        Err(_) => Looked::Error("Reading takes too long.".into()),
    }
}

/// Work in a thread of its own, turn included, in this time. It cannot be stopped: beyond that time it goes on, and
/// keeps its turn, so that files that hang use up no more threads than there are turns.
async fn in_time<T: Send + 'static>(
    turns: &'static Semaphore,
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, JoinError>, Elapsed> {
    let working = async {
        let turn = turns.acquire().await;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await
    };
    tokio::time::timeout(time, working).await
}

/// What begins as a mail is judged as one, like mail from any other way in; anything else as a file.
async fn look(front: &Arc<Front>, content: Bytes, name: Option<String>, receiving: Duration) -> Looked {
    let pipeline = &front.pipeline;
    let mut session = MailSession {
        protocol: Protocol::Local,
        listener: front.listener.name.clone(),
        ..MailSession::default()
    };
    front.direct(&mut session, &[]);
    let is_mail = FileType::detect(&content) == FileType::EML;
    let content = match is_mail {
        true => {
            let (memory, stray) = (front.limits.memory.bytes(), front.limits.stray_line_endings.into());
            match mended(content, memory, &front.spool, stray).await {
                Ok(mended) => mended,
                Err(unfit) => return Looked::Error(format!("{}.", unfit.reply().text)),
            }
        }
        false => Mended::as_it_is(content),
    };
    let (envelope, answers) = (Envelope::default(), Answers::Each);
    let arrival = local::arrival(pipeline, session, envelope, content, answers, false, receiving).await;
    let judged = match is_mail {
        true => pipeline.advise(arrival).await,
        false => pipeline.advise_file(arrival, name.clone()).await,
    };
    match judged.verdicts.first() {
        Some(verdict) => opinion(front.listener.report_banned, &judged, verdict, name.as_deref()),
        None => Looked::Error("Not judged.".into()),
    }
}

/// What a client of a virus scanner wants to know: viruses, whatever else is said of the mail; what is banned, if that
/// was asked for; what could not be looked into, where the policy does not let that pass.
fn opinion(banned: bool, judged: &Judged, verdict: &Verdict, name: Option<&str>) -> Looked {
    let found = |category: Category| -> Vec<&Finding> {
        let weighed = verdict.weighed.iter().filter(|weighed| weighed.category == Some(category));
        weighed.map(|weighed| &judged.found.findings[weighed.finding]).collect()
    };
    let viruses = found(Category::Virus).into_iter().map(signature);
    let unwanted = found(Category::Banned).into_iter().filter(|_| banned);
    let unwanted = unwanted.map(|finding| format!("Gatepost.Banned.{}", banned_name(finding, name)));
    let mut names: Vec<String> = Vec::new();
    for name in viruses.chain(unwanted) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        return Looked::Found(names);
    }
    // A fault is not a finding: what could not be looked at is not clean.
    if let Some(fault) = judged.found.faults.iter().find(|fault| fault.answer != OnFault::Accept) {
        return Looked::Error(format!("Not looked at by {}: {}.", fault.check, fault.cause));
    }
    let unchecked = verdict.category == Category::Unchecked;
    match verdict.action {
        Action::Defer if unchecked => Looked::Error("Not looked into.".into()),
        action if unchecked && !action.delivers() => {
            let symbols = found(Category::Unchecked).into_iter();
            let names = symbols.map(|finding| format!("Gatepost.Unchecked.{}", word(&finding.symbol)));
            let mut names: Vec<String> = names.collect();
            names.dedup();
            if names.is_empty() { Looked::Error("Not looked into.".into()) } else { Looked::Found(names) }
        }
        _ => Looked::Clean,
    }
}

/// The engine's name for it: `Eicar-Test-Signature` of `Eicar-Test-Signature (clamd main)`. What a policy counts as a
/// virus besides goes by its symbol.
fn signature(finding: &Finding) -> String {
    if finding.symbol != "VIRUS" {
        return format!("Gatepost.{}", word(&finding.symbol));
    }
    let name = finding.evidence.rsplit_once(" (").map_or(finding.evidence.as_str(), |(name, _)| name);
    match word(name) {
        name if name.is_empty() => word(&finding.symbol),
        name => name,
    }
}

/// The last step of the path of what is banned, or the file's own name, or why it is banned.
fn banned_name(finding: &Finding, file: Option<&str>) -> String {
    let base = finding.evidence.rsplit('/').next().unwrap_or_default();
    [base, file.unwrap_or_default()]
        .into_iter()
        .map(word)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| word(finding.symbol.trim_start_matches("BANNED_")))
}

/// A name as one word, since names of signatures are: whatever stands between letters, digits, `.`, `-` and `_` is a
/// `_`.
fn word(text: &str) -> String {
    let text: String = text.chars().take(MAX_NAME).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    let words = text.split(|c: char| !plain(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_keeps_its_turn() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let short = Duration::from_millis(50);
        let (go, hang) = std::sync::mpsc::channel::<()>();
        assert!(in_time(&TURNS, short, move || hang.recv()).await.is_err());
        // No turn is free, though nobody waits for the first any more.
        let begun = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let here = begun.clone();
        let set = move || here.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(in_time(&TURNS, short, set).await.is_err());
        assert!(!begun.load(std::sync::atomic::Ordering::Relaxed));
        drop(go);
        assert!(in_time(&TURNS, Duration::from_secs(60), || 1).await.is_ok_and(|done| done.is_ok()));
    }

    #[test]
    fn names_are_one_word() {
        for (symbol, evidence, name) in [
            ("VIRUS", "Eicar-Test-Signature (clamd main)", "Eicar-Test-Signature"),
            ("VIRUS", "Win.Test.EICAR_HDB-1 (embedded hashes)", "Win.Test.EICAR_HDB-1"),
            ("VIRUS", "Rule (one) (embedded yara)", "Rule_one"),
            ("VIRUS", "bad\u{1b}[2J FOUND\n (x)", "bad_2J_FOUND"),
            ("VIRUS", "", "VIRUS"),
            ("DNSBL_X", "127.0.0.2", "Gatepost.DNSBL_X"),
        ] {
            assert_eq!(signature(&Finding::mail(symbol, evidence)), name);
        }
        for (symbol, evidence, file, name) in [
            ("BANNED_NAME", "2/a.zip/invoice.pdf.exe", None, "invoice.pdf.exe"),
            ("BANNED_NAME", "2/größe 1.exe (also named b)", None, "gr_e_1.exe_also_named_b"),
            ("BANNED_TYPE", "", Some("run.exe"), "run.exe"),
            ("BANNED_TYPE", "", None, "TYPE"),
            ("BANNED_NAME", "ü", None, "NAME"),
        ] {
            assert_eq!(banned_name(&Finding::mail(symbol, evidence), file), name);
        }
        assert_eq!(word(&"x".repeat(100)).len(), MAX_NAME);
    }
}
