//! Replies of a server: bounded, and one reply when written again.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::smtp::{Capabilities, Reply, ReplyReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else { return };
    let (limit, step) = (usize::from(first >> 4) * 64 + 8, usize::from(first & 15) + 1);
    let (mut reader, mut buf) = (ReplyReader::with_limits(limit, 8), BytesMut::new());
    'input: for chunk in input.chunks(step) {
        buf.extend_from_slice(chunk);
        loop {
            match reader.next(&mut buf) {
                Ok(Some(reply)) => check(&reply),
                Ok(None) => break,
                Err(_) => break 'input,
            }
        }
        assert!(buf.len() <= limit + 2);
    }
    if let Some(reply) = Reply::parse(&String::from_utf8_lossy(input)) {
        check(&reply);
    }
});

fn check(reply: &Reply) {
    let _ = Capabilities::from_reply(reply);
    let mut wire = Vec::new();
    reply.write(&mut wire);
    assert!(wire.split_inclusive(|b| *b == b'\n').all(|line| line.len() <= 512 && line.ends_with(b"\r\n")));
    let mut buf = BytesMut::from(&wire[..]);
    let again = ReplyReader::with_limits(512, usize::MAX).next(&mut buf);
    assert!(buf.is_empty() && matches!(again, Ok(Some(again)) if again.code == reply.code));
}
