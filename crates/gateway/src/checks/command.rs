//! Scanners that are programs: each message is written to a folder, the program looks at it, and its exit code and what
//! it prints say what it found. The terms are those of amavis's `@av_scanners`, so that any of its entries can be
//! written here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Mail, Message, PartId};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regex::{Regex, RegexBuilder};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Health;
use super::malware::engine::{Common, Engine, External, Hit, Scan, externals};
use super::malware::{Names, Outside};
use super::run::seconds;
use crate::config::Problem;
use crate::config::scanners::CommandScanner;
use crate::resources::verdicts::{Digest, Epoch, Kind, Memory, Named, sha256};

/// Of what a program prints, so much is kept from each stream.
const OUTPUT: u64 = 1 << 20;

/// What is shown of it in a fault.
const SHOWN: usize = 300;

/// Names that one scan may yield.
const NAMES: usize = 100;

/// Files in a folder of signatures that are looked at.
const MOST_SIGNATURES: usize = 10_000;

/// Folders of scans start so.
const PREFIX: &str = "gatepost-scan-";

/// A folder this old is of a process that was killed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Makes an engine for each program. `data` is the data folder.
pub(super) fn build(
    programs: &BTreeMap<String, CommandScanner>,
    data: &Path,
    outside: &Outside,
    problems: &mut Vec<Problem>,
) -> Vec<External> {
    externals(programs, |name, settings| Box::new(Program::new(name, settings, data, outside, problems)))
}

/// One program as an engine.
struct Program {
    common: Common,
    command: Vec<String>,
    answers: Answers,
    signatures: Vec<PathBuf>,
    folder: PathBuf,
    turns: Semaphore,
    names: Arc<Names>,
    memory: Memory,
}

/// What a message is known by.
struct Digests {
    message: Digest,
    parts: Digest,
}

impl Digests {
    async fn of(message: &Message) -> Digests {
        let mut pieces = Vec::new();
        for (id, part) in message.parts().filter(|(_, part)| !part.container && !part.body.is_empty()) {
            pieces.extend([id.0.to_le_bytes().to_vec(), sha256(&part.digest, &part.body).await.to_vec()]);
        }
        let parts = Digest::new(Kind::Parts, pieces.iter().map(Vec::as_slice));
        let raw = sha256(&message.raw_digest, &message.raw).await;
        Digests { message: Digest::new(Kind::Message, [parts.as_bytes(), &raw]), parts }
    }
}

/// What exit codes and output mean.
struct Answers {
    clean: Vec<i32>,
    clean_output: Option<Regex>,
    infected: Vec<i32>,
    infected_output: Option<Regex>,
    name: Option<Regex>,
}

/// Why a scan failed.
struct Failure {
    cause: Cause,
    detail: String,
}

impl Failure {
    fn new(cause: Cause, detail: impl Into<String>) -> Failure {
        Failure { cause, detail: detail.into() }
    }

    fn io(what: &str, error: &io::Error) -> Failure {
        Failure::new(Cause::Unavailable, format!("{what}: {error}"))
    }
}

impl Program {
    fn new(
        name: &str,
        settings: &CommandScanner,
        data: &Path,
        outside: &Outside,
        problems: &mut Vec<Problem>,
    ) -> Program {
        let common = Common::new("command", name, settings, problems);
        check_answers(name, settings, problems);
        let mut wrong =
            |key: &str, why: String| problems.push(Problem::new(format!("checks.command.{name}.{key}"), why));
        let mut compiled = |key: &str, pattern: &Option<String>| {
            let pattern = pattern.as_deref()?;
            match RegexBuilder::new(pattern).multi_line(true).build() {
                Ok(regex) => Some(regex),
                Err(error) => {
                    wrong(key, error.to_string());
                    None
                }
            }
        };
        let answers = Answers {
            clean: settings.clean.clone(),
            clean_output: compiled("clean_output", &settings.clean_output),
            infected: settings.infected.clone(),
            infected_output: compiled("infected_output", &settings.infected_output),
            name: compiled("name", &settings.name),
        };
        let program = Program {
            common,
            command: settings.command.clone(),
            answers,
            signatures: settings.signatures.clone(),
            folder: settings.folder.clone().unwrap_or_else(|| data.join("scan")),
            turns: Semaphore::new(settings.at_once.max(1) as usize),
            names: outside.names.clone(),
            memory: outside.verdicts.engine(),
        };
        program.reload();
        program
    }

    /// What is found in a message, now or in one that was the same.
    async fn look(&self, message: &Message) -> Result<Vec<Hit>, Failure> {
        let Some(epoch) = self.memory.epoch() else { return self.scan_now(message).await };
        let digests = Digests::of(message).await;
        let known = [digests.message, digests.parts];
        let known = known.into_iter().find_map(|digest| self.memory.known(epoch, digest));
        self.memory.count(known.is_some());
        if let Some(known) = known {
            return Ok(known.iter().map(Hit::from).collect());
        }
        let hits = self.scan_now(message).await?;
        self.remember(epoch, digests, &hits);
        Ok(hits)
    }

    /// The same message is known by what was found. So is another that has the same parts, if a virus is in one of them: what
    /// its header may add makes it no cleaner.
    fn remember(&self, epoch: Epoch, digests: Digests, hits: &[Hit]) {
        let named = |hits: Vec<&Hit>| -> Vec<Named> { hits.into_iter().cloned().map(Named::from).collect() };
        self.memory.keep(epoch, digests.message, named(hits.iter().collect()));
        let placed: Vec<&Hit> = hits.iter().filter(|hit| hit.part.is_some()).collect();
        if placed.iter().any(|hit| self.names.is_virus(&hit.name)) {
            self.memory.keep(epoch, digests.parts, named(placed));
        }
    }

    async fn scan_now(&self, message: &Message) -> Result<Vec<Hit>, Failure> {
        let _turn =
            self.turns.acquire().await.map_err(|_| Failure::new(Cause::Unavailable, "shutting down"))?;
        let (parent, message) = (self.folder.clone(), message.clone());
        let writing = tokio::task::spawn_blocking(move || Folder::write(&parent, &message));
        let folder = writing.await.map_err(|error| Failure::new(Cause::Bug, error.to_string()))?;
        let folder = folder.map_err(|error| Failure::io(&self.folder.display().to_string(), &error))?;
        let outcome = self.run(&folder).await;
        // Removing is work for the disk, too.
        let removing = tokio::task::spawn_blocking(move || drop(folder));
        let (status, output) = outcome?;
        _ = removing.await;
        self.answers.hits(status, &output)
    }

    /// Runs the program to its end.
    async fn run(&self, folder: &Folder) -> Result<(ExitStatus, String), Failure> {
        let (Some(program), at) = (self.command.first(), folder.path.to_string_lossy()) else {
            return Err(Failure::new(Cause::Bug, "no command"));
        };
        let mut command = Command::new(program);
        for argument in &self.command[1..] {
            match argument.strip_suffix("{}/*") {
                Some(before) => {
                    command.args(folder.files.iter().map(|file| format!("{before}{at}/{file}")));
                }
                None => {
                    command.arg(argument.replace("{}", &at));
                }
            }
        }
        // A group of its own, so that what it starts ends with it; nothing of our environment.
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LC_ALL", "C").env("HOME", &folder.path).env("TMPDIR", &folder.path);
        command.current_dir(&folder.path).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| Failure::io(program, &error))?;
        let mut group = Group { child };
        let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
        let (out, err) = tokio::join!(kept(out), kept(err));
        let status = group.child.wait().await.map_err(|error| Failure::io(program, &error))?;
        let mut output = String::from_utf8_lossy(&out).into_owned();
        output.push_str(&String::from_utf8_lossy(&err));
        Ok((status, output))
    }
}

/// What can be wrong with the command and what its answers mean.
fn check_answers(name: &str, settings: &CommandScanner, problems: &mut Vec<Problem>) {
    let mut wrong =
        |key: &str, why: String| problems.push(Problem::new(format!("checks.command.{name}.{key}"), why));
    if settings.command.first().is_none_or(String::is_empty) {
        wrong("command", "names no program; write [\"/usr/bin/clamscan\", \"--no-summary\", \"{}\"]".into());
    } else if !settings.command.iter().skip(1).any(|argument| argument.contains("{}")) {
        wrong("command", "has no argument with `{}`, so the program is not told where the files are".into());
    }
    if settings.infected.is_empty() && settings.infected_output.is_none() {
        wrong("infected", "name the exit codes that mean infected, or give `infected_output`".into());
    }
    if settings.clean.is_empty() && settings.clean_output.is_none() {
        wrong("clean", "name the exit codes that mean clean, or give `clean_output`".into());
    }
    if let Some(both) = settings.clean.iter().find(|code| settings.infected.contains(code)) {
        wrong("clean", format!("{both} means infected already"));
    }
    if settings.at_once == 0 {
        wrong("at_once", "must be at least 1".into());
    }
}

impl Engine for Program {
    fn common(&self) -> &Common {
        &self.common
    }

    fn scan<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Scan> {
        Box::pin(async {
            let time = self.common.time;
            let outcome = timeout(time, self.look(&mail.message)).await.unwrap_or_else(|_| {
                Err(Failure::new(Cause::Timeout, format!("not done within {}", seconds(time))))
            });
            match outcome {
                Ok(hits) => Scan { hits, seen: vec![None], ..Scan::default() },
                Err(Failure { cause, detail }) => {
                    Scan { fault: Some(self.common.fault(cause, detail)), ..Scan::default() }
                }
            }
        })
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Health> {
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        let state = match is_program(program) {
            true => Ok(program.to_owned()),
            false => Err(format!("{program}: there is no such program")),
        };
        Box::pin(std::future::ready(self.common.health(state)))
    }

    /// What it said is good as long as its signatures stay the same.
    fn reload(&self) {
        self.memory.tell(&stamp(&self.signatures), None);
    }

    fn forget(&self) {
        self.memory.forget(Duration::ZERO);
    }
}

/// State of files and of those in folders, as they stand on disk: another text when one has changed.
fn stamp(paths: &[PathBuf]) -> String {
    let mut stamp = String::new();
    let mut add = |path: &Path| {
        let state = fs::metadata(path).map(|data| (data.ino(), data.len(), data.ctime(), data.ctime_nsec()));
        stamp.push_str(&format!("{}: {:?}\n", path.display(), state.ok()));
    };
    for path in paths {
        add(path);
        let mut files: Vec<PathBuf> = match fs::read_dir(path) {
            Ok(entries) => entries.flatten().take(MOST_SIGNATURES).map(|entry| entry.path()).collect(),
            Err(_) => continue,
        };
        files.sort();
        files.iter().for_each(|file| add(file));
    }
    stamp
}

impl Answers {
    /// What was found; nothing means clean. What means neither is a failure of the scanner.
    fn hits(&self, status: ExitStatus, output: &str) -> Result<Vec<Hit>, Failure> {
        let is = |codes: &[i32], pattern: &Option<Regex>| {
            let coded = status.code().is_some_and(|code| codes.contains(&code));
            coded || status.code().is_some() && pattern.as_ref().is_some_and(|regex| regex.is_match(output))
        };
        if is(&self.infected, &self.infected_output) {
            let mut hits = self.names(output);
            if hits.is_empty() {
                hits.push(Hit { part: None, name: "unnamed".into(), by: "" });
            }
            return Ok(hits);
        }
        if is(&self.clean, &self.clean_output) {
            return Ok(Vec::new());
        }
        let shown: String = output.trim().chars().take(SHOWN).collect();
        Err(Failure::new(Cause::Unavailable, format!("{status}: {shown}")))
    }

    /// Each name once for each part.
    fn names(&self, output: &str) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        let Some(regex) = &self.name else { return hits };
        for found in regex.captures_iter(output) {
            let (Some(whole), Some(name)) = (found.get(0), found.get(1).or(found.get(0))) else { continue };
            let name = name.as_str().trim();
            let start = output[..whole.start()].rfind('\n').map_or(0, |end| end + 1);
            let end = output[whole.end()..].find('\n').map_or(output.len(), |end| whole.end() + end);
            let hit = Hit { part: part_of(&output[start..end]), name: name.to_owned(), by: "" };
            if !name.is_empty() && hits.len() < NAMES && !hits.contains(&hit) {
                hits.push(hit);
            }
        }
        // What is in a part is in the message as well.
        let placed: Vec<String> =
            hits.iter().filter(|hit| hit.part.is_some()).map(|hit| hit.name.clone()).collect();
        hits.retain(|hit| hit.part.is_some() || !placed.contains(&hit.name));
        hits
    }
}

/// The part that a line speaks of: `/tmp/x/p003: …`
fn part_of(line: &str) -> Option<PartId> {
    let at = line.find("/p")? + 2;
    let digits: String = line[at..].chars().take_while(char::is_ascii_digit).collect();
    (digits.len() >= 3).then(|| digits.parse().ok().map(PartId))?
}

/// A message on disk: `message` and its parts, `p001` and so on by their places. Removed when it is dropped.
struct Folder {
    path: PathBuf,
    files: Vec<String>,
}

impl Folder {
    fn write(parent: &Path, message: &Message) -> io::Result<Folder> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(parent)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_stale(parent);
        }
        let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let mut folder = Folder { path, files: vec!["message".into()] };
        fs::write(folder.path.join("message"), &message.raw)?;
        for (id, part) in message.parts().filter(|(_, part)| !part.container && !part.body.is_empty()) {
            let name = format!("p{:03}", id.0);
            fs::write(folder.path.join(&name), &part.body)?;
            folder.files.push(name);
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }
}

/// Removes what processes left that were killed.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > STALE));
        if old && entry.file_name().to_string_lossy().starts_with(PREFIX) {
            _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A program and all that it starts; killed when it is dropped before its end.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // None once it was waited for; what it may have left behind then goes by its own.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The beginning of a stream, which is read to its end.
async fn kept(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    if (&mut stream).take(OUTPUT).read_to_end(&mut kept).await.is_ok() {
        _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    kept
}

fn is_program(name: &str) -> bool {
    let runs = |path: &Path| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    match name.contains('/') {
        true => runs(Path::new(name)),
        false => ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
            .iter()
            .any(|folder| runs(&Path::new(folder).join(name))),
    }
}

#[cfg(test)]
mod tests;
