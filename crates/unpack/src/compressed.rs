//! Files under one compression: bzip2, xz, lzma, lzip, lz4, zstd and Unix compress. Streams one behind the other make one
//! file, as their programs have it.

use gatepost_mail::{DefectKind, FileType};

use crate::codec::{Fault, bzip2, lz4, lzma, lzw, xz, zstd};
use crate::fields::{u32_le, u64_le};
use crate::opening::{Opening, Stop};
use crate::single::{File, Single, Step};
use crate::zip::crc32;

/// Whether this is a bzip2 file.
pub(crate) fn is_bzip2(body: &[u8], _detected: FileType) -> bool {
    matches!(body, [b'B', b'Z', b'h', b'1'..=b'9', ..])
}

/// Opens a bzip2 file.
pub(crate) fn open_bzip2(opening: &mut Opening) -> Result<(), Stop> {
    let endings = &[("bz2", ""), ("bz", ""), ("tbz", ".tar"), ("tbz2", ".tar"), ("tb2", ".tar")];
    let single = Single { endings, stream: bzip2_stream };
    single.open(opening)
}

fn bzip2_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if !is_bzip2(input, FileType::DATA) {
        return Step::None;
    }
    file.decode(opening, |sink, _| bzip2::decode(input, sink))
}

/// Whether this is an xz file.
pub(crate) fn is_xz(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(xz::MAGIC)
}

/// Opens an xz file.
pub(crate) fn open_xz(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("xz", ""), ("txz", ".tar")], stream: xz_stream };
    single.open(opening)
}

fn xz_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if !input.starts_with(xz::MAGIC) {
        return Step::None;
    }
    file.decode(opening, |sink, complaints| xz::decode(input, sink, complaints))
}

/// Whether this is a file of LZMA alone, which has no mark: a dictionary and a size as its encoders write them.
pub(crate) fn is_lzma(_body: &[u8], detected: FileType) -> bool {
    detected == FileType::LZMA
}

/// Opens a file of LZMA alone.
pub(crate) fn open_lzma(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("lzma", ""), ("tlz", ".tar")], stream: lzma_stream };
    single.open(opening)
}

fn lzma_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if input.len() < opening.body.len() {
        return Step::None;
    }
    let head = || Some((lzma::Properties::of(*input.first()?)?, u64_le(input, 5)?, input.get(13..)?));
    let Some((properties, size, packed)) = head() else { return Step::None };
    let size = (size != u64::MAX).then_some(size);
    file.decode(opening, |sink, _| lzma::decode(packed, properties, size, sink).map(|used| 13 + used))
}

/// Whether this is an lzip file.
pub(crate) fn is_lzip(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(b"LZIP") && body.get(4).is_some_and(|version| *version <= 1)
}

/// Opens an lzip file.
pub(crate) fn open_lzip(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("lz", ""), ("tlz", ".tar")], stream: lzip_stream };
    single.open(opening)
}

/// One member: header, LZMA with an end marker, checksum and sizes.
fn lzip_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    const HEADER: usize = 6;
    if !is_lzip(input, FileType::DATA) {
        return Step::None;
    }
    let trailer = if input[4] == 0 { 12 } else { 20 };
    file.decode(opening, |sink, complaints| {
        let start = sink.mark();
        let packed = input.get(HEADER..).ok_or(Fault::Truncated)?;
        let properties = lzma::Properties { lc: 3, lp: 0, pb: 2 };
        let end = HEADER + lzma::decode(packed, properties, None, sink)?;
        let told = input.get(end..end + trailer).ok_or(Fault::Truncated)?;
        let data = sink.since(start);
        if u32_le(told, 0) != Some(crc32(data)) || u64_le(told, 4) != Some(data.len() as u64) {
            complaints.push("its checksum or size differs");
        }
        Ok(end + trailer)
    })
}

/// Whether this is an lz4 file.
pub(crate) fn is_lz4(body: &[u8], detected: FileType) -> bool {
    body.starts_with(lz4::FRAME) || body.starts_with(lz4::LEGACY) || detected == FileType::LZ4
}

/// Opens an lz4 file.
pub(crate) fn open_lz4(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("lz4", ""), ("tlz4", ".tar")], stream: lz4_stream };
    single.open(opening)
}

fn lz4_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if let Some(len) = skippable(input) {
        return Step::Skip(len);
    }
    if input.starts_with(lz4::LEGACY) {
        return file.decode(opening, |sink, _| lz4::legacy(input, sink));
    }
    if !input.starts_with(lz4::FRAME) {
        return Step::None;
    }
    file.decode(opening, |sink, complaints| lz4::frame(input, sink, complaints))
}

/// Whether this is a zstd file.
pub(crate) fn is_zstd(body: &[u8], detected: FileType) -> bool {
    body.starts_with(zstd::MAGIC) || detected == FileType::ZSTD
}

/// Opens a zstd file.
pub(crate) fn open_zstd(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("zst", ""), ("zstd", ""), ("tzst", ".tar")], stream: zstd_stream };
    single.open(opening)
}

fn zstd_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if let Some(len) = skippable(input) {
        return Step::Skip(len);
    }
    if !input.starts_with(zstd::MAGIC) {
        return Step::None;
    }
    if zstd::needs_dictionary(input) {
        file.complain(DefectKind::UnknownMethod, "zstd with a dictionary that is not in the file");
        return Step::Broken;
    }
    let memory = opening.most_memory();
    file.decode(opening, |sink, complaints| zstd::decode(input, memory, sink, complaints))
}

/// The size of a frame that is to be passed over (RFC 8878 section 3.1.2), which lz4 has too.
fn skippable(input: &[u8]) -> Option<usize> {
    if !matches!(input, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        return None;
    }
    usize::try_from(u32_le(input, 4)?).ok()?.checked_add(8)
}

/// Whether this is a file of Unix compress.
pub(crate) fn is_compress(body: &[u8], _detected: FileType) -> bool {
    matches!(body, [0x1f, 0x9d, flags, ..] if (9..=16).contains(&(flags & 0x1f)))
}

/// Opens a file of Unix compress.
pub(crate) fn open_compress(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("z", ""), ("taz", ".tar")], stream: compress_stream };
    single.open(opening)
}

fn compress_stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if input.len() < opening.body.len() || input.len() < 3 {
        return Step::None;
    }
    file.decode(opening, |sink, _| lzw::decode(&input[3..], input[2], sink).map(|used| used + 3))
}
