//! Files that two programs open as two different things: a picture that is a zip, a PDF that is a page.
//!
//! A container behind a program is how self-extracting archives are made, and a zip with a certain content is an office
//! document; neither is told of. What lies behind is taken out where no other format finds it.

use gatepost_mail::{FeatureKind, FileKind, FileType};
use memchr::memmem;

use crate::fields::{u16_le, u32_le};
use crate::opening::{Member, Opening, Stop};

/// Whether this is of a kind in which others are hidden, and something else is there.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    other(body, detected).is_some()
}

/// Notes both types.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let (body, detected) = (opening.body.clone(), opening.part().detected);
    let Some(other) = other(&body, detected) else { return Ok(()) };
    opening.feature(FeatureKind::Polyglot, format!("{} and {}", detected.name, other.name()));
    let Other::Behind(_, at) = other else { return Ok(()) };
    match opening.slice(at..body.len()) {
        Ok(body) => opening.embedded(Member { body, ..Member::default() }).map(|_| ()),
        Err(limit) => {
            opening.over(limit, None);
            Ok(())
        }
    }
}

/// The second type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// Opened by its own format, which finds it in the whole file.
    Known(&'static str),
    /// An archive that begins at a place, which its own format need not find.
    Behind(&'static str, usize),
}

impl Other {
    fn name(self) -> &'static str {
        match self {
            Other::Known(name) | Other::Behind(name, _) => name,
        }
    }
}

fn other(body: &[u8], detected: FileType) -> Option<Other> {
    let picture = matches!(detected.kind, FileKind::Image | FileKind::Audio | FileKind::Video)
        && detected != FileType::SVG;
    let document = matches!(detected, FileType::PDF | FileType::RTF | FileType::OLE | FileType::MSI);
    let page = detected.kind == FileKind::Html;
    if !(picture || document || page) {
        return None;
    }
    if let Some(name) = zip_to_the_end(body) {
        return Some(Other::Known(name));
    }
    if (picture || page) && memmem::find(&body[..body.len().min(1024 + 5)], b"%PDF-").is_some() {
        return Some(Other::Known("pdf"));
    }
    if (picture || detected == FileType::PDF) && body.get(0x8001..0x8006) == Some(b"CD001") {
        return Some(Other::Known("iso"));
    }
    if picture || detected == FileType::PDF {
        return archive_behind(body).or_else(|| page_within(body, detected));
    }
    None
}

/// A zip whose end record reaches to the end of the file and leads to a directory: programs for zips open it.
fn zip_to_the_end(body: &[u8]) -> Option<&'static str> {
    /// The end record and the longest comment behind it.
    const NEAR: usize = 22 + 0xffff;
    /// Bytes behind it that programs pass over.
    const LOOSE: usize = 64;
    let near = body.len().saturating_sub(NEAR);
    let at = near + memmem::rfind(&body[near..], b"PK\x05\x06")?;
    let directory = u32_le(body, at + 12)? as usize;
    let comment = usize::from(u16_le(body, at + 20)?);
    let behind = body.len().checked_sub(at + 22 + comment)?;
    let start = at.checked_sub(directory)?;
    let leads = body[start..].starts_with(b"PK\x01\x02") && behind <= LOOSE;
    let manifest = || memmem::find(&body[start..at], b"META-INF/MANIFEST.MF").is_some();
    leads.then(|| if manifest() { "jar" } else { "zip" })
}

/// An archive whose programs look for it anywhere in a file.
fn archive_behind(body: &[u8]) -> Option<Other> {
    const MARKS: [(&[u8], &str); 3] =
        [(b"Rar!\x1a\x07\0", "rar"), (b"Rar!\x1a\x07\x01\0", "rar"), (b"7z\xbc\xaf\x27\x1c", "7z")];
    MARKS.into_iter().find_map(|(mark, name)| memmem::find(body, mark).map(|at| Other::Behind(name, at)))
}

/// A page near the beginning or the end of a picture, where a browser finds it that takes the file for one.
fn page_within(body: &[u8], detected: FileType) -> Option<Other> {
    const NEAR: usize = 4096;
    if detected == FileType::PDF {
        return None;
    }
    let ends = [&body[..body.len().min(NEAR)], &body[body.len().saturating_sub(NEAR)..]];
    let has = |end: &[u8]| {
        let end = end.to_ascii_lowercase();
        [&b"<script"[..], b"<html", b"<hta:"].iter().any(|tag| memmem::find(&end, tag).is_some())
    };
    ends.into_iter().any(has).then_some(Other::Known("html"))
}
