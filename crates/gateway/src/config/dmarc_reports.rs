//! `[dmarc_reports]`: aggregate reports to the domains that ask for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Aggregate reports to the domains that ask for them in their DMARC records (RFC 9990).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DmarcReports {
    /// Send them once a day, for the day before (in UTC), by the next hop of released mail. Needs `email`.
    pub enabled: bool,
    /// Name of your organization in reports. Default: the domain of `email`.
    pub org_name: String,
    /// Address that reports come from, and for questions about them; bounces come here. Its domain must pass DMARC, so
    /// let your mail server sign what leaves it. As soon as it is set, what reports need is recorded.
    pub email: String,
    /// Another way to reach you, that stands in reports: a web page, a telephone number.
    pub extra_contact: String,
}

impl DmarcReports {
    /// Whether what reports need is recorded.
    pub fn records(&self) -> bool {
        !self.email.is_empty()
    }

    /// What is wrong with `email`, if anything; it is written into mails as it stands.
    pub fn problem(&self) -> Option<String> {
        let Some((local, domain)) = self.email.rsplit_once('@') else {
            let text = format!("{:?} is not an address; write dmarc@example.org", self.email);
            return (self.enabled || self.records()).then_some(text);
        };
        let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        let sound = !local.is_empty()
            && local.len() <= 64
            && local.bytes().all(is_atom)
            && gatepost_auth::dmarc::ascii_name(domain).is_some_and(|name| name.eq_ignore_ascii_case(domain));
        (!sound).then(|| format!("{:?} is not a plain address; write dmarc@example.org", self.email))
    }
}
