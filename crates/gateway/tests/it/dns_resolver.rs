//! The resolver, against name servers that answer well, badly and not at all.

use std::net::UdpSocket;
use std::sync::Arc;

use futures_util::future::join_all;
use gatepost::config::typed::Dns as Settings;
use gatepost::config::units::Seconds;
use gatepost::resources::dns::{Dns, DnsCounters, DnsError, Mx, Resolve, confirmed_name};

use crate::rig::{self, NameServer};

/// A resolver that asks these servers, and what it counts.
fn resolver(servers: &[String], change: impl FnOnce(&mut Settings)) -> (Dns, DnsCounters) {
    let mut settings = Settings { servers: servers.to_vec(), time: Seconds::new(1), ..Settings::default() };
    change(&mut settings);
    let counters = DnsCounters::default();
    let dns = Dns::counting(&settings, counters.clone()).unwrap_or_else(|problems| panic!("{problems:?}"));
    (dns, counters)
}

fn asking(server: &NameServer) -> (Dns, DnsCounters) {
    resolver(&[server.address.to_string()], |_| {})
}

/// A server that never answers; it lives as long as the socket.
fn silent() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn failed(answer: Result<Vec<std::net::Ipv4Addr>, DnsError>) -> String {
    match answer {
        Err(DnsError::Failed(why)) => why,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn records_of_every_kind() {
    let long = "x".repeat(3000);
    let server = NameServer::start(&format!(
        "a.example 60 A 192.0.2.1\na.example 60 A 192.0.2.2\na.example 60 AAAA 2001:db8::1\n\
         a.example 60 MX 20 b.example.\na.example 60 MX 10 Mail.example.\na.example 60 TXT v=spf1 -all\n\
         null.example 60 MX 0 .\nlong.example 60 TXT {long}\nlong.example 60 TRUNCATED\n\
         1.2.0.192.in-addr.arpa 60 PTR Mail.Example.\nmail.example 60 A 192.0.2.1\n\
         none.example 60 NODATA\n*.wild.example 60 A 192.0.2.9\n_dmarc.a.example 60 TXT v=DMARC1\n"
    ));
    let (dns, _) = asking(&server);
    assert_eq!(dns.a("A.Example.").await.unwrap().len(), 2);
    assert_eq!(dns.aaaa("a.example").await.unwrap(), ["2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap()]);
    let exchanger = |preference, exchange: &str| Mx { preference, exchange: exchange.into() };
    assert_eq!(
        dns.mx("a.example").await.unwrap(),
        [exchanger(10, "Mail.example"), exchanger(20, "b.example")]
    );
    assert_eq!(dns.mx("null.example").await.unwrap(), [exchanger(0, "")]);
    assert_eq!(dns.txt("a.example").await.unwrap(), ["v=spf1 -all"]);
    assert_eq!(dns.txt("_dmarc.a.example").await.unwrap(), ["v=DMARC1"]);
    assert_eq!(dns.ptr("192.0.2.1".parse().unwrap()).await.unwrap(), ["Mail.Example"]);
    assert_eq!(dns.a("anything.wild.example").await.unwrap().len(), 1);
    assert_eq!(dns.a("gone.example").await, Err(DnsError::NoName));
    assert_eq!(dns.a("none.example").await, Err(DnsError::NoData));
    assert_eq!(dns.aaaa("mail.example").await, Err(DnsError::NoData));
    let confirmed = confirmed_name(&dns, "192.0.2.1".parse().unwrap()).await.unwrap();
    assert_eq!(confirmed.confirmed.as_deref(), Some("mail.example"));

    // Too long for UDP: asked again over TCP.
    assert_eq!(dns.txt("long.example").await.unwrap(), [long]);
    assert_eq!((server.asked("long.example TXT"), server.asked("long.example TXT TCP")), (1, 1));

    // No names at all: none of them is asked for, and none exists.
    let before = server.asked_in_all();
    for name in ["", ".", "a..example", &"a.".repeat(200), &format!("{}.example", "x".repeat(64))] {
        assert_eq!(dns.a(name).await, Err(DnsError::NoName), "{name}");
    }
    assert_eq!(server.asked_in_all(), before);
}

#[tokio::test]
async fn aliases_are_followed_to_their_end() {
    let mut lines = String::from(
        "a.example 60 CNAME b.example\nb.example 60 CNAME c.example\nc.example 60 A 192.0.2.1\n\
         lost.example 60 CNAME gone.example\nempty.example 60 CNAME none.example\nnone.example 60 NODATA\n\
         loop.example 60 CNAME loop2.example\nloop2.example 60 CNAME loop.example\nself.example 60 CNAME self.example\n\
         short.example 1 CNAME c.example\nbroken.example 60 CNAME servfail.example\nservfail.example 0 SERVFAIL\n",
    );
    for number in 0..100 {
        lines.push_str(&format!("n{number}.example 60 CNAME n{}.example\n", number + 1));
    }
    let server = NameServer::start(&lines);
    let (dns, _) = asking(&server);
    assert_eq!(dns.a("a.example").await.unwrap().len(), 1);
    assert_eq!(dns.a("lost.example").await, Err(DnsError::NoName));
    assert_eq!(dns.a("empty.example").await, Err(DnsError::NoData));
    assert_eq!(failed(dns.a("broken.example").await), "SERVFAIL");
    for name in ["loop.example", "self.example"] {
        assert!(failed(dns.a(name).await).contains("go round in a circle"), "{name}");
    }
    assert!(failed(dns.a("n0.example").await).contains("more than 10 times"));
    assert!(server.asked_in_all() < 40, "{}", server.asked_in_all());

    // The shortest link decides how long the answer is kept.
    assert!(dns.a("short.example").await.is_ok());
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    assert!(dns.a("short.example").await.is_ok() && dns.a("a.example").await.is_ok());
    assert_eq!((server.asked("short.example A"), server.asked("a.example A")), (2, 1));
}

#[tokio::test]
async fn what_is_known_is_not_asked_again() {
    let server = NameServer::start(
        "a.example 60 A 192.0.2.1\nnone.example 60 NODATA\nbare.example -1 NODATA\nzero.example 0 A 192.0.2.1\n\
         bad.example 0 SERVFAIL\nrefused.example 0 REFUSED\nslow.example 0 SILENT\nsoon.example 1 NXDOMAIN\n",
    );
    let (dns, counters) = asking(&server);
    for (name, times) in [
        ("a.example", 1),
        ("none.example", 1),
        ("gone.example", 1),
        ("bad.example", 1),
        ("refused.example", 1),
        // RFC 2308 section 5: a negative answer without a SOA is not kept, nor is what its zone gives no time.
        ("bare.example", 3),
        ("zero.example", 3),
    ] {
        let first = dns.a(name).await;
        for _ in 0..2 {
            assert_eq!(dns.a(name).await, first, "{name}");
        }
        assert_eq!(server.asked(&format!("{name} A")), times, "{name}");
    }
    assert_eq!((counters.questions.get(), counters.cached.get()), (21, 10));
    assert_eq!((counters.failures.get(), counters.timeouts.get()), (2, 0));

    // Another case of the name and a final dot are the same question, another type is not.
    let before = server.asked_in_all();
    assert!(dns.a("A.EXAMPLE.").await.is_ok());
    assert_eq!(server.asked_in_all(), before);
    assert_eq!(dns.txt("a.example").await, Err(DnsError::NoData));
    assert_eq!(server.asked_in_all(), before + 1);

    // A name nobody answers for costs its timeout once.
    assert_eq!(dns.a("slow.example").await, Err(DnsError::Timeout));
    let asked = server.asked("slow.example A");
    assert_eq!(dns.a("slow.example").await, Err(DnsError::Timeout));
    assert_eq!(server.asked("slow.example A"), asked);
    assert_eq!(counters.timeouts.get(), 1);

    // What is no more is asked for when its time is over.
    assert_eq!(dns.a("soon.example").await, Err(DnsError::NoName));
    server.set("soon.example 60 A 192.0.2.1\n");
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    assert!(dns.a("soon.example").await.is_ok());
}

#[tokio::test]
async fn the_same_question_on_its_way_is_asked_once() {
    let server = NameServer::start(
        "a.example 0 A 192.0.2.1\na.example 0 WAIT 200\nb.example 60 A 192.0.2.1\nb.example 0 WAIT 200\n",
    );
    let (dns, counters) = asking(&server);
    let answers = join_all((0..50).map(|_| dns.a("a.example"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((server.asked("a.example A"), counters.cached.get()), (1, 49));

    // Whoever gives up does not take the answer from the others, nor from those who come later.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), dns.a("b.example")).await.is_err());
    assert!(dns.a("b.example").await.is_ok());
    assert!(dns.a("b.example").await.is_ok());
    assert_eq!(server.asked("b.example A"), 1);
}

#[tokio::test]
async fn questions_on_their_way_are_bounded() {
    let server = NameServer::start("*.example 60 A 192.0.2.1\n*.example 0 WAIT 5\n");
    let (dns, _) = resolver(&[server.address.to_string()], |settings| settings.at_once = 2);
    let names: Vec<String> = (0..200).map(|number| format!("n{number}.example")).collect();
    let answers = join_all(names.iter().map(|name| dns.a(name))).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 200 - 80, "forty may wait for each of the two on their way");
    assert!(answers.into_iter().filter(Result::is_err).all(|answer| failed(answer).contains("too many")));
    assert!(dns.a("n199.example").await.is_ok(), "that it was too much is not kept");
}

#[tokio::test]
async fn a_crowd_of_questions_is_answered() {
    let server = NameServer::start("*.example 60 A 192.0.2.1\n*.example 0 WAIT 50\n");
    let (dns, counters) =
        resolver(&[server.address.to_string()], |settings| settings.time = Seconds::new(20));
    let names: Vec<String> = (0..600).map(|number| format!("n{number}.example")).collect();
    let answers = join_all(names.iter().map(|name| dns.a(name))).await;
    let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((counters.questions.get(), counters.cached.get()), (600, 0));
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_cannot_answer() {
    let good = NameServer::start("a.example 60 A 192.0.2.1\n*.b.example 60 A 192.0.2.1\n");
    let good = good.address.to_string();
    let bad = NameServer::start("*.example 0 SERVFAIL\n*.b.example 0 SERVFAIL\na.example 0 REFUSED\n");
    let (_socket, silent) = silent();

    let (dns, _) = resolver(&[bad.address.to_string(), good.clone()], |_| {});
    assert!(dns.a("a.example").await.is_ok());
    assert!(dns.a("1.b.example").await.is_ok());
    assert_eq!((bad.asked("a.example A"), bad.asked("1.b.example A")), (1, 1));

    let (dns, counters) = resolver(&[silent.clone(), bad.address.to_string(), good], |_| {});
    assert!(dns.a("a.example").await.is_ok());
    // The silent one is asked last from now on, so that it does not cost its time again.
    let began = std::time::Instant::now();
    for number in 0..20 {
        assert!(dns.a(&format!("{number}.b.example")).await.is_ok());
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(counters.timeouts.get(), 0);

    // An answer that there is nothing is an answer.
    let empty = NameServer::start("");
    let (dns, _) = resolver(&[empty.address.to_string(), bad.address.to_string()], |_| {});
    assert_eq!(dns.a("77.b.example").await, Err(DnsError::NoName));
    assert_eq!(bad.asked("77.b.example A"), 0);

    // Of several failures the most telling is told.
    let (dns, _) = resolver(&[silent.clone(), bad.address.to_string()], |_| {});
    assert_eq!(failed(dns.a("3.b.example").await), "SERVFAIL");
    let (dns, _) = resolver(&[silent], |_| {});
    assert_eq!(dns.a("3.b.example").await, Err(DnsError::Timeout));
}

#[tokio::test]
async fn beside_a_real_unbound() {
    if !rig::needs(&["unbound"]) {
        return;
    }
    let texts: Vec<String> = (0..30).map(|n| format!("long.test. TXT \"{n}{}\"", "y".repeat(200))).collect();
    let mut records = vec![
        "a.test. 60 A 192.0.2.1",
        "a.test. 60 MX 10 mail.test.",
        "mail.test. 60 A 192.0.2.1",
        "1.2.0.192.in-addr.arpa. PTR mail.test.",
        "loop.test. 60 CNAME loop2.test.",
        "loop2.test. 60 CNAME loop.test.",
        "alias.test. 60 CNAME a.test.",
    ];
    records.extend(texts.iter().map(String::as_str));
    let server = rig::Dns::start(&["test.", "2.0.192.in-addr.arpa."], &records);
    let (dns, _) = resolver(&[server.address.to_string()], |settings| settings.time = Seconds::new(5));
    let dns = Arc::new(dns);
    assert_eq!(dns.a("a.test").await.unwrap().len(), 1);
    assert_eq!(dns.a("alias.test").await.unwrap().len(), 1);
    assert_eq!(dns.mx("a.test").await.unwrap()[0].exchange, "mail.test");
    assert_eq!(dns.a("nowhere.test").await, Err(DnsError::NoName));
    assert_eq!(dns.aaaa("a.test").await, Err(DnsError::NoData));
    assert_eq!(dns.txt("long.test").await.unwrap().len(), 30, "truncated over UDP, whole over TCP");
    assert_eq!(failed(dns.a("elsewhere.example").await), "REFUSED");
    assert!(matches!(dns.a("loop.test").await, Err(DnsError::Failed(_))));
    let confirmed = confirmed_name(&*dns, "192.0.2.1".parse().unwrap()).await.unwrap();
    assert_eq!(confirmed.confirmed.as_deref(), Some("mail.test"));
}
