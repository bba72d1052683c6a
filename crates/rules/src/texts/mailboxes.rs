//! Lists of addresses by the grammar (RFC 5322 section 3.4), up to the first error: SpamAssassin's second reading, for lists of
//! which its lenient one gets too little.

use super::address::Entry;
use super::perl::is_space;

/// No more addresses are read of one field.
const MOST: usize = 10_000;

/// The entries of a list; one without address has the whole list for its name.
pub(crate) fn parse(value: &[u8]) -> Vec<Entry> {
    let mut list = List { text: value, at: 0, entries: Vec::new(), broken: false };
    while list.entries.len() < MOST && list.next() {
        list.at += 1;
    }
    list.entries
}

struct List<'t> {
    text: &'t [u8],
    at: usize,
    entries: Vec<Entry>,
    /// A comment has no end.
    broken: bool,
}

impl List<'_> {
    /// Reads an address or a group; whether a comma follows.
    fn next(&mut self) -> bool {
        self.skip();
        while self.byte() == b';' {
            self.at += 1;
            self.skip();
        }
        if self.at == self.text.len() {
            return false;
        }
        let start = self.at;
        let phrase = self.phrase();
        match self.byte() {
            b'<' => self.bracketed(phrase),
            b':' => {
                self.at += 1;
                self.members();
            }
            _ => {
                self.at = start;
                let address = self.address();
                self.push(None, address);
            }
        }
        self.skip();
        self.byte() == b','
    }

    /// The members of a group, up to its semicolon.
    fn members(&mut self) {
        loop {
            self.skip();
            if matches!(self.byte(), b';' | 0) || self.entries.len() >= MOST {
                break;
            }
            let start = self.at;
            let phrase = self.phrase();
            if self.byte() == b'<' {
                self.bracketed(phrase);
            } else {
                self.at = start;
                let address = self.address();
                self.push(None, address);
            }
            self.skip();
            if self.byte() != b',' {
                break;
            }
            self.at += 1;
        }
        if self.byte() == b';' {
            self.at += 1;
        }
    }

    fn bracketed(&mut self, phrase: Option<Vec<u8>>) {
        self.at += 1;
        self.skip();
        if self.byte() == b'@'
            && let Some(colon) = memchr::memchr2(b':', b'>', &self.text[self.at..])
                .filter(|at| self.text[self.at + at] == b':')
        {
            self.at += colon + 1;
        }
        let address = self.address();
        if self.byte() == b'>' {
            self.at += 1;
        }
        self.push(phrase, address);
    }

    fn push(&mut self, phrase: Option<Vec<u8>>, address: Option<Vec<u8>>) {
        let (phrase, address) = if self.broken { (None, None) } else { (phrase, address) };
        let phrase = if phrase.is_none() && address.is_none() { Some(self.text.to_vec()) } else { phrase };
        self.entries.push(Entry { phrase, address });
    }

    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// White space and comments.
    fn skip(&mut self) {
        let mut depth = 0;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                _ if depth > 0 || is_space(*byte) => {}
                _ => break,
            }
            self.at += 1;
        }
        self.at = self.at.min(self.text.len());
        self.broken |= depth > 0;
    }

    /// Words and quoted strings with single spaces between.
    fn phrase(&mut self) -> Option<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        while let Some(word) = self.dotted() {
            words.push(word);
        }
        let phrase = words.join(&b' ');
        (!phrase.is_empty()).then_some(phrase)
    }

    /// An atom, or a quoted string without its quotes.
    fn word(&mut self) -> Option<Vec<u8>> {
        if self.byte() != b'"' {
            let length = self.text[self.at..].iter().take_while(|byte| is_atom(**byte)).count();
            let word = self.text[self.at..self.at + length].to_vec();
            self.at += length;
            return (length > 0).then_some(word);
        }
        let start = self.at;
        let mut word = Vec::new();
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return Some(word),
                b'\\' => {
                    word.extend(self.text.get(self.at));
                    self.at += 1;
                }
                _ => word.push(*byte),
            }
        }
        self.at = start;
        None
    }

    /// Words with dots between, around which there may be white space.
    fn dotted(&mut self) -> Option<Vec<u8>> {
        let mut words = self.word()?;
        self.skip();
        while self.byte() == b'.' {
            words.push(b'.');
            self.at += 1;
            self.skip();
            words.extend(self.word().unwrap_or_default());
            self.skip();
        }
        Some(words)
    }

    /// `local@domain`
    fn address(&mut self) -> Option<Vec<u8>> {
        self.skip();
        let local = self.dotted()?;
        if self.byte() != b'@' {
            return None;
        }
        self.at += 1;
        self.skip();
        let domain = if self.byte() == b'[' {
            let length = memchr::memchr(b']', &self.text[self.at..])? + 1;
            let literal = self.text[self.at..self.at + length].to_vec();
            self.at += length;
            literal
        } else {
            self.dotted()?
        };
        self.skip();
        let plain = local
            .split(|byte| *byte == b'.')
            .all(|atom| !atom.is_empty() && atom.iter().all(|byte| is_atom(*byte)));
        let quote: &[u8] = if plain { b"" } else { b"\"" };
        Some([quote, &local, quote, b"@", &domain].concat())
    }
}

/// Whether an octet may stand in an atom.
fn is_atom(byte: u8) -> bool {
    !is_space(byte) && !byte.is_ascii_control() && !b"()<>[]:;@\\,\".".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_up_to_the_first_error() {
        for (value, expected) in [
            ("<a@b.example", &["a@b.example"][..]),
            ("<a@b.example>,<c@d.example>", &["a@b.example", "c@d.example"]),
            ("<a@[192.0.2.1] [x]>", &["a@[192.0.2.1]"]),
            ("a@b.example c@d.example", &["a@b.example"]),
            ("Foo <a@b.example> x, c@d.example", &["a@b.example"]),
            ("G: a@b.example, c@d.example;", &["a@b.example", "c@d.example"]),
            ("<@r.example:a@b.example>, (c) c@d.example", &["a@b.example", "c@d.example"]),
            ("a@b.example, , c@d.example", &["a@b.example", "", "c@d.example"]),
            ("undisclosed-recipients:;", &[]),
            ("\"x", &[""]),
            (";a@b.example", &["a@b.example"]),
            ("x, .a@b.example", &["", ""]),
            ("a. b.@c .example", &["\"a.b.\"@c.example"]),
        ] {
            let found: Vec<_> = parse(value.as_bytes())
                .into_iter()
                .map(|entry| String::from_utf8(entry.address.unwrap_or_default()).unwrap())
                .collect();
            assert_eq!(found, expected, "{value}");
        }
    }
}
