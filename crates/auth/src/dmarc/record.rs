//! A policy record: `v=DMARC1; p=…` (RFC 9989 sections 4.7 and 4.8).

use std::fmt;

/// What a domain's owner wants done with mail that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// It is suspicious.
    Quarantine,
    /// It is not the domain's.
    Reject,
}

impl Policy {
    /// As it stands in a record.
    pub fn name(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    /// One step less.
    pub fn softer(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }

    /// A policy by its name, in any case.
    pub fn from_name(name: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How alike an identifier and the author's domain must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They have one organizational domain.
    #[default]
    Relaxed,
    /// They are the same.
    Strict,
}

impl Mode {
    /// As it stands in a record: `r` or `s`.
    pub fn letter(self) -> &'static str {
        match self {
            Mode::Relaxed => "r",
            Mode::Strict => "s",
        }
    }
}

/// `psd=`: whether the domain is a public suffix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Psd {
    /// It is.
    Yes,
    /// It is not, and it is an organizational domain.
    No,
    /// Not said.
    #[default]
    Unknown,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The URI without the size limit: `mailto:dmarc@example.com`.
    pub uri: String,
    /// The most bytes it takes in one mail: the obsolete `!10m`.
    pub limit: Option<u64>,
}

/// A record that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// As it was published.
    pub text: String,
    /// `p=`; `none` where there is none.
    pub p: Policy,
    /// `sp=`.
    pub sp: Option<Policy>,
    /// `np=`.
    pub np: Option<Policy>,
    /// `adkim=`.
    pub adkim: Mode,
    /// `aspf=`.
    pub aspf: Mode,
    /// `psd=`.
    pub psd: Psd,
    /// `t=y`.
    pub testing: bool,
    /// The historic `pct=`, 0 to 100.
    pub pct: Option<u8>,
    /// `fo=`; `0` where there is none.
    pub fo: String,
    /// `rua=`: where aggregate reports go, in order, what is no URI left out.
    pub rua: Vec<Destination>,
    /// What is wrong with it, and what was made of that.
    pub problems: Vec<String>,
    /// A policy in it is none, and no report is asked for: it counts as no record (RFC 9989 section 4.10.1).
    pub void: bool,
}
