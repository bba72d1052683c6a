//! SpamAssassin's Phishing: addresses of pages that feeds list.

use std::collections::HashMap;

use super::{Function, Native, of};
use crate::conf::Settings;
use crate::engine::Answer;
use crate::texts::{Registry, find, lines, trim};

/// So many addresses are kept.
const MOST: usize = 2_000_000;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[("check_phishing", |native, _| {
    let feeds = &native.patterns.files.phishing;
    let short = native.settings.flag("phishing_uri_noparam");
    for uri in native.texts.uris().iter().filter(|_| !feeds.0.is_empty()) {
        let linked = uri.types.contains("a") || uri.types.contains("parsed");
        if find(&uri.raw, b"mailto:", 0) == Some(0) || uri.hosts.is_empty() || !linked {
            continue;
        }
        for form in &uri.cleaned {
            let key = if short { without_query(form) } else { form };
            // What is as general as a redirector without its query tells nothing.
            if short && key.iter().filter(|octet| **octet == b'/').count() <= 3 {
                continue;
            }
            if let Some(feed) = feeds.0.get(key) {
                return listed(native, form, feed);
            }
        }
    }
    of(false)
})];

fn listed(native: &Native<'_>, uri: &[u8], feed: &str) -> Answer {
    let domain = native.texts.settings().registry.uri_to_domain(uri).map(|(domain, _)| domain);
    let domain = String::from_utf8_lossy(&domain.unwrap_or_default()).into_owned();
    Answer { found: vec![format!("{feed} ({domain})")], ..of(true) }
}

fn without_query(uri: &[u8]) -> &[u8] {
    &uri[..memchr::memchr(b'?', uri).unwrap_or(uri.len())]
}

/// A feed of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// An address a line.
    OpenPhish,
    /// Comma-separated: the address is the second value.
    PhishTank,
    /// Comma-separated: date, score, address.
    PhishStats,
}

impl Feed {
    /// All of them, each with the setting that names its file.
    pub const ALL: [(Feed, &'static str); 3] = [
        (Feed::OpenPhish, "phishing_openphish_feed"),
        (Feed::PhishTank, "phishing_phishtank_feed"),
        (Feed::PhishStats, "phishing_phishstats_feed"),
    ];

    fn name(self) -> &'static str {
        match self {
            Feed::OpenPhish => "OpenPhish",
            Feed::PhishTank => "PhishTank",
            Feed::PhishStats => "PhishStats",
        }
    }

    /// The address that a line lists; `least`: the score it must be above.
    fn address(self, line: &[u8], least: f64) -> Option<Vec<u8>> {
        let mut values = line.split(|octet| *octet == b',');
        let unquoted =
            |value: &[u8]| -> Vec<u8> { value.iter().copied().filter(|octet| *octet != b'"').collect() };
        match self {
            Feed::OpenPhish => Some(line.to_vec()),
            Feed::PhishTank => values.nth(1).map(unquoted),
            Feed::PhishStats => {
                let score = String::from_utf8(unquoted(values.nth(1)?)).ok()?;
                let address = unquoted(values.next()?);
                (score.trim().parse::<f64>().unwrap_or(0.0) > least).then_some(address)
            }
        }
    }
}

/// Addresses with the feed that lists them.
#[derive(Debug, Default)]
pub struct Phishing(HashMap<Box<[u8]>, &'static str>);

impl Phishing {
    /// Takes in a feed. Lines that make no sense are left out.
    pub fn add(&mut self, feed: Feed, text: &[u8], settings: &Settings, registry: &Registry) {
        let short = settings.flag("phishing_uri_noparam");
        let least = settings.number("phishing_phishstats_minscore").unwrap_or(6.0);
        let heads = usize::from(feed != Feed::OpenPhish);
        for line in lines(text).skip(heads) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if trim(line).starts_with(b"#") || self.0.len() >= MOST {
                continue;
            }
            let Some(address) = feed.address(line, least) else { continue };
            if registry.uri_to_domain(&address).is_some() {
                let key = if short { without_query(&address) } else { &address };
                self.0.entry(key.into()).or_insert(feed.name());
            }
        }
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_feeds() {
        for (feed, line, expected) in [
            (Feed::OpenPhish, "http://a.com/x,y", Some("http://a.com/x,y")),
            (Feed::PhishTank, "12,\"http://a.com/x\",http://d,2026", Some("http://a.com/x")),
            (Feed::PhishTank, "12", None),
            (Feed::PhishStats, "\"2026\",\"7.5\",\"http://a.com/\",\"192.0.2.1\"", Some("http://a.com/")),
            (Feed::PhishStats, "\"2026\",\"6\",\"http://a.com/\",\"192.0.2.1\"", None),
            (Feed::PhishStats, "2026,7", None),
        ] {
            let found = feed.address(line.as_bytes(), 6.0);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{line}");
        }
    }
}
