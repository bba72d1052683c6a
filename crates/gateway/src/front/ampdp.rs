//! AM.PDP: what amavisd-milter asks about mail, and what amavisd-release asks of the quarantine.
//!
//! The mail server behind the client has the message all the time: a connection that breaks, or an answer that says
//! `tempfail`, leaves it there. What is held is on disk before the client hears `discard`.

mod file;
mod judge;
mod release;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use gatepost_wire::ampdp::{Attribute, ReadError, Reader, Request, Response, ReturnValue};

use super::Front;
use super::asker::{Asker, Gone, Wire};
use super::listen::Place;
use crate::resources::net::Stream;

/// Serves one connection to its end. `peer` is None on unix sockets.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, peer: Option<SocketAddr>, place: Place) {
    let _place = place;
    let asker = Asker::new(Wire::Stream(stream), &front);
    let mut session = Session { asker, peer, reader: Reader::new(), errors: 0, front };
    if let Err(end) = session.run().await {
        tracing::warn!(listener = session.front.listener.name, client = ?peer, "AM.PDP session ended: {end}");
    }
    session.asker.leave().await;
}

struct Session {
    front: Arc<Front>,
    peer: Option<SocketAddr>,
    asker: Asker,
    reader: Reader,
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
    Cut,
    Slow,
    Unreadable(ReadError),
    Errors,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Cut => f.write_str("the client went away in the middle of a request"),
            End::Slow => f.write_str("the client was silent, or too slow"),
            End::Unreadable(error) => error.fmt(f),
            End::Errors => f.write_str("too many wrong requests"),
        }
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> End {
        match gone {
            Gone::Timeout => End::Slow,
            Gone::Closed | Gone::Draining => End::Cut,
        }
    }
}

impl Session {
    async fn run(&mut self) -> Result<(), End> {
        for _ in 0..self.front.limits.messages {
            let Some(attributes) = self.request().await? else { return Ok(()) };
            let answer = self.answer(&attributes).await;
            self.asker.say(&answer.bytes, self.front.limits.data_time.duration()).await?;
            self.errors += u32::from(answer.wrong);
            if self.errors >= self.front.limits.errors {
                return Err(End::Errors);
            }
        }
        Ok(())
    }

    /// The next request; None when the client has no more, or the daemon wants to stop and none has begun.
    async fn request(&mut self) -> Result<Option<Vec<Attribute>>, End> {
        let limits = &self.front.limits;
        let (silence, longest) = (limits.command_time.duration(), limits.message_time.duration());
        let mut deadline = Instant::now() + longest;
        loop {
            if let Some(attributes) = self.reader.next(&mut self.asker.input).map_err(End::Unreadable)? {
                return Ok(Some(attributes));
            }
            let idle = !self.reader.has_begun() && self.asker.input.is_empty();
            match (idle, self.asker.ended) {
                (true, true) => return Ok(None),
                (false, true) => return Err(End::Cut),
                (false, false) => self.asker.more(silence, deadline).await?,
                (true, false) if self.asker.wait(silence).await.is_err() => return Ok(None),
                (true, false) => deadline = Instant::now() + longest,
            }
        }
    }

    async fn answer(&self, attributes: &[Attribute]) -> Answer {
        match Request::new(attributes) {
            Ok(Request::Judge(judge)) => judge::answer(&self.front, self.peer, *judge).await,
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
