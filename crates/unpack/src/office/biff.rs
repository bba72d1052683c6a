//! Excel's binary files (MS-XLS; the older forms as far as they are alike; the records of xlsb, MS-XLSB): macro sheets,
//! names that run by themselves, DDE, links to other files, and whether all is encrypted.

use gatepost_mail::FeatureKind;

use super::macros4::{Macros4, cell};
use super::ptg::{self, Version, latin};
use crate::fields::{u16_le, u32_le};
use crate::layout;
use crate::opening::{Opening, Stop};

/// A record: its number, its data, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u16,
    pub(crate) data: &'a [u8],
    pub(crate) at: usize,
}

/// The records of a stream, until it ends or makes no sense.
pub(crate) fn records(stream: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (kind, length) = (u16_le(stream, at)?, usize::from(u16_le(stream, at + 2)?));
        let start = at;
        at = start + 4 + length;
        // Streams are filled up with zeros.
        if kind == 0 && length == 0 {
            return None;
        }
        Some(Record { kind, data: &stream[start + 4..at.min(stream.len())], at: start })
    })
}

const FORMULA: [u16; 3] = [0x0006, 0x0206, 0x0406];
const NAME: [u16; 2] = [0x0018, 0x0218];
const EOF: u16 = 0x000a;
const EXTERN_SHEET: u16 = 0x0017;
const FILE_PASS: u16 = 0x002f;
const BOUND_SHEET: u16 = 0x0085;
const SUP_BOOK: u16 = 0x01ae;
const HYPERLINK: u16 = 0x01b8;

/// Whether a record begins a stream or a part of it, in any version.
pub(crate) fn is_begin(kind: u16) -> bool {
    matches!(kind, 0x0009 | 0x0209 | 0x0409 | 0x0809)
}

/// The record that tells how the stream is encrypted.
pub(crate) fn encryption(stream: &[u8]) -> Option<Record<'_>> {
    /// It stands near the beginning.
    const NEAR: usize = 64;
    records(stream).take(NEAR).find(|record| record.kind == FILE_PASS)
}

/// Reads the stream of a workbook that is not encrypted.
pub(crate) fn open(opening: &mut Opening, stream: &[u8]) -> Result<(), Stop> {
    let mut book = Book { version: Version::Biff8, sheets: Vec::new(), macros: Macros4::default() };
    // The kinds of the parts of the stream that are open: charts stand inside of sheets.
    let mut open: Vec<(bool, String)> = Vec::new();
    for (count, record) in records(stream).enumerate() {
        if count % 4096 == 0 {
            opening.check_time()?;
        }
        if is_begin(record.kind) {
            if open.len() < 16 {
                let begun = book.begin(record);
                open.push(begun);
            }
        } else if record.kind == EOF {
            open.pop();
        } else if FORMULA.contains(&record.kind) {
            if let Some((true, sheet)) = open.last() {
                book.formula(sheet, record);
            }
        } else {
            book.record(opening, record);
        }
    }
    book.macros.tell(opening)
}

struct Book {
    version: Version,
    /// Where each sheet begins, its name, and whether it is hidden.
    sheets: Vec<(usize, String, bool)>,
    macros: Macros4,
}

impl Book {
    /// Whether what begins is a macro sheet, and its name.
    fn begin(&mut self, record: Record) -> (bool, String) {
        const MACRO_SHEET: u16 = 0x0040;
        let word = u16_le(record.data, 0);
        if record.kind != 0x0809 || word.is_some_and(|version| version < 0x0600) {
            self.version = Version::Biff5;
        }
        let is_macro = u16_le(record.data, 2) == Some(MACRO_SHEET);
        let known = self.sheets.iter().find(|(at, _, _)| *at == record.at);
        let name = known.map_or_else(|| "Macro".to_owned(), |(_, name, _)| name.clone());
        if is_macro {
            self.macros.sheet(&name, known.is_some_and(|(_, _, hidden)| *hidden));
        }
        (is_macro, name)
    }

    fn record(&mut self, opening: &mut Opening, record: Record) {
        match record.kind {
            BOUND_SHEET => {
                self.bound_sheet(record.data);
            }
            SUP_BOOK | EXTERN_SHEET => self.extern_book(opening, record),
            HYPERLINK => hyperlink(opening, record.data),
            kind if NAME.contains(&kind) => {
                self.name(record.data);
            }
            _ => {}
        }
    }

    fn bound_sheet(&mut self, data: &[u8]) -> Option<()> {
        const MOST: usize = 4096;
        const IS_MACRO: u8 = 1;
        let at = u32_le(data, 0)? as usize;
        let hidden = data.get(4)? & 3 != 0;
        let name = match self.version {
            Version::Biff5 => latin(data.get(7..)?),
            _ => short_string(data.get(6..)?)?,
        };
        // One that says so is a macro sheet even if what it leads to says otherwise.
        if *data.get(5)? == IS_MACRO {
            self.macros.sheet(&name, hidden);
        }
        if self.sheets.len() < MOST {
            self.sheets.push((at, name, hidden));
        }
        Some(())
    }

    /// A defined name (2.4.150); Excel's own ones are a number.
    fn name(&mut self, data: &[u8]) -> Option<()> {
        const BUILT_IN: u16 = 0x20;
        const BUILT_IN_NAMES: &[(u8, &str)] =
            &[(1, "auto_open"), (2, "auto_close"), (10, "auto_activate"), (11, "auto_deactivate")];
        let flags = u16_le(data, 0)?;
        let count = usize::from(*data.get(3)?);
        let text = match self.version {
            Version::Biff5 => data.get(14..)?,
            _ => data.get(15..)?,
        };
        if flags & BUILT_IN != 0
            && let Some((_, name)) = BUILT_IN_NAMES.iter().find(|(number, _)| Some(number) == text.first())
        {
            self.macros.name(name);
        }
        let is_wide = self.version == Version::Biff8 && data.get(14)? & 1 == 1;
        let text = text.get(..count * (1 + usize::from(is_wide)))?;
        // Characters that nobody sees hide a name from those that compare it; Excel passes over them.
        let name = if is_wide { super::wide(text) } else { latin(text) };
        self.macros.name(&name.chars().filter(char::is_ascii_graphic).collect::<String>());
        Some(())
    }

    fn formula(&mut self, sheet: &str, record: Record) {
        let data = record.data;
        let start = match (record.kind, self.version) {
            (0x0006, _) => 22,
            _ => 18,
        };
        let (Some(row), Some(column)) = (u16_le(data, 0), u16_le(data, 2)) else { return };
        let text = ptg::text(data.get(start..).unwrap_or_default(), self.version);
        self.macros.formula(&format!("{sheet}!{}", cell(row.into(), column.into())), &text);
    }

    /// What other file or program formulas refer to (2.4.271; an encoded path, 2.5.277).
    fn extern_book(&mut self, opening: &mut Opening, record: Record) {
        let path = match (record.kind, self.version) {
            (SUP_BOOK, _) => record.data.get(2..).and_then(long_string),
            (_, Version::Biff5) => record.data.get(1..).map(latin),
            _ => None,
        };
        let Some(path) = path else { return };
        if let Some(coded) = path.strip_prefix('\u{1}') {
            super::elsewhere(opening, "workbook", &plain_path(coded));
        } else if let Some((service, topic)) = path.split_once('\u{3}') {
            source(opening, service, topic);
        }
    }
}

/// Data from another program: OLE servers have a dot in their names, DDE servers are programs.
fn source(opening: &mut Opening, service: &str, topic: &str) {
    if service.contains('.') && !service.to_ascii_lowercase().ends_with(".exe") {
        super::elsewhere(opening, service, topic.trim_matches('\''));
    } else if !service.is_empty() {
        opening.feature(FeatureKind::Dde, format!("{service}|{topic}"));
    }
}

/// An encoded path as people write it.
fn plain_path(coded: &str) -> String {
    let mut out = String::with_capacity(coded.len());
    let mut chars = coded.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1}' => match chars.next() {
                Some('@') => out.push_str("\\\\"),
                Some(drive) => out.extend([drive, ':', '\\']),
                None => {}
            },
            '\u{2}' | '\u{3}' => out.push('\\'),
            '\u{4}' => out.push_str("..\\"),
            // An address, behind its length.
            '\u{5}' => {
                chars.next();
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The moniker of an address in a hyperlink (MS-OSHARED 2.3.7.6).
pub(crate) fn hyperlink(opening: &mut Opening, data: &[u8]) {
    const URL: &[u8] = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    if let Some(at) = memchr::memmem::find(data, URL) {
        let text = data.get(at + URL.len() + 4..).unwrap_or_default();
        super::hyperlink(opening, &super::wide(text));
    }
}

/// A count in one byte, whether the characters are wide, the characters.
fn short_string(data: &[u8]) -> Option<String> {
    let count = usize::from(*data.first()?);
    string(data.get(1..)?, count)
}

/// The same with the count in two bytes.
fn long_string(data: &[u8]) -> Option<String> {
    /// Other numbers than lengths stand here too.
    const LONGEST: u16 = 0x400;
    let count = u16_le(data, 0).filter(|count| *count < LONGEST)?;
    string(data.get(2..)?, count.into())
}

fn string(data: &[u8], count: usize) -> Option<String> {
    let (flags, text) = data.split_first()?;
    let is_wide = flags & 1 == 1;
    let text = &text[..text.len().min(count * (1 + usize::from(is_wide)))];
    Some(if is_wide { super::wide(text) } else { latin(text) })
}

/// The records of a part of an xlsb file (MS-XLSB 2.1.4): numbers and sizes are of one byte or more.
fn records12(part: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let record = layout::xlsb_record(part, at)?;
        at = record.end;
        Some((record.kind, &part[record.start.min(part.len())..at.min(part.len())]))
    })
}

/// Reads one part of an xlsb file. `sheet` is the macro sheet's name, if it is one.
pub(crate) fn part12(
    opening: &mut Opening,
    part: &[u8],
    sheet: Option<&str>,
    macros: &mut Macros4,
) -> Result<(), Stop> {
    const ROW: u16 = 0;
    const FORMULAS: std::ops::RangeInclusive<u16> = 8..=11;
    const NAME: u16 = 39;
    const BEGIN_SUP_BOOK: u16 = 360;
    let mut row = 0;
    for (count, (kind, data)) in records12(part).enumerate() {
        if count % 4096 == 0 {
            opening.check_time()?;
        }
        match kind {
            ROW => row = u32_le(data, 0).unwrap_or_default(),
            kind if FORMULAS.contains(&kind) => {
                if let Some(sheet) = sheet
                    && let Some(tokens) = tokens12(kind, data)
                {
                    let column = u32_le(data, 0).unwrap_or_default();
                    let text = ptg::text(tokens, Version::Biff12);
                    macros.formula(&format!("{sheet}!{}", cell(row, column)), &text);
                }
            }
            NAME => {
                if let Some((name, _)) = data.get(9..).and_then(string12) {
                    macros.name(&name);
                }
            }
            BEGIN_SUP_BOOK => {
                if u16_le(data, 0) == Some(1)
                    && let Some((service, behind)) = data.get(2..).and_then(string12)
                {
                    let topic = string12(behind).map_or(String::new(), |(topic, _)| topic);
                    opening.feature(FeatureKind::Dde, format!("{service}|{topic}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The tokens of a formula's cell: behind the place, its format, the value, and flags.
fn tokens12(kind: u16, data: &[u8]) -> Option<&[u8]> {
    let value = match kind {
        8 => 4 + u32_le(data, 8)? as usize * 2,
        9 => 8,
        _ => 1,
    };
    let at = 8usize.checked_add(value)?.checked_add(2)?;
    let size = u32_le(data, at)? as usize;
    let start = at + 4;
    Some(&data[start.min(data.len())..start.saturating_add(size).min(data.len())])
}

/// A wide text behind its length, and what follows.
fn string12(data: &[u8]) -> Option<(String, &[u8])> {
    let count = u32_le(data, 0)? as usize;
    let end = count.checked_mul(2)?.checked_add(4)?;
    Some((super::wide(data.get(4..end)?), &data[end..]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One record.
    pub(crate) fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
    }

    /// A workbook with a hidden macro sheet that runs `calc` by itself.
    pub(crate) fn workbook() -> Vec<u8> {
        let begin = |kind: u8| record(0x0809, &[0, 6, kind, 0, 0, 0, 0, 0]);
        let name = [&[0x20, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1][..]].concat();
        let dde = [&[1, 0, 6, 0, 0][..], b"cmd\x03/c"].concat();
        let head = [begin(5), record(0x18, &name), record(0x1ae, &dde)].concat();
        let sheet_at = (head.len() + 4 + 14 + 4) as u32;
        let sheet = [&sheet_at.to_le_bytes()[..], &[1, 1, 6, 0], b"Macro1"].concat();
        let tokens = b"\x17\x04\0calc\x42\x01\x6e\0";
        let formula = [&[0; 20][..], &(tokens.len() as u16).to_le_bytes(), tokens].concat();
        [head, record(0x85, &sheet), record(10, &[]), begin(0x40), record(6, &formula), record(10, &[])]
            .concat()
    }

    #[test]
    fn paths_of_other_books() {
        for (coded, plain) in [
            ("\u{1}@host\u{3}share\u{3}a.xls", "\\\\host\\share\\a.xls"),
            ("\u{5}\u{10}http://a/b.xls", "http://a/b.xls"),
            ("\u{1}Ca.xls", "C:\\a.xls"),
            ("a.xls", "a.xls"),
        ] {
            assert_eq!(plain_path(coded), plain);
        }
    }

    #[test]
    fn records_end_where_the_stream_does() {
        assert_eq!(records(&[&record(1, b"ab")[..], &[2, 0, 255, 255, 1]].concat()).count(), 2);
        assert_eq!(records(&[0; 100]).count(), 0);
        assert_eq!(
            records12(b"\x81\x01\x82\x00ab\x00\xff\xff\xff\xff")
                .map(|(kind, data)| (kind, data.len()))
                .collect::<Vec<_>>(),
            [(129, 2), (0, 0)]
        );
    }
}
