//! What p0f knows of a client's operating system: p0f 3's API (its README, section 4), and the lines of amavis's
//! p0f-analyzer. The client's side of both.
//!
//! Both texts have one form, that of p0f-analyzer: the system's name, then `name: value` parted by semicolons.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Octets of a response of p0f's API.
pub const RESPONSE: usize = 232;

/// Longest text kept of an answer of p0f-analyzer, in octets.
pub const TEXT_LIMIT: usize = 500;

const QUERY_MAGIC: u32 = 0x5030_4601;
const RESPONSE_MAGIC: u32 = 0x5030_4602;

/// A query of p0f's API, in this machine's order of octets: p0f runs on it.
pub fn query(client: IpAddr) -> [u8; 21] {
    let mut query = [0; 21];
    query[..4].copy_from_slice(&QUERY_MAGIC.to_ne_bytes());
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            query[4] = 4;
            query[5..9].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            query[4] = 6;
            query[5..].copy_from_slice(&v6.octets());
        }
    }
    query
}

/// What p0f knows of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The system, `Linux`; empty when none matched.
    pub system: String,
    /// Its version, `3.11 and newer`; may be empty.
    pub flavor: String,
    /// The TTL or the DF flag differs from the signature.
    pub fuzzy: bool,
    /// A signature of the last resort matched.
    pub generic: bool,
    /// Hops to it; `None` when unknown.
    pub distance: Option<u16>,
    /// How it is connected, `Ethernet or modem`; may be empty.
    pub link: String,
    /// Minutes since it was started; 0 when unknown.
    pub uptime: u32,
    /// After so many days its clock begins anew.
    pub uptime_modulo: u32,
    /// Several systems were seen behind the address, or another than before.
    pub changing: bool,
}

/// Why a response cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// It does not begin as one of p0f 3.
    Magic(u32),
    /// p0f says that the query was bad, or something unknown.
    Status(u32),
}

impl std::fmt::Display for ResponseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ResponseError::Magic(magic) => {
                write!(f, "a response that begins with {magic:#010x} is none of p0f 3")
            }
            ResponseError::Status(0) => f.write_str("p0f says that the query was bad"),
            ResponseError::Status(status) => write!(f, "p0f answers with the unknown status {status:#x}"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// Reads a response of p0f's API. `None`: it has not seen the host.
pub fn response(octets: &[u8; RESPONSE]) -> Result<Option<Host>, ResponseError> {
    let long = |at: usize| octets[at..].first_chunk().map_or(0, |four| u32::from_ne_bytes(*four));
    match (long(0), long(4)) {
        (RESPONSE_MAGIC, 0x10) => {}
        (RESPONSE_MAGIC, 0x20) => return Ok(None),
        (RESPONSE_MAGIC, status) => return Err(ResponseError::Status(status)),
        (magic, _) => return Err(ResponseError::Magic(magic)),
    }
    let distance = i16::from_ne_bytes([octets[36], octets[37]]);
    Ok(Some(Host {
        uptime: long(20),
        uptime_modulo: long(24),
        changing: long(28) != 0 || long(32) != 0,
        distance: u16::try_from(distance).ok(),
        fuzzy: octets[39] & 1 != 0,
        generic: octets[39] & 2 != 0,
        system: string(&octets[40..72]),
        flavor: string(&octets[72..104]),
        link: string(&octets[168..200]),
    }))
}

impl Host {
    /// `Linux 3.11 and newer; dist: 7; link: Ethernet or modem; params: none`, as p0f-analyzer has it from p0f's log;
    /// `UNKNOWN` for a system that p0f does not know.
    pub fn text(&self) -> String {
        let mut text = match (self.system.as_str(), self.flavor.as_str()) {
            ("", _) => "UNKNOWN".to_owned(),
            (system, "") => system.to_owned(),
            (system, flavor) => format!("{system} {flavor}"),
        };
        if let Some(distance) = self.distance {
            _ = write!(text, "; dist: {distance}");
        }
        if !self.link.is_empty() {
            _ = write!(text, "; link: {}", self.link);
        }
        let params = [(self.generic, "generic"), (self.fuzzy, "fuzzy"), (self.changing, "changing")];
        let params: Vec<&str> = params.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        _ = write!(
            text,
            "; params: {}",
            if params.is_empty() { "none".to_owned() } else { params.join(" ") }
        );
        if self.uptime > 0 {
            let (days, hours, minutes) = (self.uptime / 1440, self.uptime / 60 % 24, self.uptime % 60);
            _ = write!(
                text,
                "; uptime: {days} days {hours} hrs {minutes} min (modulo {} days)",
                self.uptime_modulo
            );
        }
        text
    }
}

/// A query to p0f-analyzer about a client's connection. `nonce` comes back in the answer: a few letters and digits. The
/// analyzer reads 64 octets, so it is at most 14 long.
pub fn question(client: IpAddr, port: u16, nonce: &str) -> String {
    format!("{} {nonce}", subject(client, port))
}

/// What a query and its answer begin with: `[192.0.2.1]:34567`.
pub fn subject(client: IpAddr, port: u16) -> String {
    match port {
        0 => format!("[{}]", client.to_canonical()),
        port => format!("[{}]:{port}", client.to_canonical()),
    }
}

/// Reads an answer of p0f-analyzer. `None`: it is not the answer to this query. Empty: the analyzer has not seen the
/// connection. `???`, which p0f 3 writes for a system that it does not know, becomes `UNKNOWN` as in p0f 2.
pub fn analysis(answer: &[u8], subject: &str, nonce: &str) -> Option<String> {
    let answer = answer.strip_suffix(b"\n").unwrap_or(answer);
    let answer = String::from_utf8_lossy(answer.strip_suffix(b"\r").unwrap_or(answer));
    let text = answer.strip_prefix(subject)?.strip_prefix(' ')?.strip_prefix(nonce)?.strip_prefix(' ')?;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text[..text.floor_char_boundary(TEXT_LIMIT)].trim();
    Some(match text.strip_prefix("???") {
        Some(rest) => format!("UNKNOWN{rest}"),
        None => text.to_owned(),
    })
}

/// A text that ends at a NUL or with its field.
fn string(field: &[u8]) -> String {
    let end = field.iter().position(|octet| *octet == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(&field[..end]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response with these octets at these places.
    fn octets(status: u32, put: &[(usize, &[u8])]) -> [u8; RESPONSE] {
        let mut octets = [0; RESPONSE];
        octets[..4].copy_from_slice(&RESPONSE_MAGIC.to_ne_bytes());
        octets[4..8].copy_from_slice(&status.to_ne_bytes());
        for (at, more) in put {
            octets[*at..at + more.len()].copy_from_slice(more);
        }
        octets
    }

    #[test]
    fn queries() {
        let magic = QUERY_MAGIC.to_ne_bytes();
        for (client, kind, address) in [
            ("192.0.2.9", 4, &[192, 0, 2, 9][..]),
            ("::ffff:192.0.2.9", 4, &[192, 0, 2, 9]),
            ("2001:db8::9", 6, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ] {
            let mut expected = [&magic[..], &[kind], address].concat();
            expected.resize(21, 0);
            assert_eq!(query(client.parse().unwrap())[..], expected[..], "{client}");
        }
    }

    #[test]
    fn responses() {
        let unknown_distance = (-1_i16).to_ne_bytes();
        let near = 7_i16.to_ne_bytes();
        let minutes = 3000_u32.to_ne_bytes();
        let days = 49_u32.to_ne_bytes();
        for (put, expected) in [
            (
                &[(36, &near[..]), (40, b"Linux"), (72, b"3.11 and newer"), (168, b"Ethernet or modem")][..],
                "Linux 3.11 and newer; dist: 7; link: Ethernet or modem; params: none",
            ),
            (&[(36, &unknown_distance[..])], "UNKNOWN; params: none"),
            (&[(40, b"Windows"), (72, b"XP"), (39, &[3])], "Windows XP; dist: 0; params: generic fuzzy"),
            (
                &[(40, b"FreeBSD"), (20, &minutes), (24, &days), (32, &[1])],
                "FreeBSD; dist: 0; params: changing; uptime: 2 days 2 hrs 0 min (modulo 49 days)",
            ),
            (
                &[(40, b"a\r\nb"), (72, &[0xff; 32])],
                &format!("a  b {}; dist: 0; params: none", "\u{fffd}".repeat(32)),
            ),
        ] {
            let host = response(&octets(0x10, put)).unwrap().unwrap();
            assert_eq!(host.text(), *expected);
        }
        assert_eq!(response(&octets(0x20, &[])), Ok(None));
        assert_eq!(response(&octets(0, &[])), Err(ResponseError::Status(0)));
        assert_eq!(response(&octets(0x30, &[])), Err(ResponseError::Status(0x30)));
        assert_eq!(response(&[0; RESPONSE]), Err(ResponseError::Magic(0)));
    }

    #[test]
    fn analyses() {
        let client = "192.0.2.9".parse().unwrap();
        assert_eq!(question(client, 4711, "n1"), "[192.0.2.9]:4711 n1");
        assert_eq!(question("2001:db8::9".parse().unwrap(), 0, "n1"), "[2001:db8::9] n1");
        let longest =
            question("1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(), 65535, "12345678901234");
        assert!(longest.len() <= 64);
        for (answer, expected) in [
            ("[192.0.2.9]:4711 n1 Windows XP; dist: 3\r\n", Some("Windows XP; dist: 3")),
            ("[192.0.2.9]:4711 n1 ???; dist: 3\r\n", Some("UNKNOWN; dist: 3")),
            ("[192.0.2.9]:4711 n1 \r\n", Some("")),
            ("[192.0.2.9]:4711 n1 a\r\nb\r\n", Some("a  b")),
            ("[192.0.2.9]:4711 n2 Windows XP\r\n", None),
            ("[192.0.2.9]:471 n1 Windows XP\r\n", None),
            ("[192.0.2.9]:4711 n1", None),
            ("", None),
        ] {
            let read = analysis(answer.as_bytes(), &subject(client, 4711), "n1");
            assert_eq!(read.as_deref(), expected, "{answer:?}");
        }
    }
}
