//! OneNote sections (MS-ONESTORE): files that were put into a note lie in the section as they are, between two marks.

use gatepost_mail::{FeatureKind, FileKind, FileType};
use memchr::memmem;

use crate::fields::{u16_le, u32_le, u64_le};
use crate::opening::{Member, Opening, Stop};

/// Whether this is a section, or anything that holds files as sections do.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::ONENOTE
        || matches!(detected.kind, FileKind::Data)
            && memmem::find(&body[..body.len().min(1 << 16)], HEADER).is_some()
}

/// What a file begins with (FileDataStoreObject, 2.6.13): {BDE316E7-2665-4511-A4C4-8D4D0B7A9EAC}.
const HEADER: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";
/// Behind the header: the size, four and eight bytes that are unused.
const BEFORE_DATA: usize = 16 + 8 + 4 + 8;

/// Takes out the files.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let names = names(&body);
    let mut files = Vec::new();
    let mut from = 0;
    while let Some(at) = memmem::find(&body[from..], HEADER).map(|at| from + at) {
        opening.check_time()?;
        let size = u64_le(&body, at + 16).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let start = (at + BEFORE_DATA).min(body.len());
        let end = start.saturating_add(size).min(body.len());
        from = if end > start { end } else { at + HEADER.len() };
        if end > start {
            files.push(body.slice(start..end));
        }
        if files.len() >= opening.most_members() {
            break;
        }
    }
    // Pictures on the page are kept in the same way; they have no names.
    let attached = |file: &[u8]| FileType::detect(file).kind != FileKind::Image;
    let count = files.iter().filter(|file| attached(file)).count();
    let mut next = names.iter();
    for file in files {
        let mut own = Vec::new();
        if attached(&file) {
            // Which name is whose is told in a tree of objects; in order is how OneNote writes them. Where the numbers do
            // not agree, each may be any's.
            match count == names.len() {
                true => own.extend(next.next().cloned()),
                false => own.clone_from(&names),
            }
            opening.feature(FeatureKind::EmbeddedFile, own.first().map_or("a file", String::as_str));
        }
        opening.embedded(Member { names: own, body: file, ..Member::default() })?;
    }
    Ok(())
}

/// Names of embedded files: the property EmbeddedFileName in the property sets of the section (MS-ONE 2.1.34,
/// MS-ONESTORE 2.6.7).
fn names(body: &[u8]) -> Vec<String> {
    const NAME: &[u8] = b"\x9c\x1d\0\x1c";
    const MOST: usize = 256;
    let mut found = Vec::new();
    for at in memmem::find_iter(body, NAME).take(MOST) {
        let Some(name) = name(body, at) else { continue };
        for name in crate::names::readings(name.as_bytes(), true) {
            let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
            crate::names::add(&mut found, name);
        }
    }
    found
}

/// The value of the property whose number stands at `at`, in a list of numbers behind their count; the values follow in
/// the same order.
fn name(body: &[u8], at: usize) -> Option<String> {
    const MOST: usize = 64;
    /// The longest name that is one.
    const LONGEST: usize = 1024;
    let place = (0..MOST).find(|place| {
        at.checked_sub(place * 4 + 2)
            .and_then(|start| u16_le(body, start))
            .is_some_and(|count| usize::from(count) > *place && usize::from(count) <= MOST)
    })?;
    let first = at - place * 4;
    let count = usize::from(u16_le(body, first - 2)?);
    let mut value = first + count * 4;
    for place in 0..count {
        let property = first + place * 4;
        let size = match u32_le(body, property)? >> 26 & 0x1f {
            0x1 | 0x2 | 0x8 | 0xa | 0xc => 0,
            0x3 => 1,
            0x4 => 2,
            0x5 | 0x9 | 0xb | 0xd => 4,
            0x6 => 8,
            0x7 => 4 + u32_le(body, value)? as usize,
            _ => return None,
        };
        if property == at {
            let length = size.checked_sub(4).filter(|length| *length <= LONGEST)?;
            return Some(super::wide(body.get(value + 4..value + 4 + length)?));
        }
        value = value.checked_add(size)?;
    }
    None
}
