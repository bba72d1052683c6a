//! Adding to the text of a mail.

use std::borrow::Cow;

use memchr::memmem;

use super::html;
use super::place::Standing;
use crate::charset::{self, Charset};
use crate::header::unfold;
use crate::transfer::Transfer;
use crate::{Message, Part, PartId, Place, text};

/// Whether text may be added to a message: not to one that is signed or encrypted from end to end (S/MIME, PGP), which would
/// be broken by it. A signature of the mail's sender's server (DKIM) does not count, nor does one within a mail that is
/// attached.
pub fn takes_text(message: &Message) -> bool {
    let attached = within_attached(message);
    let sealed = |(id, part): (PartId, &Part)| !attached[id.0] && is_sealed(part);
    let pgp = |id: &PartId| {
        let part = message.part(*id);
        memmem::find(&part.body, b"-----BEGIN PGP ").is_some()
    };
    !message.parts().any(sealed) && !shown(message).iter().any(pgp)
}

/// Whether a text stands in that of the mail already, in any of its forms. White space does not count, nor do marks of quoting.
pub fn holds_text(message: &Message, text: &str) -> bool {
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace() && *c != '>').collect() };
    let wanted = bare(text);
    let holds =
        |id: PartId| text::of(message.part(id)).is_some_and(|found| bare(&found.text).contains(&wanted));
    wanted.is_empty() || shown(message).into_iter().any(holds)
}

/// What shall be added.
#[derive(Clone, Copy)]
pub(super) struct Addition<'a> {
    pub text: &'a str,
    pub html: &'a str,
    pub place: Place,
}

/// Content with something added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub content: Vec<u8>,
    /// The charset that it has now, if that is another than was declared.
    pub charset: Option<&'static str>,
    /// What was added may not be written in the transfer encoding of the rest.
    pub recode: bool,
}

impl<'a> Addition<'a> {
    /// As plain text, UTF-8.
    pub fn as_text(&self) -> Cow<'a, str> {
        match self.text.trim().is_empty() {
            true => text::html(self.html).text.into(),
            false => self.text.trim_end().into(),
        }
    }

    fn as_html(&self) -> Cow<'a, str> {
        match self.html.trim().is_empty() {
            true => html::of_text(self.text).into(),
            false => self.html.trim_end().into(),
        }
    }

    /// There is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.html.trim().is_empty()
    }

    /// Another text with this one before or behind it.
    pub fn joined(&self, other: &str) -> String {
        let (own, other) = (self.as_text(), other.trim_end());
        match self.place {
            _ if other.is_empty() => format!("{own}\n"),
            Place::Top => format!("{own}\n\n{other}\n"),
            Place::Bottom => format!("{other}\n\n{own}\n"),
        }
    }

    /// Adds it to the content of a part. `charset` is the label of the content's charset.
    pub fn added_to(&self, part: &Standing, content: Vec<u8>, charset: Option<&str>) -> Added {
        match part.part.declared.as_str() {
            "text/html" => self.added_to_html(part, content, charset),
            _ => self.added_to_plain(part, content, charset),
        }
    }

    fn added_to_html(&self, part: &Standing, content: Vec<u8>, label: Option<&str>) -> Added {
        let known = label.and_then(Charset::of).unwrap_or(Charset::Unknown);
        let (content, charset) = match known.holds_ascii() {
            true => (content, None),
            false => (in_utf8(known, &content), Some("utf-8")),
        };
        let end = line_end(&content);
        let new = html::in_ascii(&self.as_html()).replace("\r\n", "\n").replace('\n', end);
        let (top, bottom) = html::ends(&content);
        let at = if self.place == Place::Top { top } else { bottom };
        // On lines of its own: the ones that are there may be long.
        let new = format!("{end}{new}{end}");
        let recode = cannot_stand(part, &content, new.as_bytes());
        Added { content: [&content[..at], new.as_bytes(), &content[at..]].concat(), charset, recode }
    }

    fn added_to_plain(&self, part: &Standing, content: Vec<u8>, label: Option<&str>) -> Added {
        let text = self.lines(is_flowed(part));
        let (mut content, new, charset) = in_one_charset(content, &text, label);
        let end = line_end(&content);
        let new = new.unwrap_or_else(|| text.into_bytes());
        let new = match end {
            "\n" => new,
            _ => with_crlf(&new),
        };
        let recode = cannot_stand(part, &content, &new);
        let end = end.as_bytes();
        if content.is_empty() {
            content = [&new, end].concat();
        } else if self.place == Place::Top {
            let mark = if content.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            content = [&content[..mark], &new, end, end, &content[mark..]].concat();
        } else {
            let ended = if content.ends_with(b"\n") { &b""[..] } else { end };
            content = [&content, ended, end, &new, end].concat();
        }
        Added { content, charset, recode }
    }

    /// The lines of the text, without what `format=flowed` would take for a mark of its own (RFC 3676 section 4.4).
    fn lines(&self, flowed: bool) -> String {
        let text = self.as_text();
        let lines = text.lines().map(|line| {
            // The line before a signature keeps its space (section 4.3).
            let line = if line == "-- " { line } else { line.trim_end() };
            let stuffed = flowed && (line.starts_with([' ', '>']) || line.starts_with("From "));
            if stuffed { format!(" {line}") } else { line.to_owned() }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The parts that a reader shows as the mail's text: of a multipart/alternative all forms, of others the first. None that is
/// attached, or stands in an attached mail. Only such as stand verbatim in the message.
pub(super) fn shown(message: &Message) -> Vec<PartId> {
    let mut texts: Vec<Vec<PartId>> = vec![Vec::new(); message.parts.len()];
    // Children stand behind their parents, so the last come first.
    for id in (0..message.parts.len()).rev().map(PartId) {
        let part = message.part(id);
        let is_text = matches!(part.declared.as_str(), "text/plain" | "text/html");
        let is_body = is_text && !part.attachment && (id.0 == 0 || part.names.is_empty());
        if is_body && message.stands(id).is_some_and(|standing| is_readable(standing.transfer())) {
            texts[id.0] = vec![id];
        }
        let Some(parent) = part.parent.filter(|parent| *parent < id && id.0 > 0) else { continue };
        let found = std::mem::take(&mut texts[id.0]);
        let outer = message.part(parent);
        if found.is_empty() || !outer.declared.starts_with("multipart/") {
            continue;
        }
        let all = &mut texts[parent.0];
        match outer.declared.as_str() {
            "multipart/alternative" => all.splice(0..0, found).for_each(drop),
            _ => *all = found,
        }
    }
    texts.into_iter().next().unwrap_or_default()
}

fn is_readable(transfer: Transfer) -> bool {
    matches!(transfer, Transfer::Identity | Transfer::Base64 | Transfer::QuotedPrintable)
}

/// For each part, whether it is or lies in a mail that is attached, or in an archive.
fn within_attached(message: &Message) -> Vec<bool> {
    let mut within = vec![false; message.parts.len()];
    for (id, part) in message.parts() {
        within[id.0] = part.parent.filter(|parent| *parent < id).is_some_and(|parent| {
            within[parent.0] || !message.part(parent).declared.starts_with("multipart/")
        });
    }
    within
}

/// Signed or encrypted (RFC 1847, RFC 8551, RFC 3156).
fn is_sealed(part: &Part) -> bool {
    let declared = part.declared.as_str();
    let types = [
        "multipart/signed",
        "multipart/encrypted",
        "application/pkcs7-mime",
        "application/x-pkcs7-mime",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-encrypted",
        "application/pgp-signature",
        "application/pgp",
    ];
    let named = |name: &String| {
        let name = name.to_ascii_lowercase();
        name.ends_with(".p7m") || name.ends_with(".p7s")
    };
    types.contains(&declared) || part.names.iter().any(named)
}

fn is_flowed(part: &Standing) -> bool {
    let value = part.headers.get("Content-Type").map(|field| part.headers.raw_value(field));
    let value = unfold(value.unwrap_or_default()).to_ascii_lowercase();
    memmem::find(&value, b"format").is_some() && memmem::find(&value, b"flowed").is_some()
}

/// How lines of the content end.
fn line_end(content: &[u8]) -> &'static str {
    let unix = memchr::memchr(b'\n', content).is_some() && memmem::find(content, b"\r\n").is_none();
    if unix { "\n" } else { "\r\n" }
}

/// Text whose lines end in CRLF, if until now they all end in LF.
pub(super) fn with_usual_lines(text: &[u8]) -> Cow<'_, [u8]> {
    if line_end(text) == "\n" { with_crlf(text).into() } else { text.into() }
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => out.extend_from_slice(&[line, b"\r\n"].concat()),
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// Content, and the text in its charset; None where that is UTF-8. Content that has a charset in which the text cannot be
/// written becomes UTF-8, which is then told.
fn in_one_charset(
    content: Vec<u8>,
    text: &str,
    label: Option<&str>,
) -> (Vec<u8>, Option<Vec<u8>>, Option<&'static str>) {
    let known = label.and_then(Charset::of).unwrap_or(Charset::Unknown);
    if let Some(new) = encoded(known, label.unwrap_or_default(), text) {
        return (content, Some(new), None);
    }
    match known {
        Charset::Ascii | Charset::Unknown if std::str::from_utf8(&content).is_ok() => {
            (content, None, Some("utf-8"))
        }
        _ => (in_utf8(known, &content), None, Some("utf-8")),
    }
}

fn in_utf8(charset: Charset, content: &[u8]) -> Vec<u8> {
    let (text, good) = charset.decode(content);
    let text = if good { text } else { best(charset, text, content) };
    text.trim_start_matches('\u{feff}').as_bytes().to_vec()
}

/// What is not in the charset that it claims to be in: as that, unless it is one of two bytes or more that it can hardly be.
fn best<'a>(charset: Charset, text: Cow<'a, str>, content: &'a [u8]) -> Cow<'a, str> {
    if charset.holds_ascii() { text } else { charset::guess(content) }
}

/// The text in a charset, if it can be written in it.
fn encoded(charset: Charset, label: &str, text: &str) -> Option<Vec<u8>> {
    match charset {
        _ if text.is_ascii() && charset.holds_ascii() => Some(text.as_bytes().to_vec()),
        Charset::Listed(encoding) if encoding.output_encoding() == encoding => {
            let (bytes, _, missing) = encoding.encode(text);
            // Those labels stand for an encoding of Windows, whose further characters not all readers know.
            let label = label.to_ascii_lowercase();
            let iso = label.contains("8859") || label.contains("latin");
            let further = iso && bytes.iter().any(|byte| (0x80..0xa0).contains(byte));
            (!missing && !further).then(|| bytes.into_owned())
        }
        _ => None,
    }
}

/// Whether what is added cannot be written as the rest is, which stands as it is in the message: it would need another
/// transfer encoding, its lines are too long, or hold what might be taken for a boundary.
fn cannot_stand(part: &Standing, content: &[u8], new: &[u8]) -> bool {
    const LONGEST: usize = 998;
    if part.transfer() != Transfer::Identity {
        return false;
    }
    let declared = part.headers.text("Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
    let eight_bit = matches!(declared.as_str(), "8bit" | "binary") || !content.is_ascii();
    let long = new.split(|byte| *byte == b'\n').any(|line| line.len() > LONGEST);
    long || (!new.is_ascii() && !eight_bit) || (part.id.0 > 0 && memmem::find(new, b"--").is_some())
}
