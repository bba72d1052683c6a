//! The message that tells a sender that its own was not delivered: a delivery status notification (RFC 3464) in a
//! multipart/report (RFC 6522), with the header of what was not delivered and nothing else of it.

use std::fmt::Write;

use bytes::Bytes;
use gatepost_mail::{Address, Envelope, Mail, Message, Parameters, Recipient, Reply};
use gatepost_wire::smtp;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::report::{Fate, Kind, Report, answering, plain_part, printable, report};

/// Most of the header that is given back, in bytes.
const HEADER: usize = 32 * 1024;

/// Recipients that share a reason.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// Places in the envelope.
    pub recipients: &'a [usize],
    /// What would have been said on the line.
    pub refusal: &'a Reply,
    /// What people read.
    pub text: &'a str,
}

/// Who tells it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Teller<'a> {
    /// Name of this host.
    pub hostname: &'a str,
    /// Id of the record of the message that was not delivered; nobody outside knew it before.
    pub id: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The notification about a mail, for its sender: the envelope, whose own sender is empty, and the message.
pub fn notification(mail: &Mail, sender: &Address, failed: &[Failed], teller: Teller) -> (Envelope, Bytes) {
    let Teller { hostname, id, now } = teller;
    let international = !sender.to_string().is_ascii();
    let boundary = format!("{id}/bounce");
    let date = now.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z");
    let texts: Vec<&str> = failed.iter().map(|failed| failed.text.trim_end()).collect();
    let answered = answering(&mail.message.message_id());
    let head = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n\
         To: <{sender}>\r\n\
         Subject: Your message was not delivered\r\n\
         Date: {date}\r\n\
         Message-ID: <bounce.{id}@{hostname}>\r\n\
         {answered}\
         Auto-Submitted: auto-replied\r\n"
    );
    let message = report(&Report {
        head: &head,
        boundary: &boundary,
        readable: &plain_part(&texts.join("\n\n")),
        kind: Kind::Delivery,
        fields: &status(mail, failed, hostname),
        header: &header_of(&mail.message),
    });
    let envelope = Envelope {
        sender: None,
        parameters: Parameters { smtputf8: international, eight_bit: international, ..Parameters::default() },
        recipients: vec![Recipient::from(sender.clone())],
    };
    (envelope, message.into())
}

/// The fields for the whole and, behind an empty line each, those of every recipient (RFC 3464 section 2).
fn status(mail: &Mail, failed: &[Failed], hostname: &str) -> String {
    let mut fields = format!("Reporting-MTA: dns; {hostname}\r\n");
    // Writing to a String cannot fail.
    let mut add = |text: std::fmt::Arguments<'_>| fields.write_fmt(text).unwrap_or_default();
    if let Some(id) = parameter(&mail.envelope.parameters.other, "ENVID").and_then(smtp::xtext_decode) {
        add(format_args!("Original-Envelope-Id: {}\r\n", printable(&id)));
    }
    for Failed { recipients, refusal, .. } in failed {
        let of = |&place: &usize| mail.envelope.recipients.get(place);
        for recipient in recipients.iter().filter_map(of) {
            let original = parameter(&recipient.parameters, "ORCPT").and_then(|value| value.split_once(';'));
            let original = original.and_then(|(kind, address)| Some((kind, smtp::xtext_decode(address)?)));
            let (address, reply) = (recipient.address.to_string(), refusal.to_string());
            let fate = Fate {
                original: original.as_ref().map(|(kind, address)| (*kind, address.as_str())),
                address: &address,
                action: "failed",
                status: if refusal.enhanced.is_empty() { "5.0.0" } else { &refusal.enhanced },
                diagnostic: Some(&reply),
            };
            add(format_args!("{fate}"));
        }
    }
    fields
}

/// The header, field by field as far as it is not too long.
pub fn header_of(message: &Message) -> Vec<u8> {
    let headers = &message.headers;
    let mut header = Vec::new();
    for field in headers.fields.iter().filter(|field| !headers.name(field).is_empty()) {
        let raw = headers.raw_field(field);
        if header.len() + raw.len() > HEADER {
            break;
        }
        header.extend_from_slice(raw);
    }
    header
}

fn parameter<'a>(parameters: &'a [String], keyword: &str) -> Option<&'a str> {
    parameters.iter().find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        found.eq_ignore_ascii_case(keyword).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_mail::{Budget, Limits, Session};

    const RAW: &str = "Received: from x\r\nFrom: a@example.org\r\nSubject: Program\r\nMessage-ID: <1@example.org>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee there\r\n--b\r\n\
        Content-Disposition: attachment; filename=a.exe\r\n\r\nMZ-BAD-CONTENT\r\n--b--\r\n";

    fn mail(raw: &str, recipients: &[(&str, &str)]) -> Mail {
        let recipient = |(address, parameters): &(&str, &str)| Recipient {
            address: Address::new(address).unwrap(),
            parameters: parameters.split_whitespace().map(str::to_owned).collect(),
        };
        Mail {
            session: Session::default(),
            envelope: Envelope {
                sender: Address::new("a@example.org"),
                recipients: recipients.iter().map(recipient).collect(),
                ..Envelope::default()
            },
            message: Message::read(
                Bytes::copy_from_slice(raw.as_bytes()),
                &mut Budget::new(&Limits::default()),
            ),
        }
    }

    fn told(mail: &Mail, sender: &str, failed: &[Failed]) -> (Envelope, String) {
        let teller =
            Teller { hostname: "mx.test", id: "l1bnIZN88okd", now: "2026-03-01T12:30:00Z".parse().unwrap() };
        let sender = Address::new(sender).unwrap();
        let (envelope, message) = notification(mail, &sender, failed, teller);
        (envelope, String::from_utf8(message.to_vec()).unwrap())
    }

    #[test]
    fn a_notification_written_out() {
        let mut mail =
            mail(RAW, &[("x@far.test", "ORCPT=rfc822;X+2By@far.test NOTIFY=FAILURE"), ("y@far.test", "")]);
        mail.envelope.parameters.other = vec!["RET=FULL".into(), "ENVID=q+2B1".into()];
        let refusal = Reply::new(550, "5.7.1", "Attachment not accepted: a.exe (id l1bnIZN88okd)");
        let failed = Failed { recipients: &[0, 1], refusal: &refusal, text: "Not delivered.\n" };
        let (envelope, text) = told(&mail, "a@example.org", &[failed]);
        assert_eq!(envelope.sender, None);
        assert_eq!(envelope.recipients[0].address.to_string(), "a@example.org");
        assert!(!envelope.parameters.smtputf8);
        let date = text.split("Date: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        assert!(date.contains("Mar 2026"), "{date}");
        let expected = "From: Mail Delivery System <MAILER-DAEMON@mx.test>\r\n\
            To: <a@example.org>\r\n\
            Subject: Your message was not delivered\r\n\
            Date: DATE\r\n\
            Message-ID: <bounce.l1bnIZN88okd@mx.test>\r\n\
            In-Reply-To: <1@example.org>\r\nReferences: <1@example.org>\r\n\
            Auto-Submitted: auto-replied\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"l1bnIZN88okd/bounce\"\r\n\r\n\
            --l1bnIZN88okd/bounce\r\n\
            Content-Description: Notification\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: 7bit\r\n\r\n\
            Not delivered.\r\n\r\n\
            --l1bnIZN88okd/bounce\r\n\
            Content-Description: Delivery report\r\n\
            Content-Type: message/delivery-status\r\n\r\n\
            Reporting-MTA: dns; mx.test\r\n\
            Original-Envelope-Id: q+1\r\n\r\n\
            Original-Recipient: rfc822; X+y@far.test\r\n\
            Final-Recipient: rfc822; x@far.test\r\n\
            Action: failed\r\nStatus: 5.7.1\r\n\
            Diagnostic-Code: smtp; 550 5.7.1 Attachment not accepted: a.exe (id l1bnIZN88okd)\r\n\r\n\
            Final-Recipient: rfc822; y@far.test\r\n\
            Action: failed\r\nStatus: 5.7.1\r\n\
            Diagnostic-Code: smtp; 550 5.7.1 Attachment not accepted: a.exe (id l1bnIZN88okd)\r\n\r\n\
            --l1bnIZN88okd/bounce\r\n\
            Content-Description: Header of the undelivered message\r\n\
            Content-Type: text/rfc822-headers\r\n\
            Content-Transfer-Encoding: 7bit\r\n\r\n\
            Received: from x\r\nFrom: a@example.org\r\nSubject: Program\r\nMessage-ID: <1@example.org>\r\n\
            MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --l1bnIZN88okd/bounce--\r\n";
        assert_eq!(text.replace(&date, "DATE"), expected);
    }

    #[test]
    fn nothing_of_the_body_and_nothing_that_breaks_out() {
        let hostile = format!(
            "From: a@example.org\r\nSubject: h\u{e9} \u{1}\r\nMessage-ID: <a\r\n b>\r\nX: {}\r\nY: {}\r\n\r\nBAD-CONTENT\r\n",
            "x".repeat(40_000),
            "z".repeat(100),
        );
        let mail = mail(&hostile, &[("ü+1@far.test", "ORCPT=rfc822;a+0D+0AStatus:+202.0.0")]);
        let refusal = Reply::new(554, "", "a\r\nb\u{e9}");
        let failed = [
            Failed { recipients: &[0, 7], refusal: &refusal, text: "Nicht zugestellt: ü" },
            Failed { recipients: &[], refusal: &refusal, text: "Another policy's words." },
        ];
        let (envelope, text) = told(&mail, "ä@example.org", &failed);
        assert!(envelope.parameters.smtputf8);
        assert!(!text.contains("BAD-CONTENT") && !text.contains("xxxx") && !text.contains("zzzz"), "{text}");
        for part in [
            "Nicht zugestellt: =C3=BC\r\n\r\nAnother policy's words.\r\n",
            "Subject: h=C3=A9 =01\r\n",
            "Original-Recipient: rfc822; a??Status: 2.0.0\r\n",
            "Final-Recipient: utf-8; \\x{FC}\\x{2B}1@far.test\r\n",
            "Status: 5.0.0\r\nDiagnostic-Code: smtp; 554 a? b?\r\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("In-Reply-To"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    }
}
