//! Files that scripts carry: what is written out in a script in some encoding, decoded without running it; and what the
//! script does with it.

pub(crate) mod decode;
pub(crate) mod literals;

use bytes::Bytes;
use gatepost_mail::{FileKind, FileType};
use memchr::memmem;

use crate::opening::{Member, Opening, Stop};
use decode::{Payload, payloads_of};
use literals::Value;

/// Languages, as far as their literals differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    /// JavaScript and those with its escapes.
    #[default]
    Js,
    /// VBScript and VBA.
    Vb,
    /// PowerShell, batch files, shells.
    Shell,
}

/// Whether this is a script, as a file of its own.
pub(crate) fn is(_body: &[u8], detected: FileType) -> bool {
    language(detected).is_some()
}

fn language(detected: FileType) -> Option<Language> {
    const LANGUAGES: &[(FileType, Language)] = &[
        (FileType::JS, Language::Js),
        (FileType::PHP, Language::Js),
        (FileType::WSF, Language::Js),
        (FileType::VBS, Language::Vb),
        (FileType::PS1, Language::Shell),
        (FileType::BATCH, Language::Shell),
        (FileType::SCRIPT, Language::Shell),
    ];
    LANGUAGES.iter().find(|(known, _)| *known == detected).map(|(_, language)| *language)
}

/// Takes out of a script what it carries.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let Some(language) = language(opening.part().detected) else { return Ok(()) };
    let text = narrow(&opening.body);
    let script = Script::read(&text, language);
    for payload in script.payloads {
        embed(opening, payload, None)?;
    }
    Ok(())
}

/// What a script holds and does.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Files decoded from its values.
    pub(crate) payloads: Vec<Payload>,
    /// Names that it offers files under.
    pub(crate) downloads: Vec<String>,
    /// Addresses that it writes out.
    pub(crate) links: Vec<String>,
    /// It makes a file of bytes.
    pub(crate) builds: bool,
    /// It hands a file to the user.
    pub(crate) offers: bool,
}

/// Words of scripts that make a file of bytes.
const BUILDS: &[&[u8]] = &[
    b"Blob(",
    b"new Blob",
    b"createObjectURL",
    b"msSaveBlob",
    b"msSaveOrOpenBlob",
    b"new File(",
    b"MSBlobBuilder",
    b"BlobBuilder",
];
/// Words of scripts that hand a file to the user.
const OFFERS: &[&[u8]] = &[
    b"download",
    b"msSaveBlob",
    b"msSaveOrOpenBlob",
    b"saveAs(",
    b".click(",
    b"dispatchEvent",
    b"window.open",
    b"location",
    b"iframe",
];
/// Addresses of one script that are told of.
const MOST_LINKS: usize = 50;

impl Script {
    /// Reads a script.
    pub(crate) fn read(source: &[u8], language: Language) -> Script {
        let mut values = literals::values(source, language);
        if language == Language::Shell {
            values.extend(arguments(source));
        }
        let says = |words: &[&[u8]]| {
            let in_pieces = |word: &&[u8]| {
                let word = word.strip_suffix(b"(").unwrap_or(word);
                let word = word.strip_prefix(b".").unwrap_or(word);
                values.iter().any(|value| value.built && value.bytes == word)
            };
            words.iter().any(|word| memmem::find(source, word).is_some() || in_pieces(word))
        };
        let (builds, offers) = (says(BUILDS), says(OFFERS));
        let downloads = downloads(&values);
        let links = links(&values);
        let payloads = payloads_of(source, values, builds);
        Script { payloads, downloads, links, builds, offers }
    }
}

/// Appends what was decoded as a part of the container.
pub(crate) fn embed(opening: &mut Opening, payload: Payload, name: Option<&str>) -> Result<(), Stop> {
    opening.check_time()?;
    let names = name.map(crate::names::clean).into_iter().collect();
    let Some(body) = opening.made(payload.bytes) else { return Ok(()) };
    if !payload.decoded && FileType::detect(&body).kind == FileKind::Script {
        return opening.source("script", body).map(|_| ());
    }
    opening.embedded(Member { names, body, ..Member::default() }).map(|_| ())
}

/// Text as one byte for each character where it comes in UTF-16, else as it is.
pub(crate) fn narrow(body: &Bytes) -> Bytes {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = body[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        Bytes::from(String::from_utf16_lossy(&units).into_bytes())
    };
    match body.first_chunk::<2>() {
        Some([0xff, 0xfe]) => wide(u16::from_le_bytes),
        Some([0xfe, 0xff]) => wide(u16::from_be_bytes),
        _ => body.clone(),
    }
}

/// Words of a command line long enough to be a file in base64, as behind `-EncodedCommand`.
fn arguments(source: &[u8]) -> impl Iterator<Item = Value> {
    const SHORTEST: usize = 40;
    const MOST: usize = 256;
    let words = source.split(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte));
    let long = words.filter(|word| word.len() >= SHORTEST).take(MOST);
    long.map(|word| Value { name: None, bytes: word.to_vec(), built: false })
}

/// Names for downloads: what is assigned to `download`, or else whatever looks like the name of a file that is not shown
/// in a page.
fn downloads(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| String::from_utf8_lossy(&value.bytes).into_owned();
    let assigned = values.iter().filter(|value| value.name.as_deref() == Some(b"download"));
    let mut names: Vec<String> = assigned.map(text).collect();
    names.extend(values.iter().filter(|value| is_file_name(&value.bytes)).map(text));
    names.retain(|name| !name.is_empty() && name.len() <= 255);
    names.dedup();
    names.truncate(4);
    names
}

fn is_file_name(value: &[u8]) -> bool {
    const EXTENSIONS: &[&[u8]] = &[
        b"zip", b"rar", b"7z", b"iso", b"img", b"vhd", b"vhdx", b"exe", b"dll", b"msi", b"js", b"jse",
        b"vbs", b"vbe", b"wsf", b"hta", b"lnk", b"bat", b"cmd", b"ps1", b"scr", b"jar", b"apk", b"doc",
        b"docm", b"docx", b"xls", b"xlsm", b"xlsx", b"xll", b"ppt", b"pptm", b"one", b"pdf", b"html", b"htm",
        b"svg", b"cab", b"gz", b"tar",
    ];
    let Some(dot) = memchr::memrchr(b'.', value) else { return false };
    let plain = |byte: &u8| !byte.is_ascii_control() && !b"<>:\"/\\|?*=;".contains(byte);
    (1..=128).contains(&dot)
        && value.iter().all(plain)
        && EXTENSIONS.iter().any(|known| value[dot + 1..].eq_ignore_ascii_case(known))
}

/// Addresses among the values, without those that only name a vocabulary.
fn links(values: &[Value]) -> Vec<String> {
    let is_link = |value: &&Value| {
        let bytes = &value.bytes;
        let web = |scheme: &[u8]| {
            bytes.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && bytes.len() > scheme.len()
        };
        let named =
            [&b"www.w3.org/"[..], b"schema.org"].iter().any(|name| memmem::find(bytes, name).is_some());
        (web(b"http://") || web(b"https://")) && !named && bytes.len() <= 2048 && !bytes.contains(&b'<')
    };
    let links = values.iter().filter(is_link).take(MOST_LINKS);
    links.map(|value| String::from_utf8_lossy(&value.bytes).trim().to_owned()).collect()
}

/// Whether bytes are a file that a page does not need for its own look.
pub(crate) fn is_foreign(body: &[u8]) -> bool {
    let detected = FileType::detect(body);
    !matches!(
        detected.kind,
        FileKind::Image | FileKind::Audio | FileKind::Video | FileKind::Text | FileKind::Data
    ) || detected == FileType::SVG
}
