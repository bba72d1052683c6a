//! Starting, reloading, stopping, and what is told about it.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::rig::*;

#[test]
fn a_reload_changes_new_sessions_and_keeps_old_ones() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).listening("banner = \"before\"").start();
    let mut old = gatepost.connect();
    old.expect("220 gatepost\\.test before");
    old.say("EHLO client.test", "250");
    old.say("MAIL FROM:<a@client.test>", "250");
    gatepost.change(|setup| setup.listener = "banner = \"after\"\n".into());
    gatepost.signal(Signal::SIGHUP);
    wait_for("the new banner", START, || {
        gatepost.connect().try_reply().ok().filter(|reply| reply.text.ends_with(" after"))
    });
    old.say("RCPT TO:<user@example.test>", "250");
    old.say("DATA", "354");
    old.content(&mail("over the reload", "hello"));
    old.expect("250 2\\.0\\.0 sink has it");
    assert_eq!(sink.received().len(), 1);
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).start();
    gatepost.change(|setup| setup.tables = "[limits]\nrecipiens = 3\n".into());
    let told = gatepost.command(&["reload"], &[]);
    assert_eq!(told.status.code(), Some(2));
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(text.contains("recipiens") && text.contains("recipients"), "{text}");
    gatepost.signal(Signal::SIGHUP);
    wait_for("the log says so", START, || gatepost.log().contains("recipiens").then_some(()));
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("x", "hello")).code, 250);
    // Mended, it is taken by the command.
    gatepost.change(|setup| setup.tables = "[limits]\nrecipients = 1\n".into());
    assert!(gatepost.command(&["reload"], &[]).status.success());
    wait_for("the new limit", START, || {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.say("RCPT TO:<one@example.test>", "250");
        dialog.send("RCPT TO:<two@example.test>");
        dialog.try_reply().ok().filter(|reply| reply.code == 452)
    });
}

#[test]
fn sigterm_lets_a_message_under_way_end_and_nobody_new_in() {
    let sink = Sink::start();
    sink.on("END", Step::Wait(Duration::from_secs(1)));
    let mut gatepost = Setup::to(sink.address).start();
    let (mut idle, mut busy) = (gatepost.connect(), gatepost.connect());
    idle.greet();
    busy.greet();
    busy.say("MAIL FROM:<a@client.test>", "250");
    busy.say("RCPT TO:<user@example.test>", "250");
    busy.say("DATA", "354");
    gatepost.signal(Signal::SIGTERM);
    idle.expect("421 4\\.3\\.2");
    idle.expect_end();
    wait_for("the port is closed", START, || (!answers(gatepost.smtp)).then_some(()));
    busy.content(&mail("last", "hello"));
    busy.expect("250 2\\.0\\.0 sink has it");
    assert_eq!(gatepost.wait().code(), Some(0));
    assert!(!gatepost.runs());
    gatepost.restart();
    assert_eq!(gatepost.records(1)[0]["subject"], "last", "the last record is in the journal");
}

#[test]
fn health_and_metrics_tell_what_happens() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    wait_for("ready", START, || (gatepost.http("/health").0 == 200).then_some(()));
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("x", "hello")).code, 250);
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &eicar_body("y")).code, 550);
    for (name, labels, value) in [
        ("gatepost_messages_total", &["category=\"clean\"", "action=\"deliver\""][..], 1.0),
        ("gatepost_messages_total", &["category=\"virus\"", "action=\"refuse\""], 1.0),
        ("gatepost_message_seconds_count", &[], 2.0),
        ("gatepost_check_seconds_count", &["check=\"embedded\""], 2.0),
        ("gatepost_sessions ", &[], 1.0),
    ] {
        assert_eq!(
            gatepost.metric(name, labels),
            value,
            "{name} {labels:?}:\n{}",
            gatepost.http("/metrics").1
        );
    }
    assert_eq!(gatepost.http("/nothing").0, 404);
}

#[test]
fn a_line_a_message_is_logged() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.message("a@client.test", &["user@example.test"], &eicar_body("y"));
    let record = gatepost.records(1).remove(0);
    let id = record["id"].as_str().expect("an id").to_owned();
    let line = wait_for("the line", START, || {
        gatepost.log().lines().find(|line| line.contains("Blocked INFECTED")).map(str::to_owned)
    });
    for part in [
        "{Refused",
        "[127.0.0.1]",
        "<a@client.test> -> <user@example.test>",
        "Message-ID: <y@client.test>",
        &id,
        " ms",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn starttls_protects_the_session() {
    if !needs(&["swaks", "openssl"]) {
        return;
    }
    let sink = Sink::start();
    let folder = folder();
    let (cert, key) = certificate(folder.path());
    let keys = format!("tls_certificate = {cert:?}\ntls_key = {key:?}");
    let gatepost = Setup::to(sink.address).listening(&keys).start();
    let said = swaks(
        gatepost.smtp,
        &["--tls", "--from", "a@client.test", "--to", "user@example.test", "--body", "hello"],
    );
    assert!(said.contains("=== TLS started"), "{said}");
    assert!(said.contains("<~  250 2.0.0 sink has it"), "{said}");
    assert_eq!(gatepost.records(1)[0]["protocol"], "ESMTPS");
    let after: Vec<&str> = said.split("TLS started").nth(1).unwrap_or_default().lines().collect();
    assert!(!after.iter().any(|line| line.contains("STARTTLS")), "not offered twice:\n{said}");
    // Commands in clear behind STARTTLS are nobody's.
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.raw(b"STARTTLS\r\nMAIL FROM:<a@client.test>\r\n");
    let reply = dialog.try_reply().expect("a reply");
    assert!(reply.code >= 500, "{}", reply.text);
}

#[test]
fn a_changed_certificate_is_read_again() {
    if !needs(&["openssl"]) {
        return;
    }
    let sink = Sink::start();
    let folder = folder();
    let (cert, key) = certificate(folder.path());
    let keys = format!("tls_certificate = {cert:?}\ntls_key = {key:?}");
    let gatepost = Setup::to(sink.address).listening(&keys).start();
    let first = presented(&gatepost);
    assert!(first.contains("BEGIN CERTIFICATE"), "{first}");
    assert_eq!(first, presented(&gatepost));
    certificate(folder.path());
    wait_for("the new certificate", Duration::from_secs(60), || {
        (presented(&gatepost) != first).then_some(())
    });
}

/// The certificate that a client is shown, in PEM.
fn presented(gatepost: &Gatepost) -> String {
    let output = std::process::Command::new(program("openssl"))
        .args(["s_client", "-starttls", "smtp", "-connect", &gatepost.smtp.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN").unwrap_or(text.len());
    let end = text.find("-----END").unwrap_or(text.len());
    text.get(begin..end).unwrap_or_default().to_owned()
}
