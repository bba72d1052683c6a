//! What every engine of [`State`] promises, as tests that each runs. An engine brings a [`Bench`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use super::*;

/// An engine under test, empty at first.
pub(super) trait Bench {
    /// The engine; each call gives the same one.
    fn state(&self) -> Arc<dyn State>;

    /// Lets time pass for it: by moving its clock or, for an engine that has its own, by waiting.
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// Short enough to be waited for by an engine with a clock of its own.
const LIFE: Duration = Duration::from_secs(2);
const HALF: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(1000);

/// Runs all of them, one after the other, each in keys of its own.
pub(super) async fn all(bench: &dyn Bench) {
    values(bench).await;
    expiry(bench).await;
    swaps(bench).await;
    one_of_many_swaps(bench).await;
    counters(bench).await;
    counts_get_lost_nowhere(bench).await;
    pages(bench).await;
    limits(bench).await;
    let status = bench.state().status().await.unwrap();
    assert!(status.entries > 0 && status.trouble.is_none(), "{status:?}");
}

async fn values(bench: &dyn Bench) {
    let state = bench.state();
    let (triplets, limits) = (Space::Triplets, Space::Limits);
    assert_eq!(state.get(triplets, b"a").await, Ok(None));
    state.put(triplets, b"a", b"1", LONG).await.unwrap();
    assert_eq!(state.get(triplets, b"a").await, Ok(Some(b"1".to_vec())), "seen at once");
    assert_eq!(state.get(limits, b"a").await, Ok(None), "spaces do not meet");
    state.flush().await.unwrap();
    assert_eq!(state.get(triplets, b"a").await, Ok(Some(b"1".to_vec())));
    state.put(triplets, b"a", b"2", LONG).await.unwrap();
    assert_eq!(state.get(triplets, b"a").await, Ok(Some(b"2".to_vec())), "the newer hides the older");
    assert_eq!(state.delete(triplets, b"a").await, Ok(true));
    assert_eq!(state.delete(triplets, b"a").await, Ok(false));
    assert_eq!(state.get(triplets, b"a").await, Ok(None), "gone at once");
    state.flush().await.unwrap();
    assert_eq!(state.get(triplets, b"a").await, Ok(None));
    state.put(triplets, b"", b"", LONG).await.unwrap();
    assert_eq!(state.get(triplets, b"").await, Ok(Some(Vec::new())), "empty is not nothing");
    let odd = [0, 255, b'\n', b'*'];
    state.put(triplets, &odd, &odd, LONG).await.unwrap();
    assert_eq!(state.get(triplets, &odd).await, Ok(Some(odd.to_vec())), "any bytes");
}

async fn expiry(bench: &dyn Bench) {
    let state = bench.state();
    let space = Space::CallAhead;
    for key in [b"now", b"old"] {
        state.put(space, key, b"1", LIFE).await.unwrap();
    }
    state.put(space, b"none", b"1", Duration::ZERO).await.unwrap();
    assert_eq!(state.get(space, b"none").await, Ok(None));
    state.flush().await.unwrap();
    bench.pass(HALF).await;
    assert_eq!(state.get(space, b"old").await, Ok(Some(b"1".to_vec())));
    state.put(space, b"now", b"2", LIFE).await.unwrap();
    bench.pass(HALF + HALF / 2).await;
    assert_eq!(state.get(space, b"old").await, Ok(None), "expired");
    assert_eq!(state.get(space, b"now").await, Ok(Some(b"2".to_vec())), "a put begins a new life");
    assert_eq!(state.delete(space, b"old").await, Ok(false));
    assert_eq!(state.swap(space, b"old", None, b"3", LIFE).await, Ok(true), "what expired is not there");
    assert_eq!(state.get(space, b"old").await, Ok(Some(b"3".to_vec())));
}

async fn swaps(bench: &dyn Bench) {
    let state = bench.state();
    let space = Space::Clients;
    assert_eq!(state.swap(space, b"a", Some(b"1"), b"2", LONG).await, Ok(false));
    assert_eq!(state.get(space, b"a").await, Ok(None));
    assert_eq!(state.swap(space, b"a", None, b"1", LONG).await, Ok(true));
    assert_eq!(state.swap(space, b"a", None, b"2", LONG).await, Ok(false));
    state.flush().await.unwrap();
    assert_eq!(state.swap(space, b"a", Some(b"1"), b"2", LONG).await, Ok(true));
    assert_eq!(state.swap(space, b"a", Some(b"1"), b"3", LONG).await, Ok(false));
    assert_eq!(state.get(space, b"a").await, Ok(Some(b"2".to_vec())));
}

/// Of many at once that expect the same, one gets through.
async fn one_of_many_swaps(bench: &dyn Bench) {
    let state = bench.state();
    for round in 0..5_u8 {
        let expected = (round > 0).then(|| vec![round - 1]);
        let value = [round];
        let swap = || state.swap(Space::Clients, b"many", expected.as_deref(), &value, LONG);
        let swapped = join_all((0..20).map(|_| swap())).await;
        assert_eq!(swapped.iter().filter(|swapped| **swapped == Ok(true)).count(), 1, "{swapped:?}");
        state.flush().await.unwrap();
    }
}

async fn counters(bench: &dyn Bench) {
    let state = bench.state();
    let space = Space::Limits;
    assert_eq!(state.count(space, b"u", 0, LIFE).await, Ok(0), "a look");
    assert_eq!(state.count(space, b"u", 0, LIFE).await, Ok(0), "a look leaves nothing");
    let first = state.count(space, b"u", 5, LIFE).await.unwrap();
    assert_eq!(first, 5);
    let sum = state.count(space, b"u", 1, LIFE).await.unwrap();
    assert!((1..=6).contains(&sum), "{sum}");
    assert_eq!(state.count(space, b"v", 1, LIFE).await, Ok(1), "each key by itself");
    bench.pass(LIFE * 2).await;
    assert_eq!(state.count(space, b"u", 0, LIFE).await, Ok(0), "two windows later nothing is left");
    assert_eq!(state.count(space, b"u", 2, LIFE).await, Ok(2));
    assert_eq!(state.count(space, b"big", u64::MAX, LIFE).await, Ok(u64::MAX));
}

async fn counts_get_lost_nowhere(bench: &dyn Bench) {
    let state = bench.state();
    for _ in 0..4 {
        join_all((0..25).map(|_| state.count(Space::Limits, b"crowd", 2, LONG)))
            .await
            .into_iter()
            .for_each(|sum| assert!(sum.is_ok()));
        state.flush().await.unwrap();
    }
    assert_eq!(state.count(Space::Limits, b"crowd", 0, LONG).await, Ok(200));
}

async fn pages(bench: &dyn Bench) {
    let state = bench.state();
    let space = Space::Lookups;
    let mut expected = BTreeMap::new();
    for number in 0..25_u8 {
        let key = format!("k{number}").into_bytes();
        state.put(space, &key, &[number], LONG).await.unwrap();
        expected.insert(key, vec![number]);
    }
    state.put(space, b"k7", b"new", LONG).await.unwrap();
    expected.insert(b"k7".to_vec(), b"new".to_vec());
    state.delete(space, b"k9").await.unwrap();
    expected.remove(b"k9".as_slice());
    state.put(space, b"brief", b"x", Duration::ZERO).await.unwrap();
    for most in [1, 7, 24, 25, 1_000_000] {
        let mut seen = BTreeMap::new();
        let mut from = None;
        loop {
            let page = state.list(space, from.as_deref(), most).await.unwrap();
            assert!(page.entries.len() <= most);
            seen.extend(page.entries);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "in pages of {most}");
    }
}

async fn limits(bench: &dyn Bench) {
    let state = bench.state();
    let (long, longer) = (vec![b'k'; LONGEST_KEY], vec![b'k'; LONGEST_KEY + 1]);
    let (large, larger) = (vec![b'v'; LONGEST_VALUE], vec![b'v'; LONGEST_VALUE + 1]);
    state.put(Space::Lookups, &long, &large, LONG).await.unwrap();
    assert_eq!(state.get(Space::Lookups, &long).await, Ok(Some(large)));
    assert_eq!(state.put(Space::Lookups, &longer, b"", LONG).await, Err(StateError::TooLong));
    assert_eq!(state.put(Space::Lookups, b"a", &larger, LONG).await, Err(StateError::TooLong));
    assert_eq!(state.get(Space::Lookups, &longer).await, Err(StateError::TooLong));
    assert_eq!(state.count(Space::Lookups, &longer, 1, LONG).await, Err(StateError::TooLong));
}

/// An engine whose clock we hold in hand.
pub(super) struct OnTheClock {
    /// The engine.
    pub state: Arc<dyn State>,
    /// Its clock's hands.
    pub hands: Hands,
}

impl Bench for OnTheClock {
    fn state(&self) -> Arc<dyn State> {
        self.state.clone()
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.hands.move_on(time);
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn memory() {
    let (clock, hands) = Clock::standing(1_700_000_000);
    all(&OnTheClock { state: Arc::new(Memory::new(1000, clock)), hands }).await;
}

#[tokio::test]
async fn embedded() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hands) = Clock::standing(1_700_000_000);
    let settings = Settings { path: folder.path().join("state.redb"), cache: 1 << 20, most: 1000, clock };
    all(&OnTheClock { state: Arc::new(Embedded::open(&settings).unwrap()), hands }).await;
}

#[tokio::test]
async fn embedded_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hands) = Clock::standing(1_700_000_000);
    let settings = Settings { path: folder.path().join("state.redb"), cache: 1 << 20, most: 1000, clock };
    let socket = folder.path().join("state.sock");
    let _served = serve(&socket, Arc::new(Embedded::open(&settings).unwrap())).unwrap();
    let state = Arc::new(Remote::connect(&socket).await.unwrap());
    all(&OnTheClock { state, hands }).await;
}
