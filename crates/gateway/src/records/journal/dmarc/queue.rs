//! Messages on their way to the database.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::writer::transaction;
use super::DmarcMessage;

/// Messages that may wait, of about a kilobyte each.
const WAITING: usize = 16_384;
/// What one transaction holds, and how long its first message waits for company.
const BATCH: usize = 1000;
const BATCH_TIME: Duration = Duration::from_millis(500);
/// Tries of one batch, and the pause after each.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// How long `flush` and `stop` wait.
const FLUSH_TIME: Duration = Duration::from_secs(10);
/// A lasting trouble is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

enum Job {
    Write(Box<DmarcMessage>),
    Flush(oneshot::Sender<()>),
}

/// The queue's end for those who hand over. The task ends when it is dropped.
pub(in super::super) struct Queue {
    jobs: mpsc::Sender<Job>,
    task: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<Lost>,
}

/// Messages that are in no report for want of room, logged once a minute.
struct Lost {
    path: PathBuf,
    count: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Lost {
    fn add(&self, count: usize, why: &str) {
        let total = self.count.fetch_add(count as u64, Relaxed) + count as u64;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            let path = self.path.display();
            tracing::error!("journal {path}: {why}; {total} messages are in no DMARC report since start");
        }
    }
}

impl Queue {
    /// An empty queue, and the task that empties it.
    pub(in super::super) fn start(path: PathBuf, pool: SqlitePool) -> Queue {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let lost = Arc::new(Lost { path, count: AtomicU64::new(0), logged: Mutex::default() });
        let task = tokio::spawn(run(waiting, pool, lost.clone()));
        Queue { jobs, task: Mutex::new(Some(task)), lost }
    }

    pub(super) fn push(&self, message: DmarcMessage) {
        if self.jobs.try_send(Job::Write(Box::new(message))).is_err() {
            self.lost.add(1, "DMARC results come faster than they are written");
        }
    }

    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        let flushed = async {
            if self.jobs.send(Job::Flush(done)).await.is_ok() {
                // An error: the task has ended, and nothing is left to wait for.
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
    }

    /// Writes what waits and lets the task end with the last handle.
    pub(in super::super) async fn stop(&self) {
        self.flush().await;
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(|task| task.abort());
    }
}

async fn run(mut waiting: mpsc::Receiver<Job>, pool: SqlitePool, lost: Arc<Lost>) {
    let mut closed = false;
    while !closed {
        let mut batch = Vec::new();
        let mut flushes = Vec::new();
        let mut deadline = None;
        while batch.len() < BATCH && flushes.is_empty() {
            let next = match deadline {
                None => waiting.recv().await,
                Some(at) => match tokio::time::timeout_at(at, waiting.recv()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            deadline = deadline.or_else(|| Some(tokio::time::Instant::now() + BATCH_TIME));
            match next {
                Some(Job::Write(message)) => batch.push(message),
                Some(Job::Flush(done)) => flushes.push(done),
                None => {
                    closed = true;
                    break;
                }
            }
        }
        write(&pool, &batch, &lost).await;
        for done in flushes {
            // Whoever has stopped waiting needs no answer.
            let _ = done.send(());
        }
    }
}

async fn write(pool: &SqlitePool, batch: &[Box<DmarcMessage>], lost: &Lost) {
    if batch.is_empty() {
        return;
    }
    for _ in 0..TRIES {
        let Err(error) = insert(pool, batch).await else { return };
        lost.add(0, &format!("DMARC results cannot be written: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
    lost.add(batch.len(), "DMARC results could not be written");
}

async fn insert(pool: &SqlitePool, batch: &[Box<DmarcMessage>]) -> Result<(), sqlx::Error> {
    let rows: Vec<String> =
        batch.iter().map(|message| serde_json::to_string(&message.row).unwrap_or_default()).collect();
    transaction(pool, async |connection| {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO dmarc_message (time, domain, policy, row) ");
        query.push_values(batch.iter().zip(&rows), |mut columns, (message, row)| {
            columns
                .push_bind(message.time.as_microsecond())
                .push_bind(message.policy_domain.as_str())
                .push_bind(message.policy.as_str())
                .push_bind(row.as_str());
        });
        query.build().persistent(false).execute(connection).await.map(drop)
    })
    .await
}
