//! UDF (ECMA-167, OSTA's UDF up to 2.60): plain, sparable and metadata partitions.

use std::collections::HashSet;

use bytes::Bytes;
use gatepost_mail::DefectKind;

use super::{Files, paths};
use crate::disk::volume::{Volume, joined, times, u64_at};
use crate::fields::{u16_le, u32_le, utf16_be};
use crate::opening::{Member, Opening, Stop};
use crate::pieces::{self, Piece};

/// Takes the files out of a disc's UDF tree; false if it has none.
pub(super) fn open(opening: &mut Opening, volume: &Volume, files: &mut Files) -> Result<bool, Stop> {
    if !super::has_udf(volume) {
        return Ok(false);
    }
    let Some(mut udf) = Udf::read(volume) else {
        opening.defective(DefectKind::BadArchive, "no volume descriptors of UDF");
        return Ok(true);
    };
    if udf.virtual_partition {
        let detail = "a UDF volume written in increments, with a table of places at its end";
        opening.defective(DefectKind::UnknownMethod, detail);
        return Ok(true);
    }
    udf.read_metadata();
    let set = udf.read_at(udf.set, 512);
    let root = Address::long(&set, 400).filter(|_| u16_le(&set, 0) == Some(256));
    let Some(root) = root else {
        opening.defective(DefectKind::BadArchive, "no set of files on its UDF volume");
        return Ok(true);
    };
    let mut seen = HashSet::new();
    let mut folders = vec![(root, String::new())];
    while let Some((address, path)) = folders.pop() {
        opening.check_time()?;
        if !seen.insert(address) {
            continue;
        }
        let Some(node) = udf.node(address) else {
            opening.defective(DefectKind::BadArchive, "a folder of its UDF volume is not there");
            continue;
        };
        let table = volume.collect(&node.pieces);
        for entry in entries(&table) {
            opening.check_time()?;
            if entry.folder {
                folders.push((entry.address, joined(&path, &entry.name)));
                continue;
            }
            let all = paths(&path, vec![entry.name]);
            match udf.node(entry.address) {
                Some(node) if node.size == 0 => files.add_empty(opening, all)?,
                Some(node) => {
                    let short = pieces::len(&node.pieces) < node.size;
                    let broken = short.then_some((DefectKind::TruncatedArchive, "its data ends early"));
                    files.add(opening, all, &node.pieces, broken)?;
                }
                None => {
                    let id = opening.member(Member { names: all, unread: true, ..Member::default() })?;
                    opening.defect(DefectKind::BadArchive, id, "no file entry where the folder says");
                }
            }
        }
    }
    Ok(true)
}

/// A block of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Address {
    block: u32,
    partition: u16,
}

impl Address {
    /// Of a long allocation descriptor (14.14.2).
    fn long(bytes: &[u8], at: usize) -> Option<Address> {
        Some(Address { block: u32_le(bytes, at + 4)?, partition: u16_le(bytes, at + 8)? })
    }
}

struct Udf<'a> {
    volume: &'a Volume,
    block: u64,
    /// Numbers and first blocks of the partitions on the disc.
    partitions: Vec<(u16, u32)>,
    /// The partitions that a volume refers to: the number of one, and whether it is a metadata partition.
    maps: Vec<(u16, Option<u32>)>,
    /// Where a metadata partition lies.
    metadata: Vec<Piece>,
    virtual_partition: bool,
    set: Address,
}

/// A file or folder: its size, and where it lies.
struct Node {
    size: u64,
    pieces: Vec<Piece>,
}

impl Udf<'_> {
    /// Reads the volume descriptors, which an anchor at one of three places leads to (UDF 2.2.3).
    fn read(volume: &Volume) -> Option<Udf<'_>> {
        const MOST: u64 = 256;
        const SIZES: [u64; 4] = [2048, 512, 1024, 4096];
        for block in SIZES {
            let blocks = volume.size() / block;
            let places = [256, blocks.saturating_sub(1), blocks.saturating_sub(257), 512];
            for anchor in places.map(|number| volume.read(number * block, 512)) {
                let (Some(2), Some(length), Some(first)) =
                    (u16_le(&anchor, 0), u32_le(&anchor, 16), u32_le(&anchor, 20))
                else {
                    continue;
                };
                let set = Address { block: 0, partition: 0 };
                let (partitions, maps) = (Vec::new(), Vec::new());
                let mut udf = Udf {
                    volume,
                    block,
                    partitions,
                    maps,
                    metadata: Vec::new(),
                    virtual_partition: false,
                    set,
                };
                for number in 0..(u64::from(length) / block).min(MOST) {
                    let descriptor = volume.read(times(u64::from(first) + number, block), block as usize);
                    match u16_le(&descriptor, 0) {
                        Some(5) => {
                            udf.partitions.extend(u16_le(&descriptor, 22).zip(u32_le(&descriptor, 188)))
                        }
                        Some(6) => udf.read_volume(&descriptor),
                        Some(8) | None => break,
                        _ => {}
                    }
                }
                if !udf.maps.is_empty() && !udf.partitions.is_empty() {
                    return Some(udf);
                }
            }
        }
        None
    }

    /// Reads a logical volume descriptor (3/10.6).
    fn read_volume(&mut self, descriptor: &[u8]) {
        self.maps.clear();
        self.set = Address::long(descriptor, 248).unwrap_or(self.set);
        let mut at = 440;
        let count = u32_le(descriptor, 268).unwrap_or_default().min(16);
        for _ in 0..count {
            let Some(map) = descriptor.get(at..).filter(|map| map.len() >= 6) else { break };
            let length = usize::from(map[1]).max(2);
            let named = |name: &[u8]| map.get(5..).is_some_and(|map| map.starts_with(name));
            let plain = map[0] == 1;
            let number = u16_le(map, if plain { 4 } else { 38 }).unwrap_or_default();
            self.virtual_partition |= !plain && named(b"*UDF Virtual Partition");
            let metadata = if !plain && named(b"*UDF Metadata Partition") { u32_le(map, 40) } else { None };
            self.maps.push((number, metadata));
            at += length;
        }
    }

    /// Finds where the metadata partition lies: in a file of the partition that it is on (UDF 2.2.10).
    fn read_metadata(&mut self) {
        let Some(&(number, Some(block))) = self.maps.iter().find(|(_, metadata)| metadata.is_some()) else {
            return;
        };
        let plain = self.maps.iter().position(|(other, metadata)| *other == number && metadata.is_none());
        let partition = plain.and_then(|place| u16::try_from(place).ok()).unwrap_or_default();
        if let Some(node) = self.node(Address { block, partition }) {
            self.metadata = node.pieces;
        }
    }

    /// Where `len` bytes of a partition lie.
    fn locate(&self, address: Address, len: u64, into: &mut Vec<Piece>) {
        let Some((number, metadata)) = self.maps.get(usize::from(address.partition)) else { return };
        if metadata.is_some() {
            into.extend(pieces::cut(&self.metadata, times(address.block, self.block), len));
            return;
        }
        let Some((_, start)) = self.partitions.iter().find(|(known, _)| known == number) else { return };
        let place = times(u64::from(*start) + u64::from(address.block), self.block);
        self.volume.locate(place, len, into);
    }

    fn read_at(&self, address: Address, len: u64) -> Bytes {
        let mut found = Vec::new();
        self.locate(address, len, &mut found);
        self.volume.collect(&found)
    }

    /// Reads a file entry or an extended one (14.9, 14.17) and follows its allocation descriptors.
    fn node(&self, address: Address) -> Option<Node> {
        const INLINE: u16 = 3;
        let entry = self.read_at(address, self.block);
        let head = match u16_le(&entry, 0)? {
            261 => 176,
            266 => 216,
            _ => return None,
        };
        let size = u64_at(&entry, 56);
        let attributes = u32_le(&entry, head - 8)? as usize;
        let length = u32_le(&entry, head - 4)? as usize;
        let start = head.checked_add(attributes)?;
        let list = entry.get(start..start.saturating_add(length).min(entry.len()))?;
        let mut node = Node { size, pieces: Vec::new() };
        let kind = u16_le(&entry, 34)? & 7;
        if kind == INLINE {
            let mut found = Vec::new();
            self.locate(address, self.block, &mut found);
            node.pieces = pieces::cut(&found, start as u64, (list.len() as u64).min(size));
        } else {
            self.extents(list.to_vec(), kind, address.partition, &mut node.pieces);
            pieces::truncate(&mut node.pieces, size);
        }
        Some(node)
    }

    /// Follows allocation descriptors, short or long ones (14.14), and where they go on elsewhere.
    fn extents(&self, mut list: Vec<u8>, kind: u16, partition: u16, into: &mut Vec<Piece>) {
        const LONG: u16 = 1;
        const MOST_LISTS: usize = 256;
        let size = if kind == LONG { 16 } else { 8 };
        for _ in 0..MOST_LISTS {
            let mut next = None;
            for raw in list.chunks_exact(size) {
                let word = u32_le(raw, 0).unwrap_or_default();
                let length = u64::from(word & 0x3fff_ffff);
                let address = match kind {
                    LONG => Address::long(raw, 0).unwrap_or(Address { block: 0, partition }),
                    _ => Address { block: u32_le(raw, 4).unwrap_or_default(), partition },
                };
                match word >> 30 {
                    _ if length == 0 => break,
                    0 => self.locate(address, length, into),
                    3 => {
                        next = Some(address);
                        break;
                    }
                    _ => pieces::push_zeros(into, length),
                }
            }
            let Some(address) = next else { return };
            // An allocation extent descriptor (14.5): its list stands behind 24 bytes.
            let more = self.read_at(address, self.block);
            let length = u32_le(&more, 20).unwrap_or_default() as usize;
            if u16_le(&more, 0) != Some(258) {
                return;
            }
            list = more.get(24..more.len().min(24_usize.saturating_add(length))).unwrap_or_default().to_vec();
        }
    }
}

struct Entry {
    name: String,
    folder: bool,
    address: Address,
}

/// The file identifiers of a folder (14.4), but for those that are deleted or lead up.
fn entries(table: &[u8]) -> Vec<Entry> {
    const FOLDER: u8 = 2;
    const DELETED: u8 = 4;
    const PARENT: u8 = 8;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(entry) = table.get(at..).filter(|entry| entry.len() >= 38 && u16_le(entry, 0) == Some(257))
    {
        let (flags, length) = (entry[18], usize::from(entry[19]));
        let start = 38 + usize::from(u16_le(entry, 36).unwrap_or_default());
        let end = start + length;
        if let (Some(raw), Some(address), 0) =
            (entry.get(start..end), Address::long(entry, 20), flags & (DELETED | PARENT))
        {
            found.push(Entry { name: name(raw), folder: flags & FOLDER != 0, address });
        }
        at += end.next_multiple_of(4);
    }
    found
}

/// A name in OSTA's compressed Unicode: a byte that says how wide its characters are, then these.
fn name(raw: &[u8]) -> String {
    let name = match raw.split_first() {
        Some((16 | 255, units)) => utf16_be(units),
        Some((_, bytes)) => {
            bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
        }
        None => String::new(),
    };
    crate::names::clean(&name).replace('/', "_")
}
