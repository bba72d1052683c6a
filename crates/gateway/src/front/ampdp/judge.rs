//! A message is asked about: read from its file, judged, and given back as instructions; or sent on by us, where the
//! client leaves that to the server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Address, Changes, Direction, Envelope, HeaderChange, Place, Protocol, Recipient, Reply, Session,
};
use gatepost_wire::ampdp::{Judge, Path, Response, ReturnValue};
use gatepost_wire::smtp::{StrayReport, check_address};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::file::{self, FileError, Reading};
use super::{Answer, failure};
use crate::config::typed::HoldIn;
use crate::front::handback::{Fate, Form, HandBack, Onward};
use crate::front::{Front, direction, local};
use crate::pipeline::{Arrival, Carrier, Shipment};
use crate::records::text;
use crate::verdict::{Answers, Conclusion};

/// Where fields go that shall stand above all others: below the mail server's own Received field, which Sendmail counts
/// as the first. It is amavis's place for them, too.
const TOP: usize = 1;

/// Files that are read or removed at once, over all sessions. A file system that hangs keeps no more threads than these.
static FILES: Semaphore = Semaphore::const_new(16);

/// Judges a message and tells the client what to do with it. `peer` is None on unix sockets.
pub(super) async fn answer(front: &Front, peer: Option<SocketAddr>, judge: Judge) -> Answer {
    if !judge.unknown.is_empty() {
        tracing::debug!("AM.PDP attributes without a meaning: {:?}", judge.unknown);
    }
    let refused = |why: &dyn fmt::Display| {
        let (listener, queue_id) = (&front.listener.name, &judge.queue_id);
        tracing::warn!(listener, queue_id, client = ?peer, "AM.PDP request is put off: {why}");
        Answer::wrong(failure(&why.to_string()))
    };
    let began = Instant::now();
    let envelope = match may_be(peer, &judge).and_then(|()| envelope(&judge, front.limits.recipients)) {
        Ok(envelope) => envelope,
        Err(why) => return refused(&why),
    };
    let (raw, stray) = match read(front, &judge).await {
        Ok(read) => read,
        Err(error) => return refused(&error),
    };
    let decided = decide(front, &judge, envelope, (raw, stray), began).await;
    // A client that is to come again may need the file.
    if judge.server_removes && decided.value != ReturnValue::TempFail {
        remove(front, &judge).await;
    }
    Answer::good(decided.response())
}

/// Mail is sent, and files are removed, for those alone who may enter a unix socket's folder: over TCP it would be for
/// everybody on this host, and nothing in the request shows who asks.
fn may_be(peer: Option<SocketAddr>, judge: &Judge) -> Result<(), String> {
    match peer {
        Some(_) if judge.server_delivers => Err("delivery_care_of=server is for unix sockets only".into()),
        Some(_) if judge.server_removes => Err("tempdir_removed_by=server is for unix sockets only".into()),
        _ => Ok(()),
    }
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

async fn decide(
    front: &Front,
    judge: &Judge,
    mut envelope: Envelope,
    (raw, stray): (Bytes, StrayReport),
    began: Instant,
) -> Decided {
    if stray.over_limit {
        return Decided::from_reply(None, Reply::new(552, "5.3.4", "Message too big"));
    }
    if stray.refused {
        return Decided::from_reply(None, Reply::new(550, "5.5.2", "Message has bare CR or LF"));
    }
    envelope.parameters.eight_bit = !raw.is_ascii();
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
        unmended: None,
        early,
        answers,
        after_queue: false,
        receiving: began.elapsed(),
    };
    let judged = front.pipeline.judge(arrival).await;
    let id = judged.id.clone();
    if judge.server_delivers {
        // Who the user is was never told: the next hop must not hear of one.
        let session = Session { user: None, ..session };
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
        stray: front.limits.stray_line_endings.into(),
        spool: front.spool.clone(),
    };
    let path = judge.mail_file.clone();
    let time = front.limits.message_time.duration();
    in_time(time, &FILES, move || file::read(&path, &reading)).await
}

/// Work with files, away from the threads that serve sessions. What takes too long is left to itself, and keeps its
/// permit until it ends.
async fn in_time<T: Send + 'static>(
    time: Duration,
    permits: &'static Semaphore,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let broken = |error: &dyn fmt::Display| FileError::Spool(io::Error::other(error.to_string()));
    let working = async {
        let permit = permits.acquire().await.map_err(|error| broken(&error))?;
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        working.await.unwrap_or_else(|error| Err(broken(&error)))
    };
    timeout(time, working).await.unwrap_or(Err(FileError::Slow))
}

async fn remove(front: &Front, judge: &Judge) {
    let (folders, path, tempdir) =
        (front.listener.mail_folders.clone(), judge.mail_file.clone(), judge.tempdir.clone());
    let time = front.limits.data_time.duration();
    let removing = in_time(time, &FILES, move || file::remove(&path, tempdir.as_deref(), &folders));
    if let Err(error) = removing.await {
        tracing::warn!(
            listener = front.listener.name,
            "AM.PDP: a file that we were to remove stays: {error}"
        );
    }
}

/// The envelope; every recipient is in it at its place in the request, which instructions go by.
fn envelope(judge: &Judge, most: u32) -> Result<Envelope, String> {
    if judge.recipients.len() > most as usize {
        return Err(format!("more than {most} recipients (limits.recipients)"));
    }
    let address = |path: &Path| {
        Address::new(&path.address)
            .ok_or_else(|| format!("<{}> is no address", text::clean(&path.address, 100)))
    };
    let sender = match judge.sender.address.as_str() {
        "" => None,
        _ => Some(address(&judge.sender)?),
    };
    let recipients: Result<Vec<Recipient>, String> =
        judge.recipients.iter().map(|path| address(path).map(Recipient::from)).collect();
    let mut envelope = Envelope { sender, recipients: recipients?, ..Envelope::default() };
    let all = judge.recipients.iter().chain([&judge.sender]);
    envelope.parameters.smtputf8 = all.into_iter().any(|path| !path.address.is_ascii());
    Ok(envelope)
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
        if shipment.needs_body {
            let text = "An attachment of this message is not let in, and cannot be taken out here";
            return Box::pin(async move { vec![Reply::new(554, "5.6.1", text)] });
        }
        let edits = local::of_header(shipment.edits);
        Box::pin(async move { self.0.carry(Shipment { edits: &edits, ..shipment }).await })
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
    let mut kept = vec![None; all.len()];
    for onward in onward {
        if let Some(kept) = kept.get_mut(onward.place) {
            *kept = Some(onward.extension.as_deref());
        }
    }
    for (path, kept) in all.iter().zip(kept) {
        let extension = match kept {
            Some(None) => continue,
            Some(extension) => extension,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(sender: &str, recipients: &[&str]) -> Judge {
        let path = |text: &str| Path::new(text.as_bytes().to_vec()).unwrap();
        Judge {
            sender: path(sender),
            recipients: recipients.iter().map(|text| path(text)).collect(),
            ..Judge::default()
        }
    }

    #[test]
    fn no_address_is_left_out() {
        for (sender, recipients, expected) in [
            ("<>", &["<a@b.test>", "c@d.test"][..], ""),
            ("<a@b.test>", &["<a@b.test>"], ""),
            ("<\u{a0}>", &["<a@b.test>"], "is no address"),
            ("<>", &["<\u{a0}>", "<a@b.test>"], "is no address"),
            ("<>", &["a@b.test", "a@b.test", "c@d.test", "e@f.test"], "more than 3 recipients"),
        ] {
            match envelope(&judge(sender, recipients), 3) {
                Ok(envelope) => {
                    assert!(expected.is_empty() && envelope.recipients.len() == recipients.len(), "{sender}");
                }
                Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{why}"),
            }
        }
    }

    #[test]
    fn recipients_are_named_by_their_place() {
        let judge = judge("<>", &["<a@b.test>", "<c@d.test>", "<e@f.test>", "<g@h.test>"]);
        let onward =
            |place, extension: Option<&str>| Onward { place, extension: extension.map(str::to_owned) };
        let onward = [onward(3, Some("+x")), onward(0, None), onward(9, None)];
        let said = instructions(&judge.recipients, &onward, &Changes::default()).finish();
        let said = String::from_utf8(said).unwrap();
        let expected =
            "delrcpt=<c@d.test>\r\ndelrcpt=<e@f.test>\r\ndelrcpt=<g@h.test>\r\naddrcpt=<g+x@h.test>\r\n\r\n";
        assert_eq!(said, expected);
    }

    /// A file system that hangs keeps neither the session nor more threads than there are permits.
    #[tokio::test]
    async fn files_have_their_time() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        let (release, hanging) = std::sync::mpsc::channel::<()>();
        let hang = move || {
            let _ = hanging.recv();
            Ok(())
        };
        assert!(matches!(in_time(short, &ONE, hang).await, Err(FileError::Slow)));
        assert_eq!(ONE.available_permits(), 0);
        assert!(matches!(in_time(short, &ONE, || Ok(())).await, Err(FileError::Slow)));
        drop(release);
        assert!(in_time(long, &ONE, || Ok(())).await.is_ok());
    }
}
