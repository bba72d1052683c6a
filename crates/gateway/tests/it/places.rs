//! Complete places, as the documentation describes them: its own lines, with real servers. Only addresses and paths are
//! the test's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::rig::docs::block_with;
use crate::rig::*;

const PAGE: &str = "in-front-of-postfix.md";

/// A client that nobody could take for one of the servers.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));

/// Sends a message from [`CLIENT`]; the reply to its end.
fn send(to: SocketAddr, content: &str) -> Reply {
    let mut dialog = Dialog::connect_from(CLIENT, to);
    dialog.greet();
    let reply = dialog.message("sender@client.test", &["user@example.test"], content);
    dialog.say("QUIT", "221");
    reply
}

/// One mail came through with gatepost's mark on it, and the record names the client.
fn came_through(gatepost: &Gatepost, mails: &[String], subject: &str) {
    let mail = mails.iter().find(|mail| mail.contains(&format!("Subject: {subject}\n")));
    let mail = mail.unwrap_or_else(|| panic!("no mail {subject:?} in {mails:?}"));
    assert!(mail.contains("X-Virus-Scanned: "), "{mail}");
    let records = gatepost.records(1);
    assert_eq!(records[0]["client"], CLIENT.to_string(), "{}", records[0]);
}

#[test]
fn in_front_with_xclient() {
    if !needs(&["root", "postfix", "openssl", "clamd"]) {
        return;
    }
    let (clamd, back, front) = (Clamd::start(), free_address(), free_address());
    let master = block_with(PAGE, "front-master", &[("127.0.0.1:10026", back.to_string())]);
    let postfix = PostfixSetup::default().smtpd(back, &master).start();
    let certificates = folder();
    let (certificate, key) = certificate(certificates.path());
    let config = block_with(
        PAGE,
        "front-gatepost",
        &[
            ("[::]:25", front.to_string()),
            ("127.0.0.1:10026", back.to_string()),
            ("/etc/ssl/certs/mail.pem", certificate.display().to_string()),
            ("/etc/ssl/private/mail.key", key.display().to_string()),
            ("/run/clamav/clamd.ctl", clamd.socket.display().to_string()),
        ],
    );
    let gatepost = Setup::documented(config, front).start();
    let reply = send(front, &mail("clean", "all is well"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    came_through(&gatepost, &postfix.delivered("user", 1), "clean");
    let logged = format!(": client=unknown[{CLIENT}]");
    assert!(postfix.log().contains(&logged), "XCLIENT names the client:\n{}", postfix.log());
    let reply = send(front, &eicar_body("bad"));
    assert!(reply.text.starts_with("550 5.7.1 "), "{}", reply.text);
    // No open relay, neither for the client nor for gatepost's own address.
    for from in [CLIENT, IpAddr::V4(Ipv4Addr::LOCALHOST)] {
        let mut dialog = Dialog::connect_from(from, front);
        dialog.greet();
        dialog.say("MAIL FROM:<sender@client.test>", "250");
        dialog.say("RCPT TO:<somebody@another-domain.example>", "554 5.7.1");
    }
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

#[test]
fn before_the_queue_by_smtpd_proxy_filter() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let (front, filter, back) = (free_address(), free_address(), free_address());
    let master = block_with(
        PAGE,
        "proxy-master",
        &[
            ("smtp inet", format!("{front} inet")),
            ("127.0.0.1:10025", filter.to_string()),
            ("127.0.0.1:10026", back.to_string()),
        ],
    );
    let config = block_with(
        PAGE,
        "proxy-gatepost",
        &[("127.0.0.1:10025", filter.to_string()), ("127.0.0.1:10026", back.to_string())],
    );
    let gatepost = Setup::documented(config, filter).start();
    let postfix = PostfixSetup::default().smtpd(front, &master).start();
    let reply = send(front, &mail("clean", "all is well"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    came_through(&gatepost, &postfix.delivered("user", 1), "clean");
    names_the_client(&postfix);
    let reply = send(front, &eicar_body("bad"));
    assert!(reply.text.starts_with("550 5.7.1 "), "the sender itself is refused: {}", reply.text);
    // Without gatepost nothing is taken.
    drop(gatepost);
    let mut dialog = Dialog::connect_from(CLIENT, front);
    dialog.greet();
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "451 ");
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

/// Where gatepost stands behind the queue, and how those lines name its side and the side of the mail that comes back.
struct AfterQueue {
    blocks: &'static str,
    filter: &'static str,
    back: &'static str,
}

#[test]
fn after_the_queue_by_content_filter() {
    after_the_queue(&AfterQueue { blocks: "content-filter", filter: "10025", back: "10026" });
}

#[test]
fn in_the_place_of_clamsmtp() {
    after_the_queue(&AfterQueue { blocks: "clamsmtp", filter: "10025", back: "10026" });
}

#[test]
fn in_the_place_of_amavis_by_lmtp() {
    after_the_queue(&AfterQueue { blocks: "amavis", filter: "10024", back: "10025" });
}

fn after_the_queue(place: &AfterQueue) {
    if !needs(&["root", "postfix", "clamd"]) {
        return;
    }
    let (clamd, filter, back) = (Clamd::start(), free_address(), free_address());
    let block = |name: &str, ports: &[(&str, SocketAddr)]| {
        let ports: Vec<_> = ports.iter().map(|(port, address)| (*port, address.port().to_string())).collect();
        block_with(PAGE, &format!("{}-{name}", place.blocks), &ports)
    };
    let config = block("gatepost", &[(place.filter, filter), (place.back, back)])
        .replace("/run/clamav/clamd.ctl", &clamd.socket.display().to_string());
    let mut gatepost = Setup::documented(config, filter).start();
    let postfix = PostfixSetup::default()
        .main(&block("main", &[(place.filter, filter)]))
        .services(&block("master", &[(place.back, back)]))
        .start();
    let reply = send(postfix.smtp, &mail("clean", "all is well"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    came_through(&gatepost, &postfix.delivered("user", 1), "clean");
    names_the_client(&postfix);
    // The sender is gone: nobody gets a bounce, the message is held.
    let reply = send(postfix.smtp, &eicar_body("bad"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    assert_eq!(gatepost.held(1)[0]["category"], "virus");
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
    assert!(!postfix.log().contains("sender non-delivery notification"), "{}", postfix.log());
    // While gatepost is away mail waits in the queue.
    gatepost.kill();
    send(postfix.smtp, &mail("later", "wait for it"));
    wait_for("a deferred message", START, || postfix.log().contains("status=deferred").then_some(()));
    assert_eq!(postfix.mailbox("user").len(), 1);
    gatepost.restart();
    postfix.flush();
    came_through(&gatepost, &postfix.delivered("user", 2), "later");
}

/// What came back after the filter is logged by Postfix with the client that it took it from.
fn names_the_client(postfix: &Postfix) {
    let log = postfix.log();
    let back = log.lines().find(|line| line.contains("orig_client="));
    assert!(back.is_some_and(|line| line.contains(&CLIENT.to_string())), "XFORWARD names the client:\n{log}");
}

/// The first of two filters in a row, and where it listens.
fn first_of_two(second: SocketAddr) -> Setup {
    let first = free_address();
    let addresses = [("[::]:25", first.to_string()), ("127.0.0.1:10025", second.to_string())];
    Setup::documented(block_with(PAGE, "row-first", &addresses), first)
}

#[test]
fn two_gateposts_in_a_row_behave_as_one() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let (postfix, middle) = (Postfix::start(), free_address());
    let config = block_with(
        PAGE,
        "row-second",
        &[
            ("/var/lib/gatepost-second", "/var/lib/gatepost".into()),
            ("127.0.0.1:10025", middle.to_string()),
            ("127.0.0.1:10026", postfix.smtp.to_string()),
        ],
    );
    let second = Setup::documented(config, middle)
        .with("[[checks.attachments.rule]]\nname = \"frobs\"\nfilename = '\\.frob$'")
        .start();
    let first = first_of_two(middle).start();
    let reply = send(first.smtp, &mail("clean", "all is well"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    came_through(&first, &postfix.delivered("user", 1), "clean");
    came_through(&second, &postfix.mailbox("user"), "clean");
    // What only the second refuses comes back in its own words.
    let reply = send(first.smtp, &with_attachment("bad", "a.frob", b"frob"));
    assert!(reply.text.starts_with("550 5.7.1 "), "{}", reply.text);
    let record = second.records(2).pop().expect("two records");
    let id = record["id"].as_str().expect("an id");
    assert!(reply.text.contains(id), "the reply is that of the second, {id}: {}", reply.text);
    // What the first refuses the second never sees; an unknown recipient is refused by the last of them.
    assert!(send(first.smtp, &eicar_body("virus")).text.starts_with("550 5.7.1 "));
    let mut dialog = Dialog::connect_from(CLIENT, first.smtp);
    dialog.greet();
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    dialog.say("RCPT TO:<nobody@example.test>", "550 5\\.1\\.1 ");
    assert_eq!((first.records(3).len(), second.records(2).len()), (3, 2));
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

#[test]
fn a_refusal_of_clamsmtpd_comes_back_through_gatepost() {
    if !needs(&["root", "postfix", "clamsmtpd", "clamd"]) {
        return;
    }
    let (postfix, clamd) = (Postfix::start(), Clamd::start());
    let clamsmtp = Clamsmtp::start(postfix.smtp, &clamd, "Action: bounce");
    let gatepost = first_of_two(clamsmtp.smtp).with("[default_policy.actions]\nvirus = \"deliver\"").start();
    let reply = send(gatepost.smtp, &mail("clean", "all is well"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    let delivered = postfix.delivered("user", 1);
    came_through(&gatepost, &delivered, "clean");
    assert!(delivered[0].contains("ClamSMTP"), "{}", delivered[0]);
    let reply = send(gatepost.smtp, &eicar_body("bad"));
    assert_eq!(reply.text, "550 Virus Detected; Content Rejected");
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

/// `gatepost init` says the lines that the pages say and these tests try.
#[test]
fn init_prints_the_documented_lines() {
    for (place, server, page, blocks) in [
        ("front", "postfix", PAGE, &["front-master"][..]),
        ("front", "exim", OTHERS, &["exim-main", "exim-acl"]),
        ("front", "sendmail", OTHERS, &["sendmail-daemon", "sendmail-rules"]),
        ("postfix-before-queue", "postfix", PAGE, &["proxy-master"]),
        ("postfix-after-queue", "postfix", PAGE, &["content-filter-master", "content-filter-main"]),
    ] {
        let output = run(&["init", "--place", place, "--server", server, "-o", "-"], b"");
        let printed = String::from_utf8_lossy(&output.stderr);
        for block in blocks {
            let block = docs::block(page, block);
            assert!(printed.contains(block.trim_end()), "{place} {server}: wanted\n{block}in\n{printed}");
        }
    }
}

const OTHERS: &str = "other-servers.md";

/// A gatepost in front of another server, from its page.
fn in_front_of(block: &str, next_hop: (&str, SocketAddr)) -> Gatepost {
    let front = free_address();
    let addresses = [("[::]:25", front.to_string()), (next_hop.0, next_hop.1.to_string())];
    Setup::documented(block_with(OTHERS, block, &addresses), front).start()
}

/// Clean mail arrives, a virus is refused, and what is not for a local domain is refused by the next hop, however it is
/// written.
fn guards(gatepost: &Gatepost, sink: &Sink, accepted: &str, relayed: &[&str]) {
    let reply = send(gatepost.smtp, &mail("clean", "all is well"));
    assert!(reply.text.contains(accepted), "the next hop's own words, {accepted:?}: {}", reply.text);
    let received = sink.wait_received(1);
    assert!(received[0].text().contains("X-Virus-Scanned: "), "{}", received[0].text());
    let reply = send(gatepost.smtp, &eicar_body("bad"));
    assert!(reply.text.starts_with("550 5.7.1 "), "{}", reply.text);
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    for recipient in relayed {
        dialog.say(&format!("RCPT TO:<{recipient}>"), "5[0-9]{2} ");
    }
    assert_eq!(sink.received().len(), 1);
}

/// Ways to write a recipient elsewhere.
const RELAYED: [&str; 5] = [
    "somebody@another-domain.example",
    "somebody%another-domain.example@example.test",
    "another-domain.example!somebody@example.test",
    "@example.test:somebody@another-domain.example",
    "\"somebody@another-domain.example\"@example.test",
];

#[test]
fn exim_behind_gatepost() {
    if !needs(&["root", "exim"]) {
        return;
    }
    let (sink, back) = (Sink::start(), free_address());
    let port = back.port().to_string();
    let exim = EximSetup::to(sink.address)
        .with(&block_with(OTHERS, "exim-main", &[("10026", port.clone())]))
        .at_rcpt(&block_with(OTHERS, "exim-acl", &[("10026", port)]))
        .start_at(back);
    let gatepost = in_front_of("exim-gatepost", ("127.0.0.1:10026", exim.smtp));
    guards(&gatepost, &sink, "OK id=", &RELAYED[..1]);
    exim.settled();
}

#[test]
fn sendmail_behind_gatepost() {
    if !needs(&["root", "sendmail", "m4", "cc"]) {
        return;
    }
    let (sink, back) = (Sink::start(), free_address());
    let sendmail = SendmailSetup::to(sink.address)
        .with(&block_with(OTHERS, "sendmail-daemon", &[("10026", back.port().to_string())]))
        .with("LOCAL_DOMAIN(`example.test')dnl\ndefine(`MAIL_HUB', `esmtp:[127.0.0.1]')dnl")
        .rules(&docs::block(OTHERS, "sendmail-rules"))
        .start();
    let gatepost = in_front_of("sendmail-gatepost", ("127.0.0.1:10026", back));
    guards(&gatepost, &sink, "Message accepted for delivery", &RELAYED);
    sendmail.settled();
    // For its own host it still relays.
    let mut dialog = Dialog::connect(sendmail.smtp);
    dialog.greet();
    dialog.say("MAIL FROM:<sender@example.test>", "250");
    dialog.say("RCPT TO:<somebody@another-domain.example>", "250");
}

const HOME: &str = "home.md";

/// A provider's mailbox with a clean mail and a virus, and gatepost in front of a Postfix, as a block of the home page
/// configures it.
fn at_home(block: &str) -> (Dovecot, Gatepost, Postfix) {
    let provider = Dovecot::start(&[mail("clean", "all is well"), eicar_body("bad")]);
    let (postfix, front) = (Postfix::start(), free_address());
    let addresses =
        [("127.0.0.1:2525", front.to_string()), ("127.0.0.1:25\"", format!("{}\"", postfix.smtp))];
    (provider, Setup::documented(block_with(HOME, block, &addresses), front).start(), postfix)
}

/// Polls once with the documented lines; what fetchmail said.
fn poll(block: &str, provider: &Dovecot, gatepost: &Gatepost) -> String {
    let rc = block_with(
        HOME,
        block,
        &[
            ("imap.provider.example", format!("{} service {}", provider.imap.ip(), provider.imap.port())),
            ("example.org", "example.test".into()),
            ("ssl\n", "sslproto \"\"\n".into()),
            ("127.0.0.1/2525", format!("{}/{}", gatepost.smtp.ip(), gatepost.smtp.port())),
        ],
    );
    // This machine's own mail server, if it has one, is nobody's postmaster here.
    let output = provider.fetchmail(&format!("set postmaster \"\"\n{rc}"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const AT_HOME: [&str; 4] = ["root", "postfix", "fetchmail", "dovecot"];

#[test]
fn at_home_a_virus_is_held_and_nothing_stays_at_the_provider() {
    if !needs(&AT_HOME) {
        return;
    }
    let (provider, mut gatepost, postfix) = at_home("gatepost");
    // While gatepost is away, everything stays where it is.
    gatepost.kill();
    let said = poll("fetchmailrc", &provider, &gatepost);
    assert!(said.contains("Connection refused"), "{said}");
    assert_eq!(provider.mailbox().len(), 2, "{said}");
    gatepost.restart();
    let said = poll("fetchmailrc", &provider, &gatepost);
    assert_eq!(provider.mailbox(), Vec::<String>::new(), "{said}");
    assert!(postfix.delivered("user", 1)[0].contains("all is well"));
    assert_eq!(gatepost.held(1)[0]["category"], "virus");
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

#[test]
fn at_home_a_refused_virus_stays_at_the_provider_until_fetchmail_is_told_otherwise() {
    if !needs(&AT_HOME) {
        return;
    }
    let (provider, gatepost, postfix) = at_home("gatepost-refused");
    for _ in 0..2 {
        let said = poll("fetchmailrc", &provider, &gatepost);
        assert!(said.contains("550 5.7.1 Virus detected"), "{said}");
        let left = provider.mailbox();
        assert!(left.len() == 1 && left[0].contains("Subject: bad"), "{left:?}\n{said}");
    }
    let said = poll("fetchmailrc-refused", &provider, &gatepost);
    assert!(said.contains("550 5.7.1 Virus detected"), "{said}");
    assert_eq!(provider.mailbox(), Vec::<String>::new(), "{said}");
    // The policy kept a copy each time; nobody got one.
    assert_eq!(gatepost.held(3).len(), 3);
    assert!(postfix.delivered("user", 1)[0].contains("all is well"));
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}
