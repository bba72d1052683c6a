//! A disk or disc as software sees it, wherever its sectors lie in the file.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use crate::fields;
use crate::pieces::{self, Piece};

/// A disk, or a range of one.
#[derive(Clone)]
pub(crate) struct Volume {
    disk: Rc<Disk>,
    base: u64,
    size: u64,
}

struct Disk {
    body: Bytes,
    map: Map,
    /// Bytes that may still be read as tables and directories. Sound ones are read about once; crafted ones may overlap.
    left: Cell<u64>,
}

enum Map {
    /// As it stands.
    Plain,
    /// Sectors of `stride` bytes, of which `data` from `skip` on are what software sees.
    Stripes { stride: u64, skip: u64, data: u64 },
    /// Blocks of one size that lie anywhere, or nowhere when they are zeros.
    Blocks { block: u64, at: Vec<Option<u64>> },
}

impl Volume {
    /// A disk that stands in the file as it is.
    pub(crate) fn plain(body: &Bytes) -> Volume {
        Volume::new(body, Map::Plain, body.len() as u64)
    }

    /// A disc whose sectors of `stride` bytes hold `data` bytes each, behind `skip` others.
    pub(crate) fn striped(body: &Bytes, stride: u64, skip: u64, data: u64) -> Volume {
        let size = body.len() as u64 / stride.max(1) * data;
        Volume::new(body, Map::Stripes { stride, skip, data }, size)
    }

    /// A disk of `size` bytes whose blocks lie at those places of the file; those without a place are zeros.
    pub(crate) fn blocks(body: &Bytes, size: u64, block: u64, at: Vec<Option<u64>>) -> Volume {
        Volume::new(body, Map::Blocks { block: block.max(1), at }, size)
    }

    fn new(body: &Bytes, map: Map, size: u64) -> Volume {
        let left = Cell::new((body.len() as u64).saturating_mul(4).saturating_add(1 << 20));
        Volume { disk: Rc::new(Disk { body: body.clone(), map, left }), base: 0, size }
    }

    /// `len` bytes of it from `at` on, as far as it reaches.
    pub(crate) fn part(&self, at: u64, len: u64) -> Volume {
        let at = at.min(self.size);
        Volume { disk: self.disk.clone(), base: self.base + at, size: len.min(self.size - at) }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether its tables were read so often that they must lie over each other.
    pub(crate) fn exhausted(&self) -> bool {
        self.disk.left.get() == 0
    }

    /// So many steps a chain may have: more than clusters that are stored, and some for those that are not.
    pub(crate) fn steps(&self) -> u64 {
        self.disk.body.len() as u64 / 512 + (1 << 16)
    }

    /// Appends where `len` bytes from `at` on lie, as far as it reaches.
    pub(crate) fn locate(&self, at: u64, len: u64, into: &mut Vec<Piece>) {
        let end = at.saturating_add(len).min(self.size);
        let mut at = at;
        while at < end {
            let (place, run) = self.disk.find(self.base + at);
            let run = run.min(end - at).max(1);
            match place {
                Some(place) => {
                    let start = usize::try_from(place).unwrap_or(usize::MAX).min(self.disk.body.len());
                    let stop = start.saturating_add(usize::try_from(run).unwrap_or(usize::MAX));
                    pieces::push(into, start..stop.min(self.disk.body.len()));
                    if stop > self.disk.body.len() {
                        return;
                    }
                }
                None => pieces::push_zeros(into, run),
            }
            at += run;
        }
    }

    /// Reads a table or directory: `len` bytes from `at` on, less where the volume ends.
    pub(crate) fn read(&self, at: u64, len: usize) -> Bytes {
        let mut found = Vec::new();
        self.locate(at, len as u64, &mut found);
        self.collect(&found)
    }

    /// Reads a table or directory that lies in pieces.
    pub(crate) fn collect(&self, found: &[Piece]) -> Bytes {
        let size = pieces::len(found);
        let left = self.disk.left.get();
        if size > left {
            self.disk.left.set(0);
            return Bytes::new();
        }
        self.disk.left.set(left - size);
        if let [Piece::At(range)] = found {
            return self.disk.body.slice(range.clone());
        }
        let mut out = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        for piece in found {
            match piece {
                Piece::At(range) => out.extend_from_slice(&self.disk.body[range.clone()]),
                Piece::Made(bytes) => out.extend_from_slice(bytes),
                Piece::Zeros(count) => out.resize(out.len() + usize::try_from(*count).unwrap_or_default(), 0),
            }
        }
        out.into()
    }

    /// The byte at a place; zero where there is none.
    pub(crate) fn byte(&self, at: u64) -> u8 {
        if at >= self.size {
            return 0;
        }
        let place = self.disk.find(self.base + at).0.and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.disk.body.get(place).copied()).unwrap_or_default()
    }

    /// The little-endian 16-bit number at a place.
    pub(crate) fn u16(&self, at: u64) -> u16 {
        u16::from_le_bytes([0, 1].map(|step| self.byte(at.saturating_add(step))))
    }

    /// The little-endian 32-bit number at a place.
    pub(crate) fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|step| self.byte(at.saturating_add(step))))
    }

    /// Whether those bytes stand at that place.
    pub(crate) fn has(&self, at: u64, bytes: &[u8]) -> bool {
        bytes.iter().zip(at..).all(|(byte, at)| self.byte(at) == *byte)
    }
}

impl Disk {
    /// Where a byte lies in the file, None for a zero that is not stored, and for how many bytes that goes on.
    fn find(&self, at: u64) -> (Option<u64>, u64) {
        match &self.map {
            Map::Plain => (Some(at), u64::MAX),
            Map::Stripes { stride, skip, data } => {
                let (sector, within) = (at / data, at % data);
                (Some(sector.saturating_mul(*stride).saturating_add(skip + within)), data - within)
            }
            Map::Blocks { block, at: places } => {
                let (number, within) = (at / block, at % block);
                let place =
                    usize::try_from(number).ok().and_then(|number| places.get(number).copied().flatten());
                (place.map(|place| place.saturating_add(within)), block - within)
            }
        }
    }
}

/// The name of a file in a folder.
pub(crate) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A number of sectors or clusters in bytes.
pub(crate) fn times(count: impl Into<u64>, size: u64) -> u64 {
    count.into().saturating_mul(size)
}

/// A 64-bit number of a directory entry; zero where it ends before.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    fields::u64_le(bytes, at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_mapped() {
        let body = Bytes::from_static(b"..ab..cd..ef");
        let striped = Volume::striped(&body, 4, 2, 2);
        assert_eq!((striped.size(), &striped.read(1, 4)[..]), (6, &b"bcde"[..]));
        let blocks = Volume::blocks(&body, 8, 2, vec![Some(2), None, Some(10)]);
        assert_eq!(&blocks.read(0, 100)[..], b"ab\0\0ef\0\0");
        assert_eq!((blocks.byte(5), blocks.byte(6), blocks.byte(9)), (b'f', 0, 0));
        let part = blocks.part(4, 3);
        assert_eq!(
            (part.size(), &part.read(0, 9)[..], part.u16(0)),
            (3, &b"ef\0"[..], u16::from_le_bytes(*b"ef"))
        );
        assert_eq!(&Volume::plain(&body).part(9, 90).read(1, 9)[..], b"ef");
        // Places behind the end of the file.
        assert_eq!(&Volume::blocks(&body, 4, 2, vec![Some(11), Some(40)]).read(0, 4)[..], b"f");
    }
}
