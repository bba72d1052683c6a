//! Messages that are handed in whole: a file, a pipe, a request. What lies between their bytes and an [`Arrival`].

use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{Action, Address, Edit, Envelope, Place, Recipient, Reply, Session, Verdict};

use super::direction;
use super::handback::{Fate, Form, HandBack};
pub use super::mend::{Mended, Unfit, mended};
use crate::config::units::Net;
use crate::pipeline::{Arrival, Judged, Pipeline};
use crate::verdict::Answers;

/// The field that tells the verdict in a message that is handed back whatever it is.
const ACTION_FIELD: &str = "X-Gatepost-Action";

/// Makes an arrival of a message whose line endings are [`mended`]. Checks of client and recipients have been asked when
/// this returns.
pub async fn arrival(
    pipeline: &Pipeline,
    session: Session,
    envelope: Envelope,
    message: Mended,
    answers: Answers,
    after_queue: bool,
    receiving: Duration,
) -> Arrival {
    let early = pipeline.checks.envelope(&session, &envelope).await;
    let Mended { raw, stray, unmended } = message;
    Arrival { session, envelope, raw, stray, unmended, early, answers, after_queue, receiving }
}

/// Fills in which way the mail of a session goes to these recipients.
pub fn direct(session: &mut Session, recipients: &[Recipient], networks: &[Net], domains: &[String]) {
    let direction = direction::direction(session, networks, domains);
    session.direction = direction::with_recipients(direction, recipients, domains);
}

/// Mailboxes and many corpora put a `From ` line before the message; it is no part of it.
pub fn without_from_line(content: Bytes) -> Bytes {
    if !content.starts_with(b"From ") {
        return content;
    }
    match memchr::memchr(b'\n', &content) {
        Some(end) => content.slice(end + 1..),
        None => content,
    }
}

/// What became of a message that somebody wants to have filtered.
pub struct Filtered {
    /// What was found.
    pub judged: Judged,
    /// What was done.
    pub action: Action,
    /// What a sender would be told.
    pub reply: Reply,
    /// Whom the message is for, extensions put in.
    pub recipients: Vec<Address>,
    /// The message to be delivered, in pieces; None if it shall not be.
    pub message: Option<Vec<Bytes>>,
}

/// Judges a message and does what is decided; what is to be delivered comes back. Not `split`: None where verdicts
/// deliver to some and not to others; nothing was done then.
pub async fn filter(pipeline: &Pipeline, arrival: Arrival, split: bool) -> Option<Filtered> {
    let judged = pipeline.judge(arrival).await;
    let delivers = |verdict: &Verdict| verdict.action.delivers();
    if !split && judged.verdicts.iter().any(delivers) && !judged.verdicts.iter().all(delivers) {
        return None;
    }
    let mut hand = HandBack::new("filter", Form::Message);
    let conclusion = pipeline.settle(&judged, Answers::OneCopy, &mut hand).await;
    let fate = hand.fate(&conclusion);
    let action = action(&judged, &fate);
    let (mut recipients, mut message) = (Vec::new(), None);
    if let Fate::Continue { recipients: onward, message: pieces, .. } = fate {
        message = Some(pieces);
        recipients.extend(onward.into_iter().map(|onward| {
            let address = &judged.mail.envelope.recipients[onward.place].address;
            match onward.extension {
                Some(extension) => address.with_extension(&extension),
                None => address.clone(),
            }
        }));
    }
    Some(Filtered { judged, action, reply: conclusion.one, recipients, message })
}

/// Judges a message and gives it back whatever the verdict is, with a field that tells it; one such field alone, those
/// that came with the message are taken out. Nothing is held, so parts that the policy strips stay.
pub async fn mark(pipeline: &Pipeline, arrival: Arrival) -> Filtered {
    let judged = pipeline.advise(arrival).await;
    let strictest = judged.verdicts.iter().max_by_key(|verdict| (verdict.action, verdict.category));
    let verdict = strictest.unwrap_or_else(|| judged.worst());
    let message = &judged.mail.message;
    let mut edits = of_header(&verdict.edits);
    for nth in 0..message.headers.all(ACTION_FIELD).count() {
        edits.push(Edit::RemoveHeader { name: ACTION_FIELD.into(), nth });
    }
    let value = format!("{} ({})", verdict.action, verdict.category);
    edits.push(Edit::AddHeader { name: ACTION_FIELD.into(), value, place: Place::Top });
    let pieces = gatepost_mail::apply(message, &edits).chunks;
    let recipients = judged.mail.envelope.recipients.iter().map(|recipient| recipient.address.clone());
    Filtered {
        action: verdict.action,
        reply: verdict.reply.clone(),
        recipients: recipients.collect(),
        message: Some(pieces),
        judged,
    }
}

/// What was done, in the name of an action. What lacks something is stripped, whatever its verdict is called.
pub(super) fn action(judged: &Judged, fate: &Fate) -> Action {
    let done = |verdict: &Verdict| if verdict.takes_out() { Action::Strip } else { verdict.action };
    let actions = judged.verdicts.iter().map(done);
    match fate {
        Fate::Continue { .. } => actions.filter(|action| action.delivers()).max().unwrap_or(Action::Deliver),
        Fate::Reply(reply) if reply.is_permanent() => Action::Refuse,
        Fate::Reply(_) => Action::Defer,
        Fate::Discard if actions.clone().all(|action| action == Action::Discard) => Action::Discard,
        Fate::Discard | Fate::Hold(_) => Action::Quarantine,
    }
}

/// Changes of the header alone, for whoever only asks for an opinion (parts stay: what is taken out of a message must be kept
/// somewhere, and there nothing is) or can change nothing else. A signature of the message with another body would be a
/// wrong one, so it is left out then.
pub(super) fn of_header(edits: &[Edit]) -> Vec<Edit> {
    let differs = edits.iter().any(Edit::changes_body);
    let is_signature = |edit: &Edit| match edit {
        Edit::AddFolded { name, .. } => name == "DKIM-Signature" || name.starts_with("ARC-"),
        _ => false,
    };
    let goes = |edit: &Edit| edit.changes_body() || (differs && is_signature(edit));
    edits.iter().filter(|edit| !goes(edit)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use gatepost_mail::PartId;

    use super::*;

    #[test]
    fn no_signature_of_a_body_that_stays_another() {
        let on_top = |name: &str| Edit::AddFolded { name: name.into(), value: "x".into(), place: Place::Top };
        let plain = vec![on_top("ARC-Seal"), on_top("DKIM-Signature"), on_top("Authentication-Results")];
        assert_eq!(of_header(&plain), plain);
        let text = Edit::AddText { text: "x".into(), html: String::new(), place: Place::Bottom };
        let strip = Edit::ReplacePart { part: PartId(0), text: "gone".into() };
        for edit in [text, strip, Edit::Wrap { text: "x".into() }] {
            let edits = [&plain[..], &[edit]].concat();
            assert_eq!(of_header(&edits), [on_top("Authentication-Results")]);
        }
    }

    #[test]
    fn only_a_leading_from_line_goes() {
        for (content, expected) in
            [("From a Mon\nSubject: 1\n", "Subject: 1\n"), ("From: a\n", "From: a\n"), ("From a", "From a")]
        {
            assert_eq!(without_from_line(Bytes::from(content)), expected);
        }
    }
}
