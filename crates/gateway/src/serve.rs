//! The daemon: starts, reloads, drains.

mod tend;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::build::{self, by_address};
use crate::cli;
use crate::config::listen::ListenAddress;
use crate::config::load::{self, Loaded};
use crate::config::typed::Config;
use crate::front::Front;
use crate::front::listen::{Handed, Listening, Sessions, Socket, accept, bind};
use crate::front::queue::{self, Between};
use crate::logging::{self, Logging};
use crate::noticing::Noticer;
use crate::pipeline::{Pipeline, Store};
use crate::privileges;
use crate::records::{self, Health, Journal, Metrics, Vault};
use crate::resources::state::{self, Clock, Embedded, Served, Settings};
use crate::resources::watch::{EVERY, Watch, Watching};
use tend::Tending;

/// Run the daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one gatepost runs on embedded defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How long sessions in the middle of a message may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(60);

/// How long the notice that is being sent may take then.
const NOTICE: Duration = Duration::from_secs(10);

/// Runs until it is told to stop. Privileges belong to threads, so they are given up before the runtime has any.
pub fn run(args: Args) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return cli::configuration_error(&problems),
    };
    let logging = match logging::start(&loaded.config.log) {
        Ok(logging) => logging,
        Err(error) => return cli::usage_error(&error),
    };
    let ready = prepare(&loaded.config).and_then(|sockets| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        Ok((sockets, runtime.map_err(|error| format!("cannot start threads: {error}"))?))
    });
    let (sockets, runtime) = match ready {
        Ok(ready) => ready,
        Err(error) => return not_started(&loaded, &error),
    };
    runtime.block_on(async {
        let Ok(mut signals) = Signals::new() else { return cli::usage_error("cannot wait for signals") };
        let started = tokio::select! {
            started = Daemon::start(args.config, loaded, logging, sockets) => started,
            () = signals.stop() => return ExitCode::SUCCESS,
        };
        match started {
            Ok(daemon) => daemon.run(signals).await,
            Err(error) => cli::usage_error(&error),
        }
    })
}

/// Says why nothing was started: what is wrong with the configuration, if anything is, explains more than an address
/// that is in use.
fn not_started(loaded: &Loaded, error: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let problems = runtime.map(|runtime| runtime.block_on(async { build::problems(&loaded.config) }));
    match problems {
        Ok(problems) if !problems.is_empty() => cli::configuration_error(&loaded.locate(problems)),
        _ => cli::usage_error(error),
    }
}

/// The signals that we mind, from before anything is started: one that came earlier would end the process.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until we are told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Sockets of the addresses as they are written, and what systemd handed over besides.
struct Sockets {
    bound: BTreeMap<String, Vec<Socket>>,
    handed: Handed,
}

/// What only root may do, and then no more root.
fn prepare(config: &Config) -> Result<Sockets, String> {
    privileges::prepare();
    for folder in [config.data.clone(), build::spool(config)] {
        make_folder(&folder, &config.user)?;
    }
    let mut handed = Handed::from_environment();
    let mut bound = BTreeMap::new();
    for listener in config.listeners() {
        for text in &listener.listen {
            let address: ListenAddress = text.parse()?;
            let sockets = bind(&address, &mut handed);
            let sockets = sockets.map_err(|error| format!("cannot listen on {address}: {error}"))?;
            bound.insert(address.to_string(), sockets);
        }
    }
    privileges::give_up(&config.user)?;
    Ok(Sockets { bound, handed })
}

struct Daemon {
    file: Option<PathBuf>,
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    tending: Tending,
    /// Who tells people by mail what became of messages; None where nobody is told.
    noticer: Option<Arc<Noticer>>,
    sessions: Arc<Sessions>,
    pipeline: Arc<Pipeline>,
    handed: Handed,
    listeners: BTreeMap<String, Running>,
    /// By name and folders.
    queues: BTreeMap<String, Moving>,
    /// Sessions of listeners that a reload has removed.
    leaving: Vec<JoinHandle<()>>,
    watching: Watching,
    logging: Logging,
    /// Answers commands that want to know what is remembered.
    _answering: Option<Served>,
    /// Holds the lock on the data folder as long as we live.
    _lock: File,
}

/// One address that is served: by one socket, or by all that systemd gave the name.
struct Running {
    front: Arc<ArcSwap<Front>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A pair of queues that mail is moved between.
struct Moving {
    between: Arc<ArcSwap<Between>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Daemon {
    async fn start(
        file: Option<PathBuf>,
        loaded: Loaded,
        logging: Logging,
        sockets: Sockets,
    ) -> Result<Daemon, String> {
        let config = loaded.config.clone();
        let lock = lock(&config.data)?;
        let metrics = Arc::new(Metrics::new());
        let health = Arc::new(Health::new());
        let store = open_store(&config, &metrics).await?;
        let pipeline = build::pipeline(&config, Some(store.clone()), metrics.clone())
            .map_err(|problems| cli::problem_list(&loaded.locate(problems)))?;
        let noticer = noticer(&loaded, &store).await?;
        let socket = config.state_socket();
        let answering = state::serve(&socket, store.state.clone());
        let answering = answering.inspect_err(|error| {
            tracing::warn!("{}: {error}; commands cannot ask what is remembered", socket.display());
        });
        let answering = answering.ok();
        let mut daemon = Daemon {
            file,
            sessions: Sessions::new(metrics.clone()),
            tending: Tending::new(metrics.clone(), health.clone()),
            noticer,
            pipeline: Arc::new(pipeline),
            handed: sockets.handed,
            listeners: BTreeMap::new(),
            queues: BTreeMap::new(),
            leaving: Vec::new(),
            watching: Watch::new(EVERY).start(),
            logging,
            config,
            store,
            metrics,
            health,
            _answering: answering,
            _lock: lock,
        };
        daemon.warm();
        // Bound first, so that whoever reaches a listener reaches these too; answered once the listeners are there.
        let metrics_socket = daemon.bind_metrics().await?;
        daemon.listen(&loaded, sockets.bound).await?;
        daemon.serve_metrics(metrics_socket);
        Ok(daemon)
    }

    /// Workers are there before the first message needs one.
    fn warm(&self) {
        if let Some(workers) = self.pipeline.workers() {
            workers.warm();
        }
    }

    /// Puts fronts on sockets. Those that are there already get the new front, those no longer named are closed.
    async fn listen(
        &mut self,
        loaded: &Loaded,
        sockets: BTreeMap<String, Vec<Socket>>,
    ) -> Result<(), String> {
        let (_, never) = watch::channel(false);
        let planned = build::fronts(&loaded.config, &self.pipeline, &self.metrics, &never)
            .and_then(by_address)
            .map_err(|problems| cli::problem_list(&loaded.locate(problems)))?;
        if let Some((_, front)) = planned.values().next() {
            front.guard.tend();
        }
        // All that can fail comes before anything changes, so that a failure leaves all as it is.
        let addresses = planned.iter().map(|(text, (address, _))| (text, address));
        let mut started = self.start_sockets(addresses, sockets)?;
        let mut watch_files = Watch::new(EVERY);
        let pipeline = self.pipeline.clone();
        watch_files.add("checks", move || pipeline.reload());
        let mut before = std::mem::take(&mut self.listeners);
        for (text, (_, mut front)) in planned {
            if let Some(tls) = front.tls.clone() {
                watch_files.add(format!("certificate of {}", front.listener.name), move || {
                    match tls.reload_if_changed() {
                        Some(Ok(())) => tracing::info!("certificate read again"),
                        Some(Err(error)) => {
                            tracing::error!(error, "certificate not taken, the old one stays")
                        }
                        None => {}
                    }
                });
            }
            let hops = front.hops.clone();
            let brings_mail = front.listener.protocol.brings_mail();
            tokio::spawn(async move {
                if !brings_mail {
                    return;
                }
                if let Err(error) = hops.probe().await {
                    tracing::warn!(%error, "next hop does not answer");
                }
            });
            let running = match (before.remove(&text), started.remove(&text)) {
                (Some(running), _) => {
                    front.draining = running.stop.subscribe();
                    running.front.store(Arc::new(front));
                    running
                }
                (None, Some(sockets)) => {
                    let (stop, draining) = watch::channel(false);
                    front.draining = draining;
                    tracing::info!("listening on {text} ({})", front.listener.name);
                    let front = Arc::new(ArcSwap::from_pointee(front));
                    let serve = |socket| tokio::spawn(accept(socket, front.clone(), self.sessions.clone()));
                    let tasks = sockets.into_iter().map(serve).collect();
                    Running { front, stop, tasks }
                }
                (None, None) => continue,
            };
            self.listeners.insert(text, running);
        }
        self.leaving.retain(|task| !task.is_finished());
        for (text, gone) in before {
            tracing::info!("no longer listening on {text}");
            let _ = gone.stop.send(true);
            self.leaving.extend(gone.tasks);
        }
        self.watching = watch_files.start();
        self.move_queues(&loaded.config);
        Ok(())
    }

    /// Begins with queues that are new, ends with those no longer named; the others go on with what is configured now.
    fn move_queues(&mut self, config: &Config) {
        let (_, never) = watch::channel(false);
        let mut before = std::mem::take(&mut self.queues);
        for mut between in build::queues(config, &self.pipeline, &self.metrics, &never) {
            let (name, queue) = (between.queue.name.clone(), &between.queue);
            let key = format!("{name}: {} to {}", queue.incoming.display(), queue.outgoing.display());
            let moving = match before.remove(&key) {
                Some(moving) => {
                    between.front.draining = moving.stop.subscribe();
                    moving.between.store(Arc::new(between));
                    moving
                }
                None => {
                    let (stop, draining) = watch::channel(false);
                    between.front.draining = draining;
                    tracing::info!("judging mail on its way in the queue {key}");
                    let between = Arc::new(ArcSwap::from_pointee(between));
                    let task = tokio::spawn(queue::run(between.clone()));
                    Moving { between, stop, task }
                }
            };
            self.queues.insert(key, moving);
        }
        for (key, gone) in before {
            tracing::info!("no longer judging mail in the queue {key}");
            let _ = gone.stop.send(true);
            self.leaving.push(gone.task);
        }
    }

    /// Binds the addresses that are new, unless that was done, and hands their sockets to the runtime.
    fn start_sockets<'a>(
        &mut self,
        addresses: impl Iterator<Item = (&'a String, &'a ListenAddress)>,
        mut bound: BTreeMap<String, Vec<Socket>>,
    ) -> Result<BTreeMap<String, Vec<Listening>>, String> {
        let mut started = BTreeMap::new();
        for (text, address) in addresses.filter(|(text, _)| !self.listeners.contains_key(*text)) {
            let sockets = bound.remove(text).map_or_else(|| bind(address, &mut self.handed), Ok);
            let sockets = sockets.and_then(|sockets| sockets.into_iter().map(Socket::start).collect());
            let sockets = sockets.map_err(|error| format!("cannot listen on {text}: {error}"))?;
            started.insert(text.clone(), sockets);
        }
        Ok(started)
    }

    async fn bind_metrics(&self) -> Result<Option<TcpListener>, String> {
        let address = &self.config.metrics.listen;
        if address.is_empty() {
            return Ok(None);
        }
        let listener = TcpListener::bind(address).await;
        listener.map(Some).map_err(|error| format!("metrics.listen: cannot listen on {address}: {error}"))
    }

    fn serve_metrics(&self, listener: Option<TcpListener>) {
        let Some(listener) = listener else { return };
        let router = records::router(self.metrics.clone(), self.health.clone());
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics are no longer served");
            }
        });
    }

    async fn run(mut self, mut signals: Signals) -> ExitCode {
        let mut tending = tokio::time::interval(Duration::from_secs(10));
        let mut expiring = tokio::time::interval(Duration::from_secs(3600));
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        tracing::info!("ready");
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => self.reload().await,
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = tending.tick() => {
                    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                    self.tending.look(&self.pipeline, &self.store);
                    self.tending.notice(&self.noticer, &self.store);
                    self.tending.update(&self.config);
                }
                _ = expiring.tick() => {
                    self.tending.expire(&self.config, &self.store);
                    self.tending.report(&self.config, &self.store);
                }
            }
        }
        self.drain().await;
        ExitCode::SUCCESS
    }

    /// A new configuration, all of it or nothing. Sessions under way end with the one they began with.
    async fn reload(&mut self) {
        let _ = sd_notify::notify(&[NotifyState::Reloading]);
        match self.try_reload().await {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!("configuration not taken, the old one stays: {error}"),
        }
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    async fn try_reload(&mut self) -> Result<(), String> {
        let mut loaded = load::load(self.file.as_deref()).map_err(|problems| cli::problem_list(&problems))?;
        for (key, old, new) in keep_until_restart(&self.config, &mut loaded.config) {
            tracing::warn!("{key} changed from {old} to {new}: that takes a restart");
        }
        let pipeline = build::pipeline(&loaded.config, Some(self.store.clone()), self.metrics.clone())
            .map_err(|problems| cli::problem_list(&loaded.locate(problems)))?;
        let noticer = noticer(&loaded, &self.store).await?;
        let before = std::mem::replace(&mut self.pipeline, Arc::new(pipeline));
        if let Err(error) = self.listen(&loaded, BTreeMap::new()).await {
            self.pipeline = before;
            return Err(error);
        }
        self.warm();
        self.noticer = noticer;
        self.logging.set_level(&loaded.config.log);
        self.config = loaded.config;
        Ok(())
    }

    async fn drain(mut self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::info!(sessions = self.sessions.count(), "stopping");
        for running in self.listeners.values() {
            let _ = running.stop.send(true);
        }
        for moving in self.queues.values() {
            let _ = moving.stop.send(true);
        }
        let noticing = self.tending.end_notices();
        let told = async {
            if let Some(noticing) = noticing
                && tokio::time::timeout(NOTICE, noticing).await.is_err()
            {
                tracing::warn!("a notice is cut off; it goes out once more in half an hour");
            }
        };
        let ended = async {
            let tasks = self.listeners.into_values().flat_map(|running| running.tasks);
            let moving = self.queues.into_values().map(|moving| moving.task);
            for task in tasks.chain(moving).chain(self.leaving) {
                let _ = task.await;
            }
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(DRAIN, ended), told);
        if ended.is_err() {
            tracing::warn!(
                sessions = self.sessions.count(),
                "sessions are cut off; their senders will come again"
            );
        }
        if let Err(error) = self.store.journal.flush().await {
            tracing::error!(%error, "the last records are not in the journal");
        }
        if let Err(error) = self.store.state.flush().await {
            tracing::error!(%error, "what was remembered last is forgotten");
        }
    }
}

/// Who tells people by mail what became of messages, from before the first message on.
async fn noticer(loaded: &Loaded, store: &Store) -> Result<Option<Arc<Noticer>>, String> {
    let noticer = build::noticer(&loaded.config);
    let noticer = noticer.map_err(|problems| cli::problem_list(&loaded.locate(problems)))?.map(Arc::new);
    if let Some(noticer) = &noticer {
        noticer.begin(&store.journal).await.map_err(|error| error.to_string())?;
    }
    Ok(noticer)
}

async fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Store, String> {
    let vault = Vault::open(&config.vault_folder(), config.quarantine.disk_floor.bytes())
        .map_err(|error| format!("vault {}: {error}", config.vault_folder().display()))?;
    let journal = Journal::open_counting(&config.journal_path(), metrics.journal_dropped())
        .await
        .map_err(|error| format!("journal {}: {error}", config.journal_path().display()))?;
    if let Err(error) = vault.sweep_temp() {
        tracing::warn!(%error, "leftovers of a killed process stay in the vault");
    }
    match records::reconcile(&vault, &journal).await {
        Ok(report) => tracing::debug!(?report, "vault and journal compared"),
        Err(error) => tracing::error!(%error, "vault and journal cannot be compared"),
    }
    let settings = Settings::from_config(config, Clock::system());
    let state = tokio::task::spawn_blocking(move || Embedded::open(&settings)).await;
    let state = state.map_err(|error| error.to_string()).flatten();
    let state = Arc::new(state.map_err(|error| format!("state store: {error}"))?);
    Ok(Store { journal: Arc::new(journal), vault: Arc::new(vault), state })
}

/// Makes a folder, and gives it to the user that we become when root starts us.
fn make_folder(folder: &Path, user: &str) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    if user.is_empty() || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let user = privileges::find_user(user)?;
    let given = std::os::unix::fs::chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    given.map_err(|error| format!("cannot give {} to {}: {error}", folder.display(), user.name))
}

/// One daemon per data folder. The lock goes with the process, however it ends; the pid in it is for `reload`.
fn lock(data: &Path) -> Result<File, String> {
    let path = data.join("gatepost.pid");
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(describe)?;
    if file.try_lock().is_err() {
        return Err(format!("{} is in use by another gatepost", data.display()));
    }
    file.set_len(0).map_err(describe)?;
    writeln!(file, "{}", std::process::id()).map_err(describe)?;
    Ok(file)
}

/// Puts back what only a restart can change, so that none of it is changed by half; tells which keys, their old and new
/// values.
fn keep_until_restart(old: &Config, new: &mut Config) -> Vec<(&'static str, String, String)> {
    let keys = |config: &Config| {
        [
            ("data", config.data.display().to_string()),
            ("user", config.user.clone()),
            ("journal.path", config.journal_path().display().to_string()),
            ("quarantine.vault", config.vault_folder().display().to_string()),
            ("quarantine.disk_floor", config.quarantine.disk_floor.to_string()),
            ("state.path", config.state_path().display().to_string()),
            ("state.cache", config.state.cache.to_string()),
            ("state.entries", config.state.entries.to_string()),
            ("metrics.listen", config.metrics.listen.clone()),
            ("log.format", format!("{:?}", config.log.format).to_lowercase()),
        ]
    };
    let changed = keys(old).into_iter().zip(keys(new)).filter(|(old, new)| old != new);
    let changed = changed.map(|((key, old), (_, new))| (key, old, new)).collect();
    new.data.clone_from(&old.data);
    new.user.clone_from(&old.user);
    new.journal.path = Some(old.journal_path());
    new.quarantine.vault = Some(old.vault_folder());
    new.quarantine.disk_floor = old.quarantine.disk_floor;
    new.state = old.state.clone();
    new.metrics.listen.clone_from(&old.metrics.listen);
    new.log.format = old.log.format;
    changed
}

#[cfg(test)]
mod tests;
