//! What mails of our own are put together from: texts for people, and the multipart/report (RFC 6522) of delivery status
//! notifications (RFC 3464) and of feedback (RFC 5965).

use std::fmt;

use gatepost_mail::encode_text;

/// Longest value of a field, in characters.
const VALUE: usize = 500;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The delivery of a message.
    Delivery,
    /// What is bad about a message.
    Feedback,
}

/// A report in three parts: for people, for programs, and the header of the message that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The fields of the mail down to those of MIME, with line ends.
    pub head: &'a str,
    /// Stands in no part.
    pub boundary: &'a str,
    /// The part for people: its fields and its content, as [`plain_part`] and [`alternatives`] give it.
    pub readable: &'a str,
    /// What kind of report it is.
    pub kind: Kind,
    /// The fields for programs, with line ends.
    pub fields: &'a str,
    /// The header of the message.
    pub header: &'a [u8],
}

/// The whole mail.
pub fn report(report: &Report) -> String {
    let Report { head, boundary, readable, fields, .. } = report;
    let (name, description, media, whose) = match report.kind {
        Kind::Delivery => {
            ("delivery-status", "Delivery report", "message/delivery-status", "undelivered message")
        }
        Kind::Feedback => ("feedback-report", "Report", "message/feedback-report", "message"),
    };
    let (encoding, header) = encode_text(report.header);
    format!(
        "{head}\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={name};\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Description: Notification\r\n\
         {readable}\r\n\
         --{boundary}\r\n\
         Content-Description: {description}\r\n\
         Content-Type: {media}\r\n\
         \r\n\
         {fields}\r\n\
         --{boundary}\r\n\
         Content-Description: Header of the {whose}\r\n\
         Content-Type: text/rfc822-headers\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         \r\n\
         {header}\r\n\
         --{boundary}--\r\n"
    )
}

/// A text for people, with the fields that describe it.
pub fn plain_part(text: &str) -> String {
    text_part("plain", text)
}

/// A text and the same in HTML (RFC 2046 section 5.1.4).
pub fn alternatives(text: &str, html: &str, boundary: &str) -> String {
    let (plain, html) = (text_part("plain", text), text_part("html", html));
    format!(
        "Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         {plain}\r\n\
         --{boundary}\r\n\
         {html}\r\n\
         --{boundary}--\r\n"
    )
}

fn text_part(subtype: &str, text: &str) -> String {
    let (encoding, text) = encode_text(text.as_bytes());
    format!(
        "Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}"
    )
}

/// What became of a message for one recipient: a group of fields behind an empty line (RFC 3464 section 2.3).
#[derive(Clone, Copy, Debug)]
pub struct Fate<'a> {
    /// Kind and address that the sender had written, where it said so.
    pub original: Option<(&'a str, &'a str)>,
    /// The recipient's address.
    pub address: &'a str,
    /// `failed`, `delayed`, `relayed` …
    pub action: &'a str,
    /// RFC 3463.
    pub status: &'a str,
    /// A reply of SMTP.
    pub diagnostic: Option<&'a str>,
}

impl fmt::Display for Fate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fate { original, address, action, status, diagnostic } = self;
        f.write_str("\r\n")?;
        if let Some((kind, address)) = original {
            write!(f, "Original-Recipient: {}; {}\r\n", printable(kind), ascii(address))?;
        }
        let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
        write!(f, "Final-Recipient: {kind}; {}\r\n", ascii(address))?;
        write!(f, "Action: {action}\r\nStatus: {}\r\n", printable(status))?;
        match diagnostic {
            Some(reply) => write!(f, "Diagnostic-Code: smtp; {}\r\n", printable(reply)),
            None => Ok(()),
        }
    }
}

/// The fields that say which message is answered, if its Message-ID is one that can be written into a field of ours.
pub fn answering(message_id: &str) -> String {
    let inner = message_id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or_default();
    let fit = inner.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte));
    match fit && (1..=200).contains(&inner.len()) {
        true => format!("In-Reply-To: {message_id}\r\nReferences: {message_id}\r\n"),
        false => String::new(),
    }
}

/// An address in ASCII: what lies beyond is written as utf-8-addr-xtext (RFC 6533 section 3).
pub fn ascii(address: &str) -> String {
    use fmt::Write as _;
    if address.is_ascii() {
        return printable(address);
    }
    let mut out = String::new();
    for c in address.chars().take(VALUE) {
        match c {
            '!'..='~' if !matches!(c, '+' | '=' | '\\') => out.push(c),
            // Writing to a String cannot fail.
            _ => write!(out, "\\x{{{:X}}}", u32::from(c)).unwrap_or_default(),
        }
    }
    out
}

/// On one line of printable ASCII.
pub fn printable(text: &str) -> String {
    text.chars().take(VALUE).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}
