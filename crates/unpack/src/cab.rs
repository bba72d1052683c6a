//! Cabinets (Microsoft's [MS-CAB]): folders of compressed blocks, and files that lie in what a folder becomes. Behind a
//! program too: that is how self-extracting ones are made.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType, Limit};
use memchr::memmem;

use crate::bits::{Unpacked, truncated};
use crate::fields::{u16_le, u32_le};
use crate::lzx::Lzx;
use crate::mszip::Mszip;
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};
use crate::quantum::Quantum;

const MARK: &[u8] = b"MSCF\0\0\0\0";
/// Flags of a cabinet.
const HAS_PREVIOUS: u16 = 1;
const HAS_NEXT: u16 = 2;
const HAS_RESERVE: u16 = 4;
/// A file's name is UTF-8.
const UTF8: u16 = 0x80;

/// Whether this is a cabinet, or a program or data with one behind it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    body.starts_with(MARK)
        // In an installer package they lie in pieces.
        || matches!(detected.kind, FileKind::Executable | FileKind::Data)
            && detected != FileType::MSI
            && memmem::find_iter(body, MARK).take(64).any(|at| Header::read(body, at).is_some())
}

/// Opens all cabinets in a file.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    /// Cabinets in one file that are read.
    const MOST: usize = 64;
    let body = opening.body.clone();
    let mut end = 0;
    let mut count = 0;
    for at in memmem::find_iter(&body, MARK) {
        opening.check_time()?;
        if at < end {
            continue;
        }
        let Some(header) = Header::read(&body, at) else { continue };
        end = at + header.len;
        count += 1;
        if count > MOST {
            opening.over(Limit::Parts, None);
            break;
        }
        cabinet(opening, &body, at, &header)?;
    }
    if count == 0 {
        opening.defective(DefectKind::BadArchive, "a header that makes no sense");
    }
    Ok(())
}

/// What stands at the beginning of a cabinet.
struct Header {
    /// Size of the cabinet, cut where the file ends.
    len: usize,
    short: bool,
    files_at: usize,
    folders: usize,
    files: usize,
    folders_at: usize,
    /// Bytes behind the head of each folder and of each block.
    folder_reserve: usize,
    block_reserve: usize,
    flags: u16,
}

impl Header {
    fn read(body: &[u8], at: usize) -> Option<Header> {
        let head = body.get(at..)?;
        let (size, files_at) = (u32_le(head, 8)? as usize, u32_le(head, 16)? as usize);
        let (folders, files) = (usize::from(u16_le(head, 26)?), usize::from(u16_le(head, 28)?));
        let flags = u16_le(head, 30)?;
        u32_le(head, 32)?;
        // Version 1.3 is all there ever was; others are taken as that where they do not stand by chance.
        let version = (head[25], head[24]);
        if version.0 > 1 || files_at < 36 || files_at > head.len() || folders == 0 && files > 0 {
            return None;
        }
        let mut place = 36;
        let (mut folder_reserve, mut block_reserve) = (0, 0);
        if flags & HAS_RESERVE != 0 {
            let reserve = usize::from(u16_le(head, place)?);
            folder_reserve = usize::from(*head.get(place + 2)?);
            block_reserve = usize::from(*head.get(place + 3)?);
            place += 4 + reserve;
        }
        for flag in [HAS_PREVIOUS, HAS_NEXT] {
            if flags & flag != 0 {
                // The names of another cabinet and of its disk.
                for _ in 0..2 {
                    let rest = head.get(place..)?;
                    place += memchr::memchr(0, &rest[..rest.len().min(256)])? + 1;
                }
            }
        }
        let len = size.min(head.len()).max(36);
        let short = size > head.len();
        let folders_at = at + place;
        let files_at = at + files_at;
        Some(Header {
            len,
            short,
            files_at,
            folders,
            files,
            folders_at,
            folder_reserve,
            block_reserve,
            flags,
        })
    }
}

/// A folder: where its blocks are and how they are packed.
struct Folder {
    at: usize,
    blocks: usize,
    method: u16,
}

/// A file as it is listed.
struct File {
    names: Vec<String>,
    size: u64,
    offset: u64,
    folder: u16,
}

/// What a folder became.
struct Content {
    data: Bytes,
    /// Bytes that its files were given so far, from the beginning on.
    given: u64,
    /// What is wrong, told with each file that is affected.
    defect: Option<(DefectKind, String)>,
    over: Option<Limit>,
}

fn cabinet(opening: &mut Opening, body: &Bytes, at: usize, header: &Header) -> Result<(), Stop> {
    if header.flags & (HAS_PREVIOUS | HAS_NEXT) != 0 {
        opening.defective(DefectKind::TruncatedArchive, "one cabinet of a set of several");
    } else if header.short {
        opening.defective(DefectKind::TruncatedArchive, "its data ends early");
    }
    let folders = folders(body, at, header);
    let mut contents: Vec<Option<Content>> = folders.iter().map(|_| None).collect();
    let mut place = header.files_at;
    for number in 0..header.files {
        opening.check_time()?;
        if number >= opening.most_members() {
            opening.over(Limit::Parts, None);
            break;
        }
        let Some((file, next)) = file(body, place) else {
            opening.defective(DefectKind::TruncatedArchive, "its list of files ends early");
            break;
        };
        place = next;
        let (index, elsewhere) = match file.folder {
            0xfffd | 0xffff => (0, true),
            0xfffe => (folders.len().saturating_sub(1), false),
            index => (usize::from(index), false),
        };
        let Some((folder, content)) = folders.get(index).zip(contents.get_mut(index)) else {
            missing(opening, file, "a folder that is not there")?;
            continue;
        };
        if elsewhere {
            missing(opening, file, "it begins in another cabinet")?;
            continue;
        }
        let content = match content {
            Some(content) => content,
            None => content.insert(unpack(opening, body, folder, header)),
        };
        member(opening, file, content)?;
    }
    Ok(())
}

fn missing(opening: &mut Opening, file: File, why: &str) -> Result<(), Stop> {
    let id = opening.member(Member { names: file.names, unread: true, ..Member::default() })?;
    opening.defect(DefectKind::TruncatedArchive, id, why);
    Ok(())
}

/// Hands over a file. Files that share bytes with others are copies, so that they are paid for.
fn member(opening: &mut Opening, file: File, content: &mut Content) -> Result<(), Stop> {
    let size = content.data.len() as u64;
    let start = file.offset.min(size);
    let end = start.saturating_add(file.size).min(size);
    let (from, to) = (start as usize, end as usize);
    let short = end - start < file.size;
    let mut over = if short { content.over } else { None };
    let body = if start >= content.given {
        content.given = end;
        content.data.slice(from..to)
    } else {
        let mut copy = Vec::new();
        if let End::Over(limit) = opening.drain(&mut &content.data[from..to], size, &mut copy) {
            over = Some(limit);
        }
        keep(copy)
    };
    let id = opening.member(Member { names: file.names, body, unread: short, encrypted: false })?;
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    } else if short {
        let early = || (DefectKind::TruncatedArchive, "its data ends early".to_owned());
        let (kind, detail) = content.defect.clone().unwrap_or_else(early);
        opening.defect(kind, id, detail);
    }
    Ok(())
}

fn folders(body: &[u8], at: usize, header: &Header) -> Vec<Folder> {
    let size = 8 + header.folder_reserve;
    let read = |number: usize| {
        let head = body.get(header.folders_at + number * size..)?;
        let at = at.checked_add(u32_le(head, 0)? as usize)?;
        Some(Folder { at, blocks: u16_le(head, 4)?.into(), method: u16_le(head, 6)? })
    };
    (0..header.folders).map_while(read).collect()
}

fn file(body: &[u8], at: usize) -> Option<(File, usize)> {
    /// A name with its NUL; longer ones are read as far.
    const LONGEST: usize = 1024;
    let head = body.get(at..)?;
    let attributes = u16_le(head, 14)?;
    let rest = head.get(16..)?;
    let end = memchr::memchr(0, &rest[..rest.len().min(LONGEST)]).unwrap_or(rest.len().min(LONGEST));
    let file = File {
        names: names::readings(&rest[..end], attributes & UTF8 != 0),
        size: u32_le(head, 0)?.into(),
        offset: u32_le(head, 4)?.into(),
        folder: u16_le(head, 8)?,
    };
    Some((file, at + 16 + end + 1))
}

/// The blocks of a folder, as far as they can be read, and the size that they say they become.
struct Blocks {
    ranges: Vec<Range<usize>>,
    size: u64,
    packed: u64,
    short: bool,
}

fn blocks(body: &[u8], folder: &Folder, reserve: usize) -> Blocks {
    let mut found = Blocks { ranges: Vec::new(), size: 0, packed: 0, short: false };
    let mut at = folder.at;
    for _ in 0..folder.blocks {
        let sizes = body.get(at..).and_then(|head| Some((u16_le(head, 4)?, u16_le(head, 6)?)));
        let Some((packed, size)) = sizes else {
            found.short = true;
            break;
        };
        let start = at + 8 + reserve;
        let end = start + usize::from(packed);
        found.short = end > body.len();
        let range = start.min(body.len())..end.min(body.len());
        found.packed += range.len() as u64;
        found.size += u64::from(size);
        found.ranges.push(range);
        if found.short {
            break;
        }
        at = end;
    }
    found
}

fn unpack(opening: &mut Opening, body: &Bytes, folder: &Folder, header: &Header) -> Content {
    let blocks = blocks(body, folder, header.block_reserve);
    let mut content = Content { data: Bytes::new(), given: 0, defect: None, over: None };
    let mut data = Vec::new();
    // The kind, and for two of them the window's size as a power of two.
    let (kind, order) = (folder.method & 0xf, u32::from(folder.method >> 8 & 0x1f));
    let joined = |mark: &[u8]| {
        let mut joined = Vec::with_capacity(blocks.packed as usize + blocks.ranges.len());
        for range in &blocks.ranges {
            joined.extend_from_slice(&body[range.clone()]);
            joined.extend_from_slice(mark);
        }
        joined
    };
    let window = if kind >= 2 { 1_u64 << order.min(32) } else { 0 };
    let end = match (kind, opening.check_memory(window.max(blocks.packed))) {
        (_, Err(limit)) => End::Over(limit),
        (0, _) => opening.drain(&mut &joined(b"")[..], blocks.packed, &mut data),
        (1, _) => {
            let ranges = blocks.ranges.iter().map(|range| Ok(&body[range.clone()]));
            let missing = blocks.short.then(|| Err(truncated()));
            let mut source = Unpacked::new(Mszip::new(ranges.chain(missing)));
            opening.drain(&mut source, blocks.packed, &mut data)
        }
        (2, _) => {
            let joined = joined(b"\xff");
            match Quantum::new(&joined, order, blocks.size) {
                Some(source) => opening.drain(&mut Unpacked::new(source), blocks.packed, &mut data),
                None => End::Corrupt,
            }
        }
        (3, _) => match Lzx::new(&joined(b""), order, blocks.size, None) {
            Some(mut source) => opening.drain(&mut source, blocks.packed, &mut data),
            None => End::Corrupt,
        },
        _ => {
            content.defect = Some((DefectKind::UnknownMethod, format!("method {kind}")));
            return content;
        }
    };
    content.data = keep(data);
    match end {
        End::Over(limit) => content.over = Some(limit),
        End::Truncated => content.defect = Some((DefectKind::TruncatedArchive, "its data ends early".into())),
        End::Corrupt if !blocks.short => {
            content.defect = Some((DefectKind::BadArchive, "its data is damaged".into()));
        }
        End::Corrupt | End::Complete => {}
    }
    content
}
