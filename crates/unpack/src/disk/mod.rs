//! Images of disks: partitions (MBR, GPT, Apple's map), and the files in FAT, exFAT, NTFS and HFS+ on them, or on an image without
//! partitions; virtual disks (VHD, VHDX), Apple's disk images.

mod dmg;
mod exfat;
mod fat;
mod hfs;
mod ntfs;
mod vhd;
pub(crate) mod volume;

use gatepost_mail::{DefectKind, FileType};

use crate::fields::{u32_le, u64_le};
use crate::opening::{Opening, Stop};
use volume::{Volume, times};

pub(crate) use dmg::{is as is_dmg, open as open_dmg};
pub(crate) use vhd::{is as is_vhd, open as open_vhd};

/// Whether this is an image of a disk with partitions, or of a file system that can be read.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    (detected == FileType::IMG || FileType::is_disk(body)) && !is_vhd(body, detected)
}

/// Opens an image of a disk.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let volume = Volume::plain(&opening.body);
    open_volume(opening, &volume)
}

/// Opens a disk: its partitions, or the one file system that it is.
pub(crate) fn open_volume(opening: &mut Opening, disk: &Volume) -> Result<(), Stop> {
    let mut known = file_system(opening, disk)?;
    let parts = partitions(disk);
    let many = parts.len();
    for part in parts {
        opening.check_time()?;
        known |= file_system(opening, &part)?;
    }
    if !known {
        let detail = if many > 0 {
            "partitions without a file system that is known"
        } else {
            "no file system that is known"
        };
        opening.defective(DefectKind::NotOpened, detail);
    }
    if disk.exhausted() {
        opening.defective(DefectKind::BadArchive, "its directories lie over each other");
    }
    Ok(())
}

/// Takes the files out of a volume; whether its file system is known.
fn file_system(opening: &mut Opening, volume: &Volume) -> Result<bool, Stop> {
    Ok(fat::open(opening, volume)?
        || exfat::open(opening, volume)?
        || ntfs::open(opening, volume)?
        || hfs::open(opening, volume)?)
}

/// Whether a boot sector begins with a jump, as Windows wants it.
fn is_jump(boot: &[u8]) -> bool {
    matches!(boot.first(), Some(0xeb | 0xe9 | 0x49))
}

/// The partitions of an Apple partition map (Inside Macintosh: Devices, chapter 3): an entry in each block from the second
/// on.
fn apple_partitions(disk: &Volume, most: usize) -> Vec<Volume> {
    let entry = |at: u64| {
        let raw = disk.read(at, 16);
        let word = |at: usize| crate::fields::u32_be(&raw, at).unwrap_or_default();
        raw.starts_with(b"PM").then(|| (word(8), word(12)))
    };
    let sizes = [512, 1024, 2048, 4096];
    let Some(block) = sizes.into_iter().find(|size| disk.has(*size, b"PM\0\0")) else { return Vec::new() };
    let entries = (1..=most as u64).map_while(|number| entry(number * block));
    entries.map(|(start, count)| disk.part(times(start, block), times(count, block))).collect()
}

/// The partitions of a disk: those of a GPT (UEFI 5.3), those of Apple's map, those of an MBR, the logical ones in extended
/// ones too.
fn partitions(disk: &Volume) -> Vec<Volume> {
    /// Partitions in all; systems show some two dozen.
    const MOST: usize = 128;
    let mut found = Vec::new();
    for sector in [512, 4096] {
        if disk.has(sector, b"EFI PART") {
            let header = disk.read(sector, 92);
            let table = times(u64_le(&header, 72).unwrap_or_default(), sector);
            let size = u32_le(&header, 84).filter(|size| (128..=4096).contains(size)).unwrap_or(128);
            let count = u32_le(&header, 80).unwrap_or_default().min(MOST as u32);
            let entries = disk.read(table, (size * count) as usize);
            for entry in
                entries.chunks_exact(size as usize).filter(|entry| entry[..16].iter().any(|byte| *byte != 0))
            {
                let (first, last) = (volume::u64_at(entry, 32), volume::u64_at(entry, 40));
                let count = last.saturating_sub(first).saturating_add(1);
                found.push(disk.part(times(first, sector), times(count, sector)));
            }
        }
    }
    found.extend(apple_partitions(disk, MOST));
    if !disk.has(510, &[0x55, 0xaa]) {
        return found;
    }
    // Tables to be read, with the sector that their entries count from, and that of the first extended partition.
    let mut tables = vec![(0_u64, 0_u64)];
    let mut at = 0;
    while let Some(&(table, extended)) = tables.get(at).filter(|_| found.len() < MOST && at < MOST) {
        at += 1;
        let base = times(table, 512);
        if !disk.has(base.saturating_add(510), &[0x55, 0xaa]) {
            continue;
        }
        for entry in (0..4).map(|number| base.saturating_add(446 + 16 * number)) {
            let (kind, start, count) = (disk.byte(entry + 4), disk.u32(entry + 8), disk.u32(entry + 12));
            match kind {
                0 | 0xee => {}
                5 | 0x0f | 0x85 => {
                    let next = extended.saturating_add(start.into());
                    let first = if extended == 0 { next } else { extended };
                    if !tables.iter().any(|(known, _)| *known == next) {
                        tables.push((next, first));
                    }
                }
                _ => found.push(disk.part(times(table.saturating_add(start.into()), 512), times(count, 512))),
            }
        }
    }
    found
}
