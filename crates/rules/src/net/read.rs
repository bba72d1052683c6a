//! From rules and settings to the tables.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Kind;
use super::lists::{
    AskRule, AsnRule, AsnZone, Capture, Domains, HashRule, Hashed, Hashing, Lists, RelayRule, Rule, UriList,
    UriOf, Uris, What,
};
use super::subtest::{AskTest, Numeric, RelayTest};
use crate::conf::{Arg, Definition, Expression, Place, RuleSet, Settings};
use crate::engine::ScoreSet;
use crate::regex::{Matcher, Pattern, delimited};
use crate::texts::{Registry, idn_to_ascii};

/// What SpamAssassin's report puts before descriptions.
const RBL: &str = "RBL: ";
const ASKED: &str = "ASKDNS: ";

/// Reads them all.
pub(super) fn lists(rules: &RuleSet, set: ScoreSet) -> Lists {
    let settings = &rules.settings;
    let seconds = |name, default| settings.number(name).filter(|number| *number >= 0.0).unwrap_or(default);
    let mut lists = Lists {
        time: Duration::from_secs_f64(seconds("rbl_timeout", 15.0).clamp(1.0, 60.0)),
        block_time: Duration::from_secs_f64(seconds("dns_block_time", 300.0).min(1e9)),
        skipped: settings.words("uridnsbl_skip_domain").cloned().unwrap_or_default(),
        restricted: restricted(settings),
        ..Lists::default()
    };
    if settings.get("dns_available").is_some_and(|text| text.eq_ignore_ascii_case("no")) {
        return lists;
    }
    let mut reading = Reading { rules, set, lists: &mut lists, places: HashMap::new() };
    reading.functions();
    reading.uris();
    reading.asks();
    reading.zones();
    reading.blocks();
    reading.captures();
    if !lists.hashes.is_empty() {
        lists.hashing = hashing(settings, &mut lists.problems);
    }
    lists
}

struct Reading<'r> {
    rules: &'r RuleSet,
    set: ScoreSet,
    lists: &'r mut Lists,
    places: HashMap<&'r str, usize>,
}

impl<'r> Reading<'r> {
    fn loaded(&self, plugin: &str) -> bool {
        self.rules.plugins.contains(plugin)
    }

    /// The place of a rule that has points.
    fn rule(&mut self, name: &str, prefix: &str) -> Option<usize> {
        let (name, rule) = self.rules.rules.get_key_value(name)?;
        if rule.scores[self.set.index()] == 0.0 {
            return None;
        }
        if let Some(&place) = self.places.get(&**name) {
            return Some(place);
        }
        let described = rule.description.as_deref().filter(|_| !prefix.is_empty());
        self.lists.rules.push(Rule {
            name: name.clone(),
            called: matches!(rule.definition, Definition::Eval { .. }),
            description: described.map(|text| format!("{prefix}{text}")),
            nice: rule.has_flag("nice"),
            domains_only: rule.has_flag("domains_only"),
            ips_only: rule.has_flag("ips_only"),
            notrim: rule.has_flag("notrim"),
            of_hosts: rule.has_flag("a"),
            of_servers: rule.has_flag("ns"),
        });
        self.places.insert(name, self.lists.rules.len() - 1);
        Some(self.lists.rules.len() - 1)
    }

    fn problem(&mut self, rule: &str, message: String) {
        self.lists.problems.push((rule.to_string(), message));
    }

    // ---- rules that call functions

    fn functions(&mut self) {
        let rules = self.rules;
        let skipped = rules.settings.flag("skip_rbl_checks");
        for rule in rules.rules.values() {
            let Definition::Eval { place, function, args } = &rule.definition else { continue };
            match &**function {
                "check_rbl_sub" if self.loaded("DNSEval") && !skipped => self.sub(&rule.name, args),
                name if name.starts_with("check_rbl") && self.loaded("DNSEval") && !skipped => {
                    self.relay(&rule.name, name, args);
                }
                name if name.starts_with("check_hashbl") && self.loaded("HashBL") => {
                    self.hash(&rule.name, name, *place, args);
                }
                "check_uri_local_bl" if self.loaded("URILocalBL") => {
                    if let Some(rule) = self.rule(&rule.name, "") {
                        self.lists.blocks_of.push(rule);
                    }
                }
                "check_asn" if self.loaded("ASN") => self.asn(&rule.name, args),
                _ => {}
            }
        }
    }

    fn sub(&mut self, name: &str, args: &[Arg]) {
        let [set, test, ..] = args else {
            return self.problem(name, "check_rbl_sub has no test of the answer".into());
        };
        match RelayTest::parse(&test.0) {
            Ok(test) => {
                if let Some(rule) = self.rule(name, RBL) {
                    self.lists.subs.entry(set.text().into()).or_default().push((rule, test));
                }
            }
            Err(why) => self.problem(name, why),
        }
    }

    fn relay(&mut self, name: &str, function: &str, args: &[Arg]) {
        let text = |index: usize| args.get(index).map(Arg::text).unwrap_or_default();
        let headers = || match args.get(3) {
            Some(headers) => headers.text(),
            None => self.rules.settings.get("rbl_headers").unwrap_or_default().to_string(),
        };
        let what = match function {
            "check_rbl" | "check_rbl_txt" => What::Relays,
            "check_rbl_accreditor" => What::Accredited(text(3).into()),
            "check_rbl_from_host" => What::FromHost,
            "check_rbl_from_domain" => What::FromDomain,
            "check_rbl_envfrom" => What::Sender,
            "check_rbl_headers" => What::Headers(headers().split(',').map(Into::into).collect()),
            "check_rbl_ns_from" => What::Servers,
            "check_rbl_rcvd" => What::Received,
            _ => return,
        };
        let (set, server) = (text(0), text(1).trim_end_matches('.').to_string());
        if server.is_empty() {
            return self.problem(name, format!("{function} names no list"));
        }
        let test = match args.get(2).map(|test| RelayTest::parse(&test.0)).transpose() {
            Ok(test) => test,
            Err(why) => return self.problem(name, why),
        };
        let Some(rule) = self.rule(name, RBL) else { return };
        let kind = if function == "check_rbl_txt" { Kind::TXT } else { Kind::A };
        let relay = RelayRule { rule, what, set: set.into(), server: server.into(), kind, test };
        self.lists.relays.push(relay);
    }

    fn asn(&mut self, name: &str, args: &[Arg]) {
        let Some(expression) = args.first() else { return };
        let (inside, modifiers) = delimited(&expression.0).unwrap_or_else(|_| (&expression.0[..], &b""[..]));
        match Pattern::plain(inside, modifiers).and_then(|pattern| pattern.compile()) {
            Ok(matcher) => {
                let tag = args.get(1).map_or_else(|| "ASN".into(), |tag| tag.text().to_uppercase());
                if let Some(rule) = self.rule(name, "") {
                    self.lists.asn_rules.push(AsnRule { rule, matcher, tag });
                }
            }
            Err(why) => self.problem(name, why),
        }
    }

    fn hash(&mut self, name: &str, function: &str, place: Place, args: &[Arg]) {
        let text = |index: usize| args.get(index).map(Arg::text).unwrap_or_default();
        let Some(list) = args.first().map(Arg::text) else {
            return self.problem(name, format!("{function} names no list"));
        };
        let default = if function == "check_hashbl_emails" {
            "sha1/notag/noquote/max=10/shuffle"
        } else {
            "sha1/max=10/shuffle"
        };
        let mut options = options(&if text(1).is_empty() { default.to_string() } else { text(1) });
        let made = match function {
            "check_hashbl_emails" => self.emails(&text(2), args.get(4)).map(|what| (what, 3)),
            "check_hashbl_uris" => Ok((Hashed::Uris, 2)),
            "check_hashbl_bodyre" => {
                let expression =
                    args.get(2).filter(|arg| !arg.0.is_empty()).ok_or("has no expression".to_string());
                let pattern = expression.and_then(|arg| Pattern::plain(&arg.0, b""));
                let matcher = pattern.and_then(|pattern| pattern.backtracking());
                matcher.map(|matcher| (Hashed::Body { matcher, raw: place == Place::RawBody }, 3))
            }
            "check_hashbl_tag" => {
                if options.contains_key("trim") {
                    options.extend([("fqdn".into(), "1".into()), ("tld".into(), "1".into())]);
                }
                let tag = text(2);
                let bare =
                    tag.strip_prefix('_').and_then(|tag| tag.strip_suffix('_')).filter(|tag| !tag.is_empty());
                match bare.unwrap_or(&tag) {
                    "" => Err("check_hashbl_tag names no tag".to_string()),
                    tag => Ok((Hashed::Tag(tag.to_uppercase()), 3)),
                }
            }
            "check_hashbl_attachments" => Ok((Hashed::Attachments, 2)),
            _ => return,
        };
        let unhashed = matches!(function, "check_hashbl_uris" | "check_hashbl_attachments");
        let made = match made {
            Ok(_) if unhashed && options.contains_key("raw") => Err("raw is no option here".to_string()),
            made => made,
        };
        let test = |index: usize| match args.get(index).filter(|arg| !matches!(&*arg.0, b"" | b"0")) {
            Some(test) => Pattern::plain(&test.0, b"").and_then(|pattern| pattern.compile()).map(Some),
            None => Ok(None),
        };
        match made.and_then(|(what, index)| Ok((what, test(index)?))) {
            Ok((what, test)) => {
                let (zone, kind) = zone_and_kind(&list);
                if let Some(rule) = self.rule(name, "") {
                    let zone = zone.into();
                    self.lists.hashes.push(HashRule { rule, what, zone, kind, options, test });
                }
            }
            Err(why) => self.problem(name, why),
        }
    }

    fn emails(&self, from: &str, list: Option<&Arg>) -> Result<Hashed, String> {
        let from = if from.is_empty() { "ALLFROM/Reply-To/body" } else { from };
        let from = from.split('/').map(|field| field.trim().to_string()).collect();
        let domains = match list.map(Arg::text) {
            None => None,
            Some(name) if name == "all" => Some(Domains::All),
            Some(name) => {
                let these = acl(&self.rules.settings, &name);
                Some(Domains::These(these.ok_or(format!("there is no hashbl_acl_{name}"))?))
            }
        };
        Ok(Hashed::Emails { from, domains })
    }

    // ---- lines of their own

    fn uris(&mut self) {
        let settings = &self.rules.settings;
        if !self.loaded("URIDNSBL") || settings.flag("skip_uribl_checks") {
            return;
        }
        let mut uris = Uris {
            most: settings
                .number("uridnsbl_max_domains")
                .map_or(20, |number| number.clamp(0.0, 1000.0) as usize),
            skip_mail: settings.flag("uridnsbl_skip_mailto"),
            ..Uris::default()
        };
        for (directive, of) in [
            ("uridns", UriOf::Address),
            ("urirhs", UriOf::Domain),
            ("urinsrhs", UriOf::ServerDomain),
            ("urifullnsrhs", UriOf::Server),
        ] {
            let bare: Vec<_> =
                settings.lines(&format!("{directive}bl")).iter().map(|line| (line, false)).collect();
            let tested = settings.lines(&format!("{directive}sub")).iter().map(|line| (line, true));
            for (line, tested) in bare.into_iter().chain(tested) {
                let mut words = line.split_whitespace();
                let (Some(name), Some(zone), Some(kind)) = (words.next(), words.next(), words.next()) else {
                    continue;
                };
                let test = words.collect::<Vec<_>>().join(" ");
                let numeric = Numeric::parse(&test);
                let Some(kind) = Kind::parse(kind).filter(|_| !tested || numeric.is_some()) else {
                    self.problem(name, format!("{directive}… has an invalid line: {line}"));
                    continue;
                };
                let Some(rule) = self.rule(name, "") else { continue };
                // The last line of a rule counts.
                uris.lists.retain(|other: &UriList| other.rule != rule);
                let zone = zone.strip_suffix('.').unwrap_or(zone).into();
                uris.lists.push(UriList { rule, zone, kind, of, test: numeric.filter(|_| tested) });
            }
        }
        if uris.lists.iter().any(|list| list.of == UriOf::ServerDomain) {
            let words = |name: &str| -> HashSet<Vec<u8>> {
                let all = settings.words(name).into_iter().flatten();
                all.map(|word| idn_to_ascii(word.as_bytes()).to_ascii_lowercase()).collect()
            };
            uris.registry = Registry {
                two_level: words("util_rb_2tld"),
                three_level: words("util_rb_3tld"),
                ..Registry::default()
            };
        }
        self.lists.uris = Some(uris);
    }

    fn asks(&mut self) {
        if !self.loaded("AskDNS") {
            return;
        }
        for line in self.rules.settings.lines("askdns") {
            let mut rest = line.as_str();
            let mut word = || {
                let (word, behind) =
                    rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                rest = behind.trim();
                word
            };
            let (name, template, kinds) = (word(), word(), word());
            let kinds = if kinds.is_empty() { "A" } else { kinds };
            let kinds: Option<Vec<Kind>> = kinds.split(',').map(Kind::parse).collect();
            let Some(kinds) = kinds else {
                self.problem(name, format!("askdns has an unknown type of record: {line}"));
                continue;
            };
            let test = match Some(rest).filter(|text| !text.is_empty()).map(AskTest::parse).transpose() {
                Ok(test) => test,
                Err(why) => {
                    self.problem(name, why);
                    continue;
                }
            };
            let Some(rule) = self.rule(name, ASKED) else { continue };
            self.lists.asks.retain(|other| other.rule != rule);
            let tags = super::tags::names(template);
            self.lists.asks.push(AskRule { rule, template: template.into(), tags, kinds, test });
        }
    }

    fn zones(&mut self) {
        let settings = &self.rules.settings;
        if !self.loaded("ASN") || !settings.flag("asn_use_dns") {
            return;
        }
        let prefix = settings.get("asn_prefix").unwrap_or_default();
        let quoted = |mark: char| prefix.strip_prefix(mark)?.strip_suffix(mark);
        self.lists.asn_prefix = quoted('\'').or_else(|| quoted('"')).unwrap_or(prefix).to_string();
        for (directive, v6) in [("asn_lookup", false), ("asn_lookup_ipv6", true)] {
            for line in settings.lines(directive) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let tag = |word: &str| Some(word.strip_prefix('_')?.strip_suffix('_')?.to_uppercase());
                let (zone, tags) = match words.as_slice() {
                    [zone] => (zone, Some(("ASN".to_string(), "ASNCIDR".to_string()))),
                    [zone, asn, route] => (zone, tag(asn).zip(tag(route))),
                    _ => (&"", None),
                };
                match tags {
                    Some((tag, route)) => {
                        let zone = zone.trim_end_matches('.').into();
                        self.lists.zones.push(AsnZone { zone, v6, tag, route });
                    }
                    None => self.problem(directive, format!("invalid line: {line}")),
                }
            }
        }
    }

    fn blocks(&mut self) {
        for (name, domains) in self.rules.settings.pairs("dns_block_rule").into_iter().flatten() {
            if let Some(&place) = self.places.get(name.as_str()) {
                let bare = |domain: &str| domain.trim_matches('.').to_lowercase();
                let domains = domains.split_whitespace().map(bare).collect();
                self.lists.blocks.insert(place, domains);
            }
        }
    }

    /// Rules that set tags which others ask for.
    fn captures(&mut self) {
        let mut wanted: HashSet<&str> =
            self.lists.asks.iter().flat_map(|ask| ask.tags.iter().map(String::as_str)).collect();
        wanted.extend(self.lists.hashes.iter().filter_map(|hash| match &hash.what {
            Hashed::Tag(tag) => Some(tag.as_str()),
            _ => None,
        }));
        if wanted.is_empty() {
            return;
        }
        let mut captures = Vec::new();
        for rule in self.rules.rules.values().filter(|rule| rule.scores[self.set.index()] != 0.0) {
            let Some(expression) = expression(&rule.definition) else { continue };
            if !expression.captures || !expression.templates.is_empty() {
                continue;
            }
            let Ok(pattern) = Pattern::plain(&expression.inside, &expression.modifiers) else { continue };
            let Some(matcher) = pattern
                .names()
                .iter()
                .any(|name| wanted.contains(&**name))
                .then(|| pattern.backtracking().ok())
                .flatten()
            else {
                continue;
            };
            let hits = rule.flag_value("maxhits").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
            let most = if rule.has_flag("multiple") { hits } else { 1 };
            let no_subject = rule.has_flag("nosubject");
            captures.push(Capture { definition: rule.definition.clone(), matcher, most, no_subject });
        }
        self.lists.captures = captures;
    }
}

/// What a rule looks for, if that can set tags.
pub(super) fn expression(definition: &Definition) -> Option<&Expression> {
    match definition {
        Definition::Header { expression, negated: false, .. }
        | Definition::MimeHeader { expression, negated: false, .. }
        | Definition::Body(expression)
        | Definition::RawBody(expression)
        | Definition::Full(expression)
        | Definition::Uri(expression) => Some(expression),
        _ => None,
    }
}

/// `sha256/max=10/shuffle`.
fn options(text: &str) -> HashMap<String, String> {
    let text = text.to_lowercase();
    let each = text.split('/').map(str::trim).filter(|one| !one.is_empty());
    each.map(|one| match one.split_once('=') {
        Some((name, value)) => (name.to_string(), value.to_string()),
        None => (one.to_string(), "1".to_string()),
    })
    .collect()
}

/// `list.example/TXT`.
fn zone_and_kind(list: &str) -> (&str, Kind) {
    match list.rsplit_once('/') {
        Some((zone, kind)) if kind.eq_ignore_ascii_case("A") => (zone, Kind::A),
        Some((zone, kind)) if kind.eq_ignore_ascii_case("TXT") => (zone, Kind::TXT),
        _ => (list, Kind::A),
    }
}

/// The domains of a `hashbl_acl_NAME`; those with `!` are not among them, wherever they stand.
fn acl(settings: &Settings, name: &str) -> Option<HashSet<String>> {
    let lines = settings.lines("hashbl_acl").iter().filter_map(|line| {
        let (list, domains) = line.split_once(char::is_whitespace)?;
        list.eq_ignore_ascii_case(name).then_some(domains)
    });
    let (mut these, mut not, mut known) = (HashSet::new(), HashSet::new(), false);
    for domain in lines.flat_map(str::split_whitespace).map(str::to_lowercase) {
        known = true;
        match domain.strip_prefix('!') {
            Some(domain) => not.insert(domain.to_string()),
            None => these.insert(domain),
        };
    }
    these.retain(|domain| !not.contains(domain));
    known.then_some(these)
}

fn hashing(settings: &Settings, problems: &mut Vec<(String, String)>) -> Hashing {
    let words = |name: &str| -> Vec<Vec<String>> {
        let lines = settings.lines(name).iter();
        lines.map(|line| line.split_whitespace().map(str::to_lowercase).collect()).collect()
    };
    let mut hashing =
        Hashing { ignored: words("hashbl_ignore").into_iter().flatten().collect(), ..Hashing::default() };
    for line in words("hashbl_email_domain_alias") {
        if let [domain, aliases @ ..] = line.as_slice() {
            hashing.aliases.extend(aliases.iter().map(|alias| (alias.clone(), domain.clone())));
        }
    }
    let mut matcher = |name: &str| -> Option<Matcher> {
        let text = settings.get(name)?;
        let text = match text.contains("_TLDS_") {
            true => text.replace("_TLDS_", &tlds(settings)),
            false => text.to_string(),
        };
        let made = Pattern::plain(text.as_bytes(), b"").and_then(|pattern| pattern.compile());
        made.map_err(|why| problems.push((name.to_string(), why))).ok()
    };
    hashing.email = matcher("hashbl_email_regex");
    hashing.welcome = matcher("hashbl_email_welcomelist");
    hashing
}

/// An expression of all top-level domains.
fn tlds(settings: &Settings) -> String {
    let all = settings.words("util_rb_tld").into_iter().flatten();
    let ascii = |word: &String| String::from_utf8(idn_to_ascii(word.as_bytes()).into_owned()).ok();
    let mut all: Vec<String> = all.filter_map(ascii).collect();
    all.sort_unstable();
    format!("(?<![a-zA-Z0-9-])(?i:{})(?!(?:[a-zA-Z0-9-]|\\.[a-zA-Z0-9]))", all.join("|"))
}

/// `dns_query_restriction`: whether a domain is denied.
fn restricted(settings: &Settings) -> HashMap<String, bool> {
    let mut restricted = HashMap::new();
    for line in settings.lines("dns_query_restriction") {
        let mut words = line.split_whitespace();
        let denied = words.next().is_some_and(|word| word.eq_ignore_ascii_case("deny"));
        for domain in words {
            let domain = domain.strip_prefix('.').unwrap_or(domain);
            let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
            restricted.insert(domain, denied);
        }
    }
    restricted
}
