//! AM.PDP: what amavisd-milter asks about mail, and what amavisd-release asks of the quarantine.
//!
//! The mail server behind the client has the message all the time: a connection that breaks, or an answer that says
//! `tempfail`, leaves it there. What is held is on disk before the client hears `discard`.

mod file;
mod judge;
mod release;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gatepost_wire::ampdp::{Attribute, ReadError, Reader, Request, Response, ReturnValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Front;
use super::listen::Place;
use crate::resources::net::Stream;

/// Serves one connection to its end. `peer` is None on unix sockets.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, peer: Option<SocketAddr>, place: Place) {
    let _place = place;
    let mut asker = Asker {
        peer,
        stream,
        input: BytesMut::with_capacity(2048),
        reader: Reader::new(),
        draining: front.draining.clone(),
        errors: 0,
        front,
    };
    if let Err(end) = asker.run().await {
        tracing::warn!(listener = asker.front.listener.name, client = ?peer, "AM.PDP session ended: {end}");
    }
}

struct Asker {
    front: Arc<Front>,
    peer: Option<SocketAddr>,
    stream: Stream,
    input: BytesMut,
    reader: Reader,
    draining: watch::Receiver<bool>,
    errors: u32,
}

/// An answer, and whether the request was one that nobody should make often.
struct Answer {
    bytes: Vec<u8>,
    wrong: bool,
}

impl Answer {
    fn good(response: Response) -> Answer {
        Answer { bytes: response.finish(), wrong: false }
    }

    fn wrong(response: Response) -> Answer {
        Answer { bytes: response.finish(), wrong: true }
    }
}

/// Why a session ends early.
#[derive(Debug)]
enum End {
    Broken(std::io::Error),
    Cut,
    Slow,
    Unreadable(ReadError),
    Errors,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Broken(error) => error.fmt(f),
            End::Cut => f.write_str("the client went away in the middle of a request"),
            End::Slow => f.write_str("the client was silent, or too slow"),
            End::Unreadable(error) => error.fmt(f),
            End::Errors => f.write_str("too many wrong requests"),
        }
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> End {
        End::Broken(error)
    }
}

impl Asker {
    async fn run(&mut self) -> Result<(), End> {
        for _ in 0..self.front.limits.messages {
            let Some(attributes) = self.request().await? else { return Ok(()) };
            let answer = self.answer(&attributes).await;
            let writing = self.stream.write_all(&answer.bytes);
            timeout(self.front.limits.data_time.duration(), writing).await.map_err(|_| End::Slow)??;
            self.errors += u32::from(answer.wrong);
            if self.errors >= self.front.limits.errors {
                return Err(End::Errors);
            }
        }
        Ok(())
    }

    /// The next request; None when the client has no more, or the daemon wants to stop and none has begun.
    async fn request(&mut self) -> Result<Option<Vec<Attribute>>, End> {
        let limits = self.front.limits.clone();
        let deadline = Instant::now() + limits.message_time.duration();
        loop {
            if let Some(attributes) = self.reader.next(&mut self.input).map_err(End::Unreadable)? {
                return Ok(Some(attributes));
            }
            let idle = !self.reader.has_begun() && self.input.is_empty();
            let patience =
                limits.command_time.duration().min(deadline.saturating_duration_since(Instant::now()));
            if patience == Duration::ZERO {
                return Err(End::Slow);
            }
            let read = tokio::select! {
                read = timeout(patience, self.stream.read_buf(&mut self.input)) => read,
                _ = self.draining.wait_for(|draining| *draining), if idle => return Ok(None),
            };
            match read {
                Ok(Ok(0)) if idle => return Ok(None),
                Ok(Ok(0)) => return Err(End::Cut),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if idle => return Ok(None),
                Err(_) => return Err(End::Slow),
            }
        }
    }

    async fn answer(&self, attributes: &[Attribute]) -> Answer {
        match Request::new(attributes) {
            Ok(Request::Judge(judge)) => judge::answer(&self.front, *judge).await,
            Ok(Request::Release(release)) => release::answer(&self.front, self.peer, *release).await,
            Err(error) => {
                tracing::warn!(listener = self.front.listener.name, client = ?self.peer, "AM.PDP request: {error}");
                Answer::wrong(failure(&error.to_string()))
            }
        }
    }
}

/// What cannot be answered is put off, in the words of amavis.
fn failure(why: &str) -> Response {
    let mut response = Response::version_2();
    response.set_reply(450, "4.5.0", &format!("Failure: {why}"));
    response.return_value(ReturnValue::TempFail);
    response
}
