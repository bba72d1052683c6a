//! Answers of clamd: nothing but an answer that ends in `: OK` is clean.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::clamd::{Answer, parse_answer, read_answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut buf = BytesMut::from(input);
    while let Ok(Some(numbered)) = read_answer(&mut buf) {
        if let Answer::Found(text) | Answer::Error(text) | Answer::Version(text) = numbered.answer {
            assert!(!text.contains(char::is_control));
        }
    }
    if let Ok(text) = std::str::from_utf8(input)
        && parse_answer(text).answer == Answer::Clean
    {
        let printable: String = text.chars().filter(|c| !c.is_control()).collect();
        assert!(printable.trim_end().ends_with(": OK"));
    }
});
