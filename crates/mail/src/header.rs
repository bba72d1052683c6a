//! Header fields with the exact bytes they stand in (RFC 5322 section 2.2).

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem};

use crate::{DefectKind, charset, words};

/// The header of a message or MIME entity: every field in its order, with its exact place.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The header's bytes, without the empty line that ends it.
    pub raw: Bytes,
    /// The fields, in order. The spans follow each other without gap and cover all of `raw`; a line that is no field
    /// (and the `From ` line of an mbox) stands as a field with an empty name.
    pub fields: Vec<Field>,
}

/// One field, as places in [`Headers::raw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The whole field: name to final line break, included.
    pub span: Range<usize>,
    /// The name, without trailing space and colon.
    pub name: Range<usize>,
    /// The value: all behind the colon up to the final line break, folding and leading space kept.
    pub value: Range<usize>,
}

/// What [`Headers::parse`] noticed: a kind of defect and its proof, at most one of each kind.
pub type Noticed = Vec<(DefectKind, String)>;

impl Headers {
    /// Reads the header that `entity` begins with. Gives the header, the offset in `entity` where the body begins
    /// (behind the empty line), and what is wrong with it.
    ///
    /// Lines end with LF, with or without CR. A line that is neither field nor continuation is kept and skipped as
    /// long as more fields follow than such lines; otherwise the body begins with it, the empty line being forgotten.
    pub fn parse(entity: Bytes) -> (Headers, usize, Noticed) {
        let found = Lines::scan(&entity);
        let mut noticed = Noticed::new();
        found.notice(&entity, &mut noticed);
        let raw = entity.slice(..found.end);
        (Headers { raw, fields: found.fields }, found.body, noticed)
    }

    /// The header read in the ways that differ where a line is neither field nor continuation, or one of white space
    /// only: such a line ends it, or only the empty line does. `body` is where the first reading has the body begin.
    pub(crate) fn otherwise(entity: &Bytes, body: usize) -> Vec<(Headers, usize)> {
        let readings = [Lines::until_odd(entity), Lines::until_empty(entity)];
        // A body that is all of the entity would be read as that entity again, and again.
        let other = |found: &Lines| found.body != body && (1..entity.len()).contains(&found.body);
        readings
            .into_iter()
            .filter(other)
            .map(|found| {
                let raw = entity.slice(..found.end);
                (Headers { raw, fields: found.fields }, found.body)
            })
            .collect()
    }

    /// Whether there may be fields that [`Headers::misspelt`] finds, of any name that steers reading.
    pub(crate) fn may_be_misspelt(&self) -> bool {
        let odd = |field: &Field| {
            let name = &self.raw[field.name.clone()];
            match name.first() {
                Some(b'c' | b'C') => {
                    is_mime_field(name) && !MIME_FIELDS.iter().any(|known| self.is_named(field, known))
                }
                Some(first) => !first.is_ascii_alphabetic(),
                None => true,
            }
        };
        self.fields.iter().any(odd)
    }

    /// Fields that are meant to have this name but don't: other marks in it, white space or junk before it. Their names as
    /// they stand, and their values unfolded.
    pub(crate) fn misspelt(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for field in &self.fields {
            let (shown, value) = match &self.raw[field.name.clone()] {
                b"" => {
                    let line = self.raw_value(field);
                    let mark = memchr(b':', line).filter(|colon| is_meant(&line[..*colon], name));
                    // Some want no colon.
                    let mark = mark
                        .or_else(|| line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'=' | b';')));
                    match mark {
                        Some(at) => (&line[..at], &line[at + 1..]),
                        None => continue,
                    }
                }
                shown => (shown, self.raw_value(field)),
            };
            let exact = !field.name.is_empty() && shown.eq_ignore_ascii_case(name.as_bytes());
            if is_meant(shown, name) && !exact {
                found.push((String::from_utf8_lossy(shown).into_owned(), unfold(value).into_owned()));
            }
        }
        found
    }

    /// The first field of that name, compared without case.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| self.is_named(field, name))
    }

    /// All fields of that name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> + 'a {
        self.fields.iter().filter(move |field| self.is_named(field, name))
    }

    /// The first field of that name (without case), unfolded and with encoded words decoded, trimmed. Raw bytes
    /// over 127 are read as UTF-8 if they are that, else as windows-1252.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|field| self.value_text(field))
    }

    /// The value of a field as [`Headers::text`] gives it.
    pub fn value_text(&self, field: &Field) -> String {
        let unfolded = unfold(self.raw_value(field));
        match memmem::find(&unfolded, b"=?") {
            Some(_) => words::decode(&unfolded).trim().to_owned(),
            None => charset::guess(&unfolded).trim().to_owned(),
        }
    }

    /// The value's bytes as they stand: folding and leading space kept, without the final line break.
    pub fn raw_value(&self, field: &Field) -> &[u8] {
        self.raw.get(field.value.clone()).unwrap_or_default()
    }

    /// The name as it stands; empty for a line that is no field.
    pub fn name(&self, field: &Field) -> &str {
        let name = self.raw.get(field.name.clone()).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// All bytes of a field: name to final line break.
    pub fn raw_field(&self, field: &Field) -> &[u8] {
        self.raw.get(field.span.clone()).unwrap_or_default()
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        self.raw.get(field.name.clone()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Whether letters and digits of both are the same.
fn is_meant(shown: &[u8], name: &str) -> bool {
    let bare = |byte: &&u8| byte.is_ascii_alphanumeric();
    let mut shown = shown.iter().filter(bare).map(u8::to_ascii_lowercase);
    let mut name = name.as_bytes().iter().filter(bare).map(u8::to_ascii_lowercase);
    loop {
        match (shown.next(), name.next()) {
            (None, None) => return true,
            (one, other) if one != other => return false,
            _ => {}
        }
    }
}

/// Whether the first line is a header field: a name of printable characters, perhaps a space, then a colon (RFC 5322
/// sections 2.2 and 4.5).
pub fn begins_with_field(raw: &[u8]) -> bool {
    let name = raw.iter().take_while(|byte| byte.is_ascii_graphic() && **byte != b':').count();
    let mut rest = raw[name..].iter().skip_while(|byte| matches!(byte, b' ' | b'\t'));
    name > 0 && rest.next() == Some(&b':')
}

/// Where a body begins with header fields again, one of which tells of MIME: the offset of the first of them. Empty
/// lines before it do not count.
pub(crate) fn late_header(body: &[u8]) -> Option<usize> {
    const MOST_EMPTY: usize = 64;
    const MOST_FIELDS: usize = 50;
    let blank = body.iter().take(MOST_EMPTY).take_while(|byte| byte.is_ascii_whitespace()).count();
    let start = body[..blank].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for line in body[start..].split(|byte| *byte == b'\n').take(MOST_FIELDS) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line.first(), Some(b' ' | b'\t')) && line.iter().any(|byte| !byte.is_ascii_whitespace()) {
            continue;
        }
        let name = field_name(line)?;
        if is_mime_field(&line[..name]) {
            return Some(start);
        }
    }
    None
}

/// The fields that steer how a body is read.
const MIME_FIELDS: [&str; 3] = ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"];

/// Whether it is the name of a field that steers how a body is read.
pub(crate) fn is_mime_field(name: &[u8]) -> bool {
    ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
        .iter()
        .any(|known| is_meant(name, known))
}

/// A value on one line: line breaks before white space are taken out (RFC 5322 section 2.2.3).
pub(crate) fn unfold(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr(b'\n', value).is_none() && memchr(b'\r', value).is_none() {
        return value.into();
    }
    value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect::<Vec<u8>>().into()
}

/// The lines of a header, sorted into fields.
#[derive(Default)]
struct Lines {
    fields: Vec<Field>,
    /// Where the header ends: the empty line, or the body if there is none.
    end: usize,
    /// Where the body begins.
    body: usize,
    /// Lines that are neither field nor continuation, inside the header.
    bad: usize,
    /// The first of them.
    first_bad: Option<Range<usize>>,
    /// Continuation lines of white space only.
    blank_folds: usize,
    /// The body begins without an empty line before it.
    no_empty_line: bool,
}

impl Lines {
    fn scan(entity: &[u8]) -> Lines {
        let mut lines = Lines { end: entity.len(), body: entity.len(), ..Lines::default() };
        // State at the first bad line, to go back to if the body began there: its offset, and the counts then.
        let mut turn: Option<(usize, usize, usize)> = None;
        let mut ended = false;
        let mut start = 0;
        for line_end in memchr_iter(b'\n', entity).map(|at| at + 1).chain([entity.len()]) {
            if line_end == start {
                continue;
            }
            let line = start..line_end;
            let content = trim_line_break(&entity[line.clone()]);
            // A stray CR before the line break leaves the line empty for most readers.
            if content.iter().all(|byte| *byte == b'\r') {
                lines.end = start;
                lines.body = line_end;
                ended = true;
                break;
            }
            if !lines.take(line.clone(), content) && turn.is_none() {
                turn = Some((start, lines.fields.len() - 1, lines.blank_folds));
                lines.first_bad = Some(line);
            }
            start = line_end;
        }
        if let Some((at, fields, blank_folds)) = turn {
            let good = lines.fields.len() - fields - lines.bad;
            if !ended || good < lines.bad {
                lines.fields.truncate(fields);
                lines.blank_folds = blank_folds;
                (lines.end, lines.body) = (at, at);
                (lines.bad, lines.first_bad) = (0, None);
                lines.no_empty_line = true;
            }
        }
        lines
    }

    /// The header up to the first line that is no field, or of white space only; the body begins with the one and behind
    /// the other.
    fn until_odd(entity: &[u8]) -> Lines {
        let mut lines = Lines { end: entity.len(), body: entity.len(), ..Lines::default() };
        let mut start = 0;
        for end in memchr_iter(b'\n', entity).map(|at| at + 1).chain([entity.len()]) {
            let content = trim_line_break(&entity[start..end]);
            let blank = content.iter().all(u8::is_ascii_whitespace);
            if blank || !lines.take(start..end, content) {
                if !blank {
                    lines.fields.pop();
                }
                (lines.end, lines.body) = (start, if blank { end } else { start });
                break;
            }
            start = end;
        }
        lines
    }

    /// The header up to the first empty line, whatever stands before it.
    fn until_empty(entity: &[u8]) -> Lines {
        let mut lines = Lines { end: entity.len(), body: entity.len(), ..Lines::default() };
        let mut start = 0;
        for end in memchr_iter(b'\n', entity).map(|at| at + 1) {
            let content = trim_line_break(&entity[start..end]);
            if content.iter().all(|byte| *byte == b'\r') {
                (lines.end, lines.body) = (start, end);
                break;
            }
            lines.take(start..end, content);
            start = end;
        }
        lines
    }

    /// Takes one line that is not empty; false if it is neither field nor continuation.
    fn take(&mut self, line: Range<usize>, content: &[u8]) -> bool {
        let content_end = line.start + content.len();
        if matches!(content[0], b' ' | b'\t')
            && let Some(field) = self.fields.last_mut()
        {
            if content.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                self.blank_folds += 1;
            }
            field.span.end = line.end;
            field.value.end = content_end;
            return true;
        }
        if let Some(name) = field_name(content) {
            let colon = line.start + memchr(b':', content).unwrap_or(name);
            self.fields.push(Field {
                name: line.start..line.start + name,
                value: colon + 1..content_end,
                span: line,
            });
            return true;
        }
        let mbox = line.start == 0 && (content.starts_with(b"From ") || content.starts_with(b">From "));
        self.fields.push(Field { name: line.start..line.start, value: line.start..content_end, span: line });
        if !mbox {
            self.bad += 1;
        }
        mbox
    }

    fn notice(&self, entity: &[u8], noticed: &mut Noticed) {
        let header = &entity[..self.end];
        if self.no_empty_line {
            let line = entity[self.end..].split(|byte| *byte == b'\n').next().unwrap_or_default();
            let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
            noticed.push((DefectKind::NoHeader, format!("no empty line before the body: {shown}")));
        }
        if let Some(first) = &self.first_bad {
            let line = &entity[first.start..first.end.min(first.start + 80)];
            let shown = String::from_utf8_lossy(trim_line_break(line)).into_owned();
            noticed.push((DefectKind::BadHeaderLine, counted(self.bad, shown)));
        }
        if self.blank_folds > 0 {
            noticed.push((DefectKind::BadFolding, counted(self.blank_folds, "a line of white space".into())));
        }
        if !header.is_ascii() {
            let eight_bit = |field: &&Field| !entity[field.span.clone()].is_ascii();
            let count = self.fields.iter().filter(eight_bit).count();
            let first = self.fields.iter().find(eight_bit).map(|field| &entity[field.name.clone()]);
            let name = String::from_utf8_lossy(first.unwrap_or_default()).into_owned();
            noticed.push((DefectKind::EightBitHeader, counted(count, name)));
        }
    }
}

/// `first` alone, or with the number of all when there are several.
pub(crate) fn counted(count: usize, first: String) -> String {
    if count > 1 { format!("{first} ({count} times)") } else { first }
}

/// Length of the field name that a line begins with, if it begins with one: printable ASCII without colon, then
/// perhaps white space (RFC 5322 section 4.5.8), then a colon.
fn field_name(line: &[u8]) -> Option<usize> {
    let name = line.iter().position(|byte| !(33..=126).contains(byte) || *byte == b':')?;
    let behind = line[name..].iter().find(|byte| !matches!(byte, b' ' | b'\t'))?;
    (name > 0 && *behind == b':').then_some(name)
}

/// A line without the CRLF or LF that ends it.
pub(crate) fn trim_line_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &'static [u8]) -> (Headers, usize, Noticed) {
        Headers::parse(Bytes::from_static(raw))
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        let raw = b"A: one\r\nB :two\r\n three\r\nA:\r\n\r\nbody";
        let (headers, body, noticed) = parse(raw);
        assert_eq!(&raw[body..], b"body");
        assert!(noticed.is_empty());
        let all: Vec<(&str, &[u8])> =
            headers.fields.iter().map(|field| (headers.name(field), headers.raw_value(field))).collect();
        assert_eq!(all, [("A", &b" one"[..]), ("B", b"two\r\n three"), ("A", b"")]);
        assert_eq!(headers.all("a").count(), 2);
        assert_eq!(
            headers.get("b").map(|field| headers.raw_field(field)),
            Some(&b"B :two\r\n three\r\n"[..])
        );
        assert_eq!(headers.text("nonesuch"), None);
    }

    #[test]
    fn where_the_body_begins() {
        let table: &[(&[u8], usize, &[u8])] = &[
            (b"", 0, b""),
            (b"\r\nbody", 0, b"body"),
            (b"A: b", 1, b""),
            (b"A: b\n\nbody", 1, b"body"),
            (b"A: b\r\r\n\r\r\nbody", 1, b"body"),
            (b"From me\nA: b\n\nbody", 2, b"body"),
            (b"A: b\nno field\nC: d\n\nbody", 3, b"body"),
            (b"A: b\nno field\n\nbody", 1, b"no field\n\nbody"),
            (b"A: b\nno field\nnone\nC: d\n\nbody", 1, b"no field\nnone\nC: d\n\nbody"),
            (b"A: b\n \n\nbody", 1, b"body"),
            (b"A: b\n \nbody one\nbody two\n\nbody", 1, b"body one\nbody two\n\nbody"),
            (b" folded\nA: b\n\nbody", 2, b"body"),
            (b"body", 0, b"body"),
        ];
        for (raw, fields, rest) in table {
            let (headers, body, _) = parse(raw);
            let shown = String::from_utf8_lossy(raw);
            assert_eq!(headers.fields.len(), *fields, "{shown}");
            assert_eq!(&raw[body..], *rest, "{shown}");
        }
    }

    #[test]
    fn other_readings_of_odd_lines() {
        /// Number of fields, and the body.
        type Reading = (usize, &'static [u8]);
        let table: &[(&[u8], &[Reading])] = &[
            (b"A: b\n\nbody", &[]),
            (b"A: b\nno field\nC: d\n\nbody", &[(1, b"no field\nC: d\n\nbody")]),
            (b"A: b\nno field\nnone\nC: d\n\nbody", &[(4, b"body")]),
            (b"A: b\n \nC: d\n\nbody", &[(1, b"C: d\n\nbody")]),
            (b"no field\n\nbody", &[(1, b"body")]),
        ];
        for (raw, expected) in table {
            let entity = Bytes::from_static(raw);
            let (_, body, _) = Headers::parse(entity.clone());
            let found: Vec<(usize, &[u8])> = Headers::otherwise(&entity, body)
                .into_iter()
                .map(|(headers, at)| (headers.fields.len(), &raw[at..]))
                .collect();
            assert_eq!(found, *expected, "{}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn misspelt_names() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"Content-Type: x\n", None),
            (b"Content_Type: x\n", Some(b" x")),
            (b" Content-Type: x\n", Some(b" x")),
            (b"\xef\xbb\xbfContent-Type: x\n y\n", Some(b" x y")),
            (b"Content-Type\0: x\n", Some(b" x")),
            (b"Content Type: x\n", Some(b" x")),
            (b"Content-Type x: y\n", Some(b"x: y")),
            (b"Content-Type=x\n", Some(b"x")),
            (b"X-Content-Type: x\n", None),
            (b"Content-Typ: x\n", None),
        ];
        for (raw, value) in table {
            let raw = [*raw, b"Other: field\n\n"].concat();
            let (headers, ..) = Headers::parse(raw.clone().into());
            let found: Vec<Vec<u8>> =
                headers.misspelt("Content-Type").into_iter().map(|(_, value)| value).collect();
            assert_eq!(found.first().map(Vec::as_slice), *value, "{}", String::from_utf8_lossy(&raw));
        }
    }

    #[test]
    fn headers_that_come_late() {
        let table: &[(&[u8], Option<usize>)] = &[
            (b"Content-Type: x\n\nbody", Some(0)),
            (b"\r\n\r\nX: y\r\n z\r\ncontent-type: x\r\n", Some(4)),
            (b"text\nContent-Type: x\n", None),
            (b"X: y\n\nContent-Type: x\n", None),
            (b"", None),
        ];
        for (body, expected) in table {
            assert_eq!(late_header(body), *expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn text_is_unfolded_decoded_and_trimmed() {
        let table: &[(&[u8], &str)] = &[
            (b"S:  plain text \r\n", "plain text"),
            (b"S: two\r\n\tlines\r\n", "two\tlines"),
            (b"S: =?utf-8?q?=C3=A9t=C3=A9?= =?utf-8?b?IQ==?=\r\n", "\u{e9}t\u{e9}!"),
            (b"S: raw \xc3\xa9\r\n", "raw \u{e9}"),
            (b"S: raw \xe9\r\n", "raw \u{e9}"),
        ];
        for (raw, expected) in table {
            assert_eq!(parse(raw).0.text("s").as_deref(), Some(*expected));
        }
    }
}
