//! Numbers at places in bytes; None where the bytes end before.

/// A little-endian 16-bit number.
pub fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A little-endian 32-bit number.
pub fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A little-endian 64-bit number.
pub(crate) fn u64_le(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A big-endian 16-bit number.
pub(crate) fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A big-endian 32-bit number.
pub(crate) fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A big-endian 64-bit number.
pub(crate) fn u64_be(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// UTF-16, little end first, up to its NUL.
pub(crate) fn utf16_le(bytes: &[u8]) -> String {
    utf16(bytes.chunks_exact(2).filter_map(|unit| u16_le(unit, 0)))
}

/// UTF-16, big end first, up to its NUL.
pub(crate) fn utf16_be(bytes: &[u8]) -> String {
    utf16(bytes.chunks_exact(2).filter_map(|unit| u16_be(unit, 0)))
}

fn utf16(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// `start..start + len`, cut where the bytes end. The second value tells whether it had to be cut.
pub(crate) fn cut(bytes: &[u8], start: usize, len: u64) -> (std::ops::Range<usize>, bool) {
    let start = start.min(bytes.len());
    let left = bytes.len() - start;
    match usize::try_from(len) {
        Ok(len) if len <= left => (start..start + len, false),
        _ => (start..bytes.len(), true),
    }
}
