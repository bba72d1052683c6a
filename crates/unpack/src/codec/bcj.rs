//! Filters that stand before a compression: branches of machine code made absolute, differences of bytes, each undone in
//! place. They never change how many bytes there are.

/// Undoes a filter on `data`, whose first byte is at address `start` of the program.
pub(crate) type Filter = fn(data: &mut [u8], start: u32);

fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Every whole step of 4 bytes, with its address.
fn words(data: &mut [u8], start: u32) -> impl Iterator<Item = (u32, &mut [u8])> {
    data.chunks_exact_mut(4)
        .zip(0_u32..)
        .map(move |(word, place)| (start.wrapping_add(place.wrapping_mul(4)), word))
}

/// Differences to the byte so many before.
pub(crate) fn delta(data: &mut [u8], distance: usize) {
    for at in distance.max(1)..data.len() {
        data[at] = data[at].wrapping_add(data[at - distance.max(1)]);
    }
}

/// x86: targets of CALL and JMP.
pub(crate) fn x86(data: &mut [u8], start: u32) {
    const ALLOWED: [bool; 8] = [true, true, true, false, true, false, false, false];
    const BIT: [u32; 8] = [0, 1, 2, 2, 3, 3, 3, 3];
    let outer = |byte: u8| byte == 0 || byte == 0xff;
    let mut before: Option<usize> = None;
    let mut mask = 0_u32;
    let mut at = 0;
    while at + 4 < data.len() {
        if data[at] & 0xfe != 0xe8 {
            at += 1;
            continue;
        }
        match before.map(|before| at - before) {
            Some(gap) if gap <= 3 => {
                mask = mask << (gap - 1) & 7;
                if mask != 0 {
                    let byte = data[at + 4 - BIT[mask as usize] as usize];
                    if !ALLOWED[mask as usize] || outer(byte) {
                        before = Some(at);
                        mask = mask << 1 | 1;
                        at += 1;
                        continue;
                    }
                }
            }
            _ => mask = 0,
        }
        before = Some(at);
        if !outer(data[at + 4]) {
            mask = mask << 1 | 1;
            at += 1;
            continue;
        }
        let mut value = le32(&data[at + 1..]);
        loop {
            value = value.wrapping_sub(start.wrapping_add(at as u32).wrapping_add(5));
            if mask == 0 {
                break;
            }
            let bit = BIT[mask as usize] * 8;
            if !outer((value >> (24 - bit)) as u8) {
                break;
            }
            value ^= (1 << (32 - bit)) - 1;
        }
        let top = if value & 1 << 24 == 0 { 0 } else { 0xff };
        data[at + 1..at + 4].copy_from_slice(&value.to_le_bytes()[..3]);
        data[at + 4] = top;
        at += 5;
        mask = 0;
        before = None;
    }
}

/// ARM: BL.
pub(crate) fn arm(data: &mut [u8], start: u32) {
    for (address, word) in words(data, start).filter(|(_, word)| word[3] == 0xeb) {
        let target = (le32(word) << 2).wrapping_sub(address.wrapping_add(8)) >> 2;
        word[..3].copy_from_slice(&target.to_le_bytes()[..3]);
    }
}

/// ARM Thumb: BL, two halfwords.
pub(crate) fn thumb(data: &mut [u8], start: u32) {
    let mut at = 0;
    while at + 4 <= data.len() {
        let word = &mut data[at..at + 4];
        if word[1] & 0xf8 != 0xf0 || word[3] & 0xf8 != 0xf8 {
            at += 2;
            continue;
        }
        let high = u32::from(word[1] & 7) << 19 | u32::from(word[0]) << 11;
        let value = (high | u32::from(word[3] & 7) << 8 | u32::from(word[2])) << 1;
        let target = value.wrapping_sub(start.wrapping_add(at as u32).wrapping_add(4)) >> 1;
        word[1] = 0xf0 | (target >> 19 & 7) as u8;
        word[0] = (target >> 11) as u8;
        word[3] = 0xf8 | (target >> 8 & 7) as u8;
        word[2] = target as u8;
        at += 4;
    }
}

/// ARM64: BL and ADRP.
pub(crate) fn arm64(data: &mut [u8], start: u32) {
    for (address, word) in words(data, start) {
        let mut code = le32(word);
        if code >> 26 == 0x25 {
            code = 0x9400_0000 | code.wrapping_sub(address >> 2) & 0x03ff_ffff;
        } else if code & 0x9f00_0000 == 0x9000_0000 {
            let page = code >> 29 & 3 | code >> 3 & 0x001f_fffc;
            // Only what lies within 512 MiB is changed.
            if page.wrapping_add(0x0002_0000) & 0x001c_0000 != 0 {
                continue;
            }
            let page = page.wrapping_sub(address >> 12);
            code &= 0x9000_001f;
            code |= (page & 3) << 29
                | (page & 0x0003_fffc) << 3
                | 0_u32.wrapping_sub(page & 0x0002_0000) & 0x00e0_0000;
        } else {
            continue;
        }
        word.copy_from_slice(&code.to_le_bytes());
    }
}

/// PowerPC: BL.
pub(crate) fn powerpc(data: &mut [u8], start: u32) {
    for (address, word) in words(data, start).filter(|(_, word)| word[0] >> 2 == 0x12 && word[3] & 3 == 1) {
        let code = le32(word).swap_bytes();
        let target = 0x4800_0001 | (code & 0x03ff_fffc).wrapping_sub(address) & 0x03ff_fffc;
        word.copy_from_slice(&target.to_be_bytes());
    }
}

/// SPARC: CALL.
pub(crate) fn sparc(data: &mut [u8], start: u32) {
    let calls = |word: &[u8]| matches!((word[0], word[1] & 0xc0), (0x40, 0) | (0x7f, 0xc0));
    for (address, word) in words(data, start).filter(|(_, word)| calls(word)) {
        let value = (le32(word).swap_bytes() << 2).wrapping_sub(address) >> 2;
        let sign = 0_u32.wrapping_sub(value >> 22 & 1) << 22 & 0x3fff_ffff;
        word.copy_from_slice(&(sign | value & 0x003f_ffff | 0x4000_0000).to_be_bytes());
    }
}

/// Itanium: branches in bundles of 16 bytes.
pub(crate) fn ia64(data: &mut [u8], start: u32) {
    const SLOTS: [u8; 32] =
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 6, 6, 0, 0, 7, 7, 4, 4, 0, 0, 4, 4, 0, 0];
    for (bundle, place) in data.chunks_exact_mut(16).zip(0_u32..) {
        let address = start.wrapping_add(place.wrapping_mul(16));
        let slots = SLOTS[usize::from(bundle[0] & 31)];
        for slot in (0..3).filter(|slot| slots >> slot & 1 != 0) {
            let bit = 5 + 41 * slot;
            let (byte, shift) = (bit / 8, bit % 8);
            let mut bytes = [0; 8];
            bytes[..6].copy_from_slice(&bundle[byte..byte + 6]);
            let whole = u64::from_le_bytes(bytes);
            let mut code = whole >> shift;
            if code >> 37 & 0xf != 5 || code >> 9 & 7 != 0 {
                continue;
            }
            let value = (code >> 13 & 0xf_ffff) as u32 | ((code >> 36 & 1) as u32) << 20;
            let target = (value << 4).wrapping_sub(address) >> 4;
            code &= !(0x8f_ffff << 13);
            code |= u64::from(target & 0xf_ffff) << 13 | u64::from(target & 0x10_0000) << 16;
            let whole = whole & ((1 << shift) - 1) | code << shift;
            bundle[byte..byte + 6].copy_from_slice(&whole.to_le_bytes()[..6]);
        }
    }
}

/// RISC-V: JAL and AUIPC with what follows it.
pub(crate) fn riscv(data: &mut [u8], start: u32) {
    let mut at = 0;
    while at + 8 <= data.len() {
        let code = le32(&data[at..]);
        let address = start.wrapping_add(at as u32);
        if code & 0x7f == 0x6f {
            // JAL with x1 or x5.
            if code & 0xd80 != 0x80 {
                at += 2;
                continue;
            }
            let [_, one, two, three] = code.to_le_bytes().map(u32::from);
            let target = ((one & 0xf0) << 13 | two << 9 | three << 1).wrapping_sub(address);
            data[at + 1] = (one & 0x0f | target >> 8 & 0xf0) as u8;
            data[at + 2] = (target >> 16 & 0x0f | target >> 7 & 0x10 | target << 4 & 0xe0) as u8;
            data[at + 3] = (target >> 4 & 0x7f | target >> 13 & 0x80) as u8;
            at += 4;
        } else if code & 0x7f == 0x17 {
            at += auipc(data, at, code, address);
        } else {
            at += 2;
        }
    }
}

/// AUIPC at `at`; returns how far to go on.
fn auipc(data: &mut [u8], at: usize, code: u32, address: u32) -> usize {
    let follower = le32(&data[at + 4..]);
    let (first, second);
    if code & 0xe80 != 0 {
        // Any other register than x0 and x2: one that was never changed, or it would look otherwise.
        if (code << 8 ^ follower.wrapping_sub(3)) & 0xf_8003 != 0 {
            return 6;
        }
        let high = (code & 0xffff_f000).wrapping_add(follower >> 20);
        first = 0x17 | 2 << 7 | follower << 12;
        second = high;
    } else {
        let register = code >> 27;
        if code.wrapping_sub(0x3117) << 18 >= register & 0x1d {
            return 4;
        }
        let target = follower.swap_bytes().wrapping_sub(address);
        first = 0x17 | register << 7 | target.wrapping_add(0x800) & 0xffff_f000;
        second = code >> 12 | target << 20;
    }
    data[at..at + 4].copy_from_slice(&first.to_le_bytes());
    data[at + 4..at + 8].copy_from_slice(&second.to_le_bytes());
    8
}

/// BCJ2 of 7z: the code in the first stream; targets of CALL in the second and of JMP in the third, absolute and with the
/// highest byte first; in the fourth, which of them were moved, as a range code. Returns `size` bytes, or fewer.
pub(crate) fn bcj2(main: &[u8], calls: &[u8], jumps: &[u8], choices: &[u8], size: usize) -> Vec<u8> {
    let mut coder = Choices::new(choices);
    let mut probabilities = [1024_u16; 2 + 256];
    let (mut calls, mut jumps) = (calls.chunks_exact(4), jumps.chunks_exact(4));
    let mut out: Vec<u8> = Vec::with_capacity(size.min(main.len() * 2));
    let mut before = 0;
    let mut input = main.iter().copied();
    while out.len() < size {
        let Some(byte) = input.next() else { break };
        out.push(byte);
        let jump = byte & 0xf0 == 0x80 && before == 0x0f;
        let last = std::mem::replace(&mut before, byte);
        if byte & 0xfe != 0xe8 && !jump {
            continue;
        }
        let model = match byte {
            0xe8 => 2 + usize::from(last),
            0xe9 => 1,
            _ => 0,
        };
        if !coder.bit(&mut probabilities[model]) {
            continue;
        }
        let stream = if byte == 0xe8 { &mut calls } else { &mut jumps };
        let Some(target) = stream.next().and_then(|bytes| bytes.first_chunk()) else { break };
        let target = u32::from_be_bytes(*target).wrapping_sub((out.len() as u32).wrapping_add(4));
        let bytes = target.to_le_bytes();
        let room = (size - out.len()).min(4);
        out.extend_from_slice(&bytes[..room]);
        before = bytes[3];
    }
    out
}

struct Choices<'a> {
    input: std::slice::Iter<'a, u8>,
    range: u32,
    code: u32,
}

impl<'a> Choices<'a> {
    fn new(input: &'a [u8]) -> Choices<'a> {
        let mut coder = Choices { input: input.iter(), range: u32::MAX, code: 0 };
        for _ in 0..5 {
            coder.shift();
        }
        coder
    }

    fn shift(&mut self) {
        self.code = self.code << 8 | u32::from(self.input.next().copied().unwrap_or(0));
    }

    fn bit(&mut self, probability: &mut u16) -> bool {
        let bound = (self.range >> 11) * u32::from(*probability);
        let set = self.code >= bound;
        if set {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
        } else {
            self.range = bound;
            *probability += (2048 - *probability) >> 5;
        }
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
        set
    }
}
