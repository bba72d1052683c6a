//! Edits sorted to their places, and carried out.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use bytes::Bytes;

use super::head::describes_content;
use super::parts::{Parts, Remade};
use super::text::Addition;
use super::wrap;
use super::write::{field, is_folded, is_name, parted, text_entity};
use super::{Applied, Changes, Edit, HeaderChange, Place};
use crate::{Message, PartId};

/// See [`super::apply`].
pub(super) fn apply(message: &Message, edits: &[Edit]) -> Applied {
    let mut work = Work::new(message);
    work.take_all(edits);
    work.finish()
}

/// See [`super::changes`].
pub(super) fn changes(message: &Message, edits: &[Edit]) -> Changes {
    let mut work = Work::new(message);
    work.take_all(edits);
    work.changes()
}

/// Edits, sorted to their places.
struct Work<'a> {
    message: &'a Message,
    /// Places in the list of fields, by name in lower case.
    named: HashMap<String, Vec<usize>>,
    removed: BTreeSet<usize>,
    changed: HashMap<usize, String>,
    /// Whole fields, ended by CRLF.
    top: Vec<String>,
    bottom: Vec<String>,
    parts: Parts<'a>,
    /// The text before which the message is put into a new one.
    around: Option<String>,
    skipped: Vec<usize>,
}

/// A range of the message and what stands there instead.
pub(super) struct Splice {
    pub range: Range<usize>,
    pub new: Bytes,
}

/// What becomes of the body.
enum Body {
    /// It stays, with these in place of what stands there.
    Kept(Vec<Splice>),
    /// All of it is new.
    New(Vec<Bytes>),
}

impl<'a> Work<'a> {
    fn new(message: &'a Message) -> Work<'a> {
        let mut named: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, field) in message.headers.fields.iter().enumerate() {
            if let Some(name) = message.headers.raw.get(field.name.clone())
                && message.raw.get(field.span.clone()).is_some()
            {
                named.entry(String::from_utf8_lossy(name).to_ascii_lowercase()).or_default().push(place);
            }
        }
        named.remove("");
        Work {
            message,
            named,
            removed: BTreeSet::new(),
            changed: HashMap::new(),
            top: Vec::new(),
            bottom: Vec::new(),
            parts: Parts::new(message),
            around: None,
            skipped: Vec::new(),
        }
    }

    /// Notes edits, and which of them cannot be carried out. What replaces comes
    /// first: it wins.
    fn take_all(&mut self, edits: &[Edit]) {
        let is_first = |edit: &Edit| {
            matches!(edit, Edit::ReplacePart { .. } | Edit::CleanPart { .. } | Edit::Wrap { .. })
        };
        for first in [true, false] {
            for (place, edit) in edits.iter().enumerate() {
                if is_first(edit) == first && !self.take(edit) {
                    self.skipped.push(place);
                }
            }
        }
        self.skipped.sort_unstable();
    }

    /// Notes one edit; false if it cannot be carried out.
    fn take(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::AddHeader { name, value, place } if is_name(name) => {
                self.added(*place).push(field(name, value));
                true
            }
            Edit::AddFolded { name, value, place } if is_name(name) && is_folded(value) => {
                self.added(*place).push(format!("{name}: {value}\r\n"));
                true
            }
            Edit::AddHeader { .. } | Edit::AddFolded { .. } => false,
            Edit::RemoveHeader { name, nth } => match self.field(name, *nth) {
                Some(place) => {
                    self.removed.insert(place);
                    true
                }
                None => false,
            },
            Edit::ChangeHeader { name, nth, value } => match self.field(name, *nth) {
                Some(place) => {
                    self.changed.insert(place, field(name, value));
                    true
                }
                None => false,
            },
            Edit::ReplacePart { part, text } | Edit::CleanPart { part, text } => {
                self.parts.replace(*part, text)
            }
            Edit::RenamePart { part, name } => self.parts.rename(*part, name),
            Edit::RewritePart { part, body } => self.parts.rewrite(*part, body),
            Edit::DefangPart { .. } => false,
            Edit::AddText { text, html, place } => {
                let addition = Addition { text, html, place: *place };
                match &mut self.around {
                    Some(around) => *around = addition.joined(around),
                    None => return self.parts.add(addition),
                }
                true
            }
            Edit::Wrap { text } => {
                let addition = Addition { text, html: "", place: Place::Bottom };
                self.around = Some(addition.joined(self.around.as_deref().unwrap_or_default()));
                true
            }
        }
    }

    fn added(&mut self, place: Place) -> &mut Vec<String> {
        if place == Place::Top { &mut self.top } else { &mut self.bottom }
    }

    fn field(&self, name: &str, nth: usize) -> Option<usize> {
        self.named.get(&name.to_ascii_lowercase())?.get(nth).copied()
    }

    fn finish(mut self) -> Applied {
        let body = self.settle();
        let mut splices = Vec::new();
        self.edit_header(matches!(body, Body::New(_)), &mut splices);
        let raw = &self.message.raw;
        match body {
            Body::Kept(more) => splices.extend(more),
            Body::New(pieces) => {
                splices
                    .push(Splice { range: self.header_end()..raw.len(), new: Bytes::from_static(b"\r\n") });
                let end = raw.len()..raw.len();
                splices.extend(pieces.into_iter().map(|new| Splice { range: end.clone(), new }));
            }
        }
        // Stable: what is put at one place stays in the order in which it came here.
        splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
        Applied { chunks: chunks(raw, 0, splices), skipped: self.skipped }
    }

    fn changes(mut self) -> Changes {
        let body = match self.settle() {
            Body::New(pieces) => Some(pieces),
            Body::Kept(splices) if splices.is_empty() => None,
            Body::Kept(splices) => {
                let mut pieces = chunks(&self.message.raw, self.header_end(), splices);
                if let Some(first) = pieces.first_mut() {
                    let empty_line = [&b"\r\n"[..], b"\n"].into_iter().find(|line| first.starts_with(line));
                    *first = first.slice(empty_line.map_or(0, <[u8]>::len)..);
                }
                Some(pieces)
            }
        };
        Changes { headers: self.header_changes(), body, skipped: self.skipped }
    }

    /// Works out what becomes of the body, and what the header must say for it.
    fn settle(&mut self) -> Body {
        if let Some(text) = self.around.take() {
            return Body::New(self.wrap(&text));
        }
        if let Some(text) = self.parts.whole() {
            let text = text.to_owned();
            return Body::New(vec![self.replace_message(&text).into()]);
        }
        let root = self.parts.root();
        if let Some(text) = self.parts.first() {
            let text = text.to_owned();
            return Body::New(self.put_behind(&text, root));
        }
        let Some(Remade { header, body }) = root else { return Body::Kept(self.parts.splices()) };
        self.removed.extend(header.removed);
        self.changed.extend(header.changed);
        self.bottom.extend(header.added);
        match body {
            Some(body) => Body::New(vec![body.into()]),
            None => Body::Kept(self.parts.splices()),
        }
    }

    /// Puts the message, with the edits of its parts, into a new one, which keeps its header but for what describes the
    /// content, and signatures that cannot hold.
    fn wrap(&mut self, text: &str) -> Vec<Bytes> {
        let mut inner = Work::new(self.message);
        std::mem::swap(&mut inner.parts, &mut self.parts);
        let inside = inner.finish().chunks;
        self.remove_description();
        for name in ["dkim-signature", "domainkey-signature"] {
            self.removed.extend(self.named.get(name).into_iter().flatten());
        }
        let header = wrap::message_header(&self.message.subject(), &inside);
        self.make_mixed(text, header, inside)
    }

    /// Makes a multipart of what the message holds, with a text before it.
    fn put_behind(&mut self, text: &str, root: Option<Remade>) -> Vec<Bytes> {
        let headers = &self.message.headers;
        let Remade { header, body } = root.unwrap_or_default();
        let mut inner = String::new().into_bytes();
        let describing = headers.fields.iter().enumerate();
        for (place, field) in describing.filter(|field| describes_content(headers, *field)) {
            match header.changed.get(&place) {
                _ if header.removed.contains(&place) => continue,
                Some(new) => inner.extend_from_slice(new.as_bytes()),
                None => inner.extend_from_slice(headers.raw_field(field)),
            }
            if !inner.ends_with(b"\n") {
                inner.extend_from_slice(b"\r\n");
            }
        }
        header.added.iter().for_each(|field| inner.extend_from_slice(field.as_bytes()));
        let body = match body {
            Some(body) => vec![body.into()],
            None => {
                let start = self.message.stands(PartId(0)).map_or(self.header_end(), |root| root.body.start);
                chunks(&self.message.raw, start, self.parts.splices())
            }
        };
        self.remove_description();
        self.make_mixed(text, inner, body)
    }

    fn make_mixed(&mut self, text: &str, header: Vec<u8>, inside: Vec<Bytes>) -> Vec<Bytes> {
        let mixed = wrap::mixed(text, header, inside);
        self.bottom.extend(mixed.fields);
        mixed.body
    }

    /// Makes room in the header for what describes other content: takes out what does so; and lines that are no fields, with which some readers begin the
    /// body.
    fn remove_description(&mut self) {
        let headers = &self.message.headers;
        let fields = headers.fields.iter().enumerate().filter(|field| describes_content(headers, *field));
        self.removed.extend(fields.map(|(place, _)| place));
        if !self.named.contains_key("mime-version") {
            self.bottom.push("MIME-Version: 1.0\r\n".into());
        }
    }

    fn header_changes(&self) -> Vec<HeaderChange> {
        let headers = &self.message.headers;
        let mut changes = Vec::new();
        let mut removals = Vec::new();
        // Of the fields of one name, the last first; the names in the order in which they begin.
        let mut names: Vec<&Vec<usize>> = self.named.values().collect();
        names.sort_unstable();
        for places in names {
            for (nth, place) in places.iter().enumerate().rev() {
                let name = headers.name(&headers.fields[*place]).to_owned();
                if self.removed.contains(place) {
                    removals.push(HeaderChange::Remove { name, nth });
                } else if let Some(new) = self.changed.get(place) {
                    let (name, value) = parted(new);
                    changes.push(HeaderChange::Change {
                        name: name.to_owned(),
                        nth,
                        value: value.to_owned(),
                    });
                }
            }
        }
        changes.extend(removals);
        for (place, fields) in [(Place::Top, &self.top), (Place::Bottom, &self.bottom)] {
            changes.extend(fields.iter().map(|field| {
                let (name, value) = parted(field);
                HeaderChange::Insert { place, name: name.to_owned(), value: value.to_owned() }
            }));
        }
        changes
    }

    /// All but the header goes; of the header, what describes the content. Gives the new body.
    fn replace_message(&mut self, text: &str) -> String {
        self.remove_description();
        let (header, body) = text_entity(self.message.parts.first().and_then(|part| part.name()), text);
        self.bottom.extend(header.split_inclusive("\r\n").map(str::to_owned));
        body
    }

    fn edit_header(&mut self, body_replaced: bool, splices: &mut Vec<Splice>) {
        let fields = &self.message.headers.fields;
        let last_is_touched = fields
            .len()
            .checked_sub(1)
            .is_some_and(|last| self.removed.contains(&last) || self.changed.contains_key(&last));
        for place in &self.removed {
            splices.push(Splice { range: fields[*place].span.clone(), new: Bytes::new() });
        }
        for (place, new) in std::mem::take(&mut self.changed) {
            if !self.removed.contains(&place) {
                splices.push(Splice { range: fields[place].span.clone(), new: new.into() });
            }
        }
        let raw = &self.message.raw;
        let end = self.header_end();
        // Not before lines that are no fields, such as the `From ` line of an mbox.
        let top = self.named.values().flatten().map(|place| fields[*place].span.start).min().unwrap_or(end);
        let mut bottom = String::new();
        if top == end {
            bottom.push_str(&self.top.concat());
        } else if !self.top.is_empty() {
            splices.push(Splice { range: top..top, new: self.top.concat().into() });
        }
        bottom.push_str(&self.bottom.concat());
        if bottom.is_empty() {
            return;
        }
        if end > 0 && raw[end - 1] != b'\n' && !last_is_touched {
            bottom.insert_str(0, "\r\n");
        }
        // A message without any header begins with its body: without an empty line that would become header now.
        let body_at_once =
            end == 0 && !raw.is_empty() && !raw.starts_with(b"\r\n") && !raw.starts_with(b"\n");
        if body_at_once && !body_replaced {
            bottom.push_str("\r\n");
        }
        splices.push(Splice { range: end..end, new: bottom.into() });
    }

    /// Where the header ends in the message: before the empty line.
    fn header_end(&self) -> usize {
        self.message.headers.raw.len().min(self.message.raw.len())
    }
}

/// The message from a place on, with splices that all lie behind it.
fn chunks(raw: &Bytes, mut at: usize, splices: Vec<Splice>) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(splices.len() * 2 + 1);
    for Splice { range, new } in splices {
        if at < range.start {
            chunks.push(raw.slice(at..range.start));
        }
        at = at.max(range.end);
        if !new.is_empty() {
            chunks.push(new);
        }
    }
    if at < raw.len() {
        chunks.push(raw.slice(at..));
    }
    chunks
}
