//! Changes to a message as data. A front carries them out in its protocol's way; on the SMTP path [`apply`] writes the
//! message out with them.
//!
//! Whatever is not edited stays byte for byte, so that signatures over it (DKIM) hold.

mod carry;
mod head;
mod html;
mod parts;
mod place;
mod text;
mod wrap;
mod write;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::{Message, PartId};

pub use text::{holds_text, takes_text};
pub use write::encode_text;

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
    /// Add a header field that is folded and encoded already: a signature covers its bytes.
    AddFolded {
        /// Field name.
        name: String,
        /// All behind the colon and one space, without the last line break; folds are CRLF and white space. What would
        /// break out of the field cannot be carried out.
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
    /// Give a MIME part another name, in every field that names it; one that has none gets a Content-Disposition. Nothing
    /// can be done so for a part for which [`Message::can_rename`] says so.
    RenamePart {
        /// Which part.
        part: PartId,
        /// Its new name. Control characters and what parts folders become `_`; what is longer than 255 characters loses its
        /// middle.
        name: String,
    },
    /// Put other content into a MIME part. Its header stays but for the transfer encoding. See [`Message::can_rewrite`].
    RewritePart {
        /// Which part.
        part: PartId,
        /// The new content, decoded.
        body: Bytes,
    },
    /// Take out of a part what acts by itself, such as macros. Whoever carries edits out first makes a
    /// [`Edit::RewritePart`] of it, or where that fails a [`Edit::ReplacePart`]; as which it counts otherwise.
    CleanPart {
        /// Which part.
        part: PartId,
        /// The text that stands for it if it cannot be cleaned.
        text: String,
    },
    /// Take out of an HTML part what acts by itself. Made a [`Edit::RewritePart`] before it is carried out, without which it
    /// cannot be.
    DefangPart {
        /// Which part.
        part: PartId,
        /// What goes.
        what: Vec<Defang>,
    },
    /// Add to what a reader sees: to the text of the mail, in each of its forms. Mail that has no text gets one. Never done
    /// to signed or encrypted mail, see [`takes_text`].
    AddText {
        /// For text/plain: UTF-8, lines ended by `\n`. Empty: made of `html`.
        text: String,
        /// For text/html: elements that may stand in a body. Empty: made of `text`.
        html: String,
        /// Before or behind the text.
        place: Place,
    },
    /// Put the message as it came into a new one, as an attachment (message/rfc822) behind a text. The new one has the
    /// header of the old, with all edits of that, but for what describes the content, and for DKIM signatures, which
    /// cannot hold. Edits of parts are made in the message inside; what is added to the text, is added to the new one's.
    Wrap {
        /// The text, UTF-8, lines ended by `\n`.
        text: String,
    },
}

/// What can be taken out of HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Defang {
    /// Scripts, handlers of events, `javascript:` links.
    Scripts,
    /// Forms and their fields.
    Forms,
    /// Frames.
    Frames,
    /// Objects, applets, embedded media.
    Objects,
    /// Pictures, styles and fonts that are fetched from elsewhere.
    RemoteContent,
    /// Of these only the pictures that nobody can see.
    TrackingPixels,
    /// Links: what they lead to is shown, and cannot be clicked.
    Links,
}

/// Where a header field is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all others, like a trace field.
    Top,
    /// After all others.
    Bottom,
}

/// A message with edits carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The message, in pieces to be written one behind the other. Untouched pieces share the bytes of
    /// [`Message::raw`].
    pub chunks: Vec<Bytes>,
    /// Places in the list of edits of those that could not be carried out: a field that is not there, a name that is
    /// none, a part without a place in the message. Whoever meant to take something bad out must not deliver then.
    pub skipped: Vec<usize>,
}

/// Carries edits out. Fields that are added at one place stand there in the order of the edits; added lines end in
/// CRLF, are folded at 78 columns (RFC 5322 section 2.1.1), and encoded where they are not ASCII (RFC 2047).
///
/// Of several edits of one field, removal wins, then the last change. Of parts inside each other, the outermost
/// replacement wins, and over all other edits of what it stands for. Those are made in their order; what is added to a
/// text that is replaced, is added to its replacement.
pub fn apply(message: &Message, edits: &[Edit]) -> Applied {
    carry::apply(message, edits)
}

/// What edits come to for whoever has the message and changes it by instruction: a milter's mail server, the owner of a
/// queue file. To be carried out in the order: all of `headers` as they stand here, then the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes first, then removals, the last occurrence of a name before the ones above it, then additions: so no
    /// instruction moves what a later one speaks of.
    pub headers: Vec<HeaderChange>,
    /// The whole new body, behind the empty line; None if it stays.
    pub body: Option<Vec<Bytes>>,
    /// Places of edits that could not be carried out, as in [`Applied::skipped`].
    pub skipped: Vec<usize>,
}

/// One instruction about the header. Values are encoded and folded, without the space behind the colon and without the
/// last line break; folds are CRLF and white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// Give the `nth` (from 0) field of that name another value.
    Change {
        /// Field name, as the edit writes it.
        name: String,
        /// Which of several.
        nth: usize,
        /// Its new value.
        value: String,
    },
    /// Remove the `nth` (from 0) field of that name.
    Remove {
        /// Field name, as it stands in the message.
        name: String,
        /// Which of several.
        nth: usize,
    },
    /// Add a field. Those of one place come in the order in which they shall stand there.
    Insert {
        /// Where.
        place: Place,
        /// Field name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// The same as [`apply`], as instructions.
pub fn changes(message: &Message, edits: &[Edit]) -> Changes {
    carry::changes(message, edits)
}

impl Edit {
    /// Whether it is one of parts or of the text, which whoever can only change the header cannot carry out.
    pub fn changes_body(&self) -> bool {
        match self {
            Edit::AddHeader { .. }
            | Edit::AddFolded { .. }
            | Edit::RemoveHeader { .. }
            | Edit::ChangeHeader { .. } => false,
            Edit::ReplacePart { .. }
            | Edit::RenamePart { .. }
            | Edit::RewritePart { .. }
            | Edit::CleanPart { .. }
            | Edit::DefangPart { .. }
            | Edit::AddText { .. }
            | Edit::Wrap { .. } => true,
        }
    }
}
