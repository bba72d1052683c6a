//! PPMd variant H (Dmitry Shkarin, 2001), as RAR 3 uses it: bytes predicted from those before them.
//!
//! The model lives in one block of memory, and how it is laid out decides when it is full and begins anew, so contexts
//! and their states are records at places in bytes, exactly as everybody has them. All places come from earlier symbols,
//! not from the input directly; still each access is checked, and what lies outside reads as 0.

use std::io;

use crate::bits::{corrupt, truncated};

/// Size of the unit that memory is given out in.
const UNIT: u32 = 12;
/// Size of a state: symbol, frequency, successor.
const STATE: u32 = 6;
/// Kinds of blocks by size, 1 to 128 units.
const SIZES: usize = 38;
/// A frequency above it is halved, with all others of its context.
const MOST_FREQUENCY: u32 = 124;
/// Scale of the probabilities of contexts with one state.
const SCALE_BITS: u32 = 14;
const PERIOD_BITS: u32 = 7;
const FIRST_ESCAPES: [u16; 8] = [0x3cdd, 0x1f3f, 0x59bf, 0x48f3, 0x64a1, 0x5abc, 0x6632, 0x6051];
const ESCAPES: [u8; 16] = [25, 14, 9, 7, 5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2];

/// The range decoder, without carry (Dmitry Subbotin, 1999).
#[derive(Debug, Default)]
pub(super) struct Ranges {
    low: u32,
    code: u32,
    range: u32,
    at: usize,
}

impl Ranges {
    /// Begins at a byte of the input; returns where the next one is.
    pub(super) fn begin(&mut self, input: &[u8], at: usize) -> io::Result<usize> {
        let first = input.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(truncated)?;
        *self = Ranges { low: 0, code: u32::from_be_bytes(*first), range: u32::MAX, at: at + 4 };
        Ok(self.at)
    }

    /// The next byte that will be read.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    fn threshold(&mut self, total: u32) -> u32 {
        self.range = (self.range / total.max(1)).max(1);
        self.code.wrapping_sub(self.low) / self.range
    }

    fn decode(&mut self, start: u32, size: u32) {
        self.low = self.low.wrapping_add(start.wrapping_mul(self.range));
        self.range = self.range.wrapping_mul(size);
    }

    fn normalize(&mut self, input: &[u8]) -> io::Result<()> {
        /// A range this small, on the edge, is cut.
        const SMALL: u32 = 1 << 15;
        loop {
            if self.low ^ self.low.wrapping_add(self.range) >= 1 << 24 {
                if self.range >= SMALL {
                    return Ok(());
                }
                self.range = self.low.wrapping_neg() & (SMALL - 1);
            }
            let byte = input.get(self.at).ok_or_else(truncated)?;
            self.at += 1;
            self.code = self.code << 8 | u32::from(*byte);
            self.range <<= 8;
            self.low <<= 8;
        }
    }
}

/// Estimates how likely an escape is.
#[derive(Clone, Copy, Debug, Default)]
struct Escape {
    sum: u16,
    shift: u8,
    count: u8,
}

/// The model.
pub(super) struct Model {
    memory: Vec<u8>,
    /// Size of the memory less a unit's alignment.
    size: u32,
    most_order: u32,
    /// The context of this symbol, and of the longest order.
    context: u32,
    longest: u32,
    /// The state that was found last.
    found: u32,
    order_fall: u32,
    first_escape: u32,
    success: u32,
    high_bits: u32,
    run_length: i32,
    first_run_length: i32,
    glue_count: u32,
    /// Where the next byte of text goes, and where units begin.
    text: u32,
    units: u32,
    /// Units between these two were never used.
    low: u32,
    high: u32,
    free: [u32; SIZES],
    sizes: Sizes,
    escapes: [[Escape; 16]; 25],
    dummy: Escape,
    single: Box<[[u16; 64]; 128]>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("size", &self.size)
            .field("order", &self.most_order)
            .finish_non_exhaustive()
    }
}

/// Which sizes blocks have, and the tables made of that.
struct Sizes {
    /// Units in a block of each kind.
    units: [u8; SIZES],
    /// The kind that holds so many units less one.
    kind: [u8; 128],
    /// A class of contexts by the number of their states less one.
    class: [u8; 256],
}

impl Sizes {
    fn new() -> Sizes {
        let (mut units, mut kind, mut class) = ([0; SIZES], [0; 128], [0; 256]);
        let mut count = 0_usize;
        for (place, held) in units.iter_mut().enumerate() {
            let step = if place >= 12 { 4 } else { place / 4 + 1 };
            kind[count..count + step].fill(place as u8);
            count += step;
            *held = count as u8;
        }
        let (mut next, mut left) = (3_u8, 1_u8);
        for (place, class) in class.iter_mut().enumerate() {
            if place < 3 {
                *class = place as u8;
                continue;
            }
            *class = next;
            left -= 1;
            if left == 0 {
                next += 1;
                left = next - 2;
            }
        }
        Sizes { units, kind, class }
    }

    fn kind_of(&self, units: u32) -> usize {
        let place = (units.wrapping_sub(1) as usize).min(127);
        usize::from(self.kind[place])
    }

    fn units_of(&self, kind: usize) -> u32 {
        self.units[kind.min(SIZES - 1)].into()
    }
}

impl Model {
    /// A model of that order, in so many bytes of memory.
    pub(super) fn new(order: u32, size: u32) -> Model {
        let mut model = Model {
            // What is written behind a block while blocks are joined stays inside.
            memory: vec![0; size as usize + 2 * UNIT as usize],
            size,
            most_order: order,
            context: 0,
            longest: 0,
            found: 0,
            order_fall: 0,
            first_escape: 0,
            success: 0,
            high_bits: 0,
            run_length: 0,
            first_run_length: 0,
            glue_count: 0,
            text: 0,
            units: 0,
            low: 0,
            high: 0,
            free: [0; SIZES],
            sizes: Sizes::new(),
            escapes: [[Escape::default(); 16]; 25],
            dummy: Escape::default(),
            single: Box::new([[0; 64]; 128]),
        };
        model.begin();
        model
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> u32 {
        self.size
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self, order: u32) {
        self.most_order = order;
        self.begin();
    }

    /// The next byte.
    pub(super) fn read(&mut self, ranges: &mut Ranges, input: &[u8]) -> io::Result<u8> {
        let mut masked = [false; 256];
        let states = self.states(self.context);
        if states != 1 {
            if let Some(symbol) = self.read_state(states, ranges, input, &mut masked)? {
                return Ok(symbol);
            }
        } else if let Some(symbol) = self.read_single(ranges, input, &mut masked)? {
            return Ok(symbol);
        }
        self.read_escaped(ranges, input, &mut masked)
    }

    /// A symbol of a context of several, or none for an escape.
    fn read_state(
        &mut self,
        states: u32,
        ranges: &mut Ranges,
        input: &[u8],
        masked: &mut [bool; 256],
    ) -> io::Result<Option<u8>> {
        let (stats, total) = (self.stats(self.context), self.total(self.context));
        let count = ranges.threshold(total);
        let first = self.frequency(stats);
        if count < first {
            ranges.decode(0, first);
            ranges.normalize(input)?;
            self.found = stats;
            let symbol = self.symbol(stats);
            self.found_first();
            return Ok(Some(symbol));
        }
        self.success = 0;
        let (mut state, mut sum) = (stats, first);
        for _ in 1..states {
            state += STATE;
            let frequency = self.frequency(state);
            sum += frequency;
            if count < sum {
                ranges.decode(sum - frequency, frequency);
                ranges.normalize(input)?;
                self.found = state;
                let symbol = self.symbol(state);
                self.found_later();
                return Ok(Some(symbol));
            }
        }
        if count >= total {
            return Err(corrupt());
        }
        self.high_bits = high_bits(self.symbol(self.found), 3);
        ranges.decode(sum, total.wrapping_sub(sum));
        ranges.normalize(input)?;
        self.mask(stats, states, masked);
        Ok(None)
    }

    /// The symbol of a context of one, or none for an escape.
    fn read_single(
        &mut self,
        ranges: &mut Ranges,
        input: &[u8],
        masked: &mut [bool; 256],
    ) -> io::Result<Option<u8>> {
        let state = self.context + 2;
        let (row, column) = self.single_place(state);
        let probability = u32::from(self.single[row][column]);
        let mean = (probability + (1 << (PERIOD_BITS - 2))) >> PERIOD_BITS;
        ranges.range >>= SCALE_BITS;
        let bound = ranges.range.wrapping_mul(probability);
        if ranges.code.wrapping_sub(ranges.low) < bound {
            self.single[row][column] = (probability + (1 << PERIOD_BITS) - mean) as u16;
            ranges.range = bound;
            ranges.normalize(input)?;
            let symbol = self.symbol(state);
            let frequency = self.frequency(state);
            self.set_frequency(state, frequency + u32::from(frequency < 128));
            (self.found, self.success) = (state, 1);
            self.run_length += 1;
            self.next_context();
            return Ok(Some(symbol));
        }
        let probability = probability - mean;
        self.single[row][column] = probability as u16;
        self.first_escape = ESCAPES[(probability >> 10) as usize & 15].into();
        ranges.low = ranges.low.wrapping_add(bound);
        ranges.range = (ranges.range << SCALE_BITS).wrapping_sub(bound);
        ranges.normalize(input)?;
        masked[usize::from(self.symbol(state))] = true;
        self.success = 0;
        Ok(None)
    }

    /// A symbol of a shorter context, in which those of the longer ones do not count.
    fn read_escaped(
        &mut self,
        ranges: &mut Ranges,
        input: &[u8],
        masked: &mut [bool; 256],
    ) -> io::Result<u8> {
        loop {
            let before = self.states(self.context);
            loop {
                self.order_fall += 1;
                self.context = self.suffix(self.context);
                if self.context == 0 {
                    return Err(corrupt());
                }
                if self.states(self.context) != before {
                    break;
                }
            }
            let (stats, states) = (self.stats(self.context), self.states(self.context));
            let place = self.escape_place(before, states);
            let escape = self.escape_frequency(place);
            let sum = (0..states).map(|place| stats + place * STATE).fold(0, |sum, state| {
                sum + if masked[usize::from(self.symbol(state))] { 0 } else { self.frequency(state) }
            });
            let total = sum + escape;
            let count = ranges.threshold(total);
            if count < sum {
                return self.found_escaped(stats, count, place, ranges, input, masked);
            }
            if count >= total {
                return Err(corrupt());
            }
            ranges.decode(sum, escape);
            ranges.normalize(input)?;
            let estimate = self.escape_at(place);
            estimate.sum = estimate.sum.wrapping_add(total as u16);
            self.mask(stats, states, masked);
        }
    }

    fn found_escaped(
        &mut self,
        stats: u32,
        count: u32,
        place: Option<(usize, usize)>,
        ranges: &mut Ranges,
        input: &[u8],
        masked: &[bool; 256],
    ) -> io::Result<u8> {
        let (mut state, mut sum) = (stats, 0);
        let frequency = loop {
            if !masked[usize::from(self.symbol(state))] {
                let frequency = self.frequency(state);
                sum += frequency;
                if count < sum {
                    break frequency;
                }
            }
            state += STATE;
        };
        ranges.decode(sum - frequency, frequency);
        ranges.normalize(input)?;
        let estimate = self.escape_at(place);
        if u32::from(estimate.shift) < PERIOD_BITS {
            estimate.count = estimate.count.wrapping_sub(1);
            if estimate.count == 0 {
                estimate.sum = estimate.sum.wrapping_shl(1);
                estimate.count = (3_u32 << estimate.shift) as u8;
                estimate.shift += 1;
            }
        }
        self.found = state;
        let symbol = self.symbol(state);
        self.add_frequency(state, 4);
        self.run_length = self.first_run_length;
        if self.frequency(state) > MOST_FREQUENCY {
            self.rescale();
        }
        self.update();
        Ok(symbol)
    }

    fn mask(&self, stats: u32, states: u32, masked: &mut [bool; 256]) {
        for place in 0..states {
            masked[usize::from(self.symbol(stats + place * STATE))] = true;
        }
    }

    /// The estimate for escapes from this context; none where all symbols are there.
    fn escape_place(&self, before: u32, states: u32) -> Option<(usize, usize)> {
        if states == 256 {
            return None;
        }
        let left = states.wrapping_sub(before);
        let class = usize::from(self.sizes.class[(left.wrapping_sub(1) as usize) & 255]);
        let suffix_states = self.states(self.suffix(self.context));
        let place = u32::from(left < suffix_states.wrapping_sub(states))
            + 2 * u32::from(self.total(self.context) < 11 * states)
            + 4 * u32::from(before > left)
            + self.high_bits;
        Some((class.min(24), place as usize & 15))
    }

    fn escape_at(&mut self, place: Option<(usize, usize)>) -> &mut Escape {
        match place {
            Some((row, column)) => &mut self.escapes[row][column],
            None => &mut self.dummy,
        }
    }

    fn escape_frequency(&mut self, place: Option<(usize, usize)>) -> u32 {
        if place.is_none() {
            return 1;
        }
        let estimate = self.escape_at(place);
        let part = estimate.sum >> estimate.shift.min(15);
        estimate.sum -= part;
        u32::from(part.max(1))
    }

    fn single_place(&mut self, state: u32) -> (usize, usize) {
        self.high_bits = high_bits(self.symbol(self.found), 3);
        let column = self.success
            + ((self.run_length >> 26).cast_unsigned() & 0x20)
            + match self.states(self.suffix(self.context)) {
                0 | 1 => 0,
                2 => 2,
                3..=11 => 4,
                _ => 6,
            }
            + high_bits(self.symbol(state), 4)
            + self.high_bits;
        let row = self.frequency(state).wrapping_sub(1);
        (row as usize & 127, column as usize & 63)
    }

    fn found_first(&mut self) {
        let state = self.found;
        self.success = u32::from(2 * self.frequency(state) > self.total(self.context));
        self.run_length += self.success.cast_signed();
        self.add_frequency(state, 4);
        if self.frequency(state) > MOST_FREQUENCY {
            self.rescale();
        }
        self.next_context();
    }

    fn found_later(&mut self) {
        let state = self.found;
        self.add_frequency(state, 4);
        if self.frequency(state) > self.frequency(state - STATE) {
            self.swap(state, state - STATE);
            self.found = state - STATE;
            if self.frequency(self.found) > MOST_FREQUENCY {
                self.rescale();
            }
        }
        self.next_context();
    }

    fn next_context(&mut self) {
        let successor = self.successor(self.found);
        if self.order_fall == 0 && successor > self.text {
            self.context = successor;
            self.longest = successor;
        } else {
            self.update();
        }
    }
}

/// A bit of the symbol's class: whether it is over 63, at that place.
fn high_bits(symbol: u8, place: u32) -> u32 {
    u32::from(symbol >= 0x40) << place
}

/// How the model learns.
impl Model {
    /// Everything as at the beginning.
    fn begin(&mut self) {
        self.free = [0; SIZES];
        // Place 0 stands for nothing.
        self.text = UNIT;
        self.high = UNIT + self.size;
        self.units = self.high - self.size / 8 / UNIT * 7 * UNIT;
        self.low = self.units;
        self.glue_count = 0;
        self.order_fall = self.most_order;
        self.first_run_length = -(self.most_order.min(12).cast_signed()) - 1;
        self.run_length = self.first_run_length;
        self.success = 0;
        self.high -= UNIT;
        let (context, states) = (self.high, self.low);
        self.low += 128 * UNIT;
        (self.context, self.longest, self.found) = (context, context, states);
        self.set_states(context, 256);
        self.set_total(context, 257);
        self.set_stats(context, states);
        self.set_suffix(context, 0);
        for symbol in 0..=255_u8 {
            self.set_state(states + u32::from(symbol) * STATE, symbol, 1, 0);
        }
        for (row, probabilities) in self.single.iter_mut().enumerate() {
            for (place, probability) in probabilities.iter_mut().enumerate() {
                let less = FIRST_ESCAPES[place % 8] / (row as u16 + 2);
                *probability = (1 << SCALE_BITS) - less;
            }
        }
        for (row, escapes) in (0..).zip(&mut self.escapes) {
            let first =
                Escape { sum: (5 * row + 10) << (PERIOD_BITS - 4), shift: PERIOD_BITS as u8 - 4, count: 4 };
            *escapes = [first; 16];
        }
        self.dummy = Escape { sum: 0, shift: PERIOD_BITS as u8, count: 64 };
    }

    /// Takes the symbol that was found into the longer contexts.
    fn update(&mut self) {
        let (context, found) = (self.context, self.found);
        let (frequency, symbol) = (self.frequency(found), self.symbol(found));
        if frequency < MOST_FREQUENCY / 4 && self.suffix(context) != 0 {
            self.learn_in_suffix(symbol);
        }
        if self.order_fall == 0 {
            match self.successors() {
                Some(next) => {
                    (self.context, self.longest) = (next, next);
                    self.set_successor(self.found, next);
                }
                None => self.begin(),
            }
            return;
        }
        self.write(self.text, &[symbol]);
        self.text += 1;
        let mut longest_successor = self.text;
        if self.text >= self.units {
            self.begin();
            return;
        }
        let mut next = self.successor(self.found);
        if next == 0 {
            self.set_successor(self.found, longest_successor);
            next = self.context;
        } else {
            if next <= longest_successor {
                match self.successors() {
                    Some(made) => next = made,
                    None => return self.begin(),
                }
            }
            self.order_fall -= 1;
            if self.order_fall == 0 {
                longest_successor = next;
                self.text -= u32::from(self.longest != self.context);
            }
        }
        let from = self.longest;
        (self.context, self.longest) = (next, next);
        if self.learn_in_longer(from, context, symbol, frequency, longest_successor).is_none() {
            self.begin();
        }
    }

    fn learn_in_suffix(&mut self, symbol: u8) {
        let suffix = self.suffix(self.context);
        if self.states(suffix) == 1 {
            let state = suffix + 2;
            let frequency = self.frequency(state);
            self.set_frequency(state, frequency + u32::from(frequency < 32));
            return;
        }
        let stats = self.stats(suffix);
        let mut state = self.find(suffix, symbol);
        if state != stats && self.frequency(state) >= self.frequency(state - STATE) {
            self.swap(state, state - STATE);
            state -= STATE;
        }
        if self.frequency(state) < MOST_FREQUENCY - 9 {
            self.set_frequency(state, self.frequency(state) + 2);
            self.set_total(suffix, self.total(suffix) + 2);
        }
    }

    /// Adds the symbol to all contexts from `from` on down to `to`. None if memory is used up.
    fn learn_in_longer(
        &mut self,
        from: u32,
        to: u32,
        symbol: u8,
        frequency: u32,
        successor: u32,
    ) -> Option<()> {
        let states = self.states(to);
        let others = self.total(to).wrapping_sub(states).wrapping_sub(frequency.wrapping_sub(1));
        let mut context = from;
        while context != to && context != 0 {
            let has = self.states(context);
            let mut total = if has == 1 {
                self.second_state(context, states)?
            } else {
                if has.is_multiple_of(2) {
                    self.grow(context, has / 2)?;
                }
                let total = self.total(context);
                total + u32::from(2 * has < states) + 2 * u32::from(4 * has <= states && total <= 8 * has)
            };
            let weight = 2_u32.wrapping_mul(frequency).wrapping_mul(total + 6);
            let all = others.wrapping_add(total);
            let own = if weight < all.wrapping_mul(6) {
                total += 3;
                1 + u32::from(weight > all) + u32::from(weight >= all.wrapping_mul(4))
            } else {
                let over = |times: u32| u32::from(weight >= all.wrapping_mul(times));
                let own = 4 + over(9) + over(12) + over(15);
                total += own;
                own
            };
            let state = self.stats(context) + has * STATE;
            self.set_state(state, symbol, own, successor);
            self.set_total(context, total);
            self.set_states(context, has + 1);
            context = self.suffix(context);
        }
        Some(())
    }

    /// Room for one unit of states more.
    fn grow(&mut self, context: u32, units: u32) -> Option<()> {
        let kind = self.sizes.kind_of(units);
        if kind != self.sizes.kind_of(units + 1) {
            let old = self.stats(context);
            let made = self.allocate(kind + 1)?;
            self.copy(old, made, units * UNIT);
            self.release(old, kind);
            self.set_stats(context, made);
        }
        Some(())
    }

    /// Makes room for a second state in a context of one; returns the sum of frequencies.
    fn second_state(&mut self, context: u32, states: u32) -> Option<u32> {
        let made = self.allocate(0)?;
        self.copy(context + 2, made, STATE);
        self.set_stats(context, made);
        let frequency = self.frequency(made);
        let frequency = if frequency < MOST_FREQUENCY / 4 - 1 { frequency * 2 } else { MOST_FREQUENCY - 4 };
        self.set_frequency(made, frequency);
        Some(frequency + self.first_escape + u32::from(states > 3))
    }

    /// Makes contexts of one state for the symbol that was found, from the shortest that has none on. None if memory is
    /// used up.
    fn successors(&mut self) -> Option<u32> {
        let mut context = self.context;
        let text = self.successor(self.found);
        let symbol = self.symbol(self.found);
        let mut waiting = [0_u32; 64];
        let mut count = 0;
        if self.order_fall != 0 {
            waiting[count] = self.found;
            count += 1;
        }
        while self.suffix(context) != 0 && count < waiting.len() {
            context = self.suffix(context);
            let state = if self.states(context) == 1 { context + 2 } else { self.find(context, symbol) };
            let successor = self.successor(state);
            if successor != text {
                context = successor;
                if count == 0 {
                    return Some(context);
                }
                break;
            }
            waiting[count] = state;
            count += 1;
        }
        let next = *self.memory.get(text as usize)?;
        let frequency = if self.states(context) == 1 {
            self.frequency(context + 2)
        } else {
            let own = self.frequency(self.find(context, next)).wrapping_sub(1);
            let others = self.total(context).wrapping_sub(self.states(context)).wrapping_sub(own).max(1);
            1 + if 2 * own <= others {
                u32::from(5 * own > others)
            } else {
                (2 * own).wrapping_add(others).wrapping_sub(1) / others.wrapping_mul(2).max(1) + 1
            }
        };
        for state in waiting[..count].iter().rev() {
            let made = if self.high != self.low {
                self.high -= UNIT;
                self.high
            } else {
                self.allocate(0)?
            };
            self.set_states(made, 1);
            self.set_state(made + 2, next, frequency, text + 1);
            self.set_suffix(made, context);
            self.set_successor(*state, made);
            context = made;
        }
        Some(context)
    }

    /// Halves the frequencies of a context; states that come to nothing go.
    fn rescale(&mut self) {
        let context = self.context;
        let (stats, states) = (self.stats(context), self.states(context));
        // The one that was found goes first.
        let mut state = self.found;
        while state > stats {
            self.swap(state, state - STATE);
            state -= STATE;
        }
        let add = u32::from(self.order_fall != 0);
        let first = self.frequency(stats);
        let mut escape = self.total(context).wrapping_sub(first);
        let mut sum = (first + 4 + add) / 2;
        self.set_frequency(stats, sum);
        for place in 1..states {
            let mut state = stats + place * STATE;
            let frequency = self.frequency(state);
            escape = escape.wrapping_sub(frequency);
            let halved = (frequency + add) / 2;
            sum += halved;
            self.set_frequency(state, halved);
            while state > stats && halved > self.frequency(state - STATE) {
                self.swap(state, state - STATE);
                state -= STATE;
            }
        }
        let gone =
            (0..states).rev().take_while(|place| self.frequency(stats + place * STATE) == 0).count() as u32;
        if gone > 0 {
            escape = escape.wrapping_add(gone);
            let left = states - gone;
            self.set_states(context, left);
            let (old, new) = (states.div_ceil(2), left.div_ceil(2));
            if left == 1 {
                self.single_left(context, stats, escape, old);
                return;
            }
            self.shrink(context, stats, old, new);
        }
        self.set_total(context, sum.wrapping_add(escape.wrapping_sub(escape / 2)));
        self.found = self.stats(context);
    }

    fn single_left(&mut self, context: u32, stats: u32, mut escape: u32, units: u32) {
        let mut frequency = self.frequency(stats);
        loop {
            escape /= 2;
            frequency = frequency.div_ceil(2);
            if escape <= 1 {
                break;
            }
        }
        self.copy(stats, context + 2, STATE);
        self.set_frequency(context + 2, frequency);
        self.release(stats, self.sizes.kind_of(units));
        self.found = context + 2;
    }

    fn shrink(&mut self, context: u32, stats: u32, old: u32, new: u32) {
        let (from, to) = (self.sizes.kind_of(old), self.sizes.kind_of(new));
        if from == to {
            return;
        }
        if self.free[to] != 0 {
            let made = self.take_free(to);
            self.copy(stats, made, new * UNIT);
            self.release(stats, from);
            self.set_stats(context, made);
        } else {
            self.split(stats, from, to);
        }
    }

    /// The state of a symbol in a context of several; the last one if it is not there.
    fn find(&self, context: u32, symbol: u8) -> u32 {
        let (stats, states) = (self.stats(context), self.states(context));
        let place = (0..states).find(|place| self.symbol(stats + place * STATE) == symbol);
        stats + place.unwrap_or_else(|| states.saturating_sub(1)) * STATE
    }
}

/// Memory.
impl Model {
    fn allocate(&mut self, kind: usize) -> Option<u32> {
        if *self.free.get(kind)? != 0 {
            return Some(self.take_free(kind));
        }
        let size = self.sizes.units_of(kind) * UNIT;
        if self.high - self.low >= size {
            self.low += size;
            return Some(self.low - size);
        }
        self.allocate_rest(kind)
    }

    /// A part of a larger block, or of what text does not use yet.
    fn allocate_rest(&mut self, kind: usize) -> Option<u32> {
        if self.glue_count == 0 {
            self.glue();
            if self.free[kind] != 0 {
                return Some(self.take_free(kind));
            }
        }
        let Some(larger) = (kind + 1..SIZES).find(|larger| self.free[*larger] != 0) else {
            let size = self.sizes.units_of(kind) * UNIT;
            self.glue_count = self.glue_count.wrapping_sub(1);
            if self.units - self.text <= size {
                return None;
            }
            self.units -= size;
            return Some(self.units);
        };
        let block = self.take_free(larger);
        self.split(block, larger, kind);
        Some(block)
    }

    fn take_free(&mut self, kind: usize) -> u32 {
        let block = self.free[kind];
        self.free[kind] = self.u32(block);
        block
    }

    fn release(&mut self, block: u32, kind: usize) {
        let next = self.free[kind];
        self.set_u32(block, next);
        self.free[kind] = block;
    }

    /// Gives back what a block has more than one of kind `to`.
    fn split(&mut self, block: u32, from: usize, to: usize) {
        let used = self.sizes.units_of(to);
        let left = self.sizes.units_of(from).saturating_sub(used);
        if left > 0 {
            self.release_units(block + used * UNIT, left);
        }
    }

    /// Gives back up to 128 units, as one block or two.
    fn release_units(&mut self, block: u32, units: u32) {
        let mut kind = self.sizes.kind_of(units);
        if self.sizes.units_of(kind) != units {
            kind -= 1;
            let first = self.sizes.units_of(kind);
            self.release(block + first * UNIT, self.sizes.kind_of(units - first));
        }
        self.release(block, kind);
    }

    /// Joins free blocks that lie side by side. A free unit has 0 where all others have a count or a symbol with its
    /// frequency; a size and the next block follow.
    fn glue(&mut self) {
        self.glue_count = 255;
        // Stops what is joined from running into units that were never used.
        if self.low != self.high {
            self.write(self.low, &1_u16.to_le_bytes());
        }
        let mut blocks = Vec::new();
        for kind in 0..SIZES {
            let units = self.sizes.units_of(kind);
            let mut next = std::mem::take(&mut self.free[kind]);
            while next != 0 && blocks.len() <= self.memory.len() / UNIT as usize {
                blocks.push(next);
                let block = next;
                next = self.u32(block);
                self.write(block, &0_u16.to_le_bytes());
                self.write(block + 2, &(units as u16).to_le_bytes());
            }
        }
        // The last one first, as everybody does.
        blocks.reverse();
        for &block in &blocks {
            let mut units = u32::from(self.u16(block + 2));
            while units != 0 {
                let other = block + units * UNIT;
                let joined = units + u32::from(self.u16(other + 2));
                let is_free = (other as usize) < self.memory.len() && self.u16(other) == 0;
                if !is_free || joined >= 1 << 16 || joined == units {
                    break;
                }
                units = joined;
                self.write(block + 2, &(units as u16).to_le_bytes());
                self.write(other + 2, &0_u16.to_le_bytes());
            }
        }
        for mut block in blocks {
            let mut units = u32::from(self.u16(block + 2));
            while units > 128 {
                self.release(block, SIZES - 1);
                block += 128 * UNIT;
                units -= 128;
            }
            if units > 0 {
                self.release_units(block, units);
            }
        }
    }

    fn states(&self, context: u32) -> u32 {
        self.u16(context).into()
    }

    fn set_states(&mut self, context: u32, count: u32) {
        self.write(context, &(count as u16).to_le_bytes());
    }

    fn total(&self, context: u32) -> u32 {
        self.u16(context + 2).into()
    }

    fn set_total(&mut self, context: u32, total: u32) {
        self.write(context + 2, &(total as u16).to_le_bytes());
    }

    fn stats(&self, context: u32) -> u32 {
        self.u32(context + 4)
    }

    fn set_stats(&mut self, context: u32, stats: u32) {
        self.set_u32(context + 4, stats);
    }

    fn suffix(&self, context: u32) -> u32 {
        self.u32(context + 8)
    }

    fn set_suffix(&mut self, context: u32, suffix: u32) {
        self.set_u32(context + 8, suffix);
    }

    fn symbol(&self, state: u32) -> u8 {
        self.memory.get(state as usize).copied().unwrap_or(0)
    }

    fn frequency(&self, state: u32) -> u32 {
        self.memory.get(state as usize + 1).copied().unwrap_or(0).into()
    }

    fn set_frequency(&mut self, state: u32, frequency: u32) {
        self.write(state + 1, &[frequency as u8]);
    }

    /// Adds to a state's frequency and to its context's sum.
    fn add_frequency(&mut self, state: u32, more: u32) {
        self.set_frequency(state, self.frequency(state) + more);
        self.set_total(self.context, self.total(self.context) + more);
    }

    fn successor(&self, state: u32) -> u32 {
        self.u32(state + 2)
    }

    fn set_successor(&mut self, state: u32, successor: u32) {
        self.set_u32(state + 2, successor);
    }

    fn set_state(&mut self, state: u32, symbol: u8, frequency: u32, successor: u32) {
        self.write(state, &[symbol, frequency as u8]);
        self.set_u32(state + 2, successor);
    }

    fn swap(&mut self, one: u32, other: u32) {
        let (one, other) = (one as usize, other as usize);
        let most = one.max(other) + STATE as usize;
        if most <= self.memory.len() {
            for place in 0..STATE as usize {
                self.memory.swap(one + place, other + place);
            }
        }
    }

    fn copy(&mut self, from: u32, to: u32, len: u32) {
        let (from, to, len) = (from as usize, to as usize, len as usize);
        if from.max(to) + len <= self.memory.len() {
            self.memory.copy_within(from..from + len, to);
        }
    }

    fn u16(&self, at: u32) -> u16 {
        let bytes = self.memory.get(at as usize..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&self, at: u32) -> u32 {
        let bytes = self.memory.get(at as usize..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn set_u32(&mut self, at: u32, value: u32) {
        self.write(at, &value.to_le_bytes());
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        if let Some(place) = self.memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}
