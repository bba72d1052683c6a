//! SpamAssassin's FreeMail: addresses of free mail services where they do not fit together.

use bytes::Bytes;

use super::pattern::{Fixed, fixed, hits};
use super::{Function, Native, number_of, of};
use crate::engine::{Answer, Call};
use crate::texts::Registry;

static PERSONAL: Fixed = Fixed::new(|| {
    fixed(concat!(
        r"(?i)^(?:abuse|support|sales|info|helpdesk|contact|kontakt|(?:post|host|domain)master|undisclosed.*",
        r"|request-[a-f0-9]{16}|bounced?-|[a-f0-9]{8}(?:\.[a-f0-9]{8}|-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})",
        r"|.+=.+=.+)@",
    ))
});
static BULK: Fixed = Fixed::new(|| {
    fixed(concat!(
        r"(?i)(?:^(?:post|host|domain)master|^double-bounce|^(?:sentto|owner|return|(?:gr)?bounced?)-.+",
        r"|-(?:request|bounces?|admin|owner)|\b(?:do[._\-t]?)?no[._\-t]?repl(?:y|ies)|.+=.+)@",
    ))
});
static LINK: Fixed = Fixed::new(|| fixed(r"(?i)(<?https?://\S{0,255}(?:@|%40)\S{0,255})"));

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_freemail_header", |native, call| {
        let Some(header) = call.args.first() else { return of(false) };
        let found = native.values(&format!("{}:addr", header.text()));
        first(native, call, found.iter().map(|one| one.to_ascii_lowercase()).collect(), 1)
    }),
    ("check_freemail_from", |native, call| {
        let all = native.senders().iter().map(|one| one.to_ascii_lowercase()).collect();
        first(native, call, all, 0)
    }),
    ("check_freemail_body", |native, call| match native.free_in_body() {
        Some(found) => first(native, call, found.clone(), 0),
        None => of(false),
    }),
    ("check_freemail_replyto", reply_to),
];

/// The first address of a free mail service that matches the expression, if there is one.
fn first(native: &Native<'_>, call: &Call<'_>, addresses: Vec<Vec<u8>>, argument: usize) -> Answer {
    let matcher = call.args.get(argument).map(|pattern| native.patterns.compiled(&pattern.0));
    for (step, address) in addresses.into_iter().enumerate() {
        if native.is_over_at(step) {
            break;
        }
        if !is_free(native, &address) {
            continue;
        }
        let matches = match &matcher {
            None => true,
            Some(Ok(matcher)) => native.matches(matcher, &address),
            Some(Err(fault)) => return Answer { fault: Some(fault.clone()), ..Answer::default() },
        };
        if matches {
            return found(native, &[&address]);
        }
    }
    of(false)
}

fn found(native: &Native<'_>, addresses: &[&[u8]]) -> Answer {
    let mut answer = of(true);
    if number_of(native.settings, "freemail_add_describe_email", 1.0) != 0.0 {
        let shown: Vec<String> =
            addresses.iter().map(|one| String::from_utf8_lossy(one).replace('@', "(at)")).collect();
        answer.found.push(shown.join(", "));
    }
    answer
}

/// Whether an address, in lower case, is of a free mail service.
fn is_free(native: &Native<'_>, address: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(address) else { return false };
    let domain = text.rsplit('@').next().unwrap_or(text);
    let settings = native.settings;
    let listed = |list: &str, word: &str| settings.words(list).is_some_and(|words| words.contains(word));
    if text.is_empty() || listed("freemail_welcomelist", text) || listed("freemail_welcomelist", domain) {
        return false;
    }
    if hits(&PERSONAL, address) {
        return false;
    }
    for list in ["welcomelist_auth", "def_welcomelist_auth"] {
        if settings.flag(&format!("freemail_import_{list}")) && native.in_list(list, address) {
            return false;
        }
    }
    listed("freemail_domains", domain)
        || native.patterns.wild(settings).iter().any(|glob| labels(glob, domain))
}

/// Whether a domain is of a glob whose `*` holds no dot.
fn labels(glob: &str, domain: &str) -> bool {
    let (mut globs, mut parts) = (glob.split('.'), domain.split('.'));
    loop {
        match (globs.next(), parts.next()) {
            (None, None) => return true,
            (Some(glob), Some(part)) if super::pattern::glob(glob.as_bytes(), part.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// An answer would go to another address of a free mail service than the message is from.
fn reply_to(native: &Native<'_>, call: &Call<'_>) -> Answer {
    let what = call.args.first().map_or("replyto".into(), |arg| arg.text());
    if what != "replyto" && what != "reply" {
        return of(false);
    }
    let bulk = || native.values("EnvelopeFrom").first().is_some_and(|sender| hits(&BULK, sender));
    if number_of(native.settings, "freemail_skip_bulk_envfrom", 1.0) != 0.0 && bulk() {
        return of(false);
    }
    let lower = |values: Vec<Bytes>| -> Vec<Vec<u8>> {
        values.iter().map(|value| value.to_ascii_lowercase()).collect()
    };
    let (from, reply) = (lower(native.values("From:addr")), lower(native.values("Reply-To:addr")));
    let free = |all: &[Vec<u8>]| {
        let mut steps = all.iter().enumerate().take_while(|(step, _)| !native.is_over_at(*step));
        steps.any(|(_, one)| is_free(native, one))
    };
    let (from_free, reply_free) = (free(&from), free(&reply));
    let answers: std::collections::HashSet<&Vec<u8>> = reply.iter().collect();
    if from_free && reply_free && !from.iter().any(|one| answers.contains(one)) {
        return found(native, &[&from[0], &reply[0]]);
    }
    let stops = if what == "replyto" { !reply_free } else { !reply.is_empty() && !reply_free || !from_free };
    let Some(body) = (if stops { None } else { native.free_in_body() }) else { return of(false) };
    let answered = if what == "replyto" || reply_free { &reply } else { &from };
    for in_body in body {
        if let Some(other) = answered.iter().find(|other| *other != in_body) {
            return found(native, &[other, in_body]);
        }
    }
    of(false)
}

/// The addresses of free mail services in the text; None if there are so many addresses that none counts.
pub(super) fn in_body(native: &Native<'_>) -> Option<Vec<Vec<u8>>> {
    let registry = &native.texts.settings().registry;
    let mut all: Vec<Vec<u8>> = Vec::new();
    for uri in native.texts.uris() {
        let linked = uri.types.contains("a") && !uri.types.contains("parsed");
        let mail = uri.raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:"));
        if linked
            && mail
            && let Some((start, end)) = email(&uri.raw, 7, registry)
            && start == 7
        {
            let address = uri.raw[start..end].to_ascii_lowercase();
            if !all.contains(&address) {
                all.push(address);
            }
            if all.len() >= 20 {
                break;
            }
        }
    }
    'lines: for line in native.texts.body().iter().filter(|line| memchr::memchr(b'@', line).is_some()) {
        if native.is_over() {
            break;
        }
        let line = without_links(line);
        let mut from = 0;
        while let Some((start, end)) = email(&line, from, registry) {
            from = end;
            if is_explained(&line, start, end) {
                continue;
            }
            let address = line[start..end].to_ascii_lowercase();
            if !all.contains(&address) {
                all.push(address);
            }
            if all.len() >= 40 {
                break 'lines;
            }
        }
    }
    let skips = number_of(native.settings, "freemail_skip_when_over_max", 1.0) != 0.0;
    let most = |name: &str, default: f64| number_of(native.settings, name, default) as usize;
    if skips && all.len() >= most("freemail_max_body_emails", 5.0) {
        return None;
    }
    all.retain(|address| is_free(native, address));
    (!skips || all.len() < most("freemail_max_body_freemails", 3.0)).then_some(all)
}

fn without_links(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut from = 0;
    for link in super::pattern::all(&LINK, line) {
        let start = link.as_ptr() as usize - line.as_ptr() as usize;
        out.extend_from_slice(&line[from..start]);
        out.push(b' ');
        from = start + link.len();
    }
    out.extend_from_slice(&line[from..]);
    out
}

/// Behind the address an angle bracket closes, or a field of a quoted header follows.
fn is_explained(line: &[u8], start: usize, end: usize) -> bool {
    static FIELD: Fixed = Fixed::new(|| fixed(r"(?i)^\s{1,10}([a-z]{2,11}:)"));
    static CONTACT: Fixed = Fixed::new(|| fixed(r"(?i)^(?:fa(?:x|csi)|tel|phone|e?-?mail)"));
    if line[..start].ends_with(b"mailto:") {
        return false;
    }
    let rest = &line[end..];
    let field = || super::pattern::groups(&FIELD, rest).and_then(|found| found[1]);
    rest.starts_with(b">") || field().is_some_and(|field| !hits(&CONTACT, field))
}

/// Where the next address stands.
fn email(line: &[u8], from: usize, registry: &Registry) -> Option<(usize, usize)> {
    let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&octet);
    memchr::memchr_iter(b'@', &line[from..]).map(|at| from + at).find_map(|sign| {
        // The earliest beginning of an atom, at most 64 octets before the sign.
        let (mut at, mut start) = (sign, None);
        while at > from && sign - at < 64 {
            let octet = line[at - 1];
            let dot = octet == b'.' && at >= 2 + from && is_atom(line[at - 2]) && at < sign;
            if !is_atom(octet) && !dot {
                break;
            }
            at -= 1;
            let begins = at == 0 || !is_atom(line[at - 1]);
            if is_atom(octet) && begins {
                start = Some(at);
            }
        }
        Some((start?, host_end(line, sign + 1, registry)?))
    })
}

/// Where a host name ends that has one to four labels and a top-level domain.
fn host_end(line: &[u8], from: usize, registry: &Registry) -> Option<usize> {
    let (mut at, mut end) = (from, None);
    for place in 0..5 {
        let label = line[at..]
            .iter()
            .take(64)
            .take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'-')
            .count();
        let text = &line[at..at + label];
        let behind = &line[at + label..];
        let goes_on = behind.first() == Some(&b'.') && behind.get(1).is_some_and(u8::is_ascii_alphanumeric);
        if place > 0 && registry.is_tld(text) && !goes_on {
            end = Some(at + label);
        }
        let fits = (1..=61).contains(&label) && !text.starts_with(b"-") && !text.ends_with(b"-");
        if !fits || behind.first() != Some(&b'.') {
            break;
        }
        at += label + 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text() {
        let registry = Registry { tlds: [b"com".to_vec(), b"uk".to_vec()].into(), ..Registry::default() };
        for (text, expected) in [
            ("write to joe@example.com.", Some("joe@example.com")),
            ("..joe.b@example.co.uk!", Some("joe.b@example.co.uk")),
            ("a..b@x.com", Some("b@x.com")),
            ("joe@example.invalid", None),
            ("@example.com", None),
            ("joe@-x.com", None),
            ("joe@example.com.example", None),
        ] {
            let found = email(text.as_bytes(), 0, &registry).map(|(start, end)| &text[start..end]);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn links_are_taken_out() {
        for (text, expected) in [
            ("see http://a@b.com/x and <https://c%40d.com> e@f.com", "see   and   e@f.com"),
            ("http://a@b.com http://a@b.com", "   "),
            ("http://a.com x@y.com", "http://a.com x@y.com"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(without_links(text.as_bytes())).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn globs_of_domains() {
        assert!(labels("yahoo.*", "yahoo.com"));
        assert!(!labels("yahoo.*", "yahoo.co.uk"));
        assert!(labels("yahoo.co.??", "yahoo.co.uk"));
    }
}
