//! Hosts in links by the place of their addresses: SpamAssassin's URILocalBL.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::country::Countries;
use super::networks::Networks;
use super::{Texts, ip};
use crate::conf::Settings;

/// The most hosts of one message that are looked at for a rule.
const MOST_HOSTS: usize = 100;

/// The directives of the plugin.
pub(crate) const DIRECTIVES: [&str; 5] =
    ["uri_block_cc", "uri_block_cont", "uri_block_isp", "uri_block_cidr", "uri_block_exclude"];

/// What the rules of URILocalBL look for, by their names.
#[derive(Debug, Default)]
pub struct Blocks(BTreeMap<String, Block>);

/// What one of them looks for: an address that is in one of these.
#[derive(Debug, Default)]
pub(crate) struct Block {
    countries: Codes,
    continents: Codes,
    /// In capitals, without blanks.
    providers: HashSet<String>,
    networks: Networks,
    /// Hosts, domains and addresses that are let off, in lower case.
    excluded: HashSet<String>,
}

/// Codes of countries or continents.
#[derive(Debug, Default)]
struct Codes {
    /// All but these.
    negated: bool,
    codes: BTreeSet<String>,
}

/// The hosts that a rule looks at.
pub(crate) struct Hosts {
    /// Those that are addresses themselves.
    pub addresses: Vec<String>,
    /// Names.
    pub names: Vec<String>,
}

/// Whether what stands behind the name of a rule can be used.
pub(crate) fn is_valid(directive: &str, value: &str) -> bool {
    let mut words = value.split_whitespace();
    match directive {
        "uri_block_cc" => codes(value, |code| {
            code.len() == 2 && code[0].is_ascii_alphabetic() && code[1].is_ascii_alphanumeric()
        })
        .is_some(),
        "uri_block_cont" => {
            codes(value, |code| code.len() == 2 && code.iter().all(u8::is_ascii_alphabetic)).is_some()
        }
        "uri_block_isp" => !quoted(value).is_empty(),
        "uri_block_cidr" => words.all(|word| {
            let (address, length) = word.split_once('/').unwrap_or((word, "0"));
            let digits = length.bytes().all(|digit| digit.is_ascii_digit());
            ip::is_ip(address.as_bytes()) && digits && (1..=3).contains(&length.len())
        }),
        _ => words.next().is_some(),
    }
}

impl Blocks {
    /// Reads the lines of all rules; they were looked at by `is_valid`.
    pub(crate) fn of(settings: &Settings) -> Blocks {
        let mut blocks = Blocks::default();
        for directive in DIRECTIVES {
            for line in settings.lines(directive) {
                let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                blocks.0.entry(name.to_owned()).or_default().add(directive, value);
            }
        }
        blocks
    }

    /// What a rule looks for.
    pub(crate) fn get(&self, rule: &str) -> Option<&Block> {
        self.0.get(rule)
    }

    /// Whether a rule wants to know countries or continents.
    pub fn want_countries(&self) -> bool {
        self.0.values().any(|block| !block.countries.is_empty() || !block.continents.is_empty())
    }

    /// Whether a rule wants to know providers.
    pub fn want_providers(&self) -> bool {
        self.0.values().any(|block| !block.providers.is_empty())
    }
}

impl Block {
    fn add(&mut self, directive: &str, value: &str) {
        match directive {
            "uri_block_cc" => self.countries.add(value),
            "uri_block_cont" => self.continents.add(value),
            "uri_block_isp" => self.providers.extend(quoted(value).into_iter().map(|name| squeezed(&name))),
            "uri_block_cidr" => {
                for word in value.split_whitespace() {
                    // As in SpamAssassin, a length that is too long makes no network.
                    let _ = self.networks.add(word);
                }
            }
            _ => self.excluded.extend(value.split_whitespace().map(str::to_lowercase)),
        }
    }

    /// The hosts of links and text of a message, without those that are let off.
    pub fn hosts(&self, texts: &Texts<'_>) -> Hosts {
        let mut seen = HashSet::new();
        let mut hosts = Hosts { addresses: Vec::new(), names: Vec::new() };
        let shown = texts.uris().iter().filter(|uri| uri.types.contains("a") || uri.types.contains("parsed"));
        for (host, domain) in shown.flat_map(|uri| &uri.hosts) {
            if seen.len() == MOST_HOSTS {
                break;
            }
            let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
            let (host, domain) = (lower(host), lower(domain));
            if self.excluded.contains(&domain) || self.excluded.contains(&host) || !seen.insert(host.clone())
            {
                continue;
            }
            let is_address = ip::is_ip(host.as_bytes());
            if is_address { &mut hosts.addresses } else { &mut hosts.names }.push(host);
        }
        hosts
    }

    /// Whether an address is let off.
    pub fn lets_off(&self, address: &str) -> bool {
        self.excluded.contains(&address.to_lowercase())
    }

    /// Why a host with this address is one that the rule looks for.
    pub fn hit(&self, host: &str, address: &str, countries: Option<&dyn Countries>) -> Option<String> {
        if self.lets_off(address) {
            return None;
        }
        if let Some(countries) = countries
            && let Some(ip) = ip::parse(address.as_bytes())
        {
            if countries.know_countries() {
                let country = code(address, countries.country(ip));
                if self.countries.hold(&country) {
                    return Some(format!("Host: {host} in country {country}"));
                }
                let continent = countries.continent(ip).unwrap_or_else(|| "XX".into());
                if self.continents.hold(&continent) {
                    return Some(format!("Host: {host} in continent {continent}"));
                }
            }
            let provider = (!self.providers.is_empty()).then(|| countries.provider(ip)).flatten();
            if let Some(provider) = provider.filter(|name| self.providers.contains(&squeezed(name))) {
                return Some(format!("Host: {host} in isp {provider}"));
            }
        }
        self.networks.contains(address.as_bytes()).then(|| format!("Host: {host} in cidr"))
    }
}

impl Codes {
    fn add(&mut self, value: &str) {
        self.negated |= value.trim_start().starts_with('!');
        let bare = value.split_whitespace().map(|code| code.trim_start_matches('!').to_ascii_uppercase());
        self.codes.extend(bare);
    }

    fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    fn hold(&self, code: &str) -> bool {
        !self.is_empty() && self.codes.contains(code) != self.negated
    }
}

/// The code of a country as SpamAssassin has it: `**` for addresses of no network of the Internet, `XX` for those that are in
/// no database.
pub(crate) fn code(address: &str, found: Option<String>) -> String {
    if ip::is_private(address.as_bytes()) {
        return "**".into();
    }
    found.unwrap_or_else(|| "XX".into())
}

/// Codes, all with `!` before them or none.
fn codes(value: &str, fits: impl Fn(&[u8]) -> bool) -> Option<()> {
    let mut negated = None;
    for word in value.split_whitespace() {
        let bare = word.strip_prefix('!').unwrap_or(word);
        if !fits(bare.as_bytes()) || *negated.get_or_insert(bare != word) != (bare != word) {
            return None;
        }
    }
    negated.map(|_| ())
}

/// Words, those with blanks in quotes.
fn quoted(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (name, behind) = match rest.strip_prefix('"').and_then(|inside| inside.split_once('"')) {
            Some(parts) => parts,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let name = name.replace('"', "");
        if !name.trim().is_empty() {
            names.push(name);
        }
        rest = behind.trim_start();
    }
    names
}

/// In capitals, without blanks.
fn squeezed(name: &str) -> String {
    name.to_uppercase().split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[derive(Debug)]
    struct Two;

    impl Countries for Two {
        fn country(&self, ip: IpAddr) -> Option<String> {
            ip.to_string().starts_with("203.").then(|| "NL".into())
        }
        fn continent(&self, ip: IpAddr) -> Option<String> {
            self.country(ip).map(|_| "EU".into())
        }
        fn provider(&self, ip: IpAddr) -> Option<String> {
            self.country(ip).map(|_| "Data Rancid".into())
        }
    }

    #[test]
    fn lines_that_can_be_used() {
        for (directive, value, valid) in [
            ("uri_block_cc", "cn a2 RU", true),
            ("uri_block_cc", "!fi !se", true),
            ("uri_block_cc", "!fi se", false),
            ("uri_block_cc", "2a", false),
            ("uri_block_cc", "", false),
            ("uri_block_cont", "eu", true),
            ("uri_block_cont", "e1", false),
            ("uri_block_isp", "\"Data Rancid\" Other", true),
            ("uri_block_isp", "\"\"", false),
            ("uri_block_cidr", "192.0.2.1 192.0.2.0/24 2001:db8::/32", true),
            ("uri_block_cidr", "192.0.2.0/", false),
            ("uri_block_cidr", "192.0.2/24", false),
            ("uri_block_exclude", "www.example.com", true),
        ] {
            assert_eq!(is_valid(directive, value), valid, "{directive} {value}");
        }
    }

    #[test]
    fn what_each_rule_looks_for() {
        for (directive, value, address, hit) in [
            ("uri_block_cc", "nl", "203.0.113.1", Some("Host: h in country NL")),
            ("uri_block_cc", "nl", "198.51.100.1", None),
            ("uri_block_cc", "xx", "198.51.100.1", Some("Host: h in country XX")),
            ("uri_block_cc", "!nl !de", "203.0.113.1", None),
            ("uri_block_cc", "!de", "203.0.113.1", Some("Host: h in country NL")),
            ("uri_block_cc", "!de", "10.0.0.1", Some("Host: h in country **")),
            ("uri_block_cont", "eu", "203.0.113.1", Some("Host: h in continent EU")),
            ("uri_block_cont", "as", "203.0.113.1", None),
            ("uri_block_isp", "\"DATA  rancid\"", "203.0.113.1", Some("Host: h in isp Data Rancid")),
            ("uri_block_isp", "Data", "203.0.113.1", None),
            ("uri_block_cidr", "203.0.113.0/24", "203.0.113.1", Some("Host: h in cidr")),
            ("uri_block_cidr", "2001:db8::/32", "2001:db8::1", Some("Host: h in cidr")),
            ("uri_block_cidr", "203.0.113.0/99", "203.0.113.1", None),
            ("uri_block_exclude", "203.0.113.1", "203.0.113.1", None),
        ] {
            let mut block = Block::default();
            block.add(directive, value);
            assert_eq!(block.hit("h", address, Some(&Two)).as_deref(), hit, "{directive} {value} {address}");
            let geographic = !matches!(directive, "uri_block_cidr");
            let without = block.hit("h", address, None);
            assert_eq!(without.is_some(), hit.is_some() && !geographic, "{directive} {value}: no database");
            block.add("uri_block_exclude", address);
            assert_eq!(block.hit("h", address, Some(&Two)), None, "{directive} {value}");
        }
    }
}
