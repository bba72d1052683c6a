//! Milter: Sendmail or Postfix asks about each message while its sender is on the line, and carries it on itself.
//!
//! The protocol's state is `gatepost-milter`'s. Here is one loop that reads, one match that answers, one method an
//! event. The mail server is responsible for the message all the time, so whatever goes wrong here, nothing is lost:
//! what becomes of mail while nobody answers is the mail server's own setting (`milter_default_action`, `F=`).

mod content;
mod facts;
mod hand;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gatepost_mail::{Address, Cause, Envelope, Fault, OnFault, Reply, Session as Client};
use gatepost_milter::{Actions, Error, Event, NotNow, Response, Session, Steps, SymbolStage, Wanted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use self::content::{Collected, Content, Failure};
use super::Front;
use super::early::Early;
use super::handback::{Form, HandBack};
use super::listen::Place;
use crate::checks::Found;
use crate::config::typed::{HoldIn, Mixed};
use crate::pipeline::{Admitted, Arrival, Asked};
use crate::resources::net::Stream;
use crate::verdict::{Answers, PolicyId, Stage};

/// How long the mail server may have nothing to say: its client is on the line and takes its time. libmilter waits as
/// long.
const IDLE: Duration = Duration::from_secs(7210);

/// While a message is judged, the mail server hears of us this often. Sendmail gives up after 10 s without a word, if
/// nothing else is configured, Postfix after 300 s.
const PROGRESS: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(3) };

/// How long a command before the message waits for what is asked about client and sender, and then about the recipient.
/// Sendmail gives up after 10 s where its `INPUT_MAIL_FILTER` line names no `T=`, and lets the whole session pass unseen
/// where its `F=` says nothing; both hardly ever take their time in one RCPT. A check that is not done by then has failed,
/// as far as restrictions go by it; for the message, what is asked about client and sender is waited for at its end, where
/// we can show progress.
const WAIT: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(7) };

/// Most recipients of a message, and most octets of them. The mail server has limits of its own, and some of the mail
/// that it asks about must not be refused at RCPT; these are for our memory.
const RECIPIENTS: usize = 100_000;
const RECIPIENT_OCTETS: usize = 8 << 20;

/// Output is sent when there is more of it.
const CHUNK: usize = 64 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, peer: Option<SocketAddr>, place: Place) {
    let mut server = Server {
        stream,
        input: BytesMut::with_capacity(2048),
        output: Vec::with_capacity(256),
        protocol: Session::new(),
        client: facts::nobody(&front),
        early: Early::default(),
        message: None,
        draining: front.draining.clone(),
        front,
    };
    match server.run().await {
        Ok(()) | Err(End::Closed) => {}
        Err(End::Protocol(error)) => {
            tracing::warn!(listener = server.front.listener.name, ?peer, "milter: {error}");
        }
        Err(end) => tracing::debug!(listener = server.front.listener.name, ?peer, "milter ended: {end:?}"),
    }
    drop(place);
}

/// Why a connection ends without QUIT.
#[derive(Debug)]
enum End {
    /// The mail server went away, or its connection failed.
    Closed,
    /// It was silent for too long.
    Timeout,
    /// The daemon stops and no message was under way.
    Draining,
    /// It does not speak the protocol.
    Protocol(Error),
    /// We tried to say what cannot be said now; a mistake of ours.
    NotNow,
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Closed
    }
}

impl From<NotNow> for End {
    fn from(error: NotNow) -> End {
        tracing::error!("milter: {error}; please report it");
        End::NotNow
    }
}

type Step = Result<(), End>;

/// One mail server's connection.
struct Server {
    front: Arc<Front>,
    stream: Stream,
    input: BytesMut,
    output: Vec<u8>,
    protocol: Session,
    /// Who is on the line there.
    client: Client,
    early: Early,
    message: Option<Message>,
    draining: watch::Receiver<bool>,
}

/// A message under way.
struct Message {
    envelope: Envelope,
    /// Recipients as the mail server wrote them, to delete them by.
    told: Vec<Bytes>,
    /// Octets of those with their parameters.
    octets: usize,
    /// What checks found about recipients.
    found: Found,
    /// Places of recipients that checks were not asked about yet.
    unchecked: BTreeSet<usize>,
    /// Policy of the first recipient, where a transaction may have only one.
    policy: Option<PolicyId>,
    content: Option<Content>,
    began: Instant,
}

impl Server {
    async fn run(&mut self) -> Step {
        loop {
            while let Some(event) = self.protocol.event(&mut self.input).map_err(End::Protocol)? {
                if matches!(event, Event::Quit { reuse: false }) {
                    return Ok(());
                }
                self.event(event).await?;
                if self.output.len() >= CHUNK {
                    self.flush().await?;
                }
            }
            self.fill().await?;
        }
    }

    async fn event(&mut self, event: Event) -> Step {
        match event {
            Event::Negotiate(_) => return self.negotiate(),
            Event::Connect(connect) => {
                self.client = facts::client(&self.front, &connect, self.protocol.macros());
                self.front.direct(&mut self.client, &[]);
                self.early = Early::default();
                self.early.connect(&self.front, &self.client).await;
                return self.early_answer(Stage::Connect).await;
            }
            Event::Helo(name) => {
                self.message = None;
                self.client.helo = String::from_utf8_lossy(&name).into_owned();
                facts::tls(&mut self.client, self.protocol.macros());
                self.early.forget_hello();
                self.early.hello(&self.front, &self.client).await;
                return self.early_answer(Stage::Hello).await;
            }
            Event::Mail(arguments) => return self.mail(&arguments).await,
            Event::Rcpt(arguments) => return self.rcpt(&arguments).await,
            Event::Header { name, value } => self.content().header(&name, &value),
            Event::EndOfHeader => self.content().body(&[]),
            Event::Body(data) => self.content().body(&data),
            Event::EndOfMessage => return self.complete().await,
            Event::Abort => self.message = None,
            Event::Quit { .. } => {
                self.message = None;
                self.client = facts::nobody(&self.front);
                self.early = Early::default();
            }
            Event::Data | Event::Unknown(_) => {}
        }
        match self.failure() {
            Some(reply) => self.not_judged(&reply),
            None => self.go_on(),
        }
    }

    /// Only what is needed: no step that nothing is done with, and no reply where none can be given.
    fn negotiate(&mut self) -> Step {
        let mut wanted = Wanted {
            actions: Actions::ADD_HEADERS
                | Actions::CHANGE_HEADERS
                | Actions::CHANGE_BODY
                | Actions::ADD_RECIPIENTS
                | Actions::ADD_RECIPIENTS_WITH_PARAMETERS
                | Actions::DELETE_RECIPIENTS
                | Actions::SET_SYMBOLS,
            steps: Steps::NO_DATA
                | Steps::NO_UNKNOWN
                | Steps::NO_REPLY_HEADER
                | Steps::NO_REPLY_END_OF_HEADER
                | Steps::HEADER_LEADING_SPACE,
            symbols: [
                (SymbolStage::Connect, "{client_resolve}"),
                (SymbolStage::Helo, "{tls_version} {cipher}"),
                (SymbolStage::Mail, "{auth_authen} {tls_version} {cipher} r"),
                (SymbolStage::Rcpt, "i"),
                (SymbolStage::EndOfHeader, "i"),
                (SymbolStage::EndOfMessage, "i"),
            ]
            .map(|(stage, names)| (stage, Bytes::from_static(names.as_bytes())))
            .to_vec(),
        };
        if self.front.listener.quarantine == HoldIn::Mta {
            wanted.actions |= Actions::QUARANTINE;
        }
        if self.front.listener.delay_reject {
            wanted.steps |= Steps::NO_REPLY_CONNECT | Steps::NO_REPLY_HELO | Steps::NO_REPLY_MAIL;
        }
        let agreed = self.protocol.negotiate(&wanted, &mut self.output)?;
        tracing::debug!(version = agreed.version, actions = ?agreed.actions, steps = ?agreed.steps, "milter");
        Ok(())
    }

    // The envelope.

    async fn mail(&mut self, arguments: &[Bytes]) -> Step {
        facts::user(&mut self.client, self.protocol.macros());
        self.front.direct(&mut self.client, &[]);
        let envelope = facts::envelope(arguments);
        self.early.sender(&self.front, &self.client, &envelope).await;
        self.message = Some(Message { envelope, ..Message::of_nobody() });
        self.early_answer(Stage::Sender).await
    }

    async fn rcpt(&mut self, arguments: &[Bytes]) -> Step {
        let front = self.front.clone();
        let Some(recipient) = facts::recipient(arguments) else {
            return self.refuse(&Reply::new(501, "5.1.3", "Recipient is empty"));
        };
        let message = self.message.get_or_insert_with(Message::of_nobody);
        let octets = message.octets + arguments.iter().map(Bytes::len).sum::<usize>();
        if message.told.len() >= RECIPIENTS || octets > RECIPIENT_OCTETS {
            return self.refuse(&Reply::new(452, "4.5.3", "Too many recipients"));
        }
        let submitted = facts::is_local_submission(&self.client);
        let sender = message.envelope.sender.as_ref();
        let policy = front.pipeline.policies.find(&self.client, sender, &recipient.address);
        let other = message.policy.is_some_and(|first| first != policy);
        if front.listener.mixed == Mixed::DeferOthers && other && !submitted {
            let text = "One policy at a time; send this recipient again";
            return self.refuse(&Reply::new(452, "4.5.3", text));
        }
        let known = self.early.known_within(WAIT).await;
        self.client.client_name = self.client.client_name.take().or(known.client_name.clone());
        let mut session = self.client.clone();
        front.direct(&mut session, std::slice::from_ref(&recipient));
        let place = message.told.len();
        let admitted = match submitted {
            true => Admitted::default(),
            false => {
                let asked = Asked {
                    stage: Stage::Recipient,
                    session: &session,
                    envelope: &message.envelope,
                    recipient: Some(&recipient),
                    known: &known,
                    wait: WAIT,
                };
                front.pipeline.admit(asked).await
            }
        };
        if let Some(reply) = admitted.refusal {
            front.metrics.refused_recipient();
            return self.refuse(&reply);
        }
        message.found.merge(admitted.found);
        // Mail of local programs is not refused at RCPT; what there is to say of it is asked at the end.
        if submitted {
            message.unchecked.insert(place);
        }
        message.policy.get_or_insert(policy);
        message.octets = octets;
        message.told.push(Bytes::copy_from_slice(&arguments[0]));
        message.envelope.recipients.push(recipient);
        self.go_on()
    }

    /// The answer to a command before RCPT, if there is to be one: what is known by now may be enough to refuse.
    async fn early_answer(&mut self, stage: Stage) -> Step {
        if !self.protocol.due() {
            return Ok(());
        }
        if !self.front.listener.delay_reject {
            let known = self.early.known_within(WAIT).await;
            let nobody = Envelope::default();
            let envelope = self.message.as_ref().map_or(&nobody, |message| &message.envelope);
            let asked =
                Asked { stage, session: &self.client, envelope, recipient: None, known: &known, wait: WAIT };
            if let Some(reply) = self.front.pipeline.admit(asked).await.refusal {
                return self.refuse(&reply);
            }
        }
        self.go_on()
    }

    // The message.

    fn content(&mut self) -> &mut Content {
        let front = &self.front;
        let message = self.message.get_or_insert_with(Message::of_nobody);
        message.content.get_or_insert_with(|| Content::new(front))
    }

    /// What is wrong with the message, if a reply can be given.
    fn failure(&self) -> Option<Reply> {
        if !self.protocol.due() {
            return None;
        }
        match self.message.as_ref()?.content.as_ref()?.failure()? {
            Failure::TooLarge => Some(Reply::new(552, "5.3.4", "Message is too large")),
            Failure::NoSpace => Some(no_space()),
        }
    }

    /// The end of a message.
    async fn complete(&mut self) -> Step {
        self.content().body(&[]);
        if let Some(reply) = self.failure() {
            return self.not_judged(&reply);
        }
        let mut message = self.message.take().unwrap_or_else(Message::of_nobody);
        let content = message.content.take().unwrap_or_else(|| Content::new(&self.front));
        let reply = match content.finish() {
            Err(error) => {
                tracing::error!(%error, folder = %self.front.spool.display(), "cannot hold a message");
                no_space()
            }
            Ok(collected) if collected.stray.refused => {
                Reply::new(550, "5.5.2", "Message has bare CR or LF; lines end in CRLF")
            }
            // All were refused, here or there; nobody would get it.
            Ok(_) if message.envelope.recipients.is_empty() => {
                Reply::new(554, "5.5.1", "No valid recipients")
            }
            Ok(collected) => return self.judge(message, collected).await,
        };
        self.message = Some(message);
        self.not_judged(&reply)
    }

    async fn judge(&mut self, message: Message, collected: Collected) -> Step {
        let front = self.front.clone();
        let mut session = self.client.clone();
        front.direct(&mut session, &message.envelope.recipients);
        let queue_id = self.protocol.macros().text("i").unwrap_or_default().into_owned();
        tracing::debug!(queue_id, octets = collected.raw.len(), "milter: a message to judge");
        let actions = self.protocol.agreed().actions;
        let mut known = std::mem::take(&mut self.early);
        let judging = async {
            let mut early = known.told().await;
            early.merge(message.checked(&front, &session).await);
            early.faults.extend(collected.fault());
            let arrival = Arrival {
                session,
                envelope: message.envelope.clone(),
                raw: collected.raw,
                stray: collected.stray,
                unmended: None,
                early,
                answers: Answers::OneCopy,
                after_queue: false,
                receiving: message.began.elapsed(),
            };
            let judged = front.pipeline.judge(arrival).await;
            let mut back = HandBack::new("mail server", Form::Instructions)
                .holding(actions.contains(Actions::QUARANTINE))
                .refusing(hand::lacking(&judged, &message.told, actions).await);
            let conclusion = front.pipeline.settle(&judged, Answers::OneCopy, &mut back).await;
            hand::responses(back.fate(&conclusion), &message.envelope, &message.told, actions)
        };
        let responses = self.meanwhile(judging).await?;
        self.early = known;
        self.hand_back(responses).await?;
        if self.input.is_empty() {
            // What a large message needed is not kept while nothing comes.
            self.input = BytesMut::with_capacity(2048);
        }
        Ok(())
    }

    /// Lets the mail server know that we are still at it. If it has gone away, what was begun is finished all the same:
    /// half of it done would be a message in the vault that no record speaks of.
    async fn meanwhile<T>(&mut self, judging: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(judging);
        loop {
            if let Ok(judged) = timeout(PROGRESS, &mut judging).await {
                return Ok(judged);
            }
            self.protocol.respond(Response::Progress, &mut self.output)?;
            if let Err(end) = self.flush().await {
                judging.await;
                return Err(end);
            }
        }
    }

    /// Says what shall be done.
    async fn hand_back(&mut self, responses: Vec<Response>) -> Step {
        for response in responses {
            self.protocol.respond(response, &mut self.output)?;
            if self.output.len() >= CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    // Helpers of the dialogue.

    /// A message that is refused before it was looked at.
    fn not_judged(&mut self, reply: &Reply) -> Step {
        if let Some(Message { envelope, .. }) = self.message.take() {
            let client = self.client.client.map(|client| client.to_string()).unwrap_or_default();
            let sender = envelope.sender.as_ref().map(Address::to_string).unwrap_or_default();
            let recipients = envelope.recipients.len();
            tracing::info!("Blocked UNREAD, [{client}] <{sender}> -> {recipients} recipients: {reply}");
        }
        self.refuse(reply)
    }

    fn refuse(&mut self, reply: &Reply) -> Step {
        self.answer(hand::refusal(reply))
    }

    fn go_on(&mut self) -> Step {
        self.answer(Response::Continue)
    }

    fn answer(&mut self, response: Response) -> Step {
        if self.protocol.due() {
            self.protocol.respond(response, &mut self.output)?;
        }
        Ok(())
    }

    /// Sends what is to be said and waits for more. Where no message is under way, a stopping daemon ends it.
    async fn fill(&mut self) -> Step {
        self.flush().await?;
        let content = self.message.as_ref().and_then(|message| message.content.as_ref());
        let time = content.map_or(IDLE, |content| content.time(&self.front.limits));
        let idle = !self.protocol.in_message();
        let stopping = async {
            if !idle || self.draining.wait_for(|draining| *draining).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        self.input.reserve(if content.is_some() { CHUNK } else { 2048 });
        tokio::select! {
            read = timeout(time, self.stream.read_buf(&mut self.input)) => match read {
                Err(_) => Err(End::Timeout),
                Ok(Ok(0)) => Err(End::Closed),
                Ok(read) => Ok(read.map(|_| ())?),
            },
            () = stopping => Err(End::Draining),
        }
    }

    async fn flush(&mut self) -> Step {
        if self.output.is_empty() {
            return Ok(());
        }
        // Taken first: what may have gone out in part must not go out again.
        let mut output = std::mem::take(&mut self.output);
        let writing = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        timeout(self.front.limits.data_time.duration(), writing).await.map_err(|_| End::Timeout)??;
        output.clear();
        output.shrink_to(CHUNK);
        self.output = output;
        Ok(())
    }
}

impl Message {
    /// Where the mail server has not said MAIL.
    fn of_nobody() -> Message {
        Message {
            envelope: Envelope::default(),
            told: Vec::new(),
            octets: 0,
            found: Found::default(),
            unchecked: BTreeSet::new(),
            policy: None,
            content: None,
            began: Instant::now(),
        }
    }

    /// What checks found about recipients. Those that they were not asked about are asked about now, for as long as judging
    /// may take.
    async fn checked(&self, front: &Front, session: &Client) -> Found {
        let mut found = self.found.clone();
        let time = front.pipeline.judging_time();
        let asking = async {
            for &place in &self.unchecked {
                let before = Envelope {
                    recipients: self.envelope.recipients[..place].to_vec(),
                    sender: self.envelope.sender.clone(),
                    parameters: self.envelope.parameters.clone(),
                };
                let recipient = &self.envelope.recipients[place];
                found.merge(front.pipeline.checks.recipient(session, &before, recipient, time).await);
            }
        };
        if timeout(time, asking).await.is_err() {
            found.faults.push(Fault {
                check: "recipients".into(),
                cause: Cause::Timeout,
                detail: format!("not done within {} s", time.as_secs()),
                answer: OnFault::Defer,
            });
        }
        found
    }
}

fn no_space() -> Reply {
    Reply::new(452, "4.3.1", "Insufficient system storage, please try again later")
}
