//! The built-in malware scanner: YARA rules and hash lists over the message and every part in it.
//!
//! It is no check by itself: the check for malware asks it beside the other engines.

pub mod hashes;
mod trial;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use boreal::scanner::{EvaluatedRule, ScanError, ScanParams};
use boreal::{Compiler, MetadataValue};
use bytes::Bytes;
use gatepost_mail::{Cause, Digested, Fault, Message, OnFault, Origin, Part, PartId};

use super::malware::engine::Hit;
use crate::config::Problem;
use crate::config::typed::Embedded;
use crate::config::update::{Installed, SourceKind};
use crate::resources::verdicts::{Digest, Epoch, Memory, Named};
use hashes::Hashes;
pub use trial::try_out;

/// Rules that are always there.
const BUILT_IN: &str = include_str!("embedded/eicar.yar");

/// What was found is remembered of content from this size on; a smaller one is scanned sooner than it is digested.
const WORTH_REMEMBERING: usize = 16 << 10;

/// The scanner. Its rules and lists are replaced as a whole when files change; a scan that runs keeps its own.
#[derive(Debug)]
pub struct Scanner {
    files: Files,
    time: Duration,
    on_fault: OnFault,
    loaded: ArcSwap<Loaded>,
    /// The files as they were when they were last read, well or not.
    stamp: Mutex<Stamp>,
    /// What was found before.
    memory: Option<Memory>,
}

/// What a scan yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// What was found, each name once for each part.
    pub hits: Vec<Hit>,
    /// Why not all was looked at, if so. Hits stand all the same.
    pub fault: Option<Fault>,
}

/// The files of a scanner as they stand on disk. Two that differ mean that something changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<State>)>);

/// What of a file changes when it is written or replaced: inode, size, change time.
type State = (u64, u64, i64, i64);

impl Scanner {
    /// Reads and compiles everything, with what updates have installed. Each mistake is told with key, file and line.
    pub fn build(typed: &Embedded, installed: Vec<Installed>) -> Result<Scanner, Vec<Problem>> {
        let files = Files { rules: typed.rules.clone(), hashes: typed.hashes.clone(), installed };
        let stamp = files.stamp();
        let loaded = files.load()?;
        Ok(Scanner {
            files,
            time: typed.time.duration(),
            on_fault: typed.on_fault,
            loaded: ArcSwap::from_pointee(loaded),
            stamp: Mutex::new(stamp),
            memory: None,
        })
    }

    /// The same with a memory of what it found.
    #[must_use]
    pub fn remembering(self, memory: Memory) -> Scanner {
        memory.tell("", None);
        Scanner { memory: Some(memory), ..self }
    }

    /// Forgets what it found before.
    pub fn forget(&self) {
        if let Some(memory) = &self.memory {
            memory.forget(Duration::ZERO);
        }
    }

    /// Looks at the message as it came and at each part, within the configured time. It computes and does not wait:
    /// run it where that is allowed when the message is large.
    pub fn scan(&self, message: &Message) -> Scan {
        // The epoch first: what new rules find may be kept under the old one, but not the other way round.
        let memory = self.memory.as_ref().and_then(|memory| Some((memory, memory.epoch()?)));
        let loaded = self.loaded.load_full();
        let mut scan = Scan::default();
        let deadline = Instant::now() + self.time;
        let mut run = Run { loaded: &loaded, yara: loaded.yara.clone(), deadline, memory };
        let mut seen = HashSet::new();
        let whole = |part: &Part| !part.container || part.origin == Origin::Archive;
        let parts = message.parts().filter(|(_, part)| whole(part) && !part.body.is_empty());
        let bodies = parts.map(|(id, part)| (Some(id), &part.body, &part.digest));
        for (part, body, digested) in bodies.chain([(None, &message.raw, &message.raw_digest)]) {
            if !seen.insert((body.as_ptr(), body.len())) {
                continue;
            }
            if let Err(detail) = run.look(part, body, digested, &mut scan.hits) {
                let check = "embedded".to_owned();
                scan.fault = Some(Fault { check, cause: Cause::Timeout, detail, answer: self.on_fault });
                break;
            }
        }
        scan
    }

    /// How many rules and hashes it has, for people.
    pub fn summary(&self) -> String {
        let loaded = self.loaded.load();
        format!("{} YARA rules, {} hashes", loaded.rules, loaded.hashes.len())
    }

    /// The files as they are now.
    pub fn stamp(&self) -> Stamp {
        self.files.stamp()
    }

    /// Reads everything again if any file has changed since it was last read. None: nothing has. A mistake in the new
    /// files leaves the old rules in place and is told once.
    pub fn reload_if_changed(&self) -> Option<Result<(), Vec<Problem>>> {
        // Taken before reading: what is written meanwhile shows as a change next time.
        let now = self.stamp();
        {
            let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == now {
                return None;
            }
            *last = now;
        }
        Some(self.files.load().map(|loaded| {
            self.loaded.store(Arc::new(loaded));
            self.forget();
        }))
    }
}

/// One message being scanned.
struct Run<'a> {
    loaded: &'a Loaded,
    yara: boreal::Scanner,
    deadline: Instant,
    memory: Option<(&'a Memory, Epoch)>,
}

impl Run<'_> {
    /// Looks at one body, unless it is remembered. An error says why it was not looked at to its end.
    fn look(
        &mut self,
        part: Option<PartId>,
        body: &Bytes,
        digested: &Digested,
        hits: &mut Vec<Hit>,
    ) -> Result<(), String> {
        let mut tell =
            |found: &[Named]| found.iter().for_each(|named| note(hits, Hit { part, ..named.into() }));
        let Some((memory, epoch)) = self.memory.filter(|_| body.len() >= WORTH_REMEMBERING) else {
            let mut found = Vec::new();
            let scanned = self.scan(body, digested, &mut found);
            tell(&found);
            return scanned;
        };
        let digest = Digest::content(digested.of(body));
        let known = memory.known(epoch, digest);
        memory.count(known.is_some());
        if let Some(known) = known {
            tell(&known);
            return Ok(());
        }
        let mut found = Vec::new();
        let scanned = self.scan(body, digested, &mut found);
        tell(&found);
        if scanned.is_ok() {
            memory.keep(epoch, digest, found);
        }
        scanned
    }

    fn scan(&mut self, body: &Bytes, digested: &Digested, found: &mut Vec<Named>) -> Result<(), String> {
        let late = || "the time for one message (checks.embedded.time) is up".to_owned();
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        found.extend(
            self.loaded.hashes.look_up(body, || digested.of(body)).map(|name| Named::new(name, "hash")),
        );
        self.yara.set_scan_params(scan_params(left));
        let (result, error) = match self.yara.scan_mem(body) {
            Ok(result) => (result, None),
            Err((error, result)) => (result, Some(error)),
        };
        found.extend(result.rules.iter().map(|rule| Named::new(shown_name(&self.yara, rule), "yara")));
        match error {
            None => Ok(()),
            Some(ScanError::Timeout) => Err(late()),
            Some(error) => Err(error.to_string()),
        }
    }
}

/// Notes a hit. The message as a whole tells only what no part told.
fn note(hits: &mut Vec<Hit>, hit: Hit) {
    let same = |other: &Hit| other.name == hit.name && (hit.part.is_none() || other.part == hit.part);
    if !hits.iter().any(same) {
        hits.push(hit);
    }
}

/// Only whether a rule matches is asked, not where.
fn scan_params(time: Duration) -> ScanParams {
    ScanParams::default()
        .compute_full_matches(false)
        .match_max_length(0)
        .string_max_nb_matches(1000)
        .timeout_duration(Some(time))
}

/// The rule's `name` in its metadata, or `YARA.` and its identifier.
fn shown_name(yara: &boreal::Scanner, rule: &EvaluatedRule) -> String {
    let named = rule.metadatas.iter().find_map(|meta| match meta.value {
        MetadataValue::Bytes(text) if yara.get_string_symbol(meta.name) == "name" => {
            Some(String::from_utf8_lossy(yara.get_bytes_symbol(text)).into_owned())
        }
        _ => None,
    });
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("YARA.{}", rule.name))
}

/// Rules and lists, ready for use.
#[derive(Debug)]
struct Loaded {
    yara: boreal::Scanner,
    rules: usize,
    hashes: Hashes,
}

/// Where rules and lists come from.
#[derive(Debug)]
struct Files {
    rules: Option<PathBuf>,
    hashes: Vec<PathBuf>,
    /// Of `[update.source.NAME]`; those that have not been fetched yet are absent.
    installed: Vec<Installed>,
}

impl Files {
    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        let mut problems = Vec::new();
        let yara = self.load_rules(&mut problems);
        let hashes = self.load_hashes(&mut problems);
        if problems.is_empty() {
            Ok(Loaded { rules: yara.rules().count(), yara, hashes })
        } else {
            Err(problems)
        }
    }

    /// Every file is a namespace of its own, so that two may have rules of one name.
    fn load_rules(&self, problems: &mut Vec<Problem>) -> boreal::Scanner {
        const KEY: &str = "checks.embedded.rules";
        let mut compiler = Compiler::new();
        if let Err(error) = compiler.add_rules_str_in_namespace(BUILT_IN, "built-in") {
            problems.push(Problem::new(KEY, format!("the built-in rules: {error}")));
        }
        let listed = self.rules.as_deref().map_or(Ok(Vec::new()), |folder| listed(folder, &["yar", "yara"]));
        let files = listed.unwrap_or_else(|message| {
            problems.push(Problem::new(KEY, message));
            Vec::new()
        });
        let files = files.into_iter().map(|file| (KEY.to_owned(), file));
        for (key, file) in files.chain(self.fetched(SourceKind::Yara)) {
            if let Err(error) = compiler.add_rules_file_in_namespace(&file, file.to_string_lossy()) {
                problems.push(Problem::new(key, told(&file, &error.to_string())));
            }
        }
        compiler.finalize()
    }

    fn load_hashes(&self, problems: &mut Vec<Problem>) -> Hashes {
        let mut hashes = Hashes::default();
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for (place, path) in self.hashes.iter().enumerate() {
            let key = format!("checks.embedded.hashes[{place}]");
            match hash_files(path) {
                Ok(listed) => files.extend(listed.into_iter().map(|file| (key.clone(), file))),
                Err(message) => problems.push(Problem::new(key, message)),
            }
        }
        files.extend(self.fetched(SourceKind::Hashes));
        for (key, file) in files {
            let added = match fs::read(&file) {
                Ok(text) => hashes.add(&file, &text),
                Err(error) => Err(vec![format!("{}: {error}", file.display())]),
            };
            for mistake in added.err().into_iter().flatten() {
                problems.push(Problem::new(&key, mistake));
            }
        }
        hashes
    }

    /// What updates have installed, with the keys that it comes from.
    fn fetched(&self, kind: SourceKind) -> impl Iterator<Item = (String, PathBuf)> {
        let there = self.installed.iter().filter(move |one| one.kind == kind && one.path.exists());
        there.map(|one| (one.key.clone(), one.path.clone()))
    }

    /// State of every file that would be read now, and of the folders they are in.
    fn stamp(&self) -> Stamp {
        let mut paths = Vec::new();
        if let Some(folder) = &self.rules {
            paths.push(folder.clone());
            paths.extend(listed(folder, &["yar", "yara"]).unwrap_or_default());
        }
        for path in &self.hashes {
            paths.push(path.clone());
            paths.extend(hash_files(path).unwrap_or_default());
        }
        paths.extend(self.installed.iter().map(|one| one.path.clone()));
        let state = |path: &Path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
        };
        Stamp(paths.into_iter().map(|path| (path.clone(), state(&path))).collect())
    }
}

/// A list itself, or those in a folder.
fn hash_files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.is_dir() { listed(path, &["hdb", "hsb"]) } else { Ok(vec![path.to_owned()]) }
}

/// The files of these extensions in a folder, by name.
fn listed(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    let read = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for entry in read {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        let wanted = |extension: &str| extensions.iter().any(|known| known.eq_ignore_ascii_case(extension));
        if path.extension().and_then(|extension| extension.to_str()).is_some_and(wanted) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The compiler's many lines as one, with the file in front.
fn told(file: &Path, error: &str) -> String {
    let lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.collect();
    format!("{}: {}", file.display(), lines.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_mail::Limits;

    /// In two halves, so that this file is not taken for the test file itself.
    fn eicar() -> String {
        ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD", "-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
    }

    fn message(raw: impl Into<Vec<u8>>) -> Message {
        gatepost_unpack::read(raw.into().into(), &Limits::default())
    }

    fn built_in() -> Scanner {
        Scanner::build(&Embedded::default(), Vec::new()).unwrap()
    }

    fn names(scan: &Scan) -> Vec<&str> {
        scan.hits.iter().map(|hit| hit.name.as_str()).collect()
    }

    /// Bytes, size and name for a hash list.
    fn md5_line(content: &[u8], name: &str) -> String {
        use md5::Digest;
        let digest: Vec<String> =
            md5::Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{}:{name}\n", digest.concat(), content.len())
    }

    #[test]
    fn eicar_wherever_it_stands_alone() {
        let eicar = eicar();
        assert_eq!(eicar.len(), 68);
        let head = "Subject: test\r\nFrom: a@example.org\r\nTo: b@example.org\r\n";
        let base64 =
            "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=";
        let attached = "Content-Type: application/octet-stream; name=eicar.com\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        let table = [
            ("body", format!("{head}\r\n{eicar}\r\n"), true),
            ("no empty line after the header", format!("{head}{eicar}\r\n"), true),
            ("nothing else", eicar.clone(), true),
            ("bare LF", format!("{}\n{eicar}\n", head.replace('\r', "")), true),
            ("spaces around", format!("{head}\r\n  {eicar} \t\r\n"), true),
            ("first of several lines", format!("{head}\r\n{eicar}\r\nhello\r\n"), true),
            ("behind other lines", format!("{head}\r\nhello\r\n\r\n{eicar}\r\n"), true),
            ("base64", format!("{head}{attached}{base64}\r\n"), true),
            ("quoted in a sentence", format!("{head}\r\nThe line {eicar} is harmless.\r\n"), false),
            ("one character short", format!("{head}\r\n{}\r\n", &eicar[1..]), false),
            ("clean", format!("{head}\r\nhello\r\n"), false),
        ];
        let scanner = built_in();
        for (what, raw, found) in table {
            let scan = scanner.scan(&message(raw));
            let want: &[&str] = if found { &["Eicar-Test-Signature"] } else { &[] };
            assert_eq!(names(&scan), want, "{what}");
            assert_eq!(scan.fault, None);
        }
    }

    #[test]
    fn a_hit_names_the_part() {
        let raw = format!(
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\r\n{}\r\n--b--\r\n",
            eicar()
        );
        let message = message(raw);
        let scan = built_in().scan(&message);
        assert_eq!(scan.hits.len(), 1);
        assert_eq!(scan.hits[0].by, "yara");
        assert_eq!(message.path(scan.hits[0].part.unwrap()), "2");
    }

    #[test]
    fn rules_and_lists_from_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yar"), "rule Marker { strings: $a = \"needle\" condition: $a }")
            .unwrap();
        fs::write(
            folder.path().join("b.yara"),
            "rule Marker { meta: name = \"Test.Named\" strings: $a = \"needle\" condition: $a }",
        )
        .unwrap();
        fs::write(folder.path().join("notes.txt"), "not read").unwrap();
        fs::write(folder.path().join("l.hdb"), md5_line(b"hello\r\n", "Test.Hash")).unwrap();
        let typed = Embedded {
            rules: Some(folder.path().into()),
            hashes: vec![folder.path().into()],
            ..Embedded::default()
        };
        let scanner = Scanner::build(&typed, Vec::new()).unwrap();
        assert_eq!(scanner.summary(), "3 YARA rules, 1 hashes");
        let found = |raw: &str| {
            let scan = scanner.scan(&message(raw));
            let mut found: Vec<_> = scan.hits.into_iter().map(|hit| (hit.name, hit.by)).collect();
            found.sort();
            found
        };
        assert_eq!(
            found("Subject: x\r\n\r\na needle\r\n"),
            [("Test.Named".into(), "yara"), ("YARA.Marker".into(), "yara")]
        );
        assert_eq!(found("Subject: x\r\n\r\nhello\r\n"), [("Test.Hash".into(), "hash")]);
        assert_eq!(found("Subject: x\r\n\r\nother\r\n"), []);
    }

    #[test]
    fn mistakes_name_key_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("bad.hdb");
        fs::write(&list, "# fine\nnonsense\n").unwrap();
        fs::write(folder.path().join("bad.yar"), "rule a {\n condition: nothing_such\n}").unwrap();
        let typed = Embedded {
            rules: Some(folder.path().into()),
            hashes: vec![folder.path().join("absent.hdb"), list],
            ..Embedded::default()
        };
        let problems = Scanner::build(&typed, Vec::new()).unwrap_err();
        let told: Vec<_> =
            problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(
            told[0].starts_with("checks.embedded.rules: ") && told[0].contains("bad.yar:2"),
            "{}",
            told[0]
        );
        assert!(
            told[1].starts_with("checks.embedded.hashes[0]: ") && told[1].contains("absent.hdb"),
            "{}",
            told[1]
        );
        assert!(
            told[2].starts_with("checks.embedded.hashes[1]: ") && told[2].contains("bad.hdb:2"),
            "{}",
            told[2]
        );
        let typed = Embedded { rules: Some(folder.path().join("absent")), ..Embedded::default() };
        assert_eq!(Scanner::build(&typed, Vec::new()).unwrap_err()[0].key, "checks.embedded.rules");
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("a.yar");
        let rule = |word: &str| format!("rule R {{ strings: $a = \"{word}\" condition: $a }}");
        fs::write(&rules, rule("needle")).unwrap();
        let typed = Embedded { rules: Some(folder.path().into()), ..Embedded::default() };
        let scanner = Scanner::build(&typed, Vec::new()).unwrap();
        let finds =
            |word: &str| !scanner.scan(&message(format!("Subject: x\r\n\r\n{word}\r\n"))).hits.is_empty();
        assert_eq!(scanner.reload_if_changed(), None);
        assert!(finds("needle") && !finds("haystack"));
        fs::write(&rules, "rule R { broken").unwrap();
        assert!(matches!(scanner.reload_if_changed(), Some(Err(problems)) if problems.len() == 1));
        assert!(finds("needle"), "the old rules stay");
        assert_eq!(scanner.reload_if_changed(), None, "a mistake is told once");
        fs::write(&rules, rule("haystack")).unwrap();
        assert_eq!(scanner.reload_if_changed(), Some(Ok(())));
        assert!(finds("haystack") && !finds("needle"));
        fs::write(folder.path().join("b.yar"), "rule S { strings: $a = \"needle\" condition: $a }").unwrap();
        assert_eq!(scanner.reload_if_changed(), Some(Ok(())));
        assert!(finds("haystack") && finds("needle"), "a new file is a change");
        fs::remove_file(&rules).unwrap();
        assert_eq!(scanner.reload_if_changed(), Some(Ok(())));
        assert!(!finds("haystack"));
    }

    /// Only new rules look at a large content again.
    #[test]
    fn what_was_found_is_remembered_until_rules_change() {
        use crate::resources::verdicts::{VerdictCounters, Verdicts};
        let folder = tempfile::tempdir().unwrap();
        let rule = |name: &str, word: &str| {
            let text = format!("rule {name} {{ strings: $a = \"{word}\" condition: $a }}");
            fs::write(folder.path().join(format!("{name}.yar")), text).unwrap();
        };
        rule("One", "needle");
        let counters = VerdictCounters::default();
        let memory = Verdicts::new(&Default::default(), counters.clone()).engine();
        let typed = Embedded { rules: Some(folder.path().into()), ..Embedded::default() };
        let scanner = Scanner::build(&typed, Vec::new()).unwrap().remembering(memory);
        let look = |subject: &str, body: &str| {
            let scan = scanner.scan(&message(format!("Subject: {subject}\r\n\r\n{body}\r\n")));
            (
                scan.hits.iter().map(|hit| (hit.part, hit.name.clone())).collect::<Vec<_>>(),
                counters.hits.get(),
            )
        };
        let large = format!("needle haystack {}", "x".repeat(WORTH_REMEMBERING));
        let found = |names: &[&str]| -> Vec<(Option<PartId>, String)> {
            names.iter().map(|name| (Some(PartId(0)), format!("YARA.{name}"))).collect()
        };
        assert_eq!(look("a", &large), (found(&["One"]), 0));
        assert_eq!(look("b", &large), (found(&["One"]), 1), "the same part in another message");
        assert_eq!(look("b", &large), (found(&["One"]), 3), "and the same message");
        assert_eq!(look("b", "a needle"), (found(&["One"]), 3), "what is small is not worth it");
        rule("Two", "haystack");
        assert_eq!(scanner.reload_if_changed(), Some(Ok(())));
        assert_eq!(look("b", &large), (found(&["One", "Two"]), 3));
        scanner.forget();
        assert_eq!(look("b", &large), (found(&["One", "Two"]), 3));
    }

    #[test]
    fn when_the_time_is_up_it_is_a_fault() {
        let typed = Embedded { time: crate::config::units::Seconds::new(0), ..Embedded::default() };
        let scan = Scanner::build(&typed, Vec::new()).unwrap().scan(&message("Subject: x\r\n\r\nhello\r\n"));
        let fault = scan.fault.unwrap();
        assert_eq!((fault.cause, fault.answer), (Cause::Timeout, OnFault::Defer));
    }

    /// Debian's clamav-testfiles: a list with one hash finds the known file in every container that is unpacked here.
    #[test]
    fn clamav_test_files_by_one_hash() {
        let folder = Path::new("/usr/share/clamav-testfiles");
        let Ok(known) = fs::read(folder.join("clam.exe")) else {
            println!("skipped: clamav-testfiles is not installed");
            return;
        };
        let lists = tempfile::tempdir().unwrap();
        let list = lists.path().join("clam.hdb");
        fs::write(&list, md5_line(&known, "ClamAV-Test-File")).unwrap();
        let scanner =
            Scanner::build(&Embedded { hashes: vec![list], ..Embedded::default() }, Vec::new()).unwrap();
        let names_of_files = [
            "clam.exe",
            "clam.zip",
            "clam.tar.gz",
            "clam_cache_emax.tgz",
            "clam.mail",
            "clam.exe.mbox.base64",
            "clam.exe.mbox.uu",
        ];
        for name in names_of_files {
            let head = "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: binary\r\n\r\n";
            let raw = [head.as_bytes(), &fs::read(folder.join(name)).unwrap()].concat();
            let scan = scanner.scan(&message(raw));
            let mut found = names(&scan);
            // A mail in a mail is found by more than one reading.
            found.dedup();
            assert_eq!(found, ["ClamAV-Test-File"], "{name}");
        }
    }

    /// What a scan of an ordinary mail costs: run with `--release -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_an_ordinary_mail() {
        let line = "The quick brown fox jumps over the lazy dog, and so it goes on and on.\r\n";
        let body = line.repeat(5000 / line.len());
        let raw = format!(
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n{}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>{}\r\n--b--\r\n",
            &body[..2000],
            &body[..2800]
        );
        let scanner = built_in();
        let rounds: u32 = 20_000;
        let start = Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(message(raw.clone()));
        }
        println!("reading and unpacking: {:?}", start.elapsed() / rounds);
        let message = message(raw);
        let start = Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(scanner.scan(&message));
        }
        println!("scan: {:?}", start.elapsed() / rounds);
    }
}
