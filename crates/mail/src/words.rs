//! Encoded words in header fields (RFC 2047): read leniently, written strictly.

use memchr::{memchr, memmem};

use crate::charset::{self, Charset};
use crate::transfer;

/// A header value with its encoded words decoded.
///
/// Words of the same charset that follow each other are joined before they are decoded, so that a character split
/// between two of them is whole again; white space between two words is dropped (section 6.2). Bytes outside the
/// words are read as UTF-8 if they are that, else as windows-1252. A word that cannot be decoded stays as it stands.
pub fn decode(value: &[u8]) -> String {
    decode_noting(value).0
}

/// As [`decode`]; also tells how many words could not be decoded well.
pub(crate) fn decode_noting(value: &[u8]) -> (String, usize) {
    let mut out = Out { text: String::with_capacity(value.len()), pending: None, bad: 0 };
    let mut plain = 0;
    let mut at = 0;
    while let Some(found) = memmem::find(&value[at..], b"=?") {
        let start = at + found;
        let Some((word, length)) = Word::read(&value[start..]) else {
            out.bad += usize::from(looks_meant(&value[start..]));
            at = start + 2;
            continue;
        };
        let between = &value[plain..start];
        if out.pending.is_none() || !between.iter().all(u8::is_ascii_whitespace) {
            out.flush();
            out.text.push_str(&charset::guess(between));
        }
        out.push(word, &value[start..start + length]);
        at = start + length;
        plain = at;
    }
    out.flush();
    out.text.push_str(&charset::guess(&value[plain..]));
    (out.text, out.bad)
}

/// A header value in ASCII, folded: what does not fit ASCII is put into encoded words of UTF-8, lines are at most
/// 76 columns (RFC 2047 section 2), the first being shorter for the field's name.
///
/// Line breaks are CRLF. Control characters become spaces, so a value never ends its field.
pub fn encode(value: &str) -> String {
    /// Room for the name, the colon and a space.
    const NAME: usize = 22;
    encode_from(value, NAME)
}

/// As [`encode`], where the first line already holds `column` columns.
pub fn encode_from(value: &str, column: usize) -> String {
    let clean: String = value.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    let mut out = Folder { text: String::with_capacity(clean.len() + 16), column };
    if plain_enough(clean) {
        // Runs of spaces stay with the word behind them, so that unfolding gives the same value again.
        let mut rest = clean;
        while !rest.is_empty() {
            let spaces = rest.len() - rest.trim_start_matches(' ').len();
            let word = rest[spaces..].find(' ').map_or(rest.len(), |at| spaces + at);
            out.plain(&rest[..word], spaces);
            rest = &rest[word..];
        }
        return out.text;
    }
    let bytes = clean.as_bytes();
    let special = bytes.iter().filter(|byte| !is_q_plain(**byte) && **byte != b' ').count();
    // Q triples each special byte, B adds a third to all.
    let q = special * 2 <= bytes.len() / 3;
    let mut chars = clean.chars().peekable();
    while chars.peek().is_some() {
        let word = encoded_word(&mut chars, q, LONGEST_WORD.min(out.room()));
        let word = match word {
            Some(word) => word,
            None => {
                out.fold();
                let Some(word) = encoded_word(&mut chars, q, LONGEST_WORD) else { break };
                word
            }
        };
        out.text.push_str(&word);
        out.column += word.len();
        if chars.peek().is_some() {
            out.fold();
        }
    }
    out.text
}

/// Columns of a line (RFC 2047 section 2).
const LINE: usize = 76;
/// Length of one word (RFC 2047 section 2).
const LONGEST_WORD: usize = 75;

/// An encoded word, taken apart and its transfer encoding undone.
struct Word {
    label: String,
    bytes: Vec<u8>,
    bad: bool,
}

impl Word {
    /// Reads the word that `text` begins with; also gives its length.
    fn read(text: &[u8]) -> Option<(Word, usize)> {
        let label_end = 2 + memchr(b'?', text.get(2..text.len().min(2 + 80))?)?;
        let label = std::str::from_utf8(&text[2..label_end]).ok()?;
        if label.is_empty() || label.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let encoding = text.get(label_end + 1)?.to_ascii_uppercase();
        if text.get(label_end + 2) != Some(&b'?') {
            return None;
        }
        let content_start = label_end + 3;
        let content_end = content_start + memchr(b'?', text.get(content_start..)?)?;
        if text.get(content_end + 1) != Some(&b'=') {
            return None;
        }
        let content = &text[content_start..content_end];
        let (bytes, bad) = match encoding {
            b'B' => {
                let decoded = transfer::base64(content);
                (decoded.bytes, decoded.junk > 0 || decoded.truncated)
            }
            b'Q' => q_decode(content),
            _ => return None,
        };
        // A language may stand behind an asterisk (RFC 2231 section 5).
        let label = label.split('*').next().unwrap_or_default().to_ascii_lowercase();
        Some((Word { label, bytes, bad }, content_end + 2))
    }
}

/// Whether a failed word was meant as one: `=?charset?B?` or `=?charset?Q?`.
fn looks_meant(text: &[u8]) -> bool {
    let head = &text[2..text.len().min(2 + 80)];
    memchr(b'?', head).is_some_and(|at| {
        at > 0
            && head[..at].iter().all(u8::is_ascii_graphic)
            && matches!(head.get(at + 1), Some(b'B' | b'b' | b'Q' | b'q'))
            && head.get(at + 2) == Some(&b'?')
    })
}

fn q_decode(content: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(content.len());
    let mut bad = false;
    let mut rest = content;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, ..]) if transfer::hex(*high).is_some() && transfer::hex(*low).is_some() => {
                let digit = |byte| transfer::hex(byte).unwrap_or_default();
                out.push(digit(*high) << 4 | digit(*low));
                rest = &behind[2..];
            }
            _ => {
                bad |= *first == b'=';
                out.push(*first);
            }
        }
    }
    (out, bad)
}

/// Text being put together, with the words that wait to be joined to the next.
struct Out<'a> {
    text: String,
    pending: Option<Pending<'a>>,
    bad: usize,
}

struct Pending<'a> {
    label: String,
    bytes: Vec<u8>,
    /// The word as it stands, to be shown if its charset is unknown; empty for joined words.
    raw: &'a [u8],
}

impl<'a> Out<'a> {
    fn push(&mut self, word: Word, raw: &'a [u8]) {
        self.bad += usize::from(word.bad);
        match &mut self.pending {
            Some(pending) if pending.label == word.label && Charset::of(&word.label).is_some() => {
                pending.bytes.extend_from_slice(&word.bytes);
            }
            _ => {
                self.flush();
                self.pending = Some(Pending { label: word.label, bytes: word.bytes, raw });
            }
        }
    }

    fn flush(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        match Charset::of(&pending.label) {
            Some(charset) => {
                let (text, good) = charset.decode(&pending.bytes);
                self.bad += usize::from(!good);
                self.text.push_str(&text);
            }
            None => {
                self.bad += 1;
                self.text.push_str(&charset::guess(pending.raw));
            }
        }
    }
}

/// Whether a value may stand as it is: ASCII that no reader takes for an encoded word, no word too long to fold.
fn plain_enough(value: &str) -> bool {
    /// Longest line that may go over the wire (RFC 5322 section 2.1.1), less a name.
    const LONGEST: usize = 900;
    value.is_ascii() && !value.contains("=?") && value.split(' ').all(|word| word.len() < LONGEST)
}

/// Whether a byte stands for itself in Q in any place (RFC 2047 section 5 (3)).
fn is_q_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'*' | b'+' | b'-' | b'/')
}

/// Takes as many characters as fit a word of `room` columns; None if not even one does.
fn encoded_word(chars: &mut std::iter::Peekable<std::str::Chars>, q: bool, room: usize) -> Option<String> {
    let frame = "=?UTF-8?Q?".len() + "?=".len();
    let room = room.checked_sub(frame)?;
    let mut taken = String::new();
    let mut length = 0;
    while let Some(c) = chars.peek() {
        let grown = if q {
            length
                + c.encode_utf8(&mut [0; 4])
                    .bytes()
                    .map(|byte| if q_single(byte) { 1 } else { 3 })
                    .sum::<usize>()
        } else {
            (taken.len() + c.len_utf8()).div_ceil(3) * 4
        };
        if grown > room {
            break;
        }
        length = grown;
        taken.extend(chars.next());
    }
    if taken.is_empty() {
        return None;
    }
    let content = if q { q_encode(&taken) } else { base64_encode(taken.as_bytes()) };
    Some(format!("=?UTF-8?{}?{content}?=", if q { 'Q' } else { 'B' }))
}

/// Whether a byte takes one column in Q.
fn q_single(byte: u8) -> bool {
    is_q_plain(byte) || byte == b' '
}

fn q_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('_'),
            byte if is_q_plain(byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}

pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Text that is folded as it grows.
struct Folder {
    text: String,
    column: usize,
}

impl Folder {
    fn room(&self) -> usize {
        LINE.saturating_sub(self.column)
    }

    /// Begins a continuation line.
    fn fold(&mut self) {
        self.text.push_str("\r\n ");
        self.column = 1;
    }

    /// Adds a word with the `spaces` it begins with, on a line of its own if it does not fit this one.
    fn plain(&mut self, word: &str, spaces: usize) {
        if spaces > 0 && self.column + word.len() > LINE {
            self.text.push_str("\r\n");
            self.column = 0;
        }
        self.text.push_str(word);
        self.column += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded() {
        let table: &[(&str, &str, usize)] = &[
            ("plain", "plain", 0),
            ("=?us-ascii?Q?a_b=3F?= c", "a b? c", 0),
            ("=?UTF-8?b?w6k=?=", "\u{e9}", 0),
            ("=?utf-8*fr?q?=C3=A9?=", "\u{e9}", 0),
            ("a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d", 0),
            ("=?utf-8?q?b?=x=?utf-8?q?c?=", "bxc", 0),
            // A character split between two words.
            ("=?utf-8?q?=C3?=\r\n =?utf-8?q?=A9?=", "\u{e9}", 0),
            ("=?utf-8?b?w6?= =?iso-8859-1?q?=E9?=", "\u{c3}\u{e9}", 2),
            ("\"=?utf-8?q?in quotes?=\"", "\"in quotes\"", 0),
            ("=?nonesuch?q?x?=", "=?nonesuch?q?x?=", 1),
            ("=?utf-8?q?=zz?=", "=zz", 1),
            ("=?utf-8?q?open", "=?utf-8?q?open", 1),
            ("=? what =?", "=? what =?", 0),
            ("=?utf-7?q?+AGU-?=", "e", 0),
        ];
        for (value, text, bad) in table {
            let (found, wrong) = decode_noting(value.as_bytes());
            assert_eq!((found.as_str(), wrong), (*text, *bad), "{value}");
        }
    }

    #[test]
    fn values_are_encoded_and_folded() {
        let long = "word ".repeat(30);
        let table: &[(&str, &str)] = &[
            ("", ""),
            ("plain text", "plain text"),
            ("two  spaces", "two  spaces"),
            ("no\r\nInjected: header\0", "no  Injected: header"),
            ("caf\u{e9} au lait, s'il", "=?UTF-8?B?Y2Fmw6kgYXUgbGFpdCwgcydpbA==?="),
            ("caf\u{e9} au lait avec du sucre", "=?UTF-8?Q?caf=C3=A9_au_lait_avec_du_sucre?="),
            ("\u{420}\u{443}\u{441}", "=?UTF-8?B?0KDRg9GB?="),
            ("a =?fake?=", "=?UTF-8?B?YSA9P2Zha2U/PQ==?="),
        ];
        for (value, expected) in table {
            let encoded = encode(value);
            assert_eq!(encoded, *expected, "{value}");
            assert!(!encoded.replace("\r\n ", "").contains(['\r', '\n', '\0']));
        }
        let folded = encode(&long);
        assert!(folded.split("\r\n").all(|line| line.len() <= LINE) && folded.contains("\r\n word"));
        assert_eq!(folded.replace("\r\n", ""), long.trim());
        assert!(encode(&"x".repeat(2000)).split("\r\n").all(|line| line.len() <= LINE));
        assert!(encode_from("\u{e9}", 70).starts_with("\r\n =?UTF-8?"));
    }
}
