//! The header of a 7z archive (7zFormat.txt of the LZMA SDK): where packed streams lie, how folders unpack, what the files
//! are called.

use crate::names;

/// Properties' numbers.
mod id {
    pub(super) const END: u64 = 0;
    pub(super) const HEADER: u64 = 1;
    pub(super) const ARCHIVE_PROPERTIES: u64 = 2;
    pub(super) const ADDITIONAL_STREAMS: u64 = 3;
    pub(super) const MAIN_STREAMS: u64 = 4;
    pub(super) const FILES: u64 = 5;
    pub(super) const PACK_INFO: u64 = 6;
    pub(super) const UNPACK_INFO: u64 = 7;
    pub(super) const SUBSTREAMS: u64 = 8;
    pub(super) const SIZE: u64 = 9;
    pub(super) const CRC: u64 = 10;
    pub(super) const FOLDER: u64 = 11;
    pub(super) const UNPACK_SIZE: u64 = 12;
    pub(super) const STREAMS_OF_FOLDER: u64 = 13;
    pub(super) const EMPTY_STREAM: u64 = 14;
    pub(super) const EMPTY_FILE: u64 = 15;
    pub(super) const ANTI: u64 = 16;
    pub(super) const NAMES: u64 = 17;
    pub(super) const ENCODED: u64 = 23;
}

/// Coders of one folder, and streams that one takes or gives.
const MOST_CODERS: u64 = 32;

/// What a header tells.
#[derive(Debug)]
pub(super) enum Header<'a> {
    /// The header itself lies packed in these streams.
    Encoded(Streams<'a>),
    /// The archive's streams and files.
    Plain(Streams<'a>, Vec<File>),
}

/// Packed streams and what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Streams<'a> {
    /// Where the first packed stream begins, behind the signature header.
    pub(super) start: u64,
    /// Sizes of the packed streams, one behind the other.
    pub(super) packed: Vec<u64>,
    pub(super) folders: Vec<Folder<'a>>,
}

/// Streams that are unpacked together.
#[derive(Debug, Default)]
pub(super) struct Folder<'a> {
    pub(super) coders: Vec<Coder<'a>>,
    /// Which incoming stream (the first number) is which outgoing stream.
    pub(super) binds: Vec<(usize, usize)>,
    /// Incoming streams that are packed streams.
    pub(super) packed: Vec<usize>,
    /// Sizes of the outgoing streams.
    pub(super) sizes: Vec<u64>,
    pub(super) crc: Option<u32>,
    /// Size and CRC-32 of the files in it, in order.
    pub(super) files: Vec<(u64, Option<u32>)>,
}

/// One step of unpacking.
#[derive(Debug)]
pub(super) struct Coder<'a> {
    pub(super) id: u64,
    pub(super) incoming: usize,
    pub(super) outgoing: usize,
    pub(super) properties: &'a [u8],
}

/// A file as the header lists it.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) names: Vec<String>,
    /// It has no stream: an empty file, a folder, or a note to delete one.
    pub(super) empty: bool,
    /// It is an empty file and no folder.
    pub(super) file: bool,
    pub(super) anti: bool,
}

/// Reads a header; None where it makes no sense.
pub(super) fn read(bytes: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.number()? {
        id::ENCODED => Some(Header::Encoded(reader.streams()?)),
        id::HEADER => reader.header(),
        _ => None,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..usize::try_from(len).ok()?)?;
        self.at += taken.len();
        Some(taken)
    }

    /// A number whose first byte tells by its high bits how many follow.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let mut value = 0;
        for place in 0..8 {
            let mask = 0x80_u8 >> place;
            if first & mask == 0 {
                return Some(value | u64::from(first & mask.wrapping_sub(1)) << (8 * place));
            }
            value |= u64::from(self.byte()?) << (8 * place);
        }
        Some(value)
    }

    /// A count of things each of which takes a byte of the header at least.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.bytes.len()).then_some(count)
    }

    fn bits(&mut self, count: usize) -> Option<Vec<bool>> {
        let bytes = self.take(count.div_ceil(8) as u64)?;
        Some((0..count).map(|place| bytes[place / 8] & 0x80 >> (place % 8) != 0).collect())
    }

    /// Which of them are defined: all, or those that a bit is set for.
    fn defined(&mut self, count: usize) -> Option<Vec<bool>> {
        if self.byte()? != 0 { Some(vec![true; count]) } else { self.bits(count) }
    }

    fn crcs(&mut self, count: usize) -> Option<Vec<Option<u32>>> {
        let defined = self.defined(count)?;
        defined.into_iter().map(|defined| if defined { self.word().map(Some) } else { Some(None) }).collect()
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn header(&mut self) -> Option<Header<'a>> {
        let mut streams = Streams::default();
        let mut files = Vec::new();
        loop {
            match self.number()? {
                id::END => return Some(Header::Plain(streams, files)),
                id::ARCHIVE_PROPERTIES => {
                    while self.number()? != id::END {
                        let len = self.number()?;
                        self.take(len)?;
                    }
                }
                id::ADDITIONAL_STREAMS => drop(self.streams()?),
                id::MAIN_STREAMS => streams = self.streams()?,
                id::FILES => files = self.files()?,
                _ => return None,
            }
        }
    }

    fn streams(&mut self) -> Option<Streams<'a>> {
        let mut streams = Streams::default();
        loop {
            match self.number()? {
                id::END => break,
                id::PACK_INFO => self.pack_info(&mut streams)?,
                id::UNPACK_INFO => streams.folders = self.folders()?,
                id::SUBSTREAMS => self.substreams(&mut streams.folders)?,
                _ => return None,
            }
        }
        for folder in streams.folders.iter_mut().filter(|folder| folder.files.is_empty()) {
            folder.files = folder.size().map(|size| (size, folder.crc)).into_iter().collect();
        }
        for folder in &mut streams.folders {
            folder.files.retain(|(size, _)| *size != u64::MAX);
        }
        Some(streams)
    }

    fn pack_info(&mut self, streams: &mut Streams) -> Option<()> {
        streams.start = self.number()?;
        let count = self.count()?;
        loop {
            match self.number()? {
                id::END => return Some(()),
                id::SIZE => streams.packed = (0..count).map(|_| self.number()).collect::<Option<_>>()?,
                id::CRC => drop(self.crcs(count)?),
                _ => return None,
            }
        }
    }

    fn folders(&mut self) -> Option<Vec<Folder<'a>>> {
        if self.number()? != id::FOLDER {
            return None;
        }
        let count = self.count()?;
        if self.byte()? != 0 {
            return None;
        }
        let mut folders: Vec<Folder> = (0..count).map(|_| self.folder()).collect::<Option<_>>()?;
        loop {
            match self.number()? {
                id::END => return Some(folders),
                id::UNPACK_SIZE => {
                    for folder in &mut folders {
                        let count = folder.coders.iter().map(|coder| coder.outgoing).sum::<usize>();
                        folder.sizes = (0..count).map(|_| self.number()).collect::<Option<_>>()?;
                    }
                }
                id::CRC => {
                    let crcs = self.crcs(count)?;
                    folders.iter_mut().zip(crcs).for_each(|(folder, crc)| folder.crc = crc);
                }
                _ => return None,
            }
        }
    }

    fn folder(&mut self) -> Option<Folder<'a>> {
        let count = self.number().filter(|count| (1..=MOST_CODERS).contains(count))?;
        let mut folder = Folder::default();
        for _ in 0..count {
            folder.coders.push(self.coder()?);
        }
        let incoming: usize = folder.coders.iter().map(|coder| coder.incoming).sum();
        let outgoing: usize = folder.coders.iter().map(|coder| coder.outgoing).sum();
        for _ in 1..outgoing {
            folder.binds.push((self.number()? as usize, self.number()? as usize));
        }
        match incoming.checked_sub(outgoing - 1)? {
            0 => return None,
            1 => {
                folder.packed = (0..incoming).filter(|place| folder.bound(*place).is_none()).take(1).collect()
            }
            count => {
                folder.packed = (0..count).map(|_| Some(self.number()? as usize)).collect::<Option<_>>()?
            }
        }
        Some(folder)
    }

    fn coder(&mut self) -> Option<Coder<'a>> {
        let flags = self.byte()?;
        let id = self.take(u64::from(flags & 15))?;
        // Longer numbers are nobody's.
        let id = id.iter().fold(0_u64, |id, &byte| id << 8 | u64::from(byte));
        let (mut incoming, mut outgoing) = (1, 1);
        if flags & 0x10 != 0 {
            incoming = self.number()?;
            outgoing = self.number()?;
        }
        if !(1..=MOST_CODERS).contains(&incoming)
            || !(1..=MOST_CODERS).contains(&outgoing)
            || flags & 0x80 != 0
        {
            return None;
        }
        let properties = if flags & 0x20 != 0 {
            let len = self.number()?;
            self.take(len)?
        } else {
            &[]
        };
        Some(Coder { id, incoming: incoming as usize, outgoing: outgoing as usize, properties })
    }

    fn substreams(&mut self, folders: &mut [Folder]) -> Option<()> {
        let mut counts = vec![1; folders.len()];
        let mut next = self.number()?;
        if next == id::STREAMS_OF_FOLDER {
            for count in &mut counts {
                *count = self.count()?;
            }
            next = self.number()?;
        }
        let sized = next == id::SIZE;
        for (folder, count) in folders.iter_mut().zip(&counts) {
            let mut left = folder.size().unwrap_or(0);
            for _ in 1..*count {
                let size = if sized { self.number()? } else { 0 };
                left = left.saturating_sub(size);
                folder.files.push((size, None));
            }
            // None at all is told by a size that no file has.
            folder.files.push(if *count > 0 { (left, None) } else { (u64::MAX, None) });
            if let ([(_, crc)], 1) = (&mut folder.files[..], *count) {
                *crc = folder.crc;
            }
        }
        if sized {
            next = self.number()?;
        }
        loop {
            match next {
                id::END => return Some(()),
                id::CRC => {
                    let real = folders.iter_mut().flat_map(|folder| &mut folder.files);
                    let missing: Vec<_> =
                        real.filter(|(size, crc)| crc.is_none() && *size != u64::MAX).collect();
                    let crcs = self.crcs(missing.len())?;
                    missing.into_iter().zip(crcs).for_each(|(file, crc)| file.1 = crc);
                }
                _ => {
                    let len = self.number()?;
                    self.take(len)?;
                }
            }
            next = self.number()?;
        }
    }

    fn files(&mut self) -> Option<Vec<File>> {
        let mut files = vec![File::default(); self.count()?];
        loop {
            let property = self.number()?;
            if property == id::END {
                return Some(files);
            }
            let len = self.number()?;
            let mut part = Reader { bytes: self.take(len)?, at: 0 };
            let empty = files.iter().filter(|file| file.empty).count();
            match property {
                id::EMPTY_STREAM => {
                    let bits = part.bits(files.len())?;
                    files.iter_mut().zip(bits).for_each(|(file, bit)| file.empty = bit);
                }
                id::EMPTY_FILE => {
                    let bits = part.bits(empty)?;
                    files
                        .iter_mut()
                        .filter(|file| file.empty)
                        .zip(bits)
                        .for_each(|(file, bit)| file.file = bit);
                }
                id::ANTI => {
                    let bits = part.bits(empty)?;
                    files
                        .iter_mut()
                        .filter(|file| file.empty)
                        .zip(bits)
                        .for_each(|(file, bit)| file.anti = bit);
                }
                id::NAMES => part.names(&mut files),
                _ => {}
            }
        }
    }

    /// Names in UTF-16, each ended by a NUL; those that are missing stay unknown.
    fn names(&mut self, files: &mut [File]) {
        if self.byte() != Some(0) {
            return;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let units: Vec<u16> =
            rest.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        for (file, name) in files.iter_mut().zip(units.split(|&unit| unit == 0)) {
            names::add(&mut file.names, names::clean(&String::from_utf16_lossy(name)));
        }
    }
}

impl Folder<'_> {
    /// The outgoing stream that becomes this incoming one.
    pub(super) fn bound(&self, incoming: usize) -> Option<usize> {
        self.binds.iter().find(|(to, _)| *to == incoming).map(|(_, from)| *from)
    }

    /// The outgoing stream that is the folder's content: the one that no coder takes.
    pub(super) fn last(&self) -> Option<usize> {
        (0..self.sizes.len()).find(|place| !self.binds.iter().any(|(_, from)| from == place))
    }

    /// Size of its content.
    pub(super) fn size(&self) -> Option<u64> {
        self.sizes.get(self.last()?).copied()
    }
}
