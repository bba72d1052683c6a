//! `gatepost explain`: why a message was decided so.

use std::fmt::Write as _;

use clap::Args;
use gatepost_mail::Points;
use serde::Serialize;

use super::{EntryJson, Failure, Io, NOT_DONE, OK, finish, show_path, show_recipients};
use crate::records::text::clean;
use crate::records::{Entry, Event, FindingRecord, Journal, Record, Vault, VerdictRecord, find};

/// Longest text from a message on one line, in characters.
const MAX_TEXT: usize = 300;

/// Explain why a message was decided so: findings, sum, policy, faults, times, replies, and what happened since.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The id that the reply and the log show
    pub id: String,
    /// One JSON object: the whole record, its state and events
    #[arg(long)]
    pub json: bool,
}

/// Runs it. Exit status 1 when there is no such record.
pub async fn run(args: &ExplainArgs, journal: &Journal, vault: &Vault, io: &mut Io<'_>) -> u8 {
    let result = explain(args, journal, vault, io).await;
    finish(result, io)
}

async fn explain(
    args: &ExplainArgs,
    journal: &Journal,
    vault: &Vault,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let Some(entry) = find(journal, vault, &args.id).await? else {
        writeln!(io.err, "gatepost: there is no record {}", clean(&args.id, 80))?;
        return Ok(NOT_DONE);
    };
    let events = journal.events(&entry.record.id).await?;
    if args.json {
        let json = Explained { entry: EntryJson::from(&entry), events: &events };
        writeln!(io.out, "{}", serde_json::to_string(&json)?)?;
    } else {
        write!(io.out, "{}", page(&entry, &events))?;
    }
    Ok(OK)
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    entry: EntryJson<'a>,
    events: &'a [Event],
}

/// The page for people.
pub fn page(entry: &Entry, events: &[Event]) -> String {
    let record = &entry.record;
    let mut page = Page::default();
    facts(&mut page, entry);
    findings(&mut page, record);
    page.list("Authentication of the sender", &record.authentication, |told| {
        format!("{}={} {}: {}", told.method, told.result, told.about, told.why)
    });
    for (place, verdict) in record.verdicts.iter().enumerate() {
        decision(&mut page, place + 1, verdict);
    }
    page.list("Faults: checks that could not look", &record.faults, |fault| {
        let answer = format!("{:?}", fault.answer).to_lowercase();
        format!("{}: {}, so {answer}: {}", fault.check, fault.cause, fault.detail)
    });
    page.list("Defects", &record.defects, |defect| {
        let place = if defect.path.is_empty() { "message" } else { &defect.path };
        format!("{} in {place}: {}", defect.name, defect.detail)
    });
    page.list("Parts", &record.parts, |part| {
        let place = if part.path.is_empty() { "message" } else { &part.path };
        let declared = if part.declared.is_empty() { "-" } else { &part.declared };
        let name = part.name.as_deref().map(|name| format!(" “{name}”")).unwrap_or_default();
        format!(
            "{place}{name}: {declared}, by content {}, {} bytes, SHA-256 {}",
            part.detected, part.size, part.digest
        )
    });
    times(&mut page, record);
    page.list("Replies to the client", &record.replies, String::clone);
    page.list("Next hop", record.next_hop.as_slice(), String::clone);
    page.list("Since then", events, |event| {
        let detail = if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
        format!("{} {} by {}{detail}", event.time.strftime("%Y-%m-%dT%H:%M:%SZ"), event.kind, event.who)
    });
    page.text
}

/// Who sent what to whom, and where it is now.
pub(super) fn facts(page: &mut Page, entry: &Entry) {
    let record = &entry.record;
    page.heading(&format!("Message {}", record.id));
    page.fact("time", &record.time.to_string());
    let direction = format!("{:?}", record.direction).to_lowercase();
    page.fact("came by", &format!("{}, {}, {direction}", record.listener, record.protocol));
    let name = record.client_name.as_deref().map(|name| format!("{name} ")).unwrap_or_default();
    let address = record.client.map_or_else(|| "no address".to_owned(), |client| format!("[{client}]"));
    page.fact(
        "client",
        &format!("{name}{address}, HELO {}", if record.helo.is_empty() { "-" } else { &record.helo }),
    );
    if let Some(user) = &record.user {
        page.fact("user", user);
    }
    page.fact("sender", &show_path(record.sender.as_deref()));
    page.fact("recipients", &show_recipients(&record.recipients, 20));
    page.fact("from", &record.from);
    page.fact("subject", &record.subject);
    page.fact("message-id", &record.message_id);
    page.fact("size", &format!("{} bytes", record.size));
    page.fact(
        "decided",
        &format!("{}, {}, score {}, policy {}", record.category, record.action, record.score, record.policy),
    );
    if let Some(key) = &record.quarantine {
        let state = entry.state.map(|state| format!(", {state}")).unwrap_or_default();
        let since = entry.state_time.map(|time| format!(" since {}", time.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let copy = if record.is_copy() { ", a copy of what was delivered or refused" } else { "" };
        page.fact("quarantine", &format!("{key}{state}{}{copy}", since.unwrap_or_default()));
    }
    if let Some(remaining) = &entry.remaining {
        page.fact("still to get it", &show_recipients(remaining, 20));
    }
}

fn findings(page: &mut Page, record: &Record) {
    if record.findings.is_empty() {
        page.heading("Findings");
        page.line("none");
        return;
    }
    page.list("Findings", &record.findings, |finding| {
        let FindingRecord { symbol, weight, scope, evidence, meaning } = finding;
        let told = match (meaning, evidence.as_str()) {
            (Some(meaning), "") => meaning.clone(),
            (Some(meaning), evidence) => format!("{meaning}: {evidence}"),
            (None, evidence) => evidence.to_owned(),
        };
        format!("{:>8}  {symbol} ({scope}): {told}", weight.to_string())
    });
}

/// A verdict with its sum, written out so that it can be checked.
fn decision(page: &mut Page, number: usize, verdict: &VerdictRecord) {
    page.heading(&format!("Verdict {number} for {}", show_recipients(&verdict.recipients, 20)));
    let mut sum = Points::ZERO;
    for weighed in &verdict.weighed {
        sum += weighed.points;
        let category = weighed.category.map(|category| format!(" -> {category}")).unwrap_or_default();
        page.line(&format!("{:>8}  {}{category}", weighed.points.to_string(), weighed.symbol));
    }
    page.line(&format!("{:>8}  sum", sum.to_string()));
    if sum != verdict.score {
        // It must never happen; if it does, the reader has to know.
        page.line(&format!("          the verdict says {}, which is not the sum", verdict.score));
    }
    page.fact("category", verdict.category.name());
    page.fact("policy", &verdict.policy);
    page.fact("action", verdict.action.name());
    if !verdict.reason.is_empty() {
        page.fact("reason", &verdict.reason);
    }
    for part in &verdict.parts {
        page.fact("part", &format!("{}: {}", part.shown(), part.done));
    }
    if !verdict.outcome.is_empty() {
        page.fact("outcome", &verdict.outcome);
    }
}

/// Time by check, the longest first.
fn times(page: &mut Page, record: &Record) {
    let mut times: Vec<_> = record.times_us.iter().collect();
    times.sort_by_key(|(_, microseconds)| std::cmp::Reverse(**microseconds));
    page.list("Times", &times, |(check, microseconds)| {
        format!("{:>6}.{:03} ms  {check}", *microseconds / 1000, *microseconds % 1000)
    });
}

/// Text in sections; everything that goes in is made safe for a terminal.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    fn heading(&mut self, text: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.push(format_args!("{gap}{}\n", clean(text, MAX_TEXT * 10)));
    }

    fn line(&mut self, text: &str) {
        self.push(format_args!("  {}\n", clean(text, MAX_TEXT * 4)));
    }

    pub(super) fn fact(&mut self, name: &str, value: &str) {
        self.push(format_args!("  {name:<12} {}\n", clean(value, MAX_TEXT * 4)));
    }

    fn list<T>(&mut self, heading: &str, items: &[T], show: impl Fn(&T) -> String) {
        if items.is_empty() {
            return;
        }
        self.heading(heading);
        for item in items {
            self.line(&show(item));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
