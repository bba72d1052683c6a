//! The forms of an address that mail programs and browsers would make of it, by SpamAssassin's rules.

use std::collections::HashSet;

use bytes::Bytes;

use super::domains::{Registry, idn_to_ascii};
use super::perl::{find, starts_with, trim};

/// Finds the address that a redirector's address leads to.
pub trait Redirector: Send + Sync + std::fmt::Debug {
    /// The part of `uri` that is the target (the first capture of a `redirector_pattern`); None if it isn't one of its.
    fn target<'a>(&self, uri: &'a [u8]) -> Option<&'a [u8]>;
}

/// An address leads on no further than that.
const REDIRECTIONS: usize = 64;
/// No more forms are made of one address.
const MOST_FORMS: usize = 256;

/// The address itself and all its forms, each once. `wide`: it is characters, not octets.
pub(crate) fn forms(
    uri: &[u8],
    wide: bool,
    redirectors: &[Box<dyn Redirector>],
    registry: &Registry,
) -> Vec<Bytes> {
    let mut forms = Forms { waiting: vec![uri.to_vec()], made: Vec::new(), wide, redirectors, registry };
    let mut at = 0;
    while at < forms.waiting.len().min(REDIRECTIONS) && forms.made.len() < MOST_FORMS {
        forms.expand(at);
        at += 1;
    }
    let mut seen = HashSet::new();
    let all = forms.waiting.into_iter().chain(forms.made).map(Bytes::from);
    all.filter(|form| seen.insert(form.clone())).collect()
}

struct Forms<'a> {
    waiting: Vec<Vec<u8>>,
    made: Vec<Vec<u8>>,
    wide: bool,
    redirectors: &'a [Box<dyn Redirector>],
    registry: &'a Registry,
}

impl Forms<'_> {
    fn expand(&mut self, at: usize) {
        let uri = &mut self.waiting[at];
        uri.retain(|byte| *byte != b'\n');
        let mut uri: Vec<u8> = trim(uri).iter().copied().filter(|byte| *byte != b'\r').collect();
        self.waiting[at].clone_from(&uri);
        let within = matches!(uri.first(), Some(b'#' | b'?' | b'&'))
            || (uri.first() == Some(&b'/') && uri.get(1) != Some(&b'/'));
        if uri.len() <= 1 || within {
            return;
        }
        let colon = memchr::memchr2(b':', b'@', &uri);
        if starts_with(&uri, b"mailto:") || colon.is_some_and(|at| uri[at] == b'@') {
            self.mail(&uri);
            return;
        }
        mend(&mut uri, self.wide);
        if uri != self.waiting[at] {
            self.made.push(uri.clone());
        }
        self.web(&uri);
    }

    /// Addresses of mail: without parameters, escaped spaces and names.
    fn mail(&mut self, uri: &[u8]) {
        let Some(sign) = memchr::memchr(b'@', uri).filter(|at| *at > 0) else { return };
        let cut = |stops: &[u8]| {
            let end = uri[sign + 1..].iter().position(|byte| stops.contains(byte))?;
            (end > 0).then_some(sign + 1 + end)
        };
        if let Some(end) = cut(b"?") {
            self.made.push(uri[..end].to_vec());
        }
        if let Some(end) = cut(b"?&").filter(|end| uri[*end] == b'&') {
            self.made.push(uri[..end].to_vec());
        }
        if memchr::memmem::find(uri, b"%20").is_some() {
            let mut start = if starts_with(uri, b"mailto:") { 7 } else { 0 };
            while uri[start..].starts_with(b"%20") {
                start += 3;
            }
            let end = uri[sign + 1..]
                .iter()
                .position(|byte| matches!(byte, b'?' | b'&' | b'%'))
                .map_or(uri.len(), |at| sign + 1 + at);
            if start < sign && end > sign + 1 {
                self.made.push([b"mailto:", &uri[start..end]].concat());
            }
        }
        let stop = uri.iter().position(|byte| matches!(byte, b'?' | b'&')).unwrap_or(uri.len());
        for open in memchr::memrchr_iter(b'<', &uri[..stop]) {
            let inner = &uri[open + 1..];
            let Some(sign) = memchr::memchr2(b'@', b'>', inner).filter(|at| *at > 0 && inner[*at] == b'@')
            else {
                continue;
            };
            if let Some(close) = memchr::memchr(b'>', inner).filter(|close| *close > sign + 1) {
                self.made.push([b"mailto:", &inner[..close]].concat());
                break;
            }
        }
    }

    /// Addresses of the web: the host cleared up, redirections followed.
    fn web(&mut self, uri: &[u8]) {
        let Some(parts) = Web::of(uri) else { return };
        let Web { scheme, authority, mut host, rest, port } = parts;
        let with = |host: &[u8], rest: &[u8]| [scheme, host, rest].concat();
        // Only the scheme in lower case counts as `http` here.
        let usual: &[u8] = if scheme == b"http://" { b":80" } else { b":443" };
        let mut without_port = (!port.is_empty()).then_some(rest);
        let after = rest
            .strip_prefix(usual)
            .filter(|after| !after.first().is_some_and(|byte| super::perl::is_word(*byte)));
        if let Some(after) = after {
            without_port = Some(after);
            self.made.push(with(&host, after));
        }
        let ascii = idn_to_ascii(&host).into_owned();
        if ascii != host.to_ascii_lowercase() {
            self.made.push(with(&ascii, rest));
            if let Some(rest) = without_port.filter(|rest| !rest.is_empty()) {
                self.made.push(with(&ascii, rest));
            }
            host.clone_from(&ascii);
        }
        if host.iter().any(|byte| *byte <= b' ') {
            host.retain(|byte| *byte > b' ');
            self.made.push(with(&host, rest));
        }
        self.redirect(&with(&host, rest), rest);
        if let Some(sign) = memchr::memchr(b'@', &host).filter(|at| *at > 0) {
            host.drain(..=sign);
            self.made.push(with(&host, rest));
        }
        let kept = host.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |at| at + 1);
        if kept < host.len() {
            host.truncate(kept);
            self.made.push(with(&host, rest));
        }
        if let Some(numeric) = numeric_host(&host) {
            self.made.push(with(&numeric, rest));
            return;
        }
        let simple = ascii
            .strip_prefix(b"www.")
            .filter(|name| !name.is_empty() && !name.contains(&b'.'))
            .unwrap_or(&ascii);
        let bare = !simple.is_empty() && !simple.contains(&b'.');
        let usual_port = port.is_empty() || port == b"80";
        if scheme == b"http://"
            && authority.is_empty()
            && ascii != b"localhost"
            && usual_port
            && bare
            && !self.registry.is_domain_valid(&ascii)
        {
            self.made.push([scheme, b"www.", simple, b".com", rest].concat());
        }
    }

    /// Looks for an address within the address.
    fn redirect(&mut self, uri: &[u8], rest: &[u8]) {
        let pattern = self
            .redirectors
            .iter()
            .filter_map(|redirector| redirector.target(uri))
            .find(|target| target.contains(&b'.'));
        if let Some(target) = pattern {
            self.waiting.push(target.to_vec());
            return;
        }
        let mut from = 0;
        while let Some(at) = find(rest, b"http", from) {
            from = at + 1;
            let scheme = if starts_with(&rest[at..], b"https:") { 6 } else { 5 };
            if scheme == 5 && rest.get(at + 4) != Some(&b':') {
                continue;
            }
            let end =
                rest[at..].iter().position(|byte| matches!(byte, b'&' | b'#')).unwrap_or(rest.len() - at);
            if end > scheme {
                if rest[at..at + end].contains(&b'.') {
                    self.waiting.push(rest[at..at + end].to_vec());
                }
                return;
            }
        }
    }
}

/// An address of the web in parts.
struct Web<'a> {
    /// `http://`, as it is written.
    scheme: &'a [u8],
    /// Name and password, with the `@`.
    authority: &'a [u8],
    host: Vec<u8>,
    /// What follows the host.
    rest: &'a [u8],
    port: &'a [u8],
}

impl<'a> Web<'a> {
    fn of(uri: &'a [u8]) -> Option<Web<'a>> {
        let length = if starts_with(uri, b"http://") {
            7
        } else if starts_with(uri, b"https://") {
            8
        } else {
            return None;
        };
        let (scheme, after) = uri.split_at(length);
        if memchr::memchr(b'\n', after).is_some() {
            return None;
        }
        let stop =
            after.iter().position(|byte| matches!(byte, b'@' | b'/' | b'?' | b'#')).unwrap_or(after.len());
        let mut authority = if after.get(stop) == Some(&b'@') { &after[..=stop] } else { b"" };
        let host_of = |from: &'a [u8]| {
            &from[..from
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b':'))
                .unwrap_or(from.len())]
        };
        let mut host = host_of(&after[authority.len()..]);
        if host.is_empty() && !authority.is_empty() {
            authority = b"";
            host = host_of(after);
        }
        if host.is_empty() {
            return None;
        }
        let rest = &after[authority.len() + host.len()..];
        let digits = rest
            .strip_prefix(b":")
            .map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let port = if digits > 0 { &rest[1..=digits] } else { b"" };
        Some(Web { scheme, authority, host: host.to_vec(), rest, port })
    }
}

/// What is done to every address of the web.
fn mend(uri: &mut Vec<u8>, wide: bool) {
    for byte in uri.iter_mut() {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    for scheme in [&b"http:"[..], b"https:"] {
        if starts_with(uri, scheme) {
            let slashes = uri[scheme.len()..].iter().take(2).take_while(|byte| **byte == b'/').count();
            uri.splice(scheme.len()..scheme.len() + slashes, *b"//");
        }
    }
    *uri = unescaped(uri, wide);
    let scheme =
        uri.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
    if scheme == 0 || uri.get(scheme) != Some(&b':') {
        let scheme: &[u8] = if uri.starts_with(b"ftp.") { b"ftp://" } else { b"http://" };
        uri.splice(..0, scheme.iter().copied());
    }
    for scheme in [&b"http://"[..], b"https://"] {
        if starts_with(uri, scheme)
            && let Some(at) = uri[scheme.len()..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            && at > 0
            && uri[scheme.len() + at] != b'/'
        {
            uri.insert(scheme.len() + at, b'/');
        }
    }
    if uri.contains(&b'&') {
        *uri = with_characters(uri);
    }
}

/// Escapes of printable characters read, and characters escaped that should be, where there is an escape at all.
pub(crate) fn unescaped(uri: &[u8], wide: bool) -> Vec<u8> {
    let hex = |at: usize| -> Option<u8> {
        let digits = uri.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    if !memchr::memchr_iter(b'%', uri).any(|at| hex(at).is_some()) {
        return uri.to_vec();
    }
    let mut out = Vec::with_capacity(uri.len());
    let mut at = 0;
    while at < uri.len() {
        let byte = uri[at];
        if byte == b'%'
            && let Some(code) = hex(at)
        {
            if (0x21..=0x7e).contains(&code) {
                out.push(code)
            } else {
                out.extend_from_slice(&uri[at..at + 3])
            }
            at += 3;
            continue;
        }
        if wide && byte >= 0x80 {
            // One octet stands for a character below 256, the others stay.
            let (c, length) = super::perl::next_char(&uri[at..]).unwrap_or((char::from(byte), 1));
            match u8::try_from(u32::from(c)) {
                Ok(octet) => out.extend_from_slice(format!("%{octet:02x}").as_bytes()),
                Err(_) => out.extend_from_slice(&uri[at..at + length]),
            }
            at += length;
            continue;
        }
        if matches!(byte, 0..=0x20 | 0x7f..=0xff | b'"' | b'%' | b'<' | b'>') {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        } else {
            out.push(byte);
        }
        at += 1;
    }
    out
}

/// With `&#46;` and kin read, dots of other scripts among them.
fn with_characters(uri: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = memchr::memmem::find(rest, b"&#") {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        match numbered(&rest[2..]) {
            Some((c, length)) => {
                out.push(c);
                rest = &rest[2 + length..];
            }
            None => {
                out.extend_from_slice(b"&#");
                rest = &rest[2..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The printable character of a number before a semicolon, and how much that takes.
fn numbered(text: &[u8]) -> Option<(u8, usize)> {
    let end = memchr::memchr(b';', &text[..text.len().min(64)])?;
    let digits = std::str::from_utf8(&text[..end]).ok()?;
    let lower = digits.to_ascii_lowercase();
    if matches!(lower.as_str(), "x2e" | "12290" | "x3002" | "65294" | "xff0e" | "65377" | "xff61") {
        return Some((b'.', end + 1));
    }
    let number = match digits.strip_prefix('x') {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex.trim_start_matches('0'), 16).ok()?
        }
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.trim_start_matches('0').parse().ok()?
        }
        _ => return None,
    };
    u8::try_from(number).ok().filter(|number| (0x21..=0x7e).contains(number)).map(|number| (number, end + 1))
}

/// The address of IP that a host of numbers stands for; its parts may be octal or hexadecimal, or it may be one number.
fn numeric_host(host: &[u8]) -> Option<Vec<u8>> {
    let is_hex = |text: &[u8]| {
        starts_with(text, b"0x") && text.len() > 2 && text[2..].iter().all(u8::is_ascii_hexdigit)
    };
    let is_decimal = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let parts: Vec<&[u8]> = host.split(|byte| *byte == b'.').collect();
    if let [_, _, _, _] = parts.as_slice() {
        if !parts.iter().all(|part| is_hex(part) || is_decimal(part)) {
            return None;
        }
        let parts: Vec<Vec<u8>> = parts.into_iter().map(octet).collect();
        return Some(parts.join(&b'.'));
    }
    if is_hex(host) {
        let digits = &host[host.len() - (host.len() - 2).min(8)..];
        let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        return Some(std::net::Ipv4Addr::from(number).to_string().into_bytes());
    }
    if is_decimal(host) {
        let number: u64 = std::str::from_utf8(host).ok()?.parse().unwrap_or(u64::MAX);
        // More than eight hexadecimal digits: the first eight count.
        let digits = format!("{number:08x}");
        let number = u32::from_str_radix(&digits[..8], 16).ok()?;
        return Some(std::net::Ipv4Addr::from(number).to_string().into_bytes());
    }
    None
}

/// A part of such a host in decimal.
fn octet(part: &[u8]) -> Vec<u8> {
    if starts_with(part, b"0x") {
        let digits = std::str::from_utf8(&part[2..]).unwrap_or_default().trim_start_matches('0');
        let number = if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 16).ok() };
        let text = number.map_or_else(|| u64::MAX.to_string(), |number| number.to_string());
        return text.trim_start_matches('0').as_bytes().to_vec();
    }
    let stripped = part.iter().position(|digit| *digit != b'0').map_or(&b""[..], |at| &part[at..]);
    let octal = stripped.len() < part.len()
        && match stripped {
            [b'1'..=b'3', rest @ ..] => rest.len() <= 2 && rest.iter().all(|digit| *digit < b'8'),
            [b'4'..=b'7', rest @ ..] => rest.len() <= 1 && rest.iter().all(|digit| *digit < b'8'),
            _ => false,
        };
    if octal {
        let text = std::str::from_utf8(stripped).unwrap_or_default();
        return u64::from_str_radix(text, 8).unwrap_or(0).to_string().into_bytes();
    }
    stripped.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry { tlds: [b"com".to_vec(), b"net".to_vec()].into(), ..Registry::default() }
    }

    #[test]
    fn addresses_take_forms() {
        for (uri, expected) in [
            ("http://www.example.com", &["http://www.example.com"][..]),
            ("http:www.example.com", &["http:www.example.com", "http://www.example.com"]),
            ("www.example.com?x", &["www.example.com?x", "http://www.example.com/?x"]),
            ("http://%77ww.example.com/%20", &["http://%77ww.example.com/%20", "http://www.example.com/%20"]),
            ("http://u:p@example.com:80/x", &["http://u:p@example.com:80/x", "http://example.com/x"]),
            (
                "http://example.com/r?u=http://example.net/y&z",
                &["http://example.com/r?u=http://example.net/y&z", "http://example.net/y"],
            ),
            ("http://example.com!!/", &["http://example.com!!/", "http://example.com/"]),
            ("http://0x7f.0.0.017/", &["http://0x7f.0.0.017/", "http://127...15/"]),
            ("http://0x7f000001/", &["http://0x7f000001/", "http://127.0.0.1/"]),
            ("http://2130706433/", &["http://2130706433/", "http://127.0.0.1/"]),
            ("http://foobar/x", &["http://foobar/x", "http://www.foobar.com/x"]),
            ("http://localhost/x", &["http://localhost/x"]),
            ("mailto:a@b.com?subject=x", &["mailto:a@b.com?subject=x", "mailto:a@b.com"]),
            (
                "mailto:\"X\"%20<a@b.com>",
                &["mailto:\"X\"%20<a@b.com>", "mailto:\"X\"%20<a@b.com>", "mailto:a@b.com"],
            ),
            ("#top", &["#top"]),
            ("/x.gif", &["/x.gif"]),
            ("http://a.com/&#46;x", &["http://a.com/&#46;x", "http://a.com/.x"]),
        ] {
            let found: Vec<_> = forms(uri.as_bytes(), false, &[], &registry())
                .into_iter()
                .map(|form| String::from_utf8(form.to_vec()).unwrap())
                .collect();
            let mut expected: Vec<_> = expected.iter().map(|form| (*form).to_owned()).collect();
            expected.dedup();
            assert_eq!(found, expected, "{uri}");
        }
    }
}
