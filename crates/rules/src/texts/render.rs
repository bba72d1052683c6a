//! HTML rendered as SpamAssassin renders it: what a reader sees, what is hidden from him, and what is told of the page.

use std::collections::HashMap;

use bytes::Bytes;

use super::entities;
use super::facts::{HtmlFacts, Links};
use super::html::{self, Attribute, Sink};
use super::perl::{Text, find, is_space, is_wide_space, is_word, narrow, next_char};
use super::style::Styles;
use super::tags::{Tag, is_namespaced};

/// A part, rendered.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// All of it.
    pub text: Text,
    /// Without what is hidden.
    pub visible: Text,
    /// What is hidden.
    pub invisible: Text,
    /// Where it is a page.
    pub html: Option<std::sync::Arc<HtmlFacts>>,
}

/// How octets of the page stand for characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The page is characters, in UTF-8.
    Wide,
    /// The page is octets of which each is a character (and all are ASCII).
    Narrow,
    /// The page is octets of an unknown charset.
    Octets,
}

/// Renders a page. `length`: of the part it came from, in octets.
pub(crate) fn render(page: &Text, characters: bool, length: usize) -> Rendered {
    let mode = match (page.wide, characters) {
        (true, _) => Mode::Wide,
        (false, true) => Mode::Narrow,
        (false, false) => Mode::Octets,
    };
    let source = mended(&page.bytes);
    let facts = HtmlFacts { length: page.len(), ..HtmlFacts::default() };
    let mut renderer = Renderer {
        mode,
        out: Vec::with_capacity(source.len() / 2),
        pieces: Vec::new(),
        styles: Styles::default(),
        links: Links::default(),
        facts,
        inside: HashMap::new(),
        tags: 0,
        elements: 0,
        tags_seen: 0,
        elements_seen: 0,
        closed_extra: 0,
        obfuscation: None,
        backhair: std::collections::HashSet::new(),
        anchor: None,
    };
    html::parse(&source, &mut renderer);
    renderer.finish(length)
}

/// With what confuses the parser taken out: `&nbsp;`, `<br/>`, typographic quotes.
fn mended(page: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(page.len());
    let mut rest = page;
    while let Some(at) = memchr::memchr2(b'&', 0xe2, rest) {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (with, length): (&[u8], usize) = match rest {
            [b'&', b'n', b'b', b's', b'p', b';', ..] => (b" ", 6),
            [0xe2, 0x80, 0x9c | 0x9d, ..] => (b"\"", 3),
            _ => (&rest[..1], 1),
        };
        text.extend_from_slice(with);
        rest = &rest[length..];
    }
    text.extend_from_slice(rest);
    if memchr::memmem::find(&text, b"/>").is_some() { unslashed(&text) } else { text }
}

/// With `<br/>` made `<br>`.
fn unslashed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'<', rest) {
        let name = 1 + rest[at + 1..].iter().take_while(|byte| is_word(**byte)).count();
        let blanks = rest[at + name..].iter().take_while(|byte| is_space(**byte)).count();
        let after = at + name + blanks;
        out.extend_from_slice(&rest[..at + name]);
        if name > 1 && rest[after..].starts_with(b"/>") {
            out.push(b'>');
            rest = &rest[after + 2..];
        } else {
            rest = &rest[at + name..];
        }
    }
    out.extend_from_slice(rest);
    out
}

/// A piece of rendered text.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    end: usize,
    space: bool,
    hidden: bool,
    wide: bool,
}

struct Renderer {
    mode: Mode,
    /// All rendered text: UTF-8, but in [`Mode::Octets`].
    out: Vec<u8>,
    pieces: Vec<Piece>,
    styles: Styles,
    links: Links,
    facts: HtmlFacts,
    /// How many of each tag are open.
    inside: HashMap<Vec<u8>, i64>,
    tags: u32,
    elements: u32,
    tags_seen: u32,
    elements_seen: u32,
    closed_extra: u32,
    obfuscation: Option<u32>,
    backhair: std::collections::HashSet<(usize, usize)>,
    /// The entry of the link that text belongs to.
    anchor: Option<usize>,
}

impl Sink for Renderer {
    fn start(&mut self, name: &[u8], attributes: &[Attribute<'_>]) {
        if !self.tag(name, 1) {
            return;
        }
        let mut attributes = Attributes { list: attributes, mode: self.mode };
        self.styles.open(name, &mut attributes, &mut self.facts);
        self.space(name);
        let href = self.links.tag(name, &mut attributes, self.mode == Mode::Wide);
        self.tests(name, &mut attributes, href);
    }

    fn end(&mut self, name: &[u8]) {
        if !self.tag(name, -1) {
            return;
        }
        self.styles.close(name);
        self.space(name);
    }

    fn text(&mut self, text: &[u8], cdata: bool) {
        if self.is_inside(b"style") && !self.is_inside(b"script") {
            return;
        }
        let (text, wide) = decoded(text, self.mode, cdata);
        if self.is_inside(b"script") {
            self.facts.scripts.push(self.octets(&text, wide).into());
            return;
        }
        if self.is_inside(b"a") {
            let octets = self.octets(&text, wide);
            self.anchor_text(&octets);
        }
        if self.is_inside(b"title") {
            let octets = self.octets(&text, wide);
            let title = &mut self.facts.titles;
            match title.last_mut() {
                Some(last) => last.extend_from_slice(&octets),
                None => title.push(octets),
            }
        }
        let hidden = !self.is_blank(&text) && self.styles.hides(&mut self.facts);
        self.tricks(&text, wide);
        self.show(&text, wide, hidden);
    }

    fn comment(&mut self, text: &[u8]) {
        self.facts.comments.push(Bytes::copy_from_slice(text));
    }

    fn declaration(&mut self, text: &[u8]) {
        if super::perl::starts_with(text, b"<!doctype") {
            self.elements += 1;
            self.tags += 1;
            self.inside.insert(b"!doctype".to_vec(), 0);
        }
    }

    fn unclosed(&self) -> Option<&'static [u8]> {
        [&b"style"[..], b"script"].into_iter().find(|name| self.is_inside(name))
    }
}

impl Renderer {
    /// Counts a tag; whether more is to be done about it.
    fn tag(&mut self, name: &[u8], step: i64) -> bool {
        let namespaced = is_namespaced(name);
        let kind = Tag::named(name);
        let known = kind.element || namespaced;
        let seen = self.inside.get_mut(name);
        self.elements += u32::from(known);
        self.tags += 1;
        let open = match seen {
            Some(open) => open,
            None => {
                self.elements_seen += u32::from(known);
                self.tags_seen += 1;
                self.inside.entry(name.to_vec()).or_insert(0)
            }
        };
        *open += step;
        if *open < 0 {
            *open = 0;
            self.closed_extra += 1;
        }
        !namespaced && (kind.element || kind.trick)
    }

    fn is_inside(&self, name: &[u8]) -> bool {
        self.inside.get(name).is_some_and(|open| *open > 0)
    }

    /// The white space that a tag makes.
    fn space(&mut self, name: &[u8]) {
        let space = Tag::named(name).space;
        if space.is_empty() {
            return;
        }
        if let Some(last) = self.pieces.last_mut().filter(|last| !last.space && !last.hidden)
            && last.end > last.start
            && self.out.last() == Some(&b' ')
        {
            self.out.pop();
            last.end -= 1;
        }
        let start = self.out.len();
        self.out.extend_from_slice(space);
        self.pieces.push(Piece { start, end: self.out.len(), space: true, hidden: false, wide: false });
    }

    /// Text as it is shown: white space in one.
    fn show(&mut self, text: &[u8], wide: bool, hidden: bool) {
        let start = self.out.len();
        let trim = !hidden && self.pieces.last().is_some_and(|last| last.space);
        let mut at = 0;
        while at < text.len() {
            let blanks = self.blanks(&text[at..]);
            if blanks > 0 {
                // A no-break space is one of its own, other white space in a row is one.
                if !(trim && self.out.len() == start && at == 0) {
                    self.out.push(b' ');
                }
                at += blanks;
                continue;
            }
            let solid = text[at..]
                .iter()
                .position(|byte| is_space(*byte) || matches!(byte, 0xc2 | 0xc3))
                .unwrap_or(text.len() - at)
                .max(1);
            self.out.extend_from_slice(&text[at..at + solid]);
            at += solid;
        }
        self.pieces.push(Piece { start, end: self.out.len(), space: false, hidden, wide });
    }

    /// How long the white space is with which a text begins; a no-break space in UTF-8 that was taken for octets counts.
    fn blanks(&self, text: &[u8]) -> usize {
        let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
        let no_break: &[u8] = if self.mode == Mode::Octets { b"\xc2\xa0" } else { b"\xc3\x82\xc2\xa0" };
        if blanks == 0 && text.starts_with(no_break) { no_break.len() } else { blanks }
    }

    fn is_blank(&self, mut text: &[u8]) -> bool {
        while !text.is_empty() {
            match self.blanks(text) {
                0 => return false,
                blanks => text = &text[blanks..],
            }
        }
        true
    }

    /// As octets go to rules.
    fn octets(&self, text: &[u8], wide: bool) -> Vec<u8> {
        if self.mode == Mode::Octets || wide || text.is_ascii() {
            return text.to_vec();
        }
        narrow(text).unwrap_or_else(|| text.to_vec())
    }

    fn anchor_text(&mut self, text: &[u8]) {
        if let Some(anchor) = self.anchor {
            self.links.anchor_text(anchor, text);
        }
        if let Some(last) = self.facts.anchors.last_mut() {
            last.extend_from_slice(text);
        }
    }

    /// Tags within words.
    fn tricks(&mut self, text: &[u8], wide: bool) {
        let Some(last) = self.pieces.last() else { return };
        let before = &self.out[last.start..last.end];
        let counted = |c: char, wide: bool| {
            let space = if wide { is_wide_space(c) } else { c.is_ascii() && is_space(c as u8) };
            !space && !c.is_ascii_punctuation()
        };
        let octets = self.mode == Mode::Octets;
        let first = |text: &[u8]| {
            if octets { text.first().map(|byte| char::from(*byte)) } else { next_char(text).map(|(c, _)| c) }
        };
        let ends = last_chars(before, octets, |c| counted(c, last.wide));
        if first(text).is_some_and(|c| counted(c, wide)) && !ends.is_empty() {
            *self.obfuscation.get_or_insert(0) += 1;
        }
        let word =
            |c: char, wide: bool| if wide { is_wide_word(c) } else { c.is_ascii() && is_word(c as u8) };
        // The longest run of at most seven before which a word begins or ends.
        let start = (1..=ends.len().min(7)).rev().find(|count| {
            let place = ends.len() - count;
            let before = if place > 0 { Some(ends[place - 1]) } else { None };
            let before = before
                .or_else(|| char_before(before_run(before_text(&self.out, last), &ends, octets), octets));
            before.is_some_and(|c| word(c, last.wide)) != word(ends[place], last.wide)
        });
        let Some(start) = start else { return };
        let (begins, behind) = first_chars(text, octets, |c| counted(c, wide));
        let stop = (1..=begins.len().min(7)).rev().find(|count| {
            let after = begins.get(*count).copied().or(behind);
            after.is_some_and(|c| word(c, wide)) != word(begins[count - 1], wide)
        });
        if let Some(stop) = stop {
            self.backhair.insert((start, stop));
        }
    }

    /// What rules ask of single tags.
    fn tests(&mut self, name: &[u8], attributes: &mut Attributes<'_>, href: Option<Vec<u8>>) {
        match name {
            b"font" => {
                self.facts.font_face_bad |= attributes.get(b"face").is_some_and(|face| is_bad_face(&face))
            }
            b"img" => {
                if self.is_inside(b"a") {
                    self.anchor_text(b"<img>\n");
                }
                if let (Some(width), Some(height)) = (attributes.get(b"width"), attributes.get(b"height")) {
                    self.facts.image_area += pixels(&width, 8) * pixels(&height, 6);
                }
            }
            b"form" => {
                let to_mail = |action: Vec<u8>| find(&action, b"mailto:", 0).is_some();
                self.facts.form_action_mailto |= attributes.get(b"action").is_some_and(to_mail);
            }
            b"object" | b"embed" => self.facts.embeds = true,
            b"a" => {
                self.anchor = Some(self.links.anchor(href.unwrap_or_default()));
                self.facts.anchors.push(Vec::new());
            }
            b"title" => self.facts.titles.push(Vec::new()),
            _ => {}
        }
    }

    fn finish(mut self, length: usize) -> Rendered {
        let text = self.joined(|_| true);
        let visible = self.joined(|piece| !piece.hidden);
        let invisible = self.joined(|piece| piece.hidden);
        let spaces = if text.wide {
            String::from_utf8_lossy(&text.bytes).chars().filter(|c| is_wide_space(*c)).count()
        } else {
            text.bytes.iter().filter(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b)).count()
        };
        let ratio = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        let facts = &mut self.facts;
        facts.html_length = text.len();
        facts.non_space_len = facts.html_length.saturating_sub(spaces);
        facts.ratio = (length > 0).then(|| (length as f64 - facts.html_length as f64) / length as f64);
        facts.closed_extra_ratio = ratio(self.closed_extra, self.tags);
        facts.bad_tag_ratio =
            if self.elements > 0 { ratio(self.tags.saturating_sub(self.elements), self.tags) } else { None };
        let unseen = self.tags_seen.saturating_sub(self.elements_seen);
        facts.non_element_ratio = if self.elements_seen > 0 { ratio(unseen, self.tags_seen) } else { None };
        facts.obfuscation_ratio = self.obfuscation.and_then(|count| ratio(count, self.tags));
        facts.backhair_count = (!self.backhair.is_empty()).then_some(self.backhair.len());
        let (min, max) = self.styles.sizes();
        (facts.min_size, facts.max_size) = (min, max);
        facts.inside = self.inside;
        facts.uris_left_out = self.links.left_out;
        (facts.uris, facts.uri_truncated) = self.links.finish();
        Rendered { text, visible, invisible, html: Some(std::sync::Arc::new(self.facts)) }
    }

    /// The pieces that are wanted, put together.
    fn joined(&self, wanted: impl Fn(&Piece) -> bool) -> Text {
        let mut out = Vec::new();
        let mut wide = self.mode == Mode::Wide && self.pieces.iter().any(&wanted);
        for piece in self.pieces.iter().filter(|piece| wanted(piece)) {
            out.extend_from_slice(&self.out[piece.start..piece.end]);
            wide |= piece.wide;
        }
        if self.mode == Mode::Octets {
            return Text::octets(out);
        }
        if wide { Text::chars(out) } else { Text::octets(narrow(&out).unwrap_or(out)) }
    }
}

/// `\w` of Perl: letters, marks, digits, connectors, and what joins letters or keeps them apart (U+200C, U+200D).
fn is_wide_word(c: char) -> bool {
    regex_syntax::try_is_word_character(c).unwrap_or_else(|_| c.is_alphanumeric() || c == '_')
}

/// The piece's own text.
fn before_text<'a>(out: &'a [u8], piece: &Piece) -> &'a [u8] {
    &out[piece.start..piece.end]
}

/// What stands before those last characters.
fn before_run<'a>(text: &'a [u8], run: &[char], octets: bool) -> &'a [u8] {
    let length: usize = if octets { run.len() } else { run.iter().map(|c| c.len_utf8()).sum() };
    &text[..text.len().saturating_sub(length)]
}

fn char_before(text: &[u8], octets: bool) -> Option<char> {
    if octets {
        return text.last().map(|byte| char::from(*byte));
    }
    let start = text.iter().rposition(|byte| byte & 0xc0 != 0x80)?;
    next_char(&text[start..]).map(|(c, _)| c)
}

/// At most eight of the last characters, while they are such.
fn last_chars(text: &[u8], octets: bool, such: impl Fn(char) -> bool) -> Vec<char> {
    let mut run = Vec::new();
    let mut rest = text;
    while run.len() < 8
        && let Some(c) = char_before(rest, octets).filter(|c| such(*c))
    {
        rest = before_run(rest, &[c], octets);
        run.push(c);
    }
    run.reverse();
    run
}

/// At most eight of the first characters, while they are such, and the one behind them.
fn first_chars(text: &[u8], octets: bool, such: impl Fn(char) -> bool) -> (Vec<char>, Option<char>) {
    let mut run = Vec::new();
    let mut rest = text;
    loop {
        let next = if octets { rest.first().map(|byte| (char::from(*byte), 1)) } else { next_char(rest) };
        match next {
            Some((c, length)) if run.len() < 8 && such(c) => {
                run.push(c);
                rest = &rest[length..];
            }
            _ => return (run, next.map(|(c, _)| c)),
        }
    }
}

/// The attributes of a tag.
pub(crate) struct Attributes<'a> {
    list: &'a [Attribute<'a>],
    mode: Mode,
}

impl Attributes<'_> {
    /// The first of that name (in lower case), read; its name if it has no value.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let found = self.list.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))?;
        Some(self.read(found))
    }

    /// One whose name has a word and that behind it (`x/href`), as malformed tags do.
    pub(crate) fn behind_slash(&self, name: &[u8]) -> Option<Vec<u8>> {
        let is_such = |attribute: &&Attribute<'_>| {
            let lower = attribute.name.to_ascii_lowercase();
            memchr::memmem::find_iter(&lower, name).any(|at| at > 0 && is_word(lower[at - 1]))
        };
        self.list.iter().rfind(is_such).map(|found| self.read(found))
    }

    /// All of them, the first of each name: name in lower case, and value.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let list = self.list;
        let first = move |place: usize, attribute: &Attribute<'_>| {
            !list[..place].iter().any(|other| other.name.eq_ignore_ascii_case(attribute.name))
        };
        // Nobody needs more; the rest is there to make this slow.
        let few = list.iter().take(64).enumerate();
        few.filter(move |(place, attribute)| first(*place, attribute))
            .map(|(_, attribute)| (attribute.name.to_ascii_lowercase(), self.read(attribute)))
    }

    fn read(&self, attribute: &Attribute<'_>) -> Vec<u8> {
        let Some(value) = attribute.value else { return attribute.name.to_vec() };
        let (text, wide) = entities::read(value, self.mode, false);
        if self.mode == Mode::Narrow && !wide { narrow(&text).unwrap_or(text) } else { text }
    }
}

/// Text with the characters named in it, and whether it is wide.
fn decoded(text: &[u8], mode: Mode, cdata: bool) -> (Vec<u8>, bool) {
    if cdata { (text.to_vec(), mode == Mode::Wide) } else { entities::read(text, mode, true) }
}

/// A side of a picture; percent of a small screen; 200 where it isn't told.
fn pixels(text: &[u8], percent: u64) -> u64 {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (digits, times) = match text.strip_suffix(b"%") {
        Some(digits) => (digits, percent),
        None => (text, 1),
    };
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse::<u32>().ok());
    number.filter(|number| *number > 0).map_or(200, |number| u64::from(number) * times)
}

/// Whether that is no list of names of fonts.
fn is_bad_face(face: &[u8]) -> bool {
    let blanks = face.iter().take_while(|byte| is_space(**byte)).count();
    let mut rest = &face[blanks..];
    let quoted = matches!(rest.first(), Some(b'"' | b'\'' | b'.'));
    rest = &rest[usize::from(quoted)..];
    let mut spare = usize::from(!quoted && blanks > 0 && face[blanks - 1] == b' ');
    let mut is_first = true;
    loop {
        let run =
            rest.iter().take_while(|byte| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'-')).count();
        let name = &rest[..run];
        let starts = spare > 0
            || name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || (is_first && *byte == b' '));
        if run + spare < 2 || !starts || !name.last().is_some_and(u8::is_ascii_alphabetic) {
            return true;
        }
        (spare, is_first) = (0, false);
        rest = &rest[run..];
        rest = &rest[usize::from(rest.first().is_some_and(u8::is_ascii_digit))..];
        rest = &rest[usize::from(matches!(rest.first(), Some(b'"' | b'\'')))..];
        match rest {
            [] | b"\n" | b";" | b";\n" => return false,
            [b',', after @ ..] => rest = after,
            _ => return true,
        }
        rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
        rest = &rest[usize::from(matches!(rest.first(), Some(b'"' | b'\'')))..];
    }
}
