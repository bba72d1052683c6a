//! Decompressors. Each reads a slice and writes into a [`Sink`], which is its window at the same time: nothing is kept twice,
//! and a dictionary that a header declares costs nothing before it is filled.

pub(crate) mod bcj;
mod bits;
pub(crate) mod bzip2;
pub(crate) mod dcl;
pub(crate) mod deflate64;
mod huffman;
pub(crate) mod implode;
pub(crate) mod lz4;
pub(crate) mod lzma;
pub(crate) mod lzma2;
pub(crate) mod lzo;
pub(crate) mod lzw;
pub(crate) mod ppmd;
pub(crate) mod reduce;
pub(crate) mod shrink;
pub(crate) mod xz;
pub(crate) mod zstd;

use std::io::{self, Read};

use gatepost_mail::Limit;

/// Why a decoder stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The input ended early.
    Truncated,
    /// The input makes no sense.
    Corrupt,
    /// A limit was met.
    Over(Limit),
}

/// What tells the budget: bytes made by this decoder in all, and since it was asked last.
type Spend<'a> = dyn FnMut(u64, u64) -> Result<(), Limit> + 'a;

/// Where a decoder's output goes, behind what is there already, and how it is paid for.
pub(crate) struct Sink<'a> {
    out: &'a mut Vec<u8>,
    /// Where this decoder's output begins; matches cannot reach before.
    start: usize,
    /// Size at which the budget was asked last.
    paid: usize,
    spend: &'a mut Spend<'a>,
}

impl<'a> Sink<'a> {
    /// The budget is asked after so many bytes.
    const STEP: usize = 64 << 10;

    /// A sink that appends to `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>, spend: &'a mut Spend<'a>) -> Sink<'a> {
        let start = out.len();
        Sink { out, start, paid: start, spend }
    }

    /// Bytes made so far.
    pub(crate) fn made(&self) -> usize {
        self.out.len() - self.start
    }

    /// The byte `distance` before the end; 1 is the last one.
    pub(crate) fn back(&self, distance: usize) -> Option<u8> {
        if distance > self.made() {
            return None;
        }
        self.out.get(self.out.len().checked_sub(distance)?).copied()
    }

    /// Begins anew: later matches reach no further back than here.
    pub(crate) fn restart(&mut self) -> Result<(), Fault> {
        self.settle()?;
        self.start = self.out.len();
        Ok(())
    }

    /// Appends a byte.
    #[inline]
    pub(crate) fn push(&mut self, byte: u8) -> Result<(), Fault> {
        self.out.push(byte);
        self.pay()
    }

    /// Appends bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for step in bytes.chunks(Sink::STEP) {
            self.out.extend_from_slice(step);
            self.pay()?;
        }
        Ok(())
    }

    /// Appends `len` bytes from `distance` before the end, which may overlap with what is appended.
    #[inline]
    pub(crate) fn copy(&mut self, distance: usize, len: usize) -> Result<(), Fault> {
        if distance == 0 || distance > self.made() {
            return Err(Fault::Corrupt);
        }
        // What is between `from` and the end is the pattern, a whole number of times; so it doubles.
        let mut from = self.out.len() - distance;
        let mut left = len;
        while left > 0 {
            let there = self.out.len() - from;
            let step = left.min(there).min(Sink::STEP);
            self.out.extend_from_within(from..from + step);
            left -= step;
            if step < there {
                from += step;
            }
            self.pay()?;
        }
        Ok(())
    }

    /// [`Sink::copy`], where what lies before the beginning is zeros.
    pub(crate) fn copy_or_zeros(&mut self, distance: usize, len: usize) -> Result<(), Fault> {
        let zeros = distance.saturating_sub(self.made()).min(len);
        for _ in 0..zeros {
            self.push(0)?;
        }
        self.copy(distance, len - zeros)
    }

    /// A place to come back to by [`Sink::since`].
    pub(crate) fn mark(&self) -> usize {
        self.out.len()
    }

    /// What was made since `mark`, to be read or changed in place.
    pub(crate) fn since(&mut self, mark: usize) -> &mut [u8] {
        let mark = mark.min(self.out.len());
        &mut self.out[mark..]
    }

    /// Appends what a reader yields. Its errors of kind `UnexpectedEof` mean truncated input, all others corrupt input.
    pub(crate) fn drain(&mut self, source: &mut dyn Read, most: Option<u64>) -> Result<(), Fault> {
        let mut step = vec![0; Sink::STEP];
        let mut left = most.unwrap_or(u64::MAX);
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(step.len()).min(step.len());
            match source.read(&mut step[..room]) {
                Ok(0) => break,
                Ok(more) => {
                    self.extend(&step[..more.min(room)])?;
                    left -= more.min(room) as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Fault::Truncated),
                Err(_) => return Err(Fault::Corrupt),
            }
        }
        if most.is_some() && left > 0 { Err(Fault::Truncated) } else { Ok(()) }
    }

    /// An error where so many bytes more would be over a limit.
    pub(crate) fn foresee(&mut self, more: usize) -> Result<(), Fault> {
        let made = self.made() + more;
        (self.spend)(made as u64, 0).map_err(Fault::Over)
    }

    /// Pays for the rest.
    pub(crate) fn settle(&mut self) -> Result<(), Fault> {
        let more = (self.out.len() - self.paid) as u64;
        self.paid = self.out.len();
        (self.spend)((self.out.len() - self.start) as u64, more).map_err(Fault::Over)
    }

    #[inline]
    fn pay(&mut self) -> Result<(), Fault> {
        if self.out.len() - self.paid >= Sink::STEP { self.settle() } else { Ok(()) }
    }
}

/// What a decoder makes of `input`, up to `most` bytes, for a look at the beginning.
pub(crate) fn probe(
    most: usize,
    decoder: impl FnOnce(&mut Sink) -> Result<usize, Fault>,
) -> (Vec<u8>, Result<usize, Fault>) {
    let mut out = Vec::new();
    let mut spend = |made, _| if made > most as u64 { Err(Limit::Bytes) } else { Ok(()) };
    let mut sink = Sink::new(&mut out, &mut spend);
    let ended = decoder(&mut sink);
    (out, ended)
}
