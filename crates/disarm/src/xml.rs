//! XML of documents, token by token with its places. Only what is sound is read, as Office and LibreOffice do.

use std::ops::Range;

use gatepost_mail::Budget;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::Unreadable;

/// A piece of XML.
#[derive(Debug)]
pub(crate) enum Token<'a> {
    /// `<name>`, or `<name/>`, which has no end of its own.
    Start { element: Element<'a>, empty: bool },
    /// `</name>`.
    End,
    /// Text or entities.
    Text(&'a [u8]),
    /// Comments, declarations.
    Other,
}

/// A start tag.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    /// Its local name.
    pub(crate) name: String,
    attributes: Vec<Attribute<'a>>,
}

/// An attribute.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    /// Its name, with the prefix.
    pub(crate) name: &'a [u8],
    /// Its value as it stands, and where.
    pub(crate) raw: &'a [u8],
    pub(crate) range: Range<usize>,
}

impl Attribute<'_> {
    /// The value, decoded.
    pub(crate) fn value(&self) -> String {
        decoded(self.raw)
    }
}

impl<'a> Element<'a> {
    /// The first attribute of that local name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|one| local(one.name) == name.as_bytes())
    }

    /// Its value, decoded.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.attribute(name).map(Attribute::value)
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.attributes.iter()
    }
}

/// The pieces of some XML.
pub(crate) struct Tokens<'a> {
    xml: &'a [u8],
    reader: Reader<&'a [u8]>,
    at: usize,
    count: usize,
}

const BROKEN: Unreadable = Unreadable::Malformed("XML that is not well-formed");

impl<'a> Tokens<'a> {
    /// `xml` must begin without a byte order mark, see [`plain`].
    pub(crate) fn new(xml: &'a [u8]) -> Tokens<'a> {
        Tokens { xml, reader: Reader::from_reader(xml), at: 0, count: 0 }
    }

    /// The next piece and where it stands.
    pub(crate) fn next(&mut self, budget: &Budget) -> Result<Option<(Token<'a>, Range<usize>)>, Unreadable> {
        self.count += 1;
        if self.count.is_multiple_of(4096) {
            budget.check_time()?;
        }
        let event = self.reader.read_event().map_err(|_| BROKEN)?;
        let end = usize::try_from(self.reader.buffer_position()).map_err(|_| BROKEN)?;
        let range = self.at..end.min(self.xml.len());
        self.at = range.end;
        let token = match event {
            Event::Eof => return Ok(None),
            Event::Start(start) => Token::Start { element: self.element(&start)?, empty: false },
            Event::Empty(start) => Token::Start { element: self.element(&start)?, empty: true },
            Event::End(_) => Token::End,
            Event::Text(_) | Event::GeneralRef(_) | Event::CData(_) => Token::Text(&self.xml[range.clone()]),
            Event::DocType(_) => return Err(Unreadable::Malformed("XML with a document type in a document")),
            _ => Token::Other,
        };
        Ok(Some((token, range)))
    }

    fn element(&self, start: &BytesStart<'_>) -> Result<Element<'a>, Unreadable> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| BROKEN)?;
            let place = |bytes: &[u8]| {
                let from = (bytes.as_ptr() as usize).checked_sub(self.xml.as_ptr() as usize)?;
                let range = from..from.checked_add(bytes.len())?;
                (range.end <= self.xml.len()).then_some(range)
            };
            let (name, range) = place(attribute.key.as_ref().as_bytes())
                .zip(place(attribute.value.as_bytes()))
                .ok_or(BROKEN)?;
            attributes.push(Attribute { name: &self.xml[name], raw: &self.xml[range.clone()], range });
        }
        Ok(Element { name: text(local(start.name().as_ref().as_bytes())), attributes })
    }
}

/// XML without a byte order mark; an error if it is in an encoding that is not like ASCII.
pub(crate) fn plain(xml: &[u8]) -> Result<&[u8], Unreadable> {
    const LIKE_ASCII: &[&str] = &["utf-8", "utf8", "us-ascii"];
    let xml = xml.strip_prefix(b"\xef\xbb\xbf").unwrap_or(xml);
    let head = &xml[..xml.len().min(256)];
    let head = &head[..memchr::memchr(b'>', head).unwrap_or(head.len())];
    if head.contains(&0) || xml.starts_with(b"\xff\xfe") || xml.starts_with(b"\xfe\xff") {
        return Err(Unreadable::Unsupported("documents whose XML is in UTF-16"));
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let named = head.split_once("encoding").and_then(|(_, rest)| rest.split(['"', '\'']).nth(1));
    match named {
        Some(named) if head.starts_with("<?xml") && !LIKE_ASCII.contains(&named) => {
            Err(Unreadable::Unsupported("documents whose XML is in this encoding"))
        }
        _ => Ok(xml),
    }
}

/// Whether this looks like XML.
pub(crate) fn is(content: &[u8]) -> bool {
    let start = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    start.starts_with(b"<")
        || matches!(content, [0xff, 0xfe, b'<', ..] | [0xfe, 0xff, 0, b'<', ..] | [0, b'<', ..])
}

/// Text with its entities decoded; those that XML does not know stay.
pub(crate) fn decoded(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    quick_xml::escape::unescape(&raw).map_or_else(|_| raw.clone().into_owned(), |text| text.into_owned())
}

fn local(name: &[u8]) -> &[u8] {
    memchr::memrchr(b':', name).map_or(name, |colon| &name[colon + 1..])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
