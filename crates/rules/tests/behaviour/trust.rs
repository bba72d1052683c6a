//! Which relays are trusted and internal, by the networks that are configured.

use super::{Case, case};

pub fn cases() -> Vec<Case> {
    let asked = ["X-Spam-Relays-Trusted", "X-Spam-Relays-Untrusted"];
    PATHS
        .iter()
        .flat_map(|path| {
            let mail: String = path.hops.iter().map(|hop| field(hop)).collect::<String>() + "\nx\n";
            let wants = [path.trusted, path.untrusted];
            asked.into_iter().zip(wants).map(move |(request, want)| {
                let relays: Vec<String> = want.split_whitespace().map(relay).collect();
                case(path.conf, &mail, &format!("get {request}"), &relays.join(" "))
            })
        })
        .collect()
}

/// A hop: `192.0.2.1` is a `Received` field, `X-Some-Field=192.0.2.1` another field.
fn field(hop: &str) -> String {
    match hop.split_once('=') {
        Some((name, value)) => format!("{name}: {value}\n"),
        None => format!(
            "Received: from s.example.net ({hop}) by r.example.com\n\twith SMTP; 1 Jan 2026 00:00:00 -0000\n"
        ),
    }
}

/// `192.0.2.1/i` for an internal one, `/m` behind it where it is a submission server; `-` before it for one without a name.
fn relay(word: &str) -> String {
    let (ip, flags) = word.split_once('/').unwrap_or((word, ""));
    let (ip, names) = match ip.strip_prefix('-') {
        Some(ip) => (ip, ["", "", ""]),
        None => (ip, ["s.example.net", "s.example.net", "r.example.com"]),
    };
    let [rdns, helo, by] = names;
    let (intl, msa) = (u8::from(flags.contains('i')), u8::from(flags.contains('m')));
    format!("[ ip={ip} rdns={rdns} helo={helo} by={by} ident= envfrom= intl={intl} id= auth= msa={msa} ]")
}

struct Path {
    conf: &'static str,
    hops: &'static [&'static str],
    trusted: &'static str,
    untrusted: &'static str,
}

const fn path(
    conf: &'static str,
    hops: &'static [&'static str],
    trusted: &'static str,
    untrusted: &'static str,
) -> Path {
    Path { conf, hops, trusted, untrusted }
}

const PATHS: &[Path] = &[
    // The loopback is always trusted.
    path("", &["127.0.1.2"], "127.0.1.2/i", ""),
    path("trusted_networks 127/8", &["127.0.1.2"], "127.0.1.2/i", ""),
    path("trusted_networks 192.0/16", &["127.0.1.2"], "127.0.1.2/i", ""),
    path("", &["::1"], "::1/i", ""),
    // Without configuration private addresses are, and the first public one.
    path("", &["10.0.1.2"], "10.0.1.2/i", ""),
    path("", &["10.0.1.2", "192.0.2.1"], "10.0.1.2/i", "192.0.2.1"),
    path("", &["192.0.2.1", "198.51.100.1"], "", "192.0.2.1 198.51.100.1"),
    path(
        "",
        &["192.168.3.4", "172.16.0.9", "203.0.113.1", "10.1.1.1"],
        "192.168.3.4/i 172.16.0.9/i",
        "203.0.113.1 10.1.1.1",
    ),
    // The first network that fits counts.
    path("trusted_networks 192.0/16 !192.0/16", &["192.0.2.1"], "192.0.2.1/i", ""),
    path("trusted_networks !192.0/16 192.0/16", &["192.0.2.1"], "", "192.0.2.1"),
    path("trusted_networks 192.0/16", &["198.51.100.1"], "", "198.51.100.1"),
    path("trusted_networks 198.51/16", &["198.51.100.1"], "198.51.100.1/i", ""),
    path("trusted_networks 192/8 !192.0.2.1", &["192.0.2.1"], "192.0.2.1/i", ""),
    path("trusted_networks !192.0.2.1 192/8", &["192.0.2.1", "192.0.2.2"], "", "192.0.2.1 192.0.2.2"),
    // Internal are those that are said to be, else all that are trusted.
    path("trusted_networks 198.51/16\ninternal_networks 198.51/16", &["198.51.100.1"], "198.51.100.1/i", ""),
    path("internal_networks 198.51/16", &["198.51.100.1"], "198.51.100.1/i", ""),
    path(
        "trusted_networks 198.51/16 192.0/16\ninternal_networks 192.0/16",
        &["198.51.100.1"],
        "198.51.100.1",
        "",
    ),
    path("trusted_networks 198.51/16\ninternal_networks 192.0.8/24", &["198.51.100.1"], "198.51.100.1", ""),
    path(
        "trusted_networks 198.51/16\ninternal_networks !203.0.113.1 198.51/16",
        &["198.51.100.1"],
        "198.51.100.1/i",
        "",
    ),
    path(
        "trusted_networks 198.51/16 192.0/16\ninternal_networks 198.51/16",
        &["198.51.100.1", "192.0.2.1", "198.51.100.2"],
        "198.51.100.1/i 192.0.2.1 198.51.100.2",
        "",
    ),
    // Whoever is behind a submission server is trusted as it is.
    path(
        "trusted_networks 198.51/16\nmsa_networks 198.51.100.2",
        &["198.51.100.1", "198.51.100.2", "203.0.113.5"],
        "198.51.100.1/i 198.51.100.2/im 203.0.113.5/i",
        "",
    ),
    path(
        "trusted_networks 198.51/16\ninternal_networks !198.51.100.2 198.51/16\nmsa_networks 198.51.100.2",
        &["198.51.100.1", "198.51.100.2", "203.0.113.5"],
        "198.51.100.1/i 198.51.100.2/m 203.0.113.5",
        "",
    ),
    path(
        "trusted_networks !198.51.100.2 198.51/16 203.0.113.5\nmsa_networks 203.0.113.5",
        &["198.51.100.1", "198.51.100.2", "203.0.113.5"],
        "198.51.100.1/i",
        "198.51.100.2 203.0.113.5",
    ),
    path(
        "trusted_networks 198.51/16\nmsa_networks 203.0.113.5",
        &["198.51.100.1", "203.0.113.5"],
        "198.51.100.1/i",
        "203.0.113.5",
    ),
    // Fields that tell where mail was submitted.
    path(
        "originating_ip_headers X-Originating-IP\ntrusted_networks 198/8",
        &["198.51.100.1", "X-Originating-IP=203.0.113.2"],
        "198.51.100.1/i",
        "-203.0.113.2",
    ),
    path(
        "originating_ip_headers X-Originating-IP\ntrusted_networks 198/8 203/8\ninternal_networks 198/8",
        &["198.51.100.1", "X-Originating-IP=203.0.113.2"],
        "198.51.100.1/i -203.0.113.2",
        "",
    ),
    path(
        "originating_ip_headers X-Originating-IP\ntrusted_networks 198/8\nmsa_networks 198/8",
        &["198.51.100.1", "X-Originating-IP=203.0.113.2"],
        "198.51.100.1/im -203.0.113.2/i",
        "",
    ),
    path("", &["X-Testing-IP=203.0.113.2"], "", ""),
    path("originating_ip_headers X-Testing-IP", &["X-Testing-IP=[203.0.113.2]"], "", "-203.0.113.2"),
    path(
        "originating_ip_headers X-Originating-IP\nclear_originating_ip_headers",
        &["X-Originating-IP=203.0.113.2"],
        "",
        "",
    ),
    // IPv6.
    path("trusted_networks 2001:db8::/32", &["2001:db8::1"], "2001:db8::1/i", ""),
    path("trusted_networks 2001:db8::2", &["2001:db8::1"], "", "2001:db8::1"),
    path(
        "trusted_networks DEAD:BEEF:0000:0102:0304:0506:0708:0000/108",
        &["DEAD:BEEF:0000:0102:0304:0506:0708:0a0b"],
        "DEAD:BEEF:0000:0102:0304:0506:0708:0a0b/i",
        "",
    ),
];
