//! SpamAssassin's WLBLEval, WelcomeListSubject and VBounce: lists of addresses, hosts, subjects and servers.

use std::collections::HashSet;

use bytes::Bytes;

use super::pattern::{Fixed, all, fixed, glob, groups};
use super::{Function, Native, of, text};
use crate::conf::Network;
use crate::engine::Answer;
use crate::texts::{HeaderRequest, Relay, Texts, find, idn_to_ascii, ip, is_fqdn_valid};

static RECIPIENT: Fixed = Fixed::new(|| fixed(r" for <?(\S+@(\S+?))>?;"));
static QUOTED: Fixed = Fixed::new(|| fixed(r"(?i)^[> ]*Received:"));
static WORD: Fixed = Fixed::new(|| fixed(r"\s(\S+\.\S+)\s"));
static SPACED: Fixed = Fixed::new(|| fixed(r" (\S+\.\S+) "));

macro_rules! both {
    ($($name:expr, $old:expr, $function:expr;)*) => { &[$(($name, $function), ($old, $function),)*] };
}

pub(super) const FUNCTIONS: &[&[(&str, Function)]] = &[
    both! {
        "check_from_in_blocklist", "check_from_in_blacklist", |native, _| of(native.sender_is_in("blocklist_from"));
        "check_to_in_blocklist", "check_to_in_blacklist", |native, _| of(native.to_in("blocklist_to"));
        "check_to_in_welcomelist", "check_to_in_whitelist", |native, _| of(native.to_in("welcomelist_to"));
        "check_from_in_welcomelist", "check_from_in_whitelist", |native, _| of(from(native) > 0);
        "check_forged_in_welcomelist", "check_forged_in_whitelist", |native, _| {
            of(from(native) < 0 && default(native) == 0)
        };
        "check_from_in_default_welcomelist", "check_from_in_default_whitelist", |native, _| of(default(native) > 0);
        "check_forged_in_default_welcomelist", "check_forged_in_default_whitelist", |native, _| {
            of(default(native) < 0 && from(native) == 0)
        };
        "check_uri_host_in_blocklist", "check_uri_host_in_blacklist", |native, _| host(native, "BLOCK");
        "check_uri_host_in_welcomelist", "check_uri_host_in_whitelist", |native, _| host(native, "WELCOME");
        "check_subject_in_welcomelist", "check_subject_in_whitelist", |native, _| subject(native, "welcomelist_subject");
        "check_subject_in_blocklist", "check_subject_in_blacklist", |native, _| subject(native, "blocklist_subject");
        "check_welcomelist_bounce_relays", "check_whitelist_bounce_relays", |native, _| {
            of(*native.memo.bounced.get_or_init(|| bounced(native)))
        };
    },
    &[
        ("check_to_in_more_spam", |native, _| of(native.to_in("more_spam_to"))),
        ("check_to_in_all_spam", |native, _| of(native.to_in("all_spam_to"))),
        ("check_from_in_list", |native, call| of(native.sender_is_in(&text(call, 0)))),
        ("check_to_in_list", |native, call| of(native.to_in(&text(call, 0)))),
        ("check_replyto_in_list", |native, call| {
            let address = native.value("Reply-To:addr");
            of(!address.is_empty() && native.in_list(&text(call, 0), &address))
        }),
        ("check_mailfrom_matches_rcvd", |native, _| of(matches_relay(native))),
        ("check_uri_host_listed", |native, call| host(native, &text(call, 0))),
        ("have_any_bounce_relays", |native, _| of(has_relays(native))),
    ],
];

/// The addresses that the message says it is from, each once.
pub(crate) fn from_addresses(texts: &Texts<'_>) -> Vec<Vec<u8>> {
    let values = |request: &str| texts.header(&HeaderRequest::parse(request)).0;
    let resent = values("Resent-From:first:addr");
    if !resent.is_empty() {
        return unique(resent.iter().map(|one| one.to_vec()));
    }
    let names = ["From", "Envelope-Sender", "Resent-Sender", "X-Envelope-From", "EnvelopeFrom"];
    let found = names.into_iter().flat_map(|name| values(&format!("{name}:addr")));
    unique(found.filter(|one| !one.is_empty()).map(|one| {
        let mut one = one.to_vec();
        one.dedup_by(|one, other| *one == b'.' && *other == b'.');
        one
    }))
}

/// The addresses that it is to.
pub(super) fn to_addresses(native: &Native<'_>) -> Vec<Vec<u8>> {
    let mut resent = native.values("Resent-To:first:addr");
    resent.extend(native.values("Resent-Cc:first:addr"));
    if !resent.is_empty() {
        return unique(resent.iter().map(|one| one.to_vec()));
    }
    let mut found: Vec<Bytes> = Vec::new();
    for line in native.values("Received").into_iter().take(3) {
        if let Some([_, Some(address), Some(host)]) = groups(&RECIPIENT, &line).as_deref()
            && is_fqdn_valid(&idn_to_ascii(host))
        {
            found.push(Bytes::copy_from_slice(address));
        }
    }
    let names = [
        "To",
        "Apparently-To",
        "Delivered-To",
        "Envelope-Recipients",
        "Apparently-Resent-To",
        "X-Envelope-To",
        "Envelope-To",
        "X-Delivered-To",
        "X-Original-To",
        "X-Rcpt-To",
        "X-Real-To",
        "Cc",
    ];
    found.extend(names.into_iter().flat_map(|name| native.values(&format!("{name}:addr"))));
    unique(found.iter().map(|one| one.to_vec()))
}

fn unique(all: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    all.filter(|one| seen.insert(one.clone())).collect()
}

/// The most addresses of a message that are looked for in a list of globs, each of which is tried on each of them.
const MOST_ADDRESSES: usize = 1000;
const TOO_MANY: &str = "there are more than 1000 addresses";

impl Native<'_> {
    /// Whether an address is in a list of globs.
    pub(super) fn in_list(&self, list: &str, address: &[u8]) -> bool {
        let Some(entries) = self.settings.addresses(list) else { return false };
        let address = address.to_ascii_lowercase();
        let exact = std::str::from_utf8(&address).is_ok_and(|address| entries.contains_key(address));
        let mut steps = entries.keys().enumerate().take_while(|(step, _)| !self.is_over_at(*step));
        exact || steps.any(|(_, entry)| glob(entry.as_bytes(), &address))
    }

    fn any_in_list(&self, list: &str, addresses: &[Vec<u8>]) -> bool {
        if self.settings.addresses(list).is_none() {
            return false;
        }
        let found = self.few(addresses).iter().any(|one| self.in_list(list, one));
        if found {
            // What was left out would change nothing.
            self.left_out.set(None);
        }
        found
    }

    /// As many as are looked for; that there are more is noted.
    fn few<'l>(&self, addresses: &'l [Vec<u8>]) -> &'l [Vec<u8>] {
        if addresses.len() > MOST_ADDRESSES {
            self.leave_out(TOO_MANY);
        }
        &addresses[..addresses.len().min(MOST_ADDRESSES)]
    }

    fn sender_is_in(&self, list: &str) -> bool {
        self.any_in_list(list, self.senders())
    }

    fn to_in(&self, list: &str) -> bool {
        self.any_in_list(list, self.to_addresses())
    }
}

/// 1: welcome; -1: it would be if another server had sent it.
fn from(native: &Native<'_>) -> i8 {
    if native.sender_is_in("welcomelist_from") {
        return 1;
    }
    received(native, "welcomelist_from_rcvd")
}

fn default(native: &Native<'_>) -> i8 {
    received(native, "def_welcomelist_from_rcvd")
}

/// The same for lists that name the server.
fn received(native: &Native<'_>, list: &str) -> i8 {
    let Some(entries) = native.settings.addresses(list) else { return 0 };
    let relays = senders(native);
    let mut result = 0;
    for address in native.few(native.senders()).iter().filter(|_| !relays.is_empty()) {
        let address = address.to_ascii_lowercase();
        let mut forged = false;
        let steps = entries.iter().enumerate().take_while(|(step, _)| !native.is_over_at(*step));
        for (_, (_, servers)) in steps.filter(|(_, (entry, _))| glob(entry.as_bytes(), &address)) {
            if servers.iter().any(|server| relays.iter().any(|relay| is_server(relay, server))) {
                return 1;
            }
            forged |= !servers.is_empty();
        }
        if forged && !native.in_list("welcomelist_allows_relays", &address) {
            result = -1;
        }
    }
    result
}

/// The first server that is not trusted, or all that are.
fn senders<'a>(native: &'a Native<'_>) -> Vec<&'a Relay> {
    let relays = native.texts.relays();
    match relays.untrusted.first() {
        Some(relay) => vec![relay],
        None => relays.trusted.iter().collect(),
    }
}

/// `example.com`, or `[192.0.2.0/24]`.
fn is_server(relay: &Relay, server: &str) -> bool {
    if let Some((address, prefix)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let network = Network::parse(&format!("{address}{prefix}"));
        let address = std::str::from_utf8(&relay.ip).ok().and_then(|ip| ip.parse().ok());
        return network.zip(address).is_some_and(|(network, address)| network.holds(address));
    }
    let name = relay.rdns.to_ascii_lowercase();
    let Some(rest) = name.strip_suffix(server.as_bytes()) else { return false };
    rest.is_empty() || rest.ends_with(b".")
}

fn matches_relay(native: &Native<'_>) -> bool {
    let sender = native.value("EnvelopeFrom:addr").to_ascii_lowercase();
    let Some(at) = memchr::memrchr(b'@', &sender) else { return false };
    let domain = &sender[at + 1..];
    let inner = domain
        .iter()
        .enumerate()
        .any(|(place, octet)| *octet == b'.' && place > 0 && place + 1 < domain.len());
    let registry = &native.texts.settings().registry;
    let registered = registry.trim_domain(&idn_to_ascii(domain));
    inner
        && senders(native).iter().any(|relay| {
            !relay.rdns.is_empty() && registry.trim_domain(&idn_to_ascii(&relay.rdns)) == registered
        })
}

/// Whether a host of an address in the message is listed.
fn host(native: &Native<'_>, list: &str) -> Answer {
    let Some(hosts) = native.settings.hosts(list).filter(|hosts| !hosts.is_empty()) else { return of(false) };
    for (step, uri) in native.texts.uris().iter().enumerate() {
        if native.is_over_at(step) {
            break;
        }
        if find(&uri.raw, b"mailto:", 0) == Some(0) {
            continue;
        }
        for (host, _) in &uri.hosts {
            let Ok(host) = std::str::from_utf8(host) else { continue };
            let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let verdict = match address {
                Some(address) => hosts.get(address),
                None if ip::is_ip(host.as_bytes()) => hosts.get(host),
                None => {
                    let parents = std::iter::successors(Some(host), |host| Some(host.split_once('.')?.1));
                    let last = parents.clone().count().saturating_sub(11);
                    parents.skip(last).find_map(|host| hosts.get(host))
                }
            };
            if verdict == Some(&true) {
                return Answer { found: vec![format!("URI: {host}")], ..of(true) };
            }
        }
    }
    of(false)
}

fn subject(native: &Native<'_>, list: &str) -> Answer {
    let subject = native.value("Subject").to_ascii_lowercase();
    let Some(entries) = native.settings.addresses(list) else { return of(false) };
    let mut steps = entries.keys().enumerate().take_while(|(step, _)| !native.is_over_at(*step));
    of(!subject.is_empty() && steps.any(|(_, entry)| glob(format!("*{entry}*").as_bytes(), &subject)))
}

fn has_relays(native: &Native<'_>) -> bool {
    native.settings.addresses("welcomelist_bounce_relays").is_some_and(|list| !list.is_empty())
}

/// A message that came back has a `Received` field of a server of ours.
fn bounced(native: &Native<'_>) -> bool {
    if !has_relays(native) {
        return false;
    }
    let listed = |relay: &&[u8]| native.in_list("welcomelist_bounce_relays", relay);
    let is_received = |line: &[u8]| super::pattern::hits(&QUOTED, line);
    for (step, line) in native.texts.body().iter().filter(|line| is_received(line)).enumerate() {
        if native.is_over_at(step) {
            return false;
        }
        if all(&SPACED, line).iter().any(listed) {
            return true;
        }
    }
    let mut field = Quoted::default();
    let mut begun = false;
    for (step, line) in native.texts.pristine_body().split(|octet| *octet == b'\n').enumerate() {
        begun |= is_received(line);
        if !begun {
            continue;
        }
        if native.is_over_at(step) {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            field = Quoted::default();
        }
        let from = field.text.len().saturating_sub(1);
        field.push(line);
        if field.is_received() && all(&WORD, &field.text[from.min(field.text.len())..]).iter().any(listed) {
            return true;
        }
    }
    false
}

/// A field in the text of a message, put together of its lines.
#[derive(Default)]
struct Quoted {
    text: Vec<u8>,
    /// How much of it is known to be marks of quoting.
    marks: usize,
}

impl Quoted {
    /// No more is kept of one.
    const LONGEST: usize = 64 << 10;

    fn push(&mut self, line: &[u8]) {
        let room = Quoted::LONGEST.saturating_sub(self.text.len());
        self.text.extend_from_slice(&line[..line.len().min(room)]);
        let marks = |octet: &&u8| matches!(octet, b'>' | b' ');
        self.marks += self.text[self.marks..].iter().take_while(marks).count();
    }

    /// As `QUOTED`, without going through it once more with each line.
    fn is_received(&self) -> bool {
        let name = self.text[self.marks..].get(..b"Received:".len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"Received:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_a_text_are_seen_through_marks_of_quoting() {
        for lines in [
            &["Received: a"][..],
            &["> > received: a"],
            &[">", " Received: a"],
            &["> Rece", "ived: a", " b"],
            &[" X-Received: a"],
            &["", "", " Received:"],
            &["> Receive", " d: a"],
            &[">>>"],
        ] {
            let mut field = Quoted::default();
            for line in lines {
                field.push(line.as_bytes());
                assert_eq!(
                    field.is_received(),
                    super::super::pattern::hits(&QUOTED, &field.text),
                    "{lines:?}"
                );
            }
        }
    }
}
