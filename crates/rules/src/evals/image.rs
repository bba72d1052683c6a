//! SpamAssassin's ImageInfo: how large the attached pictures are.

use std::collections::{BTreeSet, HashMap};

use super::{Function, Native, number, of, text};
use crate::engine::{Answer, Call};

/// The pictures of one type, or of all.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    count: usize,
    area: u64,
    /// Height and width.
    sizes: BTreeSet<(u64, u64)>,
    names: BTreeSet<Vec<u8>>,
}

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("image_count", |native, call| within(call, native.images(&text(call, 0)).map(|all| all.count as f64))),
    ("pixel_coverage", |native, call| within(call, native.images(&text(call, 0)).map(|all| all.area as f64))),
    ("image_named", |native, call| {
        of(native.images("all").is_some_and(|all| all.names.contains(text(call, 0).as_bytes())))
    }),
    ("image_name_regex", |native, call| {
        let names = native.images("all").into_iter().flat_map(|all| all.names.iter().map(Vec::as_slice));
        native.any_matches(call, 0, names)
    }),
    ("image_to_text_ratio", |native, call| {
        let length = native.length(call);
        let area = native.images(&text(call, 0)).map_or(0, |all| all.area);
        let ratio = length as f64 / area as f64;
        of(length > 0 && area > 0 && ratio >= number(call, 1) && ratio < number(call, 2))
    }),
    ("image_size_exact", |native, call| {
        let size = (number(call, 1) as u64, number(call, 2) as u64);
        of(native.images(&text(call, 0)).is_some_and(|all| all.sizes.contains(&size)))
    }),
    ("image_size_range", |native, call| {
        let most =
            |index: usize, size: u64| call.args.get(index).is_none_or(|_| size as f64 <= number(call, index));
        let fits = |(height, width): &(u64, u64)| {
            *height as f64 >= number(call, 1)
                && *width as f64 >= number(call, 2)
                && most(3, *height)
                && most(4, *width)
        };
        of(native.images(&text(call, 0)).is_some_and(|all| all.sizes.iter().any(fits)))
    }),
];

fn within(call: &Call<'_>, value: Option<f64>) -> Answer {
    let fits =
        |value: f64| value >= number(call, 1) && call.args.get(2).is_none_or(|_| value <= number(call, 2));
    of(call.args.len() > 1 && value.is_some_and(fits))
}

/// The pictures by type: `gif`, `png`, `jpeg`, `all`.
pub(super) fn look(native: &Native<'_>) -> HashMap<&'static str, Pictures> {
    let mut found: HashMap<&'static str, Pictures> =
        ["gif", "png", "jpeg", "all"].map(|kind| (kind, Pictures::default())).into();
    for part in native.texts.tree().leaves() {
        let kind = match part.kind.as_slice() {
            b"image/gif" => "gif",
            b"image/png" => "png",
            b"image/jpeg" | b"image/jpg" => "jpeg",
            _ => continue,
        };
        if !part.header.last(b"content-transfer-encoding").eq_ignore_ascii_case(b"base64") {
            continue;
        }
        let size = match kind {
            "gif" => gif(part.decoded()),
            "png" => png(part.decoded()),
            _ => jpeg(part.decoded()),
        };
        for kind in [kind, "all"] {
            let all = found.entry(kind).or_default();
            all.count += 1;
            let Some((height, width)) = size.filter(|(height, width)| *height > 0 && *width > 0) else {
                continue;
            };
            all.area = all.area.saturating_add(height.saturating_mul(width));
            all.sizes.insert((height, width));
            all.names.extend(part.name.clone());
        }
    }
    found
}

fn gif(data: &[u8]) -> Option<(u64, u64)> {
    let rest = data.strip_prefix(b"GIF87a").or_else(|| data.strip_prefix(b"GIF89a"))?;
    let &[a, b, c, d, ..] = rest else { return None };
    Some((u16::from_le_bytes([c, d]).into(), u16::from_le_bytes([a, b]).into()))
}

fn png(data: &[u8]) -> Option<(u64, u64)> {
    let mut rest = data.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        rest = behind;
        if &head[4..] == b"IEND" {
            return None;
        }
        if *head == *b"\0\0\0\x0dIHDR" {
            let sizes = rest.first_chunk::<8>()?;
            let number = |at: usize| {
                u64::from(u32::from_be_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]))
            };
            return Some((number(4), number(0)));
        }
    }
    None
}

fn jpeg(data: &[u8]) -> Option<(u64, u64)> {
    let mut rest = data.strip_prefix(b"\xff\xd8")?;
    loop {
        let &[0xff, mark, high, low, ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if matches!(mark, 0xda | 0xd9) || length < 2 {
            return None;
        }
        if matches!(mark, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) {
            let &[_, a, b, c, d, ..] = rest.get(4..)? else { return None };
            return Some((u16::from_be_bytes([a, b]).into(), u16::from_be_bytes([c, d]).into()));
        }
        rest = rest.get(2 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(gif(b"GIF89a\x10\x00\x20\x00\x80\x00\x00"), Some((32, 16)));
        assert_eq!(gif(b"GIF88a\x10\x00\x20\x00"), None);
        assert_eq!(png(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x10\0\0\0\x20\x08"), Some((32, 16)));
        assert_eq!(png(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0"), None);
        assert_eq!(jpeg(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x20\0\x10\x03"), Some((32, 16)));
        assert_eq!(jpeg(b"\xff\xd8\xff\xd9"), None);
    }
}
