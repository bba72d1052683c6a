//! TNEF (MS-OXTNEF): a list of attributes of the message, then of each attachment; newer ones are lists of properties.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};

use super::{attachment_names, narrow, property, rtf};
use crate::fields::{cut, u16_le, u32_le, utf16_le};
use crate::names;
use crate::opening::{Member, Opening, Stop};
use crate::pieces::{self, Piece};

const SIGNATURE: &[u8] = b"\x78\x9f\x3e\x22";

/// Whether this is TNEF.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(SIGNATURE)
}

/// Attributes (2.1.3.1), without their types.
const BODY: u16 = 0x800c;
const PROPERTIES: u16 = 0x9003;
const ATTACHMENT_BEGINS: u16 = 0x9002;
const ATTACHMENT_DATA: u16 = 0x800f;
const ATTACHMENT_TITLE: u16 = 0x8010;
const ATTACHMENT_PROPERTIES: u16 = 0x9005;

/// Opens TNEF.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    const ATTACHMENT: u8 = 2;
    let body = opening.body.clone();
    let mut at = 6;
    let mut attachment = Attachment::default();
    while let Some(&level) = body.get(at) {
        opening.check_time()?;
        let (Some(id), Some(size)) = (u16_le(&body, at + 1), u32_le(&body, at + 5)) else {
            if !body[at..].iter().all(|byte| *byte == 0) {
                opening.defective(DefectKind::TruncatedArchive, "it ends inside an attribute");
            }
            break;
        };
        if !matches!(level, 1 | ATTACHMENT) {
            attachment.hand_over(opening)?;
            return pieces::trailing(opening, at);
        }
        let (data, short) = cut(&body, at + 9, size.into());
        if short {
            opening.defective(DefectKind::TruncatedArchive, "it ends inside an attribute");
        }
        // A checksum of two bytes follows.
        at = data.end.saturating_add(2);
        match id {
            ATTACHMENT_BEGINS => std::mem::take(&mut attachment).hand_over(opening)?,
            ATTACHMENT_TITLE if level == ATTACHMENT => attachment.title = Some(narrow(&body[data])),
            ATTACHMENT_DATA if level == ATTACHMENT => attachment.data = Some(data),
            ATTACHMENT_PROPERTIES => attachment.read(&body, data),
            PROPERTIES => message(opening, &body, data)?,
            BODY => text(opening, data)?,
            _ => {}
        }
    }
    attachment.hand_over(opening)
}

/// Hands over the plain text, up to its NUL.
fn text(opening: &mut Opening, data: Range<usize>) -> Result<(), Stop> {
    let end = memchr::memchr(0, &opening.body[data.clone()]).map_or(data.end, |end| data.start + end);
    pieces::member(opening, vec!["body.txt".into()], &[Piece::At(data.start..end)], None).map(|_| ())
}

/// Hands over what properties of the message hold of its body.
fn message(opening: &mut Opening, body: &Bytes, data: Range<usize>) -> Result<(), Stop> {
    let (list, broken) = properties(body, data);
    for found in &list {
        let name = match found.id {
            property::BODY => "body.txt",
            property::HTML => "body.html",
            property::RTF => {
                rtf(opening, &body.slice(found.value.clone()))?;
                continue;
            }
            _ => continue,
        };
        if found.wide() {
            pieces::made(opening, vec![name.into()], utf16_le(&body[found.value.clone()]).into_bytes())?;
        } else {
            pieces::member(opening, vec![name.into()], &[Piece::At(found.value.clone())], None)?;
        }
    }
    if broken {
        opening.defective(DefectKind::BadArchive, "properties that make no sense");
    }
    Ok(())
}

/// An attachment, as far as it was read.
#[derive(Default)]
struct Attachment {
    title: Option<String>,
    data: Option<Range<usize>>,
    /// Content that stands among the properties, an object or a message.
    object: Option<Range<usize>>,
    names: Vec<String>,
    broken: bool,
}

impl Attachment {
    fn read(&mut self, body: &Bytes, data: Range<usize>) {
        let (list, broken) = properties(body, data);
        self.broken |= broken;
        self.names = attachment_names(|id| {
            let found = list.iter().find(|found| found.id == id && found.is_text())?;
            let value = &body[found.value.clone()];
            Some(if found.wide() { utf16_le(value) } else { narrow(value) })
        });
        self.object = list.iter().find(|found| found.id == property::DATA).map(|found| found.value.clone());
    }

    fn hand_over(self, opening: &mut Opening) -> Result<(), Stop> {
        const OBJECT_ID: usize = 16;
        let mut all = self.names;
        if let Some(title) = self.title {
            names::add(&mut all, names::clean(&title));
        }
        if all.is_empty() && self.data.is_none() && self.object.is_none() {
            return Ok(());
        }
        if self.broken {
            opening.defective(DefectKind::BadArchive, "properties that make no sense");
        }
        if let Some(data) = &self.data {
            pieces::member(opening, all.clone(), &[Piece::At(data.clone())], None)?;
        }
        if let Some(object) = self.object.filter(|object| !object.is_empty()) {
            // What it is comes first: a message is TNEF once more, others a storage.
            let start = object.start + OBJECT_ID;
            let skips =
                |mark: &[u8]| opening.body.get(start..object.end).is_some_and(|rest| rest.starts_with(mark));
            let object =
                if skips(SIGNATURE) || skips(crate::cfb::MAGIC) { start..object.end } else { object };
            if self.data.as_ref() != Some(&object) {
                pieces::member(opening, all, &[Piece::At(object)], None)?;
            }
        } else if self.data.is_none() {
            opening.member(Member { names: all, ..Member::default() })?;
        }
        Ok(())
    }
}

/// A property, or one of its values.
struct Property {
    id: u16,
    kind: u16,
    value: Range<usize>,
}

const TEXT: u16 = 0x1e;
const WIDE: u16 = 0x1f;

impl Property {
    fn is_text(&self) -> bool {
        matches!(self.kind, TEXT | WIDE)
    }

    fn wide(&self) -> bool {
        self.kind == WIDE
    }
}

/// Reads a list of properties (2.1.3.4) up to its end or to what makes no sense, which the second value tells.
fn properties(body: &Bytes, data: Range<usize>) -> (Vec<Property>, bool) {
    const MANY: u16 = 0x1000;
    const NAMED: u16 = 0x8000;
    /// Values that are kept.
    const MOST: usize = 4096;
    let bytes = &body[..data.end];
    let count = u32_le(bytes, data.start).unwrap_or_default();
    let mut at = data.start + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        let (Some(kind), Some(id)) = (u16_le(bytes, at), u16_le(bytes, at + 2)) else { return (found, true) };
        at += 4;
        if id >= NAMED {
            const BY_TEXT: u32 = 1;
            let Some(word) = u32_le(bytes, at + 20) else { return (found, true) };
            let long = u32_le(bytes, at + 16) == Some(BY_TEXT);
            at = at.saturating_add(24).saturating_add(if long { padded(word) } else { 0 });
        }
        let base = kind & !MANY;
        let fixed = match base {
            2 | 3 | 4 | 0x0a | 0x0b => Some(4),
            5 | 6 | 7 | 0x14 | 0x40 => Some(8),
            0x48 => Some(16),
            0 | 1 => Some(0),
            0x0d | TEXT | WIDE | 0x102 => None,
            _ => return (found, true),
        };
        let mut values = 1;
        if kind & MANY != 0 || fixed.is_none() {
            let Some(many) = u32_le(bytes, at) else { return (found, true) };
            (values, at) = (many, at + 4);
        }
        for _ in 0..values {
            let size = match fixed {
                // Short values are padded to four bytes.
                Some(size) => size,
                None => {
                    let Some(size) = u32_le(bytes, at) else { return (found, true) };
                    at += 4;
                    let end = at.saturating_add(size as usize);
                    if end > bytes.len() {
                        found.push(Property { id, kind: base, value: at..bytes.len() });
                        return (found, true);
                    }
                    if found.len() < MOST {
                        found.push(Property { id, kind: base, value: at..end });
                    }
                    padded(size)
                }
            };
            if size == 0 && fixed.is_some() || at > bytes.len() {
                break;
            }
            at = at.saturating_add(size);
        }
    }
    (found, at > bytes.len().saturating_add(3))
}

fn padded(size: u32) -> usize {
    (size as usize).saturating_add(3) & !3
}
