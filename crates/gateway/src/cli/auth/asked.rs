//! A resolver that remembers what it was asked and what it answered.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve, reverse};
use serde::Serialize;

/// Look-ups that are remembered; beyond it they are only counted.
const MOST: usize = 10_000;

/// Passes look-ups on and remembers them in the order in which they were answered.
pub(super) struct Recording {
    dns: Arc<dyn Resolve>,
    all: Mutex<Vec<Asked>>,
}

/// One look-up.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked {
    /// `TXT`, `A` …
    pub kind: &'static str,
    /// Under which name.
    pub name: String,
    /// The records, or why there are none.
    pub answer: Result<Vec<String>, String>,
    /// How long it took.
    pub microseconds: u64,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.kind, self.name)?;
        match &self.answer {
            Ok(records) if self.kind == "TXT" => {
                let quoted: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
                f.write_str(&quoted.join(", "))?;
            }
            Ok(records) => f.write_str(&records.join(", "))?,
            Err(why) => f.write_str(why)?,
        }
        write!(f, " ({}.{:03} ms)", self.microseconds / 1000, self.microseconds % 1000)
    }
}

impl Recording {
    pub fn new(dns: Arc<dyn Resolve>) -> Recording {
        Recording { dns, all: Mutex::default() }
    }

    /// What was asked.
    pub fn into_all(self) -> Vec<Asked> {
        self.all.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn record<T>(
        &self,
        kind: &'static str,
        name: String,
        lookup: Lookup<'_, T>,
        show: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, DnsError> {
        let began = Instant::now();
        let answer = lookup.await;
        let shown = match &answer {
            Ok(records) => Ok(records.iter().map(show).collect()),
            Err(why) => Err(why.to_string()),
        };
        let microseconds = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push(Asked { kind, name, answer: shown, microseconds });
        }
        answer
    }
}

impl Resolve for Recording {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(self.record("A", name.to_owned(), self.dns.a(name), Ipv4Addr::to_string))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(self.record("AAAA", name.to_owned(), self.dns.aaaa(name), Ipv6Addr::to_string))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        let show = |mx: &Mx| format!("{} {}", mx.preference, mx.exchange);
        Box::pin(self.record("MX", name.to_owned(), self.dns.mx(name), show))
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(self.record("TXT", name.to_owned(), self.dns.txt(name), String::clone))
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(self.record("PTR", reverse(address), self.dns.ptr(address), String::clone))
    }
}
