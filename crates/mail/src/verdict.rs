//! What was decided, for whom, and why.

use std::fmt;
use std::sync::Arc;

use crate::{Category, Defang, Edit, PartId, Points};

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// To the next hop.
    Deliver,
    /// To the next hop, marked: subject tag, spam headers, address extension, as the policy says.
    Mark,
    /// To the next hop inside a new message, behind a text that says what it is.
    Wrap,
    /// To the next hop with the bad parts replaced by a text, renamed or cleaned; the original is held.
    Strip,
    /// Held in the vault; the sender gets 250.
    Quarantine,
    /// Taken and thrown away. Only where configured, always journalled.
    Discard,
    /// Not delivered. Before the queue the same as `refuse`, so that the sender's server tells the sender; behind our own
    /// server's queue gatepost tells it, where a sender can safely be told, and holds the message where not.
    Bounce,
    /// 4xx: the sender tries again.
    Defer,
    /// 5xx: the sender keeps it.
    Refuse,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 9] = [
        Action::Deliver,
        Action::Mark,
        Action::Wrap,
        Action::Strip,
        Action::Quarantine,
        Action::Discard,
        Action::Bounce,
        Action::Defer,
        Action::Refuse,
    ];

    /// The name used in configuration, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Deliver => "deliver",
            Action::Mark => "mark",
            Action::Wrap => "wrap",
            Action::Strip => "strip",
            Action::Quarantine => "quarantine",
            Action::Discard => "discard",
            Action::Bounce => "bounce",
            Action::Defer => "defer",
            Action::Refuse => "refuse",
        }
    }

    /// Whether the message goes on to the next hop.
    pub const fn delivers(self) -> bool {
        matches!(self, Action::Deliver | Action::Mark | Action::Wrap | Action::Strip)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The judgement for a group of recipients that share a policy and a result.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Places in [`crate::Envelope::recipients`]. Empty only where there is no envelope.
    pub recipients: Vec<usize>,
    /// Name of the policy that applied.
    pub policy: Arc<str>,
    /// The worst category.
    pub category: Category,
    /// Sum of the points in `weighed`.
    pub score: Points,
    /// What each finding of these recipients counted for, in the order of the findings.
    pub weighed: Vec<Weighed>,
    /// What to do.
    pub action: Action,
    /// Keep the original in the vault as well, whatever the action.
    pub keep: bool,
    /// Changes for delivery.
    pub edits: Vec<Edit>,
    /// What these changes do to parts, in the order of the parts.
    pub treated: Vec<Treated>,
    /// Put behind the local part of the recipients on delivery, delimiter included: `+spam`.
    pub extension: Option<String>,
    /// What the client is told if this verdict alone decides. For delivery it is the next hop's reply that counts.
    pub reply: Reply,
    /// Why, in a few words, for the log and the record: the virus's name, the banned name, the fault.
    pub reason: String,
    /// Whether the sender is told, where the policy says bounce.
    pub bounce: Bounce,
}

impl Verdict {
    /// Whether something that came is not in what is delivered, or not under its name: the original must be somewhere.
    pub fn takes_out(&self) -> bool {
        let is_kept = |treated: &Treated| !matches!(treated.how, Treatment::Defanged(_));
        self.action == Action::Strip || (self.action.delivers() && self.treated.iter().any(is_kept))
    }

    /// Whether whoever can change the header only must not let it on: something would stay in it that is to go, or it would
    /// not be wrapped. Defanging and texts are left out there.
    pub fn needs_body(&self) -> bool {
        let wraps = |edit: &Edit| matches!(edit, Edit::Wrap { .. });
        self.takes_out() || (self.action.delivers() && self.edits.iter().any(wraps))
    }
}

/// What is done with one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treated {
    /// Which.
    pub part: PartId,
    /// What.
    pub how: Treatment,
    /// Why it is not what was asked for: `could not be cleaned: encrypted`. Empty where it is.
    pub note: String,
    /// Places of the findings that it is done for.
    pub findings: Vec<usize>,
}

/// What can be done with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// A text stands in its place.
    Replaced,
    /// It has this name.
    Renamed(String),
    /// What acts by itself is taken out of it.
    Cleaned,
    /// These are taken out of its HTML.
    Defanged(Vec<Defang>),
}

/// `replaced`, `renamed to a.exe.disarmed`, `cleaned`, `defanged: scripts, forms`; the note in brackets behind it.
impl fmt::Display for Treated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            Treatment::Replaced => f.write_str("replaced")?,
            Treatment::Renamed(name) => write!(f, "renamed to {name}")?,
            Treatment::Cleaned => f.write_str("cleaned")?,
            Treatment::Defanged(what) => {
                let names: Vec<&str> = what.iter().map(|what| name(*what)).collect();
                write!(f, "defanged: {}", names.join(", "))?;
            }
        }
        match self.note.as_str() {
            "" => Ok(()),
            note => write!(f, " ({note})"),
        }
    }
}

/// As in configuration.
const fn name(what: Defang) -> &'static str {
    match what {
        Defang::Scripts => "scripts",
        Defang::Forms => "forms",
        Defang::Frames => "frames",
        Defang::Objects => "objects",
        Defang::RemoteContent => "remote-content",
        Defang::TrackingPixels => "tracking-pixels",
        Defang::Links => "links",
    }
}

/// What the sender is told by mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bounce {
    /// Nothing: the policy does not say bounce, or the sender's server tells it.
    #[default]
    None,
    /// That it was not delivered; the action is [`Action::Bounce`].
    Tell {
        /// What would have been said on the line: its code and status stand in the notification.
        refusal: Reply,
        /// What people read.
        text: String,
    },
    /// The policy says bounce, but no bounce is safe here: why. The message is held instead.
    Unsafe(&'static str),
}

/// One finding's part in a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Place in the list of findings.
    pub finding: usize,
    /// Points it added, zero if it counted as a category only.
    pub points: Points,
    /// Category it put the mail in, if any.
    pub category: Option<Category>,
}

/// A reply of SMTP: code, enhanced code (RFC 3463) and text without either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// `5.7.1`, or empty where there is none.
    pub enhanced: String,
    /// Text; several lines are parted by `\n`.
    pub text: String,
}

impl Reply {
    /// A reply.
    pub fn new(code: u16, enhanced: &str, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: enhanced.into(), text: text.into() }
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// On one line: `550 5.7.1 Virus detected`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.enhanced.is_empty() {
            write!(f, " {}", self.enhanced)?;
        }
        write!(f, " {}", self.text.replace('\n', " "))
    }
}
