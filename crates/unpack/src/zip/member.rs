//! One member's content, in one of the ways its headers suggest.

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit};
use memchr::memmem;

use super::header::{Header, Local, crc32};
use super::locked::{Locked, Winzip};
use super::method::{self, AES, DEFLATE, STORED, Told};
use crate::fields::{cut, u32_le, u64_le};
use crate::opening::{End, Opening, keep};

const DIFFERS: &str = "its checksum differs";

/// One way to read a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    method: u16,
    flags: u16,
    time: u16,
    encrypted: bool,
    winzip: Option<Winzip>,
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
            flags: header.flags,
            time: header.time,
            encrypted: header.encrypted(),
            winzip: header.winzip,
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
        if self.method == STORED {
            return self.stored(opening, body, data_at);
        }
        if self.method == DEFLATE || method::decoder(self.method).is_some() {
            return self.unpacked(opening, body, data_at);
        }
        let end = self.range(body, data_at).0.end;
        Content { end, defects: vec![method::unknown(self.method)], ..Content::default() }
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

    fn unpacked(&self, opening: &mut Opening, body: &[u8], data_at: usize) -> Content {
        let (range, short) = self.range(body, data_at);
        let mut content = Content { end: range.end, ..Content::default() };
        // A stream that knows its own end: readers that go by it see more than a header that lies admits.
        let ends_itself = method::ends_itself(self.method);
        let input = body.get(if ends_itself { data_at..body.len() } else { range }).unwrap_or_default();
        if self.packed == Some(0) && self.size == 0 && (input.is_empty() || input.starts_with(b"PK")) {
            return content;
        }
        let packed = self.packed.unwrap_or(input.len() as u64).min(input.len() as u64);
        let mut complaints = Vec::new();
        let (data, used, end) = self.unpack(opening, input, packed, &mut complaints);
        let lies = ends_itself && self.packed.is_some_and(|packed| packed != used as u64);
        if self.packed == Some(0) && end != End::Complete {
            return content;
        }
        content.body = data;
        content
            .defects
            .extend(complaints.into_iter().map(|detail| (DefectKind::BadArchive, detail.to_owned())));
        match end {
            End::Complete => {
                if ends_itself {
                    content.end = data_at + used;
                }
                if lies {
                    let said = self.packed.unwrap_or_default();
                    let detail = format!("{used} packed bytes where the header says {said}");
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

    /// What its method makes of `input`: the content, how many bytes were used, and how it ended.
    fn unpack(
        &self,
        opening: &mut Opening,
        input: &[u8],
        packed: u64,
        complaints: &mut Vec<&'static str>,
    ) -> (Bytes, usize, End) {
        let expected = (!self.open_ended).then_some(self.size);
        let Some(decoder) = method::decoder(self.method) else {
            let inflated = opening.inflated(input, packed, expected);
            return (inflated.data, inflated.used, inflated.end);
        };
        let told = self.told(opening);
        let mut data = Vec::new();
        let (used, end) = opening.decode(packed, &mut data, |sink| decoder(input, told, sink, complaints));
        (keep(data), used, end)
    }

    fn told(&self, opening: &Opening) -> Told {
        let size = (!self.open_ended).then_some(self.size);
        Told { flags: self.flags, size, memory: opening.most_memory() }
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
            AES => false,
            _ => self.size > 0 && self.crc != 0,
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
        let locked = Content { encrypted: true, end: range.end, ..Content::default() };
        self.read_locked(opening, &body[range.clone()])
            .map_or(locked, |content| Content { end: range.end, ..content })
    }

    /// Its content, if a candidate password opens it.
    fn read_locked(&self, opening: &mut Opening, data: &[u8]) -> Option<Content> {
        let winzip = if self.method == AES { Some(self.winzip?) } else { None };
        let method = winzip.map_or(self.method, |winzip| winzip.method);
        let told = self.told(opening);
        let locked = Locked { data, method, told, crc: self.crc, time: self.time, winzip };
        let open = Bytes::from(locked.open(opening)?);
        let plain = Reading { method, encrypted: false, packed: Some(open.len() as u64), ..self.clone() };
        let mut content = if method == STORED {
            let mut data = Vec::new();
            let packed = open.len() as u64;
            let (_, end) = opening.decode(packed, &mut data, |sink| sink.extend(&open).map(|()| open.len()));
            let over = if let End::Over(limit) = end { Some(limit) } else { None };
            let mut content = Content { body: keep(data), over, ..Content::default() };
            if over.is_none() && !self.open_ended {
                plain.compare(&mut content);
            }
            content
        } else {
            plain.read(opening, &open, 0)
        };
        // What AES version 2 leaves out of the header need not agree.
        if winzip.is_some_and(|winzip| winzip.version == 2) && self.crc == 0 {
            content.defects.retain(|(_, detail)| detail != DIFFERS);
        }
        Some(content)
    }

    fn compare(&self, content: &mut Content) {
        let size = content.body.len() as u64;
        if size != self.size {
            let detail = format!("{size} bytes where the header says {}", self.size);
            content.defects.push((DefectKind::BadArchive, detail));
        } else if crc32(&content.body) != self.crc {
            content.defects.push((DefectKind::BadArchive, DIFFERS.into()));
        }
    }
}
