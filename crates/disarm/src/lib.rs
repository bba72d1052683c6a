//! Takes out of documents and pages what acts by itself.
//!
//! Bytes in, bytes out, under limits; what cannot be read is told, and never given back as if it were clean. What is not
//! taken out stays byte for byte wherever the format lets it.

mod cfb;
mod edits;
mod html;
mod macros;
mod xml;
mod zip;

use std::fmt;

use gatepost_mail::Limit;

pub use html::{Defanged, defang_html};
pub use macros::remove_macros;

/// Why nothing was taken out of something that may hold what should go. Whoever asked must not deliver it as clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It takes more than a limit allows.
    Over(Limit),
    /// It is encrypted.
    Encrypted,
    /// Nothing can be taken out of what is of this kind.
    Unsupported(&'static str),
    /// It is not sound, so that programs may read it otherwise than this one does.
    Malformed(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Over(limit) => write!(f, "over the limit of {limit}"),
            Unreadable::Encrypted => f.write_str("encrypted"),
            Unreadable::Unsupported(what) => write!(f, "nothing can be taken out of {what}"),
            Unreadable::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<Limit> for Unreadable {
    fn from(limit: Limit) -> Unreadable {
        Unreadable::Over(limit)
    }
}
