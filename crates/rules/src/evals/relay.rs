//! SpamAssassin's RelayEval: the servers that a message came through.

use super::pattern::{Fixed, fixed, groups, hits};
use super::{Function, Native, of, text};
use crate::texts::{Relay, ip};

static NUMERIC: Fixed = Fixed::new(|| {
    fixed(
        r"(?i)\bhelo=((?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]\d|\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]\d|\d))(?:[\x00-\x20,;\[()<>]|\z)",
    )
});
static DOTCOM: Fixed = Fixed::new(|| {
    fixed(
        r"(?i)(?:\.|^)(?:lycos\.com|lycos\.co\.uk|hotmail\.com|localhost\.com|excite\.com|caramail\.com|cs\.com|aol\.com|msn\.com|yahoo\.com|drizzle\.com)\n?\z",
    )
});
static HOST: Fixed = Fixed::new(|| fixed(r"^\w+(?:[\w.-]+\.)+\w+\n?\z"));

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_for_numeric_helo", |native, _| {
        let text = &native.texts.relays().untrusted_text;
        of(groups(&NUMERIC, text).and_then(|found| found[1]).is_some_and(|helo| !ip::is_private(helo)))
    }),
    ("check_for_illegal_ip", |_, _| of(false)),
    ("helo_ip_mismatch", |native, _| {
        let mismatch = |relay: &Relay| {
            let public = |text: &[u8]| is_v4(text) && !ip::is_private(text);
            let net = memchr::memrchr(b'.', &relay.helo).map(|dot| &relay.helo[..=dot]);
            public(&relay.helo) && public(&relay.ip) && net.is_some_and(|net| !relay.ip.starts_with(net))
        };
        of(native.texts.relays().untrusted.iter().any(mismatch))
    }),
    ("check_all_trusted", |native, _| {
        let relays = native.texts.relays();
        of(!relays.trusted.is_empty() && relays.untrusted.is_empty() && relays.unparseable == 0)
    }),
    ("check_no_relays", |native, _| {
        let relays = native.texts.relays();
        of(relays.trusted.is_empty() && relays.untrusted.is_empty() && relays.unparseable == 0)
    }),
    ("check_relays_unparseable", |native, _| of(native.texts.relays().unparseable > 0)),
    ("check_for_sender_no_reverse", |native, _| {
        let last = native.texts.relays().untrusted.last();
        of(last.is_some_and(|relay| relay.rdns.contains(&b'.') && !relay.private))
    }),
    ("check_for_from_domain_in_received_headers", |native, call| {
        let (domain, wanted) = (text(call, 0).to_ascii_lowercase(), text(call, 1) == "true");
        let from = native.value("From:addr").to_ascii_lowercase();
        let relays = native.texts.relays();
        let known = relays.trusted.iter().chain(&relays.untrusted).any(|relay| {
            let ends = |name: &[u8]| name.ends_with(domain.as_bytes());
            ends(&relay.rdns) && ends(&relay.by)
        });
        of(memchr::memmem::find(&from, domain.as_bytes()).is_some() && known == wanted)
    }),
    ("check_for_no_rdns_dotcom_helo", |native, _| {
        let public = native.texts.relays().untrusted.iter().rfind(|relay| !relay.private);
        of(public.is_some_and(|relay| relay.no_reverse_dns && hits(&DOTCOM, &relay.helo)))
    }),
    ("check_for_forged_received_trail", |native, _| of(forged(native).0 > 1)),
    ("check_for_forged_received_ip_helo", |native, _| of(forged(native).1 > 0)),
];

fn is_v4(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok())
}

/// The last two or three labels of a name in lower case; an address as it is.
fn domain(host: &[u8]) -> Vec<u8> {
    let host = host.to_ascii_lowercase();
    if !host.iter().any(u8::is_ascii_alphabetic) {
        return host;
    }
    let end = host.iter().rposition(|octet| *octet != b'.').map_or(0, |at| at + 1);
    let labels: Vec<&[u8]> = host[..end].split(|octet| *octet == b'.').collect();
    let last = labels.last().copied().unwrap_or_default();
    let holds = |what: &[u8]| memchr::memmem::find(last, what).is_some();
    let long = last.len() >= 3 || [&b"ie"[..], b"fr", b"de"].into_iter().any(holds);
    let keep = match (labels.len(), long) {
        (2.., true) => 2,
        (3.., false) => 3,
        _ => return host,
    };
    labels[labels.len() - keep..].join(&b'.')
}

/// How often a server has another name than the one that it handed the message to, and how often the address in HELO is of
/// another network.
fn forged(native: &Native<'_>) -> (usize, usize) {
    let relays = &native.texts.relays().untrusted;
    let (mut names, mut addresses) = (0, 0);
    let mut from: Vec<Option<Vec<u8>>> = relays.iter().map(|relay| Some(domain(&relay.rdns))).collect();
    for (place, relay) in relays.iter().enumerate() {
        let by = domain(&relay.by);
        if !hits(&HOST, &by) {
            continue;
        }
        let local = |name: &Vec<u8>| name == b"localhost" || name == b"localhost.localdomain";
        if from[place].as_ref().is_some_and(local) && relay.ip[..] == b"127.0.0.1"[..] {
            from[place] = None;
        }
        let helo = domain(&relay.helo);
        let class = |text: &[u8]| text.split(|octet| *octet == b'.').take(2).collect::<Vec<_>>().join(&b'.');
        if is_v4(&helo) && is_v4(&relay.ip) && class(&helo) != class(&relay.ip) && !ip::is_private(&helo) {
            addresses += 1;
        }
        let before = place.checked_sub(1).and_then(|place| from[place].as_ref());
        let mismatch = |before: &Vec<u8>| {
            hits(&HOST, before) && *before != by && !(by == b"msn.com" && before == b"hotmail.com")
        };
        names += usize::from(before.is_some_and(mismatch));
    }
    (names, addresses)
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn domains_of_hosts() {
        for (host, expected) in [
            ("mail.example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("www.example.de", "example.de"),
            ("10.0.0.1", "10.0.0.1"),
            ("localhost", "localhost"),
            ("example.uk", "example.uk"),
        ] {
            assert_eq!(domain(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }
}
