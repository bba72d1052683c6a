//! What Outlook makes of mail: TNEF (`winmail.dat`), and messages in files of their own (`.msg`).

mod lzfu;
mod msg;
pub(crate) mod tnef;

use bytes::Bytes;
use gatepost_mail::DefectKind;

use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces;

pub(crate) use msg::{is as is_msg, open as open_msg, stream};

/// Properties that hold content or its names (MS-OXPROPS).
mod property {
    pub(super) const BODY: u16 = 0x1000;
    pub(super) const RTF: u16 = 0x1009;
    pub(super) const HTML: u16 = 0x1013;
    pub(super) const DISPLAY_NAME: u16 = 0x3001;
    pub(super) const DATA: u16 = 0x3701;
    pub(super) const FILE_NAME: u16 = 0x3704;
    pub(super) const LONG_NAME: u16 = 0x3707;
    pub(super) const PATH: u16 = 0x3708;
    pub(super) const LONG_PATH: u16 = 0x370d;
    pub(super) const HEADER: u16 = 0x007d;
}

/// Names that an attachment's properties tell, the most usual first.
fn attachment_names(text: impl Fn(u16) -> Option<String>) -> Vec<String> {
    use property::{DISPLAY_NAME, FILE_NAME, LONG_NAME, LONG_PATH, PATH};
    let mut all = Vec::new();
    for id in [LONG_NAME, FILE_NAME, LONG_PATH, PATH, DISPLAY_NAME] {
        if let Some(name) = text(id) {
            names::add(&mut all, names::clean(name.trim()));
        }
    }
    all
}

/// Hands over compressed RTF, unpacked.
fn rtf(opening: &mut Opening, packed: &Bytes) -> Result<(), Stop> {
    /// A byte becomes nine at most.
    const RATIO: usize = 9;
    let Some((made, damaged)) = lzfu::unpack(packed, packed.len().saturating_mul(RATIO)) else {
        opening.defective(DefectKind::UnknownMethod, "a body of RTF that is packed in an unknown way");
        return Ok(());
    };
    let id = pieces::made(opening, vec!["body.rtf".into()], made)?;
    if damaged {
        opening.defect(DefectKind::TruncatedArchive, id, "its data ends early");
    }
    Ok(())
}

/// Text in code page 1252, the nearest to what is not declared.
fn narrow(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    names::readings(&bytes[..end], false).into_iter().next().unwrap_or_default()
}
