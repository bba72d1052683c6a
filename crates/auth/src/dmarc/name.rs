//! Names of domains: as they are compared and looked up, and what lies above them.

use std::borrow::Cow;

use idna::AsciiDenyList;

/// Longest name, in bytes, without the final dot (RFC 1035 section 2.3.4).
pub const LONGEST: usize = 253;

/// Longest label (RFC 1035 section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// A domain as A-labels in lower case without the final dot (RFC 5890 section 2.3.2.1); `None` for what is no domain:
/// an address, an empty label, a character that no host or service name has.
pub fn ascii(domain: &str) -> Option<String> {
    let domain = domain.trim_matches([' ', '\t']);
    // Longer ones cannot become short enough, and mapping costs time.
    if domain.len() > 4 * LONGEST {
        return None;
    }
    let mapped = if domain.is_ascii() && !domain.to_ascii_lowercase().contains("xn--") {
        Cow::from(domain.to_ascii_lowercase())
    } else {
        idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::EMPTY).ok()?
    };
    let name = mapped.strip_suffix('.').unwrap_or(&mapped);
    let sound = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next()?;
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    (name.len() <= LONGEST && !numeric && name.split('.').all(sound)).then(|| name.to_owned())
}

/// The name one label up; `None` for a single label.
pub fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// Whether `name` lies below `above`.
pub fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether the public suffix list names it as a suffix.
pub fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes())
}

/// The domain that, by the public suffix list, somebody registered: one label below the suffix.
pub fn registered(name: &str) -> Option<&str> {
    let domain = psl::domain(name.as_bytes()).filter(|domain| domain.suffix().is_known())?;
    std::str::from_utf8(domain.as_bytes()).ok()
}

/// The names at which a walk up the tree asks, in order: the name itself and all above it, of long ones only the last
/// seven labels (RFC 9989 section 4.10). At most eight.
pub fn walk(name: &str) -> Vec<&str> {
    /// Labels of the first name above one that is long.
    const KEPT: usize = 7;
    let labels = name.split('.').count();
    let mut names = vec![name];
    let mut at = name;
    for left in (1..labels).rev() {
        let Some(up) = parent(at) else { break };
        at = up;
        if left <= KEPT {
            names.push(at);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_they_are_compared() {
        for (written, name) in [
            ("Example.COM.", Some("example.com")),
            ("müller.example", Some("xn--mller-kva.example")),
            ("XN--MLLER-KVA.example", Some("xn--mller-kva.example")),
            ("ｅｘａｍｐｌｅ。com", Some("example.com")),
            ("_dmarc.example.com", Some("_dmarc.example.com")),
            ("localhost", Some("localhost")),
            ("xn--zzzzzzzzzz99.example", None),
            ("legitimate.com'a.attack.example", None),
            ("legitimate.com(a.attack.example", None),
            ("a\0.example", None),
            ("a b.example", None),
            ("a..example", None),
            (".example", None),
            ("", None),
            (".", None),
            ("192.0.2.1", None),
            ("[192.0.2.1]", None),
        ] {
            assert_eq!(ascii(written).as_deref(), name, "{written}");
        }
        assert_eq!(ascii(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(ascii(&vec!["abc"; 64].join(".")), None);
    }

    #[test]
    fn walks_of_the_rfc() {
        let long = "a.b.c.d.e.f.g.h.i.j.mail.example.com";
        let up = [
            long,
            "g.h.i.j.mail.example.com",
            "h.i.j.mail.example.com",
            "i.j.mail.example.com",
            "j.mail.example.com",
            "mail.example.com",
            "example.com",
            "com",
        ];
        assert_eq!(walk(long), up);
        assert_eq!(walk("a.b.c.d.e.f.g.h").len(), 8);
        assert_eq!(walk("a.b.c.d.e.f.g.h.i").len(), 8);
        assert_eq!(walk("a.b.c.d.e.f.g").len(), 7);
        assert_eq!(walk("com"), ["com"]);
    }

    #[test]
    fn suffixes() {
        for (name, suffix, domain) in [
            ("co.uk", true, None),
            ("example.co.uk", false, Some("example.co.uk")),
            ("a.example.co.uk", false, Some("example.co.uk")),
            ("github.io", true, None),
            ("a.b.github.io", false, Some("b.github.io")),
            ("nowhere.invalid", false, None),
        ] {
            assert_eq!(is_public_suffix(name), suffix, "{name}");
            assert_eq!(registered(name), domain, "{name}");
        }
    }
}
