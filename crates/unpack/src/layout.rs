//! Where things lie in the binary files of Office. What looks for something there and what takes it out must agree on it,
//! so both ask here.

use std::ops::Range;

use crate::fields::{u16_le, u32_le};

/// Where the pieces of a document's text lie in its stream `WordDocument`, and whether their characters are of two bytes
/// (MS-DOC 2.9.38, 2.9.177); `table` is the stream that its header names. All together are no more than twice the document.
/// None where the table makes no sense.
pub fn text_pieces(body: &[u8], table: &[u8]) -> Option<Vec<(Range<usize>, bool)>> {
    const AT: usize = 0x1a2;
    let (start, size) = (u32_le(body, AT)? as usize, u32_le(body, AT + 4)? as usize);
    let mut rest = table.get(start..start.checked_add(size)?)?;
    while let [1, tail @ ..] = rest {
        rest = tail.get(2 + usize::from(u16_le(tail, 0)?)..)?;
    }
    let [2, tail @ ..] = rest else { return None };
    let size = u32_le(tail, 0)? as usize;
    let list = tail.get(4..)?;
    let list = &list[..size.min(list.len())];
    let count = list.len().checked_sub(4)? / 12;
    let mut found = Vec::new();
    let mut left = body.len().saturating_mul(2);
    for place in 0..count {
        let from = u32_le(list, place * 4)? as usize;
        let to = u32_le(list, place * 4 + 4)? as usize;
        let at = u32_le(list, (count + 1) * 4 + place * 8 + 2)?;
        let narrow = at & 0x4000_0000 != 0;
        let at = (at & 0x3fff_ffff) as usize;
        let length = to.saturating_sub(from);
        let (start, length) = if narrow { (at / 2, length) } else { (at, length.saturating_mul(2)) };
        let start = start.min(body.len());
        let end = start.saturating_add(length.min(left)).min(body.len());
        left -= end - start;
        found.push((start..end, !narrow));
    }
    (!found.is_empty()).then_some(found)
}

/// A record of a part of an xlsb file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XlsbRecord {
    /// Its number.
    pub kind: u16,
    /// Where its data begins.
    pub start: usize,
    /// Where its data ends by what its header says, which may be behind the end of the part.
    pub end: usize,
}

/// The record at `at`: its number and length are of seven bits a byte, the last of which has none above (MS-XLSB 2.1.4). None
/// where the part ends in its header.
pub fn xlsb_record(part: &[u8], mut at: usize) -> Option<XlsbRecord> {
    let first = *part.get(at)?;
    at += 1;
    let mut kind = u16::from(first);
    if first & 0x80 != 0 {
        kind = kind & 0x7f | u16::from(*part.get(at)? & 0x7f) << 7;
        at += 1;
    }
    let mut length = 0;
    for place in 0..4 {
        let byte = *part.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(XlsbRecord { kind, start: at, end: at.saturating_add(length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_where_the_table_says() {
        // A property modifier of two bytes is passed over; then three places in the text, and two descriptors of eight bytes.
        let mut table = b"\x01\x02\0pp\x02\x1c\0\0\0".to_vec();
        for place in [0u32, 4, 6] {
            table.extend(place.to_le_bytes());
        }
        for at in [0x4000_0000u32 | 2 * 0x10, 0x20] {
            table.extend([&[0, 0][..], &at.to_le_bytes(), &[0, 0]].concat());
        }
        let mut body = vec![0; 0x200];
        body[0x1a6..0x1aa].copy_from_slice(&u32::try_from(table.len()).unwrap().to_le_bytes());
        assert_eq!(text_pieces(&body, &table), Some(vec![(0x10..0x14, false), (0x20..0x24, true)]));
        // Lies about places and lengths stay within the document.
        let far = [&table[..10], &[0, 0, 0, 0], &[0xff; 24]].concat();
        let pieces = text_pieces(&body, &far).unwrap();
        assert!(pieces.iter().all(|(range, _)| range.end <= body.len()), "{pieces:?}");
        for end in 0..table.len() {
            text_pieces(&body, &table[..end]);
            text_pieces(&body[..0x1a0 + end % 16], &table);
        }
        assert_eq!(text_pieces(&body, b""), None);
    }

    #[test]
    fn headers_of_records() {
        let record = |kind, start, end| Some(XlsbRecord { kind, start, end });
        assert_eq!(xlsb_record(b"\x81\x01\x02ab", 0), record(129, 3, 5));
        assert_eq!(xlsb_record(b"\x05\xff\xff\xff\xff\x7f", 0), record(5, 5, 5 + 0x0fff_ffff));
        for broken in [&b""[..], b"\x81", b"\x81\x01", b"\x05\x80"] {
            assert_eq!(xlsb_record(broken, 0), None, "{broken:?}");
        }
        assert_eq!(xlsb_record(b"\x05\0", 2), None);
    }
}
