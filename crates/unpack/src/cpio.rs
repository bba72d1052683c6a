//! cpio archives: odc (POSIX.1), newc and crc (SVR4), the old binary form in both byte orders, afio's large headers.

use std::collections::HashMap;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};
use memchr::memmem;

use crate::opening::{Member, Opening, Stop};
use crate::{names, pieces};

/// Whether this is a cpio archive. Two bytes are too little to tell the old form by, so its header must make sense.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    let printed: [&[u8]; 4] = [b"070701", b"070702", b"070707", b"070727"];
    printed.iter().any(|magic| body.starts_with(magic))
        || Header::read(body, 0).is_some_and(|header| header.is_plausible())
}

/// Opens a cpio archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut links = Links::default();
    let mut at = 0;
    let mut ended = false;
    while at < body.len() {
        opening.check_time()?;
        let Some(header) = Header::read(&body, at) else {
            let Some(next) = next_header(&body, at) else { break };
            let gap = &body[at..next];
            if !ended || gap.iter().any(|byte| *byte != 0) {
                opening.defective(DefectKind::BadArchive, format!("{} bytes that are no cpio", gap.len()));
            }
            at = next;
            continue;
        };
        ended = header.name == b"TRAILER!!!";
        if !ended {
            entry(opening, &header, &mut links)?;
        }
        at = if ended { header.data_at } else { header.next };
    }
    links.hand_over(opening)?;
    if !ended {
        opening.defective(DefectKind::TruncatedArchive, "no trailer");
    }
    pieces::trailing(opening, at)
}

/// Names of hard links, whose content stands with the last of them (newc), by device and inode.
#[derive(Default)]
struct Links(HashMap<(u64, u64), Vec<String>>);

impl Links {
    /// Those whose content never came.
    fn hand_over(self, opening: &mut Opening) -> Result<(), Stop> {
        for names in self.0.into_values() {
            opening.member(Member { names, ..Member::default() })?;
        }
        Ok(())
    }
}

fn entry(opening: &mut Opening, header: &Header, links: &mut Links) -> Result<(), Stop> {
    const KIND: u32 = 0o170_000;
    const FOLDER: u32 = 0o040_000;
    const PLAIN: u32 = 0o100_000;
    let mut all = names::readings(header.name, false);
    let kind = header.fields.mode & KIND;
    if kind == FOLDER && header.fields.size == 0 {
        return Ok(());
    }
    if header.fields.size == 0 && header.fields.many && header.fields.form == Form::New && kind == PLAIN {
        links.0.entry(header.fields.inode).or_default().extend(all);
        return Ok(());
    }
    if header.fields.many
        && let Some(others) = links.0.remove(&header.fields.inode)
    {
        others.into_iter().for_each(|name| names::add(&mut all, name));
    }
    if !matches!(kind, PLAIN | 0 | FOLDER) {
        // Links and devices; what a link leads to is no content.
        opening.member(Member { names: all, ..Member::default() })?;
        return Ok(());
    }
    let id = pieces::stored(opening, all, header.data_at, header.fields.size)?;
    if let Some(said) = header.fields.sum {
        let (range, short) = crate::fields::cut(&opening.body, header.data_at, header.fields.size);
        let sum = opening.body[range].iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        if !short && sum != said {
            opening.defect(DefectKind::BadArchive, id, "its checksum differs");
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Old,
    New,
}

/// What a header tells.
struct Fields {
    form: Form,
    mode: u32,
    /// Device and inode.
    inode: (u64, u64),
    /// It has several names.
    many: bool,
    size: u64,
    sum: Option<u32>,
    /// Size of the header and of the name, and what places are multiples of.
    shape: (usize, u64, usize),
}

/// A header, and where what belongs to it lies.
struct Header<'a> {
    fields: Fields,
    name: &'a [u8],
    data_at: usize,
    /// Where the next header should be.
    next: usize,
}

impl Header<'_> {
    fn read(body: &[u8], at: usize) -> Option<Header<'_>> {
        let head = body.get(at..)?;
        let fields = match head.get(..6)? {
            b"070701" | b"070702" => Fields::newc(head),
            b"070707" => Fields::odc(head),
            b"070727" => Fields::afio(head),
            [0xc7, 0x71, ..] => Fields::binary(head, u16::from_le_bytes),
            [0x71, 0xc7, ..] => Fields::binary(head, u16::from_be_bytes),
            _ => None,
        };
        Header::placed(body, at, fields?)
    }

    /// With its name, and where its data lies.
    fn placed(body: &[u8], at: usize, fields: Fields) -> Option<Header<'_>> {
        const LONGEST: u64 = 1 << 16;
        let (len, name_size, align) = fields.shape;
        if name_size == 0 || name_size > LONGEST {
            return None;
        }
        let name_at = at.checked_add(len)?;
        let name_end = name_at + usize::try_from(name_size).ok()?;
        let name = body.get(name_at..name_end)?;
        let pad = |place: usize| at.saturating_add((place - at).next_multiple_of(align)).min(body.len());
        let data_at = pad(name_end);
        let end = usize::try_from(fields.size).ok().and_then(|size| data_at.checked_add(size));
        let next = end.filter(|end| *end <= body.len()).map_or(body.len(), pad);
        Some(Header { fields, name: name.strip_suffix(b"\0").unwrap_or(name), data_at, next })
    }

    /// Whether this can be no accident: a type that exists, and a name as systems have them.
    fn is_plausible(&self) -> bool {
        let kind = matches!(self.fields.mode >> 12, 0 | 1 | 2 | 4 | 6 | 8 | 9 | 10 | 12);
        kind && !self.name.is_empty() && self.name.iter().all(|byte| *byte >= b' ')
    }
}

impl Fields {
    /// Fields of eight hexadecimal digits; name and data each begin at a multiple of four.
    fn newc(head: &[u8]) -> Option<Fields> {
        let field = |number: usize| digits(head.get(6 + 8 * number..14 + 8 * number)?, 16);
        let sum = if head.starts_with(b"070702") { u32::try_from(field(12)?).ok() } else { None };
        Some(Fields {
            form: Form::New,
            mode: field(1)? as u32,
            inode: (field(7)? << 32 | field(8)?, field(0)?),
            many: field(4)? > 1,
            size: field(6)?,
            sum,
            shape: (110, field(11)?, 4),
        })
    }

    /// Fields of six or eleven octal digits, nothing padded.
    fn odc(head: &[u8]) -> Option<Fields> {
        let field = |from: usize, len: usize| digits(head.get(from..from + len)?, 8);
        Some(Fields {
            form: Form::Old,
            mode: field(18, 6)? as u32,
            inode: (field(6, 6)?, field(12, 6)?),
            many: field(36, 6)? > 1,
            size: field(65, 11)?,
            sum: None,
            shape: (76, field(59, 6)?, 1),
        })
    }

    /// afio, for what does not fit odc: hexadecimal but for the mode, letters between fields.
    fn afio(head: &[u8]) -> Option<Fields> {
        let field = |from: usize, len: usize| digits(head.get(from..from + len)?, 16);
        let letters = [(30, b'm'), (85, b'n'), (98, b's'), (115, b':')];
        if letters.iter().any(|(at, letter)| head.get(*at) != Some(letter)) {
            return None;
        }
        Some(Fields {
            form: Form::Old,
            mode: digits(head.get(31..37)?, 8)? as u32,
            inode: (field(6, 8)?, field(14, 16)?),
            many: field(53, 8)? > 1,
            size: field(99, 16)?,
            sum: None,
            shape: (116, field(86, 4)?, 1),
        })
    }

    /// 16-bit words, long ones with the upper half first; name and data padded to two.
    fn binary(head: &[u8], read: fn([u8; 2]) -> u16) -> Option<Fields> {
        let word = |number: usize| Some(u64::from(read(*head.get(2 * number..)?.first_chunk()?)));
        Some(Fields {
            form: Form::Old,
            mode: word(3)? as u32,
            inode: (word(1)?, word(2)?),
            many: word(6)? > 1,
            size: word(11)? << 16 | word(12)?,
            sum: None,
            shape: (26, word(10)?, 2),
        })
    }
}

/// The next header that makes sense.
fn next_header(body: &Bytes, at: usize) -> Option<usize> {
    /// Digits that turn up by chance are not worth more tries than this.
    const TRIES: usize = 4096;
    let rest = body.get(at + 1..)?;
    let found = memmem::find_iter(rest, b"0707").take(TRIES).map(|found| at + 1 + found);
    found.into_iter().find(|&next| Header::read(body, next).is_some_and(|header| header.is_plausible()))
}

fn digits(field: &[u8], base: u32) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.starts_with('+') { None } else { u64::from_str_radix(text, base).ok() }
}
