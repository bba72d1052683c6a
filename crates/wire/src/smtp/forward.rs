//! What one mail server tells the next about the client: XFORWARD, XCLIENT, and the ways an IP address is written.
//!
//! XFORWARD and XCLIENT are Postfix's extensions (its documents XFORWARD_README and XCLIENT_README); values are xtext,
//! and `[UNAVAILABLE]` stands for what is not known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::xtext::xtext_encode;

/// Octets of a command line, CRLF included, that every server must take (RFC 5321 4.5.3.1.4).
const COMMAND_LIMIT: usize = 512;

/// One XFORWARD command with all of `attributes`, without CRLF; a value of `None` becomes `[UNAVAILABLE]`.
///
/// ```
/// use gatepost_wire::smtp::xforward_command;
/// let line = xforward_command(&[("NAME", None), ("ADDR", Some("192.0.2.1")), ("HELO", Some("a=b"))]);
/// assert_eq!(line, "XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 HELO=a+3Db");
/// ```
pub fn xforward_command(attributes: &[(&str, Option<&str>)]) -> String {
    command("XFORWARD", attributes)
}

/// One XCLIENT command with all of `attributes`, without CRLF; as [`xforward_command`].
pub fn xclient_command(attributes: &[(&str, Option<&str>)]) -> String {
    command("XCLIENT", attributes)
}

/// The XFORWARD commands that carry those of `attributes` which the server `offered`, each within 512 octets.
///
/// Empty when the server offered none of them. Each command must be answered before MAIL, and each counts alone.
pub fn xforward_commands(offered: &[String], attributes: &[(&str, Option<&str>)]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for (name, value) in attributes {
        if !offered.iter().any(|o| o.eq_ignore_ascii_case(name)) {
            continue;
        }
        let text = attribute(name, *value);
        match commands.last_mut() {
            Some(last) if last.len() + text.len() + 2 <= COMMAND_LIMIT => last.push_str(&text),
            _ => commands.push(format!("XFORWARD{text}")),
        }
    }
    commands
}

/// An address in a HELO name or a mailbox: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
pub fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// The address in an address literal with its brackets; `None` when it is not one.
pub fn parse_address_literal(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match strip_ipv6_tag(inner) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// An address as the value of ADDR in XFORWARD and XCLIENT: `192.0.2.1`, `IPV6:2001:db8::1`.
pub fn xforward_addr(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("IPV6:{v6}"),
    }
}

/// Reads the value of ADDR in XFORWARD and XCLIENT. IPv6 without its tag is taken too: some proxies send it.
pub fn parse_xforward_addr(text: &str) -> Option<IpAddr> {
    let address = match strip_ipv6_tag(text) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<IpAddr>().ok(),
    };
    address.map(|a| a.to_canonical())
}

fn strip_ipv6_tag(text: &str) -> Option<&str> {
    let (tag, rest) = text.split_at_checked(5)?;
    tag.eq_ignore_ascii_case("IPv6:").then_some(rest)
}

fn command(verb: &str, attributes: &[(&str, Option<&str>)]) -> String {
    attributes.iter().fold(verb.to_owned(), |line, (name, value)| line + &attribute(name, *value))
}

fn attribute(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) if !value.is_empty() => format!(" {name}={}", xtext_encode(value)),
        _ => format!(" {name}=[UNAVAILABLE]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for (literal, forward, address) in [
            ("[192.0.2.1]", "192.0.2.1", "192.0.2.1"),
            ("[IPv6:2001:db8::1]", "IPV6:2001:db8::1", "2001:db8::1"),
            ("[192.0.2.7]", "192.0.2.7", "::ffff:192.0.2.7"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(address_literal(address), literal);
            assert_eq!(xforward_addr(address), forward);
            assert_eq!(parse_address_literal(literal), Some(address.to_canonical()));
            assert_eq!(parse_xforward_addr(forward), Some(address.to_canonical()));
        }
        assert_eq!(parse_address_literal("[ipv6:::1]"), "::1".parse().ok());
        assert_eq!(parse_xforward_addr("2001:db8::1"), "2001:db8::1".parse().ok());
        for bad in [
            "",
            "[]",
            "192.0.2.1",
            "[192.0.2.1",
            "[192.0.2.256]",
            "[2001:db8::1]",
            "[IPv6:1.2.3.4]",
            "[IPv6:]",
        ] {
            assert_eq!(parse_address_literal(bad), None, "{bad}");
        }
    }

    #[test]
    fn xforward_sends_what_is_offered_within_the_line_limit() {
        let long = "é".repeat(70);
        let attributes =
            [("NAME", Some(long.as_str())), ("HELO", Some("")), ("IDENT", Some("x")), ("PROTO", None)];
        let offered = ["name", "HELO", "PROTO"].map(String::from);
        let commands = xforward_commands(&offered, &attributes);
        assert_eq!(commands.len(), 1);
        assert!(commands[0].ends_with(" HELO=[UNAVAILABLE] PROTO=[UNAVAILABLE]"), "{commands:?}");

        let long = "é".repeat(80);
        let attributes = [("NAME", Some(long.as_str())), ("HELO", Some("")), ("PROTO", Some("ESMTP"))];
        let commands = xforward_commands(&offered, &attributes);
        assert_eq!(commands[1], "XFORWARD HELO=[UNAVAILABLE] PROTO=ESMTP");
        assert!(commands.iter().all(|c| c.len() + 2 <= 512));
        assert_eq!(xforward_commands(&[], &attributes), Vec::<String>::new());
    }
}
