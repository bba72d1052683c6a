//! Quantum, of cabinets: LZ77 behind an arithmetic coder with adaptive models.

use std::io;

use crate::bits::{Bits, Unpack, Window, corrupt};

/// So much comes out between two places where the coder begins anew.
const FRAME: usize = 32 << 10;

/// Lengths of long matches less five, and the bits that are added.
const LENGTHS: [(u8, u8); 27] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 1),
    (8, 1),
    (10, 1),
    (12, 1),
    (14, 2),
    (18, 2),
    (22, 2),
    (26, 2),
    (30, 3),
    (38, 3),
    (46, 3),
    (54, 3),
    (62, 4),
    (78, 4),
    (94, 4),
    (110, 4),
    (126, 5),
    (158, 5),
    (190, 5),
    (222, 5),
    (254, 0),
];

/// An unpacker of one stream.
pub(crate) struct Quantum<'a> {
    bits: Bits<'a>,
    window: Window,
    left: u64,
    frame_left: usize,
    /// The coder's range and what was read of the code, 16 bits each.
    low: u32,
    high: u32,
    code: u32,
    selector: Model,
    literals: [Model; 4],
    distances: [Model; 3],
    lengths: Model,
}

/// How often symbols occurred, as sums from the last one on.
struct Model {
    symbols: Vec<(u16, u32)>,
    until_sorted: u32,
}

impl Model {
    fn new(first: u16, count: u16) -> Model {
        let symbols = (0..=count).map(|place| (first + place, u32::from(count - place))).collect();
        Model { symbols, until_sorted: 4 }
    }

    /// Halves the counts; every fiftieth time the symbols are sorted by them.
    fn halve(&mut self) {
        self.until_sorted -= 1;
        let count = self.symbols.len() - 1;
        if self.until_sorted > 0 {
            for place in (0..count).rev() {
                let least = self.symbols[place + 1].1 + 1;
                self.symbols[place].1 = (self.symbols[place].1 / 2).max(least);
            }
            return;
        }
        self.until_sorted = 50;
        for place in 0..count {
            self.symbols[place].1 = (self.symbols[place].1 - self.symbols[place + 1].1).div_ceil(2);
        }
        // The order of equal ones matters, so this is the sort that everybody has.
        for place in 0..count {
            for other in place + 1..count {
                if self.symbols[place].1 < self.symbols[other].1 {
                    self.symbols.swap(place, other);
                }
            }
        }
        for place in (0..count).rev() {
            self.symbols[place].1 += self.symbols[place + 1].1;
        }
    }
}

impl<'a> Quantum<'a> {
    /// Unpacks `packed`, in which a byte 0xff follows each block of the cabinet, to `size` bytes. `order` is the window's
    /// size as a power of two, 10 to 21.
    pub(crate) fn new(packed: &'a [u8], order: u32, size: u64) -> Option<Quantum<'a>> {
        if !(10..=21).contains(&order) {
            return None;
        }
        let slots = (order * 2) as u16;
        Some(Quantum {
            bits: Bits::new(packed),
            window: Window::new(1 << order, None),
            left: size,
            frame_left: 0,
            low: 0,
            high: 0,
            code: 0,
            selector: Model::new(0, 7),
            literals: [0, 64, 128, 192].map(|first| Model::new(first, 64)),
            distances: [24, 36, 42].map(|most| Model::new(0, slots.min(most))),
            lengths: Model::new(0, 27),
        })
    }

    fn symbol(&mut self) -> io::Result<usize> {
        let symbol = match self.read(|quantum| &mut quantum.selector)? {
            kind @ 0..=3 => {
                let byte = self.read(|quantum| &mut quantum.literals[kind])?;
                self.window.push(byte as u8);
                return Ok(1);
            }
            kind => kind,
        };
        let mut length = symbol - 1;
        if symbol == 6 {
            let slot = self.read(|quantum| &mut quantum.lengths)?;
            let (least, more) = *LENGTHS.get(slot).ok_or_else(corrupt)?;
            length = 5 + usize::from(least) + self.bits.take(more.into()) as usize;
        }
        let slot = self.read(|quantum| &mut quantum.distances[symbol - 4])?;
        let more = (slot / 2).saturating_sub(1) as u32;
        let least = if slot < 4 { slot } else { (2 | slot & 1) << more };
        let distance = least + self.bits.take(more) as usize + 1;
        self.window.copy(distance, length)?;
        Ok(length)
    }

    /// The next symbol of a model.
    fn read(&mut self, model: impl Fn(&mut Self) -> &mut Model) -> io::Result<usize> {
        let (low, range) = (self.low, (self.high.wrapping_sub(self.low) & 0xffff) + 1);
        let code = self.code.wrapping_sub(low) & 0xffff;
        let model = model(self);
        let total = model.symbols[0].1;
        let wanted = (((code + 1) * total - 1) / range) & 0xffff;
        let count = model.symbols.len() - 1;
        let place = (1..count).find(|place| model.symbols[*place].1 <= wanted).unwrap_or(count);
        let (symbol, upper) = model.symbols[place - 1];
        let lower = model.symbols[place].1;
        model.symbols[..place].iter_mut().for_each(|(_, sum)| *sum += 8);
        if model.symbols[0].1 > 3800 {
            model.halve();
        }
        self.high = low.wrapping_add(upper * range / total).wrapping_sub(1) & 0xffff;
        self.low = low.wrapping_add(lower * range / total) & 0xffff;
        loop {
            if (self.low ^ self.high) & 0x8000 != 0 {
                if self.low & 0x4000 == 0 || self.high & 0x4000 != 0 {
                    break;
                }
                self.code ^= 0x4000;
                self.low &= 0x3fff;
                self.high |= 0x4000;
            }
            self.low = self.low << 1 & 0xffff;
            self.high = (self.high << 1 | 1) & 0xffff;
            self.code = (self.code << 1 | self.bits.take(1)) & 0xffff;
            self.bits.check()?;
        }
        Ok(usize::from(symbol))
    }
}

impl Unpack for Quantum<'_> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        (self.low, self.high, self.code) = (0, 0xffff, self.bits.take(16));
        self.frame_left = usize::try_from(self.left).unwrap_or(FRAME).min(FRAME);
        while self.frame_left > 0 {
            let made = self.symbol()?;
            self.frame_left = self.frame_left.checked_sub(made).ok_or_else(corrupt)?;
            self.left = self.left.saturating_sub(made as u64);
        }
        if self.left > 0 {
            self.bits.align();
            while self.bits.take(8) != 0xff {
                self.bits.check()?;
            }
        }
        Ok(self.left > 0)
    }
}
