//! Implode, method 6 of zip (APPNOTE 5.3): matches of a sliding dictionary under two or three Shannon-Fano codes.

use super::bits::Bits;
use super::huffman::Code;
use super::{Fault, Sink};

/// Unpacks `size` bytes; `flags` are the member's, of which bit 1 tells the size of the dictionary and bit 2 whether
/// there is a code for literals.
pub(crate) fn decode(input: &[u8], flags: u16, size: u64, sink: &mut Sink) -> Result<usize, Fault> {
    let low_bits = if flags & 1 << 1 != 0 { 7 } else { 6 };
    let mut bits = Bits::new(input);
    let literals = if flags & 1 << 2 != 0 { Some(tree(&mut bits, 256)?) } else { None };
    let lengths = tree(&mut bits, 64)?;
    let distances = tree(&mut bits, 64)?;
    let shortest = if literals.is_some() { 3 } else { 2 };
    while (sink.made() as u64) < size {
        if bits.take(1)? == 1 {
            let byte = match &literals {
                Some(code) => code.read(&mut bits)? as u8,
                None => bits.take(8)? as u8,
            };
            sink.push(byte)?;
            continue;
        }
        let low = bits.take(low_bits)? as usize;
        let distance = (distances.read(&mut bits)? << low_bits | low) + 1;
        let mut len = lengths.read(&mut bits)?;
        if len == 63 {
            len += bits.take(8)? as usize;
        }
        let left = usize::try_from(size - sink.made() as u64).unwrap_or(usize::MAX);
        sink.copy_or_zeros(distance, (len + shortest).min(left))?;
    }
    Ok(bits.used())
}

/// A code's lengths, in runs (5.3.6 to 5.3.8).
fn tree(bits: &mut Bits, symbols: usize) -> Result<Code, Fault> {
    let runs = bits.take(8)? + 1;
    let mut lengths = Vec::with_capacity(symbols);
    for _ in 0..runs {
        let length = bits.take(4)? as u8 + 1;
        let times = bits.take(4)? as usize + 1;
        lengths.resize(lengths.len() + times, length);
    }
    if lengths.len() != symbols {
        return Err(Fault::Corrupt);
    }
    Code::new(&lengths, true).ok_or(Fault::Corrupt)
}
