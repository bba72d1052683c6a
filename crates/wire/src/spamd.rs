//! The protocol of spamd, the SpamAssassin daemon, as its server speaks it: SPAMC/SPAMD 1.0 to 1.5.
//!
//! A client sends one request a connection: a line with the method and its version, header fields, an empty line, and
//! the message. The shapes of the answers depend on method and version; they are those of spamd 4.0.
//!
//! An error is one line without header fields and without the empty line that would end them. That is what spamd
//! does, and it matters: spamc looks at no status code, and only an answer cut short makes it give the message back as
//! it was (or, with `-x`, fail).

use std::fmt::{self, Write};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// Longest line of a request, in octets.
const LINE_LIMIT: usize = 8192;

/// Most header fields of a request, as many as spamd takes.
const MOST_FIELDS: usize = 256;

/// Longest text of the peer's that an error repeats, in characters.
const MOST_REPEATED: usize = 200;

/// The answer to [`Method::Ping`].
pub const PONG: &str = "SPAMD/1.5 0 PONG\r\n";

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Whether it is spam.
    Check,
    /// And which tests hit.
    Symbols,
    /// And a report for people.
    Report,
    /// And a report for people, if it is spam.
    ReportIfSpam,
    /// The header of the message with the changes made to it.
    Headers,
    /// The message with the changes made to it.
    Process,
    /// To have the message learned or forgotten, reported or revoked.
    Tell,
    /// A sign of life.
    Ping,
    /// Nothing: it has thought better of it.
    Skip,
}

impl Method {
    const NAMES: [(&'static str, Method); 9] = [
        ("CHECK", Method::Check),
        ("SYMBOLS", Method::Symbols),
        ("REPORT", Method::Report),
        ("REPORT_IFSPAM", Method::ReportIfSpam),
        ("HEADERS", Method::Headers),
        ("PROCESS", Method::Process),
        ("TELL", Method::Tell),
        ("PING", Method::Ping),
        ("SKIP", Method::Skip),
    ];

    /// Whether a message follows the request.
    pub fn has_message(self) -> bool {
        !matches!(self, Method::Ping | Method::Skip)
    }
}

/// A version of the protocol, in tenths: 15 is 1.5. Further decimals make no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// From tenths.
    pub const fn tenths(tenths: u32) -> Version {
        Version(tenths)
    }

    fn parse(text: &str) -> Option<Version> {
        let (whole, decimals) = text.trim().split_once('.')?;
        let digits = |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        Some(Version(whole * 10 + u32::from(decimals.as_bytes()[0] - b'0')))
    }
}

/// What a message is said to be, for [`Method::Tell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `spam`
    Spam,
    /// `ham`
    Ham,
}

/// Where something is to be learned or reported, or was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets {
    /// In our own memory.
    pub local: bool,
    /// With services that many share.
    pub remote: bool,
}

impl Targets {
    fn parse(value: &str) -> Targets {
        let value = value.to_ascii_lowercase();
        Targets { local: value.contains("local"), remote: value.contains("remote") }
    }

    fn names(self) -> &'static str {
        match (self.local, self.remote) {
            (true, true) => "local,remote",
            (true, false) => "local",
            (false, true) => "remote",
            (false, false) => "",
        }
    }
}

/// A request without its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is wanted.
    pub method: Method,
    /// How it is to be answered.
    pub version: Version,
    /// `User`: for whom; a name of the system or an address.
    pub user: Option<String>,
    /// `Content-length`: octets of the message as it is sent. None: all up to the end of the stream.
    pub length: Option<u64>,
    /// `Compress: zlib`: the message is sent as a zlib stream (RFC 1950).
    pub compressed: bool,
    /// `Message-class`
    pub class: Option<Class>,
    /// `Set`
    pub set: Targets,
    /// `Remove`
    pub remove: Targets,
}

/// Why a request gets no answer proper: sent to the client as [`Refusal::line`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// EX_PROTOCOL: it is not understood.
    Protocol(String),
    /// EX_UNAVAILABLE: what it asks for is not to be had.
    Unavailable(String),
    /// EX_TIMEOUT: it, or its answer, took too long.
    Timeout(String),
    /// EX_TEMPFAIL: not now. spamd itself says this of nothing; it is for a message that could not be checked.
    TemporaryFailure(String),
    /// EX_TOOBIG, by the number spamc's manual gives it. spamd itself has no limit.
    TooBig(String),
}

impl Refusal {
    /// The line that says so.
    pub fn line(&self) -> String {
        let (code, what, why) = match self {
            Refusal::Protocol(why) => (76, "Bad header line", why),
            Refusal::Unavailable(why) => (69, "Service Unavailable", why),
            Refusal::Timeout(why) => (79, "Timeout", why),
            Refusal::TemporaryFailure(why) => (75, "Temporary failure", why),
            Refusal::TooBig(why) => (98, "Message too big", why),
        };
        format!("SPAMD/1.0 {code} {what}: {}\r\n", repeated(why))
    }

    fn protocol(why: &str) -> Refusal {
        Refusal::Protocol(why.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line().trim_end())
    }
}

impl std::error::Error for Refusal {}

/// Reads the request that begins a connection.
#[derive(Debug, Default)]
pub struct RequestReader {
    request: Option<Request>,
    fields: usize,
}

impl RequestReader {
    /// A reader for one request.
    pub fn new() -> RequestReader {
        RequestReader::default()
    }

    /// Takes whole lines from the front of `buf`, up to the message; `None` while some are missing. With `ended`, what
    /// is there is all there will be. How the request is split over calls makes no difference.
    pub fn read(&mut self, buf: &mut BytesMut, ended: bool) -> Result<Option<Request>, Refusal> {
        loop {
            let Some(line) = self.line(buf, ended)? else { return Ok(None) };
            let done = match &mut self.request {
                None => {
                    let request = first_line(&line)?;
                    let done = !has_fields(&request);
                    self.request = Some(request);
                    done
                }
                Some(_) if line.is_empty() => true,
                Some(request) => {
                    self.fields += 1;
                    if self.fields > MOST_FIELDS {
                        return Err(Refusal::protocol("(too many headers)"));
                    }
                    field(request, &line)?;
                    false
                }
            };
            if done {
                return Ok(self.request.take());
            }
        }
    }

    fn line(&self, buf: &mut BytesMut, ended: bool) -> Result<Option<Bytes>, Refusal> {
        let window = buf.len().min(LINE_LIMIT + 1);
        let mut line = match memchr(b'\n', &buf[..window]) {
            Some(end) => {
                let line = buf.split_to(end);
                buf.advance(1);
                line
            }
            None if window > LINE_LIMIT => return Err(Refusal::protocol("(line too long)")),
            None if !ended => return Ok(None),
            None if !buf.is_empty() => buf.split(),
            None if self.request.is_none() => return Err(Refusal::protocol("(closed before headers)")),
            None => return Err(Refusal::protocol("(EOF during headers)")),
        };
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line.freeze()))
    }
}

/// `CHECK SPAMC/1.5`
fn first_line(line: &[u8]) -> Result<Request, Refusal> {
    let text = String::from_utf8_lossy(line);
    let unknown = || Refusal::Protocol(text.clone().into_owned());
    let (name, version) = text.split_once(" SPAMC/").ok_or_else(unknown)?;
    let method = Method::NAMES.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?.1;
    let version = Version::parse(version).ok_or_else(unknown)?;
    Ok(Request {
        method,
        version,
        user: None,
        length: None,
        compressed: false,
        class: None,
        set: Targets::default(),
        remove: Targets::default(),
    })
}

/// Header fields came with 1.1; PING and SKIP have them, and the empty line, since 1.5.
fn has_fields(request: &Request) -> bool {
    match request.method {
        Method::Ping | Method::Skip => request.version >= Version(15),
        Method::Tell => true,
        _ => request.version > Version(10),
    }
}

/// Names are compared as spamd compares them, with case; those that it does not know are for others.
fn field(request: &mut Request, line: &[u8]) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(line);
    let Some((name, value)) = text.split_once(':') else {
        return Err(Refusal::protocol("(header not in 'Name: value' format)"));
    };
    let value = value.trim_start_matches([' ', '\t']);
    match name {
        "Content-length" => {
            let number = value.parse().ok().filter(|_| value.bytes().all(|b| b.is_ascii_digit()));
            let not_numeric = || Refusal::protocol("(Content-Length contains non-numeric bytes)");
            request.length = Some(number.ok_or_else(not_numeric)?);
        }
        "User" if value.contains(char::is_control) => {
            return Err(Refusal::protocol("(User header contains control chars)"));
        }
        "User" => request.user = Some(value.trim_end().to_owned()).filter(|user| !user.is_empty()),
        "Compress" if value.to_ascii_lowercase().contains("zlib") => request.compressed = true,
        "Compress" => {
            return Err(Refusal::Protocol(format!("(compression type not supported: {})", repeated(value))));
        }
        "Message-class" => {
            request.class = Some(match value.trim_end().to_ascii_lowercase().as_str() {
                "spam" => Class::Spam,
                "ham" => Class::Ham,
                _ => return Err(Refusal::protocol("(Message-class header contains invalid class)")),
            });
        }
        "Set" => request.set = Targets::parse(value),
        "Remove" => request.remove = Targets::parse(value),
        _ => {}
    }
    Ok(())
}

/// Text of the peer's as an error repeats it: on one line, and no longer than needed to know it again.
fn repeated(text: &str) -> String {
    text.chars().take(MOST_REPEATED).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What a message scored, in tenths of a point, which is what the protocol shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Whether it is spam.
    pub spam: bool,
    /// Its points.
    pub points: i64,
    /// The points that make spam.
    pub threshold: i64,
}

impl Score {
    /// From thousandths. What is shown never contradicts `spam`, since there are clients that compare the two numbers
    /// themselves: spam shows at least the threshold, and what is none less than it.
    pub fn from_thousandths(spam: bool, points: i64, threshold: i64) -> Score {
        let (points, threshold) = (rounded(points), rounded(threshold));
        let points = if spam { points.max(threshold) } else { points.min(threshold.saturating_sub(1)) };
        Score { spam, points, threshold }
    }

    /// `Spam: True ; 15.0 / 5.0`. The word is another one in answers to [`Method::ReportIfSpam`], as it is spamd's.
    fn field(self, method: Method) -> String {
        let word = match (self.spam, method) {
            (true, Method::ReportIfSpam) => "Yes",
            (false, Method::ReportIfSpam) => "No",
            (true, _) => "True",
            (false, _) => "False",
        };
        format!("Spam: {word} ; {} / {}\r\n", tenths(self.points), tenths(self.threshold))
    }
}

/// Thousandths to tenths, half away from zero.
fn rounded(thousandths: i64) -> i64 {
    let half = if thousandths < 0 { -50 } else { 50 };
    thousandths.saturating_add(half) / 100
}

/// `-0.3`
fn tenths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{}", value / 10, value % 10)
}

/// The answer to a request about a message up to its body, which is of `length` octets: the message or its header, a
/// list of tests, a report; nothing for [`Method::Check`].
///
/// A list of tests is followed by a line break for clients older than 1.3, which have no length to go by: see
/// [`symbols`].
pub fn answer(request: &Request, score: Score, length: usize) -> String {
    let Request { method, version, .. } = *request;
    let mut head = String::from("SPAMD/1.1 0 EX_OK\r\n");
    let message = matches!(method, Method::Process | Method::Headers);
    if message && version < Version(12) {
        return "SPAMD/1.0 0 EX_OK\r\n".into();
    }
    if method != Method::Check && (message || version >= Version(13)) {
        // Writing to a String cannot fail.
        let _ = write!(head, "Content-length: {length}\r\n");
    }
    if !message || version >= Version(13) {
        head.push_str(&score.field(method));
    }
    head.push_str("\r\n");
    head
}

/// The body of an answer to [`Method::Symbols`].
pub fn symbols<'a>(request: &Request, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut list = names.into_iter().collect::<Vec<_>>().join(",");
    if request.version < Version(13) {
        list.push_str("\r\n");
    }
    list
}

/// The answer to [`Method::Tell`]: what was learned or reported, and what forgotten or revoked.
pub fn told(set: Targets, removed: Targets) -> String {
    let mut answer = String::from("SPAMD/1.1 0 EX_OK\r\n");
    for (name, targets) in [("DidSet", set), ("DidRemove", removed)] {
        if targets != Targets::default() {
            // Writing to a String cannot fail.
            let _ = write!(answer, "{name}: {}\r\n", targets.names());
        }
    }
    answer.push_str("\r\n\r\n");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, tenths: u32) -> Request {
        Request {
            method,
            version: Version(tenths),
            user: None,
            length: None,
            compressed: false,
            class: None,
            set: Targets::default(),
            remove: Targets::default(),
        }
    }

    /// Reads all of a stream that ends; what is left is the message.
    fn read(input: &[u8]) -> Result<(Request, Vec<u8>), String> {
        let mut buf = BytesMut::from(input);
        match RequestReader::new().read(&mut buf, true) {
            Ok(Some(request)) => Ok((request, buf.to_vec())),
            Ok(None) => Err("waits for more than there is".into()),
            Err(refusal) => Err(refusal.line()),
        }
    }

    #[test]
    fn requests() {
        let local = Targets { local: true, remote: false };
        let both = Targets { local: true, remote: true };
        let check = || request(Method::Check, 15);
        for (input, expected, rest) in [
            ("CHECK SPAMC/1.5\r\n\r\nmail", check(), "mail"),
            ("CHECK SPAMC/1.5\n\nmail", check(), "mail"),
            (
                "CHECK SPAMC/1.2\r\nContent-length: 4\r\n\r\nmail",
                Request { length: Some(4), ..request(Method::Check, 12) },
                "mail",
            ),
            ("REPORT_IFSPAM SPAMC/1.3\r\n\r\n", request(Method::ReportIfSpam, 13), ""),
            ("PROCESS SPAMC/1.0\r\nA: b", request(Method::Process, 10), "A: b"),
            ("CHECK SPAMC/2.05\r\n\r\n", request(Method::Check, 20), ""),
            ("PING SPAMC/1.2\r\n", request(Method::Ping, 12), ""),
            ("PING SPAMC/1.2", request(Method::Ping, 12), ""),
            ("PING SPAMC/1.5\r\n\r\n", request(Method::Ping, 15), ""),
            (
                "SKIP SPAMC/1.5\r\nUser: a\r\n\r\n",
                Request { user: Some("a".into()), ..request(Method::Skip, 15) },
                "",
            ),
            (
                "HEADERS SPAMC/1.5\r\nUser: alice@example.org \r\nCompress: zlib\r\nContent-length: 18446744073709551615\r\n\r\nx",
                Request {
                    user: Some("alice@example.org".into()),
                    compressed: true,
                    length: Some(u64::MAX),
                    ..request(Method::Headers, 15)
                },
                "x",
            ),
            ("CHECK SPAMC/1.5\r\nUser:\r\nX-Other: \x01\r\ncontent-length: x\r\n\r\n", check(), ""),
            (
                "TELL SPAMC/1.5\r\nMessage-class: spam\r\nSet: local, remote\r\n\r\n",
                Request { class: Some(Class::Spam), set: both, ..request(Method::Tell, 15) },
                "",
            ),
            (
                "TELL SPAMC/1.3\r\nMessage-class: Ham\r\nSet: LOCAL\r\nRemove: local\r\n\r\n",
                Request { class: Some(Class::Ham), set: local, remove: local, ..request(Method::Tell, 13) },
                "",
            ),
        ] {
            assert_eq!(read(input.as_bytes()), Ok((expected, rest.as_bytes().to_vec())), "{input:?}");
        }
    }

    /// What spamd 4.0.1 answers, byte for byte, save where a comment says that it is more lenient.
    #[test]
    fn requests_that_are_none() {
        for (input, line) in [
            ("", "(closed before headers)"),
            ("\r\n", ""),
            ("FOO\r\n", "FOO"),
            ("CHECK\r\n", "CHECK"),
            ("FOO SPAMC/1.2\r\n\r\n", "FOO SPAMC/1.2"),
            ("check SPAMC/1.2\r\n\r\n", "check SPAMC/1.2"),
            ("PING SPAMC/1.5\r\n", "(EOF during headers)"),
            ("CHECK SPAMC/1.5\r\nX: y\r\n", "(EOF during headers)"),
            ("CHECK SPAMC/1.5\r\nFoo\r\n\r\n", "(header not in 'Name: value' format)"),
            ("CHECK SPAMC/1.5\r\nContent-length: 5x\r\n\r\n", "(Content-Length contains non-numeric bytes)"),
            ("CHECK SPAMC/1.5\r\nUser: al\x01ice\r\n\r\n", "(User header contains control chars)"),
            ("CHECK SPAMC/1.5\r\nCompress: gzip\r\n\r\n", "(compression type not supported: gzip)"),
            // spamd takes these for requests, of version 0 where it is no number.
            ("xCHECK SPAMC/1.2\r\n\r\n", "xCHECK SPAMC/1.2"),
            ("CHECK SPAMC/abc\r\n\r\n", "CHECK SPAMC/abc"),
            ("CHECK SPAMC/1.+\r\n\r\n", "CHECK SPAMC/1.+"),
            // And these lengths for one that does not fit, and the class for any.
            ("CHECK SPAMC/1.5\r\nContent-length: \r\n\r\n", "(Content-Length contains non-numeric bytes)"),
            ("CHECK SPAMC/1.5\r\nContent-length: +5\r\n\r\n", "(Content-Length contains non-numeric bytes)"),
            (
                "CHECK SPAMC/1.5\r\nContent-length: 18446744073709551616\r\n\r\n",
                "(Content-Length contains non-numeric bytes)",
            ),
            ("TELL SPAMC/1.5\r\nMessage-class: foo\r\n\r\n", "(Message-class header contains invalid class)"),
            // What it repeats is no danger to a terminal.
            ("A\x1b[2J\r\n", "A?[2J"),
        ] {
            let expected = format!("SPAMD/1.0 76 Bad header line: {line}\r\n");
            assert_eq!(read(input.as_bytes()), Err(expected), "{input:?}");
        }
        let many = format!("CHECK SPAMC/1.5\r\n{}\r\n", "X: y\r\n".repeat(300));
        assert_eq!(read(many.as_bytes()), Err("SPAMD/1.0 76 Bad header line: (too many headers)\r\n".into()));
        let long = [b'x'; LINE_LIMIT + 1];
        let refused = RequestReader::new().read(&mut BytesMut::from(&long[..]), false);
        assert_eq!(refused, Err(Refusal::protocol("(line too long)")));
        let mut just_right = BytesMut::from(&long[..LINE_LIMIT]);
        assert_eq!(RequestReader::new().read(&mut just_right, false), Ok(None));
    }

    #[test]
    fn requests_arrive_in_pieces() {
        let input = b"PROCESS SPAMC/1.5\r\nUser: a\r\nContent-length: 4\r\n\r\nmail";
        for step in 1..=input.len() {
            let (mut buf, mut reader, mut requests) = (BytesMut::new(), RequestReader::new(), Vec::new());
            for chunk in input.chunks(step) {
                buf.extend_from_slice(chunk);
                if requests.is_empty() {
                    requests.extend(reader.read(&mut buf, false).unwrap());
                }
            }
            let expected =
                Request { user: Some("a".into()), length: Some(4), ..request(Method::Process, 15) };
            assert_eq!((requests, &buf[..]), (vec![expected], &b"mail"[..]), "in pieces of {step}");
        }
    }

    /// Recorded from spamd 4.0.1.
    #[test]
    fn answers_by_version() {
        use Method::*;
        let spam = Score::from_thousandths(true, 1_000_000, 5000);
        let ham = Score::from_thousandths(false, -300, 5000);
        let ok = "SPAMD/1.1 0 EX_OK\r\n";
        for (method, version, score, expected) in [
            (Check, 12, spam, format!("{ok}Spam: True ; 1000.0 / 5.0\r\n\r\n")),
            (Check, 15, ham, format!("{ok}Spam: False ; -0.3 / 5.0\r\n\r\n")),
            (Symbols, 12, ham, format!("{ok}Spam: False ; -0.3 / 5.0\r\n\r\n")),
            (Symbols, 13, ham, format!("{ok}Content-length: 7\r\nSpam: False ; -0.3 / 5.0\r\n\r\n")),
            (Report, 12, spam, format!("{ok}Spam: True ; 1000.0 / 5.0\r\n\r\n")),
            (Report, 15, spam, format!("{ok}Content-length: 7\r\nSpam: True ; 1000.0 / 5.0\r\n\r\n")),
            (ReportIfSpam, 12, ham, format!("{ok}Spam: No ; -0.3 / 5.0\r\n\r\n")),
            (ReportIfSpam, 15, spam, format!("{ok}Content-length: 7\r\nSpam: Yes ; 1000.0 / 5.0\r\n\r\n")),
            (Headers, 12, spam, format!("{ok}Content-length: 7\r\n\r\n")),
            (Process, 12, ham, format!("{ok}Content-length: 7\r\n\r\n")),
            (Process, 15, ham, format!("{ok}Content-length: 7\r\nSpam: False ; -0.3 / 5.0\r\n\r\n")),
            (Process, 11, spam, "SPAMD/1.0 0 EX_OK\r\n".into()),
        ] {
            assert_eq!(answer(&request(method, version), score, 7), expected, "{method:?} {version}");
        }
        assert_eq!(symbols(&request(Symbols, 12), ["A", "B"]), "A,B\r\n");
        assert_eq!(symbols(&request(Symbols, 13), ["A", "B"]), "A,B");
        assert_eq!(told(Targets::default(), Targets::default()), format!("{ok}\r\n\r\n"));
        let (local, both) = (Targets { local: true, remote: false }, Targets { local: true, remote: true });
        assert_eq!(told(both, local), format!("{ok}DidSet: local,remote\r\nDidRemove: local\r\n\r\n\r\n"));
    }

    #[test]
    fn what_is_shown_of_a_score_never_contradicts_the_word() {
        for (spam, points, threshold, shown) in [
            (true, 15_000, 5000, "True ; 15.0 / 5.0"),
            (true, 6310, 6310, "True ; 6.3 / 6.3"),
            (true, 0, 6310, "True ; 6.3 / 6.3"),
            (false, 6309, 6310, "False ; 6.2 / 6.3"),
            (false, 6260, 6310, "False ; 6.2 / 6.3"),
            (false, 6100, 6310, "False ; 6.1 / 6.3"),
            (false, -50, 5000, "False ; -0.1 / 5.0"),
            (false, -49, 5000, "False ; 0.0 / 5.0"),
            (false, i64::MIN, i64::MAX, "False ; -922337203685477.0 / 5.0"),
        ] {
            let score = Score::from_thousandths(spam, points, threshold);
            if threshold < i64::MAX {
                assert_eq!(score.field(Method::Check), format!("Spam: {shown}\r\n"));
            }
            assert_eq!(score.points >= score.threshold, spam, "{shown}");
        }
    }

    #[test]
    fn refusals_are_one_line_without_end_of_header() {
        for (refusal, line) in [
            (Refusal::protocol("x"), "SPAMD/1.0 76 Bad header line: x\r\n"),
            (Refusal::Unavailable("x".into()), "SPAMD/1.0 69 Service Unavailable: x\r\n"),
            (Refusal::Timeout("(x)".into()), "SPAMD/1.0 79 Timeout: (x)\r\n"),
            (Refusal::TemporaryFailure("x\r\n\r\n".into()), "SPAMD/1.0 75 Temporary failure: x????\r\n"),
            (Refusal::TooBig("x".into()), "SPAMD/1.0 98 Message too big: x\r\n"),
        ] {
            assert_eq!(refusal.line(), line);
        }
    }
}
