//! Virtual disks: VHD (Microsoft's Virtual Hard Disk Image Format 1.0), fixed, dynamic and differencing, and VHDX
//! (MS-VHDX). The disk is not assembled: its file systems are read where its blocks lie.

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};

use super::volume::{Volume, times, u64_at};
use crate::fields::{u16_le, u32_be, u32_le, u64_be};
use crate::opening::{Opening, Stop};

const FOOTER: usize = 512;
const COOKIE: &[u8] = b"conectix";

/// Whether this is a virtual disk. Where VHDs are read their footer at the end decides; dynamic ones have a copy at the
/// beginning.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    matches!(detected, FileType::VHD | FileType::VHDX) || footer(body).is_some()
}

/// Opens a virtual disk.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let disk = if body.starts_with(b"vhdxfile") { vhdx(&body) } else { vhd(&body) };
    match disk {
        Ok((disk, child)) => {
            if child {
                opening.defective(DefectKind::TruncatedArchive, "the disk that it differs from is not here");
            }
            super::open_volume(opening, &disk)
        }
        Err(wrong) => {
            opening.defective(DefectKind::BadArchive, wrong);
            // A disk as it is may stand there all the same.
            if FileType::is_disk(&body) { super::open(opening) } else { Ok(()) }
        }
    }
}

/// Where the footer at the end stands; very old ones lack its last byte.
fn footer(body: &[u8]) -> Option<usize> {
    let places = [FOOTER, FOOTER - 1].into_iter().filter_map(|size| body.len().checked_sub(size));
    places.into_iter().find(|at| body[*at..].starts_with(COOKIE))
}

/// A disk, and whether it lacks the one that it differs from.
type Found = Result<(Volume, bool), &'static str>;

fn vhd(body: &Bytes) -> Found {
    const FIXED: u32 = 2;
    const DYNAMIC: u32 = 3;
    const DIFFERENCING: u32 = 4;
    let end = footer(body);
    let at = end.or_else(|| body.starts_with(COOKIE).then_some(0)).ok_or("no footer")?;
    let kind = u32_be(body, at + 60).ok_or("its footer ends early")?;
    let size = u64_be(body, at + 48).ok_or("its footer ends early")?;
    if kind == FIXED {
        return Ok((Volume::plain(&body.slice(..end.unwrap_or(body.len()))), false));
    }
    if !matches!(kind, DYNAMIC | DIFFERENCING) {
        return Err("a kind of disk that is not known");
    }
    let header = u64_be(body, at + 16).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
    let header = body.get(header..).filter(|header| header.starts_with(b"cxsparse")).ok_or("no header")?;
    let table = u64_be(header, 16).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
    let count = u32_be(header, 28).ok_or("its header ends early")? as usize;
    let block = u64::from(u32_be(header, 32).ok_or("its header ends early")?);
    if block < 512 || !block.is_power_of_two() {
        return Err("blocks of a size that makes no sense");
    }
    // A map of the sectors that are there stands before each block.
    let bitmap = (block / 512).div_ceil(8).next_multiple_of(512);
    let entries = body.get(table..).ok_or("its table lies behind its end")?.chunks_exact(4).take(count);
    let place = |entry: &[u8]| match u32_be(entry, 0) {
        None | Some(u32::MAX) => None,
        Some(sector) => Some(times(sector, 512) + bitmap),
    };
    Ok((Volume::blocks(body, size, block, entries.map(place).collect()), kind == DIFFERENCING))
}

/// GUIDs as they stand in the file (MS-VHDX 2.2.3.2, 2.6.2).
const BAT: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const DISK_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const SECTOR_SIZE: [u8; 16] = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";

fn vhdx(body: &Bytes) -> Found {
    const TABLES: [usize; 2] = [192 << 10, 256 << 10];
    let region = |wanted: &[u8; 16]| {
        let tables =
            TABLES.iter().filter_map(|at| body.get(*at..(*at).saturating_add(1 << 16).min(body.len())));
        let mut tables = tables.filter(|table| table.starts_with(b"regi"));
        tables.find_map(|table| {
            let entry = table[16..].chunks_exact(32).take(2047).find(|entry| entry.starts_with(wanted))?;
            let at = usize::try_from(u64_at(entry, 16)).ok()?;
            let end = at.saturating_add(u32_le(entry, 24)? as usize).min(body.len());
            body.get(at..end)
        })
    };
    let metadata = region(&METADATA).filter(|table| table.starts_with(b"metadata")).ok_or("no metadata")?;
    let count = usize::from(u16_le(metadata, 10).unwrap_or_default()).min(2047);
    let item = |wanted: &[u8; 16]| {
        let entries = metadata.get(32..)?.chunks_exact(32).take(count);
        let entry = entries.into_iter().find(|entry| entry.starts_with(wanted))?;
        metadata.get(u32_le(entry, 16)? as usize..)
    };
    let parameters = item(&PARAMETERS).ok_or("no size of blocks in its metadata")?;
    let block = u64::from(u32_le(parameters, 0).unwrap_or_default());
    let child = u32_le(parameters, 4).unwrap_or_default() & 2 != 0;
    let size = item(&DISK_SIZE).map(|item| u64_at(item, 0)).ok_or("no size of the disk in its metadata")?;
    let sector = item(&SECTOR_SIZE).and_then(|item| u32_le(item, 0)).unwrap_or(512);
    if !(1 << 20..=256 << 20).contains(&block) || !matches!(sector, 512 | 4096) {
        return Err("blocks or sectors of a size that makes no sense");
    }
    // A map of sectors stands behind the entries of so many blocks.
    let group = usize::try_from(((1_u64 << 23) * u64::from(sector) / block).max(1)).unwrap_or(usize::MAX);
    let table = region(&BAT).ok_or("no table of blocks")?;
    let entries = table.chunks_exact(8).enumerate().filter(|(number, _)| (number + 1) % (group + 1) != 0);
    let place = |(_, entry): (usize, &[u8])| {
        let entry = u64_at(entry, 0);
        // Wholly there, or partly, the rest being in the disk that it differs from.
        matches!(entry & 7, 6 | 7).then_some(entry >> 20 << 20)
    };
    let wanted = usize::try_from(size.div_ceil(block)).unwrap_or(usize::MAX);
    Ok((Volume::blocks(body, size, block, entries.map(place).take(wanted).collect()), child))
}
