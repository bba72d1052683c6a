//! Structured values `main; name=value; …` of Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2231),
//! read in every way that readers of mail do.

use std::borrow::Cow;

use crate::charset::{self, Charset};
use crate::transfer;
use crate::words;

/// A structured value taken apart.
#[derive(Debug, Default)]
pub(crate) struct Structured {
    /// What stands before the first `;`: lower case, without comments, quotes and space.
    pub main: String,
    /// The parameters of [`KNOWN`] names, in order.
    pub parameters: Vec<Parameter>,
}

/// One parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name in lower case, without the marks of RFC 2231 and without comments.
    pub name: String,
    /// Number of the piece: `name*1=`.
    pub piece: Option<u32>,
    /// Percent-encoded with charset: `name*=`, `name*0*=`.
    pub extended: bool,
    /// Its value in every reading, the one by the book first. None is longer than [`LONGEST`], nearly.
    pub values: Vec<Vec<u8>>,
    /// What is wrong with it.
    pub wrong: Option<&'static str>,
    /// The last of the values is the one that goes on behind semicolons.
    goes_on: bool,
}

/// Names of the parameters that are kept: those that somebody asks for. Others cannot crowd them out.
const KNOWN: &[&str] = &["filename", "name", "boundary", "charset", "access-type", "number", "total", "id"];

/// Parameters that are kept of one field: the first and the last.
const MOST_PARAMETERS: usize = 1000;

/// Parameters of one name and form that are read: the first and the last.
const MOST_SAME: usize = 16;

/// Longest value that is kept whole; a longer one loses its middle, so that the beginning and the extension stay.
const LONGEST: usize = 16 << 10;

impl Structured {
    /// Takes an unfolded value apart.
    pub(crate) fn parse(value: &[u8]) -> Structured {
        let mut segments = Segments { rest: Some(value), plain: false };
        let main = segments.next().unwrap_or_default();
        let mut structured = Structured { main: clean_token(main), parameters: Vec::new() };
        let mut kept = false;
        for segment in segments {
            if segment.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match Parameter::parse(segment) {
                Some(parameter) => {
                    kept = KNOWN.contains(&parameter.name.as_str());
                    if kept {
                        structured.parameters.push(parameter);
                    }
                }
                // `name=file;.txt`: the rest of an unquoted value that holds a semicolon.
                None => {
                    if let Some(last) = structured.parameters.last_mut().filter(|_| kept) {
                        last.go_on(segment);
                    }
                }
            }
            if structured.parameters.len() > 2 * MOST_PARAMETERS {
                ends(&mut structured.parameters, MOST_PARAMETERS);
            }
        }
        ends(&mut structured.parameters, MOST_PARAMETERS);
        structured
    }

    /// The plain value of a parameter by the book, as text; the first if there are several.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        readings(self.parameters.iter(), name).into_iter().next()
    }
}

/// Every reading of the parameter `name`, the most usual first, without repetition.
///
/// Parameters may come from several fields: pieces are joined over all of them, for some readers do.
pub(crate) fn readings<'a>(
    parameters: impl Iterator<Item = &'a Parameter> + Clone,
    name: &str,
) -> Vec<String> {
    let mut found = Readings::default();
    let named = parameters.filter(|parameter| parameter.name == name);
    let mut whole: Vec<&Parameter> = named.clone().filter(|parameter| parameter.piece.is_none()).collect();
    let mut plain: Vec<&Parameter> = whole.extract_if(.., |parameter| !parameter.extended).collect();
    ends(&mut whole, MOST_SAME);
    ends(&mut plain, MOST_SAME);
    for parameter in whole {
        for value in &parameter.values {
            found.add(extended(value));
        }
    }
    let pieces: Vec<&Parameter> = named.filter(|parameter| parameter.piece.is_some()).collect();
    if !pieces.is_empty() {
        let mut sorted = pieces.clone();
        sorted.sort_by_key(|piece| piece.piece);
        found.add(joined(&sorted));
        found.add(joined(&pieces));
        // A reader that wants the numbers without gap from 0 stops at the first that is missing.
        let whole =
            sorted.iter().enumerate().take_while(|(place, piece)| piece.piece == u32::try_from(*place).ok());
        let whole: Vec<&Parameter> = whole.map(|(_, piece)| *piece).collect();
        if !whole.is_empty() && whole.len() < sorted.len() {
            found.add(joined(&whole));
        }
    }
    for parameter in &plain {
        for value in &parameter.values {
            found.add(words::decode(value));
        }
    }
    for parameter in &plain {
        for value in &parameter.values {
            found.add(charset::guess(value).into_owned());
        }
    }
    found.list
}

/// Values that readers find who only look for `name` and a `=` behind it, wherever they stand: behind no semicolon or
/// another mark, in bytes of no charset, up to a NUL. `name` is in lower case; what is known is not added again.
pub(crate) fn loose(value: &[u8], name: &str, found: &mut Vec<Vec<u8>>) {
    let mut add = |text: &[u8]| {
        if !text.is_empty()
            && text.len() <= LONGEST
            && found.len() < MOST_SAME
            && !found.iter().any(|it| it == text)
        {
            found.push(text.to_vec());
        }
    };
    let is = |window: &[u8]| window.eq_ignore_ascii_case(name.as_bytes());
    let places = value.windows(name.len()).enumerate().filter(|(_, window)| is(window));
    for (at, _) in places.take(MOST_SAME) {
        let rest = &value[at + name.len()..];
        let marks =
            rest.iter().take_while(|byte| !byte.is_ascii_alphabetic() && !b"=;,:".contains(byte)).count();
        let Some((b'=' | b':', rest)) = rest[marks..].split_first() else { continue };
        let rest = rest.trim_ascii_start();
        let text = match rest.strip_prefix(b"\"") {
            Some(inner) => inner.split(|byte| *byte == b'"').next().unwrap_or_default(),
            None => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b',');
                rest.split(ends).next().unwrap_or_default()
            }
        };
        add(text);
        if text.iter().any(u8::is_ascii_control) {
            add(text.split(|byte| *byte == 0).next().unwrap_or_default());
            add(&text.iter().copied().filter(|byte| !byte.is_ascii_control()).collect::<Vec<u8>>());
        }
    }
}

/// What is wrong with the parameter `name` over all these fields, if anything is.
pub(crate) fn wrong<'a>(
    parameters: impl Iterator<Item = &'a Parameter> + Clone,
    name: &str,
) -> Option<&'static str> {
    let named = parameters.filter(|parameter| parameter.name == name);
    if let Some(wrong) = named.clone().find_map(|parameter| parameter.wrong) {
        return Some(wrong);
    }
    let forms = |piece: bool, extended: Option<bool>| {
        let is = move |parameter: &&Parameter| {
            parameter.piece.is_some() == piece && extended.is_none_or(|wanted| parameter.extended == wanted)
        };
        named.clone().filter(is).count()
    };
    let (plain, extended, pieces) = (forms(false, Some(false)), forms(false, Some(true)), forms(true, None));
    if plain > 1 || extended > 1 {
        return Some("stands several times");
    }
    if pieces > 0 {
        let in_order =
            named.clone().filter_map(|parameter| parameter.piece).zip(0u32..).all(|(n, place)| n == place);
        if !in_order {
            return Some("its pieces are out of order or some are missing");
        }
    }
    if usize::from(plain > 0) + usize::from(extended > 0) + usize::from(pieces > 0) > 1 {
        let list = readings(named.clone(), name);
        let extension = |text: &String| text.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        let first = list.first().and_then(extension);
        if list.iter().any(|text| extension(text) != first) {
            return Some("is given in two forms that differ");
        }
    }
    None
}

/// Shortens a list to its beginning and its end: of too many, some readers take the first and some the last.
pub(crate) fn ends<T>(list: &mut Vec<T>, most: usize) {
    if list.len() > most {
        list.drain(most / 2..list.len() - most.div_ceil(2));
    }
}

/// A list without repetition.
#[derive(Default)]
struct Readings {
    list: Vec<String>,
}

impl Readings {
    fn add(&mut self, reading: String) {
        if !reading.is_empty() && !self.list.contains(&reading) {
            self.list.push(reading);
        }
    }
}

impl Parameter {
    /// Reads one segment between semicolons; None if there is no `=` in it.
    fn parse(segment: &[u8]) -> Option<Parameter> {
        let equals = memchr::memchr(b'=', segment)?;
        let mut name = clean_token(&segment[..equals]);
        let commented = segment[..equals].contains(&b'(');
        let mut parameter = Parameter {
            name: String::new(),
            piece: None,
            extended: false,
            values: Vec::new(),
            wrong: commented.then_some("its name holds a comment"),
            goes_on: false,
        };
        if let Some((base, marks)) = name.split_once('*') {
            let number = marks.strip_suffix('*').unwrap_or(marks);
            match number.parse() {
                Ok(piece) => parameter.piece = Some(piece),
                Err(_) if number.is_empty() => {}
                Err(_) => parameter.wrong = Some("the number of its piece is none"),
            }
            parameter.extended = marks.is_empty() || marks.len() > number.len();
            name = base.to_owned();
        }
        parameter.name = name;
        let mut value = segment[equals + 1..].trim_ascii().into();
        shorten(&mut value);
        parameter.read_value(&value);
        Some(parameter)
    }

    fn read_value(&mut self, value: &[u8]) {
        if let Some(inner) = value.strip_prefix(b"\"") {
            let (text, tail) = quoted(inner);
            self.values.push(text.clone());
            match tail {
                None => self.wrong = Some("its quotes are not closed"),
                Some(tail) => {
                    let tail = tail.trim_ascii();
                    let without_comments = strip_comments(tail);
                    if !without_comments.trim_ascii().is_empty() {
                        self.wrong = Some("text follows its closing quote");
                        let tail: Vec<u8> = tail.iter().copied().filter(|byte| *byte != b'"').collect();
                        self.values.push([text.as_slice(), &tail].concat());
                    }
                }
            }
            if memchr::memchr(b'\\', inner).is_some() {
                // Some readers take backslashes as they stand: paths of Windows.
                let raw = inner.strip_suffix(b"\"").unwrap_or(inner);
                self.values.push(raw.to_vec());
            }
            return;
        }
        let bare = strip_comments(value);
        if bare.as_slice() != value {
            self.wrong = Some("its value holds a comment");
            self.values.push(bare.trim_ascii().to_vec());
        }
        let unescaped = unescape(value);
        if unescaped != value {
            self.wrong = Some("its value holds a backslash outside quotes");
            self.values.push(unescaped);
        }
        self.values.push(value.to_vec());
        if let Some(inner) = value.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'")) {
            self.values.push(inner.to_vec());
        }
        if value.contains(&b'"') {
            self.wrong = Some("a quote stands inside its value");
            self.values.push(value.iter().copied().filter(|byte| *byte != b'"').collect());
        }
        if let Some(space) = value.iter().position(u8::is_ascii_whitespace) {
            self.values.push(value[..space].to_vec());
        }
    }

    /// Adds the reading in which the value went on behind a semicolon.
    fn go_on(&mut self, segment: &[u8]) {
        self.wrong = Some("its value holds a semicolon outside quotes");
        if !self.goes_on {
            self.goes_on = true;
            self.values.extend(self.values.first().cloned());
        }
        if let Some(longer) = self.values.last_mut() {
            longer.push(b';');
            let mut segment = segment.trim_ascii_end().into();
            shorten(&mut segment);
            longer.extend_from_slice(&segment);
            if longer.len() > 2 * LONGEST {
                ends(longer, LONGEST);
            }
        }
    }
}

/// Takes out the middle of a long value.
fn shorten(value: &mut Cow<[u8]>) {
    if value.len() > LONGEST {
        let (head, tail) = (&value[..LONGEST / 2], &value[value.len() - LONGEST / 2..]);
        *value = Cow::Owned([head, tail].concat());
    }
}

/// Splits at semicolons outside quotes, comments and escapes.
struct Segments<'a> {
    rest: Option<&'a [u8]>,
    /// A quote or comment was never closed, so from there on every semicolon counts.
    plain: bool,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        if self.plain {
            let mut halves = rest.splitn(2, |byte| *byte == b';');
            let segment = halves.next();
            self.rest = halves.next();
            return segment;
        }
        let (mut quoted, mut comment, mut escaped) = (false, 0u32, false);
        // A quote opens only where a value begins; `name=file".txt` holds a plain one.
        let mut value_begins = false;
        // The end of the segment if a quote or comment turns out not to be closed.
        let mut first_semicolon = None;
        for (at, byte) in rest.iter().enumerate() {
            if escaped {
                escaped = false;
                continue;
            }
            match byte {
                b'\\' => escaped = true,
                b'"' if quoted => quoted = false,
                b'"' if value_begins && comment == 0 => quoted = true,
                b'(' if !quoted => comment += 1,
                b')' if !quoted => comment = comment.saturating_sub(1),
                b';' if !quoted && comment == 0 => {
                    self.rest = Some(&rest[at + 1..]);
                    return Some(&rest[..at]);
                }
                b';' => first_semicolon = first_semicolon.or(Some(at)),
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                value_begins = *byte == b'=';
            }
        }
        match first_semicolon.filter(|_| quoted || comment > 0) {
            Some(at) => {
                self.plain = true;
                self.rest = Some(&rest[at + 1..]);
                Some(&rest[..at])
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

/// Content of a quoted string whose opening quote is behind us, unescaped; and what follows the closing quote.
fn quoted(inner: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (out, Some(&inner[at + 1..])),
            b'\\' => match bytes.next() {
                Some((_, escaped @ (b'"' | b'\\' | b';'))) => out.push(*escaped),
                // A backslash before anything else is meant as one: `C:\new`.
                Some((_, other)) => out.extend([b'\\', *other]),
                None => out.push(b'\\'),
            },
            _ => out.push(*byte),
        }
    }
    (out, None)
}

fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => bytes.next().copied().unwrap_or(b'\\'),
            _ => *byte,
        });
    }
    out
}

/// Takes out comments in parentheses; one that is not closed stays.
fn strip_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut open: Vec<usize> = Vec::new();
    for byte in text {
        match byte {
            b'(' => {
                open.push(out.len());
                out.push(*byte);
            }
            b')' => match open.pop() {
                Some(start) => out.truncate(start),
                None => out.push(*byte),
            },
            _ => out.push(*byte),
        }
    }
    out
}

/// A token in lower case, without comments, quotes and white space.
pub(crate) fn clean_token(text: &[u8]) -> String {
    let bare = strip_comments(text);
    let kept = bare.iter().filter(|byte| byte.is_ascii_graphic() && **byte != b'"');
    kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// `charset'language'percent-encoded`, decoded; without the quotes all of it is text.
fn extended(value: &[u8]) -> String {
    let (charset, text) = split_charset(value);
    in_charset(charset.as_deref(), &percent_decode(text))
}

/// Pieces joined in the order given; the charset stands in the first of them, if any.
fn joined(pieces: &[&Parameter]) -> String {
    let mut charset = None;
    let mut bytes = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        let value = piece.values.first().map(Vec::as_slice).unwrap_or_default();
        if !piece.extended {
            bytes.extend_from_slice(value);
            continue;
        }
        let mut text = value;
        if place == 0 {
            (charset, text) = split_charset(value);
        } else if charset.is_none() && value.starts_with(b"''") {
            text = &value[2..];
        }
        bytes.extend(percent_decode(text));
    }
    if charset.is_some() {
        return in_charset(charset.as_deref(), &bytes);
    }
    words::decode(&bytes)
}

fn split_charset(value: &[u8]) -> (Option<String>, &[u8]) {
    let mut marks = value.splitn(3, |byte| *byte == b'\'');
    match (marks.next(), marks.next(), marks.next()) {
        (Some(charset), Some(_), Some(text)) => (Some(charset::guess(charset).into_owned()), text),
        _ => (None, value),
    }
}

fn in_charset(label: Option<&str>, bytes: &[u8]) -> String {
    match label.and_then(Charset::of) {
        Some(charset) => charset.decode(bytes).0.into_owned(),
        None => charset::guess(bytes).into_owned(),
    }
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digit = |place: usize| text.get(at + place).copied().and_then(transfer::hex);
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_in_order() {
        let table: &[(&str, &[&str])] = &[
            ("x; name=a", &["a"]),
            ("x; NAME = a ;", &["a"]),
            ("x; name=\"a;b\"", &["a;b"]),
            ("x; name=\"a\\\"b\"", &["a\"b", "a\\\"b"]),
            ("x; name=\"C:\\new\"", &["C:\\new"]),
            ("x; name=\"a\"b", &["a", "ab"]),
            ("x; name=\"a", &["a"]),
            ("x; name=\"a; m=b", &["a"]),
            ("x; name=a(b)c", &["ac", "a(b)c"]),
            ("x; name=a(b", &["a(b"]),
            ("x; name(b)=a", &["a"]),
            ("x; name=a;b", &["a", "a;b"]),
            ("x; name=a;b;c", &["a", "a;b;c"]),
            ("x; name=a; other=b;c", &["a"]),
            ("x; name=a\\;b", &["a;b", "a\\;b"]),
            ("x; name='a'", &["'a'", "a"]),
            ("x; name=a b", &["a b", "a"]),
            ("x; name=a; name=b", &["a", "b"]),
            ("x; name*=utf-8'en'%C3%A9", &["\u{e9}"]),
            ("x; name*=''a%2Eb", &["a.b"]),
            ("x; name*=a%2Eb", &["a.b"]),
            ("x; name*=a%2", &["a%2"]),
            ("x; name*0=a; name*1=b", &["ab"]),
            ("x; name*1=b; name*0=a", &["ab", "ba"]),
            ("x; name*0*=utf-8''%C3; name*1*=%A9; name*2=%41", &["\u{e9}%41"]),
            ("x; name*0=a; name*2=b", &["ab", "a"]),
            ("x; name=a; name*=''b", &["b", "a"]),
            ("x; name=\"=?utf-8?q?a?=\"", &["a", "=?utf-8?q?a?="]),
            ("x; m=a", &[]),
            ("x", &[]),
            ("", &[]),
        ];
        for (value, expected) in table {
            let structured = Structured::parse(value.as_bytes());
            assert_eq!(readings(structured.parameters.iter(), "name"), *expected, "{value}");
        }
    }

    #[test]
    fn what_stands_behind_the_name() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"multipart/mixed; boundary=x", &[b"x"]),
            (b"multipart/mixed boundary=x", &[b"x"]),
            (b"multipart/mixed, Boundary = \"x y\"", &[b"x y"]),
            (b"multipart/mixed; boundary*0=x", &[b"x"]),
            (b"multipart/mixed; boundary: x", &[b"x"]),
            (b"multipart/mixed; boundary=\xe9", &[b"\xe9"]),
            (b"multipart/mixed; boundary=\"x\0y", &[b"x\0y", b"x", b"xy"]),
            (b"multipart/mixed; boundary; charset=x", &[]),
            (b"multipart/mixed; boundary=", &[]),
            (b"multipart/mixed", &[]),
        ];
        for (value, expected) in table {
            let mut found = Vec::new();
            loose(value, "boundary", &mut found);
            assert_eq!(found, *expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let table: &[(&str, bool)] = &[
            ("x; name=a", false),
            ("x; name=\"a b\"; m=c", false),
            ("x; name*0=a; name*1=b", false),
            ("x; name=a.txt; name*=utf-8''%C3.txt", false),
            ("x; name=a.txt; name*=utf-8''a.exe", true),
            ("x; name=a; name=b", true),
            ("x; name*1=a; name*0=b", true),
            ("x; name*0=a; name*2=b", true),
            ("x; name*a=a", true),
            ("x; name=\"a", true),
            ("x; name=\"a\"b", true),
            ("x; name=a(b)", true),
            ("x; name=a;b", true),
        ];
        for (value, expected) in table {
            let structured = Structured::parse(value.as_bytes());
            assert_eq!(wrong(structured.parameters.iter(), "name").is_some(), *expected, "{value}");
        }
    }

    /// Hostile fields: what is kept of them is bounded, and the first and the last value are there.
    #[test]
    fn what_is_kept_is_bounded() {
        let long = "a".repeat(1 << 20);
        let table = [
            (format!("x; name=first{long}{}.last", ";x".repeat(10_000)), "first", ".last"),
            (format!("x; name=first{};y{long}.last", ";x".repeat(10_000)), "first", ".last"),
            (format!("x; name=first{};name=.last", ";name=x".repeat(10_000)), "first", ".last"),
            (format!("x; name*=''first{};name*=''.last", ";name*=''x".repeat(10_000)), "first", ".last"),
            (format!("x; name=first{};name=.last", ";other=x".repeat(10_000)), "first", ".last"),
            (format!("x; name*0=first{};name*10001=.last", ";name*1=x".repeat(10_000)), "first", ".last"),
        ];
        for (field, first, last) in table {
            let shown = &field[..30];
            let structured = Structured::parse(field.as_bytes());
            let held: usize =
                structured.parameters.iter().flat_map(|parameter| &parameter.values).map(Vec::len).sum();
            assert!(held < 200_000, "{shown} keeps {held} bytes");
            let found = readings(structured.parameters.iter(), "name");
            assert!(found.iter().map(String::len).sum::<usize>() < 1 << 20, "{shown}");
            assert!(found.iter().any(|name| name.starts_with(first)), "{shown}");
            assert!(found.iter().any(|name| name.ends_with(last)), "{shown}");
        }
    }

    #[test]
    fn the_main_value_is_cleaned() {
        for (value, main) in [
            ("Text/HTML ; x=y", "text/html"),
            ("text/plain (comment)", "text/plain"),
            ("\"text/plain\"", "text/plain"),
        ] {
            assert_eq!(Structured::parse(value.as_bytes()).main, main);
        }
    }
}
