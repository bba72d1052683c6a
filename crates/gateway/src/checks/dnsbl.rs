//! DNS lists, of the bad and of the good (RFC 5782): of addresses, asked as soon as a client has connected, and of
//! domains, asked as soon as HELO, sender, recipient or the client's name are known. All lists are asked side by side.
//!
//! A zone may have a key in it that is nobody else's business: what is said of a list goes by its name.

mod answers;
mod trial;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Cause, Envelope, Fault, Finding, OnFault, Recipient, Scope, Session};
use tokio::time::{Instant, timeout_at};

use super::catalogue::{Built, Resources};
use super::lists::{self, Worth, check_name, check_subjects, is_ours, one_line};
use super::run::seconds;
use super::{Answer, Check, Found, Health, SymbolInfo, looking};
use crate::config::typed::{AddressKinds, Dnsbl as Settings, ListKind, Subject};
use crate::config::units::{Net, is_among};
use crate::config::{Config, Problem};
use crate::resources::dns::{DnsError, Resolve, TOO_MANY, backwards, confirmed_name, plain_name};
use answers::{Answers, Listing, code_symbol};
use trial::{Trial, Zone};

/// Longest a zone may be, so that an IPv6 address in nibbles fits before it into a name.
const LONGEST_ZONE: usize = LONGEST_NAME - 64;

/// Longest name that can be looked up.
const LONGEST_NAME: usize = 253;

/// Longest to wait for the list's explanation once something is known to be listed.
const TEXT_TIME: Duration = Duration::from_secs(2);

/// Characters of an explanation that are kept.
const TEXT_LENGTH: usize = 200;

/// A symbol for each list, and one for each of its codes that has one.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    let mut symbols: Vec<SymbolInfo> = Vec::new();
    for (name, list) in &config.checks.dnsbl {
        let own = symbol(name, list.kind);
        let subjects: Vec<_> = list.of.iter().map(|subject| subject.words()).collect();
        let subjects = subjects.join(" or ");
        let mut add = |name: String, meaning: String, worth: Worth| {
            // Codes may share a symbol; what is wrong with that is told when the check is built.
            if symbols.iter().all(|known| known.name != name) {
                symbols.push(SymbolInfo {
                    name: name.into(),
                    meaning: meaning.into(),
                    counts: worth.counts(),
                });
            }
        };
        add(own.clone(), format!("{subjects} listed in the DNS list {name}"), worth(list));
        for (code, meaning) in &list.codes {
            if let Some(symbol) = code_symbol(&own, &meaning.symbol) {
                let text = format!("{subjects} listed in the DNS list {name} with {code}");
                let (weight, category, refuse) = (Some(meaning.weight), meaning.category, meaning.refuse);
                add(symbol, text, Worth { kind: list.kind, weight, category, refuse });
            }
        }
    }
    symbols
}

/// Makes one check for each list.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let mut problems = Vec::new();
    let mut lists: Vec<List> = Vec::new();
    for (name, settings) in &config.checks.dnsbl {
        let list = List::new(name, settings, config, resources, &mut problems);
        if let Some(other) = lists.iter().find(|other| other.symbol == list.symbol) {
            problems.push(Problem::new(
                format!("checks.dnsbl.{name}"),
                format!("its symbol {} is that of `{}` too; rename one", list.symbol, other.title),
            ));
        }
        lists.push(list);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(lists.into_iter().map(|list| Box::new(list) as Box<dyn Check>).collect())
}

/// Tries one list out, for whoever checks a configuration: what it says of its test entries, or why it is of no use.
pub async fn try_out(name: &str, settings: &Settings, dns: &dyn Resolve) -> Result<String, String> {
    let answers = Answers::new(settings, "", "", &mut Vec::new());
    let zone = settings.full_zone();
    let zone = Zone { dns, zone: &zone, answers: &answers, time: settings.time.duration() };
    let said = Trial::new(name, settings).health(&zone).await;
    said.map_err(|why| hide(&why, &settings.secrets(), name))
}

/// One list.
struct List {
    /// `dnsbl:zen`
    name: String,
    /// `zen`
    title: String,
    /// `DNSBL_ZEN`
    symbol: String,
    /// Without final dot.
    zone: String,
    /// What of it nobody else may read, in lower case.
    secrets: Vec<String>,
    of: Vec<Subject>,
    addresses: AddressKinds,
    answers: Answers,
    explain: bool,
    time: Duration,
    on_fault: OnFault,
    /// Clients that are never asked about.
    ours: Arc<[Net]>,
    /// Domains that are never asked about.
    domains: Arc<[String]>,
    dns: Arc<dyn Resolve>,
    trial: Trial,
}

/// What a list is asked.
struct Question {
    /// Before the zone.
    name: String,
    /// For people.
    shown: String,
    scope: Scope,
}

impl List {
    fn new(
        name: &str,
        settings: &Settings,
        config: &Config,
        with: &Resources,
        problems: &mut Vec<Problem>,
    ) -> List {
        let key = format!("checks.dnsbl.{name}");
        check_name(&key, name, problems);
        let zone = settings.full_zone();
        if let Err(why) = check_zone(&zone) {
            problems.push(Problem::new(format!("{key}.zone"), why));
        }
        if settings.time.duration().is_zero() {
            problems.push(Problem::new(format!("{key}.time"), "must be at least 1 second"));
        }
        check_subjects(&key, &settings.of, problems);
        if settings.of.contains(&Subject::Client) && settings.of.len() > 1 {
            let why = "a list is one of addresses (`client`) or one of domains (all others); make two of it";
            problems.push(Problem::new(format!("{key}.of"), why));
        }
        worth(settings).check(&key, problems);
        let symbol = symbol(name, settings.kind);
        let answers = Answers::new(settings, &key, &symbol, problems);
        check_codes(&key, settings, problems);
        List {
            name: format!("dnsbl:{name}"),
            title: name.to_owned(),
            zone,
            secrets: settings.secrets(),
            of: settings.of.clone(),
            addresses: settings.addresses,
            answers,
            explain: settings.explain && settings.kind == ListKind::Block,
            time: settings.time.duration(),
            on_fault: settings.on_fault,
            ours: config.networks.as_slice().into(),
            domains: config.domains.as_slice().into(),
            dns: with.dns.clone(),
            trial: Trial::new(name, settings),
            symbol,
        }
    }

    /// Asks the list, unless it is known to be of no use. What it says counts only if it passes its test.
    async fn ask(&self, question: Question, deadline: Instant) -> Result<Found, Fault> {
        if let Some(why) = self.trial.out_of_use() {
            return Err(self.fault(Cause::Unavailable, format!("the list is out of use: {why}")));
        }
        let name = format!("{}.{}", question.name, self.zone);
        let zone = self.zone();
        let (passes, answer) =
            tokio::join!(self.trial.passes(&zone), timeout_at(deadline, self.dns.a(&name)));
        if let Err(why) = passes {
            return Err(self.fault(Cause::Unavailable, format!("the list is out of use: {why}")));
        }
        let answers = match answer {
            Ok(Ok(answers)) => answers,
            Ok(Err(why)) if why.is_nothing() => Vec::new(),
            // Too much to do here is not the list's failure.
            Ok(Err(DnsError::Failed(why))) if why == TOO_MANY => return Err(self.fault(Cause::Limit, why)),
            Err(_) if zone.waits(&name) => return Err(self.fault(Cause::Limit, TOO_MANY.into())),
            Ok(Err(DnsError::Failed(why))) => return Err(self.failed(Cause::Unavailable, why)),
            Ok(Err(why)) => return Err(self.failed(Cause::Timeout, why.to_string())),
            Err(_) => {
                return Err(self.failed(Cause::Timeout, format!("no answer within {}", seconds(self.time))));
            }
        };
        let listing = self.answers.read(&answers).map_err(|why| self.failed(Cause::Unavailable, why))?;
        self.trial.answered();
        let Some(listing) = listing else { return Ok(Found::default()) };
        let text = match self.explain {
            true => timeout_at(deadline.min(Instant::now() + TEXT_TIME), self.dns.txt(&name)).await,
            false => Ok(Ok(Vec::new())),
        };
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        Ok(self.findings(&question, &listing, text.first().map_or("", String::as_str)).into())
    }

    /// Asks for the client's name, if its address leads there and back.
    async fn ask_reverse(&self, client: IpAddr, told: Option<&str>) -> Result<Found, Fault> {
        let deadline = Instant::now() + self.time;
        let name = match told {
            Some(name) => plain_name(name),
            None => match timeout_at(deadline, confirmed_name(&*self.dns, client)).await {
                Ok(Ok(names)) => names.confirmed,
                // Not the list's failure: whoever holds the address is to blame.
                Ok(Err(why)) => {
                    let detail = format!("the name of {client} cannot be looked up: {why}");
                    return Err(self.fault(Cause::Unavailable, detail));
                }
                Err(_) => {
                    let detail = format!("the name of {client} is not known within {}", seconds(self.time));
                    return Err(self.fault(Cause::Timeout, detail));
                }
            },
        };
        match name.and_then(|name| self.domain(Subject::ReverseName, &name, Scope::Mail)) {
            Some(question) => self.ask(question, deadline).await,
            None => Ok(Found::default()),
        }
    }

    fn ask_domain<'a>(&'a self, subject: Subject, name: &str, scope: Scope) -> Answer<'a> {
        let question = self.domain(subject, name, scope)?;
        looking(self.ask(question, Instant::now() + self.time))
    }

    /// The question for a domain. None for what is no name, too long a name, or one of ours.
    fn domain(&self, subject: Subject, name: &str, scope: Scope) -> Option<Question> {
        let name = plain_name(name)?;
        if name.len() + 1 + self.zone.len() > LONGEST_NAME || is_among(&name, &self.domains) {
            return None;
        }
        Some(Question { shown: format!("{} {name}", subject.words()), name, scope })
    }

    /// One finding for the list, one for each code that fits.
    fn findings(&self, question: &Question, listing: &Listing, text: &str) -> Vec<Finding> {
        let evidence = |answers: &[std::net::Ipv4Addr]| {
            let answers: Vec<_> = answers.iter().map(ToString::to_string).collect();
            let mut evidence = format!("{} in {}: {}", question.shown, self.title, answers.join(", "));
            let text = one_line(&self.without_key(text), TEXT_LENGTH);
            if !text.is_empty() {
                // Writing to a String cannot fail.
                _ = write!(evidence, " ({text})");
            }
            evidence
        };
        let finding = |symbol: &str, answers: &[std::net::Ipv4Addr]| {
            Finding::new(symbol.to_owned(), question.scope, evidence(answers))
        };
        let codes = listing.symbols.iter().map(|(symbol, answers)| finding(symbol, answers));
        std::iter::once(finding(&self.symbol, &listing.answers)).chain(codes).collect()
    }

    fn zone(&self) -> Zone<'_> {
        Zone { dns: &*self.dns, zone: &self.zone, answers: &self.answers, time: self.time }
    }

    /// A failure of the list: several in a row take it out of use.
    fn failed(&self, cause: Cause, detail: String) -> Fault {
        let detail = self.without_key(&detail);
        self.trial.failed(&detail);
        self.fault(cause, detail)
    }

    fn fault(&self, cause: Cause, detail: String) -> Fault {
        Fault { check: self.name.clone(), cause, detail: self.without_key(&detail), answer: self.on_fault }
    }

    /// Text of others with the list's name in the place of a key.
    fn without_key(&self, text: &str) -> String {
        hide(text, &self.secrets, &self.title)
    }
}

impl Check for List {
    fn name(&self) -> &str {
        &self.name
    }

    /// A little more than it allows itself: a listing whose explanation is late is still a listing.
    fn time(&self) -> Duration {
        self.time + Duration::from_secs(1)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client?.to_canonical();
        if is_private(client) || is_ours(session, &self.ours) {
            return None;
        }
        if self.of.contains(&Subject::ReverseName) {
            return looking(self.ask_reverse(client, session.client_name.as_deref()));
        }
        let known = match self.addresses {
            AddressKinds::Both => true,
            AddressKinds::Ipv4 => client.is_ipv4(),
            AddressKinds::Ipv6 => client.is_ipv6(),
        };
        if !known || !self.of.contains(&Subject::Client) {
            return None;
        }
        let name = backwards(client).trim_end_matches('.').to_owned();
        let question = Question { name, shown: client.to_string(), scope: Scope::Mail };
        looking(self.ask(question, Instant::now() + self.time))
    }

    fn on_hello<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        if !self.of.contains(&Subject::Helo) || is_ours(session, &self.ours) {
            return None;
        }
        self.ask_domain(Subject::Helo, &session.helo, Scope::Mail)
    }

    fn on_sender<'a>(&'a self, session: &'a Session, envelope: &'a Envelope) -> Answer<'a> {
        if !self.of.contains(&Subject::Sender) || is_ours(session, &self.ours) {
            return None;
        }
        let sender = envelope.sender.as_ref().map(Address::domain)?;
        self.ask_domain(Subject::Sender, sender, Scope::Mail)
    }

    /// Of mail that goes out only: all other recipients are ours.
    fn on_recipient<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
    ) -> Answer<'a> {
        if !self.of.contains(&Subject::Recipient) || !is_ours(session, &self.ours) {
            return None;
        }
        let scope = Scope::Recipient(envelope.recipients.len());
        self.ask_domain(Subject::Recipient, recipient.address.domain(), scope)
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(async {
            let (name, vital) = (self.name.clone(), self.on_fault != OnFault::Accept);
            let state = self.trial.health(&self.zone()).await.map_err(|why| self.without_key(&why));
            vec![Health { name, vital, state }]
        })
    }
}

/// `zen` → `DNSBL_ZEN`, a list of the good `DNSWL_ZEN`.
fn symbol(name: &str, kind: ListKind) -> String {
    match kind {
        ListKind::Block => lists::symbol("DNSBL", name),
        ListKind::Allow => lists::symbol("DNSWL", name),
    }
}

/// What a listing counts for: nothing by itself where its codes have weights and it has none.
fn worth(settings: &Settings) -> Worth {
    let by_codes = settings.codes.values().any(|code| code.weight != Default::default());
    let weight = settings.weight.or(by_codes.then(Default::default));
    Worth { kind: settings.kind, weight, category: settings.category, refuse: settings.refuse }
}

/// Codes with a worth need a symbol that carries it, and those that share one must be worth the same.
fn check_codes(key: &str, settings: &Settings, problems: &mut Vec<Problem>) {
    let mut known: BTreeMap<String, Worth> = BTreeMap::new();
    for (text, code) in &settings.codes {
        let key = format!("{key}.codes.{text:?}");
        let (weight, category, refuse) = (Some(code.weight), code.category, code.refuse);
        let worth = Worth { kind: settings.kind, weight, category, refuse };
        worth.check(&key, problems);
        if !code.symbol.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            problems.push(Problem::new(format!("{key}.symbol"), "is of letters, digits, `-`, `_` and `.`"));
        }
        let counts = worth.counts();
        match code_symbol("", &code.symbol) {
            None if counts
                != Worth { weight: Some(Default::default()), category: None, refuse: false, ..worth }
                    .counts() =>
            {
                problems.push(Problem::new(
                    format!("{key}.symbol"),
                    "is missing: it carries weight and category",
                ));
            }
            None => {}
            Some(symbol) => {
                if known.get(&symbol).is_some_and(|other| other.counts() != counts) {
                    let why = "another code of this symbol has another weight or category";
                    problems.push(Problem::new(format!("{key}.symbol"), why));
                }
                known.insert(symbol, worth);
            }
        }
    }
}

/// Text with something else in the place of secrets, which are in lower case, however they are written there.
fn hide(text: &str, secrets: &[String], instead: &str) -> String {
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text.to_owned(), |text, secret| {
        let (lower, mut clean, mut rest) = (text.to_ascii_lowercase(), String::new(), 0);
        while let Some(at) = lower[rest..].find(secret) {
            clean.push_str(&text[rest..rest + at]);
            clean.push_str(instead);
            rest += at + secret.len();
        }
        clean.push_str(&text[rest..]);
        clean
    })
}

fn check_zone(zone: &str) -> Result<(), String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if zone.is_empty() {
        Err("the list's zone is missing, such as zen.spamhaus.org".into())
    } else if zone.len() > LONGEST_ZONE || !zone.split('.').all(label) {
        Err(format!("“{zone}” is not a domain name such as zen.spamhaus.org"))
    } else {
        Ok(())
    }
}

/// Addresses that no public list can know: this host, this link, private networks (RFC 1918, RFC 6598, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || shared
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
    }
}

/// A resolver that answers from a table, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    use gatepost_auth::dns::Table;

    use crate::resources::callahead::NoNextHop;
    use crate::resources::notices::NoNotice;
    use crate::resources::state::Memory;
    use crate::resources::verdicts::Verdicts;

    /// Names by this resolver, and an empty memory.
    pub fn with_dns(dns: impl Resolve + 'static) -> Resources {
        Resources {
            dns: Arc::new(dns),
            state: Memory::small(),
            next_hops: Arc::new(NoNextHop),
            notices: Arc::new(NoNotice),
            verdicts: Verdicts::new(&Default::default(), Default::default()),
        }
    }

    /// Name → what is under it: addresses and a text parted by spaces, or `timeout`, `servfail`, `hang`.
    pub fn resources(table: &[(&str, &str)]) -> Resources {
        let mut records = Table::default();
        for (name, answer) in table {
            match *answer {
                "timeout" => records.add(&format!("{name} TIMEOUT")),
                "servfail" => records.add(&format!("{name} FAILED")),
                "hang" => records.add(&format!("{name} HANG")),
                words => words.split(' ').for_each(|word| {
                    let kind = if word.parse::<std::net::Ipv4Addr>().is_ok() { "A" } else { "TXT" };
                    records.add(&format!("{name} {kind} {word}"));
                }),
            }
        }
        with_dns(records)
    }
}

#[cfg(test)]
mod tests;
