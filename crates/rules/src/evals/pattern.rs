//! Fixed expressions, and globs of address lists.

use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax::Config;

/// An expression over octets, compiled when it is first used.
pub(super) type Fixed = LazyLock<Option<Regex>>;

/// Compiles one that stands in the source; a test holds that all of them can be.
pub(super) fn fixed(text: &str) -> Option<Regex> {
    Regex::builder().syntax(Config::new().unicode(false).utf8(false)).build(text).ok()
}

/// Whether it matches.
pub(super) fn hits(regex: &Fixed, text: &[u8]) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// The groups of the first match.
pub(super) fn groups<'t>(regex: &Fixed, text: &'t [u8]) -> Option<Vec<Option<&'t [u8]>>> {
    let regex = regex.as_ref()?;
    let mut captures = regex.create_captures();
    regex.captures(text, &mut captures);
    captures.is_match().then(|| captures.iter().map(|span| span.map(|span| &text[span.range()])).collect())
}

/// All matches of the first group.
pub(super) fn all<'t>(regex: &Fixed, text: &'t [u8]) -> Vec<&'t [u8]> {
    let Some(regex) = regex.as_ref() else { return Vec::new() };
    regex.captures_iter(text).filter_map(|found| found.get_group(1).map(|span| &text[span.range()])).collect()
}

/// Whether a text is of a glob: `*` any octets, `?` one. Both in lower case. As lists of addresses have them: some
/// characters stand for `_`.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let same = |pattern: u8, octet: u8| match pattern {
        b'?' => octet != b'\n',
        0 | b'\\' | b'(' => octet == b'_',
        _ => pattern == octet,
    };
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        if pattern.get(place) == Some(&b'*') {
            star = Some((place, at));
            place += 1;
        } else if pattern.get(place).is_some_and(|octet| same(*octet, text[at])) {
            (place, at) = (place + 1, at + 1);
        } else if let Some((back, from)) = star.filter(|(_, from)| text[*from] != b'\n') {
            star = Some((back, from + 1));
            (place, at) = (back + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[place..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*@example.com", "joe@example.com", true),
            ("*@example.com", "joe@example.com.net", false),
            ("*@*.example.com", "joe@a.b.example.com", true),
            ("j?e@example.com", "joe@example.com", true),
            ("joe@example.com", "joe@example.com\n", true),
            ("joe", "joey", false),
            ("*", "", true),
            ("a*b*c", "axxbyyb", false),
            ("a(b", "a_b", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
