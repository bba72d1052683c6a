//! Messages in the bodies of requests and responses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout};

use super::super::Front;
use super::super::local::{self, Mended, Unfit};
use super::super::spool::Spool;
use super::Failure;

/// Of a message that is too large so much is still read: many clients hear nothing before they have sent all.
const DISCARD: u64 = 16 << 20;
/// And for so long.
const DISCARD_TIME: Duration = Duration::from_secs(10);

const NO_SPACE: &str = "insufficient storage; ask again later";

/// Reads a whole message within the session's limits of size and time.
///
/// Line endings are mended, and a separator of mailboxes before it is left out.
pub(super) async fn read(front: &Front, headers: &HeaderMap, body: Incoming) -> Result<Mended, Failure> {
    let content = collect(front, headers, body).await?;
    if content.is_empty() {
        // No mail server makes such a message; whoever should have sent it has failed.
        return Err(Failure::bad("there is no message in the body"));
    }
    let (memory, stray) = (front.limits.memory.bytes(), front.limits.stray_line_endings.into());
    let mended = local::mended(local::without_from_line(content), memory, &front.spool, stray).await;
    mended.map_err(|unfit| match unfit {
        Unfit::Stray => Failure::new(StatusCode::UNPROCESSABLE_ENTITY, unfit.reply().to_string()),
        Unfit::NoSpace => Failure::new(StatusCode::INSUFFICIENT_STORAGE, NO_SPACE),
    })
}

async fn collect(front: &Front, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Failure> {
    check_form(headers)?;
    let limits = &front.limits;
    let most = limits.message_size.bytes();
    let announced = body.size_hint().exact();
    if announced.is_some_and(|size| size > most) {
        // Who waits to be told to go on sends nothing.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(most));
    }
    let mut spool = Spool::new(limits.memory.bytes());
    let mut size = 0;
    let deadline = Instant::now() + limits.message_time.duration();
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(limits.data_time.duration());
        let frame = match timeout(left, frame(&mut body)).await {
            Err(_) => {
                return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the message takes too long to come"));
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Failure::bad(format!("the message did not come whole: {error}")));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        size += data.len() as u64;
        if size > most {
            discard(&mut body).await;
            return Err(too_large(most));
        }
        spool.buffer().extend_from_slice(&data);
        spool.settle(&front.spool).map_err(|error| no_space(&error))?;
    }
    spool.finish().map_err(|error| no_space(&error))
}

/// What would be taken for something else than it is, or judged without being there, is refused.
fn check_form(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |what: &str| Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    for name in [header::CONTENT_ENCODING.as_str(), "compression"] {
        let plain = |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get(name).is_some_and(|value| !plain(value)) {
            return Err(unsupported("compressed messages are not taken here; send it as it is"));
        }
    }
    if headers.contains_key("key") {
        return Err(unsupported("encrypted messages are not taken here; send it as it is"));
    }
    if headers.contains_key("message-length") {
        return Err(unsupported(
            "control blocks are not taken here; send the message alone, facts in headers",
        ));
    }
    if ["shm", "file", "path"].iter().any(|name| headers.contains_key(*name)) {
        return Err(unsupported("messages are not read from files here; send it in the body"));
    }
    Ok(())
}

async fn frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn discard(body: &mut Incoming) {
    let mut size = 0;
    let reading = async {
        while let Some(Ok(frame)) = frame(body).await {
            size += frame.into_data().map_or(0, |data| data.len() as u64);
            if size > DISCARD {
                return;
            }
        }
    };
    // Whether it ended or not, the answer is the same.
    let _ = timeout(DISCARD_TIME, reading).await;
}

fn too_large(most: u64) -> Failure {
    let error = format!("the message is larger than {most} bytes (limits.message_size)");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error)
}

fn no_space(error: &io::Error) -> Failure {
    tracing::error!(%error, "a message cannot be collected");
    Failure::new(StatusCode::INSUFFICIENT_STORAGE, NO_SPACE)
}

/// A body in pieces whose length is known before it is sent, so that nobody takes half of it for all.
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Pieces {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(Buf::has_remaining).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Pieces { pieces, left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
