//! What rules files set beside rules: numbers, lists of addresses, networks, headers, templates, and the lines of plugins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::known::{KNOWN, Kind};
use super::text::{characters, number, trimmed, words};

/// The most entries that one list holds.
const MAX_ENTRIES: usize = 1_000_000;
/// The most fields that are added to a message.
const MAX_HEADERS: usize = 500;

/// Before the names of lists of FromNameSpoof.
pub(crate) const SPOOFED: &str = "FNS_";

/// Why a value was not taken, as SpamAssassin words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// `invalid 'key' value`.
    Invalid,
    /// `missing 'key' value`.
    Missing,
    /// In its own words.
    Because(String),
}

/// All settings.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: HashMap<&'static str, String>,
    lines: HashMap<&'static str, Vec<String>>,
    pairs: HashMap<&'static str, BTreeMap<String, String>>,
    addresses: HashMap<String, BTreeMap<String, Vec<String>>>,
    hosts: BTreeMap<String, HashMap<String, bool>>,
    networks: HashMap<&'static str, Vec<Network>>,
    /// Fields added to spam, and to everything else: name without `X-Spam-`, template.
    headers: [Vec<(String, String)>; 2],
    words: HashMap<&'static str, HashSet<String>>,
    /// Plugins that were loaded.
    pub(super) plugins: HashSet<&'static str>,
    /// Flags of `enable_compat`.
    pub(super) compat: HashSet<String>,
    /// Versions of channels, by file.
    pub(super) versions: BTreeMap<String, String>,
}

/// Which mail a header is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Mail at or above the required score.
    Spam = 0,
    /// All other.
    Ham = 1,
}

/// An entry of `trusted_networks` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Written with `!`: what it holds is not in the list.
    pub exclude: bool,
    /// The address, IPv4 as IPv4-mapped IPv6.
    pub address: u128,
    /// How many of its 128 bits count.
    pub prefix: u8,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.exclude { "!" } else { "" };
        match std::net::Ipv6Addr::from_bits(self.address).to_canonical() {
            IpAddr::V4(address) => write!(f, "{mark}{address}/{}", self.prefix.saturating_sub(96)),
            IpAddr::V6(address) => write!(f, "{mark}{address}/{}", self.prefix),
        }
    }
}

impl Network {
    /// Reads `192.0.2.0/24`, `192.0.2`, `192.0.2.0/255.255.255.0`, `[2001:db8::1]/64`, `!…`.
    pub fn parse(text: &str) -> Option<Network> {
        let (exclude, text) = match text.trim().strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.trim()),
        };
        let (address, mask) =
            text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = address.split('%').next().unwrap_or(address);
        let begins_v4 =
            address.split('.').next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        if !begins_v4 {
            let IpAddr::V6(address) = address.parse().ok()? else { return None };
            let prefix = mask.map_or(Some(128), |mask| mask.parse().ok()).filter(|prefix| *prefix <= 128)?;
            return Some(Network { exclude, address: address.to_bits(), prefix });
        }
        let octets: Vec<&str> = address.trim_end_matches('.').split('.').collect();
        if octets.len() > 4 {
            return None;
        }
        let mut bits = 0u32;
        for index in 0..4 {
            let octet = octets.get(index).map_or(Some(0), |octet| octet.parse::<u8>().ok())?;
            bits = bits << 8 | u32::from(octet);
        }
        let prefix = match mask {
            None => u8::try_from(octets.len() * 8).ok()?,
            Some(mask) => match mask.parse::<u8>() {
                Ok(prefix) => prefix,
                Err(_) => {
                    let mask: std::net::Ipv4Addr = mask.parse().ok()?;
                    let ones = mask.to_bits().leading_ones();
                    (mask.to_bits().checked_shl(ones).unwrap_or(0) == 0)
                        .then(|| u8::try_from(ones).ok())??
                }
            },
        };
        (prefix <= 32).then_some(Network {
            exclude,
            address: 0xffff_0000_0000 | u128::from(bits),
            prefix: prefix + 96,
        })
    }

    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let bits = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        self.prefix == 0 || (bits ^ self.address) >> (128 - self.prefix.min(128)) == 0
    }

    /// Whether all of another is in it.
    pub fn covers(&self, other: &Network) -> bool {
        self.prefix <= other.prefix
            && (self.prefix == 0 || (other.address ^ self.address) >> (128 - self.prefix.min(128)) == 0)
    }
}

impl Settings {
    /// A value: what was set last, else the default; `None`: there is neither.
    pub fn get(&self, name: &str) -> Option<&str> {
        if let Some(value) = self.values.get(name) {
            return Some(value);
        }
        let default = KNOWN.settings.get(name)?.first()?.default;
        (!default.is_empty()).then_some(default)
    }

    /// Whether a value was set, and is not only the default.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether a plugin was loaded; its name without `Mail::SpamAssassin::Plugin::`.
    pub fn is_loaded(&self, plugin: &str) -> bool {
        self.plugins.contains(plugin)
    }

    /// The lists of addresses whose names begin so, in order.
    pub fn lists(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.addresses.keys().map(String::as_str).filter(|name| name.starts_with(prefix)).collect();
        names.sort_unstable();
        names
    }

    /// A value as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }

    /// A value as yes or no; what is not set is no.
    pub fn flag(&self, name: &str) -> bool {
        self.number(name).is_some_and(|number| number != 0.0)
    }

    /// All lines that were written for a setting of a plugin, without the setting's name, in order.
    pub fn lines(&self, name: &str) -> &[String] {
        self.lines.get(name).map_or(&[], Vec::as_slice)
    }

    /// The words of a list that is written over many lines (`freemail_domains`, `util_rb_2tld`, `url_shortener`,
    /// `uridnsbl_skip_domain`), in lower case.
    pub fn words(&self, name: &str) -> Option<&HashSet<String>> {
        self.words.get(name)
    }

    /// Keys and values of a setting made of pairs.
    pub fn pairs(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.pairs.get(name)
    }

    /// The globs of a list of addresses, in lower case, by the list's present name (`welcomelist_from`) or that given to
    /// `enlist_addrlist`; each with the domains that must vouch for it, for lists that have such (`…_rcvd`, `…_dkim`).
    pub fn addresses(&self, list: &str) -> Option<&BTreeMap<String, Vec<String>>> {
        self.addresses.get(list)
    }

    /// The hosts of a list of `enlist_uri_host`; `false`: listed with `!`.
    pub fn hosts(&self, list: &str) -> Option<&HashMap<String, bool>> {
        self.hosts.get(list)
    }

    /// The entries of `trusted_networks`, `internal_networks` or `msa_networks`; `None`: not configured.
    pub fn networks(&self, name: &str) -> Option<&[Network]> {
        self.networks.get(name).map(Vec::as_slice)
    }

    /// The fields that are added: name without `X-Spam-`, template.
    pub fn headers(&self, which: Which) -> &[(String, String)] {
        &self.headers[which as usize]
    }

    /// Versions of the channels that the rules are from, one behind the other.
    pub fn rules_version(&self) -> String {
        self.versions.values().cloned().collect::<Vec<_>>().join(",")
    }

    /// With SpamAssassin's defaults.
    pub(super) fn new() -> Settings {
        let version = (
            "Checker-Version".to_string(),
            "SpamAssassin _VERSION_ (_SUBVERSION_) on _HOSTNAME_".to_string(),
        );
        Settings { headers: [vec![version.clone()], vec![version]], ..Settings::default() }
    }

    /// Sets one by its present name.
    pub(super) fn set(&mut self, name: &'static str, kind: Kind, value: &[u8]) -> Result<(), Refused> {
        if let Some(done) = self.set_own(name, value) {
            return done;
        }
        if kind == Kind::None {
            return if value.is_empty() { Ok(()) } else { Err(Refused::Invalid) };
        }
        if value.is_empty() && !matches!(kind, Kind::Own | Kind::Template) {
            return Err(Refused::Missing);
        }
        match kind {
            Kind::None | Kind::String => self.put(name, characters(value)),
            Kind::Number => {
                number(value, b"+-", true).ok_or(Refused::Invalid)?;
                self.put(name, characters(value).trim_start_matches('+').to_string());
            }
            Kind::Bool => match value.to_ascii_lowercase().as_slice() {
                b"yes" | b"1" => self.put(name, "1".into()),
                b"no" | b"0" => self.put(name, "0".into()),
                _ => return Err(Refused::Invalid),
            },
            Kind::Duration => self.put(name, seconds(value).ok_or(Refused::Invalid)?.to_string()),
            Kind::Template => self.append_template(name, value),
            Kind::Addresses => self.add_addresses(name, words(value)),
            Kind::Pairs => {
                let (key, rest) = super::text::first_word(value);
                if rest.is_empty() {
                    return Err(Refused::Missing);
                }
                self.pairs.entry(name).or_default().insert(characters(key), characters(rest));
            }
            Kind::Strings | Kind::Own => self.push_line(name, value),
            Kind::Networks => self.add_networks(name, value)?,
        }
        Ok(())
    }

    fn put(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
    }

    fn push_line(&mut self, name: &'static str, value: &[u8]) {
        let lines = self.lines.entry(name).or_default();
        if lines.len() < MAX_ENTRIES {
            lines.push(characters(value));
        }
    }

    fn append_template(&mut self, name: &'static str, value: &[u8]) {
        let text = characters(value);
        let line = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
        let template = self.values.entry(name).or_default();
        template.push_str(line);
        template.push('\n');
    }

    fn add_addresses<'a>(&mut self, list: &str, globs: impl Iterator<Item = &'a [u8]>) {
        let entries = self.addresses.entry(list.to_string()).or_default();
        for glob in globs.take(MAX_ENTRIES) {
            entries.entry(characters(glob).to_lowercase()).or_default();
        }
    }

    fn remove_addresses(&mut self, lists: &[&str], value: &[u8]) -> Result<(), Refused> {
        if value.is_empty() {
            return Err(Refused::Missing);
        }
        for list in lists {
            if let Some(entries) = self.addresses.get_mut(*list) {
                words(value).for_each(|glob| {
                    entries.remove(&characters(glob).to_lowercase());
                });
            }
        }
        Ok(())
    }

    fn add_networks(&mut self, name: &'static str, value: &[u8]) -> Result<(), Refused> {
        let mut bad = None;
        let entries = self.networks.entry(name).or_default();
        for word in words(value) {
            let word = characters(word);
            match Network::parse(&word) {
                Some(network) => entries.push(network),
                None => bad = Some(word),
            }
        }
        match bad {
            None => Ok(()),
            Some(word) => Err(Refused::Because(format!("netset: illegal IP address given: '{word}'"))),
        }
    }

    /// Settings with a syntax of their own; `None`: it has none.
    fn set_own(&mut self, name: &'static str, value: &[u8]) -> Option<Result<(), Refused>> {
        Some(match name {
            "rewrite_header" => self.rewrite_header(value),
            "add_header" => self.add_header(value),
            "remove_header" => self.remove_header(value),
            "clear_headers" => empty(value).map(|()| {
                for headers in &mut self.headers {
                    headers.retain(|(name, _)| name.eq_ignore_ascii_case("checker-version"));
                }
            }),
            "report_safe" => self.report_safe(value),
            "clear_report_template" | "clear_unsafe_report_template" => empty(value).map(|()| {
                let template = if name.contains("unsafe") { "unsafe_report" } else { "report" };
                self.values.remove(template);
            }),
            "clear_trusted_networks" | "clear_internal_networks" | "clear_msa_networks" => {
                empty(value).map(|()| {
                    self.networks.remove(&name["clear_".len()..]);
                })
            }
            "clear_originating_ip_headers" => empty(value).map(|()| self.forget("originating_ip_headers")),
            "clear_dns_servers" => empty(value).map(|()| self.forget("dns_server")),
            "clear_dns_query_restriction" => empty(value).map(|()| self.forget("dns_query_restriction")),
            "clear_asn_lookups" => empty(value).map(|()| {
                self.forget("asn_lookup");
                self.forget("asn_lookup_ipv6");
            }),
            "clear_util_rb" => empty(value).map(|()| {
                ["util_rb_tld", "util_rb_2tld", "util_rb_3tld"].iter().for_each(|list| {
                    self.words.remove(list);
                });
            }),
            "util_rb_tld" | "util_rb_2tld" | "util_rb_3tld" => self.boundaries(name, value),
            "freemail_domains"
            | "freemail_welcomelist"
            | "uridnsbl_skip_domain"
            | "url_shortener"
            | "url_shortener_get" => self.add_words(name, value),
            "clear_url_shortener" => self.remove_words(&["url_shortener", "url_shortener_get"], value),
            "clear_uridnsbl_skip_domain" => self.remove_words(&["uridnsbl_skip_domain"], value),
            "bayes_ignore_header"
            | "fns_ignore_dkim"
            | "authres_trusted_authserv"
            | "authres_ignored_authserv" => self.add_words(name, value),
            "uridnsbl_timeout" => Ok(()),
            "redirector_pattern" => match crate::regex::Pattern::literal(trimmed(value)) {
                Ok(_) => {
                    self.push_line(name, trimmed(value));
                    Ok(())
                }
                Err(_) => Err(Refused::Invalid),
            },
            "dns_query_restriction" => match words(value).next() {
                Some(word) if word.eq_ignore_ascii_case(b"allow") || word.eq_ignore_ascii_case(b"deny") => {
                    self.push_line(name, value);
                    Ok(())
                }
                _ => Err(Refused::Invalid),
            },
            _ => return self.set_checked(name, value),
        })
    }

    /// `adsp_override DOMAIN [PRACTICE]`
    fn practice(&mut self, value: &[u8]) -> Result<(), Refused> {
        let value = characters(value).to_lowercase();
        let mut words = value.split_whitespace();
        let domain =
            words.next().map(|domain| domain.strip_prefix('@').unwrap_or(domain)).unwrap_or_default();
        let practice = words.next().unwrap_or("discardable");
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '.' | '_' | '-');
        let known = ["nxdomain", "unknown", "all", "discardable", "custom_low", "custom_med", "custom_high"];
        if domain.is_empty()
            || !domain.chars().all(fits)
            || !known.contains(&practice)
            || words.next().is_some()
        {
            return Err(Refused::Invalid);
        }
        self.pairs.entry("adsp_override").or_default().insert(domain.into(), practice.into());
        Ok(())
    }

    /// Values that are looked at before they are taken.
    fn set_checked(&mut self, name: &'static str, value: &[u8]) -> Option<Result<(), Refused>> {
        Some(match name {
            "fns_check" if !value.is_empty() && !matches!(value, b"0" | b"1" | b"2") => Err(Refused::Invalid),
            "fns_ignore_headers" if !value.is_empty() => {
                self.push_line(name, value);
                Ok(())
            }
            "adsp_override" if !value.is_empty() => self.practice(value),
            "dns_block_rule" if words(value).count() < 2 => Err(Refused::Invalid),
            "enable_compat" => {
                let valid =
                    value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') && value.len() <= 128;
                match (value.is_empty(), valid) {
                    (true, _) => Err(Refused::Missing),
                    (_, false) => Err(Refused::Invalid),
                    _ => {
                        self.compat.insert(characters(value));
                        Ok(())
                    }
                }
            }
            _ => return self.set_list(name, value),
        })
    }

    /// Lists of addresses and hosts.
    fn set_list(&mut self, name: &'static str, value: &[u8]) -> Option<Result<(), Refused>> {
        Some(match name {
            "welcomelist_from_rcvd" | "def_welcomelist_from_rcvd" => self.add_vouched(name, value, true),
            "welcomelist_from_dkim" | "def_welcomelist_from_dkim" => self.add_vouched(name, value, false),
            "unwelcomelist_from" => self.remove_addresses(&["welcomelist_from"], value),
            "unblocklist_from" => self.remove_addresses(&["blocklist_from"], value),
            "unwelcomelist_auth" => {
                self.remove_addresses(&["welcomelist_auth", "def_welcomelist_auth"], value)
            }
            "unwelcomelist_from_rcvd" => {
                self.remove_addresses(&["welcomelist_from_rcvd", "def_welcomelist_from_rcvd"], value)
            }
            "unwelcomelist_from_dkim" => {
                self.remove_addresses(&["welcomelist_from_dkim", "def_welcomelist_from_dkim"], value)
            }
            "unwelcomelist_from_spf" => {
                self.remove_addresses(&["welcomelist_from_spf", "def_welcomelist_from_spf"], value)
            }
            "welcomelist_subject" | "blocklist_subject" => {
                let subject = characters(value).to_lowercase();
                self.addresses.entry(name.to_string()).or_default().entry(subject).or_default();
                Ok(())
            }
            "enlist_addrlist" => match listed(value) {
                Some((list, rest)) => {
                    self.add_addresses(&list, words(rest));
                    Ok(())
                }
                None => Err(Refused::Missing),
            },
            "fns_add_addrlist" => match listed(value) {
                Some((list, rest)) => {
                    self.add_addresses(&format!("{SPOOFED}{}", list.to_lowercase()), words(rest));
                    Ok(())
                }
                None => Err(Refused::Missing),
            },
            "fns_remove_addrlist" => match listed(value) {
                Some((list, rest)) => {
                    self.remove_addresses(&[&format!("{SPOOFED}{}", list.to_lowercase())], rest)
                }
                None => Err(Refused::Missing),
            },
            "enlist_uri_host" => match listed(value) {
                Some((list, rest)) => self.add_hosts(&list, rest),
                None => Err(Refused::Missing),
            },
            "delist_uri_host" => self.remove_hosts(value),
            "blocklist_uri_host" => self.add_hosts("BLOCK", value),
            "welcomelist_uri_host" => self.add_hosts("WELCOME", value),
            _ => return None,
        })
    }

    fn forget(&mut self, name: &str) {
        self.lines.remove(name);
        self.values.remove(name);
    }

    fn add_words(&mut self, name: &'static str, value: &[u8]) -> Result<(), Refused> {
        if value.is_empty() {
            return Err(Refused::Missing);
        }
        let set = self.words.entry(name).or_default();
        set.extend(words(value).take(MAX_ENTRIES).map(|word| characters(word).to_lowercase()));
        Ok(())
    }

    fn remove_words(&mut self, lists: &[&'static str], value: &[u8]) -> Result<(), Refused> {
        for list in lists {
            if value.is_empty() {
                self.words.remove(list);
            } else if let Some(set) = self.words.get_mut(list) {
                words(value).for_each(|word| {
                    set.remove(&characters(word).to_lowercase());
                });
            }
        }
        Ok(())
    }

    fn boundaries(&mut self, name: &'static str, value: &[u8]) -> Result<(), Refused> {
        let dots = match name {
            "util_rb_tld" => 0,
            "util_rb_2tld" => 1,
            _ => 2,
        };
        let fits = |word: &[u8]| {
            word.iter().filter(|b| **b == b'.').count() == dots
                && word.split(|b| *b == b'.').all(|label| !label.is_empty())
        };
        if !words(value).all(fits) {
            return Err(Refused::Invalid);
        }
        self.add_words(name, value)
    }

    fn add_vouched(&mut self, name: &'static str, value: &[u8], needed: bool) -> Result<(), Refused> {
        if value.is_empty() {
            return Err(Refused::Missing);
        }
        let all: Vec<&[u8]> = words(value).collect();
        let domain = match all.as_slice() {
            [_] if !needed => String::new(),
            [_, domain] => characters(domain).to_lowercase(),
            _ => return Err(Refused::Invalid),
        };
        let glob = characters(all[0]).to_lowercase();
        self.addresses.entry(name.to_string()).or_default().entry(glob).or_default().push(domain);
        Ok(())
    }

    fn add_hosts(&mut self, list: &str, value: &[u8]) -> Result<(), Refused> {
        let hosts = self.hosts.entry(list.to_string()).or_default();
        for host in words(value).take(MAX_ENTRIES) {
            let host = characters(host).to_lowercase();
            match host.strip_prefix('!') {
                Some(host) => hosts.insert(host.to_string(), false),
                None => hosts.insert(host, true),
            };
        }
        Ok(())
    }

    fn remove_hosts(&mut self, value: &[u8]) -> Result<(), Refused> {
        let (only, rest) = match listed(value) {
            Some((list, rest)) => (Some(list), rest),
            None if value.is_empty() => return Err(Refused::Missing),
            None => (None, value),
        };
        for (list, hosts) in &mut self.hosts {
            if only.as_ref().is_none_or(|only| only == list) {
                words(rest).for_each(|host| {
                    hosts.remove(characters(host).to_lowercase().trim_start_matches('!'));
                });
            }
        }
        Ok(())
    }

    fn rewrite_header(&mut self, value: &[u8]) -> Result<(), Refused> {
        let (name, text) = super::text::first_word(value);
        let name = match name.to_ascii_lowercase().as_slice() {
            b"subject" => "Subject",
            b"from" => "From",
            b"to" => "To",
            b"" => return Err(Refused::Missing),
            _ => return Err(Refused::Invalid),
        };
        let pairs = self.pairs.entry("rewrite_header").or_default();
        let mut text = characters(text);
        if text.is_empty() {
            pairs.remove(name);
            return Ok(());
        }
        if name != "Subject" {
            text = text.replace('(', "[").replace(')', "]");
        }
        pairs.insert(name.into(), text);
        Ok(())
    }

    fn add_header(&mut self, value: &[u8]) -> Result<(), Refused> {
        let (which, name, text) = header_words(value).ok_or(Refused::Invalid)?;
        let text = characters(trimmed(text));
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
        let text = unescaped(text);
        for &which in which {
            let headers = &mut self.headers[which as usize];
            if headers.len() >= MAX_HEADERS {
                return Err(Refused::Because(format!("config: more than {MAX_HEADERS} fields are added")));
            }
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            headers.push((name.clone(), text.clone()));
        }
        Ok(())
    }

    fn remove_header(&mut self, value: &[u8]) -> Result<(), Refused> {
        let (which, name, rest) = header_words(value).ok_or(Refused::Invalid)?;
        if !trimmed(rest).is_empty() {
            return Err(Refused::Invalid);
        }
        if name != "Checker-Version" {
            for &which in which {
                self.headers[which as usize].retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            }
        }
        Ok(())
    }

    fn report_safe(&mut self, value: &[u8]) -> Result<(), Refused> {
        match value {
            b"" => return Err(Refused::Missing),
            b"0" | b"1" | b"2" => self.put("report_safe", characters(value)),
            _ => return Err(Refused::Invalid),
        }
        let spam = &mut self.headers[Which::Spam as usize];
        if value == b"0" && !spam.iter().any(|(name, _)| name.eq_ignore_ascii_case("report")) {
            spam.push(("Report".into(), "_REPORT_".into()));
        }
        Ok(())
    }
}

fn empty(value: &[u8]) -> Result<(), Refused> {
    if value.is_empty() { Ok(()) } else { Err(Refused::Invalid) }
}

/// `(LIST) rest`.
fn listed(value: &[u8]) -> Option<(String, &[u8])> {
    let inside = value.strip_prefix(b"(")?;
    let end = inside.iter().position(|b| *b == b')').filter(|end| *end > 0)?;
    let rest = &inside[end + 1..];
    (rest.first().is_some_and(super::text::is_space) && !trimmed(rest).is_empty())
        .then(|| (characters(&inside[..end]), trimmed(rest)))
}

/// `spam|ham|all Name rest`.
fn header_words(value: &[u8]) -> Option<(&'static [Which], String, &[u8])> {
    let (which, rest) = super::text::first_word(value);
    let which: &[Which] = match which {
        b"spam" => &[Which::Spam],
        b"ham" => &[Which::Ham],
        b"all" => &[Which::Ham, Which::Spam],
        _ => return None,
    };
    let (name, rest) = super::text::first_word(rest);
    let valid =
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    valid.then(|| (which, characters(name), rest))
}

/// `\t`, `\n` and `\\` mean what they mean in C; other escapes vanish.
fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('t') => result.push('\t'),
                Some('n') => result.push('\n'),
                Some('\\') => result.push('\\'),
                Some(_) | None => {}
            },
            (c, false) => result.push(c),
        }
    }
    result
}

/// `300`, `5m`, `1.5 h` in seconds.
fn seconds(value: &[u8]) -> Option<f64> {
    let (digits, unit) = match value.last()?.to_ascii_lowercase() {
        b's' => (&value[..value.len() - 1], 1.0),
        b'm' => (&value[..value.len() - 1], 60.0),
        b'h' => (&value[..value.len() - 1], 3600.0),
        b'd' => (&value[..value.len() - 1], 86_400.0),
        b'w' => (&value[..value.len() - 1], 604_800.0),
        _ => (value, 1.0),
    };
    Some(number(trimmed(digits), b"+", true)? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, address, inside) in [
            ("192.0.2.0/24", "192.0.2.9", true),
            ("192.0.2", "192.0.2.9", true),
            ("192.0.2.", "192.0.3.9", false),
            ("10", "10.200.1.1", true),
            ("192.0.2.0/255.255.255.0", "192.0.2.200", true),
            ("!192.0.2.1", "192.0.2.1", true),
            ("[2001:db8::]/32", "2001:db8:1::1", true),
            ("2001:db8::1", "2001:db8::2", false),
            ("0.0.0.0/0", "203.0.113.5", true),
            ("0.0.0.0/0", "2001:db8::2", false),
        ] {
            let network = Network::parse(text).unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), inside, "{text} {address}");
            assert_eq!(network.exclude, text.starts_with('!'));
        }
        for text in ["192.0.2.0/33", "1.2.3.4.5", "300.1.1.1", "example.org", "192.0.2.0/255.0.255.0", ""] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in
            [("300", Some(300.0)), ("5m", Some(300.0)), ("1.5 h", Some(5400.0)), ("x", None), ("m", None)]
        {
            assert_eq!(seconds(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn escapes_of_headers() {
        assert_eq!(unescaped(r"a\tb\nc\\d\qe"), "a\tb\nc\\de");
    }
}
