//! DMARC aggregate reports (RFC 9990): building and reading them.
//!
//! A [`Report`] is what one receiver tells the owner of one policy domain about a span of time: a row for each sender
//! and result, with a count.

mod destination;
mod mail;
mod read;
mod xml;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dmarc::{Dmarc, Mode, Policy, Record};
use crate::{dkim, spf};

pub use destination::{Verified, destinations};
pub use mail::Sender;
pub use read::{Limits, Received, Unread, read, read_xml};

/// An aggregate report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the organization that reports.
    pub org_name: String,
    /// Its address for questions.
    pub email: String,
    /// Another way to reach it: a web page, a telephone number.
    pub extra_contact: Option<String>,
    /// Unique among the reports to that domain.
    pub id: String,
    /// Start of the span, in seconds since 1970.
    pub begin: i64,
    /// End of the span, in seconds since 1970.
    pub end: i64,
    /// What was wrong with the record.
    pub error: Option<String>,
    /// The program that wrote it.
    pub generator: Option<String>,
    /// The policy as it was found.
    pub published: Published,
    /// The rows; a report without one is none.
    pub rows: Vec<Row>,
}

/// The policy that was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Published {
    /// Where the record is published, without `_dmarc.`.
    pub domain: String,
    /// How it was found.
    pub discovery: Option<Discovery>,
    /// `p=`.
    pub p: Policy,
    /// `sp=`.
    pub sp: Option<Policy>,
    /// `np=`.
    pub np: Option<Policy>,
    /// `adkim=`.
    pub adkim: Mode,
    /// `aspf=`.
    pub aspf: Mode,
    /// `fo=`.
    pub fo: Option<String>,
    /// `t=y`.
    pub testing: bool,
}

/// How a policy is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// By the public suffix list, as in RFC 7489.
    Psl,
    /// By walking up the tree, as in RFC 9989.
    TreeWalk,
}

/// Messages from one address with the same results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Who sent them.
    pub source: IpAddr,
    /// How many there were.
    pub count: u64,
    /// What was done.
    pub disposition: Disposition,
    /// Whether an aligned DKIM identifier passed.
    pub dkim_aligned: bool,
    /// Whether an aligned SPF identifier passed.
    pub spf_aligned: bool,
    /// Why the policy was not followed.
    pub reasons: Vec<Reason>,
    /// The author's domain.
    pub header_from: String,
    /// The domain of MAIL FROM; empty for a null sender.
    pub envelope_from: Option<String>,
    /// The domain of the recipients.
    pub envelope_to: Option<String>,
    /// What DKIM said of each signature.
    pub dkim: Vec<DkimResult>,
    /// What SPF said.
    pub spf: Option<SpfResult>,
}

/// What was done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Nothing.
    None,
    /// Nothing, since they passed (new in RFC 9990).
    Pass,
    /// They were held or marked.
    Quarantine,
    /// They were refused.
    Reject,
}

impl Disposition {
    /// As it stands in a report.
    pub fn name(self) -> &'static str {
        match self {
            Disposition::None => "none",
            Disposition::Pass => "pass",
            Disposition::Quarantine => "quarantine",
            Disposition::Reject => "reject",
        }
    }

    /// A disposition by its name.
    pub fn from_name(name: &str) -> Option<Disposition> {
        use Disposition::{None as Nothing, Pass, Quarantine, Reject};
        [Nothing, Pass, Quarantine, Reject].into_iter().find(|d| d.name().eq_ignore_ascii_case(name))
    }
}

/// Why a policy was not followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// The kind.
    pub kind: Override,
    /// In words; empty where nothing is said.
    pub comment: String,
}

/// The kinds of reasons (RFC 9990 section 2.1.6; the last two are of RFC 7489 alone, and never written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// This receiver's own policy.
    LocalPolicy,
    /// It came by a mailing list.
    MailingList,
    /// Something else, which the comment tells.
    Other,
    /// `t=y`.
    TestMode,
    /// It came by a forwarder that is trusted (an ARC chain, for instance).
    TrustedForwarder,
    /// It was not drawn by `pct=`.
    SampledOut,
    /// It was forwarded.
    Forwarded,
}

/// What DKIM said of a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DkimResult {
    /// `d=`.
    pub domain: String,
    /// `s=`; RFC 7489 lets it be missing.
    pub selector: Option<String>,
    /// `pass`, `fail` … (RFC 8601 section 2.7.1).
    pub result: String,
    /// In words; ours are of a few classes.
    pub human: Option<String>,
}

/// What SPF said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpfResult {
    /// The domain that was checked.
    pub domain: String,
    /// `mfrom`; old reports know `helo` too.
    pub scope: Option<String>,
    /// `pass`, `fail` … (RFC 8601 section 2.7.2).
    pub result: String,
    /// In words.
    pub human: Option<String>,
}

impl Published {
    /// The policy a message was judged by; `None` if there is none.
    pub fn of(dmarc: &Dmarc) -> Option<Published> {
        Some(Published::by(dmarc.policy_domain.clone()?, dmarc.record.as_ref()?))
    }

    /// The policy of a domain, by its record.
    pub fn by(domain: String, record: &Record) -> Published {
        Published {
            domain,
            discovery: Some(Discovery::TreeWalk),
            p: record.p,
            sp: record.sp,
            np: record.np,
            adkim: record.adkim,
            aspf: record.aspf,
            fo: Some(record.fo.clone()),
            testing: record.testing,
        }
    }
}

/// Why there is no good signature, by classes: what stands in a report must not make a row of each message.
fn human_dkim(outcome: dkim::Outcome) -> Option<&'static str> {
    match outcome {
        dkim::Outcome::None | dkim::Outcome::Pass => None,
        dkim::Outcome::Fail => Some("header or body are not what was signed"),
        dkim::Outcome::Neutral => Some("the signature is malformed, unknown or expired"),
        dkim::Outcome::Policy => Some("the signature verifies, but is too weak"),
        dkim::Outcome::TempError => Some("the key could not be looked up"),
        dkim::Outcome::PermError => Some("the signature is incomplete, or has no key that fits"),
    }
}

/// Why SPF came to no result, by classes.
fn human_spf(outcome: spf::Outcome) -> Option<&'static str> {
    match outcome {
        spf::Outcome::TempError => Some("a look-up failed"),
        spf::Outcome::PermError => Some("the record cannot be understood, or asks for too much"),
        _ => None,
    }
}

impl From<&dkim::Signature> for DkimResult {
    fn from(signature: &dkim::Signature) -> DkimResult {
        DkimResult {
            domain: signature.domain.clone(),
            selector: Some(signature.selector.clone()),
            result: signature.outcome.as_str().to_owned(),
            human: human_dkim(signature.outcome).map(str::to_owned),
        }
    }
}

/// Of MAIL FROM, the only scope there is in reports (RFC 9990 section 2.1.1).
impl From<&spf::Spf> for SpfResult {
    fn from(spf: &spf::Spf) -> SpfResult {
        SpfResult {
            domain: spf.domain.clone(),
            scope: Some("mfrom".to_owned()).filter(|_| spf.scope == spf::Scope::MailFrom),
            result: spf.result.as_str().to_owned(),
            human: human_spf(spf.result).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_each_message_makes_no_row_of_its_own() {
        let one = |b: &str| {
            let mut signature = dkim::read::blank();
            (signature.outcome, signature.reason) = (dkim::Outcome::Fail, format!("body hash {b}"));
            DkimResult::from(&signature)
        };
        assert_eq!(one("a"), one("b"));
        assert!(one("a").human.is_some());
    }
}
