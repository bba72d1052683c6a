//! The method of RAR 5 and 7: LZ77 in blocks with prefix codes.

use std::io;

use super::filter::Filter;
use super::output::Output;
use crate::bits::{Bits, Code, corrupt};

/// Symbols of the four codes: literals and lengths, distances, low bits of distances, lengths of repeated matches.
const LITERALS: usize = 306;
const DISTANCES: usize = 64;
const LARGE_DISTANCES: usize = 80;
const LOW: usize = 16;
const LENGTHS: usize = 44;

/// The unpacker's state, which members of a solid archive pass on.
#[derive(Debug, Default)]
pub(super) struct Lz50 {
    codes: Option<Codes>,
    recent: [usize; 4],
    last_length: usize,
    /// Archives of RAR 7 with dictionaries over 4 GiB have more distances.
    large: bool,
    block: Block,
}

#[derive(Debug)]
struct Codes {
    literals: Code,
    distances: Code,
    low: Code,
    lengths: Code,
}

/// The block that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Its end, in bits.
    end: u64,
    last: bool,
    begun: bool,
}

impl Lz50 {
    /// Goes on to the next member.
    pub(super) fn begin(&mut self, solid: bool, large: bool) {
        if !solid {
            *self = Lz50::default();
        }
        self.large = large;
        self.block = Block::default();
    }

    /// Unpacks some; false at the end.
    pub(super) fn step(&mut self, bits: &mut Bits, out: &mut Output) -> io::Result<bool> {
        while !out.full() {
            while bits.taken() >= self.block.end {
                if self.block.begun && self.block.last {
                    return Ok(false);
                }
                self.header(bits)?;
            }
            let Some(codes) = &self.codes else { return Err(corrupt()) };
            match codes.literals.read(bits)? {
                byte @ 0..=255 => out.push(byte as u8),
                256 => {
                    let (ahead, len, filter) = filter(bits)?;
                    out.filter(ahead, len, filter)?;
                }
                257 => {
                    if self.last_length > 0 {
                        out.copy(self.recent[0], self.last_length);
                    }
                }
                symbol @ 258..=261 => {
                    let place = symbol - 258;
                    self.recent[..=place].rotate_right(1);
                    let slot = codes.lengths.read(bits)?;
                    self.last_length = length(slot, bits);
                    out.copy(self.recent[0], self.last_length);
                }
                symbol => {
                    let length = length(symbol - 262, bits);
                    let distance = distance(codes, bits)?;
                    let longer = [0x100, 0x2000, 0x40000].iter().filter(|reach| distance > **reach).count();
                    self.recent.rotate_right(1);
                    self.recent[0] = distance;
                    self.last_length = length + longer;
                    out.copy(distance, self.last_length);
                }
            }
        }
        bits.check()?;
        Ok(!out.complete())
    }

    /// Reads the header of a block: its size, and new codes if it has some.
    fn header(&mut self, bits: &mut Bits) -> io::Result<()> {
        if self.block.begun && bits.taken() > self.block.end {
            // The last symbol reached over the end.
            return Err(corrupt());
        }
        bits.align();
        let flags = bits.take(8);
        let sum = bits.take(8);
        let count = ((flags >> 3) & 3) + 1;
        if count == 4 {
            bits.check()?;
            return Err(corrupt());
        }
        let (mut size, mut check) = (0_u64, 0x5a ^ flags);
        for place in 0..count {
            let byte = bits.take(8);
            size |= u64::from(byte) << (8 * place);
            check ^= byte;
        }
        bits.check()?;
        if check != sum || size == 0 {
            return Err(corrupt());
        }
        let end = bits.taken() + (size - 1) * 8 + u64::from(flags & 7) + 1;
        self.block = Block { end, last: flags & 0x40 != 0, begun: true };
        if flags & 0x80 != 0 {
            self.codes = Some(codes(bits, self.large)?);
        }
        Ok(())
    }
}

/// Reads four codes, whose lengths are themselves coded.
fn codes(bits: &mut Bits, large: bool) -> io::Result<Codes> {
    let first = Code::new(&lengths_of_lengths(bits)).ok_or_else(corrupt)?;
    let distances = if large { LARGE_DISTANCES } else { DISTANCES };
    let all = LITERALS + distances + LOW + LENGTHS;
    let mut lengths: Vec<u8> = Vec::with_capacity(all);
    while lengths.len() < all {
        let (value, count) = match first.read(bits)? {
            length @ 0..=15 => (length as u8, 1),
            symbol @ (16 | 17) => {
                let count = if symbol == 16 { 3 + bits.take(3) } else { 11 + bits.take(7) };
                (*lengths.last().ok_or_else(corrupt)?, count)
            }
            18 => (0, 3 + bits.take(3)),
            _ => (0, 11 + bits.take(7)),
        };
        let count = (count as usize).min(all - lengths.len());
        lengths.resize(lengths.len() + count, value);
    }
    bits.check()?;
    let mut rest = &lengths[..];
    let mut next = |count: usize| {
        let (lengths, others) = rest.split_at(count);
        rest = others;
        Code::new(lengths).ok_or_else(corrupt)
    };
    Ok(Codes {
        literals: next(LITERALS)?,
        distances: next(distances)?,
        low: next(LOW)?,
        lengths: next(LENGTHS)?,
    })
}

/// Twenty lengths of four bits; 15 is followed by a count of zeros, or by 0 if it is meant. RAR 3 has the same.
pub(super) fn lengths_of_lengths(bits: &mut Bits) -> [u8; 20] {
    let mut lengths = [0; 20];
    let mut place = 0;
    while place < lengths.len() {
        let length = bits.take(4) as u8;
        if length == 15 {
            let zeros = bits.take(4) as usize;
            if zeros > 0 {
                place += zeros + 2;
                continue;
            }
        }
        lengths[place] = length;
        place += 1;
    }
    lengths
}

fn length(slot: usize, bits: &mut Bits) -> usize {
    if slot < 8 {
        return slot + 2;
    }
    let more = (slot / 4 - 1) as u32;
    2 + ((4 | (slot & 3)) << more) + bits.take(more) as usize
}

fn distance(codes: &Codes, bits: &mut Bits) -> io::Result<usize> {
    let slot = codes.distances.read(bits)?;
    if slot < 4 {
        return Ok(slot + 1);
    }
    let more = (slot / 2 - 1) as u32;
    let mut distance = ((2 | (slot & 1)) << more) + 1;
    if more < 4 {
        return Ok(distance + bits.take(more) as usize);
    }
    // Up to 35 bits for the largest dictionaries.
    let (high, low) = ((more - 4).saturating_sub(16), (more - 4).min(16));
    distance += (bits.take(high) as usize) << (low + 4);
    distance += (bits.take(low) as usize) << 4;
    Ok(distance + codes.low.read(bits)?)
}

/// A filter: how far ahead it begins, for how many bytes, and which.
fn filter(bits: &mut Bits) -> io::Result<(u64, u64, Filter)> {
    let mut number = || {
        let count = bits.take(2) + 1;
        (0..count).fold(0_u64, |number, place| number | u64::from(bits.take(8)) << (8 * place))
    };
    let (ahead, len) = (number(), number());
    let filter = match bits.take(3) {
        0 => Filter::Delta(bits.take(5) as usize + 1),
        1 => Filter::X86(false),
        2 => Filter::X86(true),
        3 => Filter::Arm,
        _ => Filter::Unknown,
    };
    bits.check()?;
    Ok((ahead, len, filter))
}
