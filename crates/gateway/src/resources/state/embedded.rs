//! State in a file of redb, for one gateway.
//!
//! What is put lies in memory first, where every reader finds it, and one thread writes it down in batches: a crash or
//! `kill -9` costs the last batch at most, never what was written before. Nothing waits for the disk but [`State::flush`]
//! and whoever comes when [`ROOM`] is used up; past a time that is an error, so a full disk stops nobody for long. A file
//! that cannot be read any more is set aside and a new one begun: what is lost then is learnt again.

mod file;
mod writer;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

use self::file::StateFile;
use super::entry::{self, Entry};
use super::{Clock, LONGEST_PAGE, Op, Page, Space, State, StateError, Status, full_key};
use crate::config::Config;

/// Bytes of keys and values that may wait to be written.
const ROOM: usize = 32 << 20;

/// What an entry that waits costs beside its key and value, in bytes.
const OVERHEAD: usize = 96;

/// Operations that may wait for the disk at once: a disk that hangs must not take the threads that others block on.
const READERS: usize = 32;

/// How often an entry is read again that was written meanwhile.
const TRIES: u32 = 20;

/// Longest to wait for room, or for a turn at the disk.
const ROOM_TIME: Duration = Duration::from_secs(2);

/// Longest that [`State::flush`] waits for the disk.
const FLUSH_TIME: Duration = Duration::from_secs(30);

/// Parts that what waits is divided into, so that whoever changes a key seldom waits for another. None is ever locked
/// while the disk is waited for.
const SHARDS: usize = 64;

/// Entries of each part that were read lately and are kept: whoever reads one mostly changes it next.
const SEEN: usize = 512;

/// How an embedded store is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file that are kept in memory.
    pub cache: usize,
    /// Entries of all spaces together; beyond it what would expire soonest goes.
    pub most: u64,
    /// What time it is.
    pub clock: Clock,
}

impl Settings {
    /// As `[state]` has it.
    pub fn from_config(config: &Config, clock: Clock) -> Settings {
        let cache = usize::try_from(config.state.cache.bytes()).unwrap_or(usize::MAX);
        Settings { path: config.state_path(), cache, most: config.state.entries, clock }
    }
}

/// State in a file.
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the file, or begins a new one. What cannot be read is set aside first; a disk that is full now is tried again
    /// and again. The error says why the file cannot be used at all.
    pub fn open(settings: &Settings) -> Result<Embedded, String> {
        Embedded::start(StateFile::open(settings)?, settings)
    }

    fn start(file: StateFile, settings: &Settings) -> Result<Embedded, String> {
        let shared = Arc::new(Shared {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            room: Semaphore::new(ROOM),
            turns: Arc::new(Semaphore::new(READERS)),
            file,
            wanted: Mutex::default(),
            bell: Condvar::new(),
            kept: watch::Sender::new(Kept::default()),
            most: settings.most.max(1),
            clock: settings.clock.clone(),
        });
        let writing = shared.clone();
        let writer = std::thread::Builder::new().name("state".into()).spawn(move || writer::run(&writing));
        let writer = writer.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Embedded { shared, writer: Some(writer) })
    }

    /// Lets `change` make of the value that is there a new one, or none of it. `size` is that of the new one at most.
    async fn change<T: Send + 'static>(
        &self,
        key: Vec<u8>,
        size: usize,
        change: impl FnOnce(Option<&[u8]>, u64) -> (Change, T) + Send + 'static,
    ) -> Result<T, StateError> {
        let cost = cost(&key, size);
        let room = self.make_room(cost).await?;
        let change = match self.shared.try_change(&key, cost, None, change) {
            Ok(result) => {
                room.forget();
                return Ok(result);
            }
            Err(change) => change,
        };
        let turn = self.turn().await?;
        room.forget();
        let shared = self.shared.clone();
        let changing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            shared.change(&key, cost, change)
        });
        changing.await.unwrap_or_else(|error| Err(StateError::Unavailable(error.to_string())))
    }

    /// Does what waits for the disk, when it is its turn.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        let (turn, shared) = (self.turn().await?, self.shared.clone());
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&shared)
        });
        working.await.map_err(|error| StateError::Unavailable(error.to_string()))
    }

    /// A turn at the disk. Who has it keeps it until the disk has answered, though nobody may wait for that any more.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, StateError> {
        let turns = self.shared.turns.clone().acquire_owned();
        match tokio::time::timeout(ROOM_TIME, turns).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(StateError::Full),
        }
    }

    /// Waits until so many bytes may wait, and takes them until the permit is dropped.
    async fn make_room(&self, cost: usize) -> Result<SemaphorePermit<'_>, StateError> {
        let shared = &self.shared;
        if shared.room.available_permits() < ROOM / 2 {
            shared.ring(|wanted| wanted.urgent = true);
        }
        let permits = u32::try_from(cost).map_err(|_| StateError::TooLong)?;
        match tokio::time::timeout(ROOM_TIME, shared.room.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(shared.file.trouble().map_or(StateError::Full, StateError::Unavailable)),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.ring(|wanted| wanted.stop = true);
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes the state store panicked");
        }
    }
}

impl State for Embedded {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            let now = self.shared.clock.millis();
            let known = self.shared.shard(&key).known(&key).cloned();
            let entry = match known {
                Some(known) => known,
                None => self.blocking(move |shared| shared.read(&key)).await??,
            };
            Ok(entry.filter(|entry| entry.lives(now)).map(|entry| entry.value))
        })
    }

    fn put<'a>(&'a self, space: Space, key: &'a [u8], value: &'a [u8], life: Duration) -> Op<'a, ()> {
        Box::pin(async move {
            let key = full_key(space, key, value)?;
            let cost = cost(&key, value.len());
            self.make_room(cost).await?.forget();
            let entry = Entry::new(value, life, self.shared.clock.millis());
            self.shared.insert(&mut self.shared.shard(&key), key.clone(), Some(entry), cost);
            Ok(())
        })
    }

    fn swap<'a>(
        &'a self,
        space: Space,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        life: Duration,
    ) -> Op<'a, bool> {
        Box::pin(async move {
            let key = full_key(space, key, value)?;
            let (expected, value) = (expected.map(<[u8]>::to_vec), value.to_vec());
            self.change(key, value.len(), move |old, now| match old == expected.as_deref() {
                true => (Change::To(Entry::new(&value, life, now)), true),
                false => (Change::None, false),
            })
            .await
        })
    }

    fn delete<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, bool> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            let gone = |old: Option<&[u8]>, _| match old {
                Some(_) => (Change::Gone, true),
                None => (Change::None, false),
            };
            self.change(key, 0, gone).await
        })
    }

    fn count<'a>(&'a self, space: Space, key: &'a [u8], amount: u64, window: Duration) -> Op<'a, u64> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            self.change(key, 64, move |old, now| {
                let (entry, sum) = entry::count(old, amount, window, now);
                (entry.map_or(Change::None, Change::To), sum)
            })
            .await
        })
    }

    fn list<'a>(&'a self, space: Space, from: Option<&'a [u8]>, most: usize) -> Op<'a, Page> {
        Box::pin(async move {
            let first = full_key(space, from.unwrap_or_default(), &[])?;
            // What waits is written down once, and the pages are read from the file.
            if from.is_none() {
                self.flush().await?;
            }
            let (behind, most) = (from.is_some(), most.clamp(1, LONGEST_PAGE));
            self.blocking(move |shared| shared.file.page(&first, behind, most, shared.clock.millis())).await?
        })
    }

    fn flush(&self) -> Op<'_, ()> {
        Box::pin(async {
            let mut kept = self.shared.kept.subscribe();
            let mut ticket = 0;
            self.shared.ring(|wanted| {
                wanted.ticket += 1;
                ticket = wanted.ticket;
            });
            let done = kept.wait_for(|kept| kept.ticket >= ticket);
            match tokio::time::timeout(FLUSH_TIME, done).await {
                Ok(Ok(kept)) => kept.outcome.clone().map_err(StateError::Unavailable),
                _ => Err(StateError::Full),
            }
        })
    }

    fn status(&self) -> Op<'_, Status> {
        Box::pin(async {
            self.blocking(|shared| {
                let pending = shared.shards.iter().map(|shard| lock(shard).len() as u64).sum();
                let (entries, trouble) = match shared.file.len() {
                    Ok(entries) => (entries, shared.file.trouble()),
                    Err(error) => (0, Some(error.to_string())),
                };
                Status { entries, pending, trouble }
            })
            .await
        })
    }
}

/// What becomes of an entry.
enum Change {
    /// It stays as it is.
    None,
    /// It is removed.
    Gone,
    /// It is this from now on.
    To(Entry),
}

/// What the engine and its writer share.
struct Shared {
    shards: Box<[Mutex<Shard>]>,
    /// Bytes that may yet wait.
    room: Semaphore,
    /// Who may wait for the disk.
    turns: Arc<Semaphore>,
    file: StateFile,
    wanted: Mutex<Wanted>,
    bell: Condvar,
    kept: watch::Sender<Kept>,
    most: u64,
    clock: Clock,
}

/// What the writer is asked to do.
#[derive(Default)]
struct Wanted {
    /// Something waits.
    dirty: bool,
    /// Do not wait for more.
    urgent: bool,
    /// The last flush that was asked for.
    ticket: u64,
    /// Write what waits, and end.
    stop: bool,
}

/// How far the writer has come.
#[derive(Clone, Debug)]
struct Kept {
    /// The last flush that it has answered.
    ticket: u64,
    /// Whether everything could be written then.
    outcome: Result<(), String>,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { ticket: 0, outcome: Ok(()) }
    }
}

/// What waits to be written, None for what is to be removed.
type Waiting = HashMap<Vec<u8>, Option<Entry>>;

/// A part of what waits.
#[derive(Default)]
struct Shard {
    /// For the next batch.
    pending: Waiting,
    /// In the batch that is being written.
    writing: Waiting,
    /// Read from the file, and not changed since.
    seen: Waiting,
    /// Goes up whenever something may have been written to the file: what was read before counts no more.
    rounds: u64,
}

impl Shard {
    /// What is known of a key without the file. `Some(None)`: it was removed.
    fn known(&self, key: &[u8]) -> Option<&Option<Entry>> {
        self.pending.get(key).or_else(|| self.writing.get(key)).or_else(|| self.seen.get(key))
    }

    /// Keeps what was read when there had been so many rounds.
    fn keep(&mut self, key: &[u8], entry: Option<Entry>, rounds: u64) {
        if self.rounds == rounds && self.known(key).is_none() {
            if self.seen.len() >= SEEN {
                self.seen.clear();
            }
            self.seen.insert(key.to_vec(), entry);
        }
    }

    fn len(&self) -> usize {
        self.pending.len() + self.writing.len()
    }
}

impl Shared {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        lock(&self.shards[(hasher.finish() % SHARDS as u64) as usize])
    }

    /// Reads an entry that is not in memory. Blocks, but holds nobody up.
    fn read(&self, key: &[u8]) -> Result<Option<Entry>, StateError> {
        let rounds = self.shard(key).rounds;
        let entry = self.file.get(key)?;
        self.shard(key).keep(key, entry.clone(), rounds);
        Ok(entry)
    }

    /// Changes an entry, for which `cost` bytes have been taken. Blocks, but holds nobody up: it is read before its shard
    /// is locked, and once more if it may have been written meanwhile.
    fn change<T, C: FnOnce(Option<&[u8]>, u64) -> (Change, T)>(
        &self,
        key: &[u8],
        cost: usize,
        mut change: C,
    ) -> Result<T, StateError> {
        for _ in 0..TRIES {
            let rounds = self.shard(key).rounds;
            let old = self.file.get(key).inspect_err(|_| self.room.add_permits(cost))?;
            match self.try_change(key, cost, Some((rounds, old)), change) {
                Ok(result) => return Ok(result),
                Err(again) => change = again,
            }
        }
        self.room.add_permits(cost);
        Err(StateError::Full)
    }

    /// Changes an entry that is in memory, or that was read when there had been so many rounds, with its shard locked, so
    /// that nobody else changes it between. Gives `change` back if the entry must be read, and then no room.
    fn try_change<T, C: FnOnce(Option<&[u8]>, u64) -> (Change, T)>(
        &self,
        key: &[u8],
        cost: usize,
        read: Option<(u64, Option<Entry>)>,
        change: C,
    ) -> Result<T, C> {
        let mut shard = self.shard(key);
        let old = match (shard.known(key), read) {
            (Some(known), _) => known.clone(),
            (None, Some((rounds, old))) if rounds == shard.rounds => old,
            _ => return Err(change),
        };
        let now = self.clock.millis();
        let old = old.filter(|entry| entry.lives(now));
        let (change, result) = change(old.as_ref().map(|entry| entry.value.as_slice()), now);
        match change {
            Change::None => self.room.add_permits(cost),
            Change::Gone => self.insert(&mut shard, key.to_vec(), None, cost),
            Change::To(entry) => self.insert(&mut shard, key.to_vec(), Some(entry), cost),
        }
        Ok(result)
    }

    /// Lets an entry wait to be written; `taken` bytes of room were taken for it.
    fn insert(&self, shard: &mut Shard, key: Vec<u8>, entry: Option<Entry>, taken: usize) {
        let needed = cost_of(&key, entry.as_ref());
        let before = shard.pending.get(&key).map_or(0, |old| cost_of(&key, old.as_ref()));
        shard.seen.remove(&key);
        shard.pending.insert(key, entry);
        self.room.add_permits((taken + before).saturating_sub(needed));
        self.ring(|wanted| wanted.dirty = true);
    }

    /// Tells the writer something.
    fn ring(&self, tell: impl FnOnce(&mut Wanted)) {
        tell(&mut lock(&self.wanted));
        self.bell.notify_one();
    }
}

/// What an entry takes of the room.
fn cost(key: &[u8], value: usize) -> usize {
    key.len() + value + OVERHEAD
}

fn cost_of(key: &[u8], entry: Option<&Entry>) -> usize {
    cost(key, entry.map_or(0, |entry| entry.value.len()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
