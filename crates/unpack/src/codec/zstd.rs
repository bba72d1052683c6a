//! Zstandard (RFC 8878), by ruzstd.

use std::io::Read as _;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Fault, Sink};

/// What a frame begins with.
pub(crate) const MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";

/// Unpacks one frame; returns how many bytes it has. `memory` is the largest window that it may ask for; what differs from
/// what it says goes to `complaints`.
pub(crate) fn decode(
    input: &[u8],
    memory: u64,
    sink: &mut Sink,
    complaints: &mut Vec<&'static str>,
) -> Result<usize, Fault> {
    let mut rest = input;
    let mut frame = FrameDecoder::new();
    frame.set_max_window_size(memory);
    frame.init(&mut rest).map_err(|error| fault(&error, rest))?;
    let mut step = vec![0; 64 << 10];
    // What the frame keeps as its window before it hands it out is seen as made.
    let mut kept = 0;
    while !frame.is_finished() {
        kept += most_of_block(rest);
        sink.foresee(kept)?;
        let decoded = frame.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1));
        loop {
            let more = frame.read(&mut step).map_err(|_| Fault::Corrupt)?;
            if more == 0 {
                break;
            }
            kept = kept.saturating_sub(more);
            sink.extend(&step[..more])?;
        }
        decoded.map_err(|error| fault(&error, rest))?;
    }
    if let Some(told) = frame.get_checksum_from_data()
        && frame.get_calculated_checksum() != Some(told)
    {
        complaints.push("its checksum differs");
    }
    Ok(input.len() - rest.len())
}

/// Whether a frame names a dictionary, which lies elsewhere (section 3.1.1.1.1.6).
pub(crate) fn needs_dictionary(input: &[u8]) -> bool {
    let Some(&descriptor) = input.get(4) else { return false };
    let at = if descriptor & 0x20 != 0 { 5 } else { 6 };
    let len = [0, 1, 2, 4][usize::from(descriptor & 3)];
    input.get(at..at + len).is_some_and(|id| id.iter().any(|&byte| byte != 0))
}

/// The most that the next block can become (section 3.1.1.2).
fn most_of_block(rest: &[u8]) -> usize {
    const LARGEST: usize = 128 << 10;
    let Some(head) = rest.first_chunk::<3>() else { return 0 };
    let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    if head >> 1 & 3 < 2 { (head >> 3) as usize } else { LARGEST }
}

fn fault(_error: &ruzstd::decoding::errors::FrameDecoderError, rest: &[u8]) -> Fault {
    if rest.is_empty() { Fault::Truncated } else { Fault::Corrupt }
}
