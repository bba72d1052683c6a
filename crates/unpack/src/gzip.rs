//! gzip files (RFC 1952): one or several members, which together are one file.

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType, Limit, PartId};

use crate::fields::{u16_le, u32_le};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// Members of one file that are read: enough for 4 GiB in the blocks that genome tools write.
const MOST_MEMBERS: usize = 1 << 16;

/// Whether this is a gzip file.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(&[0x1f, 0x8b]) && body.len() >= 10
}

/// Opens a gzip file.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut file = File::default();
    let mut at = 0;
    while let Some(header) = body.get(at..).and_then(Header::read) {
        opening.check_time()?;
        if file.members == MOST_MEMBERS {
            opening.over(Limit::Parts, None);
            break;
        }
        header.names.iter().for_each(|name| names::add(&mut file.names, name.clone()));
        if header.reserved {
            file.complain(DefectKind::BadArchive, "a header with reserved flags");
        }
        if header.method != 8 {
            file.complain(DefectKind::UnknownMethod, format!("method {}", header.method));
            break;
        }
        let used = file.member(opening, &body[at + header.len..]);
        file.members += 1;
        if file.members == 1 {
            file.first = file.data.len();
        }
        at += header.len + used;
        if file.end != End::Complete {
            break;
        }
        if let Some(trailer) = body.get(at..at + 8) {
            file.compare(trailer);
            at += 8;
        } else {
            file.complain(DefectKind::TruncatedArchive, "no checksum at its end");
            at = body.len();
        }
    }
    if file.members == 0 && file.defects.is_empty() {
        let kind = if body.len() < 18 { DefectKind::TruncatedArchive } else { DefectKind::BadArchive };
        file.complain(kind, "a header that makes no sense");
    }
    // Behind data that is damaged there may be something else: a zip is read from its end.
    let more = at > 0 && !matches!(file.end, End::Over(_));
    file.hand_over(opening)?;
    if more { trailing(opening, at) } else { Ok(()) }
}

/// What follows the compressed data: nothing, padding, or something that some programs look into.
fn trailing(opening: &mut Opening, at: usize) -> Result<(), Stop> {
    let rest = &opening.body[at.min(opening.body.len())..];
    if rest.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    opening.defective(DefectKind::BadArchive, format!("{} bytes behind the compressed data", rest.len()));
    match opening.slice(at..opening.body.len()) {
        Ok(body) => opening.member(Member { body, ..Member::default() }).map(|_| ()),
        Err(limit) => {
            opening.over(limit, None);
            Ok(())
        }
    }
}

/// The file that the members make together.
#[derive(Default)]
struct File {
    names: Vec<String>,
    data: Vec<u8>,
    /// Where the member that was read last begins.
    start: usize,
    /// Size of the first member.
    first: usize,
    members: usize,
    end: End,
    defects: Vec<(DefectKind, String)>,
}

impl File {
    /// Inflates one member behind the others; returns how many packed bytes it had.
    fn member(&mut self, opening: &mut Opening, input: &[u8]) -> usize {
        self.start = self.data.len();
        // All members together are held against all of the file: many small ones are as good as one large one.
        let packed = opening.body.len() as u64;
        let (used, end) = opening.inflate(input, packed, None, &mut self.data);
        self.end = end;
        match end {
            End::Truncated => self.complain(DefectKind::TruncatedArchive, "its data ends early"),
            End::Corrupt => self.complain(DefectKind::BadArchive, "its data is damaged"),
            End::Complete | End::Over(_) => {}
        }
        used
    }

    fn compare(&mut self, trailer: &[u8]) {
        let member = &self.data[self.start..];
        let mut crc = flate2::Crc::new();
        crc.update(member);
        if u32_le(trailer, 0) != Some(crc.sum()) || u32_le(trailer, 4) != Some(crc.amount()) {
            self.complain(DefectKind::BadArchive, "its checksum or size differs");
        }
    }

    fn complain(&mut self, kind: DefectKind, detail: impl Into<String>) {
        let detail = detail.into();
        if self.defects.len() < 8 && !self.defects.contains(&(kind, detail.clone())) {
            self.defects.push((kind, detail));
        }
    }

    /// Appends the whole, and the first member alone where there are several: some programs stop there.
    fn hand_over(self, opening: &mut Opening) -> Result<(), Stop> {
        let mut names = self.names;
        if let Some(name) = opening.name().and_then(without_suffix) {
            names::add(&mut names, name);
        }
        let data: Bytes = keep(self.data);
        let first = data.slice(..self.first.min(data.len()));
        let id = opening.member(Member { names: names.clone(), body: data, ..Member::default() })?;
        for (kind, detail) in self.defects {
            opening.defect(kind, id, detail);
        }
        if let End::Over(limit) = self.end {
            opening.over(limit, Some(id));
        }
        if self.members > 1 && !first.is_empty() {
            let _: PartId = opening.member(Member { names, body: first, ..Member::default() })?;
        }
        Ok(())
    }
}

/// The name that gunzip gives the file: without `.gz`, `.tgz` as `.tar`.
fn without_suffix(name: &str) -> Option<String> {
    let base = name.rsplit('/').next()?;
    let (stem, extension) = base.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "gz" | "z" | "gzip" => Some(names::clean(stem)),
        "tgz" | "taz" => Some(names::clean(&format!("{stem}.tar"))),
        "svgz" => Some(names::clean(&format!("{stem}.svg"))),
        "emz" => Some(names::clean(&format!("{stem}.emf"))),
        "wmz" => Some(names::clean(&format!("{stem}.wmf"))),
        _ => None,
    }
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
