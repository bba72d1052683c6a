//! ISO 9660 (ECMA-119): the trees of the primary and of the Joliet descriptors, Rock Ridge's names (IEEE P1282), files
//! compressed by zisofs, and the images that El Torito boots from.

use std::collections::HashSet;
use std::io::Read;

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use gatepost_mail::DefectKind;

use super::{FIRST, Files, SECTOR, paths};
use crate::disk::volume::{Volume, joined, times};
use crate::fields::{u16_le, u32_le, utf16_be};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};
use crate::pieces::{self, Piece};

/// Takes the files out of a disc's ISO 9660 trees; false if it has none.
pub(super) fn open(opening: &mut Opening, volume: &Volume, files: &mut Files) -> Result<bool, Stop> {
    /// Descriptors that are read.
    const MOST: u64 = 64;
    const BOOT: u8 = 0;
    const PRIMARY: u8 = 1;
    const SUPPLEMENTARY: u8 = 2;
    let mut trees = Vec::new();
    let mut boot = None;
    for number in FIRST..FIRST + MOST {
        let descriptor = volume.read(number * SECTOR, SECTOR as usize);
        if descriptor.get(1..6) != Some(b"CD001") || descriptor.len() < SECTOR as usize {
            break;
        }
        match descriptor[0] {
            BOOT if descriptor[7..].starts_with(b"EL TORITO") => boot = u32_le(&descriptor, 71),
            PRIMARY => trees.push((descriptor, false)),
            SUPPLEMENTARY => {
                let joliet = matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E");
                // Windows shows its names.
                trees.insert(0, (descriptor, joliet));
            }
            _ => {}
        }
    }
    for (descriptor, joliet) in &trees {
        let block = u64::from(u16_le(descriptor, 128).unwrap_or_default());
        let block = if block.is_power_of_two() && (512..=SECTOR).contains(&block) { block } else { SECTOR };
        let tree = Tree { volume, block, joliet: *joliet, skip: 0 };
        tree.walk(opening, files, &descriptor[156..190])?;
    }
    if let Some(catalog) = boot {
        boot_images(opening, volume, files, catalog)?;
    }
    Ok(!trees.is_empty())
}

struct Tree<'a> {
    volume: &'a Volume,
    block: u64,
    joliet: bool,
    /// Bytes before what Rock Ridge keeps in a record.
    skip: usize,
}

const FOLDER: u8 = 2;
const CONTINUED: u8 = 0x80;

/// A directory record (9.1), with what Rock Ridge adds.
#[derive(Default)]
struct Record {
    names: Vec<String>,
    flags: u8,
    at: u64,
    size: u64,
    /// The block of the folder that this record stands for.
    moved: Option<u32>,
    /// Compressed by zisofs.
    packed: bool,
}

impl Tree<'_> {
    fn walk(mut self, opening: &mut Opening, files: &mut Files, root: &[u8]) -> Result<(), Stop> {
        let Some(root) = self.record(root) else {
            opening.defective(DefectKind::BadArchive, "no root folder");
            return Ok(());
        };
        self.skip = self.shift(root.at);
        let mut seen = HashSet::new();
        let mut folders = vec![(root.at, root.size, String::new())];
        while let Some((at, size, path)) = folders.pop() {
            if !seen.insert(at) {
                continue;
            }
            self.folder(opening, files, (at, size, &path), &mut folders)?;
        }
        Ok(())
    }

    fn folder(
        &self,
        opening: &mut Opening,
        files: &mut Files,
        (at, size, path): (u64, u64, &str),
        folders: &mut Vec<(u64, u64, String)>,
    ) -> Result<(), Stop> {
        const LARGEST: u64 = 64 << 20;
        let table = self.volume.read(at, size.min(LARGEST) as usize);
        if (table.len() as u64) < size.min(LARGEST) {
            opening.defective(DefectKind::TruncatedArchive, "a folder lies behind the end");
        }
        let mut found = Vec::new();
        let mut place = 0;
        while let Some(&length) = table.get(place) {
            opening.check_time()?;
            if length == 0 {
                // Records do not span sectors.
                place = (place + 1).next_multiple_of(SECTOR as usize);
                continue;
            }
            let raw = &table[place..table.len().min(place + usize::from(length))];
            place += usize::from(length);
            let Some(record) = self.record(raw) else { continue };
            if record.names.is_empty() {
                continue;
            }
            if let Some(block) = record.moved {
                // Its own record tells its size.
                let at = times(block, self.block);
                let own = self.record(&self.volume.read(at, 34));
                folders.push((at, own.map_or(SECTOR, |own| own.size), joined(path, &record.names[0])));
                continue;
            }
            if record.flags & FOLDER != 0 {
                folders.push((record.at, record.size, joined(path, &record.names[0])));
                continue;
            }
            self.volume.locate(record.at, record.size, &mut found);
            if record.flags & CONTINUED != 0 {
                continue;
            }
            self.file(opening, files, path, record, &std::mem::take(&mut found))?;
        }
        Ok(())
    }

    fn file(
        &self,
        opening: &mut Opening,
        files: &mut Files,
        path: &str,
        record: Record,
        found: &[Piece],
    ) -> Result<(), Stop> {
        let all = paths(path, record.names);
        if found.is_empty() && record.size == 0 {
            return files.add_empty(opening, all);
        }
        if record.packed
            && let Some(id) = unpacked(opening, &all, found)?
        {
            files.starts.extend(found.first().and_then(start).map(|start| (start, id)));
            return Ok(());
        }
        let short = pieces::len(found) < record.size;
        let broken = short.then_some((DefectKind::TruncatedArchive, "its data ends early"));
        files.add(opening, all, found, broken).map(|_| ())
    }

    /// How many bytes of each record come before Rock Ridge's: the first record of the root says so.
    fn shift(&self, root: u64) -> usize {
        let record = self.volume.read(root, 64);
        let field = record.get(34..).unwrap_or_default();
        match field.get(..7) {
            Some([b'S', b'P', 7, 1, 0xbe, 0xef, skip]) => usize::from(*skip),
            _ => 0,
        }
    }

    fn record(&self, raw: &[u8]) -> Option<Record> {
        let length = usize::from(*raw.get(32)?);
        let name = raw.get(33..33 + length)?;
        let mut record = Record {
            flags: raw[25],
            // An extended attribute record comes first.
            at: times(u32_le(raw, 2)?.saturating_add(raw[1].into()), self.block),
            size: u32_le(raw, 10)?.into(),
            ..Record::default()
        };
        // The folder itself and the one above are named by one byte.
        if matches!(name, [0] | [1]) || name.is_empty() {
            return Some(record);
        }
        let read = if self.joliet { vec![utf16_be(name)] } else { names::readings(name, false) };
        for name in read {
            let (stem, version) = name.rsplit_once(';').unwrap_or((&name, ""));
            let plain = version.bytes().all(|byte| byte.is_ascii_digit());
            let stem = if plain { stem.strip_suffix('.').unwrap_or(stem) } else { &name };
            names::add(&mut record.names, names::clean(stem));
        }
        let system = (33 + length).next_multiple_of(2) + self.skip;
        self.rock_ridge(raw.get(system..).unwrap_or_default(), &mut record);
        Some(record)
    }

    /// Reads what Rock Ridge and zisofs keep in a record, and where that is continued.
    fn rock_ridge(&self, first: &[u8], record: &mut Record) {
        const MOST_AREAS: usize = 16;
        let mut name = Vec::new();
        let mut area = Bytes::copy_from_slice(first);
        for _ in 0..MOST_AREAS {
            let mut next = None;
            let mut at = 0;
            while let Some(&[a, b, length, _]) = area.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
                let Some(field) = area.get(at..at + usize::from(length)).filter(|field| field.len() >= 4)
                else {
                    break;
                };
                match &[a, b] {
                    b"NM" if field.len() > 5 && field[4] & 6 == 0 && name.len() < 4096 => {
                        name.extend_from_slice(&field[5..]);
                    }
                    b"CE" => next = Some((u32_le(field, 4), u32_le(field, 12), u32_le(field, 20))),
                    b"CL" => record.moved = u32_le(field, 4),
                    b"ZF" => record.packed = field.get(4..6) == Some(b"pz"),
                    b"ST" => break,
                    _ => {}
                }
                at += usize::from(length);
            }
            let Some((Some(block), Some(offset), Some(size))) = next else { break };
            let place = times(block, self.block).saturating_add(offset.into());
            area = self.volume.read(place, size.min(SECTOR as u32) as usize);
        }
        if !name.is_empty() {
            let mut all = names::readings(&name, false);
            for other in std::mem::take(&mut record.names) {
                names::add(&mut all, other);
            }
            record.names = all;
        }
    }
}

fn start(piece: &Piece) -> Option<usize> {
    if let Piece::At(range) = piece { Some(range.start) } else { None }
}

/// Unpacks a file of zisofs: a table of places, and between them blocks of zlib; empty ones are zeros. None if it is none.
fn unpacked(
    opening: &mut Opening,
    all: &[String],
    found: &[Piece],
) -> Result<Option<gatepost_mail::PartId>, Stop> {
    const MAGIC: &[u8] = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07";
    let (packed, _) = pieces::gather(opening, found);
    if !packed.starts_with(MAGIC) || packed.len() < 16 {
        return Ok(None);
    }
    let (size, header, shift) =
        (u64::from(u32_le(&packed, 8).unwrap_or_default()), usize::from(packed[12]) * 4, packed[13]);
    if !(15..=17).contains(&shift) || header < 16 {
        return Ok(None);
    }
    let block = 1_u64 << shift;
    let mut made = Vec::new();
    let mut end = End::Complete;
    let mut at = header;
    while (made.len() as u64) < size && end == End::Complete {
        opening.check_time()?;
        let want = block.min(size - made.len() as u64);
        let (Some(from), Some(to)) = (u32_le(&packed, at), u32_le(&packed, at + 4)) else {
            end = End::Truncated;
            break;
        };
        at += 4;
        let len = packed.len() as u64;
        end = match packed.get(from as usize..to as usize) {
            Some([]) => opening.drain(&mut std::io::repeat(0).take(want), len, &mut made),
            Some(data) => opening.drain(&mut ZlibDecoder::new(data).take(want), len, &mut made),
            None => End::Truncated,
        };
    }
    let id = opening.member(Member { names: all.to_vec(), body: keep(made), ..Member::default() })?;
    match end {
        End::Over(limit) => opening.over(limit, Some(id)),
        End::Truncated | End::Corrupt => {
            opening.defect(DefectKind::BadArchive, id, "damaged blocks of zisofs")
        }
        End::Complete => {}
    }
    Ok(Some(id))
}

/// Hands over what the disc boots from (El Torito 1.0), where no file is the same.
fn boot_images(opening: &mut Opening, volume: &Volume, files: &mut Files, catalog: u32) -> Result<(), Stop> {
    const BOOTABLE: u8 = 0x88;
    let catalog = volume.read(times(catalog, SECTOR), SECTOR as usize);
    for (number, entry) in
        catalog.chunks_exact(32).skip(1).enumerate().filter(|(_, entry)| entry[0] == BOOTABLE)
    {
        let at = times(u32_le(entry, 8).unwrap_or_default(), SECTOR);
        let sectors = u64::from(u16_le(entry, 6).unwrap_or_default());
        // Floppies have their full size, a hard disk ends with its first partition.
        let size = match entry[1] & 15 {
            1 => 1200 << 10,
            2 => 1440 << 10,
            3 => 2880 << 10,
            4 => times(u64::from(volume.u32(at + 454)) + u64::from(volume.u32(at + 458)), 512),
            _ => sectors * 512,
        };
        let mut found = Vec::new();
        volume.locate(at, size, &mut found);
        let known = found.first().and_then(start).is_some_and(|start| files.starts.contains_key(&start));
        if !known && !found.is_empty() {
            files.add(opening, vec![format!("[BOOT]/{number}.img")], &found, None)?;
        }
    }
    Ok(())
}
