//! The text that a reader sees of Word, Excel and PowerPoint files up to 2003: what antiword, xls2csv and catppt print, but
//! for numbers in cells. One pass over each stream; nothing recurses.

use std::ops::Range;

use encoding_rs::Encoding;

use super::biff::{self, Record};
use crate::fields::{u16_le, u32_le};

/// The text of a document, by the pieces of its stream and whether their characters are of two bytes; without pieces that of
/// an older one, whose text lies in one piece (MS-DOC 2.4.1). Cut after some `most` bytes.
pub(super) fn document(body: &[u8], pieces: Option<&[(Range<usize>, bool)]>, most: usize) -> String {
    const WORD_6: u16 = 0xa5dc;
    let mut text = Flow { most, ..Flow::default() };
    match pieces {
        Some(pieces) if u16_le(body, 0) != Some(WORD_6) => {
            for (range, wide) in pieces {
                match wide {
                    true => text.wide(&body[range.clone()]),
                    false => text.narrow(&body[range.clone()], encoding_rs::WINDOWS_1252),
                }
            }
        }
        _ => {
            let [from, to] = [0x18, 0x1c].map(|at| u32_le(body, at).map_or(0, |at| at as usize));
            let encoding = spoken(u16_le(body, 6).unwrap_or_default());
            text.narrow(body.get(from..to.min(body.len())).unwrap_or_default(), encoding);
        }
    }
    text.out
}

/// Text as it flows through a document, whose fields show their results alone.
#[derive(Default)]
struct Flow {
    out: String,
    most: usize,
    /// For each open field, whether its instruction is being read.
    fields: Vec<bool>,
    /// The last character ended a cell.
    cell: bool,
}

impl Flow {
    fn wide(&mut self, text: &[u8]) {
        let units = text.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        for character in char::decode_utf16(units) {
            self.character(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }

    fn narrow(&mut self, text: &[u8], encoding: &'static Encoding) {
        encoding.decode_without_bom_handling(text).0.chars().for_each(|character| self.character(character));
    }

    fn character(&mut self, character: char) {
        const DEEPEST: usize = 64;
        let was_cell = std::mem::take(&mut self.cell);
        match character {
            '\u{13}' if self.fields.len() < DEEPEST => self.fields.push(true),
            '\u{14}' => self.fields.last_mut().into_iter().for_each(|instruction| *instruction = false),
            '\u{15}' => {
                self.fields.pop();
            }
            _ if self.fields.contains(&true) || self.out.len() >= self.most => {}
            // The end of a cell; of a row, if there is another behind it.
            '\u{7}' => {
                self.cell = !was_cell;
                self.out.push(if was_cell { '\n' } else { '\t' });
            }
            '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{e}' => self.out.push('\n'),
            '\t' => self.out.push('\t'),
            '\u{1e}' => self.out.push('-'),
            '\u{a0}' => self.out.push(' '),
            '\u{ad}' => {}
            _ if character.is_control() => {}
            _ => self.out.push(character),
        }
    }
}

/// The code page that Word 6 and 95 write in a language (MS-LCID).
fn spoken(language: u16) -> &'static Encoding {
    match language & 0x3ff {
        0x05 | 0x0e | 0x15 | 0x18 | 0x1a | 0x1b | 0x1c | 0x24 => encoding_rs::WINDOWS_1250,
        0x02 | 0x19 | 0x22 | 0x23 | 0x2f => encoding_rs::WINDOWS_1251,
        0x08 => encoding_rs::WINDOWS_1253,
        0x1f => encoding_rs::WINDOWS_1254,
        0x0d => encoding_rs::WINDOWS_1255,
        0x01 | 0x20 | 0x29 => encoding_rs::WINDOWS_1256,
        0x25..=0x27 => encoding_rs::WINDOWS_1257,
        0x2a => encoding_rs::WINDOWS_1258,
        0x1e => encoding_rs::WINDOWS_874,
        _ => encoding_rs::WINDOWS_1252,
    }
}

/// The encoding of a code page.
fn code_page(number: u16) -> &'static Encoding {
    match number {
        874 => encoding_rs::WINDOWS_874,
        932 => encoding_rs::SHIFT_JIS,
        936 => encoding_rs::GBK,
        949 => encoding_rs::EUC_KR,
        950 => encoding_rs::BIG5,
        1250 => encoding_rs::WINDOWS_1250,
        1251 => encoding_rs::WINDOWS_1251,
        1253 => encoding_rs::WINDOWS_1253,
        1254 => encoding_rs::WINDOWS_1254,
        1255 => encoding_rs::WINDOWS_1255,
        1256 => encoding_rs::WINDOWS_1256,
        1257 => encoding_rs::WINDOWS_1257,
        1258 => encoding_rs::WINDOWS_1258,
        10000 | 0x8000 => encoding_rs::MACINTOSH,
        _ => encoding_rs::WINDOWS_1252,
    }
}

/// The texts in the cells and boxes of a workbook (MS-XLS), cells apart by tabs and rows by line ends. Cut after some `most`
/// bytes.
pub(super) fn sheets(stream: &[u8], most: usize) -> String {
    const TEXT_BOX: u16 = 0x01b6;
    const CONTINUE: u16 = 0x003c;
    const STRINGS: u16 = 0x00fc;
    let mut book = Book { encoding: encoding_rs::WINDOWS_1252, ..Book::new(most) };
    let mut strings: Vec<&[u8]> = Vec::new();
    // What further records go on with.
    let mut open = None;
    for record in biff::records(stream) {
        if record.kind == CONTINUE {
            match open {
                Some(STRINGS) => strings.push(record.data),
                Some(TEXT_BOX) => {
                    book.boxed(record.data);
                    open = None;
                }
                _ => {}
            }
            continue;
        }
        if open == Some(STRINGS) {
            book.strings = Strings::read(&strings);
        }
        open = Some(record.kind);
        match record.kind {
            STRINGS => strings = vec![record.data],
            _ => book.record(record),
        }
        if book.out.len() >= most {
            break;
        }
    }
    if book.out.is_empty() {
        // Nothing leads to them, and yet somebody will find them.
        book.strings.text.truncate(book.strings.text.floor_char_boundary(most));
        return book.strings.text;
    }
    book.out
}

struct Book {
    out: String,
    most: usize,
    /// The texts that cells refer to.
    strings: Strings,
    encoding: &'static Encoding,
    /// Texts are of BIFF8, which tells whether characters are of two bytes.
    is_new: bool,
    row: Option<u16>,
}

impl Book {
    fn new(most: usize) -> Book {
        let (out, strings, encoding) = (String::new(), Strings::default(), encoding_rs::WINDOWS_1252);
        Book { out, most, strings, encoding, is_new: true, row: None }
    }

    /// One record as far as it shows text (MS-XLS 2.4.148, 2.4.149, 2.4.268).
    fn record(&mut self, record: Record) {
        const CODE_PAGE: u16 = 0x0042;
        const LABEL_OF_STRINGS: u16 = 0x00fd;
        const LABELS: [u16; 2] = [0x0204, 0x00d6];
        const RESULT: u16 = 0x0207;
        let data = record.data;
        match record.kind {
            0x0809 => self.is_new = u16_le(data, 0).is_none_or(|version| version >= 0x0600),
            CODE_PAGE => self.encoding = code_page(u16_le(data, 0).unwrap_or_default()),
            LABEL_OF_STRINGS => {
                let string =
                    u32_le(data, 6).and_then(|place| self.strings.places.get(place as usize)).cloned();
                if let (Some(row), Some(string)) = (u16_le(data, 0), string) {
                    let text = self.strings.text[string].to_owned();
                    self.cell(row, &text);
                }
            }
            kind if LABELS.contains(&kind) => {
                if let (Some(row), Some(text)) = (u16_le(data, 0), self.string(data.get(6..))) {
                    self.cell(row, &text);
                }
            }
            RESULT => {
                if let Some(text) = self.string(Some(data)) {
                    self.cell(self.row.unwrap_or_default(), &text);
                }
            }
            _ => {}
        }
    }

    /// A string behind the count of its characters.
    fn string(&self, data: Option<&[u8]>) -> Option<String> {
        let data = data?;
        let count = usize::from(u16_le(data, 0)?);
        if self.is_new {
            return Some(Pieces::of(&[data.get(2..)?]).characters(count, None));
        }
        let text = data.get(2..)?;
        Some(self.encoding.decode_without_bom_handling(&text[..count.min(text.len())]).0.into_owned())
    }

    /// What stands in a box over the cells.
    fn boxed(&mut self, data: &[u8]) {
        let text = Pieces::of(&[data]).characters(data.len(), None);
        self.row = None;
        self.line(&text);
    }

    fn cell(&mut self, row: u16, text: &str) {
        match self.row.replace(row) {
            Some(before) if before == row => self.out.push('\t'),
            Some(_) => self.out.push('\n'),
            None => {}
        }
        self.put(text);
    }

    fn line(&mut self, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.put(text);
        self.out.push('\n');
    }

    fn put(&mut self, text: &str) {
        let room = self.most.saturating_sub(self.out.len());
        let text = &text[..text.floor_char_boundary(room)];
        self.out.extend(
            text.chars()
                .map(|c| if c.is_control() { if c == '\n' || c == '\r' { '\n' } else { ' ' } } else { c }),
        );
    }
}

/// The table of texts of a workbook (MS-XLS 2.4.265).
#[derive(Default)]
struct Strings {
    text: String,
    places: Vec<Range<usize>>,
}

impl Strings {
    /// Reads the table out of its record and those that go on with it.
    fn read(records: &[&[u8]]) -> Strings {
        let mut strings = Strings::default();
        let mut pieces = Pieces::of(records);
        // How many there are it says, but nobody believes it.
        pieces.skip(8);
        while let Some(count) = pieces.number(2) {
            let Some(flags) = pieces.number(1) else { break };
            let runs = if flags & 8 != 0 { pieces.number(2).unwrap_or(0) } else { 0 };
            let more = if flags & 4 != 0 { pieces.number(4).unwrap_or(0) } else { 0 };
            let start = strings.text.len();
            strings.text.push_str(&pieces.characters(count, Some(flags & 1 == 1)));
            strings.places.push(start..strings.text.len());
            strings.text.push('\n');
            pieces.skip(runs.saturating_mul(4).saturating_add(more));
        }
        strings
    }
}

/// Data that goes on from record to record.
struct Pieces<'a> {
    list: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Pieces<'a> {
    fn of(list: &'a [&'a [u8]]) -> Pieces<'a> {
        Pieces { list, at: 0 }
    }

    /// What is left of the record; that of the next one where this one is over.
    fn rest(&mut self) -> &'a [u8] {
        while let [first, tail @ ..] = self.list {
            if self.at < first.len() {
                return &first[self.at..];
            }
            self.list = tail;
            self.at = 0;
        }
        &[]
    }

    fn number(&mut self, size: usize) -> Option<usize> {
        let mut number = 0;
        for place in 0..size {
            number |= usize::from(*self.rest().first()?) << (8 * place);
            self.at += 1;
        }
        Some(number)
    }

    fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let step = self.rest().len().min(count);
            if step == 0 {
                return;
            }
            self.at += step;
            count -= step;
        }
    }

    /// So many characters, whether of two bytes (None: a byte before them says so). Where they go on in another record, a byte
    /// tells it anew (MS-XLS 2.5.293).
    fn characters(&mut self, count: usize, wide: Option<bool>) -> String {
        let mut out = String::new();
        let mut units: Vec<u16> = Vec::new();
        let mut left = count;
        let mut wide = wide.or_else(|| self.number(1).map(|flags| flags & 1 == 1)).unwrap_or(false);
        while left > 0 {
            let ended = self.list.first().is_none_or(|first| self.at >= first.len());
            let mut rest = self.rest();
            if ended && !rest.is_empty() {
                wide = rest[0] & 1 == 1;
                self.at += 1;
                rest = &rest[1..];
            }
            let size = if wide { 2 } else { 1 };
            let many = (rest.len() / size).min(left);
            if many == 0 {
                // Half of a character is none.
                self.at += rest.len();
                if self.rest().is_empty() {
                    break;
                }
                continue;
            }
            match wide {
                true => units.extend(
                    rest[..many * 2].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])),
                ),
                false => units.extend(rest[..many].iter().map(|byte| u16::from(*byte))),
            }
            self.at += many * size;
            left -= many;
        }
        out.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        out
    }
}

/// The texts of slides and notes, a line each at least; those of masters as far as slides show them (MS-PPT 2.9). Cut after
/// some `most` bytes.
pub(super) fn slides(stream: &[u8], most: usize) -> String {
    const CONTAINER: u16 = 15;
    const MASTER: u16 = 1016;
    const KIND: u16 = 3999;
    const WIDE: u16 = 4000;
    const NARROW: u16 = 4008;
    /// A text that is neither title nor body.
    const OTHER: u32 = 4;
    let mut text = Flow { most, ..Flow::default() };
    let mut at = 0usize;
    // Where the master ends that is being read, and whether its text is more than what slides have their own for.
    let (mut master, mut is_own) = (0, false);
    while let (Some(head), Some(kind), Some(size)) =
        (u16_le(stream, at), u16_le(stream, at + 2), u32_le(stream, at + 4))
    {
        let start = at + 8;
        if head & 15 == CONTAINER {
            // What lies in it follows.
            at = start;
            master = if kind == MASTER { start.saturating_add(size as usize) } else { master };
            continue;
        }
        at = start.saturating_add(size as usize);
        let data = &stream[start.min(stream.len())..at.min(stream.len())];
        let is_shown = start >= master || is_own;
        match kind {
            KIND => {
                is_own = u32_le(data, 0) == Some(OTHER);
                continue;
            }
            // A star stands for what changes from slide to slide, such as their numbers.
            _ if !is_shown || matches!(data, b"*" | b"*\0") => continue,
            WIDE => text.wide(data),
            NARROW => data.iter().for_each(|byte| text.character(char::from(*byte))),
            _ => continue,
        }
        text.character('\n');
        if text.out.len() >= most {
            break;
        }
    }
    text.out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_flow() {
        let pieces = |text: &[u8]| document(text, Some(&[(0..text.len(), false)]), 1000);
        for (text, wanted) in [
            (&b"Pay now\rplease\x0bor \x1eelse\xa0\x93x\x94"[..], "Pay now\nplease\nor -else “x”"),
            (b"a\x07b\x07\x07c", "a\tb\t\nc"),
            // What a field says is hidden, what it shows is not.
            (b"see \x13 HYPERLINK \"http://a\" \x14here\x15!", "see here!"),
            (b"\x13 IF \x13 A \x14b\x15 \x14shown\x15", "shown"),
            (b"\x14\x15\x15left", "left"),
            (b"\x01\x08\x05x", "x"),
        ] {
            assert_eq!(pieces(text), wanted, "{text:?}");
        }
        let two = b"ab\x14\x04!\x00";
        assert_eq!(document(two, Some(&[(0..2, false), (2..6, true)]), 1000), "abД!");
        assert_eq!(document(&b"x".repeat(5000), Some(&[(0..5000, false)]), 10), "x".repeat(10));
        document(&b"\x13".repeat(5000), Some(&[(0..5000, false)]), 10);
    }

    #[test]
    fn older_documents_have_one_piece() {
        let mut body = vec![0; 0x40];
        body[..2].copy_from_slice(&0xa5dcu16.to_le_bytes());
        body[6..8].copy_from_slice(&0x0419u16.to_le_bytes());
        body[0x18] = 0x30;
        body[0x1c] = 0x33;
        body[0x30..0x33].copy_from_slice(b"\xc4\xe0!");
        assert_eq!(document(&body, None, 100), "Да!");
        body[0x1c..0x20].fill(0xff);
        assert!(document(&body, None, 100).starts_with("Да!"));
        assert_eq!(document(b"", None, 100), "");
    }

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
    }

    /// Strings that go on in further records, in the midst of their characters too.
    #[test]
    fn workbooks() {
        let begin = record(0x0809, &[0, 6, 5, 0]);
        let head = [3u32.to_le_bytes(), 3u32.to_le_bytes()].concat();
        let strings = [&head[..], b"\x03\0\0one", b"\x04\0\x09\x01\0t\0w\0o\0"].concat();
        let more = b"\0!\0\0\0\0\x05\0\x04\x02\0\0\0thr";
        let rest = b"\x01e\0e\0xx";
        let label = |row: u16, column: u16, string: u32| {
            record(
                0x00fd,
                &[&row.to_le_bytes()[..], &column.to_le_bytes(), &[0; 2], &string.to_le_bytes()].concat(),
            )
        };
        let stream = [
            begin.clone(),
            record(0x00fc, &strings),
            record(0x003c, more),
            record(0x003c, rest),
            label(0, 0, 0),
            label(0, 1, 1),
            label(1, 0, 2),
            label(1, 1, 99),
            record(0x0204, b"\x02\0\0\0\0\0\x02\0\0hi"),
            record(0x0207, b"\x01\0\x01\x14\x04"),
            record(0x01b6, &[0; 18]),
            record(0x003c, b"\0boxed"),
            record(0x003c, b"\0runs"),
        ]
        .concat();
        assert_eq!(sheets(&stream, 1000), "one\ttwo!\nthree\nhi\tД\nboxed\n");
        assert_eq!(sheets(&stream, 5), "one\tt");
        let unused =
            [begin, record(0x00fc, &strings), record(0x003c, more), record(0x003c, rest), record(10, b"")]
                .concat();
        assert_eq!(sheets(&unused, 1000), "one\ntwo!\nthree\n");
        for end in 0..stream.len() {
            sheets(&stream[..end], 1000);
        }
        let old = [
            record(0x0809, &[0, 5, 5, 0]),
            record(0x42, &1251u16.to_le_bytes()),
            record(0x0204, b"\0\0\0\0\0\0\x02\0\xc4\xe0"),
        ]
        .concat();
        assert_eq!(sheets(&old, 1000), "Да");
    }

    #[test]
    fn presentations() {
        let record = |head: u16, kind: u16, data: &[u8]| {
            [&head.to_le_bytes()[..], &kind.to_le_bytes(), &(data.len() as u32).to_le_bytes(), data].concat()
        };
        let kind = |kind: u8| record(0, 3999, &[kind, 0, 0, 0]);
        let inner = [record(0, 4008, b"Lucky\rwinner"), record(0, 4000, b"\x14\x04"), record(0, 4009, b"no")]
            .concat();
        assert_eq!(slides(&record(15, 1000, &inner), 1000), "Lucky\nwinner\nД\n");
        let master = [
            kind(0),
            record(0, 4008, b"Click here"),
            kind(4),
            record(0, 4008, b"*"),
            record(0, 4008, b"Logo"),
        ]
        .concat();
        assert_eq!(
            slides(&[record(15, 1016, &master), kind(0), inner.clone()].concat(), 1000),
            "Logo\nLucky\nwinner\nД\n"
        );
        assert_eq!(slides(&record(15, 1000, &inner), 3), "Luc");
        slides(&record(15, 1000, b"").repeat(100_000), 1000);
        slides(&[0xff; 64], 1000);
    }
}
