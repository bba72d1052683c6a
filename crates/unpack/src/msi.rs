//! Installer packages of Windows (MSI, MSP, MST): compound files whose streams have mangled names. Cabinets with the files
//! to be installed, programs and scripts that installing runs are such streams; so are the tables of the database.

use gatepost_mail::FileType;
use memchr::memmem;

use crate::cfb::{Cfb, MAGIC};
use crate::names;
use crate::opening::{Opening, Stop};

/// The 64 characters of which two at a time, or one, make a mangled one.
const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
const PAIRS: u32 = 0x3800;
const SINGLES: u32 = 0x4800;
/// Stands before the names of tables.
const TABLE: char = '\u{4840}';

/// Whether this is an installer package: a compound file with the table of strings.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    /// `_StringPool` mangled: `\u4840`, then pairs.
    const MARK: &str = "\u{4840}\u{3f3f}\u{4577}\u{446c}\u{3e6a}\u{44b2}\u{482f}";
    let mark = || MARK.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    body.starts_with(MAGIC) && (detected == FileType::MSI || memmem::find(body, &mark()).is_some())
}

/// Opens an installer package.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let (cfb, defects) = Cfb::parse(&opening.body);
    for (kind, detail) in defects {
        opening.defective(kind, detail);
    }
    for entry in cfb.entries().iter().filter(|entry| !entry.storage) {
        opening.check_time()?;
        let name = plain(&entry.name);
        // Of the tables, only the strings hold anything that runs: scripts of custom actions.
        if entry.name.starts_with(TABLE) && name != "_StringData" {
            continue;
        }
        let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = crate::disk::volume::joined(&plain(folder), &name);
        crate::outlook::stream(opening, &cfb, entry, vec![names::clean(&path)])?;
    }
    Ok(())
}

/// A name as the installer knows it, without the mark of tables.
fn plain(mangled: &str) -> String {
    let letter = |value: u32| char::from(ALPHABET[(value & 63) as usize]);
    let mut name = String::new();
    for c in mangled.chars() {
        match u32::from(c) {
            PAIRS..SINGLES => {
                let pair = u32::from(c) - PAIRS;
                name.extend([letter(pair), letter(pair >> 6)]);
            }
            single @ SINGLES..0x4840 => name.push(letter(single - SINGLES)),
            _ if c == TABLE => {}
            _ => name.push(c),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mended() {
        assert_eq!(plain("\u{4840}\u{3f3f}\u{4577}\u{446c}\u{3e6a}\u{44b2}\u{482f}"), "_StringPool");
        assert_eq!(plain("\u{5}SummaryInformation"), "\u{5}SummaryInformation");
    }
}
