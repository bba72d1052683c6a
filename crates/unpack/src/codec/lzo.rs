//! LZO1X, as lzop writes it.

use super::{Fault, Sink};

/// Unpacks one block.
pub(crate) fn decode(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    let mut reader = Reader { input, at: 0 };
    let first = *input.first().ok_or(Fault::Truncated)?;
    // Literals that were copied before the code that comes next: 0 to 3, or 4 for more.
    let mut state = 0;
    if first > 17 {
        reader.at = 1;
        let count = usize::from(first) - 17;
        reader.literals(count, sink)?;
        state = count.min(4);
    }
    loop {
        let code = usize::from(reader.byte()?);
        let (distance, len) = match code {
            0..=15 if state == 0 => {
                let count = reader.length(code, 15)? + 3;
                reader.literals(count, sink)?;
                state = 4;
                continue;
            }
            0..=15 => {
                let distance = (code >> 2) + (usize::from(reader.byte()?) << 2) + 1;
                if state == 4 { (distance + 0x800, 3) } else { (distance, 2) }
            }
            16..=31 => {
                let len = reader.length(code & 7, 7)? + 2;
                let distance = ((code & 8) << 11) + reader.pair()?;
                if distance == 0 {
                    return Ok(reader.at);
                }
                (distance + 0x4000, len)
            }
            32..=63 => {
                let len = reader.length(code & 31, 31)? + 2;
                (reader.pair()? + 1, len)
            }
            _ => {
                let distance = (code >> 2 & 7) + (usize::from(reader.byte()?) << 3) + 1;
                (distance, (code >> 5) + 1)
            }
        };
        sink.copy(distance, len)?;
        // The lowest bits of the last byte but one that told the match.
        let told = input.get(reader.at - 2).copied().ok_or(Fault::Truncated)?;
        state = usize::from(told & 3);
        reader.literals(state, sink)?;
    }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.input.get(self.at).ok_or(Fault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// Two bytes, of which the upper 14 bits are a distance.
    fn pair(&mut self) -> Result<usize, Fault> {
        let low = usize::from(self.byte()?);
        Ok((low >> 2) + (usize::from(self.byte()?) << 6))
    }

    /// A length: as it stands, or where it is 0, `most` and what follows.
    fn length(&mut self, told: usize, most: usize) -> Result<usize, Fault> {
        if told != 0 {
            return Ok(told);
        }
        let mut len = most;
        loop {
            match self.byte()? {
                0 => len += 255,
                last => return Ok(len + usize::from(last)),
            }
        }
    }

    fn literals(&mut self, count: usize, sink: &mut Sink) -> Result<(), Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let some = &rest[..count.min(rest.len())];
        sink.extend(some)?;
        self.at += some.len();
        if some.len() < count { Err(Fault::Truncated) } else { Ok(()) }
    }
}
