//! What is remembered from one message to the next: who knocked, how often, what was asked elsewhere. One interface,
//! [`State`], in front of whatever keeps it.
//!
//! Each operation is atomic by itself and small enough for a store that several gateways share (`GET`, `SET EX`,
//! compare-and-set, a counter), so that greylisting and limits never need a lock of their own. What depends on an old
//! value reads it, works the new one out and [`State::swap`]s it in; whoever was slower reads again.
//!
//! Everything put here expires, and every engine is bounded: where it is full, what would expire soonest goes first.

mod clock;
#[cfg(test)]
mod contract;
mod embedded;
mod entry;
mod memory;
mod remote;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use clock::{Clock, Hands};
pub use embedded::{Embedded, Settings};
pub use memory::Memory;
pub use remote::{Remote, Served, serve};

/// Longest key, in bytes.
pub const LONGEST_KEY: usize = 1024;

/// Longest value, in bytes.
pub const LONGEST_VALUE: usize = 16 << 10;

/// Most entries of one [`Page`].
pub const LONGEST_PAGE: usize = 10_000;

/// What an operation yields.
pub type Op<'a, T> = BoxFuture<'a, Result<T, StateError>>;

/// A store of facts that expire. All keys lie in a [`Space`], so that no user of it meets another's.
pub trait State: Send + Sync {
    /// The value of a key, unless it has none or it has expired.
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, Option<Vec<u8>>>;

    /// Sets a value, whatever was there before. It expires after `life`; a life of zero is none.
    fn put<'a>(&'a self, space: Space, key: &'a [u8], value: &'a [u8], life: Duration) -> Op<'a, ()>;

    /// Sets a value if the present one is still `expected` (None: there is none). False: it is not, and nothing has
    /// changed.
    fn swap<'a>(
        &'a self,
        space: Space,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        life: Duration,
    ) -> Op<'a, bool>;

    /// Removes a key. False: there was nothing.
    fn delete<'a>(&'a self, space: Space, key: &'a [u8]) -> Op<'a, bool>;

    /// Adds to a counter and gives the sum over the last `window`, what was added now included. An amount of zero only
    /// looks.
    ///
    /// The window slides: of the fixed window before this one, as much counts as the sliding one still covers, as if it
    /// had come evenly spread. A counter takes two numbers that way, however busy it is. A key is to be counted with
    /// one and the same window always; with another, it begins anew. Keys of counters and of values are not to be mixed
    /// in one space.
    fn count<'a>(&'a self, space: Space, key: &'a [u8], amount: u64, window: Duration) -> Op<'a, u64>;

    /// Some entries of a space, at most `most` and never more than [`LONGEST_PAGE`]. `from` is None at first, then the
    /// `next` of the page before. Entries that are there all the while come once at least; there is no order.
    fn list<'a>(&'a self, space: Space, from: Option<&'a [u8]>, most: usize) -> Op<'a, Page>;

    /// Waits until all that was put before is kept as safely as the engine can.
    fn flush(&self) -> Op<'_, ()>;

    /// How it is.
    fn status(&self) -> Op<'_, Status>;
}

/// Who keeps something: each has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Triplets of greylisting.
    Triplets,
    /// Clients that greylisting has learned to know.
    Clients,
    /// Counters of limits: by sender, user, domain, client.
    Limits,
    /// Answers of next hops about recipients.
    CallAhead,
    /// Answers of directories and databases.
    Lookups,
}

impl Space {
    /// All of them.
    pub const ALL: [Space; 5] =
        [Space::Triplets, Space::Clients, Space::Limits, Space::CallAhead, Space::Lookups];

    /// The byte that its keys begin with in a store. It stands on disk: a space keeps its byte for ever.
    pub const fn byte(self) -> u8 {
        match self {
            Space::Triplets => b't',
            Space::Clients => b'c',
            Space::Limits => b'l',
            Space::CallAhead => b'a',
            Space::Lookups => b'q',
        }
    }

    /// The space of such a byte.
    pub fn from_byte(byte: u8) -> Option<Space> {
        Space::ALL.into_iter().find(|space| space.byte() == byte)
    }
}

/// Some entries of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and their values.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the next page begins; None: this was the last.
    pub next: Option<Vec<u8>>,
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Entries in all spaces, those included that have expired and are not yet swept out.
    pub entries: u64,
    /// Entries that are not yet on disk.
    pub pending: u64,
    /// Why nothing can be kept at this time, if so.
    pub trouble: Option<String>,
}

/// Why an operation failed. None of these says anything about what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// It cannot be reached, read or written now: why.
    Unavailable(String),
    /// More waits to be written than may: the disk is full or too slow.
    Full,
    /// Key or value is longer than [`LONGEST_KEY`] and [`LONGEST_VALUE`].
    TooLong,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Unavailable(why) => write!(f, "the state store is not available: {why}"),
            StateError::Full => f.write_str("the state store cannot write as fast as it is asked to"),
            StateError::TooLong => {
                write!(f, "longer than {LONGEST_KEY} bytes for a key or {LONGEST_VALUE} for a value")
            }
        }
    }
}

impl std::error::Error for StateError {}

/// The key in a store, unless key or value is too long for any.
fn full_key(space: Space, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StateError> {
    if key.len() > LONGEST_KEY || value.len() > LONGEST_VALUE {
        return Err(StateError::TooLong);
    }
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(space.byte());
    full.extend_from_slice(key);
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_spaces_meet() {
        let bytes: BTreeSet<u8> = Space::ALL.iter().map(|space| space.byte()).collect();
        assert_eq!(bytes.len(), Space::ALL.len());
        for space in Space::ALL {
            assert_eq!(Space::from_byte(space.byte()), Some(space));
        }
        assert_eq!(Space::from_byte(0), None);
    }
}
