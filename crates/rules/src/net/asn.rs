//! ASN: the number of the network that a message came from, and what it announces.

use std::collections::HashMap;

use super::lists::Lists;
use super::{Data, Kind, Plan, Reply, Use, Waiter, ask, hash};
use crate::texts::{Texts, ip};

/// The most numbers, or routes, of one tag.
const MOST: usize = 100;
/// What stands for networks that nobody has.
const NOBODY: &str = "4294967295";

/// Asks for the last relay that is not ours.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, texts: &Texts<'_>) {
    if lists.zones.is_empty() {
        return;
    }
    let Some(relay) = texts.relays().external.first().filter(|relay| !relay.private) else { return };
    let Some(reversed) = ip::reversed(&relay.ip) else { return };
    let v6 = relay.ip.contains(&b':');
    for (number, zone) in lists.zones.iter().enumerate().filter(|(_, zone)| zone.v6 == v6) {
        plan.ask(&[&reversed, &b"."[..], zone.zone.as_bytes()].concat(), Kind::TXT, Use::Asn(number));
    }
}

/// Tags that become known only by answers.
pub(super) fn late(lists: &Lists, plan: &Plan) -> Vec<String> {
    let asked = plan.asked.iter().flat_map(|asked| &asked.uses).filter_map(|one| match one {
        Use::Asn(number) => lists.zones.get(*number),
        _ => None,
    });
    asked.flat_map(|zone| [zone.tag.clone(), zone.route.clone()]).collect()
}

/// An answer of a zone.
pub(super) fn answered(plan: &mut Plan, lists: &Lists, number: usize, reply: &Reply) {
    let zone = &lists.zones[number];
    for record in &reply.records {
        let Data::Strings(strings) = &record.data else { continue };
        let (numbers, routes) = read(strings);
        for route in routes.into_iter().filter(|route| !ends_in_zero(route)) {
            add(&mut plan.tags, &zone.route, route);
        }
        for number in numbers {
            let bare = number
                .get(..2)
                .filter(|start| start.eq_ignore_ascii_case("as"))
                .map_or(&number[..], |_| &number[2..]);
            if !bare.trim_matches('0').is_empty() && bare != NOBODY {
                add(&mut plan.tags, &zone.tag, format!("{}{bare}", lists.asn_prefix));
            }
        }
    }
    let waiting = std::mem::take(&mut plan.waiting);
    for waiter in waiting {
        let there = |tag: &String| plan.tags.get(tag).is_some_and(|values| !values.is_empty());
        if !waiter.tags.iter().all(|tag| waiter.known.contains_key(tag) || there(tag)) {
            plan.waiting.push(waiter);
            continue;
        }
        let mut values: HashMap<String, Vec<String>> = waiter.known;
        for tag in waiter.tags {
            if let Some(late) = plan.tags.get(&tag) {
                values.entry(tag).or_insert_with(|| late.clone());
            }
        }
        match waiter.rule {
            Waiter::Ask(rule) => ask::launch(plan, lists, rule, &values),
            Waiter::Hash(rule) => hash::launch_tag(plan, lists, rule, &values, None),
        }
    }
}

/// Rules that look at the numbers.
pub(super) fn finish(plan: &mut Plan, lists: &Lists) {
    for rule in &lists.asn_rules {
        let text = plan.tags.get(&rule.tag).map(|values| values.join(" ")).unwrap_or_default();
        if !text.is_empty() && plan.matches(rule.rule, &rule.matcher, text.as_bytes()) {
            plan.hit(rule.rule, &format!("{}: {text}", rule.tag));
        }
    }
}

fn add(tags: &mut HashMap<String, Vec<String>>, tag: &str, value: String) {
    let values = tags.entry(tag.to_string()).or_default();
    if !value.is_empty() && values.len() < MOST && !values.contains(&value) {
        values.push(value);
    }
}

/// Numbers and routes: `"1103" "192.0.2.0" "24"`, `"559 1103 | 192.0.2.0/24 | US"`, `"192.0.2.0/24 | AS1103 | Name"`, `"1103"`.
fn read(strings: &[String]) -> (Vec<String>, Vec<String>) {
    let joined = strings.concat();
    let mut items: Vec<String> = if strings.len() > 1 && !joined.contains('|') {
        strings.to_vec()
    } else {
        strings.join(" ").split('|').map(|item| item.trim().to_string()).collect()
    };
    if strings.len() >= 3
        && items.len() >= 3
        && !joined.contains('|')
        && !items[1].contains('/')
        && !items[2].is_empty()
        && items[2].bytes().all(|byte| byte.is_ascii_digit())
    {
        items[1] = format!("{}/{}", items[1], items[2]);
    }
    let words = |item: Option<&String>| -> Vec<String> {
        item.map(|item| item.split_whitespace().map(String::from).collect()).unwrap_or_default()
    };
    match (items.first(), items.get(1)) {
        (Some(first), second) if ends_in_numbers(first) => (words(Some(first)), words(second)),
        (first, Some(second)) if ends_in_numbers(second) => (words(Some(second)), words(first)),
        _ => (Vec::new(), Vec::new()),
    }
}

/// Whether a number of a network stands at the end.
fn ends_in_numbers(item: &str) -> bool {
    let last = item.rsplit(char::is_whitespace).next().unwrap_or_default();
    let bare = last.get(..2).filter(|start| start.eq_ignore_ascii_case("as")).map_or(last, |_| &last[2..]);
    !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit())
}

/// `192.0.2.0/0`: announced by nobody.
fn ends_in_zero(route: &str) -> bool {
    route
        .rsplit_once('/')
        .is_some_and(|(_, length)| !length.is_empty() && length.bytes().all(|byte| byte == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_answers() {
        for (strings, numbers, routes) in [
            (&["1103", "192.88.99.0", "24"][..], "1103", "192.88.99.0/24"),
            (&["559 1103 | 192.88.99.0/24 | US | iana | 2001-06-01"], "559 1103", "192.88.99.0/24"),
            (&["192.88.99.0/24 | AS1103 | SURFnet | EU"], "AS1103", "192.88.99.0/24"),
            (&["15169 | 2a00:1450::/32 | IE"], "15169", "2a00:1450::/32"),
            (&["as1103"], "as1103", ""),
            (&["nothing of the kind"], "", ""),
            (&[], "", ""),
        ] {
            let strings: Vec<String> = strings.iter().map(ToString::to_string).collect();
            let (found, told) = read(&strings);
            assert_eq!((found.join(" ").as_str(), told.join(" ").as_str()), (numbers, routes), "{strings:?}");
        }
        assert!(ends_in_zero("0.0.0.0/0") && !ends_in_zero("192.0.2.0/20"));
    }
}
