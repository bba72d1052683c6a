//! Nothing that a reader opens escapes: the mails of the generator against readers in other languages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use gatepost_mail::Limits;
use memchr::memmem;

use super::*;

/// All singles, and some hundred pairs and triples.
const CASES: usize = 3000;
const SEED: u64 = 5;

#[test]
fn the_payload_is_what_it_should_be() {
    let eicar = eicar();
    assert_eq!((eicar.len(), &eicar[..3], &eicar[eicar.len() - 3..]), (68, &b"X5O"[..], &b"+H*"[..]));
    let message = gatepost_unpack::read_file(zip().into(), Some("a.zip"), &Limits::default());
    assert!(message.parts.iter().any(|part| part.body == eicar), "{:?}", message.defects);
}

/// An encoder that were wrong would hide the payload from everybody, and prove nothing.
#[test]
fn mails_without_damage_show_the_payload() {
    let all = axes();
    for (axis, value) in [
        ("body", "base64-runs-of-one"),
        ("body", "qp-soft-breaks"),
        ("body", "uu"),
        ("body", "gzip-in-base64"),
        ("nest", "twelve-deep"),
        ("nest", "message-single"),
        ("lines", "lf"),
        ("frame", "inner-other"),
    ] {
        let at = all.iter().position(|found| found.name == axis).expect(axis);
        let place = all[at].values.iter().position(|found| found.name == value).expect(value);
        for zip in [true, false] {
            let case = case(&all, &[(at, place)], zip);
            assert!(finds(&case.mail), "{}:\n{}", case.name, String::from_utf8_lossy(&case.mail));
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_mails() {
    let [one, two] = [7, 7].map(|seed| cases(2600, seed));
    assert!(one.iter().zip(&two).all(|(one, two)| one.mail == two.mail && one.name == two.name));
    let other = cases(2600, 8);
    assert!(one.iter().zip(&other).any(|(one, other)| one.mail != other.mail));
}

#[test]
fn what_a_reader_opens_is_found() {
    let cases = cases(CASES, SEED);
    assert_eq!(cases.len(), CASES);
    let folder = tempfile::tempdir().expect("a folder");
    for (number, case) in cases.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number:05}.eml")), &case.mail).expect("write");
    }
    std::fs::write(folder.path().join("needle-1"), eicar()).expect("write");
    std::fs::write(folder.path().join("needle-2"), zip()).expect("write");
    let readers: Vec<(&str, BTreeSet<usize>)> = READERS
        .iter()
        .filter_map(|(name, command)| ask(name, command, folder.path()).map(|found| (*name, found)))
        .collect();
    let mut missed = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| !finds(&case.mail)) {
        let opened = readers.iter().filter(|(_, found)| found.contains(&number)).map(|(name, _)| *name);
        let opened: Vec<&str> = opened.chain((!case.reader.is_empty()).then_some(case.reader)).collect();
        if !opened.is_empty() {
            missed.push(format!("{}: {}", case.name, opened.join(", ")));
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// Readers in other languages: a name, and words of the command, the first below `bench/peers/readers`. The folder is
/// the last word.
const READERS: &[(&str, &[&str])] = &[
    ("Python, compat32", &["python_email.py", "compat32"]),
    ("Python, default", &["python_email.py", "default"]),
    ("MIME-tools", &["mime_tools.pl"]),
    ("Email::MIME", &["email_mime.pl"]),
    ("mail-parser", &[]),
];

/// The mails that a reader finds the payload in; None where the reader is not installed.
fn ask(name: &str, command: &[&str], folder: &Path) -> Option<BTreeSet<usize>> {
    let mut words = command.iter();
    let program: PathBuf = match words.next() {
        Some(script) => Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/readers").join(script),
        None => std::env::current_exe().ok()?.parent()?.parent()?.join("examples/mail_parser"),
    };
    let output = match Command::new(program).args(words).arg(folder).output() {
        Ok(output) if output.status.success() => output,
        other => {
            println!("skipped: {name}: {other:?}");
            return None;
        }
    };
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: BTreeSet<usize> =
        names.lines().filter_map(|line| line.strip_suffix(".eml")?.parse().ok()).collect();
    println!("{name} opens {}", found.len());
    assert!(found.len() > CASES / 5, "{name} opens next to nothing: {}", found.len());
    Some(found)
}

/// Whether the scanner would see the payload: it looks at the message as it came and at each part.
fn finds(mail: &[u8]) -> bool {
    let message = gatepost_unpack::read(Bytes::copy_from_slice(mail), &Limits::default());
    let eicar = memmem::Finder::new(&eicar()).into_owned();
    eicar.find(mail).is_some() || message.parts.iter().any(|part| eicar.find(&part.body).is_some())
}
