//! Who our recipients are, by tables: a recipient in one of our domains that is in none of them does not exist.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use gatepost_mail::{
    Access, Address, Cause, Counts, Envelope, Fault, Finding, Hit, OnFault, Points, Recipient, Reply,
    Session, sendmail_error,
};
use tokio::time::timeout;

use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, Health, SymbolInfo, access, looking};
use crate::config::restrictions::Asks;
use crate::config::units::{Net, is_among};
use crate::config::{Config, Problem};
use crate::resources::maps::keys::{Style, recipient_keys};
use crate::resources::maps::{Form, Map, MapError, Value};

/// What it finds.
pub const SYMBOLS: &[SymbolInfo] = &[SymbolInfo::new(
    "RCPT_UNKNOWN",
    "the recipient is in one of our domains, but in none of the tables of recipients",
    Counts::Points(Points::ZERO),
)];

/// The restriction that goes by it.
const RULE: &str = "reject_unlisted_recipient";

/// Makes the check where there are tables of recipients and somebody goes by them.
pub fn build(config: &Config, _: &Resources) -> Built {
    let options = access::options(config);
    let mut problems = Vec::new();
    let mut maps = Vec::new();
    for (place, name) in config.recipients.maps.iter().enumerate() {
        match Map::open(name, &options, judge) {
            Ok(map) => maps.push(Arc::new(map)),
            Err(why) => problems.push(Problem::new(format!("recipients.maps[{place}]"), why)),
        }
    }
    if !maps.is_empty() && config.domains.is_empty() {
        problems.push(Problem::new("recipients.maps", "needs domains: only their recipients are known"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let asks = config.asks(RULE);
    if maps.is_empty() || asks == Asks::Nobody {
        return Ok(Vec::new());
    }
    Ok(vec![Box::new(Recipients {
        time: options.time,
        maps,
        always: config.recipients.always.iter().map(|name| name.to_lowercase()).collect(),
        style: access::style(config),
        domains: config.domains.clone(),
        networks: config.networks.clone(),
        asks,
        on_fault: config.recipients.on_fault,
    })])
}

/// Errors of a virtusertable must be some that can be said.
fn judge(form: Form, _: &str, value: &str) -> Result<(), String> {
    match form {
        Form::Virtusertable => error_of(value).transpose().map(drop),
        Form::Sendmail => {
            Err("an access database does not list recipients; use check_recipient_access".into())
        }
        _ => Ok(()),
    }
}

/// The reply of a virtusertable's `error:…`.
fn error_of(value: &str) -> Option<Result<Reply, String>> {
    let head = value.get(..6).filter(|head| head.eq_ignore_ascii_case("error:"))?;
    Some(sendmail_error(&value[head.len()..]))
}

struct Recipients {
    maps: Vec<Arc<Map>>,
    always: Vec<String>,
    style: Style,
    domains: Vec<String>,
    networks: Vec<Net>,
    asks: Asks,
    time: Duration,
    on_fault: OnFault,
}

impl Recipients {
    /// All tables are asked side by side; the first in their order that knows the recipient decides.
    async fn look(&self, address: &Address, place: usize) -> Result<Found, Fault> {
        let mut faults = Vec::new();
        for (map, looked) in
            self.maps.iter().zip(join_all(self.maps.iter().map(|map| self.ask(map, address))).await)
        {
            match looked {
                Ok(Some((key, value))) => return self.known(map, key, value, address, place),
                Ok(None) => {}
                Err(error) => faults.push(error),
            }
        }
        // A table that could not be asked may have known it.
        match faults.into_iter().next() {
            Some(error) => Err(self.fault(&error)),
            None => {
                Ok(vec![Finding::recipient("RCPT_UNKNOWN", place, format!("{address} is in no table"))]
                    .into())
            }
        }
    }

    async fn ask(&self, map: &Map, address: &Address) -> Result<Option<(String, Value)>, MapError> {
        let asking = async {
            for key in recipient_keys(map.form(), address, &self.style) {
                if let Some(value) = map.lookup(&key).await? {
                    return Ok(Some((key, value)));
                }
            }
            Ok(None)
        };
        let late = |_| MapError::Timeout(format!("{}: no answer within {}", map.name(), seconds(self.time)));
        timeout(self.time, asking).await.map_err(late)?
    }

    /// A recipient that a table knows; a virtusertable may know it as an error, with its own reply.
    fn known(
        &self,
        map: &Map,
        key: String,
        value: Value,
        address: &Address,
        place: usize,
    ) -> Result<Found, Fault> {
        let error = Some(&value)
            .filter(|_| map.form() == Form::Virtusertable)
            .and_then(|value| error_of(&value.text));
        match error {
            None => Ok(Found::default()),
            Some(Ok(reply)) => {
                let evidence = format!("{address}: {}", value.text);
                let mut found: Found = vec![Finding::recipient("RCPT_UNKNOWN", place, evidence)].into();
                let access = Access::Reply(reply);
                found.access.push(Hit { rule: RULE.into(), key, access, place: value.place });
                Ok(found)
            }
            Some(Err(why)) => Err(self.fault(&MapError::Failed(format!("{}: {key}: {why}", map.name())))),
        }
    }

    fn fault(&self, error: &MapError) -> Fault {
        let cause = match error {
            MapError::Timeout(_) => Cause::Timeout,
            MapError::Failed(_) => Cause::Unavailable,
        };
        Fault { check: self.name().into(), cause, detail: error.to_string(), answer: self.on_fault }
    }
}

impl Check for Recipients {
    fn name(&self) -> &str {
        "recipients"
    }

    /// A little more than it allows itself.
    fn time(&self) -> Duration {
        self.time + Duration::from_secs(1)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_recipient<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
    ) -> Answer<'a> {
        let address = &recipient.address;
        let inside =
            || session.client.is_some_and(|client| self.networks.iter().any(|net| net.contains(client)));
        if self.asks == Asks::Outside && inside() || !is_among(address.domain(), &self.domains) {
            return None;
        }
        let local = address.local().to_lowercase();
        if self.always.contains(&local) {
            return None;
        }
        looking(self.look(address, envelope.recipients.len()))
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(async {
            let asked = self.maps.iter().map(|map| async {
                access::health(map, &format!("recipients:{}", map.name()), self.on_fault).await
            });
            join_all(asked).await.into_iter().flatten().collect()
        })
    }

    fn reload(&self) {
        self.maps.iter().for_each(|map| map.reload());
    }
}

#[cfg(test)]
mod tests {
    use super::super::dnsbl::testing;
    use super::*;

    fn config(maps: &[&str]) -> Config {
        let mut config = Config { domains: vec!["example.org".into()], ..Config::default() };
        config.networks = vec!["10.0.0.0/8".parse().unwrap()];
        config.recipients.maps = maps.iter().map(|map| map.to_string()).collect();
        config
    }

    fn built(config: &Config) -> Vec<Box<dyn Check>> {
        build(config, &testing::resources(&[])).map_err(|problems| problems[0].message.clone()).unwrap()
    }

    /// `known`, `unknown`, the reply of a table's own, or the fault.
    async fn said(checks: &[Box<dyn Check>], client: &str, recipient: &str) -> String {
        let session = Session { client: client.parse().ok(), ..Session::default() };
        let (envelope, recipient) = (Envelope::default(), Recipient::from(Address::new(recipient).unwrap()));
        match checks[0].on_recipient(&session, &envelope, &recipient) {
            None => "nothing".into(),
            Some(answer) => match answer.await {
                Err(fault) => format!("fault {:?} {}", fault.answer, fault.detail),
                Ok(found) => match (found.findings.first(), found.access.first()) {
                    (None, None) => "known".into(),
                    (Some(_), Some(Hit { access: Access::Reply(reply), .. })) => reply.to_string(),
                    (Some(finding), None) => finding.evidence.clone(),
                    other => format!("{other:?}"),
                },
            },
        }
    }

    #[tokio::test]
    async fn who_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let virtuser = folder.path().join("virtusertable");
        std::fs::write(
            &virtuser,
            "info@example.org\tjane\ngone@example.org\terror:5.1.6:551 Moved away\nold+*@example.org error:nouser No old\n",
        )
        .unwrap();
        let virtuser = format!("virtusertable:{}", virtuser.display());
        let checks = built(&config(&["inline:{a@example.org=x, B@example.org=x}", &virtuser]));
        for (recipient, expected) in [
            ("a@example.org", "known"),
            ("A@Example.ORG", "known"),
            ("b+ext@example.org", "known"),
            ("info@example.org", "known"),
            ("gone@example.org", "551 5.1.6 Moved away"),
            ("old+x@example.org", "550 5.1.1 No old"),
            ("old@example.org", "old@example.org is in no table"),
            ("c@example.org", "c@example.org is in no table"),
            ("Postmaster@example.org", "nothing"),
            ("abuse@example.org", "nothing"),
            ("MAILER-DAEMON@example.org", "nothing"),
            ("c@elsewhere.example", "nothing"),
            ("postmaster", "nothing"),
        ] {
            assert_eq!(said(&checks, "192.0.2.1", recipient).await, expected, "{recipient}");
        }
        assert_eq!(said(&checks, "10.0.0.1", "c@example.org").await, "nothing");
        let all = built(&config(&["inline:{@example.org=x}"]));
        assert_eq!(said(&all, "192.0.2.1", "c@example.org").await, "known");
        assert_eq!(said(&built(&config(&["static:all"])), "192.0.2.1", "c@example.org").await, "known");
    }

    /// A table that cannot be asked is a fault, unless another knows the recipient.
    #[tokio::test]
    async fn a_table_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("table.cf");
        std::fs::write(&file, "dbpath = /nonexistent/db\nquery = SELECT '%s'\n").unwrap();
        let failing = format!("sqlite:{}", file.display());
        let checks = built(&config(&[&failing, "inline:{a@example.org=x}"]));
        assert_eq!(said(&checks, "192.0.2.1", "a@example.org").await, "known");
        let told = said(&checks, "192.0.2.1", "b@example.org").await;
        assert!(told.starts_with("fault Defer sqlite:"), "{told}");
        assert!(checks[0].health().await[0].state.is_err());
    }

    #[test]
    fn when_it_is_built_and_what_is_wrong() {
        assert!(built(&config(&[])).is_empty());
        let mut nobody = config(&["static:all"]);
        nobody.restrictions.recipient = vec!["permit".into()];
        assert!(built(&nobody).is_empty());
        let resources = testing::resources(&[]);
        let mut wrong = config(&["static:all", "nope:/x"]);
        wrong.domains.clear();
        let problems = build(&wrong, &resources).err().unwrap();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["recipients.maps[1]", "recipients.maps"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("v");
        std::fs::write(&file, "a@b error:what\n").unwrap();
        let problems =
            build(&config(&[&format!("virtusertable:{}", file.display())]), &resources).err().unwrap();
        assert!(problems[0].message.contains("v:1: “what” is no error"), "{problems:?}");
    }
}
