//! SpamAssassin's FromNameSpoof: another address in the name of the author.

use super::pattern::glob;
use super::{Function, Native, number, number_of, of, text};
use crate::conf::SPOOFED;
use crate::texts::Tags;

/// An address in a name.
const ADDRESS: &[u8] = br"(?i)\b([\w.!#$%&'*+/=?^_`{|}~-]+\@\w[\w-]*\.\w[\w.-]++)\b";

/// What the name and the address have to do with one another.
#[derive(Debug, Default)]
pub(super) struct Names {
    contains: bool,
    address: bool,
    domain: bool,
    owner: bool,
    is_recipient: bool,
    is_reply: bool,
    pub tags: Tags,
}

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_fromname_spoof", |native, call| {
        let names = names(native);
        let level = match text(call, 0).as_str() {
            "0" | "1" | "2" => number(call, 0),
            _ => number_of(native.settings, "fns_check", 1.0),
        };
        of(names.address && (level < 1.0 || if level < 2.0 { names.owner } else { names.domain }))
    }),
    ("check_fromname_different", |native, _| of(names(native).address)),
    ("check_fromname_domain_differ", |native, _| of(names(native).domain)),
    ("check_fromname_contains_email", |native, _| of(names(native).contains)),
    ("check_fromname_equals_to", |native, _| of(names(native).is_recipient)),
    ("check_fromname_owners_differ", |native, _| of(names(native).owner)),
    ("check_fromname_equals_replyto", |native, _| of(names(native).is_reply)),
];

pub(super) fn names<'n>(native: &'n Native<'_>) -> &'n Names {
    native.memo.names.get_or_init(|| look(native).unwrap_or_default())
}

fn look(native: &Native<'_>) -> Option<Names> {
    let settings = native.settings;
    let trusted = settings.words("fns_ignore_dkim");
    let signed = native.known.dkim.iter().flatten().filter(|signature| signature.valid);
    let mut signers = signed.map(|signature| &signature.identity_domain);
    if signers.any(|domain| trusted.is_some_and(|trusted| trusted.contains(domain))) {
        return None;
    }
    let ignored = settings.lines("fns_ignore_headers").iter().flat_map(|line| line.split_whitespace());
    let is_there = |name: &str| native.header(name).is_some_and(|value| !value.is_empty() && value != "0");
    if ignored.into_iter().any(is_there) {
        return None;
    }
    let registry = &native.texts.settings().registry;
    let domain = |address: &[u8]| Some(registry.uri_to_domain(&[b"mailto:", address].concat())?.0);
    let from = native.value("From:addr").to_ascii_lowercase();
    let from_domain = domain(&from)?;
    let shown = native.value("From:name").to_ascii_lowercase();
    let matcher = native.patterns.grouping(ADDRESS).ok()?;
    let Ok(place) = matcher.group(&shown, 1) else {
        native.leave_out(super::TOO_HARD);
        return None;
    };
    let name = &shown[place?];
    let name_domain = domain(name)?;
    let mut names = Names { contains: true, ..Names::default() };
    // How much stands beside the address, signs twice.
    let signs = |text: &[u8]| text.iter().filter(|c| !matches!(c, b'a'..=b'z' | b'0'..=b'9')).count() as f64;
    let beside = shown.len() as f64 - name.len() as f64 + signs(&shown) - signs(name);
    if beside > number_of(settings, "fns_extrachars", 50.0) {
        return Some(names);
    }
    let (name_owner, from_owner) = (owner(native, name, &name_domain), owner(native, &from, &from_domain));
    names.address = name != from;
    names.domain = name_domain != from_domain;
    names.owner = name_owner != from_owner;
    names.is_reply = native.value("Reply-To:addr").to_ascii_lowercase() == name;
    names.is_recipient = native.to_addresses().iter().any(|address| address == name);
    if names.address || names.owner {
        let tags = [
            ("FNSFNAMEADDR", name),
            ("FNSFNAMEDOMAIN", &name_domain[..]),
            ("FNSFNAMEOWNER", &name_owner[..]),
            ("FNSFADDRADDR", &from[..]),
            ("FNSFADDRDOMAIN", &from_domain[..]),
            ("FNSFADDROWNER", &from_owner[..]),
        ];
        names.tags = tags.map(|(tag, value)| (tag.to_owned(), vec![value.to_vec()])).into();
    }
    Some(names)
}

/// Whose an address is: the list that it is in, else the first label of its domain.
fn owner(native: &Native<'_>, address: &[u8], domain: &[u8]) -> Vec<u8> {
    let lists = native.settings.lists(SPOOFED);
    let listed = |address: &[u8]| {
        let holds = |list: &&&str| {
            let entries = native.settings.addresses(list);
            entries.into_iter().flatten().any(|(entry, _)| glob(entry.as_bytes(), address))
        };
        lists.iter().find(holds).map(|list| list.as_bytes()[SPOOFED.len()..].to_vec())
    };
    let above = || {
        let sign = memchr::memchr(b'@', address).filter(|at| *at > 0)?;
        let host = &address[sign + 1..];
        (!host.is_empty() && host != domain).then(|| [&address[..=sign], domain].concat())
    };
    let first = || domain.split(|octet| *octet == b'.').next().unwrap_or(domain).to_vec();
    listed(address).or_else(|| above().and_then(|address| listed(&address))).unwrap_or_else(first)
}
