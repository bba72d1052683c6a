//! 7z archives, alone or behind a program that unpacks itself.
//!
//! A header at the end tells everything, and it may be packed and encrypted itself. Files lie together in folders, each
//! unpacked as a whole by a few coders one after the other; files are slices of what comes out.

mod folder;
mod header;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType, Limit};
use memchr::memmem;

use crate::codec::{Fault, Sink, probe};
use crate::fields::{cut, u32_le, u64_le};
use crate::opening::{End, Member, Opening, Stop, keep};
use crate::zip::crc32;
use folder::{Key, Unpacking};
use header::{File, Folder, Header, Streams};

const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// Size of what stands before the packed streams.
const SIGNATURE: usize = 32;

/// Whether this is a 7z archive, or one stands behind something else.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(MAGIC) || places(body).next().is_some()
}

/// Where archives begin behind something else: the checksum of the signature header fits.
fn places(body: &[u8]) -> impl Iterator<Item = usize> {
    /// Marks that turn up by chance are not worth more tries than this.
    const TRIES: usize = 64;
    let fits = |at: &usize| {
        let head = body.get(*at..*at + SIGNATURE);
        head.is_some_and(|head| u32_le(head, 8) == Some(crc32(&head[12..])))
    };
    memmem::find_iter(body, MAGIC).take(TRIES).filter(fits)
}

/// Opens all archives in it that do not lie in one another.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    /// Archives one behind the other that are opened.
    const MOST: usize = 8;
    let body = opening.body.clone();
    let mut end = 0;
    let known = opening.known();
    let damaged = body.starts_with(MAGIC).then_some(0);
    let mut starts: Vec<usize> = damaged.into_iter().chain(places(&body)).collect();
    starts.dedup();
    for at in starts.into_iter().take(MOST) {
        if at >= end && !known.iter().any(|range| range.contains(&at)) {
            end = Archive { body: body.slice(at..), at, key: None }.open(opening)? + at;
        }
    }
    Ok(())
}

struct Archive {
    body: Bytes,
    /// Where it begins in the part.
    at: usize,
    /// The key that was derived last, and what it was derived from.
    key: Option<(String, [u8; 32])>,
}

/// What became of a folder.
struct Unpacked {
    data: Bytes,
    fault: Option<Fault>,
    unknown: Option<u64>,
    locked: bool,
}

impl Archive {
    /// Opens it; returns where it ends.
    fn open(&mut self, opening: &mut Opening) -> Result<usize, Stop> {
        let body = self.body.clone();
        let bad = |opening: &mut Opening, kind, detail: &str| {
            opening.defective(kind, detail);
            Ok(body.len())
        };
        let (Some(offset), Some(size), Some(crc)) = (u64_le(&body, 12), u64_le(&body, 20), u32_le(&body, 28))
        else {
            return bad(opening, DefectKind::TruncatedArchive, "it ends in its first header");
        };
        if size == 0 {
            return Ok(SIGNATURE);
        }
        let start = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(SIGNATURE));
        let Some(start) = start.filter(|start| *start < body.len()) else {
            return bad(opening, DefectKind::TruncatedArchive, "it ends before its header");
        };
        let (range, short) = cut(&body, start, size);
        let end = range.end;
        let mut header = body.slice(range);
        if short {
            opening.defective(DefectKind::TruncatedArchive, "it ends in its header");
        } else if crc32(&header) != crc {
            opening.defective(DefectKind::BadArchive, "the checksum of its header differs");
        }
        // A header may lie packed in a header, and that again.
        for _ in 0..4 {
            let inner = match header::read(&header) {
                None => return bad(opening, DefectKind::BadArchive, "a header that makes no sense"),
                Some(Header::Plain(streams, files)) => {
                    self.members(opening, &streams, files)?;
                    return Ok(end);
                }
                Some(Header::Encoded(streams)) => self.inner_header(opening, &streams)?,
            };
            let Some(inner) = inner else { return Ok(end) };
            header = inner;
        }
        bad(opening, DefectKind::BadArchive, "headers packed in headers")
    }

    /// The header that lies packed in these streams; what is in the way is told.
    fn inner_header(&mut self, opening: &mut Opening, streams: &Streams) -> Result<Option<Bytes>, Stop> {
        let Some(folder) = streams.folders.first() else {
            opening.defective(DefectKind::BadArchive, "a packed header without content");
            return Ok(None);
        };
        let unpacked = self.unpack(opening, streams, folder, 0)?;
        if unpacked.locked {
            let locked = Member { encrypted: true, unread: true, ..Member::default() };
            opening.member(locked)?;
            return Ok(None);
        }
        if let Some(Fault::Over(limit)) = unpacked.fault {
            opening.over(limit, None);
            return Ok(None);
        }
        if let Some(id) = unpacked.unknown {
            opening.defective(DefectKind::UnknownMethod, format!("coder {id:x}"));
            return Ok(None);
        }
        if unpacked.fault.is_some() || folder.crc.is_some_and(|crc| crc != crc32(&unpacked.data)) {
            opening.defective(DefectKind::BadArchive, "its packed header is damaged");
        }
        Ok(Some(unpacked.data))
    }

    fn members(&mut self, opening: &mut Opening, streams: &Streams, files: Vec<File>) -> Result<(), Stop> {
        let (full, empty): (Vec<File>, Vec<File>) = files.into_iter().partition(|file| !file.empty);
        for file in empty.into_iter().filter(|file| file.file && !file.anti) {
            opening.member(Member { names: file.names, ..Member::default() })?;
        }
        let mut full = full.into_iter();
        let mut first = 0;
        for folder in &streams.folders {
            opening.check_time()?;
            let unpacked = if folder.files.is_empty() {
                None
            } else {
                Some(self.unpack(opening, streams, folder, first)?)
            };
            first += folder.packed.len();
            let mut at = 0;
            for (size, crc) in &folder.files {
                let names = full.next().unwrap_or_default().names;
                if let Some(unpacked) = &unpacked {
                    at = unpacked.member(opening, names, at, *size, *crc)?;
                }
            }
        }
        // Files whose folder is not there.
        for file in full {
            let id = opening.member(Member { names: file.names, unread: true, ..Member::default() })?;
            opening.defect(DefectKind::BadArchive, id, "its content is not in the archive");
        }
        Ok(())
    }

    /// Unpacks a folder, whose packed streams are those from `first` on.
    fn unpack(
        &mut self,
        opening: &mut Opening,
        streams: &Streams,
        folder: &Folder,
        first: usize,
    ) -> Result<Unpacked, Stop> {
        let mut unpacked = Unpacked { data: Bytes::new(), fault: None, unknown: None, locked: false };
        let body = self.body.clone();
        let (packed, short) = packed(&body, streams, folder, first);
        let mut key = None;
        if let Some(told) = Key::of(folder) {
            key = told.and_then(|told| self.unlock(opening, folder, &packed, told));
            unpacked.locked = key.is_none();
            if unpacked.locked {
                return Ok(unpacked);
            }
        }
        // A single file that is stored stays a slice of the archive.
        if let ([coder], [range]) = (&folder.coders[..], &packed[..])
            && coder.id == 0
        {
            match opening.slice(self.at + range.start..self.at + range.end) {
                Ok(data) => unpacked.data = data,
                Err(limit) => unpacked.fault = Some(Fault::Over(limit)),
            }
        } else {
            let memory = opening.most_memory();
            let mut run = |packed, decoder: &mut dyn FnMut(&mut Sink) -> Result<usize, Fault>| {
                let mut data = Vec::new();
                let (_, end) = opening.decode(packed, &mut data, |sink| decoder(sink));
                (data, ended(end))
            };
            let packed = packed.iter().map(|range| &body[range.clone()]).collect();
            let mut unpacking =
                Unpacking { folder, packed, key, memory, run: &mut run, fault: None, unknown: None };
            unpacked.data = keep(unpacking.unpack());
            (unpacked.fault, unpacked.unknown) = (unpacking.fault, unpacking.unknown);
        }
        if short {
            unpacked.fault.get_or_insert(Fault::Truncated);
        }
        Ok(unpacked)
    }

    /// The key that a candidate password makes for a folder.
    fn unlock(
        &mut self,
        opening: &mut Opening,
        folder: &Folder,
        packed: &[std::ops::Range<usize>],
        told: Key,
    ) -> Option<[u8; 32]> {
        let memory = opening.most_memory();
        let body = self.body.clone();
        let data: Vec<&[u8]> = packed.iter().map(|range| &body[range.clone()]).collect();
        let mut found = None;
        let last = self.key.take();
        let password = opening.password(told.rounds()?, |password| {
            let key = match &last {
                Some((known, key)) if known == password => *key,
                _ => told.derive(password),
            };
            let fits = opens(folder, &data, key, memory);
            found = fits.then_some(key);
            fits
        })?;
        self.key = found.map(|key| (password, key));
        found
    }
}

/// Whether a folder can be unpacked with that key. There is nothing to compare the key with: what it decrypts makes sense,
/// as far as a look at the beginning goes, and its checksum fits where that is all of it.
fn opens(folder: &Folder, data: &[&[u8]], key: [u8; 32], memory: u64) -> bool {
    const ENOUGH: usize = 64 << 10;
    // Without a compression there is only the checksum, of everything.
    let compressed = folder.coders.iter().any(|coder| !matches!(coder.id, 0 | 0x03..=0x0b | 0x06f1_0701));
    let most = if compressed { ENOUGH } else { usize::MAX };
    let cut = data.iter().any(|data| data.len() > most);
    let packed = data.iter().map(|data| &data[..data.len().min(most)]).collect();
    let mut run = |_, decoder: &mut dyn FnMut(&mut Sink) -> Result<usize, Fault>| {
        let (data, ended) = probe(most, |sink| decoder(sink));
        (data, ended.map(|_| ()))
    };
    let mut unpacking =
        Unpacking { folder, packed, key: Some(key), memory, run: &mut run, fault: None, unknown: None };
    let made = unpacking.unpack();
    match unpacking.fault {
        Some(Fault::Corrupt) => unpacking.unknown.is_some(),
        Some(Fault::Truncated) => cut,
        Some(Fault::Over(Limit::Bytes)) => true,
        Some(Fault::Over(_)) => false,
        None => {
            let first = folder.files.first().copied().unwrap_or((made.len() as u64, folder.crc));
            let (size, crc) = match folder.crc {
                Some(crc) => (made.len() as u64, Some(crc)),
                None => first,
            };
            let some = usize::try_from(size).ok().and_then(|size| made.get(..size));
            some.is_some_and(|some| crc.is_none_or(|crc| crc == crc32(some)))
        }
    }
}

/// Where the packed streams of a folder lie, and whether they are cut short.
fn packed(
    body: &[u8],
    streams: &Streams,
    folder: &Folder,
    first: usize,
) -> (Vec<std::ops::Range<usize>>, bool) {
    let mut at = streams.packed.iter().take(first).fold(streams.start, |at, size| at.saturating_add(*size));
    let mut short = false;
    let range = |size: &u64| {
        let from = usize::try_from(at).unwrap_or(body.len()).saturating_add(SIGNATURE);
        let (range, is_short) = cut(body, from, *size);
        at = at.saturating_add(*size);
        short |= is_short;
        range
    };
    let ranges = streams.packed.iter().skip(first).take(folder.packed.len()).map(range).collect();
    (ranges, short)
}

fn ended(end: End) -> Result<(), Fault> {
    match end {
        End::Complete => Ok(()),
        End::Truncated => Err(Fault::Truncated),
        End::Corrupt => Err(Fault::Corrupt),
        End::Over(limit) => Err(Fault::Over(limit)),
    }
}

impl Unpacked {
    /// Appends the file that begins at `at` of the folder; returns where the next one does.
    fn member(
        &self,
        opening: &mut Opening,
        names: Vec<String>,
        at: usize,
        size: u64,
        crc: Option<u32>,
    ) -> Result<usize, Stop> {
        let (range, short) = cut(&self.data, at, size);
        let end = range.end;
        let body = self.data.slice(range);
        let unread = self.locked || (short && body.is_empty());
        let fits = crc.is_none_or(|crc| crc == crc32(&body));
        let id = opening.member(Member { names, body, encrypted: self.locked, unread })?;
        if self.locked {
            return Ok(end);
        }
        match (self.fault, self.unknown) {
            (_, Some(coder)) => opening.defect(DefectKind::UnknownMethod, id, format!("coder {coder:x}")),
            _ if fits && !short => {}
            (Some(Fault::Over(limit)), _) => opening.over(limit, Some(id)),
            (Some(Fault::Truncated), _) => {
                opening.defect(DefectKind::TruncatedArchive, id, "its data ends early")
            }
            (Some(Fault::Corrupt), _) => opening.defect(DefectKind::BadArchive, id, "its data is damaged"),
            (None, _) if short => {
                opening.defect(DefectKind::BadArchive, id, "it is shorter than the header says")
            }
            (None, _) => opening.defect(DefectKind::BadArchive, id, "its checksum differs"),
        }
        Ok(end)
    }
}
