//! `[checks.rules]`: rules in SpamAssassin's language.

use std::path::PathBuf;

use gatepost_mail::OnFault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Seconds, Size};

/// Rules in SpamAssassin's language: each that hits is a symbol with the rule's points, which `weights` of a policy change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Use them.
    pub enabled: bool,
    /// Folders of `.cf` and `.pre` files, or single files, in the order in which they count:
    /// `["/usr/share/spamassassin", "/etc/spamassassin"]`. Read again when they change; files that cannot be read or have new
    /// mistakes in them are not taken, the old rules stay.
    pub paths: Vec<PathBuf>,
    /// Read the rules that gatepost brings, before those of `paths`. Default: only where `paths` is empty.
    pub own: Option<bool>,
    /// Ask the DNS what rules want to know of it, and use their points for that. The rules that gatepost brings ask nothing.
    pub network: bool,
    /// Longest that a message waits for those answers. What is not answered by then counts as not listed.
    pub network_time: Seconds,
    /// Longest that rules may take for a message; those that come too late are a fault.
    pub time: Seconds,
    /// Larger messages are not looked at, as with spamc; the record says so (`RULES_SKIPPED`). Spam is small, and rules take
    /// their time for what is large.
    pub max_size: Size,
    /// What happens to a message on which rules fail: it took too long, or an expression met its limits.
    pub on_fault: OnFault,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            enabled: true,
            paths: Vec::new(),
            own: None,
            network: true,
            network_time: Seconds::new(8),
            time: Seconds::new(10),
            max_size: Size::new(512 << 10),
            on_fault: OnFault::Accept,
        }
    }
}
