//! HashBL: hashes of addresses, of parts, of what an expression finds.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::lists::{Domains, HashRule, Hashed, Lists};
use super::tags::Values;
use super::{Data, Plan, Reply, Use, Waiter, Waiting, emails};
use crate::evals::from_addresses;
use crate::regex::Matcher;
use crate::texts::{HeaderRequest, Registry, Texts, idn_to_ascii, ip, is_fqdn_valid};

/// How many values a rule asks for, unless it says so.
const MOST: usize = 10;
/// The most matches of an expression that are looked at.
const MOST_MATCHES: usize = 10_000;
/// The longest value that stands in a name as it is.
const LONGEST: usize = 10_000;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Asks for all rules.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, texts: &Texts<'_>, tags: &Values<'_, '_>) {
    for (number, rule) in lists.hashes.iter().enumerate() {
        if plan.is_over() {
            plan.fault(rule.rule, "the time was over before it was looked for what to ask");
            continue;
        }
        let mut values = match &rule.what {
            Hashed::Emails { from, domains } => addresses(rule, from, domains.as_ref(), lists, texts),
            Hashed::Uris => uris(rule, lists, texts),
            Hashed::Body { matcher, raw } => {
                let texts = if *raw { texts.rawbody() } else { texts.body() };
                let (found, why) = matches(plan, rule, matcher, texts);
                if let Some(why) = why {
                    plan.fault(rule.rule, &why);
                }
                found
            }
            Hashed::Tag(tag) => {
                let found = tags.of(tag);
                let waits = found.is_empty() && tags.late.contains(tag);
                let values = HashMap::from([(tag.clone(), found)]);
                if waits {
                    let tags = vec![tag.clone()];
                    plan.waiting.push(Waiting { tags, known: HashMap::new(), rule: Waiter::Hash(number) });
                } else {
                    launch_tag(plan, lists, number, &values, Some(&texts.settings().registry));
                }
                continue;
            }
            Hashed::Attachments => attachments(rule, lists, texts),
        };
        let mut seen = HashSet::new();
        values.retain(|value| seen.insert(value.clone()));
        let hashed = matches!(rule.what, Hashed::Attachments);
        submit(plan, lists, number, &values, hashed);
    }
}

/// Asks for the values of a tag. Without a registry no value is a host.
pub(super) fn launch_tag(
    plan: &mut Plan,
    lists: &Lists,
    number: usize,
    values: &HashMap<String, Vec<String>>,
    registry: Option<&Registry>,
) {
    let rule = &lists.hashes[number];
    let Hashed::Tag(tag) = &rule.what else { return };
    let none = Registry::default();
    let registry = registry.unwrap_or(&none);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for value in values.get(tag).into_iter().flatten() {
        let value = if is(rule, "case") { value.clone() } else { value.to_lowercase() };
        if let Some(value) = tag_value(rule, lists, registry, value.as_bytes())
            && !found.contains(&value)
        {
            found.push(value);
        }
    }
    submit(plan, lists, number, &found, false);
}

/// An answer.
pub(super) fn answered(plan: &mut Plan, lists: &Lists, number: usize, value: &str, reply: &Reply) {
    let rule = &lists.hashes[number];
    for record in &reply.records {
        let Data::Address(address) = record.data else { continue };
        let hit = match &rule.test {
            None => address.octets()[0] == 127,
            Some(matcher) => plan.matches(rule.rule, matcher, address.to_string().as_bytes()),
        };
        if hit {
            return plan.hit(rule.rule, &value.replace('@', "[at]"));
        }
    }
}

fn is(rule: &HashRule, option: &str) -> bool {
    rule.options.get(option).is_some_and(|value| !matches!(value.as_str(), "" | "0"))
}

fn number(rule: &HashRule, option: &str) -> Option<usize> {
    rule.options.get(option)?.parse().ok().filter(|number| *number > 0)
}

/// Asks the list, for so many values as the rule says.
fn submit(plan: &mut Plan, lists: &Lists, number_of: usize, values: &[Vec<u8>], hashed: bool) {
    let rule = &lists.hashes[number_of];
    let most = number(rule, "max").unwrap_or(MOST);
    let ignored = |value: &[u8]| {
        !lists.hashing.ignored.is_empty()
            && lists.hashing.ignored.contains(&String::from_utf8_lossy(value).to_lowercase())
    };
    for value in values.iter().take(most) {
        if !hashed && ignored(value) {
            continue;
        }
        let hash = if hashed { value.clone() } else { hash(rule, value) };
        if ignored(&hash) || hash.len() > LONGEST {
            continue;
        }
        let mut told = String::from_utf8_lossy(value).into_owned();
        if let Some((end, _)) = told.char_indices().nth(200) {
            told.truncate(end);
        }
        let name = [&hash, &b"."[..], rule.zone.as_bytes()].concat();
        plan.ask(&name, rule.kind, Use::Hash { list: number_of, value: told.into() });
    }
}

/// By the kind that the rule says; else the value itself.
fn hash(rule: &HashRule, value: &[u8]) -> Vec<u8> {
    if is(rule, "sha256") {
        base32(&Sha256::digest(value))
    } else if is(rule, "sha1") {
        hex(&Sha1::digest(value))
    } else if is(rule, "md5") {
        hex(&Md5::digest(value))
    } else {
        value.to_vec()
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len() * 2);
    // Writing to a String cannot fail.
    bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text.into_bytes()
}

/// RFC 4648 section 6, in lower case and without padding.
fn base32(bytes: &[u8]) -> Vec<u8> {
    let (mut text, mut bits, mut held) = (Vec::with_capacity(bytes.len() * 8 / 5 + 1), 0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(BASE32[(bits >> held & 31) as usize]);
        }
    }
    if held > 0 {
        text.push(BASE32[(bits << (5 - held) & 31) as usize]);
    }
    text
}

// ---- addresses of mail

fn addresses(
    rule: &HashRule,
    from: &[String],
    domains: Option<&Domains>,
    lists: &Lists,
    texts: &Texts<'_>,
) -> Vec<Vec<u8>> {
    let registry = &texts.settings().registry;
    let recipients: HashSet<Vec<u8>> = if from.iter().any(|field| field != "ALLFROM") {
        let names = ["X-Original-To:addr", "Apparently-To:addr", "Delivered-To:addr", "Envelope-To:addr"];
        let all = names.into_iter().flat_map(|name| texts.header(&HeaderRequest::parse(name)).0);
        all.map(|address| address.to_ascii_lowercase()).collect()
    } else {
        HashSet::new()
    };
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for mut email in from.iter().flat_map(|field| emails_in(field, rule, lists, texts)) {
        let Some(at) = memchr::memrchr(b'@', &email).filter(|at| at + 1 < email.len()) else { continue };
        let (user, mut domain) = (email[..at].to_vec(), email[at + 1..].to_vec());
        let lower = String::from_utf8_lossy(&domain).to_lowercase();
        if let Some(other) = lists.hashing.aliases.get(&lower) {
            domain = other.clone().into_bytes();
            email = [&user, &b"@"[..], &domain].concat();
        }
        if let Some(Domains::These(these)) = domains
            && !std::str::from_utf8(&domain).is_ok_and(|domain| these.contains(domain))
        {
            continue;
        }
        if !seen.insert(email.clone()) || recipients.contains(&email) || is_welcome(lists, &email) {
            continue;
        }
        // Who names domains means just these.
        if domains.is_none() && (skipped(lists, &domain) || skipped(lists, &registry.trim_domain(&domain))) {
            continue;
        }
        found.push(assembled(rule, registry, user, domain));
    }
    found
}

fn is_welcome(lists: &Lists, email: &[u8]) -> bool {
    match &lists.hashing.welcome {
        Some(matcher) => matches!(matcher.find(email, 0), Ok(Some(_))),
        None => emails::is_common(email),
    }
}

fn skipped(lists: &Lists, domain: &[u8]) -> bool {
    !lists.skipped.is_empty() && lists.skipped.contains(&String::from_utf8_lossy(domain).to_lowercase())
}

/// What is hashed of an address.
fn assembled(rule: &HashRule, registry: &Registry, mut user: Vec<u8>, domain: Vec<u8>) -> Vec<u8> {
    if is(rule, "nodot") {
        user.retain(|byte| *byte != b'.');
    }
    if is(rule, "notag")
        && let Some(plus) = memchr::memchr(b'+', &user)
    {
        user.truncate(plus);
    }
    let made = if is(rule, "domain") {
        registry.trim_domain(&domain)
    } else if is(rule, "host") {
        domain
    } else if is(rule, "user") {
        user
    } else {
        [&user, &b"@"[..], &domain].concat()
    };
    if is(rule, "case") { made } else { made.to_ascii_lowercase() }
}

/// The addresses in a field, in the text (`body`), or in whoever it is from.
fn emails_in(field: &str, rule: &HashRule, lists: &Lists, texts: &Texts<'_>) -> Vec<Vec<u8>> {
    let registry = &texts.settings().registry;
    match field {
        "ALLFROM" => from_addresses(texts),
        "body" => {
            let mut linked = Vec::new();
            for uri in
                texts.uris().iter().filter(|uri| uri.types.contains("a") && !uri.types.contains("parsed"))
            {
                if uri.raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:")) {
                    linked.extend_from_slice(&uri.raw[7..]);
                    linked.push(b'\n');
                }
            }
            let mut found = pick(lists, registry, &linked, false);
            let mut body = texts.body().concat();
            if is(rule, "nouri") {
                body = without_uris(&body);
            }
            found.extend(pick(lists, registry, &body, is(rule, "noquote")));
            found
        }
        field => {
            let values = texts.header(&HeaderRequest::parse(field)).0;
            pick(lists, registry, &values.join(&b'\n'), false)
        }
    }
}

/// All addresses of a text; `unquoted`: only those that nobody is quoted by.
fn pick(lists: &Lists, registry: &Registry, text: &[u8], unquoted: bool) -> Vec<Vec<u8>> {
    let ranges = match &lists.hashing.email {
        None => emails::find(registry, text),
        Some(matcher) => {
            let (mut ranges, mut from) = (Vec::new(), 0);
            while ranges.len() < MOST_MATCHES
                && let Ok(Some(range)) = matcher.find(text, from)
            {
                from = range.end.max(range.start + 1);
                ranges.push(range);
            }
            ranges
        }
    };
    let kept = ranges.into_iter().filter(|range| !(unquoted && emails::is_quoted(text, range)));
    kept.map(|range| text[range].to_vec()).collect()
}

/// Without addresses of pages that have an `@`.
fn without_uris(text: &[u8]) -> Vec<u8> {
    const MOST_BEFORE: usize = 255;
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, b"://") {
        let start = [&b"https"[..], b"http"].into_iter().find_map(|scheme| {
            let start = at.checked_sub(scheme.len())?;
            text[start..at].eq_ignore_ascii_case(scheme).then_some(start)
        });
        let Some(start) = start.filter(|start| *start >= from) else { continue };
        let run = |from: usize, most: usize| {
            text[from..].iter().take(most).take_while(|byte| !byte.is_ascii_whitespace()).count()
        };
        let rest = &text[at + 3..at + 3 + run(at + 3, MOST_BEFORE + 3)];
        let sign = memchr::memrchr(b'@', rest).map(|sign| sign + 1);
        let escaped = memchr::memmem::rfind(rest, b"%40").map(|sign| sign + 3);
        let Some(sign) = sign.max(escaped) else { continue };
        let end = at + 3 + sign;
        let start = if start > from && text[start - 1] == b'<' { start - 1 } else { start };
        out.extend_from_slice(&text[from..start]);
        out.push(b' ');
        from = end + run(end, MOST_BEFORE);
    }
    out.extend_from_slice(&text[from..]);
    out
}

// ---- addresses of pages, texts, tags, parts

fn uris(rule: &HashRule, lists: &Lists, texts: &Texts<'_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for uri in texts.uris() {
        let mail = uri.raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:"));
        let linked = uri.types.contains("a") || uri.types.contains("parsed");
        let skip =
            |(host, domain): &(bytes::Bytes, bytes::Bytes)| skipped(lists, host) || skipped(lists, domain);
        if mail || !linked || uri.hosts.is_empty() || uri.hosts.iter().any(skip) {
            continue;
        }
        for form in &uri.cleaned {
            found.push(if is(rule, "case") { form.to_vec() } else { form.to_ascii_lowercase() });
        }
    }
    found
}

/// What the first group of an expression is, everywhere; or as far as it was found, and why no further.
fn matches(
    plan: &Plan,
    rule: &HashRule,
    matcher: &Matcher,
    texts: &[bytes::Bytes],
) -> (Vec<Vec<u8>>, Option<String>) {
    let mut found = Vec::new();
    for text in texts {
        if plan.is_over() {
            return (found, Some("the time was over while it was looked for what to ask".into()));
        }
        let mut from = 0;
        loop {
            // It looks at the clock, which the search for groups does not.
            let matched = matcher.find_while(text, from, &|| !plan.is_over());
            let grouped = matched.and_then(|matched| match matched {
                Some(_) => matcher.first_group(text, from),
                None => Ok(None),
            });
            let (range, group) = match grouped {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(why) => return (found, Some(why.message)),
            };
            from = range.end.max(range.start + 1);
            let Some(group) = group else { continue };
            let mut value = text[group].to_vec();
            if !is(rule, "case") {
                value.make_ascii_lowercase();
            }
            if is(rule, "num") {
                value.retain(u8::is_ascii_digit);
            }
            if !value.is_empty() {
                found.push(value);
            }
            if found.len() >= MOST_MATCHES {
                return (found, None);
            }
        }
    }
    (found, None)
}

/// The value of a tag as it is asked for, if the rule asks for such.
fn tag_value(rule: &HashRule, lists: &Lists, registry: &Registry, value: &[u8]) -> Option<Vec<u8>> {
    let is_ip = ip::is_ip(value);
    let v4 = is_ip && !value.contains(&b':');
    if is(rule, "ip") && !is_ip || is(rule, "ipv4") && !v4 || is(rule, "ipv6") && (!is_ip || v4) {
        return None;
    }
    if is_ip {
        return if is(rule, "revip") { ip::reversed(value) } else { Some(value.to_vec()) };
    }
    let valid = is_fqdn_valid(&idn_to_ascii(value));
    if is(rule, "fqdn") && !valid {
        return None;
    }
    let domain = valid.then(|| registry.trim_domain(value));
    if let Some(domain) = &domain
        && (skipped(lists, value) || skipped(lists, domain))
    {
        return None;
    }
    if is(rule, "tld") && !registry.is_domain_valid(value) {
        return None;
    }
    match domain {
        Some(domain) if is(rule, "trim") => Some(domain),
        _ => Some(value.to_vec()),
    }
}

/// Hashes of the parts.
fn attachments(rule: &HashRule, lists: &Lists, texts: &Texts<'_>) -> Vec<Vec<u8>> {
    let ignored = &lists.hashing.ignored;
    let listed =
        |text: &[u8]| !ignored.is_empty() && ignored.contains(&String::from_utf8_lossy(text).to_lowercase());
    let (least, largest) = (number(rule, "minsize"), number(rule, "maxsize"));
    let mut found = Vec::new();
    for part in texts.tree().leaves().filter(|part| !part.kind.is_empty()) {
        let size = part.decoded().len();
        let fits =
            size > 0 && least.is_none_or(|least| size >= least) && largest.is_none_or(|most| size <= most);
        if fits && !listed(&part.kind) && !part.name.as_deref().is_some_and(listed) {
            found.push(hash(rule, part.decoded()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings() {
        assert_eq!(base32(b""), b"");
        assert_eq!(base32(b"foobar"), b"mzxw6ytboi");
        assert_eq!(base32(&Sha256::digest(b"x")).len(), 52);
        assert_eq!(hex(&[0, 0xab]), b"00ab");
    }

    #[test]
    fn addresses_of_pages_with_a_sign() {
        for (text, left) in [
            ("see <http://a.com/?m=b@c.com> x@y.com", "see   x@y.com"),
            ("https://a.com/b%40c.com/x z", "  z"),
            ("http://a.com/ b@c.com", "http://a.com/ b@c.com"),
            ("ftp://a@b.com", "ftp://a@b.com"),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_uris(text.as_bytes())), left, "{text}");
        }
    }
}
