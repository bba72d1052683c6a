//! The other ways in which mail programs decode a body: where base64 or quoted-printable is broken, each goes on in its
//! own way, and a file that one of them cannot open another gets whole.

use crate::carve::{self, Form};
use crate::transfer::{self, Digit, Transfer};

/// One way to decode a body that the first reading decodes otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As it stands.
    Raw,
    /// By these encodings, one after the other.
    By(Vec<Transfer>),
    /// Base64 by other rules.
    Base64(Rules),
    /// Quoted-printable by another rule for what is broken.
    Quoted(Broken),
    /// The first run of lines that are base64 and nothing else.
    Run,
}

impl How {
    /// The body in this reading; None where there is nothing to decode, or nothing comes out. `most` bytes at most.
    pub(crate) fn decode(&self, text: &[u8], most: usize) -> Option<Vec<u8>> {
        let bytes = match self {
            How::Raw => text.to_vec(),
            How::By(steps) => {
                let mut bytes: Option<Vec<u8>> = None;
                for step in steps {
                    bytes = step.plain(bytes.as_deref().unwrap_or(text), most).or(bytes);
                }
                bytes?
            }
            How::Base64(rules) => base64(text, *rules),
            How::Quoted(rule) => quoted_printable(text, *rule),
            How::Run => Form::Base64.next(text, 0, most)?.bytes,
        };
        (!bytes.is_empty()).then_some(bytes)
    }
}

impl How {
    /// Where the encoding is broken: how else it may be decoded by those who take it for this one.
    pub(crate) fn others(&self, text: &[u8]) -> Vec<How> {
        let How::By(steps) = self else { return Vec::new() };
        match steps[..] {
            [Transfer::Base64] => of_base64(text, &transfer::base64(text)),
            [Transfer::QuotedPrintable] if transfer::quoted_printable(text).1 > 0 => OF_QUOTED.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// What a reader of base64 does where it is not by the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pad: Pad,
    junk: Junk,
    /// `-` and `_` are the last two characters of the alphabet (RFC 4648 section 5).
    url: bool,
}

/// What padding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pad {
    /// It ends a group; the next begins behind it.
    Restart,
    /// It ends the whole.
    Stop,
    /// Nothing, as if it were not there.
    Skip,
    /// Enough of it ends the whole, too little is nothing.
    StopIfWhole,
    /// Enough of it ends a group, too little is nothing.
    RestartIfWhole,
    /// It ends a group, and nothing behind it on its line counts.
    RestOfLine,
}

/// What a character outside the alphabet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Junk {
    /// Nothing.
    Skip,
    /// It ends the whole.
    Stop,
    /// Its whole line is nothing.
    Line,
    /// Its whole line is nothing, and each line ends a group.
    EachLine,
}

/// The readings of base64 that differ from [`transfer::base64`]; none where it noticed nothing.
pub(crate) fn of_base64(text: &[u8], noticed: &transfer::Base64) -> Vec<How> {
    // The first line tells whether lines are groups of their own.
    let first = memchr::memchr(b'\n', text).map_or(&b""[..], |end| &text[..end]);
    let uneven = !first.iter().filter(|byte| transfer::is_base64(**byte)).count().is_multiple_of(4);
    if !uneven && !noticed.after_padding && !noticed.truncated && noticed.junk == 0 {
        return Vec::new();
    }
    let padding = noticed.after_padding;
    let pads: &[Pad] = if padding {
        &[Pad::Restart, Pad::Stop, Pad::Skip, Pad::StopIfWhole, Pad::RestartIfWhole, Pad::RestOfLine]
    } else {
        &[Pad::Restart]
    };
    let broken = noticed.junk > 0 || noticed.truncated || uneven;
    let junks: &[Junk] =
        if broken { &[Junk::Skip, Junk::Stop, Junk::Line, Junk::EachLine] } else { &[Junk::Skip] };
    let url = noticed.junk > 0 && memchr::memchr2(b'-', b'_', text).is_some();
    let mut found = Vec::new();
    for (pad_place, &pad) in pads.iter().enumerate() {
        for (junk_place, &junk) in junks.iter().enumerate() {
            // Both at once are broken only by those who mean it; then what is skipped and what stops suffices.
            if pad_place > 3 && junk_place > 0 {
                continue;
            }
            if pad_place + junk_place > 0 {
                found.push(How::Base64(Rules { pad, junk, url: false }));
            }
        }
        if url {
            found.push(How::Base64(Rules { pad, junk: Junk::Skip, url }));
        }
    }
    if broken || transfer::is_dense_quoted(text) {
        // Some give up and show what stands there, or see where it begins.
        found.extend([How::Raw, How::Run]);
    }
    found
}

fn base64(text: &[u8], rules: Rules) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'-' if rules.url => Digit::Value(62),
        b'_' if rules.url => Digit::Value(63),
        _ => transfer::digit(byte),
    };
    let mut out = transfer::Groups::with_capacity(text.len());
    let by_line = matches!(rules.junk, Junk::Line | Junk::EachLine);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if by_line && line.iter().any(|byte| matches!(digit(*byte), Digit::Junk)) {
            continue;
        }
        let mut pads = 0;
        for byte in line {
            match digit(*byte) {
                Digit::Space => {}
                Digit::Junk if rules.junk == Junk::Stop => return out.finish(),
                Digit::Junk => {}
                Digit::Value(value) => {
                    pads = 0;
                    out.push(value);
                }
                Digit::Pad => {
                    pads += 1;
                    let whole = out.held() >= 2 && out.held() + pads >= 4;
                    match rules.pad {
                        Pad::Skip => {}
                        Pad::Stop => return out.finish(),
                        Pad::StopIfWhole if whole => return out.finish(),
                        Pad::RestartIfWhole if !whole => {}
                        Pad::StopIfWhole => {}
                        Pad::Restart | Pad::RestartIfWhole => out.flush(),
                        Pad::RestOfLine => {
                            out.flush();
                            break;
                        }
                    }
                }
            }
        }
        if rules.junk == Junk::EachLine {
            out.flush();
        }
    }
    out.finish()
}

/// What a reader of quoted-printable does with a `=` that is followed by neither two hex digits nor a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It drops the `=`.
    Drop,
    /// It drops the `=` and the two characters behind it.
    DropThree,
    /// It stops there.
    Stop,
    /// It skips white space before each digit.
    Spaced,
    /// It wants a soft line break to stand directly before the line's end, and leaves white space where it is.
    Strict,
}

/// The readings of quoted-printable that differ from [`transfer::quoted_printable`] where that met stray marks.
pub(crate) const OF_QUOTED: [How; 5] = [
    How::Quoted(Broken::Drop),
    How::Quoted(Broken::DropThree),
    How::Quoted(Broken::Strict),
    How::Quoted(Broken::Stop),
    How::Quoted(Broken::Spaced),
];

fn quoted_printable(text: &[u8], rule: Broken) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let [high, low, ..] = rest
            && let (Some(high), Some(low)) = (transfer::hex(*high), transfer::hex(*low))
        {
            out.push(high << 4 | low);
            rest = &rest[2..];
            continue;
        }
        let soft = match rule {
            Broken::Strict if rest.starts_with(b"\r\n") => Some(2),
            Broken::Strict if rest.starts_with(b"\n") => Some(1),
            Broken::Strict => None,
            _ => transfer::soft_break(rest),
        };
        match (soft, rule) {
            (Some(length), _) => rest = &rest[length..],
            (None, Broken::Drop) => {}
            (None, Broken::DropThree) => rest = rest.get(2..).unwrap_or_default(),
            (None, Broken::Stop) => return out,
            (None, Broken::Strict) => out.push(b'='),
            (None, Broken::Spaced) => match spaced(rest) {
                Some((byte, behind)) => {
                    out.push(byte);
                    rest = behind;
                }
                None => out.push(b'='),
            },
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The byte of two hex digits with blanks before them, and what follows.
fn spaced(text: &[u8]) -> Option<(u8, &[u8])> {
    /// Between a mark and a digit.
    const MOST: usize = 16;
    let skip = |text: &[u8]| text.iter().take(MOST).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (high, rest) = text[skip(text)..].split_first()?;
    let (low, rest) = rest[skip(rest)..].split_first()?;
    Some((transfer::hex(*high)? << 4 | transfer::hex(*low)?, rest))
}

impl Transfer {
    /// The text decoded, without a word about what is wrong; None where there is nothing to decode.
    pub(crate) fn plain(self, text: &[u8], most: usize) -> Option<Vec<u8>> {
        match self {
            Transfer::Identity | Transfer::Unknown => None,
            Transfer::Base64 => Some(transfer::base64(text).bytes),
            Transfer::QuotedPrintable => Some(transfer::quoted_printable(text).0),
            Transfer::Uuencode => match transfer::uuencoded(text, 0) {
                Some(file) => Some(file.bytes),
                None => Some(transfer::uu_without_begin(text)),
            },
            Transfer::Yenc => carve::yenc(text, 0).map(|file| file.bytes),
            Transfer::BinHex => carve::binhex(text, 0, most).map(|file| file.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that some reader makes of it.
    fn all(text: &str) -> Vec<String> {
        let noticed = transfer::base64(text.as_bytes());
        let mut found = vec![String::from_utf8_lossy(&noticed.bytes).into_owned()];
        for how in of_base64(text.as_bytes(), &noticed) {
            let decoded = how.decode(text.as_bytes(), 1 << 20).unwrap_or_default();
            found.push(String::from_utf8_lossy(&decoded).into_owned());
        }
        found
    }

    #[test]
    fn base64_as_readers_take_it() {
        // "evil content"
        let table = [
            ("by the book", "ZXZpbCBjb250ZW50\r\n"),
            ("each three bytes padded", "ZXY=aWw=IGM=b24=dGU=bnQ="),
            ("stops at padding", "ZXZpbCBjb250ZW50====junkjunkjunk"),
            ("stops at whole padding", "ZXZpbCBj=b250ZW50IQ==junk"),
            ("padding skipped", "ZX=ZpbC=Bj=b250=ZW50"),
            ("rest of the line skipped", "ZXZpbCA=AAAA\r\nY29udGVudA==AAAA\r\n"),
            ("junk skipped", "ZX*Zpb\u{1}CBjb2.50ZW50"),
            ("stops at junk", "ZXZpbCBjb250ZW50\r\n--\r\nmore text\r\n"),
            ("lines of junk", "Hello, see here:\r\nZXZpbCBjb250ZW50\r\nBye, bye\r\n"),
            ("lines of junk within", "ZXZpbCBj\r\nIgnore: this\r\nb250ZW50\r\n"),
            ("the alphabet of URLs", "ZXZpbCBjb250ZW50IT8_Pz8-\r\n"),
            ("each line by itself", "ZXZpbA\r\nIGNvbnRlbnQ\r\n"),
            ("as it stands", "evil content"),
        ];
        for (what, text) in table {
            let found = all(text);
            let is = |text: &String| text.trim_end_matches(['!', '?', '>']) == "evil content";
            assert!(found.iter().any(is), "{what}: {found:?}");
        }
        assert_eq!(all("ZXZpbCBjb250ZW50\r\n").len(), 1, "what is by the book has one reading");
    }

    #[test]
    fn quoted_printable_as_readers_take_it() {
        let table = [
            (Broken::Drop, "e=vi=l", "evil"),
            (Broken::DropThree, "ev=ZZi=l!l", "evil"),
            (Broken::DropThree, "e=??vil", "evil"),
            (Broken::Stop, "evil=ZZmore", "evil"),
            (Broken::Spaced, "= 65v= 6\t9l=zz", "evil=zz"),
            (Broken::Strict, "e=\r\nvil= \nx", "evil= \nx"),
            (Broken::Strict, "=65vil  \r\n", "evil  \r\n"),
        ];
        for (rule, text, expected) in table {
            let found = quoted_printable(text.as_bytes(), rule);
            assert_eq!(String::from_utf8_lossy(&found), expected, "{text}");
        }
    }
}
