//! Compiled code of VBA modules, as far as its lines and the literals in them tell whether the source beside it is what
//! it was made of. Office runs the compiled code where its version fits, so source may say anything ("stomping").
//!
//! The form is not documented; its table of lines, behind the mark 0xCAFE, is as all versions from Office 97 on write it.

use crate::fields::{u16_le, u32_le};

/// What compiled code holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled<'a> {
    /// Lines that are not empty.
    pub(crate) lines: usize,
    /// Literals in them.
    pub(crate) literals: Vec<&'a [u8]>,
}

impl<'a> Compiled<'a> {
    /// Reads what stands before the source in a module's stream; None where no table of lines is found.
    pub(crate) fn read(cache: &'a [u8]) -> Option<Compiled<'a>> {
        const MARK: &[u8] = b"\xfe\xca\x01\x00";
        const MOST_LINES: usize = 1 << 16;
        let at = memchr::memmem::find(cache, MARK)?;
        let count = usize::from(u16_le(cache, at + 4)?);
        let code = at + 6 + count * 12 + 10;
        let mut compiled = Compiled::default();
        for place in 0..count.min(MOST_LINES) {
            let entry = at + 6 + place * 12;
            let (length, offset) = (u16_le(cache, entry + 4)?, u32_le(cache, entry + 8)?);
            if length == 0 || offset == u32::MAX {
                continue;
            }
            let start = code.checked_add(offset as usize)?;
            let Some(line) = cache.get(start..start.saturating_add(usize::from(length))) else { continue };
            compiled.lines += 1;
            literals(line, &mut compiled.literals);
        }
        Some(compiled)
    }
}

/// The literals of one line: a word that tells of one, its length, its bytes.
fn literals<'a>(line: &'a [u8], found: &mut Vec<&'a [u8]>) {
    /// The lower bits of the word, in the versions from Office 97 on.
    const LITERAL: [u16; 4] = [0xad, 0xae, 0xb6, 0xb9];
    /// Shorter ones may be numbers that look like one.
    const SHORTEST: usize = 5;
    const MOST: usize = 4096;
    let mut at = 0;
    while let (Some(word), Some(length)) = (u16_le(line, at), u16_le(line, at + 2)) {
        let length = usize::from(length);
        let literal = line.get(at + 4..at + 4 + length);
        let is_text = |text: &&[u8]| text.iter().all(|byte| (b' '..127).contains(byte));
        match literal.filter(is_text).filter(|_| LITERAL.contains(&(word & 0x3ff)) && length >= SHORTEST) {
            Some(literal) if found.len() < MOST => {
                found.push(literal);
                at += 4 + length + length % 2;
            }
            _ => at += 2,
        }
    }
}

/// A literal that compiled code has and source has not; in source, quotes inside of literals are doubled.
pub(crate) fn missing<'a>(compiled: &Compiled<'a>, source: &[u8]) -> Option<&'a [u8]> {
    compiled.literals.iter().copied().find(|literal| {
        let quoted: Vec<u8> = literal
            .iter()
            .flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'"')))
            .collect();
        memchr::memmem::find(source, &quoted).is_none()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module's cache whose lines hold one literal each; an empty text makes an empty line.
    pub(crate) fn cache(literals: &[&str]) -> Vec<u8> {
        let mut table = Vec::new();
        let mut code = Vec::new();
        for literal in literals {
            let line = match literal.len() {
                0 => Vec::new(),
                length => {
                    let mut line =
                        [&[0xb9, 0][..], &(length as u16).to_le_bytes(), literal.as_bytes()].concat();
                    line.resize(line.len().next_multiple_of(2), 0);
                    [&[0x41, 0x40, 0x12, 0x02][..], &line].concat()
                }
            };
            table.extend([0; 4]);
            table.extend((line.len() as u16).to_le_bytes());
            table.extend([0; 2]);
            table.extend((code.len() as u32).to_le_bytes());
            code.extend(line);
        }
        let count = (literals.len() as u16).to_le_bytes();
        [&[1, 22, 3, 0, 0][..], b"\xfe\xca\x01\x00", &count, &table, &[0; 10], &code].concat()
    }

    #[test]
    fn lines_and_their_literals() {
        let cache = cache(&["http://a.example", "", "say \"no\""]);
        let compiled = Compiled::read(&cache).expect("a table");
        assert_eq!(compiled.lines, 2);
        assert_eq!(compiled.literals, [&b"http://a.example"[..], b"say \"no\""]);
        assert_eq!(missing(&compiled, b"x \"http://a.example\" \"say \"\"no\"\"\""), None);
        assert_eq!(missing(&compiled, b"x \"http://a.example\""), Some(&b"say \"no\""[..]));
        assert_eq!(Compiled::read(b"nothing"), None);
        assert_eq!(Compiled::read(&cache[..12]), None);
    }
}
