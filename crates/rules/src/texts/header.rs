//! Header fields as SpamAssassin stores them: raw and decoded, in order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::Bytes;

use super::charset::normalize;
use super::decode::{base64, quoted_printable};
use super::perl::{is_space, starts_with, trim};

/// Names are cut after so many octets, values after so many.
const LONGEST_NAME: usize = 256;
const LONGEST_VALUE: usize = 8192;
/// No more than so many octets of header are given at once.
const LONGEST_HEADER: usize = 65536;
/// Fields behind so many, or behind so many octets of them, are not there for rules: each of some hundred rules would go through all of
/// them.
const MOST_FIELDS: usize = 10_000;
const MOST_OCTETS: usize = 1 << 20;

/// The fields of a message or of a part.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub fields: Vec<Field>,
    /// A name or value was cut, or there are more fields than are looked at.
    pub truncated: bool,
    /// There are more fields than are looked at.
    pub cut: bool,
    octets: usize,
    places: OnceLock<HashMap<Vec<u8>, Vec<usize>>>,
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    /// As written.
    pub name: Bytes,
    /// What follows the colon, line ends included.
    pub raw: Bytes,
    decoded: OnceLock<Bytes>,
}

impl Field {
    /// Unfolded, without white space at the ends, encoded words decoded, in UTF-8.
    pub(crate) fn decoded(&self) -> &Bytes {
        self.decoded.get_or_init(|| match unfolded(&self.raw) {
            Cow::Borrowed(text) => decode_bytes(self.raw.slice_ref(text), &self.name),
            Cow::Owned(text) => decode_bytes(text.into(), &self.name),
        })
    }
}

impl Header {
    /// Puts a field behind the others.
    pub(crate) fn push(&mut self, name: Bytes, raw: Bytes) {
        self.truncated |= name.len() > LONGEST_NAME || raw.len() > LONGEST_VALUE;
        let name = name.slice(..name.len().min(LONGEST_NAME));
        let raw = raw.slice(..raw.len().min(LONGEST_VALUE));
        self.octets += name.len() + raw.len();
        self.cut |= self.octets > MOST_OCTETS || self.fields.len() >= MOST_FIELDS;
        self.truncated |= self.cut;
        if !self.cut {
            self.fields.push(Field { name, raw, decoded: OnceLock::new() });
        }
    }

    /// The fields of that name, from the top.
    pub(crate) fn all<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a Field> {
        const FEW: usize = 48;
        let (few, many) = if self.fields.len() <= FEW {
            (self.fields.as_slice(), &[][..])
        } else {
            (&[][..], self.places().get(&name.to_ascii_lowercase()).map_or(&[][..], Vec::as_slice))
        };
        let few = few.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        few.chain(many.iter().map(|place| &self.fields[*place]))
    }

    fn places(&self) -> &HashMap<Vec<u8>, Vec<usize>> {
        self.places.get_or_init(|| {
            let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
            for (place, field) in self.fields.iter().enumerate() {
                places.entry(field.name.to_ascii_lowercase()).or_default().push(place);
            }
            places
        })
    }

    /// The last field of that name, decoded; nothing if there is none.
    pub(crate) fn last(&self, name: &[u8]) -> Bytes {
        self.all(name).next_back().map(|field| field.decoded().clone()).unwrap_or_default()
    }

    /// Whether it is longer than is given at once.
    pub(crate) fn is_too_long(&self) -> bool {
        let least: usize = self.fields.iter().map(|field| field.name.len() + field.raw.len() * 3 + 3).sum();
        least > LONGEST_HEADER && self.lines(false).1
    }

    /// Each field as one line `Name: value`, in order, until the whole is too long. Fields count in the order of the
    /// first of their name.
    pub(crate) fn lines(&self, raw: bool) -> (Vec<Vec<u8>>, bool) {
        let mut order: Vec<usize> = (0..self.fields.len()).collect();
        let total: usize = self.fields.iter().map(|field| field.name.len() + field.raw.len() * 3 + 3).sum();
        if total > LONGEST_HEADER {
            let mut firsts: HashMap<Vec<u8>, usize> = HashMap::new();
            let key: Vec<usize> = self
                .fields
                .iter()
                .enumerate()
                .map(|(place, field)| *firsts.entry(field.name.to_ascii_lowercase()).or_insert(place))
                .collect();
            order.sort_by_key(|place| (key[*place], *place));
        }
        let mut lines: Vec<Option<Vec<u8>>> = vec![None; self.fields.len()];
        let (mut size, mut truncated) = (0, false);
        for place in order {
            let field = &self.fields[place];
            let mut line = field.name.to_vec();
            line.extend_from_slice(b": ");
            let before = line.len();
            if raw {
                line.extend_from_slice(&spaced(&field.raw));
            } else {
                line.extend_from_slice(field.decoded());
                line.push(b'\n');
            }
            size += field.name.len() + line.len() - before + 2;
            if size > LONGEST_HEADER {
                truncated = true;
                break;
            }
            lines[place] = Some(line);
        }
        (lines.into_iter().flatten().collect(), truncated)
    }
}

/// A raw value with each line end and the white space behind it made one space.
pub(crate) fn spaced(raw: &[u8]) -> Cow<'_, [u8]> {
    let follows = |at: usize| raw.get(at + 1).is_some_and(|byte| is_space(*byte));
    if !memchr::memchr_iter(b'\n', raw).any(follows) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(step) = memchr::memchr(b'\n', &raw[at..]) {
        let line = at + step;
        if !follows(line) {
            out.extend_from_slice(&raw[at..=line]);
            at = line + 1;
            continue;
        }
        let text = &raw[at..line];
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.push(b' ');
        at = line + 1 + raw[line + 1..].iter().take_while(|byte| is_space(**byte)).count();
    }
    out.extend_from_slice(&raw[at..]);
    Cow::Owned(out)
}

/// Without folds and without white space at the ends.
fn unfolded(raw: &[u8]) -> Cow<'_, [u8]> {
    let raw = trim(raw);
    if memchr::memchr(b'\n', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(step) = memchr::memchr(b'\n', &raw[at..]) {
        let line = at + step;
        let blanks = raw[line + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let text = &raw[at..line];
        if blanks > 0 {
            out.extend_from_slice(text);
            out.push(b' ');
        } else {
            out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        }
        at = line + 1 + blanks;
    }
    out.extend_from_slice(&raw[at..]);
    Cow::Owned(out)
}

/// An unfolded value with its encoded words decoded, in UTF-8.
pub(crate) fn decode_value(value: &[u8], name: &[u8]) -> Bytes {
    let mut text = value.to_vec();
    if memchr::memchr(b'\n', &text).is_some() {
        text = unfold_loosely(&text);
    }
    decode_bytes(text.into(), name)
}

/// A fold becomes a space and what white space follows; other line ends go.
fn unfold_loosely(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(step) = memchr::memchr(b'\n', &text[at..]) {
        let line = at + step;
        let before = &text[at..line];
        out.extend_from_slice(before.strip_suffix(b"\r").unwrap_or(before));
        at = line + 1;
        if matches!(text.get(at), Some(b' ' | b'\t')) {
            out.push(b' ');
            at += 1;
        }
    }
    out.extend_from_slice(&text[at..]);
    out
}

fn decode_bytes(text: Bytes, name: &[u8]) -> Bytes {
    let text = if text.is_ascii() { text } else { normalize(text, b"UTF-8", false).bytes };
    if is_never_encoded(name) || memchr::memmem::find(&text, b"=?").is_none() {
        return text;
    }
    encoded_words(&text).into()
}

/// Fields in which `=?` means nothing.
fn is_never_encoded(name: &[u8]) -> bool {
    let others: [&[u8]; 8] = [
        b"Received",
        b"MIME-Version",
        b"References",
        b"In-Reply-To",
        b"Message-ID",
        b"Date",
        b"Resent-Message-ID",
        b"Resent-Date",
    ];
    others.iter().any(|other| name.eq_ignore_ascii_case(other)) || starts_with(name, b"List-")
}

/// Encoded words (RFC 2047) decoded: neighbours in one charset are put together before they are read.
fn encoded_words(text: &[u8]) -> Vec<u8> {
    let mut sections: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut push = |charset: Vec<u8>, part: &[u8]| match sections.last_mut() {
        Some((last, so_far)) if *last == charset => so_far.extend_from_slice(part),
        _ => sections.push((charset, part.to_vec())),
    };
    let mut at = 0;
    while at < text.len() {
        if let Some(word) = Word::at(text, at) {
            let part = match word.encoding {
                b'B' => base64(word.text),
                _ => {
                    let spaced: Vec<u8> = word
                        .text
                        .iter()
                        .flat_map(|b| if *b == b'_' { &b"=20"[..] } else { std::slice::from_ref(b) })
                        .copied()
                        .collect();
                    quoted_printable(&spaced)
                }
            };
            push(word.charset.to_ascii_lowercase(), &part);
            at = word.end;
            let next = at + text[at..].iter().take_while(|byte| is_space(**byte)).count();
            if next > at && Word::at(text, next).is_some() {
                at = next;
            }
            continue;
        }
        let plain =
            if text[at] == b'=' { 1 } else { memchr::memchr(b'=', &text[at..]).unwrap_or(text.len() - at) };
        push(Vec::new(), &text[at..at + plain]);
        at += plain;
    }
    let mut out = Vec::with_capacity(text.len());
    for (charset, part) in sections {
        match charset.as_slice() {
            b"" => out.extend_from_slice(&part),
            _ => {
                let name = charset.split(|byte| *byte == b'*').next().unwrap_or(b"");
                out.extend_from_slice(&if name.is_empty() {
                    part.into()
                } else {
                    normalize(part.into(), name, true).bytes
                });
            }
        }
    }
    out
}

/// An encoded word.
struct Word<'a> {
    charset: &'a [u8],
    /// B or Q.
    encoding: u8,
    text: &'a [u8],
    end: usize,
}

impl<'a> Word<'a> {
    fn at(text: &'a [u8], at: usize) -> Option<Word<'a>> {
        let rest = text[at..].strip_prefix(b"=?")?;
        let name =
            rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'_' | b'-')).count();
        let [b'?', encoding @ (b'b' | b'B' | b'q' | b'Q'), b'?', coded @ ..] = &rest[name..] else {
            return None;
        };
        let length = memchr::memchr(b'?', coded)?;
        if name == 0 || coded.get(length + 1) != Some(&b'=') {
            return None;
        }
        let end = at + 2 + name + 3 + length + 2;
        Some(Word {
            charset: &rest[..name],
            encoding: encoding.to_ascii_uppercase(),
            text: &coded[..length],
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (raw, name, decoded) in [
            (" plain\n", "Subject", "plain"),
            (" a\n\tb\n  c \n", "Subject", "a b c"),
            (" =?utf-8?q?caf=C3=A9_x?=\n", "Subject", "café x"),
            (" =?utf-8?b?w6k=?= =?UTF-8?Q?=C3=A9?= z\n", "Subject", "éé z"),
            (" =?utf-8?q?=C3?=\n =?utf-8?q?=A9?=\n", "Subject", "é"),
            (" =?us-ascii*en?q?Keith?=\n", "Subject", "Keith"),
            (" =?utf-8?q?x?=\n", "Message-Id", "=?utf-8?q?x?="),
            (" =?utf-8?x?y?= = z", "Subject", "=?utf-8?x?y?= = z"),
        ] {
            let mut header = Header::default();
            header.push(Bytes::from(name), Bytes::from(raw));
            assert_eq!(header.last(name.to_ascii_uppercase().as_bytes()), decoded.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn raw_lines_are_spaced() {
        assert_eq!(spaced(b" a\r\n\t b\nc\n").as_ref(), b" a b\nc\n");
        assert_eq!(spaced(b" a\n \n").as_ref(), b" a ");
    }

    #[test]
    fn many_fields_are_found_in_order() {
        let mut header = Header::default();
        for n in 0..200 {
            header.push(Bytes::from(format!("X-{}", n % 3)), Bytes::from(format!(" {n}\n")));
        }
        let found: Vec<_> = header.all(b"x-1").map(|field| field.decoded().clone()).collect();
        assert_eq!((found.len(), &found[0][..], &found[66][..]), (67, &b"1"[..], &b"199"[..]));
    }
}
