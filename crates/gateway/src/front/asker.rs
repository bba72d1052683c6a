//! A connection of somebody who asks about mail: read within the limits, answered, and closed so that the last words
//! arrive.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Front;
use super::spool::Spool;
use crate::resources::net::Stream;

/// Bytes asked of the socket at once.
const CHUNK: usize = 64 * 1024;

/// Open files taken along with one read, and kept until a command wants them. More are closed.
const MOST_FILES: usize = 4;

/// What carries the connection.
pub(super) enum Wire {
    /// Anything.
    Stream(Stream),
    /// A unix socket by which open files may come, in the order in which they came.
    Local(UnixStream, VecDeque<OwnedFd>),
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client has gone away, or its connection failed.
    Closed,
    /// It was silent for too long, or sends too slowly.
    Timeout,
    /// The daemon stops, and the client had nothing under way.
    Draining,
}

/// The connection.
pub(super) struct Asker {
    wire: Wire,
    /// What has been read and not been taken yet.
    pub input: BytesMut,
    /// The client has said all it will.
    pub ended: bool,
    draining: watch::Receiver<bool>,
}

impl Asker {
    /// A new one.
    pub fn new(wire: Wire, front: &Front) -> Asker {
        Asker { wire, input: BytesMut::with_capacity(2048), ended: false, draining: front.draining.clone() }
    }

    /// Waits for the first byte of something new, at most so long, and not when the daemon stops.
    pub async fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        let mut draining = self.draining.clone();
        let stopping = async move {
            // Whoever could tell us is gone: then nobody stops us either.
            if draining.wait_for(|draining| *draining).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            read = self.more(time, Instant::now() + time) => read,
            () = stopping => Err(Gone::Draining),
        }
    }

    /// Reads what there is, waiting for it so long at most and not beyond the deadline; `ended` when there is nothing
    /// more.
    pub async fn more(&mut self, silence: Duration, deadline: Instant) -> Result<(), Gone> {
        if self.ended {
            return Ok(());
        }
        let time = silence.min(deadline.saturating_duration_since(Instant::now()));
        let reading = timeout(time, self.wire.read(&mut self.input));
        let read = reading.await.map_err(|_| Gone::Timeout)?.map_err(|_| Gone::Closed)?;
        self.ended = read == 0;
        Ok(())
    }

    /// The file that came next, if one has come.
    pub fn file(&mut self) -> Option<OwnedFd> {
        match &mut self.wire {
            Wire::Stream(_) => None,
            Wire::Local(_, files) => files.pop_front(),
        }
    }

    /// Whether open files can come at all.
    pub fn is_local(&self) -> bool {
        matches!(self.wire, Wire::Local(..))
    }

    /// Says something, within that time.
    pub async fn say(&mut self, text: &[u8], time: Duration) -> Result<(), Gone> {
        let writing = timeout(time, self.wire.write(text));
        writing.await.map_err(|_| Gone::Timeout)?.map_err(|_| Gone::Closed)
    }

    /// Closes. What the client still sends is read for a moment: closed with unread input, TCP would reset the
    /// connection and might take our last words with it.
    pub async fn leave(mut self) {
        const MOST: usize = 1 << 20;
        const LONGEST: Duration = Duration::from_secs(5);
        let _ = timeout(LONGEST, async {
            self.wire.shutdown().await?;
            let mut read = 0;
            while read < MOST && !self.ended {
                self.input.clear();
                match self.wire.read(&mut self.input).await? {
                    0 => break,
                    more => read += more,
                }
            }
            Ok::<(), io::Error>(())
        })
        .await;
    }
}

impl Wire {
    async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        input.reserve(CHUNK);
        match self {
            Wire::Stream(stream) => stream.read_buf(input).await,
            Wire::Local(stream, files) => {
                let start = input.len();
                loop {
                    stream.readable().await?;
                    // Nothing is waited for before the input is what was read again.
                    input.resize(start + CHUNK, 0);
                    let read =
                        stream.try_io(Interest::READABLE, || receive(stream, &mut input[start..], files));
                    input.truncate(start + read.as_ref().copied().unwrap_or(0));
                    match read {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => return read,
                    }
                }
            }
        }
    }

    async fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Wire::Stream(stream) => {
                stream.write_all(text).await?;
                stream.flush().await
            }
            Wire::Local(stream, _) => stream.write_all(text).await,
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Stream(stream) => stream.shutdown().await,
            Wire::Local(stream, _) => stream.shutdown().await,
        }
    }
}

/// Bytes, and the open files that come with them (SCM_RIGHTS, unix(7)).
fn receive(stream: &UnixStream, into: &mut [u8], files: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let read = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(into)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            let room = MOST_FILES - files.len().min(MOST_FILES);
            files.extend(more.take(room));
        }
    }
    Ok(read.bytes)
}

/// Keeps what has come of a message within bounds, see [`Spool::settle`]; an error is logged.
pub(super) fn settle(spool: &mut Spool, front: &Front) -> io::Result<()> {
    spool.settle(&front.spool).inspect_err(|error| {
        tracing::error!(%error, folder = %front.spool.display(), "cannot hold a message");
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn asker(stream: UnixStream) -> Asker {
        let (_, draining) = watch::channel(false);
        Asker { wire: Wire::Local(stream, VecDeque::new()), input: BytesMut::new(), ended: false, draining }
    }

    fn send_files(stream: &UnixStream, bytes: &[u8], count: usize) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let file = tempfile::tempfile().unwrap();
        let files = vec![file.as_fd(); count];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(stream, &[io::IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    #[tokio::test]
    async fn open_files_come_along_and_never_too_many() {
        let (client, server) = UnixStream::pair().unwrap();
        let mut asker = asker(server);
        send_files(&client, b"a", 1);
        send_files(&client, b"b", 16);
        drop(client);
        while !asker.ended {
            asker.more(Duration::from_secs(5), Instant::now() + Duration::from_secs(5)).await.unwrap();
        }
        assert_eq!(&asker.input[..], b"ab");
        let mut files = 0;
        while asker.file().is_some() {
            files += 1;
        }
        assert_eq!(files, MOST_FILES);
    }

    #[tokio::test]
    async fn silence_and_slowness_have_an_end() {
        let (_client, server) = UnixStream::pair().unwrap();
        let mut asker = asker(server);
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        assert_eq!(asker.more(short, Instant::now() + long).await, Err(Gone::Timeout));
        let soon = Instant::now() + short;
        assert_eq!(asker.more(long, soon).await, Err(Gone::Timeout));
        assert_eq!(asker.wait(short).await, Err(Gone::Timeout));
    }
}
