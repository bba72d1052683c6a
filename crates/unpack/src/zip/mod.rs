//! Zip archives (PKWARE APPNOTE 6.3): what the central directory lists and what stands in local headers, both.
//!
//! Programs disagree about what a damaged or crafted zip holds: some follow the central directory, some read local
//! headers from the start, some take the first end record and some the last. So members are the union: every
//! directory that an end record leads to, and every local header that lies outside the members listed there. Where
//! the two headers of a member disagree about how it is packed, it is read both ways.

mod directory;
mod header;
mod locked;
mod member;
mod method;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType, PartId};
use memchr::memmem;

use crate::names;
use crate::opening::{Member, Opening, Stop};
use directory::Directory;
use header::{Header, Local};
use member::Reading;

pub(crate) use header::crc32;

/// Whether this is a zip, by its beginning or by its end (a self-extracting program, or a zip behind anything else).
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    if body.starts_with(b"PK\x03\x04") || body.starts_with(b"PK\x05\x06") || body.starts_with(b"PK\x07\x08PK")
    {
        return true;
    }
    // Slides hold small zips, in pieces. Behind a compound file, one reaches to the end.
    if detected == FileType::OLE {
        return directory::ends_with_end(body);
    }
    directory::has_end(body)
        || (matches!(detected.kind, FileKind::Data | FileKind::Archive) && has_local(body))
}

/// Data descriptors that are looked at.
const DESCRIPTORS: usize = 1 << 14;

/// Opens a zip.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let descriptors = memmem::find_iter(&body, b"PK\x07\x08").take(DESCRIPTORS).collect();
    let covered = opening.known();
    let second = opening.opened_before();
    let mut zip = Zip { opening, body, descriptors, covered, overlap: false, ends: 0 };
    for end in directory::ends(&zip.body) {
        // One that lies in a member, with its directory, belongs to that member, a zip in this zip.
        if !zip.covered.iter().any(|range| end.lies_in(&zip.body, range)) {
            zip.directory(end)?;
        }
    }
    if zip.ends > 1 {
        let detail = "several end records: programs read different archives in it";
        zip.opening.defective(DefectKind::BadArchive, detail);
    }
    let none = zip.ends == 0 && !second;
    zip.unlisted(none)
}

fn has_local(body: &[u8]) -> bool {
    /// Four bytes that turn up by chance are not worth more tries than this.
    const TRIES: usize = 16;
    memmem::find_iter(body, b"PK\x03\x04").take(TRIES).any(|at| Local::is_plausible(body, at))
}

struct Zip<'a, 'b> {
    opening: &'a mut Opening<'b>,
    body: Bytes,
    /// Where signatures of data descriptors stand.
    descriptors: Vec<usize>,
    /// Where members that were read lie, header included.
    covered: Vec<std::ops::Range<usize>>,
    overlap: bool,
    /// Directories that were read.
    ends: usize,
}

impl Zip<'_, '_> {
    /// The members that one end record leads to.
    fn directory(&mut self, end: directory::End) -> Result<(), Stop> {
        let directory = Directory::read(&self.body, end, self.opening.most_members());
        for complaint in directory.complaints {
            self.opening.defective(complaint.kind, complaint.detail);
        }
        for entry in &directory.entries {
            // Two directories may list the same member.
            if !entry
                .places
                .first()
                .is_some_and(|at| self.covered.iter().any(|range| range.start == *at && self.ends > 0))
            {
                self.listed(entry)?;
            }
        }
        self.ends += 1;
        if directory.cut {
            self.opening.over(gatepost_mail::Limit::Parts, None);
        }
        Ok(())
    }

    /// A member of the central directory.
    fn listed(&mut self, entry: &directory::Entry) -> Result<(), Stop> {
        let local = entry.places.iter().find_map(|&at| Some((at, Local::read(&self.body, at)?)));
        let central = &entry.header;
        let Some((at, local)) = local else {
            if central.is_folder() && central.packed == 0 {
                return Ok(());
            }
            let member = Member {
                names: central.names.clone(),
                encrypted: central.encrypted(),
                unread: true,
                ..Member::default()
            };
            let id = self.opening.member(member)?;
            let (kind, detail) = if entry.elsewhere {
                (DefectKind::TruncatedArchive, "it lies on another disk of the set")
            } else {
                (DefectKind::BadArchive, "no local header where the directory says")
            };
            self.opening.defect(kind, id, detail);
            return Ok(());
        };
        self.member(at, Some(central), &local)
    }

    /// What local headers tell of that the directory does not list.
    fn unlisted(&mut self, no_directory: bool) -> Result<(), Stop> {
        let found = self.gaps();
        if no_directory {
            self.opening.defective(DefectKind::TruncatedArchive, "no central directory");
        } else if !found.is_empty() {
            self.opening
                .defective(DefectKind::BadArchive, "members that the central directory does not list");
        }
        for at in found {
            // The one before may have turned out to reach over this one.
            if self.covered.iter().any(|range| range.contains(&at)) {
                continue;
            }
            if let Some(local) = Local::read(&self.body, at) {
                self.member(at, None, &local)?;
            }
        }
        Ok(())
    }

    /// Plausible local headers outside of what is covered.
    fn gaps(&mut self) -> Vec<usize> {
        self.covered.sort_by_key(|range| range.start);
        let most = self.opening.most_members();
        let mut found = Vec::new();
        let mut from = 0;
        let ends = self.covered.iter().cloned().chain(std::iter::once(self.body.len()..self.body.len()));
        for covered in ends {
            if from < covered.start {
                let gap = &self.body[from..covered.start];
                let heads = memmem::find_iter(gap, b"PK\x03\x04").map(|at| from + at);
                let plausible = |at: &usize| Local::is_plausible(&self.body, *at);
                found.extend(heads.filter(plausible).take(most.saturating_sub(found.len())));
            }
            from = from.max(covered.end);
        }
        found
    }

    /// Reads one member in every way its headers suggest, and appends what comes out.
    fn member(&mut self, at: usize, central: Option<&Header>, local: &Local) -> Result<(), Stop> {
        self.opening.check_time()?;
        let mut names = Vec::new();
        let headers = central.into_iter().chain([&local.header]);
        headers.flat_map(|header| &header.names).for_each(|name| names::add(&mut names, name.clone()));
        let mut end = local.data_at;
        let mut ids: Vec<PartId> = Vec::new();
        let mut bodies: Vec<Bytes> = Vec::new();
        for reading in Reading::all(&self.body, &self.descriptors, central, local) {
            let content = reading.read(self.opening, &self.body, local.data_at);
            end = end.max(content.end);
            let folder = names.first().is_some_and(|name| name.ends_with('/')) && content.body.is_empty();
            let told = bodies.contains(&content.body);
            if (folder && !content.encrypted) || (told && !ids.is_empty()) {
                continue;
            }
            let unread = content.over.is_some() || !content.defects.is_empty();
            bodies.push(content.body.clone());
            let member =
                Member { names: names.clone(), body: content.body, encrypted: content.encrypted, unread };
            let id = self.opening.member(member)?;
            ids.push(id);
            for (kind, detail) in content.defects {
                self.opening.defect(kind, id, detail);
            }
            if let Some(limit) = content.over {
                self.opening.over(limit, Some(id));
            }
        }
        if let (Some(&id), Some(central)) = (ids.first(), central)
            && let Some(what) = central.disagrees(&local.header)
        {
            self.opening.defect(DefectKind::BadArchive, id, format!("its two headers disagree about {what}"));
        }
        self.cover(at..end);
        Ok(())
    }

    /// Notes where a member lies.
    fn cover(&mut self, range: std::ops::Range<usize>) {
        let same = |other: &std::ops::Range<usize>| other.start < range.end && range.start < other.end;
        if !self.overlap && self.covered.iter().any(same) {
            self.overlap = true;
            self.opening.defective(DefectKind::BadArchive, "members overlap");
        }
        self.covered.push(range);
    }
}
