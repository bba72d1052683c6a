//! Sparse members of tar: a map tells where the pieces that are stored belong, and the rest are zeros. GNU's old form keeps
//! the map in header blocks, its newer ones in pax records or before the data.

use super::{BLOCK, block, decimal, number};
use crate::pieces::{self, Piece};

/// A map, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// Places and sizes of pieces.
    pieces: Vec<(u64, u64)>,
    /// A place whose size has not come yet.
    open: Option<u64>,
    /// The size of the whole.
    size: Option<u64>,
    /// The map stands before the data.
    pub(super) in_data: bool,
}

/// Pieces that are kept of a map.
const MOST: usize = 1 << 16;

impl Map {
    /// The map of an old GNU member, in its header at `at` and in the blocks behind it, and how many bytes these have.
    pub(super) fn of_headers(body: &[u8], at: usize, first: &[u8; BLOCK]) -> (Map, usize) {
        let mut map = Map { size: number(&first[483..495]), ..Map::default() };
        map.add(&first[386..482]);
        let mut len = 0;
        let mut more = first[482] != 0;
        while more {
            len += BLOCK;
            let next = block(body, at.saturating_add(len));
            if let Some(next) = next {
                map.add(&next[..504]);
            }
            more = next.is_some_and(|next| next[504] != 0);
        }
        (map, len)
    }

    fn add(&mut self, entries: &[u8]) {
        for entry in entries.chunks_exact(24) {
            if let (Some(at), Some(len), true) = (number(&entry[..12]), number(&entry[12..]), entry[0] != 0) {
                self.push(at, len);
            }
        }
    }

    fn push(&mut self, at: u64, len: u64) {
        if self.pieces.len() < MOST {
            self.pieces.push((at, len));
        }
    }

    /// Takes in a pax record, if it is about sparse members.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"GNU.sparse.major" => self.in_data = value == b"1",
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.size = decimal(value),
            b"GNU.sparse.offset" => self.open = decimal(value),
            b"GNU.sparse.numbytes" => {
                if let (Some(at), Some(len)) = (self.open.take(), decimal(value)) {
                    self.push(at, len);
                }
            }
            b"GNU.sparse.map" => {
                let numbers: Vec<u64> = value.split(|byte| *byte == b',').map_while(decimal).collect();
                numbers.chunks_exact(2).for_each(|pair| self.push(pair[0], pair[1]));
            }
            _ => {}
        }
    }

    /// Reads a map that stands before the data, lines of numbers padded to a block. Gives its size.
    pub(super) fn read_data(&mut self, data: &[u8]) -> usize {
        let mut start = 0;
        let mut count = 0_u64;
        for (lines, end) in (0_u64..).zip(memchr::memchr_iter(b'\n', data)) {
            let Some(value) = decimal(&data[start..end]) else { return 0 };
            start = end + 1;
            match (lines, self.open.take()) {
                (0, _) => count = value,
                (_, None) => self.open = Some(value),
                (_, Some(at)) => self.push(at, value),
            }
            if lines == count.saturating_mul(2) {
                return start.next_multiple_of(BLOCK).min(data.len());
            }
        }
        0
    }

    /// The whole, where `len` stored bytes from `at` on are its pieces. None where the map makes no sense, or where there
    /// are so many zeros that they would pass for a bomb: what is stored says as much.
    pub(super) fn apply(&self, at: usize, len: usize) -> Option<Vec<Piece>> {
        const SMALL: u64 = 64 << 10;
        const RATIO: u64 = 16;
        let size = self.size?;
        if self.pieces.is_empty() || size > (len as u64).saturating_mul(RATIO).max(SMALL) {
            return None;
        }
        let mut out = Vec::new();
        let (mut made, mut used) = (0_u64, 0_usize);
        for &(place, count) in &self.pieces {
            pieces::push_zeros(&mut out, place.checked_sub(made)?);
            let count = usize::try_from(count).ok()?;
            let end = used.checked_add(count).filter(|end| *end <= len)?;
            pieces::push(&mut out, at + used..at + end);
            (made, used) = (place.checked_add(count as u64)?, end);
        }
        pieces::push_zeros(&mut out, size.saturating_sub(made));
        Some(out)
    }
}
