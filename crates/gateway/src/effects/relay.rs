//! The next hop: connections to it, in lockstep with the sender's session.
//!
//! A [`Transaction`] carries one message's envelope to the next hop command by command, so that the next hop's own
//! recipient checks answer the sender. Nothing is owned here: until the next hop says 250 the sender has the message.

mod login;

pub use login::{LINE as AUTH_LINE, Login};

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use gatepost_mail::{Address, Envelope, Parameters, Protocol, Recipient, Reply, Session};
use gatepost_wire::smtp::{self, Capabilities, Param, ReplyReader, Stuffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::maildir;
use crate::config::next_hop::{NextHop, NextHopTls};
use crate::resources::net::{Stream, connect_tcp, connect_unix};
use crate::resources::tls::ClientTls;

/// The next hops of a listener, the first that answers is used. Idle connections are kept.
pub struct NextHops {
    hops: Vec<Hop>,
    options: Options,
}

/// What all hops of a listener share.
#[derive(Clone)]
pub struct Options {
    /// Our name in EHLO.
    pub hostname: String,
    /// Client side of TLS; decides whether certificates are verified.
    pub tls: ClientTls,
    /// Longest to wait for a connection and for each answer to a command.
    pub command_time: Duration,
    /// Longest to wait for the answer to a message.
    pub data_time: Duration,
    /// Idle connections kept for each hop.
    pub idle: usize,
    /// The next hop is the mail server that gave us the mail. It has judged the client already and shall only know for
    /// its log who that was (XFORWARD), not take the mail as if it came from there (XCLIENT).
    pub way_back: bool,
}

struct Hop {
    target: NextHop,
    idle: Mutex<Vec<(Instant, Connection)>>,
    /// What it offered when last asked, so that our own EHLO can offer the same.
    offers: Mutex<Option<Arc<Capabilities>>>,
}

/// A connection that has been idle this long is not trusted to be alive any more.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// Why a next hop could not be used: the cause for the log, and what the sender is told, which never is the cause.
#[derive(Debug)]
pub struct RelayError {
    cause: String,
    reply: Reply,
}

impl std::fmt::Display for RelayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

impl RelayError {
    fn new(target: &NextHop, what: impl std::fmt::Display) -> RelayError {
        let reply = Reply::new(451, "4.4.1", "Next hop is not available, please try again later");
        RelayError { cause: format!("{target}: {what}"), reply }
    }

    /// What the sender is told.
    pub fn reply(&self) -> Reply {
        self.reply.clone()
    }
}

impl NextHops {
    /// Next hops in the order in which they are tried.
    pub fn new(targets: Vec<NextHop>, options: Options) -> NextHops {
        let hops = targets
            .into_iter()
            .map(|target| Hop { target, idle: Mutex::new(Vec::new()), offers: Mutex::new(None) })
            .collect();
        NextHops { hops, options }
    }

    /// Whether there are none: mail that comes by the listener is only asked about.
    pub fn is_empty(&self) -> bool {
        self.hops.is_empty()
    }

    /// Whether any of the hops has, when last asked, offered `keyword`; the built-in Maildir takes everything.
    pub fn offer(&self, offered: impl Fn(&Capabilities) -> bool) -> bool {
        self.hops.iter().any(|hop| match hop.target {
            NextHop::Maildir(_) => true,
            _ => lock(&hop.offers).as_deref().is_some_and(&offered),
        })
    }

    /// Whether any of the hops wants to know the client's name; one that was not yet asked what it offers may.
    pub fn wants_name(&self) -> bool {
        let named = |offered: &[String]| offered.iter().any(|attribute| attribute == "NAME");
        self.hops.iter().filter(|hop| !matches!(hop.target, NextHop::Maildir(_))).any(|hop| {
            let offers = lock(&hop.offers).clone();
            offers.is_none_or(|offers| named(&offers.xclient) || named(&offers.xforward))
        })
    }

    /// The smallest size limit that a hop has announced.
    pub fn size_limit(&self) -> Option<u64> {
        self.hops
            .iter()
            .filter_map(|hop| lock(&hop.offers).as_ref().and_then(|offers| offers.size.flatten()))
            .min()
    }

    /// Asks each hop what it offers, so that it is known before the first message; failures are for the caller's log.
    pub async fn probe(&self) -> Result<(), RelayError> {
        let mut result = Ok(());
        for hop in self.hops.iter().filter(|hop| !matches!(hop.target, NextHop::Maildir(_))) {
            match hop.connect(&self.options).await {
                Ok(connection) => hop.keep(connection, self.options.idle),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Begins a transaction: MAIL is told to the first hop that takes connections. Its reply may be a refusal.
    ///
    /// Recipients that the envelope holds already are foreseen: where the hop offers PIPELINING they are told in the
    /// same breath, and [`Transaction::recipient`] has their replies at hand.
    pub async fn begin(
        &self,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<(Transaction<'_>, Reply), RelayError> {
        let mut last = None;
        for hop in &self.hops {
            match hop.begin(&self.options, session, envelope).await {
                Ok(begun) => return Ok(begun),
                Err(error) => {
                    tracing::warn!(next_hop = %hop.target, %error, "next hop failed");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            let reply = Reply::new(451, "4.3.5", "No next hop is configured");
            RelayError { cause: "no next hop is configured".into(), reply }
        }))
    }

    /// Sends one message to its recipients by itself: what releasing from quarantine does. One reply per recipient.
    pub async fn send(&self, session: &Session, envelope: &Envelope, message: &[Bytes]) -> Vec<Reply> {
        let (mut transaction, reply) = match self.begin(session, envelope).await {
            Ok(begun) => begun,
            Err(error) => return vec![error.reply(); envelope.recipients.len()],
        };
        if !reply.is_positive() {
            transaction.finish().await;
            return vec![reply; envelope.recipients.len()];
        }
        let mut told = Vec::new();
        for recipient in &envelope.recipients {
            told.push(transaction.recipient(recipient).await.unwrap_or_else(|error| error.reply()));
        }
        let replies = transaction.message_to(told.clone(), message).await;
        transaction.finish().await;
        replies.unwrap_or_else(|error| {
            told.into_iter().map(|told| if told.is_positive() { error.reply() } else { told }).collect()
        })
    }
}

/// As the configuration writes them.
impl std::fmt::Display for NextHops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.hops.iter().map(|hop| hop.target.to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

/// One message on its way to the next hop: MAIL has been told.
pub struct Transaction<'a> {
    hop: &'a Hop,
    options: &'a Options,
    link: Link,
    /// The connection is that of a user who has logged in: it goes back to that session, and there is no other.
    alone: bool,
    /// How many recipients the next hop has taken.
    taken: usize,
    /// Recipients that were told together with MAIL, and the replies, until somebody asks for them.
    foreseen: VecDeque<(Recipient, Reply)>,
    /// When the next hop last answered.
    answered: Instant,
}

enum Link {
    Smtp(Connection),
    /// The built-in Maildir takes everybody; what it needs is remembered.
    Maildir {
        sender: Option<Address>,
        recipients: Vec<Address>,
    },
    /// The connection failed or was given back.
    Gone,
}

impl<'a> Transaction<'a> {
    /// The next hop's name, for the record.
    pub fn next_hop(&self) -> String {
        self.hop.target.to_string()
    }

    /// Whether the connection to the next hop was lost: what was told is forgotten there.
    pub fn lost(&self) -> bool {
        matches!(self.link, Link::Gone)
    }

    /// Whether the next hop still stands with what it was told. One that was left alone for a while, because the
    /// message came slowly, is asked: it may have given up waiting.
    pub async fn stands(&mut self) -> bool {
        const LONG: Duration = Duration::from_secs(5);
        if !self.foreseen.is_empty() {
            // Somebody was told of who is no recipient after all.
            return false;
        }
        match &mut self.link {
            Link::Maildir { .. } => true,
            Link::Smtp(_) if self.answered.elapsed() < LONG => true,
            Link::Smtp(connection) => {
                let stands = connection.command("NOOP", self.options.command_time).await;
                let stands = stands.is_ok_and(|reply| reply.is_positive());
                if !stands {
                    self.link = Link::Gone;
                }
                stands
            }
            Link::Gone => false,
        }
    }

    /// Tells the next hop one recipient; its reply is the sender's.
    pub async fn recipient(&mut self, recipient: &Recipient) -> Result<Reply, RelayError> {
        if self.foreseen.front().is_some_and(|(foreseen, _)| foreseen == recipient)
            && let Some((_, reply)) = self.foreseen.pop_front()
        {
            self.taken += usize::from(reply.is_positive());
            return Ok(reply);
        }
        let reply = match &mut self.link {
            Link::Maildir { recipients, .. } => {
                recipients.push(recipient.address.clone());
                Reply::new(250, "2.1.5", "Ok")
            }
            Link::Smtp(connection) => {
                let command = rcpt_command(recipient, &connection.offers);
                match connection.command(&command, self.options.command_time).await {
                    Ok(reply) => reply,
                    Err(error) => return Err(self.fail(error)),
                }
            }
            Link::Gone => return Err(RelayError::new(&self.hop.target, "connection lost")),
        };
        self.taken += usize::from(reply.is_positive());
        self.answered = Instant::now();
        Ok(reply)
    }

    /// Forgets this envelope and tells another one: for a verdict that delivers to some recipients only, for a second
    /// group, or after the connection was lost. The replies are those to the recipients, or to MAIL if that was refused.
    pub async fn begin_again(
        &mut self,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<Vec<Reply>, RelayError> {
        self.taken = 0;
        self.foreseen.clear();
        let all = envelope.recipients.len();
        match &mut self.link {
            Link::Maildir { sender: from, recipients: to } => {
                *from = envelope.sender.clone();
                to.clear();
            }
            Link::Smtp(connection) => {
                let again = async {
                    connection.command("RSET", self.options.command_time).await?;
                    connection.mail(session, envelope, self.options).await
                };
                match again.await {
                    Ok((reply, foreseen)) if reply.is_positive() => self.foreseen = foreseen,
                    Ok((reply, _)) => return Ok(vec![reply; all]),
                    Err(error) => return Err(self.fail(error)),
                }
            }
            Link::Gone if self.alone => {
                return Err(RelayError::new(&self.hop.target, "connection of a user lost"));
            }
            Link::Gone => {
                let (begun, reply) = self.hop.begin(self.options, session, envelope).await?;
                *self = begun;
                if !reply.is_positive() {
                    return Ok(vec![reply; all]);
                }
            }
        }
        let mut replies = Vec::with_capacity(all);
        for recipient in &envelope.recipients {
            replies.push(self.recipient(recipient).await?);
        }
        Ok(replies)
    }

    /// Sends the message to those recipients whose reply in `told` is positive, and puts the answers in its place: one
    /// for each recipient that was told.
    pub async fn message_to(
        &mut self,
        mut told: Vec<Reply>,
        chunks: &[Bytes],
    ) -> Result<Vec<Reply>, RelayError> {
        if told.iter().any(Reply::is_positive) {
            let answers = self.message(chunks).await?;
            let mut answers = answers.iter().chain(std::iter::repeat(&answers[answers.len() - 1]));
            for reply in told.iter_mut().filter(|reply| reply.is_positive()) {
                if let Some(answer) = answers.next() {
                    *reply = answer.clone();
                }
            }
        }
        Ok(told)
    }

    /// Sends the message. One reply, or from an LMTP hop one for each recipient it had taken.
    pub async fn message(&mut self, chunks: &[Bytes]) -> Result<Vec<Reply>, RelayError> {
        let lmtp = self.hop.is_lmtp();
        let sent = match &mut self.link {
            Link::Maildir { sender, recipients } => {
                let NextHop::Maildir(folder) = &self.hop.target else {
                    unreachable!("maildir link of another hop")
                };
                let stored =
                    maildir::store(folder.clone(), sender.clone(), recipients.clone(), chunks.to_vec()).await;
                stored.map(|name| vec![Reply::new(250, "2.0.0", format!("Ok: stored as {name}"))])
            }
            Link::Smtp(connection) => {
                let replies = if lmtp { self.taken } else { 1 };
                connection.message(chunks, replies, self.options).await
            }
            Link::Gone => return Err(RelayError::new(&self.hop.target, "connection lost")),
        };
        sent.map_err(|error| self.fail(error))
    }

    /// Ends the transaction, whatever its state, and keeps the connection for the next if it is still good. The
    /// connection of a user who has logged in is given back, if it is still good.
    pub async fn finish(mut self) -> Option<Login<'a>> {
        let Link::Smtp(mut connection) = std::mem::replace(&mut self.link, Link::Gone) else { return None };
        if connection.broken {
            return None;
        }
        if connection.in_transaction {
            let forgotten = connection.command("RSET", self.options.command_time).await;
            forgotten.ok().filter(Reply::is_positive)?;
        }
        if self.alone {
            return Some(Login::back(self.hop, self.options, connection));
        }
        self.hop.keep(connection, self.options.idle);
        None
    }

    fn fail(&mut self, error: io::Error) -> RelayError {
        self.link = Link::Gone;
        RelayError::new(&self.hop.target, error)
    }
}

impl Hop {
    fn is_lmtp(&self) -> bool {
        matches!(self.target, NextHop::LmtpTcp { .. } | NextHop::LmtpUnix(_))
    }

    async fn begin<'a>(
        &'a self,
        options: &'a Options,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<(Transaction<'a>, Reply), RelayError> {
        let transaction = |link, foreseen| Transaction {
            hop: self,
            options,
            link,
            alone: false,
            taken: 0,
            foreseen,
            answered: Instant::now(),
        };
        if let NextHop::Maildir(_) = self.target {
            let link = Link::Maildir { sender: envelope.sender.clone(), recipients: Vec::new() };
            return Ok((transaction(link, VecDeque::new()), Reply::new(250, "2.1.0", "Ok")));
        }
        // A kept connection may have been closed by the other side meanwhile: then, once, a new one. Before the
        // first RCPT that repeats nothing.
        if let Some(mut connection) = self.take_idle() {
            if let Some(error) = self.cannot_take(&connection, envelope) {
                self.keep(connection, options.idle);
                return Err(error);
            }
            if let Ok((reply, foreseen)) = connection.mail(session, envelope, options).await {
                return Ok((transaction(Link::Smtp(connection), foreseen), reply));
            }
        }
        let mut connection = self.connect(options).await?;
        if let Some(error) = self.cannot_take(&connection, envelope) {
            self.keep(connection, options.idle);
            return Err(error);
        }
        let told = connection.mail(session, envelope, options).await;
        let (reply, foreseen) = told.map_err(|error| RelayError::new(&self.target, error))?;
        Ok((transaction(Link::Smtp(connection), foreseen), reply))
    }

    /// Without SMTPUTF8 such addresses must not go there, and nothing can be made of them (RFC 6531 section 3.2).
    fn cannot_take(&self, connection: &Connection, envelope: &Envelope) -> Option<RelayError> {
        if !envelope.parameters.smtputf8 || connection.offers.smtputf8 {
            return None;
        }
        let reply = Reply::new(553, "5.6.7", "Next hop does not take internationalized addresses");
        Some(RelayError { cause: format!("{}: does not offer SMTPUTF8", self.target), reply })
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        // Last in, first out, so that a quiet time lets the surplus grow old and be dropped.
        let found = idle.pop();
        idle.retain(|(since, _)| since.elapsed() < IDLE_TIME);
        drop(idle);
        let (since, mut connection) = found?;
        (since.elapsed() < IDLE_TIME && connection.is_quiet()).then_some(connection)
    }

    fn keep(&self, connection: Connection, most: usize) {
        let mut idle = lock(&self.idle);
        if idle.len() < most && connection.input.is_empty() {
            idle.push((Instant::now(), connection));
        }
    }

    async fn connect(&self, options: &Options) -> Result<Connection, RelayError> {
        let greeted = timeout(options.command_time, self.greet(options)).await;
        let connection = greeted
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no greeting in time")))
            .map_err(|error| RelayError::new(&self.target, error))?;
        *lock(&self.offers) = Some(connection.offers.clone());
        Ok(connection)
    }

    async fn greet(&self, options: &Options) -> io::Result<Connection> {
        let (stream, start_tls, host) = match &self.target {
            NextHop::Smtp { host, port, tls } => {
                let stream = connect_tcp(host, *port).await?;
                match tls {
                    NextHopTls::Implicit => (options.tls.connect(host, stream).await?, false, host.as_str()),
                    NextHopTls::StartTls => (stream, true, host.as_str()),
                    NextHopTls::None => (stream, false, host.as_str()),
                }
            }
            NextHop::LmtpTcp { host, port } => (connect_tcp(host, *port).await?, false, host.as_str()),
            NextHop::LmtpUnix(path) => (connect_unix(path).await?, false, "localhost"),
            NextHop::Maildir(_) => return Err(io::Error::other("a Maildir is no server")),
        };
        let mut connection = Connection::new(stream, if self.is_lmtp() { "LHLO" } else { "EHLO" });
        let banner = connection.read_reply().await?;
        if !banner.is_positive() {
            return Err(io::Error::other(format!("greeted with {banner}")));
        }
        connection.hello(&options.hostname).await?;
        if start_tls {
            if !connection.offers.starttls {
                return Err(io::Error::other("does not offer STARTTLS, which its URL demands"));
            }
            let reply = connection.exchange("STARTTLS").await?;
            if !reply.is_positive() {
                return Err(io::Error::other(format!("answered STARTTLS with {reply}")));
            }
            // What came in clear behind the reply could have been put there by somebody else (CVE-2011-0411).
            connection.input.clear();
            connection.stream = options.tls.connect(host, connection.stream).await?;
            connection.hello(&options.hostname).await?;
        }
        Ok(connection)
    }
}

/// Attributes of a client as XCLIENT and XFORWARD name them; None is "not known".
type Attributes = Vec<(&'static str, Option<String>)>;

/// A greeted connection.
struct Connection {
    stream: Stream,
    input: BytesMut,
    replies: ReplyReader,
    hello: &'static str,
    offers: Arc<Capabilities>,
    /// MAIL was taken and neither the message nor RSET has ended it.
    in_transaction: bool,
    /// Something went wrong in the middle of an answer: not to be used again.
    broken: bool,
    /// What was last told by XCLIENT, which holds until told otherwise.
    told: Option<Attributes>,
    /// It is that of a user who logs in.
    login: bool,
}

impl Connection {
    fn new(stream: Stream, hello: &'static str) -> Connection {
        Connection {
            stream,
            input: BytesMut::with_capacity(1024),
            replies: ReplyReader::new(),
            hello,
            offers: Arc::new(Capabilities::default()),
            in_transaction: false,
            broken: false,
            told: None,
            login: false,
        }
    }

    async fn hello(&mut self, hostname: &str) -> io::Result<()> {
        let reply = self.exchange(&format!("{} {hostname}", self.hello)).await?;
        if reply.is_positive() {
            self.offers = Arc::new(Capabilities::from_reply(&reply));
            return Ok(());
        }
        if self.hello == "LHLO" {
            return Err(io::Error::other(format!("answered LHLO with {reply}")));
        }
        let reply = self.exchange(&format!("HELO {hostname}")).await?;
        self.offers = Arc::new(Capabilities::default());
        if reply.is_positive() {
            Ok(())
        } else {
            Err(io::Error::other(format!("answered HELO with {reply}")))
        }
    }

    /// Tells who the client is, where that is wanted, and the sender; and, where one need not wait between commands, the
    /// recipients that are known. Gives the reply to MAIL, and those to the recipients if they were told.
    async fn mail(
        &mut self,
        session: &Session,
        envelope: &Envelope,
        options: &Options,
    ) -> io::Result<(Reply, VecDeque<(Recipient, Reply)>)> {
        // Replies are read only after all is written; so many fit into any socket's buffer.
        const MOST: usize = 100;
        let limited = async {
            let mut group = Vec::new();
            let by_xforward = options.way_back && !self.offers.xforward.is_empty();
            let by_xclient = self.told.is_some() || !(self.offers.xclient.is_empty() || by_xforward);
            if by_xclient && !self.login {
                self.tell_xclient(session, &options.hostname).await?;
            } else if !by_xclient && !self.offers.xforward.is_empty() {
                let attributes = client_attributes(session, &self.offers.xforward);
                group = smtp::xforward_commands(&self.offers.xforward, &borrowed(&attributes));
            }
            let before = group.len();
            group.push(mail_command(
                envelope.sender.as_ref(),
                &envelope.parameters,
                &self.offers,
                self.login,
            ));
            let foreseen = if self.offers.pipelining { envelope.recipients.len().min(MOST) } else { 0 };
            let foreseen = &envelope.recipients[..foreseen];
            group.extend(foreseen.iter().map(|recipient| rcpt_command(recipient, &self.offers)));
            let mut replies = self.exchange_group(&group).await?.into_iter().skip(before);
            let reply = replies.next().ok_or_else(|| no_answer("MAIL"))?;
            Ok::<_, io::Error>((reply, foreseen, replies))
        };
        let (reply, foreseen, replies) =
            timeout(options.command_time, limited).await.map_err(|_| no_answer("MAIL"))??;
        if reply.code == 421 {
            return Err(io::Error::other(format!("answered MAIL with {reply}")));
        }
        let foreseen = foreseen.iter().cloned().zip(replies.map(own)).collect();
        self.in_transaction = reply.is_positive();
        Ok((own(reply), foreseen))
    }

    /// XCLIENT resets the session, so it is said only when something of the client differs from what was last told.
    /// A client must never pass for the one before it: if that cannot be told, the connection is of no use any more.
    async fn tell_xclient(&mut self, session: &Session, hostname: &str) -> io::Result<()> {
        let attributes = client_attributes(session, &self.offers.xclient);
        if self.told.as_ref() == Some(&attributes) || (self.told.is_none() && attributes.is_empty()) {
            return Ok(());
        }
        if attributes.is_empty() {
            return Err(io::Error::other("stands for another client and cannot be told of this one"));
        }
        let reply = self.exchange(&smtp::xclient_command(&borrowed(&attributes))).await?;
        if !reply.is_positive() {
            return Err(io::Error::other(format!("answered XCLIENT with {reply}")));
        }
        // What is said in EHLO now takes the place of XCLIENT's HELO.
        let plain = |helo: &&str| !helo.is_empty() && helo.bytes().all(|byte| byte.is_ascii_graphic());
        let name = Some(session.helo.as_str()).filter(plain).unwrap_or(hostname).to_owned();
        self.hello(&name).await?;
        self.told = Some(attributes);
        Ok(())
    }

    async fn command(&mut self, command: &str, time: Duration) -> io::Result<Reply> {
        let reply = timeout(time, self.exchange(command)).await.map_err(|_| no_answer(command))??;
        if command == "RSET" {
            self.in_transaction = false;
        }
        Ok(own(reply))
    }

    /// Sends the content and reads the answer, or over LMTP the answers.
    async fn message(
        &mut self,
        chunks: &[Bytes],
        replies: usize,
        options: &Options,
    ) -> io::Result<Vec<Reply>> {
        let sent = timeout(options.data_time, self.send_content(chunks)).await;
        match sent.map_err(|_| no_answer("the message"))? {
            Ok(None) => self.read_answers(replies.max(1), options.data_time).await,
            Ok(Some(refusal)) => Ok(vec![own(refusal)]),
            // A server that has had enough of a message says so and closes: its answer may be there already.
            Err(error) => {
                self.broken = true;
                match timeout(Duration::from_secs(1), self.read_reply()).await {
                    Ok(Ok(reply)) if reply.is_permanent() || reply.is_transient() => Ok(vec![own(reply)]),
                    _ => Err(error),
                }
            }
        }
    }

    /// By BDAT where that is offered, which saves a round trip, else by DATA. Some reply is the refusal of DATA.
    async fn send_content(&mut self, chunks: &[Bytes]) -> io::Result<Option<smtp::Reply>> {
        const PIECE: usize = 64 * 1024;
        let size: usize = chunks.iter().map(Bytes::len).sum();
        if self.offers.chunking {
            let mut first = BytesMut::from(format!("BDAT {size} LAST\r\n").as_bytes());
            // Small messages go out in one write with their command.
            if size <= PIECE {
                chunks.iter().for_each(|chunk| first.extend_from_slice(chunk));
                return self.write(&first).await.map(|()| None);
            }
            self.write(&first).await?;
            for chunk in chunks {
                self.write(chunk).await?;
            }
            return Ok(None);
        }
        let reply = self.exchange("DATA").await?;
        if reply.code != 354 {
            return Ok(Some(reply));
        }
        let mut stuffer = Stuffer::new();
        let mut out = Vec::with_capacity(size.min(PIECE) + 128);
        for piece in chunks.iter().flat_map(|chunk| chunk.chunks(PIECE)) {
            stuffer.stuff(piece, &mut out);
            if out.len() >= PIECE {
                self.write(&out).await?;
                out.clear();
            }
        }
        stuffer.finish(&mut out);
        self.write(&out).await.map(|()| None)
    }

    /// One answer, or over LMTP one for each recipient. Where the connection ends between them, those that came stand:
    /// their recipients have the message.
    async fn read_answers(&mut self, expected: usize, time: Duration) -> io::Result<Vec<Reply>> {
        let mut answers = Vec::with_capacity(expected);
        while answers.len() < expected {
            let read = timeout(time, self.read_reply()).await;
            match read.unwrap_or_else(|_| Err(no_answer("the message"))) {
                Ok(reply) => answers.push(own(reply)),
                Err(error) if answers.is_empty() => return Err(error),
                Err(_) => {
                    self.broken = true;
                    let lost = Reply::new(451, "4.4.2", "Next hop was lost, please try again later");
                    answers.resize(expected, lost);
                }
            }
        }
        self.in_transaction = false;
        Ok(answers)
    }

    /// Whether nothing has come that nobody asked for; an end of the connection counts as something.
    fn is_quiet(&mut self) -> bool {
        self.input.is_empty() && self.stream.read_buf(&mut self.input).now_or_never().is_none()
    }

    async fn exchange(&mut self, command: &str) -> io::Result<smtp::Reply> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.read_reply().await
    }

    /// Commands in one write where PIPELINING is offered, else one after the other; a reply for each.
    async fn exchange_group(&mut self, commands: &[String]) -> io::Result<Vec<smtp::Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        if self.offers.pipelining {
            self.write((commands.join("\r\n") + "\r\n").as_bytes()).await?;
            while replies.len() < commands.len() {
                replies.push(self.read_reply().await?);
            }
            return Ok(replies);
        }
        for command in commands {
            replies.push(self.exchange(command).await?);
        }
        Ok(replies)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A reply that belongs to no command would be taken for the answer to this one.
        if !self.input.is_empty() {
            return Err(io::Error::other("spoke out of turn"));
        }
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn read_reply(&mut self) -> io::Result<smtp::Reply> {
        loop {
            match self.replies.next(&mut self.input) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(format!("spoke no SMTP: {error}"))),
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed the connection"));
            }
        }
    }
}

/// The reply as data. An enhanced code that the next hop did not give is not invented. 421 speaks of our connection to
/// the next hop, not of the sender's to us.
fn own(reply: smtp::Reply) -> Reply {
    let code = if reply.code == 421 { 451 } else { reply.code };
    Reply { code, enhanced: reply.enhanced, text: reply.lines.join("\n") }
}

fn no_answer(to: &str) -> io::Error {
    let verb = to.split(' ').next().unwrap_or(to);
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer to {verb} in time"))
}

fn mail_command(
    sender: Option<&Address>,
    parameters: &Parameters,
    offers: &Capabilities,
    login: bool,
) -> String {
    let mut command = format!("MAIL FROM:<{}>", sender.map(Address::to_string).unwrap_or_default());
    if let Some(size) = parameters.size.filter(|_| offers.size.is_some()) {
        command += &format!(" SIZE={size}");
    }
    if parameters.eight_bit && offers.eight_bit_mime {
        command += " BODY=8BITMIME";
    }
    if parameters.smtputf8 && offers.smtputf8 {
        command += " SMTPUTF8";
    }
    for parameter in parameters.other.iter().filter(|parameter| accepts(offers, parameter, login)) {
        command.push(' ');
        command += parameter;
    }
    command
}

fn rcpt_command(recipient: &Recipient, offers: &Capabilities) -> String {
    let mut command = format!("RCPT TO:<{}>", recipient.address);
    for parameter in recipient.parameters.iter().filter(|parameter| accepts(offers, parameter, false)) {
        command.push(' ');
        command += parameter;
    }
    command
}

/// Whether a parameter means something to the next hop. We are trusted there, so what an outsider says reaches it only
/// where the next hop has offered that to everybody; who wrote the message, AUTH=, only a user may say who has logged in
/// there.
fn accepts(offers: &Capabilities, parameter: &str, login: bool) -> bool {
    let (keyword, value) = match parameter.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value.to_owned())),
        None => (parameter, None),
    };
    offers.accepts(&Param { keyword: keyword.to_uppercase(), value })
        && (login || !keyword.eq_ignore_ascii_case("AUTH"))
}

/// Attributes of the client in the names that XCLIENT and XFORWARD share, those the server offered.
fn client_attributes(session: &Session, offered: &[String]) -> Attributes {
    let Some(client) = session.client else { return Vec::new() };
    let protocol = match session.protocol {
        Protocol::Smtp => "SMTP",
        _ => "ESMTP",
    };
    let all = [
        ("NAME", session.client_name.clone()),
        ("ADDR", Some(smtp::xforward_addr(client))),
        ("PORT", (session.port != 0).then(|| session.port.to_string())),
        ("PROTO", Some(protocol.into())),
        ("HELO", Some(session.helo.clone()).filter(|helo| !helo.is_empty())),
        ("LOGIN", session.user.clone()),
        ("SOURCE", Some("REMOTE".into())),
    ];
    all.into_iter().filter(|(name, _)| offered.iter().any(|offer| offer == name)).collect()
}

fn borrowed<'a>(attributes: &'a [(&'static str, Option<String>)]) -> Vec<(&'static str, Option<&'a str>)> {
    attributes.iter().map(|(name, value)| (*name, value.as_deref())).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
