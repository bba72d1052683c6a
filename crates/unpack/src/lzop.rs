//! lzop files: blocks of LZO1X behind a header that names the file; several may stand one behind the other.

use gatepost_mail::{DefectKind, FileType};

use crate::codec::{Fault, Sink, lzo};
use crate::fields::u32_be;
use crate::names;
use crate::opening::{Opening, Stop};
use crate::single::{File, Single, Step};
use crate::zip::crc32;

const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";

const ADLER_OF_DATA: u32 = 0x1;
const ADLER_OF_PACKED: u32 = 0x2;
const EXTRA: u32 = 0x40;
const CRC_OF_DATA: u32 = 0x100;
const CRC_OF_PACKED: u32 = 0x200;
const FILTER: u32 = 0x800;

/// Whether this is an lzop file.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(MAGIC)
}

/// Opens an lzop file.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let single = Single { endings: &[("lzo", ""), ("tzo", ".tar")], stream };
    single.open(opening)
}

fn stream(opening: &mut Opening, input: &[u8], file: &mut File) -> Step {
    if !input.starts_with(MAGIC) {
        return Step::None;
    }
    let Some(header) = Header::read(input) else {
        file.complain(DefectKind::TruncatedArchive, "a header that ends early");
        return Step::Broken;
    };
    header.names.iter().for_each(|name| names::add(&mut file.names, name.clone()));
    // All methods of LZO1X unpack alike (1, 2 and 3).
    if !(1..=3).contains(&header.method) || header.flags & FILTER != 0 {
        file.complain(DefectKind::UnknownMethod, format!("method {} of lzop", header.method));
        return Step::Broken;
    }
    file.decode(opening, |sink, complaints| {
        let mut blocks = Blocks { input, at: header.len, flags: header.flags };
        while blocks.next(sink, complaints)? {}
        Ok(blocks.at)
    })
}

struct Header {
    names: Vec<String>,
    method: u8,
    flags: u32,
    len: usize,
}

impl Header {
    fn read(input: &[u8]) -> Option<Header> {
        let version = u16::from_be_bytes(*input.get(9..)?.first_chunk()?);
        // Version, library's version, version needed (from 0.940 on), method, level (from 0.940 on), flags.
        let new = version >= 0x0940;
        let method = *input.get(if new { 15 } else { 13 })?;
        let mut at = if new { 17 } else { 14 };
        let flags = u32_be(input, at)?;
        at += if flags & FILTER != 0 { 8 } else { 4 };
        // Mode and time, which has two words from 0.940 on.
        at += if new { 12 } else { 8 };
        let name_len = usize::from(*input.get(at)?);
        let name = input.get(at + 1..at + 1 + name_len)?;
        at += 1 + name_len + 4;
        if flags & EXTRA != 0 {
            at = at.checked_add(usize::try_from(u32_be(input, at)?).ok()?)?.checked_add(8)?;
        }
        (at <= input.len()).then(|| Header { names: names::readings(name, false), method, flags, len: at })
    }
}

struct Blocks<'a> {
    input: &'a [u8],
    at: usize,
    flags: u32,
}

impl Blocks<'_> {
    fn word(&mut self) -> Result<u32, Fault> {
        let word = u32_be(self.input, self.at).ok_or(Fault::Truncated)?;
        self.at += 4;
        Ok(word)
    }

    /// The checksums that the flags announce: of Adler and CRC.
    fn sums(&mut self, adler: u32, crc: u32) -> Result<(Option<u32>, Option<u32>), Fault> {
        let adler = if self.flags & adler != 0 { Some(self.word()?) } else { None };
        let crc = if self.flags & crc != 0 { Some(self.word()?) } else { None };
        Ok((adler, crc))
    }

    /// Unpacks a block; false at the end.
    fn next(&mut self, sink: &mut Sink, complaints: &mut Vec<&'static str>) -> Result<bool, Fault> {
        let size = self.word()? as usize;
        if size == 0 {
            return Ok(false);
        }
        let packed = self.word()? as usize;
        let sums = self.sums(ADLER_OF_DATA, CRC_OF_DATA)?;
        if packed < size {
            self.sums(ADLER_OF_PACKED, CRC_OF_PACKED)?;
        }
        let rest = self.input.get(self.at..).unwrap_or_default();
        let data = &rest[..packed.min(rest.len())];
        sink.restart()?;
        let start = sink.mark();
        if packed >= size {
            sink.extend(data)?;
        } else {
            lzo::decode(data, sink)?;
        }
        if data.len() < packed {
            return Err(Fault::Truncated);
        }
        self.at += packed;
        let made = sink.since(start);
        let fits =
            sums.0.is_none_or(|sum| sum == adler32(made)) && sums.1.is_none_or(|sum| sum == crc32(made));
        if (!fits || made.len() != size) && !complaints.contains(&"its checksum or size differs") {
            complaints.push("its checksum or size differs");
        }
        Ok(true)
    }
}

/// Adler-32 (RFC 1950 section 9).
fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (mut low, mut high) = (1_u32, 0_u32);
    // So many steps stay within 32 bits.
    for chunk in data.chunks(5552) {
        for &byte in chunk {
            low += u32::from(byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    high << 16 | low
}
