//! The built-in list: what a desktop runs, installs, mounts or follows when it is opened, by name and by content.

use std::sync::LazyLock;

use gatepost_mail::{FileKind, FileType};
use regex::Regex;

use super::facts::{Facts, Name};

/// What it may find.
pub(super) const NAME: &str = "BANNED_NAME";
pub(super) const TYPE: &str = "BANNED_TYPE";
pub(super) const DOUBLE: &str = "BANNED_DOUBLE_EXTENSION";
pub(super) const CLSID: &str = "BANNED_CLSID";

/// Extensions that a desktop runs, installs, mounts or follows when the file is opened. Made from what Outlook and
/// Gmail block, without those that ordinary mail is full of: certificates (`cer`, `crt`, `der`), data (`mat`, `mdb`,
/// `tmp`, `cab`), source code (`py`, `pl`, `sh`: banned only when the content is a script), links (`url`), pages
/// (`html`, `svg`) and office documents with macros (`docm`, `xlsm`), which own rules can ban.
#[rustfmt::skip]
const DANGEROUS: &[&str] = &[
    // Programs and what is loaded into them.
    "exe", "com", "pif", "scr", "cpl", "dll", "ocx", "sys", "drv", "vxd", "xll", "wll", "ex_", "gadget", "apk", "xbap",
    // Scripts.
    "bat", "cmd", "vb", "vbe", "vbs", "js", "jse", "mjs", "ws", "wsc", "wsf", "wsh", "wsb", "hta", "htc", "sct",
    "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "psm1", "psd1", "msh", "msh1", "msh2", "mshxml", "msh1xml",
    "msh2xml", "jar", "jnlp", "command", "scpt", "csh", "ksh",
    // Installers.
    "msi", "msp", "mst", "msu", "msix", "msixbundle", "appx", "appxbundle", "appinstaller", "application",
    "appref-ms", "diagcab", "diagcfg", "diagpkg", "inf", "ins", "isp",
    // Shortcuts, settings and help that lead to commands.
    "lnk", "scf", "shb", "shs", "reg", "msc", "chm", "hlp", "hpj", "its", "pcd", "vsmacros", "vsw", "theme",
    "themepack", "library-ms", "search-ms", "settingcontent-ms", "desktop", "iqy", "ade", "adp", "mde",
    // Disk images: what lies in them loses the mark of the web.
    "iso", "img", "vhd", "vhdx", "dmg", "udf",
];

/// Extensions of documents, pictures and the like: what a program is dressed up as.
#[rustfmt::skip]
const HARMLESS_LOOKING: &[&str] = &[
    "txt", "rtf", "doc", "docx", "docm", "dot", "odt", "xls", "xlsx", "xlsm", "xlsb", "ods", "csv", "ppt", "pptx",
    "pps", "ppsx", "odp", "pdf", "jpg", "jpeg", "gif", "png", "bmp", "tif", "tiff", "heic", "webp", "svg", "mp3", "mp4",
    "avi", "mov", "wmv", "mpg", "mpeg", "wav", "m4a", "htm", "html", "xml", "json", "log", "eml", "msg", "zip", "rar",
    "7z", "gz", "tar", "ics", "vcf", "dwg", "ps", "eps", "md",
];

/// What speaks against a part: a symbol and the evidence.
pub(super) fn judge(facts: &Facts) -> Option<(&'static str, String)> {
    // What a document is made of is nothing that anybody opens by itself.
    if !facts.is_file() {
        return None;
    }
    let mut worst: Option<(&'static str, &str)> = None;
    for name in &facts.names {
        match judge_name(name) {
            Some(symbol) if symbol != NAME => {
                worst = Some((symbol, name.raw));
                break;
            }
            Some(symbol) => worst = worst.or(Some((symbol, name.raw))),
            None => {}
        }
    }
    if let Some((symbol, name)) = worst {
        return Some((symbol, facts.path_as(name)));
    }
    let detected = facts.part.detected;
    is_dangerous(facts).then(|| (TYPE, format!("{} ({})", facts.path_of(facts.id), detected.name)))
}

/// Text that looks like a script is no file where a reader took it out of a page or document: what scripts there do is told
/// by the symbols of contents.
fn is_dangerous(facts: &Facts) -> bool {
    match facts.part.detected.kind {
        FileKind::Executable => true,
        FileKind::Script if facts.is_embedded() => {
            matches!(facts.part.detected, FileType::LNK | FileType::CHM | FileType::HLP | FileType::AUTOIT)
        }
        FileKind::Script => true,
        _ => false,
    }
}

/// Whether a name alone is a reason.
fn judge_name(name: &Name) -> Option<&'static str> {
    // A class id is no danger in front of an ordinary extension, as in names that programs make up: {…}.pdf.
    static CLASS_ID: LazyLock<Regex> = LazyLock::new(|| {
        let id = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        Regex::new(&format!(r"(?i)\.\s*\{{{id}|\{{{id}\}}?[\s.]*$")).expect("a fixed pattern")
    });
    if name.plain.contains('{') && CLASS_ID.is_match(&name.plain) {
        return Some(CLSID);
    }
    // Windows cuts a name at the colon of an alternate stream.
    let base = name.base();
    let whole = std::iter::once(base);
    whole
        .chain(base.split(':').filter(|piece| piece.len() < base.len()))
        .find_map(|base| judge_base(base, name.raw))
}

fn judge_base(base: &str, raw: &str) -> Option<&'static str> {
    // Windows drops dots and spaces at the end.
    let blank = |c: char| c == '.' || c == ' ' || c == '_' || c == '"' || c == '\'';
    let trimmed = base.trim_end_matches(['.', ' ', '"', '\'']);
    let (stem, extension) = trimmed.rsplit_once('.')?;
    let extension = extension.trim();
    if !DANGEROUS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
        return None;
    }
    let turned =
        raw.contains(['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}']);
    let gap = stem.ends_with("    ") || stem.ends_with("____");
    let before = stem.trim_end_matches(blank).rsplit_once('.').map(|(_, before)| before.trim());
    let looks =
        before.is_some_and(|before| HARMLESS_LOOKING.iter().any(|known| known.eq_ignore_ascii_case(before)));
    Some(if turned || gap || looks { DOUBLE } else { NAME })
}
