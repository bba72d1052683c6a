//! The PROXY protocol, versions 1 and 2: who the client of a load balancer is (haproxy's proxy-protocol.txt).
//!
//! The header is the first thing on a connection and says what to believe about it, so it must be read only from peers
//! that are trusted, and must then be there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest header of version 1, CRLF included (section 2.1).
const V1_LIMIT: usize = 107;
/// Longest rest of a header of version 2, in octets. The protocol allows 65535; addresses, names and a certificate's
/// subject need some hundreds, and nothing longer is kept for a peer that has said nothing else yet.
const V2_LIMIT: usize = 8192;
/// What a header of version 2 begins with (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// Most octets kept of a text about TLS.
const TEXT_LIMIT: usize = 255;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The client's address and port; `None` when the balancer does not know or it is none of TCP over IP.
    pub source: Option<SocketAddr>,
    /// The address and port the client connected to.
    pub destination: Option<SocketAddr>,
    /// How the client's connection to the balancer was encrypted; `None` when it was not or nothing is said.
    pub tls: Option<Tls>,
    /// The host name the client asked for in TLS (PP2_TYPE_AUTHORITY).
    pub authority: Option<String>,
    /// The balancer speaks for itself (a health check): the connection's own addresses hold.
    pub local: bool,
}

/// What version 2 says about TLS between client and balancer (PP2_TYPE_SSL, section 2.2.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `TLSv1.3`.
    pub version: Option<String>,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: Option<String>,
    /// Common name of the client's certificate.
    pub client_name: Option<String>,
    /// Whether the client gave a certificate and the balancer found it valid.
    pub client_verified: bool,
}

/// Why what stands at the front of a connection is no header. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// It begins with neither version's signature.
    Missing,
    /// It is longer than 107 octets (version 1) or 8192 (version 2).
    TooLong,
    /// A version or command that is not defined.
    Version,
    /// Addresses that do not fit their family, or records that do not fit the length.
    Malformed,
    /// The CRC32c does not match.
    Checksum,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Missing => "no PROXY header at the front of the connection",
            Error::TooLong => "the PROXY header is too long",
            Error::Version => "the PROXY header has an unknown version or command",
            Error::Malformed => "the PROXY header is malformed",
            Error::Checksum => "the PROXY header's checksum is wrong",
        })
    }
}

impl std::error::Error for Error {}

/// Takes a header from the front of `buf`; `None` when it is not whole yet. What follows the header stays.
pub fn parse(buf: &mut BytesMut) -> Result<Option<Header>, Error> {
    let begins = |signature: &[u8]| {
        let length = buf.len().min(signature.len());
        buf[..length] == signature[..length]
    };
    if begins(V2_SIGNATURE) {
        parse_v2(buf)
    } else if begins(b"PROXY ") {
        parse_v1(buf)
    } else {
        Err(Error::Missing)
    }
}

fn parse_v1(buf: &mut BytesMut) -> Result<Option<Header>, Error> {
    let window = buf.len().min(V1_LIMIT);
    let Some(lf) = memchr(b'\n', &buf[..window]) else {
        return if buf.len() >= V1_LIMIT { Err(Error::TooLong) } else { Ok(None) };
    };
    let line = buf[..lf].strip_suffix(b"\r").ok_or(Error::Malformed)?;
    let header = v1_line(std::str::from_utf8(line).map_err(|_| Error::Malformed)?)?;
    buf.advance(lf + 1);
    Ok(Some(header))
}

fn v1_line(line: &str) -> Result<Header, Error> {
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(Error::Malformed)?;
    if family == "UNKNOWN" {
        return Ok(Header::default());
    }
    let mut address = || -> Result<IpAddr, Error> {
        let word = words.next().ok_or(Error::Malformed)?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Error::Malformed),
            "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Error::Malformed),
            _ => Err(Error::Malformed),
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || -> Result<u16, Error> {
        let word = words.next().ok_or(Error::Malformed)?;
        let canonical = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        if canonical { word.parse().map_err(|_| Error::Malformed) } else { Err(Error::Malformed) }
    };
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(Error::Malformed);
    }
    let source = Some(SocketAddr::new(source.to_canonical(), source_port));
    let destination = Some(SocketAddr::new(destination.to_canonical(), destination_port));
    Ok(Header { source, destination, ..Header::default() })
}

fn parse_v2(buf: &mut BytesMut) -> Result<Option<Header>, Error> {
    let Some(&[version, family, high, low]) = buf.get(12..V2_FIXED).and_then(|f| f.first_chunk::<4>()) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_LIMIT {
        return Err(Error::TooLong);
    }
    let local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(Error::Version),
    };
    let Some(whole) = buf.get(..V2_FIXED + length) else {
        return Ok(None);
    };
    // What a balancer says of its own connections means nothing (section 2.2).
    let header = if local { Header { local, ..Header::default() } } else { v2_content(whole, family)? };
    buf.advance(V2_FIXED + length);
    Ok(Some(header))
}

fn v2_content(whole: &[u8], family: u8) -> Result<Header, Error> {
    let content = &whole[V2_FIXED..];
    let addresses = match family {
        // TCP over IPv4 and IPv6, and the same with UDP, which no mail comes over.
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        // Unix sockets: two paths.
        0x31 | 0x32 => 216,
        0x00 => 0,
        _ => return Err(Error::Malformed),
    };
    let (block, records) = content.split_at_checked(addresses).ok_or(Error::Malformed)?;
    let mut header = Header::default();
    if family == 0x11 || family == 0x21 {
        let (source, destination) = socket_addresses(block).ok_or(Error::Malformed)?;
        (header.source, header.destination) = (Some(source), Some(destination));
    }
    let (mut at, mut sum) = (V2_FIXED + addresses, None);
    for record in Records(records) {
        let (kind, value) = record?;
        at += 3;
        match kind {
            0x02 => header.authority = clean_text(value),
            0x03 if sum.is_some() => return Err(Error::Malformed),
            0x03 => sum = Some((at, value)),
            0x20 => header.tls = tls(value)?,
            _ => {}
        }
        at += value.len();
    }
    sum.map_or(Ok(()), |(at, value)| check_sum(whole, at, value))?;
    Ok(header)
}

fn socket_addresses(block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (ips, ports) = block.split_at_checked(block.len().checked_sub(4)?)?;
    let (source, destination) = ips.split_at_checked(ips.len() / 2)?;
    let ip = |octets: &[u8]| match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(|o| IpAddr::from(o).to_canonical()),
        _ => None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*ports.get(at)?, *ports.get(at + 1)?]));
    Some((SocketAddr::new(ip(source)?, port(0)?), SocketAddr::new(ip(destination)?, port(2)?)))
}

/// The type-length-value records after the addresses (section 2.2).
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u8, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut self.0);
        let Some((&[kind, high, low], rest)) = all.split_first_chunk::<3>() else {
            return Some(Err(Error::Malformed));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Some(Err(Error::Malformed));
        };
        self.0 = rest;
        Some(Ok((kind, value)))
    }
}

/// PP2_TYPE_SSL: a bit field, the result of verification, and records of its own.
fn tls(value: &[u8]) -> Result<Option<Tls>, Error> {
    let Some((&[client, verify @ ..], records)) = value.split_first_chunk::<5>() else {
        return Err(Error::Malformed);
    };
    // PP2_CLIENT_SSL; PP2_CLIENT_CERT_CONN and PP2_CLIENT_CERT_SESS.
    let (encrypted, certificate) = (client & 0x01 != 0, client & 0x06 != 0);
    let mut tls = Tls { client_verified: certificate && verify == [0; 4], ..Tls::default() };
    for record in Records(records) {
        match record? {
            (0x21, text) => tls.version = clean_text(text),
            (0x22, text) => tls.client_name = clean_text(text),
            (0x23, text) => tls.cipher = clean_text(text),
            _ => {}
        }
    }
    Ok(encrypted.then_some(tls))
}

/// Text without control characters, cut to a length; `None` when nothing is left.
fn clean_text(value: &[u8]) -> Option<String> {
    let text: String =
        String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect();
    (!text.is_empty()).then_some(text)
}

/// PP2_TYPE_CRC32C: the checksum of the whole header with the checksum itself as zeros.
fn check_sum(whole: &[u8], at: usize, value: &[u8]) -> Result<(), Error> {
    let stated: [u8; 4] = value.try_into().map_err(|_| Error::Malformed)?;
    let sum = crc32c(crc32c(crc32c(!0, &whole[..at]), &[0; 4]), &whole[at + 4..]);
    if !sum == u32::from_be_bytes(stated) { Ok(()) } else { Err(Error::Checksum) }
}

/// CRC-32C (Castagnoli) bit by bit: a header has some dozens of octets.
fn crc32c(start: u32, octets: &[u8]) -> u32 {
    octets.iter().fold(start, |sum, &octet| {
        (0..8).fold(sum ^ u32::from(octet), |s, _| if s & 1 == 1 { (s >> 1) ^ 0x82F6_3B78 } else { s >> 1 })
    })
}
