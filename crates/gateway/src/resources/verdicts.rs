//! What malware engines said of contents, so that the same worm is shown to a scanner once.
//!
//! An answer is kept under the digest (of SHA-256s) of exactly what the engine was given, and under the engine's *epoch*: a
//! number that changes with its signatures, or when somebody says that they have changed. Whoever asks takes the epoch
//! before the scan and keeps its answer under that one, so an answer of old signatures is never found under new ones. A
//! fault is no answer and is not kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_mail::Digested;
use prometheus_client::metrics::counter::Counter;
use sha2::{Digest as _, Sha256};

use crate::config::scanners::VerdictCache;

/// What one entry takes besides its names, in bytes.
const ENTRY: usize = 200;

/// Content from this size on is digested on a thread where computing keeps nobody waiting.
const LARGE: usize = 256 << 10;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct VerdictCounters {
    /// Contents that an engine need not see again.
    pub hits: Counter,
    /// Contents that an engine had to look at.
    pub misses: Counter,
}

/// The answers of all engines.
#[derive(Debug)]
pub struct Verdicts {
    /// None when nothing is to be kept.
    entries: Option<moka::sync::Cache<(u64, Digest), Known>>,
    /// How long an answer is good.
    time: Duration,
    /// The last epoch that was given to any engine.
    epochs: AtomicU64,
    counters: VerdictCounters,
}

/// What an engine found in a content: nothing, if this is empty.
pub type Known = Arc<[Named]>;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The part's place, where the content is a whole message.
    pub part: Option<usize>,
    /// The name of the malware.
    pub name: String,
    /// What of the engine found it.
    pub by: &'static str,
}

/// The digest of what an engine is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// What a digest is of. Digests of different things never meet, whatever the octets.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A content by itself: its SHA-256, and what is put before it.
    Content = 0,
    /// A content under a name: the name, and the content's digest.
    Named = 1,
    /// A message with its parts.
    Message = 2,
    /// The parts of a message, whatever its header.
    Parts = 3,
}

impl Digest {
    /// Of these pieces, in this order. Where one ends and the next begins makes a difference.
    pub fn new<'a>(kind: Kind, pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut hash = Sha256::new();
        hash.update([kind as u8]);
        for piece in pieces {
            hash.update((piece.len() as u64).to_le_bytes());
            hash.update(piece);
        }
        Digest(hash.finalize().into())
    }

    /// Of a content whose SHA-256 this is.
    pub fn content(sha256: [u8; 32]) -> Digest {
        Digest::new(Kind::Content, [&sha256[..]])
    }

    /// Its octets, to be part of another.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The SHA-256 of a content, without keeping others waiting when there is much of it.
pub async fn sha256(digested: &Digested, content: &Bytes) -> [u8; 32] {
    if content.len() < LARGE || digested.known(content).is_some() {
        return digested.of(content);
    }
    let (there, large) = (digested.clone(), content.clone());
    let computed = tokio::task::spawn_blocking(move || there.of(&large)).await;
    // It fails only while the runtime shuts down.
    computed.unwrap_or_else(|_| digested.of(content))
}

impl Verdicts {
    /// An empty memory of this size, or one that keeps nothing.
    pub fn new(config: &VerdictCache, counters: VerdictCounters) -> Arc<Verdicts> {
        let time = config.time.duration();
        let usable = config.enabled && !time.is_zero() && config.size.bytes() > 0;
        let entries = usable.then(|| {
            moka::sync::Cache::builder()
                .max_capacity(config.size.bytes())
                .weigher(|_, known: &Known| weight(known))
                .time_to_live(time)
                .build()
        });
        Arc::new(Verdicts { entries, time, epochs: AtomicU64::new(0), counters })
    }

    /// The part of one engine. Nothing is kept before its signatures' version is told.
    pub fn engine(self: &Arc<Verdicts>) -> Memory {
        Memory { verdicts: self.clone(), state: Mutex::default() }
    }

    fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What one engine said.
#[derive(Debug)]
pub struct Memory {
    verdicts: Arc<Verdicts>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    version: Option<String>,
    epoch: u64,
    /// The version is good no longer than this; None: for ever.
    good_until: Option<Instant>,
    /// Nothing is used or kept before.
    not_before: Option<Instant>,
    /// The last time that something was found, and in which epoch.
    found: Option<(u64, Instant)>,
}

/// The signatures that an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

impl Memory {
    /// Tells the version of the engine's signatures: if it is another than before, what was kept is forgotten. It is good
    /// for so long, or for ever; after that nothing is used until it is told again.
    pub fn tell(&self, version: &str, good_for: Option<Duration>) {
        let mut state = self.state();
        if state.version.as_deref() != Some(version) {
            state.version = Some(version.to_owned());
            state.epoch = self.verdicts.next_epoch();
        }
        state.good_until = good_for.and_then(|time| Instant::now().checked_add(time));
    }

    /// Nobody knows which signatures the engine has.
    pub fn lose(&self) {
        self.state().version = None;
    }

    /// Somebody says that the signatures have changed: what was kept is forgotten. Nothing is used or kept while the engine
    /// may still be busy taking them.
    pub fn forget(&self, busy: Duration) {
        let mut state = self.state();
        state.epoch = self.verdicts.next_epoch();
        state.not_before = Instant::now().checked_add(busy);
    }

    /// The signatures of now; None if nothing may be used or kept. To be taken before a scan whose answer is kept.
    pub fn epoch(&self) -> Option<Epoch> {
        self.verdicts.entries.as_ref()?;
        let (state, now) = (self.state(), Instant::now());
        let good = state.version.is_some()
            && state.good_until.is_none_or(|until| now < until)
            && state.not_before.is_none_or(|time| now >= time);
        good.then_some(Epoch(state.epoch))
    }

    /// What the engine found in this, if that is known.
    pub fn known(&self, Epoch(epoch): Epoch, digest: Digest) -> Option<Known> {
        self.verdicts.entries.as_ref()?.get(&(epoch, digest))
    }

    /// Whether anything was found lately: else nothing that is known can be malware.
    pub fn has_found(&self, Epoch(epoch): Epoch) -> bool {
        let found = self.state().found;
        found.is_some_and(|(then, when)| then == epoch && when.elapsed() <= self.verdicts.time)
    }

    /// Keeps what the engine found.
    pub fn keep(&self, Epoch(epoch): Epoch, digest: Digest, found: Vec<Named>) {
        let Some(entries) = &self.verdicts.entries else { return };
        if !found.is_empty() {
            self.state().found = Some((epoch, Instant::now()));
        }
        entries.insert((epoch, digest), found.into());
    }

    /// Counts a content that the engine need not see, or one that it had to look at.
    pub fn count(&self, hit: bool) {
        let counters = &self.verdicts.counters;
        if hit { &counters.hits } else { &counters.misses }.inc();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is whole whatever panicked while it was locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    /// Something in a content.
    pub fn new(name: impl Into<String>, by: &'static str) -> Named {
        Named { part: None, name: name.into(), by }
    }
}

fn weight(known: &Known) -> u32 {
    let names: usize = known.iter().map(|named| size_of::<Named>() + named.name.len()).sum();
    u32::try_from(ENTRY + names).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::{Seconds, Size};

    fn digest(text: &str) -> Digest {
        Digest::new(Kind::Content, [text.as_bytes()])
    }

    fn worm() -> Vec<Named> {
        vec![Named::new("Worm", "")]
    }

    #[test]
    fn an_answer_is_good_for_its_signatures_alone() {
        let verdicts = Verdicts::new(&VerdictCache::default(), VerdictCounters::default());
        let (memory, other) = (verdicts.engine(), verdicts.engine());
        assert_eq!(memory.epoch(), None, "no version is known yet");
        memory.tell("1", None);
        other.tell("1", None);
        let first = memory.epoch().unwrap();
        assert!(!memory.has_found(first));
        memory.keep(first, digest("a"), worm());
        memory.keep(first, digest("b"), Vec::new());
        assert_eq!(memory.known(first, digest("a")).unwrap()[..], worm()[..]);
        assert!(memory.known(first, digest("b")).unwrap().is_empty());
        assert_eq!(memory.known(first, digest("c")), None);
        assert!(memory.has_found(first));
        // Another engine's answers are its own.
        assert_eq!(other.known(other.epoch().unwrap(), digest("a")), None);

        memory.tell("1", None);
        assert_eq!(memory.epoch(), Some(first));
        memory.tell("2", None);
        let second = memory.epoch().unwrap();
        assert!(memory.known(second, digest("a")).is_none() && !memory.has_found(second));
        // A scan that began under the old signatures.
        memory.keep(first, digest("d"), Vec::new());
        assert_eq!(memory.known(second, digest("d")), None);

        memory.forget(Duration::ZERO);
        assert!(memory.epoch().is_some_and(|epoch| epoch != second));
        memory.forget(Duration::from_secs(60));
        assert_eq!(memory.epoch(), None, "busy");
        other.lose();
        assert_eq!(other.epoch(), None);
        other.tell("1", Some(Duration::ZERO));
        assert_eq!(other.epoch(), None, "told too long ago");
    }

    #[test]
    fn nothing_is_kept_where_it_is_turned_off_and_room_is_bounded() {
        for off in [
            VerdictCache { enabled: false, ..VerdictCache::default() },
            VerdictCache { time: Seconds::new(0), ..VerdictCache::default() },
            VerdictCache { size: Size::new(0), ..VerdictCache::default() },
        ] {
            let memory = Verdicts::new(&off, VerdictCounters::default()).engine();
            memory.tell("1", None);
            assert_eq!(memory.epoch(), None, "{off:?}");
        }
        let small = VerdictCache { size: Size::new(100 * ENTRY as u64), ..VerdictCache::default() };
        let verdicts = Verdicts::new(&small, VerdictCounters::default());
        let memory = verdicts.engine();
        memory.tell("1", None);
        let epoch = memory.epoch().unwrap();
        for number in 0..1000 {
            memory.keep(epoch, digest(&number.to_string()), Vec::new());
        }
        let entries = verdicts.entries.as_ref().unwrap();
        entries.run_pending_tasks();
        assert!((1..=100).contains(&entries.entry_count()), "{}", entries.entry_count());
    }

    /// Else one that is clean could stand for another that is not.
    #[tokio::test]
    async fn digests_of_different_things_differ() {
        let all = [
            Digest::new(Kind::Content, [&b"ab"[..]]),
            Digest::new(Kind::Content, [&b"a"[..], b"b"]),
            Digest::new(Kind::Content, [&b"ab"[..], b""]),
            Digest::new(Kind::Named, [&b"ab"[..]]),
            Digest::new(Kind::Message, [&b"ab"[..]]),
            Digest::new(Kind::Parts, [&b"ab"[..]]),
            // What the second is made of, as a content.
            Digest::new(Kind::Content, [&b"\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0b"[..]]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one), "{place}");
        }
        for size in [3, LARGE] {
            let bytes = Bytes::from(vec![7; size]);
            let expected = Digest::content(Sha256::digest(&bytes).into());
            assert_eq!(Digest::content(sha256(&Digested::default(), &bytes).await), expected);
        }
    }
}
