//! Rich text (RTF 1.9.1): objects, templates, and fields that ask other programs for data.
//!
//! It is read as Word does, which takes nearly anything. What goes is taken out until nothing more is found.

use std::ops::Range;

use gatepost_mail::Budget;

use super::ooxml::is_dde;
use crate::Unreadable;
use crate::edits::Edits;

pub(super) const MAGIC: &[u8] = b"{\\rt";

/// Words that make a group of what goes.
const GROUPS: &[&[u8]] =
    &[b"objdata", b"objclass", b"objname", b"objalias", b"objsect", b"objtime", b"oleclsid", b"template"];

/// Words that go alone.
const WORDS: &[&[u8]] = &[b"objupdate", b"objautlink", b"objlink", b"objocx", b"objhtml", b"objattph"];

/// The text without objects; the pictures that stand for them stay. None if there are none.
pub(super) fn cleaned(text: &[u8], budget: &Budget) -> Result<Option<Vec<u8>>, Unreadable> {
    const ROUNDS: usize = 8;
    let mut now: Option<Vec<u8>> = None;
    for _ in 0..ROUNDS {
        let bytes = now.as_deref().unwrap_or(text);
        let edits = round(bytes, budget)?;
        if edits.is_empty() {
            return Ok(now);
        }
        now = Some(edits.apply(bytes, glue));
    }
    Err(Unreadable::Malformed("objects within objects"))
}

/// Where something goes behind a control word, a space keeps what follows from becoming part of it.
fn glue(before: &[u8], _: &[u8]) -> &'static [u8] {
    let of_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
    let word = before.iter().rev().take(64).take_while(of_word).count();
    if word > 0 && before[..before.len() - word].ends_with(b"\\") { b" " } else { b"" }
}

fn round(bytes: &[u8], budget: &Budget) -> Result<Edits, Unreadable> {
    let mut reader = Reader { bytes, at: 0, groups: Vec::new(), fields: Vec::new(), edits: Edits::default() };
    while reader.at < bytes.len() {
        reader.step(budget)?;
    }
    while !reader.groups.is_empty() {
        reader.close();
    }
    Ok(reader.edits)
}

/// A group that is open: where it begins, and whether it goes.
struct Group {
    start: usize,
    goes: bool,
}

/// The instruction of a field.
struct Field {
    depth: usize,
    text: String,
    nested: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    groups: Vec<Group>,
    fields: Vec<Field>,
    edits: Edits,
}

impl Reader<'_> {
    fn step(&mut self, budget: &Budget) -> Result<(), Unreadable> {
        const DEEPEST: usize = 1 << 16;
        match self.bytes[self.at] {
            b'{' => {
                if self.groups.len() == DEEPEST {
                    return Err(Unreadable::Malformed("groups in groups"));
                }
                if self.groups.len().is_multiple_of(64) {
                    budget.check_time()?;
                }
                self.groups.push(Group { start: self.at, goes: false });
                self.at += 1;
            }
            b'}' => {
                self.at += 1;
                self.close();
            }
            b'\\' => self.control(),
            _ => {
                let rest = &self.bytes[self.at..];
                let end = memchr::memchr3(b'{', b'}', b'\\', rest).unwrap_or(rest.len());
                self.text(&String::from_utf8_lossy(&rest[..end.min(4096)]));
                self.at += end;
            }
        }
        Ok(())
    }

    /// Ends a group. The last brace of all may be missing.
    fn close(&mut self) {
        let depth = self.groups.len();
        let Some(mut group) = self.groups.pop() else { return };
        while self.fields.last().is_some_and(|field| field.depth >= depth) {
            if let Some(field) = self.fields.pop() {
                let hides = field.nested && field.text.trim_start().to_ascii_uppercase().starts_with("QUOTE");
                group.goes |= is_dde(&field.text) || hides;
            }
        }
        if group.goes && depth > 1 {
            self.edits.replace(group.start..self.at, "");
        }
    }

    fn control(&mut self) {
        let start = self.at;
        let rest = &self.bytes[start + 1..];
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            return self.symbol();
        }
        let mut end = letters;
        if rest.get(end) == Some(&b'-') && rest.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        end += rest[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[letters..end]).unwrap_or_default().parse::<i64>().ok();
        let word = &rest[..letters];
        end += usize::from(rest.get(end) == Some(&b' '));
        self.at = start + 1 + end;
        self.word(word, number, start..start + 1 + letters);
    }

    fn word(&mut self, word: &[u8], number: Option<i64>, range: Range<usize>) {
        const MOST: usize = 64;
        let depth = self.groups.len();
        match word {
            b"bin" => self.binary(number.and_then(|length| usize::try_from(length).ok()).unwrap_or(0)),
            b"u" => {
                let code = u32::try_from(number.unwrap_or_default().rem_euclid(0x1_0000)).unwrap_or_default();
                self.text(
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]),
                );
            }
            b"fldinst" if self.fields.len() < MOST => {
                self.fields.iter_mut().for_each(|field| field.nested = true);
                self.fields.push(Field { depth, text: String::new(), nested: false });
            }
            word if GROUPS.contains(&word) => match self.groups.last_mut() {
                Some(group) if depth > 1 => group.goes = true,
                // Not all of the document goes: the word is one that nobody knows.
                _ => self.edits.replace(range.start + 1..range.start + 2, "x"),
            },
            word if WORDS.contains(&word) => self.edits.replace(range.start + 1..range.start + 2, "x"),
            _ => {}
        }
    }

    /// Raw bytes. Readers that do not know of them see text.
    fn binary(&mut self, length: usize) {
        let start = self.at;
        self.at = start.saturating_add(length).min(self.bytes.len());
        for place in memchr::memmem::find_iter(&self.bytes[start..self.at], b"\\objdata") {
            self.edits.replace(start + place + 1..start + place + 2, "x");
        }
    }

    /// A control symbol, by its one character; a character by its code is of two more.
    fn symbol(&mut self) {
        let symbol = self.bytes.get(self.at + 1).copied();
        self.at = (self.at + 2).min(self.bytes.len());
        match symbol {
            Some(b'\'') => {
                let code = self.bytes.get(self.at..self.at + 2).unwrap_or_default();
                let code = std::str::from_utf8(code).ok().and_then(|code| u8::from_str_radix(code, 16).ok());
                self.at = (self.at + 2).min(self.bytes.len());
                if let Some(code) = code {
                    self.text(char::from(code).encode_utf8(&mut [0; 4]));
                }
            }
            Some(c @ (b'\\' | b'{' | b'}')) => self.text(char::from(c).encode_utf8(&mut [0; 4])),
            Some(b'~') => self.text(" "),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        const LONGEST: usize = 8192;
        for field in self.fields.iter_mut().filter(|field| field.text.len() < LONGEST) {
            field.text.extend(text.chars().filter(|c| !matches!(c, '\r' | '\n')));
        }
    }
}
