//! Reading the field, and knowing one that pretends to be ours.

use std::fmt;

use super::{Entry, Property, Results};
use crate::dmarc::comment_end;

/// Longest field, and most results and properties, that are read.
const LONGEST: usize = 64 << 10;
const ENTRIES: usize = 128;
const PROPERTIES: usize = 64;

/// Why a field is none that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What is missing or wrong there.
    pub what: &'static str,
    /// Where, in bytes from the value's begin.
    pub at: usize,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Unread {}

/// Reads the value of an `Authentication-Results` field, folded or not. Beyond the grammar it takes values without quotes
/// as others write them, and a semicolon at the end.
pub fn parse(value: &[u8]) -> Result<Results, Unread> {
    Scanner::of(value)?.results()
}

/// Reads the value of an `ARC-Authentication-Results` field: its instance, and the results.
pub fn parse_arc(value: &[u8]) -> Result<(u32, Results), Unread> {
    let mut scanner = Scanner::of(value)?;
    scanner.gap();
    let is_instance = scanner.keyword()?.eq_ignore_ascii_case("i");
    if !is_instance || !scanner.sign(b'=') {
        return Err(scanner.error("no i="));
    }
    scanner.gap();
    // 50 is the most there are (RFC 8617 section 4.2.1).
    let instance = scanner.keyword()?.parse().ok().filter(|instance| (1..=50).contains(instance));
    let instance = instance.ok_or_else(|| scanner.error("no instance from 1 to 50"))?;
    if !scanner.sign(b';') {
        return Err(scanner.error("no semicolon"));
    }
    Ok((instance, scanner.results()?))
}

/// Whether a field that came with a message could be taken for one of ours, and must be removed (RFC 8601 section 5).
///
/// `ids` are the names under which this and the other servers of the organization write theirs, without case. A field
/// goes if one of them stands before its results as a word of its own: as the authserv-id, but also quoted, encoded, in a
/// comment, or where the field is so broken that readers may differ. A field that names nobody goes too, and so does one
/// that is too long to be read.
pub fn must_go<'a>(value: &[u8], ids: impl IntoIterator<Item = &'a str>) -> bool {
    let mut ids = ids.into_iter();
    if value.len() > LONGEST {
        return ids.next().is_some();
    }
    let readings = readings(head(value));
    let named = readings[0].chars().any(|c| c.is_ascii_alphanumeric() || !c.is_ascii());
    !named
        || ids.any(|id| {
            let id = id.trim_end_matches('.').to_lowercase();
            !id.is_empty() && readings.iter().any(|text| has_word(text, &id))
        })
}

/// A text as readers might take it, in lower case: controls are nothing to some and space to others; encoded words are
/// decoded or not; comments and the space beside dots, or any, is left out or not.
fn readings(text: &[u8]) -> Vec<String> {
    let unquoted = || text.iter().copied().filter(|byte| !b"\"\\\x7f".contains(byte));
    let dropped: Vec<u8> = unquoted().filter(|byte| *byte >= b' ').collect();
    let spaced: Vec<u8> = unquoted().map(|byte| byte.max(b' ')).collect();
    let mut readings = Vec::with_capacity(12);
    for plain in [dropped, spaced] {
        let decoded = gatepost_mail::words::decode(&plain).into_bytes();
        for bytes in [plain, decoded] {
            let bare = without_comments(&bytes);
            let joined: Vec<u8> = bare.iter().copied().filter(|byte| *byte != b' ').collect();
            readings.extend([bytes, closed(&bare), joined]);
        }
    }
    readings.iter().map(|bytes| String::from_utf8_lossy(bytes).to_lowercase()).collect()
}

/// What stands before the results: up to the first semicolon, or a later one if the first stands in quotes or a comment.
fn head(value: &[u8]) -> &[u8] {
    let end = |at: Option<usize>| at.unwrap_or(value.len());
    let naive = end(memchr::memchr(b';', value));
    let mut scanner = Scanner { value, at: 0, comment: String::new() };
    loop {
        scanner.gap();
        match scanner.peek() {
            None => return value,
            Some(b';') => return &value[..scanner.at.max(naive)],
            Some(b'"') if scanner.quoted().is_ok() => {}
            // Not to end: the first semicolon is all there is to go by.
            Some(b'"' | b'(') => return &value[..naive],
            Some(_) => scanner.at += 1,
        }
    }
}

/// Comments taken out, so that `gw(x).example` is a name.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let (mut depth, mut out) = (0_usize, Vec::with_capacity(text.len()));
    for byte in text {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(*byte),
            _ => {}
        }
    }
    out
}

/// Space beside dots taken out, so that `gw . example 1` is a name and a version.
fn closed(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut gap = false;
    for byte in text {
        match byte {
            b' ' => gap = true,
            _ => {
                if gap && *byte != b'.' && out.last().is_some_and(|last| *last != b'.') {
                    out.push(b' ');
                }
                gap = false;
                out.push(*byte);
            }
        }
    }
    out
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut behind = text[at + word.len()..].chars();
        // A final dot changes no name; one with more behind it does.
        let next = behind.next().filter(|c| *c != '.').or_else(|| behind.next());
        !before.is_some_and(|c| is_part(c) || c == '.') && !next.is_some_and(is_part)
    })
}

struct Scanner<'a> {
    value: &'a [u8],
    at: usize,
    /// The first comment since it was last taken.
    comment: String,
}

impl<'a> Scanner<'a> {
    fn of(value: &'a [u8]) -> Result<Scanner<'a>, Unread> {
        if value.len() > LONGEST {
            return Err(Unread { what: "the field is too long", at: LONGEST });
        }
        Ok(Scanner { value, at: 0, comment: String::new() })
    }

    fn error(&self, what: &'static str) -> Unread {
        Unread { what, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn results(mut self) -> Result<Results, Unread> {
        self.gap();
        let id = self.value()?;
        if id.is_empty() {
            return Err(self.error("nobody says so"));
        }
        self.gap();
        if self.peek().is_some_and(|byte| byte.is_ascii_digit()) && self.keyword()? != "1" {
            return Err(self.error("an unknown version"));
        }
        let mut results = Results { id, entries: Vec::new() };
        self.comment.clear();
        loop {
            self.gap();
            if self.peek().is_none() {
                return Ok(results);
            }
            if !self.sign(b';') {
                return Err(self.error("no semicolon"));
            }
            self.gap();
            if self.peek().is_none() {
                return Ok(results);
            }
            if results.entries.len() == ENTRIES {
                return Err(self.error("too many results"));
            }
            let method = self.keyword()?;
            self.gap();
            if method.eq_ignore_ascii_case("none")
                && results.entries.is_empty()
                && self.peek().is_none_or(|byte| byte == b';')
            {
                continue;
            }
            let entry = self.entry(method)?;
            results.entries.push(entry);
        }
    }

    fn entry(&mut self, method: String) -> Result<Entry, Unread> {
        if self.sign(b'/') {
            self.gap();
            self.keyword()?;
        }
        if !self.sign(b'=') {
            return Err(self.error("no equals sign behind a method"));
        }
        self.gap();
        self.comment.clear();
        let mut entry = Entry { method, result: self.keyword()?, ..Entry::default() };
        loop {
            self.gap();
            if self.peek().is_none_or(|byte| byte == b';') {
                entry.comment = std::mem::take(&mut self.comment);
                return Ok(entry);
            }
            let kind = self.keyword()?;
            if self.sign(b'=') {
                self.gap();
                let value = self.value()?;
                // Others write properties without a kind; they are nothing that is registered.
                if kind.eq_ignore_ascii_case("reason") {
                    entry.reason = value;
                }
                continue;
            }
            if !self.sign(b'.') {
                return Err(self.error("no dot behind a property's kind"));
            }
            self.gap();
            let name = self.keyword()?;
            if !self.sign(b'=') {
                return Err(self.error("no equals sign behind a property"));
            }
            self.gap();
            let value = self.value()?;
            if entry.properties.len() == PROPERTIES {
                return Err(self.error("too many properties"));
            }
            entry.properties.push(Property { kind, name, value });
        }
    }

    /// Skips white space and comments; one that does not end stays.
    fn gap(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'(') => {
                    let start = self.at;
                    let Some(end) = comment_end(self.value, start) else { return };
                    if self.comment.is_empty() {
                        self.comment = String::from_utf8_lossy(&self.value[start + 1..end]).into_owned();
                    }
                    self.at = end + 1;
                }
                _ => return,
            }
        }
    }

    /// Takes a sign, with the white space before it.
    fn sign(&mut self, sign: u8) -> bool {
        let start = self.at;
        self.gap();
        let found = self.peek() == Some(sign);
        self.at = if found { self.at + 1 } else { start };
        found
    }

    fn keyword(&mut self) -> Result<String, Unread> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.error("no word"));
        }
        Ok(String::from_utf8_lossy(&self.value[start..self.at]).into_owned())
    }

    /// A quoted string, with a domain behind it if it is a local part; or all up to the next space, semicolon or comment.
    fn value(&mut self) -> Result<String, Unread> {
        let mut text = if self.peek() == Some(b'"') { self.quoted()? } else { String::new() };
        let start = self.at;
        while self.peek().is_some_and(|byte| byte > b' ' && byte != 127 && !b";()\"".contains(&byte)) {
            self.at += 1;
        }
        text.push_str(&String::from_utf8_lossy(&self.value[start..self.at]));
        Ok(text)
    }

    fn quoted(&mut self) -> Result<String, Unread> {
        let (start, mut text) = (self.at, Vec::new());
        let mut at = start + 1;
        loop {
            match self.value.get(at) {
                None => return Err(Unread { what: "a quote does not end", at: start }),
                Some(b'"') => break,
                Some(b'\\') => {
                    text.extend(self.value.get(at + 1));
                    at += 2;
                }
                // A fold inside is white space.
                Some(b'\r' | b'\n') => at += 1,
                Some(byte) => {
                    text.push(*byte);
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
