//! Files compressed by Microsoft's COMPRESS: SZDD and KWAJ. One file each.

use std::io;

use gatepost_mail::{DefectKind, FileType};

use crate::bits::{STEP, Unpack, Unpacked, Window, corrupt, truncated};
use crate::fields::{u16_le, u32_le};
use crate::mszip::Mszip;
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

const SZDD: &[u8] = b"SZDD\x88\xf0\x27\x33";
const SZ: &[u8] = b"SZ \x88\xf0\x27\x33\xd1";
const KWAJ: &[u8] = b"KWAJ\x88\xf0\x27\xd1";

/// Whether this is such a file.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    [SZDD, SZ, KWAJ].iter().any(|mark| body.starts_with(mark))
}

/// Opens such a file.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some(header) = Header::read(&body) else {
        opening.defective(DefectKind::TruncatedArchive, "it ends in its header");
        return Ok(());
    };
    let packed = &body[header.data_at.min(body.len())..];
    let len = packed.len() as u64;
    let (mut data, mut defect) = (Vec::new(), None);
    let end = match header.method {
        Method::Stored => opening.drain(&mut &packed[..], len, &mut data),
        Method::Inverted => {
            let inverted: Vec<u8> = packed.iter().map(|byte| !byte).collect();
            opening.drain(&mut &inverted[..], len, &mut data)
        }
        Method::Lz(start) => opening.drain(&mut Unpacked::new(Lz::new(packed, start)), len, &mut data),
        Method::Mszip => {
            let mut source = Unpacked::new(Mszip::new(Blocks { rest: packed }));
            opening.drain(&mut source, len, &mut data)
        }
        Method::Unknown(method) => {
            defect = Some((DefectKind::UnknownMethod, format!("method {method}")));
            End::Complete
        }
    };
    let differs = header.size.is_some_and(|size| size != data.len() as u64);
    match end {
        End::Truncated => defect = Some((DefectKind::TruncatedArchive, "its data ends early".into())),
        End::Corrupt => defect = Some((DefectKind::BadArchive, "its data is damaged".into())),
        End::Complete if differs && defect.is_none() => {
            defect = Some((DefectKind::BadArchive, "its size differs".into()));
        }
        End::Complete | End::Over(_) => {}
    }
    let names = header.names(opening.name());
    let unread = defect.is_some() || matches!(end, End::Over(_));
    let id = opening.member(Member { names, body: keep(data), unread, encrypted: false })?;
    if let Some((kind, detail)) = defect {
        opening.defect(kind, id, detail);
    }
    if let End::Over(limit) = end {
        opening.over(limit, Some(id));
    }
    Ok(())
}

enum Method {
    Stored,
    Inverted,
    /// LZ77, where the window begins at this place.
    Lz(usize),
    Mszip,
    Unknown(u16),
}

struct Header {
    method: Method,
    size: Option<u64>,
    data_at: usize,
    /// The last letter of the name, in the place of which stands `_`.
    letter: Option<char>,
    name: Vec<u8>,
}

impl Header {
    fn read(body: &[u8]) -> Option<Header> {
        let known = |method, size_at, letter: Option<char>| {
            let size = u32_le(body, size_at)?;
            Some(Header { method, size: Some(size.into()), data_at: size_at + 4, letter, name: Vec::new() })
        };
        if body.starts_with(SZDD) {
            let letter = char::from(*body.get(9)?);
            return known(Method::Lz(4096 - 16), 10, letter.is_ascii_graphic().then_some(letter));
        }
        if body.starts_with(SZ) {
            return known(Method::Lz(4096 - 18), 8, None);
        }
        Header::kwaj(body)
    }

    fn kwaj(body: &[u8]) -> Option<Header> {
        let (method, data_at, flags) = (u16_le(body, 8)?, usize::from(u16_le(body, 10)?), u16_le(body, 12)?);
        let mut at = 14;
        let mut size = None;
        if flags & 1 != 0 {
            size = Some(u64::from(u32_le(body, at)?));
            at += 4;
        }
        if flags & 2 != 0 {
            at += 2;
        }
        if flags & 4 != 0 {
            at += 2 + usize::from(u16_le(body, at)?);
        }
        let mut name = Vec::new();
        for (flag, longest) in [(8, 9), (0x10, 4)] {
            if flags & flag != 0 {
                let rest = body.get(at..)?;
                let rest = &rest[..rest.len().min(longest)];
                let end = memchr::memchr(0, rest).unwrap_or(rest.len());
                if flag == 0x10 && end > 0 {
                    name.push(b'.');
                }
                name.extend_from_slice(&rest[..end]);
                at += end + 1;
            }
        }
        let method = match method {
            0 => Method::Stored,
            1 => Method::Inverted,
            2 => Method::Lz(4096 - 16),
            4 => Method::Mszip,
            other => Method::Unknown(other),
        };
        Some(Header { method, size, data_at, letter: None, name })
    }

    /// The name that expanding gives the file.
    fn names(&self, own: Option<&str>) -> Vec<String> {
        let mut found = names::readings(&self.name, false);
        if let (Some(own), Some(letter)) = (own, self.letter)
            && let Some(stem) = own.strip_suffix('_')
        {
            names::add(&mut found, names::clean(&format!("{stem}{letter}")));
        }
        if found.is_empty()
            && let Some(own) = own
        {
            let stem = own.strip_suffix('_').or_else(|| Some(own.rsplit_once('.')?.0)).unwrap_or(own);
            names::add(&mut found, names::clean(stem));
        }
        found
    }
}

/// LZ77 with a window of 4 KiB, full of spaces at first. Matches name a place in it.
struct Lz<'a> {
    rest: &'a [u8],
    ring: Box<[u8; 4096]>,
    at: usize,
    window: Window,
}

impl<'a> Lz<'a> {
    fn new(packed: &'a [u8], at: usize) -> Lz<'a> {
        Lz { rest: packed, ring: Box::new([b' '; 4096]), at, window: Window::new(0, None) }
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn push(&mut self, byte: u8) {
        self.ring[self.at % 4096] = byte;
        self.at = (self.at + 1) % 4096;
        self.window.push(byte);
    }
}

impl Unpack for Lz<'_> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        while self.window.waiting() < STEP {
            let Some(flags) = self.next() else { return Ok(false) };
            for place in 0..8 {
                let Some(first) = self.next() else { return Ok(false) };
                if flags & 1 << place != 0 {
                    self.push(first);
                    continue;
                }
                let second = self.next().ok_or_else(truncated)?;
                let from = usize::from(first) | usize::from(second & 0xf0) << 4;
                for step in 0..usize::from(second & 0xf) + 3 {
                    self.push(self.ring[(from + step) % 4096]);
                }
            }
        }
        Ok(true)
    }
}

/// Blocks of MSZIP behind their sizes.
struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Blocks<'a> {
    type Item = io::Result<&'a [u8]>;

    fn next(&mut self) -> Option<io::Result<&'a [u8]>> {
        let size = usize::from(u16_le(self.rest, 0)?);
        if size == 0 {
            return None;
        }
        let Some(block) = self.rest.get(2..2 + size) else {
            self.rest = &[];
            return Some(Err(if size < 2 { corrupt() } else { truncated() }));
        };
        self.rest = &self.rest[2 + size..];
        Some(Ok(block))
    }
}
