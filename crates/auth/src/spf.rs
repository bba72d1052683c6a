//! Sender Policy Framework (RFC 7208): may this client send for that domain, and why is that so?

mod evaluate;
mod macros;
mod record;
mod tell;
mod trace;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};

use crate::dns::Resolve;
use evaluate::Evaluation;

pub use record::{Problem, Record};
pub use trace::{Event, Kind, Step};

/// A session to judge.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The client. An IPv4-mapped IPv6 address means the IPv4 one (RFC 7208 section 5).
    pub ip: IpAddr,
    /// What the client said in HELO or EHLO, as it stands.
    pub helo: &'a str,
    /// Whose record is looked at.
    pub identity: Identity<'a>,
    /// Name of the host that received the mail: the macro `%{r}` and the `receiver` of `Received-SPF`. May be empty.
    pub receiver: &'a str,
    /// Seconds since 1970, for the macro `%{t}`.
    pub now: u64,
    /// How far to go.
    pub limits: Limits,
}

/// Which identity is checked (RFC 7208 sections 2.3 and 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The host's name from HELO or EHLO.
    Helo,
    /// The reverse path without angle brackets. Empty for bounces: postmaster at the HELO name stands for it.
    MailFrom(&'a str),
}

/// Bounds of an evaluation (RFC 7208 section 4.6.4). Beyond them the result is `permerror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Terms that ask name servers: `include`, `a`, `mx`, `ptr`, `exists`, `redirect` and the macro `%{p}`.
    pub lookups: u32,
    /// Of these, the ones that found nothing.
    pub voids: u32,
    /// Exchangers of one `mx` whose addresses are asked for.
    pub mx: usize,
    /// Names of the client whose addresses are asked for; more are ignored.
    pub ptr: usize,
}

impl Default for Limits {
    /// What RFC 7208 asks for: 10 look-ups, 2 void ones, 10 names each.
    fn default() -> Limits {
        Limits { lookups: 10, voids: 2, mx: 10, ptr: 10 }
    }
}

/// Result of a check (RFC 7208 section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is no domain to look at, or it publishes nothing.
    None,
    /// The domain says nothing about this client.
    Neutral,
    /// The client may send for the domain.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// Name servers could not be asked; later they may be.
    TempError,
    /// The records cannot be understood or ask for too much.
    PermError,
}

impl Outcome {
    /// The word of RFC 7208 and RFC 8601.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Neutral => "neutral",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which identity a result is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// HELO or EHLO.
    Helo,
    /// The reverse path, or what stands for it.
    MailFrom,
}

impl Scope {
    /// The word of RFC 7208 section 9.1, which is also the property of RFC 8601 (`smtp.mailfrom`).
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Helo => "helo",
            Scope::MailFrom => "mailfrom",
        }
    }
}

/// What came of a check, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spf {
    /// The result.
    pub result: Outcome,
    /// The identity it is about.
    pub scope: Scope,
    /// The client, an IPv4-mapped address as IPv4.
    pub ip: IpAddr,
    /// HELO as it was said.
    pub helo: String,
    /// Who received the mail; may be empty.
    pub receiver: String,
    /// Whether the reverse path was empty, so that HELO stands for it.
    pub bounce: bool,
    /// The sender as RFC 7208 sees it: always with a local part and, where there is one, a domain in A-labels.
    pub sender: String,
    /// The domain checked, in A-labels without the final dot: what DMARC aligns. Empty if there is none.
    pub domain: String,
    /// The term that decided, as it stands in the record; `default` where the end of the record did.
    pub mechanism: Option<String>,
    /// The domain whose record holds that term; another than `domain` after a `redirect`.
    pub decided_by: Option<String>,
    /// What went wrong, for `none`, `temperror` and `permerror`.
    pub problem: Option<String>,
    /// What the domain wants to be told to senders that fail (`exp=`): printable ASCII. A stranger's words: say so.
    pub explanation: Option<String>,
    /// Terms that asked name servers.
    pub lookups: u32,
    /// Of these, the ones that found nothing.
    pub voids: u32,
    /// Each step on the way, in order.
    pub trace: Vec<Step>,
}

/// Checks a session (RFC 7208 section 4). Takes as long as its look-ups take: limit it with [`check_until`].
pub async fn check(dns: &dyn Resolve, query: &Query<'_>) -> Spf {
    let mut evaluation = Evaluation::new(dns, query);
    evaluation.run().await;
    evaluation.finish()
}

/// Checks a session, and ends with `temperror` and the trace so far when `deadline` is ready first: a sleep of `limit`,
/// which RFC 7208 section 4.6.4 wants to be 20 seconds or more. `limit` is only told.
pub async fn check_until(
    dns: &dyn Resolve,
    query: &Query<'_>,
    limit: Duration,
    deadline: impl Future<Output = ()>,
) -> Spf {
    let mut evaluation = Evaluation::new(dns, query);
    let late = {
        let (run, deadline) = (std::pin::pin!(evaluation.run()), std::pin::pin!(deadline));
        matches!(select(run, deadline).await, Either::Right(_))
    };
    if late {
        evaluation.late(limit);
    }
    evaluation.finish()
}
