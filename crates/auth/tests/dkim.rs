//! DKIM against messages that others made: the corpus of a verifier, and signed mail of a list.

mod suites;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use gatepost_auth::dkim::{Outcome, Settings, Signature, verify};
use gatepost_auth::dns::Table;
use suites::suite;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder that can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn results(dns: &Table, message: &[u8], settings: &Settings) -> Vec<Signature> {
    verify(dns, message, settings).now_or_never().expect("a table answers at once")
}

/// The corpus' DNS: `NAME  TEXT`, NXDOMAIN, or a fault between tildes.
fn fake_dns(file: &Path) -> Table {
    let mut table = Table::default();
    for line in std::fs::read_to_string(file).expect("the corpus' DNS").lines() {
        let Some((name, data)) = line.split_once(' ') else { continue };
        match data.trim() {
            _ if name.starts_with('#') => {}
            "NXDOMAIN" => {}
            "~~Query timed out~~" => table.add(&format!("{name} TIMEOUT")),
            "~~SERVFAIL~~" => table.add(&format!("{name} FAILED")),
            text => table.add(&format!("{name} TXT {}", text.trim_matches('"'))),
        }
    }
    table
}

#[test]
fn corpus() {
    let Some(folder) = suite("dkim") else { return };
    let dns = fake_dns(&folder.join("FAKE_DNS.dat"));
    let mut seen = 0;
    for file in files(&folder.join("corpus"), "txt") {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let message = std::fs::read(&file).expect("a message");
        let old = results(&dns, &message, &Settings::historic(1_700_000_000));
        let passes = |found: &[Signature]| found.iter().any(|one| one.outcome == Outcome::Pass);
        // DomainKeys (RFC 4870) is another protocol, and so was the first draft, which hashed the body with the header:
        // the corpus' own tests leave that one out, too.
        let other = name.contains("dk_") || name.contains("ietf00");
        let good = ["good", "mine", "multiple", "no_body"].iter().any(|kind| name.starts_with(kind));
        assert_eq!(passes(&old), good && !other, "{name}: {old:#?}");
        // By today's rules only one of them is good: all others are made with SHA-1, short keys, or by drafts.
        let today = results(&dns, &message, &Settings::new(1_700_000_000));
        assert_eq!(passes(&today), name == "goodkey_ed25519.txt", "{name}: {today:#?}");
        for (old, today) in old.iter().zip(&today).filter(|(old, _)| old.outcome == Outcome::Pass) {
            let draft = today.reason.contains("v=");
            assert!(
                draft || matches!(today.outcome, Outcome::Policy | Outcome::Pass),
                "{name}: {old:?} {today:?}"
            );
        }
        let temporary = matches!(name.as_str(), "badkey_14.txt" | "badkey_15.txt");
        assert_eq!(old.iter().any(|one| one.outcome == Outcome::TempError), temporary, "{name}: {old:#?}");
        seen += 1;
    }
    assert_eq!(seen, 79);
}

#[test]
fn list_mail() {
    let Some(folder) = suite("ham-signed") else { return };
    let texts = std::fs::read_to_string(folder.join("dns-txt.json")).expect("the list's DNS");
    let texts: BTreeMap<String, String> = serde_json::from_str(&texts).expect("names and texts");
    let mut dns = Table::default();
    texts.iter().for_each(|(name, text)| dns.add(&format!("{name} TXT {text}")));
    let mut failed = Vec::new();
    let files = files(&folder, "eml");
    for file in &files {
        let message = std::fs::read(file).expect("a message");
        let made =
            results(&dns, &message, &Settings::new(i64::MAX)).first().and_then(|found| found.signed_at);
        let now = made.map_or(1_557_000_000, |made| made as i64);
        let found = results(&dns, &message, &Settings::new(now));
        let gmail = found.iter().find(|one| one.domain == "gmail.com").expect("a signature of gmail.com");
        match gmail.outcome {
            Outcome::Pass => assert_eq!(gmail.key_bits, Some(2048)),
            // The list has put its own address into Sender, which these have signed.
            Outcome::Fail if gmail.signed.iter().any(|name| name == "sender") => failed.push(file),
            _ => panic!("{}: {gmail:#?}", file.display()),
        }
    }
    assert_eq!((files.len(), failed.len()), (250, 3), "{failed:#?}");
}
