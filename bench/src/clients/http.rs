//! HTTP/1.1: POST of the message to /v1/scan, the envelope in the query, connections kept open.

use std::io;

use tokio::time::Instant;

use super::Sent;
use super::connection::Connection;
use crate::load::Options;

/// A whole request.
pub fn request(options: &Options, raw: &[u8]) -> Box<[u8]> {
    let recipients: String = options.to.iter().map(|to| format!("&rcpt={}", escaped(to))).collect();
    let token = options.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
    let mut request = format!(
        "POST /v1/scan?from={}{recipients}&ip=192.0.2.10&helo=client.example.org HTTP/1.1\r\nHost: bench\r\n{}\
         Content-Type: message/rfc822\r\nContent-Length: {}\r\n\r\n",
        escaped(&options.from),
        token.unwrap_or_default(),
        raw.len()
    )
    .into_bytes();
    request.extend_from_slice(raw);
    request.into_boxed_slice()
}

/// For a query: everything but letters and digits in hex.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// One connection.
pub struct Client(Connection);

impl Client {
    /// Connects.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Client> {
        Connection::open(options, worker).await.map(Client)
    }

    /// One request and its answer.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<Sent> {
        self.0.write(request).await?;
        let begin = Instant::now();
        let status = String::from_utf8_lossy(self.0.line().await?).into_owned();
        let mut length = None;
        loop {
            let line = String::from_utf8_lossy(self.0.line().await?).to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        let length = length.ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
        let code = code(self.0.exactly(length).await?);
        match status.split(' ').nth(1) {
            Some("200") => Ok(Sent::whole(code, begin)),
            _ => Err(io::Error::other(status)),
        }
    }
}

/// What the action in the answer amounts to.
fn code(json: &[u8]) -> u16 {
    let action = memchr::memmem::find(json, b"\"action\":\"").map(|at| &json[at + 10..]);
    let action = action.and_then(|rest| rest.split(|&byte| byte == b'"').next()).unwrap_or_default();
    match action {
        b"deliver" | b"mark" | b"strip" => 250,
        b"defer" => 451,
        _ => 550,
    }
}

#[test]
fn answers() {
    assert_eq!(escaped("a@b.c"), "a%40b.c");
    for (json, expected) in [
        (r#"{"id":"1","action":"deliver"}"#, 250),
        (r#"{"action":"refuse","x":1}"#, 550),
        (r#"{"action":"defer"}"#, 451),
    ] {
        assert_eq!(code(json.as_bytes()), expected);
    }
}
