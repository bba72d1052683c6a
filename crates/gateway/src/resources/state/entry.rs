//! One value with the time it expires, and the arithmetic of counters: the same for every engine.

use std::time::Duration;

use super::clock::millis;

/// A value and when it is no longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Milliseconds since 1970.
    pub expires: u64,
    /// What was put.
    pub value: Vec<u8>,
}

/// Bytes before the value.
const HEAD: usize = 8;

impl Entry {
    /// A value that lives so long from now on.
    pub fn new(value: &[u8], life: Duration, now: u64) -> Entry {
        Entry { expires: now.saturating_add(millis(life)), value: value.to_vec() }
    }

    /// Whether it is still there.
    pub fn lives(&self, now: u64) -> bool {
        self.expires > now
    }

    /// As it stands on disk: the time, then the value.
    pub fn encode(&self) -> Vec<u8> {
        [&self.expires.to_be_bytes()[..], &self.value].concat()
    }

    /// From disk; None if it is no entry.
    pub fn decode(bytes: &[u8]) -> Option<Entry> {
        Some(Entry { expires: expiry(bytes)?, value: bytes.get(HEAD..)?.to_vec() })
    }
}

/// When an entry on disk expires.
pub(super) fn expiry(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(..HEAD)?.try_into().ok()?))
}

/// A counter: a fixed window and the one before it.
struct Counter {
    /// Length of a window, in milliseconds.
    window: u64,
    /// Windows of that length since 1970.
    place: u64,
    current: u64,
    before: u64,
}

/// Adds to a counter: what it is from now on (None: as before) and the sum over the sliding window.
pub(super) fn count(old: Option<&[u8]>, amount: u64, window: Duration, now: u64) -> (Option<Entry>, u64) {
    let window = millis(window).max(1);
    let place = now / window;
    let old = old.and_then(Counter::decode).filter(|old| old.window == window);
    let (current, before) = match old {
        Some(old) if old.place == place => (old.current, old.before),
        Some(old) if old.place + 1 == place => (0, old.current),
        // A clock that was set back: what was counted in the future counts as now, so that nobody gains by it.
        Some(old) if old.place > place => (old.current, 0),
        _ => (0, 0),
    };
    let current = current.saturating_add(amount);
    let covered = window - now % window;
    let carried = u128::from(before) * u128::from(covered) / u128::from(window);
    let sum = current.saturating_add(u64::try_from(carried).unwrap_or(u64::MAX));
    if amount == 0 {
        return (None, sum);
    }
    let counter = Counter { window, place, current, before };
    let expires = place.saturating_add(2).saturating_mul(window);
    (Some(Entry { expires, value: counter.encode() }), sum)
}

impl Counter {
    fn encode(&self) -> Vec<u8> {
        [self.window, self.place, self.current, self.before].map(u64::to_be_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<Counter> {
        let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        (bytes.len() == 32).then_some(())?;
        Some(Counter { window: number(0)?, place: number(1)?, current: number(2)?, before: number(3)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_disk_and_back() {
        let entry = Entry::new(b"value", Duration::from_secs(5), 1_000);
        assert_eq!(entry.expires, 6_000);
        assert!(entry.lives(5_999) && !entry.lives(6_000));
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!(Entry::decode(b"short"), None);
    }

    /// Each row: milliseconds, what is added, the sum then. The window is one second.
    #[test]
    fn the_window_slides() {
        let window = Duration::from_secs(1);
        let mut value: Option<Vec<u8>> = None;
        for (now, amount, expected) in [
            (10_000, 10, 10),
            (10_900, 10, 20),
            (11_000, 0, 20), // all of the window before still counts
            (11_500, 0, 10), // half of it
            (11_500, 4, 14),
            (11_999, 0, 4),
            (12_500, 0, 2), // half of the four
            (13_000, 0, 0),
            (99_000, 1, 1),
            (50_000, 1, 2), // a clock that was set back
        ] {
            let (entry, sum) = count(value.as_deref(), amount, window, now);
            assert_eq!(sum, expected, "at {now}");
            assert_eq!(entry.is_some(), amount > 0);
            if let Some(entry) = entry {
                value = Some(entry.value);
            }
        }
        let (_, sum) = count(value.as_deref(), 1, Duration::from_secs(2), 50_000);
        assert_eq!(sum, 1, "another window begins anew");
        assert_eq!(count(Some(b"no counter"), u64::MAX, window, 1).1, u64::MAX);
    }
}
