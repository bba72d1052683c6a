//! MSZIP, of cabinets and KWAJ files: deflate in blocks, each of which may refer to what came before it.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use crate::bits::{Unpack, Window, corrupt, truncated};

/// How far back matches reach, and the most that a block makes.
const REACH: usize = 32 << 10;

/// An unpacker of blocks.
pub(crate) struct Mszip<I> {
    blocks: I,
    window: Window,
}

impl<'a, I: Iterator<Item = io::Result<&'a [u8]>>> Mszip<I> {
    /// Unpacks these blocks, each with its mark `CK`.
    pub(crate) fn new(blocks: I) -> Mszip<I> {
        Mszip { blocks, window: Window::new(REACH, None) }
    }
}

impl<'a, I: Iterator<Item = io::Result<&'a [u8]>>> Unpack for Mszip<I> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        let Some(block) = self.blocks.next() else { return Ok(false) };
        let packed = block?.strip_prefix(b"CK").ok_or_else(corrupt)?;
        let before = self.window.last().to_vec();
        let (made, end) = inflate(&before, packed);
        self.window.extend(made.get(before.len()..).unwrap_or_default());
        end.map(|()| true)
    }
}

/// Inflates a block behind what came before it, which is put in front of it as a block that is stored.
fn inflate(before: &[u8], packed: &[u8]) -> (Vec<u8>, io::Result<()>) {
    let mut state = Decompress::new(false);
    let mut made = Vec::with_capacity(before.len() + REACH + 1);
    if !before.is_empty() {
        let len = before.len() as u16;
        let mut stored = vec![0];
        stored.extend(len.to_le_bytes());
        stored.extend((!len).to_le_bytes());
        stored.extend_from_slice(before);
        if state.decompress_vec(&stored, &mut made, FlushDecompress::None).is_err() {
            return (made, Err(corrupt()));
        }
    }
    let used = state.total_in();
    let end = loop {
        let at = usize::try_from(state.total_in() - used).unwrap_or(packed.len()).min(packed.len());
        let size = made.len();
        match state.decompress_vec(&packed[at..], &mut made, FlushDecompress::None) {
            Ok(Status::StreamEnd) => break Ok(()),
            Err(_) => break Err(corrupt()),
            // More than a block may make.
            Ok(_) if made.len() == made.capacity() => break Err(corrupt()),
            Ok(_) if made.len() == size => break Err(truncated()),
            Ok(_) => {}
        }
    };
    (made, end)
}
