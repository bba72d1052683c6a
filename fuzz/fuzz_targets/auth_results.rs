//! Any bytes as an Authentication-Results field; what is read is written, and the same is read again.
#![no_main]

use gatepost_auth::results::{must_go, parse, parse_arc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let _ = parse_arc(value);
    let goes = must_go(value, ["gw.example"]);
    let Ok(results) = parse(value) else { return };
    assert!(goes || !results.id.eq_ignore_ascii_case("gw.example"), "{results:?}");
    let written = results.value();
    assert!(written.split("\r\n").all(|line| line.len() < 998 && !line.contains(['\r', '\n', '\0'])));
    let again = parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again.entries.len(), results.entries.len());
    assert_eq!(parse(again.value().as_bytes()).expect("again").value(), again.value());
});
