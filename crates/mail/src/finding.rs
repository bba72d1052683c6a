//! What checks find, and what it is when they cannot look.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Name of what was found, as the catalogue declares it: `VIRUS`, `BANNED_NAME`, `DNSBL_ZEN`.
pub type Symbol = Cow<'static, str>;

/// One thing found. It says what and why, and knows no consequence; points only where its symbol is not in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub symbol: Symbol,
    /// What it speaks of.
    pub scope: Scope,
    /// The proof, for people: the signature's name, the attachment's name, the list's answer.
    pub evidence: String,
    /// What it counts unless a policy says otherwise, where whoever found it knows: rules bring their points along. None: as
    /// the catalogue says.
    pub points: Option<Points>,
    /// What the symbol means, in words, where the catalogue does not know it.
    pub meaning: Option<Arc<str>>,
}

impl Finding {
    /// A finding.
    pub fn new(symbol: impl Into<Symbol>, scope: Scope, evidence: impl Into<String>) -> Finding {
        Finding { symbol: symbol.into(), scope, evidence: evidence.into(), points: None, meaning: None }
    }

    /// A finding that speaks of the whole mail.
    pub fn mail(symbol: impl Into<Symbol>, evidence: impl Into<String>) -> Finding {
        Finding::new(symbol, Scope::Mail, evidence)
    }

    /// A finding that speaks of one recipient, by its place in the envelope.
    pub fn recipient(symbol: impl Into<Symbol>, place: usize, evidence: impl Into<String>) -> Finding {
        Finding::new(symbol, Scope::Recipient(place), evidence)
    }

    /// A finding that speaks of one part.
    pub fn part(symbol: impl Into<Symbol>, part: crate::PartId, evidence: impl Into<String>) -> Finding {
        Finding::new(symbol, Scope::Part(part), evidence)
    }

    /// The same with points of its own.
    #[must_use]
    pub fn counting(self, points: Points) -> Finding {
        Finding { points: Some(points), ..self }
    }

    /// The same with what its symbol means.
    #[must_use]
    pub fn meaning(self, meaning: impl Into<Arc<str>>) -> Finding {
        Finding { meaning: Some(meaning.into()), ..self }
    }
}

/// What a finding speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The message or its session as a whole.
    Mail,
    /// One recipient, by its place in the envelope.
    Recipient(usize),
    /// One part, by its place in [`crate::Message::parts`].
    Part(crate::PartId),
}

/// A check that could not do its work. Never to be taken for "nothing found".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The check's name in the catalogue, with the instance where there are several: `clamd:main`.
    pub check: String,
    /// What kind of failure.
    pub cause: Cause,
    /// Details for the log; never sent to the client.
    pub detail: String,
    /// What the check's configuration says shall happen now.
    pub answer: OnFault,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It took too long.
    Timeout,
    /// The other side is away or speaks nonsense.
    Unavailable,
    /// It ran into a limit of its own.
    Limit,
    /// It panicked or broke an invariant.
    Bug,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Timeout => "timeout",
            Cause::Unavailable => "unavailable",
            Cause::Limit => "limit",
            Cause::Bug => "bug",
        })
    }
}

/// A check's declared answer to its own failure. The strictest of several faults wins, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFault {
    /// Go on as if the check were not there; the record says so.
    Accept,
    /// Hold the message.
    Quarantine,
    /// 4xx: the sender keeps the message and tries again.
    Defer,
}

/// Categories of mail, from harmless to worst. The worst category found wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Nothing against it.
    Clean,
    /// Score at or over the mark threshold.
    Spammy,
    /// Score at or over the kill threshold.
    Spam,
    /// Its author's domain says that it is not from there (DMARC).
    Unauthenticated,
    /// Whoever sends it may not, or not to this recipient: restrictions, access maps, greylisting, limits.
    Restricted,
    /// Header so malformed that mail programs disagree about it.
    BadHeader,
    /// Larger than policy allows.
    Oversized,
    /// Something in it could not be looked into: encrypted, or over the budget.
    Unchecked,
    /// An attachment that policy does not let in.
    Banned,
    /// A scanner named it.
    Virus,
}

impl Category {
    /// All of them, from harmless to worst.
    pub const ALL: [Category; 10] = [
        Category::Clean,
        Category::Spammy,
        Category::Spam,
        Category::Unauthenticated,
        Category::Restricted,
        Category::BadHeader,
        Category::Oversized,
        Category::Unchecked,
        Category::Banned,
        Category::Virus,
    ];

    /// The name used in configuration, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Clean => "clean",
            Category::Spammy => "spammy",
            Category::Spam => "spam",
            Category::Unauthenticated => "unauthenticated",
            Category::Restricted => "restricted",
            Category::BadHeader => "bad-header",
            Category::Oversized => "oversized",
            Category::Unchecked => "unchecked",
            Category::Banned => "banned",
            Category::Virus => "virus",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a symbol counts for unless a policy says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// It puts the mail into a category.
    As(Category),
    /// It adds points, in thousandths.
    Points(Points),
}

use crate::Points;
