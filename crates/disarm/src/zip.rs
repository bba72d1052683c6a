//! Zips (PKWARE APPNOTE 6.3) that are to be written again without some of their members, the others as they were packed.
//!
//! Only sound ones are read: where programs could disagree about what a zip holds, nobody can say that something is gone.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use gatepost_mail::{Budget, Limit};
use gatepost_unpack::fields::{u16_le, u32_le};

use crate::Unreadable;

/// A member, as the directory lists it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name as it stands.
    pub(crate) name: Vec<u8>,
    flags: u16,
    method: u16,
    /// Time and date, as they stand.
    time: u32,
    crc: u32,
    size: u32,
    /// Where its packed data lies.
    data: Range<usize>,
}

impl Member {
    /// Its name as programs compare it: in lower case, with `/` between folders and none at the beginning.
    pub(crate) fn key(&self) -> String {
        key(&String::from_utf8_lossy(&self.name))
    }
}

/// A name of a member as programs compare it.
pub(crate) fn key(name: &str) -> String {
    name.replace('\\', "/").trim_start_matches('/').to_lowercase()
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const UTF8: u16 = 1 << 11;
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;

/// Members in the order of the directory.
pub(crate) fn members(zip: &[u8], budget: &mut Budget) -> Result<Vec<Member>, Unreadable> {
    let (count, directory) = end(zip)?;
    let mut found = Vec::new();
    let mut names = HashSet::new();
    let mut at = directory.start;
    for _ in 0..count {
        budget.take_part(0)?;
        let (member, length) = central(zip, at, directory.start).ok_or(BROKEN)??;
        at += length;
        if !names.insert(member.key()) {
            return Err(Unreadable::Malformed("a zip with two members of one name"));
        }
        found.push(member);
    }
    if at != directory.end {
        return Err(BROKEN);
    }
    let mut places: Vec<Range<usize>> = found.iter().map(|member| member.data.clone()).collect();
    places.sort_by_key(|place| place.start);
    if places.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err(Unreadable::Malformed("a zip whose members overlap"));
    }
    Ok(found)
}

const BROKEN: Unreadable = Unreadable::Malformed("a zip whose directory makes no sense");

/// How many members there are, and where the directory lies: its end record is the last thing in the zip, but for a comment.
fn end(zip: &[u8]) -> Result<(u16, Range<usize>), Unreadable> {
    const LENGTH: usize = 22;
    let longest = LENGTH + usize::from(u16::MAX);
    let from = zip.len().saturating_sub(longest);
    let at = memchr::memmem::rfind(&zip[from..], &END.to_le_bytes()).ok_or(BROKEN)? + from;
    let word = |place: usize| u32_le(zip, at + place);
    let (Some(disks), Some(count), Some(all), Some(size), Some(start), Some(comment)) =
        (word(4), u16_le(zip, at + 8), u16_le(zip, at + 10), word(12), word(16), u16_le(zip, at + 20))
    else {
        return Err(BROKEN);
    };
    if count == u16::MAX || size == u32::MAX || start == u32::MAX {
        return Err(Unreadable::Unsupported("a zip of the 64-bit form"));
    }
    let directory = start as usize..start as usize + size as usize;
    let sound =
        disks == 0 && count == all && directory.end == at && at + LENGTH + usize::from(comment) == zip.len();
    if sound { Ok((count, directory)) } else { Err(BROKEN) }
}

/// The member whose header of the directory stands at `at`, and how long that header is; None if there is none.
fn central(zip: &[u8], at: usize, limit: usize) -> Option<Result<(Member, usize), Unreadable>> {
    const SEE_ZIP64: u32 = u32::MAX;
    const ENCRYPTED: u16 = 1;
    let head = zip.get(at..)?;
    if u32_le(head, 0)? != CENTRAL {
        return None;
    }
    let (name, extra, comment) = (u16_le(head, 28)?, u16_le(head, 30)?, u16_le(head, 32)?);
    let name = head.get(46..46 + usize::from(name))?.to_vec();
    let length = 46 + name.len() + usize::from(extra) + usize::from(comment);
    let (flags, method) = (u16_le(head, 8)?, u16_le(head, 10)?);
    let (packed, size, start) = (u32_le(head, 20)?, u32_le(head, 24)?, u32_le(head, 42)?);
    if flags & ENCRYPTED != 0 {
        return Some(Err(Unreadable::Encrypted));
    }
    if packed == SEE_ZIP64 || size == SEE_ZIP64 || start == SEE_ZIP64 {
        return Some(Err(Unreadable::Unsupported("a zip of the 64-bit form")));
    }
    if !matches!(method, STORED | DEFLATED) || method == STORED && packed != size {
        return Some(Err(Unreadable::Malformed("a document packed as none is")));
    }
    // The header before the data must say the same.
    let start = start as usize;
    let local = zip.get(start..limit)?;
    let named = usize::from(u16_le(local, 26)?);
    let data = start + 30 + named + usize::from(u16_le(local, 28)?);
    let data = data..data.checked_add(packed as usize)?;
    let same = u32_le(local, 0)? == LOCAL
        && local.get(30..30 + named)? == name
        && u16_le(local, 8)? == method
        && u16_le(local, 6)? & ENCRYPTED == 0
        && data.end <= limit;
    if !same {
        return Some(Err(Unreadable::Malformed("a zip whose headers contradict each other")));
    }
    let (time, crc) = (u32_le(head, 12)?, u32_le(head, 16)?);
    Some(Ok((Member { name, flags, method, time, crc, size, data }, length)))
}

/// The content of a member.
pub(crate) fn content(zip: &[u8], member: &Member, budget: &mut Budget) -> Result<Vec<u8>, Unreadable> {
    let packed = zip.get(member.data.clone()).ok_or(BROKEN)?;
    budget.check_time()?;
    budget.check_ratio(packed.len() as u64, member.size.into())?;
    budget.check_memory(member.size.into())?;
    budget.take_bytes(member.size.into())?;
    let content = if member.method == STORED {
        packed.to_vec()
    } else {
        let mut content = Vec::new();
        // One byte more would show that there is more than it says.
        let mut unpacker = DeflateDecoder::new(packed).take(u64::from(member.size) + 1);
        unpacker.read_to_end(&mut content).map_err(|_| Unreadable::Malformed("a zip with broken data"))?;
        content
    };
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    let sound = content.len() == member.size as usize && crc.sum() == member.crc;
    if sound { Ok(content) } else { Err(Unreadable::Malformed("a zip with broken data")) }
}

/// The first bytes of a member, at most as many as are asked for.
pub(crate) fn beginning(zip: &[u8], member: &Member, most: u64) -> Vec<u8> {
    let packed = zip.get(member.data.clone()).unwrap_or_default();
    if member.method == STORED {
        return packed.iter().take(usize::try_from(most).unwrap_or(usize::MAX)).copied().collect();
    }
    let mut content = Vec::new();
    // What comes before an error is what can be seen of it; all of it is read with its checksum, if at all.
    let _ = DeflateDecoder::new(packed).take(most).read_to_end(&mut content);
    content
}

/// What becomes of a member.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is copied as it is packed.
    Stays,
    /// It gets other content, and another name if one is given.
    Becomes(Vec<u8>, Option<Vec<u8>>),
    /// It is not there any more.
    Goes,
}

/// Writes the zip again. What lay between its members is gone, and so are extra fields and comments.
pub(crate) fn write(
    zip: &[u8],
    members: &[(Member, Fate)],
    budget: &mut Budget,
) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::with_capacity(zip.len());
    let mut directory = Vec::new();
    let mut count = 0u16;
    for (member, fate) in members {
        budget.check_time()?;
        let mut member = member.clone();
        let packed;
        let data = match fate {
            Fate::Goes => continue,
            Fate::Stays => zip.get(member.data.clone()).ok_or(BROKEN)?,
            Fate::Becomes(content, name) => {
                packed = pack(content, &mut member)?;
                if let Some(name) = name {
                    member.name.clone_from(name);
                }
                &packed
            }
        };
        budget.take_bytes(data.len() as u64)?;
        let start = u32::try_from(out.len()).map_err(|_| Limit::Bytes)?;
        let head = head(&member, data.len())?;
        out.extend(LOCAL.to_le_bytes());
        out.extend(&head);
        out.extend(&member.name);
        out.extend_from_slice(data);
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(&head);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(&member.name);
        count = count.checked_add(1).ok_or(BROKEN)?;
    }
    let start = u32::try_from(out.len()).map_err(|_| Limit::Bytes)?;
    let size = u32::try_from(directory.len()).map_err(|_| Limit::Bytes)?;
    out.extend(directory);
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

/// The fields that both headers of a member have in common, from the version to the length of the extra field.
fn head(member: &Member, packed: usize) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::with_capacity(26);
    out.extend(20u16.to_le_bytes());
    out.extend((member.flags & UTF8).to_le_bytes());
    out.extend(member.method.to_le_bytes());
    out.extend(member.time.to_le_bytes());
    out.extend(member.crc.to_le_bytes());
    out.extend(u32::try_from(packed).map_err(|_| Limit::Bytes)?.to_le_bytes());
    out.extend(member.size.to_le_bytes());
    out.extend(u16::try_from(member.name.len()).map_err(|_| BROKEN)?.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

/// Packs new content, and notes it in the member.
fn pack(content: &[u8], member: &mut Member) -> Result<Vec<u8>, Unreadable> {
    let mut packed = Vec::new();
    DeflateEncoder::new(content, Compression::default())
        .read_to_end(&mut packed)
        .map_err(|_| Unreadable::Malformed("content that cannot be packed"))?;
    let mut crc = flate2::Crc::new();
    crc.update(content);
    member.crc = crc.sum();
    member.size = u32::try_from(content.len()).map_err(|_| Limit::Bytes)?;
    member.method = DEFLATED;
    Ok(packed)
}
