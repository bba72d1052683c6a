//! The journal: one record a message in an SQLite database, written in batches off the path of the mail, read by the
//! commands while the daemon runs (WAL), and a state and events for every held message.
//!
//! A record is on disk some 20 ms after [`Journal::write`]; a crash may lose the last ones. Held messages lose nothing:
//! the vault's files carry their records, see [`super::reconcile`].

mod dmarc;
mod notices;
mod query;
mod state;
mod writer;

pub use dmarc::{DmarcMessage, Due, Imported, Pending, ReceivedFilter, ReceivedLine, ReportState, Reported};
pub use notices::{Making, NoticeContent, NoticeItem, NoticePending, NoticeState, NoticeWaiting};
pub use query::{Entry, Filter};
pub use state::{CLAIM_TIME, Claim, Event, EventKind, State, Ticket};

use std::borrow::Cow;
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, QueryBuilder, SqlSafeStr, Sqlite, SqlitePool};

use super::Record;
use writer::Queue;

/// Connections to the database at once, besides the writer's own.
const CONNECTIONS: u32 = 4;
/// How long the writer waits for another process's lock before it counts as trouble and tries again. Shorter than
/// anybody waits for room, so that the cause is known by then.
const WRITER_BUSY_TIME: Duration = Duration::from_secs(1);
/// How long a statement waits for another process's lock.
const BUSY_TIME: Duration = Duration::from_secs(10);
/// Pages in the log before they are moved into the database. Neighbouring messages change the same pages of an index,
/// and a page is moved once however often it stands in the log.
const CHECKPOINT_PAGES: &str = "8000";
/// The write-ahead log is cut back to this once it has grown beyond.
const WAL_LIMIT: &str = "67108864";

/// The journal.
pub struct Journal {
    path: PathBuf,
    pool: SqlitePool,
    queue: Arc<Queue>,
    dmarc: dmarc::Queue,
}

impl Journal {
    /// Opens the database at `path`, makes it (mode 0600, missing folders 0700) or brings its tables up to date, and
    /// starts the writer task on the current tokio runtime. Several processes may have it open.
    pub async fn open(path: &Path) -> Result<Journal, JournalError> {
        Journal::open_counting(path, Counter::default()).await
    }

    /// As [`Journal::open`], counting records that had to be dropped in `dropped`
    /// ([`super::Metrics::journal_dropped`]).
    pub async fn open_counting(path: &Path, dropped: Counter) -> Result<Journal, JournalError> {
        create_private(path).map_err(|source| JournalError::File { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIME)
            .pragma("journal_size_limit", WAL_LIMIT)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .disable_statement_logging();
        let connect = async |connections, options: SqliteConnectOptions| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_TIME * 2)
                .connect_with(options)
                .await
                .map_err(|source| JournalError::Database { path: path.to_owned(), source })
        };
        let pool = connect(CONNECTIONS, options.clone()).await?;
        migrate(&pool).await.map_err(|source| JournalError::Migration { path: path.to_owned(), source })?;
        // A release must not be forgotten, hence FULL above. Records may lose their last moments to a power failure
        // (the held ones come back from the vault), and cost one fsync less a batch.
        let options = options.synchronous(SqliteSynchronous::Normal).busy_timeout(WRITER_BUSY_TIME);
        let writer = connect(1, options).await?;
        let dmarc = dmarc::Queue::start(path.to_owned(), pool.clone());
        let queue = Queue::start(path.to_owned(), writer, dropped);
        Ok(Journal { path: path.to_owned(), pool, queue, dmarc })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands over a record. It waits up to 2 s while the writer is behind; after that, and while the database cannot be
    /// written, it does not wait but drops the oldest record that is waiting, which is logged and counted: delivery
    /// must not stop because the journal is full.
    pub async fn write(&self, record: Arc<Record>) {
        self.queue.push(record).await;
    }

    /// Waits until everything handed over so far is on disk; an error if that doesn't happen within 10 s.
    pub async fn flush(&self) -> Result<(), JournalError> {
        self.queue.flush().await.map_err(|left| JournalError::NotWritten { path: self.path.clone(), left })
    }

    /// Flushes, stops the writer and closes the database. What cannot be written is lost; the error says how much.
    pub async fn close(self) -> Result<(), JournalError> {
        let flushed = self.flush().await;
        self.dmarc.stop().await;
        self.queue.stop().await;
        self.pool.close().await;
        flushed
    }

    /// Why records cannot be written at the moment; for `/health`.
    pub fn trouble(&self) -> Option<String> {
        self.queue.trouble()
    }

    /// Records dropped since start.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Makes every claim look as old as one of a process that is gone.
    #[cfg(test)]
    pub(crate) async fn age_claims(&self) {
        let past = i64::try_from(CLAIM_TIME.as_micros()).unwrap() + 1_000_000;
        sqlx::query("UPDATE message SET state_time = state_time - ? WHERE state = 'releasing'")
            .bind(past)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Takes the right to send what has an id in a table that has `state` and `claimed`: half an hour, false if somebody else
    /// has it, or it was sent. A claim that seems to come from the future is over: the clock was set back.
    async fn claim_sending(
        &self,
        table: &'static str,
        id: &str,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        /// A claim that is older belongs to a process that is gone: no next hop is waited for so long.
        const SENDING: i64 = 1800 * 1_000_000;
        let now = now.as_microsecond();
        let mut update = QueryBuilder::<Sqlite>::new(format!("UPDATE {table} SET claimed = "));
        update.push_bind(now).push(" WHERE id = ").push_bind(id);
        update.push(" AND state = 'made' AND (claimed IS NULL OR claimed < ");
        update.push_bind(now.saturating_sub(SENDING)).push(" OR claimed > ").push_bind(now).push(")");
        let claimed = update.build().execute(&self.pool).await;
        claimed.map(|done| done.rows_affected() == 1).map_err(|error| self.database_error(error))
    }

    fn database_error(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), source }
    }
}

impl Drop for Journal {
    /// The writer goes on until the queue is empty, as long as the runtime lives.
    fn drop(&mut self) {
        self.queue.let_go();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What can go wrong with the journal.
#[derive(Debug)]
pub enum JournalError {
    /// The file cannot be made or opened.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database refuses.
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// Its tables cannot be brought up to date; usually it was made by a newer gatepost.
    Migration {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// Records are still waiting: the disk is full or the database locked.
    NotWritten {
        /// Which file.
        path: PathBuf,
        /// How many.
        left: u64,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::File { path, source } => write!(f, "journal {}: {source}", path.display()),
            JournalError::Database { path, source } => write!(f, "journal {}: {source}", path.display()),
            JournalError::Migration { path, source } => {
                write!(f, "journal {}: its tables cannot be brought up to date: {source}", path.display())
            }
            JournalError::NotWritten { path, left } => {
                write!(f, "journal {}: {left} records could not be written yet", path.display())
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JournalError::File { source, .. } => Some(source),
            JournalError::Database { source, .. } => Some(source),
            JournalError::Migration { source, .. } => Some(source),
            JournalError::NotWritten { .. } => None,
        }
    }
}

/// Makes the file with mode 0600 before SQLite would make it readable for others; its `-wal` and `-shm` files get the
/// mode of the database. A file that others may read is closed to them.
fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_private_folder(folder)?;
    }
    let is_new = !path.exists();
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions)?;
    }
    if is_new {
        give_to_owner_of_folder(path)?;
    }
    Ok(())
}

/// Makes a folder with mode 0700, and those above it that are missing.
pub(super) fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    give_to_owner_of_folder(folder)
}

/// What root makes with a command, before the daemon has ever run, must be the daemon's: its owner becomes that of the
/// folder it lies in.
fn give_to_owner_of_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let owner = std::fs::metadata(folder)?;
    if nix::unistd::geteuid().is_root() && owner.uid() != 0 {
        std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Brings the tables up to date. Two processes may do it at the same time; the one that comes late finds it done when
/// it tries again.
async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::migrate::MigrateError> {
    const TRIES: u32 = 5;
    let migration = |number, name, sql: &'static str| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(vec![
        migration(1, "journal", include_str!("../../migrations/0001_journal.sql")),
        migration(2, "dmarc", include_str!("../../migrations/0002_dmarc.sql")),
        migration(3, "notices", include_str!("../../migrations/0003_notices.sql")),
    ]);
    let mut tried = 1;
    loop {
        match migrator.run(pool).await {
            Err(_) if tried < TRIES => {
                tokio::time::sleep(Duration::from_millis(100 * u64::from(tried))).await;
                tried += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
