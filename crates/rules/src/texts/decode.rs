//! Transfer encodings, decoded by SpamAssassin's rules.

use std::borrow::Cow;

use super::perl::is_space;

/// Quoted-printable: white space before line ends goes, then soft line breaks, then `=XX` is read.
pub(crate) fn quoted_printable(raw: &[u8]) -> Vec<u8> {
    hex(&joined(raw))
}

/// Without white space before line ends and without soft line breaks.
fn joined(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for line in super::perl::lines(raw) {
        let Some(text) = line.strip_suffix(b"\n") else {
            out.extend_from_slice(line);
            break;
        };
        let (text, end): (&[u8], &[u8]) = match text.strip_suffix(b"\r") {
            Some(text) => (text, b"\r\n"),
            None => (text, b"\n"),
        };
        let mut text = text;
        while let [rest @ .., b' ' | b'\t'] = text {
            text = rest;
        }
        let soft = if end.len() == 1 {
            text.strip_suffix(b"=").or_else(|| text.strip_suffix(b"=\r"))
        } else {
            text.strip_suffix(b"=")
        };
        match soft {
            Some(text) => out.extend_from_slice(text),
            None => {
                out.extend_from_slice(text);
                out.extend_from_slice(end);
            }
        }
    }
    out
}

/// With each `=XX` read.
fn hex(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        match (rest.get(at + 1).and_then(digit), rest.get(at + 2).and_then(digit)) {
            (Some(high), Some(low)) => {
                out.push(high << 4 | low);
                rest = &rest[at + 3..];
            }
            _ => {
                out.push(b'=');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Base64. Foreign characters are skipped; `=` ends it only at the end: within the text it is a zero where all else is
/// well-formed, and sixty-three where it isn't.
pub(crate) fn base64(raw: &[u8]) -> Vec<u8> {
    let mut digits = Vec::with_capacity(raw.len());
    let mut foreign = false;
    for byte in raw {
        match VALUES[usize::from(*byte)] {
            FOREIGN => foreign |= !is_space(*byte),
            value => digits.push(value),
        }
    }
    let equal_sign = if !foreign && digits.len() % 4 == 0 && digits.len() >= 2 { 0 } else { 63 };
    while digits.last() == Some(&EQUALS) {
        digits.pop();
    }
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    for value in &mut digits {
        if *value == EQUALS {
            *value = equal_sign;
        }
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    let chunks = digits.chunks_exact(4);
    let rest = chunks.remainder();
    for four in chunks {
        out.extend_from_slice(&[
            four[0] << 2 | four[1] >> 4,
            four[1] << 4 | four[2] >> 2,
            four[2] << 6 | four[3],
        ]);
    }
    if let [first, second, more @ ..] = rest {
        out.push(first << 2 | second >> 4);
        if let [third] = more {
            out.push(second << 4 | third >> 2);
        }
    }
    out
}

const EQUALS: u8 = 64;
const FOREIGN: u8 = 255;

/// The value of each octet as a digit.
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    let mut values = [FOREIGN; 256];
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

/// With CRLF made LF.
pub(crate) fn line_feeds(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memmem::find(text, b"\r\n") else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = memchr::memchr(b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        if rest.get(at + 1) != Some(&b'\n') {
            out.push(b'\r');
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_printable_as_spamassassin_reads_it() {
        for (raw, read) in [
            ("a=3Db", "a=b"),
            ("a \t\nb", "a\nb"),
            ("a= \r\nb", "ab"),
            ("=4=\n1", "A"),
            ("x=zz=", "x=zz="),
            ("end ", "end "),
            ("a \r \nb", "a \r\nb"),
        ] {
            assert_eq!(quoted_printable(raw.as_bytes()), read.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn base64_as_spamassassin_reads_it() {
        for (raw, read) in [
            ("aGVsbG8=", &b"hello"[..]),
            ("aGVs\nbG8", b"hello"),
            ("aGVsbG8", b"hello"),
            ("aG*Vs", b"hel"),
            ("YQ==YQ==", b"a\0\0a"),
            ("Y", b""),
            ("", b""),
        ] {
            assert_eq!(base64(raw.as_bytes()), read, "{raw:?}");
        }
    }

    #[test]
    fn carriage_returns_before_line_feeds_go() {
        assert_eq!(line_feeds(b"a\rb\r\n\r\r\n").as_ref(), b"a\rb\n\r\n");
        assert!(matches!(line_feeds(b"a\n"), Cow::Borrowed(_)));
    }
}
