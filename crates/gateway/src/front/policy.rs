//! Postfix's policy service: it asks at each stage of a session what it shall do, and does it itself.
//!
//! Nothing but the envelope is ever seen here, and nothing is ours: a connection that breaks is asked about again by
//! Postfix, and what becomes of mail while nobody answers is its own setting (`smtpd_policy_service_default_action`).
//! An answer is never OK, which would pass over Postfix's later restrictions, those against relaying among them.

mod action;
mod facts;
#[cfg(test)]
mod tests;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost_mail::{Address, Envelope, OnFault, Recipient, Session};
use gatepost_wire::policy::{Action, ReadError, Reader, Request, RequestError, State};

pub use self::told::Told;

use super::Front;
use super::asker::{Asker, Gone, Wire};
use super::early::Early;
use super::listen::Place;
use crate::checks::Found;
use crate::config::typed::ListenerProtocol;
use crate::pipeline::Asked;
use crate::resources::net::Stream;
use crate::verdict::Stage;

/// How long Postfix may have nothing to ask. It closes a connection itself when that is 1000 s old
/// (`smtpd_policy_service_max_ttl`) or idle for 300 s; if we were first, its next question would wait for a second.
const IDLE: Duration = Duration::from_secs(1100);

/// Longest that a question waits for checks. Postfix gives up after 100 s (`smtpd_policy_service_timeout`); every check gives
/// up long before.
const LONG: Duration = Duration::from_secs(80);

/// Most recipients of a message that are remembered, for checks that count them.
const RECIPIENTS: usize = 1000;

/// Answers to questions that came together are sent together, up to so many octets.
const CHUNK: usize = 64 * 1024;

/// Serves one connection to its end. `peer` is None on unix sockets. `latest` is the listener as it is configured now: each
/// message is asked about under the configuration it began with, and connections outlive many.
pub(super) async fn serve(
    latest: Arc<ArcSwap<Front>>,
    stream: Stream,
    peer: Option<SocketAddr>,
    place: Place,
) {
    let _place = place;
    let front = latest.load_full();
    let asker = Asker::new(Wire::Stream(stream), &front);
    let mut service =
        Service { latest, front, peer, asker, reader: Reader::new(), transaction: None, errors: 0 };
    if let Err(end) = service.run().await {
        tracing::warn!(listener = service.front.listener.name, ?peer, "policy session ended: {end}");
    }
    service.asker.leave().await;
}

/// Why a session ends early.
#[derive(Debug)]
enum End {
    Cut,
    Slow,
    Unreadable(ReadError),
    Errors,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Cut => f.write_str("the client went away in the middle of a request"),
            End::Slow => f.write_str("the client was silent in the middle of a request, or too slow"),
            End::Unreadable(error) => error.fmt(f),
            End::Errors => f.write_str("too many requests that cannot be understood"),
        }
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> End {
        match gone {
            Gone::Timeout => End::Slow,
            Gone::Closed | Gone::Draining => End::Cut,
        }
    }
}

struct Service {
    latest: Arc<ArcSwap<Front>>,
    /// As the transaction began with it.
    front: Arc<Front>,
    peer: Option<SocketAddr>,
    asker: Asker,
    reader: Reader,
    transaction: Option<Transaction>,
    errors: u32,
}

/// What is known of the message that is asked about.
struct Transaction {
    /// What tells it from others: if any of it changes, it is another.
    key: Key,
    early: Early,
    /// Checks of the sender were asked.
    sender_known: bool,
    envelope: Envelope,
    /// Header fields that checks have made.
    fields: Vec<(String, String)>,
    /// A recipient was decided about, or all that is to be said without one.
    decided: bool,
}

type Key = (String, Option<std::net::IpAddr>, String, String, String);

impl Service {
    async fn run(&mut self) -> Result<(), End> {
        let silence = self.front.limits.command_time.duration();
        let mut deadline = Instant::now() + silence;
        loop {
            self.answer_all().await?;
            match (self.asker.input.is_empty(), self.asker.ended) {
                (true, true) => return Ok(()),
                (false, true) => return Err(End::Cut),
                (false, false) => self.asker.more(silence, deadline).await?,
                (true, false) => {
                    // A transaction may be long: nothing of it is needed for as long as that.
                    if self.asker.wait(IDLE).await.is_err() {
                        return Ok(());
                    }
                    deadline = Instant::now() + silence;
                }
            }
        }
    }

    /// Answers what has been read, in order.
    async fn answer_all(&mut self) -> Result<(), End> {
        let mut out = Vec::new();
        let unreadable = loop {
            match self.reader.next(&mut self.asker.input) {
                Ok(Some(request)) => out.extend(self.answer(request).await.answer()),
                Ok(None) => break None,
                Err(error) => break Some(End::Unreadable(error)),
            }
            if self.errors >= self.front.limits.errors {
                break Some(End::Errors);
            }
            if out.len() >= CHUNK {
                self.say(&mut out).await?;
            }
        };
        self.say(&mut out).await?;
        unreadable.map_or(Ok(()), Err)
    }

    async fn say(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        if !out.is_empty() {
            self.asker.say(out, self.front.limits.data_time.duration()).await?;
            out.clear();
        }
        Ok(())
    }

    async fn answer(&mut self, request: Result<Request, RequestError>) -> Action {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                self.errors += 1;
                tracing::warn!(listener = self.front.listener.name, peer = ?self.peer, "policy request: {error}");
                return action::trouble();
            }
        };
        self.begin(&request);
        let delayed = self.front.listener.delay_reject;
        let early = matches!(request.state, State::Connect | State::Ehlo | State::Helo | State::Mail);
        if matches!(request.state, State::Other(_)) || (early && delayed) {
            return Action::Dunno;
        }
        self.decide(&request).await
    }

    /// Another message, unless it is that of the last question.
    fn begin(&mut self, request: &Request) {
        let key = (
            request.instance.clone(),
            request.client_address,
            request.helo_name.clone(),
            request.sasl_username.clone(),
            request.sender.clone(),
        );
        let same = self.transaction.as_ref().is_some_and(|known| known.key == key && !key.0.is_empty());
        if same {
            return;
        }
        let latest = self.latest.load_full();
        if latest.listener.protocol == ListenerProtocol::Policy {
            self.front = latest;
        }
        self.transaction = Some(Transaction {
            key,
            early: Early::default(),
            sender_known: false,
            envelope: facts::envelope(request),
            fields: Vec::new(),
            decided: false,
        });
    }

    async fn decide(&mut self, request: &Request) -> Action {
        let Some(mut transaction) = self.transaction.take() else { return Action::Dunno };
        let action = self.decide_about(request, &mut transaction).await;
        self.transaction = Some(transaction);
        action
    }

    async fn decide_about(&self, request: &Request, transaction: &mut Transaction) -> Action {
        let later = matches!(request.state, State::Data | State::EndOfMessage);
        if later && transaction.decided {
            return self.field(request, transaction);
        }
        let recipient = Address::new(&request.recipient).map(Recipient::from);
        let (stage, recipient) = match request.state {
            State::Connect => (Stage::Connect, None),
            // What is asked for there is no mail: only who asks counts.
            State::Ehlo | State::Helo | State::Vrfy | State::Etrn => (Stage::Hello, None),
            State::Rcpt | State::Data | State::EndOfMessage if recipient.is_some() => {
                (Stage::Recipient, recipient)
            }
            _ => (Stage::Sender, None),
        };
        let mut session = facts::session(&self.front, request);
        self.front.direct(&mut session, recipient.as_slice());
        let known = self.known(stage, &session, transaction).await;
        session.client_name = session.client_name.take().or(known.client_name.clone());
        // Each question about a session is told of all that it needs, and its refusal of the time it took.
        transaction.decided |= later || stage == Stage::Recipient;
        let asked = Asked {
            stage,
            session: &session,
            envelope: &transaction.envelope,
            recipient: recipient.as_ref(),
            known: &known,
            wait: LONG,
        };
        let admitted = self.front.pipeline.admit(asked).await;
        if let Some(refusal) = admitted.refusal {
            if stage == Stage::Recipient {
                self.front.metrics.refused_recipient();
            }
            return action::refusal(&refusal, request);
        }
        let forced = admitted.found.forced.first().cloned();
        let mut found = known.clone();
        found.merge(admitted.found);
        if let Some(action) = self.failed(Asked { known: &found, ..asked }, request).await {
            return action;
        }
        // Mail that is held or discarded goes to them, too.
        if let Some(recipient) = recipient.filter(|_| transaction.envelope.recipients.len() < RECIPIENTS) {
            transaction.envelope.recipients.push(recipient);
        }
        if let Some((_, action, reason)) = forced {
            tracing::info!(
                "policy: [{}] <{}> -> <{}>: {action}: {reason}",
                session.client.map(|client| client.to_string()).unwrap_or_default(),
                request.sender,
                request.recipient
            );
            return action::forced(action, reason);
        }
        told::merge(&mut transaction.fields, found.fields);
        self.field(request, transaction)
    }

    /// What is known of session and sender. It is found out once for a message.
    async fn known(&self, stage: Stage, session: &Session, transaction: &mut Transaction) -> Found {
        transaction.early.connect(&self.front, session).await;
        if stage >= Stage::Hello {
            transaction.early.hello(&self.front, session).await;
        }
        if stage >= Stage::Sender && !transaction.sender_known {
            transaction.early.sender(&self.front, session, &transaction.envelope).await;
            transaction.sender_known = true;
        }
        transaction.early.known_within(LONG).await
    }

    /// What checks that could not look mean: nobody looks at the message later who could decide it.
    async fn failed(&self, asked: Asked<'_>, request: &Request) -> Option<Action> {
        let worst = asked.known.faults.iter().max_by_key(|fault| fault.answer)?;
        match worst.answer {
            OnFault::Accept => None,
            OnFault::Quarantine => Some(Action::Hold(format!("{} could not look", worst.check))),
            OnFault::Defer => {
                let refusal = self.front.pipeline.put_off(asked, worst).await;
                Some(refusal.map_or_else(action::trouble, |refusal| action::refusal(&refusal, request)))
            }
        }
    }

    /// The next header field that is due, where Postfix takes one.
    fn field(&self, request: &Request, transaction: &Transaction) -> Action {
        if !matches!(request.state, State::Mail | State::Rcpt | State::Data) {
            return Action::Dunno;
        }
        let wanted = told::in_order(&transaction.fields, &self.front.listener.prepend);
        match self.front.told.next(&request.instance, &wanted) {
            Some((name, value)) => Action::Prepend(name, value),
            None => Action::Dunno,
        }
    }
}
