//! Pictures in a PDF, for the QR codes in them: a letter that asks to scan a code is how links get past filters.

use gatepost_mail::Limit;

use super::document::Document;
use super::object::{Dict, Object};
use crate::opening::{End, Opening, Stop};
use crate::qr::{self, Picture};

/// Pictures of one document that are looked at.
const MOST: usize = 8;
/// Least and most pixels of a side: a code on a page is never as large as the page in print quality.
const SIDES: std::ops::RangeInclusive<usize> = 21..=1200;

/// Looks for codes in the pictures that are nearly square.
pub(super) fn codes(opening: &mut Opening, document: &Document) -> Result<(), Stop> {
    let mut looked = 0;
    for (place, entry) in document.entries.iter().enumerate() {
        let Some(dict) = entry.object.dict() else { continue };
        if !dict.is(b"Subtype", b"Image") || !document.has_stream(place) {
            continue;
        }
        let side =
            |key: &[u8]| document.get(dict, key).and_then(Object::count).filter(|side| SIDES.contains(side));
        let (Some(width), Some(height)) = (side(b"Width"), side(b"Height")) else { continue };
        if width.max(height) > 2 * width.min(height) {
            continue;
        }
        opening.check_time()?;
        looked += 1;
        if looked > MOST {
            return Ok(());
        }
        let content = document.content(opening, place);
        if let End::Over(limit) = content.end {
            opening.over(limit, None);
            if matches!(limit, Limit::Bytes | Limit::Time) {
                return Ok(());
            }
        }
        if content.data.starts_with(b"\xff\xd8\xff") {
            qr::look(opening, &content.data, gatepost_mail::FileType::JPEG);
        } else if let Some(picture) = grey(document, dict, width, height, &content.data) {
            qr::look_at(opening, picture);
        }
    }
    Ok(())
}

/// Samples (ISO 32000-1 section 8.9.5) as shades of grey, by their colour space as far as it is a plain one.
fn grey(document: &Document, dict: &Dict, width: usize, height: usize, data: &[u8]) -> Option<Picture> {
    let bits = document.get(dict, b"BitsPerComponent").and_then(Object::count).unwrap_or(1);
    let space = document.get(dict, b"ColorSpace");
    let palette = space.and_then(|space| palette(document, space));
    let row = data.len() / height;
    let colors = if palette.is_some() { 1 } else { (row * 8 / bits.max(1)) / width };
    if !matches!(bits, 1 | 2 | 4 | 8) || !matches!(colors, 1 | 3 | 4) {
        return None;
    }
    let row = (width * bits * colors).div_ceil(8);
    let most = (1usize << bits) - 1;
    let sample = |line: usize, place: usize| {
        let at = place * bits;
        let byte = data.get(line * row + at / 8)?;
        Some(usize::from(*byte) >> (8 - bits - at % 8) & most)
    };
    let mut grey = Vec::with_capacity(width * height);
    for line in 0..height {
        for column in 0..width {
            let value = |color: usize| sample(line, column * colors + color);
            let shade = match &palette {
                Some(palette) => palette.get(value(0)?).copied().unwrap_or(255),
                None => {
                    let sum =
                        (0..colors.min(3)).map(value).sum::<Option<usize>>()? * 255 / (most * colors.min(3));
                    // Of four colours the darkest is ink by itself, and more ink is darker.
                    let shade = if colors == 4 {
                        255usize.saturating_sub(sum.max(value(3)? * 255 / most))
                    } else {
                        sum
                    };
                    u8::try_from(shade).unwrap_or(255)
                }
            };
            grey.push(shade);
        }
    }
    Some(Picture { width, height, grey })
}

/// Shades of an indexed colour space: `[/Indexed base most table]`.
fn palette(document: &Document, space: &Object) -> Option<Vec<u8>> {
    let [kind, base, _most, table] = space.array()? else { return None };
    let kind = document.resolve(kind).name()?;
    if !matches!(kind, b"Indexed" | b"I") {
        return None;
    }
    let grey = matches!(document.resolve(base).name(), Some(b"DeviceGray" | b"G" | b"CalGray"));
    let table = document.resolve(table).string()?;
    let shades = table.chunks(if grey { 1 } else { 3 });
    Some(
        shades
            .map(|color| {
                u8::try_from(color.iter().map(|c| usize::from(*c)).sum::<usize>() / color.len().max(1))
                    .unwrap_or(255)
            })
            .collect(),
    )
}
