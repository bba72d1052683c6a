//! One log line a message, in the form that amavis users know, and the same as fields for structured logs.

use std::fmt::Write;
use std::time::Duration;

use gatepost_mail::{Action, Category, Points};

use super::text::clean;
use super::{Record, VerdictRecord};
use crate::config::typed::LogFormat;

/// Longest address, reason or Message-ID in a line, in characters.
const MAX_TEXT: usize = 200;
/// Parts of which is told what was done.
const MAX_PARTS: usize = 5;
/// Recipients that are named; the others are counted.
const MAX_RECIPIENTS: usize = 20;

/// The line: `Blocked INFECTED (Eicar-Test-Signature) {Refused,Quarantined}, [192.0.2.1] <sender> -> <rcpt>,
/// quarantine: l/l1bnIZN88okd, Message-ID: <…>, mail_id: l1bnIZN88okd, Hits: 8.43, size: 1234, 4730 ms`. What comes
/// from outside is escaped and cut, so that a line stays one line. `Hits: -` means that nothing counted points.
pub fn log_line(record: &Record, elapsed: Duration) -> String {
    let fields = fields(record, elapsed);
    let mut line = format!("{} {}", fields.result, fields.content);
    // Writing to a String cannot fail.
    let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).unwrap_or_default();
    if !fields.reason.is_empty() {
        add(format_args!(" ({})", fields.reason));
    }
    add(format_args!(" {{{}}},", fields.outcome));
    if !fields.client.is_empty() {
        add(format_args!(" [{}]", fields.client));
    }
    add(format_args!(" <{}> -> {}", fields.sender, fields.recipients));
    if !fields.quarantine.is_empty() {
        add(format_args!(", quarantine: {}", fields.quarantine));
    }
    if !fields.message_id.is_empty() {
        add(format_args!(", Message-ID: {}", fields.message_id));
    }
    if !fields.parts.is_empty() {
        add(format_args!(", parts: {}", fields.parts));
    }
    add(format_args!(", mail_id: {}, Hits: {}, size: {}", fields.mail_id, fields.hits, fields.size));
    if !fields.faults.is_empty() {
        add(format_args!(", faults: {}", fields.faults));
    }
    add(format_args!(", {} ms", fields.elapsed_ms));
    line
}

/// The facts of a log line, each escaped and cut; empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `Passed` when at least one recipient gets it now, else `Blocked`; `Advised` when somebody only asked, who does
    /// with it what it likes.
    pub result: &'static str,
    /// Category in amavis's words: `CLEAN`, `SPAMMY`, `INFECTED` …
    pub content: &'static str,
    /// The virus's name, the banned name, the fault.
    pub reason: String,
    /// What was done: `Refused,Quarantined`.
    pub outcome: String,
    /// Client address.
    pub client: String,
    /// Envelope sender without brackets.
    pub sender: String,
    /// Recipients in brackets, parted by commas.
    pub recipients: String,
    /// Key in the vault.
    pub quarantine: String,
    /// Message-ID.
    pub message_id: String,
    /// The record's id.
    pub mail_id: String,
    /// Score, or `-`.
    pub hits: String,
    /// Bytes.
    pub size: u64,
    /// What was done with parts: `a.exe replaced; b.doc cleaned`.
    pub parts: String,
    /// Checks that could not look: `clamd:main timeout`.
    pub faults: String,
    /// Milliseconds.
    pub elapsed_ms: u64,
}

/// The facts of a log line.
pub fn fields(record: &Record, elapsed: Duration) -> Fields {
    let faults: Vec<String> = record
        .faults
        .iter()
        .take(10)
        .map(|fault| clean(&format!("{} {}", fault.check, fault.cause), 80))
        .collect();
    let worst = record.verdicts.iter().filter(|verdict| verdict.category == record.category);
    let reason =
        worst.map(|verdict| verdict.reason.as_str()).find(|reason| !reason.is_empty()).unwrap_or_default();
    Fields {
        result: match is_passed(record) {
            _ if record.is_advice() => "Advised",
            true => "Passed",
            false => "Blocked",
        },
        content: content(record.category),
        reason: clean(reason, MAX_TEXT),
        outcome: outcomes(record).join(","),
        client: record.client.map(|client| client.to_string()).unwrap_or_default(),
        sender: clean(record.sender.as_deref().unwrap_or_default(), MAX_TEXT),
        recipients: recipients(record),
        quarantine: clean(record.quarantine.as_deref().unwrap_or_default(), MAX_TEXT),
        message_id: clean(&record.message_id, MAX_TEXT),
        mail_id: record.id.clone(),
        hits: if is_scored(record) { record.score.to_string() } else { "-".into() },
        size: record.size,
        parts: parts(record),
        faults: faults.join("; "),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Logs a message under the target `gatepost::message`: as a line for people, or as fields for collectors.
pub fn log(record: &Record, elapsed: Duration, format: LogFormat) {
    match format {
        LogFormat::Text => tracing::info!(target: "gatepost::message", "{}", log_line(record, elapsed)),
        LogFormat::Json => {
            let f = fields(record, elapsed);
            tracing::info!(
                target: "gatepost::message",
                result = f.result,
                content = f.content,
                category = record.category.name(),
                action = record.action.name(),
                policy = %clean(&record.policy, MAX_TEXT),
                reason = %f.reason,
                outcome = %f.outcome,
                client = %f.client,
                sender = %f.sender,
                recipients = %f.recipients,
                quarantine = %f.quarantine,
                message_id = %f.message_id,
                mail_id = %f.mail_id,
                hits = %f.hits,
                size = f.size,
                parts = %f.parts,
                faults = %f.faults,
                elapsed_ms = f.elapsed_ms,
                "{} {}", f.result, f.content
            );
        }
    }
}

/// amavis's word for a category.
fn content(category: Category) -> &'static str {
    match category {
        Category::Clean => "CLEAN",
        Category::Spammy => "SPAMMY",
        Category::Spam => "SPAM",
        Category::Unauthenticated => "UNAUTHENTICATED",
        Category::Restricted => "RESTRICTED",
        Category::BadHeader => "BAD-HEADER",
        Category::Oversized => "OVERSIZED",
        Category::Unchecked => "UNCHECKED",
        Category::Banned => "BANNED",
        Category::Virus => "INFECTED",
    }
}

/// What became of a verdict: its outcome where one is recorded (the next hop may have refused what was to be
/// delivered), else its action.
fn done(verdict: &VerdictRecord) -> Action {
    match verdict.outcome.split([':', ' ']).next().unwrap_or_default() {
        "delivered" if verdict.action.delivers() => verdict.action,
        "delivered" => Action::Deliver,
        "refused" => Action::Refuse,
        "held" => Action::Quarantine,
        "discarded" => Action::Discard,
        "bounced" => Action::Bounce,
        "deferred" => Action::Defer,
        _ => verdict.action,
    }
}

fn is_passed(record: &Record) -> bool {
    match record.verdicts.as_slice() {
        [] => record.action.delivers(),
        verdicts => verdicts.iter().any(|verdict| done(verdict).delivers()),
    }
}

/// Every outcome once, in the order of the verdicts.
fn outcomes(record: &Record) -> Vec<&'static str> {
    let name = |action: Action| match action {
        _ if record.is_advice() => action.name(),
        Action::Deliver => "Relayed",
        Action::Mark => "RelayedTagged",
        Action::Wrap => "RelayedWrapped",
        Action::Strip => "RelayedStripped",
        Action::Quarantine => "Quarantined",
        Action::Discard => "Discarded",
        Action::Bounce => "Bounced",
        Action::Defer => "Deferred",
        Action::Refuse => "Refused",
    };
    let mut names: Vec<&str> = Vec::new();
    let actions = record.verdicts.iter().map(|verdict| name(done(verdict)));
    let alone = record.verdicts.is_empty().then(|| name(record.action));
    for outcome in actions.chain(alone).chain(record.quarantine.is_some().then_some("Quarantined")) {
        if !names.contains(&outcome) {
            names.push(outcome);
        }
    }
    names
}

/// What was done with parts, each once.
fn parts(record: &Record) -> String {
    let mut all: Vec<String> = Vec::new();
    for part in record.verdicts.iter().flat_map(|verdict| &verdict.parts) {
        let text = clean(&format!("{} {}", part.shown(), part.done), 80);
        if !all.contains(&text) {
            all.push(text);
        }
        if all.len() > MAX_PARTS {
            all[MAX_PARTS] = "…".into();
            break;
        }
    }
    all.join("; ")
}

fn recipients(record: &Record) -> String {
    let named: Vec<String> = record
        .recipients
        .iter()
        .take(MAX_RECIPIENTS)
        .map(|recipient| format!("<{}>", clean(recipient, MAX_TEXT)))
        .collect();
    let more = record.recipients.len().saturating_sub(MAX_RECIPIENTS);
    let more = if more > 0 { format!(",… (+{more})") } else { String::new() };
    format!("{}{more}", named.join(","))
}

/// Whether anything counted points.
fn is_scored(record: &Record) -> bool {
    record.score != Points::ZERO
        || record
            .verdicts
            .iter()
            .flat_map(|verdict| &verdict.weighed)
            .any(|weighed| weighed.points != Points::ZERO)
}

#[cfg(test)]
mod tests;
