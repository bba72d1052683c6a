//! The client side of a ClamAV daemon: a pool of sessions, each with one command under way at a time.
//!
//! A session (`IDSESSION`) carries one scan after the other, so that a scan costs one write and one read. A session
//! that clamd has closed meanwhile (it was restarted, or tired of waiting) is found out by the next scan, which is
//! then tried once more on a new one.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use gatepost_mail::Cause;
use gatepost_wire::clamd::{self as wire, Answer, Numbered};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::checks::run::seconds;

/// Longest to wait for a connection to be made; a local daemon takes none of it.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A session that was idle for longer is not used again: clamd may be about to close it (IdleTimeout, 30 s).
const IDLE_TIME: Duration = Duration::from_secs(20);

/// Content from this size on is copied into its file on a thread where blocking is allowed.
const LARGE: usize = 1 << 20;

/// Most connections that may be configured; clamd itself queues 100 by default.
pub const MOST_CONNECTIONS: u32 = 1000;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A socket's path.
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Place {
    /// `unix:/path` or `tcp:host:port`.
    pub fn parse(text: &str) -> Result<Place, String> {
        let unclear =
            || format!("“{text}” is not a socket such as unix:/run/clamav/clamd.ctl or tcp:127.0.0.1:3310");
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Place::Unix(path.into())) } else { Err(unclear()) };
        }
        let address = text.strip_prefix("tcp:").ok_or_else(unclear)?;
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(Place::Tcp(address.into()))
            }
            _ => Err(unclear()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// What came of a scan.
#[derive(Debug, PartialEq)]
pub enum Looked {
    /// Nothing is known against it.
    Clean,
    /// It is known by this name.
    Found(String),
    /// It was not looked at: it is longer than clamd takes (its StreamMaxLength).
    TooLarge,
}

/// Why a scan was not done.
#[derive(Debug)]
pub struct Failure {
    /// What kind of failure.
    pub cause: Cause,
    /// Details for the log.
    pub detail: String,
}

/// A daemon with the sessions that are open to it.
pub struct Client {
    place: Place,
    /// Content goes over as a file descriptor.
    by_file: bool,
    permits: Semaphore,
    /// Sessions that wait for work; the last was used last.
    idle: Mutex<Vec<Session>>,
}

/// What to send for one scan.
struct Content<'a> {
    prefix: &'static [u8],
    bytes: &'a Bytes,
    /// The same in a file, where it goes over as one.
    file: Option<File>,
}

impl Client {
    /// No connection is made yet. With `by_file`, content is handed over as a file descriptor.
    pub fn new(place: Place, by_file: bool, connections: u32) -> Client {
        let permits = Semaphore::new(connections.clamp(1, MOST_CONNECTIONS) as usize);
        Client { place, by_file, permits, idle: Mutex::default() }
    }

    /// Where the daemon is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Idle sessions, and commands that the last of them has carried.
    #[cfg(test)]
    pub fn pooled(&self) -> (usize, u32) {
        let idle = self.idle();
        (idle.len(), idle.last().map_or(0, |session| session.id))
    }

    /// What is found in `prefix` and `bytes` together.
    pub async fn scan(&self, prefix: &'static [u8], bytes: &Bytes) -> Result<Looked, Failure> {
        // The semaphore is never closed; were it, a scan without a permit would do no harm.
        let _permit = self.permits.acquire().await.ok();
        let file =
            if self.by_file { Some(in_memory_file(prefix, bytes).await.map_err(no_file)?) } else { None };
        let content = Content { prefix, bytes, file };
        if let Some(mut session) = self.take_idle()
            && let Ok(answer) = session.scan(&content).await
        {
            return self.finish(session, answer);
        }
        let mut session = Session::new(self.connect().await?);
        let answer = session.scan(&content).await.map_err(|why| self.broken(why))?;
        self.finish(session, answer)
    }

    /// What an answer means. The session may be used again unless clamd gave up on it.
    fn finish(&self, session: Session, answer: Answer) -> Result<Looked, Failure> {
        let looked = match answer {
            Answer::Clean => Looked::Clean,
            Answer::Found(name) => Looked::Found(name),
            _ if answer.is_stream_limit() => return Ok(Looked::TooLarge),
            Answer::Error(why) => {
                return Err(Failure { cause: Cause::Limit, detail: format!("{}: {why}", self.place) });
            }
            Answer::Pong | Answer::Version(_) | Answer::Reloading => {
                return Err(self.broken(io::Error::other("an answer to another command")));
            }
        };
        let mut idle = self.idle();
        idle.retain(|other| other.used.elapsed() < IDLE_TIME);
        idle.push(session);
        Ok(looked)
    }

    /// Engine, version and date of the signatures, over a connection of its own so that a busy pool says nothing.
    pub async fn version(&self) -> Result<String, Failure> {
        let mut session = Session::new(self.connect().await?);
        let command = |command: &'static [u8]| [wire::ID_SESSION, command].concat();
        let ping = session.command(&command(wire::PING)).await.map_err(|why| self.broken(why))?;
        if ping != Answer::Pong {
            return Err(self.broken(io::Error::other("no PONG to PING")));
        }
        match session.command(wire::VERSION).await.map_err(|why| self.broken(why))? {
            Answer::Version(version) => Ok(version),
            _ => Err(self.broken(io::Error::other("no version to VERSION"))),
        }
    }

    /// Tells it that its signatures have changed. It answers at once, and reads them then.
    pub async fn reload(&self) -> Result<(), Failure> {
        let (mut stream, mut buf) = (self.connect().await?, BytesMut::new());
        let answer = async {
            // No command of a session, so the answer has no number.
            let numbered = match &mut stream {
                Stream::Unix(stream) => {
                    stream.write_all(wire::RELOAD).await?;
                    read_numbered(stream, &mut buf).await?
                }
                Stream::Tcp(stream) => {
                    stream.write_all(wire::RELOAD).await?;
                    read_numbered(stream, &mut buf).await?
                }
            };
            match numbered.answer {
                Answer::Reloading => Ok(()),
                other => Err(io::Error::other(format!("it answers {other:?}"))),
            }
        };
        answer.await.map_err(|why| self.broken(why))
    }

    /// The session that was used last, if it still seems good; one that was idle for too long takes all older ones
    /// along.
    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        let session = idle.pop()?;
        if session.used.elapsed() >= IDLE_TIME {
            idle.clear();
            return None;
        }
        // A daemon that was restarted has closed them all.
        if session.stream.is_quiet() {
            return Some(session);
        }
        idle.clear();
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        // The list is whole whatever panicked while it was locked.
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        let connecting = async {
            Ok(match &self.place {
                Place::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
                Place::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Stream::Tcp(stream)
                }
            })
        };
        match timeout(CONNECT_TIME, connecting).await {
            Ok(connected) => connected.map_err(|why| self.broken(why)),
            Err(_) => {
                let detail = format!("{}: no connection within {}", self.place, seconds(CONNECT_TIME));
                Err(Failure { cause: Cause::Timeout, detail })
            }
        }
    }

    fn broken(&self, why: io::Error) -> Failure {
        Failure { cause: Cause::Unavailable, detail: format!("{}: {why}", self.place) }
    }
}

fn no_file(why: io::Error) -> Failure {
    Failure { cause: Cause::Limit, detail: format!("no memory file for clamd: {why}") }
}

/// A connection to clamd.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Open, and nothing has come that nobody asked for.
    fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Stream::Unix(stream) => stream.try_read(&mut byte),
            Stream::Tcp(stream) => stream.try_read(&mut byte),
        };
        read.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A connection on which one command is under way at a time.
struct Session {
    stream: Stream,
    /// Number of the last command.
    id: u32,
    buf: BytesMut,
    used: Instant,
}

impl Session {
    /// Nothing is sent yet: the session begins with its first command.
    fn new(stream: Stream) -> Session {
        Session { stream, id: 0, buf: BytesMut::new(), used: Instant::now() }
    }

    async fn scan(&mut self, content: &Content<'_>) -> io::Result<Answer> {
        let mut command = Vec::with_capacity(64);
        if self.id == 0 {
            command.extend_from_slice(wire::ID_SESSION);
        }
        match (&self.stream, &content.file) {
            (Stream::Unix(stream), Some(file)) => {
                command.extend_from_slice(wire::FILDES);
                command.push(0);
                send_file(stream, &command, file).await?;
                self.answer().await
            }
            _ => {
                command.extend_from_slice(wire::INSTREAM);
                self.send_bytes(command, content).await
            }
        }
    }

    /// A command that has no content, and its answer.
    async fn command(&mut self, command: &[u8]) -> io::Result<Answer> {
        match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(command).await?,
            Stream::Tcp(stream) => stream.write_all(command).await?,
        }
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        self.id = self.id.wrapping_add(1);
        self.used = Instant::now();
        match &mut self.stream {
            Stream::Unix(stream) => read_answer(stream, &mut self.buf, self.id).await,
            Stream::Tcp(stream) => read_answer(stream, &mut self.buf, self.id).await,
        }
    }

    async fn send_bytes(&mut self, command: Vec<u8>, content: &Content<'_>) -> io::Result<Answer> {
        self.id = self.id.wrapping_add(1);
        self.used = Instant::now();
        let (id, buf) = (self.id, &mut self.buf);
        match &mut self.stream {
            Stream::Unix(stream) => instream(stream, command, content, buf, id).await,
            Stream::Tcp(stream) => instream(stream, command, content, buf, id).await,
        }
    }
}

/// Sends content as a stream of one frame and reads the answer. It is read while sending goes on, for clamd may give
/// up early (over its StreamMaxLength) and then reads no further.
async fn instream<S: AsyncRead + AsyncWrite>(
    stream: S,
    mut command: Vec<u8>,
    content: &Content<'_>,
    buf: &mut BytesMut,
    id: u32,
) -> io::Result<Answer> {
    let length = content.prefix.len() + content.bytes.len();
    let frame = u32::try_from(length).map_err(|_| io::Error::other("larger than a frame can be"))?;
    if frame > 0 {
        command.extend_from_slice(&wire::frame_header(frame));
    }
    let mut request = Buf::chain(&command[..], content.prefix)
        .chain(content.bytes.as_ref())
        .chain(&wire::END_OF_STREAM[..]);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut reading = std::pin::pin!(read_answer(&mut reader, buf, id));
    tokio::select! {
        biased;
        sent = writer.write_all_buf(&mut request) => {
            // When sending breaks there may still be an answer that says why.
            let answer = reading.await;
            match sent {
                Ok(()) => answer,
                Err(why) => answer.ok().filter(|answer| matches!(answer, Answer::Error(_))).ok_or(why),
            }
        }
        answer = &mut reading => match answer? {
            why @ Answer::Error(_) => Ok(why),
            _ => Err(io::Error::other("an answer before the content was sent")),
        },
    }
}

/// Reads the answer to command `id`.
async fn read_answer<R: AsyncRead + Unpin>(reader: R, buf: &mut BytesMut, id: u32) -> io::Result<Answer> {
    let numbered = read_numbered(reader, buf).await?;
    match numbered.id {
        Some(got) if got == id => Ok(numbered.answer),
        _ => Err(io::Error::other(match numbered.answer {
            // An error of the session itself, such as COMMAND READ TIMED OUT, bears no number.
            Answer::Error(why) => why,
            _ => "an answer to a command that was not given".into(),
        })),
    }
}

async fn read_numbered<R: AsyncRead + Unpin>(mut reader: R, buf: &mut BytesMut) -> io::Result<Numbered> {
    loop {
        if let Some(numbered) = wire::read_answer(buf).map_err(io::Error::other)? {
            return Ok(numbered);
        }
        if reader.read_buf(buf).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "clamd closed the connection"));
        }
    }
}

/// Content in a file that has no name and lies in memory, to be handed over.
async fn in_memory_file(prefix: &'static [u8], bytes: &Bytes) -> io::Result<File> {
    let make = |bytes: &[u8]| {
        let file = File::from(memfd_create(c"gatepost-mail", MFdFlags::MFD_CLOEXEC)?);
        file.write_all_at(prefix, 0)?;
        file.write_all_at(bytes, prefix.len() as u64)?;
        Ok(file)
    };
    if bytes.len() < LARGE {
        return make(bytes);
    }
    let bytes = bytes.clone();
    tokio::task::spawn_blocking(move || make(&bytes)).await.unwrap_or_else(|why| Err(io::Error::other(why)))
}

/// Sends a command with a file descriptor beside its last byte (unix(7), SCM_RIGHTS).
async fn send_file(stream: &UnixStream, command: &[u8], file: &File) -> io::Result<()> {
    let files = [file.as_raw_fd()];
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let rights = [ControlMessage::ScmRights(&files)];
            let slices = [IoSlice::new(command)];
            sendmsg::<()>(stream.as_raw_fd(), &slices, &rights, MsgFlags::MSG_NOSIGNAL, None)
                .map_err(io::Error::from)
        })
        .await?;
    if sent == command.len() { Ok(()) } else { Err(io::Error::other("clamd does not take commands")) }
}
