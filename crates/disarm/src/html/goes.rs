//! What goes from a page, tag by tag.

use std::ops::Range;

use gatepost_mail::Defang;

use super::tags::{self, Attribute, Tag};
use super::{css, values};
use crate::Unreadable;
use crate::edits::Edits;

/// What is to go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goes {
    scripts: bool,
    forms: bool,
    frames: bool,
    objects: bool,
    remote: bool,
    pixels: bool,
    links: bool,
}

impl Goes {
    pub(super) fn of(what: &[Defang]) -> Goes {
        let mut goes = Goes::default();
        for one in what {
            match one {
                Defang::Scripts => goes.scripts = true,
                Defang::Forms => goes.forms = true,
                Defang::Frames => goes.frames = true,
                Defang::Objects => goes.objects = true,
                Defang::RemoteContent => goes.remote = true,
                Defang::TrackingPixels => goes.pixels = true,
                Defang::Links => goes.links = true,
            }
        }
        goes
    }

    /// Whether this is among them.
    pub(super) fn has(self, one: Defang) -> bool {
        match one {
            Defang::Scripts => self.scripts,
            Defang::Forms => self.forms,
            Defang::Frames => self.frames,
            Defang::Objects => self.objects,
            Defang::RemoteContent => self.remote,
            Defang::TrackingPixels => self.pixels,
            Defang::Links => self.links,
        }
    }

    /// These and those.
    pub(super) fn add(&mut self, other: Goes) {
        self.scripts |= other.scripts;
        self.forms |= other.forms;
        self.frames |= other.frames;
        self.objects |= other.objects;
        self.remote |= other.remote;
        self.pixels |= other.pixels;
        self.links |= other.links;
    }

    fn anything(self) -> bool {
        self.scripts || self.forms || self.frames || self.objects || self.remote || self.pixels || self.links
    }
}

const FORMS: &[&str] =
    &["form", "input", "button", "select", "option", "optgroup", "textarea", "keygen", "isindex", "datalist"];
const FRAMES: &[&str] =
    &["iframe", "frame", "frameset", "noframes", "layer", "ilayer", "portal", "fencedframe"];
const OBJECTS: &[&str] =
    &["object", "embed", "applet", "param", "audio", "video", "track", "bgsound", "noembed", "media"];

/// Elements that are scripts, or stand for their events in pictures, and others that make elements of what they name.
const SCRIPTS: &[&str] = &["script", "handler", "listener"];

/// Attributes whose address is fetched while the page is shown.
const FETCHED: &[&str] = &[
    "archive",
    "attributionsrc",
    "background",
    "classid",
    "code",
    "codebase",
    "data",
    "datasrc",
    "dynsrc",
    "icon",
    "implementation",
    "lowsrc",
    "manifest",
    "movie",
    "ping",
    "poster",
    "src",
];

/// Elements whose `href` is fetched, where others' is a link.
const FETCHING: &[&str] = &[
    "altglyph",
    "animate",
    "cursor",
    "feimage",
    "filter",
    "font-face-uri",
    "image",
    "include",
    "lineargradient",
    "link",
    "mpath",
    "object",
    "pattern",
    "radialgradient",
    "script",
    "set",
    "textpath",
    "tref",
    "use",
];

/// Attributes that are read by people.
const TEXTS: &[&str] = &["alt", "title", "summary", "abbr", "placeholder", "content", "aria-label", "label"];

/// One pass over a page.
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    goes: Goes,
    /// The page says where relative addresses lead.
    based: bool,
    /// Bytes that may still be looked at.
    work: usize,
    pub(super) edits: Edits,
    /// For what the edits are made.
    pub(super) taken: Goes,
}

impl<'a> Page<'a> {
    pub(super) fn new(bytes: &'a [u8], goes: Goes) -> Page<'a> {
        const TIMES: usize = 64;
        const AT_LEAST: usize = 1 << 20;
        let work = bytes.len().saturating_mul(TIMES) + AT_LEAST;
        Page { bytes, goes, based: has_base(bytes), work, edits: Edits::default(), taken: Goes::default() }
    }

    /// Looks at what begins with this `<`.
    pub(super) fn look(&mut self, at: usize) -> Result<(), Unreadable> {
        let rest = &self.bytes[at + 1..];
        match rest.iter().find(|byte| **byte != 0) {
            Some(b'!') => self.declaration(at),
            Some(b'?') => self.instruction(at),
            _ => {
                let Ok(tag) = tags::read(self.bytes, at) else {
                    return Err(Unreadable::Malformed("a tag with thousands of attributes"));
                };
                let Some(tag) = tag else { return Ok(()) };
                self.spend(tag.range.len())?;
                self.tag(&tag)
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.work = self.work.checked_sub(bytes).ok_or(Unreadable::Malformed("tags within tags"))?;
        Ok(())
    }

    /// Declarations that make XML readers take text for tags, or add attributes: their sign goes, and with it their meaning.
    fn declaration(&mut self, at: usize) -> Result<(), Unreadable> {
        let head = self.bytes[at..].get(..10).unwrap_or_default().to_ascii_uppercase();
        if self.goes.anything() && (head.starts_with(b"<!ENTITY") || head.starts_with(b"<!ATTLIST")) {
            self.taken.add(self.goes);
            self.edits.replace(at..at + 2, "");
        }
        Ok(())
    }

    /// Instructions that fetch styles, or code.
    fn instruction(&mut self, at: usize) -> Result<(), Unreadable> {
        let rest = &self.bytes[at..];
        let word: Vec<u8> =
            rest.iter().filter(|byte| **byte != 0).skip(2).take(14).map(u8::to_ascii_lowercase).collect();
        let acts = word.starts_with(b"xml-stylesheet") || word.starts_with(b"import");
        if acts && (self.goes.scripts || self.goes.remote) {
            let end = memchr::memchr(b'>', rest).map_or(rest.len(), |end| end + 1);
            self.spend(end)?;
            let Goes { scripts, remote, .. } = self.goes;
            self.taken.add(Goes { scripts, remote, ..Goes::default() });
            self.edits.replace(at..at + end, "");
        }
        Ok(())
    }

    fn tag(&mut self, tag: &Tag) -> Result<(), Unreadable> {
        let name = tag.local();
        let goes = self.goes;
        if goes.scripts && SCRIPTS.contains(&name) {
            return self.script(tag);
        }
        let is_object = || OBJECTS.contains(&name) || name == "source" && tag.get("srcset").is_none();
        let whole = Goes {
            forms: goes.forms && FORMS.contains(&name),
            frames: goes.frames && FRAMES.contains(&name),
            objects: goes.objects && is_object(),
            pixels: goes.pixels && self.is_pixel(tag),
            ..self.acts(tag)
        };
        if whole.anything() {
            self.taken.add(whole);
            // What stood in fields must not become one word.
            let with = if matches!(name, "option" | "button" | "input") { " " } else { "" };
            self.edits.replace(tag.range.clone(), with);
            return Ok(());
        }
        if name == "style" && !tag.closing && (goes.scripts || goes.remote) {
            self.style(tag)?;
        }
        for attribute in &tag.attributes {
            self.attribute(tag, attribute)?;
        }
        Ok(())
    }

    /// A script goes with its content, unless another begins in that: then who knows where it ends.
    fn script(&mut self, tag: &Tag) -> Result<(), Unreadable> {
        let mut range = tag.range.clone();
        if !tag.closing
            && !tag.empty
            && let Some(end) = self.end_of(tag, true)?
        {
            range.end = end.end;
        }
        self.taken.scripts = true;
        self.edits.replace(range, "");
        Ok(())
    }

    /// Where the end tag of an element stands, none of the same name beginning before it. Of scripts the whole tag, of others
    /// the `<`.
    fn end_of(&mut self, tag: &Tag, alone: bool) -> Result<Option<Range<usize>>, Unreadable> {
        let from = tag.range.end;
        let mut end = None;
        for at in memchr::memchr_iter(b'<', &self.bytes[from..]) {
            let head = &self.bytes[from + at + 1..];
            let named = |head: &[u8]| {
                head.get(..tag.name.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag.name.as_bytes()))
            };
            if head.strip_prefix(b"/").is_some_and(named) {
                let rest = &self.bytes[from + at..];
                let length = memchr::memchr(b'>', rest).map_or(rest.len(), |length| length + 1);
                end = Some(from + at..from + at + length);
                break;
            }
            if alone && named(head) {
                break;
            }
        }
        self.spend(end.as_ref().map_or(self.bytes.len(), |end| end.end) - from)?;
        Ok(end)
    }

    /// Style stands as text in HTML; in pictures and XHTML, entities in it are decoded.
    fn style(&mut self, tag: &Tag) -> Result<(), Unreadable> {
        let end = self.end_of(tag, false)?.map_or(self.bytes.len(), |end| end.start);
        let content = tag.range.end..end;
        let style = &self.bytes[content.clone()];
        if let Some(cleaned) = css::cleaned(style, self.style_goes()) {
            self.style_taken(&cleaned);
            self.edits.replace(content, cleaned.style);
        } else if style.contains(&b'&')
            && let Some(cleaned) = css::cleaned(values::decoded(style).as_bytes(), self.style_goes())
        {
            self.style_taken(&cleaned);
            self.edits.replace(content, " ");
        }
        Ok(())
    }

    fn style_taken(&mut self, cleaned: &css::Cleaned) {
        self.taken.add(Goes { scripts: cleaned.scripts, remote: cleaned.remote, ..Goes::default() });
    }

    fn style_goes(&self) -> css::Goes {
        css::Goes { scripts: self.goes.scripts, remote: self.goes.remote, based: self.based }
    }

    /// For what an element goes as a whole because it acts by one of its attributes.
    fn acts(&self, tag: &Tag) -> Goes {
        let Goes { scripts, remote, .. } = self.goes;
        let of = |scripts: bool, remote: bool| Goes { scripts, remote, ..Goes::default() };
        let value = |name: &str| tag.get(name).map(|value| values::address(&value).to_ascii_lowercase());
        match tag.local() {
            "meta" if scripts || remote => {
                let acts = ["refresh", "link", "x-dns-prefetch-control"];
                let acts = value("http-equiv").is_some_and(|value| acts.contains(&value.as_str()));
                of(scripts && acts, remote && acts)
            }
            "link" => {
                let rel = value("rel").unwrap_or_default();
                of(
                    scripts && (rel.contains("import") || rel.contains("modulepreload")),
                    remote && tag.attributes.iter().any(|one| self.is_fetched(tag, one)),
                )
            }
            "set" | "animate" | "animatetransform" | "animatemotion" | "animatecolor" if scripts => {
                let changes = |name: String| name.starts_with("on") || name.ends_with("href");
                of(value("attributename").is_some_and(changes), false)
            }
            "include" => of(false, remote && tag.name.starts_with("xi:")),
            _ => Goes::default(),
        }
    }

    /// A picture that nobody can see, from elsewhere.
    fn is_pixel(&self, tag: &Tag) -> bool {
        let name = tag.local();
        let picture = matches!(name, "img" | "image")
            || name == "input" && tag.get("type").is_some_and(|kind| kind.eq_ignore_ascii_case("image"));
        picture && tag.attributes.iter().any(|one| self.is_fetched(tag, one)) && is_hidden(tag)
    }

    /// Whether an attribute leads to something that is fetched from elsewhere.
    fn is_fetched(&self, tag: &Tag, attribute: &Attribute) -> bool {
        let value = || values::decoded(attribute.raw);
        match attribute.local() {
            "srcset" | "imagesrcset" => values::has_remote(&value(), self.based),
            "href" if FETCHING.contains(&tag.local()) => values::is_remote(&value(), self.based),
            "value" if tag.local() == "param" => values::is_remote(&value(), false),
            name if FETCHED.contains(&name) => values::is_remote(&value(), self.based && name != "ping"),
            _ => false,
        }
    }

    fn attribute(&mut self, tag: &Tag, attribute: &Attribute) -> Result<(), Unreadable> {
        let name = attribute.local();
        let goes = self.goes;
        let gone = match name {
            "srcdoc" => goes,
            _ => Goes {
                scripts: goes.scripts && is_script(attribute),
                forms: goes.forms && name == "formaction",
                remote: goes.remote && self.is_fetched(tag, attribute),
                ..Goes::default()
            },
        };
        let link = goes.links && name == "href" && !FETCHING.contains(&tag.local()) && tag.local() != "base";
        if gone.anything() {
            self.taken.add(gone);
            self.edits.replace(self.with_space(attribute.range.clone()), "");
        } else if link {
            self.link(tag, attribute)?;
        } else if goes.links && name == "ping" {
            self.taken.links = true;
            self.edits.replace(self.with_space(attribute.range.clone()), "");
        } else if name == "style" || memchr::memchr2(b'(', b'&', attribute.raw).is_some() {
            self.style_of(attribute);
        }
        Ok(())
    }

    /// Style in an attribute; pictures have it in others than `style` too. What stays is written anew.
    fn style_of(&mut self, attribute: &Attribute) {
        let decoded = values::decoded(attribute.raw);
        if attribute.name != "style" && !decoded.to_ascii_lowercase().contains("url") {
            return;
        }
        // Elsewhere than in style, words are only words.
        let mut goes = self.style_goes();
        goes.scripts &= attribute.name == "style";
        if TEXTS.contains(&attribute.local()) || attribute.local() == "href" {
            return;
        }
        if let Some(cleaned) = css::cleaned(decoded.as_bytes(), goes) {
            self.style_taken(&cleaned);
            let text = String::from_utf8_lossy(&cleaned.style)
                .replace('&', "&amp;")
                .replace('"', "&quot;")
                .replace('<', "&lt;");
            self.edits.replace(attribute.value_range.clone(), format!("\"{text}\""));
        }
    }

    /// A link is no more, and where it led is told behind its text.
    fn link(&mut self, tag: &Tag, attribute: &Attribute) -> Result<(), Unreadable> {
        let value = values::decoded(attribute.raw);
        let address = values::address(&value);
        let lower = address.to_ascii_lowercase();
        if address.is_empty() || ["#", "cid:", "mid:"].iter().any(|within| lower.starts_with(within)) {
            return Ok(());
        }
        self.taken.links = true;
        self.edits.replace(self.with_space(attribute.range.clone()), "");
        if tag.closing || values::is_script(&address) {
            return Ok(());
        }
        // Behind the end of the element, or before the next of its kind, or at once.
        let from = tag.range.end;
        let mut place = from;
        let mut looked = self.bytes.len();
        for at in memchr::memchr_iter(b'<', &self.bytes[from..]) {
            let head = &self.bytes[from + at + 1..];
            let closing = head.starts_with(b"/");
            let head = &head[usize::from(closing)..];
            let is_same =
                head.get(..tag.name.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag.name.as_bytes()))
                    && head.get(tag.name.len()).is_none_or(|next| !next.is_ascii_alphanumeric());
            if is_same {
                let end = if closing {
                    memchr::memchr(b'>', head).map_or(head.len(), |end| end + 2) + 1
                } else {
                    0
                };
                place = (from + at + end).min(self.bytes.len());
                looked = place;
                break;
            }
        }
        self.spend(looked.max(from) - from)?;
        self.edits.replace(place..place, values::shown(&value));
        Ok(())
    }

    /// A range with the white space before it.
    fn with_space(&self, range: Range<usize>) -> Range<usize> {
        let before = &self.bytes[..range.start];
        let space = before.iter().rev().take_while(|byte| tags::is_space(**byte)).count();
        range.start - space..range.end
    }
}

/// Whether an attribute is a script, or has one in it.
fn is_script(attribute: &Attribute) -> bool {
    let handles = |name: &str| name.len() > 2 && name.starts_with("on");
    let name = attribute.local();
    if handles(&attribute.name) || handles(name) || name == "dataformatas" {
        return true;
    }
    if TEXTS.contains(&name) || memchr::memchr2(b':', b'&', attribute.raw).is_none() {
        return false;
    }
    let value = values::decoded(attribute.raw);
    let address = values::address(&value);
    // A picture that is shown as one runs nothing.
    let shown = name == "src" || name == "background";
    if shown && address.to_ascii_lowercase().starts_with("data:image/") {
        return false;
    }
    values::is_script(&address)
        || matches!(name, "values" | "to" | "from" | "by") && values::names_script(&value)
}

/// Whether nobody can see an element: it has no size, one pixel, or is hidden by its style.
fn is_hidden(tag: &Tag) -> bool {
    let style: String =
        tag.get("style").unwrap_or_default().to_ascii_lowercase().split_whitespace().collect();
    let property = |name: &str| {
        style.split(';').rev().find_map(|one| one.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
    };
    let says = |name: &str, value: &str| property(name).is_some_and(|found| found.starts_with(value));
    if tag.get("hidden").is_some()
        || says("display", "none")
        || says("visibility", "hidden")
        || property("opacity").is_some_and(|opacity| opacity.trim_start_matches(['0', '.']).is_empty())
    {
        return true;
    }
    let sizes: Vec<f32> = ["width", "height", "max-width", "max-height"]
        .into_iter()
        .flat_map(|name| [property(name), tag.get(name).filter(|_| !name.starts_with("max"))])
        .flatten()
        .filter_map(|size| pixels(&size))
        .collect();
    sizes.iter().any(|size| *size < 1.0) || !sizes.is_empty() && sizes.iter().all(|size| *size <= 1.0)
}

/// A size in pixels; other units are some size, unless they are none at all.
fn pixels(size: &str) -> Option<f32> {
    let size = size.trim();
    let end = size.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(size.len());
    let number: f32 = size[..end].parse().ok()?;
    let unit = size[end..].trim_start();
    if unit.is_empty() || unit.starts_with("px") || number == 0.0 { Some(number) } else { None }
}

/// Whether the page says where relative addresses lead, to elsewhere. The first such tag counts; more than a few are not
/// looked at, and taken to say so.
fn has_base(bytes: &[u8]) -> bool {
    const MOST: usize = 16;
    let begins = |at: &usize| {
        let head = bytes[at + 1..].iter().filter(|byte| **byte != 0).take(4).map(u8::to_ascii_lowercase);
        head.eq(*b"base")
    };
    let bases: Vec<usize> = memchr::memchr_iter(b'<', bytes).filter(begins).take(MOST).collect();
    bases.len() == MOST
        || bases.into_iter().any(|at| {
            let tag = tags::read(bytes, at).ok().flatten().filter(|tag| tag.local() == "base");
            tag.and_then(|tag| tag.get("href")).is_some_and(|href| values::is_remote(&href, false))
        })
}
