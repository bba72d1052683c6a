//! Documents in compound files: Word, Excel and PowerPoint up to 2003, and objects in other documents.
//!
//! Storages of VBA are taken out of the directory, and their sectors overwritten. Streams of the documents themselves keep
//! their length: what runs in them is overwritten by something of the same size.

use std::collections::HashSet;
use std::io::Read;

use gatepost_mail::Budget;
use gatepost_unpack::fields::{u16_le, u32_le};

use super::{within, word, xls};
use crate::Unreadable;
use crate::cfb::Cfb;

/// The document without macros; None if it has none.
pub(super) fn cleaned(
    content: &[u8],
    budget: &mut Budget,
    depth: u32,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut cfb = Cfb::parse(content)?;
    budget.take_bytes(content.len() as u64)?;
    if cfb.child(0, "EncryptedPackage").is_some() || cfb.child(0, "EncryptionInfo").is_some() {
        return Err(Unreadable::Encrypted);
    }
    let projects = projects(&cfb);
    let streams: Vec<(usize, usize, String)> = cfb
        .entries()
        .filter(|(number, entry)| !entry.storage && !projects.contains(number))
        .map(|(number, entry)| (number, entry.parent, entry.name.to_ascii_lowercase()))
        .collect();
    for (number, parent, name) in streams {
        budget.check_time()?;
        let changed = match name.as_str() {
            "workbook" | "book" => xls::cleaned(&take(&cfb, number, budget)?, !projects.is_empty())?,
            "worddocument" => {
                let body = take(&cfb, number, budget)?;
                let table =
                    cfb.child(parent, word::table(&body)?).map(|table| cfb.read(table)).transpose()?;
                word::cleaned(&body, table.as_deref(), budget)?
            }
            "powerpoint document" => slides(&take(&cfb, number, budget)?, budget, depth)?,
            "current user" => {
                // MS-PPT 2.3.2: a token of its own says that all is encrypted.
                if u32_le(&cfb.read(number)?, 12) == Some(0xf3d1_c4df) {
                    return Err(Unreadable::Encrypted);
                }
                None
            }
            "package" => {
                let inner = take(&cfb, number, budget)?;
                // What comes out has another length: the object is lost, its picture stays.
                within(&inner, budget, depth)?.map(|_| vec![0; inner.len()])
            }
            _ => None,
        };
        if let Some(changed) = changed {
            cfb.write(number, &changed)?;
        }
    }
    if !projects.is_empty() || cfb.has_lost() {
        cfb.remove(&projects);
    }
    cfb.finish()
}

fn take(cfb: &Cfb, stream: usize, budget: &mut Budget) -> Result<Vec<u8>, Unreadable> {
    let body = cfb.read(stream)?;
    budget.take_bytes(body.len() as u64)?;
    Ok(body)
}

/// Storages and streams of VBA (MS-OVBA 2.2.1), wherever they are: those that are called so, and those that look so.
fn projects(cfb: &Cfb) -> HashSet<usize> {
    let is = |number: usize, name: &str| cfb.child(number, name).is_some();
    let mut found = HashSet::new();
    for (number, entry) in cfb.entries().filter(|(number, _)| *number != 0) {
        let name = entry.name.to_ascii_lowercase();
        let named = matches!(name.as_str(), "macros" | "_vba_project_cur" | "_vba_project");
        let code = is(number, "_VBA_PROJECT") || is(number, "dir") && name == "vba";
        let form = is(number, "\u{3}VBFrame");
        if entry.storage && (named || code || form) || !entry.storage && name == "_vba_project" {
            found.insert(number);
        }
        if code {
            // What belongs to the project stands beside it, where that has no storage of its own.
            let beside = cfb.children(entry.parent).filter(|(_, other)| {
                ["project", "projectwm", "projectlk"].contains(&&*other.name.to_ascii_lowercase())
            });
            found.extend(beside.map(|(number, _)| number));
        }
    }
    found
}

/// Slides (MS-PPT): what says where the macros are, says that there are none; documents with macros in them, and the
/// project itself, are overwritten.
fn slides(stream: &[u8], budget: &mut Budget, depth: u32) -> Result<Option<Vec<u8>>, Unreadable> {
    const STORAGE: u16 = 0x1011;
    const VBA_INFO: u16 = 0x0400;
    let mut out = stream.to_vec();
    let mut at = 0;
    while let (Some(head), Some(kind), Some(size)) =
        (u16_le(stream, at), u16_le(stream, at + 2), u32_le(stream, at + 4))
    {
        let start = at + 8;
        let end = start.saturating_add(size as usize);
        // Containers are walked into.
        at = if head & 0xf == 0xf { start } else { end };
        let end = end.min(stream.len());
        if start >= end {
            continue;
        }
        if kind == VBA_INFO {
            // The reference to the project and whether there are macros (2.4.11); the version stays.
            out[start..end.min(start + 8)].fill(0);
        } else if kind == STORAGE {
            let inner = match head >> 4 {
                1 => unpacked(&stream[start..end], budget)?,
                _ => stream[start..end].to_vec(),
            };
            if within(&inner, budget, depth)?.is_some() {
                out[start..end].fill(0);
                // It is not packed any more.
                out[start - 8] &= 0x0f;
                out[start - 7] = 0;
            }
        }
    }
    Ok((out != stream).then_some(out))
}

/// A storage in a record: its size, and it, packed by zlib (RFC 1950). PowerPoint's own may lack their end.
fn unpacked(record: &[u8], budget: &mut Budget) -> Result<Vec<u8>, Unreadable> {
    let size = u32_le(record, 0).unwrap_or_default();
    let packed = record.get(4..).unwrap_or_default();
    budget.check_ratio(packed.len() as u64, size.into())?;
    budget.check_memory(size.into())?;
    budget.take_bytes(size.into())?;
    let mut out = Vec::new();
    // What an error leaves is judged by its size.
    let _ = flate2::read::ZlibDecoder::new(packed).take(u64::from(size) + 1).read_to_end(&mut out);
    let sound = out.len() == size as usize;
    if sound { Ok(out) } else { Err(Unreadable::Malformed("an object whose data is broken")) }
}
