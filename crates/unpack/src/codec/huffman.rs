//! Canonical prefix codes, of 16 bits at most, read from the lowest bit of each byte on.

use super::Fault;
use super::bits::Bits;

const LONGEST: usize = 16;
/// Codes up to this length are found by one look at a table.
const FAST: u32 = 9;

/// A prefix code.
pub(super) struct Code {
    /// Codes of each length.
    counts: [u16; LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
    /// By the next bits: the symbol and its length, or 0.
    fast: Vec<u16>,
    inverted: bool,
}

impl Code {
    /// The code in which symbol n has a code of `lengths[n]` bits, 0 for none. None where there are more codes than the
    /// lengths have room for. With `inverted`, each bit stands for its opposite, as in implode.
    pub(super) fn new(lengths: &[u8], inverted: bool) -> Option<Code> {
        let mut counts = [0_u16; LONGEST + 1];
        for &length in lengths {
            *counts.get_mut(usize::from(length))? += 1;
        }
        counts[0] = 0;
        let mut left = 1_i32;
        let mut offsets = [0_u16; LONGEST + 2];
        for length in 1..=LONGEST {
            left = (left << 1) - i32::from(counts[length]);
            if left < 0 {
                return None;
            }
            offsets[length + 1] = offsets[length] + counts[length];
        }
        let mut symbols = vec![0; lengths.len()];
        for (symbol, &length) in (0_u16..).zip(lengths).filter(|(_, length)| **length > 0) {
            let place = &mut offsets[usize::from(length)];
            symbols[usize::from(*place)] = symbol;
            *place += 1;
        }
        let mut code = Code { counts, symbols, fast: vec![0; 1 << FAST], inverted };
        code.fill();
        Some(code)
    }

    /// Fills the table of short codes.
    fn fill(&mut self) {
        let (mut next, mut place) = (0_u32, 0_usize);
        for length in 1..=FAST {
            for _ in 0..self.counts[length as usize] {
                let told = if self.inverted { !next } else { next };
                let reversed = told.reverse_bits() >> (32 - length);
                let entry = self.symbols[place] << 4 | length as u16;
                let step = 1 << length;
                self.fast.iter_mut().skip(reversed as usize).step_by(step).for_each(|slot| *slot = entry);
                next += 1;
                place += 1;
            }
            next <<= 1;
        }
    }

    /// The next symbol.
    #[inline]
    pub(super) fn read(&self, bits: &mut Bits) -> Result<usize, Fault> {
        let entry = self.fast[bits.peek(FAST) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry & 15))?;
            return Ok(usize::from(entry >> 4));
        }
        self.read_long(bits)
    }

    fn read_long(&self, bits: &mut Bits) -> Result<usize, Fault> {
        let ahead = bits.peek(LONGEST as u32);
        let (mut code, mut first, mut place) = (0_i32, 0_i32, 0_i32);
        for length in 1..=LONGEST {
            let bit = (ahead >> (length - 1) & 1) as i32;
            code |= if self.inverted { bit ^ 1 } else { bit };
            let count = i32::from(self.counts[length]);
            if code - first < count {
                bits.skip(length as u32)?;
                let symbol =
                    usize::try_from(place + code - first).ok().and_then(|place| self.symbols.get(place));
                return symbol.map(|&symbol| usize::from(symbol)).ok_or(Fault::Corrupt);
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        bits.skip(LONGEST as u32)?;
        Err(Fault::Corrupt)
    }
}
