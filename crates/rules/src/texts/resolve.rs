//! Addresses made absolute, as SpamAssassin does it (RFC 3986 section 5.2, and what mail programs guess).

/// The parts of an address.
#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    fragment: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a [u8]) -> Parts<'a> {
        let mut parts = Parts::default();
        let mut rest = uri;
        let stop = rest.iter().position(|byte| matches!(byte, b':' | b'/' | b'?' | b'#'));
        if let Some(stop) = stop.filter(|stop| *stop > 0 && rest[*stop] == b':') {
            parts.scheme = Some(&rest[..stop]);
            rest = &rest[stop + 1..];
        }
        if let Some(after) = rest.strip_prefix(b"//") {
            let end = after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(after.len());
            parts.authority = Some(&after[..end]);
            rest = &after[end..];
        }
        let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(rest.len());
        parts.path = &rest[..end];
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix(b"?") {
            let end = memchr::memchr(b'#', after).unwrap_or(after.len());
            parts.query = Some(&after[..end]);
            rest = &after[end..];
        }
        // A fragment ends with its line.
        parts.fragment = rest
            .strip_prefix(b"#")
            .map(|after| &after[..memchr::memchr(b'\n', after).unwrap_or(after.len())]);
        parts
    }
}

/// What `uri` means where `base` is.
pub(crate) fn resolve(base: &[u8], uri: &[u8]) -> Vec<u8> {
    let (mut uri, base) = (Parts::of(uri), Parts::of(base));
    if uri.scheme.is_some() && uri.scheme == base.scheme {
        uri.scheme = None;
    }
    let path;
    let mut target = Parts { fragment: uri.fragment, query: uri.query, ..Parts::default() };
    if uri.scheme.is_some() || uri.authority.is_some() {
        target.scheme = uri.scheme.or(base.scheme);
        target.authority = uri.authority;
        path = without_dots(uri.path);
    } else {
        target.scheme = base.scheme;
        target.authority = base.authority;
        if uri.path.is_empty() {
            path = base.path.to_vec();
            target.query = uri.query.or(base.query);
        } else if uri.path.starts_with(b"/") {
            path = without_dots(uri.path);
        } else {
            path = without_dots(&merged(base, uri.path));
        }
    }
    target.path = &path;
    composed(target)
}

fn merged(base: Parts<'_>, path: &[u8]) -> Vec<u8> {
    if base.authority.is_some() && (base.path.is_empty() || base.path == b"0") {
        return [b"/", path].concat();
    }
    let folder = memchr::memrchr(b'/', base.path).map_or(&b""[..], |slash| &base.path[..=slash]);
    [folder, path].concat()
}

/// Without `.` and `..` in the path.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path;
    let start = if rest.starts_with(b"../") { 2 } else { usize::from(rest.starts_with(b"./")) };
    rest = &rest[start..];
    // What is left is false in Perl when it is `0`.
    while !rest.is_empty() && rest != b"0" {
        let slash = usize::from(rest[0] == b'/');
        let length = rest[slash..].iter().take_while(|byte| **byte != b'/').count();
        let segment = &rest[slash..slash + length];
        let last = slash + length == rest.len();
        match segment {
            b"." | b".." if slash == 1 => {
                if segment.len() == 2 {
                    out.truncate(memchr::memrchr(b'/', &out).unwrap_or(0));
                }
                if last {
                    out.push(b'/');
                }
            }
            _ => out.extend_from_slice(&rest[..slash + length]),
        }
        rest = &rest[slash + length..];
    }
    out
}

fn composed(parts: Parts<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let false_in_perl = |text: &[u8]| text.is_empty() || text == b"0";
    if let Some(scheme) = parts.scheme.filter(|scheme| !false_in_perl(scheme)) {
        out.extend_from_slice(scheme);
        out.push(b':');
    } else if let Some(authority) = parts.authority {
        let lower = authority.to_ascii_lowercase();
        let numbered = |begin: &[u8]| {
            let rest = lower.strip_prefix(begin)?;
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.get(digits).filter(|byte| **byte == b'.')
        };
        if numbered(b"www").is_some() {
            out.extend_from_slice(b"http:");
        } else if numbered(b"ftp").is_some() {
            out.extend_from_slice(b"ftp:");
        }
    }
    if let Some(authority) = parts.authority {
        out.extend_from_slice(b"//");
        out.extend_from_slice(authority);
    }
    out.extend_from_slice(parts.path);
    for (mark, part) in [(b'?', parts.query), (b'#', parts.fragment)] {
        if let Some(part) = part {
            out.push(mark);
            out.extend_from_slice(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved() {
        for (base, uri, target) in [
            ("", "http://a.example/x/../y/./z?q#f", "http://a.example/y/z?q#f"),
            ("", "foo.html", "foo.html"),
            ("", "//www2.example/x", "http://www2.example/x"),
            ("", "//ftp.example", "ftp://ftp.example"),
            ("http://a.example/b/c", "d", "http://a.example/b/d"),
            ("http://a.example", "d", "http://a.example/d"),
            ("http://a.example/b/", "../d", "http://a.example/d"),
            ("http://a.example/b/", "/d", "http://a.example/d"),
            ("http://a.example/b/", "?x", "http://a.example/b/?x"),
            ("http://a.example/b/", "http:d", "http://a.example/b/d"),
            ("http://a.example/b/", "//e", "http://e"),
            ("", "javascript:x()", "javascript:x()"),
        ] {
            assert_eq!(
                String::from_utf8(resolve(base.as_bytes(), uri.as_bytes())).unwrap(),
                target,
                "{base} {uri}"
            );
        }
    }
}
