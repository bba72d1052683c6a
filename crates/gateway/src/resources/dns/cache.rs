//! What names were found to be: bounded, and kept as long as its zone says, within what the configuration allows.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{Name, RecordType};
use moka::Expiry;

use super::{DnsError, Mx, Record, RecordData};
use crate::config::typed::Dns as DnsConfig;

/// Records of one name and type; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Vec<Ipv4Addr>),
    Aaaa(Vec<Ipv6Addr>),
    Mx(Vec<Mx>),
    /// PTR.
    Names(Vec<String>),
    /// TXT: the strings of each record.
    Texts(Vec<Vec<String>>),
    /// Any other type.
    Other(Vec<Record>),
    /// There are no name servers: whether the name exists, and the first name server of its zone.
    NoServers(bool, String),
}

/// What is known of a name, that it is not known included.
pub(super) type Known = Arc<Result<Data, DnsError>>;

/// How many bytes of an answer count as one entry of the cache.
const ENTRY: usize = 256;

/// Longest name, written with dots and without the last one (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// What is asked: type and name in lower case, in one piece so that looking it up takes nothing from the heap but this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<[u8]>);

impl Key {
    /// The question for a name, absolute, with or without its last dot. None where the DNS can hold no such name.
    pub fn new(name: &str, kind: RecordType) -> Option<Key> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &[u8]| (1..=63).contains(&label.len());
        if name.len() > LONGEST_NAME || !name.as_bytes().split(|&byte| byte == b'.').all(label) {
            return None;
        }
        let mut key = Vec::with_capacity(2 + name.len());
        key.extend(u16::from(kind).to_be_bytes());
        key.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
        Some(Key(key.into()))
    }

    /// Name and type again, as they are sent. Bytes stand for themselves: there are no escapes.
    pub fn query(&self) -> Option<(Name, RecordType)> {
        let (kind, name) = self.0.split_first_chunk::<2>()?;
        let mut name = Name::from_labels(name.split(|&byte| byte == b'.')).ok()?;
        name.set_fqdn(true);
        Some((name, RecordType::from(u16::from_be_bytes(*kind))))
    }
}

/// The cache.
pub(super) struct Cache {
    entries: moka::sync::Cache<Key, Entry>,
    least: Duration,
    most: Duration,
    most_negative: Duration,
    failure: Duration,
}

#[derive(Clone)]
struct Entry {
    known: Known,
    ttl: Duration,
}

/// Each entry has its own time.
struct Own;

impl Expiry<Key, Entry> for Own {
    fn expire_after_create(&self, _: &Key, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl Cache {
    pub fn new(config: &DnsConfig) -> Cache {
        Cache {
            entries: moka::sync::Cache::builder()
                .max_capacity(config.cache.into())
                .weigher(|_, entry: &Entry| weight(&entry.known))
                .expire_after(Own)
                .build(),
            least: config.ttl_min.duration(),
            most: config.ttl_max.duration(),
            most_negative: config.ttl_negative.duration(),
            failure: config.ttl_failure.duration(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<Known> {
        self.entries.get(key).map(|entry| entry.known)
    }

    /// Keeps an answer as long as may be; `ttl` is what its zone says, in seconds. A negative answer without one is not
    /// kept (RFC 2308 section 5), nor is that servers cannot be reached: asking again costs nothing then.
    pub fn keep(&self, key: Key, known: Known, ttl: Option<u32>) {
        let zone = ttl.map(|seconds| Duration::from_secs(seconds.into()));
        let ttl = match &*known {
            Ok(_) => zone.unwrap_or_default().max(self.least).min(self.most),
            Err(why) if why.is_nothing() => zone.unwrap_or_default().min(self.most_negative),
            Err(_) if zone.is_some() => self.failure,
            Err(_) => Duration::ZERO,
        };
        if !ttl.is_zero() {
            self.entries.insert(key, Entry { known, ttl });
        }
    }

    #[cfg(test)]
    pub fn entries(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }
}

/// One for each 256 bytes.
fn weight(known: &Known) -> u32 {
    let bytes = match &**known {
        Ok(Data::A(list)) => list.len() * 4,
        Ok(Data::Aaaa(list)) => list.len() * 16,
        Ok(Data::Mx(list)) => list.iter().map(|mx| mx.exchange.len() + 32).sum(),
        Ok(Data::Names(list)) => list.iter().map(|text| text.len() + 24).sum(),
        Ok(Data::Texts(list)) => list.iter().map(|strings| strings_bytes(strings)).sum(),
        Ok(Data::Other(list)) => list.iter().map(record_bytes).sum(),
        Ok(Data::NoServers(_, name)) => name.len(),
        Err(DnsError::Failed(why)) => why.len(),
        Err(_) => 0,
    };
    u32::try_from(1 + bytes / ENTRY).unwrap_or(u32::MAX)
}

fn strings_bytes(strings: &[String]) -> usize {
    strings.iter().map(|text| text.len() + 24).sum()
}

fn record_bytes(record: &Record) -> usize {
    let own = record.kind.len() + 48;
    match &record.data {
        RecordData::Address(_) => own,
        RecordData::Strings(strings) => own + strings_bytes(strings),
        RecordData::Text(text) => own + text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Seconds;

    fn key(name: &str) -> Key {
        Key::new(name, RecordType::A).unwrap()
    }

    #[test]
    fn names_are_questions_or_errors() {
        let long = "a.".repeat(126) + "a";
        let label = "x".repeat(63);
        for good in
            ["a", "A.example.", "_dmarc.a.example", "a b.example", "\u{e9}.example", "a\\.b", &long, &label]
        {
            assert!(Key::new(good, RecordType::A).is_some_and(|key| key.query().is_some()), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a..b", "a..", &format!("{long}a.b"), &format!("{label}x.example")] {
            assert!(Key::new(bad, RecordType::A).is_none(), "{bad}");
        }
        assert_eq!(key("A.Example."), key("a.example"));
        assert_ne!(key("a.example"), Key::new("a.example", RecordType::TXT).unwrap());
        let (name, kind) = Key::new("a\\.b.example", RecordType::PTR).unwrap().query().unwrap();
        assert_eq!((name.num_labels(), kind, name.is_fqdn()), (3, RecordType::PTR, true));
    }

    #[test]
    fn how_long_answers_are_kept() {
        let config =
            DnsConfig { ttl_min: Seconds::new(0), ttl_max: Seconds::new(60), ..DnsConfig::default() };
        let floor = DnsConfig { ttl_min: Seconds::new(5), ..config.clone() };
        let there = || Arc::new(Ok(Data::A(vec![Ipv4Addr::LOCALHOST])));
        let failed = || Arc::new(Err(DnsError::Failed(String::new())));
        for (config, known, ttl, kept) in [
            (&config, there(), Some(30), Some(30)),
            (&config, there(), Some(3000), Some(60)),
            (&config, there(), Some(0), None),
            (&floor, there(), Some(0), Some(5)),
            (&floor, Arc::new(Err(DnsError::NoName)), Some(0), None),
            (&config, Arc::new(Err(DnsError::NoName)), Some(10_000), Some(3600)),
            (&config, Arc::new(Err(DnsError::NoData)), None, None),
            (&config, Arc::new(Err(DnsError::Timeout)), Some(0), Some(30)),
            (&config, failed(), Some(0), Some(30)),
            (&config, failed(), None, None),
        ] {
            let cache = Cache::new(config);
            cache.keep(key("a"), known.clone(), ttl);
            let found = cache.entries.get(&key("a")).map(|entry| entry.ttl.as_secs());
            assert_eq!(found, kept, "{known:?} {ttl:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::new(&DnsConfig { cache: 100, ..DnsConfig::default() });
        for number in 0..1000 {
            cache.keep(key(&format!("{number}.example")), Arc::new(Err(DnsError::NoName)), Some(60));
        }
        assert!((1..=100).contains(&cache.entries()), "{}", cache.entries());

        let cache = Cache::new(&DnsConfig { cache: 100, ..DnsConfig::default() });
        for number in 0..100 {
            let text = Arc::new(Ok(Data::Texts(vec![vec!["x".repeat(60_000)]])));
            cache.keep(key(&format!("{number}.example")), text, Some(60));
        }
        assert_eq!(cache.entries(), 0, "each is worth more than all the room there is");
    }
}
