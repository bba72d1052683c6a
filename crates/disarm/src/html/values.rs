//! What values of attributes mean: entities decoded, addresses told apart.

/// A value with its entities decoded. Those that stand for ASCII characters are known, and those that hide between
/// letters; others stay as they are.
pub(super) fn decoded(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    if !text.contains('&') {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match entity(rest) {
            Some((c, length)) => {
                out.push(c);
                rest = &rest[length..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

/// Entities by name, with what they stand for.
const NAMED: &[(&str, char)] = &[
    ("AMP", '&'),
    ("GT", '>'),
    ("LT", '<'),
    ("NewLine", '\n'),
    ("QUOT", '"'),
    ("Tab", '\t'),
    ("amp", '&'),
    ("apos", '\''),
    ("ast", '*'),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("equals", '='),
    ("excl", '!'),
    ("grave", '`'),
    ("gt", '>'),
    ("hyphen", '\u{2010}'),
    ("lbrace", '{'),
    ("lbrack", '['),
    ("lcub", '{'),
    ("lowbar", '_'),
    ("lpar", '('),
    ("lsqb", '['),
    ("lt", '<'),
    ("nbsp", '\u{a0}'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quest", '?'),
    ("quot", '"'),
    ("rbrace", '}'),
    ("rbrack", ']'),
    ("rcub", '}'),
    ("rpar", ')'),
    ("rsqb", ']'),
    ("semi", ';'),
    ("shy", '\u{ad}'),
    ("sol", '/'),
    ("verbar", '|'),
    ("vert", '|'),
];

/// Names that count without a semicolon too.
const BARE: &[&str] = &["AMP", "GT", "LT", "QUOT", "amp", "gt", "lt", "nbsp", "quot", "shy"];

/// The character that an entity stands for, and its length behind the `&`.
fn entity(rest: &str) -> Option<(char, usize)> {
    let bytes = rest.as_bytes();
    if bytes.first() == Some(&b'#') {
        let hex = matches!(bytes.get(1), Some(b'x' | b'X'));
        let start = 1 + usize::from(hex);
        let digits = &rest[start..];
        let radix = if hex { 16 } else { 10 };
        let length = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
        if length == 0 {
            return None;
        }
        // Zeros may stand before it in any number; more digits than any code has mean none.
        let trimmed = digits[..length].trim_start_matches('0');
        let code = if trimmed.is_empty() { Some(0) } else { u32::from_str_radix(trimmed, radix).ok() };
        let c = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        let end = start + length;
        return Some((c, end + usize::from(bytes.get(end) == Some(&b';'))));
    }
    let length = bytes.iter().take(10).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let name = &rest[..length];
    if bytes.get(length) == Some(&b';')
        && let Some((_, c)) = NAMED.iter().find(|(known, _)| *known == name)
    {
        return Some((*c, length + 1));
    }
    let bare = BARE.iter().find(|known| rest.starts_with(**known))?;
    let (_, c) = NAMED.iter().find(|(known, _)| known == bare)?;
    Some((*c, bare.len()))
}

/// An address as readers take it: without control characters and without space around it.
pub(super) fn address(value: &str) -> String {
    let kept = value.chars().filter(|c| !c.is_control());
    kept.collect::<String>().trim().to_owned()
}

/// Whether an address, as [`address`] gives it, leads into a script or into a page that may hold one.
pub(super) fn is_script(address: &str) -> bool {
    const WRAPPERS: &[&str] = &["feed:", "pcast:", "view-source:", "jar:", "wyciwyg:", "url:"];
    const SCRIPTS: &[&str] = &["javascript:", "vbscript:", "vbs:", "livescript:", "mocha:", "jscript:"];
    const PAGES: &[&str] =
        &["html", "xml", "xsl", "svg", "javascript", "ecmascript", "jscript", "livescript"];
    let lower = compact(address);
    let mut rest = &lower[..];
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) {
        rest = inner;
    }
    if SCRIPTS.iter().any(|script| rest.starts_with(script)) {
        return true;
    }
    rest.strip_prefix("data:").is_some_and(|data| {
        let kind = &data[..data.find(',').unwrap_or(data.len())];
        PAGES.iter().any(|page| kind.contains(page))
    })
}

/// Whether some address in a list of them leads into a script.
pub(super) fn names_script(value: &str) -> bool {
    value.split([';', ',', ' ', '=', '\'', '"']).any(|one| is_script(&address(one)))
}

/// As far as schemes go, in lower case and without any space: none stands in a scheme.
fn compact(address: &str) -> String {
    const ENOUGH: usize = 256;
    let kept =
        address.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\u{ad}' | '\u{feff}' | '\u{200b}'));
    kept.take(ENOUGH).collect::<String>().to_ascii_lowercase()
}

/// Whether what is at that address is fetched from elsewhere. `based`: the page says where relative ones lead.
pub(super) fn is_remote(value: &str, based: bool) -> bool {
    const WITHIN: &[&str] =
        &["cid", "mid", "data", "about", "javascript", "vbscript", "mailto", "tel", "sms", "blob", "urn"];
    let plain = compact(&address(value)).replace('\\', "/");
    if plain.is_empty() || plain.starts_with('#') {
        return false;
    }
    if plain.starts_with("//") {
        return true;
    }
    match scheme(&plain) {
        Some(scheme) => scheme.len() > 1 && !WITHIN.contains(&scheme),
        None => based,
    }
}

/// Whether something that may be an address, or anything else, is fetched from elsewhere if it is one.
pub(super) fn looks_remote(value: &str) -> bool {
    const FETCHED: &[&str] =
        &["http", "https", "ftp", "file", "ws", "wss", "smb", "mhtml", "its", "ms-its", "mk", "jar", "feed"];
    let plain = compact(&address(value)).replace('\\', "/");
    plain.starts_with("//") || scheme(&plain).is_some_and(|scheme| FETCHED.contains(&scheme))
}

/// The scheme of an address in lower case (RFC 3986 section 3.1).
fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    (first && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
        .then_some(scheme)
}

/// Whether a list of pictures (`srcset`) has one from elsewhere.
pub(super) fn has_remote(list: &str, based: bool) -> bool {
    list.split([',', ' ', '\t', '\n', '\r', '\u{c}']).any(|one| {
        // The width or density of a picture stands behind its address.
        let measure =
            one.len() < 12 && one.ends_with(['w', 'x', 'h']) && one.starts_with(|c: char| c.is_ascii_digit());
        is_remote(one, based && !measure)
    })
}

/// An address for people, as text of a page: not to be followed by anything that turns addresses into links.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 500;
    let address = address(value);
    let lower = address.get(..4).unwrap_or_default().to_ascii_lowercase();
    let rest = if lower == "http" { &address[4..] } else { &address[..] };
    let mut out = String::from(if lower == "http" { " [hxxp" } else { " [" });
    for (count, c) in rest.chars().filter(|c| !c.is_whitespace()).enumerate() {
        match c {
            _ if count == LONGEST => {
                out.push_str("...");
                break;
            }
            '.' => out.push_str("[.]"),
            c if c.is_ascii_alphanumeric() || "-_/:@?;,+%#~!$*()[]|".contains(c) => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (raw, expected) in [
            ("a&b", "a&b"),
            ("&#106;&#x61;&#0000118a", "java"),
            ("java&Tab;s&NewLine;cript&colon;x", "java\ts\ncript:x"),
            ("?a=1&copy=2&amp;b&ampc", "?a=1&copy=2&b&c"),
            ("&#99999999999;&#;&#x;", "\u{fffd}&#;&#x;"),
            ("&&amp;", "&&"),
        ] {
            assert_eq!(decoded(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn addresses_are_told_apart() {
        for (value, script, remote) in [
            ("http://a/b", false, true),
            ("  HTTPS://a", false, true),
            ("//a/b", false, true),
            ("\\\\a\\b", false, true),
            ("/\\a", false, true),
            ("ht\ntp://a", false, true),
            ("file://a/b", false, true),
            ("cid:1", false, false),
            ("data:image/png;base64,AA", false, false),
            ("data:text/html,<p>", true, false),
            ("DATA: image/svg+xml,x", true, false),
            (" java\tscript:x", true, false),
            ("\u{1}javascript:x", true, false),
            ("view-source:javascript:x", true, true),
            ("vbscript:x", true, false),
            ("picture.png", false, false),
            ("#top", false, false),
            ("mailto:a@b", false, false),
            ("c:/x", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_script(&address(value)), is_remote(value, false)), (script, remote), "{value:?}");
        }
        assert!(is_remote("picture.png", true) && !is_remote("#top", true) && !is_remote("cid:x", true));
        assert!(has_remote("cid:1 1x, http://a 2x", false) && !has_remote("cid:1 100w", true));
        assert!(names_script("a;javascript:x") && !names_script("a;b"));
    }

    #[test]
    fn addresses_are_shown() {
        for (value, expected) in [
            ("http://www.a.example/?b=1&c", " [hxxp://www[.]a[.]example/?b&#61;1&#38;c]"),
            ("mailto:a@b.example", " [mailto:a@b[.]example]"),
            ("<x onx='y'>", " [&#60;xonx&#61;&#39;y&#39;&#62;]"),
        ] {
            assert_eq!(shown(value), expected);
        }
        assert!(shown(&"a".repeat(9999)).ends_with("a...]"));
    }
}
