//! Requests of Postfix's policy delegation: bounded, read alike however they come, and no text that could end a line.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::policy::{Action, ReadError, Reader, Request, RequestError, REQUEST_LIMIT};
use libfuzzer_sys::fuzz_target;

type Read = (Vec<Result<Request, RequestError>>, Option<ReadError>);

fn all(input: &[u8], at_once: usize) -> Read {
    let (mut reader, mut buf, mut requests) = (Reader::new(), BytesMut::new(), Vec::new());
    for chunk in input.chunks(at_once) {
        buf.extend_from_slice(chunk);
        loop {
            match reader.next(&mut buf) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
        assert!(buf.len() <= REQUEST_LIMIT + at_once);
    }
    (requests, None)
}

fuzz_target!(|input: &[u8]| {
    let whole = all(input, input.len().max(1));
    assert_eq!(all(input, 1), whole);
    for request in whole.0 {
        match request {
            Ok(request) => {
                let answer = Action::Prepend("X-Test".into(), request.sender).answer();
                assert!(answer.ends_with(b"\n\n") && !answer[..answer.len() - 2].contains(&b'\n'));
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
});
