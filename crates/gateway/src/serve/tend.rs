//! What the daemon looks after while it runs: health, metrics, retention.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::config::typed::Config;
use crate::pipeline::{Pipeline, Store};
use crate::records::{self, Health, Metrics};

/// Rounds of looking after things. A round that takes long makes the next ones fall out, so that they do not pile up
/// behind a disk or a scanner that hangs.
pub(super) struct Tending {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    engines: Arc<Mutex<BTreeSet<String>>>,
    looking: Option<JoinHandle<()>>,
    expiring: Option<JoinHandle<()>>,
}

impl Tending {
    pub fn new(metrics: Arc<Metrics>, health: Arc<Health>) -> Tending {
        Tending { metrics, health, engines: Arc::default(), looking: None, expiring: None }
    }

    /// Asks engines, journal and vault how they are.
    pub fn look(&mut self, pipeline: &Arc<Pipeline>, store: &Store) {
        let (pipeline, store) = (pipeline.clone(), store.clone());
        let (metrics, health, engines) = (self.metrics.clone(), self.health.clone(), self.engines.clone());
        unless_running(&mut self.looking, async move {
            let states = pipeline.checks.health().await;
            let states = states.into_iter().map(|engine| (engine.name, engine.state.map(|_| ())));
            {
                let mut known = engines.lock().unwrap_or_else(PoisonError::into_inner);
                tell_engines(states, &mut known, &metrics, &health);
            }
            health.set("journal", store.journal.trouble().map_or(Ok(()), Err));
            let vault = store.vault.clone();
            let looking = tokio::task::spawn_blocking(move || (vault.check_floor(0), vault.usage())).await;
            let Ok((room, usage)) = looking else { return };
            health.set("vault", room.map_err(|error| error.to_string()));
            if let Ok(usage) = usage {
                metrics.vault(usage);
            }
        });
    }

    /// Lets go of what is too old.
    pub fn expire(&mut self, config: &Config, store: &Store) {
        let (store, quarantine, journal) = (store.clone(), config.quarantine.clone(), config.journal.clone());
        unless_running(&mut self.expiring, async move {
            let now = jiff::Timestamp::now();
            match records::expire(&store.journal, &store.vault, &quarantine, &journal, now).await {
                Ok(report) => tracing::debug!(?report, "retention"),
                Err(error) => tracing::error!(%error, "what is too old stays for now"),
            }
        });
    }
}

/// Tells how the engines are, and forgets those that a reload has removed: a broken one must not be held against us for
/// ever. `known` are those that were told of the last time.
fn tell_engines(
    states: impl Iterator<Item = (String, Result<(), String>)>,
    known: &mut BTreeSet<String>,
    metrics: &Metrics,
    health: &Health,
) {
    let mut gone = std::mem::take(known);
    for (name, state) in states {
        metrics.engine_up(&name, state.is_ok());
        health.set(&name, state);
        gone.remove(&name);
        known.insert(name);
    }
    for name in gone {
        metrics.engine_gone(&name);
        health.remove(&name);
    }
}

/// Starts a round, unless the last one still runs.
fn unless_running(running: &mut Option<JoinHandle<()>>, round: impl Future<Output = ()> + Send + 'static) {
    if running.as_ref().is_none_or(JoinHandle::is_finished) {
        *running = Some(tokio::spawn(round));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_engine_that_is_gone_is_forgotten() {
        let (metrics, health, mut known) = (Metrics::new(), Health::new(), BTreeSet::new());
        let broken = ("clamd:main".to_owned(), Err("no answer".to_owned()));
        let good = ("clamd:other".to_owned(), Ok(()));
        tell_engines([broken, good.clone()].into_iter(), &mut known, &metrics, &health);
        assert!(health.check().is_err() && metrics.encode().contains("clamd:main"));
        tell_engines([good].into_iter(), &mut known, &metrics, &health);
        assert!(health.check().is_ok() && !metrics.encode().contains("clamd:main"));
        assert!(metrics.encode().contains("clamd:other"));
    }

    #[tokio::test]
    async fn rounds_do_not_pile_up() {
        let rounds = Arc::new(Mutex::new(0));
        let (mut running, (release, wait)) = (None, tokio::sync::oneshot::channel::<()>());
        let round = |wait: Option<tokio::sync::oneshot::Receiver<()>>| {
            let rounds = rounds.clone();
            async move {
                *rounds.lock().unwrap() += 1;
                if let Some(wait) = wait {
                    let _ = wait.await;
                }
            }
        };
        unless_running(&mut running, round(Some(wait)));
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            unless_running(&mut running, round(None));
        }
        assert_eq!(*rounds.lock().unwrap(), 1);
        release.send(()).unwrap();
        running.take().unwrap().await.unwrap();
        unless_running(&mut running, round(None));
        running.unwrap().await.unwrap();
        assert_eq!(*rounds.lock().unwrap(), 2);
    }
}
