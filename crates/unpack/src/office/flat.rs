//! Documents as one file of XML (Word and Excel 2003, flat Open XML, flat OpenDocument), and the wrapper that Word puts
//! around its objects and macros in such files and in MHTML (`editdata.mso`, `oledata.mso`).

use std::io::Read;

use gatepost_mail::{DefectKind, FileType};
use memchr::memmem;

use super::markup::Markup;
use super::xml::{self, Token, Tokens};
use crate::opening::{End, Member, Opening, Stop, keep};

/// Whether this is a document as XML, by its root: the members of packages are no documents by themselves.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    const NEAR: usize = 8 << 10;
    if !matches!(detected, FileType::OFFICEXML | FileType::XML) {
        return false;
    }
    let near = xml::utf8(&body[..body.len().min(NEAR)]);
    let root = Tokens::new(&near).find_map(|token| match token {
        Token::Start { tag, .. } => Some(tag.name),
        _ => None,
    });
    match root {
        Some(b"package" | b"wordDocument" | b"Workbook") => true,
        Some(b"document") => memmem::find(&near, b"urn:oasis:names:tc:opendocument").is_some(),
        _ => detected == FileType::OFFICEXML,
    }
}

/// Reads it.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let text = xml::utf8(&body);
    if let Err(limit) = opening.pay(body.len() as u64, (text.len() as u64).saturating_sub(body.len() as u64))
    {
        opening.over(limit, None);
        return Ok(());
    }
    let mut markup = Markup::default();
    markup.scan(opening, &text, "")?;
    markup.tell(opening)
}

/// What the wrapper begins with.
const MARK: &[u8] = b"ActiveMime";

/// Whether this is the wrapper.
pub(crate) fn is_wrapped(body: &[u8], _: FileType) -> bool {
    body.starts_with(MARK)
}

/// Takes out what is wrapped: a compound file, compressed by zlib behind a header whose size differs.
pub(crate) fn open_wrapped(opening: &mut Opening) -> Result<(), Stop> {
    const NEAR: usize = 256;
    let body = opening.body.clone();
    let starts = (MARK.len()..body.len().min(NEAR)).filter(|at| {
        body[*at] == 0x78 && body.get(at + 1).is_some_and(|flags| (0x7800 + u16::from(*flags)) % 31 == 0)
    });
    for at in starts {
        let packed = &body[at..];
        let mut made = Vec::new();
        let mut source = flate2::read::ZlibDecoder::new(packed);
        let end = opening.drain(&mut source as &mut dyn Read, packed.len() as u64, &mut made);
        if let End::Over(limit) = end {
            opening.over(limit, None);
        }
        if end == End::Complete || made.len() > 512 {
            opening.embedded(Member { body: keep(made), ..Member::default() })?;
            return Ok(());
        }
    }
    opening.defective(DefectKind::BadArchive, "an ActiveMime wrapper without content");
    Ok(())
}
