//! Implode of PKWARE's Data Compression Library, method 10 of zip: matches under fixed codes, an end of its own.

use super::bits::Bits;
use super::huffman::Code;
use super::{Fault, Sink};

/// Lengths of the three codes, in runs: the low four bits a length, the high ones how often it follows itself.
const LITERALS: &[u8] = &[
    11, 124, 8, 7, 28, 7, 188, 13, 76, 4, 10, 8, 12, 10, 12, 10, 8, 23, 8, 9, 7, 6, 7, 8, 7, 6, 55, 8, 23,
    24, 12, 11, 7, 9, 11, 12, 6, 7, 22, 5, 7, 24, 6, 11, 9, 6, 7, 22, 7, 11, 38, 7, 9, 8, 25, 11, 8, 11, 9,
    12, 8, 12, 5, 38, 5, 38, 5, 11, 7, 5, 6, 21, 6, 10, 53, 8, 7, 24, 10, 27, 44, 253, 253, 253, 252, 252,
    252, 13, 12, 45, 12, 45, 12, 61, 12, 45, 44, 173,
];
const LENGTHS: &[u8] = &[2, 35, 36, 53, 38, 23];
const DISTANCES: &[u8] = &[2, 20, 53, 230, 247, 151, 248];
/// Shortest match of each symbol, and bits that are added.
const BASES: [(usize, u32); 16] = [
    (3, 0),
    (2, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 1),
    (12, 2),
    (16, 3),
    (24, 4),
    (40, 5),
    (72, 6),
    (136, 7),
    (264, 8),
];
/// The length that ends the data.
const END: usize = 519;

/// Unpacks a stream; returns how many bytes it has.
pub(crate) fn decode(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    let mut bits = Bits::new(input);
    let coded = match bits.take(8)? {
        0 => false,
        1 => true,
        _ => return Err(Fault::Corrupt),
    };
    let dictionary = bits.take(8)?;
    if !(4..=6).contains(&dictionary) {
        return Err(Fault::Corrupt);
    }
    let [literals, lengths, distances] =
        [LITERALS, LENGTHS, DISTANCES].map(|runs| Code::new(&unrolled(runs), true).ok_or(Fault::Corrupt));
    let (literals, lengths, distances) = (literals?, lengths?, distances?);
    loop {
        if bits.take(1)? == 0 {
            let byte = if coded { literals.read(&mut bits)? } else { bits.take(8)? as usize };
            sink.push(byte as u8)?;
            continue;
        }
        let (base, extra) = *BASES.get(lengths.read(&mut bits)?).ok_or(Fault::Corrupt)?;
        let len = base + bits.take(extra)? as usize;
        if len == END {
            return Ok(bits.used());
        }
        let low = if len == 2 { 2 } else { dictionary };
        let high = distances.read(&mut bits)?;
        let distance = (high << low) + bits.take(low)? as usize + 1;
        sink.copy(distance, len)?;
    }
}

fn unrolled(runs: &[u8]) -> Vec<u8> {
    runs.iter().flat_map(|run| std::iter::repeat_n(run & 15, usize::from(run >> 4) + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::probe;
    use super::*;

    #[test]
    fn the_known_example() {
        let packed = [0x00, 0x04, 0x82, 0x24, 0x25, 0x8f, 0x80, 0x7f];
        let (out, ended) = probe(100, |sink| decode(&packed, sink));
        assert_eq!((out.as_slice(), ended), (&b"AIAIAIAIAIAIA"[..], Ok(packed.len())));
    }
}
