//! HFS+ and HFSX (Apple's technical note 1150): the catalog's files with their data and resource forks.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use gatepost_mail::DefectKind;

use super::volume::{Volume, joined, times};
use crate::fields::{u16_be, u32_be, u64_be, utf16_be};
use crate::names;
use crate::opening::{Member, Opening, Stop};
use crate::pieces::{self, Piece};

const ROOT: u32 = 2;

/// Takes the files out of an HFS+ volume, also of one that is wrapped in an old HFS volume; false if it is none.
pub(super) fn open(opening: &mut Opening, volume: &Volume) -> Result<bool, Stop> {
    let wrapped;
    let volume = if volume.has(1024, b"BD") && volume.has(1024 + 124, b"H+") {
        let head = volume.read(1024, 162);
        let block = u64::from(u32_be(&head, 20).unwrap_or_default());
        let first = u64::from(u16_be(&head, 28).unwrap_or_default()) * 512;
        let start = u64::from(u16_be(&head, 126).unwrap_or_default());
        let count = u64::from(u16_be(&head, 128).unwrap_or_default());
        wrapped = volume.part(first.saturating_add(times(start, block)), times(count, block));
        &wrapped
    } else {
        volume
    };
    if !volume.has(1024, b"H+") && !volume.has(1024, b"HX") {
        return Ok(false);
    }
    let head = volume.read(1024, 512);
    let block = u64::from(u32_be(&head, 40).unwrap_or_default());
    if !block.is_power_of_two() || !(512..=1 << 26).contains(&block) || head.len() < 512 {
        opening.defective(DefectKind::BadArchive, "an HFS+ volume whose sizes make no sense");
        return Ok(true);
    }
    let mut hfs = Hfs { volume, block, overflow: HashMap::new() };
    hfs.read_overflow(opening, &head[192..272])?;
    hfs.read_catalog(opening, &head[272..352])?;
    Ok(true)
}

struct Hfs<'a> {
    volume: &'a Volume,
    block: u64,
    /// Extents of forks that have more than eight, by file and kind of fork, with the block that they begin at.
    overflow: HashMap<(u32, u8), Vec<Extents>>,
}

/// The block of a fork that further extents begin at, and these.
type Extents = (u32, Vec<u8>);

const DATA: u8 = 0;
const RESOURCE: u8 = 0xff;

impl Hfs<'_> {
    fn read_overflow(&mut self, opening: &mut Opening, fork: &[u8]) -> Result<(), Stop> {
        const EXTENTS_FILE: u32 = 3;
        let tree = self.fork(EXTENTS_FILE, DATA, fork).0;
        for (key, data) in Leaves::new(&self.volume.collect(&tree)) {
            opening.check_time()?;
            if let (Some(&kind), Some(file), Some(start), Some(extents)) =
                (key.first(), u32_be(&key, 2), u32_be(&key, 6), data.get(..64))
            {
                self.overflow.entry((file, kind)).or_default().push((start, extents.to_vec()));
            }
        }
        self.overflow.values_mut().for_each(|list| list.sort_by_key(|(start, _)| *start));
        Ok(())
    }

    fn read_catalog(&mut self, opening: &mut Opening, fork: &[u8]) -> Result<(), Stop> {
        const CATALOG_FILE: u32 = 4;
        let (tree, short) = self.fork(CATALOG_FILE, DATA, fork);
        if short {
            opening.defective(DefectKind::TruncatedArchive, "the catalog of its HFS+ volume ends early");
        }
        let tree = self.volume.collect(&tree);
        let mut folders: HashMap<u32, (String, u32)> = HashMap::new();
        let mut files: Vec<(String, u32, Bytes)> = Vec::new();
        for (key, data) in Leaves::new(&tree) {
            opening.check_time()?;
            let (Some(parent), Some(length)) = (u32_be(&key, 0), u16_be(&key, 4)) else { continue };
            let name = utf16_be(key.get(6..6 + 2 * usize::from(length)).unwrap_or_default());
            // A slash in a name is shown as a colon, and the other way round.
            let name = name.replace('/', ":");
            match u16_be(&data, 0) {
                Some(1) => {
                    folders.insert(u32_be(&data, 8).unwrap_or_default(), (name, parent));
                }
                Some(2) if files.len() < opening.most_members() => files.push((name, parent, data)),
                _ => {}
            }
        }
        for (name, parent, data) in files {
            self.file(opening, path(&folders, &name, parent), &data)?;
        }
        Ok(())
    }

    fn file(&self, opening: &mut Opening, path: String, data: &Bytes) -> Result<(), Stop> {
        /// The owner's flag of files that HFS+ compressed: the content stands elsewhere.
        const COMPRESSED: u8 = 0x20;
        let id = u32_be(data, 8).unwrap_or_default();
        for (kind, at) in [(DATA, 88), (RESOURCE, 168)] {
            let Some(fork) = data.get(at..at + 80) else { continue };
            let size = u64_be(fork, 0).unwrap_or_default();
            let (found, short) = self.fork(id, kind, fork);
            let compressed = data.get(41).is_some_and(|flags| flags & COMPRESSED != 0);
            let broken = if compressed {
                Some((DefectKind::UnknownMethod, "compressed by HFS+"))
            } else {
                short.then_some((DefectKind::TruncatedArchive, "its data ends early"))
            };
            if size > 0 {
                let name = if kind == DATA { path.clone() } else { format!("{path}/..namedfork/rsrc") };
                pieces::member(opening, vec![name], &found, broken)?;
            } else if kind == DATA {
                let id = opening.member(Member {
                    names: vec![path.clone()],
                    unread: compressed,
                    ..Member::default()
                })?;
                if let Some((kind, detail)) = broken {
                    opening.defect(kind, id, detail);
                }
            }
        }
        Ok(())
    }

    /// Where a fork lies, and whether that is less than its size.
    fn fork(&self, file: u32, kind: u8, fork: &[u8]) -> (Vec<Piece>, bool) {
        let size = u64_be(fork, 0).unwrap_or_default();
        let mut found = Vec::new();
        let more = self.overflow.get(&(file, kind)).into_iter().flatten().map(|(_, extents)| &extents[..]);
        for extents in std::iter::once(fork.get(16..80).unwrap_or_default()).chain(more) {
            for extent in extents.chunks_exact(8) {
                let start = u32_be(extent, 0).unwrap_or_default();
                let count = u32_be(extent, 4).unwrap_or_default();
                self.volume.locate(times(start, self.block), times(count, self.block), &mut found);
            }
        }
        pieces::truncate(&mut found, size);
        let short = pieces::len(&found) < size;
        (found, short)
    }
}

fn path(folders: &HashMap<u32, (String, u32)>, name: &str, parent: u32) -> String {
    const DEEPEST: usize = 64;
    let mut path = name.to_owned();
    let mut at = parent;
    for _ in 0..DEEPEST {
        match folders.get(&at).filter(|_| at > ROOT) {
            Some((folder, above)) => (path, at) = (joined(folder, &path), *above),
            None => break,
        }
    }
    names::clean(&path)
}

/// The records of a B-tree's leaves, as key and data: nodes linked from the first leaf on.
struct Leaves {
    tree: Bytes,
    node: usize,
    at: u32,
    seen: HashSet<u32>,
    record: usize,
}

impl Leaves {
    fn new(tree: &Bytes) -> Leaves {
        let node = u16_be(tree, 32).map_or(0, usize::from);
        let at = u32_be(tree, 24).unwrap_or_default();
        Leaves { tree: tree.clone(), node, at, seen: HashSet::new(), record: 0 }
    }

    fn node(&self) -> Option<Bytes> {
        let start = usize::try_from(self.at).ok()?.checked_mul(self.node)?;
        let end = start.checked_add(self.node)?;
        (self.at != 0 && self.node >= 512 && end <= self.tree.len()).then(|| self.tree.slice(start..end))
    }
}

impl Iterator for Leaves {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        const LEAF: u8 = 0xff;
        loop {
            let node = self.node()?;
            let count = usize::from(u16_be(&node, 10)?);
            if self.record >= count || node[8] != LEAF {
                if !self.seen.insert(self.at) {
                    return None;
                }
                (self.at, self.record) = (u32_be(&node, 0)?, 0);
                if self.seen.contains(&self.at) {
                    return None;
                }
                continue;
            }
            self.record += 1;
            // Places of records stand at the end, the first one last.
            let place = |number: usize| u16_be(&node, (self.node).checked_sub(2 * number)?).map(usize::from);
            let (Some(start), Some(end)) = (place(self.record), place(self.record + 1)) else { continue };
            if start >= end || end > node.len() || end - start < 4 {
                continue;
            }
            let record = node.slice(start..end);
            let key = usize::from(u16_be(&record, 0)?);
            if 2 + key > record.len() {
                continue;
            }
            return Some((
                record.slice(2..2 + key),
                record.slice((2 + key).next_multiple_of(2).min(record.len())..),
            ));
        }
    }
}
