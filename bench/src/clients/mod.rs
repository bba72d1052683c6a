//! The protocols by which a mail server asks a content filter, each from the server's side: small clients that do what
//! the real ones do on the wire, and no more.

mod am_pdp;
mod clamd;
mod connection;
mod http;
mod milter;
mod policy;
mod smtp;
mod spamd;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

use crate::corpus;
use crate::load::Options;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// SMTP (RFC 5321).
    Smtp,
    /// LMTP (RFC 2033).
    Lmtp,
    /// Milter, version 6, as Postfix speaks it.
    Milter,
    /// spamd's CHECK: the verdict only.
    SpamdCheck,
    /// spamd's PROCESS: the marked message comes back.
    SpamdProcess,
    /// clamd's INSTREAM.
    Clamd,
    /// AM.PDP, as amavisd-milter speaks it.
    AmPdp,
    /// POST to gatepost's /v1/scan.
    Http,
    /// Postfix's policy delegation: a question is all there is.
    Policy,
}

/// Where the server is: `127.0.0.1:25` or `unix:/run/server.sock`.
#[derive(Clone, Debug)]
pub enum Target {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Target::Unix(path.into())),
            None => text.parse().map(Target::Tcp).map_err(|error| format!("{text}: {error}")),
        }
    }
}

/// A message in the form that its protocol sends, made before the measurement begins.
pub struct Prepared {
    /// What goes over the wire, in pieces that the protocol sends one by one.
    pieces: Vec<Box<[u8]>>,
    /// Bytes of the message itself.
    size: usize,
    /// Folder that holds the message, for protocols that hand it over as a file.
    folder: Option<PathBuf>,
}

impl Prepared {
    /// Bytes of the message.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Makes all messages ready. `raw` has CRLF line ends.
pub fn prepare(options: &Options, raw: &[Box<[u8]>]) -> io::Result<Vec<Prepared>> {
    if options.protocol() == Protocol::Policy {
        let ask = |number| policy::question(options, number);
        let prepared =
            |question: Box<[u8]>| Prepared { size: question.len(), pieces: vec![question], folder: None };
        return Ok((0..options.distinct.max(1)).map(ask).map(prepared).collect());
    }
    let prepared = raw.iter().enumerate().map(|(number, raw)| {
        let mut folder = None;
        let pieces = match options.protocol() {
            Protocol::Smtp | Protocol::Lmtp => vec![corpus::stuffed(raw)],
            Protocol::Milter => milter::packets(raw),
            Protocol::SpamdCheck => vec![spamd::request("CHECK", raw)],
            Protocol::SpamdProcess => vec![spamd::request("PROCESS", raw)],
            Protocol::Clamd => vec![clamd::request(raw)],
            Protocol::AmPdp => {
                folder = Some(am_pdp::store(options, number, raw)?);
                Vec::new()
            }
            Protocol::Http => vec![http::request(options, raw)],
            Protocol::Policy => Vec::new(),
        };
        Ok(Prepared { pieces, size: raw.len(), folder })
    });
    prepared.collect()
}

/// How a message fared.
pub struct Sent {
    /// The command that was refused, or [`END`] for the message itself.
    pub stage: &'static str,
    /// An SMTP code: that of the worst answer, or what the protocol's verdict amounts to (250 taken, 451 come again,
    /// 550 refused or found to be bad).
    pub code: u16,
    /// From the last byte of the message to the answer.
    pub answer: Duration,
}

/// The stage of an answer to a whole message.
pub const END: &str = "end-of-data";

impl Sent {
    /// The answer to a message whose last byte went out at `begin`.
    fn whole(code: u16, begin: Instant) -> Sent {
        Sent { stage: END, code, answer: begin.elapsed() }
    }
}

/// A client of one protocol, connected.
pub enum Client {
    /// SMTP and LMTP.
    Smtp(smtp::Client),
    /// Milter.
    Milter(milter::Client),
    /// spamd: a connection a message.
    Spamd,
    /// clamd: a connection a message.
    Clamd,
    /// AM.PDP: a connection a message.
    AmPdp,
    /// HTTP/1.1.
    Http(http::Client),
    /// Policy delegation.
    Policy(policy::Client),
}

impl Client {
    /// Connects and greets, where the protocol has such things. `worker` chooses among the local addresses.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Client> {
        Ok(match options.protocol() {
            Protocol::Smtp | Protocol::Lmtp => Client::Smtp(smtp::Client::open(options, worker).await?),
            Protocol::Milter => Client::Milter(milter::Client::open(options, worker).await?),
            Protocol::SpamdCheck | Protocol::SpamdProcess => Client::Spamd,
            Protocol::Clamd => Client::Clamd,
            Protocol::AmPdp => Client::AmPdp,
            Protocol::Http => Client::Http(http::Client::open(options, worker).await?),
            Protocol::Policy => Client::Policy(policy::Client::open(options, worker).await?),
        })
    }

    /// Has one message judged.
    pub async fn send(&mut self, options: &Options, worker: usize, message: &Prepared) -> io::Result<Sent> {
        match self {
            Client::Smtp(client) => client.send(options, &message.pieces[0]).await,
            Client::Milter(client) => client.send(options, &message.pieces).await,
            Client::Spamd => spamd::send(options, worker, &message.pieces[0]).await,
            Client::Clamd => clamd::send(options, worker, &message.pieces[0]).await,
            Client::AmPdp => am_pdp::send(options, worker, message.folder.as_deref()).await,
            Client::Http(client) => client.send(&message.pieces[0]).await,
            Client::Policy(client) => client.send(&message.pieces[0]).await,
        }
    }

    /// Says goodbye as the protocol does.
    pub async fn quit(&mut self) -> io::Result<()> {
        match self {
            Client::Smtp(client) => client.quit().await,
            Client::Milter(client) => client.quit().await,
            Client::Spamd | Client::Clamd | Client::AmPdp | Client::Http(_) | Client::Policy(_) => Ok(()),
        }
    }
}
