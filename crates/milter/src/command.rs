//! What the mail server says (`SMFIC_*`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use crate::flags::{Actions, Steps};
use crate::frame::{self, Frame};

/// Most strings in one packet: arguments of MAIL and RCPT, macros. SMTP allows lines of 1000 octets or so, mail
/// servers define a few dozen macros.
const MOST_STRINGS: usize = 1024;

/// A packet from the mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `O`: what it offers.
    Negotiate(Offer),
    /// `D`: macros for the command with that letter, which follows. Names with or without braces, as they came.
    Macros {
        /// Letter of the command they go with.
        stage: u8,
        /// Names and values.
        values: Vec<(Bytes, Bytes)>,
    },
    /// `C`: a client has connected.
    Connect(Connect),
    /// `H`: HELO or EHLO, with its argument.
    Helo(Bytes),
    /// `M`: MAIL. First the address as it came (`<a@example.org>`), then ESMTP parameters.
    Mail(Vec<Bytes>),
    /// `R`: RCPT, likewise.
    Rcpt(Vec<Bytes>),
    /// `T`: DATA. Version 4.
    Data,
    /// `L`: a header field.
    Header {
        /// Its name.
        name: Bytes,
        /// Its value; lines of a folded one are parted by LF. Without the first space behind the colon, unless
        /// [`Steps::HEADER_LEADING_SPACE`] is agreed on.
        value: Bytes,
    },
    /// `N`: the header is over.
    EndOfHeader,
    /// `B`: a piece of the body.
    Body(Bytes),
    /// `E`: the message is over; perhaps with the last piece of the body.
    EndOfMessage(Bytes),
    /// `U`: an SMTP command that the mail server does not know. Version 3.
    Unknown(Bytes),
    /// `A`: the message is not to be gone on with; the connection is.
    Abort,
    /// `Q`: the client is gone.
    Quit,
    /// `K`: the client is gone, and another one comes on the same connection. Version 6.
    QuitNewConnection,
}

/// The mail server's side of the negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its version of the protocol.
    pub version: u32,
    /// Changes it can make.
    pub actions: Actions,
    /// Steps it can leave out, and features it has.
    pub steps: Steps,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Its name; `[192.0.2.1]` or the like where it has none.
    pub host: Bytes,
    /// Its address.
    pub peer: Peer,
}

/// Where a client connects from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `U`: the mail server does not know, or there is no socket.
    Unknown,
    /// `4` and `6`: address and port; port 0 is not known. An IPv4 address stays one of these when it came mapped
    /// into IPv6.
    Inet(IpAddr, u16),
    /// `L`: a local socket, by its path.
    Unix(Bytes),
}

/// A packet that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A letter that is no command or response.
    Unknown(u8),
    /// The data of this one is not as it has to be.
    Data(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Unknown(code) => write!(f, "unknown packet {:?}", char::from(*code)),
            Malformed::Data(code) => write!(f, "malformed packet {:?}", char::from(*code)),
        }
    }
}

impl std::error::Error for Malformed {}

impl Command {
    /// Reads a packet.
    pub fn parse(frame: Frame) -> Result<Command, Malformed> {
        let Frame { code, data } = frame;
        let malformed = Malformed::Data(code);
        Ok(match code {
            b'O' => Command::Negotiate(Offer {
                version: number(&data, 0).ok_or(malformed)?,
                actions: Actions(number(&data, 1).ok_or(malformed)?),
                steps: Steps(number(&data, 2).ok_or(malformed)?),
            }),
            b'D' => {
                let stage = *data.first().ok_or(malformed)?;
                let strings = strings(&data.slice(1..)).ok_or(malformed)?;
                // A name without a value is left out, as libmilter leaves it out.
                let values = strings.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
                Command::Macros { stage, values }
            }
            b'C' => Command::Connect(connect(&data).ok_or(malformed)?),
            b'H' => Command::Helo(string(&data).ok_or(malformed)?),
            b'M' => Command::Mail(arguments(&data).ok_or(malformed)?),
            b'R' => Command::Rcpt(arguments(&data).ok_or(malformed)?),
            b'T' => Command::Data,
            b'L' => {
                let name = data.iter().position(|&byte| byte == 0).ok_or(malformed)?;
                let value = string(&data.slice(name + 1..)).ok_or(malformed)?;
                Command::Header { name: data.slice(..name), value }
            }
            b'N' => Command::EndOfHeader,
            b'B' => Command::Body(data),
            b'E' => Command::EndOfMessage(data),
            b'U' => Command::Unknown(string(&data).ok_or(malformed)?),
            b'A' => Command::Abort,
            b'Q' => Command::Quit,
            b'K' => Command::QuitNewConnection,
            code => return Err(Malformed::Unknown(code)),
        })
    }

    /// Appends the packet to `out`: what a mail server does, or who tests a filter. A NUL inside a string would be
    /// its end and must not be there.
    pub fn write(&self, out: &mut Vec<u8>) {
        let code = self.code();
        match self {
            Command::Negotiate(offer) => {
                let numbers = [offer.version, offer.actions.0, offer.steps.0].map(u32::to_be_bytes);
                frame::write(out, code, &[numbers.as_flattened()]);
            }
            Command::Macros { stage, values } => {
                let mut pieces: Vec<&[u8]> = vec![std::slice::from_ref(stage)];
                for (name, value) in values {
                    pieces.extend([&name[..], b"\0", value, b"\0"]);
                }
                frame::write(out, code, &pieces);
            }
            Command::Connect(connect) => write_connect(connect, out),
            Command::Helo(text) | Command::Unknown(text) => frame::write(out, code, &[text, b"\0"]),
            Command::Mail(arguments) | Command::Rcpt(arguments) => {
                let pieces: Vec<&[u8]> = arguments.iter().flat_map(|text| [&text[..], b"\0"]).collect();
                frame::write(out, code, &pieces);
            }
            Command::Header { name, value } => frame::write(out, code, &[name, b"\0", value, b"\0"]),
            Command::Body(data) | Command::EndOfMessage(data) => frame::write(out, code, &[data]),
            Command::Data
            | Command::EndOfHeader
            | Command::Abort
            | Command::Quit
            | Command::QuitNewConnection => frame::write(out, code, &[]),
        }
    }

    /// Its letter.
    pub const fn code(&self) -> u8 {
        match self {
            Command::Negotiate(_) => b'O',
            Command::Macros { .. } => b'D',
            Command::Connect(_) => b'C',
            Command::Helo(_) => b'H',
            Command::Mail(_) => b'M',
            Command::Rcpt(_) => b'R',
            Command::Data => b'T',
            Command::Header { .. } => b'L',
            Command::EndOfHeader => b'N',
            Command::Body(_) => b'B',
            Command::EndOfMessage(_) => b'E',
            Command::Unknown(_) => b'U',
            Command::Abort => b'A',
            Command::Quit => b'Q',
            Command::QuitNewConnection => b'K',
        }
    }
}

/// The `nth` number of four octets.
pub(crate) fn number(data: &[u8], nth: usize) -> Option<u32> {
    data.get(nth * 4..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// A string that its NUL ends.
pub(crate) fn string(data: &Bytes) -> Option<Bytes> {
    (data.last() == Some(&0)).then(|| data.slice(..data.len() - 1))
}

/// Strings, each ended by NUL; none at all is fine.
pub(crate) fn strings(data: &Bytes) -> Option<Vec<Bytes>> {
    let mut found = Vec::new();
    let mut rest = data.clone();
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == 0)?;
        if found.len() >= MOST_STRINGS {
            return None;
        }
        found.push(rest.split_to(end));
        rest = rest.slice(1..);
    }
    Some(found)
}

fn arguments(data: &Bytes) -> Option<Vec<Bytes>> {
    strings(data).filter(|found| !found.is_empty())
}

fn connect(data: &Bytes) -> Option<Connect> {
    let end = data.iter().position(|&byte| byte == 0)?;
    let host = data.slice(..end);
    let (family, rest) = (*data.get(end + 1)?, data.slice(end + 2..));
    if family == b'U' {
        return Some(Connect { host, peer: Peer::Unknown });
    }
    let port = u16::from_be_bytes(*rest.first_chunk()?);
    let address = string(&rest.slice(2..))?;
    let peer = match family {
        b'L' => Peer::Unix(address),
        b'4' | b'6' => Peer::Inet(inet(&address)?, port),
        _ => return None,
    };
    Some(Connect { host, peer })
}

/// Sendmail puts `IPv6:` before what it has not mapped into IPv4.
fn inet(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &text[5..],
        _ => text,
    };
    // A scope (`fe80::1%eth0`) is nobody's but this machine's.
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn write_connect(connect: &Connect, out: &mut Vec<u8>) {
    let host = &connect.host;
    let (family, port, address) = match &connect.peer {
        Peer::Unknown => return frame::write(out, b'C', &[host, b"\0U"]),
        Peer::Unix(path) => (b"L", 0, path.clone()),
        Peer::Inet(IpAddr::V4(address), port) => (b"4", *port, text(*address)),
        Peer::Inet(IpAddr::V6(address), port) => (b"6", *port, text6(*address)),
    };
    frame::write(out, b'C', &[host, b"\0", family, &port.to_be_bytes(), &address, b"\0"]);
}

fn text(address: Ipv4Addr) -> Bytes {
    address.to_string().into()
}

fn text6(address: Ipv6Addr) -> Bytes {
    address.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: u8, data: &'static [u8]) -> Result<Command, Malformed> {
        Command::parse(Frame { code, data: Bytes::from_static(data) })
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn every_address_family() {
        let v4 = |text: &str, port| Peer::Inet(IpAddr::V4(text.parse().unwrap()), port);
        let v6 = |text: &str, port| Peer::Inet(IpAddr::V6(text.parse().unwrap()), port);
        type Case = (&'static [u8], Option<(&'static str, Peer)>);
        let table: &[Case] = &[
            (b"mx.test\x004\x00\x19192.0.2.1\0", Some(("mx.test", v4("192.0.2.1", 25)))),
            (b"mx.test\x006\xff\xff2001:db8::1\0", Some(("mx.test", v6("2001:db8::1", 65535)))),
            (b"mx.test\x006\0\0IPv6:2001:db8::1\0", Some(("mx.test", v6("2001:db8::1", 0)))),
            (b"mx.test\x006\0\0ipv6:fe80::1%eth0\0", Some(("mx.test", v6("fe80::1", 0)))),
            (b"mx.test\x006\0\x19::ffff:192.0.2.1\0", Some(("mx.test", v4("192.0.2.1", 25)))),
            (b"localhost\0L\0\0/run/x\0", Some(("localhost", Peer::Unix(bytes("/run/x"))))),
            (b"localhost\0L\0\0\0", Some(("localhost", Peer::Unix(Bytes::new())))),
            (b"unknown\0U", Some(("unknown", Peer::Unknown))),
            (b"\0U", Some(("", Peer::Unknown))),
            (b"", None),
            (b"mx.test", None),
            (b"mx.test\0", None),
            (b"mx.test\x004\0\x19192.0.2.1", None),
            (b"mx.test\x004\0\x19nonsense\0", None),
            (b"mx.test\x004\0", None),
            (b"mx.test\0X\0\0a\0", None),
        ];
        for (data, expected) in table {
            let expected = expected.clone();
            let connect = |(host, peer)| Command::Connect(Connect { host: bytes(host), peer });
            assert_eq!(parse(b'C', data).ok(), expected.map(connect), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn each_command() {
        let offer = Offer { version: 6, actions: Actions(0x1ff), steps: Steps(0x1f_ffff) };
        let header = |name, value| Command::Header {
            name: Bytes::from_static(name),
            value: Bytes::from_static(value),
        };
        let macros = |stage, values: &[(&'static str, &'static str)]| Command::Macros {
            stage,
            values: values.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
        };
        let table: &[(u8, &[u8], Option<Command>)] = &[
            (b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff", Some(Command::Negotiate(offer))),
            (b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff", None),
            (b'D', b"C", Some(macros(b'C', &[]))),
            (b'D', b"Cj\0mx.test\0{a}\0\0", Some(macros(b'C', &[("j", "mx.test"), ("{a}", "")]))),
            (b'D', b"Cj\0mx.test\0lonely\0", Some(macros(b'C', &[("j", "mx.test")]))),
            (b'D', b"Cj\0mx.test", None),
            (b'D', b"", None),
            (b'H', b"client.test\0", Some(Command::Helo(bytes("client.test")))),
            (b'H', b"client.test", None),
            (b'M', b"<>\0", Some(Command::Mail(vec![bytes("<>")]))),
            (b'M', b"<a@b>\0SIZE=1\0", Some(Command::Mail(vec![bytes("<a@b>"), bytes("SIZE=1")]))),
            (b'M', b"", None),
            (b'R', b"<a@b>\0", Some(Command::Rcpt(vec![bytes("<a@b>")]))),
            (b'R', b"<a@b>", None),
            (b'T', b"", Some(Command::Data)),
            (b'L', b"Subject\0 Hello\n you\0", Some(header(b"Subject", b" Hello\n you"))),
            (b'L', b"Subject\0\0", Some(header(b"Subject", b""))),
            (b'L', b"A\0b\0c\0", Some(header(b"A", b"b\0c"))),
            (b'L', b"Subject\0", None),
            (b'L', b"Subject\0 Hello", None),
            (b'L', b"", None),
            (b'N', b"", Some(Command::EndOfHeader)),
            (b'B', b"x\0y", Some(Command::Body(Bytes::from_static(b"x\0y")))),
            (b'E', b"", Some(Command::EndOfMessage(Bytes::new()))),
            (b'E', b"x", Some(Command::EndOfMessage(bytes("x")))),
            (b'U', b"XFOO bar\0", Some(Command::Unknown(bytes("XFOO bar")))),
            (b'U', b"", None),
            (b'A', b"", Some(Command::Abort)),
            (b'Q', b"", Some(Command::Quit)),
            (b'K', b"", Some(Command::QuitNewConnection)),
            (b'x', b"", None),
        ];
        for (code, data, expected) in table {
            let found = parse(*code, data);
            assert_eq!(found.clone().ok(), *expected, "{} {}", char::from(*code), data.escape_ascii());
            if let Ok(command) = found {
                assert_eq!(command.code(), *code);
            }
        }
        assert_eq!(parse(b'x', b""), Err(Malformed::Unknown(b'x')));
        assert_eq!(parse(b'M', b""), Err(Malformed::Data(b'M')));
    }

    #[test]
    fn too_many_strings() {
        let packet = |count: usize| Frame { code: b'M', data: vec![0; count].into() };
        assert!(Command::parse(packet(MOST_STRINGS)).is_ok());
        assert_eq!(Command::parse(packet(MOST_STRINGS + 1)), Err(Malformed::Data(b'M')));
    }
}
