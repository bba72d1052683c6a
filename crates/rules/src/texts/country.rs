//! The countries of servers that a message came through: SpamAssassin's RelayCountry.

use std::net::IpAddr;

use super::ip;
use super::relays::{Relay, Relays};

/// Knows the country of an address.
pub trait Countries: std::fmt::Debug + Send + Sync {
    /// Its code of two letters (ISO 3166), in upper case; None if it is not known.
    fn country(&self, ip: IpAddr) -> Option<String>;
}

/// What is told: the pseudo header, the tag of templates, and the countries in order.
pub(crate) type Told = (&'static str, &'static str, Vec<String>);

/// The countries of a message's relays.
pub(crate) fn told(relays: &Relays, countries: &dyn Countries) -> Vec<Told> {
    let of = |relay: &Relay| country(&relay.ip, countries);
    let all = |relays: &[Relay]| relays.iter().map(of).collect::<Vec<String>>();
    let authenticated = relays.trusted.iter().skip_while(|relay| relay.auth.is_empty());
    vec![
        ("X-Relay-Countries", "RELAYCOUNTRY", all(&relays.untrusted)),
        ("X-Relay-Countries-External", "RELAYCOUNTRYEXT", all(&relays.external)),
        ("X-Relay-Countries-Auth", "RELAYCOUNTRYAUTH", authenticated.map(of).collect()),
        ("X-Relay-Countries-All", "RELAYCOUNTRYALL", [all(&relays.internal), all(&relays.external)].concat()),
    ]
}

fn country(address: &[u8], countries: &dyn Countries) -> String {
    if ip::is_private(address) {
        return "**".into();
    }
    let address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
    address.and_then(|address| countries.country(address)).unwrap_or_else(|| "XX".into())
}
