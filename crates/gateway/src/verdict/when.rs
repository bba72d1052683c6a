//! Whom a policy is for.

use gatepost_mail::{Address, Direction, Session};

use crate::config::Problem;
use crate::config::typed;
use crate::config::units::Net;

/// Conditions of a policy, compiled. All that are given must hold.
#[derive(Debug, Default)]
pub(super) struct When {
    recipients: Vec<Pattern>,
    senders: Vec<Pattern>,
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
            recipients: patterns(&typed.recipients, &format!("{key}.recipients"), false, problems),
            senders: patterns(&typed.senders, &format!("{key}.senders"), true, problems),
            networks: typed.networks.clone(),
            listeners: typed.listeners.clone(),
            authenticated: typed.authenticated,
            directions: typed.directions.clone(),
        }
    }

    /// Whether they hold. Without a recipient (a file judged by itself) a condition on recipients holds only if it is
    /// `*`.
    pub fn holds(&self, session: &Session, sender: Option<&Address>, recipient: Option<&Address>) -> bool {
        let client_is_in = |networks: &[Net]| {
            session.client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
        };
        let recipient_matches = |pattern: &Pattern| match recipient {
            Some(address) => pattern.matches(Some(address)),
            None => *pattern == Pattern::Any,
        };
        (self.networks.is_empty() || client_is_in(&self.networks))
            && (self.listeners.is_empty() || self.listeners.contains(&session.listener))
            && self.authenticated.is_none_or(|wanted| wanted == session.user.is_some())
            && (self.directions.is_empty() || self.directions.contains(&session.direction))
            && (self.senders.is_empty() || self.senders.iter().any(|pattern| pattern.matches(sender)))
            && (self.recipients.is_empty() || self.recipients.iter().any(recipient_matches))
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

/// One pattern for addresses, in lower case.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`: every address, and the empty sender.
    Any,
    /// `<>`: the empty sender.
    Empty,
    /// `user@example.org`.
    Address(String),
    /// `example.org`, without its subdomains.
    Domain(String),
    /// `.example.org`: its subdomains; kept with the leading dot.
    Subdomains(String),
}

impl Pattern {
    fn parse(text: &str, sender: bool) -> Result<Pattern, String> {
        const FORMS: &str = "write user@example.org, example.org, .example.org (its subdomains) or *";
        let lower = text.trim().to_lowercase();
        match lower.as_str() {
            "*" => return Ok(Pattern::Any),
            "<>" if sender => return Ok(Pattern::Empty),
            "<>" => return Err("the empty address <> is only ever a sender".into()),
            _ => {}
        }
        if lower.contains(['*', '<', '>']) || lower.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("“{text}” is not a pattern for addresses: {FORMS}"));
        }
        if let Some((local, domain)) = lower.rsplit_once('@') {
            return match !local.is_empty() && is_domain(domain) {
                true => Ok(Pattern::Address(lower)),
                false => Err(format!("“{text}” is not an address: {FORMS}")),
            };
        }
        match lower.strip_prefix('.') {
            Some(domain) if is_domain(domain) => Ok(Pattern::Subdomains(lower)),
            None if is_domain(&lower) => Ok(Pattern::Domain(lower)),
            _ => Err(format!("“{text}” is not a domain: {FORMS}")),
        }
    }

    /// None is the empty sender.
    fn matches(&self, address: Option<&Address>) -> bool {
        match (self, address) {
            (Pattern::Any, _) | (Pattern::Empty, None) => true,
            (Pattern::Empty, Some(_)) | (_, None) => false,
            (Pattern::Address(wanted), Some(address)) => address.key() == *wanted,
            (Pattern::Domain(wanted), Some(address)) => address.domain().to_lowercase() == *wanted,
            (Pattern::Subdomains(suffix), Some(address)) => {
                let domain = address.domain().to_lowercase();
                domain.len() > suffix.len() && domain.ends_with(suffix.as_str())
            }
        }
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

fn patterns(texts: &[String], key: &str, sender: bool, problems: &mut Vec<Problem>) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match Pattern::parse(text, sender) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => problems.push(Problem::new(format!("{key}[{place}]"), message)),
        }
    }
    patterns
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
        for (pattern, address, expected) in table {
            let compiled = Pattern::parse(pattern, true).unwrap();
            assert_eq!(compiled.matches(Address::new(address).as_ref()), expected, "{pattern} {address}");
        }
    }

    #[test]
    fn bad_patterns_are_told() {
        for text in ["", ".", "@", "@example.org", "user@", "*@example.org", "*.example.org", "a b", "a..b"] {
            let problem = Pattern::parse(text, true).unwrap_err();
            assert!(problem.contains("write user@example.org"), "{text}: {problem}");
        }
        assert!(Pattern::parse("<>", false).unwrap_err().contains("only ever a sender"));
    }
}
