//! Any bytes as a header: it is read, its spans give it back, and every value has a text.
#![no_main]

use gatepost_mail::Headers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let (headers, body, _) = Headers::parse(raw.to_vec().into());
    let joined: Vec<u8> = headers.fields.iter().flat_map(|field| headers.raw_field(field).to_vec()).collect();
    assert_eq!(joined, headers.raw);
    assert!(raw.starts_with(&headers.raw) && (headers.raw.len()..=raw.len()).contains(&body));
    for field in &headers.fields {
        headers.value_text(field);
    }
});
