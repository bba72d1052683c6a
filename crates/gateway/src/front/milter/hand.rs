//! What was decided, in the words of the protocol.

use bytes::Bytes;
use gatepost_mail::{Changes, Envelope, HeaderChange, Place, Reply};
use gatepost_milter::{Actions, CHUNK, Refusal, Response};

use crate::front::handback::{Fate, Form, HandBack, Onward};
use crate::pipeline::{Carrier, Judged, Shipment};
use crate::verdict::{self, Answers};

/// Behind the mail server's own `Received` field, which it counts as 0, and before everything it was sent: where the
/// field would stand had we been its next hop.
const TOP: u32 = 1;

/// Behind all others: beyond the end, mail servers append.
const BOTTOM: u32 = 1_000_000;

/// Longest reason for holding a message, in octets; Postfix keeps 100.
const REASON: usize = 200;

/// All responses to the end of a message, in their order, the last of which is final. `told` are the recipients as the
/// mail server wrote them, `actions` what it can do.
pub(super) fn responses(fate: Fate, envelope: &Envelope, told: &[Bytes], actions: Actions) -> Vec<Response> {
    match fate {
        Fate::Reply(reply) => vec![refusal(&reply)],
        Fate::Discard => vec![Response::Discard],
        Fate::Hold(reason) => vec![Response::Quarantine(reason_of(&reason)), Response::Continue],
        Fate::Continue { recipients, changes, .. } => {
            let mut responses = Vec::new();
            change_recipients(&recipients, envelope, told, actions, &mut responses);
            change_header(&changes, &mut responses);
            if let Some(body) = changes.body {
                replace_body(&body, &mut responses);
            }
            responses.push(Response::Continue);
            responses
        }
    }
}

/// The reply to a message that the mail server cannot do with as was decided: it must wait, since half of what was decided
/// may let through what was to be taken out. Known before anything is done about the message.
pub(super) async fn lacking(judged: &Judged, told: &[Bytes], actions: Actions) -> Option<Reply> {
    const USUAL: Actions = Actions(
        Actions::ADD_HEADERS.0
            | Actions::CHANGE_HEADERS.0
            | Actions::CHANGE_BODY.0
            | Actions::ADD_RECIPIENTS.0
            | Actions::DELETE_RECIPIENTS.0,
    );
    if actions.contains(USUAL) {
        return None;
    }
    let Judged { mail, verdicts, .. } = judged;
    let mut trial = HandBack::new("mail server", Form::Instructions);
    for delivery in &verdict::plan(verdicts, told.len(), Answers::OneCopy).deliveries {
        let shipment = Shipment {
            mail,
            recipients: &delivery.recipients,
            extension: verdicts[delivery.verdict].extension.as_deref(),
            edits: &verdicts[delivery.edits].edits,
            needs_body: verdicts[delivery.edits].needs_body(),
        };
        trial.carry(shipment).await;
    }
    let responses = responses(trial.onward(), &mail.envelope, told, actions);
    let lacking = responses.iter().map(Response::needs).find(|needs| !actions.contains(*needs))?;
    tracing::error!("the mail server cannot do what was decided ({lacking:?}); the message is deferred");
    Some(Reply::new(451, "4.3.5", "The filter and its mail server do not agree"))
}

/// A reply of 4xx or 5xx; whatever else it is, nothing was decided, and the message must not pass.
pub(super) fn refusal(reply: &Reply) -> Response {
    Refusal::new(reply.code, &reply.enhanced, &reply.text).map_or(Response::TempFail, Response::Refuse)
}

/// A mail server that takes no parameters with a recipient gets the recipient without them: that a sender hears less of
/// its message than it wished for is better than that it never arrives.
fn change_recipients(
    onward: &[Onward],
    envelope: &Envelope,
    told: &[Bytes],
    actions: Actions,
    responses: &mut Vec<Response>,
) {
    let with_parameters = actions.contains(Actions::ADD_RECIPIENTS_WITH_PARAMETERS);
    let onward = |place: usize| onward.iter().find(|onward| onward.place == place);
    let mut added = Vec::new();
    for (place, (recipient, told)) in envelope.recipients.iter().zip(told).enumerate() {
        let extension = match onward(place) {
            Some(Onward { extension: None, .. }) => continue,
            Some(Onward { extension, .. }) => extension.as_deref(),
            None => None,
        };
        responses.push(Response::DeleteRecipient(told.clone()));
        if let Some(extension) = extension {
            let parameters = recipient.parameters.join(" ");
            added.push(Response::AddRecipient {
                address: format!("<{}>", recipient.address.with_extension(extension)).into(),
                parameters: (with_parameters && !parameters.is_empty()).then(|| parameters.into()),
            });
        }
    }
    // Later than all deletions, so that nobody who was added is deleted.
    responses.extend(added);
}

/// Changes and removals come in an order in which none moves what a later one speaks of. What is put at the top comes
/// last first, each above the one before: numbers beyond 1 mean different places to Postfix and Sendmail.
fn change_header(changes: &Changes, responses: &mut Vec<Response>) {
    let mut top = Vec::new();
    let mut bottom = Vec::new();
    for change in &changes.headers {
        match change {
            HeaderChange::Change { name, nth, value } => responses.push(Response::ChangeHeader {
                index: index(*nth),
                name: name.clone().into(),
                value: spaced(value),
            }),
            HeaderChange::Remove { name, nth } => responses.push(Response::ChangeHeader {
                index: index(*nth),
                name: name.clone().into(),
                value: Bytes::new(),
            }),
            HeaderChange::Insert { place, name, value } => {
                let (list, index) = match place {
                    Place::Top => (&mut top, TOP),
                    Place::Bottom => (&mut bottom, BOTTOM),
                };
                list.push(Response::InsertHeader { index, name: name.clone().into(), value: spaced(value) });
            }
        }
    }
    responses.extend(top.into_iter().rev());
    responses.extend(bottom);
}

/// They count from 1.
fn index(nth: usize) -> u32 {
    u32::try_from(nth).unwrap_or(u32::MAX - 1) + 1
}

fn spaced(value: &str) -> Bytes {
    format!(" {value}").into()
}

/// In pieces of what fits into one packet. An empty body is one empty piece.
fn replace_body(body: &[Bytes], responses: &mut Vec<Response>) {
    let before = responses.len();
    for piece in body {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let length = rest.len().min(CHUNK);
            responses.push(Response::ReplaceBody(rest.split_to(length)));
        }
    }
    if responses.len() == before {
        responses.push(Response::ReplaceBody(Bytes::new()));
    }
}

fn reason_of(reason: &str) -> Bytes {
    let clean = |c: char| if (' '..='~').contains(&c) { c } else { ' ' };
    let text: String = reason.chars().map(clean).take(REASON).collect();
    let text = text.trim();
    if text.is_empty() { Bytes::from_static(b"held by gatepost") } else { text.to_owned().into() }
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Address, Recipient};

    use super::*;

    const ALL: Actions = Actions(0x1ff);

    fn b(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn envelope() -> (Envelope, Vec<Bytes>) {
        let recipients = ["a@x.test", "b@x.test", "c@x.test"].map(|text| Recipient {
            address: Address::new(text).unwrap(),
            parameters: if text.starts_with('b') { vec!["NOTIFY=NEVER".into()] } else { Vec::new() },
        });
        let told = vec![b("<a@X.test>"), b("<b@x.test>"), b("<c@x.test>")];
        (Envelope { recipients: recipients.to_vec(), ..Envelope::default() }, told)
    }

    fn hand(recipients: &[(usize, Option<&str>)], changes: Changes) -> Vec<Response> {
        let onward = |(place, extension): &(usize, Option<&str>)| Onward {
            place: *place,
            extension: extension.map(str::to_owned),
        };
        let recipients = recipients.iter().map(onward).collect();
        let (envelope, told) = envelope();
        responses(Fate::Continue { recipients, changes, message: Vec::new() }, &envelope, &told, ALL)
    }

    #[test]
    fn recipients_who_get_it_and_who_do_not() {
        let all = [(0, None), (1, None), (2, None)];
        assert_eq!(hand(&all, Changes::default()), [Response::Continue]);
        assert_eq!(
            hand(&[(1, Some("+spam")), (2, None)], Changes::default()),
            [
                Response::DeleteRecipient(b("<a@X.test>")),
                Response::DeleteRecipient(b("<b@x.test>")),
                Response::AddRecipient { address: b("<b+spam@x.test>"), parameters: Some(b("NOTIFY=NEVER")) },
                Response::Continue,
            ]
        );
        assert_eq!(
            hand(&[(0, Some("+spam")), (1, None), (2, None)], Changes::default())[1],
            Response::AddRecipient { address: b("<a+spam@x.test>"), parameters: None }
        );
    }

    #[test]
    fn no_parameters_for_a_mail_server_that_takes_none() {
        let (envelope, told) = envelope();
        let recipients = vec![
            Onward { place: 1, extension: Some("+spam".into()) },
            Onward { place: 0, extension: None },
            Onward { place: 2, extension: None },
        ];
        let fate = Fate::Continue { recipients, changes: Changes::default(), message: Vec::new() };
        assert_eq!(
            responses(fate, &envelope, &told, Actions(0x1f))[1],
            Response::AddRecipient { address: b("<b+spam@x.test>"), parameters: None }
        );
    }

    #[test]
    fn header_changes_in_an_order_that_means_the_same_to_all() {
        let insert = |place, name: &str| HeaderChange::Insert { place, name: name.into(), value: "v".into() };
        let changes = Changes {
            headers: vec![
                HeaderChange::Change { name: "Subject".into(), nth: 0, value: "new".into() },
                HeaderChange::Remove { name: "X-Spam".into(), nth: 2 },
                HeaderChange::Remove { name: "X-Spam".into(), nth: 0 },
                insert(Place::Top, "A"),
                insert(Place::Top, "B"),
                insert(Place::Bottom, "C"),
                insert(Place::Bottom, "D"),
            ],
            ..Changes::default()
        };
        let said: Vec<(u8, u32, Bytes, Bytes)> = hand(&[(0, None), (1, None), (2, None)], changes)
            .into_iter()
            .filter_map(|response| {
                let code = response.code();
                match response {
                    Response::ChangeHeader { index, name, value }
                    | Response::InsertHeader { index, name, value } => Some((code, index, name, value)),
                    _ => None,
                }
            })
            .collect();
        assert_eq!(
            said,
            [
                (b'm', 1, b("Subject"), b(" new")),
                (b'm', 3, b("X-Spam"), b("")),
                (b'm', 1, b("X-Spam"), b("")),
                (b'i', 1, b("B"), b(" v")),
                (b'i', 1, b("A"), b(" v")),
                (b'i', BOTTOM, b("C"), b(" v")),
                (b'i', BOTTOM, b("D"), b(" v")),
            ]
        );
    }

    #[test]
    fn a_new_body_in_pieces() {
        let lengths = |body: Vec<Bytes>| -> Vec<usize> {
            let changes = Changes { body: Some(body), ..Changes::default() };
            hand(&[(0, None), (1, None), (2, None)], changes)
                .into_iter()
                .filter_map(|response| match response {
                    Response::ReplaceBody(data) => Some(data.len()),
                    _ => None,
                })
                .collect()
        };
        assert_eq!(lengths(vec![b("abc"), vec![b'x'; CHUNK + 1].into()]), [3, CHUNK, 1]);
        assert_eq!(lengths(Vec::new()), [0]);
    }

    #[test]
    fn what_is_not_delivered() {
        let (envelope, told) = envelope();
        let said = |fate| responses(fate, &envelope, &told, ALL);
        assert_eq!(said(Fate::Discard), [Response::Discard]);
        assert_eq!(
            said(Fate::Hold("Eicar\r\nx".into())),
            [Response::Quarantine(b("Eicar  x")), Response::Continue]
        );
        assert_eq!(said(Fate::Hold(String::new()))[0], Response::Quarantine(b("held by gatepost")));
        let refused = Refusal::new(550, "5.7.1", "No").unwrap();
        assert_eq!(said(Fate::Reply(Reply::new(550, "5.7.1", "No"))), [Response::Refuse(refused)]);
        // Never "go on" for what is no refusal.
        assert_eq!(said(Fate::Reply(Reply::new(354, "", "Go on"))), [Response::TempFail]);
    }
}
