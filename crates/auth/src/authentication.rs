//! All that was found out about who sent one message, together: what is told of it, and to whom.

use std::net::IpAddr;

use crate::arc::{self, Chain};
use crate::dkim::{self, Signature};
use crate::dmarc::{self, Dmarc, Policy};
use crate::report::Override;
use crate::results::{Entry, Results};
use crate::spf::{Scope, Spf};

/// What was found out. What was not looked at is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Who sent it.
    pub client: Option<IpAddr>,
    /// A user has logged in: that is the whole authentication.
    pub login: bool,
    /// SPF of HELO and of MAIL FROM, in that order.
    pub spf: Vec<Spf>,
    /// DKIM: one for each signature. `None`: not looked at.
    pub dkim: Option<Vec<Signature>>,
    /// ARC.
    pub arc: Option<Chain>,
    /// DMARC.
    pub dmarc: Option<Dmarc>,
    /// What is odd about the author's address, where DMARC was looked at.
    pub author: Vec<dmarc::Problem>,
    /// Why a failure of DMARC is not treated as the author's domain asks.
    pub overridden: Option<Overridden>,
}

/// Why a failure of DMARC is not treated as the author's domain asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// As aggregate reports know it.
    pub kind: Override,
    /// In words.
    pub why: String,
}

/// One result in words: for the record, and for whoever asks why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `spf`, `dkim`, `arc`, `dmarc`, `auth`.
    pub method: &'static str,
    /// `pass`, `fail` …
    pub result: &'static str,
    /// What it is about: `smtp.mailfrom=a@example.org`, `header.d=example.org header.s=mail`.
    pub about: String,
    /// Why, in one sentence.
    pub why: String,
}

impl Authentication {
    /// SPF of MAIL FROM (of HELO for a bounce).
    pub fn mail_from(&self) -> Option<&Spf> {
        self.spf.iter().find(|spf| spf.scope == Scope::MailFrom)
    }

    /// What the author's domain wants done, if it is to be done: `none` where DMARC did not fail, or is overridden.
    pub fn wanted(&self) -> Policy {
        let failed = self.dmarc.as_ref().filter(|dmarc| dmarc.result == dmarc::Outcome::Fail);
        failed.filter(|_| self.overridden.is_none()).map_or(Policy::None, |dmarc| dmarc.policy)
    }

    /// Nothing was looked at.
    pub fn is_empty(&self) -> bool {
        !self.login
            && self.spf.is_empty()
            && self.dkim.is_none()
            && self.arc.is_none()
            && self.dmarc.is_none()
    }

    /// The `Authentication-Results` field that says so, under that authserv-id.
    pub fn results(&self, id: &str) -> Results {
        let mut entries: Vec<Entry> = self.login.then(|| Entry::new("auth", "pass")).into_iter().collect();
        entries.extend(self.spf.iter().map(spf_entry));
        match self.dkim.as_deref() {
            Some([]) => entries.push(Entry::new("dkim", "none").noting("no signature")),
            Some(signatures) => entries.extend(signatures.iter().map(dkim_entry)),
            None => {}
        }
        let sealed = self.arc.as_ref().filter(|chain| chain.highest > 0 || chain.status != arc::Status::None);
        entries.extend(sealed.map(|chain| arc_entry(chain, self.client)));
        entries.extend(self.dmarc.as_ref().map(|dmarc| self.dmarc_entry(dmarc)));
        Results { id: id.to_owned(), entries }
    }

    /// Every result with its reason.
    pub fn told(&self) -> Vec<Told> {
        let mut told = Vec::new();
        if self.login {
            told.push(Told {
                method: "auth",
                result: "pass",
                about: String::new(),
                why: "the sender has logged in".into(),
            });
        }
        told.extend(self.spf.iter().map(|spf| {
            let (property, value) = spf.property();
            let about = format!("{property}={value}");
            Told { method: "spf", result: spf.result.as_str(), about, why: spf.sentence() }
        }));
        told.extend(self.dkim.iter().flatten().map(|signature| Told {
            method: "dkim",
            result: signature.outcome.as_str(),
            about: format!("header.d={} header.s={}", signature.domain, signature.selector),
            why: why_dkim(signature),
        }));
        if let Some(chain) = self.arc.as_ref().filter(|chain| chain.highest > 0) {
            let sealers: Vec<&str> = chain.sealers().collect();
            let about = format!("i={} sealed by {}", chain.highest, sealers.join(", "));
            told.push(Told {
                method: "arc",
                result: chain.status.as_str(),
                about,
                why: chain.reason.clone(),
            });
        }
        if let Some(dmarc) = &self.dmarc {
            let why = match &self.overridden {
                Some(overridden) => format!("{}; not treated so: {}", dmarc.why, overridden.why),
                None => dmarc.why.clone(),
            };
            let about = format!("header.from={}", dmarc.domain);
            told.push(Told { method: "dmarc", result: dmarc.result.name(), about, why });
        }
        told
    }

    fn dmarc_entry(&self, dmarc: &Dmarc) -> Entry {
        let entry = match &self.overridden {
            // What applies is no longer what the record asks for.
            Some(overridden) => Entry::new("dmarc", dmarc.result.name())
                .noting(&format!("not treated as asked: {}", overridden.why))
                .with("header", "from", &dmarc.domain)
                .with("policy", "dmarc", Policy::None.name()),
            None => Entry::dmarc(dmarc),
        };
        match dmarc.result {
            dmarc::Outcome::TempError | dmarc::Outcome::PermError => entry.because(&dmarc.why),
            _ => entry,
        }
    }
}

fn spf_entry(spf: &Spf) -> Entry {
    let (property, value) = spf.property();
    let (kind, name) = property.split_once('.').unwrap_or(("smtp", property));
    Entry::new("spf", spf.result.as_str()).noting(&spf.sentence()).with(kind, name, value)
}

fn dkim_entry(signature: &Signature) -> Entry {
    let mut entry = Entry::dkim(
        signature.outcome.as_str(),
        &signature.domain,
        &signature.selector,
        &signature.algorithm,
        &signature.b,
    );
    if let Some(bits) = signature.key_bits {
        let testing = if signature.testing { ", testing" } else { "" };
        entry = entry.noting(&format!("{bits}-bit key{testing}"));
    }
    if signature.outcome != dkim::Outcome::Pass {
        entry = entry.because(&signature.reason);
    }
    entry.with("header", "i", own_identity(signature))
}

/// `i=` where the signature says more by it than by `d=`.
fn own_identity(signature: &Signature) -> &str {
    match signature.identity.strip_prefix('@') {
        Some(domain) if domain == signature.domain => "",
        _ => &signature.identity,
    }
}

fn arc_entry(chain: &Chain, client: Option<IpAddr>) -> Entry {
    let sealers: Vec<String> =
        chain.sets.iter().rev().map(|set| format!("i={} d={}", set.instance, set.domain)).collect();
    let client = client.map(|client| client.to_canonical().to_string()).unwrap_or_default();
    let entry = Entry::arc(chain.status.as_str(), chain.oldest_pass, &client).noting(&sealers.join(", "));
    if chain.status == arc::Status::Fail { entry.because(&chain.reason) } else { entry }
}

fn why_dkim(signature: &Signature) -> String {
    let mut why = signature.reason.clone();
    let mut more = Vec::new();
    if let Some(bits) = signature.key_bits {
        more.push(format!("{bits}-bit key"));
    }
    if signature.testing {
        more.push("the domain is testing (t=y)".into());
    }
    if signature.unsigned > 0 {
        more.push(format!("{} bytes of the body are not signed (l=)", signature.unsigned));
    }
    if !more.is_empty() {
        why = format!("{why} ({})", more.join("; "));
    }
    why
}
