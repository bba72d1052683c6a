//! Chains sealed here, broken in each way, and validated again.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::dkim::{Kind, Settings, SigningKey, generate};
use crate::dns::Table;

const NOW: i64 = 1_795_219_200;

const MESSAGE: &str =
    "From: Joe <joe@example.org>\r\nTo: list@example.net\r\nSubject: Is dinner ready?\r\n\r\nHi.\r\n";

const RESULTS: &str = "mx1.example.net;\r\n\tspf=pass smtp.mailfrom=example.org; dmarc=pass (p=reject; dis=none) \
    header.from=example.org";

static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| {
    let pem = generate(Kind::Ed25519).unwrap().pem;
    Arc::new(SigningKey::from_pem(pem.as_bytes()).unwrap())
});

fn dns() -> Table {
    let mut table = Table::default();
    for hop in 1..=51 {
        table.add(&format!("s._domainkey.hop{hop}.example TXT {}", KEY.record()));
    }
    table
}

fn validated(message: &str) -> Chain {
    verify(&dns(), message.as_bytes(), &Settings::new(NOW)).now_or_never().unwrap()
}

fn sealed(message: &str, hop: u32) -> Result<String, SealError> {
    sealed_after(&validated(message), message, hop)
}

fn sealed_after(chain: &Chain, message: &str, hop: u32) -> Result<String, SealError> {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let sealer = Sealer::new(Arc::clone(&KEY), &format!("hop{hop}.example"), "s");
    let body = [Bytes::copy_from_slice(body.as_bytes())];
    let set = sealer.seal(header.as_bytes(), &body, chain, RESULTS, NOW)?;
    let fields = [
        ("ARC-Seal", set.seal),
        ("ARC-Message-Signature", set.message_signature),
        ("ARC-Authentication-Results", set.results),
    ];
    let mut top = String::new();
    for (name, value) in fields {
        let field = format!("{name}: {value}\r\n");
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        top.push_str(&field);
    }
    Ok(top + message)
}

/// The message after so many hops, all of which find a good chain.
fn after(hops: u32) -> String {
    let mut message = MESSAGE.to_owned();
    let mut chain = validated(MESSAGE);
    for hop in 1..=hops {
        message = sealed_after(&chain, &message, hop).unwrap();
        match chain.sets.first().cloned() {
            Some(set) => chain.sets.push(set),
            None => chain = validated(&message),
        }
        chain.highest = hop;
    }
    message
}

#[test]
fn chains_grow_hop_by_hop() {
    assert_eq!(validated(MESSAGE).status, Status::None);
    let mut message = MESSAGE.to_owned();
    for hop in 1..=4 {
        message = sealed(&message, hop).unwrap();
        let chain = validated(&message);
        assert_eq!((chain.status, chain.sets.len()), (Status::Pass, hop as usize), "{chain:#?}");
        assert_eq!((chain.highest, chain.oldest_pass), (hop, Some(0)));
    }
    let chain = validated(&message);
    assert_eq!(
        chain.sealers().collect::<Vec<_>>(),
        ["hop4.example", "hop3.example", "hop2.example", "hop1.example"]
    );
    assert_eq!(
        chain.first_results(),
        Some(
            "mx1.example.net; spf=pass smtp.mailfrom=example.org; dmarc=pass (p=reject; dis=none) \
             header.from=example.org"
        )
    );
    let cv: Vec<_> = chain.sets.iter().map(|set| set.cv).collect();
    assert_eq!(cv, [Some(Status::None), Some(Status::Pass), Some(Status::Pass), Some(Status::Pass)]);
}

#[test]
fn changes_on_the_way_are_seen() {
    let two = after(2);
    // A list changes the subject after it validated the chain, and seals: the chain stays good, older message signatures
    // do not count.
    let chain = validated(&two);
    let changed = two.replacen("Is dinner", "[list] Is dinner", 1);
    let (header, body) = changed.split_once("\r\n\r\n").unwrap();
    let sealer = Sealer::new(Arc::clone(&KEY), "hop3.example", "s");
    let body = [Bytes::copy_from_slice(body.as_bytes())];
    let set = sealer.seal(header.as_bytes(), &body, &chain, RESULTS, NOW).unwrap();
    let three = format!(
        "ARC-Seal: {}\r\nARC-Message-Signature: {}\r\nARC-Authentication-Results: {}\r\n{changed}",
        set.seal, set.message_signature, set.results
    );
    let chain = validated(&three);
    assert_eq!((chain.status, chain.oldest_pass), (Status::Pass, Some(3)), "{}", chain.reason);
    assert_eq!(chain.sets[0].message.0, Outcome::Fail);

    for (from, to, why) in [
        (
            "Is dinner",
            "Was dinner",
            "the ARC-Message-Signature with i=2 does not count (fail): signature did not verify",
        ),
        ("Hi.", "Ho.", "the ARC-Message-Signature with i=2 does not count (fail): body hash did not verify"),
        (
            "i=2; a=ed25519-sha256; cv=pass",
            "i=2; a=ed25519-sha256; cv=none",
            "the ARC-Seal with i=2 says cv=none",
        ),
        (
            "i=2; a=ed25519-sha256; cv=pass",
            "i=2; a=ed25519-sha256; cv=fail",
            "the ARC-Seal with i=2 says that the chain",
        ),
        (
            "i=2; a=ed25519-sha256; cv=pass",
            "i=2; a=ed25519-sha256; cv=good",
            "the ARC-Seal with i=2 has no cv=",
        ),
        (
            "i=2; a=ed25519-sha256; cv",
            "i=2; a=ed25519-sha256; h=from; cv",
            "the ARC-Seal with i=2 does not count (permerror): it has h=",
        ),
        (
            "i=1; mx1",
            "i=1; mx2",
            "the ARC-Seal with i=2 does not count (fail): signature did not verify: an ARC field",
        ),
        ("i=1; mx1", "i=3; mx1", "there is no ARC-Authentication-Results with i=1"),
        ("i=1; mx1", "i=2; mx1", "there are two ARC-Authentication-Results with i=2"),
        (
            "i=1; mx1",
            "i=01; mx1",
            "the ARC-Seal with i=2 does not count (fail): signature did not verify: an ARC field",
        ),
        ("i=1; mx1", "x=1; mx1", "an ARC-Authentication-Results has no instance (i=) of 1 to 50"),
        ("d=hop2.example", "d=none.example", "there is no key at s._domainkey.none.example: no such name"),
        ("d=hop2.example", "d=hop3.example", "signature did not verify"),
    ] {
        let broken = two.replacen(from, to, 1);
        assert_ne!(broken, two, "{from}");
        let chain = validated(&broken);
        assert!(
            chain.status == Status::Fail && chain.reason.contains(why),
            "{from} → {to}: {}",
            chain.reason
        );
    }
}

#[test]
fn failed_chains_are_sealed_once() {
    let broken = after(2).replacen("Hi.", "Ho.", 1);
    let three = sealed(&broken, 3).unwrap();
    assert!(three.contains("i=3; a=ed25519-sha256; cv=fail"));
    let chain = validated(&three);
    assert_eq!((chain.status, chain.failed, chain.highest), (Status::Fail, true, 3));
    assert_eq!(sealed(&three, 4), Err(SealError::Failed));
    // What is no chain at all is sealed behind the highest instance that could be read.
    let torn = after(3).replacen("ARC-Seal: i=2", "X-Seal: i=2", 1);
    assert!(sealed(&torn, 4).unwrap().contains("i=4; a=ed25519-sha256; cv=fail"));
}

#[test]
fn chains_have_fifty_sets() {
    let fifty = after(50);
    let chain = validated(&fifty);
    assert_eq!((chain.status, chain.sets.len()), (Status::Pass, 50), "{}", chain.reason);
    // Only the newest message signatures are looked at.
    assert_eq!(chain.oldest_pass, Some(35));
    assert_eq!(chain.sets[0].message.1, "it was not looked at");
    assert_eq!(sealed(&fifty, 51), Err(SealError::Full));
    let more = validated(&fifty.replacen("i=50;", "i=51;", 1));
    assert_eq!(
        (more.status, more.reason.as_str()),
        (Status::Fail, "an ARC-Seal has no instance (i=) of 1 to 50")
    );
}

#[test]
fn keys_that_cannot_be_looked_up_are_a_failure_that_may_pass() {
    let one = after(1);
    let slow = Table::new("s._domainkey.hop1.example TIMEOUT");
    let chain = verify(&slow, one.as_bytes(), &Settings::new(NOW)).now_or_never().unwrap();
    assert!(chain.status == Status::Fail && chain.temporary, "{}", chain.reason);
    assert!(!validated(&one.replace("Hi.", "Ho.")).temporary);
}

#[test]
fn what_cannot_be_sealed_says_why() {
    let (one, two) = (after(1), after(2));
    let chain = validated(&two);
    let sealer = Sealer::new(Arc::clone(&KEY), "hop3.example", "s");
    let header = |message: &str| message.split_once("\r\n\r\n").unwrap().0.as_bytes().to_vec();
    let seal = |sealer: &Sealer, header: &[u8], results: &str| {
        sealer.seal(header, &[], &chain, results, NOW).unwrap_err().to_string()
    };
    let other = "the ARC fields of the message are not those that were validated";
    assert_eq!(seal(&sealer, &header(&one), RESULTS), other);
    assert_eq!(seal(&sealer, &header(MESSAGE), RESULTS), other);
    assert_eq!(seal(&sealer, &header(&two), "a\0"), "the results to seal hold control characters");
    let nowhere = Sealer::new(Arc::clone(&KEY), "hop 3", "s");
    assert_eq!(seal(&nowhere, &header(&two), RESULTS), "the domain \"hop 3\" cannot stand in the DNS");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics(
        fields in proptest::collection::vec(("(ARC-Seal|ARC-Message-Signature|ARC-Authentication-Results)", "([iabdhstcv]{1,2}=[a-z0-9/]{0,6}; ?){0,9}"), 0..9),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut message: Vec<u8> = fields.iter().flat_map(|(name, value)| format!("{name}: i=1; {value}\r\n").into_bytes()).collect();
        message.extend_from_slice(b"ARC-Seal: ");
        message.extend_from_slice(&bytes);
        let chain = verify(&dns(), &message, &Settings::new(NOW)).now_or_never().unwrap();
        let sealer = Sealer::new(Arc::clone(&KEY), "hop1.example", "s");
        let _ = sealer.seal(&message, &[Bytes::copy_from_slice(&bytes)], &chain, &String::from_utf8_lossy(&bytes), NOW);
    }
}
