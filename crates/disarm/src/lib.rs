//! Takes out of documents and pages what acts by itself.
//!
//! Bytes in, bytes out, under a budget; what cannot be read is told, and never given back as if it were clean.
