//! The record of one message: everything that `gatepost explain`, `gatepost scan --json` and the console show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatepost_mail::{Action, Category, Cause, Direction, OnFault, Points};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// The record of one message. Serialised as it is into the journal and into vault entries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its id, 12 letters and digits; the reply to the client carries it.
    pub id: String,
    /// When judging ended.
    #[schema(value_type = String, format = DateTime)]
    pub time: jiff::Timestamp,
    /// Listener it came by; `scan` for files.
    pub listener: String,
    /// Client address.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// Client name, where known.
    pub client_name: Option<String>,
    /// HELO.
    pub helo: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `LMTP` …, as in a Received field.
    pub protocol: String,
    /// Authenticated user.
    pub user: Option<String>,
    /// Which way it went.
    #[schema(schema_with = schema::direction)]
    pub direction: Direction,
    /// Envelope sender; None is `<>`.
    pub sender: Option<String>,
    /// Envelope recipients.
    pub recipients: Vec<String>,
    /// From field.
    pub from: String,
    /// Subject.
    pub subject: String,
    /// Message-ID.
    pub message_id: String,
    /// Size of the message in bytes.
    pub size: u64,
    /// Worst category of all verdicts.
    #[schema(schema_with = schema::category)]
    pub category: Category,
    /// Highest score of all verdicts.
    #[schema(value_type = f64)]
    pub score: Points,
    /// Action of the verdict with the worst category.
    #[schema(schema_with = schema::action)]
    pub action: Action,
    /// Its policy.
    pub policy: String,
    /// All that was found.
    pub findings: Vec<FindingRecord>,
    /// Checks that could not look.
    pub faults: Vec<FaultRecord>,
    /// What sender authentication came to.
    #[serde(default)]
    pub authentication: Vec<AuthenticationRecord>,
    /// What the message is made of.
    pub parts: Vec<PartRecord>,
    /// What is malformed in it.
    pub defects: Vec<DefectRecord>,
    /// The verdicts.
    pub verdicts: Vec<VerdictRecord>,
    /// Microseconds spent, by stage and check.
    pub times_us: BTreeMap<String, u64>,
    /// What the client was told, one line an answer.
    pub replies: Vec<String>,
    /// What the next hop said, when the message went there, with its name: `smtp://127.0.0.1:10026: 250 2.0.0 Ok`.
    pub next_hop: Option<String>,
    /// Key of the original in the vault, when it is held: `l/l1bnIZN88okd`.
    pub quarantine: Option<String>,
    /// What notices about it need besides; not set where nobody is told of its sender or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<NoticeRecord>,
}

/// What notices need of a message besides the rest of its record.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NoticeRecord {
    /// Its sender is one of ours, and a person, and may be told by mail what became of it.
    pub sender: bool,
    /// Its header, as far as it is not too long.
    pub header: String,
}

/// A judged file or request: its record, and what it is called. What `gatepost scan --json` prints a line of.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Scanned<'a> {
    /// Its name; `-` where it has none.
    #[schema(value_type = String)]
    pub file: &'a str,
    /// Its record.
    #[serde(flatten)]
    #[schema(value_type = Record)]
    pub record: &'a Record,
}

impl Record {
    /// Nobody waits for what is in the vault: it is a copy of mail that was delivered or refused.
    pub fn is_copy(&self) -> bool {
        // What was put back from a vault file has no outcomes; its story ended before there were any.
        let told = self.verdicts.iter().all(|verdict| !verdict.outcome.is_empty());
        let none_held = !self.verdicts.iter().any(VerdictRecord::is_held);
        self.quarantine.is_some() && !self.verdicts.is_empty() && told && none_held
    }
}

impl Record {
    /// Nothing was done about the message: somebody asked for an opinion and got it.
    pub fn advised(&mut self) {
        self.verdicts.iter_mut().for_each(|verdict| verdict.outcome = ADVISED.into());
    }

    /// Whether it stands for an opinion that was asked for.
    pub fn is_advice(&self) -> bool {
        !self.verdicts.is_empty() && self.verdicts.iter().all(|verdict| verdict.outcome == ADVISED)
    }
}

/// The outcome of an opinion.
const ADVISED: &str = "advised";

impl VerdictRecord {
    /// Some of its recipients, or all, wait for what is in the vault.
    pub fn is_held(&self) -> bool {
        self.outcome.split("; ").any(|outcome| outcome.starts_with("held"))
    }
}

/// A finding.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingRecord {
    /// What.
    pub symbol: String,
    /// Points in the verdict with the worst category.
    #[schema(value_type = f64)]
    pub weight: Points,
    /// `mail`, `recipient user@example.org` or `part 2/a.zip/b.exe`.
    pub scope: String,
    /// Proof.
    pub evidence: String,
    /// What the symbol means, where it is a rule that says so; others are in the list of symbols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// One result of sender authentication.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuthenticationRecord {
    /// `spf`, `dkim`, `arc`, `dmarc`, or `auth` for a user who had logged in.
    pub method: String,
    /// `pass`, `fail`, `none` … (RFC 8601).
    pub result: String,
    /// What it is about: `smtp.mailfrom=user@example.org`.
    pub about: String,
    /// Why.
    pub why: String,
}

/// A fault.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultRecord {
    /// Which check.
    pub check: String,
    /// What kind.
    #[schema(schema_with = schema::cause)]
    pub cause: Cause,
    /// Details.
    pub detail: String,
    /// What its configuration says to do then.
    #[schema(schema_with = schema::on_fault)]
    pub answer: OnFault,
}

/// A part.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartRecord {
    /// Where it stands.
    pub path: String,
    /// Its names; the first is the usual one.
    pub names: Vec<String>,
    /// The usual name.
    pub name: Option<String>,
    /// Declared media type.
    pub declared: String,
    /// Type by content, short name.
    pub detected: String,
    /// Size of the decoded content.
    pub size: u64,
    /// SHA-256 of the decoded content, hex.
    pub digest: String,
}

/// A defect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DefectRecord {
    /// Its name.
    pub name: String,
    /// Path of the part.
    pub path: String,
    /// Proof.
    pub detail: String,
}

/// A verdict.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictRecord {
    /// Whom it is for.
    pub recipients: Vec<String>,
    /// Policy.
    pub policy: String,
    /// Category.
    #[schema(schema_with = schema::category)]
    pub category: Category,
    /// Sum of the points.
    #[schema(value_type = f64)]
    pub score: Points,
    /// What was to be done.
    #[schema(schema_with = schema::action)]
    pub action: Action,
    /// Why, in a few words.
    pub reason: String,
    /// What each finding counted.
    pub weighed: Vec<WeighedRecord>,
    /// What was done with parts of what was delivered.
    #[serde(default)]
    pub parts: Vec<TreatedRecord>,
    /// What became of it: `delivered: 250 2.0.0 Ok`, `refused: 550 …`, `held: l/l1bnIZN88okd`, `discarded`,
    /// `bounced: 250 2.0.0 Ok`, `deferred: 451 …`; `advised` where somebody only asked.
    pub outcome: String,
}

/// What was done with a part.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TreatedRecord {
    /// Where it stands; empty for the message itself.
    pub path: String,
    /// Its name.
    pub name: Option<String>,
    /// `replaced`, `renamed to a.exe.disarmed`, `cleaned`, `defanged: scripts, forms`; in brackets behind it why it is not
    /// what was asked for.
    pub done: String,
}

impl TreatedRecord {
    /// What people call it: its name, else where it stands.
    pub fn shown(&self) -> &str {
        match (self.name.as_deref(), self.path.as_str()) {
            (Some(name), _) => name,
            (None, "") => "message",
            (None, path) => path,
        }
    }
}

/// What a finding counted in a verdict.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeighedRecord {
    /// Symbol.
    pub symbol: String,
    /// Points.
    #[schema(value_type = f64)]
    pub points: Points,
    /// Category it put the mail in.
    #[schema(schema_with = schema::category_or_null)]
    pub category: Option<Category>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::record;
    use super::Record;

    #[test]
    fn the_json_that_scan_and_the_journal_show() {
        let json = serde_json::to_value(record("l1bnIZN88okd")).unwrap();
        for (pointer, value) in [
            ("/id", json!("l1bnIZN88okd")),
            ("/time", json!("2026-03-01T12:30:00.25Z")),
            ("/client", json!("192.0.2.1")),
            ("/direction", json!("inbound")),
            ("/category", json!("virus")),
            ("/score", json!(8.43)),
            ("/action", json!("refuse")),
            ("/policy", json!("default")),
            (
                "/findings/1",
                json!({"symbol": "DNSBL_ZEN", "weight": 5.0, "scope": "mail", "evidence": "127.0.0.2"}),
            ),
            ("/faults/0/check", json!("clamd:second")),
            ("/faults/0/cause", json!("timeout")),
            (
                "/parts/0",
                json!({
                    "path": "2/a.zip/b.exe", "names": ["b.exe"], "name": "b.exe", "declared": "", "detected": "exe",
                    "size": 68, "digest": "275a021b"
                }),
            ),
            ("/defects/0/name", json!("MISSING_DATE")),
            ("/verdicts/0/weighed/0", json!({"symbol": "VIRUS", "points": 0.0, "category": "virus"})),
            ("/times_us/read", json!(310)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
        }
        let back: Record = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), json);
    }
}
