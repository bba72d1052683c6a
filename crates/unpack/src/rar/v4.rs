//! Headers of RAR 1.3 to 4.

use super::header::{Block, File, Lock, Method, Next, Sum, old_names};
use crate::fields::{cut, u16_le, u32_le};

/// The mark of RAR 1.5 to 4.
pub(super) const MARK: &[u8] = b"Rar!\x1a\x07\0";
/// The mark of RAR 1.3.
pub(super) const OLD_MARK: &[u8] = b"RE\x7e\x5e";

/// Size of the head of every block.
const HEAD: usize = 7;
/// Flags of files.
const SPLIT_BEFORE: u16 = 1;
const SPLIT_AFTER: u16 = 2;
const LOCKED: u16 = 4;
const SOLID: u16 = 0x10;
const WINDOW: u16 = 0xe0;
const LARGE: u16 = 0x100;
const WIDE_NAME: u16 = 0x200;
const SALT: u16 = 0x400;
/// A block has data behind it.
const DATA: u16 = 0x8000;
/// A folder has this in the place of its window.
const FOLDER: u16 = 0xe0;

/// Whether a main header stands behind the mark.
pub(super) fn is_archive(body: &[u8], at: usize) -> bool {
    let Some(head) = body.get(at..) else { return false };
    let size = usize::from(u16_le(head, 5).unwrap_or(0));
    head.get(2) == Some(&0x73) && (HEAD..=1 << 12).contains(&size) && is_sound(head, size)
}

/// Whether the header's checksum, half a CRC-32, is right.
fn is_sound(head: &[u8], size: usize) -> bool {
    let mut crc = flate2::Crc::new();
    crc.update(head.get(2..size).unwrap_or_default());
    u16_le(head, 0) == Some(crc.sum() as u16)
}

/// Size of a header, by its first bytes.
pub(super) fn header_len(head: &[u8]) -> Option<usize> {
    u16_le(head, 5).map(usize::from).filter(|size| *size >= HEAD)
}

/// The block at `at` of `body`. None if nothing there looks like one, or the body ends in its header.
pub(super) fn read(body: &[u8], at: usize) -> Option<Next> {
    let head = body.get(at..)?;
    let size = header_len(head)?;
    block(body, head.get(..size)?, at + size)
}

/// Reads a header, whose data is at `data_at` of the body. One that was encrypted does not stand in the body itself.
pub(super) fn block(body: &[u8], header: &[u8], data_at: usize) -> Option<Next> {
    let (kind, flags) = (*header.get(2)?, u16_le(header, 3)?);
    // A comment inside a main or file header is not part of what is summed; blocks of other kinds of old archives have
    // sums of their own.
    let commented = kind == 0x73 && flags & 2 != 0 || kind == 0x74 && flags & 8 != 0;
    let sound = commented || matches!(kind, 0x75..=0x79) || is_sound(header, header.len());
    let after = |data: u64| cut(body, data_at, data).0.end;
    let block = match kind {
        0x73 => {
            let main = Block::Main { volume: flags & 1 != 0, solid: flags & 8 != 0 };
            let block =
                if flags & 0x80 != 0 { Block::Locked(Lock::Three { salt: Vec::new() }) } else { main };
            return Some(Next { block, at: after(0), sound });
        }
        0x74 => {
            let file = file(body, header, data_at, flags)?;
            let end = file.data.end;
            return Some(Next { block: Block::File(Box::new(file)), at: end, sound });
        }
        0x7b => Block::End,
        0x72..=0x7a => Block::Other,
        _ if sound => Block::Other,
        _ => return None,
    };
    let data = if flags & DATA != 0 || kind == 0x7a { u32_le(header, HEAD)? } else { 0 };
    Some(Next { block, at: after(data.into()), sound })
}

fn file(body: &[u8], header: &[u8], data_at: usize, flags: u16) -> Option<File> {
    let (mut packed, mut size) = (u64::from(u32_le(header, 7)?), u64::from(u32_le(header, 11)?));
    let (version, method) = (*header.get(24)?, *header.get(25)?);
    let name_len = usize::from(u16_le(header, 26)?);
    let attributes = u32_le(header, 28)?;
    let mut at = 32;
    let mut known = true;
    if flags & LARGE != 0 {
        packed |= u64::from(u32_le(header, at)?) << 32;
        let high = u32_le(header, at + 4)?;
        known = !(high == u32::MAX && size == u64::from(u32::MAX));
        size |= u64::from(high) << 32;
        at += 8;
    } else if size == u64::from(u32::MAX) {
        known = false;
    }
    let rest = header.get(at..)?;
    let name = &rest[..name_len.min(rest.len())];
    let salt = (flags & SALT != 0).then(|| rest.get(name_len..name_len + 8)).flatten().unwrap_or_default();
    let (data, short) = cut(body, data_at, packed);
    let old = version < 20 && flags & WINDOW != FOLDER && attributes & 0x10 != 0;
    let locked = (flags & LOCKED != 0).then(|| match version {
        0..=26 => Lock::Old,
        _ => Lock::Three { salt: salt.to_vec() },
    });
    Some(File {
        names: old_names(name, flags & WIDE_NAME != 0),
        data,
        short,
        size: known.then_some(size),
        sum: Sum::Crc(u32_le(header, 16)?),
        method: match (method, version) {
            (0x30, _) => Method::Stored,
            (_, 0..=15) => Method::Lz15,
            (_, 20 | 26) => Method::Lz20,
            (_, 29 | 36) => Method::Lz29,
            _ => Method::Unknown(version.into()),
        },
        window: 0x10000 << ((flags & WINDOW) >> 5).min(6),
        solid: flags & SOLID != 0,
        empty: flags & WINDOW == FOLDER || old,
        split: (flags & SPLIT_BEFORE != 0, flags & SPLIT_AFTER != 0),
        locked,
    })
}

/// The beginning of an archive of RAR 1.3.
pub(super) fn main_old(body: &[u8], at: usize) -> Option<Next> {
    let size = usize::from(u16_le(body, at + OLD_MARK.len())?);
    let flags = *body.get(at + OLD_MARK.len() + 2)?;
    let block = Block::Main { volume: flags & 1 != 0, solid: flags & 8 != 0 };
    (size >= 7).then(|| Next { block, at: at.saturating_add(size).min(body.len()), sound: true })
}

/// The member of an archive of RAR 1.3 at `at`.
pub(super) fn read_old(body: &[u8], at: usize) -> Option<Next> {
    const HEADER: usize = 21;
    let head = body.get(at..)?;
    let packed = u32_le(head, 0)?;
    let (size, name_len) = (usize::from(u16_le(head, 10)?), usize::from(*head.get(19)?));
    let (attributes, flags, version, method) =
        (*head.get(16)?, *head.get(17)?, *head.get(18)?, *head.get(20)?);
    if size < HEADER + name_len || name_len == 0 {
        return None;
    }
    let name = head.get(HEADER..HEADER + name_len)?;
    let (data, short) = cut(body, at + size, packed.into());
    let end = data.end;
    let file = File {
        names: old_names(name, false),
        data,
        short,
        size: Some(u32_le(head, 4)?.into()),
        sum: Sum::Rotated(u16_le(head, 8)?),
        method: match (method, version) {
            (0, _) => Method::Stored,
            (_, 0..=13) => Method::Lz15,
            _ => Method::Unknown(version.into()),
        },
        window: 0x10000,
        solid: flags & 8 != 0,
        empty: attributes & 0x10 != 0,
        split: (flags & 1 != 0, flags & 2 != 0),
        locked: (flags & 4 != 0).then_some(Lock::Old),
    };
    Some(Next { block: Block::File(Box::new(file)), at: end, sound: true })
}
