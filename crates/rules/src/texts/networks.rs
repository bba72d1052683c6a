//! Lists of networks, `trusted_networks` and kin.

use std::net::IpAddr;

use super::ip;

/// Networks in the order of the configuration; the first that contains an address decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// IPv4 as IPv4-mapped IPv6.
    address: u128,
    length: u32,
    excluded: bool,
}

impl Networks {
    /// Loopback, with which SpamAssassin's `trusted_networks` and `internal_networks` begin.
    pub fn loopback() -> Networks {
        let mut networks = Networks::default();
        for text in ["127.0.0.0/8", "::1"] {
            // Both are well-formed.
            let _ = networks.add(text);
        }
        networks
    }

    /// Adds `10/8`, `192.0.2.`, `192.0.2.1`, `2001:db8::/32`, with `!` before it what is not in the list. The error says what
    /// is wrong.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong =
            || format!("“{text}” is no network; write 192.0.2.0/24, 192.0.2., 2001:db8::/32 or !192.0.2.1");
        let (excluded, rest) = match text.trim().strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.trim()),
        };
        let (address, length) = match rest.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (rest, None),
        };
        let address =
            address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
        let address = address.split('%').next().unwrap_or(address);
        let numbers = address.strip_suffix('.').unwrap_or(address);
        let is_v4 = numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let (address, own) = if is_v4 {
            let octets: Option<Vec<u8>> = numbers.split('.').map(|number| number.parse().ok()).collect();
            let octets = octets.filter(|octets| octets.len() <= 4).ok_or_else(wrong)?;
            let mut full = [0; 4];
            full[..octets.len()].copy_from_slice(&octets);
            (number(IpAddr::from(full)), 96 + 8 * octets.len() as u32)
        } else {
            (number(address.parse().map_err(|_| wrong())?), 128)
        };
        let length = match length {
            None => own,
            Some(mask) if mask.contains('.') => {
                96 + mask.parse::<std::net::Ipv4Addr>().map_err(|_| wrong())?.to_bits().leading_ones()
            }
            Some(bits) => {
                let bits: u32 = bits.parse().map_err(|_| wrong())?;
                bits.checked_add(if is_v4 { 96 } else { 0 })
                    .filter(|length| *length <= 128)
                    .ok_or_else(wrong)?
            }
        };
        self.networks.push(Network { address, length, excluded });
        Ok(())
    }

    /// Whether an address, as it stands in text, is in the list.
    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        let Some(ip) = ip::parse(text).map(number) else { return false };
        let covers =
            |network: &&Network| network.length == 0 || (network.address ^ ip) >> (128 - network.length) == 0;
        self.networks.iter().find(covers).is_some_and(|network| !network.excluded)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain() {
        let mut networks = Networks::loopback();
        for text in ["!10.0.0.1", "10/8", "192.0.2.", "2001:db8::/32", "198.51.100.0/255.255.255.0"] {
            networks.add(text).unwrap();
        }
        for (ip, contained) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.0.0.1", false),
            ("10.0.0.2", true),
            ("192.0.2.77", true),
            ("192.0.3.1", false),
            ("2001:db8::5", true),
            ("198.51.100.9", true),
            ("::ffff:10.0.0.2", true),
            ("x", false),
        ] {
            assert_eq!(networks.contains(ip.as_bytes()), contained, "{ip}");
        }
        assert!(
            networks.add("x").is_err()
                && networks.add("10/33").is_err()
                && networks.add("1.2.3.4.5").is_err()
        );
    }
}
