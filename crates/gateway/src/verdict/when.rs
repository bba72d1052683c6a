//! Whom a policy is for.

use std::collections::HashSet;

use gatepost_mail::{Address, Direction, Session};

use crate::config::Problem;
use crate::config::typed;
use crate::config::units::Net;

/// Conditions of a policy, compiled. All that are given must hold.
#[derive(Debug, Default)]
pub(super) struct When {
    recipients: Option<Patterns>,
    senders: Option<Patterns>,
    networks: Vec<Net>,
    listeners: Vec<String>,
    authenticated: Option<bool>,
    directions: Vec<Direction>,
}

impl When {
    /// Compiles conditions; `key` is theirs (`policy[0].when`), `known` the names of the listeners.
    pub fn compile(typed: &typed::When, key: &str, known: &[String], problems: &mut Vec<Problem>) -> When {
        for (place, name) in typed.listeners.iter().enumerate() {
            if !known.contains(name) {
                let nearest = super::policy::nearest(name, known.iter().map(String::as_str));
                let message = format!("there is no listener “{name}”{nearest}");
                problems.push(Problem::new(format!("{key}.listeners[{place}]"), message));
            }
        }
        When {
            recipients: Patterns::compile(
                &typed.recipients,
                &format!("{key}.recipients"),
                Side::Recipient,
                problems,
            ),
            senders: Patterns::compile(&typed.senders, &format!("{key}.senders"), Side::Sender, problems),
            networks: typed.networks.clone(),
            listeners: typed.listeners.clone(),
            authenticated: typed.authenticated,
            directions: typed.directions.clone(),
        }
    }

    /// Whether they hold. Without a recipient (a file judged by itself) a condition on recipients holds only if it is
    /// `*`.
    pub fn holds(&self, session: &Session, sender: Option<&Folded>, recipient: Option<&Folded>) -> bool {
        self.is_for_client(session)
            && self.authenticated.is_none_or(|wanted| wanted == session.user.is_some())
            && (self.directions.is_empty() || self.directions.contains(&session.direction))
            && self.senders.as_ref().is_none_or(|patterns| patterns.match_any(sender))
            && self.recipients.as_ref().is_none_or(|patterns| patterns.match_any(recipient))
    }

    /// What will be known of them once the recipients are, of which there are none yet: whether they hold whatever
    /// comes, or never, or (`None`) whether that depends. `sender` is `None` before MAIL; then nobody knows either
    /// whether the client will log in.
    pub fn foresee(&self, session: &Session, sender: Option<Option<&Folded>>) -> Option<bool> {
        use Direction::{Inbound, Internal, Outbound};
        let directions: &[Direction] = match (sender, session.direction) {
            (None, _) => &[Inbound, Outbound, Internal],
            (Some(_), Inbound) => &[Inbound],
            // Internal, if all recipients turn out to be ours.
            (Some(_), Outbound | Internal) => &[Outbound, Internal],
        };
        let wanted = directions.iter().filter(|direction| self.directions.contains(direction)).count();
        let login = |wanted: bool| sender.is_some().then(|| wanted == session.user.is_some());
        let senders = |patterns: &Patterns| match sender {
            Some(sender) => Some(patterns.match_any(sender)),
            None => patterns.any.then_some(true),
        };
        let conditions = [
            Some(self.is_for_client(session)),
            self.authenticated.map_or(Some(true), login),
            match wanted {
                _ if self.directions.is_empty() || wanted == directions.len() => Some(true),
                0 => Some(false),
                _ => None,
            },
            self.senders.as_ref().map_or(Some(true), senders),
            self.recipients.as_ref().map_or(Some(true), |patterns| patterns.any.then_some(true)),
        ];
        match conditions {
            conditions if conditions.contains(&Some(false)) => Some(false),
            conditions if conditions.contains(&None) => None,
            _ => Some(true),
        }
    }

    /// The conditions on what is known as soon as a client has connected.
    fn is_for_client(&self, session: &Session) -> bool {
        let client_is_in = |networks: &[Net]| {
            session.client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
        };
        (self.networks.is_empty() || client_is_in(&self.networks))
            && (self.listeners.is_empty() || self.listeners.contains(&session.listener))
    }
}

/// No condition at all.
pub(super) fn is_empty(typed: &typed::When) -> bool {
    typed.recipients.is_empty()
        && typed.senders.is_empty()
        && typed.networks.is_empty()
        && typed.listeners.is_empty()
        && typed.authenticated.is_none()
        && typed.directions.is_empty()
}

/// An address in lower case, folded once for all patterns.
pub(super) struct Folded {
    address: String,
    domain: String,
}

impl From<&Address> for Folded {
    fn from(address: &Address) -> Folded {
        Folded { address: address.key(), domain: address.domain().to_lowercase() }
    }
}

/// Whose addresses patterns are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Sender,
    Recipient,
}

/// Patterns for addresses, in lower case; sets, so that a list of all users costs no more than one of them.
#[derive(Debug, Default)]
struct Patterns {
    /// `*`: every address, and none.
    any: bool,
    /// `<>`: the empty sender.
    empty: bool,
    /// `user@example.org`.
    addresses: HashSet<String>,
    /// `example.org`, without its subdomains.
    domains: HashSet<String>,
    /// `.example.org`: its subdomains; kept without the leading dot.
    parents: HashSet<String>,
}

impl Patterns {
    /// None if there are none, which is no condition.
    fn compile(texts: &[String], key: &str, side: Side, problems: &mut Vec<Problem>) -> Option<Patterns> {
        let mut patterns = Patterns::default();
        for (place, text) in texts.iter().enumerate() {
            if let Err(message) = patterns.add(text, side) {
                problems.push(Problem::new(format!("{key}[{place}]"), message));
            }
        }
        (!texts.is_empty()).then_some(patterns)
    }

    fn add(&mut self, text: &str, side: Side) -> Result<(), String> {
        const FORMS: &str = "write user@example.org, example.org, .example.org (its subdomains) or *";
        let lower = text.trim().to_lowercase();
        match lower.as_str() {
            "*" => self.any = true,
            "<>" if side == Side::Sender => self.empty = true,
            "<>" => return Err("the empty address <> is only ever a sender".into()),
            _ if lower.contains(|c: char| "*<>".contains(c) || c.is_whitespace() || c.is_control()) => {
                return Err(format!("“{text}” is not a pattern for addresses: {FORMS}"));
            }
            _ => match (lower.rsplit_once('@'), lower.strip_prefix('.')) {
                (Some((local, domain)), _) if !local.is_empty() && is_domain(domain) => {
                    self.addresses.insert(lower);
                }
                (Some(_), _) => return Err(format!("“{text}” is not an address: {FORMS}")),
                (None, Some(parent)) if is_domain(parent) => {
                    self.parents.insert(parent.to_owned());
                }
                (None, None) if is_domain(&lower) => {
                    self.domains.insert(lower);
                }
                (None, _) => return Err(format!("“{text}” is not a domain: {FORMS}")),
            },
        }
        Ok(())
    }

    /// None is the empty sender, or no recipient.
    fn match_any(&self, address: Option<&Folded>) -> bool {
        let Some(Folded { address, domain }) = address else { return self.any || self.empty };
        let mut parents = domain.match_indices('.').map(|(dot, _)| &domain[dot + 1..]);
        self.any
            || self.addresses.contains(address)
            || self.domains.contains(domain)
            || (!self.parents.is_empty() && parents.any(|parent| self.parents.contains(parent)))
    }
}

/// Labels parted by dots (internationalised ones too), or an address literal in brackets.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
    };
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && !literal.contains(['[', ']']),
        None => text.len() <= 255 && text.split('.').all(label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_patterns() {
        let table = [
            // pattern, address, matches
            ("*", "anyone@anywhere.test", true),
            ("*", "", true),
            ("<>", "", true),
            ("<>", "a@b.test", false),
            ("user@example.org", "user@example.org", true),
            ("User@Example.ORG", "uSER@eXAMPLE.org", true),
            ("user@example.org", "user@sub.example.org", false),
            ("user@example.org", "another@example.org", false),
            ("user@example.org", "", false),
            ("example.org", "user@example.org", true),
            ("example.org", "user@EXAMPLE.ORG.", true),
            ("example.org", "user@sub.example.org", false),
            ("example.org", "user@notexample.org", false),
            (".example.org", "user@sub.example.org", true),
            (".example.org", "user@a.b.example.org", true),
            (".example.org", "user@example.org", false),
            (".example.org", "user@notexample.org", false),
            ("bücher.test", "a@BÜCHER.test", true),
            ("[192.0.2.1]", "a@[192.0.2.1]", true),
            ("\"a@b\"@example.org", "\"a@b\"@example.org", true),
        ];
        for (pattern, text, expected) in table {
            let mut patterns = Patterns::default();
            patterns.add(pattern, Side::Sender).unwrap();
            let address = Address::new(text).as_ref().map(Folded::from);
            assert_eq!(patterns.match_any(address.as_ref()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn bad_patterns_are_told() {
        for text in ["", ".", "@", "@example.org", "user@", "*@example.org", "*.example.org", "a b", "a..b"] {
            let problem = Patterns::default().add(text, Side::Sender).unwrap_err();
            assert!(problem.contains("write user@example.org"), "{text}: {problem}");
        }
        assert!(Patterns::default().add("<>", Side::Recipient).unwrap_err().contains("only ever a sender"));
    }
}
