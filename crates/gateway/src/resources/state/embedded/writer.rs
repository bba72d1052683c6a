//! The thread that writes: batches, and out with what has expired.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{Shared, Waiting, Wanted, cost_of, lock};

/// How long the writer waits for more before it writes: as much is lost when the process is killed.
const BATCH: Duration = Duration::from_millis(200);

/// How often it looks for what has expired when there is nothing else to do.
const SWEEP: Duration = Duration::from_secs(1);

/// Entries that are looked at in one sweep. Ten million take an hour and a half.
const SLICE: usize = 2_000;

/// Most entries that are looked at in one sweep when there are too many.
const LARGEST_SLICE: usize = 100_000;

/// How long it waits before it opens a file again that could not be used.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes until it is told to stop.
pub(super) fn run(shared: &Shared) {
    let mut sweep = Sweep { place: Vec::new(), last: Instant::now() };
    let mut mended = Instant::now();
    loop {
        let wanted = wait(shared);
        let outcome = match shared.file.trouble() {
            None => round(shared, &mut sweep),
            Some(why) if !wanted.stop && mended.elapsed() < PAUSE => Err(why),
            Some(why) => {
                mended = Instant::now();
                if shared.file.mend() { round(shared, &mut sweep) } else { Err(why) }
            }
        };
        shared.kept.send_modify(|kept| {
            kept.ticket = wanted.ticket;
            kept.outcome = outcome;
        });
        if wanted.stop {
            return;
        }
        // Whoever asks to hurry is not let into a busy loop.
        if shared.file.trouble().is_some() {
            std::thread::sleep(BATCH);
        }
    }
}

/// Waits until there is something to do and, unless it is urgent, a little longer for more of it.
fn wait(shared: &Shared) -> Wanted {
    let answered = shared.kept.borrow().ticket;
    let mut wanted = lock(&shared.wanted);
    let at_once = |wanted: &Wanted| wanted.stop || wanted.urgent || wanted.ticket > answered;
    for (time, idle) in [(SWEEP, true), (BATCH, false)] {
        let waiting = |wanted: &mut Wanted| !(at_once(wanted) || idle && wanted.dirty);
        let waited = shared.bell.wait_timeout_while(wanted, time, waiting);
        let (guard, timeout) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        wanted = guard;
        if timeout.timed_out() {
            break;
        }
    }
    let now = Wanted { ..*wanted };
    (wanted.dirty, wanted.urgent) = (false, false);
    now
}

/// Writes one batch.
fn round(shared: &Shared, sweep: &mut Sweep) -> Result<(), String> {
    let mut batch = 0;
    for shard in &shared.shards {
        let mut shard = lock(shard);
        shard.writing = std::mem::take(&mut shard.pending);
        batch += shard.writing.len();
    }
    let outcome = write(shared, sweep, batch);
    let mut freed = 0;
    for shard in &shared.shards {
        let mut shard = lock(shard);
        let written = std::mem::take(&mut shard.writing);
        shard.rounds += 1;
        for (key, entry) in written {
            // What could not be written waits on, unless there is something newer.
            if outcome.is_ok() || shard.pending.contains_key(&key) {
                freed += cost_of(&key, entry.as_ref());
            } else {
                shard.pending.insert(key, entry);
            }
        }
    }
    shared.room.add_permits(freed);
    outcome
}

fn write(shared: &Shared, sweep: &mut Sweep, batch: usize) -> Result<(), String> {
    // Nobody but this thread changes what is being written, so it is copied without holding anybody up.
    let mut waiting = Waiting::with_capacity(batch);
    for shard in &shared.shards {
        waiting.extend(lock(shard).writing.iter().map(|(key, entry)| (key.clone(), entry.clone())));
    }
    let doomed = sweep.look(shared, &waiting)?;
    if waiting.is_empty() && doomed.is_empty() {
        return Ok(());
    }
    // In their order in the file, so that each of its pages is changed once.
    let mut ordered: Vec<_> = waiting.iter().map(|(key, entry)| (key.as_slice(), entry.as_ref())).collect();
    ordered.extend(doomed.iter().map(|key| (key.as_slice(), None)));
    ordered.sort_unstable_by_key(|(key, _)| *key);
    shared.file.write(ordered.into_iter()).map_err(|error| error.to_string())
}

/// Goes through the file again and again, a slice at a time.
struct Sweep {
    /// The key at which the next slice begins.
    place: Vec<u8>,
    last: Instant,
}

impl Sweep {
    /// Keys that are to go: expired, or too many. None that is being written anyway.
    fn look(&mut self, shared: &Shared, waiting: &Waiting) -> Result<HashSet<Vec<u8>>, String> {
        let entries = shared.file.len().map_err(|error| error.to_string())?;
        // What is being written counts from the next batch on: it may be what would expire soonest.
        let excess = entries.saturating_sub(shared.most);
        if excess == 0 && self.last.elapsed() < SWEEP {
            return Ok(HashSet::new());
        }
        self.last = Instant::now();
        let excess = usize::try_from(excess).unwrap_or(usize::MAX).min(LARGEST_SLICE / 4);
        let slice = SLICE.max(excess * 4);
        let (mut times, next) = shared.file.times(&self.place, slice).map_err(|error| error.to_string())?;
        self.place = next;
        let now = shared.clock.millis();
        times.sort_unstable();
        let expired = times.partition_point(|(expires, _)| *expires <= now);
        times.truncate(expired.max(excess));
        Ok(times.into_iter().map(|(_, key)| key).filter(|key| !waiting.contains_key(key)).collect())
    }
}
