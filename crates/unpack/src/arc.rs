//! ARC archives (System Enhancement Associates), and those of PKARC.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};

use crate::bits::{STEP, Unpack, Unpacked, Window, corrupt};
use crate::fields::{cut, u16_le, u32_le};
use crate::lzh::crc16;
use crate::lzw::{Kind, Lzw};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// What stands before the method of each member.
const MARK: u8 = 0x1a;

/// Whether this is an ARC archive.
pub(crate) fn is(_body: &[u8], detected: FileType) -> bool {
    detected == FileType::ARC
}

/// Opens an ARC archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut at = 0;
    loop {
        opening.check_time()?;
        // The end is a mark with method 0.
        if body.get(at..).is_none_or(|rest| rest.is_empty() || rest.starts_with(&[MARK, 0])) {
            return Ok(());
        }
        let Some(header) = Header::read(&body, at) else {
            opening.defective(DefectKind::BadArchive, "no header where the next one should be");
            return Ok(());
        };
        at = header.data.end;
        member(opening, header)?;
    }
}

struct Header {
    names: Vec<String>,
    method: u8,
    data: Range<usize>,
    short: bool,
    crc: u16,
    size: u64,
}

impl Header {
    fn read(body: &[u8], at: usize) -> Option<Header> {
        let head = body.get(at..)?;
        let (mark, method) = (*head.first()?, *head.get(1)?);
        let name = head.get(2..15)?;
        let end = memchr::memchr(0, name)?;
        if mark != MARK || end == 0 {
            return None;
        }
        let packed = u32_le(head, 15)?;
        // The oldest members have no size of their own.
        let (size, start) = if method == 1 { (packed, 25) } else { (u32_le(head, 25)?, 29) };
        let (data, short) = cut(body, at + start, packed.into());
        Some(Header {
            names: names::readings(&name[..end], false),
            method,
            data,
            short,
            crc: u16_le(head, 23)?,
            size: size.into(),
        })
    }
}

fn member(opening: &mut Opening, header: Header) -> Result<(), Stop> {
    let packed = opening.body.slice(header.data.clone());
    let (mut data, len) = (Vec::new(), packed.len() as u64);
    let mut stored = Bytes::new();
    let end = match header.method {
        1 | 2 => match opening.slice(header.data.clone()) {
            Ok(body) => {
                stored = body;
                End::Complete
            }
            Err(limit) => End::Over(limit),
        },
        3 => opening.drain(&mut Unpacked::new(Runs::new(Given(&packed))), len, &mut data),
        4 => opening.drain(&mut Unpacked::new(Runs::new(Squeezed::new(&packed))), len, &mut data),
        8 => {
            let source = Through { inner: Lzw::new(&packed, Kind::Crunched), ready: Vec::new(), at: 0 };
            opening.drain(&mut Unpacked::new(Runs::new(source)), len, &mut data)
        }
        9 => opening.drain(&mut Unpacked::new(Lzw::new(&packed, Kind::Squashed)), len, &mut data),
        method => {
            let id = opening.member(Member { names: header.names, unread: true, ..Member::default() })?;
            opening.defect(DefectKind::UnknownMethod, id, format!("method {method}"));
            return Ok(());
        }
    };
    // What was padded behind the end is no content.
    data.truncate(usize::try_from(header.size).unwrap_or(usize::MAX));
    let body = if header.method <= 2 { stored } else { keep(data) };
    let defect = match end {
        End::Over(_) => None,
        _ if header.short => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Truncated => Some((DefectKind::TruncatedArchive, "its data ends early")),
        End::Corrupt => Some((DefectKind::BadArchive, "its data is damaged")),
        End::Complete if crc16(&body) != header.crc => Some((DefectKind::BadArchive, "its checksum differs")),
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

/// Bytes one by one; none at the end.
trait Bytewise {
    fn next(&mut self) -> io::Result<Option<u8>>;
}

struct Given<'a>(&'a [u8]);

impl Bytewise for Given<'_> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        let Some((byte, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        Ok(Some(*byte))
    }
}

/// Bytes that an unpacker makes.
struct Through<U> {
    inner: U,
    ready: Vec<u8>,
    at: usize,
}

impl<U: Unpack> Bytewise for Through<U> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        while self.at == self.ready.len() {
            let more = self.inner.step()?;
            self.ready.resize(self.inner.window().waiting(), 0);
            self.inner.window().give(&mut self.ready);
            self.at = 0;
            if !more && self.ready.is_empty() {
                return Ok(None);
            }
        }
        self.at += 1;
        Ok(self.ready.get(self.at - 1).copied())
    }
}

/// Runs of bytes: a byte, 0x90 and how often it stands there; 0x90 itself is followed by 0.
struct Runs<S> {
    source: S,
    last: u8,
    window: Window,
}

impl<S: Bytewise> Runs<S> {
    fn new(source: S) -> Runs<S> {
        Runs { source, last: 0, window: Window::new(0, None) }
    }
}

impl<S: Bytewise> Unpack for Runs<S> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        const RUN: u8 = 0x90;
        while self.window.waiting() < STEP {
            let Some(byte) = self.source.next()? else { return Ok(false) };
            if byte != RUN {
                self.last = byte;
                self.window.push(byte);
                continue;
            }
            match self.source.next()? {
                None => return Ok(false),
                Some(0) => {
                    self.last = RUN;
                    self.window.push(RUN);
                }
                Some(count) => (1..count).for_each(|_| self.window.push(self.last)),
            }
        }
        Ok(true)
    }
}

/// A prefix code whose tree stands before the data, lowest bit first.
struct Squeezed<'a> {
    packed: &'a [u8],
    nodes: Vec<[i16; 2]>,
    bit: usize,
}

impl<'a> Squeezed<'a> {
    fn new(packed: &'a [u8]) -> Squeezed<'a> {
        let count = usize::from(u16_le(packed, 0).unwrap_or(0)).min(257);
        let node = |place: usize| {
            let side = |at: usize| u16_le(packed, at).map(u16::cast_signed);
            Some([side(2 + 4 * place)?, side(4 + 4 * place)?])
        };
        let nodes: Vec<_> = (0..count).map_while(node).collect();
        Squeezed { packed, bit: (2 + 4 * count) * 8, nodes }
    }
}

impl Bytewise for Squeezed<'_> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        /// The end, as a leaf.
        const END: i16 = 256;
        let mut at = 0_i16;
        // No path is longer than the tree.
        for _ in 0..=self.nodes.len() {
            let node = usize::try_from(at).ok().and_then(|at| self.nodes.get(at)).ok_or_else(corrupt)?;
            let byte = self.packed.get(self.bit / 8).ok_or_else(crate::bits::truncated)?;
            at = node[usize::from(byte >> (self.bit % 8) & 1)];
            self.bit += 1;
            if at < 0 {
                return match -(at + 1) {
                    END => Ok(None),
                    symbol => u8::try_from(symbol).map(Some).map_err(|_| corrupt()),
                };
            }
        }
        Err(corrupt())
    }
}
