//! ARJ archives, behind a program too.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType};
use memchr::memmem;

use crate::bits::{Bits, STEP, Unpack, Unpacked, Window};
use crate::fields::{cut, u16_le, u32_le};
use crate::lzh::{Lzh, Method};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

const MARK: &[u8] = b"\x60\xea";
/// Longest header, as the format has it.
const LONGEST: usize = 2600;
/// Flags of a file.
const GARBLED: u8 = 1;
const GOES_ON: u8 = 4;
const WENT_ON: u8 = 8;

/// Whether this is an ARJ archive, or a program or data with one behind it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::ARJ
        || matches!(detected.kind, FileKind::Executable | FileKind::Data) && find(body).is_some()
}

/// Opens an ARJ archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let start = find(&body).or_else(|| memmem::find(&body, MARK)).unwrap_or(0);
    let Some(main) = Header::read(&body, start) else {
        opening.defective(DefectKind::BadArchive, "a header that makes no sense");
        return Ok(());
    };
    let mut at = main.data.start;
    loop {
        opening.check_time()?;
        if body.get(at..).is_some_and(|rest| rest.starts_with(b"\x60\xea\0\0")) {
            return Ok(());
        }
        let Some(header) = Header::read(&body, at) else {
            let early = body.len() < at.saturating_add(LONGEST);
            let kind = if early { DefectKind::TruncatedArchive } else { DefectKind::BadArchive };
            opening.defective(kind, "no header where the next one should be");
            return Ok(());
        };
        at = header.data.end;
        member(opening, header)?;
    }
}

/// Where the main header is, with a right checksum.
fn find(body: &[u8]) -> Option<usize> {
    const REACH: usize = 1 << 20;
    const TRIES: usize = 1 << 10;
    let region = &body[..body.len().min(REACH)];
    let mains = memmem::find_iter(region, MARK).filter(|at| body.get(at + 10) == Some(&2));
    mains.take(TRIES).find(|at| Header::read(body, *at).is_some_and(|header| header.sound))
}

/// What stands before a file, or at the beginning.
struct Header {
    names: Vec<String>,
    flags: u8,
    method: u8,
    /// 0 and 1 are files; others folders, labels and marks.
    kind: u8,
    size: u64,
    crc: u32,
    data: Range<usize>,
    short: bool,
    sound: bool,
}

impl Header {
    fn read(body: &[u8], at: usize) -> Option<Header> {
        let rest = body.get(at..)?.strip_prefix(MARK)?;
        let size = usize::from(u16_le(rest, 0)?);
        if !(30..=LONGEST).contains(&size) {
            return None;
        }
        let head = rest.get(2..2 + size)?;
        let mut crc = flate2::Crc::new();
        crc.update(head);
        let sound = u32_le(rest, 2 + size) == Some(crc.sum());
        // Further headers, of which nobody knows any.
        let mut place = at + 4 + size + 4;
        while let Some(more) = u16_le(body, place) {
            place += 2;
            if more == 0 {
                break;
            }
            place += usize::from(more) + 4;
        }
        let name = head.get(usize::from(head[0])..)?;
        let end = memchr::memchr(0, name).unwrap_or(name.len());
        let (data, short) = cut(body, place, u32_le(head, 12)?.into());
        Some(Header {
            names: names::readings(&name[..end], false),
            flags: head[4],
            method: head[5],
            kind: head[6],
            size: u32_le(head, 16)?.into(),
            crc: u32_le(head, 20)?,
            data,
            short,
            sound,
        })
    }
}

fn member(opening: &mut Opening, header: Header) -> Result<(), Stop> {
    if header.kind > 1 {
        return Ok(());
    }
    if header.flags & GARBLED != 0 {
        let member = Member { names: header.names, encrypted: true, ..Member::default() };
        return opening.member(member).map(|_| ());
    }
    let packed = opening.body.slice(header.data.clone());
    let (mut data, len) = (Vec::new(), packed.len() as u64);
    let mut stored = Bytes::new();
    let end = match header.method {
        0 => match opening.slice(header.data.clone()) {
            Ok(body) => {
                stored = body;
                End::Complete
            }
            Err(limit) => End::Over(limit),
        },
        1..=3 => {
            let mut source = Unpacked::new(Lzh::new(Method::Lh7, &packed, header.size));
            opening.drain(&mut source, len, &mut data)
        }
        4 => opening.drain(&mut Unpacked::new(Fastest::new(&packed, header.size)), len, &mut data),
        method => {
            let id = opening.member(Member { names: header.names, unread: true, ..Member::default() })?;
            opening.defect(DefectKind::UnknownMethod, id, format!("method {method}"));
            return Ok(());
        }
    };
    let body = if header.method == 0 { stored } else { keep(data) };
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let defect = match end {
        End::Over(_) => None,
        _ if header.short => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Truncated => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Corrupt => Some((DefectKind::BadArchive, "its data is damaged")),
        End::Complete if header.flags & WENT_ON != 0 => {
            Some((DefectKind::TruncatedArchive, "it begins in another volume"))
        }
        End::Complete if crc.sum() != header.crc => Some((DefectKind::BadArchive, "its checksum differs")),
        End::Complete if header.flags & GOES_ON != 0 => {
            Some((DefectKind::TruncatedArchive, "it goes on in another volume"))
        }
        End::Complete if !header.sound => {
            Some((DefectKind::BadArchive, "the checksum of its header differs"))
        }
        End::Complete => None,
    };
    let unread = defect.is_some() || matches!(end, End::Over(_));
    let id = opening.member(Member { names: header.names, body, unread, encrypted: false })?;
    if let Some((kind, detail)) = defect {
        opening.defect(kind, id, detail);
    }
    if let End::Over(limit) = end {
        opening.over(limit, Some(id));
    }
    Ok(())
}

/// Method 4: numbers whose size stands before them in ones.
struct Fastest<'a> {
    bits: Bits<'a>,
    window: Window,
    left: u64,
}

impl<'a> Fastest<'a> {
    fn new(packed: &'a [u8], size: u64) -> Fastest<'a> {
        Fastest { bits: Bits::new(packed), window: Window::new(32 << 10, Some(0)), left: size }
    }

    /// A number of `least` to `most` bits.
    fn number(&mut self, least: u32, most: u32) -> usize {
        let (mut width, mut add) = (least, 0);
        while width < most && self.bits.bit() {
            add += 1 << width;
            width += 1;
        }
        add + self.bits.take(width) as usize
    }
}

impl Unpack for Fastest<'_> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        while self.left > 0 && self.window.waiting() < STEP {
            let made = match self.number(0, 7) {
                0 => {
                    let byte = self.bits.take(8) as u8;
                    self.window.push(byte);
                    1
                }
                length => {
                    let distance = self.number(9, 13) + 1;
                    let length = (length + 2).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.window.copy(distance, length)?;
                    length
                }
            };
            self.bits.check()?;
            self.left -= made as u64;
        }
        Ok(self.left > 0)
    }
}
