//! PDF (ISO 32000): embedded files, the JavaScript that runs in it, what its actions start, and where they lead.

mod crypt;
mod document;
mod filter;
mod object;
mod picture;
mod text;

use std::collections::HashSet;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FeatureKind, FileType, Limit};
use memchr::memmem;

use crate::names;
use crate::opening::{End, Member, Opening, Stop};
use crate::script::{self, Language, Script};
use document::{Document, Entry};
use object::{Dict, Object};

/// Scripts of one document that become parts of their own; the others become one together.
const MOST_SCRIPTS: usize = 32;
/// Things of one kind that are looked at in a document.
const MOST_FOUND: usize = 10_000;

/// Keys that mean something here.
const TELLING: [&[u8]; 8] = [b"JS", b"S", b"EF", b"OpenAction", b"AA", b"XFA", b"JavaScript", b"FS"];

/// Whether this is a PDF: readers look for its mark in the first 1,024 bytes, whatever stands there besides.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    mark(body).is_some()
}

fn mark(body: &[u8]) -> Option<usize> {
    memmem::find(&body[..body.len().min(1024 + 5)], b"%PDF-")
}

/// Opens a PDF.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let known = opening.known();
    if mark(&opening.body).is_some_and(|at| known.iter().any(|range| range.contains(&at))) {
        // It is a member of an archive, which is opened by itself.
        return Ok(());
    }
    let document = Document::read(opening)?;
    if document.locked {
        opening.defective(DefectKind::Encrypted, "the document asks for a password");
    }
    let mut found = Found { document: &document, things: Vec::new(), files: HashSet::new() };
    found.collect(opening)?;
    let things = found.things;
    if document.is_tiring() {
        opening.over(Limit::Time, None);
    }
    tell(opening, &document, &things);
    sources(opening, &document, &things)?;
    files(opening, &document, &things)?;
    if document.locked {
        return Ok(());
    }
    picture::codes(opening, &document)?;
    // Last: what it costs to look for keys leaves nothing for others.
    if opening.wants_text()
        && let Some(shown) = text::read(opening, &document)
    {
        opening.shows(&shown);
    }
    Ok(())
}

/// Something found in a document.
#[derive(Debug, PartialEq)]
enum Thing {
    /// The source of a script.
    Script(Vec<u8>),
    /// Places of streams that are scripts.
    ScriptStream(Vec<usize>),
    /// A form in XML that may hold scripts.
    Form(usize),
    Launch(String),
    /// What happens when it is opened.
    OnOpen(String),
    Link(String),
    /// An embedded file: its names and the places of its streams.
    File(Vec<String>, Vec<usize>),
}

struct Found<'a> {
    document: &'a Document,
    things: Vec<Thing>,
    /// Streams that belong to a named file.
    files: HashSet<usize>,
}

impl Found<'_> {
    fn collect(&mut self, opening: &mut Opening) -> Result<(), Stop> {
        let document = self.document;
        for (place, entry) in document.entries.iter().enumerate() {
            if place % 4096 == 4095 {
                opening.check_time()?;
            }
            self.object(entry, &entry.object);
        }
        for (place, entry) in document.entries.iter().enumerate() {
            let is_file = entry.object.dict().is_some_and(|dict| dict.is(b"Type", b"EmbeddedFile"));
            if is_file && document.has_stream(place) && !self.files.contains(&place) {
                self.push(Thing::File(Vec::new(), vec![place]));
            }
        }
        Ok(())
    }

    fn push(&mut self, thing: Thing) {
        if self.things.len() < MOST_FOUND {
            self.things.push(thing);
        }
    }

    /// Looks at an object and all that stands in it; the parser has bounded how deep that is.
    fn object(&mut self, entry: &Entry, object: &Object) {
        match object {
            Object::Array(items) => items.iter().for_each(|item| self.object(entry, item)),
            Object::Dict(dict) => {
                self.dict(entry, dict);
                dict.0.iter().for_each(|(_, value)| self.object(entry, value));
            }
            _ => {}
        }
    }

    fn dict(&mut self, entry: &Entry, dict: &Dict) {
        /// Keys of one dictionary that mean something; more are the same ones again.
        const MOST: usize = 64;
        let telling = |key: &[u8]| TELLING.contains(&key);
        for (key, value) in dict.0.iter().filter(|(key, _)| telling(key)).take(MOST) {
            match &key[..] {
                b"JS" => self.script(entry, value),
                b"S" => self.action(entry, dict, self.document.resolve(value).name().unwrap_or_default()),
                b"EF" => self.file(entry, dict, value),
                b"OpenAction" => self.on_open(value),
                b"AA" => self.additional(value),
                b"XFA" => self.form(value),
                b"JavaScript" if matches!(self.document.resolve(value), Object::Dict(_)) => {
                    self.push(Thing::OnOpen("JavaScript of the document".to_owned()));
                }
                b"FS" if self.document.resolve(value).name() == Some(b"URL") => {
                    let address = dict.get(b"F").and_then(|address| self.text(entry, address));
                    self.things.extend(address.map(Thing::Link));
                }
                _ => {}
            }
        }
    }

    fn script(&mut self, entry: &Entry, value: &Object) {
        if let Some(source) = self.document.resolve(value).string() {
            let clear = self.document.string(self.owner(entry, value), source);
            let source = if clear.starts_with(b"\xfe\xff") || clear.starts_with(b"\xff\xfe") {
                object::text(&clear).into_bytes()
            } else {
                clear
            };
            self.push(Thing::Script(source));
        } else {
            let streams = self.document.streams(value);
            self.push(Thing::ScriptStream(streams));
        }
    }

    /// Actions (ISO 32000-1 section 12.6.4).
    fn action(&mut self, entry: &Entry, dict: &Dict, kind: &[u8]) {
        let file = || self.target(entry, dict);
        match kind {
            b"Launch" => {
                let what = file().or_else(|| {
                    let system = [&b"Win"[..], b"Unix", b"Mac"]
                        .into_iter()
                        .find_map(|key| self.document.get(dict, key))?;
                    let system = system.dict()?;
                    let word = |key: &[u8]| {
                        system.get(key).and_then(|word| self.text(entry, word)).unwrap_or_default()
                    };
                    Some(format!("{} {}", word(b"F"), word(b"P")).trim().to_owned())
                });
                let what = what.unwrap_or_default();
                if is_remote(&what) {
                    self.push(Thing::Link(what.clone()));
                }
                self.push(Thing::Launch(what));
            }
            b"URI" => {
                let address = dict.get(b"URI").and_then(|address| self.text(entry, address));
                address.into_iter().for_each(|address| self.push(Thing::Link(address)));
            }
            b"SubmitForm" | b"ImportData" | b"GoToR" | b"GoToE" | b"Thread" => {
                if let Some(target) = file().filter(|target| is_remote(target)) {
                    // Windows logs in at a share before it asks anybody.
                    if target.starts_with("\\\\") {
                        self.push(Thing::Launch(target.clone()));
                    }
                    self.push(Thing::Link(target));
                }
            }
            _ => {}
        }
    }

    /// The file that an action names, as a string or a file specification.
    fn target(&self, entry: &Entry, dict: &Dict) -> Option<String> {
        let file = dict.get(b"F")?;
        match self.document.resolve(file) {
            Object::Dict(specification) => {
                let entry = self.owner(entry, file);
                [&b"UF"[..], b"F", b"Unix", b"DOS"]
                    .into_iter()
                    .find_map(|key| self.text(entry, specification.get(key)?))
            }
            _ => self.text(entry, file),
        }
    }

    /// A text string, references followed, in clear.
    fn text(&self, entry: &Entry, object: &Object) -> Option<String> {
        let string = self.document.resolve(object).string()?;
        if self.document.locked {
            return None;
        }
        Some(object::text(&self.document.string(self.owner(entry, object), string)))
    }

    /// The object that a value belongs to: strings are encrypted for the object in which they stand.
    fn owner<'e>(&'e self, entry: &'e Entry, value: &Object) -> &'e Entry {
        match value {
            Object::Reference(number) => self.document.latest(*number).unwrap_or(entry),
            _ => entry,
        }
    }

    fn file(&mut self, entry: &Entry, specification: &Dict, value: &Object) {
        let Some(streams) = self.document.resolve(value).dict() else { return };
        let mut found = Vec::new();
        for key in [&b"UF"[..], b"F", b"Unix", b"DOS", b"Mac"] {
            let name = specification.get(key).and_then(|name| self.text(entry, name));
            name.into_iter().for_each(|name| names::add(&mut found, names::clean(&name)));
        }
        let mut places: Vec<usize> =
            streams.0.iter().take(16).flat_map(|(_, stream)| self.document.streams(stream)).collect();
        places.sort_unstable();
        places.dedup();
        self.files.extend(&places);
        self.push(Thing::File(found, places));
    }

    fn on_open(&mut self, value: &Object) {
        const MOST: usize = 8;
        let mut action = self.document.resolve(value);
        for _ in 0..MOST {
            let Some(dict) = action.dict() else { return };
            let kind = self.document.get(dict, b"S").and_then(Object::name).unwrap_or_default();
            if !matches!(kind, b"GoTo" | b"Named" | b"") {
                self.push(Thing::OnOpen(object::text(kind)));
                return;
            }
            let Some(next) = self.document.get(dict, b"Next") else { return };
            action = match next {
                Object::Array(actions) => actions.first().map_or(next, |first| self.document.resolve(first)),
                _ => next,
            };
        }
    }

    /// Additional actions that need no more than the page being seen.
    fn additional(&mut self, value: &Object) {
        let document = self.document;
        let Some(triggers) = document.resolve(value).dict() else { return };
        for key in [&b"O"[..], b"PO", b"PV"] {
            triggers.get(key).into_iter().for_each(|action| self.on_open(action));
        }
    }

    fn form(&mut self, value: &Object) {
        const PIECES: usize = 64;
        let mut places = self.document.streams(value);
        if let Some(pieces) = self.document.resolve(value).array() {
            places.extend(pieces.iter().take(PIECES).flat_map(|piece| self.document.streams(piece)));
        }
        places.into_iter().for_each(|place| self.push(Thing::Form(place)));
    }
}

fn is_remote(target: &str) -> bool {
    target.contains("://") || target.starts_with("\\\\") || target.starts_with("mailto:")
}

/// Notes what the document is able to do.
fn tell(opening: &mut Opening, document: &Document, things: &[Thing]) {
    for thing in things {
        match thing {
            Thing::Launch(what) => opening.feature(FeatureKind::PdfLaunch, what),
            Thing::OnOpen(what) => opening.feature(FeatureKind::PdfOpenAction, what),
            Thing::Link(address) => opening.link(address.as_str()),
            Thing::ScriptStream(_) => opening.feature(FeatureKind::PdfJavaScript, ""),
            Thing::Script(source) => {
                let shown = if document.locked {
                    String::new()
                } else {
                    object::text(&source[..source.len().min(200)])
                };
                opening.feature(
                    FeatureKind::PdfJavaScript,
                    shown.split_whitespace().collect::<Vec<_>>().join(" "),
                );
            }
            Thing::File(names, _) => {
                opening.feature(
                    FeatureKind::EmbeddedFile,
                    names.first().map_or("without a name", String::as_str),
                );
            }
            Thing::Form(_) => {}
        }
    }
}

/// Takes out the scripts, and what they carry.
fn sources(opening: &mut Opening, document: &Document, things: &[Thing]) -> Result<(), Stop> {
    let mut scripts: Vec<Bytes> = Vec::new();
    let mut seen = HashSet::new();
    for thing in things {
        opening.check_time()?;
        match thing {
            Thing::Script(source) => {
                if let Some(source) = opening.made(source.clone()) {
                    scripts.push(source);
                }
            }
            Thing::ScriptStream(places) => {
                for place in places.iter().filter(|place| seen.insert(**place)) {
                    scripts.push(document.content(opening, *place).data);
                }
            }
            Thing::Form(place) if seen.insert(*place) => {
                let form = document.content(opening, *place).data;
                if memmem::find(&form, b"<script").is_some() {
                    opening.feature(FeatureKind::PdfJavaScript, "in a form (XFA)");
                }
                if !form.is_empty() {
                    opening.source("form", form.clone())?;
                }
                for payload in Script::read(&form, Language::Js).payloads {
                    script::embed(opening, payload, None)?;
                }
            }
            _ => {}
        }
    }
    if document.locked {
        return Ok(());
    }
    scripts.retain(|source| !source.is_empty());
    let mut known = HashSet::new();
    scripts.retain(|source| known.insert(source.clone()));
    let rest = scripts.split_off(scripts.len().min(MOST_SCRIPTS));
    let joined = (!rest.is_empty()).then(|| opening.made(rest.join(&b"\n"[..]))).flatten();
    for source in scripts.into_iter().chain(joined) {
        opening.source("JavaScript", source.clone())?;
        for payload in Script::read(&source, Language::Js).payloads {
            script::embed(opening, payload, None)?;
        }
    }
    Ok(())
}

/// Takes out the embedded files.
fn files(opening: &mut Opening, document: &Document, things: &[Thing]) -> Result<(), Stop> {
    let mut seen = HashSet::new();
    for thing in things {
        let Thing::File(names, places) = thing else { continue };
        for place in places {
            // One stream under several names is one file; the names that come later are lost only where they differ.
            if !seen.insert(*place) {
                continue;
            }
            opening.check_time()?;
            if document.locked {
                opening.embedded(Member { names: names.clone(), encrypted: true, ..Member::default() })?;
                continue;
            }
            let content = document.content(opening, *place);
            let unread = content.end != End::Complete;
            let id = opening.embedded(Member {
                names: names.clone(),
                body: content.data,
                unread,
                ..Member::default()
            })?;
            match content.end {
                End::Complete => {}
                End::Truncated => {
                    opening.defect(DefectKind::TruncatedArchive, id, "an embedded file ends early")
                }
                End::Corrupt => {
                    opening.defect(DefectKind::BadArchive, id, "an embedded file cannot be decoded")
                }
                End::Over(limit) => {
                    opening.over(limit, Some(id));
                    if matches!(limit, Limit::Bytes | Limit::Time) {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}
