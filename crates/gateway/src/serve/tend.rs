//! What the daemon looks after while it runs: health, metrics, retention, reports, updates.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::build;
use crate::checks::Health as State;
use crate::config::typed::Config;
use crate::noticing::{self, Noticer};
use crate::pipeline::{Pipeline, Store};
use crate::records::{self, Health, Metrics};
use crate::reporting::{Round, last_midnight};
use crate::updating::channels::{self, Asked, Channels};
use crate::updating::{Manner, Outcome, Unable, Updater};

/// A round of looking that takes longer is told as ill health itself: what was known before it is too old.
const LONGEST_LOOK: Duration = Duration::from_secs(90);

/// Rounds of looking after things. A round that takes long makes the next ones fall out, so that they do not pile up
/// behind a disk or a scanner that hangs.
pub(super) struct Tending {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    engines: Arc<Mutex<BTreeSet<String>>>,
    looking: Option<JoinHandle<()>>,
    looking_since: Instant,
    expiring: Option<JoinHandle<()>>,
    reporting: Option<JoinHandle<()>>,
    noticing: Option<JoinHandle<()>>,
    /// No more notices are begun.
    no_more_notices: Arc<AtomicBool>,
    updating: Option<JoinHandle<()>>,
    /// When rules and lists are asked for next, and how often that was to be done when this was set.
    update_at: Option<(Instant, Duration)>,
    /// Sources whose state is told.
    sources: Arc<Mutex<BTreeSet<String>>>,
}

impl Tending {
    pub fn new(metrics: Arc<Metrics>, health: Arc<Health>) -> Tending {
        Tending {
            metrics,
            health,
            engines: Arc::default(),
            looking: None,
            looking_since: Instant::now(),
            expiring: None,
            reporting: None,
            noticing: None,
            no_more_notices: Arc::default(),
            updating: None,
            update_at: None,
            sources: Arc::default(),
        }
    }

    /// Asks engines, journal and vault how they are.
    pub fn look(&mut self, pipeline: &Arc<Pipeline>, store: &Store) {
        if is_running(&self.looking) {
            if self.looking_since.elapsed() > LONGEST_LOOK {
                let message =
                    format!("nothing is known for {} s: a disk hangs, or a scanner", LONGEST_LOOK.as_secs());
                self.health.set("health", Err(message));
            }
            return;
        }
        self.looking_since = Instant::now();
        self.health.remove("health");
        let (pipeline, store) = (pipeline.clone(), store.clone());
        let (metrics, health, engines) = (self.metrics.clone(), self.health.clone(), self.engines.clone());
        self.looking = Some(tokio::spawn(async move {
            let states = pipeline.checks.health().await;
            {
                let mut known = engines.lock().unwrap_or_else(PoisonError::into_inner);
                tell_engines(states.into_iter(), &mut known, &metrics, &health);
            }
            health.set("journal", store.journal.trouble().map_or(Ok(()), Err));
            let state = store.state.status().await;
            let trouble = state.map_or_else(|error| Some(error.to_string()), |status| status.trouble);
            health.set("state", trouble.map_or(Ok(()), Err));
            if let Some(workers) = pipeline.workers().cloned() {
                let looked = workers.clone();
                let _ = tokio::task::spawn_blocking(move || looked.tend()).await;
                health.set("worker", workers.trouble().map_or(Ok(()), Err));
            } else {
                health.remove("worker");
            }
            let vault = store.vault.clone();
            let looking = tokio::task::spawn_blocking(move || (vault.check_floor(0), vault.usage())).await;
            let Ok((room, usage)) = looking else { return };
            health.set("vault", room.map_err(|error| error.to_string()));
            if let Ok(usage) = usage {
                metrics.vault(usage);
            }
        }));
    }

    /// Lets go of what is too old.
    pub fn expire(&mut self, config: &Config, store: &Store) {
        if is_running(&self.expiring) {
            return;
        }
        let (store, quarantine, journal) = (store.clone(), config.quarantine.clone(), config.journal.clone());
        self.expiring = Some(tokio::spawn(async move {
            let now = jiff::Timestamp::now();
            match records::expire(&store.journal, &store.vault, &quarantine, &journal, now).await {
                Ok(report) => tracing::debug!(?report, "retention"),
                Err(error) => tracing::error!(%error, "what is too old stays for now"),
            }
        }));
    }

    /// Sends the DMARC reports of days that are over, where that is configured, and those that could not be sent before.
    /// One day is reported once, however often this is called.
    pub fn report(&mut self, config: &Config, store: &Store) {
        if !config.dmarc_reports.enabled || is_running(&self.reporting) {
            return;
        }
        let reporter = match build::reporter(config) {
            Ok(reporter) => reporter,
            Err(problems) => return tracing::error!(?problems, "DMARC reports cannot be sent"),
        };
        let journal = store.journal.clone();
        self.reporting = Some(tokio::spawn(async move {
            let (since, until) = (jiff::Timestamp::UNIX_EPOCH, last_midnight(jiff::Timestamp::now()));
            match reporter.round(&journal, since, until, None).await {
                Ok(round) if round == Round::default() => {}
                Ok(round) => tracing::info!("DMARC: {round}"),
                Err(error) => tracing::error!(%error, "DMARC reports wait"),
            }
        }));
    }

    /// Notes what somebody is to be told of, and tells it when it is due. A next hop that hangs holds up notices alone.
    pub fn notice(&mut self, noticer: &Option<Arc<Noticer>>, store: &Store) {
        let Some(noticer) = noticer.clone().filter(|_| !is_running(&self.noticing)) else { return };
        let (journal, stop) = (store.journal.clone(), self.no_more_notices.clone());
        self.noticing = Some(tokio::spawn(async move {
            match noticer.round_until(&journal, false, &stop).await {
                Ok(round) if round == noticing::Round::default() => {}
                Ok(round) => tracing::info!("{round}"),
                Err(error) => tracing::error!(%error, "notices wait"),
            }
        }));
    }

    /// Lets a notice that is being sent be the last one; whoever waits for its end knows what became of it.
    pub fn end_notices(&mut self) -> Option<JoinHandle<()>> {
        self.no_more_notices.store(true, Ordering::Relaxed);
        self.noticing.take()
    }

    /// Fetches rules and hash lists when it is time, for the first time soon after the start. What is installed is taken by
    /// whoever watches the files.
    pub fn update(&mut self, config: &Config) {
        let every = config.update.every.duration();
        if is_running(&self.updating) {
            return;
        }
        let (sources, rules) = (!config.update.source.is_empty(), !config.update.rules.channel.is_empty());
        if every.is_zero() || !(sources || rules) {
            return forget_sources(&self.health, &self.sources, BTreeSet::new());
        }
        match self.update_at.filter(|(_, before)| *before == every) {
            None => self.update_at = Some((Instant::now() + jitter(every), every)),
            Some((at, _)) if Instant::now() < at => {}
            Some(_) => {
                self.update_at = Some((Instant::now() + every + jitter(every), every));
                let updater = sources.then(|| Updater::build(config)).transpose();
                let channels = rules.then(|| Channels::build(config, &Asked::default())).transpose();
                match (updater, channels) {
                    (Ok(updater), Ok(channels)) => {
                        let (health, sources) = (self.health.clone(), self.sources.clone());
                        self.updating = Some(tokio::spawn(async move {
                            update(updater.as_ref(), channels.as_ref(), &health, &sources).await;
                        }));
                    }
                    (Err(why), _) | (_, Err(why)) => {
                        tracing::error!("rules and lists cannot be fetched: {why}");
                    }
                }
            }
        }
    }
}

/// One round. A source or channel that fails is told of beside the health, for mail is judged by what is there.
async fn update(
    updater: Option<&Updater>,
    channels: Option<&Channels>,
    health: &Health,
    sources: &Mutex<BTreeSet<String>>,
) {
    let mut names = BTreeSet::new();
    let tell = |name: &str, outcome: Result<Option<&str>, &String>| {
        match outcome {
            Ok(None) => {}
            Ok(Some(what)) => tracing::info!(source = name, "new: {what}"),
            Err(why) => tracing::warn!(source = name, "not updated, what is installed stays: {why}"),
        }
        health.set_aside(&source_key(name), outcome.map(drop).map_err(Clone::clone));
    };
    let unable = |why: Unable| match why {
        Unable::Busy => tracing::info!("an update is under way already"),
        Unable::Folder(why) => tracing::error!("rules and lists cannot be installed: {why}"),
    };
    if let Some(updater) = updater {
        let round = updater.round(&[], Manner::default(), |name, outcome| match outcome {
            Outcome::New(what) => tell(name, Ok(Some(what))),
            Outcome::Same => tell(name, Ok(None)),
            Outcome::Failed(why) => tell(name, Err(why)),
        });
        let _ = round.await.map_err(unable);
        names.extend(updater.names().map(str::to_owned));
    }
    if let Some(channels) = channels {
        let manner = channels::Manner::default();
        let round = channels.round(&manner, |name, outcome| match outcome {
            channels::Outcome::New { number, what, notes, .. } => {
                notes.iter().for_each(|note| tracing::warn!(source = name, "{note}"));
                tell(name, Ok(Some(&format!("version {number}, {what}"))));
            }
            channels::Outcome::Same => tell(name, Ok(None)),
            channels::Outcome::Failed(why) | channels::Outcome::Site(why) => tell(name, Err(why)),
        });
        let _ = round.await.map_err(unable);
        names.extend(channels.names().map(str::to_owned));
    }
    forget_sources(health, sources, names);
}

/// Forgets how sources are that are configured no longer.
fn forget_sources(health: &Health, sources: &Mutex<BTreeSet<String>>, now: BTreeSet<String>) {
    let mut known = sources.lock().unwrap_or_else(PoisonError::into_inner);
    known.difference(&now).for_each(|gone| health.remove(&source_key(gone)));
    *known = now;
}

fn source_key(name: &str) -> String {
    format!("update:{name}")
}

/// A random time, up to a tenth of another and ten minutes.
fn jitter(every: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness all ask at the same time, which harms nobody here.
    let _ = getrandom::fill(&mut random);
    (every / 10)
        .min(Duration::from_secs(600))
        .mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

/// Tells how the engines are, and forgets those that a reload has removed: a broken one must not be held against us for
/// ever. `known` are those that were told of the last time.
fn tell_engines(
    states: impl Iterator<Item = State>,
    known: &mut BTreeSet<String>,
    metrics: &Metrics,
    health: &Health,
) {
    let mut gone = std::mem::take(known);
    for State { name, vital, state } in states {
        metrics.engine_up(&name, state.is_ok());
        let state = state.map(drop);
        if vital {
            health.set(&name, state)
        } else {
            health.set_aside(&name, state)
        }
        gone.remove(&name);
        known.insert(name);
    }
    for name in gone {
        metrics.engine_gone(&name);
        health.remove(&name);
    }
}

fn is_running(round: &Option<JoinHandle<()>>) -> bool {
    round.as_ref().is_some_and(|round| !round.is_finished())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_gone_is_forgotten() {
        let (metrics, health, mut known) = (Metrics::new(), Health::new(), BTreeSet::new());
        let broken = State { name: "clamd:main".into(), vital: true, state: Err("no answer".into()) };
        let good = State { name: "clamd:other".into(), vital: true, state: Ok("1.4".into()) };
        let list = State { name: "dnsbl:zen".into(), vital: false, state: Err("no answer".into()) };
        tell_engines([broken, good.clone(), list].into_iter(), &mut known, &metrics, &health);
        assert!(
            health.check().unwrap_err() == ["clamd:main: no answer"]
                && metrics.encode().contains("clamd:main")
        );
        assert!(metrics.encode().contains("gatepost_engine_up{engine=\"dnsbl:zen\"} 0"));
        tell_engines([good].into_iter(), &mut known, &metrics, &health);
        assert!(health.check().is_ok() && !metrics.encode().contains("clamd:main"));
        assert!(metrics.encode().contains("clamd:other"));
    }

    #[tokio::test]
    async fn rounds_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let vault = records::Vault::open(&folder.path().join("vault"), 0).unwrap();
        let journal = records::Journal::open(&folder.path().join("journal.db")).await.unwrap();
        let state = crate::resources::state::Memory::small();
        let store = Store { journal: Arc::new(journal), vault: Arc::new(vault), state };
        let pipeline =
            crate::build::pipeline(&Config::default(), None, metrics.clone()).unwrap_or_else(|_| panic!());
        let pipeline = Arc::new(pipeline);
        let mut tending = Tending::new(metrics, Arc::default());
        tending.looking = Some(tokio::spawn(std::future::pending()));
        tending.look(&pipeline, &store);
        assert!(is_running(&tending.looking) && tending.health.check().is_ok());
        tending.looking_since = Instant::now().checked_sub(LONGEST_LOOK * 2).unwrap();
        tending.look(&pipeline, &store);
        assert!(tending.health.check().unwrap_err()[0].contains("hangs"));
        tending.looking.take().unwrap().abort();
        tending.look(&pipeline, &store);
        tending.looking.take().unwrap().await.unwrap();
        assert!(tending.health.check().is_ok());
    }
}
