//! The file itself: opening, reading, what is wrong with it.

use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
    TableDefinition, TableError,
};

use super::super::entry::{Entry, expiry};
use super::super::{Page, StateError};
use super::{Settings, lock};

/// The one table: a space's byte and the key, to an entry.
pub(super) const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");

/// Opens the database of a path; `true`: every page of it is to be verified.
pub(super) type Opener = Box<dyn Fn(&Path, bool) -> Result<Database, DatabaseError> + Send + Sync>;

/// Keys, each with the time it expires before it.
pub(super) type Times = Vec<(u64, Vec<u8>)>;

/// The file of an embedded store. It may be closed for a while, when the disk is full.
pub(super) struct StateFile {
    path: PathBuf,
    opener: Opener,
    database: RwLock<Option<Database>>,
    trouble: Mutex<Option<Trouble>>,
}

/// What is wrong. It stands until something could be written again.
struct Trouble {
    /// For people.
    text: String,
    /// What is in the file cannot be relied on.
    corrupt: bool,
    /// When it was told in the log.
    told: Instant,
}

/// How often the log says that there is trouble still.
const TELL: Duration = Duration::from_secs(300);

/// Bytes that must be free before it is tried to write again to a disk that was full.
const ENOUGH: u64 = 16 << 20;

/// Why a file cannot be opened.
enum Refusal {
    /// What is in it is no database of ours.
    Corrupt(String),
    /// There is no room for it.
    Full(String),
    /// It must not be used: another process has it, or we may not.
    Other(String),
}

impl StateFile {
    /// Opens the file, or begins a new one.
    pub fn open(settings: &Settings) -> Result<StateFile, String> {
        let cache = settings.cache;
        let opener = move |path: &Path, check| {
            Builder::new().set_cache_size(cache).set_check_integrity_on_open(check).create(path)
        };
        StateFile::open_with(settings.path.clone(), Box::new(opener))
    }

    /// The same by an opener of one's own.
    pub fn open_with(path: PathBuf, opener: Opener) -> Result<StateFile, String> {
        let file = StateFile { path, opener, database: RwLock::new(None), trouble: Mutex::new(None) };
        match file.try_open(false) {
            Ok(()) => {}
            Err(Refusal::Corrupt(why)) => file.begin_anew(&why)?,
            Err(Refusal::Full(why)) => file.set_trouble(&why, false),
            Err(Refusal::Other(why)) => return Err(why),
        }
        Ok(file)
    }

    /// Why nothing can be kept now, if so.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).as_ref().map(|trouble| trouble.text.clone())
    }

    /// Closes the file and opens it again, if anything was wrong; after a failed write redb does not read, either. What
    /// cannot be relied on is verified first, and set aside if it does not stand that. False: nothing can be written yet,
    /// though what is there may be read.
    pub fn mend(&self) -> bool {
        let Some(corrupt) = lock(&self.trouble).as_ref().map(|trouble| trouble.corrupt) else { return true };
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        let opened = match self.try_open(corrupt) {
            Ok(()) => Ok(()),
            Err(Refusal::Corrupt(why)) => self.begin_anew(&why),
            Err(Refusal::Full(why) | Refusal::Other(why)) => Err(why),
        };
        match opened {
            Ok(()) => self.has_room(),
            Err(why) => {
                self.set_trouble(&why, corrupt);
                false
            }
        }
    }

    /// Whether it is worth trying to write to a disk that may have been full.
    fn has_room(&self) -> bool {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let stat = nix::sys::statvfs::statvfs(folder.unwrap_or(Path::new(".")));
        stat.map_or(true, |stat| {
            let free = u128::from(stat.blocks_available()) * u128::from(stat.fragment_size());
            free >= u128::from(ENOUGH)
        })
    }

    /// The entry of a full key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>, StateError> {
        self.read(|read| {
            let table = read.open_table(ENTRIES)?;
            Ok(table.get(key)?.and_then(|value| Entry::decode(value.value())))
        })
    }

    /// Entries whose keys begin with the byte that `first` begins with, from there or behind it.
    pub fn page(&self, first: &[u8], behind: bool, most: usize, now: u64) -> Result<Page, StateError> {
        self.read(|read| {
            let table = read.open_table(ENTRIES)?;
            let mut page = Page::default();
            let mut examined = 0;
            for item in table.range(first..)? {
                let (key, value) = item?;
                let key = key.value();
                if key.first() != first.first() {
                    return Ok(page);
                }
                if behind && key == first {
                    continue;
                }
                examined += 1;
                if let Some(entry) = Entry::decode(value.value()).filter(|entry| entry.lives(now)) {
                    page.entries.push((key[1..].to_vec(), entry.value));
                }
                if examined == most {
                    page.next = Some(key[1..].to_vec());
                    return Ok(page);
                }
            }
            Ok(page)
        })
    }

    /// Keys from `first` on, so many at most, each with the time it expires; and where to go on.
    pub fn times(&self, first: &[u8], most: usize) -> Result<(Times, Vec<u8>), StateError> {
        self.read(|read| {
            let table = read.open_table(ENTRIES)?;
            let mut times = Vec::new();
            for item in table.range(first..)? {
                let (key, value) = item?;
                if times.len() == most {
                    return Ok((times, key.value().to_vec()));
                }
                times.push((expiry(value.value()).unwrap_or(0), key.value().to_vec()));
            }
            Ok((times, Vec::new()))
        })
    }

    /// Entries in the file.
    pub fn len(&self) -> Result<u64, StateError> {
        self.read(|read| Ok(read.open_table(ENTRIES)?.len()?))
    }

    /// Writes a batch: all of it or nothing, on disk when this returns. None removes an entry.
    pub fn write<'a>(
        &self,
        batch: impl Iterator<Item = (&'a [u8], Option<&'a Entry>)>,
    ) -> Result<(), StateError> {
        self.with(|database| {
            let mut write = database.begin_write()?;
            // What was written before a crash is there at once, however large the file.
            write.set_quick_repair(true);
            {
                let mut table = write.open_table(ENTRIES)?;
                for (key, entry) in batch {
                    match entry {
                        Some(entry) => _ = table.insert(key, entry.encode().as_slice())?,
                        None => _ = table.remove(key)?,
                    }
                }
            }
            Ok(write.commit()?)
        })?;
        if lock(&self.trouble).take().is_some() {
            tracing::warn!("state store: {} can be written again", self.path.display());
        }
        Ok(())
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.with(|database| work(&database.begin_read()?))
    }

    /// Works with the open file. redb panics on some damage; that, too, is only a reason to open it again.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StateError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else {
            let why = self.trouble().unwrap_or_else(|| "it is being opened".into());
            return Err(StateError::Unavailable(why));
        };
        let (why, corrupt) = match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => {
                let corrupt = matches!(error, redb::Error::Corrupted(_) | redb::Error::LockPoisoned(_));
                (format!("{}: {error}", self.path.display()), corrupt)
            }
            Err(_) => (format!("{}: reading or writing it panicked", self.path.display()), true),
        };
        self.set_trouble(&why, corrupt);
        Err(StateError::Unavailable(why))
    }

    fn set_trouble(&self, why: &str, corrupt: bool) {
        let mut trouble = lock(&self.trouble);
        // The first word on it tells most: what fails after it only says that something failed before.
        if let Some(trouble) = trouble.as_mut() {
            trouble.corrupt |= corrupt;
            if trouble.told.elapsed() < TELL {
                return;
            }
        }
        tracing::error!("state store: {why}; trying again until it works");
        *trouble = Some(Trouble { text: why.to_owned(), corrupt, told: Instant::now() });
    }

    fn try_open(&self, check: bool) -> Result<(), Refusal> {
        let name = self.path.display();
        let opening = || -> Result<Database, redb::Error> {
            let database = (self.opener)(&self.path, check)?;
            match database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => {
                    let write = database.begin_write()?;
                    write.open_table(ENTRIES)?;
                    write.commit()?;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            Ok(database)
        };
        match catch_unwind(AssertUnwindSafe(opening)) {
            Ok(Ok(database)) => {
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
                Ok(())
            }
            Ok(Err(error)) => Err(refusal(&error, format!("{name}: {error}"))),
            Err(_) => Err(Refusal::Corrupt(format!("{name}: opening it panicked"))),
        }
    }

    /// Sets the file aside and begins a new one.
    fn begin_anew(&self, why: &str) -> Result<(), String> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".corrupt-{}", jiff::Timestamp::now().as_millisecond()));
        let aside = PathBuf::from(aside);
        let moved = std::fs::rename(&self.path, &aside);
        moved.map_err(|error| format!("{why}; it cannot be set aside: {error}"))?;
        tracing::error!("state store: {why}; set aside as {} and begun anew", aside.display());
        self.try_open(false).map_err(|refusal| match refusal {
            Refusal::Corrupt(why) | Refusal::Full(why) | Refusal::Other(why) => why,
        })?;
        // A command that root runs must not leave the daemon a file that it may not open.
        if let Ok(before) = std::fs::metadata(&aside)
            && let Err(error) = chown(&self.path, Some(before.uid()), Some(before.gid()))
        {
            tracing::warn!("state store: {}: keeps another owner: {error}", self.path.display());
        }
        Ok(())
    }
}

fn refusal(error: &redb::Error, text: String) -> Refusal {
    let by_kind = |kind| match kind {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Refusal::Corrupt(text.clone()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Refusal::Full(text.clone())
        }
        _ => Refusal::Other(text.clone()),
    };
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::LockPoisoned(_)
        | redb::Error::TableTypeMismatch { .. } => Refusal::Corrupt(text),
        redb::Error::DatabaseAlreadyOpen => Refusal::Other(format!("{text} (by another process)")),
        redb::Error::Io(error) => by_kind(error.kind()),
        _ => Refusal::Other(text),
    }
}
