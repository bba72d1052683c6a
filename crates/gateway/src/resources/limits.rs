//! Counters of limits in the state store: how their keys are written. A key is text, so that a command can show it.

use std::net::IpAddr;
use std::time::Duration;

/// Time over which unknown recipients of a client are counted.
pub const HARVEST_WINDOW: Duration = Duration::from_secs(3600);

/// Longest part of a key that comes from outside, in bytes: far below [`super::state::LONGEST_KEY`].
const LONGEST: usize = 512;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Messages.
    Messages,
    /// Recipients.
    Recipients,
    /// Bytes.
    Bytes,
}

impl Counted {
    /// All of them.
    pub const ALL: [Counted; 3] = [Counted::Messages, Counted::Recipients, Counted::Bytes];

    /// Its name in keys and texts.
    pub const fn name(self) -> &'static str {
        match self {
            Counted::Messages => "messages",
            Counted::Recipients => "recipients",
            Counted::Bytes => "bytes",
        }
    }
}

/// Key of what one has used up of a rate: `user-1h|messages|alice`.
pub fn rate(rate: &str, counted: Counted, whose: &str) -> String {
    key(rate, counted.name(), whose)
}

/// Key of the fact that the postmaster was told of one.
pub fn told(rate: &str, whose: &str) -> String {
    key(rate, "told", whose)
}

/// Key of unknown recipients of a client net.
pub fn harvest(net: &str) -> String {
    key("harvest", "unknown", net)
}

fn key(first: &str, second: &str, whose: &str) -> String {
    let mut end = whose.len().min(LONGEST);
    while !whose.is_char_boundary(end) {
        end -= 1;
    }
    format!("{first}|{second}|{}", &whose[..end])
}

/// The parts of such a key: rate, what is counted, whose.
pub fn parts(key: &[u8]) -> Option<(&str, &str, &str)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(3, '|');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// The network of a client, with so many bits: `192.0.2.0/24`, and the address alone where the network is only that.
pub fn net(client: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> String {
    let client = client.to_canonical();
    let (bits, all) = if client.is_ipv4() { (ipv4_prefix, 32) } else { (ipv6_prefix, 128) };
    match ipnet::IpNet::new(client, bits) {
        Ok(net) if bits < all => net.trunc().to_string(),
        _ => client.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_parts() {
        let key = rate("user-1h", Counted::Messages, "a|b");
        assert_eq!(key, "user-1h|messages|a|b");
        assert_eq!(parts(key.as_bytes()), Some(("user-1h", "messages", "a|b")));
        assert_eq!(parts(b"x|y"), None);
        assert!(told("r", &"ä".repeat(1000)).len() < 600);
    }

    #[test]
    fn nets() {
        for (client, v4, v6, expected) in [
            ("192.0.2.9", 24, 64, "192.0.2.0/24"),
            ("192.0.2.9", 32, 64, "192.0.2.9"),
            ("::ffff:192.0.2.9", 24, 64, "192.0.2.0/24"),
            ("2001:db8::9", 24, 64, "2001:db8::/64"),
            ("2001:db8::9", 24, 128, "2001:db8::9"),
        ] {
            assert_eq!(net(client.parse().unwrap(), v4, v6), expected);
        }
    }
}
