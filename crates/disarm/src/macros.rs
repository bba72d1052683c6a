//! Documents without their macros.

mod odf;
mod ole;
mod ooxml;
mod pdf;
mod rtf;
mod word;
mod xls;
mod xlsb;

use gatepost_mail::{Budget, FileType, Limit, Limits};

use crate::{Unreadable, cfb, zip};

/// Takes out of a document what runs by itself; None if there is nothing of it, and the document can stay as it is.
///
/// `detected` is what the content is ([`FileType::detect`]), not what it is called. What goes, and what stays:
///
/// - Open XML (docx, docm, xlsm, xlsb, pptm, their templates): projects of VBA, ActiveX controls, buttons and keys that call
///   macros; macro sheets of Excel 4, in whose place empty sheets stand; fields and links that ask other programs for data (DDE).
///   Templates, frames and objects that are fetched from elsewhere lead to nothing. Links to other workbooks, hyperlinks and
///   pictures stay. The type stays that of a document with macros, since programs open no document whose type does not fit
///   its name. All members that need not be changed are copied as they are packed.
/// - OpenDocument: Basic, scripts, dialogs, listeners for events, addresses of macros, DDE.
/// - Word, Excel, PowerPoint up to 2003: storages of VBA; macro sheets, emptied; DDE fields of Word. What was taken out is
///   overwritten, and so is all that no stream uses. Controls stay, without code.
/// - Rich text: objects, whose pictures stay; templates; DDE fields.
/// - PDF: scripts, actions on opening, programs to be started, XFA forms, by overwriting their names.
///
/// Documents within documents are cleaned as well, up to four deep. Signatures of a document go or do not hold any more.
///
/// Errors: what is encrypted, over a limit, or unsound; what is no such document; what cannot be cleaned: workbooks up to 2003 and
/// xlsb with DDE, modules of Excel 5, workbooks older than that, PDF that acts by packed objects, documents that are one XML
/// file, zips of the 64-bit form.
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
    if content.starts_with(rtf::MAGIC) {
        budget.take_bytes(content.len() as u64)?;
        return rtf::cleaned(content, budget);
    }
    if detected == FileType::PDF {
        budget.take_bytes(content.len() as u64)?;
        return pdf::cleaned(content, budget);
    }
    Err(Unreadable::Unsupported("what is no document"))
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
    beginning.starts_with(cfb::MAGIC)
        || beginning.starts_with(b"PK\x03\x04")
        || beginning.starts_with(rtf::MAGIC)
}

/// A document within another: None if there is nothing to take out, or if it is no document after all.
fn within(content: &[u8], budget: &mut Budget, depth: u32) -> Result<Option<Vec<u8>>, Unreadable> {
    match cleaned(content, FileType::detect(content), budget, depth + 1) {
        Err(Unreadable::Unsupported(_)) => Ok(None),
        other => other,
    }
}

#[cfg(test)]
mod tests;
