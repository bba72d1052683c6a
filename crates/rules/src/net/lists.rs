//! The tables that rules of the network are kept in.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Kind;
use super::subtest::{AskTest, Numeric, RelayTest};
use crate::conf::Definition;
use crate::regex::Matcher;
use crate::texts::Registry;

/// The most labels of a name that restrictions are looked up for.
const MOST_PARENTS: usize = 20;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Rules that answers can make hit; the others are their places in here.
    pub rules: Vec<Rule>,
    pub problems: Vec<(String, String)>,
    pub time: Duration,
    // DNSEval
    pub relays: Vec<RelayRule>,
    /// `check_rbl_sub`, by the set.
    pub subs: HashMap<Box<str>, Vec<(usize, RelayTest)>>,
    // URIDNSBL
    pub uris: Option<Uris>,
    // AskDNS
    pub asks: Vec<AskRule>,
    // ASN
    pub zones: Vec<AsnZone>,
    pub asn_prefix: String,
    pub asn_rules: Vec<AsnRule>,
    // HashBL
    pub hashes: Vec<HashRule>,
    pub hashing: Hashing,
    /// Rules of URILocalBL.
    pub blocks_of: Vec<usize>,
    /// Domains that are not asked, of URIDNSBL and HashBL.
    pub skipped: HashSet<String>,
    /// Rules that set tags which are asked for.
    pub captures: Vec<Capture>,
    /// `dns_query_restriction`: whether a domain may not be asked.
    pub restricted: HashMap<String, bool>,
    /// `dns_block_rule`: the domains that are not asked for a while when a rule has hit.
    pub blocks: HashMap<usize, Vec<String>>,
    pub block_time: Duration,
    pub blocked: Mutex<HashMap<String, Instant>>,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: Box<str>,
    /// A function of it is called, and answers for it.
    pub called: bool,
    /// With what SpamAssassin's report puts before it.
    pub description: Option<String>,
    pub nice: bool,
    pub domains_only: bool,
    pub ips_only: bool,
    pub notrim: bool,
    /// `a`, `ns`
    pub of_hosts: bool,
    pub of_servers: bool,
}

/// A rule of DNSEval.
#[derive(Debug)]
pub(super) struct RelayRule {
    pub rule: usize,
    pub what: What,
    pub set: Box<str>,
    pub server: Box<str>,
    pub kind: Kind,
    pub test: Option<RelayTest>,
}

/// What a rule of DNSEval asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Addresses of relays.
    Relays,
    /// The same, if that one vouches for the sender.
    Accredited(Box<str>),
    /// Hosts of the addresses that it is from; their domains.
    FromHost,
    FromDomain,
    Sender,
    /// What stands in these fields.
    Headers(Vec<Box<str>>),
    /// The name server of the sender's domain.
    Servers,
    /// All that is told of the first relay.
    Received,
}

/// URIDNSBL.
#[derive(Debug, Default)]
pub(super) struct Uris {
    pub lists: Vec<UriList>,
    pub most: usize,
    pub skip_mail: bool,
    /// For names of servers: only what others register below.
    pub registry: Registry,
}

/// A list of URIDNSBL.
#[derive(Debug)]
pub(super) struct UriList {
    pub rule: usize,
    pub zone: Box<str>,
    pub kind: Kind,
    pub of: UriOf,
    pub test: Option<Numeric>,
}

/// What a list of URIDNSBL is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UriOf {
    /// Domains of addresses.
    Domain,
    /// Domains of their name servers.
    ServerDomain,
    /// Names of their name servers.
    Server,
    /// Addresses of hosts, of name servers.
    Address,
}

/// A rule of AskDNS.
#[derive(Debug)]
pub(super) struct AskRule {
    pub rule: usize,
    pub template: Box<str>,
    /// The tags in it, sorted.
    pub tags: Vec<String>,
    pub kinds: Vec<Kind>,
    pub test: Option<AskTest>,
}

/// A zone that tells numbers of networks.
#[derive(Debug)]
pub(super) struct AsnZone {
    pub zone: Box<str>,
    pub v6: bool,
    pub tag: String,
    pub route: String,
}

/// `check_asn`.
#[derive(Debug)]
pub(super) struct AsnRule {
    pub rule: usize,
    pub matcher: Matcher,
    pub tag: String,
}

/// A rule of HashBL.
#[derive(Debug)]
pub(super) struct HashRule {
    pub rule: usize,
    pub what: Hashed,
    pub zone: Box<str>,
    pub kind: Kind,
    pub options: HashMap<String, String>,
    pub test: Option<Matcher>,
}

/// What a rule of HashBL hashes.
#[derive(Debug)]
pub(super) enum Hashed {
    /// Addresses of mail: where from, and of which domains (`hashbl_acl_…`).
    Emails {
        from: Vec<String>,
        domains: Option<Domains>,
    },
    Uris,
    /// What an expression finds in the body, decoded or rendered.
    Body {
        matcher: Matcher,
        raw: bool,
    },
    Tag(String),
    Attachments,
}

/// The domains of an `hashbl_acl_…`.
#[derive(Debug)]
pub(super) enum Domains {
    All,
    These(HashSet<String>),
}

/// Settings of HashBL.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    pub ignored: HashSet<String>,
    pub aliases: HashMap<String, String>,
    /// `hashbl_email_regex`, `hashbl_email_welcomelist`; None: as they are by default.
    pub email: Option<Matcher>,
    pub welcome: Option<Matcher>,
}

/// A rule that sets tags.
#[derive(Debug)]
pub(super) struct Capture {
    pub definition: Definition,
    pub matcher: Matcher,
    pub most: usize,
    pub no_subject: bool,
}

impl Lists {
    /// Domains that are not asked just now, since a list has said that we ask too much.
    pub fn blocked_now(&self) -> Vec<String> {
        if self.blocks.is_empty() {
            return Vec::new();
        }
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.retain(|_, since| since.elapsed() <= self.block_time);
        blocked.keys().cloned().collect()
    }

    /// These rules have hit.
    pub fn block(&self, hits: impl Iterator<Item = usize>) {
        for domain in hits.filter_map(|rule| self.blocks.get(&rule)).flatten() {
            let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
            blocked.entry(domain.clone()).or_insert_with(Instant::now);
        }
    }

    /// Whether a name may be asked for: the longest domain that is configured decides.
    pub fn may_ask(&self, name: &str, blocked: &[String]) -> bool {
        if self.restricted.is_empty() && blocked.is_empty() {
            return true;
        }
        let mut parents = vec![name];
        while let Some((_, parent)) = parents.last().and_then(|name| name.split_once('.')) {
            parents.push(parent);
        }
        let first = parents.len().saturating_sub(MOST_PARENTS);
        let mut off = false;
        for parent in parents[first..].iter().copied().chain(["*"]) {
            if let Some(denied) = self.restricted.get(parent) {
                return !denied && !off;
            }
            off |= blocked.iter().any(|domain| domain == parent);
        }
        !off
    }
}
