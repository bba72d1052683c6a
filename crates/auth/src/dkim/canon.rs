//! Canonicalization (RFC 6376 section 3.4).

/// How header or body are brought into the form that is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Canon {
    /// Tolerates next to nothing.
    Simple,
    /// Tolerates changes of white space and of the case of names.
    Relaxed,
}
