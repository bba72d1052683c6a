//! spamd's protocol as spamc speaks it: a connection for each message.

use std::io;

use tokio::time::Instant;

use super::Sent;
use super::connection::Connection;
use crate::load::Options;

/// A whole request.
pub fn request(command: &str, raw: &[u8]) -> Box<[u8]> {
    let mut request =
        format!("{command} SPAMC/1.5\r\nUser: nobody\r\nContent-length: {}\r\n\r\n", raw.len()).into_bytes();
    request.extend_from_slice(raw);
    request.into_boxed_slice()
}

/// Connects, asks, reads to the end.
pub async fn send(options: &Options, worker: usize, request: &[u8]) -> io::Result<Sent> {
    let mut connection = Connection::open(options, worker).await?;
    connection.write(request).await?;
    connection.finish().await?;
    let begin = Instant::now();
    let answer = connection.rest().await?;
    code(answer).map(|code| Sent::whole(code, begin)).ok_or_else(|| {
        io::Error::other(format!("answer: {}", answer.get(..60).unwrap_or(answer).escape_ascii()))
    })
}

/// `SPAMD/1.1 0 EX_OK` and `Spam: True ; 5.0 / 5.0`.
fn code(answer: &[u8]) -> Option<u16> {
    let head = String::from_utf8_lossy(answer.get(..512).unwrap_or(answer));
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|word| word.starts_with("SPAMD/"))?;
    match words.next()?.parse().ok()? {
        0u8 => {}
        _ => return Some(451),
    }
    let spam = head.lines().find_map(|line| line.strip_prefix("Spam:"))?;
    Some(if spam.trim_start().starts_with("True") { 550 } else { 250 })
}

#[test]
fn answers() {
    for (answer, expected) in [
        (&b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.0 / 5.0\r\n\r\n"[..], Some(250)),
        (b"SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\nSpam: True ; 9.0 / 5.0\r\n\r\nxx", Some(550)),
        (b"SPAMD/1.1 75 EX_TEMPFAIL\r\n\r\n", Some(451)),
        (b"SPAMD/1.0 0 EX_OK\r\n\r\n", None),
        (b"nonsense", None),
    ] {
        assert_eq!(code(answer), expected, "{}", answer.escape_ascii());
    }
}
