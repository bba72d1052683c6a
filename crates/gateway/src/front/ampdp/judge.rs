//! A message is asked about: read from its file, judged, and given back as instructions; or sent on by us, where the
//! client leaves that to the server.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Address, Changes, Direction, Edit, Envelope, HeaderChange, Place, Protocol, Recipient, Reply, Session,
};
use gatepost_wire::ampdp::{Judge, Path, Response, ReturnValue};
use gatepost_wire::smtp::{Stray, StrayReport, check_address};

use super::file::{self, FileError, Reading};
use super::{Answer, failure};
use crate::config::typed::{HoldIn, StrayLineEndings};
use crate::front::handback::{Fate, Form, HandBack, Onward};
use crate::front::{Front, direction};
use crate::pipeline::{Arrival, Carrier, Shipment};
use crate::verdict::{Answers, Conclusion};

/// Where fields go that shall stand above all others: below the mail server's own Received field, which Sendmail counts
/// as the first. It is amavis's place for them, too.
const TOP: usize = 1;

/// Judges a message and tells the client what to do with it.
pub(super) async fn answer(front: &Front, judge: Judge) -> Answer {
    if !judge.unknown.is_empty() {
        tracing::debug!("AM.PDP attributes without a meaning: {:?}", judge.unknown);
    }
    let began = Instant::now();
    let (raw, stray) = match read(front, &judge).await {
        Ok(read) => read,
        Err(error) => {
            let (listener, queue_id) = (&front.listener.name, &judge.queue_id);
            tracing::warn!(listener, queue_id, "AM.PDP: the message cannot be read: {error}");
            return Answer::wrong(failure(&error.to_string()));
        }
    };
    let decided = decide(front, &judge, raw, stray, began).await;
    // A client that is to come again may need the file.
    if judge.server_removes && decided.value != ReturnValue::TempFail {
        remove(front, &judge).await;
    }
    Answer::good(decided.response())
}

/// What the client is told.
struct Decided {
    id: Option<String>,
    reply: Reply,
    /// Changes, where the message goes on.
    changes: Response,
    value: ReturnValue,
}

impl Decided {
    /// A message that does not go on from the client: by the reply's class.
    fn from_reply(id: Option<String>, reply: Reply) -> Decided {
        let value = match reply.code / 100 {
            2 => ReturnValue::Discard,
            5 => ReturnValue::Reject,
            _ => ReturnValue::TempFail,
        };
        Decided { id, reply, changes: Response::new(), value }
    }

    fn response(self) -> Response {
        let mut response = Response::version_2();
        if let Some(id) = &self.id {
            response.log_id(id);
        }
        response.set_reply(self.reply.code, &self.reply.enhanced, &self.reply.text);
        response.append(self.changes);
        response.return_value(self.value);
        response
    }
}

async fn decide(front: &Front, judge: &Judge, raw: Bytes, stray: StrayReport, began: Instant) -> Decided {
    if stray.over_limit {
        return Decided::from_reply(None, Reply::new(552, "5.3.4", "Message too big"));
    }
    if stray.refused {
        return Decided::from_reply(None, Reply::new(550, "5.5.2", "Message has bare CR or LF"));
    }
    let envelope = envelope(judge, &raw);
    if judge.server_delivers && !envelope_is_sendable(&envelope) {
        let reply = Reply::new(553, "5.1.3", "An address of the envelope cannot be passed on");
        return Decided::from_reply(None, reply);
    }
    let session = session(front, judge, &envelope);
    let early = front.pipeline.checks.envelope(&session, &envelope).await;
    let answers = if judge.server_delivers { Answers::One } else { Answers::OneCopy };
    let arrival = Arrival {
        session: session.clone(),
        envelope: envelope.clone(),
        raw,
        stray,
        early,
        answers,
        after_queue: false,
        receiving: began.elapsed(),
    };
    let judged = front.pipeline.judge(arrival).await;
    let id = judged.id.clone();
    if judge.server_delivers {
        let mut courier = Courier { front, session, envelope };
        let conclusion = front.pipeline.settle(&judged, answers, &mut courier).await;
        return Decided::from_reply(Some(id), conclusion.one);
    }
    let hold = front.listener.quarantine == HoldIn::Mta;
    let mut hand = Hand(HandBack::new("mail server", Form::Instructions).holding(hold));
    let conclusion = front.pipeline.settle(&judged, answers, &mut hand).await;
    given_back(judge, hand.0.fate(&conclusion), &conclusion, id)
}

async fn read(front: &Front, judge: &Judge) -> Result<(Bytes, StrayReport), FileError> {
    let reading = Reading {
        folders: front.listener.mail_folders.clone(),
        most: front.limits.message_size.bytes(),
        memory: front.limits.memory.bytes(),
        stray: match front.limits.stray_line_endings {
            StrayLineEndings::Normalize => Stray::Normalize,
            StrayLineEndings::Refuse => Stray::Refuse,
        },
        spool: front.spool.clone(),
    };
    let path = judge.mail_file.clone();
    let reading = tokio::task::spawn_blocking(move || file::read(&path, &reading));
    reading.await.unwrap_or_else(|error| Err(FileError::Spool(std::io::Error::other(error))))
}

async fn remove(front: &Front, judge: &Judge) {
    let (folders, path, tempdir) =
        (front.listener.mail_folders.clone(), judge.mail_file.clone(), judge.tempdir.clone());
    let removing = tokio::task::spawn_blocking(move || file::remove(&path, tempdir.as_deref(), &folders));
    if let Ok(Err(error)) = removing.await {
        tracing::warn!(
            listener = front.listener.name,
            "AM.PDP: a file that we were to remove stays: {error}"
        );
    }
}

fn envelope(judge: &Judge, raw: &Bytes) -> Envelope {
    let address = |path: &Path| Address::new(&path.address);
    let recipients: Vec<Recipient> =
        judge.recipients.iter().filter_map(|path| address(path).map(Recipient::from)).collect();
    let mut envelope = Envelope { sender: address(&judge.sender), recipients, ..Envelope::default() };
    envelope.parameters.eight_bit = !raw.is_ascii();
    let all = judge.recipients.iter().chain([&judge.sender]);
    envelope.parameters.smtputf8 = all.into_iter().any(|path| !path.address.is_ascii());
    envelope
}

/// Whether the addresses may be told to a next hop. As long as the client sends the message on that is its own matter.
fn envelope_is_sendable(envelope: &Envelope) -> bool {
    let recipients = envelope.recipients.iter().map(|recipient| &recipient.address);
    let is_fine = |address: &Address| {
        let text = address.to_string();
        check_address(&text).is_ok() || text.eq_ignore_ascii_case("postmaster")
    };
    recipients.chain(&envelope.sender).all(is_fine)
}

fn session(front: &Front, judge: &Judge, envelope: &Envelope) -> Session {
    let bank = |name: &str| judge.policy_banks.iter().any(|bank| bank.eq_ignore_ascii_case(name));
    let protocol = judge.protocol_name.to_ascii_uppercase();
    let mut session = Session {
        client: judge.client_address,
        port: judge.client_port,
        client_name: Some(judge.client_name.clone()).filter(|name| !name.is_empty()),
        helo: judge.helo_name.clone(),
        protocol: match protocol.as_str() {
            // Postfix does not tell milters; who hands in a message of its own has no client.
            "" if judge.client_address.is_none() => Protocol::Local,
            "" | "SMTP" => Protocol::Smtp,
            name if name.contains("LMTP") => Protocol::Lmtp,
            _ => Protocol::Esmtp,
        },
        // The protocol does not tell the name.
        user: bank("SMTP_AUTH").then(|| "authenticated".to_owned()),
        listener: front.listener.name.clone(),
        ..Session::default()
    };
    front.direct(&mut session, &envelope.recipients);
    let ours = bank("ORIGINATING") || bank("MYNETS");
    if ours && session.direction == Direction::Inbound && !front.domains.is_empty() {
        session.direction =
            direction::with_recipients(Direction::Outbound, &envelope.recipients, &front.domains);
    }
    session
}

/// Gives a message back, but not where its body is to be changed: AM.PDP has no words for that.
struct Hand(HandBack);

impl Carrier for Hand {
    fn name(&self) -> String {
        self.0.name()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        if shipment.edits.iter().any(|edit| matches!(edit, Edit::ReplacePart { .. })) {
            let text = "An attachment of this message is not let in, and cannot be taken out here";
            return Box::pin(async move { vec![Reply::new(554, "5.6.1", text)] });
        }
        self.0.carry(shipment)
    }

    fn hold(&mut self, reason: &str) -> bool {
        self.0.hold(reason)
    }
}

/// Sends a message on, where the client does not.
struct Courier<'a> {
    front: &'a Front,
    session: Session,
    envelope: Envelope,
}

impl Carrier for Courier<'_> {
    fn name(&self) -> String {
        self.front.hops.to_string()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        let named = |&place: &usize| {
            let mut recipient = self.envelope.recipients.get(place)?.clone();
            if let Some(extension) = shipment.extension {
                recipient.address = recipient.address.with_extension(extension);
            }
            Some(recipient)
        };
        let recipients = shipment.recipients.iter().filter_map(named).collect();
        let envelope = Envelope { recipients, ..self.envelope.clone() };
        Box::pin(async move { self.front.hops.send(&self.session, &envelope, &shipment.chunks()).await })
    }
}

/// What becomes of a message in the client's words.
fn given_back(judge: &Judge, fate: Fate, conclusion: &Conclusion, id: String) -> Decided {
    match fate {
        Fate::Reply(reply) => Decided::from_reply(Some(id), reply),
        Fate::Discard => Decided::from_reply(Some(id), conclusion.one.clone()),
        Fate::Hold(reason) => {
            let reply = Reply::new(250, "2.5.0", format!("Ok, id={id}, held by the mail server"));
            let mut changes = Response::new();
            changes.quarantine(&reason);
            Decided { id: Some(id), reply, changes, value: ReturnValue::Continue }
        }
        Fate::Continue { recipients, changes, .. } => {
            let reply = Reply::new(250, "2.5.0", format!("Ok, id={id}, continue delivery"));
            let changes = instructions(&judge.recipients, &recipients, &changes);
            Decided { id: Some(id), reply, changes, value: ReturnValue::Continue }
        }
    }
}

fn instructions(all: &[Path], onward: &[Onward], changes: &Changes) -> Response {
    let mut response = Response::new();
    for (place, path) in all.iter().enumerate() {
        let extension = match onward.iter().find(|onward| onward.place == place) {
            Some(Onward { extension: None, .. }) => continue,
            Some(Onward { extension, .. }) => extension.as_deref(),
            None => None,
        };
        response.delete_recipient(&path.given);
        if let (Some(extension), Some(address)) = (extension, Address::new(&path.address)) {
            response.add_recipient(&address.with_extension(extension).to_string());
        }
    }
    let mut top = Vec::new();
    for change in &changes.headers {
        match change {
            HeaderChange::Change { name, nth, value } => response.change_header(nth + 1, name, value),
            HeaderChange::Remove { name, nth } => response.delete_header(nth + 1, name),
            HeaderChange::Insert { place: Place::Top, name, value } => top.push((name, value)),
            HeaderChange::Insert { place: Place::Bottom, .. } => {}
        }
    }
    // Each goes above the one before.
    for (name, value) in top.into_iter().rev() {
        response.insert_header(TOP, name, value);
    }
    for change in &changes.headers {
        if let HeaderChange::Insert { place: Place::Bottom, name, value } = change {
            response.add_header(name, value);
        }
    }
    response
}
