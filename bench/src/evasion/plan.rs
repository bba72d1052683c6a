//! What is chosen for one mail, and the mail that comes of it.

use super::bodies::{self, Encoder};
use super::payload;

/// A mail to be written. The default is an ordinary mail with a text and an attachment in base64; each value of each axis
/// changes one thing.
pub struct Plan {
    /// The payload is in a zip.
    pub zip: bool,
    /// What the attachment declares to be.
    pub part_type: Vec<u8>,
    /// How it is named, as parameters of the type.
    pub type_parameters: Vec<u8>,
    /// The value of its Content-Disposition.
    pub disposition: Vec<u8>,
    /// The value of its Content-Transfer-Encoding.
    pub encoding: Vec<u8>,
    /// How its body is encoded.
    pub encoder: Encoder,
    /// How the fields of the attachment are written; see [`super::fields`].
    pub type_field: &'static [u8],
    /// See [`Plan::type_field`].
    pub encoding_field: &'static [u8],
    /// See [`Plan::type_field`].
    pub disposition_field: &'static [u8],
    /// Order of the attachment's fields, header, empty line and body: a template of `{c}` (type), `{e}` (encoding),
    /// `{d}` (disposition) and `{b}` (body).
    pub part: &'static [u8],
    /// How the Content-Type of the multipart is written.
    pub multipart_field: &'static [u8],
    /// The type of the multipart.
    pub multipart_type: &'static [u8],
    /// What declares the boundary, behind the type.
    pub boundary: Vec<u8>,
    /// The boundary as it stands in the body.
    pub delimiter: Vec<u8>,
    /// The multipart's body: a template of `{d}` (hyphens and boundary), `{t}` (the text), `{p}` (the attachment).
    pub frame: &'static [u8],
    /// What is made of the multipart.
    pub nest: fn(Nest) -> Entity,
    /// The mail: a template of `{h}` (fields that have nothing to do with MIME), `{m}` (MIME-Version), `{c}` (the fields of
    /// the entity) and `{b}` (its body).
    pub top: &'static [u8],
    /// What is done to the lines of the whole mail.
    pub lines: fn(Vec<u8>) -> Vec<u8>,
}

/// A header and a body.
pub struct Entity {
    /// Fields, each with its line break.
    pub fields: Vec<u8>,
    /// All behind the empty line.
    pub body: Vec<u8>,
}

/// What can be nested: the multipart, and the attachment by itself.
pub struct Nest {
    /// The multipart.
    pub multipart: Entity,
    /// The attachment.
    pub part: Entity,
    /// The boundary as it stands in the body.
    pub delimiter: Vec<u8>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            zip: false,
            part_type: b"application/octet-stream".into(),
            type_parameters: b"; name=\"file.bin\"".into(),
            disposition: b"attachment; filename=\"file.bin\"".into(),
            encoding: b"base64".into(),
            encoder: bodies::base64_lines,
            type_field: PLAIN,
            encoding_field: PLAIN,
            disposition_field: PLAIN,
            part: b"{c}{e}{d}\r\n{b}",
            multipart_field: PLAIN,
            multipart_type: b"multipart/mixed",
            boundary: b"; boundary=\"x4kQ9bound\"".into(),
            delimiter: b"x4kQ9bound".into(),
            frame: b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--\r\n",
            nest: |nest| nest.multipart,
            top: b"{h}{m}{c}\r\n{b}",
            lines: |mail| mail,
        }
    }
}

/// A field as everybody writes it.
const PLAIN: &[u8] = b"{n}: {v}\r\n";

const HEAD: &[u8] = b"From: sender@client.test\r\nTo: user@example.test\r\nSubject: a file\r\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <e@client.test>\r\n";

const TEXT: &[u8] = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nThe file comes with this mail.\r\n";

impl Plan {
    /// The mail.
    pub fn write(&self) -> Vec<u8> {
        let content = if self.zip { payload::zip() } else { payload::eicar() };
        let body = (self.encoder)(&content);
        let declared = [&self.part_type[..], &self.type_parameters].concat();
        let types = field(self.type_field, "Content-Type", &declared, b"text/plain");
        let encoding = field(self.encoding_field, "Content-Transfer-Encoding", &self.encoding, self.decoy());
        let disposition = field(self.disposition_field, "Content-Disposition", &self.disposition, b"inline");
        let write_part = |template: &[u8], body: &[u8]| {
            fill(template, |name| match name {
                b'c' => Some(types.clone()),
                b'e' => Some(encoding.clone()),
                b'd' => Some(disposition.clone()),
                b'b' => Some(body.to_vec()),
                _ => None,
            })
        };
        let part = write_part(self.part, &body);
        let delimiter = [b"--", &self.delimiter[..]].concat();
        let framed = fill(self.frame, |name| match name {
            b'd' => Some(delimiter.clone()),
            b'D' => Some(self.delimiter.clone()),
            b't' => Some(TEXT.to_vec()),
            b'p' => Some(part.clone()),
            b'c' => Some([&types[..], &encoding, &disposition].concat()),
            b'b' => Some(body.clone()),
            _ => None,
        });
        let declared = [self.multipart_type, &self.boundary].concat();
        let decoy = b"multipart/mixed; boundary=\"decoy\"";
        let fields = field(self.multipart_field, "Content-Type", &declared, decoy);
        let multipart = Entity { fields, body: framed };
        let part = Entity { fields: write_part(b"{c}{e}{d}", b""), body };
        let whole = (self.nest)(Nest { multipart, part, delimiter: self.delimiter.clone() });
        let mail = fill(self.top, |name| match name {
            b'h' => Some(HEAD.to_vec()),
            b'm' => Some(b"MIME-Version: 1.0\r\n".to_vec()),
            b'c' => Some(whole.fields.clone()),
            b'b' => Some(whole.body.clone()),
            _ => None,
        });
        (self.lines)(mail)
    }

    /// Another encoding than the one the body is in.
    fn decoy(&self) -> &'static [u8] {
        if self.encoding.eq_ignore_ascii_case(b"quoted-printable") { b"base64" } else { b"quoted-printable" }
    }
}

/// A field as the template has it: `{n}` its name, `{v}` its value, `{m}` and `{r}` the value up to the first semicolon and
/// the rest, `{a}` and `{b}` the first half of `{m}` and all behind it, `{d}` another value; see [`super::fields`] for
/// the others.
fn field(template: &[u8], name: &str, value: &[u8], decoy: &[u8]) -> Vec<u8> {
    let (main, rest) = value.split_at(value.iter().position(|byte| *byte == b';').unwrap_or(value.len()));
    let half = main.len() / 2;
    let parameters = rest.trim_ascii_start().strip_prefix(b";").unwrap_or(rest).trim_ascii_start();
    fill(template, |placeholder| {
        Some(match placeholder {
            b'n' => name.into(),
            b'N' => name.to_ascii_uppercase().into(),
            b'i' => name.to_ascii_lowercase().into(),
            b'_' => name.replace('-', "_").into(),
            b's' => name.replace('-', " ").into(),
            b'v' => value.to_vec(),
            b'm' => main.to_vec(),
            b'M' => main.to_ascii_uppercase(),
            b'r' => rest.to_vec(),
            b'p' => parameters.to_vec(),
            b'a' => main[..half].to_vec(),
            b'b' => value[half..].to_vec(),
            b'h' => main[half..].to_vec(),
            b'd' => decoy.to_vec(),
            b'B' => bodies::base64(main),
            b'Q' => bodies::all_hex(main),
            b'L' => vec![b'a'; 2000],
            b'X' => vec![b'a'; 70_000],
            b'F' => b"X-Filler: some text that nobody reads\r\n".repeat(400),
            _ => return None,
        })
    })
}

/// The template with each `{x}` replaced by what `of` gives for `x`; what it does not know stays.
fn fill(template: &[u8], of: impl Fn(u8) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = template;
    while let Some((first, behind)) = rest.split_first() {
        match rest {
            [b'{', name, b'}', behind @ ..] => match of(*name) {
                Some(text) => {
                    out.extend(text);
                    rest = behind;
                    continue;
                }
                None => out.push(b'{'),
            },
            _ => out.push(*first),
        }
        rest = behind;
    }
    out
}
