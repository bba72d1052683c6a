//! The method of RAR 2.0 to 2.6: LZ77, or predicted sound in up to four channels.

use std::io;

use super::filter::Predictor;
use super::lz29::{SHORT, distance_slot, length};
use super::output::Output;
use crate::bits::{Bits, Code, corrupt};

/// Symbols of the three codes, and of the code of one channel of sound.
const LITERALS: usize = 298;
const DISTANCES: usize = 48;
const LENGTHS: usize = 28;
const SAMPLES: usize = 257;
const MOST: usize = 4 * SAMPLES;

/// The unpacker's state, which members of a solid archive pass on.
#[derive(Debug)]
pub(super) struct Lz20 {
    codes: Codes,
    /// The lengths that the codes were made of; the next are differences.
    lengths: [u8; MOST],
    recent: [usize; 4],
    next_recent: usize,
    last: (usize, usize),
    predictors: [Predictor<5>; 4],
    channel: usize,
    /// The last change in the channel before.
    beside: i32,
}

#[allow(clippy::large_enum_variant, reason = "there is one of it")]
#[derive(Debug)]
enum Codes {
    None,
    Matches { literals: Code, distances: Code, lengths: Code },
    Sound(Vec<Code>),
}

impl Default for Lz20 {
    fn default() -> Lz20 {
        Lz20 {
            codes: Codes::None,
            lengths: [0; MOST],
            recent: [0; 4],
            next_recent: 0,
            last: (0, 0),
            predictors: Default::default(),
            channel: 0,
            beside: 0,
        }
    }
}

impl Lz20 {
    /// Goes on to the next member.
    pub(super) fn begin(&mut self, solid: bool) {
        if !solid {
            *self = Lz20::default();
        }
    }

    /// Reads what stands at the beginning of a member.
    pub(super) fn head(&mut self, bits: &mut Bits) -> io::Result<()> {
        if matches!(self.codes, Codes::None) { self.block(bits) } else { Ok(()) }
    }

    /// Reads what follows the last byte of a member: perhaps new codes for the next one.
    pub(super) fn tail(&mut self, bits: &mut Bits) -> io::Result<()> {
        if bits.byte() + 5 > bits.input().len() {
            return Ok(());
        }
        let fresh = match &self.codes {
            Codes::Sound(channels) => channels[self.channel % channels.len()].read(bits)? == 256,
            Codes::Matches { literals, .. } => literals.read(bits)? == 269,
            Codes::None => false,
        };
        if fresh { self.block(bits) } else { Ok(()) }
    }

    /// Unpacks some; false at the end.
    pub(super) fn step(&mut self, bits: &mut Bits, out: &mut Output) -> io::Result<bool> {
        while !out.full() {
            match &self.codes {
                Codes::Sound(channels) => {
                    self.channel %= channels.len();
                    match channels[self.channel].read(bits)? {
                        256 => self.block(bits)?,
                        off => {
                            let predictor = &mut self.predictors[self.channel];
                            out.push(predictor.next(off as u8, self.beside));
                            self.beside = predictor.last_delta();
                            self.channel += 1;
                        }
                    }
                }
                Codes::Matches { .. } => self.symbol(bits, out)?,
                Codes::None => return Err(corrupt()),
            }
        }
        bits.check()?;
        Ok(!out.complete())
    }

    fn symbol(&mut self, bits: &mut Bits, out: &mut Output) -> io::Result<()> {
        let Codes::Matches { literals, distances, lengths } = &self.codes else { return Err(corrupt()) };
        match literals.read(bits)? {
            byte @ 0..=255 => out.push(byte as u8),
            256 => self.matched(self.last.0, self.last.1, out),
            symbol @ 257..=260 => {
                let distance = self.recent[self.next_recent.wrapping_sub(symbol - 256) & 3];
                let length = length(lengths.read(bits)?, bits)? + 2;
                let longer = [0x101, 0x2000, 0x40000].iter().filter(|reach| distance >= **reach).count();
                self.matched(distance, length + longer, out);
            }
            symbol @ 261..=268 => {
                let (least, more) = SHORT[symbol - 261];
                let distance = usize::from(least) + 1 + bits.take(more.into()) as usize;
                self.matched(distance, 2, out);
            }
            269 => self.block(bits)?,
            symbol => {
                let length = length(symbol - 270, bits)? + 3;
                let (least, more) = distance_slot(distances.read(bits)?);
                let distance = least + 1 + bits.take(more) as usize;
                let longer = usize::from(distance >= 0x2000) + usize::from(distance >= 0x40000);
                self.matched(distance, length + longer, out);
            }
        }
        Ok(())
    }

    fn matched(&mut self, distance: usize, length: usize, out: &mut Output) {
        self.recent[self.next_recent & 3] = distance;
        self.next_recent = (self.next_recent + 1) & 3;
        self.last = (distance, length);
        out.copy(distance, length);
    }

    /// Reads the header of a block: what it is, and its codes.
    fn block(&mut self, bits: &mut Bits) -> io::Result<()> {
        let sound = bits.bit();
        if !bits.bit() {
            self.lengths = [0; MOST];
        }
        let channels = if sound { bits.take(2) as usize + 1 } else { 0 };
        let all = if sound { channels * SAMPLES } else { LITERALS + DISTANCES + LENGTHS };
        let mut first = [0; 19];
        first.iter_mut().for_each(|length| *length = bits.take(4) as u8);
        let first = Code::new(&first).ok_or_else(corrupt)?;
        let mut place = 0;
        while place < all {
            let (value, count) = match first.read(bits)? {
                change @ 0..=15 => {
                    self.lengths[place] = (self.lengths[place] + change as u8) & 15;
                    place += 1;
                    continue;
                }
                16 => {
                    let count = 3 + bits.take(2);
                    (
                        *place.checked_sub(1).and_then(|last| self.lengths.get(last)).ok_or_else(corrupt)?,
                        count,
                    )
                }
                17 => (0, 3 + bits.take(3)),
                _ => (0, 11 + bits.take(7)),
            };
            let end = all.min(place + count as usize);
            self.lengths[place..end].fill(value);
            place = end;
        }
        bits.check()?;
        let code = |range: std::ops::Range<usize>| Code::new(&self.lengths[range]).ok_or_else(corrupt);
        self.codes = if sound {
            let each = (0..channels).map(|channel| code(channel * SAMPLES..(channel + 1) * SAMPLES));
            Codes::Sound(each.collect::<io::Result<_>>()?)
        } else {
            Codes::Matches {
                literals: code(0..LITERALS)?,
                distances: code(LITERALS..LITERALS + DISTANCES)?,
                lengths: code(LITERALS + DISTANCES..all)?,
            }
        };
        Ok(())
    }
}
