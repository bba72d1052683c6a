//! Sessions and envelopes against lists in files.

use super::*;
use crate::checks::CheckSet;
use gatepost_auth::dns::Table;
use gatepost_mail::{Category, Counts, Points};

struct Case {
    folder: tempfile::TempDir,
    config: Config,
}

fn case(text: &str, keys: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list"), text).unwrap();
    let mut settings: Settings = toml::from_str(keys).unwrap();
    settings.files = vec![folder.path().join("list")];
    let mut config = Config::default();
    config.checks.rules.enabled = false;
    config.checks.local_list.insert("own-1".into(), settings);
    Case { folder, config }
}

fn resources() -> Resources {
    let table =
        "1.2.0.192.in-addr.arpa PTR bad.example\nbad.example A 192.0.2.1\n2.2.0.192.in-addr.arpa FAILED\n";
    crate::checks::dnsbl::testing::with_dns(Table::new(table))
}

async fn found(config: &Config, client: &str, helo: &str, sender: &str, recipient: &str) -> Vec<String> {
    let set = CheckSet::build(config, &resources()).expect("a good configuration");
    let session = Session { client: client.parse().ok(), helo: helo.into(), ..Session::default() };
    let envelope = Envelope {
        sender: Address::new(sender),
        recipients: Address::new(recipient).map(Recipient::from).into_iter().collect(),
        ..Envelope::default()
    };
    let found = set.envelope(&session, &envelope).await;
    let findings = found.findings.into_iter().filter(|f| f.symbol.starts_with("LOCAL"));
    let faults = found.faults.into_iter().map(|f| format!("{} {}: {}", f.check, f.cause, f.detail));
    findings.map(|f| format!("{}: {}", f.symbol, f.evidence)).chain(faults).collect()
}

#[tokio::test]
async fn what_is_looked_up_where() {
    let of = |of: &str| format!("of = [{of}]");
    for (list, of, expected) in [
        ("192.0.2.0/24 a net", of("'client'"), &["LOCAL_OWN_1: 192.0.2.1 in own-1 (a net)"][..]),
        ("bad.example", of("'helo'"), &["LOCAL_OWN_1: HELO bad.example in own-1"]),
        (
            "bad.example for $",
            of("'reverse-name'"),
            &["LOCAL_OWN_1: reverse name bad.example in own-1 (for bad.example)"],
        ),
        (".example", of("'sender'"), &["LOCAL_OWN_1: sender Anna@Mail.Example in own-1"]),
        ("anna@mail.example", of("'sender'"), &["LOCAL_OWN_1: sender Anna@Mail.Example in own-1"]),
        ("anna@mail.example", of("'recipient'"), &[]),
        (
            "bob@example.org",
            of("'recipient', 'sender'"),
            &["LOCAL_OWN_1: recipient bob@example.org in own-1"],
        ),
        (
            "192.0.2.1\nbad.example\n",
            of("'client', 'reverse-name', 'helo'"),
            &[
                "LOCAL_OWN_1: 192.0.2.1 in own-1",
                "LOCAL_OWN_1: reverse name bad.example in own-1",
                "LOCAL_OWN_1: HELO bad.example in own-1",
            ],
        ),
    ] {
        let case = case(list, &of);
        let said =
            found(&case.config, "192.0.2.1", "bad.example", "Anna@Mail.Example", "bob@example.org").await;
        assert_eq!(said, expected, "{list} {of}");
    }
    // What cannot be looked up hides nothing of the rest.
    let case = case("192.0.2.2\nbad.example\n", "of = ['client', 'reverse-name']");
    assert_eq!(
        found(&case.config, "192.0.2.2", "", "", "").await,
        [
            "LOCAL_OWN_1: 192.0.2.2 in own-1",
            "local_list:own-1 unavailable: the name of 192.0.2.2 cannot be looked up: SERVFAIL"
        ]
    );
}

#[test]
fn what_they_count_for() {
    for (keys, counts) in [
        ("", Counts::Points(Points::thousandths(3000))),
        ("kind = 'allow'", Counts::Points(Points::thousandths(-3000))),
        ("weight = 7", Counts::Points(Points::thousandths(7000))),
        ("refuse = true", Counts::As(Category::Spam)),
        ("refuse = true\ncategory = 'banned'", Counts::As(Category::Banned)),
    ] {
        assert_eq!(symbols(&case("", keys).config)[0].counts, counts, "{keys}");
    }
}

#[tokio::test]
async fn a_list_that_changes_is_read_again_and_a_broken_one_is_not_taken() {
    let case = case("192.0.2.1\n", "");
    let path = case.folder.path().join("list");
    let mut checks = build(&case.config, &resources()).expect("a good configuration");
    let list = checks.remove(0);
    let listed = async |address: &str| {
        let session = Session { client: address.parse().ok(), ..Session::default() };
        list.on_connect(&session).is_some()
    };
    assert!(listed("192.0.2.1").await && !listed("192.0.2.2").await);
    assert_eq!(list.health().await[0].state, Ok("1 entries".into()));

    std::fs::write(&path, "192.0.2.1\n192.0.2.2\nnonsense?\n").unwrap();
    list.reload();
    assert!(listed("192.0.2.1").await && !listed("192.0.2.2").await, "the old list stays");
    let state = list.health().await[0].state.clone().unwrap_err();
    assert!(state.starts_with("changed but not taken: ") && state.contains("list:3: “nonsense?”"), "{state}");

    std::fs::write(&path, "192.0.2.2\n").unwrap();
    list.reload();
    assert!(!listed("192.0.2.1").await && listed("192.0.2.2").await);
    assert!(list.health().await[0].state.is_ok());

    std::fs::remove_file(&path).unwrap();
    list.reload();
    assert!(listed("192.0.2.2").await, "a file that is gone is a mistake, too");
    assert!(list.health().await[0].state.is_err());
}

#[test]
fn problems_name_their_keys() {
    let keys = |case: &Case| -> Vec<String> {
        let problems = build(&case.config, &resources()).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect()
    };
    assert_eq!(keys(&case("?", "")), ["checks.local_list.own-1.files"]);
    assert_eq!(keys(&case("", "of = []")), ["checks.local_list.own-1.of"]);
    assert_eq!(keys(&case("", "kind = 'allow'\nrefuse = true")), ["checks.local_list.own-1.refuse"]);
    let mut none = case("", "");
    none.config.checks.local_list.get_mut("own-1").unwrap().files.clear();
    assert_eq!(keys(&none), ["checks.local_list.own-1.files"]);
    let mut two = case("", "");
    let same = two.config.checks.local_list["own-1"].clone();
    two.config.checks.local_list.insert("own_1".into(), same);
    assert_eq!(keys(&two), ["checks.local_list.own_1"]);
}

/// Each network of a million is found, and nothing between them.
#[test]
fn a_million_networks() {
    let mut text = String::new();
    for number in 0..1_000_000u32 {
        let address = std::net::Ipv4Addr::from((number << 12) | 0x100);
        text.push_str(&format!("{address}/24\n"));
    }
    let case = case(&text, "");
    let settings = &case.config.checks.local_list["own-1"];
    let list = List::new("own-1", "LOCAL_OWN_1".into(), settings, &resources()).unwrap();
    let set = list.set.load();
    assert_eq!(set.len(), 1_000_000);
    for number in (0..1_000_000u32).step_by(997) {
        let at = |offset: u32| set.address(std::net::Ipv4Addr::from((number << 12) | offset).into());
        assert!(at(0xff).is_none() && at(0x100).is_some() && at(0x1ff).is_some() && at(0x200).is_none());
    }
}
