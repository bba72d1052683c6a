//! `[checks.greylist]`: who must come again.

use std::path::PathBuf;

use gatepost_mail::{OnFault, Points};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Net, Seconds};

/// Greylisting: who is not known yet is asked to come again later, which mail servers do and most senders of unsolicited
/// mail do not. Restriction `greylist` puts it into a list of restrictions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Greylist {
    /// `always`: whoever is not known, at RCPT. `suspicious`: only where something else speaks against the mail: one of
    /// the symbols in `suspicious` at RCPT, or a score of `from_score` when the message is there.
    pub mode: GreylistMode,
    /// How long a client, sender and recipient that are new together must wait.
    pub delay: Seconds,
    /// Longest that may pass until they come again; after that they are new. At least `delay`.
    pub retry_window: Seconds,
    /// How long they are remembered after they were seen last, once they have come again.
    pub max_age: Seconds,
    /// Bits of an IPv4 address that stand for the client: 24 lets servers of one network come again for each other.
    pub ipv4_prefix: u8,
    /// The same for IPv6.
    pub ipv6_prefix: u8,
    /// The whole address stands for the client, whatever the prefixes: postgrey's `--lookup-by-host`.
    pub lookup_by_host: bool,
    /// A client whose mail has come again so many times (counted once an hour) is known, and not asked to wait again
    /// until it has been away for `max_age`. 0: no client is learnt to be known.
    pub auto_whitelist_clients: u32,
    /// Files of clients that never wait, in postgrey's form or that of Postfix's access tables. Read again when they
    /// change.
    pub client_whitelists: Vec<PathBuf>,
    /// Files of recipients whose senders never wait.
    pub recipient_whitelists: Vec<PathBuf>,
    /// Symbols that speak for a client or sender so that they do not wait: `SPF_PASS`, or `DNSWL_*` for all that begin
    /// so.
    pub known_good: Vec<String>,
    /// Symbols that make a client or sender suspicious at RCPT. For `mode = "suspicious"`.
    pub suspicious: Vec<String>,
    /// Recipients whose message has so many points and would yet be delivered must wait, after DATA (451 4.7.1). For
    /// `mode = "suspicious"`. Not set: the content does not count.
    pub from_score: Option<Points>,
    /// What is said to those who must wait: `%s` stands for the seconds they have to, `%r` for the recipient's domain.
    pub text: String,
    /// Header field on mail that has waited: `%t` stands for the seconds since it came first, `%h` for our host name, `%d`
    /// for the date. Empty: none.
    pub header: String,
    /// What happens when what is remembered cannot be read or written: `accept` or `defer`.
    pub on_fault: OnFault,
    /// Networks that never wait, besides those of `networks`.
    pub networks: Vec<Net>,
}

/// Who must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GreylistMode {
    /// Whoever is not known.
    Always,
    /// Whoever is not known and suspicious.
    Suspicious,
}

impl Default for Greylist {
    fn default() -> Greylist {
        Greylist {
            mode: GreylistMode::Always,
            delay: Seconds::new(300),
            retry_window: Seconds::new(2 * 86_400),
            max_age: Seconds::new(35 * 86_400),
            ipv4_prefix: 24,
            ipv6_prefix: 64,
            lookup_by_host: false,
            auto_whitelist_clients: 5,
            client_whitelists: Vec::new(),
            recipient_whitelists: Vec::new(),
            known_good: vec!["DNSWL_*".into()],
            suspicious: vec!["DNSBL_*".into()],
            from_score: None,
            text: "Greylisted, try again in %s seconds".into(),
            header: "X-Greylist: delayed %t seconds by gatepost at %h; %d".into(),
            on_fault: OnFault::Accept,
            networks: Vec::new(),
        }
    }
}
