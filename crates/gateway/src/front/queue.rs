//! Between two queues of Sendmail: one Sendmail takes mail in and only queues it, another delivers from a second queue,
//! and here mail is judged on its way from the first queue to the second.
//!
//! The sender is gone, so nothing is refused: what a policy refuses is held in the vault. What is put off stays in the
//! incoming queue and is looked at again later. How a message goes from one folder to the other, so that a kill or a
//! power failure at any moment neither loses nor doubles it, is told in [`files`].

mod files;
mod message;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::Front;
use crate::config::typed::Queue;
use files::{Decided, Folder, Listing};

/// First wait before a message that was put off is looked at again; doubled with each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// First wait before a message that was locked is looked at again; doubled with each time.
const FIRST_BUSY: Duration = Duration::from_millis(100);

/// Longest wait for a lock.
const LONGEST_BUSY: Duration = Duration::from_secs(5);

/// How often it is asked whether the folder has changed: one call of the system, that works on every file system.
const GLANCE: Duration = Duration::from_millis(100);

/// A pair of queues and what judges between them. A reload makes a new one; messages in hand end with the one they began
/// with.
#[derive(Clone)]
pub struct Between {
    /// Folders, interval, how many at once.
    pub queue: Queue,
    /// As for listeners; its listener has the queue's name.
    pub front: Front,
}

/// Moves mail until the daemon drains, then ends what it has in hand.
pub async fn run(between: Arc<ArcSwap<Between>>) {
    let mut draining = between.load().front.draining.clone();
    let mut mover = Mover::new(between);
    loop {
        if mover.due && mover.pending.is_empty() {
            mover.look().await;
        }
        mover.begin();
        tokio::select! {
            Some(ended) = mover.working.join_next_with_id(), if !mover.working.is_empty() => mover.ended(ended),
            () = tokio::time::sleep(GLANCE) => {}
            () = stopped(&mut draining) => break,
        }
        if !mover.due {
            mover.glance().await;
        }
    }
    while mover.working.join_next().await.is_some() {}
}

async fn stopped(draining: &mut watch::Receiver<bool>) {
    // An error is a daemon that is gone.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has left the incoming queue, or is not there any more.
    Gone,
    /// Somebody has it locked: it is still being written.
    Busy,
    /// To be looked at again later.
    Later,
}

/// One message to be worked on, by its queue id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    /// It is new.
    Judge(String),
    /// It was decided already, by a process that died, or when the outgoing folder was in trouble.
    Finish(Decided),
}

/// Who looks after one pair of queues.
struct Mover {
    between: Arc<ArcSwap<Between>>,
    working: JoinSet<End>,
    /// Ids of those being worked on.
    in_hand: HashMap<Id, String>,
    /// Found and not begun yet.
    pending: VecDeque<Job>,
    /// Put off.
    waiting: HashMap<String, Wait>,
    /// It is time to list the folder.
    due: bool,
    /// When to look again at the first of those that were locked.
    busy: Option<Instant>,
    /// The outgoing folder that was looked through for what nobody accounts for.
    searched: Option<PathBuf>,
    /// When the folder was last listed, how long that took, and when it had been changed before.
    looked: Instant,
    took: Duration,
    changed: Option<SystemTime>,
    /// What is wrong with the incoming folder, so that it is told once.
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    length: Duration,
    /// It is for a lock.
    busy: bool,
}

impl Mover {
    fn new(between: Arc<ArcSwap<Between>>) -> Mover {
        Mover {
            between,
            working: JoinSet::new(),
            in_hand: HashMap::new(),
            pending: VecDeque::new(),
            waiting: HashMap::new(),
            due: true,
            busy: None,
            searched: None,
            looked: Instant::now(),
            took: Duration::ZERO,
            changed: None,
            trouble: None,
        }
    }

    /// Whether it is time to list the folder: it has changed, or its interval is over.
    async fn glance(&mut self) {
        let between = self.between.load_full();
        let age = self.looked.elapsed();
        // Never more than a small part of the time, however many files there are.
        if age < self.took * 10 {
            return;
        }
        self.due = age >= between.queue.interval.duration()
            || self.busy.is_some_and(|until| until <= Instant::now());
        if !self.due {
            let folder = Folder::new(&between.queue.incoming);
            let changed = blocking(move || folder.changed()).await.ok().flatten();
            self.due = changed != self.changed;
        }
    }

    /// Lists the incoming folder for what is to be done now.
    async fn look(&mut self) {
        let between = self.between.load_full();
        let folder = Folder::new(&between.queue.incoming);
        let began = Instant::now();
        let listed = blocking(move || (folder.changed(), folder.list())).await;
        self.due = false;
        (self.looked, self.took) = (Instant::now(), began.elapsed());
        match listed {
            Ok((changed, Ok(listing))) => {
                if self.trouble.take().is_some() {
                    tracing::info!(queue = between.queue.name, "the incoming folder is readable again");
                }
                self.changed = changed;
                self.note(listing);
                self.search(&between).await;
            }
            Ok((_, Err(error))) => self.troubled(&between.queue.name, error.to_string()),
            Err(error) => self.troubled(&between.queue.name, error.to_string()),
        }
    }

    /// Once for each outgoing folder: tells of prepared files that no message accounts for any more.
    async fn search(&mut self, between: &Between) {
        let path = &between.queue.outgoing;
        if self.searched.as_ref() == Some(path) {
            return;
        }
        let (incoming, outgoing) = (Folder::new(&between.queue.incoming), Folder::new(path));
        if let Ok(Ok(orphans)) = blocking(move || outgoing.orphans(&incoming)).await {
            self.searched = Some(path.clone());
            if !orphans.is_empty() {
                let (some, count) = (orphans.iter().take(10).cloned().collect::<Vec<_>>(), orphans.len());
                tracing::warn!(
                    queue = between.queue.name,
                    count,
                    files = some.join(" "),
                    "prepared files in the outgoing folder belong to no message in the incoming folder; they do not go out"
                );
            }
        }
    }

    fn troubled(&mut self, queue: &str, error: String) {
        if self.trouble.as_ref() != Some(&error) {
            tracing::error!(queue, error, "the incoming folder cannot be read");
            self.trouble = Some(error);
        }
    }

    fn note(&mut self, listing: Listing) {
        let Listing { waiting, decided } = listing;
        if !self.waiting.is_empty() {
            let there: HashSet<&String> =
                waiting.iter().chain(decided.iter().map(|decided| &decided.id)).collect();
            self.waiting.retain(|id, _| there.contains(id));
        }
        let now = Instant::now();
        // Those whose wait is over are looked at now, and say it again if they are still locked.
        let locked = self.waiting.values().filter(|wait| wait.busy && wait.until > now);
        self.busy = locked.map(|wait| wait.until).min();
        let in_hand: HashSet<&str> = self.in_hand.values().map(String::as_str).collect();
        let free =
            |id: &str| !in_hand.contains(id) && self.waiting.get(id).is_none_or(|wait| wait.until <= now);
        let jobs = decided.into_iter().map(Job::Finish).chain(waiting.into_iter().map(Job::Judge));
        self.pending = jobs.filter(|job| free(job.id())).collect();
    }

    /// Begins as many as may be worked on at once.
    fn begin(&mut self) {
        let between = self.between.load_full();
        while self.working.len() < between.queue.at_once.max(1) as usize {
            let Some(job) = self.pending.pop_front() else { return };
            let (id, between) = (job.id().to_owned(), between.clone());
            let handle = self.working.spawn(async move {
                match job {
                    Job::Judge(id) => message::judge(&between, id).await,
                    Job::Finish(decided) => message::finish(&between, decided).await,
                }
            });
            self.in_hand.insert(handle.id(), id);
        }
    }

    fn ended(&mut self, ended: Result<(Id, End), JoinError>) {
        let (task, end) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), End::Later),
        };
        let Some(id) = self.in_hand.remove(&task) else { return };
        let before = self.waiting.get(&id).copied();
        let (busy, first, longest) = match end {
            End::Gone => {
                self.waiting.remove(&id);
                return;
            }
            // Its writer will mostly be done soon.
            End::Busy => (true, FIRST_BUSY, LONGEST_BUSY),
            End::Later => (false, FIRST_WAIT, LONGEST_WAIT),
        };
        let same = before.filter(|wait| wait.busy == busy);
        let length = same.map_or(first, |wait| (wait.length * 2).min(longest));
        let until = Instant::now() + length;
        if busy {
            self.busy = Some(self.busy.map_or(until, |other| other.min(until)));
        }
        self.waiting.insert(id, Wait { until, length, busy });
    }
}

impl Job {
    fn id(&self) -> &str {
        match self {
            Job::Judge(id) => id,
            Job::Finish(decided) => &decided.id,
        }
    }
}

/// Work with files, away from the threads that serve sessions.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::typed::Config;

    fn mover() -> Mover {
        let config: Config = toml::from_str("queue = [{}]").unwrap();
        let metrics = Arc::new(crate::records::Metrics::new());
        let pipeline = Arc::new(crate::build::pipeline(&config, None, metrics.clone()).unwrap());
        let (_, draining) = watch::channel(false);
        let between = crate::build::queues(&config, &pipeline, &metrics, &draining).remove(0);
        Mover::new(Arc::new(ArcSwap::from_pointee(between)))
    }

    fn listing(waiting: &[&str], decided: &[&str]) -> Listing {
        let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        Listing { waiting: owned(waiting), decided: decided.iter().map(|id| gone_out(id)).collect() }
    }

    fn gone_out(id: &str) -> Decided {
        Decided::of(&format!("gf{id}.mark")).expect("a name")
    }

    /// A task that ended so.
    async fn end(mover: &mut Mover, id: &str, end: Option<End>) {
        let handle = mover.working.spawn(async move { end.expect("a task that panics") });
        mover.in_hand.insert(handle.id(), id.to_owned());
        let ended = mover.working.join_next_with_id().await.unwrap();
        mover.ended(ended);
    }

    #[tokio::test]
    async fn what_is_put_off_waits_longer_each_time() {
        let mut mover = mover();
        let mut lengths = Vec::new();
        for _ in 0..10 {
            end(&mut mover, "A", Some(End::Later)).await;
            lengths.push(mover.waiting["A"].length.as_secs());
            mover.note(listing(&["A", "B"], &[]));
            assert_eq!(mover.pending, [Job::Judge("B".into())]);
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        // A panic is no reason to forget it, nor to try again at once.
        end(&mut mover, "B", None).await;
        assert_eq!(mover.waiting["B"].length, FIRST_WAIT);
        // What is gone is forgotten.
        end(&mut mover, "A", Some(End::Gone)).await;
        mover.note(listing(&["A", "B"], &[]));
        assert_eq!(mover.pending, [Job::Judge("A".into())]);
        mover.note(listing(&[], &[]));
        assert!(mover.waiting.is_empty() && mover.in_hand.is_empty() && mover.pending.is_empty());
    }

    #[tokio::test]
    async fn a_lock_is_looked_at_less_often_each_time() {
        let mut mover = mover();
        let mut lengths = Vec::new();
        for _ in 0..8 {
            end(&mut mover, "A", Some(End::Busy)).await;
            lengths.push(mover.waiting["A"].length.as_millis());
            mover.note(listing(&["A"], &[]));
            assert!(mover.pending.is_empty());
            assert_eq!(mover.busy, Some(mover.waiting["A"].until));
        }
        assert_eq!(lengths, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        // The folder is listed for it once its time has come, and not before.
        mover.due = false;
        mover.changed = Folder::new(&mover.between.load().queue.incoming).changed();
        mover.glance().await;
        assert!(!mover.due);
        mover.busy = Some(Instant::now());
        mover.glance().await;
        assert!(mover.due);
        // What is put off begins its own waits.
        end(&mut mover, "A", Some(End::Later)).await;
        assert_eq!(mover.waiting["A"].length, FIRST_WAIT);
        mover.note(listing(&["A"], &[]));
        assert_eq!(mover.busy, None);
    }

    #[tokio::test]
    async fn what_was_decided_comes_first_and_nothing_is_begun_twice() {
        let mut mover = mover();
        let handle = mover.working.spawn(std::future::pending());
        mover.in_hand.insert(handle.id(), "B".to_owned());
        mover.note(listing(&["A", "B"], &["C", "B"]));
        assert_eq!(mover.pending, [Job::Finish(gone_out("C")), Job::Judge("A".into())]);
    }
}
