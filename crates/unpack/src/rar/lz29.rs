//! The method of RAR 2.9 to 4: LZ77 or PPMd in turns, and filters as small programs.

use std::io;

use super::filter::Filter;
use super::lz50::lengths_of_lengths;
use super::output::Output;
use super::ppmd::{Model, Ranges};
use crate::bits::{Bits, Code, corrupt};

/// Symbols of the four codes: literals and lengths, distances, low bits of distances, lengths of repeated matches.
const LITERALS: usize = 299;
const DISTANCES: usize = 60;
const LOW: usize = 17;
const LENGTHS: usize = 28;
const ALL: usize = LITERALS + DISTANCES + LOW + LENGTHS;

/// Lengths less their least, and the bits that are added to them. RAR 2 has the same.
pub(super) const LENGTH: [(u8, u8); 28] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 1),
    (10, 1),
    (12, 1),
    (14, 1),
    (16, 2),
    (20, 2),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 3),
    (56, 3),
    (64, 4),
    (80, 4),
    (96, 4),
    (112, 4),
    (128, 5),
    (160, 5),
    (192, 5),
    (224, 5),
];

/// Distances of matches of two bytes, less one, and the bits that are added to them. RAR 2 has the same.
pub(super) const SHORT: [(u8, u8); 8] =
    [(0, 2), (4, 2), (8, 3), (16, 4), (32, 5), (64, 6), (128, 6), (192, 6)];

/// The unpacker's state, which members of a solid archive pass on.
#[derive(Debug)]
pub(super) struct Lz29 {
    codes: Option<Codes>,
    /// The lengths that the codes were made of; the next are differences.
    lengths: [u8; ALL],
    recent: [usize; 4],
    last_length: usize,
    last_low: usize,
    low_repeats: u32,
    /// The next member goes on with these codes or this model.
    kept: bool,
    in_ppmd: bool,
    model: Option<Box<Model>>,
    ranges: Ranges,
    escape: u8,
    programs: Programs,
    /// A model that would have needed more memory than there may be ended it.
    pub(super) over_memory: bool,
}

#[derive(Debug)]
struct Codes {
    literals: Code,
    distances: Code,
    low: Code,
    lengths: Code,
}

/// The programs that filters are.
#[derive(Debug, Default)]
struct Programs {
    known: Vec<Program>,
    last: usize,
}

#[derive(Debug)]
struct Program {
    code: Vec<u8>,
    len: u32,
}

impl Default for Lz29 {
    fn default() -> Lz29 {
        Lz29 {
            codes: None,
            lengths: [0; ALL],
            recent: [0; 4],
            last_length: 0,
            last_low: 0,
            low_repeats: 0,
            kept: false,
            in_ppmd: false,
            model: None,
            ranges: Ranges::default(),
            escape: 2,
            programs: Programs::default(),
            over_memory: false,
        }
    }
}

impl Lz29 {
    /// Goes on to the next member.
    pub(super) fn begin(&mut self, solid: bool) {
        if !solid {
            *self = Lz29::default();
        }
    }

    /// Reads what stands at the beginning of a member.
    pub(super) fn head(&mut self, bits: &mut Bits, most_memory: u64) -> io::Result<()> {
        if !self.kept { self.block(bits, most_memory) } else { Ok(()) }
    }

    /// Reads what follows the last byte of a member: whether the next one goes on with the codes.
    pub(super) fn tail(&mut self, bits: &mut Bits) -> io::Result<()> {
        if let (false, Some(codes)) = (self.in_ppmd, &self.codes)
            && codes.literals.read(bits)? == 256
            && !bits.bit()
        {
            self.kept = !bits.bit();
        }
        Ok(())
    }

    /// Unpacks some; false at the end.
    pub(super) fn step(&mut self, bits: &mut Bits, out: &mut Output, most_memory: u64) -> io::Result<bool> {
        while !out.full() {
            let more = if self.in_ppmd {
                self.ppmd_symbol(bits, out, most_memory)?
            } else {
                self.symbol(bits, out, most_memory)?
            };
            if !more {
                return Ok(false);
            }
        }
        if !self.in_ppmd {
            bits.check()?;
        }
        Ok(!out.complete())
    }

    /// Reads the header of a block: codes, or the parameters of PPMd.
    fn block(&mut self, bits: &mut Bits, most_memory: u64) -> io::Result<()> {
        bits.align();
        if bits.peek(1) == 1 {
            return self.begin_ppmd(bits, most_memory);
        }
        self.in_ppmd = false;
        bits.skip(1);
        if !bits.bit() {
            self.lengths = [0; ALL];
        }
        (self.last_low, self.low_repeats) = (0, 0);
        let first = Code::new(&lengths_of_lengths(bits)).ok_or_else(corrupt)?;
        let mut place = 0;
        while place < ALL {
            let (value, count) = match first.read(bits)? {
                change @ 0..=15 => {
                    self.lengths[place] = (self.lengths[place] + change as u8) & 15;
                    place += 1;
                    continue;
                }
                symbol @ (16 | 17) => {
                    let count = if symbol == 16 { 3 + bits.take(3) } else { 11 + bits.take(7) };
                    (
                        *place.checked_sub(1).and_then(|last| self.lengths.get(last)).ok_or_else(corrupt)?,
                        count,
                    )
                }
                18 => (0, 3 + bits.take(3)),
                _ => (0, 11 + bits.take(7)),
            };
            let end = ALL.min(place + count as usize);
            self.lengths[place..end].fill(value);
            place = end;
        }
        bits.check()?;
        let mut rest = &self.lengths[..];
        let mut next = |count: usize| {
            let (lengths, others) = rest.split_at(count);
            rest = others;
            Code::new(lengths).ok_or_else(corrupt)
        };
        self.codes = Some(Codes {
            literals: next(LITERALS)?,
            distances: next(DISTANCES)?,
            low: next(LOW)?,
            lengths: next(LENGTHS)?,
        });
        self.kept = true;
        Ok(())
    }

    /// The next symbol where LZ77 is used; false at the end.
    fn symbol(&mut self, bits: &mut Bits, out: &mut Output, most_memory: u64) -> io::Result<bool> {
        let Some(codes) = &self.codes else { return Err(corrupt()) };
        match codes.literals.read(bits)? {
            byte @ 0..=255 => out.push(byte as u8),
            256 => {
                if !bits.bit() {
                    // The member ends. The next one may go on with the codes.
                    self.kept = !bits.bit();
                    bits.check()?;
                    return Ok(false);
                }
                self.block(bits, most_memory)?;
            }
            257 => {
                let first = bits.take(8) as u8;
                let mut next = || Ok(bits.take(8) as u8);
                let program = read_program(first, &mut next)?;
                bits.check()?;
                self.programs.run(first, &program, out)?;
            }
            258 => {
                if self.last_length > 0 {
                    out.copy(self.recent[0], self.last_length);
                }
            }
            symbol @ 259..=262 => {
                self.recent[..=symbol - 259].rotate_right(1);
                let slot = codes.lengths.read(bits)?;
                self.last_length = length(slot, bits)? + 2;
                out.copy(self.recent[0], self.last_length);
            }
            symbol @ 263..=270 => {
                let (least, more) = SHORT[symbol - 263];
                let distance = usize::from(least) + 1 + bits.take(more.into()) as usize;
                self.matched(distance, 2, out);
            }
            symbol => {
                let length = length(symbol - 271, bits)? + 3;
                let distance = self.distance(bits)?;
                let longer = usize::from(distance >= 0x2000) + usize::from(distance >= 0x40000);
                self.matched(distance, length + longer, out);
            }
        }
        Ok(true)
    }

    fn matched(&mut self, distance: usize, length: usize, out: &mut Output) {
        self.recent.rotate_right(1);
        self.recent[0] = distance;
        self.last_length = length;
        out.copy(distance, length);
    }

    fn distance(&mut self, bits: &mut Bits) -> io::Result<usize> {
        let Some(codes) = &self.codes else { return Err(corrupt()) };
        let slot = codes.distances.read(bits)?;
        let (least, more) = distance_slot(slot);
        let mut distance = least + 1;
        if slot <= 9 {
            return Ok(distance + bits.take(more) as usize);
        }
        distance += (bits.take(more - 4) as usize) << 4;
        if self.low_repeats > 0 {
            self.low_repeats -= 1;
        } else {
            match codes.low.read(bits)? {
                16 => self.low_repeats = 15,
                low => self.last_low = low,
            }
        }
        Ok(distance + self.last_low)
    }

    /// Reads the parameters of PPMd. A model that is there may go on.
    fn begin_ppmd(&mut self, bits: &mut Bits, most_memory: u64) -> io::Result<()> {
        let flags = bits.take(8);
        let fresh = flags & 0x20 != 0;
        let memory = if fresh { (bits.take(8) + 1) << 20 } else { 0 };
        if flags & 0x40 != 0 {
            self.escape = bits.take(8) as u8;
        }
        let at = self.ranges.begin(bits.input(), bits.byte())?;
        bits.go(at);
        if fresh {
            let order = (flags & 0x1f) + 1;
            let order = if order > 16 { 16 + (order - 16) * 3 } else { order };
            self.over_memory = u64::from(memory) > most_memory;
            if order == 1 || self.over_memory {
                return Err(corrupt());
            }
            match &mut self.model {
                Some(model) if model.memory() == memory => model.restart(order),
                model => *model = Some(Box::new(Model::new(order, memory))),
            }
        } else if self.model.is_none() {
            return Err(corrupt());
        }
        (self.in_ppmd, self.kept) = (true, false);
        Ok(())
    }

    /// The next symbol where PPMd is used; false at the end.
    fn ppmd_symbol(&mut self, bits: &mut Bits, out: &mut Output, most_memory: u64) -> io::Result<bool> {
        let Some(model) = &mut self.model else { return Err(corrupt()) };
        let ranges = &mut self.ranges;
        let input = bits.input();
        let mut next = || model.read(ranges, input);
        let symbol = next()?;
        if symbol != self.escape {
            out.push(symbol);
            return Ok(true);
        }
        match next()? {
            0 => {
                bits.go(self.ranges.place());
                self.block(bits, most_memory)?;
            }
            2 => {
                // The member ends. The next one begins with a header of its own.
                return Ok(false);
            }
            3 => {
                let first = next()?;
                let program = read_program(first, &mut next)?;
                self.programs.run(first, &program, out)?;
            }
            4 => {
                let distance = [next()?, next()?, next()?];
                let distance = distance.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
                let length = usize::from(next()?) + 32;
                out.copy(distance + 2, length);
            }
            5 => {
                let length = usize::from(next()?) + 4;
                out.copy(1, length);
            }
            _ => out.push(self.escape),
        }
        Ok(true)
    }
}

pub(super) fn length(slot: usize, bits: &mut Bits) -> io::Result<usize> {
    let (least, more) = *LENGTH.get(slot).ok_or_else(corrupt)?;
    Ok(usize::from(least) + bits.take(more.into()) as usize)
}

/// The least distance of a slot, less one, and the bits that are added. RAR 2 has the first 48 of them.
pub(super) fn distance_slot(slot: usize) -> (usize, u32) {
    match slot {
        0..4 => (slot, 0),
        4..34 => {
            let more = slot / 2 - 1;
            ((2 | (slot & 1)) << more, more as u32)
        }
        34..48 => ((slot - 32) << 16, 16),
        _ => ((slot - 44) << 18, 18),
    }
}

/// The program that a filter brings with it.
fn read_program(first: u8, next: &mut dyn FnMut() -> io::Result<u8>) -> io::Result<Vec<u8>> {
    let len = match first & 7 {
        6 => usize::from(next()?) + 7,
        7 => usize::from(next()?) << 8 | usize::from(next()?),
        len => usize::from(len) + 1,
    };
    (0..len).map(|_| next()).collect()
}

impl Programs {
    /// Notes a filter: a program that is new or was seen before, with its place and its registers.
    fn run(&mut self, first: u8, packed: &[u8], out: &mut Output) -> io::Result<()> {
        /// unrar takes as many.
        const MOST: usize = 8192;
        let bits = &mut Bits::new(packed);
        let mut which = self.last;
        if first & 0x80 != 0 {
            which = number(bits) as usize;
            if which == 0 {
                self.known.clear();
            } else {
                which -= 1;
            }
        }
        let fresh = which == self.known.len();
        if which > self.known.len() || which >= MOST {
            return Err(corrupt());
        }
        self.last = which;
        let mut ahead = u64::from(number(bits));
        if first & 0x40 != 0 {
            ahead += 258;
        }
        let mut len = self.known.get(which).map_or(0, |program| program.len);
        if first & 0x20 != 0 {
            len = number(bits);
        }
        let mut registers = [0; 7];
        if first & 0x10 != 0 {
            let mask = bits.take(7);
            for (place, register) in registers.iter_mut().enumerate() {
                if mask & 1 << place != 0 {
                    *register = number(bits);
                }
            }
        }
        if fresh {
            let size = number(bits) as usize;
            bits.check()?;
            if size == 0 || size > packed.len() {
                return Err(corrupt());
            }
            let code = (0..size).map(|_| bits.take(8) as u8).collect();
            self.known.push(Program { code, len });
        }
        bits.check()?;
        let program = self.known.get_mut(which).ok_or_else(corrupt)?;
        program.len = len;
        out.filter(ahead, len.into(), Filter::of_program(&program.code, &registers))
    }
}

/// A number of 4, 8, 16 or 32 bits, as programs have them.
fn number(bits: &mut Bits) -> u32 {
    match bits.take(2) {
        0 => bits.take(4),
        1 => match bits.take(8) {
            // Small negative ones.
            high @ 0..16 => 0xffff_ff00 | high << 4 | bits.take(4),
            number => number,
        },
        2 => bits.take(16),
        _ => bits.take(32),
    }
}
