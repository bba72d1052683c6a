//! Files in uuencode, yEnc and BinHex 4.0, as files of their own. Those in the text of a mail are taken out when it is read.

use gatepost_mail::{DefectKind, FileType, decode};

use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces;

/// Whether this is a file in one of these forms.
pub(crate) fn is(_body: &[u8], detected: FileType) -> bool {
    matches!(detected, FileType::UUENCODE | FileType::YENC | FileType::BINHEX)
}

/// Decodes all files in it.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    if opening.opened_before() {
        return Ok(());
    }
    let body = opening.body.clone();
    let mut found = false;
    for file in decode::files_in_text(&body) {
        opening.check_time()?;
        found = true;
        let id = pieces::made(opening, names::readings(&file.name, false), file.bytes)?;
        if file.bad {
            opening.defect(DefectKind::BadUuencode, id, "broken lines, or no end");
        }
    }
    if !found {
        opening.defective(DefectKind::BadArchive, "no file in it can be decoded");
    }
    Ok(())
}
