//! Edits of parts, collected and carried out.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::carry::Splice;
use super::head::{HeadEdit, Wish};
use super::place::Standing;
use super::text::{self, Addition};
use super::write::{base64, clean_name, encode_content, quoted_printable, text_entity};
use crate::transfer::Transfer;
use crate::{Message, PartId};

/// What becomes of the parts of a message.
pub(super) struct Parts<'a> {
    message: &'a Message,
    /// Texts in place of parts. The message itself is part 0.
    replaced: BTreeMap<PartId, String>,
    changed: BTreeMap<PartId, Change>,
    /// The text that the message gets because it has none.
    first: Option<String>,
}

/// What becomes of one part.
#[derive(Default)]
struct Change {
    name: Option<String>,
    content: Option<Content>,
    charset: Option<&'static str>,
}

/// New content, decoded.
struct Content {
    bytes: Bytes,
    how: How,
}

/// How new content is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// As the old was.
    AsBefore,
    /// As it fits, byte for byte.
    Exactly,
    /// As it fits; it is text, so its lines may be ended in the usual way.
    AsText,
}

/// What becomes of a part, ready to be put in its place.
#[derive(Default)]
pub(super) struct Remade {
    pub header: HeadEdit,
    /// The new body, encoded.
    pub body: Option<Vec<u8>>,
}

impl<'a> Parts<'a> {
    pub fn new(message: &'a Message) -> Parts<'a> {
        Parts { message, replaced: BTreeMap::new(), changed: BTreeMap::new(), first: None }
    }

    /// Puts a text in place of a part; false if that cannot be.
    pub fn replace(&mut self, part: PartId, text: &str) -> bool {
        let Some(part) = self.message.replaceable(part) else { return false };
        let all = self.replaced.entry(part).or_default();
        if !all.is_empty() && !all.ends_with('\n') {
            all.push('\n');
        }
        all.push_str(text);
        true
    }

    /// Gives a part another name; false if that cannot be.
    pub fn rename(&mut self, part: PartId, name: &str) -> bool {
        let gone = self.replacement(part).is_some();
        if !gone {
            if !self.message.can_rename(part) {
                return false;
            }
            self.changed.entry(part).or_default().name = Some(clean_name(name));
        }
        true
    }

    /// Gives a part another content; false if that cannot be.
    pub fn rewrite(&mut self, part: PartId, body: &Bytes) -> bool {
        let gone = self.replacement(part).is_some();
        if !gone {
            if !self.message.can_rewrite(part) {
                return false;
            }
            let change = self.changed.entry(part).or_default();
            change.content = Some(Content { bytes: body.clone(), how: How::Exactly });
            change.charset = None;
        }
        true
    }

    /// Adds to the text of the mail; false if that cannot be.
    pub fn add(&mut self, addition: Addition) -> bool {
        if addition.is_empty() {
            return true;
        }
        let whole = self.replaced.contains_key(&PartId(0));
        let possible = text::takes_text(self.message) && self.message.stands(PartId(0)).is_some();
        if !whole && !possible {
            return false;
        }
        let shown = text::shown(self.message);
        let mut replacements: Vec<PartId> = Vec::new();
        for id in &shown {
            match self.replacement(*id) {
                Some(replacement) => replacements.push(replacement),
                None => self.add_to(*id, addition),
            }
        }
        if whole {
            replacements.push(PartId(0));
        } else if shown.is_empty() {
            self.first = Some(addition.joined(self.first.as_deref().unwrap_or_default()));
        }
        replacements.sort_unstable();
        replacements.dedup();
        for id in replacements {
            let text = self.replaced.entry(id).or_default();
            *text = addition.joined(text);
        }
        true
    }

    fn add_to(&mut self, id: PartId, addition: Addition) {
        let Some(standing) = self.message.stands(id) else { return };
        let change = self.changed.entry(id).or_default();
        let (content, mut how) = match &change.content {
            Some(content) => (content.bytes.to_vec(), content.how),
            None => (standing.content().unwrap_or_default(), How::AsBefore),
        };
        let charset = change.charset.or(standing.part.charset.as_deref());
        let added = addition.added_to(&standing, content, charset);
        change.charset = added.charset.or(change.charset);
        let identity = standing.transfer() == Transfer::Identity;
        let other_bytes = identity && added.charset.is_some() && !added.content.is_ascii();
        if how == How::AsBefore && (added.recode || other_bytes) {
            how = How::AsText;
        }
        change.content = Some(Content { bytes: added.content.into(), how });
    }

    /// The outermost replaced part that a part is or lies in.
    fn replacement(&self, part: PartId) -> Option<PartId> {
        let (mut at, mut found) = (Some(part), None);
        while let Some(id) = at {
            if self.replaced.contains_key(&id) {
                found = Some(id);
            }
            at = self.message.parts.get(id.0)?.parent.filter(|parent| *parent < id);
        }
        found
    }

    /// The text in place of the whole message, if that is replaced.
    pub fn whole(&self) -> Option<&str> {
        self.replaced.get(&PartId(0)).map(String::as_str)
    }

    /// The text to be put before all that the message holds.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// What becomes of the message's own header and, where it has no parts, of its body.
    pub fn root(&self) -> Option<Remade> {
        self.remade(PartId(0)).map(|(_, remade)| remade)
    }

    /// What stands in place of parts, in order.
    pub fn splices(&self) -> Vec<Splice> {
        let replaced = self.replaced_ranges();
        let lost = |range: &Range<usize>| {
            replaced.iter().any(|(gone, _)| gone.start < range.end && range.start < gone.end)
        };
        let mut splices = Vec::new();
        for id in self.changed.keys().filter(|id| id.0 > 0) {
            let Some((standing, remade)) = self.remade(*id) else { continue };
            if lost(&standing.span) {
                continue;
            }
            if !remade.header.is_empty() {
                let mut header = remade.header.carried_out(standing.headers);
                header.extend_from_slice(b"\r\n");
                splices.push(Splice { range: standing.span.start..standing.body.start, new: header.into() });
            }
            if let Some(body) = remade.body {
                splices.push(Splice { range: standing.body.clone(), new: body.into() });
            }
        }
        for (range, id) in replaced {
            let name = self.message.parts.get(id.0).and_then(|part| part.name());
            let text = self.replaced.get(&id).map(String::as_str).unwrap_or_default();
            let (header, body) = text_entity(name, text);
            // The line break before the next boundary stands behind the part.
            let body = if range.end < self.message.raw.len() { body.trim_end_matches("\r\n") } else { &body };
            splices.push(Splice { range, new: format!("{header}\r\n{body}").into() });
        }
        splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
        splices
    }

    /// The outermost of the replaced parts; those that overlap without lying in each other (one message read in
    /// several ways) go together.
    fn replaced_ranges(&self) -> Vec<(Range<usize>, PartId)> {
        let mut parts: Vec<(Range<usize>, PartId)> = self
            .replaced
            .keys()
            .filter_map(|id| Some((self.message.parts.get(id.0)?.span.clone()?, *id)))
            .collect();
        parts.sort_by_key(|(span, id)| (span.start, std::cmp::Reverse(span.end), *id));
        let mut merged: Vec<(Range<usize>, PartId)> = Vec::new();
        for (span, id) in parts {
            match merged.last_mut() {
                Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
                _ => merged.push((span, id)),
            }
        }
        merged
    }

    fn remade(&self, id: PartId) -> Option<(Standing<'a>, Remade)> {
        let change = self.changed.get(&id)?;
        let standing = self.message.stands(id)?;
        let mut wish = Wish { name: change.name.as_deref(), charset: change.charset, ..Wish::default() };
        let body = change.content.as_ref().map(|content| {
            let (encoding, body) = encoded(&standing, content);
            (wish.encoding, wish.content) = (encoding, true);
            body
        });
        let header = standing.head().edit(&wish);
        Some((standing, Remade { header, body }))
    }
}

/// New content encoded; and the name of the transfer encoding, if that is another than before.
fn encoded(standing: &Standing, content: &Content) -> (Option<&'static str>, Vec<u8>) {
    let bytes = &content.bytes;
    let at_end = standing.at_end();
    let is_text = standing.part.declared.starts_with("text/");
    let afresh = |bytes: &[u8]| {
        let (encoding, body) = encode_content(bytes, is_text, at_end);
        (Some(encoding), body)
    };
    match (content.how, standing.transfer()) {
        (How::Exactly, _) => afresh(bytes),
        (How::AsText, _) => afresh(&text::with_usual_lines(bytes)),
        (How::AsBefore, Transfer::QuotedPrintable) => {
            (None, quoted_printable(&text::with_usual_lines(bytes), at_end).into_bytes())
        }
        (How::AsBefore, Transfer::Base64) => (None, base64(bytes, at_end).into_bytes()),
        (How::AsBefore, _) => (None, bytes.to_vec()),
    }
}
