//! Changes to a message as data. A front carries them out in its protocol's way; on the SMTP path
//! [`crate::Message`] is written out with them applied.

use crate::PartId;

/// One change. Edits are made against the message as it was judged: places are those of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add a header field. The value is unfolded text; whoever writes it out folds and encodes it.
    AddHeader {
        /// Field name.
        name: String,
        /// Its value.
        value: String,
        /// Where.
        place: Place,
    },
    /// Remove the `nth` (from 0) field of that name, compared without case.
    RemoveHeader {
        /// Field name.
        name: String,
        /// Which of several.
        nth: usize,
    },
    /// Give the `nth` field of that name another value.
    ChangeHeader {
        /// Field name.
        name: String,
        /// Which of several.
        nth: usize,
        /// Its new value.
        value: String,
    },
    /// Put a text/plain part in place of a MIME part (and all it contains). For a part inside an archive it is the
    /// attachment that carries the archive.
    ReplacePart {
        /// Which part.
        part: PartId,
        /// The text, UTF-8, lines ended by `\n`.
        text: String,
    },
}

/// Where a header field is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all others, like a trace field.
    Top,
    /// After all others.
    Bottom,
}
