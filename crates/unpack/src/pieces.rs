//! Members as most containers have them: stored as they are, in one piece or in several (clusters, sectors, extents), put
//! together under the budget.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit, PartId};

use crate::opening::{End, Member, Opening, Stop, keep};

/// A piece of some content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of the container.
    At(Range<usize>),
    /// So many bytes that are stored nowhere, and are zero.
    Zeros(u64),
    /// Bytes that stand in the container in another form.
    Made(Vec<u8>),
}

/// Appends bytes of the container to a list, as part of the last piece where they follow it.
pub(crate) fn push(pieces: &mut Vec<Piece>, range: Range<usize>) {
    match pieces.last_mut() {
        _ if range.is_empty() => {}
        Some(Piece::At(last)) if last.end == range.start => last.end = range.end,
        _ => pieces.push(Piece::At(range)),
    }
}

/// Appends zeros to a list.
pub(crate) fn push_zeros(pieces: &mut Vec<Piece>, count: u64) {
    match pieces.last_mut() {
        _ if count == 0 => {}
        Some(Piece::Zeros(last)) => *last = last.saturating_add(count),
        _ => pieces.push(Piece::Zeros(count)),
    }
}

/// The size of all pieces together.
pub(crate) fn len(pieces: &[Piece]) -> u64 {
    let size = |piece: &Piece| match piece {
        Piece::At(range) => range.len() as u64,
        Piece::Zeros(count) => *count,
        Piece::Made(bytes) => bytes.len() as u64,
    };
    pieces.iter().map(size).fold(0, u64::saturating_add)
}

/// Cuts a list to `size` bytes.
pub(crate) fn truncate(pieces: &mut Vec<Piece>, size: u64) {
    let mut left = size;
    for (place, piece) in pieces.iter_mut().enumerate() {
        if left == 0 {
            pieces.truncate(place);
            return;
        }
        match piece {
            Piece::At(range) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                range.end = range.end.min(range.start.saturating_add(most));
                left -= range.len() as u64;
            }
            Piece::Zeros(count) => {
                *count = left.min(*count);
                left -= *count;
            }
            Piece::Made(bytes) => {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= bytes.len() as u64;
            }
        }
    }
}

/// `len` bytes from `at` on of what a list holds.
pub(crate) fn cut(list: &[Piece], at: u64, len: u64) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut skip = at;
    let mut got = 0;
    for piece in list {
        let size = self::len(std::slice::from_ref(piece));
        if skip >= size {
            skip -= size;
            continue;
        }
        let most = (size - skip).min(len - got);
        // Both fit: they are no more than the size of a piece that lies in memory.
        let (from, count) = (skip as usize, most as usize);
        match piece {
            Piece::At(range) => push(&mut out, range.start + from..range.start + from + count),
            Piece::Zeros(_) => push_zeros(&mut out, most),
            Piece::Made(bytes) => out.push(Piece::Made(bytes[from..from + count].to_vec())),
        }
        skip = 0;
        got += most;
        if got == len {
            break;
        }
    }
    out
}

/// Puts pieces together: a slice where it is one, a copy otherwise. With the limit that was met, if one was; what was
/// made until then is kept. Pieces outside of the container are left out.
pub(crate) fn gather(opening: &mut Opening, pieces: &[Piece]) -> (Bytes, Option<Limit>) {
    let body = opening.body.clone();
    if let [Piece::At(range)] = pieces {
        let end = range.end.min(body.len());
        return match opening.slice(range.start.min(end)..end) {
            Ok(bytes) => (bytes, None),
            Err(limit) => (Bytes::new(), Some(limit)),
        };
    }
    let stored = pieces.iter().filter(|piece| matches!(piece, Piece::At(_)));
    let packed = stored.cloned().map(|piece| len(&[piece])).fold(0, u64::saturating_add);
    let mut source = Source { body: &body, pieces, at: 0 };
    let mut made = Vec::new();
    let end = opening.drain(&mut source, packed, &mut made);
    let over = if let End::Over(limit) = end { Some(limit) } else { None };
    (keep(made), over)
}

/// Appends a member whose content lies in pieces. `broken` says what is wrong with it, if it is known already.
pub(crate) fn member(
    opening: &mut Opening,
    names: Vec<String>,
    pieces: &[Piece],
    broken: Option<(DefectKind, &str)>,
) -> Result<PartId, Stop> {
    let (body, over) = gather(opening, pieces);
    let unread = body.is_empty() && (over.is_some() || broken.is_some());
    let id = opening.member(Member { names, body, unread, ..Member::default() })?;
    if let Some((kind, detail)) = broken {
        opening.defect(kind, id, detail);
    }
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    }
    Ok(id)
}

/// Appends a member that lies in one piece, `len` bytes from `start` on; one that the container ends in is truncated.
pub(crate) fn stored(
    opening: &mut Opening,
    names: Vec<String>,
    start: usize,
    len: u64,
) -> Result<PartId, Stop> {
    let (range, short) = crate::fields::cut(&opening.body, start, len);
    let broken = short.then_some((DefectKind::TruncatedArchive, "its data ends early"));
    member(opening, names, &[Piece::At(range)], broken)
}

/// Appends what stands behind all that was understood, without a name, and tells of it; zeros and line ends are padding.
pub(crate) fn trailing(opening: &mut Opening, from: usize) -> Result<(), Stop> {
    let rest = &opening.body[from.min(opening.body.len())..];
    if rest.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Ok(());
    }
    opening.defective(DefectKind::BadArchive, format!("{} bytes behind its end", rest.len()));
    // All of it is the container once more.
    if from == 0 {
        return Ok(());
    }
    let end = opening.body.len();
    member(opening, Vec::new(), &[Piece::At(from..end)], None).map(|_| ())
}

/// Appends a member that was made here, such as decoded text, after paying for it.
pub(crate) fn made(opening: &mut Opening, names: Vec<String>, bytes: Vec<u8>) -> Result<PartId, Stop> {
    let (body, over) = pay(opening, bytes);
    let id = opening.member(Member { names, body, unread: over.is_some(), ..Member::default() })?;
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    }
    Ok(id)
}

/// Bytes that were made without asking the budget, as far as it pays for them.
pub(crate) fn pay(opening: &mut Opening, bytes: Vec<u8>) -> (Bytes, Option<Limit>) {
    let mut into = Vec::with_capacity(bytes.len());
    let packed = opening.body.len() as u64;
    match opening.drain(&mut bytes.as_slice(), packed, &mut into) {
        End::Over(limit) => (keep(into), Some(limit)),
        _ => (keep(into), None),
    }
}

struct Source<'a> {
    body: &'a [u8],
    pieces: &'a [Piece],
    /// Bytes of the first piece that were read.
    at: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.first() {
            let count = match piece {
                Piece::At(range) => {
                    let end = range.end.min(self.body.len());
                    let start = usize::try_from(self.at).map_or(end, |at| range.start.saturating_add(at));
                    let rest = &self.body[start.min(end)..end];
                    let count = rest.len().min(into.len());
                    into[..count].copy_from_slice(&rest[..count]);
                    count
                }
                Piece::Zeros(zeros) => {
                    let left = usize::try_from(zeros.saturating_sub(self.at)).unwrap_or(usize::MAX);
                    let count = left.min(into.len());
                    into[..count].fill(0);
                    count
                }
                Piece::Made(bytes) => {
                    let rest =
                        usize::try_from(self.at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                    let count = rest.len().min(into.len());
                    into[..count].copy_from_slice(&rest[..count]);
                    count
                }
            };
            if count > 0 || into.is_empty() {
                self.at += count as u64;
                return Ok(count);
            }
            (self.pieces, self.at) = (&self.pieces[1..], 0);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_cut_and_read() {
        let mut pieces = Vec::new();
        push(&mut pieces, 2..4);
        push(&mut pieces, 4..6);
        push_zeros(&mut pieces, 1);
        push_zeros(&mut pieces, 2);
        push(&mut pieces, 0..0);
        push(&mut pieces, 0..2);
        assert_eq!(pieces, [Piece::At(2..6), Piece::Zeros(3), Piece::At(0..2)]);
        let read = |pieces: &[Piece]| {
            let mut out = Vec::new();
            Source { body: b"abcdef", pieces, at: 0 }.read_to_end(&mut out).map(|_| out)
        };
        assert_eq!(read(&pieces).expect("read"), b"cdef\0\0\0ab");
        for at in 0..10 {
            assert_eq!(
                read(&cut(&pieces, at, 3)).expect("read"),
                b"cdef\0\0\0ab\0"[at as usize..9.min(at as usize + 3)]
            );
        }
        for size in 0..12 {
            let mut cut = pieces.clone();
            truncate(&mut cut, size);
            assert_eq!(len(&cut), size.min(9));
            assert_eq!(read(&cut).expect("read"), b"cdef\0\0\0ab"[..size.min(9) as usize]);
        }
        assert_eq!(read(&[Piece::At(5..90), Piece::At(70..90)]).expect("read"), b"f");
    }
}
