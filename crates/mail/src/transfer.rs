//! Transfer encodings: base64 and quoted-printable (RFC 2045 section 6), uuencode. Lenient, in one pass, and telling
//! what was wrong.

use memchr::{memchr, memchr2, memmem};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// 7bit, 8bit, binary, or nothing said.
    Identity,
    Base64,
    QuotedPrintable,
    Uuencode,
    Yenc,
    BinHex,
    /// Something else, taken as identity.
    Unknown,
}

impl Transfer {
    /// The encoding of that name, in lower case.
    pub(crate) fn of(token: &str) -> Transfer {
        match token {
            "7bit" | "8bit" | "binary" | "" => Transfer::Identity,
            "base64" => Transfer::Base64,
            "quoted-printable" => Transfer::QuotedPrintable,
            "x-uuencode" | "x-uue" | "uuencode" | "uue" | "x-uu" => Transfer::Uuencode,
            "x-yenc" | "yenc" | "x-yencode" => Transfer::Yenc,
            "mac-binhex40" | "x-binhex" | "binhex" | "x-mac-binhex40" | "binhex40" => Transfer::BinHex,
            _ => Transfer::Unknown,
        }
    }

    /// The encodings that some reader may take the name of an unknown one for, in the order in which they stand in it:
    /// `x-gzip64`, `base 64`, `quoted-printable, base64`. White space and marks are taken out before they are looked for.
    pub(crate) fn hinted(name: &str) -> Vec<Transfer> {
        const HINTS: &[(&str, Transfer)] = &[
            ("64", Transfer::Base64),
            ("quoted", Transfer::QuotedPrintable),
            ("printable", Transfer::QuotedPrintable),
            ("uu", Transfer::Uuencode),
            ("yenc", Transfer::Yenc),
            ("binhex", Transfer::BinHex),
            ("7bit", Transfer::Identity),
            ("8bit", Transfer::Identity),
            ("binary", Transfer::Identity),
        ];
        let bare: String =
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        // As encoded words name them.
        match bare.as_str() {
            "q" | "qp" | "xqp" => return vec![Transfer::QuotedPrintable],
            "b" => return vec![Transfer::Base64],
            _ => {}
        }
        let mut found: Vec<(usize, Transfer)> = Vec::new();
        for (hint, transfer) in HINTS {
            if let Some(at) = bare.find(hint)
                && !found.iter().any(|(_, known)| known == transfer)
            {
                found.push((at, *transfer));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, transfer)| transfer).collect()
    }
}

/// What a byte is in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digit {
    Value(u8),
    Pad,
    Space,
    Junk,
}

/// What a byte is in base64.
pub(crate) fn digit(byte: u8) -> Digit {
    match BASE64[usize::from(byte)] {
        SPACE => Digit::Space,
        PAD => Digit::Pad,
        JUNK => Digit::Junk,
        value => Digit::Value(value),
    }
}

/// Bytes put together from groups of four base64 digits.
pub(crate) struct Groups {
    bytes: Vec<u8>,
    group: u32,
    held: u32,
}

impl Groups {
    /// Room for `text` digits.
    pub(crate) fn with_capacity(text: usize) -> Groups {
        Groups { bytes: Vec::with_capacity(text / 4 * 3 + 3), group: 0, held: 0 }
    }

    /// Digits of the group that is not full yet.
    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    /// Adds a digit.
    pub(crate) fn push(&mut self, value: u8) {
        self.group = self.group << 6 | u32::from(value);
        self.held += 1;
        if self.held == 4 {
            self.bytes.extend_from_slice(&self.group.to_be_bytes()[1..]);
            (self.group, self.held) = (0, 0);
        }
    }

    /// Ends the group, full or not.
    pub(crate) fn flush(&mut self) {
        flush(&mut self.bytes, &mut self.group, &mut self.held);
    }

    /// All bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }
}

/// Bytes decoded from base64.
#[derive(Debug, Default)]
pub(crate) struct Base64 {
    /// What the good characters stand for, all padded runs joined.
    pub bytes: Vec<u8>,
    /// Characters that are neither alphabet, padding nor white space.
    pub junk: usize,
    /// There are characters of the alphabet behind padding.
    pub after_padding: bool,
    /// The last group is short and not padded.
    pub truncated: bool,
}

/// Not in the alphabet.
const JUNK: u8 = 0xff;
/// Space, tab, CR, LF.
const SPACE: u8 = 0xfe;
/// `=`
const PAD: u8 = 0xfd;

const BASE64: [u8; 256] = {
    let mut table = [JUNK; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table[b' ' as usize] = SPACE;
    table[b'\t' as usize] = SPACE;
    table[b'\r' as usize] = SPACE;
    table[b'\n' as usize] = SPACE;
    table[b'=' as usize] = PAD;
    table
};

/// Whether a byte is in the alphabet of base64.
pub(crate) fn is_base64(byte: u8) -> bool {
    BASE64[usize::from(byte)] < 64
}

/// Decodes base64; junk is skipped, and what follows padding goes on as a new run.
pub(crate) fn base64(text: &[u8]) -> Base64 {
    let mut out = Base64 { bytes: Vec::with_capacity(text.len() / 4 * 3 + 3), ..Base64::default() };
    let (mut group, mut held, mut padded) = (0u32, 0u32, false);
    let mut at = 0;
    while at < text.len() {
        if held == 0
            && let Some([a, b, c, d]) = text.get(at..at + 4).and_then(|four| four.first_chunk::<4>())
        {
            let [a, b, c, d] = [a, b, c, d].map(|byte| BASE64[usize::from(*byte)]);
            if (a | b | c | d) < 64 {
                let word = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
                out.bytes.extend_from_slice(&word.to_be_bytes()[1..]);
                out.after_padding |= padded;
                at += 4;
                continue;
            }
        }
        match BASE64[usize::from(text[at])] {
            SPACE => {}
            JUNK => out.junk += 1,
            PAD => {
                out.truncated |= held == 1;
                flush(&mut out.bytes, &mut group, &mut held);
                padded = true;
            }
            value => {
                out.after_padding |= padded;
                group = group << 6 | u32::from(value);
                held += 1;
                if held == 4 {
                    out.bytes.extend_from_slice(&group.to_be_bytes()[1..]);
                    (group, held) = (0, 0);
                }
            }
        }
        at += 1;
    }
    out.truncated |= held != 0;
    flush(&mut out.bytes, &mut group, &mut held);
    out
}

/// Writes the whole bytes of a group that is not full.
fn flush(bytes: &mut Vec<u8>, group: &mut u32, held: &mut u32) {
    let word = (*group << (24 - 6 * *held)).to_be_bytes();
    let whole = match *held {
        2 => 1,
        3 => 2,
        _ => 0,
    };
    bytes.extend_from_slice(&word[1..1 + whole]);
    (*group, *held) = (0, 0);
}

/// Decodes quoted-printable. Gives the bytes and the number of `=` that are followed by neither two hex digits nor
/// a line break; those stand for themselves.
pub(crate) fn quoted_printable(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(text.len());
    let mut bad = 0;
    // White space behind this place was written as such and is dropped at a line's end (RFC 2045 section 6.7 (3)).
    let mut hard = 0;
    let mut rest = text;
    while let Some(at) = memchr2(b'=', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b'\n' {
            trim_line(&mut out, hard);
            out.push(b'\n');
            hard = out.len();
            rest = &rest[at + 1..];
            continue;
        }
        rest = &rest[at + 1..];
        if let [high, low, ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            hard = out.len();
            rest = &rest[2..];
            continue;
        }
        match soft_break(rest) {
            Some(length) => rest = &rest[length..],
            None => {
                bad += 1;
                out.push(b'=');
            }
        }
        hard = out.len();
    }
    out.extend_from_slice(rest);
    (out, bad)
}

/// Whether text is written in quoted-printable for the most part, as nobody does who wants to be read.
pub(crate) fn is_dense_quoted(text: &[u8]) -> bool {
    const HEAD: usize = 600;
    const LEAST: usize = 20;
    let head = &text[..text.len().min(HEAD)];
    let escape = |window: &&[u8]| window[0] == b'=' && hex(window[1]).is_some() && hex(window[2]).is_some();
    let escapes = if memchr(b'=', head).is_some() { head.windows(3).filter(escape).count() } else { 0 };
    escapes >= LEAST && escapes * 6 >= head.len()
}

/// Drops white space at the end of a line that is about to be ended by LF, keeping its CR.
fn trim_line(out: &mut Vec<u8>, hard: usize) {
    let line = &out[hard..];
    let (line, cr) = match line.strip_suffix(b"\r") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let kept = hard + line.trim_ascii_end().len();
    // Other control characters count as white space to `trim_ascii_end`; only space and tab may go.
    if out[kept..hard + line.len()].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
        out.truncate(kept);
        if cr {
            out.push(b'\r');
        }
    }
}

/// Length of the rest of a line if it is empty but for white space: the `=` before it is a soft line break.
pub(crate) fn soft_break(rest: &[u8]) -> Option<usize> {
    let blank = rest.iter().take(1000).take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    match rest.get(blank) {
        Some(b'\n') => Some(blank + 1),
        None => Some(blank),
        Some(_) => None,
    }
}

/// Value of a hex digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// A uuencoded file.
#[derive(Debug)]
pub(crate) struct Uuencoded {
    /// The name on its `begin` line.
    pub name: Vec<u8>,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Where it ends in the text that was searched, so that the search can go on there.
    pub end: usize,
    /// Lines that are broken, and a missing `end`.
    pub bad: bool,
}

/// Finds and decodes the first uuencoded file in `text` at or behind `from`.
pub(crate) fn uuencoded(text: &[u8], from: usize) -> Option<Uuencoded> {
    let mut at = from;
    while let Some(found) = memmem::find(text.get(at..)?, b"begin") {
        let start = at + found;
        at = start + b"begin".len();
        if start > 0 && text[start - 1] != b'\n' {
            continue;
        }
        let line_end = line_end(text, start);
        let Some(begin) = begin_line(&text[start..line_end]) else { continue };
        let (bytes, end, bad) =
            if begin.base64 { uu_base64(text, line_end) } else { uu_lines(text, line_end) };
        let good = if begin.mode { !bytes.is_empty() || !bad } else { !bytes.is_empty() && !bad };
        if good {
            return Some(Uuencoded { name: begin.name, bytes, end, bad });
        }
    }
    None
}

/// Offset behind the line that `start` is in.
fn line_end(text: &[u8], start: usize) -> usize {
    memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at + 1)
}

/// A line `begin 644 name` or `begin-base64 644 name`.
struct Begin {
    name: Vec<u8>,
    base64: bool,
    /// The file's mode stands there. Outlook wants none, so what follows decides.
    mode: bool,
}

fn begin_line(line: &[u8]) -> Option<Begin> {
    let rest = line.strip_prefix(b"begin")?;
    let (rest, base64_lines) = match rest.strip_prefix(b"-base64") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?.trim_ascii();
    let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let mode = (3..=6).contains(&digits) && rest.get(digits).is_none_or(u8::is_ascii_whitespace);
    if !mode && base64_lines {
        return None;
    }
    let name = if mode { &rest[digits..] } else { rest };
    Some(Begin { name: name.trim_ascii().to_vec(), base64: base64_lines, mode })
}

/// Decodes classic uuencode lines from `at`. Gives the bytes, the end, and whether something was wrong.
fn uu_lines(text: &[u8], mut at: usize) -> (Vec<u8>, usize, bool) {
    let mut out = Vec::new();
    let mut bad = false;
    while at < text.len() {
        let next = line_end(text, at);
        let line = crate::header::trim_line_break(&text[at..next]);
        if line.trim_ascii_end() == b"end" {
            return (out, next, bad);
        }
        let Some((first, body)) = line.split_first() else {
            // An empty line stands for length 0 where mailers have cut the space off.
            at = next;
            continue;
        };
        if !(b' '..=b'`').contains(first) {
            return (out, at, true);
        }
        let length = usize::from((first - b' ') & 63);
        let needed = length.div_ceil(3) * 4;
        // A checksum character or two may follow; anything longer is a line of text.
        if body.len() > needed + 4 || body.iter().any(|byte| !(b' '..=b'`').contains(byte)) {
            return (out, at, true);
        }
        // Spaces at the end may have been cut off, never more than a group's.
        bad |= body.len() + 4 < needed;
        let start = out.len();
        for group in 0..needed / 4 {
            let value =
                |place: usize| u32::from(body.get(group * 4 + place).map_or(0, |byte| (byte - b' ') & 63));
            let word = value(0) << 18 | value(1) << 12 | value(2) << 6 | value(3);
            out.extend_from_slice(&word.to_be_bytes()[1..]);
        }
        out.truncate(start + length);
        at = next;
    }
    (out, text.len(), true)
}

/// Decodes lines of uuencode that no `begin` line stands before; lines that are none are skipped.
pub(crate) fn uu_without_begin(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let (bytes, end, _) = uu_lines(text, at);
        out.extend(bytes);
        at = if end > at { end } else { line_end(text, at) };
    }
    out
}

/// Decodes the lines behind `begin-base64`, up to `====`.
fn uu_base64(text: &[u8], at: usize) -> (Vec<u8>, usize, bool) {
    let (end, next, closed) = match memmem::find(&text[at..], b"====") {
        Some(found) => (at + found, line_end(text, at + found), true),
        None => (text.len(), text.len(), false),
    };
    let decoded = base64(&text[at..end]);
    (decoded.bytes, next, !closed || decoded.junk > 0 || decoded.truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_is_read_leniently() {
        let table: &[(&str, &str, usize, bool, bool)] = &[
            ("", "", 0, false, false),
            ("Q2F0", "Cat", 0, false, false),
            ("Q2E=", "Ca", 0, false, false),
            ("Qw==", "C", 0, false, false),
            ("Q 2\r\nF0", "Cat", 0, false, false),
            ("Q*2F\u{7f}0", "Cat", 2, false, false),
            ("Qw==RG9n", "CDog", 0, true, false),
            ("Qw==R*G9n", "CDog", 1, true, false),
            ("Q2F0RG", "CatD", 0, false, true),
            ("Q2F0R", "Cat", 0, false, true),
            ("Q2F0R===", "Cat", 0, false, true),
            ("====", "", 0, false, false),
        ];
        for (text, bytes, junk, after_padding, truncated) in table {
            let found = base64(text.as_bytes());
            assert_eq!(found.bytes, bytes.as_bytes(), "{text}");
            assert_eq!(
                (found.junk, found.after_padding, found.truncated),
                (*junk, *after_padding, *truncated),
                "{text}"
            );
        }
    }

    #[test]
    fn quoted_printable_is_read_leniently() {
        let table: &[(&str, &str, usize)] = &[
            ("plain", "plain", 0),
            ("=3D=3d", "==", 0),
            ("soft=\r\n break=\nhere", "soft breakhere", 0),
            ("soft= \t\r\nbreak", "softbreak", 0),
            ("space \t\r\nat end \nof line", "space\r\nat end\nof line", 0),
            ("kept=20\r\n", "kept \r\n", 0),
            ("half=", "half", 0),
            ("=zz=4", "=zz=4", 2),
        ];
        for (text, bytes, bad) in table {
            let (found, wrong) = quoted_printable(text.as_bytes());
            assert_eq!((String::from_utf8_lossy(&found).as_ref(), wrong), (*bytes, *bad), "{text}");
        }
    }

    #[test]
    fn encodings_by_their_names() {
        use Transfer::*;
        let table: &[(&str, &[Transfer])] = &[
            ("x-gzip64", &[Base64]),
            ("base 64", &[Base64]),
            ("quoted-printable, base64", &[QuotedPrintable, Base64]),
            ("Q", &[QuotedPrintable]),
            ("x-uu-encode", &[Uuencode]),
            ("8-bit", &[Identity]),
            ("rot13", &[]),
        ];
        for (name, expected) in table {
            assert_eq!(Transfer::hinted(name), *expected, "{name}");
        }
        assert!(is_dense_quoted("=41=42".repeat(20).as_bytes()));
        assert!(!is_dense_quoted("plain =3D text".repeat(20).as_bytes()));
    }

    #[test]
    fn uuencoded_files_are_found() {
        /// Name, content, whether something is wrong.
        type File = (&'static str, &'static str, bool);
        let table: &[(&str, &[File])] = &[
            ("begin 644 cat.txt\n#0V%T\n`\nend\n", &[("cat.txt", "Cat", false)]),
            ("text\r\nbegin 0644 a b\r\n#0V%T\r\n \r\nend\r\nmore", &[("a b", "Cat", false)]),
            (
                "begin 644 a\n#0V%T\n`\nend\nbegin 644 b\n#0V%T\n`\nend\n",
                &[("a", "Cat", false), ("b", "Cat", false)],
            ),
            ("begin 644 cut\n#0V%T\n", &[("cut", "Cat", true)]),
            ("begin 644 short\n#0V\n`\nend\n", &[("short", "C`\0", false)]),
            ("begin-base64 644 x\nQ2F0\n====\n", &[("x", "Cat", false)]),
            ("begin at the beginning\nand go on\n", &[]),
            ("begin AGAIN\nHELLO\nend\n", &[]),
            ("begin  cat.txt\n#0V%T\n`\nend\n", &[("cat.txt", "Cat", false)]),
            ("begin\t644\tcat.txt\n#0V%T\n`\nend\n", &[("cat.txt", "Cat", false)]),
            ("begin 644 reasons to think\nbut no line of it\n", &[]),
            (" begin 644 x\n#0V%T\n`\nend\n", &[]),
        ];
        for (text, expected) in table {
            let text = text.as_bytes();
            let mut found = Vec::new();
            let mut at = 0;
            while let Some(file) = uuencoded(text, at) {
                at = file.end;
                found.push((file.name, file.bytes, file.bad));
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, bytes, bad)| (name.as_bytes().to_vec(), bytes.as_bytes().to_vec(), *bad))
                .collect();
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(text));
        }
    }

    fn encode_base64(bytes: &[u8]) -> String {
        let word = crate::words::base64_encode(bytes);
        word.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned() + "\r\n").collect()
    }

    fn encode_uu(bytes: &[u8]) -> Vec<u8> {
        let mut out = b"begin 644 f\n".to_vec();
        let digit = |value: u32| if value & 63 == 0 { b'`' } else { (value & 63) as u8 + b' ' };
        for line in bytes.chunks(45) {
            out.push(line.len() as u8 + b' ');
            for group in line.chunks(3) {
                let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
                let word = byte(0) << 16 | byte(1) << 8 | byte(2);
                out.extend([18, 12, 6, 0].map(|shift| digit(word >> shift)));
            }
            out.push(b'\n');
        }
        out.extend(b"`\nend\n");
        out
    }

    proptest! {
        #[test]
        fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let found = base64(encode_base64(&bytes).as_bytes());
            prop_assert_eq!(found.bytes, bytes);
            prop_assert!(found.junk == 0 && !found.after_padding && !found.truncated);
        }

        #[test]
        fn quoted_printable_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut text = String::new();
            for (place, byte) in bytes.iter().enumerate() {
                text.push_str(&format!("={byte:02X}"));
                if place % 20 == 19 {
                    text.push_str("=\r\n");
                }
            }
            prop_assert_eq!(quoted_printable(text.as_bytes()), (bytes, 0));
        }

        #[test]
        fn uuencode_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let found = uuencoded(&encode_uu(&bytes), 0).expect("a file");
            prop_assert_eq!(found.bytes, bytes);
            prop_assert!(!found.bad);
        }
    }
}
