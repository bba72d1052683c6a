//! tar archives: old v7, ustar (POSIX 1003.1-1988), GNU and pax (POSIX 1003.1-2001).
//!
//! Where the size of a member is told in two ways, or programs differ in whether a member of its kind has data at
//! all, both places where the next header may stand are followed.

mod sparse;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType, PartId};

use crate::names;
use crate::opening::{Member, Opening, Stop};
use crate::pieces::{self, Piece};
use sparse::Map;

/// Everything in a tar is a multiple of this.
const BLOCK: usize = 512;

/// Longest name or pax header that is read into memory.
const LONGEST_META: usize = 1 << 20;

/// Whether this is a tar: its first block has a header's checksum.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    block(body, 0).is_some_and(|block| checksum_fits(block) && block[0] != 0)
}

/// Opens a tar.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut tar = Tar {
        opening,
        body,
        seen: HashSet::new(),
        pending: vec![0],
        barren: usize::MAX,
        gap: 0..0,
        known: HashMap::new(),
        end: 0,
    };
    while let Some(at) = tar.pending.pop() {
        tar.run(at)?;
    }
    tar.trailing()
}

struct Tar<'a, 'b> {
    opening: &'a mut Opening<'b>,
    body: Bytes,
    /// Headers that were read.
    seen: HashSet<usize>,
    /// Places where further headers may be.
    pending: Vec<usize>,
    /// No header begins here or behind.
    barren: usize,
    /// What was skipped last, up to the next header.
    gap: std::ops::Range<usize>,
    /// Members by name, for hard links.
    known: HashMap<String, PartId>,
    /// End of what was understood.
    end: usize,
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Extended {
    names: Vec<String>,
    links: Vec<String>,
    size: Option<u64>,
    sparse: Map,
}

/// A header block (POSIX pax, section "ustar Interchange Format").
struct Header {
    names: Vec<String>,
    links: Vec<String>,
    size: Option<u64>,
    kind: u8,
    /// The map of an old GNU sparse member, and the size of the blocks with the rest of it.
    map: Option<(Map, usize)>,
}

impl Tar<'_, '_> {
    /// Reads headers from `at` on until nothing sensible follows.
    fn run(&mut self, mut at: usize) -> Result<(), Stop> {
        let mut extended = Extended::default();
        loop {
            self.opening.check_time()?;
            let Some(block) = block(&self.body, at) else {
                if at < self.body.len() && self.body[at..].iter().any(|&byte| byte != 0) && self.end <= at {
                    self.opening.defective(DefectKind::TruncatedArchive, "it ends inside a header");
                }
                return Ok(());
            };
            if block.iter().all(|&byte| byte == 0) {
                // Two such blocks end an archive; concatenated ones follow behind.
                at += BLOCK;
                self.end = self.end.max(at);
                continue;
            }
            if !checksum_fits(block) {
                match self.next_header(at) {
                    Some(next) => {
                        let detail = format!("{} bytes that are no tar at offset {at}", next - at);
                        self.opening.defective(DefectKind::BadArchive, detail);
                        at = next;
                    }
                    None => return Ok(()),
                }
                continue;
            }
            if !self.seen.insert(at) {
                return Ok(());
            }
            at = self.entry(at, &mut extended)?;
            self.end = self.end.max(at.min(self.body.len()));
        }
    }

    /// The next place with a header's checksum: programs skip to it.
    fn next_header(&mut self, at: usize) -> Option<usize> {
        if at >= self.barren {
            return None;
        }
        if self.gap.contains(&at) {
            return Some(self.gap.end);
        }
        let mut next = at + BLOCK;
        while let Some(block) = block(&self.body, next) {
            if block[0] != 0 && checksum_fits(block) {
                self.gap = at..next;
                return Some(next);
            }
            next += BLOCK;
        }
        self.barren = at;
        None
    }

    /// Reads one header and its data; returns where the next header should be.
    fn entry(&mut self, at: usize, extended: &mut Extended) -> Result<usize, Stop> {
        let Some(header) = block(&self.body, at).map(|block| Header::read(&self.body, at, block)) else {
            return Ok(self.body.len());
        };
        let data_at = at + BLOCK + header.map.as_ref().map_or(0, |(_, len)| *len);
        let Some(own) = header.size else {
            self.opening
                .defective(DefectKind::BadArchive, format!("a size that is no number at offset {at}"));
            return Ok(data_at);
        };
        if matches!(header.kind, b'L' | b'K' | b'x' | b'X' | b'g' | b'N' | b'V' | b'A' | b'D') {
            let (range, _) = crate::fields::cut(&self.body, data_at, own);
            let next = padded(data_at, own).min(self.body.len());
            extended.read(header.kind, &self.body[range.start..range.end.min(range.start + LONGEST_META)]);
            return Ok(next);
        }
        let mut said = std::mem::take(extended);
        if let Some((map, _)) = header.map {
            said.sparse = map;
        }
        let size = said.size.unwrap_or(own);
        self.fork(at, data_at, own, size, header.kind);
        let mut all = said.names;
        for name in header.names {
            // The short form of a name that did not fit is not one that anybody shows.
            if !all.iter().any(|long| long.starts_with(&name) || long.ends_with(&name)) {
                names::add(&mut all, name);
            }
        }
        let links = if said.links.is_empty() { header.links } else { said.links };
        let has_data = self.member(header.kind, all, links, data_at, size, said.sparse)?;
        Ok(if has_data { padded(data_at, size) } else { data_at })
    }

    /// Remembers the other place where the next header may be, when there is one.
    fn fork(&mut self, at: usize, data_at: usize, own: u64, size: u64, kind: u8) {
        let taken = padded(data_at, size);
        let mut others = vec![padded(data_at, own)];
        if matches!(kind, b'1'..=b'6') && size > 0 {
            others.push(data_at);
            others.push(taken);
        }
        others.retain(|&other| other != taken || matches!(kind, b'1'..=b'6'));
        others.retain(|&other| block(&self.body, other).is_some_and(|b| b[0] != 0 && checksum_fits(b)));
        if own != size && !others.is_empty() {
            self.opening
                .defective(DefectKind::BadArchive, format!("two sizes for one member at offset {at}"));
        }
        const MOST: usize = 64;
        if self.pending.len() < MOST {
            self.pending.extend(others);
        }
    }

    /// Appends a member. Returns whether its data stands behind its header.
    fn member(
        &mut self,
        kind: u8,
        names: Vec<String>,
        links: Vec<String>,
        data_at: usize,
        size: u64,
        mut map: Map,
    ) -> Result<bool, Stop> {
        let folder = kind == b'5' || names.first().is_some_and(|name| name.ends_with('/'));
        if kind == b'1'
            && size == 0
            && let Some(&target) = links.iter().find_map(|link| self.known.get(link))
        {
            // A hard link is one more name of a file that came before.
            for name in names {
                self.opening.also_called(target, name);
            }
            return Ok(false);
        }
        // Links and devices have a name and no content; whether a size they tell of counts, readers differ.
        let bare = matches!(kind, b'1'..=b'6') && block(&self.body, data_at).is_some_and(checksum_fits);
        if folder && (size == 0 || bare) {
            return Ok(false);
        }
        if bare || (matches!(kind, b'2' | b'3' | b'4' | b'6') && size == 0) {
            self.opening.member(Member { names, ..Member::default() })?;
            return Ok(false);
        }
        let (range, short) = crate::fields::cut(&self.body, data_at, size);
        let skip = if map.in_data { map.read_data(&self.body[range.clone()]) } else { 0 };
        let stored = range.start + skip..range.end;
        let content = map.apply(stored.start, stored.len()).unwrap_or_else(|| vec![Piece::At(stored)]);
        let (body, over) = pieces::gather(self.opening, &content);
        let first = names.clone();
        let id = self.opening.member(Member { names, body, unread: over.is_some(), ..Member::default() })?;
        self.known.extend(first.into_iter().map(|name| (name, id)));
        if let Some(limit) = over {
            self.opening.over(limit, Some(id));
        }
        if short {
            self.opening.defect(DefectKind::TruncatedArchive, id, "its data ends early");
        }
        Ok(true)
    }

    /// What stands behind everything that was understood: other programs may read it.
    fn trailing(&mut self) -> Result<(), Stop> {
        let rest = &self.body[self.end.min(self.body.len())..];
        let Some(first) = rest.iter().position(|&byte| byte != 0) else { return Ok(()) };
        let start = self.end + first;
        self.opening.defective(
            DefectKind::BadArchive,
            format!("{} bytes that are no tar at its end", rest.len() - first),
        );
        match self.opening.slice(start..self.body.len()) {
            Ok(body) => self.opening.member(Member { body, ..Member::default() }).map(|_| ()),
            Err(limit) => {
                self.opening.over(limit, None);
                Ok(())
            }
        }
    }
}

impl Header {
    fn read(body: &[u8], at: usize, block: &[u8; BLOCK]) -> Header {
        let kind = block[156];
        let ustar = &block[257..263] == b"ustar\0";
        let mut read = names::readings(text(&block[..100]), false);
        if ustar && block[345] != 0 {
            let prefix = names::readings(text(&block[345..500]), false);
            if let Some(prefix) = prefix.first() {
                read.iter_mut().for_each(|name| *name = format!("{prefix}/{name}"));
            }
        }
        let links = names::readings(text(&block[157..257]), false);
        let map = (kind == b'S').then(|| Map::of_headers(body, at, block));
        Header { names: read, links, size: number(&block[124..136]), kind, map }
    }
}

impl Extended {
    /// Takes in a long name or a pax header.
    fn read(&mut self, kind: u8, data: &[u8]) {
        match kind {
            b'L' => self.put_names(text(data)),
            b'K' => self.links = names::readings(text(data), false),
            b'x' | b'X' => self.pax(data),
            _ => {}
        }
    }

    fn put_names(&mut self, raw: &[u8]) {
        // The last one wins in most programs and the first in others.
        let mut read = names::readings(raw, false);
        for name in std::mem::take(&mut self.names) {
            names::add(&mut read, name);
        }
        self.names = read;
    }

    /// Records `length key=value\n`.
    fn pax(&mut self, mut data: &[u8]) {
        while let Some((record, rest)) = pax_record(data) {
            data = rest;
            let Some(sign) = memchr::memchr(b'=', record) else { continue };
            let (key, value) = (&record[..sign], &record[sign + 1..]);
            match key {
                b"path" | b"GNU.sparse.name" => self.put_names(value),
                b"linkpath" => self.links = names::readings(value, false),
                b"size" => self.size = decimal(value),
                _ => self.sparse.record(key, value),
            }
        }
    }
}

fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', &data[..data.len().min(20)])?;
    let len = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..len)?;
    Some((record.strip_suffix(b"\n").unwrap_or(record), &data[len..]))
}

fn block(body: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    body.get(at..)?.first_chunk()
}

/// The place behind data of that size, padded to a block.
fn padded(data_at: usize, size: u64) -> usize {
    usize::try_from(size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64))
        .map_or(usize::MAX, |size| data_at.saturating_add(size))
}

/// Whether the block's checksum fits, added up as unsigned bytes or, as some old programs did, as signed ones.
fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let field = &block[148..156];
    if !field.iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0)) {
        return false;
    }
    let Some(said) = number(field) else { return false };
    let blank = |(place, byte): (usize, &u8)| if (148..156).contains(&place) { b' ' } else { *byte };
    let unsigned: u64 = block.iter().enumerate().map(blank).map(u64::from).sum();
    let signed: i64 = block.iter().enumerate().map(blank).map(|byte| i64::from(byte.cast_signed())).sum();
    said == unsigned || i64::try_from(said) == Ok(signed)
}

/// A number field: octal digits, or base-256 when the first bit is set (GNU). None when it is neither or negative.
fn number(field: &[u8]) -> Option<u64> {
    match field.first()? {
        0x80 => {
            field[1..].iter().try_fold(0_u64, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))
        }
        byte if byte & 0x80 != 0 => None,
        _ => {
            let digits = field.iter().skip_while(|&&byte| byte == b' ' || byte == 0);
            digits.take_while(|&&byte| byte != b' ' && byte != 0).try_fold(0_u64, |sum, &byte| match byte {
                b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
                _ => None,
            })
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A field up to its NUL.
fn text(field: &[u8]) -> &[u8] {
    memchr::memchr(0, field).map_or(field, |end| &field[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let table: &[(&[u8], Option<u64>)] = &[
            (b"00000001750\0", Some(1000)),
            (b"       1750 ", Some(1000)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x04\0", Some(1024)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"9", None),
        ];
        for (field, want) in table {
            assert_eq!(number(field), *want, "{field:?}");
        }
    }
}
