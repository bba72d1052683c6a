//! Evaluating rules over many files, several at a time.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use gatepost_rules::engine::{Hit, Limits, Outcome};
use gatepost_rules::evals::{Known, Native};
use gatepost_rules::texts::{Given, Texts};

use super::Failure;
use super::network::Asker;
use crate::checks::rules::left_out;
use crate::resources::rules::Rules;

/// What evaluating one file came to.
pub(super) type Evaluated = Result<Outcome, String>;

/// How many mails may be ahead of the one whose turn it is to be told.
const AHEAD: usize = 256;

/// Does `work` with each file, on all processors, and hands the results over in the order of the files.
pub(super) fn in_parallel<T: Send>(
    files: &[PathBuf],
    work: impl Fn(&Path) -> T + Sync,
    mut each: impl FnMut(&Path, T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, |many| many.get()).min(files.len().max(1));
    let next = AtomicUsize::new(0);
    let told = Told::default();
    let (sender, results) = mpsc::channel::<(usize, T)>();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, told, work) = (sender.clone(), &next, &told, &work);
            scope.spawn(move || {
                while let place = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(file) = files.get(place)
                    && told.wait_for((place + 1).saturating_sub(AHEAD))
                    && sender.send((place, work(file))).is_ok()
                {}
            });
        }
        drop(sender);
        // Whatever ends this, nobody may wait any longer.
        let told = StopAtEnd(&told);
        let mut waiting = BTreeMap::new();
        for (place, result) in results {
            waiting.insert(place, result);
            let mut due = told.0.count();
            while let Some(result) = waiting.remove(&due) {
                each(&files[due], result)?;
                due = told.0.one_more();
            }
        }
        Ok(())
    })
}

/// How many results were handed over.
#[derive(Default)]
struct Told {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        *self.lock()
    }

    fn one_more(&self) -> usize {
        let mut count = self.lock();
        *count += 1;
        self.changed.notify_all();
        *count
    }

    /// Waits until so many were; always true.
    fn wait_for(&self, wanted: usize) -> bool {
        let waited = self.changed.wait_while(self.lock(), |count| *count < wanted);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }
}

struct StopAtEnd<'a>(&'a Told);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        *self.0.lock() = usize::MAX;
        self.0.changed.notify_all();
    }
}

/// Evaluates rules over one file.
pub(super) fn evaluate(rules: &Rules, file: &Path, limits: Limits, asker: Option<&Asker>) -> Evaluated {
    let raw = std::fs::read(file).map_err(|error| format!("{UNREADABLE}: {error}"))?;
    evaluate_mail(rules, raw, limits, asker).map(|(outcome, _)| outcome)
}

/// Evaluates rules over a mail, after the DNS was asked if somebody is to, and tells how long it took to read it. A panic is a mistake of ours, and costs one mail.
pub(super) fn evaluate_mail(
    rules: &Rules,
    raw: Vec<u8>,
    limits: Limits,
    asker: Option<&Asker>,
) -> Result<(Outcome, Duration), String> {
    let evaluated = catch_unwind(AssertUnwindSafe(|| {
        let begun = Instant::now();
        let message = rules.read(raw.into());
        let read = begun.elapsed();
        let mut given = Given { now: jiff::Timestamp::now().as_second(), ..Given::default() };
        rules.look_into(&message, &mut given);
        let texts = Texts::new(&message, given, &rules.texts);
        let mut known = Known::default();
        let told = asker.map(|asker| asker.enter(rules, &texts, &mut known));
        let evals = Native::new(&texts, rules.engine.settings(), &known, &rules.patterns);
        let evals = evals.until(Instant::now() + limits.time);
        let mut outcome = rules.engine.evaluate(&texts, &evals, limits);
        outcome.faults.extend(told.into_iter().flatten().chain(left_out(&texts)));
        (outcome, read)
    }));
    evaluated.map_err(|_| "the evaluation broke off: please report this mail".to_owned())
}

/// The names of the rules that hit, sorted, each once; subrules among them or not.
pub(super) fn names(outcome: &Outcome, subrules: bool) -> Vec<&str> {
    let shown = |hit: &&Hit| subrules || !hit.name.starts_with("__");
    let mut names: Vec<&str> = outcome.hits.iter().filter(shown).map(|hit| &*hit.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What errors about files begin with.
pub(super) const UNREADABLE: &str = "cannot be read";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_files() {
        let files: Vec<PathBuf> = (0..2000).map(|number: usize| number.to_string().into()).collect();
        let number = |file: &Path| file.to_string_lossy().parse::<usize>().unwrap();
        let work = |file: &Path| {
            if number(file).is_multiple_of(300) {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            number(file)
        };
        let mut seen = Vec::new();
        in_parallel(&files, work, |file, result| {
            assert_eq!(number(file), result);
            seen.push(result);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..2000).collect::<Vec<_>>());

        // What ends it early leaves nobody waiting.
        let stopped = in_parallel(&files, work, |_, _| Err(Failure::Usage("enough".into())));
        assert!(stopped.is_err());
    }
}
