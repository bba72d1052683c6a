//! Mails of the kinds that are known from the paper "Composition kills" (USENIX Security 2020), whole and through the
//! daemon. The attacker holds attack.example, its name server, its SPF and its keys, and writes as legitimate.example, which
//! asks for rejection. Whatever is odd in a mail, it must not pass for the victim's.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gatepost_auth::dkim::{Signer, SigningKey};

use crate::rig::*;

const ATTACKER: &str = "192.0.2.66";

/// Who signs a mail.
#[derive(Clone, Copy)]
enum Signed {
    Not,
    /// attack.example, in good order.
    Well,
    /// With the attacker's key, under this domain and selector, as no sane program would.
    As(&'static str, &'static str),
}

/// How a mail is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// MAIL is refused: that is no address.
    NoSender,
    /// Refused after DATA with the reason, as `unauthenticated`.
    Unauthenticated,
    /// Taken, for it has no author whose domain asks for anything. Nothing in it passes for the victim's, and that From is
    /// odd is told.
    NoAuthor,
    /// Taken: an account at the victim's own provider, which signs what its users write. That From is odd is told; whether a
    /// user may write as another is for the provider to ask.
    Passes,
}

/// Which it is, MAIL's argument, the header, who signs it, how it ends.
type Case = (&'static str, &'static str, &'static str, Signed, End);

const VICTIM: &str = "From: <admin@legitimate.example>";

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("A1 a domain below the victim's that does not exist", "<any@mailfrom.notexist.legitimate.example>", VICTIM, Signed::Not, End::Unauthenticated),
    ("A2 no address", "<(any@legitimate.example>", VICTIM, Signed::Not, End::NoSender),
    ("A3 NUL in the selector", "<any@33.attack.example>", VICTIM, Signed::As("legitimate.example", "sel._domainkey.attack.example.\0any"), End::Unauthenticated),
    ("A3 NUL in the domain", "<any@33.attack.example>", VICTIM, Signed::As("legitimate.example\0.attack.example", "sel"), End::Unauthenticated),
    ("A4 a quote in the domain", "<any@attack.example>", VICTIM, Signed::As("legitimate.example'a.attack.example", "sel"), End::Unauthenticated),
    ("A5 a parenthesis in the sender's domain", "<any@legitimate.example(.attack.example>", VICTIM, Signed::Not, End::NoSender),
    ("A6 two at signs", "<any@legitimate.example'@any.attack.example>", VICTIM, Signed::Not, End::NoSender),
    ("A7 a route", "<@legitimate.example,@any.example:'any@attack.example>", VICTIM, Signed::Not, End::Unauthenticated),
    ("A8 two From", "<any@attack.example>", "From: <first@attack.example>\nFrom: <admin@legitimate.example>", Signed::Well, End::Unauthenticated),
    ("A9 a space before From", "<any@attack.example>", " From: <first@attack.example>\nFrom: <admin@legitimate.example>", Signed::Not, End::Unauthenticated),
    ("A10 a space behind From", "<any@attack.example>", "From: <first@attack.example>\nFrom : <admin@legitimate.example>", Signed::Well, End::Unauthenticated),
    ("A11 a folded name", "<any@attack.example>", "From\n : <first@attack.example>\nFrom: <admin@legitimate.example>", Signed::Well, End::Unauthenticated),
    ("A12 Sender", "<any@attack.example>", "From\n : <first@attack.example>\nSender: <admin@legitimate.example>", Signed::Not, End::NoAuthor),
    ("A13 Resent-From", "<any@attack.example>", "From\n : <first@attack.example>\nResent-From: <admin@legitimate.example>", Signed::Not, End::NoAuthor),
    ("A14 two addresses", "<any@attack.example>", "From: <first@attack.example>, <admin@legitimate.example>\nSender: <s@sender.legitimate.example>", Signed::Well, End::Unauthenticated),
    ("A15 an encoded address", "<any@attack.example>", "From:=?utf-8?B?PGFkbWluQGxlZ2l0aW1hdGUuZXhhbXBsZT4=?=,<second@attack.example>", Signed::Well, End::Unauthenticated),
    ("A16 a route in From", "<any@attack.example>", "From: <@attack.example,@any.example:admin@legitimate.example>", Signed::Well, End::Unauthenticated),
    ("A17 a backslash", "<any@attack.example>", "From: <admin@legitimate.example>\\,<second@attack.example>", Signed::Well, End::Unauthenticated),
    ("A18 without brackets", "<any@attack.example>", "From: admin@legitimate.example,<second@attack.example>", Signed::Well, End::Unauthenticated),
    ("C1 two From of one domain", "<any@attack.example>", "From: <attacker@legitimate.example>\nFrom: <admin@legitimate.example>", Signed::As("legitimate.example", "own"), End::Passes),
    ("A19 behind the brackets", "<any@attack.example>", "From: <any@attack.example>admin@legitimate.example", Signed::Well, End::Unauthenticated),
];

#[test]
fn none_passes_for_the_victims() {
    if !needs(&["unbound", "openssl"]) {
        return;
    }
    let folder = folder();
    let key = key(folder.path());
    let spf = "v=spf1 ip4:192.0.2.66 -all";
    let mut records: Vec<String> =
        ["attack.example", "33.attack.example", "any.attack.example", "helo.attack.example"]
            .iter()
            .map(|name| txt(name, spf))
            .collect();
    for name in [
        "sel._domainkey.attack.example",
        "sel._domainkey.legitimate.example\\039a.attack.example",
        "own._domainkey.legitimate.example",
    ] {
        records.push(txt(name, &key.record()));
    }
    records.push(txt("legitimate.example", "v=spf1 ip4:192.0.2.1 -all"));
    records.push(txt("_dmarc.legitimate.example", "v=DMARC1; p=reject"));
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let (dns, sink) = (Dns::start(&["example"], &records), Sink::start());
    let gatepost =
        Setup::to(sink.address).listening("xclient_from = ['127.0.0.0/8']").with(&dns.config()).start();
    let signer = Signer::new(Arc::new(key), "attack.example", "sel");
    // That they are signed well is shown by those that are honest.
    for (place, signed) in [Signed::Well, Signed::As("attack.example", "sel")].into_iter().enumerate() {
        let honest = mail_of("From: <any@attack.example>", signed, &signer, folder.path());
        let (end, text) = send(&gatepost, "<any@attack.example>", &honest);
        assert_eq!(end, None, "{text}");
        let results = sink.wait_received(place + 1).remove(place).header("Authentication-Results");
        let results = results.unwrap_or_default();
        assert!(results.contains("dkim=pass") && results.contains("dmarc=none"), "{results}");
    }
    let mut problems = String::new();
    for (name, sender, header, signed, expected) in CASES {
        let before = sink.received().len();
        let mail = mail_of(header, *signed, &signer, folder.path());
        let (end, text) = send(&gatepost, sender, &mail);
        let results = match end {
            Some(_) => String::new(),
            None => sink.wait_received(before + 1).remove(before).text(),
        };
        let passes = results.contains("dmarc=pass") || results.contains("header.from=legitimate.example");
        let end = end.unwrap_or(if passes { End::Passes } else { End::NoAuthor });
        if end != *expected {
            problems.push_str(&format!("{name}: {end:?} instead of {expected:?}: {text}\n{results}\n"));
        }
    }
    assert!(problems.is_empty(), "{problems}");
    let (refused, taken) = (count(End::Unauthenticated), count(End::NoAuthor) + count(End::Passes) + 2);
    let records = gatepost.records(refused + taken);
    let unauthenticated =
        records.iter().filter(|record| record["verdicts"][0]["category"] == "unauthenticated").count();
    assert_eq!(unauthenticated, refused, "{records:#?}");
    // Where readers may take another author than DMARC did, that is told.
    let odd: Vec<&str> = records
        .iter()
        .filter_map(|record| {
            let findings = record["findings"].as_array().expect("findings");
            let finding = findings.iter().find(|finding| finding["symbol"] == "DMARC_AUTHOR_UNCLEAR")?;
            finding["evidence"].as_str()
        })
        .collect();
    assert_eq!(odd.len(), 11, "{odd:#?}");
    // No SPF under the victim's name was believed in any of them, and no signature but that of its own key.
    for told in records.iter().flat_map(|record| record["authentication"].as_array().into_iter().flatten()) {
        let text = told.to_string();
        if text.contains("legitimate.example") && told["result"] == "pass" {
            assert!(text.contains("header.s=own") || text.contains("\"dmarc\""), "{told}");
        }
    }
}

fn count(end: End) -> usize {
    CASES.iter().filter(|case| case.4 == end).count()
}

/// How it was refused, if it was, and the reply.
fn send(gatepost: &Gatepost, sender: &str, mail: &str) -> (Option<End>, String) {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say(&format!("XCLIENT ADDR={ATTACKER} NAME=helo.attack.example"), "220");
    dialog.say("EHLO helo.attack.example", "250");
    let reply = dialog.say(&format!("MAIL FROM:{sender}"), "");
    if reply.code >= 500 {
        return (Some(End::NoSender), reply.text);
    }
    dialog.say("RCPT TO:<victim@victim.example>", "250");
    dialog.say("DATA", "354");
    dialog.content(mail);
    let reply = dialog.expect("");
    let end = match reply.text.starts_with("550 5.7.26 ") {
        true => Some(End::Unauthenticated),
        false => None,
    };
    (end, reply.text)
}

/// A key of the attacker's, in `key.pem`.
fn key(folder: &Path) -> SigningKey {
    let file = folder.join("key.pem");
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &text(&file)]);
    SigningKey::from_pem(&std::fs::read(file).expect("the key")).expect("a key")
}

/// The mail with this header, its signature before all.
fn mail_of(header: &str, signed: Signed, signer: &Signer, folder: &Path) -> String {
    let rest = "To: <victim@victim.example>\nSubject: letter\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\
                Message-ID: <1@attack.example>\n";
    let header = format!("{header}\n{rest}").replace('\n', "\r\n");
    let body = "Hi\r\n";
    let now = jiff::Timestamp::now().as_second();
    let signature = match signed {
        Signed::Not => return format!("{header}\r\n{body}"),
        Signed::Well => signer.sign(header.as_bytes(), &[body.into()], now).expect("a signature"),
        Signed::As(domain, selector) => forged(&header, body, domain, selector, folder),
    };
    format!("DKIM-Signature: {signature}\r\n{header}\r\n{body}")
}

/// A signature (RFC 6376, simple/simple over the last From alone) under a name that a signer of good manners would not take. It is
/// right, but for the name.
fn forged(header: &str, body: &str, domain: &str, selector: &str, folder: &Path) -> String {
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("write");
        text(&path)
    };
    let hash = base64(&openssl(&["dgst", "-sha256", "-binary", &file("body", body)])).replace("\r\n", "");
    let tags = format!(
        "v=1; a=rsa-sha256; c=simple/simple; d={domain}; s={selector}; h=from; bh={}; b=",
        hash.trim()
    );
    let from =
        header.split_inclusive("\r\n").filter(|line| line.starts_with("From:")).last().expect("a From");
    let signed = file("signed", &format!("{from}DKIM-Signature: {tags}"));
    let key = text(&folder.join("key.pem"));
    let signature = openssl(&["dgst", "-sha256", "-sign", &key, "-binary", &signed]);
    tags + &base64(&signature).split_whitespace().collect::<String>()
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program("openssl")).args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
