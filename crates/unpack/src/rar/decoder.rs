//! All methods of RAR behind one reader.

use std::io;

use super::header::{File, Method};
use super::lz15::Lz15;
use super::lz20::Lz20;
use super::lz29::Lz29;
use super::lz50::Lz50;
use super::output::Output;
use crate::bits::{Bits, truncated};

/// The unpackers of an archive, with what members of a solid one pass on.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    output: Output,
    lz15: Lz15,
    lz20: Lz20,
    lz29: Lz29,
    lz50: Lz50,
}

impl Decoder {
    /// Reads the content of a member that is packed in `input`. PPMd may ask for `most_memory` bytes.
    pub(super) fn read<'a>(
        &'a mut self,
        file: &File,
        solid: bool,
        input: &'a [u8],
        most_memory: u64,
    ) -> Reader<'a> {
        self.output.begin(file.window, file.size, solid);
        match file.method {
            Method::Lz15 => self.lz15.begin(solid),
            Method::Lz20 => self.lz20.begin(solid),
            Method::Lz29 => self.lz29.begin(solid),
            Method::Lz50(large) => self.lz50.begin(solid, large),
            Method::Stored | Method::Unknown(_) => {}
        }
        let state = if file.size == Some(0) { State::Ended } else { State::New };
        Reader { decoder: self, method: file.method, bits: Bits::new(input), most_memory, state }
    }

    /// A filter of the member that was read last is not known.
    pub(super) fn unknown_filter(&self) -> bool {
        self.output.unknown_filter
    }

    /// The member that was read last needs more memory than it may have.
    pub(super) fn over_memory(&self) -> bool {
        self.lz29.over_memory
    }
}

/// Reads one member.
pub(super) struct Reader<'a> {
    decoder: &'a mut Decoder,
    method: Method,
    bits: Bits<'a>,
    most_memory: u64,
    state: State,
}

enum State {
    New,
    Going,
    Failed(io::Error),
    Ended,
}

impl Reader<'_> {
    fn step(&mut self) -> io::Result<bool> {
        let Decoder { output, lz15, lz20, lz29, lz50 } = &mut *self.decoder;
        let bits = &mut self.bits;
        if matches!(self.state, State::New) {
            match self.method {
                Method::Lz20 => lz20.head(bits)?,
                Method::Lz29 => lz29.head(bits, self.most_memory)?,
                _ => {}
            }
            self.state = State::Going;
        }
        match self.method {
            Method::Lz15 => lz15.step(bits, output),
            Method::Lz20 => lz20.step(bits, output),
            Method::Lz29 => lz29.step(bits, output, self.most_memory),
            Method::Lz50(_) => lz50.step(bits, output),
            Method::Stored | Method::Unknown(_) => Ok(false),
        }
    }

    /// What follows the last byte matters to the next member only.
    fn end(&mut self) -> State {
        let complete = self.decoder.output.complete();
        let tail = match self.method {
            Method::Lz20 if complete => self.decoder.lz20.tail(&mut self.bits),
            Method::Lz29 if complete => self.decoder.lz29.tail(&mut self.bits),
            _ => Ok(()),
        };
        drop(tail);
        State::Ended
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let given = self.decoder.output.give(buffer);
            if given > 0 {
                return Ok(given);
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Failed(error) => return Err(error),
                state => self.state = state,
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.state = self.end();
                    self.decoder.output.finish();
                }
                Err(error) => {
                    // Zeros behind the end may make no sense before they are told from data.
                    let error = if self.bits.check().is_err() { truncated() } else { error };
                    self.state = State::Failed(error);
                    self.decoder.output.finish();
                }
            }
        }
    }
}
