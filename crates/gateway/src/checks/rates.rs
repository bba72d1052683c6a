//! Rates: how much mail a user, an address, a domain or a client may send in a time; and clients that try out recipients.
//!
//! Counters are in the state store, so they outlive a restart, and gateways that share a store share them. A process that
//! is killed forgets what it counted in the last fraction of a second at most. Where they cannot be read that is a fault.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{
    Access, Action, Address, Cause, Counts, Direction, Envelope, Fault, Finding, Hit, Mail, OnFault, Points,
    Recipient, Reply, Session,
};

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looking};
use crate::config::Config;
use crate::config::protection::{Rate, RateAction, RateOf, Whom};
use crate::config::typed::ListenerProtocol;
use crate::config::units::Net;
use crate::resources::limits::{self, Counted, HARVEST_WINDOW};
use crate::resources::notices::Notify;
use crate::resources::state::{Space, State, StateError};

/// What it finds.
pub const SYMBOLS: &[SymbolInfo] = &[
    SymbolInfo::new(
        "RATE_EXCEEDED",
        "more mail than a rate of `protection.rate` allows",
        Counts::Points(Points::ZERO),
    ),
    SymbolInfo::new(
        "RATE_HELD",
        "the same, where the rate says that such mail is held",
        Counts::Points(Points::ZERO),
    ),
    SymbolInfo::new(
        "RCPT_HARVEST",
        "the client has tried out many recipients that do not exist within an hour",
        Counts::Points(Points::thousandths(3000)),
    ),
];

/// Longest that the store may take.
const TIME: Duration = Duration::from_secs(5);

/// After a notice could not be sent, the next one may be tried so much later.
const NOTICE_AGAIN: Duration = Duration::from_secs(60);

/// Makes the check where there is something to count.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let protection = &config.protection;
    if protection.rate.is_empty() && protection.harvest_per_hour == 0 {
        return Ok(Vec::new());
    }
    let listeners = config.listeners().into_iter();
    let listeners =
        listeners.filter(|listener| listener.protocol.has_restrictions() && !listener.after_queue);
    let listeners = listeners.map(|listener| (listener.name, listener.protocol == ListenerProtocol::Policy));
    Ok(vec![Box::new(Rates {
        limits: protection.rate.iter().map(Limit::new).collect(),
        harvest: protection.harvest_per_hour.into(),
        prefixes: (protection.ipv4_prefix, protection.ipv6_prefix),
        networks: config.networks.clone(),
        listeners: listeners.collect(),
        on_fault: protection.on_fault,
        state: resources.state.clone(),
        notices: resources.notices.clone(),
    })])
}

struct Rates {
    limits: Vec<Limit>,
    /// Unknown recipients in an hour; 0: not counted.
    harvest: u64,
    prefixes: (u8, u8),
    networks: Vec<Net>,
    /// Listeners by which mail is counted, and whether only the envelope is ever seen there.
    listeners: BTreeMap<String, bool>,
    on_fault: OnFault,
    state: Arc<dyn State>,
    notices: Arc<dyn Notify>,
}

/// One rate.
struct Limit {
    name: String,
    of: RateOf,
    direction: Vec<Direction>,
    listeners: Vec<String>,
    only: Whom,
    except: Whom,
    /// What is allowed of each; None: not counted.
    allowed: [Option<u64>; 3],
    per: Duration,
    /// The same for people.
    per_text: String,
    action: RateAction,
    reports: bool,
}

/// Somebody has used up a limit.
struct Exceeded<'a> {
    limit: &'a Limit,
    counted: Counted,
    allowed: u64,
    whose: String,
}

/// What is to be added to a counter.
struct Add<'a> {
    limit: &'a Limit,
    counted: Counted,
    allowed: u64,
    whose: String,
    amount: u64,
}

impl Limit {
    fn new(rate: &Rate) -> Limit {
        let allowed = [rate.messages, rate.recipients, rate.bytes.bytes()];
        Limit {
            name: rate.name(),
            of: rate.of,
            direction: rate.direction.clone(),
            listeners: rate.listeners.clone(),
            only: Whom::new(&rate.only),
            except: Whom::new(&rate.except),
            allowed: allowed.map(|allowed| Some(allowed).filter(|&allowed| allowed > 0)),
            per: rate.per.duration(),
            per_text: rate.per.to_string(),
            action: rate.action,
            reports: rate.reports(),
        }
    }

    fn allowed(&self, counted: Counted) -> Option<u64> {
        self.allowed[counted as usize]
    }

    /// Whose counter a recipient of a message goes on; None: it does not count here.
    fn whose(
        &self,
        session: &Session,
        sender: Option<&Address>,
        recipient: &Address,
        prefixes: (u8, u8),
    ) -> Option<String> {
        let listed = self.listeners.is_empty() || self.listeners.contains(&session.listener);
        let this_way = self.direction.is_empty() || self.direction.contains(&session.direction);
        if !listed || !this_way {
            return None;
        }
        let whose = match self.of {
            RateOf::User => session.user.as_ref()?.to_lowercase(),
            RateOf::Sender => sender?.to_string().to_lowercase(),
            RateOf::SenderDomain => sender?.domain().to_lowercase(),
            RateOf::Client => session.client?.to_canonical().to_string(),
            RateOf::ClientNet => limits::net(session.client?, prefixes.0, prefixes.1),
            RateOf::Recipient => recipient.to_string().to_lowercase(),
            RateOf::RecipientDomain => recipient.domain().to_lowercase(),
        };
        let names = [whose.as_str(), session.user.as_deref().unwrap_or_default()];
        let wanted = self.only.is_empty() || self.only.holds(session.client, &names);
        (wanted && !whose.is_empty() && !self.except.holds(session.client, &names)).then_some(whose)
    }
}

impl Rates {
    /// Looks at every limit before anything is counted, so that a message that is refused counts nowhere.
    async fn count<'a>(
        &'a self,
        session: &Session,
        envelope: &Envelope,
        recipient: &Address,
    ) -> Result<Option<Exceeded<'a>>, StateError> {
        let adds = self.adds(session, envelope, recipient);
        for Add { limit, counted, allowed, whose, amount } in &adds {
            let key = limits::rate(&limit.name, *counted, whose);
            let sum = self.state.count(Space::Limits, key.as_bytes(), 0, limit.per).await?;
            // Of what is yet to come only the announced size is known; the message that exceeds is the last.
            let more = if *counted == Counted::Bytes { 1 } else { *amount };
            if sum.saturating_add(more) > *allowed {
                let (counted, allowed, whose) = (*counted, *allowed, whose.clone());
                return Ok(Some(Exceeded { limit, counted, allowed, whose }));
            }
        }
        for Add { limit, counted, allowed, whose, amount } in adds {
            let key = limits::rate(&limit.name, counted, &whose);
            let sum = match amount {
                0 => 0,
                amount => self.state.count(Space::Limits, key.as_bytes(), amount, limit.per).await?,
            };
            // Somebody was quicker, and has taken the last place.
            if sum > allowed && counted != Counted::Bytes {
                return Ok(Some(Exceeded { limit, counted, allowed, whose }));
            }
            envelope.parameters.counted.insert(key);
        }
        Ok(None)
    }

    fn adds(&self, session: &Session, envelope: &Envelope, recipient: &Address) -> Vec<Add<'_>> {
        let envelope_only = self.listeners.get(&session.listener).copied().unwrap_or(false);
        let mut adds = Vec::new();
        for limit in &self.limits {
            let sender = envelope.sender.as_ref();
            let Some(whose) = limit.whose(session, sender, recipient, self.prefixes) else { continue };
            for counted in Counted::ALL {
                let Some(allowed) = limit.allowed(counted) else { continue };
                // Whatever becomes of its recipients: a next hop may yet refuse them.
                let first = limit.of == RateOf::Recipient || {
                    !envelope.parameters.counted.contains(&limits::rate(&limit.name, counted, &whose))
                };
                let amount = match counted {
                    Counted::Recipients => 1,
                    _ if !first => continue,
                    Counted::Messages => 1,
                    Counted::Bytes if envelope_only => envelope.parameters.size.unwrap_or(0),
                    Counted::Bytes => 0,
                };
                adds.push(Add { limit, counted, allowed, whose: whose.clone(), amount });
            }
        }
        adds
    }

    /// The size of a message that is there, once for each counter.
    async fn count_bytes(&self, mail: &Mail) -> Result<(), StateError> {
        let size = u64::try_from(mail.message.raw.len()).unwrap_or(u64::MAX);
        for limit in self.limits.iter().filter(|limit| limit.allowed(Counted::Bytes).is_some()) {
            let whose = |recipient: &Recipient| {
                let sender = mail.envelope.sender.as_ref();
                limit.whose(&mail.session, sender, &recipient.address, self.prefixes)
            };
            let all: BTreeSet<String> = mail.envelope.recipients.iter().filter_map(whose).collect();
            for whose in all {
                let key = limits::rate(&limit.name, Counted::Bytes, &whose);
                self.state.count(Space::Limits, key.as_bytes(), size, limit.per).await?;
            }
        }
        Ok(())
    }

    fn found(&self, exceeded: &Exceeded, place: usize) -> Found {
        let Exceeded { limit, counted, allowed, whose } = exceeded;
        let evidence = format!(
            "{}: {} {}: more than {allowed} {} in {}",
            limit.name,
            limit.of.name(),
            plain(whose),
            counted.name(),
            limit.per_text
        );
        let text =
            |end: &str| format!("<{}>: too many {} in {}{end}", plain(whose), counted.name(), limit.per_text);
        let reply = match limit.action {
            RateAction::Defer => Reply::new(450, "4.7.1", text(", try again later")),
            RateAction::Refuse => Reply::new(550, "5.7.1", text("")),
            RateAction::Hold => {
                return Found {
                    findings: vec![Finding::recipient("RATE_HELD", place, evidence.clone())],
                    forced: vec![(place, Action::Quarantine, evidence)],
                    ..Found::default()
                };
            }
        };
        let (rule, key) = ("limit_rates".to_owned(), whose.clone());
        Found {
            findings: vec![Finding::recipient("RATE_EXCEEDED", place, evidence)],
            access: vec![Hit { rule, key, access: Access::Reply(reply), place: None }],
            ..Found::default()
        }
    }

    /// The log hears of it once in the time of the rate, and the postmaster if that is wanted. Nobody waits for the mail: if
    /// it cannot be sent, or the process is killed, the log and the record of each refusal tell the same.
    async fn tell(
        &self,
        exceeded: &Exceeded<'_>,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<(), StateError> {
        let Exceeded { limit, counted, allowed, whose } = exceeded;
        let key = limits::told(&limit.name, whose);
        if !self.state.swap(Space::Limits, key.as_bytes(), None, b"1", limit.per).await? {
            return Ok(());
        }
        let (of, whose) = (limit.of.name(), plain(whose));
        let client = session.client.map(|client| client.to_string()).unwrap_or_default();
        let (counted, per, rate) = (counted.name(), &limit.per_text, &limit.name);
        tracing::warn!(
            rate,
            "{of} {whose} is stopped: more than {allowed} {counted} in {per}; last from [{client}]"
        );
        if !limit.reports {
            return Ok(());
        }
        let (state, notices) = (self.state.clone(), self.notices.clone());
        let sender = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let happens = match limit.action {
            RateAction::Defer => "put off (450): mail programs and servers try again",
            RateAction::Refuse => "refused (550)",
            RateAction::Hold => "taken and held in quarantine",
        };
        let text = format!(
            "The {of} {whose} wants to send more than the {allowed} {counted} in {per} that the rate {rate} allows.\n\
             What is more is {happens}, until enough of that time is over.\n\n\
             Last seen: client [{client}], HELO {}, sender <{}>, listener {}.\n\n\
             If the account is in the wrong hands, change its password first, at the mail server that knows it.\n\
             See what it has sent:  gatepost history --client {client}\n\
             Let it send again:     gatepost limits reset {rate} '{whose}'\n\n\
             This is said once in {per}.\n",
            plain(&session.helo),
            plain(&sender),
            session.listener,
        );
        let subject = format!("Stopped: {of} {whose}, more than {allowed} {counted} in {per}");
        let listener = session.listener.clone();
        tokio::spawn(async move {
            if let Some(why) = notices.notify(listener, subject, text).await {
                tracing::error!("the postmaster cannot be told: {why}");
                let _ = state.put(Space::Limits, key.as_bytes(), b"0", NOTICE_AGAIN).await;
            }
        });
        Ok(())
    }

    /// The counter of a client from outside that may be trying out recipients.
    fn harvest_key(&self, session: &Session) -> Option<String> {
        let client = session.client.filter(|client| !self.is_ours(*client))?;
        let counts =
            self.harvest > 0 && session.user.is_none() && self.listeners.contains_key(&session.listener);
        counts.then(|| limits::harvest(&limits::net(client, self.prefixes.0, self.prefixes.1)))
    }

    fn is_ours(&self, client: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(client))
    }

    fn fault(&self, error: &StateError) -> Fault {
        let cause = match error {
            StateError::Full | StateError::TooLong => Cause::Limit,
            StateError::Unavailable(_) => Cause::Unavailable,
        };
        Fault { check: "rates".into(), cause, detail: error.to_string(), answer: self.on_fault }
    }
}

impl Check for Rates {
    fn name(&self) -> &str {
        "rates"
    }

    fn time(&self) -> Duration {
        TIME
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let key = self.harvest_key(session)?;
        looking(async move {
            let sum = self.state.count(Space::Limits, key.as_bytes(), 0, HARVEST_WINDOW).await;
            let sum = sum.map_err(|error| self.fault(&error))?;
            let evidence = || format!("{sum} unknown recipients in an hour");
            let findings = (sum >= self.harvest).then(|| Finding::mail("RCPT_HARVEST", evidence()));
            Ok(Vec::from_iter(findings).into())
        })
    }

    fn on_wrong_recipient<'a>(&'a self, session: &'a Session) -> Option<BoxFuture<'a, ()>> {
        let key = self.harvest_key(session)?;
        Some(Box::pin(async move {
            // What cannot be counted is told of at the next connection, which cannot be looked at either.
            let _ = self.state.count(Space::Limits, key.as_bytes(), 1, HARVEST_WINDOW).await;
        }))
    }

    fn on_admit<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
        _known: &'a Found,
    ) -> Answer<'a> {
        if self.limits.is_empty() || !self.listeners.contains_key(&session.listener) {
            return None;
        }
        looking(async move {
            let counted = self.count(session, envelope, &recipient.address).await;
            let Some(exceeded) = counted.map_err(|error| self.fault(&error))? else {
                return Ok(Found::default());
            };
            let mut found = self.found(&exceeded, envelope.recipients.len());
            if let Err(error) = self.tell(&exceeded, session, envelope).await {
                found.faults.push(self.fault(&error));
            }
            Ok(found)
        })
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _known: &'a Found) -> Answer<'a> {
        let counts = self.limits.iter().any(|limit| limit.allowed(Counted::Bytes).is_some())
            && self.listeners.get(&mail.session.listener) == Some(&false);
        if !counts {
            return None;
        }
        looking(async move {
            self.count_bytes(mail).await.map_err(|error| self.fault(&error))?;
            Ok(Found::default())
        })
    }
}

/// On one line, and not too long.
fn plain(text: &str) -> String {
    text.chars().take(320).map(|c| if c.is_control() { '?' } else { c }).collect()
}
