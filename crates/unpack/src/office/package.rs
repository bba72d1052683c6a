//! Documents in zips: Open XML (ECMA-376 part 2) and OpenDocument. The zip was opened before; here its members are
//! looked at together.

use bytes::Bytes;
use gatepost_mail::{FileKind, FileType};

use super::biff;
use super::markup::Markup;
use super::xml;
use crate::opening::{Opening, Stop};

/// Whether this may be a document in a zip. What makes it one are its members.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    body.starts_with(b"PK") && matches!(detected.kind, FileKind::Document | FileKind::Archive)
        || detected == FileType::ZIP
}

/// Reads the members that the zip gave.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let mut members = opening.members();
    if !members.iter().any(|(name, _)| tells(name)) {
        return Ok(());
    }
    let mut markup = Markup::default();
    // The list of types and the relations come first: they say what the others are.
    members.sort_by_key(|(name, _)| !tells(name));
    for (name, body) in &members {
        let lower = name.to_ascii_lowercase();
        if is_xml(body) {
            markup.scan(opening, &xml::utf8(body), name)?;
        } else if lower.ends_with(".bin") && !body.starts_with(crate::cfb::MAGIC) && lower.starts_with("xl/")
        {
            binary(opening, &mut markup, &lower, body)?;
        } else if lower.starts_with("scripts/") && !body.is_empty() {
            markup.modules.insert(name.clone());
        }
    }
    markup.tell(opening)
}

/// Members that say what a document is made of.
fn tells(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "[content_types].xml" || lower.ends_with(".rels") || lower == "meta-inf/manifest.xml"
}

fn is_xml(body: &[u8]) -> bool {
    let start = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    start.starts_with(b"<")
        || matches!(body, [0xff, 0xfe, b'<', ..] | [0xfe, 0xff, 0, b'<', ..] | [0, b'<', ..])
}

/// A part of an xlsb file. Sheets that are no macro sheets are not looked through.
fn binary(opening: &mut Opening, markup: &mut Markup, name: &str, body: &Bytes) -> Result<(), Stop> {
    // A sheet begins as one (BrtBeginSheet); its index does not.
    let begins = body.starts_with(b"\x81\x01");
    let named = name.contains("macrosheets/") || markup.macro_sheets.iter().any(|known| known == name);
    let is_macro = begins && named;
    let sheet = name.rsplit('/').next().unwrap_or(name);
    if is_macro {
        markup.macros.sheet(sheet, false);
    } else if name.contains("worksheets/")
        || name.ends_with("sharedstrings.bin")
        || name.ends_with("styles.bin")
    {
        return Ok(());
    }
    biff::part12(opening, body, is_macro.then_some(sheet), &mut markup.macros)
}
