//! What SpamAssassin's PDFInfo makes of attached PDFs: sizes of images, properties, digests, addresses.
//!
//! It reads a PDF line by line and undoes no compression; the rules' digests and sizes were taken that way.

use std::collections::BTreeSet;

use bytes::Bytes;
use md5::{Digest, Md5};

use super::perl::{is_space, trim_end};
use super::tree::Tree;

/// So many addresses of a PDF are told.
const MOST_URIS: usize = 20;
/// Properties are cut after so many octets.
const LONGEST_VALUE: usize = 256;
/// So many values of a property are kept, over all PDFs.
const MOST_VALUES: usize = 1000;
/// A tag grows no more when it is so long.
const LONGEST_TAG: usize = 2048;
/// Where `%PDF-` must begin at the latest.
const HEAD: usize = 1024;

/// All PDFs of a message.
#[derive(Debug, Default)]
pub(crate) struct Pdfs {
    /// Attachments that say they are one.
    pub count: usize,
    /// Images in them.
    pub images: usize,
    /// Pixels of the images of the last one that has any.
    pub area: Option<f64>,
    pub encrypted: bool,
    pub names: BTreeSet<Vec<u8>>,
    /// Height and width of each image, and of all images of a PDF together, as written.
    pub sizes: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// MD5 of the files, in upper case hex.
    pub md5: BTreeSet<String>,
    /// MD5 of their first lines, and of the names in them.
    pub fuzzy: BTreeSet<String>,
    /// Values of `author`, `creator`, `created`, `modified`, `producer`, `title`.
    pub details: BTreeSet<(&'static str, Vec<u8>)>,
    /// Addresses that they lead to.
    pub uris: Vec<Bytes>,
    /// Tags of templates.
    pub tags: Vec<(&'static str, Vec<u8>)>,
}

impl Pdfs {
    /// Those of a message.
    pub(crate) fn of(tree: &Tree) -> Pdfs {
        let mut pdfs = Pdfs::default();
        for part in tree.leaves() {
            let (sort, kind) = part.kind.split_at(memchr::memchr(b'/', &part.kind).unwrap_or(0));
            let is_pdf = kind == b"/pdf";
            if !matches!(sort, b"image" | b"application") || !(is_pdf || kind == b"/octet-stream") {
                continue;
            }
            let name = part.name.as_deref().unwrap_or_default();
            let ending = name.strip_suffix(b"\n").unwrap_or(name);
            let ending =
                ending.get(ending.len().saturating_sub(4)..).unwrap_or_default().to_ascii_lowercase();
            if is_pdf || ending == b".pdf" || ending == b".fdf" {
                pdfs.read(part.decoded(), name);
                pdfs.count += 1;
            }
        }
        let (count, images) = (pdfs.count, pdfs.images);
        pdfs.tag("PDFCOUNT", count.to_string().as_bytes());
        pdfs.tag("PDFIMGCOUNT", images.to_string().as_bytes());
        pdfs
    }

    fn read(&mut self, data: &[u8], name: &[u8]) {
        let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
        let Some(version) = version(data) else { return };
        self.tag("PDFVERSION", version);
        self.tag("PDFNAME", name);
        if !name.is_empty() && name != b"0" {
            self.names.insert(name.to_vec());
        }
        let mut reading = Reading::default();
        for line in data.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
            let line = reading.begin(line);
            self.encrypted |= line.starts_with(b"/Encrypt");
            if let Some(image) = reading.image(line) {
                self.images += 1;
                let shown = [image.0, b"x", image.1].concat();
                self.sizes.insert((image.0.to_vec(), image.1.to_vec()));
                self.tag("PDFIMGDIM", &shown);
            }
            if memchr::memchr(b'/', line).is_some() {
                reading.name(line);
                self.address(line, &mut reading);
                self.properties(line);
            }
        }
        if reading.height > 0.0 && reading.width > 0.0 {
            let number = |value: f64| value.to_string().into_bytes();
            self.sizes.insert((number(reading.height), number(reading.width)));
        }
        if reading.area > 0.0 {
            self.area = Some(reading.area);
            self.tag("PDFIMGAREA", reading.area.to_string().as_bytes());
        }
        let digest = |text: &[u8]| -> String {
            Md5::digest(text).iter().map(|octet| format!("{octet:02X}")).collect()
        };
        let fuzzy = if reading.first.is_empty() { String::new() } else { digest(&reading.first) };
        self.md5.insert(digest(data));
        self.tag("PDFMD5", fuzzy.as_bytes());
        let names = if reading.names.is_empty() { String::new() } else { digest(&reading.names) };
        for (tag, digest) in [("PDFMD5FUZZY1", fuzzy), ("PDFMD5FUZZY2", names)] {
            if !digest.is_empty() {
                self.tag(tag, digest.as_bytes());
                self.fuzzy.insert(digest);
            }
        }
    }

    /// Sets a tag, or puts another value behind what it has.
    fn tag(&mut self, name: &'static str, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        match self.tags.iter_mut().find(|(known, _)| *known == name) {
            Some((_, text)) if text.len() < LONGEST_TAG => {
                text.push(b' ');
                text.extend_from_slice(value);
            }
            Some(_) => {}
            None => self.tags.push((name, value.to_vec())),
        }
    }

    fn address(&mut self, line: &[u8], reading: &mut Reading) {
        if reading.uris.len() >= MOST_URIS {
            return;
        }
        let Some(uri) = address(line) else { return };
        let dotted = memchr::memchr(b'.', &uri).is_some_and(|at| at > 0);
        if dotted && memchr::memchr(0, &uri).is_none() && reading.uris.insert(uri.clone()) {
            self.uris.push(uri.into());
        }
    }

    fn properties(&mut self, line: &[u8]) {
        const TEXTS: [(&str, &[u8], &str); 4] = [
            ("author", b"/Author", "PDFAUTHOR"),
            ("creator", b"/Creator", "PDFCREATOR"),
            ("producer", b"/Producer", "PDFPRODUCER"),
            ("title", b"/Title", "PDFTITLE"),
        ];
        for (detail, key, tag) in TEXTS {
            if let Some(value) = value_behind(line, key) {
                let value = string(value);
                self.tag(tag, &value);
                self.detail(detail, value);
            }
        }
        for (detail, key) in [("created", &b"/CreationDate"[..]), ("modified", b"/ModDate")] {
            if let Some(date) = date_behind(line, key) {
                self.detail(detail, date[..date.len().min(LONGEST_VALUE)].to_vec());
            }
        }
    }

    fn detail(&mut self, detail: &'static str, value: Vec<u8>) {
        if self.details.len() < MOST_VALUES {
            self.details.insert((detail, value));
        }
    }
}

/// The version that the last `%PDF-` near the beginning tells.
fn version(data: &[u8]) -> Option<&[u8]> {
    let head = &data[..data.len().min(HEAD + 8)];
    let mut starts = memchr::memmem::rfind_iter(head, b"%PDF-");
    starts.find_map(|at| match head.get(at + 5..at + 8)? {
        version @ [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit() && at <= HEAD => Some(version),
        _ => None,
    })
}

/// One PDF being read.
#[derive(Default)]
struct Reading {
    lines: usize,
    /// No more lines go into the fuzzy digest.
    closed: bool,
    first: Vec<u8>,
    names: Vec<u8>,
    in_image: bool,
    height: f64,
    width: f64,
    area: f64,
    uris: BTreeSet<Vec<u8>>,
}

impl Reading {
    /// Takes a line into the fuzzy digest; gives it as it is looked at further.
    fn begin<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        const LINES: usize = 70;
        let mut line = line;
        self.lines += 1;
        if !self.closed && self.lines < LINES {
            let sized = [&b"/Height"[..], b"/Width", b"/MediaBox", b"/CropBox"];
            let sized = sized.iter().any(|key| line.starts_with(key));
            if !line.starts_with(b"%") && !sized && matrix(line).is_none() {
                line = trim_end(line);
                self.first.extend_from_slice(line);
            }
            self.closed = memchr::memmem::find(line, b"stream").is_some();
        }
        line
    }

    /// Height and width of an image, where a line tells both.
    fn image<'a>(&mut self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        self.in_image |= memchr::memmem::find(line, b"/Image").is_some();
        if !self.in_image {
            return None;
        }
        let single = |line: &[u8], key: &[u8]| {
            let rest = line.strip_prefix(key).and_then(|rest| rest.split_first());
            rest.is_some_and(|(space, rest)| is_space(*space) && rest.first().is_some_and(u8::is_ascii_digit))
        };
        let (width, height) = match matrix(line) {
            Some(size) => size,
            None if single(line, b"/Width") || single(line, b"/Height") => return None,
            None => size(line)?,
        };
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<f64>().ok();
        let (w, h) = (number(width)?, number(height)?);
        if width == b"0" || height == b"0" {
            return None;
        }
        self.closed = true;
        self.in_image = false;
        self.height += h;
        self.width += w;
        self.area += w * h;
        Some((height, width))
    }

    /// The name that a line begins with.
    fn name(&mut self, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"/") else { return };
        let length = rest.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
        self.names.extend_from_slice(&rest[..length]);
    }
}

/// `630 0 0 149 0 0 cm`: the first and the fourth number.
fn matrix(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = line;
    let mut numbers: [&[u8]; 6] = [b""; 6];
    for number in &mut numbers {
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let spaces = rest[digits..].iter().take_while(|octet| is_space(**octet)).count();
        if digits == 0 || spaces == 0 {
            return None;
        }
        (*number, rest) = (&rest[..digits], &rest[digits + spaces..]);
    }
    (rest == b"cm").then_some((numbers[0], numbers[3]))
}

/// `/Width 630/Height 149` anywhere.
fn size(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = |rest: &[u8]| rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let number = |rest: &'_ [u8]| -> Option<usize> {
        let count = digits(rest.get(1..)?);
        (is_space(rest[0]) && count > 0).then_some(count)
    };
    memchr::memmem::find_iter(line, b"/Width").find_map(|at| {
        let rest = &line[at + 6..];
        let wide = number(rest)?;
        let behind = rest[1 + wide..].strip_prefix(b"/Height")?;
        let high = number(behind)?;
        Some((&rest[1..=wide], &behind[1..=high]))
    })
}

/// A text `(…)` or `<…>`, with its brackets, that begins there.
fn bracketed(text: &[u8]) -> Option<&[u8]> {
    match text.first()? {
        b'(' => {
            let mut ends = memchr::memchr_iter(b')', text);
            ends.find(|end| text[end - 1] != b'\\').map(|end| &text[..=end])
        }
        b'<' => memchr::memchr(b'>', text).map(|end| &text[..=end]),
        _ => None,
    }
}

/// Behind at most two white spaces.
fn spaced(text: &[u8]) -> &[u8] {
    let count = text.iter().take(2).take_while(|octet| is_space(**octet)).count();
    &text[count..]
}

fn value_behind<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find_iter(line, key).find_map(|at| bracketed(spaced(&line[at + key.len()..])))
}

/// The digits of `(D:2007…`.
fn date_behind<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find_iter(line, key).find_map(|at| {
        let rest = spaced(&line[at + key.len()..]).strip_prefix(b"(D:")?;
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        (digits > 0).then(|| &rest[..digits])
    })
}

/// The address that a line leads to, if it tells one.
fn address(line: &[u8]) -> Option<Vec<u8>> {
    const ACTION: &[u8] = b"/URI";
    let blank = line.iter().take_while(|octet| is_space(**octet)).count();
    let first = line[blank..].strip_prefix(ACTION).and_then(|rest| bracketed(spaced(rest)));
    let action = memchr::memmem::find_iter(line, b"/S").find_map(|at| {
        let rest = spaced(spaced(&line[at + 2..]).strip_prefix(ACTION)?);
        Some((at, bracketed(spaced(rest.strip_prefix(ACTION)?))?))
    });
    let plain = plain_address(line);
    let tagged = match (first, action) {
        (Some(value), _) => Some((0, value)),
        (None, action) => action,
    };
    let leads = |value: &[u8]| memchr::memchr(b'.', value).map(|_| string(value));
    match (tagged, plain) {
        (Some((at, value)), Some((other, _))) if at < other => leads(value),
        (Some((_, value)), None) | (_, Some((_, value))) => leads(value),
        (None, None) => None,
    }
}

/// `(https://…)>>`: where, and the address.
fn plain_address(line: &[u8]) -> Option<(usize, &[u8])> {
    const SHORTEST: usize = 8;
    const LONGEST: usize = 256;
    memchr::memmem::find_iter(line, b"(http").find_map(|at| {
        let rest = &line[at + 1..];
        let scheme = [&b"https://"[..], b"http://"].into_iter().find(|scheme| rest.starts_with(scheme))?;
        let most = &rest[..rest.len().min(scheme.len() + LONGEST + 3)];
        let end = memchr::memmem::rfind(most, b")>>").filter(|end| *end >= scheme.len() + SHORTEST)?;
        Some((at, &rest[..end]))
    })
}

/// What a text of a PDF says, cut.
fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if text.first() == Some(&b'<') {
        let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
        let mut at = 0;
        while let [a, b, ..] = text[at..] {
            match (digit(a), digit(b)) {
                (Some(a), Some(b)) => {
                    out.push(a << 4 | b);
                    at += 2;
                }
                _ => at += 1,
            }
        }
        narrow(&mut out);
    } else {
        let text = text.strip_prefix(b"(").unwrap_or(text);
        let text = text.strip_suffix(b")").unwrap_or(text);
        out = octal(text);
        narrow(&mut out);
        out = unescaped(&out);
    }
    out.truncate(LONGEST_VALUE);
    out
}

/// UTF-16 without its zeros, which makes ASCII of it where it is that.
fn narrow(text: &mut Vec<u8>) {
    if text.starts_with(b"\xfe\xff") || text.starts_with(b"\xff\xfe") {
        text.drain(..2);
        text.retain(|octet| *octet != 0);
    }
}

/// With `\101` replaced by the octet.
fn octal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = at > 0 && text[at - 1] == b'\\';
        match text[at..] {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if !escaped => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            [octet, ..] => {
                out.push(octet);
                at += 1;
            }
            [] => break,
        }
    }
    out
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [octet, behind @ ..] = rest {
        match behind {
            [next @ (b'(' | b')' | b'\\'), behind @ ..] if *octet == b'\\' => {
                out.push(*next);
                rest = behind;
            }
            _ => {
                out.push(*octet);
                rest = behind;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Pdfs {
        let mut pdfs = Pdfs::default();
        pdfs.read(format!("%PDF-1.4\n{text}").as_bytes(), b"a.pdf");
        pdfs
    }

    #[test]
    fn images() {
        for (text, sizes, area) in [
            ("/Subtype /Image\n630 0 0 149 0 0 cm\n", &["149x630"][..], Some(93_870.0)),
            ("<</Subtype/Image/Width 20/Height 10>>\n", &["10x20"], Some(200.0)),
            ("/Image/Width 20/Height 10\n/Image/Width 5/Height 4\n", &["10x20", "14x25", "4x5"], Some(220.0)),
            // Width and height on lines of their own are not taken together.
            ("/Image\n/Width 20\n/Height 10\n", &[], None),
            ("20 0 0 10 0 0 cm\n", &[], None),
            ("/Image/Width 0/Height 10\n", &[], None),
        ] {
            let pdfs = read(text);
            let found: Vec<String> = pdfs
                .sizes
                .iter()
                .map(|(height, width)| {
                    format!("{}x{}", String::from_utf8_lossy(height), String::from_utf8_lossy(width))
                })
                .collect();
            assert_eq!(
                (found.iter().map(String::as_str).collect::<Vec<_>>(), pdfs.area),
                (sizes.to_vec(), area)
            );
        }
    }

    #[test]
    fn properties() {
        for (line, detail, expected) in [
            ("/Title(A \\(b\\) c)", "title", "A (b) c"),
            ("/Author <FEFF00570072>", "author", "Wr"),
            ("<</Creator( Adobe)/Producer(x)>>", "creator", " Adobe"),
            ("<</Creator( Adobe)/Producer(x)>>", "producer", "x"),
            ("/CreationDate(D:20070226165054-06'00')", "created", "20070226165054"),
            ("/ModDate (D:2007)", "modified", "2007"),
            ("/Author(\\376\\377\\000H\\000i)", "author", "Hi"),
        ] {
            let pdfs = read(line);
            assert!(
                pdfs.details.contains(&(detail, expected.as_bytes().to_vec())),
                "{line}: {:?}",
                pdfs.details
            );
        }
    }

    #[test]
    fn addresses() {
        for (line, expected) in [
            ("/URI(http://a.example/)", &["http://a.example/"][..]),
            ("  /URI (http://a.example/\\(x\\))", &["http://a.example/(x)"]),
            ("<</S/URI/URI(http://a.example/)>>", &["http://a.example/"]),
            ("<</Type/Action/X(https://long.example/x)>>", &["https://long.example/x"]),
            ("<</URI(http://a.example/)>>", &["http://a.example/"]),
            ("<</URI(mailto:x)>>", &[]),
            ("/URI(nodots)", &[]),
            // What is written in hex is not looked at.
            ("/URI<687474703A2F2F612E622F>", &[]),
        ] {
            let found: Vec<String> =
                read(line).uris.iter().map(|uri| String::from_utf8_lossy(uri).into_owned()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn versions() {
        for (data, expected) in [
            (&b"%PDF-1.4\n"[..], Some(&b"1.4"[..])),
            (b"junk\n%PDF-1.7", Some(b"1.7")),
            (b"%PDF-x", None),
            (b"", None),
        ] {
            assert_eq!(version(data), expected);
        }
        let far = [&vec![b' '; 2000][..], b"%PDF-1.4"].concat();
        assert_eq!(version(&far), None);
    }
}
