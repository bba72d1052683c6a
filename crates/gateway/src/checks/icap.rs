//! Scanners that speak ICAP as engines. Each part of a message is shown to them as a file; few of them know mail.
//!
//! Parts of a message go over one connection one after the other, and what waits at the end is used by the next message.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Fault, Mail, Message, OnFault};
use gatepost_wire::icap::{self as wire, Answer, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Health;
use super::malware::{Engine, External, Hit, Scan};
use super::run::seconds;
use crate::config::Problem;
use crate::config::scanners::IcapScanner;
use crate::resources::net::{Stream, connect_tcp};

/// Longest to wait for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest that asking after its health may take.
const HEALTH_TIME: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is not used again.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Most connections that may be configured.
const MOST_CONNECTIONS: u32 = 1000;

/// Makes an engine for each scanner.
pub(super) fn build(scanners: &BTreeMap<String, IcapScanner>) -> (Vec<External>, Vec<Problem>) {
    let mut problems = Vec::new();
    let externals = scanners
        .iter()
        .map(|(name, settings)| External {
            engine: Box::new(Icap::new(name, settings, &mut problems)),
            group: settings.group,
            required: settings.required,
        })
        .collect();
    (externals, problems)
}

/// One scanner as an engine.
struct Icap {
    /// `icap:main`
    name: String,
    url: Url,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    time: Duration,
    max_size: usize,
    on_fault: OnFault,
}

struct Connection {
    stream: Stream,
    used: Instant,
}

/// What came of one file.
struct Looked {
    names: Vec<String>,
    /// The connection is at its beginning again.
    again: bool,
}

impl Icap {
    fn new(name: &str, settings: &IcapScanner, problems: &mut Vec<Problem>) -> Icap {
        let mut wrong =
            |key: &str, why: String| problems.push(Problem::new(format!("checks.icap.{name}.{key}"), why));
        let url = Url::parse(&settings.url).unwrap_or_else(|| {
            wrong("url", format!("“{}” is no place such as icap://127.0.0.1:1344/avscan", settings.url));
            Url { host: String::new(), port: 0, path: String::new() }
        });
        if !(1..=MOST_CONNECTIONS).contains(&settings.connections) {
            wrong("connections", format!("must be from 1 to {MOST_CONNECTIONS}"));
        }
        if settings.time.duration().is_zero() {
            wrong("time", "must be at least 1 second".into());
        }
        let max_size = usize::try_from(settings.max_size.bytes()).unwrap_or(usize::MAX);
        if max_size == 0 {
            wrong("max_size", "must be at least 1 byte".into());
        }
        Icap {
            name: format!("icap:{name}"),
            url,
            permits: Semaphore::new(settings.connections.clamp(1, MOST_CONNECTIONS) as usize),
            idle: Mutex::default(),
            time: settings.time.duration(),
            max_size,
            on_fault: settings.on_fault,
        }
    }

    /// Shows every part; what is found before a failure stays found.
    async fn look(&self, message: &Message, scan: &mut Scan) -> io::Result<()> {
        let _permit = self.permits.acquire().await.map_err(io::Error::other)?;
        let mut connection = self.take_idle();
        for (id, part) in message.parts().filter(|(_, part)| !part.container && !part.body.is_empty()) {
            if part.body.len() > self.max_size {
                scan.skipped.push((Some(id), part.body.len()));
                continue;
            }
            let name = part.name().unwrap_or("part");
            let looked = match connection.take() {
                // A connection that the scanner has closed meanwhile is found out by its first use.
                Some(mut used) => match self.show(&mut used, name, &part.body).await {
                    Ok(looked) => (used, looked),
                    Err(_) => self.show_anew(name, &part.body).await?,
                },
                None => self.show_anew(name, &part.body).await?,
            };
            let (used, Looked { names, again }) = looked;
            scan.hits.extend(names.into_iter().map(|name| Hit { part: Some(id), name, by: "" }));
            scan.seen.push(Some(id));
            connection = again.then_some(used);
        }
        if let Some(mut connection) = connection {
            connection.used = Instant::now();
            self.idle().push(connection);
        }
        // It has seen all that the message is made of; what was too large is told by itself.
        if scan.skipped.is_empty() {
            scan.seen.push(None);
        }
        Ok(())
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
                    if let Some((names, whole)) = judged(&input, body)? {
                        return Ok(Looked { names, again: sent && whole });
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

    async fn options(&self) -> io::Result<String> {
        let mut connection = self.connect().await?;
        connection.stream.write_all(&wire::options(&self.url)).await?;
        let mut input = BytesMut::new();
        loop {
            if connection.stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match wire::answer(&input).map_err(|error| io::Error::other(error.to_string()))? {
                None => {}
                Some(Answer::Options { service, .. }) => return Ok(service),
                Some(Answer::Failed(why)) => return Err(io::Error::other(why)),
                Some(_) => return Err(io::Error::other("an answer to another question")),
            }
        }
    }
}

/// What was found, once the answer is here as far as it matters, and whether nothing of it is still to come. A page that is not
/// the content itself stands in the place of something bad.
fn judged(input: &[u8], body: &Bytes) -> io::Result<Option<(Vec<String>, bool)>> {
    let failed = |why: String| Err(io::Error::other(why));
    match wire::answer(input).map_err(|error| io::Error::other(error.to_string()))? {
        None => Ok(None),
        Some(Answer::Clean) => Ok(Some((Vec::new(), true))),
        Some(Answer::Found(names)) => Ok(Some((names, false))),
        Some(Answer::Failed(why)) => failed(why),
        Some(Answer::Options { .. }) => failed("an answer to another question".into()),
        Some(Answer::Changed { status: 200, body: Some(at) }) => {
            let back = wire::unchunk(input.get(at..).unwrap_or_default(), body.len());
            Ok(match back.map_err(|error| io::Error::other(error.to_string()))? {
                None => None,
                Some(back) if back == *body => Some((Vec::new(), false)),
                Some(_) => Some((vec!["replaced by the scanner".into()], false)),
            })
        }
        Some(Answer::Changed { status, .. }) => Ok(Some((vec![format!("blocked with {status}")], false))),
    }
}

impl Engine for Icap {
    fn name(&self) -> &str {
        &self.name
    }

    fn time(&self) -> Duration {
        self.time
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn scan<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Scan> {
        Box::pin(async {
            let mut scan = Scan::default();
            let outcome = timeout(self.time, self.look(&mail.message, &mut scan)).await;
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Cause::Unavailable, format!("{}: {error}", self.url))),
                Err(_) => {
                    Some((Cause::Timeout, format!("{}: no answer within {}", self.url, seconds(self.time))))
                }
            };
            scan.fault = failure.map(|(cause, detail)| Fault {
                check: self.name.clone(),
                cause,
                detail,
                answer: self.on_fault,
            });
            scan
        })
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Health> {
        Box::pin(async {
            let state = match timeout(HEALTH_TIME, self.options()).await {
                Ok(Ok(service)) => Ok(service),
                Ok(Err(error)) => Err(format!("{}: {error}", self.url)),
                Err(_) => Err(format!("{}: no answer within {}", self.url, seconds(HEALTH_TIME))),
            };
            Health { name: self.name.clone(), vital: self.on_fault != OnFault::Accept, state }
        })
    }
}

#[cfg(test)]
mod tests;
