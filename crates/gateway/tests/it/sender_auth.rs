//! Sender authentication through the whole program: a real name server, a real Postfix behind and in front, and the
//! command that tells why.

use std::net::SocketAddr;

use crate::rig::*;

const ZONES: [&str; 4] = ["author.test", "client.test", "quarantine.test", "forwarder.test"];

const RECORDS: [&str; 6] = [
    "author.test. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"",
    "_dmarc.author.test. TXT \"v=DMARC1; p=reject; rua=mailto:reports@author.test\"",
    "_dmarc.quarantine.test. TXT \"v=DMARC1; p=quarantine\"",
    "quarantine.test. TXT \"v=spf1 -all\"",
    "client.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "forwarder.test. TXT \"v=spf1 ip4:198.51.100.0/24 -all\"",
];

const GOOD: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.7";

fn dns() -> Dns {
    Dns::start(&ZONES, &RECORDS)
}

fn setup(dns: &Dns, next_hop: SocketAddr) -> Setup {
    Setup::to(next_hop).listening("xclient_from = [\"127.0.0.0/8\"]").with(&dns.config())
}

/// One message of a client, with these further fields.
fn send(to: SocketAddr, client: &str, from: &str, fields: &str) -> Reply {
    let mut dialog = Dialog::connect(to);
    dialog.greet();
    dialog.say(&format!("XCLIENT ADDR={client} NAME=client.test"), "220");
    dialog.say("EHLO client.test", "250");
    let content = format!("{fields}From: <{from}>\nTo: <user@example.test>\nSubject: letter\n\nText.\n");
    dialog.message(from, &["user@example.test"], &content)
}

#[test]
fn mail_is_delivered_with_its_results_and_without_forged_ones() {
    if !needs(&["root", "postfix", "unbound"]) {
        return;
    }
    let (dns, postfix) = (dns(), Postfix::start());
    let gatepost = setup(&dns, postfix.smtp).start();
    let forged = "Authentication-Results: gatepost.test;\n\tdmarc=pass header.from=bank.test\n\
        Authentication-Results: elsewhere.test; spf=fail\nX-Other: kept\n\
        Authentication-Results: (a comment) GATEPOST.test; spf=pass smtp.mailfrom=bank.test\n";
    let reply = send(gatepost.smtp, GOOD, "a@author.test", forged);
    assert_eq!(reply.code, 250, "{}", reply.text);
    let mail = postfix.delivered("user", 1).remove(0);
    let results: Vec<&str> = mail.split("Authentication-Results: ").skip(1).collect();
    assert_eq!(results.len(), 2, "{mail}");
    assert!(results[0].starts_with("gatepost.test;\n\tspf=pass ("), "{mail}");
    assert!(
        mail.contains("smtp.mailfrom=a@author.test;") && mail.contains("smtp.helo=client.test;"),
        "{mail}"
    );
    assert!(mail.contains("dmarc=pass (p=reject) header.from=author.test"), "{mail}");
    assert!(results[1].starts_with("elsewhere.test; spf=fail\nX-Other: kept\n"), "{mail}");
    assert!(!mail.contains("bank.test"), "{mail}");
    let record = &gatepost.records(1)[0];
    let told: Vec<String> = record["authentication"]
        .as_array()
        .expect("results")
        .iter()
        .map(|told| format!("{}={}", told["method"].as_str().unwrap(), told["result"].as_str().unwrap()))
        .collect();
    assert_eq!(told, ["spf=pass", "spf=pass", "dmarc=pass"]);
    let page = gatepost.command(&["explain"], &[record["id"].as_str().unwrap()]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(
        page.contains("Authentication of the sender")
            && page.contains("spf=pass smtp.mailfrom=a@author.test"),
        "{page}"
    );
}

/// What is known of one sender is not told of the next.
#[test]
fn messages_of_one_session_have_results_of_their_own() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let gatepost = setup(&dns, sink.address).start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("XCLIENT ADDR=192.0.2.1 NAME=client.test", "220");
    dialog.say("EHLO client.test", "250");
    for (place, (from, expected)) in [
        ("a@author.test", "spf=pass (domain of a@author.test"),
        ("b@forwarder.test", "spf=fail (domain of b@forwarder.test"),
        ("", "spf=pass (domain of postmaster@client.test"),
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("From: <{from}>\nTo: <user@example.test>\nSubject: {place}\n\nText.\n");
        let reply = dialog.message(from, &["user@example.test"], &content);
        assert_eq!(reply.code, 250, "{}", dialog.transcript());
        let results = sink.wait_received(place + 1).remove(place).header("Authentication-Results").unwrap();
        let mail_from =
            results.split(';').filter(|entry| entry.contains("smtp.mailfrom=")).collect::<Vec<_>>();
        assert_eq!(mail_from.len(), 1, "{results}");
        assert!(mail_from[0].replace('\t', " ").trim_start().starts_with(expected), "{results}");
    }
}

#[test]
fn what_the_authors_domain_asks_for_is_done() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let mut gatepost = setup(&dns, sink.address).start();
    let reply = send(gatepost.smtp, STRANGER, "a@author.test", "");
    assert!(reply.text.starts_with("550 5.7.26 "), "{}", reply.text);
    assert!(reply.text.contains("author.test"), "{}", reply.text);
    let reply = send(gatepost.smtp, STRANGER, "a@quarantine.test", "");
    assert_eq!(reply.code, 250, "{}", reply.text);
    let mail = sink.wait_received(1).remove(0);
    assert_eq!(mail.header("X-Spam-Flag").as_deref(), Some("YES"), "{}", mail.text());
    assert!(mail.header("Authentication-Results").unwrap().contains("dmarc=fail"), "{}", mail.text());
    // As configured: held, or let through from a forwarder.
    gatepost.change(|setup| {
        setup.tables.push_str(
            "[default_policy]\nactions.unauthenticated = \"quarantine\"\n\
             [checks.dmarc]\nforwarders = [\"198.51.100.8\"]\n[authentication]\nid = \"border.test\"\nreceived_spf = true\n",
        );
    });
    gatepost.kill();
    gatepost.restart();
    assert_eq!(send(gatepost.smtp, STRANGER, "a@author.test", "").code, 250);
    assert_eq!(gatepost.held(1)[0]["category"], "unauthenticated");
    assert_eq!(sink.received().len(), 1);
    assert_eq!(send(gatepost.smtp, "198.51.100.8", "a@author.test", "").code, 250);
    let mail = sink.wait_received(2).remove(1);
    let results = mail.header("Authentication-Results").unwrap();
    assert!(results.starts_with("border.test;") && results.contains("checks.dmarc.forwarders"), "{results}");
    assert!(mail.header("Received-SPF").unwrap().starts_with("fail ("), "{}", mail.text());
}

#[test]
fn the_authors_domain_is_told_in_reports() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let tables =
        "[dmarc_reports]\nemail = \"dmarc@gatepost.test\"\n[checks.dmarc]\nforwarders = [\"198.51.100.8\"]\n";
    let gatepost = setup(&dns, sink.address).with(tables).start();
    assert_eq!(send(gatepost.smtp, GOOD, "a@author.test", "").code, 250);
    assert_eq!(send(gatepost.smtp, STRANGER, "a@author.test", "").code, 550);
    assert_eq!(send(gatepost.smtp, "198.51.100.8", "a@author.test", "").code, 250);
    gatepost.records(3);
    let folder = folder();
    let to = folder.path().to_str().expect("a plain path");
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let arguments = ["--until", &tomorrow.to_string(), "--write", to];
    let file = wait_for("a report of all", std::time::Duration::from_secs(20), || {
        let output = gatepost.command(&["dmarc", "report"], &arguments);
        let file = std::path::PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let read = std::fs::read(&file).ok()?;
        let all = gatepost_auth::report::read(read.into(), &gatepost_auth::report::Limits::default()).ok()?;
        let report = all.into_iter().next()?.report;
        (report.rows.len() == 3).then_some(report)
    });
    assert_eq!(file.published.domain, "author.test");
    let row = |client: &str| file.rows.iter().find(|row| row.source.to_string() == client).expect("a row");
    assert_eq!((row(GOOD).disposition.name(), row(GOOD).spf_aligned), ("pass", true));
    assert_eq!((row(STRANGER).disposition.name(), row(STRANGER).spf_aligned), ("reject", false));
    let forwarded = row("198.51.100.8");
    assert_eq!(forwarded.disposition.name(), "none");
    assert!(forwarded.reasons[0].comment.contains("checks.dmarc.forwarders"), "{:?}", forwarded.reasons);
    assert_eq!(forwarded.spf.as_ref().map(|spf| spf.result.as_str()), Some("fail"));
}

#[test]
fn a_name_server_that_does_not_know_is_a_fault() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let mut gatepost = setup(&dns, sink.address).start();
    // The name server refuses to speak of other zones.
    assert_eq!(send(gatepost.smtp, GOOD, "a@unknown.example", "").code, 250);
    let mail = sink.wait_received(1).remove(0);
    let results = mail.header("Authentication-Results").unwrap();
    assert!(results.contains("spf=temperror") && results.contains("dmarc=temperror"), "{results}");
    let faults = gatepost.records(1)[0]["faults"].clone();
    let checks: Vec<&str> =
        faults.as_array().unwrap().iter().map(|fault| fault["check"].as_str().unwrap()).collect();
    assert!(checks.contains(&"spf") && checks.contains(&"dmarc"), "{faults}");
    gatepost.change(|setup| setup.tables.push_str("[checks.dmarc]\non_fault = \"defer\"\n"));
    gatepost.kill();
    gatepost.restart();
    let reply = send(gatepost.smtp, GOOD, "a@unknown.example", "");
    assert_eq!(reply.code, 451, "{}", reply.text);
}

#[test]
fn beside_postfix_as_a_milter() {
    if !needs(&["root", "postfix", "unbound"]) {
        return;
    }
    let dns = dns();
    let gatepost = Setup::default().listening("protocol = \"milter\"").with(&dns.config()).start();
    let main = docs::block_with("milter.md", "postfix", &[("127.0.0.1:8899", gatepost.smtp.to_string())]);
    let postfix =
        PostfixSetup::default().main(&main).main("smtpd_authorized_xclient_hosts = 127.0.0.0/8").start();
    let reply = send(postfix.smtp, STRANGER, "a@author.test", "");
    assert!(reply.text.starts_with("550 5.7.26 "), "{}", reply.text);
    let forged = "Authentication-Results: gatepost.test; dmarc=pass header.from=bank.test\n";
    assert_eq!(send(postfix.smtp, GOOD, "a@author.test", forged).code, 250);
    let mail = postfix.delivered("user", 1).remove(0);
    assert_eq!(mail.matches("Authentication-Results: ").count(), 1, "{mail}");
    assert!(mail.contains("Authentication-Results: gatepost.test;\n\tspf=pass ("), "{mail}");
    assert!(mail.contains("dmarc=pass (p=reject) header.from=author.test"), "{mail}");
}

#[test]
fn the_command_tells_what_would_be_added_and_why() {
    if !needs(&["unbound"]) {
        return;
    }
    let dns = dns();
    let folder = folder();
    let file = folder.path().join("letter.eml");
    std::fs::write(&file, "From: a@author.test\nSubject: x\n\nText.\n").expect("write");
    let file = file.to_str().expect("a plain path");
    let resolver = dns.address.to_string();
    let auth = |client: &str, more: &[&str]| {
        let mut arguments = vec!["auth", "--ip", client, "--helo", "client.test", "--from", "a@author.test"];
        arguments.extend(["--resolver", &resolver, "--authserv-id", "mx.test"]);
        arguments.extend(more);
        let output = run(&arguments, b"");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, one) = auth(GOOD, &[file]);
    assert_eq!((status, one.lines().count()), (Some(0), 1), "{one}");
    assert!(one.starts_with("Authentication-Results: mx.test; spf=pass ("), "{one}");
    assert!(one.ends_with("dmarc=pass (p=reject) header.from=author.test policy.dmarc=none\n"), "{one}");
    let (_, two) = auth(STRANGER, &[file, file]);
    let lines: Vec<&str> = two.lines().collect();
    assert_eq!(lines.len(), 2, "{two}");
    assert!(lines[1].starts_with(&format!("{file}: Authentication-Results: mx.test; spf=fail (")), "{two}");
    assert!(two.contains("dmarc=fail (p=reject)"), "{two}");
    let (_, why) = auth(STRANGER, &["--explain", file]);
    for expected in [
        "TXT author.test: \"v=spf1 ip4:192.0.2.0/24 -all\"",
        "TXT _dmarc.author.test:",
        "ip4:192.0.2.0/24",
        "-all",
    ] {
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let (_, json) = auth(STRANGER, &["--json", "--explain", file]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["results"][1]["result"], "fail");
    assert!(json["lookups"].as_array().is_some_and(|all| !all.is_empty()), "{json}");
    let (status, _) = auth(GOOD, &["/nowhere"]);
    assert_eq!(status, Some(1));
    // By which rules old mail is judged is told; --at says it rather than a Date that anybody can write.
    let old = folder.path().join("old.eml");
    std::fs::write(&old, "From: a@author.test\nDate: Sat, 1 Mar 2014 00:00:00 +0000\n\nText.\n")
        .expect("write");
    let old = old.to_str().expect("a plain path");
    for (more, told) in [
        (&[][..], "before 2018, by its Date"),
        (&["--at", "2021-01-01"], ""),
        (&["--at", "2015-01-01"], "before 2018, by --at"),
    ] {
        let arguments = [&["auth", "--resolver", &resolver, "--explain"], more, &[old]].concat();
        let output = run(&arguments, b"");
        for text in [output.stderr, output.stdout] {
            let text = String::from_utf8_lossy(&text);
            assert_eq!(text.contains("before 2018"), !told.is_empty(), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }
    // Whoever cannot be asked is not "none".
    let output =
        run(&["auth", "--ip", GOOD, "--from", "a@unknown.example", "--resolver", &resolver, file], b"");
    assert_eq!(output.status.code(), Some(75));
}

/// Names, results and more: what `gatepost auth` tells of files, a line each.
fn told(dns: &Dns, files: &[std::path::PathBuf], more: &[&str]) -> Vec<(String, String)> {
    let resolver = dns.address.to_string();
    let names: Vec<&str> = files.iter().map(|file| file.to_str().expect("a plain path")).collect();
    let output = run(&[&["auth", "--resolver", &resolver], more, &names].concat(), b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), files.len(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = |(file, line): (&std::path::PathBuf, &str)| {
        (file.file_name().expect("a name").to_string_lossy().into_owned(), line.to_owned())
    };
    files.iter().zip(text.lines()).map(line).collect()
}

fn files(folder: &std::path::Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder that can be listed");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// List mails that Gmail has signed.
#[test]
fn the_command_verifies_mails_of_others() {
    if !needs(&["unbound"]) {
        return;
    }
    let Some(folder) = suite("ham-signed") else { return };
    let names = std::fs::read_to_string(folder.join("dns-txt.json")).expect("the names that they need");
    let names: std::collections::BTreeMap<String, String> = serde_json::from_str(&names).expect("JSON");
    let records: Vec<String> = names.iter().map(|(name, text)| txt(name, text)).collect();
    let dns = Dns::start(&["gmail.com"], &records.iter().map(String::as_str).collect::<Vec<_>>());
    // None of the signatures expires.
    let all = told(&dns, &files(&folder, "eml"), &["--at", "2026-01-01"]);
    let (good, bad): (Vec<_>, Vec<_>) = all.iter().partition(|(_, line)| {
        line.split(';').any(|entry| entry.contains("dkim=pass") && entry.contains("header.d=gmail.com"))
    });
    // The list has put its own address into Sender, which these have signed.
    assert_eq!((good.len(), bad.len()), (247, 3), "{bad:#?}");
    assert!(bad.iter().all(|(_, line)| line.contains("dkim=fail")), "{bad:#?}");
}

/// The corpus of another verifier: most of it is older than RFC 8301, and judged by the rules of its time.
#[test]
fn the_command_verifies_the_corpus_of_another() {
    if !needs(&["unbound"]) {
        return;
    }
    let Some(folder) = suite("dkim") else { return };
    let table = std::fs::read_to_string(folder.join("FAKE_DNS.dat")).expect("the names that they need");
    let records: Vec<String> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, text)| !text.contains("NXDOMAIN") && !text.contains("~~"))
        .map(|(name, text)| match text.trim().trim_matches('"') {
            // unbound does not encode an empty string.
            "" => txt(name, " "),
            text => txt(name, text),
        })
        .collect();
    // Of all else nothing can be known, as of blackhole.messiah.edu: this server refuses to speak of it.
    let zones = [
        "example.org",
        "_domainkey.messiah.edu",
        "yahoo.com",
        "gmail.com",
        "ijs.si",
        "att.net",
        "wander.science",
    ];
    let dns = Dns::start(&zones, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let all = told(&dns, &files(&folder.join("corpus"), "txt"), &[]);
    assert_eq!(all.len(), 79);
    for (name, line) in all {
        // DomainKeys (RFC 4870) is another protocol, and so was the first draft, which hashed the body with the header.
        let other = name.contains("dk_") || name.contains("ietf00");
        let good = ["good", "mine", "multiple", "no_body"].iter().any(|kind| name.starts_with(kind));
        assert_eq!(line.contains("dkim=pass"), good && !other, "{name}: {line}");
        let unknown = matches!(name.as_str(), "badkey_14.txt" | "badkey_15.txt");
        assert_eq!(line.contains("dkim=temperror"), unknown, "{name}: {line}");
    }
}
