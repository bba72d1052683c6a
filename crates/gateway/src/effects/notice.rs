//! Mail of our own: to the postmaster, to administrators, recipients and senders.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Envelope, Parameters, Recipient, words};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::release::ReleaseHops;
pub use super::report::{Fate, ascii, printable};
use super::report::{Kind, Report, alternatives, answering, plain_part, report};
use crate::resources::notices::Notify;

/// Longest subject, in characters.
const SUBJECT: usize = 200;

/// A mail that nobody answers: its envelope has no sender, so that nothing ever comes back, and vacation programs keep
/// still by its header (RFC 3834).
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Value of From, as [`mailbox`] writes it.
    pub from: &'a str,
    /// Whom it goes to.
    pub to: &'a Address,
    /// In any script.
    pub subject: &'a str,
    /// Message-ID, without brackets.
    pub id: &'a str,
    /// When it is made.
    pub now: Timestamp,
    /// What people read.
    pub text: &'a str,
    /// The same in HTML.
    pub html: Option<&'a str>,
    /// The one message that it is about, where a program shall be able to read it.
    pub about: Option<About<'a>>,
}

/// The message that a notice is about.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// What became of it, for its sender (RFC 3464): this notice answers it.
    Delivery {
        /// Its Message-ID, with brackets.
        message_id: &'a str,
        /// The fields for programs.
        fields: &'a str,
        /// Its header.
        header: &'a str,
    },
    /// What is bad about it, for an abuse desk (RFC 5965).
    Feedback {
        /// The fields for programs.
        fields: &'a str,
        /// Its header.
        header: &'a str,
    },
}

/// The envelope and the message.
pub fn mail(notice: &Notice) -> (Envelope, Bytes) {
    let Notice { from, to, id, now, text, .. } = notice;
    let date = now.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z");
    let subject: String = notice.subject.chars().take(SUBJECT).collect();
    let subject = words::encode_from(&subject, "Subject: ".len());
    let (answered, submitted) = match notice.about {
        Some(About::Delivery { message_id, .. }) => (answering(message_id), "auto-replied"),
        _ => (String::new(), "auto-generated"),
    };
    let head = format!(
        "From: {from}\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}>\r\n{answered}\
         Auto-Submitted: {submitted}\r\nX-Auto-Response-Suppress: All\r\n"
    );
    // The random part of the id, which nobody knows who could write it into a subject.
    let boundary = format!("=_{}", id.split(['.', '@']).nth(1).unwrap_or("notice"));
    let readable = match notice.html {
        Some(html) => alternatives(text, html, &format!("{boundary}_text")),
        None => plain_part(text),
    };
    let whole = |kind, fields, header: &str| {
        report(&Report {
            head: &head,
            boundary: &boundary,
            readable: &readable,
            kind,
            fields,
            header: header.as_bytes(),
        })
    };
    let message = match notice.about {
        None => format!("{head}MIME-Version: 1.0\r\n{readable}\r\n"),
        Some(About::Delivery { fields, header, .. }) => whole(Kind::Delivery, fields, header),
        Some(About::Feedback { fields, header }) => whole(Kind::Feedback, fields, header),
    };
    let international = !to.to_string().is_ascii();
    let envelope = Envelope {
        sender: None,
        parameters: Parameters { smtputf8: international, eight_bit: international, ..Parameters::default() },
        recipients: vec![Recipient::from((*to).clone())],
    };
    (envelope, message.into())
}

/// A mailbox as it stands in a field: the name in quotes, or in encoded words (RFC 2047 section 5).
pub fn mailbox(name: &str, address: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
    match (name.is_empty(), name.is_ascii()) {
        (true, _) => format!("<{address}>"),
        (false, true) => format!("\"{name}\" <{address}>"),
        (false, false) => format!("{} <{address}>", words::encode_from(&name, "From: ".len())),
    }
}

/// Sends notices to the postmaster by the way that released mail takes.
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
        let (envelope, message) = plain(&self.hostname, &to, &subject, &text);
        let releases = self.releases.clone();
        Box::pin(async move {
            let (hop, replies) = releases.send(&listener, &envelope, message).await;
            let refused = replies.into_iter().find(|reply| !reply.is_positive());
            refused.map(|reply| format!("{hop}: {reply}"))
        })
    }
}

fn plain(hostname: &str, to: &Address, subject: &str, text: &str) -> (Envelope, Bytes) {
    let now = Timestamp::now();
    let mut random = [0; 8];
    // Without random bytes the time alone makes the id.
    let _ = getrandom::fill(&mut random);
    mail(&Notice {
        from: &mailbox("gatepost", &format!("MAILER-DAEMON@{hostname}")),
        to,
        subject,
        id: &format!("notice.{}-{:016x}@{hostname}", now.as_nanosecond(), u64::from_be_bytes(random)),
        now,
        text,
        html: None,
        about: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_a_mail_that_nobody_answers() {
        let to = Address::new("postmaster@example.org").unwrap();
        let (envelope, message) = plain("mx.test", &to, "Stopped:\r\nBcc: x", "a\nlice ü");
        assert!(envelope.sender.is_none());
        let text = String::from_utf8_lossy(&message).into_owned();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.contains("\r\nSubject: Stopped:  Bcc: x\r\n"), "{header}");
        assert!(header.contains("\r\nAuto-Submitted: auto-generated\r\n"));
        assert!(body.starts_with("a"), "{body}");
        assert!(text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n']));
    }

    fn made(about: Option<About>) -> String {
        let to = Address::new("user@example.org").unwrap();
        let notice = Notice {
            from: &mailbox("Sécurité", "postmaster@example.org"),
            to: &to,
            subject: "Messages retenus : très «vieux»",
            id: "notice.l1bnIZN88okd@mx.test",
            now: "2026-03-01T12:30:00Z".parse().unwrap(),
            text: "Un texte.",
            html: Some("<p>Un texte — même.</p>"),
            about,
        };
        String::from_utf8(mail(&notice).1.to_vec()).unwrap()
    }

    #[test]
    fn text_and_html_side_by_side() {
        let text = made(None);
        for part in [
            "From: =?UTF-8?",
            "Message-ID: <notice.l1bnIZN88okd@mx.test>\r\n",
            "Content-Type: multipart/alternative;\r\n boundary=\"=_l1bnIZN88okd_text\"\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            "\r\n--=_l1bnIZN88okd_text--\r\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.is_ascii() && !text.contains("In-Reply-To"), "{text}");
    }

    #[test]
    fn reports_answer_and_show_the_header() {
        let header = "Subject: x\r\nFrom: a@b.test\r\n";
        let fields = "Reporting-MTA: dns; mx.test\r\n";
        let text = made(Some(About::Delivery { message_id: "<1@b.test>", fields, header }));
        for part in [
            "In-Reply-To: <1@b.test>\r\nReferences: <1@b.test>\r\nAuto-Submitted: auto-replied\r\n",
            "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"=_l1bnIZN88okd\"\r\n",
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n--=_l1bnIZN88okd\r\n",
            "\r\n\r\nSubject: x\r\nFrom: a@b.test\r\n\r\n--=_l1bnIZN88okd--\r\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let text = made(Some(About::Feedback { fields: "Feedback-Type: virus\r\n", header }));
        assert!(text.contains("report-type=feedback-report;") && !text.contains("In-Reply-To"), "{text}");
        assert!(
            text.contains("Content-Type: message/feedback-report\r\n\r\nFeedback-Type: virus\r\n"),
            "{text}"
        );
    }

    #[test]
    fn mailboxes_cannot_break_out() {
        assert_eq!(mailbox("a\" <x@y>, \"b\r\n", "a@b.test"), "\"a <x@y>, b\" <a@b.test>");
        assert_eq!(mailbox("", "a@b.test"), "<a@b.test>");
    }
}
