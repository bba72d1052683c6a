//! The function `check_host()` (RFC 7208 sections 4 to 6).

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use super::macros::{Template, Values};
use super::record::{Directive, Mechanism, Prefixes, Record, Target};
use super::trace::{Event, Kind, push};
use super::{Identity, Outcome, Query, Scope, Spf};
use crate::dns::{DnsError, Resolve};

/// `include`s within each other. Ten look-ups allow no more; with higher limits this bounds the stack.
const DEPTH: usize = 20;

/// Characters of an explanation: they have to fit into a reply (RFC 5321 section 4.5.3.1.5), with something before them.
const EXPLANATION: usize = 400;

/// An evaluation on its way.
pub(super) struct Evaluation<'a> {
    dns: &'a dyn Resolve,
    query: &'a Query<'a>,
    spf: Spf,
    /// HELO, in A-labels if it can be written so.
    helo: String,
    /// Local part of the sender, unquoted.
    local: String,
    depth: usize,
    /// A look-up of the term at hand has found nothing, which is not counted yet.
    void: bool,
    /// The client's names that lead back to it, once they were asked for.
    names: Option<Vec<String>>,
    /// There is a result; an explanation may still be looked up.
    decided: bool,
}

/// What ends the evaluation, wherever it is.
struct Stop {
    outcome: Outcome,
    problem: String,
}

/// What a record says.
struct Decision {
    outcome: Outcome,
    /// The term and the domain whose record it is in; none where there is no record.
    by: Option<(String, String)>,
    /// Where the explanation is, and for which domain.
    exp: Option<(Target, String)>,
    problem: Option<String>,
}

impl Decision {
    /// No term decided.
    fn without(outcome: Outcome, problem: String) -> Decision {
        Decision { outcome, by: None, exp: None, problem: Some(problem) }
    }
}

type Found<T> = Result<T, Stop>;

fn permanent<T>(problem: impl Into<String>) -> Found<T> {
    Err(Stop { outcome: Outcome::PermError, problem: problem.into() })
}

fn temporary<T>(problem: impl Into<String>) -> Found<T> {
    Err(Stop { outcome: Outcome::TempError, problem: problem.into() })
}

/// A result before anything was looked up.
pub(super) fn blank(query: &Query<'_>) -> Spf {
    let sender = match query.identity {
        Identity::MailFrom(sender) if !sender.is_empty() => sender,
        _ => "",
    };
    // The last one: a local part in quotes may hold others.
    let (local, domain) = match sender.rsplit_once('@') {
        _ if sender.is_empty() => ("", query.helo),
        Some(parts) => parts,
        None => (sender, ""),
    };
    // RFC 7208 section 4.3.
    let local = if local.is_empty() { "postmaster" } else { local };
    let domain = a_labels(domain.trim_end_matches('.'));
    let is_mail_from = matches!(query.identity, Identity::MailFrom(_));
    Spf {
        result: Outcome::None,
        scope: if is_mail_from { Scope::MailFrom } else { Scope::Helo },
        ip: query.ip.to_canonical(),
        helo: query.helo.to_owned(),
        receiver: query.receiver.to_owned(),
        bounce: is_mail_from && sender.is_empty(),
        sender: format!("{local}@{domain}"),
        domain,
        mechanism: None,
        decided_by: None,
        problem: None,
        explanation: None,
        lookups: 0,
        voids: 0,
        trace: Vec::new(),
    }
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(dns: &'a dyn Resolve, query: &'a Query<'a>) -> Evaluation<'a> {
        let spf = blank(query);
        let local = spf.sender.rsplit_once('@').map_or("", |(local, _)| local);
        let (helo, local) = (a_labels(query.helo), unquoted(local));
        Evaluation { dns, query, spf, helo, local, depth: 0, void: false, names: None, decided: false }
    }

    pub(super) fn finish(self) -> Spf {
        self.spf
    }

    /// It took too long. A missing explanation does not change what was decided.
    pub(super) fn late(&mut self, limit: Duration) {
        if !self.decided {
            self.spf.give_up(limit);
        }
    }

    pub(super) async fn run(&mut self) {
        let domain = self.spf.domain.clone();
        if let Err(why) = checkable(&domain) {
            self.spf.problem = Some(why);
            self.decided = true;
            return;
        }
        let decision = match self.check_host(domain).await {
            Ok(decision) => decision,
            Err(stop) => {
                self.tell(Event::Note(format!("{}: {}", stop.outcome, stop.problem)));
                Decision::without(stop.outcome, stop.problem)
            }
        };
        self.spf.result = decision.outcome;
        self.spf.problem = decision.problem;
        (self.spf.mechanism, self.spf.decided_by) = decision.by.unzip();
        self.decided = true;
        if let (Outcome::Fail, Some((target, domain))) = (decision.outcome, decision.exp) {
            match self.explanation(&target, &domain).await {
                Ok(text) => self.spf.explanation = Some(text),
                Err(why) => self.tell(Event::Note(format!("{}: no explanation, {why}", target.text))),
            }
        }
    }

    /// Section 4. Boxed since `include` comes back here.
    fn check_host(&mut self, mut domain: String) -> BoxFuture<'_, Found<Decision>> {
        Box::pin(async move {
            let mut redirected: Option<String> = None;
            loop {
                let record = match (self.record(&domain).await?, redirected) {
                    (Ok(record), _) => record,
                    (Err(why), None) => return Ok(Decision::without(Outcome::None, why)),
                    // Section 6.1.
                    (Err(why), Some(term)) => return permanent(format!("“{term}”: {why}")),
                };
                let decide = |outcome, term: &str, domain: String| Decision {
                    outcome,
                    by: Some((term.to_owned(), domain.clone())),
                    exp: record.exp.clone().map(|exp| (exp, domain)),
                    problem: None,
                };
                for directive in &record.directives {
                    if self.matches(directive, &domain).await? {
                        return Ok(decide(directive.qualifier, &directive.text, domain));
                    }
                }
                // Section 4.7.
                let Some(redirect) = &record.redirect else {
                    self.tell(Event::Note(format!("end of the record of {domain}: neutral")));
                    return Ok(decide(Outcome::Neutral, "default", domain));
                };
                let target = self.counted(&redirect.text, &redirect.domain, &domain).await?;
                domain = policy_of(&redirect.text, target)?;
                redirected = Some(redirect.text.clone());
            }
        })
    }

    /// The policy of a domain, or why there is none (sections 4.4 and 4.5).
    async fn record(&mut self, domain: &str) -> Found<Result<Record, String>> {
        let texts = match self.texts(domain).await {
            Ok(texts) => texts,
            Err(why) if why.is_nothing() => {
                self.void = true;
                return Ok(Err(format!("{domain} has no SPF record: {why}")));
            }
            Err(why) => return temporary(format!("TXT records of {domain}: {why}")),
        };
        let mut policies = texts.iter().filter(|text| Record::is_one(text));
        let Some(policy) = policies.next() else {
            return Ok(Err(format!("{domain} has no SPF record")));
        };
        if policies.next().is_some() {
            return permanent(format!("{domain} has more than one SPF record"));
        }
        self.tell(Event::Record { domain: domain.to_owned(), text: policy.clone() });
        match Record::parse(policy) {
            Ok(record) => Ok(Ok(record)),
            Err(problem) => permanent(format!("record of {domain}: {problem}")),
        }
    }

    /// Whether a mechanism matches (section 5).
    async fn matches(&mut self, directive: &Directive, domain: &str) -> Found<bool> {
        let term = &directive.text;
        let (matched, why) = match &directive.mechanism {
            Mechanism::All => (true, "it always does".into()),
            Mechanism::Ip4(network, bits) => within(self.spf.ip, (*network).into(), *bits),
            Mechanism::Ip6(network, bits) => within(self.spf.ip, (*network).into(), *bits),
            Mechanism::Include(target) => {
                let target = self.counted(term, target, domain).await?;
                self.include(term, policy_of(term, target)?).await?
            }
            Mechanism::A(target, prefixes) => match self.target(term, target, domain).await? {
                Some(name) => self.address(&name, *prefixes).await?,
                None => no_name(),
            },
            Mechanism::Mx(target, prefixes) => match self.target(term, target, domain).await? {
                Some(name) => self.exchangers(term, &name, *prefixes).await?,
                None => no_name(),
            },
            Mechanism::Ptr(target) => match self.target(term, target, domain).await? {
                Some(name) => self.pointer(&name).await,
                None => no_name(),
            },
            Mechanism::Exists(target) => match self.counted(term, target, domain).await? {
                Some(name) => self.exists(&name).await?,
                None => no_name(),
            },
        };
        self.tell(Event::Term { term: term.clone(), matched, why });
        self.count_void(matched)?;
        Ok(matched)
    }

    /// Terms whose look-ups found nothing (section 4.6.4). One that matched anyway is counted, but ends nothing.
    fn count_void(&mut self, matched: bool) -> Found<()> {
        if !std::mem::take(&mut self.void) {
            return Ok(());
        }
        self.spf.voids += 1;
        let (voids, limit) = (self.spf.voids, self.query.limits.voids);
        self.tell(Event::Void { voids, limit });
        if voids > limit && !matched {
            return permanent(format!(
                "more than {limit} terms whose look-ups found nothing (RFC 7208 section 4.6.4)"
            ));
        }
        Ok(())
    }

    /// Section 5.2.
    async fn include(&mut self, term: &str, target: String) -> Found<(bool, String)> {
        if self.depth >= DEPTH {
            return permanent(format!("“{term}”: more than {DEPTH} includes within each other"));
        }
        self.depth += 1;
        let decision = self.check_host(target.clone()).await;
        self.depth -= 1;
        let decision = decision?;
        match decision.outcome {
            Outcome::None => permanent(format!("“{term}”: {}", decision.problem.unwrap_or_default())),
            outcome => Ok((outcome == Outcome::Pass, format!("{target} says {outcome}"))),
        }
    }

    /// Section 5.3.
    async fn address(&mut self, name: &str, prefixes: Prefixes) -> Found<(bool, String)> {
        let answer = self.addresses(name).await;
        let addresses = self.answered(name, answer)?;
        Ok(match addresses.iter().find(|address| self.covered(**address, prefixes)) {
            Some(address) => (true, self.covered_by(name, *address, prefixes)),
            None => (false, format!("{} is not among the addresses of {name}", self.spf.ip)),
        })
    }

    /// Section 5.4.
    async fn exchangers(&mut self, term: &str, name: &str, prefixes: Prefixes) -> Found<(bool, String)> {
        let answer = self.dns.mx(name).await;
        self.asked(Kind::Mx, name, &answer, |mx| format!("{} {}", mx.preference, mx.exchange));
        let mut exchangers: Vec<String> =
            self.answered(name, answer)?.into_iter().map(|mx| mx.exchange).collect();
        // A null MX has no host (RFC 7505).
        exchangers.retain(|exchange| nameable(exchange).is_ok());
        let most = self.query.limits.mx;
        let more = exchangers.len() > most;
        exchangers.truncate(most);
        let answers = self.all_addresses(&exchangers).await;
        for (exchange, answer) in exchangers.iter().zip(answers) {
            let addresses = self.answered(exchange, answer)?;
            if let Some(address) = addresses.into_iter().find(|address| self.covered(*address, prefixes)) {
                return Ok((true, self.covered_by(exchange, address, prefixes)));
            }
        }
        if more {
            return permanent(format!(
                "“{term}”: {name} has more than {most} exchangers (RFC 7208 section 4.6.4)"
            ));
        }
        Ok((false, format!("{} is not among the addresses of the exchangers of {name}", self.spf.ip)))
    }

    /// Section 5.5. Errors of look-ups are in the hands of the client, so they stop nothing.
    async fn pointer(&mut self, name: &str) -> (bool, String) {
        let ip = self.spf.ip;
        match self.names().await.iter().find(|candidate| is_in(candidate, name)) {
            Some(found) => (true, format!("{found} is a confirmed name of {ip}")),
            None => (false, format!("{ip} has no confirmed name in {name}")),
        }
    }

    /// Section 5.7: IPv4 addresses, whatever the client's is.
    async fn exists(&mut self, name: &str) -> Found<(bool, String)> {
        let answer = self.dns.a(name).await;
        self.asked(Kind::A, name, &answer, |address| address.to_string());
        let addresses = self.answered(name, answer)?;
        Ok(match addresses.first() {
            Some(address) => (true, format!("{name} has the address {address}")),
            None => (false, format!("{name} has no IPv4 address")),
        })
    }

    /// The name a mechanism with an optional domain is about.
    async fn target(&mut self, term: &str, target: &Option<Template>, domain: &str) -> Found<Option<String>> {
        match target {
            Some(template) => self.counted(term, template, domain).await,
            None => {
                self.count(term, domain)?;
                Ok(Some(domain.to_owned()))
            }
        }
    }

    /// Counts a term that asks name servers and expands its domain; nothing where that gives no name to ask for.
    async fn counted(&mut self, term: &str, template: &Template, domain: &str) -> Found<Option<String>> {
        if template.wants_client() && self.names.is_none() {
            self.count(term, "the name of the client")?;
            self.names().await;
            self.count_void(false)?;
        }
        let name = self.name(template, domain);
        self.count(term, name.as_deref().unwrap_or("a name that cannot be"))?;
        Ok(name)
    }

    /// Section 4.6.4.
    fn count(&mut self, term: &str, target: &str) -> Found<()> {
        self.spf.lookups += 1;
        let (lookups, limit) = (self.spf.lookups, self.query.limits.lookups);
        self.tell(Event::Counted { term: term.to_owned(), target: target.to_owned(), lookups, limit });
        if lookups > limit {
            return permanent(format!(
                "“{term}” is one too many: more than {limit} terms ask name servers (RFC 7208 section 4.6.4)"
            ));
        }
        Ok(())
    }

    /// The name a template gives, cut to the length of names on its left (section 7.3); none if it cannot be asked for.
    fn name(&self, template: &Template, domain: &str) -> Option<String> {
        // RFC 8616 section 4: such a local part is in no name.
        if template.wants_local() && !self.local.is_ascii() {
            return None;
        }
        let text = template.expand(&self.values(domain))?;
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > 253 {
            name = name.split_once('.')?.1;
        }
        nameable(name).ok().map(|()| name.to_owned())
    }

    fn values<'v>(&'v self, domain: &'v str) -> Values<'v> {
        let names = self.names.as_deref().unwrap_or_default();
        // Section 7.3: best the domain itself, then a name in it, then any.
        let client = names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(domain))
            .or_else(|| names.iter().find(|name| is_in(name, domain)))
            .or(names.first());
        Values {
            local: &self.local,
            sender_domain: &self.spf.domain,
            domain,
            ip: self.spf.ip,
            client: client.map_or("unknown", |name| name),
            helo: &self.helo,
            receiver: self.query.receiver,
            now: self.query.now,
        }
    }

    /// Section 6.2. Look-ups for it count nowhere.
    async fn explanation(&mut self, target: &Target, domain: &str) -> Result<String, String> {
        if target.domain.wants_client() {
            self.names().await;
        }
        let name = self.name(&target.domain, domain).ok_or("that name cannot be")?;
        let texts = self.texts(&name).await.map_err(|why| why.to_string())?;
        let [text] = texts.as_slice() else { return Err("there is more than one text".into()) };
        let template = Template::explanation(text)?;
        if template.wants_client() {
            self.names().await;
        }
        let text = template.expand(&self.values(domain)).ok_or("the text is too long")?;
        // Who sent the mail may have put anything into its macros.
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        Ok(text.chars().take(EXPLANATION).map(plain).collect())
    }

    /// The names of the client whose addresses lead back to it (section 5.5), asked for once.
    async fn names(&mut self) -> &[String] {
        if self.names.is_none() {
            let ip = self.spf.ip;
            let answer = self.dns.ptr(ip).await;
            self.asked(Kind::Ptr, &ip.to_string(), &answer, String::clone);
            self.void |= answer.as_ref().is_err_and(DnsError::is_nothing);
            let mut names = answer.unwrap_or_default();
            names.iter_mut().for_each(|name| name.truncate(name.trim_end_matches('.').len()));
            names.retain(|name| nameable(name).is_ok());
            names.truncate(self.query.limits.ptr);
            let answers = self.all_addresses(&names).await;
            let confirmed = names
                .into_iter()
                .zip(answers)
                .filter(|(_, answer)| answer.as_ref().is_ok_and(|addresses| addresses.contains(&ip)));
            self.names = Some(confirmed.map(|(name, _)| name).collect());
        }
        self.names.as_deref().unwrap_or_default()
    }

    async fn texts(&mut self, name: &str) -> Result<Vec<String>, DnsError> {
        let answer = self.dns.txt(name).await;
        self.asked(Kind::Txt, name, &answer, |text| format!("“{text}”"));
        answer
    }

    /// Addresses of the client's family.
    async fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let answer = self.look_up(name).await;
        self.asked(self.kind(), name, &answer, IpAddr::to_string);
        answer
    }

    /// Addresses of some names, asked for side by side.
    async fn all_addresses(&mut self, names: &[String]) -> Vec<Result<Vec<IpAddr>, DnsError>> {
        let answers = join_all(names.iter().map(|name| self.look_up(name))).await;
        for (name, answer) in names.iter().zip(&answers) {
            self.asked(self.kind(), name, answer, IpAddr::to_string);
        }
        answers
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        Ok(if self.spf.ip.is_ipv4() {
            self.dns.a(name).await?.into_iter().map(IpAddr::from).collect()
        } else {
            self.dns.aaaa(name).await?.into_iter().map(IpAddr::from).collect()
        })
    }

    fn kind(&self) -> Kind {
        if self.spf.ip.is_ipv4() { Kind::A } else { Kind::Aaaa }
    }

    /// What a mechanism makes of an answer (section 5): nothing is no match, a fault ends it all.
    fn answered<T>(&mut self, name: &str, answer: Result<Vec<T>, DnsError>) -> Found<Vec<T>> {
        match answer {
            Ok(records) => Ok(records),
            Err(why) if why.is_nothing() => {
                self.void = true;
                Ok(Vec::new())
            }
            Err(why) => temporary(format!("look-up of {name}: {why}")),
        }
    }

    fn covered(&self, address: IpAddr, prefixes: Prefixes) -> bool {
        within(self.spf.ip, address, self.bits(prefixes)).0
    }

    fn covered_by(&self, name: &str, address: IpAddr, prefixes: Prefixes) -> String {
        format!("{name} has the address {address}, {}", within(self.spf.ip, address, self.bits(prefixes)).1)
    }

    fn bits(&self, prefixes: Prefixes) -> u8 {
        if self.spf.ip.is_ipv4() { prefixes.v4 } else { prefixes.v6 }
    }

    fn asked<T>(
        &mut self,
        kind: Kind,
        name: &str,
        answer: &Result<Vec<T>, DnsError>,
        show: impl Fn(&T) -> String,
    ) {
        let answer = match answer {
            Ok(records) => Ok(records.iter().map(show).collect()),
            Err(why) => Err(why.to_string()),
        };
        self.tell(Event::Asked { kind, name: name.to_owned(), answer });
    }

    fn tell(&mut self, event: Event) {
        push(&mut self.spf.trace, self.depth, event);
    }
}

/// Whether an address is in a network, and that in words. Families never match each other.
fn within(ip: IpAddr, network: IpAddr, bits: u8) -> (bool, String) {
    let inside = match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    };
    let verb = if inside { "is" } else { "is not" };
    (inside, format!("{ip} {verb} in {network}/{bits}"))
}

fn no_name() -> (bool, String) {
    (false, "there can be no such name".into())
}

/// Whether a name is a domain or below it.
fn is_in(name: &str, domain: &str) -> bool {
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    name.as_bytes()[at..].eq_ignore_ascii_case(domain.as_bytes())
        && (at == 0 || name.as_bytes()[at - 1] == b'.')
}

/// Whether a domain may have a policy: a name of several labels (section 4.3). If not, why.
fn checkable(domain: &str) -> Result<(), String> {
    if domain.is_empty() {
        return Err("there is no domain".into());
    }
    if domain.starts_with('[') || domain.parse::<IpAddr>().is_ok() {
        return Err(format!("{domain} is an address, no domain"));
    }
    nameable(domain)?;
    if !domain.contains('.') {
        return Err(format!("{domain} is no full domain"));
    }
    Ok(())
}

/// The domain that `include` or `redirect` leads to.
fn policy_of(term: &str, target: Option<String>) -> Found<String> {
    let Some(target) = target else {
        return permanent(format!("“{term}”: there can be no such name"));
    };
    match checkable(&target) {
        Ok(()) => Ok(target),
        Err(why) => permanent(format!("“{term}”: {why}")),
    }
}

/// Whether a name can be asked for (RFC 1035 section 2.3.4). If not, why.
fn nameable(name: &str) -> Result<(), String> {
    if !name.is_ascii() || name.bytes().any(|b| b.is_ascii_control()) {
        return Err(format!("{name} has characters that names cannot have"));
    }
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(format!("{name} is no name: labels have 1 to 63 characters, all together 253"));
    }
    Ok(())
}

/// Internationalised labels as RFC 5890 writes them for name servers; whatever cannot be written so stays as it is.
fn a_labels(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_owned();
    }
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned())
}

/// A local part without the quotes and backslashes of a quoted string: they are not part of it (RFC 5321 section 4.1.2).
fn unquoted(local: &str) -> String {
    let Some(inside) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    plain
}
