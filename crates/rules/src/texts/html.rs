//! HTML cut into tags and text as HTML::Parser cuts it, which is not as browsers do.
//!
//! It sees the whole text at once, then its end. Text before the end is told in two pieces, the last word by itself.

use super::perl::is_space;

/// Who is told what stands in a page.
pub(crate) trait Sink {
    /// A start tag: its name in lower case, and its attributes.
    fn start(&mut self, name: &[u8], attributes: &[Attribute<'_>]);
    /// An end tag: its name in lower case.
    fn end(&mut self, name: &[u8]);
    /// Text; `cdata`: what looks like characters named in it is not.
    fn text(&mut self, text: &[u8], cdata: bool);
    /// A comment, or what is taken for one.
    fn comment(&mut self, text: &[u8]);
    /// A declaration that is known.
    fn declaration(&mut self, text: &[u8]);
    /// Whether it is inside an element that only its end tag ends (`style`, `script`) now that there is no more text.
    fn unclosed(&self) -> Option<&'static [u8]>;
}

/// An attribute as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub name: &'a [u8],
    /// Without quotes; characters named in it are not yet read. None if there is only a name.
    pub value: Option<&'a [u8]>,
}

/// Tells `sink` all of `text`.
pub(crate) fn parse(text: &[u8], sink: &mut impl Sink) {
    let mut parser = Parser {
        text,
        sink,
        literal: None,
        cdata: false,
        sections: Vec::new(),
        pending_end: None,
        short_comments: false,
        never_closed: 0,
        patience: text.len().saturating_mul(4),
    };
    let mut at = parser.run(0);
    // An element whose end tag never comes is ended there.
    let mut closed = Vec::new();
    if let Some(name) = parser.sink.unclosed() {
        closed = [&text[at..], b"</", name, b">"].concat();
    }
    if closed.is_empty() {
        parser.finish(at);
        return;
    }
    let mut parser = Parser { text: &closed, never_closed: 0, ..parser };
    at = parser.run(0);
    parser.finish(at);
}

/// Elements in which only their own end tag is markup.
const LITERAL: [(&[u8], bool); 7] = [
    (b"script", true),
    (b"style", true),
    (b"xmp", true),
    (b"iframe", true),
    (b"plaintext", true),
    (b"title", false),
    (b"textarea", false),
];

/// What a marked section says of its content; the strongest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    None,
    Include,
    Rcdata,
    Cdata,
    Ignore,
}

struct Parser<'t, 's, S: Sink> {
    text: &'t [u8],
    sink: &'s mut S,
    /// Place in [`LITERAL`] of the element that it is in.
    literal: Option<usize>,
    cdata: bool,
    /// The marked sections it is in, each with what holds in it and all around it.
    sections: Vec<Section>,
    /// An end tag to be told before the next tag.
    pending_end: Option<usize>,
    /// A comment ends at `>`, since there is one that never ends otherwise.
    short_comments: bool,
    /// Bit by bit the elements of [`LITERAL`] whose end tag was looked for up to the end.
    never_closed: u8,
    /// So many octets may still be looked through for declarations that turn out to be none.
    patience: usize,
}

/// What becomes of a `<`.
enum Step {
    /// It is markup up to there.
    To(usize),
    /// It is text.
    Text,
    /// It has no end.
    Unfinished,
}

impl<S: Sink> Parser<'_, '_, S> {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn section(&self) -> Section {
        self.sections.last().copied().unwrap_or(Section::None)
    }

    /// Reads from `from`; gives the place from which on there must be more text to know what it is.
    fn run(&mut self, from: usize) -> usize {
        let end = self.text.len();
        let (mut at, mut told) = (from, from);
        loop {
            while let Some(literal) = self.literal {
                match self.literal_end(literal, at) {
                    Some((start, after)) => {
                        if told != start {
                            self.tell_text(told, start);
                        }
                        self.tell_end(LITERAL[literal].0);
                        self.literal = None;
                        self.cdata = false;
                        (at, told) = (after, after);
                    }
                    None => return told,
                }
            }
            if matches!(self.section(), Section::Cdata | Section::Rcdata) {
                match self.section_end(at) {
                    Some(start) => {
                        if told != start {
                            self.tell_text(told, start);
                        }
                        self.leave_section();
                        (at, told) = (start + 3, start + 3);
                        continue;
                    }
                    None => return told,
                }
            }
            (at, told) = self.plain(at, told);
            if at >= end {
                return self.before_end(told);
            }
            if at != told {
                self.tell_text(told, at);
                told = at;
            }
            if end - at < 3 {
                return at;
            }
            match self.markup(at) {
                Step::To(place) => (at, told) = (place, place),
                Step::Text => at += 1,
                Step::Unfinished => return at,
            }
        }
    }

    /// Goes on to the next `<`, through ends of marked sections.
    fn plain(&mut self, mut at: usize, mut told: usize) -> (usize, usize) {
        loop {
            let next = if self.section() == Section::None {
                memchr::memchr(b'<', &self.text[at..])
            } else {
                memchr::memchr2(b'<', b']', &self.text[at..])
            };
            let Some(next) = next else { return (self.text.len(), told) };
            at += next;
            if self.text[at] == b'<' {
                return (at, told);
            }
            if self.text[at..].starts_with(b"]]>") {
                self.tell_text(told, at);
                self.leave_section();
                (at, told) = (at + 3, at + 3);
            } else {
                // What follows a bracket in a section is text, even `<`.
                at += if self.byte(at + 1) == b']' { 3 } else { 2 };
                at = at.min(self.text.len());
            }
        }
    }

    /// Tells the text before the end but for its last word, or the white space at its end.
    fn before_end(&mut self, told: usize) -> usize {
        let mut rest = &self.text[told..];
        let last_is_space = rest.last().is_some_and(|byte| is_space(*byte));
        if !last_is_space {
            let word = rest.iter().rev().take_while(|byte| !is_space(**byte)).count();
            rest = &rest[..rest.len() - word];
        }
        let at = told + super::perl::trim_end(rest).len();
        if at != told {
            self.tell_text(told, at);
        }
        at
    }

    /// Reads what is left when no more comes.
    fn finish(&mut self, mut at: usize) {
        let end = self.text.len();
        while at < end {
            if let Some(literal) = self.literal {
                match LITERAL[literal].0 {
                    b"plaintext" | b"xmp" | b"iframe" | b"textarea" => break,
                    b"script" | b"style" => self.tell_end(LITERAL[literal].0),
                    _ => self.pending_end = Some(literal),
                }
                self.literal = None;
                at = self.run(at);
                continue;
            }
            if !self.short_comments && self.text[at] == b'<' {
                self.short_comments = true;
                at = self.run(at);
                continue;
            }
            if self.text[at] == b'<' {
                let next = self.byte(at + 1);
                if at + 1 == end || is_name_first(next) || matches!(next, b'/' | b'!' | b'?') {
                    self.tell_comment(at, end);
                    at = end;
                }
            }
            break;
        }
        if at < end {
            self.tell_text(at, end);
        }
        self.flush_end();
    }

    /// Where the end tag of such an element begins and ends.
    fn literal_end(&mut self, literal: usize, from: usize) -> Option<(usize, usize)> {
        let name = LITERAL[literal].0;
        if name == b"plaintext" || self.never_closed & 1 << literal != 0 {
            return None;
        }
        let mut at = from;
        while let Some(step) = memchr::memchr(b'<', &self.text[at..]) {
            at += step;
            let rest = &self.text[at + 1..];
            if rest.first() == Some(&b'/') && super::perl::starts_with(&rest[1..], name) {
                let after = at + 2 + name.len();
                let after = after + self.text[after..].iter().take_while(|byte| is_space(**byte)).count();
                if self.byte(after) == b'>' {
                    return Some((at, after + 1));
                }
            }
            at += 1;
        }
        self.never_closed |= 1 << literal;
        None
    }

    fn section_end(&self, from: usize) -> Option<usize> {
        memchr::memmem::find(&self.text[from..], b"]]>").map(|at| from + at)
    }

    fn leave_section(&mut self) {
        self.flush_end();
        self.sections.pop();
        self.cdata = self.section() == Section::Cdata;
    }

    /// What begins with the `<` there.
    fn markup(&mut self, at: usize) -> Step {
        match self.byte(at + 1) {
            b'a'..=b'z' | b'A'..=b'Z' => self.start_tag(at),
            b'/' => self.end_tag(at),
            b'!' => self.declaration(at),
            b'?' => match memchr::memchr(b'>', &self.text[at + 2..]) {
                Some(step) => {
                    self.flush_end();
                    Step::To(at + 2 + step + 1)
                }
                None => Step::Unfinished,
            },
            _ => Step::Text,
        }
    }

    fn start_tag(&mut self, beg: usize) -> Step {
        let text = self.text;
        let end = text.len();
        let until =
            |from: usize, stop: fn(u8) -> bool| from + text[from..].iter().take_while(|b| !stop(**b)).count();
        let spaces = |from: usize| until(from, |b| !is_space(b));
        let mut at = until(beg + 2, |b| is_space(b) || b == b'>');
        let name = &text[beg + 1..at];
        let mut attributes: Vec<Attribute<'_>> = Vec::new();
        at = spaces(at);
        while at < end && text[at] != b'>' {
            let start = at;
            at = until(at + 1, |b| is_space(b) || b == b'>' || b == b'=');
            let name = &text[start..at];
            at = spaces(at);
            if self.byte(at) != b'=' {
                attributes.push(Attribute { name, value: None });
                continue;
            }
            at = spaces(at + 1);
            let value = match self.byte(at) {
                b'>' => {
                    attributes.push(Attribute { name, value: Some(b"") });
                    break;
                }
                quote @ (b'"' | b'\'') if at < end => {
                    let Some(length) = memchr::memchr(quote, &text[at + 1..]) else {
                        return Step::Unfinished;
                    };
                    let value = &text[at + 1..at + 1 + length];
                    at += length + 2;
                    value
                }
                _ => {
                    let start = at;
                    at = until(at, |b| is_space(b) || b == b'>');
                    &text[start..at]
                }
            };
            attributes.push(Attribute { name, value: Some(value) });
            at = spaces(at);
        }
        if at >= end {
            return Step::Unfinished;
        }
        self.flush_end();
        let lower = name.to_ascii_lowercase();
        if self.section() != Section::Ignore {
            self.sink.start(&lower, &attributes);
        }
        if let Some(literal) = LITERAL.iter().position(|(literal, _)| *literal == lower) {
            self.literal = Some(literal);
            self.cdata = LITERAL[literal].1;
        }
        Step::To(at + 1)
    }

    fn end_tag(&mut self, beg: usize) -> Step {
        let first = self.byte(beg + 2);
        let named = !is_space(first) && first != b'>';
        let mut at = beg + 2;
        if named {
            at += self.text[at..].iter().take_while(|b| !is_space(**b) && **b != b'>').count();
        }
        let name = beg + 2..at;
        let Some(close) = self.unquoted_close(at) else { return Step::Unfinished };
        if named {
            let lower = self.text[name].to_ascii_lowercase();
            self.tell_end(&lower);
        } else {
            self.tell_comment(beg, close + 1);
        }
        Step::To(close + 1)
    }

    /// The next `>` outside of quotes, where a quote counts behind a space or an equals sign.
    fn unquoted_close(&self, from: usize) -> Option<usize> {
        let (mut quote, mut before) = (0, b' ');
        for (place, byte) in self.text[from..].iter().enumerate() {
            match byte {
                b'>' if quote == 0 => return Some(from + place),
                b'"' | b'\'' if quote == *byte => quote = 0,
                b'"' | b'\'' if quote == 0 && matches!(before, b' ' | b'=') => quote = *byte,
                _ => {}
            }
            before = *byte;
        }
        None
    }

    fn declaration(&mut self, beg: usize) -> Step {
        let at = beg + 2;
        let step = match self.byte(at) {
            b'-' if at + 1 == self.text.len() => Step::Unfinished,
            b'-' if self.byte(at + 1) == b'-' => return self.comment(beg),
            b'[' => self.patiently(beg, Self::enter_section),
            b'>' => {
                self.tell_comment(beg, at + 1);
                return Step::To(at + 1);
            }
            b'a'..=b'z' | b'A'..=b'Z' => self.patiently(beg, Self::known_declaration),
            _ => Step::Text,
        };
        if !matches!(step, Step::Text) {
            return step;
        }
        // All else is a comment.
        match memchr::memchr(b'>', &self.text[at..]) {
            Some(length) => {
                self.tell_comment(beg, at + length + 1);
                Step::To(at + length + 1)
            }
            None => Step::Unfinished,
        }
    }

    fn comment(&mut self, beg: usize) -> Step {
        let mut at = beg + 4;
        if self.short_comments {
            return match memchr::memchr(b'>', self.text.get(at..).unwrap_or_default()) {
                Some(length) => {
                    self.tell_comment(beg, at + length + 1);
                    Step::To(at + length + 1)
                }
                None => Step::Unfinished,
            };
        }
        while let Some(step) = self.text.get(at..).and_then(|rest| memchr::memmem::find(rest, b"--")) {
            at += step;
            let close = at + 2 + self.text[at + 2..].iter().take_while(|byte| is_space(**byte)).count();
            if self.byte(close) == b'>' {
                self.tell_comment(beg, close + 1);
                return Step::To(close + 1);
            }
            at += 1;
        }
        Step::Unfinished
    }

    /// Looks for such a declaration while there is patience. The number is how far it looked.
    fn patiently(&mut self, beg: usize, look: fn(&mut Self, usize) -> (Step, usize)) -> Step {
        if self.patience == 0 {
            return Step::Text;
        }
        let (step, looked) = look(self, beg);
        if matches!(step, Step::Text) {
            self.patience = self.patience.saturating_sub(looked - beg);
        }
        step
    }

    /// `<!DOCTYPE …>` or `<!ENTITY …>`; [`Step::Text`] if it isn't one.
    fn known_declaration(&mut self, beg: usize) -> (Step, usize) {
        let text = self.text;
        let mut at = beg + 2;
        let length = text[at..].iter().take_while(|byte| is_name(**byte)).count();
        let name = &text[at..at + length];
        at += length;
        if at == text.len() {
            return (Step::Unfinished, at);
        }
        if !name.eq_ignore_ascii_case(b"doctype") && !name.eq_ignore_ascii_case(b"entity") {
            return (Step::Text, at);
        }
        loop {
            at += text[at..].iter().take_while(|byte| is_space(**byte)).count();
            let step = match text.get(at) {
                None => None,
                Some(b'>') => break,
                Some(quote @ (b'"' | b'\'')) => {
                    memchr::memchr(*quote, &text[at + 1..]).map(|length| at + length + 2)
                }
                Some(b'-') => match text.get(at + 1) {
                    None => None,
                    Some(b'-') => memchr::memmem::find(&text[at + 2..], b"--").map(|length| at + length + 4),
                    Some(_) => return (Step::Text, at),
                },
                Some(_) => {
                    let length = text[at..].iter().take_while(|b| !is_space(**b) && **b != b'>').count();
                    Some(at + length).filter(|at| *at < text.len())
                }
            };
            let Some(after) = step else { return (Step::Unfinished, at) };
            at = after;
        }
        self.flush_end();
        if self.section() != Section::Ignore {
            self.sink.declaration(&text[beg..=at]);
        }
        (Step::To(at + 1), at)
    }

    /// `<![CDATA[` and kin; [`Step::Text`] if it isn't one.
    fn enter_section(&mut self, beg: usize) -> (Step, usize) {
        let text = self.text;
        let spaces = |from: usize| from + text[from..].iter().take_while(|byte| is_space(**byte)).count();
        let mut at = beg + 3;
        let mut inside = None;
        loop {
            at = spaces(at);
            if is_name_first(self.byte(at)) {
                let length = text[at..].iter().take_while(|byte| is_name(**byte)).count();
                let section = match text[at..at + length].to_ascii_lowercase().as_slice() {
                    b"include" => Section::Include,
                    b"rcdata" => Section::Rcdata,
                    b"cdata" => Section::Cdata,
                    b"ignore" => Section::Ignore,
                    _ => Section::None,
                };
                inside = inside.max(Some(section));
                at = spaces(at + length);
                if at == text.len() {
                    return (Step::Unfinished, at);
                }
                continue;
            }
            match self.byte(at) {
                b'-' if self.byte(at + 1) == b'-' => match memchr::memmem::find(&text[at + 2..], b"--") {
                    Some(length) => at += length + 4,
                    None => return (Step::Unfinished, at),
                },
                b'[' => break,
                _ => return (Step::Text, at),
            }
        }
        self.flush_end();
        let around = self.section();
        self.sections.push(around.max(inside.unwrap_or(Section::Include)));
        self.cdata = self.section() == Section::Cdata;
        (Step::To(at + 1), at)
    }

    fn tell_text(&mut self, from: usize, to: usize) {
        if self.section() != Section::Ignore {
            self.sink.text(&self.text[from..to], self.cdata);
        }
    }

    fn tell_comment(&mut self, from: usize, to: usize) {
        if self.section() != Section::Ignore {
            self.sink.comment(&self.text[from..to]);
        }
    }

    fn tell_end(&mut self, name: &[u8]) {
        self.flush_end();
        if self.section() != Section::Ignore {
            self.sink.end(name);
        }
    }

    /// Tells the end tag that was put off.
    fn flush_end(&mut self) {
        if let Some(literal) = self.pending_end.take()
            && self.section() != Section::Ignore
        {
            self.sink.end(LITERAL[literal].0);
        }
    }
}

fn is_name_first(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(String, u32);

    impl Sink for Told {
        fn start(&mut self, name: &[u8], attributes: &[Attribute<'_>]) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.0 += &format!("<{}", text(name));
            for attribute in attributes {
                self.0 += &format!(" {}", text(attribute.name));
                if let Some(value) = attribute.value {
                    self.0 += &format!("[{}]", text(value));
                }
            }
            self.0 += ">";
            self.1 += u32::from(name == b"style");
        }
        fn end(&mut self, name: &[u8]) {
            self.0 += &format!("</{}>", String::from_utf8_lossy(name));
            self.1 = self.1.saturating_sub(u32::from(name == b"style"));
        }
        fn text(&mut self, text: &[u8], cdata: bool) {
            self.0 += &format!("{}{{{}}}", if cdata { "c" } else { "" }, String::from_utf8_lossy(text));
        }
        fn comment(&mut self, text: &[u8]) {
            self.0 += &format!("!{}!", String::from_utf8_lossy(text));
        }
        fn declaration(&mut self, text: &[u8]) {
            self.0 += &format!("?{}?", String::from_utf8_lossy(text));
        }
        fn unclosed(&self) -> Option<&'static [u8]> {
            (self.1 > 0).then_some(b"style")
        }
    }

    #[test]
    fn pages_are_cut_as_by_html_parser() {
        for (page, told) in [
            ("hello world", "{hello}{ world}"),
            ("<b>x</b> foo bar ", "<b>{x}</b>{ foo bar}{ }"),
            ("<iframe src=x>a<b>c</b></iframe>z", "<iframe src[x]>c{a<b>c</b>}</iframe>{z}"),
            ("<title>a<b></title>x", "<title>{a<b>}</title>{x}"),
            ("a <!-- x > y", "{a }!<!-- x >!{ y}"),
            ("a <!-- x -- >y", "{a }!<!-- x -- >!{y}"),
            ("<a href=x/ title>z</a>", "<a href[x/] title>{z}</a>"),
            ("<![if !mso]>x<![endif]>y", "!<![if !mso]>!{x}!<![endif]>!{y}"),
            ("<![CDATA[x<b>]]>y", "c{x<b>}{y}"),
            ("<a b=c d='e>f\" g>t", "!<a b=c d='e>f\" g>t!"),
            ("<style>x</STYLE >y", "<style>c{x}</style>{y}"),
            ("<style>x", "<style>c{x}</style>"),
            ("<title>x", "<title>{x}</title>"),
            ("<script>x<b>", "<script></script>c{x}<b>"),
            ("< a>", "{<}{ a>}"),
            ("</ x>y", "!</ x>!{y}"),
            ("<a<b>c", "<a<b>{c}"),
            ("<xmp><b></xmp>c", "<xmp>c{<b>}</xmp>{c}"),
            ("<!DOCTYPE html \"a>\"><!foo>x", "?<!DOCTYPE html \"a>\">?!<!foo>!{x}"),
            ("<?php x?>y<A B=>z", "{y}<a B[]>{z}"),
            ("</a title=\">\">x", "</a>{x}"),
            ("x<", "{x}!<!"),
        ] {
            let mut sink = Told::default();
            parse(page.as_bytes(), &mut sink);
            assert_eq!(sink.0, told, "{page}");
        }
    }

    #[test]
    fn what_never_ends_takes_no_longer() {
        for piece in ["<title>", "<!--", "<a ", "<![ignore[", "</", "<script>", "]]", "<!doctype '"] {
            let mut sink = Told::default();
            parse(piece.repeat(200_000).as_bytes(), &mut sink);
        }
    }
}
