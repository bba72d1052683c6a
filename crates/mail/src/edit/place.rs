//! Which parts have a place of their own in the message, and where.

use std::ops::Range;

use super::head::Head;
use crate::header::{Headers, unfold};
use crate::parameters::clean_token;
use crate::transfer::{self, Transfer};
use crate::{Message, Part, PartId};

/// A part that stands verbatim in the message.
pub(super) struct Standing<'a> {
    message: &'a Message,
    pub id: PartId,
    pub part: &'a Part,
    pub headers: &'a Headers,
    /// All of it, header included.
    pub span: Range<usize>,
    /// Its body as it stands, behind the empty line.
    pub body: Range<usize>,
    /// Its header is ended by an empty line.
    pub ended: bool,
}

impl<'a> Standing<'a> {
    /// Its body as it stands.
    pub fn raw_body(&self) -> &'a [u8] {
        &self.message.raw[self.body.clone()]
    }

    /// Nothing of the message stands behind it.
    pub fn at_end(&self) -> bool {
        self.span.end == self.message.raw.len()
    }

    /// Its content are the parts in it.
    pub fn is_composite(&self) -> bool {
        let declared = &self.part.declared;
        declared.starts_with("multipart/") || declared.starts_with("message/")
    }

    /// Its transfer encoding, as the first field says.
    pub fn transfer(&self) -> Transfer {
        let value = self.headers.get("Content-Transfer-Encoding").map(|field| self.headers.raw_value(field));
        value.map_or(Transfer::Identity, |value| Transfer::of(&clean_token(&unfold(value))))
    }

    /// Its content, decoded anew: what was read may have been cut short by a limit. None where text is not written in that
    /// transfer encoding.
    pub fn content(&self) -> Option<Vec<u8>> {
        let raw = self.raw_body();
        match self.transfer() {
            Transfer::Identity => Some(raw.to_vec()),
            Transfer::Base64 => Some(transfer::base64(raw).bytes),
            Transfer::QuotedPrintable => Some(transfer::quoted_printable(raw).0),
            Transfer::Uuencode | Transfer::Yenc | Transfer::BinHex | Transfer::Unknown => None,
        }
    }

    /// Its header, to be edited.
    pub fn head(&self) -> Head<'a> {
        Head {
            part: self.part,
            headers: self.headers,
            root: self.id.0 == 0,
            ended: self.ended,
            transfer: self.transfer(),
            body: self.raw_body(),
        }
    }
}

impl Message {
    /// The part that [`Edit::ReplacePart`] really replaces: this one if it stands verbatim in the message, else the
    /// nearest that it lies in. None if there is no such part.
    ///
    /// Where the header of something that it lies in is not ended by an empty line, that is replaced: readers disagree
    /// where such a header ends, and what is put in place of the part might be read as belonging to it.
    pub fn replaceable(&self, part: PartId) -> Option<PartId> {
        let mut found = None;
        let mut at = part;
        loop {
            let span = self.entity(at)?;
            if span.is_some_and(|span| found.is_none() || !self.header_is_ended(at, span)) {
                found = Some(at);
            }
            if at.0 == 0 {
                return found;
            }
            // Parents stand before their children; whatever claims otherwise would make a circle.
            at = self.parts[at.0].parent.filter(|parent| *parent < at)?;
        }
    }

    /// Whether [`Edit::RenamePart`] can be carried out: the part stands verbatim in the message, all that it lies in has a
    /// header that is ended by an empty line, and it is no multipart whose header can be read in several ways.
    pub fn can_rename(&self, part: PartId) -> bool {
        self.stands(part).is_some_and(|standing| standing.head().can_rename())
    }

    /// Whether [`Edit::RewritePart`] can be carried out: as for [`Message::can_rename`], and the part is no multipart and no
    /// message, whose content are the parts in it.
    pub fn can_rewrite(&self, part: PartId) -> bool {
        self.stands(part).is_some_and(|standing| !standing.is_composite())
    }

    /// A part that stands verbatim in the message, in nothing of which readers disagree where its header ends.
    pub(super) fn stands(&self, id: PartId) -> Option<Standing<'_>> {
        let span = self.entity(id)??;
        let part = &self.parts[id.0];
        let headers = if id.0 == 0 { &self.headers } else { &part.headers };
        let bytes = self.raw.slice(span.clone());
        if !bytes.starts_with(&headers.raw) {
            return None;
        }
        let mut at = id;
        while at.0 > 0 {
            // Parents stand before their children; whatever claims otherwise would make a circle.
            at = self.parts[at.0].parent.filter(|parent| *parent < at)?;
            let outer = self.entity(at)??;
            let inside = outer.start <= span.start && span.end <= outer.end;
            if !inside || !self.header_is_ended(at, outer) {
                return None;
            }
        }
        let ended = self.header_is_ended(id, span.clone());
        let (_, body, _) = Headers::parse(bytes);
        let body = span.start + body.max(headers.raw.len());
        Some(Standing { message: self, id, part, headers, body: body.min(span.end)..span.end, span, ended })
    }

    /// The bytes that hold a part, if it stands verbatim in the message; None if there is no such part.
    pub(super) fn entity(&self, id: PartId) -> Option<Option<Range<usize>>> {
        let part = self.parts.get(id.0)?;
        if id.0 == 0 {
            return Some(Some(0..self.raw.len()));
        }
        let header = self.headers.raw.len();
        let stands =
            |span: &Range<usize>| header <= span.start && span.start < span.end && span.end <= self.raw.len();
        Some(part.span.clone().filter(stands))
    }

    fn header_is_ended(&self, id: PartId, span: Range<usize>) -> bool {
        let headers = if id.0 == 0 { &self.headers } else { &self.parts[id.0].headers };
        let rest = self.raw.get(span.start + headers.raw.len()..span.end).unwrap_or_default();
        rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n")
    }
}
