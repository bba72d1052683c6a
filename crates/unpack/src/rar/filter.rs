//! Filters that undo what was done to programs, sound and pictures to make them pack better.
//!
//! RAR 3 has them as programs of a small machine; everybody uses the few that its own packer writes, which are known by
//! their length and checksum. RAR 5 has four by number.

/// So many bytes one filter is for at most (RAR 5; those of RAR 3 are smaller).
pub(super) const LONGEST: u64 = 4 << 20;

/// A filter with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Differences, in so many channels.
    Delta(usize),
    /// Addresses behind calls of x86 programs; also those behind jumps if true.
    X86(bool),
    /// Addresses behind calls of ARM programs.
    Arm,
    /// Addresses in Itanium programs.
    Itanium,
    /// Pictures of three colours: bytes in a line, and where the first pixel's red is.
    Rgb(usize, usize),
    /// Sound, in so many channels.
    Audio(usize),
    /// A program that nobody knows.
    Unknown,
}

impl Filter {
    /// The filter that a program of RAR 3 is. `registers` are those it is started with.
    pub(super) fn of_program(program: &[u8], registers: &[u32; 7]) -> Filter {
        let mut crc = flate2::Crc::new();
        crc.update(program);
        let first = registers[0] as usize;
        match (program.len(), crc.sum()) {
            (53, 0xad57_6887) => Filter::X86(false),
            (57, 0x3cd7_e57e) => Filter::X86(true),
            (120, 0x3769_893f) => Filter::Itanium,
            (29, 0x0e06_077d) => Filter::Delta(first),
            (149, 0x1c2c_5dc8) => Filter::Rgb(first, registers[1] as usize),
            (216, 0xbc85_e701) => Filter::Audio(first),
            _ => Filter::Unknown,
        }
    }

    /// What it makes of a block that stands at `offset` of its file. None if it is not known or its parameters make no
    /// sense.
    pub(super) fn run(self, block: &[u8], offset: u32) -> Option<Vec<u8>> {
        match self {
            Filter::Delta(channels) => delta(block, channels),
            Filter::X86(jumps) => Some(x86(block, offset, jumps)),
            Filter::Arm => Some(arm(block, offset)),
            Filter::Itanium => Some(itanium(block, offset)),
            Filter::Rgb(line, first) => rgb(block, line, first),
            Filter::Audio(channels) => audio(block, channels),
            Filter::Unknown => None,
        }
    }
}

fn delta(block: &[u8], channels: usize) -> Option<Vec<u8>> {
    if channels == 0 || channels > 1024 {
        return None;
    }
    let mut made = vec![0; block.len()];
    let mut from = block.iter();
    for channel in 0..channels {
        let mut last = 0_u8;
        for place in (channel..block.len()).step_by(channels) {
            last = last.wrapping_sub(*from.next()?);
            made[place] = last;
        }
    }
    Some(made)
}

fn x86(block: &[u8], offset: u32, jumps: bool) -> Vec<u8> {
    /// Programs are taken to be no larger.
    const SIZE: u32 = 1 << 24;
    let mut made = block.to_vec();
    let mut at = 0;
    while at + 5 <= made.len() {
        let opcode = made[at];
        at += 1;
        if opcode != 0xe8 && !(jumps && opcode == 0xe9) {
            continue;
        }
        let Some(address) = made[at..].first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else {
            break;
        };
        let place = (at as u32).wrapping_add(offset) % SIZE;
        let changed = if address >= 1 << 31 {
            (address.wrapping_add(place) < 1 << 31).then(|| address.wrapping_add(SIZE))
        } else {
            (address < SIZE).then(|| address.wrapping_sub(place))
        };
        if let Some(changed) = changed {
            made[at..at + 4].copy_from_slice(&changed.to_le_bytes());
        }
        at += 4;
    }
    made
}

fn arm(block: &[u8], offset: u32) -> Vec<u8> {
    let mut made = block.to_vec();
    for (number, word) in made.chunks_exact_mut(4).enumerate() {
        // A branch with link, always.
        if word[3] == 0xeb {
            let target = u32::from_le_bytes([word[0], word[1], word[2], 0]);
            let place = offset.wrapping_add(4 * number as u32) / 4;
            word[..3].copy_from_slice(&target.wrapping_sub(place).to_le_bytes()[..3]);
        }
    }
    made
}

fn itanium(block: &[u8], offset: u32) -> Vec<u8> {
    /// For each template (16 and up), in which of the three slots branches may stand.
    const SLOTS: [u8; 16] = [4, 4, 6, 6, 0, 0, 7, 7, 4, 4, 0, 0, 4, 4, 0, 0];
    let mut made = block.to_vec();
    let bundles = block.len().saturating_sub(21).div_ceil(16);
    for (number, bundle) in made.chunks_exact_mut(16).take(bundles).enumerate() {
        let template = usize::from(bundle[0] & 0x1f);
        let slots = template.checked_sub(16).map_or(0, |template| SLOTS[template]);
        let place = (offset >> 4).wrapping_add(number as u32);
        let Some(whole) = bundle.first_chunk::<16>() else { break };
        let mut bits = u128::from_le_bytes(*whole);
        for slot in (0..3).filter(|slot| slots & (1 << slot) != 0) {
            let at = slot * 41 + 5;
            if (bits >> (at + 37)) & 0xf == 5 {
                let target = (bits >> (at + 13)) as u32;
                let changed = u128::from(target.wrapping_sub(place) & 0xf_ffff);
                bits = bits & !(0xf_ffff << (at + 13)) | changed << (at + 13);
            }
        }
        bundle.copy_from_slice(&bits.to_le_bytes());
    }
    made
}

fn rgb(block: &[u8], line: usize, first: usize) -> Option<Vec<u8>> {
    if block.len() < 3 || line < 3 || line > block.len() + 3 || first > 2 {
        return None;
    }
    let mut made = vec![0_u8; block.len()];
    let mut from = block.iter();
    for channel in 0..3 {
        let mut left = 0_u8;
        for place in (channel..block.len()).step_by(3) {
            let predicted =
                if place >= line { paeth(left, made[place - line + 3], made[place - line]) } else { left };
            left = predicted.wrapping_sub(*from.next()?);
            made[place] = left;
        }
    }
    for place in (first..block.len().saturating_sub(2)).step_by(3) {
        let green = made[place + 1];
        made[place] = made[place].wrapping_add(green);
        made[place + 2] = made[place + 2].wrapping_add(green);
    }
    Some(made)
}

/// The neighbour that is nearest to left + upper - upper left (as in PNG).
fn paeth(left: u8, upper: u8, corner: u8) -> u8 {
    let (a, b, c) = (i32::from(left), i32::from(upper), i32::from(corner));
    let guess = a + b - c;
    let (to_left, to_upper, to_corner) = ((guess - a).abs(), (guess - b).abs(), (guess - c).abs());
    if to_left <= to_upper && to_left <= to_corner {
        left
    } else if to_upper <= to_corner {
        upper
    } else {
        corner
    }
}

fn audio(block: &[u8], channels: usize) -> Option<Vec<u8>> {
    if channels == 0 || channels > 128 {
        return None;
    }
    let mut made = vec![0; block.len()];
    let mut from = block.iter();
    for channel in 0..channels {
        let mut predictor = Predictor::<3>::default();
        for place in (channel..block.len()).step_by(channels) {
            made[place] = predictor.next(*from.next()?, 0);
        }
    }
    Some(made)
}

/// Predicts samples of sound from the last ones, with weights that are adapted every 32 samples. RAR 2 has five of them,
/// the last for what the channel before did; RAR 3 has three.
#[derive(Clone, Debug)]
pub(super) struct Predictor<const WEIGHTS: usize> {
    weights: [i32; WEIGHTS],
    /// The last change, the change of that, and so on.
    changes: [i32; WEIGHTS],
    /// How wrong the guess was, and would have been with each weight less or more.
    wrong: [[u32; 2]; WEIGHTS],
    as_is: u32,
    last: u8,
    last_delta: i32,
    count: u32,
}

impl<const WEIGHTS: usize> Default for Predictor<WEIGHTS> {
    fn default() -> Predictor<WEIGHTS> {
        Predictor {
            weights: [0; WEIGHTS],
            changes: [0; WEIGHTS],
            wrong: [[0; 2]; WEIGHTS],
            as_is: 0,
            last: 0,
            last_delta: 0,
            count: 0,
        }
    }
}

impl<const WEIGHTS: usize> Predictor<WEIGHTS> {
    /// The change that the last sample brought.
    pub(super) fn last_delta(&self) -> i32 {
        self.last_delta
    }

    /// The next sample, from how far it lies off the guess. `beside` is what the channel before did last, where there are
    /// five weights.
    pub(super) fn next(&mut self, off: u8, beside: i32) -> u8 {
        let first = self.changes[0];
        let older = if WEIGHTS == 5 { 4 } else { 3 };
        for place in (2..older).rev() {
            self.changes[place] = self.changes[place - 1];
        }
        self.changes[1] = self.last_delta - first;
        self.changes[0] = self.last_delta;
        if WEIGHTS == 5 {
            self.changes[WEIGHTS - 1] = beside;
        }
        let weighed = self.weights.iter().zip(&self.changes).map(|(weight, change)| weight * change);
        let guess = ((8 * i32::from(self.last) + weighed.sum::<i32>()) >> 3) as u8;
        let sample = guess.wrapping_sub(off);
        let error = i32::from(off.cast_signed()) << 3;
        self.as_is += error.unsigned_abs();
        for (wrong, change) in self.wrong.iter_mut().zip(&self.changes) {
            wrong[0] += (error - change).unsigned_abs();
            wrong[1] += (error + change).unsigned_abs();
        }
        self.last_delta = i32::from(sample.wrapping_sub(self.last).cast_signed());
        self.last = sample;
        self.count += 1;
        // RAR 2 counts a sample before it looks, RAR 3 behind.
        let due = if WEIGHTS == 5 { self.count.is_multiple_of(32) } else { self.count % 32 == 1 };
        if due {
            self.adapt();
        }
        sample
    }

    /// Changes the one weight that would have made the guesses best.
    fn adapt(&mut self) {
        let (mut least, mut best) = (self.as_is, None);
        for (place, sums) in self.wrong.iter().enumerate() {
            for (more, sum) in sums.iter().enumerate() {
                if *sum < least {
                    (least, best) = (*sum, Some((place, more)));
                }
            }
        }
        self.as_is = 0;
        self.wrong = [[0; 2]; WEIGHTS];
        if let Some((place, more)) = best {
            let weight = &mut self.weights[place];
            match more {
                0 if *weight >= -16 => *weight -= 1,
                1 if *weight < 16 => *weight += 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_undo_what_packers_did() {
        type Row<'a> = (Filter, &'a [u8], u32, Option<&'a [u8]>);
        let table: &[Row] = &[
            (Filter::Delta(2), &[255, 255, 254, 254], 0, Some(&[1, 2, 2, 4])),
            (Filter::Delta(0), &[1], 0, None),
            (Filter::X86(false), &[0xe8, 0x11, 0, 0, 0, 0xe9], 0x10, Some(&[0xe8, 0, 0, 0, 0, 0xe9])),
            (Filter::X86(false), &[0xe9, 0x11, 0, 0, 0], 0x10, Some(&[0xe9, 0x11, 0, 0, 0])),
            (Filter::X86(true), &[0xe9, 0x11, 0, 0, 0], 0x10, Some(&[0xe9, 0, 0, 0, 0])),
            (Filter::X86(true), &[0xe9, 0xff, 0xff, 0xff, 0xff], 0x10, Some(&[0xe9, 0xff, 0xff, 0xff, 0])),
            (Filter::X86(true), &[0xe9, 0xff, 0xff], 0, Some(&[0xe9, 0xff, 0xff])),
            (Filter::Arm, &[3, 0, 0, 0xeb, 3, 0, 0, 0xea], 4, Some(&[2, 0, 0, 0xeb, 3, 0, 0, 0xea])),
            (Filter::Rgb(3, 0), &[255, 0, 255], 0, Some(&[1, 0, 1])),
            (Filter::Rgb(3, 3), &[255, 0, 255], 0, None),
            (Filter::Audio(1), &[255, 255, 255], 0, Some(&[1, 2, 3])),
            (Filter::Itanium, &[0; 40], 0, Some(&[0; 40])),
            (Filter::Unknown, &[1], 0, None),
        ];
        for (filter, block, offset, want) in table {
            assert_eq!(filter.run(block, *offset).as_deref(), *want, "{filter:?}");
        }
    }
}
