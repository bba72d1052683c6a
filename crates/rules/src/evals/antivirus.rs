//! SpamAssassin's AntiVirus: attachments that are programs, or whose name and type do not go together.

use super::pattern::{Fixed, fixed, hits};
use super::{Function, Native, of};
use crate::texts::{ContentType, lines};

static PROGRAM_NAME: Fixed = Fixed::new(|| {
    fixed(
        r"\.(?:ade|adp|asx|bas|bat|chm|cmd|com|cpl|crt|dll|exe|hlp|hta|inf|ins|isp|js|jse|lnk|mda|mdb|mde|mdt|mdw|mdz|msc|msi|msp|mst|nws|ops|pcd|pif|prf|reg|scf|scr.?|sct|shb|shs|shm|swf|url|vb|vbe|vbs|vbx|vxd|wsc|wsf|wsh)\n?\z",
    )
});
static PROGRAM: Fixed = Fixed::new(|| fixed(r"^TV[opqr].A..[AB].[AQgw][A-H].A"));
static UUENCODED: Fixed = Fixed::new(|| fixed(r"^M35[GHIJK].`..`..*````"));

/// Endings of names, and the types that go with them.
static NAMED: [(Fixed, Fixed); 7] = [
    (
        Fixed::new(|| fixed(r"^(?:txt|[px]?html?|xml)\n?\z")),
        Fixed::new(|| {
            fixed(r"^(?:text/(?:plain|[px]?html?|english|sgml|xml|enriched|richtext)|message/external-body)")
        }),
    ),
    (
        Fixed::new(|| fixed(r"^(?:jpe?g|tiff?|gif|png)\n?\z")),
        Fixed::new(|| fixed(r"^(?:image/|application/mac-binhex)")),
    ),
    (Fixed::new(|| fixed(r"^vcf\z")), Fixed::new(|| fixed(r"^text/vcard\z"))),
    (Fixed::new(|| fixed(r"^(?:bat|com|exe|pif|scr|swf|vbs)\n?\z")), Fixed::new(|| fixed(r"^application/"))),
    (Fixed::new(|| fixed(r"^doc\z")), Fixed::new(|| fixed(r"^application/.*word\n?\z"))),
    (Fixed::new(|| fixed(r"^ppt\z")), Fixed::new(|| fixed(r"^application/.*(?:powerpoint|ppt)\n?\z"))),
    (Fixed::new(|| fixed(r"^xls\z")), Fixed::new(|| fixed(r"^application/.*excel\n?\z"))),
];

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_microsoft_executable", |native, _| of(attachments(native).0)),
    ("check_suspect_name", |native, _| of(attachments(native).1)),
];

/// Whether there is a program, and a name that does not go with its type.
fn attachments(native: &Native<'_>) -> (bool, bool) {
    *native.memo.programs.get_or_init(|| {
        let (mut program, mut suspect) = (false, false);
        for part in native.texts.tree().leaves() {
            let content = ContentType::of(&part.header);
            let name = content.name.unwrap_or_default().to_ascii_lowercase();
            let raw = part.raw.clone().unwrap_or_default();
            let encoding = part.header.last(b"content-transfer-encoding").to_ascii_lowercase();
            let base64 = memchr::memmem::find(&encoding, b"base64").is_some();
            let first = lines(&raw).next().unwrap_or_default();
            program |= if hits(&PROGRAM_NAME, &name) || base64 && hits(&PROGRAM, first) {
                true
            } else {
                content.kind.starts_with(b"text/") && lines(&raw).any(|line| hits(&UUENCODED, line))
            };
            suspect |= content.kind != b"application/octet-stream" && disagrees(&name, &content.kind);
        }
        (program, suspect)
    })
}

fn disagrees(name: &[u8], kind: &[u8]) -> bool {
    let ending = memchr::memrchr(b'.', name).map_or(name, |dot| &name[dot + 1..]);
    let mut kind = kind.to_vec();
    let places = memchr::memchr_iter(b'/', &kind).find_map(|slash| {
        let rest = &kind[slash + 1..];
        let length = [&b"x-"[..], b"vnd."].into_iter().find(|word| rest.starts_with(word))?.len();
        Some(slash + 1..slash + 1 + length)
    });
    if let Some(place) = places {
        kind.drain(place);
    }
    NAMED.iter().any(|(endings, kinds)| hits(endings, ending) && !hits(kinds, &kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types() {
        for (name, kind, expected) in [
            ("a.txt", "image/png", true),
            ("a.txt", "text/plain", false),
            ("a.doc", "application/vnd.ms-word", false),
            ("a.doc", "application/msexcel", true),
            ("a.exe", "image/png", true),
            ("a.png", "image/x-png", false),
            ("a.png", "application/pdf", true),
            ("vcf", "text/vcard", false),
            ("a.other", "x/y", false),
            ("", "image/png", false),
        ] {
            assert_eq!(disagrees(name.as_bytes(), kind.as_bytes()), expected, "{name} {kind}");
        }
    }
}
