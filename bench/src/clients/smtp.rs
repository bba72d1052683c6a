//! SMTP and LMTP.

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::connection::Connection;
use super::{Protocol, Sent};
use crate::load::Options;

/// A number that no connection of this run had before, up to 65,536 of them. Where they begin is left to chance, since a
/// server remembers those of the run before.
fn next_client() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtomicU16::new(now.subsec_micros() as u16)
    });
    NEXT.fetch_add(1, Relaxed)
}

/// One SMTP or LMTP connection.
pub struct Client {
    connection: Connection,
    /// MAIL, all RCPT and DATA, as they go over the wire.
    envelope: Vec<String>,
}

impl Client {
    /// Connects, up to the answer to EHLO or LHLO.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Client> {
        let mut envelope = vec![format!("MAIL FROM:<{}>\r\n", options.from)];
        envelope.extend(options.to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")));
        let mut client = Client { connection: Connection::open(options, worker).await?, envelope };
        client.expect("banner", 220).await?;
        let lmtp = options.protocol() == Protocol::Lmtp;
        client.connection.write(if lmtp { b"LHLO bench\r\n" } else { b"EHLO bench\r\n" }).await?;
        client.expect("EHLO", 250).await?;
        if options.xclient {
            let [a, b] = next_client().to_be_bytes();
            let network = 18 + (a >> 7);
            let command = format!("XCLIENT ADDR=198.{network}.{}.{b}\r\n", a & 0x7f);
            client.connection.write(command.as_bytes()).await?;
            client.expect("XCLIENT", 220).await?;
            client.connection.write(b"EHLO client.example\r\n").await?;
            client.expect("EHLO", 250).await?;
        }
        Ok(client)
    }

    /// One transaction.
    pub async fn send(&mut self, options: &Options, message: &[u8]) -> io::Result<Sent> {
        let refused = |stage, code| Ok(Sent { stage, code, answer: Duration::ZERO });
        let mut accepted = 0;
        let mut worst = ("", 0);
        if options.pipelining {
            let mut all = self.envelope.concat();
            all.push_str("DATA\r\n");
            self.connection.write(all.as_bytes()).await?;
        }
        for at in 0..self.envelope.len() {
            if !options.pipelining {
                self.connection.write(self.envelope[at].as_bytes()).await?;
            }
            let code = self.reply().await?;
            if code / 100 != 2 && code > worst.1 {
                worst = (if at == 0 { "mail" } else { "rcpt" }, code);
            } else if at > 0 {
                accepted += 1;
            }
        }
        if !options.pipelining {
            if accepted == 0 {
                self.connection.write(b"RSET\r\n").await?;
                self.expect("RSET", 250).await?;
                return refused(worst.0, worst.1);
            }
            self.connection.write(b"DATA\r\n").await?;
        }
        let code = self.reply().await?;
        if code != 354 {
            let (stage, code) = if worst.1 > 0 { worst } else { ("data", code) };
            return refused(stage, code);
        }
        self.connection.write(message).await?;
        let begin = Instant::now();
        let mut code = self.reply().await?;
        for _ in 1..if options.protocol() == Protocol::Lmtp { accepted } else { 1 } {
            code = code.max(self.reply().await?);
        }
        Ok(Sent::whole(code, begin))
    }

    /// QUIT and its answer.
    pub async fn quit(&mut self) -> io::Result<()> {
        self.connection.write(b"QUIT\r\n").await?;
        self.reply().await.map(drop)
    }

    async fn expect(&mut self, stage: &str, expected: u16) -> io::Result<()> {
        match self.reply().await? {
            code if code == expected => Ok(()),
            code => Err(io::Error::other(format!("{code} to {stage}"))),
        }
    }

    /// The code of the next reply; lines before its last are skipped.
    async fn reply(&mut self) -> io::Result<u16> {
        loop {
            let line = self.connection.line().await?;
            if let Some(&[a, b, c]) = line.get(..3)
                && line.get(3) != Some(&b'-')
            {
                let digits = [a, b, c].map(|digit| u16::from(digit.wrapping_sub(b'0')) % 10);
                return Ok(digits[0] * 100 + digits[1] * 10 + digits[2]);
            }
        }
    }
}
