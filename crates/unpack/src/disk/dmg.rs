//! Apple's disk images (UDIF): tables of blocks in a property list, each block stored, zero, or compressed by itself. Each
//! table, which mostly is a partition, becomes an image that is opened in its turn.

use std::io::Read;

use flate2::read::ZlibDecoder;
use gatepost_mail::{DefectKind, FileType};
use memchr::memmem;

use crate::codec::{bzip2, xz};
use crate::fields::{u32_be, u64_be};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

const TRAILER: usize = 512;

/// Whether this is a disk image of Apple's.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    trailer(body).is_some()
}

fn trailer(body: &[u8]) -> Option<&[u8]> {
    body.get(body.len().checked_sub(TRAILER)?..).filter(|end| end.starts_with(b"koly\0\0\0\x04"))
}

/// Opens a disk image of Apple's.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some(end) = trailer(&body) else { return Ok(()) };
    let place =
        |at: usize| u64_be(end, at).and_then(|value| usize::try_from(value).ok()).unwrap_or(usize::MAX);
    let (data, list, len) = (place(24), place(216), place(224));
    let list = body.get(list..list.saturating_add(len)).unwrap_or_default();
    let tables = tables(list);
    if tables.is_empty() {
        opening.defective(DefectKind::BadArchive, "no table of blocks");
    }
    for (name, table) in tables {
        opening.check_time()?;
        image(opening, name, &table, data)?;
    }
    Ok(())
}

/// Names and tables of blocks, out of the property list.
fn tables(list: &[u8]) -> Vec<(String, Vec<u8>)> {
    const MOST: usize = 128;
    let Some(start) = memmem::find(list, b"<key>blkx</key>") else { return Vec::new() };
    let section = &list[start..];
    let section = &section[..memmem::find(section, b"</array>").unwrap_or(section.len())];
    let between = |text: &[u8], from: &[u8], to: &[u8]| {
        let start = memmem::find(text, from)? + from.len();
        let end = start + memmem::find(&text[start..], to)?;
        Some(text[start..end].to_vec())
    };
    let dictionaries = memmem::find_iter(section, b"<dict>").take(MOST);
    let read = |at: usize| {
        let dictionary = &section[at..];
        let dictionary = &dictionary[..memmem::find(dictionary, b"</dict>").unwrap_or(dictionary.len())];
        let data = between(dictionary, b"<data>", b"</data>")?;
        let name = memmem::find(dictionary, b"<key>Name</key>")
            .and_then(|at| between(&dictionary[at..], b"<string>", b"</string>"))
            .unwrap_or_default();
        let name = names::clean(&String::from_utf8_lossy(&name)).replace('/', ":");
        Some((name, gatepost_mail::decode::base64(&data)))
    };
    dictionaries.filter_map(read).collect()
}

/// Puts the blocks of one table together.
fn image(opening: &mut Opening, name: String, table: &[u8], data: usize) -> Result<(), Stop> {
    const ZERO: u32 = 0;
    const IGNORED: u32 = 2;
    let chunks: Vec<&[u8]> = table.get(204..).unwrap_or_default().chunks_exact(40).collect();
    let kind = |chunk: &[u8]| u32_be(chunk, 0).unwrap_or_default();
    let empty = |chunk: &&[u8]| matches!(kind(chunk), ZERO | IGNORED | 0x7fff_fffe | 0xffff_ffff);
    if table.starts_with(b"mish") && chunks.iter().all(empty) {
        return Ok(());
    }
    let offset = u64_be(table, 24).and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
    let data = data.saturating_add(offset);
    let mut image = Vec::new();
    let mut broken = None;
    let mut over = None;
    for chunk in chunks {
        opening.check_time()?;
        match block(opening, chunk, kind(chunk), data, &mut image) {
            Ok(End::Complete) => {}
            Ok(End::Over(limit)) => over = Some(limit),
            Ok(End::Truncated | End::Corrupt) => {
                broken = Some((DefectKind::BadArchive, "a damaged block".to_owned()))
            }
            Err(method) => broken = Some((DefectKind::UnknownMethod, format!("blocks packed by {method}"))),
        }
        if over.is_some() {
            break;
        }
    }
    let unread = image.is_empty();
    let id = opening.member(Member { names: vec![name], body: keep(image), unread, ..Member::default() })?;
    if let Some((kind, detail)) = broken {
        opening.defect(kind, id, detail);
    }
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    }
    Ok(())
}

/// Unpacks one block to where it belongs; the name of its method if that is not known.
fn block(
    opening: &mut Opening,
    chunk: &[u8],
    kind: u32,
    data: usize,
    image: &mut Vec<u8>,
) -> Result<End, &'static str> {
    let field = |at: usize| u64_be(chunk, at).unwrap_or_default();
    let size = field(16).saturating_mul(512);
    let start = usize::try_from(field(24)).unwrap_or(usize::MAX).saturating_add(data);
    let (range, _) = crate::fields::cut(&opening.body, start, field(32));
    let packed = opening.body.slice(range);
    let file = opening.body.len() as u64;
    let before = image.len() as u64;
    let end = match kind {
        0 | 2 => opening.drain(&mut std::io::repeat(0).take(size), file, image),
        1 => opening.drain(&mut packed.as_ref(), file, image),
        0x8000_0004 => {
            let made = adc(&packed, size);
            opening.drain(&mut made.as_slice(), file, image)
        }
        0x8000_0005 => opening.drain(&mut ZlibDecoder::new(packed.as_ref()).take(size), file, image),
        0x8000_0006 => opening.decode(file, image, |sink| bzip2::decode(&packed, sink)).1,
        0x8000_0008 => opening.decode(file, image, |sink| xz::decode(&packed, sink, &mut Vec::new())).1,
        0x7fff_fffe | 0xffff_ffff => return Ok(End::Complete),
        other => {
            let pad = opening.drain(&mut std::io::repeat(0).take(size), file, image);
            if let End::Over(_) = pad {
                return Ok(pad);
            }
            return Err(if other == 0x8000_0007 { "LZFSE" } else { "an unknown method" });
        }
    };
    // What follows keeps its place behind a block that is damaged or too long.
    let made = image.len() as u64 - before;
    image.truncate(usize::try_from(before.saturating_add(size)).unwrap_or(usize::MAX));
    match end {
        End::Over(_) => Ok(end),
        _ if made < size => match opening.drain(&mut std::io::repeat(0).take(size - made), file, image) {
            End::Over(limit) => Ok(End::Over(limit)),
            _ => Ok(End::Truncated),
        },
        _ => Ok(end),
    }
}

/// Unpacks Apple Data Compression: runs of bytes as they are, and copies of what was made.
fn adc(packed: &[u8], size: u64) -> Vec<u8> {
    let most = usize::try_from(size).unwrap_or(usize::MAX);
    let mut made: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(&head) = packed.get(at).filter(|_| made.len() < most) {
        let byte = |step: usize| packed.get(at + step).map_or(0, |byte| usize::from(*byte));
        let (length, distance) = match head {
            0x80.. => {
                let length = usize::from(head & 0x7f) + 1;
                let end = (at + 1 + length).min(packed.len());
                made.extend_from_slice(&packed[at + 1..end]);
                at = end;
                continue;
            }
            0x40.. => (usize::from(head & 0x3f) + 4, byte(1) << 8 | byte(2)),
            _ => ((usize::from(head & 0x3f) >> 2) + 3, usize::from(head & 3) << 8 | byte(1)),
        };
        at += if head >= 0x40 { 3 } else { 2 };
        for _ in 0..length {
            let Some(&copied) = made.len().checked_sub(distance + 1).and_then(|place| made.get(place)) else {
                return made;
            };
            made.push(copied);
        }
    }
    made.truncate(most);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adc_is_unpacked() {
        // "abc", then a copy of three from three back, then one of six from one back.
        assert_eq!(adc(b"\x82abc\x00\x02\x42\x00\x00", 512), b"abcabccccccc");
        assert_eq!(adc(b"\x82abc\x00\x02", 4), b"abca");
        for packed in [&b"\xff"[..], b"\x00", b"\x7f\xff\xff", b"\x80"] {
            adc(packed, 512);
        }
    }
}
