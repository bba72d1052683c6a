//! Rules that ask the DNS: URIDNSBL, DNSEval, AskDNS, ASN, HashBL and URILocalBL.
//!
//! `Net` is made once of a rule set; `Net::plan` says which questions one message raises. Whoever can ask them hands in the
//! replies, one by one and in any order (`Plan::reply`); a reply may raise more questions (the name servers of a domain, then
//! the list). `Plan::finish` says what it all means, as SpamAssassin 4.0.1 does. Here nothing is asked, and nobody waited for.
//!
//! A question is asked once, however many rules wait for its answer. There is a bound on their number, so that a message that
//! is made of thousands of names costs no more than another.

mod ask;
mod asn;
mod block;
mod emails;
mod hash;
mod lists;
mod read;
mod relay;
mod subtest;
mod tags;
#[cfg(test)]
mod tests;
mod uri;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conf::RuleSet;
use crate::engine::{Answer, ScoreSet};
use crate::evals::Known;
use crate::texts::{Blocks, Countries, Texts, idn_to_ascii};

use lists::Lists;
pub use subtest::code as response_code;

/// The most questions that one message raises; it would have to be made for it to raise more.
pub const MAX_QUERIES: usize = 500;
/// The longest name (RFC 1035 section 2.3.4), written with dots.
const MAX_NAME: usize = 253;
/// The most that is told of why a rule hit.
const MAX_FOUND: usize = 10;

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(&'static str);

impl Kind {
    /// IPv4 addresses.
    pub const A: Kind = Kind("A");
    /// IPv6 addresses.
    pub const AAAA: Kind = Kind("AAAA");
    /// Texts.
    pub const TXT: Kind = Kind("TXT");
    /// Name servers.
    pub const NS: Kind = Kind("NS");
    /// As a question: whatever there is.
    pub const ANY: Kind = Kind("ANY");
    /// As a record: a type that no rule asks for by name.
    pub const OTHER: Kind = Kind("OTHER");

    /// The types that rules may name.
    const NAMES: [&'static str; 30] = [
        "ANY",
        "A",
        "AAAA",
        "MX",
        "TXT",
        "PTR",
        "NAPTR",
        "NS",
        "SOA",
        "CERT",
        "CNAME",
        "DNAME",
        "DHCID",
        "HINFO",
        "MINFO",
        "RP",
        "HIP",
        "IPSECKEY",
        "KX",
        "LOC",
        "GPOS",
        "SRV",
        "OPENPGPKEY",
        "SSHFP",
        "SPF",
        "TLSA",
        "URI",
        "CAA",
        "CSYNC",
        "OTHER",
    ];

    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Kind> {
        let known = Kind::NAMES.iter().find(|known| known.eq_ignore_ascii_case(name))?;
        (*known != "OTHER").then_some(Kind(known))
    }

    /// Its name, in capital letters.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// The name: in ASCII and lower case, absolute, without its last dot, no label empty or too long.
    pub name: String,
    /// The type of the records.
    pub kind: Kind,
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

/// What a name server said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The response code (RFC 6895 section 2.3): 0 no error, 2 SERVFAIL, 3 NXDOMAIN.
    pub code: u16,
    /// The records.
    pub records: Vec<Record>,
    /// Where there are no such records: the zone's first name server, by its SOA record.
    pub primary: Option<String>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: Kind,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// The strings of a text.
    Strings(Vec<String>),
    /// Anything else, as zone files have it; names with their last dot.
    Text(String),
}

impl Record {
    /// What it says in one text, its strings joined without anything between them (RFC 7208 section 3.3).
    pub fn text(&self) -> Cow<'_, str> {
        match &self.data {
            Data::Address(address) => address.to_string().into(),
            Data::Strings(strings) => strings.concat().into(),
            Data::Text(text) => text.into(),
        }
    }
}

/// The rules of one rule set that ask the DNS.
#[derive(Debug, Clone, Default)]
pub struct Net {
    lists: Arc<Lists>,
}

impl Net {
    /// Made ready for a score set: rules without points in it ask nothing.
    pub fn new(rules: &RuleSet, set: ScoreSet) -> Net {
        Net { lists: Arc::new(read::lists(rules, set)) }
    }

    /// How many rules ask.
    pub fn rules(&self) -> usize {
        self.lists.rules.len()
    }

    /// How long SpamAssassin waits for all of them (`rbl_timeout`), within a second and a minute.
    pub fn time(&self) -> Duration {
        self.lists.time
    }

    /// Rules that cannot ask, and why.
    pub fn problems(&self) -> &[(String, String)] {
        &self.lists.problems
    }

    /// The questions of one message. Tags that are known (`Known::tags`) stand in names that are asked for.
    pub fn plan(&self, texts: &Texts<'_>, known: &Known) -> Plan {
        self.plan_until(texts, known, None)
    }

    /// The same; rules that are still looking for what to ask by then are faults.
    pub fn plan_until(&self, texts: &Texts<'_>, known: &Known, end: Option<Instant>) -> Plan {
        let mut plan = Plan {
            lists: self.lists.clone(),
            asked: Vec::new(),
            places: HashMap::new(),
            handed_out: 0,
            ready: VecDeque::new(),
            hits: BTreeMap::new(),
            tags: HashMap::new(),
            waiting: Vec::new(),
            blocked: self.lists.blocked_now(),
            left_out: 0,
            faults: Vec::new(),
            end,
            countries: texts.settings().plugins.places.clone(),
            blocks: texts.settings().plugins.blocks.clone(),
        };
        if self.lists.rules.is_empty() && self.lists.zones.is_empty() {
            return plan;
        }
        let lists = self.lists.clone();
        let known_numbers = lists.asn_rules.iter().filter_map(|rule| known.tags.get_key_value(&rule.tag));
        plan.tags.extend(known_numbers.map(|(tag, values)| (tag.clone(), values.clone())));
        asn::plan(&mut plan, &lists, texts);
        relay::plan(&mut plan, &lists, texts);
        uri::plan(&mut plan, &lists, texts);
        let tags = tags::Values::new(&lists, texts, known, &plan);
        ask::plan(&mut plan, &lists, &tags);
        hash::plan(&mut plan, &lists, texts, &tags);
        block::plan(&mut plan, &lists, texts);
        if plan.is_over() && plan.faults.is_empty() {
            plan.faults.push(("dns".into(), "the time was over while it was looked for what to ask".into()));
        }
        plan
    }
}

/// The questions of one message, and what their answers come to.
#[derive(Debug)]
pub struct Plan {
    lists: Arc<Lists>,
    asked: Vec<Asked>,
    places: HashMap<Query, usize>,
    handed_out: usize,
    /// Answers that somebody is interested in who came late.
    ready: VecDeque<(usize, Use)>,
    /// By the rule's place in `Lists::rules`.
    hits: BTreeMap<usize, Answer>,
    /// Tags that are known by the answers.
    tags: HashMap<String, Vec<String>>,
    /// Rules that wait for tags.
    waiting: Vec<Waiting>,
    blocked: Vec<String>,
    left_out: usize,
    faults: Vec<(String, String)>,
    /// When the time for evaluating answers is over.
    end: Option<Instant>,
    /// Who knows where addresses are, and what rules of URILocalBL look for.
    countries: Option<Arc<dyn Countries>>,
    blocks: Arc<Blocks>,
}

/// A question, and what its answer is for.
#[derive(Debug)]
struct Asked {
    query: Query,
    uses: Vec<Use>,
    reply: Option<Arc<Reply>>,
}

/// What an answer is for. Numbers are places in the tables of `Lists`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    /// A rule of DNSEval, and those of its set.
    Relay(usize),
    /// The same, once the name server is known.
    RelayServer(usize),
    /// A list of URIDNSBL: the host that was asked for, and whose address it is.
    Uri { list: usize, host: Box<str>, of: Option<Box<str>> },
    /// The name servers of a domain.
    UriServers,
    /// The address of a host or name server, for lists of addresses.
    UriAddress(Box<str>),
    /// A rule of AskDNS.
    Ask(usize),
    /// A rule of HashBL, and what was hashed.
    Hash { list: usize, value: Box<str> },
    /// A zone of ASN.
    Asn(usize),
    /// The addresses of a host, for a rule of URILocalBL.
    Block { rule: usize, host: Box<str> },
}

/// A rule that waits for tags.
#[derive(Debug)]
struct Waiting {
    tags: Vec<String>,
    /// Those values that are known already.
    known: HashMap<String, Vec<String>>,
    rule: Waiter,
}

#[derive(Debug, Clone, Copy)]
enum Waiter {
    Ask(usize),
    Hash(usize),
}

/// What the answers mean.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Rules whose function is called, that hit.
    pub rules: HashMap<String, Answer>,
    /// Rules without a function, that hit.
    pub others: Vec<(String, Answer)>,
    /// Tags: `ASN`, `ASNCIDR`, `URIHOSTS`, `URIDOMAINS`, `RBL`.
    pub tags: HashMap<String, Vec<String>>,
    /// Questions that were not answered. Rules that only they could have made hit have not hit.
    pub unanswered: Vec<Query>,
    /// How many questions there would have been beyond `MAX_QUERIES`.
    pub left_out: usize,
    /// Rules whose answers could not be evaluated, and why.
    pub faults: Vec<(String, String)>,
}

impl Answers {
    /// Enters them among what is known of a message.
    pub fn enter(self, known: &mut Known) {
        known.rules.extend(self.rules);
        known.others.extend(self.others);
        known.tags.extend(self.tags);
    }
}

impl Plan {
    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// All questions so far.
    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.asked.iter().map(|asked| &asked.query)
    }

    /// The questions that were not handed out yet, each with the number by which it is answered.
    pub fn due(&mut self) -> Vec<(usize, Query)> {
        let first = std::mem::replace(&mut self.handed_out, self.asked.len());
        (first..).zip(&self.asked[first..]).map(|(number, asked)| (number, asked.query.clone())).collect()
    }

    /// Evaluates answers until then; expressions that are still tried on them are faults. Before: as long as it takes.
    pub fn until(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// Takes an answer; `due` may have more questions then. Only the first to a question counts.
    pub fn reply(&mut self, number: usize, reply: Reply) {
        let Some(asked) = self.asked.get_mut(number).filter(|asked| asked.reply.is_none()) else { return };
        asked.reply = Some(Arc::new(reply));
        let uses = std::mem::take(&mut asked.uses);
        self.ready.extend(uses.into_iter().map(|one| (number, one)));
        // What an answer is for may ask for what is answered already.
        while let Some((number, one)) = self.ready.pop_front() {
            if let Some(reply) = self.asked[number].reply.clone() {
                self.used(number, &one, &reply);
            }
        }
    }

    /// What the answers so far mean. What has none is told and counts as no hit.
    pub fn finish(mut self) -> Answers {
        let lists = self.lists.clone();
        asn::finish(&mut self, &lists);
        relay::finish(&mut self);
        lists.block(self.hits.keys().copied());
        let mut answers = Answers {
            tags: self.tags,
            left_out: self.left_out,
            faults: self.faults,
            unanswered: self
                .asked
                .into_iter()
                .filter(|one| one.reply.is_none())
                .map(|one| one.query)
                .collect(),
            ..Answers::default()
        };
        for (rule, mut answer) in self.hits {
            let rule = &lists.rules[rule];
            answer.description = rule.description.clone();
            if rule.called {
                answers.rules.insert(rule.name.to_string(), answer);
            } else {
                answers.others.push((rule.name.to_string(), answer));
            }
        }
        answers
    }

    fn used(&mut self, number: usize, one: &Use, reply: &Reply) {
        let lists = self.lists.clone();
        match one {
            Use::Relay(rule) => relay::answered(self, &lists, *rule, number, reply),
            Use::RelayServer(rule) => relay::servers(self, &lists, *rule, reply),
            Use::Uri { list, host, of } => {
                uri::answered(self, &lists, *list, &(host, of.as_deref()), reply);
            }
            Use::UriServers => uri::servers(self, &lists, reply),
            Use::UriAddress(of) => uri::addresses(self, &lists, of, reply),
            Use::Ask(rule) => ask::answered(self, &lists, *rule, number, reply),
            Use::Hash { list, value } => hash::answered(self, &lists, *list, value, reply),
            Use::Asn(zone) => asn::answered(self, &lists, *zone, reply),
            Use::Block { rule, host } => block::answered(self, &lists, *rule, host, reply),
        }
    }

    /// Asks, unless the name is none, it may not be asked for, or there are too many.
    fn ask(&mut self, name: &[u8], kind: Kind, one: Use) {
        let Some(name) = plain(name) else { return };
        if !self.lists.may_ask(&name, &self.blocked) {
            return;
        }
        let query = Query { name, kind };
        if let Some(&place) = self.places.get(&query) {
            let asked = &mut self.asked[place];
            match &asked.reply {
                Some(_) => self.ready.push_back((place, one)),
                None if asked.uses.contains(&one) => {}
                None => asked.uses.push(one),
            }
            return;
        }
        if self.asked.len() >= MAX_QUERIES {
            self.left_out += 1;
            return;
        }
        self.places.insert(query.clone(), self.asked.len());
        self.asked.push(Asked { query, uses: vec![one], reply: None });
    }

    /// Whether the time is over.
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// A rule could not do what it should.
    fn fault(&mut self, rule: usize, why: &str) {
        if self.faults.len() < MAX_FOUND {
            self.faults.push((self.lists.rules[rule].name.to_string(), why.to_owned()));
        }
    }

    /// A rule hits; `found` says by what.
    fn hit(&mut self, rule: usize, found: &str) {
        let answer = self.hits.entry(rule).or_insert_with(|| Answer::of(true));
        if answer.found.len() < MAX_FOUND && !found.is_empty() && !answer.found.iter().any(|one| one == found)
        {
            answer.found.push(found.to_string());
        }
    }

    /// Whether an expression matches; that it takes too long is told.
    fn matches(&mut self, rule: usize, matcher: &crate::regex::Matcher, text: &[u8]) -> bool {
        match matcher.find_while(text, 0, &|| !self.is_over()) {
            Ok(found) => found.is_some(),
            Err(why) => {
                self.fault(rule, &why.message);
                false
            }
        }
    }
}

/// A name as it is asked for; None where the DNS can hold no such name.
fn plain(name: &[u8]) -> Option<String> {
    let mut name = name;
    while let [rest @ .., b'.'] = name {
        name = rest;
    }
    if name.len() > 4 * MAX_NAME {
        return None;
    }
    let name = String::from_utf8(idn_to_ascii(name).to_ascii_lowercase()).ok()?;
    let fits = name.len() <= MAX_NAME && name.split('.').all(|label| (1..=63).contains(&label.len()));
    fits.then_some(name)
}
