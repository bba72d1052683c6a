//! What is found, by a name server that is a table.

use std::sync::LazyLock;

use gatepost_auth::arc::Sealer;
use gatepost_auth::dkim::{Kind, Signer, SigningKey, generate};
use gatepost_auth::dns::Table;
use gatepost_mail::{Address, Budget, Limits, Message};

use super::super::CheckSet;
use super::*;

const ZONE: &str = "
author.test TXT v=spf1 ip4:192.0.2.0/24 -all
soft.test TXT v=spf1 ~all
neutral.test TXT v=spf1 ?all
broken.test TXT v=spf1 nonsense
slow.test TIMEOUT
helo.test TXT v=spf1 ip4:192.0.2.1 -all
forwarder.test TXT v=spf1 ip4:198.51.100.7 -all
_dmarc.author.test TXT v=DMARC1; p=reject
quarantine.test A 192.0.2.9
_dmarc.quarantine.test TXT v=DMARC1; p=quarantine
none.test A 192.0.2.9
_dmarc.none.test TXT v=DMARC1; p=none
undecided.test A 192.0.2.9
_dmarc.undecided.test TIMEOUT
";

/// An RSA key of everybody in these tests, since sealing wants one.
static KEY: LazyLock<(Arc<SigningKey>, String)> = LazyLock::new(|| {
    let made = generate(Kind::Rsa(2048)).unwrap();
    (Arc::new(SigningKey::from_pem(made.pem.as_bytes()).unwrap()), made.record)
});

fn dns() -> Arc<Table> {
    let mut table = Table::new(ZONE);
    for domain in ["author.test", "list.test", "other.test"] {
        table.add(&format!("k._domainkey.{domain} TXT {}", KEY.1));
    }
    table.add(&format!("testing._domainkey.author.test TXT {}; t=y", KEY.1));
    for domain in ["author.test", "quarantine.test", "none.test"] {
        table.add(&format!("slow._domainkey.{domain} TIMEOUT"));
    }
    Arc::new(table)
}

fn check(toml: &str) -> Box<dyn Check> {
    let config = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
    let resources = Resources { dns: dns(), ..super::super::dnsbl::testing::resources(&[]) };
    let mut built = build(&config, &resources).unwrap_or_else(|problems| panic!("{problems:?}"));
    built.remove(0)
}

/// A session and an envelope: `IP HELO SENDER`, with `-` for what is not there.
fn who(text: &str) -> (Session, Envelope) {
    let mut words = text.split(' ').map(|word| if word == "-" { "" } else { word });
    let client = words.next().unwrap().parse().ok();
    let session = Session { client, helo: words.next().unwrap().into(), ..Session::default() };
    let sender = Address::new(words.next().unwrap());
    (session, Envelope { sender, ..Envelope::default() })
}

/// Everything that is found of one message.
async fn found(check: &dyn Check, from: &str, raw: &str) -> Found {
    let (session, envelope) = who(from);
    let mut found = Found::default();
    if let Some(answer) = check.on_sender(&session, &envelope) {
        found.merge(answer.await.unwrap());
    }
    let raw: bytes::Bytes = raw.replace('\n', "\r\n").into();
    let message = Message::read(raw, &mut Budget::new(&Limits::default()));
    let mail = Mail { session, envelope, message };
    let known = found.clone();
    if let Some(answer) = check.on_mail(&mail, &known) {
        found.merge(answer.await.unwrap());
    }
    found
}

fn symbols(found: &Found) -> String {
    found.findings.iter().map(|finding| finding.symbol.as_ref()).collect::<Vec<_>>().join(" ")
}

fn faults(found: &Found) -> String {
    found.faults.iter().map(|fault| fault.check.as_str()).collect::<Vec<_>>().join(" ")
}

fn signed(domain: &str, selector: &str, message: &str, change: impl FnOnce(&mut Signer)) -> String {
    let mut signer = Signer::new(KEY.0.clone(), domain, selector);
    change(&mut signer);
    let wire = message.replace('\n', "\r\n");
    let (header, body) = wire.split_once("\r\n\r\n").unwrap();
    let value = signer.sign(format!("{header}\r\n").as_bytes(), &[body.to_owned().into()], now()).unwrap();
    format!("DKIM-Signature: {value}\r\n{wire}").replace("\r\n", "\n")
}

const LETTER: &str = "From: Somebody <a@author.test>\nTo: <user@example.org>\nSubject: hello\n\nText.\n";

#[tokio::test]
async fn spf_of_helo_and_sender() {
    let check = check("");
    for (from, expected, late) in [
        ("192.0.2.1 helo.test a@author.test", "SPF_HELO_PASS SPF_PASS", ""),
        ("::ffff:192.0.2.1 helo.test a@author.test", "SPF_HELO_PASS SPF_PASS", ""),
        ("192.0.2.2 helo.test a@author.test", "SPF_HELO_FAIL SPF_PASS", ""),
        ("198.51.100.7 x.test a@author.test", "SPF_HELO_NONE SPF_FAIL", ""),
        ("198.51.100.7 soft.test a@soft.test", "SPF_HELO_SOFTFAIL SPF_SOFTFAIL", ""),
        ("198.51.100.7 neutral.test a@neutral.test", "SPF_HELO_NEUTRAL SPF_NEUTRAL", ""),
        ("198.51.100.7 broken.test a@broken.test", "SPF_HELO_PERMERROR SPF_PERMERROR", ""),
        ("198.51.100.7 - a@nowhere.test", "SPF_HELO_NONE SPF_NONE", ""),
        // A bounce stands for its HELO.
        ("192.0.2.1 helo.test -", "SPF_HELO_PASS SPF_PASS", ""),
        ("198.51.100.7 slow.test a@author.test", "SPF_FAIL", "spf"),
        ("198.51.100.7 slow.test a@slow.test", "", "spf spf"),
        // Nobody is there, or one of ours.
        ("- helo.test a@author.test", "", ""),
        ("127.0.0.1 helo.test a@author.test", "", ""),
    ] {
        let (session, envelope) = who(from);
        let found = match check.on_sender(&session, &envelope) {
            Some(answer) => answer.await.unwrap(),
            None => Found::default(),
        };
        assert_eq!((symbols(&found).as_str(), faults(&found).as_str()), (expected, late), "{from}");
    }
}

#[tokio::test]
async fn signatures() {
    let check = check("");
    let plain = |_: &mut Signer| {};
    let good = signed("author.test", "k", LETTER, plain);
    let twice = signed("other.test", "k", &good, plain);
    let changed = good.replace("hello", "goodbye");
    let expired = signed("author.test", "k", LETTER, |signer| signer.lifetime = Some(1));
    let past = expired.replace("x=", "x=1; y=");
    for (message, expected, late) in [
        (LETTER, "", ""),
        (&good, "DKIM_SIGNED DKIM_VALID DKIM_VALID_AU", ""),
        (&twice, "DKIM_SIGNED DKIM_VALID DKIM_VALID_AU", ""),
        (&signed("other.test", "k", LETTER, plain), "DKIM_SIGNED DKIM_VALID", ""),
        (
            &signed("author.test", "testing", LETTER, plain),
            "DKIM_SIGNED DKIM_VALID DKIM_VALID_AU DKIM_TESTING",
            "",
        ),
        (&changed, "DKIM_SIGNED DKIM_INVALID", ""),
        (&signed("author.test", "unknown", LETTER, plain), "DKIM_SIGNED DKIM_INVALID", ""),
        (&past, "DKIM_SIGNED DKIM_INVALID DKIM_EXPIRED", ""),
        (&signed("author.test", "slow", LETTER, plain), "DKIM_SIGNED", "dkim"),
    ] {
        let found = found(check.as_ref(), "192.0.2.1 helo.test a@author.test", message).await;
        let found_of_dkim: Vec<_> =
            symbols(&found).split(' ').filter(|s| s.starts_with("DKIM")).map(str::to_owned).collect();
        assert_eq!(
            (found_of_dkim.join(" ").as_str(), faults(&found).as_str()),
            (expected, late),
            "{message}"
        );
    }
}

#[tokio::test]
async fn what_the_authors_domain_asks_for() {
    let check = check("");
    let from = |domain: &str| LETTER.replace("author.test", domain);
    let signed = signed("author.test", "k", LETTER, |_| {});
    for (sender, message, expected) in [
        ("192.0.2.1 - a@author.test", LETTER, "DMARC_PASS"),
        ("198.51.100.7 - a@author.test", LETTER, "DMARC_FAIL_REJECT"),
        ("198.51.100.7 - a@forwarder.test", LETTER, "DMARC_FAIL_REJECT"),
        ("198.51.100.7 - a@forwarder.test", &signed, "DMARC_PASS"),
        ("198.51.100.7 - a@forwarder.test", &from("quarantine.test"), "DMARC_FAIL_QUARANTINE"),
        ("198.51.100.7 - a@forwarder.test", &from("none.test"), "DMARC_FAIL_NONE"),
        ("198.51.100.7 - a@forwarder.test", &from("elsewhere.test"), "DMARC_NONE"),
        ("198.51.100.7 - a@forwarder.test", "Subject: x\n\nx\n", "DMARC_PERMERROR"),
        ("198.51.100.7 - a@forwarder.test", &from("undecided.test"), ""),
        // Without a client nobody knows whether SPF would have passed.
        ("- - a@author.test", LETTER, ""),
        ("- - a@author.test", &signed, "DMARC_PASS"),
        ("127.0.0.1 - a@author.test", LETTER, ""),
    ] {
        let found = found(check.as_ref(), sender, message).await;
        let symbols = symbols(&found);
        let dmarc = symbols.split(' ').find(|symbol| symbol.starts_with("DMARC")).unwrap_or_default();
        assert_eq!(dmarc, expected, "{sender} {message}");
        assert_eq!(faults(&found).contains("dmarc"), message.contains("undecided"), "{sender}");
    }
}

#[tokio::test]
async fn forwarders_that_are_trusted() {
    let failing = "198.51.100.7 - a@forwarder.test";
    for (toml, sender, expected) in [
        ("", failing, "not"),
        ("[checks.dmarc]\nforwarders = ['198.51.100.0/24']", failing, "checks.dmarc.forwarders"),
        ("[checks.spf]\nskip = ['198.51.100.7']", failing, "checks.spf.skip"),
        ("[checks.dmarc]\nforwarder_domains = ['forwarder.test']", failing, "SPF passes for forwarder.test"),
        ("[checks.dmarc]\nforwarder_domains = ['forwarder.test']", "198.51.100.8 - a@forwarder.test", "not"),
        (
            "[checks.dmarc]\nforwarder_domains = ['other.test']",
            "198.51.100.8 - a@x.test",
            "signed by other.test",
        ),
    ] {
        let letter = signed("other.test", "k", LETTER, |_| {});
        let found = found(check(toml).as_ref(), sender, &letter).await;
        let last = found.findings.last().unwrap();
        if expected == "not" {
            assert_eq!(last.symbol, "DMARC_FAIL_REJECT", "{toml} {sender}");
            continue;
        }
        assert_eq!(last.symbol, "DMARC_OVERRIDDEN", "{toml} {sender}");
        assert!(last.evidence.contains(expected), "{}", last.evidence);
        let authentication = found.authentication.unwrap();
        assert_eq!(authentication.overridden.as_ref().unwrap().kind, Override::TrustedForwarder);
        assert_eq!(authentication.wanted(), Policy::None);
    }
}

/// A list takes the letter, changes its subject, and seals what it found before.
async fn by_list(results: &str) -> String {
    let original = signed("author.test", "k", LETTER, |_| {});
    let changed = original.replace("Subject: hello", "Subject: [list] hello").replace('\n', "\r\n");
    let settings = dkim::Settings::new(now());
    let chain = arc::verify(dns().as_ref(), original.as_bytes(), &settings).await;
    let (header, body) = changed.split_once("\r\n\r\n").unwrap();
    let sealer = Sealer::new(KEY.0.clone(), "list.test", "k");
    let header = format!("{header}\r\n");
    let sealed = sealer.seal(header.as_bytes(), &[body.to_owned().into()], &chain, results, now()).unwrap();
    let (seal, signature, results) = (sealed.seal, sealed.message_signature, sealed.results);
    let fields = format!(
        "ARC-Seal: {seal}\r\nARC-Message-Signature: {signature}\r\nARC-Authentication-Results: {results}\r\n"
    );
    (fields + &changed).replace("\r\n", "\n")
}

#[tokio::test]
async fn lists_that_are_trusted() {
    let passed = by_list("list.test; dmarc=pass header.from=author.test").await;
    let failed = by_list("list.test; dmarc=fail header.from=author.test").await;
    let signed = by_list("list.test; dkim=pass header.d=author.test header.s=k").await;
    let another = by_list("list.test; dmarc=pass header.from=none.test").await;
    let broken = passed.replace("Text.", "Other text.");
    let trust = "[checks.arc]\ntrusted = ['list.test']";
    for (toml, message, expected) in [
        (trust, &passed, "ARC_PASS ARC_RESCUED DMARC_OVERRIDDEN"),
        (trust, &signed, "ARC_PASS ARC_RESCUED DMARC_OVERRIDDEN"),
        (trust, &failed, "ARC_PASS DMARC_FAIL_REJECT"),
        (trust, &another, "ARC_PASS DMARC_FAIL_REJECT"),
        (trust, &broken, "ARC_FAIL DMARC_FAIL_REJECT"),
        ("[checks.arc]\ntrusted = ['.list.test']", &passed, "ARC_PASS DMARC_FAIL_REJECT"),
        ("", &passed, "ARC_PASS DMARC_FAIL_REJECT"),
        ("[checks.arc]\nenabled = false", &passed, "DMARC_FAIL_REJECT"),
    ] {
        let found = found(check(toml).as_ref(), "198.51.100.7 - a@forwarder.test", message).await;
        let symbols = symbols(&found);
        let ours: Vec<_> =
            symbols.split(' ').filter(|s| s.starts_with("ARC") || s.starts_with("DMARC")).collect();
        assert_eq!(ours.join(" "), expected, "{toml} {message}");
        let authentication = found.authentication.unwrap();
        if let Some(overridden) = &authentication.overridden {
            assert!(overridden.why.starts_with("arc=pass as[1].d=list.test as[1].s=k"), "{}", overridden.why);
        }
    }
}

#[tokio::test]
async fn results_are_told() {
    let check = check("");
    let letter = signed("author.test", "k", LETTER, |_| {});
    let found = found(check.as_ref(), "192.0.2.1 helo.test a@author.test", &letter).await;
    let value = found.authentication.unwrap().results("mx.test").value().replace("\r\n\t", " ");
    let parts: Vec<&str> = value.split("; ").collect();
    assert_eq!(parts[0], "mx.test", "{value}");
    assert!(parts[1].starts_with("spf=pass (") && parts[1].ends_with("smtp.helo=helo.test"), "{value}");
    assert!(
        parts[2].starts_with("spf=pass (") && parts[2].ends_with("smtp.mailfrom=a@author.test"),
        "{value}"
    );
    assert!(parts[3].starts_with("dkim=pass (2048-bit key) header.d=author.test header.s=k"), "{value}");
    assert_eq!(parts[4], "dmarc=pass (p=reject) header.from=author.test policy.dmarc=none", "{value}");
}

#[tokio::test]
async fn a_user_who_has_logged_in_is_who_it_is() {
    let check = check("");
    let (mut session, envelope) = who("198.51.100.7 helo.test a@author.test");
    session.user = Some("a".into());
    let found = check.on_sender(&session, &envelope).unwrap().await.unwrap();
    assert!(found.findings.is_empty());
    assert_eq!(found.authentication.unwrap().results("mx.test").value(), "mx.test;\r\n\tauth=pass");
}

#[tokio::test]
async fn received_spf_where_it_is_asked_for() {
    let check = check("[authentication]\nreceived_spf = true");
    let (session, envelope) = who("192.0.2.1 helo.test a@author.test");
    let found = check.on_sender(&session, &envelope).unwrap().await.unwrap();
    let (name, value) = &found.fields[0];
    assert!(name == "Received-SPF" && value.starts_with("pass ("), "{name}: {value}");
    assert_eq!(found.fields.len(), 1);
}

#[test]
fn what_makes_no_sense_is_told() {
    for (toml, key) in [
        ("[checks.spf]\nenabled = false", "checks.dmarc.enabled"),
        ("[checks.dkim]\nenabled = false", "checks.dmarc.enabled"),
        ("[checks.spf]\ntime = 0", "checks.spf.time"),
        ("[checks.arc]\nenabled = false\ntrusted = ['a.test']", "checks.arc.trusted"),
    ] {
        let resources = super::super::dnsbl::testing::resources(&[]);
        let problems = build(&toml::from_str(toml).unwrap(), &resources).err().unwrap();
        assert_eq!(problems[0].key, key, "{toml}");
    }
    let off =
        "[checks]\nspf.enabled = false\ndkim.enabled = false\ndmarc.enabled = false\narc.enabled = false";
    let resources = super::super::dnsbl::testing::resources(&[]);
    assert!(CheckSet::build(&toml::from_str(off).unwrap(), &resources).is_ok());
}

#[tokio::test]
async fn a_doubt_that_the_sender_can_bring_about_lets_nothing_in() {
    let forged = "198.51.100.7 - a@forwarder.test";
    let slow = signed("author.test", "slow", LETTER, |_| {});
    let quarantine =
        signed("quarantine.test", "slow", &LETTER.replace("author.test", "quarantine.test"), |_| {});
    let none = signed("none.test", "slow", &LETTER.replace("author.test", "none.test"), |_| {});
    let undecided = LETTER.replace("author.test", "undecided.test");
    let trusting = "[checks.dmarc]\nforwarders = ['198.51.100.0/24']";
    for (toml, message, answer) in [
        ("", &slow, OnFault::Defer),
        ("", &quarantine, OnFault::Defer),
        // Nothing is at stake, or nobody knows what is.
        ("", &none, OnFault::Accept),
        ("", &undecided, OnFault::Accept),
        ("[checks.dmarc]\non_doubt = 'quarantine'", &slow, OnFault::Quarantine),
        ("[checks.dmarc]\non_fault = 'defer'", &undecided, OnFault::Defer),
        (trusting, &slow, OnFault::Accept),
    ] {
        let found = found(check(toml).as_ref(), forged, message).await;
        let dmarc: Vec<_> = found.faults.iter().filter(|fault| fault.check == "dmarc").collect();
        assert_eq!(dmarc.iter().map(|fault| fault.answer).collect::<Vec<_>>(), [answer], "{toml} {message}");
    }
}

#[tokio::test]
async fn more_authors_than_are_looked_at() {
    let authors: Vec<String> = (0..9).map(|n| format!("a@d{n}.test")).collect();
    let letter = LETTER.replace("Somebody <a@author.test>", &authors.join(", "));
    let found = found(check("").as_ref(), "198.51.100.7 - a@forwarder.test", &letter).await;
    assert_eq!(found.findings.last().unwrap().symbol, "DMARC_TOO_MANY_AUTHORS");
    let info = SYMBOLS.iter().find(|info| info.name == "DMARC_TOO_MANY_AUTHORS").unwrap();
    assert_eq!(info.counts, Counts::As(Category::Unauthenticated));
}

#[tokio::test]
async fn who_vouches_vouches_for_every_author() {
    let sealed = by_list("list.test; dmarc=pass header.from=author.test").await;
    let author = "Somebody <a@author.test>";
    let trust =
        "[checks.arc]\ntrusted = ['list.test']\n[checks.dmarc]\nforwarder_domains = ['forwarder.test']";
    let arc = "[checks.arc]\ntrusted = ['list.test']";
    let failing = "198.51.100.7 - a@forwarder.test";
    // The list's signature must hold for the From as it is, so it seals that.
    let passed = |found: &Found| symbols(found).contains("DMARC_OVERRIDDEN");
    assert!(passed(&found(check(arc).as_ref(), failing, &sealed).await));
    for from in [format!("{author}, <b@quarantine.test>"), format!("\"{author}")] {
        let letter = LETTER.replace(author, &from);
        let found = found(check(trust).as_ref(), failing, &letter).await;
        let hidden = from.starts_with('"');
        assert_eq!(passed(&found), !hidden, "{from}: {}", symbols(&found));
    }
    let two = format!("From: <b@quarantine.test>\n{LETTER}");
    assert!(!passed(&found(check(trust).as_ref(), failing, &two).await));
    let assessor = Assessor::new(&toml::from_str(arc).unwrap());
    let known = found(check(arc).as_ref(), failing, &sealed).await.authentication.unwrap();
    let authors = |from: &str| gatepost_auth::dmarc::Authors::of_values([from.as_bytes()]);
    assert!(assessor.overridden(&known, &authors("a@author.test")).is_some());
    assert!(assessor.overridden(&known, &authors("a@author.test, b@quarantine.test")).is_none());
}

#[test]
fn rules_of_old_change_nothing_else() {
    let mut assessor = Assessor::new(
        &toml::from_str("[checks.dkim]\nsignatures = 3\nlengths = false\nmin_bits = 2048").unwrap(),
    );
    for (historic, min_bits) in [(false, 2048), (true, 512)] {
        assessor.historic = historic;
        let settings = assessor.settings(1);
        assert_eq!((settings.sha1, settings.historic, settings.min_bits), (historic, historic, min_bits));
        assert_eq!((settings.max, settings.lengths), (3, false));
    }
}
