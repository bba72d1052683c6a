//! Any bytes as a header value with encoded words; any text encoded and read again.
#![no_main]

use gatepost_mail::words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let text = words::decode(value);
    let encoded = words::encode(&text);
    assert!(encoded.is_ascii());
    assert!(!encoded.replace("\r\n ", "").contains(['\r', '\n', '\0']));
    let clean: String = text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
    let again = words::decode(encoded.replace("\r\n", "").as_bytes());
    // A byte order mark at the beginning of a word is no character.
    let bare = |text: &str| text.trim().replace('\u{feff}', "").trim().to_owned();
    assert_eq!(bare(&again), bare(&clean));
});
