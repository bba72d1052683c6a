//! Paths: the addresses of MAIL and RCPT as typed (RFC 5321 4.1.2, RFC 6531 3.3).

use std::fmt;

use super::forward::parse_address_literal;

/// Longest address taken, in octets: a local part of 64, the `@`, and a domain of 255.
///
/// RFC 5321 4.5.3.1 says 64, 255 and, for the path in brackets, 256, and asks for no limit where that is possible.
/// Senders do go beyond (SRS and VERP make local parts longer than 64), so only the sum is held.
pub const PATH_LIMIT: usize = 320;

/// Longest domain, in octets (RFC 5321 4.5.3.1.2).
const DOMAIN_LIMIT: usize = 255;
/// Longest label of a domain, in octets (RFC 1035 2.3.4).
const LABEL_LIMIT: usize = 63;

/// Why a path is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// No address where one must be.
    Missing,
    /// `<` without `>`, or the reverse, or text between `>` and the next space.
    Brackets,
    /// The source route before the address is malformed.
    Route,
    /// The local part is empty, or holds what needs quoting, or its quotes are wrong.
    LocalPart,
    /// No `@` and domain after the local part.
    NoDomain,
    /// The domain has an empty or too long label, a forbidden character, or is no valid address literal.
    Domain,
    /// Longer than [`PATH_LIMIT`].
    TooLong,
}

impl std::error::Error for PathError {}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathError::Missing => "Address missing",
            PathError::Brackets => "Address must stand in < and >",
            PathError::Route => "Malformed source route",
            PathError::LocalPart => "Malformed local part of address",
            PathError::NoDomain => "Address needs a domain",
            PathError::Domain => "Malformed domain of address",
            PathError::TooLong => "Address too long",
        })
    }
}

/// Checks an address `local@domain` as it may stand in a path, without brackets.
pub fn check_address(address: &str) -> Result<(), PathError> {
    if address.is_empty() { Err(PathError::Missing) } else { check(address, Side::Reverse) }
}

/// Which paths are taken besides `<local@domain>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// MAIL: `<>` as well.
    Reverse,
    /// RCPT: `<postmaster>` as well.
    Forward,
}

/// Takes a path from the front of `text`; gives the address without brackets and route, and the rest after the path.
pub(super) fn take(text: &str, side: Side) -> Result<(&str, &str), PathError> {
    let (inner, rest, bracketed) = match text.strip_prefix('<') {
        Some(after) => {
            let close = closing_bracket(after).ok_or(PathError::Brackets)?;
            (&after[..close], &after[close + 1..], true)
        }
        None => {
            let end = text.find(' ').unwrap_or(text.len());
            (&text[..end], &text[end..], false)
        }
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(PathError::Brackets);
    }
    if inner.is_empty() {
        return if bracketed && side == Side::Reverse { Ok(("", rest)) } else { Err(PathError::Missing) };
    }
    if !bracketed && inner.contains(['"', '>', '<', '\\', ',']) {
        return Err(PathError::Brackets);
    }
    let address = without_route(inner)?;
    check(address, side)?;
    Ok((address, rest))
}

/// Where the `>` is that ends a path: the first one outside quotes.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Removes a source route, `@a,@b:` before the address, which RFC 5321 appendix C says to take and to ignore.
fn without_route(inner: &str) -> Result<&str, PathError> {
    if !inner.starts_with('@') {
        return Ok(inner);
    }
    let mut rest = inner;
    loop {
        rest = rest.strip_prefix('@').ok_or(PathError::Route)?;
        // An address literal holds colons of its own.
        let from = if rest.starts_with('[') { rest.find(']').ok_or(PathError::Route)? } else { 0 };
        let end = from + rest[from..].find([',', ':']).ok_or(PathError::Route)?;
        check_domain(&rest[..end]).map_err(|_| PathError::Route)?;
        let last = rest.as_bytes()[end] == b':';
        rest = &rest[end + 1..];
        if last {
            return if rest.is_empty() { Err(PathError::Missing) } else { Ok(rest) };
        }
    }
}

fn check(address: &str, side: Side) -> Result<(), PathError> {
    if address.len() > PATH_LIMIT {
        return Err(PathError::TooLong);
    }
    let local = if address.starts_with('"') { quoted_end(address)? } else { dot_string_end(address) };
    if local == 0 {
        return Err(PathError::LocalPart);
    }
    match address[local..].strip_prefix('@') {
        Some(domain) => check_domain(domain),
        None if local < address.len() => Err(PathError::LocalPart),
        None if side == Side::Forward && address.eq_ignore_ascii_case("postmaster") => Ok(()),
        None => Err(PathError::NoDomain),
    }
}

/// Length of the quoted local part at the front of `address` (RFC 5321 4.1.2, Quoted-string), quotes included.
fn quoted_end(address: &str) -> Result<usize, PathError> {
    let mut escaped = false;
    for (at, octet) in address.bytes().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(PathError::LocalPart)
}

/// Length of the unquoted local part at the front of `address`.
///
/// Dots may stand anywhere: `a..b@` and `a.@` break the grammar, but large providers gave such addresses to people.
fn dot_string_end(address: &str) -> usize {
    let special = |octet: u8| {
        octet.is_ascii() && !octet.is_ascii_alphanumeric() && !b".!#$%&'*+-/=?^_`{|}~".contains(&octet)
    };
    address.bytes().position(special).unwrap_or(address.len())
}

/// Checks a domain or an address literal. Underscores are taken, and hyphens anywhere: such names are in use.
fn check_domain(domain: &str) -> Result<(), PathError> {
    if domain.starts_with('[') {
        return parse_address_literal(domain).map(|_| ()).ok_or(PathError::Domain);
    }
    let label = |label: &str| {
        (1..=LABEL_LIMIT).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || !b.is_ascii())
    };
    if domain.len() <= DOMAIN_LIMIT && domain.split('.').all(label) { Ok(()) } else { Err(PathError::Domain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_both_ways() {
        for (text, address, rest) in [
            ("<a@example.org>", "a@example.org", ""),
            ("<a@example.org> SIZE=1", "a@example.org", " SIZE=1"),
            ("a@example.org SIZE=1", "a@example.org", " SIZE=1"),
            ("<@a.example,@b.example:c@d.example>", "c@d.example", ""),
            ("<@[IPv6:::1]:c@d.example>", "c@d.example", ""),
            ("<\"a b\"@x.example>", "\"a b\"@x.example", ""),
            ("<\"a@b\"@x.example>", "\"a@b\"@x.example", ""),
            ("<\"a>\\\"b\"@x.example> X", "\"a>\\\"b\"@x.example", " X"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
            ("<a..b.@docomo.example>", "a..b.@docomo.example", ""),
            ("<SRS0=x=y=z.example=u+t@f.example>", "SRS0=x=y=z.example=u+t@f.example", ""),
            ("<a%b!c@d_e.example>", "a%b!c@d_e.example", ""),
            ("<jürgen@müller.example>", "jürgen@müller.example", ""),
            ("<a@localhost>", "a@localhost", ""),
        ] {
            assert_eq!(take(text, Side::Reverse), Ok((address, rest)), "{text}");
            assert_eq!(take(text, Side::Forward), Ok((address, rest)), "{text}");
        }
    }

    #[test]
    fn refused_both_ways() {
        for (text, error) in [
            ("", PathError::Missing),
            ("<a@example.org", PathError::Brackets),
            ("a@example.org>", PathError::Brackets),
            ("<a@example.org>SIZE=1", PathError::Brackets),
            ("<\"a>@example.org", PathError::Brackets),
            ("\"a b\"@example.org", PathError::Brackets),
            ("<<a@example.org>>", PathError::Brackets),
            ("<@a.example:>", PathError::Missing),
            ("<@a.example>", PathError::Route),
            ("<@a.example,b.example:c@d.example>", PathError::Route),
            ("<@:c@d.example>", PathError::Route),
            ("<a>", PathError::NoDomain),
            ("<\"a\">", PathError::NoDomain),
            ("<a b@c.example>", PathError::LocalPart),
            ("<a@b@c.example>", PathError::Domain),
            ("<\"a\"b@c.example>", PathError::LocalPart),
            ("<a\"b\"@c.example>", PathError::LocalPart),
            ("<a(c)@d.example>", PathError::LocalPart),
            ("<a\\@b@c.example>", PathError::LocalPart),
            ("<a@>", PathError::Domain),
            ("<a@b..c>", PathError::Domain),
            ("<a@.b>", PathError::Domain),
            ("<a@b.>", PathError::Domain),
            ("<a@b c>", PathError::Domain),
            ("<a@[192.0.2.300]>", PathError::Domain),
            ("<a@[x]>", PathError::Domain),
            ("< a@b.example>", PathError::LocalPart),
        ] {
            assert_eq!(take(text, Side::Reverse), Err(error), "{text}");
            assert_eq!(take(text, Side::Forward), Err(error), "{text}");
        }
    }

    #[test]
    fn sides_differ() {
        assert_eq!(take("<>", Side::Reverse), Ok(("", "")));
        assert_eq!(take("<> SIZE=1", Side::Reverse), Ok(("", " SIZE=1")));
        assert_eq!(take("<>", Side::Forward), Err(PathError::Missing));
        assert_eq!(take("<Postmaster>", Side::Forward), Ok(("Postmaster", "")));
        assert_eq!(take("postmaster", Side::Forward), Ok(("postmaster", "")));
        assert_eq!(take("<postmaster>", Side::Reverse), Err(PathError::NoDomain));
    }

    #[test]
    fn lengths() {
        let domain = |length: usize| {
            let mut domain = "abcdefghi.".repeat(length / 10 + 1);
            domain.truncate(length);
            domain
        };
        let long = format!("<{}@{}>", "l".repeat(64), domain(255));
        assert!(take(&long, Side::Reverse).is_ok());
        let over = format!("<{}@{}>", "l".repeat(65), domain(255));
        assert_eq!(take(&over, Side::Reverse), Err(PathError::TooLong));
        let local = format!("<{}@example.org>", "l".repeat(200));
        assert!(take(&local, Side::Reverse).is_ok());
        assert_eq!(take(&format!("<a@{}>", domain(257)), Side::Reverse), Err(PathError::Domain));
        assert_eq!(take(&format!("<a@{}>", "x".repeat(64)), Side::Reverse), Err(PathError::Domain));
    }
}
