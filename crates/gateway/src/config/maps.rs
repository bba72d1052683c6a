//! `[maps]`, `[recipients]` and `[callahead]`: tables that are looked up in, and who our recipients are.

use gatepost_mail::OnFault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::units::Seconds;

/// How tables are looked up in: those of `check_client_access TYPE:FILE` and its like in `[restrictions]`, and those of
/// `[recipients]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Maps {
    /// Longest that one look-up in a directory or database may take. A `timeout` in the file of an LDAP table may be
    /// shorter.
    pub time: Seconds,
    /// How long an answer of a directory or database is remembered, also that there is none. 0: not at all.
    pub cache: Seconds,
    /// Answers that are remembered for each table.
    pub cached: u32,
    /// Connections to each database server for each table.
    pub connections: u32,
    /// What happens when a table of a restriction cannot be asked: `defer` puts the client off with 450 4.3.0 where
    /// nothing else refuses it, `accept` goes on as if the table said nothing.
    pub on_fault: OnFault,
    /// In access maps `example.org` matches its subdomains, too; else `.example.org` does. As Postfix's
    /// `parent_domain_matches_subdomains` with `smtpd_access_maps` in it, which is its default.
    pub parent_domain_matches_subdomains: bool,
    /// What the empty sender is looked up as. Postfix's `smtpd_null_access_lookup_key`.
    pub null_sender_key: String,
    /// Characters that part a local part from its extension: `user+extension`. Postfix's `recipient_delimiter`. Empty:
    /// there are no extensions.
    pub recipient_delimiter: String,
}

/// Who our recipients are. `reject_unlisted_recipient` goes by it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recipients {
    /// Tables of all recipients in our `domains`, `TYPE:FILE` each: one that is in none of them does not exist. Empty:
    /// nothing is said of recipients.
    pub maps: Vec<String>,
    /// Local parts that always exist, in each of our domains (RFC 5321 section 4.5.1, RFC 2142).
    pub always: Vec<String>,
    /// What happens when a table cannot be asked and no other knows the recipient: `defer` puts it off, `accept` leaves
    /// it to the next hop.
    pub on_fault: OnFault,
}

/// Asking the next hop whether it takes a recipient, for `reject_unverified_recipient`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallAhead {
    /// Who is asked: `smtp://host:port`. Several: the first that answers. Empty: the next hop of the listener that the
    /// client has come by.
    pub next_hop: Vec<String>,
    /// Longest to wait for an answer.
    pub time: Seconds,
    /// Questions at once.
    pub at_once: u32,
    /// How long it is remembered that a recipient exists.
    pub positive_expire: Seconds,
    /// After this it is asked again, beside, while the old answer still counts.
    pub positive_refresh: Seconds,
    /// How long it is remembered that a recipient does not exist.
    pub negative_expire: Seconds,
    /// After this it is asked again, beside, while the old answer still counts.
    pub negative_refresh: Seconds,
    /// What happens when the next hop cannot be asked or is undecided itself: `defer` puts the recipient off, `accept`
    /// takes it.
    pub on_fault: OnFault,
}

impl Default for Maps {
    fn default() -> Maps {
        Maps {
            time: Seconds::new(10),
            cache: Seconds::new(10),
            cached: 10_000,
            connections: 4,
            on_fault: OnFault::Defer,
            parent_domain_matches_subdomains: true,
            null_sender_key: "<>".into(),
            recipient_delimiter: "+".into(),
        }
    }
}

impl Default for Recipients {
    fn default() -> Recipients {
        let always = ["postmaster", "abuse", "mailer-daemon"].map(String::from).to_vec();
        Recipients { maps: Vec::new(), always, on_fault: OnFault::Defer }
    }
}

impl Default for CallAhead {
    fn default() -> CallAhead {
        const DAY: u64 = 86_400;
        CallAhead {
            next_hop: Vec::new(),
            time: Seconds::new(10),
            at_once: 20,
            positive_expire: Seconds::new(31 * DAY),
            positive_refresh: Seconds::new(7 * DAY),
            negative_expire: Seconds::new(3 * DAY),
            negative_refresh: Seconds::new(3 * 3600),
            on_fault: OnFault::Defer,
        }
    }
}

impl Config {
    /// All restrictions that are configured anywhere: the key each stands at, and its text without `warn_if_reject`.
    pub fn all_restrictions(&self) -> Vec<(String, String)> {
        let general = &self.restrictions;
        let mut lists: Vec<(String, &[String])> = [
            ("client", &general.client),
            ("helo", &general.helo),
            ("sender", &general.sender),
            ("relay", &general.relay),
            ("recipient", &general.recipient),
        ]
        .map(|(name, list)| (format!("restrictions.{name}"), list.as_slice()))
        .to_vec();
        for (place, listener) in self.listener.iter().enumerate() {
            let own = [
                ("client", &listener.client_restrictions),
                ("helo", &listener.helo_restrictions),
                ("sender", &listener.sender_restrictions),
                ("relay", &listener.relay_restrictions),
                ("recipient", &listener.recipient_restrictions),
            ];
            lists.extend(own.into_iter().filter_map(|(name, list)| {
                Some((format!("listener[{place}].{name}_restrictions"), list.as_deref()?))
            }));
        }
        let mut all = Vec::new();
        for (key, list) in lists {
            for (place, text) in list.iter().enumerate() {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let plain = text.strip_prefix("warn_if_reject ").unwrap_or(&text);
                all.push((format!("{key}[{place}]"), plain.to_owned()));
            }
        }
        all
    }
}
