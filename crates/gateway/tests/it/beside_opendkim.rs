//! Beside opendkim: each verifies what the other signs, and both think the same of messages that were changed on the way.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use gatepost::config::typed::Dns as DnsConfig;
use gatepost::resources::dns::Dns as Resolver;
use gatepost_auth::dkim::{
    Canon, Generated, Kind, Outcome, Settings, Signer, SigningKey, generate, verify, zone_line,
};

use crate::rig::*;

const NEEDED: &[&str] = &["root", "opendkim"];

const CANONS: [(Canon, Canon); 4] = [
    (Canon::Simple, Canon::Simple),
    (Canon::Simple, Canon::Relaxed),
    (Canon::Relaxed, Canon::Simple),
    (Canon::Relaxed, Canon::Relaxed),
];

/// Without it opendkim takes a message for malformed.
const DATE: &str = "Date: Sat, 21 Nov 2026 00:00:00 +0000\r\n";

/// Messages whose signatures have to go through much: header and body. All end with a line break, as SMTP has it:
/// opendkim takes no other relaxed body.
const MESSAGES: &[(&str, &str)] = &[
    ("From: Joe <joe@example.org>\r\nTo: a@example.net\r\nSubject: plain\r\n", "Hi.\r\n\r\nJoe.\r\n"),
    ("From: joe@example.org\r\n", ""),
    ("From: joe@example.org\r\nSubject:\r\n", "\r\n\r\n"),
    ("From: joe@example.org\r\nSubject: empty lines\r\n", "\r\n\r\nHi. \t\r\n\r\n \r\n\r\n\r\n"),
    (
        "Received: from a by b;\r\n\tSat, 21 Nov 2026 00:00:00 +0000\r\nFrom:  \"Joe  B\"\r\n <joe@example.org>\r\n\
         To: a@example.net,\r\n\tb@example.net ,\r\n  c@example.net\r\nTo: again@example.net\r\n\
         SUBJECT: tabs\t and  spaces \r\nX-Not-Signed: 1\r\nReferences: <1@example.org>\r\n <2@example.org>\r\n",
        " leading\r\n\ttab\r\ntrailing \t \r\na  b\t\tc\r\n",
    ),
    (
        "From: =?utf-8?Q?J=C3=B6?= <joe@example.org>\r\nSubject: J\u{f6} raw\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "K\u{e4}se; b=1; bh=2\r\n.\r\n..\r\n",
    ),
];

fn key(made: &Generated) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pem(made.pem.as_bytes()).expect("our own key"))
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_secs() as i64
}

/// What opendkim thinks of a message: the result that it adds for the signature; `none` if it adds nothing.
fn thinks(client: &mut MilterClient, message: &str) -> String {
    let end = client.message("joe@example.org", &["a@example.net".into()], message.as_bytes());
    let added = end.changes.iter().find(|(_, data)| data.contains("Authentication-Results"));
    let Some((_, found)) = added.and_then(|(_, value)| value.split_once("dkim=")) else {
        return "none".into();
    };
    found.chars().take_while(char::is_ascii_alphabetic).collect()
}

#[test]
fn opendkim_verifies_what_we_sign() {
    if !needs(NEEDED) {
        return;
    }
    let made = [generate(Kind::Rsa(2048)).expect("a key"), generate(Kind::Ed25519).expect("a key")];
    let place = |at: usize| format!("s{at}._domainkey.example.org");
    let keys: Vec<_> = made.iter().enumerate().map(|(at, made)| (place(at), made.record.clone())).collect();
    let opendkim = Opendkim::verifier(&keys);
    let mut client = MilterClient::connect(opendkim.address);
    let mut wrong = Vec::new();
    for (at, made) in made.iter().enumerate() {
        for canonicalization in CANONS {
            for (header, body) in MESSAGES {
                let header = &format!("{DATE}{header}");
                let signer = Signer {
                    canonicalization,
                    identity: Some("jo;e=@sub.example.org".into()),
                    lifetime: Some(86400),
                    ..Signer::new(key(made), "example.org", &format!("s{at}"))
                };
                let value = signer.sign(header.as_bytes(), &[Bytes::from_static(body.as_bytes())], now());
                let value = value.expect("a signature");
                let message = format!("DKIM-Signature: {value}\r\n{header}\r\n{body}");
                let changed = message.replacen("joe@", "jim@", 1);
                for (message, wanted) in [(message, "pass"), (changed, "fail")] {
                    let found = thinks(&mut client, &message);
                    if found != wanted {
                        wrong.push(format!(
                            "{found} instead of {wanted}: {canonicalization:?} {body:?} {message}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

// Of RSA only: Ed25519 signatures of opendkim 2.11.0 verify nowhere, dkimpy included, though it verifies those of others.
#[tokio::test]
async fn we_verify_what_opendkim_signs() {
    if !needs(&["root", "opendkim", "unbound"]) {
        return;
    }
    let made = generate(Kind::Rsa(2048)).expect("a key");
    // As it stands in a zone, on one line.
    let record = zone_line("s1", "example.org", &made.record).replace(['(', ')', '\n'], " ");
    let dns = Dns::start(&["example.org."], &[&record]);
    let config = DnsConfig { servers: vec![dns.address.to_string()], ..DnsConfig::default() };
    let resolver = Resolver::build(&config).unwrap_or_else(|problems| panic!("{problems:?}"));
    for (header_canon, body_canon) in CANONS {
        let canon = format!("Canonicalization {}/{}\n", header_canon.as_str(), body_canon.as_str());
        let lines = canon + "OversignHeaders From,Subject\nSignatureTTL 3600\n";
        let opendkim = Opendkim::signer(&made.pem, &lines);
        let mut client = MilterClient::connect(opendkim.address);
        for (header, body) in MESSAGES {
            let raw = format!("{DATE}{header}\r\n{body}");
            let end = client.message("joe@example.org", &["a@example.net".into()], raw.as_bytes());
            let signature = end.changes.iter().find_map(|(_, data)| data.split_once("DKIM-Signature|"));
            let value =
                signature.unwrap_or_else(|| panic!("not signed: {end:?}\n{raw}")).1.replace('\n', "\r\n");
            let space = if value.starts_with(' ') { "" } else { " " };
            let message = format!("DKIM-Signature:{space}{value}\r\n{raw}");
            let found = verify(&resolver, message.as_bytes(), &Settings::new(now())).await;
            let [one] = found.as_slice() else { panic!("{found:#?}\n{message}") };
            assert_eq!(one.outcome, Outcome::Pass, "{one:#?}\n{message}");
            assert_eq!(one.domain, "example.org");
            let changed = message.replacen("joe@", "jim@", 1);
            let found = verify(&resolver, changed.as_bytes(), &Settings::new(now())).await;
            assert_eq!(found[0].outcome, Outcome::Fail, "{changed}");
        }
    }
}

/// Changes on the way.
const CHANGES: &[(&str, &str)] = &[
    ("From: Joe", "FROM: Joe"),
    ("From: Joe", "From:Joe"),
    ("From: Joe <", "From: Joe\r\n\t<"),
    ("From: Joe", "From: Jim"),
    ("Subject: is  it", "Subject: is it"),
    ("Subject: is  it", "Subject: is  it "),
    ("Subject: is  it", "Subject: [list] is  it"),
    ("To: a", "Cc: b@example.net\r\nTo: a"),
    ("To: a", "X-New: 1\r\nTo: a"),
    ("To: a", "Subject: more\r\nTo: a"),
    ("To: a", "From: jim@example.net\r\nTo: a"),
    ("Hi.\r\n", "Hi. \r\n"),
    ("Hi.\r\n", "Hi.\r\n\r\n"),
    ("the  game", "the game"),
    ("the  game", "the \t game"),
    ("the  game", "thegame"),
    ("Joe.\r\n", "Joe.\r\n\r\n\r\n"),
    ("Joe.\r\n", "Joe.\r\n \r\n"),
    ("Joe.\r\n", "Joe.\r\nlist\r\n"),
    ("Joe.\r\n", ""),
    ("v=1;", "v=2;"),
    ("v=1; ", ""),
    ("a=rsa-sha256;", "a=rsa-md5;"),
    ("d=example.org;", "d=example.net;"),
    ("d=example.org;", "d=example.org; d=example.org;"),
    ("s=s1;", "s=s2;"),
    ("s=s1;", "s=s1; i=joe@example.net;"),
    ("s=s1;", "s=s1; q=dns/other;"),
    ("s=s1;", "s=s1; l=x;"),
    ("s=s1;", "s=revoked;"),
    ("s=s1;", "s=other;"),
    ("s=s1;", "s=nokey;"),
    ("h=From:From:", "h="),
    ("bh=", "xx="),
];

#[tokio::test]
async fn both_think_the_same_of_changes() {
    if !needs(NEEDED) {
        return;
    }
    let (header, body) = (
        "Date: Sat, 21 Nov 2026 00:00:00 +0000\r\nFrom: Joe <joe@example.org>\r\nTo: a@example.net\r\n\
         Subject: is  it ready?\r\n",
        "Hi.\r\n\r\nWe lost the  game. \r\nJoe.\r\n",
    );
    let made = generate(Kind::Rsa(2048)).expect("a key");
    let place = |selector: &str| format!("{selector}._domainkey.example.org");
    let keys = [
        (place("s1"), made.record.clone()),
        (place("revoked"), "v=DKIM1; p=".to_owned()),
        (place("other"), generate(Kind::Rsa(2048)).expect("a key").record),
    ];
    let mut dns = gatepost_auth::dns::Table::default();
    keys.iter().for_each(|(name, text)| dns.add(&format!("{name} TXT {text}")));
    let opendkim = Opendkim::verifier(&keys);
    let mut client = MilterClient::connect(opendkim.address);
    let mut wrong = Vec::new();
    for canonicalization in CANONS {
        let signer = Signer { canonicalization, ..Signer::new(key(&made), "example.org", "s1") };
        let value = signer.sign(header.as_bytes(), &[Bytes::from_static(body.as_bytes())], now());
        let good = format!("DKIM-Signature: {}\r\n{header}\r\n{body}", value.expect("a signature"));
        for (from, to) in CHANGES {
            let message = good.replacen(from, to, 1);
            assert_ne!(message, good, "{from}");
            let theirs = thinks(&mut client, &message);
            let ours = verify(&dns, message.as_bytes(), &Settings::new(now())).await;
            let same = (ours[0].outcome == Outcome::Pass) == (theirs == "pass");
            if !same {
                wrong.push(format!("{canonicalization:?} {from:?} → {to:?}: {theirs}, {}", ours[0].reason));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn records_stand_in_zones() {
    if !needs(&["nsd-checkzone"]) {
        return;
    }
    let folder = folder();
    let file = folder.path().join("zone");
    let mut zone = String::from(
        "@ 3600 IN SOA ns1.example.org. a.example.org. 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n",
    );
    let made = [generate(Kind::Rsa(2048)).expect("a key"), generate(Kind::Ed25519).expect("a key")];
    for (at, made) in made.iter().enumerate() {
        zone += &zone_line(&format!("s{at}"), "example.org", &made.record);
        zone += "\n";
    }
    std::fs::write(&file, zone).expect("write");
    let output = Command::new(program("nsd-checkzone")).arg("-p").arg("example.org").arg(&file).output();
    let output = output.expect("nsd-checkzone runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for (at, made) in made.iter().enumerate() {
        // The zone's names are printed below their origin.
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("s{at}\t")))
            .unwrap_or_else(|| panic!("no record: {text}"));
        let strings: String = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.replace("\\;", ";"), made.record);
    }
}
