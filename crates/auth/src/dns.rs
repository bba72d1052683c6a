//! Name look-ups, as a trait.

mod table;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use table::Table;

/// What a look-up gives.
pub type Lookup<'a, T> = BoxFuture<'a, Result<Vec<T>, DnsError>>;

/// Looks names up. Names are absolute, with or without the final dot; whatever is no name is an error of the look-up,
/// never a panic. An answer is never empty: what has no records is [`DnsError::NoData`].
pub trait Resolve: Send + Sync {
    /// IPv4 addresses.
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr>;

    /// IPv6 addresses.
    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr>;

    /// Mail exchangers, in the order of their preference. A null MX (RFC 7505) is one whose exchange is empty.
    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx>;

    /// Texts; the strings of one record joined, what is not UTF-8 replaced by U+FFFD.
    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String>;

    /// Names of an address, without the final dot. They are claims: whoever holds the address may write what they like.
    fn ptr(&self, address: IpAddr) -> Lookup<'_, String>;

    /// Records of any type, by its name in capital letters (RFC 1035 section 3.2.2): `A`, `TXT`, `NS`, `ANY` …. Unlike with the
    /// others, an answer may be empty: where there are no name servers, but the zone is told. This way of asking knows no
    /// types but A, AAAA, MX and TXT, whose strings it joins; who asks name servers has one of his own.
    fn records<'a>(&'a self, name: &'a str, kind: &'a str) -> BoxFuture<'a, Result<Records, DnsError>> {
        Box::pin(async move {
            let records = |list| Records { list, ..Records::default() };
            let other = |text: String| Record { kind: kind.to_owned(), data: RecordData::Text(text) };
            match kind {
                "A" => self.a(name).await.map(|list| records(list.into_iter().map(Record::from).collect())),
                "AAAA" => {
                    let list = self.aaaa(name).await?;
                    Ok(records(list.into_iter().map(|address| other(address.to_string())).collect()))
                }
                "MX" => {
                    let list = self.mx(name).await?;
                    let text = |mx: Mx| format!("{} {}.", mx.preference, mx.exchange);
                    Ok(records(list.into_iter().map(|mx| other(text(mx))).collect()))
                }
                "TXT" => {
                    let list = self.txt(name).await?;
                    let text = |text| Record { kind: kind.to_owned(), data: RecordData::Strings(vec![text]) };
                    Ok(records(list.into_iter().map(text).collect()))
                }
                _ => Err(DnsError::Failed(format!("records of the type {kind} cannot be looked up"))),
            }
        })
    }

    /// How long a question for IPv4 addresses that has no answer yet has waited to be sent: time that is nobody else's
    /// fault. Zero for what is not asked.
    fn waited(&self, _name: &str) -> Duration {
        Duration::ZERO
    }
}

/// Records of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The records.
    pub list: Vec<Record>,
    /// Where there are no name servers: whether the name is there, and the first name server of the zone that it is in, without
    /// the final dot (RFC 2308 section 2).
    pub zone: Option<(bool, String)>,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its type, in capital letters.
    pub kind: String,
    /// What it says.
    pub data: RecordData,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// The strings of a text, what is not UTF-8 replaced by U+FFFD.
    Strings(Vec<String>),
    /// Anything else, as zone files have it; names with their final dot.
    Text(String),
}

impl From<Ipv4Addr> for Record {
    fn from(address: Ipv4Addr) -> Record {
        Record { kind: "A".to_owned(), data: RecordData::Address(address) }
    }
}

/// A mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower ones are tried first.
    pub preference: u16,
    /// Its name without the final dot; empty for a null MX.
    pub exchange: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// There is no such name (NXDOMAIN).
    NoName,
    /// The name is there, without records of this type.
    NoData,
    /// No server answered in time.
    Timeout,
    /// Anything else: SERVFAIL, REFUSED, an answer that makes no sense.
    Failed(String),
}

impl DnsError {
    /// The servers have answered, and there is nothing.
    pub fn is_nothing(&self) -> bool {
        matches!(self, DnsError::NoName | DnsError::NoData)
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsError::NoName => f.write_str("no such name"),
            DnsError::NoData => f.write_str("no records of this type"),
            DnsError::Timeout => f.write_str("no name server answered in time"),
            DnsError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DnsError {}

/// The name under which the names of an address are: `1.2.0.192.in-addr.arpa` (RFC 1035 section 3.5, RFC 3596).
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => format!("{}in-addr.arpa", backwards(address)),
        IpAddr::V6(_) => format!("{}ip6.arpa", backwards(address)),
    }
}

/// An address as labels of a name, its last byte or nibble first, each with a dot behind it: `1.2.0.192.`.
pub fn backwards(address: IpAddr) -> String {
    let mut name = String::with_capacity(73);
    // Writing to a String cannot fail.
    match address {
        IpAddr::V4(v4) => v4.octets().iter().rev().for_each(|byte| _ = write!(name, "{byte}.")),
        IpAddr::V6(v6) => {
            v6.octets().iter().rev().for_each(|byte| _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4));
        }
    }
    name
}
