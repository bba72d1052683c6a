//! Any text as the fields of ARC sets: validated, and sealed with a key that is there.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::FutureExt;
use gatepost_auth::arc::{Sealer, Status, verify};
use gatepost_auth::dkim::{Kind, Settings, SigningKey, generate};
use gatepost_auth::dns::Table;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| {
    let pem = generate(Kind::Ed25519).expect("a key").pem;
    Arc::new(SigningKey::from_pem(pem.as_bytes()).expect("our own key"))
});

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (results, message, seal, rest) = input;
    let mut text = String::new();
    for i in 1..=2 {
        text += &format!("ARC-Seal: i={i}; {seal}\r\nARC-Message-Signature: i={i}; {message}\r\n");
        text += &format!("ARC-Authentication-Results: i={i}; {results}\r\n");
    }
    let mut header = text.into_bytes();
    header.extend_from_slice(rest);
    let dns = Table::new(&format!("s._domainkey.d TXT {}", KEY.record()));
    let settings = Settings::new(1_700_000_000);
    let chain = verify(&dns, &header, &settings).now_or_never().expect("a table answers at once");
    assert!(chain.status != Status::Pass && !chain.reason.is_empty() && chain.sets.len() <= 50);
    let body = [Bytes::copy_from_slice(rest)];
    if let Ok(set) = Sealer::new(Arc::clone(&KEY), "d", "s").seal(&header, &body, &chain, results, 1_700_000_000) {
        for value in [&set.seal, &set.message_signature, &set.results] {
            let folds = value.split("\r\n").skip(1).all(|line| line.starts_with('\t') && line.len() > 1);
            assert!(folds && !value.replace("\r\n", "").contains(['\r', '\n']));
        }
    }
});
