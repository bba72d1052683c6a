//! What begins in one part of a mail and goes on in others: a message in pieces (RFC 2046 section 5.2.2), and base64 of one
//! file, cut up. Nobody sends that within one mail but to get past those who look at each part alone.

use std::collections::HashMap;

use bytes::Bytes;

use crate::header::{Headers, unfold};
use crate::parameters::Structured;
use crate::transfer::{self, Transfer};
use crate::{DefectKind, FileKind, Message, Origin, Part, PartId};

/// Parts put together.
pub(crate) struct Joined {
    /// The first of them.
    pub first: PartId,
    pub bytes: Bytes,
    /// It is a message; if not, a file.
    pub is_message: bool,
}

/// Joins that are made at most.
const MOST: usize = 20;

/// All that can be put together of what the first reading found.
pub(crate) fn joined(message: &Message) -> Vec<Joined> {
    let mut found = messages(message);
    found.extend(files(message));
    found.truncate(MOST);
    found
}

/// Messages of which there are several pieces.
fn messages(message: &Message) -> Vec<Joined> {
    let mut pieces: HashMap<String, Vec<(u32, PartId)>> = HashMap::new();
    for (id, part) in message.parts().filter(|(_, part)| part.declared == "message/partial") {
        let value = part.headers.get("Content-Type").map(|field| part.headers.raw_value(field));
        let field = Structured::parse(&unfold(value.unwrap_or_default()));
        let number = field.get("number").and_then(|number| number.trim().parse().ok());
        if let (Some(whole), Some(number)) = (field.get("id"), number) {
            pieces.entry(whole).or_default().push((number, id));
        }
    }
    let mut found: Vec<Joined> = Vec::new();
    for mut pieces in pieces.into_values() {
        pieces.sort_unstable();
        pieces.dedup_by_key(|(number, _)| *number);
        if pieces.len() < 2 {
            continue;
        }
        let mut bytes = Vec::new();
        for (_, id) in &pieces {
            bytes.extend_from_slice(&message.part(*id).body);
            // Pieces end where lines do; the last line break went to the boundary.
            if !bytes.ends_with(b"\n") {
                bytes.extend_from_slice(b"\r\n");
            }
        }
        found.push(Joined { first: pieces[0].1, bytes: bytes.into(), is_message: true });
    }
    found.sort_by_key(|joined| joined.first);
    found
}

/// Files of which the base64 goes on in parts behind it.
fn files(message: &Message) -> Vec<Joined> {
    let mut found = Vec::new();
    let mut run: Vec<PartId> = Vec::new();
    for (id, part) in message.parts() {
        if part.origin != Origin::Mime || part.span.is_none() || part.container {
            continue;
        }
        match run.last() {
            Some(last) if goes_on(message, run[0], *last, id) => run.push(id),
            _ => {
                found.extend(file(message, &run));
                run.clear();
                run.extend(is_base64(part).then_some(id));
            }
        }
    }
    found.extend(file(message, &run));
    found
}

/// Whether a part goes on with the base64 of the one before it: that ends within a group of four, or it ends without padding,
/// what follows is nothing by itself, and has no name of its own.
fn goes_on(message: &Message, first: PartId, last: PartId, next: PartId) -> bool {
    let [beginning, before, part] = [first, last, next].map(|id| message.part(id));
    if part.parent != before.parent || !is_base64(part) || raw_body(message, before).ends_with(b"=") {
        return false;
    }
    let is_cut = |defect: &crate::Defect| defect.kind == DefectKind::TruncatedBase64 && defect.part == last;
    if message.defects.iter().any(is_cut) {
        return true;
    }
    let stem = |part: &Part| -> String {
        part.name().unwrap_or_default().chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    let shapeless = |part: &Part| part.detected.kind == FileKind::Data;
    !shapeless(beginning) && shapeless(part) && (part.names.is_empty() || stem(part) == stem(beginning))
}

fn file(message: &Message, run: &[PartId]) -> Option<Joined> {
    let [first, _, ..] = run else { return None };
    let text: Vec<&[u8]> = run.iter().map(|id| raw_body(message, message.part(*id))).collect();
    let bytes = transfer::base64(&text.concat()).bytes.into();
    Some(Joined { first: *first, bytes, is_message: false })
}

fn is_base64(part: &Part) -> bool {
    let encoding = part.headers.text("Content-Transfer-Encoding");
    encoding.is_some_and(|encoding| Transfer::of(&encoding.to_ascii_lowercase()) == Transfer::Base64)
}

/// The body of an entity as it stands, without the white space at its end.
fn raw_body<'a>(message: &'a Message, part: &Part) -> &'a [u8] {
    let Some(span) = part.span.clone() else { return b"" };
    let (_, at, _) = Headers::parse(message.raw.slice(span.clone()));
    message.raw[span][at..].trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::base64_encode;
    use crate::{Budget, Limits};

    fn mixed(parts: &[String]) -> Message {
        let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
        let raw = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
        Message::read(raw.into(), &mut Budget::new(&Limits::default()))
    }

    fn encoded(header: &str, text: &str) -> String {
        format!("{header}Content-Transfer-Encoding: base64\r\n\r\n{text}")
    }

    #[test]
    fn a_file_that_was_cut_up() {
        let file: Vec<u8> =
            b"PK\x03\x04".iter().copied().chain((0..200).map(|n: u8| n.wrapping_mul(37))).collect();
        let text = base64_encode(&file);
        let cut = |places: &[usize], headers: &[&str]| {
            let ends = places.iter().copied().chain([text.len()]);
            let starts = [0].into_iter().chain(places.iter().copied());
            let pieces = starts.zip(ends).zip(headers);
            let parts: Vec<String> =
                pieces.map(|((from, to), header)| encoded(header, &text[from..to])).collect();
            mixed(&parts)
        };
        let named = ["Content-Type: a/b; name=x1.zip\r\n", "Content-Type: a/b; name=x2.zip\r\n"];
        let other = ["Content-Type: a/b; name=x.zip\r\n", "Content-Type: a/b; name=y.p7s\r\n"];
        for (message, whole) in [
            (cut(&[100], &["", ""]), true),
            (cut(&[101], &other), true),
            (cut(&[100], &named), true),
            (cut(&[40, 80, 121], &["", "", "", ""]), true),
            (cut(&[100], &other), false),
            (mixed(&[encoded("", &base64_encode(&file[..100])), encoded("", &text)]), false),
            (mixed(&[encoded("", &text[..100]), "\r\nx".into(), encoded("", &text[100..])]), false),
        ] {
            let found = message.parts.iter().find(|part| part.body == file);
            assert_eq!(found.is_some_and(|part| part.span.is_none()), whole, "{:?}", message.parts);
        }
    }

    #[test]
    fn a_message_in_pieces() {
        let piece = |number: &str, id: &str, text: &str| {
            format!("Content-Type: message/partial; id=\"{id}\"; number={number}; total=3\r\n\r\n{text}")
        };
        let first =
            "Subject: x\r\nContent-Type: a/b; name=x.exe\r\nContent-Transfer-Encoding: base64\r\n\r\naGlk";
        let parts = [piece("3", "1@x", "PiE="), piece("1", "1@x", first), piece("2", "1@x", "ZGVu")];
        let message = mixed(&parts);
        let whole = message.parts.iter().find(|part| &*part.body == b"hidden>!");
        assert_eq!(whole.map(|part| &part.names[..]), Some(&["x.exe".to_owned()][..]), "{:?}", message.parts);
        for parts in [
            vec![piece("1", "1@x", first)],
            vec![piece("1", "1@x", first), piece("2", "2@x", "ZGVu"), piece("x", "1@x", "ZGVu")],
        ] {
            assert!(joined(&mixed(&parts)).is_empty());
        }
    }
}
