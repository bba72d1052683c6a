//! Documents without their macros.

use gatepost_mail::{FileType, Limits};

use crate::Unreadable;

/// Takes the macros out of a document; None if there are none.
pub fn remove_macros(
    _content: &[u8],
    detected: FileType,
    _limits: &Limits,
) -> Result<Option<Vec<u8>>, Unreadable> {
    match detected {
        FileType::PDF => Err(Unreadable::Unsupported("PDF")),
        _ => Err(Unreadable::Unsupported("what is no document")),
    }
}
