//! What can be said of names in a session and an envelope: the client's, that of HELO, the domains of sender and
//! recipients. Restrictions go by it; policies may weigh it.
//!
//! Names are looked up only where a restriction goes by that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use gatepost_mail::{Address, Cause, Counts, Envelope, Fault, Finding, OnFault, Points, Recipient, Session};
use tokio::time::timeout;

use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, SymbolInfo, looked, looking};
use crate::config::Config;
use crate::config::restrictions::Asks;
use crate::config::units::{Net, is_among};
use crate::resources::dns::{Confirmed, DnsError, Resolve, confirmed_name};

/// Look-ups of one stage are given up after this; what is not known then is a fault.
const TIME: Duration = Duration::from_secs(5);

const fn symbol(name: &'static str, meaning: &'static str) -> SymbolInfo {
    SymbolInfo::new(name, meaning, Counts::Points(Points::ZERO))
}

/// What this check finds.
pub const SYMBOLS: &[SymbolInfo] = &[
    symbol("CLIENT_NO_NAME", "the client's address has no name (PTR)"),
    symbol("CLIENT_NAME_UNCONFIRMED", "no name of the client's address leads back to it"),
    symbol("HELO_INVALID", "what the client calls itself in HELO is no host name"),
    symbol("HELO_NOT_FQDN", "what the client calls itself in HELO has no domain"),
    symbol("HELO_OURS", "the client calls itself by our own name"),
    symbol("HELO_UNKNOWN", "what the client calls itself in HELO has neither A, AAAA nor MX records"),
    symbol("SENDER_NOT_FQDN", "the sender's address has no full domain"),
    symbol("SENDER_DOMAIN_UNKNOWN", "the sender's domain has neither MX, A nor AAAA records"),
    symbol("SENDER_DOMAIN_NULL_MX", "the sender's domain takes no mail (RFC 7505)"),
    symbol("SENDER_OURS", "the sender's domain is ours, but the client is outside and has not logged in"),
    symbol("SENDER_UUCP", "the sender's address is a UUCP path"),
    symbol("RCPT_NOT_FQDN", "the recipient's address has no full domain"),
    symbol("RCPT_DOMAIN_UNKNOWN", "the recipient's domain has neither MX, A nor AAAA records"),
    symbol("RCPT_DOMAIN_NULL_MX", "the recipient's domain takes no mail (RFC 7505)"),
    symbol("RCPT_UUCP", "the recipient's address is a UUCP path"),
];

/// Makes the check.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let asks = |names: &[&str]| names.iter().map(|name| config.asks(name)).max().unwrap_or(Asks::Nobody);
    // Lists of clients that are never greylisted know them by their names.
    let greylist = &config.checks.greylist;
    let by_name = match (greylist.client_whitelists.is_empty(), greylist.from_score) {
        (true, _) => Asks::Nobody,
        (false, None) => asks(&["greylist"]),
        (false, Some(_)) => Asks::Outside,
    };
    Ok(vec![Box::new(Names {
        dns: resources.dns.clone(),
        hostname: config.hostname.trim_end_matches('.').to_lowercase(),
        networks: config.networks.clone(),
        domains: config.domains.clone(),
        client: asks(&["reject_unknown_client_hostname", "reject_unknown_reverse_client_hostname"])
            .max(asks(&["check_client_access", "check_reverse_client_hostname_access"]))
            .max(by_name),
        helo: asks(&["reject_unknown_helo_hostname"]),
        sender: asks(&["reject_unknown_sender_domain"]),
        recipient: asks(&["reject_unknown_recipient_domain"]),
    })])
}

struct Names {
    dns: Arc<dyn Resolve>,
    hostname: String,
    networks: Vec<Net>,
    domains: Vec<String>,
    /// Of whom each is looked up.
    client: Asks,
    helo: Asks,
    sender: Asks,
    recipient: Asks,
}

impl Check for Names {
    fn name(&self) -> &str {
        "names"
    }

    fn time(&self) -> Duration {
        TIME + Duration::from_secs(1)
    }

    fn on_fault(&self) -> OnFault {
        OnFault::Accept
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client.filter(|_| self.is_asked(self.client, session))?;
        // Whoever told us the address has told the name, too, and knows better.
        if session.client_name.is_some() {
            return None;
        }
        looking(async move { Ok(self.client_name(client).await) })
    }

    fn client_name<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client.filter(|_| session.client_name.is_none())?;
        looking(async move { Ok(self.client_name(client).await) })
    }

    fn on_hello<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let helo = session.helo.as_str();
        if helo.is_empty() {
            return None;
        }
        let plain = helo.trim_end_matches('.').to_lowercase();
        let says = match () {
            () if !is_literal(helo) && !is_host_name(helo) => Some("HELO_INVALID"),
            () if plain == self.hostname && plain.contains('.') && !self.is_inside(session) => {
                Some("HELO_OURS")
            }
            () if !is_literal(helo) && !plain.contains('.') => Some("HELO_NOT_FQDN"),
            () => None,
        };
        let mut found: Found = Vec::from_iter(says.map(|says| Finding::mail(says, helo))).into();
        if says == Some("HELO_INVALID") || is_literal(helo) || !self.is_asked(self.helo, session) {
            return looked(Ok(found));
        }
        looking(async move {
            match self.reachable(helo).await {
                Reach::Nothing | Reach::NullMx => found.findings.push(Finding::mail("HELO_UNKNOWN", helo)),
                Reach::Mail => {}
                Reach::Unclear(why) => found.faults.push(fault("helo_name", why)),
            }
            Ok(found)
        })
    }

    fn on_sender<'a>(&'a self, session: &'a Session, envelope: &'a Envelope) -> Answer<'a> {
        let sender = envelope.sender.as_ref()?;
        let mut findings = Vec::new();
        let mut says = |symbol| findings.push(Finding::mail(symbol, sender.to_string()));
        if is_uucp(sender) {
            says("SENDER_UUCP");
        }
        if !is_full(sender) {
            says("SENDER_NOT_FQDN");
        }
        if is_among(sender.domain(), &self.domains) && !self.is_inside(session) {
            says("SENDER_OURS");
        }
        let mut found: Found = findings.into();
        if !is_full(sender) || !self.is_asked(self.sender, session) {
            return looked(Ok(found));
        }
        looking(async move {
            let finding = |symbol| Finding::mail(symbol, sender.domain());
            match self.reachable(sender.domain()).await {
                Reach::Mail => {}
                Reach::Nothing => found.findings.push(finding("SENDER_DOMAIN_UNKNOWN")),
                Reach::NullMx => found.findings.push(finding("SENDER_DOMAIN_NULL_MX")),
                Reach::Unclear(why) => found.faults.push(fault("sender_domain", why)),
            }
            Ok(found)
        })
    }

    fn on_recipient<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
    ) -> Answer<'a> {
        let address = &recipient.address;
        let place = envelope.recipients.len();
        let finding = move |symbol| Finding::recipient(symbol, place, address.to_string());
        let mut found = Found::default();
        if is_uucp(address) {
            found.findings.push(finding("RCPT_UUCP"));
        }
        // RFC 5321 section 4.5.1: this one needs no domain.
        let postmaster = address.domain().is_empty() && address.local().eq_ignore_ascii_case("postmaster");
        if !is_full(address) && !postmaster {
            found.findings.push(finding("RCPT_NOT_FQDN"));
        }
        let ours = is_among(address.domain(), &self.domains);
        if !is_full(address) || ours || !self.is_asked(self.recipient, session) {
            return if found.findings.is_empty() { None } else { looked(Ok(found)) };
        }
        looking(async move {
            match self.reachable(address.domain()).await {
                Reach::Mail => {}
                Reach::Nothing => found.findings.push(finding("RCPT_DOMAIN_UNKNOWN")),
                Reach::NullMx => found.findings.push(finding("RCPT_DOMAIN_NULL_MX")),
                Reach::Unclear(why) => found.faults.push(fault("recipient_domain", why)),
            }
            Ok(found)
        })
    }
}

/// Whether mail can be sent to a domain.
enum Reach {
    Mail,
    Nothing,
    NullMx,
    Unclear(String),
}

impl Names {
    fn is_inside(&self, session: &Session) -> bool {
        session.user.is_some() || self.is_near(session)
    }

    /// On our networks, which `permit_mynetworks` permits.
    fn is_near(&self, session: &Session) -> bool {
        session.is_local() || session.client.is_some_and(|client| self.is_ours(client))
    }

    fn is_ours(&self, client: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(client))
    }

    fn is_asked(&self, asks: Asks, session: &Session) -> bool {
        match asks {
            Asks::Nobody => false,
            Asks::Outside => !self.is_near(session),
            Asks::Everybody => true,
        }
    }

    /// Whether a name has MX, A or AAAA records, as Postfix asks for all of these restrictions. In its own time, so that what
    /// is known without is not lost.
    async fn reachable(&self, name: &str) -> Reach {
        if is_literal(name) {
            return Reach::Mail;
        }
        let late = |_| Reach::Unclear(format!("{name}: no answer within {}", seconds(TIME)));
        timeout(TIME, self.look_up(name)).await.unwrap_or_else(late)
    }

    async fn look_up(&self, name: &str) -> Reach {
        match self.dns.mx(name).await {
            Ok(mx) if mx.iter().all(|mx| mx.exchange.is_empty()) => return Reach::NullMx,
            Ok(_) => return Reach::Mail,
            Err(DnsError::NoName) => return Reach::Nothing,
            Err(DnsError::NoData) => {}
            Err(why) => return Reach::Unclear(format!("{name}: {why}")),
        }
        match join(self.dns.a(name), self.dns.aaaa(name)).await {
            (Ok(_), _) | (_, Ok(_)) => Reach::Mail,
            (Err(a), Err(aaaa)) if a.is_nothing() && aaaa.is_nothing() => Reach::Nothing,
            (Err(why), _) if !why.is_nothing() => Reach::Unclear(format!("{name}: {why}")),
            (_, Err(why)) => Reach::Unclear(format!("{name}: {why}")),
        }
    }

    /// The client's name, by its address and back.
    async fn client_name(&self, client: IpAddr) -> Found {
        let said = timeout(TIME, confirmed_name(&*self.dns, client)).await;
        let unclear = |why: String| Found { faults: vec![fault("client_name", why)], ..Found::default() };
        match said {
            Err(_) => unclear(format!("{client}: no answer within {}", seconds(TIME))),
            Ok(Err(why)) => unclear(format!("{client}: {why}")),
            Ok(Ok(Confirmed { confirmed: Some(name), .. })) => {
                Found { client_name: Some(name), ..Found::default() }
            }
            Ok(Ok(Confirmed { names, .. })) => vec![match names.first() {
                None => Finding::mail("CLIENT_NO_NAME", client.to_string()),
                Some(name) => Finding::mail("CLIENT_NAME_UNCONFIRMED", format!("{client} is called {name}")),
            }]
            .into(),
        }
    }
}

/// Restrictions say what a fault means here; for a message by itself it means nothing.
fn fault(check: &str, detail: String) -> Fault {
    Fault { check: check.to_owned(), cause: Cause::Unavailable, detail, answer: OnFault::Accept }
}

/// Whether an address has a domain with a dot in it, or an address literal.
fn is_full(address: &Address) -> bool {
    let domain = address.domain();
    is_literal(domain) || (domain.contains('.') && is_host_name(domain))
}

/// `host!user` without a domain: a path of UUCP.
fn is_uucp(address: &Address) -> bool {
    address.local().contains('!') && !address.local().starts_with('"')
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3).
fn is_literal(name: &str) -> bool {
    let Some(inside) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    match inside.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")) {
        Some(_) => inside[5..].parse::<std::net::Ipv6Addr>().is_ok(),
        None => inside.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

/// Labels of letters, digits, `-` and `_`, as Postfix takes them; U-labels where the name is internationalized (RFC 6531).
/// An address that is not in brackets is none.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && !name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_auth::dns::Table;

    fn names(restrictions: &[&str]) -> Names {
        let mut config = Config {
            hostname: "mx.example.org".into(),
            domains: vec!["example.org".into()],
            ..Config::default()
        };
        config.restrictions.sender.extend(restrictions.iter().map(|rule| rule.to_string()));
        let dns = Table::new(
            "good.test MX 10 mx.good.test\nonly-a.test A 192.0.2.1\nonly-six.test AAAA 2001:db8::1\n\
             null.test MX 0 .\ntext.test TXT nothing else\nslow.test TIMEOUT\n\
             1.2.0.192.in-addr.arpa PTR a.good.test\na.good.test A 192.0.2.1\n\
             2.2.0.192.in-addr.arpa PTR a.good.test\n3.2.0.192.in-addr.arpa PTR slow.test\n",
        );
        let asks = |name| config.asks(name);
        Names {
            dns: Arc::new(dns),
            hostname: config.hostname.clone(),
            networks: config.networks.clone(),
            domains: config.domains.clone(),
            client: asks("reject_unknown_client_hostname"),
            helo: asks("reject_unknown_helo_hostname"),
            sender: asks("reject_unknown_sender_domain"),
            recipient: asks("reject_unknown_recipient_domain"),
        }
    }

    fn told(answer: Result<Found, Fault>) -> String {
        let found = answer.unwrap();
        let findings = found.findings.iter().map(|finding| finding.symbol.to_string());
        let faults = found.faults.iter().map(|fault| format!("fault:{}", fault.check));
        findings.chain(faults).chain(found.client_name).collect::<Vec<_>>().join(" ")
    }

    fn outside() -> Session {
        Session { client: Some("198.51.100.1".parse().unwrap()), ..Session::default() }
    }

    #[tokio::test]
    async fn hello() {
        let check = names(&["reject_unknown_helo_hostname"]);
        for (helo, expected) in [
            ("a.good.test", ""),
            ("A.good.test.", ""),
            ("[192.0.2.1]", ""),
            ("[IPv6:2001:db8::1]", ""),
            ("[192.0.2]", "HELO_INVALID"),
            ("192.0.2.1", "HELO_INVALID"),
            ("bad name", "HELO_INVALID"),
            ("a..b", "HELO_INVALID"),
            ("-a.test", "HELO_INVALID"),
            ("under_score.test", "HELO_UNKNOWN"),
            ("friend", "HELO_NOT_FQDN HELO_UNKNOWN"),
            ("MX.example.org", "HELO_OURS HELO_UNKNOWN"),
            ("nowhere.test", "HELO_UNKNOWN"),
            ("slow.test", "fault:helo_name"),
        ] {
            let session = Session { helo: helo.into(), ..outside() };
            assert_eq!(told(check.on_hello(&session).unwrap().await), expected, "{helo}");
        }
        let inside = Session { client: Some("127.0.0.1".parse().unwrap()), ..outside() };
        let session = Session { helo: "mx.example.org".into(), ..inside };
        assert_eq!(told(check.on_hello(&session).unwrap().await), "", "who is inside passes before that");
    }

    #[tokio::test]
    async fn senders_and_recipients() {
        let check = names(&["reject_unknown_recipient_domain"]);
        for (address, sender, recipient) in [
            ("a@good.test", "", ""),
            ("a@only-a.test", "", ""),
            ("a@only-six.test", "", ""),
            ("a@null.test", "SENDER_DOMAIN_NULL_MX", "RCPT_DOMAIN_NULL_MX"),
            ("a@text.test", "SENDER_DOMAIN_UNKNOWN", "RCPT_DOMAIN_UNKNOWN"),
            ("a@nowhere.test", "SENDER_DOMAIN_UNKNOWN", "RCPT_DOMAIN_UNKNOWN"),
            ("a@slow.test", "fault:sender_domain", "fault:recipient_domain"),
            ("a@host", "SENDER_NOT_FQDN", "RCPT_NOT_FQDN"),
            ("a", "SENDER_NOT_FQDN", "RCPT_NOT_FQDN"),
            ("postmaster", "SENDER_NOT_FQDN", ""),
            ("a!b@good.test", "SENDER_UUCP", "RCPT_UUCP"),
        ] {
            let envelope = Envelope { sender: Address::new(address), ..Envelope::default() };
            assert_eq!(told(check.on_sender(&outside(), &envelope).unwrap().await), sender, "{address}");
            let whom = Address::new(address).unwrap().into();
            let answer = match check.on_recipient(&outside(), &Envelope::default(), &whom) {
                Some(answer) => told(answer.await),
                None => String::new(),
            };
            assert_eq!(answer, recipient, "{address}");
        }
        let envelope = Envelope { sender: Address::new("boss@example.org"), ..Envelope::default() };
        let check = names(&[]);
        assert!(told(check.on_sender(&outside(), &envelope).unwrap().await).starts_with("SENDER_OURS"));
        let user = Session { user: Some("boss".into()), ..outside() };
        // A list may ask about them all the same, if nothing in it permits them before.
        assert_eq!(told(check.on_sender(&user, &envelope).unwrap().await), "SENDER_DOMAIN_UNKNOWN");
    }

    #[tokio::test]
    async fn clients() {
        let check = names(&["reject_unknown_client_hostname"]);
        for (client, expected) in [
            ("192.0.2.1", "a.good.test"),
            ("192.0.2.2", "CLIENT_NAME_UNCONFIRMED"),
            ("192.0.2.3", "fault:client_name"),
            ("192.0.2.4", "CLIENT_NO_NAME"),
        ] {
            let session = Session { client: Some(client.parse().unwrap()), ..Session::default() };
            assert_eq!(told(check.on_connect(&session).unwrap().await), expected, "{client}");
        }
        assert!(names(&[]).on_connect(&outside()).is_none(), "nobody asks");
    }
}
