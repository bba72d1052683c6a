//! Setup programs of InstallShield: files behind the program, and the cabinets among them, whose list of files stands in
//! one file (`data1.hdr`) and whose data in others (`data1.cab`, `data2.cab`).

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType};
use memchr::memmem;

use crate::fields::{cut, u16_le, u32_le};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// A cabinet or its list of files.
const MARK: &[u8] = b"ISc(";
/// What stands before files that are encrypted.
const SCRAMBLED: &[u8] = b"InstallShield\0";
/// Size of the head before the scrambled files, and before each of them.
const HEAD: usize = 46;
const ENTRY: usize = 312;

/// Whether this is a setup program, or a cabinet that has its own list of files.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    body.starts_with(MARK)
        || detected.kind == FileKind::Executable
            && (plain_start(body).is_some() || scrambled_start(body).is_some())
}

/// Opens a setup program or a cabinet.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    if body.starts_with(MARK) {
        let volumes = [("data1.cab".to_owned(), 0..body.len())];
        return cabinet(opening, &body, 0..body.len(), &volumes);
    }
    if let Some(start) = plain_start(&body) {
        return plain(opening, &body, start);
    }
    match scrambled_start(&body) {
        Some(start) => scrambled(opening, &body, start),
        None => {
            opening.defective(DefectKind::BadArchive, "no files behind the program");
            Ok(())
        }
    }
}

/// A file behind the program: its name, where its data is, and where the next one begins.
struct Plain {
    name: Range<usize>,
    data: Range<usize>,
    short: bool,
}

impl Plain {
    /// Name, path, version and size as text, each with a NUL behind it, and the data.
    fn read(body: &[u8], at: usize) -> Option<Plain> {
        /// Longest of the texts.
        const LONGEST: usize = 1024;
        let mut place = at;
        let mut texts: [Range<usize>; 4] = Default::default();
        for text in &mut texts {
            let rest = body.get(place..)?;
            let end = memchr::memchr(0, &rest[..rest.len().min(LONGEST)])?;
            *text = place..place + end;
            place += end + 1;
        }
        let [name, path, version, size] = &texts;
        let is_text = |text: &Range<usize>| body[text.clone()].iter().all(|byte| *byte >= b' ');
        let numeric = |text: &Range<usize>, also: u8| {
            let bytes = &body[text.clone()];
            !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == also)
        };
        if name.is_empty()
            || !is_text(name)
            || !is_text(path)
            || !numeric(version, b'.')
            || !numeric(size, b'0')
        {
            return None;
        }
        let size = std::str::from_utf8(&body[size.clone()]).ok()?.parse::<u64>().ok()?;
        let (data, short) = cut(body, place, size);
        Some(Plain { name: name.clone(), data, short })
    }
}

/// Where the files begin behind a program that they are just appended to: before `Disk1\`, with a name.
fn plain_start(body: &[u8]) -> Option<usize> {
    /// Places that are tried.
    const TRIES: usize = 16;
    memmem::find_iter(body, b"\0Disk1\\").take(TRIES).find_map(|at| {
        let name = memchr::memrchr(0, &body[at.saturating_sub(256)..at])
            .map(|back| at.saturating_sub(256) + back + 1);
        // The first name follows the program's last byte, which need not be 0.
        let path = &body[at + 7..];
        let path = &path[..memchr::memchr(0, path)?.min(256)];
        let exact = at.checked_sub(path.len()).filter(|start| body[*start..at] == *path);
        let start = exact.or(name)?;
        Plain::read(body, start).map(|_| start)
    })
}

fn plain(opening: &mut Opening, body: &Bytes, start: usize) -> Result<(), Stop> {
    let mut at = start;
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    while let Some(file) = Plain::read(body, at) {
        opening.check_time()?;
        at = file.data.end;
        let names = names::readings(&body[file.name], false);
        let name = names.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        match opening.slice(file.data.clone()) {
            Ok(content) => {
                // Its cabinets are opened here, where its list of files is.
                let of_set = content.starts_with(MARK);
                if of_set {
                    found.push((name, file.data));
                } else {
                    let id = opening.member(Member { names, body: content, ..Member::default() })?;
                    if file.short {
                        opening.defect(DefectKind::TruncatedArchive, id, "its data ends early");
                    }
                }
            }
            Err(limit) => {
                opening.over(limit, None);
                break;
            }
        }
    }
    let lists = || found.iter().filter(|(name, _)| name.ends_with(".hdr"));
    if let Some((_, list)) = lists().next() {
        return cabinet(opening, body, list.clone(), &found);
    }
    if !found.is_empty() {
        opening.defective(DefectKind::TruncatedArchive, "cabinets without their list of files");
    }
    Ok(())
}

/// Where scrambled files begin: behind the mark, with a count and a first name that make sense.
fn scrambled_start(body: &[u8]) -> Option<usize> {
    const TRIES: usize = 16;
    memmem::find_iter(body, SCRAMBLED).take(TRIES).find(|&at| {
        let count = u16_le(body, at + SCRAMBLED.len()).unwrap_or(0);
        let name = body.get(at + HEAD..at + HEAD + ENTRY).unwrap_or_default();
        let len = memchr::memchr(0, name).unwrap_or(0);
        (1..=4096).contains(&count) && (1..260).contains(&len) && name[..len].iter().all(u8::is_ascii_graphic)
    })
}

fn scrambled(opening: &mut Opening, body: &Bytes, start: usize) -> Result<(), Stop> {
    let count = usize::from(u16_le(body, start + SCRAMBLED.len()).unwrap_or(0));
    let mut at = start + HEAD;
    for _ in 0..count {
        opening.check_time()?;
        let Some(entry) = body.get(at..at + ENTRY) else {
            opening.defective(DefectKind::TruncatedArchive, "its list of files ends early");
            break;
        };
        let name = &entry[..memchr::memchr(0, &entry[..260]).unwrap_or(260)];
        let flags = u32_le(entry, 260).unwrap_or(0);
        let (range, short) = cut(body, at + ENTRY, u32_le(entry, 268).unwrap_or(0).into());
        at = range.end;
        let mut data = body[range].to_vec();
        unscramble(&mut data, name, flags);
        let (mut content, packed) = (Vec::new(), data.len() as u64);
        // zlib's header: deflate, a window of 32 KiB.
        let deflated = data.starts_with(&[0x78])
            && u16::from_be_bytes([0x78, *data.get(1).unwrap_or(&0)]).is_multiple_of(31);
        let end = if deflated {
            opening.inflate(&data[2..], packed, None, &mut content).1
        } else {
            opening.drain(&mut &data[..], packed, &mut content)
        };
        let names = names::readings(name, false);
        let unread = short || end != End::Complete;
        let id = opening.member(Member { names, body: keep(content), unread, encrypted: false })?;
        match end {
            End::Over(limit) => opening.over(limit, Some(id)),
            _ if short => opening.defect(DefectKind::TruncatedArchive, id, "its data ends early"),
            End::Complete => {}
            _ => opening.defect(DefectKind::BadArchive, id, "its data is damaged"),
        }
    }
    Ok(())
}

/// Undoes what is done to a file with its name as the key, for blocks of 1,024 bytes or for all of it.
fn unscramble(data: &mut [u8], name: &[u8], flags: u32) {
    const KEY: [u8; 4] = [0xec, 0xca, 0x79, 0xf8];
    let block = match flags {
        _ if name.is_empty() || flags & 6 == 0 => return,
        _ if flags & 4 != 0 => 1024,
        _ => usize::MAX,
    };
    let key: Vec<u8> = name.iter().zip(KEY.iter().cycle()).map(|(letter, key)| letter ^ key).collect();
    for (place, byte) in data.iter_mut().enumerate() {
        *byte = byte.rotate_left(4) ^ key[place % block % key.len()];
    }
}

/// Flags of a file in a cabinet.
const SPLIT: u16 = 1;
const OBFUSCATED: u16 = 2;
const COMPRESSED: u16 = 4;
const INVALID: u16 = 8;

/// The files of a set of cabinets, by their list.
fn cabinet(
    opening: &mut Opening,
    body: &Bytes,
    list: Range<usize>,
    volumes: &[(String, Range<usize>)],
) -> Result<(), Stop> {
    let list = &body[list];
    let Some(table) = Table::read(list) else {
        opening
            .defective(DefectKind::NotOpened, "a cabinet of InstallShield without a list that can be read");
        return Ok(());
    };
    for number in 0..table.count {
        opening.check_time()?;
        let Some(file) = table.file(list, number) else {
            opening.defective(DefectKind::TruncatedArchive, "its list of files ends early");
            break;
        };
        // One at the very beginning lies beside the cabinet, not in it.
        if file.flags & INVALID != 0 || file.names.is_empty() || file.at == 0 {
            continue;
        }
        let volume = format!("data{}.cab", file.volume);
        let data = volumes.iter().find(|(name, _)| *name == volume).map(|(_, range)| &body[range.clone()]);
        let place = usize::try_from(file.at).ok();
        let packed =
            data.zip(place).and_then(|(data, at)| (at <= data.len()).then(|| cut(data, at, file.packed)));
        let mut content = Vec::new();
        let (end, short) = match (packed, data) {
            (Some((range, short)), Some(data)) => {
                (unpack(opening, &file, &data[range], &mut content), short || file.flags & SPLIT != 0)
            }
            _ => (End::Truncated, true),
        };
        let unread = end != End::Complete;
        let id =
            opening.member(Member { names: file.names, body: keep(content), unread, encrypted: false })?;
        match end {
            End::Over(limit) => opening.over(limit, Some(id)),
            End::Complete => {}
            _ if short => {
                opening.defect(DefectKind::TruncatedArchive, id, "its data lies in another cabinet")
            }
            End::Truncated => opening.defect(DefectKind::TruncatedArchive, id, "its data ends early"),
            End::Corrupt => opening.defect(DefectKind::BadArchive, id, "its data is damaged"),
        }
    }
    Ok(())
}

fn unpack(opening: &mut Opening, file: &Listed, packed: &[u8], into: &mut Vec<u8>) -> End {
    let plain: Vec<u8>;
    let mut rest = packed;
    if file.flags & OBFUSCATED != 0 {
        let undo =
            |(place, byte): (usize, &u8)| (byte ^ 0xd5).rotate_right(2).wrapping_sub((place % 0x47) as u8);
        plain = packed.iter().enumerate().map(undo).collect();
        rest = &plain;
    }
    let len = packed.len() as u64;
    if file.flags & COMPRESSED == 0 {
        return opening.drain(&mut &rest[..], len, into);
    }
    // Pieces behind their sizes, each deflated by itself.
    while !rest.is_empty() && (into.len() as u64) < file.size {
        let size = u16_le(rest, 0).map_or(0, usize::from);
        let Some(piece) = rest.get(2..2 + size).filter(|piece| !piece.is_empty()) else {
            return End::Truncated;
        };
        rest = &rest[2 + size..];
        match opening.inflate(piece, len, None, into).1 {
            End::Complete => {}
            // The last block of a piece need not say that it is the last.
            End::Truncated if !rest.is_empty() || into.len() as u64 >= file.size => {}
            end => return end,
        }
    }
    End::Complete
}

/// Where the list of files is in a header.
struct Table {
    base: usize,
    files: usize,
    count: usize,
}

/// A file as the list has it.
struct Listed {
    names: Vec<String>,
    flags: u16,
    size: u64,
    packed: u64,
    at: u64,
    volume: u16,
}

impl Table {
    fn read(list: &[u8]) -> Option<Table> {
        let version = u32_le(list, 4)?;
        let major = match version >> 24 {
            1 => version >> 12 & 0xf,
            _ => (version & 0xffff) / 100,
        };
        // Version 5 has another list.
        if major < 6 && (version & 0xffff) != 0 {
            return None;
        }
        let descriptor = u32_le(list, 12)? as usize;
        if descriptor == 0 || u32_le(list, 16)? == 0 {
            return None;
        }
        let base = descriptor.checked_add(u32_le(list, descriptor.checked_add(0x0c)?)? as usize)?;
        let count = u32_le(list, descriptor + 0x28)? as usize;
        let files = base.checked_add(u32_le(list, descriptor + 0x2c)? as usize)?;
        Some(Table { base, files, count })
    }

    fn file(&self, list: &[u8], number: usize) -> Option<Listed> {
        const SIZE: usize = 0x57;
        let entry = list.get(self.files.checked_add(number.checked_mul(SIZE)?)?..)?.get(..SIZE)?;
        let text = |offset: u32| {
            let rest = list.get(self.base.checked_add(offset as usize)?..)?;
            let rest = &rest[..rest.len().min(1024)];
            Some(&rest[..memchr::memchr(0, rest)?])
        };
        let folder = usize::from(u16_le(entry, 62)?);
        let folder = u32_le(list, self.base.checked_add(folder * 4)?).and_then(text).unwrap_or_default();
        let name = text(u32_le(entry, 58)?)?;
        let path = if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() };
        Some(Listed {
            names: names::readings(&path, false),
            flags: u16_le(entry, 0)?,
            size: u32_le(entry, 2)?.into(),
            packed: u32_le(entry, 10)?.into(),
            at: u32_le(entry, 18)?.into(),
            volume: u16_le(entry, 85)?,
        })
    }
}
