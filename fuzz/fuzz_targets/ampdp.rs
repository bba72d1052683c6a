//! Requests of AM.PDP: never more kept than the limits say, and no address that could end a line.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::ampdp::{Reader, Request, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut reader, mut buf) = (Reader::new(), BytesMut::from(input));
    while let Ok(Some(attributes)) = reader.next(&mut buf) {
        match Request::new(&attributes) {
            Ok(Request::Judge(judge)) => {
                let addresses = judge.recipients.iter().chain([&judge.sender]);
                assert!(addresses.into_iter().all(|path| !path.address.contains(char::is_control)));
                assert!(!judge.mail_file.contains(&0) && !judge.mail_file.is_empty());
            }
            Ok(Request::Release(release)) => assert!(release.mail_id.is_ascii() && !release.mail_id.is_empty()),
            Err(error) => assert!(error.to_string().len() < 200),
        }
    }
    let mut wire = Vec::new();
    encode(input, &mut wire);
    assert_eq!(decode(&wire), input);
});
