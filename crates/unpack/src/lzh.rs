//! The methods of LHA and their kin, by the decoders of delharc, and sums of their files.

use std::io;

use delharc::decode::{Decoder, Lh1Decoder, Lh5Decoder, Lh7Decoder, LhxDecoder, Lz5Decoder, LzsDecoder};
use delharc::decode::{Pm1Decoder, Pm2Decoder};
use delharc::error::LhaError;

use crate::bits::{Unpack, Window, corrupt, truncated};

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// LHarc 1: `-lh1-`.
    Lh1,
    /// `-lh4-` and `-lh5-`, and the second method of zoo.
    Lh5,
    /// `-lh6-` and `-lh7-`, and methods 1 to 3 of ARJ.
    Lh7,
    /// UNLHA32: `-lhx-`.
    Lhx,
    /// LArc: `-lzs-`.
    Lzs,
    /// LArc: `-lz5-`.
    Lz5,
    /// PMarc: `-pm1-`.
    Pm1,
    /// PMarc: `-pm2-`.
    Pm2,
}

/// An unpacker of a stream that becomes so many bytes.
pub(crate) struct Lzh<'a> {
    decoder: Box<dyn Fill + 'a>,
    window: Window,
    left: u64,
}

/// The decoder, whichever it is.
trait Fill {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()>;
}

impl<'a, D: Decoder<&'a [u8], Error = io::Error>> Fill for D {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.fill_buffer(buffer).map_err(|error| match error {
            LhaError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => truncated(),
            _ => corrupt(),
        })
    }
}

impl<'a> Lzh<'a> {
    /// Unpacks `packed` to `size` bytes.
    pub(crate) fn new(method: Method, packed: &'a [u8], size: u64) -> Lzh<'a> {
        let decoder: Box<dyn Fill + 'a> = match method {
            Method::Lh1 => Box::new(Lh1Decoder::new(packed)),
            Method::Lh5 => Box::new(Lh5Decoder::new(packed)),
            Method::Lh7 => Box::new(Lh7Decoder::new(packed)),
            Method::Lhx => Box::new(LhxDecoder::new(packed)),
            Method::Lzs => Box::new(LzsDecoder::new(packed)),
            Method::Lz5 => Box::new(Lz5Decoder::new(packed)),
            Method::Pm1 => Box::new(Pm1Decoder::new(packed)),
            Method::Pm2 => Box::new(Pm2Decoder::new(packed)),
        };
        Lzh { decoder, window: Window::new(0, None), left: size }
    }
}

impl Unpack for Lzh<'_> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        /// Little at a time: where the input ends early, what was asked for last is lost.
        const PIECE: usize = 16;
        /// Pieces in a step.
        const PIECES: usize = 512;
        let mut buffer = [0; PIECE];
        for _ in 0..PIECES {
            let size = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
            if size == 0 {
                return Ok(false);
            }
            self.decoder.fill(&mut buffer[..size])?;
            self.window.extend(&buffer[..size]);
            self.left -= size as u64;
        }
        Ok(true)
    }
}

/// CRC-16 as LHA, zoo and ARC have it (polynomial 0xa001, lowest bit first).
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = table();
    bytes.iter().fold(0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let mut value = place as u16;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { value >> 1 ^ 0xa001 } else { value >> 1 };
            bit += 1;
        }
        table[place] = value;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        assert_eq!((crc16(b""), crc16(b"123456789")), (0, 0xbb3d));
    }
}
