//! Escapes: characters by their numbers, classes by a letter, references.

use super::class::property;
use super::{Assert, Charset, Node, Parser, Result_, decimal};
use crate::regex::set::{ByteSet, perl_class};

impl Parser<'_> {
    pub(super) fn escape(&mut self) -> Result_<Node> {
        let Some(letter) = self.peek() else { return Err(self.error("Trailing \\")) };
        self.at += 1;
        Ok(match letter {
            b'A' => Node::Assert(Assert::TextStart),
            b'z' => Node::Assert(Assert::TextEnd),
            b'Z' => Node::Assert(Assert::TextEndOrNewline),
            b'G' => Node::Assert(Assert::SearchStart),
            b'b' | b'B' if self.peek() == Some(b'{') => {
                return Err(self.error("boundaries of Unicode, \\b{...}, are not supported"));
            }
            b'b' => Node::Assert(Assert::Word),
            b'B' => Node::Assert(Assert::NotWord),
            b'K' => Node::Keep,
            b'R' => newline(),
            b'X' => Node::Alt(vec![Node::Bytes(b"\r\n".to_vec()), Node::Set(ByteSet::ALL)]),
            b'N' if self.peek() == Some(b'{') && self.braces().is_none() => {
                let code = self.named_character()?;
                self.character(code)
            }
            b'N' => Node::Set(ByteSet::of(|b| b != b'\n')),
            b'1'..=b'9' => return self.numbered(letter),
            b'g' => return self.group_reference(),
            b'k' => {
                let end = match self.peek() {
                    Some(b'<') => b'>',
                    Some(b'\'') => b'\'',
                    Some(b'{') => b'}',
                    _ => return Err(self.error("Sequence \\k... not terminated")),
                };
                self.at += 1;
                let name = self.name(end)?;
                self.backref_to(name)
            }
            _ => {
                if let Some(set) = self.class_escape(letter)? {
                    return Ok(Node::Set(set));
                }
                let code = self.code(letter, false)?;
                self.character(code)
            }
        })
    }

    /// `\1` is a reference; `\10` is one if there are so many groups, and an octal number else.
    pub(super) fn numbered(&mut self, first: u8) -> Result_<Node> {
        let digits = self.rest().iter().take(8).take_while(|b| b.is_ascii_digit()).count();
        let text = [&[first], &self.rest()[..digits]].concat();
        let number = decimal(&text).unwrap_or(u32::MAX);
        if number < 10 || number <= self.total {
            self.at += digits;
            self.highest = self.highest.max(number);
            return Ok(Node::Backref(format!("\\g{{{number}}}"), self.flags.caseless));
        }
        if first > b'7' {
            return Err(self.error("Reference to nonexistent group"));
        }
        self.at -= 1;
        let code = self.octal(3);
        Ok(self.character(code))
    }

    pub(super) fn group_reference(&mut self) -> Result_<Node> {
        let inside = if self.eat(b"{") {
            self.until(b'}')?
        } else {
            let rest = self.rest();
            let sign = usize::from(rest.first() == Some(&b'-'));
            let digits = rest[sign..].iter().take_while(|b| b.is_ascii_digit()).count();
            self.at += sign + digits;
            &rest[..sign + digits]
        };
        let text = String::from_utf8_lossy(inside);
        let text = text.trim();
        let number: Option<i64> = text.parse().ok();
        match number {
            Some(number @ 1..=65_534) => {
                self.highest = self.highest.max(u32::try_from(number).unwrap_or(u32::MAX));
                Ok(Node::Backref(format!("\\g{{{number}}}"), self.flags.caseless))
            }
            Some(number) if number < 0 && -number <= i64::from(self.captures) => {
                let absolute = i64::from(self.captures) + 1 + number;
                Ok(Node::Backref(format!("\\g{{{absolute}}}"), self.flags.caseless))
            }
            Some(_) => Err(self.error("Reference to nonexistent or unclosed group")),
            None if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.is_empty() => {
                Ok(self.backref_to(text.into()))
            }
            None => Err(self.error("Unterminated \\g{...} pattern")),
        }
    }

    /// `\d` and its like, inside and outside of brackets.
    pub(super) fn class_escape(&mut self, letter: u8) -> Result_<Option<ByteSet>> {
        let wide = self.flags.charset == Charset::Unicode;
        if matches!(letter, b'd' | b's' | b'w' | b'h' | b'v') {
            return Ok(perl_class(letter, wide));
        }
        if matches!(letter, b'D' | b'S' | b'W' | b'H' | b'V') {
            return Ok(perl_class(letter.to_ascii_lowercase(), wide).map(|set| set.complement()));
        }
        if !matches!(letter, b'p' | b'P') {
            return Ok(None);
        }
        let name = if self.eat(b"{") {
            self.until(b'}')?
        } else {
            self.at += 1;
            self.text.get(self.at - 1..self.at).unwrap_or_default()
        };
        let name = String::from_utf8_lossy(name).replace([' ', '_'], "");
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name.to_string(), letter == b'p'),
            None => (name, letter == b'P'),
        };
        match property(&name, self.flags.caseless) {
            Some(set) => Ok(Some(if negated { set.complement() } else { set })),
            None => Err(self.error(&format!("Can't find Unicode property definition \"{name}\""))),
        }
    }

    /// The character that an escape means.
    pub(super) fn code(&mut self, letter: u8, in_class: bool) -> Result_<u32> {
        Ok(match letter {
            b't' => 9,
            b'n' => 10,
            b'r' => 13,
            b'f' => 12,
            b'e' => 27,
            b'a' => 7,
            b'b' if in_class => 8,
            b'c' => {
                let Some(control) = self.peek().filter(|b| (b' '..=b'~').contains(b)) else {
                    return Err(self.error("Character following \"\\c\" must be printable ASCII"));
                };
                self.at += 1;
                u32::from(control.to_ascii_uppercase() ^ 0x40)
            }
            b'x' => self.hexadecimal()?,
            b'o' => {
                if !self.eat(b"{") {
                    return Err(self.error("Missing braces on \\o{}"));
                }
                let digits = self.until(b'}')?;
                self.number(digits, 8)?
            }
            b'0' => {
                self.at -= 1;
                self.octal(3)
            }
            b'1'..=b'7' if in_class => {
                self.at -= 1;
                self.octal(3)
            }
            b'N' if in_class && self.peek() == Some(b'{') => self.named_character()?,
            b'_' => u32::from(b'_'),
            other if other.is_ascii_alphanumeric() => {
                let place = if in_class { " in character class" } else { "" };
                return Err(
                    self.error(&format!("Unrecognized escape \\{}{place} passed through", char::from(other)))
                );
            }
            other => u32::from(other),
        })
    }

    pub(super) fn hexadecimal(&mut self) -> Result_<u32> {
        if self.eat(b"{") {
            let digits = self.until(b'}')?;
            return self.number(digits, 16);
        }
        let digits = self.rest().iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
        let text = &self.rest()[..digits];
        // `\x4` is accepted where the expression ends, or no letter or digit could be meant.
        if digits < 2 && self.rest().get(digits).is_some_and(u8::is_ascii_alphanumeric) {
            return Err(self.error("Non-hex character terminates \\x early"));
        }
        self.at += digits;
        self.number(text, 16)
    }

    pub(super) fn octal(&mut self, most: usize) -> u32 {
        let digits = self.rest().iter().take(most).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let code = self.rest()[..digits].iter().fold(0, |code, digit| code * 8 + u32::from(digit - b'0'));
        self.at += digits;
        code
    }

    pub(super) fn number(&self, digits: &[u8], radix: u32) -> Result_<u32> {
        let text: String =
            String::from_utf8_lossy(digits).chars().filter(|c| !matches!(c, ' ' | '\t' | '_')).collect();
        if text.is_empty() {
            return Ok(0);
        }
        match u32::from_str_radix(&text, radix) {
            Ok(code) if code <= 0x10_ffff && !text.starts_with('+') => Ok(code),
            _ => Err(self.error("the number of a character is not one")),
        }
    }

    pub(super) fn named_character(&mut self) -> Result_<u32> {
        self.at += 1;
        let name = self.until(b'}')?;
        match name.strip_prefix(b"U+") {
            Some(digits) => self.number(digits, 16),
            None => Err(self.error("names of characters, \\N{...}, are not supported")),
        }
    }
}

/// `\R`.
fn newline() -> Node {
    let one = Node::Set(ByteSet::of(|b| matches!(b, b'\n'..=b'\r' | 0x85)));
    Node::Atomic(Box::new(Node::Alt(vec![Node::Bytes(b"\r\n".to_vec()), one])))
}
