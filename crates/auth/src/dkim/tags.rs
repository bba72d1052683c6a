//! Tag lists (RFC 6376 section 3.2), of signatures, seals and key records alike.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Most tags of a list; none in use has more than fifteen.
const TAGS: usize = 64;

/// Base64 as signers write it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A list of `name=value`, each name once.
#[derive(Debug)]
pub(crate) struct Tags<'a> {
    text: &'a str,
    list: Vec<(&'a str, Range<usize>)>,
}

impl<'a> Tags<'a> {
    /// Reads a list. The error says what is wrong with it.
    pub(crate) fn parse(text: &'a str) -> Result<Tags<'a>, String> {
        let mut tags = Tags { text, list: Vec::new() };
        let mut start = 0;
        for piece in text.split(';') {
            let end = start + piece.len();
            if !piece.trim_matches(blank).is_empty() {
                tags.add(piece, start)?;
            } else if end < text.len() {
                return Err("there is nothing between two semicolons".into());
            }
            start = end + 1;
        }
        match tags.list.is_empty() {
            true => Err("it is empty".into()),
            false => Ok(tags),
        }
    }

    fn add(&mut self, piece: &'a str, start: usize) -> Result<(), String> {
        let (name, value) = piece
            .split_once('=')
            .ok_or_else(|| format!("{:?} has no value", short(piece.trim_matches(blank))))?;
        let from = start + name.len() + 1;
        let name = name.trim_matches(blank);
        let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !good || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(format!("{:?} is no name of a tag", short(name)));
        }
        if self.list.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name}= is there twice"));
        }
        if self.list.len() == TAGS {
            return Err(format!("it has more than {TAGS} tags"));
        }
        self.list.push((name, from..from + value.len()));
        Ok(())
    }

    /// The value of a tag, without the white space around it.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.place(name).and_then(|place| self.text.get(place)).map(|value| value.trim_matches(blank))
    }

    /// Where the value stands in the text, with all white space around it.
    pub(crate) fn place(&self, name: &str) -> Option<Range<usize>> {
        self.list.iter().find(|(known, _)| *known == name).map(|(_, place)| place.clone())
    }

    /// Name of the first tag.
    pub(crate) fn first(&self) -> Option<&'a str> {
        self.list.first().map(|(name, _)| *name)
    }

    /// The value of a tag as bytes; white space inside is nothing (RFC 6376 section 3.2, base64string).
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        unbase64(value).map(Some).ok_or_else(|| format!("{name}= is not base64"))
    }

    /// The value of a tag as a number of seconds or bytes, of up to 76 digits.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if value.is_empty() || value.len() > 76 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{name}={} is no number", short(value)));
        }
        // More than fits is more than any clock or message has.
        Ok(Some(value.parse().unwrap_or(u64::MAX)))
    }

    /// The value of a tag as a list with colons between, each without white space around it.
    pub(crate) fn list(&self, name: &str) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        self.get(name).map(|value| value.split(':').map(|item| item.trim_matches(blank)))
    }
}

/// A text without any white space.
pub(crate) fn compact(text: &str) -> String {
    text.chars().filter(|&c| !blank(c)).collect()
}

/// The beginning of a text on one line, for a message about it.
pub(crate) fn short(text: &str) -> String {
    plain(text, 80)
}

/// So many characters of a text, on one line and without what a terminal or a log would take for commands.
pub(crate) fn plain(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What base64 stands for; white space inside is nothing.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(compact(text)).ok()
}

/// Base64 as it is written out.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// White space and line breaks of folding.
pub(crate) fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_or_say_what_is_wrong() {
        let tags = Tags::parse(" v=1; a = rsa-sha256 ;\r\n\tb=AA\r\n A=;h=From : To;l=12").unwrap();
        assert_eq!(tags.get("v"), Some("1"));
        assert_eq!(tags.get("a"), Some("rsa-sha256"));
        assert_eq!(tags.first(), Some("v"));
        assert_eq!(tags.bytes("b"), Ok(Some(vec![0, 0])));
        assert_eq!(tags.number("l"), Ok(Some(12)));
        assert_eq!(tags.list("h").unwrap().collect::<Vec<_>>(), ["From", "To"]);
        assert_eq!(tags.get("x"), None);
        for (text, why) in [
            ("", "it is empty"),
            (" ; ", "there is nothing between two semicolons"),
            ("v=1;;a=b", "there is nothing between two semicolons"),
            ("v=1; t; p=", "\"t\" has no value"),
            ("v=1; V=2; v=3", "v= is there twice"),
            ("=1", "\"\" is no name of a tag"),
            ("1a=1", "\"1a\" is no name of a tag"),
            ("a-b=1", "\"a-b\" is no name of a tag"),
        ] {
            assert_eq!(Tags::parse(text).unwrap_err(), why, "{text}");
        }
        let many: String = (0..65).map(|n| format!("a{n}=;")).collect();
        assert_eq!(Tags::parse(&many).unwrap_err(), "it has more than 64 tags");
    }

    #[test]
    fn numbers_larger_than_any_are_the_largest() {
        let tags = Tags::parse("x=99999999999999999999999; y=-1; z=").unwrap();
        assert_eq!(tags.number("x"), Ok(Some(u64::MAX)));
        assert_eq!(tags.number("y"), Err("y=-1 is no number".into()));
        assert_eq!(tags.number("z"), Err("z= is no number".into()));
    }
}
