//! bzip2, by libbz2-rs-sys.

use bzip2::{Decompress, Status};

use super::{Fault, Sink};

/// Unpacks one stream; returns how many bytes it has.
pub(crate) fn decode(input: &[u8], sink: &mut Sink) -> Result<usize, Fault> {
    let mut state = Decompress::new(false);
    let mut step = vec![0; 64 << 10];
    loop {
        let (read, made) = (state.total_in(), state.total_out());
        let rest = usize::try_from(read).ok().and_then(|read| input.get(read..)).unwrap_or_default();
        let status = state.decompress(rest, &mut step);
        let more = usize::try_from(state.total_out() - made).unwrap_or(0).min(step.len());
        sink.extend(&step[..more])?;
        match status {
            Ok(Status::StreamEnd) => return Ok(usize::try_from(state.total_in()).unwrap_or(input.len())),
            Ok(Status::MemNeeded) | Err(_) => return Err(Fault::Corrupt),
            Ok(_) if more == 0 && state.total_in() == read => return Err(Fault::Truncated),
            Ok(_) => {}
        }
    }
}
