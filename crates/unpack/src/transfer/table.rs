//! Numbers, texts and places as bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::Garbled;

/// Where something stands in the areas: its first byte, and how many there are.
pub(super) type Place = (u64, u64);

/// A table that grows. Numbers stand in groups of seven bits, the lowest first, the last without its eighth bit.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push((number & 0x7f) as u8);
    }

    pub(super) fn size(&mut self, size: usize) {
        self.number(size as u64);
    }

    pub(super) fn place(&mut self, (start, len): Place) {
        self.number(start);
        self.number(len);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.size(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn texts(&mut self, texts: &[String]) {
        self.size(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    pub(super) fn flags(&mut self, flags: [bool; 5]) {
        self.bytes.push(flags.iter().enumerate().fold(0, |byte, (bit, flag)| byte | u8::from(*flag) << bit));
    }
}

/// A table that is read. It may hold anything.
pub(super) struct Table<'a>(pub(super) &'a [u8]);

impl Table<'_> {
    pub(super) fn number(&mut self) -> Result<u64, Garbled> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Garbled("a number that does not end"))
    }

    pub(super) fn size(&mut self) -> Result<usize, Garbled> {
        usize::try_from(self.number()?).map_err(|_| Garbled("a number that is too large"))
    }

    /// A number below `most`.
    pub(super) fn index(&mut self, most: usize) -> Result<usize, Garbled> {
        let index = self.size()?;
        if index < most { Ok(index) } else { Err(Garbled("a place behind the end of its list")) }
    }

    /// How many things follow; each takes a byte at least, so there are no more than bytes.
    pub(super) fn count(&mut self) -> Result<usize, Garbled> {
        let count = self.size()?;
        if count <= self.0.len() { Ok(count) } else { Err(Garbled("a list longer than its table")) }
    }

    pub(super) fn place(&mut self) -> Result<Place, Garbled> {
        Ok((self.number()?, self.number()?))
    }

    pub(super) fn range(&mut self) -> Result<Range<usize>, Garbled> {
        let (start, len) = (self.size()?, self.size()?);
        start.checked_add(len).map(|end| start..end).ok_or(Garbled("a range that does not end"))
    }

    /// A text without control characters: no reading makes names or types that have any.
    pub(super) fn text(&mut self) -> Result<String, Garbled> {
        let len = self.count()?;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| Garbled("a text that is not UTF-8"))?;
        match text.contains(char::is_control) {
            true => Ok(text.replace(char::is_control, "_")),
            false => Ok(text.to_owned()),
        }
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, Garbled> {
        let count = self.count()?;
        (0..count).map(|_| self.text()).collect()
    }

    pub(super) fn flags(&mut self) -> Result<[bool; 5], Garbled> {
        let byte = self.byte()?;
        Ok(std::array::from_fn(|bit| byte >> bit & 1 == 1))
    }

    pub(super) fn end(&self) -> Result<(), Garbled> {
        if self.0.is_empty() { Ok(()) } else { Err(Garbled("something behind the end")) }
    }

    fn byte(&mut self) -> Result<u8, Garbled> {
        let (byte, rest) = self.0.split_first().ok_or(Garbled("a table that ends early"))?;
        self.0 = rest;
        Ok(*byte)
    }
}

/// An area that grows: every content once, and a slice of one that is there by its place in that.
#[derive(Default)]
pub(super) struct Pieces {
    /// Those of this area.
    pub(super) list: Vec<Bytes>,
    /// Where the next one goes.
    next: u64,
    /// By their address in memory: length, and place in the areas. All are held, so none is where another was.
    known: BTreeMap<usize, (usize, u64)>,
}

impl Pieces {
    /// An area behind another, whose contents are known.
    pub(super) fn behind(area: &Bytes) -> Pieces {
        let mut pieces = Pieces { next: area.len() as u64, ..Pieces::default() };
        pieces.known.insert(area.as_ptr() as usize, (area.len(), 0));
        pieces
    }

    /// The place of these bytes; they are appended unless they are there.
    pub(super) fn place(&mut self, bytes: &Bytes) -> Place {
        if bytes.is_empty() {
            return (0, 0);
        }
        let (address, len) = (bytes.as_ptr() as usize, bytes.len());
        if let Some((start, (size, at))) = self.known.range(..=address).next_back()
            && address - start <= *size
            && len <= size - (address - start)
        {
            return (at + (address - start) as u64, len as u64);
        }
        let at = self.next;
        self.known.insert(address, (len, at));
        self.list.push(bytes.clone());
        self.next += len as u64;
        (at, len as u64)
    }
}

/// Areas that are read, one behind the other.
pub(super) struct Area {
    /// With the place of the first byte of each.
    pieces: Vec<(u64, Bytes)>,
    len: u64,
}

impl Area {
    pub(super) fn of(list: Vec<Bytes>) -> Area {
        let mut len = 0;
        let placed = list.into_iter().map(|piece| {
            let at = len;
            len += piece.len() as u64;
            (at, piece)
        });
        let pieces = placed.collect();
        Area { pieces, len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes at a place, which must lie in one piece.
    pub(super) fn slice(&self, (start, len): Place) -> Result<Bytes, Garbled> {
        const OUTSIDE: Garbled = Garbled("a content outside its area");
        if len == 0 {
            return Ok(Bytes::new());
        }
        let behind = self.pieces.partition_point(|(at, _)| *at <= start);
        let (at, piece) = behind.checked_sub(1).map(|last| &self.pieces[last]).ok_or(OUTSIDE)?;
        let start = usize::try_from(start - at).map_err(|_| OUTSIDE)?;
        let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).ok_or(OUTSIDE)?;
        if end <= piece.len() { Ok(piece.slice(start..end)) } else { Err(OUTSIDE) }
    }
}
