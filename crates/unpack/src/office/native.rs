//! Files and objects inside of documents: OLE 1.0 objects (MS-OLEDS 2.2), packages with their file names (the stream
//! `\1Ole10Native`), and links to things elsewhere (monikers, MS-OLEDS 2.3.3).

use std::ops::Range;

use bytes::Bytes;
use gatepost_mail::{FeatureKind, FileKind, FileType};

use crate::fields::{u16_le, u32_le};
use crate::names;
use crate::opening::{Member, Opening, Stop};

/// A file in a package: its names, and where in the bytes its content lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) names: Vec<String>,
    pub(crate) content: Range<usize>,
}

impl Package {
    /// Reads what stands behind the size in a stream `\1Ole10Native`, and what an OLE 1.0 object `Package` holds: label,
    /// path and temporary path of the file, its content, and perhaps the names once more in Unicode.
    pub(crate) fn read(data: &[u8], start: usize) -> Option<Package> {
        /// Paths are no longer than that.
        const LONGEST: usize = 1024;
        let string = |at: usize| {
            let rest = data.get(at..)?;
            let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
            Some((&rest[..end], at + end + 1))
        };
        if u16_le(data, start)? != 2 {
            return None;
        }
        let (label, at) = string(start + 2)?;
        let (path, at) = string(at)?;
        // A word of flags, and one that tells whether the file lies here (3) or elsewhere (1).
        let kind = u16_le(data, at + 2)?;
        if kind == 1 {
            let paths = [label, path, string(at + 6).map_or(&[][..], |(target, _)| target)];
            return Some(Package { names: last_names(paths.map(text).iter()), content: 0..0 });
        }
        let size = u32_le(data, at + 4)? as usize;
        let temporary = data.get(at + 8..at.checked_add(8)?.checked_add(size)?)?;
        let at = at + 8 + size;
        let paths = [label, path, temporary.split(|byte| *byte == 0).next().unwrap_or_default()];
        let size = u32_le(data, at)? as usize;
        let start = (at + 4).min(data.len());
        let content = start..start.saturating_add(size).min(data.len());
        let wide = wide_names(data, content.end);
        let names = last_names(paths.map(text).iter().chain(&wide));
        Some(Package { names, content })
    }
}

/// A path, in UTF-8 or whatever code page.
fn text(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) => text.to_owned(),
        Err(_) => super::ptg::latin(path),
    }
}

/// The last names of paths: the folders are the sender's.
fn last_names<'a>(paths: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut list = Vec::new();
    for path in paths {
        let name = names::clean(path);
        names::add(&mut list, name.rsplit('/').next().unwrap_or(&name).to_owned());
    }
    list
}

/// Up to three names in UTF-16 behind a package, each behind its length.
fn wide_names(data: &[u8], mut at: usize) -> Vec<String> {
    const LONGEST: usize = 1024;
    let mut found = Vec::new();
    for _ in 0..3 {
        let Some(length) = u32_le(data, at).map(|length| length as usize) else { break };
        let Some(text) = data.get(at + 4..at + 4 + length.min(LONGEST) * 2) else { break };
        if length > LONGEST {
            break;
        }
        found.push(super::wide(text));
        at += 4 + length * 2;
    }
    found
}

/// An OLE 1.0 object (MS-OLEDS 2.2.4 and 2.2.6).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// What program it belongs to, `Package`, `Equation.3`, `Word.Document.8`.
    pub(crate) class: String,
    /// What it is linked to; nothing where it is embedded.
    pub(crate) topic: String,
    /// Where in the bytes its own data lie.
    pub(crate) data: Range<usize>,
}

impl Object {
    /// Reads one. Word pays no heed to the version, and takes data that end early.
    pub(crate) fn read(bytes: &[u8]) -> Option<Object> {
        const LONGEST: usize = 4096;
        let string = |at: usize| {
            let length = u32_le(bytes, at)? as usize;
            let text =
                bytes.get(at + 4..at.checked_add(4)?.checked_add(length)?).filter(|_| length <= LONGEST)?;
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(length);
            Some((String::from_utf8_lossy(&text[..end]).into_owned(), at + 4 + length))
        };
        let format = u32_le(bytes, 4)? & 0xff;
        if !matches!(format, 1 | 2) {
            return None;
        }
        let (class, at) = string(8)?;
        let (topic, at) = string(at)?;
        let (_, at) = string(at)?;
        if format == 1 {
            return Some(Object { class, topic, data: at..at });
        }
        let size = u32_le(bytes, at)? as usize;
        let start = at + 4;
        Some(Object { class, topic, data: start..start.saturating_add(size).min(bytes.len()) })
    }
}

/// Takes out what an OLE 1.0 object holds: a package's file, a compound file, or the data as they are. `bytes` is the
/// object; `shown` tells people where it was.
pub(crate) fn object(opening: &mut Opening, bytes: &Bytes, shown: &str) -> Result<bool, Stop> {
    let Some(object) = Object::read(bytes) else { return Ok(false) };
    let class = object.class.to_ascii_lowercase();
    if !object.topic.is_empty() {
        super::elsewhere(opening, &format!("{shown} {}", object.class), &object.topic);
    }
    super::risky_class(opening, &object.class);
    if object.data.is_empty() {
        return Ok(true);
    }
    if class == "package"
        && let Some(package) = Package::read(bytes, object.data.start)
    {
        file(opening, bytes, package)?;
        return Ok(true);
    }
    let data = bytes.slice(object.data);
    let is_compound = data.starts_with(crate::cfb::MAGIC);
    if !is_compound {
        opening.feature(FeatureKind::EmbeddedFile, format!("{shown} {}", object.class));
    }
    opening.embedded(Member { names: Vec::new(), body: data, ..Member::default() })?;
    Ok(true)
}

/// Takes out the file of a package.
pub(crate) fn file(opening: &mut Opening, bytes: &Bytes, package: Package) -> Result<(), Stop> {
    opening.feature(FeatureKind::EmbeddedFile, package.names.join(" | "));
    if package.content.is_empty() {
        return Ok(());
    }
    let body = bytes.slice(package.content);
    opening.embedded(Member { names: package.names, body, ..Member::default() })?;
    Ok(())
}

/// The stream `\1Ole10Native`: a size, then a package; without one, data of whatever program made it.
pub(crate) fn stream(opening: &mut Opening, body: &Bytes) -> Result<(), Stop> {
    // Some begin without the size.
    let package = [4, 0].into_iter().find_map(|start| Package::read(body, start));
    if let Some(package) = package {
        return file(opening, body, package);
    }
    let data = body.slice(4.min(body.len())..);
    let found = FileType::detect(&data);
    if data.is_empty() {
        return Ok(());
    }
    if !matches!(found.kind, FileKind::Data | FileKind::Text) {
        opening.feature(FeatureKind::EmbeddedFile, found.name);
    }
    opening.embedded(Member { names: vec!["Ole10Native".to_owned()], body: data, ..Member::default() })?;
    Ok(())
}

/// The stream `\1Ole`: what a linked object is linked to. Monikers are told by their classes, wherever they stand.
pub(crate) fn monikers(opening: &mut Opening, body: &[u8]) {
    const URL: &[u8] = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    const FILE: &[u8] = b"\x03\x03\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    const SCRIPT: &[u8] = b"\xd3\x8b\x29\x06\x48\xab\xd2\x11\x84\x32\0\x60\x08\xc3\xfb\xfc";
    const MOST: usize = 16;
    for at in memchr::memmem::find_iter(body, URL).take(MOST) {
        let rest = &body[at + URL.len()..];
        let size = u32_le(rest, 0).map_or(0, |size| size as usize);
        let text = &rest[4.min(rest.len())..size.saturating_add(4).min(rest.len())];
        super::elsewhere(opening, "link", &super::wide(text));
    }
    for at in memchr::memmem::find_iter(body, FILE).take(MOST) {
        let rest = &body[at + FILE.len()..];
        let size = u32_le(rest, 2).map_or(0, |size| size as usize);
        let text = &rest[6.min(rest.len())..size.saturating_add(6).min(rest.len())];
        super::elsewhere(opening, "link", &String::from_utf8_lossy(text));
    }
    if memchr::memmem::find(body, SCRIPT).is_some() {
        super::risky_class(opening, "scriptletfile");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The content of a stream `\1Ole10Native` less its size.
    pub(crate) fn package(label: &str, path: &str, content: &[u8]) -> Vec<u8> {
        let temporary = format!("C:\\Temp\\{label}\0");
        [
            &[2, 0][..],
            label.as_bytes(),
            &[0],
            path.as_bytes(),
            &[0, 0, 0, 3, 0],
            &(temporary.len() as u32).to_le_bytes(),
            temporary.as_bytes(),
            &(content.len() as u32).to_le_bytes(),
            content,
        ]
        .concat()
    }

    /// An OLE 1.0 object that is embedded.
    pub(crate) fn ole1(class: &str, data: &[u8]) -> Vec<u8> {
        let class = format!("{class}\0");
        [
            &[1, 5, 0, 0, 2, 0, 0, 0][..],
            &(class.len() as u32).to_le_bytes(),
            class.as_bytes(),
            &[0; 8],
            &(data.len() as u32).to_le_bytes(),
            data,
        ]
        .concat()
    }

    #[test]
    fn packages_tell_names_and_content() {
        let raw = package("a.txt", "C:\\x\\evil.exe", b"MZ");
        let found = Package::read(&raw, 0).expect("a package");
        assert_eq!(found.names, ["a.txt", "evil.exe"]);
        assert_eq!(&raw[found.content], b"MZ");
        let wide = |name: &str| {
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            [&(name.encode_utf16().count() as u32).to_le_bytes()[..], &units].concat()
        };
        let more = [&raw[..], &wide("C:\\Temp\\ä.txt"), &wide("ä.txt"), &wide("\u{202e}x")].concat();
        let found = Package::read(&more, 0).expect("a package");
        assert_eq!(found.names, ["a.txt", "evil.exe", "ä.txt", "\u{202e}x"]);
        // What is cut keeps what is there.
        let cut = &raw[..raw.len() - 1];
        assert_eq!(&cut[Package::read(cut, 0).expect("a package").content], b"M");
        for end in 0..raw.len() - 2 {
            assert!(Package::read(&raw[..end], 0).is_none_or(|package| package.content.is_empty()));
        }
    }

    #[test]
    fn objects_of_old_form() {
        let raw = ole1("Package", b"data");
        let object = Object::read(&raw).expect("an object");
        assert_eq!((object.class.as_str(), object.topic.as_str()), ("Package", ""));
        assert_eq!(&raw[object.data], b"data");
        assert_eq!(Object::read(&[&[9; 8][..], b"x"].concat()), None);
        assert_eq!(Object::read(b""), None);
    }
}
