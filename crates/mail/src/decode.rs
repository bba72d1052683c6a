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
    /// Where it ends in the text, so that the search can go on there.
    pub end: usize,
    /// It is broken or cut off.
    pub bad: bool,
}

/// The first file in uuencode, yEnc or BinHex 4.0 at or behind `from`. What BinHex packed gives 64 MiB more than the text
/// at most.
pub fn file_in_text(text: &[u8], from: usize) -> Option<FileInText> {
    let most = text.len() + (64 << 20);
    let forms = [Form::Uuencode, Form::Yenc, Form::BinHex];
    let first =
        forms.into_iter().filter_map(|form| form.next(text, from, most)).min_by_key(|file| file.end)?;
    Some(FileInText { name: first.name, bytes: first.bytes, end: first.end, bad: first.bad })
}
