//! Who signs for whom, with keys on disk.

use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use futures_util::FutureExt;
use gatepost_auth::dkim::{Generated, Kind, Outcome, Settings as Verifying, generate, verify};
use gatepost_auth::dns::Table;
use gatepost_mail::{Budget, Limits};

use super::*;

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

static RSA: LazyLock<Generated> = LazyLock::new(|| generate(Kind::Rsa(2048)).unwrap());
static ED: LazyLock<Generated> = LazyLock::new(|| generate(Kind::Ed25519).unwrap());

/// A folder with the keys `rsa.pem` and `ed.pem`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("rsa.pem"), &RSA.pem, 0o600);
    write(&folder.path().join("ed.pem"), &ED.pem, 0o640);
    folder
}

fn write(file: &Path, text: &str, mode: u32) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A configuration in which `{}` is the folder.
fn config(toml: &str, folder: &tempfile::TempDir) -> Config {
    let toml = format!("domains = ['example.org']\n{toml}").replace("{}", folder.path().to_str().unwrap());
    toml::from_str(&toml).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

fn signing(toml: &str, folder: &tempfile::TempDir) -> Signing {
    Signing::build(&config(toml, folder)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn message(from: &str) -> Message {
    let raw = format!("From: {from}\r\nTo: <user@example.org>\r\nSubject: a\r\n\r\nText.\r\n");
    Message::read(raw.into(), &mut Budget::new(&Limits::default()))
}

/// `selector.domain` of each signature.
fn signers(signing: &Signing, from: &str, now: i64) -> String {
    let edits = signing.sign(&message(from), &[], now).unwrap();
    let name = |edit: &Edit| {
        let Edit::AddFolded { name, value, .. } = edit else { panic!("{edit:?}") };
        assert_eq!(name, "DKIM-Signature");
        let tag = |wanted: &str| {
            let mut tags = value.split(';').map(|tag| tag.trim());
            tags.find_map(|tag| tag.strip_prefix(wanted)).unwrap_or_default().to_owned()
        };
        let identity = tag("i=");
        let identity = if identity.is_empty() { identity } else { format!("({identity})") };
        format!("{}.{}{identity}", tag("s="), tag("d="))
    };
    edits.iter().map(name).collect::<Vec<_>>().join(" ")
}

const KEYS: &str = "
[[signing.key]]
domain = 'example.org'
selector = 'rsa'
file = '{}/rsa.pem'
[[signing.key]]
domain = 'Example.org.'
selector = 'ed'
file = '{}/ed.pem'
subdomains = true
[[signing.key]]
domain = 'example.net'
selector = 'old'
file = '{}/rsa.pem'
until = '2026-01-01'
[[signing.key]]
domain = 'example.net'
selector = 'new'
file = '{}/ed.pem'
from = '2026-01-01T00:00:00Z'
until = '2026-06-01'
";

#[test]
fn keys_by_the_authors_domain_and_by_date() {
    let folder = folder();
    let signing = signing(KEYS, &folder);
    for (from, now, expected) in [
        ("a@example.org", NOW, "rsa.example.org ed.example.org"),
        ("\"a\" <a@EXAMPLE.org>", NOW, "rsa.example.org ed.example.org"),
        ("a@sub.example.org", NOW, "ed.example.org"),
        ("a@notexample.org", NOW, ""),
        ("a@example.net", NOW - 1, "old.example.net"),
        ("a@example.net", NOW, "new.example.net"),
        ("a@example.net", NOW + 200 * 86_400, ""),
        ("a@elsewhere.test", NOW, ""),
        ("nobody", NOW, ""),
    ] {
        assert_eq!(signers(&signing, from, now), expected, "{from} {now}");
    }
    assert!(signing.is_for(Direction::Outbound) && signing.is_for(Direction::Internal));
    assert!(!signing.is_for(Direction::Inbound));
    let named: Vec<_> = signing.keys().iter().map(|key| format!("{}.{}", key.selector, key.domain)).collect();
    assert_eq!(named, ["rsa.example.org", "ed.example.org", "old.example.net", "new.example.net"]);
}

#[test]
fn what_is_signed_is_what_leaves() {
    let folder = folder();
    let signing = signing(KEYS, &folder);
    let message = message("a@example.org");
    let edits = [
        Edit::ChangeHeader { name: "Subject".into(), nth: 0, value: "[tag] a".into() },
        Edit::AddHeader { name: "X-Gatepost-Id".into(), value: "x".into(), place: Place::Top },
        Edit::ReplacePart { part: gatepost_mail::PartId(0), text: "taken out\n".into() },
    ];
    let signed = signing.sign(&message, &edits, NOW).unwrap();
    let all = [signed.as_slice(), &edits].concat();
    let applied = gatepost_mail::apply(&message, &all);
    assert!(applied.skipped.is_empty());
    let wire = applied.chunks.concat();
    let mut dns = Table::default();
    dns.add(&format!("rsa._domainkey.example.org TXT {}", RSA.record));
    dns.add(&format!("ed._domainkey.example.org TXT {}", ED.record));
    let result = verify(&dns, &wire, &Verifying::new(NOW)).now_or_never().unwrap();
    let outcomes: Vec<_> = result.iter().map(|signature| (signature.outcome, &signature.reason)).collect();
    assert!(
        outcomes.len() == 2 && outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Pass),
        "{outcomes:?}"
    );
    // The instructions that a mail server gets come to the same.
    let changes = gatepost_mail::changes(&message, &all);
    let on_top = changes.headers.iter().filter_map(|change| match change {
        gatepost_mail::HeaderChange::Insert { place: Place::Top, name, value } => {
            Some((name.as_str(), value))
        }
        _ => None,
    });
    let on_top: Vec<_> = on_top.collect();
    assert!(
        on_top[0].0 == "DKIM-Signature" && on_top[1].0 == "DKIM-Signature" && on_top[2].0 == "X-Gatepost-Id"
    );
    let Edit::AddFolded { value, .. } = &signed[0] else { panic!("{signed:?}") };
    assert_eq!(on_top[0].1, value);
}

#[test]
fn opendkims_tables() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    write(&folder.path().join("example.com.pem"), &ED.pem, 0o600);
    let keys = format!(
        "one example.org:s1:{path}/rsa.pem\ntwo example.org:s2:{path}/ed.pem\nany %:s3:{path}/%.pem\n"
    );
    write(&folder.path().join("KeyTable"), &keys, 0o644);
    let exact = "boss@example.org two\nexample.org one:%\nexample.org two\n.example.org one:x@elsewhere.test\n\
        example.com any\nexample.net any\n";
    write(&folder.path().join("exact"), exact, 0o644);
    let wild = "*@example.org one:desk@sub.%\nboss@* two\n*@*.com any\n";
    write(&folder.path().join("wild"), wild, 0o644);
    let tables = |table: &str, more: &str| {
        signing(
            &format!("signing.key_table = '{{}}/KeyTable'\nsigning.signing_table = '{table}'\n{more}"),
            &folder,
        )
    };
    let exact = tables("{}/exact", "");
    let wild = tables("refile:{}/wild", "");
    let all = tables("refile:{}/wild", "signing.all_matches = true\n");
    for (signing, from, expected) in [
        (&exact, "boss@example.org", "s2.example.org"),
        (&exact, "The Boss <BOSS@example.org>", "s2.example.org"),
        (&exact, "a@example.org", "s1.example.org"),
        // An identity beyond the domain that signs is left out.
        (&exact, "a@sub.example.org", "s1.example.org"),
        (&exact, "a@example.com", "s3.example.com"),
        (&wild, "boss@example.org", "s1.example.org(desk@sub.example.org)"),
        (&all, "boss@example.org", "s1.example.org(desk@sub.example.org) s2.example.org"),
        (&wild, "a@example.com", "s3.example.com"),
        (&wild, "a@example.net", ""),
    ] {
        assert_eq!(signers(signing, from, NOW), expected, "{from}");
    }
    let missing = exact.sign(&message("a@example.net"), &[], NOW).unwrap_err();
    assert!(missing.contains("example.net.pem"), "{missing}");
    // It is found once it is there.
    write(&folder.path().join("example.net.pem"), &ED.pem, 0o600);
    exact.reload();
    assert_eq!(signers(&exact, "a@example.net", NOW), "s3.example.net");
}

#[test]
fn keys_are_read_again_when_they_change() {
    let folder = folder();
    let file = folder.path().join("rsa.pem");
    let signing = signing(KEYS, &folder);
    let algorithm = || signing.keys()[0].key.algorithm();
    assert_eq!(algorithm(), "rsa-sha256");
    // One that others may read is not taken.
    write(&file, &ED.pem, 0o644);
    signing.reload();
    assert_eq!(algorithm(), "rsa-sha256");
    write(&file, &ED.pem, 0o600);
    signing.reload();
    assert_eq!(algorithm(), "ed25519-sha256");
    std::fs::remove_file(&file).unwrap();
    signing.reload();
    assert_eq!(algorithm(), "ed25519-sha256");
}

#[test]
fn what_is_wrong_is_told() {
    let folder = folder();
    write(&folder.path().join("open.pem"), &RSA.pem, 0o604);
    write(&folder.path().join("none.pem"), "no key\n", 0o600);
    write(&folder.path().join("KeyTable"), "a b\n", 0o644);
    let key = |more: &str| {
        format!("[[signing.key]]\ndomain = 'example.org'\nselector = 's'\nfile = '{{}}/rsa.pem'\n{more}")
    };
    let file = |name: &str| key("").replace("rsa.pem", name);
    let table = [
        (file("open.pem"), "signing.key[0].file", "mode 0604"),
        (file("none.pem"), "signing.key[0].file", "none.pem: "),
        (file("missing.pem"), "signing.key[0].file", "missing.pem: No such file"),
        (key("").replace("'s'", "'a b'"), "signing.key[0].selector", "is not a selector"),
        (
            key("").replace("example.org'\nselector", "exa mple'\nselector"),
            "signing.key[0].domain",
            "is not a domain",
        ),
        (key("from = 'soon'"), "signing.key[0].from", "is not a day"),
        (key("from = '2026-02-01'\nuntil = '2026-01-01'"), "signing.key[0].until", "not later than from"),
        ("signing.canonicalization = 'loose'".into(), "signing.canonicalization", "is not a pair"),
        ("signing.fields = ['Subject']".into(), "signing.fields", "lacks From"),
        ("signing.oversign = ['From:']".into(), "signing.oversign", "is not the name"),
        ("signing.key_table = '{}/KeyTable'".into(), "signing.key_table", "needs signing_table"),
        (
            "signing.key_table = '{}/KeyTable'\nsigning.signing_table = 'x'".into(),
            "signing.key_table",
            "KeyTable, line 1",
        ),
        ("checks.arc.seal = 'example.org'".into(), "checks.arc.seal", "no RSA key of example.org"),
        (file("ed.pem") + "\n[checks.arc]\nseal = 'example.org'", "checks.arc.seal", "no RSA key"),
    ];
    for (toml, key, why) in table {
        let problems = Signing::build(&config(&toml, &folder)).err().unwrap_or_else(|| panic!("{toml}"));
        let told = |problem: &Problem| problem.key == key && problem.message.contains(why);
        assert!(problems.iter().any(told), "{toml}: {problems:?}");
    }
    let without_domains = Config { domains: Vec::new(), ..config(&key(""), &folder) };
    assert_eq!(Signing::build(&without_domains).err().unwrap()[0].key, "signing.directions");
    assert!(Signing::build(&Config::default()).is_ok());
}

#[test]
fn header_and_body_wherever_they_are_cut() {
    let whole = b"A: a\r\nB: b\r\n\r\nbody\r\n\r\nmore\r\n";
    for first in 0..whole.len() {
        for second in first..whole.len() {
            let pieces = [&whole[..first], &whole[first..second], &whole[second..]];
            let (header, body) = parted(pieces.map(Bytes::copy_from_slice).to_vec());
            assert_eq!(
                (&header[..], &body.concat()[..]),
                (&b"A: a\r\nB: b\r\n"[..], &b"body\r\n\r\nmore\r\n"[..])
            );
        }
    }
    for (whole, header, body) in [("\r\nbody", "", "body"), ("A: a\r\n", "A: a\r\n", ""), ("", "", "")] {
        let (found, rest) = parted(vec![Bytes::copy_from_slice(whole.as_bytes())]);
        assert_eq!((&found[..], &rest.concat()[..]), (header.as_bytes(), body.as_bytes()), "{whole:?}");
    }
}

/// What cannot be signed today cannot be tomorrow either: it is no reason to keep it for ever.
#[test]
fn a_message_that_cannot_be_signed_goes_unsigned() {
    let folder = folder();
    let signing =
        signing("[[signing.key]]\ndomain = 'example.org'\nselector = 'r'\nfile = '{}/rsa.pem'\n", &folder);
    assert_eq!(signers(&signing, "a@example.org", NOW), "r.example.org");
    let raw = format!("From: a@example.org\r\n{}\r\nText.\r\n", "List-Id: x\r\n".repeat(1100));
    let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
    assert_eq!(signing.sign(&message, &[], NOW), Ok(Vec::new()));
}
