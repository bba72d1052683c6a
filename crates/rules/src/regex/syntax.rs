//! Reads a Perl regular expression into a tree whose meaning no longer depends on modifiers: every letter is the set of bytes
//! that it matches.
//!
//! Facts from perlre, perlrecharclass and perlrebackslash, as of Perl 5.36, and from trying them. What Perl warns about is an
//! error here, because SpamAssassin makes it one.

mod class;
mod escape;
mod length;

use length::has_width;
pub use length::lengths;

use super::set::{ByteSet, is_space, other_case};

/// How deep groups may stand in each other.
const MAX_DEPTH: u32 = 40;
/// The longest expression read, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;
/// The largest count in braces that Perl takes.
const MAX_COUNT: u32 = 65_534;

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Matches the empty text.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// One byte of a set.
    Set(ByteSet),
    /// A place, no bytes.
    Assert(Assert),
    /// What is in parentheses that capture.
    Capture {
        /// Its number, from 1.
        index: u32,
        /// Its name, if it has one.
        name: Option<Box<str>>,
        /// What is in it.
        node: Box<Node>,
    },
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that leads to a match.
    Alt(Vec<Node>),
    /// So many times.
    Repeat {
        /// What.
        node: Box<Node>,
        /// At least.
        min: u32,
        /// At most; `None`: without end.
        max: Option<u32>,
        /// In which order numbers are tried.
        greed: Greed,
    },
    /// `(?=`, `(?!`, `(?<=`, `(?<!`.
    Look {
        /// Whether it looks ahead.
        ahead: bool,
        /// Whether it must not match.
        negated: bool,
        /// What it looks for.
        node: Box<Node>,
    },
    /// `(?>…)`.
    Atomic(Box<Node>),
    /// `(?|…)`: alternatives whose groups have the same numbers.
    BranchReset(Vec<Node>),
    /// What a group has matched: as PCRE2 writes it, and whether case counts.
    Backref(String, bool),
    /// `(?(condition)yes|no)`; the condition as PCRE2 writes it, or a look-around.
    Conditional(Box<Condition>),
    /// `\K`: the match begins here.
    Keep,
    /// What only PCRE2 has, as it writes it: recursion, verbs.
    Verbatim(String),
}

/// The condition and its branches.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// `(1)`, `(<name>)`, `(R)`, `(DEFINE)`; empty with a look-around.
    pub written: String,
    /// The look-around that decides.
    pub look: Option<Node>,
    /// If it holds.
    pub yes: Node,
    /// If not.
    pub no: Node,
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assert {
    /// `\A`, or `^` without /m.
    TextStart,
    /// `^` with /m: at the start, or behind a newline that is not the last byte.
    LineStart,
    /// `\z`.
    TextEnd,
    /// `\Z`, or `$` without /m: at the end, or before a newline that is the last byte.
    TextEndOrNewline,
    /// `$` with /m.
    LineEnd,
    /// `\b`, of ASCII words.
    Word,
    /// `\B`.
    NotWord,
    /// `\G`: where the search began.
    SearchStart,
}

/// The order in which numbers of repetitions are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greed {
    /// Many first.
    Greedy,
    /// Few first.
    Lazy,
    /// As many as there are, and no other number.
    Possessive,
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// In Perl's words where it has some.
    pub message: String,
    /// In bytes from the start.
    pub at: usize,
}

/// An expression that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The whole of it.
    pub node: Node,
    /// How many groups capture.
    pub captures: u32,
    /// Names of groups, in order, each once.
    pub names: Vec<Box<str>>,
    /// Whether a character beyond `\xff` stands in it, which no octet is.
    pub wide: bool,
}

/// Reads the text between the delimiters, under the modifiers behind them.
pub fn parse(text: &[u8], modifiers: &[u8]) -> Result<Parsed, SyntaxError> {
    if text.len() > MAX_LENGTH {
        return Err(SyntaxError {
            message: format!("expression longer than {MAX_LENGTH} bytes"),
            at: MAX_LENGTH,
        });
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        flags: Flags::default(),
        captures: 0,
        total: count_groups(text),
        names: Vec::new(),
        referred: Vec::new(),
        highest: 0,
        wide: false,
    };
    parser.modifiers(modifiers)?;
    let node = parser.alternation()?;
    if parser.at < text.len() {
        return Err(parser.error("Unmatched )"));
    }
    if parser.highest > parser.captures {
        return Err(parser.error("Reference to nonexistent group"));
    }
    if parser.referred.iter().any(|name| !parser.names.contains(name)) {
        return Err(parser.error("Reference to nonexistent named group"));
    }
    Ok(Parsed { node, captures: parser.captures, names: parser.names, wide: parser.wide })
}

/// Which bytes letters and classes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Charset {
    /// /a, /aa: what SpamAssassin sets.
    #[default]
    Ascii,
    /// /u.
    Unicode,
    /// /d, /l: octets beyond ASCII have no case.
    Plain,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    caseless: bool,
    lines: bool,
    dots: bool,
    extended: bool,
    extended_more: bool,
    no_capture: bool,
    charset: Charset,
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    flags: Flags,
    captures: u32,
    total: u32,
    names: Vec<Box<str>>,
    referred: Vec<Box<str>>,
    highest: u32,
    wide: bool,
}

type Result_<T> = Result<T, SyntaxError>;

impl<'a> Parser<'a> {
    fn error(&self, message: &str) -> SyntaxError {
        SyntaxError { message: message.to_string(), at: self.at.min(self.text.len()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    fn eat(&mut self, what: &[u8]) -> bool {
        let there = self.rest().starts_with(what);
        if there {
            self.at += what.len();
        }
        there
    }

    /// What stands before the next `end`, which is skipped.
    fn until(&mut self, end: u8) -> Result_<&'a [u8]> {
        let rest = self.rest();
        match rest.iter().position(|&byte| byte == end) {
            Some(place) => {
                self.at += place + 1;
                Ok(&rest[..place])
            }
            None => Err(self.error(&format!("Missing {}", char::from(end)))),
        }
    }

    fn modifiers(&mut self, letters: &[u8]) -> Result_<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut flags = self.flags;
        for &letter in letters {
            self.modifier(letter, true, &mut flags)?;
        }
        self.flags = flags;
        Ok(())
    }

    fn modifier(&self, letter: u8, on: bool, flags: &mut Flags) -> Result_<()> {
        match letter {
            b'i' => flags.caseless = on,
            b'm' => flags.lines = on,
            b's' => flags.dots = on,
            b'x' if on && flags.extended => flags.extended_more = true,
            b'x' => (flags.extended, flags.extended_more) = (on, false),
            b'n' => flags.no_capture = on,
            b'p' if on => {}
            b'a' if on => flags.charset = Charset::Ascii,
            b'u' if on => flags.charset = Charset::Unicode,
            b'd' | b'l' if on => flags.charset = Charset::Plain,
            b'g' | b'c' | b'o' => return Err(self.error(&format!("Useless (?{})", char::from(letter)))),
            other => return Err(self.error(&format!("Sequence (?{}...) not recognized", char::from(other)))),
        }
        Ok(())
    }

    fn alternation(&mut self) -> Result_<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("groups stand too deep in each other"));
        }
        let mut branches = vec![self.sequence()?];
        while self.eat(b"|") {
            branches.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Alt(branches) })
    }

    fn sequence(&mut self) -> Result_<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        loop {
            self.skip_blanks()?;
            let start = self.at;
            match self.peek() {
                None | Some(b'|' | b')') => break,
                Some(_) => {}
            }
            let Some(atom) = self.atom(start)? else { continue };
            nodes.push(self.quantified(atom)?);
        }
        Ok(joined(nodes))
    }

    /// White space and comments under /x, and `(?#…)` always.
    fn skip_blanks(&mut self) -> Result_<()> {
        loop {
            match self.peek() {
                Some(byte) if self.flags.extended && is_space(byte) => self.at += 1,
                Some(b'#') if self.flags.extended => {
                    let rest = self.rest();
                    self.at += rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |end| end + 1);
                }
                Some(b'(') if self.rest().starts_with(b"(?#") => {
                    if self.until(b')').is_err() {
                        return Err(self.error("Sequence (?#... not terminated"));
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// One atom; `None` for what only changes modifiers.
    fn atom(&mut self, start: usize) -> Result_<Option<Node>> {
        let Some(byte) = self.peek() else { return Ok(None) };
        self.at += 1;
        Ok(Some(match byte {
            b'^' if self.flags.lines => Node::Assert(Assert::LineStart),
            b'^' => Node::Assert(Assert::TextStart),
            b'$' if self.flags.lines => Node::Assert(Assert::LineEnd),
            b'$' => Node::Assert(Assert::TextEndOrNewline),
            b'.' => Node::Set(self.dot()),
            b'[' => return self.class().map(|set| Some(Node::Set(set))),
            b'(' => return self.group(),
            b'\\' => return self.escape().map(Some),
            b'*' | b'+' | b'?' => return Err(self.error("Quantifier follows nothing")),
            b'{' if start > 0 && !matches!(self.text[start - 1], b'(' | b'|' | b'^' | b':') => {
                return Err(self.error("Unescaped left brace in regex is passed through"));
            }
            literal => self.literal(literal),
        }))
    }

    fn dot(&self) -> ByteSet {
        if self.flags.dots { ByteSet::ALL } else { ByteSet::of(|b| b != b'\n') }
    }

    fn latin(&self) -> bool {
        self.flags.charset != Charset::Plain
    }

    fn literal(&self, byte: u8) -> Node {
        match other_case(byte, self.latin()) {
            Some(other) if self.flags.caseless => Node::Set(ByteSet::of(|b| b == byte || b == other)),
            _ => Node::Bytes(vec![byte]),
        }
    }

    /// A character by its code: an octet, or what no octet is (except by its other case).
    fn character(&mut self, code: u32) -> Node {
        match u8::try_from(code) {
            Ok(byte) => self.literal(byte),
            Err(_) => {
                let mut set = ByteSet::EMPTY;
                self.add_wide(code, &mut set);
                Node::Set(set)
            }
        }
    }

    fn add_wide(&mut self, code: u32, set: &mut ByteSet) {
        self.wide = true;
        if self.flags.caseless {
            match code {
                0x178 => set.add(0xff),
                0x1e9e => set.add(0xdf),
                0x39c | 0x3bc => set.add(0xb5),
                _ => {}
            }
        }
    }

    fn quantified(&mut self, atom: Node) -> Result_<Node> {
        self.skip_blanks()?;
        let Some((min, max)) = self.counts()? else { return Ok(atom) };
        let greed = match self.peek() {
            Some(b'?') => Greed::Lazy,
            Some(b'+') => Greed::Possessive,
            _ => Greed::Greedy,
        };
        if greed != Greed::Greedy {
            self.at += 1;
        }
        self.skip_blanks()?;
        if matches!(self.peek(), Some(b'*' | b'+' | b'?'))
            || self.peek() == Some(b'{') && self.braces().is_some()
        {
            return Err(self.error("Nested quantifiers"));
        }
        if max.is_none() && !has_width(&atom) {
            return Err(self.error("matches null string many times"));
        }
        if max.is_some_and(|max| max < min) {
            return Err(self.error("Quantifier {n,m} with n > m can't match"));
        }
        Ok(Node::Repeat { node: Box::new(atom), min, max, greed })
    }

    fn counts(&mut self) -> Result_<Option<(u32, Option<u32>)>> {
        let counts = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                let Some((length, min, max)) = self.braces() else { return Ok(None) };
                if min > MAX_COUNT || max.is_some_and(|max| max > MAX_COUNT) {
                    return Err(self.error(&format!("Quantifier in {{,}} bigger than {MAX_COUNT}")));
                }
                self.at += length;
                return Ok(Some((min, max)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(counts))
    }

    /// `{n}`, `{n,}`, `{n,m}`, `{,m}` with blanks inside: its length and counts.
    fn braces(&self) -> Option<(usize, u32, Option<u32>)> {
        let rest = self.rest();
        let end = rest.iter().take(40).position(|&b| b == b'}')?;
        let inside = std::str::from_utf8(&rest[1..end]).ok()?;
        let number = |text: &str| -> Option<u32> {
            let text = text.trim_matches([' ', '\t']);
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let counts = match inside.split_once(',') {
            None => {
                let count = number(inside)?;
                (count, Some(count))
            }
            Some((min, max)) => {
                let blank = |text: &str| text.trim_matches([' ', '\t']).is_empty();
                if blank(min) && blank(max) {
                    return None;
                }
                let least = if blank(min) { 0 } else { number(min)? };
                let most = if blank(max) { None } else { Some(number(max)?) };
                (least, most)
            }
        };
        Some((end + 1, counts.0, counts.1))
    }

    // ---- groups

    fn group(&mut self) -> Result_<Option<Node>> {
        if self.peek() == Some(b'*') {
            return self.verb().map(Some);
        }
        if !self.eat(b"?") {
            if self.flags.no_capture {
                return self.inside().map(Some);
            }
            return self.capture(None).map(Some);
        }
        let Some(kind) = self.peek() else { return Err(self.error("Sequence (? incomplete")) };
        self.at += 1;
        Ok(Some(match kind {
            b':' => self.inside()?,
            b'|' => match self.inside()? {
                Node::Alt(branches) => Node::BranchReset(branches),
                other => other,
            },
            b'=' => self.look(true, false)?,
            b'!' => self.look(true, true)?,
            b'<' if self.eat(b"=") => self.look(false, false)?,
            b'<' if self.eat(b"!") => self.look(false, true)?,
            b'<' => self.named(b'>')?,
            b'\'' => self.named(b'\'')?,
            b'P' if self.eat(b"<") => self.named(b'>')?,
            b'P' if self.eat(b"=") => {
                let name = self.name(b')')?;
                self.backref_to(name)
            }
            b'P' if self.eat(b">") => self.recursion_to()?,
            b'&' => self.recursion_to()?,
            b'>' => Node::Atomic(Box::new(self.inside()?)),
            b'R' | b'0'..=b'9' => self.recursion()?,
            b'+' => self.recursion()?,
            b'-' if self.peek().is_some_and(|b| b.is_ascii_digit()) => self.recursion()?,
            b'(' => self.conditional()?,
            b'{' | b'?' => return Err(self.error("Eval-group not allowed")),
            b'[' => return Err(self.error("extended bracketed classes (?[ ]) are not supported")),
            _ => {
                self.at -= 1;
                return self.inline_modifiers();
            }
        }))
    }

    /// What is in the group up to its end; modifiers set in it end with it.
    fn inside(&mut self) -> Result_<Node> {
        let (flags, start) = (self.flags, self.at);
        let node = self.alternation()?;
        self.flags = flags;
        if !self.eat(b")") {
            self.at = start;
            return Err(self.error("Unmatched ("));
        }
        Ok(node)
    }

    fn capture(&mut self, name: Option<Box<str>>) -> Result_<Node> {
        self.captures += 1;
        let index = self.captures;
        if let Some(name) = &name
            && !self.names.contains(name)
        {
            self.names.push(name.clone());
        }
        Ok(Node::Capture { index, name, node: Box::new(self.inside()?) })
    }

    fn look(&mut self, ahead: bool, negated: bool) -> Result_<Node> {
        let node = Box::new(self.inside()?);
        if !ahead && lengths(&node).1.is_none_or(|longest| longest > 255) {
            return Err(self.error("Lookbehind longer than 255 not implemented"));
        }
        Ok(Node::Look { ahead, negated, node })
    }

    fn name(&mut self, end: u8) -> Result_<Box<str>> {
        let name = self.until(end)?;
        let valid = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
            && name.len() <= 32
            && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
        match std::str::from_utf8(name) {
            Ok(name) if valid => Ok(name.into()),
            _ => Err(self.error("Group name must start with a non-digit word character")),
        }
    }

    fn named(&mut self, end: u8) -> Result_<Node> {
        let name = self.name(end)?;
        self.capture(Some(name))
    }

    fn backref_to(&mut self, name: Box<str>) -> Node {
        let written = format!("\\k<{name}>");
        self.referred.push(name);
        Node::Backref(written, self.flags.caseless)
    }

    fn recursion_to(&mut self) -> Result_<Node> {
        let name = self.name(b')')?;
        let written = format!("(?&{name})");
        self.referred.push(name);
        Ok(Node::Verbatim(written))
    }

    fn recursion(&mut self) -> Result_<Node> {
        self.at -= 1;
        let what = self.until(b')')?;
        let number = what.strip_prefix(b"+").or(what.strip_prefix(b"-")).unwrap_or(what);
        let text = String::from_utf8_lossy(what);
        if what == b"R" || what == b"0" {
            return Ok(Node::Verbatim("(?R)".into()));
        }
        let Some(count) = decimal(number).filter(|&count| count <= MAX_COUNT) else {
            return Err(self.error("Sequence (?... not recognized"));
        };
        if what.first().is_some_and(u8::is_ascii_digit) {
            self.highest = self.highest.max(count);
        }
        Ok(Node::Verbatim(format!("(?{text})")))
    }

    fn conditional(&mut self) -> Result_<Node> {
        let look = match self.rest() {
            [b'?', b'=', ..] => Some((2, true, false)),
            [b'?', b'!', ..] => Some((2, true, true)),
            [b'?', b'<', b'=', ..] => Some((3, false, false)),
            [b'?', b'<', b'!', ..] => Some((3, false, true)),
            _ => None,
        };
        let (written, look) = if let Some((length, ahead, negated)) = look {
            self.at += length;
            (String::new(), Some(self.look(ahead, negated)?))
        } else {
            (self.condition()?, None)
        };
        let (yes, no) = match self.inside()? {
            Node::Alt(mut branches) if branches.len() == 2 => {
                let no = branches.pop().unwrap_or(Node::Empty);
                (branches.pop().unwrap_or(Node::Empty), no)
            }
            Node::Alt(_) => return Err(self.error("Switch (?(condition)... contains too many branches")),
            only => (only, Node::Empty),
        };
        Ok(Node::Conditional(Box::new(Condition { written, look, yes, no })))
    }

    fn condition(&mut self) -> Result_<String> {
        let inside = self.until(b')')?;
        let quoted = inside
            .strip_prefix(b"<")
            .and_then(|name| name.strip_suffix(b">"))
            .or_else(|| inside.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'")));
        let text = String::from_utf8_lossy(quoted.unwrap_or(inside)).into_owned();
        let plain =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'&'));
        if !plain {
            return Err(self.error("Unknown switch condition (?(...))"));
        }
        if quoted.is_some() {
            self.referred.push(text.as_str().into());
            return Ok(format!("(<{text}>)"));
        }
        if let Some(number) = decimal(text.as_bytes()) {
            self.highest = self.highest.max(number);
        }
        Ok(format!("({text})"))
    }

    /// `(?i-s)` or `(?i-s:…)`.
    fn inline_modifiers(&mut self) -> Result_<Option<Node>> {
        let outer = self.flags;
        let mut flags = self.flags;
        let mut on = true;
        if self.eat(b"^") {
            flags = Flags { charset: Charset::Plain, ..Flags::default() };
            // Under `use re '/aa'`, or a later a, it is set again; the default is that of Perl.
            if self.rest().starts_with(b"aa") || self.rest().starts_with(b"a") {
                flags.charset = Charset::Ascii;
            }
        }
        loop {
            let Some(byte) = self.peek() else { return Err(self.error("Sequence (?... not terminated")) };
            self.at += 1;
            match byte {
                b')' => {
                    self.flags = flags;
                    return Ok(None);
                }
                b':' => {
                    self.flags = flags;
                    let node = self.inside()?;
                    self.flags = outer;
                    return Ok(Some(node));
                }
                b'-' if on => on = false,
                letter => self.modifier(letter, on, &mut flags)?,
            }
        }
    }

    /// `(*VERB)`, `(*VERB:name)` and the look-arounds written in letters.
    fn verb(&mut self) -> Result_<Node> {
        let start = self.at;
        self.at += 1;
        let rest = self.rest();
        let length = rest.iter().position(|b| !(b.is_ascii_alphabetic() || *b == b'_')).unwrap_or(rest.len());
        let name = &rest[..length];
        self.at += length;
        let assertion = match name {
            b"pla" | b"positive_lookahead" => Some((true, false)),
            b"nla" | b"negative_lookahead" => Some((true, true)),
            b"plb" | b"positive_lookbehind" => Some((false, false)),
            b"nlb" | b"negative_lookbehind" => Some((false, true)),
            _ => None,
        };
        if let Some((ahead, negated)) = assertion
            && self.eat(b":")
        {
            return self.look(ahead, negated);
        }
        if name == b"atomic" && self.eat(b":") {
            return Ok(Node::Atomic(Box::new(self.inside()?)));
        }
        let known: &[&[u8]] =
            &[b"SKIP", b"F", b"FAIL", b"ACCEPT", b"COMMIT", b"PRUNE", b"THEN", b"MARK", b""];
        self.at = start;
        let whole = self.until(b')')?;
        let plain = whole.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b':' | b'_'));
        if !known.contains(&name) || !plain {
            return Err(self.error("Unknown verb pattern"));
        }
        Ok(Node::Verbatim(format!("({})", String::from_utf8_lossy(whole))))
    }
}

/// Concatenation with neighbouring bytes made one.
fn joined(nodes: Vec<Node>) -> Node {
    let mut result: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match (result.last_mut(), node) {
            (_, Node::Empty) => {}
            (Some(Node::Bytes(before)), Node::Bytes(after)) => before.extend(after),
            (_, node) => result.push(node),
        }
    }
    match result.len() {
        0 => Node::Empty,
        1 => result.remove(0),
        _ => Node::Concat(result),
    }
}

fn decimal(digits: &[u8]) -> Option<u32> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// How many groups capture, counted ahead: it decides what `\10` means.
fn count_groups(text: &[u8]) -> u32 {
    let (mut count, mut at, mut class) = (0, 0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' if !class => {
                class = true;
                let next = text.get(at + 1..).unwrap_or_default();
                at += if next.starts_with(b"^]") { 2 } else { usize::from(next.starts_with(b"]")) };
            }
            b']' => class = false,
            b'(' if !class => {
                let next = text.get(at + 1..).unwrap_or_default();
                let named = (next.starts_with(b"?<") || next.starts_with(b"?P<"))
                    && !next.starts_with(b"?<=")
                    && !next.starts_with(b"?<!")
                    || next.starts_with(b"?'");
                count += u32::from(named || !matches!(next.first(), Some(b'?' | b'*')));
            }
            _ => {}
        }
        at += 1;
    }
    count
}
