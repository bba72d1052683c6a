//! NTFS: files whose data is in their record or in plain runs of clusters, streams beside the main one too. What is
//! compressed or encrypted by the file system is told of.

use std::collections::HashMap;

use gatepost_mail::DefectKind;

use super::volume::{Volume, joined, times, u64_at};
use crate::fields::{u16_le, u32_le, utf16_le};
use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces::{self, Piece};

/// The record of the root folder, and the first that is no system file's.
const ROOT: u64 = 5;
const FIRST: u64 = 16;

/// Takes the files out of an NTFS volume; false if it is none.
pub(super) fn open(opening: &mut Opening, volume: &Volume) -> Result<bool, Stop> {
    if !volume.has(3, b"NTFS    ") {
        return Ok(false);
    }
    let Some(ntfs) = Ntfs::read(volume) else {
        opening.defective(DefectKind::BadArchive, "an NTFS volume whose sizes or table make no sense");
        return Ok(true);
    };
    let mut files: Vec<Record> = Vec::new();
    let mut folders: HashMap<u64, (String, u64)> = HashMap::new();
    let mut extents: HashMap<u64, Vec<Stream>> = HashMap::new();
    for number in 0..ntfs.records {
        opening.check_time()?;
        let Some(mut record) = ntfs.record(number) else { continue };
        if let Some(base) = record.base {
            // What does not fit a record stands in others.
            extents.entry(base).or_default().append(&mut record.streams);
        } else if record.folder {
            let name = record.names.first().map(|(name, _)| name.clone()).unwrap_or_default();
            let parent = record.names.first().map_or(ROOT, |(_, parent)| *parent);
            folders.insert(number, (name, parent));
        }
        if record.base.is_none() && number >= FIRST && files.len() < opening.most_members() {
            files.push(record);
        }
    }
    for mut file in files {
        let more = extents.remove(&file.number).unwrap_or_default();
        file.streams.extend(more);
        hand_over(opening, &folders, file)?;
    }
    Ok(true)
}

fn hand_over(opening: &mut Opening, folders: &HashMap<u64, (String, u64)>, file: Record) -> Result<(), Stop> {
    let paths: Vec<String> = file.names.iter().map(|(name, parent)| path(folders, name, *parent)).collect();
    if paths.first().is_some_and(|path| path.starts_with("$Extend/")) {
        return Ok(());
    }
    let mut streams = file.streams;
    // Pieces of one stream, in the order of their clusters.
    streams.sort_by(|a, b| (&a.name, a.from).cmp(&(&b.name, b.from)));
    if streams.is_empty() && !file.folder {
        opening.member(crate::opening::Member { names: paths.clone(), ..Default::default() })?;
    }
    let mut rest = streams.into_iter().peekable();
    while let Some(mut stream) = rest.next() {
        while let Some(next) = rest.next_if(|next| next.name == stream.name && next.from > 0) {
            stream.pieces.extend(next.pieces);
        }
        let with = |path: &String| {
            if stream.name.is_empty() { path.clone() } else { format!("{path}:{}", stream.name) }
        };
        let all = paths.iter().map(with).collect();
        if stream.encrypted {
            opening.member(crate::opening::Member { names: all, encrypted: true, ..Default::default() })?;
            continue;
        }
        pieces::truncate(&mut stream.pieces, stream.size);
        let short = pieces::len(&stream.pieces) < stream.size;
        let broken = match stream.compressed {
            true => Some((DefectKind::UnknownMethod, "compressed by NTFS")),
            false => short.then_some((DefectKind::TruncatedArchive, "its data ends early")),
        };
        pieces::member(opening, all, &stream.pieces, broken)?;
    }
    Ok(())
}

fn path(folders: &HashMap<u64, (String, u64)>, name: &str, parent: u64) -> String {
    const DEEPEST: usize = 64;
    let mut path = name.to_owned();
    let mut at = parent;
    for _ in 0..DEEPEST {
        match folders.get(&at).filter(|_| at != ROOT) {
            Some((folder, above)) => (path, at) = (joined(folder, &path), *above),
            None => break,
        }
    }
    names::clean(&path)
}

struct Ntfs<'a> {
    volume: &'a Volume,
    cluster: u64,
    record: usize,
    /// Where the table of records lies.
    table: Vec<Piece>,
    records: u64,
}

/// A record of the table.
struct Record {
    number: u64,
    /// The record that it continues.
    base: Option<u64>,
    folder: bool,
    /// Names, with the folder that each stands in; those of DOS last.
    names: Vec<(String, u64)>,
    streams: Vec<Stream>,
}

struct Stream {
    name: String,
    /// First cluster that this piece of it holds.
    from: u64,
    size: u64,
    pieces: Vec<Piece>,
    compressed: bool,
    encrypted: bool,
}

impl Ntfs<'_> {
    fn read(volume: &Volume) -> Option<Ntfs<'_>> {
        let sector = u64::from(volume.u16(11));
        let cluster = match volume.byte(13) {
            small @ 1..=128 => sector * u64::from(small),
            shift => sector.checked_shl(256 - u32::from(shift))?,
        };
        let record = match volume.byte(64).cast_signed() {
            clusters @ 1.. => u64::try_from(clusters).ok()? * cluster,
            shift => 1_u64.checked_shl(u32::try_from(-i16::from(shift)).ok()?)?,
        };
        let sane = (256..=4096).contains(&sector)
            && (256..=1 << 16).contains(&record)
            && (1..=1 << 21).contains(&cluster);
        if !sane {
            return None;
        }
        let start = times(u64_at(&volume.read(48, 8), 0), cluster);
        let mut ntfs = Ntfs { volume, cluster, record: record as usize, table: Vec::new(), records: 1 };
        volume.locate(start, record, &mut ntfs.table);
        let own = ntfs.record(0)?.streams.into_iter().find(|stream| stream.name.is_empty())?;
        ntfs.records = (own.size / record).min(volume.steps() * 4);
        ntfs.table = own.pieces;
        Some(ntfs)
    }

    /// Reads a record that is in use.
    fn record(&self, number: u64) -> Option<Record> {
        const IN_USE: u16 = 1;
        const FOLDER: u16 = 2;
        let raw =
            self.volume.collect(&pieces::cut(&self.table, number * self.record as u64, self.record as u64));
        if !raw.starts_with(b"FILE") || raw.len() < self.record {
            return None;
        }
        let record = mended(&raw);
        let flags = u16_le(&record, 22)?;
        if flags & IN_USE == 0 {
            return None;
        }
        let base = u64_at(&record, 32) & 0xffff_ffff_ffff;
        let mut read = Record {
            number,
            base: (base != 0).then_some(base),
            folder: flags & FOLDER != 0,
            names: Vec::new(),
            streams: Vec::new(),
        };
        let mut dos = Vec::new();
        let mut at = usize::from(u16_le(&record, 20)?);
        while let Some(length) =
            u32_le(&record, at + 4).map(|length| length as usize).filter(|length| *length >= 16)
        {
            let Some(attribute) = record.get(at..at.saturating_add(length)) else { break };
            match u32_le(attribute, 0) {
                Some(0x30) => name(attribute, &mut read.names, &mut dos),
                Some(0x80) => read.streams.extend(self.stream(attribute)),
                Some(0xffff_ffff) | None => break,
                _ => {}
            }
            at += length;
        }
        read.names.append(&mut dos);
        Some(read)
    }

    /// A data attribute: its content, or the runs of clusters that hold it.
    fn stream(&self, attribute: &[u8]) -> Option<Stream> {
        const COMPRESSED: u16 = 0x00ff;
        const ENCRYPTED: u16 = 0x4000;
        let (length, at) = (usize::from(*attribute.get(9)?), usize::from(u16_le(attribute, 10)?));
        let name = utf16_le(attribute.get(at..at + 2 * length).unwrap_or_default());
        let flags = u16_le(attribute, 12)?;
        let mut stream = Stream {
            name,
            from: 0,
            size: 0,
            pieces: Vec::new(),
            compressed: flags & COMPRESSED != 0,
            encrypted: flags & ENCRYPTED != 0,
        };
        if attribute[8] == 0 {
            let (length, at) = (u32_le(attribute, 16)? as usize, usize::from(u16_le(attribute, 20)?));
            let content = attribute.get(at..)?;
            let content = &content[..length.min(content.len())];
            stream.size = content.len() as u64;
            // A record's bytes were mended, so they do not stand in the file as they are.
            stream.pieces = vec![Piece::Made(content.to_vec())];
            stream.compressed = false;
            return Some(stream);
        }
        stream.from = u64_at(attribute, 16);
        // Later pieces of a stream do not tell its size.
        stream.size = if stream.from == 0 { u64_at(attribute, 48) } else { u64::MAX };
        let runs = attribute.get(usize::from(u16_le(attribute, 32)?)..)?;
        self.runs(runs, &mut stream.pieces);
        Some(stream)
    }

    /// Decodes runs: the sizes of two numbers, a count of clusters, and a place counted from the last one.
    fn runs(&self, mut runs: &[u8], into: &mut Vec<Piece>) {
        let mut place = 0_i64;
        while let Some((&head, rest)) = runs.split_first().filter(|(head, _)| **head != 0) {
            let (count_len, place_len) = (usize::from(head & 15), usize::from(head >> 4));
            let (Some(count), Some(step)) =
                (rest.get(..count_len), rest.get(count_len..count_len + place_len))
            else {
                return;
            };
            if count_len > 8 || place_len > 8 {
                return;
            }
            let size = times(unsigned(count), self.cluster);
            runs = &rest[count_len + place_len..];
            if place_len == 0 {
                pieces::push_zeros(into, size);
                continue;
            }
            place = place.wrapping_add(signed(step));
            let Ok(start) = u64::try_from(place) else { return };
            self.volume.locate(times(start, self.cluster), size, into);
        }
    }
}

/// A name attribute.
fn name(attribute: &[u8], names: &mut Vec<(String, u64)>, dos: &mut Vec<(String, u64)>) {
    const DOS: u8 = 2;
    const MOST: usize = 16;
    let value = u16_le(attribute, 20).and_then(|at| attribute.get(usize::from(at)..)).unwrap_or_default();
    let Some(&[length, space]) = value.get(64..66) else { return };
    let Some(units) = value.get(66..66 + 2 * usize::from(length)) else { return };
    let parent = u64_at(value, 0) & 0xffff_ffff_ffff;
    let list = if space == DOS { dos } else { names };
    if list.len() < MOST {
        list.push((utf16_le(units), parent));
    }
}

/// A record with the last two bytes of each sector put back, which a number stands in for (the update sequence).
fn mended(raw: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 512;
    let mut record = raw.to_vec();
    let at = usize::from(u16_le(raw, 4).unwrap_or_default());
    let count = usize::from(u16_le(raw, 6).unwrap_or_default());
    for number in 1..count {
        let end = number * SECTOR;
        if let (Some(saved), Some(place)) =
            (raw.get(at + 2 * number..at + 2 * number + 2), record.get_mut(end - 2..end))
        {
            place.copy_from_slice(saved);
        }
    }
    record
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    if unused == 64 { 0 } else { (unsigned(bytes) << unused).cast_signed() >> unused }
}
