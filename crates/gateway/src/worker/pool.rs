//! The workers of a daemon: started before they are needed, each asked for one message at a time, replaced when they are
//! used up, fat or dead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use gatepost_mail::{Cause, Fault, Message, OnFault};
use gatepost_unpack::Reading;
use tokio::sync::{Semaphore, oneshot};

use super::note::Tag;
use super::process::{Death, Process};
use super::sandbox::Args;
use crate::config::Config;
use crate::records::WorkerCounts;

/// What a worker may take longer than `reading.time`: it stops by itself then, and has to tell what it found.
const GRACE: Duration = Duration::from_secs(5);

/// This program can be started as a worker. A test's program cannot, nor can another that uses this library.
static CAN_START: AtomicBool = AtomicBool::new(false);

/// To be called by a program that answers to the argument `worker` with [`super::run`]; without it everything is unpacked in the
/// process itself.
pub fn can_start() {
    CAN_START.store(true, Ordering::Relaxed);
}

/// A number of worker processes.
pub struct Workers {
    args: Args,
    count: usize,
    recycle: u32,
    on_fault: OnFault,
    /// One for each message that is with a worker.
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Alive>>,
    counts: WorkerCounts,
    /// Why the last one could not be started, if so.
    trouble: Mutex<Option<String>>,
}

/// A worker that counts.
struct Alive {
    process: Process,
    counts: WorkerCounts,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.counts.alive.dec();
    }
}

impl Workers {
    /// The workers that a configuration asks for; none is started yet. None where everything is to be unpacked in this process.
    pub fn build(config: &Config, counts: WorkerCounts) -> Option<Arc<Workers>> {
        if !config.worker.enabled || !CAN_START.load(Ordering::Relaxed) {
            return None;
        }
        let count = config.worker.processes();
        Some(Arc::new(Workers {
            args: arguments(config),
            count,
            recycle: config.worker.recycle,
            on_fault: config.reading.on_fault,
            turns: Arc::new(Semaphore::new(count)),
            idle: Mutex::default(),
            counts,
            trouble: Mutex::default(),
        }))
    }

    /// Starts those that are not there yet, in the background.
    pub fn warm(self: &Arc<Self>) {
        let workers = self.clone();
        tokio::task::spawn_blocking(move || workers.refill(0));
    }

    /// Looks after those that wait for work: one that died meanwhile is replaced. Blocks.
    pub fn tend(&self) {
        let dead: Vec<Alive> = self.idle().extract_if(.., |worker| !worker.process.runs()).collect();
        for worker in dead {
            tracing::warn!("worker {} died while it had nothing to do", worker.process.id());
            self.counts.died(Cause::Bug);
        }
        self.refill(0);
    }

    /// Why no worker can be started, if so.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a worker unpack what is left of a message, and waits no longer than `patience` for one that is free. With a fault the
    /// message is as it was read before. None: this process itself failed at it.
    pub async fn unpack(
        self: &Arc<Self>,
        mut reading: Reading,
        patience: Duration,
    ) -> Option<(Message, Option<Fault>)> {
        let turn = tokio::time::timeout(patience, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let detail = format!("no worker was free within {} s", patience.as_secs());
            return Some((reading.into_message(), Some(self.fault(Cause::Timeout, detail))));
        };
        let (tell, told) = oneshot::channel();
        let workers = self.clone();
        tokio::task::spawn_blocking(move || {
            let fault = workers.work(&mut reading).err();
            // Whoever asked may have gone.
            let _ = tell.send((reading.into_message(), fault));
            // The next message shall not wait for what this one has broken.
            workers.refill(1);
            drop(turn);
        });
        told.await.ok()
    }

    fn work(&self, reading: &mut Reading) -> Result<(), Fault> {
        let time = reading.left().time + GRACE;
        let parcel = reading.parcel();
        loop {
            let waiting = self.idle().pop();
            let waited = waiting.is_some();
            let mut worker = match waiting {
                Some(worker) => worker,
                None => self.start().map_err(|error| self.fault(Cause::Unavailable, error))?,
            };
            match worker.process.unpack(&parcel, time) {
                Ok(answer) => {
                    if let Err(garbled) = reading.take(&parcel, answer.area, &answer.table) {
                        let detail = format!("the worker's answer makes no sense: {}", garbled.0);
                        return Err(self.died(worker, Cause::Bug, detail));
                    }
                    self.counts.messages.inc();
                    if worker.process.used < self.recycle && !answer.fat {
                        self.put_back(worker);
                    }
                    return Ok(());
                }
                // It was dead before it could have had the message; that is no reason to put the message off.
                Err(Death { cause, detail, had_it: false }) if waited => {
                    drop(self.died(worker, cause, detail));
                }
                Err(Death { cause, detail, .. }) => return Err(self.died(worker, cause, detail)),
            }
        }
    }

    /// A worker is of no more use: it is ended and counted.
    fn died(&self, worker: Alive, cause: Cause, detail: String) -> Fault {
        tracing::debug!("worker {} is replaced: {detail}", worker.process.id());
        self.counts.died(cause);
        self.fault(cause, detail)
    }

    fn fault(&self, cause: Cause, detail: String) -> Fault {
        Fault { check: "unpacking".to_owned(), cause, detail, answer: self.on_fault }
    }

    /// As many as there shall be, but for those that have work. `mine`: turns that the caller holds and has done with.
    fn refill(&self, mine: usize) {
        while self.idle().len() < (self.turns.available_permits() + mine).min(self.count) {
            match self.start() {
                Ok(worker) => self.put_back(worker),
                // That is told of, and the next message tries again.
                Err(_) => return,
            }
        }
    }

    fn put_back(&self, worker: Alive) {
        let mut idle = self.idle();
        if idle.len() < self.count {
            idle.push(worker);
        }
    }

    fn start(&self) -> Result<Alive, String> {
        let started = Process::start(&self.args);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match started {
            Ok(process) => {
                tell_missing(&process);
                *trouble = None;
                self.counts.alive.inc();
                Ok(Alive { process, counts: self.counts.clone() })
            }
            Err(error) => {
                let error = format!("a worker {error}");
                if trouble.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                }
                *trouble = Some(error.clone());
                Err(error)
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Alive>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says once what this kernel does not have.
fn tell_missing(process: &Process) {
    static ONCE: Once = Once::new();
    let missing = process.confined.missing();
    if !missing.is_empty() {
        ONCE.call_once(|| tracing::warn!("workers run without {}: not to be had here", missing.join(", ")));
    }
}

fn arguments(config: &Config) -> Args {
    const MIB: u64 = 1 << 20;
    let reading = &config.reading;
    let (made, step) = (reading.bytes.bytes(), reading.memory.bytes());
    Args {
        // What is made grows in steps, so for a moment it may be there twice; beside it the one step, the message's
        // own tables, and the program.
        memory: made.saturating_mul(2).saturating_add(step).saturating_add(128 * MIB),
        // What is made, and what is told of it.
        file: made.saturating_add(256 * MIB),
        time: (reading.time.duration() + GRACE)
            .as_secs()
            .saturating_mul(u64::from(config.worker.recycle.max(1))),
    }
}

/// What `gatepost check` tells about workers: good news, or what is missing, or what is wrong. None where there are none.
pub fn self_test(config: &Config) -> Option<Result<(String, Vec<&'static str>), String>> {
    if !config.worker.enabled || !CAN_START.load(Ordering::Relaxed) {
        return None;
    }
    Some(try_all(&arguments(config)))
}

fn try_all(args: &Args) -> Result<(String, Vec<&'static str>), String> {
    let mut missing = Vec::new();
    for (probe, what) in [
        (Tag::TryFile, "open a file"),
        (Tag::TryNetwork, "use the network"),
        (Tag::TryProgram, "start a program"),
    ] {
        let mut process = Process::start(args)?;
        missing = process.confined.missing();
        if process.can(probe) {
            return Err(format!("can {what}"));
        }
    }
    Ok(("cannot open files, use the network or start programs".to_owned(), missing))
}
