//! Formulas of Excel's binary files as text (MS-XLS 2.5.198, MS-XLSB 2.5.97): tokens in reverse Polish order. What is not
//! known ends the formula with a mark; what was read before stays.

use super::macros4::cell;
use crate::fields::{u16_le, u32_le};

/// Whose formulas they are; tokens differ in size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Excel 5 and 95.
    Biff5,
    /// Excel 97 to 2003.
    Biff8,
    /// xlsb.
    Biff12,
}

use Version::{Biff5, Biff8, Biff12};

impl Version {
    fn of(self, sizes: [usize; 3]) -> usize {
        match self {
            Biff5 => sizes[0],
            Biff8 => sizes[1],
            Biff12 => sizes[2],
        }
    }
}

/// The longest text that a formula is made into; longer pieces are cut.
const LONGEST: usize = 16 << 10;

/// A formula as text.
pub(crate) fn text(mut tokens: &[u8], version: Version) -> String {
    /// Values that wait for an operator.
    const DEEPEST: usize = 1024;
    let mut stack: Vec<String> = Vec::new();
    while !tokens.is_empty() && stack.len() < DEEPEST {
        match token(tokens, version, &mut stack) {
            Some(used) => tokens = tokens.get(used.max(1)..).unwrap_or_default(),
            None => {
                stack.push("?".to_owned());
                break;
            }
        }
        if let Some(last) = stack.last_mut() {
            cut(last);
        }
    }
    let mut out = String::new();
    for piece in stack {
        if !out.is_empty() {
            out.push(' ');
        }
        if out.len() < LONGEST {
            out.push_str(&piece);
        }
    }
    out
}

fn cut(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

/// One token: what it does to the stack, and its size.
fn token(bytes: &[u8], version: Version, stack: &mut Vec<String>) -> Option<usize> {
    const OPERATORS: [&str; 15] =
        ["+", "-", "*", "/", "^", "&", "<", "<=", "=", ">=", ">", "<>", " ", ",", ":"];
    let kind = *bytes.first()?;
    // Operands come in three classes that read alike.
    let kind = if kind >= 0x40 { kind & 0x1f | 0x20 } else { kind };
    let mut push = |text: String| stack.push(text);
    match kind {
        0x01 | 0x02 => Some(1 + 4),
        0x03..=0x11 => {
            let right = stack.pop().unwrap_or_default();
            let left = stack.pop().unwrap_or_default();
            stack.push(format!("{left}{}{right}", OPERATORS[usize::from(kind - 3)]));
            Some(1)
        }
        0x12..=0x15 => {
            let value = stack.pop().unwrap_or_default();
            stack.push(match kind {
                0x12 => format!("+{value}"),
                0x13 => format!("-{value}"),
                0x14 => format!("{value}%"),
                _ => format!("({value})"),
            });
            Some(1)
        }
        0x16 => {
            push(String::new());
            Some(1)
        }
        0x17 => {
            let (text, used) = string(bytes, version)?;
            push(format!("\"{}\"", text.replace('"', "\"\"")));
            Some(used)
        }
        0x19 => attribute(bytes, stack),
        0x1c => {
            push("#ERR".to_owned());
            Some(2)
        }
        0x1d => {
            push(if *bytes.get(1)? == 0 { "FALSE" } else { "TRUE" }.to_owned());
            Some(2)
        }
        0x1e => {
            push(u16_le(bytes, 1)?.to_string());
            Some(3)
        }
        0x1f => {
            push(f64::from_le_bytes(*bytes.get(1..)?.first_chunk()?).to_string());
            Some(9)
        }
        0x21 | 0x22 => function(bytes, kind == 0x22, stack),
        0x26..=0x28 => Some(7),
        0x29 => Some(3),
        _ => operand(bytes, kind, version).map(|(text, used)| {
            stack.push(text);
            used
        }),
    }
}

/// References, names and arrays.
fn operand(bytes: &[u8], kind: u8, version: Version) -> Option<(String, usize)> {
    let place = |at: usize| match version {
        Biff12 => Some(cell(u32_le(bytes, at)? & 0xf_ffff, u32::from(u16_le(bytes, at + 4)? & 0x3fff))),
        Biff8 => Some(cell(u16_le(bytes, at)?.into(), u32::from(u16_le(bytes, at + 2)? & 0xff))),
        Biff5 => Some(cell(u32::from(u16_le(bytes, at)? & 0x3fff), u32::from(*bytes.get(at + 2)?))),
    };
    Some(match kind {
        0x20 => ("{}".to_owned(), 1 + version.of([7, 7, 14])),
        0x23 => (format!("name{}", u16_le(bytes, 1)?), 1 + version.of([14, 4, 4])),
        0x24 | 0x2c => (place(1)?, 1 + version.of([3, 4, 6])),
        0x25 | 0x2d => (format!("{}:", place(1)?), 1 + version.of([6, 8, 12])),
        0x2a => ("#REF".to_owned(), 1 + version.of([3, 4, 6])),
        0x2b => ("#REF".to_owned(), 1 + version.of([6, 8, 12])),
        0x39 => ("extern".to_owned(), 1 + version.of([24, 6, 6])),
        0x3a => (format!("!{}", place(version.of([15, 3, 3]))?), 1 + version.of([17, 6, 8])),
        0x3b => (format!("!{}:", place(version.of([15, 3, 3]))?), 1 + version.of([20, 10, 14])),
        0x3c => ("#REF".to_owned(), 1 + version.of([17, 6, 8])),
        0x3d => ("#REF".to_owned(), 1 + version.of([20, 10, 14])),
        _ => return None,
    })
}

/// A literal text: its length, and from Excel 97 on whether its characters are wide.
fn string(bytes: &[u8], version: Version) -> Option<(String, usize)> {
    let (count, start, is_wide) = match version {
        Biff5 => (usize::from(*bytes.get(1)?), 2, false),
        Biff8 => (usize::from(*bytes.get(1)?), 3, bytes.get(2)? & 1 == 1),
        Biff12 => (usize::from(u16_le(bytes, 1)?), 3, true),
    };
    let end = start + count * (1 + usize::from(is_wide));
    let text = bytes.get(start..end)?;
    Some((if is_wide { super::wide(text) } else { latin(text) }, end))
}

/// Bytes as characters of Latin-1.
pub(crate) fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Attributes of the formula: jumps, spaces, and a sum of one.
fn attribute(bytes: &[u8], stack: &mut Vec<String>) -> Option<usize> {
    let kind = *bytes.get(1)?;
    let number = usize::from(u16_le(bytes, 2)?);
    if kind & 0x10 != 0 {
        let value = stack.pop().unwrap_or_default();
        stack.push(format!("SUM({value})"));
    }
    Some(if kind & 0x04 != 0 { 4 + (number + 1) * 2 } else { 4 })
}

/// A call; how many values it takes is told, or known of the function.
fn function(bytes: &[u8], variable: bool, stack: &mut Vec<String>) -> Option<usize> {
    let (count, number, used) = if variable {
        (usize::from(bytes.get(1)? & 0x7f), u16_le(bytes, 2)?, 4)
    } else {
        let number = u16_le(bytes, 1)?;
        (usize::from(!NO_VALUE.contains(&number)) + usize::from(TWO_VALUES.contains(&number)), number, 3)
    };
    let from = stack.len().saturating_sub(count);
    let mut values = stack.split_off(from);
    for value in &mut values {
        cut(value);
    }
    // 255: the first value is the function's own name.
    let name = if number == 255 && !values.is_empty() { values.remove(0) } else { name(number) };
    let mut text = format!("{name}(");
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        if text.len() < LONGEST {
            text.push_str(value);
        }
    }
    text.push(')');
    stack.push(text);
    Some(used)
}

fn name(number: u16) -> String {
    match FUNCTIONS.binary_search_by_key(&number, |(known, _)| *known) {
        Ok(place) => FUNCTIONS[place].1.to_owned(),
        Err(_) => format!("f{number}"),
    }
}

/// Functions that take no value, and two, where the number is not told; the others take one.
const NO_VALUE: &[u16] = &[10, 19, 34, 35, 63, 74, 90, 94, 221, 223, 225];
const TWO_VALUES: &[u16] = &[27, 30, 39, 48, 97, 117, 136, 137, 138, 176, 178];

/// Functions that macros use, by number (MS-XLS 2.5.198.17, commands by 2.5.198.4 with the highest bit set).
const FUNCTIONS: &[(u16, &str)] = &[
    (0x0001, "IF"),
    (0x0003, "ISERROR"),
    (0x0004, "SUM"),
    (0x0008, "ROW"),
    (0x0009, "COLUMN"),
    (0x0019, "INT"),
    (0x001b, "ROUND"),
    (0x001d, "INDEX"),
    (0x001e, "REPT"),
    (0x001f, "MID"),
    (0x0020, "LEN"),
    (0x0021, "VALUE"),
    (0x0022, "TRUE"),
    (0x0023, "FALSE"),
    (0x0024, "AND"),
    (0x0025, "OR"),
    (0x0026, "NOT"),
    (0x0030, "TEXT"),
    (0x0035, "GOTO"),
    (0x0036, "HALT"),
    (0x0037, "RETURN"),
    (0x003f, "RAND"),
    (0x0043, "DAY"),
    (0x004a, "NOW"),
    (0x004e, "OFFSET"),
    (0x004f, "ABSREF"),
    (0x0051, "ARGUMENT"),
    (0x0052, "SEARCH"),
    (0x0054, "ERROR"),
    (0x0057, "ECHO"),
    (0x0058, "SET.NAME"),
    (0x005a, "DEREF"),
    (0x005d, "DOCUMENTS"),
    (0x005e, "ACTIVE.CELL"),
    (0x005f, "SELECTION"),
    (0x0060, "RESULT"),
    (0x0064, "CHOOSE"),
    (0x0068, "INPUT"),
    (0x006b, "GET.NAME"),
    (0x006c, "SET.VALUE"),
    (0x006e, "EXEC"),
    (0x006f, "CHAR"),
    (0x0073, "LEFT"),
    (0x0074, "RIGHT"),
    (0x0077, "REPLACE"),
    (0x0078, "SUBSTITUTE"),
    (0x0079, "CODE"),
    (0x007b, "DIRECTORY"),
    (0x007d, "CELL"),
    (0x0080, "ISNUMBER"),
    (0x0082, "T"),
    (0x0084, "FOPEN"),
    (0x0085, "FCLOSE"),
    (0x0086, "FSIZE"),
    (0x0087, "FREADLN"),
    (0x0088, "FREAD"),
    (0x0089, "FWRITELN"),
    (0x008a, "FWRITE"),
    (0x008b, "FPOS"),
    (0x0092, "REFTEXT"),
    (0x0093, "TEXTREF"),
    (0x0094, "INDIRECT"),
    (0x0095, "REGISTER"),
    (0x0096, "CALL"),
    (0x00a6, "FILES"),
    (0x00ab, "FOR"),
    (0x00ac, "WHILE"),
    (0x00ad, "BREAK"),
    (0x00ae, "NEXT"),
    (0x00af, "INITIATE"),
    (0x00b0, "REQUEST"),
    (0x00b1, "POKE"),
    (0x00b2, "EXECUTE"),
    (0x00b3, "TERMINATE"),
    (0x00b9, "GET.CELL"),
    (0x00ba, "GET.WORKSPACE"),
    (0x00bb, "GET.WINDOW"),
    (0x00bc, "GET.DOCUMENT"),
    (0x00bf, "GET.NOTE"),
    (0x00c9, "UNREGISTER"),
    (0x00db, "ADDRESS"),
    (0x00dd, "TODAY"),
    (0x00df, "ELSE"),
    (0x00e0, "ELSE.IF"),
    (0x00e1, "END.IF"),
    (0x00e2, "FOR.CELL"),
    (0x0101, "EVALUATE"),
    (0x010b, "REGISTER.ID"),
    (0x0150, "CONCATENATE"),
    (0x8001, "OPEN"),
    (0x8005, "SAVE.AS"),
    (0x8006, "FILE.DELETE"),
    (0x800a, "QUIT"),
    (0x8010, "CLOSE"),
    (0x8011, "RUN"),
    (0x8032, "COPY"),
    (0x8033, "PASTE"),
    (0x803d, "DEFINE.NAME"),
    (0x803f, "FORMULA.GOTO"),
    (0x8060, "FORMULA"),
    (0x8061, "FORMULA.FILL"),
    (0x8062, "FORMULA.ARRAY"),
    (0x806d, "SELECT"),
    (0x806e, "DELETE.NAME"),
    (0x8076, "ALERT"),
    (0x8083, "SEND.KEYS"),
    (0x8094, "ON.TIME"),
    (0x8095, "WAIT"),
    (0x80ad, "APP.MAXIMIZE"),
    (0x817f, "WORKBOOK.HIDE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_as_text() {
        assert!(FUNCTIONS.is_sorted_by_key(|(number, _)| *number));
        let table: &[(&[u8], Version, &str)] = &[
            (b"\x17\x04\0calc\x42\x01\x6e\0", Biff8, "EXEC(\"calc\")"),
            (b"\x17\x01\x01\xe4\0\x17\x01\0b\x08", Biff8, "\"ä\"&\"b\""),
            (b"\x17\x04calc\x21\x6e\0", Biff5, "EXEC(\"calc\")"),
            (b"\x17\x01\0c\0\x22\x01\x6e\0", Biff12, "EXEC(\"c\")"),
            (b"\x1e\x41\0\x41\x6f\0\x44\x06\0\x01\xc0\x08", Biff8, "CHAR(65)&B7"),
            (b"\x42\0\x36\0", Biff8, "HALT()"),
            (b"\x21\x4a\0\x1e\x01\0\x03", Biff8, "NOW()+1"),
            (b"\x1d\x01\x15\x13", Biff8, "-(TRUE)"),
            (b"\x1e\x01\0\x18\xff", Biff8, "1 ?"),
            (b"\x03\x42\xff\xff\xff", Biff8, "f65535(+)"),
            (b"\x17\xff\0", Biff8, "?"),
            (b"", Biff8, ""),
        ];
        for (tokens, version, found) in table {
            assert_eq!(text(tokens, *version), *found, "{tokens:?}");
        }
    }

    /// Texts do not grow beyond bounds, however often they are joined.
    #[test]
    fn formulas_stay_short() {
        let doubled = [&b"\x17\xff\0"[..], &[b'x'; 255], &b"\x16\x08".repeat(30_000)].concat();
        assert!(text(&doubled, Biff8).len() <= 2 * LONGEST);
        let pushed = b"\x1e\xff\xff".repeat(60_000);
        assert!(text(&pushed, Biff8).len() <= 2 * LONGEST);
    }
}
