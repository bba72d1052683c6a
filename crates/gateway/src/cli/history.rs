//! `gatepost history`: what was decided, the latest first.

use clap::Args;
use gatepost_mail::{Action, Category};
use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    EntryJson, Failure, Io, NOT_DONE, OK, finish, parse_action, parse_category, parse_net, parse_state,
    parse_time, show_path, show_recipients, table,
};
use crate::records::text::clean;
use crate::records::{Entry, Filter, Journal, State};

/// List what was decided about messages, the latest first.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Recipient: user@example.org, example.org (and not its subdomains), or .example.org (subdomains only)
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    pub recipient: Option<String>,
    /// Envelope sender, in the same forms; <> is the empty one
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    pub sender: Option<String>,
    /// Category: clean, spammy, spam, bad-header, oversized, unchecked, banned or virus
    #[arg(long, value_parser = parse_category)]
    pub category: Option<Category>,
    /// Action: deliver, mark, strip, quarantine, discard, bounce, defer or refuse
    #[arg(long, value_parser = parse_action)]
    pub action: Option<Action>,
    /// Client address or network
    #[arg(long, value_name = "IP|NET", value_parser = parse_net)]
    pub client: Option<IpNet>,
    /// Not before: a time (2026-03-01T12:30) or an age (3d)
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Before: a time or an age
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Stands in subject, From or Message-ID
    #[arg(long)]
    pub text: Option<String>,
    /// State of a held message: held, releasing, released, deleted, expired or missing
    #[arg(long, value_parser = parse_state)]
    pub state: Option<State>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// One JSON object a line: the whole record, and its state
    #[arg(long)]
    pub json: bool,
}

/// Runs it. Exit status 1 when nothing matches.
pub async fn run(args: &HistoryArgs, journal: &Journal, io: &mut Io<'_>) -> u8 {
    let result = list(args, journal, io).await;
    finish(result, io)
}

async fn list(args: &HistoryArgs, journal: &Journal, io: &mut Io<'_>) -> Result<u8, Failure> {
    let filter = Filter {
        recipient: args.recipient.clone(),
        sender: args.sender.clone(),
        category: args.category,
        action: args.action,
        client: args.client,
        since: args.since,
        until: args.until,
        text: args.text.clone(),
        ids: Vec::new(),
        state: args.state,
        limit: args.limit,
    };
    let entries = journal.history(&filter).await?;
    if args.json {
        for entry in &entries {
            writeln!(io.out, "{}", serde_json::to_string(&EntryJson::from(entry))?)?;
        }
    } else if !entries.is_empty() {
        let rows: Vec<_> = entries.iter().map(row).collect();
        table(
            io.out,
            &["TIME", "ID", "CATEGORY", "ACTION", "SCORE", "STATE", "SENDER -> RECIPIENTS", "SUBJECT"],
            &rows,
        )?;
    }
    Ok(if entries.is_empty() { NOT_DONE } else { OK })
}

fn row(entry: &Entry) -> Vec<String> {
    let record = &entry.record;
    vec![
        record.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        record.id.clone(),
        record.category.to_string(),
        record.action.to_string(),
        record.score.to_string(),
        entry.state.map_or("-", State::name).to_owned(),
        format!("{} -> {}", show_path(record.sender.as_deref()), show_recipients(&record.recipients, 2)),
        clean(&record.subject, 60),
    ]
}
