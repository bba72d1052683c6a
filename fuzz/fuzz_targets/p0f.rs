//! What p0f and p0f-analyzer answer: any octets yield a text of one line, or nothing.
#![no_main]

use gatepost_wire::p0f::{RESPONSE, analysis, response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut octets = [0; RESPONSE];
    let most = input.len().min(RESPONSE);
    octets[..most].copy_from_slice(&input[..most]);
    octets[..4].copy_from_slice(&0x5030_4602_u32.to_ne_bytes());
    if let Ok(Some(host)) = response(&octets) {
        assert!(!host.text().contains(char::is_control));
    }
    if let Some(text) = analysis(input, "[192.0.2.1]:25", "n") {
        assert!(!text.contains(char::is_control));
    }
});
