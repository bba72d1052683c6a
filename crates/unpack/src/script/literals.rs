//! The values that a script writes out: its string literals, put together as the script does it with constants, and its
//! lists of numbers.
//!
//! Nothing is run. One pass over the source knows literals with their escapes, `+` between them, names that hold them,
//! arrays (read as joined), and the few calls that obfuscators use on constants: `fromCharCode`, `split`, `join`,
//! `reverse`, `replace`. Whatever it does not know ends a value; a piece is a value, too.

use std::collections::HashMap;

use super::Language;

/// Shortest value that is told of, in bytes.
const SHORTEST: usize = 8;
/// Values of one script that are told of.
const MOST_VALUES: usize = 4096;
/// Numbers in a row that make a list of bytes.
const FEWEST_NUMBERS: usize = 16;
/// Longest regular expression that is passed over as one, in bytes.
const LONGEST_PATTERN: usize = 4096;

/// A value as the script would have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// The name that it has in the end, if it was given one.
    pub(crate) name: Option<Vec<u8>>,
    /// Its bytes: those of the source, and of escapes and numbers those under 256 as one byte.
    pub(crate) bytes: Vec<u8>,
    /// It stands in the source in another form: escaped, in pieces, or as numbers.
    pub(crate) built: bool,
}

/// All values of at least 8 bytes, in the order in which they end; those with names last.
pub(crate) fn values(source: &[u8], language: Language) -> Vec<Value> {
    let room = source.len().saturating_mul(4).saturating_add(1 << 20);
    let mut scan = Scan { source, language, at: 0, room, ..Scan::default() };
    scan.run();
    scan.found
}

#[derive(Default)]
struct Scan<'a> {
    source: &'a [u8],
    language: Language,
    at: usize,
    found: Vec<Value>,
    names: HashMap<&'a [u8], usize>,
    variables: Vec<Variable>,
    /// The expression being read.
    now: Vec<u8>,
    pieces: usize,
    escaped: bool,
    target: Option<Target>,
    /// An operator stands before: what follows belongs to the same value.
    joined: bool,
    lists: u32,
    numbers: Vec<u8>,
    /// A `/` would begin a regular expression.
    before_operand: bool,
    /// No regular expression begins before this place: one that was looked for from further up has no end.
    no_pattern_before: usize,
    /// Bytes that may still be put together.
    room: usize,
}

/// A name and what it holds.
struct Variable {
    name: Vec<u8>,
    bytes: Vec<u8>,
    built: bool,
    /// It went into another value.
    used: bool,
}

#[derive(Clone, Copy)]
struct Target {
    variable: usize,
    append: bool,
}

impl<'a> Scan<'a> {
    fn run(&mut self) {
        while let Some(&byte) = self.source.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => self.line_end(),
                _ if self.skip_comment(byte) => {}
                b'"' | b'\'' | b'`' if self.quotes(byte) => {
                    let (text, escaped) = self.literal(byte);
                    self.operand(&text, escaped);
                }
                b'0'..=b'9' => self.number(),
                b'_' | b'$' | b'A'..=b'Z' | b'a'..=b'z' | 0x80.. => self.word(),
                _ => self.sign(byte),
            }
        }
        self.flush();
        for variable in std::mem::take(&mut self.variables) {
            if !variable.used {
                self.tell(Some(variable.name), variable.bytes, variable.built);
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn quotes(&self, byte: u8) -> bool {
        match self.language {
            Language::Js => true,
            Language::Vb => byte == b'"',
            Language::Shell => byte != b'`',
        }
    }

    fn line_end(&mut self) {
        self.at += 1;
        let goes_on = self.language == Language::Js || self.joined || self.lists > 0;
        if !goes_on {
            self.flush();
        }
    }

    fn skip_comment(&mut self, byte: u8) -> bool {
        let rest = self.rest();
        let line = match self.language {
            Language::Js => rest.starts_with(b"//"),
            Language::Vb => byte == b'\'',
            Language::Shell => byte == b'#',
        };
        if line {
            self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            return true;
        }
        if self.language == Language::Js && rest.starts_with(b"/*") {
            self.at += memchr::memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4);
            return true;
        }
        if self.language == Language::Js
            && byte == b'/'
            && self.before_operand
            && self.at >= self.no_pattern_before
        {
            match regular_expression(rest) {
                Ok(length) => {
                    self.at += length;
                    return true;
                }
                Err(looked) => self.no_pattern_before = self.at + looked,
            }
        }
        false
    }

    /// A string literal from its opening quote; the second value tells of escapes.
    fn literal(&mut self, quote: u8) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let mut escaped = false;
        self.at += 1;
        while let Some(&byte) = self.source.get(self.at) {
            self.at += 1;
            if byte == quote {
                // Doubled, it stands for itself in these languages.
                if self.language != Language::Js && self.source.get(self.at) == Some(&quote) {
                    self.at += 1;
                    out.push(quote);
                    continue;
                }
                return (out, escaped);
            }
            if byte == b'\\' && self.language == Language::Js {
                escaped |= self.escape(&mut out);
            } else if byte == b'\n' && self.language == Language::Vb {
                return (out, escaped);
            } else {
                out.push(byte);
            }
        }
        (out, escaped)
    }

    /// An escape behind its backslash. True if it names a byte or character by number.
    fn escape(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(&kind) = self.source.get(self.at) else { return false };
        self.at += 1;
        let rest = self.rest();
        let digits = |count: usize| {
            let digits = std::str::from_utf8(rest.get(..count)?).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        match kind {
            b'x' => {
                let Some(code) = digits(2) else { return false };
                push_code(out, code);
                self.at += 2;
                return true;
            }
            b'u' => {
                let (code, length) = match rest.first() {
                    Some(b'{') => {
                        let length = rest.iter().take(10).position(|byte| *byte == b'}');
                        let Some(length) = length else { return false };
                        let text = std::str::from_utf8(&rest[1..length.max(1)]).unwrap_or_default();
                        (u32::from_str_radix(text, 16).ok(), length + 1)
                    }
                    _ => (digits(4), 4),
                };
                let Some(code) = code else { return false };
                push_code(out, code);
                self.at += length;
                return true;
            }
            b'0'..=b'7' => {
                let length = rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let octal = self.source[self.at - 1..self.at + length].iter();
                push_code(out, octal.fold(0, |sum, digit| sum * 8 + u32::from(digit - b'0')));
                self.at += length;
                return true;
            }
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'\r' if rest.first() == Some(&b'\n') => self.at += 1,
            b'\r' | b'\n' => {}
            other => out.push(other),
        }
        false
    }

    fn operand(&mut self, text: &[u8], built: bool) {
        if !self.joined && self.lists == 0 && self.pieces > 0 {
            self.flush();
        }
        if self.room < text.len() {
            return;
        }
        self.room -= text.len();
        self.now.extend_from_slice(text);
        self.pieces += 1;
        self.escaped |= built;
        self.joined = false;
        self.before_operand = false;
        self.methods();
    }

    /// Calls on a constant that give another one.
    fn methods(&mut self) {
        /// Obfuscators chain a few.
        const MOST: usize = 8;
        for _ in 0..MOST {
            let from = self.at;
            let Some(method) = self.method() else {
                self.at = from;
                return;
            };
            let cost = self.now.len();
            if self.room < cost {
                return;
            }
            self.room -= cost;
            self.escaped = true;
            match method {
                Method::Reverse => self.now.reverse(),
                Method::Without(what) => self.now = without(&self.now, &what),
            }
        }
    }

    fn method(&mut self) -> Option<Method> {
        self.take(b".")?;
        if self.take(b"split").is_some() {
            let by = self.argument()?;
            self.take(b".")?;
            if by.is_empty() && self.take(b"reverse").is_some() {
                self.take(b"(")?;
                self.take(b")")?;
                self.take(b".")?;
                self.take(b"join")?;
                return self.argument()?.is_empty().then_some(Method::Reverse);
            }
            self.take(b"join")?;
            let with = self.argument()?;
            return (!by.is_empty() && with.is_empty()).then_some(Method::Without(by));
        }
        self.take(b"replace")?;
        let _all = self.take(b"All");
        self.take(b"(")?;
        let what = self.pattern()?;
        self.take(b",")?;
        let with = self.string()?;
        self.take(b")")?;
        (!what.is_empty() && with.is_empty()).then_some(Method::Without(what))
    }

    /// Passes over `word`, with the space before it.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        let space = self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = self.source.get(self.at + space..)?;
        rest.starts_with(word).then(|| self.at += space + word.len())
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        for quote in [b'"', b'\'', b'`'] {
            if self.take(&[quote]).is_some() {
                self.at -= 1;
                return Some(self.literal(quote).0);
            }
        }
        None
    }

    /// A call's only argument, a literal.
    fn argument(&mut self) -> Option<Vec<u8>> {
        self.take(b"(")?;
        let text = self.string()?;
        self.take(b")")?;
        Some(text)
    }

    /// A literal, or a regular expression without anything special in it.
    fn pattern(&mut self) -> Option<Vec<u8>> {
        if let Some(text) = self.string() {
            return Some(text);
        }
        self.take(b"/")?;
        let near = self.rest();
        let end = memchr::memchr(b'/', &near[..near.len().min(LONGEST_PATTERN)])?;
        let text = &self.rest()[..end];
        let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\\').collect();
        let special = |byte: &u8| b"[](){}*+?.|^$".contains(byte);
        if text.len() == plain.len() && plain.iter().any(special) {
            return None;
        }
        self.at += end + 1;
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        Some(plain)
    }

    /// A number, and those that follow it with commas between.
    fn number(&mut self) {
        let (mut list, mut wide) = (Vec::new(), false);
        while let Some(code) = self.code() {
            wide |= !(-128..=255).contains(&code);
            list.push(code as u8);
            if self.take(b",").is_none() {
                break;
            }
            let space = self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.at += space;
        }
        self.before_operand = false;
        if list.is_empty() {
            self.at += 1;
            return;
        }
        if list.len() >= FEWEST_NUMBERS && !wide {
            self.numbers = list;
            self.flush();
        } else if self.joined {
            self.joined = false;
            self.flush();
        }
    }

    /// One number, decimal or hexadecimal; None without passing over anything where there is none.
    fn code(&mut self) -> Option<i64> {
        let rest = self.rest();
        let minus = usize::from(rest.first() == Some(&b'-'));
        let digits = &rest[minus..];
        let (radix, skip) = match digits {
            [b'0', b'x' | b'X', ..] => (16, 2),
            [b'&', b'h' | b'H', ..] => (16, 2),
            _ => (10, 0),
        };
        let digits = &digits[skip..];
        let length = digits.iter().take(12).take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let value = i64::from_str_radix(std::str::from_utf8(&digits[..length]).ok()?, radix).ok()?;
        self.at += minus + skip + length;
        Some(if minus == 1 { -value } else { value })
    }

    /// A name: of a call that makes text of numbers, of something assigned to, of a constant, or of something unknown.
    fn word(&mut self) {
        let rest = self.rest();
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        let word = &rest[..rest.iter().take_while(is_part).count().max(1)];
        self.at += word.len();
        if self.language == Language::Vb && word == b"_" {
            // The line goes on.
            return;
        }
        self.before_operand = matches!(word, b"return" | b"typeof" | b"case" | b"in" | b"of");
        const FROM_CODES: [&[u8]; 6] = [b"fromCharCode", b"fromCodePoint", b"chr", b"chrw", b"chr$", b"chrb"];
        if FROM_CODES.iter().any(|name| word.eq_ignore_ascii_case(name))
            && let Some(text) = self.text_of_codes()
        {
            self.operand(&text, true);
            return;
        }
        if let Some(append) = self.assignment() {
            self.flush();
            self.target = self.variable(word).map(|variable| Target { variable, append });
            self.before_operand = true;
            return;
        }
        // `String.` before `fromCharCode`, and keywords before a value.
        let prefix = matches!(
            word,
            b"String" | b"var" | b"let" | b"const" | b"window" | b"this" | b"self" | b"return"
        );
        if prefix {
            return;
        }
        let known = self.names.get(word).copied().filter(|_| self.joined || self.pieces == 0);
        match known {
            Some(variable) if self.room >= self.variables[variable].bytes.len() => {
                let known = &mut self.variables[variable];
                known.used = true;
                let (text, built) = (known.bytes.clone(), known.built);
                self.operand(&text, built);
            }
            _ => {
                self.joined = false;
                let target = self.target.filter(|_| self.pieces == 0);
                self.flush();
                self.target = target;
            }
        }
    }

    /// The numbers in brackets behind the name of a call, as text.
    fn text_of_codes(&mut self) -> Option<Vec<u8>> {
        let from = self.at;
        let mut out = Vec::new();
        let codes = (|| {
            self.take(b"(")?;
            loop {
                self.at += self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                push_code(&mut out, u32::try_from(self.code()?).ok()?);
                if self.take(b",").is_none() {
                    return self.take(b")");
                }
            }
        })();
        if codes.is_none() {
            self.at = from;
        }
        codes.map(|()| out)
    }

    /// An operator of assignment behind a name; whether it appends.
    fn assignment(&mut self) -> Option<bool> {
        let rest = self.rest().trim_ascii_start();
        let space = self.rest().len() - rest.len();
        let (append, length) = match rest {
            [b'=', b'=' | b'>', ..] => return None,
            [b'=', ..] => (false, 1),
            [b'+' | b'&', b'=', ..] => (true, 2),
            [b':', after, ..] if self.language == Language::Js && *after != b':' => (false, 1),
            _ => return None,
        };
        self.at += space + length;
        Some(append)
    }

    fn variable(&mut self, name: &'a [u8]) -> Option<usize> {
        const MOST: usize = 1 << 14;
        const LONGEST: usize = 256;
        if name.len() > LONGEST || (self.variables.len() == MOST && !self.names.contains_key(name)) {
            return None;
        }
        Some(*self.names.entry(name).or_insert_with(|| {
            let empty = Variable { name: name.to_vec(), bytes: Vec::new(), built: false, used: false };
            self.variables.push(empty);
            self.variables.len() - 1
        }))
    }

    fn sign(&mut self, byte: u8) {
        self.at += 1;
        self.before_operand = !matches!(byte, b')' | b']' | b'}');
        match byte {
            b'+' if self.pieces > 0 => self.joined = true,
            b'&' if self.pieces > 0 && self.language == Language::Vb => self.joined = true,
            b'.' => {}
            b'[' => {
                // PowerShell's `[char]77`.
                if self.rest().len() > 5 && self.rest()[..5].eq_ignore_ascii_case(b"char]") {
                    self.at += 5;
                    if let Some(code) = self.code().and_then(|code| u32::try_from(code).ok()) {
                        let mut text = Vec::new();
                        push_code(&mut text, code);
                        self.operand(&text, true);
                    }
                    return;
                }
                if self.pieces > 0 && !self.joined {
                    self.flush();
                }
                self.lists = self.lists.saturating_add(1);
            }
            b']' => {
                self.lists = self.lists.saturating_sub(1);
                self.methods_of_list();
            }
            b',' if self.lists > 0 => {}
            b'(' if self.pieces == 0 || self.joined => {}
            b')' if matches!(self.rest().trim_ascii_start().first(), Some(b'+' | b'&')) => {}
            _ => self.flush(),
        }
    }

    /// `.join("")` behind a list is what reading lists as joined amounts to.
    fn methods_of_list(&mut self) {
        let from = self.at;
        if self.pieces == 0 {
            return;
        }
        let reversed = (|| {
            self.take(b".")?;
            self.take(b"join")?;
            self.argument()
        })();
        if reversed.is_none() {
            self.at = from;
        }
        self.methods();
    }

    /// The value ends here.
    fn flush(&mut self) {
        self.joined = false;
        let text = std::mem::take(&mut self.now);
        let built = self.escaped || self.pieces > 1;
        let pieces = std::mem::take(&mut self.pieces);
        self.escaped = false;
        let target = self.target.take();
        if !self.numbers.is_empty() {
            let numbers = std::mem::take(&mut self.numbers);
            self.tell(None, numbers, true);
        }
        if pieces == 0 {
            return;
        }
        let Some(target) = target else {
            self.tell(None, text, built);
            return;
        };
        let variable = &mut self.variables[target.variable];
        if target.append {
            variable.bytes.extend_from_slice(&text);
            variable.built = true;
            return;
        }
        let before = std::mem::replace(&mut variable.bytes, text);
        let (name, used, was_built) = (variable.name.clone(), variable.used, variable.built);
        (variable.built, variable.used) = (built, false);
        if !used {
            self.tell(Some(name), before, was_built);
        }
    }

    fn tell(&mut self, name: Option<Vec<u8>>, bytes: Vec<u8>, built: bool) {
        let named = name.as_deref().is_some_and(|name| name == b"download");
        if (bytes.len() >= SHORTEST || (named && !bytes.is_empty())) && self.found.len() < MOST_VALUES {
            self.found.push(Value { name, bytes, built });
        }
    }
}

enum Method {
    Reverse,
    Without(Vec<u8>),
}

/// A character by its number: under 256 one byte, as binary data is written in scripts.
fn push_code(out: &mut Vec<u8>, code: u32) {
    match u8::try_from(code) {
        Ok(byte) => out.push(byte),
        Err(_) => {
            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn without(text: &[u8], what: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, what) {
        out.extend_from_slice(&text[from..at]);
        from = at + what.len();
    }
    out.extend_from_slice(&text[from..]);
    out
}

/// The length of a regular expression literal, which ends on its line; else how far there is none.
fn regular_expression(rest: &[u8]) -> Result<usize, usize> {
    let (mut class, mut escaped) = (false, false);
    for (place, byte) in rest.iter().enumerate().skip(1).take(LONGEST_PATTERN) {
        match byte {
            b'\n' => return Err(place),
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => class = true,
            b']' => class = false,
            b'/' if !class => return Ok(place + 1),
            _ => {}
        }
    }
    Err(LONGEST_PATTERN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(language: Language, source: &str, wanted: &[&str]) {
        let found: Vec<String> = values(source.as_bytes(), language)
            .iter()
            .map(|value| String::from_utf8_lossy(&value.bytes).into_owned())
            .collect();
        assert_eq!(found, wanted, "{source}");
    }

    #[test]
    fn what_javascript_puts_together() {
        for (source, wanted) in [
            (r#"atob("abcdefgh")"#, &["abcdefgh"][..]),
            (r#"x = 'abcd' + "efgh" + `ijkl`;"#, &["abcdefghijkl"]),
            (r#"var a="abcd"; var b = "efgh"; f(a + b);"#, &["abcdefgh"]),
            ("a = 'abcd';\na += 'efgh';\na += \"ijkl\"\n", &["abcdefghijkl"]),
            (r#"["abcd","efgh"].join("")"#, &["abcdefgh"]),
            (r#"var l = ["abcd", "efgh"]; x(l.join(''))"#, &["abcdefgh"]),
            (r#"'hgfedcba'.split('').reverse().join('')"#, &["abcdefgh"]),
            (r#"'a~b~c~d~e~f~g~h'.split("~").join('')"#, &["abcdefgh"]),
            (r#"'a##bcdefg##h'.replace(/##/g, '')"#, &["abcdefgh"]),
            (r#""\x61\142\u0063\u{64}efgh""#, &["abcdefgh"]),
            ("String.fromCharCode(97,98,99,100) + 'efgh'", &["abcdefgh"]),
            ("// \"not this one\"\n/* 'nor this one' */ 'abcdefgh'", &["abcdefgh"]),
            (r#"x.replace(/["']/g, y); f('abcdefgh')"#, &["abcdefgh"]),
            ("f('abcd\\\nefgh')", &["abcdefgh"]),
            (
                "new Uint8Array([97,98,99,100,101,0x66,103,104,97,98,99,100,101,102,103,104])",
                &["abcdefghabcdefgh"],
            ),
            ("a = unknown + 'abcdefgh' + other + 'ijklmnop'", &["abcdefgh", "ijklmnop"]),
            ("f({download: 'a.zip', other: 'abcdefgh'})", &["a.zip", "abcdefgh"]),
            ("a.download='a.js'", &["a.js"]),
            ("'never closed", &["never closed"]),
            ("((('abcd') + 'efgh'))", &["abcdefgh"]),
        ] {
            expect(Language::Js, source, wanted);
        }
    }

    #[test]
    fn other_languages() {
        for (language, source, wanted) in [
            (Language::Vb, "x = \"C:\\abc\\\" & \"defgh\" ' \"comment\"\n", &["C:\\abc\\defgh"][..]),
            (Language::Vb, "x = Chr(97) & Chr(98) & \"cdefgh\"", &["abcdefgh"]),
            (Language::Vb, "x = \"abcd\" & _\r\n  \"efgh\"\r\ny = \"ijklmnop\"", &["abcdefgh", "ijklmnop"]),
            (Language::Vb, "x = \"say \"\"hi\"\" \"", &["say \"hi\" "]),
            (Language::Shell, "$a = 'abcd' + [char]101 + \"fgh\" # 'no no no no'", &["abcdefgh"]),
        ] {
            expect(language, source, wanted);
        }
    }

    /// Values that double with each line stop at a bound.
    #[test]
    fn doubling_is_bounded() {
        let mut source = String::from("a = 'abcdefgh';");
        (0..100).for_each(|_| source.push_str("a = a + a;"));
        let made: usize = values(source.as_bytes(), Language::Js).iter().map(|value| value.bytes.len()).sum();
        assert!(made < 4 << 20, "{made}");
    }
}
