//! Charsets: from bytes to text, with what mail declares and what it means by it.

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::transfer;

/// A charset that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// One of the encodings of the WHATWG list.
    Listed(&'static Encoding),
    /// US-ASCII: bytes over 127 are wrong, and are then guessed.
    Ascii,
    /// `utf-16` without saying which end is first.
    Utf16,
    /// UTF-32, the little end first or not.
    Utf32 { little: bool },
    /// UTF-7 (RFC 2152).
    Utf7,
    /// Said to be unknown (RFC 1428): guessed.
    Unknown,
}

impl Charset {
    /// The charset of that label; None if there is none such. Case, surrounding quotes and space don't count.
    pub(crate) fn of(label: &str) -> Option<Charset> {
        let label =
            label.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).to_ascii_lowercase();
        Some(match label.as_str() {
            "us-ascii" | "ascii" | "us_ascii" | "ansi_x3.4-1968" | "iso646-us" | "iso-646" | "646" => {
                Charset::Ascii
            }
            "utf-16" | "utf16" | "unicode" | "ucs-2" | "iso-10646-ucs-2" => Charset::Utf16,
            "utf-16be" | "utf16be" => Charset::Listed(UTF_16BE),
            "utf-32" | "utf-32be" | "utf32" | "ucs-4" => Charset::Utf32 { little: false },
            "utf-32le" | "utf32le" => Charset::Utf32 { little: true },
            "utf-7" | "utf7" | "unicode-1-1-utf-7" | "x-unicode-2-0-utf-7" => Charset::Utf7,
            "unknown-8bit" | "x-unknown" | "unknown" | "x-user-defined" | "default" => Charset::Unknown,
            "utf-8-sig" | "utf8mb4" | "utf_8" | "x-utf-8" => Charset::Listed(UTF_8),
            "latin-1" | "iso-latin-1" | "cp-1252" | "ansi" => Charset::Listed(WINDOWS_1252),
            "cp949" | "ms949" | "uhc" => Charset::Listed(encoding_rs::EUC_KR),
            "cp936" | "gb_18030" => Charset::Listed(encoding_rs::GB18030),
            "cp932" | "shift-jis-2004" => Charset::Listed(encoding_rs::SHIFT_JIS),
            "cp950" => Charset::Listed(encoding_rs::BIG5),
            other => {
                let encoding = Encoding::for_label(other.as_bytes()).filter(|found| *found != REPLACEMENT)?;
                Charset::Listed(encoding)
            }
        })
    }

    /// The text, and whether all of it was in this charset.
    pub(crate) fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        match self {
            Charset::Listed(encoding) => {
                let (text, _, wrong) = encoding.decode(bytes);
                if wrong && encoding == UTF_8 { (guess(bytes), false) } else { (text, !wrong) }
            }
            Charset::Ascii => (guess(bytes), bytes.is_ascii()),
            Charset::Utf16 => {
                let (text, _, wrong) = utf16_order(bytes).decode(bytes);
                (text, !wrong)
            }
            Charset::Utf32 { little } => utf32(bytes, little),
            Charset::Utf7 => utf7(bytes),
            Charset::Unknown => (guess(bytes), true),
        }
    }

    /// Whether each byte of ASCII means itself, wherever text in it is at its beginning or behind a line break. What may be
    /// anything is taken for such.
    pub(crate) fn holds_ascii(self) -> bool {
        match self {
            Charset::Listed(encoding) => encoding != UTF_16BE && encoding != UTF_16LE,
            Charset::Ascii | Charset::Unknown => true,
            Charset::Utf16 | Charset::Utf32 { .. } | Charset::Utf7 => false,
        }
    }

    /// Whether `bytes` are in this charset.
    pub(crate) fn holds(self, bytes: &[u8]) -> bool {
        match self {
            Charset::Ascii => bytes.is_ascii(),
            Charset::Listed(encoding) if encoding == UTF_8 => std::str::from_utf8(bytes).is_ok(),
            Charset::Listed(encoding) if encoding.is_single_byte() => true,
            other => other.decode(bytes).1,
        }
    }
}

/// Text of bytes whose charset nobody said: by byte order mark, else UTF-8 if it is that, else windows-1252.
pub(crate) fn guess(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Which end comes first in UTF-16 without a mark: the side on which more of the bytes are zero is the high one.
fn utf16_order(bytes: &[u8]) -> &'static Encoding {
    let zeros = |skip: usize| bytes.iter().skip(skip).step_by(2).take(512).filter(|byte| **byte == 0).count();
    if zeros(1) > zeros(0) { UTF_16LE } else { UTF_16BE }
}

fn utf32(bytes: &[u8], little: bool) -> (Cow<'_, str>, bool) {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut good = rest.is_empty();
    // A byte order mark that reads the wrong way round tells that the label is wrong.
    let little = match words.first() {
        Some([0xff, 0xfe, 0, 0]) => true,
        Some([0, 0, 0xfe, 0xff]) => false,
        _ => little,
    };
    let mut text = String::with_capacity(words.len());
    for word in words {
        let code = if little { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) };
        match char::from_u32(code) {
            Some('\u{feff}') if text.is_empty() => {}
            Some(c) => text.push(c),
            None => {
                good = false;
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
    (text.into(), good)
}

/// UTF-7 (RFC 2152): `+base64 of UTF-16-` between plain ASCII; `+-` is a plus.
fn utf7(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let mut text = String::with_capacity(bytes.len());
    let mut good = true;
    let mut rest = bytes;
    while let Some(plus) = memchr::memchr(b'+', rest) {
        good &= rest[..plus].is_ascii();
        text.push_str(&guess(&rest[..plus]));
        rest = &rest[plus + 1..];
        let run = rest.iter().position(|byte| !transfer::is_base64(*byte)).unwrap_or(rest.len());
        if run == 0 {
            text.push('+');
            good &= rest.first() == Some(&b'-');
        } else {
            let units = transfer::base64(&rest[..run]).bytes;
            let (decoded, wrong) = UTF_16BE.decode_without_bom_handling(&units[..units.len() / 2 * 2]);
            good &= !wrong;
            text.push_str(&decoded);
        }
        rest = &rest[run..];
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
    }
    good &= rest.is_ascii();
    text.push_str(&guess(rest));
    (text.into(), good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_read() {
        let table: &[(&str, &[u8], &str, bool)] = &[
            ("utf-8", "\u{e9}".as_bytes(), "\u{e9}", true),
            (" \"UTF-8\" ", b"\xe9", "\u{e9}", false),
            ("us-ascii", b"\xe9", "\u{e9}", false),
            ("iso-8859-1", b"\xe9\x80", "\u{e9}\u{20ac}", true),
            ("koi8-r", b"\xf2", "\u{420}", true),
            ("iso-2022-jp", b"\x1b$B$\"\x1b(B", "\u{3042}", true),
            ("gb2312", b"\xc4\xe3", "\u{4f60}", true),
            ("utf-16", b"\0a\0b", "ab", true),
            ("utf-16", b"a\0b\0", "ab", true),
            ("utf-16", b"\xff\xfea\0", "a", true),
            ("utf-32", b"\0\0\0a", "a", true),
            ("utf-32le", b"a\0\0\0\0\0\x11\0", "a\u{fffd}", false),
            ("utf-7", b"Hi Mom +Jjo-! 1 +- 1 = 2", "Hi Mom \u{263a}! 1 + 1 = 2", true),
            ("utf-7", b"+AGUAeABl", "exe", true),
            ("utf-7", b"\xe9 +", "\u{e9} +", false),
            ("unknown-8bit", b"\xe9", "\u{e9}", true),
        ];
        for (label, bytes, text, good) in table {
            let charset = Charset::of(label).expect(label);
            let (found, whole) = charset.decode(bytes);
            assert_eq!((found.as_ref(), whole), (*text, *good), "{label} {bytes:?}");
            assert_eq!(charset.holds(bytes), *good, "{label} {bytes:?}");
        }
        assert_eq!(Charset::of("nonesuch"), None);
        // Encodings that the WHATWG list maps to nothing are unknown, not empty.
        assert_eq!(Charset::of("iso-2022-kr"), None);
    }
}
