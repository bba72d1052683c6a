//! Pages and documents in the form of mail (MHTML, RFC 2557): Word opens them whatever they are called, and whatever stands
//! before them, a PDF for instance.

use gatepost_mail::FileType;
use memchr::memchr2_iter;

use crate::opening::{Member, Opening, Stop};

/// Whether this holds such a page near its beginning.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    !matches!(detected, FileType::EML | FileType::MBOX | FileType::MULTIPART) && start(body).is_some()
}

/// Reads it as mail, from its first field on. Only a file with a name is opened as a document; text of a mail in which
/// another mail is quoted is not.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let (Some(at), Some(_)) = (start(&body), opening.name()) else { return Ok(()) };
    match opening.slice(at..body.len()) {
        Ok(page) => opening.mail(Member { body: page, ..Member::default() }),
        Err(limit) => {
            opening.over(limit, None);
            Ok(())
        }
    }
}

/// Where the header begins: a line `MIME-Version`, and a type of several parts not far from it.
fn start(body: &[u8]) -> Option<usize> {
    const NEAR: usize = 4096;
    let near = &body[..body.len().min(NEAR)];
    let at = find(near, b"MIME-Version:").filter(|at| *at == 0 || matches!(near[at - 1], b'\n' | b'\r'))?;
    let behind = &body[at..body.len().min(at + NEAR)];
    find(behind, b"multipart/").or_else(|| find(near, b"multipart/"))?;
    // The type may stand before the version.
    let first =
        find(near, b"Content-Type:").filter(|first| *first == 0 || matches!(near[first - 1], b'\n' | b'\r'));
    Some(first.map_or(at, |first| first.min(at)))
}

/// The first place of a word in any case.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let first = word[0];
    memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text)
        .find(|at| text[*at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}
