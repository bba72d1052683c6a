//! Objects of PDF (ISO 32000-1 section 7.3), read leniently: whatever makes no sense is passed over.

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Null,
    Bool(bool),
    Number(f64),
    Name(Vec<u8>),
    String(Vec<u8>),
    Array(Vec<Object>),
    Dict(Dict),
    /// Object number.
    Reference(u32),
}

/// A dictionary, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dict(pub(super) Vec<(Vec<u8>, Object)>);

impl Dict {
    /// The value of a key; of one that stands several times, the last.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Object> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Whether a key's value is that name.
    pub(super) fn is(&self, key: &[u8], name: &[u8]) -> bool {
        self.get(key).and_then(Object::name) == Some(name)
    }
}

impl Object {
    pub(super) fn name(&self) -> Option<&[u8]> {
        if let Object::Name(name) = self { Some(name) } else { None }
    }

    pub(super) fn string(&self) -> Option<&[u8]> {
        if let Object::String(text) = self { Some(text) } else { None }
    }

    pub(super) fn dict(&self) -> Option<&Dict> {
        if let Object::Dict(dict) = self { Some(dict) } else { None }
    }

    pub(super) fn array(&self) -> Option<&[Object]> {
        if let Object::Array(array) = self { Some(array) } else { None }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Object::Number(number) if (0.0..1e15).contains(number) => Some(*number as usize),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Object::Number(number) = self { Some(*number as i64) } else { None }
    }
}

/// Reads objects from bytes.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    /// Objects that may still be kept: what is over is read and forgotten.
    room: &'a mut usize,
}

/// Arrays and dictionaries one in the other.
const DEEPEST: u32 = 64;

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, room: &'a mut usize) -> Parser<'a> {
        Parser { bytes, at, room }
    }

    /// The next object; None at the end, or where a keyword or closing bracket stands, which is not passed over.
    pub(super) fn object(&mut self) -> Option<Object> {
        self.nested(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn space(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.iter().take_while(|byte| is_space(**byte)).count();
            if self.rest().first() != Some(&b'%') {
                return;
            }
            let rest = self.rest();
            self.at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        }
    }

    fn nested(&mut self, depth: u32) -> Option<Object> {
        self.space();
        let rest = self.rest();
        match *rest.first()? {
            b'/' => {
                self.at += 1;
                Some(Object::Name(self.name()))
            }
            b'(' => Some(Object::String(self.literal())),
            b'<' if rest.get(1) == Some(&b'<') => {
                self.at += 2;
                (depth < DEEPEST).then(|| Object::Dict(self.dict(depth)))
            }
            b'<' => Some(Object::String(self.hexadecimal())),
            b'[' => {
                self.at += 1;
                (depth < DEEPEST).then(|| Object::Array(self.array(depth)))
            }
            b'+' | b'-' | b'.' | b'0'..=b'9' => Some(self.number()),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Option<Object> {
        for (word, object) in
            [(&b"true"[..], Object::Bool(true)), (b"false", Object::Bool(false)), (b"null", Object::Null)]
        {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Some(object);
            }
        }
        None
    }

    fn name(&mut self) -> Vec<u8> {
        const LONGEST: usize = 256;
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| is_regular(**byte)).count();
        self.at += length;
        let raw = &rest[..length.min(3 * LONGEST)];
        let mut name = Vec::with_capacity(raw.len());
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            match (byte, raw.get(at + 1).and_then(digit), raw.get(at + 2).and_then(digit)) {
                (b'#', Some(high), Some(low)) => {
                    name.push(high << 4 | low);
                    at += 3;
                }
                _ => {
                    name.push(byte);
                    at += 1;
                }
            }
        }
        name
    }

    fn literal(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut open = 0u32;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'(' => {
                    open += 1;
                    if open > 1 {
                        out.push(byte);
                    }
                }
                b')' if open <= 1 => return out,
                b')' => {
                    open -= 1;
                    out.push(byte);
                }
                b'\\' => self.escape(&mut out),
                b'\r' => {
                    self.at += usize::from(self.bytes.get(self.at) == Some(&b'\n'));
                    out.push(b'\n');
                }
                _ => out.push(byte),
            }
        }
        out
    }

    fn escape(&mut self, out: &mut Vec<u8>) {
        let Some(&kind) = self.bytes.get(self.at) else { return };
        self.at += 1;
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'\r' => self.at += usize::from(self.bytes.get(self.at) == Some(&b'\n')),
            b'\n' => {}
            b'0'..=b'7' => {
                let more = self.rest().iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let digits = &self.bytes[self.at - 1..self.at + more];
                let value = digits.iter().fold(0u16, |value, byte| value * 8 + u16::from(byte - b'0'));
                out.push(value.to_le_bytes()[0]);
                self.at += more;
            }
            other => out.push(other),
        }
    }

    fn hexadecimal(&mut self) -> Vec<u8> {
        self.at += 1;
        let rest = self.rest();
        let length = memchr::memchr(b'>', rest).unwrap_or(rest.len());
        self.at += (length + 1).min(rest.len());
        let mut digits = rest[..length].iter().filter_map(digit);
        let mut out = Vec::new();
        while let Some(high) = digits.next() {
            out.push(high << 4 | digits.next().unwrap_or_default());
        }
        out
    }

    fn array(&mut self, depth: u32) -> Vec<Object> {
        let mut items = Vec::new();
        loop {
            self.space();
            match self.rest().first() {
                None => return items,
                Some(b']') => {
                    self.at += 1;
                    return items;
                }
                Some(_) => {}
            }
            match self.nested(depth + 1) {
                Some(item) => self.keep(item, &mut items),
                None if self.ends() => return items,
                None => self.at += 1,
            }
        }
    }

    fn dict(&mut self, depth: u32) -> Dict {
        let mut entries = Vec::new();
        loop {
            self.space();
            let rest = self.rest();
            if rest.is_empty() {
                return Dict(entries);
            }
            if rest.starts_with(b">>") {
                self.at += 2;
                return Dict(entries);
            }
            if rest[0] != b'/' {
                if self.ends() {
                    return Dict(entries);
                }
                // Something without a key.
                let from = self.at;
                let _passed_over = self.nested(depth + 1);
                self.at = self.at.max(from + 1);
                continue;
            }
            self.at += 1;
            let key = self.name();
            let from = self.at;
            match self.nested(depth + 1) {
                Some(value) => self.keep((key, value), &mut entries),
                None if self.ends() || self.rest().starts_with(b">>") => {}
                None => self.at = self.at.max(from + 1),
            }
        }
    }

    fn keep<T>(&mut self, item: T, items: &mut Vec<T>) {
        if *self.room > 0 {
            *self.room -= 1;
            items.push(item);
        }
    }

    /// Whether the object that is open must have ended: here begins what belongs to none.
    fn ends(&self) -> bool {
        let rest = self.rest();
        [&b"endobj"[..], b"stream", b"endstream", b"xref", b"trailer"]
            .iter()
            .any(|word| rest.starts_with(word))
    }

    /// A number, or a reference.
    fn number(&mut self) -> Object {
        let number = self.plain_number();
        let from = self.at;
        if let Some(id) = number.0 {
            self.space();
            if self.rest().first().is_some_and(u8::is_ascii_digit) && self.plain_number().0.is_some() {
                self.space();
                let rest = self.rest();
                if rest.first() == Some(&b'R') && !rest.get(1).is_some_and(|byte| is_regular(*byte)) {
                    self.at += 1;
                    return Object::Reference(id);
                }
            }
            self.at = from;
        }
        Object::Number(number.1)
    }

    /// A number; the first value is there if it is one for an object.
    fn plain_number(&mut self) -> (Option<u32>, f64) {
        let rest = self.rest();
        let part = |byte: &&u8| matches!(**byte, b'+' | b'-' | b'.' | b'0'..=b'9');
        let length = rest.iter().take_while(part).count().max(1).min(rest.len());
        self.at += length;
        let text = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        (text.parse().ok(), text.parse().unwrap_or_default())
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 12 | b'\r' | b' ')
}

/// Whether a byte is one of a name, a number or a word.
pub(super) fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !b"()<>[]{}/%".contains(&byte)
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A text string (ISO 32000-1 section 7.9.2.2): UTF-16 or UTF-8 with a mark, else bytes as Latin 1.
pub(super) fn text(string: &[u8]) -> String {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match string {
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => string.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &[u8]) -> Option<Object> {
        Parser::new(source, 0, &mut 1000).object()
    }

    #[test]
    fn objects() {
        let string = |text: &[u8]| Some(Object::String(text.to_vec()));
        let name = |text: &[u8]| Object::Name(text.to_vec());
        for (source, wanted) in [
            (&b" null"[..], Some(Object::Null)),
            (b"% a comment\n true", Some(Object::Bool(true))),
            (b"-1.5", Some(Object::Number(-1.5))),
            (b"12 0 R", Some(Object::Reference(12))),
            (b"/J#61va#53cript(", Some(name(b"JavaScript"))),
            (b"(a(b)c\\)\\\\\\n\\101\\\r\nd)", string(b"a(b)c)\\\nAd")),
            (b"<48 65 6C6c 6>", string(b"Hell`")),
            (b"(never closed", string(b"never closed")),
            (
                b"[1 2 0 R /A]",
                Some(Object::Array(vec![Object::Number(1.0), Object::Reference(2), name(b"A")])),
            ),
            (
                b"<</A 1 /B<</C(d)>>>>",
                Some(Object::Dict(Dict(vec![
                    (b"A".to_vec(), Object::Number(1.0)),
                    (b"B".to_vec(), Object::Dict(Dict(vec![(b"C".to_vec(), Object::String(b"d".to_vec()))]))),
                ]))),
            ),
            (b"<</A /B endobj", Some(Object::Dict(Dict(vec![(b"A".to_vec(), name(b"B"))])))),
            (b"endobj", None),
            (b"", None),
        ] {
            assert_eq!(read(source), wanted, "{:?}", String::from_utf8_lossy(source));
        }
    }

    #[test]
    fn nesting_and_number_are_bounded() {
        assert!(read(&b"[".repeat(100_000)).is_some());
        assert!(read(&b"<</A ".repeat(100_000)).is_some());
        let many = [b"[".to_vec(), b"1 ".repeat(5000), b"]".to_vec()].concat();
        assert_eq!(read(&many).and_then(|many| many.array().map(<[Object]>::len)), Some(1000));
    }

    #[test]
    fn texts() {
        for (raw, wanted) in [
            (&b"abc\xe9"[..], "abc\u{e9}"),
            (b"\xfe\xff\0a\x20\xac", "a\u{20ac}"),
            (b"\xff\xfea\0", "a"),
            (b"\xef\xbb\xbf\xc3\xa9", "\u{e9}"),
        ] {
            assert_eq!(text(raw), wanted);
        }
    }
}
