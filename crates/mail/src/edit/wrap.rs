//! A message within a multipart/mixed, behind a text.

use std::collections::HashSet;

use bytes::Bytes;
use memchr::memmem;

use super::write::{clean_name, encode_text, parameter, structured};

/// A multipart/mixed.
pub(super) struct Mixed {
    /// The fields that describe it, each ended by CRLF.
    pub fields: Vec<String>,
    /// Its body, in pieces.
    pub body: Vec<Bytes>,
}

/// A multipart/mixed of a text and something else, with these header fields (each ended by CRLF) and this body, of which no
/// byte changes.
pub(super) fn mixed(text: &str, header: Vec<u8>, inside: Vec<Bytes>) -> Mixed {
    let (encoding, text) = encode_text(text.as_bytes());
    let boundary = boundary(&header, &inside);
    let begin = format!(
        "--{boundary}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         Content-Disposition: inline\r\n\r\n\
         {text}--{boundary}\r\n"
    );
    let mut fields = vec![structured("Content-Type", "multipart/mixed", &parameter("boundary", &boundary))];
    if !header.is_ascii() || inside.iter().any(|piece| !piece.is_ascii()) {
        fields.push("Content-Transfer-Encoding: 8bit\r\n".into());
    }
    let mut body = vec![Bytes::from(begin), header.into(), Bytes::from_static(b"\r\n")];
    body.extend(inside);
    body.push(format!("\r\n--{boundary}--\r\n").into());
    body.retain(|piece| !piece.is_empty());
    Mixed { fields, body }
}

/// The header fields of a message that is attached.
pub(super) fn message_header(subject: &str, message: &[Bytes]) -> Vec<u8> {
    /// Characters of the subject that make a name.
    const LONGEST: usize = 60;
    const UNFIT: [char; 7] = ['<', '>', ':', '"', '|', '?', '*'];
    let subject: String = subject.trim().chars().take(LONGEST).collect();
    let name = match subject.trim().is_empty() {
        true => "message.eml".to_owned(),
        false => clean_name(&format!("{}.eml", subject.trim().replace(UNFIT, "_"))),
    };
    let encoding = if message.iter().all(|piece| piece.is_ascii()) { "7bit" } else { "8bit" };
    let disposition = structured("Content-Disposition", "attachment", &parameter("filename", &name));
    format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n{disposition}")
        .into_bytes()
}

/// A boundary that does not occur in these bytes: all that look like it are found in one pass, however many there are.
fn boundary(header: &[u8], pieces: &[Bytes]) -> String {
    const MARK: &str = "=_gatepost_";
    const DIGITS: usize = 16;
    let mut known: HashSet<u64> = HashSet::new();
    let mut look = |bytes: &[u8]| {
        for at in memmem::find_iter(bytes, MARK) {
            let digits = bytes.get(at + MARK.len()..).and_then(|rest| rest.get(..DIGITS));
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            known.extend(digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
        }
    };
    match pieces {
        // What stands at the seams of several is found only once they are joined.
        [] | [_] => pieces.iter().for_each(|piece| look(piece)),
        _ => look(&pieces.concat()),
    }
    look(header);
    let mut number = 0;
    while known.contains(&number) {
        number += 1;
    }
    format!("{MARK}{number:0DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_do_not_occur() {
        let one = boundary(b"", &[]);
        assert_eq!(one.len(), 27);
        let holds = |text: &str| Bytes::from(format!("x\r\n--{text}\r\n"));
        let two = boundary(b"", &[holds(&one)]);
        let three = boundary(two.as_bytes(), &[holds(&one), Bytes::from_static(b"=_gatepost_000")]);
        let (head, tail) = three.split_at(20);
        let four = boundary(
            two.as_bytes(),
            &[holds(&one), Bytes::from(format!("\n--{head}")), Bytes::from(tail.to_owned())],
        );
        let all = HashSet::from([&one, &two, &three, &four]);
        assert_eq!(all.len(), 4, "{all:?}");
    }

    #[test]
    fn names_of_attached_messages() {
        for (subject, name) in [
            ("", "filename=\"message.eml\""),
            ("Re: a/b?", "filename=\"Re_ a_b_.eml\""),
            ("größe", "filename*=utf-8''gr%C3%B6%C3%9Fe.eml"),
        ] {
            let header = String::from_utf8(message_header(subject, &[])).expect("text");
            assert!(header.contains(name), "{header}");
        }
    }
}
