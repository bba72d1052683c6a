//! Small things that SpamAssassin takes from Perl: what white space is, lower case, octets against characters.

use std::borrow::Cow;

use bytes::Bytes;

/// White space in octets: `\s` without Unicode rules.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// A word character in octets: `\w` without Unicode rules.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// White space in characters: `\s` with Unicode rules.
pub(crate) fn is_wide_space(c: char) -> bool {
    matches!(
        c,
        '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}'
            | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Without white space at either end.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    trim_end(text)
}

/// Without white space at the end.
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// Whether it begins with that, in any case.
pub(crate) fn starts_with(text: &[u8], begin: &[u8]) -> bool {
    text.len() >= begin.len() && text[..begin.len()].eq_ignore_ascii_case(begin)
}

/// Where that stands from `from` on, in any case; `needle` is lower case and not empty.
pub(crate) fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (first, upper) = (needle[0], needle[0].to_ascii_uppercase());
    let mut at = from;
    while let Some(step) = text.get(at..).and_then(|rest| memchr::memchr2(first, upper, rest)) {
        at += step;
        if starts_with(&text[at..], needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The lines of a text, each with its line feed.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        Some(line)
    })
}

/// A text as Perl has it: octets, or characters (here always in UTF-8).
///
/// Which of the two it is decides what counts as white space and what two texts give that are put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    /// Octets, or UTF-8.
    pub bytes: Bytes,
    /// They are characters, in UTF-8.
    pub wide: bool,
}

impl Text {
    /// Octets.
    pub(crate) fn octets(bytes: impl Into<Bytes>) -> Text {
        Text { bytes: bytes.into(), wide: false }
    }

    /// Characters.
    pub(crate) fn chars(text: impl Into<Bytes>) -> Text {
        Text { bytes: text.into(), wide: true }
    }

    /// How long it is, in octets or characters.
    pub(crate) fn len(&self) -> usize {
        if self.wide {
            self.bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
        } else {
            self.bytes.len()
        }
    }
}

/// Octets read as ISO 8859-1, in UTF-8.
pub(crate) fn widen(octets: &[u8]) -> Cow<'_, [u8]> {
    if octets.is_ascii() {
        return Cow::Borrowed(octets);
    }
    let mut out = Vec::with_capacity(octets.len() + 16);
    for byte in octets {
        push_char(&mut out, char::from(*byte));
    }
    Cow::Owned(out)
}

/// UTF-8 of characters below 256, as octets. None if there is another character.
pub(crate) fn narrow(utf8: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(utf8).ok()?;
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Puts a character behind, in UTF-8.
pub(crate) fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The characters of something that is UTF-8; where it isn't, the octet itself.
pub(crate) fn next_char(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    let wanted = match first {
        0..=0x7f => return Some((char::from(first), 1)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((char::from(first), 1)),
    };
    let read =
        text.get(..wanted).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|s| s.chars().next());
    Some(read.map_or((char::from(first), 1), |c| (c, wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_in_any_case() {
        assert_eq!(find(b"xx BounDary=", b"boundary", 0), Some(3));
        assert_eq!(find(b"bound", b"boundary", 0), None);
        assert_eq!(find(b"", b"a", 3), None);
    }

    #[test]
    fn octets_and_characters() {
        assert_eq!(widen(b"a\xe9").as_ref(), "aé".as_bytes());
        assert_eq!(narrow("aé".as_bytes()).as_deref(), Some(&b"a\xe9"[..]));
        assert_eq!(narrow("a’".as_bytes()), None);
        assert_eq!(Text::chars("é’").len(), 2);
        assert_eq!(next_char(b"\xe2\x80"), Some(('\u{e2}', 1)));
    }
}
