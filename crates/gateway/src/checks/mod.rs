//! Checks find; they never decide. One file per check; `catalogue` lists them all, `run` runs them.
//!
//! A new check is one file beside these and one line in [`catalogue::CHECKS`].

pub mod access;
pub mod attachments;
pub mod auth;
pub mod callahead;
pub mod catalogue;
mod clamd;
mod command;
pub mod content;
pub mod dnsbl;
pub mod embedded;
pub mod envelope;
pub mod greylist;
pub mod gtube;
mod icap;
mod lists;
pub mod local_lists;
pub mod malware;
pub mod p0f;
pub mod rates;
pub mod recipients;
pub mod rules;
pub mod run;
pub mod structure;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_auth::authentication::Authentication;
use gatepost_mail::{
    Action, Counts, Envelope, Fault, Finding, Hit, Mail, OnFault, Points, Recipient, Session,
};

pub use catalogue::{CHECKS, Entry, Resources, symbols};
pub use run::CheckSet;

/// What a check answers at a stage: None when it has nothing to do there; else what it found, or that it could not
/// look. A check made of several engines puts the faults of some of them beside what the others found.
pub type Answer<'a> = Option<BoxFuture<'a, Result<Found, Fault>>>;

/// A check. It gets exactly the data that exists at each stage, and by default finds nothing.
pub trait Check: Send + Sync {
    /// Its name, with the instance where there are several: `dnsbl:zen`.
    fn name(&self) -> &str;

    /// Longest it may take at one stage; beyond it `run` makes a fault of it.
    fn time(&self) -> Duration;

    /// What its configuration says shall happen when it cannot look.
    fn on_fault(&self) -> OnFault;

    /// A client has connected.
    fn on_connect<'a>(&'a self, _session: &'a Session) -> Answer<'a> {
        None
    }

    /// The client has said who it is.
    fn on_hello<'a>(&'a self, _session: &'a Session) -> Answer<'a> {
        None
    }

    /// A sender is named. There are no recipients yet.
    fn on_sender<'a>(&'a self, _session: &'a Session, _envelope: &'a Envelope) -> Answer<'a> {
        None
    }

    /// A recipient is named. Findings are about [`gatepost_mail::Scope::Recipient`] of its future place.
    fn on_recipient<'a>(
        &'a self,
        _session: &'a Session,
        _envelope: &'a Envelope,
        _recipient: &'a Recipient,
    ) -> Answer<'a> {
        None
    }

    /// Nothing that is known speaks against a recipient: what counts, keeps a memory or asks elsewhere looks now
    /// (greylisting, rates, call-ahead). `known` holds all that was found of session, sender and this recipient.
    fn on_admit<'a>(
        &'a self,
        _session: &'a Session,
        _envelope: &'a Envelope,
        _recipient: &'a Recipient,
        _known: &'a Found,
    ) -> Answer<'a> {
        None
    }

    /// A recipient that this client named does not exist.
    fn on_wrong_recipient<'a>(&'a self, _session: &'a Session) -> Option<BoxFuture<'a, ()>> {
        None
    }

    /// Looks up the client's name for the next hop, whether restrictions ask for it or not. Only its `client_name` counts.
    fn client_name<'a>(&'a self, _session: &'a Session) -> Answer<'a> {
        None
    }

    /// The whole message is here. `known` holds what the stages before found and, in the second wave, the first.
    fn on_mail<'a>(&'a self, _mail: &'a Mail, _known: &'a Found) -> Answer<'a> {
        None
    }

    /// These recipients, by their places in the envelope, would get the message, which has this score for them. Whose sender
    /// shall come again first is a finding about that recipient (greylisting by score).
    fn after_data<'a>(
        &'a self,
        _session: &'a Session,
        _envelope: &'a Envelope,
        _recipients: &'a [usize],
        _score: Points,
        _known: &'a Found,
    ) -> Answer<'a> {
        None
    }

    /// Names of symbols that it may find besides those of the catalogue, and whether they may change while it runs.
    fn more_symbols(&self) -> Option<(BTreeSet<Box<str>>, bool)> {
        None
    }

    /// Bytes of text that it wants of the documents in a message of that size, also in bytes; reading them takes its time.
    fn most_text(&self, _size: u64) -> u64 {
        0
    }

    /// Makes ready what the first message would otherwise wait for. Blocks; called once, where many messages are to come.
    fn warm(&self) {}

    /// Whether whatever it depends on is there: one line for each such thing, none where it depends on nothing.
    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Reads again what it took from files, if they have changed. May block; called every few seconds, off the path
    /// of mail.
    fn reload(&self) {}

    /// Somebody says that signatures of malware have changed: forgets what it remembers of the old ones.
    fn forget(&self) {}

    /// And takes the new ones, or has them taken.
    fn renew<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// State of something that a check depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its name, as in faults: `clamd:main`.
    pub name: String,
    /// Mail is held or deferred while it is away, unless another stands in for it.
    pub vital: bool,
    /// A few words on it (its version), or why it cannot be used.
    pub state: Result<String, String>,
}

/// The answer of a check that looks now.
pub fn looking<'a>(future: impl Future<Output = Result<Found, Fault>> + Send + 'a) -> Answer<'a> {
    Some(Box::pin(future))
}

/// The answer of a check that has looked already.
pub fn looked<'a>(found: Result<Found, Fault>) -> Answer<'a> {
    looking(std::future::ready(found))
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
    pub name: Cow<'static, str>,
    /// What it means, in one line.
    pub meaning: Cow<'static, str>,
    /// What it counts for unless a policy says otherwise.
    pub counts: Counts,
}

impl SymbolInfo {
    /// A symbol that is there in every configuration.
    pub const fn new(name: &'static str, meaning: &'static str, counts: Counts) -> SymbolInfo {
        SymbolInfo { name: Cow::Borrowed(name), meaning: Cow::Borrowed(meaning), counts }
    }
}

/// Everything that checks found at one stage.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Findings, in catalogue order whatever the order they came in.
    pub findings: Vec<Finding>,
    /// Checks that could not look.
    pub faults: Vec<Fault>,
    /// How long each check took; for checks made of several engines, each engine too.
    pub times: Vec<(String, Duration)>,
    /// What access maps say.
    pub access: Vec<Hit>,
    /// Header fields that tell what was found, to be added on top of the message.
    pub fields: Vec<(String, String)>,
    /// What rules put before the subject, each with a space behind it, by the rules' names.
    pub prefixes: Vec<(String, String)>,
    /// Recipients, by their place, whose access map wants the message held or discarded, and why.
    pub forced: Vec<(usize, Action, String)>,
    /// The client's name, if its address has one that leads back to it.
    pub client_name: Option<String>,
    /// What sender authentication came to.
    pub authentication: Option<Arc<Authentication>>,
}

impl From<Vec<Finding>> for Found {
    fn from(findings: Vec<Finding>) -> Found {
        Found { findings, ..Found::default() }
    }
}

impl Found {
    /// Adds what others found.
    pub fn merge(&mut self, other: Found) {
        self.findings.extend(other.findings);
        self.faults.extend(other.faults);
        self.times.extend(other.times);
        self.access.extend(other.access);
        // What is said of each recipient is said once for all of them.
        for field in other.fields {
            if !self.fields.contains(&field) {
                self.fields.push(field);
            }
        }
        self.prefixes.extend(other.prefixes);
        self.forced.extend(other.forced);
        self.client_name = other.client_name.or(self.client_name.take());
        self.authentication = other.authentication.or(self.authentication.take());
    }
}

/// Mails made by hand, for the tests of checks.
#[cfg(test)]
pub(crate) mod testing {
    use gatepost_mail::{
        Defect, DefectKind, Digested, Envelope, FileType, Headers, Mail, Message, Origin, Part, PartId,
        Session,
    };

    /// A mail of these bytes, with parts of these declared types and contents; the first holds the others.
    pub fn mail(raw: &str, parts: &[(&str, &str)]) -> Mail {
        let part = |(place, (declared, body)): (usize, &(&str, &str))| Part {
            parent: (place > 0).then_some(PartId(0)),
            depth: u32::from(place > 0),
            origin: Origin::Mime,
            headers: Headers::default(),
            span: None,
            names: Vec::new(),
            declared: (*declared).into(),
            charset: None,
            attachment: false,
            detected: if declared.starts_with("text/") { FileType::TEXT } else { FileType::DATA },
            body: body.to_string().into(),
            digest: Digested::default(),
            container: declared.starts_with("multipart/"),
            encrypted: false,
        };
        let message = Message {
            parts: parts.iter().enumerate().map(part).collect(),
            ..Message::unread(raw.to_owned().into())
        };
        Mail { session: Session::default(), envelope: Envelope::default(), message }
    }

    /// What malware engines share, with an empty memory.
    pub(in crate::checks) fn outside() -> super::malware::Outside {
        use crate::resources::verdicts::{VerdictCounters, Verdicts};
        let verdicts = Verdicts::new(&Default::default(), VerdictCounters::default());
        super::malware::Outside { names: Default::default(), verdicts }
    }

    /// A mail of one part and these defects.
    pub fn defective(defects: &[(DefectKind, usize, &str)]) -> Mail {
        let mut mail = mail("Subject: a\r\n\r\n", &[("text/plain", "")]);
        mail.message.defects = defects
            .iter()
            .map(|&(kind, part, detail)| Defect { kind, part: PartId(part), detail: detail.into() })
            .collect();
        mail
    }
}
