//! One member's content, in one of the ways its headers suggest.

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit};
use memchr::memmem;

use super::header::{Header, Local, crc32};
use crate::fields::{cut, u32_le, u64_le};
use crate::opening::{End, Opening};

const STORED: u16 = 0;
const DEFLATE: u16 = 8;

/// One way to read a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    method: u16,
    encrypted: bool,
    /// Packed size, where it is known.
    packed: Option<u64>,
    size: u64,
    crc: u32,
    /// Size and checksum are unknown, nothing to compare with.
    open_ended: bool,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) body: Bytes,
    pub(super) encrypted: bool,
    pub(super) defects: Vec<(DefectKind, String)>,
    pub(super) over: Option<Limit>,
    /// Where its packed data ends.
    pub(super) end: usize,
}

impl Reading {
    /// The ways to read a member: as the directory says, and as the local header says if that is another.
    pub(super) fn all(
        body: &[u8],
        descriptors: &[usize],
        central: Option<&Header>,
        local: &Local,
    ) -> Vec<Reading> {
        let own = &local.header;
        let blank = own.descriptor() && own.packed == 0 && own.size == 0;
        let Some(central) = central else {
            if blank {
                return vec![Reading::with_descriptor(body, descriptors, local)];
            }
            return vec![Reading::of(own)];
        };
        let listed = Reading::of(central);
        let mut readings = vec![listed.clone()];
        let mut other = Reading::of(own);
        if blank {
            other = Reading { method: other.method, encrypted: other.encrypted, ..listed };
        }
        let differs = (other.method, other.encrypted, other.packed)
            != (readings[0].method, readings[0].encrypted, readings[0].packed);
        if differs {
            readings.push(other);
        }
        readings
    }

    fn of(header: &Header) -> Reading {
        Reading {
            method: header.method,
            encrypted: header.encrypted(),
            packed: Some(header.packed),
            size: header.size,
            crc: header.crc,
            open_ended: false,
        }
    }

    /// A member whose sizes stand behind its data: looks for the descriptor (4.3.9) whose packed size fits where it
    /// stands. A deflate stream needs none, it knows its own end.
    fn with_descriptor(body: &[u8], descriptors: &[usize], local: &Local) -> Reading {
        /// Signatures by chance, or in a nested archive, that are tried.
        const TRIES: usize = 256;
        let mut reading = Reading { packed: None, open_ended: true, ..Reading::of(&local.header) };
        if local.header.method == DEFLATE && !reading.encrypted {
            return reading;
        }
        let first = descriptors.partition_point(|&at| at < local.data_at);
        for &at in descriptors[first..].iter().take(TRIES) {
            let narrow = u32_le(body, at + 8).map(u64::from).zip(u32_le(body, at + 12).map(u64::from));
            let wide = u64_le(body, at + 8).zip(u64_le(body, at + 16));
            let len = (at - local.data_at) as u64;
            let fits = [narrow, wide].into_iter().flatten().find(|(packed, _)| *packed == len);
            if let (Some((packed, size)), Some(crc)) = (fits, u32_le(body, at + 4)) {
                return Reading { packed: Some(packed), size, crc, open_ended: false, ..reading };
            }
        }
        // None fits: up to the next header of any kind.
        let data = body.get(local.data_at..).unwrap_or_default();
        let next = memmem::find_iter(data, b"PK").find(|&at| {
            let kind = data.get(at + 2..at + 4);
            [b"\x01\x02", b"\x03\x04", b"\x05\x06", b"\x07\x08"].iter().any(|known| kind == Some(&known[..]))
        });
        reading.packed = next.map(|at| at as u64);
        reading
    }

    /// Reads the member whose data begins at `data_at`.
    pub(super) fn read(&self, opening: &mut Opening, body: &Bytes, data_at: usize) -> Content {
        if self.encrypted {
            return self.read_encrypted(opening, body, data_at);
        }
        match self.method {
            STORED => self.stored(opening, body, data_at),
            DEFLATE => self.deflated(opening, body, data_at),
            method => {
                let name = method_name(method).unwrap_or("unknown");
                let mut content = Content { end: self.range(body, data_at).0.end, ..Content::default() };
                content.defects.push((DefectKind::UnknownMethod, format!("method {method} ({name})")));
                content
            }
        }
    }

    fn range(&self, body: &[u8], data_at: usize) -> (std::ops::Range<usize>, bool) {
        match self.packed {
            Some(packed) => cut(body, data_at, packed),
            None => (data_at.min(body.len())..body.len(), false),
        }
    }

    fn stored(&self, opening: &mut Opening, body: &[u8], data_at: usize) -> Content {
        let (range, short) = self.range(body, data_at);
        let mut content = Content { end: range.end, ..Content::default() };
        match opening.slice(range) {
            Ok(data) => content.body = data,
            Err(limit) => {
                content.over = Some(limit);
                return content;
            }
        }
        if short {
            content.defects.push((DefectKind::TruncatedArchive, "its data ends early".into()));
        } else if !self.open_ended {
            self.compare(&mut content);
        }
        content
    }

    fn deflated(&self, opening: &mut Opening, body: &[u8], data_at: usize) -> Content {
        let (range, short) = self.range(body, data_at);
        let mut content = Content { end: range.end, ..Content::default() };
        // A deflate stream knows its own end; readers that go by it see more than a header that lies admits.
        let input = body.get(data_at..).unwrap_or_default();
        if self.packed == Some(0) && self.size == 0 && (input.is_empty() || input.starts_with(b"PK")) {
            return content;
        }
        let packed = self.packed.unwrap_or(input.len() as u64).min(input.len() as u64);
        let expected = (!self.open_ended).then_some(self.size);
        let inflated = opening.inflated(input, packed, expected);
        let lies = self.packed.is_some_and(|packed| packed != inflated.used as u64);
        if self.packed == Some(0) && inflated.end != End::Complete {
            return content;
        }
        content.body = inflated.data;
        match inflated.end {
            End::Complete => {
                content.end = data_at + inflated.used;
                if lies {
                    let said = self.packed.unwrap_or_default();
                    let detail = format!("{} packed bytes where the header says {said}", inflated.used);
                    content.defects.push((DefectKind::BadArchive, detail));
                } else if !self.open_ended {
                    self.compare(&mut content);
                }
            }
            End::Over(limit) => content.over = Some(limit),
            End::Truncated => {
                content.defects.push((DefectKind::TruncatedArchive, "its data ends early".into()))
            }
            End::Corrupt if short => {
                content.defects.push((DefectKind::TruncatedArchive, "its data ends early".into()));
            }
            End::Corrupt => content.defects.push((DefectKind::BadArchive, "its data is damaged".into())),
        }
        content
    }

    /// A member that is said to be encrypted. Some archives only say so, to keep scanners out while the programs that
    /// install them never look at the flag: if it reads without a password, and the checksum agrees, it is not.
    fn read_encrypted(&self, opening: &mut Opening, body: &Bytes, data_at: usize) -> Content {
        let (range, _) = self.range(body, data_at);
        let plain = Reading { encrypted: false, ..self.clone() };
        let worth = match self.method {
            STORED => {
                self.packed == Some(self.size) && self.size > 0 && crc32(&body[range.clone()]) == self.crc
            }
            DEFLATE => self.size > 0 && self.crc != 0,
            _ => false,
        };
        if worth {
            let mut content = plain.read(opening, body, data_at);
            if content.over.is_none() && content.defects.is_empty() && crc32(&content.body) == self.crc {
                content
                    .defects
                    .push((DefectKind::BadArchive, "it says that it is encrypted and is not".into()));
                return content;
            }
        }
        Content { encrypted: true, end: range.end, ..Content::default() }
    }

    fn compare(&self, content: &mut Content) {
        let size = content.body.len() as u64;
        if size != self.size {
            let detail = format!("{size} bytes where the header says {}", self.size);
            content.defects.push((DefectKind::BadArchive, detail));
        } else if crc32(&content.body) != self.crc {
            content.defects.push((DefectKind::BadArchive, "its checksum differs".into()));
        }
    }
}

/// Names of the methods that APPNOTE 4.4.5 lists.
pub(super) fn method_name(method: u16) -> Option<&'static str> {
    Some(match method {
        0 => "stored",
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        8 => "deflate",
        9 => "deflate64",
        10 => "dcl implode",
        12 => "bzip2",
        14 => "lzma",
        16 => "cmpsc",
        18 => "terse",
        19 => "lz77",
        20 | 93 => "zstd",
        94 => "mp3",
        95 => "xz",
        96 => "jpeg",
        97 => "wavpack",
        98 => "ppmd",
        99 => "aes",
        _ => return None,
    })
}
