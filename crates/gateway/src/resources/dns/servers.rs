//! Asks name servers: the first that can answer does; chains of aliases are followed to their end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_resolver::config::{NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::cache::Data;
use super::{DnsError, Mx, Record as Told, RecordData};

/// Aliases (CNAME) that lead to a name, at most.
const ALIASES: usize = 10;

/// Records that are taken of one answer, at most.
const RECORDS: usize = 1000;

/// How long a server that did not answer is asked after all others.
const SILENT: Duration = Duration::from_secs(30);

/// Queries in flight on one TCP connection to a name server; beyond it a look-up fails at once.
const QUERIES_PER_CONNECTION: usize = 512;

/// What a look-up came to, and how long its zone lets it be kept, in seconds. For a failure, None says that nothing was
/// learnt that is worth keeping.
pub(super) type Resolved = (Result<Data, DnsError>, Option<u32>);

/// The name servers, in the order they are asked.
pub(super) struct Servers {
    list: Vec<Server>,
    time: Duration,
    began: Instant,
}

struct Server {
    address: SocketAddr,
    /// Of this server alone, so that each has its own time and the next is asked for every reason there may be.
    pool: NameServerPool<TokioRuntimeProvider>,
    /// Until when others are asked first: milliseconds after `began`.
    silent_until: AtomicU64,
}

/// What one server said.
enum Said {
    Answer(Message),
    Nothing { name_exists: bool, ttl: Option<u32>, primary: Option<String> },
    Failed(String),
    Silent,
    Unreachable(String),
}

impl Servers {
    pub fn new(addresses: Vec<SocketAddr>, time: Duration) -> Result<Servers, String> {
        let mut options = ResolverOpts::default();
        options.timeout = time;
        options.attempts = 0;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = QUERIES_PER_CONNECTION;
        let tls = TlsConfig::new().map_err(|why| why.to_string())?;
        let context = Arc::new(PoolContext::new(options, tls));
        let server = |address| Server {
            address,
            pool: NameServerPool::from_config(
                [name_server(address)],
                context.clone(),
                TokioRuntimeProvider::default(),
            ),
            silent_until: AtomicU64::new(0),
        };
        Ok(Servers { list: addresses.into_iter().map(server).collect(), time, began: Instant::now() })
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.list.iter().map(|server| server.address).collect()
    }

    /// The records of a name, whatever it is an alias of.
    pub async fn resolve(&self, name: Name, kind: RecordType) -> Resolved {
        let mut way = Way { names: vec![name], ttl: u32::MAX };
        loop {
            let message = match self.ask(way.last(), kind).await {
                Said::Answer(message) => message,
                Said::Nothing { name_exists, ttl, primary } => {
                    return match primary.filter(|_| kind == RecordType::NS) {
                        Some(primary) => (Ok(Data::NoServers(name_exists, primary)), ttl),
                        None => way.nothing(name_exists, ttl),
                    };
                }
                Said::Failed(why) => return (Err(DnsError::Failed(why)), Some(0)),
                Said::Silent => return (Err(DnsError::Timeout), Some(0)),
                Said::Unreachable(why) => return (Err(DnsError::Failed(why)), None),
            };
            let before = way.names.len();
            // Who asks for the alias itself is not led on.
            let led_on = !matches!(kind, RecordType::CNAME | RecordType::ANY);
            if led_on && let Err(why) = way.follow(&message) {
                return (Err(DnsError::Failed(why)), Some(0));
            }
            if let Some((data, ttl)) = data(&message, way.last(), kind) {
                return (Ok(data), Some(way.ttl.min(ttl)));
            }
            // The end of the chain is told with what says that there is nothing; without it, it is asked for.
            let ttl = negative_ttl(&message);
            if message.response_code == ResponseCode::NXDomain || ttl.is_some() || way.names.len() == before {
                return way.nothing(message.response_code != ResponseCode::NXDomain, ttl);
            }
        }
    }

    /// Asks one server after the other until one can tell. Of several failures, the most telling is told.
    async fn ask(&self, name: &Name, kind: RecordType) -> Said {
        let now = self.now();
        let silent = |server: &&Server| server.silent_until.load(Ordering::Relaxed) > now;
        let (last, first): (Vec<_>, Vec<_>) = self.list.iter().partition(silent);
        let mut worst = Said::Unreachable("there is no name server to ask".into());
        for server in first.into_iter().chain(last) {
            match self.ask_one(server, name, kind).await {
                said @ (Said::Answer(_) | Said::Nothing { .. }) => {
                    server.silent_until.store(0, Ordering::Relaxed);
                    return said;
                }
                said @ Said::Failed(_) => worst = said,
                said => {
                    let until = self.now() + SILENT.as_millis() as u64;
                    server.silent_until.store(until, Ordering::Relaxed);
                    if matches!((&worst, &said), (Said::Unreachable(_), _)) {
                        worst = said;
                    }
                }
            }
        }
        worst
    }

    async fn ask_one(&self, server: &Server, name: &Name, kind: RecordType) -> Said {
        let query = Query::query(name.clone(), kind);
        let answer = server.pool.lookup(query, DnsRequestOptions::default()).first_answer();
        let at = server.address;
        match tokio::time::timeout(self.time, answer).await {
            Err(_) | Ok(Err(NetError::Timeout)) => Said::Silent,
            Ok(Ok(response)) => Said::Answer(response.into_message()),
            Ok(Err(NetError::Dns(NetDnsError::NoRecordsFound(none)))) => match none.response_code {
                ResponseCode::NXDomain => {
                    Said::Nothing { name_exists: false, ttl: none.negative_ttl, primary: primary(&none.soa) }
                }
                // Who refers us to others resolves for nobody: that is not “no records”.
                ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => {
                    Said::Failed(format!("{at} refers to other servers instead of answering"))
                }
                ResponseCode::NoError => {
                    Said::Nothing { name_exists: true, ttl: none.negative_ttl, primary: primary(&none.soa) }
                }
                code => Said::Failed(code_text(code)),
            },
            Ok(Err(NetError::Dns(NetDnsError::ResponseCode(code)))) => Said::Failed(code_text(code)),
            Ok(Err(NetError::Busy)) => Said::Unreachable(super::TOO_MANY.into()),
            Ok(Err(why @ (NetError::Io(_) | NetError::NoConnections))) => {
                Said::Unreachable(format!("name server {at}: {why}"))
            }
            Ok(Err(why)) => Said::Failed(format!("name server {at}: {why}")),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - SILENT.as_millis() as u64)
    }
}

/// A name and what it is an alias of, step by step.
struct Way {
    /// Never empty.
    names: Vec<Name>,
    /// Shortest of the aliases.
    ttl: u32,
}

impl Way {
    fn last(&self) -> &Name {
        &self.names[self.names.len() - 1]
    }

    /// Goes on as far as the aliases in a message lead.
    fn follow(&mut self, message: &Message) -> Result<(), String> {
        let alias = |name: &Name| {
            message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(to) if record.name == *name => Some((to.0.clone(), record.ttl)),
                _ => None,
            })
        };
        while let Some((to, ttl)) = alias(self.last()) {
            if self.names.contains(&to) {
                return Err(format!("its aliases (CNAME) go round in a circle at {to}"));
            }
            if self.names.len() > ALIASES {
                return Err(format!("it is an alias (CNAME) of an alias, more than {ALIASES} times"));
            }
            self.ttl = self.ttl.min(ttl);
            self.names.push(to);
        }
        Ok(())
    }

    fn nothing(&self, name_exists: bool, ttl: Option<u32>) -> Resolved {
        let why = if name_exists { DnsError::NoData } else { DnsError::NoName };
        (Err(why), ttl.map(|ttl| ttl.min(self.ttl)))
    }
}

/// The records that were asked for, and their shortest time.
fn data(message: &Message, name: &Name, kind: RecordType) -> Option<(Data, u32)> {
    let wanted =
        |record: &&Record| (kind == RecordType::ANY || record.record_type() == kind) && record.name == *name;
    let records: Vec<&Record> = message.answers.iter().filter(wanted).take(RECORDS).collect();
    let ttl = records.iter().map(|record| record.ttl).min()?;
    let records = records.into_iter().map(|record| &record.data);
    let data = match kind {
        RecordType::A => Data::A(
            records.filter_map(|data| if let RData::A(a) = data { Some(a.0) } else { None }).collect(),
        ),
        RecordType::AAAA => Data::Aaaa(
            records.filter_map(|data| if let RData::AAAA(a) = data { Some(a.0) } else { None }).collect(),
        ),
        RecordType::MX => {
            let exchanger = |data: &RData| match data {
                RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: host(&mx.exchange) }),
                _ => None,
            };
            let mut list: Vec<Mx> = records.filter_map(exchanger).collect();
            list.sort();
            Data::Mx(list)
        }
        RecordType::PTR => Data::Names(
            records
                .filter_map(|data| if let RData::PTR(name) = data { Some(host(name)) } else { None })
                .collect(),
        ),
        RecordType::TXT => Data::Texts(
            records
                .filter_map(|data| if let RData::TXT(text) = data { Some(strings(text)) } else { None })
                .collect(),
        ),
        _ => Data::Other(records.map(told).collect()),
    };
    Some((data, ttl))
}

fn strings(text: &TXT) -> Vec<String> {
    text.txt_data.iter().map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

/// A record for whoever asks for any type, as zone files have it.
fn told(data: &RData) -> Told {
    let told = match data {
        RData::A(a) => return Told::from(a.0),
        RData::TXT(text) => RecordData::Strings(strings(text)),
        other => RecordData::Text(other.to_string()),
    };
    Told { kind: data.record_type().to_string(), data: told }
}

/// The first name server of a zone.
fn primary(soa: &Option<Box<Record<SOA>>>) -> Option<String> {
    soa.as_ref().map(|soa| host(&soa.data.mname))
}

/// How long it may be kept that there is nothing (RFC 2308 section 5).
fn negative_ttl(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// A name as text, without the final dot.
fn host(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// A code by the name that it has in every tool.
fn code_text(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".into(),
        code => format!("{code:?}").to_uppercase(),
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
