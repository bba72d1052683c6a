//! Rich text (RTF 1.9.1): objects in hexadecimal digits, with everything between the digits that Word passes over;
//! templates and fields that lead elsewhere.
//!
//! Word's reader is lenient, and those who hide objects use that: digits are split by groups, control words and white
//! space, given as raw bytes by `\bin`, or taken back by `\'`. Where readers differ, each reading is tried.

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{FeatureKind, FileKind, FileType};

use super::{field, native};
use crate::opening::{Member, Opening, Stop};

/// Whether this is rich text: Word asks for no more.
pub(crate) fn is(body: &[u8], _: FileType) -> bool {
    body.starts_with(b"{\\rt")
}

/// Takes out its objects.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut reader = Reader {
        body,
        at: 0,
        depth: 0,
        groups: Vec::new(),
        objects: Vec::new(),
        texts: Vec::new(),
        skip: 0,
        uc: 1,
        refreshed: false,
    };
    while reader.at < reader.body.len() {
        reader.step(opening)?;
    }
    while reader.depth > 0 && !(reader.objects.is_empty() && reader.texts.is_empty()) {
        reader.close(opening)?;
    }
    // Told last, so that an object of a known class is told by that.
    if reader.refreshed {
        let detail = "\\objupdate: an object that is refreshed when the document is opened";
        opening.feature(FeatureKind::RiskyObject, detail);
    }
    Ok(())
}

/// Digits of an object that is open.
struct Digits {
    /// The group that it began in.
    depth: usize,
    /// Values of the digits, one each.
    digits: Vec<u8>,
    /// Those that stand in groups of their own, which some readers pass over.
    aside: Vec<Range<usize>>,
}

/// Text that is gathered: an instruction, a template's place, a class.
struct Text {
    depth: usize,
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instruction,
    Template,
    Class,
}

/// A group that is open.
#[derive(Clone, Copy, Default)]
struct Group {
    /// `\*` stood at its beginning.
    star: bool,
    /// Readers may pass over its text.
    aside: bool,
}

struct Reader {
    body: Bytes,
    at: usize,
    /// Groups that are open; of the first ones more is known.
    depth: usize,
    groups: Vec<Group>,
    objects: Vec<Digits>,
    texts: Vec<Text>,
    /// Characters to be passed over behind one in Unicode.
    skip: usize,
    /// How many these are.
    uc: usize,
    /// An object is refreshed when the document is opened.
    refreshed: bool,
}

/// Groups of which more than their number is known.
const DEEPEST: usize = 4096;

impl Reader {
    fn step(&mut self, opening: &mut Opening) -> Result<(), Stop> {
        match self.body[self.at] {
            b'{' => {
                self.at += 1;
                self.depth += 1;
                if self.depth <= DEEPEST {
                    let aside = self.groups.last().is_some_and(|group| group.aside);
                    self.groups.push(Group { star: false, aside });
                }
                if self.depth.is_multiple_of(4096) {
                    opening.check_time()?;
                }
                Ok(())
            }
            b'}' => {
                self.at += 1;
                self.close(opening)
            }
            b'\\' => {
                self.control();
                Ok(())
            }
            _ => {
                let rest = &self.body[self.at..];
                let end = memchr::memchr3(b'{', b'}', b'\\', rest).unwrap_or(rest.len());
                let range = self.at..self.at + end;
                self.at = range.end;
                self.text(range);
                Ok(())
            }
        }
    }

    /// Ends a group, and what began in it.
    fn close(&mut self, opening: &mut Opening) -> Result<(), Stop> {
        while self.texts.last().is_some_and(|text| text.depth >= self.depth) {
            if let Some(Text { kind, text, .. }) = self.texts.pop() {
                match kind {
                    Kind::Instruction => field::instruction(opening, &text),
                    Kind::Template => super::elsewhere(opening, "template", &text),
                    Kind::Class => super::risky_class(opening, text.trim()),
                }
            }
        }
        while self.objects.last().is_some_and(|object| object.depth >= self.depth) {
            if let Some(object) = self.objects.pop() {
                opening.check_time()?;
                take_out(opening, object)?;
            }
        }
        if self.depth <= DEEPEST {
            self.groups.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// A control word or symbol.
    fn control(&mut self) {
        const LONGEST: usize = 250;
        let rest = &self.body[self.at + 1..];
        let letters = rest.iter().take(LONGEST).take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            return self.symbol();
        }
        let mut end = letters;
        if rest.get(end) == Some(&b'-') && rest.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        end += rest[end..].iter().take(LONGEST).take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[letters..end]).unwrap_or_default();
        let number = if number.is_empty() { None } else { Some(number.parse::<i64>().unwrap_or(i64::MAX)) };
        let word = rest[..letters].to_vec();
        if rest.get(end) == Some(&b' ') {
            end += 1;
        }
        self.at += 1 + end;
        self.word(&word, number);
    }

    fn word(&mut self, word: &[u8], number: Option<i64>) {
        /// Objects and texts that are open at once.
        const MOST: usize = 64;
        let star = self.groups.last().is_some_and(|group| group.star);
        let depth = self.depth;
        let text = |kind| Text { depth, kind, text: String::new() };
        let room = self.texts.len() < MOST;
        match word {
            b"objdata" if self.objects.len() < MOST => {
                self.objects.push(Digits { depth, digits: Vec::new(), aside: Vec::new() });
                self.aside(false);
            }
            b"fldinst" if room => self.texts.push(text(Kind::Instruction)),
            b"template" if room => self.texts.push(text(Kind::Template)),
            b"objclass" if room => self.texts.push(text(Kind::Class)),
            b"objupdate" => self.refreshed = true,
            b"bin" => self.binary(number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)),
            b"u" => self.unicode(number.unwrap_or_default()),
            b"uc" => self.uc = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1).min(16),
            // Their text is not the object's.
            _ if star || DESTINATIONS.contains(&word) => self.aside(true),
            _ => {}
        }
        if let Some(group) = self.groups.last_mut() {
            group.star = false;
        }
    }

    fn aside(&mut self, aside: bool) {
        if self.depth <= DEEPEST
            && let Some(group) = self.groups.last_mut()
        {
            group.aside = aside;
        }
    }

    /// A control symbol, by its one character; a character by its code is of two more.
    fn symbol(&mut self) {
        let symbol = self.body.get(self.at + 1).copied();
        self.at = (self.at + 2).min(self.body.len());
        match symbol {
            Some(b'*') => {
                if let Some(group) = self.groups.last_mut() {
                    group.star = true;
                }
            }
            Some(b'\'') => {
                let end = (self.at + 2).min(self.body.len());
                let code = self.body.slice(self.at..end);
                self.at = end;
                // Word takes a single digit back that came before.
                if let Some(object) = self.objects.last_mut()
                    && object.digits.len() % 2 == 1
                {
                    object.digits.pop();
                }
                let code = std::str::from_utf8(&code).ok().and_then(|code| u8::from_str_radix(code, 16).ok());
                if self.skip > 0 {
                    self.skip -= 1;
                } else if let Some(code) = code {
                    self.push(char::from(code));
                }
            }
            Some(c @ (b'\\' | b'{' | b'}')) => self.push(char::from(c)),
            Some(b'~') => self.push(' '),
            _ => {}
        }
    }

    fn unicode(&mut self, number: i64) {
        // Numbers are signed, of 16 bits.
        let code = u32::try_from(number.rem_euclid(0x1_0000)).unwrap_or_default();
        self.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        self.skip = self.uc;
    }

    fn push(&mut self, c: char) {
        for text in &mut self.texts {
            if text.text.len() < field::LONGEST {
                text.text.push(c);
            }
        }
    }

    /// Plain text: digits of an object, or text that is gathered.
    fn text(&mut self, range: Range<usize>) {
        let body = self.body.clone();
        let aside = self.groups.last().is_some_and(|group| group.aside);
        if let Some(object) = self.objects.last_mut() {
            let start = object.digits.len();
            object.digits.extend(
                body[range].iter().filter_map(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8),
            );
            object.set_aside(start, aside);
        } else if !self.texts.is_empty() {
            for byte in body[range].iter().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
                if self.skip > 0 {
                    self.skip -= 1;
                } else {
                    self.push(char::from(*byte));
                }
            }
        }
    }

    /// Raw bytes.
    fn binary(&mut self, length: usize) {
        let end = self.at.saturating_add(length).min(self.body.len());
        let raw = self.body.slice(self.at..end);
        self.at = end;
        let aside = self.groups.last().is_some_and(|group| group.aside);
        if let Some(object) = self.objects.last_mut() {
            let start = object.digits.len();
            object.digits.extend(raw.iter().flat_map(|byte| [byte >> 4, byte & 15]));
            object.set_aside(start, aside);
        }
    }
}

impl Digits {
    fn set_aside(&mut self, start: usize, aside: bool) {
        let end = self.digits.len();
        if !aside || start == end {
            return;
        }
        match self.aside.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.aside.push(start..end),
        }
    }

    /// The bytes that the digits make, in each reading.
    fn readings(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if !self.aside.is_empty() {
            let mut plain = Vec::with_capacity(self.digits.len());
            let mut from = 0;
            for range in &self.aside {
                // A digit that was taken back may have been one of these.
                let start = range.start.min(self.digits.len()).max(from);
                plain.extend_from_slice(&self.digits[from..start]);
                from = range.end.min(self.digits.len()).max(start);
            }
            plain.extend_from_slice(&self.digits[from..]);
            out.push(bytes_of(&plain));
        }
        out.push(bytes_of(&self.digits));
        out
    }
}

fn bytes_of(digits: &[u8]) -> Vec<u8> {
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Takes out an object, in the first reading that makes sense, and whatever else is in the others.
fn take_out(opening: &mut Opening, object: Digits) -> Result<(), Stop> {
    let digits = object.digits.len() as u64;
    for bytes in object.readings() {
        if let Err(limit) = opening.pay(digits, bytes.len() as u64) {
            opening.over(limit, None);
            return Ok(());
        }
        let bytes = Bytes::from(bytes);
        if native::object(opening, &bytes, "object")? {
            continue;
        }
        // No sound header: what it was to hold may be there nevertheless.
        if let Some(at) = memchr::memmem::find(&bytes, crate::cfb::MAGIC) {
            opening.embedded(Member { body: bytes.slice(at..), ..Member::default() })?;
        } else if !matches!(FileType::detect(&bytes).kind, FileKind::Data | FileKind::Text) {
            opening.feature(FeatureKind::EmbeddedFile, "object");
            opening.embedded(Member { body: bytes, ..Member::default() })?;
        }
    }
    Ok(())
}

/// Words that begin a text of its own without `\*`.
const DESTINATIONS: &[&[u8]] = &[
    b"author",
    b"blipuid",
    b"buptim",
    b"colortbl",
    b"comment",
    b"creatim",
    b"doccomm",
    b"fldrslt",
    b"fonttbl",
    b"footer",
    b"footnote",
    b"header",
    b"info",
    b"keywords",
    b"listname",
    b"listtext",
    b"nonshppict",
    b"objalias",
    b"object",
    b"objname",
    b"objsect",
    b"objtime",
    b"operator",
    b"pict",
    b"pntxta",
    b"pntxtb",
    b"printim",
    b"private",
    b"result",
    b"revtim",
    b"rxe",
    b"shpinst",
    b"shppict",
    b"shprslt",
    b"shptxt",
    b"sn",
    b"sp",
    b"stylesheet",
    b"subject",
    b"sv",
    b"tc",
    b"title",
    b"txe",
    b"xe",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use gatepost_mail::Limits;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Bodies of the parts that come out, and names of the features.
    fn opened(rtf: &[u8]) -> (Vec<Vec<u8>>, Vec<&'static str>) {
        let message = crate::open(Format::Rtf, rtf.to_vec().into(), &Limits::default());
        let bodies = message.parts.iter().skip(1).map(|part| part.body.to_vec()).collect();
        (bodies, message.features.iter().map(|feature| feature.kind.name()).collect())
    }

    #[test]
    fn objects_however_they_are_hidden() {
        let package = native::tests::package("a.exe", "C:\\a.exe", b"MZ evil");
        let digits = hex(&native::tests::ole1("Package", &package));
        let spaced: String = digits.chars().flat_map(|c| [c, ' ', '\n']).collect();
        let mixed: String = digits
            .chars()
            .enumerate()
            .map(|(at, c)| if at % 7 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        let raw = [
            &b"{\\rtf1{\\object{\\*\\objdata\\bin"[..],
            format!("{} ", digits.len() / 2).as_bytes(),
            &native::tests::ole1("Package", &package),
            b"}}}",
        ]
        .concat();
        for rtf in [
            format!("{{\\rtf1{{\\object\\objemb{{\\*\\objdata {digits}}}}}}}"),
            format!("{{\\rt{{\\*\\objdata {spaced}"),
            format!("{{\\rtf1{{\\*\\objdata\n{mixed}}}"),
            format!("{{\\rtf1{{\\objdata {}{{\\*\\unknown 0123}}{}}}}}", &digits[..21], &digits[21..]),
            format!("{{\\rtf1{{\\objdata {}{{\\*\\foo{{\\bar {{}}}}}}{}}}}}", &digits[..21], &digits[21..]),
            format!("{{\\rtf1{{\\objdata {}\\mmath\\foo12 {}}}}}", &digits[..21], &digits[21..]),
            format!("{{\\rtf1{{\\objdata {}f\\'ab{}}}}}", &digits[..20], &digits[20..]),
            format!("{{\\rtf1{{\\objdata {{\\object {{\\*\\objdata {digits}}}}}}}}}"),
            format!("{{\\rtf1{{\\objdata {{{{{}}}}}{}}}}}", &digits[..33], &digits[33..]),
        ]
        .iter()
        .map(String::as_bytes)
        .chain([&raw[..]])
        {
            let (bodies, features) = opened(rtf);
            let shown = String::from_utf8_lossy(&rtf[..rtf.len().min(90)]);
            assert!(bodies.iter().any(|body| body == b"MZ evil"), "{shown}: {bodies:?}");
            assert!(features.contains(&"EMBEDDED_FILE"), "{shown}");
        }
    }

    #[test]
    fn templates_fields_and_classes() {
        let table: &[(&str, &[&str])] = &[
            ("{\\rtf1{\\*\\template http://a.example/x.dotm}}", &["EXTERNAL_TEMPLATE"]),
            ("{\\rtf1{\\*\\template \\u104?\\u116?\\u116?p://a}}", &["EXTERNAL_TEMPLATE"]),
            ("{\\rtf1{\\*\\template C:\\\\Normal.dotm}}", &[]),
            ("{\\rtf1{\\field{\\*\\fldinst{ DDE}{AUTO c:\\\\x }}{\\fldrslt y}}}", &["DDE"]),
            ("{\\rtf1{\\field{\\*\\fldinst HYPERLINK \"http://a\"}}}", &[]),
            ("{\\rtf1{\\object\\objupdate{\\*\\objclass Equation.3}}}", &["RISKY_OBJECT"]),
            ("{\\rtf1 text \\'e4 \\{ \\par }", &[]),
            ("{\\rtf1}}}}}{{{{", &[]),
            ("{\\rtf1{\\*\\objdata 01}{\\objdata}{\\*\\objdata \\bin99999999999999999999 x", &[]),
        ];
        for (rtf, features) in table {
            assert_eq!(opened(rtf.as_bytes()).1, *features, "{rtf}");
        }
    }
}
