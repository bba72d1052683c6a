//! Command lines of a client, taken from the input one by one.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// What [`LineReader::next`] found at the front of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// No whole line yet: read more.
    More,
    /// A line that ended in CRLF, without the CRLF. It may hold any other octet, a stray CR included.
    Line(Bytes),
    /// A line that ended in LF alone, without the LF. RFC 5321 2.3.8 forbids it; the caller decides.
    BareLf(Bytes),
    /// The line is longer than the limit. Said once, as soon as it is known; the rest of the line is skipped.
    TooLong,
}

/// Takes lines from the input. Keeps no octets itself: what it leaves in the buffer is at most the limit plus CRLF.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    skipping: bool,
}

impl LineReader {
    /// A reader of lines of at most `limit` octets, CRLF not counted.
    ///
    /// RFC 5321 4.5.3.1.4 asks for 512; parameters of extensions and XCLIENT need more, so 4096 is a good value, and
    /// 12288 where AUTH is offered (RFC 4954 4).
    pub fn new(limit: usize) -> LineReader {
        LineReader { limit, skipping: false }
    }

    /// Takes one line from the front of `buf`.
    pub fn next(&mut self, buf: &mut BytesMut) -> Line {
        if self.skipping && !self.skip(buf) {
            return Line::More;
        }
        // A longer line needs no look past its limit; two more octets are room for CRLF.
        let window = buf.len().min(self.limit.saturating_add(2));
        match memchr(b'\n', &buf[..window]) {
            Some(lf) => self.take(buf, lf),
            None if window == buf.len() && !self.over(buf) => Line::More,
            None => self.too_long(buf),
        }
    }

    fn take(&mut self, buf: &mut BytesMut, lf: usize) -> Line {
        let crlf = lf > 0 && buf[lf - 1] == b'\r';
        let length = if crlf { lf - 1 } else { lf };
        if length > self.limit {
            buf.advance(lf + 1);
            return Line::TooLong;
        }
        let mut line = buf.split_to(lf + 1).freeze();
        line.truncate(length);
        if crlf { Line::Line(line) } else { Line::BareLf(line) }
    }

    /// Whether what is there, without its LF, can no longer become a line within the limit.
    fn over(&self, buf: &BytesMut) -> bool {
        buf.len() > self.limit.saturating_add(1) || (buf.len() > self.limit && buf.last() != Some(&b'\r'))
    }

    fn too_long(&mut self, buf: &mut BytesMut) -> Line {
        self.skipping = true;
        self.skip(buf);
        Line::TooLong
    }

    /// Throws away the rest of a line that was too long; true when its end was found.
    fn skip(&mut self, buf: &mut BytesMut) -> bool {
        match memchr(b'\n', buf) {
            Some(lf) => {
                buf.advance(lf + 1);
                self.skipping = false;
            }
            None => buf.clear(),
        }
        !self.skipping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> Line {
        Line::Line(Bytes::from_static(text.as_bytes()))
    }

    fn bare(text: &'static str) -> Line {
        Line::BareLf(Bytes::from_static(text.as_bytes()))
    }

    /// All lines of `input` when it comes in chunks of `step` octets.
    fn read(limit: usize, input: &[u8], step: usize) -> Vec<Line> {
        let (mut reader, mut buf, mut lines) = (LineReader::new(limit), BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buf.extend_from_slice(chunk);
            loop {
                match reader.next(&mut buf) {
                    Line::More => break,
                    found => lines.push(found),
                }
            }
            assert!(buf.len() <= limit + 1, "keeps {} octets with a limit of {limit}", buf.len());
        }
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let table: &[(&[u8], &[Line])] = &[
            (b"NOOP\r\nQUIT\r\n", &[line("NOOP"), line("QUIT")]),
            (b"NOOP\nQUIT\r\n", &[bare("NOOP"), line("QUIT")]),
            (b"\r\n\n", &[line(""), bare("")]),
            (b"a\rb\r\r\n", &[line("a\rb\r")]),
            (b"NOO", &[]),
            (b"12345678\r\nQUIT\r\n", &[line("12345678"), line("QUIT")]),
            (b"12345678\nQUIT\r\n", &[bare("12345678"), line("QUIT")]),
            (b"123456789\r\nQUIT\r\n", &[Line::TooLong, line("QUIT")]),
            (b"123456789\nQUIT\r\n", &[Line::TooLong, line("QUIT")]),
            (b"12345678\r\r\nQUIT\r\n", &[Line::TooLong, line("QUIT")]),
            (b"12345678901234567890\r\n12345678901\r\nA\r\n", &[Line::TooLong, Line::TooLong, line("A")]),
        ];
        for (input, expected) in table {
            for step in 1..=input.len() {
                assert_eq!(&read(8, input, step), expected, "{input:?} in chunks of {step}");
            }
        }
    }

    #[test]
    fn a_line_without_end_costs_nothing() {
        let (mut reader, mut buf) = (LineReader::new(4096), BytesMut::new());
        let mut reported = 0;
        for _ in 0..1000 {
            buf.extend_from_slice(&[b'A'; 8192]);
            reported += usize::from(reader.next(&mut buf) == Line::TooLong);
            assert!(buf.is_empty());
        }
        assert_eq!(reported, 1);
    }
}
