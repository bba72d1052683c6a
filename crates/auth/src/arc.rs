//! Authenticated Received Chain (RFC 8617): verifying chains and sealing.

mod seal;
mod sets;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use crate::dkim::Outcome;

pub use seal::{SealError, Sealed, Sealer};
pub use verify::{Prepared, verify};

/// State of a chain (RFC 8617 section 4.1.3 and 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// There is no ARC field.
    None,
    /// Every set is whole, all seals and the newest message signature verify.
    Pass,
    /// Anything else.
    Fail,
}

impl Status {
    /// As `cv=` and `arc=` have it: `pass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Pass => "pass",
            Status::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What validating a chain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The result.
    pub status: Status,
    /// Why, for a postmaster.
    pub reason: String,
    /// A key could not be looked up just now. RFC 8617 makes this a failure like any other; whoever can wait may ask
    /// the sender to come again.
    pub temporary: bool,
    /// The sets, oldest first, as far as the fields could be read.
    pub sets: Vec<Set>,
    /// The lowest instance whose message signature still verifies, with all newer ones: what came after it changed
    /// nothing that it signed (RFC 8617 section 5.2 step 5). 0: all do. `None` unless the chain passes.
    pub oldest_pass: Option<u32>,
    /// Highest instance seen; the next set is one higher.
    pub highest: u32,
    /// The newest set says itself that the chain failed (`cv=fail`): nothing may be added to it.
    pub failed: bool,
    /// What was done, step by step, for whoever asks why.
    pub steps: Vec<String>,
}

impl Chain {
    /// Domains that sealed, newest first.
    pub fn sealers(&self) -> impl Iterator<Item = &str> {
        self.sets.iter().rev().map(|set| set.domain.as_str())
    }

    /// What the first hop found: the value of the oldest `ARC-Authentication-Results`, without `i=1;`. To be believed
    /// only if the chain passes and every sealer is trusted.
    pub fn first_results(&self) -> Option<&str> {
        self.sets.first().filter(|set| set.instance == 1).map(|set| set.results.as_str())
    }
}

/// One ARC set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// `i=`, from 1.
    pub instance: u32,
    /// Who sealed (`d=` of the ARC-Seal).
    pub domain: String,
    /// Selector of the seal's key.
    pub selector: String,
    /// What the sealer found of the chain before it (`cv=`); `None` if that is no value it can have.
    pub cv: Option<Status>,
    /// Who signed the message (`d=` of the ARC-Message-Signature).
    pub message_domain: String,
    /// What verifying the message signature came to, and why.
    pub message: (Outcome, String),
    /// What verifying the seal came to, and why.
    pub seal: (Outcome, String),
    /// Value of the ARC-Authentication-Results without `i=N;`, unfolded.
    pub results: String,
}
