//! Mail of our own to the postmaster.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Envelope, Parameters, Recipient, encode_text};
use jiff::tz::TimeZone;

use super::release::ReleaseHops;
use crate::resources::notices::Notify;

/// Sends notices by the way that released mail takes.
pub struct Notices {
    /// Name of this host.
    pub hostname: String,
    /// Who is told; None: nobody.
    pub postmaster: Option<Address>,
    /// Where mail of each listener goes.
    pub releases: Arc<ReleaseHops>,
}

impl Notify for Notices {
    fn notify(&self, listener: String, subject: String, text: String) -> BoxFuture<'static, Option<String>> {
        let Some(to) = self.postmaster.clone() else { return Box::pin(std::future::ready(None)) };
        let (envelope, message) = notice(&self.hostname, &to, &subject, &text);
        let releases = self.releases.clone();
        Box::pin(async move {
            let (hop, replies) = releases.send(&listener, &envelope, message).await;
            let refused = replies.into_iter().find(|reply| !reply.is_positive());
            refused.map(|reply| format!("{hop}: {reply}"))
        })
    }
}

/// The envelope, whose sender is empty so that nothing ever comes back, and the message. Bulk mailers and vacation
/// programs keep still by its header (RFC 3834).
fn notice(hostname: &str, to: &Address, subject: &str, text: &str) -> (Envelope, Bytes) {
    let now = jiff::Timestamp::now();
    let date = now.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z");
    let mut random = [0; 8];
    // Without random bytes the time alone makes the id.
    let _ = getrandom::fill(&mut random);
    let id = format!("{}.{:016x}", now.as_nanosecond(), u64::from_be_bytes(random));
    let subject: String =
        subject.chars().take(200).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    let (encoding, body) = encode_text(text.as_bytes());
    let international = !to.to_string().is_ascii();
    let message = format!(
        "From: gatepost <MAILER-DAEMON@{hostname}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
         Message-ID: <notice.{id}@{hostname}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n"
    );
    let envelope = Envelope {
        sender: None,
        parameters: Parameters { smtputf8: international, eight_bit: international, ..Parameters::default() },
        recipients: vec![Recipient::from(to.clone())],
    };
    (envelope, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_a_mail_that_nobody_answers() {
        let to = Address::new("postmaster@example.org").unwrap();
        let (envelope, message) = notice("mx.test", &to, "Stopped:\r\nBcc: x", "a\nlice ü");
        assert!(envelope.sender.is_none());
        let text = String::from_utf8_lossy(&message).into_owned();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.contains("\r\nSubject: Stopped:??Bcc: x\r\n"), "{header}");
        assert!(header.contains("\r\nAuto-Submitted: auto-generated\r\n"));
        assert!(body.starts_with("a"), "{body}");
        assert!(text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n']));
    }
}
