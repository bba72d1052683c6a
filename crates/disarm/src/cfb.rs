//! Compound files (MS-CFB), changed in place: storages are taken out, streams keep their length. What no stream uses any more
//! is overwritten.
//!
//! Only sound files are read. Where a chain breaks off or leads in circles, programs go on in different ways.

use std::collections::HashSet;
use std::ops::Range;

use gatepost_unpack::fields::{u16_le, u32_le};

use crate::Unreadable;

pub(crate) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

const MOST_SECTOR: u32 = 0xffff_fffa;
const END_OF_CHAIN: u32 = 0xffff_fffe;
const FREE: u32 = 0xffff_ffff;
/// Size of a directory entry.
const ENTRY: usize = 128;

/// A compound file.
#[derive(Debug)]
pub(crate) struct Cfb {
    bytes: Vec<u8>,
    sector: usize,
    /// Sectors that hold the table of sectors, and those that list these.
    fat_sectors: Vec<u32>,
    list_sectors: Vec<u32>,
    fat: Vec<u32>,
    directory: Vec<u32>,
    mini_fat_sectors: Vec<u32>,
    mini_fat: Vec<u32>,
    mini_stream: Vec<u32>,
    /// Entries by their number; what is in no storage is None.
    entries: Vec<Option<Entry>>,
    /// Entries that are in use and in no storage.
    lost: Vec<usize>,
    changed: bool,
}

/// A storage or a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) storage: bool,
    /// The storage that it is in; the root is in itself.
    pub(crate) parent: usize,
    start: u32,
    size: usize,
}

const SMALL: usize = 4096;
const MINI: usize = 64;

fn broken(what: &'static str) -> Unreadable {
    Unreadable::Malformed(what)
}

impl Cfb {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Cfb, Unreadable> {
        let shift = u16_le(bytes, 30).filter(|shift| matches!(shift, 9 | 12));
        let sound =
            bytes.starts_with(MAGIC) && u16_le(bytes, 32) == Some(6) && u32_le(bytes, 56) == Some(4096);
        let Some(shift) = shift.filter(|_| sound) else {
            return Err(broken("the header of a compound file"));
        };
        let mut cfb = Cfb {
            bytes: bytes.to_vec(),
            sector: 1 << shift,
            fat_sectors: Vec::new(),
            list_sectors: Vec::new(),
            fat: Vec::new(),
            directory: Vec::new(),
            mini_fat_sectors: Vec::new(),
            mini_fat: Vec::new(),
            mini_stream: Vec::new(),
            entries: Vec::new(),
            lost: Vec::new(),
            changed: false,
        };
        cfb.read_fat()?;
        cfb.directory = cfb.chain(u32_le(bytes, 48).unwrap_or(END_OF_CHAIN))?;
        cfb.mini_fat_sectors = cfb.chain(u32_le(bytes, 60).unwrap_or(END_OF_CHAIN))?;
        cfb.mini_fat = cfb.words_of(&cfb.mini_fat_sectors);
        let root = cfb.raw(0).ok_or(broken("a compound file without a directory"))?;
        cfb.mini_stream = cfb.chain(if root.size == 0 { END_OF_CHAIN } else { root.start })?;
        cfb.read_tree()?;
        Ok(cfb)
    }

    /// Numbers and entries of all that is in storages, the root first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }

    /// What is in a storage.
    pub(crate) fn children(&self, storage: usize) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries().filter(move |(number, entry)| entry.parent == storage && *number != 0)
    }

    /// What is in a storage, by its name in any case.
    pub(crate) fn child(&self, storage: usize, name: &str) -> Option<usize> {
        self.children(storage)
            .find(|(_, entry)| entry.name.eq_ignore_ascii_case(name))
            .map(|(number, _)| number)
    }

    /// The content of a stream.
    pub(crate) fn read(&self, stream: usize) -> Result<Vec<u8>, Unreadable> {
        let places = self.places(stream)?;
        Ok(places.into_iter().flat_map(|place| self.bytes[place].iter().copied()).collect())
    }

    /// Puts other content of the same length into a stream.
    pub(crate) fn write(&mut self, stream: usize, content: &[u8]) -> Result<(), Unreadable> {
        let mut rest = content;
        for place in self.places(stream)? {
            let (now, behind) = rest.split_at(place.len().min(rest.len()));
            self.bytes[place.start..place.start + now.len()].copy_from_slice(now);
            rest = behind;
        }
        self.changed = true;
        Ok(())
    }

    /// Whether there is anything outside of the tree of storages.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Takes storages and streams out, with all that is in them, and what was in none.
    pub(crate) fn remove(&mut self, numbers: &HashSet<usize>) {
        let mut parents = HashSet::new();
        for number in self.with_children(numbers) {
            if let Some(entry) = self.entries[number].take() {
                parents.insert(entry.parent);
            }
            self.clear_entry(number);
        }
        for number in std::mem::take(&mut self.lost) {
            self.clear_entry(number);
        }
        for parent in parents {
            if self.entries[parent].is_some() {
                self.link(parent);
            }
        }
        self.changed = true;
    }

    /// The file as it is now; None if it was not changed. What no stream uses is zero.
    pub(crate) fn finish(mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        if !self.changed {
            return Ok(None);
        }
        let mut used: HashSet<u32> = HashSet::new();
        let mut used_minis: HashSet<u32> = HashSet::new();
        for list in [
            &self.fat_sectors,
            &self.list_sectors,
            &self.directory,
            &self.mini_fat_sectors,
            &self.mini_stream,
        ] {
            used.extend(list);
        }
        for (_, entry) in self.entries().filter(|(_, entry)| !entry.storage && entry.size > 0) {
            match entry.size < SMALL {
                true => used_minis.extend(follow(&self.mini_fat, entry.start)?),
                false => used.extend(self.chain(entry.start)?),
            }
        }
        for number in (0..self.count()).filter(|number| !used.contains(number)) {
            let place = self.place(number);
            self.bytes[place].fill(0);
            self.set(number, false);
        }
        for number in (0..u32::try_from(self.mini_fat.len()).unwrap_or(u32::MAX))
            .filter(|number| !used_minis.contains(number))
        {
            if let Some(place) = self.mini_place(number) {
                self.bytes[place].fill(0);
            }
            self.set(number, true);
        }
        Ok(Some(self.bytes))
    }

    /// Marks a sector, or a small one, as free.
    fn set(&mut self, number: u32, mini: bool) {
        let per = self.sector / 4;
        let (table, holders) =
            if mini { (&self.mini_fat, &self.mini_fat_sectors) } else { (&self.fat, &self.fat_sectors) };
        let number = number as usize;
        if number < table.len()
            && let Some(holder) = holders.get(number / per)
        {
            let at = self.place(*holder).start + number % per * 4;
            if let Some(word) = self.bytes.get_mut(at..at + 4) {
                word.copy_from_slice(&FREE.to_le_bytes());
            }
        }
    }

    fn count(&self) -> u32 {
        let count = self.bytes.len().div_ceil(self.sector).saturating_sub(1);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Where a sector lies; the last of a file may be short.
    fn place(&self, number: u32) -> Range<usize> {
        let start = (number as usize).saturating_add(1).saturating_mul(self.sector).min(self.bytes.len());
        start..start.saturating_add(self.sector).min(self.bytes.len())
    }

    fn mini_place(&self, number: u32) -> Option<Range<usize>> {
        let at = number as usize * MINI;
        let place = self.place(*self.mini_stream.get(at / self.sector)?);
        let start = place.start + at % self.sector;
        (start + MINI <= place.end).then_some(start..start + MINI)
    }

    fn chain(&self, start: u32) -> Result<Vec<u32>, Unreadable> {
        let chain = follow(&self.fat, start)?;
        if chain.iter().any(|number| self.place(*number).is_empty()) {
            return Err(broken("a chain that leads out of a compound file"));
        }
        Ok(chain)
    }

    fn words_of(&self, sectors: &[u32]) -> Vec<u32> {
        let per = self.sector / 4;
        let mut out = Vec::new();
        for (count, number) in sectors.iter().enumerate() {
            out.extend(words(&self.bytes[self.place(*number)]));
            out.resize((count + 1) * per, FREE);
        }
        out
    }

    fn read_fat(&mut self) -> Result<(), Unreadable> {
        let head = self.bytes.get(76..512).unwrap_or_default();
        let mut listed: Vec<u32> = words(head).collect();
        let mut next = u32_le(&self.bytes, 68).unwrap_or(END_OF_CHAIN);
        while next < MOST_SECTOR {
            let list: Vec<u32> = words(&self.bytes[self.place(next)]).collect();
            let Some((&link, numbers)) = list.split_last() else {
                return Err(broken("a list of sectors that leads out of a compound file"));
            };
            if self.list_sectors.len() as u32 > self.count() {
                return Err(broken("a list of sectors that leads in circles"));
            }
            self.list_sectors.push(next);
            listed.extend(numbers);
            next = link;
        }
        self.fat_sectors = listed.into_iter().take_while(|number| *number < MOST_SECTOR).collect();
        let unique: HashSet<u32> = self.fat_sectors.iter().copied().collect();
        let sound = unique.len() == self.fat_sectors.len()
            && self.fat_sectors.iter().all(|number| !self.place(*number).is_empty())
            && u32_le(&self.bytes, 44) == u32::try_from(unique.len()).ok();
        if !sound {
            return Err(broken("the table of a compound file"));
        }
        self.fat = self.words_of(&self.fat_sectors);
        Ok(())
    }

    /// Where the entry of that number lies.
    fn entry_place(&self, number: usize) -> Option<Range<usize>> {
        let at = number * ENTRY;
        let place = self.place(*self.directory.get(at / self.sector)?);
        let start = place.start + at % self.sector;
        (start + ENTRY <= place.end).then_some(start..start + ENTRY)
    }

    fn raw(&self, number: usize) -> Option<Raw> {
        Some(Raw::read(&self.bytes[self.entry_place(number)?], self.sector))
    }

    /// Reads the trees of siblings, from the root on.
    fn read_tree(&mut self) -> Result<(), Unreadable> {
        let count = self.directory.len() * (self.sector / ENTRY);
        self.entries = vec![None; count];
        let mut left = vec![(0u32, 0usize)];
        while let Some((number, parent)) = left.pop() {
            if number == FREE {
                continue;
            }
            let number = number as usize;
            let raw = self.raw(number).ok_or(broken("a directory that leads out of itself"))?;
            if self.entries[number].is_some() || raw.kind == 0 {
                return Err(broken("a directory that leads in circles"));
            }
            let storage = raw.kind != STREAM;
            if storage {
                left.push((raw.child, number));
            }
            if number != 0 {
                left.extend([(raw.left, parent), (raw.right, parent)]);
            }
            let size = usize::try_from(raw.size).unwrap_or(usize::MAX);
            self.entries[number] = Some(Entry { name: raw.name, storage, parent, start: raw.start, size });
        }
        self.lost = (0..count)
            .filter(|number| {
                self.entries[*number].is_none()
                    && self.raw(*number).is_some_and(|raw| matches!(raw.kind, STORAGE | STREAM | ROOT))
            })
            .collect();
        Ok(())
    }

    /// Where a stream lies.
    fn places(&self, stream: usize) -> Result<Vec<Range<usize>>, Unreadable> {
        let Some(entry) = self.entries.get(stream).and_then(Option::as_ref).filter(|entry| !entry.storage)
        else {
            return Err(broken("a stream that is none"));
        };
        let mut left = entry.size;
        let mut out = Vec::new();
        if left == 0 {
            return Ok(out);
        }
        let small = left < SMALL;
        let chain = if small { follow(&self.mini_fat, entry.start)? } else { self.chain(entry.start)? };
        for number in chain {
            let place = if small { self.mini_place(number) } else { Some(self.place(number)) };
            let mut place = place.ok_or(broken("a chain that leads out of a compound file"))?;
            place.end = place.start + place.len().min(left);
            left -= place.len();
            out.push(place);
            if left == 0 {
                return Ok(out);
            }
        }
        Err(broken("a stream that ends early"))
    }

    /// These and all that is in them.
    fn with_children(&self, numbers: &HashSet<usize>) -> Vec<usize> {
        let mut found: HashSet<usize> = HashSet::new();
        let mut left: Vec<usize> = numbers.iter().copied().filter(|number| *number != 0).collect();
        while let Some(number) = left.pop() {
            if found.insert(number) {
                left.extend(self.children(number).map(|(child, _)| child));
            }
        }
        found.into_iter().collect()
    }

    fn clear_entry(&mut self, number: usize) {
        if let Some(place) = self.entry_place(number) {
            self.bytes[place.clone()].fill(0);
            // No siblings, no child (2.6.1).
            self.bytes[place.start + 68..place.start + 80].fill(0xff);
        }
    }

    /// Makes a new tree of what is in a storage: sorted and as flat as can be; all its nodes are black, which is allowed
    /// (2.6.4).
    fn link(&mut self, parent: usize) {
        let mut numbers: Vec<(usize, Vec<u16>, usize)> = self
            .children(parent)
            .map(|(number, entry)| {
                let upper: Vec<u16> = entry.name.to_uppercase().encode_utf16().collect();
                (entry.name.encode_utf16().count(), upper, number)
            })
            .collect();
        numbers.sort();
        let sorted: Vec<usize> = numbers.into_iter().map(|(_, _, number)| number).collect();
        let top = self.subtree(&sorted);
        self.put(parent, 76, top);
    }

    /// The tree of these; its top. No deeper than the logarithm of their number.
    fn subtree(&mut self, sorted: &[usize]) -> u32 {
        const COLOUR: usize = 67;
        let middle = sorted.len() / 2;
        let Some(&top) = sorted.get(middle) else { return FREE };
        let left = self.subtree(&sorted[..middle]);
        let right = self.subtree(&sorted[middle + 1..]);
        self.put(top, 68, left);
        self.put(top, 72, right);
        if let Some(place) = self.entry_place(top) {
            self.bytes[place.start + COLOUR] = 1;
        }
        u32::try_from(top).unwrap_or(FREE)
    }

    fn put(&mut self, entry: usize, at: usize, word: u32) {
        if let Some(place) = self.entry_place(entry) {
            self.bytes[place.start + at..place.start + at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// A chain through a table, to its end.
fn follow(table: &[u32], start: u32) -> Result<Vec<u32>, Unreadable> {
    let mut chain = Vec::new();
    let mut at = start;
    while at != END_OF_CHAIN {
        let next = table.get(at as usize).ok_or(broken("a chain that leads out of a compound file"))?;
        if chain.len() > table.len() {
            return Err(broken("a chain that leads in circles"));
        }
        chain.push(at);
        at = *next;
    }
    Ok(chain)
}

/// A directory entry as it stands (2.6.1).
struct Raw {
    name: String,
    kind: u8,
    left: u32,
    right: u32,
    child: u32,
    start: u32,
    size: u64,
}

const STORAGE: u8 = 1;
const STREAM: u8 = 2;
const ROOT: u8 = 5;

impl Raw {
    fn read(entry: &[u8], sector: usize) -> Raw {
        let word = |at| u32_le(entry, at).unwrap_or(FREE);
        let said = usize::from(u16_le(entry, 64).unwrap_or_default()).min(64);
        let units: Vec<u16> = entry[..said].chunks_exact(2).filter_map(|unit| u16_le(unit, 0)).collect();
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let high = if sector <= 512 { 0 } else { u64::from(word(124)) };
        Raw {
            name: String::from_utf16_lossy(&units[..end]),
            kind: entry[66],
            left: word(68),
            right: word(72),
            child: word(76),
            start: word(116),
            size: high << 32 | u64::from(word(120)),
        }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32_le(word, 0).unwrap_or(FREE))
}

#[cfg(test)]
pub(crate) mod tests;
