//! How a relay's peer has authenticated itself, by what `Received` fields tell.

use super::pattern::{matches, search};
use super::perl::find;

/// How the peer has authenticated itself.
pub(crate) fn authentication(line: &[u8]) -> Option<Vec<u8>> {
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    if has(b" by ")
        && let Some(protocol) = authenticated_protocol(line)
    {
        return Some(protocol.to_vec());
    }
    if let Some(auth) = google(line) {
        return Some(auth);
    }
    for bracket in ["])", ")]"] {
        for method in ["LOGIN", "PLAIN", "DIGEST-MD5", "CRAM-MD5"] {
            if has(b"(AUTH: ")
                && matches(&format!("from %z{bracket} (AUTH: {method} %s%?{{, %z}}) by "), line).is_some()
            {
                return Some(method.into());
            }
        }
    }
    if has(b"authenticated")
        && ["])", ")]"].iter().any(|bracket| {
            matches(&format!("from %z{bracket} %z(%zauthenticated%z)%z by"), line).is_some()
                || matches("from %z] (%c{)})) %z(%zauthenticated%z)%z by", line).is_some()
        })
    {
        return Some(b"Sendmail".to_vec());
    }
    if has(b"by mail.gmx.") {
        for name in ["mail.gmx.net", "mail.gmx.com"] {
            for protocol in ["ESMTP", "SMTP"] {
                if search(&format!("from %s* (%E %s*) [%I] by {name} (%C{{)}}) with {protocol}"), line)
                    .is_some()
                {
                    return Some(format!("GMX ({protocol} / {name})").into());
                }
            }
        }
    }
    by_comment(line)
}

/// The same of servers that say so in words of their own.
fn by_comment(line: &[u8]) -> Option<Vec<u8>> {
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    if has(b" (authenticated as ")
        && search(") by %a (%w.%w.%w%?{.%w}) (authenticated as %a) id ", line).is_some()
    {
        return Some(b"CriticalPath".to_vec());
    }
    if has(b"(Authenticated sender: ")
        && let Some(found) = search(") (Authenticated sender: %s) by %s (%X) with ", line)
    {
        let server = found.extra.unwrap_or_default();
        return Some(if server == b"Postfix" {
            server.to_vec()
        } else {
            [b"Postfix (", server, b")"].concat()
        });
    }
    if has(b" (account ")
        && [&b"HTTP"[..], b"SMTP", b"XIMSS", b"IMAP"]
            .iter()
            .any(|way| has(&[b"CommuniGate Pro ", *way].concat()))
    {
        return Some(b"Communigate".to_vec());
    }
    if has(b" with Microsoft Exchange Server HTTP-DAV") {
        return Some(b"HTTP-DAV".to_vec());
    }
    if has(b" by ")
        && let Some(at) = find(line, b" (via http", 0)
    {
        let rest = &line[at + 6..];
        let length = if rest.get(4) == Some(&b')') { 4 } else { 5 };
        if rest.get(length) == Some(&b')') && matches!(rest.get(length + 1), None | Some(b' ' | b';')) {
            return Some(rest[..length].to_vec());
        }
    }
    None
}

/// The protocol, where it says that the peer has logged in (RFC 3848), or that it is the web.
fn authenticated_protocol(line: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    while let Some(at) = find(line, b" with ", from) {
        from = at + 1;
        let rest = &line[at + 6..];
        let word = &rest[..rest.iter().position(|byte| matches!(byte, b' ' | b';')).unwrap_or(rest.len())];
        let upper = word.to_ascii_uppercase();
        let known: [&[u8]; 12] = [
            b"ESMTPA",
            b"ESMTPSA",
            b"LMTPA",
            b"LMTPSA",
            b"UTF8SMTPA",
            b"UTF8SMTPSA",
            b"UTF8LMTPA",
            b"UTF8LMTPSA",
            b"ASMTP",
            b"HTTP",
            b"HTTPS",
            b"HTTPU",
        ];
        if known.contains(&upper.as_slice()) {
            return Some(word);
        }
    }
    None
}

/// Google's submission servers, known by the form of their ids.
fn google(line: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(line, b" by mx.google.com with ESMTPS id ")?;
    let id = &line[at + 33..];
    let id = std::str::from_utf8(&id[..id.iter().position(|byte| *byte == b' ').unwrap_or(id.len())]).ok()?;
    let mut parts = id.split('.');
    let head = parts.next()?;
    let digits = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let shape = head.match_indices("sm").any(|(at, _)| {
        let (before, after) = (&head[..at], &head[at + 2..]);
        let letters = after.len().checked_sub(3).map(|place| after.split_at(place));
        (1..=4).contains(&before.len())
            && letters.is_some_and(|(number, word)| {
                digits(number, 2, 9) && word.bytes().all(|byte| byte.is_ascii_lowercase())
            })
    });
    let sizes = digits(parts.next()?, 1, 3)
        && digits(parts.next()?, 4, 4)
        && parts.filter(|part| part.len() >= 2).count() >= 5;
    if !shape || !sizes {
        return None;
    }
    let version = memchr::memmem::find(line, b"(version=")? + 9;
    let found = matches("%h cipher=%X)", &line[version..])?;
    Some([b"GMail - transport=", found.helo?, b" cipher=", found.extra?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_is_told() {
        for (line, told) in [
            ("from a ([192.0.2.1]) by b with ESMTPSA id x", Some("ESMTPSA")),
            ("from a ([192.0.2.1]) by b with ESMTPS id x", None),
            (
                "from a (b [192.0.2.1]) (Authenticated sender: u) by c (Postfix) with ESMTP id x",
                Some("Postfix"),
            ),
            (
                "from a (b [192.0.2.1]) (authenticated bits=0) by c (8.14/8.14) with ESMTP id x",
                Some("Sendmail"),
            ),
            ("from a ([192.0.2.1]) (AUTH: LOGIN u, SSL) by c with esmtp", Some("LOGIN")),
            ("from a (account u) by c (CommuniGate Pro SMTP 5) with X id y", Some("Communigate")),
            ("from [192.0.2.1] by a (via HTTP) id x", Some("HTTP")),
        ] {
            let found = authentication(line.as_bytes()).map(|auth| String::from_utf8(auth).unwrap());
            assert_eq!(found.as_deref(), told, "{line}");
        }
    }
}
