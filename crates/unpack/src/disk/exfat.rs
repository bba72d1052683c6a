//! exFAT (Microsoft's exFAT specification).

use std::collections::HashSet;

use gatepost_mail::DefectKind;

use super::volume::{Volume, joined, times, u64_at};
use crate::fields::{u16_le, u32_le};
use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces::{self, Piece};

/// Takes the files out of an exFAT volume; false if it is none.
pub(super) fn open(opening: &mut Opening, volume: &Volume) -> Result<bool, Stop> {
    if !volume.has(3, b"EXFAT   ") {
        return Ok(false);
    }
    let (sector, cluster) = (volume.byte(108), volume.byte(109));
    if !(9..=12).contains(&sector) || cluster > 25 - sector {
        opening.defective(DefectKind::BadArchive, "an exFAT volume whose sizes make no sense");
        return Ok(true);
    }
    let exfat = Exfat {
        volume,
        table: times(volume.u32(80), 1 << sector),
        data: times(volume.u32(88), 1 << sector),
        cluster: 1 << (sector + cluster),
        count: volume.u32(92),
    };
    let mut seen = HashSet::new();
    let mut folders = vec![(volume.u32(96), None, String::new())];
    while let Some((first, length, path)) = folders.pop() {
        if !seen.insert(first) {
            continue;
        }
        let most = length.unwrap_or(u64::MAX).min(256 << 20);
        let found = exfat.chain(first, most, false);
        for file in files(&volume.collect(&found)) {
            opening.check_time()?;
            let path = joined(&path, &file.name);
            if file.folder {
                folders.push((file.first, Some(file.size), path));
                continue;
            }
            let mut found = exfat.chain(file.first, file.size, file.plain);
            let short = pieces::len(&found) < file.size;
            // What was reserved and never written reads as zeros.
            pieces::truncate(&mut found, file.valid);
            pieces::push_zeros(&mut found, if short { 0 } else { file.size - file.valid.min(file.size) });
            let broken = short.then_some((DefectKind::TruncatedArchive, "its chain of clusters ends early"));
            pieces::member(opening, vec![path], &found, broken)?;
        }
    }
    Ok(true)
}

struct Exfat<'a> {
    volume: &'a Volume,
    table: u64,
    data: u64,
    cluster: u64,
    count: u32,
}

impl Exfat<'_> {
    /// Where `size` bytes from that cluster on lie, either one behind the other or chained by the table.
    fn chain(&self, first: u32, size: u64, plain: bool) -> Vec<Piece> {
        let mut found = Vec::new();
        let mut at = first;
        // A chain in circles ends with as many clusters as there are.
        let mut left = size.div_ceil(self.cluster).min(self.count.into());
        if !plain {
            left = left.min(self.volume.steps());
        }
        if plain {
            let place = self.data.saturating_add(times(at.saturating_sub(2), self.cluster));
            self.volume.locate(place, left * self.cluster, &mut found);
        }
        while !plain && left > 0 && at >= 2 && at - 2 < self.count {
            self.volume.locate(
                self.data.saturating_add(times(at - 2, self.cluster)),
                self.cluster,
                &mut found,
            );
            at = self.volume.u32(self.table.saturating_add(times(at, 4)));
            left -= 1;
        }
        pieces::truncate(&mut found, size);
        found
    }
}

struct File {
    name: String,
    folder: bool,
    /// Its clusters are not chained but follow each other.
    plain: bool,
    first: u32,
    size: u64,
    valid: u64,
}

/// The sets of entries in a folder: a file, its stream, its name in several (7.4, 7.6, 7.7).
fn files(table: &[u8]) -> Vec<File> {
    const FOLDER: u16 = 0x10;
    let entries: Vec<&[u8]> = table.chunks_exact(32).take_while(|entry| entry[0] != 0).collect();
    let mut found = Vec::new();
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| entry[0] == 0x85) {
        let rest = &entries[place + 1..];
        let Some(stream) = rest.first().filter(|stream| stream[0] == 0xc0) else { continue };
        let parts = rest[1..].iter().take(17).take_while(|part| part[0] == 0xc1);
        let units: Vec<u8> = parts.flat_map(|part| part[2..].iter().copied()).collect();
        let length = usize::from(stream[3]) * 2;
        found.push(File {
            name: names::clean(&crate::fields::utf16_le(&units[..length.min(units.len())])),
            folder: u16_le(entry, 4).unwrap_or_default() & FOLDER != 0,
            plain: stream[1] & 2 != 0,
            first: u32_le(stream, 20).unwrap_or_default(),
            size: u64_at(stream, 24),
            valid: u64_at(stream, 8),
        });
    }
    found
}
