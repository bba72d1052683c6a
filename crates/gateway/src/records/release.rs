//! Releasing held messages: to their recipients as they came, or to another address.
//!
//! Of several releases of one message, in whatever process, one delivers. If it dies on the way its claim runs out
//! after [`CLAIM_TIME`], and the next release goes ahead with a warning, because the recipients may have the message.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{Address, Envelope, Recipient, Reply};
use jiff::Timestamp;

use super::id::{is_id, same_secret};
use super::journal::{CLAIM_TIME, Claim, EventKind, Journal, JournalError, State, Ticket};
use super::upkeep::recover;
use super::vault::{Held, Vault, VaultError};
use super::{Entry, Record};

/// What is to be delivered.
#[derive(Clone, Debug)]
pub struct Release {
    /// The record's id.
    pub id: String,
    /// Listener the message came by; its next hop is the place to release to, unless the configuration names one.
    pub listener: String,
    /// Sender, recipients and their parameters.
    pub envelope: Envelope,
    /// The message byte for byte as it came.
    pub original: Bytes,
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The next hop, as the configuration writes it: `smtp://127.0.0.1:10026`.
    pub next_hop: String,
    /// A reply for each recipient in their order, or one for all of them. A recipient without a reply counts as not
    /// delivered to. A next hop that is away: one 4xx reply that says so.
    pub replies: Vec<Reply>,
}

/// What sends a released message on.
pub trait Deliver: Sync {
    /// Sends it to the next hop.
    fn deliver(&self, release: Release) -> impl Future<Output = Delivery> + Send;
}

impl<F, D> Deliver for F
where
    F: Fn(Release) -> D + Sync,
    D: Future<Output = Delivery> + Send,
{
    fn deliver(&self, release: Release) -> impl Future<Output = Delivery> + Send {
        self(release)
    }
}

/// A release that went well, at least for one recipient.
#[derive(Clone, Debug)]
pub struct Released {
    /// Which message.
    pub id: String,
    /// The next hop.
    pub next_hop: String,
    /// Each recipient and the next hop's reply.
    pub replies: Vec<(String, Reply)>,
    /// An earlier release was begun at that time and never ended: these recipients may get the message twice.
    pub interrupted: Option<Timestamp>,
    /// The journal could not be told: the message will look as if it had not been released.
    pub not_noted: Option<String>,
}

impl Released {
    /// Whether every recipient got it.
    pub fn is_complete(&self) -> bool {
        self.replies.iter().all(|(_, reply)| reply.is_positive())
    }

    /// In the form that amavis users know: `250 2.6.0 Ok, id=rel-l1bnIZN88okd, from smtp://…: 250 2.0.0 Ok`. The
    /// first refusal counts when there is one.
    pub fn summary(&self) -> String {
        let (id, hop) = (&self.id, &self.next_hop);
        match self.replies.iter().find(|(_, reply)| !reply.is_positive()).or(self.replies.first()) {
            Some((_, reply)) if reply.is_positive() => {
                format!("250 2.6.0 Ok, id=rel-{id}, from {hop}: {reply}")
            }
            Some((recipient, reply)) => {
                format!("451 4.3.0 Not for all, id=rel-{id}, from {hop}: <{recipient}>: {reply}")
            }
            None => format!("250 2.6.0 Ok, id=rel-{id}, from {hop}: nobody left to release to"),
        }
    }
}

/// Why a message was not released.
#[derive(Debug)]
pub enum ReleaseError {
    /// There is no such record.
    Unknown(String),
    /// It was released at that time.
    AlreadyReleased(String, Timestamp),
    /// Somebody else is releasing it right now.
    Busy(String),
    /// It is not held: it never was, or is gone.
    NotHeld(String, Option<State>),
    /// No recipient got it; it is held as before.
    NotDelivered(Released),
    /// The journal fails.
    Journal(JournalError),
    /// The vault fails.
    Vault(VaultError),
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseError::Unknown(id) => write!(f, "there is no message {id}"),
            ReleaseError::AlreadyReleased(id, at) => {
                write!(f, "{id} was released already, at {at:.0}; `--again` releases it once more")
            }
            ReleaseError::Busy(id) => {
                let seconds = CLAIM_TIME.as_secs();
                write!(f, "{id} is being released right now; if not, try again in {seconds} s")
            }
            ReleaseError::NotHeld(id, None) => write!(f, "{id} was not held"),
            ReleaseError::NotHeld(id, Some(state)) => write!(f, "{id} is not held any more: {state}"),
            ReleaseError::NotDelivered(released) => {
                write!(f, "{} is held as before; {} said", released.id, released.next_hop)?;
                for (recipient, reply) in &released.replies {
                    write!(f, " <{recipient}>: {reply};")?;
                }
                Ok(())
            }
            ReleaseError::Journal(error) => error.fmt(f),
            ReleaseError::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReleaseError {}

impl From<JournalError> for ReleaseError {
    fn from(error: JournalError) -> ReleaseError {
        ReleaseError::Journal(error)
    }
}

impl From<VaultError> for ReleaseError {
    fn from(error: VaultError) -> ReleaseError {
        ReleaseError::Vault(error)
    }
}

/// The record of a message, from the journal, or from the vault when the journal has none (yet): it is then put there.
pub async fn find(journal: &Journal, vault: &Vault, id: &str) -> Result<Option<Entry>, ReleaseError> {
    if !is_id(id) {
        return Ok(None);
    }
    if let Some(entry) = journal.get(id).await? {
        return Ok(Some(entry));
    }
    let held = match vault.peek_async(&Vault::key(id)).await {
        Ok(held) => held,
        Err(VaultError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    recover(journal, held.record).await?;
    Ok(journal.get(id).await?)
}

/// What a secret id is worth for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// It is the one.
    Right,
    /// It is another, or the entry has none.
    Wrong,
    /// Nothing is held under this id.
    NoEntry,
}

/// Looks whether a secret id is that of a held message.
pub async fn check_secret(vault: &Vault, id: &str, secret: &str) -> Result<Secret, VaultError> {
    match vault.peek_async(&Vault::key(id)).await {
        Ok(Held { secret: Some(own), .. }) if same_secret(&own, secret) => Ok(Secret::Right),
        Ok(_) => Ok(Secret::Wrong),
        Err(VaultError::NotFound(_)) => Ok(Secret::NoEntry),
        Err(error) => Err(error),
    }
}

/// Releases a message to the recipients it is held for, as it came. `again`: even if that was done before.
pub async fn release(
    journal: &Journal,
    vault: &Vault,
    id: &str,
    again: bool,
    who: &str,
    deliver: &impl Deliver,
) -> Result<Released, ReleaseError> {
    if find(journal, vault, id).await?.is_none() {
        return Err(ReleaseError::Unknown(id.to_owned()));
    }
    let ticket = match journal.claim(id, again, who).await? {
        Claim::Taken(ticket) => ticket,
        Claim::AlreadyReleased(at) => return Err(ReleaseError::AlreadyReleased(id.to_owned(), at)),
        Claim::Busy(_) => return Err(ReleaseError::Busy(id.to_owned())),
        Claim::NotHeld(state) => return Err(ReleaseError::NotHeld(id.to_owned(), state)),
        Claim::Unknown => return Err(ReleaseError::Unknown(id.to_owned())),
    };
    let (held, original) = match vault.get_async(&Vault::key(id)).await {
        Ok(read) => read,
        Err(error) => {
            journal.settle(&ticket, None, &error.to_string(), who).await?;
            return Err(error.into());
        }
    };
    let envelope = envelope_for(&held, &ticket);
    let names: Vec<String> =
        envelope.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
    let release =
        Release { id: id.to_owned(), listener: held.record.listener, envelope, original: original.into() };
    let delivery = with_claim(journal, &ticket, deliver.deliver(release)).await;
    settle(journal, ticket, names, delivery, who).await
}

/// Sends a held message to another address. Its state stays as it is. The envelope sender is `<>`, so that no bounce
/// goes to an address that may be forged.
pub async fn forward(
    journal: &Journal,
    vault: &Vault,
    id: &str,
    to: &Address,
    who: &str,
    deliver: &impl Deliver,
) -> Result<Released, ReleaseError> {
    let Some(entry) = find(journal, vault, id).await? else {
        return Err(ReleaseError::Unknown(id.to_owned()));
    };
    if !entry.state.is_some_and(State::in_vault) {
        return Err(ReleaseError::NotHeld(id.to_owned(), entry.state));
    }
    let (held, original) = vault.get_async(&Vault::key(id)).await?;
    let mut envelope = held.envelope();
    envelope.sender = None;
    envelope.parameters.other.clear();
    envelope.recipients = vec![Recipient::from(to.clone())];
    let Record { listener, .. } = held.record;
    let delivery =
        deliver.deliver(Release { id: id.to_owned(), listener, envelope, original: original.into() }).await;
    let mut forwarded = answers(id, vec![to.to_string()], delivery, None);
    if !forwarded.is_complete() {
        return Err(ReleaseError::NotDelivered(forwarded));
    }
    if let Err(error) = journal.note(id, EventKind::Forwarded, &detail(&forwarded), who).await {
        forwarded.not_noted = Some(error.to_string());
    }
    Ok(forwarded)
}

/// The envelope of a release; after one that reached some, only the others are left.
fn envelope_for(held: &Held, ticket: &Ticket) -> Envelope {
    let mut envelope = held.envelope();
    if let Some(remaining) = &ticket.remaining {
        envelope.recipients.retain(|recipient| remaining.contains(&recipient.address.to_string()));
    }
    envelope
}

/// Runs a delivery and renews the claim while it lasts.
async fn with_claim<T>(journal: &Journal, ticket: &Ticket, delivery: impl Future<Output = T>) -> T {
    const RENEW_EVERY: Duration = Duration::from_secs(CLAIM_TIME.as_secs() / 4);
    tokio::pin!(delivery);
    loop {
        match tokio::time::timeout(RENEW_EVERY, delivery.as_mut()).await {
            Ok(done) => return done,
            Err(_) => match journal.renew(ticket).await {
                Ok(true) => {}
                Ok(false) => tracing::warn!("release of {}: the claim ran out on the way", ticket.id()),
                Err(error) => tracing::warn!("release of {}: {error}", ticket.id()),
            },
        }
    }
}

/// Writes down what became of a release.
async fn settle(
    journal: &Journal,
    ticket: Ticket,
    names: Vec<String>,
    delivery: Delivery,
    who: &str,
) -> Result<Released, ReleaseError> {
    let mut released = answers(ticket.id(), names, delivery, ticket.interrupted);
    let left: Vec<String> = released
        .replies
        .iter()
        .filter(|(_, reply)| !reply.is_positive())
        .map(|(recipient, _)| recipient.clone())
        .collect();
    let nothing = !left.is_empty() && left.len() == released.replies.len();
    let left = (!nothing).then_some(left.as_slice());
    let settled = journal.settle(&ticket, left, &detail(&released), who).await;
    if nothing {
        settled?;
        return Err(ReleaseError::NotDelivered(released));
    }
    if let Err(error) = settled {
        tracing::error!("{} is released, but the journal could not be told: {error}", released.id);
        released.not_noted = Some(error.to_string());
    }
    Ok(released)
}

/// A reply for each recipient.
fn answers(id: &str, names: Vec<String>, delivery: Delivery, interrupted: Option<Timestamp>) -> Released {
    let one_for_all = delivery.replies.len() == 1;
    let replies = names
        .into_iter()
        .enumerate()
        .map(|(place, name)| {
            let reply = delivery.replies.get(if one_for_all { 0 } else { place }).cloned();
            (name, reply.unwrap_or_else(|| Reply::new(451, "4.3.0", "no reply from the next hop")))
        })
        .collect();
    Released { id: id.to_owned(), next_hop: delivery.next_hop, replies, interrupted, not_noted: None }
}

/// The event's text.
fn detail(released: &Released) -> String {
    let replies: Vec<String> =
        released.replies.iter().map(|(recipient, reply)| format!("<{recipient}>: {reply}")).collect();
    format!("{}: {}", released.next_hop, replies.join("; "))
}

#[cfg(test)]
mod tests;
