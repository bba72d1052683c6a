//! A held message is asked for: `amavisd-release ID SECRET`.
//!
//! Over TCP only who knows the message's secret id gets it released. On a unix socket whoever may enter its folder can,
//! unless the listener asks for the secret there as well.

use std::net::SocketAddr;

use gatepost_mail::{Address, Reply};
use gatepost_wire::ampdp::{Release, ReleaseKind, Response};
use gatepost_wire::smtp::check_address;

use super::Answer;
use crate::front::Front;
use crate::pipeline::Store;
use crate::records::{self, Delivery, ReleaseError, Released, Secret, text};

/// Releases a message, to its own recipients or to those that are named.
pub(super) async fn answer(front: &Front, peer: Option<SocketAddr>, asked: Release) -> Answer {
    let who = who(front, peer, &asked);
    let mail_id = &asked.mail_id;
    if asked.kind == ReleaseKind::Report {
        return Answer::good(said(&[Reply::new(502, "5.5.1", "Reports of abuse are not made here")]));
    }
    let Some(store) = front.pipeline.store() else {
        return Answer::good(said(&[Reply::new(450, "4.5.0", "Nothing is held here")]));
    };
    match may(front, peer, &asked, store).await {
        Ok(()) => {}
        Err(Denied { reply, why }) => {
            tracing::warn!("{mail_id} is not released for {who}: {why}");
            return Answer::wrong(said(&[reply]));
        }
    }
    let replies = if asked.recipients.is_empty() {
        give_out(front, store, mail_id, &who).await
    } else {
        let mut replies = Vec::new();
        for recipient in &asked.recipients {
            replies.extend(give_to(front, store, mail_id, &recipient.address, &who).await);
        }
        replies
    };
    for reply in &replies {
        tracing::info!("release of {mail_id} for {who}: {reply}");
    }
    Answer::good(said(&replies))
}

/// Why a client may not have a message: what it is told, and what the log is.
struct Denied {
    reply: Reply,
    why: String,
}

async fn may(front: &Front, peer: Option<SocketAddr>, asked: &Release, store: &Store) -> Result<(), Denied> {
    let deny = |code, enhanced, text: &str, why: &str| {
        Err(Denied { reply: Reply::new(code, enhanced, text), why: why.to_owned() })
    };
    if asked.secret_id.is_empty() {
        if peer.is_none() && !front.listener.require_secret {
            return Ok(());
        }
        let text = "secret_id is required, but missing";
        return deny(550, "5.7.1", text, text);
    }
    // Whoever tries ids must not learn which there are.
    let text = format!("secret_id does not match mail_id {}", asked.mail_id);
    match records::check_secret(&store.vault, &asked.mail_id, &asked.secret_id).await {
        Ok(Secret::Right) => Ok(()),
        Ok(Secret::Wrong) => deny(550, "5.7.1", &text, "the secret_id is not its own"),
        Ok(Secret::NoEntry) => deny(550, "5.7.1", &text, "nothing is held under this id"),
        Err(error) => deny(450, "4.5.0", "The vault cannot be read now", &error.to_string()),
    }
}

async fn give_out(front: &Front, store: &Store, mail_id: &str, who: &str) -> Vec<Reply> {
    let deliver = |release| deliver(front, release);
    told(records::release(&store.journal, &store.vault, mail_id, false, who, &deliver).await)
}

async fn give_to(front: &Front, store: &Store, mail_id: &str, address: &str, who: &str) -> Vec<Reply> {
    let to = Address::new(address).filter(|_| check_address(address).is_ok());
    let Some(to) = to else {
        return vec![Reply::new(553, "5.1.3", format!("<{address}> is no address such as user@example.org"))];
    };
    let deliver = |release| deliver(front, release);
    told(records::forward(&store.journal, &store.vault, mail_id, &to, who, &deliver).await)
}

async fn deliver(front: &Front, release: records::Release) -> Delivery {
    let (next_hop, replies) =
        front.releases.send(&release.listener, &release.envelope, release.original).await;
    Delivery { next_hop, replies }
}

/// A reply for each recipient, or one that says why there is none.
fn told(released: Result<Released, ReleaseError>) -> Vec<Reply> {
    let error = match released {
        Ok(released) | Err(ReleaseError::NotDelivered(released)) => {
            let hop = mta(&released.next_hop);
            if released.replies.is_empty() {
                return vec![Reply::new(250, "2.5.0", "No recipients, nothing to do")];
            }
            return released.replies.iter().map(|(_, reply)| told_of(&released.id, &hop, reply)).collect();
        }
        Err(error) => error,
    };
    let (code, enhanced, text) = match &error {
        ReleaseError::AlreadyReleased(id, at) => {
            (550, "5.5.0", format!("{id} was released already, at {at:.0}"))
        }
        ReleaseError::Unknown(_) | ReleaseError::NotHeld(..) => (550, "5.5.0", error.to_string()),
        ReleaseError::Busy(_) => (450, "4.5.0", error.to_string()),
        ReleaseError::Journal(_) | ReleaseError::Vault(_) | ReleaseError::NotDelivered(_) => {
            tracing::error!("release: {error}");
            (450, "4.5.0", "ERROR: journal or vault fail; see the log".to_owned())
        }
    };
    vec![Reply::new(code, enhanced, text)]
}

/// The next hop's reply in the form that amavis gives it.
fn told_of(id: &str, hop: &str, reply: &Reply) -> Reply {
    if reply.is_positive() {
        return Reply::new(250, "2.6.0", format!("Ok, id=rel-{id}, from MTA({hop}): {reply}"));
    }
    let class = if reply.is_permanent() { (550, "5.6.0") } else { (450, "4.6.0") };
    Reply::new(class.0, class.1, format!("Not released, id=rel-{id}, from MTA({hop}): {reply}"))
}

/// `smtp://127.0.0.1:10025` as amavis writes it: `[127.0.0.1]:10025`.
fn mta(next_hop: &str) -> String {
    let plain = next_hop.split_once("://").filter(|_| !next_hop.contains(','));
    match plain.and_then(|(_, target)| target.rsplit_once(':')) {
        Some((host, port)) => format!("[{}]:{port}", host.trim_matches(['[', ']'])),
        None => next_hop.to_owned(),
    }
}

fn said(replies: &[Reply]) -> Response {
    let mut response = Response::new();
    for reply in replies {
        response.set_reply(reply.code, &reply.enhanced, &reply.text);
    }
    response
}

/// Who asks, for the journal and the log.
fn who(front: &Front, peer: Option<SocketAddr>, asked: &Release) -> String {
    let place = peer.map_or_else(|| "unix socket".to_owned(), |peer| format!("[{}]", peer.ip()));
    let requested_by = text::clean(&asked.requested_by, 100);
    let requested_by = if requested_by.is_empty() { String::new() } else { format!("{requested_by} by ") };
    format!("{requested_by}{} {place}", front.listener.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_as_amavis_writes_them() {
        for (hop, expected) in [
            ("smtp://127.0.0.1:10026", "[127.0.0.1]:10026"),
            ("smtp://[::1]:25", "[::1]:25"),
            ("smtps://mail.example.org:465", "[mail.example.org]:465"),
            ("lmtp:/run/x.sock", "lmtp:/run/x.sock"),
            ("smtp://a:25, smtp://b:25", "smtp://a:25, smtp://b:25"),
            ("maildir:/var/x", "maildir:/var/x"),
        ] {
            assert_eq!(mta(hop), expected);
        }
    }
}
