//! Addresses of mail in text, as HashBL finds them.

use std::ops::Range;

use crate::texts::{Registry, tld_end};

/// The longest part before the `@`.
const LONGEST_LOCAL: usize = 64;
/// The longest label of a host.
const LONGEST_LABEL: usize = 61;
/// The most labels before the top-level domain.
const MOST_LABELS: usize = 4;
/// Words behind which a colon does not mean that somebody is quoted.
const PHONES: [&[u8]; 7] = [b"fax", b"facsi", b"tel", b"phone", b"email", b"e-mail", b"mail"];
/// The most addresses that are found in one text.
const MOST: usize = 10_000;

/// All addresses that end in a top-level domain.
pub(super) fn find(registry: &Registry, text: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in memchr::memchr_iter(b'@', text) {
        let from = found.last().map_or(0, |last| last.end);
        if at < from || found.len() >= MOST {
            continue;
        }
        if let Some(start) = local_start(text, from, at)
            && let Some(end) = host_end(registry, text, at + 1)
        {
            found.push(start..end);
        }
    }
    found
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// Where the part before the `@` begins: as far before as it can.
fn local_start(text: &[u8], from: usize, at: usize) -> Option<usize> {
    let (mut best, mut end) = (None, at);
    loop {
        let length = text[from..end].iter().rev().take_while(|byte| is_atom(**byte)).count();
        let start = end - length;
        if length == 0 || at - start > LONGEST_LOCAL {
            return best;
        }
        // What was found before may end in the midst of a word.
        if start > from || from == 0 || !is_atom(text[from - 1]) {
            best = Some(start);
        }
        match start.checked_sub(1).filter(|dot| *dot >= from && text[*dot] == b'.') {
            Some(dot) => end = dot,
            None => return best,
        }
    }
}

/// Where the host ends.
fn host_end(registry: &Registry, text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    for _ in 0..MOST_LABELS {
        let label =
            text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        let dot = at + label;
        let ends = label > 0 && text[at] != b'-' && text[dot - 1] != b'-';
        if !ends || label > LONGEST_LABEL || text.get(dot) != Some(&b'.') {
            return None;
        }
        if let Some(end) = tld_end(registry, text, dot) {
            return Some(end);
        }
        at = dot + 1;
    }
    None
}

/// Whether an address stands where somebody is quoted: `<…>`, or `… wrote:` behind it.
pub(super) fn is_quoted(text: &[u8], found: &Range<usize>) -> bool {
    let before = &text[..found.start];
    if before.ends_with(b"mailto:") {
        return false;
    }
    let behind = &text[found.end..];
    if behind.first() == Some(&b'>') {
        return true;
    }
    let blank = behind.iter().take(11).take_while(|byte| byte.is_ascii_whitespace()).count();
    (1..=blank.min(10)).any(|blank| {
        let rest = &behind[blank..];
        let word = rest.iter().take(12).take_while(|byte| byte.is_ascii_alphabetic()).count();
        let phone = PHONES
            .iter()
            .any(|phone| rest.get(..phone.len()).is_some_and(|it| it.eq_ignore_ascii_case(phone)));
        !phone && (2..=11).contains(&word) && rest.get(word) == Some(&b':')
    })
}

/// Whether nobody asks about such addresses: those of roles, and those that programs make.
pub(super) fn is_common(address: &[u8]) -> bool {
    const ROLES: [&[u8]; 10] = [
        b"abuse",
        b"support",
        b"sales",
        b"info",
        b"helpdesk",
        b"contact",
        b"kontakt",
        b"postmaster",
        b"hostmaster",
        b"domainmaster",
    ];
    let address = address.to_ascii_lowercase();
    let hex = |text: &[u8], length: usize| text.len() == length && text.iter().all(u8::is_ascii_hexdigit);
    // A quoted part may have more than one.
    memchr::memchr_iter(b'@', &address).any(|at| {
        let local = &address[..at];
        let groups: Vec<&[u8]> = local.split(|byte| *byte == b'-').collect();
        let halves: Vec<&[u8]> = local.split(|byte| *byte == b'.').collect();
        let signs: Vec<usize> = memchr::memchr_iter(b'=', local).collect();
        let forwarded = signs.len() >= 2
            && signs.iter().any(|one| {
                *one > 0 && signs.iter().any(|other| *other > one + 1 && *other + 1 < local.len())
            });
        ROLES.contains(&local)
            || local.starts_with(b"undisclosed")
            || local.strip_prefix(b"request-").is_some_and(|rest| hex(rest, 16))
            || local == b"bounce-"
            || local == b"bounced-"
            || matches!(halves.as_slice(), [one, other] if hex(one, 8) && hex(other, 8))
            || matches!(groups.as_slice(), [a, b, c, d, e]
                if hex(a, 8) && hex(b, 4) && hex(c, 4) && hex(d, 4) && hex(e, 12))
            || forwarded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry { tlds: [b"com".to_vec(), b"uk".to_vec()].into(), ..Registry::default() }
    }

    #[test]
    fn addresses_are_found() {
        let long = format!("{}@a.com", "x".repeat(65));
        let dotted = format!("{}.{}@a.com", "x".repeat(60), "y".repeat(10));
        let short = format!("{}@a.com", "y".repeat(10));
        for (text, found) in [
            ("<Joe.User@Example.com>", &["Joe.User@Example.com"][..]),
            ("a@b.com,c@d.co.uk.", &["a@b.com", "c@d.co.uk"]),
            ("a..b@c.com .x@c.com", &["b@c.com", "x@c.com"]),
            ("a@b.invalid a@com @b.com", &[]),
            ("a@b.comx a@b.com.x a@b.com-x", &[]),
            ("a@b.com.", &["a@b.com"]),
            ("a@-b.com a@b-.com", &[]),
            ("a@1.2.3.4.com a@1.2.3.4.5.com", &["a@1.2.3.4.com"]),
            ("a@b.com@c.com", &["a@b.com"]),
            (&long, &[]),
            (&dotted, &[&short]),
        ] {
            let ranges = find(&registry(), text.as_bytes());
            let texts: Vec<&str> = ranges.into_iter().map(|range| &text[range]).collect();
            assert_eq!(texts, found, "{text}");
        }
    }

    #[test]
    fn quotes_and_roles() {
        for (text, quoted) in [
            ("<a@b.com>", true),
            ("a@b.com  wrote:", true),
            ("a@b.com Fax: 1", false),
            ("a@b.com e-mail: x", false),
            ("<mailto:a@b.com>", false),
            ("a@b.com, x", false),
        ] {
            let found = find(&registry(), text.as_bytes());
            assert_eq!(is_quoted(text.as_bytes(), &found[0]), quoted, "{text}");
        }
        for (address, common) in [
            ("Info@b.com", true),
            ("information@b.com", false),
            ("undisclosed-recipients@b.com", true),
            ("bounce-@b.com", true),
            ("bounce-1@b.com", false),
            ("a=b=c@b.com", true),
            ("a=b@b.com", false),
            ("01234567.89abcdef@b.com", true),
        ] {
            assert_eq!(is_common(address.as_bytes()), common, "{address}");
        }
    }
}
