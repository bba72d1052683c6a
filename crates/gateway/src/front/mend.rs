//! A whole message that did not come by SMTP, with the line endings it would have there.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use gatepost_mail::Reply;
use gatepost_wire::smtp::{BdatDecoder, Stray, StrayReport};
use memchr::{memchr, memmem};

use super::spool::Spool;

/// What is larger than this is mended in a thread of its own.
const LARGE: usize = 256 << 10;

/// Bytes mended at once.
const PIECE: usize = 64 << 10;

/// Mends line endings as [`smtp::from_unix`](gatepost_wire::smtp::from_unix) and
/// [`smtp::normalize`](gatepost_wire::smtp::normalize) do: where no line ends in CRLF, LF is how lines end; else stray CR
/// and LF are mended and reported. What is too large for memory goes to a file, and what is clean is not copied.
///
/// More than `memory` bytes go to a file in `folder`. A fault there is logged.
pub async fn mended(content: Bytes, memory: u64, folder: &Path, stray: Stray) -> Result<Mended, Unfit> {
    let before = content.clone();
    let mended = match content.len() {
        ..LARGE => mend(content, memory, folder, stray),
        _ => {
            let folder = folder.to_owned();
            let mending = tokio::task::spawn_blocking(move || mend(content, memory, &folder, stray));
            mending.await.unwrap_or_else(|_| Err(io::Error::other("mending panicked")))
        }
    };
    match mended {
        Ok((_, report)) if report.refused => Err(Unfit::Stray),
        Ok((raw, stray)) => {
            let changed = (stray.bare_lf, stray.bare_cr, stray.nul) != (0, 0, 0);
            Ok(Mended { raw, stray, unmended: changed.then_some(before) })
        }
        Err(error) => {
            tracing::error!(%error, folder = %folder.display(), "cannot hold a message");
            Err(Unfit::NoSpace)
        }
    }
}

/// A message with the line endings it would have in SMTP.
#[derive(Debug)]
pub struct Mended {
    /// The message.
    pub raw: Bytes,
    /// What was mended.
    pub stray: StrayReport,
    /// What it was before, if anything was mended: whoever only hears a verdict goes on with that, so it is looked at too.
    pub unmended: Option<Bytes>,
}

impl Mended {
    /// Content that needs no mending.
    pub fn as_it_is(raw: Bytes) -> Mended {
        Mended { raw, stray: StrayReport::default(), unmended: None }
    }
}

/// Why a message cannot be judged as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has stray line endings, and those are to be refused.
    Stray,
    /// There is no room to mend it.
    NoSpace,
}

impl Unfit {
    /// What a client of SMTP would hear.
    pub fn reply(self) -> Reply {
        match self {
            Unfit::Stray => Reply::new(550, "5.5.2", "Message has bare CR or LF; lines end in CRLF"),
            Unfit::NoSpace => Reply::new(452, "4.3.1", "Insufficient system storage"),
        }
    }
}

/// The same where blocking is allowed; what is to be refused is for the report to tell.
pub(super) fn mend(
    content: Bytes,
    memory: u64,
    folder: &Path,
    stray: Stray,
) -> io::Result<(Bytes, StrayReport)> {
    let unix = memchr(b'\n', &content).is_some() && memmem::find(&content, b"\r\n").is_none();
    if !unix {
        // A limit of nothing: looks, and copies nothing. Most content is clean.
        let mut decoder = BdatDecoder::new(0, stray);
        let mut nothing = Vec::new();
        for piece in content.chunks(PIECE) {
            decode(&mut decoder, piece, &mut nothing);
        }
        decoder.finish(&mut nothing);
        let report = decoder.report();
        if report.refused || (report.bare_lf, report.bare_cr, report.nul) == (0, 0, 0) {
            return Ok((content, StrayReport { over_limit: false, ..report.clone() }));
        }
    }
    let mut spool = Spool::new(memory);
    let mut decoder = BdatDecoder::new(u64::MAX, stray);
    for piece in content.chunks(PIECE) {
        let piece = if unix { with_cr(piece) } else { piece.into() };
        decode(&mut decoder, &piece, spool.buffer());
        spool.settle(folder)?;
    }
    decoder.finish(spool.buffer());
    spool.settle(folder)?;
    Ok((spool.finish()?, decoder.report().clone()))
}

fn decode(decoder: &mut BdatDecoder, piece: &[u8], out: &mut Vec<u8>) {
    decoder.begin(piece.len() as u64);
    decoder.decode(&mut BytesMut::from(piece), out);
}

/// Each LF with a CR before it.
fn with_cr(piece: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(piece.len() + piece.len() / 16);
    for line in piece.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use gatepost_wire::smtp;
    use proptest::prelude::*;

    use super::*;

    fn both(content: &[u8]) -> [(Vec<u8>, StrayReport); 2] {
        let unix = smtp::from_unix(content);
        let (expected, report) = smtp::normalize(&unix, Stray::Normalize);
        let expected = (expected.into_owned(), report);
        let content = Bytes::copy_from_slice(content);
        let found = mend(content, 1000, &std::env::temp_dir(), Stray::Normalize).unwrap();
        [(found.0.to_vec(), found.1), expected]
    }

    #[test]
    fn large_ones_in_pieces() {
        let line = b"text that goes on for a while\n".repeat(9000);
        let crlf = b"text that goes on for a while\r\n".repeat(9000);
        let stray = [&crlf[..], b"a\rb\nc\0\n.\n"].concat();
        for content in [&line[..], &crlf, &stray, b"", b"a", b"\n", b"\r", b"a\n\r"] {
            let [found, expected] = both(content);
            assert!(found == expected, "{:?} {:?}", found.1, expected.1);
        }
        let clean = Bytes::from(crlf);
        let (same, _) = mend(clean.clone(), 1000, &std::env::temp_dir(), Stray::Normalize).unwrap();
        assert!(std::ptr::eq(same.as_ptr(), clean.as_ptr()), "what is clean is not copied");
    }

    #[tokio::test]
    async fn stray_line_endings_are_refused_where_that_is_wanted() {
        let large = "text that goes on for a while\r\n".repeat(9000);
        for (content, fit) in [
            ("a\r\nb\r\n", true),
            ("a\nb\n", true),
            ("a\r\nb\n", false),
            ("a\nb\rc\n", false),
            (&large, true),
            (&format!("{large}a\nb"), false),
        ] {
            for stray in [Stray::Normalize, Stray::Refuse] {
                let content = Bytes::copy_from_slice(content.as_bytes());
                let found = mended(content, 1000, &std::env::temp_dir(), stray).await;
                let expected = if fit || stray == Stray::Normalize { None } else { Some(Unfit::Stray) };
                assert_eq!(found.err(), expected);
            }
        }
        let nowhere =
            mended(Bytes::from(large.replace('\r', "")), 0, Path::new("/nonexistent"), Stray::Refuse);
        assert_eq!(nowhere.await.err(), Some(Unfit::NoSpace));
    }

    proptest! {
        #[test]
        fn as_the_functions_for_whole_content(content in "(\n|\r\n|\r|\0|\\.|a){0,30}") {
            let [found, expected] = both(content.as_bytes());
            prop_assert_eq!(found, expected);
        }
    }
}
