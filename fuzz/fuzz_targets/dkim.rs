//! Any text as tags of a signature, as record of its key, and as message; and any text as private key.
#![no_main]

use futures_util::FutureExt;
use gatepost_auth::dkim::{Outcome, Settings, SigningKey, verify, zone_line};
use gatepost_auth::dns::Table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (tags, record, rest) = input;
    let record = record.replace(['\r', '\n'], " ");
    let dns = Table::new(&format!("s._domainkey.d TXT {record}"));
    let mut message = format!("DKIM-Signature: v=1; a=rsa-sha256; d=d; s=s; h=from; bh=AA; b=AA;{tags}\r\n").into_bytes();
    message.extend_from_slice(format!("DKIM-Signature: {tags}\r\n").as_bytes());
    message.extend_from_slice(rest);
    for settings in [Settings::new(1_700_000_000), Settings::historic(1_700_000_000)] {
        let found = verify(&dns, &message, &settings).now_or_never().expect("a table answers at once");
        assert!(found.len() <= settings.max + 1);
        // Nobody guesses a signature.
        assert!(found.iter().all(|one| one.outcome != Outcome::Pass && !one.reason.is_empty()));
    }
    if let Ok(key) = SigningKey::from_pem(rest) {
        assert!(key.record().len() > 20);
    }
    assert!(zone_line("s", "d", &record).is_ascii());
});
