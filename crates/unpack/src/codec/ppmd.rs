//! PPMd, by ppmd-rust: variant H as 7z has it, variant I as zip has it.

use gatepost_mail::Limit;
use ppmd_rust::{Ppmd7Decoder, Ppmd8Decoder, RestoreMethod};

use super::{Fault, Sink};

/// Unpacks `size` bytes of variant H; `memory` is what its model asks for.
pub(crate) fn variant_h(
    input: &[u8],
    order: u32,
    memory: u32,
    size: u64,
    sink: &mut Sink,
) -> Result<usize, Fault> {
    let mut decoder = Ppmd7Decoder::new(input, order, memory).map_err(fault)?;
    sink.drain(&mut decoder, Some(size))?;
    Ok(input.len() - decoder.into_inner().len())
}

/// Unpacks `size` bytes of variant I behind the two bytes that tell its parameters (APPNOTE 5.10).
pub(crate) fn variant_i(input: &[u8], most: u64, size: u64, sink: &mut Sink) -> Result<usize, Fault> {
    let (told, rest) = input.split_first_chunk().ok_or(Fault::Truncated)?;
    let told = u32::from(u16::from_le_bytes(*told));
    let (order, memory) = ((told & 15) + 1, ((told >> 4 & 0xff) + 1) << 20);
    if u64::from(memory) > most {
        return Err(Fault::Over(Limit::Memory));
    }
    let restore = match told >> 12 {
        0 => RestoreMethod::Restart,
        1 => RestoreMethod::CutOff,
        _ => return Err(Fault::Corrupt),
    };
    let mut decoder = Ppmd8Decoder::new(rest, order, memory, restore).map_err(fault)?;
    sink.drain(&mut decoder, Some(size))?;
    Ok(input.len() - decoder.into_inner().len())
}

fn fault(error: ppmd_rust::Error) -> Fault {
    match error {
        ppmd_rust::Error::IoError(_) => Fault::Truncated,
        _ => Fault::Corrupt,
    }
}
