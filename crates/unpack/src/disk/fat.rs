//! FAT12, FAT16 and FAT32 (Microsoft's FAT specification 1.03), with long names.

use std::collections::HashSet;

use gatepost_mail::DefectKind;

use super::volume::{Volume, joined, times};
use crate::fields::{u16_le, u32_le};
use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces::{self, Piece};

/// Takes the files out of a FAT volume; false if it is none.
pub(super) fn open(opening: &mut Opening, volume: &Volume) -> Result<bool, Stop> {
    let Some(fat) = Fat::read(volume) else { return Ok(false) };
    let mut walk = Walk { fat, seen: HashSet::new(), folders: Vec::new() };
    let root = match walk.fat.root {
        Root::At(at, len) => {
            let mut found = Vec::new();
            volume.locate(at, len, &mut found);
            found
        }
        Root::Cluster(first) => walk.folder(first),
    };
    walk.entries(opening, &root, "")?;
    while let Some((first, path)) = walk.folders.pop() {
        let found = walk.folder(first);
        walk.entries(opening, &found, &path)?;
    }
    Ok(true)
}

/// What the first sector tells.
struct Fat<'a> {
    volume: &'a Volume,
    /// Bits of an entry of the table.
    bits: u32,
    table: u64,
    data: u64,
    cluster: u64,
    count: u32,
    root: Root,
}

enum Root {
    /// Of the older ones: a range of bytes.
    At(u64, u64),
    Cluster(u32),
}

impl Fat<'_> {
    fn read(volume: &Volume) -> Option<Fat<'_>> {
        let boot = volume.read(0, 512);
        if boot.len() < 512 || !super::is_jump(&boot) {
            return None;
        }
        let sector = u64::from(u16_le(&boot, 11)?);
        let per_cluster = u64::from(boot[13]);
        let (reserved, tables) = (u64::from(u16_le(&boot, 14)?), u64::from(boot[16]));
        let root_entries = u64::from(u16_le(&boot, 17)?);
        let short = |at: usize, long: usize| match u16_le(&boot, at)? {
            0 => u32_le(&boot, long).map(u64::from),
            small => Some(small.into()),
        };
        let (total, table_size) = (short(19, 32)?, short(22, 36)?);
        let sane = matches!(sector, 128 | 256 | 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&tables)
            && table_size > 0
            && total > 0;
        if !sane {
            return None;
        }
        let root_at = reserved + tables * table_size;
        let root_sectors = (root_entries * 32).div_ceil(sector);
        let data = root_at + root_sectors;
        let count = total.checked_sub(data)? / per_cluster;
        let bits = match count {
            _ if u16_le(&boot, 22)? == 0 => 32,
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        let root = match bits {
            32 => Root::Cluster(u32_le(&boot, 44)?),
            _ => Root::At(root_at * sector, root_entries * 32),
        };
        Some(Fat {
            volume,
            bits,
            table: reserved * sector,
            data: data * sector,
            cluster: per_cluster * sector,
            count: u32::try_from(count).ok()?.min(0x0fff_fff5),
            root,
        })
    }

    /// The cluster behind; None at the end of a chain.
    fn next(&self, cluster: u32) -> Option<u32> {
        let next = match self.bits {
            12 => {
                let pair = self.volume.u16(self.table + u64::from(cluster) * 3 / 2);
                u32::from(if cluster % 2 == 1 { pair >> 4 } else { pair & 0xfff })
            }
            16 => self.volume.u16(self.table + u64::from(cluster) * 2).into(),
            _ => self.volume.u32(self.table + u64::from(cluster) * 4) & 0x0fff_ffff,
        };
        self.holds(next).then_some(next)
    }

    fn holds(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.count
    }

    fn place(&self, cluster: u32) -> u64 {
        self.data + times(cluster.saturating_sub(2), self.cluster)
    }

    /// Where a file lies. A chain that ends early is told of.
    fn file(&self, first: u32, size: u32) -> (Vec<Piece>, bool) {
        let mut found = Vec::new();
        let mut at = Some(first).filter(|first| self.holds(*first));
        let mut left = u64::from(size).div_ceil(self.cluster).min(self.volume.steps());
        while let Some(cluster) = at.filter(|_| left > 0) {
            self.volume.locate(self.place(cluster), self.cluster, &mut found);
            at = self.next(cluster);
            left -= 1;
        }
        pieces::truncate(&mut found, size.into());
        let short = pieces::len(&found) < u64::from(size);
        (found, short)
    }
}

struct Walk<'a> {
    fat: Fat<'a>,
    /// Clusters of folders that were read.
    seen: HashSet<u32>,
    /// Folders to be read, with their paths.
    folders: Vec<(u32, String)>,
}

impl Walk<'_> {
    /// Where a folder lies, as far as it was not read before.
    fn folder(&mut self, first: u32) -> Vec<Piece> {
        let mut found = Vec::new();
        let mut at = Some(first).filter(|first| self.fat.holds(*first));
        while let Some(cluster) = at.filter(|cluster| self.seen.insert(*cluster)) {
            self.fat.volume.locate(self.fat.place(cluster), self.fat.cluster, &mut found);
            at = self.fat.next(cluster);
        }
        found
    }

    fn entries(&mut self, opening: &mut Opening, found: &[Piece], path: &str) -> Result<(), Stop> {
        const FOLDER: u8 = 0x10;
        const LABEL: u8 = 0x08;
        const LONG: u8 = 0x0f;
        let mut long = LongName::default();
        let table = self.fat.volume.collect(found);
        for entry in table.chunks_exact(32) {
            opening.check_time()?;
            let attributes = entry[11];
            match entry[0] {
                0 => return Ok(()),
                0xe5 => {
                    long = LongName::default();
                    continue;
                }
                _ if attributes & 0x3f == LONG => {
                    long.add(entry);
                    continue;
                }
                b'.' if matches!(entry[1], b' ' | b'.') => continue,
                _ => {}
            }
            let short = short_name(entry);
            let mut all = std::mem::take(&mut long).names();
            for name in names::readings(&short, false) {
                names::add(&mut all, name);
            }
            if attributes & LABEL != 0 {
                continue;
            }
            all.iter_mut().for_each(|name| *name = joined(path, name));
            let high = if self.fat.bits == 32 { u16_le(entry, 20).unwrap_or_default() } else { 0 };
            let first = u32::from(high) << 16 | u32::from(u16_le(entry, 26).unwrap_or_default());
            if attributes & FOLDER != 0 {
                let path = all.into_iter().next().unwrap_or_default();
                self.folders.push((first, path));
                continue;
            }
            let (found, short) = self.fat.file(first, u32_le(entry, 28).unwrap_or_default());
            let broken = short.then_some((DefectKind::TruncatedArchive, "its chain of clusters ends early"));
            pieces::member(opening, all, &found, broken)?;
        }
        Ok(())
    }
}

/// The eight and three characters of a short name.
fn short_name(entry: &[u8]) -> Vec<u8> {
    let mut stem = entry[..8].trim_ascii_end().to_vec();
    if stem.first() == Some(&0x05) {
        stem[0] = 0xe5;
    }
    let extension = entry[8..11].trim_ascii_end();
    if !extension.is_empty() {
        stem.push(b'.');
        stem.extend_from_slice(extension);
    }
    stem
}

/// A long name, whose pieces stand before the short one, the last first.
#[derive(Default)]
struct LongName(Vec<u8>);

impl LongName {
    fn add(&mut self, entry: &[u8]) {
        const LAST: u8 = 0x40;
        const MOST: usize = 20 * 26;
        if entry[0] & LAST != 0 {
            self.0.clear();
        }
        if self.0.len() < MOST {
            let units = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
            self.0.splice(..0, units);
        }
    }

    fn names(self) -> Vec<String> {
        let name = names::clean(crate::fields::utf16_le(&self.0).trim_end_matches('\u{ffff}'));
        if name.is_empty() { Vec::new() } else { vec![name] }
    }
}
