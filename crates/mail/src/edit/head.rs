//! The header of a part, with another name, charset or transfer encoding in it.
//!
//! Fields that nobody can read in two ways are changed in place and all others stay. Where readers could disagree, the
//! field, or all that describes the content, is written afresh: what is no longer there cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use memchr::{memchr, memmem};

use super::write::{parameter, structured};
use crate::Part;
use crate::header::{Field, Headers, is_mime_field, unfold};
use crate::transfer::Transfer;

const TYPE: &str = "Content-Type";
const DISPOSITION: &str = "Content-Disposition";
const ENCODING: &str = "Content-Transfer-Encoding";
const ID: &str = "Content-ID";

/// A header, and what must be known to edit it.
pub(super) struct Head<'a> {
    pub part: &'a Part,
    pub headers: &'a Headers,
    /// It is the message's own, in which other fields stand as well.
    pub root: bool,
    /// An empty line ends it.
    pub ended: bool,
    /// The transfer encoding that it declares.
    pub transfer: Transfer,
    /// The body as it stands.
    pub body: &'a [u8],
}

/// What shall be another in a header.
#[derive(Default)]
pub(super) struct Wish<'a> {
    pub name: Option<&'a str>,
    pub charset: Option<&'a str>,
    pub encoding: Option<&'a str>,
    /// The content is another, so that what tells its length or digest is wrong.
    pub content: bool,
}

/// What becomes of the fields of a header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HeadEdit {
    /// Places of those that go.
    pub removed: BTreeSet<usize>,
    /// What stands in place of others: whole fields, ended by CRLF.
    pub changed: BTreeMap<usize, String>,
    /// Whole fields to be added.
    pub added: Vec<String>,
}

impl HeadEdit {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty() && self.added.is_empty()
    }

    /// The header of a part with these edits, without the empty line.
    pub fn carried_out(&self, headers: &Headers) -> Vec<u8> {
        let mut out = Vec::with_capacity(headers.raw.len() + 200);
        for (place, field) in headers.fields.iter().enumerate() {
            match self.changed.get(&place) {
                _ if self.removed.contains(&place) => continue,
                Some(new) => out.extend_from_slice(new.as_bytes()),
                None => out.extend_from_slice(headers.raw_field(field)),
            }
            if !out.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
        self.added.iter().for_each(|field| out.extend_from_slice(field.as_bytes()));
        out
    }
}

impl Head<'_> {
    /// Whether another name can be put in: always, but where a multipart's boundary would be lost.
    pub fn can_rename(&self) -> bool {
        let mut types = self.headers.all(TYPE);
        !self.part.declared.starts_with("multipart/")
            || !self.is_odd()
                && matches!((types.next(), types.next()), (Some(one), None) if self.strict(one).is_some())
    }

    /// What becomes of its fields.
    pub fn edit(&self, wish: &Wish) -> HeadEdit {
        let mut edit = HeadEdit::default();
        if self.is_odd() {
            self.write_afresh(wish, &mut edit);
            return edit;
        }
        let named = self.edit_type(wish, &mut edit);
        if let Some(name) = wish.name {
            self.edit_disposition(name, named, &mut edit);
            self.forget_names(&mut edit);
        }
        if let Some(encoding) = wish.encoding {
            self.edit_encoding(encoding, &mut edit);
        }
        if wish.content {
            let stale =
                |name: &str| ["content-md5", "content-length"].contains(&name.to_ascii_lowercase().as_str());
            edit.removed.extend(self.places(|field| stale(self.headers.name(field))));
        }
        edit
    }

    /// Whether readers could disagree what its fields are.
    pub fn is_odd(&self) -> bool {
        let known = |field: &Field| {
            [TYPE, DISPOSITION, ENCODING]
                .iter()
                .any(|name| self.headers.name(field).eq_ignore_ascii_case(name))
        };
        let odd = |(place, field): (usize, &Field)| {
            let raw = self.headers.raw_field(field);
            let mbox = self.root && place == 0 && raw.starts_with(b"From ");
            let name = self.headers.name(field);
            let misread = name.is_empty() || is_mime_field(name.as_bytes()) && !known(field);
            let blank = |line: &[u8]| line.trim_ascii().is_empty() && !line.is_empty();
            let stray_cr = || {
                let text = raw.strip_suffix(b"\n").unwrap_or(raw);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                memchr(b'\r', text).is_some()
                    && text.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
                    || text.ends_with(b"\r")
            };
            let content = |name: &str| name.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("content"));
            // Of the message's own fields, only those that describe its content matter here.
            !mbox
                && (misread
                    || (!self.root || content(name))
                        && (memchr(0, raw).is_some()
                            || raw.split(|byte| *byte == b'\n').any(blank)
                            || stray_cr()))
        };
        !self.ended || self.headers.fields.iter().enumerate().any(odd)
    }

    /// Changes name and charset in Content-Type; whether it tells the name.
    fn edit_type(&self, wish: &Wish, edit: &mut HeadEdit) -> bool {
        if wish.name.is_none() && wish.charset.is_none() {
            return false;
        }
        let places = self.named(TYPE);
        let Some((first, others)) = places.split_first() else {
            if wish.charset.is_some() {
                edit.added.push(self.fresh_type(wish));
            }
            return false;
        };
        let strict = self.strict(&self.headers.fields[*first]).filter(|_| others.is_empty());
        let Some(mut value) = strict else {
            edit.removed.extend(others);
            edit.changed.insert(*first, self.fresh_type(wish));
            return false;
        };
        let mut named = false;
        if let Some(name) = wish.name {
            named = value.remove(&["name", "filename"]);
            if named {
                value
                    .parameters
                    .extend(parameter("name", name).into_iter().map(|text| ("name".to_owned(), text)));
            }
        }
        if let Some(charset) = wish.charset {
            value.remove(&["charset"]);
            value.parameters.insert(0, ("charset".to_owned(), format!("charset={charset}")));
        }
        if named || wish.charset.is_some() {
            edit.changed.insert(*first, value.written(TYPE));
        }
        named
    }

    fn edit_disposition(&self, name: &str, named: bool, edit: &mut HeadEdit) {
        let places = self.named(DISPOSITION);
        let Some((first, others)) = places.split_first() else {
            if !named {
                edit.added.push(fresh_disposition("attachment", name));
            }
            return;
        };
        let strict = self.strict(&self.headers.fields[*first]).filter(|_| others.is_empty());
        let Some(mut value) = strict else {
            edit.removed.extend(others);
            edit.changed.insert(*first, fresh_disposition(self.disposition(), name));
            return;
        };
        if value.remove(&["filename", "name"]) || !named {
            let new = parameter("filename", name).into_iter().map(|text| ("filename".to_owned(), text));
            value.parameters.extend(new);
            edit.changed.insert(*first, value.written(DISPOSITION));
        }
    }

    /// Takes out what else tells the old name: a description, a place. Not the Content-ID, by which other parts speak of it.
    fn forget_names(&self, edit: &mut HeadEdit) {
        /// A shorter one stands in many words.
        const SHORTEST: usize = 3;
        let names = self.part.names.iter().filter(|name| name.len() >= SHORTEST);
        let names: Vec<String> = names.map(|name| name.to_lowercase()).collect();
        let tells = |field: &Field| {
            let name = self.headers.name(field).to_ascii_lowercase();
            if !name.starts_with("content-") || is_mime_field(name.as_bytes()) || name == "content-id" {
                return false;
            }
            let text = self.headers.value_text(field).to_lowercase();
            names.iter().any(|name| text.contains(name))
        };
        edit.removed.extend(self.places(tells));
    }

    fn edit_encoding(&self, encoding: &str, edit: &mut HeadEdit) {
        let places = self.named(ENCODING);
        let new = format!("{ENCODING}: {encoding}\r\n");
        match places.split_first() {
            Some((first, others)) => {
                let value = unfold(self.headers.raw_value(&self.headers.fields[*first]));
                if !value.trim_ascii().eq_ignore_ascii_case(encoding.as_bytes()) {
                    edit.changed.insert(*first, new);
                }
                edit.removed.extend(others);
            }
            None => edit.added.push(new),
        }
        // Some readers look for no more than the name, within another.
        let longer = |field: &Field| {
            let name = self.headers.name(field);
            name.len() > ENCODING.len() && name.to_ascii_lowercase().contains("content-transfer-encoding")
        };
        edit.removed.extend(self.places(longer));
    }

    /// All that describes the content, in one clean form.
    fn write_afresh(&self, wish: &Wish, edit: &mut HeadEdit) {
        let clean_id = |field: &Field| {
            let value = self.headers.raw_value(field).trim_ascii();
            self.headers.name(field).eq_ignore_ascii_case(ID) && value.iter().all(u8::is_ascii_graphic)
        };
        let goes = |(place, field): (usize, &Field)| {
            (!self.root || describes_content(self.headers, (place, field))) && !clean_id(field)
        };
        let fields = self.headers.fields.iter().enumerate();
        edit.removed.extend(fields.filter(|field| goes(*field)).map(|(place, _)| place));
        edit.added.push(self.fresh_type(wish));
        let encoding = wish.encoding.unwrap_or_else(|| self.canonical_encoding());
        edit.added.push(format!("{ENCODING}: {encoding}\r\n"));
        match wish.name.or_else(|| self.part.name()) {
            Some(name) => edit.added.push(fresh_disposition(self.disposition(), name)),
            None if self.part.attachment => edit.added.push(format!("{DISPOSITION}: attachment\r\n")),
            None => {}
        }
    }

    /// Content-Type with nothing but the base type and the charset.
    fn fresh_type(&self, wish: &Wish) -> String {
        let declared = self.part.declared.as_str();
        let known = declared.len() <= 100 && is_media_type(declared);
        let base = if known { declared } else { "application/octet-stream" };
        let own = self.part.charset.as_deref().filter(|charset| charset.len() <= 40 && is_token(charset));
        let charset = wish.charset.or(own).filter(|_| base.starts_with("text/"));
        let parameters: Vec<String> =
            charset.map(|charset| format!("charset={charset}")).into_iter().collect();
        structured(TYPE, base, &parameters)
    }

    fn disposition(&self) -> &'static str {
        let inline = !self.part.attachment && self.headers.get(DISPOSITION).is_some();
        if inline { "inline" } else { "attachment" }
    }

    /// The name of the transfer encoding that the body is read by.
    fn canonical_encoding(&self) -> &'static str {
        const LONGEST: usize = 998;
        match self.transfer {
            Transfer::Base64 => "base64",
            Transfer::QuotedPrintable => "quoted-printable",
            Transfer::Uuencode => "x-uuencode",
            Transfer::Yenc => "x-yenc",
            Transfer::BinHex => "mac-binhex40",
            Transfer::Identity | Transfer::Unknown => {
                let long = self.body.split(|byte| *byte == b'\n').any(|line| line.len() > LONGEST + 1);
                match self.body {
                    body if long || memchr(0, body).is_some() => "binary",
                    body if body.is_ascii() => "7bit",
                    _ => "8bit",
                }
            }
        }
    }

    fn places(&self, is: impl Fn(&Field) -> bool) -> Vec<usize> {
        let fields = self.headers.fields.iter().enumerate();
        fields.filter(|(_, field)| is(field)).map(|(place, _)| place).collect()
    }

    fn named(&self, name: &str) -> Vec<usize> {
        self.places(|field| self.headers.name(field).eq_ignore_ascii_case(name))
    }

    fn strict(&self, field: &Field) -> Option<Strict> {
        Strict::parse(&unfold(self.headers.raw_value(field)))
    }
}

fn fresh_disposition(main: &str, name: &str) -> String {
    structured(DISPOSITION, main, &parameter("filename", name))
}

/// Whether a field describes the content, if only to some readers: those of MIME, however they are spelt, and lines that are
/// no field, with which some begin the body. Not the `From ` line of an mbox.
pub(super) fn describes_content(headers: &Headers, (place, field): (usize, &Field)) -> bool {
    let bare = |byte: &u8| byte.is_ascii_alphanumeric();
    let name: Vec<u8> =
        headers.name(field).bytes().filter(bare).map(|byte| byte.to_ascii_lowercase()).collect();
    let mbox = place == 0 && headers.raw_field(field).starts_with(b"From ");
    name.is_empty() && !mbox
        || name.starts_with(b"content")
        || memmem::find(&name, b"contenttransferencoding").is_some()
}

/// A structured value that no reader can take in two ways.
struct Strict {
    main: String,
    /// Names in lower case, without the marks of RFC 2231, and whole parameters as they stand.
    parameters: Vec<(String, String)>,
}

impl Strict {
    /// Reads a value by the letter of RFC 2045 section 5.1: no comments, nothing escaped, nothing encoded but by RFC 2231.
    fn parse(value: &[u8]) -> Option<Strict> {
        let value = std::str::from_utf8(value).ok()?;
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return None;
        }
        let (main, mut rest) = value.split_once(';').unwrap_or((value, ""));
        let main = main.trim();
        if !is_token(main) && !is_media_type(main) {
            return None;
        }
        let mut parameters = Vec::new();
        while !rest.trim().is_empty() {
            let text = rest.trim_start();
            let (name, value) = text.split_once('=')?;
            let length = match value.strip_prefix('"') {
                Some(inner) => inner.find(['"', '\\']).filter(|at| !inner[*at..].starts_with('\\'))? + 2,
                None => value.find([';', ' ', '\t']).unwrap_or(value.len()),
            };
            let plain = value.starts_with('"') || is_token(&value[..length]);
            if !is_token(name) || !plain {
                return None;
            }
            let whole = &text[..name.len() + 1 + length];
            let base = name.split('*').next().unwrap_or(name).to_ascii_lowercase();
            parameters.push((base, whole.to_owned()));
            let behind = text[whole.len()..].trim_start();
            rest = match behind.strip_prefix(';') {
                Some(rest) => rest,
                None if behind.is_empty() => "",
                None => return None,
            };
        }
        // Readers decode encoded words where none belong.
        let kept = |(name, text): &(String, String)| {
            matches!(name.as_str(), "name" | "filename") || !text.contains("=?")
        };
        parameters.iter().all(kept).then(|| Strict { main: main.to_owned(), parameters })
    }

    /// Takes parameters out; whether there were any.
    fn remove(&mut self, names: &[&str]) -> bool {
        let before = self.parameters.len();
        self.parameters.retain(|(name, _)| !names.contains(&name.as_str()));
        self.parameters.len() < before
    }

    fn written(&self, name: &str) -> String {
        let parameters: Vec<String> = self.parameters.iter().map(|(_, text)| text.clone()).collect();
        structured(name, &self.main, &parameters)
    }
}

/// RFC 2045 section 5.1.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

fn is_media_type(text: &str) -> bool {
    text.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}
