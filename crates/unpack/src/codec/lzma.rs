//! LZMA, as `.lzma`, lzip, zip and 7z have it; LZMA2 is made of it.

use super::{Fault, Sink};

/// Parameters of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    /// Bits of the byte before that choose a model for a literal.
    pub(crate) lc: u32,
    /// Bits of the place that do.
    pub(crate) lp: u32,
    /// Bits of the place that choose a model otherwise.
    pub(crate) pb: u32,
}

impl Properties {
    /// From the byte that holds all three.
    pub(crate) fn of(byte: u8) -> Option<Properties> {
        let byte = u32::from(byte);
        let properties = Properties { lc: byte % 9, lp: byte / 9 % 5, pb: byte / 45 };
        (properties.pb <= 4).then_some(properties)
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the size that was asked for.
    Full,
    /// At its end marker.
    Marked,
}

/// Unpacks a stream of that size, or up to its end marker; returns how many bytes it has.
pub(crate) fn decode(
    input: &[u8],
    properties: Properties,
    size: Option<u64>,
    sink: &mut Sink,
) -> Result<usize, Fault> {
    let mut coder = Coder::new(input)?;
    let mut model = Model::new(properties);
    if model.run(&mut coder, size, sink)? == Ended::Full {
        // An end marker may follow nonetheless.
        let at = coder.at;
        if !model.marker(&mut coder, sink) {
            coder.at = at;
        }
    }
    Ok(coder.at)
}

/// The range decoder.
pub(super) struct Coder<'a> {
    input: &'a [u8],
    /// Bytes that were read; more than there are when the input ends early.
    pub(super) at: usize,
    range: u32,
    code: u32,
}

impl<'a> Coder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Coder<'a>, Fault> {
        let head: &[u8; 5] = input.first_chunk().ok_or(Fault::Truncated)?;
        let code = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if head[0] != 0 || code == u32::MAX {
            return Err(Fault::Corrupt);
        }
        Ok(Coder { input, at: 5, range: u32::MAX, code })
    }

    #[inline(always)]
    fn normalize(&mut self) {
        if self.range < 1 << 24 {
            let byte = self.input.get(self.at).copied().unwrap_or(0);
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(byte);
            self.at += 1;
        }
    }

    #[inline(always)]
    fn bit(&mut self, probability: &mut u16) -> usize {
        self.normalize();
        let bound = (self.range >> 11) * u32::from(*probability);
        if self.code < bound {
            self.range = bound;
            *probability += (2048 - *probability) >> 5;
            0
        } else {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
            1
        }
    }

    fn direct(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.normalize();
            self.range >>= 1;
            let bit = u32::from(self.code >= self.range);
            self.code -= self.range * bit;
            value = value << 1 | bit;
        }
        value
    }

    /// A number of so many bits as the table is large, highest bit first.
    #[inline(always)]
    fn tree(&mut self, table: &mut [u16]) -> usize {
        let mut at = 1;
        while at < table.len() {
            at = at << 1 | self.bit(&mut table[at]);
        }
        at - table.len()
    }

    /// A number of `count` bits, lowest bit first; the table begins before its first entry that is used.
    fn reverse(&mut self, table: &mut [u16], count: u32) -> usize {
        let (mut at, mut value) = (1, 0);
        for place in 0..count {
            let Some(probability) = table.get_mut(at) else { return value };
            let bit = self.bit(probability);
            at = at << 1 | bit;
            value |= bit << place;
        }
        value
    }
}

const HALF: u16 = 1024;

/// Lengths of matches.
struct Lengths {
    choice: [u16; 2],
    low: [[u16; 8]; 16],
    middle: [[u16; 8]; 16],
    high: [u16; 256],
}

impl Lengths {
    fn new() -> Lengths {
        Lengths { choice: [HALF; 2], low: [[HALF; 8]; 16], middle: [[HALF; 8]; 16], high: [HALF; 256] }
    }

    fn read(&mut self, coder: &mut Coder, place: usize) -> usize {
        if coder.bit(&mut self.choice[0]) == 0 {
            2 + coder.tree(&mut self.low[place])
        } else if coder.bit(&mut self.choice[1]) == 0 {
            10 + coder.tree(&mut self.middle[place])
        } else {
            18 + coder.tree(&mut self.high)
        }
    }
}

/// What was learnt of the data so far.
pub(super) struct Model {
    properties: Properties,
    literals: Vec<u16>,
    is_match: [[u16; 16]; 12],
    is_rep: [u16; 12],
    is_rep0: [u16; 12],
    is_rep1: [u16; 12],
    is_rep2: [u16; 12],
    is_rep0_long: [[u16; 16]; 12],
    slots: [[u16; 64]; 4],
    special: [u16; 128],
    align: [u16; 16],
    lengths: Lengths,
    rep_lengths: Lengths,
    state: usize,
    /// The last four distances, less one.
    reps: [u32; 4],
}

impl Model {
    pub(super) fn new(properties: Properties) -> Model {
        Model {
            properties,
            literals: vec![HALF; 0x300 << (properties.lc + properties.lp)],
            is_match: [[HALF; 16]; 12],
            is_rep: [HALF; 12],
            is_rep0: [HALF; 12],
            is_rep1: [HALF; 12],
            is_rep2: [HALF; 12],
            is_rep0_long: [[HALF; 16]; 12],
            slots: [[HALF; 64]; 4],
            special: [HALF; 128],
            align: [HALF; 16],
            lengths: Lengths::new(),
            rep_lengths: Lengths::new(),
            state: 0,
            reps: [0; 4],
        }
    }

    /// Decodes until the sink has `size` more bytes, or to the end marker.
    pub(super) fn run(
        &mut self,
        coder: &mut Coder,
        size: Option<u64>,
        sink: &mut Sink,
    ) -> Result<Ended, Fault> {
        let start = sink.mark();
        let most = size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let place_mask = (1 << self.properties.pb) - 1;
        loop {
            let made = sink.mark() - start;
            if made >= most {
                return Ok(Ended::Full);
            }
            if coder.at > coder.input.len() {
                return Err(Fault::Truncated);
            }
            let place = sink.made() & place_mask;
            if coder.bit(&mut self.is_match[self.state][place]) == 0 {
                self.literal(coder, sink)?;
                continue;
            }
            let len = if coder.bit(&mut self.is_rep[self.state]) == 1 {
                self.repeated(coder, place)
            } else {
                let len = self.lengths.read(coder, place);
                self.state = if self.state < 7 { 7 } else { 10 };
                let distance = self.distance(coder, len);
                self.reps = [distance, self.reps[0], self.reps[1], self.reps[2]];
                if distance == u32::MAX {
                    coder.normalize();
                    return if coder.at > coder.input.len() {
                        Err(Fault::Truncated)
                    } else {
                        Ok(Ended::Marked)
                    };
                }
                len
            };
            if coder.at > coder.input.len() {
                return Err(Fault::Truncated);
            }
            sink.copy(self.reps[0] as usize + 1, len.min(most - made))?;
        }
    }

    /// Whether an end marker stands here, which is then read.
    fn marker(&mut self, coder: &mut Coder, sink: &Sink) -> bool {
        let place = sink.made() & ((1 << self.properties.pb) - 1);
        let plain = coder.bit(&mut self.is_match[self.state][place]) == 1
            && coder.bit(&mut self.is_rep[self.state]) == 0;
        let len = if plain { self.lengths.read(coder, place) } else { return false };
        let last = self.distance(coder, len) == u32::MAX;
        coder.normalize();
        last && coder.at <= coder.input.len()
    }

    #[inline(always)]
    fn literal(&mut self, coder: &mut Coder, sink: &mut Sink) -> Result<(), Fault> {
        let Properties { lc, lp, .. } = self.properties;
        let before = usize::from(sink.back(1).unwrap_or(0));
        let model = ((sink.made() & ((1 << lp) - 1)) << lc) + (before >> (8 - lc));
        let table = &mut self.literals[0x300 * model..][..0x300];
        let mut symbol = 1;
        if self.state >= 7 {
            let mut matched = usize::from(sink.back(self.reps[0] as usize + 1).ok_or(Fault::Corrupt)?);
            while symbol < 0x100 {
                let expected = matched >> 7 & 1;
                matched <<= 1;
                let bit = coder.bit(&mut table[((1 + expected) << 8) + symbol]);
                symbol = symbol << 1 | bit;
                if bit != expected {
                    break;
                }
            }
        }
        while symbol < 0x100 {
            symbol = symbol << 1 | coder.bit(&mut table[symbol]);
        }
        self.state = match self.state {
            0..=3 => 0,
            4..=9 => self.state - 3,
            _ => self.state - 6,
        };
        sink.push(symbol as u8)
    }

    /// A match at one of the last distances, which it moves to the front; returns its length.
    fn repeated(&mut self, coder: &mut Coder, place: usize) -> usize {
        let state = self.state;
        if coder.bit(&mut self.is_rep0[state]) == 0 {
            if coder.bit(&mut self.is_rep0_long[state][place]) == 0 {
                self.state = if state < 7 { 9 } else { 11 };
                return 1;
            }
        } else if coder.bit(&mut self.is_rep1[state]) == 0 {
            self.reps[..2].rotate_right(1);
        } else if coder.bit(&mut self.is_rep2[state]) == 0 {
            self.reps[..3].rotate_right(1);
        } else {
            self.reps.rotate_right(1);
        }
        self.state = if state < 7 { 8 } else { 11 };
        self.rep_lengths.read(coder, place)
    }

    /// A distance, less one.
    fn distance(&mut self, coder: &mut Coder, len: usize) -> u32 {
        let slot = coder.tree(&mut self.slots[(len - 2).min(3)]);
        if slot < 4 {
            return slot as u32;
        }
        let count = (slot as u32 >> 1) - 1;
        let base = (2 | slot & 1) << count;
        if slot < 14 {
            let table = &mut self.special[base - slot..];
            return (base + coder.reverse(table, count)) as u32;
        }
        let high = coder.direct(count - 4) << 4;
        (base as u32).wrapping_add(high).wrapping_add(coder.reverse(&mut self.align, 4) as u32)
    }
}
