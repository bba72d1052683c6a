//! DNS block lists on the client's address (RFC 5782): asked as soon as a client has connected, all side by side.
//!
//! An address in the list's zone is a listing only if it is an answer the list means: 127.255.255.0/24 says "I refuse
//! to answer you" and anything outside 127.0.0.0/8 comes from a resolver that lies or a zone that was given up. Both
//! are faults, never listings: else one day every mail is refused.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Counts, Fault, Finding, OnFault, Session};
use tokio::time::{Instant, timeout_at};

use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, Health, SymbolInfo, looking};
use crate::config::typed::Dnsbl as Settings;
use crate::config::units::Net;
use crate::config::{Config, Problem};
use crate::resources::dns::{DnsError, Resolve, backwards};

/// Longest a zone may be, so that an IPv6 address in nibbles fits before it into the 253 bytes of a name.
const LONGEST_ZONE: usize = 253 - 64;

/// Longest to wait for the list's explanation once an address is known to be listed.
const TEXT_TIME: Duration = Duration::from_secs(2);

/// Characters of an explanation that are kept.
const TEXT_LENGTH: usize = 200;

/// One symbol for each list.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    config
        .checks
        .dnsbl
        .iter()
        .map(|(name, list)| SymbolInfo {
            name: symbol(name).into(),
            meaning: format!("the client's address is listed in {}", list.zone).into(),
            counts: list.category.map_or(Counts::Points(list.weight), Counts::As),
        })
        .collect()
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
                format!("its symbol {} is that of `{}` too; rename one", list.symbol, other.name),
            ));
        }
        lists.push(list);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(lists.into_iter().map(|list| Box::new(list) as Box<dyn Check>).collect())
}

/// The address that every list lists, for tests (RFC 5782 section 5).
const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The address that no list lists: a zone that does answers anything with "listed".
const UNLISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));

/// One list.
struct List {
    /// `dnsbl:zen`
    name: String,
    /// `DNSBL_ZEN`
    symbol: String,
    /// Without final dot.
    zone: String,
    /// Answers that count; empty: all.
    answers: Vec<AnswerRange>,
    time: Duration,
    on_fault: OnFault,
    /// Clients that are never asked about.
    ours: Arc<[Net]>,
    dns: Arc<dyn Resolve>,
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
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            problems.push(Problem::new(&key, "a list's name is of letters, digits, `-`, `_` and `.`"));
        }
        let zone = settings.zone.trim_end_matches('.').to_ascii_lowercase();
        if let Err(why) = check_zone(&zone) {
            problems.push(Problem::new(format!("{key}.zone"), why));
        }
        if settings.time.duration().is_zero() {
            problems.push(Problem::new(format!("{key}.time"), "must be at least 1 second"));
        }
        let mut answers = Vec::new();
        for (place, text) in settings.answers.iter().enumerate() {
            match AnswerRange::parse(text) {
                Ok(range) => answers.push(range),
                Err(why) => problems.push(Problem::new(format!("{key}.answers[{place}]"), why)),
            }
        }
        List {
            name: format!("dnsbl:{name}"),
            symbol: symbol(name),
            zone,
            answers,
            time: settings.time.duration(),
            on_fault: settings.on_fault,
            ours: config.networks.as_slice().into(),
            dns: with.dns.clone(),
        }
    }

    /// Asks the list about one address.
    async fn ask(&self, client: IpAddr) -> Result<Found, Fault> {
        let deadline = Instant::now() + self.time;
        let name = query(client, &self.zone);
        let answers = match timeout_at(deadline, self.dns.a(&name)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(why)) if why.is_nothing() => return Ok(Found::default()),
            Ok(Err(DnsError::Failed(why))) => return Err(self.fault(Cause::Unavailable, why)),
            Ok(Err(why)) => return Err(self.fault(Cause::Timeout, why.to_string())),
            Err(_) => {
                let detail = format!("no answer for {name} within {}", seconds(self.time));
                return Err(self.fault(Cause::Timeout, detail));
            }
        };
        if let Some(why) = answers.iter().find_map(|&answer| refusal(answer)) {
            return Err(self.fault(Cause::Unavailable, why));
        }
        let listed: Vec<_> = answers.into_iter().filter(|&answer| self.counts(answer)).collect();
        if listed.is_empty() {
            return Ok(Found::default());
        }
        let text = timeout_at(deadline.min(Instant::now() + TEXT_TIME), self.dns.txt(&name)).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        Ok(vec![Finding::mail(self.symbol.clone(), evidence(client, &self.zone, listed, &text))].into())
    }

    /// Whether the list works, by the two addresses that are there to find that out.
    async fn try_out(&self) -> Result<String, String> {
        let deadline = Instant::now() + self.time;
        let late = |_| format!("no answer within {}", seconds(self.time));
        let (listed, unlisted) = (query(LISTED, &self.zone), query(UNLISTED, &self.zone));
        match timeout_at(deadline, self.dns.a(&listed)).await.map_err(late)? {
            Ok(answers) => answers.into_iter().find_map(refusal).map_or(Ok(()), Err)?,
            Err(why) if why.is_nothing() => {
                return Err(format!("{} does not list its test address {LISTED}", self.zone));
            }
            Err(why) => return Err(format!("{}: {why}", self.zone)),
        }
        match timeout_at(deadline, self.dns.a(&unlisted)).await.map_err(late)? {
            Err(why) if why.is_nothing() => Ok(format!("{} answers", self.zone)),
            Ok(_) => Err(format!("{} lists {UNLISTED}, which no list does: it lists everything", self.zone)),
            Err(why) => Err(format!("{}: {why}", self.zone)),
        }
    }

    fn counts(&self, answer: Ipv4Addr) -> bool {
        self.answers.is_empty() || self.answers.iter().any(|range| range.contains(answer))
    }

    fn fault(&self, cause: Cause, detail: String) -> Fault {
        Fault { check: self.name.clone(), cause, detail, answer: self.on_fault }
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
        if is_private(client) || self.ours.iter().any(|net| net.contains(client)) {
            return None;
        }
        looking(self.ask(client))
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(async {
            let (name, vital) = (self.name.clone(), self.on_fault != OnFault::Accept);
            vec![Health { name, vital, state: self.try_out().await }]
        })
    }
}

/// `zen` → `DNSBL_ZEN`.
fn symbol(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("DNSBL_{}", name.chars().map(plain).collect::<String>())
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

/// The name to look up: bytes or nibbles backwards before the zone (RFC 5782 sections 2.1 and 2.4).
fn query(client: IpAddr, zone: &str) -> String {
    backwards(client) + zone
}

/// Why an answer is none, if so.
fn refusal(answer: Ipv4Addr) -> Option<String> {
    match answer.octets() {
        [127, 255, 255, code] => {
            let meaning = match code {
                252 => "the zone's name is mistyped",
                254 => "the list refuses queries that come through public resolvers",
                255 => "the list refuses further queries: there were too many",
                _ => "the list refuses to answer",
            };
            Some(format!("{answer}: {meaning}"))
        }
        [127, ..] => None,
        _ => Some(format!(
            "{answer} is no answer of a block list: a resolver that lies, or the list is no more"
        )),
    }
}

fn evidence(client: IpAddr, zone: &str, mut listed: Vec<Ipv4Addr>, text: &[String]) -> String {
    listed.sort_unstable();
    listed.dedup();
    let answers: Vec<_> = listed.iter().map(Ipv4Addr::to_string).collect();
    let mut evidence = format!("{client} in {zone}: {}", answers.join(", "));
    if let Some(text) = text.first() {
        let clean: String =
            text.chars().take(TEXT_LENGTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
        _ = write!(evidence, " ({})", clean.trim());
    }
    evidence
}

/// Answers that count, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AnswerRange(Ipv4Addr, Ipv4Addr);

impl AnswerRange {
    /// `127.0.0.2`, `127.0.0.4-7` or `127.0.0.0/28`.
    fn parse(text: &str) -> Result<AnswerRange, String> {
        let unclear = || format!("“{text}” is not an answer such as 127.0.0.2, 127.0.0.4-7 or 127.0.0.0/28");
        let range = if let Some((first, last)) = text.split_once('-') {
            let first: Ipv4Addr = first.trim().parse().map_err(|_| unclear())?;
            let last: u8 = last.trim().parse().map_err(|_| unclear())?;
            let [a, b, c, _] = first.octets();
            AnswerRange(first, Ipv4Addr::new(a, b, c, last))
        } else if text.contains('/') {
            let net: ipnet::Ipv4Net = text.trim().parse().map_err(|_| unclear())?;
            AnswerRange(net.network(), net.broadcast())
        } else {
            let one = text.trim().parse().map_err(|_| unclear())?;
            AnswerRange(one, one)
        };
        if range.0 > range.1 {
            Err(format!("“{text}” ends before it begins"))
        } else if !range.0.is_loopback() || !range.1.is_loopback() {
            Err(format!("“{text}” is not in 127.0.0.0/8, where the answers of lists are"))
        } else if range.0.octets()[..3] == [127, 255, 255] {
            Err(format!("“{text}” is in 127.255.255.0/24, by which lists say that they refuse to answer"))
        } else {
            Ok(range)
        }
    }

    fn contains(self, answer: Ipv4Addr) -> bool {
        (self.0..=self.1).contains(&answer)
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

    /// Names by this resolver, and an empty memory.
    pub fn with_dns(dns: impl Resolve + 'static) -> Resources {
        Resources {
            dns: Arc::new(dns),
            state: Memory::small(),
            next_hops: Arc::new(NoNextHop),
            notices: Arc::new(NoNotice),
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
                    let kind = if word.parse::<Ipv4Addr>().is_ok() { "A" } else { "TXT" };
                    records.add(&format!("{name} {kind} {word}"));
                }),
            }
        }
        with_dns(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::dns::Dns;
    use gatepost_mail::{Category, Points};
    use std::net::SocketAddr;
    use std::process::{Child, Command};

    fn config(lists: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        config.networks.push("198.51.100.0/24".parse().unwrap());
        for (name, zone) in lists {
            let list = Settings {
                zone: zone.to_string(),
                time: crate::config::units::Seconds::new(1),
                ..Settings::default()
            };
            config.checks.dnsbl.insert(name.to_string(), list);
        }
        config
    }

    fn session(client: &str) -> Session {
        Session { client: client.parse().ok(), ..Session::default() }
    }

    /// What all lists say of a client: evidence, or cause and detail.
    async fn ask(config: &Config, resources: &Resources, client: &str) -> Vec<String> {
        let set = crate::checks::CheckSet::build(config, resources).expect("a good configuration");
        let found = set.connect(&session(client)).await;
        let findings = found.findings.into_iter().map(|f| format!("{} {}", f.symbol, f.evidence));
        let faults = found.faults.into_iter().map(|f| format!("{} {}: {}", f.check, f.cause, f.detail));
        findings.chain(faults).collect()
    }

    #[tokio::test]
    async fn what_answers_mean() {
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.l.example";
        let resources = testing::resources(&[
            ("1.2.0.192.l.example", "127.0.0.4 127.0.0.2 see:http://l.example/"),
            ("2.2.0.192.l.example", "127.255.255.254"),
            ("3.2.0.192.l.example", "203.0.113.80"),
            ("4.2.0.192.l.example", "servfail"),
            ("5.2.0.192.l.example", "timeout"),
            ("6.2.0.192.l.example", "127.0.0.2"),
            ("7.2.0.192.l.example", "127.0.0.2 127.255.255.255"),
            ("1.0.0.127.l.example", "127.0.0.2"),
            ("1.0.0.10.l.example", "127.0.0.2"),
            ("1.0.64.100.l.example", "127.0.0.2"),
            ("1.100.51.198.l.example", "127.0.0.2"),
            (six, "127.0.0.2 listed\u{7}here"),
        ]);
        for (client, expected) in [
            ("192.0.2.1", "DNSBL_L 192.0.2.1 in l.example: 127.0.0.2, 127.0.0.4 (see:http://l.example/)"),
            (
                "::ffff:192.0.2.1",
                "DNSBL_L 192.0.2.1 in l.example: 127.0.0.2, 127.0.0.4 (see:http://l.example/)",
            ),
            ("2001:db8::1", "DNSBL_L 2001:db8::1 in l.example: 127.0.0.2 (listed here)"),
            ("192.0.2.6", "DNSBL_L 192.0.2.6 in l.example: 127.0.0.2"),
            ("192.0.2.9", ""),
            (
                "192.0.2.2",
                "dnsbl:l unavailable: 127.255.255.254: the list refuses queries that come through public resolvers",
            ),
            (
                "192.0.2.7",
                "dnsbl:l unavailable: 127.255.255.255: the list refuses further queries: there were too many",
            ),
            (
                "192.0.2.3",
                "dnsbl:l unavailable: 203.0.113.80 is no answer of a block list: a resolver that lies, or the list is no more",
            ),
            ("192.0.2.4", "dnsbl:l unavailable: SERVFAIL"),
            ("192.0.2.5", "dnsbl:l timeout: no name server answered in time"),
            // Never asked about, though the table would list them.
            ("127.0.0.1", ""),
            ("10.0.0.1", ""),
            ("100.64.0.1", ""),
            ("198.51.100.1", ""),
            ("no address", ""),
        ] {
            assert_eq!(
                ask(&config(&[("l", "l.example")]), &resources, client).await.join("\n"),
                expected,
                "{client}"
            );
        }
    }

    #[tokio::test]
    async fn lists_are_asked_side_by_side() {
        let table: Vec<_> =
            ["a", "b", "c"].map(|zone| (format!("1.2.0.192.{zone}.example"), "hang")).to_vec();
        let table: Vec<_> = table.iter().map(|(name, answer)| (name.as_str(), *answer)).collect();
        let config = config(&[("a", "a.example"), ("b", "b.example"), ("c", "c.example")]);
        let began = Instant::now();
        let said = ask(&config, &testing::resources(&table), "192.0.2.1").await;
        assert_eq!(said[2], "dnsbl:c timeout: no answer for 1.2.0.192.c.example within 1 s");
        assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn only_the_answers_that_count() {
        let resources = testing::resources(&[
            ("1.2.0.192.l.example", "127.0.0.10"),
            ("2.2.0.192.l.example", "127.0.0.5"),
            ("3.2.0.192.l.example", "127.0.0.17"),
        ]);
        let mut config = config(&[("l", "l.example")]);
        config.checks.dnsbl.get_mut("l").unwrap().answers =
            ["127.0.0.2", "127.0.0.4-7", "127.0.0.16/30"].map(String::from).to_vec();
        for (client, listed) in [("192.0.2.1", false), ("192.0.2.2", true), ("192.0.2.3", true)] {
            assert_eq!(!ask(&config, &resources, client).await.is_empty(), listed, "{client}");
        }
    }

    #[tokio::test]
    async fn lists_are_tried_out_by_their_test_addresses() {
        let resources = testing::resources(&[
            ("2.0.0.127.good.example", "127.0.0.2"),
            ("2.0.0.127.all.example", "127.0.0.2"),
            ("1.0.0.127.all.example", "127.0.0.2"),
            ("2.0.0.127.refuses.example", "127.255.255.254"),
            ("2.0.0.127.down.example", "servfail"),
            ("2.0.0.127.slow.example", "hang"),
        ]);
        for (zone, expected) in [
            ("good.example", Ok("good.example answers")),
            ("gone.example", Err("gone.example does not list its test address 127.0.0.2")),
            ("all.example", Err("all.example lists 127.0.0.1, which no list does: it lists everything")),
            (
                "refuses.example",
                Err("127.255.255.254: the list refuses queries that come through public resolvers"),
            ),
            ("down.example", Err("down.example: SERVFAIL")),
            ("slow.example", Err("no answer within 1 s")),
        ] {
            let checks = build(&config(&[("l", zone)]), &resources).expect("a good configuration");
            let health = checks[0].health().await;
            let state = health[0].state.as_ref().map(String::as_str).map_err(String::as_str);
            assert_eq!((state, health[0].vital), (expected, false), "{zone}");
        }
    }

    #[test]
    fn answers_as_they_are_typed() {
        for (text, expected) in [
            ("127.0.0.2", Ok(([127, 0, 0, 2], [127, 0, 0, 2]))),
            ("127.0.0.4-7", Ok(([127, 0, 0, 4], [127, 0, 0, 7]))),
            ("127.0.0.0/28", Ok(([127, 0, 0, 0], [127, 0, 0, 15]))),
            ("127.0.0.9-7", Err("ends before it begins")),
            ("127.0.0.4-300", Err("is not an answer")),
            ("192.0.2.0/24", Err("is not in 127.0.0.0/8")),
            ("127.255.255.254", Err("refuse to answer")),
            ("spam", Err("is not an answer")),
        ] {
            let got = AnswerRange::parse(text);
            match expected {
                Ok((first, last)) => assert_eq!(got, Ok(AnswerRange(first.into(), last.into())), "{text}"),
                Err(part) => assert!(got.clone().is_err_and(|why| why.contains(part)), "{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn problems_name_their_keys() {
        let mut config =
            config(&[("zen", "zen.example"), ("Zen", "bad zone"), ("none", ""), ("a b", "x.example")]);
        config.checks.dnsbl.get_mut("zen").unwrap().answers = vec!["127.0.0.2".into(), "2".into()];
        let keys: Vec<_> = build(&config, &testing::resources(&[]))
            .err()
            .unwrap()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(
            keys,
            [
                "checks.dnsbl.Zen.zone",
                "checks.dnsbl.a b",
                "checks.dnsbl.none.zone",
                "checks.dnsbl.zen.answers[1]",
                "checks.dnsbl.zen"
            ]
        );
    }

    #[test]
    fn symbols_carry_what_was_configured() {
        let mut config = config(&[("zen-xbl", "xbl.example"), ("outright", "o.example")]);
        config.checks.dnsbl.get_mut("outright").unwrap().category = Some(Category::Spam);
        let symbols = symbols(&config);
        assert_eq!((&*symbols[0].name, symbols[0].counts), ("DNSBL_OUTRIGHT", Counts::As(Category::Spam)));
        assert_eq!(
            (&*symbols[1].name, symbols[1].counts),
            ("DNSBL_ZEN_XBL", Counts::Points(Points::thousandths(3000)))
        );
    }

    /// A name server of its own, ended with the test.
    struct Nsd {
        process: Child,
        address: SocketAddr,
        _folder: tempfile::TempDir,
    }

    impl Drop for Nsd {
        fn drop(&mut self) {
            _ = self.process.kill();
            _ = self.process.wait();
        }
    }

    const NSD: &str = "/usr/sbin/nsd";

    /// Serves `l.example`; `broken.example` is configured without a readable zone, which makes SERVFAIL.
    fn start_nsd() -> Nsd {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let zone = "$ORIGIN l.example.\n$TTL 60\n@ SOA ns.l.example. h.l.example. 1 60 60 60 60\n@ NS ns.l.example.\n\
                    1.2.0.192 A 127.0.0.2\n1.2.0.192 TXT \"listed for \" \"the test\"\n2.2.0.192 A 127.255.255.254\n";
        std::fs::write(folder.path().join("zone"), zone).unwrap();
        let text = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n do-ip6: no\n username: \"\"\n chroot: \"\"\n server-count: 1\n \
             pidfile: \"{path}/pid\"\n zonesdir: \"{path}\"\n logfile: \"{path}/log\"\n xfrdfile: \"{path}/xfrd\"\n \
             zonelistfile: \"{path}/list\"\n\
             remote-control:\n control-enable: no\n\
             zone:\n name: l.example\n zonefile: zone\nzone:\n name: broken.example\n zonefile: missing\n",
            port = address.port()
        );
        std::fs::write(folder.path().join("nsd.conf"), text).unwrap();
        let process = Command::new(NSD)
            .args(["-d", "-c"])
            .arg(folder.path().join("nsd.conf"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Nsd { process, address, _folder: folder }
    }

    #[tokio::test]
    async fn against_a_real_name_server() {
        if !std::path::Path::new(NSD).exists() {
            println!("skipped: {NSD} is not installed (package nsd)");
            return;
        }
        let nsd = start_nsd();
        let mut config = config(&[("l", "l.example"), ("broken", "broken.example")]);
        config.checks.dnsbl.values_mut().for_each(|list| list.time = crate::config::units::Seconds::new(5));
        config.checks.dns.servers = vec![nsd.address.to_string()];
        let mut ready = false;
        for _ in 0..100 {
            let dns = Dns::build(&config.checks.dns).unwrap();
            if dns.a("1.2.0.192.l.example").await.is_ok() {
                ready = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(ready, "nsd answers");
        let resources = testing::with_dns(Dns::build(&config.checks.dns).unwrap());
        for (client, expected) in [
            ("192.0.2.1", "DNSBL_L 192.0.2.1 in l.example: 127.0.0.2 (listed for the test)"),
            (
                "192.0.2.2",
                "dnsbl:l unavailable: 127.255.255.254: the list refuses queries that come through public resolvers",
            ),
            ("192.0.2.3", ""),
        ] {
            let said = ask(&config, &resources, client).await;
            let (broken, l): (Vec<String>, Vec<String>) =
                said.into_iter().partition(|line| line.starts_with("dnsbl:broken"));
            assert_eq!(l.join("\n"), expected, "{client}");
            assert_eq!(broken.len(), 1);
            assert!(broken[0].starts_with("dnsbl:broken unavailable"), "{broken:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_name_server_is_a_fault() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = config(&[("l", "l.example")]);
        config.checks.dns.servers = vec![silent.local_addr().unwrap().to_string()];
        let resources = testing::with_dns(Dns::build(&config.checks.dns).unwrap());
        let began = Instant::now();
        let said = ask(&config, &resources, "192.0.2.1").await;
        assert!(said.len() == 1 && said[0].starts_with("dnsbl:l timeout"), "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}
