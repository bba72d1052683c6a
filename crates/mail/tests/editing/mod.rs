//! Messages and edits of their parts.

use bytes::Bytes;
use gatepost_mail::{Budget, Edit, Limits, Message, PartId, Place};

/// A message as it is read within the default limits.
pub fn read(raw: impl Into<Vec<u8>>) -> Message {
    Message::read(Bytes::from(raw.into()), &mut Budget::new(&Limits::default()))
}

/// The edit that gives a part this name.
pub fn rename(part: usize, name: &str) -> Edit {
    Edit::RenamePart { part: PartId(part), name: name.into() }
}

/// The edit that gives a part this content.
pub fn rewrite(part: usize, body: &[u8]) -> Edit {
    Edit::RewritePart { part: PartId(part), body: Bytes::copy_from_slice(body) }
}

/// The edit that puts this text in the place of a part.
pub fn replace(part: usize, text: &str) -> Edit {
    Edit::ReplacePart { part: PartId(part), text: text.into() }
}

/// The edit that adds this to the texts.
pub fn add(text: &str, html: &str, place: Place) -> Edit {
    Edit::AddText { text: text.into(), html: html.into(), place }
}
