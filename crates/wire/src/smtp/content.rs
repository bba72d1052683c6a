//! Message content on its way in: after DATA, in BDAT chunks, and from files.
//!
//! Only CRLF ends a line, and only CRLF.CRLF ends the content after DATA (RFC 5321 2.3.8, 4.1.1.4). A server that takes
//! anything else for an end can be made to read one message as two, the second under a false sender ("SMTP smuggling").
//! So that no later server is deceived either, stray line ends do not go through: a bare LF becomes CRLF, a stray CR
//! becomes a space, and a line that holds a lone dot is stuffed again by whoever sends it on.

use std::borrow::Cow;

use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr_iter, memchr3, memmem};

/// What the caller means to do about stray CR and LF. The content that comes out is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// Take the message as normalised.
    Normalize,
    /// Refuse the message once it was read: see [`StrayReport::refused`].
    Refuse,
}

/// What was seen in one message's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrayReport {
    /// LF without CR before it.
    pub bare_lf: u64,
    /// CR without LF after it.
    pub bare_cr: u64,
    /// NUL octets, which have no place in a message (RFC 5322 3.5).
    pub nul: u64,
    /// Lines of a single dot, NUL left aside, that a lax server could take for the end although it is none: attempts to
    /// smuggle.
    pub lone_dot: u64,
    /// Octets of decoded content, those past the limit included.
    pub size: u64,
    /// Whether `size` is over the limit; the content past the limit was thrown away.
    pub over_limit: bool,
    /// Octets of the longest line, without CRLF (RFC 5321 4.5.3.1.6 allows 998).
    pub longest_line: u64,
    /// Whether there were stray line ends or lone dots and the caller had asked for [`Stray::Refuse`].
    pub refused: bool,
}

/// Decodes the content after DATA.
#[derive(Debug)]
pub struct DataDecoder {
    core: Core,
}

impl DataDecoder {
    /// A decoder for one message of at most `limit` octets, counted decoded.
    pub fn new(limit: u64, stray: Stray) -> DataDecoder {
        DataDecoder { core: Core::new(limit, stray, State::LineStart) }
    }

    /// Takes content from `buf` and appends it decoded to `out`: lines end in CRLF, stuffing is undone.
    ///
    /// True when the end was reached; what is left in `buf` is then the next command. Otherwise all of `buf` was taken.
    /// How the content is split over calls makes no difference to what comes out.
    pub fn decode(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> bool {
        let taken = self.core.push(buf, out);
        buf.advance(taken);
        self.core.state == State::End
    }

    /// What was seen so far; final once the end was reached.
    pub fn report(&self) -> &StrayReport {
        &self.core.report
    }
}

/// Decodes the content of a message that comes in BDAT chunks (RFC 3030): no stuffing, lengths instead of an end.
#[derive(Debug)]
pub struct BdatDecoder {
    core: Core,
    left: u64,
}

impl BdatDecoder {
    /// A decoder for one message of at most `limit` octets, counted decoded.
    pub fn new(limit: u64, stray: Stray) -> BdatDecoder {
        BdatDecoder { core: Core::new(limit, stray, State::Text), left: 0 }
    }

    /// Begins a chunk of `size` octets.
    pub fn begin(&mut self, size: u64) {
        self.left = size;
    }

    /// Takes octets of the chunk from `buf` and appends them to `out`, as [`DataDecoder::decode`] without stuffing.
    ///
    /// True when the chunk is complete; what is left in `buf` is then the next command.
    pub fn decode(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> bool {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        self.core.push(&buf[..here], out);
        buf.advance(here);
        self.left -= here as u64;
        self.left == 0
    }

    /// Ends the message after the last chunk: a CR at the very end is a stray one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.core.finish(out);
    }

    /// What was seen so far; final after [`BdatDecoder::finish`].
    pub fn report(&self) -> &StrayReport {
        &self.core.report
    }
}

/// Normalises content that is whole and not stuffed: from a file, from a milter, from a BDAT chunk.
///
/// Borrowed when there was nothing to change.
pub fn normalize(content: &[u8], stray: Stray) -> (Cow<'_, [u8]>, StrayReport) {
    // A limit of nothing: looks, and copies nothing. Most content is clean.
    let look = whole(content, 0, stray, &mut Vec::new());
    if look.bare_lf == 0 && look.bare_cr == 0 && look.nul == 0 {
        return (Cow::Borrowed(content), StrayReport { over_limit: false, ..look });
    }
    let mut out = Vec::with_capacity(content.len());
    let report = whole(content, u64::MAX, stray, &mut out);
    (if out == content { Cow::Borrowed(content) } else { Cow::Owned(out) }, report)
}

fn whole(content: &[u8], limit: u64, stray: Stray, out: &mut Vec<u8>) -> StrayReport {
    let mut core = Core::new(limit, stray, State::Text);
    core.push(content, out);
    core.finish(out);
    core.report
}

/// Content of a file as on the wire: where no line ends in CRLF, each LF becomes CRLF.
///
/// A file that holds a CRLF anywhere is left alone; its bare LFs are for [`normalize`] to find.
pub fn from_unix(content: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\n', content).is_none() || memmem::find(content, b"\r\n").is_some() {
        return Cow::Borrowed(content);
    }
    let mut out = Vec::with_capacity(content.len() + memchr_iter(b'\n', content).count());
    let mut from = 0;
    for lf in memchr_iter(b'\n', content) {
        out.extend_from_slice(&content[from..lf]);
        out.extend_from_slice(b"\r\n");
        from = lf + 1;
    }
    out.extend_from_slice(&content[from..]);
    Cow::Owned(out)
}

/// NULs at the beginning of a line that are held back at most; a longer run is written as spaces.
const HELD_LIMIT: u64 = 1024;

/// Where in the content the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Right after CRLF or at the beginning, where stuffing is in use: a dot is special.
    LineStart,
    /// After CRLF and a dot.
    Dot,
    /// After CRLF, a dot and CR.
    DotCr,
    /// Anywhere else.
    Text,
    /// After a CR whose next octet is not known yet.
    Cr,
    /// After the end.
    End,
}

/// What stands since the last CR, LF or CRLF, NUL left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    OneDot,
    Other,
}

#[derive(Debug)]
struct Core {
    limit: u64,
    stray: Stray,
    stuffed: bool,
    state: State,
    since: Since,
    /// Whether the line was begun by something else than CRLF, or holds a NUL.
    odd: bool,
    /// Octets in the current line of the output.
    line: u64,
    /// NULs at the beginning of a line of the output that were not written yet.
    held: u64,
    report: StrayReport,
}

impl Core {
    fn new(limit: u64, stray: Stray, state: State) -> Core {
        let stuffed = state == State::LineStart;
        let (since, report) = (Since::Nothing, StrayReport::default());
        Core { limit, stray, stuffed, state, since, odd: false, line: 0, held: 0, report }
    }

    /// Takes octets until the end of the content or of `input`; tells how many.
    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < input.len() && self.state != State::End {
            at += match self.run(&input[at..], out) {
                0 => {
                    self.step(input[at], out);
                    1
                }
                length => length,
            };
        }
        at
    }

    /// Copies ordinary lines in bulk: up to the first octet that needs a look. Tells how many octets it took.
    fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let plain = matches!(self.state, State::LineStart | State::Text) && self.held == 0;
        if !plain || matches!(input[0], b'.' | b'\r' | b'\n' | 0) {
            return 0;
        }
        let (mut line, mut end) = (0, 0);
        loop {
            let Some(found) = memchr3(b'\r', b'\n', 0, &input[end..]) else {
                end = input.len();
                break;
            };
            end += found;
            if input[end] != b'\r' || input.get(end + 1) != Some(&b'\n') {
                break;
            }
            self.line += (end - line) as u64;
            self.end_line();
            end += 2;
            line = end;
            if input.get(end).is_none_or(|&next| next == b'.') {
                break;
            }
        }
        if line == end {
            self.at_line_start();
        } else {
            self.line += (end - line) as u64;
            (self.state, self.since, self.odd) = (State::Text, Since::Other, false);
        }
        self.emit(&input[..end], out);
        end
    }

    /// Takes one octet.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.state, octet) {
            (State::DotCr, b'\n') => {
                self.state = State::End;
                return;
            }
            (State::Cr, b'\n') => return self.crlf(out),
            (State::DotCr | State::Cr, _) => self.stray_cr(out),
            (State::LineStart, b'.') => {
                // The dot that stuffing put here, or the end: not written in either case.
                (self.state, self.since) = (State::Dot, Since::OneDot);
                return;
            }
            (State::Dot, b'\r') => {
                self.state = State::DotCr;
                return;
            }
            _ => {}
        }
        match octet {
            b'\r' => self.state = State::Cr,
            b'\n' => {
                self.report.bare_lf += 1;
                self.lone_dot(true);
                self.write_line_end(out);
                self.at_line_start();
                // Only CRLF makes a dot special; and a line begun by a bare LF must not pass for an ordinary one.
                (self.state, self.odd) = (State::Text, true);
            }
            0 => {
                self.report.nul += 1;
                self.odd = true;
                self.state = State::Text;
                self.nul(out);
            }
            _ => {
                self.since =
                    if octet == b'.' && self.since == Since::Nothing { Since::OneDot } else { Since::Other };
                self.state = State::Text;
                self.release_nuls(octet, out);
                self.text(octet, out);
            }
        }
    }

    fn crlf(&mut self, out: &mut Vec<u8>) {
        self.lone_dot(self.odd);
        self.write_line_end(out);
        self.at_line_start();
    }

    /// A CR that no LF followed.
    fn stray_cr(&mut self, out: &mut Vec<u8>) {
        self.report.bare_cr += 1;
        self.lone_dot(true);
        self.release_nuls(b' ', out);
        self.text(b' ', out);
        (self.state, self.since, self.odd) = (State::Text, Since::Nothing, true);
    }

    /// Counts the line that ends here if a lax server could have seen an end in it.
    fn lone_dot(&mut self, odd: bool) {
        if self.since == Since::OneDot && odd {
            self.report.lone_dot += 1;
        }
        if self.stray == Stray::Refuse {
            self.report.refused = self.report.bare_cr + self.report.bare_lf + self.report.lone_dot > 0;
        }
    }

    /// Holds a NUL back at the beginning of a line, for [`Core::release_nuls`]; elsewhere it is text.
    fn nul(&mut self, out: &mut Vec<u8>) {
        if self.line != self.held {
            return self.text(0, out);
        }
        self.line += 1;
        self.held += 1;
        if self.held == HELD_LIMIT {
            self.release_nuls(b'.', out);
        }
    }

    fn text(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.line += 1;
        self.emit(&[octet], out);
    }

    /// Writes NULs that were held back at the beginning of a line, as spaces where a dot follows: a server that drops
    /// NULs would else see a dot at the beginning of a line that nobody stuffed.
    fn release_nuls(&mut self, next: u8, out: &mut Vec<u8>) {
        const BLOCK: usize = 64;
        let block = if next == b'.' { [b' '; BLOCK] } else { [0; BLOCK] };
        while self.held > 0 {
            let length = self.held.min(BLOCK as u64);
            self.emit(&block[..length as usize], out);
            self.held -= length;
        }
    }

    fn write_line_end(&mut self, out: &mut Vec<u8>) {
        self.release_nuls(b'\r', out);
        self.end_line();
        self.emit(b"\r\n", out);
    }

    fn end_line(&mut self) {
        self.report.longest_line = self.report.longest_line.max(self.line);
        self.line = 0;
    }

    fn at_line_start(&mut self) {
        self.state = if self.stuffed { State::LineStart } else { State::Text };
        (self.since, self.odd) = (Since::Nothing, false);
    }

    /// Appends decoded octets as far as the limit allows.
    fn emit(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let room = self.limit.saturating_sub(self.report.size);
        self.report.size = self.report.size.saturating_add(octets.len() as u64);
        if octets.len() as u64 <= room {
            out.extend_from_slice(octets);
        } else {
            self.report.over_limit = true;
            out.extend_from_slice(&octets[..room as usize]);
        }
    }

    /// The content ends here without an end of its own.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Cr {
            self.stray_cr(out);
        }
        self.release_nuls(b'\r', out);
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `content`, CRLF.CRLF and a next command, in chunks of `step` octets.
    fn decode(content: &[u8], limit: u64, stray: Stray, step: usize) -> (Vec<u8>, StrayReport) {
        let input = [content, b"\r\n.\r\nQUIT\r\n"].concat();
        let (mut decoder, mut buf, mut out) = (DataDecoder::new(limit, stray), BytesMut::new(), Vec::new());
        let mut ended = false;
        for chunk in input.chunks(step) {
            buf.extend_from_slice(chunk);
            ended = ended || decoder.decode(&mut buf, &mut out);
            assert!(ended || buf.is_empty(), "left octets before the end of {content:?}");
        }
        assert!(ended, "no end in {content:?}");
        assert_eq!(&buf[..], b"QUIT\r\n", "the end of {content:?}");
        (out, decoder.report().clone())
    }

    /// What precedes the real end, what comes out (without its last CRLF), and bare LF, bare CR, NUL, lone dots.
    type Row = (&'static [u8], &'static [u8], [u64; 4]);

    const SMUGGLING: &[Row] = &[
        // Ordinary content.
        (b"a", b"a", [0, 0, 0, 0]),
        (b"a\r\n\r\nb", b"a\r\n\r\nb", [0, 0, 0, 0]),
        (b"..", b".", [0, 0, 0, 0]),
        (b"a\r\n..", b"a\r\n.", [0, 0, 0, 0]),
        (b"a\r\n..b\r\n...\r\n.c", b"a\r\n.b\r\n..\r\nc", [0, 0, 0, 0]),
        (b"a.\r\nb .", b"a.\r\nb .", [0, 0, 0, 0]),
        // Ends that are none: each with LF, CR, CRLF or NUL in the wrong place.
        (b"a\n.\nb", b"a\r\n.\r\nb", [2, 0, 0, 1]),
        (b"a\n.\r\nb", b"a\r\n.\r\nb", [1, 0, 0, 1]),
        (b"a\r\n.\nb", b"a\r\n\r\nb", [1, 0, 0, 1]),
        (b"a\r.\rb", b"a . b", [0, 2, 0, 1]),
        (b"a\r.\r\nb", b"a .\r\nb", [0, 1, 0, 1]),
        (b"a\r\n.\rb", b"a\r\n b", [0, 1, 0, 1]),
        (b"a\r\n.\r\r\nb", b"a\r\n \r\nb", [0, 1, 0, 1]),
        (b"a\r.\nb", b"a .\r\nb", [1, 1, 0, 1]),
        (b"a\n.\rb", b"a\r\n. b", [1, 1, 0, 1]),
        (b"a\r\r\n.\nb", b"a \r\n\r\nb", [1, 1, 0, 1]),
        (b"a\n\r.\n\rb", b"a\r\n .\r\n b", [2, 2, 0, 1]),
        (b"a\r\n\0.\r\nb", b"a\r\n .\r\nb", [0, 0, 1, 1]),
        (b"a\r\n\0\0.\r\nb", b"a\r\n  .\r\nb", [0, 0, 2, 1]),
        (b"a\r\n.\0\r\nb", b"a\r\n\0\r\nb", [0, 0, 1, 1]),
        (b"a\r\n.\r\0\nb", b"a\r\n \0\r\nb", [1, 1, 1, 1]),
        (b"a\r\0\n.\r\nb", b"a \0\r\n.\r\nb", [1, 1, 1, 1]),
        (b"a\r\n.\0.\r\nb", b"a\r\n .\r\nb", [0, 0, 1, 0]),
        (b"a\n\0.\nb", b"a\r\n .\r\nb", [2, 0, 1, 1]),
        // At the very beginning, where DATA's own CRLF counts.
        (b".\nb", b"\r\nb", [1, 0, 0, 1]),
        (b"\n.\r\nb", b"\r\n.\r\nb", [1, 0, 0, 1]),
        (b"\0.\r\nb", b" .\r\nb", [0, 0, 1, 1]),
        // Stray octets without a dot; a dot after a stray one is no stuffing.
        (b"a\nb", b"a\r\nb", [1, 0, 0, 0]),
        (b"a\rb\r", b"a b ", [0, 2, 0, 0]),
        (b"a\r\r\r\nb", b"a  \r\nb", [0, 2, 0, 0]),
        (b"a\n..\nb", b"a\r\n..\r\nb", [2, 0, 0, 0]),
        (b"a\n.b", b"a\r\n.b", [1, 0, 0, 0]),
        (b"\0\0a\0", b"\0\0a\0", [0, 0, 3, 0]),
        (b"\n\n", b"\r\n\r\n", [2, 0, 0, 0]),
    ];

    #[test]
    fn only_crlf_dot_crlf_ends_the_content() {
        for (content, expected, counts) in SMUGGLING {
            for step in 1..=content.len() + 3 {
                let (out, report) = decode(content, 1000, Stray::Normalize, step);
                let expected = [expected, &b"\r\n"[..]].concat();
                assert_eq!(out, expected, "{:?}", content.escape_ascii().to_string());
                let seen = [report.bare_lf, report.bare_cr, report.nul, report.lone_dot];
                assert_eq!(&seen, counts, "{:?}", content.escape_ascii().to_string());
                assert_eq!(report.size, out.len() as u64);
                assert!(!report.refused && !report.over_limit);
            }
        }
    }

    #[test]
    fn refusing_reads_to_the_same_end() {
        for (content, _, [bare_lf, bare_cr, nul, lone_dot]) in SMUGGLING {
            let (normalized, report) = decode(content, 1000, Stray::Normalize, 1);
            let (out, refusing) = decode(content, 1000, Stray::Refuse, 3);
            assert_eq!(out, normalized);
            assert_eq!(refusing.refused, bare_lf + bare_cr + lone_dot > 0, "{content:?} with {nul} NUL");
            assert_eq!(StrayReport { refused: false, ..refusing }, report);
        }
    }

    #[test]
    fn empty_content() {
        let (mut decoder, mut out) = (DataDecoder::new(10, Stray::Refuse), Vec::new());
        let mut buf = BytesMut::from(&b".\r\nNOOP\r\n"[..]);
        assert!(decoder.decode(&mut buf, &mut out));
        assert_eq!((&out[..], &buf[..]), (&b""[..], &b"NOOP\r\n"[..]));
        assert_eq!(decoder.report(), &StrayReport::default());
        // After the end nothing more is taken.
        assert!(decoder.decode(&mut buf, &mut out));
        assert_eq!(&buf[..], b"NOOP\r\n");
    }

    #[test]
    fn content_past_the_limit_is_counted_and_thrown_away() {
        for step in 1..20 {
            let (out, report) = decode(b"12345\r\n..789\r\nabc", 9, Stray::Normalize, step);
            assert_eq!(out, b"12345\r\n.7");
            assert_eq!((report.size, report.over_limit, report.longest_line), (18, true, 5));
            let (out, report) = decode(b"1234567", 9, Stray::Normalize, step);
            assert_eq!((out.len(), report.size, report.over_limit), (9, 9, false));
        }
    }

    #[test]
    fn a_flood_of_nul_is_not_held_back() {
        let (mut decoder, mut out) = (DataDecoder::new(u64::MAX, Stray::Normalize), Vec::new());
        let mut buf = BytesMut::from(&[0; 5000][..]);
        assert!(!decoder.decode(&mut buf, &mut out));
        assert_eq!(out.len(), 5000);
        assert!(out[..1024].iter().all(|&b| b == b' ') && out[1024..].iter().all(|&b| b == 0));
    }

    #[test]
    fn longest_line_counts_decoded_octets() {
        for (content, longest) in
            [(&b"..bc\r\nde"[..], 3), (b"a\nbcd", 3), (b"ab\rcd", 5), (b"\0\0\0", 3), (b"", 0)]
        {
            assert_eq!(decode(content, 100, Stray::Normalize, 2).1.longest_line, longest, "{content:?}");
        }
    }

    #[test]
    fn bdat_chunks_are_taken_by_length() {
        let chunks: &[&[u8]] = &[b"a\r\n.\r", b"\n..b\n", b"", b"c\r"];
        let (mut decoder, mut out) = (BdatDecoder::new(100, Stray::Refuse), Vec::new());
        for chunk in chunks {
            let mut buf = BytesMut::new();
            decoder.begin(chunk.len() as u64);
            for octet in *chunk {
                assert!(!decoder.decode(&mut buf, &mut out));
                buf.extend_from_slice(&[*octet]);
            }
            buf.extend_from_slice(b"BDAT 1\r\n");
            assert!(decoder.decode(&mut buf, &mut out));
            assert_eq!(&buf[..], b"BDAT 1\r\n");
        }
        decoder.finish(&mut out);
        assert_eq!(out, b"a\r\n.\r\n..b\r\nc ");
        let report = decoder.report();
        assert_eq!((report.bare_lf, report.bare_cr, report.lone_dot, report.refused), (1, 1, 0, true));
    }

    #[test]
    fn whole_content() {
        for (content, expected, lone_dot) in [
            (&b"a\r\n.\r\nb"[..], None, 0),
            (b"", None, 0),
            (b"\0a", None, 0),
            (b"a\n.\nb", Some(&b"a\r\n.\r\nb"[..]), 1),
            (b"a\r\n\0.b\r", Some(b"a\r\n .b "), 0),
            (b"a\r\n\0", None, 0),
        ] {
            let (out, report) = normalize(content, Stray::Normalize);
            assert_eq!(matches!(out, Cow::Owned(_)), expected.is_some(), "{content:?}");
            assert_eq!(&out[..], expected.unwrap_or(content));
            assert_eq!(
                (report.lone_dot, report.size, report.over_limit),
                (lone_dot, out.len() as u64, false)
            );
        }
    }

    #[test]
    fn unix_files() {
        for (content, expected) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"\n\na", b"\r\n\r\na"),
            (b"a\rb\n", b"a\rb\r\n"),
            (b"a\r\nb\n", b"a\r\nb\n"),
            (b"a", b"a"),
        ] {
            assert_eq!(&from_unix(content)[..], expected);
        }
        assert!(matches!(from_unix(b"a\r\nb\n"), Cow::Borrowed(_)));
    }
}
