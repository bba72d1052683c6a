//! ARC against the suite of its authors: chains to validate, and messages to seal to the byte.

mod suites;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use gatepost_auth::arc::{Chain, SealError, Sealer, Status, verify};
use gatepost_auth::dkim::{Settings, SigningKey};
use gatepost_auth::dns::Table;
use saphyr::{LoadableYamlNode, Yaml};
use suites::suite;

/// One document of the suite: its DNS, its tests, and what else it says.
struct Document {
    dns: Table,
    tests: Vec<(String, BTreeMap<String, String>)>,
    more: BTreeMap<String, String>,
}

fn documents(file: &Path) -> Vec<Document> {
    let text = std::fs::read_to_string(file).expect("the suite");
    Yaml::load_from_str(&distinct(&text)).expect("YAML").iter().map(document).collect()
}

/// The text with names of tests that are there twice told apart: YAML allows no such thing, and the suite does it four times.
fn distinct(text: &str) -> String {
    let mut seen = BTreeSet::new();
    let mut distinct = String::new();
    for line in text.lines() {
        if line.starts_with("---") {
            seen.clear();
        }
        let name = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
        match name.filter(|name| !name.contains(' ') && !seen.insert(name.to_owned())) {
            Some(name) => distinct.push_str(&format!("  {name}_again:\n")),
            None => distinct.push_str(&format!("{line}\n")),
        }
    }
    distinct
}

fn document(yaml: &Yaml<'_>) -> Document {
    let mut dns = Table::default();
    for (name, text) in texts(&yaml["txt-records"]) {
        dns.add(&format!("{name} TXT {}", text.replace('\n', " ")));
    }
    let tests = yaml["tests"].as_mapping().expect("tests");
    let tests = tests.iter().map(|(name, test)| (name.as_str().expect("a name").to_owned(), texts(test)));
    Document { dns, tests: tests.collect(), more: texts(yaml) }
}

/// Texts and numbers of a mapping.
fn texts(yaml: &Yaml<'_>) -> BTreeMap<String, String> {
    let text = |value: &Yaml<'_>| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.as_integer().map(|number| number.to_string()).unwrap_or_default(),
    };
    let all = yaml.as_mapping().expect("a mapping").iter();
    all.map(|(name, value)| (name.as_str().expect("a name").to_owned(), text(value))).collect()
}

fn validated(dns: &Table, message: &str) -> Chain {
    verify(dns, message.as_bytes(), &Settings::new(1_500_000_000))
        .now_or_never()
        .expect("a table answers at once")
}

#[test]
fn chains_of_the_suite() {
    let Some(folder) = suite("arc") else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for document in documents(&folder.join("arc-draft-validation-tests.yml")) {
        for (name, test) in &document.tests {
            let chain = validated(&document.dns, &test["message"].replace('\n', "\r\n"));
            let wanted = match test["cv"].as_str() {
                // A chain that failed before: the suite says that nobody asks. It is no good one.
                "" => "fail".to_owned(),
                wanted => wanted.to_ascii_lowercase(),
            };
            if chain.status.as_str() != wanted {
                wrong.push(format!("{name}: {} instead of {wanted}: {}", chain.status, chain.reason));
            }
            assert!(!chain.reason.is_empty() && !chain.temporary, "{name}: {chain:#?}");
            assert_eq!(chain.oldest_pass.is_some(), chain.status == Status::Pass, "{name}");
            println!("{name}: {}: {}", chain.status, chain.reason);
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 171 names, four of them twice.
    assert_eq!(seen, 175);
}

/// Tags without white space, in the order of their names.
fn tags(value: &str) -> BTreeMap<String, String> {
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let tags = value.split(';').filter_map(|tag| tag.split_once('='));
    tags.map(|(name, value)| (plain(name), plain(value))).collect()
}

/// The results of an authserv-id, as the field of that name has them; several fields are joined.
fn results(header: &str, id: &str) -> String {
    let unfolded = header.replace("\n ", " ").replace("\n\t", " ");
    let values = unfolded.lines().filter_map(|line| line.strip_prefix("Authentication-Results:"));
    let ours = values.filter_map(|value| {
        let (found, rest) = value.split_once(';')?;
        (found.trim() == id).then(|| rest.trim().trim_end_matches(';').to_owned())
    });
    format!("{id}; {}", ours.collect::<Vec<_>>().join("; "))
}

#[test]
fn seals_of_the_suite() {
    let Some(folder) = suite("arc") else { return };
    let mut seen = 0;
    for document in documents(&folder.join("arc-draft-sign-tests.yml")) {
        let key = Arc::new(SigningKey::from_pem(document.more["privatekey"].as_bytes()).expect("a key"));
        for (name, test) in &document.tests {
            let mut sealer =
                Sealer::new(Arc::clone(&key), &document.more["domain"], &document.more["sel"]).sorted();
            sealer.fields = test["sig-headers"].split(':').map(str::to_owned).collect();
            let chain = validated(&document.dns, &test["message"].replace('\n', "\r\n"));
            let (header, body) = test["message"].split_once("\n\n").expect("a body");
            let results = results(header, &test["srv-id"]);
            let body = [Bytes::from(body.replace('\n', "\r\n"))];
            let now = test["t"].parse().expect("seconds");
            let sealed = sealer.seal(header.replace('\n', "\r\n").as_bytes(), &body, &chain, &results, now);
            if test["AS"].is_empty() {
                assert_eq!(sealed, Err(SealError::Failed), "{name}");
            } else {
                let sealed = sealed.expect(name);
                assert_eq!(tags(&sealed.message_signature), tags(&test["AMS"]), "{name}");
                let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(words(&sealed.results), words(&test["AAR"]), "{name}");
                assert_eq!(tags(&sealed.seal), tags(&test["AS"]), "{name}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 17);
}
