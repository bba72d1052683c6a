//! Classes in brackets.

use super::{Parser, Result_};
use crate::regex::set::{ByteSet, perl_class, posix_class};

impl Parser<'_> {
    pub(super) fn class(&mut self) -> Result_<ByteSet> {
        let start = self.at;
        let negated = self.eat(b"^");
        let mut set = ByteSet::EMPTY;
        let mut first = true;
        loop {
            if self.flags.extended_more && matches!(self.peek(), Some(b' ' | b'\t')) {
                self.at += 1;
                continue;
            }
            let Some(byte) = self.peek() else {
                self.at = start;
                return Err(self.error("Unmatched ["));
            };
            if byte == b']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            let (item, code) = self.class_item(&mut set)?;
            let range = self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|&b| b != b']');
            if !range {
                self.add(&mut set, item, code);
                continue;
            }
            let (Some(low), place) = (code, self.at) else {
                return Err(self.error("False [] range"));
            };
            self.at = place + 1;
            let (_, Some(high)) = self.class_item(&mut ByteSet::default())? else {
                return Err(self.error("False [] range"));
            };
            if high < low {
                return Err(self.error("Invalid [] range"));
            }
            self.add_range(&mut set, low, high);
        }
        let set = if self.flags.caseless { set.folded(self.latin()) } else { set };
        if start >= 1
            && self.text[start..self.at].starts_with(b":")
            && self.text[start..self.at].ends_with(b":]")
        {
            return Err(self.error("POSIX syntax [: :] belongs inside character classes"));
        }
        Ok(if negated { set.complement() } else { set })
    }

    /// One item of a class: a set, or a character.
    pub(super) fn class_item(&mut self, _set: &mut ByteSet) -> Result_<(ByteSet, Option<u32>)> {
        let Some(byte) = self.peek() else { return Err(self.error("Unmatched [")) };
        self.at += 1;
        if byte == b'[' && matches!(self.peek(), Some(b':' | b'=' | b'.')) {
            if let Some(set) = self.posix()? {
                return Ok((set, None));
            }
            return Ok((ByteSet::EMPTY, Some(u32::from(byte))));
        }
        if byte != b'\\' {
            return Ok((ByteSet::EMPTY, Some(u32::from(byte))));
        }
        let Some(letter) = self.peek() else { return Err(self.error("Unmatched [")) };
        self.at += 1;
        if let Some(set) = self.class_escape(letter)? {
            return Ok((set, None));
        }
        if letter == b'N' && self.peek() != Some(b'{') {
            return Err(self.error("\\N in a character class must be a named character: \\N{...}"));
        }
        Ok((ByteSet::EMPTY, Some(self.code(letter, true)?)))
    }

    pub(super) fn add(&mut self, set: &mut ByteSet, item: ByteSet, code: Option<u32>) {
        match code.map(u8::try_from) {
            None => set.join(item),
            Some(Ok(byte)) => set.add(byte),
            Some(Err(_)) => self.add_wide(code.unwrap_or_default(), set),
        }
    }

    pub(super) fn add_range(&mut self, set: &mut ByteSet, low: u32, high: u32) {
        set.join(ByteSet::of(|b| (low..=high).contains(&u32::from(b))));
        for code in [0x178, 0x1e9e, 0x39c, 0x3bc].into_iter().filter(|code| (low..=high).contains(code)) {
            self.add_wide(code, set);
        }
        self.wide |= high > 0xff;
    }

    /// `[:alpha:]` behind its bracket; `None`: it is no such class.
    pub(super) fn posix(&mut self) -> Result_<Option<ByteSet>> {
        let rest = self.rest();
        let kind = rest[0];
        let Some(end) = rest.windows(2).skip(1).position(|pair| pair == [kind, b']']).map(|end| end + 1)
        else {
            return Ok(None);
        };
        let inside = &rest[1..end];
        if !inside.iter().all(|b| b.is_ascii_alphabetic() || *b == b'^') {
            return Ok(None);
        }
        self.at += end + 2;
        if kind != b':' {
            return Err(self.error("POSIX syntax [= =] is reserved for future extensions"));
        }
        let name = inside.strip_prefix(b"^").unwrap_or(inside);
        let name = if self.flags.caseless && matches!(name, b"upper" | b"lower") { b"alpha" } else { name };
        match posix_class(name) {
            Some(set) => Ok(Some(if inside.starts_with(b"^") { set.complement() } else { set })),
            None => Err(self.error(&format!("POSIX class [:{}:] unknown", String::from_utf8_lossy(name)))),
        }
    }
}

/// `\p{name}` over Latin-1, as regex-syntax knows it.
pub(super) fn property(name: &str, caseless: bool) -> Option<ByteSet> {
    let name = match name {
        "IsAlpha" | "Alpha" | "XPosixAlpha" => "Alphabetic",
        "IsUpper" | "Upper" | "IsLower" | "Lower" | "Lu" | "Ll" if caseless => "L",
        "IsUpper" | "Upper" => "Uppercase",
        "IsLower" | "Lower" => "Lowercase",
        "IsDigit" | "Digit" => "Nd",
        "IsSpace" | "Space" | "SpacePerl" | "XPosixSpace" => "White_Space",
        "IsPunct" | "Punct" => "P",
        "IsWord" | "Word" => return perl_class(b'w', true),
        other => other.strip_prefix("Is").unwrap_or(other),
    };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'=' | b':')) {
        return None;
    }
    let hir = regex_syntax::parse(&format!("\\p{{{name}}}")).ok()?;
    let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) = hir.kind() else {
        return None;
    };
    Some(ByteSet::of(|b| {
        class.ranges().iter().any(|r| r.start() <= char::from(b) && char::from(b) <= r.end())
    }))
}
