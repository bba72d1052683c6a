//! clamd's INSTREAM as Exim, clamdscan --stream and most libraries speak it: a connection for each message.

use std::io;

use tokio::time::Instant;

use super::Sent;
use super::connection::Connection;
use crate::load::Options;

/// A whole request: the command, chunks of 64 KiB, the empty chunk.
pub fn request(raw: &[u8]) -> Box<[u8]> {
    let mut request = b"zINSTREAM\0".to_vec();
    for chunk in raw.chunks(64 << 10) {
        request.extend((chunk.len() as u32).to_be_bytes());
        request.extend_from_slice(chunk);
    }
    request.extend([0; 4]);
    request.into_boxed_slice()
}

/// Connects, asks, reads the answer.
pub async fn send(options: &Options, worker: usize, request: &[u8]) -> io::Result<Sent> {
    let mut connection = Connection::open(options, worker).await?;
    connection.write(request).await?;
    let begin = Instant::now();
    let answer = connection.until(0).await?;
    match code(answer) {
        Some(code) => Ok(Sent::whole(code, begin)),
        None => Err(io::Error::other(format!("answer: {}", answer.escape_ascii()))),
    }
}

/// `stream: OK`, `stream: Eicar-Test-Signature FOUND`, `… ERROR`.
fn code(answer: &[u8]) -> Option<u16> {
    match answer.rsplit(|&byte| byte == b' ').next()? {
        b"OK" => Some(250),
        b"FOUND" => Some(550),
        b"ERROR" => Some(451),
        _ => None,
    }
}

#[test]
fn on_the_wire() {
    assert_eq!(&*request(b"abc"), b"zINSTREAM\0\0\0\0\x03abc\0\0\0\0");
    for (answer, expected) in [
        (&b"stream: OK"[..], Some(250)),
        (b"stream: Eicar FOUND", Some(550)),
        (b"INSTREAM size limit exceeded. ERROR", Some(451)),
        (b"", None),
    ] {
        assert_eq!(code(answer), expected);
    }
}
