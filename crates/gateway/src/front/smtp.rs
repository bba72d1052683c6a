//! SMTP and LMTP: a session in lockstep with the next hop (RFC 5321, RFC 2033).
//!
//! One loop reads commands, one match answers them, one method a verb. Nothing is decided here: recipients are the
//! next hop's to take or refuse, messages the pipeline's.

mod auth;
mod carrier;
mod parameters;
mod protect;
mod talk;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gatepost_mail::{Address, Direction, Envelope, Parameters, Protocol, Recipient, Reply, Session, Via};
use gatepost_wire::proxy;
use gatepost_wire::smtp::{
    self, BdatDecoder, Command, DataDecoder, Line, LineReader, MailFrom, RcptTo, Stray, StrayReport,
};
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::carrier::Lockstep;
use self::parameters::{apply, mail_parameters, recipient, syntax_error};
use super::early::Early;
use super::listen::Place;
use super::spool::Spool;
use super::{Front, direction};
use crate::checks::Found;
use crate::config::typed::{Listener, ListenerProtocol, Mixed, StrayLineEndings};
use crate::config::units::Net;
use crate::effects::relay::{AUTH_LINE, Login, Transaction};
use crate::pipeline::{Arrival, Asked};
use crate::resources::net::Stream;
use crate::verdict::{Answers, Conclusion, PolicyId, Stage};

/// Longest command line; RFC 5321 section 4.5.3.1.4 asks for 512, extensions for more.
const LINE: usize = 4096;

/// Longest that RCPT waits for what is asked about client, sender and recipient; every check gives up long before.
const LONG: Duration = Duration::from_secs(60);

/// Bytes asked of the socket at once while a message comes.
const CHUNK: usize = 64 * 1024;

/// Serves one connection to its end. `peer` is None on unix sockets. `early` says that the client has already spoken.
pub(super) async fn serve(
    front: Arc<Front>,
    stream: Stream,
    peer: Option<SocketAddr>,
    early: bool,
    place: Place,
) {
    let session = Session {
        client: peer.map(|peer| peer.ip().to_canonical()),
        port: peer.map_or(0, |peer| peer.port()),
        listener: front.listener.name.clone(),
        ..Session::default()
    };
    let mut client = Client {
        front: &front,
        peer: session.client,
        stream,
        input: BytesMut::with_capacity(2048),
        output: Vec::with_capacity(512),
        lines: LineReader::new(if front.listener.auth { AUTH_LINE } else { LINE }),
        session,
        before_xforward: None,
        login: None,
        logged_in: false,
        phase: Phase::Silent,
        early: Early::default(),
        errors: 0,
        put_off: 0,
        refused: 0,
        suspect: false,
        penalty: Duration::ZERO,
        idle: 0,
        messages: 0,
        draining: front.draining.clone(),
        place,
    };
    let end = client.run(early).await;
    if let Phase::Open(open) = std::mem::replace(&mut client.phase, Phase::Ready) {
        client.close(open.transaction).await;
    }
    if let Some(login) = client.login.take() {
        login.quit().await;
    }
    if let Err(end) = end {
        let client_address = client.session.client;
        tracing::debug!(client = ?client_address, helo = client.session.helo, "session ended: {end:?}");
        let reply = match end {
            End::Closed => return,
            End::Timeout => Reply::new(421, "4.4.2", format!("{} Timeout, closing", front.hostname)),
            End::Draining => Reply::new(421, "4.3.2", format!("{} Service is going down", front.hostname)),
            End::Told => return client.say_last().await,
        };
        client.reply(&reply);
        client.say_last().await;
    }
}

/// Why a session ends without QUIT.
#[derive(Debug)]
enum End {
    /// The client went away, or its connection failed.
    Closed,
    /// It was silent for too long.
    Timeout,
    /// The daemon stops and the client had nothing under way.
    Draining,
    /// The client has been told already; the reply only needs to go out.
    Told,
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Closed
    }
}

struct Client<'a> {
    front: &'a Arc<Front>,
    /// Who is really at the other end, whom we trust or not to speak for others.
    peer: Option<IpAddr>,
    stream: Stream,
    input: BytesMut,
    output: Vec<u8>,
    lines: LineReader,
    session: Session,
    /// The session as it was before XFORWARD, which holds for one message only.
    before_xforward: Option<Session>,
    /// The connection on which the client logs in at the next hop; while a user's transaction is open, that has it.
    login: Option<Login<'a>>,
    /// The next hop knows the user by that connection.
    logged_in: bool,
    phase: Phase<'a>,
    /// What checks say of client, hello and sender.
    early: Early,
    errors: u32,
    /// Recipients that were told to come in another transaction.
    put_off: u32,
    /// Recipients that were refused for good.
    refused: u32,
    /// Something is known of the client that makes its refusals late.
    suspect: bool,
    /// How long the next reply takes at least.
    penalty: Duration,
    idle: u32,
    messages: u32,
    draining: watch::Receiver<bool>,
    place: Place,
}

/// Where in the dialogue we are. RCPT, DATA and BDAT have no meaning outside [`Phase::Open`].
enum Phase<'a> {
    /// No HELO yet.
    Silent,
    /// Ready for MAIL.
    Ready,
    /// MAIL was taken, here and by the next hop.
    Open(Box<Open<'a>>),
}

struct Open<'a> {
    envelope: Envelope,
    transaction: Transaction<'a>,
    /// What checks found about recipients.
    found: Found,
    /// Policy of the first recipient, where a transaction may have only one.
    policy: Option<PolicyId>,
    /// What BDAT has brought so far.
    chunks: Option<Chunks>,
    began: Instant,
}

struct Chunks {
    decoder: BdatDecoder,
    spool: Spool,
    /// When the whole message must have arrived.
    deadline: Instant,
}

type Step = Result<(), End>;

impl<'a> Client<'a> {
    async fn run(&mut self, mut early: bool) -> Step {
        if self.trusted(&self.front.listener.proxy_protocol_from) {
            self.read_proxy_header().await?;
            early = !self.input.is_empty();
        }
        let delay = self.banner_delay().await?;
        if self.talks_early(early, delay).await? {
            return self.last_reply(Reply::new(554, "5.5.1", "You spoke before it was your turn"));
        }
        self.session.direction = self.direction();
        if let Some(refusal) = self.refused_at(Stage::Connect).await {
            let code = if refusal.is_transient() { 421 } else { 554 };
            return self.last_reply(Reply { code, ..refusal });
        }
        self.banner();
        loop {
            self.serve_penalty().await?;
            self.still_logged_in()?;
            let line = self.line().await?;
            let line = match line {
                Line::Line(line) => line,
                Line::BareLf(line) if self.front.limits.stray_line_endings == StrayLineEndings::Normalize => {
                    line
                }
                Line::BareLf(line) => {
                    if auth::is_secret(&line) {
                        self.wipe(line);
                    }
                    return self.last_reply(Reply::new(500, "5.5.2", "Lines end in CRLF"));
                }
                // It may have been a BDAT, whose chunk must not be read as commands.
                _ => return self.last_reply(Reply::new(500, "5.5.2", "Line too long")),
            };
            let parsed = smtp::parse(&line);
            let is_bdat = line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"BDAT");
            if auth::is_secret(&line) {
                self.wipe(line);
            }
            match parsed {
                Ok(Command::Auth { mechanism, initial }) => {
                    self.auth(&mechanism, initial.map(Zeroizing::new)).await?;
                }
                Ok(Command::Quit) => {
                    self.reply(&Reply::new(221, "2.0.0", "Bye"));
                    return Err(End::Told);
                }
                Ok(command) => self.command(command).await?,
                // Its chunk follows, and nobody knows how long it is: what comes next must not be read as commands.
                Err(error) if is_bdat => {
                    return self.last_reply(syntax_error(error));
                }
                Err(error) => self.error(syntax_error(error))?,
            }
        }
    }

    async fn command(&mut self, command: Command) -> Step {
        let lmtp = self.lmtp();
        match command {
            Command::Helo(name) if !lmtp => self.hello(Protocol::Smtp, name).await,
            Command::Ehlo(name) if !lmtp => self.hello(Protocol::Esmtp, name).await,
            Command::Lhlo(name) if lmtp => self.hello(Protocol::Lmtp, name).await,
            Command::Helo(_) | Command::Ehlo(_) => {
                self.error(Reply::new(500, "5.5.1", "This is LMTP: say LHLO"))
            }
            Command::Lhlo(_) => self.error(Reply::new(500, "5.5.1", "This is SMTP: say EHLO")),
            Command::Mail(mail) => self.mail(mail).await,
            Command::Rcpt(rcpt) => self.rcpt(rcpt).await,
            Command::Data => self.data().await,
            Command::Bdat { size, last } => self.bdat(size, last).await,
            Command::Rset => {
                self.reset().await;
                self.idle(Reply::new(250, "2.0.0", "Ok"))
            }
            Command::Noop => self.idle(Reply::new(250, "2.0.0", "Ok")),
            Command::Help => self.idle(Reply::new(214, "2.0.0", "See RFC 5321")),
            Command::Vrfy(_) => self.idle(Reply::new(252, "2.5.2", "Cannot VRFY user; try RCPT")),
            Command::Expn(_) => self.idle(Reply::new(502, "5.7.0", "Sorry, we do not allow this operation")),
            Command::Etrn(_) => self.idle(Reply::new(502, "5.7.0", "Sorry, we do not allow this operation")),
            Command::StartTls => self.start_tls().await,
            Command::Xclient(attributes) => self.xclient(attributes).await,
            Command::Xforward(attributes) => self.xforward(attributes),
            // These two are seen to before.
            Command::Quit | Command::Auth { .. } => Ok(()),
            Command::Unknown(_) => self.error(Reply::new(500, "5.5.2", "Command not recognized")),
        }
    }

    // Before the first command.

    /// A balancer says who is behind it (the PROXY protocol). Without that nobody can be judged.
    async fn read_proxy_header(&mut self) -> Step {
        loop {
            match proxy::parse(&mut self.input) {
                Ok(Some(header)) => {
                    if let Some(source) = header.source {
                        self.session.client = Some(source.ip().to_canonical());
                        // What the balancer may do, its clients may not.
                        self.peer = self.session.client;
                        if !self.place.belongs_to(source.ip().to_canonical(), self.front) {
                            tracing::warn!("Too many sessions, [{}] turned away", source.ip());
                            let text = "Too many sessions, please try again later";
                            return self.last_reply(Reply::new(421, "4.3.2", text));
                        }
                        self.session.port = source.port();
                        self.session.via = Via::Proxy;
                    }
                    return Ok(());
                }
                Ok(None) => self.fill(256).await?,
                Err(error) => {
                    tracing::warn!(peer = ?self.peer, %error, "no valid PROXY header from a balancer");
                    return Err(End::Closed);
                }
            }
        }
    }

    fn banner(&mut self) {
        let text = format!("{} {}", self.front.hostname, self.front.listener.banner);
        self.reply(&Reply::new(220, "", text.trim_end()));
    }

    // Greeting.

    async fn hello(&mut self, protocol: Protocol, name: String) -> Step {
        self.in_step()?;
        if !matches!(self.phase, Phase::Silent) {
            self.count_idle()?;
        }
        self.reset().await;
        self.session.helo = name;
        self.session.protocol = protocol;
        self.early.forget_hello();
        if let Some(refusal) = self.refused_at(Stage::Hello).await {
            self.phase = Phase::Silent;
            return self.error(refusal);
        }
        self.phase = Phase::Ready;
        if protocol == Protocol::Smtp {
            self.reply(&Reply::new(250, "", self.front.hostname.clone()));
            return Ok(());
        }
        let hops = &self.front.hops;
        let size = self.size_limit();
        let mut offers = vec![
            self.front.hostname.clone(),
            "PIPELINING".into(),
            format!("SIZE {size}"),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
            "CHUNKING".into(),
        ];
        if self.front.tls.is_some() && self.session.tls.is_none() {
            offers.push("STARTTLS".into());
        }
        offers.extend(self.auth_offer().await);
        if hops.offer(|offers| offers.smtputf8) {
            offers.push("SMTPUTF8".into());
        }
        if hops.offer(|offers| offers.dsn) {
            offers.push("DSN".into());
        }
        if protocol == Protocol::Esmtp {
            offers.push("PRDR".into());
        }
        if self.trusted(&self.front.listener.xclient_from) {
            offers.push("XCLIENT NAME ADDR PORT PROTO HELO LOGIN".into());
        }
        if self.trusted(&self.front.listener.xforward_from) {
            offers.push("XFORWARD NAME ADDR PORT PROTO HELO SOURCE".into());
        }
        self.reply(&Reply::new(250, "", offers.join("\n")));
        Ok(())
    }

    async fn start_tls(&mut self) -> Step {
        let Some(tls) = self.front.tls.clone() else {
            return self.error(Reply::new(502, "5.5.1", "TLS is not offered here"));
        };
        if self.session.tls.is_some() {
            return self.error(Reply::new(503, "5.5.1", "TLS is already there"));
        }
        // Commands sent in clear behind STARTTLS could be somebody else's (CVE-2011-0411).
        self.in_step()?;
        self.reset().await;
        self.reply(&Reply::new(220, "2.0.0", "Ready to start TLS"));
        self.flush().await?;
        let clear: Stream = Box::new(tokio::io::empty());
        let stream = std::mem::replace(&mut self.stream, clear);
        match timeout(self.front.limits.command_time.duration(), tls.accept(stream)).await {
            Ok(Ok((stream, facts))) => {
                self.stream = stream;
                self.session.tls = Some(facts);
                // What was said in clear is forgotten (RFC 3207 section 4.2).
                self.session.helo.clear();
                self.log_out().await;
                self.phase = Phase::Silent;
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::info!(client = ?self.session.client, %error, "TLS handshake failed");
                Err(End::Closed)
            }
            Err(_) => Err(End::Closed),
        }
    }

    async fn xclient(&mut self, attributes: Vec<(String, Option<String>)>) -> Step {
        if !self.trusted(&self.front.listener.xclient_from) {
            return self.error(Reply::new(550, "5.7.0", "Insufficient authorization"));
        }
        if matches!(self.phase, Phase::Open(_)) {
            return self.error(Reply::new(503, "5.5.1", "Mail transaction in progress"));
        }
        self.reset().await;
        self.log_out().await;
        apply(&mut self.session, attributes, Via::Xclient);
        self.session.direction = self.direction();
        self.early = Early::default();
        self.phase = Phase::Silent;
        self.banner();
        Ok(())
    }

    fn xforward(&mut self, attributes: Vec<(String, Option<String>)>) -> Step {
        if !self.trusted(&self.front.listener.xforward_from) {
            return self.error(Reply::new(550, "5.7.0", "Insufficient authorization"));
        }
        if matches!(self.phase, Phase::Open(_)) {
            return self.error(Reply::new(503, "5.5.1", "Mail transaction in progress"));
        }
        if self.before_xforward.is_none() {
            self.before_xforward = Some(self.session.clone());
        }
        apply(&mut self.session, attributes, Via::Xforward);
        self.session.direction = self.direction();
        self.early = Early::default();
        self.reply(&Reply::new(250, "2.0.0", "Ok"));
        Ok(())
    }

    // The envelope.

    async fn mail(&mut self, mail: MailFrom) -> Step {
        match self.phase {
            Phase::Silent => return self.error(Reply::new(503, "5.5.1", "Say hello first")),
            Phase::Open(_) => return self.error(Reply::new(503, "5.5.1", "Sender is already given")),
            Phase::Ready => {}
        }
        if self.messages >= self.front.limits.messages {
            return self.last_reply(Reply::new(421, "4.7.0", "Too many messages in one session"));
        }
        let parameters = match mail_parameters(mail.params, self.size_limit(), &self.front.hops) {
            Ok(parsed) => parsed,
            Err(refusal) => return self.error(refusal),
        };
        if !mail.path.is_ascii() && !parameters.smtputf8 {
            return self.error(Reply::new(553, "5.6.7", "Address needs SMTPUTF8"));
        }
        if let Some(reply) = self.strained(&parameters) {
            return self.later(reply);
        }
        let sender = Address::new(&mail.path);
        let recipients = self.foresee(&parameters);
        let mut envelope = Envelope { sender, parameters, recipients };
        self.ask_early(&envelope).await;
        if let Some(refusal) = self.refused_sender(&envelope).await {
            self.end_of_transaction();
            return self.error(refusal);
        }
        self.learn_name().await;
        let front: &'a Front = self.front;
        let begun = match self.login.take() {
            Some(login) if self.logged_in => login.begin(&self.session, &envelope).await,
            login => {
                self.login = login;
                front.hops.begin(&self.session, &envelope).await
            }
        };
        envelope.recipients.clear();
        match begun {
            Ok((transaction, reply)) if reply.is_positive() => {
                self.phase = Phase::Open(Box::new(Open {
                    envelope,
                    transaction,
                    found: Found::default(),
                    policy: None,
                    chunks: None,
                    began: Instant::now(),
                }));
                self.reply(&reply);
                Ok(())
            }
            Ok((transaction, reply)) => {
                self.metrics_next_hop(&reply);
                self.close(transaction).await;
                self.end_of_transaction();
                self.error(reply)
            }
            Err(error) => {
                self.end_of_transaction();
                self.error(error.reply())
            }
        }
    }

    async fn rcpt(&mut self, rcpt: RcptTo) -> Step {
        let front: &'a Front = self.front;
        let known = match (&self.phase, front.listener.after_queue) {
            (Phase::Open(_), false) => self.early.known_within(LONG).await,
            _ => Found::default(),
        };
        self.suspect(&known);
        let Phase::Open(open) = &mut self.phase else {
            return self.error(Reply::new(503, "5.5.1", "Need MAIL before RCPT"));
        };
        let recipient = match recipient(&rcpt, &open.envelope.parameters, &front.hops) {
            Ok(recipient) => recipient,
            Err(refusal) => return self.error(refusal),
        };
        if open.chunks.is_some() {
            return self.error(Reply::new(503, "5.5.1", "Content has begun"));
        }
        if open.envelope.recipients.len() >= front.limits.recipients as usize {
            return self.later(Reply::new(452, "4.5.3", "Too many recipients"));
        }
        let policy =
            front.pipeline.policies.find(&self.session, open.envelope.sender.as_ref(), &recipient.address);
        if front.listener.mixed == Mixed::DeferOthers
            && open.policy.is_some_and(|first| first != policy)
            && !lmtp(front)
        {
            return self.later(Reply::new(452, "4.5.3", "One policy at a time; send this recipient again"));
        }
        let found = match front.listener.after_queue {
            true => front.pipeline.checks.recipient(&self.session, &open.envelope, &recipient, LONG).await,
            false => {
                self.session.client_name = self.session.client_name.take().or(known.client_name.clone());
                let mut session = self.session.clone();
                front.direct(&mut session, std::slice::from_ref(&recipient));
                let asked = Asked {
                    stage: Stage::Recipient,
                    session: &session,
                    envelope: &open.envelope,
                    recipient: Some(&recipient),
                    known: &known,
                    wait: LONG,
                };
                let admitted = front.pipeline.admit(asked).await;
                if let Some(refusal) = admitted.refusal {
                    front.metrics.refused_recipient();
                    return self.refuse_recipient(refusal);
                }
                admitted.found
            }
        };
        let reply = match open.transaction.recipient(&recipient).await {
            Ok(reply) => reply,
            Err(error) => {
                // The sender must hear 4xx until it begins anew, not that it has lost its place.
                tracing::warn!(%error, "next hop failed");
                return self.error(error.reply());
            }
        };
        if !reply.is_positive() {
            let from = from_whom(&self.session, &open.envelope);
            tracing::info!("Refused recipient by next hop, {from} -> <{}>: {reply}", recipient.address);
            self.metrics_next_hop(&reply);
            self.front.metrics.refused_recipient();
            if is_unknown(&reply) {
                front.pipeline.checks.wrong_recipient(&self.session).await;
            }
            return self.refuse_recipient(reply);
        }
        open.found.merge(found);
        open.policy.get_or_insert(policy);
        open.envelope.recipients.push(recipient);
        self.reply(&reply);
        Ok(())
    }

    /// Recipients that have been sent along with MAIL: a client that does not wait for our answers need not wait for
    /// the next hop's one by one either. What is not taken from here is only not known yet.
    fn foresee(&self, parameters: &Parameters) -> Vec<Recipient> {
        let most = match self.front.listener.mixed {
            Mixed::Split => self.front.limits.recipients as usize,
            Mixed::DeferOthers => 1,
        };
        let mut rest = &self.input[..];
        let mut recipients = Vec::new();
        while recipients.len() < most
            && let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE)])
            && let Some(line) = rest[..end].strip_suffix(b"\r")
            && let Ok(Command::Rcpt(rcpt)) = smtp::parse(line)
            && let Ok(recipient) = recipient(&rcpt, parameters, &self.front.hops)
        {
            recipients.push(recipient);
            rest = &rest[end + 1..];
        }
        recipients
    }

    // The message.

    async fn data(&mut self) -> Step {
        let Phase::Open(open) = &mut self.phase else {
            return self.error(Reply::new(503, "5.5.1", "Need MAIL and RCPT before DATA"));
        };
        if open.chunks.is_some() {
            return self.error(Reply::new(503, "5.5.1", "BDAT has begun; DATA cannot follow it"));
        }
        if open.transaction.lost() {
            self.reset().await;
            return self.error(hop_lost());
        }
        if open.envelope.recipients.is_empty() {
            return self.error(Reply::new(554, "5.5.1", "No valid recipients"));
        }
        // DATA is the last command of a pipelined group (RFC 2920 section 3.1); content sent before 354 is not meant
        // for us, or is meant to deceive somebody.
        self.in_step()?;
        self.reply(&Reply::new(354, "", "End data with <CR><LF>.<CR><LF>"));
        self.flush().await?;
        let limits = &self.front.limits;
        let mut decoder = DataDecoder::new(self.size_limit(), self.stray());
        let mut spool = Spool::new(limits.memory.bytes());
        let mut full = None;
        let deadline = Instant::now() + limits.message_time.duration();
        while !decoder.decode(&mut self.input, spool.buffer()) {
            self.settle(&mut spool, &mut full);
            self.fill_until(deadline).await?;
        }
        self.settle(&mut spool, &mut full);
        let report = decoder.report().clone();
        self.complete(spool, full, &report).await
    }

    /// A chunk of BDAT (RFC 3030). Its bytes follow whatever we think of the command, so they are always read.
    async fn bdat(&mut self, size: u64, last: bool) -> Step {
        let limits = &self.front.limits;
        let deadline = Instant::now() + limits.message_time.duration();
        let (most, stray) = (self.size_limit(), self.stray());
        let lost = matches!(&self.phase, Phase::Open(open) if open.transaction.lost());
        let taken = match &mut self.phase {
            Phase::Open(open) if !open.envelope.recipients.is_empty() => Some(open.chunks.take()),
            _ => None,
        };
        let in_sequence = taken.is_some() && !lost;
        let Chunks { mut decoder, mut spool, deadline } = taken.flatten().unwrap_or_else(|| Chunks {
            decoder: BdatDecoder::new(if in_sequence { most } else { 0 }, stray),
            spool: Spool::new(limits.memory.bytes()),
            deadline,
        });
        let mut full = None;
        decoder.begin(size);
        while !decoder.decode(&mut self.input, spool.buffer()) {
            self.settle(&mut spool, &mut full);
            self.fill_until(deadline).await?;
        }
        if last {
            decoder.finish(spool.buffer());
        }
        self.settle(&mut spool, &mut full);
        if lost {
            self.reset().await;
            return self.error(hop_lost());
        }
        if !in_sequence {
            return self.error(Reply::new(503, "5.5.1", "Need MAIL and RCPT before BDAT"));
        }
        if last || full.is_some() || decoder.report().over_limit {
            let report = decoder.report().clone();
            return self.complete(spool, full, &report).await;
        }
        if let Phase::Open(open) = &mut self.phase {
            open.chunks = Some(Chunks { decoder, spool, deadline });
        }
        self.reply(&Reply::new(250, "2.0.0", format!("{size} octets received")));
        Ok(())
    }

    async fn complete(&mut self, spool: Spool, full: Option<std::io::Error>, report: &StrayReport) -> Step {
        if let Some(error) = full {
            return self.spool_failed(&error).await;
        }
        if report.over_limit {
            return self.not_judged(too_large()).await;
        }
        if report.refused {
            let reply = Reply::new(550, "5.5.2", "Message has bare CR or LF; lines end in CRLF");
            return self.not_judged(reply).await;
        }
        match spool.finish() {
            Ok(raw) => self.judge(raw, report).await,
            Err(error) => self.spool_failed(&error).await,
        }
    }

    async fn judge(&mut self, raw: Bytes, report: &StrayReport) -> Step {
        let Phase::Open(mut open) = std::mem::replace(&mut self.phase, Phase::Ready) else { return Ok(()) };
        self.messages += 1;
        self.idle = 0;
        let lmtp = self.lmtp();
        let prdr = open.envelope.parameters.prdr && open.envelope.recipients.len() > 1;
        let mut early = self.early.told().await;
        early.merge(std::mem::take(&mut open.found));
        let arrival = Arrival {
            session: self.session_of(&open.envelope),
            envelope: open.envelope.clone(),
            raw,
            stray: report.clone(),
            unmended: None,
            early,
            answers: if lmtp || prdr { Answers::Each } else { Answers::One },
            after_queue: self.front.listener.after_queue,
            receiving: open.began.elapsed(),
        };
        let front: &'a Front = self.front;
        let mut carrier = Lockstep {
            hops: &front.hops,
            transaction: &mut open.transaction,
            session: &self.session,
            envelope: &open.envelope,
            told: true,
            metrics: &front.metrics,
        };
        let conclusion = front.pipeline.process(arrival, &mut carrier).await;
        // The sender hears it first: the next hop may take its time to forget what it was told and will not get.
        self.answer(&conclusion, prdr);
        let said = self.flush().await;
        self.close(open.transaction).await;
        self.end_of_transaction();
        said
    }

    /// The session as this message's, whose direction depends on its recipients, too.
    fn session_of(&self, envelope: &Envelope) -> Session {
        let mut session = self.session.clone();
        self.front.direct(&mut session, &envelope.recipients);
        session
    }

    fn answer(&mut self, conclusion: &Conclusion, prdr: bool) {
        if self.lmtp() {
            conclusion.each.iter().for_each(|reply| self.reply(reply));
            return;
        }
        if prdr {
            self.reply(&Reply::new(353, "", "Answers for each recipient follow"));
            conclusion.each.iter().for_each(|reply| self.reply(reply));
        }
        self.reply(&conclusion.one);
    }

    // Helpers of the dialogue.

    /// A next hop that is told who the client is shall know its name, too, and may have restrictions of its own that go by
    /// it. Waited for only there.
    async fn learn_name(&mut self) {
        if self.session.client_name.is_some()
            || self.session.client.is_none()
            || !self.front.hops.wants_name()
        {
            return;
        }
        self.session.client_name = self.early.client_name(self.front, &self.session).await;
    }

    async fn ask_early(&mut self, envelope: &Envelope) {
        self.early.connect(self.front, &self.session).await;
        self.early.hello(self.front, &self.session).await;
        self.early.sender(self.front, &self.session, envelope).await;
    }

    /// What the client hears where it is refused at once, before there is a sender. Peers that may speak for others are
    /// not yet known then.
    async fn refused_at(&mut self, stage: Stage) -> Option<Reply> {
        let Listener { xclient_from, xforward_from, .. } = &self.front.listener;
        if !self.refuses_at_once() || self.trusted(xclient_from) || self.trusted(xforward_from) {
            return None;
        }
        self.early.connect(self.front, &self.session).await;
        if stage == Stage::Hello {
            self.early.hello(self.front, &self.session).await;
        }
        self.refused(stage, &Envelope::default()).await
    }

    async fn refused_sender(&mut self, envelope: &Envelope) -> Option<Reply> {
        if !self.refuses_at_once() {
            return None;
        }
        let envelope = Envelope { recipients: Vec::new(), ..envelope.clone() };
        self.refused(Stage::Sender, &envelope).await
    }

    fn refuses_at_once(&self) -> bool {
        !self.front.listener.delay_reject && !self.front.listener.after_queue
    }

    async fn refused(&mut self, stage: Stage, envelope: &Envelope) -> Option<Reply> {
        let known = self.early.known_within(LONG).await;
        let session = &self.session;
        let asked = Asked { stage, session, envelope, recipient: None, known: &known, wait: LONG };
        self.front.pipeline.admit(asked).await.refusal
    }

    async fn reset(&mut self) {
        if matches!(self.phase, Phase::Open(_))
            && let Phase::Open(open) = std::mem::replace(&mut self.phase, Phase::Ready)
        {
            self.close(open.transaction).await;
        }
        self.end_of_transaction();
    }

    fn end_of_transaction(&mut self) {
        if let Some(before) = self.before_xforward.take() {
            self.session = before;
            self.early = Early::default();
        }
    }

    async fn spool_failed(&mut self, error: &std::io::Error) -> Step {
        tracing::error!(%error, folder = %self.front.spool.display(), "cannot hold a message");
        self.not_judged(no_space()).await
    }

    /// A message that is refused before it was looked at. LMTP wants an answer for each recipient even so.
    async fn not_judged(&mut self, reply: Reply) -> Step {
        if let Phase::Open(open) = &self.phase {
            let recipients = open.envelope.recipients.len();
            let from = from_whom(&self.session, &open.envelope);
            tracing::info!("Blocked UNREAD, {from} -> {recipients} recipients: {reply}");
            let more = if self.lmtp() { recipients.saturating_sub(1) } else { 0 };
            (0..more).for_each(|_| self.reply(&reply));
        }
        self.reset().await;
        self.error(reply)
    }

    fn settle(&self, spool: &mut Spool, full: &mut Option<std::io::Error>) {
        if full.is_some() {
            spool.buffer().clear();
        } else if let Err(error) = spool.settle(&self.front.spool) {
            *full = Some(error);
            spool.buffer().clear();
        }
    }

    fn stray(&self) -> Stray {
        match self.front.limits.stray_line_endings {
            StrayLineEndings::Normalize => Stray::Normalize,
            StrayLineEndings::Refuse => Stray::Refuse,
        }
    }

    fn lmtp(&self) -> bool {
        lmtp(self.front)
    }

    fn size_limit(&self) -> u64 {
        let ours = self.front.limits.message_size.bytes();
        self.front.hops.size_limit().filter(|&theirs| theirs > 0).map_or(ours, |theirs| theirs.min(ours))
    }

    fn trusted(&self, networks: &[Net]) -> bool {
        self.peer.is_some_and(|peer| networks.iter().any(|network| network.contains(peer)))
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.front.networks.iter().any(|network| network.contains(address))
    }

    fn direction(&self) -> Direction {
        let Front { listener, networks, domains, .. } = &**self.front;
        direction::by_listener(listener.originating, &self.session, networks, domains)
    }

    fn metrics_next_hop(&self, reply: &Reply) {
        self.front.metrics.next_hop_reply(reply);
    }
}

fn lmtp(front: &Front) -> bool {
    front.listener.protocol == ListenerProtocol::Lmtp
}

/// For the log, as in the line of each message: `[192.0.2.1] <a@example.org>`.
fn from_whom(session: &Session, envelope: &Envelope) -> String {
    let client = session.client.map(|client| client.to_string()).unwrap_or_default();
    let sender = envelope.sender.as_ref().map(Address::to_string).unwrap_or_default();
    format!("[{client}] <{sender}>")
}

/// Whether a next hop refuses a recipient because there is nobody of that name (RFC 3463 section 3.2), not for whoever
/// asks. Those that give no enhanced code say 550, 551 or 553 (RFC 5321 section 4.3.2).
fn is_unknown(reply: &Reply) -> bool {
    match reply.enhanced.as_str() {
        "" => matches!(reply.code, 550 | 551 | 553),
        enhanced => enhanced.starts_with("5.1."),
    }
}

fn hop_lost() -> Reply {
    Reply::new(451, "4.4.2", "Next hop was lost, please try again later")
}

fn too_large() -> Reply {
    Reply::new(552, "5.3.4", "Message is too large")
}

fn no_space() -> Reply {
    Reply::new(452, "4.3.1", "Insufficient system storage, please try again later")
}
