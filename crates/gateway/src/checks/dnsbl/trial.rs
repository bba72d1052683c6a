//! Whether a list works: by the entries that are there to find that out (RFC 5782 section 5), and by how it answers.
//!
//! A list that was given up often lists everything one day, and one that does not answer costs its time with every client:
//! such a list is taken out of use until it passes again. What is not looked up meanwhile is a fault, at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::super::run::seconds;
use super::answers::Answers;
use crate::config::typed::{AddressKinds, Dnsbl as Settings, Subject};
use crate::resources::dns::{DnsError, Resolve, TOO_MANY, backwards};

/// How often a list that works is tried out.
const EVERY: Duration = Duration::from_secs(3600);

/// How often one that does not work is.
const EVERY_OUT: Duration = Duration::from_secs(60);

/// So many failures in a row take a list out of use, too.
const FAILURES: u32 = 5;

/// What is known of one list.
pub(super) struct Trial {
    /// The list's name: the zone may have a key in it.
    list: String,
    probes: Vec<Probe>,
    state: Mutex<State>,
    running: tokio::sync::Mutex<()>,
}

/// One entry that is or is not there.
struct Probe {
    /// `127.0.0.2`
    shown: String,
    /// As it is asked for, without the zone.
    name: String,
    listed: bool,
}

#[derive(Default)]
struct State {
    tried: Option<Tried>,
    failures: u32,
}

struct Tried {
    outcome: Result<String, String>,
    at: Instant,
}

impl Trial {
    /// Nothing is known yet.
    pub fn new(list: &str, settings: &Settings) -> Trial {
        let of_addresses = settings.of.contains(&Subject::Client);
        let v4 = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        // Section 5: the IPv4 test addresses, written as IPv6 addresses.
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, last));
        let address = |address: IpAddr, listed| Probe {
            shown: address.to_string(),
            name: backwards(address).trim_end_matches('.').to_owned(),
            listed,
        };
        let domain = |name: &str, listed| Probe { shown: name.to_owned(), name: name.to_lowercase(), listed };
        let mut probes = match (of_addresses, settings.addresses) {
            (true, AddressKinds::Both) => {
                vec![address(v4(2), true), address(v4(1), false), address(v6(1), false)]
            }
            (true, AddressKinds::Ipv4) => vec![address(v4(2), true), address(v4(1), false)],
            (true, AddressKinds::Ipv6) => vec![address(v6(2), true), address(v6(1), false)],
            (false, _) => vec![domain("TEST", true), domain("INVALID", false)],
        };
        if !settings.test_entry.is_empty() {
            probes[0] = match settings.test_entry.parse::<IpAddr>() {
                Ok(own) => address(own, true),
                Err(_) => domain(settings.test_entry.trim_end_matches('.'), true),
            };
        }
        if !settings.test {
            probes.clear();
        }
        Trial { list: list.to_owned(), probes, state: Mutex::default(), running: tokio::sync::Mutex::new(()) }
    }

    /// Whether the list may be used: tries it out where nothing is known yet, or where it is time to try again. An error
    /// says why not.
    pub async fn passes(&self, zone: &Zone<'_>) -> Result<(), String> {
        let (known, due) = self.standing();
        let _running = match (known, due) {
            (Some(Ok(_)), _) => return Ok(()),
            (Some(Err(why)), false) => return Err(why),
            // One tries, the others need not wait for it.
            (Some(Err(why)), true) => match self.running.try_lock() {
                Ok(running) => running,
                Err(_) => return Err(why),
            },
            (None, _) => self.running.lock().await,
        };
        if let (Some(known), false) = self.standing() {
            return known.map(drop);
        }
        self.run(zone).await.map(drop)
    }

    /// Whether the list is known to be of no use now.
    pub fn out_of_use(&self) -> Option<String> {
        match self.standing() {
            (Some(Err(why)), false) => Some(why),
            _ => None,
        }
    }

    /// What is known of it; it is tried out first when it is time for that.
    pub async fn health(&self, zone: &Zone<'_>) -> Result<String, String> {
        if let (Some(known), false) = self.standing() {
            return known;
        }
        let _running = self.running.lock().await;
        match self.standing() {
            (Some(known), false) => known,
            _ => self.run(zone).await,
        }
    }

    /// The list has answered.
    pub fn answered(&self) {
        self.state().failures = 0;
    }

    /// The list has not answered, or refused to.
    pub fn failed(&self, why: &str) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES && !matches!(state.tried, Some(Tried { outcome: Err(_), .. })) {
            let why = format!("{FAILURES} failures in a row, the last: {why}");
            self.enter(&mut state, Err(why));
        }
    }

    /// Looks all test entries up, side by side.
    async fn run(&self, zone: &Zone<'_>) -> Result<String, String> {
        let answers = join_all(self.probes.iter().map(|probe| zone.probe(&self.list, probe))).await;
        let outcome = match answers.into_iter().collect::<Result<Vec<_>, Failure>>() {
            Ok(said) if said.is_empty() => Ok(format!("{} is not tried out (test = false)", self.list)),
            Ok(mut said) => Ok(said.swap_remove(0)),
            // Nothing is learnt of the list.
            Err(Failure::Ours) => return Err(format!("{}: {TOO_MANY}", self.list)),
            Err(Failure::Theirs(why)) => Err(why),
        };
        self.enter(&mut self.state(), outcome.clone());
        outcome
    }

    fn enter(&self, state: &mut State, outcome: Result<String, String>) {
        let before = state.tried.as_ref().map(|tried| tried.outcome.is_ok());
        match (&outcome, before) {
            (Err(why), None | Some(true)) => {
                tracing::warn!(list = %self.list, "DNS list taken out of use: {why}");
            }
            (Ok(_), Some(false)) => tracing::info!(list = %self.list, "DNS list used again"),
            _ => {}
        }
        state.failures = 0;
        state.tried = Some(Tried { outcome, at: Instant::now() });
    }

    /// What is known, and whether it is time to try again.
    fn standing(&self) -> (Option<Result<String, String>>, bool) {
        match &self.state().tried {
            None => (None, true),
            Some(tried) => {
                let every = if tried.outcome.is_ok() { EVERY } else { EVERY_OUT };
                (Some(tried.outcome.clone()), tried.at.elapsed() >= every)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass, for tests.
    #[cfg(test)]
    pub fn age(&self, time: Duration) {
        if let Some(tried) = &mut self.state().tried {
            tried.at = tried.at.checked_sub(time).unwrap();
        }
    }
}

/// Why a test entry says nothing good.
enum Failure {
    /// There was too much to do here.
    Ours,
    /// The list is to blame, or who answers for it.
    Theirs(String),
}

/// Where a list is asked, and how it is read.
pub(super) struct Zone<'a> {
    pub dns: &'a dyn Resolve,
    pub zone: &'a str,
    pub answers: &'a Answers,
    pub time: Duration,
}

impl Zone<'_> {
    /// Looks one test entry up. The zone is not named in what is said: it may have a key in it.
    async fn probe(&self, list: &str, probe: &Probe) -> Result<String, Failure> {
        let name = format!("{}.{}", probe.name, self.zone);
        let shown = &probe.shown;
        let answer = timeout(self.time, self.dns.a(&name)).await;
        let answer = match answer {
            Ok(Err(DnsError::Failed(why))) if why == TOO_MANY => return Err(Failure::Ours),
            Err(_) if self.waits(&name) => return Err(Failure::Ours),
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("{list}: no answer within {}", seconds(self.time));
                return Err(Failure::Theirs(why));
            }
        };
        let said = match answer {
            Ok(answers) => match self.answers.refused(&answers) {
                Some(why) => Err(format!("{list}: {why}")),
                None if probe.listed => {
                    let answers: Vec<_> = answers.iter().map(Ipv4Addr::to_string).collect();
                    Ok(format!("{list} lists its test entry {shown} ({})", answers.join(", ")))
                }
                None => Err(format!("{list} lists {shown}, which no list does: it lists everything")),
            },
            Err(why) if why.is_nothing() && probe.listed => {
                Err(format!("{list} does not list its test entry {shown}"))
            }
            Err(why) if why.is_nothing() => Ok(format!("{list} answers")),
            Err(why) => Err(format!("{list}: {why}")),
        };
        said.map_err(Failure::Theirs)
    }

    /// Whether a question that is not answered in time has waited here for most of it.
    pub fn waits(&self, name: &str) -> bool {
        self.dns.waited(name) > self.time / 2
    }
}
