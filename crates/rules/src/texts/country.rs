//! The countries of servers that a message came through: SpamAssassin's RelayCountry.

use std::net::IpAddr;

use super::blocks::code;
use super::relays::{Relay, Relays};

/// Knows where addresses are.
pub trait Countries: std::fmt::Debug + Send + Sync {
    /// Its code of two letters (ISO 3166), in upper case; None if it is not known.
    fn country(&self, ip: IpAddr) -> Option<String>;

    /// Whether it knows any: else what it does not know says nothing.
    fn know_countries(&self) -> bool {
        true
    }

    /// The code of its continent: AF, AN, AS, EU, NA, OC, SA.
    fn continent(&self, _ip: IpAddr) -> Option<String> {
        None
    }

    /// The provider that it belongs to.
    fn provider(&self, _ip: IpAddr) -> Option<String> {
        None
    }
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
    let address = String::from_utf8_lossy(address);
    code(&address, address.parse().ok().and_then(|ip| countries.country(ip)))
}
