//! Beside dkimpy, which knows Ed25519 and ARC: each verifies what the other signs and seals.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use gatepost_auth::arc::{self, Sealer, Status};
use gatepost_auth::dkim::{Canon, Generated, Kind, Outcome, Settings, Signer, SigningKey, generate, verify};
use gatepost_auth::dns::Table;

use crate::rig::*;

const NEEDED: &[&str] = &[
    "/usr/bin/python3",
    "/usr/lib/python3/dist-packages/dkim/__init__.py",
    "/usr/lib/python3/dist-packages/nacl",
];

/// Does what the first argument says with the message on standard input. The others are name and text of a DNS record,
/// repeated, or domain, selector, file of the private key and canonicalization.
const SCRIPT: &str = r#"
import sys, dkim
verb, words = sys.argv[1], [word.encode() for word in sys.argv[2:]]
message = sys.stdin.buffer.read()
def dns(name, timeout=5):
    zone = dict(zip(words[::2], words[1::2]))
    return zone.get(name.rstrip(b'.') if isinstance(name, bytes) else name.rstrip('.').encode())
if verb == 'verify':
    print('pass' if dkim.verify(message, dnsfunc=dns) else 'fail')
elif verb == 'chain':
    print(dkim.arc_verify(message, dnsfunc=dns)[0].decode())
elif verb == 'sign':
    domain, selector, file, algorithm, header, body = words
    signed = dkim.sign(message, selector, domain, open(file, 'rb').read(), canonicalize=(header, body),
                       signature_algorithm=algorithm)
    sys.stdout.buffer.write(signed + message)
elif verb == 'seal':
    domain, selector, file = words
    fields = dkim.arc_sign(message, selector, domain, open(file, 'rb').read(), b'mx.example.net')
    sys.stdout.buffer.write(b''.join(fields) + message)
"#;

fn dkimpy(verb: &str, words: &[&str], message: &str) -> String {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT, verb])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(message.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{verb} {words:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn key(made: &Generated) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pem(made.pem.as_bytes()).expect("our own key"))
}

const NOW: i64 = 1_795_219_200;

const HEADER: &str = "Date: Sat, 21 Nov 2026 00:00:00 +0000\r\nFrom: Joe  <joe@example.org>\r\nTo: a@example.net,\r\n\tb@example.net\r\n\
    Subject: is  it \t ready?\r\n";

const BODY: &str = "Hi. \r\n\r\nWe lost  the \t game.\r\nJoe.\r\n\r\n\r\n";

#[tokio::test]
async fn signatures_with_ed25519() {
    if !needs(NEEDED) {
        return;
    }
    let made = generate(Kind::Ed25519).expect("a key");
    let place = "s1._domainkey.example.org";
    let dns = Table::new(&format!("{place} TXT {}", made.record));
    // dkimpy wants the 32 bytes that the PEM text ends with, in base64.
    let folder = folder();
    let file = folder.path().join("key");
    let pem: String = made.pem.lines().filter(|line| !line.starts_with('-')).collect();
    std::fs::write(&file, seed(&pem)).expect("write");
    let file = file.display().to_string();
    for header in [Canon::Simple, Canon::Relaxed] {
        for body in [Canon::Simple, Canon::Relaxed] {
            let signer =
                Signer { canonicalization: (header, body), ..Signer::new(key(&made), "example.org", "s1") };
            let value = signer.sign(HEADER.as_bytes(), &[Bytes::from_static(BODY.as_bytes())], NOW);
            let message = format!("DKIM-Signature: {}\r\n{HEADER}\r\n{BODY}", value.expect("a signature"));
            assert_eq!(dkimpy("verify", &[place, &made.record], &message).trim(), "pass", "{message}");
            let changed = message.replacen("Joe.", "Jim.", 1);
            assert_eq!(dkimpy("verify", &[place, &made.record], &changed).trim(), "fail", "{changed}");

            let words = ["example.org", "s1", &file, "ed25519-sha256", header.as_str(), body.as_str()];
            let message = dkimpy("sign", &words, &format!("{HEADER}\r\n{BODY}"));
            let found = verify(&dns, message.as_bytes(), &settings()).await;
            assert_eq!(found[0].outcome, Outcome::Pass, "{found:#?}\n{message}");
        }
    }
}

/// The last 32 bytes of a PKCS#8 text of 48 bytes: behind 16 bytes, which are 21 characters and two bits.
fn seed(pem: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |c: u8| ALPHABET.iter().position(|&known| known == c).expect("base64");
    let bits = pem.bytes().flat_map(|c| (0..6).rev().map(move |bit| value(c) >> bit & 1));
    let bits: Vec<usize> = bits.skip(16 * 8).collect();
    let digit = |six: &[usize]| {
        let number = (0..6).fold(0, |sum, at| sum << 1 | six.get(at).copied().unwrap_or(0));
        char::from(ALPHABET[number])
    };
    bits.chunks(6).map(digit).chain(['=']).collect()
}

fn settings() -> Settings {
    // dkimpy signs with the time of its clock.
    Settings { skew: i64::MAX, ..Settings::new(NOW) }
}

#[tokio::test]
async fn chains_sealed_in_turns() {
    if !needs(NEEDED) {
        return;
    }
    let made = generate(Kind::Rsa(2048)).expect("a key");
    let place = "s1._domainkey.example.net";
    let dns = Table::new(&format!("{place} TXT {}", made.record));
    let folder = folder();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, &made.pem).expect("write");
    let file = file.display().to_string();
    let sealer = Sealer::new(key(&made), "example.net", "s1");
    let mut message = format!("{HEADER}\r\n{BODY}");
    for hop in 1..=6 {
        let chain = arc::verify(&dns, message.as_bytes(), &settings()).await;
        let results =
            format!("mx.example.net; arc={}; spf=pass smtp.mailfrom=example.org; dmarc=pass", chain.status);
        if hop % 2 == 0 {
            // Of several it would join the results, and take two of ARC for a failed chain.
            let of_before = |line: &&str| !line.starts_with("Authentication-Results:");
            let message_alone: String = message.split_inclusive("\r\n").filter(of_before).collect();
            let with_results = format!("Authentication-Results: {results}\r\n{message_alone}");
            message = dkimpy("seal", &["example.net", "s1", &file], &with_results);
        } else {
            let (header, body) = message.split_once("\r\n\r\n").expect("a body");
            let body = [Bytes::copy_from_slice(body.as_bytes())];
            let set = sealer.seal(header.as_bytes(), &body, &chain, &results, NOW).expect("a set");
            message = format!(
                "ARC-Seal: {}\r\nARC-Message-Signature: {}\r\nARC-Authentication-Results: {}\r\n{message}",
                set.seal, set.message_signature, set.results
            );
        }
        let chain = arc::verify(&dns, message.as_bytes(), &settings()).await;
        assert_eq!((chain.status, chain.sets.len()), (Status::Pass, hop), "{}\n{message}", chain.reason);
        assert_eq!(dkimpy("chain", &[place, &made.record], &message).trim(), "pass", "{message}");
        let changed = message.replacen("Joe.", "Jim.", 1);
        assert_eq!(dkimpy("chain", &[place, &made.record], &changed).trim(), "fail", "{changed}");
        assert_eq!(arc::verify(&dns, changed.as_bytes(), &settings()).await.status, Status::Fail);
    }
}
