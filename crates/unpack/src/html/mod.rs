//! HTML and SVG: the files that pages carry (in `data:` addresses, scripts, hidden text), what their scripts do, forms
//! that ask for passwords, and links that lead elsewhere than they say.
//!
//! Most mail has HTML in it and nothing of the kind. So a page is read only where a search for the few words without
//! which there can be nothing of it finds one, or where the text of a link looks like an address.

mod anchors;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use bytes::Bytes;
use gatepost_mail::{FeatureKind, FileKind, FileType};
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

use crate::opening::{Opening, Stop};
use crate::script::{self, Language, Script, decode};
use anchors::Anchors;

/// Words without one of which a page has no script, no file and no form for passwords, in lower case. Letters as
/// character references (`&#97;`) could hide any of them: nobody writes them so for anything else but addresses of mail.
const MARKS: &[&str] = &[
    "<script",
    ":script",
    "password",
    "srcdoc",
    "onload",
    "onerror",
    "onclick",
    "onmouse",
    "onfocus",
    "onbegin",
    "onanimation",
    "ontoggle",
    "onpointer",
    "onsubmit",
    "hta:",
    "&#0",
    "&#x0",
    "&#x4",
    "&#x5",
    "&#x6",
    "&#x7",
    "&colon",
    "&tab;",
    "&newline",
];

/// Bytes of a page that are read.
const MOST_BYTES: usize = 16 << 20;
/// `data:` addresses of one page that are taken out.
const MOST_ADDRESSES: usize = 64;
/// Bytes of hidden or shown text in one piece that are worth to be tried as base64.
const LONG_TEXT: usize = 64;

/// Whether this is a page with anything of interest in it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    let head = &body[..body.len().min(MOST_BYTES)];
    match detected {
        FileType::SVG | FileType::HTA => true,
        _ if detected.kind == FileKind::Html => {
            wide(head) || has_mark(head) || has_scheme(head) || anchors::may_mislead(head)
        }
        // What does not begin as a page may be opened as one by its name; and a picture may hold one.
        FileType::TEXT | FileType::XML | FileType::DATA | FileType::EML => has_tag(head),
        _ => detected.kind == FileKind::Image && has_tag(&head[..head.len().min(64 << 10)]),
    }
}

fn wide(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff")
}

fn has_mark(body: &[u8]) -> bool {
    static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        let letters = (b'A'..=b'z').map(|letter| format!("&#{letter};"));
        finder(&MARKS.iter().map(|mark| (*mark).to_owned()).chain(letters).collect::<Vec<_>>())
    });
    // Without a finder every page is read, which only costs time.
    FINDER.as_ref().is_none_or(|finder| finder.is_match(body))
}

/// Whether a colon ends `data` or `…script`, with space anywhere in between: browsers drop it from addresses.
fn has_scheme(body: &[u8]) -> bool {
    let ends = |at: usize, scheme: &[u8]| {
        let near = body[at.saturating_sub(32)..at].iter().rev().filter(|byte| !byte.is_ascii_whitespace());
        near.take(scheme.len()).map(u8::to_ascii_lowercase).eq(scheme.iter().rev().copied())
    };
    memchr::memchr_iter(b':', body).any(|at| ends(at, b"data") || ends(at, b"script"))
}

fn has_tag(body: &[u8]) -> bool {
    const TAGS: [&str; 4] = ["<script", "<html", "<iframe", "<svg"];
    static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| finder(&TAGS.map(str::to_owned)));
    FINDER.as_ref().is_none_or(|finder| finder.is_match(body))
}

fn finder(words: &[String]) -> Option<AhoCorasick> {
    let kind = Some(AhoCorasickKind::DFA);
    AhoCorasick::builder().ascii_case_insensitive(true).kind(kind).build(words).ok()
}

/// Opens a page.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let part = opening.part();
    let detected = part.detected;
    let sure = detected.kind == FileKind::Html || matches!(detected, FileType::SVG | FileType::HTA);
    if !sure && !is_shown_as_page(&part.declared, &part.names) && detected.kind != FileKind::Image {
        return Ok(());
    }
    let source = script::narrow(&opening.body);
    let source = source.slice(..source.len().min(MOST_BYTES));
    let mut page =
        Page { xml: detected == FileType::SVG || part.declared.contains("svg"), ..Page::default() };
    page.read(&source, opening)?;
    page.finish(opening)
}

/// Whether a mail program or system shows a part as a page because of what it is called.
fn is_shown_as_page(declared: &str, names: &[String]) -> bool {
    const EXTENSIONS: &[&str] =
        &["htm", "html", "shtml", "xht", "xhtml", "hta", "svg", "mht", "mhtml", "xml"];
    let named = |name: &String| {
        let extension = name.rsplit('.').next().unwrap_or_default().trim_end();
        EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    ["html", "svg", "xml"].iter().any(|word| declared.contains(word)) || names.iter().any(named)
}

/// A page being read.
#[derive(Default)]
struct Page {
    /// Scripts stand in XML: character references in them count.
    xml: bool,
    anchors: Anchors,
    /// The script element that is open: whether it is run, and its language.
    script: Option<(bool, Language)>,
    script_text: Vec<u8>,
    /// Scripts of attributes, all together.
    handlers: Vec<u8>,
    scripted: Option<String>,
    builds: bool,
    offers: bool,
    /// Names that links or scripts offer files under.
    downloads: Vec<String>,
    payloads: Vec<decode::Payload>,
    /// Text to be tried as base64 if the page has a script.
    texts: Vec<Vec<u8>>,
    addresses: usize,
    password: bool,
    /// A `data:` address with a file that no page needs for its look, behind a link.
    offered: Option<String>,
}

impl Page {
    fn read(&mut self, source: &Bytes, opening: &mut Opening) -> Result<(), Stop> {
        /// Tokens between looks at the clock.
        const STEP: usize = 1 << 12;
        let mut emitter = DefaultEmitter::default();
        emitter.naively_switch_states(true);
        for (place, Ok(token)) in Tokenizer::new_with_emitter(&source[..], emitter).enumerate() {
            if place % STEP == STEP - 1 {
                opening.check_time()?;
            }
            match token {
                Token::StartTag(tag) => self.start(&tag, opening)?,
                Token::EndTag(tag) if is_script(&tag.name) => self.end_script(opening),
                Token::EndTag(tag) => self.anchors.end(&tag.name),
                Token::String(text) if self.script.is_some() => self.script_text.extend_from_slice(&text),
                Token::String(text) => {
                    self.anchors.text(&text);
                    self.text(&text);
                }
                Token::Comment(text) => self.text(&text),
                _ => {}
            }
        }
        self.end_script(opening);
        let handlers = std::mem::take(&mut self.handlers);
        if !handlers.is_empty() {
            self.run(&handlers, Language::Js, opening);
        }
        Ok(())
    }

    fn start(&mut self, tag: &StartTag<()>, opening: &mut Opening) -> Result<(), Stop> {
        let name = tag.name.as_slice();
        let attribute = |wanted: &[u8]| tag.attributes.get(wanted).map(|value| value.as_slice());
        if is_script(name) {
            let kind = attribute(b"type").or(attribute(b"language")).unwrap_or_default().to_ascii_lowercase();
            let language =
                if kind.windows(3).any(|part| part == b"vbs") { Language::Vb } else { Language::Js };
            let runs = kind.is_empty()
                || [&b"script"[..], b"module", b"babel"].iter().any(|word| contains(&kind, word));
            if !tag.self_closing || !self.xml {
                self.script = Some((runs, language));
            }
            if runs && let Some(from) = attribute(b"src").or(attribute(b"href")).or(attribute(b"xlink:href"))
            {
                self.scripted(from);
            }
        }
        if name == b"input"
            && attribute(b"type").is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"password"))
        {
            self.password = true;
        }
        self.anchors.start(name, attribute(b"href"));
        for (key, value) in &tag.attributes {
            let offers = attribute(b"download").is_some() || name == b"a";
            self.attribute(key, value, offers, opening)?;
        }
        if let Some(download) = attribute(b"download").filter(|download| !download.is_empty()) {
            self.downloads.push(String::from_utf8_lossy(download).into_owned());
        }
        Ok(())
    }

    fn attribute(
        &mut self,
        name: &[u8],
        value: &[u8],
        offers: bool,
        opening: &mut Opening,
    ) -> Result<(), Stop> {
        let value = value.trim_ascii();
        let scheme: Vec<u8> = value
            .iter()
            .take(24)
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(u8::to_ascii_lowercase)
            .collect();
        if scheme.starts_with(b"data:") {
            return self.data(value, offers, opening);
        }
        if scheme.starts_with(b"javascript:") || scheme.starts_with(b"vbscript:") {
            let language = if scheme[0] == b'v' { Language::Vb } else { Language::Js };
            let from = memchr::memchr(b':', value).map_or(0, |at| at + 1);
            let source = decode::percent_always(&value[from..]);
            if !is_idle(&source) {
                self.scripted(&source);
                if language == Language::Js {
                    self.handlers.extend_from_slice(&source);
                    self.handlers.extend_from_slice(b"\n;\n");
                } else {
                    self.run(&source, language, opening);
                }
            }
        } else if name == b"srcdoc" && !value.is_empty() {
            let payload = decode::Payload { bytes: value.to_vec(), decoded: true };
            script::embed(opening, payload, None)?;
        } else if name.len() > 2 && name.starts_with(b"on") && name.iter().all(u8::is_ascii_alphabetic) {
            self.scripted(value);
            self.handlers.extend_from_slice(value);
            self.handlers.extend_from_slice(b"\n;\n");
        } else if value.len() >= LONG_TEXT {
            self.text(value);
        }
        Ok(())
    }

    /// A `data:` address becomes a part.
    fn data(&mut self, value: &[u8], offers: bool, opening: &mut Opening) -> Result<(), Stop> {
        self.addresses += 1;
        if self.addresses > MOST_ADDRESSES {
            return Ok(());
        }
        let value: Vec<u8> =
            value.iter().copied().filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')).collect();
        let Some(bytes) = decode::data_address(&value).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        if offers && script::is_foreign(&bytes) {
            self.offered.get_or_insert_with(|| FileType::detect(&bytes).name.to_owned());
        }
        let name = self.downloads.first().cloned();
        script::embed(opening, decode::Payload { bytes, decoded: true }, name.as_deref().filter(|_| offers))
    }

    /// Text that may be a file in base64, which a script would take from there.
    fn text(&mut self, text: &[u8]) {
        const MOST: usize = 256;
        let text = text.trim_ascii();
        let digits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_%, \r\n\t".contains(byte);
        if text.len() >= LONG_TEXT && self.texts.len() < MOST && text.iter().take(256).all(digits) {
            self.texts.push(text.to_vec());
        }
    }

    fn scripted(&mut self, source: &[u8]) {
        const SHOWN: usize = 80;
        let start = source.trim_ascii();
        let shown = String::from_utf8_lossy(&start[..start.len().min(SHOWN)]);
        self.scripted.get_or_insert_with(|| shown.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    fn end_script(&mut self, opening: &mut Opening) {
        let Some((runs, language)) = self.script.take() else { return };
        let text = std::mem::take(&mut self.script_text);
        if text.trim_ascii().is_empty() {
            return;
        }
        if !runs {
            self.text(&text);
            return;
        }
        self.scripted(&text);
        self.run(&text, language, opening);
        if self.xml && memchr::memchr(b'&', &text).is_some() {
            self.run(&references(&text), language, opening);
        }
    }

    fn run(&mut self, source: &[u8], language: Language, opening: &mut Opening) {
        const MOST: usize = 256;
        let script = Script::read(source, language);
        self.builds |= script.builds;
        self.offers |= script.offers;
        self.downloads.extend(script.downloads);
        script.links.into_iter().for_each(|link| opening.link(link));
        let room = MOST.saturating_sub(self.payloads.len());
        self.payloads.extend(script.payloads.into_iter().take(room));
    }

    /// Tells what was found once the whole page is known.
    fn finish(mut self, opening: &mut Opening) -> Result<(), Stop> {
        if let Some(scripted) = &self.scripted {
            opening.feature(FeatureKind::HtmlScript, scripted);
            let texts = std::mem::take(&mut self.texts).into_iter();
            let decoded = texts
                .filter_map(|text| decode::decode(&text))
                .filter(|bytes| decode::is_worth(bytes) || self.builds);
            self.payloads.extend(decoded.map(|bytes| decode::Payload { bytes, decoded: true }));
        }
        if self.password {
            opening.feature(FeatureKind::HtmlForm, "a field for a password");
        }
        if let Some(mismatch) = self.anchors.mismatch() {
            opening.feature(FeatureKind::LinkMismatch, mismatch);
        }
        let name = self.downloads.first().cloned();
        let foreign =
            self.payloads.iter().find(|payload| payload.decoded && script::is_foreign(&payload.bytes));
        let script_builds = self.builds && self.offers && !self.payloads.is_empty();
        let what = foreign.map_or("data", |payload| FileType::detect(&payload.bytes).name);
        if script_builds
            && (foreign.is_some() || name.is_some() || self.payloads.iter().any(|payload| payload.decoded))
        {
            let shown = name.as_deref().unwrap_or("no name");
            opening.feature(FeatureKind::HtmlSmuggling, format!("{shown} ({what})"));
        } else if let Some(offered) = &self.offered {
            let shown = name.as_deref().unwrap_or("no name");
            opening.feature(FeatureKind::HtmlSmuggling, format!("{shown} ({offered})"));
        }
        let mut told: Vec<Vec<u8>> = Vec::new();
        for payload in self.payloads {
            if told.contains(&payload.bytes) {
                continue;
            }
            told.push(payload.bytes.clone());
            let named = name.as_deref().filter(|_| payload.decoded && script_builds);
            script::embed(opening, payload, named)?;
        }
        Ok(())
    }
}

fn is_script(name: &[u8]) -> bool {
    name == b"script" || name.ends_with(b":script")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

/// Whether a script does nothing, as `javascript:void(0)` behind a link.
fn is_idle(source: &[u8]) -> bool {
    let plain: Vec<u8> = source.iter().copied().filter(|byte| !b" ();\r\n\t".contains(byte)).collect();
    matches!(&plain[..], b"" | b"void0" | b"void" | b"returnfalse" | b"false" | b"//")
}

/// Text with the character references of XML undone.
fn references(text: &[u8]) -> Vec<u8> {
    const LONGEST: usize = 10;
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let end = text[at..].iter().take(LONGEST).position(|byte| *byte == b';');
        let name = end.filter(|_| byte == b'&').map(|end| &text[at + 1..at + end]);
        let c = match name {
            Some(b"quot") => Some('"'),
            Some(b"apos") => Some('\''),
            Some(b"amp") => Some('&'),
            Some(b"lt") => Some('<'),
            Some(b"gt") => Some('>'),
            Some([b'#', b'x' | b'X', digits @ ..]) => number(digits, 16),
            Some([b'#', digits @ ..]) => number(digits, 10),
            _ => None,
        };
        match (c, end) {
            (Some(c), Some(end)) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += end + 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?)
}
