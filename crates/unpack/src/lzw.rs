//! LZW as zoo and ARC write it: codes of 9 bits and more, lowest bit first.

use std::io;

use crate::bits::{STEP, Unpack, Window, corrupt};

/// Clears the table.
const CLEAR: usize = 256;

/// Who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Zoo: up to 13 bits, an end code, no groups.
    Zoo,
    /// ARC, "crunched": up to 12 bits as a first byte says; codes come in groups of eight.
    Crunched,
    /// ARC, "squashed": up to 13 bits, in groups of eight.
    Squashed,
}

/// An unpacker.
pub(crate) struct Lzw<'a> {
    packed: &'a [u8],
    kind: Kind,
    bit: usize,
    /// Where the group begins, in bits.
    group: usize,
    width: u32,
    widest: u32,
    /// For each code over the clear code: the one before it, and the byte behind that.
    strings: Vec<(u16, u8)>,
    first_free: usize,
    old: Option<usize>,
    /// The first byte of the string that came last.
    first: u8,
    window: Window,
}

impl<'a> Lzw<'a> {
    /// Unpacks `packed`.
    pub(crate) fn new(packed: &'a [u8], kind: Kind) -> Lzw<'a> {
        let (widest, skip) = match kind {
            Kind::Zoo | Kind::Squashed => (13, 0),
            Kind::Crunched => (packed.first().map_or(12, |widest| u32::from(*widest)).clamp(9, 16), 1),
        };
        Lzw {
            packed: packed.get(skip..).unwrap_or_default(),
            kind,
            bit: 0,
            group: 0,
            width: 9,
            widest,
            strings: Vec::new(),
            first_free: if kind == Kind::Zoo { 258 } else { 257 },
            old: None,
            first: 0,
            window: Window::new(0, None),
        }
    }

    /// The next code; none at the end.
    fn code(&mut self) -> Option<usize> {
        let free = self.first_free + self.strings.len();
        let full = match self.kind {
            Kind::Zoo => free >= 1 << self.width,
            Kind::Crunched | Kind::Squashed => free > (1 << self.width) - 1,
        };
        if full && self.width < self.widest {
            self.align();
            self.width += 1;
        }
        let end = self.bit + self.width as usize;
        if end > self.packed.len() * 8 {
            return None;
        }
        let bytes = self.packed[self.bit / 8..end.div_ceil(8)].iter().rev();
        let bits = bytes.fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let code = (bits >> (self.bit % 8)) & ((1 << self.width) - 1);
        self.bit = end;
        Some(code)
    }

    /// Where codes come in groups of eight, what is left of a group is not used.
    fn align(&mut self) {
        if self.kind != Kind::Zoo {
            self.group += (self.bit - self.group).next_multiple_of(self.width as usize * 8);
            self.bit = self.group;
        }
    }

    /// Appends the string of a code.
    fn string(&mut self, code: usize) -> io::Result<()> {
        let mut string = Vec::new();
        let mut at = code;
        while at >= self.first_free {
            let place = at - self.first_free;
            let (before, last) = match (self.strings.get(place), self.old) {
                (Some((before, last)), _) => (usize::from(*before), *last),
                // The one that is only being made: the last one and its own first byte.
                (None, Some(old)) if place == self.strings.len() && at == code => (old, self.first),
                _ => return Err(corrupt()),
            };
            string.push(last);
            at = before;
        }
        self.first = u8::try_from(at).map_err(|_| corrupt())?;
        string.push(self.first);
        string.reverse();
        self.window.extend(&string);
        Ok(())
    }
}

impl Unpack for Lzw<'_> {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn step(&mut self) -> io::Result<bool> {
        while self.window.waiting() < STEP {
            let Some(code) = self.code() else { return Ok(false) };
            if code == CLEAR {
                self.align();
                self.strings.clear();
                (self.width, self.old) = (9, None);
                continue;
            }
            if code == CLEAR + 1 && self.kind == Kind::Zoo {
                return Ok(false);
            }
            self.string(code)?;
            if let Some(old) = self.old
                && self.first_free + self.strings.len() < 1 << self.widest
            {
                self.strings.push((old as u16, self.first));
            }
            self.old = Some(code);
        }
        Ok(true)
    }
}
