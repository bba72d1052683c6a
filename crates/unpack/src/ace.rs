//! ACE archives: their list of files, and members that are stored. Its own methods have no free description that is
//! complete; such members are named and noted.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType};
use memchr::memmem;

use crate::fields::{cut, u16_le, u32_le, u64_le};
use crate::names;
use crate::opening::{Member, Opening, Stop};

const MARK: &[u8] = b"**ACE**";
/// The mark stands behind sum, size, kind and flags of the first header.
const BEFORE: usize = 7;
/// Flags of headers.
const DATA: u16 = 1;
const LARGE: u16 = 4;
const WENT_ON: u16 = 0x1000;
const GOES_ON: u16 = 0x2000;
const LOCKED: u16 = 0x4000;

/// Whether this is an ACE archive, or a program or data with one behind it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::ACE
        || matches!(detected.kind, FileKind::Executable | FileKind::Data) && find(body).is_some()
}

/// Opens an ACE archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some(mut at) = find(&body) else {
        opening.defective(DefectKind::BadArchive, "a header that makes no sense");
        return Ok(());
    };
    while at < body.len() {
        opening.check_time()?;
        let Some(header) = Header::read(&body, at) else {
            opening.defective(DefectKind::BadArchive, "a header that makes no sense");
            break;
        };
        at = header.data.end;
        match header.kind {
            1 => member(opening, header)?,
            // A list of files that is encrypted, of version 2.
            3 | 4 if header.flags & LOCKED != 0 => {
                opening.defective(DefectKind::Encrypted, "its list of members is encrypted");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the main header is, with a right checksum.
fn find(body: &[u8]) -> Option<usize> {
    const REACH: usize = 1 << 20;
    let places = memmem::find_iter(&body[..body.len().min(REACH)], MARK).take(64);
    let starts = places.filter_map(|at| at.checked_sub(BEFORE));
    starts.into_iter().find(|at| Header::read(body, *at).is_some_and(|header| header.sound))
}

struct Header {
    kind: u8,
    flags: u16,
    data: Range<usize>,
    short: bool,
    sound: bool,
    names: Vec<String>,
    crc: u32,
    method: u8,
    folder: bool,
}

impl Header {
    fn read(body: &[u8], at: usize) -> Option<Header> {
        let head = body.get(at..)?;
        let size = usize::from(u16_le(head, 2)?);
        let head = head.get(4..4 + size)?;
        let mut crc = flate2::Crc::new();
        crc.update(head);
        // The CRC-32 without its last inversion, half of it.
        let sound = u16_le(body, at) == Some(!crc.sum() as u16);
        let (kind, flags) = (*head.first()?, u16_le(head, 1)?);
        let large = flags & LARGE != 0;
        let packed = match (flags & DATA != 0, large) {
            (false, _) => 0,
            (true, false) => u32_le(head, 3)?.into(),
            (true, true) => u64_le(head, 3)?,
        };
        let (data, short) = cut(body, at + 4 + size, packed);
        let mut header =
            Header { kind, flags, data, short, sound, names: Vec::new(), crc: 0, method: 0, folder: false };
        if kind == 1 {
            // Sizes, time, attributes, sum, method and its parameters, then the name.
            let rest = head.get(if large { 19 } else { 11 }..)?;
            header.folder = u32_le(rest, 4)? & 0x10 != 0;
            header.crc = u32_le(rest, 8)?;
            header.method = *rest.get(12)?;
            let name_len = usize::from(u16_le(rest, 18)?);
            header.names = names::readings(rest.get(20..20 + name_len)?, false);
        }
        Some(header)
    }
}

fn member(opening: &mut Opening, header: Header) -> Result<(), Stop> {
    if header.folder {
        return Ok(());
    }
    let encrypted = header.flags & LOCKED != 0;
    let (mut body, mut defect, mut over) = (Bytes::new(), None, None);
    if header.method != 0 && !encrypted {
        defect = Some((DefectKind::UnknownMethod, format!("method {}", header.method)));
    } else if !encrypted {
        match opening.slice(header.data.clone()) {
            Ok(data) => body = data,
            Err(limit) => over = Some(limit),
        }
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        let (cut, bad) = (DefectKind::TruncatedArchive, DefectKind::BadArchive);
        defect = match header.flags {
            _ if over.is_some() => None,
            flags if flags & (WENT_ON | GOES_ON) != 0 => {
                Some((cut, "a part of it is in another volume".into()))
            }
            _ if header.short => Some((cut, "its data ends early".into())),
            _ if crc.sum() != !header.crc => Some((bad, "its checksum differs".into())),
            _ => None,
        };
    }
    let unread = defect.is_some() || over.is_some();
    let id = opening.member(Member { names: header.names, body, encrypted, unread })?;
    if let Some((kind, detail)) = defect {
        opening.defect(kind, id, detail);
    }
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    }
    Ok(())
}
