//! Bits read from the lowest of each byte on.

use super::Fault;

/// A reader of bits.
pub(super) struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Reads `input`.
    pub(super) fn new(input: &'a [u8]) -> Bits<'a> {
        Bits { input, at: 0, held: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.input.get(self.at) else { return };
            self.held |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// The next `count` bits (32 at most), zeros where the input ends; they stay.
    #[inline]
    pub(super) fn peek(&mut self, count: u32) -> u32 {
        if self.count < count {
            self.fill();
        }
        (self.held & ((1 << count) - 1)) as u32
    }

    /// Takes bits that were looked at.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Fault> {
        if self.count < count {
            return Err(Fault::Truncated);
        }
        self.held >>= count;
        self.count -= count;
        Ok(())
    }

    /// The next `count` bits, 32 at most.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Fault> {
        let bits = self.peek(count);
        self.skip(count)?;
        Ok(bits)
    }

    /// Goes on at the next whole byte.
    pub(super) fn align(&mut self) {
        let rest = self.count % 8;
        self.held >>= rest;
        self.count -= rest;
    }

    /// Bytes that were read, those begun included.
    pub(super) fn used(&self) -> usize {
        self.at - (self.count / 8) as usize
    }

    /// The next bytes, from a whole byte on.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        self.align();
        let from = self.used();
        let bytes = self.input.get(from..).and_then(|rest| rest.get(..len)).ok_or(Fault::Truncated)?;
        (self.at, self.held, self.count) = (from + len, 0, 0);
        Ok(bytes)
    }
}
