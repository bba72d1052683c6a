//! Encodings that compact fonts bring along (Adobe technical note 5176): TeX and Ghostscript leave them to the font.

use super::encoding::Encoding;

/// Strings that every such font has without saying so.
const STANDARD_STRINGS: u16 = 391;

/// The names of glyphs by code; a character that has a well-known name stands for that. None if the font makes no sense, or
/// has the standard encoding.
pub(super) fn encoding(font: &[u8]) -> Option<Vec<(u8, String)>> {
    let names = Index::read(font, usize::from(*font.get(2)?))?;
    let tops = Index::read(font, names.end)?;
    let strings = Index::read(font, tops.end)?;
    let top = Top::read(tops.get(font, 0)?);
    if top.encoding < 2 {
        return None;
    }
    let glyphs = Index::read(font, top.glyphs)?.count;
    let charset = charset(font, top.charset, glyphs);
    let name = |string: u16| match string.checked_sub(STANDARD_STRINGS) {
        None => standard(string).map(String::from),
        Some(own) => strings.get(font, own.into()).map(|name| String::from_utf8_lossy(name).into_owned()),
    };
    let glyph_name = |glyph: usize| name(*charset.get(glyph.checked_sub(1)?)?);
    let mut out = Vec::new();
    let format = *font.get(top.encoding)?;
    let mut at = top.encoding + 2;
    let mut glyph = 1;
    for _ in 0..*font.get(top.encoding + 1)? {
        let first = *font.get(at)?;
        let more = if format & 0x7f == 0 { 0 } else { *font.get(at + 1)? };
        at += if format & 0x7f == 0 { 1 } else { 2 };
        for code in first..=first.saturating_add(more) {
            out.extend(glyph_name(glyph).map(|name| (code, name)));
            glyph += 1;
        }
    }
    if format & 0x80 != 0 {
        for place in 0..usize::from(*font.get(at)?) {
            let (code, string) = (*font.get(at + 1 + place * 3)?, number(font, at + 2 + place * 3, 2)?);
            out.extend(name(u16::try_from(string).ok()?).map(|name| (code, name)));
        }
    }
    Some(out)
}

/// The character of a standard string, of those that stand for one.
fn standard(string: u16) -> Option<char> {
    const FIRST_OTHER: u16 = 150;
    const OTHER: &str = "¹¬µ™Ð½±Þ¼÷¦°þ¾²®−ð×³©ÁÂÄÀÅÃÇÉÊËÈÍÎÏÌÑÓÔÖÒÕŠÚÛÜÙÝŸŽáâäàåãçéêëèíîïìñóôöòõšúûüùýÿž";
    match string.checked_sub(FIRST_OTHER) {
        Some(other) => OTHER.chars().nth(other.into()),
        // The first ones are in the order of the standard encoding.
        None => {
            let mut characters = (0..=u8::MAX).filter_map(|code| Encoding::Standard.character(code));
            characters.nth(string.checked_sub(1)?.into())
        }
    }
}

/// Where things lie in a font.
#[derive(Debug, Default)]
struct Top {
    charset: usize,
    encoding: usize,
    glyphs: usize,
}

impl Top {
    fn read(dict: &[u8]) -> Top {
        let mut top = Top::default();
        let mut last = 0;
        let mut at = 0;
        while let Some(&first) = dict.get(at) {
            at += 1;
            let length = match first {
                28 => 2,
                29 => 4,
                247..=254 | 12 => 1,
                // A fraction, up to the half of a byte that ends it.
                30 => dict[at..].iter().position(|byte| byte & 15 == 15).map_or(dict.len(), |end| end + 1),
                _ => 0,
            };
            let tail = number(dict, at, length.min(4)).unwrap_or(0);
            match first {
                28 | 29 => last = tail,
                32..=246 => last = usize::from(first).saturating_sub(139),
                247..=250 => last = (usize::from(first) - 247) * 256 + tail + 108,
                15 => top.charset = last,
                16 => top.encoding = last,
                17 => top.glyphs = last,
                _ => {}
            }
            at += length;
        }
        top
    }
}

/// The string that names each glyph but the first.
fn charset(font: &[u8], at: usize, glyphs: usize) -> Vec<u16> {
    const PREDEFINED: usize = 2;
    if at <= PREDEFINED {
        return (1..=228).collect();
    }
    let format = font.get(at).copied().unwrap_or_default();
    let mut out = Vec::new();
    let mut at = at + 1;
    while out.len() + 1 < glyphs {
        let Some(first) = number(font, at, 2) else { break };
        let size = match format {
            0 => 0,
            1 => 1,
            _ => 2,
        };
        let more = number(font, at + 2, size).unwrap_or(0);
        at += 2 + size;
        out.extend((first..=first + more).filter_map(|string| u16::try_from(string).ok()));
    }
    out
}

/// A list of pieces.
struct Index {
    count: usize,
    /// Bytes of a place.
    size: usize,
    places: usize,
    /// Where what follows begins.
    end: usize,
}

impl Index {
    fn read(font: &[u8], at: usize) -> Option<Index> {
        let count = number(font, at, 2)?;
        if count == 0 {
            return Some(Index { count, size: 1, places: at + 2, end: at + 2 });
        }
        let size = usize::from(*font.get(at + 2)?);
        let mut index = Index { count, size, places: at + 3, end: 0 };
        index.end = index.place(font, count)?;
        (1..=4).contains(&size).then_some(index)
    }

    fn get<'f>(&self, font: &'f [u8], piece: usize) -> Option<&'f [u8]> {
        if piece >= self.count {
            return None;
        }
        font.get(self.place(font, piece)?..self.place(font, piece + 1)?)
    }

    fn place(&self, font: &[u8], piece: usize) -> Option<usize> {
        let before = self.places + (self.count + 1) * self.size;
        number(font, self.places + piece * self.size, self.size)?.checked_add(before)?.checked_sub(1)
    }
}

/// A number of up to four bytes, the big end first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?).filter(|bytes| bytes.len() <= 4)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A font of two glyphs: `A` as code 1, and one with a name of its own as code 7.
    fn font() -> Vec<u8> {
        let head = b"\x01\x00\x04\x01".to_vec();
        let index = |piece: &[u8]| [&[0, 1, 1, 1, piece.len() as u8 + 1][..], piece].concat();
        let names = index(b"F");
        let strings = index(b"Pay");
        let top_length = 5 + 9;
        let first = head.len() + names.len() + top_length + strings.len();
        let place = |at: usize| [28, (at >> 8) as u8, at as u8];
        let (charset, encoding, glyphs) = (first, first + 5, first + 9);
        let top =
            [&place(charset)[..], &[15], &place(encoding), &[16], &place(glyphs)[..2], &[glyphs as u8, 17]]
                .concat();
        let top = [&[0, 1, 1, 1, top.len() as u8 + 1][..], &top].concat();
        let shift = top.len() - top_length;
        let fix = |mut top: Vec<u8>| {
            for at in [7, 11, 15] {
                top[at] += shift as u8;
            }
            top
        };
        let charset = [&[0, 0, 34][..], &391u16.to_be_bytes()].concat();
        [
            head,
            names,
            fix(top),
            strings,
            charset,
            b"\x00\x02\x01\x07".to_vec(),
            b"\0\x03\x01\x01\x02\x03\x04abc".to_vec(),
        ]
        .concat()
    }

    #[test]
    fn codes_have_the_names_of_their_glyphs() {
        let font = font();
        assert_eq!(encoding(&font), Some(vec![(1, "A".to_owned()), (7, "Pay".to_owned())]));
        for end in 0..font.len() {
            encoding(&font[..end]);
            for byte in [0, 1, 30, 0x7f, 0x80, 0xff] {
                let mut broken = font.clone();
                broken[end] = byte;
                encoding(&broken);
            }
        }
    }

    #[test]
    fn standard_strings() {
        for (string, wanted) in [
            (0, None),
            (1, Some(' ')),
            (34, Some('A')),
            (96, Some('¡')),
            (149, Some('ß')),
            (150, Some('¹')),
            (228, Some('ž')),
            (229, None),
        ] {
            assert_eq!(standard(string), wanted, "{string}");
        }
    }
}
