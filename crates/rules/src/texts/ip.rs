//! IP addresses in text, as SpamAssassin finds them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::perl::{is_word, starts_with};

/// Where an address that begins there ends. The prefix `IPv6:` belongs to it.
pub(crate) fn end_at(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| text[before]);
    if before.is_none_or(|byte| !is_word(byte) && byte != b':')
        && let Some(end) = dotted(text, at)
        && !text.get(end).is_some_and(|byte| is_word(*byte))
    {
        return Some(end);
    }
    if starts_with(&text[at..], b"IPv6:")
        && let Some(end) = colons(text, at + 5)
    {
        return Some(end);
    }
    if before.is_some_and(is_hex_or_colon) { None } else { colons(text, at) }
}

/// The first address from `from` on.
pub(crate) fn find(text: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    (from..text.len())
        .filter(|at| text[*at].is_ascii_hexdigit() || matches!(text[*at], b':' | b'i' | b'I'))
        .find_map(|at| end_at(text, at).map(|end| at..end))
}

/// Whether it is an address and nothing else.
pub(crate) fn is_ip(text: &[u8]) -> bool {
    !text.is_empty() && end_at(text, 0) == Some(text.len())
}

fn is_hex_or_colon(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':'
}

/// Where four numbers with dots between end.
fn dotted(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    for place in 0..4 {
        if place > 0 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = text[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let number = text[at..at + digits].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        if digits == 0 || digits > 3 || number > 255 || (digits > 1 && text[at] == b'0') {
            return None;
        }
        at += digits;
    }
    Some(at)
}

/// Where an address of IPv6 ends, be it with an IPv4 one at its end or not.
fn colons(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let run = rest.iter().take(64).take_while(|byte| is_hex_or_colon(**byte)).count();
    let run = &rest[..run];
    let last = memchr::memrchr(b':', run)?;
    if let Some(end) = dotted(text, at + last + 1)
        && !text.get(end).is_some_and(|byte| is_hex_or_colon(*byte))
        && groups(&run[..=last], true).is_some_and(|(count, gap)| if gap { count <= 5 } else { count == 6 })
    {
        return Some(end);
    }
    let (count, gap) = groups(run, false)?;
    let fits = if gap { count <= 7 } else { count == 8 };
    fits.then_some(at + run.len())
}

/// How many groups of digits there are, and whether some are left out. `open`: a colon stands at the end.
fn groups(text: &[u8], open: bool) -> Option<(usize, bool)> {
    let gap = memchr::memmem::find(text, b"::");
    let count = |part: &[u8]| {
        if part.is_empty() {
            return Some(0);
        }
        let mut groups = part.split(|byte| *byte == b':');
        groups.try_fold(0, |count, group| (1..=4).contains(&group.len()).then_some(count + 1))
    };
    let closed = |part: &'_ [u8]| -> Option<usize> {
        match (open, part.is_empty()) {
            (true, true) => Some(0),
            (true, false) => count(part.strip_suffix(b":")?),
            (false, _) => count(part),
        }
    };
    match gap {
        Some(at) => Some((count(&text[..at])? + closed(&text[at + 2..])?, true)),
        None => Some((closed(text)?, false)),
    }
}

/// Read; None if it isn't one.
pub(crate) fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = if starts_with(text, b"IPv6:") { &text[5..] } else { text };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether nobody on the Internet has that address: host-local, link-local, private use, shared address space.
pub(crate) fn is_private(text: &[u8]) -> bool {
    match parse(text) {
        Some(IpAddr::V4(ip)) => is_private_v4(ip),
        Some(IpAddr::V6(ip)) => {
            ip == Ipv6Addr::LOCALHOST
                || ip.segments()[0] & 0xffc0 == 0xfe80
                || ip.to_ipv4_mapped().is_some_and(is_private_v4)
        }
        None => false,
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || (first == 100 && second & 0xc0 == 64)
}

/// As names for look-ups have it: octets or nibbles from the end. None if it is no address.
pub(crate) fn reversed(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    Some(match text.parse().ok()? {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}").into_bytes()
        }
        IpAddr::V6(ip) => {
            let nibbles = ip
                .octets()
                .iter()
                .rev()
                .map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4))
                .collect::<Vec<_>>();
            nibbles.join(".").into_bytes()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found() {
        for (text, found) in [
            ("[192.0.2.1]", Some("192.0.2.1")),
            ("x192.0.2.1", None),
            ("1.2.3.4.5", Some("1.2.3.4")),
            ("01.2.3.4", None),
            ("256.2.3.4", None),
            ("[IPv6:2001:db8::1]", Some("IPv6:2001:db8::1")),
            ("::ffff:192.0.2.1 ", Some("::ffff:192.0.2.1")),
            ("a 1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8")),
            ("1:2:3", None),
            ("10:20:30 +0100", None),
            ("::", Some("::")),
            (":::1", None),
            ("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7::")),
        ] {
            let range = find(text.as_bytes(), 0);
            assert_eq!(range.map(|range| &text[range]), found, "{text}");
        }
    }

    #[test]
    fn addresses_are_read() {
        for (text, private) in [
            ("10.1.1.1", true),
            ("100.64.0.1", true),
            ("192.0.2.1", false),
            ("fe80::1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
        ] {
            assert_eq!(is_private(text.as_bytes()), private, "{text}");
        }
        assert_eq!(reversed(b"192.0.2.1").as_deref(), Some(&b"1.2.0.192"[..]));
        assert_eq!(reversed(b"2001:db8::1").map(|text| text.len()), Some(63));
    }
}
