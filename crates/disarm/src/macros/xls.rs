//! Workbooks of Excel up to 2003 (MS-XLS, and the form of Excel 5): macro sheets, and the mark of a VBA project.

use std::ops::Range;

use gatepost_unpack::fields::{u16_le, u32_le};

use crate::Unreadable;

const NAME: u16 = 0x0018;
const BOUND_SHEET: u16 = 0x0085;
const BEGIN: u16 = 0x0809;
const END: u16 = 0x000a;
const CONTINUE: u16 = 0x003c;
const FILE_PASS: u16 = 0x002f;
const EXTERN_SHEET: u16 = 0x0017;
const SUP_BOOK: u16 = 0x01ae;
const PROJECT: u16 = 0x00d3;

/// A record, and where its data lies.
struct Record {
    kind: u16,
    data: Range<usize>,
}

/// The workbook without macro sheets: empty sheets stand in their place, since others are told by their number. `project`: a
/// VBA project was beside it. None if there is nothing to take out.
pub(super) fn cleaned(stream: &[u8], project: bool) -> Result<Option<Vec<u8>>, Unreadable> {
    let records = records(stream)?;
    let wide = refuse(stream, &records)?;
    let mut out = stream.to_vec();
    let mut macros = false;
    for record in records.iter().filter(|record| record.kind == BOUND_SHEET) {
        // Behind the place: whether it is hidden, and its kind (2.4.28).
        match out.get_mut(record.data.start + 5).filter(|_| record.data.len() > 5) {
            Some(kind @ 1) => {
                *kind = 0;
                macros = true;
            }
            Some(6) => return Err(Unreadable::Unsupported("a workbook with modules of Excel 5")),
            _ => {}
        }
    }
    let listed: Vec<usize> = records
        .iter()
        .filter(|record| record.kind == BOUND_SHEET && stream.get(record.data.start + 5) == Some(&1))
        .filter_map(|record| u32_le(stream, record.data.start).map(|at| at as usize))
        .collect();
    let mut begins = records.iter().enumerate().filter(|(_, record)| record.kind == BEGIN);
    for (place, record) in begins.by_ref() {
        let is_macro = u16_le(stream, record.data.start + 2) == Some(0x0040);
        if is_macro || listed.contains(&(record.data.start - 4)) {
            empty(&mut out, &records[place..], wide)?;
            macros = true;
        }
    }
    if macros {
        rename(&mut out, &records, wide)?;
    }
    if project {
        for record in records.iter().filter(|record| record.kind == PROJECT && record.data.is_empty()) {
            // There is no project any more. A record that says nothing (Excel9File) stands in its place, as the places of all
            // others are told elsewhere.
            out[record.data.start - 4..record.data.start - 2].copy_from_slice(&0x01c0u16.to_le_bytes());
        }
    }
    Ok((out != stream).then_some(out))
}

/// All records, up to zeros that fill the stream.
fn records(stream: &[u8]) -> Result<Vec<Record>, Unreadable> {
    let mut found = Vec::new();
    let mut at = 0;
    while let (Some(kind), Some(length)) = (u16_le(stream, at), u16_le(stream, at + 2)) {
        if kind == 0 && length == 0 {
            break;
        }
        let data = at + 4..at + 4 + usize::from(length);
        if data.end > stream.len() {
            return Err(Unreadable::Malformed("a workbook whose records make no sense"));
        }
        at = data.end;
        found.push(Record { kind, data });
    }
    Ok(found)
}

/// Refuses what cannot be cleaned. Whether it is of the form of Excel 97 and later.
fn refuse(stream: &[u8], records: &[Record]) -> Result<bool, Unreadable> {
    let version = records
        .first()
        .filter(|first| first.kind == BEGIN)
        .and_then(|first| u16_le(stream, first.data.start));
    let wide = match version {
        Some(0x0600) => true,
        Some(0x0500) => false,
        _ => return Err(Unreadable::Unsupported("a workbook of this age")),
    };
    for record in records {
        let data = &stream[record.data.clone()];
        let dde = match record.kind {
            FILE_PASS => return Err(Unreadable::Encrypted),
            0x0009 | 0x0209 | 0x0409 => return Err(Unreadable::Unsupported("a workbook of this age")),
            SUP_BOOK => is_dde(data.get(5..).unwrap_or_default()) && data.len() > 5,
            EXTERN_SHEET => !wide && is_dde(data.get(1..).unwrap_or_default()),
            _ => false,
        };
        if dde {
            return Err(Unreadable::Unsupported("a workbook that asks other programs for data"));
        }
    }
    Ok(wide)
}

/// Whether an encoded path (2.5.277) is that of another program: its name, 3, and what is asked for. OLE servers have a dot in
/// their names.
fn is_dde(path: &[u8]) -> bool {
    let path: Vec<u8> = path.iter().copied().filter(|byte| *byte != 0).collect();
    let Some(sign) = memchr::memchr(3, &path).filter(|_| !path.starts_with(b"\x01")) else { return false };
    let service = path[..sign].to_ascii_lowercase();
    !service.is_empty() && (!service.contains(&b'.') || service.ends_with(b".exe"))
}

/// Makes an empty sheet of the one that begins with the first of these records: nothing of it stays but that it begins, what
/// a sheet must have, and that it ends. What is left over becomes records that readers pass over.
fn empty(out: &mut [u8], records: &[Record], wide: bool) -> Result<(), Unreadable> {
    const SHEET: u16 = 0x0010;
    const LONGEST: usize = 8224;
    let mut depth = 0;
    let mut end = None;
    for record in records {
        match record.kind {
            BEGIN => depth += 1,
            END => {
                depth -= 1;
                if depth == 0 {
                    end = Some(record.data.end);
                    break;
                }
            }
            _ => {}
        }
    }
    let (Some(end), Some(first)) = (end, records.first()) else {
        return Err(Unreadable::Malformed("a macro sheet without end"));
    };
    if let Some(kind) = out.get_mut(first.data.start + 2..first.data.start + 4) {
        kind.copy_from_slice(&SHEET.to_le_bytes());
    }
    let room = end - first.data.end;
    let mut made = Vec::new();
    let (dimensions, window): (usize, usize) = if wide { (14, 18) } else { (10, 10) };
    let whole = 4 + dimensions + 4 + window + 4;
    if room == whole || room >= whole + 4 {
        push(&mut made, 0x0200, &vec![0; dimensions]);
        let mut data = vec![0; window];
        // Grid lines, headings, zeros, default colour, outlines (2.4.346).
        data[0] = 0xb6;
        push(&mut made, 0x023e, &data);
    }
    push(&mut made, END, &[]);
    while made.len() < room {
        let left = room - made.len();
        // So that the last one has room for its head.
        let length = match left.checked_sub(4) {
            None => return Err(Unreadable::Malformed("a macro sheet with nothing in it")),
            Some(length) if length <= LONGEST => length,
            Some(_) => LONGEST - 4,
        };
        push(&mut made, CONTINUE, &vec![0; length]);
    }
    out[first.data.end..end].copy_from_slice(&made);
    Ok(())
}

fn push(out: &mut Vec<u8>, kind: u16, data: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(data);
}

/// Gives names that run by themselves (2.4.150) others of the same length. They are told by their number elsewhere, so they stay.
fn rename(out: &mut [u8], records: &[Record], wide: bool) -> Result<(), Unreadable> {
    const BUILT_IN: u8 = 0x20;
    const OPEN_AND_CLOSE: &[u8] = &[1, 2, 10, 11];
    let mut renamed = 0u8;
    for record in records.iter().filter(|record| record.kind == NAME) {
        let data = &mut out[record.data.clone()];
        let start = if wide { 15 } else { 14 };
        let (Some(&flags), Some(&first)) = (data.first(), data.get(start)) else { continue };
        if flags & BUILT_IN != 0 && OPEN_AND_CLOSE.contains(&first) {
            data[0] &= !BUILT_IN;
            // Letters of Latin-1, another for each: of one character, few other names there are.
            data[start] = 0xc0 + renamed;
            renamed += 1;
            if renamed > 22 {
                return Err(Unreadable::Malformed("a workbook with many names that run by themselves"));
            }
            continue;
        }
        let Some(text) = data.get(start..) else { continue };
        let seen: Vec<(usize, u8)> =
            text.iter().copied().enumerate().filter(|(_, byte)| byte.is_ascii_graphic()).take(5).collect();
        let word: Vec<u8> = seen.iter().map(|(_, byte)| byte.to_ascii_lowercase()).collect();
        if word == b"auto_"
            && let Some((place, _)) = seen.first()
        {
            data[start + place] = b'x';
        }
    }
    Ok(())
}
