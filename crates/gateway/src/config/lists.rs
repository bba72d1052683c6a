//! Keys of look-ups in the DNS, of DNS lists, and of lists in files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gatepost_mail::{Category, OnFault, Points};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Seconds;

/// How names are looked up: one resolver, with one cache, for everything.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers, `127.0.0.1:53`, in the order they are asked; the next is asked where one does not answer, or cannot
    /// (SERVFAIL, REFUSED). Empty: those of the system. Many lists refuse public resolvers: best is one of your own on
    /// this host.
    pub servers: Vec<String>,
    /// Longest to wait for one server's answer.
    pub time: Seconds,
    /// Answers kept in memory; one longer than 256 bytes counts for several.
    pub cache: u32,
    /// Answers are kept at least so long, even where their zone says less. Keep it short: block lists change quickly.
    pub ttl_min: Seconds,
    /// Answers are kept no longer than this, even where their zone says more.
    pub ttl_max: Seconds,
    /// That a name does not exist, or has no such records, is kept no longer than this (RFC 2308 section 5 suggests one to
    /// three hours).
    pub ttl_negative: Seconds,
    /// That a name cannot be looked up (SERVFAIL, no answer) is kept so long, so that a zone that is broken does not cost
    /// its timeout each time. At most 5 minutes (RFC 9520).
    pub ttl_failure: Seconds,
    /// Questions on the way at once; further ones wait their turn. Each needs a socket.
    pub at_once: u32,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            servers: Vec::new(),
            time: Seconds::new(3),
            cache: 10_000,
            ttl_min: Seconds::new(0),
            ttl_max: Seconds::new(86_400),
            ttl_negative: Seconds::new(3600),
            ttl_failure: Seconds::new(30),
            at_once: 500,
        }
    }
}

/// Asked for what `of` names: addresses, or the domains that a session and its envelope tell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dnsbl {
    /// Its zone: `zen.spamhaus.org`, or with the key that you were given `{key}.zen.dq.spamhaus.net`. Headers, replies and
    /// records say the list's name instead.
    pub zone: String,
    /// What stands for `{key}` in the zone; `{ file = "/path" }` keeps it out of the configuration.
    pub key: String,
    /// Whether it lists the bad (`block`) or the good (`allow`).
    pub kind: ListKind,
    /// What is looked up in it. `client` makes it a list of addresses; all others ask for domains, and such a list cannot
    /// be one of addresses, too.
    pub of: Vec<Subject>,
    /// Kinds of addresses that it knows, for `of = ["client"]`.
    pub addresses: AddressKinds,
    /// Which answers count: `127.0.0.2`, `127.0.0.4-7`, `127.0.0.0/28`, or `&8` for those with this bit in their last byte.
    /// Empty: those in `codes`, or without these, every answer in 127.0.0.0/8 that is not among `errors`.
    pub answers: Vec<String>,
    /// What single answers mean, in the forms of `answers`: `codes."127.0.0.2" = { symbol = "SBL", weight = 2 }`. Each that
    /// fits adds its own symbol, `DNSBL_NAME_SBL`.
    pub codes: BTreeMap<String, ListCode>,
    /// Answers by which the list says that it refuses to answer, besides 127.255.255.0/24, which always does: a failure, never
    /// a listing.
    pub errors: Vec<String>,
    /// Points that a listing adds. Without it 3, and -3 for `kind = "allow"`; 0 where any of the `codes` has a weight.
    pub weight: Option<Points>,
    /// A listing alone puts the mail in this category (`spam` refuses it outright in the default policy).
    pub category: Option<Category>,
    /// A listing is reason enough to refuse: it is `spam` unless `category` says otherwise, and `reject_rbl_client NAME` may
    /// name the list. For lists that you trust that much.
    pub refuse: bool,
    /// Ask for the list's explanation (TXT) of a listing.
    pub explain: bool,
    /// Try the list out at start and every hour (RFC 5782 section 5): it must list 127.0.0.2 (a list of domains: `TEST`) and must
    /// not list 127.0.0.1 (`INVALID`). One that fails is not used until it passes. Turn it off only for a list that has no
    /// test entries.
    pub test: bool,
    /// What it must list, where that is another entry: `test.uribl.com`.
    pub test_entry: String,
    /// Longest to wait.
    pub time: Seconds,
    /// What happens when the list does not answer.
    pub on_fault: OnFault,
}

/// Stands for the key in a zone.
const KEY: &str = "{key}";

/// Labels of a zone that are at least so long are taken for keys.
const KEY_LENGTH: usize = 16;

impl Dnsbl {
    /// The zone with its key, in lower case without the final dot.
    pub fn full_zone(&self) -> String {
        self.zone.replace(KEY, &self.key).trim().trim_end_matches('.').to_ascii_lowercase()
    }

    /// What of the zone nobody else may read, in lower case: the key, and what looks like one.
    pub fn secrets(&self) -> Vec<String> {
        let zone = self.full_zone();
        let long = zone.split('.').filter(|label| label.len() >= KEY_LENGTH).map(str::to_owned);
        let key = self.key.trim().to_ascii_lowercase();
        long.chain(Some(key).filter(|key| !key.is_empty())).collect()
    }

    /// What is wrong with `key`, if anything.
    pub fn key_problem(&self) -> Option<&'static str> {
        match (self.zone.contains(KEY), self.key.trim().is_empty()) {
            (true, true) => Some("is missing: the zone has {key} in it"),
            (false, false) => Some("has no place: write {key} where it belongs in the zone"),
            _ => None,
        }
    }
}

/// What one answer of a list means.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListCode {
    /// What is put behind the list's symbol: `SBL` makes `DNSBL_NAME_SBL`.
    pub symbol: String,
    /// Points that it adds to those of the list.
    pub weight: Points,
    /// This answer alone puts the mail in this category.
    pub category: Option<Category>,
    /// This answer is reason enough to refuse.
    pub refuse: bool,
}

/// Whom a list names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListKind {
    /// The bad.
    #[default]
    Block,
    /// The good.
    Allow,
}

/// What is looked up in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The client's address.
    Client,
    /// The name that the client calls itself.
    Helo,
    /// The envelope sender's domain, or address.
    Sender,
    /// The client's name, where its address leads to the name and the name back to the address.
    ReverseName,
    /// A recipient's domain, or address.
    Recipient,
}

impl Subject {
    /// What it is called in evidence.
    pub const fn words(self) -> &'static str {
        match self {
            Subject::Client => "client",
            Subject::Helo => "HELO",
            Subject::Sender => "sender",
            Subject::ReverseName => "reverse name",
            Subject::Recipient => "recipient",
        }
    }
}

/// Kinds of addresses that a list knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressKinds {
    /// IPv4 and IPv6; only its IPv4 test entries are asked for.
    #[default]
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Default for Dnsbl {
    fn default() -> Dnsbl {
        Dnsbl {
            zone: String::new(),
            key: String::new(),
            kind: ListKind::Block,
            of: vec![Subject::Client],
            addresses: AddressKinds::Both,
            answers: Vec::new(),
            codes: BTreeMap::new(),
            errors: vec!["127.0.0.1".into(), "127.0.0.255".into()],
            weight: None,
            category: None,
            refuse: false,
            explain: true,
            test: true,
            test_entry: String::new(),
            time: Seconds::new(5),
            on_fault: OnFault::Accept,
        }
    }
}

/// Addresses, networks, domains and mail addresses, one a line; looked up for everybody, our own networks included. Files
/// are read again when they change; one with a mistake in it is not taken, what was read before stays.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalList {
    /// Its files.
    pub files: Vec<PathBuf>,
    /// How they are written.
    pub format: ListFormat,
    /// Whether it lists the bad (`block`) or the good (`allow`).
    pub kind: ListKind,
    /// What is looked up in it: `client` among its addresses and networks, `helo` and `reverse-name` among its domains,
    /// `sender` and `recipient` among its domains and mail addresses.
    pub of: Vec<Subject>,
    /// Points that a listing adds. Without it 3, and -3 for `kind = "allow"`.
    pub weight: Option<Points>,
    /// A listing alone puts the mail in this category.
    pub category: Option<Category>,
    /// A listing is reason enough to refuse: it is `spam` unless `category` says otherwise.
    pub refuse: bool,
}

/// How the files of a list are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListFormat {
    /// One a line: `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`, `example.org` (and not its subdomains), `.example.org`
    /// (subdomains only), `user@example.org`. What follows behind a space is shown as the reason; `#` begins a comment.
    #[default]
    Plain,
    /// Of rbldnsd: addresses, networks and ranges, `!` excludes, `:127.0.0.2:text` gives the reason.
    Ip4set,
    /// Of rbldnsd: domains, `.example.org` with its subdomains, `*.example.org` subdomains only, `!` excludes.
    Dnset,
}

impl Default for LocalList {
    fn default() -> LocalList {
        LocalList {
            files: Vec::new(),
            format: ListFormat::Plain,
            kind: ListKind::Block,
            of: vec![Subject::Client],
            weight: None,
            category: None,
            refuse: false,
        }
    }
}
