//! URIDNSBL: domains, hosts and name servers of addresses of pages in lists.

use std::collections::{BTreeMap, HashSet};

use super::lists::{Lists, UriList, UriOf, Uris};
use super::{Data, Kind, Plan, Reply, Use};
use crate::texts::{Texts, Uri, ip};

/// Asks for all lists.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, texts: &Texts<'_>) {
    let Some(uris) = &lists.uris else { return };
    let hosts = hosts(uris, lists, texts);
    let domains: BTreeMap<&str, ()> = hosts.iter().map(|(_, domain)| (domain.as_str(), ())).collect();
    let mut names: Vec<String> = hosts.iter().map(|(host, _)| host.clone()).collect();
    names.sort_unstable();
    let domains = domains.into_keys().map(String::from).collect();
    plan.tags.extend([("URIHOSTS".into(), names), ("URIDOMAINS".into(), domains)]);
    let wants = |of: &[UriOf]| uris.lists.iter().any(|list| of.contains(&list.of));
    let flag = |servers: bool| {
        let flagged = |list: &&UriList| list.of == UriOf::Address && lists.asks_for(list, servers);
        uris.lists.iter().any(|list| flagged(&list))
    };
    let (of_hosts, of_servers) = (flag(false), flag(true));
    // What lists of addresses are asked for of name servers, is asked by those for hosts, too; see `servers`.
    let servers = wants(&[UriOf::ServerDomain, UriOf::Server]) || of_servers && of_hosts;
    for (host, domain) in &hosts {
        let mut domain = domain.as_str();
        let dotted = is_dotted(host);
        if dotted || host.contains(':') || host.starts_with('[') {
            // Only public addresses, and of IPv4 alone.
            if !dotted || !ip::is_ip(host.as_bytes()) || ip::is_private(host.as_bytes()) {
                continue;
            }
            domain = host;
        } else {
            if servers {
                plan.ask(domain.as_bytes(), Kind::NS, Use::UriServers);
            }
            if of_hosts {
                plan.ask(host.as_bytes(), Kind::A, Use::UriAddress(host.as_str().into()));
            }
        }
        for (number, list) in uris.lists.iter().enumerate().filter(|(_, list)| list.of == UriOf::Domain) {
            let rule = &lists.rules[list.rule];
            if rule.ips_only && !dotted || !rule.ips_only && rule.domains_only && dotted {
                continue;
            }
            look_up(plan, lists, number, if rule.notrim { host } else { domain }, None);
        }
    }
}

/// The name servers of a domain are known.
pub(super) fn servers(plan: &mut Plan, lists: &Lists, reply: &Reply) {
    let Some(uris) = &lists.uris else { return };
    for record in reply.records.iter().filter(|record| record.kind == Kind::NS) {
        let name = record.text().trim_end_matches('.').to_lowercase();
        let dotted = is_dotted(&name);
        let mut domain = name.clone();
        if dotted || name.contains(':') {
            if !dotted || !ip::is_ip(name.as_bytes()) || ip::is_private(name.as_bytes()) {
                continue;
            }
        } else {
            // SpamAssassin 4.0 looks addresses of name servers up in the lists that are flagged `a`; those flagged `ns` are
            // never asked.
            if uris.lists.iter().any(|list| list.of == UriOf::Address && lists.asks_for(list, false)) {
                plan.ask(name.as_bytes(), Kind::A, Use::UriAddress(name.as_str().into()));
            }
            domain = String::from_utf8_lossy(&uris.registry.trim_domain(name.as_bytes())).into_owned();
        }
        for (number, list) in uris.lists.iter().enumerate() {
            match list.of {
                UriOf::ServerDomain => look_up(plan, lists, number, &domain, None),
                UriOf::Server => look_up(plan, lists, number, &name, None),
                UriOf::Domain | UriOf::Address => {}
            }
        }
    }
}

/// The addresses of a host or name server are known.
pub(super) fn addresses(plan: &mut Plan, lists: &Lists, of: &str, reply: &Reply) {
    let Some(uris) = &lists.uris else { return };
    for record in &reply.records {
        let Data::Address(address) = record.data else { continue };
        for (number, list) in uris.lists.iter().enumerate() {
            if list.of == UriOf::Address && lists.asks_for(list, false) {
                look_up(plan, lists, number, &address.to_string(), Some(of));
            }
        }
    }
}

/// An answer of a list.
pub(super) fn answered(
    plan: &mut Plan,
    lists: &Lists,
    number: usize,
    (host, of): &(&str, Option<&str>),
    reply: &Reply,
) {
    let Some(list) = lists.uris.as_ref().and_then(|uris| uris.lists.get(number)) else { return };
    for record in &reply.records {
        let address = match record.data {
            Data::Address(address) => Some(address),
            Data::Strings(_) => None,
            Data::Text(_) => continue,
        };
        let hit = match &list.test {
            None => address.is_none_or(|address| address.octets()[0] == 127),
            Some(test) => test.fits(&record.text(), address),
        };
        if hit {
            let of = of.map(|of| format!("{of}/")).unwrap_or_default();
            plan.hit(list.rule, &format!("URI: {of}{host}"));
        }
    }
}

impl Lists {
    /// Whether a list of addresses is asked for those of hosts, or of name servers.
    fn asks_for(&self, list: &UriList, servers: bool) -> bool {
        let rule = &self.rules[list.rule];
        if servers { rule.of_servers || !rule.of_hosts } else { rule.of_hosts }
    }
}

/// Asks a list. Addresses are asked for reversed.
fn look_up(plan: &mut Plan, lists: &Lists, number: usize, host: &str, of: Option<&str>) {
    let Some(list) = lists.uris.as_ref().and_then(|uris| uris.lists.get(number)) else { return };
    let asked = match is_dotted(host).then(|| ip::reversed(host.as_bytes())).flatten() {
        Some(reversed) => reversed,
        None => host.as_bytes().to_vec(),
    };
    let name = [&asked, &b"."[..], list.zone.as_bytes()].concat();
    plan.ask(&name, list.kind, Use::Uri { list: number, host: host.into(), of: of.map(Into::into) });
}

/// Whether it looks like an IPv4 address.
fn is_dotted(host: &str) -> bool {
    let digits = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').count() == 4 && host.split('.').all(digits)
}

/// Hosts with their domains, the most telling first: those of links with text, forms, pictures, others, text, links without.
fn hosts(uris: &Uris, lists: &Lists, texts: &Texts<'_>) -> Vec<(String, String)> {
    let mut groups: [Vec<(String, String)>; 6] = Default::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    let is_mail = |uri: &Uri| uri.raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:"));
    for uri in texts.uris().iter().filter(|uri| !(uris.skip_mail && is_mail(uri))) {
        let group = &mut groups[group(uri)];
        for (host, domain) in &uri.hosts {
            let (host, domain) = (text(host), text(domain));
            if !lists.skipped.contains(&host) && !lists.skipped.contains(&domain) {
                group.push((host, domain));
            }
        }
    }
    let mut seen = HashSet::new();
    let all = groups.into_iter().flatten().filter(|(host, _)| seen.insert(host.clone()));
    all.take(uris.most).collect()
}

fn group(uri: &Uri) -> usize {
    let is = |kind: &str| uri.types.contains(kind);
    if is("a") {
        if uri.anchor_texts.iter().any(|text| !text.is_empty()) { 0 } else { 5 }
    } else if is("form") {
        1
    } else if is("img") {
        2
    } else if is("parsed") && uri.types.len() == 1 {
        4
    } else {
        3
    }
}
