//! SpamAssassin's AccessDB: whether the access table of a mail server would refuse the sender.

use std::collections::{HashMap, HashSet};

use super::{Function, Native, of, text};

pub(super) const FUNCTIONS: &[(&str, Function)] = &[(NAME, |native, call| {
    of(native.patterns.files.access.get(&text(call, 0)).is_some_and(|table| refuses(native, table)))
})];

/// The function whose first argument is the file of the table.
pub const NAME: &str = "check_access_database";

/// Keys and values of a table.
pub type Access = HashMap<Vec<u8>, Vec<u8>>;

/// The last entry that says something decides, except that one which allows ends the search.
fn refuses(native: &Native<'_>, table: &Access) -> bool {
    let mut refused = false;
    let mut seen = HashSet::new();
    for name in keys(native) {
        for key in [[b"From:", &name[..]].concat(), name] {
            if !seen.insert(key.clone()) {
                continue;
            }
            let found = table.get(&key).filter(|value| !is_false(value));
            let found =
                found.or_else(|| table.get(&[&key[..], b"\0"].concat()).filter(|value| !is_false(value)));
            let Some(value) = found else { continue };
            let word: Vec<u8> = value
                .iter()
                .copied()
                .take_while(|octet| octet.is_ascii_alphanumeric() || *octet == b'_')
                .collect();
            let word = word.to_ascii_uppercase();
            if word == b"OK" || word == b"SKIP" {
                return false;
            }
            let number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
            refused |= number || matches!(word.as_slice(), b"REJECT" | b"ERROR" | b"DISCARD");
        }
    }
    refused
}

fn is_false(value: &[u8]) -> bool {
    value.is_empty() || value == b"0"
}

/// What is looked up: addresses of senders, and their parts; name and address of the client.
fn keys(native: &Native<'_>) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for sender in native.senders() {
        keys.push(sender.clone());
        let sign = memchr::memchr(b'@', sender);
        let user = &sender[..sign.unwrap_or(sender.len())];
        if !user.is_empty() {
            keys.push([user, b"@"].concat());
        }
        if let Some(domain) = sign.map(|at| &sender[at + 1..]).filter(|domain| !domain.is_empty()) {
            parents(domain, &mut keys);
        }
    }
    if let Some(relay) = native.texts.relays().untrusted.first() {
        if !relay.no_reverse_dns {
            parents(&relay.rdns.to_ascii_lowercase(), &mut keys);
        }
        let ip: Vec<u8> =
            relay.ip.iter().copied().filter(|octet| octet.is_ascii_digit() || *octet == b'.').collect();
        let mut net = ip.as_slice();
        keys.push(net.to_vec());
        while let Some(dot) = memchr::memrchr(b'.', net) {
            net = &net[..dot];
            keys.push(net.to_vec());
        }
    }
    keys
}

/// A name, and what is left of it without its first labels.
fn parents(name: &[u8], keys: &mut Vec<Vec<u8>>) {
    let mut rest = name;
    keys.push(rest.to_vec());
    while let Some(dot) = memchr::memchr(b'.', rest) {
        rest = &rest[dot + 1..];
        keys.push(rest.to_vec());
    }
}
