//! Messages signed here, broken in each way, and verified again.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::dns::Table;

/// 2026-11-21.
const NOW: i64 = 1_795_219_200;

const HEADER: &str = "Received: from a by b; Sat, 21 Nov 2026 00:00:00 +0000\r\n\
    From: Joe <joe@example.org>\r\nTo: Suzie <suzie@example.net>,\r\n  Ann <ann@example.net>\r\n\
    Subject: Is dinner  ready?\r\nX-Other: 1\r\n\r\n";

const BODY: &str = "Hi.\r\n\r\nWe lost the  game. \r\nJoe.\r\n";

/// Made with OpenSSL for these tests alone.
static RSA: LazyLock<Arc<SigningKey>> =
    LazyLock::new(|| Arc::new(SigningKey::from_pem(include_bytes!("testing.pem")).unwrap()));
static ED25519: LazyLock<Arc<SigningKey>> = LazyLock::new(|| made(Kind::Ed25519));

fn made(kind: Kind) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pem(generate(kind).unwrap().pem.as_bytes()).unwrap())
}

fn signer(key: &Arc<SigningKey>) -> Signer {
    Signer::new(Arc::clone(key), "example.org", "s1")
}

/// The record of a key that is not the signer's.
fn other_record() -> String {
    // The exponent is another one.
    RSA.record().replace("AQAB", "AQAD")
}

/// The message with the signature on top.
fn signed(signer: &Signer, header: &str, body: &str) -> String {
    let pieces = [Bytes::copy_from_slice(body.as_bytes())];
    let value = signer.sign(header.as_bytes(), &pieces, NOW).unwrap();
    assert!(value.lines().all(|line| line.is_ascii() && line.len() < 78), "{value}");
    format!("DKIM-Signature: {value}\r\n{header}{body}")
}

/// The DNS with that key at the signer's place, and what else is said in its record.
fn dns(key: &SigningKey, more: &str) -> Table {
    Table::new(&format!("s1._domainkey.example.org TXT {}{more}", key.record()))
}

fn verified(dns: &Table, message: &str, settings: &Settings) -> Vec<Signature> {
    verify(dns, message.as_bytes(), settings).now_or_never().unwrap()
}

/// Nobody can look such a name up, so it must not look as if it could be done later.
#[test]
fn names_that_the_dns_cannot_hold_have_no_key() {
    let good = signed(&signer(&RSA), HEADER, BODY);
    let long = ["x".repeat(63).as_str(); 3].join(".");
    for selector in [format!("{long}.{}", "x".repeat(40)), "ü".repeat(31), "a\u{ad}\u{378}".into()] {
        let message = good.replacen("s=s1;", &format!("s={selector};"), 1);
        let (outcome, why) = only(&Table::new(""), &message, &Settings::new(NOW));
        assert!(matches!(outcome, Outcome::PermError | Outcome::Neutral), "{selector}: {why}");
    }
    let message = good.replacen("s=s1;", &format!("s={long}.{};", "x".repeat(40)), 1);
    let (outcome, why) = only(&Table::new(""), &message, &Settings::new(NOW));
    assert!(outcome == Outcome::PermError && why.starts_with("there can be no key at xxx"), "{why}");
}

/// Two keys that fit are tried, and no more: the owner of the record does not decide how much we calculate.
#[test]
fn several_keys_under_one_name() {
    let good = signed(&signer(&RSA), HEADER, BODY);
    let name = "s1._domainkey.example.org TXT";
    for (others, outcome) in [(1, Outcome::Pass), (2, Outcome::Fail)] {
        let mut table = Table::new(&format!("{name} nonsense"));
        (0..others).for_each(|_| table.add(&format!("{name} {}", other_record())));
        table.add(&format!("{name} {}", RSA.record()));
        assert_eq!(only(&table, &good, &Settings::new(NOW)).0, outcome, "{others}");
    }
}

fn only(dns: &Table, message: &str, settings: &Settings) -> (Outcome, String) {
    let mut all = verified(dns, message, settings);
    assert_eq!(all.len(), 1);
    let one = all.remove(0);
    (one.outcome, one.reason)
}

#[test]
fn the_example_of_rfc_8463() {
    let message = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; \
        i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : \
        message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
        b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; \
        i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : \
        message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
        b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n \
        DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n \
        dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
        From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n\
        Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    let dns = Table::new(
        "brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; \
         p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
         test._domainkey.football.example.com TXT v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQ\
         oBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6l\
         HvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n",
    );
    let found = verified(&dns, message, &Settings::new(1_528_637_909));
    let brief: Vec<_> = found.iter().map(|one| (one.outcome, one.b.as_str(), one.key_bits)).collect();
    let wanted = [(Outcome::Pass, "/gCrinpc", Some(256)), (Outcome::Pass, "F45dVWDf", Some(1024))];
    assert_eq!(brief, wanted, "{found:#?}");
    // The private key of appendix A.2 makes a good signature, too.
    let pem =
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    let record = SigningKey::from_pem(pem).unwrap().record();
    assert_eq!(record, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
}

const SIMPLE: Canon = Canon::Simple;
const RELAXED: Canon = Canon::Relaxed;

/// A change, and whether it is tolerated: simple and relaxed for a change of the header, then of the body.
type Change = (&'static str, &'static str, [bool; 2]);

const HEADER_CHANGES: &[Change] = &[
    ("From: Joe", "From: Jon", [false, false]),
    ("From: Joe", "FROM: Joe", [false, true]),
    ("From: Joe", "From:Joe", [false, true]),
    ("From: Joe", "From : Joe", [false, true]),
    ("From: Joe", "From:  Joe", [false, true]),
    ("From: Joe <", "From: Joe\t<", [false, true]),
    ("From: Joe <", "From: Joe\r\n <", [false, true]),
    ("From: Joe <", "From: Joe<", [false, false]),
    ("dinner  ready?", "dinner ready?", [false, true]),
    ("ready?\r\n", "ready? \r\n", [false, true]),
    (",\r\n  Ann", ", Ann", [false, true]),
    (",\r\n  Ann", ",\r\n\tAnn", [false, true]),
    ("To: Suzie", "X-New: 1\r\nTo: Suzie", [true, true]),
    ("X-Other: 1", "X-Other: 2", [true, true]),
    ("X-Other: 1", "Subject: other", [false, false]),
    ("From: Joe", "From: other@example.com\r\nFrom: Joe", [false, false]),
    ("Received:", "Subject: other\r\nReceived:", [false, false]),
    ("Received:", "Cc: other@example.com\r\nReceived:", [false, false]),
    ("Subject: Is dinner  ready?\r\n", "", [false, false]),
    ("bh=", "bh= ", [false, false]),
    ("c=", "C=", [false, false]),
    ("DKIM-Signature:", "Dkim-signature:", [false, true]),
    ("t=1795219200", "t=1795219201", [false, false]),
];

const BODY_CHANGES: &[Change] = &[
    ("Hi.", "Ho.", [false, false]),
    ("Hi.", " Hi.", [false, false]),
    ("Hi.\r\n", "Hi. \t\r\n", [false, true]),
    ("Hi.\r\n\r\n", "Hi.\r\n", [false, false]),
    ("lost the  game.", "lost the game.", [false, true]),
    ("lost the  game.", "lost the \t game.", [false, true]),
    ("lost the  game.", "lost thegame.", [false, false]),
    ("game. \r\n", "game.\r\n", [false, true]),
    ("Joe.\r\n", "Joe.\r\n\r\n\r\n", [true, true]),
    ("Joe.\r\n", "Joe.", [true, true]),
    ("Joe.\r\n", "Joe.\r\n \t\r\n", [false, true]),
    ("Joe.\r\n", "Joe.\r\n--\r\nlist", [false, false]),
    ("Joe.\r\n", "", [false, false]),
];

#[test]
fn changes_are_tolerated_or_not() {
    for header in [SIMPLE, RELAXED] {
        for body in [SIMPLE, RELAXED] {
            for key in [&*RSA, &*ED25519] {
                let dns = dns(key, "");
                let settings = Settings::new(NOW);
                let signer = Signer { canonicalization: (header, body), ..signer(key) };
                let message = signed(&signer, HEADER, BODY);
                let (outcome, reason) = only(&dns, &message, &settings);
                assert_eq!(outcome, Outcome::Pass, "{reason}\n{message}");
                assert_eq!(only(&dns, &message.replace("\r\n", "\n"), &settings).0, Outcome::Pass);
                let (head, text) = message.split_once("\r\n\r\n").unwrap();
                for (from, to, tolerated) in HEADER_CHANGES {
                    let head = head.replacen(from, to, 1);
                    let message = format!("{head}\r\n\r\n{text}");
                    let (outcome, reason) = only(&dns, &message, &settings);
                    let good = tolerated[(header == RELAXED) as usize];
                    assert_eq!(outcome == Outcome::Pass, good, "{header:?} {from:?} → {to:?}: {reason}");
                }
                for (from, to, tolerated) in BODY_CHANGES {
                    let message = format!("{head}\r\n\r\n{}", text.replacen(from, to, 1));
                    let (outcome, reason) = only(&dns, &message, &settings);
                    match tolerated[(body == RELAXED) as usize] {
                        true => assert_eq!(outcome, Outcome::Pass, "{body:?} {from:?} → {to:?}: {reason}"),
                        false => {
                            assert_eq!(outcome, Outcome::Fail, "{body:?} {from:?} → {to:?}: {reason}");
                            assert!(
                                reason.starts_with("body hash did not verify: the signature says "),
                                "{reason}"
                            );
                            assert!(reason.ends_with("; the header is as it was signed"), "{reason}");
                        }
                    }
                }
            }
        }
    }
}

/// Each byte of a signed message, changed, is noticed, or it is one that relaxed canonicalization does not see.
#[test]
fn every_byte_counts() {
    let (dns, settings) = (dns(&ED25519, ""), Settings::new(NOW));
    let signer = Signer { canonicalization: (SIMPLE, SIMPLE), ..signer(&ED25519) };
    let message = signed(&signer, HEADER, BODY);
    let unsigned = ["Received: from a by b; Sat, 21 Nov 2026 00:00:00 +0000\r\n", "X-Other: 1\r\n"];
    for at in 0..message.len() {
        let free = unsigned.iter().any(|text| {
            let start = message.find(text).unwrap();
            (start..start + text.len()).contains(&at)
        });
        let mut changed = message.clone().into_bytes();
        changed[at] ^= 0x02;
        let found = verify(&dns, &changed, &settings).now_or_never().unwrap();
        let passed = found.iter().any(|one| one.outcome == Outcome::Pass);
        // Line breaks of the signature's own base64 and bits beyond its end are not signed, nor is CR where LF ends a line.
        let rest = &message.as_bytes()[at..];
        let tolerated =
            free || matches!(rest[0], b'\r' | b'\n' | b'\t' | b'=') || rest[1..].starts_with(b"==");
        assert!(!passed || tolerated, "byte {at} {:?}", &message[at..]);
    }
}

/// What is done to a good message before it is verified: tags of the signature and of the key's record.
#[test]
fn what_speaks_against_a_signature() {
    let settings = Settings::new(NOW);
    let good = signed(&signer(&RSA), HEADER, BODY);
    // In the order of the changes: text of the message, its replacement, what is put behind the record.
    for (from, to, record, outcome, why) in [
        ("v=1;", "v=2;", "", Outcome::Neutral, "its version is unknown: v=2"),
        ("v=1; ", "", "", Outcome::PermError, "it has no v="),
        ("a=rsa-sha256;", "a=rsa-md5;", "", Outcome::Neutral, "its algorithm is unknown: a=rsa-md5"),
        ("a=rsa-sha256;", "", "", Outcome::PermError, "it has no a="),
        ("c=relaxed/relaxed;", "c=nofws;", "", Outcome::Neutral, "its canonicalization is unknown: c=nofws"),
        (
            "d=example.org;",
            "d=example..org;",
            "",
            Outcome::Neutral,
            "the field is malformed: d=example..org is no domain name",
        ),
        ("d=example.org;", "", "", Outcome::PermError, "it has no d="),
        (
            "d=example.org;",
            "d=example.org; d=example.org;",
            "",
            Outcome::Neutral,
            "the field is malformed: d= is there twice",
        ),
        (
            "d=example.org;",
            "d=example.com;",
            "",
            Outcome::PermError,
            "there is no key at s1._domainkey.example.com: no such name",
        ),
        (
            "s=s1;",
            "s=s1; i=joe@example.com;",
            "",
            Outcome::PermError,
            "its identity joe@example.com (i=) is not under its domain example.org (d=)",
        ),
        ("s=s1;", "s=s1; i=joe;", "", Outcome::Neutral, "the field is malformed: i=joe is no address"),
        ("s=s1;", "s=s1; q=dns/other;", "", Outcome::Neutral, "its key is not in the DNS: q=dns/other"),
        ("s=s1;", "s=s1; l=-1;", "", Outcome::Neutral, "the field is malformed: l=-1 is no number"),
        (
            "s=s1;",
            "s=s1; l=99;",
            "",
            Outcome::Fail,
            "the body was cut: 99 bytes of it are signed (l=), and there are 32; the signature of the header did not verify either",
        ),
        (
            "t=1795219200;",
            "t=1795219600;",
            "",
            Outcome::Neutral,
            "it was made in the future: t=1795219600, now it is 1795219200",
        ),
        (
            "t=1795219200;",
            "x=1795218000;",
            "",
            Outcome::Neutral,
            "it has expired 1200 seconds ago: x=1795218000, now it is 1795219200",
        ),
        (
            "t=1795219200;",
            "t=1795219200; x=1795219200;",
            "",
            Outcome::Neutral,
            "the field is malformed: it expires (x=1795219200) before it was made (t=)",
        ),
        ("h=From:From:", "h=", "", Outcome::PermError, "it does not sign the From field"),
        (
            "h=From:",
            "h=From::",
            "",
            Outcome::Neutral,
            "the field is malformed: h= has \"\", which is no name of a field",
        ),
        ("bh=", "bx=", "", Outcome::PermError, "it has no bh="),
        ("b=", "b=;y=", "", Outcome::PermError, "it has no b="),
        (
            "",
            "",
            "; h=sha1",
            Outcome::PermError,
            "the record at s1._domainkey.example.org does not allow sha256 (h=)",
        ),
        (
            "",
            "",
            "; s=chat",
            Outcome::PermError,
            "the record at s1._domainkey.example.org is not for mail: s=chat",
        ),
        (
            "",
            "",
            "; h=sha256; s=*; t=s; g=nobody",
            Outcome::Pass,
            "good signature of example.org with an RSA key of 2048 bits",
        ),
        (
            "",
            "",
            "; t=y",
            Outcome::Pass,
            "good signature of example.org with an RSA key of 2048 bits; the domain is testing DKIM (t=y)",
        ),
    ] {
        let message = match from {
            // The tag itself, not the end of another one.
            "b=" => good.replacen("\tb=", "\tb=;y=", 1).replacen(" b=", " b=;y=", 1),
            _ => good.replacen(from, to, 1),
        };
        assert!(from.is_empty() || message != good, "{from}");
        assert_eq!(
            only(&dns(&RSA, record), &message, &settings),
            (outcome, why.to_owned()),
            "{from} → {to}{record}"
        );
    }
}

/// Results stand in header fields and logs: nothing that a sender or a zone writes breaks out of its line.
#[test]
fn what_others_write_stays_on_its_line() {
    let evil = "=0D=0AX-Evil: =1B[31m\r\n\t\u{85}\u{1b}\0";
    let dns = Table::new(
        &format!("s._domainkey.d TXT v=DKIM1; k=\u{1b}\u{7}; x={evil}").replace(['\r', '\n'], "\u{b}"),
    );
    for tag in ["v", "a", "c", "d", "s", "i", "h", "q", "t", "x", "l", "b", "bh", "\u{1b}"] {
        let good = "v=1; a=rsa-sha256; d=d; s=s; h=from; bh=AA; b=AA";
        let rest: Vec<&str> = good.split("; ").filter(|one| !one.starts_with(&format!("{tag}="))).collect();
        let message = format!("DKIM-Signature: {}; {tag}=a@d{evil}\r\nFrom: a\r\n\r\n", rest.join("; "));
        for one in verified(&dns, &message, &Settings::new(NOW)) {
            assert_ne!(one.outcome, Outcome::Pass);
            let mut all =
                vec![&one.reason, &one.domain, &one.selector, &one.identity, &one.algorithm, &one.b];
            all.extend(one.signed.iter().chain(&one.steps));
            assert!(all.iter().all(|text| !text.contains(char::is_control)), "{tag}: {one:#?}");
        }
    }
}

#[test]
fn keys_decide() {
    let settings = Settings::new(NOW);
    let message = signed(&signer(&RSA), HEADER, BODY);
    let name = "s1._domainkey.example.org";
    let (good, other) = (RSA.record(), other_record());
    for (zone, outcome, why) in [
        (
            format!("{name} TIMEOUT"),
            Outcome::TempError,
            "cannot be looked up: no name server answered in time",
        ),
        (format!("{name} FAILED"), Outcome::TempError, "cannot be looked up: SERVFAIL"),
        (format!("{name} A 192.0.2.1"), Outcome::PermError, "there is no key at"),
        (format!("{name} TXT v=DKIM1; p="), Outcome::PermError, "says that the key is revoked (p= is empty)"),
        (
            format!("{name} TXT {}", ED25519.record()),
            Outcome::PermError,
            "has a key of the kind ed25519, and the signature is rsa-sha256",
        ),
        (format!("{name} TXT {other}"), Outcome::Fail, "signature did not verify"),
        // Several records: whatever is no key does not matter, and one that fits is enough.
        (format!("{name} TXT v=spf1 -all\n{name} TXT {good}"), Outcome::Pass, "good signature"),
        (format!("{name} TXT {other}\n{name} TXT {good}"), Outcome::Pass, "good signature"),
        (format!("{name} TXT v=spf1 -all\n{name} TXT {other}"), Outcome::Fail, "signature did not verify"),
    ] {
        let (found, reason) = only(&Table::new(&zone), &message, &settings);
        assert!(found == outcome && reason.contains(why), "{zone}: {found} {reason}");
    }
    let strict = Signer { identity: Some("joe@mail.example.org".into()), ..signer(&RSA) };
    let message = signed(&strict, HEADER, BODY);
    assert_eq!(only(&dns(&RSA, ""), &message, &settings).0, Outcome::Pass);
    assert_eq!(only(&dns(&RSA, "; t=s"), &message, &settings).0, Outcome::PermError);
}

#[test]
fn settings_decide() {
    let dns = dns(&RSA, "");
    let message = signed(&signer(&RSA), HEADER, BODY);
    let long = Settings { min_bits: 3072, ..Settings::new(NOW) };
    let (outcome, reason) = only(&dns, &message, &long);
    assert_eq!(
        (outcome, reason.as_str()),
        (Outcome::Policy, "good, but its RSA key has 2048 bits; 3072 are asked for")
    );
    // Ed25519 has no other size.
    let message = signed(&signer(&ED25519), HEADER, BODY);
    assert_eq!(only(&self::dns(&ED25519, ""), &message, &long).0, Outcome::Pass);
    let expiring = Signer { lifetime: Some(3600), ..signer(&RSA) };
    let message = signed(&expiring, HEADER, BODY);
    for (now, outcome) in [
        (NOW - 301, Outcome::Neutral),
        (NOW - 300, Outcome::Pass),
        (NOW + 3600 + 300, Outcome::Pass),
        (NOW + 3600 + 301, Outcome::Neutral),
    ] {
        assert_eq!(only(&dns, &message, &Settings::new(now)).0, outcome, "{now}");
    }
    assert!(Settings::at(1_500_000_000).historic && !Settings::at(NOW).historic);
}

#[test]
fn a_part_of_the_body() {
    // The signature is made over a body that ends where l= says.
    let settings = Settings::new(NOW);
    let signer = signer(&ED25519);
    let whole = format!("{BODY}-- \r\nlist\r\n");
    let with_length = |length: usize| {
        let stacks = header::Stacks::new(&header::Message::new(HEADER.as_bytes()).fields);
        let wanted = canon::Wanted { canon: RELAXED, hash: canon::Hash::Sha256, length: None };
        let body = canon::Bodies::hash(&[wanted], std::iter::once(BODY.as_bytes()));
        let mut tags = vec![
            sign::Tag::new("v", "1".into()),
            sign::Tag::new("a", "ed25519-sha256".into()),
            sign::Tag::new("c", "relaxed/relaxed".into()),
            sign::Tag::new("d", "example.org".into()),
            sign::Tag::new("s", "s1".into()),
            sign::Tag::new("l", length.to_string()),
            sign::Tag::new("h", "from".into()),
        ];
        tags.push(sign::Tag::base64("bh", &body.get(&wanted).unwrap().digest));
        let mut data = Vec::new();
        stacks.choose(&["from".into()]).iter().for_each(|field| RELAXED.field(field, &mut data));
        let layout = sign::Layout::Folded;
        let value = sign::seal(&signer.key, RELAXED, "DKIM-Signature", tags, data, layout).unwrap();
        format!("DKIM-Signature: {value}\r\n{HEADER}")
    };
    let dns = dns(&ED25519, "");
    let message = with_length(32) + &whole;
    let found = verified(&dns, &message, &settings).remove(0);
    assert_eq!(
        (found.outcome, found.length, found.unsigned),
        (Outcome::Pass, Some(32), 10),
        "{}",
        found.reason
    );
    assert!(found.reason.ends_with("; 10 bytes of the body are not signed (l=)"));
    let strict = Settings { lengths: false, ..settings.clone() };
    assert_eq!(only(&dns, &message, &strict).0, Outcome::Policy);
    assert_eq!(only(&dns, &(with_length(32) + BODY), &strict).0, Outcome::Pass);
    assert_eq!(only(&dns, &(with_length(31) + &whole), &settings).0, Outcome::Fail);
}

#[test]
fn several_signatures_are_looked_at_up_to_a_number() {
    let signers = [signer(&RSA), Signer { selector: "s2".into(), ..signer(&ED25519) }];
    let body = [Bytes::from_static(b"Hi"), Bytes::from_static(b".\r\n")];
    let values = sign_all(&[&signers[0], &signers[1]], HEADER.as_bytes(), &body, NOW);
    let [one, two] = values.try_into().unwrap();
    let fields = format!("DKIM-Signature: {}\r\nDKIM-Signature: {}\r\n", one.unwrap(), two.unwrap());
    let message = format!("{}DKIM-Signature: nonsense\r\n{HEADER}Hi.\r\n", fields.repeat(3));
    let mut dns = dns(&RSA, "");
    dns.add(&format!("s2._domainkey.example.org TXT {}", ED25519.record()));
    let outcomes = |max| {
        let found = verified(&dns, &message, &Settings { max, ..Settings::new(NOW) });
        found.into_iter().map(|one| (one.selector, one.outcome, one.reason)).collect::<Vec<_>>()
    };
    let all = outcomes(16);
    assert_eq!(all.len(), 7);
    assert!(all[..6].iter().all(|(_, outcome, _)| *outcome == Outcome::Pass));
    assert_eq!(all[6].2, "the field is malformed: \"nonsense\" has no value");
    let some = outcomes(2);
    let names: Vec<&str> = some.iter().map(|(selector, ..)| selector.as_str()).collect();
    assert_eq!(names, ["s1", "s2", ""]);
    assert_eq!(some[2].2, "5 more signatures were not looked at: 2 are enough");
    assert_eq!(outcomes(0).len(), 1);
    assert!(verified(&dns, HEADER, &Settings::new(NOW)).is_empty());
}

#[test]
fn signatures_are_folded_and_say_what_they_should() {
    let signer = Signer {
        identity: Some("jö; e@Mail.bücher.example".into()),
        domain: "bücher.example".into(),
        lifetime: Some(86400),
        canonicalization: (RELAXED, SIMPLE),
        ..signer(&ED25519)
    };
    let value = signer.sign(HEADER.as_bytes(), &[Bytes::from_static(BODY.as_bytes())], NOW).unwrap();
    let (before, b) = value.rsplit_once("b=").unwrap();
    assert_eq!(b.replace("\r\n\t", "").len(), 88);
    assert_eq!(
        before,
        "v=1; a=ed25519-sha256; c=relaxed/simple;\r\n\td=xn--bcher-kva.example; s=s1;\r\n\t\
         i=j=C3=B6=3B=20e@mail.xn--bcher-kva.example; t=1795219200;\r\n\t\
         x=1795305600; h=From:From:Reply-To:Subject:Subject:Date:Message-ID:\r\n\t\
         To:To:Cc:MIME-Version:Content-Type:Content-Transfer-Encoding;\r\n\t\
         bh=Q/tZdoR4CDcqlZHkVhrq2H+3VytTs8XHuupwd3URyL4=;\r\n\t"
    );
}

#[test]
fn what_cannot_be_signed_says_why() {
    let good = signer(&ED25519);
    for (signer, header, why) in [
        (good.clone(), "To: a\r\n\r\n", "the message has no From field"),
        (
            Signer { domain: "a b".into(), ..good.clone() },
            HEADER,
            "the domain \"a b\" cannot stand in the DNS",
        ),
        (
            Signer { selector: String::new(), ..good.clone() },
            HEADER,
            "the selector \"\" cannot stand in the DNS",
        ),
        (
            Signer { identity: Some("joe@example.com".into()), ..good.clone() },
            HEADER,
            "the identity \"joe@example.com\" is not under the domain example.org",
        ),
        (Signer { fields: vec!["a:b".into()], ..good.clone() }, HEADER, "\"a:b\" is no name of a field"),
        (good.clone(), &"From: a\r\n".repeat(1001), "the message has more than 1000 fields to sign"),
    ] {
        assert_eq!(signer.sign(header.as_bytes(), &[], NOW).unwrap_err().to_string(), why);
    }
}

fn canon() -> impl Strategy<Value = Canon> {
    prop_oneof![Just(SIMPLE), Just(RELAXED)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies(
        header in canon(),
        body in canon(),
        fields in proptest::collection::vec(("[A-Za-z-]{1,12}[ \t]?", "([ \ta-z\u{e4};=:]|\r\n[ \t]){0,60}"), 0..6),
        text in "[ab \t\r\n=]{0,200}",
        cut in 0usize..200,
    ) {
        let mut head = String::from("From: joe@example.org\r\n");
        fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}:{value}\r\n")));
        let names = fields.iter().map(|(name, _)| name.trim_end().to_owned()).collect();
        let signer = Signer { canonicalization: (header, body), fields: names, ..signer(&ED25519) };
        let (one, two) = text.split_at(cut.min(text.len()));
        let pieces = [Bytes::copy_from_slice(one.as_bytes()), Bytes::copy_from_slice(two.as_bytes())];
        let value = signer.sign(head.as_bytes(), &pieces, NOW).unwrap();
        let message = format!("DKIM-Signature: {value}\r\n{head}\r\n{text}");
        let (outcome, reason) = only(&dns(&ED25519, ""), &message, &Settings::new(NOW));
        prop_assert_eq!(outcome, Outcome::Pass, "{}\n{}", reason, message);
    }

    #[test]
    fn nothing_panics(
        tags in "([vabcdhilqstx]{1,2} ?= ?[a-z0-9/.@:*=+ ;-]{0,12};?){0,12}",
        record in "([vkhpstgn] ?= ?[A-Za-z0-9/.@:*=+ ;-]{0,20};?){0,6}",
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let dns = Table::new(&format!("s._domainkey.d TXT {record}"));
        let message = format!("DKIM-Signature: v=1; a=rsa-sha256; d=d; s=s; h=from; bh=AA; b=AA;{tags}\r\n\r\n");
        verified(&dns, &message, &Settings::historic(NOW));
        let message = format!("DKIM-Signature: {tags}\nFrom: a\n\n");
        verified(&dns, &message, &Settings::historic(NOW));
        let mut raw = b"DKIM-Signature:".to_vec();
        raw.extend_from_slice(&bytes);
        verify(&dns, &raw, &Settings::new(NOW)).now_or_never().unwrap();
        let _ = SigningKey::from_pem(&bytes);
        let _ = signer(&ED25519).sign(&bytes, &[Bytes::copy_from_slice(&bytes)], NOW);
    }
}
