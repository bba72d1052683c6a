//! Files that stand in text, whatever its header says: uuencode, yEnc, BinHex, and bare base64.

use memchr::{memchr, memmem};

use crate::{FileKind, FileType, header, transfer};

/// The forms in which files stand in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Uuencode,
    Yenc,
    BinHex,
    Base64,
}

impl Form {
    /// All of them.
    const ALL: [Form; 4] = [Form::Uuencode, Form::Yenc, Form::BinHex, Form::Base64];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Form::Uuencode => "uuencode",
            Form::Yenc => "yEnc",
            Form::BinHex => "BinHex",
            Form::Base64 => "base64",
        }
    }

    /// The forms of which there may be files in this text: a quick look.
    pub(crate) fn within(text: &[u8]) -> impl Iterator<Item = Form> {
        Form::ALL.into_iter().filter(move |form| match form {
            Form::Uuencode => memmem::find(text, b"begin").is_some(),
            Form::Yenc => memmem::find(text, YENC).is_some(),
            Form::BinHex => memmem::find(text, BINHEX).is_some(),
            Form::Base64 => Run::find(text, 0).is_some(),
        })
    }

    /// The first file of this form at or behind `from`. What comes out has at most `most` bytes, nearly.
    pub(crate) fn next(self, text: &[u8], from: usize, most: usize) -> Option<Carved> {
        match self {
            Form::Uuencode => transfer::uuencoded(text, from).map(|file| Carved {
                name: file.name,
                bytes: file.bytes,
                end: file.end,
                bad: file.bad,
            }),
            Form::Yenc => yenc(text, from),
            Form::BinHex => binhex(text, from, most),
            Form::Base64 => base64(text, from),
        }
    }
}

/// A file taken out of text.
#[derive(Debug)]
pub(crate) struct Carved {
    /// Its name, or nothing.
    pub name: Vec<u8>,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Where it ends in the text.
    pub end: usize,
    /// It is broken or cut off.
    pub bad: bool,
}

const YENC: &[u8] = b"=ybegin ";

/// The first file in yEnc (yenc.org's draft, version 1.3) at or behind `from`.
pub(crate) fn yenc(text: &[u8], from: usize) -> Option<Carved> {
    let mut at = from;
    loop {
        let start = at + memmem::find(text.get(at..)?, YENC)?;
        at = start + YENC.len();
        if start > 0 && text[start - 1] != b'\n' {
            continue;
        }
        let first = line_end(text, start);
        let name = memmem::find(&text[start..first], b"name=").map(|name| start + name + b"name=".len());
        let name = name.map_or(&b""[..], |name| text[name..first].trim_ascii());
        let (bytes, end, bad) = yenc_lines(text, first);
        return Some(Carved { name: name.to_vec(), bytes, end, bad });
    }
}

fn yenc_lines(text: &[u8], mut at: usize) -> (Vec<u8>, usize, bool) {
    let mut out = Vec::new();
    while at < text.len() {
        let end = line_end(text, at);
        let line = header::trim_line_break(&text[at..end]);
        at = end;
        if line.starts_with(b"=yend") {
            return (out, at, false);
        }
        if line.starts_with(b"=ypart ") {
            continue;
        }
        let mut bytes = line.iter();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'=' => bytes.next().map(|escaped| escaped.wrapping_sub(64)),
                plain => Some(*plain),
            };
            out.extend(byte.map(|byte| byte.wrapping_sub(42)));
        }
    }
    (out, at, true)
}

const BINHEX: &[u8] = b"(This file must be converted with BinHex";

/// The first file in BinHex 4.0 (RFC 1741, appendix A) at or behind `from`: its data, or where it has none its
/// resources.
pub(crate) fn binhex(text: &[u8], from: usize, most: usize) -> Option<Carved> {
    let mut at = from;
    loop {
        let marker = at + memmem::find(text.get(at..)?, BINHEX)?;
        at = marker + BINHEX.len();
        let Some(colon) = memchr(b':', &text[at..]).map(|colon| at + colon + 1) else { continue };
        let end = memchr(b':', &text[colon..]).map(|end| colon + end);
        let bytes = binhex_runs(&text[colon..end.unwrap_or(text.len())], most);
        if let Some((name, content, whole)) = binhex_file(&bytes) {
            let bad = end.is_none() || !whole;
            let end = end.map_or(text.len(), |end| end + 1);
            return Some(Carved { name: name.to_vec(), bytes: content.to_vec(), end, bad });
        }
    }
}

/// The six-bit characters decoded, and runs of one byte written out.
fn binhex_runs(text: &[u8], most: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    /// A count of how often the byte before it stands follows.
    const RUN: u8 = 0x90;
    let mut out = Vec::with_capacity(text.len());
    let (mut held, mut bits, mut run) = (0u32, 0, false);
    for byte in text {
        let Some(value) = ALPHABET.iter().position(|letter| letter == byte) else { continue };
        held = held << 6 | value as u32;
        bits += 6;
        if bits < 8 {
            continue;
        }
        bits -= 8;
        let decoded = (held >> bits) as u8;
        held &= (1 << bits) - 1;
        match (run, decoded) {
            (false, RUN) => run = true,
            (false, plain) => out.push(plain),
            (true, 0) => {
                out.push(RUN);
                run = false;
            }
            (true, count) => {
                let last = out.last().copied().unwrap_or_default();
                out.extend(std::iter::repeat_n(last, usize::from(count) - 1));
                run = false;
            }
        }
        if out.len() > most {
            break;
        }
    }
    out
}

/// Name and content of a decoded file, and whether all of the content is there.
fn binhex_file(bytes: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    /// Version, type, creator, flags.
    const FIXED: usize = 1 + 4 + 4 + 2;
    let length = usize::from(*bytes.first()?);
    let name = bytes.get(1..1 + length)?;
    let lengths = 1 + length + FIXED;
    let number = |at: usize| -> Option<usize> {
        let four = bytes.get(at..at + 4)?.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes(*four)).ok()
    };
    let (data, resources) = (number(lengths)?, number(lengths + 4)?);
    // Behind the lengths, and behind each fork, stands a checksum of two bytes.
    let start = lengths + 10;
    let (start, length) = if data > 0 { (start, data) } else { (start + 2, resources) };
    let content = bytes.get(start..)?;
    let content = &content[..content.len().min(length)];
    (!content.is_empty()).then_some((name, content, content.len() == length))
}

/// The first run of lines at or behind `from` that is base64 of something that is known for what it is.
fn base64(text: &[u8], from: usize) -> Option<Carved> {
    let mut at = from;
    while let Some(run) = Run::find(text, at) {
        at = run.end;
        for start in run.starts {
            let decoded = transfer::base64(&text[start..run.end]);
            if is_something(&decoded.bytes) {
                let (bytes, bad) = (decoded.bytes, decoded.truncated || decoded.after_padding);
                return Some(Carved { name: Vec::new(), bytes, end: run.end, bad });
            }
        }
    }
    None
}

/// Whether bytes are known for what they are. Those of words that were taken for base64 are not.
fn is_something(bytes: &[u8]) -> bool {
    let detected = FileType::detect(bytes);
    match detected.kind {
        FileKind::Text | FileKind::Html => {
            std::str::from_utf8(bytes).is_ok()
                || [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(*mark))
        }
        _ => detected != FileType::DATA,
    }
}

/// Lines of nothing but base64 that follow each other.
struct Run {
    /// Where it may begin: its first line, its first long one, and the first that is as long as the next.
    starts: Vec<usize>,
    end: usize,
}

impl Run {
    /// Fewer characters may be anything.
    const LEAST: usize = 40;

    fn find(text: &[u8], from: usize) -> Option<Run> {
        let mut at = from;
        while at < text.len() {
            let end = line_end(text, at);
            if letters(&text[at..end]).is_none() {
                at = end;
                continue;
            }
            let run = Run::at(text, at);
            let kinds = |is: fn(&u8) -> bool| text[at..run.end].iter().any(is);
            let mixed = kinds(u8::is_ascii_uppercase)
                && kinds(u8::is_ascii_lowercase)
                && kinds(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'/' | b'='));
            if run.end - at >= Run::LEAST && mixed {
                return Some(run);
            }
            at = run.end;
        }
        None
    }

    fn at(text: &[u8], start: usize) -> Run {
        let mut run = Run { starts: vec![start], end: start };
        let (mut long, mut even) = (None, None);
        let mut before: Option<(usize, usize)> = None;
        while run.end < text.len() {
            let end = line_end(text, run.end);
            let Some(length) = letters(&text[run.end..end]) else { break };
            if length >= Run::LEAST && long.is_none() {
                long = Some(run.end);
            }
            if let Some((place, last)) = before
                && last == length
                && even.is_none()
            {
                even = Some(place);
            }
            before = Some((run.end, length));
            run.end = end;
        }
        for other in [long, even].into_iter().flatten() {
            if !run.starts.contains(&other) {
                run.starts.push(other);
            }
        }
        run
    }
}

/// The number of characters of a line that is base64 and nothing else, white space around it aside.
fn letters(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii();
    let letters = line.iter().take_while(|byte| transfer::is_base64(**byte)).count();
    let good = letters > 0 && line[letters..].iter().all(|byte| *byte == b'=' || transfer::is_base64(*byte));
    good.then_some(line.len())
}

/// Offset behind the line that `start` is in.
fn line_end(text: &[u8], start: usize) -> usize {
    memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BinHex of a file `x` whose data is `evil content`, made by hand: checksums are zero, for nobody needs them.
    fn encode_binhex(name: &str, data: &[u8], resources: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
        let mut bytes = vec![name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.extend(b"\0TEXTttxt\0\0");
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend((resources.len() as u32).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(data);
        bytes.extend([0, 0]);
        bytes.extend(resources);
        bytes.extend([0, 0]);
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
            let word = byte(0) << 16 | byte(1) << 8 | byte(2);
            for shift in [18, 12, 6, 0] {
                text.push(char::from(ALPHABET[(word >> shift & 63) as usize]));
            }
        }
        format!("(This file must be converted with BinHex 4.0)\r\n\r\n:{text}:\r\n")
    }

    /// Form, name, content, whether something is wrong.
    type Found = (Form, String, String, bool);

    fn found(text: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for form in Form::within(text) {
            let mut at = 0;
            while let Some(file) = form.next(text, at, 1 << 20) {
                assert!(file.end > at);
                at = file.end;
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                found.push((form, shown(&file.name), shown(&file.bytes), file.bad));
            }
        }
        found
    }

    #[test]
    fn files_in_text() {
        let long = "a text that is long enough to be no accident, with a 1 in it";
        let base64 = crate::words::base64_encode(long.as_bytes());
        let (head, tail) = base64.split_at(40);
        let file = |form, name: &str, bytes: &str, bad| vec![(form, name.to_owned(), bytes.to_owned(), bad)];
        let table: Vec<(&str, Vec<u8>, Vec<Found>)> = vec![
            ("plain", b"nothing here\r\nbegin to read\r\n".to_vec(), vec![]),
            (
                "yEnc",
                b"see\r\n=ybegin line=128 size=3 name=a b.txt\r\n\x8b\x8c\r\n=}\r\n=yend size=3\r\n".to_vec(),
                file(Form::Yenc, "a b.txt", "ab\u{13}", false),
            ),
            (
                "yEnc cut off",
                b"=ybegin part=1 line=128 size=3 name=a\n=ypart begin=1 end=3\n\x8b\x8c\n".to_vec(),
                file(Form::Yenc, "a", "ab", true),
            ),
            (
                "BinHex",
                encode_binhex("x.exe", b"evil", b"").into(),
                file(Form::BinHex, "x.exe", "evil", false),
            ),
            (
                "BinHex of resources",
                encode_binhex("x", b"", b"evil").into(),
                file(Form::BinHex, "x", "evil", false),
            ),
            ("base64", format!("see\n\n{base64}\n").into(), file(Form::Base64, "", long, false)),
            (
                "base64 behind a word",
                format!("hello\n{head}\n{tail}\n").into(),
                file(Form::Base64, "", long, false),
            ),
            (
                "base64 indented",
                format!("  {head}\r\n  {tail}\r\n").into(),
                file(Form::Base64, "", long, false),
            ),
            ("words, one a line", "Hello\nthere\nall\nof\nYou\n12\n".repeat(9).into(), vec![]),
            ("a digest", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n".into(), vec![]),
        ];
        for (what, text, expected) in table {
            assert_eq!(found(&text), expected, "{what}");
        }
    }

    #[test]
    fn runs_in_binhex_are_bounded() {
        // One byte, then runs of 255 of it.
        let mut bytes = b"\x01".to_vec();
        bytes.extend([0x90, 0xff].repeat(10_000));
        let mut text = String::new();
        const ALPHABET: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
        for group in bytes.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
            let word = byte(0) << 16 | byte(1) << 8 | byte(2);
            for shift in [18, 12, 6, 0] {
                text.push(char::from(ALPHABET[(word >> shift & 63) as usize]));
            }
        }
        assert!(binhex_runs(text.as_bytes(), 1000).len() < 1000 + 256);
    }
}
