//! Documents without their macros.

mod odf;
mod ole;
mod ooxml;
mod word;
mod xls;
mod xlsb;

use gatepost_mail::{Budget, FileType, Limit, Limits};

use crate::{Unreadable, cfb, zip};

/// Takes the macros out of a document; None if there are none.
pub fn remove_macros(
    content: &[u8],
    detected: FileType,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut budget = Budget::new(limits);
    budget.check_memory(content.len() as u64)?;
    cleaned(content, detected, &mut budget, 0)
}

/// The same for a document in `depth` others.
fn cleaned(
    content: &[u8],
    detected: FileType,
    budget: &mut Budget,
    depth: u32,
) -> Result<Option<Vec<u8>>, Unreadable> {
    const DEEPEST: u32 = 4;
    if depth > DEEPEST.min(budget.limits().depth) {
        return Err(Limit::Depth.into());
    }
    budget.check_time()?;
    if content.starts_with(b"PK\x03\x04") {
        return package(content, budget, depth);
    }
    if content.starts_with(cfb::MAGIC) && detected != FileType::MSI {
        return ole::cleaned(content, budget, depth);
    }
    match detected {
        FileType::PDF => Err(Unreadable::Unsupported("PDF")),
        _ => Err(Unreadable::Unsupported("what is no document")),
    }
}

/// A document in a zip: Open XML or OpenDocument.
fn package(content: &[u8], budget: &mut Budget, depth: u32) -> Result<Option<Vec<u8>>, Unreadable> {
    let members = zip::members(content, budget)?;
    let has = |name: &str| members.iter().any(|member| member.key() == name);
    if has("[content_types].xml") {
        ooxml::cleaned(content, &members, budget, depth)
    } else if has("meta-inf/manifest.xml") || has("mimetype") {
        odf::cleaned(content, &members, budget, depth)
    } else {
        Err(Unreadable::Unsupported("a zip that is no document"))
    }
}

/// Whether a file begins as a document that may hold macros of its own.
fn begins_as_document(beginning: &[u8]) -> bool {
    beginning.starts_with(b"\xd0\xcf\x11\xe0")
        || beginning.starts_with(b"PK\x03\x04")
        || beginning.starts_with(b"{\\rt")
}

/// A document within another: None if there is nothing to take out, or if it is no document after all.
fn within(content: &[u8], budget: &mut Budget, depth: u32) -> Result<Option<Vec<u8>>, Unreadable> {
    match cleaned(content, FileType::detect(content), budget, depth + 1) {
        Err(Unreadable::Unsupported(_)) => Ok(None),
        other => other,
    }
}
