//! AM.PDP, the policy delegation protocol of amavisd-new (its README.protocol), as amavisd-milter, amavisd-submit and
//! amavisd-release speak it; the server's side.
//!
//! Requests and responses are lines `name=value`, ended by an empty line; several requests may come on a connection.
//! A value is one or more fields parted by a space; what is not printable, and the percent sign, is written `%XX`.
//! Clients end lines in CRLF or LF, the server's end in CRLF.

use std::fmt;
use std::net::IpAddr;

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest line taken, in octets.
pub const LINE_LIMIT: usize = 64 * 1024;

/// Most lines of a request.
pub const LINES_LIMIT: usize = 20_000;

/// Longest request taken, in octets.
pub const REQUEST_LIMIT: usize = 8 << 20;

/// Longest text of a reply written, in octets; libmilter takes 980.
const REPLY_LIMIT: usize = 480;

/// A line `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, decoded; what is not UTF-8 in it is replaced.
    pub name: String,
    /// The value as it came, still encoded.
    pub raw: Vec<u8>,
}

impl Attribute {
    /// The value as one field, decoded.
    pub fn value(&self) -> Vec<u8> {
        decode(&self.raw)
    }

    /// The fields of the value, decoded.
    pub fn fields(&self) -> Vec<Vec<u8>> {
        self.raw.split(|octet| *octet == b' ').map(decode).collect()
    }
}

/// A request or response, as far as it has come.
#[derive(Debug, Default)]
pub struct Reader {
    attributes: Vec<Attribute>,
    lines: usize,
    octets: usize,
}

impl Reader {
    /// Nothing read yet.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Whether a request has begun and not ended.
    pub fn has_begun(&self) -> bool {
        self.lines > 0
    }

    /// Takes lines from the front of `buf` up to an empty one; `None` when that has not come yet. A line without `=` (or
    /// `:`, which amavis takes as well) says nothing and is left out, as amavis does.
    ///
    /// After an error the connection is of no use.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Vec<Attribute>>, ReadError> {
        loop {
            let window = buf.len().min(LINE_LIMIT + 1);
            let Some(end) = memchr(b'\n', &buf[..window]) else {
                return if window > LINE_LIMIT { Err(ReadError::LineTooLong) } else { Ok(None) };
            };
            let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
            if line.is_empty() {
                buf.advance(end + 1);
                (self.lines, self.octets) = (0, 0);
                return Ok(Some(std::mem::take(&mut self.attributes)));
            }
            self.lines += 1;
            self.octets += end + 1;
            if self.lines > LINES_LIMIT || self.octets > REQUEST_LIMIT {
                return Err(ReadError::RequestTooLong);
            }
            self.attributes.extend(attribute(line));
            buf.advance(end + 1);
        }
    }
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// A line is longer than [`LINE_LIMIT`].
    LineTooLong,
    /// A request has more than [`LINES_LIMIT`] lines, or more than [`REQUEST_LIMIT`] octets.
    RequestTooLong,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::LineTooLong => write!(f, "a line is longer than {LINE_LIMIT} octets"),
            ReadError::RequestTooLong => {
                write!(f, "a request has more than {LINES_LIMIT} lines or {REQUEST_LIMIT} octets")
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `request=AM.PDP`: what shall become of this message?
    Judge(Box<Judge>),
    /// `request=release`, `requeue` or `report`: give out a held message.
    Release(Box<Release>),
}

/// A message to be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judge {
    /// The envelope's sender.
    pub sender: Path,
    /// The envelope's recipients; at least one.
    pub recipients: Vec<Path>,
    /// The client's folder for this message.
    pub tempdir: Option<Vec<u8>>,
    /// The server is to remove the folder (`tempdir_removed_by=server`).
    pub server_removes: bool,
    /// The file with the message: `mail_file`, or `email.txt` in the folder.
    pub mail_file: Vec<u8>,
    /// The server is to send the message on (`delivery_care_of=server`).
    pub server_delivers: bool,
    /// The mail server's queue id; empty when unknown, as the other texts.
    pub queue_id: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `LMTP` …
    pub protocol_name: String,
    /// What the client called itself.
    pub helo_name: String,
    /// The client's address.
    pub client_address: Option<IpAddr>,
    /// The client's port; 0 when unknown.
    pub client_port: u16,
    /// The client's name; empty also for `unknown` and for an address in brackets.
    pub client_name: String,
    /// Names of policy banks, trimmed.
    pub policy_banks: Vec<String>,
    /// Names of attributes that mean nothing here, the first [`UNKNOWN_KEPT`] of them.
    pub unknown: Vec<String>,
}

/// How many names of unknown attributes are kept.
pub const UNKNOWN_KEPT: usize = 20;

/// An address of the envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    /// As the client wrote it, brackets and all: what `delrcpt` must name.
    pub given: Vec<u8>,
    /// Without brackets; empty for `<>`. What is not UTF-8 is replaced.
    pub address: String,
}

/// A held message to be given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What exactly.
    pub kind: ReleaseKind,
    /// Its id: letters, digits, `+`, `-`, `_`, `=`; at most 64.
    pub mail_id: String,
    /// What shows that the client may; empty when not given.
    pub secret_id: String,
    /// Where it is kept (`F`, `Z`, `B`, `Q`, `M`); empty when not given.
    pub quar_type: String,
    /// The file it is kept in; empty when not given.
    pub mail_file: String,
    /// Who asks; empty when not given.
    pub requested_by: String,
    /// Another envelope sender.
    pub sender: Option<Path>,
    /// Recipients instead of its own.
    pub recipients: Vec<Path>,
}

/// How a held message is to be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseKind {
    /// To the next hop.
    Release,
    /// To the mail server, through its checks again.
    Requeue,
    /// As a report of abuse.
    Report,
}

/// Why a request cannot be answered. The connection can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// A needed attribute is missing.
    Missing(&'static str),
    /// An attribute that makes sense only once came several times.
    Twice(&'static str),
    /// The value of an attribute is none that it may have.
    Bad(&'static str),
    /// `request` asks for something unknown.
    Unknown(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Missing(name) => write!(f, "Missing '{name}' field"),
            RequestError::Twice(name) => write!(f, "Field '{name}' given more than once"),
            RequestError::Bad(name) => write!(f, "Invalid '{name}' field"),
            RequestError::Unknown(name) => write!(f, "Unknown request '{name}'"),
        }
    }
}

impl std::error::Error for RequestError {}

impl Request {
    /// Understands what was read.
    pub fn new(attributes: &[Attribute]) -> Result<Request, RequestError> {
        let fields = Fields(attributes);
        let request = fields.text("request")?;
        let kind = match request.to_ascii_lowercase().as_str() {
            "" => return Err(RequestError::Missing("request")),
            "am.pdp" => return Judge::new(&fields).map(|judge| Request::Judge(Box::new(judge))),
            "release" => ReleaseKind::Release,
            "requeue" => ReleaseKind::Requeue,
            "report" => ReleaseKind::Report,
            _ => return Err(RequestError::Unknown(cut(&request, 80).to_owned())),
        };
        Release::new(kind, &fields).map(|release| Request::Release(Box::new(release)))
    }
}

impl Judge {
    fn new(fields: &Fields<'_>) -> Result<Judge, RequestError> {
        let sender = fields.one("sender")?.ok_or(RequestError::Missing("sender"))?;
        let recipients = fields.recipients()?;
        if recipients.is_empty() {
            return Err(RequestError::Missing("recipient"));
        }
        let tempdir = fields.one("tempdir")?.filter(|folder| !folder.is_empty());
        let mail_file = match (fields.one("mail_file")?.filter(|file| !file.is_empty()), &tempdir) {
            (Some(file), _) => file,
            (None, Some(folder)) => [folder, &b"/email.txt"[..]].concat(),
            (None, None) => return Err(RequestError::Missing("mail_file")),
        };
        if [Some(&mail_file), tempdir.as_ref()].into_iter().flatten().any(|path| path.contains(&0)) {
            return Err(RequestError::Bad("mail_file"));
        }
        let address = fields.text("client_address")?;
        let port = fields.text("client_port")?;
        let banks = fields.text("policy_bank")?;
        Ok(Judge {
            sender: Path::new(sender).ok_or(RequestError::Bad("sender"))?,
            recipients,
            tempdir,
            server_removes: fields.text("tempdir_removed_by")?.eq_ignore_ascii_case("server"),
            mail_file,
            server_delivers: fields.text("delivery_care_of")?.eq_ignore_ascii_case("server"),
            queue_id: fields.text("queue_id")?,
            protocol_name: fields.text("protocol_name")?,
            helo_name: fields.text("helo_name")?,
            client_address: client_address(&address)?,
            client_port: port.parse().unwrap_or(0),
            client_name: Some(fields.text("client_name")?).filter(|name| is_name(name)).unwrap_or_default(),
            policy_banks: banks
                .split(',')
                .map(|bank| bank.trim().to_owned())
                .filter(|b| !b.is_empty())
                .collect(),
            unknown: fields.unknown(),
        })
    }
}

impl Release {
    fn new(kind: ReleaseKind, fields: &Fields<'_>) -> Result<Release, RequestError> {
        let mail_id =
            fields.one("mail_id")?.filter(|id| !id.is_empty()).ok_or(RequestError::Missing("mail_id"))?;
        let is_id = |octet: &u8| octet.is_ascii_alphanumeric() || b"+-_=".contains(octet);
        let mail_id =
            String::from_utf8(mail_id).ok().filter(|id| id.len() <= 64 && id.as_bytes().iter().all(is_id));
        let mail_id = mail_id.ok_or(RequestError::Bad("mail_id"))?;
        let sender = match fields.one("sender")? {
            Some(sender) => Some(Path::new(sender).ok_or(RequestError::Bad("sender"))?),
            None => None,
        };
        Ok(Release {
            kind,
            mail_id,
            secret_id: fields.text("secret_id")?,
            quar_type: fields.text("quar_type")?,
            mail_file: fields.text("mail_file")?,
            requested_by: fields.text("requested_by")?,
            sender,
            recipients: fields.recipients()?,
        })
    }
}

impl Path {
    /// Reads `<user@example.org>`, or the same without brackets. None when it holds a control character, which no
    /// address does.
    pub fn new(given: Vec<u8>) -> Option<Path> {
        let text = String::from_utf8_lossy(&given);
        let text = text.trim_matches(' ');
        let address = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        if address.contains(char::is_control) {
            return None;
        }
        let address = address.to_owned();
        Some(Path { given, address })
    }
}

/// What the server answers.
#[derive(Debug, Default)]
pub struct Response {
    out: Vec<u8>,
}

impl Response {
    /// Nothing said yet; for releases.
    pub fn new() -> Response {
        Response::default()
    }

    /// The answer about a message: begins with the protocol's version, 2.
    pub fn version_2() -> Response {
        let mut response = Response::new();
        response.line("version_server", &[b"2"]);
        response
    }

    /// Under what id the server has logged it.
    pub fn log_id(&mut self, id: &str) {
        self.line("log_id", &[id.as_bytes()]);
    }

    /// What the mail server should say to its client. Line ends become spaces, and what is too long for libmilter is cut;
    /// where there is no enhanced code, one of the code's class stands in.
    pub fn set_reply(&mut self, code: u16, enhanced: &str, text: &str) {
        let other = format!("{}.0.0", code / 100);
        let enhanced = if enhanced.is_empty() { &other } else { enhanced };
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = cut(text.trim(), REPLY_LIMIT);
        self.line("setreply", &[code.to_string().as_bytes(), enhanced.as_bytes(), text.as_bytes()]);
    }

    /// Takes a recipient off; as the client gave it.
    pub fn delete_recipient(&mut self, given: &[u8]) {
        self.line("delrcpt", &[given]);
    }

    /// Adds a recipient; without brackets.
    pub fn add_recipient(&mut self, address: &str) {
        self.line("addrcpt", &[format!("<{address}>").as_bytes()]);
    }

    /// Removes the `nth` field of a name, from 1.
    pub fn delete_header(&mut self, nth: usize, name: &str) {
        self.line("delheader", &[nth.to_string().as_bytes(), name.as_bytes()]);
    }

    /// Gives the `nth` field of a name, from 1, another value.
    pub fn change_header(&mut self, nth: usize, name: &str, value: &str) {
        self.line(
            "chgheader",
            &[nth.to_string().as_bytes(), name.as_bytes(), header_value(value).as_bytes()],
        );
    }

    /// Puts a field at a place; 0 is the top.
    pub fn insert_header(&mut self, index: usize, name: &str, value: &str) {
        self.line(
            "insheader",
            &[index.to_string().as_bytes(), name.as_bytes(), header_value(value).as_bytes()],
        );
    }

    /// Puts a field behind all others.
    pub fn add_header(&mut self, name: &str, value: &str) {
        self.line("addheader", &[name.as_bytes(), header_value(value).as_bytes()]);
    }

    /// The mail server is to hold the message itself.
    pub fn quarantine(&mut self, reason: &str) {
        self.line("quarantine", &[reason.as_bytes()]);
    }

    /// Puts what another response says behind this one.
    pub fn append(&mut self, other: Response) {
        self.out.extend_from_slice(&other.out);
    }

    /// What is to become of the message, in the words of this protocol and as an exit status for old clients.
    pub fn return_value(&mut self, value: ReturnValue) {
        self.line("return_value", &[value.name().as_bytes()]);
        self.line("exit_code", &[value.exit_code().to_string().as_bytes()]);
    }

    /// The whole response, with the empty line.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"\r\n");
        self.out
    }

    fn line(&mut self, name: &str, fields: &[&[u8]]) {
        self.out.extend_from_slice(name.as_bytes());
        for (place, field) in fields.iter().enumerate() {
            self.out.push(if place == 0 { b'=' } else { b' ' });
            encode(field, &mut self.out);
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnValue {
    /// It goes on, with the changes that were told.
    Continue,
    /// It goes on, past other filters as well.
    Accept,
    /// It is refused.
    Reject,
    /// It is taken and thrown away: the server has it.
    Discard,
    /// It is put off.
    TempFail,
}

impl ReturnValue {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            ReturnValue::Continue => "continue",
            ReturnValue::Accept => "accept",
            ReturnValue::Reject => "reject",
            ReturnValue::Discard => "discard",
            ReturnValue::TempFail => "tempfail",
        }
    }

    /// As an exit status, of sysexits.h but for 99.
    pub const fn exit_code(self) -> u8 {
        match self {
            ReturnValue::Continue | ReturnValue::Accept => 0,
            ReturnValue::Reject => 69,
            ReturnValue::Discard => 99,
            ReturnValue::TempFail => 75,
        }
    }
}

/// Appends a field, encoded: all but printable ASCII, and the percent sign, as `%XX`.
pub fn encode(field: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &octet in field {
        if octet.is_ascii_graphic() && octet != b'%' {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
    }
}

/// Decodes a field. A percent sign without two hexadecimal digits stands for itself, as amavis takes it.
pub fn decode(field: &[u8]) -> Vec<u8> {
    let digit = |place: usize| field.get(place).and_then(|octet| char::from(*octet).to_digit(16));
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        match (field[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (octet, ..) => {
                out.push(octet);
                at += 1;
            }
        }
    }
    out
}

/// A request's attributes by name.
struct Fields<'a>(&'a [Attribute]);

impl Fields<'_> {
    /// All names that mean something to this server or to amavis.
    const KNOWN: [&'static str; 22] = [
        "request",
        "protocol_state",
        "version_client",
        "protocol_name",
        "helo_name",
        "client_name",
        "client_address",
        "client_port",
        "client_source",
        "sender",
        "recipient",
        "delivery_care_of",
        "queue_id",
        "partition_tag",
        "mail_id",
        "secret_id",
        "quar_type",
        "mail_file",
        "tempdir",
        "tempdir_removed_by",
        "policy_bank",
        "requested_by",
    ];

    fn one(&self, name: &'static str) -> Result<Option<Vec<u8>>, RequestError> {
        let mut values = self.0.iter().filter(|attribute| attribute.name == name);
        let first = values.next().map(Attribute::value);
        if values.next().is_some() { Err(RequestError::Twice(name)) } else { Ok(first) }
    }

    /// Text for people and comparisons: control characters are left out; empty when the attribute is missing.
    fn text(&self, name: &'static str) -> Result<String, RequestError> {
        let value = self.one(name)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&value).chars().filter(|c| !c.is_control()).collect())
    }

    fn recipients(&self) -> Result<Vec<Path>, RequestError> {
        let values = self.0.iter().filter(|attribute| attribute.name == "recipient");
        let paths =
            values.map(|attribute| Path::new(attribute.value()).filter(|path| !path.address.is_empty()));
        paths.map(|path| path.ok_or(RequestError::Bad("recipient"))).collect()
    }

    fn unknown(&self) -> Vec<String> {
        let unknown = self.0.iter().filter(|attribute| !Self::KNOWN.contains(&attribute.name.as_str()));
        let clean = |attribute: &Attribute| {
            let name: String = attribute.name.chars().filter(|c| !c.is_control()).collect();
            cut(&name, 80).to_owned()
        };
        unknown.take(UNKNOWN_KEPT).map(clean).collect()
    }
}

/// `name=value` or `name: value`.
fn attribute(line: &[u8]) -> Option<Attribute> {
    let equals = memchr(b'=', line);
    let colon = memchr(b':', &line[..equals.unwrap_or(line.len())]);
    let end = colon.or(equals)?;
    let mut raw = &line[end + 1..];
    if colon.is_some() {
        raw = raw.trim_ascii_start();
    }
    let name = String::from_utf8_lossy(&decode(&line[..end])).into_owned();
    Some(Attribute { name, raw: raw.to_vec() })
}

/// amavisd-milter writes `IPv6:` before such addresses; others put them in brackets.
fn client_address(text: &str) -> Result<Option<IpAddr>, RequestError> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    let bare = match bare.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("IPv6:") => &bare[5..],
        _ => bare,
    };
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.to_canonical())),
        Err(_) if bare.is_empty() || bare.eq_ignore_ascii_case("unknown") => Ok(None),
        Err(_) => Err(RequestError::Bad("client_address")),
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with('[') && !name.eq_ignore_ascii_case("unknown")
}

/// A header field's value as milters want it: lines parted by LF, and no space before it, which the mail server puts
/// there.
fn header_value(value: &str) -> String {
    let value = value.strip_prefix([' ', '\t']).unwrap_or(value);
    value.trim_end_matches(['\r', '\n']).replace("\r\n", "\n")
}

/// The beginning of a text, at most so many octets.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests;
