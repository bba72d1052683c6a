//! LZW as Unix compress writes it (`.Z`): codes of 9 to 16 bits, lowest bit first.

use super::{Fault, Sink};

/// Clears the table, in block mode.
const CLEAR: usize = 256;

/// Unpacks the codes that follow the header's three bytes; `flags` is the third of them.
pub(crate) fn decode(input: &[u8], flags: u8, sink: &mut Sink) -> Result<usize, Fault> {
    let widest = u32::from(flags & 0x1f);
    let blocks = flags & 0x80 != 0;
    if !(9..=16).contains(&widest) {
        return Err(Fault::Corrupt);
    }
    let first_free = if blocks { CLEAR + 1 } else { CLEAR };
    // Where a string of two and more bytes stands in the output: the first place and its length.
    let mut strings: Vec<(usize, usize)> = Vec::new();
    let mut width = 9;
    let mut group = 0_usize;
    let mut bit = 0_usize;
    let mut old: Option<(usize, usize)> = None;
    let align = |group: &mut usize, bit: &mut usize, width: u32| {
        *group += (*bit - *group).next_multiple_of(width as usize * 8);
        *bit = *group;
    };
    loop {
        let free = first_free + strings.len();
        if free > (1 << width) - 1 && width < widest {
            align(&mut group, &mut bit, width);
            width += 1;
        }
        let Some(code) = read(input, bit, width) else { break };
        bit += width as usize;
        if code == CLEAR && blocks {
            align(&mut group, &mut bit, width);
            strings.clear();
            width = 9;
            old = None;
            continue;
        }
        let at = sink.made();
        match code.checked_sub(first_free) {
            None if code < 256 => sink.push(code as u8)?,
            None => return Err(Fault::Corrupt),
            Some(place) => {
                let (from, len) = match strings.get(place) {
                    Some(&string) => string,
                    // The string that is only being made: the last one and its own first byte.
                    None if place == strings.len() => {
                        old.map(|(from, len)| (from, len + 1)).ok_or(Fault::Corrupt)?
                    }
                    None => return Err(Fault::Corrupt),
                };
                sink.copy(at - from, len)?;
            }
        }
        if let Some((from, len)) = old
            && first_free + strings.len() < 1 << widest
        {
            strings.push((from, len + 1));
        }
        old = Some((at, sink.made() - at));
    }
    Ok(input.len())
}

fn read(input: &[u8], bit: usize, width: u32) -> Option<usize> {
    let bytes = input.get(bit / 8..)?;
    let mut held = 0_u32;
    for place in (0..3).rev() {
        held = held << 8 | u32::from(bytes.get(place).copied().unwrap_or(0));
    }
    (input.len() * 8 >= bit + width as usize).then_some((held >> (bit % 8)) as usize & ((1 << width) - 1))
}
