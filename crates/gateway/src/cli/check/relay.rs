//! What a configuration leaves to others, which somebody may not be aware of.

use super::Line;
use crate::config::{Config, ListenAddress, NextHop};

/// Lines about relaying, and about restrictions that have nothing to go by.
pub(super) fn lines(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for listener in config.listeners().iter().filter(|listener| listener.protocol.brings_mail()) {
        let outside =
            listener.listen.iter().filter_map(|text| text.parse().ok()).any(|address| match address {
                ListenAddress::Tcp(address) => !address.ip().is_loopback(),
                ListenAddress::Unix(_) => false,
                // Nobody knows here what systemd listens on.
                ListenAddress::Systemd(_) => true,
            });
        let server = listener
            .next_hop
            .iter()
            .filter_map(|text| text.parse().ok())
            .any(|hop| !matches!(hop, NextHop::Maildir(_)));
        if outside && server && config.domains.is_empty() && !listener.after_queue {
            let message = "domains is empty, so who may send to whom is the next hop's to decide alone, and all mail \
                           comes to it from here: see that it trusts nobody for this host's address, or name domains";
            lines.push(Line::doubtful(format!("listener {}: relaying", listener.name), message));
        }
    }
    let own = config.listener.iter().filter_map(|listener| listener.recipient_restrictions.as_ref());
    let usual = Config::default().restrictions.recipient;
    let named = own
        .chain([&config.restrictions.recipient].into_iter().filter(|list| **list != usual))
        .flatten()
        .any(|rule| rule.split_whitespace().any(|word| word == "reject_unlisted_recipient"));
    if named && config.recipients.maps.is_empty() {
        let message = "recipients.maps is empty: every recipient counts as one that exists";
        lines.push(Line::doubtful("restriction reject_unlisted_recipient", message));
    }
    lines
}
