//! RPM packages: a lead, two headers, and a payload, which is a compressed cpio archive and handed on as it is. The
//! scripts that installing runs stand in the second header.

use gatepost_mail::{DefectKind, FileType};

use crate::fields::u32_be;
use crate::opening::{Opening, Stop};
use crate::pieces;

const LEAD: usize = 96;
const HEADER: &[u8] = b"\x8e\xad\xe8\x01";

/// Whether this is an RPM package.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(b"\xed\xab\xee\xdb")
}

/// Opens an RPM package.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    /// Headers, each with its own size; two in all that is known.
    const MOST: usize = 8;
    let body = opening.body.clone();
    let mut at = LEAD;
    let mut headers = 0;
    while headers < MOST && body.get(at..).is_some_and(|rest| rest.starts_with(HEADER)) {
        let (Some(index), Some(store)) = (be32(&body, at + 8), be32(&body, at + 12)) else { break };
        let data = at.saturating_add(16).saturating_add(index.saturating_mul(16));
        let end = data.saturating_add(store);
        if end > body.len() {
            opening.defective(DefectKind::TruncatedArchive, "it ends inside a header");
            return Ok(());
        }
        scripts(opening, at + 16, index, data..end)?;
        headers += 1;
        // The first, which is of signatures, is padded to eight bytes.
        at = match body.get(end..) {
            Some(rest) if headers == 1 => {
                let zeros = rest.iter().take(7).take_while(|byte| **byte == 0).count();
                end + zeros.min((8 - (end - LEAD) % 8) % 8)
            }
            _ => end,
        };
    }
    if headers == 0 {
        opening.defective(DefectKind::BadArchive, "no header behind its lead");
    }
    if at >= body.len() {
        opening.defective(DefectKind::TruncatedArchive, "no payload");
        return Ok(());
    }
    let len = (body.len() - at) as u64;
    pieces::stored(opening, vec!["payload.cpio".into()], at, len).map(|_| ())
}

/// Hands over the scripts that a header holds, by the names that rpm gives them.
fn scripts(
    opening: &mut Opening,
    index: usize,
    count: usize,
    store: std::ops::Range<usize>,
) -> Result<(), Stop> {
    const SCRIPTS: &[(usize, &str)] = &[
        (1023, "%pre"),
        (1024, "%post"),
        (1025, "%preun"),
        (1026, "%postun"),
        (1079, "%verifyscript"),
        (1151, "%pretrans"),
        (1152, "%posttrans"),
    ];
    let body = opening.body.clone();
    for entry in body[index..store.start].chunks_exact(16).take(count) {
        let tag = be32(entry, 0).unwrap_or_default();
        let Some((_, name)) = SCRIPTS.iter().find(|(known, _)| *known == tag) else { continue };
        let start = store.start.saturating_add(be32(entry, 8).unwrap_or_default());
        let Some(rest) = body.get(start..store.end) else { continue };
        let len = memchr::memchr(0, rest).unwrap_or(rest.len()) as u64;
        pieces::stored(opening, vec![(*name).to_owned()], start, len)?;
    }
    Ok(())
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    u32_be(bytes, at).and_then(|word| usize::try_from(word).ok())
}
