//! Images of optical discs: ISO 9660 (ECMA-119) with Joliet, Rock Ridge and El Torito, UDF (ECMA-167), or both on one
//! disc; also as raw sectors. All trees are walked: a file that several list has the names of all.

mod iso;
mod udf;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType, PartId};

use crate::disk::volume::Volume;
use crate::names;
use crate::opening::{Member, Opening, Stop};
use crate::pieces::{self, Piece};

/// The sector with the first descriptor, and the size of sectors.
const FIRST: u64 = 16;
const SECTOR: u64 = 2048;

/// Whether this is an image of a disc.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::ISO || FileType::is_disc(body)
}

/// Opens an image of a disc.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let volume = disc(&opening.body);
    let mut files = Files::default();
    let iso = iso::open(opening, &volume, &mut files)?;
    let udf = udf::open(opening, &volume, &mut files)?;
    if !iso && !udf {
        opening.defective(DefectKind::BadArchive, "no tree of files on the disc");
    }
    if volume.exhausted() {
        opening.defective(DefectKind::BadArchive, "its directories lie over each other");
    }
    Ok(())
}

/// The disc's sectors: of 2048 bytes, or raw ones that hold as many behind sync and header, of mode 1 or mode 2.
fn disc(body: &Bytes) -> Volume {
    for (stride, skip) in [(2352, 16), (2352, 24), (2336, 8), (2448, 16), (2448, 24)] {
        let volume = Volume::striped(body, stride, skip, SECTOR);
        let begins = |mark: &[u8]| volume.has(FIRST * SECTOR + 1, mark);
        if begins(b"CD001") || begins(b"BEA01") {
            return volume;
        }
    }
    Volume::plain(body)
}

/// Whether the recognition sequence of UDF stands where it belongs (ECMA-167 2/8), whatever the size of sectors.
fn has_udf(volume: &Volume) -> bool {
    const SEQUENCE: u64 = 16;
    let marks = (0..SEQUENCE).map(|number| FIRST * SECTOR + number * SECTOR + 1);
    let mut wide = (0..SEQUENCE).map(|number| FIRST * SECTOR + number * 4096 + 1).chain(marks);
    wide.any(|at| volume.has(at, b"NSR02") || volume.has(at, b"NSR03"))
}

/// Files that were handed over, by where they begin and their size.
#[derive(Default)]
struct Files {
    known: HashMap<(usize, u64), PartId>,
    /// Places where some file begins.
    starts: HashMap<usize, PartId>,
    /// Paths of files without content, which cannot be told apart otherwise.
    empty: HashSet<String>,
}

impl Files {
    /// Hands over a file without content, unless another tree has it already.
    fn add_empty(&mut self, opening: &mut Opening, all: Vec<String>) -> Result<(), Stop> {
        let known = all.iter().any(|name| self.empty.contains(&name.to_lowercase()));
        self.empty.extend(all.iter().map(|name| name.to_lowercase()));
        if !known {
            opening.member(Member { names: all, ..Member::default() })?;
        }
        Ok(())
    }

    /// Hands over a file, or gives it one more name where another tree has it already.
    fn add(
        &mut self,
        opening: &mut Opening,
        all: Vec<String>,
        found: &[Piece],
        broken: Option<(DefectKind, &str)>,
    ) -> Result<PartId, Stop> {
        let key = match found.first() {
            Some(Piece::At(range)) => Some((range.start, pieces::len(found))),
            _ => None,
        };
        if let Some(&id) = key.and_then(|key| self.known.get(&key)) {
            all.into_iter().for_each(|name| opening.also_called(id, name));
            return Ok(id);
        }
        let id = pieces::member(opening, all, found, broken)?;
        if let Some(key) = key {
            self.known.insert(key, id);
            self.starts.entry(key.0).or_insert(id);
        }
        Ok(id)
    }
}

/// A path out of a folder's path and names of a file in it, the most usual first.
fn paths(folder: &str, all: Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    for name in all {
        names::add(&mut out, names::clean(&crate::disk::volume::joined(folder, &name)));
    }
    out
}
