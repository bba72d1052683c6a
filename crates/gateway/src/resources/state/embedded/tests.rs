//! The embedded engine's own promises, beside those of the contract: what outlives it, what a broken or full disk does,
//! and that it stays within its bounds.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, StorageBackend};

use super::super::Hands;
use super::*;

const LIFE: Duration = Duration::from_secs(1000);

fn settings(folder: &Path, most: u64) -> (Settings, Hands) {
    let (clock, hands) = Clock::standing(1_700_000_000);
    (Settings { path: folder.join("state.redb"), cache: 1 << 20, most, clock }, hands)
}

async fn holds(state: &dyn State, key: &str) -> bool {
    state.get(Space::Triplets, key.as_bytes()).await.unwrap().is_some()
}

/// Waits until something is so, which another thread brings about.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("in vain: {what}");
}

#[tokio::test]
async fn it_is_all_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = settings(folder.path(), 1000);
    let state = Embedded::open(&settings).unwrap();
    state.put(Space::Triplets, b"a", b"1", LIFE).await.unwrap();
    state.count(Space::Limits, b"u", 7, LIFE).await.unwrap();
    assert!(Embedded::open(&settings).err().unwrap().contains("another process"), "one at a time");
    drop(state);
    let state = Embedded::open(&settings).unwrap();
    assert!(holds(&state, "a").await);
    assert_eq!(state.count(Space::Limits, b"u", 0, LIFE).await, Ok(7));
    assert_eq!(state.status().await.unwrap().entries, 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside() {
    for (what, content) in [
        ("no database at all", b"this is no database, only some text that is long enough".repeat(200)),
        ("the beginning of one", {
            let folder = tempfile::tempdir().unwrap();
            let (settings, _) = settings(folder.path(), 1000);
            drop(Embedded::open(&settings).unwrap());
            let mut bytes = std::fs::read(&settings.path).unwrap();
            bytes.truncate(600);
            bytes
        }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (settings, _) = settings(folder.path(), 1000);
        std::fs::write(&settings.path, &content).unwrap();
        let state = Embedded::open(&settings).unwrap_or_else(|why| panic!("{what}: {why}"));
        state.put(Space::Triplets, b"a", b"1", LIFE).await.unwrap();
        state.flush().await.unwrap();
        assert!(holds(&state, "a").await);
        let aside = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains(".corrupt-")).collect();
        assert_eq!(aside.len(), 1, "{what}");
        assert_eq!(
            std::fs::read(&aside[0]).unwrap().len(),
            content.len(),
            "{what}: kept for whoever wants to see"
        );
    }
    // A folder that is not there is a mistake in the configuration, not damage.
    let (settings, _) = settings(Path::new("/nonexistent/folder"), 1000);
    assert!(Embedded::open(&settings).err().unwrap().contains("/nonexistent/folder"));
}

/// Damage in the middle is met when something is read there, or never.
#[tokio::test]
async fn damage_in_the_middle_does_not_stop_it() {
    for (what, byte) in [("zeros", 0), ("ones", 255), ("text", b'x')] {
        let folder = tempfile::tempdir().unwrap();
        let (settings, _) = settings(folder.path(), 100_000);
        let state = Embedded::open(&settings).unwrap();
        for number in 0..4000_u32 {
            state.put(Space::Triplets, format!("key {number}").as_bytes(), &[7; 60], LIFE).await.unwrap();
        }
        drop(state);
        let mut bytes = std::fs::read(&settings.path).unwrap();
        let damaged = 8192..bytes.len() - bytes.len() / 8;
        bytes[damaged].fill(byte);
        std::fs::write(&settings.path, &bytes).unwrap();

        let state = Embedded::open(&settings).unwrap_or_else(|why| panic!("{what}: {why}"));
        for number in 0..4000_u32 {
            // What is gone is gone; that it cannot be read is told, and nothing else happens.
            let _ = state.get(Space::Triplets, format!("key {number}").as_bytes()).await;
        }
        until("it remembers again", async || {
            let put = state.put(Space::Triplets, b"new", b"1", LIFE).await.is_ok();
            put && state.flush().await.is_ok()
                && state.status().await.is_ok_and(|status| status.trouble.is_none())
        })
        .await;
        assert!(holds(&state, "new").await, "{what}");
    }
}

/// A disk that is full, or does not answer reads, whenever it is told so.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
    hung: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        while self.hung.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A store on such a disk.
fn on_disk(settings: &Settings, full: &Arc<AtomicBool>, hung: &Arc<AtomicBool>) -> Embedded {
    let (full, hung, cache) = (full.clone(), hung.clone(), settings.cache);
    let opener = move |path: &Path, check| {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let backend = Disk { file: FileBackend::new(file)?, full: full.clone(), hung: hung.clone() };
        Builder::new().set_cache_size(cache).set_check_integrity_on_open(check).create_with_backend(backend)
    };
    let file = StateFile::open_with(settings.path.clone(), Box::new(opener)).unwrap();
    Embedded::start(file, settings).unwrap()
}

#[tokio::test]
async fn a_full_disk_stops_nobody_for_long_and_costs_nothing_that_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = settings(folder.path(), 100_000);
    let full = Arc::new(AtomicBool::new(false));
    let state = on_disk(&settings, &full, &Arc::default());
    state.put(Space::Triplets, b"kept", b"1", LIFE).await.unwrap();
    state.flush().await.unwrap();

    full.store(true, Ordering::Relaxed);
    state.put(Space::Triplets, b"late", b"1", LIFE).await.unwrap();
    assert!(matches!(state.flush().await, Err(StateError::Unavailable(_))));
    assert!(holds(&state, "late").await, "what waits is seen");
    until("the trouble is told", async || {
        state.status().await.is_ok_and(|status| status.trouble.is_some_and(|why| why.contains("storage")))
    })
    .await;
    // As many as may wait are taken; then an error, soon.
    let value = vec![0; LONGEST];
    let mut taken = 0;
    let refused = loop {
        let key = format!("n{taken}");
        match state.put(Space::Lookups, key.as_bytes(), &value, LIFE).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken * LONGEST < ROOM + LONGEST, "without bound");
    };
    assert!(matches!(refused, StateError::Unavailable(_)), "{refused:?}");
    assert!(taken * LONGEST > ROOM / 2, "{taken}");

    full.store(false, Ordering::Relaxed);
    until("it is written again", async || state.flush().await.is_ok()).await;
    assert_eq!(state.status().await.unwrap().trouble, None);
    drop(state);
    let state = Embedded::open(&settings).unwrap();
    assert!(holds(&state, "kept").await && holds(&state, "late").await);
    assert_eq!(state.status().await.unwrap().entries, 2 + taken as u64);
}

const LONGEST: usize = super::super::LONGEST_VALUE;

#[tokio::test]
async fn what_has_expired_is_swept_out() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, hands) = settings(folder.path(), 100_000);
    let state = Embedded::open(&settings).unwrap();
    for number in 0..500_u32 {
        let life = if number % 5 == 0 { LIFE * 2 } else { LIFE };
        state.put(Space::Triplets, &number.to_be_bytes(), b"1", life).await.unwrap();
    }
    state.flush().await.unwrap();
    hands.move_on(LIFE);
    until("they are swept out", async || state.status().await.is_ok_and(|status| status.entries == 100))
        .await;
    assert!(state.get(Space::Triplets, &5_u32.to_be_bytes()).await.unwrap().is_some());
}

#[tokio::test]
async fn of_too_many_those_go_that_would_expire_soonest() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = settings(folder.path(), 1000);
    let state = Embedded::open(&settings).unwrap();
    for number in 0..3000_u32 {
        // Every third is there for long: what has come again, among what never will.
        let life = if number % 3 == 0 { LIFE * 100 } else { LIFE };
        state.put(Space::Triplets, &number.to_be_bytes(), b"1", life).await.unwrap();
        if number % 500 == 0 {
            state.flush().await.unwrap();
        }
    }
    until("there are few enough", async || {
        state.flush().await.unwrap();
        state.status().await.is_ok_and(|status| status.entries <= 1000)
    })
    .await;
    let page = state.list(Space::Triplets, None, 10_000).await.unwrap();
    let kept =
        page.entries.iter().filter(|(key, _)| u32::from_be_bytes(key[..].try_into().unwrap()) % 3 == 0);
    assert!(page.entries.len() <= 1000);
    assert!(kept.count() >= 800, "those with the longer life stay");
}

#[tokio::test]
async fn a_disk_that_hangs_stops_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut settings, _) = settings(folder.path(), 100_000);
    settings.cache = 0;
    let hung: Arc<AtomicBool> = Arc::default();
    let state = Arc::new(on_disk(&settings, &Arc::default(), &hung));
    hung.store(true, Ordering::Relaxed);
    let (end, ended) = std::sync::mpsc::channel();
    let released = hung.clone();
    // Lets it go on where it would hang for ever, and that fails the test.
    let watchdog = std::thread::spawn(move || {
        let timely = ended.recv_timeout(Duration::from_secs(60)).is_ok();
        released.store(false, Ordering::Relaxed);
        timely
    });
    // More than there are threads to block on.
    let counts: Vec<_> = (0..600_u32)
        .map(|number| {
            let state = state.clone();
            tokio::spawn(async move { state.count(Space::Limits, &number.to_be_bytes(), 1, LIFE).await })
        })
        .collect();
    until("all may wait that can", async || state.shared.turns.available_permits() == 0).await;
    for number in 0..1000_u32 {
        state.put(Space::Triplets, &number.to_be_bytes(), b"1", LIFE).await.unwrap();
        assert!(state.get(Space::Triplets, &number.to_be_bytes()).await.unwrap().is_some());
    }
    assert_eq!(state.get(Space::Triplets, b"to be read").await, Err(StateError::Full));
    assert_eq!(tokio::task::spawn_blocking(|| 1).await.unwrap(), 1, "others find a thread");
    end.send(()).unwrap();
    assert!(watchdog.join().unwrap(), "somebody waited for the disk");
    let mut counted = 0;
    for count in counts {
        counted += usize::from(count.await.unwrap() == Ok(1));
    }
    assert!((READERS..600).contains(&counted), "{counted}");
    until("all of it is written", async || state.flush().await.is_ok()).await;
    assert_eq!(state.shared.room.available_permits(), ROOM, "no room is lost");
}

/// What is changed side by side, while it is being written and read again, is changed one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_count_is_lost_between_reading_and_writing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut settings, _) = settings(folder.path(), 100_000);
    settings.cache = 0;
    let state = Arc::new(Embedded::open(&settings).unwrap());
    for _ in 0..20 {
        let all = (0..8).map(|_| {
            let state = state.clone();
            tokio::spawn(async move {
                state.count(Space::Limits, b"u", 1, LIFE).await.unwrap();
                state.flush().await.unwrap();
            })
        });
        futures_util::future::join_all(all).await;
    }
    assert_eq!(state.count(Space::Limits, b"u", 0, LIFE).await, Ok(160));
}
