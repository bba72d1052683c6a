//! What Content-Type and Content-Disposition say, by SpamAssassin's reading.

use std::collections::BTreeMap;

use super::header::Header;
use super::perl::{find, is_space, is_word, starts_with};

/// A Content-Type, read.
pub(crate) struct ContentType {
    /// `text/html`; `text/plain` if there is none.
    pub kind: Vec<u8>,
    pub boundary: Option<Vec<u8>>,
    pub charset: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    /// There is none, or none that names a type.
    pub missing: bool,
}

impl ContentType {
    /// Of the last such field.
    pub(crate) fn of(header: &Header) -> ContentType {
        let value = header.last(b"content-type");
        if value.is_empty() || value == b"0"[..] {
            return ContentType { missing: true, ..ContentType::parse(b"text/plain; charset=us-ascii") };
        }
        ContentType::parse(&value)
    }

    fn parse(value: &[u8]) -> ContentType {
        let parameter = |name: &[u8]| values(value, name).next();
        let names = [&b"filename"[..], b"name"];
        let first =
            names.iter().filter_map(|name| positions(value, name).next()).min_by_key(|(place, _)| *place);
        let mut name = first.map(|(_, rest)| unquoted(rest));
        if name.as_deref().is_none_or(|name| name.is_empty() || name == b"0") {
            name = continued(value).or(name);
        }
        let (kind, missing) = kind(value);
        ContentType { kind, boundary: boundary(value), charset: parameter(b"charset"), name, missing }
    }
}

/// The places where `name =` stands behind something that is no word, and what follows.
fn positions<'a>(value: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = find(value, name, from)?;
            from = at + 1;
            if at > 0 && is_word(value[at - 1]) {
                continue;
            }
            let rest = skip_spaces(&value[at + name.len()..]);
            if let Some(rest) = rest.strip_prefix(b"=") {
                return Some((at, skip_spaces(rest)));
            }
        }
    })
}

fn values<'a>(value: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> {
    positions(value, name).map(|(_, rest)| unquoted(rest))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| is_space(**byte)).count()..]
}

/// Up to the next semicolon, without a quote at either end.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let text = match text {
        [b'"' | b'\'', rest @ ..] => rest,
        _ => text,
    };
    let text = &text[..memchr::memchr(b';', text).unwrap_or(text.len())];
    match text {
        [rest @ .., b'"' | b'\''] => rest.to_vec(),
        _ => text.to_vec(),
    }
}

/// A name in pieces (RFC 2231 section 3).
fn continued(value: &[u8]) -> Option<Vec<u8>> {
    let mut pieces: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut first = false;
    for name in [&b"filename*"[..], b"name*"] {
        let mut from = 0;
        while let Some(at) = find(value, name, from) {
            from = at + 1;
            if at > 0 && is_word(value[at - 1]) {
                continue;
            }
            let rest = &value[at + name.len()..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let Some(number) =
                std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok())
            else {
                continue;
            };
            if let Some(rest) = skip_spaces(&rest[digits..]).strip_prefix(b"=") {
                first |= number == 0;
                pieces.insert(number, unquoted(skip_spaces(rest)));
            }
        }
    }
    first.then(|| pieces.into_values().flatten().collect())
}

/// Between quotes, or up to white space or a semicolon.
fn boundary(value: &[u8]) -> Option<Vec<u8>> {
    for (_, rest) in positions(value, b"boundary") {
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let end = memchr::memchr(b'"', quoted).unwrap_or(quoted.len());
            if end > 0 {
                return Some(quoted[..end].to_vec());
            }
            continue;
        }
        let end =
            rest.iter().position(|byte| is_space(*byte) || matches!(byte, b'"' | b';')).unwrap_or(rest.len());
        if end > 0 && rest.get(end) != Some(&b'"') {
            return Some(rest[..end].to_vec());
        }
    }
    None
}

/// The type, and whether there is none.
fn kind(value: &[u8]) -> (Vec<u8>, bool) {
    let text = skip_spaces(value);
    let text = &text[..memchr::memchr(b';', text).unwrap_or(text.len())];
    let end = match memchr::memchr(b'/', text) {
        Some(slash) if slash > 0 => {
            let sub = text[slash + 1..].iter().take_while(|byte| **byte != b'/' && !is_space(**byte)).count();
            slash + 1 + sub
        }
        _ => text.len(),
    };
    let kind = text[..end].to_ascii_lowercase();
    let missing = kind.is_empty() || kind == b"0";
    let is_text = starts_with(&kind, b"text") && !kind.get(4).is_some_and(|byte| is_word(*byte));
    let own = matches!(kind.as_slice(), b"text/x-vcard" | b"text/calendar" | b"text/html");
    if missing || (is_text && !own) {
        return (b"text/plain".to_vec(), missing);
    }
    let proper = |byte: &u8| {
        matches!(byte, 0x21..=0x7e)
            && !matches!(byte, b'"' | b'(' | b')' | b',' | b':'..=b'?' | b'@' | b'[' | b'\\' | b']')
    };
    (kind.into_iter().filter(proper).collect(), missing)
}

/// The name that a Content-Disposition gives.
pub(crate) fn disposition_name(value: &[u8]) -> Option<Vec<u8>> {
    let mut from = 0;
    while let Some(at) = find(value, b"name=", from) {
        from = at + 1;
        let rest = skip_spaces(&value[at + 5..]);
        let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b';')).unwrap_or(rest.len());
        if end > 0 {
            return Some(rest[..end].to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        for (value, kind, missing) in [
            ("text/html", "text/html", false),
            ("Text/HTML; charset=x", "text/html", false),
            ("text", "text/plain", false),
            ("text/x-aol charset=x", "text/plain", false),
            ("text/calendar", "text/calendar", false),
            ("image/\"gif\"", "image/gif", false),
            ("; charset=x", "text/plain", true),
            ("multipart/mixed boundary=x", "multipart/mixed", false),
        ] {
            let read = ContentType::parse(value.as_bytes());
            assert_eq!((&read.kind[..], read.missing), (kind.as_bytes(), missing), "{value}");
        }
    }

    #[test]
    fn parameters_are_read() {
        let read = |value: &str| ContentType::parse(value.as_bytes());
        let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
        assert_eq!(text(read("x/y; boundary=\"a b\"; z").boundary).as_deref(), Some("a b"));
        assert_eq!(text(read("x/y; boundary = ab; z").boundary).as_deref(), Some("ab"));
        assert_eq!(text(read("x/y; boundary=\"\"").boundary), None);
        assert_eq!(text(read("x/y; charset='utf-8'; z").charset).as_deref(), Some("utf-8"));
        assert_eq!(text(read("x/y; name=\"a.txt\"").name).as_deref(), Some("a.txt"));
        assert_eq!(text(read("x/y; name*1=b; name*0=a").name).as_deref(), Some("ab"));
        assert_eq!(text(disposition_name(b"attachment; filename=\"a.html\"")).as_deref(), Some("a.html"));
    }
}
