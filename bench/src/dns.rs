//! `dns`: a name server as far away as one likes. Nothing is there but the test entries of DNS lists (RFC 5782 section 5).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// Arguments of `dns`.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on, UDP.
    #[arg(long)]
    listen: SocketAddr,
    /// Wait so many milliseconds before each answer.
    #[arg(long, default_value_t = 30)]
    delay_ms: u64,
}

/// Names that are there, as they begin: labels with their lengths before them.
const LISTED: [&[u8]; 2] = [b"\x012\x010\x010\x03127", b"\x04test"];

/// Seconds that an answer may be kept.
const TTL: [u8; 4] = 300_u32.to_be_bytes();

/// Runs until it is killed.
pub async fn run(options: Options) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(options.listen).await?);
    let delay = Duration::from_millis(options.delay_ms);
    let mut buffer = [0; 1500];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let due = Instant::now() + delay;
        let Some(answer) = answer(&buffer[..length]) else { continue };
        let socket = socket.clone();
        tokio::spawn(async move {
            sleep_until(due).await;
            let _ = socket.send_to(&answer, peer).await;
        });
    }
}

/// The answer to a query of one question (RFC 1035 section 4.1); None for what is no such.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(12)?;
    let name = name_length(rest)?;
    let question = rest.get(..name + 4)?;
    let is_a = question[name..name + 2] == [0, 1];
    let listed = LISTED.iter().any(|entry| rest.to_ascii_lowercase().starts_with(entry));
    let mut answer = header[..2].to_vec();
    // A response, recursion desired and available; NXDOMAIN for what is not there.
    answer.extend([0x81, if listed { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(listed && is_a), 0, u8::from(!listed), 0, 0]);
    answer.extend(question);
    if listed && is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(TTL);
        answer.extend([0, 4, 127, 0, 0, 2]);
    } else if !listed {
        // SOA of the root, so that the answer may be kept (RFC 2308).
        answer.extend([0, 0, 6, 0, 1]);
        answer.extend(TTL);
        answer.extend([0, 22, 0, 0]);
        answer.extend([TTL; 5].concat());
    }
    Some(answer)
}

/// Length of a name, with the empty label at its end.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str) -> Vec<u8> {
        let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        query
    }

    #[test]
    fn test_entries_are_there_and_nothing_else() {
        let listed = answer(&query("2.0.0.127.zone.example")).unwrap();
        assert!(
            listed.starts_with(b"\x12\x34\x81\x80\x00\x01\x00\x01")
                && listed.ends_with(&[0, 4, 127, 0, 0, 2])
        );
        let unlisted = answer(&query("1.0.0.127.zone.example")).unwrap();
        assert!(unlisted.starts_with(b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x01"));
        assert!(answer(b"short").is_none() && answer(&query("x")[..14]).is_none());
    }
}
