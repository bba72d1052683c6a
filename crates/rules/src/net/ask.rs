//! AskDNS: names that are put together of tags.

use std::collections::{BTreeSet, HashMap};

use super::lists::{AskRule, Lists};
use super::subtest::AskTest;
use super::tags::Values;
use super::{Data, Kind, Plan, Reply, Use, Waiter, Waiting};
use crate::texts::{idn_to_ascii, is_fqdn_valid};

/// The most names that one rule asks for.
const MOST_NAMES: usize = 100;

/// Asks for all rules whose tags have values; those whose tags will have some wait.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, tags: &Values<'_, '_>) {
    let mut known: HashMap<&str, Vec<String>> = HashMap::new();
    for (number, rule) in lists.asks.iter().enumerate() {
        let mut values = HashMap::new();
        for tag in &rule.tags {
            let found = known.entry(tag).or_insert_with(|| tags.of(tag));
            if !found.is_empty() {
                values.insert(tag.clone(), found.clone());
            }
        }
        if rule.tags.iter().all(|tag| values.contains_key(tag)) {
            launch(plan, lists, number, &values);
        } else if rule.tags.iter().all(|tag| values.contains_key(tag) || tags.late.contains(tag)) {
            let tags = rule.tags.clone();
            plan.waiting.push(Waiting { tags, known: values, rule: Waiter::Ask(number) });
        }
    }
}

/// Asks for one rule.
pub(super) fn launch(plan: &mut Plan, lists: &Lists, number: usize, values: &HashMap<String, Vec<String>>) {
    let rule = &lists.asks[number];
    for name in names(rule, values) {
        let name = idn_to_ascii(name.as_bytes()).to_ascii_lowercase();
        if !is_fqdn_valid(&name) {
            continue;
        }
        // Servers answer questions for everything with next to nothing (RFC 8482).
        for kind in &rule.kinds {
            plan.ask(&name, *kind, Use::Ask(number));
        }
    }
}

/// The template with each combination of values in it.
fn names(rule: &AskRule, values: &HashMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut names = BTreeSet::from([rule.template.to_string()]);
    for tag in &rule.tags {
        let mark = format!("_{tag}_");
        let all = values.get(tag).map(Vec::as_slice).unwrap_or_default();
        names = names
            .iter()
            .flat_map(|name| all.iter().map(|value| name.replace(&mark, value)))
            .take(MOST_NAMES)
            .collect();
    }
    names
}

/// An answer.
pub(super) fn answered(plan: &mut Plan, lists: &Lists, number: usize, query: usize, reply: &Reply) {
    let ask = &lists.asks[number];
    let told = |plan: &Plan, text: &str| {
        let query = &plan.asked[query].query;
        format!("{} {}:{text}", query.name, query.kind.name())
    };
    if let Some(AskTest::Codes(codes)) = &ask.test {
        if codes.contains(&reply.code) {
            let found =
                told(plan, reply.records.first().map(super::Record::text).unwrap_or_default().as_ref());
            plan.hit(ask.rule, &found);
        }
        return;
    }
    if reply.code != 0 {
        return;
    }
    for record in &reply.records {
        if !ask.kinds.contains(&Kind::ANY) && !ask.kinds.contains(&record.kind) {
            continue;
        }
        let text = record.text();
        let address = if let Data::Address(address) = record.data { Some(address) } else { None };
        let hit = match &ask.test {
            None => true,
            Some(AskTest::Pattern(matcher)) => plan.matches(ask.rule, matcher, text.as_bytes()),
            Some(AskTest::Text(exact)) => *text == **exact,
            Some(AskTest::Numeric(numeric)) => numeric.fits(&text, address),
            Some(AskTest::Codes(_)) => false,
        };
        if hit {
            let found = told(plan, &text);
            plan.hit(ask.rule, &found);
        }
    }
}
