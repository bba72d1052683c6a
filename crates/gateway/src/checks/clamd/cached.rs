//! What clamd is not shown again, counted by a daemon that knows the words `worm` and `junk`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::super::testing;
use super::*;
use crate::config::Config;
use crate::config::scanners::VerdictCache;
use crate::resources::verdicts::{VerdictCounters, Verdicts};

#[derive(Default)]
struct Daemon {
    scans: AtomicU32,
    reloads: AtomicU32,
    version: AtomicU32,
}

impl Daemon {
    async fn serve(self: Arc<Daemon>, mut stream: UnixStream) {
        let (mut input, mut id) = (Vec::new(), 0);
        loop {
            while let Some((taken, answer)) = self.obey(&input, &mut id) {
                input.drain(..taken);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                return;
            }
        }
    }

    /// One command at the front of what came: its length and the answer.
    fn obey(&self, input: &[u8], id: &mut u32) -> Option<(usize, String)> {
        let end = input.iter().position(|byte| *byte == 0)? + 1;
        let mut numbered = |text: String| {
            *id += 1;
            format!("{id}: {text}\0")
        };
        match &input[..end - 1] {
            b"zIDSESSION" => Some((end, String::new())),
            b"zPING" => Some((end, numbered("PONG".into()))),
            b"zVERSION" => {
                Some((end, numbered(format!("ClamAV 1.4/{}", self.version.load(Ordering::Relaxed)))))
            }
            b"zRELOAD" => {
                self.reloads.fetch_add(1, Ordering::Relaxed);
                Some((end, "RELOADING\0".into()))
            }
            _ => {
                let frame = input.get(end..end + 4)?;
                let length = u32::from_be_bytes(frame.try_into().ok()?) as usize;
                let (content, stop) = if length == 0 { (0, 4) } else { (length, 8) };
                let content = input.get(end + 4..)?.get(..content + stop - 4)?;
                self.scans.fetch_add(1, Ordering::Relaxed);
                let has = |word: &str| content.windows(word.len()).any(|found| found == word.as_bytes());
                let said = match (has("fail"), has("worm"), has("junk")) {
                    (true, _, _) => "stream: Can't allocate memory ERROR",
                    (_, true, _) => "stream: Worm.A FOUND",
                    (_, _, true) => "stream: Spam.Junk FOUND",
                    _ => "stream: OK",
                };
                Some((end + length + if length == 0 { 4 } else { 8 }, numbered(said.into())))
            }
        }
    }
}

struct Asked {
    daemon: Arc<Daemon>,
    engine: Clamd,
    counters: VerdictCounters,
    _folder: tempfile::TempDir,
}

impl Asked {
    fn new(scan: ClamdScan, cache: &VerdictCache) -> Asked {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = Arc::new(Daemon::default());
        let serving = daemon.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        let settings = Settings {
            socket: format!("unix:{}", path.display()),
            transfer: ClamdTransfer::Instream,
            scan,
            ..Settings::default()
        };
        let counters = VerdictCounters::default();
        let text = "[checks.malware_names.spam]\npattern = ['^Spam']\npoints = 4\n";
        let config: Config = toml::from_str(text).unwrap();
        let mut problems = Vec::new();
        let names = Names::build(&config.checks.malware_names, &mut problems);
        let outside = Outside { names: names.into(), verdicts: Verdicts::new(cache, counters.clone()) };
        let engine = Clamd::new("main", &settings, &outside, &mut problems);
        assert_eq!(problems, []);
        Asked { daemon, engine, counters, _folder: folder }
    }

    /// Looks at a message with this subject and these parts: what was found, and how often clamd had to look.
    async fn look(&self, subject: &str, parts: &[&str]) -> (String, u32) {
        let raw = format!("Subject: {subject}\r\n\r\n{}\r\n", parts.join("\r\n--b\r\n"));
        let mut all = vec![("multipart/mixed", "")];
        all.extend(parts.iter().map(|part| ("text/plain", *part)));
        let before = self.daemon.scans.load(Ordering::Relaxed);
        let scan = self.engine.scan(&testing::mail(&raw, &all)).await;
        let mut hits: Vec<String> = scan
            .hits
            .iter()
            .map(|hit| {
                format!("{} in {}", hit.name, hit.part.map_or("all".into(), |part| part.0.to_string()))
            })
            .collect();
        hits.sort();
        hits.extend(scan.fault.map(|fault| format!("{}", fault.cause)));
        assert_eq!(scan.seen.contains(&None), !hits.iter().any(|hit| hit == "limit"), "{hits:?}");
        (hits.join(", "), self.daemon.scans.load(Ordering::Relaxed) - before)
    }
}

fn found(names: &str, scans: u32) -> (String, u32) {
    (names.to_owned(), scans)
}

#[tokio::test]
async fn the_same_worm_is_scanned_once() {
    let asked = Asked::new(ClamdScan::Auto, &VerdictCache::default());
    // Until the version of its signatures is known nothing is remembered.
    assert_eq!(asked.look("a", &["text", "a worm"]).await, found("Worm.A in 2", 3));
    assert_eq!(asked.look("a", &["text", "a worm"]).await, found("Worm.A in 2", 3));
    asked.engine.health().await.state.unwrap();
    for (subject, parts, expected) in [
        ("a", &["text", "a worm"][..], found("Worm.A in 2", 3)),
        ("a", &["text", "a worm"], found("Worm.A in 2", 0)),
        // Whatever is around it.
        ("b", &["text", "a worm"], found("Worm.A in 2", 0)),
        ("c", &["a worm"], found("Worm.A in 1", 0)),
        // What comes with it is looked at all the same: it may be delivered without the worm.
        ("d", &["another text", "a worm"], found("Worm.A in 2", 1)),
        ("e", &["a worm", "another worm"], found("Worm.A in 1, Worm.A in 2", 1)),
        // Nothing is clean that clamd did not see as it is.
        ("f", &["text"], found("", 1)),
        ("g", &["text"], found("", 1)),
        ("g", &["text"], found("", 0)),
        ("worm", &["text"], found("Worm.A in all", 1)),
    ] {
        assert_eq!(asked.look(subject, parts).await, expected, "{subject} {parts:?}");
    }
    assert_eq!((asked.counters.hits.get(), asked.counters.misses.get()), (9, 8));
}

/// Else spam that is known would hide a worm that is not.
#[tokio::test]
async fn what_is_no_virus_does_not_spare_the_message_its_scan() {
    let asked = Asked::new(ClamdScan::Auto, &VerdictCache::default());
    asked.engine.health().await.state.unwrap();
    assert_eq!(asked.look("a", &["junk"]).await, found("Spam.Junk in 1", 2));
    assert_eq!(asked.look("b", &["junk"]).await, found("Spam.Junk in 1", 1));
    assert_eq!(asked.look("worm", &["junk"]).await, found("Spam.Junk in 1, Worm.A in all", 1));
}

#[tokio::test]
async fn a_failure_is_never_remembered() {
    let asked = Asked::new(ClamdScan::Parts, &VerdictCache::default());
    asked.engine.health().await.state.unwrap();
    for _ in 0..3 {
        assert_eq!(asked.look("a", &["fail"]).await, found("limit", 1));
    }
}

#[tokio::test]
async fn new_signatures_are_asked_about_everything() {
    let asked = Asked::new(ClamdScan::Auto, &VerdictCache::default());
    asked.engine.health().await.state.unwrap();
    let worm = &["a worm"][..];
    assert_eq!(asked.look("a", worm).await, found("Worm.A in 1", 2));
    assert_eq!(asked.look("b", worm).await, found("Worm.A in 1", 0));
    asked.daemon.version.store(2, Ordering::Relaxed);
    asked.engine.health().await.state.unwrap();
    assert_eq!(asked.look("c", worm).await, found("Worm.A in 1", 2));
    assert_eq!(asked.look("d", worm).await, found("Worm.A in 1", 0));
    // Told to reload, clamd is busy with it for a while, in which nothing is remembered.
    asked.engine.forget();
    asked.engine.renew().await;
    assert_eq!(asked.daemon.reloads.load(Ordering::Relaxed), 1);
    asked.engine.health().await.state.unwrap();
    for _ in 0..2 {
        assert_eq!(asked.look("e", worm).await, found("Worm.A in 1", 2));
    }

    let off = Asked::new(ClamdScan::Auto, &VerdictCache { enabled: false, ..VerdictCache::default() });
    off.engine.health().await.state.unwrap();
    for _ in 0..2 {
        assert_eq!(off.look("a", worm).await, found("Worm.A in 1", 2));
    }
}
