//! Compound files (MS-CFB), also called OLE2 or structured storage: streams in folders in one file, kept in sectors that
//! are chained through a table. Office documents up to 2003, Outlook messages and installer packages are such files.
//!
//! Office opens files whose tables are damaged, so this reader does: it takes what it can reach and tells what was
//! wrong. Every chain ends after as many sectors as the file has, every entry is read once, and content goes through
//! the budget.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit};

use crate::fields::{u16_le, u32_le, u64_le};
use crate::opening::Opening;
use crate::pieces::{self, Piece};

/// What a compound file begins with.
pub(crate) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0";

/// The first number that is no sector's but has a meaning of its own (2.2).
const MOST_SECTOR: u32 = 0xffff_fffa;
const END_OF_CHAIN: u32 = 0xffff_fffe;

/// A compound file: where everything in it lies.
#[derive(Debug)]
pub(crate) struct Cfb {
    body: Bytes,
    /// Size of a sector, and of the small sectors that small streams lie in.
    sector: usize,
    mini: usize,
    /// Streams smaller than this lie in small sectors.
    cutoff: u64,
    /// For each sector the next one of its chain.
    fat: Vec<u32>,
    /// The same for small sectors.
    mini_fat: Vec<u32>,
    /// The sectors that the small ones lie in.
    mini_stream: Vec<u32>,
    entries: Vec<Entry>,
}

/// A stream or a storage (a folder), the root among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names from the root on, with `/` between them; the root's is empty. As they stand: control characters included.
    pub(crate) path: String,
    /// Its own name, the last of the path.
    pub(crate) name: String,
    /// A storage, or else a stream.
    pub(crate) storage: bool,
    /// The class of a storage, as it stands in the file.
    pub(crate) clsid: [u8; 16],
    /// Size of a stream as the directory says.
    pub(crate) size: u64,
    /// It is in no storage: programs may or may not find it.
    pub(crate) orphan: bool,
    start: u32,
}

/// The content of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// What could be read of it.
    pub(crate) body: Bytes,
    /// What is wrong with it; nothing for a sound one.
    pub(crate) broken: Option<&'static str>,
    /// The limit that was met, if one was.
    pub(crate) over: Option<Limit>,
}

/// What was wrong with a file.
pub(crate) type Defects = Vec<(DefectKind, String)>;

impl Cfb {
    /// Reads header, tables and directory. What makes no sense is told of, and read as Office would, if at all.
    pub(crate) fn parse(body: &Bytes) -> (Cfb, Defects) {
        let mut defects = Vec::new();
        let shift = u16_le(body, 30).filter(|shift| (7..=16).contains(shift));
        if shift.is_none() {
            defects.push((DefectKind::BadArchive, "a sector size that makes no sense".into()));
        }
        let sector = 1_usize << shift.unwrap_or(9);
        let mini = 1_usize << u16_le(body, 32).filter(|shift| (2..=12).contains(shift)).unwrap_or(6);
        let cutoff = u32_le(body, 56).map_or(4096, u64::from);
        let mut cfb = Cfb {
            body: body.clone(),
            sector,
            mini,
            cutoff,
            fat: Vec::new(),
            mini_fat: Vec::new(),
            mini_stream: Vec::new(),
            entries: Vec::new(),
        };
        cfb.read_fat(&mut defects);
        let mini_fat = cfb.chain(u32_le(body, 60).unwrap_or(END_OF_CHAIN), usize::MAX).sectors;
        cfb.mini_fat = mini_fat
            .into_iter()
            .flat_map(|number| words(&cfb.body[cfb.place(number)]).collect::<Vec<_>>())
            .collect();
        cfb.read_directory(&mut defects);
        (cfb, defects)
    }

    /// Streams and storages, each behind the storage that it is in, orphans last.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first stream or storage of that path, compared without case as Windows does.
    pub(crate) fn find(&self, path: &str) -> Option<&Entry> {
        let lower = path.to_lowercase();
        self.entries.iter().find(|entry| entry.path.to_lowercase() == lower)
    }

    /// The content of a stream, as a slice of the file where it lies in one piece.
    pub(crate) fn read(&self, entry: &Entry, opening: &mut Opening) -> Stream {
        if entry.storage || entry.size == 0 {
            return Stream::default();
        }
        let (pieces, broken) = self.pieces(entry);
        let (body, over) = pieces::gather(opening, &pieces);
        Stream { body, broken, over }
    }

    /// Where a stream lies, and what is wrong with that.
    fn pieces(&self, entry: &Entry) -> (Vec<Piece>, Option<&'static str>) {
        let mut out = Vec::new();
        let small = entry.size < self.cutoff && !self.mini_stream.is_empty();
        let unit = if small { self.mini } else { self.sector };
        let most = usize::try_from(entry.size.div_ceil(unit as u64)).unwrap_or(usize::MAX);
        let chain = if small {
            let per = self.sector / self.mini.min(self.sector);
            let count = self.mini_stream.len().saturating_mul(per.max(1));
            follow(&self.mini_fat, entry.start, count, most)
        } else {
            self.chain(entry.start, most)
        };
        for number in chain.sectors {
            let place = if small { self.mini_place(number) } else { self.place(number) };
            pieces::push(&mut out, place);
        }
        pieces::truncate(&mut out, entry.size);
        let short = pieces::len(&out) < entry.size;
        let broken = if short { Some("its data ends early") } else { chain.broken };
        (out, broken)
    }

    /// Sectors of the whole file behind its header.
    fn count(&self) -> usize {
        self.body.len().div_ceil(self.sector).saturating_sub(1)
    }

    /// Where a sector lies; the last of a file may be short.
    fn place(&self, number: u32) -> Range<usize> {
        let start =
            usize::try_from(number).ok().and_then(|number| number.checked_add(1)?.checked_mul(self.sector));
        let start = start.map_or(self.body.len(), |start| start.min(self.body.len()));
        start..start.saturating_add(self.sector).min(self.body.len())
    }

    /// Where a small sector lies.
    fn mini_place(&self, number: u32) -> Range<usize> {
        let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(self.mini);
        let Some(&sector) = self.mini_stream.get(at / self.sector) else { return 0..0 };
        let place = self.place(sector);
        let start = (place.start + at % self.sector).min(place.end);
        start..start.saturating_add(self.mini).min(place.end)
    }

    fn chain(&self, start: u32, most: usize) -> Chain {
        follow(&self.fat, start, self.count(), most)
    }

    /// Reads the table of sectors, whose own sectors are listed in the header and in a chain of further lists (2.3, 2.5).
    fn read_fat(&mut self, defects: &mut Defects) {
        const IN_HEADER: Range<usize> = 76..512;
        let enough = self.count();
        let per = self.sector / 4;
        let head = self.body.get(IN_HEADER).unwrap_or_default();
        let mut listed: Vec<u32> = words(head).filter(|number| *number < MOST_SECTOR).collect();
        let mut next = u32_le(&self.body, 68).unwrap_or(END_OF_CHAIN);
        let mut steps = 0;
        while next < MOST_SECTOR && listed.len().saturating_mul(per) < enough && steps < enough {
            let list: Vec<u32> = words(&self.body[self.place(next)]).collect();
            let Some((&link, numbers)) = list.split_last() else { break };
            listed.extend(numbers.iter().filter(|number| **number < MOST_SECTOR));
            next = link;
            steps += 1;
        }
        let said = u32_le(&self.body, 44).map_or(0, |count| count as usize);
        if listed.len() < said && listed.len().saturating_mul(per) < enough {
            defects.push((DefectKind::BadArchive, "sectors of its table are missing".into()));
        }
        for number in listed {
            if self.fat.len() >= enough {
                break;
            }
            let place = self.place(number);
            if place.is_empty() {
                defects
                    .push((DefectKind::TruncatedArchive, "a sector of its table lies behind its end".into()));
                // The others keep their places.
                self.fat.resize(self.fat.len() + per, END_OF_CHAIN);
                continue;
            }
            let start = self.fat.len();
            self.fat.extend(words(&self.body[place]));
            self.fat.resize(start + per, END_OF_CHAIN);
        }
        self.fat.truncate(enough);
        defects.dedup();
    }

    /// Reads the directory: a tree of siblings for each storage (2.6).
    fn read_directory(&mut self, defects: &mut Defects) {
        let chain = self.chain(u32_le(&self.body, 48).unwrap_or(END_OF_CHAIN), usize::MAX);
        if let Some(broken) = chain.broken {
            defects.push((DefectKind::BadArchive, format!("its directory: {broken}")));
        }
        let mut raw = Vec::new();
        for number in chain.sectors {
            raw.extend(
                self.body[self.place(number)]
                    .chunks_exact(128)
                    .map(|entry| RawEntry::read(entry, self.sector)),
            );
        }
        if let Some(root) = raw.first() {
            let most = usize::try_from(root.size.div_ceil(self.sector as u64)).unwrap_or(usize::MAX);
            self.mini_stream = self.chain(root.start, most).sectors;
        } else {
            defects.push((DefectKind::TruncatedArchive, "no directory".into()));
        }
        let (entries, crossed) = tree(&raw);
        if crossed {
            defects.push((DefectKind::BadArchive, "its directory leads in circles".into()));
        }
        if entries.iter().any(|entry| entry.orphan) {
            defects.push((DefectKind::BadArchive, "streams that are in no storage".into()));
        }
        self.entries = entries;
    }
}

/// Sectors in the order of their chain.
struct Chain {
    sectors: Vec<u32>,
    broken: Option<&'static str>,
}

/// Follows a chain through a table, for at most `most` sectors of the `count` that there are. Where the table leads
/// nowhere although more is wanted, the sector behind is taken: streams are mostly written in one piece.
fn follow(table: &[u32], start: u32, count: usize, most: usize) -> Chain {
    let mut chain = Chain { sectors: Vec::new(), broken: None };
    let mut at = start;
    while chain.sectors.len() < most && at != END_OF_CHAIN {
        if at as usize >= count {
            chain.broken = Some("its chain leads out of the file");
            break;
        }
        if chain.sectors.len() >= count {
            chain.broken = Some("its chain leads in circles");
            break;
        }
        chain.sectors.push(at);
        match table.get(at as usize) {
            Some(&next) if next < MOST_SECTOR || next == END_OF_CHAIN => at = next,
            _ if most == usize::MAX => {
                chain.broken = Some("its chain ends in the middle");
                break;
            }
            _ => {
                chain.broken = Some("its chain ends in the middle");
                at += 1;
            }
        }
    }
    chain
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32_le(word, 0).unwrap_or(END_OF_CHAIN))
}

/// A directory entry as it stands (2.6.1).
struct RawEntry {
    name: String,
    kind: u8,
    left: u32,
    right: u32,
    child: u32,
    clsid: [u8; 16],
    start: u32,
    size: u64,
}

const STORAGE: u8 = 1;
const STREAM: u8 = 2;
const ROOT: u8 = 5;

impl RawEntry {
    fn read(entry: &[u8], sector: usize) -> RawEntry {
        let word = |at| u32_le(entry, at).unwrap_or(u32::MAX);
        let said = usize::from(u16_le(entry, 64).unwrap_or_default());
        let units: Vec<u16> =
            entry[..said.min(64)].chunks_exact(2).filter_map(|unit| u16_le(unit, 0)).collect();
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let size = u64_le(entry, 120).unwrap_or_default();
        RawEntry {
            name: String::from_utf16_lossy(&units[..end]),
            kind: entry[66],
            left: word(68),
            right: word(72),
            child: word(76),
            clsid: entry[80..].first_chunk().copied().unwrap_or_default(),
            start: word(116),
            // Of small sectors, the upper half is not always cleared (2.6.3).
            size: if sector <= 512 { size & 0xffff_ffff } else { size },
        }
    }
}

/// Walks the trees of siblings from the root on; what they do not reach comes last. Also whether some entry is reached
/// twice.
fn tree(raw: &[RawEntry]) -> (Vec<Entry>, bool) {
    /// Storages in storages whose names make a path; those below are shown as lying there.
    const DEEPEST: usize = 32;
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = vec![false; raw.len()];
    let mut crossed = false;
    let entry = |raw: &RawEntry, path: String, orphan: bool| Entry {
        path,
        name: raw.name.clone(),
        storage: raw.kind != STREAM,
        clsid: raw.clsid,
        size: if raw.kind == STREAM { raw.size } else { 0 },
        orphan,
        start: raw.start,
    };
    // Entries to be visited, with the path of their storage and its depth.
    let mut left: Vec<(u32, String, usize)> = Vec::new();
    if let Some(root) = raw.first() {
        seen[0] = true;
        entries.push(Entry { storage: true, ..entry(root, String::new(), false) });
        left.push((root.child, String::new(), 0));
    }
    let mut orphans = 1..raw.len();
    let mut orphan = false;
    loop {
        let Some((at, folder, depth)) = left.pop() else {
            let lost = |at: &usize| !seen[*at] && matches!(raw[*at].kind, STORAGE | STREAM | ROOT);
            let Some(next) = orphans.by_ref().find(lost) else { return (entries, crossed) };
            orphan = true;
            left.push((u32::try_from(next).unwrap_or(u32::MAX), String::new(), 0));
            continue;
        };
        let Some(raw) = raw.get(at as usize) else { continue };
        if std::mem::replace(&mut seen[at as usize], true) {
            crossed = true;
            continue;
        }
        if orphan && raw.kind == 0 {
            continue;
        }
        let path = if folder.is_empty() { raw.name.clone() } else { format!("{folder}/{}", raw.name) };
        left.push((raw.right, folder.clone(), depth));
        if matches!(raw.kind, STORAGE | ROOT) {
            let below = if depth < DEEPEST { path.clone() } else { folder.clone() };
            left.push((raw.child, below, depth + 1));
        }
        left.push((raw.left, folder, depth));
        if raw.kind != 0 {
            entries.push(entry(raw, path, orphan));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gatepost_mail::{Budget, Limits, Message, Origin, Part, PartId};

    use super::*;
    use crate::opening::Root;
    use crate::passwords::Passwords;

    /// A compound file of those streams (`a/b` lies in storage `a`), sectors of 512 bytes.
    pub(crate) fn compose(streams: &[(&str, &[u8])]) -> Vec<u8> {
        let names = entries_of(streams);
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let (mut fat, mut data): (Vec<u32>, Vec<u8>) = (Vec::new(), Vec::new());
        let mut store = |bytes: &[u8]| {
            let start = fat.len() as u32;
            let count = bytes.len().div_ceil(512) as u32;
            fat.extend((1..=count).map(|n| if n == count { END_OF_CHAIN } else { start + n }));
            data.extend_from_slice(bytes);
            data.resize(fat.len() * 512, 0);
            if count == 0 { END_OF_CHAIN } else { start }
        };
        let (mut mini, mut mini_fat): (Vec<u8>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut directory = Vec::new();
        for (place, (path, content)) in names.iter().enumerate() {
            let child = names.iter().position(|(other, _)| !other.is_empty() && parent(other) == *path);
            let sibling = (place > 0)
                .then(|| {
                    names
                        .iter()
                        .enumerate()
                        .skip(place + 1)
                        .find(|(_, (other, _))| parent(other) == parent(path))
                })
                .flatten();
            let (start, size) = match content {
                None => (END_OF_CHAIN, 0),
                Some(bytes) if bytes.len() >= 4096 => (store(bytes), bytes.len()),
                Some(bytes) => {
                    let start = mini_fat.len() as u32;
                    let count = bytes.len().div_ceil(64) as u32;
                    mini_fat.extend((1..=count).map(|n| if n == count { END_OF_CHAIN } else { start + n }));
                    mini.extend_from_slice(bytes);
                    mini.resize(mini_fat.len() * 64, 0);
                    (start, bytes.len())
                }
            };
            let name = path.rsplit('/').next().filter(|_| place > 0).unwrap_or("Root Entry");
            let mut units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let named = units.len() as u16 + 2;
            units.resize(64, 0);
            directory.extend(units);
            directory.extend(named.to_le_bytes());
            let kind = match content {
                _ if place == 0 => ROOT,
                Some(_) => STREAM,
                None => STORAGE,
            };
            directory.extend([kind, 1]);
            let link = |to: Option<usize>| to.map_or(u32::MAX, |to| to as u32).to_le_bytes();
            directory.extend(link(None));
            directory.extend(link(sibling.map(|(place, _)| place)));
            directory.extend(link(child.filter(|_| content.is_none())));
            directory.extend([0; 36]);
            directory.extend(start.to_le_bytes());
            directory.extend((size as u64).to_le_bytes());
        }
        let mini_start = store(&mini);
        directory[116..120].copy_from_slice(&mini_start.to_le_bytes());
        directory[120..128].copy_from_slice(&(mini.len() as u64).to_le_bytes());
        let directory_start = store(&directory);
        let mini_fat: Vec<u8> = mini_fat.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mini_fat_start = store(&mini_fat);
        let (fat_sectors, first_fat) = (fat.len().div_ceil(127).max(1), fat.len() as u32);
        fat.extend(std::iter::repeat_n(0xffff_fffd, fat_sectors));
        fat.resize(fat_sectors * 128, u32::MAX);
        let mut file = vec![0; 512];
        file[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
        file[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
        let mut put = |at: usize, word: u32| file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(44, fat_sectors as u32);
        put(48, directory_start);
        put(56, 4096);
        put(60, mini_fat_start);
        put(64, 1);
        put(68, END_OF_CHAIN);
        (0..109).for_each(|n| put(76 + 4 * n, if n < fat_sectors { first_fat + n as u32 } else { u32::MAX }));
        file.extend(data);
        file.extend(fat.iter().flat_map(|word| word.to_le_bytes()));
        file
    }

    /// Root, storages and streams, each storage before what lies in it.
    fn entries_of<'a>(streams: &[(&str, &'a [u8])]) -> Vec<(String, Option<&'a [u8]>)> {
        let mut names: Vec<(String, Option<&'a [u8]>)> = vec![("".into(), None)];
        for (path, data) in streams {
            let steps: Vec<&str> = path.split('/').collect();
            for end in 1..steps.len() {
                let folder = steps[..end].join("/");
                if !names.iter().any(|(known, _)| *known == folder) {
                    names.push((folder, None));
                }
            }
            names.push(((*path).to_owned(), Some(data)));
        }
        names
    }

    /// All streams with their content and what is wrong, and what is wrong with the file.
    fn all(file: Vec<u8>) -> (Vec<(String, Stream)>, Defects) {
        let mut message = Message::unread(Bytes::new());
        message.push(Part { parent: None, ..Part::new(PartId(0), 0, Origin::Embedded, file.into()) });
        let (mut budget, mut root) =
            (Budget::new(&Limits::default()), Root { packed: 1 << 20, ..Root::default() });
        let mut passwords = Passwords::default();
        let mut opening = Opening::new(&mut message, PartId(0), &mut budget, &mut root, &mut passwords);
        let (cfb, defects) = Cfb::parse(&opening.body.clone());
        let streams = cfb.entries().iter().filter(|entry| !entry.storage);
        (streams.map(|entry| (entry.path.clone(), cfb.read(entry, &mut opening))).collect(), defects)
    }

    fn sample() -> (Vec<u8>, Vec<u8>) {
        let large: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        (compose(&[("a", b"small"), ("S/big", &large), ("S/T/x", b"deep"), ("z", &[7; 4095])]), large)
    }

    #[test]
    fn streams_are_read() {
        let (file, large) = sample();
        let (streams, defects) = all(file);
        assert_eq!(defects, []);
        let got: Vec<_> = streams.iter().map(|(path, stream)| (path.as_str(), &stream.body[..])).collect();
        let mut want = vec![("a", &b"small"[..]), ("S/big", &large), ("S/T/x", b"deep"), ("z", &[7; 4095])];
        want.sort();
        let mut sorted = got.clone();
        sorted.sort();
        assert_eq!(sorted, want);
        assert!(streams.iter().all(|(_, stream)| stream.broken.is_none() && stream.over.is_none()));
    }

    /// A table of zeros chains every sector to the first; one of free sectors chains none.
    #[test]
    fn broken_tables_still_give_what_lies_in_one_piece() {
        let (mut file, large) = sample();
        let end = file.len();
        // The chain of the large stream, which has the first sectors.
        file[end - 1024..end - 1024 + 4 * 190].fill(0xff);
        let (streams, _) = all(file);
        let (_, stream) = streams.iter().find(|(path, _)| path == "S/big").expect("listed");
        assert_eq!((&stream.body[..], stream.broken), (&large[..], Some("its chain ends in the middle")));
    }

    #[test]
    fn nothing_hangs_or_panics() {
        let (file, _) = sample();
        for at in 0..512 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = file.clone();
                broken[at] = value;
                all(broken);
            }
        }
        for end in (0..file.len()).step_by(97) {
            all(file[..end].to_vec());
        }
        // Each sibling is its own, each chain a circle.
        let mut looped = file.clone();
        looped[512..].chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&1_u32.to_le_bytes()));
        all(looped);
    }
}
