//! Beside a mail server as milter: real Postfix, real Sendmail with the documented lines, and miltertest's scripts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gatepost_milter::{Event, Refusal, Response, Session, Wanted};
use nix::sys::signal::Signal;

use crate::rig::*;

const POSTFIX: [&str; 2] = ["root", "postfix"];
const SENDMAIL: [&str; 4] = ["root", "sendmail", "m4", "cc"];
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// gatepost with a milter listener.
fn milter() -> Setup {
    Setup::default().listening("protocol = \"milter\"")
}

/// A Postfix that asks it, by the documented lines; further lines of main.cf.
fn postfix(gatepost: &Gatepost, more: &str) -> Postfix {
    let address = ("127.0.0.1:8899", gatepost.smtp.to_string());
    let main = docs::block_with("milter.md", "postfix", &[address]) + more;
    Postfix::with(PostfixSetup { main, ..PostfixSetup::default() })
}

/// A Sendmail that asks it, by the documented line with another flag.
fn sendmail(gatepost: &Gatepost, flag: &str, deliver_to: SocketAddr) -> Sendmail {
    let address = ("8899@127.0.0.1", format!("{}@127.0.0.1", gatepost.smtp.port()));
    let flag = ("F=T", format!("F={flag}"));
    let line = docs::block_with("milter.md", "sendmail", &[address, flag]);
    SendmailSetup::to(deliver_to).with(&line).start()
}

/// One message in a session of its own.
fn send(to: SocketAddr, content: &str) -> Reply {
    let mut dialog = Dialog::connect(to);
    dialog.greet();
    dialog.message("sender@client.test", &["user@example.test"], content)
}

/// The first refusal of a session with one message, or the reply to its end; `000` if there is none.
fn attempt(to: SocketAddr, content: &str) -> Reply {
    let attempt = || -> std::io::Result<Reply> {
        let mut dialog = Dialog::try_connect(to)?;
        let greeting = dialog.try_reply()?;
        if greeting.code >= 400 {
            return Ok(greeting);
        }
        for line in ["EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<user@example.test>", "DATA"] {
            dialog.try_raw(format!("{line}\r\n").as_bytes())?;
            let reply = dialog.try_reply()?;
            if reply.code >= 400 {
                return Ok(reply);
            }
        }
        dialog.try_raw(format!("{}\r\n.\r\n", content.trim_end().replace('\n', "\r\n")).as_bytes())?;
        dialog.try_reply()
    };
    attempt().unwrap_or_else(|error| Reply { code: 0, text: format!("000 {error}") })
}

/// The founding transcript: typed by hand, with and without the empty line.
fn founding_transcript(mta: SocketAddr) {
    for blank in ["\n", ""] {
        let mut dialog = Dialog::connect(mta);
        dialog.greet();
        let typed =
            format!("Subject: test\nFrom: virus@client.test\nTo: user@example.test\n{blank}{}\n", eicar());
        let reply = dialog.message("virus@client.test", &["user@example.test"], &typed);
        assert!(reply.text.starts_with("550 5.7.1 "), "blank line {blank:?}: {}", dialog.transcript());
        assert!(reply.text.contains("Eicar"), "the reply names the virus: {}", reply.text);
        // The connection is as good as before.
        let reply = dialog.message("a@client.test", &["user@example.test"], &mail("clean", "all is well"));
        assert_eq!(reply.code, 250, "{}", dialog.transcript());
        dialog.say("QUIT", "221");
    }
}

#[test]
fn postfix_refuses_a_virus_while_its_sender_is_on_the_line() {
    if !needs(&POSTFIX) {
        return;
    }
    let gatepost = milter().start();
    let postfix = postfix(&gatepost, "");
    founding_transcript(postfix.smtp);
    let mails = postfix.delivered("user", 2);
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 2);
    assert!(mails.iter().all(|mail| mail.contains("all is well") && mail.contains("X-Virus-Scanned:")));
    let records = gatepost.records(4);
    assert_eq!(records.iter().filter(|record| record["category"] == "virus").count(), 2);
}

#[test]
fn sendmail_refuses_a_virus_while_its_sender_is_on_the_line() {
    if !needs(&SENDMAIL) {
        return;
    }
    let (gatepost, sink) = (milter().start(), Sink::start());
    let sendmail = sendmail(&gatepost, "T", sink.address);
    founding_transcript(sendmail.smtp);
    let mails = sink.wait_received(2);
    sendmail.settled();
    assert_eq!(sink.received().len(), 2);
    assert!(mails.iter().all(|mail| mail.text().contains("all is well")));
    assert!(mails.iter().all(|mail| mail.header("X-Virus-Scanned").is_some()));
    assert_eq!(gatepost.records(4).len(), 4);
}

/// What is changed of these is changed in three places: by the proxy, by Postfix, by Sendmail.
fn mails_that_are_changed() -> Vec<String> {
    let fields = "Received: from a.test by b.test;\n\tThu, 01 Jan 2026 00:00:00 +0000\n\
        X-Virus-Scanned: by one\nX-Spam-Flag: NO\nFrom: <sender@client.test>\nX-Virus-Scanned: by two\n\
        To: <user@example.test>\nSubject: folded\n over two lines\nX-Other: kept\nX-Spam-Flag: NO\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <1@client.test>\n";
    vec![
        format!("{fields}\nall is well\n"),
        format!("{fields}\n{GTUBE}\n"),
        // Stripped: another body, other Content fields.
        format!("{fields}Content-Type: text/x-odd\nContent-Transfer-Encoding: 7bit\n\n{}\n", eicar()),
        with_attachment("attached", "eicar.txt", eicar().as_bytes()),
        // Larger than a packet.
        format!("{fields}\n{}", "a line of some length, to fill it\n".repeat(5000)),
    ]
}

const CHANGES: &str = "[headers]\nid = \"\"\n[default_policy]\nactions.spam = \"mark\"\nactions.virus = \"strip\"\n\
    subject_tags.spam = \"[SPAM] \"\nstrip_text = \"taken out: {name}\"\n";

/// All behind the first `Received` field, with the folds of fields undone.
fn behind_received(mail: &str) -> String {
    let text = mail.replace("\r\n", "\n");
    let from = text.find("Received: ").unwrap_or_else(|| panic!("no Received: {text}"));
    let mut rest = &text[from..];
    loop {
        let (line, after) = rest.split_once('\n').expect("a line");
        rest = after;
        if !after.starts_with(['\t', ' ']) {
            assert!(!line.is_empty());
            return rest.replace("\n\t", " ").replace("\n ", " ");
        }
    }
}

/// What the proxy makes of them.
fn as_the_proxy_changes_them(mails: &[String]) -> Vec<String> {
    let sink = Sink::start();
    let proxy = Setup::to(sink.address).with(CHANGES).start();
    for mail in mails {
        assert_eq!(send(proxy.smtp, mail).code, 250);
    }
    let texts = sink.received().iter().map(Received::text).collect::<Vec<_>>();
    // As if the mail server had put its own field before.
    texts.iter().map(|text| behind_received(&format!("Received: x\r\n{text}"))).collect()
}

#[test]
fn postfix_changes_a_message_as_the_proxy_does() {
    if !needs(&POSTFIX) {
        return;
    }
    let mails = mails_that_are_changed();
    let expected = as_the_proxy_changes_them(&mails);
    let gatepost = milter().with(CHANGES).start();
    let postfix = postfix(&gatepost, "");
    let mut seen = Vec::new();
    for (mail, expected) in mails.iter().zip(&expected) {
        assert_eq!(send(postfix.smtp, mail).code, 250);
        let got = postfix.delivered("user", seen.len() + 1);
        let new = got.into_iter().find(|mail| !seen.contains(mail)).expect("a new mail");
        assert_eq!(behind_received(&new), *expected);
        seen.push(new);
    }
    assert!(expected[1].contains("Subject: [SPAM] folded") && expected[2].contains("taken out"));
}

#[test]
fn sendmail_changes_a_message_as_the_proxy_does() {
    if !needs(&SENDMAIL) {
        return;
    }
    let mails = mails_that_are_changed();
    let expected = as_the_proxy_changes_them(&mails);
    let (gatepost, sink) = (milter().with(CHANGES).start(), Sink::start());
    let sendmail = sendmail(&gatepost, "T", sink.address);
    for (place, (mail, expected)) in mails.iter().zip(&expected).enumerate() {
        assert_eq!(send(sendmail.smtp, mail).code, 250);
        let got = sink.wait_received(place + 1).remove(place);
        assert_eq!(behind_received(&got.text()), *expected);
    }
}

#[test]
fn recipients_go_and_change_and_the_others_get_it() {
    if !needs(&POSTFIX) {
        return;
    }
    let policies = "[default_policy]\nactions.spam = \"mark\"\nextensions.spam = \"+spam\"\n\
        [[policy]]\nname = \"strict\"\nwhen.recipients = [\"other@example.test\"]\nactions.spam = \"quarantine\"\n";
    let gatepost = milter().with(policies).start();
    let postfix = postfix(&gatepost, "recipient_delimiter = +\n");
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    let both = ["user@example.test", "other@example.test"];
    let reply = dialog.message("sender@client.test", &both, &mail("spam", GTUBE));
    assert_eq!(reply.code, 250, "{}", reply.text);
    let got = postfix.delivered("user", 1).remove(0);
    assert!(got.contains("user+spam@example.test"), "{got}");
    let held = gatepost.held(1).remove(0);
    let outcomes = [&held["verdicts"][0]["outcome"], &held["verdicts"][1]["outcome"]];
    assert_eq!(outcomes, ["delivered: 250 2.0.0 Passed on", "held"], "{held:#}");
    // Held for all: taken, and nothing goes on.
    let reply = dialog.message("sender@client.test", &["other@example.test"], &mail("spam2", GTUBE));
    assert_eq!(reply.code, 250, "{}", reply.text);
    assert_eq!(gatepost.held(2).len(), 2);
    postfix.settled();
    assert_eq!(postfix.mailbox("other").len(), 0);
    assert_eq!(postfix.mailbox("user").len(), 1);
}

#[test]
fn the_mail_server_holds_it_where_it_shall() {
    if !needs(&POSTFIX) {
        return;
    }
    let tables = "[default_policy]\nactions.virus = \"quarantine\"\n";
    let gatepost = milter().listening("quarantine = \"mta\"").with(tables).start();
    let postfix = postfix(&gatepost, "");
    assert_eq!(send(postfix.smtp, &eicar_body("held")).code, 250);
    wait_for("a held message", Duration::from_secs(20), || postfix.queue().contains("!").then_some(()));
    assert!(
        postfix.log().contains("milter-hold") || postfix.log().contains("quarantine"),
        "{}",
        postfix.log()
    );
    assert!(gatepost.held(0).is_empty());
    // What is held for nobody goes through.
    assert_eq!(send(postfix.smtp, &mail("clean", "all is well")).code, 250);
    postfix.delivered("user", 1);
    if needs(&SENDMAIL) {
        let sink = Sink::start();
        let sendmail = sendmail(&gatepost, "T", sink.address);
        assert_eq!(send(sendmail.smtp, &eicar_body("held")).code, 250);
        wait_for("a quarantined message", Duration::from_secs(20), || {
            let files = std::fs::read_dir(sendmail.queue()).ok()?;
            files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("hf")).then_some(())
        });
        assert!(sink.received().is_empty());
    }
}

/// A listed client, as a trusted front tells Postfix of it.
fn listed(postfix: &Postfix) -> Dialog {
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    dialog.send("XCLIENT ADDR=198.51.100.9 NAME=listed.client.test");
    dialog
}

#[test]
fn a_listed_client_is_refused_before_its_message() {
    if !needs(&["root", "postfix", "unbound"]) {
        return;
    }
    let dns =
        Dns::start(&["bl.test."], &["2.0.0.127.bl.test. A 127.0.0.2", "9.100.51.198.bl.test. A 127.0.0.2"]);
    let list = "[checks.dnsbl.test]\nzone = \"bl.test\"\ncategory = \"spam\"\n";
    for (delay, expected) in [(true, "RCPT"), (false, "connect")] {
        let gatepost =
            milter().listening(&format!("delay_reject = {delay}")).with(&dns.config()).with(list).start();
        let more = "smtpd_authorized_xclient_hosts = 127.0.0.0/8\n";
        let postfix = postfix(&gatepost, more);
        let mut dialog = listed(&postfix);
        let reply = dialog.try_reply().expect("an answer to XCLIENT");
        if expected == "RCPT" {
            assert_eq!(reply.code, 220, "{}", dialog.transcript());
            dialog.say("EHLO client.test", "250");
            dialog.say("MAIL FROM:<a@client.test>", "250");
            dialog.say("RCPT TO:<user@example.test>", "550 5\\.7\\.1 ");
            dialog.say("RCPT TO:<other@example.test>", "550 5\\.7\\.1 ");
        } else {
            assert_eq!(reply.code, 554, "{}", dialog.transcript());
            dialog.say("EHLO client.test", "250");
            dialog.say("MAIL FROM:<a@client.test>", "550 5\\.7\\.1 .*id ");
        }
        // It has its record, like a message.
        let record = &gatepost.records(1)[0];
        assert_eq!(record["category"], "spam", "{record:#}");
        assert_eq!(send(postfix.smtp, &mail("clean", "from another client")).code, 250);
    }
}

#[test]
fn a_unix_socket_and_many_messages_a_connection() {
    if !needs(&POSTFIX) {
        return;
    }
    let mut gatepost = milter().start();
    let socket = gatepost.folder().join("milter.sock");
    let more = format!(
        "[[listener]]\nprotocol = \"milter\"\nname = \"unix\"\nlisten = [\"unix:{}\"]\n",
        socket.display()
    );
    gatepost.change(|setup| setup.tables.push_str(&more));
    gatepost.restart();
    let main = format!("smtpd_milters = unix:{}\nmilter_default_action = tempfail\n", socket.display());
    let postfix = Postfix::with(PostfixSetup { main, ..PostfixSetup::default() });
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    for number in 0..10 {
        let reply = dialog.message("a@client.test", &["user@example.test"], &mail(&format!("{number}"), "x"));
        assert_eq!(reply.code, 250, "{}", reply.text);
        let reply = dialog.message("a@client.test", &["user@example.test"], &eicar_body("bad"));
        assert_eq!(reply.code, 550, "{}", reply.text);
        // One that is not gone on with.
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.say("RSET", "250");
    }
    assert_eq!(postfix.delivered("user", 10).len(), 10);
    let records = gatepost.records(20);
    assert!(records.iter().all(|record| record["listener"] == "unix"), "{:#}", records[0]);
}

#[test]
fn a_message_is_judged_as_it_was_sent() {
    if !needs(&POSTFIX) {
        return;
    }
    let content = format!(
        "Received: from a.test by b.test;\n\tThu, 01 Jan 2026 00:00:00 +0000\nFrom: <sender@client.test>\n\
         To: <user@example.test>\nsubject: folded\n  over\n\tthree lines  \nX-Tight:no space\nX-Wide:   three\n\
         X-Tab:\ttab\nX-Eight: gr\u{fc}n\nDate: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <1@client.test>\n\
         Content-Transfer-Encoding: 8bit\n\n\n.dot\n..dots\n\u{fc}\n{GTUBE}\n\n"
    );
    let sent = content.replace('\n', "\r\n");
    let hold = "[default_policy]\nactions.spam = \"quarantine\"\n";
    let judged = |gatepost: &Gatepost, mta: SocketAddr| {
        assert_eq!(send(mta, &content).code, 250);
        let id = gatepost.held(1)[0]["id"].as_str().expect("an id").to_owned();
        let output = gatepost.command(&["quarantine", "show"], &[&id, "--raw"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let gatepost = milter().with(hold).start();
    let postfix = postfix(&gatepost, "");
    assert_eq!(judged(&gatepost, postfix.smtp), sent);
    if needs(&SENDMAIL) {
        let (gatepost, sink) = (milter().with(hold).start(), Sink::start());
        let sendmail = sendmail(&gatepost, "T", sink.address);
        assert_eq!(judged(&gatepost, sendmail.smtp), sent);
    }
}

/// A filter of the library alone, for what gatepost itself never asks for; it does what the subject says.
fn other_filter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || filter(stream));
        }
    });
    address
}

fn filter(mut stream: TcpStream) {
    let (mut session, mut input, mut output) = (Session::new(), BytesMut::new(), Vec::new());
    let mut subject = String::new();
    loop {
        while let Some(event) = session.event(&mut input).expect("what a mail server says") {
            match &event {
                Event::Negotiate(offer) => {
                    let wanted = Wanted { actions: offer.actions, ..Wanted::default() };
                    session.negotiate(&wanted, &mut output).expect("it is due");
                }
                Event::Header { name, value } if name == "Subject" => {
                    subject = String::from_utf8_lossy(value).trim().to_owned();
                }
                _ => {}
            }
            if session.due() {
                let responses = match event {
                    Event::EndOfMessage => at_the_end(&subject),
                    _ => vec![Response::Continue],
                };
                for response in responses {
                    session.respond(response, &mut output).expect("it is due");
                }
            }
        }
        let mut buffer = [0; 4096];
        match stream.write_all(&output).and_then(|()| stream.read(&mut buffer)) {
            Ok(read @ 1..) => input.extend_from_slice(&buffer[..read]),
            _ => return,
        }
        output.clear();
    }
}

fn at_the_end(subject: &str) -> Vec<Response> {
    let refusal = |text: &str| Response::Refuse(Refusal::new(554, "5.7.1", text).expect("a refusal"));
    match subject {
        "lines" => vec![refusal("Not here, 100% sure\nsee https://x.test/%20s\n7 words")],
        "sender" => vec![
            Response::ChangeSender { address: "<other@client.test>".into(), parameters: None },
            Response::DeleteRecipient("<user@example.test>".into()),
            Response::AddRecipient {
                address: "<other@example.test>".into(),
                parameters: Some("NOTIFY=NEVER".into()),
            },
            Response::AddHeader { name: "X-Last".into(), value: " folded\r\n over two lines".into() },
            Response::ReplaceBody("another\r\n".into()),
            Response::ReplaceBody("body\r\n".into()),
            Response::Accept,
        ],
        _ => vec![Response::Continue],
    }
}

#[test]
fn mail_servers_take_all_that_the_library_writes() {
    if !needs(&POSTFIX) {
        return;
    }
    let check = |mta: SocketAddr| {
        let reply = send(mta, &mail("lines", "x"));
        let expected = "554-5.7.1 Not here, 100% sure\n554-5.7.1 see https://x.test/%20s\n554 5.7.1 7 words";
        assert_eq!(reply.text, expected);
        assert_eq!(send(mta, &mail("sender", "x")).code, 250);
    };
    let main = format!("smtpd_milters = inet:{}\nmilter_default_action = tempfail\n", other_filter());
    let postfix = Postfix::with(PostfixSetup { main, ..PostfixSetup::default() });
    check(postfix.smtp);
    let mail = postfix.delivered("other", 1).remove(0);
    assert!(mail.starts_with("Return-Path: <other@client.test>"), "{mail}");
    assert!(mail.ends_with("X-Last: folded\n over two lines\n\nanother\nbody\n"), "{mail}");
    postfix.settled();
    assert!(postfix.mailbox("user").is_empty());
    if needs(&SENDMAIL) {
        let sink = Sink::start();
        let line = format!("INPUT_MAIL_FILTER(`x', `S=inet:{}@127.0.0.1, F=T')dnl", other_filter().port());
        let sendmail = SendmailSetup::to(sink.address).with(&line).start();
        check(sendmail.smtp);
        let mail = sink.wait_received(1).remove(0);
        assert!(mail.mail.contains("<other@client.test>"), "{}", mail.mail);
        assert!(mail.recipients.len() == 1 && mail.recipients[0].contains("<other@example.test>"));
        assert!(mail.text().ends_with("X-Last: folded\r\n over two lines\r\n\r\nanother\r\nbody\r\n"));
    }
}

#[test]
fn what_the_mail_server_knows_of_the_client_is_in_the_record() {
    if !needs(&["root", "postfix", "swaks", "openssl"]) {
        return;
    }
    let gatepost = milter().start();
    let (certificate, key) = certificate(gatepost.folder());
    let more = format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
        certificate.display(),
        key.display()
    );
    let postfix = postfix(&gatepost, &more);
    let addresses = ["--from", "sender@client.test", "--to", "user@example.test"];
    for (place, (more, protocol)) in [(&["--tls"][..], "ESMTPS"), (&[], "ESMTP")].into_iter().enumerate() {
        let said = swaks(postfix.smtp, &[&addresses, more].concat());
        assert!(said.contains("queued as"), "{said}");
        let record = gatepost.records(place + 1).pop().expect("a record");
        assert_eq!(record["protocol"], protocol, "{record:#}");
        assert_eq!(record["client"], "127.0.0.1");
        assert_eq!(record["client_name"], "localhost");
        assert_eq!(record["helo"], "client.test");
        assert_eq!(record["sender"], "sender@client.test");
        assert_eq!(record["recipients"][0], "user@example.test");
    }
}

#[test]
fn large_messages_and_slow_judging() {
    if !needs(&POSTFIX) {
        return;
    }
    // For longer than Postfix waits for a reply.
    let (_silent, check) = silent_scanner();
    let check = check + "time = 12\non_fault = \"accept\"\n[limits]\nmessage_size = \"1 MiB\"\n";
    let gatepost = milter().with(&check).start();
    let postfix = postfix(&gatepost, "");
    let large = mail("large", &"a line of some length, to fill it\n".repeat(40_000));
    let begin = Instant::now();
    let reply = send(postfix.smtp, &large);
    assert!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    assert!(begin.elapsed() < Duration::from_secs(10), "it was judged");
    let main = format!(
        "smtpd_milters = inet:{}\nmilter_default_action = tempfail\nmilter_content_timeout = 6s\n",
        gatepost.smtp
    );
    let impatient = Postfix::with(PostfixSetup { main, ..PostfixSetup::default() });
    let begin = Instant::now();
    let reply = send(impatient.smtp, &mail("slow", "waits for its scanner"));
    assert_eq!(reply.code, 250, "{}\n{}", reply.text, impatient.log());
    assert!(begin.elapsed() > Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn local_programs_reach_as_many_recipients_as_they_like() {
    if !needs(&POSTFIX) {
        return;
    }
    let sink = Sink::start();
    let policy =
        "[[policy]]\nname = \"other\"\nwhen.recipients = [\"user7@far.test\"]\nactions.spam = \"mark\"\n";
    let gatepost = milter().listening("mixed = \"defer-others\"").with(policy).start();
    let address = ("127.0.0.1:8899", gatepost.smtp.to_string());
    let main = docs::block_with("milter.md", "postfix", &[address]) + "non_smtpd_milters = $smtpd_milters\n";
    let postfix =
        Postfix::with(PostfixSetup { main, relay_to: Some(sink.address), ..PostfixSetup::default() });
    // More than `limits.recipients`.
    let recipients: Vec<String> = (0..60).map(|number| format!("user{number}@far.test")).collect();
    let output = postfix.submit("user@example.test", &recipients, &mail("local", "to all of them"));
    assert!(output.status.success(), "{output:?}");
    wait_for("all of them", Duration::from_secs(30), || {
        let got: usize = sink.received().iter().map(|mail| mail.recipients.len()).sum();
        assert!(!postfix.log().contains("can't reject recipient"), "{}", postfix.log());
        (got == recipients.len()).then_some(())
    });
    postfix.settled();
    let record = &gatepost.records(1)[0];
    assert_eq!(record["recipients"].as_array().map(Vec::len), Some(60), "{record:#}");
}

/// Held, released, and not asked about again; and what comes by the usual port is still asked about.
fn released_mail_goes_through(gatepost: &Gatepost, mta: SocketAddr) {
    assert_eq!(send(mta, &mail("held", GTUBE)).code, 250);
    let id = gatepost.held(1)[0]["id"].as_str().expect("an id").to_owned();
    let output = gatepost.command(&["quarantine", "release"], &[&id]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(send(mta, &mail("held too", GTUBE)).code, 250);
    let held = gatepost.held(1);
    assert!(held.len() == 1 && held[0]["id"] != id.as_str(), "{held:?}");
}

const HOLD_SPAM: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

#[test]
fn postfix_does_not_ask_again_about_released_mail() {
    if !needs(&POSTFIX) {
        return;
    }
    let release = free_address();
    let gatepost = Setup::to(release).listening("protocol = \"milter\"").with(HOLD_SPAM).start();
    let address = ("127.0.0.1:8899", gatepost.smtp.to_string());
    // The rig has no chroot.
    let own = [("127.0.0.1:10026", release.to_string()), ("n - y -", "n - n -".to_owned())];
    let postfix = PostfixSetup::default()
        .main(&docs::block_with("milter.md", "postfix", &[address]))
        .services(&docs::block_with("milter.md", "postfix-release", &own))
        .start();
    released_mail_goes_through(&gatepost, postfix.smtp);
    assert!(postfix.delivered("user", 1)[0].contains(GTUBE));
}

#[test]
fn sendmail_does_not_ask_again_about_released_mail() {
    if !needs(&SENDMAIL) {
        return;
    }
    let (sink, release) = (Sink::start(), free_address());
    let gatepost = Setup::to(release).listening("protocol = \"milter\"").with(HOLD_SPAM).start();
    let address = ("8899@127.0.0.1", format!("{}@127.0.0.1", gatepost.smtp.port()));
    let port = ("Port=10026", format!("Port={}", release.port()));
    let sendmail = SendmailSetup::to(sink.address)
        .with(&docs::block_with("milter.md", "sendmail", &[address]))
        .with(&docs::block_with("milter.md", "sendmail-release", &[port]))
        .start();
    released_mail_goes_through(&gatepost, sendmail.smtp);
    assert!(sink.wait_received(1)[0].text().contains(GTUBE));
}

/// A scanner that takes what it is asked and says nothing.
fn silent_scanner() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, format!("[checks.clamd.main]\nsocket = \"tcp:{address}\"\ntransfer = \"instream\"\n"))
}

/// Waits until a scan is asked for; other connections only ask whether the scanner is there.
fn asked(scanner: &TcpListener) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    loop {
        let mut stream = scanner.accept().expect("the scanner is asked").0;
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
        let mut said = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            said.extend_from_slice(&buffer[..read]);
            if said.windows(8).any(|word| word == b"INSTREAM") {
                connections.push(stream);
                return connections;
            }
        }
        connections.push(stream);
    }
}

// When gatepost dies.

/// A gatepost that has a message in hand for long: its scanner says nothing. Kill it then.
fn killed_at_the_end_of_a_message(
    mta: impl FnOnce(&Gatepost) -> SocketAddr,
) -> (Reply, Gatepost, SocketAddr) {
    let (silent, check) = silent_scanner();
    let check = check + "time = 60\n";
    let mut gatepost = milter().with(&check).start();
    let mta = mta(&gatepost);
    let sending = std::thread::spawn(move || send(mta, &mail("killed", "is it lost?")));
    let _scanning = asked(&silent);
    std::thread::sleep(Duration::from_millis(200));
    gatepost.kill();
    let reply = sending.join().expect("an answer");
    // With another scanner: none.
    gatepost.change(|setup| setup.tables.clear());
    (reply, gatepost, mta)
}

#[test]
fn killed_while_it_judges_postfix_does_what_its_default_action_says() {
    if !needs(&POSTFIX) {
        return;
    }
    for (action, code) in [("tempfail", 451), ("accept", 250), ("reject", 550)] {
        let mut server = None;
        let (reply, mut gatepost, mta) = killed_at_the_end_of_a_message(|gatepost| {
            let main = format!("smtpd_milters = inet:{}\nmilter_default_action = {action}\n", gatepost.smtp);
            server.insert(Postfix::with(PostfixSetup { main, ..PostfixSetup::default() })).smtp
        });
        let postfix = server.expect("a Postfix");
        assert_eq!(reply.code, code, "{action}: {}", reply.text);
        // Away altogether: the same.
        assert_eq!(attempt(mta, &mail("away", "nobody looks")).code / 100, code / 100, "{action}");
        if action == "accept" {
            assert_eq!(postfix.delivered("user", 2).len(), 2);
            continue;
        }
        postfix.settled();
        assert!(postfix.mailbox("user").is_empty(), "{action}");
        gatepost.restart();
        assert_eq!(send(mta, &mail("back", "and it is looked at")).code, 250);
        assert_eq!(postfix.delivered("user", 1).len(), 1);
    }
}

#[test]
fn killed_while_it_judges_sendmail_does_what_its_flag_says() {
    if !needs(&SENDMAIL) {
        return;
    }
    for (flag, class) in [("T", 4), ("", 2), ("R", 5)] {
        let sink = Sink::start();
        let mut server = None;
        let (reply, mut gatepost, mta) = killed_at_the_end_of_a_message(|gatepost| {
            server.insert(sendmail(gatepost, flag, sink.address)).smtp
        });
        let sendmail = server.expect("a Sendmail");
        assert_eq!(reply.code / 100, class, "F={flag}: {}", reply.text);
        assert_eq!(
            attempt(mta, &mail("away", "nobody looks")).code / 100,
            class,
            "F={flag}: {}",
            sendmail.log()
        );
        if class == 2 {
            assert_eq!(sink.wait_received(2).len(), 2);
            continue;
        }
        sendmail.settled();
        assert!(sink.received().is_empty(), "F={flag}");
        gatepost.restart();
        assert_eq!(send(mta, &mail("back", "and it is looked at")).code, 250, "F={flag}");
        assert_eq!(sink.wait_received(1).len(), 1);
    }
}

/// Senders that come again until they get an answer that is final; gatepost is killed all the time.
#[test]
fn kills_lose_nothing_and_let_nothing_through() {
    if !needs(&POSTFIX) {
        return;
    }
    let mut gatepost = milter().start();
    let postfix = postfix(&gatepost, "");
    let mta = postfix.smtp;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut taken = Vec::new();
                for number in 0.. {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("number {sender}-{number} end");
                    let bad = number % 3 == 2;
                    let content = if bad { eicar_body(&name) } else { mail(&name, "must arrive") };
                    let end = Instant::now() + Duration::from_secs(60);
                    loop {
                        let code = attempt(mta, &content).code;
                        match code / 100 {
                            2 => assert!(!bad, "{name} was let through"),
                            5 => assert!(bad, "{name} was refused: {code}"),
                            _ => {
                                assert!(Instant::now() < end, "{name} was never answered");
                                std::thread::sleep(Duration::from_millis(20));
                                continue;
                            }
                        }
                        if !bad {
                            taken.push(name);
                        }
                        break;
                    }
                }
                taken
            })
        })
        .collect();
    let (begin, mut kills, mut start) = (Instant::now(), 0, Duration::ZERO);
    while kills < 27 && begin.elapsed() < Duration::from_secs(20) {
        // On a slow machine it takes longer to start, and must have its time to judge some mail.
        std::thread::sleep(Duration::from_millis(50 + 37 * (kills % 9)) + start);
        gatepost.kill();
        let started = Instant::now();
        gatepost.restart();
        start = started.elapsed();
        kills += 1;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let taken: Vec<String> =
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect();
    println!("{kills} kills, {} messages taken", taken.len());
    assert!(kills > 10 && taken.len() > 5, "{kills} kills, {} messages", taken.len());
    postfix.settled();
    let arrived = postfix.mailbox("user");
    for name in &taken {
        assert!(arrived.iter().any(|mail| mail.contains(&format!("Subject: {name}"))), "{name} is lost");
    }
    assert!(!arrived.iter().any(|mail| mail.contains(&eicar())), "a virus has arrived");
}

#[test]
fn a_stopping_daemon_answers_the_message_in_hand() {
    if !needs(&POSTFIX) {
        return;
    }
    let (silent, check) = silent_scanner();
    let check = check + "time = 4\non_fault = \"accept\"\n";
    let mut gatepost = milter().with(&check).start();
    let postfix = postfix(&gatepost, "");
    let mta = postfix.smtp;
    let sending = std::thread::spawn(move || send(mta, &mail("last", "in hand")));
    let _scanning = asked(&silent);
    gatepost.signal(Signal::SIGTERM);
    assert_eq!(sending.join().expect("an answer").code, 250);
    assert!(gatepost.wait().success());
    assert_eq!(postfix.delivered("user", 1).len(), 1);
}

// By hand, without a mail server.

/// Runs a script of this folder with values set beforehand.
fn miltertest(gatepost: &Gatepost, script: &str, values: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/milter");
    let mut command = Command::new(program("miltertest"));
    command.arg("-s").arg(folder.join("run.lua"));
    command.arg("-D").arg(format!("script={}", folder.join(script).display()));
    command.arg("-D").arg(format!("socket=inet:{}@127.0.0.1", gatepost.smtp.port()));
    for (name, value) in values {
        command.arg("-D").arg(format!("{name}={value}"));
    }
    let output = command.output().expect("miltertest runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}\n{}", gatepost.log());
}

#[test]
fn miltertest_through_every_stage() {
    if !needs(&["miltertest"]) {
        return;
    }
    let gatepost = milter().start();
    miltertest(&gatepost, "stages.lua", &[]);
    let record = &gatepost.records(1)[0];
    assert_eq!(record["client"], "192.0.2.9", "{record:#}");
    assert_eq!(record["helo"], "client.test", "{record:#}");
    assert_eq!(record["user"], "alice", "{record:#}");
    miltertest(&gatepost, "messages.lua", &[("eicar", &eicar())]);
    let records = gatepost.records(12);
    assert_eq!(records.len(), 12);
    let refused = records.iter().filter(|record| said(record).starts_with("550 5.7.1 "));
    assert_eq!(refused.count(), 3);
}

/// What was answered.
fn said(record: &serde_json::Value) -> &str {
    record["replies"][0].as_str().unwrap_or_default()
}

#[test]
fn miltertest_sees_where_each_header_lands() {
    if !needs(&["miltertest"]) {
        return;
    }
    let tables = "[default_policy]\nactions.spam = \"mark\"\nextensions.spam = \"+spam\"\n\
        subject_tags.spam = \"[SPAM] \"\n\
        [[policy]]\nname = \"strict\"\nwhen.recipients = [\"strict@example.test\"]\nactions.spam = \"discard\"\n";
    let gatepost = milter().with(tables).start();
    miltertest(&gatepost, "headers.lua", &[("gtube", GTUBE)]);
}

#[test]
fn miltertest_hears_of_slow_judging() {
    if !needs(&["miltertest"]) {
        return;
    }
    let (_silent, check) = silent_scanner();
    let gatepost = milter().with(&(check + "time = 9\n")).start();
    miltertest(&gatepost, "progress.lua", &[]);
    assert!(said(&gatepost.records(1)[0]).starts_with("451 4."));
}

#[test]
fn miltertest_is_refused_at_the_stage_that_is_configured() {
    if !needs(&["miltertest", "unbound"]) {
        return;
    }
    let dns =
        Dns::start(&["bl.test."], &["2.0.0.127.bl.test. A 127.0.0.2", "9.2.0.192.bl.test. A 127.0.0.2"]);
    let list = "[checks.dnsbl.test]\nzone = \"bl.test\"\ncategory = \"spam\"\n";
    for (delay, stage) in [(true, "rcpt"), (false, "connect")] {
        let listener = format!("delay_reject = {delay}");
        let gatepost = milter().listening(&listener).with(&dns.config()).with(list).start();
        miltertest(&gatepost, "early.lua", &[("stage", stage)]);
    }
}
