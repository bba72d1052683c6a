//! LHA archives (also LHarc, LArc and PMarc): headers of all levels, behind a program too.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType, Limit};
use memchr::memchr_iter;

use crate::bits::Unpacked;
use crate::fields::{cut, u16_le, u32_le, u64_le};
use crate::lzh::{Lzh, Method, crc16};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// A self-extracting program is no longer than this; behind it is the first header.
const REACH: usize = 1 << 20;

/// Whether this is an LHA archive, or a program or data with one behind it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::LHA
        || matches!(detected.kind, FileKind::Executable | FileKind::Data) && find(body, 0).is_some()
}

/// Opens an LHA archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some(mut at) = find(&body, 0) else {
        opening.defective(DefectKind::BadArchive, "no header that makes sense");
        return Ok(());
    };
    let mut resumed = false;
    loop {
        opening.check_time()?;
        match Header::read(&body, at) {
            Some(header) => {
                at = header.data.end;
                member(opening, header)?;
            }
            None => {
                // Behind its end there may be another archive.
                let ended = body.get(at).is_none_or(|byte| *byte == 0);
                if !ended && !resumed {
                    resumed = true;
                    opening.defective(DefectKind::BadArchive, "a header that makes no sense");
                }
                let Some(next) = find(&body, at.saturating_add(1)) else { return Ok(()) };
                at = next;
            }
        }
    }
}

/// Where the next header is that can be checked.
fn find(body: &[u8], from: usize) -> Option<usize> {
    let region = body.get(from..body.len().min(from.saturating_add(REACH)))?;
    memchr_iter(b'-', region).find_map(|dash| {
        let method = region.get(dash..dash + 5)?;
        let at = (from + dash).checked_sub(2).filter(|at| *at >= from)?;
        let known = method[4] == b'-' && matches!(&method[1..3], b"lh" | b"lz" | b"pm" | b"lk");
        (known && Header::read(body, at).is_some_and(|header| header.checked)).then_some(at)
    })
}

/// What stands before a file.
struct Header {
    names: Vec<String>,
    method: [u8; 5],
    data: Range<usize>,
    short: bool,
    size: u64,
    crc: Option<u16>,
    /// Its own sum is right, or it has none.
    checked: bool,
}

/// Names that stand in fields behind the header.
#[derive(Default)]
struct Named {
    folder: Vec<u8>,
    name: Vec<u8>,
    wide_folder: Option<String>,
    wide_name: Option<String>,
    sizes: Option<(u64, u64)>,
    /// Bytes that all these fields take.
    len: usize,
    /// They end as they should.
    complete: bool,
}

impl Header {
    fn read(body: &[u8], at: usize) -> Option<Header> {
        let head = body.get(at..)?;
        let method: [u8; 5] = *head.get(2..7)?.first_chunk()?;
        if method[0] != b'-' || method[4] != b'-' || *head.first()? == 0 && head.get(20) != Some(&2) {
            return None;
        }
        match *head.get(20)? {
            0 | 1 => Header::old(body, at, method),
            2 | 3 => Header::new(body, at, method),
            _ => None,
        }
    }

    /// Levels 0 and 1: a byte of size, a sum, a name; at level 1 fields follow that count as packed data.
    fn old(body: &[u8], at: usize, method: [u8; 5]) -> Option<Header> {
        let head = body.get(at..)?;
        let size = usize::from(head[0]) + 2;
        let sum = head.get(2..size)?.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let level = head[20];
        let name_len = usize::from(*head.get(21)?);
        let name = head.get(22..22 + name_len)?;
        let crc = u16_le(head, 22 + name_len).filter(|_| size >= 24 + name_len);
        let mut packed = u64::from(u32_le(head, 7)?);
        let mut unpacked = u64::from(u32_le(head, 11)?);
        let mut named = Named { name: name.to_vec(), ..Named::default() };
        if level == 1 {
            named.read(body, at + size - 2, 2);
            packed = packed.saturating_sub(named.len as u64);
            if let Some(sizes) = named.sizes {
                (packed, unpacked) = sizes;
            }
        }
        let (data, short) = cut(body, at + size + named.len, packed);
        let checked = sum == head[1] && size >= 22 + name_len;
        Some(Header { names: named.names(), method, data, short, size: unpacked, crc, checked })
    }

    /// Levels 2 and 3: all that varies stands in fields.
    fn new(body: &[u8], at: usize, method: [u8; 5]) -> Option<Header> {
        let head = body.get(at..)?;
        let (size, fields_at, wide) = match head[20] {
            2 => (usize::from(u16_le(head, 0)?), 24, 2),
            _ => (u32_le(head, 24)? as usize, 28, 4),
        };
        if size < fields_at + wide || size > 1 << 20 || head[20] == 3 && u16_le(head, 0)? != 4 {
            return None;
        }
        let mut named = Named::default();
        named.read(body, at + fields_at, wide);
        let (mut packed, mut unpacked) = (u64::from(u32_le(head, 7)?), u64::from(u32_le(head, 11)?));
        if let Some(sizes) = named.sizes {
            (packed, unpacked) = sizes;
        }
        // Some programs do not count the size itself.
        let said = at + size;
        let ends = at + fields_at + wide + named.len;
        let start = if named.complete && ends > said { ends } else { said };
        let (data, short) = cut(body, start, packed);
        let (names, checked) = (named.names(), named.complete);
        Some(Header { names, method, data, short, size: unpacked, crc: u16_le(head, 21), checked })
    }
}

impl Named {
    /// Reads fields: each ends with the size of the next one, in `wide` bytes; the first size stands at `at`.
    fn read(&mut self, body: &[u8], at: usize, wide: usize) {
        /// Fields that a header has at most.
        const MOST: usize = 64;
        let size_at = |at: usize| match wide {
            2 => u16_le(body, at).map(usize::from),
            _ => u32_le(body, at).map(|size| size as usize),
        };
        let mut place = at;
        for _ in 0..MOST {
            match size_at(place) {
                None => return,
                Some(0) => {
                    self.complete = true;
                    return;
                }
                Some(size) => {
                    let field = body.get(place + wide..).and_then(|rest| rest.get(..size));
                    let Some(field) = field.filter(|field| field.len() > wide) else { return };
                    self.field(field[0], &field[1..size - wide]);
                    self.len += size;
                    place += size;
                }
            }
        }
    }

    fn field(&mut self, kind: u8, data: &[u8]) {
        match kind {
            1 => self.name = data.to_vec(),
            2 => self.folder = data.to_vec(),
            0x42 => self.sizes = u64_le(data, 0).zip(u64_le(data, 8)),
            0x44 => self.wide_name = Some(utf16(data)),
            0x45 => self.wide_folder = Some(utf16(data)),
            _ => {}
        }
    }

    fn names(&self) -> Vec<String> {
        let mut path = self.folder.clone();
        if !path.is_empty() && !path.ends_with(&[0xff]) {
            path.push(0xff);
        }
        path.iter_mut().filter(|byte| **byte == 0xff).for_each(|byte| *byte = b'/');
        path.extend(&self.name);
        let mut found = Vec::new();
        if let Some(name) = &self.wide_name {
            let folder = self.wide_folder.as_deref().unwrap_or_default();
            names::add(&mut found, names::clean(&format!("{folder}{name}")));
        }
        for name in names::readings(&path, false) {
            names::add(&mut found, name);
        }
        found
    }
}

fn utf16(data: &[u8]) -> String {
    let units = data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let slash = units.map(|unit| if unit == 0xffff { u16::from(b'/') } else { unit });
    String::from_utf16_lossy(&slash.collect::<Vec<_>>())
}

fn member(opening: &mut Opening, header: Header) -> Result<(), Stop> {
    let method = match &header.method {
        b"-lhd-" => return Ok(()),
        b"-lh0-" | b"-lz4-" | b"-pm0-" => None,
        b"-lh1-" => Some(Method::Lh1),
        b"-lh4-" | b"-lh5-" => Some(Method::Lh5),
        b"-lh6-" | b"-lh7-" => Some(Method::Lh7),
        b"-lhx-" => Some(Method::Lhx),
        b"-lzs-" => Some(Method::Lzs),
        b"-lz5-" => Some(Method::Lz5),
        b"-pm1-" => Some(Method::Pm1),
        b"-pm2-" => Some(Method::Pm2),
        other => {
            let id = opening.member(Member { names: header.names, unread: true, ..Member::default() })?;
            let name = String::from_utf8_lossy(&other[1..4]).into_owned();
            opening.defect(DefectKind::UnknownMethod, id, format!("method {name}"));
            return Ok(());
        }
    };
    let (body, end) = match method {
        None => match opening.slice(header.data.clone()) {
            Ok(body) => (body, End::Complete),
            Err(limit) => (Bytes::new(), End::Over(limit)),
        },
        Some(method) => {
            let packed = opening.body.slice(header.data.clone());
            let mut data = Vec::new();
            let mut source = Unpacked::new(Lzh::new(method, &packed, header.size));
            let end = opening.drain(&mut source, packed.len() as u64, &mut data);
            (keep(data), end)
        }
    };
    let right = header.crc.is_none_or(|crc| crc == crc16(&body));
    let (defect, over): (_, Option<Limit>) = match end {
        End::Over(limit) => (None, Some(limit)),
        _ if header.short => (Some((DefectKind::TruncatedArchive, "its data ends early")), None),
        End::Truncated => (Some((DefectKind::TruncatedArchive, "its data ends early")), None),
        End::Corrupt => (Some((DefectKind::BadArchive, "its data is damaged")), None),
        End::Complete if !right => (Some((DefectKind::BadArchive, "its checksum differs")), None),
        End::Complete => (None, None),
    };
    let unread = defect.is_some() || over.is_some();
    let id = opening.member(Member { names: header.names, body, unread, encrypted: false })?;
    if let Some((kind, detail)) = defect {
        opening.defect(kind, id, detail);
    }
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    }
    Ok(())
}
