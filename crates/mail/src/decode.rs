//! Transfer encodings for those who meet them elsewhere than in MIME: in calendars, visiting cards, property lists.

use crate::carve::Form;
use crate::transfer;

/// Decodes base64 (RFC 2045 section 6.8); what does not belong there is skipped.
pub fn base64(text: &[u8]) -> Vec<u8> {
    transfer::base64(text).bytes
}

/// Decodes quoted-printable (RFC 2045 section 6.7); what is no code stands for itself.
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    transfer::quoted_printable(text).0
}

/// A file that stands in text.
#[derive(Debug)]
pub struct FileInText {
    /// Its name as it stands, or nothing.
    pub name: Vec<u8>,
    /// Its content.
    pub bytes: Vec<u8>,
    /// It is broken or cut off.
    pub bad: bool,
}

/// All files in uuencode, yEnc and BinHex 4.0 in a text, form by form, each taken out when it is asked for. What BinHex
/// packed gives 64 MiB more than the text at most.
pub fn files_in_text(text: &[u8]) -> impl Iterator<Item = FileInText> {
    let most = text.len().saturating_add(64 << 20);
    [Form::Uuencode, Form::Yenc, Form::BinHex].into_iter().flat_map(move |form| {
        let mut at = 0;
        std::iter::from_fn(move || {
            let file = form.next(text, at, most)?;
            at = file.end.max(at + 1);
            Some(FileInText { name: file.name, bytes: file.bytes, bad: file.bad })
        })
    })
}
