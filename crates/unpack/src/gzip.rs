//! gzip files (RFC 1952): one or several members, which together are one file.

use gatepost_mail::{DefectKind, FileType};

use crate::fields::{u16_le, u32_le};
use crate::names;
use crate::opening::{Opening, Stop};
use crate::single::{File, Single, Step};

const GZIP: Single = Single {
    endings: &[
        ("gz", ""),
        ("z", ""),
        ("gzip", ""),
        ("tgz", ".tar"),
        ("taz", ".tar"),
        ("svgz", ".svg"),
        ("emz", ".emf"),
        ("wmz", ".wmf"),
    ],
    stream,
};

/// Whether this is a gzip file.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(&[0x1f, 0x8b]) && body.len() >= 10
}

/// Opens a gzip file.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    GZIP.open(opening)
}

/// One member.
fn stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    let Some(header) = Header::read(input) else {
        if file.data.is_empty() && input.len() < 18 && input.len() == opening.body.len() {
            file.complain(DefectKind::TruncatedArchive, "a header that makes no sense");
        }
        return Step::None;
    };
    header.names.iter().for_each(|name| names::add(&mut file.names, name.clone()));
    if header.reserved {
        file.complain(DefectKind::BadArchive, "a header with reserved flags");
    }
    if header.method != 8 {
        file.complain(DefectKind::UnknownMethod, format!("method {}", header.method));
        return Step::None;
    }
    let start = file.data.len();
    // All members together are held against all of the file: many small ones are as good as one large one.
    let packed = opening.body.len() as u64;
    let (used, end) = opening.inflate(&input[header.len..], packed, None, &mut file.data);
    let used = header.len + used;
    if file.end(end).is_none() {
        return Step::Damaged(used);
    }
    let Some(trailer) = input.get(used..used + 8) else {
        file.complain(DefectKind::TruncatedArchive, "no checksum at its end");
        return Step::Stream(input.len());
    };
    let mut crc = flate2::Crc::new();
    crc.update(&file.data[start..]);
    if u32_le(trailer, 0) != Some(crc.sum()) || u32_le(trailer, 4) != Some(crc.amount()) {
        file.complain(DefectKind::BadArchive, "its checksum or size differs");
    }
    Step::Stream(used + 8)
}

/// A member's header (RFC 1952 section 2.3).
struct Header {
    names: Vec<String>,
    method: u8,
    reserved: bool,
    len: usize,
}

impl Header {
    fn read(head: &[u8]) -> Option<Header> {
        const HEADER_CRC: u8 = 1 << 1;
        const EXTRA: u8 = 1 << 2;
        const NAME: u8 = 1 << 3;
        const COMMENT: u8 = 1 << 4;
        if !head.starts_with(&[0x1f, 0x8b]) || head.len() < 10 {
            return None;
        }
        let flags = head[3];
        let mut len = 10;
        if flags & EXTRA != 0 {
            len += 2 + usize::from(u16_le(head, len)?);
        }
        let mut names = Vec::new();
        if flags & NAME != 0 {
            let rest = head.get(len..)?;
            let end = memchr::memchr(0, rest)?;
            names = names::readings(&rest[..end], false);
            len += end + 1;
        }
        if flags & COMMENT != 0 {
            len += memchr::memchr(0, head.get(len..)?)? + 1;
        }
        if flags & HEADER_CRC != 0 {
            len += 2;
        }
        (len <= head.len()).then_some(Header { names, method: head[2], reserved: flags & 0xe0 != 0, len })
    }
}
