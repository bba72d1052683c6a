//! Call-ahead: whether the next hop takes a recipient, asked before anything else is done for it (Postfix's address
//! verification). Answers are remembered; where the next hop cannot be asked that is a fault.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_mail::{Address, Cause, Counts, Envelope, Fault, Finding, OnFault, Points, Recipient, Session};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::catalogue::{Built, Resources};
use super::run::seconds;
use super::{Answer, Check, Found, SymbolInfo, looking};
use crate::config::maps::CallAhead as Settings;
use crate::config::next_hop::NextHop;
use crate::config::restrictions::Asks;
use crate::config::units::is_among;
use crate::config::{Config, Problem};
use crate::resources::callahead::AskNextHop;
use crate::resources::state::{LONGEST_KEY, Space, State};

/// What it finds.
pub const SYMBOLS: &[SymbolInfo] = &[SymbolInfo::new(
    "RCPT_UNVERIFIED",
    "the next hop does not take the recipient",
    Counts::Points(Points::ZERO),
)];

/// Longest text of a next hop that is remembered, in characters.
const TEXT: usize = 300;

/// Whether a listener's list of recipient restrictions, its own or the general one, asks for call-ahead.
fn names_it(config: &Config, own: Option<&[String]>) -> bool {
    let list = own.unwrap_or(&config.restrictions.recipient);
    list.iter().any(|rule| rule.split_whitespace().any(|word| word == "reject_unverified_recipient"))
}

/// Makes the check where somebody goes by it.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let settings = &config.callahead;
    let mut problems = Vec::new();
    for (place, text) in settings.next_hop.iter().enumerate() {
        if let Err(why) = text.parse::<NextHop>() {
            problems.push(Problem::new(format!("callahead.next_hop[{place}]"), why));
        }
    }
    if settings.time.duration().is_zero() {
        problems.push(Problem::new("callahead.time", "must be at least 1 second"));
    }
    let asked = config.asks("reject_unverified_recipient") != Asks::Nobody;
    if asked && config.domains.is_empty() {
        let message = "reject_unverified_recipient needs domains: nobody else's recipients are asked about";
        problems.push(Problem::new("domains", message));
    }
    let unasked = asked && settings.next_hop.is_empty();
    for (place, listener) in config.listeners().into_iter().enumerate().filter(|_| unasked) {
        let named = listener.protocol.has_restrictions()
            && !listener.after_queue
            && names_it(config, listener.recipient_restrictions.as_deref());
        if named && listener.next_hop.is_empty() {
            let message = format!(
                "reject_unverified_recipient has nobody to ask at the listener {}: name callahead.next_hop",
                listener.name
            );
            let key = match listener.recipient_restrictions {
                Some(_) => format!("listener[{place}].recipient_restrictions"),
                None => "restrictions.recipient".to_owned(),
            };
            problems.push(Problem::new(key, message));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let check = || CallAhead {
        settings: settings.clone(),
        domains: config.domains.clone(),
        shared: Arc::new(Shared {
            next_hops: resources.next_hops.clone(),
            state: resources.state.clone(),
            turns: Semaphore::new(settings.at_once.max(1) as usize),
            refreshing: Mutex::default(),
        }),
    };
    Ok(asked.then(|| Box::new(check()) as Box<dyn Check>).into_iter().collect())
}

struct CallAhead {
    settings: Settings,
    domains: Vec<String>,
    shared: Arc<Shared>,
}

struct Shared {
    next_hops: Arc<dyn AskNextHop>,
    state: Arc<dyn State>,
    turns: Semaphore,
    /// Keys that are being asked about beside.
    refreshing: Mutex<HashSet<Vec<u8>>>,
}

/// What a next hop has said, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    exists: bool,
    /// Seconds since 1970.
    since: u64,
    /// What it said, where it does not exist.
    said: String,
}

impl Known {
    fn encode(&self) -> Vec<u8> {
        format!("{}{} {}", if self.exists { '+' } else { '-' }, self.since, self.said).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Known> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (exists, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (true, rest),
            ("-", rest) => (false, rest),
            _ => return None,
        };
        let (since, said) = rest.split_once(' ')?;
        Some(Known { exists, since: since.parse().ok()?, said: said.to_owned() })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Shared {
    /// Asks the next hop, in turn and in time, and remembers what it says. The error: nothing is known.
    async fn ask(
        &self,
        settings: &Settings,
        key: &[u8],
        listener: &str,
        address: &Address,
    ) -> Result<Known, (Cause, String)> {
        let asking = async {
            let _turn = self.turns.acquire().await;
            self.next_hops.ask(listener, address).await
        };
        let limit = settings.time.duration();
        let reply = timeout(limit, asking)
            .await
            .map_err(|_| (Cause::Timeout, format!("the next hop gave no answer within {}", seconds(limit))))?
            .map_err(|why| (Cause::Unavailable, why))?;
        let said: String =
            reply.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT).collect();
        let (exists, life) = match () {
            () if reply.is_positive() => (true, settings.positive_expire),
            () if reply.is_permanent() => (false, settings.negative_expire),
            () => return Err((Cause::Unavailable, format!("the next hop is undecided: {said}"))),
        };
        let known = Known { exists, since: now(), said: if exists { String::new() } else { said } };
        if let Err(why) = self.state.put(Space::CallAhead, key, &known.encode(), life.duration()).await {
            tracing::warn!("what the next hop says of a recipient is not remembered: {why}");
        }
        Ok(known)
    }

    /// Asks again, beside; what fails leaves the old answer.
    fn refresh(self: &Arc<Self>, settings: &Settings, key: Vec<u8>, listener: &str, address: &Address) {
        let (shared, settings) = (self.clone(), settings.clone());
        let (listener, address) = (listener.to_owned(), address.clone());
        {
            let mut refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
            // One question for each, and no more than may wait for their turn in good time.
            let most = settings.at_once.max(1) as usize * 4;
            if refreshing.len() >= most || !refreshing.insert(key.clone()) {
                return;
            }
        }
        tokio::spawn(async move {
            if let Err((_, why)) = shared.ask(&settings, &key, &listener, &address).await {
                tracing::debug!("asking again about {address}: {why}");
            }
            shared.refreshing.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
    }
}

impl CallAhead {
    async fn look(&self, listener: &str, address: &Address, place: usize) -> Result<Found, Fault> {
        let key = self.key(listener, address);
        if key.len() > LONGEST_KEY {
            return Err(self.fault(Cause::Limit, "the address is too long to be remembered".into()));
        }
        let known = match self.remembered(&key).await {
            Some(known) => {
                let age = Duration::from_secs(now().saturating_sub(known.since));
                let fresh = if known.exists {
                    self.settings.positive_refresh
                } else {
                    self.settings.negative_refresh
                };
                if age >= fresh.duration() {
                    self.shared.refresh(&self.settings, key, listener, address);
                }
                known
            }
            None => {
                let asked = self.shared.ask(&self.settings, &key, listener, address).await;
                asked.map_err(|(cause, why)| self.fault(cause, why))?
            }
        };
        if known.exists {
            return Ok(Found::default());
        }
        let evidence = format!("the next hop said: {}", known.said);
        Ok(vec![Finding::recipient("RCPT_UNVERIFIED", place, evidence)].into())
    }

    /// Who is asked is part of it where each listener asks its own.
    fn key(&self, listener: &str, address: &Address) -> Vec<u8> {
        let listener = if self.settings.next_hop.is_empty() { listener } else { "" };
        // Local parts may be case-sensitive to the next hop, domains never are.
        format!("{listener}\0{}@{}", address.local(), address.domain().to_lowercase()).into_bytes()
    }

    /// What is remembered. A store that fails only costs a question.
    async fn remembered(&self, key: &[u8]) -> Option<Known> {
        match self.shared.state.get(Space::CallAhead, key).await {
            Ok(bytes) => Known::decode(&bytes?),
            Err(why) => {
                tracing::warn!("what next hops said of recipients cannot be read: {why}");
                None
            }
        }
    }

    fn fault(&self, cause: Cause, detail: String) -> Fault {
        Fault { check: self.name().into(), cause, detail, answer: self.settings.on_fault }
    }
}

impl Check for CallAhead {
    fn name(&self) -> &str {
        "callahead"
    }

    /// A little more than it allows itself.
    fn time(&self) -> Duration {
        self.settings.time.duration() + Duration::from_secs(2)
    }

    fn on_fault(&self) -> OnFault {
        self.settings.on_fault
    }

    fn on_admit<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
        _: &'a Found,
    ) -> Answer<'a> {
        let address = &recipient.address;
        let postmaster = address.local().eq_ignore_ascii_case("postmaster");
        if postmaster || !is_among(address.domain(), &self.domains) {
            return None;
        }
        looking(self.look(&session.listener, address, envelope.recipients.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dnsbl::testing;
    use super::*;
    use crate::config::units::Seconds;
    use futures_util::future::BoxFuture;
    use gatepost_mail::Reply;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers by the local part, and counts.
    #[derive(Default)]
    struct Fake {
        asked: AtomicUsize,
        /// From now on nobody exists.
        empty: std::sync::atomic::AtomicBool,
    }

    impl AskNextHop for Fake {
        fn ask<'a>(&'a self, _: &'a str, recipient: &'a Address) -> BoxFuture<'a, Result<Reply, String>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match recipient.local() {
                    _ if self.empty.load(Ordering::SeqCst) => Ok(Reply::new(550, "5.1.1", "gone")),
                    "yes" => Ok(Reply::new(250, "2.1.5", "Ok")),
                    "no" => Ok(Reply::new(550, "5.1.1", "no such\nuser")),
                    "later" => Ok(Reply::new(450, "4.2.1", "full")),
                    "hang" => std::future::pending().await,
                    _ => Err("away".into()),
                }
            })
        }
    }

    fn check(change: impl FnOnce(&mut Settings)) -> (Arc<Fake>, Vec<Box<dyn Check>>) {
        let fake = Arc::new(Fake::default());
        let mut config = Config { domains: vec!["example.org".into()], ..Config::default() };
        config.restrictions.recipient.push("reject_unverified_recipient".into());
        config.callahead.time = Seconds::new(1);
        change(&mut config.callahead);
        let resources = Resources { next_hops: fake.clone(), ..testing::resources(&[]) };
        let checks = build(&config, &resources).map_err(|problems| problems[0].message.clone());
        (fake, checks.unwrap())
    }

    async fn said(checks: &[Box<dyn Check>], recipient: &str) -> String {
        let (session, envelope) = (Session::default(), Envelope::default());
        let recipient = Recipient::from(Address::new(recipient).unwrap());
        match checks[0].on_admit(&session, &envelope, &recipient, &Found::default()) {
            None => "nothing".into(),
            Some(answer) => match answer.await {
                Err(fault) => format!("{} {:?}: {}", fault.cause, fault.answer, fault.detail),
                Ok(found) => {
                    found.findings.first().map_or("exists".into(), |finding| finding.evidence.clone())
                }
            },
        }
    }

    #[tokio::test]
    async fn answers_are_remembered_and_faults_are_not() {
        let (fake, checks) = check(|_| {});
        for (recipient, expected, asked) in [
            ("yes@example.org", "exists", 1),
            ("yes@Example.ORG", "exists", 1),
            ("no@example.org", "the next hop said: 550 5.1.1 no such user", 2),
            ("no@example.org", "the next hop said: 550 5.1.1 no such user", 2),
            ("later@example.org", "unavailable Defer: the next hop is undecided: 450 4.2.1 full", 3),
            ("later@example.org", "unavailable Defer: the next hop is undecided: 450 4.2.1 full", 4),
            ("away@example.org", "unavailable Defer: away", 5),
            ("hang@example.org", "timeout Defer: the next hop gave no answer within 1 s", 6),
            ("yes@elsewhere.example", "nothing", 6),
            ("postmaster@example.org", "nothing", 6),
        ] {
            assert_eq!(said(&checks, recipient).await, expected, "{recipient}");
            assert_eq!(fake.asked.load(Ordering::SeqCst), asked, "{recipient}");
        }
    }

    #[tokio::test]
    async fn old_answers_are_asked_again_beside() {
        let (fake, checks) = check(|settings| settings.positive_refresh = Seconds::new(0));
        assert_eq!(said(&checks, "yes@example.org").await, "exists");
        fake.empty.store(true, Ordering::SeqCst);
        // The old answer still counts, and the new one is on its way.
        assert_eq!(said(&checks, "yes@example.org").await, "exists");
        let renewed = async {
            while said(&checks, "yes@example.org").await == "exists" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), renewed).await.expect("asked again");
        assert_eq!(said(&checks, "yes@example.org").await, "the next hop said: 550 5.1.1 gone");
    }

    #[test]
    fn when_it_is_built_and_what_is_wrong() {
        let resources = testing::resources(&[]);
        assert!(build(&Config::default(), &resources).unwrap_or_default().is_empty());
        let mut config = Config::default();
        config.restrictions.recipient.push("reject_unverified_recipient".into());
        config.callahead.next_hop = vec!["smtp://".into()];
        config.callahead.time = Seconds::new(0);
        let problems = build(&config, &resources).err().unwrap();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["callahead.next_hop[0]", "callahead.time", "domains"]);
    }

    #[test]
    fn what_is_remembered_is_read_again() {
        for known in [
            Known { exists: true, since: 7, said: String::new() },
            Known { exists: false, since: 1 << 40, said: "550 5.1.1 no such user".into() },
        ] {
            assert_eq!(Known::decode(&known.encode()), Some(known));
        }
        for bytes in [&b""[..], b"x1 ", b"+", b"+a b", b"-5", b"\xff1 x"] {
            assert_eq!(Known::decode(bytes), None, "{bytes:?}");
        }
    }
}
