//! URILocalBL: addresses of hosts in links.

use std::sync::Arc;

use super::lists::Lists;
use super::{Data, Kind, Plan, Record, Reply, Use};
use crate::texts::Texts;

/// Asks for the hosts that each rule looks at, unless an address in a link makes it hit.
pub(super) fn plan(plan: &mut Plan, lists: &Lists, texts: &Texts<'_>) {
    let blocks = Arc::clone(&plan.blocks);
    for &rule in &lists.blocks_of {
        let Some(block) = blocks.get(&lists.rules[rule].name) else { continue };
        let hosts = block.hosts(texts);
        let hit = |address: &String| block.hit(address, address, plan.countries.as_deref());
        if hosts.addresses.iter().any(|address| hit(address).is_some()) {
            continue;
        }
        for host in hosts.names {
            for kind in [Kind::A, Kind::AAAA] {
                plan.ask(host.as_bytes(), kind, Use::Block { rule, host: host.as_str().into() });
            }
        }
    }
}

/// Addresses of a host are known.
pub(super) fn answered(plan: &mut Plan, lists: &Lists, rule: usize, host: &str, reply: &Reply) {
    let blocks = Arc::clone(&plan.blocks);
    let Some(block) = blocks.get(&lists.rules[rule].name) else { return };
    let address = |record: &Record| match (&record.data, record.kind) {
        (Data::Address(address), _) => Some(address.to_string()),
        (Data::Text(address), Kind::AAAA) => Some(address.clone()),
        _ => None,
    };
    let addresses: Vec<String> = reply.records.iter().filter_map(address).collect();
    // One that is let off lets off the host.
    if addresses.iter().any(|address| block.lets_off(address)) {
        return;
    }
    let countries = plan.countries.clone();
    let hit = |address: &String| block.hit(host, address, countries.as_deref());
    if let Some(found) = addresses.iter().find_map(hit) {
        plan.hit(rule, &found);
    }
}
