//! Filters of streams (ISO 32000-1 section 7.4), each undone under the budget.

use std::io::{self, Read};

use bytes::Bytes;

use super::object::{Dict, Object, is_space};
use crate::opening::{End, Opening, keep};

/// Filters one after the other on one stream.
const MOST_FILTERS: usize = 16;

/// A filter, as far as it is undone here. Pictures stay in their own formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Flate,
    Lzw,
    Ascii85,
    AsciiHex,
    RunLength,
    /// Decrypted before, or not at all.
    Crypt,
    /// Left as it is.
    Other,
}

impl Filter {
    fn of(name: &[u8]) -> Filter {
        match name {
            b"FlateDecode" | b"Fl" => Filter::Flate,
            b"LZWDecode" | b"LZW" => Filter::Lzw,
            b"ASCII85Decode" | b"A85" => Filter::Ascii85,
            b"ASCIIHexDecode" | b"AHx" => Filter::AsciiHex,
            b"RunLengthDecode" | b"RL" => Filter::RunLength,
            b"Crypt" => Filter::Crypt,
            _ => Filter::Other,
        }
    }
}

/// A stream with its filters undone.
pub(super) struct Decoded {
    pub(super) data: Bytes,
    pub(super) end: End,
}

/// Undoes the filters of a stream. `resolve` follows references in its dictionary.
pub(super) fn decode<'d>(
    opening: &mut Opening,
    dict: &'d Dict,
    raw: Bytes,
    resolve: &dyn Fn(&'d Object) -> &'d Object,
) -> Decoded {
    let listed = |names: [&[u8]; 2]| {
        let value = names.into_iter().find_map(|name| dict.get(name)).map(resolve);
        match value {
            Some(Object::Array(items)) => items.iter().map(resolve).take(MOST_FILTERS).collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        }
    };
    let filters = listed([b"Filter", b"F"]);
    let parameters = listed([b"DecodeParms", b"DP"]);
    let mut decoded = Decoded { data: raw, end: End::Complete };
    for (place, filter) in filters.iter().enumerate() {
        let Some(filter) = filter.name().map(Filter::of) else { continue };
        let parameters = parameters.get(place).and_then(|parameters| parameters.dict());
        let number =
            |key: &[u8]| parameters.and_then(|dict| dict.get(key)).map(resolve).and_then(Object::count);
        let early = number(b"EarlyChange").unwrap_or(1) != 0;
        let input = decoded.data.clone();
        let (mut out, end) = match filter {
            Filter::Crypt => continue,
            Filter::Other => break,
            Filter::Flate => flate(opening, &input),
            Filter::Lzw => drained(opening, &input, &mut Lzw::new(&input, early)),
            Filter::Ascii85 => drained(opening, &input, &mut Ascii85::new(&input)),
            Filter::AsciiHex => drained(opening, &input, &mut Hex::new(&input)),
            Filter::RunLength => drained(opening, &input, &mut RunLength::new(&input)),
        };
        if matches!(filter, Filter::Flate | Filter::Lzw)
            && let Some(predictor) = number(b"Predictor").filter(|predictor| *predictor > 1)
        {
            let colors = number(b"Colors").unwrap_or(1).clamp(1, 64);
            let bits = number(b"BitsPerComponent").unwrap_or(8).clamp(1, 32);
            let columns = number(b"Columns").unwrap_or(1).clamp(1, 1 << 24);
            out = predicted(out, predictor, colors, bits, columns);
        }
        decoded = Decoded { data: keep(out), end };
        if end != End::Complete && decoded.data.is_empty() {
            break;
        }
    }
    decoded
}

fn drained(opening: &mut Opening, input: &[u8], source: &mut dyn Read) -> (Vec<u8>, End) {
    let mut out = Vec::new();
    let end = opening.drain(source, input.len() as u64, &mut out);
    (out, end)
}

/// zlib data (RFC 1950), with its header or, as lenient readers take it, without.
fn flate(opening: &mut Opening, input: &[u8]) -> (Vec<u8>, End) {
    let start = input.iter().take_while(|byte| is_space(**byte)).count();
    let has_header = |bytes: &[u8]| matches!(bytes, [first, second, ..] if first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
    let body = if has_header(input) { input } else { &input[start..] };
    let starts = if has_header(body) { [2, 0] } else { [0, 2] };
    let mut best = (Vec::new(), End::Corrupt);
    for start in starts {
        let Some(body) = body.get(start..) else { continue };
        let mut out = Vec::new();
        let (_, end) = opening.inflate(body, body.len() as u64, None, &mut out);
        if end == End::Complete || matches!(end, End::Over(_)) {
            return (out, end);
        }
        if out.len() > best.0.len() {
            best = (out, end);
        }
    }
    best
}

/// Undoes a predictor (ISO 32000-1 section 7.4.4.4): PNG's, row by row, or TIFF's for whole bytes.
fn predicted(mut data: Vec<u8>, predictor: usize, colors: usize, bits: usize, columns: usize) -> Vec<u8> {
    let pixel = (colors * bits).div_ceil(8);
    let row = (colors * bits * columns).div_ceil(8);
    if predictor == 2 {
        if bits == 8 {
            for line in data.chunks_mut(row) {
                for at in pixel..line.len() {
                    line[at] = line[at].wrapping_add(line[at - pixel]);
                }
            }
        }
        return data;
    }
    let mut out: Vec<u8> = Vec::with_capacity(data.len());
    for line in data.chunks(row + 1) {
        let before = out.len().checked_sub(row);
        let start = out.len();
        for (place, byte) in line[1..].iter().enumerate() {
            let left = if place >= pixel { out[start + place - pixel] } else { 0 };
            let up = before.map_or(0, |before| out[before + place]);
            let corner = before.filter(|_| place >= pixel).map_or(0, |before| out[before + place - pixel]);
            let guess = match line[0] {
                1 => left,
                2 => up,
                3 => u8::midpoint(left, up),
                4 => paeth(left, up, corner),
                _ => 0,
            };
            out.push(byte.wrapping_add(guess));
        }
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let guess = a + b - c;
    let [by_left, by_up, by_corner] = [a, b, c].map(|value| (guess - value).abs());
    if by_left <= by_up && by_left <= by_corner {
        left
    } else if by_up <= by_corner {
        up
    } else {
        corner
    }
}

/// Bytes that a decoder made and nobody has read yet.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    at: usize,
}

impl Pending {
    /// Hands out what `more` makes, calling it until there is something or it says that this was all.
    fn read(
        &mut self,
        into: &mut [u8],
        mut more: impl FnMut(&mut Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<usize> {
        while self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            if !more(&mut self.bytes)? && self.bytes.is_empty() {
                return Ok(0);
            }
        }
        let count = into.len().min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

struct Hex<'a> {
    input: &'a [u8],
    pending: Pending,
}

impl Hex<'_> {
    fn new(input: &[u8]) -> Hex<'_> {
        Hex { input, pending: Pending::default() }
    }
}

impl Read for Hex<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.input;
        self.pending.read(into, |out| {
            let mut high: Option<u8> = None;
            let mut digits = 0;
            while let Some((&byte, rest)) = input.split_first() {
                *input = rest;
                if byte == b'>' {
                    *input = &[];
                    break;
                }
                let Some(digit) = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                else {
                    continue;
                };
                digits += 1;
                match high.take() {
                    Some(before) => out.push(before << 4 | digit),
                    None => high = Some(digit),
                }
                if high.is_none() && digits >= 8192 {
                    return Ok(true);
                }
            }
            out.extend(high.map(|high| high << 4));
            Ok(false)
        })
    }
}

struct Ascii85<'a> {
    input: &'a [u8],
    pending: Pending,
}

impl Ascii85<'_> {
    fn new(input: &[u8]) -> Ascii85<'_> {
        let input = input.trim_ascii_start();
        Ascii85 { input: input.strip_prefix(b"<~").unwrap_or(input), pending: Pending::default() }
    }
}

impl Read for Ascii85<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.input;
        self.pending.read(into, |out| {
            while out.len() < 4096 {
                let mut group = [84u8; 5];
                let mut count = 0;
                while count < 5 {
                    let Some((&byte, rest)) = input.split_first() else { break };
                    *input = rest;
                    match byte {
                        b'z' if count == 0 => {
                            out.extend_from_slice(&[0; 4]);
                        }
                        b'!'..=b'u' => {
                            group[count] = byte - b'!';
                            count += 1;
                        }
                        b'~' => *input = &[],
                        _ => {}
                    }
                }
                let value = group.iter().fold(0u64, |value, digit| value * 85 + u64::from(*digit));
                let bytes = (value as u32).to_be_bytes();
                out.extend_from_slice(&bytes[..count.saturating_sub(1)]);
                if count < 5 {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

struct RunLength<'a> {
    input: &'a [u8],
    pending: Pending,
}

impl RunLength<'_> {
    fn new(input: &[u8]) -> RunLength<'_> {
        RunLength { input, pending: Pending::default() }
    }
}

impl Read for RunLength<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.input;
        self.pending.read(into, |out| {
            let Some((&length, rest)) = input.split_first() else { return Ok(false) };
            *input = rest;
            match length {
                128 => {
                    *input = &[];
                    Ok(false)
                }
                0..=127 => {
                    let (run, rest) = rest.split_at((usize::from(length) + 1).min(rest.len()));
                    out.extend_from_slice(run);
                    *input = rest;
                    Ok(true)
                }
                _ => {
                    let Some((&byte, rest)) = rest.split_first() else { return Ok(false) };
                    out.resize(257 - usize::from(length), byte);
                    *input = rest;
                    Ok(true)
                }
            }
        })
    }
}

/// LZW with codes of 9 to 12 bits, most significant bit first.
struct Lzw<'a> {
    input: &'a [u8],
    at: usize,
    early: bool,
    /// For each code over 257: the code of what is before, the last byte, and the length.
    table: Vec<(u16, u8, u16)>,
    last: Option<u16>,
    pending: Pending,
}

impl Lzw<'_> {
    const CLEAR: u16 = 256;
    const END: u16 = 257;
    const FIRST: usize = 258;

    fn new(input: &[u8], early: bool) -> Lzw<'_> {
        Lzw { input, at: 0, early, table: Vec::new(), last: None, pending: Pending::default() }
    }

    fn code(&mut self) -> Option<u16> {
        let width = match Self::FIRST + self.table.len() + usize::from(self.early) {
            0..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
        let byte = |place: usize| self.input.get(place).map(|byte| u32::from(*byte));
        let first = self.at / 8;
        let word = byte(first)? << 16 | byte(first + 1).unwrap_or(0) << 8 | byte(first + 2).unwrap_or(0);
        if self.at + width > self.input.len() * 8 {
            return None;
        }
        let code = word >> (24 - self.at % 8 - width) & ((1 << width) - 1);
        self.at += width;
        u16::try_from(code).ok()
    }

    fn length(&self, code: u16) -> u16 {
        match usize::from(code).checked_sub(Self::FIRST) {
            None => 1,
            Some(place) => self.table.get(place).map_or(0, |entry| entry.2),
        }
    }

    /// Writes what a code stands for and gives its first byte.
    fn write(&self, code: u16, out: &mut Vec<u8>) -> u8 {
        let start = out.len();
        let mut code = code;
        while let Some(&(before, byte, _)) =
            usize::from(code).checked_sub(Self::FIRST).and_then(|place| self.table.get(place))
        {
            out.push(byte);
            code = before;
        }
        out.push(code.to_le_bytes()[0]);
        out[start..].reverse();
        out[start]
    }

    fn step(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let corrupt = || io::Error::from(io::ErrorKind::InvalidData);
        let Some(code) = self.code() else { return Ok(false) };
        match (code, self.last) {
            (Self::CLEAR, _) => {
                self.table.clear();
                self.last = None;
                return Ok(true);
            }
            (Self::END, _) => return Ok(false),
            (_, None) => {
                if code > 255 {
                    return Err(corrupt());
                }
                self.write(code, out);
            }
            (_, Some(last)) => {
                let known = usize::from(code) < Self::FIRST + self.table.len();
                let first = if known {
                    self.write(code, out)
                } else if usize::from(code) == Self::FIRST + self.table.len() {
                    let first = self.write(last, out);
                    out.push(first);
                    first
                } else {
                    return Err(corrupt());
                };
                if self.table.len() < 4096 - Self::FIRST {
                    let length = self.length(last).saturating_add(1);
                    self.table.push((last, first, length));
                }
            }
        }
        self.last = Some(code);
        Ok(true)
    }
}

impl Read for Lzw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut pending = std::mem::take(&mut self.pending);
        let read = pending.read(into, |out| self.step(out));
        self.pending = pending;
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut source: impl Read) -> Vec<u8> {
        let mut out = Vec::new();
        source.read_to_end(&mut out).expect("decodes");
        out
    }

    #[test]
    fn texts_and_runs() {
        assert_eq!(all(Hex::new(b"48 65 6c\n6C6F 2>junk")), b"Hello ");
        assert_eq!(all(Ascii85::new(b"<~87cURD]i,\"Ebo80~>")), b"Hello World!");
        assert_eq!(all(Ascii85::new(b"z87cUR~>")), b"\0\0\0\0Hell");
        assert_eq!(all(RunLength::new(b"\x02abc\xfed\x80junk")), b"abcddd");
        assert_eq!(all(RunLength::new(b"\x7fabc")), b"abc");
    }

    /// The example of ISO 32000-1 section 7.4.4.2.
    #[test]
    fn lzw() {
        let packed = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        assert_eq!(all(Lzw::new(&packed, true)), [45, 45, 45, 45, 45, 65, 45, 45, 45, 66]);
    }

    /// Codes grow at the right place: written by a plain encoder, early and late.
    #[test]
    fn long_lzw() {
        let text: Vec<u8> = (0..60_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
            .map(|byte| byte & 7)
            .collect();
        for early in [true, false] {
            assert!(all(Lzw::new(&lzw_encode(&text, early), early)) == text, "early {early}");
        }
    }

    fn lzw_encode(text: &[u8], early: bool) -> Vec<u8> {
        let mut table = std::collections::HashMap::new();
        let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
        let mut next = 258u32;
        let mut put = |code: u32, next: u32| {
            let limit = next + u32::from(early);
            let width = if limit > 2048 {
                12
            } else if limit > 1024 {
                11
            } else if limit > 512 {
                10
            } else {
                9
            };
            bits = bits << width | code;
            count += width;
            while count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
            if code == 257 {
                out.push((bits << (8 - count)) as u8);
            }
        };
        put(256, next);
        let mut prefix: Option<u32> = None;
        for &byte in text {
            let Some(before) = prefix else {
                prefix = Some(byte.into());
                continue;
            };
            if let Some(&code) = table.get(&(before, byte)) {
                prefix = Some(code);
                continue;
            }
            put(before, next);
            prefix = Some(byte.into());
            if next < 4094 {
                table.insert((before, byte), next);
                next += 1;
            } else {
                put(256, next + 1);
                table.clear();
                next = 258;
            }
        }
        put(prefix.unwrap_or(0), next);
        put(257, next + 1);
        out
    }

    #[test]
    fn predictors() {
        let up = predicted(vec![0, 1, 2, 3, 2, 1, 1, 1, 1, 5, 1, 1], 12, 1, 8, 3);
        assert_eq!(up, [1, 2, 3, 2, 3, 4, 5, 6, 7]);
        assert_eq!(predicted(vec![4, 1, 1, 4, 1, 1], 15, 1, 8, 2), [1, 2, 2, 3]);
        assert_eq!(predicted(vec![1, 1, 1, 5, 1, 1], 2, 1, 8, 3), [1, 2, 3, 5, 6, 7]);
        // Rows that are cut, or longer than all there is.
        assert_eq!(predicted(vec![2, 7], 12, 4, 32, 1 << 24), [7]);
        assert_eq!(predicted(vec![2], 12, 1, 8, 3), [0_u8; 0]);
    }
}
