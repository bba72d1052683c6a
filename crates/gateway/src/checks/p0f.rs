//! The client's operating system, as a running p0f 3 (its API socket) or amavis's p0f-analyzer (UDP) knows it.
//!
//! p0f looks at the network by itself and may see a connection a moment later than we do, so who is not known is asked for
//! again for a moment. What it does not know is nothing found, and is not remembered; p0f that does not answer is a fault.

mod source;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Counts, Fault, Finding, OnFault, Points, Session};
use tokio::time::timeout;

use self::source::{Failure, Source};
use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, Health, SymbolInfo, looked, looking};
use crate::config::units::Net;
use crate::config::{Config, Problem};

/// Most clients that are remembered; some 200 octets each.
const MOST_KNOWN: usize = 50_000;

/// Systems with symbols of their own: the name, what it means, and points in thousandths. The points are those that amavis
/// sites use.
const GENRES: [(&str, &str, i64); 6] = [
    ("Windows XP", "the client runs Windows XP, as p0f recognises it", 3500),
    ("Windows", "the client runs a Windows other than XP", 1700),
    ("UNKNOWN", "p0f has seen the client and does not know its system", 800),
    ("Linux", "the client runs Linux", 0),
    ("Unix", "the client runs a Unix other than Linux", -1000),
    ("Other", "the client's system is known and none of these", 0),
];

/// Names of systems that count as Unix.
const UNIX: [&str; 7] = ["FreeBSD", "OpenBSD", "NetBSD", "Solaris", "HP-UX", "Tru64", "AIX"];

/// A symbol for each of the systems above, and for each that is configured.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    let own = &config.checks.p0f.genres;
    let configured = |name: &str| {
        let found = own.iter().find(|(genre, _)| symbol(genre) == symbol(name));
        found.map(|(_, points)| *points)
    };
    let fixed = GENRES.iter().map(|&(name, meaning, points)| SymbolInfo {
        name: symbol(name).into(),
        meaning: Cow::Borrowed(meaning),
        counts: Counts::Points(configured(name).unwrap_or(Points::thousandths(points))),
    });
    let own = own_genres(config).map(|(name, points)| SymbolInfo {
        name: symbol(name).into(),
        meaning: format!("the client's system begins with “{name}”, as p0f names it").into(),
        counts: Counts::Points(points),
    });
    fixed.chain(own).collect()
}

/// Makes the check, if anybody is to be asked.
pub fn build(config: &Config, _: &Resources) -> Built {
    let settings = &config.checks.p0f;
    let mut problems = Vec::new();
    for (place, (name, _)) in own_genres(config).enumerate() {
        let key = || format!("checks.p0f.genres.{name:?}");
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            problems.push(Problem::new(key(), "the name of a system, in the words of p0f: Mac OS X"));
        }
        if own_genres(config).take(place).any(|(other, _)| symbol(other) == symbol(name)) {
            problems
                .push(Problem::new(key(), format!("its symbol {} is that of another, too", symbol(name))));
        }
    }
    let is_name = |octet: u8| octet.is_ascii_graphic() && octet != b':';
    if settings.header.len() > 70 || !settings.header.bytes().all(is_name) {
        let message = "is not the name of a header field; write X-Amavis-OS-Fingerprint";
        problems.push(Problem::new("checks.p0f.header", message));
    }
    if settings.time.duration().is_zero() {
        problems.push(Problem::new("checks.p0f.time", "must be at least 1 second"));
    }
    let source = match settings.source.as_str() {
        "" => None,
        text => match Source::parse(text) {
            Ok(source) => Some(source),
            Err(why) => {
                problems.push(Problem::new("checks.p0f.source", why));
                None
            }
        },
    };
    match source {
        _ if !problems.is_empty() => Err(problems),
        None => Ok(Vec::new()),
        Some(source) => Ok(vec![Box::new(P0f {
            source,
            genres: own_genres(config).map(|(name, _)| name.to_owned()).collect(),
            header: settings.header.clone(),
            known: Known { clients: Mutex::default(), keep: settings.keep.duration() },
            time: settings.time.duration(),
            on_fault: settings.on_fault,
            ours: config.networks.as_slice().into(),
        })]),
    }
}

struct P0f {
    source: Source,
    /// Names of further systems.
    genres: Vec<String>,
    /// Name of the header field; may be empty.
    header: String,
    known: Known,
    time: Duration,
    on_fault: OnFault,
    /// Clients that are never asked about.
    ours: Arc<[Net]>,
}

impl P0f {
    async fn look(&self, client: IpAddr, port: u16) -> Result<Found, Fault> {
        match timeout(self.time, self.source.ask(client, port, self.time / 4)).await {
            Ok(Ok(Some(text))) => {
                self.known.remember(client, &text);
                Ok(self.found(text))
            }
            Ok(Ok(None)) => Ok(Found::default()),
            Ok(Err(Failure(why))) => Err(self.fault(Cause::Unavailable, why)),
            Err(_) => {
                let detail = format!("no answer from {} within {}", self.source, seconds(self.time));
                Err(self.fault(Cause::Timeout, detail))
            }
        }
    }

    fn found(&self, text: String) -> Found {
        let mut found: Found = vec![Finding::mail(symbol(self.genre(&text)), text.clone())].into();
        if !self.header.is_empty() {
            found.fields.push((self.header.clone(), text));
        }
        found
    }

    /// The name of the system that a text speaks of.
    fn genre<'a>(&'a self, text: &str) -> &'a str {
        let begins =
            |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let own = self.genres.iter().filter(|name| begins(name)).max_by_key(|name| name.len());
        if let Some(own) = own {
            return own;
        }
        match text {
            _ if begins("Windows XP") && !is_2000(text) => "Windows XP",
            _ if begins("Windows") => "Windows",
            _ if begins("UNKNOWN") => "UNKNOWN",
            _ if begins("Linux") => "Linux",
            _ if UNIX.iter().any(|name| begins(name)) => "Unix",
            _ => "Other",
        }
    }

    fn fault(&self, cause: Cause, detail: String) -> Fault {
        Fault { check: self.name().to_owned(), cause, detail, answer: self.on_fault }
    }
}

impl Check for P0f {
    fn name(&self) -> &str {
        "p0f"
    }

    /// More than it takes itself, so that its own words say what was late.
    fn time(&self) -> Duration {
        self.time + Duration::from_secs(1)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client?.to_canonical();
        if self.ours.iter().any(|net| net.contains(client)) {
            return None;
        }
        match self.known.recall(client) {
            Some(text) => looked(Ok(self.found(text))),
            None => looking(self.look(client, session.port)),
        }
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(async {
            let state = match timeout(self.time, self.source.try_out()).await {
                Ok(Ok(())) => Ok(format!("{} answers", self.source)),
                Ok(Err(Failure(why))) => Err(why),
                Err(_) => Err(format!("no answer from {} within {}", self.source, seconds(self.time))),
            };
            vec![Health { name: "p0f".into(), vital: self.on_fault != OnFault::Accept, state }]
        })
    }
}

/// What is known of clients, for a time.
struct Known {
    clients: Mutex<HashMap<IpAddr, (Instant, String)>>,
    keep: Duration,
}

impl Known {
    fn recall(&self, client: IpAddr) -> Option<String> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, text) = clients.get(&client)?;
        (since.elapsed() < self.keep).then(|| text.clone())
    }

    fn remember(&self, client: IpAddr, text: &str) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST_KNOWN {
            clients.retain(|_, (since, _)| since.elapsed() < self.keep);
        }
        if clients.len() >= MOST_KNOWN {
            // All of them from the last minutes: p0f knows them, too, and is asked again.
            clients.clear();
        }
        clients.insert(client, (Instant::now(), text.to_owned()));
    }
}

/// Names that are configured and have no symbol already, with their points.
fn own_genres(config: &Config) -> impl Iterator<Item = (&str, Points)> {
    let fixed = |name: &str| GENRES.iter().any(|(fixed, ..)| symbol(fixed) == symbol(name));
    let all = config.checks.p0f.genres.iter().map(|(name, points)| (name.as_str(), *points));
    all.filter(move |(name, _)| !fixed(name))
}

/// `Mac OS X` → `P0F_MAC_OS_X`.
fn symbol(genre: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("P0F_{}", genre.chars().map(plain).collect::<String>())
}

/// p0f 2 writes `Windows XP SP1+, 2000 SP3` for what may be Windows 2000 as well; amavis's rule leaves that out.
fn is_2000(text: &str) -> bool {
    text.split('(').next().is_some_and(|name| name.contains("2000 SP"))
}
