//! LZX, of cabinets and compiled help (Microsoft's [MS-PATCH] describes it).

use std::io;

use crate::bits::{Bits, Code, Window, corrupt};

/// So much comes out between two places where the bits are aligned.
const FRAME: usize = 32 << 10;
/// Lengths that a match may have without a length of its own.
const LENGTHS: usize = 249;

/// An unpacker of one stream.
pub(crate) struct Lzx {
    /// The input, in which the two bytes of each word have changed places: bits come highest first.
    words: Vec<u8>,
    /// Where it goes on, in bits.
    at: u64,
    window: Window,
    slots: usize,
    /// Bytes that are still to come.
    left: u64,
    /// Everything begins anew after so many bytes.
    interval: u64,
    made: u64,
    state: State,
    frame: Vec<u8>,
    frame_at: usize,
    /// What ended it, told once the last frame is given out.
    error: Option<io::Error>,
}

/// What holds until everything begins anew.
struct State {
    header_read: bool,
    /// Calls of x86 programs were changed, up to this size.
    calls: Option<i32>,
    recent: [usize; 3],
    main_lengths: Vec<u8>,
    other_lengths: [u8; LENGTHS],
    block: Block,
    /// Bytes that the block has still to make, and whether it had an odd number.
    block_left: usize,
    odd: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one of it")]
enum Block {
    None,
    Codes { main: Code, lengths: Code, aligned: Option<Code> },
    Raw,
}

impl State {
    fn new(slots: usize) -> State {
        State {
            header_read: false,
            calls: None,
            recent: [1; 3],
            main_lengths: vec![0; 256 + slots * 8],
            other_lengths: [0; LENGTHS],
            block: Block::None,
            block_left: 0,
            odd: false,
        }
    }
}

impl Lzx {
    /// Unpacks `packed` to `size` bytes. `order` is the window's size as a power of two, 15 to 21. Everything begins anew
    /// after `interval` bytes, where there is one.
    pub(crate) fn new(packed: &[u8], order: u32, size: u64, interval: Option<u64>) -> Option<Lzx> {
        let slots = match order {
            15..=19 => order as usize * 2,
            20 => 42,
            21 => 50,
            _ => return None,
        };
        let mut words = packed.to_vec();
        if words.len() % 2 == 1 {
            words.push(0);
        }
        words.chunks_exact_mut(2).for_each(|word| word.swap(0, 1));
        Some(Lzx {
            words,
            at: 0,
            window: Window::new(1 << order, None),
            slots,
            left: size,
            interval: interval.unwrap_or(u64::MAX),
            made: 0,
            state: State::new(slots),
            frame: Vec::new(),
            frame_at: 0,
            error: None,
        })
    }

    /// Unpacks the next frame.
    fn next_frame(&mut self) -> io::Result<()> {
        let size = usize::try_from(self.left).unwrap_or(FRAME).min(FRAME);
        let words = std::mem::take(&mut self.words);
        let mut bits = Bits::new(&words);
        bits.go((self.at / 8) as usize);
        bits.skip((self.at % 8) as u32);
        let made = self.fill(&mut bits, size);
        let past = bits.taken() % 16;
        if past > 0 {
            bits.skip(16 - past as u32);
        }
        self.at = bits.taken();
        let checked = bits.check();
        self.words = words;
        // What was made before an error is worth giving out.
        self.frame.resize(self.window.waiting(), 0);
        self.frame_at = 0;
        self.window.give(&mut self.frame);
        if let Some(calls) = self.state.calls
            && self.made < 1 << 30
        {
            undo_calls(&mut self.frame, self.made as i32, calls);
        }
        self.made += self.frame.len() as u64;
        self.left -= size as u64;
        made.and(checked)
    }

    fn fill(&mut self, bits: &mut Bits, size: usize) -> io::Result<()> {
        if self.made.is_multiple_of(self.interval) && self.made > 0 {
            self.state = State::new(self.slots);
        }
        let state = &mut self.state;
        if !state.header_read {
            state.header_read = true;
            if bits.bit() {
                state.calls = Some(bits.take(32).cast_signed());
            }
        }
        while self.window.waiting() < size {
            if state.block_left == 0 {
                state.begin_block(bits, self.slots)?;
            }
            let most = (size - self.window.waiting()).min(state.block_left);
            let before = self.window.waiting();
            state.run(bits, &mut self.window, most)?;
            let made = self.window.waiting() - before;
            // Matches do not reach over the end of a frame or block.
            state.block_left = state.block_left.checked_sub(made).ok_or_else(corrupt)?;
            if made > most {
                return Err(corrupt());
            }
        }
        Ok(())
    }
}

impl State {
    fn begin_block(&mut self, bits: &mut Bits, slots: usize) -> io::Result<()> {
        if self.odd {
            bits.skip(8);
            self.odd = false;
        }
        let kind = bits.take(3);
        self.block_left = bits.take(24) as usize;
        bits.check()?;
        if self.block_left == 0 {
            return Err(corrupt());
        }
        if kind == 3 {
            return self.begin_raw(bits);
        }
        let aligned = match kind {
            1 => None,
            2 => {
                let mut lengths = [0; 8];
                lengths.iter_mut().for_each(|length| *length = bits.take(3) as u8);
                Some(Code::new(&lengths).ok_or_else(corrupt)?)
            }
            _ => return Err(corrupt()),
        };
        let (literals, matches) = self.main_lengths.split_at_mut(256);
        read_lengths(bits, literals)?;
        read_lengths(bits, &mut matches[..slots * 8])?;
        read_lengths(bits, &mut self.other_lengths)?;
        self.block = Block::Codes {
            main: Code::new(&self.main_lengths).ok_or_else(corrupt)?,
            lengths: Code::new(&self.other_lengths).ok_or_else(corrupt)?,
            aligned,
        };
        Ok(())
    }

    /// Bytes as they are, behind one to sixteen bits of padding and the recent distances.
    fn begin_raw(&mut self, bits: &mut Bits) -> io::Result<()> {
        bits.skip(16 - (bits.taken() % 16) as u32);
        for recent in &mut self.recent {
            // The bytes of each word have changed places.
            let (low, high) = (bits.take(16), bits.take(16));
            *recent = (high << 16 | low) as usize;
        }
        self.odd = self.block_left % 2 == 1;
        self.block = Block::Raw;
        bits.check()
    }

    /// Unpacks up to `most` bytes; a last match may bring more.
    fn run(&mut self, bits: &mut Bits, window: &mut Window, most: usize) -> io::Result<()> {
        let end = window.waiting() + most;
        let (main, lengths, aligned) = match &self.block {
            Block::None => return Err(corrupt()),
            Block::Raw => {
                let words = bits.input();
                let start = bits.byte();
                for at in start..start + most {
                    window.push(*words.get(at ^ 1).ok_or_else(crate::bits::truncated)?);
                }
                bits.go(start + most);
                return Ok(());
            }
            Block::Codes { main, lengths, aligned } => (main, lengths, aligned.as_ref()),
        };
        while window.waiting() < end {
            let symbol = main.read(bits)?;
            if symbol < 256 {
                window.push(symbol as u8);
                continue;
            }
            let (slot, mut length) = ((symbol - 256) / 8, symbol % 8 + 2);
            if length == 9 {
                length += lengths.read(bits)?;
            }
            let distance = match slot {
                0..=2 => {
                    self.recent.swap(0, slot);
                    self.recent[0]
                }
                _ => {
                    let distance = distance(slot, bits, aligned)?;
                    self.recent.rotate_right(1);
                    self.recent[0] = distance;
                    distance
                }
            };
            window.copy(distance, length)?;
        }
        bits.check()
    }
}

fn distance(slot: usize, bits: &mut Bits, aligned: Option<&Code>) -> io::Result<usize> {
    let more = (slot / 2 - 1).min(17) as u32;
    // Two slots for each number of bits up to 17, then each one as wide as those.
    let least = if slot < 36 { (2 | slot & 1) << more } else { (slot - 34) << 17 };
    let low = match aligned {
        Some(aligned) if more >= 3 => (bits.take(more - 3) << 3) as usize + aligned.read(bits)?,
        _ => bits.take(more) as usize,
    };
    Ok(least + low - 2)
}

/// Lengths of codes, as differences to those before, themselves coded.
fn read_lengths(bits: &mut Bits, lengths: &mut [u8]) -> io::Result<()> {
    let mut first = [0; 20];
    first.iter_mut().for_each(|length| *length = bits.take(4) as u8);
    let code = Code::new(&first).ok_or_else(corrupt)?;
    let less = |old: u8, by: usize| (17 + usize::from(old) - by) % 17;
    let mut place = 0;
    while place < lengths.len() {
        let (value, count) = match code.read(bits)? {
            17 => (0, 4 + bits.take(4)),
            18 => (0, 20 + bits.take(5)),
            19 => {
                let count = 4 + bits.take(1);
                let by = code.read(bits)?;
                if by > 16 {
                    return Err(corrupt());
                }
                (less(lengths[place], by), count)
            }
            by => (less(lengths[place], by), 1),
        };
        let end = (place + count as usize).min(lengths.len());
        lengths[place..end].fill(value as u8);
        place = end;
    }
    bits.check()
}

/// Undoes what was done to the addresses behind calls of x86 programs.
fn undo_calls(frame: &mut [u8], start: i32, size: i32) {
    let mut at = 0;
    while at + 10 < frame.len() {
        if frame[at] != 0xe8 {
            at += 1;
            continue;
        }
        let place = start.wrapping_add(at as i32);
        if let Some(bytes) = frame[at + 1..].first_chunk_mut::<4>() {
            let target = i32::from_le_bytes(*bytes);
            if target >= place.wrapping_neg() && target < size {
                let changed =
                    if target >= 0 { target.wrapping_sub(place) } else { target.wrapping_add(size) };
                *bytes = changed.to_le_bytes();
            }
        }
        at += 5;
    }
}

impl io::Read for Lzx {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.frame_at == self.frame.len() {
            if let Some(error) = self.error.take() {
                self.left = 0;
                return Err(error);
            }
            if self.left == 0 {
                return Ok(0);
            }
            self.error = self.next_frame().err();
            if let (true, Some(error)) = (self.frame.is_empty(), self.error.take()) {
                self.left = 0;
                return Err(error);
            }
        }
        let rest = &self.frame[self.frame_at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.frame_at += count;
        Ok(count)
    }
}
