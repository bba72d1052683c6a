//! The binary parts of xlsb (MS-XLSB): names that run macro sheets, and links to other programs.

use gatepost_unpack::layout::{XlsbRecord, xlsb_record};

use crate::Unreadable;

/// A part without what runs by itself. Names are told by their number elsewhere, so they stay, and are called otherwise.
pub(super) fn cleaned(part: &[u8], name: &str, names: bool) -> Result<Option<Vec<u8>>, Unreadable> {
    const NAME: u16 = 39;
    const BEGIN_SUP_BOOK: u16 = 360;
    const DDE: u8 = 1;
    let links = name.contains("/externallinks/");
    if !(links || names && name.ends_with("/workbook.bin")) {
        return Ok(None);
    }
    let mut out = part.to_vec();
    let mut at = 0;
    let mut changed = false;
    while at < part.len() {
        let XlsbRecord { kind, start, end } = xlsb_record(part, at)
            .filter(|record| record.end <= part.len())
            .ok_or(Unreadable::Malformed("a part of a workbook whose records make no sense"))?;
        at = end;
        if kind == BEGIN_SUP_BOOK && part.get(start) == Some(&DDE) {
            return Err(Unreadable::Unsupported("a workbook that asks other programs for data"));
        }
        // Flags, a key and the sheet stand before the name (2.4.712): how many characters, then those.
        if kind == NAME && names {
            changed |= rename(&mut out[start..end], 9);
        }
    }
    Ok(changed.then_some(out))
}

/// Gives a name that runs by itself another of the same length; `at` is where its length stands.
fn rename(record: &mut [u8], at: usize) -> bool {
    let Some(text) = record.get_mut(at + 4..) else { return false };
    let plain: String =
        text.chunks_exact(2).map(|pair| char::from(pair[0].to_ascii_lowercase())).take(32).collect();
    let auto = plain.find("auto_").filter(|place| *place == 0 || &plain[..*place] == "_xlnm.");
    match auto {
        Some(_) => {
            // `_xlnm.Auto_Open` must not be read as one of Excel's own names either.
            text[0] = b'x';
            true
        }
        None => false,
    }
}
