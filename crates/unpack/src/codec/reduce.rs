//! Reduce, methods 2 to 5 of zip (APPNOTE 5.2): bytes told by what usually follows the one before, then matches.

use super::bits::Bits;
use super::{Fault, Sink};

/// Announces a match.
const MARK: u8 = 144;

/// Unpacks `size` bytes by `factor` 1 to 4 (the method less one).
pub(crate) fn decode(input: &[u8], factor: u16, size: u64, sink: &mut Sink) -> Result<usize, Fault> {
    let mut bits = Bits::new(input);
    let mut followers: Vec<Vec<u8>> = vec![Vec::new(); 256];
    for set in followers.iter_mut().rev() {
        let count = bits.take(6)?;
        for _ in 0..count {
            set.push(bits.take(8)? as u8);
        }
    }
    let shift = 8 - u32::from(factor.clamp(1, 4));
    let mask = (1_u8 << shift) - 1;
    let mut before = 0;
    let mut next = |bits: &mut Bits| -> Result<u8, Fault> {
        before = followed(bits, &followers[usize::from(before)])?;
        Ok(before)
    };
    while (sink.made() as u64) < size {
        let byte = next(&mut bits)?;
        if byte != MARK {
            sink.push(byte)?;
            continue;
        }
        let told = next(&mut bits)?;
        if told == 0 {
            sink.push(MARK)?;
            continue;
        }
        let mut len = usize::from(told & mask);
        if told & mask == mask {
            len += usize::from(next(&mut bits)?);
        }
        let distance = (usize::from(told >> shift) << 8) + usize::from(next(&mut bits)?) + 1;
        let left = usize::try_from(size - sink.made() as u64).unwrap_or(usize::MAX);
        sink.copy_or_zeros(distance, (len + 3).min(left))?;
    }
    Ok(bits.used())
}

/// The next byte, given those that usually follow the last one.
fn followed(bits: &mut Bits, usual: &[u8]) -> Result<u8, Fault> {
    if usual.is_empty() || bits.take(1)? == 1 {
        return Ok(bits.take(8)? as u8);
    }
    let width = (usize::BITS - (usual.len() - 1).leading_zeros()).max(1);
    let place = bits.take(width)? as usize;
    usual.get(place).copied().ok_or(Fault::Corrupt)
}
