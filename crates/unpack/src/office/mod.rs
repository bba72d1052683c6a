//! Office documents: macros, objects, links to elsewhere, in all forms that Office and LibreOffice open.
//!
//! Each format takes out what is embedded as parts of their own, which are then opened in their turn, and notes what
//! the document is able to do. What ordinary documents have, hyperlinks and pictures, is no feature.

mod biff;
mod crypt;
mod field;
pub(crate) mod flat;
mod macros4;
mod markup;
pub(crate) mod mhtml;
mod native;
pub(crate) mod ole;
pub(crate) mod onenote;
mod ovba;
pub(crate) mod package;
mod pcode;
mod ptg;
pub(crate) mod rtf;
pub(crate) mod sheet;
mod shown;
#[cfg(test)]
mod tests;
mod vba;
mod words;
mod xml;

use gatepost_mail::FeatureKind;

use crate::opening::Opening;

/// UTF-16 with the little end first, up to a NUL.
fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text = char::decode_utf16(units.take_while(|unit| *unit != 0));
    text.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Base64, whatever stands between its characters, up to its padding.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            out.extend(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => out.push((bits >> 4) as u8),
        3 => out.extend(((bits >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    out
}

/// Notes a target that the document fetches by itself, if that lies on another machine. `what` tells people how.
fn elsewhere(opening: &mut Opening, what: &str, target: &str) {
    let target = target.trim();
    if is_remote(target) {
        opening.feature(FeatureKind::ExternalTemplate, format!("{what} {target}"));
        hyperlink(opening, target);
    }
}

/// Notes the address of a link that a reader may follow.
fn hyperlink(opening: &mut Opening, target: &str) {
    let target = target.trim();
    let begins = |with: &str| target.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    if ["http:", "https:", "ftp:"].into_iter().any(begins) {
        opening.link(target);
    } else if begins("mhtml:") {
        opening.link(&target["mhtml:".len()..]);
    }
}

/// Whether a target lies on another machine. Files of this one are no matter: templates are told with the path that they
/// had where the document was written.
fn is_remote(target: &str) -> bool {
    const SCHEMES: &[&str] = &[
        "http:",
        "https:",
        "ftp:",
        "mhtml:",
        "ms-word:",
        "ms-excel:",
        "ms-powerpoint:",
        "ms-msdt:",
        "search-ms:",
        "script:",
        "javascript:",
        "vbscript:",
        "ldap:",
        "smb:",
        "webdav:",
    ];
    let lower = target.to_ascii_lowercase().replace('\\', "/");
    if SCHEMES.iter().any(|scheme| lower.starts_with(scheme)) {
        return true;
    }
    // file:///C:/x is here, file://host/x and file://///host/x are not.
    let path = lower.strip_prefix("file:").unwrap_or(&lower);
    let slashes = path.bytes().take_while(|byte| *byte == b'/').count();
    let rest = &path[slashes..];
    let drive = rest.as_bytes().get(1).is_some_and(|byte| matches!(byte, b':' | b'|'));
    let host = rest.split('/').next().unwrap_or_default();
    let here = drive || host.is_empty() || matches!(host, "localhost" | "127.0.0.1" | "." | "?");
    match lower.starts_with("file:") {
        true => !here && (slashes == 2 || slashes > 3),
        false => !here && slashes == 2,
    }
}

/// Notes an object of a class that attacks on Office use, by its name in any case or its CLSID.
fn risky_class(opening: &mut Opening, class: &str) {
    let lower = class.to_ascii_lowercase();
    if let Some((_, what)) = RISKY_NAMES.iter().find(|(known, _)| lower.starts_with(known)) {
        opening.feature(FeatureKind::RiskyObject, format!("{class}: {what}"));
    }
}

/// [`risky_class`] by CLSID, as it stands in files.
fn risky_clsid(opening: &mut Opening, clsid: &[u8; 16]) {
    if let Some((_, what)) = RISKY.iter().find(|(known, _)| *known == clsid) {
        opening.feature(FeatureKind::RiskyObject, *what);
    }
}

const EQUATION: &str = "the old Equation Editor";

/// Names of classes in lower case, as they begin.
const RISKY_NAMES: &[(&str, &str)] = &[
    ("equation.", EQUATION),
    ("ole2link", "a link that is followed when the document is opened"),
    ("scriptletfile", "a script"),
    ("htmlfile", "a web page"),
    ("shell.explorer", "a web browser"),
    ("shellexplorer", "a web browser"),
    ("mscomctllib.", "an old control"),
    ("mscomctl2.", "an old control"),
    ("otkloadr", "a loader of programs"),
    ("shockwaveflash", "Flash"),
];

/// CLSIDs as they stand in files: the first three numbers with the little end first.
const RISKY: &[(&[u8; 16], &str)] = &[
    (b"\x02\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", EQUATION),
    (b"\x03\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", EQUATION),
    (b"\0\x17\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", EQUATION),
    (b"\0\x03\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", "a link that is followed when the document is opened"),
    (b"\xd3\x8b\x29\x06\x48\xab\xd2\x11\x84\x32\0\x60\x08\xc3\xfb\xfc", "a script"),
    (b"\x20\x69\x33\x25\xf9\x03\xcf\x11\x8f\xd0\0\xaa\0\x68\x6f\x13", "a web page"),
    (b"\xc3\x2a\xb2\xea\xc1\x30\xcf\x11\xa7\xeb\0\0\xc0\x5b\xae\x0b", "a web browser"),
    (b"\xb6\x90\x41\xc7\x89\x85\xd1\x11\xb1\x6a\0\xc0\xf0\x28\x36\x28", "an old control"),
    (b"\x4b\xf0\xd1\xbd\x8b\x85\xd1\x11\xb1\x6a\0\xc0\xf0\x28\x36\x28", "an old control"),
    (b"\x6e\xdb\x7c\xd2\x6d\xae\xcf\x11\x96\xb8\x44\x45\x53\x54\0\0", "Flash"),
];

#[cfg(test)]
mod targets {
    use super::*;

    #[test]
    fn what_lies_on_another_machine() {
        for (target, remote) in [
            ("http://a/x.dotm", true),
            ("HTTPS://a", true),
            ("mhtml:http://a!x-usc:http://a", true),
            ("\\\\host\\share\\x", true),
            ("//host/share/x", true),
            ("file://host/x", true),
            ("file:///\\\\host\\share\\x", true),
            ("file:///C:\\Users\\a\\Normal.dotm", false),
            ("file:///home/a/x", false),
            ("C:\\x", false),
            ("\\\\?\\C:\\x", false),
            ("Book2.xlsx", false),
            ("../x", false),
            ("mailto:a@example.org", false),
            ("", false),
        ] {
            assert_eq!(is_remote(target), remote, "{target}");
        }
    }
}
