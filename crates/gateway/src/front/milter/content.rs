//! A message as it comes: header fields, then the body; put together as it stood before the mail server took it apart.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gatepost_mail::{Cause, Fault, Headers, OnFault};
use gatepost_wire::smtp::{BdatDecoder, Stray, StrayReport};

use crate::config::typed::{SessionLimits, StrayLineEndings};
use crate::front::Front;
use crate::front::spool::Spool;

/// Most octets of a header. Postfix takes 100 KiB for each field, Sendmail 32 KiB for all.
const HEADER: u64 = 4 << 20;

/// Collects one message. What goes wrong is told by [`Content::failure`], and nothing more is kept then.
pub(super) struct Content {
    decoder: BdatDecoder,
    spool: Spool,
    folder: PathBuf,
    header: u64,
    /// Header fields so far.
    fields: usize,
    /// Octets kept so far.
    kept: u64,
    /// Octets of the whole header, once it is over.
    header_end: Option<u64>,
    failed: Option<Failure>,
    /// When the whole message must have arrived.
    deadline: Instant,
}

/// A message that has arrived as a whole.
#[derive(Debug)]
pub(super) struct Collected {
    /// The message.
    pub raw: Bytes,
    /// What was mended of its line endings.
    pub stray: StrayReport,
    /// Put together, it has the header fields that the mail server told of, and its header ends where that said.
    pub as_told: bool,
}

impl Collected {
    /// A message that the mail server reads otherwise than we do (a field without a name, an empty line in a value) is
    /// not one whose fields and attachments we have seen, and changes would hit others than were meant: it is held.
    pub fn fault(&self) -> Option<Fault> {
        let fault = || Fault {
            check: "reading".into(),
            cause: Cause::Unavailable,
            detail: "the mail server's header fields are malformed, and read in another way put together"
                .into(),
            answer: OnFault::Quarantine,
        };
        (!self.as_told).then(fault)
    }
}

/// Why a message cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Over `limits.message_size`, or its header over 4 MiB.
    TooLarge,
    /// It cannot be written to the spool.
    NoSpace,
}

impl Content {
    pub(super) fn new(front: &Front) -> Content {
        let limits = &front.limits;
        let stray = match limits.stray_line_endings {
            StrayLineEndings::Normalize => Stray::Normalize,
            StrayLineEndings::Refuse => Stray::Refuse,
        };
        Content {
            decoder: BdatDecoder::new(limits.message_size.bytes(), stray),
            spool: Spool::new(limits.memory.bytes()),
            folder: front.spool.clone(),
            header: 0,
            fields: 0,
            kept: 0,
            header_end: None,
            failed: None,
            deadline: Instant::now() + limits.message_time.duration(),
        }
    }

    /// A header field; the value with all that stands behind the colon, its lines parted by LF.
    pub(super) fn header(&mut self, name: &[u8], value: &[u8]) {
        let mut field = BytesMut::with_capacity(name.len() + value.len() + 16);
        field.extend_from_slice(name);
        field.extend_from_slice(b":");
        let mut before = 0;
        for &byte in value {
            if byte == b'\n' && before != b'\r' {
                field.extend_from_slice(b"\r");
            }
            field.extend_from_slice(&[byte]);
            before = byte;
        }
        field.extend_from_slice(b"\r\n");
        self.fields += 1;
        self.header += field.len() as u64;
        if self.header > HEADER {
            self.failed.get_or_insert(Failure::TooLarge);
        }
        self.push(field);
    }

    /// A piece of the body. The first one, be it empty, ends the header.
    pub(super) fn body(&mut self, data: &[u8]) {
        if self.header_end.is_none() {
            self.header_end = Some(self.kept);
            self.push(BytesMut::from(&b"\r\n"[..]));
        }
        if !data.is_empty() {
            self.push(BytesMut::from(data));
        }
    }

    /// What went wrong so far.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failed
    }

    /// How long to wait for more of it.
    pub(super) fn time(&self, limits: &SessionLimits) -> Duration {
        limits.data_time.duration().min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// The message.
    pub(super) fn finish(mut self) -> io::Result<Collected> {
        self.decoder.finish(self.spool.buffer());
        self.spool.settle(&self.folder)?;
        let stray = self.decoder.report().clone();
        let raw = self.spool.finish()?;
        let (read, ..) = Headers::parse(raw.clone());
        let as_told = self.header_end == Some(read.raw.len() as u64) && read.fields.len() == self.fields;
        Ok(Collected { raw, stray, as_told })
    }

    fn push(&mut self, mut data: BytesMut) {
        if self.failed.is_some() {
            return;
        }
        let before = self.spool.buffer().len();
        self.decoder.begin(data.len() as u64);
        self.decoder.decode(&mut data, self.spool.buffer());
        self.kept += (self.spool.buffer().len() - before) as u64;
        if let Err(error) = self.spool.settle(&self.folder) {
            tracing::error!(%error, folder = %self.folder.display(), "cannot hold a message");
            self.failed = Some(Failure::NoSpace);
        } else if self.decoder.report().over_limit {
            self.failed = Some(Failure::TooLarge);
        }
        if self.failed.is_some() {
            self.spool = Spool::new(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(limits: &SessionLimits) -> Content {
        let stray = Stray::Normalize;
        Content {
            decoder: BdatDecoder::new(limits.message_size.bytes(), stray),
            spool: Spool::new(100),
            folder: std::env::temp_dir(),
            header: 0,
            fields: 0,
            kept: 0,
            header_end: None,
            failed: None,
            deadline: Instant::now() + Duration::from_secs(60),
        }
    }

    #[test]
    fn put_together_as_it_was() {
        let fields: [(&str, &str); 6] = [
            ("Received", " from a\n\tby b;\n  Thu"),
            ("Subject", " hello"),
            ("X-Tight", "no space"),
            ("X-Wide", "  two"),
            ("X-Tab", "\ttab"),
            ("X-Empty", ""),
        ];
        let header = "Received: from a\r\n\tby b;\r\n  Thu\r\nSubject: hello\r\nX-Tight:no space\r\n\
            X-Wide:  two\r\nX-Tab:\ttab\r\nX-Empty:\r\n";
        for (pieces, body, bare) in [
            (&["one\r", "\ntwo\r\n"][..], "\r\none\r\ntwo\r\n", 0),
            (&["one\ntwo"], "\r\none\r\ntwo", 1),
            (&["\r\n", ".\r\n"], "\r\n\r\n.\r\n", 0),
            (&[""], "\r\n", 0),
            (&[], "\r\n", 0),
        ] {
            let mut content = content(&SessionLimits::default());
            fields.iter().for_each(|(name, value)| content.header(name.as_bytes(), value.as_bytes()));
            pieces.iter().for_each(|piece| content.body(piece.as_bytes()));
            content.body(&[]);
            let collected = content.finish().unwrap();
            assert_eq!(String::from_utf8_lossy(&collected.raw), format!("{header}{body}"));
            assert_eq!(collected.stray.bare_lf, bare);
            assert!(collected.as_told);
        }
    }

    #[test]
    fn a_header_that_reads_otherwise_than_it_was_told() {
        for (name, value, as_told) in [
            ("X-Folded", " a\n\tb", true),
            ("X-Blank", " a\n \n b", true),
            ("X-Tail ", " a", true),
            ("", " a", false),
            ("X Y", " a", false),
            (" X", " a", false),
            ("X\u{7f}", " a", false),
            ("X\u{e9}", " a", false),
            ("X", " a\n\n b", false),
            ("X", " a\r\n\r\nb", false),
            ("X", " a\nX-Other: b", false),
            ("X", " a\rX-Other: b", true),
            ("X", " a\n", false),
        ] {
            let mut content = content(&SessionLimits::default());
            content.header(b"Subject", b" hello");
            content.header(name.as_bytes(), value.as_bytes());
            content.body(b"text\r\n");
            let collected = content.finish().unwrap();
            assert_eq!(collected.as_told, as_told, "{name:?} {value:?}");
            assert_eq!(collected.fault().is_none(), as_told);
        }
    }

    #[test]
    fn a_header_has_its_limit() {
        let mut content = content(&SessionLimits::default());
        let value = vec![b'x'; 1 << 20];
        for place in 0..5 {
            assert_eq!(content.failure().is_some(), place > 3);
            content.header(b"X", &value);
        }
        assert_eq!(content.failure(), Some(Failure::TooLarge));
    }
}
