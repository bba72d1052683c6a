//! Compressed RTF of Outlook (MS-OXRTFCP): LZFu, with a dictionary that is filled with usual RTF at first.

use crate::fields::u32_le;

const FIRST: &[u8] =
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \
\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \
\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

const HEADER: usize = 16;

/// Unpacks compressed RTF, at most `most` bytes of it. None if it is none; the second value tells that it is damaged.
pub(super) fn unpack(packed: &[u8], most: usize) -> Option<(Vec<u8>, bool)> {
    let said = u32_le(packed, 4)? as usize;
    let data = packed.get(HEADER..)?;
    match packed.get(8..12)? {
        b"LZFu" => {}
        b"MELA" => {
            let end = said.min(data.len()).min(most);
            return Some((data[..end].to_vec(), said > data.len()));
        }
        _ => return None,
    }
    let made = inflate(data, most.min(said.saturating_mul(2).max(1 << 16)));
    let short = made.len() < said;
    Some((made, short))
}

/// A byte of eight flags before eight steps: a byte as it is, or a place and a length in the ring of 4,096 bytes.
fn inflate(data: &[u8], most: usize) -> Vec<u8> {
    const RING: usize = 4096;
    let mut ring = [0; RING];
    ring[..FIRST.len()].copy_from_slice(FIRST);
    let mut write = FIRST.len();
    let mut made = Vec::new();
    let mut bytes = data.iter().copied();
    while let Some(flags) = bytes.next() {
        for bit in 0..8 {
            if made.len() >= most {
                return made;
            }
            let Some(first) = bytes.next() else { return made };
            if flags >> bit & 1 == 0 {
                ring[write] = first;
                write = (write + 1) % RING;
                made.push(first);
                continue;
            }
            let Some(second) = bytes.next() else { return made };
            let pair = usize::from(u16::from_be_bytes([first, second]));
            let (start, length) = (pair >> 4, (pair & 15) + 2);
            // A copy from where the next byte goes ends the data.
            if start == write {
                return made;
            }
            for step in 0..length {
                let byte = ring[(start + step) % RING];
                ring[write] = byte;
                write = (write + 1) % RING;
                made.push(byte);
            }
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two examples of MS-OXRTFCP section 4.
    #[test]
    fn rtf_is_unpacked() {
        assert_eq!(FIRST.len(), 207);
        let simple = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125\x42\x32\x0a\xf3 hel\x09\0 bw\x05\xb0ld}\x0a\x80\x0f\xa0";
        let (made, short) = unpack(simple, 1 << 20).expect("LZFu");
        assert_eq!(made, b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        assert!(!short);
        let crossing = b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4KQA\0\x04 WXYZ\x0d\x6e\x7d\x01\x0e\xb0";
        let (made, short) = unpack(crossing, 1 << 20).expect("LZFu");
        assert_eq!(made, b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
        assert!(!short);
        for end in 0..crossing.len() {
            unpack(&crossing[..end], 1 << 20);
        }
        assert_eq!(unpack(b"\x10\0\0\0\x03\0\0\0MELA\0\0\0\0{r}", 9), Some((b"{r}".to_vec(), false)));
    }
}
