//! Fields and bodies as they are written out.

use memchr::memmem;

use crate::words;

/// Name and value of a field that [`field`] has written.
pub(super) fn parted(field: &str) -> (&str, &str) {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    (name, value.strip_prefix(' ').unwrap_or(value).trim_end_matches("\r\n"))
}

/// RFC 5322 section 2.2: printable ASCII but the colon.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && name.bytes().all(|byte| matches!(byte, 33..=126) && byte != b':')
}

/// Whether a value stays within its field: visible ASCII, spaces and tabs, in lines of which each but the first begins with
/// white space, and none is blank (RFC 5322 section 3.2.2).
pub(super) fn is_folded(value: &str) -> bool {
    let blank = |line: &str| line.trim_matches([' ', '\t']).is_empty();
    let plain = |line: &str| line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) && !blank(line);
    value
        .split("\r\n")
        .enumerate()
        .all(|(place, line)| plain(line) && (place == 0 || line.starts_with([' ', '\t'])))
}

/// Columns that a line should not exceed (RFC 5322 section 2.1.1).
pub(super) const LINE: usize = 78;

/// A whole field: encoded, folded, ended by CRLF. Line breaks and control characters in the value become spaces.
pub(super) fn field(name: &str, value: &str) -> String {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = encode(clean.trim());
    let mut line = format!("{name}:");
    let mut column = line.len();
    let mut rest = value.as_str();
    let mut first = true;
    while !rest.is_empty() {
        // White space stays with the word behind it, so no line is white space only and unfolding gives the value.
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let word = rest[spaces..].find(' ').map_or(rest.len(), |at| spaces + at);
        let space = if first { " " } else { "" };
        if !first && column + word > LINE {
            line.push_str("\r\n");
            column = 0;
        }
        line.push_str(space);
        line.push_str(&rest[..word]);
        column += space.len() + word;
        rest = &rest[word..];
        first = false;
    }
    line.push_str("\r\n");
    line
}

/// A value in ASCII. Words that are not become encoded words; all others, encoded words among them, stay as they are.
fn encode(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut out: Vec<String> = Vec::new();
    let mut foreign: Vec<&str> = Vec::new();
    for word in value.split(' ') {
        if word.is_ascii() {
            // White space between two encoded words is not shown (RFC 2047 section 6.2), so a run of words is
            // encoded as one text.
            if !foreign.is_empty() {
                out.push(encode_words(&std::mem::take(&mut foreign).join(" ")));
            }
            out.push(word.to_owned());
        } else {
            foreign.push(word);
        }
    }
    if !foreign.is_empty() {
        out.push(encode_words(&foreign.join(" ")));
    }
    out.join(" ")
}

/// Encoded words, parted by spaces: where to fold is decided with the whole line at hand.
fn encode_words(text: &str) -> String {
    words::encode(text).replace("\r\n", "")
}

/// Header fields and body of a text/plain entity in place of one of that name; both end in CRLF.
pub(super) fn text_entity(name: Option<&str>, text: &str) -> (String, String) {
    let (encoding, body) = encode_text(text.as_bytes());
    let header = format!(
        "Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         Content-Disposition: inline; filename=\"{}-removed.txt\"\r\n",
        file_name(name)
    );
    (header, body)
}

/// Text as the body of a MIME entity: the name of its transfer encoding, `7bit` or `quoted-printable`, and the encoded
/// lines, which end in CRLF. No line of it can be taken for a boundary.
pub fn encode_text(text: &[u8]) -> (&'static str, String) {
    let text = text.trim_ascii_end();
    let mut lines: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    lines.push(b"");
    let plain = |line: &&[u8]| {
        is_plain(line) && line.len() <= LINE && !line.ends_with(b" ") && !line.ends_with(b"\t")
    };
    if lines.iter().all(plain) {
        let lines = lines.into_iter().map(String::from_utf8_lossy);
        return ("7bit", lines.collect::<Vec<_>>().join("\r\n"));
    }
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for (place, line) in lines.into_iter().enumerate() {
        if place > 0 {
            out.push_str("\r\n");
        }
        quoted_printable_line(line, &mut out);
    }
    ("quoted-printable", out)
}

/// Whether a line may stand in 7bit as it is: printable, nothing that could be taken for a boundary, even by readers who
/// look for one within lines, nothing that some store changes.
fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        && memmem::find(line, b"--").is_none()
        && !line.starts_with(b"From ")
}

/// Content as the body of a MIME entity, exactly: the name of its transfer encoding and the encoded bytes. `text`: it is text
/// and shall stay readable where it can. `at_end`: it ends the message, so that its last line must be ended.
pub(super) fn encode_content(content: &[u8], text: bool, at_end: bool) -> (&'static str, Vec<u8>) {
    /// Longest line (RFC 5322 section 2.1.1).
    const LONGEST: usize = 998;
    if text && let Some(lines) = canonical_lines(content) {
        let ended = !at_end || content.is_empty() || content.ends_with(b"\r\n");
        if ended && lines.iter().all(|line| is_plain(line) && line.len() <= LONGEST) {
            return ("7bit", content.to_vec());
        }
        let codes =
            content.iter().filter(|byte| !matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')).count();
        if codes <= content.len() / 4 {
            return ("quoted-printable", quoted_printable(content, at_end).into_bytes());
        }
    }
    ("base64", base64(content, at_end).into_bytes())
}

/// The lines of text whose lines all end in CRLF, without it; None where there are other line breaks.
fn canonical_lines(content: &[u8]) -> Option<Vec<&[u8]>> {
    let lines = content.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    let last = lines.len() - 1;
    let line = |(place, line): (usize, &'_ [u8])| -> Option<usize> {
        let text = if place < last { line.strip_suffix(b"\r")? } else { line };
        memchr::memchr(b'\r', text).is_none().then_some(text.len())
    };
    let lengths: Option<Vec<usize>> = lines.iter().copied().enumerate().map(line).collect();
    Some(lines.into_iter().zip(lengths?).map(|(line, length)| &line[..length]).collect())
}

/// Content in quoted-printable (RFC 2045 section 6.7). Only CRLF is a line break; a CR or LF alone is written as a code.
pub(super) fn quoted_printable(content: &[u8], at_end: bool) -> String {
    let mut out = String::with_capacity(content.len() + content.len() / 4);
    let mut at = 0;
    for end in memmem::find_iter(content, b"\r\n") {
        quoted_printable_line(&content[at..end], &mut out);
        out.push_str("\r\n");
        at = end + 2;
    }
    quoted_printable_line(&content[at..], &mut out);
    if at_end && at < content.len() {
        out.push_str("=\r\n");
    }
    out
}

/// Content in base64, in lines of 76 characters, of which the last is ended only where nothing follows.
pub(super) fn base64(content: &[u8], at_end: bool) -> String {
    /// Bytes on a line.
    const BYTES: usize = 57;
    let mut out = String::with_capacity(content.len().div_ceil(BYTES) * 78);
    for (place, piece) in content.chunks(BYTES).enumerate() {
        if place > 0 {
            out.push_str("\r\n");
        }
        out.push_str(&words::base64_encode(piece));
    }
    if at_end && !out.is_empty() {
        out.push_str("\r\n");
    }
    out
}

/// A name that needs no quoting and no folding.
pub(super) fn file_name(name: Option<&str>) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let clean: String =
        name.unwrap_or_default().chars().take(40).map(|c| if allowed(c) { c } else { '_' }).collect();
    if clean.bytes().any(|byte| byte.is_ascii_alphanumeric()) { clean } else { "attachment".into() }
}

/// One line in quoted-printable, without its line break, broken softly at 76 columns. A character of UTF-8 is never broken,
/// since some readers decode line by line; `--` becomes `-=2D`, so that there is no boundary in it for anybody.
fn quoted_printable_line(line: &[u8], out: &mut String) {
    const ROOM: usize = 75;
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    for (place, byte) in line.iter().enumerate() {
        let last = place + 1 == line.len();
        let bare = match byte {
            b' ' | b'\t' => !last,
            b'-' => place == 0 || line[place - 1] != b'-',
            b'F' => place > 0 || !line.starts_with(b"From "),
            byte => matches!(byte, b'!'..=b'~') && *byte != b'=',
        };
        // What must stay together with this byte.
        let length = if bare { 1 } else { 3 * character(&line[place..]) };
        if column + length > ROOM {
            out.push_str("=\r\n");
            column = 0;
        }
        if bare {
            out.push(char::from(*byte));
            column += 1;
        } else {
            out.push('=');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
            column += 3;
        }
    }
}

/// Bytes of the character of UTF-8 that text begins with; 1 if it begins with none.
fn character(text: &[u8]) -> usize {
    let length = match text[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 1,
    };
    let follows = |byte: &u8| matches!(byte, 0x80..=0xbf);
    if text.get(1..length).is_some_and(|rest| rest.iter().all(follows)) { length } else { 1 }
}

/// A name for a file, out of any text.
pub(super) fn clean_name(name: &str) -> String {
    const LONGEST: usize = 255;
    const HEAD: usize = 200;
    let clean = |c: char| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c };
    let clean: String = name.trim().chars().map(clean).collect();
    // Windows shows it without them.
    let clean = clean.trim_end_matches(['.', ' ']);
    let length = clean.chars().count();
    match length {
        0 => "attachment".into(),
        1..=LONGEST => clean.into(),
        _ => clean.chars().take(HEAD).chain(clean.chars().skip(length - (LONGEST - HEAD))).collect(),
    }
}

/// A parameter of a structured field, in one form that all readers take for the same: quoted, or where it must be encoded, by
/// RFC 2231, in several pieces if it is long.
pub(super) fn parameter(name: &str, value: &str) -> Vec<String> {
    let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    if value.chars().all(plain) && !value.contains("=?") {
        return vec![format!("{name}=\"{value}\"")];
    }
    /// Characters of one piece, as encoded.
    const PIECE: usize = 54;
    let mut pieces = vec![String::from("utf-8''")];
    for c in value.chars() {
        let mut code = String::new();
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'_' => code.push(char::from(byte)),
                _ => code.push_str(&format!("%{byte:02X}")),
            }
        }
        match pieces.last_mut() {
            Some(last) if last.len() + code.len() <= PIECE => last.push_str(&code),
            _ => pieces.push(code),
        }
    }
    if let [whole] = &pieces[..] {
        return vec![format!("{name}*={whole}")];
    }
    pieces.iter().enumerate().map(|(place, piece)| format!("{name}*{place}*={piece}")).collect()
}

/// A whole structured field, folded between its parameters, ended by CRLF.
pub(super) fn structured(name: &str, main: &str, parameters: &[String]) -> String {
    let mut field = format!("{name}: {main}");
    let mut column = field.len();
    for parameter in parameters {
        field.push(';');
        if column + parameter.len() + 3 > LINE {
            field.push_str("\r\n ");
            column = 1 + parameter.len();
        } else {
            field.push(' ');
            column += 2 + parameter.len();
        }
        field.push_str(parameter);
    }
    field.push_str("\r\n");
    field
}
