//! Signing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::canon::{Bodies, BodyHash, Hash, Wanted};
use super::header::{Field, Message, Stacks};
use super::read::{NAMES, ascii, is_domain, is_under};
use super::tags::base64;
use super::{Canon, SigningKey};

/// Fields that are signed where they are present: what RFC 6376 section 5.4.1 names, and what mailing lists add.
pub const FIELDS: &[&str] = &[
    "From",
    "Reply-To",
    "Sender",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "In-Reply-To",
    "References",
    "Autocrypt",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// Fields that are signed once more than present, so that nobody can add one. `Sender` and the `List-` fields are not among
/// them: lists add those.
pub const OVERSIGNED: &[&str] = &[
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Signs messages for one domain with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Who signs (`d=`).
    pub domain: String,
    /// Where the key's record is (`s=`).
    pub selector: String,
    /// On whose behalf (`i=`): `user@domain` or `@sub.domain`, under `domain`. Left out if `None`.
    pub identity: Option<String>,
    /// Canonicalization of header and body (`c=`).
    pub canonicalization: (Canon, Canon),
    /// Names of the fields to sign, each as often as it is present. `From` is always signed.
    pub fields: Vec<String>,
    /// Names of the fields to sign once more than they are present.
    pub oversigned: Vec<String>,
    /// How long the signature is good, in seconds (`x=` from `t=`); for ever if `None`.
    pub lifetime: Option<u64>,
}

impl Signer {
    /// A signer with the usual choice: relaxed/relaxed, [`FIELDS`], [`OVERSIGNED`], no expiry.
    pub fn new(key: Arc<SigningKey>, domain: &str, selector: &str) -> Signer {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Signer {
            key,
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            identity: None,
            canonicalization: (Canon::Relaxed, Canon::Relaxed),
            fields: owned(FIELDS),
            oversigned: owned(OVERSIGNED),
            lifetime: None,
        }
    }

    /// Signs: gives the value of the `DKIM-Signature` field, folded with CR LF and a tab at 78 columns, all ASCII. The
    /// field is to be written exactly as `DKIM-Signature: VALUE` (simple canonicalization signs every byte of it).
    /// `header` is the whole header, with or without the empty line; `body` all behind that line, in pieces; `now` is in
    /// seconds since 1970.
    pub fn sign(&self, header: &[u8], body: &[Bytes], now: i64) -> Result<String, SignError> {
        sign_all(&[self], header, body, now).swap_remove(0)
    }

    fn wanted(&self) -> Wanted {
        Wanted { canon: self.canonicalization.1, hash: Hash::Sha256, length: None }
    }

    fn make(&self, stacks: &Stacks<'_>, body: &BodyHash, now: i64) -> Result<String, SignError> {
        let (domain, selector) = place(&self.domain, &self.selector)?;
        let names = self.names(stacks)?;
        let (header_canon, body_canon) = self.canonicalization;
        let mut tags = vec![
            Tag::new("v", "1".into()),
            Tag::new("a", self.key.algorithm().into()),
            Tag::new("c", format!("{}/{}", header_canon.as_str(), body_canon.as_str())),
            Tag::new("d", domain),
            Tag::new("s", selector),
        ];
        if let Some(identity) = &self.identity {
            tags.push(Tag::new("i", self.identity(identity)?));
        }
        tags.push(Tag::new("t", now.max(0).to_string()));
        if let Some(lifetime) = self.lifetime {
            let expires = now.max(0).saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX));
            tags.push(Tag::new("x", expires.to_string()));
        }
        tags.push(Tag::list("h", &names));
        tags.push(Tag::base64("bh", &body.digest));
        let mut data = Vec::new();
        stacks.choose(&names).iter().for_each(|field| header_canon.field(field, &mut data));
        seal(&self.key, header_canon, "DKIM-Signature", tags, data, Layout::Folded)
    }

    /// `i=` as it is written.
    fn identity(&self, identity: &str) -> Result<String, SignError> {
        match identity.rsplit_once('@') {
            Some((local, domain)) if is_under(&ascii(domain), &ascii(&self.domain)) => {
                Ok(format!("{}@{}", quoted(local), quoted(&ascii(domain))))
            }
            _ => Err(SignError::Signer(format!(
                "the identity {identity:?} is not under the domain {}",
                self.domain
            ))),
        }
    }

    /// The names of `h=`.
    fn names(&self, stacks: &Stacks<'_>) -> Result<Vec<String>, SignError> {
        if stacks.count("From") == 0 {
            return Err(SignError::Message("the message has no From field".into()));
        }
        names(stacks, &self.fields, &self.oversigned, true)
    }
}

/// Signs with several keys: the values in their order. The body is hashed once for all that canonicalize it alike.
pub fn sign_all(
    signers: &[&Signer],
    header: &[u8],
    body: &[Bytes],
    now: i64,
) -> Vec<Result<String, SignError>> {
    let message = Message::new(header);
    let stacks = Stacks::new(&message.fields);
    let wanted: Vec<Wanted> = signers.iter().map(|signer| signer.wanted()).collect();
    let bodies = Bodies::hash(&wanted, body.iter().map(|piece| piece.as_ref()));
    let sign = |signer: &&Signer| match bodies.get(&signer.wanted()) {
        Some(body) => signer.make(&stacks, body, now),
        None => Err(SignError::Signer("the body was not hashed".into())),
    };
    signers.iter().map(sign).collect()
}

/// Why a message was not signed; one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The message is none that can be signed, now or later.
    Message(String),
    /// Key or settings do not fit.
    Signer(String),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (SignError::Message(why) | SignError::Signer(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for SignError {}

/// Domain and selector as they are written, if they can be.
pub(crate) fn place(domain: &str, selector: &str) -> Result<(String, String), SignError> {
    for (what, name) in [("domain", domain), ("selector", selector)] {
        if !is_domain(name) {
            return Err(SignError::Signer(format!("the {what} {name:?} cannot stand in the DNS")));
        }
    }
    Ok((ascii(domain), ascii(selector)))
}

/// Each name as often as the field is present, once more if oversigned; `From` in any case.
pub(crate) fn names(
    stacks: &Stacks<'_>,
    fields: &[String],
    oversigned: &[String],
    from: bool,
) -> Result<Vec<String>, SignError> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    let always = ["From".to_owned()];
    let all = fields.iter().chain(oversigned).chain(always.iter().filter(|_| from));
    for name in all.filter(|name| seen.insert(name.to_ascii_lowercase())) {
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b';'))
        {
            return Err(SignError::Signer(format!("{name:?} is no name of a field")));
        }
        let over = oversigned.iter().any(|one| one.eq_ignore_ascii_case(name));
        let times = stacks.count(name) + usize::from(over);
        if names.len() + times > NAMES {
            return Err(SignError::Message(format!("the message has more than {NAMES} fields to sign")));
        }
        names.extend(std::iter::repeat_n(name.clone(), times));
    }
    Ok(names)
}

/// A tag of a signature to be.
pub(crate) struct Tag {
    name: &'static str,
    value: String,
    breaks: Breaks,
}

impl Tag {
    /// One that stays on its line.
    pub(crate) fn new(name: &'static str, value: String) -> Tag {
        Tag { name, value, breaks: Breaks::Never }
    }

    /// One that may go on on the next line behind each colon.
    pub(crate) fn list(name: &'static str, names: &[String]) -> Tag {
        Tag { name, value: names.join(":"), breaks: Breaks::Colons }
    }

    /// One that may go on on the next line anywhere.
    pub(crate) fn base64(name: &'static str, bytes: &[u8]) -> Tag {
        Tag { name, value: base64(bytes), breaks: Breaks::Anywhere }
    }
}

/// Where a value may be folded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Never,
    Colons,
    Anywhere,
}

/// How a signature field is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Folded at 78 columns, `b=` at the end.
    Folded,
    /// On one line, tags in the order of the alphabet.
    Sorted,
}

/// Adds `b=`: signs `data`, which is followed by the field itself. Gives the field's value.
pub(crate) fn seal(
    key: &SigningKey,
    canon: Canon,
    name: &str,
    mut tags: Vec<Tag>,
    mut data: Vec<u8>,
    layout: Layout,
) -> Result<String, SignError> {
    tags.push(Tag { name: "b", value: String::new(), breaks: Breaks::Anywhere });
    let (before, behind) = match layout {
        Layout::Folded => (fold(name, &tags), String::new()),
        Layout::Sorted => {
            tags.sort_by_key(|tag| tag.name);
            let text: Vec<String> = tags.iter().map(|tag| format!("{}={}", tag.name, tag.value)).collect();
            let text = text.join("; ");
            let at = text.find("; b=").map_or(0, |at| at + 4);
            let (before, behind) = text.split_at(at);
            (before.to_owned(), behind.to_owned())
        }
    };
    let raw = format!("{name}: {before}{behind}");
    let field = Field::new(raw.as_bytes()).ok_or_else(|| SignError::Signer(format!("{name} is no field")))?;
    // The value begins with the space behind the colon.
    let place = before.len() + 1;
    canon.signature(&field, &(place..place), &mut data);
    let signature = key.sign(&data).map_err(|why| SignError::Signer(why.0))?;
    let text = base64(&signature);
    Ok(match layout {
        Layout::Folded => {
            let mut writer = Writer { column: last_column(name, &before), out: before };
            writer.put(&text, Breaks::Anywhere, "");
            writer.out
        }
        Layout::Sorted => before + &text + &behind,
    })
}

/// Columns that a line should not exceed (RFC 5322 section 2.1.1).
const LINE: usize = 78;

/// Columns that the tab at the beginning of a continued line takes.
const TAB: usize = 8;

/// Tags as a value for the field of that name, folded.
fn fold(name: &str, tags: &[Tag]) -> String {
    let mut writer = Writer { out: String::new(), column: name.len() + 2 };
    for (count, tag) in tags.iter().enumerate() {
        let end = if count + 1 < tags.len() { ";" } else { "" };
        // A tag begins on the line if its first words do.
        let first = match tag.breaks {
            Breaks::Never => tag.value.len(),
            Breaks::Colons => tag.value.find(':').unwrap_or(tag.value.len()),
            Breaks::Anywhere => LINE / 4,
        };
        if count > 0 {
            match writer.column + 1 + tag.name.len() + 1 + first + 1 > LINE {
                true => writer.next_line(),
                false => writer.add(" "),
            }
        }
        writer.add(tag.name);
        writer.add("=");
        writer.put(&tag.value, tag.breaks, end);
    }
    writer.out
}

/// Column behind what is written so far.
fn last_column(name: &str, text: &str) -> usize {
    match text.rsplit_once("\r\n\t") {
        Some((_, line)) => TAB + line.len(),
        None => name.len() + 2 + text.len(),
    }
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn add(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.len();
    }

    fn next_line(&mut self) {
        self.out.push_str("\r\n\t");
        self.column = TAB;
    }

    /// Puts a value out, all ASCII, and what ends it, on as many lines as it needs.
    fn put(&mut self, value: &str, breaks: Breaks, end: &str) {
        match breaks {
            Breaks::Never => self.add(value),
            Breaks::Colons => {
                for (count, item) in value.split_inclusive(':').enumerate() {
                    if count > 0 && self.column + item.len() + end.len() > LINE {
                        self.next_line();
                    }
                    self.add(item);
                }
            }
            Breaks::Anywhere => {
                let mut rest = value;
                while !rest.is_empty() {
                    let room = LINE.saturating_sub(self.column + end.len());
                    if room == 0 {
                        self.next_line();
                        continue;
                    }
                    let (line, more) = rest.split_at_checked(room).unwrap_or((rest, ""));
                    self.add(line);
                    rest = more;
                }
            }
        }
        self.add(end);
    }
}

/// `dkim-quoted-printable` (RFC 6376 section 2.11).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b';' | b'=') => out.push(char::from(byte)),
            _ => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}
