//! Users log in at a real Postfix, whose users a real dovecot knows, through gatepost.

use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use crate::rig::docs::block_with;
use crate::rig::*;

const PARTS: [&str; 5] = ["root", "postfix", "dovecot", "swaks", "openssl"];
const PAGE: &str = "in-front-of-postfix.md";

/// The place as the documentation describes it. What Postfix sends elsewhere goes to the sink.
struct Submission {
    gatepost: Gatepost,
    postfix: Postfix,
    sink: Sink,
    _sasl: Sasl,
    _certificates: tempfile::TempDir,
}

fn submission() -> Submission {
    let (sasl, sink) = (Sasl::start(), Sink::start());
    let (front, back) = (free_address(), free_address());
    let master = block_with(
        PAGE,
        "submission-master",
        &[
            ("127.0.0.1:10587", back.to_string()),
            ("private/auth", sasl.socket.display().to_string()),
            // That socket lies outside of Postfix's folder.
            ("inet n - y", "inet n - n".into()),
        ],
    );
    let setup = PostfixSetup { relay_to: Some(sink.address), ..PostfixSetup::default() };
    let postfix = setup.smtpd(back, &master).start();
    let certificates = folder();
    let (certificate, key) = certificate(certificates.path());
    let config = block_with(
        PAGE,
        "submission-gatepost",
        &[
            ("[::]:587", front.to_string()),
            ("127.0.0.1:10587", back.to_string()),
            ("/etc/ssl/certs/mail.pem", certificate.display().to_string()),
            ("/etc/ssl/private/mail.key", key.display().to_string()),
            ("example.org", "example.test".into()),
        ],
    );
    let gatepost = Setup::documented(config, front).start();
    Submission { gatepost, postfix, sink, _sasl: sasl, _certificates: certificates }
}

const MESSAGE: [&str; 6] =
    ["--from", "alice@example.test", "--to", "somebody@far.test", "--body", "all is well"];

#[test]
fn users_log_in_over_tls_with_every_mechanism_and_relay() {
    if !needs(&PARTS) {
        return;
    }
    let place = submission();
    for (count, mechanism) in (1..).zip(["PLAIN", "LOGIN", "CRAM-MD5"]) {
        let login = ["--tls", "--auth", mechanism, "--auth-user", "alice", "--auth-password", "secret"];
        let said = swaks(place.gatepost.smtp, &[&MESSAGE[..], &login].concat());
        assert!(said.contains("<~  235 2.7.0 Authentication successful"), "{mechanism}:\n{said}");
        assert!(said.contains("queued as"), "{mechanism}:\n{said}");
        let received = place.sink.wait_received(count);
        assert!(received[count - 1].text().contains("all is well"), "{mechanism}");
        let record = place.gatepost.records(count).pop().expect("a record");
        assert_eq!(record["user"], "alice", "{mechanism}: {record}");
        assert_eq!((&record["direction"], &record["protocol"]), (&"outbound".into(), &"ESMTPSA".into()));
    }
    let log = place.postfix.log();
    assert_eq!(log.matches("sasl_username=alice").count(), 3, "Postfix knows who it was:\n{log}");
    // Even at level debug, nothing of what was said is in the log or in anything that is kept.
    let log = place.gatepost.log();
    for secret in ["secret", "AGFsaWNlAHNlY3JldA==", "c2VjcmV0"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
        assert!(!place.gatepost.records(3).iter().any(|record| record.to_string().contains(secret)));
    }
}

#[test]
fn whoever_does_not_log_in_does_not_relay() {
    if !needs(&PARTS) {
        return;
    }
    let place = submission();
    let server = place.gatepost.smtp;
    let said = swaks(server, &[&MESSAGE[..], &["--tls"]].concat());
    assert!(said.contains("<~* 554 5.7.1"), "{said}");
    // Without TLS nobody is asked for a password.
    let plain = ["--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "secret"];
    let said = swaks(server, &[&MESSAGE[..], &plain].concat());
    assert!(
        !said.contains("AUTH PLAIN") && said.contains("*** Host did not advertise authentication"),
        "{said}"
    );
    let wrong = ["--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wrong"];
    let said = swaks(server, &[&MESSAGE[..], &wrong].concat());
    assert!(said.contains("<~* 535 5.7.8 Error: authentication failed"), "Postfix's own words:\n{said}");
    let log = place.gatepost.log();
    let failed = log.lines().find(|line| line.contains("login failed")).expect("a trace of it");
    assert!(failed.contains("127.0.0.1") && failed.contains("PLAIN") && failed.contains("535"), "{failed}");
    assert!(!failed.contains("alice") && !log.contains("AGFsaWNlAHdyb25n"), "{log}");
    // A virus is refused to users as well.
    let eicar = eicar();
    let virus = [&MESSAGE[..5], &[&eicar]].concat();
    let login = ["--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "secret"];
    let said = swaks(server, &[&virus[..], &login].concat());
    assert!(said.contains("<~* 550 5.7.1 Virus"), "{said}");
    assert_eq!(place.sink.received().len(), 0);
}

/// PLAIN for alice.
const ALICE: &str = "AGFsaWNlAHNlY3JldA==";

#[test]
fn a_user_s_connection_is_nobody_else_s() {
    if !needs(&PARTS) {
        return;
    }
    let (sasl, sink) = (Sasl::start(), Sink::start());
    let main = format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n",
        sasl.socket.display()
    );
    let setup = PostfixSetup { relay_to: Some(sink.address), main, ..PostfixSetup::default() };
    let mut postfix = setup.start();
    let gatepost = Setup::to(postfix.smtp).listening("auth = true\nauth_without_tls = true").start();
    let say_hello = |login: bool| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        if login {
            dialog.say(&format!("AUTH PLAIN {ALICE}"), "235 2.7.0");
        }
        dialog
    };
    let (mut user, mut stranger) = (say_hello(true), say_hello(false));
    // Several messages over it, with a stranger's between, who gets no use of it.
    for _ in 0..3 {
        let reply = user.message("alice@example.test", &["x@far.test"], &mail("user", "from a user"));
        assert!(reply.text.contains("queued as"), "{}", user.transcript());
        stranger.say("MAIL FROM:<a@client.test>", "250");
        stranger.say("RCPT TO:<x@far.test>", "554 5.7.1");
        stranger.say("RSET", "250");
    }
    user.say("QUIT", "221");
    stranger.say("MAIL FROM:<a@client.test>", "250");
    stranger.say("RCPT TO:<x@far.test>", "554 5.7.1");
    stranger.say("RCPT TO:<user@example.test>", "250");
    sink.wait_received(3);
    // Postfix is gone, and with it who the user was: the session ends, at whatever stage it is.
    let (mut idle, mut open) = (say_hello(true), say_hello(true));
    open.say("MAIL FROM:<alice@example.test>", "250");
    open.say("RCPT TO:<x@far.test>", "250");
    postfix.kill();
    postfix.restart();
    idle.say("MAIL FROM:<alice@example.test>", "451 4.4.1");
    idle.expect("421 4.4.2");
    idle.expect_end();
    open.say("DATA", "354");
    open.content(&mail("lost", "sent once more by its sender"));
    open.patience(Duration::from_secs(30));
    open.expect("451 4.4.1");
    open.expect("421 4.4.2");
    open.expect_end();
    assert_eq!(sink.received().len(), 3);
}

/// Postfix offers AUTH only on encrypted connections; gatepost's to it is one.
#[test]
fn mechanisms_are_those_after_the_next_hop_s_starttls() {
    if !needs(&PARTS) {
        return;
    }
    let (sasl, sink, certificates) = (Sasl::start(), Sink::start(), folder());
    let (certificate, key) = certificate(certificates.path());
    let main = format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n\
         smtpd_tls_auth_only = yes\nsmtpd_tls_security_level = may\n\
         smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n",
        sasl.socket.display(),
        certificate.display(),
        key.display(),
    );
    let setup = PostfixSetup { relay_to: Some(sink.address), main, ..PostfixSetup::default() };
    let postfix = setup.services("tlsmgr unix - - n 1000? 1 tlsmgr").start();
    for (scheme, offered) in [("smtp", false), ("smtp+starttls", true)] {
        let gatepost = Setup { next_hops: vec![format!("{scheme}://{}", postfix.smtp)], ..Setup::default() }
            .listening("auth = true\nauth_without_tls = true\nnext_hop_verify = false")
            .start();
        let mut dialog = gatepost.connect();
        let hello = dialog.greet();
        let found: Vec<_> = hello.lines().filter(|line| line.starts_with("AUTH")).collect();
        if !offered {
            assert_eq!(found, Vec::<&str>::new());
            dialog.say(&format!("AUTH PLAIN {ALICE}"), "454 4.7.0");
            continue;
        }
        let mut words: Vec<_> = found[0].split(' ').collect();
        words.sort_unstable();
        assert_eq!(words, ["AUTH", "CRAM-MD5", "LOGIN", "PLAIN"]);
        dialog.say(&format!("AUTH PLAIN {ALICE}"), "235 2.7.0");
        let reply = dialog.message("alice@example.test", &["x@far.test"], &mail("user", "from a user"));
        assert!(reply.text.contains("queued as"), "{}", dialog.transcript());
    }
}

/// What a user was told before TLS could have been told to somebody else (RFC 3207 section 4.2).
#[test]
fn with_starttls_nobody_is_logged_in_any_more() {
    if !needs(&["openssl"]) {
        return;
    }
    let (sink, certificates) = (Sink::start(), folder());
    sink.offer(&["AUTH PLAIN"]);
    let (certificate, key) = certificate(certificates.path());
    let gatepost = Setup::to(sink.address)
        .listening("auth = true\nauth_without_tls = true")
        .listening(&format!("tls_certificate = {certificate:?}\ntls_key = {key:?}"))
        .start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let clear = tokio::net::TcpStream::connect(gatepost.smtp).await.expect("connect");
        let mut clear = tokio::io::BufReader::new(clear);
        assert!(reply(&mut clear).await.starts_with("220 "));
        let login = format!("AUTH PLAIN {ALICE}");
        for (line, code) in
            [("EHLO client.test", "250"), (&login, "235"), (&login, "503"), ("STARTTLS", "220")]
        {
            assert!(ask(&mut clear, line).await.starts_with(code), "{line}");
        }
        let tls = gatepost::resources::tls::ClientTls::new(false);
        let stream = tls.connect("gatepost.test", Box::new(clear.into_inner())).await.expect("TLS");
        let mut stream = tokio::io::BufReader::new(stream);
        assert!(ask(&mut stream, &login).await.starts_with("503"), "EHLO comes first");
        let hello = ask(&mut stream, "EHLO client.test").await;
        assert!(hello.contains("AUTH PLAIN") && !hello.contains("STARTTLS"), "{hello}");
        assert!(ask(&mut stream, &login).await.starts_with("235"));
        for line in ["MAIL FROM:<alice@example.test>", "RCPT TO:<x@far.test>", "RSET"] {
            assert!(ask(&mut stream, line).await.starts_with("250"), "{line}");
        }
    });
    let logins = sink.commands().iter().filter(|line| line.starts_with("AUTH ")).count();
    assert_eq!(logins, 2, "{:?}", sink.commands());
}

/// Says a line; all lines of the reply.
async fn ask(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), line: &str) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.expect("send");
    stream.flush().await.expect("send");
    reply(stream).await
}

async fn reply(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let start = text.len();
        let read = stream.read_line(&mut text);
        let count =
            tokio::time::timeout(Duration::from_secs(30), read).await.expect("in time").expect("a line");
        if count == 0 || text.as_bytes().get(start + 3) != Some(&b'-') {
            return text;
        }
    }
}
