//! State in memory alone, for commands that only judge and for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::{self, Entry};
use super::{Clock, LONGEST_PAGE, Op, Page, Space, State, StateError, Status, full_key};

/// State that ends with the process.
pub struct Memory {
    entries: Mutex<BTreeMap<Vec<u8>, Entry>>,
    most: usize,
    clock: Clock,
}

impl Memory {
    /// Nothing is known; at most so many entries will be.
    pub fn new(most: usize, clock: Clock) -> Memory {
        Memory { entries: Mutex::default(), most: most.max(1), clock }
    }

    /// What a command that only judges, or a test, may remember.
    pub fn small() -> Arc<dyn State> {
        Arc::new(Memory::new(10_000, Clock::system()))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` make a new entry of the value that is there.
    fn change<T>(
        &self,
        key: Vec<u8>,
        change: impl FnOnce(Option<&[u8]>, u64) -> (Option<Entry>, T),
    ) -> Result<T, StateError> {
        let now = self.clock.millis();
        let mut entries = self.entries();
        let old = entries.get(&key).filter(|old| old.lives(now));
        let (entry, result) = change(old.map(|old| old.value.as_slice()), now);
        if let Some(entry) = entry {
            if entries.len() >= self.most && !entries.contains_key(&key) {
                make_room(&mut entries, self.most, now);
            }
            entries.insert(key, entry);
        }
        Ok(result)
    }
}

impl State for Memory {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            self.change(key, |old, _| (None, old.map(<[u8]>::to_vec)))
        })
    }

    fn put<'a>(&'a self, space: Space, key: &'a [u8], value: &'a [u8], life: Duration) -> Op<'a, ()> {
        Box::pin(async move {
            let key = full_key(space, key, value)?;
            self.change(key, |_, now| (Some(Entry::new(value, life, now)), ()))
        })
    }

    fn swap<'a>(
        &'a self,
        space: Space,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        life: Duration,
    ) -> Op<'a, bool> {
        Box::pin(async move {
            let key = full_key(space, key, value)?;
            self.change(key, |old, now| match old == expected {
                true => (Some(Entry::new(value, life, now)), true),
                false => (None, false),
            })
        })
    }

    fn delete<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, bool> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            let now = self.clock.millis();
            Ok(self.entries().remove(&key).is_some_and(|entry| entry.lives(now)))
        })
    }

    fn count<'a>(&'a self, space: Space, key: &'a [u8], amount: u64, window: Duration) -> Op<'a, u64> {
        Box::pin(async move {
            let key = full_key(space, key, &[])?;
            self.change(key, |old, now| entry::count(old, amount, window, now))
        })
    }

    fn list<'a>(&'a self, space: Space, from: Option<&'a [u8]>, most: usize) -> Op<'a, Page> {
        Box::pin(async move {
            let first = full_key(space, from.unwrap_or_default(), &[])?;
            let begin = if from.is_some() { Bound::Excluded(first) } else { Bound::Included(first) };
            let most = most.clamp(1, LONGEST_PAGE);
            let now = self.clock.millis();
            let entries = self.entries();
            let mut range = entries
                .range((begin, Bound::Unbounded))
                .take_while(|(key, _)| key.first() == Some(&space.byte()))
                .filter(|(_, entry)| entry.lives(now))
                .map(|(key, entry)| (key[1..].to_vec(), entry.value.clone()));
            let mut page = Page { entries: range.by_ref().take(most).collect(), next: None };
            if range.next().is_some() {
                page.next = page.entries.last().map(|(key, _)| key.clone());
            }
            Ok(page)
        })
    }

    fn flush(&self) -> Op<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn status(&self) -> Op<'_, Status> {
        let entries = self.entries().len() as u64;
        Box::pin(std::future::ready(Ok(Status { entries, ..Status::default() })))
    }
}

/// Throws out what has expired, and of the rest so much of what would soonest that a tenth is free again.
fn make_room(entries: &mut BTreeMap<Vec<u8>, Entry>, most: usize, now: u64) {
    entries.retain(|_, entry| entry.lives(now));
    let keep = most - most.div_ceil(10);
    if entries.len() <= keep {
        return;
    }
    let mut times: Vec<u64> = entries.values().map(|entry| entry.expires).collect();
    let goes = times.len() - keep;
    let (_, &mut last, _) = times.select_nth_unstable(goes - 1);
    let mut goes = goes;
    entries.retain(|_, entry| {
        let out = entry.expires <= last && goes > 0;
        goes -= usize::from(out);
        !out
    });
}
