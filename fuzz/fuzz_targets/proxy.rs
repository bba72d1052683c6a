//! PROXY headers: arriving in pieces makes no difference.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::proxy::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut whole = BytesMut::from(input);
    let expected = parse(&mut whole);
    let mut buf = BytesMut::new();
    for (at, octet) in input.iter().enumerate() {
        buf.extend_from_slice(&[*octet]);
        match parse(&mut buf) {
            Ok(None) => {}
            found => {
                if found.is_ok() {
                    assert!(buf.is_empty() && whole[..] == input[at + 1..]);
                }
                assert_eq!(found, expected);
                return;
            }
        }
    }
    assert!(matches!(expected, Ok(None)));
    assert!(buf.len() < 8192 + 16);
});
