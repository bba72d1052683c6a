//! Files of a Macintosh, which have two forks, in one file: AppleSingle and AppleDouble (RFC 1740), MacBinary (I to III).

use gatepost_mail::{DefectKind, FileType};

use crate::fields::{u16_be, u32_be};
use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces;

/// Whether this is AppleSingle or AppleDouble.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(b"\0\x05\x16\0") || body.starts_with(b"\0\x05\x16\x07")
}

/// Opens AppleSingle or AppleDouble: a table of entries, each of a kind.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    const DATA: u32 = 1;
    const RESOURCES: u32 = 2;
    const REAL_NAME: u32 = 3;
    const HEADER: usize = 26;
    let body = opening.body.clone();
    let count = u16_be(&body, 24).map_or(0, usize::from);
    let table = body.get(HEADER..).unwrap_or_default();
    let entries: Vec<&[u8]> = table.chunks_exact(12).take(count).collect();
    if entries.len() < count || count == 0 {
        opening.defective(DefectKind::TruncatedArchive, "its table of entries ends early");
    }
    let field = |entry: &[u8], at: usize| u32_be(entry, at).unwrap_or_default();
    let content =
        |entry: &[u8]| crate::fields::cut(&body, field(entry, 4) as usize, field(entry, 8).into()).0;
    let real = entries.iter().find(|entry| field(entry, 0) == REAL_NAME).map(|entry| &body[content(entry)]);
    // AppleDouble's file beside the one with the data is called like it, with ._ or % before.
    let own = opening.name().map(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
    let own = own.map(|name| name.trim_start_matches("._").trim_start_matches('%').to_owned());
    let mut all = real.map(|name| names::readings(name, false)).unwrap_or_default();
    own.into_iter().for_each(|name| names::add(&mut all, name));
    for entry in entries {
        opening.check_time()?;
        let (kind, start, size) = (field(entry, 0), field(entry, 4) as usize, field(entry, 8));
        if size > 0 && matches!(kind, DATA | RESOURCES) {
            let all = if kind == DATA { all.clone() } else { resources(&all) };
            pieces::stored(opening, all, start, size.into())?;
        }
    }
    Ok(())
}

/// Whether this is MacBinary.
pub(crate) fn is_mac_binary(_body: &[u8], detected: FileType) -> bool {
    detected == FileType::MACBINARY
}

/// Opens MacBinary: a header of 128 bytes, then both forks, each padded to as many.
pub(crate) fn open_mac_binary(opening: &mut Opening) -> Result<(), Stop> {
    const BLOCK: u64 = 128;
    let body = opening.body.clone();
    let Some(head) = body.first_chunk::<128>() else { return Ok(()) };
    let all = names::readings(&head[2..2 + usize::from(head[1]).min(63)], false);
    let second = u64::from(u16_be(head, 120).unwrap_or_default()).next_multiple_of(BLOCK);
    let size = |at: usize| u64::from(u32_be(head, at).unwrap_or_default());
    let (data, resource) = (size(83), size(87));
    let start = BLOCK + second;
    let behind = start + data.next_multiple_of(BLOCK);
    if data > 0 {
        pieces::stored(opening, all.clone(), start as usize, data)?;
    }
    if resource > 0 {
        pieces::stored(opening, resources(&all), behind as usize, resource)?;
    }
    Ok(())
}

/// Names of a resource fork, as macOS names it.
pub(crate) fn resources(all: &[String]) -> Vec<String> {
    all.iter().map(|name| format!("{name}/..namedfork/rsrc")).collect()
}
