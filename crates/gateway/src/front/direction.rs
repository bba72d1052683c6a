//! Which way mail goes.

use gatepost_mail::{Direction, Recipient, Session};

use crate::config::units::{Net, is_among};

/// The direction of a session before anything is known of recipients: inbound from outside, outbound from our networks
/// and authenticated users. Without a list of our domains nobody can tell outbound from internal or inbound, so all is
/// inbound then.
pub fn direction(session: &Session, networks: &[Net], domains: &[String]) -> Direction {
    let ours = |client| networks.iter().any(|network| network.contains(client));
    let inside = session.user.is_some() || session.client.is_some_and(ours);
    if inside && !domains.is_empty() { Direction::Outbound } else { Direction::Inbound }
}

/// The same for a listener. What comes in by one that is `originating` is our own users', whatever the client's address.
pub fn by_listener(originating: bool, session: &Session, networks: &[Net], domains: &[String]) -> Direction {
    if originating && !domains.is_empty() {
        return Direction::Outbound;
    }
    direction(session, networks, domains)
}

/// The same once recipients are known: what is outbound is internal when all of them are in our domains.
pub fn with_recipients(direction: Direction, recipients: &[Recipient], domains: &[String]) -> Direction {
    let all_ours = !recipients.is_empty()
        && recipients.iter().all(|recipient| is_among(recipient.address.domain(), domains));
    if direction == Direction::Outbound && all_ours { Direction::Internal } else { direction }
}

#[cfg(test)]
mod tests {
    use gatepost_mail::Address;

    use super::*;

    #[test]
    fn by_listeners_for_our_own_users() {
        let domains = ["example.org".to_owned()];
        use Direction::*;
        for (originating, client, domains, recipients, expected) in [
            (true, Some("198.51.100.1"), &domains[..], "a@elsewhere.test", Outbound),
            (true, Some("198.51.100.1"), &domains, "a@example.org", Internal),
            (true, Some("198.51.100.1"), &domains, "a@example.org b@elsewhere.test", Outbound),
            (true, None, &domains, "", Outbound),
            (true, None, &[], "a@example.org", Inbound),
            (false, Some("198.51.100.1"), &domains, "a@example.org", Inbound),
        ] {
            let session = Session { client: client.map(|c| c.parse().unwrap()), ..Session::default() };
            let recipients: Vec<Recipient> =
                recipients.split_whitespace().map(|text| Address::new(text).unwrap().into()).collect();
            let found = by_listener(originating, &session, &[], domains);
            let found = with_recipients(found, &recipients, domains);
            assert_eq!(found, expected, "{originating} {client:?} {recipients:?}");
        }
    }

    #[test]
    fn by_client_user_and_recipients() {
        let networks = ["192.0.2.0/24".parse().unwrap()];
        let domains = ["example.org".to_owned(), ".Example.net".to_owned()];
        use Direction::*;
        for (client, user, domains, recipients, expected) in [
            ("198.51.100.1", false, &domains[..], "a@example.org", Inbound),
            ("198.51.100.1", true, &domains, "a@elsewhere.test", Outbound),
            ("192.0.2.1", false, &domains, "", Outbound),
            ("192.0.2.1", false, &domains, "a@elsewhere.test", Outbound),
            ("192.0.2.1", false, &domains, "a@Example.org b@sub.example.net", Internal),
            ("192.0.2.1", false, &domains, "a@example.org b@example.net", Outbound),
            ("192.0.2.1", false, &domains, "a@example.org b@sub.example.org", Outbound),
            ("192.0.2.1", true, &[], "a@example.org", Inbound),
        ] {
            let session = Session {
                client: Some(client.parse().unwrap()),
                user: user.then(|| "alice".into()),
                ..Session::default()
            };
            let recipients: Vec<Recipient> =
                recipients.split_whitespace().map(|text| Address::new(text).unwrap().into()).collect();
            let found = with_recipients(direction(&session, &networks, domains), &recipients, domains);
            assert_eq!(found, expected, "{client} {user} {recipients:?}");
        }
    }
}
