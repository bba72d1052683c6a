//! Outgoing mail is signed in every way it may leave, and a real opendkim behind a real mail server verifies it.

use std::net::SocketAddr;
use std::path::Path;

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// Keys of example.org: the configuration that the command printed, and names and texts of their DNS records.
struct Keys {
    config: String,
    records: Vec<(String, String)>,
}

/// An RSA and an Ed25519 key, made by the command.
fn keys(folder: &Path) -> Keys {
    let (mut config, mut records) = (String::new(), Vec::new());
    for more in [&["--selector", "rsa1"][..], &["--ed25519", "--selector", "ed1"]] {
        let folder = folder.to_str().expect("a plain path");
        let output = run(&[&["dkim", "new", "example.org", "--folder", folder], more].concat(), b"");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let from = printed.find("[[signing.key]]").expect("configuration");
        let block = printed[from..].split("\n\n").next().expect("a block");
        config.push_str(block);
        config.push('\n');
        let text: String = printed[..from].split('"').skip(1).step_by(2).collect();
        records.push((format!("{}._domainkey.example.org", more.last().unwrap()), text));
    }
    Keys { config, records }
}

impl Keys {
    fn dns(&self) -> Dns {
        let records: Vec<String> = self.records.iter().map(|(name, text)| txt(name, text)).collect();
        Dns::start(&["example.org"], &records.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A Postfix that has opendkim verify what it takes.
fn verifying(opendkim: &Opendkim) -> Postfix {
    PostfixSetup::default()
        .main(&format!("smtpd_milters = inet:{}\nmilter_default_action = tempfail", opendkim.address))
        .start()
}

/// Letters of which something is changed before they are signed.
fn letters() -> [String; 6] {
    let head = "From: Somebody <somebody@example.org>\nTo: <user@example.test>\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\
        Message-ID: <1@example.org>\nSubject: =?utf-8?Q?H=C3=A4?= folded\n  over  two lines\n";
    [
        format!("{head}\nText.  \n\n.dot\n\n\n"),
        format!("{head}\n{GTUBE}\n"),
        format!("{head}Content-Type: text/x-odd\n\n{}\n", eicar()),
        format!("{head}\n{}", "a line of some length, to fill it\n".repeat(20_000)),
        format!(
            "{head}MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n<p>Grüße<script>x()</script></p>\n"
        ),
        format!(
            "{head}MIME-Version: 1.0\nContent-Type: application/octet-stream; name=run.vbs\n\nMsgBox 1\n"
        ),
    ]
}

const CHANGES: &str = "[default_policy]\nactions.spam = \"mark\"\nactions.virus = \"strip\"\n\
    subject_tags.spam = \"[SPAM] \"\nstrip_text = \"taken out: {name}\"\nactions.banned = \"wrap\"\ndefang.clean = [\"scripts\"]\n\
    disclaimer.text = \"Ours only.\"\n";

fn signing(keys: &Keys, setup: Setup) -> Setup {
    setup.globally("domains = [\"example.org\"]").with(CHANGES).with(&keys.config)
}

/// Sends the letters, and looks at what has arrived.
fn all_verify(from: SocketAddr, postfix: &Postfix, keys: &Keys) {
    let dns = keys.dns();
    let mut seen: Vec<String> = Vec::new();
    for letter in letters() {
        let mut dialog = Dialog::connect(from);
        dialog.greet();
        let reply = dialog.message("somebody@example.org", &["user@example.test"], &letter);
        assert_eq!(reply.code, 250, "{}", reply.text);
        let mails = postfix.delivered("user", seen.len() + 1);
        let mail = mails.into_iter().find(|mail| !seen.contains(mail)).expect("a new mail");
        let head = mail.split("\n\n").next().unwrap_or_default();
        assert_eq!(head.matches("DKIM-Signature: v=1;").count(), 2, "{head}");
        let unfolded = head.replace("\n\t", " ").replace("\n ", " ");
        let results: Vec<&str> = unfolded
            .lines()
            .filter(|line| line.starts_with("Authentication-Results: mx.example.test"))
            .collect();
        assert!(
            results.iter().any(|line| line.contains("dkim=pass") && line.contains("header.s=rsa1")),
            "{head}"
        );
        let resolver = dns.address.to_string();
        let ours = run(&["auth", "--resolver", &resolver, "-"], mail.as_bytes());
        let ours = String::from_utf8_lossy(&ours.stdout).into_owned();
        assert_eq!(ours.matches("dkim=pass").count(), 2, "{ours}\n{head}");
        seen.push(mail);
    }
    assert!(seen[1].contains("Subject: [SPAM] ") && seen[2].contains("taken out"), "{}", seen[1]);
    assert!(!seen[4].contains("<script>") && seen[5].contains("message/rfc822"), "{}", seen[4]);
    assert!(seen[0].contains("Ours only.") && seen[1].contains("Ours only."), "{}", seen[0]);
}

#[test]
fn mail_that_goes_through_is_signed_as_it_leaves() {
    if !needs(&["root", "postfix", "opendkim", "unbound"]) {
        return;
    }
    let folder = folder();
    let keys = keys(folder.path());
    let opendkim = Opendkim::verifier(&keys.records);
    let postfix = verifying(&opendkim);
    let gatepost = signing(&keys, Setup::to(postfix.smtp)).start();
    all_verify(gatepost.smtp, &postfix, &keys);
    // Not what only says that it is from us.
    let mut dialog = gatepost.connect();
    dialog.greet();
    let letter = "From: <a@elsewhere.test>\nSubject: x\n\nx\n";
    assert_eq!(dialog.message("somebody@example.org", &["user@example.test"], letter).code, 250);
    assert!(
        !postfix
            .delivered("user", 7)
            .iter()
            .find(|mail| mail.contains("a@elsewhere.test"))
            .unwrap()
            .contains("DKIM-Signature")
    );
}

#[test]
fn postfix_signs_by_us() {
    if !needs(&["root", "postfix", "opendkim", "unbound"]) {
        return;
    }
    let folder = folder();
    let keys = keys(folder.path());
    let opendkim = Opendkim::verifier(&keys.records);
    let behind = verifying(&opendkim);
    let gatepost = signing(&keys, Setup::default().listening("protocol = \"milter\"")).start();
    let main = docs::block_with("milter.md", "postfix", &[("127.0.0.1:8899", gatepost.smtp.to_string())]);
    let postfix = PostfixSetup {
        relay_to: Some(behind.smtp),
        domains: vec!["elsewhere.test"],
        main,
        ..PostfixSetup::default()
    }
    .start();
    all_verify(postfix.smtp, &behind, &keys);
}

#[test]
fn sendmail_signs_by_us() {
    if !needs(&["root", "sendmail", "m4", "cc", "postfix", "opendkim", "unbound"]) {
        return;
    }
    let folder = folder();
    let keys = keys(folder.path());
    let opendkim = Opendkim::verifier(&keys.records);
    let behind = verifying(&opendkim);
    let gatepost = signing(&keys, Setup::default().listening("protocol = \"milter\"")).start();
    let address = ("8899@127.0.0.1", format!("{}@127.0.0.1", gatepost.smtp.port()));
    let line = docs::block_with("milter.md", "sendmail", &[address]);
    let sendmail = SendmailSetup::to(behind.smtp).with(&line).start();
    all_verify(sendmail.smtp, &behind, &keys);
}

#[test]
fn what_is_published_is_compared_with_what_signs() {
    if !needs(&["unbound"]) {
        return;
    }
    let (folder, other) = (folder(), folder());
    let (ours, theirs) = (keys(folder.path()), keys(other.path()));
    let file = folder.path().join("gatepost.toml");
    std::fs::write(&file, format!("domains = [\"example.org\"]\n{}", ours.config)).expect("write");
    let file = file.to_str().expect("a plain path");
    let check = |dns: &Dns| {
        let output = run(&["dkim", "check", "-c", file, "--resolver", &dns.address.to_string()], b"");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, told) = check(&ours.dns());
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains("rsa1._domainkey.example.org: rsa-sha256, 2048 bits, published and fits"),
        "{told}"
    );
    assert!(told.contains("ed1._domainkey.example.org: ed25519-sha256"), "{told}");
    let (status, told) = check(&theirs.dns());
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("another key is published"), "{told}");
    let (status, told) = check(&Dns::start(&["example.org"], &[]));
    assert!(status == Some(1) && told.contains("not published"), "{told}");
    let (status, told) = check(&Dns::start(&["example.net"], &[]));
    assert!(status == Some(75) && told.starts_with("unknown"), "{told}");
    // Keys are for their owner alone, and never written over.
    let key = folder.path().join("example.org.rsa1.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = run(
        &["dkim", "new", "example.org", "--selector", "rsa1", "--folder", folder.path().to_str().unwrap()],
        b"",
    );
    assert_eq!(again.status.code(), Some(2));
}
