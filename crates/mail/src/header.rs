//! Header fields with the exact bytes they stand in.

use bytes::Bytes;
use std::ops::Range;

/// The header of a message or MIME entity: every field in its order, with its exact place.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The header's bytes, without the empty line that ends it.
    pub raw: Bytes,
    /// The fields, in order.
    pub fields: Vec<Field>,
}

/// One field, as places in [`Headers::raw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The whole field: name to final line break, included.
    pub span: Range<usize>,
    /// The name, without trailing space and colon.
    pub name: Range<usize>,
    /// The value: all behind the colon up to the final line break, folding and leading space kept.
    pub value: Range<usize>,
}

impl Headers {
    /// The first field of that name (without case), unfolded and with encoded words decoded, trimmed.
    pub fn text(&self, _name: &str) -> Option<String> {
        None
    }
}
