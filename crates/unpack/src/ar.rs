//! ar archives, Debian packages among them: a header of printed fields before each member, in GNU's and BSD's forms.

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};

use crate::opening::{Opening, Stop};
use crate::{names, pieces};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Whether this is an ar archive.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    body.starts_with(MAGIC)
}

/// Opens an ar archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut at = MAGIC.len();
    // GNU's table of names that do not fit a header.
    let mut long = Bytes::new();
    while let Some(header) = body.get(at..at.saturating_add(HEADER)) {
        opening.check_time()?;
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let Some(size) = size.filter(|_| header.ends_with(b"`\n")) else {
            opening.defective(DefectKind::BadArchive, format!("no header at offset {at}"));
            return pieces::trailing(opening, at);
        };
        let data = at + HEADER;
        let (range, _) = crate::fields::cut(&body, data, size);
        let end = range.end;
        let field = header[..16].trim_ascii_end();
        match field {
            b"//" => long = body.slice(range),
            // Tables of symbols: no files.
            b"/" | b"/SYM64/" | b"__.SYMDEF" | b"__.SYMDEF SORTED" => {}
            _ => member(opening, field, &long, data, size)?,
        }
        // Members begin at even places; some programs forget that, or pad once more.
        let begins = |at: &usize| body.get(at + 58..at + HEADER).is_some_and(|mark| mark == b"`\n");
        at = [end.next_multiple_of(2), end, end + 1, end + 2].into_iter().find(begins).unwrap_or(end);
    }
    if body[at.min(body.len())..].trim_ascii().is_empty() {
        return Ok(());
    }
    if at < body.len() {
        opening.defective(DefectKind::TruncatedArchive, "it ends inside a header");
    }
    Ok(())
}

fn member(opening: &mut Opening, field: &[u8], long: &[u8], data: usize, size: u64) -> Result<(), Stop> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    // BSD: the name stands before the data. GNU: it stands in the table, and ends with a slash.
    let body = opening.body.clone();
    if let Some(len) = field.strip_prefix(b"#1/").and_then(number)
        && let Some(name) = body.get(data..data.saturating_add(len))
    {
        let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let rest = size.saturating_sub(len as u64);
        return pieces::stored(opening, names::readings(&name[..end], false), data + len, rest).map(|_| ());
    }
    let listed = field.strip_prefix(b"/").and_then(number).and_then(|place| long.get(place..));
    let name = match listed {
        Some(rest) => &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())],
        None => field,
    };
    let name = name.strip_suffix(b"/").unwrap_or(name);
    pieces::stored(opening, names::readings(name, false), data, size).map(|_| ())
}
