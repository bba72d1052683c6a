//! What the headers of all versions of RAR tell of a member.

use std::ops::Range;

use crate::names;

/// A member as its header describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// Its names, cleaned.
    pub(super) names: Vec<String>,
    /// Where its packed data lies in the body, cut where that ends.
    pub(super) data: Range<usize>,
    /// The body ends before its data does.
    pub(super) short: bool,
    /// Size of the content; None if it is not known.
    pub(super) size: Option<u64>,
    /// CRC-32 of the content, of RAR 1.3 another sum.
    pub(super) sum: Sum,
    pub(super) method: Method,
    /// How far back matches reach.
    pub(super) window: u64,
    /// It needs the window of the one before.
    pub(super) solid: bool,
    /// It is a folder or a link, which has no content.
    pub(super) empty: bool,
    /// It began in another volume, or goes on in another.
    pub(super) split: (bool, bool),
    pub(super) locked: Option<Lock>,
}

/// A sum over the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sum {
    /// None that can be checked.
    #[default]
    None,
    /// CRC-32.
    Crc(u32),
    /// 16 bits that are rotated (RAR 1.3).
    Rotated(u16),
}

/// How a member is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    #[default]
    Stored,
    /// RAR 1.3 to 1.5.
    Lz15,
    /// RAR 2.0 to 2.6.
    Lz20,
    /// RAR 2.9 to 4.
    Lz29,
    /// RAR 5; true for archives of RAR 7 with larger distances.
    Lz50(bool),
    /// Another, by its version.
    Unknown(u32),
}

/// What is needed beside the password to open an encrypted member or header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// An old cipher of RAR 1.3 to 2.6.
    Old,
    /// RAR 3 and 4: AES-128.
    Three {
        /// Salt, 8 bytes or none.
        salt: Vec<u8>,
    },
    /// RAR 5: AES-256.
    Five {
        /// Salt, 16 bytes.
        salt: [u8; 16],
        /// The first block is mixed with it.
        start: [u8; 16],
        /// The key is made in 2 to the power of so many rounds.
        rounds: u32,
        /// What the password makes besides, folded.
        check: Option<[u8; 8]>,
        /// The sums of the content are made with the key.
        keyed_sums: bool,
    },
}

/// What a block of an archive is.
#[derive(Debug)]
pub(super) enum Block {
    /// A member.
    File(Box<File>),
    /// What follows is encrypted, headers and all.
    Locked(Lock),
    /// The beginning of the archive.
    Main {
        /// It is one volume of several.
        volume: bool,
        /// Members share a window.
        solid: bool,
    },
    /// The end.
    End,
    /// Nothing that matters.
    Other,
}

/// A block and where the next one begins.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) block: Block,
    pub(super) at: usize,
    /// Its checksum is right.
    pub(super) sound: bool,
}

/// The names of a member of RAR 1.3 to 4: as bytes in some code page, and perhaps in UTF-16 packed against these bytes.
pub(super) fn old_names(raw: &[u8], wide: bool) -> Vec<String> {
    let mut found = Vec::new();
    let (plain, packed) = match memchr::memchr(0, raw) {
        Some(end) if wide => (&raw[..end], Some(&raw[end + 1..])),
        _ => (raw, None),
    };
    if let Some(packed) = packed {
        names::add(&mut found, names::clean(&unpacked_name(plain, packed)));
    }
    for name in names::readings(plain, wide && packed.is_none()) {
        names::add(&mut found, name);
    }
    found
}

/// A name in UTF-16 that is packed: two bits for each character say how it differs from the plain one.
fn unpacked_name(plain: &[u8], packed: &[u8]) -> String {
    const LONGEST: usize = 4096;
    let mut bytes = packed.iter().copied();
    let mut name: Vec<u16> = Vec::new();
    let high = bytes.next().unwrap_or(0);
    let wide = |low: u8, high: u8| u16::from_le_bytes([low, high]);
    let plain_at = |place: usize| plain.get(place).copied().unwrap_or(0);
    'name: while let Some(flags) = bytes.next() {
        for place in (0..4).rev() {
            if name.len() >= LONGEST {
                break 'name;
            }
            let kind = flags >> (2 * place) & 3;
            let Some(first) = bytes.next() else { break 'name };
            match kind {
                0 => name.push(first.into()),
                1 => name.push(wide(first, high)),
                2 => name.push(wide(first, bytes.next().unwrap_or(0))),
                _ => {
                    let add = if first & 0x80 != 0 { bytes.next().map(|add| (add, high)) } else { None };
                    for _ in 0..usize::from(first & 0x7f) + 2 {
                        let low = plain_at(name.len());
                        name.push(add.map_or(low.into(), |(add, high)| wide(low.wrapping_add(add), high)));
                    }
                }
            }
        }
    }
    String::from_utf16_lossy(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_old_archives() {
        let table: &[(&[u8], bool, &[&str])] = &[
            (b"dir\\a.txt", false, &["dir/a.txt"]),
            (b"b\xc3\xbc", true, &["b\u{fc}"]),
            // High byte 4: three Cyrillic letters by their low bytes, then two bytes of a plain run.
            (b"???.x\0\x04\x57\x10\x11\x12\x00", true, &["\u{410}\u{411}\u{412}.x", "???.x"]),
            (b"ab\0\x00\x80\x41\x26", true, &["\u{2641}", "ab"]),
            (b"ab\0", true, &["ab"]),
        ];
        for (raw, wide, want) in table {
            assert_eq!(old_names(raw, *wide), *want, "{raw:?}");
        }
    }
}
