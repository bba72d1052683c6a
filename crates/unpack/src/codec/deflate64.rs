//! Deflate64: deflate (RFC 1951) with a window of 64 KiB, lengths of up to 65,538 and two more codes of distances.

use super::bits::Bits;
use super::huffman::Code;
use super::{Fault, Sink};

/// Unpacks a stream; returns how many bytes it has.
pub(crate) fn decode(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    let mut bits = Bits::new(input);
    loop {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, sink)?,
            1 => {
                let mut lengths = [8_u8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                let literals = Code::new(&lengths, false).ok_or(Fault::Corrupt)?;
                let distances = Code::new(&[5; 32], false).ok_or(Fault::Corrupt)?;
                block(&mut bits, sink, &literals, &distances)?;
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits)?;
                block(&mut bits, sink, &literals, &distances)?;
            }
            _ => return Err(Fault::Corrupt),
        }
        if last {
            return Ok(bits.used());
        }
    }
}

fn stored(bits: &mut Bits, sink: &mut Sink) -> Result<(), Fault> {
    bits.align();
    let (len, check) = (bits.take(16)?, bits.take(16)?);
    if len != check ^ 0xffff {
        return Err(Fault::Corrupt);
    }
    sink.extend(bits.bytes(len as usize)?)
}

/// The two codes of a block that brings its own (RFC 1951 section 3.2.7).
fn dynamic(bits: &mut Bits) -> Result<(Code, Code), Fault> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let count = bits.take(4)? as usize + 4;
    let mut lengths = [0_u8; 19];
    for place in &ORDER[..count] {
        lengths[*place] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths, false).ok_or(Fault::Corrupt)?;
    let mut lengths = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (value, times) = match code.read(bits)? {
            16 => (*lengths.last().ok_or(Fault::Corrupt)?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (length as u8, 1),
        };
        lengths.resize(lengths.len() + times as usize, value);
    }
    if lengths.len() > literals + distances {
        return Err(Fault::Corrupt);
    }
    let (first, second) = lengths.split_at(literals);
    Ok((Code::new(first, false).ok_or(Fault::Corrupt)?, Code::new(second, false).ok_or(Fault::Corrupt)?))
}

fn block(bits: &mut Bits, sink: &mut Sink, literals: &Code, distances: &Code) -> Result<(), Fault> {
    loop {
        let symbol = literals.read(bits)?;
        match symbol {
            0..=255 => sink.push(symbol as u8)?,
            256 => return Ok(()),
            257..=264 => matched(bits, sink, distances, symbol - 254)?,
            265..=284 => {
                let extra = (symbol as u32 - 261) / 4;
                let base = 3 + ((4 + (symbol - 261) % 4) << extra);
                let len = base + bits.take(extra)? as usize;
                matched(bits, sink, distances, len)?;
            }
            285 => {
                let len = 3 + bits.take(16)? as usize;
                matched(bits, sink, distances, len)?;
            }
            _ => return Err(Fault::Corrupt),
        }
    }
}

fn matched(bits: &mut Bits, sink: &mut Sink, distances: &Code, len: usize) -> Result<(), Fault> {
    let symbol = distances.read(bits)?;
    let distance = if symbol < 4 {
        symbol + 1
    } else {
        let extra = (symbol as u32 - 2) / 2;
        1 + ((2 + symbol % 2) << extra) + bits.take(extra)? as usize
    };
    sink.copy(distance, len)
}
