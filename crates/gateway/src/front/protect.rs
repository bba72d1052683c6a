//! What keeps clients from using up this host: how fast they may come, how many may be made to wait at once, and what
//! happens when the host itself is short of processor time or disk.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::config::protection::{Protection, TooMany};
use crate::resources::limits;
use crate::resources::machine::{Gauge, Host, Machine};
use crate::resources::state::{Clock, Memory, Space, State};

/// Client nets whose connections are counted at once. Beyond it those go that would be forgotten soonest, so a crowd of
/// strangers costs some megabytes at most.
const NETS: usize = 50_000;

/// How much the load alone delays a banner.
const LOADED: Duration = Duration::from_secs(1);

/// What is configured, and how the host is. A reload makes a new one.
pub struct Guard {
    settings: Protection,
    refuse_at_load: Option<f64>,
    machine: Arc<dyn Machine>,
    folders: Vec<PathBuf>,
    gauge: Arc<Gauge>,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It gets the banner after so long.
    After(Duration),
    /// It is told to come later.
    Later,
}

impl Guard {
    /// Looks after these folders; nothing is looked at before [`Guard::tend`].
    pub fn new(settings: &Protection, folders: Vec<PathBuf>) -> Guard {
        let machine = Arc::new(Host { load_file: settings.load_file.clone() });
        Guard::of(settings, folders, machine)
    }

    fn of(settings: &Protection, folders: Vec<PathBuf>, machine: Arc<dyn Machine>) -> Guard {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        #[allow(clippy::cast_precision_loss)]
        let usual = 12.0 * processors as f64;
        let refuse_at_load = Some(settings.refuse_at_load.unwrap_or(usual)).filter(|&load| load > 0.0);
        Guard { settings: settings.clone(), refuse_at_load, machine, folders, gauge: Arc::default() }
    }

    /// Looks at the host once a second, as long as the guard is there.
    pub fn tend(&self) {
        let folders = if self.settings.free_disk.bytes() > 0 { self.folders.clone() } else { Vec::new() };
        self.gauge.tend(self.machine.clone(), folders);
    }

    /// What is configured.
    pub(super) fn settings(&self) -> &Protection {
        &self.settings
    }

    /// Why nobody gets in at this time, if so.
    pub(super) fn refuses_all(&self) -> Option<&'static str> {
        self.is_loaded(self.refuse_at_load).then_some("Load is too high")
    }

    /// Whether strangers shall bring no mail at this time.
    pub(super) fn defers(&self) -> bool {
        self.is_loaded(self.settings.defer_at_load)
    }

    /// Whether there is room for a message, of this size if it was announced, and the rest that must stay free.
    pub(super) fn has_room(&self, size: Option<u64>) -> bool {
        let floor = self.settings.free_disk.bytes();
        let needed = floor.saturating_add(size.unwrap_or(0));
        floor == 0 || self.gauge.free().is_none_or(|free| free >= needed)
    }

    fn is_loaded(&self, limit: Option<f64>) -> bool {
        limit.zip(self.gauge.load()).is_some_and(|(limit, load)| load >= limit)
    }

    /// The network that stands for a client.
    fn net(&self, client: IpAddr) -> String {
        limits::net(client, self.settings.ipv4_prefix, self.settings.ipv6_prefix)
    }
}

/// How fast clients come, over all listeners, and who is made to wait. It outlives configurations.
pub struct Pace {
    connections: Memory,
    waiting: AtomicU32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace::new(Clock::system())
    }
}

impl Pace {
    fn new(clock: Clock) -> Pace {
        // Two counters for each net: seconds and minutes.
        Pace { connections: Memory::new(2 * NETS, clock), waiting: AtomicU32::new(0) }
    }

    /// A connection of somebody who is not trusted.
    pub(super) async fn enter(&self, guard: &Guard, client: IpAddr) -> Entry {
        let settings = &guard.settings;
        let mut over = 0;
        for (most, seconds) in [(settings.connections_per_second, 1), (settings.connections_per_minute, 60)] {
            if most == 0 {
                continue;
            }
            let key = format!("{seconds}|{}", guard.net(client));
            let window = Duration::from_secs(seconds);
            let counted = self.connections.count(Space::Limits, key.as_bytes(), 1, window).await;
            over = over.max(counted.unwrap_or(0).saturating_sub(most.into()));
        }
        let loaded = if guard.is_loaded(settings.delay_at_load) { LOADED } else { Duration::ZERO };
        match settings.connections_action {
            TooMany::Defer if over > 0 => Entry::Later,
            _ => {
                let longest = settings.connections_delay.duration();
                Entry::After(Duration::from_secs(over).min(longest).max(loaded))
            }
        }
    }

    /// A place among those that wait, given back when it is dropped. None: too many do.
    pub(super) fn wait(self: &Arc<Pace>, guard: &Guard) -> Option<Waiting> {
        let most = guard.settings.delayed_sessions;
        let more = |waiting: u32| (waiting < most).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.ok().map(|_| Waiting(self.clone()))
    }
}

/// Somebody is made to wait.
pub(super) struct Waiting(Arc<Pace>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;
    use std::sync::Mutex;

    /// Load and free space, as they shall be.
    struct Fake(Mutex<(f64, u64)>);

    impl Machine for Fake {
        fn load(&self) -> io::Result<f64> {
            Ok(self.0.lock().unwrap().0)
        }
        fn free(&self, _: &Path) -> io::Result<u64> {
            Ok(self.0.lock().unwrap().1)
        }
    }

    fn guard(settings: &str) -> (Guard, Arc<Fake>) {
        let settings: Protection = toml::from_str(settings).unwrap();
        let fake = Arc::new(Fake(Mutex::new((0.0, u64::MAX))));
        (Guard::of(&settings, vec!["/".into()], fake.clone()), fake)
    }

    impl Guard {
        fn look(&self, fake: &Fake, load: f64, free: u64) {
            *fake.0.lock().unwrap() = (load, free);
            self.gauge.read(fake, &self.folders);
        }
    }

    #[test]
    fn load_thresholds() {
        let (guard, fake) = guard("delay_at_load = 2\ndefer_at_load = 4\nrefuse_at_load = 8");
        assert!(!guard.defers() && guard.refuses_all().is_none(), "nothing is known yet");
        for (load, delays, defers, refuses) in [
            (1.99, false, false, false),
            (2.0, true, false, false),
            (4.0, true, true, false),
            (8.0, true, true, true),
            (0.5, false, false, false),
        ] {
            guard.look(&fake, load, 1);
            assert_eq!(guard.is_loaded(guard.settings.delay_at_load), delays, "{load}");
            assert_eq!(guard.defers(), defers, "{load}");
            assert_eq!(guard.refuses_all().is_some(), refuses, "{load}");
        }
    }

    #[test]
    fn usual_load_thresholds() {
        let (guard_, fake) = guard("");
        guard_.look(&fake, 1e6, 1);
        assert!(guard_.refuses_all().is_some() && !guard_.defers());
        let (guard, fake) = guard("refuse_at_load = 0");
        guard.look(&fake, 1e6, 1);
        assert!(guard.refuses_all().is_none());
    }

    #[test]
    fn room_on_disk() {
        for (settings, free, size, room) in [
            ("free_disk = 1000", 1000, None, true),
            ("free_disk = 1000", 999, None, false),
            ("free_disk = 1000", 1500, Some(500), true),
            ("free_disk = 1000", 1499, Some(500), false),
            ("free_disk = 1000", 1499, Some(u64::MAX), false),
            ("free_disk = 0", 0, Some(500), true),
        ] {
            let (guard, fake) = guard(settings);
            assert!(guard.has_room(size), "nothing is known yet");
            guard.look(&fake, 0.0, free);
            assert_eq!(guard.has_room(size), room, "{settings} {free} {size:?}");
        }
    }

    #[tokio::test]
    async fn each_connection_too_many_waits_a_second_longer() {
        let (guard, _) = guard(
            "connections_per_second = 2\nconnections_per_minute = 6\nconnections_delay = 3\nipv4_prefix = 24",
        );
        let (clock, hands) = Clock::standing(6_000);
        let pace = Pace::new(clock);
        let enter = async |client: &str| match pace.enter(&guard, client.parse().unwrap()).await {
            Entry::After(delay) => delay.as_secs(),
            Entry::Later => panic!("later"),
        };
        for (client, expected) in [
            ("192.0.2.1", 0),
            ("192.0.2.2", 0),
            ("192.0.2.3", 1),
            ("192.0.3.1", 0),
            ("192.0.2.1", 2),
            ("192.0.2.1", 3),
            ("192.0.2.1", 3),
        ] {
            assert_eq!(enter(client).await, expected, "{client}");
        }
        hands.move_on(Duration::from_secs(3));
        // By the second all is forgotten, by the minute it is not.
        assert_eq!(enter("192.0.2.1").await, 1);
        assert_eq!(enter("192.0.3.1").await, 0);
        hands.move_on(Duration::from_secs(180));
        assert_eq!(enter("192.0.2.1").await, 0);
    }

    #[tokio::test]
    async fn or_comes_later() {
        let (guard, fake) =
            guard("connections_per_second = 1\nconnections_action = 'defer'\ndelay_at_load = 1");
        let pace = Pace::new(Clock::standing(0).0);
        let client = "2001:db8::1".parse().unwrap();
        assert_eq!(pace.enter(&guard, client).await, Entry::After(Duration::ZERO));
        assert_eq!(pace.enter(&guard, client).await, Entry::Later);
        guard.look(&fake, 1.0, 0);
        let other = "2001:db8:1::1".parse().unwrap();
        assert_eq!(pace.enter(&guard, other).await, Entry::After(LOADED));
    }

    #[test]
    fn not_all_may_wait() {
        let (guard, _) = guard("delayed_sessions = 2");
        let pace = Arc::new(Pace::default());
        let (first, _second) = (pace.wait(&guard), pace.wait(&guard));
        assert!(first.is_some() && pace.wait(&guard).is_none());
        drop(first);
        assert!(pace.wait(&guard).is_some());
    }
}
