//! Name look-ups: one resolver with one cache for all checks, behind a trait so that tests need no network.
//!
//! A question is answered from the cache, or by whoever asks it already, or by the servers. What was once asked is asked to
//! its end, even when nobody waits for it any more, so that a server that is slow today is quick for the next who asks.

mod cache;
mod confirm;
mod names;
mod servers;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
pub use gatepost_auth::dns::{
    DnsError, Lookup, Mx, Record, RecordData, Records, Resolve, backwards, reverse,
};
use hickory_resolver::proto::rr::RecordType;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

use crate::config::Problem;
use crate::config::typed::Dns as DnsConfig;
use cache::{Cache, Data, Key, Known};
pub use confirm::{Confirmed, confirmed_name};
pub use names::plain_name;
use servers::Servers;

/// Questions that may wait for their turn, for each that may be on the way.
const WAITING: usize = 40;

/// What is said of a question that is not asked, since too many are asked already: no name server is to blame.
pub const TOO_MANY: &str = "too many look-ups at once";

/// The real resolver: asks name servers over UDP, and TCP when an answer is too long for that.
pub struct Dns {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache,
    servers: Servers,
    asking: Mutex<HashMap<Key, (Asking, Arc<Wait>)>>,
    most_asking: usize,
    turns: Semaphore,
    counters: DnsCounters,
}

/// A question on its way, for all who have asked it.
type Asking = Shared<BoxFuture<'static, Known>>;

/// How long a question waits for its turn.
struct Wait {
    since: Instant,
    /// When it had it.
    until: OnceLock<Instant>,
}

/// What the resolver counts.
#[derive(Clone, Debug, Default)]
pub struct DnsCounters {
    /// Questions, all of them.
    pub questions: Counter,
    /// Those of them that were answered from the cache, or by an answer that was under way.
    pub cached: Counter,
    /// Those that no server answered in time.
    pub timeouts: Counter,
    /// Those that servers failed to answer.
    pub failures: Counter,
}

impl Dns {
    /// A resolver for `[checks.dns]`. Nothing is asked yet.
    pub fn build(config: &DnsConfig) -> Result<Dns, Vec<Problem>> {
        Dns::counting(config, DnsCounters::default())
    }

    /// The same, with counters that somebody shows.
    pub fn counting(config: &DnsConfig, counters: DnsCounters) -> Result<Dns, Vec<Problem>> {
        let addresses = servers(config)?;
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str| {
            problems.push(Problem::new(format!("checks.dns.{key}"), message));
        };
        if config.time.duration().is_zero() {
            wrong("time", "must be at least 1 second");
        }
        if config.at_once == 0 {
            wrong("at_once", "must be at least 1");
        }
        if config.ttl_min > config.ttl_max {
            wrong("ttl_min", "is more than ttl_max");
        }
        if config.ttl_failure.seconds() > 300 {
            wrong("ttl_failure", "is more than 5 minutes (RFC 9520 section 3.2)");
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let servers = Servers::new(addresses, config.time.duration()).map_err(|why| {
            vec![Problem::new("checks.dns", format!("the resolver cannot be set up: {why}"))]
        })?;
        let at_once = config.at_once as usize;
        Ok(Dns {
            inner: Arc::new(Inner {
                cache: Cache::new(config),
                servers,
                asking: Mutex::default(),
                most_asking: at_once.saturating_mul(WAITING),
                turns: Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)),
                counters,
            }),
        })
    }

    /// The servers it asks.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.inner.servers.addresses()
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Known {
        match self.inner.begin(name, kind) {
            Ok(known) => known,
            Err(asking) => asking.await,
        }
    }
}

impl Inner {
    /// What is known, or the question on its way.
    fn begin(self: &Arc<Inner>, name: &str, kind: RecordType) -> Result<Known, Asking> {
        self.counters.questions.inc();
        // What cannot be asked cannot exist either. Whoever writes a message chooses its names: none may look as if only
        // the servers were in trouble.
        let Some(key) = Key::new(name, kind) else { return Ok(Arc::new(Err(DnsError::NoName))) };
        if let Some(known) = self.cache.get(&key) {
            self.counters.cached.inc();
            return Ok(known);
        }
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, _)) = asking.get(&key) {
            self.counters.cached.inc();
            return Err(same.clone());
        }
        // Answered between the two looks: what is known enters the cache before it leaves the questions on their way.
        if let Some(known) = self.cache.get(&key) {
            self.counters.cached.inc();
            return Ok(known);
        }
        if asking.len() >= self.most_asking {
            return Ok(Arc::new(Err(DnsError::Failed(TOO_MANY.into()))));
        }
        let wait = Arc::new(Wait { since: Instant::now(), until: OnceLock::new() });
        let task = tokio::spawn(self.clone().ask(key.clone(), wait.clone()));
        let answer = async move {
            task.await
                .unwrap_or_else(|why| Arc::new(Err(DnsError::Failed(format!("the look-up ended: {why}")))))
        };
        let answer = answer.boxed().shared();
        asking.insert(key, (answer.clone(), wait));
        Err(answer)
    }

    /// Asks the servers, and keeps what they say.
    async fn ask(self: Arc<Inner>, key: Key, wait: Arc<Wait>) -> Known {
        let _leave = Leave { inner: self.clone(), key: key.clone() };
        let turn = self.turns.acquire().await;
        wait.until.get_or_init(Instant::now);
        let (said, ttl) = match key.query() {
            Some((name, kind)) => self.servers.resolve(name, kind).await,
            None => (Err(DnsError::NoName), None),
        };
        drop(turn);
        match &said {
            Err(DnsError::Timeout) => _ = self.counters.timeouts.inc(),
            Err(DnsError::Failed(_)) => _ = self.counters.failures.inc(),
            _ => {}
        }
        let known = Arc::new(said);
        self.cache.keep(key, known.clone(), ttl);
        known
    }
}

/// Takes a question off those on their way, however it ends.
struct Leave {
    inner: Arc<Inner>,
    key: Key,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.inner.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Copies the records of one kind out of what is known.
fn records<T: Clone>(known: &Known, list: impl Fn(&Data) -> Option<&Vec<T>>) -> Result<Vec<T>, DnsError> {
    match &**known {
        Ok(data) => list(data).cloned().ok_or(DnsError::NoData),
        Err(why) => Err(why.clone()),
    }
}

impl Resolve for Dns {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(async move {
            records(&self.look_up(name, RecordType::A).await, |data| match data {
                Data::A(list) => Some(list),
                _ => None,
            })
        })
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(async move {
            records(&self.look_up(name, RecordType::AAAA).await, |data| match data {
                Data::Aaaa(list) => Some(list),
                _ => None,
            })
        })
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move {
            records(&self.look_up(name, RecordType::MX).await, |data| match data {
                Data::Mx(list) => Some(list),
                _ => None,
            })
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move {
            let known = self.look_up(name, RecordType::TXT).await;
            match &*known {
                Ok(Data::Texts(list)) => Ok(list.iter().map(|strings| strings.concat()).collect()),
                Ok(_) => Err(DnsError::NoData),
                Err(why) => Err(why.clone()),
            }
        })
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move {
            records(&self.look_up(&reverse(address), RecordType::PTR).await, |data| match data {
                Data::Names(list) => Some(list),
                _ => None,
            })
        })
    }

    fn records<'a>(&'a self, name: &'a str, kind: &'a str) -> BoxFuture<'a, Result<Records, DnsError>> {
        Box::pin(async move {
            let Ok(asked) = kind.parse::<RecordType>() else {
                return Err(DnsError::Failed(format!("{kind} is no type of records")));
            };
            let known = self.look_up(name, asked).await;
            let other = |text: String| Record { kind: kind.to_owned(), data: RecordData::Text(text) };
            let list = match known.as_ref().as_ref().map_err(Clone::clone)? {
                Data::A(list) => list.iter().copied().map(Record::from).collect(),
                Data::Aaaa(list) => list.iter().map(|address| other(address.to_string())).collect(),
                Data::Mx(list) => {
                    list.iter().map(|mx| other(format!("{} {}.", mx.preference, mx.exchange))).collect()
                }
                Data::Names(list) => list.iter().map(|name| other(format!("{name}."))).collect(),
                Data::Texts(list) => {
                    let record = |strings: &Vec<String>| Record {
                        kind: kind.to_owned(),
                        data: RecordData::Strings(strings.clone()),
                    };
                    list.iter().map(record).collect()
                }
                Data::Other(list) => list.clone(),
                Data::NoServers(exists, primary) => {
                    return Ok(Records { list: Vec::new(), zone: Some((*exists, primary.clone())) });
                }
            };
            Ok(Records { list, zone: None })
        })
    }

    fn waited(&self, name: &str) -> Duration {
        let Some(key) = Key::new(name, RecordType::A) else { return Duration::ZERO };
        let asking = self.inner.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.get(&key).map_or(Duration::ZERO, |(_, wait)| {
            let until = wait.until.get().copied().unwrap_or_else(Instant::now);
            until.saturating_duration_since(wait.since)
        })
    }
}

/// Where the system's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Servers taken from the system's list; resolv.conf(5) knows no more than three.
const SYSTEM_SERVERS: usize = 3;

/// The configured servers, or the system's.
fn servers(config: &DnsConfig) -> Result<Vec<SocketAddr>, Vec<Problem>> {
    if config.servers.is_empty() {
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        return Ok(system_servers(&text));
    }
    let mut servers = Vec::new();
    let mut problems = Vec::new();
    for (place, text) in config.servers.iter().enumerate() {
        match parse_server(text) {
            Some(server) => servers.push(server),
            None => problems.push(Problem::new(
                format!("checks.dns.servers[{place}]"),
                format!("“{text}” is not an address such as 127.0.0.1:53 or [::1]:53"),
            )),
        }
    }
    if problems.is_empty() { Ok(servers) } else { Err(problems) }
}

/// `127.0.0.1:5353`, `[::1]:53`, or an address alone, which means port 53.
fn parse_server(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)))
}

/// The `nameserver` lines of resolv.conf(5); without any, the one on this host, as that page says.
fn system_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers: Vec<_> = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .take(SYSTEM_SERVERS)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect();
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { servers }
}

#[cfg(test)]
mod tests;
