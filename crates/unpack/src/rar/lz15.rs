//! The method of RAR 1.3 to 1.5: adaptive codes for literals, and matches short and long.

use std::io;

use super::output::Output;
use crate::bits::Bits;

/// A fixed code: for each length from `first` on, the first value of 16 bits behind its codes and, at that length, the
/// number of its first symbol.
struct Fixed {
    first: u32,
    limits: &'static [u16],
    numbers: &'static [u16],
}

const LONG: Fixed = Fixed {
    first: 2,
    limits: &[0x8000, 0xa000, 0xc000, 0xd000, 0xe000, 0xea00, 0xee00, 0xf000, 0xf200, 0xf200, 0xffff],
    numbers: &[0, 0, 0, 2, 3, 5, 7, 11, 16, 20, 24, 32, 32],
};
const LONGER: Fixed = Fixed {
    first: 3,
    limits: &[0xa000, 0xc000, 0xd000, 0xe000, 0xea00, 0xee00, 0xf000, 0xf200, 0xf240, 0xffff],
    numbers: &[0, 0, 0, 0, 5, 7, 9, 13, 18, 22, 26, 34, 36],
};
/// From bytes that are guessed well to such that are not.
const PLACES: [Fixed; 5] = [
    Fixed {
        first: 4,
        limits: &[0x8000, 0xc000, 0xe000, 0xf200, 0xf200, 0xf200, 0xf200, 0xf200, 0xffff],
        numbers: &[0, 0, 0, 0, 0, 8, 16, 24, 33, 33, 33, 33, 33],
    },
    Fixed {
        first: 5,
        limits: &[0x2000, 0xc000, 0xe000, 0xf000, 0xf200, 0xf200, 0xf7e0, 0xffff],
        numbers: &[0, 0, 0, 0, 0, 0, 4, 44, 60, 76, 80, 80, 127],
    },
    Fixed {
        first: 5,
        limits: &[0x1000, 0x2400, 0x8000, 0xc000, 0xfa00, 0xffff, 0xffff, 0xffff],
        numbers: &[0, 0, 0, 0, 0, 0, 2, 7, 53, 117, 233, 0, 0],
    },
    Fixed {
        first: 6,
        limits: &[0x0800, 0x2400, 0xee00, 0xfe80, 0xffff, 0xffff, 0xffff],
        numbers: &[0, 0, 0, 0, 0, 0, 0, 2, 16, 218, 251, 0, 0],
    },
    Fixed {
        first: 8,
        limits: &[0xff00, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff],
        numbers: &[0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0],
    },
];

impl Fixed {
    /// The next number.
    fn read(&self, bits: &mut Bits) -> usize {
        let next = bits.peek(16) & 0xfff0;
        let place = self.limits.iter().position(|limit| next < u32::from(*limit));
        let place = place.unwrap_or(self.limits.len() - 1);
        let length = self.first + place as u32;
        bits.skip(length);
        let before = if place > 0 { u32::from(self.limits[place - 1]) } else { 0 };
        let number = self.numbers.get(length as usize).copied().unwrap_or(0);
        ((next.saturating_sub(before)) >> (16 - length.min(16))) as usize + usize::from(number)
    }
}

/// The codes of short matches: bits and length, in two tables by how long the last matches were. The one at `variable`
/// takes a bit more at times.
struct Short {
    codes: [(u8, u32); 15],
    variable: usize,
}

const SHORT: [Short; 2] = [
    Short {
        codes: [
            (0x00, 1),
            (0xa0, 3),
            (0xd0, 4),
            (0xe0, 4),
            (0xf0, 5),
            (0xf8, 6),
            (0xfc, 7),
            (0xfe, 8),
            (0xff, 8),
            (0xc0, 4),
            (0x80, 4),
            (0x90, 5),
            (0x98, 6),
            (0x9c, 6),
            (0xb0, 4),
        ],
        variable: 1,
    },
    Short {
        codes: [
            (0x00, 2),
            (0x40, 3),
            (0x60, 3),
            (0xa0, 3),
            (0xd0, 4),
            (0xe0, 4),
            (0xf0, 5),
            (0xf8, 6),
            (0xfc, 6),
            (0xc0, 4),
            (0x80, 4),
            (0x90, 5),
            (0x98, 6),
            (0x9c, 6),
            (0xb0, 4),
        ],
        variable: 3,
    },
];

/// Values in the order of how often they were used, each with a count in its low byte.
#[derive(Debug)]
struct Ranked {
    values: [u16; 256],
    places: [u8; 256],
    /// A count above it makes the order settle.
    most: u16,
}

impl Ranked {
    fn new(most: u16, value: impl Fn(u16) -> u16) -> Ranked {
        let mut place = 0;
        let values = [0; 256].map(|_: u16| {
            place += 1;
            value(place - 1)
        });
        Ranked { values, places: [0; 256], most }
    }

    /// Counts start again, by eight classes.
    fn settle(&mut self) {
        for (place, value) in self.values.iter_mut().enumerate() {
            *value = *value & 0xff00 | (7 - place as u16 / 32);
        }
        self.places = [0; 256];
        for class in 0..7 {
            self.places[class] = (7 - class as u8) * 32;
        }
    }

    /// The value at a place, which moves forward.
    fn take(&mut self, place: usize) -> u16 {
        let place = place & 0xff;
        loop {
            let value = self.values[place];
            let counted = usize::from(value & 0xff);
            let to = usize::from(self.places[counted]);
            self.places[counted] = self.places[counted].wrapping_add(1);
            let more = value.wrapping_add(1);
            if (value & 0xff) + 1 > self.most {
                self.settle();
                continue;
            }
            self.values[place] = self.values[to];
            self.values[to] = more;
            return value;
        }
    }
}

/// The unpacker's state, which members of a solid archive pass on.
#[derive(Debug)]
pub(super) struct Lz15 {
    literals: Ranked,
    distances: Ranked,
    flag_sets: Ranked,
    near: [u8; 256],
    average_place: usize,
    average_distance: usize,
    average_short: usize,
    average_long: usize,
    average_far: usize,
    far: usize,
    literal_weight: u32,
    match_weight: u32,
    literals_in_row: u32,
    only_literals: bool,
    variable: u32,
    repeats: u32,
    flags: u8,
    flags_left: u32,
    recent: [usize; 4],
    next_recent: usize,
    last: (usize, usize),
}

impl Default for Lz15 {
    fn default() -> Lz15 {
        let mut distances = Ranked::new(0xff, |place| place << 8);
        distances.settle();
        let mut near = [0; 256];
        near.iter_mut().zip(0..=255).for_each(|(value, place)| *value = place);
        Lz15 {
            literals: Ranked::new(0xa1, |place| place << 8),
            distances,
            flag_sets: Ranked::new(0xff, |place| ((256 - place) & 0xff) << 8),
            near,
            average_place: 0x3500,
            average_distance: 0,
            average_short: 0,
            average_long: 0,
            average_far: 0,
            far: 0x2001,
            literal_weight: 0x80,
            match_weight: 0x80,
            literals_in_row: 0,
            only_literals: false,
            variable: 0,
            repeats: 0,
            flags: 0,
            flags_left: 0,
            recent: [usize::MAX; 4],
            next_recent: 0,
            last: (usize::MAX, 0),
        }
    }
}

impl Lz15 {
    /// Goes on to the next member.
    pub(super) fn begin(&mut self, solid: bool) {
        if !solid {
            *self = Lz15::default();
        }
        (self.only_literals, self.repeats, self.flags_left) = (false, 0, 0);
    }

    /// Unpacks some; false at the end.
    pub(super) fn step(&mut self, bits: &mut Bits, out: &mut Output) -> io::Result<bool> {
        while !out.full() {
            bits.check()?;
            if self.only_literals {
                self.literal(bits, out);
            } else if self.flag(bits) {
                if self.match_weight > self.literal_weight {
                    self.long(bits, out);
                } else {
                    self.literal(bits, out);
                }
            } else if self.flag(bits) {
                if self.match_weight > self.literal_weight {
                    self.literal(bits, out);
                } else {
                    self.long(bits, out);
                }
            } else {
                self.short(bits, out);
            }
        }
        bits.check()?;
        Ok(!out.complete())
    }

    /// The next flag. They come in sets of eight.
    fn flag(&mut self, bits: &mut Bits) -> bool {
        if self.flags_left == 0 {
            let place = PLACES[2].read(bits);
            if place < 256 {
                self.flags = (self.flag_sets.take(place) >> 8) as u8;
            }
            self.flags_left = 8;
        }
        self.flags_left -= 1;
        let flag = self.flags & 0x80 != 0;
        self.flags <<= 1;
        flag
    }

    fn literal(&mut self, bits: &mut Bits, out: &mut Output) {
        let next = bits.peek(16);
        let code = match self.average_place {
            0x7600.. => &PLACES[4],
            0x5e00.. => &PLACES[3],
            0x3600.. => &PLACES[2],
            0x0e00.. => &PLACES[1],
            _ => &PLACES[0],
        };
        let mut place = code.read(bits) & 0xff;
        if self.only_literals {
            if place == 0 && next > 0xfff {
                place = 0x100;
            }
            if place == 0 {
                self.between_literals(bits, out);
                return;
            }
            place -= 1;
        } else {
            if self.literals_in_row >= 16 && self.flags_left == 0 {
                self.only_literals = true;
            }
            self.literals_in_row += 1;
        }
        self.average_place += place;
        self.average_place -= self.average_place >> 8;
        self.literal_weight += 16;
        if self.literal_weight > 0xff {
            self.literal_weight = 0x90;
            self.match_weight >>= 1;
        }
        out.push((self.literals.take(place) >> 8) as u8);
    }

    /// A match among many literals, or their end.
    fn between_literals(&mut self, bits: &mut Bits, out: &mut Output) {
        if bits.bit() {
            (self.literals_in_row, self.only_literals) = (0, false);
            return;
        }
        let length = if bits.bit() { 4 } else { 3 };
        let distance = PLACES[2].read(bits) << 5 | bits.take(5) as usize;
        out.copy(distance, length);
    }

    fn long(&mut self, bits: &mut Bits, out: &mut Output) {
        self.literals_in_row = 0;
        self.match_weight += 16;
        if self.match_weight > 0xff {
            self.match_weight = 0x90;
            self.literal_weight >>= 1;
        }
        let before = self.average_long;
        let mut length = if self.average_long >= 122 {
            LONGER.read(bits)
        } else if self.average_long >= 64 {
            LONG.read(bits)
        } else {
            match bits.peek(16) {
                next @ 0..0x100 => {
                    bits.skip(16);
                    next as usize
                }
                next => {
                    let zeros = next.leading_zeros() - 16;
                    bits.skip(zeros + 1);
                    zeros as usize
                }
            }
        };
        self.average_long += length;
        self.average_long -= self.average_long >> 5;
        let code = match self.average_distance {
            0x2900.. => &PLACES[2],
            0x0700.. => &PLACES[1],
            _ => &PLACES[0],
        };
        let place = code.read(bits);
        self.average_distance += place;
        self.average_distance -= self.average_distance >> 8;
        let high = usize::from(self.distances.take(place) & 0xff00);
        let distance = (high | bits.peek(8) as usize) >> 1;
        bits.skip(7);
        let far_before = self.average_far;
        if length != 1 && length != 4 {
            if length == 0 && distance <= self.far {
                self.average_far += 1;
                self.average_far -= self.average_far >> 8;
            } else {
                self.average_far = self.average_far.saturating_sub(1);
            }
        }
        length += 3 + usize::from(distance >= self.far);
        if distance <= 256 {
            length += 8;
        }
        let is_far = far_before > 0xb0 || self.average_place >= 0x2a00 && before < 0x40;
        self.far = if is_far { 0x7f00 } else { 0x2001 };
        self.matched(distance, length, out);
    }

    fn short(&mut self, bits: &mut Bits, out: &mut Output) {
        self.literals_in_row = 0;
        if self.repeats == 2 {
            if bits.bit() {
                out.copy(self.last.0, self.last.1);
                return;
            }
            self.repeats = 0;
        }
        let Short { codes, variable } = &SHORT[usize::from(self.average_short >= 37)];
        let next = bits.peek(8) as u8;
        let found = codes.iter().enumerate().find_map(|(place, (code, length))| {
            let length = if place == *variable { self.variable + 3 } else { *length };
            let mask = !(0xff_u32 >> length) as u8;
            ((next ^ code) & mask == 0).then_some((place, length))
        });
        let Some((kind, length)) = found else { return bits.skip(8) };
        bits.skip(length);
        match kind {
            9 => {
                self.repeats += 1;
                out.copy(self.last.0, self.last.1);
            }
            14 => {
                self.repeats = 0;
                let length = LONGER.read(bits) + 5;
                let distance = bits.take(15) as usize | 0x8000;
                self.last = (distance, length);
                out.copy(distance, length);
            }
            10..14 => {
                self.repeats = 0;
                let distance = self.recent[self.next_recent.wrapping_sub(kind - 9) & 3];
                let mut length = LONG.read(bits) + 2;
                if length == 0x101 && kind == 10 {
                    self.variable ^= 1;
                    return;
                }
                length += usize::from(distance > 256) + usize::from(distance >= self.far);
                self.matched(distance, length, out);
            }
            _ => {
                self.repeats = 0;
                self.average_short += kind;
                self.average_short -= self.average_short >> 4;
                let place = PLACES[2].read(bits) & 0xff;
                let distance = usize::from(self.near[place]) + 1;
                if place > 0 {
                    self.near.swap(place, place - 1);
                }
                self.matched(distance, kind + 2, out);
            }
        }
    }

    fn matched(&mut self, distance: usize, length: usize, out: &mut Output) {
        self.recent[self.next_recent] = distance;
        self.next_recent = (self.next_recent + 1) & 3;
        self.last = (distance, length);
        out.copy(distance, length);
    }
}
