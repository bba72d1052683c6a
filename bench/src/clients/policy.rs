//! Postfix's policy delegation, as an smtpd process speaks it: one connection, one question after the other.

use std::io;

use tokio::time::Instant;

use super::Sent;
use super::connection::Connection;
use crate::load::Options;

/// A connection to a policy service.
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Client> {
        Ok(Client { connection: Connection::open(options, worker).await? })
    }

    /// Asks and reads the answer, a line and an empty one.
    pub async fn send(&mut self, question: &[u8]) -> io::Result<Sent> {
        self.connection.write(question).await?;
        let begin = Instant::now();
        let line = self.connection.line().await?;
        let code =
            code_of(line).ok_or_else(|| io::Error::other(format!("answer: {}", line.escape_ascii())))?;
        if !self.connection.line().await?.is_empty() {
            return Err(io::Error::other("an answer of two lines"));
        }
        Ok(Sent::whole(code, begin))
    }
}

/// Question number so many, with all attributes that Postfix 3.7 sends: each client of a network of its own, with one of
/// 250 sender domains, so that greylisting has not seen it before and SPF has something to look up.
pub fn question(options: &Options, number: usize) -> Box<[u8]> {
    let (high, low) = (number / 250 % 250, number % 250);
    let domain = options.from.rsplit_once('@').map_or("example.org", |(_, domain)| domain);
    let to = options.to.first().map_or("recipient@example.net", String::as_str);
    format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=100.{}.{high}.{low}\n\
         client_name=mx{number}.client.example\nclient_port=40000\nreverse_client_name=mx{number}.client.example\n\
         server_address=192.0.2.25\nserver_port=25\nhelo_name=mx{number}.client.example\n\
         sender=sender{number}@d{low}.{domain}\nrecipient={to}\nrecipient_count=0\nqueue_id=\n\
         instance=4d2.{number:x}.7aaef.0\nsize=4000\netrn_domain=\nstress=\nsasl_method=\nsasl_username=\n\
         sasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\n\
         encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\n\
         policy_context=\n\n",
        64 + number / 62_500 % 64,
    )
    .into_bytes()
    .into_boxed_slice()
}

/// What an action amounts to.
fn code_of(line: &[u8]) -> Option<u16> {
    let action = std::str::from_utf8(line).ok()?.strip_prefix("action=")?;
    let word = action.split(' ').next()?;
    Some(match word.to_ascii_uppercase().as_str() {
        "DUNNO" | "OK" | "PREPEND" => 250,
        "REJECT" => 554,
        "DEFER" | "DEFER_IF_PERMIT" => 450,
        code => code.parse().ok()?,
    })
}

#[test]
fn answers() {
    for (line, expected) in [
        (&b"action=dunno"[..], Some(250)),
        (b"action=PREPEND X-Greylist: delayed", Some(250)),
        (b"action=DEFER_IF_PERMIT 4.2.0 Greylisted", Some(450)),
        (b"action=550 5.7.23 no", Some(550)),
        (b"action=what", None),
        (b"nonsense", None),
    ] {
        assert_eq!(code_of(line), expected, "{}", line.escape_ascii());
    }
}
