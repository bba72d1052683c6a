//! Mailboxes: messages one behind the other, each begun by a line `From sender date` (RFC 4155).

use gatepost_mail::FileType;
use memchr::memmem;

use crate::opening::{Member, Opening, Stop};

/// Whether this is a mailbox.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    detected == FileType::MBOX && body.starts_with(b"From ")
}

/// Opens a mailbox: every message is a member.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut starts =
        memmem::find_iter(&body, b"\nFrom ").map(|at| at + 1).filter(|&at| follows_blank(&body[..at]));
    let mut start = 0;
    loop {
        opening.check_time()?;
        let next = starts.next();
        let end = next.unwrap_or(body.len());
        let first = memchr::memchr(b'\n', &body[start..end]).map_or(end, |line| start + line + 1);
        match opening.slice(first..end) {
            Ok(body) => opening.mail(Member { body, ..Member::default() })?,
            Err(limit) => opening.over(limit, None),
        }
        match next {
            Some(next) => start = next,
            None => return Ok(()),
        }
    }
}

/// Whether the line before is empty, as it is before each message; a text line that begins with From is none.
fn follows_blank(before: &[u8]) -> bool {
    before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n")
}
