//! Postfix's policy delegation protocol (SMTPD_POLICY_README), the server's side.
//!
//! A request is lines `name=value`, ended by an empty line; the answer is one line `action=…`, ended by an empty line.
//! Requests follow one another on a connection, and may be sent before earlier ones are answered: answers come in the
//! same order. Lines end in LF; CRLF is taken, too.
//!
//! The answer is any action of Postfix's access(5) tables: see [`Action`].

mod action;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr_iter};

use crate::smtp::xtext_decode;

pub use action::{Action, HEADER_LIMIT, TEXT_LIMIT};

/// Longest line taken, in octets. Postfix writes nothing longer than its `line_length_limit` (2048) into one, four times
/// that where it encodes.
pub const LINE_LIMIT: usize = 16 * 1024;

/// Most lines of a request. Postfix 3.12 sends 32.
pub const LINES_LIMIT: usize = 200;

/// Longest request taken, in octets, with its empty line.
pub const REQUEST_LIMIT: usize = 64 * 1024;

/// Takes requests from what has been read.
#[derive(Debug, Default)]
pub struct Reader {
    /// Octets of the request that were looked through already.
    seen: usize,
    /// Lines among them.
    lines: usize,
    /// Where the line that is not ended yet begins.
    line: usize,
}

impl Reader {
    /// Nothing read yet.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes one request from the front of `buf`, with its empty line; `None` when that has not come yet.
    ///
    /// The outer error means that the end of the request cannot be found: the connection is of no use any more. The inner
    /// one is about this request alone, and it can be answered.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Result<Request, RequestError>>, ReadError> {
        for found in memchr_iter(b'\n', &buf[self.seen..]) {
            let end = self.seen + found;
            let line = &buf[self.line..end];
            if line.is_empty() || line == b"\r" {
                let whole = buf.split_to(end + 1);
                let request = Request::new(&whole[..self.line]);
                *self = Reader::new();
                return Ok(Some(request));
            }
            self.lines += 1;
            if line.len() > LINE_LIMIT {
                return Err(ReadError::LineTooLong);
            }
            if self.lines > LINES_LIMIT || end >= REQUEST_LIMIT {
                return Err(ReadError::RequestTooLong);
            }
            self.line = end + 1;
        }
        self.seen = buf.len();
        if self.seen - self.line > LINE_LIMIT {
            return Err(ReadError::LineTooLong);
        }
        if self.seen > REQUEST_LIMIT { Err(ReadError::RequestTooLong) } else { Ok(None) }
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

/// Why a request cannot be answered. The connection can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// A needed attribute is missing.
    Missing(&'static str),
    /// `request` asks for something unknown.
    Unknown(String),
    /// The value of an attribute is none that it may have.
    Bad(&'static str),
    /// A line is no attribute: it has no `=`, nothing before it, or a NUL. The beginning of it.
    NoAttribute(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Missing(name) => write!(f, "attribute {name} is missing"),
            RequestError::Unknown(name) => write!(f, "unknown request {name:?}"),
            RequestError::Bad(name) => write!(f, "attribute {name} has a value it cannot have"),
            RequestError::NoAttribute(line) => write!(f, "{line:?} is no attribute name=value"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Where the client's session stands: which command is to be decided about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// The client has connected.
    Connect,
    /// It has said EHLO.
    Ehlo,
    /// It has said HELO.
    Helo,
    /// It has named the sender.
    Mail,
    /// It has named a recipient. With Postfix's `smtpd_delay_reject` all that comes before is asked about here, too.
    /// Also where a request does not say.
    #[default]
    Rcpt,
    /// It wants to send the message, by DATA or BDAT.
    Data,
    /// It has sent the message.
    EndOfMessage,
    /// It asks about an address.
    Vrfy,
    /// It asks for a domain's mail.
    Etrn,
    /// Something that this library does not know; its first 40 characters.
    Other(String),
}

impl State {
    fn new(text: &str) -> State {
        const STATES: [(&str, State); 9] = [
            ("RCPT", State::Rcpt),
            ("CONNECT", State::Connect),
            ("EHLO", State::Ehlo),
            ("HELO", State::Helo),
            ("MAIL", State::Mail),
            ("DATA", State::Data),
            ("END-OF-MESSAGE", State::EndOfMessage),
            ("VRFY", State::Vrfy),
            ("ETRN", State::Etrn),
        ];
        let known = STATES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        match known {
            Some((_, state)) => state,
            None if text.is_empty() => State::default(),
            None => State::Other(beginning(text.as_bytes(), 40)),
        }
    }

    /// As it is written.
    pub fn name(&self) -> &str {
        match self {
            State::Connect => "CONNECT",
            State::Ehlo => "EHLO",
            State::Helo => "HELO",
            State::Mail => "MAIL",
            State::Rcpt => "RCPT",
            State::Data => "DATA",
            State::EndOfMessage => "END-OF-MESSAGE",
            State::Vrfy => "VRFY",
            State::Etrn => "ETRN",
            State::Other(name) => name,
        }
    }
}

/// A request, `request=smtpd_access_policy`. What was not sent, or sent as an empty value, is empty, 0 or `None`. No text
/// holds a control character (one that came is replaced by U+FFFD), and what is not UTF-8 is replaced, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `protocol_state`.
    pub state: State,
    /// `protocol_name`: `ESMTP` or `SMTP`.
    pub protocol_name: String,
    /// `client_address`.
    pub client_address: Option<IpAddr>,
    /// `client_name`: the verified name; `None` also for `unknown`.
    pub client_name: Option<String>,
    /// `reverse_client_name`: the name that the address's PTR record gives, unverified; `None` also for `unknown`.
    pub reverse_client_name: Option<String>,
    /// `client_port` (Postfix 3.0).
    pub client_port: u16,
    /// `server_address` (3.2): the address that the client connected to.
    pub server_address: Option<IpAddr>,
    /// `server_port` (3.2).
    pub server_port: u16,
    /// `helo_name`.
    pub helo_name: String,
    /// `sender`: the envelope's, without brackets; empty for `<>` and before MAIL.
    pub sender: String,
    /// `recipient`: at RCPT and VRFY; later only if the message has one alone.
    pub recipient: String,
    /// `recipient_count` (2.3): how many recipients were accepted, from DATA on; 0 before.
    pub recipient_count: u32,
    /// `queue_id`, once there is one.
    pub queue_id: String,
    /// `instance`: the same in all requests about one message.
    pub instance: String,
    /// `size`: what was announced with MAIL, at END-OF-MESSAGE what has come.
    pub size: u64,
    /// `etrn_domain` (2.3).
    pub etrn_domain: String,
    /// `stress` (2.5): the server has more clients than it can serve.
    pub stress: bool,
    /// `sasl_method` (2.2), empty where the client has not logged in.
    pub sasl_method: String,
    /// `sasl_username` (2.2).
    pub sasl_username: String,
    /// `sasl_sender` (2.2): the AUTH parameter of MAIL.
    pub sasl_sender: String,
    /// `ccert_subject` (2.2), decoded; empty where the client showed no trusted certificate.
    pub ccert_subject: String,
    /// `ccert_issuer` (2.2), decoded.
    pub ccert_issuer: String,
    /// `ccert_fingerprint` (2.2), of a certificate that may be untrusted.
    pub ccert_fingerprint: String,
    /// `ccert_pubkey_fingerprint` (2.9).
    pub ccert_pubkey_fingerprint: String,
    /// `encryption_protocol` (2.3): `TLSv1.3`; empty without TLS.
    pub encryption_protocol: String,
    /// `encryption_cipher` (2.3).
    pub encryption_cipher: String,
    /// `encryption_keysize` (2.3), in bits.
    pub encryption_keysize: u32,
    /// `tls_sni` (3.12): the name that the client wanted to speak to.
    pub tls_sni: String,
    /// `policy_context` (3.1): what the administrator has written there.
    pub policy_context: String,
    /// `compatibility_level` (3.8): `3.6`.
    pub compatibility_level: String,
    /// `mail_version` (3.8): `3.10.2`.
    pub mail_version: String,
    /// Attributes that are none of these, in the order in which they came.
    pub other: Vec<(String, String)>,
}

impl Request {
    /// Understands the lines of a request, without the empty one. Of an attribute that comes several times the last counts.
    pub fn new(mut lines: &[u8]) -> Result<Request, RequestError> {
        let (mut request, mut kind) = (Request::default(), None);
        while !lines.is_empty() {
            let end = memchr(b'\n', lines).unwrap_or(lines.len());
            let line = lines[..end].strip_suffix(b"\r").unwrap_or(&lines[..end]);
            lines.advance((end + 1).min(lines.len()));
            let split = memchr(b'=', line).filter(|at| *at > 0 && memchr(0, line).is_none());
            let Some(split) = split else {
                return Err(RequestError::NoAttribute(beginning(line, 80)));
            };
            match &line[..split] {
                b"request" => kind = Some(text(&line[split + 1..])),
                name => request.set(name, &line[split + 1..])?,
            }
        }
        match kind.as_deref() {
            Some("smtpd_access_policy") => Ok(request),
            Some("") | None => Err(RequestError::Missing("request")),
            Some(other) => Err(RequestError::Unknown(beginning(other.as_bytes(), 80))),
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        match name {
            b"protocol_state" => self.state = State::new(&text(value)),
            b"protocol_name" => self.protocol_name = text(value),
            b"client_address" => self.client_address = address("client_address", value)?,
            b"client_name" => self.client_name = host_name(value),
            b"reverse_client_name" => self.reverse_client_name = host_name(value),
            b"client_port" => self.client_port = number("client_port", value)?,
            b"server_address" => self.server_address = address("server_address", value)?,
            b"server_port" => self.server_port = number("server_port", value)?,
            b"helo_name" => self.helo_name = text(value),
            b"sender" => self.sender = text(value),
            b"recipient" => self.recipient = text(value),
            b"recipient_count" => self.recipient_count = number("recipient_count", value)?,
            b"queue_id" => self.queue_id = text(value),
            b"instance" => self.instance = text(value),
            b"size" => self.size = number("size", value)?,
            b"etrn_domain" => self.etrn_domain = text(value),
            b"stress" => self.stress = !value.is_empty(),
            b"sasl_method" => self.sasl_method = text(value),
            b"sasl_username" => self.sasl_username = text(value),
            b"sasl_sender" => self.sasl_sender = text(value),
            b"ccert_subject" => self.ccert_subject = decoded(value),
            b"ccert_issuer" => self.ccert_issuer = decoded(value),
            b"ccert_fingerprint" => self.ccert_fingerprint = text(value),
            b"ccert_pubkey_fingerprint" => self.ccert_pubkey_fingerprint = text(value),
            b"encryption_protocol" => self.encryption_protocol = text(value),
            b"encryption_cipher" => self.encryption_cipher = text(value),
            b"encryption_keysize" => self.encryption_keysize = number("encryption_keysize", value)?,
            b"tls_sni" => self.tls_sni = text(value),
            b"policy_context" => self.policy_context = text(value),
            b"compatibility_level" => self.compatibility_level = text(value),
            b"mail_version" => self.mail_version = text(value),
            name => self.other.push((text(name), text(value))),
        }
        Ok(())
    }
}

/// Text without what could end a line or confuse a terminal.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(plain) if !plain.contains(char::is_control) => plain.to_owned(),
        _ => clean(&String::from_utf8_lossy(value)),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Names of certificates are xtext since Postfix 2.2.11; what is none is taken as it is.
fn decoded(value: &[u8]) -> String {
    let plain = text(value);
    xtext_decode(&plain).map_or(plain, |decoded| clean(&decoded))
}

fn host_name(value: &[u8]) -> Option<String> {
    Some(text(value)).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("unknown"))
}

fn address(name: &'static str, value: &[u8]) -> Result<Option<IpAddr>, RequestError> {
    match std::str::from_utf8(value) {
        Ok("" | "unknown") => Ok(None),
        // The zone of a link-local address is no part of the address.
        Ok(text) => {
            let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
            bare.parse().map(Some).map_err(|_| RequestError::Bad(name))
        }
        Err(_) => Err(RequestError::Bad(name)),
    }
}

fn number<T: std::str::FromStr + Default>(name: &'static str, value: &[u8]) -> Result<T, RequestError> {
    match std::str::from_utf8(value) {
        Ok("" | "unknown") => Ok(T::default()),
        Ok(text) => text.parse().map_err(|_| RequestError::Bad(name)),
        Err(_) => Err(RequestError::Bad(name)),
    }
}

/// The beginning of something, for messages.
fn beginning(line: &[u8], most: usize) -> String {
    clean(&String::from_utf8_lossy(line)).chars().take(most).collect()
}
