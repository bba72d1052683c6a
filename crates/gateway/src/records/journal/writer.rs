//! The writer: a bounded queue of records and one task that writes them in batches.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::super::Record;
use super::state::State;

/// Records that may wait, and roughly the memory they may take.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 32 << 20;
/// What one transaction holds at most, and how long its first record waits for company.
pub(super) const BATCH: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
const BATCH_TIME: Duration = Duration::from_millis(100);
/// Pauses between tries while the database cannot be written.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for room: replies to clients wait with it. Then the disk counts as stuck, and nobody waits for it any
/// more until something is written again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long `flush` waits.
const FLUSH_TIME: Duration = Duration::from_secs(10);
/// A lasting trouble is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Records on their way to the database.
pub(super) struct Queue {
    path: PathBuf,
    dropped: Counter,
    inner: Mutex<Inner>,
    /// For the writer: something to do.
    arrived: Notify,
    /// For everybody else: a batch is done, or trouble began.
    progress: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Records taken by the writer and not yet written.
    in_flight: usize,
    /// Records ever handed over.
    handed: u64,
    /// Somebody flushes: do not wait for company.
    urgent: bool,
    closing: bool,
    trouble: Option<String>,
    logged: Option<Instant>,
}

struct Waiting {
    record: Arc<Record>,
    bytes: usize,
}

impl Queue {
    /// An empty queue, and the task that empties it.
    pub(super) fn start(path: PathBuf, pool: SqlitePool, dropped: Counter) -> Arc<Queue> {
        let queue = Arc::new(Queue {
            path,
            dropped,
            inner: Mutex::default(),
            arrived: Notify::new(),
            progress: Notify::new(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(run(queue.clone(), pool));
        *queue.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        queue
    }

    pub(super) async fn push(&self, record: Arc<Record>) {
        let mut entry = Waiting { bytes: weight(&record), record };
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Listen before looking, so that no progress in between is missed.
            progress.as_mut().enable();
            match self.offer(entry) {
                None => return,
                Some(back) => entry = back,
            }
            if tokio::time::timeout_at(deadline, progress).await.is_err() {
                self.trouble_began("there was no room for a record within 2 s; the disk seems stuck");
            }
        }
    }

    /// Waits until all that was handed over is written; otherwise says how many are left.
    pub(super) async fn flush(&self) -> Result<(), u64> {
        let target = self.lock().handed;
        let written = async {
            loop {
                let progress = self.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                {
                    let mut inner = self.lock();
                    if inner.trouble.is_none() && inner.handed - inner.left() >= target {
                        return;
                    }
                    inner.urgent = true;
                }
                self.arrived.notify_one();
                progress.await;
            }
        };
        tokio::time::timeout(FLUSH_TIME, written).await.map_err(|_| self.lock().left())
    }

    /// Lets the writer write what is there and end; waits for it.
    pub(super) async fn stop(&self) {
        self.let_go();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("journal {}: the writer failed: {error}", self.path.display());
        }
    }

    /// As `stop`, without waiting.
    pub(super) fn let_go(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Puts a record in, or gives it back when there is no room and it is worth waiting for some.
    fn offer(&self, entry: Waiting) -> Option<Waiting> {
        let mut inner = self.lock();
        let mut lost = 0_u64;
        while inner.is_full(entry.bytes) {
            if inner.trouble.is_none() && !inner.closing {
                return Some(entry);
            }
            inner.pop();
            lost += 1;
        }
        inner.bytes += entry.bytes;
        inner.handed += 1;
        inner.waiting.push_back(entry);
        let wake = inner.waiting.len() == 1 || inner.waiting.len() == BATCH || inner.bytes >= BATCH_BYTES;
        drop(inner);
        if lost > 0 {
            self.dropped.inc_by(lost);
            self.log("the oldest records that wait are dropped");
        }
        if wake {
            self.arrived.notify_one();
        }
        None
    }

    /// The next records to write; None when closing and nothing is left.
    async fn next_batch(&self) -> Option<Vec<Waiting>> {
        loop {
            {
                let inner = self.lock();
                if !inner.waiting.is_empty() {
                    break;
                }
                if inner.closing {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
        let deadline = tokio::time::Instant::now() + BATCH_TIME;
        while !self.lock().is_batch() {
            if tokio::time::timeout_at(deadline, self.arrived.notified()).await.is_err() {
                break;
            }
        }
        let mut inner = self.lock();
        let mut batch = Vec::with_capacity(inner.waiting.len().min(BATCH));
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(entry) = inner.pop() else { break };
            bytes += entry.bytes;
            batch.push(entry);
        }
        inner.in_flight = batch.len();
        inner.urgent &= !inner.waiting.is_empty();
        Some(batch)
    }

    /// A batch is done.
    fn done(&self) {
        let mut inner = self.lock();
        inner.in_flight = 0;
        if inner.trouble.take().is_some() {
            inner.logged = None;
            tracing::info!("journal {}: records are written again", self.path.display());
        }
        drop(inner);
        self.progress.notify_waiters();
    }

    fn trouble_began(&self, why: &str) {
        self.lock().trouble = Some(why.to_owned());
        self.log(why);
        self.progress.notify_waiters();
    }

    /// Logs a trouble, but not more than once a minute.
    fn log(&self, what: &str) {
        let mut inner = self.lock();
        if inner.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        inner.logged = Some(Instant::now());
        let left = inner.left();
        drop(inner);
        tracing::error!(
            "journal {}: {what}; {left} records wait, {} dropped since start",
            self.path.display(),
            self.dropped.get()
        );
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_full(&self, more: usize) -> bool {
        !self.waiting.is_empty() && (self.waiting.len() >= WAITING || self.bytes + more > WAITING_BYTES)
    }

    fn is_batch(&self) -> bool {
        self.urgent || self.closing || self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn pop(&mut self) -> Option<Waiting> {
        let entry = self.waiting.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn left(&self) -> u64 {
        (self.waiting.len() + self.in_flight) as u64
    }
}

/// Roughly the memory a record takes, without looking at every string of it.
fn weight(record: &Record) -> usize {
    let items =
        record.parts.len() * 2 + record.findings.len() + record.defects.len() + record.verdicts.len() * 2;
    let weighed: usize = record.verdicts.iter().map(|verdict| verdict.weighed.len()).sum();
    2048 + record.subject.len()
        + record.from.len()
        + record.message_id.len()
        + (items + weighed) * 256
        + record.recipients.len() * 128
}

async fn run(queue: Arc<Queue>, pool: SqlitePool) {
    while let Some(batch) = queue.next_batch().await {
        let records: Vec<Arc<Record>> = batch.into_iter().map(|entry| entry.record).collect();
        // Making JSON of many parts takes its time; the tasks that talk to clients shall not wait for it.
        let rows = tokio::task::spawn_blocking(move || -> Vec<Row> {
            records.iter().filter_map(|r| row(r)).collect()
        });
        match rows.await {
            Ok(rows) => write_batch(&queue, &pool, rows).await,
            Err(error) => {
                tracing::error!("journal {}: a batch of records is lost: {error}", queue.path.display())
            }
        }
        queue.done();
    }
    pool.close().await;
}

/// Writes rows, however long it takes: until closing, or until it turns out that a row cannot be written at all.
async fn write_batch(queue: &Queue, pool: &SqlitePool, rows: Vec<Row>) {
    let mut pause = FIRST_PAUSE;
    let mut groups = VecDeque::from([rows]);
    while let Some(group) = groups.pop_front() {
        let Err(error) = insert(pool, &group, Existing::Replace).await else {
            pause = FIRST_PAUSE;
            continue;
        };
        if !may_pass(&error) {
            if let [row] = group.as_slice() {
                queue.dropped.inc();
                tracing::error!("journal {}: record {} is refused: {error}", queue.path.display(), row.id);
            } else {
                groups.extend(group.into_iter().map(|row| vec![row]));
            }
            continue;
        }
        if queue.lock().closing {
            let lost = group.len() + groups.iter().map(Vec::len).sum::<usize>();
            queue.dropped.inc_by(lost as u64);
            tracing::error!("journal {}: {lost} records are lost on closing: {error}", queue.path.display());
            return;
        }
        groups.push_front(group);
        queue.trouble_began(&format!("cannot be written: {error}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the same statement may work later: the disk is full, the database locked, the file unreadable just now.
/// Codes: <https://www.sqlite.org/rescode.html>.
fn may_pass(error: &sqlx::Error) -> bool {
    /// BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB.
    const CODES: [u32; 10] = [5, 6, 7, 8, 10, 11, 13, 14, 15, 26];
    let Some(database) = error.as_database_error() else {
        return !matches!(error, sqlx::Error::Encode(_));
    };
    match database.code().and_then(|code| code.parse::<u32>().ok()) {
        // The low byte is the primary code.
        Some(code) => CODES.contains(&(code & 0xff)),
        None => true,
    }
}

/// What to do with a record whose id is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// The new one counts, but the state of a held message stays, unless the new one says that it is not held.
    Replace,
    /// The old one counts.
    Keep,
}

/// A record as the columns of its row.
pub(super) struct Row {
    pub(super) id: String,
    time: i64,
    sender: String,
    sender_domain: String,
    category: &'static str,
    action: &'static str,
    client: Option<Vec<u8>>,
    words: String,
    json: String,
    vault_key: Option<String>,
    /// Lower-case address and domain, each once.
    recipients: Vec<(String, String)>,
}

/// The row of a record; None when it has no JSON, which cannot happen with the types it is made of.
pub(super) fn row(record: &Record) -> Option<Row> {
    let json = serde_json::to_string(record)
        .inspect_err(|error| tracing::error!("record {} cannot be written as JSON: {error}", record.id))
        .ok()?;
    let (sender, sender_domain) = key_and_domain(record.sender.as_deref().unwrap_or_default());
    let mut recipients: Vec<_> = record.recipients.iter().map(|address| key_and_domain(address)).collect();
    recipients.sort();
    recipients.dedup();
    Some(Row {
        id: record.id.clone(),
        time: record.time.as_microsecond(),
        sender,
        sender_domain,
        category: record.category.name(),
        action: record.action.name(),
        client: record.client.map(client_key),
        words: format!("{}\n{}\n{}", record.subject, record.from, record.message_id).to_lowercase(),
        json,
        vault_key: record.quarantine.clone(),
        recipients,
    })
}

/// An address in lower case, and its domain.
fn key_and_domain(address: &str) -> (String, String) {
    let key = address.to_lowercase();
    let domain = key.rsplit_once('@').map(|(_, domain)| domain.to_owned()).unwrap_or_default();
    (key, domain)
}

/// An IP address as 16 bytes that sort in the order of the addresses.
pub(super) fn client_key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Writes rows in one transaction.
pub(super) async fn insert(pool: &SqlitePool, rows: &[Row], existing: Existing) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    transaction(pool, async |connection| {
        let written = insert_messages(connection, rows, existing).await?;
        insert_recipients(connection, rows).await?;
        Ok(written)
    })
    .await
}

/// Runs statements in one transaction. A connection on which anything fails is thrown away: SQLite ends the
/// transaction by itself when the disk is full, sqlx does not notice, and the connection would be good for nothing.
pub(super) async fn transaction<T>(
    pool: &SqlitePool,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let result = async {
        // IMMEDIATE: a transaction that reads first and writes later can fail at once with BUSY_SNAPSHOT.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let value = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(value)
    }
    .await;
    if result.is_err() {
        connection.close_on_drop();
    }
    result
}

async fn insert_messages(
    connection: &mut SqliteConnection,
    rows: &[Row],
    existing: Existing,
) -> Result<u64, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO message (id, time, sender, sender_domain, category, action, client, words, record, vault_key, \
         state, state_time) ",
    );
    query.push_values(rows, |mut columns, row| {
        columns
            .push_bind(row.id.as_str())
            .push_bind(row.time)
            .push_bind(row.sender.as_str())
            .push_bind(row.sender_domain.as_str())
            .push_bind(row.category)
            .push_bind(row.action)
            .push_bind(row.client.as_deref())
            .push_bind(row.words.as_str())
            .push_bind(row.json.as_str())
            .push_bind(row.vault_key.as_deref())
            .push_bind(row.vault_key.as_ref().map(|_| State::Held.name()))
            .push_bind(row.vault_key.as_ref().map(|_| row.time));
    });
    query.push(match existing {
        Existing::Keep => " ON CONFLICT (id) DO NOTHING",
        Existing::Replace => {
            " ON CONFLICT (id) DO UPDATE SET time = excluded.time, sender = excluded.sender, \
             sender_domain = excluded.sender_domain, category = excluded.category, action = excluded.action, \
             client = excluded.client, words = excluded.words, record = excluded.record, \
             vault_key = excluded.vault_key, \
             state = CASE WHEN excluded.vault_key IS NULL AND message.state = 'held' THEN NULL \
             ELSE COALESCE(message.state, excluded.state) END, \
             state_time = CASE WHEN excluded.vault_key IS NULL AND message.state = 'held' THEN NULL \
             ELSE COALESCE(message.state_time, excluded.state_time) END"
        }
    });
    // The text differs with the number of rows, so it isn't worth a place in the statement cache.
    Ok(query.build().persistent(false).execute(connection).await?.rows_affected())
}

async fn insert_recipients(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    /// Three values each; SQLite takes 32766 values in one statement.
    const RECIPIENTS: usize = 10_000;
    let all: Vec<_> = rows
        .iter()
        .flat_map(|row| row.recipients.iter().map(|(address, domain)| (&row.id, address, domain)))
        .collect();
    for some in all.chunks(RECIPIENTS) {
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO recipient (message, address, domain) ");
        query.push_values(some, |mut columns, (id, address, domain)| {
            columns.push_bind(id.as_str()).push_bind(address.as_str()).push_bind(domain.as_str());
        });
        query.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}
