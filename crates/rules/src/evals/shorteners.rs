//! SpamAssassin's DecodeShortURLs, without asking where short addresses lead: what others have found out (`Known`) answers that.

use super::net::answered;
use super::{Function, Native, of};
use crate::texts::starts_with;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("short_url", |native, _| {
        let short = |uri: &crate::texts::Uri| {
            let cut = uri.raw.iter().position(|octet| matches!(octet, b'#' | b'?')).unwrap_or(uri.raw.len());
            !uri.domains.is_empty() && !uri.cleaned.is_empty() && is_short(native, &uri.raw[..cut])
        };
        of(native.texts.uris().iter().any(short))
    }),
    ("short_url_redir", answered),
    ("short_url_200", answered),
    ("short_url_404", answered),
    ("short_url_code", answered),
    ("short_url_chained", answered),
    ("short_url_maxchain", answered),
    ("short_url_loop", answered),
    ("short_url_tests", |_, _| of(false)),
];

/// Whether an address is of a service that is listed.
fn is_short(native: &Native<'_>, uri: &[u8]) -> bool {
    let listed = |host: &str| {
        let in_list = |list: &str| native.settings.words(list).is_some_and(|words| words.contains(host));
        in_list("url_shortener") || in_list("url_shortener_get")
    };
    let Some((host, has_path)) = host(uri) else { return false };
    match host.matches('.').count() {
        1 if !has_path => false,
        2 if !listed(&host) => match host.split_once('.') {
            Some(("www", domain)) => listed(domain),
            Some((first, _)) if first.is_empty() || first.starts_with("www") => false,
            Some((first, _)) => listed(&host[first.len()..]),
            None => false,
        },
        _ => listed(&host),
    }
}

/// The host in lower case, and whether a path follows.
fn host(uri: &[u8]) -> Option<(String, bool)> {
    let scheme = [&b"https://"[..], b"http://"].into_iter().find(|scheme| starts_with(uri, scheme))?;
    let rest = &uri[scheme.len()..];
    let name = rest.iter().position(|octet| matches!(octet, b'@' | b'/' | b'?' | b'#'));
    let rest = match name {
        Some(at) if rest[at] == b'@' => &rest[at + 1..],
        _ => rest,
    };
    let end = rest.iter().position(|octet| matches!(octet, b'/' | b'?' | b'#' | b':')).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let digits = rest.iter().skip(1).take_while(|octet| octet.is_ascii_digit()).count();
    let rest = if rest.first() == Some(&b':') && digits > 0 { &rest[1 + digits..] } else { rest };
    let has_path = rest.iter().any(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
    let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?;
    Some((host.to_ascii_lowercase(), has_path))
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_and_paths() {
        for (uri, expected) in [
            ("http://bit.ly/x", Some(("bit.ly", true))),
            ("https://a:b@Bit.ly:80/x", Some(("bit.ly", true))),
            ("http://bit.ly/", Some(("bit.ly", false))),
            ("http://bit.ly", Some(("bit.ly", false))),
            ("http://bit.ly:80", Some(("bit.ly", false))),
            ("ftp://bit.ly/x", None),
            ("http:///x", None),
        ] {
            let found = host(uri.as_bytes());
            assert_eq!(found.as_ref().map(|(host, path)| (host.as_str(), *path)), expected, "{uri}");
        }
    }
}
