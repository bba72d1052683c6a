//! Against a p0f and an analyzer of our own, by their documented protocols. The real ones are in tests/it.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;

use super::*;
use crate::checks::CheckSet;
use crate::checks::dnsbl::testing::resources;

fn config(source: &str, more: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config { networks: vec!["198.51.100.0/24".parse().unwrap()], ..Config::default() };
    config.checks.rules.enabled = false;
    config.checks.p0f.source = source.to_owned();
    config.checks.p0f.time = crate::config::units::Seconds::new(1);
    more(&mut config);
    config
}

fn check(config: &Config) -> CheckSet {
    CheckSet::build(config, &resources(&[])).expect("a good configuration")
}

async fn ask(set: &CheckSet, client: &str, port: u16) -> Found {
    let session = Session { client: client.parse().ok(), port, ..Session::default() };
    set.connect(&session, &Default::default()).await
}

/// A p0f that answers with these names, one each; an empty one is "no match". It counts connections.
fn p0f(folder: &std::path::Path, names: &'static [&'static str]) -> String {
    let path = folder.join("p0f.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut names = names.iter();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut query = [0; 21];
            while stream.read_exact(&mut query).is_ok() {
                let Some(name) = names.next() else { return };
                let mut answer = [0_u8; 232];
                answer[..4].copy_from_slice(&0x5030_4602_u32.to_ne_bytes());
                answer[4] = if name.is_empty() { 0x20 } else { 0x10 };
                answer[40..40 + name.len()].copy_from_slice(name.as_bytes());
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    format!("unix:{}", path.display())
}

#[tokio::test]
async fn who_is_not_known_at_once_is_asked_for_again_and_then_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let source = p0f(folder.path(), &["", "Linux", "Windows XP"]);
    let set = check(&config(&source, |_| ()));
    for _ in 0..3 {
        let found = ask(&set, "192.0.2.1", 0).await;
        assert_eq!(found.findings, [Finding::mail("P0F_LINUX", "Linux; dist: 0; params: none")]);
        let field = ("X-Amavis-OS-Fingerprint".to_owned(), "Linux; dist: 0; params: none".to_owned());
        assert_eq!(found.fields, [field]);
    }
    assert_eq!(ask(&set, "192.0.2.2", 0).await.findings[0].symbol, "P0F_WINDOWS_XP");
    // Ours is never asked about, and who has no address cannot be; p0f has gone by now.
    for client in ["198.51.100.7", "-"] {
        let found = ask(&set, client, 0).await;
        assert!(found.findings.is_empty() && found.faults.is_empty(), "{client}: {found:?}");
    }
    let found = ask(&set, "192.0.2.3", 0).await;
    assert!(found.findings.is_empty());
    assert_eq!((found.faults[0].check.as_str(), found.faults[0].answer), ("p0f", OnFault::Accept));
}

#[tokio::test]
async fn who_is_never_known_is_nothing_found() {
    let folder = tempfile::tempdir().unwrap();
    let source = p0f(folder.path(), &[""; 40]);
    let found = ask(&check(&config(&source, |_| ())), "192.0.2.1", 0).await;
    assert!(found.findings.is_empty() && found.faults.is_empty() && found.fields.is_empty(), "{found:?}");
}

#[tokio::test]
async fn the_analyzer_is_asked_by_port_and_other_answers_are_left() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = format!("udp:{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut octets = [0; 64];
        for text in ["", "Windows 7 or 8; dist: 12; link: DSL"] {
            let (length, from) = server.recv_from(&mut octets).unwrap();
            let question = String::from_utf8_lossy(&octets[..length]).into_owned();
            let (subject, _) = question.split_once(' ').unwrap();
            assert_eq!(subject, "[2001:db8::1]:4711");
            server.send_to(format!("{subject} other Linux\r\n").as_bytes(), from).unwrap();
            server.send_to(format!("{question} {text}\r\n").as_bytes(), from).unwrap();
        }
    });
    let set = check(&config(&source, |config| config.checks.p0f.header.clear()));
    assert!(ask(&set, "2001:db8::1", 0).await.findings.is_empty(), "no port, no question");
    let found = ask(&set, "2001:db8::1", 4711).await;
    assert_eq!(found.findings, [Finding::mail("P0F_WINDOWS", "Windows 7 or 8; dist: 12; link: DSL")]);
    assert!(found.fields.is_empty());
    let found = ask(&set, "2001:db8::2", 4711).await;
    assert_eq!(found.faults.len(), 1, "{found:?}");
}

#[tokio::test]
async fn silence_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p0f.sock");
    let _silent = UnixListener::bind(&path).unwrap();
    let silent_too = UdpSocket::bind("127.0.0.1:0").unwrap();
    let analyzer = format!("udp:{}", silent_too.local_addr().unwrap());
    for source in [format!("unix:{}", path.display()), analyzer, "unix:/nonexistent/p0f".into()] {
        let set = check(&config(&source, |config| config.checks.p0f.on_fault = OnFault::Defer));
        let found = ask(&set, "192.0.2.1", 4711).await;
        assert!(found.findings.is_empty(), "{source}");
        assert_eq!(found.faults[0].answer, OnFault::Defer, "{source}");
        assert!(found.faults[0].detail.contains(&source), "{:?}", found.faults[0]);
        let health = set.health().await;
        let health = health.iter().find(|health| health.name == "p0f").unwrap();
        assert!(health.vital && health.state.is_err(), "{source}");
    }
}

#[test]
fn systems_and_their_symbols() {
    let config = config("unix:/run/p0f.sock", |config| {
        let own = [("Mac OS X", -500), ("Windows NT kernel 6", 2000), ("Unix", -2000), ("windows xp", 4000)];
        let own = own.map(|(name, points)| (name.to_owned(), Points::thousandths(points)));
        config.checks.p0f.genres = own.into_iter().collect();
    });
    let points = |name: &str| {
        let symbols = symbols(&config);
        let symbol = symbols.iter().find(|symbol| symbol.name == name).unwrap_or_else(|| panic!("{name}"));
        match symbol.counts {
            Counts::Points(points) => points.to_string(),
            Counts::As(category) => category.to_string(),
        }
    };
    let check = P0f {
        source: Source::parse("unix:/run/p0f.sock").unwrap(),
        genres: own_genres(&config).map(|(name, _)| name.to_owned()).collect(),
        header: String::new(),
        known: Known { clients: Mutex::default(), keep: Duration::ZERO },
        time: Duration::ZERO,
        on_fault: OnFault::Accept,
        ours: Arc::new([]),
    };
    for (text, expected, counts) in [
        ("Windows XP; dist: 3", "P0F_WINDOWS_XP", "4.0"),
        ("Windows XP/2000 (RFC1323+, w, tstamp-) [GENERIC], (distance 8)", "P0F_WINDOWS_XP", "4.0"),
        ("Windows XP SP1+, 2000 SP3 (2), (distance 8)", "P0F_WINDOWS", "1.7"),
        ("Windows 7 or 8; dist: 3", "P0F_WINDOWS", "1.7"),
        ("Windows NT kernel 5.x; dist: 3", "P0F_WINDOWS", "1.7"),
        ("Windows NT kernel 6.x; dist: 3", "P0F_WINDOWS_NT_KERNEL_6", "2.0"),
        ("UNKNOWN [S44:50:1:60:M1460:.:?:?]", "P0F_UNKNOWN", "0.8"),
        ("Linux 3.11 and newer; dist: 0", "P0F_LINUX", "0.0"),
        ("FreeBSD 9.x", "P0F_UNIX", "-2.0"),
        ("HP-UX 11.x", "P0F_UNIX", "-2.0"),
        ("Mac OS X 10.x", "P0F_MAC_OS_X", "-0.5"),
        ("OpenVMS 8.x", "P0F_OTHER", "0.0"),
        ("", "P0F_OTHER", "0.0"),
    ] {
        let found = symbol(check.genre(text));
        assert_eq!((found.as_str(), points(&found).as_str()), (expected, counts), "{text}");
    }
}

#[test]
fn what_configuration_must_not_say() {
    for (change, key) in [
        ((|p0f| p0f.source = "p0f.sock".into()) as fn(&mut crate::config::p0f::P0f), "checks.p0f.source"),
        (|p0f| p0f.source = "udp:localhost".into(), "checks.p0f.source"),
        (|p0f| p0f.source = "unix:p0f.sock".into(), "checks.p0f.source"),
        (|p0f| p0f.header = "X Y".into(), "checks.p0f.header"),
        (|p0f| p0f.time = crate::config::units::Seconds::new(0), "checks.p0f.time"),
        (|p0f| p0f.genres = [(String::new(), Points::thousandths(1))].into(), "checks.p0f.genres.\"\""),
        (
            |p0f| p0f.genres = ["Mac OS", "Mac-OS"].map(|name| (name.into(), Points::thousandths(1))).into(),
            "checks.p0f.genres.\"Mac-OS\"",
        ),
    ] {
        let config = config("unix:/run/p0f.sock", |config| change(&mut config.checks.p0f));
        let problems = build(&config, &resources(&[])).err().expect(key);
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key]);
    }
}

#[test]
fn memory_is_bounded() {
    let known = Known { clients: Mutex::default(), keep: Duration::from_secs(600) };
    for client in 0..=MOST_KNOWN as u32 {
        known.remember(IpAddr::from(client.to_be_bytes()), "Linux");
    }
    assert!(known.clients.lock().unwrap().len() <= MOST_KNOWN);
    assert!(known.recall(IpAddr::from((MOST_KNOWN as u32).to_be_bytes())).is_some());
}
