//! The central directory: every one that an end record leads to.

use gatepost_mail::DefectKind;
use memchr::memmem;

use super::header::{Central, Header};
use crate::fields::{u16_le, u32_le, u64_le};

/// Size of an end record without its comment (APPNOTE 4.3.16).
const END: usize = 22;

/// One central directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Members, in order, each once.
    pub(super) entries: Vec<Entry>,
    /// What is wrong.
    pub(super) complaints: Vec<Complaint>,
    /// There were more entries than anybody will look at.
    pub(super) cut: bool,
}

/// A member as the directory lists it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its header.
    pub(super) header: Header,
    /// Where its local header may be, likeliest first.
    pub(super) places: Vec<usize>,
    /// It is on another disk of a set of several.
    pub(super) elsewhere: bool,
}

/// Something wrong with the archive.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) kind: DefectKind,
    pub(super) detail: String,
}

/// An end record.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Where it stands (its zip64 companion, where there is one).
    pub(super) at: usize,
    disk: u32,
    entries: u64,
    size: u64,
    offset: u64,
}

/// Whether there is an end record near the end that leads to a directory.
pub(super) fn has_end(body: &[u8]) -> bool {
    /// The longest comment, and some room for a signature behind it (Authenticode).
    const TAIL: usize = (64 << 10) + (64 << 10) + END;
    let start = body.len().saturating_sub(TAIL);
    let tail = &body[start..];
    // Far quicker than from the end, where there is none.
    if memmem::find(tail, b"PK\x05\x06").is_none() {
        return false;
    }
    let ends = memmem::rfind_iter(tail, b"PK\x05\x06");
    ends.filter_map(|at| End::read(body, start + at)).any(|end| !end.directories(body).is_empty())
}

/// Whether there is one whose comment ends where all ends.
pub(super) fn ends_with_end(body: &[u8]) -> bool {
    let start = body.len().saturating_sub(END + usize::from(u16::MAX));
    let ends = memmem::rfind_iter(&body[start..], b"PK\x05\x06").map(|at| start + at);
    let reaches = |at: &usize| {
        u16_le(body, at + 20).is_some_and(|comment| at + END + usize::from(comment) == body.len())
    };
    ends.filter(reaches).filter_map(|at| End::read(body, at)).any(|end| !end.directories(body).is_empty())
}

impl Directory {
    /// Reads what an end record leads to, up to `most` entries.
    pub(super) fn read(body: &[u8], end: End, most: usize) -> Directory {
        let mut directory = Directory::default();
        let starts = end.directories(body);
        if starts.is_empty() && end.entries > 0 {
            directory.complain(DefectKind::BadArchive, "no central directory where the end record says");
        }
        for start in starts {
            directory.read_at(body, start, end, most);
        }
        directory
    }

    fn read_at(&mut self, body: &[u8], start: usize, end: End, most: usize) {
        // What stands before the archive shifts every offset by the same distance.
        let shift = i128::try_from(start).unwrap_or(0) - i128::from(end.offset);
        let mut at = start;
        let mut count = 0_u64;
        while let Some(central) = Central::read(body, at) {
            if self.entries.len() >= most || count > 4 * most as u64 {
                self.cut = true;
                return;
            }
            count += 1;
            at += central.len;
            let elsewhere = central.disk != end.disk && central.disk != 0xffff;
            let shifted = i128::from(central.offset) + shift;
            let mut places: Vec<usize> = Vec::with_capacity(2);
            for place in [shifted, i128::from(central.offset)] {
                if let Ok(place) = usize::try_from(place)
                    && body.get(place..).is_some_and(|rest| rest.starts_with(b"PK\x03\x04"))
                    && !places.contains(&place)
                {
                    places.push(place);
                }
            }
            let entry = Entry { header: central.header, places, elsewhere };
            if !self.entries.iter().any(|other| other.header == entry.header && other.places == entry.places)
            {
                self.entries.push(entry);
            }
        }
        if count & 0xffff != end.entries & 0xffff {
            let detail = format!("the end record counts {} members, the directory has {count}", end.entries);
            self.complain(DefectKind::BadArchive, detail);
        }
        if end.disk != 0 {
            self.complain(
                DefectKind::TruncatedArchive,
                format!("disk {} of a set of several", u64::from(end.disk) + 1),
            );
        }
    }

    fn complain(&mut self, kind: DefectKind, detail: impl Into<String>) {
        self.complaints.push(Complaint { kind, detail: detail.into() });
    }
}

/// The end records that lead to a directory or close the file: the last ones, since those are what programs look for,
/// the last of all in front, and the first.
pub(super) fn ends(body: &[u8]) -> Vec<End> {
    const LAST: usize = 7;
    const TRIES: usize = 1 << 12;
    let real = |at: usize| {
        let end = End::read(body, at)?;
        let closes = at + END + usize::from(u16_le(body, at + 20)?) == body.len();
        (closes || !end.directories(body).is_empty()).then_some(end)
    };
    let last = memmem::rfind_iter(body, b"PK\x05\x06").take(TRIES);
    let mut found: Vec<End> = last.filter_map(real).take(LAST).collect();
    if let Some(first) = memmem::find_iter(body, b"PK\x05\x06").take(TRIES).find_map(real)
        && !found.iter().any(|end| end.at == first.at)
    {
        found.push(first);
    }
    found
}

impl End {
    /// The end record at `at`, with its zip64 companion (4.3.14, 4.3.15) where there is one.
    fn read(body: &[u8], at: usize) -> Option<End> {
        let head = body.get(at..)?;
        let mut end = End {
            at,
            disk: u16_le(head, 4)?.into(),
            entries: u16_le(head, 10)?.into(),
            size: u32_le(head, 12)?.into(),
            offset: u32_le(head, 16)?.into(),
        };
        u16_le(head, 20)?;
        let deferred = end.entries == 0xffff || end.size == 0xffff_ffff || end.offset == 0xffff_ffff;
        if deferred && let Some(wide) = End::zip64(body, at) {
            let record = &body[wide..];
            end.at = wide;
            end.disk = u32_le(record, 16)?;
            end.entries = u64_le(record, 32)?;
            end.size = u64_le(record, 40)?;
            end.offset = u64_le(record, 48)?;
        }
        Some(end)
    }

    /// Where the zip64 end record is: where the locator says, or right before the locator.
    fn zip64(body: &[u8], at: usize) -> Option<usize> {
        let locator = at.checked_sub(20)?;
        let head = body.get(locator..at)?;
        if !head.starts_with(b"PK\x06\x07") {
            return None;
        }
        let said = usize::try_from(u64_le(head, 8)?).ok();
        [said, locator.checked_sub(56)]
            .into_iter()
            .flatten()
            .find(|&place| body.get(place..).is_some_and(|rest| rest.starts_with(b"PK\x06\x06")))
    }

    /// Whether it and every directory that it leads to lie in this range.
    pub(super) fn lies_in(&self, body: &[u8], range: &std::ops::Range<usize>) -> bool {
        range.contains(&self.at) && self.directories(body).iter().all(|start| range.contains(start))
    }

    /// Where the directory may begin: right before the end record (so that a program before the archive does not
    /// matter), and where the record says.
    fn directories(&self, body: &[u8]) -> Vec<usize> {
        let before = usize::try_from(self.size).ok().and_then(|size| self.at.checked_sub(size));
        let said = usize::try_from(self.offset).ok();
        let mut starts: Vec<usize> = Vec::with_capacity(2);
        for start in [before, said].into_iter().flatten() {
            if !starts.contains(&start) && Central::read(body, start).is_some() {
                starts.push(start);
            }
        }
        starts
    }
}
