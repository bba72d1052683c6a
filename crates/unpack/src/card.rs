//! Calendars (RFC 5545) and visiting cards (RFC 6350, 2426, and version 2.1): files that stand in them as base64 or as
//! `data:` addresses, HTML of descriptions, and addresses that they lead to.

use gatepost_mail::{FileType, decode};
use memchr::{memchr, memmem};

use crate::names;
use crate::opening::{Opening, Stop};
use crate::pieces;

/// Whether this is a calendar or a visiting card. Some stand behind a few lines of something else.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    const NEAR: usize = 1024;
    let near = &body[..body.len().min(NEAR)];
    let begins = || {
        memmem::find_iter(near, b"\nBEGIN:VC")
            .any(|at| near[at + 7..].starts_with(b"VCARD") || near[at + 7..].starts_with(b"VCALENDAR"))
    };
    matches!(detected, FileType::CALENDAR | FileType::VCARD) || detected == FileType::TEXT && begins()
}

/// Takes out what a calendar or card holds.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let mut lines = Lines { rest: &body };
    while let Some(mut line) = lines.unfolded() {
        opening.check_time()?;
        let Some(colon) = value_start(&line) else { continue };
        if Property::read(&line[..colon]).base64 {
            lines.continue_base64(&mut line);
        }
        let property = Property::read(&line[..colon]);
        take(opening, &property, &line[colon + 1..])?;
    }
    Ok(())
}

fn take(opening: &mut Opening, property: &Property, value: &[u8]) -> Result<(), Stop> {
    let value = value.trim_ascii();
    if property.base64 {
        if !value.is_empty() {
            pieces::made(opening, property.names(), decode::base64(value))?;
        }
    } else if starts_with(value, b"data:") {
        let comma = memchr(b',', value).unwrap_or(value.len());
        let content = value.get(comma + 1..).unwrap_or_default();
        let plain = percent(content);
        let base64 = value[..comma].to_ascii_lowercase().ends_with(b";base64");
        pieces::made(opening, property.names(), if base64 { decode::base64(&plain) } else { plain })?;
    } else if starts_with(value, b"http:") || starts_with(value, b"https:") || starts_with(value, b"ftp:") {
        opening.link(String::from_utf8_lossy(value));
    } else if property.html {
        let value = if property.quoted_printable { decode::quoted_printable(value) } else { value.to_vec() };
        pieces::made(opening, vec!["description.html".into()], unescaped(&value))?;
    }
    Ok(())
}

/// Lines of the file, folded ones put together.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.rest).map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// A line and its continuations: those that begin with white space, and in version 2.1 those behind a soft line break.
    fn unfolded(&mut self) -> Option<Vec<u8>> {
        let mut line = self.next()?.to_vec();
        loop {
            let folded = matches!(self.rest.first(), Some(b' ' | b'\t'));
            let soft = line.ends_with(b"=") && memmem::find(&line, b"QUOTED-PRINTABLE").is_some();
            if !folded && !soft {
                return Some(line);
            }
            let Some(more) = self.next() else { return Some(line) };
            if soft {
                line.extend_from_slice(b"\r\n");
            }
            line.extend_from_slice(if folded { &more[1..] } else { more });
        }
    }

    /// Base64 may go on without being folded.
    fn continue_base64(&mut self, line: &mut Vec<u8>) {
        while !self.rest.is_empty() {
            let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let next = self.rest[..end].trim_ascii();
            if next.is_empty() || next.iter().any(|byte| matches!(byte, b':' | b';' | b'-')) {
                return;
            }
            line.extend_from_slice(next);
            self.next();
        }
    }
}

/// A property's name and parameters.
#[derive(Default)]
struct Property {
    names: Vec<String>,
    base64: bool,
    quoted_printable: bool,
    html: bool,
}

impl Property {
    fn read(head: &[u8]) -> Property {
        const NAMES: [&str; 6] =
            ["FILENAME", "X-FILENAME", "X-APPLE-FILENAME", "X-ORACLE-FILENAME", "X-NAME", "NAME"];
        let head = String::from_utf8_lossy(head);
        let mut property = Property::default();
        for parameter in parameters(&head) {
            let (key, value) = parameter.split_once('=').unwrap_or(("", parameter));
            let (key, value) = (key.trim().to_ascii_uppercase(), value.trim().trim_matches('"'));
            let says = |what: &str| value.eq_ignore_ascii_case(what);
            match key.as_str() {
                "" | "ENCODING" => {
                    property.base64 |= says("BASE64") || says("B");
                    property.quoted_printable |= says("QUOTED-PRINTABLE");
                }
                "VALUE" => property.base64 |= says("BINARY"),
                "FMTTYPE" => property.html |= says("text/html"),
                key if NAMES.contains(&key) => names::add(&mut property.names, names::clean(value)),
                _ => {}
            }
        }
        property
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

/// Parameters, which semicolons outside of quotes divide; the name of the property is left out.
fn parameters(head: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let divides = move |c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    };
    head.split(divides).skip(1)
}

/// The colon before the value: the first outside of quotes.
fn value_start(line: &[u8]) -> Option<usize> {
    /// Parameters are not longer.
    const NEAR: usize = 4096;
    let mut quoted = false;
    line.iter().take(NEAR).position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b':' && !quoted
    })
}

fn starts_with(value: &[u8], with: &[u8]) -> bool {
    value.len() >= with.len() && value[..with.len()].eq_ignore_ascii_case(with)
}

/// Bytes with `%XX` decoded (RFC 3986 section 2.1).
fn percent(value: &[u8]) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first == b'%'
            && let [high, low, ..] = more
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push((high << 4 | low) as u8);
            rest = &more[2..];
        } else {
            out.push(first);
        }
    }
    out
}

/// Text with its escapes undone (RFC 5545 section 3.3.11).
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'n' | b'N') => out.push(b'\n'),
                Some(&other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use gatepost_mail::Limits;

    use super::*;

    #[test]
    fn files_links_and_html_are_taken_out() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
        let table: &[Case] = &[
            (
                "BEGIN:VCALENDAR\r\nATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY;\r\n X-FILENAME=\"a;b:c.txt\":aGVs\r\n bG8=\r\nEND:VCALENDAR\r\n",
                &[("a;b:c.txt", "hello")],
                &[],
            ),
            ("BEGIN:VCARD\nPHOTO;ENCODING=b;TYPE=JPEG:aGVsbG8=\nEND:VCARD\n", &[("", "hello")], &[]),
            (
                "BEGIN:VCARD\nVERSION:2.1\nLOGO;BASE64;GIF:\naGVs\nbG8=\n\nKEY;TYPE=X:data:text/plain,a%20b\nEND:VCARD\n",
                &[("", "hello"), ("", "a b")],
                &[],
            ),
            (
                "BEGIN:VCARD\r\nPHOTO:data:image/png;base64,aGVs\r\n bG8=\r\nURL:https://example.com/x\r\nEND:VCARD\r\n",
                &[("", "hello")],
                &["https://example.com/x"],
            ),
            (
                "junk\nBEGIN:VCALENDAR\nX-ALT-DESC;FMTTYPE=text/html:<html>a\\, b\\n</html>\n",
                &[("description.html", "<html>a, b\n</html>")],
                &[],
            ),
            ("BEGIN:VCALENDAR\nATTACH;ENCODING=BASE64:\nATTACH;:\n:\n;;;:x\n", &[], &[]),
        ];
        for (text, files, links) in table {
            let message = crate::open(crate::Format::Card, (*text).to_owned().into(), &Limits::default());
            let got: Vec<_> = message.parts[1..]
                .iter()
                .map(|part| (part.name().unwrap_or_default(), String::from_utf8_lossy(&part.body)))
                .collect();
            let got: Vec<(&str, &str)> = got.iter().map(|(name, body)| (*name, body.as_ref())).collect();
            assert_eq!(got, *files, "{text}");
            assert_eq!(
                message.links.iter().map(|link| link.url.as_str()).collect::<Vec<_>>(),
                *links,
                "{text}"
            );
            assert!(is(text.as_bytes(), FileType::detect(text.as_bytes())), "{text}");
        }
    }
}
