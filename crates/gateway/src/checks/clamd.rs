//! ClamAV daemons as engines: what of a message each is given, and what its answers mean. How it is given is in
//! [`client`].

mod client;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use gatepost_mail::{Cause, DefectKind, Digested, Mail, Message, Part, PartId, begins_with_field};
use tokio::time::timeout;

use super::Health;
use super::malware::engine::{Common, Engine, External, Hit, Scan, externals};
use super::malware::{Names, Outside};
use super::run::seconds;
use crate::config::Problem;
use crate::config::typed::{Clamd as Settings, ClamdScan, ClamdTransfer};
use crate::resources::verdicts::{Digest, Epoch, Kind, Memory, Named, sha256};
use client::{Client, Failure, Looked, MOST_CONNECTIONS, Place};

/// Longest that asking after its health may take.
const HEALTH_TIME: Duration = Duration::from_secs(5);

/// The version of its signatures is good for so long; it is asked every ten seconds.
const VERSION_TIME: Duration = Duration::from_secs(60);

/// After RELOAD clamd goes on with the old signatures until it has read the new ones, and nobody can see when that is.
const RELOAD_TIME: Duration = Duration::from_secs(120);

/// Parts of one message scanned at once.
const PARTS_AT_ONCE: usize = 4;

/// Put before a message so that ClamAV sees it as one. It knows mail by the name of the first field, and takes a
/// message that begins with a field it doesn't know for plain text, attachments and all.
const MAIL_PREFIX: &[u8] = b"Received: from client by gatepost\r\n";

/// Makes an engine for each daemon.
pub(super) fn build(
    daemons: &BTreeMap<String, Settings>,
    outside: &Outside,
    problems: &mut Vec<Problem>,
) -> Vec<External> {
    externals(daemons, |name, settings| Box::new(Clamd::new(name, settings, outside, problems)))
}

/// One daemon as an engine.
struct Clamd {
    common: Common,
    client: Client,
    scan: ClamdScan,
    max_size: usize,
    names: Arc<Names>,
    memory: Memory,
}

impl Clamd {
    fn new(name: &str, settings: &Settings, outside: &Outside, problems: &mut Vec<Problem>) -> Clamd {
        let common = Common::new("clamd", name, settings, problems);
        let mut wrong = |key: &str, message: String| {
            problems.push(Problem::new(format!("checks.clamd.{name}.{key}"), message));
        };
        let place = Place::parse(&settings.socket).unwrap_or_else(|why| {
            wrong("socket", why);
            Place::Tcp(String::new())
        });
        let local = matches!(place, Place::Unix(_));
        if settings.transfer == ClamdTransfer::Fildes && !local {
            wrong("transfer", "`fildes` needs a unix socket; use `auto` or `instream`".into());
        }
        if !(1..=MOST_CONNECTIONS).contains(&settings.connections) {
            wrong("connections", format!("must be from 1 to {MOST_CONNECTIONS}"));
        }
        let max_size = usize::try_from(settings.max_size.bytes()).unwrap_or(usize::MAX);
        if !(1..=u32::MAX as usize / 2).contains(&max_size) {
            wrong("max_size", "must be from 1 byte to 2047 MiB".into());
        }
        let by_file = local && settings.transfer != ClamdTransfer::Instream;
        Clamd {
            common,
            client: Client::new(place, by_file, settings.connections),
            scan: settings.scan,
            max_size,
            names: outside.names.clone(),
            memory: outside.verdicts.engine(),
        }
    }

    /// Scans what is to be scanned; what is found before a failure stays found.
    async fn look(&self, message: &Message, scan: &mut Scan) -> Result<(), Failure> {
        let epoch = self.memory.epoch();
        if self.has_known_virus(epoch, message).await {
            // It cannot pass for clean any more, so it need not be looked at as a whole. Every other part still is, since
            // it may be delivered without the one that is known.
            self.look_at_parts(epoch, message, scan).await?;
            if scan.skipped.is_empty() {
                scan.seen.push(None);
            }
            return Ok(());
        }
        let prefix = if begins_with_field(&message.raw) { MAIL_PREFIX } else { b"" };
        match self.ask(epoch, prefix, &message.raw_digest, &message.raw).await? {
            Looked::TooLarge => scan.skipped.push((None, message.raw.len())),
            Looked::Clean => scan.seen.push(None),
            Looked::Found(name) => {
                scan.hits.push(Hit { part: None, name, by: "" });
                scan.seen.push(None);
            }
        }
        let parts = match self.scan {
            ClamdScan::Message => false,
            ClamdScan::Parts => true,
            // To say where it is, for what was found; else for what clamd may not have found.
            ClamdScan::Auto => !scan.hits.is_empty() || !scan.skipped.is_empty() || is_ambiguous(message),
        };
        if parts { self.look_at_parts(epoch, message, scan).await } else { Ok(()) }
    }

    /// Whether a part is known to be a virus. What only counts as spam, or could not be looked into, is none.
    async fn has_known_virus(&self, epoch: Option<Epoch>, message: &Message) -> bool {
        let Some(epoch) = epoch.filter(|epoch| self.memory.has_found(*epoch)) else { return false };
        if self.scan == ClamdScan::Message {
            return false;
        }
        for (_, part) in scanned(message) {
            let known = self.memory.known(epoch, digest(b"", &part.digest, &part.body).await);
            if known.is_some_and(|known| known.iter().any(|named| self.names.is_virus(&named.name))) {
                return true;
            }
        }
        false
    }

    async fn look_at_parts(
        &self,
        epoch: Option<Epoch>,
        message: &Message,
        scan: &mut Scan,
    ) -> Result<(), Failure> {
        let mut scans = Vec::new();
        for (id, part) in scanned(message) {
            scans.push(self.look_at_part(epoch, id, part));
        }
        let mut results = stream::iter(scans).buffered(PARTS_AT_ONCE);
        while let Some(result) = results.next().await {
            let (id, looked) = result?;
            match looked {
                Looked::TooLarge => {
                    scan.skipped.push((Some(id), message.part(id).body.len()));
                    continue;
                }
                Looked::Clean => {}
                Looked::Found(name) => {
                    // The part says where it is, so the message as a whole need not be named too.
                    scan.hits.retain(|hit| hit.part.is_some() || hit.name != name);
                    scan.hits.push(Hit { part: Some(id), name, by: "" });
                }
            }
            scan.seen.push(Some(id));
        }
        Ok(())
    }

    async fn look_at_part(
        &self,
        epoch: Option<Epoch>,
        id: PartId,
        part: &Part,
    ) -> Result<(PartId, Looked), Failure> {
        Ok((id, self.ask(epoch, b"", &part.digest, &part.body).await?))
    }

    /// Nothing is sent that is too large by the configuration, or that clamd has seen before.
    async fn ask(
        &self,
        epoch: Option<Epoch>,
        prefix: &'static [u8],
        digested: &Digested,
        bytes: &Bytes,
    ) -> Result<Looked, Failure> {
        if prefix.len() + bytes.len() > self.max_size {
            return Ok(Looked::TooLarge);
        }
        let Some(epoch) = epoch else { return self.client.scan(prefix, bytes).await };
        let digest = digest(prefix, digested, bytes).await;
        let known = self.memory.known(epoch, digest);
        self.memory.count(known.is_some());
        if let Some(known) = known {
            return Ok(known.first().map_or(Looked::Clean, |named| Looked::Found(named.name.clone())));
        }
        let looked = self.client.scan(prefix, bytes).await?;
        match &looked {
            Looked::Clean => self.memory.keep(epoch, digest, Vec::new()),
            Looked::Found(name) => self.memory.keep(epoch, digest, vec![Named::new(name, "")]),
            Looked::TooLarge => {}
        }
        Ok(looked)
    }
}

/// The parts that are looked at by themselves.
fn scanned(message: &Message) -> impl Iterator<Item = (PartId, &Part)> {
    message.parts().filter(|(_, part)| !part.container && !part.body.is_empty())
}

async fn digest(prefix: &[u8], digested: &Digested, bytes: &Bytes) -> Digest {
    Digest::new(Kind::Content, [prefix, &sha256(digested, bytes).await])
}

impl Engine for Clamd {
    fn common(&self) -> &Common {
        &self.common
    }

    fn scan<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Scan> {
        Box::pin(async {
            let (mut scan, time) = (Scan::default(), self.common.time);
            let outcome = timeout(time, self.look(&mail.message, &mut scan)).await;
            let outcome = outcome.unwrap_or_else(|_| {
                let detail = format!("{}: no answer within {}", self.client.place(), seconds(time));
                Err(Failure { cause: Cause::Timeout, detail })
            });
            scan.fault = outcome.err().map(|failure| self.common.fault(failure.cause, failure.detail));
            scan
        })
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Health> {
        Box::pin(async {
            let state = match timeout(HEALTH_TIME, self.client.version()).await {
                Ok(Ok(version)) => Ok(version),
                Ok(Err(failure)) => Err(failure.detail),
                Err(_) => Err(format!("{}: no answer within {}", self.client.place(), seconds(HEALTH_TIME))),
            };
            match &state {
                Ok(version) => self.memory.tell(version, Some(VERSION_TIME)),
                Err(_) => self.memory.lose(),
            }
            self.common.health(state)
        })
    }

    fn forget(&self) {
        self.memory.forget(RELOAD_TIME);
    }

    fn renew<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let reloading = timeout(HEALTH_TIME, self.client.reload()).await;
            let why = match reloading {
                Ok(Ok(())) => return,
                Ok(Err(failure)) => failure.detail,
                Err(_) => format!("{}: no answer within {}", self.client.place(), seconds(HEALTH_TIME)),
            };
            tracing::warn!(engine = self.common.name, "not told to reload its signatures: {why}");
        })
    }
}

/// Whether ClamAV may see other parts in a message than we do, so that each must be shown to it by itself.
fn is_ambiguous(message: &Message) -> bool {
    use DefectKind::*;
    message.defects.iter().any(|defect| {
        // Only what steers how a message is cut into parts and how they are decoded. Exhaustive, so that a new kind
        // of defect has to be decided on.
        match defect.kind {
            BareCr | Nul | NoHeader | BadHeaderLine | BadFolding | DuplicateMimeHeader | BadContentType
            | BadParameter | BadTransferEncoding | MissingBoundary | BadBoundary | UnclosedBoundary
            | ReusedBoundary | TextOutsideParts | BadBase64 | TruncatedBase64 | BadQuotedPrintable
            | BadUuencode | MisspeltMimeHeader | LateHeader | OtherReading | HiddenEncoding | Partial
            | BadArchive | TruncatedArchive | UnknownMethod | Over(_) => true,
            BareLf | SmuggledEnd | LongLine | EightBitHeader | MissingDate | MissingFrom
            | MissingMessageId | DuplicateHeader | BadEncodedWord | BadCharset | ExternalBody | Encrypted
            | NotOpened => false,
        }
    })
}

#[cfg(test)]
mod cached;

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::config::units::{Seconds, Size};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const CLAMD: &str = "/usr/sbin/clamd";

    /// In halves, so that no scanner takes this file for the test file.
    fn eicar() -> String {
        ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
    }

    /// A daemon with two signatures, ended with the test.
    struct Daemon {
        process: Child,
        folder: tempfile::TempDir,
        port: u16,
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            self.kill();
        }
    }

    impl Daemon {
        /// None, with a line that says so, when clamd is not installed.
        async fn start() -> Option<Daemon> {
            if !std::path::Path::new(CLAMD).exists() {
                println!("skipped: {CLAMD} is not installed (package clamav-daemon)");
                return None;
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().display();
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
            std::fs::create_dir(folder.path().join("db")).unwrap();
            let signatures =
                format!("Eicar-Test:0:*:{}\nOther-Test:0:*:{}\n", hex(&eicar()), hex("other-signature"));
            std::fs::write(folder.path().join("db/test.ndb"), signatures).unwrap();
            let settings = format!(
                "Foreground yes\nLocalSocket {path}/socket\nTCPSocket {port}\nTCPAddr 127.0.0.1\n\
                 DatabaseDirectory {path}/db\nTemporaryDirectory {path}\nLogFile {path}/log\nMaxThreads 4\n\
                 StreamMaxLength 100K\nSelfCheck 0\n"
            );
            std::fs::write(folder.path().join("clamd.conf"), settings).unwrap();
            let process = Daemon::spawn(&folder);
            let daemon = Daemon { process, folder, port };
            daemon.ready().await;
            Some(daemon)
        }

        fn spawn(folder: &tempfile::TempDir) -> Child {
            Command::new(CLAMD)
                .arg("-c")
                .arg(folder.path().join("clamd.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        }

        async fn ready(&self) {
            let engine = self.engine(&self.unix(), |_| {});
            for _ in 0..200 {
                if engine.health().await.state.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("clamd does not start: {:?}", std::fs::read_to_string(self.folder.path().join("log")));
        }

        fn kill(&mut self) {
            _ = self.process.kill();
            _ = self.process.wait();
        }

        async fn restart(&mut self) {
            self.kill();
            self.process = Daemon::spawn(&self.folder);
            self.ready().await;
        }

        fn signal(&self, signal: Signal) {
            kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
        }

        fn unix(&self) -> String {
            format!("unix:{}/socket", self.folder.path().display())
        }

        fn tcp(&self) -> String {
            format!("tcp:127.0.0.1:{}", self.port)
        }

        fn engine(&self, socket: &str, change: impl Fn(&mut Settings)) -> Clamd {
            engine(socket, change)
        }
    }

    fn engine(socket: &str, change: impl Fn(&mut Settings)) -> Clamd {
        let mut settings = Settings { socket: socket.into(), ..Settings::default() };
        change(&mut settings);
        let mut problems = Vec::new();
        let engine = Clamd::new("main", &settings, &testing::outside(), &mut problems);
        assert_eq!(problems, []);
        engine
    }

    fn mail(body: &str) -> Mail {
        testing::mail(&format!("Subject: test\r\n\r\n{body}\r\n"), &[("text/plain", body)])
    }

    /// Hits, as `place name`, or the fault's cause.
    async fn look(engine: &Clamd, mail: &Mail) -> Vec<String> {
        let scan = engine.scan(mail).await;
        let hits = scan.hits.into_iter().map(|Hit { part, name, .. }| match part {
            Some(PartId(part)) => format!("{part} {}", name.trim_end_matches(".UNOFFICIAL")),
            None => format!("mail {}", name.trim_end_matches(".UNOFFICIAL")),
        });
        hits.chain(scan.fault.map(|fault| format!("{}: {}", fault.cause, fault.detail))).collect()
    }

    #[tokio::test]
    async fn finds_by_every_way_in() {
        let Some(daemon) = Daemon::start().await else { return };
        for (socket, transfer) in [
            (daemon.unix(), ClamdTransfer::Auto),
            (daemon.unix(), ClamdTransfer::Instream),
            (daemon.tcp(), ClamdTransfer::Auto),
        ] {
            let engine = daemon.engine(&socket, |settings| settings.transfer = transfer);
            for _ in 0..3 {
                assert_eq!(look(&engine, &mail("hello")).await, [""; 0], "{socket} {transfer:?}");
                assert_eq!(look(&engine, &mail(&eicar())).await, ["0 Eicar-Test"], "{socket} {transfer:?}");
                let empty = testing::mail("", &[("text/plain", "")]);
                assert_eq!(look(&engine, &empty).await, [""; 0], "{socket} {transfer:?}");
            }
            let (sessions, commands) = engine.client.pooled();
            assert!(sessions == 1 && commands >= 12, "one session for all of them: {sessions}, {commands}");
            let health = engine.health().await;
            assert!(health.state.as_ref().is_ok_and(|version| version.starts_with("ClamAV ")), "{health:?}");
        }
    }

    #[tokio::test]
    async fn what_is_given_to_it() {
        let Some(daemon) = Daemon::start().await else { return };
        let auto = daemon.engine(&daemon.unix(), |_| {});
        let whole = daemon.engine(&daemon.unix(), |settings| settings.scan = ClamdScan::Message);
        let parts = daemon.engine(&daemon.unix(), |settings| settings.scan = ClamdScan::Parts);
        let raw = "Subject: a\r\n\r\nnothing to see\r\n";

        // A part that the message does not show: only scanning parts finds it, which `auto` does for a reason.
        let mut hidden =
            testing::mail(raw, &[("multipart/mixed", ""), ("text/plain", "x"), ("text/plain", &eicar())]);
        assert_eq!(look(&auto, &hidden).await, [""; 0]);
        assert_eq!(look(&parts, &hidden).await, ["2 Eicar-Test"]);
        hidden.message.defects = testing::defective(&[(DefectKind::LongLine, 0, "")]).message.defects;
        assert_eq!(look(&auto, &hidden).await, [""; 0]);
        hidden.message.defects =
            testing::defective(&[(DefectKind::DuplicateMimeHeader, 0, "")]).message.defects;
        assert_eq!(look(&auto, &hidden).await, ["2 Eicar-Test"]);
        assert_eq!(look(&whole, &hidden).await, [""; 0]);

        // What is found in the message is then found in its part.
        let shown = testing::mail(
            &format!("Subject: a\r\n\r\n{}\r\nother-signature\r\n", eicar()),
            &[("multipart/mixed", ""), ("text/plain", "x"), ("text/plain", &eicar())],
        );
        assert_eq!(look(&auto, &shown).await, ["2 Eicar-Test"]);
        assert_eq!(look(&whole, &shown).await, ["mail Eicar-Test"]);

        // ClamAV must see a message in it whatever its first field is.
        let encoded =
            "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=";
        let strange = format!(
            "X-Unheard-Of: a\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n"
        );
        assert_eq!(look(&whole, &testing::mail(&strange, &[("text/plain", "")])).await, ["mail Eicar-Test"]);
    }

    #[tokio::test]
    async fn too_large_is_told_apart_from_clean() {
        let Some(daemon) = Daemon::start().await else { return };
        let large = testing::mail(
            &format!("Subject: a\r\n\r\n{}", "x".repeat(300_000)),
            &[("multipart/mixed", ""), ("text/plain", &"y".repeat(200_000)), ("text/plain", &eicar())],
        );
        let engine = daemon.engine(&daemon.unix(), |settings| settings.max_size = Size::mebibytes(1));
        let engine = Clamd { max_size: 100_000, ..engine };
        let scan = engine.scan(&large).await;
        assert_eq!(scan.skipped, [(None, 300_014), (Some(PartId(1)), 200_000)]);
        assert_eq!((scan.seen, scan.hits.len(), scan.fault), (vec![Some(PartId(2))], 1, None));

        // The field put in front counts too.
        let edge = testing::mail(&format!("Subject: a\r\n\r\n{}", "x".repeat(99_980)), &[("text/plain", "")]);
        assert_eq!(engine.scan(&edge).await.skipped, [(None, 99_994)]);

        // So is what is over clamd's own limit (StreamMaxLength), and the session after it works. Over TCP the reason
        // may be lost with the connection.
        for socket in [daemon.unix(), daemon.tcp()] {
            let engine = daemon.engine(&socket, |settings| settings.transfer = ClamdTransfer::Instream);
            let huge = testing::mail(&"x".repeat(5_000_000), &[("text/plain", "")]);
            let scan = engine.scan(&huge).await;
            let skipped = scan.skipped == [(None, 5_000_000)] && scan.fault.is_none();
            let lost = socket.starts_with("tcp") && scan.fault.is_some();
            assert!((skipped || lost) && scan.seen.is_empty(), "{socket}: {scan:?}");
            assert_eq!(look(&engine, &mail(&eicar())).await, ["0 Eicar-Test"]);
        }
    }

    #[tokio::test]
    async fn away_and_back() {
        let Some(mut daemon) = Daemon::start().await else { return };
        for socket in [daemon.unix(), daemon.tcp()] {
            let engine = daemon.engine(&socket, |_| {});
            assert_eq!(look(&engine, &mail("hello")).await, [""; 0]);
            // A session that died while it was idle costs nothing but a new one.
            daemon.restart().await;
            assert_eq!(look(&engine, &mail(&eicar())).await, ["0 Eicar-Test"]);

            daemon.kill();
            let said = look(&engine, &mail(&eicar())).await;
            assert!(said.len() == 1 && said[0].starts_with(&format!("unavailable: {socket}: ")), "{said:?}");
            assert!(engine.health().await.state.is_err());
            daemon.restart().await;
            assert_eq!(look(&engine, &mail(&eicar())).await, ["0 Eicar-Test"]);
        }
    }

    #[tokio::test]
    async fn hanging_is_a_timeout() {
        let Some(daemon) = Daemon::start().await else { return };
        let engine = daemon.engine(&daemon.unix(), |settings| settings.time = Seconds::new(2));
        assert_eq!(look(&engine, &mail("hello")).await, [""; 0]);
        daemon.signal(Signal::SIGSTOP);
        let began = Instant::now();
        let said = look(&engine, &mail(&eicar())).await;
        daemon.signal(Signal::SIGCONT);
        assert!(said.len() == 1 && said[0].starts_with("timeout: unix:"), "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(5));
        // The answer that was given up on is not taken for that of the next.
        assert_eq!(look(&engine, &mail("hello")).await, [""; 0]);
    }

    #[tokio::test]
    async fn many_at_once_share_few_connections() {
        let Some(daemon) = Daemon::start().await else { return };
        let engine = Arc::new(daemon.engine(&daemon.unix(), |settings| settings.connections = 3));
        let tasks = (0..60).map(|place| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let (body, expected) =
                    if place % 2 == 0 { (eicar(), 1) } else { (format!("hello {place}"), 0) };
                assert_eq!(look(&engine, &mail(&body)).await.len(), expected, "{place}");
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!((1..=3).contains(&engine.client.pooled().0));
    }

    /// A daemon that says other things than clamd does. None of it is clean.
    #[tokio::test]
    async fn nonsense_is_a_fault() {
        for (answer, expected) in [
            (&b"1: stream: OK\0"[..], ""),
            (b"2: stream: OK\0", "an answer to a command that was not given"),
            (b"stream: OK\0", "an answer to a command that was not given"),
            (b"COMMAND READ TIMED OUT\n", "COMMAND READ TIMED OUT"),
            (b"1: PONG\0", "an answer to another command"),
            (b"1: whatever\0", "limit: "),
            // Not to be looked at is neither clean nor a fault; this says that nothing was found.
            (b"1: INSTREAM size limit exceeded. ERROR\0", ""),
            (b"1: stream: Can't allocate memory ERROR\0", "limit: "),
            (b"", "clamd closed the connection"),
            (&[b'x'; 20_000], "longer than"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 4096];
                    while !request.ends_with(&[0; 4]) || !request.starts_with(b"zIDSESSION\0zINSTREAM\0") {
                        if stream.read(&mut request).await.unwrap() == 0 {
                            break;
                        }
                    }
                    _ = stream.write_all(answer).await;
                }
            });
            let engine = engine(&format!("unix:{}", path.display()), |settings| {
                settings.transfer = ClamdTransfer::Instream;
                settings.time = Seconds::new(5);
            });
            let said = look(&engine, &mail("hello")).await.join("\n");
            server.abort();
            if expected.is_empty() {
                assert_eq!(said, "");
            } else {
                assert!(said.contains(expected), "{:?}: {said}", String::from_utf8_lossy(answer));
            }
        }
    }

    #[test]
    fn problems_name_their_keys() {
        for (change, key) in [
            (Settings { socket: "/run/clamd".into(), ..Settings::default() }, "socket"),
            (Settings { socket: "unix:clamd".into(), ..Settings::default() }, "socket"),
            (Settings { socket: "tcp:localhost".into(), ..Settings::default() }, "socket"),
            (Settings { socket: "tcp::3310".into(), ..Settings::default() }, "socket"),
            (Settings { connections: 0, ..Settings::default() }, "connections"),
            (Settings { time: Seconds::new(0), ..Settings::default() }, "time"),
            (Settings { max_size: Size::mebibytes(0), ..Settings::default() }, "max_size"),
            (
                Settings {
                    socket: "tcp:[::1]:3310".into(),
                    transfer: ClamdTransfer::Fildes,
                    ..Settings::default()
                },
                "transfer",
            ),
        ] {
            let mut problems = Vec::new();
            build(&BTreeMap::from([("main".to_string(), change)]), &testing::outside(), &mut problems);
            let keys: Vec<_> = problems.iter().map(|problem| problem.key.clone()).collect();
            assert_eq!(keys, [format!("checks.clamd.main.{key}")]);
        }
    }

    #[test]
    fn messages_that_begin_with_a_field() {
        for (raw, expected) in [
            ("Subject: a", true),
            ("subject : a", true),
            ("From x@example.org", false),
            ("", false),
            ("\r\nbody", false),
            (": a", false),
            (" folded: a", false),
        ] {
            assert_eq!(begins_with_field(raw.as_bytes()), expected, "{raw:?}");
        }
        assert!(!begins_with_field(eicar().as_bytes()));
    }
}
