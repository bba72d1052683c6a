//! Compiled HTML help: a directory of files that lie in a section as they are or in one compressed by LZX.

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType, Limit};

use crate::fields::{cut, u32_le, u64_le};
use crate::lzx::Lzx;
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// Names of the files that tell of the compressed section.
const SECTION: &[u8] = b"::DataSpace/Storage/MSCompressed/";
/// Size of what LZX makes between two places where it is aligned; sizes are told in it.
const FRAME: u64 = 0x8000;

/// Whether this is compiled help.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(b"ITSF") && body.len() > 0x58
}

/// Opens compiled help.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some(help) = Help::read(opening, &body)? else {
        opening.defective(DefectKind::BadArchive, "a header that makes no sense");
        return Ok(());
    };
    let mut compressed = None;
    for file in &help.files {
        opening.check_time()?;
        if file.len == 0 || file.name.starts_with(b"::") {
            continue;
        }
        if file.section == 0 {
            let (range, short) = cut(&body, help.place(file), file.len);
            let (content, over) = match opening.slice(range) {
                Ok(content) => (content, None),
                Err(limit) => (Bytes::new(), Some(limit)),
            };
            member(opening, file, content, short, over)?;
            continue;
        }
        let section = match &mut compressed {
            Some(section) => section,
            None => compressed.insert(help.section(opening, &body)),
        };
        let (range, short) = cut(&section.data, usize::try_from(file.offset).unwrap_or(usize::MAX), file.len);
        let mut over = if short { section.over } else { None };
        section.given += range.len();
        let content = if section.given <= section.data.len() {
            section.data.slice(range)
        } else {
            // Files that share bytes are copies, so that they are paid for.
            let (mut copy, size) = (Vec::new(), section.data.len() as u64);
            if let End::Over(limit) = opening.drain(&mut &section.data[range], size, &mut copy) {
                over = Some(limit);
            }
            keep(copy)
        };
        member(opening, file, content, short, over)?;
    }
    Ok(())
}

fn member(
    opening: &mut Opening,
    file: &File,
    body: Bytes,
    short: bool,
    over: Option<Limit>,
) -> Result<(), Stop> {
    let names = names::readings(&file.name, true);
    let id = opening.member(Member { names, body, unread: short, encrypted: false })?;
    if let Some(limit) = over {
        opening.over(limit, Some(id));
    } else if short {
        opening.defect(DefectKind::TruncatedArchive, id, "its data is damaged or ends early");
    }
    Ok(())
}

/// A file as the directory lists it.
struct File {
    name: Vec<u8>,
    section: u64,
    offset: u64,
    len: u64,
}

struct Help {
    files: Vec<File>,
    /// Where the section begins whose files lie there as they are.
    content_at: u64,
}

/// The compressed section, as far as it could be unpacked.
struct Section {
    data: Bytes,
    given: usize,
    over: Option<Limit>,
}

impl Help {
    fn read(opening: &mut Opening, body: &[u8]) -> Result<Option<Help>, Stop> {
        let Some(mut help) = Help::head(body) else { return Ok(None) };
        let directory_at = u64_le(body, 0x48).and_then(|at| usize::try_from(at).ok());
        let Some(directory) = directory_at.and_then(|at| body.get(at..)) else { return Ok(None) };
        let fields = (u32_le(directory, 8), u32_le(directory, 0x10), u32_le(directory, 0x2c));
        let (Some(head), Some(size), Some(count)) = fields else { return Ok(None) };
        if !directory.starts_with(b"ITSP") || !(0x20..=1 << 20).contains(&size) {
            return Ok(None);
        }
        // Every chunk in order: the list that links them says the same in an honest file.
        let chunks = directory.get(head as usize..).unwrap_or_default().chunks(size as usize);
        for chunk in chunks.take(count as usize) {
            opening.check_time()?;
            help.chunk(chunk, 4 * opening.most_members());
        }
        Ok(Some(help))
    }

    fn head(body: &[u8]) -> Option<Help> {
        let version = u32_le(body, 4)?;
        let directory_end = u64_le(body, 0x48)?.checked_add(u64_le(body, 0x50)?);
        let content_at = if version >= 3 { u64_le(body, 0x58) } else { directory_end }?;
        Some(Help { files: Vec::new(), content_at })
    }

    /// Entries of a chunk of the directory; other chunks are an index.
    fn chunk(&mut self, chunk: &[u8], most: usize) {
        let free = u32_le(chunk, 4).unwrap_or(0) as usize;
        if !chunk.starts_with(b"PMGL") || chunk.len() < free {
            return;
        }
        let mut rest = chunk.get(0x14..chunk.len() - free).unwrap_or_default();
        while !rest.is_empty() && self.files.len() < most {
            let Some(file) = File::read(&mut rest) else { return };
            self.files.push(file);
        }
    }

    /// Where in the body a file of the first section lies.
    fn place(&self, file: &File) -> usize {
        let at = self.content_at.checked_add(file.offset);
        at.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX)
    }

    /// What a file of the first section holds that tells of the compressed one.
    fn told<'a>(&self, body: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
        let tells = |file: &&File| file.section == 0 && file.name.strip_prefix(SECTION) == Some(end);
        let file = self.files.iter().find(tells)?;
        Some(&body[cut(body, self.place(file), file.len).0])
    }

    fn section(&self, opening: &mut Opening, body: &[u8]) -> Section {
        let mut section = Section { data: Bytes::new(), given: 0, over: None };
        let Some((packed, order, size, interval)) = self.parameters(body) else { return section };
        if let Err(limit) = opening.check_memory((1 << order) + packed.len() as u64) {
            section.over = Some(limit);
        } else if let Some(mut source) = Lzx::new(packed, order, size, Some(interval)) {
            let mut data = Vec::new();
            if let End::Over(limit) = opening.drain(&mut source, packed.len() as u64, &mut data) {
                section.over = Some(limit);
            }
            section.data = keep(data);
        }
        section
    }

    /// The packed data, the window's size as a power of two, the size that it becomes, and after how many bytes everything
    /// begins anew.
    fn parameters<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], u32, u64, u64)> {
        let packed = self.told(body, b"Content")?;
        let control = self.told(body, b"ControlData")?;
        if control.get(4..8)? != b"LZXC" {
            return None;
        }
        let unit = if u32_le(control, 8)? >= 2 { FRAME } else { 1 };
        let interval = u64::from(u32_le(control, 12)?).checked_mul(unit)?;
        let window = u64::from(u32_le(control, 16)?).checked_mul(unit)?;
        if interval == 0 || interval % FRAME != 0 || !window.is_power_of_two() {
            return None;
        }
        let table =
            self.told(body, b"Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable");
        let size = table.and_then(|table| u64_le(table, 0x10));
        let size = size.or_else(|| u64_le(self.told(body, b"SpanInfo")?, 0))?;
        let order = window.trailing_zeros();
        (15..=21).contains(&order).then_some((packed, order, size, interval))
    }
}

impl File {
    fn read(rest: &mut &[u8]) -> Option<File> {
        let len = usize::try_from(number(rest)?).ok()?;
        let (name, behind) = rest.split_at_checked(len)?;
        *rest = behind;
        Some(File { name: name.to_vec(), section: number(rest)?, offset: number(rest)?, len: number(rest)? })
    }
}

/// A number of seven bits a byte, highest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for _ in 0..9 {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
