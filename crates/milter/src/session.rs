//! A filter's side of one connection, without the connection: bytes in, events out, and the replies that are due.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::command::{Command, Connect, Malformed, Offer};
use crate::flags::{Actions, Steps};
use crate::frame::{Frame, FrameError};
use crate::macros::Macros;
use crate::response::{Agreement, CHUNK, Response};

/// The newest version of the protocol that is spoken here.
pub const VERSION: u32 = 6;
/// The oldest; libmilter speaks none older either.
pub const OLDEST: u32 = 2;

/// Most octets of data in a packet that a [`Session`] takes, if nothing else is said. Mail servers send at most 65535
/// octets of a body in one, but Postfix puts a header field into one whatever its length (`header_size_limit`).
pub const FRAME_LIMIT: usize = 1 << 20;

/// What has happened on the mail server's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first word: what the mail server offers. Answer with [`Session::negotiate`].
    Negotiate(Offer),
    /// A client has connected.
    Connect(Connect),
    /// HELO or EHLO. Ends a message that was under way.
    Helo(Bytes),
    /// MAIL: a message begins. The address as it came, then ESMTP parameters.
    Mail(Vec<Bytes>),
    /// RCPT, likewise.
    Rcpt(Vec<Bytes>),
    /// DATA.
    Data,
    /// A header field.
    Header {
        /// Its name.
        name: Bytes,
        /// All that stands behind the colon, the lines of a folded value parted by LF. Where the mail server does not
        /// leave the leading space in place ([`Steps::HEADER_LEADING_SPACE`]), it is put back as far as one can tell.
        value: Bytes,
    },
    /// The header is over.
    EndOfHeader,
    /// A piece of the body. One that came along with the end of the message comes as an event of its own, which no
    /// reply is due to.
    Body(Bytes),
    /// The message is over; changes may be asked for, then it must be decided.
    EndOfMessage,
    /// A command that the mail server does not know.
    Unknown(Bytes),
    /// The message under way is not gone on with.
    Abort,
    /// The client is gone. If `reuse`, another one comes on the same connection.
    Quit {
        /// [`Event::Connect`] may follow.
        reuse: bool,
    },
}

/// What a filter would like to agree on; see [`Session::negotiate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Changes that it may ask for.
    pub actions: Actions,
    /// Steps to be left out, replies that will not be given, features.
    pub steps: Steps,
    /// Macros for each stage.
    pub symbols: Vec<(crate::SymbolStage, Bytes)>,
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// What came is no packet.
    Frame(FrameError),
    /// A packet cannot be read.
    Malformed(Malformed),
    /// A command came when it had no meaning.
    OutOfOrder(u8),
    /// The mail server speaks a version of the protocol that is too old.
    Version(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Frame(error) => error.fmt(f),
            Error::Malformed(error) => error.fmt(f),
            Error::OutOfOrder(code) => write!(f, "command {:?} out of order", char::from(*code)),
            Error::Version(version) => write!(f, "milter protocol version {version} is too old"),
        }
    }
}

impl std::error::Error for Error {}

/// A response that cannot be given: none is due, the stage has no such response, or it was not agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow(
    /// Letter of the response.
    pub u8,
);

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "response {:?} cannot be given now", char::from(self.0))
    }
}

impl std::error::Error for NotNow {}

/// The state of one connection.
///
/// Put what was read from the mail server behind `input`, call [`Session::event`] until it gives `None`, and answer
/// every event for which [`Session::due`] says so with [`Session::respond`]. While a reply is due no further event
/// comes: the mail server waits, too.
#[derive(Debug)]
pub struct Session {
    limit: usize,
    stage: Stage,
    due: Option<Due>,
    offer: Option<Offer>,
    agreed: Agreement,
    macros: Macros,
    /// Events that one packet has brought beside the first.
    pending: VecDeque<Event>,
}

/// Where in the dialogue we are: what was said last. Commands of a message come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begin,
    Negotiated,
    Connected,
    Mail,
    Rcpt,
    Data,
    Header,
    EndOfHeader,
    Body,
    Ended,
}

/// What a reply is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Negotiation,
    Client,
    Mail,
    Rcpt,
    Content,
    Body,
    EndOfMessage,
    Unknown,
}

impl Default for Session {
    fn default() -> Session {
        Session::new()
    }
}

impl Session {
    /// For a new connection.
    pub fn new() -> Session {
        Session::with_limit(FRAME_LIMIT)
    }

    /// For a new connection, with packets of at most `limit` octets of data. No more than about twice as much is kept,
    /// the macros included, besides what the caller leaves in the input.
    pub fn with_limit(limit: usize) -> Session {
        Session {
            limit,
            stage: Stage::Begin,
            due: None,
            offer: None,
            agreed: Agreement::default(),
            macros: Macros::default(),
            pending: VecDeque::new(),
        }
    }

    /// The next event; `None` when more has to be read, while a reply is due, and after the end.
    pub fn event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        while self.due.is_none() {
            if let Some(event) = self.pending.pop_front() {
                self.due = self.due_to(&event);
                return Ok(Some(event));
            }
            if self.stage == Stage::Ended {
                return Ok(None);
            }
            let Some(frame) = Frame::take(input, self.limit).map_err(Error::Frame)? else { return Ok(None) };
            let command = Command::parse(frame).map_err(Error::Malformed)?;
            self.command(command)?;
        }
        Ok(None)
    }

    /// Whether the last event has still to be answered.
    pub fn due(&self) -> bool {
        self.due.is_some()
    }

    /// Whether a message is under way: MAIL (or whatever comes first of one) was said, and neither its end answered nor
    /// anything said that ends it.
    pub fn in_message(&self) -> bool {
        (Stage::Mail..Stage::Ended).contains(&self.stage)
    }

    /// The macros that hold now.
    pub fn macros(&self) -> &Macros {
        &self.macros
    }

    /// What was agreed on; nothing before [`Session::negotiate`].
    pub fn agreed(&self) -> &Agreement {
        &self.agreed
    }

    /// Answers [`Event::Negotiate`]: agrees on what is wanted as far as it is offered, in the newest version that both
    /// sides speak. What the filter cannot do without it must look for in the result.
    pub fn negotiate(&mut self, wanted: &Wanted, out: &mut Vec<u8>) -> Result<&Agreement, NotNow> {
        let (Some(Due::Negotiation), Some(offer)) = (self.due, self.offer) else { return Err(NotNow(b'O')) };
        // A mail server that names nothing can do what the first version could (libmilter reads it so, too).
        let offered =
            if offer.actions == Actions::NONE { Actions::VERSION_1 } else { offer.actions } & wanted.actions;
        let steps = if offer.steps == Steps::NONE { Steps::VERSION_1 } else { offer.steps } & wanted.steps;
        self.agreed = Agreement {
            version: offer.version.min(VERSION),
            actions: offered,
            steps,
            symbols: match offered.contains(Actions::SET_SYMBOLS) {
                true => wanted.symbols.clone(),
                false => Vec::new(),
            },
        };
        self.due = None;
        Response::Negotiate(self.agreed.clone()).write(out);
        Ok(&self.agreed)
    }

    /// Appends a response to `out`, to be sent. Header values are given with the space that shall stand behind the
    /// colon; where the mail server adds it by itself, it is taken off.
    pub fn respond(&mut self, response: Response, out: &mut Vec<u8>) -> Result<(), NotNow> {
        let not_now = NotNow(response.code());
        let due = self.due.filter(|due| self.may(*due, &response)).ok_or(not_now)?;
        let last = response.is_final();
        let goes_on = matches!(response, Response::Continue | Response::Skip);
        let refuses = matches!(response, Response::Reject | Response::TempFail | Response::Refuse(_));
        self.without_space(response).write(out);
        if !last {
            return Ok(());
        }
        self.due = None;
        match due {
            // Another recipient may follow, or another command.
            Due::Rcpt if refuses => {}
            Due::Negotiation | Due::Client | Due::Unknown => {}
            Due::Mail | Due::Rcpt | Due::Content | Due::Body if goes_on => {}
            Due::Mail | Due::Rcpt | Due::Content | Due::Body | Due::EndOfMessage => self.message_is_over(),
        }
        Ok(())
    }

    fn may(&self, due: Due, response: &Response) -> bool {
        match response {
            Response::Negotiate(_) => false,
            Response::Skip => due == Due::Body && self.agreed.steps.contains(Steps::SKIP),
            Response::Discard => !matches!(due, Due::Negotiation | Due::Client | Due::Unknown),
            response if response.is_final() => due != Due::Negotiation,
            response => due == Due::EndOfMessage && self.agreed.actions.contains(response.needs()),
        }
    }

    fn without_space(&self, mut response: Response) -> Response {
        if let Response::AddHeader { value, .. }
        | Response::InsertHeader { value, .. }
        | Response::ChangeHeader { value, .. } = &mut response
            && !self.agreed.steps.contains(Steps::HEADER_LEADING_SPACE)
            && value.first() == Some(&b' ')
        {
            *value = value.slice(1..);
        }
        response
    }

    /// Takes a command in: its events are pending afterwards.
    fn command(&mut self, command: Command) -> Result<(), Error> {
        let out_of_order = Error::OutOfOrder(command.code());
        let in_message = self.in_message();
        let event = match command {
            Command::Macros { stage, values } => {
                self.macros.set(stage, values);
                return Ok(());
            }
            Command::Abort if in_message => {
                self.message_is_over();
                Event::Abort
            }
            // After a message that the filter has decided about, or a HELO that has ended it.
            Command::Abort => return Ok(()),
            Command::Quit => {
                self.stage = Stage::Ended;
                Event::Quit { reuse: false }
            }
            Command::QuitNewConnection if self.stage >= Stage::Negotiated => {
                self.stage = Stage::Negotiated;
                self.macros.clear();
                Event::Quit { reuse: true }
            }
            Command::Negotiate(offer) if self.stage == Stage::Begin => {
                if offer.version < OLDEST {
                    return Err(Error::Version(offer.version));
                }
                self.stage = Stage::Negotiated;
                self.offer = Some(offer);
                Event::Negotiate(offer)
            }
            Command::Connect(connect) if self.stage == Stage::Negotiated => {
                self.stage = Stage::Connected;
                self.macros.clear_behind(b'C');
                Event::Connect(connect)
            }
            Command::Helo(name) if self.knows_client() => {
                self.ends_message(in_message);
                self.stage = Stage::Connected;
                self.macros.clear_behind(b'H');
                Event::Helo(name)
            }
            Command::Mail(arguments) if self.knows_client() => {
                self.ends_message(in_message);
                self.stage = Stage::Mail;
                self.macros.clear_behind(b'M');
                Event::Mail(arguments)
            }
            Command::Unknown(line)
                if self.stage >= Stage::Negotiated && (self.stage < Stage::Data || !in_message) =>
            {
                Event::Unknown(line)
            }
            command => return self.content(command).ok_or(out_of_order),
        };
        self.pending.push_back(event);
        Ok(())
    }

    /// What comes of a message after MAIL.
    fn content(&mut self, command: Command) -> Option<()> {
        let (stage, event, last) = match command {
            Command::Rcpt(arguments) => {
                self.macros.clear_behind(b'R');
                (Stage::Rcpt, Some(Event::Rcpt(arguments)), false)
            }
            Command::Data => (Stage::Data, Some(Event::Data), false),
            Command::Header { name, value } => {
                let value = self.with_space(value);
                (Stage::Header, Some(Event::Header { name, value }), false)
            }
            Command::EndOfHeader => (Stage::EndOfHeader, Some(Event::EndOfHeader), false),
            Command::Body(data) => (Stage::Body, Some(Event::Body(data)), false),
            Command::EndOfMessage(data) if data.is_empty() => (Stage::Body, None, true),
            Command::EndOfMessage(data) => (Stage::Body, Some(Event::Body(data)), true),
            _ => return None,
        };
        let repeats = matches!(stage, Stage::Rcpt | Stage::Header | Stage::Body);
        let in_order = match self.in_message() {
            true => self.stage < stage || (self.stage == stage && repeats),
            // A message may begin without MAIL where that was declined.
            false => self.knows_client() && self.agreed.steps.contains(Steps::NO_MAIL),
        };
        if !in_order {
            return None;
        }
        self.stage = stage;
        self.pending.extend(event);
        if last {
            self.pending.push_back(Event::EndOfMessage);
        }
        Some(())
    }

    /// Whether commands of a client may come: it has connected, or its connection was declined to be told.
    fn knows_client(&self) -> bool {
        let unseen = self.stage == Stage::Negotiated && self.agreed.steps.contains(Steps::NO_CONNECT);
        (unseen || self.stage >= Stage::Connected) && self.stage != Stage::Ended
    }

    fn ends_message(&mut self, in_message: bool) {
        if in_message {
            self.pending.push_back(Event::Abort);
        }
    }

    fn message_is_over(&mut self) {
        self.stage = Stage::Connected;
        self.pending.clear();
        // Nobody shall be taken for the user who sent the message before.
        self.macros.clear_behind(b'H');
    }

    fn due_to(&self, event: &Event) -> Option<Due> {
        let with_end = self.pending.front() == Some(&Event::EndOfMessage);
        let (due, none_if) = match event {
            Event::Negotiate(_) => (Due::Negotiation, Steps::NONE),
            Event::Connect(_) => (Due::Client, Steps::NO_REPLY_CONNECT),
            Event::Helo(_) => (Due::Client, Steps::NO_REPLY_HELO),
            Event::Mail(_) => (Due::Mail, Steps::NO_REPLY_MAIL),
            Event::Rcpt(_) => (Due::Rcpt, Steps::NO_REPLY_RCPT),
            Event::Data => (Due::Content, Steps::NO_REPLY_DATA),
            Event::Header { .. } => (Due::Content, Steps::NO_REPLY_HEADER),
            Event::EndOfHeader => (Due::Content, Steps::NO_REPLY_END_OF_HEADER),
            Event::Body(_) if with_end => return None,
            Event::Body(_) => (Due::Body, Steps::NO_REPLY_BODY),
            Event::EndOfMessage => (Due::EndOfMessage, Steps::NONE),
            Event::Unknown(_) => (Due::Unknown, Steps::NO_REPLY_UNKNOWN),
            Event::Abort | Event::Quit { .. } => return None,
        };
        let replies = none_if == Steps::NONE || !self.agreed.steps.contains(none_if);
        replies.then_some(due)
    }

    /// A mail server that eats the space behind the colon eats one, and no tab.
    fn with_space(&self, value: Bytes) -> Bytes {
        let eaten = !self.agreed.steps.contains(Steps::HEADER_LEADING_SPACE)
            && !matches!(value.first(), None | Some(b'\t' | b'\n' | b'\r'));
        if !eaten {
            return value;
        }
        let mut whole = BytesMut::with_capacity(value.len() + 1);
        whole.extend_from_slice(b" ");
        whole.extend_from_slice(&value);
        whole.freeze()
    }
}

// One packet of a new body fits into every mail server's limit.
const _: () = assert!(CHUNK < FRAME_LIMIT);
