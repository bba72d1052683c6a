//! QR codes in pictures, and the links in them.
//!
//! Only pictures of the size and shape in which codes are sent are decoded; a photo or a page in print quality is
//! larger. The libraries for pictures and codes are contained: should one of them panic, the picture has no code.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gatepost_mail::{FeatureKind, FileType};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::opening::{Opening, Stop};

/// Most pixels of a picture that is looked at.
const MOST_PIXELS: usize = 2_600_000;
/// Least width and height: the smallest code with its margin.
const LEAST_SIDE: usize = 25;
/// How much longer than the other a side may be.
const MOST_ASPECT: usize = 4;
/// Pixels above which a picture is halved before codes are looked for: their modules stay large enough.
const HALVED: usize = 1_500_000;
/// Codes of one picture that are read.
const MOST_CODES: usize = 8;

/// Whether this is a picture of the size and shape of one with a code.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    size(body, detected).is_some_and(|(width, height)| {
        width.min(height) >= LEAST_SIDE
            && width.max(height) <= MOST_ASPECT * width.min(height)
            && width.saturating_mul(height) <= MOST_PIXELS
    })
}

/// Looks for codes.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    opening.check_time()?;
    let (body, detected) = (opening.body.clone(), opening.part().detected);
    look(opening, &body, detected);
    Ok(())
}

/// Looks for codes in the bytes of a picture.
pub(crate) fn look(opening: &mut Opening, body: &[u8], detected: FileType) {
    if !is(body, detected) {
        return;
    }
    let Some((width, height)) = size(body, detected) else { return };
    // Four bytes of colour, one of grey, and the working copy of the reader.
    let memory = (width as u64).saturating_mul(height as u64).saturating_mul(8);
    if let Err(limit) = opening.check_memory(memory) {
        opening.over(limit, None);
        return;
    }
    let picture = catch_unwind(AssertUnwindSafe(|| decode(body, detected)));
    if let Some(picture) = picture.ok().flatten() {
        look_at(opening, picture);
    }
}

/// Looks for codes in a picture.
pub(crate) fn look_at(opening: &mut Opening, picture: Picture) {
    let texts = catch_unwind(AssertUnwindSafe(|| codes(picture)));
    tell(opening, texts.unwrap_or_default());
}

/// Notes the links among the texts of codes.
fn tell(opening: &mut Opening, texts: Vec<String>) {
    for text in texts {
        let Some(link) = link(&text) else { continue };
        opening.feature(FeatureKind::QrLink, &link);
        opening.link(link);
    }
}

/// The link that a phone would open for the text of a code.
fn link(text: &str) -> Option<String> {
    let text = text.trim();
    let lower = text.get(..16).unwrap_or(text).to_ascii_lowercase();
    for (prefix, skip) in [("urlto:", 6), ("url:", 4)] {
        if lower.starts_with(prefix) {
            return link(text.get(skip..)?);
        }
    }
    if lower.starts_with("mebkm:") {
        let at = text.find("URL:").or_else(|| text.find("url:"))? + 4;
        return Some(text[at..].split(';').next()?.replace("\\:", ":"));
    }
    let has_scheme = ["http:", "https:", "ftp:", "bitcoin:", "intent:", "market:"]
        .iter()
        .any(|scheme| lower.starts_with(scheme));
    if has_scheme {
        return Some(text.to_owned());
    }
    let bare = lower.starts_with("www.")
        || (!text.contains(char::is_whitespace) && text.contains('/') && is_host(text));
    bare.then(|| format!("http://{text}"))
}

/// Whether a text begins with a host's name below a known suffix.
fn is_host(text: &str) -> bool {
    let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    psl::domain(host.as_bytes()).is_some_and(|domain| domain.suffix().is_known())
}

/// Width and height that the header tells.
fn size(body: &[u8], detected: FileType) -> Option<(usize, usize)> {
    let big = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?) as usize);
    let little = |at: usize| Some(usize::from(u16::from_le_bytes(*body.get(at..)?.first_chunk()?)));
    match detected {
        FileType::PNG => Some((big(16)?, big(20)?)),
        FileType::GIF => Some((little(6)?, little(8)?)),
        FileType::BMP => Some((
            crate::fields::u32_le(body, 18)? as usize,
            (crate::fields::u32_le(body, 22)? as i32).unsigned_abs() as usize,
        )),
        FileType::JPEG => jpeg_size(body),
        _ => None,
    }
}

/// The size in the frame header of a JPEG.
fn jpeg_size(body: &[u8]) -> Option<(usize, usize)> {
    const MOST_SEGMENTS: usize = 1000;
    let short = |at: usize| Some(usize::from(u16::from_be_bytes(*body.get(at..)?.first_chunk()?)));
    let mut at = 2;
    for _ in 0..MOST_SEGMENTS {
        match *body.get(at..)?.first_chunk::<2>()? {
            [0xff, 0xff] => at += 1,
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf] => {
                return Some((short(at + 7)?, short(at + 5)?));
            }
            [0xff, 0xd0..=0xd9 | 0x01] => at += 2,
            [0xff, _] => at = at.checked_add(2)?.checked_add(short(at + 2)?)?,
            _ => at += 1,
        }
    }
    None
}

/// A picture in shades of grey, row by row.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) grey: Vec<u8>,
}

fn decode(body: &[u8], detected: FileType) -> Option<Picture> {
    match detected {
        FileType::PNG => png(body),
        FileType::JPEG => jpeg(body),
        FileType::GIF => gif(body),
        FileType::BMP => bmp(body),
        _ => None,
    }
}

/// The brightness of a colour, on white where it is transparent.
fn brightness(red: u8, green: u8, blue: u8, alpha: u8) -> u8 {
    let [red, green, blue, alpha] = [red, green, blue, alpha].map(u32::from);
    let bright = (red * 77 + green * 150 + blue * 29) >> 8;
    let mixed = (bright * alpha + 255 * (255 - alpha)) / 255;
    mixed.to_le_bytes()[0]
}

fn png(body: &[u8]) -> Option<Picture> {
    let mut decoder =
        png::Decoder::new_with_limits(Cursor::new(body), png::Limits { bytes: MOST_PIXELS * 8 });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size().filter(|size| *size <= MOST_PIXELS * 4)?];
    // Pictures that end early are shown as far as they go.
    let whole = reader.next_frame(&mut pixels).ok();
    let (width, height) = whole
        .map_or_else(|| (reader.info().width, reader.info().height), |frame| (frame.width, frame.height));
    let grey = match reader.output_color_type().0 {
        png::ColorType::Grayscale => pixels,
        png::ColorType::GrayscaleAlpha => {
            pixels.chunks_exact(2).map(|p| brightness(p[0], p[0], p[0], p[1])).collect()
        }
        png::ColorType::Rgb => pixels.chunks_exact(3).map(|p| brightness(p[0], p[1], p[2], 255)).collect(),
        png::ColorType::Rgba => pixels.chunks_exact(4).map(|p| brightness(p[0], p[1], p[2], p[3])).collect(),
        png::ColorType::Indexed => return None,
    };
    Some(Picture { width: width as usize, height: height as usize, grey })
}

fn jpeg(body: &[u8]) -> Option<Picture> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::Luma)
        .set_max_width(1 << 14)
        .set_max_height(1 << 14)
        .jpeg_set_max_scans(64);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(body), options);
    decoder.decode_headers().ok()?;
    let info = decoder.info()?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    // The header that counts may be another than the one looked at before.
    if width * height > MOST_PIXELS {
        return None;
    }
    let grey = decoder.decode().ok()?;
    Some(Picture { width, height, grey })
}

fn gif(body: &[u8]) -> Option<Picture> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    options.set_memory_limit(gif::MemoryLimit::Bytes(std::num::NonZeroU64::new(MOST_PIXELS as u64 * 4)?));
    let mut decoder = options.read_info(Cursor::new(body)).ok()?;
    let frame = decoder.read_next_frame().ok()??;
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let grey = frame.buffer.chunks_exact(4).map(|p| brightness(p[0], p[1], p[2], p[3])).collect();
    Some(Picture { width, height, grey })
}

/// Bitmaps of 1, 8, 24 or 32 bits without compression.
fn bmp(body: &[u8]) -> Option<Picture> {
    let number = |at: usize| crate::fields::u32_le(body, at).map(|number| number as usize);
    let (data, header) = (number(10)?, number(14)?);
    let (width, height) = size(body, FileType::BMP)?;
    let bits = usize::from(crate::fields::u16_le(body, 28)?);
    if header < 40 || number(30)? != 0 || !matches!(bits, 1 | 8 | 24 | 32) {
        return None;
    }
    let top_down = (crate::fields::u32_le(body, 22)? as i32) < 0;
    let row = (width * bits).div_ceil(32) * 4;
    let palette = |index: usize| {
        let [blue, green, red, _] = *body.get(14 + header + 4 * index..)?.first_chunk::<4>()?;
        Some(brightness(red, green, blue, 255))
    };
    let mut grey = Vec::with_capacity(width * height);
    for line in 0..height {
        let line = if top_down { line } else { height - 1 - line };
        let line = body.get(data.checked_add(line * row)?..)?.get(..row)?;
        for place in 0..width {
            grey.push(match bits {
                1 => palette(usize::from(line[place / 8] >> (7 - place % 8) & 1))?,
                8 => palette(usize::from(line[place]))?,
                _ => {
                    let pixel = &line[place * bits / 8..];
                    brightness(pixel[2], pixel[1], pixel[0], 255)
                }
            });
        }
    }
    Some(Picture { width, height, grey })
}

/// The texts of the codes in a picture.
fn codes(picture: Picture) -> Vec<String> {
    let picture = prepared(picture);
    if picture.grey.len() != picture.width * picture.height || picture.grey.is_empty() {
        return Vec::new();
    }
    let found = read(&picture, |grey| grey);
    // Light on dark is what phones read as well.
    let sum: u64 = picture.grey.iter().map(|shade| u64::from(*shade)).sum();
    if found.is_empty() && sum < 160 * picture.grey.len() as u64 {
        read(&picture, |grey| 255 - grey)
    } else {
        found
    }
}

fn read(picture: &Picture, shade: impl Fn(u8) -> u8) -> Vec<String> {
    let pixel = |x: usize, y: usize| shade(picture.grey[y * picture.width + x]);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(picture.width, picture.height, pixel);
    let grids = image.detect_grids();
    grids.into_iter().take(MOST_CODES).filter_map(|grid| grid.decode().ok()).map(|(_, text)| text).collect()
}

/// A picture as the reader likes it: large ones halved, tiny ones doubled, and a margin around those without any.
fn prepared(picture: Picture) -> Picture {
    const TINY: usize = 120;
    const MARGIN: usize = 16;
    let Picture { width, height, grey } = picture;
    if grey.len() < width * height || width == 0 || height == 0 {
        return Picture { width: 0, height: 0, grey: Vec::new() };
    }
    if width * height > HALVED {
        let (half_width, half_height) = (width / 2, height / 2);
        let mut half = Vec::with_capacity(half_width * half_height);
        for y in 0..half_height {
            for x in 0..half_width {
                let at = 2 * y * width + 2 * x;
                let sum = [at, at + 1, at + width, at + width + 1]
                    .map(|at| u16::from(grey[at]))
                    .iter()
                    .sum::<u16>();
                half.push((sum / 4).to_le_bytes()[0]);
            }
        }
        return Picture { width: half_width, height: half_height, grey: half };
    }
    let scale = if width.max(height) < TINY { 4 } else { 1 };
    let corners = [0, width - 1, (height - 1) * width, height * width - 1];
    // Three corners of a code are dark by themselves: without a margin all four tell little, with one they tell its colour.
    let dark = corners.iter().all(|at| grey[*at] < 96) && edge_is_dark(&grey, width);
    let (new_width, new_height) = (width * scale + 2 * MARGIN, height * scale + 2 * MARGIN);
    let mut out = vec![if dark { 0 } else { 255 }; new_width * new_height];
    for y in 0..height * scale {
        for x in 0..width * scale {
            out[(y + MARGIN) * new_width + x + MARGIN] = grey[y / scale * width + x / scale];
        }
    }
    Picture { width: new_width, height: new_height, grey: out }
}

/// Whether nearly all of the first row is dark.
fn edge_is_dark(grey: &[u8], width: usize) -> bool {
    grey[..width].iter().filter(|shade| **shade < 96).count() * 10 >= width * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_codes() {
        for (text, wanted) in [
            ("https://a.example/x", Some("https://a.example/x")),
            ("HTTP://A.EXAMPLE", Some("HTTP://A.EXAMPLE")),
            ("URL:https://a.example", Some("https://a.example")),
            ("MEBKM:TITLE:x;URL:https\\://a.example/;;", Some("https://a.example/")),
            ("www.example.com", Some("http://www.example.com")),
            ("example.com/login", Some("http://example.com/login")),
            ("WIFI:S:home;T:WPA;P:secret;;", None),
            ("BEGIN:VCARD", None),
            ("just text / and more", None),
            ("", None),
        ] {
            assert_eq!(link(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn sizes_that_lie_are_bounded() {
        let png = |width: u32, height: u32| {
            [
                b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
                &width.to_be_bytes()[..],
                &height.to_be_bytes(),
                &[8, 6, 0, 0, 0],
            ]
            .concat()
        };
        for (width, height, wanted) in [
            (300, 300, true),
            (u32::MAX, u32::MAX, false),
            (10, 10, false),
            (1000, 100, false),
            (4000, 3000, false),
        ] {
            assert_eq!(is(&png(width, height), FileType::PNG), wanted, "{width}x{height}");
        }
        assert!(decode(&png(300, 300), FileType::PNG).is_none_or(|picture| codes(picture).is_empty()));
    }
}
