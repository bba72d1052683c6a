//! Checks find; they never decide. One file per check; `catalogue` lists them all, `run` runs them.

use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Counts, Envelope, Fault, Finding, Mail, Recipient, Session};

/// What a check answers: what it found, or that it could not look.
pub type Answer<'a> = BoxFuture<'a, Result<Vec<Finding>, Fault>>;

/// A check. It gets exactly the data that exists at each stage, and by default finds nothing.
pub trait Check: Send + Sync {
    /// Its name, with the instance where there are several: `dnsbl:zen`.
    fn name(&self) -> &str;

    /// Longest it may take at one stage; beyond it `run` makes a fault of it.
    fn time(&self) -> Duration;

    /// A client has connected.
    fn on_connect<'a>(&'a self, _session: &'a Session) -> Answer<'a> {
        nothing()
    }

    /// A recipient is named. Findings are about [`gatepost_mail::Scope::Recipient`] of its future place.
    fn on_recipient<'a>(
        &'a self,
        _session: &'a Session,
        _envelope: &'a Envelope,
        _recipient: &'a Recipient,
    ) -> Answer<'a> {
        nothing()
    }

    /// The whole message is here. `facts` holds what the wave before this one found (empty in the first wave).
    fn on_mail<'a>(&'a self, _mail: &'a Mail, _facts: &'a [Finding]) -> Answer<'a> {
        nothing()
    }
}

/// Nothing found.
pub fn nothing<'a>() -> Answer<'a> {
    Box::pin(std::future::ready(Ok(Vec::new())))
}

/// When a check runs: conclusions see what facts have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// Looks at the mail only.
    Facts,
    /// Looks at the mail and at what the facts are.
    Conclusions,
}

/// A symbol that a check may find.
#[derive(Clone, Debug, PartialEq)]
pub struct SymbolInfo {
    /// Its name.
    pub name: std::borrow::Cow<'static, str>,
    /// What it means, in one line.
    pub meaning: std::borrow::Cow<'static, str>,
    /// What it counts for unless a policy says otherwise.
    pub counts: Counts,
}

/// Everything that checks found at one stage.
#[derive(Debug, Default, Clone)]
pub struct Found {
    /// Findings, in catalogue order whatever the order they came in.
    pub findings: Vec<Finding>,
    /// Checks that could not look.
    pub faults: Vec<Fault>,
    /// How long each check took.
    pub times: Vec<(String, Duration)>,
}
