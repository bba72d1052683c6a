//! Zoo archives.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};

use crate::bits::Unpacked;
use crate::fields::{cut, u16_le, u32_le};
use crate::lzh::{Lzh, Method, crc16};
use crate::lzw::{Kind, Lzw};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

const MARK: &[u8] = b"\xdc\xa7\xc4\xfd";

/// Whether this is a zoo archive.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.get(20..).is_some_and(|rest| rest.starts_with(MARK))
}

/// Opens a zoo archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut at = u32_le(&body, 24).map_or(usize::MAX, |at| at as usize);
    for _ in 0..opening.most_members() {
        opening.check_time()?;
        // Some programs leave the last one out.
        if at == body.len() {
            return Ok(());
        }
        let Some(entry) = Entry::read(&body, at) else {
            opening.defective(DefectKind::BadArchive, "no entry where the one before leads to");
            return Ok(());
        };
        // The last entry is empty and leads nowhere.
        if entry.next == 0 {
            return Ok(());
        }
        let back = entry.next <= at;
        at = entry.next;
        if !entry.deleted {
            member(opening, entry)?;
        }
        if back {
            opening.defective(DefectKind::BadArchive, "an entry that leads back");
            return Ok(());
        }
    }
    opening.over(gatepost_mail::Limit::Parts, None);
    Ok(())
}

struct Entry {
    names: Vec<String>,
    next: usize,
    method: u8,
    data: Range<usize>,
    short: bool,
    crc: u16,
    size: u64,
    deleted: bool,
}

impl Entry {
    fn read(body: &[u8], at: usize) -> Option<Entry> {
        let head = body.get(at..)?;
        if !head.starts_with(MARK) {
            return None;
        }
        let text = |range: Range<usize>| {
            let field = head.get(range)?;
            Some(&field[..memchr::memchr(0, field).unwrap_or(field.len())])
        };
        let (data, short) = cut(body, u32_le(head, 10)? as usize, u32_le(head, 24)?.into());
        let mut path = Vec::new();
        // Entries of the second kind have long names and folders.
        if *head.get(4)? == 2 {
            let name_len = usize::from(head.get(56).copied().unwrap_or(0));
            let folder_len = usize::from(head.get(57).copied().unwrap_or(0));
            let name = text(58..58 + name_len).unwrap_or_default();
            let folder = text(58 + name_len..58 + name_len + folder_len).unwrap_or_default();
            if !folder.is_empty() && !name.is_empty() {
                path = [folder, b"/", name].concat();
            } else if !name.is_empty() {
                path = name.to_vec();
            }
        }
        let mut names = names::readings(&path, false);
        for name in names::readings(text(38..51)?, false) {
            names::add(&mut names, name);
        }
        Some(Entry {
            names,
            next: u32_le(head, 6)? as usize,
            method: *head.get(5)?,
            data,
            short,
            crc: u16_le(head, 18)?,
            size: u32_le(head, 20)?.into(),
            deleted: *head.get(30)? == 1,
        })
    }
}

fn member(opening: &mut Opening, entry: Entry) -> Result<(), Stop> {
    let packed = opening.body.slice(entry.data.clone());
    let (mut data, len) = (Vec::new(), packed.len() as u64);
    let mut stored = Bytes::new();
    let end = match entry.method {
        0 => match opening.slice(entry.data.clone()) {
            Ok(body) => {
                stored = body;
                End::Complete
            }
            Err(limit) => End::Over(limit),
        },
        1 => opening.drain(&mut Unpacked::new(Lzw::new(&packed, Kind::Zoo)), len, &mut data),
        2 => {
            let mut source = Unpacked::new(Lzh::new(Method::Lh5, &packed, entry.size));
            opening.drain(&mut source, len, &mut data)
        }
        method => {
            let id = opening.member(Member { names: entry.names, unread: true, ..Member::default() })?;
            opening.defect(DefectKind::UnknownMethod, id, format!("method {method}"));
            return Ok(());
        }
    };
    let body = if entry.method == 0 { stored } else { keep(data) };
    let defect = match end {
        End::Over(_) => None,
        _ if entry.short => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Truncated => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Corrupt => Some((DefectKind::BadArchive, "its data is damaged")),
        End::Complete if crc16(&body) != entry.crc => Some((DefectKind::BadArchive, "its checksum differs")),
        End::Complete => None,
    };
    let unread = defect.is_some() || matches!(end, End::Over(_));
    let id = opening.member(Member { names: entry.names, body, unread, encrypted: false })?;
    if let Some((kind, detail)) = defect {
        opening.defect(kind, id, detail);
    }
    if let End::Over(limit) = end {
        opening.over(limit, Some(id));
    }
    Ok(())
}
