//! LZ4: frames (version 1.6.x of the frame format), and the legacy format of the Linux kernel.

use super::{Fault, Sink};
use crate::fields::u32_le;

/// What a frame begins with.
pub(crate) const FRAME: &[u8] = b"\x04\x22\x4d\x18";
/// What a legacy file begins with.
pub(crate) const LEGACY: &[u8] = b"\x02\x21\x4c\x18";

/// Unpacks one frame; returns how many bytes it has. What differs from what it says goes to `complaints`.
pub(crate) fn frame(
    input: &[u8],
    sink: &mut Sink,
    complaints: &mut Vec<&'static str>,
) -> Result<usize, Fault> {
    let flags = *input.get(4).ok_or(Fault::Truncated)?;
    if flags >> 6 != 1 {
        return Err(Fault::Corrupt);
    }
    let independent = flags & 0x20 != 0;
    let block_sum = flags & 0x10 != 0;
    let sized = flags & 0x08 != 0;
    let summed = flags & 0x04 != 0;
    let dictionary = flags & 0x01 != 0;
    let end = 6 + if sized { 8 } else { 0 } + if dictionary { 4 } else { 0 };
    let told = *input.get(end).ok_or(Fault::Truncated)?;
    if (xxh32(&input[4..end]) >> 8) as u8 != told {
        complaints.push("the checksum of its header differs");
    }
    let mut at = end + 1;
    let start = sink.mark();
    loop {
        let size = u32_le(input, at).ok_or(Fault::Truncated)?;
        at += 4;
        if size == 0 {
            break;
        }
        let len = (size & 0x7fff_ffff) as usize;
        let rest = &input[at..];
        let data = &rest[..len.min(rest.len())];
        if independent {
            sink.restart()?;
        }
        if size & 1 << 31 != 0 {
            sink.extend(data)?
        } else {
            block(data, sink)?
        }
        if data.len() < len {
            return Err(Fault::Truncated);
        }
        at += len;
        if block_sum {
            if u32_le(input, at).ok_or(Fault::Truncated)? != xxh32(data) {
                complaints.push("the checksum of a block differs");
            }
            at += 4;
        }
    }
    if summed {
        if u32_le(input, at).ok_or(Fault::Truncated)? != xxh32(sink.since(start)) {
            complaints.push("its checksum differs");
        }
        at += 4;
    }
    Ok(at)
}

/// Unpacks a legacy file: blocks behind their sizes, up to the end or to what is no size.
pub(crate) fn legacy(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    /// Largest block, with what incompressible data adds.
    const LARGEST: usize = (8 << 20) + (8 << 20) / 255 + 16;
    let mut at = 4;
    while let Some(size) = u32_le(input, at) {
        let size = size as usize;
        if size > LARGEST {
            break;
        }
        let rest = &input[at + 4..];
        sink.restart()?;
        block(&rest[..size.min(rest.len())], sink)?;
        if rest.len() < size {
            return Err(Fault::Truncated);
        }
        at += 4 + size;
    }
    Ok(at)
}

/// One block (LZ4 block format).
fn block(input: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    let mut at = 0;
    while let Some(&token) = input.get(at) {
        at += 1;
        let literals = length(input, &mut at, token >> 4)?;
        let rest = &input[at..];
        sink.extend(&rest[..literals.min(rest.len())])?;
        if rest.len() < literals {
            return Err(Fault::Truncated);
        }
        at += literals;
        if at == input.len() {
            return Ok(());
        }
        let distance: &[u8; 2] = input[at..].first_chunk().ok_or(Fault::Truncated)?;
        at += 2;
        let len = length(input, &mut at, token & 15)? + 4;
        sink.copy(usize::from(u16::from_le_bytes(*distance)), len)?;
    }
    Ok(())
}

fn length(input: &[u8], at: &mut usize, told: u8) -> Result<usize, Fault> {
    let mut len = usize::from(told);
    if told == 15 {
        loop {
            let more = *input.get(*at).ok_or(Fault::Truncated)?;
            *at += 1;
            len += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Ok(len)
}

/// xxHash of 32 bits with seed 0.
fn xxh32(data: &[u8]) -> u32 {
    const P: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut lanes = [P[0].wrapping_add(P[1]), P[1], 0, 0_u32.wrapping_sub(P[0])];
    let stripes = data.chunks_exact(16);
    let mut rest = stripes.remainder();
    for stripe in stripes {
        for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
            *lane = lane.wrapping_add(word(bytes).wrapping_mul(P[1])).rotate_left(13).wrapping_mul(P[0]);
        }
    }
    let mut hash = if data.len() >= 16 {
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, turn)| lane.rotate_left(turn));
        turned.fold(0, u32::wrapping_add)
    } else {
        P[4]
    };
    hash = hash.wrapping_add(data.len() as u32);
    while rest.len() >= 4 {
        hash = hash.wrapping_add(word(rest).wrapping_mul(P[2])).rotate_left(17).wrapping_mul(P[3]);
        rest = &rest[4..];
    }
    for &byte in rest {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(P[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(P[2]);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    #[test]
    fn xxhash_of_known_data() {
        assert_eq!(super::xxh32(b""), 0x02cc_5d05);
        assert_eq!(super::xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
