//! The two headers of a zip member: in the central directory (APPNOTE 4.3.12) and before its data (4.3.7).

use crate::fields::{u16_le, u32_le, u64_le};
use crate::names;

use super::locked::Winzip;

/// Flag bit 0: encrypted.
const ENCRYPTED: u16 = 1;
/// Flag bit 3: checksum and sizes stand behind the data.
const DESCRIPTOR: u16 = 1 << 3;
/// Flag bit 6: strong encryption.
const STRONG: u16 = 1 << 6;
/// Flag bit 11: names are UTF-8.
const UTF8: u16 = 1 << 11;

/// Sizes and offsets that say "see the zip64 field".
const SEE_ZIP64: u32 = u32::MAX;

/// What both headers tell of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Its names, as every reader would show them.
    pub(super) names: Vec<String>,
    /// General purpose flags.
    pub(super) flags: u16,
    /// How it is packed.
    pub(super) method: u16,
    /// Time of the file, as DOS has it.
    pub(super) time: u16,
    /// How it is encrypted, where that is WinZip's AES.
    pub(super) winzip: Option<Winzip>,
    /// CRC-32 of the content.
    pub(super) crc: u32,
    /// Packed size.
    pub(super) packed: u64,
    /// Size of the content.
    pub(super) size: u64,
}

/// A local header and where the data begins.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// The header.
    pub(super) header: Header,
    /// First byte of the data.
    pub(super) data_at: usize,
}

/// A header of the central directory, and where it points.
#[derive(Debug)]
pub(super) struct Central {
    /// The header.
    pub(super) header: Header,
    /// Offset of the local header as written.
    pub(super) offset: u64,
    /// Disk that the local header is on.
    pub(super) disk: u32,
    /// Size of this header.
    pub(super) len: usize,
}

impl Header {
    /// Whether it says that it is encrypted.
    pub(super) fn encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | STRONG) != 0
    }

    /// Whether sizes and checksum stand behind the data.
    pub(super) fn descriptor(&self) -> bool {
        self.flags & DESCRIPTOR != 0
    }

    /// Whether it names a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.names.first().is_some_and(|name| name.ends_with('/'))
    }

    /// What this header of the directory and the local one contradict each other in, if anything.
    pub(super) fn disagrees(&self, local: &Header) -> Option<&'static str> {
        if !self.names.iter().any(|name| local.names.contains(name)) && self.names != local.names {
            Some("its name")
        } else if self.method != local.method {
            Some("the method")
        } else if self.encrypted() != local.encrypted() {
            Some("encryption")
        } else if !local.descriptor() && (self.packed, self.size) != (local.packed, local.size) {
            Some("its size")
        } else if self.winzip != local.winzip && self.winzip.is_some() && local.winzip.is_some() {
            Some("encryption")
        } else if !local.descriptor() && self.crc != local.crc && !self.encrypted() {
            Some("the checksum")
        } else {
            None
        }
    }

    /// Takes sizes (and the offset) from the zip64 field where the 32-bit fields defer to it (4.5.3).
    fn zip64(&mut self, extra: &[u8], fields: [(u32, Wide); 3]) -> u64 {
        let wide = fields_of(extra).find(|(id, _)| *id == 0x0001).map_or(&[][..], |(_, data)| data);
        let mut at = 0;
        let mut offset = 0;
        for (narrow, which) in fields {
            let mut value = u64::from(narrow);
            if narrow == SEE_ZIP64
                && let Some(found) = u64_le(wide, at)
            {
                value = found;
                at += 8;
            }
            match which {
                Wide::Size => self.size = value,
                Wide::Packed => self.packed = value,
                Wide::Offset => offset = value,
            }
        }
        offset
    }
}

#[derive(Clone, Copy)]
enum Wide {
    Size,
    Packed,
    Offset,
}

impl Local {
    /// The local header at `at`, if there is one that fits.
    pub(super) fn read(body: &[u8], at: usize) -> Option<Local> {
        let head = body.get(at..)?;
        if !head.starts_with(b"PK\x03\x04") {
            return None;
        }
        let name_len = usize::from(u16_le(head, 26)?);
        let extra_len = usize::from(u16_le(head, 28)?);
        let name = head.get(30..30 + name_len)?;
        // A header that is cut off in its extra field still names its member.
        let extra = head.get(30 + name_len..).map(|rest| &rest[..extra_len.min(rest.len())])?;
        let flags = u16_le(head, 6)?;
        let mut header = Header {
            names: named(name, extra, flags),
            flags,
            method: u16_le(head, 8)?,
            time: u16_le(head, 10)?,
            winzip: winzip(extra),
            crc: u32_le(head, 14)?,
            ..Header::default()
        };
        let (packed, size) = (u32_le(head, 18)?, u32_le(head, 22)?);
        header.zip64(extra, [(size, Wide::Size), (packed, Wide::Packed), (0, Wide::Offset)]);
        Some(Local { header, data_at: at + 30 + name_len + extra.len() })
    }

    /// Whether what looks like a signature at `at` really begins a header. Cheap: megabytes of signatures are tried.
    pub(super) fn is_plausible(body: &[u8], at: usize) -> bool {
        /// Highest version that APPNOTE 4.4.3 knows.
        const NEWEST: u16 = 63;
        let field = |place: usize| u16_le(body, at + place);
        let version = field(4).is_some_and(|version| version & 0xff <= NEWEST);
        let method = field(8).is_some_and(|method| super::method::name(method).is_some());
        let name = field(26)
            .is_some_and(|len| (1..=2048).contains(&len) && body.len() - at >= 30 + usize::from(len));
        version && method && name
    }
}

impl Central {
    /// The header of the directory at `at`, if there is one.
    pub(super) fn read(body: &[u8], at: usize) -> Option<Central> {
        let head = body.get(at..)?;
        if !head.starts_with(b"PK\x01\x02") {
            return None;
        }
        let name_len = usize::from(u16_le(head, 28)?);
        let extra_len = usize::from(u16_le(head, 30)?);
        let comment_len = usize::from(u16_le(head, 32)?);
        let name = head.get(46..46 + name_len)?;
        let extra = head.get(46 + name_len..46 + name_len + extra_len)?;
        let flags = u16_le(head, 8)?;
        let mut header = Header {
            names: named(name, extra, flags),
            flags,
            method: u16_le(head, 10)?,
            time: u16_le(head, 12)?,
            winzip: winzip(extra),
            crc: u32_le(head, 16)?,
            ..Header::default()
        };
        let (packed, size, offset) = (u32_le(head, 20)?, u32_le(head, 24)?, u32_le(head, 42)?);
        let fields = [(size, Wide::Size), (packed, Wide::Packed), (offset, Wide::Offset)];
        let offset = header.zip64(extra, fields);
        let disk = u32::from(u16_le(head, 34)?);
        Some(Central { header, offset, disk, len: 46 + name_len + extra_len + comment_len })
    }
}

/// The names of a member: of the header, and of the Unicode path field (4.6.9) whether or not its checksum of the
/// header's name fits, since readers differ in looking at that.
fn named(name: &[u8], extra: &[u8], flags: u16) -> Vec<String> {
    let mut read = names::readings(name, flags & UTF8 != 0);
    for (id, data) in fields_of(extra) {
        if id == 0x7075
            && data.len() > 5
            && let Ok(text) = std::str::from_utf8(&data[5..])
        {
            let text = names::clean(text);
            let meant = u32_le(data, 1) == Some(crc32(name));
            match read.iter().position(|other| *other == text) {
                Some(place) if meant => read[..=place].rotate_right(1),
                Some(_) => {}
                None if meant => read.insert(0, text),
                None => read.push(text),
            }
        }
    }
    read
}

/// The field of WinZip's AES: version, vendor, strength, method.
fn winzip(extra: &[u8]) -> Option<Winzip> {
    let (_, data) = fields_of(extra).find(|(id, _)| *id == 0x9901)?;
    Some(Winzip { version: u16_le(data, 0)?, strength: *data.get(4)?, method: u16_le(data, 5)? })
}

/// The extra fields: id and data of each, as far as they are whole.
fn fields_of(extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let id = u16_le(extra, at)?;
        let len = usize::from(u16_le(extra, at + 2)?);
        let data = extra.get(at + 4..at + 4 + len)?;
        at += 4 + len;
        Some((id, data))
    })
}

/// CRC-32 as zip and gzip use it.
pub(crate) fn crc32(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}
