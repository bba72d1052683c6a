//! Headers of RAR 5 and 7 (RARLAB's "RAR 5.0 archive format" describes them).

use super::header::{Block, File, Lock, Method, Next, Sum};
use crate::fields::{cut, u32_le};
use crate::names;

/// The mark of RAR 5.
pub(super) const MARK: &[u8] = b"Rar!\x1a\x07\x01\0";

/// Longest header that is read, as the format has it.
const LONGEST: u64 = 2 << 20;

/// Numbers of seven bits a byte, lowest first.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for place in 0..10 {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f).checked_shl(7 * place).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.bytes.len())?;
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        u32_le(self.take(4)?, 0)
    }
}

/// Whether a header with a right checksum stands behind the mark.
pub(super) fn is_archive(body: &[u8], at: usize) -> bool {
    read(body, at).is_some_and(|next| next.sound)
}

/// Bytes of the header at `at`, its checksum and size included. None if that makes no sense.
pub(super) fn header_len(body: &[u8], at: usize) -> Option<usize> {
    let head = body.get(at..)?;
    let start = head.get(4..head.len().min(7))?;
    let mut fields = Fields { bytes: start };
    let size = fields.number().filter(|size| (1..=LONGEST).contains(size))?;
    let fixed = 4 + start.len() - fields.bytes.len();
    Some(fixed + usize::try_from(size).ok()?)
}

/// The block at `at` of `body`. None if nothing there looks like one, or the body ends in its header.
pub(super) fn read(body: &[u8], at: usize) -> Option<Next> {
    let len = header_len(body, at)?;
    let header = body.get(at..at.checked_add(len)?)?;
    block(body, header, at + len)
}

/// Reads a header, whose data is at `data_at` of the body. One that was encrypted does not stand in the body itself.
pub(super) fn block(body: &[u8], header: &[u8], data_at: usize) -> Option<Next> {
    let mut crc = flate2::Crc::new();
    crc.update(header.get(4..)?);
    let sound = u32_le(header, 0) == Some(crc.sum());
    let mut fields = Fields { bytes: header.get(4..)? };
    fields.number()?;
    let (kind, flags) = (fields.number()?, fields.number()?);
    let extra = if flags & 1 != 0 { fields.number()? } else { 0 };
    let packed = if flags & 2 != 0 { fields.number()? } else { 0 };
    let (data, short) = cut(body, data_at, packed);
    let end = data.end;
    let block = match kind {
        1 => {
            let flags = fields.number()?;
            Block::Main { volume: flags & 1 != 0, solid: flags & 4 != 0 }
        }
        2 => {
            let split = (flags & 8 != 0, flags & 0x10 != 0);
            let file = file(&mut fields, extra)?;
            Block::File(Box::new(File { data, short, split, ..file }))
        }
        4 => Block::Locked(lock(&mut fields, true)?),
        5 => Block::End,
        3 => Block::Other,
        _ if sound => Block::Other,
        _ => return None,
    };
    Some(Next { block, at: end, sound })
}

fn file(fields: &mut Fields, extra: u64) -> Option<File> {
    let flags = fields.number()?;
    let size = fields.number()?;
    fields.number()?;
    if flags & 2 != 0 {
        fields.u32()?;
    }
    let sum = if flags & 4 != 0 { Sum::Crc(fields.u32()?) } else { Sum::None };
    let packing = fields.number()?;
    fields.number()?;
    let name_len = fields.number()?;
    let name = fields.take(name_len)?;
    let mut file = File {
        names: names::readings(name, true),
        size: (flags & 8 == 0).then_some(size),
        sum,
        solid: packing & 0x40 != 0,
        empty: flags & 1 != 0,
        ..File::default()
    };
    let version = packing & 0x3f;
    let shift = (packing >> 10) & if version == 0 { 0xf } else { 0x1f };
    file.window = (128 << 10) << shift;
    if version == 1 {
        file.window += file.window / 32 * ((packing >> 15) & 0x1f);
    }
    // Archives of RAR 7 may say that they are of RAR 5 underneath.
    let large = version == 1 && packing & 1 << 20 == 0;
    file.method = match (packing >> 7 & 7, version) {
        (0, _) => Method::Stored,
        (_, 0 | 1) => Method::Lz50(large),
        _ => Method::Unknown(u32::try_from(version).unwrap_or(0) + 50),
    };
    let extra = fields.take(extra.min(fields.bytes.len() as u64))?;
    extras(&mut Fields { bytes: extra }, &mut file);
    Some(file)
}

/// Records behind a file's header: encryption, and links.
fn extras(fields: &mut Fields, file: &mut File) {
    while let Some(size) = fields.number() {
        let Some(record) = fields.take(size) else { return };
        let mut record = Fields { bytes: record };
        match record.number() {
            Some(1) => file.locked = lock(&mut record, false),
            // Links have no content; what they lead to is a name.
            Some(5) => file.empty = true,
            _ => {}
        }
    }
}

/// How something is encrypted: of all headers, or of one file.
fn lock(fields: &mut Fields, headers: bool) -> Option<Lock> {
    fields.number()?;
    let flags = fields.number()?;
    let rounds = u32::from(*fields.take(1)?.first()?);
    let salt = *fields.take(16)?.first_chunk()?;
    let start = if headers { [0; 16] } else { *fields.take(16)?.first_chunk()? };
    let check = if flags & 1 != 0 { fields.take(8)?.first_chunk().copied() } else { None };
    Some(Lock::Five { salt, start, rounds, check, keyed_sums: flags & 2 != 0 })
}
