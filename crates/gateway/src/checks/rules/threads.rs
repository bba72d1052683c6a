//! The threads on which rules compute: as many as there are processors, always the same, and none of the runtime's.
//!
//! More would only make each message late. And each expression keeps memory for the threads that have used it, so that work which
//! wanders over the hundreds of threads of the runtime takes several times the memory.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// The threads of this process. They stay through reloads, and begin when they are first needed.
pub static THREADS: LazyLock<Threads> =
    LazyLock::new(|| Threads::new(thread::available_parallelism().map_or(1, |many| many.get())));

/// Threads that compute.
pub struct Threads {
    shared: Arc<Shared>,
    /// Whoever has no turn waits in no thread.
    turns: Arc<Semaphore>,
    most: usize,
}

/// Why something was not computed.
#[derive(Debug)]
pub enum Undone {
    /// No thread was free in time.
    Busy,
    /// No thread can be started, and why.
    Failed(String),
    /// It panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    started: usize,
}

impl Threads {
    /// Up to so many; none is started yet.
    pub fn new(most: usize) -> Threads {
        Threads { shared: Arc::default(), turns: Arc::new(Semaphore::new(most)), most }
    }

    /// Computes on one of them, if one is free within `wait`. What was begun is computed to its end, even when nobody waits for
    /// it any more: it has its turn until then.
    pub async fn compute<T: Send + 'static>(
        &self,
        wait: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let turn = tokio::time::timeout(wait, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Undone::Busy) };
        let (tell, told) = oneshot::channel();
        self.begin(Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            drop(turn);
            // Nobody may be there to hear it.
            let _ = tell.send(done);
        }))?;
        match told.await {
            Ok(done) => done.map_err(Undone::Panicked),
            Err(_) => Err(Undone::Failed("the thread has ended".into())),
        }
    }

    fn begin(&self, job: Job) -> Result<(), Undone> {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if queue.jobs.len() > queue.idle && queue.started < self.most {
            let shared = self.shared.clone();
            let name = format!("rules-{}", queue.started);
            match thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => queue.started += 1,
                Err(why) if queue.started == 0 => {
                    queue.jobs.pop_back();
                    return Err(Undone::Failed(why.to_string()));
                }
                // Those that are there will do it.
                Err(_) => {}
            }
        }
        self.shared.more.notify_one();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does. No job panics.
    fn work(&self) {
        let mut queue = self.lock();
        loop {
            match queue.jobs.pop_front() {
                Some(job) => {
                    drop(queue);
                    job();
                    queue = self.lock();
                }
                None => {
                    queue.idle += 1;
                    queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    queue.idle -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use futures_util::future::join_all;

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn no_more_threads_than_wanted_do_all_of_it() {
        let threads = Threads::new(3);
        // Three at once, or none of them would come past it.
        let barrier = Arc::new(Barrier::new(3));
        let one = |_| {
            let barrier = barrier.clone();
            threads.compute(SOON, move || (barrier.wait(), thread::current().id()).1)
        };
        let done = join_all((0..300).map(one)).await;
        let ids: HashSet<_> = done.into_iter().map(|id| id.expect("it was computed")).collect();
        assert_eq!(ids.len(), 3);
    }

    #[tokio::test]
    async fn whoever_gets_no_turn_or_panics_is_told() {
        let threads = Threads::new(1);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = threads.compute(SOON, move || wait.recv().is_ok());
        let mut busy = Box::pin(busy);
        assert!(futures_util::poll!(&mut busy).is_pending());
        assert!(matches!(threads.compute(Duration::from_millis(1), || ()).await, Err(Undone::Busy)));
        go.send(()).expect("somebody waits");
        assert!(busy.await.expect("it was computed"));
        assert!(matches!(threads.compute(SOON, || panic!("on purpose")).await, Err(Undone::Panicked(_))));
        assert_eq!(threads.compute(SOON, || 7).await.ok(), Some(7), "the thread lives on");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_keeps_its_turn_to_its_end() {
        let threads = Threads::new(1);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut left = Box::pin(threads.compute(SOON, move || wait.recv().is_ok()));
        assert!(futures_util::poll!(&mut left).is_pending());
        drop(left);
        assert!(matches!(threads.compute(Duration::from_millis(1), || ()).await, Err(Undone::Busy)));
        go.send(()).expect("it is computed all the same");
        assert_eq!(threads.compute(SOON, || 7).await.ok(), Some(7));
    }
}
