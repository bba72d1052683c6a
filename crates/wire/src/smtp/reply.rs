//! Replies: written by a server, read by a client (RFC 5321 4.2, enhanced codes of RFC 2034 and RFC 3463).

use std::fmt;

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest line of a reply that is written, CRLF included (RFC 5321 4.5.3.1.5).
const WRITE_LIMIT: usize = 512;
/// Longest line of a reply that is read, without CRLF: some servers put long addresses into their text.
const READ_LIMIT: usize = 4096;
/// Most lines of a reply that is read.
const LINES_LIMIT: usize = 128;

/// One reply: a code, an enhanced code, and one or more lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Enhanced status code such as `5.7.1`; empty when there is none.
    pub enhanced: String,
    /// Text of each line, without code and enhanced code; never empty in a reply that was made or read here.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply with the lines of `text`, which is split at LF.
    pub fn new(code: u16, enhanced: impl Into<String>, text: impl AsRef<str>) -> Reply {
        let lines = text.as_ref().split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect();
        Reply { code, enhanced: enhanced.into(), lines }
    }

    /// Reads a reply from text as it stands in a configuration or a log: `550 5.7.1 No`, lines parted by LF.
    ///
    /// Lines after the first may lack the code. `None` when the text does not begin with a code of 200 to 599.
    pub fn parse(text: &str) -> Option<Reply> {
        let mut lines = text.trim_end().lines();
        let (code, _, first) = split_code(lines.next()?)?;
        let mut reply = Reply { code, enhanced: String::new(), lines: vec![first.to_owned()] };
        for line in lines {
            let rest =
                split_code(line).filter(|(other, _, _)| *other == code).map_or(line, |(_, _, rest)| rest);
            reply.lines.push(rest.to_owned());
        }
        reply.split_enhanced();
        Some(reply)
    }

    /// 2xx: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: go on.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: try again later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: never.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The lines joined by spaces, for logs and records.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Appends the reply as it goes over the wire.
    ///
    /// Each line bears the code and the enhanced code and is at most 512 octets with its CRLF; longer text goes on in a
    /// further line. What is not printable ASCII is made harmless, so text from a peer can add no line. An enhanced code
    /// that is malformed or of another class than the code is left out; a code outside 200 to 599 becomes 451.
    pub fn write(&self, out: &mut Vec<u8>) {
        let code = if (200..600).contains(&self.code) { self.code } else { 451 };
        let enhanced = if is_enhanced(&self.enhanced, code) { self.enhanced.as_str() } else { "" };
        // Code, separator, enhanced code, space, CRLF.
        let room = WRITE_LIMIT - 4 - enhanced.len() - 1 - 2;
        let mut last = out.len();
        for line in &self.lines {
            let clean = harmless(line);
            for part in (Wrap { rest: Some(&clean), room }) {
                last = write_line(out, code, enhanced, part);
            }
        }
        if self.lines.is_empty() {
            last = write_line(out, code, enhanced, "");
        }
        // Written as continuations; the last one ends the reply.
        out[last + 3] = b' ';
    }

    /// Moves the enhanced code from the front of the lines into its field, where it has the code's class.
    fn split_enhanced(&mut self) {
        for line in &mut self.lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !is_enhanced(word, self.code) {
                continue;
            }
            if self.enhanced.is_empty() {
                self.enhanced = word.to_owned();
            }
            *line = rest.trim_start().to_owned();
        }
    }
}

/// As in a log: `550 5.7.1 First line Second line`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for word in std::iter::once(&self.enhanced).chain(&self.lines).filter(|w| !w.is_empty()) {
            write!(f, " {}", harmless(word))?;
        }
        Ok(())
    }
}

/// Why what a server sent is no reply. The connection is of no use afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyError {
    /// A line that does not begin with a code of 200 to 599 and a space, a hyphen or its end; the line's beginning.
    Malformed(String),
    /// A line longer than the limit, in octets.
    LineTooLong(usize),
    /// More lines than the limit.
    TooManyLines(usize),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Malformed(line) => write!(f, "not an SMTP reply: {line:?}"),
            ReplyError::LineTooLong(limit) => write!(f, "a reply's line is longer than {limit} octets"),
            ReplyError::TooManyLines(limit) => write!(f, "a reply has more than {limit} lines"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Reads the replies of a server, also multi-line ones, also those with LF alone.
///
/// When the lines of one reply bear different codes, the last line's counts, as in other mail servers.
#[derive(Debug)]
pub struct ReplyReader {
    line_limit: usize,
    lines_limit: usize,
    lines: Vec<String>,
}

impl Default for ReplyReader {
    fn default() -> ReplyReader {
        ReplyReader::new()
    }
}

impl ReplyReader {
    /// A reader with limits of 4096 octets a line and 128 lines a reply.
    pub fn new() -> ReplyReader {
        ReplyReader::with_limits(READ_LIMIT, LINES_LIMIT)
    }

    /// A reader with own limits: octets of a line without CRLF, and lines of a reply.
    pub fn with_limits(line: usize, lines: usize) -> ReplyReader {
        ReplyReader { line_limit: line, lines_limit: lines, lines: Vec::new() }
    }

    /// Takes one reply from the front of `buf`; `None` when it is not whole yet.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        while let Some(line) = self.line(buf)? {
            let Some((code, more, text)) = split_code(&line) else {
                return Err(ReplyError::Malformed(line.chars().take(80).collect()));
            };
            if self.lines.len() >= self.lines_limit {
                return Err(ReplyError::TooManyLines(self.lines_limit));
            }
            self.lines.push(text.to_owned());
            if !more {
                let mut reply =
                    Reply { code, enhanced: String::new(), lines: std::mem::take(&mut self.lines) };
                reply.split_enhanced();
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn line(&self, buf: &mut BytesMut) -> Result<Option<String>, ReplyError> {
        let window = buf.len().min(self.line_limit.saturating_add(2));
        let Some(lf) = memchr(b'\n', &buf[..window]) else {
            return if window < buf.len() { Err(ReplyError::LineTooLong(self.line_limit)) } else { Ok(None) };
        };
        let line = buf[..lf].strip_suffix(b"\r").unwrap_or(&buf[..lf]);
        if line.len() > self.line_limit {
            return Err(ReplyError::LineTooLong(self.line_limit));
        }
        let text = String::from_utf8_lossy(line).into_owned();
        buf.advance(lf + 1);
        Ok(Some(text))
    }
}

/// Code, whether more lines follow, and the text of one line.
fn split_code(line: &str) -> Option<(u16, bool, &str)> {
    let digits = line.get(..3)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let code: u16 = digits.parse().ok().filter(|code| (200..600).contains(code))?;
    let rest = &line[3..];
    match rest.as_bytes().first() {
        None => Some((code, false, "")),
        Some(b' ') => Some((code, false, &rest[1..])),
        Some(b'-') => Some((code, true, &rest[1..])),
        Some(_) => None,
    }
}

/// Whether `word` is an enhanced code of the class of `code`: `5.7.1` (RFC 3463 2).
fn is_enhanced(word: &str, code: u16) -> bool {
    let mut numbers = word.split('.');
    let class = matches!((numbers.next(), code / 100), (Some("2"), 2) | (Some("4"), 4) | (Some("5"), 5));
    let number = |n: Option<&str>| {
        n.is_some_and(|n| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
    };
    class && number(numbers.next()) && number(numbers.next()) && numbers.next().is_none()
}

/// `text` with a space for each control character and `?` for each character outside ASCII.
fn harmless(text: &str) -> String {
    let clean = |c: char| match c {
        ' '..='~' => c,
        c if c.is_ascii() => ' ',
        _ => '?',
    };
    text.chars().map(clean).collect()
}

/// Appends one line as a continuation and tells where it begins.
fn write_line(out: &mut Vec<u8>, code: u16, enhanced: &str, text: &str) -> usize {
    let begin = out.len();
    out.extend_from_slice(format!("{code}-").as_bytes());
    out.extend_from_slice(enhanced.as_bytes());
    if !enhanced.is_empty() && !text.is_empty() {
        out.push(b' ');
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
    begin
}

/// Splits ASCII text into parts of at most `room` octets, at a space where there is one.
struct Wrap<'a> {
    rest: Option<&'a str>,
    room: usize,
}

impl<'a> Iterator for Wrap<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        if rest.len() <= self.room {
            return Some(rest);
        }
        // A part begins with no space, so a space at 0 would make no progress.
        let cut = rest[..=self.room].rfind(' ').filter(|&at| at > 0).unwrap_or(self.room);
        let after = rest[cut..].trim_start();
        self.rest = (!after.is_empty()).then_some(after);
        Some(&rest[..cut])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = b"before".to_vec();
        reply.write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn written_as_it_goes_over_the_wire() {
        for (code, enhanced, text, expected) in [
            (250, "2.0.0", "OK", "250 2.0.0 OK\r\n"),
            (250, "", "", "250 \r\n"),
            (250, "2.0.0", "", "250 2.0.0\r\n"),
            (220, "", "mx.example ESMTP", "220 mx.example ESMTP\r\n"),
            (250, "", "mx.example\nPIPELINING\nSIZE 1", "250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1\r\n"),
            (550, "5.7.1", "No\r\nReally", "550-5.7.1 No\r\n550 5.7.1 Really\r\n"),
            (550, "5.7.1", "a\rb\tc\0d\u{e9}\u{2028}", "550 5.7.1 a b c d??\r\n"),
            (354, "", "Go on", "354 Go on\r\n"),
            // Enhanced codes that are none, or of another class.
            (550, "4.7.1", "x", "550 x\r\n"),
            (550, "5.7", "x", "550 x\r\n"),
            (550, "5.7.1\r\n250 2.0.0", "x", "550 x\r\n"),
            (550, "5.7.1234", "x", "550 x\r\n"),
            (99, "", "x", "451 x\r\n"),
        ] {
            assert_eq!(written(&Reply::new(code, enhanced, text)), expected);
        }
        assert_eq!(written(&Reply { code: 250, enhanced: String::new(), lines: Vec::new() }), "250 \r\n");
    }

    #[test]
    fn long_text_goes_on_in_further_lines() {
        let words = "word ".repeat(300);
        let solid = "x".repeat(1500);
        for text in [words.trim_end(), &solid] {
            let wire = written(&Reply::new(550, "5.7.1", text));
            assert!(wire.split_inclusive("\r\n").all(|l| l.len() <= 512), "{wire}");
            let text_again: String = wire.lines().map(|l| &l["550-5.7.1 ".len()..]).collect();
            assert_eq!(text_again.replace(' ', ""), text.replace(' ', ""));
            assert_eq!(wire.matches("550 5.7.1").count(), 1);
            assert!(wire.lines().last().unwrap().starts_with("550 "));
        }
        assert!(written(&Reply::new(550, "5.7.1", words.trim_end())).lines().all(|l| l.ends_with("word")));
    }

    type Outcome = Result<Vec<Reply>, ReplyError>;

    fn read(input: &[u8], step: usize) -> Outcome {
        let (mut reader, mut buf, mut replies) =
            (ReplyReader::with_limits(20, 3), BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buf.extend_from_slice(chunk);
            while let Some(reply) = reader.next(&mut buf)? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    fn reply(code: u16, enhanced: &str, lines: &[&str]) -> Reply {
        Reply { code, enhanced: enhanced.into(), lines: lines.iter().map(|l| (*l).to_owned()).collect() }
    }

    #[test]
    fn read_from_a_server() {
        let malformed = |text: &str| Err(ReplyError::Malformed(text.into()));
        let table: &[(&[u8], Outcome)] = &[
            (b"220 hello\r\n", Ok(vec![reply(220, "", &["hello"])])),
            (b"250 2.1.0 Ok\r\n", Ok(vec![reply(250, "2.1.0", &["Ok"])])),
            (b"250-a\r\n250-b\r\n250 c\r\n", Ok(vec![reply(250, "", &["a", "b", "c"])])),
            (b"550-5.1.1 a\n550 5.1.1 b\n", Ok(vec![reply(550, "5.1.1", &["a", "b"])])),
            (b"550-a\r\n550 5.1.1\r\n", Ok(vec![reply(550, "5.1.1", &["a", ""])])),
            (b"250 5.1.1 a\r\n", Ok(vec![reply(250, "", &["5.1.1 a"])])),
            (b"250\r\n354 go\r\n", Ok(vec![reply(250, "", &[""]), reply(354, "", &["go"])])),
            (b"250-a\r\n451 b\r\n", Ok(vec![reply(451, "", &["a", "b"])])),
            (b"250 \xff\r\n", Ok(vec![reply(250, "", &["\u{fffd}"])])),
            (b"250-a\r\n", Ok(vec![])),
            (b"25", Ok(vec![])),
            (b"\r\n", malformed("")),
            (b"hello\r\n", malformed("hello")),
            (b"250ok\r\n", malformed("250ok")),
            (b"150 a\r\n", malformed("150 a")),
            (b"600 a\r\n", malformed("600 a")),
            (b"+50 a\r\n", malformed("+50 a")),
            (b"\xe9\xe9 a\r\n", malformed("\u{fffd}\u{fffd} a")),
            (b"250 78901234567890\r\n", Ok(vec![reply(250, "", &["78901234567890"])])),
            (b"250 567890123456789012345\r\n", Err(ReplyError::LineTooLong(20))),
            (b"250 5678901234567890123456789", Err(ReplyError::LineTooLong(20))),
            (b"250-a\r\n250-a\r\n250-a\r\n250-a\r\n", Err(ReplyError::TooManyLines(3))),
        ];
        for (input, expected) in table {
            for step in 1..=input.len() {
                assert_eq!(&read(input, step), expected, "{} in chunks of {step}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn parsed_from_text() {
        for (text, expected) in [
            ("550 5.7.1 No", Some(reply(550, "5.7.1", &["No"]))),
            ("250 OK\r\n", Some(reply(250, "", &["OK"]))),
            ("550-5.7.1 a\r\n550 5.7.1 b", Some(reply(550, "5.7.1", &["a", "b"]))),
            ("550 5.7.1 a\nb", Some(reply(550, "5.7.1", &["a", "b"]))),
            ("421", Some(reply(421, "", &[""]))),
            ("", None),
            ("No", None),
            ("55 x", None),
            ("5500 x", None),
        ] {
            assert_eq!(Reply::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn classes_and_display() {
        for (code, class) in [(250, 0), (354, 1), (451, 2), (550, 3)] {
            let reply = Reply::new(code, "", "x");
            let classes =
                [reply.is_positive(), reply.is_intermediate(), reply.is_transient(), reply.is_permanent()];
            assert_eq!(classes.iter().position(|&c| c), Some(class));
            assert_eq!(classes.iter().filter(|&&c| c).count(), 1);
        }
        let reply = Reply::new(550, "5.7.1", "a\nb\u{7}c");
        assert_eq!(reply.to_string(), "550 5.7.1 a b c");
        assert_eq!(reply.text(), "a b\u{7}c");
    }
}
