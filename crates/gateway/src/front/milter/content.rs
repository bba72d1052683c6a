//! A message as it comes: header fields, then the body; put together as it stood before the mail server took it apart.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
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
    in_body: bool,
    failed: Option<Failure>,
    /// When the whole message must have arrived.
    deadline: Instant,
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
            in_body: false,
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
        self.header += field.len() as u64;
        if self.header > HEADER {
            self.failed.get_or_insert(Failure::TooLarge);
        }
        self.push(field);
    }

    /// A piece of the body. The first one, be it empty, ends the header.
    pub(super) fn body(&mut self, data: &[u8]) {
        if !std::mem::replace(&mut self.in_body, true) {
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

    /// The message, and what was mended of its line endings.
    pub(super) fn finish(mut self) -> io::Result<(Bytes, StrayReport)> {
        self.decoder.finish(self.spool.buffer());
        self.spool.settle(&self.folder)?;
        let report = self.decoder.report().clone();
        Ok((self.spool.finish()?, report))
    }

    fn push(&mut self, mut data: BytesMut) {
        if self.failed.is_some() {
            return;
        }
        self.decoder.begin(data.len() as u64);
        self.decoder.decode(&mut data, self.spool.buffer());
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
            in_body: false,
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
            let (raw, report) = content.finish().unwrap();
            assert_eq!(String::from_utf8_lossy(&raw), format!("{header}{body}"));
            assert_eq!(report.bare_lf, bare);
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
