//! What the unpackers of RAR make: a window that matches refer to, and filters over what leaves it.

use std::collections::VecDeque;
use std::io;

use super::filter::{self, Filter};
use crate::bits::{STEP, copy_within};

/// Filters that may wait at once; unrar takes 8,192.
const MOST_FILTERS: usize = 8192;

/// The output of a group of members that share a window.
#[derive(Debug, Default)]
pub(super) struct Output {
    data: Vec<u8>,
    /// Position of the first byte in `data`.
    base: u64,
    /// Position up to which bytes were given out.
    given: u64,
    /// How far back matches may reach.
    size: usize,
    /// Where the member begins and ends.
    start: u64,
    end: u64,
    filters: VecDeque<Waiting>,
    /// Filtered bytes that were not yet given out.
    ready: Vec<u8>,
    ready_at: usize,
    /// A filter that is none of the usual ones: its bytes were given out as they were.
    pub(super) unknown_filter: bool,
}

/// A filter and what it is for.
#[derive(Debug)]
struct Waiting {
    start: u64,
    len: u64,
    filter: Filter,
}

impl Output {
    /// Goes on to the next member. The window of the last one stays if `solid`.
    pub(super) fn begin(&mut self, window: u64, member: Option<u64>, solid: bool) {
        let window = usize::try_from(window).unwrap_or(usize::MAX / 4).min(usize::MAX / 4);
        if !solid {
            self.data.clear();
            self.base = 0;
        }
        self.size = if solid { self.size.max(window) } else { window };
        self.start = self.position();
        self.given = self.start;
        self.end = member.map_or(u64::MAX, |size| self.start.saturating_add(size));
        self.filters.clear();
        self.ready.clear();
        (self.ready_at, self.unknown_filter) = (0, false);
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.base + self.data.len() as u64
    }

    /// Whether the member is complete.
    pub(super) fn complete(&self) -> bool {
        self.position() >= self.end
    }

    /// Whether enough was made to give some out first.
    pub(super) fn full(&self) -> bool {
        let filtered = self.filters.front().is_some_and(|next| next.start + next.len <= self.position());
        self.complete() || filtered || self.releasable() - self.given >= STEP as u64
    }

    /// Appends a byte.
    pub(super) fn push(&mut self, byte: u8) {
        self.data.push(byte);
    }

    /// Appends `length` bytes of those that stand `distance` back; zeros where nothing stands, as unrar has it.
    pub(super) fn copy(&mut self, distance: usize, length: usize) {
        if distance == 0 || distance > self.data.len() || distance > self.size {
            self.data.resize(self.data.len() + length, 0);
        } else {
            copy_within(&mut self.data, distance, length);
        }
    }

    /// Notes a filter over `len` bytes from `ahead` behind the next byte on.
    pub(super) fn filter(&mut self, ahead: u64, len: u64, filter: Filter) -> io::Result<()> {
        let start = self.position() + ahead;
        let last = self.filters.back().map_or(self.given, |last| last.start);
        if start < last || self.filters.len() >= MOST_FILTERS || len > filter::LONGEST {
            return Err(crate::bits::corrupt());
        }
        if len > 0 {
            self.filters.push_back(Waiting { start, len, filter });
        }
        Ok(())
    }

    /// Nothing more comes: what waits for a filter that will not be complete goes out as it is.
    pub(super) fn finish(&mut self) {
        let position = self.position();
        self.filters.retain(|waiting| waiting.start + waiting.len <= position);
    }

    /// Gives out what can be given.
    pub(super) fn give(&mut self, buffer: &mut [u8]) -> usize {
        if self.ready_at == self.ready.len() {
            self.run_filters();
        }
        let count = if self.ready_at < self.ready.len() {
            let rest = &self.ready[self.ready_at..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.ready_at += count;
            count
        } else {
            let from = (self.given - self.base) as usize;
            let to = (self.releasable() - self.base) as usize;
            let count = (to - from).min(buffer.len());
            buffer[..count].copy_from_slice(&self.data[from..from + count]);
            self.given += count as u64;
            count
        };
        self.trim();
        count
    }

    /// Runs the filters that begin with the next byte to give out, if all of theirs is there.
    fn run_filters(&mut self) {
        self.ready.clear();
        self.ready_at = 0;
        while let Some(next) = self.filters.front() {
            let (start, len) = (next.start, next.len);
            if start < self.given {
                // It begins in what another one has changed.
                self.filters.pop_front();
                continue;
            }
            if start > self.given || start + len > self.position() {
                return;
            }
            let from = (start - self.base) as usize;
            let mut block = self.data[from..from + len as usize].to_vec();
            // Several over the same bytes follow one another.
            while let Some(same) = self.filters.pop_front_if(|next| next.start == start && next.len == len) {
                let offset = (start - self.start) as u32;
                match same.filter.run(&block, offset) {
                    Some(filtered) => block = filtered,
                    None => self.unknown_filter = true,
                }
            }
            self.given = start + len;
            let most = self.end.saturating_sub(start);
            block.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            self.ready = block;
            return;
        }
    }

    /// Position up to which bytes may leave as they are.
    fn releasable(&self) -> u64 {
        let filtered = self.filters.front().map_or(u64::MAX, |next| next.start);
        self.position().min(self.end).min(filtered).max(self.given)
    }

    /// Forgets what no match can reach any more.
    fn trim(&mut self) {
        let given = (self.given - self.base) as usize;
        if given > self.size.saturating_add((self.size / 4).max(1 << 20)) {
            let gone = given - self.size;
            self.data.drain(..gone);
            self.base += gone as u64;
        }
    }
}
