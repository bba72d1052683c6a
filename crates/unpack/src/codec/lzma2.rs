//! LZMA2: LZMA in chunks, each with its sizes, between chunks that are stored.

use super::lzma::{Coder, Model, Properties};
use super::{Fault, Sink};

/// Unpacks up to the end mark; returns how many bytes there are.
pub(crate) fn decode(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    let mut at = 0;
    let mut model: Option<Model> = None;
    let mut properties = None;
    let mut begun = false;
    loop {
        let control = *input.get(at).ok_or(Fault::Truncated)?;
        if control == 0 {
            return Ok(at + 1);
        }
        let resets = control == 1 || control >= 0xe0;
        if resets {
            sink.restart()?;
        } else if !begun {
            return Err(Fault::Corrupt);
        }
        begun = true;
        let low = be16(input, at + 1)?;
        if control < 0x80 {
            if control > 2 {
                return Err(Fault::Corrupt);
            }
            let rest = input.get(at + 3..).ok_or(Fault::Truncated)?;
            sink.extend(&rest[..rest.len().min(low + 1)])?;
            if rest.len() <= low {
                return Err(Fault::Truncated);
            }
            at += 3 + low + 1;
            continue;
        }
        let size = (usize::from(control & 0x1f) << 16 | low) + 1;
        let packed = be16(input, at + 3)? + 1;
        at += 5;
        if control >= 0xc0 {
            let byte = *input.get(at).ok_or(Fault::Truncated)?;
            properties = Some(Properties::of(byte).ok_or(Fault::Corrupt)?);
            at += 1;
        }
        if control >= 0xa0 {
            model = Some(Model::new(properties.ok_or(Fault::Corrupt)?));
        }
        let rest = input.get(at..).ok_or(Fault::Truncated)?;
        let mut coder = Coder::new(&rest[..rest.len().min(packed)])?;
        model.as_mut().ok_or(Fault::Corrupt)?.run(&mut coder, Some(size as u64), sink)?;
        at += packed;
    }
}

fn be16(input: &[u8], at: usize) -> Result<usize, Fault> {
    let bytes = input.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Truncated)?;
    Ok(usize::from(u16::from_be_bytes(*bytes)))
}
