//! What lists say, what is asked of them, and what is made of lists that do not work.

use super::*;
use crate::config::typed::ListCode;
use crate::resources::dns::Dns;
use crate::resources::dns::{Lookup, Mx};
use gatepost_auth::dns::Table;
use gatepost_mail::{Category, Counts, Direction, Points};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command};

fn config(lists: &[(&str, &str)]) -> Config {
    let mut config = Config::default();
    // They are about something else, and take their time.
    config.checks.rules.enabled = false;
    config.networks.push("198.51.100.0/24".parse().unwrap());
    for (name, zone) in lists {
        let list = Settings {
            zone: zone.to_string(),
            time: crate::config::units::Seconds::new(1),
            test: false,
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
    let found = set.connect(&session(client), &Default::default()).await;
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
        ("192.0.2.1", "DNSBL_L 192.0.2.1 in l: 127.0.0.2, 127.0.0.4 (see:http://l.example/)"),
        ("::ffff:192.0.2.1", "DNSBL_L 192.0.2.1 in l: 127.0.0.2, 127.0.0.4 (see:http://l.example/)"),
        ("2001:db8::1", "DNSBL_L 2001:db8::1 in l: 127.0.0.2 (listed here)"),
        ("192.0.2.6", "DNSBL_L 192.0.2.6 in l: 127.0.0.2"),
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
    let table: Vec<_> = ["a", "b", "c"].map(|zone| (format!("1.2.0.192.{zone}.example"), "hang")).to_vec();
    let table: Vec<_> = table.iter().map(|(name, answer)| (name.as_str(), *answer)).collect();
    let config = config(&[("a", "a.example"), ("b", "b.example"), ("c", "c.example")]);
    let began = Instant::now();
    let said = ask(&config, &testing::resources(&table), "192.0.2.1").await;
    assert_eq!(said[2], "dnsbl:c timeout: no answer within 1 s");
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

/// Everything that all lists find of a session and an envelope, symbols or faults with their details.
async fn found(
    config: &Config,
    table: &Table,
    session: &Session,
    sender: &str,
    recipients: &[&str],
) -> Vec<String> {
    let resources = testing::with_dns(table.clone());
    let set = crate::checks::CheckSet::build(config, &resources).expect("a good configuration");
    let envelope = Envelope {
        sender: Address::new(sender),
        recipients: recipients.iter().map(|text| Address::new(text).unwrap().into()).collect(),
        ..Envelope::default()
    };
    let found = set.envelope(session, &envelope).await;
    let ours = |symbol: &str| symbol.starts_with("DNS");
    let findings = found.findings.into_iter().filter(|f| ours(&f.symbol));
    let findings = findings.map(|f| match f.scope {
        Scope::Recipient(place) => format!("{} for {place}: {}", f.symbol, f.evidence),
        _ => format!("{}: {}", f.symbol, f.evidence),
    });
    let faults = found.faults.into_iter().map(|f| format!("{} {}: {}", f.check, f.cause, f.detail));
    findings.chain(faults).collect()
}

#[tokio::test]
async fn lists_of_domains_are_asked_for_what_they_are_of() {
    let table = Table::new(
        "bad.example.d.example A 127.0.1.2\nxn--bcher-kva.example.d.example A 127.0.1.2\n\
         bad.example.d.example TXT see https://d.example/?q=bad.example\n\
         1.2.0.192.in-addr.arpa PTR bad.example.\nbad.example A 192.0.2.1\n\
         2.2.0.192.in-addr.arpa PTR bad.example.\n3.2.0.192.in-addr.arpa TIMEOUT\nours.example.d.example A 127.0.1.2\n",
    );
    let all = [Subject::Helo, Subject::Sender, Subject::ReverseName, Subject::Recipient];
    let text = "bad.example in d: 127.0.1.2 (see https://d.example/?q=bad.example)";
    let named = |what: &str| format!("DNSBL_D: {what} {text}");
    let slow =
        "dnsbl:d unavailable: the name of 192.0.2.3 cannot be looked up: no name server answered in time";
    for (of, client, helo, sender, recipient, expected) in [
        (&all[..1], "192.0.2.9", "Bad.Example.", "a@good.example", "b@bad.example", vec![named("HELO")]),
        (&all[..1], "192.0.2.9", "[192.0.2.9]", "a@bad.example", "", vec![]),
        (&all[..1], "192.0.2.9", "bad", "a@bad.example", "", vec![]),
        (&all[1..2], "192.0.2.9", "bad.example", "a@BAD.example", "", vec![named("sender")]),
        (&all[1..2], "192.0.2.9", "x.example", "a@sub.bad.example", "", vec![]),
        (&all[1..2], "192.0.2.9", "bad.example", "", "", vec![]),
        (&all[1..2], "192.0.2.9", "", "a@ours.example", "", vec![]),
        (
            &all[1..2],
            "192.0.2.9",
            "",
            "a@b\u{fc}cher.example",
            "",
            vec!["DNSBL_D: sender xn--bcher-kva.example in d: 127.0.1.2".to_owned()],
        ),
        (&all[2..3], "192.0.2.1", "", "", "", vec![named("reverse name")]),
        (&all[2..3], "192.0.2.2", "", "", "", vec![]),
        (&all[2..3], "192.0.2.3", "", "", "", vec![slow.to_owned()]),
        (&all[2..3], "192.0.2.4", "", "", "", vec![]),
        (&all[3..], "192.0.2.9", "bad.example", "a@bad.example", "b@bad.example", vec![]),
        (
            &all,
            "192.0.2.1",
            "bad.example",
            "a@bad.example",
            "",
            vec![named("reverse name"), named("HELO"), named("sender")],
        ),
        (
            &all,
            "198.51.100.1",
            "bad.example",
            "a@bad.example",
            "b@bad.example",
            vec![format!("DNSBL_D for 0: recipient {text}")],
        ),
    ] {
        let mut config = config(&[("d", "d.example")]);
        config.domains = vec!["ours.example".into()];
        config.checks.dnsbl.get_mut("d").unwrap().of = of.to_vec();
        let session = Session { helo: helo.into(), ..session(client) };
        let recipients: Vec<&str> = [recipient].into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(
            found(&config, &table, &session, sender, &recipients).await,
            expected,
            "{of:?} {client} {helo} {sender}"
        );
    }
}

#[tokio::test]
async fn nobody_of_ours_is_asked_about() {
    let table = Table::new("1.2.0.192.l.example A 127.0.0.2\nbad.example.d.example A 127.0.1.2\n");
    let mut config = config(&[("l", "l.example"), ("d", "d.example")]);
    config.checks.dnsbl.get_mut("d").unwrap().of = vec![Subject::Helo, Subject::Sender];
    let outside = Session { helo: "bad.example".into(), ..session("192.0.2.1") };
    assert_eq!(found(&config, &table, &outside, "a@bad.example", &[]).await.len(), 3);
    for ours in [
        Session { user: Some("anna".into()), ..outside.clone() },
        Session { direction: Direction::Outbound, ..outside.clone() },
        Session { client: "198.51.100.9".parse().ok(), ..outside },
    ] {
        assert_eq!(found(&config, &table, &ours, "a@bad.example", &[]).await, [""; 0], "{ours:?}");
    }
}

#[tokio::test]
async fn codes_have_symbols_of_their_own() {
    let table = Table::new(
        "1.2.0.192.l.example A 127.0.0.2\n1.2.0.192.l.example A 127.0.0.4\n2.2.0.192.l.example A 127.0.0.9\n\
         3.2.0.192.l.example A 127.0.0.10\n1.2.0.192.w.example A 127.0.5.3\n",
    );
    let code = |symbol: &str, weight: i64| ListCode {
        symbol: symbol.into(),
        weight: Points::thousandths(weight),
        ..ListCode::default()
    };
    let mut config = config(&[("l", "l.example"), ("w", "w.example")]);
    let list = config.checks.dnsbl.get_mut("l").unwrap();
    list.codes.insert("127.0.0.2".into(), code("sbl", 2000));
    list.codes.insert("127.0.0.4-7".into(), code("XBL", 4000));
    list.codes.insert(
        "127.0.0.10-11".into(),
        ListCode { symbol: "PBL".into(), refuse: true, ..ListCode::default() },
    );
    config.checks.dnsbl.get_mut("w").unwrap().kind = ListKind::Allow;
    for (client, expected) in [
        (
            "192.0.2.1",
            &[
                "DNSBL_L: 192.0.2.1 in l: 127.0.0.2, 127.0.0.4",
                "DNSBL_L_SBL: 192.0.2.1 in l: 127.0.0.2",
                "DNSBL_L_XBL: 192.0.2.1 in l: 127.0.0.4",
                "DNSWL_W: 192.0.2.1 in w: 127.0.5.3",
            ][..],
        ),
        ("192.0.2.2", &[]),
        ("192.0.2.3", &["DNSBL_L: 192.0.2.3 in l: 127.0.0.10", "DNSBL_L_PBL: 192.0.2.3 in l: 127.0.0.10"]),
    ] {
        assert_eq!(found(&config, &table, &session(client), "", &[]).await, expected, "{client}");
    }
    let symbols: Vec<_> = symbols(&config).into_iter().map(|symbol| (symbol.name, symbol.counts)).collect();
    let points = |points| Counts::Points(Points::thousandths(points));
    assert_eq!(
        symbols,
        [
            // Nothing by itself: its codes have weights.
            ("DNSBL_L".into(), points(0)),
            ("DNSBL_L_PBL".into(), Counts::As(Category::Spam)),
            ("DNSBL_L_SBL".into(), points(2000)),
            ("DNSBL_L_XBL".into(), points(4000)),
            ("DNSWL_W".into(), points(-3000)),
        ]
    );
}

/// A resolver with too much to do: says so, or lets questions wait.
struct Busy {
    says: bool,
    waited: Duration,
}

impl Busy {
    fn answer<'a, T: Send + 'a>(&self) -> Lookup<'a, T> {
        match self.says {
            true => Box::pin(std::future::ready(Err(DnsError::Failed(TOO_MANY.into())))),
            false => Box::pin(std::future::pending()),
        }
    }
}

impl Resolve for Busy {
    fn a<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv4Addr> {
        self.answer()
    }
    fn aaaa<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv6Addr> {
        self.answer()
    }
    fn mx<'a>(&'a self, _: &'a str) -> Lookup<'a, Mx> {
        self.answer()
    }
    fn txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        self.answer()
    }
    fn ptr(&self, _: IpAddr) -> Lookup<'_, String> {
        self.answer()
    }
    fn waited(&self, _: &str) -> Duration {
        self.waited
    }
}

#[tokio::test]
async fn too_much_to_do_here_takes_no_list_out_of_use() {
    let second = Duration::from_secs(1);
    for (says, waited, test, out) in [
        (true, Duration::ZERO, false, false),
        (true, Duration::ZERO, true, false),
        (false, second, false, false),
        (false, second, true, false),
        (false, Duration::ZERO, false, true),
        (false, Duration::ZERO, true, true),
    ] {
        let mut config = config(&[("l", "l.example")]);
        config.checks.dnsbl.get_mut("l").unwrap().test = test;
        let resources = testing::with_dns(Busy { says, waited });
        let check = build(&config, &resources).ok().unwrap().remove(0);
        let session = session("192.0.2.1");
        let all = (0..6).map(|_| check.on_connect(&session).unwrap());
        futures_util::future::join_all(all).await;
        let began = Instant::now();
        let at_once = check.on_connect(&session).unwrap().await.unwrap_err();
        let told = at_once.detail.contains("no answer within");
        assert_eq!(told, out, "{says} {waited:?} {test}: {at_once:?}");
        if out {
            assert!(began.elapsed() < second, "{at_once:?}");
        }
    }
}

/// Answers from a table, but never with a text.
struct Mute(Table);

impl Resolve for Mute {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        self.0.a(name)
    }
    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        self.0.aaaa(name)
    }
    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        self.0.mx(name)
    }
    fn txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        Box::pin(std::future::pending())
    }
    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        self.0.ptr(address)
    }
}

#[tokio::test]
async fn a_listing_counts_although_its_explanation_never_comes() {
    let table = Table::new("1.2.0.192.l.example A 127.0.0.2\n");
    let resources = testing::with_dns(Mute(table));
    let said = ask(&config(&[("l", "l.example")]), &resources, "192.0.2.1").await;
    assert_eq!(said, ["DNSBL_L 192.0.2.1 in l: 127.0.0.2"]);
}

#[tokio::test]
async fn a_key_in_the_zone_is_shown_nowhere() {
    let table = Table::new(
        "1.2.0.192.s3cret.zen.example A 127.0.0.2\n\
         1.2.0.192.s3cret.zen.example TXT listed: 1.2.0.192.S3CRET.zen.example, see s3cret.zen.example\n\
         2.2.0.192.s3cret.zen.example FAILED\n3.2.0.192.s3cret.zen.example HANG\n\
         4.2.0.192.s3cret.zen.example A 127.255.255.254\n",
    );
    let mut config = config(&[("zen", "{key}.zen.example")]);
    config.checks.dnsbl.get_mut("zen").unwrap().key = "S3cret".into();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        let said = found(&config, &table, &session(client), "", &[]).await;
        assert!(said.len() == 1 && !said[0].to_lowercase().contains("s3cret"), "{said:?}");
        if client == "192.0.2.1" {
            assert_eq!(
                said[0],
                "DNSBL_ZEN: 192.0.2.1 in zen: 127.0.0.2 (listed: 1.2.0.192.zen.zen.example, see zen.zen.example)"
            );
        }
    }
    let list = config.checks.dnsbl.get_mut("zen").unwrap();
    list.test = true;
    for table in ["", "2.0.0.127.s3cret.zen.example FAILED", "2.0.0.127.s3cret.zen.example HANG"] {
        let why = try_out("zen", &config.checks.dnsbl["zen"], &Table::new(table)).await.unwrap_err();
        assert!(!why.to_lowercase().contains("s3cret"), "{why}");
    }
    for symbol in symbols(&config) {
        assert!(!symbol.meaning.to_lowercase().contains("s3cret"), "{symbol:?}");
    }

    // Written out, it is known by its length.
    let list = Settings { zone: "Aa1234567890bcdefg.zen.example".into(), ..Settings::default() };
    assert_eq!(list.secrets(), ["aa1234567890bcdefg"]);
    assert_eq!(hide("x.AA1234567890bcdefg.y \u{e9}", &list.secrets(), "zen"), "x.zen.y \u{e9}");
}

#[tokio::test]
async fn lists_are_tried_out_by_their_test_entries() {
    let v6 = |last: u8| format!("{last}.0.0.0.0.0.f.7.f.f.f.f.{}", "0.".repeat(20));
    let table = Table::new(&format!(
        "2.0.0.127.good.example A 127.0.0.2\n\
         2.0.0.127.all.example A 127.0.0.2\n1.0.0.127.all.example A 127.0.0.2\n\
         2.0.0.127.all6.example A 127.0.0.2\n{v6_1}all6.example A 127.0.0.2\n\
         {v6_2}six.example A 127.0.0.2\n\
         2.0.0.127.refuses.example A 127.255.255.254\n\
         2.0.0.127.lies.example A 203.0.113.1\n\
         2.0.0.127.down.example FAILED\n2.0.0.127.slow.example HANG\n\
         test.domains.example A 127.0.1.2\n\
         test.every.example A 127.0.1.2\ninvalid.every.example A 127.0.1.2\n\
         own.test.odd.example A 127.0.0.2\n",
        v6_1 = v6(1),
        v6_2 = v6(2),
    ));
    let (client, sender) = (Subject::Client, Subject::Sender);
    for (zone, of, addresses, expected) in [
        ("good", client, AddressKinds::Both, Ok("l lists its test entry 127.0.0.2 (127.0.0.2)")),
        ("good", client, AddressKinds::Ipv4, Ok("l lists its test entry 127.0.0.2 (127.0.0.2)")),
        ("good", client, AddressKinds::Ipv6, Err("l does not list its test entry ::ffff:127.0.0.2")),
        ("six", client, AddressKinds::Ipv6, Ok("l lists its test entry ::ffff:127.0.0.2 (127.0.0.2)")),
        ("gone", client, AddressKinds::Both, Err("l does not list its test entry 127.0.0.2")),
        (
            "all",
            client,
            AddressKinds::Both,
            Err("l lists 127.0.0.1, which no list does: it lists everything"),
        ),
        (
            "all6",
            client,
            AddressKinds::Both,
            Err("l lists ::ffff:127.0.0.1, which no list does: it lists everything"),
        ),
        ("all6", client, AddressKinds::Ipv4, Ok("l lists its test entry 127.0.0.2 (127.0.0.2)")),
        (
            "refuses",
            client,
            AddressKinds::Both,
            Err("l: 127.255.255.254: the list refuses queries that come through public resolvers"),
        ),
        (
            "lies",
            client,
            AddressKinds::Both,
            Err("l: 203.0.113.1 is no answer of a block list: a resolver that lies, or the list is no more"),
        ),
        ("down", client, AddressKinds::Both, Err("l: SERVFAIL")),
        ("slow", client, AddressKinds::Both, Err("l: no answer within 1 s")),
        ("domains", sender, AddressKinds::Both, Ok("l lists its test entry TEST (127.0.1.2)")),
        ("good", sender, AddressKinds::Both, Err("l does not list its test entry TEST")),
        (
            "every",
            sender,
            AddressKinds::Both,
            Err("l lists INVALID, which no list does: it lists everything"),
        ),
        ("odd", sender, AddressKinds::Both, Ok("l lists its test entry own.test (127.0.0.2)")),
    ] {
        let mut settings = config(&[("l", &format!("{zone}.example"))]).checks.dnsbl["l"].clone();
        (settings.test, settings.of, settings.addresses) = (true, vec![of], addresses);
        if zone == "odd" {
            settings.test_entry = "own.test".into();
        }
        let said = try_out("l", &settings, &table).await;
        assert_eq!(said.as_ref().map(String::as_str).map_err(String::as_str), expected, "{zone}");
    }
}

/// A list that is of no use is asked no more, until it passes its test again.
#[tokio::test]
async fn a_list_that_fails_is_out_of_use_until_it_passes() {
    let good = "2.0.0.127.l.example A 127.0.0.2\n1.2.0.192.l.example A 127.0.0.2\n";
    let all = format!("{good}1.0.0.127.l.example A 127.0.0.2\n");
    let mut config = config(&[("l", "l.example")]);
    config.checks.dnsbl.get_mut("l").unwrap().test = true;
    let settings = config.checks.dnsbl["l"].clone();
    let list = |table: &str| {
        let resources = testing::with_dns(Table::new(table));
        List::new("l", &settings, &config, &resources, &mut Vec::new())
    };
    let session = session("192.0.2.1");
    let ask = async |list: &List| match list.on_connect(&session).unwrap().await {
        Ok(found) => found.findings.len().to_string(),
        Err(fault) => fault.detail,
    };

    let mut changing = list(&all);
    assert!(
        ask(&changing).await.starts_with("the list is out of use: l lists 127.0.0.1"),
        "before the first use"
    );
    changing.dns = Arc::new(Table::new(good));
    assert!(ask(&changing).await.starts_with("the list is out of use: l lists"), "not tried again at once");
    changing.trial.age(Duration::from_secs(61));
    assert_eq!(ask(&changing).await, "1", "tried again after a minute");
    assert_eq!(changing.health().await[0].state, Ok("l lists its test entry 127.0.0.2 (127.0.0.2)".into()));

    // An hour later the test is due; whoever looks after health makes it, and mail does not wait for it.
    changing.dns = Arc::new(Table::new(&all));
    changing.trial.age(Duration::from_secs(3599));
    assert!(changing.health().await[0].state.is_ok());
    changing.trial.age(Duration::from_secs(3));
    assert_eq!(ask(&changing).await, "1");
    assert!(changing.health().await[0].state.is_err());
    assert!(ask(&changing).await.starts_with("the list is out of use"));

    // So do failures in a row; an answer in between starts the count again.
    let mut failing = list(good);
    for table in [good, "1.2.0.192.l.example FAILED", good, "1.2.0.192.l.example A 127.255.255.255"] {
        failing.dns = Arc::new(Table::new(&format!("2.0.0.127.l.example A 127.0.0.2\n{table}")));
        for _ in 0..4 {
            assert!(!ask(&failing).await.contains("out of use"), "{table}");
        }
    }
    assert!(ask(&failing).await.starts_with("127.255.255.255"));
    let said = ask(&failing).await;
    assert!(
        said.starts_with("the list is out of use: 5 failures in a row, the last: 127.255.255.255"),
        "{said}"
    );
    assert!(failing.health().await[0].state.is_err());
}

#[test]
fn what_contradicts_itself() {
    let wrong = |text: &str| -> Vec<String> {
        let list: Settings = toml::from_str(&format!("zone = 'l.example'\n{text}")).unwrap();
        let mut config = Config::default();
        config.checks.dnsbl.insert("l".into(), list);
        let problems = build(&config, &testing::resources(&[])).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key.replace("checks.dnsbl.l.", "")).collect()
    };
    for (text, expected) in [
        ("", &[][..]),
        ("of = []", &["of"]),
        ("of = ['client', 'sender']", &["of"]),
        ("of = ['sender', 'sender']", &["of[1]"]),
        ("kind = 'allow'\nweight = 3", &["weight"]),
        ("kind = 'allow'\nrefuse = true\ncategory = 'spam'", &["refuse", "category"]),
        ("kind = 'allow'\nweight = -3", &[]),
        ("errors = ['x']", &["errors[0]"]),
        ("codes.'127.0.0.2' = {weight = 3}", &["codes.\"127.0.0.2\".symbol"]),
        ("codes.'127.0.0.2' = {symbol = 'A B'}", &["codes.\"127.0.0.2\".symbol"]),
        ("codes.'2' = {symbol = 'A'}", &["codes.\"2\""]),
        (
            "codes.'127.0.0.2' = {symbol = 'A', weight = 1}\ncodes.'127.0.0.3' = {symbol = 'a', weight = 1}",
            &[],
        ),
        (
            "codes.'127.0.0.2' = {symbol = 'A', weight = 1}\ncodes.'127.0.0.3' = {symbol = 'a', weight = 2}",
            &["codes.\"127.0.0.3\".symbol"],
        ),
        ("codes.'127.0.0.2' = {}", &[]),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
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
    let symbols = super::symbols(&config);
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
                2.0.0.127 A 127.0.0.2\n1.2.0.192 A 127.0.0.2\n1.2.0.192 TXT \"listed for \" \"the test\"\n2.2.0.192 A 127.255.255.254\n";
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
        ("192.0.2.1", "DNSBL_L 192.0.2.1 in l: 127.0.0.2 (listed for the test)"),
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
