//! Ways to nest what carries the attachment, to begin the mail, and to end its lines.

use super::bodies::{all_hex, base64_lines};
use super::plan::{Entity, Nest};
use super::{MULTIPART_BY_RFC, Row};

/// Makes something of what can be nested.
type Nesting = fn(Nest) -> Entity;

/// Ends the lines of a mail in another way.
type Ending = fn(Vec<u8>) -> Vec<u8>;

/// What is made of the multipart, or of the attachment alone.
pub const NESTS: &[Row<Nesting>] = &[
    ("single", MULTIPART_BY_RFC, |nest| nest.part),
    ("multipart-in-multipart", MULTIPART_BY_RFC, |nest| inside(nest.multipart, 1)),
    ("three-deep", MULTIPART_BY_RFC, |nest| inside(nest.multipart, 3)),
    ("twelve-deep", MULTIPART_BY_RFC, |nest| inside(nest.multipart, 12)),
    ("single-three-deep", MULTIPART_BY_RFC, |nest| inside(nest.part, 3)),
    ("same-boundary", "", |nest| {
        let delimiter = String::from_utf8_lossy(&nest.delimiter).into_owned();
        wrapped(nest.multipart, &delimiter)
    }),
    ("message", "RFC 2046", |nest| message(nest.multipart, "message/rfc822", "")),
    ("message-single", "RFC 2046", |nest| message(nest.part, "message/rfc822", "")),
    ("message-upper", "RFC 2046", |nest| message(nest.part, "MESSAGE/RFC822", "")),
    ("message-7bit", "RFC 2046", |nest| message(nest.multipart, "message/rfc822", "7bit")),
    ("message-base64", "", |nest| encoded(nest.multipart, "message/rfc822", "base64")),
    ("message-quoted-printable", "", |nest| encoded(nest.multipart, "message/rfc822", "quoted-printable")),
    ("message-base64-not-encoded", "", |nest| message(nest.multipart, "message/rfc822", "base64")),
    ("message-global", "RFC 6532", |nest| message(nest.multipart, "message/global", "")),
    ("message-news", "", |nest| message(nest.multipart, "message/news", "")),
    ("message-partial-whole", "", |nest| message(nest.part, "message/partial; id=a; number=1; total=1", "")),
    ("message-partial-first", "", |nest| message(nest.part, "message/partial; id=a; number=1; total=2", "")),
    ("message-partial-second", "", |nest| message(nest.part, "message/partial; id=a; number=2; total=2", "")),
    ("message-unknown", "", |nest| message(nest.part, "message/x-unknown", "")),
    ("message-as-text", "", |nest| message(nest.part, "text/rfc822", "")),
    ("message-as-plain", "", |nest| message(nest.part, "text/plain", "")),
    ("message-as-octets", "", |nest| {
        encoded(nest.multipart, "application/octet-stream; name=a.eml", "base64")
    }),
    ("delivery-status", "", |nest| message(nest.part, "message/delivery-status", "")),
    ("external-body", "", |nest| message(nest.part, "message/external-body; access-type=x", "")),
    ("multipart-base64", "", |nest| encode(nest.multipart, "base64")),
    ("multipart-quoted-printable", "", |nest| encode(nest.multipart, "quoted-printable")),
    ("multipart-base64-not-encoded", "Python, MIME-tools", |nest| say(nest.multipart, "base64")),
    ("multipart-qp-not-encoded", "Python, MIME-tools", |nest| say(nest.multipart, "quoted-printable")),
    ("multipart-unknown-encoding", "Python, MIME-tools", |nest| say(nest.multipart, "x-unknown")),
    ("multipart-uuencode-not-encoded", "Python, MIME-tools", |nest| say(nest.multipart, "x-uuencode")),
    ("mbox-inside", "", |nest| {
        let body = [b"From a@b Sat Nov 21 10:00:00 2026\r\n", &whole(&nest.multipart)[..]].concat();
        Entity { fields: b"Content-Type: application/mbox\r\n".into(), body }
    }),
    ("binary-type", "", |nest| Entity {
        fields: b"Content-Type: application/octet-stream\r\n".into(),
        body: nest.multipart.body,
    }),
    ("no-type", "", |nest| Entity { fields: Vec::new(), body: nest.multipart.body }),
    ("text-type", "", |nest| Entity { fields: b"Content-Type: text/plain\r\n".into(), ..nest.multipart }),
    ("quoted-mail", "", |nest| {
        let text = whole(&nest.multipart);
        let lines: Vec<Vec<u8>> =
            text.split(|byte| *byte == b'\n').map(|line| [b"> ", line].concat()).collect();
        Entity { fields: b"Content-Type: text/plain\r\n".into(), body: lines.join(&b"\n"[..]) }
    }),
    ("bounce", "", |nest| {
        let note = b"This is the mail system.\r\n\r\n--- Below is a copy of the message.\r\n\r\n";
        let body = [note, &b"Return-Path: <a@b>\r\n"[..], &whole(&nest.multipart)].concat();
        Entity { fields: b"Content-Type: text/plain\r\n".into(), body }
    }),
];

/// Types of a multipart; what is unknown is mixed (RFC 2046 section 5.1.3).
pub const MULTIPART_TYPES: &[Row<&[u8]>] = &[
    ("upper", MULTIPART_BY_RFC, b"MULTIPART/MIXED"),
    ("alternative", MULTIPART_BY_RFC, b"multipart/alternative"),
    ("related", MULTIPART_BY_RFC, b"multipart/related"),
    ("report", MULTIPART_BY_RFC, b"multipart/report; report-type=x"),
    ("signed", MULTIPART_BY_RFC, b"multipart/signed; protocol=\"application/x\""),
    ("encrypted", MULTIPART_BY_RFC, b"multipart/encrypted; protocol=\"application/x\""),
    ("appledouble", MULTIPART_BY_RFC, b"multipart/appledouble"),
    ("form-data", MULTIPART_BY_RFC, b"multipart/form-data"),
    ("parallel", MULTIPART_BY_RFC, b"multipart/parallel"),
    ("unknown", MULTIPART_BY_RFC, b"multipart/x-unknown"),
    ("digest", MULTIPART_BY_RFC, b"multipart/digest"),
    ("replace", MULTIPART_BY_RFC, b"multipart/x-mixed-replace"),
    ("no-subtype", "", b"multipart"),
    ("slash-only", "", b"multipart/"),
    ("spaces", "", b"multipart / mixed"),
    ("two-slashes", "", b"multipart//mixed"),
    ("three-words", "", b"multipart/mixed/x"),
    ("backslash", "", b"multipart\\mixed"),
    ("longer", "", b"multiparts/mixed"),
    ("typo", "", b"mulitpart/mixed"),
    ("x", "", b"x-multipart/mixed"),
    ("message", "", b"message/mixed"),
    ("message-rfc822", "", b"message/rfc822"),
    ("text", "", b"text/plain"),
    ("html", "", b"text/html"),
    ("octets", "", b"application/octet-stream"),
    ("none", "", b""),
];

/// Types of the attachment: whatever it is, it can be saved.
pub const PART_TYPES: &[Row<&[u8]>] = &[
    ("plain", MULTIPART_BY_RFC, b"text/plain"),
    ("plain-charset", MULTIPART_BY_RFC, b"text/plain; charset=utf-8"),
    ("plain-utf-16", MULTIPART_BY_RFC, b"text/plain; charset=utf-16"),
    ("plain-utf-7", MULTIPART_BY_RFC, b"text/plain; charset=utf-7"),
    ("html", MULTIPART_BY_RFC, b"text/html"),
    ("zip", MULTIPART_BY_RFC, b"application/zip"),
    ("image", MULTIPART_BY_RFC, b"image/png"),
    ("unknown", MULTIPART_BY_RFC, b"x-unknown/x-unknown"),
    ("pgp", MULTIPART_BY_RFC, b"application/pgp-encrypted"),
    ("signature", MULTIPART_BY_RFC, b"application/pkcs7-signature"),
    ("applefile", MULTIPART_BY_RFC, b"application/applefile"),
    ("calendar", MULTIPART_BY_RFC, b"text/calendar"),
    ("no-subtype", "", b"application"),
    ("slash-last", "", b"application/"),
    ("slash-first", "", b"/zip"),
    ("slash", "", b"/"),
    ("empty", "", b""),
    ("two-slashes", "", b"application/x/y"),
    ("number", "", b"1"),
    ("headers", "", b"text/rfc822-headers"),
    ("status", "", b"message/delivery-status"),
    ("message", "", b"message/rfc822"),
    ("multipart", "", b"multipart/mixed"),
    ("multipart-boundary", "", b"multipart/mixed; boundary=never"),
    ("external-body", "", b"message/external-body; access-type=local-file"),
    ("partial", "", b"message/partial; id=a; number=2; total=3"),
];

/// What the attachment is called; it has no bearing on what is in it.
pub const NAMES: &[Row<(&[u8], &[u8])>] = &[
    ("none", MULTIPART_BY_RFC, (b"", b"attachment")),
    ("inline", MULTIPART_BY_RFC, (b"", b"inline")),
    ("disposition-only", MULTIPART_BY_RFC, (b"", b"attachment; filename=eicar.com")),
    ("type-only", MULTIPART_BY_RFC, (b"; name=eicar.com", b"attachment")),
    ("rfc2231", MULTIPART_BY_RFC, (b"", b"attachment; filename*=utf-8''ei%63ar.com")),
    ("rfc2231-parts", MULTIPART_BY_RFC, (b"", b"attachment; filename*0=\"eicar.\"; filename*1=com")),
    ("rfc2047", MULTIPART_BY_RFC, (b"; name=\"=?utf-8?Q?eicar=2Ecom?=\"", b"attachment")),
    ("not-closed", "", (b"; name=\"eicar.com", b"attachment; filename=\"eicar.com")),
    ("spaces", "", (b"; name=eicar file.com", b"attachment; filename=eicar file.com")),
    ("8-bit", "", (b"; name=\"\xe9.com\"", b"attachment; filename=\"\xe9.com\"")),
    ("nul", "", (b"; name=\"a\0.com\"", b"attachment; filename=\"a\0.com\"")),
    ("folded", "", (b";\r\n name=\"ei\r\n car.com\"", b"attachment;\r\n filename=\"ei\r\n car.com\"")),
    ("uue", "", (b"; name=\"a.uue\"", b"attachment; filename=\"a.uue\"")),
    ("eml", "", (b"; name=\"a.eml\"", b"attachment; filename=\"a.eml\"")),
    ("b64", "", (b"; name=\"a.b64\"", b"attachment; filename=\"a.b64\"")),
    ("hqx", "", (b"; name=\"a.hqx\"", b"attachment; filename=\"a.hqx\"")),
    ("unknown-disposition", MULTIPART_BY_RFC, (b"", b"x-unknown; filename=a.bin")),
    ("empty-disposition", "", (b"", b"")),
];

/// Order of the attachment's fields, and what stands between its header and its body: see [`super::plan::Plan::part`].
pub const PARTS: &[Row<&[u8]>] = &[
    ("encoding-first", MULTIPART_BY_RFC, b"{e}{c}{d}\r\n{b}"),
    ("disposition-first", MULTIPART_BY_RFC, b"{d}{c}{e}\r\n{b}"),
    ("no-disposition", MULTIPART_BY_RFC, b"{c}{e}\r\n{b}"),
    ("no-type", MULTIPART_BY_RFC, b"{e}\r\n{b}"),
    ("encoding-only-and-disposition", MULTIPART_BY_RFC, b"{e}{d}\r\n{b}"),
    ("no-encoding", "", b"{c}{d}\r\n{b}"),
    (
        "other-fields",
        MULTIPART_BY_RFC,
        b"X-A: b\r\nContent-ID: <a@b>\r\n{c}{e}{d}Content-Description: x\r\n\r\n{b}",
    ),
    ("fields-behind-blank-line", "", b"{c}\r\n{e}{d}\r\n{b}"),
    ("encoding-behind-blank-line", "", b"{c}{d}\r\n{e}\r\n{b}"),
    ("encoding-behind-space-line", "", b"{c}{d} \r\n{e}\r\n{b}"),
    ("encoding-behind-cr", "", b"{c}{d}\r{e}\r\n{b}"),
    ("encoding-behind-crcr", "", b"{c}{d}\r\r{e}\r\n{b}"),
    ("encoding-behind-lf", "", b"{c}{d}\n{e}\r\n{b}"),
    ("encoding-behind-junk", "", b"{c}{d}junk without colon\r\n{e}\r\n{b}"),
    ("encoding-behind-nul-line", "", b"{c}{d}\0\r\n{e}\r\n{b}"),
    ("two-blank-lines", MULTIPART_BY_RFC, b"{c}{e}{d}\r\n\r\n\r\n{b}"),
    ("no-blank-line", "", b"{c}{e}{d}{b}"),
    ("space-line", "", b"{c}{e}{d} \r\n{b}"),
    ("lf-line", "Python, MIME-tools", b"{c}{e}{d}\n{b}"),
    ("cr-line", "", b"{c}{e}{d}\r{b}"),
    ("indented-body", MULTIPART_BY_RFC, b"{c}{e}{d}\r\n    {b}"),
    ("body-on-last-field", "", b"{c}{e}X-A: {b}"),
];

/// How the mail begins; see [`super::plan::Plan::top`].
pub const TOPS: &[Row<&[u8]>] = &[
    ("no-mime-version", "", b"{h}{c}\r\n{b}"),
    ("mime-version-last", MULTIPART_BY_RFC, b"{h}{c}{m}\r\n{b}"),
    ("mime-version-two", "", b"{h}MIME-Version: 2.0\r\n{c}\r\n{b}"),
    ("mime-version-comment", MULTIPART_BY_RFC, b"{h}MIME-Version: 1.(c)0\r\n{c}\r\n{b}"),
    ("mime-version-junk", "", b"{h}MIME-Version: x\r\n{c}\r\n{b}"),
    ("mime-version-twice", "", b"{h}{m}MIME-Version: 0.9\r\n{c}\r\n{b}"),
    ("entity-first", MULTIPART_BY_RFC, b"{c}{m}{h}\r\n{b}"),
    ("entity-only", MULTIPART_BY_RFC, b"{c}\r\n{b}"),
    ("blank-line-first", "", b"\r\n{h}{m}{c}\r\n{b}"),
    ("blank-lines-first", "", b"\r\n\r\n\r\n{h}{m}{c}\r\n{b}"),
    ("space-line-first", "", b" \r\n{h}{m}{c}\r\n{b}"),
    ("lf-first", "", b"\n{h}{m}{c}\r\n{b}"),
    ("junk-first", "", b"no field at all\r\n{h}{m}{c}\r\n{b}"),
    ("indent-first", "", b" {h}{m}{c}\r\n{b}"),
    ("from-first", "Python, MIME-tools", b"From a@b Sat Nov 21 10:00:00 2026\r\n{h}{m}{c}\r\n{b}"),
    ("quoted-from-first", "", b">From a@b Sat Nov 21 10:00:00 2026\r\n{h}{m}{c}\r\n{b}"),
    ("byte-order-mark", "", b"\xef\xbb\xbf{h}{m}{c}\r\n{b}"),
    ("nul-first", "", b"\0{h}{m}{c}\r\n{b}"),
    ("no-header", "", b"{b}"),
    ("blank-then-body", "", b"\r\n{b}"),
    ("no-blank-line", "", b"{h}{m}{c}{b}"),
    ("space-for-blank-line", "", b"{h}{m}{c} \r\n{b}"),
    ("tab-for-blank-line", "", b"{h}{m}{c}\t\r\n{b}"),
    ("lf-blank-line", "Python, MIME-tools", b"{h}{m}{c}\n{b}"),
    ("crcrlf-blank-line", "", b"{h}{m}{c}\r\r\n{b}"),
    ("cr-blank-line", "", b"{h}{m}{c}\r{b}"),
    ("nul-blank-line", "", b"{h}{m}{c}\0\r\n{b}"),
    ("junk-before-entity", "", b"{h}{m}no field at all\r\n{c}\r\n{b}"),
    ("junk-lines-before-entity", "", b"{h}{m}none\r\nnor here\r\nnor there\r\nnothing\r\n{c}\r\n{b}"),
    ("junk-behind-entity", "", b"{h}{m}{c}no field at all\r\n\r\n{b}"),
    ("blank-before-entity", "", b"{h}{m}\r\n{c}\r\n{b}"),
    ("space-line-before-entity", "", b"{h}{m} \r\n{c}\r\n{b}"),
    ("hyphens-before-entity", "", b"{h}{m}--\r\n{c}\r\n{b}"),
    ("8-bit-line-before-entity", "", b"{h}{m}\xe4\xf6\r\n{c}\r\n{b}"),
    ("cr-before-entity", "", b"{h}{m}X-A: b\r{c}\r\n{b}"),
    ("dot-line", "", b"{h}{m}{c}\r\ntext\r\n.\r\n{b}"),
    ("mail-behind-mail", "", b"{h}\r\ntext\r\n\r\n{h}{m}{c}\r\n{b}"),
    ("header-twice", "", b"{h}{m}Content-Type: text/plain\r\n\r\n{h}{m}{c}\r\n{b}"),
];

/// How lines end.
pub const LINES: &[Row<Ending>] = &[
    ("lf", "Python, MIME-tools", |mail| ended(&mail, b"\n")),
    ("cr", "", |mail| ended(&mail, b"\r")),
    ("crcrlf", "", |mail| ended(&mail, b"\r\r\n")),
    ("lfcr", "", |mail| ended(&mail, b"\n\r")),
    ("nul-crlf", "", |mail| ended(&mail, b"\0\r\n")),
    ("space-crlf", "", |mail| ended(&mail, b" \r\n")),
    ("vertical-tab", "", |mail| ended(&mail, b"\x0b\r\n")),
    ("header-lf", "Python, MIME-tools", |mail| halves(&mail, b"\n", b"\r\n")),
    ("body-lf", "Python, MIME-tools", |mail| halves(&mail, b"\r\n", b"\n")),
    ("header-cr", "", |mail| halves(&mail, b"\r", b"\r\n")),
    ("body-cr", "", |mail| halves(&mail, b"\r\n", b"\r")),
    ("next-line", "", |mail| ended(&mail, b"\xc2\x85\r\n")),
    ("cut", "", |mail| mail[..mail.len() - 4].to_vec()),
    ("no-last-break", MULTIPART_BY_RFC, |mail| mail.trim_ascii_end().to_vec()),
    ("nul-last", "", |mail| [&mail[..], b"\0"].concat()),
    ("control-z-last", "", |mail| [&mail[..], b"\x1a"].concat()),
    ("wide", "", |mail| mail.iter().flat_map(|byte| [*byte, 0]).collect()),
    ("quoted", "", |mail| ended(&mail, b"\r\n> ")),
    ("from-quoted", "", |mail| ended(&mail, b"\r\n>")),
];

/// So many multiparts around it.
fn inside(entity: Entity, depth: usize) -> Entity {
    (0..depth).fold(entity, |inner, level| wrapped(inner, &format!("outer{level}")))
}

fn wrapped(entity: Entity, boundary: &str) -> Entity {
    let open = format!("--{boundary}\r\nContent-Type: text/plain\r\n\r\ntext\r\n--{boundary}\r\n");
    let close = format!("\r\n--{boundary}--\r\n");
    let body = [open.as_bytes(), &whole(&entity), close.as_bytes()];
    let fields = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n").into();
    Entity { fields, body: body.concat() }
}

/// A message of its own, with what its encoding is said to be.
fn message(entity: Entity, declared: &str, encoding: &str) -> Entity {
    let body = [b"Subject: inside\r\nMIME-Version: 1.0\r\n", &whole(&entity)[..]].concat();
    let fields = format!("Content-Type: {declared}\r\n").into();
    let outer = Entity { fields, body };
    if encoding.is_empty() { outer } else { say(outer, encoding) }
}

/// A message that is encoded.
fn encoded(entity: Entity, declared: &str, encoding: &str) -> Entity {
    encode(message(entity, declared, ""), encoding)
}

fn encode(entity: Entity, encoding: &str) -> Entity {
    let body = if encoding == "base64" { base64_lines(&entity.body) } else { all_hex(&entity.body) };
    say(Entity { body, ..entity }, encoding)
}

/// Says what the encoding is, and leaves the body.
fn say(entity: Entity, encoding: &str) -> Entity {
    let fields =
        [&entity.fields[..], format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes()].concat();
    Entity { fields, ..entity }
}

fn whole(entity: &Entity) -> Vec<u8> {
    [&entity.fields[..], b"\r\n", &entity.body].concat()
}

/// The mail with other line breaks for CRLF.
fn ended(mail: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = mail;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(b"\r\n") {
            Some(behind) => {
                out.extend(with);
                rest = behind;
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

/// Some line breaks in the header, others in the body.
fn halves(mail: &[u8], header: &[u8], body: &[u8]) -> Vec<u8> {
    let split = mail.windows(4).position(|four| four == b"\r\n\r\n").map_or(mail.len(), |at| at + 2);
    [ended(&mail[..split], header), ended(&mail[split..], body)].concat()
}
