//! The xz container (the .xz file format, version 1.2): one stream of blocks, each under up to four filters.

use super::{Fault, Sink, bcj, lzma2};
use crate::fields::{u32_le, u64_le};
use crate::zip::crc32;

/// What a stream begins with.
pub(crate) const MAGIC: &[u8] = b"\xfd7zXZ\0";

/// A filter in a block's header.
enum Step {
    Delta(usize),
    Branches(bcj::Filter, u32),
}

/// Unpacks one stream with its header, index and footer; returns how many bytes it has. What differs from what it says
/// goes to `complaints`.
pub(crate) fn decode(
    input: &[u8],
    sink: &mut Sink,
    complaints: &mut Vec<&'static str>,
) -> Result<usize, Fault> {
    let head = input.get(..12).ok_or(Fault::Truncated)?;
    if !head.starts_with(MAGIC)
        || head[6] != 0
        || head[7] & 0xf0 != 0
        || u32_le(head, 8) != Some(crc32(&head[6..8]))
    {
        return Err(Fault::Corrupt);
    }
    let check = head[7];
    let mut at = 12;
    loop {
        let size = match *input.get(at).ok_or(Fault::Truncated)? {
            0 => break,
            size => (usize::from(size) + 1) * 4,
        };
        let header = input.get(at..at + size).ok_or(Fault::Truncated)?;
        at += size;
        let mark = sink.mark();
        sink.restart()?;
        at += block(header, input.get(at..).unwrap_or_default(), sink, mark)?;
        at = at.next_multiple_of(4);
        let len = check_size(check);
        let sum = input.get(at..at + len).ok_or(Fault::Truncated)?;
        if !fits(check, sum, sink.since(mark)) && !complaints.contains(&"its checksum differs") {
            complaints.push("its checksum differs");
        }
        at += len;
    }
    let index = index(&input[at..])?;
    at += index;
    let footer = input.get(at..at + 12).ok_or(Fault::Truncated)?;
    if !footer.ends_with(b"YZ") || u32_le(footer, 0) != Some(crc32(&footer[4..10])) {
        return Err(Fault::Corrupt);
    }
    Ok(at + 12)
}

/// Unpacks a block behind its header; returns how many packed bytes it has.
fn block(header: &[u8], input: &[u8], sink: &mut Sink, mark: usize) -> Result<usize, Fault> {
    let end = header.len() - 4;
    if u32_le(header, end) != Some(crc32(&header[..end])) {
        return Err(Fault::Corrupt);
    }
    let flags = header[1];
    let mut at = 2;
    let number = |at: &mut usize| number(&header[..end], at).ok_or(Fault::Corrupt);
    let packed = if flags & 0x40 != 0 { Some(number(&mut at)?) } else { None };
    let size = if flags & 0x80 != 0 { Some(number(&mut at)?) } else { None };
    let mut steps = Vec::new();
    let mut compressed = false;
    for _ in 0..=flags & 3 {
        let id = number(&mut at)?;
        let len = usize::try_from(number(&mut at)?).map_err(|_| Fault::Corrupt)?;
        let options = header[..end].get(at..).and_then(|rest| rest.get(..len)).ok_or(Fault::Corrupt)?;
        at += len;
        if compressed {
            return Err(Fault::Corrupt);
        }
        compressed = id == 0x21;
        if !compressed {
            steps.push(step(id, options).ok_or(Fault::Corrupt)?);
        }
    }
    if !compressed {
        return Err(Fault::Corrupt);
    }
    let used = lzma2::decode(input, sink)?;
    let data = sink.since(mark);
    if packed.is_some_and(|packed| packed != used as u64)
        || size.is_some_and(|size| size != data.len() as u64)
    {
        return Err(Fault::Corrupt);
    }
    for step in steps.iter().rev() {
        match step {
            Step::Delta(distance) => bcj::delta(data, *distance),
            Step::Branches(filter, start) => filter(data, *start),
        }
    }
    Ok(used)
}

/// A filter by its number (section 5.3).
fn step(id: u64, options: &[u8]) -> Option<Step> {
    let filter: bcj::Filter = match id {
        0x03 => return Some(Step::Delta(usize::from(*options.first()?) + 1)),
        0x04 => bcj::x86,
        0x05 => bcj::powerpc,
        0x06 => bcj::ia64,
        0x07 => bcj::arm,
        0x08 => bcj::thumb,
        0x09 => bcj::sparc,
        0x0a => bcj::arm64,
        0x0b => bcj::riscv,
        _ => return None,
    };
    Some(Step::Branches(filter, u32_le(options, 0).unwrap_or(0)))
}

/// Passes over the index; returns its size.
fn index(input: &[u8]) -> Result<usize, Fault> {
    let mut at = 1;
    let records = number(input, &mut at).ok_or(Fault::Truncated)?;
    for _ in 0..records.saturating_mul(2) {
        number(input, &mut at).ok_or(Fault::Truncated)?;
    }
    let end = at.next_multiple_of(4);
    let sum = u32_le(input, end).ok_or(Fault::Truncated)?;
    if sum != crc32(&input[..end]) {
        return Err(Fault::Corrupt);
    }
    Ok(end + 4)
}

/// A number of 7 bits a byte, nine bytes at most (section 1.2).
fn number(input: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for place in 0..9 {
        let byte = *input.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Sizes of the checks (section 2.1.1.2).
fn check_size(check: u8) -> usize {
    match check {
        0 => 0,
        1..=3 => 4,
        4..=6 => 8,
        7..=9 => 16,
        10..=12 => 32,
        _ => 64,
    }
}

/// Whether a check agrees; those without a meaning always do.
fn fits(check: u8, sum: &[u8], data: &[u8]) -> bool {
    use sha2::Digest;
    match check {
        1 => u32_le(sum, 0) == Some(crc32(data)),
        4 => u64_le(sum, 0) == Some(crc64(data)),
        10 => sha2::Sha256::digest(data).as_slice() == sum,
        _ => true,
    }
}

/// CRC-64 of ECMA-182, lowest bit first.
fn crc64(data: &[u8]) -> u64 {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut place = 0;
        while place < 256 {
            let mut value = place as u64;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xc96c_5795_d787_0f42 } else { value >> 1 };
                bit += 1;
            }
            table[place] = value;
            place += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc: u64, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc64_of_the_usual_digits() {
        assert_eq!(super::crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
    }
}
