//! Sheets as text: SYLK and comma-separated values. Excel runs their formulas, and those of SYLK may be macros.

use gatepost_mail::{FeatureKind, FileType};

use super::macros4::Macros4;
use crate::opening::{Opening, Stop};

/// Whether this is SYLK.
pub(crate) fn is_sylk(body: &[u8], detected: FileType) -> bool {
    detected == FileType::SYLK || body.starts_with(b"ID;") || body.starts_with(b"\xef\xbb\xbfID;")
}

/// Reads SYLK: a record in each line, fields behind `;`, which stands twice where it is meant.
pub(crate) fn open_sylk(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut macros = Macros4::default();
    let mut hidden = false;
    let (mut row, mut column) = (String::new(), String::new());
    for (count, line) in body.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
        if count % 4096 == 0 {
            opening.check_time()?;
        }
        let line = String::from_utf8_lossy(line);
        let fields: Vec<String> = split(&line);
        let value = |letter: char| fields.iter().skip(1).find_map(|field| field.strip_prefix(letter));
        match fields.first().map(String::as_str) {
            // An executable sheet is a macro sheet.
            Some("O") if fields.iter().any(|field| field == "E") => macros.sheet("SYLK", hidden),
            Some("O") => hidden |= fields.iter().any(|field| field == "H"),
            Some("NN" | "NU") => macros.name(value('N').unwrap_or_default()),
            Some("C") => {
                if let Some(y) = value('Y') {
                    y.clone_into(&mut row);
                }
                if let Some(x) = value('X') {
                    x.clone_into(&mut column);
                }
                if let Some(text) = value('E') {
                    formula(opening, &format!("={text}"));
                    if !macros.sheets.is_empty() {
                        macros.formula(&format!("R{row}C{column}"), text);
                    }
                }
            }
            _ => {}
        }
    }
    macros.tell(opening)
}

fn split(line: &str) -> Vec<String> {
    const MOST: usize = 64;
    let mut fields = vec![String::new()];
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let doubled = c == ';' && chars.peek() == Some(&';');
        if doubled {
            chars.next();
        }
        if c == ';' && !doubled {
            if fields.len() == MOST {
                break;
            }
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    fields
}

/// Whether this may be comma-separated values with a formula that asks a program.
pub(crate) fn is_csv(body: &[u8], detected: FileType) -> bool {
    detected == FileType::TEXT && memchr::memchr(b'|', body).is_some() && find_csv(body).is_some()
}

/// Reads values. Only a file with a name is opened as a sheet; the text of a mail is not.
pub(crate) fn open_csv(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    if let (Some(found), Some(_)) = (find_csv(&body), opening.name()) {
        opening.feature(FeatureKind::Dde, String::from_utf8_lossy(found));
    }
    Ok(())
}

/// Notes a formula that asks another program: `=cmd|'/c calc'!A0`.
pub(crate) fn formula(opening: &mut Opening, formula: &str) {
    if let Some(found) = asks(formula.as_bytes(), 0) {
        opening.feature(FeatureKind::Dde, String::from_utf8_lossy(found));
    }
}

/// The first cell whose formula asks a program.
fn find_csv(body: &[u8]) -> Option<&[u8]> {
    const FARTHEST: usize = 512;
    /// A table in plain text has many bars; this many are looked at.
    const MOST: usize = 1 << 16;
    memchr::memchr_iter(b'|', body).take(MOST).find_map(|bar| {
        let near = bar.saturating_sub(FARTHEST);
        let head = &body[near..bar];
        let start =
            head.iter().rposition(|byte| matches!(byte, b'\n' | b'\r' | b'\t' | b';')).map_or(0, |at| at + 1);
        // A comma ends a cell, or stands between the values of a function.
        let commas = memchr::memrchr_iter(b',', &head[start..]).map(|at| start + at + 1).take(4);
        [start].into_iter().chain(commas).find_map(|start| {
            let cell = &body[near + start..body.len().min(bar + FARTHEST)];
            asks(cell, bar - near - start)
        })
    })
}

/// The cell up to the end of its formula, if it begins as one and asks a program from `bar` on or behind.
fn asks(cell: &[u8], from: usize) -> Option<&[u8]> {
    let start = cell.iter().position(|byte| !matches!(byte, b' ' | b'"' | b'\''))?;
    if !matches!(cell.get(start)?, b'=' | b'+' | b'-' | b'@') {
        return None;
    }
    let bar = from.max(start) + memchr::memchr(b'|', cell.get(from.max(start)..)?)?;
    let service = cell[..bar].trim_ascii_end();
    if !service.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'.')) {
        return None;
    }
    // The topic, then the item.
    let behind = &cell[bar + 1..];
    let quoted = behind.trim_ascii_start().starts_with(b"'");
    let end = match quoted {
        true => memchr::memmem::find(behind, b"'!")? + 2,
        false => behind.iter().position(|byte| matches!(byte, b'!' | b'\n' | b'\r' | b',' | b' '))? + 1,
    };
    let item = behind
        .get(end)
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'$'));
    (item && behind[end - 1] == b'!').then(|| &cell[..bar + 1 + end + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_ask_programs() {
        for (text, found) in [
            ("=cmd|'/k calc.exe'!A0", true),
            ("a,b\n1,=cmd|' /C calc'!A0,2", true),
            ("\"=cmd|'/c x'!A1\"", true),
            ("@SUM(1+1)*cmd|' /C calc'!A0", true),
            ("=1+1+MSEXCEL|'\\..\\x.exe'!x", true),
            ("x\t-2+cmd|foo!A1", true),
            ("+----+----+\n| a! | b |\n", false),
            ("a | b ! c", false),
            ("=a|b", false),
            ("-x | grep y ! z", false),
            ("the formula =cmd|'/c'!A0 in text", false),
            ("|", false),
            ("", false),
        ] {
            assert_eq!(find_csv(text.as_bytes()).is_some(), found, "{text}");
        }
    }

    #[test]
    fn fields_of_sylk() {
        assert_eq!(split("C;X1;K\"a;;b\";E1"), ["C", "X1", "K\"a;b\"", "E1"]);
        assert_eq!(split(""), [""]);
    }
}
