//! `[restrictions]`: who may send what to whom.

use gatepost_mail::OnFault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// Restrictions, under Postfix's names where it has them. Each list is read in order and the first that matches decides
/// it; what none matches is permitted. All five lists must permit a recipient. They apply where mail comes from
/// outside our queue: `smtp` and `lmtp` (unless `after_queue`), `milter` and `policy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restrictions {
    /// About the client's address and name.
    pub client: Vec<String>,
    /// About what it says in HELO or EHLO.
    pub helo: Vec<String>,
    /// About the sender.
    pub sender: Vec<String>,
    /// Who may send through us to others. A list of its own, so that nothing that is permitted elsewhere makes an open
    /// relay. For `smtp` and `lmtp`; elsewhere it is the mail server's own affair.
    pub relay: Vec<String>,
    /// About the recipient.
    pub recipient: Vec<String>,
    /// What happens when a name cannot be looked up that a restriction needs to know: `accept` or `defer`.
    pub on_fault: OnFault,
    /// Put `(id …)` behind refusals, by which `gatepost explain` finds them.
    pub show_id: bool,
}

impl Default for Restrictions {
    fn default() -> Restrictions {
        let list = |rules: &[&str]| {
            let ours = ["permit_mynetworks", "permit_sasl_authenticated"];
            ours.iter().chain(rules).map(|rule| rule.to_string()).collect()
        };
        Restrictions {
            client: Vec::new(),
            helo: list(&["reject_invalid_helo_hostname", "reject_own_helo_hostname"]),
            sender: list(&["reject_non_fqdn_sender", "reject_unknown_sender_domain"]),
            relay: list(&["reject_unauth_destination"]),
            recipient: list(&["reject_non_fqdn_recipient", "reject_unlisted_recipient"]),
            on_fault: OnFault::Accept,
            show_id: true,
        }
    }
}

/// Of whom something is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asks {
    /// No restriction goes by it.
    Nobody,
    /// Clients that are not ours: all who get past `permit_mynetworks`.
    Outside,
    /// Everybody.
    Everybody,
}

impl Config {
    /// Of whom a restriction, by its name, wants to know something in any of the lists.
    pub fn asks(&self, name: &str) -> Asks {
        let Restrictions { client, helo, sender, relay, recipient, .. } = &self.restrictions;
        let listeners = self.listeners();
        let restricted = listeners.iter().filter(|one| !one.after_queue && one.protocol.has_restrictions());
        let lists = restricted.flat_map(|listener| {
            [
                listener.client_restrictions.as_ref().unwrap_or(client),
                listener.helo_restrictions.as_ref().unwrap_or(helo),
                listener.sender_restrictions.as_ref().unwrap_or(sender),
                listener.relay_restrictions.as_ref().unwrap_or(relay),
                listener.recipient_restrictions.as_ref().unwrap_or(recipient),
            ]
        });
        lists.map(|list| asks_in(list, name)).max().unwrap_or(Asks::Nobody)
    }
}

fn asks_in(list: &[String], name: &str) -> Asks {
    let mut asks = Asks::Everybody;
    for rule in list {
        let only_warns = rule.trim_start().starts_with("warn_if_reject ");
        let mut words = rule.split_whitespace().skip_while(|word| *word == "warn_if_reject");
        match words.next() {
            Some("reject" | "defer") if only_warns => {}
            Some("permit_mynetworks") => asks = Asks::Outside,
            Some("permit" | "reject" | "defer") => break,
            Some(rule) if rule == name => return asks,
            _ => {}
        }
    }
    Asks::Nobody
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_about() {
        for (list, expected) in [
            (&["reject_x"][..], Asks::Everybody),
            (&["permit_mynetworks", "warn_if_reject  reject_x"], Asks::Outside),
            (&["permit", "reject_x"], Asks::Nobody),
            (&["warn_if_reject reject", "reject_x"], Asks::Everybody),
            (&["reject_y"], Asks::Nobody),
            (&["check_x cidr:/reject_x"], Asks::Nobody),
        ] {
            let list: Vec<String> = list.iter().map(|rule| rule.to_string()).collect();
            assert_eq!(asks_in(&list, "reject_x"), expected, "{list:?}");
        }
    }
}
