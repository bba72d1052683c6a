//! CMaps (ISO 32000-1 section 9.7.5, Adobe technical notes 5014 and 5411): how long codes are, and the text or the glyphs that
//! they stand for.

use super::super::object::{Object, Parser, is_regular};

/// Ranges that are kept of one CMap.
const MOST: usize = 100_000;
/// Bytes of the text that one code stands for.
const LONGEST: usize = 512;

/// A CMap as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Cmap {
    /// Lengths of codes in bytes, with the least and the greatest of each range.
    spaces: Vec<(usize, u32, u32)>,
    /// What ranges of codes stand for, by their first.
    ranges: Vec<Range>,
}

#[derive(Debug)]
struct Range {
    first: u32,
    last: u32,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// The number of the first one's glyph.
    Glyph(u32),
    /// The first one's text in UTF-16, the big end first; those that follow differ in the last unit.
    Text(Vec<u16>),
}

impl Cmap {
    pub(super) fn read(data: &[u8]) -> Cmap {
        let mut cmap = Cmap::default();
        let mut operands = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let mut room = MOST;
            let mut parser = Parser::new(data, at, &mut room);
            let object = parser.object();
            at = parser.at;
            match object {
                // What stands between the words is one list, however many it says there are.
                Some(object) if operands.len() < 3 * MOST => operands.push(object),
                Some(_) => {}
                None => {
                    let length = data[at..].iter().take_while(|byte| is_regular(**byte)).count();
                    cmap.word(&data[at..at + length], &mut operands);
                    at += length.max(1);
                }
            }
        }
        // Of those that begin alike the last counts.
        cmap.ranges.sort_by_key(|range| range.first);
        cmap
    }

    fn word(&mut self, word: &[u8], operands: &mut Vec<Object>) {
        match word {
            b"endcodespacerange" => operands.chunks_exact(2).for_each(|pair| self.space(pair)),
            b"endbfchar" => operands.chunks_exact(2).for_each(|pair| {
                if let (Some((code, _)), Some(text)) = (code(&pair[0]), text(&pair[1])) {
                    self.push(Range { first: code, last: code, target: Target::Text(text) });
                }
            }),
            b"endbfrange" => operands.chunks_exact(3).for_each(|three| self.texts(three)),
            b"endcidchar" => operands.chunks_exact(2).for_each(|pair| {
                if let (Some((code, _)), Some(glyph)) = (code(&pair[0]), number(&pair[1])) {
                    self.push(Range { first: code, last: code, target: Target::Glyph(glyph) });
                }
            }),
            b"endcidrange" => operands.chunks_exact(3).for_each(|three| {
                if let [Some((first, _)), Some((last, _))] = [code(&three[0]), code(&three[1])]
                    && let Some(glyph) = number(&three[2])
                {
                    self.push(Range { first, last, target: Target::Glyph(glyph) });
                }
            }),
            _ => {}
        }
        operands.clear();
    }

    fn space(&mut self, pair: &[Object]) {
        const MOST_SPACES: usize = 32;
        if let (Some((first, length)), Some((last, _))) = (code(&pair[0]), code(&pair[1]))
            && self.spaces.len() < MOST_SPACES
        {
            self.spaces.push((length, first, last));
        }
    }

    fn texts(&mut self, three: &[Object]) {
        let [Some((first, _)), Some((last, _))] = [code(&three[0]), code(&three[1])] else { return };
        if let Some(each) = three[2].array() {
            for (code, item) in (first..=last).zip(each) {
                if let Some(text) = text(item) {
                    self.push(Range { first: code, last: code, target: Target::Text(text) });
                }
            }
        } else if let Some(text) = text(&three[2]) {
            self.push(Range { first, last, target: Target::Text(text) });
        }
    }

    fn push(&mut self, range: Range) {
        if self.ranges.len() < MOST && range.first <= range.last {
            self.ranges.push(range);
        }
    }

    /// The next code of a string, and how many bytes it has, one at least; `usual` where the map does not say.
    pub(super) fn next(&self, bytes: &[u8], usual: usize) -> (u32, usize) {
        const LONGEST_CODE: usize = 4;
        let value =
            |length: usize| bytes[..length].iter().fold(0u32, |code, byte| code << 8 | u32::from(*byte));
        for length in 1..=LONGEST_CODE.min(bytes.len()) {
            let code = value(length);
            if self
                .spaces
                .iter()
                .any(|(size, first, last)| *size == length && (*first..=*last).contains(&code))
            {
                return (code, length);
            }
        }
        let length = usual.clamp(1, bytes.len().max(1)).min(bytes.len());
        (value(length), length.max(1))
    }

    /// Puts the text that a code stands for into `out`; false if there is none.
    pub(super) fn text(&self, code: u32, out: &mut String) -> bool {
        let Some((Target::Text(units), more)) = self.find(code) else { return false };
        let Some((last, before)) = units.split_last() else { return false };
        let last = last.wrapping_add(u16::try_from(more).unwrap_or(0));
        let decoded = char::decode_utf16(before.iter().copied().chain([last]));
        let from = out.len();
        out.extend(decoded.filter_map(Result::ok).filter(|character| *character != '\0'));
        out.len() > from
    }

    /// The number of the glyph that a code stands for.
    pub(super) fn glyph(&self, code: u32) -> Option<u32> {
        match self.find(code)? {
            (Target::Glyph(glyph), more) => glyph.checked_add(more),
            (Target::Text(_), _) => None,
        }
    }

    fn find(&self, code: u32) -> Option<(&Target, u32)> {
        /// Ranges that begin before and may hold it, where they lie one in the other.
        const NEAR: usize = 8;
        let behind = self.ranges.partition_point(|range| range.first <= code);
        let range = self.ranges[..behind].iter().rev().take(NEAR).find(|range| code <= range.last)?;
        Some((&range.target, code - range.first))
    }
}

fn code(object: &Object) -> Option<(u32, usize)> {
    let bytes = object.string().filter(|bytes| (1..=4).contains(&bytes.len()))?;
    Some((bytes.iter().fold(0, |code, byte| code << 8 | u32::from(*byte)), bytes.len()))
}

fn number(object: &Object) -> Option<u32> {
    u32::try_from(object.count()?).ok()
}

fn text(object: &Object) -> Option<Vec<u16>> {
    let bytes = object.string().filter(|bytes| bytes.len() <= LONGEST)?;
    if let [only] = bytes {
        return Some(vec![(*only).into()]);
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    (!units.is_empty()).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMAP: &[u8] = b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n\
        1 begincodespacerange <00> <7f> <8000> <ffff> endcodespacerange\n\
        2 beginbfchar <01> <0041> <02> <00660066> endbfchar\n\
        2 beginbfrange <10> <12> <0061> <8001> <8003> [<0078> <D83DDE00> <0079>] endbfrange\n\
        1 begincidrange <9000> <90ff> 5 endcidrange\n\
        endcmap";

    #[test]
    fn codes_become_texts() {
        let cmap = Cmap::read(CMAP);
        for (bytes, code, length, wanted) in [
            (&b"\x01\x02"[..], 1, 1, "A"),
            (b"\x02", 2, 1, "ff"),
            (b"\x12", 0x12, 1, "c"),
            (b"\x13", 0x13, 1, ""),
            (b"\x80\x01", 0x8001, 2, "x"),
            (b"\x80\x02", 0x8002, 2, "😀"),
            (b"\x80\x04", 0x8004, 2, ""),
            (b"\xff", 0xff, 1, ""),
        ] {
            assert_eq!(cmap.next(bytes, 2), (code, length), "{bytes:?}");
            let mut out = String::new();
            assert_eq!((cmap.text(code, &mut out), out.as_str()), (!wanted.is_empty(), wanted), "{bytes:?}");
        }
        assert_eq!([cmap.glyph(0x9002), cmap.glyph(0x10)], [Some(7), None]);
        assert_eq!(Cmap::default().next(b"\x01\x02\x03", 2), (0x0102, 2));
        assert_eq!(Cmap::default().next(b"", 2), (0, 1));
    }

    #[test]
    fn hostile_maps_are_bounded() {
        let wide = b"beginbfrange <00000000> <ffffffff> <0041> endbfrange ".repeat(10);
        let cmap = Cmap::read(&wide);
        assert!(cmap.text(u32::MAX, &mut String::new()) && cmap.ranges.len() == 10);
        let each =
            [b"<0000> <ffffffff> [".to_vec(), b"<0041> ".repeat(200_000), b"] endbfrange".to_vec()].concat();
        assert!(Cmap::read(&each).ranges.len() <= MOST);
        Cmap::read(&b"<".repeat(100_000));
        Cmap::read(b"endbfchar ) } > endcidrange <01> endbfchar");
    }
}
