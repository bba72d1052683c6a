//! DNSEval: relays and senders in lists.

use super::lists::{Lists, RelayRule, What};
use super::subtest::RelayTest;
use super::{Data, Kind, Plan, Reply, Use};
use crate::evals::from_addresses;
use crate::texts::{HeaderRequest, Networks, Texts, idn_to_ascii, ip, is_fqdn_valid};

/// The most addresses of relays that a rule asks for.
const MOST_RELAYS: usize = 9;
/// The most entries of the tag `RBL`.
const MOST_TOLD: usize = 100;
/// The tag that tells all answers of lists of relays.
const RBL: &str = "RBL";

/// Asks for all rules.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, texts: &Texts<'_>) {
    if lists.relays.is_empty() {
        return;
    }
    let message = Message::of(texts);
    for (number, relay) in lists.relays.iter().enumerate() {
        let rule = &lists.rules[relay.rule];
        let names = match &relay.what {
            What::Relays => message.relays(&relay.set, rule.nice),
            What::Accredited(name) if message.accredited(name) => message.relays(&relay.set, rule.nice),
            What::Accredited(_) => Vec::new(),
            What::FromHost => message.hosts(&from_addresses(texts), relay, lists),
            What::FromDomain => message.hosts(&message.domains(), relay, lists),
            What::Sender => message.hosts(&message.values("EnvelopeFrom:addr"), relay, lists),
            What::Headers(names) => message.headers(names, relay, lists),
            What::Received => message.received(relay, lists),
            What::Servers => {
                if let Some(domain) = message.sender_domain() {
                    plan.ask(&domain, Kind::NS, Use::RelayServer(number));
                }
                continue;
            }
        };
        for name in names {
            plan.ask(&[&name, &b"."[..], relay.server.as_bytes()].concat(), relay.kind, Use::Relay(number));
        }
    }
}

/// An answer of a list.
pub(super) fn answered(plan: &mut Plan, lists: &Lists, number: usize, query: usize, reply: &Reply) {
    let relay = &lists.relays[number];
    for record in &reply.records {
        let text = record.text();
        tell(plan, query, &text);
        let address = match record.data {
            Data::Address(address) if address.octets()[0] == 127 => Some(address),
            Data::Strings(_) => None,
            _ => continue,
        };
        let mut fits = |rule: usize, test: &RelayTest| match test {
            RelayTest::Bits(bits) => address.is_some_and(|address| u64::from(address.to_bits()) & bits != 0),
            RelayTest::Exact(exact) => *text == **exact,
            RelayTest::Pattern(matcher) => plan.matches(rule, matcher, text.as_bytes()),
        };
        let mut hits = Vec::new();
        if relay.test.as_ref().is_none_or(|test| fits(relay.rule, test)) {
            hits.push(relay.rule);
        }
        let subs = lists.subs.get(&relay.set).into_iter().flatten();
        hits.extend(subs.filter(|(rule, test)| fits(*rule, test)).map(|(rule, _)| *rule));
        let found = match address {
            Some(_) => listed(&plan.asked[query].query.name),
            None => text.into_owned(),
        };
        for rule in hits {
            let told = if lists.rules[rule].name.starts_with("__") { "" } else { &found };
            plan.hit(rule, told);
        }
    }
}

/// The name servers of the sender's domain are known, by the record of the zone that it is in.
pub(super) fn servers(plan: &mut Plan, lists: &Lists, number: usize, reply: &Reply) {
    let Some(server) = reply.primary.as_deref().filter(|name| is_fqdn_valid(&idn_to_ascii(name.as_bytes())))
    else {
        return;
    };
    let server = server.trim_end_matches('.');
    plan.ask(format!("{server}.{}", lists.relays[number].server).as_bytes(), Kind::A, Use::Relay(number));
}

/// Puts the tag together.
pub(super) fn finish(plan: &mut Plan) {
    if let Some(told) = plan.tags.get_mut(RBL) {
        *told = vec![told.join("\n")];
    }
}

fn tell(plan: &mut Plan, query: usize, text: &str) {
    let query = &plan.asked[query].query;
    let kind = if query.kind == Kind::A { String::new() } else { format!("?type={}", query.kind.name()) };
    let line = format!("<dns:{}{kind}> [{text}]", query.name);
    let told = plan.tags.entry(RBL.into()).or_default();
    if told.len() < MOST_TOLD && !told.contains(&line) {
        told.push(line);
    }
}

/// `192.0.2.1 listed in bl.example`.
fn listed(name: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    let octet = |label: &&&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    if labels.len() > 4 && labels[..4].iter().filter(octet).count() == 4 {
        let address: Vec<&str> = labels[..4].iter().rev().copied().collect();
        return format!("{} listed in {}", address.join("."), labels[4..].join("."));
    }
    let nibble = |label: &&&str| label.len() == 1 && label.bytes().all(|byte| byte.is_ascii_hexdigit());
    if labels.len() > 32 && labels[..32].iter().filter(nibble).count() == 32 {
        let digits: Vec<&str> = labels[..32].iter().rev().copied().collect();
        let groups: Vec<String> = digits.chunks(4).map(|group| group.concat()).collect();
        let address = groups.join(":").parse::<std::net::Ipv6Addr>();
        return format!(
            "{} listed in {}",
            address.map(|one| one.to_string()).unwrap_or_default(),
            labels[32..].join(".")
        );
    }
    format!("listed in {name}")
}

/// What there is to ask for in a message.
struct Message<'a, 't> {
    texts: &'a Texts<'t>,
    /// Addresses of relays that are not trusted, public ones, each once; None: there are none at all.
    untrusted: Option<Vec<Vec<u8>>>,
    /// Addresses of relays that are not ours.
    external: Vec<Vec<u8>>,
    /// What other fields tell of who has sent it, without those that are trusted.
    originating: Vec<Vec<u8>>,
    trusted: Networks,
}

impl<'a, 't> Message<'a, 't> {
    fn of(texts: &'a Texts<'t>) -> Message<'a, 't> {
        let relays = texts.relays();
        let all: Vec<Vec<u8>> = relays.untrusted.iter().map(|relay| relay.ip.to_vec()).collect();
        let ours = relays.trusted.iter().filter(|relay| !relay.internal).map(|relay| relay.ip.to_vec());
        let external = ours.chain(all.iter().cloned()).collect();
        let trusted = texts.settings().trusted_networks.clone().unwrap_or_else(Networks::loopback);
        let mut originating = Vec::new();
        for name in &texts.settings().originating_ip_headers {
            if let Some(value) = texts.header(&HeaderRequest::parse(name)).joined() {
                let mut from = 0;
                while let Some(range) = ip::find(&value, from) {
                    from = range.end;
                    originating.push(value[range].to_vec());
                }
            }
        }
        let untrusted = public(all.iter());
        let untrusted = (!untrusted.is_empty() || !originating.is_empty()).then_some(untrusted);
        originating.retain(|address| !trusted.contains(address));
        Message { texts, untrusted, external, originating, trusted }
    }

    fn values(&self, request: &str) -> Vec<Vec<u8>> {
        self.texts.header(&HeaderRequest::parse(request)).0.iter().map(|value| value.to_vec()).collect()
    }

    fn joined(&self, request: &str) -> Option<Vec<u8>> {
        self.texts.header(&HeaderRequest::parse(request)).joined().map(|value| value.to_vec())
    }

    /// Addresses of relays, reversed: which, the name of the set says.
    fn relays(&self, set: &str, nice: bool) -> Vec<Vec<u8>> {
        let Some(untrusted) = &self.untrusted else { return Vec::new() };
        let all = || public(untrusted.iter().chain(&self.originating));
        let mut addresses = if set.ends_with("-lastexternal") {
            public(self.external.iter()).into_iter().take(1).collect()
        } else if set.ends_with("-notfirsthop") {
            let mut addresses = public(self.external.iter());
            if addresses.len() > 1 {
                addresses.pop();
            }
            addresses
        } else if set.ends_with("-firsttrusted") {
            all().into_iter().take(1).collect()
        } else if set.ends_with("-untrusted") {
            all().into_iter().skip(1).collect()
        } else {
            let mut addresses = all();
            addresses.reverse();
            addresses
        };
        addresses.truncate(MOST_RELAYS);
        if !nice {
            let trusted = addresses.iter().take_while(|address| self.trusted.contains(address)).count();
            addresses.drain(..trusted);
        }
        addresses.iter().filter_map(|address| ip::reversed(bare(address))).collect()
    }

    /// Whether the sender says that somebody vouches for him: `user@a--NAME.example`, or the field `Accreditor`.
    fn accredited(&self, name: &str) -> bool {
        let sender = self.joined("EnvelopeFrom:addr").unwrap_or_default().to_ascii_lowercase();
        let in_sender = memchr::memmem::find_iter(&sender, b"a--").any(|at| {
            let rest = &sender[at + 3..];
            let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let before = at.checked_sub(1).map(|before| sender[before]);
            matches!(before, Some(b'@' | b'.'))
                && length >= 3
                && rest.get(length) == Some(&b'.')
                && &rest[..length] == name.as_bytes()
        });
        let field = self.joined("Accreditor").unwrap_or_default().to_ascii_lowercase();
        let first = |one: &[u8]| {
            one.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) == Some(name.as_bytes())
        };
        in_sender || field.split(|byte| *byte == b',').any(first)
    }

    /// A domain of the sender with a dot in it.
    fn sender_domain(&self) -> Option<Vec<u8>> {
        self.values("EnvelopeFrom:addr").iter().find_map(|address| {
            let host = host_of(address)?;
            let dotted = host
                .iter()
                .rposition(|byte| *byte == b'.')
                .is_some_and(|dot| dot > 0 && dot + 1 < host.len());
            dotted.then_some(host)
        })
    }

    /// Domains of the addresses that it is from, with something before an `@`.
    fn domains(&self) -> Vec<Vec<u8>> {
        let registry = &self.texts.settings().registry;
        let all = from_addresses(self.texts);
        let domains = all.iter().filter_map(|address| registry.uri_to_domain(address));
        domains.map(|(domain, _)| [&b"dummy@"[..], &domain].concat()).collect()
    }

    /// Hosts of addresses, as they are asked for.
    fn hosts(&self, addresses: &[Vec<u8>], relay: &RelayRule, lists: &Lists) -> Vec<Vec<u8>> {
        let mut hosts: Vec<Vec<u8>> = Vec::new();
        for address in addresses {
            let Some(host) = host_of(address) else { continue };
            let start = host.iter().take_while(|byte| **byte == b'.').count();
            let host = host[start..].to_ascii_lowercase();
            let length = host.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
            let host = host[..length].to_vec();
            if host.contains(&b'.') && !hosts.contains(&host) && hosts.len() < super::MAX_QUERIES {
                hosts.push(host);
            }
        }
        hosts.into_iter().filter_map(|host| self.host(&host, relay, lists)).collect()
    }

    /// A host as it is asked for, if the rule asks for such.
    fn host(&self, host: &[u8], relay: &RelayRule, lists: &Lists) -> Option<Vec<u8>> {
        let rule = &lists.rules[relay.rule];
        if ip::is_ip(host) {
            return if rule.domains_only { None } else { ip::reversed(bare(host)) };
        }
        let valid = !rule.ips_only
            && is_fqdn_valid(&idn_to_ascii(host))
            && self.texts.settings().registry.is_domain_valid(host);
        valid.then(|| host.to_vec())
    }

    /// What stands in fields: hosts of addresses, else hosts and addresses line by line.
    fn headers(&self, names: &[Box<str>], relay: &RelayRule, lists: &Lists) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for name in names {
            let address = self.joined(&format!("{name}:addr"));
            if let Some(address) = address.filter(|address| host_of(address).is_some()) {
                found.extend(self.hosts(&[address], relay, lists));
                continue;
            }
            let value = self.joined(name).unwrap_or_default();
            let lines = value.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            found.extend(lines.take(super::MAX_QUERIES).filter_map(|line| self.host(line, relay, lists)));
        }
        found
    }

    /// Address, names and greeting of the first relay.
    fn received(&self, relay: &RelayRule, lists: &Lists) -> Vec<Vec<u8>> {
        let Some(first) = self.texts.relays().untrusted.last() else { return Vec::new() };
        let mut hosts: Vec<&[u8]> = Vec::new();
        for value in [&first.ip, &first.by, &first.helo, &first.rdns] {
            let value = value.strip_suffix(b".").unwrap_or(value);
            if !value.is_empty() && !hosts.contains(&value) {
                hosts.push(value);
            }
        }
        hosts.into_iter().filter_map(|host| self.host(host, relay, lists)).collect()
    }
}

/// What stands behind the first `@`, with single dots.
fn host_of(address: &[u8]) -> Option<Vec<u8>> {
    let ends = |byte: &u8| *byte == b'@' || byte.is_ascii_whitespace();
    let found = memchr::memchr_iter(b'@', address).find_map(|at| {
        let rest = &address[at + 1..];
        let length = rest.iter().take_while(|byte| !ends(byte)).count();
        (length > 0).then(|| rest[..length].to_vec())
    });
    found.map(|mut host| {
        host.dedup_by(|one, other| *one == b'.' && *other == b'.');
        host
    })
}

/// Without `IPv6:`.
fn bare(address: &[u8]) -> &[u8] {
    match address.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"ipv6:") => &address[5..],
        _ => address,
    }
}

/// Each once, without those of no network of the Internet.
fn public<'v>(addresses: impl Iterator<Item = &'v Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for address in addresses {
        if !address.is_empty() && !ip::is_private(address) && !seen.contains(address) {
            seen.push(address.clone());
        }
    }
    seen
}
