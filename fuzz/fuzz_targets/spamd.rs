//! Requests to spamd: bounded, and read alike whether they come at once or octet by octet.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::spamd::{RequestReader, Score, answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut whole = BytesMut::from(input);
    let expected = RequestReader::new().read(&mut whole, true);
    let (mut reader, mut buf, mut read) = (RequestReader::new(), BytesMut::new(), Ok(None));
    for byte in input {
        buf.extend_from_slice(&[*byte]);
        if read == Ok(None) {
            read = reader.read(&mut buf, false);
        }
    }
    if read == Ok(None) {
        read = reader.read(&mut buf, true);
    }
    assert_eq!(read, expected);
    match read {
        Ok(Some(request)) => {
            let points = input.len() as i64 * 997;
            let head = answer(&request, Score::from_thousandths(points > 5000, points, 5000), input.len());
            assert!(head.starts_with("SPAMD/1.") && head.ends_with("\r\n"));
        }
        Ok(None) => panic!("waits for more than there is"),
        Err(refusal) => assert!(!refusal.line().trim_end().contains(char::is_control)),
    }
});
