//! Content on its way out: dot-stuffing and the end of DATA (RFC 5321 4.5.2).

use std::iter::FusedIterator;

use memchr::memmem;

/// Stuffs content that is sent after DATA, chunk by chunk.
///
/// Content should have CRLF line ends, as the decoders of this module make them. Should a bare LF come nevertheless, a
/// dot after it is doubled as well: no receiver, however lax, then takes it for the end.
///
/// ```
/// use gatepost_wire::smtp::Stuffer;
/// let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
/// stuffer.stuff(b"Hello\r\n.", &mut out);
/// stuffer.stuff(b"\r\nBye", &mut out);
/// stuffer.finish(&mut out);
/// assert_eq!(out, b"Hello\r\n..\r\nBye\r\n.\r\n");
/// ```
#[derive(Debug, Clone)]
pub struct Stuffer {
    /// Whether a dot that comes next begins a line.
    line_start: bool,
    /// Whether the last octets were CRLF, or there were none.
    after_crlf: bool,
    /// Whether the last octet was CR.
    after_cr: bool,
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer::new()
    }
}

impl Stuffer {
    /// For the content of one message.
    pub fn new() -> Stuffer {
        Stuffer { line_start: true, after_crlf: true, after_cr: false }
    }

    /// Appends the next chunk of content, stuffed, to `out`.
    pub fn stuff(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        out.reserve(chunk.len());
        for piece in self.pieces(chunk) {
            out.extend_from_slice(piece);
        }
    }

    /// The next chunk of content as slices of itself, to be sent one after the other without copying.
    ///
    /// A dot that must be doubled is the end of one slice and the beginning of the next. A chunk that needs no stuffing
    /// is one slice. The chunk counts as sent once this was called, so all slices must be.
    pub fn pieces<'a>(&mut self, chunk: &'a [u8]) -> Pieces<'a> {
        let double = self.line_start && chunk.first() == Some(&b'.');
        self.note(chunk);
        Pieces { rest: chunk, from: 0, double_first: double, finder: memmem::Finder::new(b"\n.") }
    }

    /// What ends the content: the CRLF of the last line if that lacks it, and `.CRLF`.
    pub fn end(&self) -> &'static [u8] {
        if self.after_crlf { b".\r\n" } else { b"\r\n.\r\n" }
    }

    /// Appends what ends the content to `out` and makes ready for another message.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.end());
        *self = Stuffer::new();
    }

    fn note(&mut self, chunk: &[u8]) {
        match chunk {
            [] => {}
            [.., before, b'\n'] => {
                (self.line_start, self.after_crlf, self.after_cr) = (true, *before == b'\r', false)
            }
            [b'\n'] => (self.line_start, self.after_crlf, self.after_cr) = (true, self.after_cr, false),
            [.., last] => (self.line_start, self.after_crlf, self.after_cr) = (false, false, *last == b'\r'),
        }
    }
}

/// The slices of one chunk; see [`Stuffer::pieces`].
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    /// Octets at the front of `rest` that were looked at.
    from: usize,
    double_first: bool,
    finder: memmem::Finder<'static>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        if std::mem::take(&mut self.double_first) {
            // The dot stays in `rest`, where it is not looked for again.
            self.from = 1;
            return Some(&self.rest[..1]);
        }
        match self.finder.find(&self.rest[self.from..]) {
            None => Some(std::mem::take(&mut self.rest)),
            Some(found) => {
                let dot = self.from + found + 1;
                let piece = &self.rest[..=dot];
                self.rest = &self.rest[dot..];
                self.from = 1;
                Some(piece)
            }
        }
    }
}

impl FusedIterator for Pieces<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_the_same_however_it_is_split() {
        for (content, expected) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a\r", b"a\r\r\n.\r\n"),
            (b"a\n", b"a\n\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n.\r\n", b"..\r\n..\r\n.\r\n"),
            (b"..a\r\n.b.\r\nc.", b"...a\r\n..b.\r\nc.\r\n.\r\n"),
            (b"a\n.\nb", b"a\n..\nb\r\n.\r\n"),
            (b"\r\n", b"\r\n.\r\n"),
        ] {
            for step in 1..=content.len().max(1) {
                let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
                for chunk in content.chunks(step) {
                    stuffer.stuff(chunk, &mut out);
                    stuffer.stuff(b"", &mut out);
                }
                stuffer.finish(&mut out);
                assert_eq!(out, expected, "{content:?} in chunks of {step}");
            }
        }
    }

    #[test]
    fn pieces_are_slices_of_the_chunk() {
        let chunk = b".a\r\n.b\r\nc\r\n";
        let pieces: Vec<&[u8]> = Stuffer::new().pieces(chunk).collect();
        assert_eq!(pieces, [&b"."[..], b".a\r\n.", b".b\r\nc\r\n"]);
        let plain = b"a.\r\nb\r\n";
        let pieces: Vec<&[u8]> = Stuffer::new().pieces(plain).collect();
        assert_eq!(pieces, [&plain[..]]);
        assert_eq!(pieces[0].as_ptr(), plain.as_ptr());
    }
}
