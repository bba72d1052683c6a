//! XML as far as documents need it: tags, attributes and text one after the other. No tree is built and nothing is
//! checked; what Office would refuse is read as well.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// A piece of XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `<name ...>` or `<name .../>`, which is empty.
    Start { tag: Tag<'a>, empty: bool },
    /// `</name>`, by its local name.
    End(&'a [u8]),
    /// Text as it stands, entities and all.
    Text(&'a [u8]),
    /// Text without entities.
    Plain(&'a [u8]),
}

/// A start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    /// The local name: prefixes are anybody's choice.
    pub(crate) name: &'a [u8],
    attributes: &'a [u8],
}

/// The pieces of some XML, one after the other.
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(xml: &'a [u8]) -> Tokens<'a> {
        Tokens { rest: xml }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = self.rest;
            if rest.is_empty() {
                return None;
            }
            if rest[0] != b'<' {
                let (text, behind) = rest.split_at(memchr(b'<', rest).unwrap_or(rest.len()));
                self.rest = behind;
                return Some(Token::Text(text));
            }
            let skip = |with: &[u8]| memmem::find(rest, with).map_or(rest.len(), |at| at + with.len());
            if rest.starts_with(b"<!--") {
                self.rest = &rest[skip(b"-->")..];
            } else if let Some(inner) = rest.strip_prefix(b"<![CDATA[") {
                let end = memmem::find(inner, b"]]>").unwrap_or(inner.len());
                self.rest = inner.get(end + 3..).unwrap_or_default();
                return Some(Token::Plain(&inner[..end]));
            } else if rest.starts_with(b"<?") || rest.starts_with(b"<!") {
                self.rest = &rest[skip(b">")..];
            } else {
                let end = tag_end(rest);
                self.rest = rest.get(end + 1..).unwrap_or_default();
                return Some(tag(&rest[1..end]));
            }
        }
    }
}

/// Where the tag that `rest` begins with has its `>`: quotes hide others.
fn tag_end(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = memchr::memchr3(b'>', b'"', b'\'', &rest[at..]) {
        at += next;
        if rest[at] == b'>' {
            return at;
        }
        match memchr(rest[at], &rest[at + 1..]) {
            Some(close) => at += close + 2,
            // A quote that is never closed is none.
            None => at += 1,
        }
    }
    rest.len()
}

fn tag(inner: &[u8]) -> Token<'_> {
    if let Some(name) = inner.strip_prefix(b"/") {
        return Token::End(local(name.trim_ascii()));
    }
    let empty = inner.last() == Some(&b'/');
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    let end = inner.iter().position(u8::is_ascii_whitespace).unwrap_or(inner.len());
    let (name, attributes) = inner.split_at(end);
    Token::Start { tag: Tag { name: local(name), attributes }, empty }
}

fn local(name: &[u8]) -> &[u8] {
    match memchr(b':', name) {
        Some(colon) => &name[colon + 1..],
        None => name,
    }
}

impl<'a> Tag<'a> {
    /// The value of the first attribute of that local name, entities decoded.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.attributes().find(|(known, _)| *known == name.as_bytes())?;
        Some(decoded(value))
    }

    /// Local names and values as they stand.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let equals = memchr(b'=', rest)?;
            let name = local(rest[..equals].trim_ascii());
            let behind = rest[equals + 1..].trim_ascii_start();
            let quote = *behind.first()?;
            if !matches!(quote, b'"' | b'\'') {
                rest = behind;
                return Some((name, &behind[..0]));
            }
            let end = memchr(quote, &behind[1..]).map_or(behind.len(), |end| end + 1);
            let value = &behind[1..end];
            rest = behind.get(end + 1..).unwrap_or_default();
            Some((name, value))
        })
    }
}

/// Text with its entities decoded.
pub(crate) fn decoded(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if !text.contains('&') {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// XML in UTF-16 as UTF-8, by its mark or its first characters; other XML as it is.
pub(crate) fn utf8(xml: &[u8]) -> Cow<'_, [u8]> {
    let order: fn([u8; 2]) -> u16 = match xml {
        [0xff, 0xfe, ..] | [b'<', 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, b'<', ..] => u16::from_be_bytes,
        _ => return Cow::Borrowed(xml),
    };
    let units = xml.chunks_exact(2).map(|pair| order([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.trim_start_matches('\u{feff}').to_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(xml: &str) -> Vec<String> {
        let one = |token: Token| match token {
            Token::Start { tag, empty } => {
                let attributes = tag
                    .attributes()
                    .map(|(name, value)| format!(" {}={}", String::from_utf8_lossy(name), decoded(value)));
                let all: String = attributes.collect();
                format!("<{}{all}{}", String::from_utf8_lossy(tag.name), if empty { "/" } else { "" })
            }
            Token::End(name) => format!("/{}", String::from_utf8_lossy(name)),
            Token::Text(text) => format!("t{}", decoded(text)),
            Token::Plain(text) => format!("p{}", String::from_utf8_lossy(text)),
        };
        Tokens::new(xml.as_bytes()).map(one).collect()
    }

    #[test]
    fn pieces_of_xml() {
        let table: &[(&str, &[&str])] = &[
            ("<a>x</a>", &["<a", "tx", "/a"]),
            (
                "<?xml v='>'?><!-- <b> --><w:a w:x='1' y=\"a>&amp;&#x41;&#66;&zz;\"/>",
                &["t'?>", "<a x=1 y=a>&AB&zz;/"],
            ),
            ("<a><![CDATA[<&amp;]]></a >", &["<a", "p<&amp;", "/a"]),
            ("<a x=1 y='2' z>", &["<a x= 1 y=2"]),
            ("<a x='1", &["<a x=1"]),
            ("<", &["<"]),
            ("x & y < z", &["tx & y ", "<"]),
            ("<!-- open", &[]),
            ("<![CDATA[open", &["popen"]),
            ("", &[]),
        ];
        for (xml, pieces) in table {
            let found = shown(xml);
            if *xml == "<a x=1 y='2' z>" {
                // Without quotes it is no XML; only what follows matters.
                assert!(found[0].starts_with("<a x="), "{found:?}");
            } else {
                assert_eq!(found, *pieces, "{xml}");
            }
        }
    }

    #[test]
    fn wide_xml_is_narrowed() {
        let wide: Vec<u8> = "\u{feff}<a>ä</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf8(&wide), "<a>ä</a>".as_bytes());
        assert_eq!(utf8(&wide[2..]), "<a>ä</a>".as_bytes());
        let wide: Vec<u8> = "<a>ä</a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(utf8(&wide), "<a>ä</a>".as_bytes());
        assert_eq!(utf8(b"<a>"), &b"<a>"[..]);
        assert_eq!(utf8(b""), &b""[..]);
    }
}
