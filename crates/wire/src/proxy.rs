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

/// What version 2 says about TLS between client and balancer (PP2_TYPE_SSL).
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `input` octet by octet; what follows the header must be left.
    fn read(input: &[u8]) -> Result<Option<Header>, Error> {
        let mut buf = BytesMut::new();
        for (at, octet) in input.iter().enumerate() {
            buf.extend_from_slice(&[*octet]);
            if let Some(header) = parse(&mut buf)? {
                assert!(buf.is_empty());
                buf.extend_from_slice(&input[at + 1..]);
                assert_eq!(&buf[..], b"EHLO", "after {}", input.escape_ascii());
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn between(source: &str, destination: &str) -> Header {
        Header { source: source.parse().ok(), destination: destination.parse().ok(), ..Header::default() }
    }

    fn v2(version: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[version, family], &length, content, b"EHLO"].concat()
    }

    fn record(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    const TCP4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xd4, 0x31, 0, 25];

    #[test]
    fn version_1() {
        let longest = format!("PROXY UNKNOWN {}\r\nEHLO", "f".repeat(107 - 16));
        for (input, expected) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 54321 25\r\nEHLO",
                Ok(Some(between("192.0.2.1:54321", "198.51.100.1:25"))),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 25\r\nEHLO", Ok(Some(between("[2001:db8::1]:1", "[::1]:25")))),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 25\r\nEHLO", Ok(Some(between("192.0.2.1:0", "[::1]:25")))),
            ("PROXY UNKNOWN\r\nEHLO", Ok(Some(Header::default()))),
            ("PROXY UNKNOWN ffff::1 anything\r\nEHLO", Ok(Some(Header::default()))),
            (longest.as_str(), Ok(Some(Header::default()))),
            ("PROXY TCP4 192.0.2.1", Ok(None)),
            ("PRO", Ok(None)),
            ("", Ok(None)),
            ("EHLO a\r\n", Err(Error::Missing)),
            ("proxy TCP4", Err(Error::Missing)),
            ("PROXY UNKNOWN\n", Err(Error::Malformed)),
            ("PROXY \r\n", Err(Error::Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 54321\r\n", Err(Error::Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 54321 25 x\r\n", Err(Error::Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n", Err(Error::Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n", Err(Error::Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 01 25\r\n", Err(Error::Malformed)),
            ("PROXY TCP4 ::1 ::1 1 25\r\n", Err(Error::Malformed)),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 25\r\n", Err(Error::Malformed)),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 25\r\n", Err(Error::Malformed)),
            ("PROXY TCP4  192.0.2.1 198.51.100.1 1 25\r\n", Err(Error::Malformed)),
        ] {
            assert_eq!(read(input.as_bytes()), expected, "{input:?}");
        }
        assert_eq!(read(format!("PROXY UNKNOWN {}", "f".repeat(200)).as_bytes()), Err(Error::TooLong));
    }

    #[test]
    fn version_2_addresses() {
        let known = || between("192.0.2.1:54321", "198.51.100.1:25");
        let tcp6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 1, 0, 25]].concat();
        let noop = record(0x04, b"abc");
        for (input, expected) in [
            (v2(0x21, 0x11, TCP4), Ok(Some(known()))),
            (v2(0x21, 0x11, &[TCP4, &noop].concat()), Ok(Some(known()))),
            (v2(0x21, 0x21, &tcp6), Ok(Some(between("[2001:db8::1]:1", "[::1]:25")))),
            (v2(0x21, 0x12, TCP4), Ok(Some(Header::default()))),
            (v2(0x21, 0x31, &[0; 216]), Ok(Some(Header::default()))),
            (v2(0x21, 0x00, b""), Ok(Some(Header::default()))),
            (v2(0x20, 0x00, b""), Ok(Some(Header { local: true, ..Header::default() }))),
            (v2(0x20, 0x11, b"junk"), Ok(Some(Header { local: true, ..Header::default() }))),
            (v2(0x21, 0x11, &TCP4[1..]), Err(Error::Malformed)),
            (v2(0x21, 0x44, TCP4), Err(Error::Malformed)),
            (v2(0x21, 0x11, &[TCP4, &noop[1..]].concat()), Err(Error::Malformed)),
            (v2(0x21, 0x11, &[TCP4, &[4]].concat()), Err(Error::Malformed)),
            (v2(0x22, 0x11, TCP4), Err(Error::Version)),
            (v2(0x11, 0x11, TCP4), Err(Error::Version)),
            (v2(0x21, 0x11, &[0; 9000]), Err(Error::TooLong)),
            (b"\r\n\r\n\0\r\nQUIZ".to_vec(), Err(Error::Missing)),
            (v2(0x21, 0x11, TCP4)[..20].to_vec(), Ok(None)),
        ] {
            assert_eq!(read(&input), expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn version_2_tls() {
        let inner =
            [record(0x21, b"TLSv1.3"), record(0x22, b"cn\r\n"), record(0x23, b"AES"), record(0x24, b"x")];
        let tls = |client: u8, verify: u8| {
            record(0x20, &[&[client, 0, 0, 0, verify], &inner.concat()[..]].concat())
        };
        let text = |t: &str| Some(t.to_owned());
        let expected = |client_verified| {
            Some(Tls {
                version: text("TLSv1.3"),
                cipher: text("AES"),
                client_name: text("cn"),
                client_verified,
            })
        };
        for (client, verify, found) in [
            (7, 0, expected(true)),
            (5, 0, expected(true)),
            (3, 1, expected(false)),
            (1, 0, expected(false)),
            (0, 0, None),
        ] {
            let content = [TCP4, &record(0x02, b"mx.example"), &tls(client, verify)].concat();
            let header = read(&v2(0x21, 0x11, &content)).unwrap().unwrap();
            assert_eq!((header.tls, header.authority), (found, text("mx.example")), "{client} {verify}");
        }
        for bad in [record(0x20, &[1, 0, 0, 0]), record(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9])] {
            assert_eq!(read(&v2(0x21, 0x11, &[TCP4, &bad].concat())), Err(Error::Malformed));
        }
    }

    #[test]
    fn version_2_checksum() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        let with = |sum: &[u8]| {
            v2(0x21, 0x11, &[TCP4, &record(0x04, b"ab"), &record(0x03, sum), &record(0x04, b"c")].concat())
        };
        let zeroed = with(&[0; 4]);
        let sum = !crc32c(!0, &zeroed[..zeroed.len() - 4]);
        assert!(read(&with(&sum.to_be_bytes())).is_ok());
        assert_eq!(read(&with(&(sum ^ 1).to_be_bytes())), Err(Error::Checksum));
        assert_eq!(read(&with(b"123")), Err(Error::Malformed));
        let twice = [TCP4, &record(0x03, &[0; 4]), &record(0x03, &[0; 4])].concat();
        assert_eq!(read(&v2(0x21, 0x11, &twice)), Err(Error::Malformed));
    }
}
