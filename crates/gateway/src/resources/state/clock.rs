//! What time it is, for everything that waits or expires: the system's time, or hands that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

/// The hands of a clock that goes only when they are moved.
#[derive(Clone, Debug)]
pub struct Hands(Arc<AtomicU64>);

impl Clock {
    /// The system's time.
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that shows this time, in seconds since 1970, until its hands are moved.
    pub fn standing(seconds: u64) -> (Clock, Hands) {
        let time = Arc::new(AtomicU64::new(seconds.saturating_mul(1000)));
        (Clock(Some(time.clone())), Hands(time))
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        match &self.0 {
            Some(time) => time.load(Ordering::Relaxed),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        }
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1000
    }
}

impl Hands {
    /// Moves them on.
    pub fn move_on(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::Relaxed);
    }

    /// Sets them to a time, in seconds since 1970.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds.saturating_mul(1000), Ordering::Relaxed);
    }
}

/// Whole milliseconds of a time.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
