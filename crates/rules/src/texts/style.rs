//! What is seen of text: the colours, size and display that hold where it stands.

use super::color::Color;
use super::facts::HtmlFacts;
use super::perl::{find, is_space, starts_with, trim};
use super::render::Attributes;

/// The elements that change how text looks.
const TAGS: [&[u8]; 13] = [
    b"default",
    b"body",
    b"font",
    b"table",
    b"tr",
    b"td",
    b"big",
    b"small",
    b"basefont",
    b"marquee",
    b"span",
    b"p",
    b"div",
];
const A: usize = TAGS.len();

/// How text looks inside an element.
#[derive(Clone, Debug)]
struct Look {
    tag: usize,
    fore: Color,
    back: Color,
    size: i64,
    /// `display: none`
    gone: bool,
    /// `visibility: hidden`
    hidden: bool,
}

/// The elements that are open.
#[derive(Debug)]
pub(crate) struct Styles {
    stack: Vec<Look>,
    /// How many of each tag are on the stack.
    open: [usize; A + 1],
    base: i64,
    least: i64,
    most: i64,
}

impl Default for Styles {
    fn default() -> Styles {
        let look = Look {
            tag: 0,
            fore: Color::of(0),
            back: Color::of(0xff_ffff),
            size: 3,
            gone: false,
            hidden: false,
        };
        Styles { stack: vec![look], open: [0; A + 1], base: 3, least: 3, most: 3 }
    }
}

fn place(tag: &[u8]) -> Option<usize> {
    match tag {
        b"a" => Some(A),
        b"th" => place(b"td"),
        b"default" => None,
        _ => TAGS.iter().position(|known| *known == tag),
    }
}

impl Styles {
    /// A start tag.
    pub(crate) fn open(&mut self, tag: &[u8], attributes: &mut Attributes<'_>, _facts: &mut HtmlFacts) {
        /// More than so many in one another tell nothing new.
        const DEPTH: usize = 50_000;
        let Some(place) = place(tag) else { return };
        if tag == b"basefont"
            && let Some(size) = attributes.get(b"size").and_then(|size| unsigned(&size))
        {
            self.base = size;
            return;
        }
        if matches!(tag, b"td" | b"th" | b"tr") {
            self.close_cells(place, tag == b"tr");
        }
        let Some(parent) = self.stack.last() else { return };
        let mut look = Look { tag: place, ..parent.clone() };
        match tag {
            b"big" => look.size = look.size.saturating_add(1),
            b"small" => look.size = look.size.saturating_sub(1),
            _ => self.attributes(tag, &mut look, attributes),
        }
        if self.stack.len() < DEPTH {
            self.open[place] += 1;
            self.stack.push(look);
        }
    }

    /// An end tag.
    pub(crate) fn close(&mut self, tag: &[u8]) {
        let Some(place) = place(tag).filter(|_| tag != b"body") else { return };
        if self.open[place] == 0 {
            return;
        }
        while let Some(look) = self.pop() {
            if look == place {
                break;
            }
        }
    }

    fn pop(&mut self) -> Option<usize> {
        let look = self.stack.pop()?;
        self.open[look.tag] = self.open[look.tag].saturating_sub(1);
        Some(look.tag)
    }

    /// Cells and rows end where the next begins.
    fn close_cells(&mut self, place: usize, row: bool) {
        if self.open[place] == 0 {
            return;
        }
        while let Some(top) = self.stack.last().map(|look| TAGS.get(look.tag).copied().unwrap_or(b"a"))
            && (matches!(top, b"font" | b"td") || (row && top == b"tr"))
        {
            self.pop();
        }
    }

    fn attributes(&mut self, tag: &[u8], look: &mut Look, attributes: &Attributes<'_>) {
        let takes: &[&[u8]] = match tag {
            b"basefont" | b"font" => &[b"color", b"face", b"size"],
            b"body" => &[b"text", b"bgcolor", b"link", b"alink", b"vlink", b"background"],
            b"marquee" => &[b"bgcolor", b"background"],
            b"table" | b"td" | b"th" | b"tr" => &[b"bgcolor", b"style"],
            _ => &[b"style"],
        };
        for (name, value) in attributes.each() {
            if !takes.contains(&name.as_slice()) {
                continue;
            }
            match name.as_slice() {
                b"text" | b"color" => look.fore = Color::parse(&value),
                b"size" => look.size = self.size(&value).unwrap_or(look.size),
                b"style" => self.style(look, &value),
                _ => {}
            }
            if look.size > self.most {
                self.most = look.size;
            } else if look.size < self.least {
                self.least = look.size;
            }
        }
    }

    fn size(&self, value: &[u8]) -> Option<i64> {
        let value = &value[value.iter().take_while(|byte| is_space(**byte)).count()..];
        match value {
            [b'+', rest @ ..] if unsigned(rest).is_some_and(|_| !is_space(rest[0])) => {
                Some(self.base.saturating_add(unsigned(rest)?))
            }
            [b'-', rest @ ..] if unsigned(rest).is_some_and(|_| !is_space(rest[0])) => {
                Some(self.base.saturating_sub(unsigned(rest)?))
            }
            _ => unsigned(value),
        }
    }

    /// A style attribute.
    fn style(&self, look: &mut Look, style: &[u8]) {
        for part in style.split(|byte| *byte == b';') {
            let part = &part[part.iter().take_while(|byte| is_space(**byte)).count()..];
            let Some(colon) = memchr::memchr(b':', part) else { continue };
            let (name, value) = (&part[..colon], trim(&part[colon + 1..]));
            // Nothing but blanks is a colour, if one that is none.
            let blank = value.is_empty() && part[colon + 1..].iter().any(|byte| *byte != b'\n');
            if value.is_empty() && !blank || memchr::memchr(b'\n', value).is_some() {
                continue;
            }
            let back = name.eq_ignore_ascii_case(b"background-color");
            if back || name.eq_ignore_ascii_case(b"color") {
                if let Some(color) = style_color(value) {
                    *(if back { &mut look.back } else { &mut look.fore }) = color;
                }
            } else if name == b"background" {
                if let Some(color) = background(&value.to_ascii_lowercase()) {
                    look.back = color;
                }
            } else {
                let is = |word: &[u8]| value.eq_ignore_ascii_case(word);
                match super::perl::trim_end(name) {
                    b"display" => look.gone = is(b"none"),
                    b"visibility" => look.hidden = is(b"hidden"),
                    _ => {}
                }
            }
        }
        if look.back == Color::Transparent {
            look.back = self.stack.last().map_or(Color::of(0xff_ffff), |parent| parent.back.clone());
        }
        if look.fore == Color::Transparent {
            look.fore = look.back.clone();
        }
    }

    /// Whether text cannot be seen here.
    pub(crate) fn hides(&self, facts: &mut HtmlFacts) -> bool {
        let Some(look) = self.stack.last() else { return false };
        if look.fore.same(&look.back) {
            facts.font_low_contrast = true;
            return true;
        }
        if let (Some(fore), Some(back)) = (look.fore.parts(), look.back.parts()) {
            let weighted = |at: usize, weight: f64| (weight * (fore[at] - back[at])).powi(2);
            let distance = (weighted(0, 0.2126) + weighted(1, 0.7152) + weighted(2, 0.0722)).sqrt();
            if distance < 12.0 {
                facts.font_low_contrast = true;
                return true;
            }
        }
        if look.fore == Color::Invalid || look.back == Color::Invalid {
            facts.font_invalid_color = true;
            return true;
        }
        look.size <= 1 || look.gone || look.hidden
    }

    /// The least and the greatest size of letters.
    pub(crate) fn sizes(&self) -> (i64, i64) {
        (self.least, self.most)
    }
}

/// The number with which a text begins, behind white space.
fn unsigned(text: &[u8]) -> Option<i64> {
    let text = &text[text.iter().take_while(|byte| is_space(**byte)).count()..];
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = std::str::from_utf8(&text[..digits]).ok().filter(|digits| !digits.is_empty())?;
    Some(digits.parse().unwrap_or(i64::MAX))
}

/// The colour in a style; None if it says that the one around holds.
fn style_color(value: &[u8]) -> Option<Color> {
    let mut value = value.to_ascii_lowercase();
    if value.ends_with(b"important")
        && let Some(mark) = memchr::memrchr(b'!', &value)
        && trim(&value[mark + 1..]) == b"important"
    {
        let kept = super::perl::trim_end(&value[..mark]).len();
        value.truncate(kept);
    }
    match value.as_slice() {
        _ if find(&value, b"rgb", 0).is_some() => Some(Color::parse_style(&value)),
        b"inherit" => None,
        b"transparent" => Some(Color::Transparent),
        _ => Some(Color::parse(&value)),
    }
}

/// The colour in the last layer of a `background`.
fn background(value: &[u8]) -> Option<Color> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut layer: Option<Vec<Vec<u8>>> = None;
    let mut word = Vec::new();
    let mut quote = 0;
    let mut bracket = false;
    for byte in value {
        match byte {
            _ if quote != 0 => {
                word.push(*byte);
                if *byte == quote {
                    quote = 0;
                }
            }
            b'"' | b'\'' => {
                word.push(*byte);
                quote = *byte;
            }
            b')' if bracket => {
                word.push(*byte);
                words.push(std::mem::take(&mut word));
                bracket = false;
            }
            _ if bracket => word.push(*byte),
            b'(' => {
                word.push(*byte);
                bracket = true;
            }
            b' ' | b',' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if *byte == b',' {
                    layer = Some(std::mem::take(&mut words));
                }
            }
            _ => word.push(*byte),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let last = if words.is_empty() { layer? } else { words };
    last.iter()
        .filter(|word| !starts_with(word, b"url("))
        .map(|word| Color::parse(word))
        .find(|color| *color != Color::Invalid)
}
