//! Shrink, method 1 of zip (APPNOTE 5.1): LZW with codes of 9 to 13 bits whose table is cleared in part.

use super::bits::Bits;
use super::{Fault, Sink};

/// Codes there are.
const CODES: usize = 1 << 13;
/// The code that announces a wider code or a clearing.
const CONTROL: usize = 256;
const NONE: u16 = u16::MAX;

/// Unpacks `size` bytes.
pub(crate) fn decode(input: &[u8], size: u64, sink: &mut Sink) -> Result<usize, Fault> {
    let mut bits = Bits::new(input);
    let mut table = Table::new();
    let mut width = 9;
    if size == 0 {
        return Ok(0);
    }
    let first = bits.take(width)? as usize;
    let mut last = u8::try_from(first).map_err(|_| Fault::Corrupt)?;
    let mut old = first;
    sink.push(last)?;
    let mut text = Vec::new();
    while (sink.made() as u64) < size {
        let code = bits.take(width)? as usize;
        if code == CONTROL {
            match bits.take(width)? {
                1 if width < 13 => width += 1,
                2 => table.clear_leaves(),
                _ => return Err(Fault::Corrupt),
            }
            continue;
        }
        text.clear();
        let known = code < CONTROL || table.parents[code] != NONE;
        let mut at = code;
        if !known {
            // The code that is only being made: the last string and its own first byte.
            text.push(last);
            at = old;
        }
        while at > CONTROL {
            // A chain that runs in a circle is longer than there are codes.
            if text.len() > CODES || table.parents[at] == NONE {
                return Err(Fault::Corrupt);
            }
            text.push(table.bytes[at]);
            at = usize::from(table.parents[at]);
        }
        last = u8::try_from(at).map_err(|_| Fault::Corrupt)?;
        text.push(last);
        let left = usize::try_from(size - sink.made() as u64).unwrap_or(usize::MAX);
        for &byte in text.iter().rev().take(left) {
            sink.push(byte)?;
        }
        table.add(old, last);
        old = code;
    }
    Ok(bits.used())
}

/// Strings as trees: each is its parent and one more byte.
struct Table {
    parents: Vec<u16>,
    bytes: Vec<u8>,
    /// No code up to here is free.
    taken: usize,
}

impl Table {
    fn new() -> Table {
        Table { parents: vec![NONE; CODES], bytes: vec![0; CODES], taken: CONTROL }
    }

    fn add(&mut self, parent: usize, byte: u8) {
        let free = self.parents.iter().skip(self.taken + 1).position(|&parent| parent == NONE);
        let Some(place) = free.map(|place| place + self.taken + 1) else {
            self.taken = CODES;
            return;
        };
        self.taken = place;
        self.parents[place] = parent as u16;
        self.bytes[place] = byte;
    }

    /// Frees every string that no other one begins with.
    fn clear_leaves(&mut self) {
        let mut is_parent = vec![false; CODES];
        for &parent in self.parents.iter().filter(|parent| **parent != NONE) {
            if let Some(parent) = is_parent.get_mut(usize::from(parent)) {
                *parent = true;
            }
        }
        for (parent, _) in self.parents.iter_mut().zip(is_parent).filter(|(_, is_parent)| !is_parent) {
            *parent = NONE;
        }
        self.taken = CONTROL;
    }
}
