//! Changes to bytes by their places.

use std::ops::Range;

/// Pieces that are to be replaced, in any order, each by its own bytes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    list: Vec<(Range<usize>, Vec<u8>)>,
}

impl Edits {
    /// Replaces a piece; an empty one is a place where something is put in.
    pub(crate) fn replace(&mut self, range: Range<usize>, with: impl Into<Vec<u8>>) {
        self.list.push((range, with.into()));
    }

    /// Whether nothing is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many pieces are to be replaced.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The bytes with all changes made. A piece within another goes with that one; of two that overlap, both go. `glue`
    /// tells what stands between what is left on both sides of a piece that goes without anything in its place.
    pub(crate) fn apply(mut self, bytes: &[u8], glue: impl Fn(&[u8], &[u8]) -> &'static [u8]) -> Vec<u8> {
        self.list.sort_by_key(|(range, _)| (range.start, !range.is_empty(), std::cmp::Reverse(range.end)));
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        let mut list = self.list.into_iter().peekable();
        while let Some((range, with)) = list.next() {
            let start = range.start.clamp(from, bytes.len());
            let mut end = range.end.clamp(start, bytes.len());
            let empty = range.is_empty();
            out.extend_from_slice(&bytes[from..start]);
            while let Some((next, _)) = list.next_if(|(next, _)| !empty && next.start < end) {
                end = end.max(next.end.min(bytes.len()));
            }
            // The same put in twice at one place is put in once.
            while list.next_if(|(next, same)| empty && *next == range && *same == with).is_some() {}
            match with.is_empty() {
                true => out.extend_from_slice(glue(&out, &bytes[end..])),
                false => out.extend_from_slice(&with),
            }
            from = end;
        }
        out.extend_from_slice(&bytes[from..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pieces = [(Range<usize>, &'static str)];

    #[test]
    fn pieces_are_replaced() {
        let table: &[(&Pieces, &str)] = &[
            (&[], "0123456789"),
            (&[(2..4, ""), (0..1, "a")], "a1-456789"),
            (&[(2..6, "x"), (3..4, "y"), (5..8, "z")], "01x89"),
            (&[(3..3, "i"), (3..3, "i"), (3..3, "j"), (3..4, "k")], "012ijk456789"),
            (&[(8..90, "e"), (50..60, "f")], "01234567ef"),
        ];
        for (list, expected) in table {
            let mut edits = Edits::default();
            list.iter().for_each(|(range, with)| edits.replace(range.clone(), *with));
            let made = edits.apply(b"0123456789", |_, _| b"-");
            assert_eq!(String::from_utf8_lossy(&made), *expected);
        }
    }
}
