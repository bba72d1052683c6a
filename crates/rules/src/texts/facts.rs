//! What rules may ask of a page, and the addresses in it.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::perl::{find, is_space, is_word, starts_with};
use super::render::Attributes;
use super::resolve::resolve;

/// Longer addresses are cut.
pub(crate) const LONGEST_URI: usize = 8192;
/// No more addresses than that are kept of a page, and no more octets of them.
const MOST_URIS: usize = 20_000;
const MOST_OCTETS: usize = 4 << 20;

/// What is told of a page, under the names of SpamAssassin's HTMLEval.
#[derive(Clone, Debug, Default)]
pub struct HtmlFacts {
    /// How many of each tag are still open at the end; tags that do not stand in it are not here.
    pub(crate) inside: HashMap<Vec<u8>, i64>,
    pub(crate) length: usize,
    pub(crate) html_length: usize,
    pub(crate) non_space_len: usize,
    pub(crate) ratio: Option<f64>,
    pub(crate) image_area: u64,
    pub(crate) min_size: i64,
    pub(crate) max_size: i64,
    pub(crate) closed_extra_ratio: Option<f64>,
    pub(crate) bad_tag_ratio: Option<f64>,
    pub(crate) non_element_ratio: Option<f64>,
    pub(crate) obfuscation_ratio: Option<f64>,
    pub(crate) backhair_count: Option<usize>,
    pub(crate) font_low_contrast: bool,
    pub(crate) font_invalid_color: bool,
    pub(crate) font_face_bad: bool,
    pub(crate) form_action_mailto: bool,
    pub(crate) embeds: bool,
    pub(crate) titles: Vec<Vec<u8>>,
    pub(crate) anchors: Vec<Vec<u8>>,
    pub(crate) scripts: Vec<Bytes>,
    pub(crate) comments: Vec<Bytes>,
    pub(crate) uri_truncated: bool,
    /// There are more addresses than are looked at.
    pub(crate) uris_left_out: bool,
    /// The addresses in it, and the text of links, by the link as it stands.
    pub uris: Vec<HtmlUri>,
}

/// An address in a page.
#[derive(Clone, Debug, Default)]
pub struct HtmlUri {
    /// The address, made absolute where the page says to what; or, with the text of links, as it stands in the link.
    pub uri: Bytes,
    /// The elements that it stands in (`a`, `img`).
    pub types: BTreeSet<&'static str>,
    /// The text of each link to it; None if it is no link.
    pub anchor_texts: Option<Vec<Vec<u8>>>,
    /// It was made out as characters, not as octets.
    pub(crate) wide: bool,
}

impl HtmlFacts {
    /// How many of a tag are still open at the end; None if it does not stand in the page.
    pub fn inside(&self, tag: &str) -> Option<i64> {
        self.inside.get(tag.as_bytes()).copied()
    }

    /// Each tag of the page with how many of it are still open at the end.
    pub fn open_tags(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.inside.iter().map(|(tag, open)| (tag.as_slice(), *open))
    }

    /// A number by SpamAssassin's name for it (`html_eval`, `html_range`, `html_test`: what is true is 1). None if it is
    /// not set.
    pub fn number(&self, name: &str) -> Option<f64> {
        let flag = |flag: bool| flag.then_some(1.0);
        match name {
            "html" => Some(1.0),
            "length" => Some(self.length as f64),
            "html_length" => Some(self.html_length as f64),
            "non_space_len" => Some(self.non_space_len as f64),
            "ratio" => self.ratio,
            "image_area" => Some(self.image_area as f64),
            "min_size" => Some(self.min_size as f64),
            "max_size" => Some(self.max_size as f64),
            "closed_extra_ratio" => self.closed_extra_ratio,
            "bad_tag_ratio" => self.bad_tag_ratio,
            "non_element_ratio" => self.non_element_ratio,
            "obfuscation_ratio" => self.obfuscation_ratio,
            "backhair_count" => self.backhair_count.map(|count| count as f64),
            "font_low_contrast" => flag(self.font_low_contrast),
            "font_invalid_color" => flag(self.font_invalid_color),
            "font_face_bad" => flag(self.font_face_bad),
            "form_action_mailto" => flag(self.form_action_mailto),
            "embeds" => flag(self.embeds),
            "uri_truncated" => flag(self.uri_truncated),
            _ => None,
        }
    }

    /// Texts by SpamAssassin's name for them: `title`, `anchor`, `script`, `comment`. None for other names and where there is
    /// none.
    pub fn texts(&self, name: &str) -> Option<Vec<&[u8]>> {
        let texts: Vec<&[u8]> = match name {
            "title" => self.titles.iter().map(Vec::as_slice).collect(),
            "anchor" => self.anchors.iter().map(Vec::as_slice).collect(),
            "script" => self.scripts.iter().map(|text| &text[..]).collect(),
            "comment" => self.comments.iter().map(|text| &text[..]).collect(),
            _ => return None,
        };
        (!texts.is_empty()).then_some(texts)
    }
}

/// Collects the addresses of a page.
#[derive(Debug, Default)]
pub(crate) struct Links {
    base: Vec<u8>,
    uris: Vec<HtmlUri>,
    places: HashMap<Bytes, usize>,
    octets: usize,
    truncated: bool,
    /// There are more than are kept.
    pub(crate) left_out: bool,
    wide: bool,
}

impl Links {
    /// Takes the addresses of a tag. Gives the `href` of a link as it counts for its text.
    pub(crate) fn tag(&mut self, tag: &[u8], attributes: &mut Attributes<'_>, wide: bool) -> Option<Vec<u8>> {
        self.wide = wide;
        match tag {
            b"body" => self.push_attribute("body", attributes, b"background"),
            b"table" => self.push_attribute("table", attributes, b"background"),
            b"tr" => self.push_attribute("tr", attributes, b"background"),
            b"td" => self.push_attribute("td", attributes, b"background"),
            b"a" | b"area" | b"link" => {
                let kind = if tag == b"a" {
                    "a"
                } else if tag == b"area" {
                    "area"
                } else {
                    "link"
                };
                let mut href = attributes.behind_slash(b"/href").or_else(|| attributes.get(b"href"));
                if let Some(href) = &mut href {
                    let marked = memchr::memmem::find(href, "\u{feff}".as_bytes()).is_some();
                    if marked {
                        *href = without(href, "\u{feff}".as_bytes());
                    }
                    self.push(kind, href);
                }
                self.push_attribute(kind, attributes, b"data-saferedirecturl");
                return href.map(|href| self.canon(&href));
            }
            b"img" => self.push_source("img", attributes),
            b"frame" => self.push_source("frame", attributes),
            b"iframe" => self.push_source("iframe", attributes),
            b"embed" => self.push_source("embed", attributes),
            b"script" => self.push_source("script", attributes),
            b"bgsound" => self.push_source("bgsound", attributes),
            b"form" => self.push_attribute("form", attributes, b"action"),
            b"base" => {
                if let Some(href) = attributes.get(b"href").filter(|href| !href.is_empty() && href != b"0") {
                    let href = self.canon(&href);
                    self.push("base", &href);
                    self.set_base(href);
                }
            }
            b"meta" => {
                let refresh =
                    attributes.get(b"http-equiv").is_some_and(|value| find(&value, b"refresh", 0).is_some());
                let target =
                    attributes.get(b"content").filter(|_| refresh).and_then(|content| refreshed(&content));
                if let Some(target) = target {
                    self.push("meta", &target);
                }
            }
            _ => {}
        }
        None
    }

    fn push_attribute(&mut self, kind: &'static str, attributes: &Attributes<'_>, name: &[u8]) {
        if let Some(value) = attributes.get(name) {
            self.push(kind, &value);
        }
    }

    fn push_source(&mut self, kind: &'static str, attributes: &Attributes<'_>) {
        if let Some(value) = attributes.behind_slash(b"/src").or_else(|| attributes.get(b"src")) {
            self.push(kind, &value);
        }
    }

    fn push(&mut self, kind: &'static str, uri: &[u8]) {
        let uri = self.canon(uri);
        if uri.is_empty() {
            return;
        }
        let own = [&b"data:"[..], b"mailto:", b"file:", b"cid:", b"tel:"]
            .iter()
            .any(|scheme| starts_with(&uri, scheme));
        let target = if own { uri } else { resolve(&self.base, &uri) };
        if !target.is_empty()
            && let Some(place) = self.entry(target)
        {
            self.uris[place].types.insert(kind);
        }
    }

    /// Without white space at the ends, and not too long.
    fn canon(&mut self, uri: &[u8]) -> Vec<u8> {
        let uri = trim_wide(uri, self.wide);
        if uri.len() <= LONGEST_URI {
            return uri.to_vec();
        }
        self.truncated = true;
        let mut end = LONGEST_URI;
        while self.wide && end > 0 && uri[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        uri[..end].to_vec()
    }

    /// The entry of an address; None if there are too many already.
    fn entry(&mut self, uri: Vec<u8>) -> Option<usize> {
        if let Some(place) = self.places.get(uri.as_slice()) {
            return Some(*place);
        }
        self.octets += uri.len();
        if self.uris.len() >= MOST_URIS || self.octets > MOST_OCTETS {
            (self.truncated, self.left_out) = (true, true);
            return None;
        }
        let uri = Bytes::from(uri);
        self.places.insert(uri.clone(), self.uris.len());
        self.uris.push(HtmlUri { uri, wide: self.wide, ..HtmlUri::default() });
        Some(self.uris.len() - 1)
    }

    /// A link begins whose address stands there so. Gives its entry.
    pub(crate) fn anchor(&mut self, href: Vec<u8>) -> usize {
        let Some(place) = self.entry(href) else { return usize::MAX };
        self.uris[place].anchor_texts.get_or_insert_default().push(Vec::new());
        place
    }

    /// Text of the last link to the address of that entry.
    pub(crate) fn anchor_text(&mut self, place: usize, text: &[u8]) {
        let entry = self.uris.get_mut(place);
        if let Some(last) =
            entry.and_then(|entry| entry.anchor_texts.as_mut()).and_then(|texts| texts.last_mut())
        {
            last.extend_from_slice(text);
        }
    }

    fn set_base(&mut self, mut href: Vec<u8>) {
        let scheme =
            [&b"http:"[..], b"https:", b"ftp:"].into_iter().find(|scheme| starts_with(&href, scheme));
        let Some(scheme) = scheme else { return };
        let host =
            scheme.len() + href[scheme.len()..].iter().take(2).take_while(|byte| **byte == b'/').count();
        // A file name with an extension at the end goes.
        if let Some(slash) = memchr::memchr(b'/', &href[host..]).filter(|at| *at > 0).map(|at| host + at + 1)
            && let Some(dot) = memchr::memrchr(b'.', &href).filter(|dot| *dot > slash)
            && (2..=4).contains(&(href.len() - dot - 1))
            && memchr::memchr(b'/', &href[dot..]).is_none()
        {
            let start = href[..dot]
                .iter()
                .rposition(|byte| matches!(byte, b'/' | b'.'))
                .map_or(0, |at| at + 1)
                .max(slash);
            if start < dot {
                href.truncate(start);
            }
        }
        if !href.ends_with(b"/") {
            href.push(b'/');
        }
        self.base = href;
    }

    /// All of them, and whether some were cut or left out.
    pub(crate) fn finish(self) -> (Vec<HtmlUri>, bool) {
        (self.uris, self.truncated)
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

/// Without white space and no-break spaces at the ends.
fn trim_wide(text: &[u8], wide: bool) -> &[u8] {
    if wide && let Ok(text) = std::str::from_utf8(text) {
        return text.trim_matches(super::perl::is_wide_space).as_bytes();
    }
    let blank = |byte: &u8| is_space(*byte) || *byte == 0xa0;
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let end = text.iter().rev().take_while(|byte| blank(byte)).count();
    &text[start..text.len().saturating_sub(end).max(start)]
}

/// The address in the content of a refresh.
fn refreshed(content: &[u8]) -> Option<Vec<u8>> {
    let line = content;
    let mut found = None;
    let mut from = 0;
    while let Some(at) = find(line, b"url", from) {
        from = at + 1;
        let rest = &line[at + 3..];
        let rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
        if (at == 0 || !is_word(line[at - 1])) && rest.first() == Some(&b'=') {
            found = Some(&rest[1..]);
        }
    }
    let rest = found?;
    let rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
    let end = memchr::memchr(b';', rest).map_or(rest.len(), |at| super::perl::trim_end(&rest[..at]).len());
    Some(rest[..end].to_vec())
}
