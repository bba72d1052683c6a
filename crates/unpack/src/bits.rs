//! Bits, prefix codes and a sliding window: what most old packers are made of.

use std::io;

/// An error for bytes that make no sense.
pub(crate) fn corrupt() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// An error for bytes that end early.
pub(crate) fn truncated() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Bits, the highest of each byte first. Behind the end there are zeros; [`Bits::check`] tells that they were used.
#[derive(Debug)]
pub(crate) struct Bits<'a> {
    input: &'a [u8],
    /// Bytes that were taken into `held`, those behind the end included.
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// The bits of `input`.
    pub(crate) fn new(input: &'a [u8]) -> Bits<'a> {
        Bits { input, at: 0, held: 0, count: 0 }
    }

    /// The next `count` bits, 32 at most, which stay.
    pub(crate) fn peek(&mut self, count: u32) -> u32 {
        while self.count < count {
            let byte = self.input.get(self.at).copied().unwrap_or(0);
            self.at += 1;
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
        let mask = (1_u64 << count) - 1;
        ((self.held >> (self.count - count)) & mask) as u32
    }

    /// Passes over `count` bits.
    pub(crate) fn skip(&mut self, count: u32) {
        if count > self.count {
            self.peek(count.min(32));
        }
        self.count = self.count.saturating_sub(count);
    }

    /// Takes `count` bits, 32 at most.
    pub(crate) fn take(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Takes one bit.
    pub(crate) fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    /// Passes over what is left of a byte that was begun.
    pub(crate) fn align(&mut self) {
        self.count -= self.count % 8;
    }

    /// Bits that were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.at as u64 * 8 - u64::from(self.count)
    }

    /// Bytes that were taken so far, one that was begun included.
    pub(crate) fn byte(&self) -> usize {
        self.at - (self.count / 8) as usize
    }

    /// Goes to a byte of the input.
    pub(crate) fn go(&mut self, byte: usize) {
        (self.at, self.held, self.count) = (byte, 0, 0);
    }

    /// All of the input.
    pub(crate) fn input(&self) -> &'a [u8] {
        self.input
    }

    /// An error once bits behind the end were taken.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.taken() > self.input.len() as u64 * 8 { Err(truncated()) } else { Ok(()) }
    }
}

/// A canonical prefix code (as of RFC 1951 section 3.2.2) of at most 16 bits.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// For the next [`FAST`] bits: symbol and length, or length 0.
    fast: Vec<(u16, u8)>,
    /// For each length, the first value of 16 bits behind its codes.
    limits: [u32; 17],
    /// For each length, the place of its first symbol.
    places: [usize; 17],
    symbols: Vec<u16>,
}

/// Bits that are looked up at once.
const FAST: u32 = 9;

impl Code {
    /// The code with these lengths, 0 for symbols that do not occur. None if there are more codes than fit. One that leaves
    /// codes over is taken; what is decoded by them is an error.
    pub(crate) fn new(lengths: &[u8]) -> Option<Code> {
        let mut counts = [0_u32; 17];
        for &length in lengths {
            *counts.get_mut(usize::from(length))? += 1;
        }
        counts[0] = 0;
        let (mut limits, mut places) = ([0; 17], [0; 17]);
        let (mut next, mut place) = (0_u32, 0);
        for length in 1..=16 {
            places[length] = place;
            next += counts[length] << (16 - length);
            place += counts[length] as usize;
            limits[length] = next;
        }
        if next > 1 << 16 {
            return None;
        }
        let mut symbols = vec![0; place];
        let mut to = places;
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            symbols[to[usize::from(length)]] = u16::try_from(symbol).ok()?;
            to[usize::from(length)] += 1;
        }
        let mut code = Code { fast: Vec::new(), limits, places, symbols };
        code.fast = (0..1 << FAST).map(|bits| code.slow(bits << (16 - FAST), FAST)).collect();
        Some(code)
    }

    /// The next symbol.
    pub(crate) fn read(&self, bits: &mut Bits) -> io::Result<usize> {
        let next = bits.peek(16);
        let (symbol, length) = match self.fast[(next >> (16 - FAST)) as usize] {
            (_, 0) => self.slow(next, 16),
            found => found,
        };
        if length == 0 {
            bits.check()?;
            return Err(corrupt());
        }
        bits.skip(u32::from(length));
        Ok(usize::from(symbol))
    }

    fn slow(&self, next: u32, most: u32) -> (u16, u8) {
        for length in 1..=most as usize {
            if next < self.limits[length] {
                let before = self.limits[length - 1];
                let place = self.places[length] + ((next - before) >> (16 - length)) as usize;
                return self.symbols.get(place).map_or((0, 0), |symbol| (*symbol, length as u8));
            }
        }
        (0, 0)
    }
}

/// The last bytes that were unpacked, which matches refer to, and those that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Window {
    data: Vec<u8>,
    /// Place in `data` up to which bytes were given out.
    given: usize,
    /// How far back matches may reach.
    size: usize,
    /// What stands before the beginning, for formats that refer to it.
    before: Option<u8>,
}

/// So much is unpacked at once.
pub(crate) const STEP: usize = 32 << 10;

impl Window {
    /// An empty window. `before` is what stands before the beginning; None if nothing may refer to it.
    pub(crate) fn new(size: usize, before: Option<u8>) -> Window {
        Window { data: Vec::new(), given: 0, size, before }
    }

    /// Appends a byte.
    pub(crate) fn push(&mut self, byte: u8) {
        self.data.push(byte);
    }

    /// Appends bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Appends `length` bytes of those that stand `distance` bytes back.
    pub(crate) fn copy(&mut self, distance: usize, mut length: usize) -> io::Result<()> {
        if distance == 0 || distance > self.size {
            return Err(corrupt());
        }
        if distance > self.data.len() {
            let fill = self.before.ok_or_else(corrupt)?;
            let missing = (distance - self.data.len()).min(length);
            self.data.resize(self.data.len() + missing, fill);
            length -= missing;
        }
        copy_within(&mut self.data, distance, length);
        Ok(())
    }

    /// Bytes that nobody has taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.data.len() - self.given
    }

    /// Gives out what fits in `buffer`.
    pub(crate) fn give(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.waiting().min(buffer.len());
        buffer[..count].copy_from_slice(&self.data[self.given..self.given + count]);
        self.given += count;
        // Rarely, so that moving the rest costs little.
        if self.given > self.size + self.size.max(1 << 20) {
            let gone = self.given - self.size;
            self.data.drain(..gone);
            self.given -= gone;
        }
        count
    }

    /// The bytes that were unpacked last, up to the window's size.
    pub(crate) fn last(&self) -> &[u8] {
        &self.data[self.data.len().saturating_sub(self.size)..]
    }
}

/// Appends `length` bytes of those that stand `distance` back; all of those must be there.
pub(crate) fn copy_within(data: &mut Vec<u8>, distance: usize, mut length: usize) {
    let Some(from) = data.len().checked_sub(distance).filter(|_| distance > 0) else { return };
    while length > 0 {
        // What a match makes it may itself refer to: what is there doubles each time.
        let count = length.min(data.len() - from);
        data.extend_from_within(from..from + count);
        length -= count;
    }
}

/// An unpacker that goes in steps.
pub(crate) trait Unpack {
    /// Where it unpacks to.
    fn window(&mut self) -> &mut Window;
    /// Unpacks some more, about [`STEP`] bytes; false at the end.
    fn step(&mut self) -> io::Result<bool>;
}

/// Reads what an unpacker makes. What was made before an error is given out first.
pub(crate) struct Unpacked<U> {
    unpack: U,
    end: Option<io::Result<()>>,
}

impl<U: Unpack> Unpacked<U> {
    /// Reads from `unpack`.
    pub(crate) fn new(unpack: U) -> Unpacked<U> {
        Unpacked { unpack, end: None }
    }
}

impl<U: Unpack> io::Read for Unpacked<U> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.unpack.window().waiting() > 0 {
                return Ok(self.unpack.window().give(buffer));
            }
            match self.end.take() {
                Some(Ok(())) => {
                    self.end = Some(Ok(()));
                    return Ok(0);
                }
                Some(Err(error)) => {
                    self.end = Some(Ok(()));
                    return Err(error);
                }
                None => match self.unpack.step() {
                    Ok(true) => {}
                    Ok(false) => self.end = Some(Ok(())),
                    Err(error) => self.end = Some(Err(error)),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bits_come_highest_first_and_end() {
        let mut bits = Bits::new(&[0b1010_0000, 0xff, 1]);
        assert_eq!((bits.take(3), bits.peek(5), bits.byte()), (0b101, 0, 1));
        bits.align();
        assert_eq!((bits.take(16), bits.taken()), (0xff01, 24));
        assert!(bits.check().is_ok());
        assert_eq!(bits.take(8), 0);
        assert_eq!(bits.check().map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn codes_of_every_length() {
        // 0, 10, 110, and one of twelve bits.
        let mut lengths = vec![1, 2, 3];
        lengths.extend([12]);
        let code = Code::new(&lengths).expect("a code");
        let mut bits = Bits::new(&[0b0101_1011, 0b1000_0000, 0b0000_0000]);
        let read: Vec<usize> = (0..4).map(|_| code.read(&mut bits).expect("a symbol")).collect();
        assert_eq!(read, [0, 1, 2, 3]);
        let mut unused = Bits::new(&[0xff, 0xff]);
        assert!(code.read(&mut unused).is_err());
        assert!(Code::new(&[1, 1, 1]).is_none());
    }

    struct Repeat(Window, u32);

    impl Unpack for Repeat {
        fn window(&mut self) -> &mut Window {
            &mut self.0
        }

        fn step(&mut self) -> io::Result<bool> {
            self.1 += 1;
            match self.1 {
                1 => self.0.extend(b"ab"),
                2..100 => self.0.copy(2, STEP)?,
                _ => return Err(corrupt()),
            }
            Ok(true)
        }
    }

    #[test]
    fn windows_give_what_was_made_before_an_error() {
        let mut reader = Unpacked::new(Repeat(Window::new(16, None), 0));
        let mut all = Vec::new();
        assert!(reader.read_to_end(&mut all).is_err());
        assert_eq!(all.len(), 2 + 98 * STEP);
        assert!(all.chunks(2).all(|pair| pair == b"ab"));
        assert!(reader.unpack.0.data.len() < 4 << 20);
        let mut window = Window::new(16, Some(b' '));
        window.push(b'x');
        assert!(window.copy(17, 1).is_err());
        window.copy(3, 1).expect("in reach");
        window.copy(4, 4).expect("in reach");
        assert_eq!(window.last(), b"x   x ");
    }
}
