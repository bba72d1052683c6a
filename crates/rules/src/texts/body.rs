//! The texts of `body` and `rawbody` rules: rendered paragraphs, and decoded parts in pieces.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::charset::{is_utf8, normalize};
use super::facts::HtmlFacts;
use super::perl::{Text, is_space, is_wide_space, widen};
use super::render::{Rendered, render};
use super::tree::{Node, Tree, is_of};

/// Lines and pieces are about that long.
const PIECE: usize = 2048;
/// A part that is cut is cut at a line end, or a space, within that.
const NEAR: usize = 1024;

/// Which of the rendered text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Visible,
    Invisible,
}

/// The rendered text of a message, in lines: the subject, then the paragraphs. `most`: octets (or characters) of a part
/// that count, 0 for all.
pub(crate) fn rendered(tree: &Tree, which: Which, characters: bool, most: usize) -> Vec<Bytes> {
    let parts: Vec<&Node> = tree.leaves().collect();
    if parts.is_empty() {
        return Vec::new();
    }
    let mut text = Joined::default();
    for part in parts {
        if !text.bytes.is_empty() {
            text.bytes.push(b'\n');
        }
        let Some(rendered) = part.rendered(characters) else { continue };
        let rendered = match which {
            Which::All => &rendered.text,
            Which::Visible => &rendered.visible,
            Which::Invisible => &rendered.invisible,
        };
        text.push(&shortened(rendered, most, b" "));
    }
    let mut out = match (which, tree.nodes[0].header.all(b"subject").next_back()) {
        (Which::Invisible, _) => Vec::new(),
        (_, Some(subject)) => [&subject.decoded()[..], b"\n"].concat(),
        (_, None) => b"\n".to_vec(),
    };
    text.squeeze(&mut out);
    short_lines(&out.into())
}

/// What is told of each page in a message, in order.
pub(crate) fn pages(tree: &Tree, characters: bool) -> Vec<Arc<HtmlFacts>> {
    tree.leaves().filter_map(|part| part.rendered(characters)?.html.clone()).collect()
}

/// The decoded text of a message in pieces. `most`: octets of a part that count, 0 for all.
pub(crate) fn decoded(tree: &Tree, most: usize) -> Vec<Bytes> {
    let is_text = |part: &&Node| {
        let kind = part.effective_kind();
        let sort = |sort: &[u8]| {
            kind == sort
                || is_of(kind, sort)
                || (kind.starts_with(sort) && !super::perl::is_word(kind[sort.len()]))
        };
        (sort(b"text") || sort(b"message")) && part.kind != b"text/calendar"
    };
    let mut pieces = Vec::new();
    for part in tree.leaves().filter(is_text) {
        let text = Text::octets(part.decoded().clone());
        short_pieces(&shortened(&text, most, b"> ").bytes, &mut pieces);
    }
    pieces
}

impl Node {
    /// Its text as it is read; None for what isn't text. `characters`: charsets are normalised.
    pub(crate) fn rendered(&self, characters: bool) -> Option<&Rendered> {
        self.rendered.get_or_init(|| self.render(characters)).as_ref()
    }

    fn render(&self, characters: bool) -> Option<Rendered> {
        let kind = self.effective_kind();
        if kind != b"text/plain" && kind != b"text/html" {
            return None;
        }
        let octets = self.decoded().clone();
        let length = octets.len();
        let charset = self.charset.as_deref().unwrap_or(b"us-ascii");
        let is_page = kind == b"text/html" && length > 0;
        let unicode = charset.eq_ignore_ascii_case(b"us-ascii") || charset.eq_ignore_ascii_case(b"utf-8");
        let text = if characters {
            normalize(octets, charset, false)
        } else if unicode && !octets.is_ascii() && is_utf8(&octets) {
            Text::chars(octets)
        } else {
            Text::octets(octets)
        };
        if is_page {
            return Some(render(&text, characters || text.wide, length));
        }
        Some(Rendered { visible: text.clone(), text, invisible: Text::default(), html: None })
    }
}

/// Cut after about so many octets (or characters): behind the next line end, or else one of `ends`.
fn shortened(text: &Text, most: usize, ends: &[u8]) -> Text {
    if most == 0 || text.bytes.len() <= most {
        return text.clone();
    }
    let mut from = most;
    if text.wide {
        let starts = text.bytes.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80);
        match starts.map(|(at, _)| at).nth(most) {
            Some(at) => from = at,
            None => return text.clone(),
        }
    }
    // A character may take four octets.
    let reach = if text.wide { NEAR * 4 } else { NEAR };
    let near = &text.bytes[from..text.bytes.len().min(from + reach + 1)];
    let within =
        |at: &usize| !text.wide || near[..*at].iter().filter(|byte| **byte & 0xc0 != 0x80).count() <= NEAR;
    let found = [b'\n'].iter().chain(ends).find_map(|end| memchr::memchr(*end, near).filter(within));
    let end = found.map_or(from, |at| from + at + 1);
    Text { bytes: text.bytes.slice(..end), wide: text.wide }
}

/// Texts put behind one another: octets become characters as soon as one of them is characters.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    wide: bool,
}

impl Joined {
    fn push(&mut self, text: &Text) {
        if text.wide && !self.wide {
            if let Cow::Owned(wide) = widen(&self.bytes) {
                self.bytes = wide;
            }
            self.wide = true;
        }
        if self.wide && !text.wide {
            self.bytes.extend_from_slice(&widen(&text.bytes));
        } else {
            self.bytes.extend_from_slice(&text.bytes);
        }
    }

    /// White space in one space, empty lines in one line end, into `out`.
    fn squeeze(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes.len());
        let text = &self.bytes[..];
        let mut at = 0;
        while at < text.len() {
            let solid = self.solid(&text[at..]);
            let start = out.len();
            out.extend_from_slice(&text[at..at + solid]);
            if memchr::memchr(0, &text[at..at + solid]).is_some() {
                out[start..].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'\n');
            }
            at += solid;
            let blank = self.blank(&text[at..]);
            if blank == 0 {
                continue;
            }
            let run = &text[at..at + blank];
            match (memchr::memchr(b'\n', run), memchr::memrchr(b'\n', run)) {
                (Some(first), Some(last)) if first < last => {
                    if first > 0 {
                        out.push(b' ');
                    }
                    out.push(b'\n');
                    if last + 1 < run.len() {
                        out.push(b' ');
                    }
                }
                _ => out.push(b' '),
            }
            at += blank;
        }
    }

    /// How long what isn't white space is.
    fn solid(&self, text: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            if is_space(*byte) || (self.wide && *byte >= 0xc2 && self.wide_space(&text[at..]) > 0) {
                break;
            }
            at += 1;
        }
        at
    }

    fn blank(&self, text: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let length = if is_space(*byte) {
                1
            } else if self.wide {
                self.wide_space(&text[at..])
            } else {
                0
            };
            if length == 0 {
                break;
            }
            at += length;
        }
        at
    }

    /// How long a white space character beyond ASCII is; 0 if it is none.
    fn wide_space(&self, text: &[u8]) -> usize {
        if !matches!(text[0], 0xc2 | 0xe1 | 0xe2 | 0xe3) {
            return 0;
        }
        super::perl::next_char(text)
            .filter(|(c, length)| *length > 1 && is_wide_space(*c))
            .map_or(0, |(_, length)| length)
    }
}

/// Lines, with their ends; longer ones are broken behind a space.
fn short_lines(text: &Bytes) -> Vec<Bytes> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at + 1);
        while end - start > PIECE {
            let space = memchr::memrchr(b' ', &text[start..=start + PIECE]);
            let length = space.map_or(PIECE, |at| at + 1);
            lines.push(text.slice(start..start + length));
            start += length;
        }
        lines.push(text.slice(start..end));
        start = end;
    }
    lines
}

/// Pieces of one to two times the length: up to a line end, a `>`, a space, or just there.
fn short_pieces(text: &Bytes, pieces: &mut Vec<Bytes>) {
    if text.len() <= PIECE {
        pieces.push(text.clone());
        return;
    }
    let mut start = 0;
    while text.len() - start > 2 * PIECE {
        let near = &text[start + PIECE..start + 2 * PIECE];
        let end = [b'\n', b'>', b' '].iter().find_map(|end| memchr::memchr(*end, near));
        let length = PIECE + end.unwrap_or(0) + 1;
        pieces.push(text.slice(start..start + length));
        start += length;
    }
    if start < text.len() {
        pieces.push(text.slice(start..));
    }
}
