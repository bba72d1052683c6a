//! Office documents in compound files: Word, Excel and PowerPoint up to 2003, the macros of later ones, encrypted
//! later ones, and objects in other documents. What counts are the names of streams, in whatever storage they are.

use bytes::Bytes;
use gatepost_mail::{DefectKind, FeatureKind, FileKind, FileType};

use super::field::{self, Fields, LONGEST};
use super::ptg::latin;
use super::{biff, crypt, native, shown, vba};
use crate::cfb::{Cfb, Entry, MAGIC};
use crate::fields::{u16_le, u32_le};
use crate::layout;
use crate::opening::{End, Member, Opening, Stop, keep};

/// Whether this is a compound file.
pub(crate) fn is(body: &[u8], _: FileType) -> bool {
    body.starts_with(MAGIC)
}

/// Reads its streams as what they are in documents.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let (cfb, defects) = Cfb::parse(&body);
    for (kind, detail) in defects {
        opening.defective(kind, detail);
    }
    for entry in cfb.entries() {
        opening.check_time()?;
        if entry.storage {
            super::risky_clsid(opening, &entry.clsid);
        } else {
            stream(opening, &cfb, entry)?;
        }
    }
    crypt::open(opening, &cfb)?;
    vba::open(opening, &cfb)
}

fn stream(opening: &mut Opening, cfb: &Cfb, entry: &Entry) -> Result<(), Stop> {
    let name = entry.name.to_ascii_lowercase();
    match name.as_str() {
        "\u{1}ole10native" => {
            let body = vba::stream(opening, cfb, entry);
            native::stream(opening, &body)
        }
        "\u{1}ole" => {
            let body = vba::stream(opening, cfb, entry);
            native::monikers(opening, &body);
            Ok(())
        }
        "workbook" | "book" => {
            let body = vba::stream(opening, cfb, entry);
            workbook(opening, &body)
        }
        "worddocument" => word(opening, cfb, entry),
        "powerpoint document" => {
            let body = vba::stream(opening, cfb, entry);
            show(opening, |most| shown::slides(&body, most));
            slides(opening, &body)
        }
        "current user" => {
            let body = vba::stream(opening, cfb, entry);
            // MS-PPT 2.3.2: a token of its own says that all is encrypted.
            if u32_le(&body, 12) == Some(0xf3d1_c4df) {
                opening.defective(DefectKind::Encrypted, "encrypted slides");
            }
            Ok(())
        }
        // The strings of forms.
        "o" | "f" if entry.path.contains('/') => {
            let body = vba::stream(opening, cfb, entry);
            super::words::urls(&body).into_iter().for_each(|url| opening.link(url));
            Ok(())
        }
        "encryptedpackage" | "encryptioninfo" | "dir" | "_vba_project" | "1table" | "0table" | "data" => {
            Ok(())
        }
        _ => file(opening, cfb, entry),
    }
}

/// A stream that is a file: objects of other programs are kept so, and so are things that do not belong.
fn file(opening: &mut Opening, cfb: &Cfb, entry: &Entry) -> Result<(), Stop> {
    const SMALLEST: u64 = 64;
    if entry.size < SMALLEST {
        return Ok(());
    }
    let body = vba::stream(opening, cfb, entry);
    if entry.name.starts_with('_') && body.get(4) == Some(&0x78) {
        return packed_object(opening, &body);
    }
    let found = FileType::detect(&body);
    let is_file = found.kind == FileKind::Executable && found != FileType::DOS
        || matches!(
            found,
            FileType::ZIP
                | FileType::JAR
                | FileType::RAR
                | FileType::SEVENZIP
                | FileType::CAB
                | FileType::LNK
        )
        || found.kind == FileKind::Document && !matches!(found, FileType::SYLK | FileType::PS);
    if is_file {
        if found.kind == FileKind::Executable || found == FileType::LNK {
            opening.feature(FeatureKind::EmbeddedFile, format!("{} in {}", found.name, entry.path));
        }
        let names = vec![crate::names::clean(&entry.name)];
        opening.embedded(Member { names, body, ..Member::default() })?;
    }
    Ok(())
}

/// An object of slides or of Word's XML of 2003: behind its size, a compound file packed by zlib (RFC 1950), whose header is
/// of two bytes.
fn packed_object(opening: &mut Opening, body: &Bytes) -> Result<(), Stop> {
    let packed = body.slice(6.min(body.len())..);
    let inflated = opening.inflated(&packed, packed.len() as u64, u32_le(body, 0).map(u64::from));
    if let End::Over(limit) = inflated.end {
        opening.over(limit, None);
    }
    if !inflated.data.is_empty() {
        opening.embedded(Member { body: inflated.data, ..Member::default() })?;
    }
    Ok(())
}

/// A workbook; one that is encrypted with a password that is known is read as well.
fn workbook(opening: &mut Opening, body: &Bytes) -> Result<(), Stop> {
    if biff::encryption(body).is_none() {
        show(opening, |most| shown::sheets(body, most));
        return biff::open(opening, body);
    }
    match crypt::workbook(opening, body) {
        Some(plain) => {
            show(opening, |most| shown::sheets(&plain, most));
            biff::open(opening, &plain)?;
            let names = vec!["Workbook".to_owned()];
            opening.embedded(Member { names, body: keep(plain), ..Member::default() })?;
        }
        None => opening.defective(DefectKind::Encrypted, "an encrypted workbook"),
    }
    Ok(())
}

/// Notes the text that a reader sees, where it is asked for.
fn show(opening: &mut Opening, text: impl FnOnce(usize) -> String) {
    if opening.wants_text() {
        let text = text(opening.most_text());
        opening.shows(&text);
    }
}

/// Fields of a document (MS-DOC 2.8.25). Its text is stored in pieces; where their table makes no sense the stream is
/// searched as it is.
fn word(opening: &mut Opening, cfb: &Cfb, entry: &Entry) -> Result<(), Stop> {
    const ENCRYPTED: u16 = 0x0100;
    const OTHER_TABLE: u16 = 0x0200;
    let body = vba::stream(opening, cfb, entry);
    let flags = u16_le(&body, 10).unwrap_or_default();
    if flags & ENCRYPTED != 0 {
        opening.defective(DefectKind::Encrypted, "an encrypted document");
        return Ok(());
    }
    let folder = entry.path.strip_suffix(&entry.name).unwrap_or_default();
    let table = if flags & OTHER_TABLE != 0 { "1Table" } else { "0Table" };
    let table = cfb.find(&format!("{folder}{table}")).map(|entry| vba::stream(opening, cfb, entry));
    let mut fields = Fields::default();
    let pieces = table.and_then(|table| layout::text_pieces(&body, &table));
    show(opening, |most| shown::document(&body, pieces.as_deref(), most));
    match pieces {
        Some(pieces) => {
            for (range, wide) in pieces {
                opening.check_time()?;
                instructions(opening, &body[range], wide, &mut fields);
            }
        }
        None => {
            instructions(opening, &body, false, &mut fields);
            instructions(opening, &body, true, &mut Fields::default());
        }
    }
    Ok(())
}

/// Instructions of fields in a piece of text: they begin with 19, their results with 20, and they end with 21.
fn instructions(opening: &mut Opening, text: &[u8], wide: bool, fields: &mut Fields) {
    const BEGIN: u8 = 19;
    let size = if wide { 2 } else { 1 };
    let mut at = 0;
    while at < text.len() {
        if !fields.is_open() {
            // Outside of instructions nothing matters but marks.
            let next = memchr::memchr3(BEGIN, 20, 21, &text[at..]).map_or(text.len(), |next| at + next);
            at = next / size * size;
        }
        let Some(unit) = text.get(at..at + size) else { break };
        at += size;
        match (unit[0], unit.get(1).copied().unwrap_or_default()) {
            (BEGIN, 0) => fields.begin(),
            (20, 0) => fields.separate(),
            (21, 0) => {
                if let Some(instruction) = fields.end().filter(|text| text.len() <= LONGEST) {
                    field::instruction(opening, &instruction);
                }
            }
            _ if fields.is_open() && wide => fields.text(&super::wide(unit)),
            _ if fields.is_open() => fields.text(&latin(unit)),
            _ => {}
        }
    }
}

/// Objects and macros of slides: compound files in records of their own, mostly compressed (MS-PPT 2.10.34).
fn slides(opening: &mut Opening, body: &Bytes) -> Result<(), Stop> {
    const STORAGE: u16 = 0x1011;
    let mut at = 0;
    while let (Some(head), Some(kind), Some(size)) =
        (u16_le(body, at), u16_le(body, at + 2), u32_le(body, at + 4))
    {
        opening.check_time()?;
        let start = at + 8;
        at = start.saturating_add(size as usize);
        let end = at.min(body.len());
        if kind != STORAGE || start >= end {
            continue;
        }
        let compressed = head >> 4 == 1;
        if compressed {
            packed_object(opening, &body.slice(start..end))?;
        } else {
            opening.embedded(Member { body: body.slice(start..end), ..Member::default() })?;
        }
    }
    Ok(())
}
