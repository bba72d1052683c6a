//! Host names: which are valid, which part of them somebody registered.

use std::borrow::Cow;
use std::collections::HashSet;

use super::ip;
use super::perl::is_space;

/// What SpamAssassin's `util_rb_tld`, `util_rb_2tld` and `util_rb_3tld` tell; all in lower case and in ASCII.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Top-level domains: `com`.
    pub tlds: HashSet<Vec<u8>>,
    /// Domains of two labels below which others register: `co.uk`.
    pub two_level: HashSet<Vec<u8>>,
    /// The same of three labels.
    pub three_level: HashSet<Vec<u8>>,
}

impl Registry {
    /// Whether that is a top-level domain, in any case.
    pub fn is_tld(&self, label: &[u8]) -> bool {
        const LONGEST: usize = 63;
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..label.len()) else { return false };
        lower.copy_from_slice(label);
        lower.make_ascii_lowercase();
        self.tlds.contains(&*lower)
    }

    /// Whether a name ends in a top-level domain. `host` may be in UTF-8.
    pub fn is_domain_valid(&self, host: &[u8]) -> bool {
        let host = idn_to_ascii(host);
        let label = memchr::memrchr(b'.', &host).map(|dot| &host[dot + 1..]);
        !host.iter().any(|byte| is_space(*byte)) && label.is_some_and(|label| self.is_tld(label))
    }

    /// The part of a name (in ASCII) that somebody registered: `example.co.uk` of `www.example.co.uk`.
    pub fn trim_domain(&self, host: &[u8]) -> Vec<u8> {
        let host = host.to_ascii_lowercase();
        let labels: Vec<&[u8]> = host.split(|byte| *byte == b'.').filter(|label| !label.is_empty()).collect();
        let mut from = 0;
        while labels.len() - from > 1 && !self.is_delegated(&labels[from..]) {
            from += 1;
        }
        labels[from.saturating_sub(1)..].join(&b'.')
    }

    /// Whether others register below these labels.
    fn is_delegated(&self, labels: &[&[u8]]) -> bool {
        let in_us = |state: &[u8]| US_STATES.iter().any(|known| known.as_bytes() == state);
        match labels {
            [_, _] => self.two_level.contains(&labels.join(&b'.')),
            [_, state, b"us"] => in_us(state),
            [_, _, _] => self.three_level.contains(&labels.join(&b'.')),
            [first, second, state, b"us"] => {
                let school = *first == b"pvt" && *second == b"k12";
                (school || *first == b"ci" || *first == b"co") && in_us(state)
            }
            _ => false,
        }
    }

    /// Domain and host of an address; None if it has none that is valid.
    pub fn uri_to_domain(&self, uri: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let uri = uri.to_ascii_lowercase();
        if [&b"javascript:"[..], b"cid:", b"file:"].iter().any(|scheme| uri.starts_with(scheme)) {
            return None;
        }
        let host = match uri.strip_prefix(b"mailto:") {
            Some(address) => {
                let address = &address[..memchr::memchr(b'?', address).unwrap_or(address.len())];
                let mut parts = address.split(|byte| *byte == b'@');
                let (_, host) = (parts.next()?, parts.next()?);
                if parts.next().is_some() {
                    return None;
                }
                host
            }
            None => web_host(&uri),
        };
        if has_needless_escape(host) {
            return None;
        }
        let host = idn_to_ascii(host).into_owned();
        if ip::is_ip(&host) {
            return Some((host.clone(), host));
        }
        let valid = is_fqdn_valid(&host) && self.is_domain_valid(&host);
        valid.then(|| (self.trim_domain(&host), host))
    }
}

/// The host of an address, in lower case.
fn web_host(uri: &[u8]) -> &[u8] {
    let scheme = uri.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let mut rest = uri;
    if scheme > 0 && uri.get(scheme) == Some(&b':') {
        rest = &uri[scheme + 1..];
        let slashes = rest.iter().take(2).take_while(|byte| **byte == b'/').count();
        rest = &rest[slashes..];
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    rest = &rest[..end];
    if let Some(at) = memchr::memrchr(b'@', rest) {
        rest = &rest[at + 1..];
    }
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    rest[..rest.len() - digits].strip_suffix(b":").unwrap_or(rest)
}

/// Whether a character is escaped that need not be.
fn has_needless_escape(host: &[u8]) -> bool {
    memchr::memchr_iter(b'%', host).any(|at| {
        let code = host
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        code.is_some_and(|code| (0x21..=0x7e).contains(&code))
    })
}

/// Whether a name (in ASCII) has two labels at least and all of them are well-formed.
pub fn is_fqdn_valid(host: &[u8]) -> bool {
    let mut host = host;
    while let [rest @ .., b'.'] = host {
        host = rest;
    }
    if host.len() > 253 {
        return false;
    }
    let count = host.split(|byte| *byte == b'.').count();
    count > 1
        && host.split(|byte| *byte == b'.').enumerate().all(|(place, label)| {
            let [first, .., last] = label else { return matches!(label, [only] if only.is_ascii_alphanumeric() || (*only == b'_' && count - place > 2)) };
            let end = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            label.len() <= 63
                && end(first)
                && end(last)
                && label.iter().all(|byte| end(byte) || *byte == b'-')
                && (count - place > 2 || !label.contains(&b'_'))
        })
}

/// A name in ASCII (IDNA 2003). What cannot be converted stays.
pub fn idn_to_ascii(host: &[u8]) -> Cow<'_, [u8]> {
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'[' | b']' | b'-');
    if host.iter().all(plain) {
        return if host.iter().any(u8::is_ascii_uppercase) {
            host.to_ascii_lowercase().into()
        } else {
            host.into()
        };
    }
    let text = match std::str::from_utf8(host) {
        Ok(text) => text.replace(['\u{2024}', '\u{3002}', '\u{ff0e}', '\u{ff61}', '\u{fe52}'], "."),
        Err(_) => {
            let letter = |byte: &u8| {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'.' | b'-' | 0xc0..=0xd6 | 0xd8..=0xde | 0xe0..=0xf6 | 0xf8..=0xfe)
            };
            if !host.iter().all(letter) {
                return host.to_ascii_lowercase().into();
            }
            host.iter().map(|byte| char::from(*byte)).collect()
        }
    };
    // A library in C converts it there: what is behind a NUL does not count.
    let text = text.split('\0').next().unwrap_or_default().to_owned();
    match encoded(&text) {
        Some(encoded) => encoded.into_bytes().into(),
        None => {
            if std::str::from_utf8(host).is_ok() {
                text.into_bytes().into()
            } else {
                host.into()
            }
        }
    }
}

/// Label by label; those in ASCII stay as they are.
fn encoded(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 8);
    let labels = text.split('.').count();
    for (place, label) in text.split('.').enumerate() {
        if place > 0 {
            out.push('.');
        }
        if label.is_empty() && place + 1 == labels {
            break;
        }
        if label.is_ascii() {
            out.push_str(label);
        } else {
            // IDNA 2003 maps these away.
            let mapped = label.replace('ß', "ss").replace('ς', "σ").replace(['\u{200c}', '\u{200d}'], "");
            let deny = idna::AsciiDenyList::EMPTY;
            let encoded = idna::uts46::Uts46::new().to_ascii(
                mapped.as_bytes(),
                deny,
                idna::uts46::Hyphens::Allow,
                idna::uts46::DnsLength::Ignore,
            );
            out.push_str(&encoded.ok()?);
        }
        let last = out.rsplit('.').next().unwrap_or_default();
        if last.is_empty() || last.len() > 63 {
            return None;
        }
    }
    Some(out)
}

/// Whether a host name with a valid top-level domain ends there: `dot` is the dot before it. Gives where it ends.
pub(crate) fn tld_end(registry: &Registry, text: &[u8], dot: usize) -> Option<usize> {
    let rest = &text[dot + 1..];
    let length =
        rest.iter().take(64).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    let end = dot + 1 + length;
    let goes_on = text.get(end) == Some(&b'.') && text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
    (length > 0 && !goes_on && registry.is_tld(&rest[..length])).then_some(end)
}

const US_STATES: [&str; 54] = [
    "ak", "al", "ar", "az", "ca", "co", "ct", "dc", "de", "fl", "ga", "gu", "hi", "ia", "id", "il", "in",
    "ks", "ky", "la", "ma", "md", "me", "mi", "mn", "mo", "ms", "mt", "nc", "nd", "ne", "nh", "nj", "nm",
    "nv", "ny", "oh", "ok", "or", "pa", "pr", "ri", "sc", "sd", "tn", "tx", "ut", "va", "vi", "vt", "wa",
    "wi", "wv", "wy",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let set = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Registry {
            tlds: set(&["com", "uk", "us", "xn--p1ai"]),
            two_level: set(&["co.uk"]),
            three_level: set(&["a.b.com"]),
        }
    }

    #[test]
    fn domains_are_cut() {
        for (host, domain) in [
            ("www.example.com", "example.com"),
            ("www.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("x.y.a.b.com", "y.a.b.com"),
            ("x.city.ca.us", "x.city.ca.us"),
            ("com", "com"),
        ] {
            assert_eq!(registry().trim_domain(host.as_bytes()), domain.as_bytes(), "{host}");
        }
    }

    #[test]
    fn addresses_have_hosts() {
        for (uri, host) in [
            ("http://user:pw@WWW.Example.com:80/x@y", Some("www.example.com")),
            ("mailto:a@b.com?subject=x", Some("b.com")),
            ("mailto:a@b@c.com", None),
            ("http://192.0.2.1/", Some("192.0.2.1")),
            ("http://ex%61mple.com/", None),
            ("javascript:a.com", None),
            ("http://a_b.com/", None),
            ("http://x.invalid/", None),
            ("http://пример.com/", Some("xn--e1afmkfd.com")),
        ] {
            let found =
                registry().uri_to_domain(uri.as_bytes()).map(|(_, host)| String::from_utf8(host).unwrap());
            assert_eq!(found.as_deref(), host, "{uri}");
        }
    }

    #[test]
    fn names_are_validated() {
        for (host, valid) in [
            ("a.b", true),
            ("a", false),
            ("_a.b.c", true),
            ("a._b", false),
            ("a-.b", false),
            ("a..b", false),
            ("a.b.", true),
        ] {
            assert_eq!(is_fqdn_valid(host.as_bytes()), valid, "{host}");
        }
    }
}
