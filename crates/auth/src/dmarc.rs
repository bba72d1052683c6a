//! DMARC (RFC 9989): the author domain's policy, found by walking up the tree, and alignment.
//!
//! [`Authors::of_header`] reads the From field as every reader might; [`evaluate`] finds the policy of the author's
//! domain, compares it with what SPF and DKIM have proven, and says why it came to its result.

mod author;
mod evaluate;
mod identify;
mod name;
mod record;
mod walk;

pub(crate) use author::comment_end;
pub use author::{Authors, Problem};
pub use evaluate::{evaluate, organizational};
pub use name::{ascii as ascii_name, is_below, is_public_suffix};

pub(crate) use record::shown;
pub use record::{Destination, Mode, Policy, Psd, Record, parse as parse_record};

use serde::{Deserialize, Serialize};

/// Most author domains of one message that are judged (RFC 9989 section 10.5: a limit is the receiver's to set).
pub const MAX_AUTHORS: usize = 8;

/// Most identifiers of one kind that are compared with the author's domain.
pub const MAX_IDENTIFIERS: usize = 32;

/// What is known of a message.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Who is said to have written it.
    pub authors: &'a Authors,
    /// SPF's domain of MAIL FROM (of HELO where the sender is null), with its result; RFC 9989 section 4.4.2.
    pub spf: &'a [Identifier],
    /// The `d=` of each signature, with its result.
    pub dkim: &'a [Identifier],
    /// To honour the historic `pct=` (RFC 7489 section 6.6.4): something of this message by which it is drawn, so that
    /// one and the same message is always drawn alike. `None` ignores `pct=`, as RFC 9989 does.
    pub draw: Option<&'a str>,
    /// Whether a name on the public suffix list is taken for a public suffix although its record does not say `psd=y`.
    /// RFC 9989 knows no such list; without the guard a suffix that publishes an old record makes all domains below it
    /// align with each other.
    pub guard: bool,
}

/// A domain that SPF or DKIM had to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// The domain, as it stood in MAIL FROM or `d=`.
    pub domain: String,
    /// What came of the check.
    pub proof: Proof,
}

/// What SPF or DKIM say of a domain, as far as DMARC cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// It passed.
    Pass,
    /// It did not pass, and will not when asked again.
    Fail,
    /// It could not be found out this time.
    TempError,
}

/// The way of authentication an identifier comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// SPF, of MAIL FROM.
    Spf,
    /// DKIM.
    Dkim,
}

/// The result, with the names of RFC 9989 section 9.2 (RFC 8601 section 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is no record for the author's domain.
    None,
    /// There is a record and an aligned identifier that passed.
    Pass,
    /// There is a record and no aligned identifier that passed.
    Fail,
    /// A look-up failed that might have changed the result.
    TempError,
    /// The message has no single author domain, or the record is no proper one.
    PermError,
}

impl Outcome {
    /// The name in `Authentication-Results`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

/// Which tag of the record the policy is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tag {
    /// `p=`.
    P,
    /// `sp=`: the author's domain is below the record's.
    Sp,
    /// `np=`: the author's domain is below the record's and does not exist.
    Np,
}

impl Tag {
    /// As it stands in a record.
    pub fn name(self) -> &'static str {
        match self {
            Tag::P => "p",
            Tag::Sp => "sp",
            Tag::Np => "np",
        }
    }
}

/// Why less is to be done than the tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Softened {
    /// `t=y`: the policy is being tested (RFC 9989 section 4.7).
    Testing,
    /// The message was not drawn by `pct=` (RFC 7489 section 6.6.4).
    NotDrawn,
}

/// An identifier that is aligned with the author's domain and passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aligned {
    /// Where it is from.
    pub method: Method,
    /// The identifier's domain, as A-labels in lower case.
    pub domain: String,
    /// Strict: it is the author's domain. Relaxed: it has the same organizational domain.
    pub mode: Mode,
}

/// A look-up, for the explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was asked for: `TXT _dmarc.example.com`.
    pub query: String,
    /// What came of it.
    pub answer: String,
}

/// What DMARC says of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmarc {
    /// The result.
    pub result: Outcome,
    /// What the domain's owner wants done with this message: `none` unless the result is `fail`.
    pub policy: Policy,
    /// What the tag said, before testing or drawing softened it; also where the message passed, and where a look-up failed
    /// that might have let it pass. `None` without a record.
    pub published: Option<Policy>,
    /// The tag the policy is from.
    pub tag: Tag,
    /// Why `policy` is less than `published`.
    pub softened: Option<Softened>,
    /// The author's domain, as A-labels in lower case; empty where there is none.
    pub domain: String,
    /// Its organizational domain, where it was found out.
    pub organizational: Option<String>,
    /// Where the record is published, without `_dmarc.`.
    pub policy_domain: Option<String>,
    /// The record.
    pub record: Option<Record>,
    /// The identifiers that passed and are aligned; none unless the result is `pass`.
    pub aligned: Vec<Aligned>,
    /// One sentence for the administrator.
    pub why: String,
    /// What else is worth knowing: faults of the record, where the public suffix list says otherwise, `pct=`.
    pub notes: Vec<String>,
    /// The look-ups.
    pub trace: Vec<Step>,
    /// The message has more authors than are looked at: nobody knows what the others ask for.
    pub crowded: bool,
    /// The other author domains' results, where there are several. This is the one that asks for most.
    pub others: Vec<Dmarc>,
}

impl Dmarc {
    /// Whether something is to be done unless the message is the domain's own, and just that could not be found out. Whoever
    /// writes a message can bring this about: by a signature of the domain with a key whose look-up fails.
    pub fn is_in_doubt(&self) -> bool {
        let testing = self.record.as_ref().is_some_and(|record| record.testing);
        let asked = self.published.map(|policy| if testing { policy.softer() } else { policy });
        self.result == Outcome::TempError && asked.is_some_and(|policy| policy != Policy::None)
    }

    /// Whether an identifier of this kind passed and is aligned.
    pub fn is_aligned(&self, method: Method) -> bool {
        self.aligned.iter().any(|aligned| aligned.method == method)
    }
}
