//! What SpamAssassin's OLEVBMacro finds in attached documents: macros, objects, encryption, addresses that are fetched.
//!
//! It looks for octets that such documents have, in attachments and in members of zips; it reads no format. Zips were opened
//! by others (`Documents`).

use bytes::Bytes;

use super::documents::{Document, Documents, Member};
use super::perl::{find, is_space, starts_with, trim_end};
use super::tree::{Node, Tree};
use crate::regex::Matcher;

/// So many addresses are told.
const MOST_URIS: usize = 10;
const MOST_MHTML: usize = 5;

/// Beginning of a compound file.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0";
/// Of macros in one: `Attribut`.
const ATTRIBUTES: &[u8] = b"\x00Attribut\x00";
/// Of an object in one, in UTF-16.
const OBJECT: &[u8] = b"\x01\x00O\x00l\x00e\x001\x000\x00N\x00a\x00";
const ENCRYPTED: &[u8] = b"E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e";
const WORKBOOK: &[u8] = b"W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00";
/// Objects in rich text, and macros in documents as XML.
const MARKS: [&[u8]; 5] =
    [b"\\objemb", b"\\objdat", b"\\ objdat", b"w:macrosPresent=\"yes\"", b"vbaProject.bin.rels"];
/// Members that are macros.
const MACROS: [&str; 5] = [
    "word/vbaproject.bin",
    "macros/vba/_vba_project",
    "xl/vbaproject.bin",
    "_vba_project_cur/vba/_vba_project",
    "ppt/vbaproject.bin",
];

/// What the configuration says (`olemacro_…`).
#[derive(Debug)]
pub(crate) struct Looking {
    pub most_parts: usize,
    pub most_members: usize,
    pub depth: usize,
    pub extended: bool,
    pub prefer_disposition: bool,
    /// Octets of an attachment that are looked at.
    pub longest: usize,
    /// Endings of names, in any case: of documents, of those with macros, of what is left alone, of zips.
    pub documents: Matcher,
    pub with_macros: Matcher,
    pub skipped: Matcher,
    pub skipped_types: Matcher,
    pub zips: Matcher,
    pub download: Matcher,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Office {
    pub macros: bool,
    pub objects: bool,
    pub rtf_objects: bool,
    pub csv: bool,
    pub malice: bool,
    pub renamed: bool,
    pub encrypted: bool,
    pub password: bool,
    pub download: bool,
    /// Addresses that are fetched from.
    pub redirects: Vec<Bytes>,
    pub mhtml: Vec<Bytes>,
}

impl Looking {
    /// Looks at all attachments.
    pub(crate) fn look(&self, tree: &Tree, documents: &Documents) -> Office {
        let mut look = Look { looking: self, documents, found: Office::default() };
        let mut count = 0;
        for part in tree.leaves().filter(|part| !hits(&self.skipped_types, &part.kind)) {
            let Some(name) = self.name(part) else { continue };
            if hits(&self.skipped, &name) {
                continue;
            }
            let data = part.decoded();
            let data = &data[..data.len().min(self.longest)];
            if !data.is_empty() && look.file(&name, data, 0) {
                count += 1;
                if count >= self.most_parts {
                    break;
                }
            }
        }
        look.found
    }

    /// The name of an attachment that is encoded as such are.
    fn name(&self, part: &Node) -> Option<Vec<u8>> {
        part.header.all(b"content-type").next_back()?;
        let encoding = part.header.last(b"content-transfer-encoding").to_ascii_lowercase();
        if encoding != b"base64" && encoding != b"quoted-printable" {
            return None;
        }
        let kind = parameter(&part.header.last(b"content-type"), b"name");
        let disposition = parameter(&part.header.last(b"content-disposition"), b"filename");
        let name = match (kind.is_empty(), disposition.is_empty()) {
            (true, _) => disposition,
            (_, true) => kind,
            _ if self.prefer_disposition || kind.eq_ignore_ascii_case(&disposition) => disposition,
            _ => kind,
        };
        (!name.is_empty()).then_some(name)
    }
}

/// `key = "value"` at its first place.
fn parameter(text: &[u8], key: &[u8]) -> Vec<u8> {
    let skip = |text: &'_ [u8]| text.iter().take_while(|octet| is_space(**octet)).count();
    let mut from = 0;
    while let Some(at) = find(text, key, from) {
        from = at + 1;
        let rest = &text[at + key.len()..];
        let Some(rest) = rest[skip(rest)..].strip_prefix(b"=") else { continue };
        let rest = &rest[skip(rest)..];
        let rest = rest.strip_prefix(b"\"").or(rest.strip_prefix(b"'")).unwrap_or(rest);
        let end = rest.iter().position(|octet| matches!(octet, b'"' | b'\'' | b';')).unwrap_or(rest.len());
        return trim_end(&rest[..end]).to_vec();
    }
    Vec::new()
}

/// What takes too long to find out is not so.
fn hits(matcher: &Matcher, text: &[u8]) -> bool {
    matches!(matcher.find(text, 0), Ok(Some(_)))
}

fn holds(text: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(text, what).is_some()
}

struct Look<'a> {
    looking: &'a Looking,
    documents: &'a Documents,
    found: Office,
}

impl<'a> Look<'a> {
    /// An attachment or a member; whether it was one to look at. `depth`: of zips around it.
    fn file(&mut self, name: &[u8], data: &[u8], depth: usize) -> bool {
        let looking = self.looking;
        if ends_with(name, b".csv") {
            self.found.csv |= is_command(data);
        }
        if hits(&looking.zips, name) {
            self.zip(name, data, depth);
        } else if hits(&looking.with_macros, name) {
            self.found.macros = true;
            self.encrypted(data);
            self.package(name, data);
            self.download(data);
        } else if hits(&looking.documents, name) {
            self.encrypted(data);
            self.old(data);
            self.package(name, data);
            self.download(data);
        } else if looking.extended {
            let (encrypted, old, package) = (self.encrypted(data), self.old(data), self.package(name, data));
            if data.starts_with(COMPOUND) || encrypted || old || package {
                self.found.renamed = true;
                self.download(data);
            }
            self.zip(name, data, depth);
        } else {
            return false;
        }
        true
    }

    /// The members of a zip.
    fn members(&self, name: &[u8], data: &[u8]) -> Option<&'a [Member]> {
        let is_zip = data.starts_with(b"PK") || ends_with(name, b".zip");
        let documents: &'a Documents = self.documents;
        let found: Option<&'a Document> = if is_zip { documents.of(data) } else { None };
        found.map(|document| document.members.as_slice()).filter(|members| !members.is_empty())
    }

    fn zip(&mut self, name: &[u8], data: &[u8], depth: usize) {
        if self.looking.most_members == 0 || depth >= self.looking.depth {
            return;
        }
        let mut count = 0;
        for member in self.members(name, data).unwrap_or_default() {
            let name = member.name.as_bytes();
            if hits(&self.looking.skipped, name) {
                continue;
            }
            if member.encrypted {
                self.found.macros |= hits(&self.looking.with_macros, name);
                self.found.password = true;
                continue;
            }
            if self.file(name, &member.content, depth + 1) {
                count += 1;
                if count >= self.looking.most_members {
                    break;
                }
            }
        }
    }

    fn encrypted(&mut self, data: &[u8]) -> bool {
        let encrypted = is_encrypted(data);
        self.found.encrypted |= encrypted;
        encrypted
    }

    /// A document that is no zip.
    fn old(&mut self, data: &[u8]) -> bool {
        let marked = match data.starts_with(COMPOUND) {
            true => holds(data, ATTRIBUTES) || holds(data, OBJECT),
            false => MARKS.iter().any(|mark| holds(data, mark)),
        };
        if marked {
            self.found.macros = true;
            self.found.malice |= is_malicious(data);
        }
        marked
    }

    /// A document that is a zip; whether it is one.
    fn package(&mut self, name: &[u8], data: &[u8]) -> bool {
        let Some(members) = self.members(name, data) else { return false };
        let (mut is_document, mut macros) = (false, false);
        for member in members {
            let name = member.name.to_ascii_lowercase();
            let in_word = name.strip_prefix("word/").is_some_and(is_rtf);
            let objects = name.starts_with("xl/embeddings/");
            let own = MACROS.contains(&name.as_str());
            macros |= own;
            self.found.objects |= objects;
            self.found.rtf_objects |= in_word;
            is_document |= in_word || objects || own;
        }
        self.found.macros |= macros;
        if let Some(types) = members.iter().find(|member| member.name == "[Content_Types].xml") {
            is_document = true;
            self.found.macros |= names_macros(&types.content);
        }
        for relations in members.iter().filter(|member| member.name.contains(".rels")) {
            is_document = true;
            self.relations(&relations.content);
        }
        let binaries = || members.iter().filter(|member| member.name.contains(".bin"));
        self.found.malice |= macros && binaries().any(|member| is_malicious(&member.content));
        is_document
    }

    /// Addresses outside of a document that it leads to.
    fn relations(&mut self, xml: &[u8]) {
        let mut from = 0;
        while let Some(start) = next_relation(xml, from) {
            let end = next_relation(xml, start).unwrap_or(xml.len());
            from = start;
            let Some(target) = external(&xml[start..end]) else { continue };
            let is_mhtml = starts_with(target, b"mhtml:");
            let behind = if is_mhtml { &target[6..] } else { target };
            let is_page = starts_with(behind, b"http://") || starts_with(behind, b"https://");
            let escaped = b"&#x48;&#x54;&#x50;&#x3a;&#x5c;&#x5c;&#x31;&";
            let add = |all: &mut Vec<Bytes>, most: usize, uri: &[u8]| {
                if all.len() < most && !all.iter().any(|known| known == uri) {
                    all.push(Bytes::copy_from_slice(uri));
                }
            };
            if is_mhtml && (is_page || starts_with(behind, escaped)) {
                add(&mut self.found.mhtml, MOST_MHTML, target);
            }
            if is_page {
                add(&mut self.found.redirects, MOST_URIS, behind);
            }
        }
    }

    fn download(&mut self, data: &[u8]) {
        self.found.download |= is_download(data) || hits(&self.looking.download, data);
    }
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    let name = name.strip_suffix(b"\n").unwrap_or(name);
    name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// `… .rtf`, in a folder or not.
fn is_rtf(name: &str) -> bool {
    let ends = |at: &usize| {
        let next = name.as_bytes().get(at + 4);
        (1..=50).contains(at) && next.is_none_or(|octet| !super::perl::is_word(*octet))
    };
    name.match_indices(".rtf").map(|(at, _)| at).any(|at| ends(&at))
}

/// A table that starts a command.
fn is_command(data: &[u8]) -> bool {
    const COMMAND: &[u8] = b"Windows\\System32\\cmd.exe";
    memchr::memmem::find_iter(data, b"MSEXCEL|").any(|at| {
        let rest = &data[at + 8..];
        let place = memchr::memmem::find(&rest[..rest.len().min(20 + COMMAND.len())], COMMAND);
        place.is_some_and(|place| place > 0 && !rest[..place].contains(&b'\n'))
    })
}

fn is_encrypted(data: &[u8]) -> bool {
    if !data.starts_with(COMPOUND) {
        return false;
    }
    let head = &data[..data.len().min(2000)];
    if find(data, b"<encryption xmlns", 0).is_some() || holds(head, ENCRYPTED) {
        return true;
    }
    let at = |place: usize, octet: u8| data.get(place) == Some(&octet);
    !holds(head, WORKBOOK) && (at(0x208, 0xfe) || at(0x214, b'/') || at(0x20b, 0x13))
}

/// Something that runs when a document is opened.
fn is_malicious(data: &[u8]) -> bool {
    [&b"document"[..], b"auto", b"workbook"].into_iter().any(|word| {
        let mut from = 0;
        while let Some(at) = find(data, word, from) {
            from = at + 1;
            let rest = &data[at + word.len()..];
            if starts_with(rest.strip_prefix(b"_").unwrap_or(rest), b"open") {
                return true;
            }
        }
        false
    })
}

/// Whether a list of types tells of macros.
fn names_macros(xml: &[u8]) -> bool {
    let declared = [
        &b"contenttype=\"application/vnd.ms-office.vbaproject\""[..],
        b"contenttype='application/vnd.ms-office.vbaproject'",
        b"macroenabled",
        b"application/vnd.ms-excel.macrosheet",
        b"application/vnd.ms-excel.intlmacrosheet",
    ];
    declared.into_iter().any(|word| find(xml, word, 0).is_some())
}

/// Where the next relation begins behind its name.
fn next_relation(xml: &[u8], from: usize) -> Option<usize> {
    const NAME: &[u8] = b"Relationship";
    let mut places = memchr::memmem::find_iter(&xml[from..], NAME).map(|at| from + at + NAME.len());
    places.find(|at| xml.get(*at).copied().is_some_and(is_space)).map(|at| at + 1)
}

/// The target of a relation that is outside.
fn external(relation: &[u8]) -> Option<&[u8]> {
    let start = find(relation, b"target=\"", 0)? + 8;
    let end = start + memchr::memchr(b'"', &relation[start..])?;
    find(relation, b"targetmode=\"external\"", end + 1).map(|_| &relation[start..end])
}

/// The address of a program, between zeros.
fn is_download(data: &[u8]) -> bool {
    const LONGEST: usize = 1000;
    const SHORTEST: usize = 5;
    let inner = |octet: u8| octet.is_ascii_alphanumeric() || b"-+&@#/%?=~_|!:,.;".contains(&octet);
    let outer = |octet: u8| inner(octet) && !b"?!:,.;".contains(&octet);
    let mut from = 0;
    while let Some(at) = find(data, b"http", from) {
        from = at + 1;
        let rest = &data[at + 4..];
        let rest = if starts_with(rest, b"s") { &rest[1..] } else { rest };
        let Some(rest) = rest.strip_prefix(b"://").filter(|_| at > 0 && data[at - 1] == 0) else { continue };
        // How many octets before this place end an address.
        let mut last = 0;
        for place in 0..rest.len().min(2 * LONGEST + 1) {
            let needed = SHORTEST.max(place.saturating_sub(LONGEST));
            if place >= 2 * SHORTEST && last >= needed && is_program(&rest[place..]) {
                return true;
            }
            if !inner(rest[place]) {
                break;
            }
            last = if outer(rest[place]) { last + 1 } else { 0 };
        }
    }
    false
}

/// `.exe` and an end.
fn is_program(text: &[u8]) -> bool {
    let ends = matches!(text.get(4), Some(0x06 | b'|' | 0)) && text[0] != b'\n';
    ends && [&b"exe"[..], b"cmd", b"bat"].into_iter().any(|word| starts_with(&text[1..], word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_programs() {
        for (data, expected) in [
            (&b"x\0http://host.example/path/a.exe\0"[..], true),
            (b"x\0HTTPS://host.example/path/a.CMD\x06", true),
            (b"x\0http://host.example/path/a.exe ", false),
            (b"xhttp://host.example/path/a.exe\0", false),
            (b"\0http://a.b.exe\0", false),
            (b"\0http://host.example/pa th/a.exe\0", false),
        ] {
            assert_eq!(is_download(data), expected, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn encrypted_documents() {
        let document = |place: usize, octet: u8, text: &[u8]| {
            let mut data = COMPOUND.to_vec();
            data.resize(0x300, 0);
            data[place] = octet;
            data.extend_from_slice(text);
            data
        };
        for (data, expected) in [
            (document(0x20b, 0x13, b""), true),
            (document(0x20b, 0x13, WORKBOOK), false),
            (document(0x20b, 0x12, b""), false),
            (document(0, 0xd0, ENCRYPTED), true),
            (document(0, 0xd0, b"<Encryption xmlns"), true),
            (document(0, 0, ENCRYPTED), false),
        ] {
            assert_eq!(is_encrypted(&data), expected);
        }
    }

    #[test]
    fn words_of_documents() {
        for (data, expected) in [
            (&b"Sub AutoOpen()"[..], true),
            (b"Document_Open", true),
            (b"Workbook Open", false),
            (b"open", false),
        ] {
            assert_eq!(is_malicious(data), expected);
        }
        for (data, expected) in [
            (&b"=MSEXCEL|'\\..\\..\\Windows\\System32\\cmd.exe'"[..], true),
            (b"MSEXCEL|Windows\\System32\\cmd.exe", false),
            (b"cmd.exe", false),
        ] {
            assert_eq!(is_command(data), expected);
        }
        for (name, expected) in [("a.rtf", true), ("media/a.rtf", true), (".rtf", false), ("a.rtfx", false)] {
            assert_eq!(is_rtf(name), expected, "{name}");
        }
    }

    #[test]
    fn targets_of_relations() {
        for (xml, expected) in [
            (&b"Id=\"a\" Target=\"http://x/\" TargetMode=\"External\"/>"[..], Some(&b"http://x/"[..])),
            (b"Target=\"http://x/\" TargetMode=\"Internal\"/>", None),
            (b"TargetMode=\"External\" Target=\"http://x/\"", None),
        ] {
            assert_eq!(external(xml), expected);
        }
    }
}
