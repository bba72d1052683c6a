//! SpamAssassin's MIMEEval: encodings, charsets and the make of a message.

use super::pattern::{Fixed, fixed, groups, hits};
use super::{Function, Native, number, of, text};
use crate::conf::Settings;
use crate::texts::{ContentType, lines};

/// What the parts of a message are like.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    pub base64: usize,
    pub base64_text: bool,
    pub pages: usize,
    pub texts: usize,
    pub faraway: bool,
    pub ratio: f64,
    pub qp: usize,
    pub qp_long_line: bool,
    pub qp_ratio: f64,
    pub attachment: bool,
    pub bad_charset: bool,
    pub illegal_ascii: bool,
    pub unicode_ratio: f64,
    pub charsets: Vec<Vec<u8>>,
}

static BAD_ISO: Fixed = Fixed::new(|| fixed(r"(?i)iso-\S+-\S+\b"));
static GOOD_ISO: Fixed = Fixed::new(|| fixed(r"iso-(?:8859-\d{1,2}|2022-(?:jp|kr))\b"));
static QP: Fixed = Fixed::new(|| fixed(r"(=(?:09|3[0-9ABCEF]|[2456][0-9A-F]|7[0-9A-E]))"));
static QP_END: Fixed = Fixed::new(|| fixed(r"((?:=09|=20)+)\s*\z"));
static ENTITY: Fixed = Fixed::new(|| fixed(r"(&#x[0-9A-F]{4};)"));
static CAPITALS: Fixed = Fixed::new(|| {
    fixed(
        r"(?i)^[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*\n?\z",
    )
});
static CHARSET: Fixed = Fixed::new(|| fixed(r#"(?i)charset=(?:"([^"]+)"|'([^']+)')|(?i)charset=(\S+)"#));
static TWO_WORDS: Fixed = Fixed::new(|| fixed(r"\S\s+\S"));
static ENCODED: Fixed = Fixed::new(|| fixed(r"^(?:[A-Za-z0-9+/=]{60,76} ){2}"));
static JAPANESE: Fixed = Fixed::new(|| fixed(r"(?s)(\x1b\$B.*\x1b\(B)"));

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_for_mime", |native, call| {
        let found = native.attachments();
        of(match text(call, 0).as_str() {
            "mime_attachment" => found.attachment,
            "mime_bad_iso_charset" => found.bad_charset,
            "mime_base64_count" => found.base64 > 0,
            "mime_base64_encoded_text" => found.base64_text,
            "mime_body_html_count" => found.pages > 0,
            "mime_body_text_count" => found.texts > 0,
            "mime_faraway_charset" => found.faraway,
            "mime_multipart_ratio" => found.ratio != 0.0,
            "mime_qp_count" => found.qp > 0,
            "mime_qp_long_line" => found.qp_long_line,
            "mime_qp_ratio" => found.qp_ratio > 0.0,
            "mime_ascii_text_illegal" => found.illegal_ascii,
            "mime_text_unicode_ratio" => found.unicode_ratio > 0.0,
            _ => false,
        })
    }),
    ("check_for_mime_html", |native, _| of(native.is_page() || native.attachments().pages > 0)),
    ("check_for_mime_html_only", |native, _| {
        let found = native.attachments();
        of(native.is_page() || found.pages > 0 && found.texts == 0)
    }),
    ("check_mime_multipart_ratio", |native, call| {
        let ratio = native.attachments().ratio;
        of(ratio >= number(call, 0) && ratio < number(call, 1))
    }),
    ("check_for_ascii_text_illegal", |native, _| of(native.attachments().illegal_ascii)),
    (
        "check_abundant_unicode_ratio",
        |native, call| of(native.attachments().unicode_ratio >= number(call, 0)),
    ),
    ("check_qp_ratio", |native, call| of(native.attachments().qp_ratio >= number(call, 0))),
    ("check_msg_parse_flags", |native, call| {
        let flags = native.texts.flags();
        of(match text(call, 0).as_str() {
            "missing_head_body_separator" => flags.missing_head_body_separator,
            "truncated_header" => flags.truncated_header,
            "missing_mime_headers" => flags.missing_mime_headers,
            "missing_mime_head_body_separator" => flags.missing_mime_head_body_separator,
            "mime_epilogue_exists" => flags.mime_epilogue_exists,
            "mimepart_limit_exceeded" => flags.mimepart_limit_exceeded,
            _ => false,
        })
    }),
    ("check_for_faraway_charset", |native, call| {
        let charset = native.header("Content-Type").and_then(|value| charset(&value));
        let far = charset.is_some_and(|charset| !is_near(&charset, call.settings));
        let octets = || native.texts.body().iter().flat_map(|line| line.iter());
        let high = octets().filter(|octet| !octet.is_ascii()).count();
        of(far && high > 3 && octets().count() - high <= high)
    }),
    ("check_for_uppercase", |native, call| {
        let share = *native.memo.uppercase.get_or_init(|| uppercase(native));
        of(share > number(call, 0) && share <= number(call, 1))
    }),
    ("check_ma_non_text", |native, _| {
        let tree = native.texts.tree();
        of(tree.nodes.iter().filter(|node| node.kind == b"multipart/alternative").any(|node| {
            let leaves = node.children.iter().map(|at| &tree.nodes[*at]).filter(|node| node.leaf);
            leaves.into_iter().any(|part| {
                let kind = part.kind.as_slice();
                !kind.is_empty()
                    && kind != b"multipart/related"
                    && kind != b"application/rtf"
                    && !kind.starts_with(b"text/")
            })
        }))
    }),
    ("check_base64_length", |native, call| {
        let longest = *native.memo.base64.get_or_init(|| longest_base64(native)) as f64;
        let fits = call.args.get(1).is_none_or(|_| longest <= number(call, 1));
        of(fits && longest >= number(call, 0))
    }),
];

/// Looks at all parts once.
pub(super) fn look(native: &Native<'_>) -> Attachments {
    let mut found = Attachments { ratio: 1.0, ..Attachments::default() };
    let tree = native.texts.tree();
    let mut alternative = false;
    let (mut normal, mut entities, mut qp_octets, mut qp) = (0, 0, 0, 0);
    let mut sizes: Vec<(Vec<u8>, usize)> = Vec::new();
    for node in tree.walk().into_iter().map(|at| &tree.nodes[at]).filter(|node| !node.kind.is_empty()) {
        let content = ContentType::of(&node.header);
        alternative |= content.kind == b"multipart/alternative";
        let lower = |name: &[u8]| node.header.last(name).to_ascii_lowercase();
        let (encoding, disposition) = (lower(b"content-transfer-encoding"), lower(b"content-disposition"));
        let charset = content.charset.unwrap_or_default().to_ascii_lowercase();
        found.fields(&content.kind, &encoding, &disposition, &charset, native.settings);
        if !node.leaf {
            continue;
        }
        let raw = node.raw.clone().unwrap_or_default();
        let plain = content.kind == b"text/plain";
        let attached = holds(&disposition, b"attachment");
        if !attached {
            let counts = alternative && (plain || content.kind == b"text/html");
            sizes.push((content.kind.clone(), if counts { raw.len() } else { 0 }));
        }
        if encoding == b"quoted-printable" {
            for (step, line) in lines(&raw).filter(|line| !line.starts_with(b"SPAM: ")).enumerate() {
                if native.is_over_at(step) {
                    break;
                }
                found.qp_long_line |= line.len() > 79;
                qp_octets += line.len();
                qp += encoded(line);
            }
        }
        if plain && (charset.is_empty() || charset == b"us-ascii") {
            found.illegal_ascii |= raw.iter().any(|octet| matches!(octet, 0 | b'\r' | 0x80..));
        }
        if plain && matches!(encoding.as_slice(), b"" | b"7bit" | b"8bit") {
            let count = if holds(&raw, b"&#x") { super::pattern::all(&ENTITY, &raw).len() } else { 0 };
            entities += count;
            normal += raw.len() - count * 8;
        }
    }
    if qp_octets > 0 {
        found.qp_ratio = qp as f64 / qp_octets as f64;
        found.qp = qp;
    }
    if normal > 0 {
        found.unicode_ratio = entities as f64 / normal as f64;
    }
    let last = |kind: &[u8]| sizes.iter().rev().find(|(other, _)| other == kind).map(|(_, size)| *size);
    if let (true, Some(plain), Some(html @ 1..)) = (alternative, last(b"text/plain"), last(b"text/html")) {
        found.ratio = plain as f64 / html as f64;
    }
    found
}

impl Attachments {
    /// What the fields of a part say.
    fn fields(
        &mut self,
        kind: &[u8],
        encoding: &[u8],
        disposition: &[u8],
        charset: &[u8],
        settings: &Settings,
    ) {
        let is_text = kind.starts_with(b"text");
        if kind == b"text/html" {
            self.pages += 1;
        } else if is_text {
            self.texts += 1;
        }
        let base64 = holds(encoding, b"base64");
        if base64 {
            self.base64 += 1;
        } else if holds(encoding, b"quoted-printable") {
            self.qp += 1;
        }
        self.attachment |= holds(disposition, b"attachment");
        const ASCII: [&[u8]; 8] = [
            b"us",
            b"ascii",
            b"ansi_x3.4-1968",
            b"iso-ir-6",
            b"ansi_x3.4-1986",
            b"iso_646.irv:1991",
            b"ibm367",
            b"cp367",
        ];
        let ascii = charset.is_empty() || charset == b"0" || ASCII.iter().any(|name| holds(charset, name));
        let disposed = disposition.starts_with(b"attachment") || disposition.starts_with(b"inline");
        self.base64_text |= is_text && base64 && ascii && !disposed;
        self.bad_charset |= hits(&BAD_ISO, charset) && !hits(&GOOD_ISO, charset);
        if charset.iter().any(u8::is_ascii_alphabetic) {
            self.charsets.extend(charset.split(u8::is_ascii_whitespace).map(<[u8]>::to_vec));
            self.faraway |= !is_near(charset, settings);
        }
    }
}

fn holds(text: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(text, what).is_some()
}

/// How many octets of a quoted-printable line are encoded needlessly, but for blanks at its end.
fn encoded(line: &[u8]) -> usize {
    if memchr::memchr(b'=', line).is_none() {
        return 0;
    }
    let count = super::pattern::all(&QP, line).len();
    let end = if count > 0 { groups(&QP_END, line) } else { None };
    let trailing = end.and_then(|found| found.get(1).copied().flatten()).map_or(0, |text| text.len() / 3);
    count.saturating_sub(trailing)
}

/// The charset that a Content-Type names.
fn charset(value: &[u8]) -> Option<Vec<u8>> {
    let found = groups(&CHARSET, value)?;
    found.into_iter().skip(1).flatten().next().map(<[u8]>::to_vec)
}

/// Charsets of languages that have their own, in capitals and without punctuation.
const NATIONAL: &[(&str, &str)] = &[
    (
        "ja",
        "EUCJP JISX020119760 JISX020819830 JISX020819900 JISX020819970 JISX021219900 JISX021320001 JISX021320002 \
         SHIFT_JIS SHIFTJIS ISO2022JP SJIS JIS7 JISX0201 JISX0208 JISX0212",
    ),
    ("ko", "EUCKR KSC56011987"),
    ("ru ka tg be uk bg", "KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866"),
    ("th", "TIS620"),
    ("zh", "GB1988 GB2312 GB231219800 GB18030 GBK BIG5HKSCS BIG5 EUCTW ISO2022CN"),
];

/// Whether a charset is one of those that `ok_locales` expects.
pub(super) fn is_near(charset: &[u8], settings: &Settings) -> bool {
    let locales = settings.get("ok_locales").unwrap_or("all");
    if locales.split_whitespace().any(|locale| locale == "all") {
        return true;
    }
    let name: Vec<u8> =
        charset.iter().map(u8::to_ascii_uppercase).filter(u8::is_ascii_alphanumeric).collect();
    let name = String::from_utf8_lossy(name.strip_prefix(b"3D").unwrap_or(&name)).into_owned();
    let common = ["ISO8859", "ISO10646", "UTF", "UCS", "CP125", "WINDOWS", "UNICODE11UTF"];
    let exact = ["USASCII", "ASCII", "IBM852", "XUNKNOWN", "ISO"];
    common.iter().any(|begin| name.starts_with(begin))
        || exact.contains(&name.as_str())
        || locales.split_whitespace().any(|locale| {
            let locale = locale.get(..2).unwrap_or(locale);
            let own = NATIONAL.iter().find(|(names, _)| names.split(' ').any(|name| name == locale));
            own.is_some_and(|(_, charsets)| charsets.split_whitespace().any(|known| known == name))
        })
}

/// How much of the letters and digits is capitals, in percent.
fn uppercase(native: &Native<'_>) -> f64 {
    let own = native.header("Content-Type").and_then(|value| charset(&value));
    if own.iter().chain(&native.attachments().charsets).any(|charset| hits(&CAPITALS, charset)) {
        return 0.0;
    }
    let (mut length, mut lower, mut upper) = (0, 0, 0);
    for line in native.texts.body() {
        if !hits(&TWO_WORDS, line) || hits(&ENCODED, line) {
            continue;
        }
        let skipped = groups(&JAPANESE, line).and_then(|found| found[0]).map_or(0..0, |text| {
            let start = text.as_ptr() as usize - line.as_ptr() as usize;
            start..start + text.len()
        });
        let kept = || line[..skipped.start].iter().chain(&line[skipped.end..]);
        length += line.len() - skipped.len();
        lower += kept().filter(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit()).count();
        upper += kept().filter(|octet| octet.is_ascii_uppercase()).count();
    }
    if length < 200 || upper + lower == 0 { 0.0 } else { upper as f64 / (upper + lower) as f64 * 100.0 }
}

/// The longest line of base64, its end included.
fn longest_base64(native: &Native<'_>) -> usize {
    let parts = native.texts.tree().leaves().filter(|part| {
        let encoding = part.header.last(b"content-transfer-encoding");
        encoding.eq_ignore_ascii_case(b"base64") && ContentType::of(&part.header).kind != b"application/ics"
    });
    let longest = |raw: &bytes::Bytes| lines(raw).map(<[u8]>::len).max();
    parts.filter_map(|part| part.raw.as_ref().and_then(longest)).max().unwrap_or(0)
}
