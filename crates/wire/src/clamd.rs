//! The protocol of clamd, the ClamAV daemon (clamd(8), "COMMANDS").
//!
//! Commands are sent in their `z` form, which ends in NUL. Within a session (`IDSESSION`) each answer bears the number
//! of its command, counted from 1, and answers may come in any order.

use std::fmt;

use bytes::{Buf, BytesMut};
use memchr::memchr2;

/// Begins a session: further commands come on the same connection and are numbered.
pub const ID_SESSION: &[u8] = b"zIDSESSION\0";
/// Ends a session.
pub const END: &[u8] = b"zEND\0";
/// Asks for [`Answer::Pong`].
pub const PING: &[u8] = b"zPING\0";
/// Asks for [`Answer::Version`].
pub const VERSION: &[u8] = b"zVERSION\0";
/// Has the signatures read again; asks for [`Answer::Reloading`]. Not in a session.
pub const RELOAD: &[u8] = b"zRELOAD\0";
/// Announces content, sent as frames ([`frame_header`]) and ended by [`END_OF_STREAM`].
pub const INSTREAM: &[u8] = b"zINSTREAM\0";
/// Announces an open file, passed over a unix socket as ancillary data along with one octet of any value.
pub const FILDES: &[u8] = b"zFILDES\0";
/// The frame of no octets that ends a stream.
pub const END_OF_STREAM: [u8; 4] = [0; 4];

/// Longest answer taken, in octets: a number, a path, and the name of a signature.
const ANSWER_LIMIT: usize = 8192;

/// What is sent before `length` octets of a stream. An empty frame would end the stream, so `length` must not be 0.
pub fn frame_header(length: u32) -> [u8; 4] {
    length.to_be_bytes()
}

/// Appends a whole INSTREAM command with `content` to `out`, in frames of at most `frame` octets.
pub fn instream(content: &[u8], frame: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(INSTREAM);
    for chunk in content.chunks(frame.max(1) as usize) {
        out.extend_from_slice(&frame_header(chunk.len() as u32));
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(&END_OF_STREAM);
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `OK`: nothing was found.
    Clean,
    /// `FOUND`: the name of the signature.
    Found(String),
    /// `ERROR`, or an answer of no known form, which must never pass for clean: the text without the word.
    Error(String),
    /// `PONG`.
    Pong,
    /// `RELOADING`.
    Reloading,
    /// `ClamAV 1.4.2/27500/Thu Jan  2 09:37:08 2025`: engine, version and date of the signatures.
    Version(String),
}

impl Answer {
    /// Whether clamd refused a stream because it is longer than its `StreamMaxLength`.
    pub fn is_stream_limit(&self) -> bool {
        matches!(self, Answer::Error(text) if text.starts_with("INSTREAM size limit exceeded"))
    }
}

/// An answer with the number of its command; `None` outside a session, and for errors of the session itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The number of the command, from 1.
    pub id: Option<u32>,
    /// The answer.
    pub answer: Answer,
}

/// An answer is longer than 8192 octets. The connection is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTooLong;

impl fmt::Display for AnswerTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an answer of clamd is longer than {ANSWER_LIMIT} octets")
    }
}

impl std::error::Error for AnswerTooLong {}

/// Takes one answer from the front of `buf`; `None` when it is not whole yet.
///
/// An answer ends in NUL, or in LF as clamd writes when it gives up before it has read a command.
pub fn read_answer(buf: &mut BytesMut) -> Result<Option<Numbered>, AnswerTooLong> {
    loop {
        let window = buf.len().min(ANSWER_LIMIT + 1);
        let Some(end) = memchr2(0, b'\n', &buf[..window]) else {
            return if window < buf.len() { Err(AnswerTooLong) } else { Ok(None) };
        };
        let text = String::from_utf8_lossy(&buf[..end]).into_owned();
        buf.advance(end + 1);
        if !text.is_empty() {
            return Ok(Some(parse_answer(&text)));
        }
    }
}

/// Reads one answer, given without its end.
pub fn parse_answer(text: &str) -> Numbered {
    let (id, rest) = match text.split_once(": ") {
        Some((number, rest)) if is_number(number) => match number.parse() {
            Ok(id) => (Some(id), rest),
            Err(_) => (None, text),
        },
        _ => (None, text),
    };
    let rest: String = rest.chars().filter(|c| !c.is_control()).collect();
    Numbered { id, answer: answer(rest.trim()) }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn answer(text: &str) -> Answer {
    // The object's name is `stream`, `fd[12]` or a path and may itself hold a colon; a signature's name does not.
    if text.ends_with(": OK") {
        return Answer::Clean;
    }
    if let Some(found) = text.strip_suffix(" FOUND") {
        let name = found.rsplit_once(": ").map_or(found, |(_, name)| name).trim();
        return Answer::Found(if name.is_empty() { "unnamed".into() } else { name.into() });
    }
    if text == "PONG" {
        return Answer::Pong;
    }
    if text == "RELOADING" {
        return Answer::Reloading;
    }
    if text.starts_with("ClamAV ") && !text.ends_with("ERROR") {
        return Answer::Version(text.into());
    }
    Answer::Error(text.strip_suffix("ERROR").map_or(text, str::trim_end).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Answer {
        Answer::Error(text.into())
    }

    #[test]
    fn answers() {
        let version = "ClamAV 1.4.2/27500/Thu Jan  2 09:37:08 2025";
        for (text, id, expected) in [
            ("1: stream: OK", Some(1), Answer::Clean),
            ("2: fd[12]: Eicar-Test-Signature FOUND", Some(2), Answer::Found("Eicar-Test-Signature".into())),
            ("stream: Win.Test.EICAR_HDB-1 FOUND", None, Answer::Found("Win.Test.EICAR_HDB-1".into())),
            ("/tmp/a: b: OK", None, Answer::Clean),
            ("/tmp/a: OK: X FOUND", None, Answer::Found("X".into())),
            ("3: FOUND FOUND", Some(3), Answer::Found("FOUND".into())),
            ("stream:  FOUND", None, Answer::Found("unnamed".into())),
            ("PONG", None, Answer::Pong),
            ("4: PONG", Some(4), Answer::Pong),
            ("RELOADING", None, Answer::Reloading),
            (version, None, Answer::Version(version.into())),
            ("5: ClamAV 1.4.2/27500/Thu Jan  2 09:37:08 2025", Some(5), Answer::Version(version.into())),
            ("1: INSTREAM size limit exceeded. ERROR", Some(1), error("INSTREAM size limit exceeded.")),
            ("COMMAND READ TIMED OUT", None, error("COMMAND READ TIMED OUT")),
            ("7: stream: Can't allocate memory ERROR", Some(7), error("stream: Can't allocate memory")),
            ("fd[1]: No such file or directory. ERROR", None, error("fd[1]: No such file or directory.")),
            ("UNKNOWN COMMAND", None, error("UNKNOWN COMMAND")),
            // Near misses never pass for clean.
            ("OK", None, error("OK")),
            ("1: OK", Some(1), error("OK")),
            ("stream: ok", None, error("stream: ok")),
            ("stream: OK?", None, error("stream: OK?")),
            ("99999999999: stream: OK", None, Answer::Clean),
            ("1: a\x1b[2Jb ERROR", Some(1), error("a[2Jb")),
        ] {
            assert_eq!(parse_answer(text), Numbered { id, answer: expected }, "{text}");
        }
        assert!(error("INSTREAM size limit exceeded.").is_stream_limit());
        assert!(!error("COMMAND READ TIMED OUT").is_stream_limit());
    }

    #[test]
    fn answers_arrive_in_pieces() {
        let input = b"1: stream: OK\0PONG\0\n2: stream: X FOUND\0COMMAND READ TIMED OUT\n1: str";
        for step in 1..=input.len() {
            let (mut buf, mut answers) = (BytesMut::new(), Vec::new());
            for chunk in input.chunks(step) {
                buf.extend_from_slice(chunk);
                while let Some(numbered) = read_answer(&mut buf).unwrap() {
                    answers.push(numbered.answer);
                }
            }
            let last = error("COMMAND READ TIMED OUT");
            assert_eq!(answers, [Answer::Clean, Answer::Pong, Answer::Found("X".into()), last]);
            assert_eq!(&buf[..], b"1: str");
        }
    }

    #[test]
    fn an_answer_without_end() {
        let mut buf = BytesMut::from(&[b'x'; ANSWER_LIMIT][..]);
        assert_eq!(read_answer(&mut buf), Ok(None));
        buf.extend_from_slice(b"xx");
        assert_eq!(read_answer(&mut buf), Err(AnswerTooLong));
    }

    #[test]
    fn streams() {
        let mut out = Vec::new();
        instream(b"abcde", 3, &mut out);
        assert_eq!(out, b"zINSTREAM\0\0\0\0\x03abc\0\0\0\x02de\0\0\0\0");
        out.clear();
        instream(b"", 0, &mut out);
        assert_eq!(out, b"zINSTREAM\0\0\0\0\0");
    }
}
