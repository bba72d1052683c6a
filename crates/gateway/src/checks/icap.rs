//! Scanners that speak ICAP as engines. Each part of a message is shown to them as a file; few of them know mail.
//!
//! Parts of a message go over one connection one after the other, and what waits at the end is used by the next message.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Mail, Message, Part};
use gatepost_wire::icap::{self as wire, Answer, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Health;
use super::malware::Outside;
use super::malware::engine::{Common, Engine, External, Hit, Scan, externals};
use super::run::seconds;
use crate::config::Problem;
use crate::config::scanners::IcapScanner;
use crate::resources::net::{Stream, connect_tcp};
use crate::resources::verdicts::{Digest, Epoch, Kind, Memory, Named, sha256};

/// Longest to wait for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest that asking after its health may take.
const HEALTH_TIME: Duration = Duration::from_secs(5);

/// The tag of its signatures is good for so long; it is asked every ten seconds.
const TAG_TIME: Duration = Duration::from_secs(60);

/// After signatures have changed, the server may go on with the old ones for so long.
const RELOAD_TIME: Duration = Duration::from_secs(120);

/// A connection that was idle for longer is not used again.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Most connections that may be configured.
const MOST_CONNECTIONS: u32 = 1000;

/// Makes an engine for each scanner.
pub(super) fn build(
    scanners: &BTreeMap<String, IcapScanner>,
    outside: &Outside,
    problems: &mut Vec<Problem>,
) -> Vec<External> {
    externals(scanners, |name, settings| Box::new(Icap::new(name, settings, outside, problems)))
}

/// One scanner as an engine.
struct Icap {
    common: Common,
    url: Url,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    max_size: usize,
    memory: Memory,
}

struct Connection {
    stream: Stream,
    used: Instant,
}

/// What one message has of the scanner while it is shown to it.
struct AtWork<'a> {
    connection: Option<Connection>,
    _permit: SemaphorePermit<'a>,
}

/// What came of one file.
struct Looked {
    said: Said,
    /// The connection is at its beginning again.
    again: bool,
}

/// What a scanner says of one file.
#[derive(Default)]
struct Said {
    names: Vec<String>,
    /// It does not say what it found, only that it does not let the file pass.
    unsaid: bool,
}

impl Icap {
    fn new(name: &str, settings: &IcapScanner, outside: &Outside, problems: &mut Vec<Problem>) -> Icap {
        let common = Common::new("icap", name, settings, problems);
        let mut wrong =
            |key: &str, why: String| problems.push(Problem::new(format!("checks.icap.{name}.{key}"), why));
        let url = Url::parse(&settings.url).unwrap_or_else(|| {
            wrong("url", format!("“{}” is no place such as icap://127.0.0.1:1344/avscan", settings.url));
            Url { host: String::new(), port: 0, path: String::new() }
        });
        if !(1..=MOST_CONNECTIONS).contains(&settings.connections) {
            wrong("connections", format!("must be from 1 to {MOST_CONNECTIONS}"));
        }
        let max_size = usize::try_from(settings.max_size.bytes()).unwrap_or(usize::MAX);
        if max_size == 0 {
            wrong("max_size", "must be at least 1 byte".into());
        }
        Icap {
            common,
            url,
            permits: Semaphore::new(settings.connections.clamp(1, MOST_CONNECTIONS) as usize),
            idle: Mutex::default(),
            max_size,
            memory: outside.verdicts.engine(),
        }
    }

    /// Shows every part that is not known; what is found before a failure stays found.
    async fn look(&self, message: &Message, scan: &mut Scan) -> io::Result<()> {
        let epoch = self.memory.epoch();
        let mut at_work = None;
        for (id, part) in message.parts().filter(|(_, part)| !part.container && !part.body.is_empty()) {
            if part.body.len() > self.max_size {
                scan.skipped.push((Some(id), part.body.len()));
                continue;
            }
            let name = part.name().unwrap_or("part");
            let names = match epoch {
                None => self.show_next(&mut at_work, name, &part.body).await?.names,
                Some(epoch) => self.known_or_shown(epoch, &mut at_work, name, part).await?,
            };
            scan.hits.extend(names.into_iter().map(|name| Hit { part: Some(id), name, by: "" }));
            scan.seen.push(Some(id));
        }
        if let Some(AtWork { connection: Some(mut connection), .. }) = at_work {
            connection.used = Instant::now();
            self.idle().push(connection);
        }
        // It has seen all that the message is made of; what was too large is told by itself.
        if scan.skipped.is_empty() {
            scan.seen.push(None);
        }
        Ok(())
    }

    /// What is found in one file, now or before. What is bad is so under every name; what is clean was so under this one.
    async fn known_or_shown<'a>(
        &'a self,
        epoch: Epoch,
        at_work: &mut Option<AtWork<'a>>,
        name: &str,
        part: &Part,
    ) -> io::Result<Vec<String>> {
        let content = Digest::content(sha256(&part.digest, &part.body).await);
        let named = Digest::new(Kind::Named, [name.as_bytes(), content.as_bytes()]);
        let known = self.memory.known(epoch, content).or_else(|| self.memory.known(epoch, named));
        self.memory.count(known.is_some());
        if let Some(known) = known {
            return Ok(known.iter().map(|named| named.name.clone()).collect());
        }
        let Said { names, unsaid } = self.show_next(at_work, name, &part.body).await?;
        if names.is_empty() {
            self.memory.keep(epoch, named, Vec::new());
        } else if !unsaid {
            self.memory.keep(epoch, content, names.iter().map(|name| Named::new(name, "")).collect());
        }
        Ok(names)
    }

    /// Shows the next file of a message, over the connection that the one before has left.
    async fn show_next<'a>(
        &'a self,
        at_work: &mut Option<AtWork<'a>>,
        name: &str,
        body: &Bytes,
    ) -> io::Result<Said> {
        let mut work = match at_work.take() {
            Some(work) => work,
            None => {
                let _permit = self.permits.acquire().await.map_err(io::Error::other)?;
                AtWork { connection: self.take_idle(), _permit }
            }
        };
        let looked = match work.connection.take() {
            // A connection that the scanner has closed meanwhile is found out by its first use.
            Some(mut used) => match self.show(&mut used, name, body).await {
                Ok(looked) => (used, looked),
                Err(_) => self.show_anew(name, body).await?,
            },
            None => self.show_anew(name, body).await?,
        };
        let (used, Looked { said, again }) = looked;
        work.connection = again.then_some(used);
        *at_work = Some(work);
        Ok(said)
    }

    async fn show_anew(&self, name: &str, body: &Bytes) -> io::Result<(Connection, Looked)> {
        let mut connection = self.connect().await?;
        let looked = self.show(&mut connection, name, body).await?;
        Ok((connection, looked))
    }

    async fn connect(&self) -> io::Result<Connection> {
        let connecting = connect_tcp(&self.url.host, self.url.port);
        let stream = timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| {
            Err(io::Error::other(format!("no connection within {}", seconds(CONNECT_TIME))))
        })?;
        Ok(Connection { stream, used: Instant::now() })
    }

    /// Shows one file.
    async fn show(&self, connection: &mut Connection, name: &str, body: &Bytes) -> io::Result<Looked> {
        let (mut from, mut to) = tokio::io::split(&mut connection.stream);
        // The scanner may answer before it has all; both directions at once, or the two wait for each other.
        let mut sending = std::pin::pin!(async {
            to.write_all(&wire::respmod(&self.url, name, body.len())).await?;
            to.write_all(body).await?;
            to.write_all(wire::END).await?;
            to.flush().await
        });
        let (mut input, mut sent) = (BytesMut::new(), false);
        loop {
            tokio::select! {
                result = &mut sending, if !sent => {
                    result?;
                    sent = true;
                }
                read = from.read_buf(&mut input) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    // It need not hear the rest of what it has judged already.
                    if let Some((said, whole)) = judged(&input, body)? {
                        return Ok(Looked { said, again: sent && whole });
                    }
                }
            }
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|connection| connection.used.elapsed() < IDLE_TIME);
        idle.pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name of the service, and the tag of its signatures.
    async fn options(&self) -> io::Result<(String, String)> {
        let mut connection = self.connect().await?;
        connection.stream.write_all(&wire::options(&self.url)).await?;
        let mut input = BytesMut::new();
        loop {
            if connection.stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match wire::answer(&input).map_err(|error| io::Error::other(error.to_string()))? {
                None => {}
                Some(Answer::Options { service, tag }) => return Ok((service, tag)),
                Some(Answer::Failed(why)) => return Err(io::Error::other(why)),
                Some(_) => return Err(io::Error::other("an answer to another question")),
            }
        }
    }
}

/// What was found, once the answer is here as far as it matters, and whether nothing of it is still to come. A page that is not
/// the content itself stands in the place of something bad.
fn judged(input: &[u8], body: &Bytes) -> io::Result<Option<(Said, bool)>> {
    let failed = |why: String| Err(io::Error::other(why));
    let blocked = |how: String| Ok(Some((Said { names: vec![how], unsaid: true }, false)));
    match wire::answer(input).map_err(|error| io::Error::other(error.to_string()))? {
        None => Ok(None),
        Some(Answer::Clean) => Ok(Some((Said::default(), true))),
        Some(Answer::Found(names)) => Ok(Some((Said { names, unsaid: false }, false))),
        Some(Answer::Failed(why)) => failed(why),
        Some(Answer::Options { .. }) => failed("an answer to another question".into()),
        Some(Answer::Changed { status: 200, body: Some(at) }) => {
            let back = wire::unchunk(input.get(at..).unwrap_or_default(), body.len());
            match back.map_err(|error| io::Error::other(error.to_string()))? {
                None => Ok(None),
                Some(back) if back == *body => Ok(Some((Said::default(), false))),
                Some(_) => blocked("replaced by the scanner".into()),
            }
        }
        Some(Answer::Changed { status, .. }) => blocked(format!("blocked with {status}")),
    }
}

impl Engine for Icap {
    fn common(&self) -> &Common {
        &self.common
    }

    fn scan<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Scan> {
        Box::pin(async {
            let (mut scan, time) = (Scan::default(), self.common.time);
            let outcome = timeout(time, self.look(&mail.message, &mut scan)).await;
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Cause::Unavailable, format!("{}: {error}", self.url))),
                Err(_) => Some((Cause::Timeout, format!("{}: no answer within {}", self.url, seconds(time)))),
            };
            scan.fault = failure.map(|(cause, detail)| self.common.fault(cause, detail));
            scan
        })
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Health> {
        Box::pin(async {
            let state = match timeout(HEALTH_TIME, self.options()).await {
                Ok(Ok((service, tag))) => {
                    // Without a tag nobody can tell when its signatures change.
                    if tag.is_empty() {
                        self.memory.lose();
                    } else {
                        self.memory.tell(&tag, Some(TAG_TIME));
                    }
                    return self.common.health(Ok(service));
                }
                Ok(Err(error)) => format!("{}: {error}", self.url),
                Err(_) => format!("{}: no answer within {}", self.url, seconds(HEALTH_TIME)),
            };
            self.memory.lose();
            self.common.health(Err(state))
        })
    }

    fn forget(&self) {
        self.memory.forget(RELOAD_TIME);
    }
}

#[cfg(test)]
mod tests;
