//! Transfer encodings for those who meet them elsewhere than in MIME: in calendars, visiting cards, property lists.

use crate::transfer;

/// Decodes base64 (RFC 2045 section 6.8); what does not belong there is skipped.
pub fn base64(text: &[u8]) -> Vec<u8> {
    transfer::base64(text).bytes
}

/// Decodes quoted-printable (RFC 2045 section 6.7); what is no code stands for itself.
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    transfer::quoted_printable(text).0
}
