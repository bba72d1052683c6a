//! The state of a running daemon, for the commands beside it: the daemon has the file to itself, so it is asked over a unix
//! socket in its data folder, which only its own user (and root) may open.
//!
//! Frames: a length of four bytes, then an operation or an answer, made of numbers and byte strings (`Frame`).

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::{LONGEST_PAGE, Op, Page, Space, State, StateError, Status};

/// Largest frame: a page of long keys and values.
const LARGEST: usize = 32 << 20;

/// Entries of a page that may be asked for at once, so that it fits into a frame.
const PAGE: usize = 1000;

/// Commands that are answered at once.
const CONNECTIONS: usize = 8;

/// Longest that a command waits for an answer, and a daemon for the next question.
const TIME: Duration = Duration::from_secs(60);

/// The daemon's side. It ends when this is dropped.
pub struct Served {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers commands at a socket. Whatever is left at its path of a daemon that was killed is removed: the caller holds the
/// data folder's lock.
pub fn serve(path: &Path, state: Arc<dyn State>) -> io::Result<Served> {
    let listener = bind(path)?;
    let task = tokio::spawn(async move {
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(turn) = turns.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let state = state.clone();
                    tokio::spawn(async move {
                        // A command that goes away in the middle is nobody's concern.
                        let _ = answer_all(stream, state.as_ref()).await;
                        drop(turn);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "commands cannot ask for the state now");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(Served { task, path: path.to_owned() })
}

/// Nobody else can reach the socket before its rights are set: until then it lies in a folder of our own.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let folder = path.with_extension("new");
    let fresh = folder.join("s");
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(std::fs::remove_file(path))?;
    match std::fs::symlink_metadata(&folder) {
        Ok(found) if found.is_dir() => gone(std::fs::remove_dir_all(&folder))?,
        _ => gone(std::fs::remove_file(&folder))?,
    }
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

/// The state of a running daemon.
pub struct Remote(Mutex<UnixStream>);

impl Remote {
    /// Asks the daemon at this socket.
    pub async fn connect(path: &Path) -> io::Result<Remote> {
        Ok(Remote(Mutex::new(UnixStream::connect(path).await?)))
    }

    async fn ask(&self, question: Frame) -> Result<Frame, StateError> {
        let mut stream = self.0.lock().await;
        let exchange = async {
            question.write(&mut stream).await?;
            Frame::read(&mut stream).await
        };
        let answer = match tokio::time::timeout(TIME, exchange).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err("the daemon has closed the connection".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the daemon does not answer within {} s", TIME.as_secs())),
        };
        let mut answer = answer.map_err(StateError::Unavailable)?;
        match answer.number() {
            Some(DONE) => Ok(answer),
            Some(TOO_LONG) => Err(StateError::TooLong),
            Some(FULL) => Err(StateError::Full),
            _ => {
                let why = answer.bytes().unwrap_or_default();
                Err(StateError::Unavailable(String::from_utf8_lossy(&why).into_owned()))
            }
        }
    }
}

impl State for Remote {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, Option<Vec<u8>>> {
        Box::pin(
            async move { self.ask(Frame::of(GET, space).with(key)).await?.optional().ok_or_else(garbled) },
        )
    }

    fn put<'a>(&'a self, space: Space, key: &'a [u8], value: &'a [u8], life: Duration) -> Op<'a, ()> {
        let question = Frame::of(PUT, space).with(key).with(value).with_number(super::clock::millis(life));
        Box::pin(async move { self.ask(question).await.map(drop) })
    }

    fn swap<'a>(
        &'a self,
        space: Space,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        life: Duration,
    ) -> Op<'a, bool> {
        let question = Frame::of(SWAP, space).with(key).with_optional(expected).with(value);
        let question = question.with_number(super::clock::millis(life));
        Box::pin(async move { Ok(self.ask(question).await?.number().ok_or_else(garbled)? != 0) })
    }

    fn delete<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, bool> {
        let question = Frame::of(DELETE, space).with(key);
        Box::pin(async move { Ok(self.ask(question).await?.number().ok_or_else(garbled)? != 0) })
    }

    fn count<'a>(&'a self, space: Space, key: &'a [u8], amount: u64, window: Duration) -> Op<'a, u64> {
        let question = Frame::of(COUNT, space).with(key).with_number(amount);
        let question = question.with_number(super::clock::millis(window));
        Box::pin(async move { self.ask(question).await?.number().ok_or_else(garbled) })
    }

    fn list<'a>(&'a self, space: Space, from: Option<&'a [u8]>, most: usize) -> Op<'a, Page> {
        let most = most.clamp(1, LONGEST_PAGE.min(PAGE)) as u64;
        let question = Frame::of(LIST, space).with_optional(from).with_number(most);
        Box::pin(async move {
            let mut answer = self.ask(question).await?;
            let next = answer.optional().ok_or_else(garbled)?;
            let count = answer.number().ok_or_else(garbled)?;
            let mut page = Page { entries: Vec::new(), next };
            for _ in 0..count {
                let (key, value) = answer.bytes().zip(answer.bytes()).ok_or_else(garbled)?;
                page.entries.push((key, value));
            }
            Ok(page)
        })
    }

    fn flush(&self) -> Op<'_, ()> {
        Box::pin(async { self.ask(Frame::of(FLUSH, Space::Triplets)).await.map(drop) })
    }

    fn status(&self) -> Op<'_, Status> {
        Box::pin(async {
            let mut answer = self.ask(Frame::of(STATUS, Space::Triplets)).await?;
            let (entries, pending) = answer.number().zip(answer.number()).ok_or_else(garbled)?;
            let trouble = answer.optional().ok_or_else(garbled)?;
            let trouble = trouble.map(|text| String::from_utf8_lossy(&text).into_owned());
            Ok(Status { entries, pending, trouble })
        })
    }
}

const GET: u64 = 1;
const PUT: u64 = 2;
const SWAP: u64 = 3;
const DELETE: u64 = 4;
const COUNT: u64 = 5;
const LIST: u64 = 6;
const FLUSH: u64 = 7;
const STATUS: u64 = 8;

const DONE: u64 = 0;
const UNAVAILABLE: u64 = 1;
const FULL: u64 = 2;
const TOO_LONG: u64 = 3;

fn garbled() -> StateError {
    StateError::Unavailable("an answer that cannot be read: another version of gatepost?".into())
}

/// Answers questions until there are no more.
async fn answer_all(mut stream: UnixStream, state: &dyn State) -> io::Result<()> {
    loop {
        let question = tokio::time::timeout(TIME, Frame::read(&mut stream)).await;
        let Some(question) = question.map_err(io::Error::other)?? else { return Ok(()) };
        let answer = match answer(question, state).await {
            Ok(answer) => answer,
            Err(StateError::TooLong) => Frame::default().with_number(TOO_LONG),
            Err(StateError::Full) => Frame::default().with_number(FULL),
            Err(StateError::Unavailable(why)) => {
                Frame::default().with_number(UNAVAILABLE).with(why.as_bytes())
            }
        };
        answer.write(&mut stream).await?;
    }
}

async fn answer(mut question: Frame, state: &dyn State) -> Result<Frame, StateError> {
    let wrong = garbled;
    let done = Frame::default().with_number(DONE);
    let operation = question.number().ok_or_else(wrong)?;
    let space =
        question.number().and_then(|byte| Space::from_byte(u8::try_from(byte).ok()?)).ok_or_else(wrong)?;
    let flag = |yes: bool| Frame::default().with_number(DONE).with_number(u64::from(yes));
    match operation {
        FLUSH => return state.flush().await.map(|()| done),
        STATUS => {
            let status = state.status().await?;
            let trouble = status.trouble.as_ref().map(String::as_bytes);
            return Ok(done.with_number(status.entries).with_number(status.pending).with_optional(trouble));
        }
        LIST => {
            let (from, most) = question.optional().zip(question.number()).ok_or_else(wrong)?;
            let most = usize::try_from(most).unwrap_or(PAGE).min(PAGE);
            let page = state.list(space, from.as_deref(), most).await?;
            let answer = done.with_optional(page.next.as_deref()).with_number(page.entries.len() as u64);
            return Ok(page.entries.iter().fold(answer, |answer, (key, value)| answer.with(key).with(value)));
        }
        _ => {}
    }
    let key = question.bytes().ok_or_else(wrong)?;
    let life = |question: &mut Frame| question.number().map(Duration::from_millis).ok_or_else(wrong);
    match operation {
        GET => Ok(done.with_optional(state.get(space, &key).await?.as_deref())),
        PUT => {
            let value = question.bytes().ok_or_else(wrong)?;
            state.put(space, &key, &value, life(&mut question)?).await.map(|()| done)
        }
        SWAP => {
            let (expected, value) = question.optional().zip(question.bytes()).ok_or_else(wrong)?;
            state.swap(space, &key, expected.as_deref(), &value, life(&mut question)?).await.map(flag)
        }
        DELETE => state.delete(space, &key).await.map(flag),
        COUNT => {
            let amount = question.number().ok_or_else(wrong)?;
            Ok(done.with_number(state.count(space, &key, amount, life(&mut question)?).await?))
        }
        _ => Err(wrong()),
    }
}

/// Numbers (eight bytes) and byte strings (their length before them), one behind the other.
#[derive(Default)]
struct Frame {
    bytes: Vec<u8>,
    read: usize,
}

/// Stands for a string that is not there.
const NONE: u64 = u64::MAX;

impl Frame {
    fn of(operation: u64, space: Space) -> Frame {
        Frame::default().with_number(operation).with_number(space.byte().into())
    }

    fn with_number(mut self, number: u64) -> Frame {
        self.bytes.extend(number.to_be_bytes());
        self
    }

    fn with(self, bytes: &[u8]) -> Frame {
        let mut frame = self.with_number(bytes.len() as u64);
        frame.bytes.extend(bytes);
        frame
    }

    fn with_optional(self, bytes: Option<&[u8]>) -> Frame {
        match bytes {
            Some(bytes) => self.with(bytes),
            None => self.with_number(NONE),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let bytes = self.bytes.get(self.read..self.read + 8)?;
        self.read += 8;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// The next string, None in it if it is not there.
    fn optional(&mut self) -> Option<Option<Vec<u8>>> {
        let length = self.number()?;
        if length == NONE {
            return Some(None);
        }
        let end = self.read.checked_add(usize::try_from(length).ok()?)?;
        let bytes = self.bytes.get(self.read..end)?.to_vec();
        self.read = end;
        Some(Some(bytes))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.optional()?
    }

    async fn write(&self, stream: &mut UnixStream) -> io::Result<()> {
        let length = u32::try_from(self.bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&self.bytes).await
    }

    /// None: there is no more.
    async fn read(stream: &mut UnixStream) -> io::Result<Option<Frame>> {
        let mut length = [0; 4];
        match stream.read_exact(&mut length).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(io::Error::other("a frame that is too large"));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        Ok(Some(Frame { bytes, read: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::state::Memory;

    #[tokio::test]
    async fn only_its_user_may_ask_and_nonsense_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sock");
        std::fs::write(&path, "left by a killed daemon").unwrap();
        std::fs::create_dir(folder.path().join("state.new")).unwrap();
        std::fs::write(folder.path().join("state.new/s"), "left, too").unwrap();
        let served = serve(&path, Memory::small()).unwrap();
        assert!(!folder.path().join("state.new").exists());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for question in [
            Frame::default(),
            Frame::default().with_number(99).with_number(99),
            Frame::of(99, Space::Limits).with(b"key"),
            Frame::of(PUT, Space::Limits).with(b"key"),
            Frame::of(GET, Space::Limits).with_number(1 << 60),
        ] {
            let remote = Remote::connect(&path).await.unwrap();
            assert!(matches!(remote.ask(question).await, Err(StateError::Unavailable(_))));
            assert_eq!(remote.get(Space::Limits, b"key").await, Ok(None), "it goes on");
        }
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "closed");
        drop(served);
        assert!(!path.exists());
    }
}
