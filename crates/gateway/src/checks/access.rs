//! Access maps: what the tables of `check_client_access TYPE:FILE` and its like say, looked up side by side as soon as
//! there is something to look up. Restrictions read it in their order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Access, Address, Cause, Envelope, Fault, Hit, OnFault, Recipient, Session};
use tokio::time::timeout;

use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, Health, SymbolInfo, looking};
use crate::config::restrictions::Asks;
use crate::config::units::Net;
use crate::config::{Config, Problem};
use crate::resources::dns::{DnsError, Resolve, confirmed_name};
use crate::resources::maps::keys::{Style, Subject, keys};
use crate::resources::maps::{Form, Map, MapError, Options};

/// It finds nothing that counts by itself.
pub const SYMBOLS: &[SymbolInfo] = &[];

/// Mail exchangers of a sender's domain, and addresses of each, that are looked up.
const HOSTS: usize = 20;

/// Tables that were opened for a configuration: each once, however often it is named.
type Opened = BTreeMap<String, Arc<Map>>;

/// How long all look-ups of one rule may take beyond the table's own time: the names that are looked up before.
const DNS_TIME: Duration = Duration::from_secs(5);

/// One check for each restriction that names a table.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let (options, style) = (options(config), style(config));
    let mut opened = Opened::new();
    let mut problems = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for (key, text) in config.all_restrictions() {
        let (name, table) = text.split_once(' ').unwrap_or((&text, ""));
        let Some(what) = What::named(name) else { continue };
        if rules.iter().any(|rule| rule.text == text) {
            continue;
        }
        if what == What::SenderNs {
            let message = "name servers of senders are not looked up here; use check_sender_mx_access";
            problems.push(Problem::new(key, message));
            continue;
        }
        match open(table, &options, &mut opened) {
            Err(why) => problems.push(Problem::new(key, why)),
            Ok(map) => rules.push(Rule {
                name: format!("access:{table}"),
                text: text.clone(),
                what,
                map,
                style: style.clone(),
                asks: config.asks(name),
                networks: config.networks.clone(),
                on_fault: config.maps.on_fault,
                dns: resources.dns.clone(),
            }),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(rules.into_iter().map(|rule| Box::new(rule) as Box<dyn Check>).collect())
}

/// How tables are opened.
pub(super) fn options(config: &Config) -> Options {
    let maps = &config.maps;
    Options {
        time: maps.time.duration().max(Duration::from_secs(1)),
        cache: maps.cache.duration(),
        cached: maps.cached as usize,
        connections: maps.connections,
    }
}

/// How keys are made.
pub(super) fn style(config: &Config) -> Style {
    Style {
        parents: config.maps.parent_domain_matches_subdomains,
        null_sender: config.maps.null_sender_key.clone(),
        delimiter: config.maps.recipient_delimiter.clone(),
    }
}

/// Opens a table of an access map, unless it is open already.
fn open(table: &str, options: &Options, opened: &mut Opened) -> Result<Arc<Map>, String> {
    if let Some(map) = opened.get(table) {
        return Ok(map.clone());
    }
    let map = Arc::new(Map::open(table, options, judge)?);
    opened.insert(table.to_owned(), map.clone());
    Ok(map)
}

/// What stands in an access map must be an action. Of Sendmail's access database only the entries count that are about
/// connections and addresses; tags of TLS, of rates and others are somebody else's.
fn judge(form: Form, key: &str, value: &str) -> Result<(), String> {
    match form {
        Form::Virtusertable => Err("a virtusertable is no access map; name it in recipients.maps".into()),
        Form::Sendmail => {
            let tag = key.split_once(':').map_or("", |(tag, _)| tag);
            let ours = ["", "connect", "from", "to", "spam", "ipv6"].contains(&tag);
            if ours { Access::parse_sendmail(value).map(drop) } else { Ok(()) }
        }
        _ => Access::parse(value).map(drop),
    }
}

/// What a restriction looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Client,
    ReverseClient,
    Helo,
    Sender,
    SenderMx,
    SenderNs,
    Recipient,
}

impl What {
    fn named(name: &str) -> Option<What> {
        Some(match name {
            "check_client_access" => What::Client,
            "check_reverse_client_hostname_access" => What::ReverseClient,
            "check_helo_access" => What::Helo,
            "check_sender_access" => What::Sender,
            "check_sender_mx_access" => What::SenderMx,
            "check_sender_ns_access" => What::SenderNs,
            "check_recipient_access" => What::Recipient,
            _ => return None,
        })
    }
}

/// One restriction with its table.
struct Rule {
    /// For faults: `access:cidr:/etc/gatepost/clients`.
    name: String,
    /// As it is configured: `check_client_access cidr:/etc/gatepost/clients`.
    text: String,
    what: What,
    map: Arc<Map>,
    style: Style,
    asks: Asks,
    networks: Vec<Net>,
    on_fault: OnFault,
    dns: Arc<dyn Resolve>,
}

impl Rule {
    /// Whether the restriction may come to be read for this client at all.
    fn is_asked(&self, session: &Session) -> bool {
        let inside =
            || session.client.is_some_and(|client| self.networks.iter().any(|net| net.contains(client)));
        self.asks != Asks::Outside || !inside()
    }

    /// Looks something up, in time. That the table cannot be asked is said to the restrictions as a word of the table:
    /// come again, if nothing else refuses.
    fn look<'a>(
        &'a self,
        subject: String,
        looking_up: impl Future<Output = Result<Option<Hit>, MapError>> + Send + 'a,
    ) -> Answer<'a> {
        let limit = self.map.time() + DNS_TIME;
        looking(async move {
            let late = |_| MapError::Timeout(format!("no answer within {}", seconds(limit)));
            let mut found = Found::default();
            match timeout(limit, looking_up).await.map_err(late).and_then(|looked| looked) {
                Ok(hit) => found.access.extend(hit),
                Err(error) => {
                    if self.on_fault != OnFault::Accept {
                        let text = format!("4.3.0 <{subject}>: Temporary lookup failure");
                        found.access.push(self.hit(subject, Access::DeferIfPermit(Some(text)), None));
                    }
                    found.faults.push(self.fault(&error));
                }
            }
            Ok(found)
        })
    }

    /// The first key that the table knows.
    async fn first(&self, subject: Subject<'_>) -> Result<Option<Hit>, MapError> {
        for key in keys(self.map.form(), subject, &self.style) {
            let Some(value) = self.map.lookup(&key).await? else { continue };
            let access = match self.map.form() {
                Form::Sendmail => Access::parse_sendmail(&value.text),
                _ => Access::parse(&value.text),
            };
            let access = access.map_err(|why| {
                MapError::Failed(format!(
                    "{}: {key}: {why}",
                    value.place.as_deref().unwrap_or(self.map.name())
                ))
            })?;
            return Ok(Some(self.hit(key, access, value.place)));
        }
        Ok(None)
    }

    async fn client(&self, session: &Session, client: IpAddr) -> Result<Option<Hit>, MapError> {
        let name = match (&session.client_name, self.what) {
            // Addresses alone need no name.
            _ if self.map.form() == Form::Cidr => None,
            (Some(name), _) => Some(name.clone()),
            (None, What::ReverseClient) => {
                self.dns.ptr(client).await.ok().and_then(|names| names.into_iter().next())
            }
            (None, _) => confirmed_name(&*self.dns, client).await.ok().and_then(|name| name.confirmed),
        };
        self.first(Subject::Client(name.as_deref(), client)).await
    }

    /// The mail exchangers of a domain, or the domain itself without any: their names, then their addresses.
    async fn exchangers(&self, domain: &str) -> Result<Option<Hit>, MapError> {
        // What cannot be looked up is not "not listed": whoever sends could see to that.
        let unclear = |name: &str, why: DnsError| MapError::Failed(format!("{name}: {why}"));
        let hosts = match self.dns.mx(domain).await {
            Ok(all) => all.into_iter().map(|mx| mx.exchange).collect(),
            Err(why) if why.is_nothing() => vec![domain.to_owned()],
            Err(why) => return Err(unclear(domain, why)),
        };
        let mut failed = None;
        for host in hosts.iter().filter(|host| !host.is_empty()).take(HOSTS) {
            if let Some(hit) = self.first(Subject::Name(host)).await? {
                return Ok(Some(hit));
            }
            let (four, six) = futures_util::join!(self.dns.a(host), self.dns.aaaa(host));
            for why in [four.as_ref().err(), six.as_ref().err()].into_iter().flatten() {
                if !why.is_nothing() {
                    failed = Some(unclear(host, why.clone()));
                }
            }
            let four = four.unwrap_or_default().into_iter().map(IpAddr::V4);
            let six = six.unwrap_or_default().into_iter().map(IpAddr::V6);
            for address in four.chain(six).take(HOSTS) {
                if let Some(hit) = self.first(Subject::Net(address)).await? {
                    return Ok(Some(hit));
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn hit(&self, key: String, access: Access, place: Option<String>) -> Hit {
        Hit { rule: self.text.clone(), key, access, place }
    }

    /// For record and metrics. The restrictions decide what comes of it, so it means nothing for a message by itself.
    fn fault(&self, error: &MapError) -> Fault {
        let cause = match error {
            MapError::Timeout(_) => Cause::Timeout,
            MapError::Failed(_) => Cause::Unavailable,
        };
        Fault { check: self.name.clone(), cause, detail: error.to_string(), answer: OnFault::Accept }
    }
}

impl Check for Rule {
    fn name(&self) -> &str {
        &self.name
    }

    /// A little more than it allows itself.
    fn time(&self) -> Duration {
        self.map.time() + DNS_TIME + Duration::from_secs(1)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client?.to_canonical();
        if !matches!(self.what, What::Client | What::ReverseClient) || !self.is_asked(session) {
            return None;
        }
        self.look(client.to_string(), self.client(session, client))
    }

    fn on_hello<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        if self.what != What::Helo || session.helo.is_empty() || !self.is_asked(session) {
            return None;
        }
        self.look(session.helo.clone(), self.first(Subject::Name(&session.helo)))
    }

    fn on_sender<'a>(&'a self, session: &'a Session, envelope: &'a Envelope) -> Answer<'a> {
        if !self.is_asked(session) {
            return None;
        }
        let sender = envelope.sender.as_ref();
        let shown = sender.map(Address::to_string).unwrap_or_default();
        match self.what {
            What::Sender => self.look(shown, self.first(Subject::Sender(sender))),
            What::SenderMx => {
                let domain = sender.map(Address::domain).filter(|domain| !domain.is_empty())?;
                self.look(shown, self.exchangers(domain))
            }
            _ => None,
        }
    }

    fn on_recipient<'a>(
        &'a self,
        session: &'a Session,
        _: &'a Envelope,
        recipient: &'a Recipient,
    ) -> Answer<'a> {
        if self.what != What::Recipient || !self.is_asked(session) {
            return None;
        }
        let address = &recipient.address;
        self.look(address.to_string(), self.first(Subject::Recipient(address)))
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(async { health(&self.map, &self.name, self.on_fault).await })
    }

    fn reload(&self) {
        self.map.reload();
    }
}

/// Whether a directory or a database answers. Files are there, or they would not have been opened.
pub(super) async fn health(map: &Map, name: &str, on_fault: OnFault) -> Vec<Health> {
    if !map.is_remote() {
        return Vec::new();
    }
    let state = match map.lookup("postmaster@health.invalid").await {
        Ok(_) => Ok("answers".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    vec![Health { name: name.to_owned(), vital: on_fault != OnFault::Accept, state }]
}

#[cfg(test)]
mod tests {
    use super::super::dnsbl::testing::with_dns;
    use super::super::run::CheckSet;
    use super::*;
    use gatepost_auth::dns::Table;

    fn dns() -> Resources {
        with_dns(Table::new(
            "1.2.0.192.in-addr.arpa PTR mail.good.example\nmail.good.example A 192.0.2.1\n\
             2.2.0.192.in-addr.arpa PTR liar.example\nliar.example A 192.0.2.99\n\
             mx.example MX 10 mx.bad.example\nmx.bad.example A 198.51.100.7\nplain.example A 198.51.100.8\n",
        ))
    }

    fn config(rules: &[&str]) -> Config {
        let mut config = Config::default();
        config.restrictions.recipient = rules.iter().map(|rule| rule.to_string()).collect();
        config
    }

    /// What is said of a client, its HELO, a sender and a recipient: `key=action`.
    async fn said(config: &Config, client: &str, helo: &str, sender: &str, recipient: &str) -> Vec<String> {
        let set = CheckSet::build_from(
            &[super::super::catalogue::Entry {
                name: "access",
                wave: super::super::Wave::Facts,
                meaning: "",
                symbols: super::super::catalogue::Symbols::Fixed(SYMBOLS),
                build,
            }],
            config,
            &dns(),
        )
        .map_err(|problems| problems[0].message.clone())
        .unwrap();
        let session = Session { client: client.parse().ok(), helo: helo.into(), ..Session::default() };
        let envelope = Envelope {
            sender: Address::new(sender),
            recipients: Address::new(recipient).map(Recipient::from).into_iter().collect(),
            ..Envelope::default()
        };
        let found = set.envelope(&session, &envelope).await;
        let faults = found.faults.iter().map(|fault| format!("fault {}: {}", fault.check, fault.detail));
        let hits = found.access.iter().map(|hit| format!("{}={:?}", hit.key, hit.access));
        hits.chain(faults).collect()
    }

    #[tokio::test]
    async fn each_restriction_looks_up_its_own() {
        for (rule, expected) in [
            ("check_client_access inline:{good.example=OK}", "good.example=Ok"),
            ("check_client_access inline:{{192.0.2=REJECT no}}", "192.0.2=Reject(Some(\"no\"))"),
            ("check_client_access cidr:{{192.0.2.0/24 DUNNO}}", "192.0.2.1=Dunno"),
            ("check_client_access regexp:{{/^mail\\.good/ OK}}", "mail.good.example=Ok"),
            (
                "check_reverse_client_hostname_access inline:{mail.good.example=HOLD}",
                "mail.good.example=Hold(None)",
            ),
            ("check_helo_access inline:{helo.example=WARN}", "helo.example=Warn(None)"),
            ("check_sender_access inline:{s@=OK}", "s@=Ok"),
            ("check_sender_mx_access inline:{bad.example=DISCARD}", "bad.example=Discard(None)"),
            ("check_sender_mx_access cidr:{{198.51.100.7 DEFER}}", "198.51.100.7=Defer(None)"),
            ("check_recipient_access inline:{R@Ours.example=relay}", "R@ours.example=Relay"),
            ("warn_if_reject  check_helo_access   inline:{a.helo.example=OK}", "a.helo.example=Ok"),
            ("check_recipient_access inline:{other=OK}", ""),
        ] {
            let config = config(&[rule]);
            let said = said(&config, "192.0.2.1", "a.helo.example", "s+x@mx.example", "R+y@ours.example");
            assert_eq!(said.await.join(" "), expected, "{rule}");
        }
    }

    #[tokio::test]
    async fn who_has_no_name_and_no_sender() {
        for (rule, client, expected) in [
            (
                "check_client_access inline:{liar.example=OK,unknown=REJECT}",
                "192.0.2.2",
                "unknown=Reject(None)",
            ),
            ("check_reverse_client_hostname_access inline:{liar.example=OK}", "192.0.2.2", "liar.example=Ok"),
            ("check_sender_access inline:{<>=OK}", "192.0.2.3", "<>=Ok"),
            ("check_sender_mx_access inline:{mx=OK}", "192.0.2.3", ""),
            ("check_client_access inline:{unknown=OK}", "no address", ""),
        ] {
            assert_eq!(said(&config(&[rule]), client, "", "", "").await.join(" "), expected, "{rule}");
        }
    }

    #[tokio::test]
    async fn a_table_that_fails_puts_off_what_nothing_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("table.cf");
        std::fs::write(&file, "dbpath = /nonexistent/db\nquery = SELECT '%s'\n").unwrap();
        let rule = format!("check_recipient_access sqlite:{}", file.display());
        let mut config = config(&[&rule]);
        let said_now = said(&config, "192.0.2.3", "", "", "r@ours.example").await;
        let put_off =
            "r@ours.example=DeferIfPermit(Some(\"4.3.0 <r@ours.example>: Temporary lookup failure\"))";
        assert_eq!(said_now[0], put_off);
        assert!(said_now[1].starts_with("fault access:sqlite:/") && said_now.len() == 2, "{said_now:?}");
        config.maps.on_fault = OnFault::Accept;
        let said_now = said(&config, "192.0.2.3", "", "", "r@ours.example").await;
        assert!(said_now.len() == 1 && said_now[0].starts_with("fault access:sqlite:/"), "{said_now:?}");
    }

    #[tokio::test]
    async fn our_networks_are_not_looked_up_behind_permit_mynetworks() {
        let mut config = config(&["permit_mynetworks", "check_client_access inline:{unknown=REJECT}"]);
        config.networks = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(said(&config, "10.1.1.1", "", "", "").await.is_empty());
        assert_eq!(said(&config, "192.0.2.3", "", "", "").await.len(), 1);
        config.restrictions.client = vec!["check_client_access inline:{unknown=REJECT}".into()];
        assert_eq!(said(&config, "10.1.1.1", "", "", "").await.len(), 1);
    }

    #[test]
    fn problems_name_key_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("map");
        std::fs::write(&file, "a OK\nb BCC x@example.org\n").unwrap();
        let path = file.display();
        for (rule, expected) in [
            (
                format!("check_client_access hash:{path}"),
                format!("{path}:2: BCC is not done here: a copy to somebody else is the next hop's to make"),
            ),
            (
                format!("check_client_access virtusertable:{path}"),
                format!("{path}:1: a virtusertable is no access map; name it in recipients.maps"),
            ),
            (
                "check_sender_ns_access inline:{a=OK}".into(),
                "name servers of senders are not looked up here; use check_sender_mx_access".into(),
            ),
        ] {
            let problems = build(&config(&["permit_mynetworks", &rule]), &dns()).err().expect("a problem");
            assert_eq!(problems, [Problem::new("restrictions.recipient[1]", expected)], "{rule}");
        }
        std::fs::write(
            &file,
            "Connect:1.2.3\tRELAY\nTLS_Clt:x VERIFY:112\nClientRate: 0\nTo:a ERROR:5.1.1:550 no\n",
        )
        .unwrap();
        assert!(build(&config(&[&format!("check_client_access sendmail:{path}")]), &dns()).is_ok());
    }
}
