//! Greylisting beside the real postgrey, and in the daemon: at RCPT, after DATA, and through the command.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::checks::greylist::{Decision, Greylist};
use gatepost::config::Config;
use gatepost::resources::state::{Clock, Hands, Memory};

use crate::rig::*;

const DAY: u64 = 86_400;

/// One session: seconds since the first, client, its name, sender, recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Knock {
    at: u64,
    client: String,
    name: String,
    sender: String,
    recipient: String,
}

impl Knock {
    fn new(at: u64, client: &str, name: &str, sender: &str, recipient: &str) -> Knock {
        let [client, name, sender, recipient] = [client, name, sender, recipient].map(str::to_owned);
        Knock { at, client, name, sender, recipient }
    }
}

/// A postgrey that tells in its answers what it has decided. Its clock is what each request says.
struct Postgrey {
    _process: Process,
    stream: BufReader<UnixStream>,
    began: u64,
    asked: u64,
    _folder: tempfile::TempDir,
}

impl Postgrey {
    fn start(began: u64, clients: &str, recipients: &str) -> Postgrey {
        let folder = folder();
        let socket = folder.path().join("socket");
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
        let group = nix::unistd::Group::from_gid(nix::unistd::getegid()).unwrap().unwrap();
        let mut command = Command::new(program("postgrey"));
        command
            .arg(format!("--unix={}", socket.display()))
            .arg(format!("--dbdir={}", folder.path().display()))
            .args([format!("--user={}", user.name), format!("--group={}", group.name)])
            .args(["--greylist-text=wait %s", "--x-greylist-header=X-Greylist: again %t"])
            .arg(format!("--whitelist-clients={clients}"))
            .args(["--whitelist-clients=/usr/share/postgrey/whitelist_clients"])
            .arg(format!("--whitelist-recipients={recipients}"))
            .args(["--whitelist-recipients=/usr/share/postgrey/whitelist_recipients"]);
        let mut process = Process::start("postgrey", &mut command, &folder.path().join("log"));
        let stream = process.wait_until(|| UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(START)).unwrap();
        Postgrey { _process: process, stream: BufReader::new(stream), began, asked: 0, _folder: folder }
    }

    fn ask(&mut self, knock: &Knock) -> String {
        self.asked += 1;
        let Knock { at, client, name, sender, recipient } = knock;
        let (now, instance) = (self.began + at, self.asked);
        let request = format!(
            "request=smtpd_access_policy\nclient_address={client}\nclient_name={name}\nsender={sender}\n\
             recipient={recipient}\ninstance={instance}\netrn_domain=\npolicy_test_time={now}\n\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        self.stream.read_line(&mut answer).unwrap();
        self.stream.read_line(&mut String::new()).unwrap();
        let answer = answer.trim_end();
        let said = answer
            .strip_prefix("action=DEFER_IF_PERMIT 4.2.0 ")
            .or_else(|| answer.strip_prefix("action=PREPEND X-Greylist: "));
        match said {
            Some(said) => said.to_owned(),
            None if answer == "action=DUNNO" => "pass".to_owned(),
            None => panic!("postgrey says {answer:?}"),
        }
    }
}

/// Ours, with the same files.
fn ours(began: u64, clients: &str, recipients: &str) -> (Greylist, Hands) {
    let text = format!(
        "[checks.greylist]\n\
         client_whitelists = ['{clients}', '/usr/share/postgrey/whitelist_clients']\n\
         recipient_whitelists = ['{recipients}', '/usr/share/postgrey/whitelist_recipients']\n"
    );
    let config: Config = toml::from_str(&text).unwrap();
    let (clock, hands) = Clock::standing(began);
    let state = Arc::new(Memory::new(100_000, clock.clone()));
    (Greylist::new(&config.checks.greylist, &config, state, clock).unwrap(), hands)
}

fn as_text(decision: Decision) -> String {
    match decision {
        Decision::Exempt(_) | Decision::KnownClient | Decision::Known => "pass".into(),
        Decision::CameAgain { seconds } => format!("again {seconds}"),
        Decision::Wait { seconds, .. } => format!("wait {seconds}"),
    }
}

/// Sessions in the order of their times: what each rule is about, by hand, and a crowd that comes again at all times.
fn sessions() -> Vec<Knock> {
    let mut list = Vec::new();
    let mut hand = |at, client: &str, name: &str, sender: &str, recipient: &str| {
        list.push(Knock::new(at, client, name, sender, recipient));
    };
    let (out, in_) = ("a@out.test", "u@in.test");
    // Retries: too early, in time, once more; beyond the window; at its edges.
    for at in [0, 1, 299, 300, 301, 4000, 10 * DAY] {
        hand(at, "192.0.2.1", "mx.out.test", out, in_);
    }
    for at in [0, 2 * DAY + 1, 2 * DAY + 100, 2 * DAY + 301] {
        hand(at, "192.0.2.2", "mx.out.test", "late@out.test", in_);
    }
    for at in [0, 2 * DAY] {
        hand(at, "192.0.2.3", "mx.out.test", "edge@out.test", in_);
    }
    for at in [5, 100, 290, DAY, 2 * DAY + 6] {
        hand(at, "192.0.2.3", "mx.out.test", "early@out.test", in_);
    }
    // Other servers of the same network come again for it; those of another do not.
    for (at, client) in [(10, "198.51.100.1"), (400, "198.51.100.254"), (410, "198.51.101.1")] {
        hand(at, client, "unknown", out, in_);
    }
    for (at, client) in [
        (10, "2001:db8:0:1::1"),
        (400, "2001:DB8::1:ffff:0:0:9"),
        (410, "2001:db8:0:2::1"),
        (900, "2001:db8:0:2::1"),
    ] {
        hand(at, client, "unknown", out, in_);
    }
    // Senders that change from one message to the next.
    for (place, (first, second)) in [
        ("list+bounce-1@l.test", "list+bounce-2@l.test"),
        ("bounce-4711-u=in.test@l.test", "bounce-4712-u=in.test@l.test"),
        ("b-12a-7@l.test", "b-13a-8@l.test"),
        ("1.2_3.4@l.test", "5.2_3.6@l.test"),
        ("prvs=1234567890=u@b.test", "prvs=0987654321=u@b.test"),
        ("prvs=u=1234567890@b.test", "prvs=u=abcdefghij@b.test"),
        ("prvs=abcdefghij=1234567890@b.test", "prvs=abcdefghij=2234567890@b.test"),
        ("prvs=x=y=z@b.test", "prvs=x=y=w@b.test"),
        ("prvs=x@b.test", "prvs=y@b.test"),
        ("Upper@CASE.test", "upper@case.TEST"),
        ("", ""),
        ("MAILER-DAEMON", "mailer-daemon"),
        ("\"odd+one\"@l.test", "\"odd+two\"@l.test"),
        ("srs0=ab+cd=1=x.test=u@f.test", "srs0=ab+ef=2=x.test=u@f.test"),
        ("user@sub@l.test", "user+x@sub@l.test"),
        ("year-2026@l.test", "year-2027@l.test"),
        ("é-12@l.test", "é-13@l.test"),
    ]
    .into_iter()
    .enumerate()
    {
        hand(20, &format!("203.0.113.{place}"), "unknown", first, "verp@in.test");
        hand(500 + place as u64, &format!("203.0.113.{place}"), "unknown", second, "verp@in.test");
    }
    // Recipients: case does not count, extensions do.
    for (at, recipient) in
        [(30, "user+a@in.test"), (600, "user+b@in.test"), (700, "USER+A@in.TEST"), (710, "user@in.test")]
    {
        hand(at, "192.0.2.77", "unknown", out, recipient);
    }
    // Lists of both sides.
    for (client, name, recipient) in [
        ("192.0.2.50", "mail.debian.org", in_),
        ("192.0.2.50", "notdebian.org", in_),
        ("192.0.2.50", "smtp17.orange.fr", in_),
        ("66.216.126.174", "unknown", in_),
        ("195.235.39.200", "unknown", in_),
        ("205.201.140.1", "unknown", in_),
        ("2a01:4180:4051:800::25", "unknown", in_),
        ("192.0.2.51", "unknown", "postmaster@in.test"),
        ("192.0.2.51", "unknown", "Abuse+x@in.test"),
        ("192.0.2.51", "mail.good.test", in_),
        ("192.0.2.51", "mail.bad.test", in_),
        ("203.0.114.1", "unknown", in_),
        ("192.0.2.51", "unknown", "free@in.test"),
        ("192.0.2.51", "unknown", "free+tag@in.test"),
        ("192.0.2.51", "unknown", "any@whole.test"),
        ("192.0.2.51", "unknown", "any@sub.whole.test"),
        ("192.0.2.51", "unknown", "sales-1@in.test"),
    ] {
        hand(40, client, name, "w@out.test", recipient);
    }
    // A client that comes back often is known, by its own address.
    for place in 0..7 {
        let sender = format!("{}@often.test", ["a", "b", "c", "d", "e", "f", "g"][place]);
        let at = DAY + place as u64 * 1900;
        hand(at, "198.51.100.200", "unknown", &sender, in_);
        hand(at + 1800, "198.51.100.200", "unknown", &sender, in_);
    }
    for (at, client) in
        [(2 * DAY, "198.51.100.200"), (2 * DAY + 1, "198.51.100.201"), (30 * DAY, "198.51.100.200")]
    {
        hand(at, client, "unknown", "new@often.test", in_);
    }
    list.extend(crowd());
    list.sort_by_key(|knock| knock.at);
    list
}

/// Some that come again and again, at times and in combinations that nobody has thought of.
fn crowd() -> Vec<Knock> {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut list = Vec::new();
    for _ in 0..1500 {
        let at = match random(3) {
            0 => random(900),
            1 => random(3 * DAY),
            _ => random(30 * DAY),
        };
        let client = format!("10.{}.{}.{}", random(2), random(3), random(4));
        let sender =
            format!("{}-{}@crowd{}.test", ["news", "info"][random(2) as usize], random(9), random(3));
        list.push(Knock::new(at, &client, "unknown", &sender, &format!("u{}@in.test", random(3))));
    }
    list
}

#[tokio::test]
async fn decides_as_postgrey_does() {
    if !needs(&["postgrey", "/usr/share/postgrey/whitelist_clients"]) {
        return;
    }
    let folder = folder();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let clients = file("clients", "# ours\ngood.test\n203.0.114.0/24\n/^mx\\d+\\.pool\\.test$/\n");
    let recipients = file("recipients", "free@in.test\nwhole.test\n/^sales-/\n");
    // Its upkeep goes by the real time and finds nothing old then: the sessions are all to come.
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut postgrey = Postgrey::start(began, &clients, &recipients);
    let (greylist, hands) = ours(began, &clients, &recipients);
    let sessions = sessions();
    let mut kinds = [0; 3];
    for knock in &sessions {
        hands.set(began + knock.at);
        let theirs = postgrey.ask(knock);
        let client: IpAddr = knock.client.parse().unwrap();
        let name = (knock.name != "unknown").then_some(knock.name.as_str());
        let ours = as_text(greylist.decide(client, name, &knock.sender, &knock.recipient).await.unwrap());
        assert_eq!(ours, theirs, "{knock:?}");
        kinds[["wait", "again", "pass"].iter().position(|kind| theirs.starts_with(kind)).unwrap()] += 1;
    }
    assert!(sessions.len() > 1500 && kinds.iter().all(|count| *count > 50), "{kinds:?}");
    differences(&mut postgrey, &greylist, &hands, began).await;
}

/// Where we decide otherwise, and why.
async fn differences(postgrey: &mut Postgrey, greylist: &Greylist, hands: &Hands, began: u64) {
    let late = 100 * DAY;
    for (why, knocks, theirs, ours) in [
        (
            // postgrey forgets at night, an hour after it was last asked; until then it knows everybody. We forget on time.
            "what is older than max_age is forgotten at once",
            vec![
                ("192.0.2.180", "old@out.test", 0),
                ("192.0.2.180", "old@out.test", 301),
                ("192.0.2.180", "old@out.test", 36 * DAY),
            ],
            "pass",
            "wait 300",
        ),
        (
            // NetAddr::IP takes it for IPv6, of which the first 64 bits are the same for all of IPv4. Postfix never
            // says it so, but a client that asks for IPv6 sockets may.
            "an IPv4 address mapped into IPv6 is that IPv4 address",
            vec![
                ("::ffff:192.0.2.190", "mapped@out.test", 0),
                ("::ffff:198.51.100.190", "mapped@out.test", 301),
            ],
            "again 301",
            "wait 300",
        ),
    ] {
        let mut said = (String::new(), String::new());
        for (client, sender, at) in knocks {
            let knock = Knock::new(late + at, client, "unknown", sender, "differs@in.test");
            hands.set(began + knock.at);
            said.0 = postgrey.ask(&knock);
            let decision = greylist.decide(client.parse().unwrap(), None, sender, &knock.recipient).await;
            said.1 = as_text(decision.unwrap());
        }
        assert_eq!(said, (theirs.to_owned(), ours.to_owned()), "{why}");
    }
}

/// A daemon for which this host is a stranger, and that greylists for a second or two.
fn strict(sink: &Sink, tables: &str) -> Gatepost {
    Setup::to(sink.address)
        .globally("networks = []\ndomains = ['in.test']")
        .with("[restrictions]\nrecipient = ['greylist']\nsender = []\nhelo = []")
        .with(tables)
        .start()
}

#[test]
fn who_is_new_must_come_again() {
    let sink = Sink::start();
    let mut gatepost = strict(&sink, "[checks.greylist]\ndelay = 2");
    let attempt = |gatepost: &Gatepost, recipients: &[&str]| -> Vec<String> {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.say("MAIL FROM:<a@out.test>", "250");
        let to = |recipient: &&str| dialog.say(&format!("RCPT TO:<{recipient}>"), "").text;
        let replies: Vec<String> = recipients.iter().map(to).collect();
        if replies.iter().any(|reply| reply.starts_with("250")) {
            dialog.say("DATA", "354");
            dialog.content("Subject: x\n\nHello.\n");
            dialog.expect("250");
        }
        replies
    };
    let said = attempt(&gatepost, &["u@in.test"]);
    assert!(
        said[0].starts_with(
            "450 4.2.0 <u@in.test>: Recipient address rejected: Greylisted, try again in 2 seconds"
        ),
        "{said:?}"
    );
    // Killed at once, it still knows who came.
    std::thread::sleep(Duration::from_millis(1500));
    gatepost.kill();
    gatepost.restart();
    std::thread::sleep(Duration::from_millis(1500));
    let said = attempt(&gatepost, &["u@in.test", "v@in.test"]);
    assert!(said[0].starts_with("250") && said[1].starts_with("450 4.2.0"), "{said:?}");
    let received = sink.wait_received(1);
    assert!(received[0].recipients.len() == 1 && received[0].recipients[0].contains("u@in.test"));
    let delayed = received[0].header("X-Greylist").unwrap_or_default();
    assert!(delayed.starts_with("delayed ") && delayed.contains(" seconds by gatepost at "), "{delayed}");

    // The commands ask the daemon, which has the file open.
    std::thread::sleep(Duration::from_millis(3000));
    let report = gatepost.command(&["greylist", "report"], &["--list"]);
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(text.contains("<v@in.test>") && !text.contains("<u@in.test>"), "{report:?}");
    let forgotten = gatepost.command(&["greylist", "delete"], &["--recipient", "u@in.test"]);
    assert_eq!(String::from_utf8_lossy(&forgotten.stdout), "forgotten: 1 triplets, 0 clients\n");
    assert!(attempt(&gatepost, &["u@in.test"])[0].starts_with("450 4.2.0"), "new again");
    let known = gatepost.command(&["greylist", "whitelist"], &["127.0.0.1"]);
    assert!(known.status.success(), "{known:?}");
    assert!(attempt(&gatepost, &["u@in.test"])[0].starts_with("250"), "the client is known");
}

#[test]
fn by_score_after_data() {
    let sink = Sink::start();
    let gatepost = strict(
        &sink,
        "[checks.greylist]\nmode = 'suspicious'\nfrom_score = 3\ndelay = 1\n\
         [default_policy.weights]\nGTUBE = 4",
    );
    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
    let send = |line: &str| -> String {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@out.test", &["u@in.test"], &format!("Subject: x\n\n{line}\n")).text
    };
    assert!(send("Your login code is 123456.").starts_with("250"), "what is clean is not delayed");
    let said = send(gtube);
    assert!(said.starts_with("451 4.7.1 Greylisted, try again in 1 seconds"), "{said}");
    assert_eq!(sink.wait_received(1).len(), 1);
    std::thread::sleep(Duration::from_millis(2100));
    let said = send(gtube);
    assert!(said.starts_with("250"), "{said}");
    let received = sink.wait_received(2);
    assert!(received[1].header("X-Greylist").is_some_and(|field| field.starts_with("delayed ")));
    let records = gatepost.records(3);
    let reasons: Vec<_> =
        records.iter().map(|record| record["verdicts"][0]["reason"].as_str().unwrap_or_default()).collect();
    assert!(reasons.contains(&"greylisted"), "{reasons:?}");
}
