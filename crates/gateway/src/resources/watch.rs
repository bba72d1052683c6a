//! Files that may change while we run (rules, hash lists, certificates): every few seconds each owner is asked to
//! look and to take what is new.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at};

/// How often owners look. A look costs them a few stat(2) calls.
pub const EVERY: Duration = Duration::from_secs(5);

/// Something that looks at its files and takes what is new. It may block.
type Look = Box<dyn FnMut() + Send>;

/// The owners that look, before the watch starts.
pub struct Watch {
    every: Duration,
    looks: Vec<(String, Look)>,
}

/// A running watch. It ends when this is dropped.
pub struct Watching(JoinHandle<()>);

impl Watch {
    /// Nobody looks yet.
    pub fn new(every: Duration) -> Watch {
        Watch { every, looks: Vec::new() }
    }

    /// One more looks, under a name for the log.
    pub fn add(&mut self, name: impl Into<String>, look: impl FnMut() + Send + 'static) {
        self.looks.push((name.into(), Box::new(look)));
    }

    /// Starts, on the current tokio runtime. All look one after the other on a thread where blocking is allowed; a
    /// round that takes long delays the next.
    pub fn start(self) -> Watching {
        let Watch { every, mut looks } = self;
        Watching(tokio::spawn(async move {
            let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !looks.is_empty() {
                ticks.tick().await;
                let round = tokio::task::spawn_blocking(move || {
                    look_once(&mut looks);
                    looks
                });
                match round.await {
                    Ok(back) => looks = back,
                    Err(_) => return, // the runtime is shutting down: panics do not get here
                }
            }
        }))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets each look. One that panics is logged and asked again next time; the others are not harmed.
fn look_once(looks: &mut [(String, Look)]) {
    for (name, look) in looks {
        if catch_unwind(AssertUnwindSafe(look)).is_err() {
            tracing::error!(watched = %name, "looking for changed files panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn all_look_again_and_again_and_stop_with_the_watch() {
        let (calm, wild) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut watch = Watch::new(Duration::from_millis(5));
        let counter = wild.clone();
        watch.add("wild", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            panic!("a look that fails");
        });
        let counter = calm.clone();
        watch.add("calm", move || _ = counter.fetch_add(1, Ordering::Relaxed));
        let watching = watch.start();

        let enough = async {
            while calm.load(Ordering::Relaxed) < 3 || wild.load(Ordering::Relaxed) < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), enough).await.expect("three rounds");

        drop(watching);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = calm.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(calm.load(Ordering::Relaxed), after);
    }
}
